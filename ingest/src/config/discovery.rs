//! Where targets come from: the `*_sd_configs` keys of a job.
//! Only describes discovery; [`crate::discovery`] runs it.

use std::collections::BTreeMap;
use std::path::Path;

use pharos_model::LabelSet;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::block::{Block, Check, Zero, block};
use super::error::Invalid;
use super::http::HttpClientConfig;
use super::opaque::Opaque;
use super::scalar::{PromDuration, RedactedUrl, join_dir, names};

/// The label that holds a target's host and port.
pub const ADDRESS_LABEL: &str = "__address__";

/// Mechanisms of Prometheus that are known here but not run.
const UNSUPPORTED: [(&str, &str); 29] = [
    ("aws_sd_configs", "AWS"),
    ("azure_sd_configs", "Azure"),
    ("consul_sd_configs", "Consul"),
    ("digitalocean_sd_configs", "DigitalOcean"),
    ("docker_sd_configs", "Docker"),
    ("dockerswarm_sd_configs", "Docker Swarm"),
    ("ec2_sd_configs", "EC2"),
    ("eureka_sd_configs", "Eureka"),
    ("gce_sd_configs", "GCE"),
    ("hetzner_sd_configs", "Hetzner"),
    ("ionos_sd_configs", "IONOS"),
    ("kubernetes_sd_configs", "Kubernetes"),
    ("kuma_sd_configs", "Kuma"),
    ("lightsail_sd_configs", "Lightsail"),
    ("linode_sd_configs", "Linode"),
    ("marathon_sd_configs", "Marathon"),
    ("nerve_sd_configs", "Nerve"),
    ("nomad_sd_configs", "Nomad"),
    ("oci_sd_configs", "OCI"),
    ("openstack_sd_configs", "OpenStack"),
    ("outscale_sd_configs", "Outscale"),
    ("ovhcloud_sd_configs", "OVHcloud"),
    ("puppetdb_sd_configs", "PuppetDB"),
    ("scaleway_sd_configs", "Scaleway"),
    ("serverset_sd_configs", "Serverset"),
    ("stackit_sd_configs", "STACKIT"),
    ("triton_sd_configs", "Triton"),
    ("uyuni_sd_configs", "Uyuni"),
    ("vultr_sd_configs", "Vultr"),
];

/// The discovery keys of a job, laid inside its section. Printed last and in the order of the keys, as Prometheus does.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DiscoveryConfigs {
    pub dns_sd_configs: Vec<DnsSdConfig>,
    pub file_sd_configs: Vec<FileSdConfig>,
    pub http_sd_configs: Vec<HttpSdConfig>,
    pub static_configs: Vec<TargetGroup>,
    /// Mechanisms that are not run, by key, with secrets masked.
    pub unsupported: BTreeMap<&'static str, Opaque>,
}

impl DiscoveryConfigs {
    /// The first mechanism that is configured but not run, by the name users know.
    pub fn first_unsupported(&self) -> Option<&'static str> {
        let key = self.unsupported.keys().next()?;
        UNSUPPORTED.iter().find(|(known, _)| known == key).map(|(_, name)| *name)
    }

    pub fn set_directory(&mut self, dir: &Path) {
        self.file_sd_configs.iter_mut().flat_map(|sd| &mut sd.files).for_each(|file| join_dir(dir, file));
        self.http_sd_configs.iter_mut().for_each(|sd| sd.http.set_directory(dir));
    }

    /// Addresses of static targets must not be URLs. Only asked where no relabelling could still change them.
    pub fn check_static_addresses(&self) -> Result<(), Invalid> {
        self.static_configs.iter().flat_map(|group| &group.targets).try_for_each(|address| check_address(address))
    }
}

/// Whether an address could be a host and port; a path in it is a URL put there by mistake.
pub fn check_address(address: &str) -> Result<(), Invalid> {
    if address.contains('/') {
        return Err(Invalid::new(format!("{} is not a valid hostname", pharos_model::labels::quote(address))));
    }
    Ok(())
}

impl Block for DiscoveryConfigs {
    fn set<'de, M: MapAccess<'de>>(&mut self, key: &str, map: &mut M) -> Result<bool, M::Error> {
        match key {
            "dns_sd_configs" => self.dns_sd_configs = map.next_value::<Option<_>>()?.unwrap_or_default(),
            "file_sd_configs" => self.file_sd_configs = map.next_value::<Option<_>>()?.unwrap_or_default(),
            "http_sd_configs" => self.http_sd_configs = map.next_value::<Option<_>>()?.unwrap_or_default(),
            "static_configs" => self.static_configs = map.next_value::<Option<_>>()?.unwrap_or_default(),
            other => {
                let Some((known, _)) = UNSUPPORTED.iter().find(|(known, _)| *known == other) else { return Ok(false) };
                if let Some(value) = map.next_value::<Option<Opaque>>()? {
                    self.unsupported.insert(known, value);
                }
            }
        }
        Ok(true)
    }

    fn write<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        for (key, value) in self.unsupported.range(..="dns_sd_configs") {
            map.serialize_entry(key, value)?;
        }
        write_list(map, "dns_sd_configs", &self.dns_sd_configs)?;
        write_list(map, "file_sd_configs", &self.file_sd_configs)?;
        write_list(map, "http_sd_configs", &self.http_sd_configs)?;
        for (key, value) in self.unsupported.range("dns_sd_configs"..) {
            map.serialize_entry(key, value)?;
        }
        write_list(map, "static_configs", &self.static_configs)
    }
}

fn write_list<M: SerializeMap, T: Serialize>(map: &mut M, key: &str, list: &[T]) -> Result<(), M::Error> {
    if list.is_empty() { Ok(()) } else { map.serialize_entry(key, list) }
}

impl Zero for DiscoveryConfigs {
    fn is_zero(&self) -> bool {
        *self == Self::default()
    }
}

block! {
    /// Targets from DNS records.
    pub struct DnsSdConfig {
        keys {
            names [always]: Vec<String>,
            /// Default 30 s.
            refresh_interval: PromDuration,
            /// Default SRV.
            record_type [always key "type"]: DnsRecordType,
            /// Port of the targets; needed for every type but SRV.
            port [always]: u64,
        }
    }
}

names! {
    /// Records that are asked for.
    pub enum DnsRecordType { Srv = "SRV", A = "A", Aaaa = "AAAA", Mx = "MX", Ns = "NS", }
    bad = |text: &str| format!("invalid DNS-SD records type {text}");
}

impl Default for DnsSdConfig {
    fn default() -> Self {
        let refresh_interval = PromDuration::from_secs(30);
        Self { names: Vec::new(), refresh_interval, record_type: DnsRecordType::Srv, port: 0 }
    }
}

impl Check for DnsSdConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        if self.names.is_empty() {
            return Err(Invalid::new("DNS-SD config must contain at least one SRV record name"));
        }
        if self.record_type != DnsRecordType::Srv && self.port == 0 {
            return Err(Invalid::new("a port is required in DNS-SD configs for all record types except SRV"));
        }
        if self.port > u64::from(u16::MAX) {
            return Err(Invalid::new(format!("port {} in DNS-SD config is beyond 65535", self.port)));
        }
        check_interval(self.refresh_interval)
    }
}

block! {
    /// Targets from files that are watched.
    pub struct FileSdConfig {
        keys {
            files [always]: Vec<String>,
            /// How often files are read even though no change was noticed. Default 5 min.
            refresh_interval: PromDuration,
        }
    }
}

impl Default for FileSdConfig {
    fn default() -> Self {
        Self { files: Vec::new(), refresh_interval: PromDuration::from_secs(300) }
    }
}

impl Check for FileSdConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        if self.files.is_empty() {
            return Err(Invalid::new("file service discovery config must contain at least one path name"));
        }
        for name in &self.files {
            let known = Path::new(name).extension().and_then(|ext| ext.to_str());
            let known = matches!(known, Some("json" | "yml" | "yaml" | "JSON" | "YML" | "YAML"));
            if !known || !is_path_pattern(name) {
                return Err(Invalid::new(format!("path name {name:?} is not valid for file discovery")));
            }
        }
        check_interval(self.refresh_interval)
    }
}

/// Whether a pattern has at most one `*`, in its last part. Holds for all file lists of the configuration.
pub fn is_path_pattern(pattern: &str) -> bool {
    match pattern.split_once('*') {
        None => true,
        Some((_, rest)) => !rest.contains('/'),
    }
}

fn check_interval(interval: PromDuration) -> Result<(), Invalid> {
    if interval.0 <= 0 {
        return Err(Invalid::new("refresh_interval must be greater than 0"));
    }
    Ok(())
}

block! {
    /// Targets from an HTTP server that answers JSON.
    pub struct HttpSdConfig {
        keys {}
        inline { http: HttpClientConfig, }
        keys {
            /// Default 1 min.
            refresh_interval: PromDuration,
            url [always]: Option<RedactedUrl>,
        }
    }
}

impl Default for HttpSdConfig {
    fn default() -> Self {
        Self { http: HttpClientConfig::default(), refresh_interval: PromDuration::from_secs(60), url: None }
    }
}

impl Check for HttpSdConfig {
    fn check(&mut self) -> Result<(), Invalid> {
        let url = self.url.as_ref().ok_or_else(|| Invalid::new("URL is missing"))?.expose();
        if url.scheme() != "http" && url.scheme() != "https" {
            return Err(Invalid::new("URL scheme must be 'http' or 'https'"));
        }
        if !url.has_host() {
            return Err(Invalid::new("host is missing in URL"));
        }
        check_interval(self.refresh_interval)?;
        self.http.check()
    }
}

/// Addresses that share labels: what every mechanism finds, and the form of `static_configs` and target files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TargetGroup {
    pub targets: Vec<String>,
    pub labels: BTreeMap<String, String>,
    /// What the mechanism knows of each target beyond its address, in the order of `targets`; empty or as long.
    pub target_labels: Vec<BTreeMap<String, String>>,
    /// Identifies the group within its mechanism, so that a newer version replaces it.
    pub source: String,
}

impl TargetGroup {
    /// The labels of each target: its own, then those of the group that it does not have.
    pub fn label_sets(&self) -> impl Iterator<Item = LabelSet> {
        self.targets.iter().enumerate().map(|(i, address)| {
            let group = self.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
            let own = self.target_labels.get(i).into_iter().flatten();
            let own = own.map(|(name, value)| (name.as_str(), value.as_str()));
            LabelSet::from_pairs(group.chain(own).chain([(ADDRESS_LABEL, address.as_str())]))
        })
    }
}

/// The keys of a group as users write it.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct GroupText {
    targets: Option<Vec<String>>,
    labels: Option<BTreeMap<String, Option<String>>>,
}

impl<'de> Deserialize<'de> for TargetGroup {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = GroupText::deserialize(deserializer)?;
        let labels = text.labels.unwrap_or_default();
        if let Some(bad) = labels.keys().find(|name| name.is_empty()) {
            return Err(D::Error::custom(format!("{bad:?} is not a valid label name")));
        }
        let labels = labels.into_iter().map(|(name, value)| (name, value.unwrap_or_default())).collect();
        Ok(Self { targets: text.targets.unwrap_or_default(), labels, ..Self::default() })
    }
}

impl Serialize for TargetGroup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("targets", &self.targets)?;
        if !self.labels.is_empty() {
            map.serialize_entry("labels", &self.labels)?;
        }
        map.end()
    }
}
