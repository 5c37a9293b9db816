//! A dishonest node's own sealing, written from `docs/formats/capsule.md`, so that it can do what
//! no code of the house does: lie, seal as earlier versions did, and copy.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::kem::{EncapsulationKey, ML_KEM_768};
use curve25519_dalek::constants::RISTRETTO_BASEPOINT_POINT as G;
use curve25519_dalek::ristretto::{CompressedRistretto, RistrettoPoint};
use curve25519_dalek::scalar::Scalar;
use seawall_base::Rng;
use seawall_escrow::{Group, LabelFields, Recipients, SUITE_PQ};

/// Length of a parcel.
pub(super) const PARCEL: usize = 1170;

/// Where custodian `index`'s parcel begins in a half for 1, 2, 3.
pub(super) const fn parcel_at(index: usize) -> usize {
    36 + (index - 1) * PARCEL
}

/// Repeats what the node drew, so that it knows its own secrets.
pub(super) struct Drawn(pub(super) Vec<u8>);

impl Rng for Drawn {
    fn fill(&mut self, out: &mut [u8]) {
        let at = self.0.len() as u64;
        let mut stream = blake3::Hasher::new_derive_key("a dishonest node's randomness");
        stream.update(&at.to_le_bytes()).finalize_xof().fill(out);
        self.0.extend_from_slice(out);
    }
}

/// What a capsule is made of: `t`, `r`, `s` and `P` of its description.
pub(super) struct Secrets {
    t: [u8; 32],
    r: Scalar,
    s: Scalar,
    dealt: Scalar,
}

impl Secrets {
    /// As the program drew them.
    pub(super) fn of(drawn: &Drawn) -> Self {
        let wide = |n: usize| {
            let bytes = drawn.0[32 + 64 * n..96 + 64 * n].try_into().expect("64 bytes");
            Scalar::from_bytes_mod_order_wide(&bytes)
        };
        let t = drawn.0[..32].try_into().expect("32 bytes");
        Self { t, r: wide(0), s: wide(1), dealt: wide(2) }
    }

    /// The same for the same name.
    pub(super) fn named(name: &str) -> Self {
        let of =
            |what: &str| scalar("a dishonest node's secret", format!("{name} {what}").as_bytes());
        Self { t: of("t").to_bytes(), r: of("r"), s: of("s"), dealt: of("P") }
    }
}

/// One capsule in the making.
pub(super) struct Sealing<'a> {
    pub(super) suite: u8,
    pub(super) group: &'a Group,
    pub(super) fields: &'a LabelFields,
    pub(super) secrets: Secrets,
}

impl Sealing<'_> {
    fn points(&self) -> [u8; 64] {
        let points = [G * self.secrets.r, second_generator() * self.secrets.r];
        points.map(|p| p.compress().to_bytes()).concat().try_into().expect("two points")
    }

    /// A half in which every custodian gets a good share. Its ciphertexts are not those that an
    /// honest node makes, which nobody sees before an opening.
    pub(super) fn deal(&self, to: &Recipients) -> Vec<u8> {
        assert_eq!(to.threshold(), 2, "a line through the secret");
        let slope = scalar("a dishonest node's slope", self.secrets.dealt.as_bytes());
        let count = to.keys().len() as u16;
        let mut half = [&to.digest()[..], &2_u16.to_le_bytes(), &count.to_le_bytes()].concat();
        for (index, _) in to.keys() {
            let share = self.secrets.dealt + slope * Scalar::from(*index);
            let said = commitment(&self.context(), *index, &share);
            half.extend(self.parcel(to, *index, &said, &share));
        }
        half
    }

    /// A parcel for a custodian that says one thing and holds another, if those differ.
    pub(super) fn parcel(
        &self,
        to: &Recipients,
        index: u16,
        said: &[u8; 32],
        share: &Scalar,
    ) -> Vec<u8> {
        let (_, key) = to.keys().iter().find(|(i, _)| *i == index).expect("a custodian");
        let key = EncapsulationKey::new(&ML_KEM_768, key.as_bytes()).expect("a key");
        let (ciphertext, shared) = key.encapsulate().expect("encapsulates");
        let shared: [u8; 32] = shared.as_ref().try_into().expect("32 bytes");
        let data = associated_data(self.suite, &self.context(), &to.digest(), index, said);
        let wrapped = aead(wrap_key(&shared), &data, share.as_bytes());
        [&index.to_le_bytes()[..], said, ciphertext.as_ref(), &wrapped].concat()
    }

    fn context(&self) -> [u8; 32] {
        context(self.suite, self.fields, &self.points())
    }

    /// The capsule around a half, whatever that is. Its proof holds.
    pub(super) fn around(&self, half: &[u8], payload: &[u8]) -> Vec<u8> {
        let Secrets { t, r, s, dealt } = &self.secrets;
        let label = label(self.suite, self.fields, &self.points(), half);
        let k_s = [&t[..], dealt.as_bytes(), &label].concat();
        let k_s = blake3::derive_key("seawall 2026-11 capsule key v2", &k_s);
        let key = blake3::derive_key("seawall 2026-11 capsule payload key v1", &k_s);
        let sealed = aead(key, &label, payload);
        let committed = [k_s, label].concat();
        let committed = blake3::derive_key("seawall 2026-11 capsule commitment v1", &committed);
        let bytes = |data: &[u8]| [&(data.len() as u32).to_le_bytes(), data].concat();
        let point = |p: RistrettoPoint| p.compress().to_bytes();
        let h = CompressedRistretto(self.group.key()).decompress().expect("a point");
        let mask = blake3::derive_key("seawall 2026-11 capsule mask v1", &point(h * r));
        let masked: [u8; 32] = std::array::from_fn(|i| t[i] ^ mask[i]);
        let points = self.points();
        let transcript = [
            &[self.suite][..],
            &self.group.key(),
            self.group.id().as_bytes(),
            &label,
            &masked,
            &committed,
            &bytes(&sealed),
            &bytes(half),
            &points[..32],
            &point(G * s),
            &points[32..],
            &point(second_generator() * s),
        ]
        .concat();
        let e = scalar("seawall 2026-11 capsule proof v1", &transcript);
        let f = s + e * r;
        let (id, e, f) = (self.group.id(), e.to_bytes(), f.to_bytes());
        let head = [&[self.suite][..], id.as_bytes(), &label, &points, &e, &f, &masked, &committed];
        [head.concat(), bytes(&sealed), bytes(half)].concat()
    }
}

/// The half in a capsule's bytes.
pub(super) fn half_of(capsule: &[u8]) -> &[u8] {
    let sealed = u32::from_le_bytes(capsule[257..261].try_into().expect("4 bytes")) as usize;
    &capsule[261 + sealed + 4..]
}

/// Whether custodian `index`'s parcel in a capsule opens with what was encapsulated to it.
pub(super) fn opens(capsule: &[u8], fields: &LabelFields, index: u16, shared: &[u8; 32]) -> bool {
    let (suite, half) = (capsule[0], half_of(capsule));
    let points = capsule[65..129].try_into().expect("two points");
    let context = context(suite, fields, &points);
    let parcel = &half[parcel_at(usize::from(index))..][..PARCEL];
    let said = parcel[2..34].try_into().expect("32 bytes");
    let to = half[..32].try_into().expect("32 bytes");
    let data = associated_data(suite, &context, &to, index, said);
    let key = UnboundKey::new(&AES_256_GCM_SIV, &wrap_key(shared)).expect("32 bytes");
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let mut wrapped = parcel[PARCEL - 48..].to_vec();
    LessSafeKey::new(key).open_in_place(nonce, Aad::from(data), &mut wrapped).is_ok()
}

/// The label that fits a capsule's points and half, whatever stands in its place.
pub(super) fn right_label(capsule: &[u8], fields: &LabelFields) -> [u8; 32] {
    let points = capsule[65..129].try_into().expect("two points");
    label(capsule[0], fields, &points, half_of(capsule))
}

fn label(suite: u8, fields: &LabelFields, points: &[u8; 64], half: &[u8]) -> [u8; 32] {
    let digest = [&context(suite, fields, points)[..], half].concat();
    let digest = blake3::derive_key("seawall 2026-11 pq dealing v1", &digest);
    fields.label(suite, &digest).expect("a label").0
}

fn context(suite: u8, fields: &LabelFields, points: &[u8; 64]) -> [u8; 32] {
    let core = fields.core_label(suite).expect("a label").0;
    if suite == SUITE_PQ {
        return core;
    }
    blake3::derive_key("seawall 2026-11 pq binding v1", &[&core[..], points].concat())
}

fn associated_data(
    suite: u8,
    context: &[u8; 32],
    to: &[u8; 32],
    index: u16,
    said: &[u8; 32],
) -> Vec<u8> {
    let covered = if suite == SUITE_PQ { &[][..] } else { said };
    [&context[..], to, &index.to_le_bytes(), covered].concat()
}

fn commitment(context: &[u8; 32], index: u16, share: &Scalar) -> [u8; 32] {
    let data = [&context[..], &index.to_le_bytes(), share.as_bytes()].concat();
    blake3::derive_key("seawall 2026-11 pq share commitment v1", &data)
}

fn wrap_key(shared: &[u8; 32]) -> [u8; 32] {
    blake3::derive_key("seawall 2026-11 pq wrap key v1", shared)
}

fn scalar(context: &str, data: &[u8]) -> Scalar {
    let mut wide = [0; 64];
    blake3::Hasher::new_derive_key(context).update(data).finalize_xof().fill(&mut wide);
    Scalar::from_bytes_mod_order_wide(&wide)
}

pub(super) fn second_generator() -> RistrettoPoint {
    let name = b"seawall 2026-11 tdh2 second generator v1";
    let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA512, name);
    RistrettoPoint::from_uniform_bytes(hash.as_ref().try_into().expect("64 bytes"))
}

fn aead(key: [u8; 32], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let key = UnboundKey::new(&AES_256_GCM_SIV, &key).expect("32 bytes");
    let mut out = plain.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    LessSafeKey::new(key).seal_in_place_append_tag(nonce, Aad::from(aad), &mut out).expect("seals");
    out
}
