//! Stores that stop working at a chosen operation, as a process does that is killed there.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use parking_lot::Mutex;
use pharos_model::{PartitionId, TenantId};
use tokio::sync::Notify;

use crate::manifest::{ManifestPointer, PointerError, PointerStore, Swap};
use crate::seal::{HeadLog, LogError};

/// Shared by everything that fails together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(Arc<Mutex<Countdown>>);

#[derive(Debug, Default)]
struct Countdown {
    /// Operations that still succeed; `None` is no fault.
    left: Option<usize>,
    /// Whether the operation that fails happens all the same.
    takes_effect: bool,
    pause: Option<(&'static str, Arc<Pause>)>,
    /// Objects cannot be written, only deleted.
    full: bool,
}

/// A write that stands still until the test lets it go on.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    reached: Notify,
    ended: Notify,
}

impl Pause {
    /// Returns when the write is there.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    pub(crate) fn end(&self) {
        self.ended.notify_one();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Works,
    WorksUnseen,
    Fails,
}

impl Faults {
    /// The operation after the next `working` ones fails, with or without effect; so does every one after it, without.
    pub(crate) fn fail_after(&self, working: usize, takes_effect: bool) {
        *self.0.lock() = Countdown { left: Some(working), takes_effect, ..Countdown::default() };
    }

    /// The next write of an object whose key has this part stands still.
    pub(crate) fn pause_at(&self, key_part: &'static str) -> Arc<Pause> {
        let pause = Arc::new(Pause::default());
        self.0.lock().pause = Some((key_part, Arc::clone(&pause)));
        pause
    }

    /// From now on the store has no room.
    pub(crate) fn refuse_writes(&self) {
        self.0.lock().full = true;
    }

    async fn paused(&self, key: &str) {
        let pause = self.0.lock().pause.take_if(|(key_part, _)| key.contains(*key_part));
        if let Some((_, pause)) = pause {
            pause.reached.notify_one();
            pause.ended.notified().await;
        }
    }

    pub(crate) fn clear(&self) {
        *self.0.lock() = Countdown::default();
    }

    fn next(&self) -> Verdict {
        let mut countdown = self.0.lock();
        match countdown.left {
            None => Verdict::Works,
            Some(0) if countdown.takes_effect => {
                countdown.takes_effect = false;
                Verdict::WorksUnseen
            }
            Some(0) => Verdict::Fails,
            Some(left) => {
                countdown.left = Some(left - 1);
                Verdict::Works
            }
        }
    }
}

/// An object store with faults in its writes; reads go through, so that what is left can be looked at.
#[derive(Debug)]
pub(crate) struct FaultyStore {
    pub inner: Arc<dyn ObjectStore>,
    pub faults: Faults,
}

fn injected() -> object_store::Error {
    object_store::Error::Generic { store: "faulty", source: "injected".into() }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Faulty({})", self.inner)
    }
}

#[async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.faults.paused(location.as_ref()).await;
        let verdict = self.faults.next();
        if verdict == Verdict::Fails || self.faults.0.lock().full {
            return Err(injected());
        }
        let done = self.inner.put_opts(location, payload, opts).await?;
        if verdict == Verdict::WorksUnseen { Err(injected()) } else { Ok(done) }
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (faults, inner) = (self.faults.clone(), Arc::clone(&self.inner));
        let checked = locations.and_then(move |location| {
            let verdict = faults.next();
            async move { if verdict == Verdict::Fails { Err(injected()) } else { Ok(location) } }
        });
        inner.delete_stream(checked.boxed())
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// Pointers with faults in their swaps.
#[derive(Debug)]
pub(crate) struct FaultyPointers {
    pub inner: Arc<dyn PointerStore>,
    pub faults: Faults,
}

#[async_trait]
impl PointerStore for FaultyPointers {
    async fn get(
        &self,
        tenant: &TenantId,
        partitions: &[PartitionId],
    ) -> std::result::Result<Vec<Option<ManifestPointer>>, PointerError> {
        self.inner.get(tenant, partitions).await
    }

    async fn tenants(&self, partition: PartitionId) -> std::result::Result<Vec<TenantId>, PointerError> {
        self.inner.tenants(partition).await
    }

    async fn compare_and_swap(
        &self,
        tenant: &TenantId,
        partition: PartitionId,
        expected: u64,
        next: ManifestPointer,
    ) -> std::result::Result<Swap, PointerError> {
        let injected = || PointerError("injected".to_owned());
        let verdict = self.faults.next();
        if verdict == Verdict::Fails {
            return Err(injected());
        }
        let done = self.inner.compare_and_swap(tenant, partition, expected, next).await?;
        if verdict == Verdict::WorksUnseen { Err(injected()) } else { Ok(done) }
    }
}

/// A log with faults.
#[derive(Debug)]
pub(crate) struct FaultyLog {
    pub inner: Arc<dyn HeadLog>,
    pub faults: Faults,
}

#[async_trait]
impl HeadLog for FaultyLog {
    async fn propose(&self, partition: PartitionId, command: Bytes) -> std::result::Result<(), LogError> {
        let verdict = self.faults.next();
        if verdict == Verdict::Fails {
            return Err(LogError("injected".to_owned()));
        }
        self.inner.propose(partition, command).await?;
        if verdict == Verdict::WorksUnseen { Err(LogError("injected".to_owned())) } else { Ok(()) }
    }
}
