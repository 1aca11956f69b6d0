//! The arrow schema of a plan edge.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

/// The schema of an edge with `steps` steps.
///
/// # Panics
/// If `steps` is beyond what a fixed-size list can hold (2^31); binding a plan to its grid refuses such grids.
pub fn batch_schema(steps: usize) -> SchemaRef {
    let list = i32::try_from(steps).expect("a grid is checked against STEPS_MAX when the plan is bound");
    let words = i32::try_from(steps.div_ceil(64) * 8).expect("smaller than the list");
    Arc::new(Schema::new(vec![
        Field::new("labels", DataType::Binary, false),
        Field::new("drop_name", DataType::Boolean, false),
        Field::new("present", DataType::FixedSizeBinary(words), false),
        Field::new("values", DataType::FixedSizeList(item_field(), list), false),
        Field::new("hist", DataType::Binary, true),
    ]))
}

/// The steps of an edge with this schema; `None` when it is not an edge of ours.
pub fn steps_of(schema: &Schema) -> Option<usize> {
    match schema.fields().get(3)?.data_type() {
        DataType::FixedSizeList(_, steps) => usize::try_from(*steps).ok(),
        _ => None,
    }
}

pub(super) fn item_field() -> Arc<Field> {
    Arc::new(Field::new("item", DataType::Float64, false))
}
