//! A custodian gets its lost share again, from as many others as the threshold says.
//!
//! The enrolment repair of Stinson and Wei (2018, <https://eprint.iacr.org/2017/1155>) as the FROST
//! crates have it: each helper cuts its share, times its Lagrange coefficient at the lost index,
//! into random pieces, one for each helper; each helper adds up the pieces it received; the one
//! repaired adds up those sums. Nobody but the latter sees the share, and it sees no helper's.
//!
//! The scheme lets a lying helper go unnamed. So each helper also publishes its pieces in the
//! exponent, where everyone can check that they add up to what its share is, and later whether a
//! piece or a sum is the published one.

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use frost_ristretto255::keys::repairable::{Delta, repair_share_part1, repair_share_part2};
use frost_ristretto255::keys::{KeyPackage, SigningShare, VerifyingShare};
use frost_ristretto255::{Identifier, VerifyingKey};
use seawall_base::Rng;
use zeroize::Zeroizing;

use super::polynomial::{Committed, lagrange};
use super::{CeremonyError, encoding};
use crate::curve::decode_scalar;
use crate::group::Group;
use crate::randomness::Adapted;
use crate::share::SecretShare;

/// What everyone knows of a repair before it starts.
#[derive(Debug, Clone, Copy)]
pub struct Repair<'a> {
    /// The group.
    pub group: &'a Group,
    /// Who helps, by ascending index: as many as the threshold says.
    pub helpers: &'a [u16],
    /// Who lost its share.
    pub repaired: u16,
}

/// What one helper publishes, and what it gives to each helper.
pub struct Pieces {
    /// The pieces in the exponent, in the order of the helpers.
    pub commitments: Vec<[u8; 32]>,
    /// The piece for each helper.
    pub values: BTreeMap<u16, Zeroizing<[u8; 32]>>,
}

type Published = BTreeMap<u16, Vec<[u8; 32]>>;

impl Repair<'_> {
    /// Cuts a helper's share into pieces.
    pub fn deal(&self, share: &SecretShare, rng: &mut dyn Rng) -> Result<Pieces, CeremonyError> {
        self.check()?;
        let index = share.index();
        if !self.helpers.contains(&index) || !self.group.holds(share) {
            return Err(CeremonyError::NotADealer { index });
        }
        let helpers = self.helpers.iter().map(|i| Identifier::try_from(*i));
        let helpers = helpers.collect::<Result<Vec<_>, _>>()?;
        let package = KeyPackage::new(
            Identifier::try_from(index)?,
            SigningShare::deserialize(share.to_bytes().as_slice())?,
            VerifyingShare::deserialize(&share.verification_share())?,
            VerifyingKey::deserialize(&self.group.key())?,
            self.group.threshold(),
        );
        let repaired = Identifier::try_from(self.repaired)?;
        let deltas = repair_share_part1::<frost_ristretto255::Ristretto255Sha512, _>(
            &helpers,
            &package,
            &mut Adapted(rng),
            repaired,
        )?;
        let mut values = BTreeMap::new();
        for (to, id) in self.helpers.iter().zip(&helpers) {
            let delta = deltas.get(id).ok_or(CeremonyError::Incomplete)?;
            let bytes = Zeroizing::new(delta.serialize());
            values.insert(*to, Zeroizing::new(encoding(&bytes)));
        }
        let commitments = values.values().map(|v| in_exponent(v).ok_or(CeremonyError::Incomplete));
        let commitments = commitments.collect::<Result<_, _>>()?;
        Ok(Pieces { commitments, values })
    }

    /// Helper `index` adds up the pieces it received.
    pub fn sum(
        &self,
        index: u16,
        published: &Published,
        received: &BTreeMap<u16, Zeroizing<[u8; 32]>>,
    ) -> Result<Zeroizing<[u8; 32]>, CeremonyError> {
        self.check_published(published)?;
        let at = self.helpers.iter().position(|i| *i == index);
        let at = at.ok_or(CeremonyError::NotADealer { index })?;
        if !received.keys().eq(self.helpers) {
            return Err(CeremonyError::Incomplete);
        }
        for (&from, piece) in received {
            if in_exponent(piece) != Some(published[&from][at]) {
                let why = "gave a piece that is not the one it published";
                return Err(CeremonyError::Culprit { index: from, why });
            }
        }
        add(received)
    }

    /// The one repaired adds up the sums.
    pub fn finish(
        &self,
        published: &Published,
        received: &BTreeMap<u16, Zeroizing<[u8; 32]>>,
    ) -> Result<SecretShare, CeremonyError> {
        let committed = self.pieces(published)?;
        if !received.keys().eq(self.helpers) {
            return Err(CeremonyError::Incomplete);
        }
        for (at, (&from, sum)) in received.iter().enumerate() {
            let expected: RistrettoPoint = committed.iter().map(|c| c[at]).sum();
            if in_exponent(sum) != Some(expected.compress().to_bytes()) {
                let why = "gave a sum that is not that of the published pieces";
                return Err(CeremonyError::Culprit { index: from, why });
            }
        }
        let share = SecretShare::from_bytes(self.repaired, &*add(received)?)?;
        if !self.group.holds(&share) {
            return Err(CeremonyError::Disagreement { index: self.repaired });
        }
        Ok(share)
    }

    /// Everyone's pieces must add up to its share times its coefficient.
    pub fn check_published(&self, published: &Published) -> Result<(), CeremonyError> {
        self.pieces(published).map(|_| ())
    }

    fn pieces(&self, published: &Published) -> Result<Vec<Vec<RistrettoPoint>>, CeremonyError> {
        self.check()?;
        if !published.keys().eq(self.helpers) {
            return Err(CeremonyError::Incomplete);
        }
        let mut out = Vec::new();
        for (&index, points) in published {
            let member = self.group.member(index).ok_or(CeremonyError::NotADealer { index })?;
            let pieces = Committed::decode(index, points)?.into_points();
            let expected = member.share().point() * lagrange(self.helpers, index, self.repaired);
            let whole = pieces.len() == self.helpers.len()
                && pieces.iter().sum::<RistrettoPoint>() == expected;
            if !whole {
                let why = "did not cut up the share it has";
                return Err(CeremonyError::Culprit { index, why });
            }
            out.push(pieces);
        }
        Ok(out)
    }

    fn check(&self) -> Result<(), CeremonyError> {
        let threshold = self.group.threshold();
        let fits = threshold >= 2
            && self.helpers.len() == usize::from(threshold)
            && self.helpers.windows(2).all(|w| w[0] < w[1])
            && !self.helpers.contains(&self.repaired)
            && self.group.member(self.repaired).is_some();
        if fits { Ok(()) } else { Err(CeremonyError::Incomplete) }
    }
}

/// A canonical scalar times the base point.
fn in_exponent(value: &[u8; 32]) -> Option<[u8; 32]> {
    let scalar = Zeroizing::new(decode_scalar(*value)?);
    Some(RistrettoPoint::mul_base(&scalar).compress().to_bytes())
}

/// FROST's `repair_share_part2`, which the third part repeats.
fn add(values: &BTreeMap<u16, Zeroizing<[u8; 32]>>) -> Result<Zeroizing<[u8; 32]>, CeremonyError> {
    let deltas = values.values().map(|v| Delta::deserialize(v.as_slice()));
    let deltas = deltas.collect::<Result<Vec<_>, _>>()?;
    let sum = Zeroizing::new(repair_share_part2(&deltas).serialize());
    Ok(Zeroizing::new(encoding(&sum)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Seeded, hex32, three_of_five};

    type Values = BTreeMap<u16, Zeroizing<[u8; 32]>>;

    fn dealt(it: &Repair<'_>, shares: &[SecretShare]) -> (Published, BTreeMap<u16, Values>) {
        let mut rng = Seeded::new("repair");
        let (mut published, mut inboxes) = (BTreeMap::new(), BTreeMap::new());
        for helper in it.helpers {
            let pieces =
                it.deal(&shares[usize::from(*helper) - 1], &mut rng).expect("cuts its share");
            published.insert(*helper, pieces.commitments);
            for (to, value) in pieces.values {
                inboxes.entry(to).or_insert_with(BTreeMap::new).insert(*helper, value);
            }
        }
        (published, inboxes)
    }

    fn culprit<T>(result: Result<T, CeremonyError>) -> u16 {
        match result.err().expect("refused") {
            CeremonyError::Culprit { index, .. } => index,
            e => panic!("{e}"),
        }
    }

    #[test]
    fn the_lost_share_comes_back_and_liars_are_named() {
        let (group, shares) = three_of_five("repaired");
        let it = Repair { group: &group, helpers: &[1, 3, 5], repaired: 2 };
        let (published, inboxes) = dealt(&it, &shares);
        let sums: Values = it
            .helpers
            .iter()
            .map(|i| (*i, it.sum(*i, &published, &inboxes[i]).expect("adds up")))
            .collect();
        let share = it.finish(&published, &sums).expect("repaired");
        assert_eq!(*share.to_bytes(), *shares[1].to_bytes(), "the old share, to the bit");

        let mut wrong = inboxes[&1].clone();
        wrong.insert(5, inboxes[&3][&5].clone());
        assert_eq!(culprit(it.sum(1, &published, &wrong)), 5);
        let mut wrong = sums.clone();
        wrong.insert(3, sums[&1].clone());
        assert_eq!(culprit(it.finish(&published, &wrong)), 3);
        wrong.insert(3, Zeroizing::new([0xff; 32]));
        assert_eq!(culprit(it.finish(&published, &wrong)), 3);
        let mut wrong = published.clone();
        wrong.insert(3, published[&1].clone());
        assert_eq!(culprit(it.finish(&wrong, &sums)), 3);
        wrong.insert(3, published[&3][1..].to_vec());
        assert_eq!(culprit(it.finish(&wrong, &sums)), 3);
    }

    #[test]
    fn only_a_quorum_of_the_group_helps() {
        let (group, shares) = three_of_five("helpers");
        let mut rng = Seeded::new("helpers");
        for (helpers, repaired) in
            [(&[1, 3][..], 2), (&[1, 2, 3], 2), (&[3, 1, 5], 2), (&[1, 3, 5], 9), (&[1, 1, 5], 2)]
        {
            let it = Repair { group: &group, helpers, repaired };
            assert!(it.deal(&shares[0], &mut rng).is_err(), "{helpers:?} for {repaired}");
        }
        let it = Repair { group: &group, helpers: &[1, 3, 5], repaired: 2 };
        assert!(it.deal(&shares[3], &mut rng).is_err(), "4 was not asked");
        let (_, strangers) = three_of_five("strangers");
        assert!(it.deal(&strangers[0], &mut rng).is_err(), "another group's share");
    }

    #[test]
    fn sums_match_the_repair_vectors_of_the_frost_crates() {
        // frost-ristretto255 3.0.0, tests/helpers/repair-share.json.
        for (terms, sum) in [
            (
                &[
                    "7e835f4c5453aea47a09e3925bfa23876de6fc9f92e6a7f8f1b45fe273fb850e",
                    "d79cbd35ae36865692f2f31f9ab6fa9109757accb18f10b416a6c99828b82707",
                    "73398badf5e53422d721e5acf901be840dbacb7c0c644cb171bd169df360550d",
                ][..],
                "eeb1bc75c3a9446d37e4cc1932bf1e74841543e950da045e7a18401890140303",
            ),
            (
                &[
                    "19280c3694fc2881346c73fa9024cf3b710d1bc4651b01ac47e982a0c13ef004",
                    "bb8e111c18df8ad1af6710bb5845ff510a96cc37ceb99079cabe635ba0d3dd08",
                    "e37d76cbcbc44c14ef38043bff3b2154467095f0a7c6922444a1f09e4d563f09",
                    "898ea31783f13def4fb0cd9d97d24a18adb48050ed8c7b2af24d246f45b28e0c",
                ],
                "661b4c7bc6cb19a676836648c3847cd06ec8fd3cc928a0744897fb09f51a9c03",
            ),
        ] {
            let values: Values =
                (1..).zip(terms).map(|(i, t)| (i, Zeroizing::new(hex32(t)))).collect();
            assert_eq!(*add(&values).expect("adds up"), hex32(sum));
        }
    }
}
