//! AES-256-GCM-SIV (RFC 8452) with the all-zero nonce, for keys that seal exactly one message.
//!
//! Every key given to this module is derived from fresh randomness (`K_s`, a salt) and used once,
//! so a nonce would only add bytes. SIV keeps the damage of a broken promise to "equal plaintexts
//! are seen to be equal".

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroizing;

/// Bytes of authentication tag that sealing adds.
pub(crate) const TAG_LEN: usize = 16;

fn key(bytes: &[u8; 32]) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM_SIV, bytes).expect("the key has the cipher's length");
    LessSafeKey::new(key)
}

fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// Seals `plain` (a few KiB at most) under a key that seals nothing else.
pub(crate) fn seal(key_bytes: &[u8; 32], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    // Reserved up front: growing would leave a copy of the plaintext behind in freed memory.
    let mut out = Vec::with_capacity(plain.len() + TAG_LEN);
    out.extend_from_slice(plain);
    key(key_bytes)
        .seal_in_place_append_tag(nonce(), Aad::from(aad), &mut out)
        .expect("inputs of this size are within the cipher's limits");
    out
}

/// Opens what [`seal`] made; `None` if the key, the associated data or the bytes differ.
pub(crate) fn open(key_bytes: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let len = key(key_bytes).open_in_place(nonce(), Aad::from(aad), &mut buffer).ok()?.len();
    buffer.truncate(len);
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_key_associated_data_or_byte_does_not_open() {
        let sealed = seal(&[1; 32], b"aad", b"plain");
        assert_eq!(sealed.len(), 5 + TAG_LEN);
        assert_eq!(open(&[1; 32], b"aad", &sealed).expect("opens").as_slice(), b"plain");
        assert!(open(&[2; 32], b"aad", &sealed).is_none());
        assert!(open(&[1; 32], b"aae", &sealed).is_none());
        assert!(open(&[1; 32], b"aad", &sealed[..15]).is_none());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(open(&[1; 32], b"aad", &bad).is_none(), "byte {i}");
        }
    }

    #[test]
    fn matches_the_zero_nonce_vector_of_rfc_8452_appendix_c_3() {
        let plain = hex::decode("000000000000000000000000000000004db923dc793ee6497c76dcc03a98e108")
            .expect("hex");
        let sealed = hex::decode(concat!(
            "f3f80f2cf0cb2dd9c5984fcda908456cc537703b5ba70324a6793a7bf218d3ea",
            "ffffffff000000000000000000000000"
        ))
        .expect("hex");
        assert_eq!(seal(&[0; 32], b"", &plain), sealed);
        assert_eq!(open(&[0; 32], b"", &sealed).expect("opens").as_slice(), plain);
    }
}
