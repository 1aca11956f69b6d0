//! What a scan asks of the source: which follows from its plan and grid alone.

use pharos_model::TenantId;

use crate::exec::instant::InstantRead;
use crate::functions::{Grid, RangeWindow};
use crate::plan::{Read, Scan};
use crate::source::SelectRequest;

/// How a scan looks at the samples of a series.
#[derive(Clone, Copy, Debug)]
pub(in crate::exec) enum Look {
    Instant(InstantRead),
    Range(RangeWindow),
}

impl Look {
    pub(in crate::exec) fn of(scan: &Scan) -> Self {
        let shift = scan.selector.shift;
        Self::Instant(match &scan.read {
            Read::Instant { lookback_ms } => InstantRead::Newest { lookback_ms: *lookback_ms },
            Read::SampleTime { lookback_ms } => InstantRead::NewestTime { lookback_ms: *lookback_ms },
            Read::FloatTime { lookback_ms } => InstantRead::FloatTime { lookback_ms: *lookback_ms },
            Read::StartTime { lookback_ms } => InstantRead::NewestStart { lookback_ms: *lookback_ms },
            Read::Smoothed { lookback_ms } => InstantRead::Smoothed { lookback_ms: *lookback_ms },
            Read::Range { range_ms, selection, lookback_ms, .. } => {
                return Self::Range(RangeWindow {
                    range_ms: *range_ms,
                    offset_ms: shift.offset_ms,
                    at_ms: shift.at,
                    selection: *selection,
                    lookback_ms: *lookback_ms,
                });
            }
        })
    }
}

/// The samples that a scan needs for all steps of a grid, where queries look at start timestamps at all.
pub fn request_of(scan: &Scan, grid: &Grid, tenant: &TenantId) -> SelectRequest {
    let look = Look::of(scan);
    let range = match &look {
        Look::Instant(read) => read.range(grid, &scan.selector.shift),
        Look::Range(window) => window.read_range(grid),
    };
    // A series is then asked for its newest sample and no other.
    let newest_only =
        grid.n == 1 && matches!(look, Look::Instant(read) if !matches!(read, InstantRead::Smoothed { .. }));
    SelectRequest {
        tenant: tenant.clone(),
        matchers: scan.selector.matchers.clone(),
        range,
        newest_only,
        totals_only: scan.totals_only,
        starts: scan.read.looks_at_starts(),
    }
}
