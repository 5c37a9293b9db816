//! Making a group's key without a dealer, and new shares of it: what a ceremony computes.
//!
//! [`dkg`] makes a group between machines, [`resharing`] gives it new shares or other custodians,
//! [`repair`] gives a lost share again. Messages, signatures and files are the callers'
//! (`seawall-custodian`); here is arithmetic, and who is to blame when it does not add up.
//!
//! Key generation is Pedersen's DKG with proofs of possession as FROST specifies it (Komlo and Goldberg 2020,
//! figure 1; `keys::dkg` of the FROST crates). [`local`] runs every participant in one process;
//! callers record `ceremony: local`, because whoever runs that process could have kept all the
//! shares. Even so nothing here adds shares up: the group's secret is never assembled.
//!
//! FROST needs two participants and a threshold of two. At threshold one every share *is* the
//! group's secret by definition, so [`local`] then hands each custodian the same random scalar;
//! ceremonies between machines refuse that threshold.

pub mod dkg;
mod polynomial;
pub mod repair;
pub mod resharing;
#[cfg(test)]
mod vectors;

use std::collections::BTreeMap;

use frost_ristretto255::keys::dkg as frost;
use frost_ristretto255::{Identifier, keys};
use seawall_base::Rng;
use zeroize::Zeroizing;

use crate::curve::random_scalar;
use crate::group::{Group, GroupError, MAX_MEMBERS, check_class};
use crate::randomness::Adapted;
use crate::share::{SecretShare, ShareError};

/// Why a ceremony failed. Start again: nothing it made may be used.
#[derive(Debug, thiserror::Error)]
pub enum CeremonyError {
    /// Numbers or class that no group can have.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A participant's message was refused.
    #[error("distributed key generation failed: {0}")]
    Protocol(#[from] frost_ristretto255::Error),
    /// A share came out unusable (zero), with probability 2^-252.
    #[error("distributed key generation made an unusable share: {0}")]
    Share(#[from] ShareError),
    /// Participants ended with different views of the group.
    #[error("participant {index} ended with another view of the group than participant 1")]
    Disagreement {
        /// The participant.
        index: u16,
    },
    /// A participant said something that cannot be true.
    #[error("custodian {index} {why}")]
    Culprit {
        /// Its index.
        index: u16,
        /// What it did.
        why: &'static str,
    },
    /// Somebody deals who holds no share of the group as it is, or was not asked to.
    #[error("custodian {index} does not hold the share this ceremony needs; was it refreshed?")]
    NotADealer {
        /// Its index.
        index: u16,
    },
    /// Participants are missing, too many, or not those the ceremony is between.
    #[error("not exactly the participants of the ceremony have spoken")]
    Incomplete,
}

/// Runs the key generation with `members` participants in this process.
///
/// Returns the group and one share for each member, in order of index (1 to `members`).
pub fn local(
    members: u16,
    threshold: u16,
    class: &str,
    rng: &mut dyn Rng,
) -> Result<(Group, Vec<SecretShare>), CeremonyError> {
    check_class(class)?;
    let count = usize::from(members);
    if count == 0 || count > MAX_MEMBERS {
        return Err(GroupError::Members { found: count }.into());
    }
    if threshold == 0 || threshold > members {
        return Err(GroupError::Threshold { threshold, members: count }.into());
    }
    if threshold == 1 {
        local_single(members, class, rng)
    } else {
        local_dkg(members, threshold, class, rng)
    }
}

fn local_single(
    members: u16,
    class: &str,
    rng: &mut dyn Rng,
) -> Result<(Group, Vec<SecretShare>), CeremonyError> {
    let scalar = Zeroizing::new(random_scalar(rng).to_bytes());
    let shares = (1..=members)
        .map(|index| SecretShare::from_bytes(index, &scalar))
        .collect::<Result<Vec<_>, _>>()?;
    let key = shares[0].verification_share();
    let group = Group::new(class, 1, key, (1..=members).map(|index| (index, key)).collect())?;
    Ok((group, shares))
}

/// What every participant holds between rounds one and two.
struct AfterRoundOne {
    secrets: BTreeMap<Identifier, frost::round1::SecretPackage>,
    broadcast: BTreeMap<Identifier, frost::round1::Package>,
}

fn round_one(
    ids: &[Identifier],
    threshold: u16,
    rng: &mut dyn Rng,
) -> Result<AfterRoundOne, CeremonyError> {
    let members = ids.len() as u16;
    let (mut secrets, mut broadcast) = (BTreeMap::new(), BTreeMap::new());
    for id in ids {
        let (secret, package) = frost::part1(*id, members, threshold, Adapted(&mut *rng))?;
        secrets.insert(*id, secret);
        broadcast.insert(*id, package);
    }
    Ok(AfterRoundOne { secrets, broadcast })
}

/// The broadcasts participant `id` receives: everyone's but its own.
fn received<T: Clone>(all: &BTreeMap<Identifier, T>, id: Identifier) -> BTreeMap<Identifier, T> {
    all.iter().filter(|(from, _)| **from != id).map(|(from, p)| (*from, p.clone())).collect()
}

fn local_dkg(
    members: u16,
    threshold: u16,
    class: &str,
    rng: &mut dyn Rng,
) -> Result<(Group, Vec<SecretShare>), CeremonyError> {
    let ids = (1..=members).map(Identifier::try_from).collect::<Result<Vec<_>, _>>()?;
    let AfterRoundOne { secrets, broadcast } = round_one(&ids, threshold, rng)?;

    let mut kept = BTreeMap::new();
    let mut inboxes: BTreeMap<Identifier, BTreeMap<Identifier, frost::round2::Package>> =
        BTreeMap::new();
    for (id, secret) in secrets {
        let (secret, outbox) = frost::part2(secret, &received(&broadcast, id))?;
        kept.insert(id, secret);
        for (to, package) in outbox {
            inboxes.entry(to).or_default().insert(id, package);
        }
    }

    let mut shares = Vec::with_capacity(ids.len());
    let mut view: Option<keys::PublicKeyPackage> = None;
    for (index, id) in (1..=members).zip(&ids) {
        let (package, public) = frost::part3(&kept[id], &received(&broadcast, *id), &inboxes[id])?;
        if *view.get_or_insert_with(|| public.clone()) != public {
            return Err(CeremonyError::Disagreement { index });
        }
        let scalar = Zeroizing::new(package.signing_share().serialize());
        shares.push(SecretShare::from_bytes(index, &encoding(&scalar))?);
    }
    let view = view.expect("there are at least two participants");
    let key = encoding(&view.verifying_key().serialize()?);
    let points = (1..=members)
        .zip(&ids)
        .map(|(index, id)| Ok((index, encoding(&view.verifying_shares()[id].serialize()?))))
        .collect::<Result<Vec<_>, CeremonyError>>()?;
    Ok((Group::new(class, threshold, key, points)?, shares))
}

/// The canonical 32 bytes by which values cross between FROST's curve library and ours.
fn encoding(bytes: &[u8]) -> [u8; 32] {
    bytes.try_into().expect("ristretto255 scalars and points are encoded in 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Seeded;

    #[test]
    fn every_share_is_the_secret_behind_its_verification_share() {
        for (members, threshold) in [(1, 1), (3, 1), (2, 2), (3, 2), (5, 3), (5, 5)] {
            let mut rng = Seeded::new("ceremony");
            let (group, shares) = local(members, threshold, "keys", &mut rng).expect("succeeds");
            assert_eq!((group.threshold(), group.members().len()), (threshold, shares.len()));
            for (index, share) in (1..=members).zip(&shares) {
                assert_eq!(share.index(), index);
                assert!(group.holds(share), "share {index} of {members}");
            }
        }
    }

    #[test]
    fn fresh_randomness_makes_a_fresh_group() {
        let run = |seed: &str| local(3, 2, "keys", &mut Seeded::new(seed)).expect("succeeds").0;
        assert_eq!(run("a"), run("a"), "the generator is the only source of randomness");
        assert_ne!(run("a").id(), run("b").id());
    }

    #[test]
    fn impossible_groups_are_refused() {
        let refused = |members, threshold, class| {
            let err = local(members, threshold, class, &mut Seeded::new("x")).expect_err("refused");
            let CeremonyError::Group(err) = err else { panic!("{err}") };
            err
        };
        assert!(matches!(refused(0, 1, "keys"), GroupError::Members { found: 0 }));
        assert!(matches!(refused(256, 1, "keys"), GroupError::Members { found: 256 }));
        assert!(matches!(refused(3, 0, "keys"), GroupError::Threshold { threshold: 0, .. }));
        assert!(matches!(refused(3, 4, "keys"), GroupError::Threshold { threshold: 4, .. }));
        assert!(matches!(refused(3, 2, "Keys"), GroupError::Class { .. }));
    }
}
