//! What follows from a ceremony's public statements, for everyone alike.

use std::collections::BTreeMap;

use seawall_escrow::ceremony::dkg::{self, Commitment, Plan};
use seawall_escrow::ceremony::repair::Repair;
use seawall_escrow::ceremony::resharing::Resharing;
use seawall_escrow::{CeremonyError, Group};
use seawall_record::{
    Ceremony, CeremonyKind, CeremonyMessage, CeremonyResult, CeremonyStep, EscrowGroupRecord,
    GroupFile, Hex32,
};
use seawall_sign::Envelope;

use super::board::Board;
use crate::home::CustodyError;

type Published = BTreeMap<u16, Vec<[u8; 32]>>;

/// A ceremony and what has been said in it.
pub(super) struct Computed<'a> {
    pub(super) ceremony: &'a Ceremony,
    pub(super) board: &'a Board<'a>,
}

fn points(of: &CeremonyMessage) -> Vec<[u8; 32]> {
    of.commitments.iter().map(|p| p.0).collect()
}

fn plan(ceremony: &Ceremony) -> Plan<'_> {
    let opening = &ceremony.opening;
    Plan {
        class: &opening.class,
        threshold: opening.threshold,
        members: opening.participants.len() as u16,
    }
}

fn members(ceremony: &Ceremony) -> Vec<u16> {
    ceremony.opening.participants.iter().map(|p| p.index).collect()
}

fn resharing<'a>(ceremony: &'a Ceremony, before: &'a Group, members: &'a [u16]) -> Resharing<'a> {
    Resharing {
        before,
        dealers: &ceremony.opening.dealers,
        threshold: ceremony.opening.threshold,
        members,
        refresh: ceremony.opening.kind == CeremonyKind::Refresh,
    }
}

fn repair<'a>(ceremony: &'a Ceremony, group: &'a Group) -> Result<Repair<'a>, CustodyError> {
    let repaired = ceremony.opening.repaired;
    let repaired = repaired.ok_or_else(|| CustodyError::refused("nobody is repaired"))?;
    Ok(Repair { group, helpers: &ceremony.opening.dealers, repaired })
}

fn previous(ceremony: &Ceremony) -> Result<&EscrowGroupRecord, CustodyError> {
    let previous = ceremony.opening.previous.as_ref();
    previous.ok_or_else(|| CustodyError::refused("the ceremony starts from no group"))
}

fn commitments<'m>(
    messages: impl Iterator<Item = &'m CeremonyMessage>,
) -> Result<BTreeMap<u16, Commitment>, CustodyError> {
    messages
        .map(|m| {
            let proof = m.proof.ok_or_else(|| CustodyError::refused("a proof is missing"))?;
            let (r, z) = (proof.r.0, proof.z.0);
            Ok((m.from, Commitment { points: points(m), proof: (r, z) }))
        })
        .collect()
}

/// The group that decisive statements make.
fn group<'m>(
    ceremony: &Ceremony,
    decisive: impl Iterator<Item = &'m CeremonyMessage>,
) -> Result<Group, CustodyError> {
    let step = ceremony.opening.decisive();
    if ceremony.opening.kind == CeremonyKind::New {
        let group = dkg::group(&plan(ceremony), &commitments(decisive)?);
        return group.map_err(|e| named(ceremony, step, e));
    }
    let published: Published = decisive.map(|m| (m.from, points(m))).collect();
    let before = Group::of_record(previous(ceremony)?)?;
    if ceremony.opening.kind == CeremonyKind::Repair {
        let checked = repair(ceremony, &before)?.check_published(&published);
        checked.map_err(|e| named(ceremony, step, e))?;
        return Ok(before);
    }
    let members = members(ceremony);
    let group = resharing(ceremony, &before, &members).group(&published);
    group.map_err(|e| named(ceremony, step, e))
}

fn record(ceremony: &Ceremony, group: &Group) -> Result<EscrowGroupRecord, CustodyError> {
    let shares = group.members().iter().map(|m| (m.index(), Hex32(m.verification_share())));
    let shares = shares.collect();
    let key = Hex32(group.key());
    Ok(ceremony.opening.record(group.id(), key, &shares, &ceremony.cards)?)
}

/// Gives the participant an error is about its name.
fn named(ceremony: &Ceremony, step: CeremonyStep, e: CeremonyError) -> CustodyError {
    match e {
        CeremonyError::Culprit { index, why } => blame(ceremony, step, index, why.to_owned()),
        e => e.into(),
    }
}

fn blame(ceremony: &Ceremony, step: CeremonyStep, index: u16, why: String) -> CustodyError {
    let name = ceremony.opening.speaker(step, index);
    let name = name.map_or_else(|| "somebody".to_owned(), |(name, _)| name.to_owned());
    CustodyError::Culprit { name, index, why }
}

impl<'a> Computed<'a> {
    pub(super) fn plan(&self) -> Plan<'a> {
        plan(self.ceremony)
    }

    pub(super) fn members(&self) -> Vec<u16> {
        members(self.ceremony)
    }

    pub(super) fn resharing<'g>(&self, before: &'g Group, members: &'g [u16]) -> Resharing<'g>
    where
        'a: 'g,
    {
        resharing(self.ceremony, before, members)
    }

    pub(super) fn repair<'g>(&self, group: &'g Group) -> Result<Repair<'g>, CustodyError>
    where
        'a: 'g,
    {
        repair(self.ceremony, group)
    }

    pub(super) fn before(&self) -> Result<Group, CustodyError> {
        Ok(Group::of_record(previous(self.ceremony)?)?)
    }

    pub(super) fn before_if_any(&self) -> Result<Option<Group>, CustodyError> {
        let previous = self.ceremony.opening.previous.as_ref();
        Ok(previous.map(Group::of_record).transpose()?)
    }

    fn decisive(&self) -> impl Iterator<Item = &CeremonyMessage> {
        let step = self.ceremony.opening.decisive();
        self.board.of_step(step).map(|(_, said)| &said.message)
    }

    pub(super) fn commitments(&self) -> Result<BTreeMap<u16, Commitment>, CustodyError> {
        commitments(self.decisive())
    }

    pub(super) fn published(&self) -> Result<Published, CustodyError> {
        self.board.decisive()?;
        Ok(self.decisive().map(|m| (m.from, points(m))).collect())
    }

    pub(super) fn group(&self) -> Result<Group, CustodyError> {
        group(self.ceremony, self.decisive())
    }

    /// The statement everyone signs in the end.
    pub(super) fn result(&self, group: &Group) -> Result<CeremonyResult, CustodyError> {
        let decisive = self.board.decisive()?;
        Ok(CeremonyResult {
            ceremony: self.ceremony.id(),
            record: record(self.ceremony, group)?,
            transcript: decisive.iter().map(Envelope::digest).collect(),
            previous: self.ceremony.opening.starts_from(),
        })
    }

    pub(super) fn named(&self, step: CeremonyStep, e: CeremonyError) -> CustodyError {
        named(self.ceremony, step, e)
    }

    pub(super) fn blame(&self, step: CeremonyStep, index: u16, why: String) -> CustodyError {
        blame(self.ceremony, step, index, why)
    }
}

/// Parses a group file and computes its group anew from the statements in it.
///
/// Signatures say who vouches for a record; this says that it follows from what they said.
pub fn check_group_file(json: &[u8]) -> Result<(GroupFile, Group), CustodyError> {
    let file = GroupFile::open(json)?;
    let ceremony = file.ceremony();
    let computed = group(ceremony, file.dealings())?;
    if record(ceremony, &computed)? != *file.record() {
        return Err(CustodyError::refused(
            "the group is not the one its participants' statements make: it was swapped",
        ));
    }
    Ok((file, computed))
}
