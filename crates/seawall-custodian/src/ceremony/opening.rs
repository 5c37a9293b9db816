//! Opening a ceremony: who takes part in what, put together from cards and the group's record.

use seawall_base::{Clock, FleetId, Rng};
use seawall_record::{
    Base64, Ceremony, CeremonyKind, CeremonyOpening, CustodianCard, EscrowGroupRecord, Hex32,
    Participant, SUITE_PQ,
};

use crate::home::{CustodianHome, CustodyError};

/// What a new group shall be.
#[derive(Debug, Clone, Copy)]
pub struct NewGroup<'a> {
    /// The data class.
    pub class: &'a str,
    /// Its number inside sealed objects.
    pub class_number: u8,
    /// Custodians needed to open a snapshot.
    pub threshold: u16,
}

fn participant(index: u16, card: &CustodianCard) -> Participant {
    let (name, signing_key) = (card.name.clone(), card.signing_key);
    Participant { index, name, signing_key, card: card.digest() }
}

fn counted(cards: &[CustodianCard]) -> Vec<Participant> {
    (1..).zip(cards).map(|(index, card)| participant(index, card)).collect()
}

/// Checks, signs and returns an opening.
fn open(
    home: &CustodianHome,
    mut opening: CeremonyOpening,
    mut cards: Vec<CustodianCard>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Ceremony, CustodyError> {
    opening.created = clock.now();
    rng.fill(&mut opening.nonce.0);
    // Cards stand in the order of their indices.
    let at = |card: &CustodianCard| {
        opening.participants.iter().position(|p| p.signing_key == card.signing_key)
    };
    cards.sort_by_key(at);
    let envelope = opening.statement()?.sign(&[&home.signing()?])?;
    Ok(Ceremony::new(envelope, cards)?)
}

fn opening(
    kind: CeremonyKind,
    fleet: Option<FleetId>,
    group: NewGroup<'_>,
    participants: Vec<Participant>,
    reason: &str,
) -> CeremonyOpening {
    CeremonyOpening {
        kind,
        fleet,
        class: group.class.to_owned(),
        class_number: group.class_number,
        threshold: group.threshold,
        participants,
        previous: None,
        dealers: Vec::new(),
        repaired: None,
        suite: Some(SUITE_PQ),
        reason: reason.to_owned(),
        created: seawall_base::Timestamp(0),
        nonce: Hex32([0; 32]),
    }
}

/// Opens the making of a new group between these custodians, in this order.
pub fn open_new(
    home: &CustodianHome,
    group: NewGroup<'_>,
    cards: Vec<CustodianCard>,
    fleet: Option<FleetId>,
    reason: &str,
    (clock, rng): (&dyn Clock, &mut dyn Rng),
) -> Result<Ceremony, CustodyError> {
    let it = opening(CeremonyKind::New, fleet, group, counted(&cards), reason);
    open(home, it, cards, clock, rng)
}

fn same(record: &EscrowGroupRecord) -> NewGroup<'_> {
    let EscrowGroupRecord { class, class_number, threshold, .. } = record;
    NewGroup { class, class_number: *class_number, threshold: *threshold }
}

/// The index a group has for the custodian of a card.
fn index_of(record: &EscrowGroupRecord, card: &CustodianCard) -> Result<u16, CustodyError> {
    let custodian = record.custodians.iter().find(|c| c.signing_key == card.signing_key);
    custodian.map(|c| c.index).ok_or_else(|| {
        CustodyError::refused(format!(
            "the group has no custodian with the signing key of {}; is this its newest card?",
            card.name
        ))
    })
}

/// Opens a refresh of a group by all its custodians.
pub fn open_refresh(
    home: &CustodianHome,
    record: &EscrowGroupRecord,
    cards: Vec<CustodianCard>,
    fleet: Option<FleetId>,
    reason: &str,
    (clock, rng): (&dyn Clock, &mut dyn Rng),
) -> Result<Ceremony, CustodyError> {
    let mut participants = Vec::new();
    for card in &cards {
        participants.push(participant(index_of(record, card)?, card));
    }
    participants.sort_by_key(|p| p.index);
    let mut it = opening(CeremonyKind::Refresh, fleet, same(record), participants, reason);
    it.dealers = record.custodians.iter().map(|c| c.index).collect();
    it.previous = Some(record.clone());
    open(home, it, cards, clock, rng)
}

/// Opens the repair of the share of custodian `repaired`, whose card is the last given; the
/// others help.
pub fn open_repair(
    home: &CustodianHome,
    record: &EscrowGroupRecord,
    repaired: (u16, CustodianCard),
    helpers: Vec<CustodianCard>,
    fleet: Option<FleetId>,
    reason: &str,
    (clock, rng): (&dyn Clock, &mut dyn Rng),
) -> Result<Ceremony, CustodyError> {
    let mut participants = vec![participant(repaired.0, &repaired.1)];
    let mut dealers = Vec::new();
    for card in &helpers {
        let index = index_of(record, card)?;
        dealers.push(index);
        participants.push(participant(index, card));
    }
    dealers.sort_unstable();
    participants.sort_by_key(|p| p.index);
    let mut it = opening(CeremonyKind::Repair, fleet, same(record), participants, reason);
    it.dealers = dealers;
    it.repaired = Some(repaired.0);
    // The others' keys stand as they are; a refresh raises the suite.
    it.suite = record.suite;
    it.previous = Some(record.clone());
    let mut cards = helpers;
    cards.push(repaired.1);
    open(home, it, cards, clock, rng)
}

/// Checks that snapshots sealed to a post-quantum group open after it was shared anew among these.
///
/// A re-sharing moves shares of the group and not those of single snapshots: as many custodians as
/// it takes today must stay, with the keys they have, or [hand them on](crate::hand_on).
pub fn check_stay(record: &EscrowGroupRecord, cards: &[CustodianCard]) -> Result<(), CustodyError> {
    let stays = |kem: &Base64| cards.iter().any(|card| card.kem == *kem);
    let stay = record.custodians.iter().filter(|c| c.kem.as_ref().is_some_and(stays)).count();
    if record.suite.is_none() || stay >= usize::from(record.threshold) {
        return Ok(());
    }
    Err(CustodyError::refused(format!(
        "of the custodians that have post-quantum shares of today's snapshots {stay} would stay, and it takes {} to open them: keep more of them, or see that those who leave hand their shares over (custodian hand-over) and say --few-stay",
        record.threshold
    )))
}

/// Opens the sharing of a group among these custodians, in this order, by `dealers` of it.
pub fn open_reshare(
    home: &CustodianHome,
    record: &EscrowGroupRecord,
    (threshold, cards): (u16, Vec<CustodianCard>),
    mut dealers: Vec<u16>,
    fleet: Option<FleetId>,
    reason: &str,
    (clock, rng): (&dyn Clock, &mut dyn Rng),
) -> Result<Ceremony, CustodyError> {
    dealers.sort_unstable();
    let group = NewGroup { threshold, ..same(record) };
    let mut it = opening(CeremonyKind::Reshare, fleet, group, counted(&cards), reason);
    it.dealers = dealers;
    it.previous = Some(record.clone());
    open(home, it, cards, clock, rng)
}
