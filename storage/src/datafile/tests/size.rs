//! How small files are, on real data.

use super::super::decimal::{best_scale, join, split};
use super::super::exposition::node_exporter;
use super::{Rows, write};

fn report(what: &str, rows: &Rows) -> f64 {
    let (summary, file) = write(rows);
    let per_sample = |bytes: usize| bytes as f64 / summary.samples as f64;
    let total = per_sample(file.len() + summary.index.len());
    println!(
        "{what}: {} series, {} samples: data file {} B = {:.4} B/sample, index {} B = {:.4} B/sample, together {total:.4}",
        summary.rows,
        summary.samples,
        file.len(),
        per_sample(file.len()),
        summary.index.len(),
        per_sample(summary.index.len()),
    );
    total
}

#[test]
fn a_real_node_exporter_takes_less_than_eight_tenths_of_a_byte_a_sample() {
    let Some(series) = node_exporter("localhost:9100") else { return };
    assert!(report("one host", &series) <= 0.70);
}

/// More hosts, each with times of its own, and whatever changes shifted so that no run of bytes is that of another host.
#[test]
fn more_hosts_take_less_because_names_and_footer_are_shared() {
    let mut all = Rows::new();
    let mut noise = Noise(1);
    for host in 0..4 {
        let Some(series) = node_exporter(&format!("host-{host:02}:9100")) else { return };
        for (labels, mut samples) in series {
            samples.ts.iter_mut().for_each(|ts| *ts += host * 97);
            shift(&mut samples.values, &mut noise);
            all.insert(labels, samples);
        }
    }
    assert!(report("four hosts", &all) <= 0.70);
}

struct Noise(u64);

impl Noise {
    /// A number below `n`.
    fn below(&mut self, n: i64) -> i64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(self.0) * n as u128) >> 64) as i64
    }
}

/// Shifts the mantissas by some number. Series that do not change, or are no decimals, stay.
fn shift(values: &mut [f64], noise: &mut Noise) {
    let Some(scale) = best_scale(values) else { return };
    let Some(mantissas) = values.iter().map(|value| split(*value, scale)).collect::<Option<Vec<_>>>() else { return };
    let changes = mantissas.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    let start = noise.below(1 + changes.sum::<i64>());
    values.iter_mut().zip(mantissas).for_each(|(value, mantissa)| *value = join(mantissa + start, scale));
}
