//! What old root keys signed and still holds, when others take their place.
//!
//! New root keys name it by digest, and whatever they do not name stops counting: the enrolment a
//! log begins with, and the statement by which its next epoch was begun, too. A log that holds such
//! a statement cannot be read any more by anybody who knows the new policy. So everything this home
//! signed is kept and carried over by itself, and so is what stands in its own log; and every log
//! within reach is looked through for more.
//!
//! What only other logs hold is *not* taken unasked: whoever has stolen the old keys could have
//! enrolled a node of his own, which is often why keys are replaced. It is shown, and whoever
//! replaces the keys decides.

use seawall_base::Sha256;
use seawall_record::{Enrolment, Epoch, Fleet, FleetPolicy};
use seawall_sign::{Envelope, Predicate as _, Statement, predicate_type};

use crate::bucket::Bucket;
use crate::home::{Home, HomeError};
use crate::tiers::{Pulled, RegionLink, pull_bucket_logs, pull_logs};
use crate::{deletion, enrol, operators};

/// What becomes of statements of the old root keys that only other nodes' logs hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OtherLogs {
    /// They are named, and nothing is proposed.
    #[default]
    Ask,
    /// They are carried over.
    Carry,
    /// They stop counting, and their logs cannot be read any more.
    Leave,
}

/// Statements of the root keys in logs within reach, and what could not be looked through.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere {
    found: Vec<(String, Envelope)>,
    pub(crate) untold: Vec<String>,
}

/// Looks through every log within reach. Speaks to regions: not for a home that is locked.
pub(crate) fn elsewhere(home: &Home, fleet: &Fleet) -> Result<Elsewhere, HomeError> {
    let mut it = Elsewhere::default();
    let (links, unreached) = RegionLink::all(home, fleet)?;
    it.untold.extend(unreached.iter().map(|(name, e)| format!("{name}: {e}")));
    for link in &links {
        it.take(fleet, &link.region.name, pull_logs(home, fleet, link));
    }
    if let Some(bucket) = Bucket::of(home).transpose() {
        it.take(fleet, "bucket", bucket.and_then(|b| pull_bucket_logs(home, fleet, &b)));
    }
    Ok(it)
}

impl Elsewhere {
    /// What was found, wherever that was.
    pub(crate) fn statements(&self) -> Vec<Envelope> {
        self.found.iter().map(|(_, statement)| statement.clone()).collect()
    }

    fn take(&mut self, fleet: &Fleet, place: &str, logs: Result<Vec<Pulled>, HomeError>) {
        let logs = logs.unwrap_or_else(|e| vec![Err(e)]);
        for log in logs {
            match log {
                Err(e) => self.untold.push(format!("{place}: {e}")),
                Ok(log) => {
                    let entries = (0..).map_while(|index| log.entry(index));
                    let found = entries.filter_map(|entry| root_signed(fleet, entry));
                    self.found.extend(found.map(|it| (place.to_owned(), it)));
                }
            }
        }
    }
}

/// A log entry as a statement of the root keys, if it is one that holds today.
fn root_signed(fleet: &Fleet, entry: &[u8]) -> Option<Envelope> {
    Envelope::parse(entry).ok().filter(|it| fleet.policy().upholds(it))
}

/// Names in `next` what is carried over to its root keys.
pub(crate) fn carry(
    home: &Home,
    fleet: &Fleet,
    next: &mut FleetPolicy,
    others: (OtherLogs, Elsewhere),
) -> Result<(), HomeError> {
    let mut all = enrol::issued(home, fleet)?;
    all.extend(enrol::issued_epochs(home)?);
    all.extend(operators::policy(home, fleet)?.map(|(_, statement)| statement));
    all.extend(deletion::to_carry(home, fleet)?);
    let own = home.log(fleet)?;
    for index in 0..own.size() {
        all.extend(root_signed(fleet, &own.entry(index)?));
    }
    next.carried.extend(all.iter().map(Envelope::digest));
    let (wanted, elsewhere) = others;
    let mut lost = elsewhere.found;
    lost.retain(|(_, it)| !next.upholds(it));
    let mut seen: Vec<Sha256> = Vec::new();
    lost.retain(|(_, it)| {
        !seen.contains(&it.digest()) && {
            seen.push(it.digest());
            true
        }
    });
    match wanted {
        OtherLogs::Ask if !lost.is_empty() || !elsewhere.untold.is_empty() => {
            return Err(refusal(&lost, &elsewhere.untold));
        }
        // What somebody could not show cannot be carried over.
        OtherLogs::Carry if !elsewhere.untold.is_empty() => {
            return Err(refusal(&[], &elsewhere.untold));
        }
        OtherLogs::Carry => next.carried.extend(seen),
        OtherLogs::Ask | OtherLogs::Leave => {}
    }
    Ok(())
}

fn refusal(lost: &[(String, Envelope)], untold: &[String]) -> HomeError {
    let mut why: Vec<String> =
        lost.iter().map(|(place, it)| format!("{}, in a log at {place}", in_words(it))).collect();
    why.extend(untold.iter().map(|why| format!("cannot be looked through: {why}")));
    HomeError::refused(format!(
        "logs that hold statements of the old root keys could not be read any more under the new ones:\n  {}\ncarry them over (--carry-logs, once all of them can be looked through), or go on without what was not found here (--leave-logs, with --carry FILE for what you have), for instance without a node that a thief has enrolled",
        why.join("\n  ")
    ))
}

/// A statement of the root keys, in words.
fn in_words(envelope: &Envelope) -> String {
    let Ok(kind) = predicate_type(envelope) else {
        return format!("statement {}", envelope.digest());
    };
    let what = match kind.as_str() {
        Enrolment::TYPE => Statement::<Enrolment>::read_unverified(envelope)
            .map(|it| it.predicate)
            .map(|it| format!("enrolment of {} ({}), epoch {}", it.name, it.node(), it.epoch))
            .ok(),
        Epoch::TYPE => Statement::<Epoch>::read_unverified(envelope)
            .map(|it| format!("epoch {} of {}", it.predicate.epoch, it.predicate.node))
            .ok(),
        _ => None,
    };
    what.unwrap_or_else(|| format!("{} {}", kind.escape_debug(), envelope.digest()))
}

/// Names further statements in `next`, which root keys of this fleet signed at some time.
pub(crate) fn carry_files(
    fleet: &Fleet,
    next: &mut FleetPolicy,
    statements: &[Envelope],
) -> Result<(), HomeError> {
    for statement in statements {
        if !fleet.was_root_signed(statement) {
            return Err(HomeError::refused(format!(
                "{} was signed by no root keys of this fleet: it cannot be carried over",
                in_words(statement)
            )));
        }
        next.carried.push(statement.digest());
    }
    Ok(())
}
