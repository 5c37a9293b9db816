//! What holds of every deletion: who may, and what no stolen node or fast clock can bring about.

use proptest::prelude::*;
use seawall_base::{Seconds, Timestamp};
use seawall_policy::deletion::{Authority, Case, Denied, Kept, Rule, Stays, expire, judge};
use seawall_policy::retention::{Count, Group, Period, Rules};
use seawall_policy::witness::{Stamp, witnessed_now, witnessed_then};

const DAY: u64 = 86_400;
/// The clock of whoever decides.
const NOW: u64 = 1_000 * DAY;
const RULE: Rule = Rule { min_age: Seconds(30 * DAY), signers: 2 };

fn kept() -> impl Strategy<Value = Kept> {
    let day = prop_oneof![9 => 0u64..1_000, 1 => 1_000u64..40_000];
    (day, 0u64..DAY, prop::option::weighted(0.9, 0u64..1_000), prop::bool::ANY, any::<bool>())
        .prop_map(|(created, second, then, let_go, db)| Kept {
            group: Group { node: "n".to_owned(), set: db.then(|| "db".to_owned()), class: 1 },
            sequence: 0,
            created: Timestamp(created * DAY + second),
            then: then.map(|day| Timestamp(day * DAY)),
            tags: Vec::new(),
            let_go,
            proven: second % 11 == 0,
        })
}

fn history() -> impl Strategy<Value = Vec<Kept>> {
    prop::collection::vec(kept(), 1..40).prop_map(|mut all| {
        for (i, it) in all.iter_mut().enumerate() {
            it.sequence = i as u64 + 1;
        }
        all
    })
}

fn rules() -> impl Strategy<Value = Rules> {
    let period = prop::sample::select(Period::ALL.to_vec());
    let span = prop::sample::select(vec!["7d", "1m", "1y"]);
    let span = (Just(Period::Last), span.prop_map(|s| s.parse().expect("a span")));
    let counts = prop::collection::btree_map(period, (1u32..6).prop_map(Count::Newest), 1..3);
    (counts, prop::option::of(span)).prop_map(|(counts, within)| Rules {
        counts,
        within: within.into_iter().collect(),
        tags: Vec::new(),
    })
}

fn go(all: &[Kept], rules: &Rules, now: Option<u64>) -> Vec<bool> {
    let verdicts = expire(all, rules, Some(RULE), now.map(Timestamp)).expect("good rules");
    verdicts.iter().map(Result::is_ok).collect()
}

proptest! {
    #[test]
    fn without_witnessed_time_nothing_expires(mut all in history(), rules in rules()) {
        prop_assert!(!go(&all, &rules, None).contains(&true), "no now");
        for it in &mut all {
            it.then = None;
        }
        prop_assert!(!go(&all, &rules, Some(NOW)).contains(&true), "no then");
    }

    #[test]
    fn without_a_rule_nothing_expires(all in history(), rules in rules()) {
        let verdicts = expire(&all, &rules, None, Some(Timestamp(NOW))).expect("good rules");
        prop_assert!(verdicts.iter().all(|v| *v == Err(Stays::Denied(Denied::NoRule))));
    }

    /// A stolen node writes what it likes: nothing goes that would have stayed otherwise.
    #[test]
    fn a_flood_changes_nothing_for_the_minimum_age(
        all in history(), flood in prop::collection::vec((kept(), 0u64..30 * DAY), 1..60), rules in rules(),
    ) {
        let before = go(&all, &rules, Some(NOW));
        let mut flooded = all.clone();
        for (i, (mut it, age)) in flood.into_iter().enumerate() {
            it.sequence = (all.len() + i) as u64 + 1;
            // Witnesses cannot have seen it before it was there.
            it.then = Some(Timestamp(NOW - age.min(30 * DAY - 1)));
            flooded.push(it);
        }
        let after = go(&flooded, &rules, Some(NOW));
        prop_assert_eq!(&after[..all.len()], &before[..]);
        prop_assert!(!after[all.len()..].contains(&true), "the young ones stay");
    }

    #[test]
    fn what_may_go_once_may_go_ever_after(all in history(), rules in rules(), later in 0u64..400) {
        let (now, then) = (go(&all, &rules, Some(NOW)), go(&all, &rules, Some(NOW + later * DAY)));
        for (i, gone) in now.iter().enumerate() {
            prop_assert!(!gone || then[i], "{i} came back");
        }
    }

    #[test]
    fn deciding_again_over_the_rest_drops_nothing(all in history(), rules in rules()) {
        let first = go(&all, &rules, Some(NOW));
        let rest: Vec<Kept> =
            all.iter().zip(&first).filter(|(_, gone)| !**gone).map(|(it, _)| it.clone()).collect();
        prop_assert!(!go(&rest, &rules, Some(NOW)).contains(&true));
    }

    #[test]
    fn the_newest_the_proven_and_the_held_stay(all in history(), rules in rules()) {
        for (it, gone) in all.iter().zip(go(&all, &rules, Some(NOW))) {
            prop_assert!(!gone || (it.let_go && !it.proven));
            let old = it.then.is_some_and(|then| then.0 + RULE.min_age.0 <= NOW);
            prop_assert!(!gone || old);
        }
        for group in [None, Some("db")] {
            let of = |it: &&Kept| it.group.set.as_deref() == group;
            let gone = go(&all, &rules, Some(NOW));
            let left = all.iter().zip(&gone).filter(|(it, _)| of(it)).any(|(_, gone)| !gone);
            prop_assert!(left || !all.iter().any(|it| of(&it)), "something of each set is left");
        }
    }

    /// Of four operators, three of whom are a quorum, one says whatever it likes.
    #[test]
    fn one_lying_clock_makes_nothing_older(
        honest_then in prop::collection::vec(0u64..900, 3), honest_now in prop::collection::vec(900u64..1_000, 3),
        lie_then in any::<u64>(), lie_now in any::<u64>(),
    ) {
        const NAMES: [&str; 3] = ["anna", "ben", "cleo"];
        let stamps = |days: &[u64], lie: u64| -> Vec<Stamp<'static>> {
            let honest = NAMES.iter().zip(days);
            let honest = honest.map(|(operator, day)| Stamp { operator, time: Timestamp(day * DAY) });
            honest.chain([Stamp { operator: "mallory", time: Timestamp(lie) }]).collect()
        };
        let clock = Timestamp(NOW);
        let then = witnessed_then(stamps(&honest_then, lie_then), 3, clock);
        let now = witnessed_now(stamps(&honest_now, lie_now), 3, clock);
        let (latest, newest) = (honest_then.iter().max(), honest_now.iter().max());
        let oldest = newest.expect("three") * DAY - latest.expect("three") * DAY;
        let age = seawall_policy::witness::age(now, then);
        prop_assert!(age.is_none_or(|age| age.0 <= oldest), "{age:?} where {oldest} is true");
    }

    #[test]
    fn a_quorum_is_never_less_than_the_policy_says(
        have in 0usize..6, signers in 0u16..6, age in prop::option::of(0u64..100 * DAY),
        last: bool, even_last: bool,
    ) {
        let rule = Rule { signers, ..RULE };
        let case = Case { age: age.map(Seconds), last, even_last };
        let may = judge(Some(rule), Authority::Quorum(have), &case).is_ok();
        prop_assert_eq!(may, signers > 0 && have >= usize::from(signers) && (!last || even_last));
        prop_assert!(judge(None, Authority::Quorum(have), &case).is_err());
        let retained = judge(Some(rule), Authority::Retention, &case).is_ok();
        prop_assert_eq!(retained, !last && age.is_some_and(|age| age >= RULE.min_age.0));
    }
}

#[test]
fn stamps_of_zero_and_of_the_future_make_nothing_old() {
    let clock = Timestamp(NOW);
    let at = |operator, time| Stamp { operator, time: Timestamp(time) };
    let then = witnessed_then([at("anna", 0), at("ben", 0)], 2, clock);
    assert_eq!(then, None, "zero is no time");
    let then = witnessed_then([at("anna", NOW + DAY), at("ben", NOW + DAY)], 2, clock);
    assert_eq!(then, None, "nor is the future");
    let now = witnessed_now([at("anna", 0), at("ben", NOW)], 2, clock);
    assert_eq!(now, None);
}

/// A date from the future does not make "within a month of the newest" mean this month.
#[test]
fn a_claimed_date_counts_no_later_than_it_was_witnessed() {
    let one = |sequence, created, then| Kept {
        group: Group { node: "n".to_owned(), set: None, class: 1 },
        sequence,
        created: Timestamp(created * DAY),
        then: Some(Timestamp(then * DAY)),
        tags: Vec::new(),
        let_go: true,
        proven: false,
    };
    let within = [(Period::Last, "1m".parse().expect("a span"))].into_iter().collect();
    let rules = Rules { within, ..Rules::default() };
    // Witnessed 100 days ago, and claims to be of the year 2099.
    let all = [one(1, 880, 880), one(2, 890, 890), one(3, 47_000, 900)];
    assert_eq!(go(&all, &rules, Some(NOW)), [false, false, false]);
}
