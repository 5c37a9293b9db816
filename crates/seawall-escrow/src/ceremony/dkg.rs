//! Key generation between machines: FROST's, one participant at a time.
//!
//! Three steps, as in [`super::local`]: [`commit`] publishes commitments to a polynomial with a
//! proof of knowing its constant term (without which the last to speak could choose the group's
//! key); [`deal`] checks everyone's proof and gives each other participant its value; [`finish`]
//! checks the values received and adds them up to a share. What has to be kept between the steps
//! is bytes for a file.
//!
//! Everyone must have seen the same commitments. FROST leaves that to a broadcast channel; here
//! the callers repeat to each other what they saw (`seawall-custodian`).

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use frost_ristretto255::keys::dkg::{self as frost, round1, round2};
use frost_ristretto255::keys::{SigningShare, VerifiableSecretSharingCommitment};
use frost_ristretto255::{Identifier, Signature};
use seawall_base::Rng;
use zeroize::Zeroizing;

use super::polynomial::Committed;
use super::{CeremonyError, encoding};
use crate::group::Group;
use crate::randomness::Adapted;
use crate::share::SecretShare;

/// What a participant publishes first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commitment {
    /// Commitments to its polynomial's terms, the constant one first.
    pub points: Vec<[u8; 32]>,
    /// Proof of knowing the constant term: a point and a scalar.
    pub proof: ([u8; 32], [u8; 32]),
}

/// What everyone knows of a key generation before it starts.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The data class of the group.
    pub class: &'a str,
    /// How many custodians it takes.
    pub threshold: u16,
    /// How many there are; their indices are 1 to this.
    pub members: u16,
}

/// Secret bytes to keep until the next step, and what to say.
pub struct Step<T> {
    /// To be kept, and deleted after the next step.
    pub secret: Zeroizing<Vec<u8>>,
    /// What to say, or to give to each.
    pub out: T,
}

fn id(index: u16) -> Result<Identifier, CeremonyError> {
    Ok(Identifier::try_from(index)?)
}

/// A value for each participant, by index.
pub type Values = BTreeMap<u16, Zeroizing<[u8; 32]>>;

/// Participant `index` draws its polynomial.
pub fn commit(
    plan: &Plan<'_>,
    index: u16,
    rng: &mut dyn Rng,
) -> Result<Step<Commitment>, CeremonyError> {
    let (secret, package) =
        frost::part1(id(index)?, plan.members, plan.threshold, Adapted(&mut *rng))?;
    let points = package.commitment().serialize()?.iter().map(|p| encoding(p)).collect();
    let proof = package.proof_of_knowledge().serialize()?;
    let (r, z) = proof.split_at(32);
    let out = Commitment { points, proof: (encoding(r), encoding(z)) };
    Ok(Step { secret: Zeroizing::new(secret.serialize()?), out })
}

/// What participants published, as FROST takes it; without `own`, if that is to be left out.
fn packages(
    plan: &Plan<'_>,
    own: u16,
    all: &BTreeMap<u16, Commitment>,
) -> Result<BTreeMap<Identifier, round1::Package>, CeremonyError> {
    if !all.keys().copied().eq(1..=plan.members) {
        return Err(CeremonyError::Incomplete);
    }
    let mut out = BTreeMap::new();
    for (&index, commitment) in all {
        if commitment.points.len() != usize::from(plan.threshold) {
            let why = "committed to a polynomial of another degree than the threshold asks for";
            return Err(CeremonyError::Culprit { index, why });
        }
        let why = "published a commitment or a proof that is not well formed";
        let malformed = |_| CeremonyError::Culprit { index, why };
        let points = VerifiableSecretSharingCommitment::deserialize(&commitment.points)
            .map_err(malformed)?;
        let proof = [commitment.proof.0, commitment.proof.1].concat();
        let proof = Signature::deserialize(&proof).map_err(malformed)?;
        if index != own {
            out.insert(id(index)?, round1::Package::new(points, proof));
        }
    }
    Ok(out)
}

/// Names the participant an error is about, where FROST says so.
fn blame(plan: &Plan<'_>, e: frost_ristretto255::Error, why: &'static str) -> CeremonyError {
    let named = e.culprits().into_iter().next();
    let index = (1..=plan.members).find(|i| id(*i).ok() == named && named.is_some());
    index.map_or(CeremonyError::Protocol(e), |index| CeremonyError::Culprit { index, why })
}

/// Checks everyone's proof, and gives each other participant its value of the polynomial.
pub fn deal(
    plan: &Plan<'_>,
    index: u16,
    secret: &[u8],
    all: &BTreeMap<u16, Commitment>,
) -> Result<Step<Values>, CeremonyError> {
    let packages = packages(plan, index, all)?;
    let secret = round1::SecretPackage::deserialize(secret)?;
    let (kept, shares) = frost::part2(secret, &packages)
        .map_err(|e| blame(plan, e, "does not prove to know what it committed to"))?;
    let mut out = BTreeMap::new();
    for to in (1..=plan.members).filter(|to| *to != index) {
        let share = shares.get(&id(to)?).ok_or(CeremonyError::Incomplete)?;
        let bytes = Zeroizing::new(share.signing_share().serialize());
        out.insert(to, Zeroizing::new(encoding(&bytes)));
    }
    Ok(Step { secret: Zeroizing::new(kept.serialize()?), out })
}

/// Checks the values received against the commitments, and adds them up.
pub fn finish(
    plan: &Plan<'_>,
    index: u16,
    secret: &[u8],
    all: &BTreeMap<u16, Commitment>,
    received: &Values,
) -> Result<(Group, SecretShare), CeremonyError> {
    let packages = packages(plan, index, all)?;
    let kept = round2::SecretPackage::deserialize(secret)?;
    let why = "gave a share that is not the one it committed to";
    let mut shares = BTreeMap::new();
    for (&from, value) in received {
        let share = SigningShare::deserialize(value.as_slice())
            .map_err(|_| CeremonyError::Culprit { index: from, why })?;
        shares.insert(id(from)?, round2::Package::new(share));
    }
    let (package, public) =
        frost::part3(&kept, &packages, &shares).map_err(|e| blame(plan, e, why))?;
    let scalar = Zeroizing::new(package.signing_share().serialize());
    let share = SecretShare::from_bytes(index, &encoding(&scalar))?;
    let group = group(plan, all)?;
    // FROST's view of the key and ours are two computations of the same thing.
    let same_key = public.verifying_key().serialize()? == group.key();
    if !same_key || !group.holds(&share) {
        return Err(CeremonyError::Disagreement { index });
    }
    Ok((group, share))
}

/// The group that results, from what was published alone: anyone can compute it.
pub fn group(plan: &Plan<'_>, all: &BTreeMap<u16, Commitment>) -> Result<Group, CeremonyError> {
    packages(plan, 0, all)?;
    let committed = all
        .iter()
        .map(|(index, c)| Committed::decode(*index, &c.points))
        .collect::<Result<Vec<_>, _>>()?;
    let at = |x: u16| committed.iter().map(|c| c.at(x)).sum::<RistrettoPoint>();
    let encode = |x: u16| at(x).compress().to_bytes();
    let members = (1..=plan.members).map(|i| (i, encode(i))).collect();
    Ok(Group::new(plan.class, plan.threshold, encode(0), members)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Seeded;

    const PLAN: Plan<'static> = Plan { class: "keys", threshold: 2, members: 3 };

    struct Run {
        secrets: BTreeMap<u16, Zeroizing<Vec<u8>>>,
        all: BTreeMap<u16, Commitment>,
    }

    fn committed() -> Run {
        let mut rng = Seeded::new("dkg");
        let (mut secrets, mut all) = (BTreeMap::new(), BTreeMap::new());
        for index in 1..=3 {
            let step = commit(&PLAN, index, &mut rng).expect("commits");
            secrets.insert(index, step.secret);
            all.insert(index, step.out);
        }
        Run { secrets, all }
    }

    fn dealt(run: &mut Run) -> BTreeMap<u16, Values> {
        let mut inboxes: BTreeMap<u16, Values> = BTreeMap::new();
        for index in 1..=3 {
            let step = deal(&PLAN, index, &run.secrets[&index], &run.all).expect("deals");
            run.secrets.insert(index, step.secret);
            for (to, value) in step.out {
                inboxes.entry(to).or_default().insert(index, value);
            }
        }
        inboxes
    }

    fn culprit<T>(result: Result<T, CeremonyError>) -> u16 {
        match result.err().expect("refused") {
            CeremonyError::Culprit { index, .. } => index,
            e => panic!("{e}"),
        }
    }

    #[test]
    fn all_participants_end_with_shares_of_one_group() {
        let mut run = committed();
        let inboxes = dealt(&mut run);
        let expected = group(&PLAN, &run.all).expect("a group");
        for index in 1..=3 {
            let (group, share) =
                finish(&PLAN, index, &run.secrets[&index], &run.all, &inboxes[&index])
                    .expect("finishes");
            assert_eq!(group, expected);
            assert!(group.holds(&share));
        }
    }

    #[test]
    fn a_proof_for_another_commitment_or_index_names_its_author() {
        let run = committed();
        let mut swapped = run.all.clone();
        let (two, three) = (run.all[&2].clone(), run.all[&3].clone());
        swapped.insert(3, Commitment { proof: two.proof, ..three.clone() });
        assert_eq!(culprit(deal(&PLAN, 1, &run.secrets[&1], &swapped)), 3);
        // What another has published, said again as one's own.
        swapped.insert(3, two.clone());
        assert_eq!(culprit(deal(&PLAN, 1, &run.secrets[&1], &swapped)), 3);
        let points = vec![two.points[0]];
        swapped.insert(3, Commitment { points, ..three.clone() });
        assert_eq!(culprit(deal(&PLAN, 1, &run.secrets[&1], &swapped)), 3);
        swapped.insert(3, Commitment { points: vec![[0; 32]; 2], ..three });
        assert_eq!(culprit(deal(&PLAN, 1, &run.secrets[&1], &swapped)), 3);
        swapped.remove(&3);
        let missing = deal(&PLAN, 1, &run.secrets[&1], &swapped);
        assert!(matches!(missing, Err(CeremonyError::Incomplete)));
    }

    #[test]
    fn a_wrong_share_names_its_dealer() {
        let mut run = committed();
        let inboxes = dealt(&mut run);
        let mut received = inboxes[&1].clone();
        received.insert(3, inboxes[&2][&3].clone());
        assert_eq!(culprit(finish(&PLAN, 1, &run.secrets[&1], &run.all, &received)), 3);
        received.insert(3, Zeroizing::new([0xff; 32]));
        assert_eq!(culprit(finish(&PLAN, 1, &run.secrets[&1], &run.all, &received)), 3);
        received.remove(&3);
        assert!(finish(&PLAN, 1, &run.secrets[&1], &run.all, &received).is_err());
    }
}
