//! Targets from JSON and YAML files. Folders of the patterns are watched; files are also read again at an interval,
//! for file systems that report no changes. A file that cannot be read or parsed keeps the groups it last had.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tracing::error;

use super::{DiscoveryMetrics, DiscoveryOptions, Ticks};
use crate::config::TargetGroup;
use crate::config::discovery::FileSdConfig;
use crate::config::load::parse;
use crate::fs::{FileSystem, read_text};

const FILE_LABEL: &str = "__meta_filepath";

pub(super) struct FileDiscovery {
    config: FileSdConfig,
    fs: Arc<dyn FileSystem>,
    metrics: DiscoveryMetrics,
    groups: BTreeMap<PathBuf, Vec<TargetGroup>>,
    /// Told by the watcher's thread; many changes make one refresh.
    changed: Arc<Notify>,
    /// `None` where the system cannot watch; the interval is left.
    watcher: Option<RecommendedWatcher>,
    ticks: Ticks,
}

impl FileDiscovery {
    pub(super) fn new(config: FileSdConfig, options: &DiscoveryOptions) -> Self {
        let changed = Arc::new(Notify::new());
        let (tell, metrics) = (changed.clone(), options.metrics.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| match event {
            Ok(event) if matches!(event.kind, EventKind::Access(_)) => {}
            Ok(_) => tell.notify_one(),
            Err(_) => metrics.file_watcher_errors.inc(),
        });
        let watcher = watcher.inspect_err(|error| error!(%error, "error adding file watcher")).ok();
        if watcher.is_none() {
            options.metrics.file_watcher_errors.inc();
        }
        let ticks = Ticks::new(config.refresh_interval.as_std());
        Self {
            config,
            fs: options.surroundings.fs.clone(),
            metrics: options.metrics.clone(),
            groups: BTreeMap::new(),
            changed,
            watcher,
            ticks,
        }
    }

    pub(super) async fn wait(&mut self) {
        tokio::select! {
            () = self.changed.notified() => {}
            () = self.ticks.tick() => {}
        }
    }

    /// Blocking, but for small local files.
    pub(super) fn refresh(&mut self) -> Vec<TargetGroup> {
        // Watched before reading, so that a change during the reading is noticed.
        self.watch_folders();
        let mut old = std::mem::take(&mut self.groups);
        for path in self.files() {
            let groups = self.read(&path).or_else(|problem| {
                self.metrics.file_read_errors.inc();
                error!(path = %path.display(), problem, "error reading file");
                old.remove(&path).ok_or(())
            });
            if let Ok(groups) = groups {
                self.groups.insert(path, groups);
            }
        }
        for path in old.keys().filter(|path| !self.groups.contains_key(*path)) {
            // There is none if the file was never read.
            let _ = self.metrics.file_mtime.remove_label_values(&[&path.to_string_lossy()]);
        }
        self.groups.values().flatten().cloned().collect()
    }

    fn files(&self) -> Vec<PathBuf> {
        let matches = self.config.files.iter().map(|pattern| (pattern, self.fs.glob(pattern)));
        matches
            .flat_map(|(pattern, found)| {
                found.unwrap_or_else(|error| {
                    error!(pattern, %error, "error expanding glob");
                    Vec::new()
                })
            })
            .collect()
    }

    fn read(&self, path: &Path) -> Result<Vec<TargetGroup>, String> {
        let text = read_text(&*self.fs, path).map_err(|e| e.to_string())?;
        let is_json = path.extension().is_some_and(|ext| ext.eq_ignore_ascii_case("json"));
        let mut groups: Vec<TargetGroup> = if is_json {
            serde_json::from_str(&text).map_err(|e| e.to_string())?
        } else {
            parse(&text).map_err(|e| e.to_string())?.unwrap_or_default()
        };
        let name = path.to_string_lossy();
        for (i, group) in groups.iter_mut().enumerate() {
            group.source = format!("{name}:{i}");
            group.labels.insert(FILE_LABEL.to_owned(), name.clone().into_owned());
        }
        if let Ok(modified) = self.fs.modified(path) {
            self.metrics.file_mtime.with_label_values(&[&name]).set(modified as f64 / 1000.0);
        }
        Ok(groups)
    }

    /// Watches the folder of each pattern; done anew each time, because folders come and go.
    fn watch_folders(&mut self) {
        let Some(watcher) = &mut self.watcher else { return };
        for pattern in &self.config.files {
            let folder = Path::new(pattern).parent().filter(|folder| !folder.as_os_str().is_empty());
            if watcher.watch(folder.unwrap_or(Path::new(".")), RecursiveMode::NonRecursive).is_err() {
                self.metrics.file_watcher_errors.inc();
            }
        }
    }
}
