//! How long and how much is kept: the configuration file wins over the flags, and the flags over the default.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pharos_ingest::config::Config;
use pharos_model::{byte_size, duration};
use pharos_storage::retention::RetentionRule;

use crate::flags::ServerFlags;

/// How long samples are kept where nobody says how long or how much.
const RETENTION_DEFAULT: Duration = Duration::from_secs(15 * 24 * 3600);

/// The rule in force. Clones share it.
#[derive(Clone, Debug)]
pub struct Retention {
    flags: RetentionRule,
    rule: Arc<Mutex<RetentionRule>>,
}

impl Retention {
    pub fn new(flags: &ServerFlags, config: &Config) -> Self {
        let flags = RetentionRule {
            time_ms: flags.retention_time.map(|time| time.as_millis() as i64),
            bytes: flags.retention_bytes,
        };
        Self { flags, rule: Arc::new(Mutex::new(merged(flags, config))) }
    }

    /// Puts what a configuration says into force; the next look for old files goes by it.
    pub fn apply(&self, config: &Config) {
        *self.rule.lock() = merged(self.flags, config);
    }

    /// Nothing is deleted until a configuration says how much is kept.
    pub fn keep_all(&self) {
        *self.rule.lock() = RetentionRule::default();
    }

    pub fn rule(&self) -> RetentionRule {
        *self.rule.lock()
    }

    /// As Prometheus words it: `15d or 10GiB`.
    pub fn text(&self) -> String {
        let rule = self.rule();
        let time = rule.time_ms.map(duration::format_ms);
        let size = rule.bytes.map(|bytes| byte_size::format(i64::try_from(bytes).unwrap_or(i64::MAX)));
        time.into_iter().chain(size).collect::<Vec<_>>().join(" or ")
    }
}

/// Zero in the file is "not set", as in the flags.
fn merged(flags: RetentionRule, config: &Config) -> RetentionRule {
    let file = config.storage.tsdb.as_ref().and_then(|tsdb| tsdb.retention.as_ref());
    let time_ms = file.map(|file| file.time.as_std().as_millis() as i64).filter(|time| *time > 0);
    let bytes = file.map(|file| file.size.0).filter(|bytes| *bytes > 0);
    let rule = RetentionRule { time_ms: time_ms.or(flags.time_ms), bytes: bytes.or(flags.bytes) };
    if rule == RetentionRule::default() {
        return RetentionRule { time_ms: Some(RETENTION_DEFAULT.as_millis() as i64), bytes: None };
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use pharos_ingest::config::server::{RetentionConfig, StorageConfig, TsdbConfig};
    use pharos_ingest::config::{ByteSize, PromDuration};

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn file(days: u64, bytes: u64) -> Config {
        let time = PromDuration((DAY.as_millis() as u64 * days) as i64);
        let retention = Some(RetentionConfig { time, size: ByteSize(bytes), ..RetentionConfig::default() });
        let tsdb = Some(TsdbConfig { retention, ..TsdbConfig::default() });
        Config { storage: StorageConfig { tsdb, ..StorageConfig::default() }, ..Config::default() }
    }

    #[test]
    fn the_file_wins_over_the_flags_and_these_over_the_default() {
        let days = |days: i64| Some(days * DAY.as_millis() as i64);
        let none = RetentionRule::default();
        let flags = RetentionRule { time_ms: days(7), bytes: Some(1 << 30) };
        let rule = |time_ms, bytes| RetentionRule { time_ms, bytes };
        assert_eq!(merged(none, &Config::default()), rule(days(15), None));
        assert_eq!(merged(none, &file(0, 0)), rule(days(15), None));
        assert_eq!(merged(none, &file(0, 5)), rule(None, Some(5)));
        assert_eq!(merged(flags, &Config::default()), flags);
        assert_eq!(merged(flags, &file(3, 0)), rule(days(3), Some(1 << 30)));
        assert_eq!(merged(flags, &file(3, 5)), rule(days(3), Some(5)));
    }
}
