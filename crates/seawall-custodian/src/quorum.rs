//! Who the fleet's policy lets vouch for a log, and how far a checkpoint has got with them.
//!
//! One glue for all who judge: notes and keys become operators here, and nowhere else.

use seawall_policy::witness::{Quorum, Reached};
use seawall_record::Fleet;
use seawall_tlog::{Roster, SignedCheckpoint};

/// The policy's witnesses, by operator. One whose name no signature line can carry has cosigned
/// nothing and counts for nothing; nobody else pays for it, and no request fails by it.
pub fn roster(fleet: &Fleet) -> Roster {
    let mut roster = Roster::default();
    for it in fleet.witnesses() {
        if let Err(e) = roster.add(&it.operator, &it.name, it.key) {
            tracing::warn!(error = %e, "a witness of the policy cannot cosign anything; replace it");
        }
    }
    roster
}

/// The policy's quorum, if it demands one. A policy whose quorums could miss each other is refused
/// before anybody believes it, so there is none here.
pub fn quorum(fleet: &Fleet) -> Option<Quorum> {
    let rule = fleet.witness_quorum()?;
    let operators = fleet.witnesses().iter().map(|w| w.operator.as_str());
    Quorum::new(operators, rule.quorum, rule.faulty).ok()
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
    Reached::count(quorum(fleet).as_ref(), operators)
}
