//! The fast path with AES-NI: eight strips roll side by side in general registers.
//!
//! One strip alone waits for its own multiplication at each byte; eight hide that, and fill the
//! cipher's pipeline. AVX2 does not help the hash: it has no 64-bit multiplication, while the
//! scalar one runs on ports the cipher leaves free.

#![allow(unsafe_code)] // Entering a function that needs CPU features; see `AesNi::tile`.

use std::arch::x86_64::{
    __m128i, _mm_aesdeclast_si128, _mm_aesenc_si128, _mm_aeskeygenassist_si128, _mm_and_si128,
    _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x,
    _mm_setzero_si128, _mm_shuffle_epi32, _mm_slli_si128, _mm_srli_si128, _mm_unpackhi_epi64,
    _mm_xor_si128,
};
use std::is_x86_feature_detected;

use zeroize::ZeroizeOnDrop;

use super::{P, Tile, WINDOW, multiply_add};

/// Strips of a tile.
pub(super) const LANES: usize = 8;
/// Longest strip.
pub(super) const STRIP: usize = 1024;
/// The byte that tells whether it and the 11th after it, 14, are those that the last round turns
/// into zeros: they become bytes 7 and 6 of the block, the highest of the number.
const HIT: i32 = 1 << 3;

/// Round keys of AES-128.
#[derive(ZeroizeOnDrop)]
pub(super) struct Schedule {
    /// Keys of the first addition and of rounds 1 to 9.
    pub(super) rounds: [u128; 10],
    /// The state before round 10 for which the block is zero.
    pub(super) before_zero: u128,
}

/// Exists only where the CPU has AES-NI and BMI2, as all with AVX2 have.
#[derive(ZeroizeOnDrop)]
pub(super) struct AesNi {
    r: u64,
    out: u64,
    schedule: Schedule,
}

impl AesNi {
    pub(super) fn new(r: u64, out: u64, key: &[u8; 16]) -> Option<Self> {
        let schedule = Schedule::new(key).filter(|_| is_x86_feature_detected!("bmi2"))?;
        Some(Self { r, out, schedule })
    }

    /// The first boundary in `tile`.
    pub(super) fn tile(&self, tile: &Tile<'_>) -> Option<usize> {
        // SAFETY: `new` gives a value only if the CPU has both features.
        unsafe { self.roll_and_test(tile) }
    }

    #[target_feature(enable = "aes,bmi2")]
    fn roll_and_test(&self, tile: &Tile<'_>) -> Option<usize> {
        let keys = self.schedule.rounds.map(|key| from_u128(key));
        let before_zero = from_u128(self.schedule.before_zero);
        let strips: [&[u8]; LANES] = std::array::from_fn(|lane| tile.strip(lane));
        let mut here = [0; LANES];
        for i in 0..WINDOW {
            for (hash, strip) in here.iter_mut().zip(strips) {
                *hash = multiply_add(*hash, self.r, u64::from(strip[i]) + 1);
            }
        }
        let mut best = None;
        let mut hashes = [here; 8];
        for eight in (0..tile.strip).step_by(8) {
            // Four lanes at a time hide the multiplications' latency; more need more registers.
            for lane in (0..LANES).step_by(4) {
                let four = [lane, lane + 1, lane + 2, lane + 3];
                let old = four.map(|lane| eight_bytes(strips[lane], eight));
                let new = four.map(|lane| eight_bytes(strips[lane], eight + WINDOW));
                let mut rolled = four.map(|lane| here[lane]);
                for (i, step) in hashes.iter_mut().enumerate() {
                    for k in 0..4 {
                        step[lane + k] = rolled[k].min(rolled[k].wrapping_sub(P));
                        rolled[k] = self.roll(rolled[k], old[k][i], new[k][i]);
                    }
                }
                here[lane..lane + 4].copy_from_slice(&rolled);
            }
            for (i, step) in hashes.iter().enumerate() {
                if any_hit(&keys, before_zero, *step) {
                    tile.judge(eight + i, step, &mut best);
                }
            }
        }
        best
    }

    /// The hash one byte further: given and returned below 2^52 + 2^14, one subtraction of [`P`]
    /// short of fully reduced.
    #[inline]
    fn roll(&self, hash: u64, old: u8, new: u8) -> u64 {
        const MASK: u64 = (1 << 52) - 1;
        // `(hash * r) << 12`, so that the halves of 64 bits are those above and below bit 52.
        let x = u128::from(hash) * u128::from(self.r << 12);
        // `out * (old + 1) + (new + 1)`, below 2^60 + 2^9.
        let input = self.out * u64::from(old) + u64::from(new) + (self.out + 1);
        // 2^52 = 47 (mod P), twice: below 2^52 + 2^58 + 2^60 + 2^15, then below 2^52 + 2^14.
        let x = ((x as u64) >> 12) + 47 * ((x >> 64) as u64) + input;
        (x & MASK) + 47 * (x >> 52)
    }
}

/// Whether one of the hashes leads to a number below 2^48.
#[target_feature(enable = "aes")]
#[inline]
fn any_hit(keys: &[__m128i; 10], before_zero: __m128i, hashes: [u64; LANES]) -> bool {
    let mut blocks = [keys[0]; LANES];
    for lane in 0..LANES {
        blocks[lane] = _mm_xor_si128(_mm_set_epi64x(0, hashes[lane].cast_signed()), keys[0]);
    }
    for key in &keys[1..] {
        for block in &mut blocks {
            *block = _mm_aesenc_si128(*block, *key);
        }
    }
    let mut any = _mm_setzero_si128();
    for block in blocks {
        let equal = _mm_cmpeq_epi8(block, before_zero);
        any = _mm_or_si128(any, _mm_and_si128(equal, _mm_srli_si128::<11>(equal)));
    }
    _mm_movemask_epi8(any) & HIT != 0
}

fn eight_bytes(strip: &[u8], at: usize) -> &[u8; 8] {
    strip[at..at + 8].try_into().expect("eight bytes were taken")
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
    u128::from(high.cast_unsigned()) << 64 | u128::from(low.cast_unsigned())
}
