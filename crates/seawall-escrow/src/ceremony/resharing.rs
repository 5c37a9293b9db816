//! New shares of an old secret: refreshing them, and sharing it anew among others.
//!
//! In a refresh every custodian deals a polynomial whose constant term is zero, and everyone adds
//! what it received to its share (Herzberg and others 1995; FROST's refresh). In a re-sharing as
//! many custodians as the threshold says deal polynomials whose constant term is their share
//! times its Lagrange coefficient, and the sum of what a new custodian receives is its share
//! (Desmedt and Jajodia 1997). Either way the sum of the dealt constants is what it was, so the
//! group's key stays, old capsules open, and old and new shares lie on unrelated polynomials:
//! fewer than a quorum of each say nothing together.
//!
//! A dealer's constant term is checked against what its share was, in the exponent, so no dealer
//! can move the key. Nobody sees more than the values dealt to it; nothing adds shares of one
//! sharing up.

use std::collections::BTreeMap;

use curve25519_dalek::ristretto::RistrettoPoint;
use curve25519_dalek::scalar::Scalar;
use seawall_base::Rng;
use zeroize::Zeroizing;

use super::CeremonyError;
use super::polynomial::{Committed, Secret, lagrange};
use crate::group::{Group, GroupError};
use crate::share::SecretShare;

/// What everyone knows of a refresh or re-sharing before it starts.
#[derive(Debug, Clone, Copy)]
pub struct Resharing<'a> {
    /// The group as it is.
    pub before: &'a Group,
    /// Who deals: indices of the group as it is, ascending.
    pub dealers: &'a [u16],
    /// How many custodians it takes afterwards.
    pub threshold: u16,
    /// Who holds shares afterwards, by index.
    pub members: &'a [u16],
    /// Whether the same custodians' shares are made new.
    pub refresh: bool,
}

/// What one dealer publishes, and what it gives to each.
pub struct Dealing {
    /// Commitments, lowest term first; a refresh leaves out the constant one, which is zero.
    pub commitments: Vec<[u8; 32]>,
    /// The value for each member of the group afterwards.
    pub values: BTreeMap<u16, Zeroizing<[u8; 32]>>,
}

impl Resharing<'_> {
    /// Deals with a share of the group as it is.
    pub fn deal(&self, share: &SecretShare, rng: &mut dyn Rng) -> Result<Dealing, CeremonyError> {
        self.check()?;
        let index = share.index();
        if !self.before.holds(share) || !self.dealers.contains(&index) {
            return Err(CeremonyError::NotADealer { index });
        }
        let constant = Zeroizing::new(if self.refresh {
            Scalar::ZERO
        } else {
            share.scalar() * lagrange(self.dealers, index, 0)
        });
        let secret = Secret::random(&constant, self.threshold, rng);
        let value = |to: u16| Zeroizing::new(secret.at(to).to_bytes());
        Ok(Dealing {
            commitments: secret.commitments(usize::from(self.refresh)),
            values: self.members.iter().map(|to| (*to, value(*to))).collect(),
        })
    }

    /// The group that results, from what was published alone: anyone can compute it.
    pub fn group(&self, published: &BTreeMap<u16, Vec<[u8; 32]>>) -> Result<Group, CeremonyError> {
        let committed = self.committed(published)?;
        let points = self.members.iter().map(|x| {
            let dealt: RistrettoPoint = committed.values().map(|c| c.at(*x)).sum();
            let kept = self.refresh.then(|| self.before.member(*x)).flatten();
            let point = kept.map_or(dealt, |member| dealt + member.share().point());
            (*x, point.compress().to_bytes())
        });
        let before = self.before;
        // The key is the old one: `Group::new` refuses points that do not lead to it.
        let group = Group::new(before.class(), self.threshold, before.key(), points.collect())?;
        Ok(group)
    }

    /// Member `index` adds up what it received; in a refresh, to its share.
    pub fn finish(
        &self,
        index: u16,
        old: Option<&SecretShare>,
        published: &BTreeMap<u16, Vec<[u8; 32]>>,
        received: &BTreeMap<u16, Zeroizing<[u8; 32]>>,
    ) -> Result<(Group, SecretShare), CeremonyError> {
        let committed = self.committed(published)?;
        if !received.keys().eq(self.dealers) {
            return Err(CeremonyError::Incomplete);
        }
        let mut sum = Zeroizing::new(Scalar::ZERO);
        for (dealer, value) in received {
            *sum += *committed[dealer].check(*dealer, index, value)?;
        }
        if self.refresh {
            let old = old.filter(|s| s.index() == index && self.before.holds(s));
            *sum += old.ok_or(CeremonyError::NotADealer { index })?.scalar();
        }
        let group = self.group(published)?;
        let share = SecretShare::from_bytes(index, &Zeroizing::new(sum.to_bytes()))?;
        if !group.holds(&share) {
            return Err(CeremonyError::Disagreement { index });
        }
        Ok((group, share))
    }

    /// Everyone's commitments, of the right degree and with the constant term they must have.
    fn committed(
        &self,
        published: &BTreeMap<u16, Vec<[u8; 32]>>,
    ) -> Result<BTreeMap<u16, Committed>, CeremonyError> {
        self.check()?;
        if !published.keys().eq(self.dealers) {
            return Err(CeremonyError::Incomplete);
        }
        let mut out = BTreeMap::new();
        for (&index, points) in published {
            let member = self.before.member(index).ok_or(CeremonyError::NotADealer { index })?;
            let (committed, constant) = if self.refresh {
                (Committed::decode_zero(index, points)?, RistrettoPoint::default())
            } else {
                let weight = lagrange(self.dealers, index, 0);
                (Committed::decode(index, points)?, member.share().point() * weight)
            };
            if committed.terms() != usize::from(self.threshold) {
                let why = "committed to a polynomial of another degree than the threshold asks for";
                return Err(CeremonyError::Culprit { index, why });
            }
            if committed.constant() != Some(&constant) {
                let why = "did not deal from the share it has";
                return Err(CeremonyError::Culprit { index, why });
            }
            out.insert(index, committed);
        }
        Ok(out)
    }

    fn check(&self) -> Result<(), CeremonyError> {
        let ascending = |of: &[u16]| of.windows(2).all(|w| w[0] < w[1]);
        let members = self.members.len();
        if self.threshold < 2 || usize::from(self.threshold) > members {
            return Err(GroupError::Threshold { threshold: self.threshold, members }.into());
        }
        let same = self.before.members().iter().map(crate::Member::index);
        let dealers = if self.refresh {
            self.threshold == self.before.threshold()
                && same.clone().eq(self.members.iter().copied())
                && same.eq(self.dealers.iter().copied())
        } else {
            self.dealers.len() == usize::from(self.before.threshold())
        };
        if !dealers || !ascending(self.dealers) || !ascending(self.members) {
            return Err(CeremonyError::Incomplete);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::{Seeded, subsets, three_of_five};

    type Run = (Group, Vec<SecretShare>);

    fn run(it: &Resharing<'_>, shares: &[SecretShare], seed: &str) -> Run {
        let mut rng = Seeded::new(seed);
        let (mut published, mut inboxes) = (BTreeMap::new(), BTreeMap::new());
        for dealer in it.dealers {
            let share = shares.iter().find(|s| s.index() == *dealer).expect("a dealer's share");
            let dealing = it.deal(share, &mut rng).expect("deals");
            published.insert(*dealer, dealing.commitments);
            for (to, value) in dealing.values {
                inboxes.entry(to).or_insert_with(BTreeMap::new).insert(*dealer, value);
            }
        }
        let mut out = Vec::new();
        for index in it.members {
            let old = shares.iter().find(|s| s.index() == *index).filter(|_| it.refresh);
            let (group, share) =
                it.finish(*index, old, &published, &inboxes[index]).expect("finishes");
            assert_eq!(group, it.group(&published).expect("anyone can compute it"));
            out.push(share);
        }
        (it.group(&published).expect("a group"), out)
    }

    /// Whether shares, taken as values of one polynomial, lead to the group's key.
    fn lead_to(group: &Group, shares: &[&SecretShare]) -> bool {
        let indices: Vec<_> = shares.iter().map(|s| s.index()).collect();
        let point = |s: &&SecretShare| {
            crate::curve::Element::decode(s.verification_share()).expect("a point").point()
                * lagrange(&indices, s.index(), 0)
        };
        shares.iter().map(point).sum::<RistrettoPoint>().compress().to_bytes() == group.key()
    }

    /// No mixture of old and new shares leads to the key unless one sort alone would.
    fn nothing_mixes(group: &Group, old: (&[SecretShare], u16), new: (&[SecretShare], u16)) {
        let mut mixtures = 0;
        for a in subsets(old.0.len()).filter(|a| a.len() < usize::from(old.1)) {
            for b in subsets(new.0.len()).filter(|b| b.len() < usize::from(new.1)) {
                let mut all: Vec<_> = a.iter().map(|i| &old.0[*i]).collect();
                let indices: Vec<_> = all.iter().map(|s| s.index()).collect();
                all.extend(b.iter().map(|i| &new.0[*i]).filter(|s| !indices.contains(&s.index())));
                if !all.is_empty() {
                    assert!(!lead_to(group, &all), "{a:?} and {b:?}");
                    mixtures += 1;
                }
            }
        }
        assert!(mixtures > 10);
    }

    #[test]
    fn a_refresh_keeps_the_key_and_makes_every_share_new() {
        let (before, shares) = three_of_five("refresh");
        let all = [1, 2, 3, 4, 5];
        let it = Resharing {
            before: &before,
            dealers: &all,
            threshold: 3,
            members: &all,
            refresh: true,
        };
        let (group, fresh) = run(&it, &shares, "refreshing");
        assert_eq!((group.id(), group.key()), (before.id(), before.key()));
        for (old, new) in shares.iter().zip(&fresh) {
            assert_ne!(*old.to_bytes(), *new.to_bytes());
        }
        for quorum in subsets(5).filter(|s| s.len() == 3) {
            assert!(lead_to(&group, &quorum.iter().map(|i| &fresh[*i]).collect::<Vec<_>>()));
        }
        nothing_mixes(&group, (&shares, 3), (&fresh, 3));
    }

    #[test]
    fn the_group_goes_to_others_and_another_threshold() {
        let (before, shares) = three_of_five("reshare");
        for (dealers, threshold, members) in [
            (&[1, 2, 3][..], 2, &[1, 2, 3][..]),
            (&[2, 3, 5], 4, &[1, 2, 3, 4, 5, 6]),
            (&[1, 4, 5], 3, &[1, 2, 3, 4]),
        ] {
            let it = Resharing { before: &before, dealers, threshold, members, refresh: false };
            let (group, fresh) = run(&it, &shares, "re-sharing");
            assert_eq!((group.id(), group.key()), (before.id(), before.key()));
            for quorum in subsets(members.len()).filter(|s| s.len() == usize::from(threshold)) {
                assert!(lead_to(&group, &quorum.iter().map(|i| &fresh[*i]).collect::<Vec<_>>()));
            }
            nothing_mixes(&group, (&shares, 3), (&fresh, threshold));
        }
    }

    #[test]
    fn dealers_that_lie_are_named() {
        let (before, shares) = three_of_five("liars");
        let (stranger, strangers) = three_of_five("strangers");
        let it = Resharing {
            before: &before,
            dealers: &[1, 2, 3],
            threshold: 2,
            members: &[1, 2, 3],
            refresh: false,
        };
        let mut rng = Seeded::new("lies");
        let honest: BTreeMap<u16, Dealing> = (1..=3)
            .map(|i| (i, it.deal(&shares[i as usize - 1], &mut rng).expect("deals")))
            .collect();
        let published: BTreeMap<_, _> =
            honest.iter().map(|(i, d)| (*i, d.commitments.clone())).collect();
        let received: BTreeMap<_, _> =
            honest.iter().map(|(i, d)| (*i, d.values[&1].clone())).collect();
        assert!(it.finish(1, None, &published, &received).is_ok());
        let named = |e: CeremonyError| match e {
            CeremonyError::Culprit { index, .. } => index,
            e => panic!("{e}"),
        };
        // Another share than its own: the key would move.
        let other = Resharing { before: &stranger, ..it };
        let forged = other.deal(&strangers[1], &mut rng).expect("deals");
        let mut moved = published.clone();
        moved.insert(2, forged.commitments);
        assert_eq!(named(it.group(&moved).expect_err("refused")), 2);
        // A value of another polynomial.
        let mut wrong = received.clone();
        wrong.insert(3, honest[&3].values[&2].clone());
        assert_eq!(named(it.finish(1, None, &published, &wrong).expect_err("refused")), 3);
        // A polynomial of another degree: fewer custodians, or more, would do.
        let long = Resharing { threshold: 3, ..it };
        moved.insert(2, long.deal(&shares[1], &mut rng).expect("deals").commitments);
        assert_eq!(named(it.group(&moved).expect_err("refused")), 2);
        moved.remove(&2);
        assert!(matches!(it.group(&moved), Err(CeremonyError::Incomplete)));
        let refused = it.deal(&strangers[0], &mut rng).err().expect("refused");
        assert!(matches!(refused, CeremonyError::NotADealer { index: 1 }));
        let single = Resharing { threshold: 1, ..it };
        assert!(single.deal(&shares[0], &mut rng).is_err(), "every share would be the secret");
    }

    #[test]
    fn a_refresh_is_the_one_of_frost() {
        // FROST's own participants refresh; their packages pass our checks and lead to its shares.
        use frost_ristretto255::Identifier;
        use frost_ristretto255::keys::refresh;
        let (before, shares) =
            crate::ceremony::local(3, 2, "keys", &mut Seeded::new("frost")).expect("a group");
        let mut rng = Seeded::new("frost refresh");
        let id = |i: u16| Identifier::try_from(i).expect("an identifier");
        let (mut secrets, mut packages) = (BTreeMap::new(), BTreeMap::new());
        for i in 1..=3 {
            let (secret, package) =
                refresh::refresh_dkg_part1(id(i), 3, 2, crate::randomness::Adapted(&mut rng))
                    .expect("part 1");
            secrets.insert(i, secret);
            packages.insert(i, package);
        }
        let encoded = |bytes: Vec<u8>| -> [u8; 32] { bytes.try_into().expect("32 bytes") };
        let published: BTreeMap<u16, Vec<[u8; 32]>> = packages
            .iter()
            .map(|(i, p)| {
                let points = p.commitment().serialize().expect("points");
                (*i, points.into_iter().map(encoded).collect())
            })
            .collect();
        let mut inboxes: BTreeMap<u16, BTreeMap<u16, Zeroizing<[u8; 32]>>> = BTreeMap::new();
        for (i, secret) in &secrets {
            let others = packages.iter().filter(|(from, _)| *from != i);
            let others = others.map(|(from, p)| (id(*from), p.clone())).collect();
            let (own, out) = refresh::refresh_dkg_part2(secret.clone(), &others).expect("part 2");
            let own = own.secret_share().to_bytes();
            inboxes.entry(*i).or_default().insert(*i, Zeroizing::new(own));
            for to in (1..=3).filter(|to| to != i) {
                let value = encoded(out[&id(to)].signing_share().serialize());
                inboxes.entry(to).or_default().insert(*i, Zeroizing::new(value));
            }
        }
        let all = [1, 2, 3];
        let it = Resharing {
            before: &before,
            dealers: &all,
            threshold: 2,
            members: &all,
            refresh: true,
        };
        for i in 1..=3_u16 {
            let old = &shares[usize::from(i) - 1];
            let (group, share) =
                it.finish(i, Some(old), &published, &inboxes[&i]).expect("finishes");
            assert!(group.holds(&share));
            assert_eq!(group.key(), before.key());
        }
    }
}
