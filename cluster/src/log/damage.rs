//! Which groups lost records to damage, until they are made anew or have lost nothing that anybody counts on.
//!
//! Kept in a file beside the segments, written before a damaged log is repaired: a repaired one does not show the damage any more.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::GroupId;
use crate::fs::{Fs, read_all, replace};

pub(super) const NAME: &str = "damaged.json";

/// Groups that may have forgotten entries that they acknowledged, or whom they voted for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damage {
    /// All groups, those too that the log has nothing of any more: nothing tells whose records were there.
    pub any: bool,
    groups: BTreeSet<u32>,
}

impl Damage {
    pub(super) fn of(groups: impl IntoIterator<Item = GroupId>, any: bool) -> Self {
        Self { any, groups: groups.into_iter().map(|group| group.0).collect() }
    }

    pub fn is_none(&self) -> bool {
        !self.any && self.groups.is_empty()
    }

    pub fn has(&self, group: GroupId) -> bool {
        self.any || self.groups.contains(&group.0)
    }

    /// Those that are known by name.
    pub fn groups(&self) -> impl Iterator<Item = GroupId> + '_ {
        self.groups.iter().map(|group| GroupId(*group))
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.any |= other.any;
        self.groups.extend(&other.groups);
    }

    /// The group is made anew. Nothing changes where all may be damaged.
    pub(super) fn remove(&mut self, group: GroupId) {
        self.groups.remove(&group.0);
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join(NAME)
}

/// What is known from before. A file that cannot be understood stands for anything.
pub(super) fn read(fs: &dyn Fs, dir: &Path) -> io::Result<Damage> {
    let file = match fs.open(&path(dir)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Damage::default()),
        Err(error) => return Err(error),
    };
    Ok(serde_json::from_slice(&read_all(&*file)?).unwrap_or(Damage::of([], true)))
}

/// Durable when it returns.
pub(super) fn write(fs: &dyn Fs, dir: &Path, damage: &Damage) -> io::Result<()> {
    if damage.is_none() {
        return match fs.remove(&path(dir)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs.sync_dir(dir),
        };
    }
    replace(fs, &path(dir), &serde_json::to_vec(damage).map_err(io::Error::other)?)
}
