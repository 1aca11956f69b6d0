//! The flags of a node among others.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;

use pharos_model::byte_size;

use super::FlagError;

/// How a node takes part in a cluster of several. There is one as soon as it has an address for others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFlags {
    pub name: String,
    /// Where it listens for other nodes.
    pub listen: String,
    /// Where they reach it, `host:port`.
    pub advertise: String,
    pub initial_nodes: Vec<String>,
    pub join: Vec<String>,
    pub zone: String,
    /// Talks without TLS to nodes on other machines.
    pub allow_plaintext: bool,
    pub tls: Option<TlsFiles>,
    /// The file with the secret that seals gossip.
    pub gossip_secret: Option<PathBuf>,
    /// Most bytes a second of all snapshots that it sends to other nodes; none is no limit.
    pub snapshot_rate: Option<NonZeroU64>,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub cert: PathBuf,
    pub key: PathBuf,
    pub ca: PathBuf,
}

const LISTEN: &str = "cluster.listen-address";
const SNAPSHOT_RATE: &str = "cluster.snapshot-rate";
const TLS: [&str; 3] = ["cluster.tls-cert-file", "cluster.tls-key-file", "cluster.tls-ca-file"];
const GOSSIP_SECRET: &str = "cluster.gossip-secret-file";
/// Flags that mean nothing without an address for others.
const OF_MEMBERS: [&str; 10] = [
    "cluster.name",
    "cluster.advertise-address",
    "cluster.initial-nodes",
    "cluster.join",
    "cluster.zone",
    "cluster.allow-plaintext",
    TLS[0],
    TLS[1],
    TLS[2],
    GOSSIP_SECRET,
];

impl ClusterFlags {
    /// `None` for a node that stays alone.
    pub(super) fn read(texts: &BTreeMap<String, String>) -> Result<Option<Self>, FlagError> {
        let flags = Texts(texts);
        if flags.text(LISTEN).is_empty() {
            let set = |flag: &&&str| !matches!(flags.text(flag), "" | "false");
            return match OF_MEMBERS.iter().find(set) {
                Some(flag) => Err(flags.error(flag, format!("needs --{LISTEN}, where other nodes reach this one"))),
                None => Ok(None),
            };
        }
        let listen = match flags.text(LISTEN) {
            port if port.starts_with(':') => format!("0.0.0.0{port}"),
            full => full.to_owned(),
        };
        let advertise = match flags.text("cluster.advertise-address") {
            "" if names_a_host(&listen) => listen.clone(),
            "" => {
                let reason = "names no host that others could reach: give --cluster.advertise-address=HOST:PORT too";
                return Err(flags.error(LISTEN, reason));
            }
            given => given.to_owned(),
        };
        let name = flags.text("cluster.name");
        if name.is_empty() {
            return Err(flags.error("cluster.name", "is needed among other nodes: the same on all of them"));
        }
        if flags.text("object-store").is_empty() {
            let reason = "is needed among other nodes: data files are in one place that all of them reach, \
                          s3://BUCKET/PREFIX or file:///DIR on a shared file system; what a node that was alone has in \
                          objects/ below its storage path has to be there";
            return Err(flags.error("object-store", reason));
        }
        let tls = flags.tls()?;
        let gossip_secret = Some(flags.text(GOSSIP_SECRET)).filter(|path| !path.is_empty()).map(PathBuf::from);
        if tls.is_some() && gossip_secret.is_none() {
            let reason = "is needed with TLS, which does not seal the datagrams of gossip: a file with a secret, the same on all nodes; \
                          make one with `openssl rand -hex 32`";
            return Err(flags.error(GOSSIP_SECRET, reason));
        }
        Ok(Some(Self {
            name: name.to_owned(),
            listen,
            advertise,
            initial_nodes: flags.list("cluster.initial-nodes"),
            join: flags.list("cluster.join"),
            zone: flags.text("cluster.zone").to_owned(),
            allow_plaintext: flags.text("cluster.allow-plaintext") == "true",
            tls,
            gossip_secret,
            snapshot_rate: flags.snapshot_rate()?,
        }))
    }
}

impl ClusterFlags {
    /// Where the web interface is reached that listens at `web`: with the host that others know where it listens on all of this machine's.
    pub fn http(&self, web: SocketAddr) -> String {
        if !web.ip().is_unspecified() {
            return web.to_string();
        }
        let host = self.advertise.rsplit_once(':').map_or(self.advertise.as_str(), |(host, _)| host);
        format!("{host}:{}", web.port())
    }
}

/// Whether an address can be told to others: it has a port, and a host that is not "all of this machine's".
fn names_a_host(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    !matches!(host, "" | "0.0.0.0" | "[::]" | "::")
}

struct Texts<'a>(&'a BTreeMap<String, String>);

impl<'a> Texts<'a> {
    fn text(&self, flag: &str) -> &'a str {
        &self.0[flag]
    }

    fn error(&self, flag: &'static str, reason: impl Into<String>) -> FlagError {
        FlagError::Value { flag, value: self.0[flag].clone(), reason: reason.into() }
    }

    fn snapshot_rate(&self) -> Result<Option<NonZeroU64>, FlagError> {
        let bytes =
            byte_size::parse(self.text(SNAPSHOT_RATE)).map_err(|error| self.error(SNAPSHOT_RATE, error.to_string()))?;
        let bytes = u64::try_from(bytes).map_err(|_| self.error(SNAPSHOT_RATE, "must not be negative"))?;
        Ok(NonZeroU64::new(bytes))
    }

    fn list(&self, flag: &str) -> Vec<String> {
        let entries = self.text(flag).split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries.map(str::to_owned).collect()
    }

    fn tls(&self) -> Result<Option<TlsFiles>, FlagError> {
        match TLS.map(|flag| self.text(flag)) {
            ["", "", ""] => Ok(None),
            [cert, key, ca] if !cert.is_empty() && !key.is_empty() && !ca.is_empty() => {
                Ok(Some(TlsFiles { cert: cert.into(), key: key.into(), ca: ca.into() }))
            }
            given => {
                let missing =
                    TLS.into_iter().zip(given).find(|(_, path)| path.is_empty()).map_or(TLS[0], |(flag, _)| flag);
                Err(self.error(missing, "certificate, key and authority are given together or not at all"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(given: &[(&str, &str)]) -> Result<Option<ClusterFlags>, String> {
        let mut texts: BTreeMap<String, String> =
            OF_MEMBERS.iter().map(|flag| ((*flag).to_owned(), String::new())).collect();
        texts.extend([LISTEN, "object-store"].map(|flag| (flag.to_owned(), String::new())));
        texts.insert(SNAPSHOT_RATE.to_owned(), "100MB".to_owned());
        texts.extend(given.iter().map(|(flag, value)| ((*flag).to_owned(), (*value).to_owned())));
        ClusterFlags::read(&texts).map_err(|error| error.to_string())
    }

    #[test]
    fn a_node_with_an_address_for_others_is_a_member() {
        let store = ("object-store", "s3://bucket");
        let member = read(&[
            (LISTEN, ":9095"),
            ("cluster.advertise-address", "node-1:9095"),
            ("cluster.name", "prod"),
            ("cluster.initial-nodes", "node-1:9095, node-2:9095"),
            ("cluster.join", ""),
            store,
        ]);
        let member = member.unwrap().unwrap();
        let http = |web: &str| member.http(web.parse().unwrap());
        assert_eq!((member.listen.as_str(), http("0.0.0.0:9090")), ("0.0.0.0:9095", "node-1:9090".into()));
        assert_eq!((http("10.0.0.1:80"), http("[::]:80")), ("10.0.0.1:80".into(), "node-1:80".into()));
        assert_eq!(member.initial_nodes, ["node-1:9095", "node-2:9095"]);
        let near = read(&[(LISTEN, "127.0.0.1:9095"), ("cluster.name", "a"), store]).unwrap().unwrap();
        assert_eq!((near.advertise.as_str(), near.snapshot_rate), ("127.0.0.1:9095", NonZeroU64::new(100 << 20)));
        let unlimited =
            read(&[(LISTEN, "a:9095"), ("cluster.name", "a"), store, (SNAPSHOT_RATE, "0")]).unwrap().unwrap();
        assert_eq!(unlimited.snapshot_rate, None);
    }

    #[test]
    fn what_cannot_be_meant_is_said() {
        assert_eq!(read(&[]), Ok(None));
        let (name, store) = (("cluster.name", "a"), ("object-store", "s3://bucket"));
        for (given, said) in [
            (vec![name], "--cluster.name=a: needs --cluster.listen-address"),
            (vec![("cluster.allow-plaintext", "true")], "--cluster.allow-plaintext=true: needs"),
            (vec![(LISTEN, ":1"), name, store], "--cluster.listen-address=:1: names no host"),
            (vec![(LISTEN, "a:1"), store], "--cluster.name=: is needed"),
            (vec![(LISTEN, "a:1"), name], "--object-store=: is needed"),
            (vec![(LISTEN, "a:1"), name, store, (TLS[0], "c")], "--cluster.tls-key-file=: certificate, key"),
            (
                vec![(LISTEN, "a:1"), name, store, (TLS[0], "c"), (TLS[1], "k"), (TLS[2], "a")],
                "--cluster.gossip-secret-file=: is needed with TLS",
            ),
            (vec![(GOSSIP_SECRET, "s")], "--cluster.gossip-secret-file=s: needs --cluster.listen-address"),
            (vec![(LISTEN, "a:1"), name, store, (SNAPSHOT_RATE, "x")], "--cluster.snapshot-rate=x: "),
        ] {
            let error = read(&given).unwrap_err();
            assert!(error.starts_with(said), "{error}");
        }
    }
}
