//! The rules against restic's own results.
//!
//! Input times and tags, and which of them each policy keeps and why, are facts taken from the
//! expected results of restic's retention tests (restic/restic, `internal/data/testdata`), by
//! position among the snapshots sorted newest first. Fractions of a second are dropped; the order
//! they gave is kept by the sequence number.

use seawall_base::Timestamp;
use seawall_policy::Span;
use seawall_policy::retention::{
    Count, Group, Guards, Period, PolicyError, Rules, Snapshot, Verdict, decide,
};

/// Time and tags, newest first.
const SNAPSHOTS: &str = "\
2016-01-18 12:02:03
2016-01-12 21:08:03
2016-01-12 21:02:03
2016-01-09 21:02:03
2016-01-08 20:02:03
2016-01-07 10:02:03
2016-01-06 08:02:03
2016-01-05 09:02:03
2016-01-04 16:23:03
2016-01-04 12:30:03
2016-01-04 12:28:03
2016-01-04 12:24:03
2016-01-04 12:23:03
2016-01-04 11:23:03
2016-01-04 10:23:03
2016-01-03 07:02:03
2016-01-01 07:08:03
2016-01-01 01:03:03
2016-01-01 01:02:03
2015-11-22 10:20:30
2015-11-21 10:20:30
2015-11-20 10:20:30
2015-11-18 10:20:30
2015-11-15 10:20:30
2015-11-13 10:20:30
2015-11-13 10:20:30
2015-11-12 10:20:30
2015-11-10 10:20:30
2015-11-08 10:20:30
2015-10-22 10:20:30
2015-10-22 10:20:30
2015-10-22 10:20:30 foo,bar
2015-10-22 10:20:30 foo,bar
2015-10-22 10:20:30 foo,bar
2015-10-20 10:20:30
2015-10-11 10:20:30
2015-10-10 10:20:30
2015-10-09 10:20:30
2015-10-08 10:20:30
2015-10-06 10:20:30
2015-10-05 10:20:30
2015-10-02 10:20:30
2015-10-01 10:20:30
2015-09-22 10:20:30
2015-09-20 10:20:30
2015-09-11 10:20:30
2015-09-10 10:20:30
2015-09-09 10:20:30
2015-09-08 10:20:30
2015-09-06 10:20:30
2015-09-05 10:20:30
2015-09-02 10:20:30
2015-09-01 10:20:30
2015-08-22 10:20:30
2015-08-21 10:20:30
2015-08-20 10:20:30
2015-08-18 10:20:30
2015-08-15 10:20:30
2015-08-13 10:20:30
2015-08-13 10:20:30
2015-08-12 10:20:30
2015-08-10 10:20:30
2015-08-08 10:20:30
2014-11-22 10:20:30
2014-11-21 10:20:30
2014-11-20 10:20:30
2014-11-18 10:20:30
2014-11-15 10:20:30 foo,bar
2014-11-13 10:20:30 bar
2014-11-13 10:20:30 foo
2014-11-12 10:20:30 foo
2014-11-10 10:20:30 foo
2014-11-08 10:20:30 foo
2014-10-22 10:20:30 foo
2014-10-20 10:20:30 foo
2014-10-11 10:20:30 foo
2014-10-10 10:20:30 foo
2014-10-09 10:20:30 foo
2014-10-08 10:20:30 foo
2014-10-06 10:20:30 foo
2014-10-05 10:20:30 foo
2014-10-02 10:20:30 foo
2014-10-01 10:20:30 foo
2014-09-22 10:20:30
2014-09-20 10:20:30
2014-09-11 10:20:30
2014-09-10 10:20:30
2014-09-09 10:20:30
2014-09-08 10:20:30
2014-09-06 10:20:30
2014-09-05 10:20:30
2014-09-02 10:20:30
2014-09-01 10:20:30
2014-08-22 10:20:30
2014-08-21 10:20:30
2014-08-20 10:20:30
2014-08-18 10:20:30
2014-08-15 10:20:30
2014-08-13 10:20:30
2014-08-13 10:20:30
2014-08-12 10:20:30
2014-08-10 10:20:30
2014-08-08 10:20:30";

/// A policy, then each reason with the positions that have it.
const EXPECTED: &[(&str, &[(&str, &str)])] = &[
    ("last=10", &[("last", "0-9")]),
    ("last=15", &[("last", "0-14")]),
    ("last=99", &[("last", "0-98")]),
    ("last=200", &[("last", "0-102")]),
    ("hourly=20", &[("hourly", "0-1,3-9,13-17,19-24")]),
    ("daily=3", &[("daily", "0-1,3")]),
    ("daily=10", &[("daily", "0-1,3-8,15-16")]),
    ("daily=30", &[("daily", "0-1,3-8,15-16,19-24,26-29,34-43")]),
    ("last=5 daily=5", &[("last", "0-4"), ("daily", "0-1,3-5")]),
    ("last=2 daily=10", &[("last", "0-1"), ("daily", "0-1,3-8,15-16")]),
    ("weekly=2", &[("weekly", "0-1")]),
    ("weekly=4", &[("weekly", "0-1,3,15")]),
    ("daily=3 weekly=4", &[("daily", "0-1,3"), ("weekly", "0-1,3,15")]),
    ("monthly=6", &[("monthly", "0,19,29,43,53,63")]),
    (
        "daily=2 weekly=2 monthly=6",
        &[("daily", "0-1"), ("weekly", "0-1"), ("monthly", "0,19,29,43,53,63")],
    ),
    ("yearly=10", &[("yearly", "0,19,63"), ("oldest yearly", "102")]),
    (
        "daily=7 weekly=2 monthly=3 yearly=10",
        &[
            ("daily", "0-1,3-7"),
            ("weekly", "0-1"),
            ("monthly", "0,19,29"),
            ("yearly", "0,19,63"),
            ("oldest yearly", "102"),
        ],
    ),
    ("tags=foo", &[("tags foo", "31-33,67,69-82")]),
    ("tags=foo,bar", &[("tags foo,bar", "31-33,67")]),
    ("tags=foo tags=bar", &[("tags foo", "31-33,67,69-82"), ("tags bar", "31-33,67-68")]),
    ("within=1d", &[("within 1d", "0")]),
    ("within=2d", &[("within 2d", "0")]),
    ("within=7d", &[("within 7d", "0-2")]),
    ("within=1m", &[("within 1m", "0-18")]),
    ("within=1m14d", &[("within 1m14d", "0-18")]),
    ("within=1y1d1m", &[("within 1y1m1d", "0-62")]),
    ("within=13d23h", &[("within 13d23h", "0-8")]),
    ("within=2m2h", &[("within 2m2h", "0-22")]),
    ("within=1y2m3d3h", &[("within 1y2m3d3h", "0-67")]),
    (
        "within-hourly=1y2m3d3h",
        &[("hourly within 1y2m3d3h", "0-1,3-9,13-17,19-24,26-29,34-58,60-67")],
    ),
    (
        "within-daily=1y2m3d3h",
        &[("daily within 1y2m3d3h", "0-1,3-8,15-16,19-24,26-29,34-58,60-67")],
    ),
    (
        "within-weekly=1y2m3d3h",
        &[("weekly within 1y2m3d3h", "0-1,3,15,19,23,28-29,35,41,43-45,49,53,57,62-63,67")],
    ),
    ("within-monthly=1y2m3d3h", &[("monthly within 1y2m3d3h", "0,19,29,43,53,63")]),
    ("within-yearly=1y2m3d3h", &[("yearly within 1y2m3d3h", "0,19,63")]),
    (
        "within=1h within-hourly=1d within-daily=7d within-weekly=1m within-monthly=1y within-yearly=9999y",
        &[
            ("within 1h", "0"),
            ("hourly within 1d", "0"),
            ("daily within 7d", "0-1"),
            ("weekly within 1m", "0-1,3,15"),
            ("monthly within 1y", "0,19,29,43,53"),
            ("yearly within 9999y", "0,19,63"),
            ("oldest yearly within 9999y", "102"),
        ],
    ),
    ("last=unlimited", &[("last", "0-102")]),
    (
        "last=unlimited hourly=unlimited",
        &[("last", "0-102"), ("hourly", "0-1,3-9,13-17,19-24,26-29,34-58,60-68,70-98,100-102")],
    ),
    ("hourly=unlimited", &[("hourly", "0-1,3-9,13-17,19-24,26-29,34-58,60-68,70-98,100-102")]),
    (
        "daily=3 weekly=2 monthly=unlimited yearly=unlimited",
        &[
            ("daily", "0-1,3"),
            ("weekly", "0-1"),
            ("monthly", "0,19,29,43,53,63,73,83,93"),
            ("yearly", "0,19,63"),
            ("oldest monthly", "102"),
            ("oldest yearly", "102"),
        ],
    ),
];

fn timestamp(text: &str) -> Timestamp {
    let n = |range: std::ops::Range<usize>| text[range].parse::<u64>().expect("digits");
    let (year, month, day) = (n(0..4), n(5..7), n(8..10));
    let leaps = |y: u64| y / 4 - y / 100 + y / 400;
    let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334][month as usize - 1];
    let leap_day = u64::from(month > 2 && leaps(year) > leaps(year - 1));
    let days = (year - 1970) * 365 + leaps(year - 1) - leaps(1969) + before + leap_day + day - 1;
    Timestamp(days * 86_400 + n(11..13) * 3_600 + n(14..16) * 60 + n(17..19))
}

fn snapshots() -> Vec<Snapshot> {
    let one = |(nr, line): (usize, &str)| Snapshot {
        group: Group { node: "host".to_owned(), set: None, class: 1 },
        sequence: 1_000 - nr as u64,
        created: timestamp(line),
        witnessed: Some(timestamp(line)),
        tags: line.get(20..).map_or_else(Vec::new, |t| t.split(',').map(str::to_owned).collect()),
        copies: 0,
        in_use: false,
        proven: false,
    };
    SNAPSHOTS.lines().enumerate().map(one).collect()
}

const FREE: Guards = Guards { copies: 0, min_age: Span::hours(0) };

fn rules(text: &str) -> Rules {
    let mut rules = Rules::default();
    for (name, value) in text.split(' ').filter_map(|rule| rule.split_once('=')) {
        let period = Period::ALL.into_iter().find(|p| name.ends_with(&p.to_string()));
        if name == "tags" {
            rules.tags.push(value.split(',').map(str::to_owned).collect());
        } else if name.starts_with("within") {
            let span = value.parse().expect("a span");
            rules.within.insert(period.unwrap_or(Period::Last), span);
        } else {
            let count: Count = value.parse().expect("a count");
            rules.counts.insert(period.expect("a period"), count);
        }
    }
    rules
}

/// `0-2,7` as a list.
fn positions(text: &str) -> Vec<usize> {
    let one = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        from.parse::<usize>().expect("digits")..=to.parse().expect("digits")
    };
    text.split(',').flat_map(one).collect()
}

#[test]
fn every_policy_keeps_what_restic_keeps_and_says_why() {
    let (snapshots, now) = (snapshots(), timestamp("2026-01-01 00:00:00"));
    assert_eq!(snapshots.len(), 103);
    for (text, expected) in EXPECTED {
        let verdicts = decide(&snapshots, &rules(text), FREE, now).expect("a policy");
        let mut found: Vec<(String, usize)> = Vec::new();
        for (nr, verdict) in verdicts.iter().enumerate() {
            if let Verdict::Keep(reasons) = verdict {
                found.extend(reasons.iter().filter(|r| r.is_rule()).map(|r| (r.to_string(), nr)));
            }
        }
        let mut wanted: Vec<(String, usize)> = expected
            .iter()
            .flat_map(|(why, list)| positions(list).into_iter().map(|nr| ((*why).to_owned(), nr)))
            .collect();
        found.sort();
        wanted.sort();
        assert_eq!(found, wanted, "{text}");
    }
}

#[test]
fn where_restic_would_drop_everything_nothing_is_decided() {
    let refused = decide(&snapshots(), &rules(""), FREE, Timestamp(u64::MAX));
    assert_eq!(refused, Err(PolicyError::KeepsNothing));
    assert_eq!(
        decide(&[], &rules("last=0 within=0d"), FREE, Timestamp(0)),
        Err(PolicyError::KeepsNothing)
    );
}
