//! What a function wants the user to know. Positions are added by the operator, see [`Note::argument`].

use pharos_model::TimestampMs;
use pharos_model::number::format_g;

use crate::functions::date::Civil;

/// How a note is shown: in the API's `warnings` or its `infos`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    Warning,
    Info,
}

/// One remark. Two notes with the same text are one.
#[derive(Clone, Debug, PartialEq)]
pub struct Note {
    pub severity: Severity,
    /// As shown, kind and metric name included; without details and position.
    pub text: String,
    /// Index of the call's argument whose position is shown.
    pub argument: u8,
    /// Figures that are shown between text and position, and that grow when notes meet.
    pub monotonicity: Option<Monotonicity>,
}

impl Note {
    /// The text with its details; what follows is ` (line:column)`.
    pub fn to_text(&self) -> String {
        match &self.monotonicity {
            None => self.text.clone(),
            Some(details) => format!("{}{}", self.text, details.to_text()),
        }
    }
}

/// How far bucket counts had to be raised, over all the samples where they had to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Monotonicity {
    pub samples: u64,
    pub min_ts: TimestampMs,
    pub max_ts: TimestampMs,
    /// Lowest and highest upper bound of a raised bucket.
    pub min_bucket: f64,
    pub max_bucket: f64,
    pub max_diff: f64,
}

impl Monotonicity {
    /// Of one sample.
    pub fn at(ts: TimestampMs, min_bucket: f64, max_bucket: f64, max_diff: f64) -> Self {
        Self { samples: 1, min_ts: ts, max_ts: ts, min_bucket, max_bucket, max_diff }
    }

    /// Adds what was seen elsewhere. The order does not matter.
    pub fn merge(&mut self, other: Self) {
        self.samples += other.samples;
        self.min_ts = self.min_ts.min(other.min_ts);
        self.max_ts = self.max_ts.max(other.max_ts);
        self.min_bucket = self.min_bucket.min(other.min_bucket);
        self.max_bucket = self.max_bucket.max(other.max_bucket);
        self.max_diff = self.max_diff.max(other.max_diff);
    }

    fn to_text(self) -> String {
        format!(
            ", from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            format_g(self.min_bucket),
            format_g(self.max_bucket),
            two_digits(self.max_diff),
            self.samples,
            rfc3339(self.min_ts),
            rfc3339(self.max_ts),
        )
    }
}

/// Go's `%.2g`: two significant digits, an exponent when it is below -4 or at least 2.
fn two_digits(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return format_g(value);
    }
    let rounded = format!("{value:.1e}");
    let (mantissa, exponent) = rounded.split_once('e').expect("LowerExp writes an exponent");
    let exponent: i32 = exponent.parse().expect("LowerExp writes an integer exponent");
    if (-4..2).contains(&exponent) {
        // Both digits survive the way through a float of so few of them.
        return format!("{}", rounded.parse::<f64>().expect("LowerExp writes a float"));
    }
    let mantissa = mantissa.strip_suffix(".0").unwrap_or(mantissa);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}

/// Whole seconds in UTC: `2024-12-25T00:00:00Z`.
fn rfc3339(ts: TimestampMs) -> String {
    // Go truncates toward zero here.
    let date = Civil::from_unix(ts / 1000);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year, date.month, date.day, date.hour, date.minute, date.second
    )
}

/// The notes of one call, in the order of their first appearance, each once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Notes {
    list: Vec<Note>,
}

impl Notes {
    /// Adds a note, or merges it into the one with the same text.
    pub fn add(&mut self, note: Note) {
        match self.list.iter_mut().find(|known| known.text == note.text && known.severity == note.severity) {
            None => self.list.push(note),
            Some(known) => {
                if let (Some(sum), Some(more)) = (&mut known.monotonicity, note.monotonicity) {
                    sum.merge(more);
                }
            }
        }
    }

    /// As if they had been made so many times.
    pub fn times(mut self, evaluations: u32) -> Self {
        let figures = self.list.iter_mut().filter_map(|note| note.monotonicity.as_mut());
        figures.for_each(|figures| figures.samples *= u64::from(evaluations));
        self
    }

    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Note> {
        self.list.iter()
    }

    pub fn into_vec(self) -> Vec<Note> {
        self.list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(text: &str, monotonicity: Option<Monotonicity>) -> Note {
        Note { severity: Severity::Info, text: text.into(), argument: 1, monotonicity }
    }

    #[test]
    fn notes_with_one_text_are_one_note() {
        let mut notes = Notes::default();
        for text in ["a", "b", "a"] {
            notes.add(note(text, None));
        }
        assert_eq!(notes.iter().map(Note::to_text).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn details_grow_when_notes_meet() {
        let mut notes = Notes::default();
        for (ts, min, max, diff) in [
            (1_735_084_800_000, 5.0, 50.0, 5.5),
            (1_703_462_400_000, 10.0, 100.0, 10.0),
            (1_733_011_200_000, 2.5, 75.0, 7.5),
        ] {
            notes.add(note("fixed", Some(Monotonicity::at(ts, min, max, diff))));
        }
        assert_eq!(
            notes.into_vec()[0].to_text(),
            "fixed, from buckets 2.5 to 100, with a max diff of 10, over 3 samples from 2023-12-25T00:00:00Z to 2024-12-25T00:00:00Z"
        );
    }

    #[test]
    fn only_samples_are_counted_again() {
        let mut notes = Notes::default();
        notes.add(note("fixed", Some(Monotonicity::at(1, 5.0, 50.0, 5.5))));
        notes.add(note("plain", None));
        let figures = |samples| Some(Monotonicity { samples, ..Monotonicity::at(1, 5.0, 50.0, 5.5) });
        assert_eq!(notes.times(3).into_vec(), [note("fixed", figures(3)), note("plain", None)]);
    }

    #[test]
    fn differences_have_two_digits() {
        for (value, text) in [
            (0.0, "0"),
            (10.0, "10"),
            (5.5, "5.5"),
            (0.123, "0.12"),
            (99.6, "1e+02"),
            (1234.0, "1.2e+03"),
            (0.00001234, "1.2e-05"),
            (0.0001234, "0.00012"),
            (1.0, "1"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(two_digits(value), text);
        }
    }
}
