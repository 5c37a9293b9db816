//! Points in time and spans, in the units their names say.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A span in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds(pub u64);

impl Seconds {
    /// `n` days.
    pub const fn days(n: u64) -> Self {
        Self(n * 86_400)
    }

    /// `n` hours.
    pub const fn hours(n: u64) -> Self {
        Self(n * 3_600)
    }
}

/// Seconds since the Unix epoch, UTC. What a machine *claims*; evidence is a witness's cosignature.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// This time moved later by `span`, saturating at the end of time.
    #[must_use]
    pub const fn after(self, span: Seconds) -> Self {
        Self(self.0.saturating_add(span.0))
    }

    /// This time moved earlier by `span`, saturating at the epoch.
    #[must_use]
    pub const fn before(self, span: Seconds) -> Self {
        Self(self.0.saturating_sub(span.0))
    }

    /// Year, month, day, hour, minute, second in the proleptic Gregorian calendar, UTC.
    ///
    /// Howard Hinnant's `civil_from_days`, for the non-negative days this type can hold.
    fn civil(self) -> (u64, u64, u64, u64, u64, u64) {
        let (days, secs) = (self.0 / 86_400, self.0 % 86_400);
        let z = days + 719_468;
        let era = z / 146_097;
        let doe = z % 146_097;
        let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + u64::from(month <= 2);
        (year, month, day, secs / 3_600, secs / 60 % 60, secs % 60)
    }
}

/// A text is not a time as [`Timestamp`] displays it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a time of the form 2026-11-21T08:30:00Z")]
pub struct ParseTimestampError;

impl FromStr for Timestamp {
    type Err = ParseTimestampError;

    /// Parses what is displayed and nothing else: one time has one spelling. Years have four
    /// digits. Hinnant's `days_from_civil`.
    fn from_str(text: &str) -> Result<Self, ParseTimestampError> {
        let digits = |range: std::ops::Range<usize>| -> Result<u64, ParseTimestampError> {
            let part = text.get(range).filter(|part| part.bytes().all(|b| b.is_ascii_digit()));
            part.and_then(|part| part.parse().ok()).ok_or(ParseTimestampError)
        };
        let (year, month, day) = (digits(0..4)?, digits(5..7)?, digits(8..10)?);
        let (hour, minute, second) = (digits(11..13)?, digits(14..16)?, digits(17..19)?);
        if year < 1970 || !(1..=12).contains(&month) || day == 0 {
            return Err(ParseTimestampError);
        }
        let y = year - u64::from(month <= 2);
        let (era, yoe) = (y / 400, y % 400);
        let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        let days = (era * 146_097 + doe).checked_sub(719_468).ok_or(ParseTimestampError)?;
        let it = Self(days * 86_400 + hour * 3_600 + minute * 60 + second);
        // Punctuation, a thirtieth of February, a twenty-fifth hour: none of them is shown again.
        if it.to_string() == text { Ok(it) } else { Err(ParseTimestampError) }
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC, to the second.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (y, mo, d, h, mi, s) = self.civil();
        write!(f, "{y:04}-{mo:02}-{d:02}T{h:02}:{mi:02}:{s:02}Z")
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn displays_as_rfc_3339() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp(951_782_400).to_string(), "2000-02-29T00:00:00Z");
        assert_eq!(Timestamp(1_795_132_799).to_string(), "2026-11-19T23:59:59Z");
        assert_eq!(Timestamp(4_102_444_800).to_string(), "2100-01-01T00:00:00Z");
    }

    #[test]
    fn what_is_displayed_is_parsed_and_nothing_else() {
        for at in [0, 1, 951_782_399, 951_782_400, 951_868_800, 1_795_132_799, 253_402_300_799] {
            assert_eq!(Timestamp(at).to_string().parse(), Ok(Timestamp(at)), "{at}");
        }
        for text in [
            "",
            "2026-11-21",
            "2026-11-21T08:30:00",
            "2026-11-21t08:30:00Z",
            "2026-11-21T08:30:00+00:00",
            "2026-11-21T08:30:00.5Z",
            "2026-02-30T00:00:00Z",
            "2026-00-10T00:00:00Z",
            "2026-13-10T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "2026-11-21T08:60:00Z",
            "1969-12-31T23:59:59Z",
            "+026-11-21T08:30:00Z",
            "2026-11-21T08:30:0\u{664}Z",
        ] {
            assert_eq!(text.parse::<Timestamp>(), Err(ParseTimestampError), "{text:?}");
        }
    }

    #[test]
    fn spans_saturate() {
        assert_eq!(Timestamp(5).before(Seconds(9)), Timestamp(0));
        assert_eq!(Timestamp(u64::MAX).after(Seconds(9)), Timestamp(u64::MAX));
        assert_eq!(Timestamp(10).after(Seconds::hours(1)), Timestamp(3_610));
    }
}
