//! Targets from DNS: SRV, A, AAAA, MX and NS records.
//! A name that cannot be resolved keeps the targets of its last answer; a name that has no records loses them.

use std::collections::BTreeMap;

use futures::StreamExt;
use hickory_resolver::TokioResolver;
use hickory_resolver::proto::rr::{RData, RecordType};
use tracing::error;

use super::{DiscoveryMetrics, DiscoveryOptions, Ticks};
use crate::config::TargetGroup;
use crate::config::discovery::{DnsRecordType, DnsSdConfig};

/// Lookups of one configuration that are under way at once.
const LOOKUPS_AT_ONCE_MAX: usize = 16;

const NAME_LABEL: &str = "__meta_dns_name";
const SRV_TARGET_LABEL: &str = "__meta_dns_srv_record_target";
const SRV_PORT_LABEL: &str = "__meta_dns_srv_record_port";
const MX_TARGET_LABEL: &str = "__meta_dns_mx_record_target";
const NS_TARGET_LABEL: &str = "__meta_dns_ns_record_target";

pub(super) struct DnsDiscovery {
    config: DnsSdConfig,
    resolver: Option<TokioResolver>,
    metrics: DiscoveryMetrics,
    /// The newest answer for each name.
    groups: BTreeMap<String, TargetGroup>,
    pub(super) ticks: Ticks,
}

impl DnsDiscovery {
    pub(super) fn new(config: DnsSdConfig, options: &DiscoveryOptions) -> Self {
        let ticks = Ticks::new(config.refresh_interval.as_std());
        let (resolver, metrics) = (options.resolver.clone(), options.metrics.clone());
        Self { config, resolver, metrics, groups: BTreeMap::new(), ticks }
    }

    pub(super) async fn refresh(&mut self) -> Vec<TargetGroup> {
        let lookups: Vec<_> = self.config.names.iter().map(|name| self.look_up(name)).collect();
        let answers: Vec<_> = futures::stream::iter(lookups).buffered(LOOKUPS_AT_ONCE_MAX).collect().await;
        for (name, answer) in self.config.names.iter().zip(answers) {
            self.metrics.dns_lookups.inc();
            match answer {
                Ok(group) => drop(self.groups.insert(name.clone(), group)),
                Err(error) => {
                    self.metrics.dns_lookup_failures.inc();
                    error!(name, error, "error refreshing DNS targets");
                }
            }
        }
        self.groups.values().cloned().collect()
    }

    async fn look_up(&self, name: &str) -> Result<TargetGroup, String> {
        let resolver = self.resolver.as_ref().ok_or("no DNS resolver is configured on this machine")?;
        let records = match resolver.lookup(name, self.record_type()).await {
            Ok(lookup) => lookup.answers().iter().map(|record| record.data.clone()).collect(),
            Err(error) if error.is_no_records_found() && !is_server_failure(&error) => Vec::new(),
            Err(error) => return Err(format!("could not resolve {name:?}: {error}")),
        };
        let mut group = TargetGroup { source: name.to_owned(), ..TargetGroup::default() };
        // Servers rotate records; in order of address the targets stay the same.
        let mut targets: Vec<_> = records.iter().filter_map(|record| self.target(name, record)).collect();
        targets.sort();
        targets.dedup();
        (group.targets, group.target_labels) = targets.into_iter().unzip();
        Ok(group)
    }

    fn record_type(&self) -> RecordType {
        match self.config.record_type {
            DnsRecordType::Srv => RecordType::SRV,
            DnsRecordType::A => RecordType::A,
            DnsRecordType::Aaaa => RecordType::AAAA,
            DnsRecordType::Mx => RecordType::MX,
            DnsRecordType::Ns => RecordType::NS,
        }
    }

    /// Address and labels of the target that a record names. Other records than asked for, such as CNAME, give none.
    fn target(&self, name: &str, record: &RData) -> Option<(String, BTreeMap<String, String>)> {
        let mut labels = BTreeMap::from([(NAME_LABEL.to_owned(), name.to_owned())]);
        let mut named = |label: &str, value: String| drop(labels.insert(label.to_owned(), value));
        let (host, port) = match (self.config.record_type, record) {
            (DnsRecordType::Srv, RData::SRV(srv)) => {
                named(SRV_TARGET_LABEL, srv.target.to_utf8());
                named(SRV_PORT_LABEL, srv.port.to_string());
                (srv.target.to_utf8(), u64::from(srv.port))
            }
            (DnsRecordType::A, RData::A(a)) => (a.0.to_string(), self.config.port),
            (DnsRecordType::Aaaa, RData::AAAA(aaaa)) => (format!("[{}]", aaaa.0), self.config.port),
            (DnsRecordType::Mx, RData::MX(mx)) => {
                named(MX_TARGET_LABEL, mx.exchange.to_utf8());
                (mx.exchange.to_utf8(), self.config.port)
            }
            (DnsRecordType::Ns, RData::NS(ns)) => {
                named(NS_TARGET_LABEL, ns.0.to_utf8());
                (ns.0.to_utf8(), self.config.port)
            }
            _ => return None,
        };
        Some((format!("{}:{port}", host.trim_end_matches('.')), labels))
    }
}

/// Whether "no records" only means that the server could not answer.
fn is_server_failure(error: &hickory_resolver::net::NetError) -> bool {
    use hickory_resolver::net::{DnsError, NetError};
    use hickory_resolver::proto::op::ResponseCode;
    match error {
        NetError::Dns(DnsError::NoRecordsFound(none)) => {
            !matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain)
        }
        _ => false,
    }
}
