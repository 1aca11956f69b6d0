//! What a node says of its configuration, and where nodes differ.

use pharos_cluster::status::NodeName;
use serde::{Deserialize, Serialize};

use super::Config;
use super::source::Origin;

/// The configuration that a node goes by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigReport {
    #[serde(flatten)]
    pub origin: Origin,
    /// Of its text and the scrape configuration files that it names: 16 hexadecimal digits.
    pub hash: String,
    /// False when there is a newer one that the node could not take.
    pub applied: bool,
}

impl ConfigReport {
    /// For gossip: the hash, and where it is from.
    pub fn short(&self) -> String {
        let from = match self.origin {
            Origin::File => "file".to_owned(),
            Origin::Document { version } => format!("document {version}"),
        };
        format!("{} {from}{}", self.hash, if self.applied { "" } else { ", a newer one failed" })
    }
}

/// Nodes that go by the same configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    #[serde(flatten)]
    pub config: ConfigReport,
    pub nodes: Vec<NodeName>,
}

/// What a node with this configuration reports.
pub fn config_report(own: &Config) -> ConfigReport {
    ConfigReport { origin: own.origin, hash: format!("{:016x}", own.loaded.hash), applied: own.last_reload_successful }
}

/// The nodes by what they go by, most first. None where all go by the same and none has failed to take another.
pub fn differences(reports: &[(NodeName, ConfigReport)]) -> Vec<Difference> {
    let mut groups: Vec<Difference> = Vec::new();
    for (node, report) in reports {
        match groups.iter_mut().find(|group| group.config == *report) {
            Some(group) => group.nodes.push(node.clone()),
            None => groups.push(Difference { config: report.clone(), nodes: vec![node.clone()] }),
        }
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.nodes.len()));
    if groups.len() == 1 && groups[0].config.applied { Vec::new() } else { groups }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn report(version: u64, applied: bool) -> ConfigReport {
        ConfigReport { origin: Origin::Document { version }, hash: format!("{version:016x}"), applied }
    }

    #[test]
    fn nodes_that_go_by_another_configuration_are_told_apart() {
        let name = NodeName::from;
        assert_eq!(differences(&[]), []);
        assert_eq!(differences(&[(name(1), report(3, true)), (name(2), report(3, true))]), []);
        let differ =
            differences(&[(name(1), report(2, false)), (name(2), report(3, true)), (name(3), report(3, true))]);
        assert_eq!(
            differ,
            [
                Difference { config: report(3, true), nodes: vec![name(2), name(3)] },
                Difference { config: report(2, false), nodes: vec![name(1)] },
            ]
        );
        assert_eq!(differences(&[(name(1), report(2, false))]).len(), 1, "it could not take another");
        let file = ConfigReport { origin: Origin::File, ..report(3, true) };
        assert_eq!(differences(&[(name(1), file), (name(2), report(3, true))]).len(), 2);
    }

    #[test]
    fn a_report_is_json_that_reads_back() {
        let json = serde_json::to_value(report(3, true)).unwrap();
        assert_eq!(json, json!({"source": "document", "version": 3, "hash": "0000000000000003", "applied": true}));
        assert_eq!(serde_json::from_value::<ConfigReport>(json).unwrap(), report(3, true));
        let file = ConfigReport { origin: Origin::File, ..report(3, true) };
        let json = serde_json::to_value(&file).unwrap();
        assert_eq!(json["source"], "file");
        assert_eq!(serde_json::from_value::<ConfigReport>(json).unwrap(), file);
    }
}
