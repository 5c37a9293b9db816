//! The fast path with AES-NI: eight strips roll side by side in general registers.
//!
//! One strip alone waits for its own multiplication at each byte; eight hide that, and fill the
//! cipher's pipeline. AVX2 does not help the hash: it has no 64-bit multiplication, while the
//! scalar one runs on ports the cipher leaves free.

#![allow(unsafe_code)] // Entering a function that needs CPU features; see `AesNi::tile`.

use std::arch::x86_64::{
    __m128i, _mm_aesdeclast_si128, _mm_aesenc_si128, _mm_aeskeygenassist_si128, _mm_cmpeq_epi8,
    _mm_cvtsi128_si64, _mm_movemask_epi8, _mm_set_epi64x, _mm_setzero_si128, _mm_shuffle_epi32,
    _mm_slli_si128, _mm_unpackhi_epi64, _mm_xor_si128,
};
use std::is_x86_feature_detected;

use zeroize::ZeroizeOnDrop;

use super::{P, Tile, WINDOW, multiply_add};

/// Strips of a tile.
pub(super) const LANES: usize = 8;
/// What [`_mm_movemask_epi8`] shows where bytes 3 and 14 of the state before the last round are
/// those that it turns into zeros at bytes 7 and 6 of the block.
const HIT: i32 = 1 << 3 | 1 << 14;

/// Round keys of AES-128.
#[derive(ZeroizeOnDrop)]
pub(super) struct Schedule {
    /// Keys of the first addition and of rounds 1 to 9.
    pub(super) rounds: [u128; 10],
    /// The state before round 10 for which the block is zero.
    pub(super) before_zero: u128,
}

/// Exists only where the CPU has AES-NI.
#[derive(ZeroizeOnDrop)]
pub(super) struct AesNi {
    r: u64,
    out: u64,
    schedule: Schedule,
}

impl AesNi {
    pub(super) fn new(r: u64, out: u64, key: &[u8; 16]) -> Option<Self> {
        let schedule = Schedule::new(key)?;
        Some(Self { r, out, schedule })
    }

    /// The first boundary in `tile`.
    pub(super) fn tile(&self, tile: &Tile<'_>) -> Option<usize> {
        // SAFETY: a value has a schedule, and that exists only if the CPU has AES-NI.
        unsafe { self.roll_and_test(tile) }
    }

    #[target_feature(enable = "aes")]
    fn roll_and_test(&self, tile: &Tile<'_>) -> Option<usize> {
        let keys = self.schedule.rounds.map(|key| from_u128(key));
        let before_zero = from_u128(self.schedule.before_zero);
        let strips: [&[u8]; LANES] = std::array::from_fn(|lane| tile.strip(lane));
        let mut hashes = strips.map(|strip| start(self.r, strip));
        let mut best = None;
        for step in 0..tile.strip {
            let mut blocks =
                hashes.map(|hash| _mm_xor_si128(_mm_set_epi64x(0, hash as i64), keys[0]));
            for key in &keys[1..] {
                for block in &mut blocks {
                    *block = _mm_aesenc_si128(*block, *key);
                }
            }
            let mut any = false;
            for block in blocks {
                any |= _mm_movemask_epi8(_mm_cmpeq_epi8(block, before_zero)) & HIT == HIT;
            }
            if any {
                tile.judge(step, &hashes, &mut best);
            }
            for (hash, strip) in hashes.iter_mut().zip(strips) {
                *hash = self.roll(*hash, strip[step], strip[step + WINDOW]);
            }
        }
        best
    }

    /// The hash one byte further, fully reduced.
    #[inline]
    fn roll(&self, hash: u64, old: u8, new: u8) -> u64 {
        const MASK: u64 = (1 << 52) - 1;
        // `(hash * r) << 12`, so that the halves of 64 bits are those above and below bit 52.
        let x = u128::from(hash) * u128::from(self.r << 12);
        // Below 2^60 + 2^9: the byte is at most 2^8, the factor below 2^52.
        let input = self.out * (u64::from(old) + 1) + (u64::from(new) + 1);
        // 2^52 = 47 (mod P), twice: below 2^52 + 2^58 + 2^60 + 2^9, then below 2^52 + 2^14.
        let x = ((x as u64) >> 12) + 47 * ((x >> 64) as u64) + input;
        let x = (x & MASK) + 47 * (x >> 52);
        x.min(x.wrapping_sub(P))
    }
}

/// The hash of a strip's first window.
pub(super) fn start(r: u64, strip: &[u8]) -> u64 {
    strip[..WINDOW].iter().fold(0, |hash, &byte| multiply_add(hash, r, u64::from(byte) + 1))
}

impl Schedule {
    /// Nothing where the CPU lacks AES-NI.
    pub(super) fn new(key: &[u8; 16]) -> Option<Self> {
        // SAFETY: the feature is there.
        is_x86_feature_detected!("aes").then(|| unsafe { Self::expand(key) })
    }

    /// FIPS 197, 5.2, by instructions: no table that the key would index.
    #[target_feature(enable = "aes")]
    fn expand(key: &[u8; 16]) -> Self {
        let k0 = from_u128(u128::from_le_bytes(*key));
        let k1 = next::<0x01>(k0);
        let k2 = next::<0x02>(k1);
        let k3 = next::<0x04>(k2);
        let k4 = next::<0x08>(k3);
        let k5 = next::<0x10>(k4);
        let k6 = next::<0x20>(k5);
        let k7 = next::<0x40>(k6);
        let k8 = next::<0x80>(k7);
        let k9 = next::<0x1b>(k8);
        let k10 = next::<0x36>(k9);
        let rounds = [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9].map(|key| to_u128(key));
        let before_zero = to_u128(_mm_aesdeclast_si128(k10, _mm_setzero_si128()));
        Self { rounds, before_zero }
    }
}

#[target_feature(enable = "aes")]
fn next<const RCON: i32>(key: __m128i) -> __m128i {
    let word = _mm_shuffle_epi32::<0xff>(_mm_aeskeygenassist_si128::<RCON>(key));
    let key = _mm_xor_si128(key, _mm_slli_si128::<4>(key));
    let key = _mm_xor_si128(key, _mm_slli_si128::<8>(key));
    _mm_xor_si128(key, word)
}

#[target_feature(enable = "sse2")]
pub(super) fn from_u128(x: u128) -> __m128i {
    _mm_set_epi64x((x >> 64) as i64, x as i64)
}

#[target_feature(enable = "sse2")]
fn to_u128(x: __m128i) -> u128 {
    let (low, high) = (_mm_cvtsi128_si64(x), _mm_cvtsi128_si64(_mm_unpackhi_epi64(x, x)));
    u128::from(high as u64) << 64 | u128::from(low as u64)
}
