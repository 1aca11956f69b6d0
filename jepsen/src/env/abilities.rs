//! What this machine lets one do, found out before a run: what it cannot is left out, with the reason.

use std::collections::BTreeMap;
use std::path::Path;

use super::disk::DiskKind;
use super::net::NetKind;
use super::node::CLOCK_LIBRARIES;
use super::{command, isolation, throttle};

/// Something a fault needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// Disks are images.
    Image,
    /// Images can lose power.
    PowerCut,
    Throttle,
    Freeze,
    /// Nodes are in network namespaces, with a firewall.
    Firewall,
    ShiftClock,
    TwoNodes,
    ThreeNodes,
    /// Nodes that can join a running cluster.
    Join,
}

/// What a run was asked to be.
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    pub nodes: usize,
    pub net: NetKind,
    pub disk: DiskKind,
    /// What `pharos server --help` prints.
    pub help: &'a str,
}

/// What is missing, and why.
#[derive(Clone, Debug, Default)]
pub struct Abilities {
    missing: BTreeMap<Need, String>,
}

impl Abilities {
    pub fn find(setting: Setting<'_>) -> Self {
        let mut found = Self::default();
        if setting.disk != DiskKind::Image {
            found.lacks(Need::Image, "disks are folders (--disk=image needs root)");
        }
        found.lacks_program(Need::PowerCut, "xfs_io", "xfsprogs");
        found.lacks_program(Need::Freeze, "fsfreeze", "util-linux");
        if !Path::new(throttle::CONTROLLER).join("cgroup.procs").exists() {
            found.lacks(Need::Throttle, "no blkio control groups of version 1");
        }
        found.lacks_program(Need::Firewall, "nft", "nftables");
        if setting.net != NetKind::Namespaces {
            found.lacks(Need::Firewall, "nodes share the loopback (--net=namespaces needs root)");
        }
        if !CLOCK_LIBRARIES.iter().any(|path| Path::new(path).exists()) {
            found.lacks(Need::ShiftClock, "libfaketime is not installed (Debian: faketime)");
        }
        for (need, least) in [(Need::TwoNodes, 2), (Need::ThreeNodes, 3)] {
            if setting.nodes < least {
                found.lacks(need, &format!("needs {least} nodes"));
            }
        }
        if setting.nodes < 2 {
            found.lacks(Need::Join, "needs 2 nodes");
        }
        if !setting.help.contains("--cluster.join") {
            found.lacks(Need::Join, "this pharos has no --cluster.join");
        }
        found
    }

    fn lacks(&mut self, need: Need, why: &str) {
        self.missing.insert(need, why.to_owned());
    }

    fn lacks_program(&mut self, need: Need, program: &str, package: &str) {
        if !command::installed(program) {
            self.lacks(need, &format!("{program} is not installed (Debian: {package})"));
        }
    }

    /// Why not all of these are there.
    pub fn missing(&self, needs: &[Need]) -> Option<&str> {
        needs.iter().find_map(|need| self.missing.get(need)).map(String::as_str)
    }
}

/// Why a run in this setting is not possible at all.
pub fn impossible(net: NetKind, disk: DiskKind) -> Option<&'static str> {
    let isolated = net == NetKind::Namespaces || disk == DiskKind::Image;
    (isolated && !isolation::is_inside())
        .then_some("namespaces and images need root, and a machine that lets it have them")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_plain_setting_cannot_do_has_a_reason() {
        let plain = Setting { nodes: 1, net: NetKind::Loopback, disk: DiskKind::Folder, help: "" };
        let found = Abilities::find(plain);
        assert_eq!(found.missing(&[]), None);
        for need in [Need::Image, Need::Firewall, Need::TwoNodes, Need::ThreeNodes, Need::Join] {
            assert!(found.missing(&[need]).is_some(), "{need:?}");
        }
        let three = Abilities::find(Setting { nodes: 3, help: "--cluster.join", ..plain });
        assert_eq!(three.missing(&[Need::ThreeNodes, Need::Join]), None);
    }
}
