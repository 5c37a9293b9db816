//! A secret dealt to custodians' ML-KEM-768 keys: the post-quantum half of a capsule.
//!
//! Shamir's scheme over the scalars of ristretto255, and not over GF(256): custodians' indices go
//! to 65535, the arithmetic is constant-time without tables, and the interpolation is the house's
//! own. Nothing here rests on discrete logarithms; the group's order is only a prime of 252 bits.
//!
//! **Everything is derived from the secret**: the polynomial's other coefficients and the
//! randomness of every encapsulation. Whoever has recovered the secret makes the dealing again
//! and compares byte for byte, so one 32-byte secret is the whole evidence against a dealer. Who
//! does not have it sees what fresh randomness would have given (hashes of 252 unknown bits). The
//! same idea as the Fujisaki-Okamoto transform's; rejected was a verifiable secret sharing, for
//! those known rest on discrete logarithms or cost proofs larger than the capsule.
//!
//! Commitments are plain hashes. A share is a uniform scalar even to `k - 1` other custodians, so
//! the hash hides it; each covers the context and index, so none fits another place.
//!
//! A custodian publishes what was encapsulated to it only if a parcel opens to something else than
//! its commitment. Whoever copies another's parcel and turns its commitment must not get that far:
//! so a parcel authenticates its commitment ([`Context::of_commitments`]). That rests on nothing
//! but the cipher, and holds against one who computes discrete logarithms. The first kind
//! ([`Context::of_place`]) does not, and nothing is published about it.
//!
//! What the scheme does not do: a custodian sees whether its *own* share is good, nobody sees
//! before an opening whether all lie on one polynomial. It protects secrecy, not availability.

use curve25519_dalek::scalar::Scalar;
use seawall_base::wire::{Reader, WireError, Writer};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::aead;
use crate::curve::{decode_scalar, hash_to_scalar};
use crate::kem::{ENCAPSULATED_LEN, KemPublic, KemSecret};

/// Most custodians a secret is dealt to: so many parcels fit a log entry beside a manifest.
pub const MAX_RECIPIENTS: usize = 16;

const WRAPPED_LEN: usize = 32 + aead::TAG_LEN;
const PARCEL_LEN: usize = 2 + 32 + ENCAPSULATED_LEN + WRAPPED_LEN;
const HEAD_LEN: usize = 32 + 2 + 2;
/// Longest encoding of a dealing, in bytes.
pub(crate) const MAX_DEALING: usize = HEAD_LEN + MAX_RECIPIENTS * PARCEL_LEN;

const RECIPIENTS_CONTEXT: &str = "seawall 2026-11 pq recipients v1";
const SEED_CONTEXT: &str = "seawall 2026-11 pq dealing seed v1";
const COEFFICIENT_CONTEXT: &str = "seawall 2026-11 pq coefficient v1";
const ENCAPSULATION_CONTEXT: &str = "seawall 2026-11 pq encapsulation v1";
const WRAP_CONTEXT: &str = "seawall 2026-11 pq wrap key v1";
const COMMIT_CONTEXT: &str = "seawall 2026-11 pq share commitment v1";
const DIGEST_CONTEXT: &str = "seawall 2026-11 pq dealing v1";

/// Why a dealing, or one share of it, was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DealingError {
    /// Not the encoding of a dealing or share.
    #[error("post-quantum half is malformed: {0}")]
    Malformed(#[from] WireError),
    /// Recipients that no dealing can have.
    #[error(
        "a post-quantum dealing has 1 to {MAX_RECIPIENTS} custodians by ascending index from 1, \
         and a threshold up to their number"
    )]
    Recipients,
    /// A recorded key is no ML-KEM-768 key.
    #[error("the recorded post-quantum key of custodian {index} is none")]
    Key {
        /// The custodian's index.
        index: u16,
    },
    /// Nothing in the dealing is for this custodian.
    #[error("the post-quantum half has no share for custodian {index}")]
    NotAddressed {
        /// The custodian's index.
        index: u16,
    },
    /// The share for this custodian does not open with its key.
    #[error(
        "the post-quantum share of custodian {index} does not open with its key: the dealer made \
         it wrongly, or the key is not the recorded one"
    )]
    Sealed {
        /// The custodian's index.
        index: u16,
    },
    /// The share opens and is not the one committed to.
    #[error(
        "the post-quantum share of custodian {index} is not the committed one: its dealer made \
         it wrongly"
    )]
    Committed {
        /// The custodian's index.
        index: u16,
    },
}

/// Who gets a share: custodians' indices and keys, and how many of them it takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipients {
    threshold: u16,
    keys: Vec<(u16, KemPublic)>,
}

impl Recipients {
    /// Recipients by strictly ascending index from 1.
    pub fn new(threshold: u16, keys: Vec<(u16, KemPublic)>) -> Result<Self, DealingError> {
        check_shape(threshold, keys.iter().map(|(index, _)| *index))?;
        Ok(Self { threshold, keys })
    }

    /// How many of them recover the secret.
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// Indices and keys, ascending.
    pub fn keys(&self) -> &[(u16, KemPublic)] {
        &self.keys
    }

    /// What a dealing names its recipients by.
    pub fn digest(&self) -> [u8; 32] {
        let mut w = Writer::new();
        w.u16(self.threshold).u16(self.keys.len() as u16);
        for (index, key) in &self.keys {
            w.u16(*index).raw(key.as_bytes());
        }
        blake3::derive_key(RECIPIENTS_CONTEXT, w.as_slice())
    }
}

/// Few, each once, ascending from 1, and a threshold they can reach.
fn check_shape(threshold: u16, indices: impl Iterator<Item = u16>) -> Result<(), DealingError> {
    let (mut last, mut count) = (0, 0_usize);
    for index in indices {
        if index <= last {
            return Err(DealingError::Recipients);
        }
        (last, count) = (index, count + 1);
    }
    if count > MAX_RECIPIENTS || threshold == 0 || usize::from(threshold) > count {
        return Err(DealingError::Recipients);
    }
    Ok(())
}

/// What a dealing is bound to: its shares, commitments and parcels fit no other context.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Context {
    bytes: [u8; 32],
    covers_commitments: bool,
}

impl Context {
    /// Parcels authenticate this, the recipients and their index: hand-overs, and capsules of
    /// suite 2.
    pub(crate) const fn of_place(bytes: [u8; 32]) -> Self {
        Self { bytes, covers_commitments: false }
    }

    /// Parcels authenticate their commitment as well: capsules of suite 3.
    pub(crate) const fn of_commitments(bytes: [u8; 32]) -> Self {
        Self { bytes, covers_commitments: true }
    }

    /// The bytes, as they are hashed.
    pub(crate) const fn bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// What the sealed share in a parcel authenticates.
    fn associated_data(&self, recipients: &[u8; 32], index: u16, commitment: &[u8; 32]) -> Vec<u8> {
        let covered = if self.covers_commitments { commitment.as_slice() } else { &[] };
        [self.bytes.as_slice(), recipients, &index.to_le_bytes(), covered].concat()
    }
}

/// One custodian's share in a dealing: committed to, and sealed to the custodian's key.
#[derive(Clone, PartialEq, Eq)]
struct Parcel {
    index: u16,
    commitment: [u8; 32],
    encapsulated: Box<[u8; ENCAPSULATED_LEN]>,
    wrapped: [u8; WRAPPED_LEN],
}

/// A secret dealt to recipients: public bytes that prove nothing yet.
#[derive(Clone, PartialEq, Eq)]
pub struct Dealing {
    recipients: [u8; 32],
    threshold: u16,
    parcels: Vec<Parcel>,
}

impl Dealing {
    /// Deals `secret`. The same inputs give the same dealing.
    pub(crate) fn deal(secret: &Scalar, context: &Context, recipients: &Recipients) -> Self {
        Self::deal_saying(secret, context, recipients, |_, commitment| commitment)
    }

    /// Deals `secret`, with what `said` makes of each custodian's commitment.
    pub(crate) fn deal_saying(
        secret: &Scalar,
        context: &Context,
        recipients: &Recipients,
        said: impl Fn(u16, [u8; 32]) -> [u8; 32],
    ) -> Self {
        let digest = recipients.digest();
        let seed = seed(secret, context, &digest);
        let mut coefficients = Zeroizing::new(vec![*secret]);
        for power in 1..recipients.threshold {
            let input = indexed(&seed, power);
            coefficients.push(hash_to_scalar(COEFFICIENT_CONTEXT, input.as_slice()));
        }
        let parcel = |(index, key): &(u16, KemPublic)| {
            let x = Scalar::from(*index);
            let share = coefficients.iter().rev().fold(Scalar::ZERO, |sum, c| sum * x + c);
            let share = Zeroizing::new(share);
            let input = indexed(&seed, *index);
            let m = Zeroizing::new(blake3::derive_key(ENCAPSULATION_CONTEXT, input.as_slice()));
            let (encapsulated, shared) = key.encapsulate(&m);
            let plain = Zeroizing::new(share.to_bytes());
            let commitment = said(*index, commit(context, *index, &share));
            let data = context.associated_data(&digest, *index, &commitment);
            let sealed = aead::seal(&wrap_key(&shared), &data, plain.as_slice());
            Parcel {
                index: *index,
                commitment,
                encapsulated,
                wrapped: sealed.try_into().expect("sealing adds a tag and nothing else"),
            }
        };
        let parcels = recipients.keys.iter().map(parcel).collect();
        Self { recipients: digest, threshold: recipients.threshold, parcels }
    }

    /// Decodes one dealing and nothing after it.
    pub fn decode(bytes: &[u8]) -> Result<Self, DealingError> {
        let mut r = Reader::new(bytes);
        let recipients = r.array()?;
        let threshold = r.u16()?;
        let count = usize::from(r.u16()?);
        if count > MAX_RECIPIENTS {
            return Err(DealingError::Recipients);
        }
        let mut parcels = Vec::with_capacity(count);
        for _ in 0..count {
            parcels.push(Parcel {
                index: r.u16()?,
                commitment: r.array()?,
                encapsulated: Box::new(r.array()?),
                wrapped: r.array()?,
            });
        }
        r.finish()?;
        check_shape(threshold, parcels.iter().map(|parcel| parcel.index))?;
        Ok(Self { recipients, threshold, parcels })
    }

    /// The dealing's bytes; [`Dealing::decode`] accepts these and no others for it.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.raw(&self.recipients).u16(self.threshold).u16(self.parcels.len() as u16);
        for parcel in &self.parcels {
            w.u16(parcel.index)
                .raw(&parcel.commitment)
                .raw(parcel.encapsulated.as_slice())
                .raw(&parcel.wrapped);
        }
        w.into_vec()
    }

    /// What names this dealing in this context.
    pub(crate) fn digest(&self, context: &Context) -> [u8; 32] {
        let mut w = Writer::new();
        w.raw(context.bytes()).raw(&self.encode());
        blake3::derive_key(DIGEST_CONTEXT, w.as_slice())
    }

    /// How many shares recover the secret.
    pub const fn threshold(&self) -> u16 {
        self.threshold
    }

    /// Whether it is addressed to these custodians, with this threshold. Seen by anyone.
    pub fn is_for(&self, recipients: &Recipients) -> bool {
        self.recipients == recipients.digest()
            && self.threshold == recipients.threshold
            && self.indices().eq(recipients.keys.iter().map(|(index, _)| *index))
    }

    /// Indices of those it has a share for, ascending.
    pub fn indices(&self) -> impl Iterator<Item = u16> + '_ {
        self.parcels.iter().map(|parcel| parcel.index)
    }

    /// The commitment to a custodian's share.
    pub fn commitment(&self, index: u16) -> Option<&[u8; 32]> {
        self.parcel(index).map(|parcel| &parcel.commitment)
    }

    fn parcel(&self, index: u16) -> Option<&Parcel> {
        self.parcels.iter().find(|parcel| parcel.index == index)
    }

    /// Takes custodian `index`'s share out, and checks it against its commitment.
    pub(crate) fn open(
        &self,
        context: &Context,
        index: u16,
        key: &KemSecret,
    ) -> Result<PqShare, DealingError> {
        let parcel = self.parcel(index).ok_or(DealingError::NotAddressed { index })?;
        let shared = key.decapsulate(&parcel.encapsulated);
        let plain = self.unwrap(context, parcel, &shared).ok_or(DealingError::Sealed { index })?;
        let value = decode_scalar(*plain).ok_or(DealingError::Committed { index })?;
        let share = PqShare { dealing: self.digest(context), index, value: Zeroizing::new(value) };
        if self.commits_to(context, index, &share.value) {
            Ok(share)
        } else {
            Err(DealingError::Committed { index })
        }
    }

    /// What is sealed in a parcel under the secret that was encapsulated in it.
    fn unwrap(
        &self,
        context: &Context,
        parcel: &Parcel,
        shared: &[u8; 32],
    ) -> Option<Zeroizing<[u8; 32]>> {
        let data = context.associated_data(&self.recipients, parcel.index, &parcel.commitment);
        let plain = aead::open(&wrap_key(shared), &data, &parcel.wrapped)?;
        let mut bytes = Zeroizing::new([0; 32]);
        bytes.copy_from_slice(&plain);
        Some(bytes)
    }

    /// What was encapsulated to custodian `index`, if publishing it convicts the dealer. That of a
    /// good parcel is never given out: it opens the share. Nor is any whose parcel may be a good
    /// one of another dealing, with its commitment turned.
    pub(crate) fn evidence(
        &self,
        context: &Context,
        index: u16,
        key: &KemSecret,
    ) -> Option<[u8; 32]> {
        if !context.covers_commitments {
            return None;
        }
        let shared = key.decapsulate(&self.parcel(index)?.encapsulated);
        self.convicts(context, index, &shared).then_some(*shared)
    }

    /// Whether the dealer sealed something else for custodian `index` than it committed to, shown
    /// by what was encapsulated to that custodian.
    ///
    /// Anybody may check this. The parcel authenticates under the hash of the right secret only, so
    /// no other convicts an honest dealer: a forger would have to find one among 2^128 hashes.
    pub(crate) fn convicts(&self, context: &Context, index: u16, shared: &[u8; 32]) -> bool {
        let Some(parcel) = self.parcel(index) else { return false };
        let Some(plain) = self.unwrap(context, parcel, shared) else { return false };
        decode_scalar(*plain).is_none_or(|value| !self.commits_to(context, index, &value))
    }

    /// Whether `value` is the share that was committed to for custodian `index`.
    pub(crate) fn commits_to(&self, context: &Context, index: u16, value: &Scalar) -> bool {
        let commitment = commit(context, index, value);
        self.commitment(index).is_some_and(|recorded| commitment.ct_eq(recorded).into())
    }

    /// Custodians whose share, commitment or sealing is not what an honest dealing of `secret`
    /// has; all of them if the dealing as a whole is not.
    pub(crate) fn misdealt(
        &self,
        secret: &Scalar,
        context: &Context,
        recipients: &Recipients,
    ) -> Vec<u16> {
        let honest = Self::deal(secret, context, recipients);
        if !self.is_for(recipients) {
            return self.indices().collect();
        }
        let pairs = self.parcels.iter().zip(&honest.parcels);
        pairs.filter(|(found, good)| found != good).map(|(found, _)| found.index).collect()
    }
}

impl std::fmt::Debug for Dealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dealing")
            .field("recipients", &hex::encode(self.recipients))
            .field("threshold", &self.threshold)
            .field("indices", &self.indices().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// A custodian's share of one dealing. Wiped when dropped, never printed.
#[derive(Clone)]
pub struct PqShare {
    dealing: [u8; 32],
    index: u16,
    value: Zeroizing<Scalar>,
}

impl PqShare {
    /// The dealing it belongs to.
    pub const fn dealing(&self) -> &[u8; 32] {
        &self.dealing
    }

    /// The custodian's index in that dealing.
    pub const fn index(&self) -> u16 {
        self.index
    }

    pub(crate) fn value(&self) -> &Scalar {
        &self.value
    }

    pub(crate) fn write(&self, w: &mut Writer) {
        let value = Zeroizing::new(self.value.to_bytes());
        w.raw(&self.dealing).u16(self.index).raw(value.as_slice());
    }

    pub(crate) fn read(r: &mut Reader<'_>) -> Result<Self, WireError> {
        let (dealing, index) = (r.array()?, r.u16()?);
        let bytes = Zeroizing::new(r.array()?);
        let value = decode_scalar(*bytes).ok_or_else(|| r.invalid("post-quantum share"))?;
        if index == 0 {
            return Err(r.invalid("post-quantum share's index"));
        }
        Ok(Self { dealing, index, value: Zeroizing::new(value) })
    }
}

impl std::fmt::Debug for PqShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PqShare").field("index", &self.index).finish_non_exhaustive()
    }
}

/// The value at zero of the polynomial of least degree through `shares` at distinct indices.
///
/// Constant-time in the shares; the indices are public.
pub(crate) fn interpolate(shares: &[(u16, &Scalar)]) -> Zeroizing<Scalar> {
    let mut sum = Zeroizing::new(Scalar::ZERO);
    for (i, share) in shares {
        let x = Scalar::from(*i);
        let (mut numerator, mut denominator) = (Scalar::ONE, Scalar::ONE);
        for (j, _) in shares.iter().filter(|(j, _)| j != i) {
            numerator *= Scalar::from(*j);
            denominator *= Scalar::from(*j) - x;
        }
        *sum += *share * numerator * denominator.invert();
    }
    sum
}

fn seed(secret: &Scalar, context: &Context, recipients: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let mut input = Zeroizing::new([0; 96]);
    input[..32].copy_from_slice(secret.as_bytes());
    input[32..64].copy_from_slice(context.bytes());
    input[64..].copy_from_slice(recipients);
    Zeroizing::new(blake3::derive_key(SEED_CONTEXT, input.as_slice()))
}

fn indexed(seed: &[u8; 32], index: u16) -> Zeroizing<[u8; 34]> {
    let mut input = Zeroizing::new([0; 34]);
    input[..32].copy_from_slice(seed);
    input[32..].copy_from_slice(&index.to_le_bytes());
    input
}

fn wrap_key(shared: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(blake3::derive_key(WRAP_CONTEXT, shared))
}

fn commit(context: &Context, index: u16, share: &Scalar) -> [u8; 32] {
    let mut input = Zeroizing::new([0; 66]);
    input[..32].copy_from_slice(context.bytes());
    input[32..34].copy_from_slice(&index.to_le_bytes());
    input[34..].copy_from_slice(share.as_bytes());
    blake3::derive_key(COMMIT_CONTEXT, input.as_slice())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::curve::random_scalar;
    use crate::testkit::{Seeded, kem_keys};

    const CONTEXT: Context = Context::of_commitments([7; 32]);
    const OTHER: Context = Context::of_commitments([8; 32]);

    fn dealt(threshold: u16, indices: &[u16]) -> (Scalar, Recipients, Vec<KemSecret>, Dealing) {
        let secrets = kem_keys("dealing", indices.len());
        let keys = indices.iter().copied().zip(secrets.iter().map(KemSecret::public)).collect();
        let recipients = Recipients::new(threshold, keys).expect("recipients");
        let secret = *random_scalar(&mut Seeded::new("dealt"));
        let dealing = Dealing::deal(&secret, &CONTEXT, &recipients);
        (secret, recipients, secrets, dealing)
    }

    #[test]
    fn any_threshold_of_shares_recovers_the_secret_and_fewer_do_not() {
        let indices = [1, 2, 7, 300, u16::MAX];
        let (secret, _, keys, dealing) = dealt(3, &indices);
        let shares: Vec<_> = indices
            .iter()
            .zip(&keys)
            .map(|(i, key)| dealing.open(&CONTEXT, *i, key).expect("its share"))
            .collect();
        let points = |at: &[usize]| {
            let picked: Vec<_> = at.iter().map(|n| (indices[*n], shares[*n].value())).collect();
            interpolate(&picked)
        };
        for quorum in [&[0, 1, 2][..], &[2, 3, 4], &[4, 0, 3], &[0, 1, 2, 3, 4]] {
            assert_eq!(*points(quorum), secret, "{quorum:?}");
        }
        assert_ne!(*points(&[0, 1]), secret);
        assert_ne!(*points(&[4]), secret);
    }

    #[test]
    fn a_share_opens_for_its_custodian_in_its_context_only() {
        let (_, _, keys, dealing) = dealt(2, &[1, 2, 3]);
        let sealed = |index| Some(DealingError::Sealed { index });
        assert_eq!(dealing.open(&CONTEXT, 1, &keys[1]).err(), sealed(1));
        assert_eq!(dealing.open(&OTHER, 1, &keys[0]).err(), sealed(1));
        let absent = Some(DealingError::NotAddressed { index: 4 });
        assert_eq!(dealing.open(&CONTEXT, 4, &keys[0]).err(), absent);
        let share = dealing.open(&CONTEXT, 2, &keys[1]).expect("opens");
        assert_eq!((share.index(), *share.dealing()), (2, dealing.digest(&CONTEXT)));
        assert_eq!(format!("{share:?}"), "PqShare { index: 2, .. }");
        // Another custodian's parcel in its own place.
        let mut moved = dealing.clone();
        moved.parcels[0] = Parcel { index: 1, ..dealing.parcels[1].clone() };
        assert_eq!(moved.open(&CONTEXT, 1, &keys[1]).err(), sealed(1));
    }

    /// Turns the commitment of the third.
    fn lie(index: u16, mut commitment: [u8; 32]) -> [u8; 32] {
        commitment[0] ^= u8::from(index == 3);
        commitment
    }

    #[test]
    fn a_wrong_commitment_is_seen_by_the_custodian_it_is_for() {
        let (secret, to, keys, mut turned) = dealt(2, &[1, 2, 3]);
        let committed = DealingError::Committed { index: 3 };
        for context in [CONTEXT, Context::of_place([7; 32])] {
            let dealing = Dealing::deal_saying(&secret, &context, &to, lie);
            dealing.open(&context, 1, &keys[0]).expect("its own is good");
            assert_eq!(dealing.open(&context, 3, &keys[2]).err(), Some(committed.clone()));
        }
        // By somebody who cannot seal the parcel anew.
        turned.parcels[2].commitment[0] ^= 1;
        let sealed = Some(DealingError::Sealed { index: 3 });
        assert_eq!(turned.open(&CONTEXT, 3, &keys[2]).err(), sealed);
    }

    #[test]
    fn what_opens_anothers_parcel_is_never_shown() {
        let (secret, to, keys, good) = dealt(2, &[1, 2, 3]);
        let shared = keys[2].decapsulate(&good.parcels[2].encapsulated);
        assert!(good.unwrap(&CONTEXT, &good.parcels[2], &shared).is_some(), "it opens the share");
        for bit in 0..256 {
            let mut turned = good.clone();
            turned.parcels[2].commitment[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(turned.evidence(&CONTEXT, 3, &keys[2]), None, "{bit}");
            assert!(!turned.convicts(&CONTEXT, 3, &shared), "{bit}");
        }
        // Without the cover it does open, so nothing is shown whoever turned it. What was shown by
        // earlier versions still convicts: an honest dealer signs no such thing.
        let loose = Context::of_place([7; 32]);
        let mut turned = Dealing::deal(&secret, &loose, &to);
        turned.parcels[2].commitment[0] ^= 1;
        assert_eq!(turned.evidence(&loose, 3, &keys[2]), None);
        let shared = keys[2].decapsulate(&turned.parcels[2].encapsulated);
        assert!(turned.convicts(&loose, 3, &shared));
    }

    #[test]
    fn a_wrong_commitment_convicts_its_dealer_before_anybody() {
        let (secret, to, keys, good) = dealt(2, &[1, 2, 3]);
        let bad = Dealing::deal_saying(&secret, &CONTEXT, &to, lie);
        let evidence = bad.evidence(&CONTEXT, 3, &keys[2]).expect("it opens");
        assert!(bad.convicts(&CONTEXT, 3, &evidence));
        // Neither in another place nor of an honest dealing; and nobody's good share is shown.
        assert!(!bad.convicts(&CONTEXT, 2, &evidence) && !bad.convicts(&CONTEXT, 9, &evidence));
        assert!(!bad.convicts(&OTHER, 3, &evidence) && !good.convicts(&CONTEXT, 3, &evidence));
        assert_eq!(bad.evidence(&CONTEXT, 1, &keys[0]), None);
        assert_eq!(good.evidence(&CONTEXT, 3, &keys[2]), None);
        // What does not open at all is a word against a word until the capsule is opened.
        let mut torn = good;
        torn.parcels[2].wrapped[0] ^= 1;
        assert_eq!(torn.evidence(&CONTEXT, 3, &keys[2]), None);
        assert!(!torn.convicts(&CONTEXT, 3, &[0; 32]));
    }

    #[test]
    fn whoever_has_the_secret_names_every_custodian_that_was_cheated() {
        let (secret, recipients, _, good) = dealt(2, &[1, 2, 3]);
        assert_eq!(good.misdealt(&secret, &CONTEXT, &recipients), Vec::<u16>::new());
        for at in 0..3 {
            let edits: [fn(&mut Parcel); 3] =
                [|p| p.commitment[5] ^= 1, |p| p.encapsulated[700] ^= 1, |p| p.wrapped[40] ^= 1];
            for edit in edits {
                let mut bad = good.clone();
                edit(&mut bad.parcels[at]);
                let named = bad.misdealt(&secret, &CONTEXT, &recipients);
                assert_eq!(named, [at as u16 + 1]);
            }
        }
        let other = Scalar::from(5_u8);
        assert_eq!(good.misdealt(&other, &CONTEXT, &recipients), [1, 2, 3]);
        let fewer = Recipients::new(1, recipients.keys().to_vec()).expect("recipients");
        assert_eq!(good.misdealt(&secret, &CONTEXT, &fewer), [1, 2, 3]);
        assert!(good.is_for(&recipients) && !good.is_for(&fewer));
    }

    #[test]
    fn another_context_threshold_or_recipient_gives_an_unrelated_polynomial() {
        let (secret, recipients, keys, good) = dealt(2, &[1, 2]);
        let share = |dealing: &Dealing, context| {
            dealing.open(context, 1, &keys[0]).expect("opens").value().to_bytes()
        };
        let elsewhere = Dealing::deal(&secret, &OTHER, &recipients);
        assert_ne!(share(&good, &CONTEXT), share(&elsewhere, &OTHER));
        let mut more = recipients.keys().to_vec();
        more.push((3, kem_keys("third", 1)[0].public()));
        let more = Recipients::new(2, more).expect("recipients");
        let wider = Dealing::deal(&secret, &CONTEXT, &more);
        assert_ne!(share(&good, &CONTEXT), share(&wider, &CONTEXT));
        assert_eq!(Dealing::deal(&secret, &CONTEXT, &recipients), good, "and nothing else does");
    }

    #[test]
    fn shapes_that_no_dealing_has_are_refused() {
        let key = kem_keys("shape", 1)[0].public();
        let of = |threshold, indices: &[u16]| {
            let keys = indices.iter().map(|i| (*i, key.clone())).collect();
            Recipients::new(threshold, keys).map(|_| ())
        };
        let all: Vec<u16> = (1..=17).collect();
        assert_eq!(of(16, &all[..16]), Ok(()));
        for (threshold, indices) in
            [(0, &all[..2]), (3, &all[..2]), (1, &[]), (1, &[0, 1]), (1, &[2, 2]), (1, &[2, 1])]
        {
            assert_eq!(of(threshold, indices), Err(DealingError::Recipients), "{indices:?}");
        }
        assert_eq!(of(1, &all), Err(DealingError::Recipients));
        let (_, _, _, dealing) = dealt(2, &[1, 2, 3]);
        let good = dealing.encode();
        assert_eq!(good.len(), 36 + 3 * 1170);
        assert_eq!(Dealing::decode(&good), Ok(dealing));
        for (at, bytes) in [(32, [0, 0]), (32, [4, 0]), (34, [17, 0]), (36, [0, 0]), (36, [3, 0])] {
            let mut bad = good.clone();
            bad[at..at + 2].copy_from_slice(&bytes);
            assert_eq!(Dealing::decode(&bad), Err(DealingError::Recipients), "{at} {bytes:?}");
        }
        for len in [0, 35, 36, 36 + 1170, good.len() - 1] {
            let refused = Dealing::decode(&good[..len]);
            assert!(matches!(refused, Err(DealingError::Malformed(_))), "{len}");
        }
        let longer = [good.as_slice(), &[0]].concat();
        assert!(matches!(Dealing::decode(&longer), Err(DealingError::Malformed(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..1300)) {
            if let Ok(dealing) = Dealing::decode(&bytes) {
                prop_assert_eq!(dealing.encode(), bytes);
            }
        }
    }
}
