//! Hours of the week: `mon-fri 08:00-18:00`.

use seawall_base::{Seconds, Timestamp};

use super::Zone;

const MINUTES: u16 = 7 * 24 * 60;

/// How far ahead an opening is looked for. A week repeats; a change to summer time can swallow
/// one opening, so two weeks and a day find any that there is.
const HORIZON: u64 = 15 * 24 * 60;

/// Most spans of a rule.
const MAX_SPANS: usize = 32;

/// A local time as the minute of the week, from Monday 00:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WeekMinute(u16);

impl WeekMinute {
    /// Of a day (0 is Monday), hour and minute; `None` if there is none such.
    pub fn new(day: u8, hour: u8, minute: u8) -> Option<Self> {
        let in_range = day < 7 && hour < 24 && minute < 60;
        in_range.then(|| Self((u16::from(day) * 24 + u16::from(hour)) * 60 + u16::from(minute)))
    }
}

/// Spans of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hours(Vec<(u16, u16)>);

impl Hours {
    /// Reads spans such as `mon-fri 08:00-18:00`, `sat 10:00-24:00` and `always`.
    pub(super) fn parse(spans: &[String]) -> Result<Self, String> {
        if spans.len() > MAX_SPANS {
            return Err(format!("{} spans of hours, at most {MAX_SPANS}", spans.len()));
        }
        let mut hours = Vec::new();
        for span in spans {
            if span == "always" {
                hours.push((0, MINUTES));
                continue;
            }
            let parsed = parse_span(span).ok_or_else(|| {
                format!(
                    "{span:?} is no span of hours: write `mon-fri 08:00-18:00`, `sun 00:00-24:00` \
                     or `always`; a span ends on the day it begins"
                )
            })?;
            hours.extend(parsed);
        }
        Ok(Self(hours))
    }

    fn contain(&self, at: WeekMinute) -> bool {
        self.0.iter().any(|(from, to)| (*from..*to).contains(&at.0))
    }

    /// The first time from `at` on that lies within them. `None` for never.
    pub(super) fn next(&self, at: Timestamp, zone: Zone<'_>) -> Option<Timestamp> {
        if self.0.is_empty() {
            return None;
        }
        if self.contain(zone(at)) {
            return Some(at);
        }
        // Zones are whole minutes from UTC, so local minutes begin where minutes of UTC do.
        let first = Timestamp(at.0 - at.0 % 60);
        let minutes = (1..=HORIZON).map(|n| first.after(Seconds(n * 60)));
        let mut open = minutes.filter(|at| self.contain(zone(*at)));
        open.next()
    }
}

fn parse_span(span: &str) -> Option<impl Iterator<Item = (u16, u16)>> {
    let (days, times) = span.split_once(' ')?;
    let (first, last) = days.split_once('-').unwrap_or((days, days));
    let (first, last) = (parse_day(first)?, parse_day(last)?);
    let (from, to) = times.split_once('-')?;
    let (from, to) = (parse_time(from)?, parse_time(to)?);
    let in_order = first <= last && from < to;
    in_order.then(|| (first..=last).map(move |day| (day * 1_440 + from, day * 1_440 + to)))
}

fn parse_day(name: &str) -> Option<u16> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    DAYS.iter().position(|day| *day == name).map(|n| n as u16)
}

/// `HH:MM`, up to `24:00`, as minutes of the day.
fn parse_time(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let two_digits = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| part.parse::<u16>().ok()).flatten()
    };
    let (hour, minute) = (two_digits(hour)?, two_digits(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= 1_440).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-23 was a Monday.
    const MONDAY: u64 = 1_795_392_000;

    fn utc(at: Timestamp) -> WeekMinute {
        let minutes = (at.0 / 60 + 3 * 1_440) % u64::from(MINUTES);
        WeekMinute(minutes as u16)
    }

    fn hours(spans: &[&str]) -> Result<Hours, String> {
        Hours::parse(&spans.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn spans_are_read_strictly() {
        let office = hours(&["mon-fri 08:00-18:00", "sat 10:00-24:00"]).expect("good");
        assert_eq!(office.0.len(), 6);
        assert_eq!(office.0[5], (5 * 1_440 + 600, 6 * 1_440));
        for bad in [
            "mon-fri",
            "Mon 08:00-18:00",
            "mon 8:00-18:00",
            "mon 08:00-08:00",
            "mon 18:00-08:00",
            "fri-mon 08:00-18:00",
            "mon 08:00-24:01",
            "mon 08:60-18:00",
            "mon  08:00-18:00",
            "",
            "mon 08:00-18:00 ",
            "any",
            "mon +8:00-18:00",
        ] {
            assert!(hours(&[bad]).is_err(), "{bad}");
        }
        assert!(hours(&["always"; 33]).is_err(), "too many");
    }

    #[test]
    fn the_next_opening_is_found_to_the_minute() {
        let office = hours(&["mon-fri 08:00-18:00"]).expect("good");
        let next = |at: u64| office.next(Timestamp(at), &utc).expect("there is one").0;
        let (open, close) = (MONDAY + 8 * 3_600, MONDAY + 18 * 3_600);
        assert_eq!(next(MONDAY), open);
        assert_eq!(next(open - 1), open);
        assert_eq!(next(open + 17), open + 17);
        assert_eq!(next(close - 1), close - 1);
        assert_eq!(next(close), open + 86_400);
        assert_eq!(next(close + 4 * 86_400), open + 7 * 86_400, "Friday evening");
        assert_eq!(hours(&[]).expect("none").next(Timestamp(MONDAY), &utc), None);
        let always = hours(&["always"]).expect("good");
        assert_eq!(always.next(Timestamp(MONDAY + 5), &utc), Some(Timestamp(MONDAY + 5)));
    }
}
