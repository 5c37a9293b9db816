//! What is for one participant only: 32 bytes sealed to its recipient key.
//!
//! HPKE with X-Wing (`docs/formats/partial.md`). The associated data names ceremony, step, author
//! and recipient, so that a part cannot be moved; its author signs its digest, so that it cannot
//! be replaced.

use seawall_base::wire::Writer;
use seawall_base::{Rng, Sha256};
use seawall_escrow::{OneTimePublic, OneTimeSecret};
use seawall_record::{Base64, Ceremony, CeremonyMessage, CeremonyStep};
use zeroize::Zeroizing;

use crate::home::CustodyError;

const INFO: &[u8] = b"seawall 2026-11 ceremony part v1";

fn associated_data(ceremony: &Ceremony, step: CeremonyStep, from: u16, to: u16) -> Vec<u8> {
    let number = CeremonyStep::ALL.iter().position(|s| *s == step).map_or(0, |at| at + 1);
    let mut w = Writer::new();
    w.raw(&ceremony.id().0).u8(number as u8).u16(from).u16(to);
    w.into_vec()
}

/// SHA-256 of sealed bytes.
pub(super) fn digest(sealed: &Base64) -> Sha256 {
    Sha256::of(&sealed.0)
}

/// Seals a value of the statement `message` to the participant `to`.
pub(super) fn seal(
    ceremony: &Ceremony,
    message: &CeremonyMessage,
    to: u16,
    value: &[u8; 32],
    rng: &mut dyn Rng,
) -> Result<Base64, CustodyError> {
    let card = ceremony.card(to).ok_or_else(|| CustodyError::refused("it has no recipient"))?;
    let recipient = OneTimePublic::from_bytes(&card.recipient.0)?;
    let aad = associated_data(ceremony, message.step, message.from, to);
    Ok(Base64(recipient.seal(INFO, &aad, value, rng)?))
}

/// Opens what `message` sealed to the participant `to`; an error says why its author is to blame.
pub(super) fn open(
    ceremony: &Ceremony,
    message: &CeremonyMessage,
    to: u16,
    sealed: &Base64,
    key: &OneTimeSecret,
) -> Result<Zeroizing<[u8; 32]>, String> {
    let aad = associated_data(ceremony, message.step, message.from, to);
    let plain = key
        .open(INFO, &aad, &sealed.0)
        .map_err(|e| format!("sealed something that does not open: {e}"))?;
    let mut value = Zeroizing::new([0; 32]);
    if plain.len() != 32 {
        return Err("sealed something that is not 32 bytes".to_owned());
    }
    value.copy_from_slice(&plain);
    Ok(value)
}
