//! Frames of local files that hold references: caches, never objects.
//!
//! AES-256-GCM (NIST SP 800-38D) under a random key with nonces the caller never repeats. The
//! misuse-resistant cipher of objects is not needed: a cache is written once, under a key drawn
//! for it.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};

/// The key of one local file.
pub struct FrameKey(LessSafeKey);

/// A frame that was not sealed under this key, nonce and associated data, or is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a frame of a local cache is damaged or of another cache")]
pub struct BadFrame;

impl std::fmt::Debug for FrameKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FrameKey(..)")
    }
}

impl FrameKey {
    /// Bytes a sealed frame is longer than its plaintext.
    pub const TAG: usize = 16;

    /// A key from 32 random bytes.
    pub fn new(key: &[u8; 32]) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key).expect("the key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Encrypts `frame[start..]` in place and appends the tag. A nonce is never used twice.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], frame: &mut Vec<u8>, start: usize) {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), &mut frame[start..])
            .expect("a frame is far below the cipher's limit");
        frame.extend_from_slice(tag.as_ref());
    }

    /// Decrypts `frame` (ciphertext and tag) in place and cuts the tag off.
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], frame: &mut Vec<u8>) -> Result<(), BadFrame> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened = self.0.open_in_place(nonce, Aad::from(aad), frame).map_err(|_| BadFrame)?;
        let len = opened.len();
        frame.truncate(len);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_opens_only_as_it_was_sealed() {
        let (key, nonce) = (FrameKey::new(&[7; 32]), [1; 12]);
        let mut sealed = b"head".to_vec();
        sealed.extend_from_slice(b"plain");
        key.seal(&nonce, b"aad", &mut sealed, 4);
        assert_eq!((&sealed[..4], sealed.len()), (&b"head"[..], 4 + 5 + FrameKey::TAG));
        let body = sealed.split_off(4);
        let open = |key: &FrameKey, nonce, aad: &[u8], mut body: Vec<u8>| {
            key.open(nonce, aad, &mut body).map(|()| body)
        };
        assert_eq!(open(&key, &nonce, b"aad", body.clone()), Ok(b"plain".to_vec()));
        assert_eq!(open(&key, &nonce, b"aae", body.clone()), Err(BadFrame));
        assert_eq!(open(&key, &[2; 12], b"aad", body.clone()), Err(BadFrame));
        assert_eq!(open(&FrameKey::new(&[8; 32]), &nonce, b"aad", body.clone()), Err(BadFrame));
        for bit in 0..body.len() * 8 {
            let mut bad = body.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, &nonce, b"aad", bad), Err(BadFrame), "bit {bit}");
        }
        for len in 0..body.len() {
            assert_eq!(open(&key, &nonce, b"aad", body[..len].to_vec()), Err(BadFrame));
        }
    }
}
