//! What nodes say of themselves. Keys of chitchat with JSON for values; names and fields are in `docs/format/gossip.md`.
//!
//! Nobody decides by it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The number is the format's: another one is another key beside these.
const NODE_KEY: &str = "1/node";
const LOAD_KEY: &str = "1/load";
const CONFIG_KEY: &str = "1/config";
/// Longest value that is read.
const VALUE_BYTES_MAX: usize = 2048;

/// What a node says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Said {
    pub who: Option<Who>,
    pub load: Option<Load>,
    /// Which configuration it goes by, in the words of whoever embeds this crate.
    pub config: Option<String>,
}

/// Who a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Who {
    /// Where other nodes reach it.
    pub address: String,
    pub zone: String,
    /// Of the program.
    pub version: String,
    /// Drawn when its process started: 16 hexadecimal digits.
    pub process: String,
}

/// How busy a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Load {
    /// CPU seconds a second.
    pub cpu: f64,
    /// Samples a second that its heads took in, as a replica too.
    pub samples: f64,
    /// Series in its heads.
    pub series: u64,
    /// Partitions that it leads.
    pub leads: u64,
}

/// Counters of a node, from which its load is made.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meter {
    pub cpu_seconds: f64,
    pub samples: u64,
    pub series: u64,
}

impl Load {
    /// The load between two looks at a node's counters; of the first one alone there is none yet.
    pub(super) fn between(before: Option<(Meter, Duration)>, now: (Meter, Duration), leads: u64) -> Self {
        let series = now.0.series;
        let Some((meter, at)) = before.filter(|(_, at)| *at < now.1) else {
            return Self { series, leads, ..Self::default() };
        };
        let seconds = (now.1 - at).as_secs_f64();
        let cpu = (now.0.cpu_seconds - meter.cpu_seconds).max(0.0) / seconds;
        let samples = now.0.samples.saturating_sub(meter.samples) as f64 / seconds;
        // Digits that say nothing are bytes in every datagram.
        Self { cpu: (cpu * 1000.0).round() / 1000.0, samples: samples.round(), series, leads }
    }
}

impl Said {
    /// As keys and values.
    pub(super) fn keys(&self) -> Vec<(&'static str, String)> {
        let who = self.who.as_ref().map(|who| (NODE_KEY, json(who)));
        let load = self.load.as_ref().map(|load| (LOAD_KEY, json(load)));
        let config = self.config.as_ref().map(|config| (CONFIG_KEY, config.clone()));
        who.into_iter().chain(load).chain(config).collect()
    }

    /// What of it can be read: another version may say it otherwise.
    pub(super) fn read<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Self {
        let value = |key| value(key).filter(|value| value.len() <= VALUE_BYTES_MAX);
        Self {
            who: value(NODE_KEY).and_then(|value| serde_json::from_str(value).ok()),
            load: value(LOAD_KEY).and_then(|value| serde_json::from_str(value).ok()),
            config: value(CONFIG_KEY).map(str::to_owned),
        }
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("texts and numbers always have a JSON form")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn what_is_said_is_read_and_what_another_version_says_is_left_out() {
        let said = Said {
            who: Some(Who { address: "a:1".into(), version: "0.1.0".into(), ..Who::default() }),
            load: Some(Load { cpu: 0.25, samples: 1e6, series: 7, leads: 8 }),
            config: Some("f00d".into()),
        };
        let mut keys: BTreeMap<&str, String> = said.keys().into_iter().collect();
        assert_eq!(Said::read(|key| keys.get(key).map(String::as_str)), said);
        keys.insert(LOAD_KEY, r#"{"cpu":1,"new":[2]}"#.to_owned());
        keys.insert(NODE_KEY, "7".to_owned());
        keys.insert(CONFIG_KEY, "x".repeat(VALUE_BYTES_MAX + 1));
        let read = Said::read(|key| keys.get(key).map(String::as_str));
        assert_eq!(read, Said { load: Some(Load { cpu: 1.0, ..Load::default() }), ..Said::default() });
    }

    #[test]
    fn a_load_is_what_came_between_two_looks() {
        let meter = |cpu_seconds, samples, series| Meter { cpu_seconds, samples, series };
        let at = Duration::from_secs;
        let now = (meter(3.5, 1500, 9), at(10));
        let load = Load::between(Some((meter(1.0, 500, 4), at(5))), now, 2);
        assert_eq!(load, Load { cpu: 0.5, samples: 200.0, series: 9, leads: 2 });
        let first = Load { series: 9, leads: 2, ..Load::default() };
        assert_eq!(Load::between(None, now, 2), first);
        assert_eq!(Load::between(Some(now), now, 2), first);
        let counted_anew = Load::between(Some((meter(9.0, 9000, 4), at(5))), now, 2);
        assert_eq!(counted_anew, first);
    }
}
