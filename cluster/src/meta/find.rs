//! Which member somebody means.

use super::member::Member;
use super::topology::Topology;
use crate::peers::NodeId;

/// Digits of an id.
const ID_DIGITS: usize = 16;
/// Fewest digits that stand for an id: fewer are likely to mean another node tomorrow.
pub const PREFIX_DIGITS_MIN: usize = 4;

/// Why it is not known who is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    #[error(
        "no node of the cluster is called {name:?}: a node's id has {ID_DIGITS} hexadecimal digits, of which the first \
         {PREFIX_DIGITS_MIN} and more stand for it where they are unique; its peer and HTTP addresses do too"
    )]
    Unknown { name: String },
    #[error("{name:?} may be any of the nodes {}: say more digits", nodes.join(", "))]
    Ambiguous { name: String, nodes: Vec<String> },
}

impl Topology {
    /// The node that is meant by a whole id, one of the addresses of a member that is not removed, or the first digits of such a member's id.
    /// A whole id is taken as it is: whether there is such a member is for who acts on it to say.
    pub fn find(&self, name: &str) -> Result<NodeId, FindError> {
        let is_id = !name.is_empty() && name.len() <= ID_DIGITS && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id && name.len() == ID_DIGITS {
            return NodeId::from_str_radix(name, 16).map_err(|_| FindError::Unknown { name: name.to_owned() });
        }
        let lower = name.to_ascii_lowercase();
        let addresses =
            |member: &Member| [&member.spec.peer, &member.spec.http].map(|address| address.to_ascii_lowercase());
        let has_address = |member: &Member| !name.is_empty() && addresses(member).contains(&lower);
        let begins = |member: &Member| {
            is_id && name.len() >= PREFIX_DIGITS_MIN && format!("{:016x}", member.spec.id).starts_with(&lower)
        };
        let of = |holds: &dyn Fn(&Member) -> bool| -> Vec<NodeId> {
            self.present().filter(|member| holds(member)).map(|member| member.spec.id).collect()
        };
        let mut found = of(&has_address);
        if found.is_empty() {
            found = of(&begins);
        }
        match found[..] {
            [] => Err(FindError::Unknown { name: name.to_owned() }),
            [node] => Ok(node),
            _ => {
                let nodes = found.iter().map(|node| format!("{node:016x}")).collect();
                Err(FindError::Ambiguous { name: name.to_owned(), nodes })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meta::{Cluster, NodeSpec};

    fn topology() -> Topology {
        let cluster = Cluster { id: "1f".to_owned(), name: "one".to_owned(), partitions: 1 };
        let mut topology = Topology { cluster: Some(cluster), ..Topology::default() };
        let spec = |id: NodeId, host: &str| NodeSpec {
            id,
            peer: format!("{host}:9092"),
            http: format!("{host}:9090"),
            zone: String::new(),
        };
        topology.found(spec(0xabcd_0000_0000_0001, "a"), 0);
        topology.put(spec(0xabcd_1000_0000_0002, "b"), None, false, 0).unwrap();
        topology.put(spec(0x1234_0000_0000_0003, "c"), None, false, 0).unwrap();
        topology
    }

    #[test]
    fn ids_their_first_digits_and_addresses_name_a_node() {
        let topology = topology();
        for (name, node) in [
            ("abcd000000000001", 0xabcd_0000_0000_0001),
            ("ABCD1", 0xabcd_1000_0000_0002),
            ("1234", 0x1234_0000_0000_0003),
            ("b:9092", 0xabcd_1000_0000_0002),
            ("C:9090", 0x1234_0000_0000_0003),
            ("00000000000000ff", 0xff),
        ] {
            assert_eq!(topology.find(name), Ok(node), "{name}");
        }
    }

    #[test]
    fn what_names_none_or_several_says_so() {
        let mut topology = topology();
        for name in ["", "123", "a", "d:9090", "abcd00000000000101"] {
            assert_eq!(topology.find(name), Err(FindError::Unknown { name: name.to_owned() }), "{name}");
        }
        let nodes = vec!["abcd000000000001".to_owned(), "abcd100000000002".to_owned()];
        assert_eq!(topology.find("abcd"), Err(FindError::Ambiguous { name: "abcd".to_owned(), nodes }));
        topology.remove(0xabcd_0000_0000_0001, true, 1).unwrap();
        assert_eq!(topology.find("abcd"), Ok(0xabcd_1000_0000_0002), "removed nodes are not meant");
    }
}
