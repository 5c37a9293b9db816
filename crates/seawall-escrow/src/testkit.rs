//! What this room's tests share: a seeded generator, fixed groups and labels, published encodings.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use seawall_base::{FleetId, GroupId, NodeId, Rng, Sha256};
use zeroize::Zeroizing;

use crate::dealing::Recipients;
use crate::group::Group;
use crate::kem::KemSecret;
use crate::label::LabelFields;
use crate::share::SecretShare;
use crate::wrapping::{IV_LEN, TokenKey, WrapError, WrappingKey};

/// Reproducible bytes: BLAKE3 of the seed, extended.
pub(crate) struct Seeded(blake3::OutputReader);

impl Seeded {
    pub(crate) fn new(seed: &str) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("seawall escrow test generator");
        hasher.update(seed.as_bytes());
        Self(hasher.finalize_xof())
    }
}

impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}

/// A wrapping key in memory: AES-256-GCM as a token does it.
pub(crate) struct SoftKey {
    name: TokenKey,
    key: LessSafeKey,
}

impl SoftKey {
    pub(crate) fn new(label: &str, key: [u8; 32]) -> Self {
        let serial = "0123456789abcdef".to_owned();
        let name = TokenKey { label: label.to_owned(), serial, key: [0x5a; 16] };
        let key = UnboundKey::new(&AES_256_GCM, &key).expect("the key has the cipher's length");
        Self { name, key: LessSafeKey::new(key) }
    }
}

impl WrappingKey for SoftKey {
    fn name(&self) -> &TokenKey {
        &self.name
    }

    fn wrap(&self, iv: &[u8; IV_LEN], aad: &[u8], plain: &[u8]) -> Result<Vec<u8>, WrapError> {
        let (nonce, mut out) = (Nonce::assume_unique_for_key(*iv), plain.to_vec());
        let done = self.key.seal_in_place_append_tag(nonce, Aad::from(aad), &mut out);
        done.expect("inputs of this size are within the cipher's limits");
        Ok(out)
    }

    fn unwrap(
        &self,
        iv: &[u8; IV_LEN],
        aad: &[u8],
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, WrapError> {
        let (nonce, mut out) = (Nonce::assume_unique_for_key(*iv), sealed.to_vec());
        let plain = self.key.open_in_place(nonce, Aad::from(aad), &mut out);
        let plain = plain.map_err(|_| WrapError::Mismatch(Box::new(self.name.clone())))?;
        Ok(Zeroizing::new(plain.to_vec()))
    }
}

pub(crate) fn hex32(text: &str) -> [u8; 32] {
    hex::decode(text).expect("test hex is valid").try_into().expect("test hex is 32 bytes")
}

/// A 3-of-5 group from a real key generation.
pub(crate) fn three_of_five(seed: &str) -> (Group, Vec<SecretShare>) {
    crate::ceremony::local(5, 3, "customer-data", &mut Seeded::new(seed))
        .expect("the ceremony succeeds")
}

/// All sets of positions below `n`, the empty one included.
pub(crate) fn subsets(n: usize) -> impl Iterator<Item = Vec<usize>> {
    (0..1_u32 << n).map(move |bits| (0..n).filter(|i| bits & (1 << i) != 0).collect())
}

/// Reproducible custodians' keys.
pub(crate) fn kem_keys(seed: &str, count: usize) -> Vec<KemSecret> {
    let mut rng = Seeded::new(&format!("kem keys {seed}"));
    (0..count).map(|_| KemSecret::generate(&mut rng)).collect()
}

/// Every member of the group with a key, and its threshold.
pub(crate) fn recipients(group: &Group, keys: &[KemSecret]) -> Recipients {
    let indices = group.members().iter().map(crate::group::Member::index);
    let keys = indices.zip(keys.iter().map(KemSecret::public)).collect();
    Recipients::new(group.threshold(), keys).expect("a group's members are recipients")
}

pub(crate) fn label_fields(group: GroupId) -> LabelFields {
    LabelFields {
        fleet: FleetId([1; 32]),
        group,
        node: NodeId([3; 32]),
        origin: "fleet/node/1".to_owned(),
        sequence: 7,
        manifest_core: Sha256([5; 32]),
    }
}

/// `good` with each field changed in turn, and two re-splittings of neighbours.
pub(crate) fn changed_labels(good: &LabelFields) -> Vec<(&'static str, LabelFields)> {
    let g = || good.clone();
    vec![
        ("fleet", LabelFields { fleet: FleetId([9; 32]), ..g() }),
        ("group", LabelFields { group: GroupId([9; 32]), ..g() }),
        ("node", LabelFields { node: NodeId([9; 32]), ..g() }),
        ("origin", LabelFields { origin: "fleet/node/2".to_owned(), ..g() }),
        ("origin, longer", LabelFields { origin: "fleet/node/1\u{7}".to_owned(), ..g() }),
        ("sequence", LabelFields { sequence: 8, ..g() }),
        ("manifest core", LabelFields { manifest_core: Sha256([9; 32]), ..g() }),
    ]
}

/// RFC 9496 appendix A.2: encodings a decoder must refuse.
pub(crate) const BAD_ENCODINGS: [&str; 29] = [
    // Non-canonical field encodings.
    "00ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "f3ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    // Negative field elements.
    "0100000000000000000000000000000000000000000000000000000000000000",
    "01ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "ed57ffd8c914fb201471d1c3d245ce3c746fcbe63a3679d51b6a516ebebe0e20",
    "c34c4e1826e5d403b78e246e88aa051c36ccf0aafebffe137d148a2bf9104562",
    "c940e5a4404157cfb1628b108db051a8d439e1a421394ec4ebccb9ec92a8ac78",
    "47cfc5497c53dc8e61c91d17fd626ffb1c49e2bca94eed052281b510b1117a24",
    "f1c6165d33367351b0da8f6e4511010c68174a03b6581212c71c0e1d026c3c72",
    "87260f7a2f12495118360f02c26a470f450dadf34a413d21042b43b9d93e1309",
    // Non-square x^2.
    "26948d35ca62e643e26a83177332e6b6afeb9d08e4268b650f1f5bbd8d81d371",
    "4eac077a713c57b4f4397629a4145982c661f48044dd3f96427d40b147d9742f",
    "de6a7b00deadc788eb6b6c8d20c0ae96c2f2019078fa604fee5b87d6e989ad7b",
    "bcab477be20861e01e4a0e295284146a510150d9817763caf1a6f4b422d67042",
    "2a292df7e32cababbd9de088d1d1abec9fc0440f637ed2fba145094dc14bea08",
    "f4a9e534fc0d216c44b218fa0c42d99635a0127ee2e53c712f70609649fdff22",
    "8268436f8c4126196cf64b3c7ddbda90746a378625f9813dd9b8457077256731",
    "2810e5cbc2cc4d4eece54f61c6f69758e289aa7ab440b3cbeaa21995c2f4232b",
    // Negative x*y.
    "3eb858e78f5a7254d8c9731174a94f76755fd3941c0ac93735c07ba14579630e",
    "a45fdc55c76448c049a1ab33f17023edfb2be3581e9c7aade8a6125215e04220",
    "d483fe813c6ba647ebbfd3ec41adca1c6130c2beeee9d9bf065c8d151c5f396e",
    "8a2e1d30050198c65a54483123960ccc38aef6848e1ec8f5f780e8523769ba32",
    "32888462f8b486c68ad7dd9610be5192bbeaf3b443951ac1a8118419d9fa097b",
    "227142501b9d4355ccba290404bde41575b037693cef1f438c47f8fbf35d1165",
    "5c37cc491da847cfeb9281d407efc41e15144c876e0170b499a96a22ed31e01e",
    "445425117cb8c90edcbc7c1cc0e74f747f2c1efa5630a967c64f287792a48a4b",
    // s = -1, hence y = 0.
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
];
