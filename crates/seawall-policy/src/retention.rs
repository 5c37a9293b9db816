//! Which snapshots to keep.
//!
//! Rules say what is wanted: so many of the last, of hours, days, weeks, months, years, everything
//! within a span, everything with certain tags. A snapshot any rule wants is kept. The rules are
//! restic's, so that a policy carries over; `tests/restic.rs` holds them to its results.
//!
//! Guards say what may not go yet, whatever the rules want: the newest of its group, one that is
//! too young or of whose age nobody can tell, one of which too few other tiers have signed, one
//! that is being read, the newest of its group that a drill has restored. A guard keeps a snapshot and takes no rule's count, so that what a guard
//! holds today never makes a rule drop something else.
//!
//! Invariants, each a property test: what is kept shrinks as time passes and never grows; a rule
//! added keeps at least what was kept before; deciding again over what was kept drops nothing.
//!
//! Rejected: spans counted back from *now*. A node that was off for a month would wake up and
//! expire its last month; counted back from the newest snapshot it keeps it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use seawall_base::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Span;
use crate::calendar::{Bucket, seconds};

/// Most tags that must come together in one rule, and most such rules.
pub const MAX_TAG_RULES: usize = 64;

/// How many a rule keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Count {
    /// None: the rule is off.
    #[default]
    Off,
    /// The newest so many.
    Newest(u32),
    /// All.
    Unlimited,
}

/// A text is neither a number nor `unlimited`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a count: write a number, or unlimited")]
pub struct CountError;

impl Count {
    fn is_off(&self) -> bool {
        *self == Self::Off
    }

    /// Takes one; false if none was left.
    fn take(&mut self) -> bool {
        match self {
            Self::Off => false,
            Self::Newest(n) => {
                *self = if *n > 1 { Self::Newest(*n - 1) } else { Self::Off };
                true
            }
            Self::Unlimited => true,
        }
    }
}

impl FromStr for Count {
    type Err = CountError;

    fn from_str(text: &str) -> Result<Self, CountError> {
        match (text, text.parse()) {
            ("unlimited", _) => Ok(Self::Unlimited),
            (_, Ok(0)) => Ok(Self::Off),
            (_, Ok(n)) => Ok(Self::Newest(n)),
            (_, Err(_)) => Err(CountError),
        }
    }
}

impl fmt::Display for Rules {
    /// In the words of the command line: `daily 7, within 1m, tags a,b`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts.iter().filter(|(_, count)| !count.is_off());
        let counts = counts.map(|(period, count)| format!("{period} {count}"));
        let spans = self.within.iter().filter(|(_, span)| !span.is_zero());
        let spans = spans.map(|(period, span)| Reason::Within(*period, *span).to_string());
        let tags = self.tags.iter().map(|tags| Reason::Tagged(tags.clone()).to_string());
        f.write_str(&counts.chain(spans).chain(tags).collect::<Vec<_>>().join(", "))
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("0"),
            Self::Newest(n) => n.fmt(f),
            Self::Unlimited => f.write_str("unlimited"),
        }
    }
}

impl Serialize for Count {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What a rule counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Period {
    /// Each snapshot.
    Last,
    /// The newest of each hour.
    Hourly,
    /// The newest of each day.
    Daily,
    /// The newest of each ISO week.
    Weekly,
    /// The newest of each month.
    Monthly,
    /// The newest of each year.
    Yearly,
}

impl Period {
    /// All, finest first.
    pub const ALL: [Self; 6] =
        [Self::Last, Self::Hourly, Self::Daily, Self::Weekly, Self::Monthly, Self::Yearly];

    /// The bucket of a time; none where every snapshot is its own.
    fn bucket(self, at: Timestamp) -> Option<Bucket> {
        match self {
            Self::Last => None,
            Self::Hourly => Some(Bucket::hour(at)),
            Self::Daily => Some(Bucket::day(at)),
            Self::Weekly => Some(Bucket::week(at)),
            Self::Monthly => Some(Bucket::month(at)),
            Self::Yearly => Some(Bucket::year(at)),
        }
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
        })
    }
}

/// What is wanted. All rules off keeps nothing and is refused.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rules {
    /// How many for each period.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub counts: BTreeMap<Period, Count>,
    /// For each period, those within a span of the newest; [`Period::Last`] means every one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub within: BTreeMap<Period, Span>,
    /// Those that have all tags of one of these lists; an empty list means untagged ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<Vec<String>>,
}

impl Serialize for Period {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Period {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        let known = Self::ALL.into_iter().find(|p| p.to_string() == text);
        known.ok_or_else(|| serde::de::Error::custom("unknown period"))
    }
}

/// What must hold before anything goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guards {
    /// Younger ones stay.
    pub min_age: Span,
    /// How many other tiers must hold it.
    pub copies: u32,
}

/// Why nothing was decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// A policy without rules.
    #[error("the policy keeps nothing: give at least one rule, such as --keep-daily 7")]
    KeepsNothing,
    /// Too many tag rules.
    #[error("more than {MAX_TAG_RULES} tags in one rule, or more than {MAX_TAG_RULES} tag rules")]
    TooManyTags,
}

/// What belongs together: rules count within a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    /// The node, by whatever name the caller keeps apart.
    pub node: String,
    /// The set, if one was named.
    pub set: Option<String>,
    /// The data class.
    pub class: u8,
}

/// What is known of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Where it belongs.
    pub group: Group,
    /// Its place in its log: of two made in the same second the later one is newer.
    pub sequence: u64,
    /// When its node says it was made. Rules count by it.
    pub created: Timestamp,
    /// The latest time at which somebody who counts says that it was there already; none if
    /// nobody does. Its age is measured from here.
    pub witnessed: Option<Timestamp>,
    /// Its tags.
    pub tags: Vec<String>,
    /// Other tiers that hold it.
    pub copies: u32,
    /// Whether somebody is reading it.
    pub in_use: bool,
    /// Whether a drill has shown that it can be restored.
    pub proven: bool,
}

/// Why a snapshot stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// One of so many.
    Counted(Period),
    /// The oldest there is, with counts left: it stretches the history as far as there is any.
    Oldest(Period),
    /// Within a span of the newest.
    Within(Period, Span),
    /// The oldest there is, within a span.
    OldestWithin(Period, Span),
    /// Has all of these tags.
    Tagged(Vec<String>),
    /// The newest of its group, or the one made last.
    Newest,
    /// Younger than the minimum age.
    Young(Span),
    /// Nobody who counts has said when it was there.
    Unwitnessed,
    /// Too few other tiers hold it: how many do, and how many must.
    Copies(u32, u32),
    /// Somebody is reading it.
    InUse,
    /// The newest of its group that a drill has restored.
    Proven,
}

impl Reason {
    /// Whether a rule wants it, rather than a guard holding it.
    pub const fn is_rule(&self) -> bool {
        matches!(
            self,
            Self::Counted(_)
                | Self::Oldest(_)
                | Self::Within(..)
                | Self::OldestWithin(..)
                | Self::Tagged(_)
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Counted(period) => period.fmt(f),
            Self::Oldest(period) => write!(f, "oldest {period}"),
            Self::Within(Period::Last, span) => write!(f, "within {span}"),
            Self::Within(period, span) => write!(f, "{period} within {span}"),
            Self::OldestWithin(period, span) => write!(f, "oldest {period} within {span}"),
            Self::Tagged(tags) if tags.is_empty() => f.write_str("no tags"),
            Self::Tagged(tags) => write!(f, "tags {}", tags.join(",")),
            Self::Newest => f.write_str("newest of its set"),
            Self::Young(min) => write!(f, "younger than {min}"),
            Self::Unwitnessed => f.write_str("no witnessed time"),
            Self::Copies(have, need) => write!(f, "{have} of {need} copies elsewhere"),
            Self::InUse => f.write_str("being read"),
            Self::Proven => f.write_str("last proven by a drill"),
        }
    }
}

/// What is to become of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It stays, for these reasons: at least one.
    Keep(Vec<Reason>),
    /// It goes.
    Forget,
}

impl Rules {
    /// Refuses rules that could not want anything.
    pub fn check(&self) -> Result<(), PolicyError> {
        if self.tags.len() > MAX_TAG_RULES || self.tags.iter().any(|t| t.len() > MAX_TAG_RULES) {
            return Err(PolicyError::TooManyTags);
        }
        let counts = self.counts.values().any(|c| !c.is_off());
        let spans = self.within.values().any(|s| !s.is_zero());
        if counts || spans || !self.tags.is_empty() {
            return Ok(());
        }
        Err(PolicyError::KeepsNothing)
    }
}

/// Decides for every snapshot, in the order given. `now` is the earliest of the times that count.
pub fn decide(
    snapshots: &[Snapshot],
    rules: &Rules,
    guards: Guards,
    now: Timestamp,
) -> Result<Vec<Verdict>, PolicyError> {
    rules.check()?;
    let mut groups: BTreeMap<&Group, Vec<usize>> = BTreeMap::new();
    for (i, snapshot) in snapshots.iter().enumerate() {
        groups.entry(&snapshot.group).or_default().push(i);
    }
    let mut verdicts = vec![Verdict::Forget; snapshots.len()];
    for mut members in groups.into_values() {
        members.sort_by_key(|&i| std::cmp::Reverse((snapshots[i].created, snapshots[i].sequence)));
        let group: Vec<&Snapshot> = members.iter().map(|&i| &snapshots[i]).collect();
        for (&i, reasons) in members.iter().zip(decide_group(&group, rules, guards, now)) {
            if !reasons.is_empty() {
                verdicts[i] = Verdict::Keep(reasons);
            }
        }
    }
    Ok(verdicts)
}

/// One rule by period as it goes down a group, newest first.
struct Running {
    period: Period,
    count: Count,
    /// Only within this span, and from this time on, exclusive.
    within: Option<(Span, i64)>,
    last: Option<Bucket>,
}

impl Running {
    fn look(&mut self, at: Timestamp, is_oldest: bool) -> Option<Reason> {
        if self.count.is_off() || self.within.is_some_and(|(_, from)| seconds(at) <= from) {
            return None;
        }
        let bucket = self.period.bucket(at);
        let again = bucket.is_some() && bucket == self.last;
        if (again && !is_oldest) || !self.count.take() {
            return None;
        }
        self.last = bucket;
        let period = self.period;
        Some(match self.within {
            None if again => Reason::Oldest(period),
            None => Reason::Counted(period),
            Some((span, _)) if again => Reason::OldestWithin(period, span),
            Some((span, _)) => Reason::Within(period, span),
        })
    }
}

/// The reasons of each member of a group, newest first.
fn decide_group(
    group: &[&Snapshot],
    rules: &Rules,
    guards: Guards,
    now: Timestamp,
) -> Vec<Vec<Reason>> {
    // One from the future says nothing about how far back "within" reaches.
    let newest = group.iter().map(|s| s.created).filter(|at| *at <= now).max();
    let counted = rules.counts.iter().map(|(&period, &count)| Running {
        period,
        count,
        within: None,
        last: None,
    });
    let spanned =
        rules.within.iter().filter(|(_, span)| !span.is_zero()).map(|(&period, &span)| {
            // Without any that is not from the future, nothing is too long ago.
            let from = newest.map_or(i64::MIN, |at| span.before(at));
            Running { period, count: Count::Unlimited, within: Some((span, from)), last: None }
        });
    let mut running: Vec<Running> = counted.chain(spanned).collect();
    let oldest = group.len().saturating_sub(1);
    // A clock that was set back makes these two.
    let last_made = group.iter().map(|s| s.sequence).max();
    let last_proven = group.iter().filter(|s| s.proven).map(|s| s.sequence).max();
    let one = |(nr, snapshot): (usize, &&Snapshot)| {
        let mut reasons = Vec::new();
        reasons.extend(
            rules
                .tags
                .iter()
                .filter(|tags| has_tags(snapshot, tags))
                .map(|tags| Reason::Tagged(tags.clone())),
        );
        reasons.extend(running.iter_mut().filter_map(|r| r.look(snapshot.created, nr == oldest)));
        let newest = nr == 0 || Some(snapshot.sequence) == last_made;
        guard(snapshot, newest, guards, now, &mut reasons);
        if snapshot.proven && Some(snapshot.sequence) == last_proven {
            reasons.push(Reason::Proven);
        }
        reasons
    };
    group.iter().enumerate().map(one).collect()
}

fn has_tags(snapshot: &Snapshot, wanted: &[String]) -> bool {
    if wanted.is_empty() {
        return snapshot.tags.is_empty();
    }
    wanted.iter().all(|tag| snapshot.tags.contains(tag))
}

fn guard(it: &Snapshot, newest: bool, guards: Guards, now: Timestamp, reasons: &mut Vec<Reason>) {
    if newest {
        reasons.push(Reason::Newest);
    }
    match it.witnessed {
        None => reasons.push(Reason::Unwitnessed),
        // A time from the future has no age; nor has one that its node says is still to come.
        Some(then) if then.max(it.created) > now => reasons.push(Reason::Young(guards.min_age)),
        Some(then) if now.0 - then.0 < guards.min_age.length_until(now).0 => {
            reasons.push(Reason::Young(guards.min_age));
        }
        Some(_) => {}
    }
    if it.copies < guards.copies {
        reasons.push(Reason::Copies(it.copies, guards.copies));
    }
    if it.in_use {
        reasons.push(Reason::InUse);
    }
}
