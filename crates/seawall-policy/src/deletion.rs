//! What may be deleted where it cannot be had back: in the tiers that hold others' copies.
//!
//! Two ways, and no third. A *quorum* of those who could open a snapshot deletes it whatever its
//! age. *Retention* deletes what rules do not want, once it is older by witnessed time than the
//! fleet's policy says. Where the policy has no rule, or nobody can tell an age, nothing goes.
//!
//! Retention decides over what has been witnessed for the minimum age and over nothing else
//! ([`expire`]). Whatever a stolen node writes today (a thousand snapshots, dates from the future,
//! dates from the past) takes no rule's count and moves no span until somebody has had that long
//! to notice. A snapshot counts no later than it was witnessed, so that a claimed date cannot push
//! older ones out even then.
//!
//! Invariants, each a property test: without witnessed time nothing expires; what is younger than
//! the minimum age changes no verdict; what may expire once may expire ever after; a rule added
//! keeps at least what was kept before.
//!
//! Rejected: rules over everything, with the young ones merely guarded. They would stay and still
//! push the old ones out.

use std::fmt;

use seawall_base::{Seconds, Timestamp};

use crate::Span;
use crate::retention::{Group, Guards, PolicyError, Reason, Rules, Snapshot, Verdict, decide};
use crate::witness::age;

/// What a fleet's policy says of deleting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Age by witnessed time from which on retention may delete.
    pub min_age: Seconds,
    /// How many distinct signers a quorum statement needs.
    pub signers: u16,
}

/// In whose name something is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authority {
    /// So many distinct keys that count have signed for it, every signature checked.
    Quorum(usize),
    /// Rules that the fleet's root keys have signed.
    Retention,
}

/// What is known of a snapshot that is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Case {
    /// How old it is at least, by witnessed time ([`age`]).
    pub age: Option<Seconds>,
    /// Whether it is the newest of its set, or one that a drill has proven.
    pub last: bool,
    /// Whether the statement says that even the last goes.
    pub even_last: bool,
}

/// Why something may not be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The policy has no rule.
    #[error("the fleet's policy lets nothing be deleted")]
    NoRule,
    /// A quorum that is none.
    #[error("{have} of {need} signatures that count")]
    TooFew {
        /// Distinct signers that count.
        have: usize,
        /// How many it takes.
        need: u16,
    },
    /// Nobody knows how old it is.
    #[error("no witnessed time")]
    Unwitnessed,
    /// Not old enough.
    #[error("{} s old by witnessed time, below the minimum of {} s", age.0, min_age.0)]
    Young {
        /// Its age.
        age: Seconds,
        /// The minimum.
        min_age: Seconds,
    },
    /// The newest of its set, or proven by a drill.
    #[error("it is the newest of its set, or a drill has proven it")]
    Last,
}

/// Whether a snapshot may be deleted.
pub fn judge(rule: Option<Rule>, authority: Authority, it: &Case) -> Result<(), Denied> {
    let rule = rule.ok_or(Denied::NoRule)?;
    match authority {
        Authority::Quorum(have) => {
            if rule.signers == 0 || have < usize::from(rule.signers) {
                return Err(Denied::TooFew { have, need: rule.signers });
            }
            if it.last && !it.even_last { Err(Denied::Last) } else { Ok(()) }
        }
        Authority::Retention => {
            let age = it.age.ok_or(Denied::Unwitnessed)?;
            if age < rule.min_age {
                return Err(Denied::Young { age, min_age: rule.min_age });
            }
            if it.last { Err(Denied::Last) } else { Ok(()) }
        }
    }
}

/// A snapshot in a tier that holds it for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Where it belongs.
    pub group: Group,
    /// Its place in its log.
    pub sequence: u64,
    /// When its node says it was made.
    pub created: Timestamp,
    /// The latest time at which it can have begun to be there ([`crate::witness::witnessed_then`]).
    pub then: Option<Timestamp>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Whether its own node has said that it keeps it no longer.
    pub let_go: bool,
    /// Whether a drill ever restored all of it.
    pub proven: bool,
}

/// Why a snapshot does not expire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stays {
    /// It may not, whatever the rules say.
    Denied(Denied),
    /// Its own node still keeps it.
    Held,
    /// The rules want it.
    Wanted(Vec<Reason>),
}

impl fmt::Display for Stays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(why) => why.fmt(f),
            Self::Held => f.write_str("its node keeps it"),
            Self::Wanted(reasons) => {
                let words: Vec<_> = reasons.iter().map(ToString::to_string).collect();
                f.write_str(&words.join(", "))
            }
        }
    }
}

/// What expires now (`Ok`), and why the rest stays, in the order given.
///
/// `now` is the earliest time it can be ([`crate::witness::witnessed_now`]).
pub fn expire(
    snapshots: &[Kept],
    rules: &Rules,
    rule: Option<Rule>,
    now: Option<Timestamp>,
) -> Result<Vec<Result<(), Stays>>, PolicyError> {
    rules.check()?;
    let judged: Vec<Result<(), Denied>> = snapshots
        .iter()
        .map(|it| {
            let case = Case { age: age(now, it.then), last: false, even_last: false };
            judge(rule, Authority::Retention, &case)
        })
        .collect();
    let settled: Vec<usize> = (0..snapshots.len()).filter(|&i| judged[i].is_ok()).collect();
    let facts: Vec<Snapshot> = settled.iter().map(|&i| fact(&snapshots[i])).collect();
    let guards = Guards { min_age: Span::default(), copies: 0 };
    let verdicts = decide(&facts, rules, guards, now.unwrap_or(Timestamp(0)))?;
    let mut out: Vec<_> = judged.into_iter().map(|it| it.map_err(Stays::Denied)).collect();
    for (&i, verdict) in settled.iter().zip(verdicts) {
        let it = &snapshots[i];
        out[i] = match verdict {
            Verdict::Keep(reasons) => Err(Stays::Wanted(reasons)),
            Verdict::Forget if it.proven => Err(Stays::Denied(Denied::Last)),
            Verdict::Forget if !it.let_go => Err(Stays::Held),
            Verdict::Forget => Ok(()),
        };
    }
    Ok(out)
}

/// What the rules see of one that is old enough.
fn fact(it: &Kept) -> Snapshot {
    Snapshot {
        group: it.group.clone(),
        sequence: it.sequence,
        created: it.then.map_or(it.created, |then| it.created.min(then)),
        witnessed: it.then,
        tags: it.tags.clone(),
        copies: 0,
        in_use: false,
        // Every one that was proven stays, not the last alone.
        proven: false,
    }
}
