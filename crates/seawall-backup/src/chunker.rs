//! Where long files are cut: content-defined boundaries behind a keyed pseudo-random function.
//!
//! Chunk sizes are public (the region sees object lengths), so boundaries must tell nothing
//! about content or key. A secret gear table does not achieve that: known plaintext reveals it
//! (IACR ePrint 2025/532, 2025/558). Here a position is a boundary if
//! `AES-128(k, H_r(window)) < threshold`, where `H_r` is the polynomial hash of the last 64
//! bytes over GF(2^52 - 47) at a secret point `r`. `H_r` collides on two given windows with
//! probability at most 64 / (2^52 - 47); but for collisions the AES outputs are those of a
//! random function of the window, so sizes reveal only which windows are equal, and that
//! deduplication reveals anyway. The field is chosen so that eight lanes of 52-bit
//! multiply-add evaluate it without tables, in constant time. See
//! `docs/decisions/0004-chunker.md`.
//!
//! This is the scalar reference. **Cut points are a storage format**: golden vectors pin them.

use aes::Aes128;
use aes::cipher::{Array, BlockCipherEncrypt, KeyInit};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Number of this chunker in a snapshot's root page.
pub const CHUNKER_ID: u16 = 1;

/// No chunk but a file's last is shorter.
pub const MIN: usize = 128 << 10;
/// Where boundaries become sixteen times likelier (normalised chunking, Xia et al., FAST '16).
pub const NORMAL: usize = 512 << 10;
/// No chunk is longer.
pub const MAX: usize = 2 << 20;

/// Bytes that decide a boundary.
const WINDOW: usize = 64;
/// The field's prime, 2^52 - 47.
const P: u64 = (1 << 52) - 47;
/// Below [`NORMAL`]: one position in 2^21.
const STRICT: u64 = 1 << (64 - 21);
/// From [`NORMAL`] on: one position in 2^17.
const LOOSE: u64 = 1 << (64 - 17);
/// Positions whose hashes are encrypted together, so that the cipher's pipeline is full.
const BATCH: usize = 32;

/// Cuts byte streams under one secret.
#[derive(ZeroizeOnDrop)]
pub struct Chunker {
    /// The secret point.
    r: u64,
    /// `-(r^WINDOW)`: takes the oldest byte out of the hash.
    out: u64,
    cipher: Aes128,
}

impl Chunker {
    /// The chunker of a dedup domain's chunker secret.
    pub fn new(secret: &[u8; 32]) -> Self {
        let mut material = Zeroizing::new([0; 24]);
        let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 chunker v1");
        hasher.update(secret);
        hasher.finalize_xof().fill(&mut *material);
        let (point, key) = material.split_at(8);
        let mut point: [u8; 8] = point.try_into().expect("split at 8");
        // The bias of the reduction is below 2^-11 of a uniform choice over 2^52 points.
        let r = u64::from_le_bytes(point) % (P - 1) + 1;
        point.zeroize();
        let mut out = 1;
        for _ in 0..WINDOW {
            out = multiply_add(out, r, 0);
        }
        let key = Array::try_from(key).expect("24 - 8 bytes");
        Self { r, out: P - out, cipher: Aes128::new(&key) }
    }

    /// Length of the first chunk of `data`, which starts at a boundary and holds [`MAX`] bytes
    /// or everything up to the end of the stream.
    pub fn cut(&self, data: &[u8]) -> usize {
        let limit = data.len().min(MAX);
        if limit <= MIN {
            return limit;
        }
        let mut hash = 0;
        for &byte in &data[MIN - WINDOW..MIN] {
            hash = multiply_add(hash, self.r, u64::from(byte) + 1);
        }
        let mut blocks = [Array::from([0; 16]); BATCH];
        // `end` is the chunk's length if the boundary stands behind the window that is hashed.
        let mut end = MIN;
        while end < limit {
            let n = BATCH.min(limit - end);
            for (i, block) in blocks[..n].iter_mut().enumerate() {
                block.fill(0);
                block[..8].copy_from_slice(&hash.to_le_bytes());
                let (old, new) = (data[end + i - WINDOW], data[end + i]);
                // Off the critical path: does not depend on the hash.
                let input = multiply_add(self.out, u64::from(old) + 1, u64::from(new) + 1);
                hash = multiply_add(hash, self.r, input);
            }
            self.cipher.encrypt_blocks(&mut blocks[..n]);
            for (i, block) in blocks[..n].iter().enumerate() {
                let value = u64::from_le_bytes(block[..8].try_into().expect("8 of 16 bytes"));
                let threshold = if end + i < NORMAL { STRICT } else { LOOSE };
                if value < threshold {
                    return end + i;
                }
            }
            end += n;
        }
        limit
    }
}

/// `a * b + c` in the field, fully reduced; `a`, `b`, `c` below 2^52.
fn multiply_add(a: u64, b: u64, c: u64) -> u64 {
    const MASK: u64 = (1 << 52) - 1;
    let x = u128::from(a) * u128::from(b) + u128::from(c);
    // 2^52 = 47 (mod P), twice: below 2^105, then below 2^59, then below 2^52 + 2^13.
    let x = (x as u64 & MASK) + 47 * ((x >> 52) as u64);
    let x = (x & MASK) + 47 * (x >> 52);
    if x >= P { x - P } else { x }
}

impl std::fmt::Debug for Chunker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Chunker(..)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The first `n` bytes of BLAKE3's output stream for `seed`.
    fn stream(seed: &[u8], n: usize) -> Vec<u8> {
        let mut out = vec![0; n];
        blake3::Hasher::new().update(seed).finalize_xof().fill(&mut out);
        out
    }

    fn cuts(secret: u8, mut data: &[u8]) -> Vec<usize> {
        let chunker = Chunker::new(&[secret; 32]);
        let mut out = Vec::new();
        while !data.is_empty() {
            let n = chunker.cut(data);
            out.push(n);
            data = &data[n..];
        }
        out
    }

    /// The format, pinned: `docs/vectors/chunker.json` is checked by the second implementation.
    #[test]
    fn golden_cut_points() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/chunker.json");
        let data = stream(b"seawall chunker vector", 8 << 20);
        // A deliberate change of format is written down anew with SEAWALL_BLESS=1.
        if std::env::var_os("SEAWALL_BLESS").is_some() {
            let vector = serde_json::json!({
                "secret": hex::encode([7; 32]), "seed": "seawall chunker vector",
                "stream_bytes": 8 << 20, "lengths": cuts(7, &data),
            });
            let text = serde_json::to_string_pretty(&vector).expect("JSON") + "\n";
            std::fs::write(path, text).expect("written");
        }
        let text = std::fs::read_to_string(path).expect("the vector");
        let vector: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let expected: Vec<usize> =
            serde_json::from_value(vector["lengths"].clone()).expect("numbers");
        assert_eq!(cuts(7, &data), expected);
    }

    /// The window's hash straight from its definition.
    fn window_hash(r: u64, window: &[u8]) -> u64 {
        let term = |acc: u128, &b: &u8| (acc * u128::from(r) + u128::from(b) + 1) % u128::from(P);
        window.iter().fold(0u128, term) as u64
    }

    #[test]
    fn rolling_equals_the_definition() {
        let chunker = Chunker::new(&[3; 32]);
        let data = stream(b"rolling", MAX);
        let n = chunker.cut(&data);
        let expected = (MIN..MAX).find(|&end| {
            let mut block = Array::from([0; 16]);
            let hash = window_hash(chunker.r, &data[end - WINDOW..end]);
            block[..8].copy_from_slice(&hash.to_le_bytes());
            chunker.cipher.encrypt_block(&mut block);
            let value = u64::from_le_bytes(block[..8].try_into().expect("8 bytes"));
            value < if end < NORMAL { STRICT } else { LOOSE }
        });
        assert_eq!(Some(n), expected.or(Some(MAX)));
    }

    #[test]
    fn lengths_keep_their_bounds_and_mean() {
        let data = stream(b"mean", 64 << 20);
        let lengths = cuts(1, &data);
        assert_eq!(lengths.iter().sum::<usize>(), data.len());
        let (last, body) = lengths.split_last().expect("not empty");
        assert!(body.iter().all(|n| (MIN..=MAX).contains(n)) && *last <= MAX);
        let mean = data.len() / lengths.len();
        assert!((400 << 10..800 << 10).contains(&mean), "mean {mean}");
    }

    #[test]
    fn boundaries_move_with_content_and_depend_on_the_secret() {
        let data = stream(b"shift", 16 << 20);
        let mut shifted = b"inserted in front".to_vec();
        shifted.extend_from_slice(&data);
        let ends = |lengths: Vec<usize>| -> std::collections::BTreeSet<usize> {
            lengths
                .iter()
                .scan(0, |at, n| {
                    *at += n;
                    Some(*at)
                })
                .collect()
        };
        let a = ends(cuts(1, &data));
        let b: std::collections::BTreeSet<_> =
            ends(cuts(1, &shifted)).iter().filter_map(|e| e.checked_sub(17)).collect();
        assert!(a.intersection(&b).count() * 10 >= a.len() * 8, "most boundaries survive");
        let other = ends(cuts(2, &data));
        assert!(a.intersection(&other).count() <= 1, "another secret cuts elsewhere");
    }

    #[test]
    fn short_streams_are_one_chunk() {
        for n in [0, 1, MIN - 1, MIN] {
            assert_eq!(Chunker::new(&[1; 32]).cut(&vec![5; n]), n);
        }
        assert_eq!(
            Chunker::new(&[1; 32]).cut(&vec![0; MAX + 5]).min(MAX),
            cuts(1, &vec![0; MAX + 5])[0]
        );
    }

    proptest! {
        #[test]
        fn multiply_add_is_modular(a in 0..P, b in 0..P, c in 0..P) {
            let expected = (u128::from(a) * u128::from(b) + u128::from(c)) % u128::from(P);
            prop_assert_eq!(u128::from(multiply_add(a, b, c)), expected);
        }
    }
}
