//! What is heard of each node: when its heartbeat last rose, whether that is lately for how often it does, and what it says.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chitchat::{Chitchat, ChitchatId, NodeState};

use super::said::Said;
use crate::peers::NodeId;

/// What this node hears of another.
#[derive(Clone, Debug, PartialEq)]
pub struct Voice {
    /// By phi-accrual: the silence is not long for a node that was heard as often as this one.
    pub alive: bool,
    /// When its heartbeat last rose, by the monotonic clock: what it sent, here or to others who passed it on.
    pub heard_at: Duration,
    pub said: Said,
}

/// All that is heard.
#[derive(Debug, Default)]
pub(super) struct Voices {
    /// Of each process. The first heartbeat of one that is not alive proves nothing: others go on to tell of who is gone.
    heartbeats: BTreeMap<ChitchatId, u64>,
    of: BTreeMap<NodeId, Voice>,
}

/// One process as chitchat knows it.
pub(super) struct Process<'a> {
    pub(super) id: &'a ChitchatId,
    pub(super) heartbeat: u64,
    pub(super) alive: bool,
    pub(super) said: Said,
}

impl<'a> Process<'a> {
    pub(super) fn of(chitchat: &'a Chitchat) -> impl Iterator<Item = Self> {
        let live: std::collections::HashSet<&ChitchatId> = chitchat.live_nodes().collect();
        let own = chitchat.self_chitchat_id();
        let process = move |(id, state): (&'a ChitchatId, &'a NodeState)| Self {
            id,
            heartbeat: state.heartbeat().into(),
            alive: live.contains(id),
            said: Said::read(|key| state.get(key)),
        };
        chitchat.node_states().iter().filter(move |(id, _)| *id != own).map(process)
    }
}

impl Voices {
    pub(super) fn get(&self, node: NodeId) -> Option<&Voice> {
        self.of.get(&node)
    }

    pub(super) fn alive(&self) -> usize {
        self.of.values().filter(|voice| voice.alive).count()
    }

    /// Takes in what chitchat knows at `now`. Only members count.
    pub(super) fn look<'a>(
        &mut self,
        processes: impl Iterator<Item = Process<'a>>,
        is_member: impl Fn(NodeId) -> bool,
        now: Duration,
    ) {
        let mut heartbeats = BTreeMap::new();
        // A node whose process was started again has several: the one that is heard is the one that there is.
        let mut heard: BTreeMap<NodeId, Voice> = BTreeMap::new();
        let mut alive: BTreeMap<NodeId, bool> = BTreeMap::new();
        for process in processes {
            let Some(node) = node_of(&process.id.node_id).filter(|node| is_member(*node)) else { continue };
            heartbeats.insert(process.id.clone(), process.heartbeat);
            let before = self.heartbeats.get(process.id);
            *alive.entry(node).or_default() |= process.alive;
            if before.map_or(process.alive, |before| process.heartbeat > *before) {
                heard.insert(node, Voice { alive: process.alive, heard_at: now, said: process.said });
            }
        }
        self.heartbeats = heartbeats;
        self.of.extend(heard);
        self.of.retain(|node, _| is_member(*node));
        for (node, voice) in &mut self.of {
            voice.alive = alive.get(node).copied().unwrap_or_default();
        }
    }
}

/// A node's id as chitchat has it: eleven bytes in each digest rather than sixteen.
pub(super) fn name_of(node: NodeId) -> String {
    URL_SAFE_NO_PAD.encode(node.to_be_bytes())
}

fn node_of(name: &str) -> Option<NodeId> {
    let bytes = URL_SAFE_NO_PAD.decode(name).ok()?;
    Some(NodeId::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(node: NodeId, generation: u64) -> ChitchatId {
        ChitchatId::new(name_of(node), generation, ([127, 0, 0, 1], 1).into())
    }

    fn heard(voices: &Voices, node: NodeId) -> Option<(bool, u64)> {
        voices.get(node).map(|voice| (voice.alive, voice.heard_at.as_secs()))
    }

    #[test]
    fn a_node_is_heard_when_its_heartbeat_rises() {
        let (old, new, stranger) = (id(1, 1), id(1, 2), id(9, 1));
        let process = |id, heartbeat, alive| Process { id, heartbeat, alive, said: Said::default() };
        let mut voices = Voices::default();
        let mut look = |at, processes: Vec<Process<'_>>| {
            voices.look(processes.into_iter(), |node| node < 9, Duration::from_secs(at));
            (heard(&voices, 1), voices.get(9).is_none())
        };
        assert_eq!(look(1, vec![process(&old, 5, false), process(&stranger, 1, true)]), (None, true));
        assert_eq!(look(2, vec![process(&old, 6, true), process(&stranger, 2, true)]), (Some((true, 2)), true));
        assert_eq!(look(3, vec![process(&old, 6, true)]), (Some((true, 2)), true));
        assert_eq!(look(4, vec![process(&old, 6, false), process(&new, 1, false)]), (Some((false, 2)), true));
        assert_eq!(look(5, vec![process(&old, 6, false), process(&new, 2, true)]), (Some((true, 5)), true));
        let newest = id(1, 3);
        assert_eq!(look(6, vec![process(&newest, 4, true)]), (Some((true, 6)), true), "it rose between two looks");
        // Chitchat forgets who is gone for long; when it was heard is known still.
        assert_eq!(look(7, vec![]), (Some((false, 6)), true));
    }

    #[test]
    fn every_id_has_a_short_name() {
        for node in [0, 1, 42, NodeId::MAX] {
            assert_eq!(node_of(&name_of(node)), Some(node));
            assert_eq!(name_of(node).len(), 11);
        }
        assert_eq!(node_of("node-1"), None);
    }
}
