//! What holds of every policy over every history.

use proptest::prelude::*;
use seawall_base::Timestamp;
use seawall_policy::Span;
use seawall_policy::retention::{
    Count, Group, Guards, Period, Reason, Rules, Snapshot, Verdict, decide,
};

const DAY: u64 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Policy {
    rules: Rules,
    guards: Guards,
}

fn decide_by(snapshots: &[Snapshot], policy: &Policy, now: u64) -> Vec<Verdict> {
    decide(snapshots, &policy.rules, policy.guards, Timestamp(now)).expect("there is a rule")
}

fn snapshot() -> impl Strategy<Value = Snapshot> {
    // Times crowd together, so that hours, days and ties are shared.
    let at = (0u64..900, prop_oneof![Just(0u64), 0u64..DAY]).prop_map(|(d, s)| d * DAY + s);
    let tags =
        prop::collection::vec(prop_oneof![Just("a"), Just("b")].prop_map(str::to_owned), 0..3);
    let set = prop::option::of(Just("db".to_owned()));
    (
        at,
        prop::option::weighted(0.9, 0u64..3 * DAY),
        tags,
        set,
        0u32..3,
        prop::bool::weighted(0.05),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(created, later, tags, set, copies, in_use, proven)| Snapshot {
            group: Group { node: "n".to_owned(), set, class: 1 },
            sequence: 0,
            created: Timestamp(created),
            witnessed: later.map(|l| Timestamp(created + l)),
            tags,
            copies,
            in_use,
            proven,
        })
}

fn history() -> impl Strategy<Value = Vec<Snapshot>> {
    prop::collection::vec(snapshot(), 1..60).prop_map(|mut all| {
        for (i, s) in all.iter_mut().enumerate() {
            s.sequence = i as u64 + 1;
        }
        all
    })
}

fn policy() -> impl Strategy<Value = Policy> {
    let period = || prop::sample::select(Period::ALL.to_vec());
    let count = prop_oneof![9 => (1u32..9).prop_map(Count::Newest), 1 => Just(Count::Unlimited)];
    let span = prop::sample::select(vec!["1h", "36h", "7d", "1m", "1y2m3d"])
        .prop_map(|s| s.parse::<Span>().expect("a span"));
    let tags =
        prop::collection::vec(prop::sample::select(vec!["a", "b"]).prop_map(str::to_owned), 0..3);
    let min_age = prop::sample::select(vec!["0h", "1d", "2m"]);
    (
        prop::collection::btree_map(period(), count, 1..4),
        prop::collection::btree_map(period(), span, 0..3),
        prop::collection::vec(tags, 0..3),
        min_age,
        0u32..3,
    )
        .prop_map(|(counts, within, tags, min_age, copies)| {
            let guards = Guards { min_age: min_age.parse().expect("a span"), copies };
            Policy { rules: Rules { counts, within, tags }, guards }
        })
}

fn kept(snapshots: &[Snapshot], policy: &Policy, now: u64) -> Vec<bool> {
    let verdicts = decide_by(snapshots, policy, now);
    verdicts.iter().map(|v| matches!(v, Verdict::Keep(_))).collect()
}

fn is_subset(of: &[bool], those: &[bool]) -> bool {
    those.iter().zip(of).all(|(these, of)| !these || *of)
}

proptest! {
    #[test]
    fn what_is_kept_shrinks_as_time_passes(
        snapshots in history(), policy in policy(), now in 0u64..1_000 * DAY, more in 0u64..500 * DAY,
    ) {
        let (early, late) = (kept(&snapshots, &policy, now), kept(&snapshots, &policy, now + more));
        prop_assert!(is_subset(&early, &late));
    }

    #[test]
    fn deciding_again_drops_nothing(
        snapshots in history(), policy in policy(), now in 0u64..1_000 * DAY,
    ) {
        let first = kept(&snapshots, &policy, now);
        let left: Vec<_> =
            snapshots.iter().zip(first).filter(|(_, k)| *k).map(|(s, _)| s.clone()).collect();
        prop_assert!(kept(&left, &policy, now).iter().all(|k| *k));
    }

    #[test]
    fn more_rules_and_stricter_guards_keep_more(
        snapshots in history(), policy in policy(), other in policy(), now in 0u64..1_000 * DAY,
    ) {
        let mut more = policy.clone();
        for (period, count) in &other.rules.counts {
            let mine = more.rules.counts.entry(*period).or_default();
            *mine = (*mine).max(*count);
        }
        for (period, span) in &other.rules.within {
            more.rules.within.entry(*period).or_insert(*span);
        }
        more.rules.tags.extend(other.rules.tags.clone());
        more.guards.copies = more.guards.copies.max(other.guards.copies);
        prop_assert!(is_subset(&kept(&snapshots, &more, now), &kept(&snapshots, &policy, now)));
    }

    #[test]
    fn guards_hold(snapshots in history(), policy in policy(), now in 0u64..1_000 * DAY) {
        let verdicts = decide_by(&snapshots, &policy, now);
        for (s, verdict) in snapshots.iter().zip(&verdicts) {
            let newest = snapshots
                .iter()
                .filter(|o| o.group == s.group)
                .max_by_key(|o| (o.created, o.sequence));
            let held = newest == Some(s)
                || s.in_use
                || s.copies < policy.guards.copies
                || s.witnessed.is_none_or(|at| at.0 > now)
                || s.created.0 > now;
            match verdict {
                Verdict::Forget => prop_assert!(!held),
                Verdict::Keep(reasons) => {
                    prop_assert!(!reasons.is_empty());
                    prop_assert_eq!(reasons.contains(&Reason::InUse), s.in_use);
                }
            }
        }
    }

    #[test]
    fn other_groups_change_nothing(
        snapshots in history(), policy in policy(), now in 0u64..1_000 * DAY,
    ) {
        let all = decide_by(&snapshots, &policy, now);
        for set in [None, Some("db".to_owned())] {
            let one: Vec<_> = snapshots.iter().filter(|s| s.group.set == set).cloned().collect();
            let alone = decide_by(&one, &policy, now);
            let among: Vec<_> = snapshots
                .iter()
                .zip(&all)
                .filter(|(s, _)| s.group.set == set)
                .map(|(_, v)| v.clone())
                .collect();
            prop_assert_eq!(alone, among);
        }
    }

    #[test]
    fn rules_are_read_as_written(policy in policy()) {
        let json = serde_json::to_string(&policy.rules).expect("serialises");
        prop_assert_eq!(serde_json::from_str::<Rules>(&json).expect("parses"), policy.rules);
    }
}

#[test]
fn an_age_has_its_exact_end() {
    let guards = Guards { min_age: "2d".parse().expect("a span"), copies: 0 };
    let counts = [(Period::Last, Count::Newest(1))].into();
    let policy = Policy { rules: Rules { counts, ..Rules::default() }, guards };
    let one = |sequence: u64, day: u64| Snapshot {
        group: Group { node: "n".to_owned(), set: None, class: 1 },
        sequence,
        created: Timestamp(day * DAY),
        witnessed: Some(Timestamp(day * DAY)),
        tags: Vec::new(),
        copies: 0,
        in_use: false,
        proven: false,
    };
    let both = [one(1, 10), one(2, 11)];
    assert_eq!(kept(&both, &policy, 12 * DAY - 1), [true, true]);
    assert_eq!(kept(&both, &policy, 12 * DAY), [false, true]);
}

#[test]
fn without_copies_or_witnesses_nothing_goes() {
    let rules = Rules { counts: [(Period::Last, Count::Newest(1))].into(), ..Rules::default() };
    let policy = Policy { rules, guards: Guards { min_age: Span::hours(24), copies: 2 } };
    let one = |sequence: u64, copies, witnessed| Snapshot {
        group: Group { node: "n".to_owned(), set: None, class: 1 },
        sequence,
        created: Timestamp(sequence),
        witnessed,
        tags: Vec::new(),
        copies,
        in_use: false,
        proven: false,
    };
    let at = Some(Timestamp(5));
    let history = [one(1, 1, at), one(2, 2, None), one(3, 2, at), one(4, 2, at)];
    assert_eq!(kept(&history, &policy, 900 * DAY), [true, true, false, true]);
}

#[test]
fn the_last_that_a_drill_has_proven_stays() {
    let rules = Rules { counts: [(Period::Last, Count::Newest(1))].into(), ..Rules::default() };
    let policy = Policy { rules, guards: Guards { min_age: Span::hours(0), copies: 0 } };
    let one = |sequence: u64, set: Option<&str>, proven| Snapshot {
        group: Group { node: "n".to_owned(), set: set.map(str::to_owned), class: 1 },
        sequence,
        created: Timestamp(sequence),
        witnessed: Some(Timestamp(sequence)),
        tags: Vec::new(),
        copies: 0,
        in_use: false,
        proven,
    };
    let history = [
        one(1, None, true),
        one(2, None, true),
        one(3, Some("db"), true),
        one(4, None, false),
        one(5, None, false),
        one(6, Some("db"), false),
    ];
    assert_eq!(kept(&history, &policy, 900 * DAY), [false, true, true, false, true, true]);
    let verdicts = decide_by(&history, &policy, 900 * DAY);
    assert_eq!(verdicts[1], Verdict::Keep(vec![Reason::Proven]), "and for no other reason");
}
