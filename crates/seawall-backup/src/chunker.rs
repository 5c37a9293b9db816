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
//! The function here is the reference, for every CPU; `avx512` and `avx2` find the same cut
//! points faster. They share the shape of a [`Tile`]: a stretch is divided into strips that roll
//! side by side, and a position that passes a coarse test is judged as the reference does.
//! **Cut points are a storage format**: golden vectors pin them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod schedule;
#[cfg(test)]
mod tests;

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

/// Shortest strip that is worth its start, which takes [`WINDOW`] steps.
const SHORTEST_STRIP: usize = 64;

/// How boundaries are searched. All find the same ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Path {
    /// The reference: one hash after another.
    Scalar,
    /// Sixteen strips in vectors of 26-bit limbs, AES-NI.
    Avx2,
    /// Thirty-two strips in vectors of 52-bit multiply-add, VAES.
    Avx512,
}

impl Path {
    /// From the fastest to the slowest.
    pub const ALL: [Self; 3] = [Self::Avx512, Self::Avx2, Self::Scalar];
}

/// Cuts byte streams under one secret.
#[derive(ZeroizeOnDrop)]
pub struct Chunker {
    /// The secret point.
    r: u64,
    /// `-(r^WINDOW)`: takes the oldest byte out of the hash.
    out: u64,
    cipher: Aes128,
    engine: Engine,
}

/// A [`Path`] with its keys.
#[derive(ZeroizeOnDrop)]
enum Engine {
    Scalar,
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512),
}

/// Positions `at` to `at + lanes * strip`, lane by lane. All lanes are searched side by side, so
/// what is tested behind a boundary is wasted: strips are not long.
#[cfg(target_arch = "x86_64")]
struct Tile<'a> {
    chunker: &'a Chunker,
    data: &'a [u8],
    at: usize,
    strip: usize,
}

#[cfg(target_arch = "x86_64")]
impl<'a> Tile<'a> {
    /// The bytes of a lane: the window before its first position, then one byte for each.
    fn strip(&self, lane: usize) -> &'a [u8] {
        let at = self.at + lane * self.strip;
        &self.data[at - WINDOW..at + self.strip]
    }

    /// Judges the lanes' positions at `step` in full; `best` becomes the first boundary so far.
    #[cold]
    #[inline(never)]
    fn judge(&self, step: usize, hashes: &[u64], best: &mut Option<usize>) {
        for (lane, &hash) in hashes.iter().enumerate() {
            let end = self.at + lane * self.strip + step;
            let earlier = best.is_none_or(|best| end < best);
            if earlier && self.chunker.number(hash) < threshold(end) {
                *best = Some(end);
            }
        }
    }
}

impl Chunker {
    /// The chunker of a dedup domain's chunker secret, on the fastest path there is.
    pub fn new(secret: &[u8; 32]) -> Self {
        let fastest = Path::ALL.into_iter().find_map(|path| Self::with_path(secret, path));
        fastest.expect("the reference is there on every CPU")
    }

    /// The same on a given path; nothing if this CPU cannot take it.
    pub fn with_path(secret: &[u8; 32], path: Path) -> Option<Self> {
        let mut material = Zeroizing::new([0; 24]);
        let mut hasher = blake3::Hasher::new_derive_key("seawall 2026-11 chunker v1");
        hasher.update(secret);
        hasher.finalize_xof().fill(&mut *material);
        let (point, key) = material.split_at(8);
        let mut point: [u8; 8] = point.try_into().expect("split at 8");
        // The bias of the reduction is below 2^-11 of a uniform choice over 2^52 points.
        let r = u64::from_le_bytes(point) % (P - 1) + 1;
        point.zeroize();
        let key = Zeroizing::new(key.try_into().expect("24 - 8 bytes"));
        Self::from_parts(r, &key, path)
    }

    fn from_parts(r: u64, key: &[u8; 16], path: Path) -> Option<Self> {
        let out = P - (0..WINDOW).fold(1, |power, _| multiply_add(power, r, 0));
        let engine = match path {
            Path::Scalar => Engine::Scalar,
            #[cfg(target_arch = "x86_64")]
            Path::Avx2 => Engine::Avx2(avx2::Avx2::new(r, out, key)?),
            #[cfg(target_arch = "x86_64")]
            Path::Avx512 => Engine::Avx512(avx512::Avx512::new(r, out, key)?),
            #[cfg(not(target_arch = "x86_64"))]
            _ => return None,
        };
        Some(Self { r, out, cipher: Aes128::new(key.into()), engine })
    }

    /// Length of the first chunk of `data`, which starts at a boundary and holds [`MAX`] bytes
    /// or everything up to the end of the stream.
    pub fn cut(&self, data: &[u8]) -> usize {
        let limit = data.len().min(MAX);
        if limit <= MIN {
            return limit;
        }
        match &self.engine {
            Engine::Scalar => self.scan(data, MIN, limit),
            #[cfg(target_arch = "x86_64")]
            Engine::Avx2(engine) => {
                self.scan_tiles(data, limit, (avx2::LANES, avx2::STRIP), |t| engine.tile(t))
            }
            #[cfg(target_arch = "x86_64")]
            Engine::Avx512(engine) => {
                self.scan_tiles(data, limit, (avx512::LANES, avx512::STRIP), |t| engine.tile(t))
            }
        }
    }

    /// The first boundary between [`MIN`] and `limit`, tile by tile; the reference does the rest
    /// that is too short for one.
    #[cfg(target_arch = "x86_64")]
    fn scan_tiles(
        &self,
        data: &[u8],
        limit: usize,
        (lanes, longest): (usize, usize),
        search: impl Fn(&Tile<'_>) -> Option<usize>,
    ) -> usize {
        let mut at = MIN;
        loop {
            let strip = ((limit - at) / lanes).min(longest) / 8 * 8;
            if strip < SHORTEST_STRIP {
                return self.scan(data, at, limit);
            }
            if let Some(end) = search(&Tile { chunker: self, data, at, strip }) {
                return end;
            }
            at += lanes * strip;
        }
    }

    /// The first boundary from `end` on, or `limit`.
    fn scan(&self, data: &[u8], mut end: usize, limit: usize) -> usize {
        let mut hash = 0;
        for &byte in &data[end - WINDOW..end] {
            hash = multiply_add(hash, self.r, u64::from(byte) + 1);
        }
        let mut blocks = [Array::from([0; 16]); BATCH];
        // `end` is the chunk's length if the boundary stands behind the window that is hashed.
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
                if number_of(block) < threshold(end + i) {
                    return end + i;
                }
            }
            end += n;
        }
        limit
    }

    /// The number that decides behind a window with this hash.
    #[cfg(target_arch = "x86_64")]
    fn number(&self, hash: u64) -> u64 {
        let mut block = Array::from([0; 16]);
        block[..8].copy_from_slice(&hash.to_le_bytes());
        self.cipher.encrypt_block(&mut block);
        number_of(&block)
    }
}

/// An encrypted hash as a number.
fn number_of(block: &[u8]) -> u64 {
    u64::from_le_bytes(block[..8].try_into().expect("8 of 16 bytes"))
}

/// Below this, a number makes a boundary at `end`.
const fn threshold(end: usize) -> u64 {
    if end < NORMAL { STRICT } else { LOOSE }
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
