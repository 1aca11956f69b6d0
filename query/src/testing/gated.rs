//! A source that works without waiting for as long as a test likes.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::source::{
    Estimate, ReadError, Reliance, Relying, Revision, SampleColumns, SelectRequest, Selection, SeriesBatch,
    SeriesSamples, SeriesSource,
};

/// Series of the only batch of the only partition.
pub(crate) const SERIES: usize = 100;

/// The reading of its first series blocks its thread until the gate is opened.
#[derive(Debug)]
pub(crate) struct GatedSource {
    batch: Mutex<Option<GatedBatch>>,
}

/// What the test holds of a [`GatedSource`].
#[derive(Debug)]
pub(crate) struct Gate {
    begun: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
    ended: mpsc::Receiver<usize>,
}

impl Gate {
    /// Waits until the first series is being read.
    pub(crate) fn wait(&self) {
        self.begun.recv().expect("the source is read");
    }

    /// Opens the gate, and waits until the batch is given up. Returns how many of its series were read.
    pub(crate) fn open(self) -> usize {
        self.open.send(()).expect("the source waits");
        self.ended.recv().expect("the batch says so when it is dropped")
    }
}

pub(crate) fn gated() -> (GatedSource, Gate) {
    let ((begins, begun), (open, opened), (ends, ended)) = (mpsc::channel(), mpsc::channel(), mpsc::channel());
    let batch = GatedBatch { read: AtomicUsize::new(0), begins: Mutex::new(begins), opened: Mutex::new(opened), ends };
    (GatedSource { batch: Mutex::new(Some(batch)) }, Gate { begun, open, ended })
}

#[async_trait]
impl SeriesSource for GatedSource {
    fn partitions(&self) -> usize {
        1
    }

    fn partition_of(&self, _request: &SelectRequest) -> Option<usize> {
        None
    }

    async fn select(
        &self,
        partitions: &[usize],
        _request: &SelectRequest,
    ) -> Result<Vec<Box<dyn Selection>>, ReadError> {
        let selection = |_: &usize| Box::new(GatedSelection(self.batch.lock().take())) as Box<dyn Selection>;
        Ok(partitions.iter().map(selection).collect())
    }

    async fn rely(&self, _relying: &Relying, _since: Option<&Revision>) -> Result<Reliance, ReadError> {
        Ok(Reliance { revision: Revision::Whole(0), amended: Vec::new() })
    }
}

#[derive(Debug)]
struct GatedSelection(Option<GatedBatch>);

#[async_trait]
impl Selection for GatedSelection {
    fn series_count(&self) -> usize {
        SERIES
    }

    fn estimate(&self) -> Estimate {
        Estimate::default()
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    async fn next_batch(&mut self) -> Result<Option<Box<dyn SeriesBatch>>, ReadError> {
        Ok(self.0.take().map(|batch| Box::new(batch) as Box<dyn SeriesBatch>))
    }
}

#[derive(Debug)]
struct GatedBatch {
    read: AtomicUsize,
    begins: Mutex<mpsc::Sender<()>>,
    opened: Mutex<mpsc::Receiver<()>>,
    ends: mpsc::Sender<usize>,
}

impl SeriesBatch for GatedBatch {
    fn len(&self) -> usize {
        SERIES
    }

    fn label_bytes(&self, _i: usize) -> &[u8] {
        &[]
    }

    fn memory_bytes(&self) -> usize {
        0
    }

    fn samples<'a>(&'a self, _i: usize, scratch: &'a mut SampleColumns) -> Result<SeriesSamples<'a>, ReadError> {
        if self.read.fetch_add(1, Ordering::SeqCst) == 0 {
            // A test that has failed holds neither end.
            let _ = self.begins.lock().send(());
            let _ = self.opened.lock().recv();
        }
        scratch.clear();
        Ok(SeriesSamples::from(&*scratch))
    }
}

impl Drop for GatedBatch {
    fn drop(&mut self) {
        let _ = self.ends.send(self.read.load(Ordering::SeqCst));
    }
}
