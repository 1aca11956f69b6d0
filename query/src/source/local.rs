//! The partitions of this node, head and data files as one.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use futures::future::try_join_all;
use pharos_model::{TimeRange, partition};
use pharos_storage::select::{self, PartitionReader, Relied, SampleSlices};

use super::{
    Estimate, HistogramSamples, ReadError, Reliance, Relying, Revision, SampleColumns, Samples, SelectRequest,
    Selection, SeriesBatch, SeriesSamples, SeriesSource,
};

/// Where readers of partitions come from: a node whose replicas come and go, or a list of all partitions in the order of their ids.
#[async_trait]
pub trait Readers: fmt::Debug + Send + Sync {
    /// How many partitions the cluster has.
    fn partitions(&self) -> usize;
    /// A reader of each, which has everything that was answered before this was called. [`ReadError::Elsewhere`] where this node
    /// cannot say so of one.
    async fn readers(&self, partitions: &[usize]) -> Result<Vec<PartitionReader>, ReadError>;
}

#[async_trait]
impl Readers for Vec<PartitionReader> {
    fn partitions(&self) -> usize {
        self.len()
    }

    async fn readers(&self, partitions: &[usize]) -> Result<Vec<PartitionReader>, ReadError> {
        Ok(partitions.iter().map(|partition| self[*partition].clone()).collect())
    }
}

/// Reads the partitions that this node has.
#[derive(Clone, Debug)]
pub struct Local {
    readers: Arc<dyn Readers>,
}

impl Local {
    pub fn new(readers: Arc<dyn Readers>) -> Self {
        Self { readers }
    }
}

#[async_trait]
impl SeriesSource for Local {
    fn partitions(&self) -> usize {
        self.readers.partitions()
    }

    fn partition_of(&self, request: &SelectRequest) -> Option<usize> {
        let count = u16::try_from(self.readers.partitions()).ok()?;
        partition::of_matchers(&request.tenant, &request.matchers, count).map(|only| usize::from(only.0))
    }

    async fn select(
        &self,
        partitions: &[usize],
        request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        let readers = self.readers.readers(partitions).await?;
        let selections = PartitionReader::select_some(readers, request).await?;
        Ok(selections.into_iter().map(|selection| Box::new(LocalSelection(selection)) as Box<dyn Selection>).collect())
    }

    async fn rely(&self, relying: &Relying, since: Option<&Revision>) -> Result<Reliance, ReadError> {
        let of_same = |relied: &Vec<(usize, Relied)>| relied.iter().map(|(at, _)| at).eq(&relying.partitions);
        let earlier = match since {
            Some(Revision::Partitions(relied)) if of_same(relied) => Some(relied),
            _ => None,
        };
        let readers = self.readers.readers(&relying.partitions).await?;
        let relies = relying.partitions.iter().zip(&readers).enumerate().map(|(at, (partition, reader))| {
            let earlier = earlier.map(|relied| relied[at].1);
            async move {
                let (relied, amended) = reader.rely(&relying.tenant, relying.until_ms, earlier).await?;
                Ok::<_, ReadError>(((*partition, relied), amended))
            }
        });
        let (relied, amended): (Vec<_>, Vec<_>) = try_join_all(relies).await?.into_iter().unzip();
        let mut amended = amended.concat();
        if since.is_some() && earlier.is_none() {
            amended.push(TimeRange::ALL);
        }
        Ok(Reliance { revision: Revision::Partitions(Arc::new(relied)), amended })
    }
}

#[derive(Debug)]
struct LocalSelection(select::Selection);

#[async_trait]
impl Selection for LocalSelection {
    fn series_count(&self) -> usize {
        self.0.series_count()
    }

    fn estimate(&self) -> Estimate {
        self.0.estimate()
    }

    fn memory_bytes(&self) -> usize {
        self.0.memory_bytes()
    }

    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError> {
        let batch = self.0.next_batch().await?;
        Ok(batch.map(|batch| Box::new(batch) as Box<dyn SeriesBatch>))
    }
}

impl SeriesBatch for select::SeriesBatch {
    fn len(&self) -> usize {
        self.len()
    }

    fn label_bytes(&self, i: usize) -> &[u8] {
        self.label_bytes(i)
    }

    fn memory_bytes(&self) -> usize {
        self.memory_bytes()
    }

    fn samples<'a>(&'a self, i: usize, scratch: &'a mut SampleColumns) -> Result<SeriesSamples<'a>, ReadError> {
        let SampleSlices { ts, values, start_ts, histogram_ts, histograms, histogram_start_ts } =
            self.samples(i, scratch)?;
        let histograms = HistogramSamples { ts: histogram_ts, list: histograms, start_ts: histogram_start_ts };
        Ok(SeriesSamples { floats: Samples { ts, values }, float_start_ts: start_ts, histograms })
    }
}
