//! What the values of a series do over time.

use fastrand::Rng;
use pharos_model::sample::stale_nan;
use pharos_model::{LabelSet, Sample};

use super::{SPAN_MS, Temper};

/// What a series looks like over time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    interval_ms: i64,
    /// Every sample comes off by up to this.
    jitter_ms: i64,
    kind: Kind,
    pub scale: f64,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Counter {
        base: f64,
        resets: bool,
    },
    Gauge,
    Constant,
    /// Seconds since the epoch.
    Date,
    /// Now and then what arithmetic stumbles over.
    Odd,
}

impl Kind {
    pub(super) fn counter(temper: Temper) -> Self {
        let is_wild = temper == Temper::Wild;
        Self::Counter { base: if is_wild { 0.0 } else { 10_000.0 }, resets: is_wild }
    }
}

impl Shape {
    pub(super) fn random(rng: &mut Rng, labels: &LabelSet, temper: Temper) -> Self {
        let interval_ms = [10_000, 15_000, 15_000, 30_000, 60_000, 97_000][rng.usize(..6)];
        let jitter_ms = [0, 0, 0, 2000, interval_ms / 3000 * 1000][rng.usize(..5)];
        let kind = match (labels.metric_name().unwrap_or_default(), rng.u8(..10)) {
            (_, 0) if temper == Temper::Wild => Kind::Odd,
            (_, 1) => Kind::Constant,
            ("created", _) => Kind::Date,
            ("memory" | "temperature", _) => Kind::Gauge,
            _ => Kind::counter(temper),
        };
        Self { interval_ms, jitter_ms, kind, scale: 1.0 }
    }

    pub(super) fn with_kind(self, kind: Kind) -> Self {
        Self { kind, ..self }
    }

    pub(super) fn samples(&self, rng: &mut Rng, off_ms: i64) -> Vec<Sample> {
        let mut samples = Vec::new();
        let (mut at, end) = match rng.u8(..6) {
            0 => (rng.i64(0..SPAN_MS / 2000) * 1000, SPAN_MS),
            1 => (0, rng.i64(0..SPAN_MS)),
            _ => (0, SPAN_MS),
        };
        let mut value = self.first(rng);
        while at < end {
            let jitter = rng.i64(0..=self.jitter_ms / 1000) * 1000;
            if rng.u8(..30) == 0 {
                if rng.bool() {
                    samples.push(Sample { ts: at + jitter + off_ms, value: stale_nan() });
                }
                at += self.interval_ms * rng.i64(1..30);
                continue;
            }
            value = self.next(rng, value);
            samples.push(Sample { ts: at + jitter + off_ms, value: value * self.scale });
            at += self.interval_ms;
        }
        samples
    }

    fn first(&self, rng: &mut Rng) -> f64 {
        match self.kind {
            Kind::Counter { base, .. } => base + f64::from(rng.u8(..20)),
            Kind::Date => f64::from(rng.u32(..)),
            _ => f64::from(rng.i8(-20..20)) / 4.0,
        }
    }

    /// Values are sums of a few powers of two, so that adding them up rounds nothing whatever the order.
    fn next(&self, rng: &mut Rng, value: f64) -> f64 {
        match self.kind {
            Kind::Counter { base, resets } if rng.u8(..25) == 0 && resets => base + f64::from(rng.u8(..4)),
            Kind::Counter { .. } if rng.u8(..4) == 0 => value,
            Kind::Counter { .. } => value + f64::from(rng.u8(..40)) / 4.0,
            Kind::Gauge => f64::from(rng.i8(-40..40)) / 4.0,
            Kind::Constant => value,
            Kind::Date => value + f64::from(rng.u32(..100_000)),
            Kind::Odd => match rng.u8(..8) {
                0 => f64::NAN,
                1 => f64::INFINITY,
                2 => f64::NEG_INFINITY,
                3 => -0.0,
                _ => f64::from(rng.i8(-3..3)),
            },
        }
    }
}
