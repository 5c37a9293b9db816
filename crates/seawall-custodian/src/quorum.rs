//! Who the fleet's policy lets vouch for a log, and how far a checkpoint has got with them.
//!
//! One glue for all who judge: notes and keys become operators here, and nowhere else.

use seawall_policy::witness::Reached;
use seawall_record::{Fleet, FleetPolicy};
use seawall_tlog::{Roster, SignedCheckpoint};

/// The policy's witnesses, by operator.
pub fn roster(policy: &FleetPolicy) -> Roster {
    Roster::of(policy.cosigners(), |e| {
        tracing::warn!(error = %e, "a witness of the policy cannot cosign anything; replace it");
    })
}

/// Who of `roster` stands behind any of these states of one log, all consistent with one another.
pub fn reached<'a>(
    fleet: &Fleet,
    roster: &Roster,
    checkpoints: impl IntoIterator<Item = &'a SignedCheckpoint>,
) -> Reached {
    let mut operators = Vec::new();
    for checkpoint in checkpoints {
        operators.extend(roster.stamps(checkpoint).into_iter().map(|(operator, _)| operator));
    }
    Reached::count(fleet.policy().quorum().as_ref(), operators)
}
