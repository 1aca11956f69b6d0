//! Metrics of the process and of the build.

use prometheus::process_collector::ProcessCollector;
use prometheus::{IntGaugeVec, Opts, Registry};

use crate::build_info;

/// Registers `process_*` and `prometheus_build_info`, `pharos_build_info`.
pub(super) fn register(registry: &Registry) -> Result<(), prometheus::Error> {
    registry.register(Box::new(ProcessCollector::for_self()))?;
    for (name, version) in
        [("prometheus_build_info", build_info::PROMETHEUS_VERSION), ("pharos_build_info", build_info::VERSION)]
    {
        let help = "A metric with a constant '1' value labeled by version and revision from which the node was built.";
        let info = IntGaugeVec::new(Opts::new(name, help), &["version", "revision"])?;
        info.with_label_values(&[version, build_info::REVISION]).set(1);
        registry.register(Box::new(info))?;
    }
    Ok(())
}
