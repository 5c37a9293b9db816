//! Whether a custodian's machine may answer a restore request, and when: a pure decision.
//!
//! The declared policy is a TOML file of rules, one for each fleet and class of data. Nothing is
//! allowed that no rule allows, and a rule says everything: every field is required, an unknown
//! one is refused, an empty list is nobody and never. The one field that may be absent,
//! `break_glass`, is then a no. Rejected: defaults for what a rule leaves
//! out, because what was forgotten would then be allowed; and a language of conditions, because
//! nobody could say what a file of it permits.
//!
//! Time enters as four facts: now, when the request was first seen, when this custodian answered
//! before, and the gaps, in which nobody saw time pass: a clock that was set forward, or a machine
//! that was off. Whoever calls keeps them from running backwards. Gaps lengthen what has to be
//! waited for; hours of the week go by the clock alone. "A day" is any 24 hours, not
//! a calendar day, so that midnight is no moment at which twice the count fits. Hours of the week
//! need a time zone's rules, which are data of the machine: they come in as a function.
//!
//! A refusal is final for its request; waiting and asking people is not.

mod file;
mod hours;

use std::fmt;

use seawall_base::{FleetId, NodeId, Seconds, Timestamp};
use serde::{Deserialize, Serialize};

pub use self::file::{MAX_POLICY, PolicyError};
use self::hours::Hours;
pub use self::hours::WeekMinute;

const DAY: Seconds = Seconds::days(1);

/// Which local time it is at a time, in a rule's zone.
pub type Zone<'z> = &'z dyn Fn(Timestamp) -> WeekMinute;

/// What a custodian's machine may answer.
#[derive(Debug, Clone)]
pub struct CustodianPolicy {
    rules: Vec<Rule>,
    approvers: Vec<Approver>,
}

/// A person of the custodian's who may confirm requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approver {
    /// A name for people.
    pub name: String,
    /// The key that signs the confirmations, in its text form; not checked here.
    pub key: String,
}

/// What is allowed for a fleet and a class of data.
#[derive(Debug, Clone)]
pub struct Rule {
    fleet: FleetId,
    /// `None` for every class that no other rule names.
    class: Option<String>,
    requesters: Requesters,
    reason: Pattern,
    cooling_off: Seconds,
    time_zone: String,
    hours: Hours,
    per_day: u32,
    persons: u16,
    large: Large,
    break_glass: Glass,
}

/// What is done about a request for which too few witnesses vouch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Glass {
    /// It is refused here; a person may answer it by hand.
    Deny,
    /// It needs one person's confirmation at least, however small the snapshot.
    Persons,
}

/// Snapshots above either limit need so many people's confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Large {
    files: u64,
    bytes: u64,
    persons: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requesters {
    Any,
    Only(Vec<NodeId>),
}

/// A regular expression over reasons.
#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    compiled: regex_automata::meta::Regex,
}

/// Time that the clock says has passed, and nobody watched passing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gap {
    /// The last time before it.
    pub from: Timestamp,
    /// The first time after it.
    pub to: Timestamp,
}

impl Gap {
    /// How much of it lies after `start`.
    const fn since(&self, start: Timestamp) -> Seconds {
        let from = if start.0 > self.from.0 { start.0 } else { self.from.0 };
        Seconds(self.to.0.saturating_sub(from))
    }
}

/// `span` after `start`, of time that was watched.
pub fn watched(start: Timestamp, span: Seconds, gaps: &[Gap]) -> Timestamp {
    gaps.iter().fold(start.after(span), |at, gap| at.after(gap.since(start)))
}

/// Why a request that may be answered is not, for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// There is a verdict about it that cannot be read.
    Verdict,
    /// The clock was set forward while the machine ran.
    Clock,
}

/// A request, and what this custodian did before.
#[derive(Debug, Clone)]
pub struct Facts<'f> {
    /// The fleet.
    pub fleet: FleetId,
    /// The class of the snapshot.
    pub class: &'f str,
    /// Who asks.
    pub requester: NodeId,
    /// Why, in the requester's words.
    pub reason: &'f str,
    /// Files in the snapshot, by its signed totals.
    pub files: u64,
    /// Bytes in the snapshot, by its signed totals.
    pub bytes: u64,
    /// Too few witnesses vouch for the snapshot's log, and the requester asks all the same.
    pub break_glass: bool,
    /// When this custodian first saw the request.
    pub seen: Timestamp,
    /// After this nobody answers it.
    pub expires: Timestamp,
    /// Answers this custodian gave to the fleet: class, and when.
    pub answered: &'f [(String, Timestamp)],
    /// Time nobody watched passing.
    pub gaps: &'f [Gap],
    /// Why nothing may be answered just now, if so.
    pub held: Option<Hold>,
    /// How many different approvers confirmed it.
    pub confirmed: u16,
    /// The approver who refused it, if one did, and why.
    pub refused_by: Option<&'f str>,
}

/// What to do about a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Answer now.
    Answer,
    /// Answer at this time at the earliest; decide again then.
    Wait {
        /// When.
        until: Timestamp,
        /// What is waited for.
        why: Waiting,
    },
    /// More people have to confirm it.
    Persons {
        /// How many did.
        have: u16,
        /// How many have to.
        need: u16,
    },
    /// It may be answered, but for this.
    Held(Hold),
    /// No rule is about it. Nothing here answers it; a person may, with the share.
    NoRule,
    /// Never.
    Refuse(Denial),
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// The cooling-off.
    CoolingOff,
    /// The daily count.
    DailyCount,
    /// The hours of the week.
    Hours,
}

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// An approver said no: who, and why.
    Person(String),
    /// The requester is not one of those allowed.
    Requester,
    /// Too few witnesses vouch, and the rule says no to that.
    BreakGlass,
    /// The reason does not match the pattern.
    Reason(String),
    /// The rule allows no answer at any time.
    Never,
    /// It expires before it may be answered.
    TooLate {
        /// When it could have been answered.
        earliest: Timestamp,
    },
    /// It has expired.
    Expired,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer => f.write_str("may be answered"),
            Self::Wait { until, why } => write!(f, "{why} until {until}"),
            Self::Persons { have, need } => {
                write!(f, "confirmed by {have} of the {need} people it needs")
            }
            Self::Held(hold) => write!(f, "held: {hold}"),
            Self::NoRule => f.write_str("no rule is about it: a person has to answer it by hand"),
            Self::Refuse(denial) => denial.fmt(f),
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Verdict => "a verdict about it cannot be read; see the machine's own log",
            Self::Clock => "the clock was set forward; a person has to accept it",
        })
    }
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CoolingOff => "cooling off",
            Self::DailyCount => "the daily count is reached",
            Self::Hours => "outside the hours",
        })
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Person(name) => write!(f, "refused by {name}"),
            Self::Requester => f.write_str("the requester is not one of those allowed"),
            Self::BreakGlass => f.write_str(
                "it breaks the glass, and the policy answers no such request: ask this custodian to answer it by hand (seawall restore approve, with its share), or to allow it (break_glass in its policy) and then ask anew",
            ),
            Self::Reason(pattern) => write!(f, "the reason does not match {pattern:?}"),
            Self::Never => f.write_str("the policy allows no answer at any time"),
            Self::TooLate { earliest } => {
                write!(f, "it expires before {earliest}, when it could have been answered")
            }
            Self::Expired => f.write_str("it has expired"),
        }
    }
}

/// What a rule says about a request that is still to be made, for planning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlook {
    /// The rule's class; `None` for every class that no other rule names.
    pub class: Option<String>,
    /// When a request that came now would be answered, if its reason is accepted and people
    /// confirm it at once. `None` for never.
    pub earliest: Option<Timestamp>,
    /// How many people have to confirm one of ordinary size.
    pub persons: u16,
    /// How many have to confirm a large one.
    pub persons_for_large: u16,
}

impl CustodianPolicy {
    /// The people who may confirm.
    pub fn approvers(&self) -> &[Approver] {
        &self.approvers
    }

    /// Every time zone the rules name.
    pub fn time_zones(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| rule.time_zone.as_str())
    }

    /// The fleets the rules are about, each once.
    pub fn fleets(&self) -> Vec<FleetId> {
        let mut fleets: Vec<_> = self.rules.iter().map(|rule| rule.fleet).collect();
        fleets.sort_unstable();
        fleets.dedup();
        fleets
    }

    /// The rule for a class: the one that names it, else the fleet's rule for any.
    pub fn rule(&self, fleet: FleetId, class: &str) -> Option<&Rule> {
        self.number_of(fleet, class).map(|number| &self.rules[number])
    }

    fn number_of(&self, fleet: FleetId, class: &str) -> Option<usize> {
        let of = |class: Option<&str>| {
            let is_it = |r: &Rule| r.fleet == fleet && r.class.as_deref() == class;
            self.rules.iter().position(is_it)
        };
        of(Some(class)).or_else(|| of(None))
    }

    /// Decides about a request. `zone` tells the local time in the rule's [`Rule::time_zone`].
    pub fn decide(&self, facts: &Facts<'_>, now: Timestamp, zone: Zone<'_>) -> Decision {
        let Some(number) = self.number_of(facts.fleet, facts.class) else {
            return Decision::NoRule;
        };
        let rule = &self.rules[number];
        if let Some(denial) = rule.denial(facts, now) {
            return Decision::Refuse(denial);
        }
        let answered = self.answered_under(number, facts);
        let Some((until, why)) = rule.earliest(facts.seen, &answered, facts.gaps, now, zone) else {
            return Decision::Refuse(Denial::Never);
        };
        if until > facts.expires {
            return Decision::Refuse(Denial::TooLate { earliest: until });
        }
        let need = rule.persons_for(facts.files, facts.bytes).max(facts.break_glass.into());
        if facts.confirmed < need {
            return Decision::Persons { have: facts.confirmed, need };
        }
        if until > now {
            return Decision::Wait { until, why };
        }
        facts.held.map_or(Decision::Answer, Decision::Held)
    }

    /// What each rule of a fleet would do for `requester` now.
    pub fn outlook(
        &self,
        fleet: FleetId,
        requester: NodeId,
        answered: &[(String, Timestamp)],
        gaps: &[Gap],
        now: Timestamp,
        zone: &dyn Fn(&str, Timestamp) -> WeekMinute,
    ) -> Vec<Outlook> {
        let rules = self.rules.iter().enumerate().filter(|(_, rule)| rule.fleet == fleet);
        let of_rule = |(number, rule): (usize, &Rule)| {
            let times: Vec<_> = answered
                .iter()
                .filter(|(class, _)| self.number_of(fleet, class) == Some(number))
                .map(|(_, at)| *at)
                .collect();
            let local = |at| zone(&rule.time_zone, at);
            let earliest = rule.requesters.allow(requester);
            let earliest =
                earliest.then(|| rule.earliest(now, &times, gaps, now, &local)).flatten();
            Outlook {
                class: rule.class.clone(),
                earliest: earliest.map(|(at, _)| at),
                persons: rule.persons,
                persons_for_large: rule.persons.max(rule.large.persons),
            }
        };
        rules.map(of_rule).collect()
    }

    /// When answers were given that count under a rule.
    fn answered_under(&self, number: usize, facts: &Facts<'_>) -> Vec<Timestamp> {
        let counts = |class: &str| self.number_of(facts.fleet, class) == Some(number);
        facts.answered.iter().filter(|(class, _)| counts(class)).map(|(_, at)| *at).collect()
    }
}

impl Requesters {
    fn allow(&self, requester: NodeId) -> bool {
        match self {
            Self::Any => true,
            Self::Only(nodes) => nodes.contains(&requester),
        }
    }
}

impl Rule {
    /// The name of the zone its hours are told in.
    pub fn time_zone(&self) -> &str {
        &self.time_zone
    }

    /// How many people have to confirm the restore of a snapshot of this size.
    pub fn persons_for(&self, files: u64, bytes: u64) -> u16 {
        if files > self.large.files || bytes > self.large.bytes {
            self.persons.max(self.large.persons)
        } else {
            self.persons
        }
    }

    /// Why a request is refused whatever the time and whoever confirms it.
    fn denial(&self, facts: &Facts<'_>, now: Timestamp) -> Option<Denial> {
        if let Some(name) = facts.refused_by {
            return Some(Denial::Person(name.to_owned()));
        }
        if now > facts.expires {
            return Some(Denial::Expired);
        }
        if !self.requesters.allow(facts.requester) {
            return Some(Denial::Requester);
        }
        if facts.break_glass && self.break_glass == Glass::Deny {
            return Some(Denial::BreakGlass);
        }
        if !self.reason.compiled.is_match(facts.reason) {
            return Some(Denial::Reason(self.reason.text.clone()));
        }
        None
    }

    /// The first time, not before now, at which an answer is allowed, and what is waited for
    /// last. `None` for never.
    fn earliest(
        &self,
        seen: Timestamp,
        answered: &[Timestamp],
        gaps: &[Gap],
        now: Timestamp,
        zone: Zone<'_>,
    ) -> Option<(Timestamp, Waiting)> {
        let (mut at, mut why) = (now, Waiting::CoolingOff);
        let cooled = watched(seen, self.cooling_off, gaps);
        if cooled > at {
            at = cooled;
        }
        let free = self.below_daily_count(answered, gaps)?;
        if free > at {
            (at, why) = (free, Waiting::DailyCount);
        }
        let open = self.hours.next(at, zone)?;
        if open > at {
            (at, why) = (open, Waiting::Hours);
        }
        Some((at, why))
    }

    /// From when on fewer answers than allowed are less than 24 hours old. `None` for never.
    ///
    /// Times still to come count as well: what a clock that ran ahead wrote down is not lost.
    fn below_daily_count(&self, answered: &[Timestamp], gaps: &[Gap]) -> Option<Timestamp> {
        let per_day = usize::try_from(self.per_day).ok().filter(|n| *n > 0)?;
        let mut latest = answered.to_vec();
        latest.sort_unstable_by(|a, b| b.cmp(a));
        Some(latest.get(per_day - 1).map_or(Timestamp(0), |at| watched(*at, DAY, gaps)))
    }
}
