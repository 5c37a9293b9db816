//! A custodian's policy file: parsed, and asked about requests of every kind.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::{NodeId, Seconds, Timestamp};
use seawall_policy::custodian::{CustodianPolicy, Decision, Facts, Gap, WeekMinute};

const NOW: Timestamp = Timestamp(1_700_000_000);

/// UTC: the epoch was a Thursday.
fn utc(at: Timestamp) -> WeekMinute {
    let minutes = at.0 / 60;
    let small = |n: u64| u8::try_from(n).expect("below its limit");
    let day = small((minutes / 1_440 + 3) % 7);
    WeekMinute::new(day, small(minutes / 60 % 24), small(minutes % 60)).expect("in range")
}

fuzz_target!(|data: &[u8]| {
    let Ok(policy) = CustodianPolicy::parse(data) else { return };
    for fleet in policy.fleets() {
        let answered = [("standard".to_owned(), NOW), ("other".to_owned(), Timestamp(u64::MAX))];
        // An hour that nobody watched.
        let gaps = [Gap { from: NOW, to: NOW.after(Seconds::hours(1)) }];
        for (class, reason, bytes, confirmed) in
            [("standard", "INC-7: a test", 0, 0), ("other", "", u64::MAX, u16::MAX)]
        {
            let facts = Facts {
                fleet,
                class,
                requester: NodeId([2; 32]),
                reason,
                files: bytes,
                bytes,
                break_glass: confirmed > 0,
                seen: NOW,
                expires: NOW.after(Seconds::days(7)),
                answered: &answered[..usize::from(confirmed.min(2))],
                confirmed,
                gaps: &gaps[..usize::from(confirmed.min(1))],
                held: None,
                refused_by: None,
            };
            for now in [NOW, NOW.after(Seconds::days(3)), Timestamp(u64::MAX)] {
                match policy.decide(&facts, now, &utc) {
                    Decision::Wait { until, .. } => {
                        assert!(until > now && until <= facts.expires, "it can be waited for");
                    }
                    Decision::Answer => assert!(now >= facts.seen && now <= facts.expires),
                    _ => {}
                }
                let no = Facts { refused_by: Some("ben"), ..facts.clone() };
                let said = policy.decide(&no, now, &utc);
                assert!(matches!(said, Decision::Refuse(_) | Decision::NoRule), "a no is final");
            }
        }
        policy.outlook(fleet, NodeId([2; 32]), &answered, &gaps, NOW, &|_, at| utc(at));
    }
});
