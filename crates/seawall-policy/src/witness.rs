//! What witnesses' stamps are worth: how many operators stand behind a log's state, and how old
//! something is at least.
//!
//! Everything counts **operators**, not keys: whoever runs a mirror and a witness, or five
//! witnesses, is one. A quorum `q` of `W` operators, of whom `f` may cheat, satisfies
//! `q > (W + f) / 2`: then any two quorums share an operator that does not cheat, and no log can
//! show two histories to two quorums (the counting argument of Byzantine quorum systems, Malkhi
//! and Reiter 1998, §3).
//!
//! Time is evidence, too. *Now* is the time that `q` operators have reached, never more than the
//! local clock; *then* is the latest time at which an operator signed for what is judged, once `q`
//! have. So a witness whose clock runs fast cannot make anything old: it moves *then* towards the
//! present and is one vote for *now*. Stamps of zero or from the future do not count. Where
//! stamps are missing nothing has an age, and what has no age does not expire.
//!
//! Rejected: the earliest of all *now*s. One witness that has gone would stop every clock for
//! ever; the q-th newest needs no witness in particular. Rejected: an average or a median, which
//! moves with every witness added. It must not know what a log is or how a stamp was checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use seawall_base::{Seconds, Timestamp};

/// Why a quorum was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QuorumError {
    /// Two quorums could share nobody but cheats. Raise the quorum.
    #[error(
        "a quorum of {quorum} is too small for {operators} operators of whom {faulty} may cheat: \
         it must be more than half of their sum"
    )]
    TooSmall {
        /// Operators needed.
        quorum: u16,
        /// Operators that may cheat.
        faulty: u16,
        /// Operators there are.
        operators: usize,
    },
    /// There are not so many. Lower it, or name more operators.
    #[error("a quorum of {quorum} cannot be reached by {operators} operators")]
    OutOfReach {
        /// Operators needed.
        quorum: u16,
        /// Operators there are.
        operators: usize,
    },
}

/// The witnesses of a policy, by operator, and how many of them are a quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quorum {
    operators: BTreeSet<String>,
    needed: u16,
    faulty: u16,
}

impl Quorum {
    /// A quorum of `needed` of the operators named (each once, however often it is named), of whom
    /// `faulty` may cheat.
    pub fn new<'a>(
        operators: impl IntoIterator<Item = &'a str>,
        needed: u16,
        faulty: u16,
    ) -> Result<Self, QuorumError> {
        let operators: BTreeSet<String> = operators.into_iter().map(str::to_owned).collect();
        let count = operators.len();
        if 2 * usize::from(needed) <= count + usize::from(faulty) {
            return Err(QuorumError::TooSmall { quorum: needed, faulty, operators: count });
        }
        if usize::from(needed) > count {
            return Err(QuorumError::OutOfReach { quorum: needed, operators: count });
        }
        Ok(Self { operators, needed, faulty })
    }

    /// How many operators are needed.
    pub const fn needed(&self) -> u16 {
        self.needed
    }

    /// How many may cheat.
    pub const fn faulty(&self) -> u16 {
        self.faulty
    }

    /// Who counts.
    pub fn operators(&self) -> impl ExactSizeIterator<Item = &str> {
        self.operators.iter().map(String::as_str)
    }
}

/// How far a log's state is witnessed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only its own log vouches for it.
    Zero,
    /// At least one other operator.
    One,
    /// A quorum of the policy's operators: no other history can have one, too.
    Quorum,
}

impl Level {
    /// `0`, `1` or `q`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Zero => "0",
            Self::One => "1",
            Self::Quorum => "q",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who stands behind a log's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reached {
    /// The level.
    pub level: Level,
    /// The operators, each once.
    pub operators: BTreeSet<String>,
    /// How many of the policy's operators a quorum is, where the policy says.
    pub needed: Option<u16>,
}

impl Reached {
    /// Counts operators whose valid cosignatures are given, each as often as it likes. Those that
    /// the policy does not name lift the level to 1, never to a quorum.
    pub fn count<'a>(
        quorum: Option<&Quorum>,
        cosigners: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let operators: BTreeSet<String> = cosigners.into_iter().map(str::to_owned).collect();
        let counting = |q: &&Quorum| {
            operators.iter().filter(|name| q.operators.contains(*name)).count()
                >= usize::from(q.needed)
        };
        let level = match quorum.filter(counting) {
            Some(_) => Level::Quorum,
            None if operators.is_empty() => Level::Zero,
            None => Level::One,
        };
        Self { level, operators, needed: quorum.map(Quorum::needed) }
    }

    /// Whether this is as much as the policy demands; where it demands nothing, anything is.
    pub fn suffices(&self) -> bool {
        self.needed.is_none() || self.level == Level::Quorum
    }
}

impl fmt::Display for Reached {
    /// `level q: anna, ben of 2 needed`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "level {}", self.level)?;
        if !self.operators.is_empty() {
            let names: Vec<_> = self.operators.iter().map(String::as_str).collect();
            write!(f, ": {}", names.join(", "))?;
        }
        match self.needed {
            Some(needed) => write!(f, " ({needed} needed)"),
            None => Ok(()),
        }
    }
}

/// An operator said something at a time. Its signature has been checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp<'a> {
    /// Who.
    pub operator: &'a str,
    /// When, by its own clock.
    pub time: Timestamp,
}

/// The latest stamp of each operator; zero and the future do not count.
fn latest<'a>(
    stamps: impl IntoIterator<Item = Stamp<'a>>,
    clock: Timestamp,
) -> BTreeMap<&'a str, Timestamp> {
    let mut latest = BTreeMap::new();
    for Stamp { operator, time } in stamps {
        if time > Timestamp(0) && time <= clock {
            let known: &mut Timestamp = latest.entry(operator).or_insert(time);
            *known = time.max(*known);
        }
    }
    latest
}

/// The earliest time it can be now: what `needed` operators have reached, and the local clock at
/// most. Nothing where so many never signed. With none needed, the local clock.
///
/// A stamp from the future says that its clock or ours is wrong. Here it is cut to ours instead
/// of left out: it would be one vote for *now* either way, and ours is the limit anyway.
pub fn witnessed_now<'a>(
    stamps: impl IntoIterator<Item = Stamp<'a>>,
    needed: u16,
    clock: Timestamp,
) -> Option<Timestamp> {
    let cut = stamps.into_iter().map(|s| Stamp { time: s.time.min(clock), ..s });
    let mut times: Vec<Timestamp> = latest(cut, clock).into_values().collect();
    times.sort_unstable_by_key(|time| std::cmp::Reverse(*time));
    match usize::from(needed).checked_sub(1) {
        None => Some(clock),
        Some(last) => times.get(last).copied(),
    }
}

/// The latest time at which something can have begun to be there: the last stamp on it, once
/// `needed` operators have set one that counts. With none needed there is no such time.
pub fn witnessed_then<'a>(
    stamps: impl IntoIterator<Item = Stamp<'a>>,
    needed: u16,
    clock: Timestamp,
) -> Option<Timestamp> {
    let latest = latest(stamps, clock);
    if needed == 0 || latest.len() < usize::from(needed) {
        return None;
    }
    latest.into_values().max()
}

/// How old something is at least: the earliest *now* minus the latest *then*. Without witnessed
/// time it has no age, and must not expire.
pub fn age(now: Option<Timestamp>, then: Option<Timestamp>) -> Option<Seconds> {
    Some(Seconds(now?.0.saturating_sub(then?.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600;
    const NOW: Timestamp = Timestamp(1_800_000_000);

    fn at(operator: &str, hours_ago: u64) -> Stamp<'_> {
        Stamp { operator, time: Timestamp(NOW.0 - hours_ago * HOUR) }
    }

    fn quorum(operators: &[&str], needed: u16, faulty: u16) -> Quorum {
        Quorum::new(operators.iter().copied(), needed, faulty).expect("a quorum")
    }

    #[test]
    fn two_quorums_always_share_an_honest_operator() {
        let names: Vec<String> = (0..9).map(|n| format!("operator-{n}")).collect();
        for w in 1..=9_usize {
            for f in 0..=9_u16 {
                for q in 0..=10_u16 {
                    let made = Quorum::new(names[..w].iter().map(String::as_str), q, f);
                    // Two sets of q out of w share at least 2q - w; more than f of them must.
                    let shared = 2 * i64::from(q) - i64::try_from(w).expect("at most 9");
                    let good = shared > i64::from(f) && usize::from(q) <= w;
                    assert_eq!(made.is_ok(), good, "W {w}, q {q}, f {f}");
                }
            }
        }
    }

    #[test]
    fn an_operator_with_many_keys_is_one_operator() {
        let q = quorum(&["anna", "ben", "cleo", "anna", "anna"], 2, 0);
        assert_eq!(q.operators().len(), 3);
        let reached = |names: &[&str]| Reached::count(Some(&q), names.iter().copied()).level;
        assert_eq!(reached(&[]), Level::Zero);
        assert_eq!(reached(&["anna", "anna", "anna"]), Level::One);
        assert_eq!(reached(&["anna", "ben"]), Level::Quorum);
        assert_eq!(reached(&["x", "y", "z"]), Level::One, "strangers are no quorum");
        assert_eq!(reached(&["x", "anna"]), Level::One);
    }

    #[test]
    fn what_is_not_demanded_suffices() {
        let q = quorum(&["anna", "ben", "cleo"], 2, 0);
        assert!(Reached::count(None, []).suffices());
        assert!(!Reached::count(Some(&q), ["anna"]).suffices());
        assert!(Reached::count(Some(&q), ["anna", "cleo"]).suffices());
        let shown = Reached::count(Some(&q), ["cleo", "anna"]).to_string();
        assert_eq!(shown, "level q: anna, cleo (2 needed)");
    }

    #[test]
    fn now_is_what_a_quorum_has_reached() {
        let stamps = [at("anna", 1), at("ben", 5), at("cleo", 9), at("anna", 30)];
        for (needed, hours) in [(1, 1), (2, 5), (3, 9)] {
            assert_eq!(witnessed_now(stamps, needed, NOW), Some(at("", hours).time));
        }
        assert_eq!(witnessed_now(stamps, 4, NOW), None);
        assert_eq!(witnessed_now([], 0, NOW), Some(NOW));
    }

    #[test]
    fn one_fast_clock_makes_nothing_old() {
        let fast = Stamp { operator: "mallory", time: NOW.after(Seconds::days(4_000)) };
        // As a vote for now: the other vote is the limit.
        assert_eq!(witnessed_now([fast, at("anna", 3)], 2, NOW), Some(at("", 3).time));
        // Alone it is no quorum, whatever it says.
        assert_eq!(witnessed_now([fast], 2, NOW), None);
        // As a stamp on something it does not count: nothing becomes older or witnessed by it.
        assert_eq!(witnessed_then([fast, at("anna", 3)], 2, NOW), None);
        let then = witnessed_then([fast, at("anna", 3), at("ben", 4)], 2, NOW);
        assert_eq!(then, Some(at("", 3).time));
    }

    #[test]
    fn a_stamp_set_back_does_not_make_old_what_others_saw_later() {
        let back = Stamp { operator: "mallory", time: Timestamp(1) };
        let then = witnessed_then([back, at("anna", 3)], 2, NOW);
        assert_eq!(then, Some(at("", 3).time));
        let zero = Stamp { operator: "mallory", time: Timestamp(0) };
        assert_eq!(witnessed_then([zero, at("anna", 3)], 2, NOW), None);
    }

    #[test]
    fn without_witnessed_time_nothing_has_an_age() {
        assert_eq!(age(None, Some(NOW)), None);
        assert_eq!(age(Some(NOW), None), None);
        assert_eq!(age(Some(NOW), Some(at("", 2).time)), Some(Seconds::hours(2)));
        assert_eq!(age(Some(at("", 2).time), Some(NOW)), Some(Seconds(0)));
        assert_eq!(witnessed_then([at("anna", 1)], 0, NOW), None);
    }
}
