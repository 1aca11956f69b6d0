//! `scrape_failure_log_file`: one line of JSON for each scrape that failed.

use std::path::Path;

use pharos_model::TimestampMs;
use tracing::warn;

use crate::fs::FileSystem;

#[derive(serde::Serialize)]
struct Line<'a> {
    time: String,
    level: &'static str,
    msg: &'a str,
    job_name: &'a str,
    target: &'a str,
}

/// A failure to be written down.
pub(super) struct Failure<'a> {
    pub(super) at: TimestampMs,
    pub(super) error: &'a str,
    pub(super) job: &'a str,
    pub(super) target: &'a str,
}

/// Appends the line. That it cannot be written is logged and otherwise ignored: scraping goes on.
pub(super) fn write(fs: &dyn FileSystem, path: &str, failure: &Failure<'_>) {
    let line = Line {
        time: rfc3339(failure.at),
        level: "ERROR",
        msg: failure.error,
        job_name: failure.job,
        target: failure.target,
    };
    let mut text = serde_json::to_vec(&line).expect("strings can be written as JSON");
    text.push(b'\n');
    if let Err(error) = fs.append(Path::new(path), &text) {
        warn!(path, %error, "cannot write the scrape failure log");
    }
}

/// `2006-01-02T15:04:05.000Z`
fn rfc3339(at: TimestampMs) -> String {
    let (days, ms) = (at.div_euclid(86_400_000), at.rem_euclid(86_400_000));
    // Days are counted from 0000-03-01, so that a leap day ends its year.
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", ms % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::InMemory;

    #[test]
    fn times_are_written_for_every_calendar() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_826_154_321, "2000-02-29T12:09:14.321Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339(ms), text);
        }
    }

    #[test]
    fn a_failure_is_one_line_of_json() {
        let fs = InMemory::default();
        let failure = Failure { at: 0, error: "it \"broke\"", job: "j", target: "http://t" };
        write(&fs, "/log", &failure);
        write(&fs, "/log", &failure);
        let line = r#"{"time":"1970-01-01T00:00:00.000Z","level":"ERROR","msg":"it \"broke\"","job_name":"j","target":"http://t"}"#;
        assert_eq!(fs.read(Path::new("/log")).unwrap(), format!("{line}\n{line}\n").into_bytes());
    }
}
