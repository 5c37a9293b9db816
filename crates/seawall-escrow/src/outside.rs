//! Published vectors that the primitives under this room must agree with, through the very crates
//! it uses (sources: `tests/vectors/README.md`). Those of X-Wing are in `onetime`, those of
//! ristretto255 in `curve`, one of AES-GCM-SIV in `aead`.

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use hpke::aead::ChaCha20Poly1305;
use hpke::kdf::HkdfSha256;
use hpke::kem::X25519HkdfSha256;
use hpke::{Deserializable as _, Kem, OpModeR, setup_receiver};
use ml_kem::kem::{Decapsulate as _, KeyExport as _};
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::kem::{KemError, KemPublic, KemSecret};

fn load<T: DeserializeOwned>(json: &str) -> T {
    serde_json::from_str(json).expect("the file is ours")
}

fn bytes(hex: &str) -> Vec<u8> {
    hex::decode(hex).expect("vectors are hexadecimal")
}

fn array<const N: usize>(hex: &str) -> [u8; N] {
    bytes(hex).try_into().expect("vectors of this kind have one length")
}

#[derive(Deserialize)]
struct Aead {
    id: u32,
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    valid: bool,
}

#[test]
fn aes_256_gcm_siv_agrees_with_wycheproof() {
    let vectors: Vec<Aead> = load(include_str!("../tests/vectors/aes_256_gcm_siv_wycheproof.json"));
    assert_eq!(vectors.len(), 103);
    for v in &vectors {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &bytes(&v.key)).expect("256 bits");
        let key = LessSafeKey::new(key);
        let aad = || Aad::from(bytes(&v.aad));
        let nonce = Nonce::try_assume_unique_for_key(&bytes(&v.iv));
        let Ok(nonce) = nonce else {
            assert!(!v.valid, "test {}: only nonces of 96 bits", v.id);
            continue;
        };
        let mut buffer = bytes(&v.ct);
        let opened = key.open_in_place(nonce, aad(), &mut buffer).map(|m| m.to_vec());
        assert_eq!(opened.is_ok(), v.valid, "test {}", v.id);
        if v.valid {
            assert_eq!(opened.expect("valid"), bytes(&v.msg), "test {}", v.id);
            let mut sealed = bytes(&v.msg);
            let nonce = Nonce::try_assume_unique_for_key(&bytes(&v.iv)).expect("as before");
            key.seal_in_place_append_tag(nonce, aad(), &mut sealed).expect("seals");
            assert_eq!(sealed, bytes(&v.ct), "test {}", v.id);
        }
    }
}

#[derive(Deserialize)]
struct X25519 {
    id: u32,
    public: String,
    private: String,
    shared: String,
}

#[test]
fn x25519_agrees_with_wycheproof() {
    let vectors: Vec<X25519> = load(include_str!("../tests/vectors/x25519_wycheproof.json"));
    assert!(vectors.len() > 200);
    for v in &vectors {
        let secret = x25519_dalek::StaticSecret::from(array::<32>(&v.private));
        let public = x25519_dalek::PublicKey::from(array::<32>(&v.public));
        let shared = secret.diffie_hellman(&public);
        assert_eq!(hex::encode(shared.as_bytes()), v.shared, "test {}", v.id);
    }
}

#[derive(Deserialize)]
struct Encaps {
    id: u32,
    ek: String,
    m: String,
    c: String,
    k: String,
    valid: bool,
}

#[test]
fn ml_kem_768_encapsulation_agrees_with_wycheproof() {
    let vectors: Vec<Encaps> =
        load(include_str!("../tests/vectors/mlkem_768_encaps_wycheproof.json"));
    assert_eq!(vectors.len(), 22);
    for v in &vectors {
        let key = KemPublic::from_bytes(&bytes(&v.ek));
        assert_eq!(key.is_ok(), v.valid, "test {}", v.id);
        let Ok(key) = key else { continue };
        let (c, k) = key.encapsulate(&array(&v.m));
        assert_eq!((hex::encode(*c), hex::encode(*k)), (v.c.clone(), v.k.clone()), "{}", v.id);
    }
}

#[derive(Deserialize)]
struct Unlucky {
    ek: String,
    m: String,
    c: String,
    k: String,
}

#[test]
fn ml_kem_768_encapsulates_to_a_key_that_takes_much_sampling() {
    // Its secret half is of the standard's draft, which expanded `d` differently.
    let v: Unlucky = load(include_str!("../tests/vectors/mlkem_768_unlucky_cctv.json"));
    let key = KemPublic::from_bytes(&bytes(&v.ek)).expect("a key");
    let (c, k) = key.encapsulate(&array(&v.m));
    assert_eq!((hex::encode(*c), hex::encode(*k)), (v.c, v.k));
}

#[derive(Deserialize)]
struct Decaps {
    id: u32,
    seed: String,
    ek: String,
    c: String,
    k: String,
}

#[test]
fn ml_kem_768_keys_and_decapsulation_agree_with_wycheproof() {
    let vectors: Vec<Decaps> = load(include_str!("../tests/vectors/mlkem_768_wycheproof.json"));
    assert_eq!(vectors.len(), 7);
    for v in &vectors {
        let secret = DecapsulationKey::from_seed(array::<64>(&v.seed).into());
        assert_eq!(hex::encode(secret.encapsulation_key().to_bytes()), v.ek, "test {}", v.id);
        let shared = secret.decapsulate(&Ciphertext::from(array::<1088>(&v.c)));
        assert_eq!(hex::encode(shared), v.k, "test {}", v.id);
    }
}

#[test]
fn no_coefficient_of_a_key_may_be_above_the_modulus() {
    // CCTV's `modulus`: each position of a key, and each value from q to 2^12 - 1.
    const Q: u16 = 3329;
    let good = *KemSecret::from_bytes(&[1; 32]).public().as_bytes();
    for position in 0..768_usize {
        let value = Q + (position as u16) % (4096 - Q);
        let (mut bad, at) = (good, position / 2 * 3);
        if position % 2 == 0 {
            bad[at] = value as u8;
            bad[at + 1] = bad[at + 1] & 0xf0 | (value >> 8) as u8;
        } else {
            bad[at + 1] = bad[at + 1] & 0x0f | (value << 4) as u8;
            bad[at + 2] = (value >> 4) as u8;
        }
        assert_eq!(KemPublic::from_bytes(&bad), Err(KemError), "position {position}");
    }
}

/// RFC 9180, A.2.1: our KDF and AEAD under the RFC's own KEM (X-Wing came later).
#[test]
fn hpke_opens_what_rfc_9180_sealed() {
    let secret = "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb";
    let enc = "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a";
    let info = bytes("4f6465206f6e2061204772656369616e2055726e");
    let plain = bytes("4265617574792069732074727574682c20747275746820626561757479");
    let sealed = [
        "1c5250d8034ec2b784ba2cfd69dbdb8af406cfe3ff938e131f0def8c8b60b4db21993c62ce81883d2dd1b51a28",
        "6b53c051e4199c518de79594e1c4ab18b96f081549d45ce015be002090bb119e85285337cc95ba5f59992dc98c",
        "71146bd6795ccc9c49ce25dda112a48f202ad220559502cef1f34271e0cb4b02b4f10ecac6f48c32f878fae86b",
    ];
    let key = <X25519HkdfSha256 as Kem>::PrivateKey::from_bytes(&bytes(secret)).expect("a key");
    let enc = <X25519HkdfSha256 as Kem>::EncappedKey::from_bytes(&bytes(enc)).expect("a key");
    let mut context = setup_receiver::<ChaCha20Poly1305, HkdfSha256, X25519HkdfSha256>(
        &OpModeR::Base,
        &key,
        &enc,
        &info,
    )
    .expect("the key is good");
    for (n, sealed) in sealed.iter().enumerate() {
        let aad = format!("Count-{n}");
        let opened = context.open(&bytes(sealed), aad.as_bytes()).expect("opens");
        assert_eq!(opened, plain, "message {n}");
    }
    assert!(context.open(&bytes(sealed[0]), b"Count-0").is_err(), "each opens once");
}
