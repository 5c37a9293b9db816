//! Spans as people write them: `1y5m7d2h`.

use std::fmt;
use std::str::FromStr;

use seawall_base::{Seconds, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::calendar;

/// Most of any one unit: 9 999 years are all of them.
const MAX: u32 = 99_999;

/// A span in calendar units. Months and years are as long as they are where the span is laid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    years: u32,
    months: u32,
    days: u32,
    hours: u32,
}

/// Why a text is no span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a span: write numbers with y, m (months), d or h, each at most once, like 1y6m or 36h"
)]
pub struct SpanError;

impl Span {
    /// `n` hours.
    pub const fn hours(n: u32) -> Self {
        Self { years: 0, months: 0, days: 0, hours: n }
    }

    /// Whether it is no time at all.
    pub fn is_zero(self) -> bool {
        self == Self::default()
    }

    /// Seconds since the epoch of the time this long before `at`; may be before the epoch.
    pub(crate) fn before(self, at: Timestamp) -> i64 {
        calendar::back(at, self.years, self.months, self.days, self.hours)
    }

    /// Its length in seconds where it ends at `at`.
    pub fn length_until(self, at: Timestamp) -> Seconds {
        let length = calendar::seconds(at).saturating_sub(self.before(at));
        Seconds(u64::try_from(length).unwrap_or(0))
    }
}

impl FromStr for Span {
    type Err = SpanError;

    fn from_str(text: &str) -> Result<Self, SpanError> {
        let (mut span, mut rest, mut any) = (Self::default(), text, false);
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let number: u32 = rest[..digits].parse().map_err(|_| SpanError)?;
            let unit = match rest.as_bytes().get(digits) {
                Some(b'y') => &mut span.years,
                Some(b'm') => &mut span.months,
                Some(b'd') => &mut span.days,
                Some(b'h') => &mut span.hours,
                _ => return Err(SpanError),
            };
            if *unit != 0 || number > MAX {
                return Err(SpanError);
            }
            *unit = number;
            any = true;
            rest = &rest[digits + 1..];
        }
        if any { Ok(span) } else { Err(SpanError) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(self.years, 'y'), (self.months, 'm'), (self.days, 'd'), (self.hours, 'h')];
        for (n, unit) in units.into_iter().filter(|(n, _)| *n > 0) {
            write!(f, "{n}{unit}")?;
        }
        if self.is_zero() { f.write_str("0h") } else { Ok(()) }
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "1", "d", "1w", "1d1d", "-1d", "1 d", "1.5d", "100000h", "1d7", "é", "1é"]
        {
            assert_eq!(text.parse::<Span>(), Err(SpanError), "{text:?}");
        }
        assert_eq!("0d".parse(), Ok(Span::default()));
        assert_eq!("2h1y".parse::<Span>().expect("any order").to_string(), "1y2h");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(y in 0..=MAX, m in 0..=MAX, d in 0..=MAX, h in 0..=MAX) {
            let span = Span { years: y, months: m, days: d, hours: h };
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_panics(text in ".{0,12}") {
            let _ = text.parse::<Span>();
        }
    }
}
