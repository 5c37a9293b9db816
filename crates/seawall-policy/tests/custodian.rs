//! What a custodian's machine may answer: each denial by name, and a model beside the decision.

use proptest::prelude::*;
use seawall_base::{FleetId, NodeId, Seconds, Timestamp};
use seawall_policy::custodian::{
    CustodianPolicy, Decision, Denial, Facts, Gap, Hold, PolicyError, Waiting, WeekMinute,
};

const FLEET: FleetId = FleetId([1; 32]);
const ASKER: NodeId = NodeId([2; 32]);

/// 2026-11-23 was a Monday; 10:00 UTC.
const NOW: Timestamp = Timestamp(1_795_392_000 + 10 * 3_600);

fn utc(at: Timestamp) -> WeekMinute {
    let minute = at.0 / 60;
    let day = (minute / 1_440 + 3) % 7;
    WeekMinute::new(day as u8, (minute / 60 % 24) as u8, (minute % 60) as u8).expect("in range")
}

/// A whole policy; each test changes a line of it.
fn text() -> String {
    format!(
        "format = \"seawall-custodian-policy/1\"\n\
         [[approvers]]\nname = \"anna\"\nkey = \"ed25519:A\"\n\
         [[approvers]]\nname = \"ben\"\nkey = \"ed25519:B\"\n\
         [[rules]]\nfleet = \"{FLEET}\"\nclass = \"any\"\nrequesters = [\"{ASKER}\"]\n\
         reason = \"^INC-[0-9]+: \"\ncooling_off = \"4h\"\ntime_zone = \"UTC\"\n\
         hours = [\"mon-fri 08:00-18:00\"]\nper_day = 2\npersons = 0\n\
         large = {{ files = 1000, bytes = \"1GiB\", persons = 2 }}\n"
    )
}

fn policy(text: &str) -> CustodianPolicy {
    CustodianPolicy::parse(text.as_bytes()).expect("a good policy")
}

fn refused(text: &str) -> String {
    CustodianPolicy::parse(text.as_bytes()).expect_err("refused").to_string()
}

fn facts<'f>() -> Facts<'f> {
    Facts {
        fleet: FLEET,
        class: "customer-data",
        requester: ASKER,
        reason: "INC-7: the disk died",
        files: 1_000,
        bytes: 1 << 30,
        break_glass: false,
        seen: NOW.before(Seconds::hours(4)),
        expires: NOW.after(Seconds::hours(72)),
        answered: &[],
        gaps: &[],
        held: None,
        confirmed: 0,
        refused_by: None,
    }
}

#[test]
fn broken_glass_is_refused_unless_the_rule_says_that_people_decide() {
    let broken = Facts { break_glass: true, confirmed: 2, ..facts() };
    let Decision::Refuse(denial) = decide(&broken, NOW) else { panic!("refused by default") };
    assert_eq!(denial, Denial::BreakGlass);
    assert!(denial.to_string().contains("by hand"), "{denial}");
    let with = |glass: &str| format!("{}break_glass = \"{glass}\"\n", text());
    assert_eq!(policy(&with("deny")).decide(&broken, NOW, &utc), Decision::Refuse(denial));
    // `persons = 0`, and still one; more where the rule says more.
    let people = policy(&with("persons"));
    let decide =
        |confirmed, files| people.decide(&Facts { confirmed, files, ..broken.clone() }, NOW, &utc);
    assert_eq!(decide(0, 1), Decision::Persons { have: 0, need: 1 });
    assert_eq!(decide(1, 1), Decision::Answer);
    assert_eq!(decide(1, 1_001), Decision::Persons { have: 1, need: 2 });
    assert_eq!(people.decide(&facts(), NOW, &utc), Decision::Answer, "an ordinary request");
    // Everything else is asked as always.
    let other = people.decide(&Facts { reason: "please", ..broken.clone() }, NOW, &utc);
    assert!(matches!(other, Decision::Refuse(Denial::Reason(_))), "{other:?}");
    assert!(refused(&with("always")).contains("`deny` or `persons`"));
    let text = with("persons").replace("persons = 2 }", "persons = 0 }");
    let (_, rules) = text.split_once("[[rules]]").expect("a rule");
    let head = "format = \"seawall-custodian-policy/1\"\napprovers = []\n[[rules]]";
    let nobody = format!("{head}{rules}");
    assert!(refused(&nobody).contains("0 approvers"), "nobody could confirm");
}

fn decide(facts: &Facts<'_>, now: Timestamp) -> Decision {
    policy(&text()).decide(facts, now, &utc)
}

#[test]
fn what_every_condition_allows_is_answered() {
    assert_eq!(decide(&facts(), NOW), Decision::Answer);
}

#[test]
fn each_condition_denies_by_itself() {
    let denied = |facts: Facts<'_>| match decide(&facts, NOW) {
        Decision::Refuse(denial) => denial,
        other => panic!("{other:?}"),
    };
    let other = NodeId([9; 32]);
    assert_eq!(denied(Facts { requester: other, ..facts() }), Denial::Requester);
    let reason = "please: INC-7: the disk died";
    assert!(matches!(denied(Facts { reason, ..facts() }), Denial::Reason(_)));
    assert_eq!(denied(Facts { expires: NOW.before(Seconds(1)), ..facts() }), Denial::Expired);
    let by_anna = Denial::Person("anna".to_owned());
    assert_eq!(denied(Facts { refused_by: Some("anna"), ..facts() }), by_anna);
    let seen = NOW.before(Seconds(1));
    let expires = NOW.after(Seconds::hours(3));
    assert!(matches!(denied(Facts { seen, expires, ..facts() }), Denial::TooLate { .. }));
    for never in ["per_day = 0", "hours = []"] {
        let line = never.split(" =").next().expect("a field");
        let changed: Vec<_> = text()
            .lines()
            .map(|l| if l.starts_with(line) { never.to_owned() } else { l.to_owned() })
            .collect();
        let decision = policy(&changed.join("\n")).decide(&facts(), NOW, &utc);
        assert_eq!(decision, Decision::Refuse(Denial::Never), "{never}");
    }
    let nobody = text().replace(&format!("[\"{ASKER}\"]"), "[]");
    let decision = policy(&nobody).decide(&facts(), NOW, &utc);
    assert_eq!(decision, Decision::Refuse(Denial::Requester), "an empty list is nobody");
}

#[test]
fn what_no_rule_is_about_is_left_to_a_person() {
    let elsewhere = Facts { fleet: FleetId([8; 32]), confirmed: 2, ..facts() };
    assert_eq!(decide(&elsewhere, NOW), Decision::NoRule);
    let only = text().replace("\"any\"", "\"web-root\"");
    assert_eq!(policy(&only).decide(&facts(), NOW, &utc), Decision::NoRule);
    let empty = "format = \"seawall-custodian-policy/1\"\napprovers = []\nrules = []\n";
    assert_eq!(policy(empty).decide(&facts(), NOW, &utc), Decision::NoRule);
}

#[test]
fn a_class_with_a_rule_of_its_own_is_not_under_the_rule_for_any() {
    let whole = text();
    let (head, rule) = whole.split_at(whole.find("[[rules]]").expect("a rule"));
    let strict = rule.replace("\"any\"", "\"keys\"").replace("persons = 0", "persons = 1");
    let both = policy(&format!("{head}{rule}{strict}"));
    let keys = Facts { class: "keys", ..facts() };
    assert_eq!(both.decide(&keys, NOW, &utc), Decision::Persons { have: 0, need: 1 });
    assert_eq!(both.decide(&facts(), NOW, &utc), Decision::Answer);
    // Each rule counts its own answers.
    let answered = vec![("keys".to_owned(), NOW); 5];
    assert_eq!(both.decide(&Facts { answered: &answered, ..facts() }, NOW, &utc), Decision::Answer);
}

#[test]
fn cooling_off_hours_and_count_are_waited_for() {
    let wait = |until, why| Decision::Wait { until, why };
    let seen = NOW.before(Seconds::hours(1));
    let cool = wait(NOW.after(Seconds::hours(3)), Waiting::CoolingOff);
    assert_eq!(decide(&Facts { seen, ..facts() }, NOW), cool);
    // Cooled at 20:00, after hours: the next morning.
    let seen = NOW.after(Seconds::hours(6));
    let morning = wait(NOW.after(Seconds::hours(22)), Waiting::Hours);
    assert_eq!(decide(&Facts { seen, ..facts() }, NOW), morning);

    let ago = |hours| ("customer-data".to_owned(), NOW.before(Seconds::hours(hours)));
    let two = [ago(23), ago(1)];
    let free = wait(NOW.after(Seconds::hours(1)), Waiting::DailyCount);
    assert_eq!(decide(&Facts { answered: &two, ..facts() }, NOW), free);
    let one_is_old = [ago(24), ago(1)];
    assert_eq!(decide(&Facts { answered: &one_is_old, ..facts() }, NOW), Decision::Answer);
    let ahead = [ago(1), ("customer-data".to_owned(), NOW.after(Seconds::days(1)))];
    let decision = decide(&Facts { answered: &ahead, ..facts() }, NOW);
    assert!(matches!(decision, Decision::Wait { .. }), "what a fast clock wrote down counts");
}

#[test]
fn time_that_nobody_watched_cools_nothing_and_resets_no_count() {
    let gap = |from, to| Gap {
        from: NOW.before(Seconds::hours(from)),
        to: NOW.before(Seconds::hours(to)),
    };
    let wait = |hours, why| Decision::Wait { until: NOW.after(Seconds::hours(hours)), why };
    let gaps = [gap(30, 20), gap(3, 2), gap(2, 1)];
    let cool = decide(&Facts { gaps: &gaps, ..facts() }, NOW);
    assert_eq!(cool, wait(2, Waiting::CoolingOff), "four hours old, two of them watched");
    let begins_within = Facts { seen: NOW.before(Seconds::hours(25)), gaps: &gaps, ..facts() };
    assert_eq!(decide(&begins_within, NOW), Decision::Answer);

    let ago = |hours| ("customer-data".to_owned(), NOW.before(Seconds::hours(hours)));
    let (answered, seen) = ([ago(25), ago(24)], NOW.before(Seconds::hours(12)));
    let count = Facts { answered: &answered, seen, ..facts() };
    assert_eq!(decide(&count, NOW), Decision::Answer);
    let count = decide(&Facts { gaps: &gaps[1..], ..count }, NOW);
    assert_eq!(count, wait(1, Waiting::DailyCount), "of 25 hours, 23 were watched");
}

#[test]
fn what_is_held_is_not_answered_and_not_refused() {
    for hold in [Hold::Verdict, Hold::Clock] {
        let held = Facts { held: Some(hold), ..facts() };
        assert_eq!(decide(&held, NOW), Decision::Held(hold));
        assert!(matches!(decide(&Facts { seen: NOW, ..held }, NOW), Decision::Wait { .. }));
    }
}

#[test]
fn large_snapshots_need_their_people() {
    for large in [Facts { files: 1_001, ..facts() }, Facts { bytes: (1 << 30) + 1, ..facts() }] {
        assert_eq!(decide(&large, NOW), Decision::Persons { have: 0, need: 2 });
        let one = Facts { confirmed: 1, ..large.clone() };
        assert_eq!(decide(&one, NOW), Decision::Persons { have: 1, need: 2 });
        assert_eq!(decide(&Facts { confirmed: 2, ..large.clone() }, NOW), Decision::Answer);
        // People do not shorten the cooling-off.
        let early = Facts { confirmed: 2, seen: NOW, ..large };
        assert!(matches!(decide(&early, NOW), Decision::Wait { .. }));
    }
}

#[test]
fn every_field_is_required_and_none_is_unknown() {
    let whole = text();
    let lines: Vec<_> = whole.lines().collect();
    for (n, line) in lines.iter().enumerate() {
        if line.starts_with("[[") {
            continue;
        }
        let mut without = lines.clone();
        without.remove(n);
        refused(&without.join("\n"));
    }
    for part in ["files = 1000, ", "bytes = \"1GiB\", ", ", persons = 2"] {
        refused(&whole.replace(part, ""));
    }
    refused(&format!("{whole}grace = \"1h\"\n"));
    refused("");
    let found = refused(&whole.replace("policy/1", "policy/2"));
    assert!(found.contains("policy/2"), "{found}");
}

#[test]
fn values_that_mean_nothing_are_refused_by_name() {
    for (from, to, word) in [
        ("fleet:01", "fleet:0", "fleet"),
        ("\"any\"", "\"Any\"", "class"),
        ("[\"node:", "[\"any\", \"node:", "requester"),
        ("^INC-[0-9]+: ", "(((", "regular expression"),
        ("^INC-[0-9]+: ", "(a{1000}){1000}", "regular expression"),
        ("\"4h\"", "\"4m\"", "cooling-off"),
        ("\"4h\"", "\"31d\"", "cooling-off"),
        ("\"4h\"", "\"\"", "cooling-off"),
        ("\"4h\"", "\"1h1h\"", "cooling-off"),
        ("\"4h\"", "\"99999999999999999999d\"", "cooling-off"),
        ("mon-fri 08", "mon-fri 8", "hours"),
        ("\"1GiB\"", "\"1GB\"", "size"),
        ("\"1GiB\"", "\"99999999999TiB\"", "size"),
        ("persons = 0", "persons = 3", "approvers"),
        ("persons = 2 }", "persons = 3 }", "approvers"),
        ("\"ben\"", "\"anna\"", "approver"),
        ("ed25519:B", "ed25519:A", "approver"),
        ("time_zone = \"UTC\"", "time_zone = \"\"", "time zone"),
    ] {
        let changed = text().replacen(from, to, 1);
        assert_ne!(changed, text(), "{from}");
        let found = refused(&changed);
        assert!(found.contains(word), "{to}: {found}");
    }
    let twice = format!("{}{}", text(), &text()[text().find("[[rules]]").expect("a rule")..]);
    assert!(refused(&twice).contains("same fleet and class"));
    let long = format!("{}{}", text(), "#".repeat(64 << 10));
    assert_eq!(CustodianPolicy::parse(long.as_bytes()).err(), Some(PolicyError::TooLong));
}

#[test]
fn spans_and_sizes_are_read_as_written() {
    for (span, seconds) in [("0s", 0), ("90s", 90), ("15min", 900), ("1d12h", 129_600)] {
        let policy = policy(&text().replace("\"4h\"", &format!("\"{span}\"")));
        let seen = NOW.before(Seconds(seconds));
        let decide = |seen| policy.decide(&Facts { seen, ..facts() }, NOW, &utc);
        assert_eq!(decide(seen), Decision::Answer, "{span}");
        assert_ne!(decide(seen.after(Seconds(1))), Decision::Answer, "{span}");
    }
}

#[test]
fn the_outlook_is_what_would_be_decided() {
    let policy = policy(&text());
    let zone = |name: &str, at| {
        assert_eq!(name, "UTC");
        utc(at)
    };
    let outlook = policy.outlook(FLEET, ASKER, &[], &[], NOW, &zone);
    assert_eq!(outlook[0].earliest, Some(NOW.after(Seconds::hours(4))));
    assert_eq!((outlook[0].persons, outlook[0].persons_for_large), (0, 2));
    assert_eq!(policy.outlook(FLEET, NodeId([9; 32]), &[], &[], NOW, &zone)[0].earliest, None);
    assert_eq!(policy.outlook(FleetId([9; 32]), ASKER, &[], &[], NOW, &zone), []);
}

proptest! {
    /// Whatever is answered satisfies every condition, each stated once more in its plainest form.
    #[test]
    fn an_answer_breaks_no_condition(
        now in 0u64..1_000_000,
        seen in 0u64..1_000_000,
        expires in 0u64..1_200_000,
        answered in proptest::collection::vec(0u64..1_100_000, 0..6),
        files in 900u64..1_100,
        confirmed in 0u16..4,
    ) {
        let at = |n: u64| Timestamp(NOW.0 + n);
        let answered: Vec<_> =
            answered.iter().map(|n| ("customer-data".to_owned(), at(*n))).collect();
        let (now, seen, expires) = (at(now), at(seen), at(expires));
        let facts =
            Facts { seen, expires, answered: &answered, files, confirmed, ..facts() };
        let decision = decide(&facts, now);
        let day = |t: &Timestamp| t.after(Seconds::days(1)) > now;
        let recent = answered.iter().filter(|(_, t)| day(t)).count();
        let hour = now.0 / 3_600 % 24;
        let weekday = (now.0 / 86_400 + 3) % 7 < 5;
        let allowed = now <= expires
            && seen.after(Seconds::hours(4)) <= now
            && recent < 2
            && weekday && (8..18).contains(&hour)
            && (files <= 1_000 || confirmed >= 2);
        prop_assert_eq!(decision == Decision::Answer, allowed, "{:?}", decision);
        if let Decision::Wait { until, .. } = decision {
            prop_assert!(until > now && until <= expires);
            prop_assert_eq!(decide(&facts, until), Decision::Answer);
        }
    }

    #[test]
    fn no_policy_panics(text in "[ -~\n]{0,200}") {
        let _ = CustodianPolicy::parse(text.as_bytes());
    }
}
