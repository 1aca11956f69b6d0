//! What this binary is.

/// Version of Pharos itself.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version that the API reports: Grafana decides by it which parts of Prometheus' API it may use.
pub const PROMETHEUS_VERSION: &str = "3.14.0";
/// The commit it was built from, where the build knew it.
pub const REVISION: &str = match option_env!("PHAROS_REVISION") {
    Some(revision) => revision,
    None => "unknown",
};
/// What stands for a branch where Prometheus names its own.
pub const BRANCH: &str = concat!("pharos-", env!("CARGO_PKG_VERSION"));
/// What targets see of who scrapes them.
pub const USER_AGENT: &str = concat!("Pharos/", env!("CARGO_PKG_VERSION"));
/// For `--version`.
pub const LONG_VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (speaks Prometheus 3.14.0's API)");
