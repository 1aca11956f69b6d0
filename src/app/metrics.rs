//! Metrics of the process and of the build.

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGauge, IntGaugeVec, Opts, Registry};

use crate::build_info;

/// Labels of Prometheus' own build metric. Go's version and build tags are empty.
const BUILD_LABELS: [&str; 7] = ["branch", "goarch", "goos", "goversion", "revision", "tags", "version"];

/// Registers `process_*`, `prometheus_ready`, `prometheus_build_info` and `pharos_build_info`.
pub(super) fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    let ready = IntGauge::new(
        "prometheus_ready",
        "Whether startup was fully completed and the server is ready for normal operation.",
    )?;
    // Metrics can be read only from then on.
    ready.set(1);
    registry.register(Box::new(ready))?;
    for (name, version) in
        [("prometheus_build_info", build_info::PROMETHEUS_VERSION), ("pharos_build_info", build_info::VERSION)]
    {
        let help = "A metric with a constant '1' value labeled by what the node was built from.";
        let info = IntGaugeVec::new(Opts::new(name, help), &BUILD_LABELS)?;
        let (arch, os) = (std::env::consts::ARCH, std::env::consts::OS);
        info.with_label_values(&[build_info::BRANCH, arch, os, "", build_info::REVISION, "", version]).set(1);
        registry.register(Box::new(info))?;
    }
    Ok(())
}
