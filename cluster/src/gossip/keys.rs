//! Keys of datagrams, made from the cluster's secret and its id: what another cluster sends does not open, even by the same secret.
//!
//! Every process seals with a key of its own, made from that of the cluster. So a counter is enough for a nonce, and no two processes
//! ever use one twice.

use std::fmt;

use ring::aead::{CHACHA20_POLY1305, LessSafeKey, UnboundKey};
use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};

use crate::peers::NodeId;

/// Fewest bytes of a secret: what people think of is shorter, and can be guessed by who has one datagram.
pub const SECRET_BYTES_MIN: usize = 32;
/// Most secrets at a time.
pub const SECRETS_MAX: usize = 8;

/// Bytes that tell keys apart, without telling them.
pub(super) const KEY_ID_BYTES: usize = 4;
pub(super) type KeyId = [u8; KEY_ID_BYTES];

const ID_LABEL: &[u8] = b"pharos gossip 1 key id";
const PROCESS_LABEL: &[u8] = b"pharos gossip 1 process";
/// Of clusters without a secret. Too short to be one.
const NO_SECRET: &[u8] = b"no secret";

/// What all nodes of a cluster know and nobody else, newest first: the first one seals, all of them open.
#[derive(Clone, PartialEq, Eq)]
pub struct Secrets(Vec<Vec<u8>>);

/// Why a text has no secrets in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    #[error("there is no secret in it: make one with `openssl rand -hex 32`, the same for all nodes of the cluster")]
    Empty,
    #[error(
        "the secret in line {line} has {bytes} bytes, it needs at least {SECRET_BYTES_MIN}: make one with `openssl rand -hex 32`, the \
         same for all nodes of the cluster"
    )]
    Short { line: usize, bytes: usize },
    #[error(
        "there are {secrets} secrets in it, allowed are {SECRETS_MAX}: take out those that no node seals with any more"
    )]
    TooMany { secrets: usize },
}

impl Secrets {
    /// Reads one secret a line. Spaces around it do not count, nor do empty lines and those that begin with `#`.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let lines = (1..).zip(text.lines().map(str::trim));
        let given: Vec<(usize, &str)> = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')).collect();
        if let Some((line, secret)) = given.iter().find(|(_, secret)| secret.len() < SECRET_BYTES_MIN) {
            return Err(SecretError::Short { line: *line, bytes: secret.len() });
        }
        match given.len() {
            0 => Err(SecretError::Empty),
            secrets if secrets > SECRETS_MAX => Err(SecretError::TooMany { secrets }),
            _ => Ok(Self(given.into_iter().map(|(_, secret)| secret.as_bytes().to_vec()).collect())),
        }
    }

    /// For networks that nobody else is in: keys are made from the cluster's id alone, which is no secret.
    pub fn none() -> Self {
        Self(vec![NO_SECRET.to_vec()])
    }
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

/// The keys of a cluster.
pub struct Keys(Vec<Key>);

/// What one secret makes.
pub(super) struct Key {
    pub(super) id: KeyId,
    root: Prk,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// Of the cluster of this id.
    pub fn new(secrets: &Secrets, cluster: &str) -> Self {
        let salt = Salt::new(HKDF_SHA256, cluster.as_bytes());
        Self(secrets.0.iter().map(|secret| Key::new(salt.extract(secret))).collect())
    }

    pub(super) fn sealing(&self) -> &Key {
        &self.0[0]
    }

    pub(super) fn get(&self, id: KeyId) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }
}

impl Key {
    fn new(root: Prk) -> Self {
        let mut id = KeyId::default();
        let filled = root.expand(&[ID_LABEL], IdBytes).and_then(|expanded| expanded.fill(&mut id));
        filled.expect("so few bytes can be made of any key");
        Self { id, root }
    }

    /// What a process of a node seals with.
    pub(super) fn of_process(&self, node: NodeId, process: u64) -> LessSafeKey {
        let (node, process) = (node.to_le_bytes(), process.to_le_bytes());
        let info = [PROCESS_LABEL, &node, &process];
        let expanded = self.root.expand(&info, &CHACHA20_POLY1305).expect("so few bytes can be made of any key");
        LessSafeKey::new(UnboundKey::from(expanded))
    }
}

struct IdBytes;

impl KeyType for IdBytes {
    fn len(&self) -> usize {
        KEY_ID_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn a_secret_is_a_line_of_at_least_32_bytes() {
        let text = format!("# the new one\n  {LONG} \r\n\n{LONG}2\n");
        assert_eq!(Secrets::parse(&text), Ok(Secrets(vec![LONG.into(), format!("{LONG}2").into()])));
        for empty in ["", "\n \n", "# nothing\n"] {
            assert_eq!(Secrets::parse(empty), Err(SecretError::Empty));
        }
        assert_eq!(Secrets::parse(&format!("\n{}", &LONG[1..])), Err(SecretError::Short { line: 2, bytes: 31 }));
        assert_eq!(Secrets::parse(&format!("{LONG}\n").repeat(9)), Err(SecretError::TooMany { secrets: 9 }));
        let said = Secrets::parse("short").unwrap_err().to_string();
        assert!(said.contains("openssl rand -hex 32"), "{said}");
    }

    #[test]
    fn keys_differ_by_secret_and_by_cluster_and_are_not_shown() {
        let one = Secrets::parse(LONG).unwrap();
        let other = Secrets::parse(&format!("{LONG}2")).unwrap();
        let id = |secrets: &Secrets, cluster: &str| Keys::new(secrets, cluster).sealing().id;
        let all = [id(&one, "a"), id(&other, "a"), id(&one, "b"), id(&Secrets::none(), "a"), id(&Secrets::none(), "b")];
        let different: std::collections::BTreeSet<KeyId> = all.into_iter().collect();
        assert_eq!(different.len(), all.len());
        assert!(!format!("{one:?}").contains(LONG));
    }
}
