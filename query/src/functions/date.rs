//! Parts of a date in UTC, from seconds since the epoch.

const SECS_PER_DAY: i64 = 86_400;
/// Days from 0000-03-01, where a year of this reckoning begins, to the epoch.
const DAYS_TO_EPOCH: i64 = 719_468;
/// Days of the 400 years after which the calendar repeats.
const DAYS_PER_ERA: i64 = 146_097;
/// Seconds from the start of Go's calendar, in March of the year -292277022400, to the epoch.
const GO_START_TO_EPOCH: i64 = 9_223_372_028_741_760_000;

/// A point in time, cut into its parts. Proleptic Gregorian, no leap seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Civil {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// Days since 1970-01-01.
    days: i64,
}

impl Civil {
    pub fn from_unix(secs: i64) -> Self {
        Self::from_days(secs.div_euclid(SECS_PER_DAY), secs.rem_euclid(SECS_PER_DAY))
    }

    fn from_days(days: i64, second_of_day: i64) -> Self {
        // Years that begin in March have their leap day at the end.
        let since = days + DAYS_TO_EPOCH;
        let (era, day_of_era) = (since.div_euclid(DAYS_PER_ERA), since.rem_euclid(DAYS_PER_ERA));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        Self { year, month, day, hour, minute, second, days }
    }

    /// Of a sample's value in seconds, as in Go on amd64: a float that no integer can hold, NaN among them, becomes the smallest
    /// one, and times before the start of Go's calendar wrap around to its end.
    pub fn from_value(secs: f64) -> Self {
        let representable = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&secs);
        let secs = if representable { secs as i64 } else { i64::MIN };
        let since_start = secs.wrapping_add(GO_START_TO_EPOCH) as u64;
        let secs = i128::from(since_start) - i128::from(GO_START_TO_EPOCH);
        let (days, rest) = (secs.div_euclid(i128::from(SECS_PER_DAY)), secs.rem_euclid(i128::from(SECS_PER_DAY)));
        // A day count takes 17 bits less than the seconds.
        Self::from_days(days as i64, rest as i64)
    }

    /// From 0 for Sunday.
    pub fn day_of_week(&self) -> i64 {
        // The epoch was a Thursday.
        (self.days + 4).rem_euclid(7)
    }

    /// From 1.
    pub fn day_of_year(&self) -> i64 {
        let before: i64 = (1..self.month).map(|month| days_in_month(self.year, month)).sum();
        before + self.day
    }

    pub fn days_in_month(&self) -> i64 {
        days_in_month(self.year, self.month)
    }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_cut_into_their_parts() {
        // Seconds; year, month, day; hour, minute, second; weekday, day of the year, days of the month.
        for (secs, date, time, derived) in [
            (0, (1970, 1, 1), (0, 0, 0), (4, 1, 31)),
            (-1, (1969, 12, 31), (23, 59, 59), (3, 365, 31)),
            (951_782_400, (2000, 2, 29), (0, 0, 0), (2, 60, 29)),
            (1_456_790_399, (2016, 2, 29), (23, 59, 59), (1, 60, 29)),
            (1_456_790_400, (2016, 3, 1), (0, 0, 0), (2, 61, 31)),
            (1_230_767_999, (2008, 12, 31), (23, 59, 59), (3, 366, 31)),
            (-2_203_891_200, (1900, 3, 1), (0, 0, 0), (4, 60, 31)),
            (4_107_542_400, (2100, 3, 1), (0, 0, 0), (1, 60, 31)),
            (1_136_239_445, (2006, 1, 2), (22, 4, 5), (1, 2, 31)),
            (-62_135_596_800, (1, 1, 1), (0, 0, 0), (1, 1, 31)),
        ] {
            let civil = Civil::from_unix(secs);
            assert_eq!((civil.year, civil.month, civil.day), date, "{secs}");
            assert_eq!((civil.hour, civil.minute, civil.second), time, "{secs}");
            assert_eq!((civil.day_of_week(), civil.day_of_year(), civil.days_in_month()), derived, "{secs}");
            assert_eq!(Civil::from_value(secs as f64), civil);
        }
    }

    #[test]
    fn fractions_are_cut_off_toward_zero() {
        assert_eq!(Civil::from_value(59.999).minute, 0);
        assert_eq!(Civil::from_value(-0.9), Civil::from_unix(0));
    }

    #[test]
    fn what_is_no_time_becomes_the_wrapped_end_of_the_calendar() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e19, -1e300] {
            assert_eq!(Civil::from_value(value).year, 292_277_026_596, "{value}");
        }
    }
}
