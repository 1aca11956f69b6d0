//! The columns of a data file, and how each is encoded. The layout and its reasons are in `docs/format/data-file.md`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::Result;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnDescPtr, SchemaDescriptor, TypePtr};
use pharos_model::labels::{METRIC_NAME, is_legacy_label_name};

/// A label that at least this share of the rows has gets a column of its own.
const PROMOTED_SHARE: f64 = 0.05;
/// Most labels with a column of their own: each costs some 100 bytes of footer, and time to open, whether read or not.
pub const PROMOTED_LABELS_MAX: usize = 150;
/// Level 6 is 3 % smaller than 3 at twice its time, which is still a tenth of ingesting a sample; 9 gains nothing more.
const ZSTD_LEVEL: i32 = 6;
/// Sample pages are cut at this many uncompressed bytes. Larger ones compress better (byte planes are longer), smaller
/// ones waste less when a query wants few series.
const SAMPLE_PAGE_BYTES: usize = 512 << 10;
/// Timestamps are delta-coded: this makes a page of them cover about the rows that a page of values does.
const TIMESTAMP_PAGE_BYTES: usize = 96 << 10;
/// A page of short series is cut by rows.
const SAMPLE_PAGE_ROWS: usize = 2_048;
const LABEL_PAGE_BYTES: usize = 256 << 10;

/// The columns of every row after its labels, in file order.
const FACT_COLUMNS: &str = "
    required int64 min_ts;
    required int64 max_ts;
    required int32 n;
    required int32 scale (INTEGER(8, true));
    required group ts (LIST) { repeated group list { required int64 element; } }
    optional group m (LIST) { repeated group list { optional int64 element; } }
    optional group v (LIST) { repeated group list { optional double element; } }
    optional group h (LIST) { repeated group list { optional binary element; } }
";

/// The column behind them, in files where a sample has a start timestamp.
const STARTS_COLUMN: &str = "
    optional group st (LIST) { repeated group list { optional int64 element; } }
";

/// Definition level of a value in `m`, `v`, `h` and `st`: list there, element there, not null.
pub(crate) const DEF_VALUE: i16 = 3;
/// Definition level of a null element in `m`, `v`, `h` and `st`.
pub(crate) const DEF_NULL_ELEMENT: i16 = 2;
/// Definition level of a null list in `m`, `v`, `h` and `st`.
pub(crate) const DEF_NULL_LIST: i16 = 0;

/// The columns that hold samples; each has its pages listed in the index object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SampleColumn {
    Timestamps,
    Mantissas,
    Doubles,
    Histograms,
    Starts,
}

impl SampleColumn {
    pub(crate) const ALL: [Self; 5] =
        [Self::Timestamps, Self::Mantissas, Self::Doubles, Self::Histograms, Self::Starts];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Timestamps => "ts.list.element",
            Self::Mantissas => "m.list.element",
            Self::Doubles => "v.list.element",
            Self::Histograms => "h.list.element",
            Self::Starts => "st.list.element",
        }
    }

    pub(crate) fn encoding(self) -> Encoding {
        match self {
            Self::Timestamps | Self::Starts => Encoding::DELTA_BINARY_PACKED,
            Self::Mantissas => Encoding::BYTE_STREAM_SPLIT,
            Self::Doubles => Encoding::PLAIN,
            Self::Histograms => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        }
    }

    /// The column as the schema of every file that has it describes it.
    pub(crate) fn descriptor(self) -> ColumnDescPtr {
        static COLUMNS: LazyLock<SchemaDescriptor> = LazyLock::new(|| {
            let columns = FileColumns { promoted: BTreeSet::new(), starts: true };
            FileSchema::new(&columns).expect("the schema without promoted labels is valid").descriptor()
        });
        let all = COLUMNS.columns();
        let place = all.iter().position(|column| column.path().string() == self.path());
        Arc::clone(&all[place.expect("the schema has all sample columns")])
    }
}

/// Counts in how many rows each label occurs, to decide which labels get a column.
#[derive(Debug, Default)]
pub struct LabelCensus {
    rows: u64,
    labels: BTreeMap<String, u64>,
}

impl LabelCensus {
    pub fn count(&mut self, labels: &pharos_model::LabelSet) {
        self.rows += 1;
        for label in labels.iter().filter(|label| label.name != METRIC_NAME) {
            match self.labels.get_mut(label.name) {
                Some(count) => *count += 1,
                None => drop(self.labels.insert(label.name.to_owned(), 1)),
            }
        }
    }

    /// The labels worth a column, the most frequent first in line. Names that SQL engines would take for one
    /// (they ignore case) or would have to quote stay in the map.
    pub fn promoted(&self) -> BTreeSet<String> {
        let mut frequent: Vec<_> = self
            .labels
            .iter()
            .filter(|(name, count)| **count as f64 >= self.rows as f64 * PROMOTED_SHARE && is_legacy_label_name(name))
            .collect();
        frequent.sort_by_key(|(name, count)| (std::cmp::Reverse(**count), name.as_str()));
        let mut taken = BTreeSet::new();
        frequent.retain(|(name, _)| taken.insert(name.to_ascii_lowercase()));
        frequent.into_iter().take(PROMOTED_LABELS_MAX).map(|(name, _)| name.clone()).collect()
    }
}

/// What columns a file has beyond those that every file has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileColumns {
    /// The labels that get a column of their own: see [`LabelCensus`].
    pub promoted: BTreeSet<String>,
    /// Whether samples have start timestamps.
    pub starts: bool,
}

/// The schema of one file.
#[derive(Debug)]
pub(crate) struct FileSchema {
    root: TypePtr,
}

impl FileSchema {
    pub(crate) fn new(columns: &FileColumns) -> Result<Self> {
        let mut message = String::from("message series {\n optional binary name (STRING);\n");
        for label in &columns.promoted {
            message.push_str(&format!(" optional binary {} (STRING);\n", label_column(label)));
        }
        message.push_str(
            " required group labels_rest (MAP) { repeated group key_value { required binary key (STRING); required binary value (STRING); } }",
        );
        message.push_str(FACT_COLUMNS);
        if columns.starts {
            message.push_str(STARTS_COLUMN);
        }
        message.push('}');
        Ok(Self { root: Arc::new(parse_message_type(&message)?) })
    }

    pub(crate) fn root(&self) -> TypePtr {
        Arc::clone(&self.root)
    }

    pub(crate) fn descriptor(&self) -> SchemaDescriptor {
        SchemaDescriptor::new(self.root())
    }
}

/// The column of a promoted label.
pub(crate) fn label_column(label: &str) -> String {
    format!("l_{label}")
}

/// The label of a column, if it is one of a promoted label.
pub(crate) fn label_of_column(column: &str) -> Option<&str> {
    column.strip_prefix("l_")
}

/// How label and fact columns are written: dictionaries, and statistics that let an engine skip row groups and pages.
pub(crate) fn label_properties() -> WriterPropertiesPtr {
    Arc::new(
        common_properties()
            .set_data_page_size_limit(LABEL_PAGE_BYTES)
            .set_column_statistics_enabled("name".into(), EnabledStatistics::Page)
            .set_column_statistics_enabled("min_ts".into(), EnabledStatistics::Chunk)
            .set_column_statistics_enabled("max_ts".into(), EnabledStatistics::Chunk)
            .build(),
    )
}

/// How sample columns are written: no dictionary and no statistics.
pub(crate) fn sample_properties() -> WriterPropertiesPtr {
    let path = |column: SampleColumn| column.descriptor().path().clone();
    let properties = SampleColumn::ALL.into_iter().fold(common_properties(), |properties, column| {
        properties.set_column_encoding(path(column), column.encoding())
    });
    Arc::new(
        properties
            .set_dictionary_enabled(false)
            .set_data_page_size_limit(SAMPLE_PAGE_BYTES)
            .set_column_data_page_size_limit(path(SampleColumn::Timestamps), TIMESTAMP_PAGE_BYTES)
            .set_column_data_page_size_limit(path(SampleColumn::Starts), TIMESTAMP_PAGE_BYTES)
            .set_data_page_row_count_limit(SAMPLE_PAGE_ROWS)
            .build(),
    )
}

/// Version 1 pages everywhere: version 2 keeps the levels out of the compression, at 12 bytes a series.
fn common_properties() -> parquet::file::properties::WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(ZSTD_LEVEL).expect("the level is one zstd has");
    WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("pharos".to_owned())
}
