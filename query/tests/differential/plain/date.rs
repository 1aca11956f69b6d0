//! Parts of dates, counted up from the epoch year by year and month by month.

use pharos_promql::FunctionId;

const DAY_SECS: i64 = 86_400;
/// Beyond some three thousand years from the epoch nothing is checked.
const SECS_MAX: f64 = 1e11;

/// A part of the UTC date at so many seconds after the epoch; `None` out of bounds.
pub(super) fn part(id: FunctionId, secs: f64) -> Option<f64> {
    if secs.is_nan() || secs.abs() > SECS_MAX {
        return None;
    }
    let secs = secs as i64;
    let (days, of_day) = (secs.div_euclid(DAY_SECS), secs.rem_euclid(DAY_SECS));
    let (year, day_of_year) = year_and_day(days);
    let (month, day) = month_and_day(year, day_of_year);
    let value = match id {
        FunctionId::Year => year,
        FunctionId::Month => month,
        FunctionId::DayOfMonth => day,
        FunctionId::DayOfYear => day_of_year + 1,
        FunctionId::DaysInMonth => days_in_month(year, month),
        // The epoch was a Thursday.
        FunctionId::DayOfWeek => (days + 4).rem_euclid(7),
        FunctionId::Hour => of_day / 3600,
        FunctionId::Minute => of_day / 60 % 60,
        other => unreachable!("no part of a date: {other:?}"),
    };
    Some(value as f64)
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_year(year: i64) -> i64 {
    if is_leap(year) { 366 } else { 365 }
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn year_and_day(mut days: i64) -> (i64, i64) {
    let mut year = 1970;
    while days < 0 {
        year -= 1;
        days += days_in_year(year);
    }
    while days >= days_in_year(year) {
        days -= days_in_year(year);
        year += 1;
    }
    (year, days)
}

fn month_and_day(year: i64, mut day: i64) -> (i64, i64) {
    let mut month = 1;
    while day >= days_in_month(year, month) {
        day -= days_in_month(year, month);
        month += 1;
    }
    (month, day + 1)
}
