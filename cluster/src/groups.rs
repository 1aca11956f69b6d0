//! The groups that this node has a replica of. They come and go while the node runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use tokio::sync::watch;

use crate::group::Group;
use crate::log::entry::GroupId;

#[derive(Debug, Default)]
pub(crate) struct Groups {
    open: RwLock<BTreeMap<GroupId, Arc<Group>>>,
    changed: watch::Sender<()>,
}

impl Groups {
    pub(crate) fn get(&self, id: GroupId) -> Option<Arc<Group>> {
        self.open.read().get(&id).cloned()
    }

    /// All of them, by id.
    pub(crate) fn all(&self) -> Vec<Arc<Group>> {
        self.open.read().values().cloned().collect()
    }

    pub(crate) fn insert(&self, group: Arc<Group>) {
        let before = self.open.write().insert(group.id(), group);
        assert!(before.is_none(), "a group is open once");
        self.changed.send_replace(());
    }

    pub(crate) fn remove(&self, id: GroupId) -> Option<Arc<Group>> {
        let removed = self.open.write().remove(&id);
        self.changed.send_replace(());
        removed
    }

    /// Told of every group that comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}
