//! The calendar of retention: years, months, ISO weeks, days and hours, all in UTC.
//!
//! UTC and not local time: two nodes of a fleet, and the same node after a move, must decide
//! alike. Whole seconds and the proleptic Gregorian calendar, signed, because "9999 years ago" is
//! before the epoch.

use seawall_base::Timestamp;

const DAY: i64 = 86_400;

/// Seconds since the epoch as a signed number; times beyond its range are the end of time.
pub(crate) fn seconds(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

/// What of a time a rule looks at: two times in the same bucket count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bucket {
    Hour(i64),
    Day(i64),
    Week(i64),
    Month(i64),
    Year(i64),
}

impl Bucket {
    pub(crate) fn hour(at: Timestamp) -> Self {
        Self::Hour(seconds(at).div_euclid(3_600))
    }

    pub(crate) fn day(at: Timestamp) -> Self {
        Self::Day(seconds(at).div_euclid(DAY))
    }

    /// ISO weeks begin on Monday. Counted through, so that a week around New Year is one.
    pub(crate) fn week(at: Timestamp) -> Self {
        // The epoch was a Thursday.
        Self::Week((seconds(at).div_euclid(DAY) + 3).div_euclid(7))
    }

    pub(crate) fn month(at: Timestamp) -> Self {
        let (year, month, _) = civil(seconds(at).div_euclid(DAY));
        Self::Month(year * 12 + month)
    }

    pub(crate) fn year(at: Timestamp) -> Self {
        Self::Year(civil(seconds(at).div_euclid(DAY)).0)
    }
}

/// `at` moved back by years, months, days and hours. A day that a month does not have counts on
/// into the next, as in 31 March less a month: 3 March.
pub(crate) fn back(at: Timestamp, years: u32, months: u32, days: u32, hours: u32) -> i64 {
    let at = seconds(at);
    let (year, month, day) = civil(at.div_euclid(DAY));
    let month = (year - i64::from(years)) * 12 + (month - 1) - i64::from(months);
    let first = days_from_civil(month.div_euclid(12), month.rem_euclid(12) + 1);
    (first + day - 1 - i64::from(days)) * DAY + at.rem_euclid(DAY) - i64::from(hours) * 3_600
}

/// Year, month (from 1) and day (from 1) of a day since the epoch.
/// Howard Hinnant's `civil_from_days`.
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + i64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// The day since the epoch on which a month (from 1) begins. Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64) -> i64 {
    let y = year - i64::from(month <= 2);
    let (era, yoe) = (y.div_euclid(400), y.rem_euclid(400));
    let doy = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5;
    era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARCH_31: Timestamp = Timestamp(1_774_962_000); // 2026-03-31T13:00:00Z

    #[test]
    fn months_overflow_into_the_next() {
        assert_eq!(back(MARCH_31, 0, 1, 0, 0), 1_772_542_800); // 2026-03-03T13:00:00Z
        assert_eq!(back(MARCH_31, 1, 0, 0, 0), 1_743_426_000); // 2025-03-31T13:00:00Z
        assert_eq!(back(MARCH_31, 0, 0, 31, 14), 1_772_233_200); // 2026-02-27T23:00:00Z
        assert!(back(MARCH_31, 9_999, 0, 0, 0) < 0);
    }

    #[test]
    fn a_week_is_one_across_new_year() {
        let day = |n: u64| Timestamp(n * 86_400);
        // 2018-12-31 was a Monday: day 17 896.
        assert_eq!(Bucket::week(day(17_896)), Bucket::week(day(17_902)));
        assert_ne!(Bucket::week(day(17_895)), Bucket::week(day(17_896)));
        assert_ne!(Bucket::year(day(17_896)), Bucket::year(day(17_897)));
    }

    proptest! {
        #[test]
        fn the_calendar_is_its_own_inverse(days in -4_000_000i64..4_000_000) {
            let (year, month, day) = civil(days);
            prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
            prop_assert_eq!(days_from_civil(year, month) + day - 1, days);
        }

        #[test]
        fn back_is_before(at in 0u64..1 << 50, y in 0u32..99, m in 0u32..99, d in 0u32..99, h in 0u32..99) {
            let at = Timestamp(at);
            // 31 days less a month can be up to 3 days later than the month before.
            let slack = if y + m > 0 { 3 * DAY } else { 0 };
            prop_assert!(back(at, y, m, d, h) <= seconds(at) + slack);
        }
    }
}
