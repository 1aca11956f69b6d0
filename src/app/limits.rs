//! Limits of tenants on all nodes: document [`LIMITS_DOCUMENT`].

use std::collections::BTreeMap;

use parking_lot::Mutex;
use pharos_cluster::meta::Documents;
use pharos_ingest::config::load::parse;
use pharos_model::TenantId;
use serde::Deserialize;
use tracing::{error, info};

use super::App;
use crate::node::{Node, SeriesLimits};

/// The document that says what tenants may have.
pub const LIMITS_DOCUMENT: &str = "limits.yml";

/// The whole document.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Limits {
    default: TenantLimits,
    tenants: BTreeMap<String, TenantLimits>,
}

/// What is not said is as for all tenants, and for those as the flags say.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct TenantLimits {
    /// Most active series in one partition; 0 is no limit.
    series_limit: Option<u32>,
}

/// The version of the document that was looked at last, 0 for none.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<u64>);

impl Limits {
    fn series(&self, of_flags: Option<u32>) -> Result<SeriesLimits, String> {
        let unless_zero = |limit: u32| Some(limit).filter(|limit| *limit > 0);
        let default = self.default.series_limit.map_or(of_flags, unless_zero);
        let tenant = |(name, limits): (&String, &TenantLimits)| {
            let tenant = TenantId::new(name).map_err(|error| format!("tenant {name:?}: {error}"))?;
            Ok((tenant, limits.series_limit.map_or(default, unless_zero)))
        };
        let tenants = self.tenants.iter().map(tenant).collect::<Result<_, String>>()?;
        Ok(SeriesLimits { default, tenants })
    }
}

/// What a document says, where the flags say this. An empty one says nothing.
pub(super) fn read(text: &str, of_flags: Option<u32>) -> Result<SeriesLimits, String> {
    let limits: Option<Limits> = parse(text).map_err(|error| error.to_string())?;
    limits.unwrap_or_default().series(of_flags)
}

impl Seen {
    /// Puts the newest version into force if it is not yet. One that cannot be read changes nothing.
    pub(super) fn follow(&self, documents: &Documents, node: &Node, of_flags: Option<u32>) {
        let Some(current) = documents.get(LIMITS_DOCUMENT).map(|document| document.current()) else { return };
        let mut seen = self.0.lock();
        if *seen == current.version {
            return;
        }
        *seen = current.version;
        match read(&current.content, of_flags) {
            Ok(limits) => {
                info!(version = current.version, tenants = limits.tenants.len(), "limits of the cluster's document");
                node.router().set_series_limits(limits);
            }
            Err(error) => {
                error!(version = current.version, err = error, "the cluster's limits cannot be used, those before are");
            }
        }
    }
}

impl App {
    /// Puts another version of the limits into force, if there is one that was not tried yet.
    pub(super) fn follow_limits(&self) {
        let documents = self.node.meta().documents().borrow().clone();
        self.limits.follow(&documents, &self.node, self.flags.series_limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenants_have_what_is_said_of_them_or_of_all() {
        let text = "default: {series_limit: 10}\ntenants:\n  a: {series_limit: 5}\n  b: {series_limit: 0}\n  c: {}\n";
        let limits = read(text, Some(7)).unwrap();
        let of = |name: &str| limits.tenants[&TenantId::new(name).unwrap()];
        assert_eq!((limits.default, of("a"), of("b"), of("c")), (Some(10), Some(5), None, Some(10)));
        assert_eq!(read("", Some(7)).unwrap(), SeriesLimits { default: Some(7), ..SeriesLimits::default() });
        assert_eq!(read("default: {series_limit: 0}", Some(7)).unwrap().default, None);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_place() {
        let error = read("tenants:\n  a: {series: 5}\n", None).unwrap_err();
        assert!(error.contains("line 2") && error.contains("series"), "{error}");
        let error = read("tenants: {'a/b': {}}", None).unwrap_err();
        assert!(error.contains("a/b"), "{error}");
    }
}
