//! Published vectors that our verification must agree with (sources: `tests/vectors/README.md`).

use seawall_base::Rng;
use serde::Deserialize;
use shake::{ExtendableOutput as _, Shake128, Update as _, XofReader};

use crate::mldsa::verify_with;
use crate::{MlDsaKey, SignError, Signer as _, VerifyingKey};

#[derive(Deserialize)]
struct Ed25519 {
    id: u32,
    key: String,
    msg: String,
    sig: String,
    /// Valid, or accepted by strict verification.
    #[serde(alias = "strict")]
    valid: bool,
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("vectors are hexadecimal")
}

fn accepts(v: &Ed25519, message: &[u8]) -> bool {
    let key = bytes(&v.key).try_into().map_err(|_| SignError::BadSignature);
    key.and_then(|key| VerifyingKey::from_bytes(&key))
        .and_then(|key| key.verify_statement(message, &bytes(&v.sig)))
        .is_ok()
}

#[test]
fn ed25519_agrees_with_wycheproof() {
    let vectors: Vec<Ed25519> =
        serde_json::from_str(include_str!("../tests/vectors/ed25519_wycheproof.json"))
            .expect("the file is ours");
    assert_eq!(vectors.len(), 151);
    for v in &vectors {
        assert_eq!(accepts(v, &bytes(&v.msg)), v.valid, "test {}", v.id);
    }
}

#[test]
fn ed25519_is_as_strict_as_it_says() {
    let vectors: Vec<Ed25519> =
        serde_json::from_str(include_str!("../tests/vectors/ed25519_cctv.json"))
            .expect("the file is ours");
    assert_eq!(vectors.iter().filter(|v| v.valid).count(), 43);
    for v in &vectors {
        assert_eq!(accepts(v, v.msg.as_bytes()), v.valid, "vector {}", v.id);
    }
}

#[derive(Deserialize)]
struct MlDsaGroup {
    key: String,
    tests: Vec<MlDsaTest>,
}

#[derive(Deserialize)]
struct MlDsaTest {
    id: u32,
    msg: String,
    ctx: String,
    sig: String,
    valid: bool,
}

#[test]
fn ml_dsa_44_agrees_with_wycheproof() {
    let groups: Vec<MlDsaGroup> =
        serde_json::from_str(include_str!("../tests/vectors/mldsa_44_wycheproof.json"))
            .expect("the file is ours");
    let (mut good, mut bad) = (0, 0);
    for group in &groups {
        let key = bytes(&group.key);
        for t in &group.tests {
            let found = verify_with(&key, &bytes(&t.msg), &bytes(&t.ctx), &bytes(&t.sig));
            assert_eq!(found.is_ok(), t.valid, "test {}: {found:?}", t.id);
            if t.valid { good += 1 } else { bad += 1 }
        }
    }
    assert!(good >= 15 && bad >= 20, "{good} good, {bad} bad");
}

/// SHAKE128 of nothing, as the source of seeds.
struct Seeds(shake::Shake128Reader);

impl Rng for Seeds {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.read(out);
    }
}

#[test]
fn ml_dsa_44_keys_and_signatures_accumulate_to_the_published_hash() {
    let mut seeds = Seeds(Shake128::default().finalize_xof());
    let mut all = Shake128::default();
    for _ in 0..100 {
        let key = MlDsaKey::generate(&mut seeds);
        let signed = key.sign_statement(b"");
        key.public().verify_statement(b"", &signed).expect("its own signature");
        all.update(&signed);
    }
    let mut hash = [0; 32];
    all.finalize_xof().read(&mut hash);
    assert_eq!(
        hex::encode(hash),
        "d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4"
    );
}
