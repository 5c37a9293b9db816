//! Newer policies of a fleet, from any of its nodes: a revocation must not wait for the first request
//! that happens to carry it.
//!
//! Whoever shows them proves an enrolment that holds under what is shown, so a revoked node, which
//! may well have the newest policy, is a stranger like any other. The policies prove themselves; the
//! answer says what is known here then, to members only.

use seawall_record::{Enrolment, Fleet, Role};
use seawall_sign::{Envelope, VerifyingKey};

use super::Office;
use crate::message::{PoliciesKnown, PoliciesShown, Refusal};

impl Office {
    /// Takes what a node shows of its fleet's policies; all that are known here then.
    pub fn hear_policies(
        &mut self,
        peer: VerifyingKey,
        body: &[u8],
    ) -> Result<PoliciesKnown, Refusal> {
        let shown: PoliciesShown = serde_json::from_slice(body).map_err(|_| Refusal::stranger())?;
        let (id, policies) = shown.policies().map_err(|_| Refusal::stranger())?;
        let enrolment = shown.enrolment().map_err(|_| Refusal::stranger())?;
        let known = &self.dockets.get(&id).ok_or_else(Refusal::stranger)?.fleet;
        let before = known.version();
        let newest = Fleet::open_chain(known.envelope().clone(), policies, known);
        let judge = newest.as_ref().unwrap_or(known);
        if !is_member(judge, &enrolment, peer) {
            return Err(Refusal::stranger());
        }
        let newest = newest.map_err(|e| {
            let why = format!("policies not taken: {e}");
            Refusal::new(422, why, "show this fleet's own policies")
        })?;
        self.learn(&newest)?;
        self.remember(peer, id);
        Ok(PoliciesKnown::new(before, &self.dockets[&id].fleet))
    }
}

/// Whether a connection is that of a node of the fleet that nobody has revoked.
fn is_member(fleet: &Fleet, enrolment: &Envelope, peer: VerifyingKey) -> bool {
    Enrolment::open(fleet, enrolment, Role::Node)
        .is_ok_and(|it| it.transport == peer && !fleet.is_revoked(it.node(), it.epoch))
}
