//! Reading: what is asked of a partition, and the columns an answer is read into.

use pharos_model::{Matcher, TenantId, TimeRange};

/// What a query leaf asks of one partition.
#[derive(Clone, Debug)]
pub struct SelectRequest {
    pub tenant: TenantId,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// Samples outside are not returned.
    pub range: TimeRange,
}

/// Samples of one series in columns, ascending by time, one for each timestamp. Reused from series to series.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SampleColumns {
    pub ts: Vec<i64>,
    pub values: Vec<f64>,
}

impl SampleColumns {
    pub fn clear(&mut self) {
        self.ts.clear();
        self.values.clear();
    }

    pub fn len(&self) -> usize {
        self.ts.len()
    }

    pub fn is_empty(&self) -> bool {
        self.ts.is_empty()
    }
}

/// Why a read failed. Never a short answer instead.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    #[error("chunk of series {series} at {file}:{offset} is damaged: {reason}")]
    DamagedChunk { series: String, file: String, offset: u64, reason: &'static str },
    #[error("data file {file}: {reason}")]
    DataFile { file: String, reason: String },
    #[error("object store: {0}")]
    ObjectStore(String),
}
