//! The fast path with AVX2 and AES-NI: sixteen strips roll side by side, four to a register.
//!
//! AVX2 multiplies 32-bit numbers only, so hashes are two limbs of 26 bits: four products for
//! `hash * r`, two for the byte that leaves. That is still less than the cipher costs, which on
//! most CPUs runs beside it. As in `avx512`, the last round is replaced by a comparison and two
//! blocks share the ninth.
//!
//! Rejected: the hash in general registers, where a 64-bit multiplication does it (half as
//! fast: one hash at a time, and each has to be moved over to the cipher).

#![allow(unsafe_code)] // Entering a function that needs CPU features; see `Avx2::tile`.

use std::arch::x86_64::{
    __m128i, __m256i, _mm_aesenc_si128, _mm_blendv_epi8, _mm_cmpeq_epi8, _mm_min_epu8,
    _mm_movemask_epi8, _mm_or_si128, _mm_setzero_si128, _mm_shuffle_epi8, _mm256_add_epi64,
    _mm256_and_si256, _mm256_blendv_pd, _mm256_broadcastsi128_si256, _mm256_castpd_si256,
    _mm256_castsi256_pd, _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_mul_epu32,
    _mm256_set_epi64x, _mm256_set1_epi64x, _mm256_setzero_si256, _mm256_shuffle_epi8,
    _mm256_slli_epi64, _mm256_srli_epi64, _mm256_sub_epi64, _mm256_unpackhi_epi64,
    _mm256_unpacklo_epi64, _mm256_xor_si256,
};
use std::hint::black_box;
use std::is_x86_feature_detected;

use zeroize::ZeroizeOnDrop;

use super::schedule::{Schedule, from_u128};
use super::{P, Tile, WINDOW};

/// Strips of a tile.
pub(super) const LANES: usize = 16;
/// Registers they fill.
const REGISTERS: usize = LANES / 4;
/// A number for each lane.
type Lanes = [__m256i; REGISTERS];
/// Longest strip.
pub(super) const STRIP: usize = 1024;
/// Bits of a limb.
const LIMB: i32 = 26;

/// Exists only where the CPU has what [`Avx2::tile`] needs.
#[derive(ZeroizeOnDrop)]
pub(super) struct Avx2 {
    r: u64,
    out: u64,
    schedule: Schedule,
}

impl Avx2 {
    pub(super) fn new(r: u64, out: u64, key: &[u8; 16]) -> Option<Self> {
        let schedule = Schedule::new(key).filter(|_| is_x86_feature_detected!("avx2"))?;
        Some(Self { r, out, schedule })
    }

    /// The first boundary in `tile`, whose strips are a multiple of 8 long.
    pub(super) fn tile(&self, tile: &Tile<'_>) -> Option<usize> {
        // SAFETY: `new` gives a value only if the CPU has both features.
        unsafe { self.roll_and_test(tile) }
    }

    #[target_feature(enable = "aes,avx2")]
    fn roll_and_test(&self, tile: &Tile<'_>) -> Option<usize> {
        let field = Field::new(self.r, self.out);
        let keys = std::array::from_fn(|i| from_u128(self.schedule.rounds[i + 1]));
        let cipher = Cipher::new(&self.schedule, &keys);
        let strips: [&[u8]; LANES] = std::array::from_fn(|lane| tile.strip(lane));
        let picks: [__m256i; 8] = std::array::from_fn(|i| pick(i));
        // The last window's bytes, eight of each strip at a time.
        let mut window = [[_mm256_setzero_si256(); REGISTERS]; WINDOW / 8];
        let mut here = [_mm256_setzero_si256(); REGISTERS];
        for (i, eight) in window.iter_mut().enumerate() {
            *eight = eight_bytes(&strips, 8 * i);
            for pick in picks {
                field.take_in(&mut here, eight, pick);
            }
        }
        let mut best = None;
        let mut hashes = [here; 8];
        for eight in 0..tile.strip / 8 {
            let old = &mut window[eight % (WINDOW / 8)];
            let new = eight_bytes(&strips, WINDOW + 8 * eight);
            for (step, pick) in hashes.iter_mut().zip(picks) {
                field.roll(&mut here, step, old, &new, pick);
            }
            *old = new;
            for (i, step) in hashes.iter().enumerate() {
                if cipher.any_hit(*step) {
                    tile.judge(8 * eight + i, &to_array(*step), &mut best);
                }
            }
        }
        best
    }
}

/// Constants of the rolling hash. Limbs are low and high.
struct Field {
    r: [__m256i; 2],
    /// 47 times the high limb of `r`: what products of two high limbs come to below bit 52.
    r_folded: __m256i,
    out: [__m256i; 2],
    /// What the `+ 1` of the byte that enters and of the one that leaves amount to.
    ones: __m256i,
    one: __m256i,
    fold: __m256i,
    limb: __m256i,
    low: __m256i,
    p: __m256i,
}

impl Field {
    #[target_feature(enable = "avx2")]
    fn new(r: u64, out: u64) -> Self {
        let all = |x: u64| _mm256_set1_epi64x(x.cast_signed());
        let mask = (1 << LIMB) - 1;
        let limbs = |x: u64| [all(x & mask), all(x >> LIMB)];
        Self {
            r: limbs(r),
            r_folded: all(47 * (r >> LIMB)),
            out: limbs(out),
            ones: all(out + 1),
            one: all(1),
            fold: all(47),
            limb: all(mask),
            low: all((1 << 52) - 1),
            p: all(P),
        }
    }

    /// All hashes with one more byte: the one that `pick` finds in `new`.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn take_in(&self, hashes: &mut Lanes, new: &Lanes, pick: __m256i) {
        for k in 0..REGISTERS {
            let low = _mm256_add_epi64(_mm256_shuffle_epi8(new[k], pick), self.one);
            hashes[k] = self.advance(hashes[k], low, _mm256_setzero_si256());
        }
    }

    /// All hashes one byte further: the bytes that `pick` finds in `old` and `new`. What they were
    /// goes to `before`, fully reduced.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn roll(
        &self,
        hashes: &mut Lanes,
        before: &mut Lanes,
        old: &Lanes,
        new: &Lanes,
        pick: __m256i,
    ) {
        for k in 0..REGISTERS {
            before[k] = self.reduced(hashes[k]);
            let old = _mm256_shuffle_epi8(old[k], pick);
            let new = _mm256_add_epi64(_mm256_shuffle_epi8(new[k], pick), self.ones);
            let low = _mm256_add_epi64(new, _mm256_mul_epu32(old, self.out[0]));
            hashes[k] = self.advance(hashes[k], low, _mm256_mul_epu32(old, self.out[1]));
        }
    }

    /// `hash * r + low + 2^26 * middle`, given and returned below 2^52 + 2^12: one subtraction of
    /// [`P`] short of fully reduced. `low` below 2^53, `middle` below 2^34.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn advance(&self, hash: __m256i, low: __m256i, middle: __m256i) -> __m256i {
        // The low limb below 2^26, the high one at most 2^26.
        let h0 = _mm256_and_si256(hash, self.limb);
        let h1 = _mm256_srli_epi64::<LIMB>(hash);
        // Below 2^52, and 2^26 * 47 * 2^26, so below 2^58.
        let low = _mm256_add_epi64(low, _mm256_mul_epu32(h0, self.r[0]));
        let high = _mm256_mul_epu32(h1, self.r_folded);
        // Below 2^53 + 2^34.
        let middle = _mm256_add_epi64(middle, _mm256_mul_epu32(h0, self.r[1]));
        let middle = _mm256_add_epi64(middle, _mm256_mul_epu32(h1, self.r[0]));
        // 2^52 = 47 (mod P): the middle's upper part stands above bit 52.
        let upper = _mm256_mul_epu32(_mm256_srli_epi64::<LIMB>(middle), self.fold);
        let lower = _mm256_slli_epi64::<LIMB>(_mm256_and_si256(middle, self.limb));
        // Below 2^58 in all; once more, and what is above bit 52 adds less than 47 * 2^6.
        let x = _mm256_add_epi64(_mm256_add_epi64(low, high), _mm256_add_epi64(upper, lower));
        let above = _mm256_mul_epu32(_mm256_srli_epi64::<52>(x), self.fold);
        _mm256_add_epi64(_mm256_and_si256(x, self.low), above)
    }

    /// A hash as [`Field::advance`] returns it, fully reduced.
    #[target_feature(enable = "avx2")]
    #[inline]
    fn reduced(&self, hash: __m256i) -> __m256i {
        let less = _mm256_sub_epi64(hash, self.p);
        // Where that is negative, its top bit chooses what was.
        let (hash, less) = (_mm256_castsi256_pd(hash), _mm256_castsi256_pd(less));
        _mm256_castpd_si256(_mm256_blendv_pd(less, hash, less))
    }
}

/// Round keys.
struct Cipher<'a> {
    /// Low and high halves of the first key.
    first: [__m256i; 2],
    /// Of rounds 1 to 8. How many is hidden from the compiler: it would encrypt one block after the
    /// other, and the CPU cannot look far enough ahead to run them side by side.
    rounds: &'a [__m128i],
    /// Of round 9, for columns 0, 3, 0, 3, and such that bytes that decide become zero.
    shared: __m128i,
    /// Swaps the halves of a block.
    swap: __m128i,
    /// Bytes of a second block, swapped by halves, that take the places which columns 1 and 2 of
    /// the shared round read; the first block keeps those which columns 0 and 3 read.
    second: __m128i,
    /// Moves byte 14 to 3 and byte 6 to 11, where their partners are, and ones to all others.
    partners: __m128i,
}

impl<'a> Cipher<'a> {
    #[target_feature(enable = "aes,avx2")]
    fn new(schedule: &Schedule, rounds: &'a [__m128i; 8]) -> Self {
        let first = schedule.rounds[0];
        let both = |half: u64| _mm256_set1_epi64x(half.cast_signed());
        let second =
            [2, 3, 4, 7, 8, 9, 13, 14].iter().fold(0, |mask, i| mask | 0xff_u128 << (8 * i));
        Self {
            first: [both(first as u64), both((first >> 64) as u64)],
            rounds: black_box(&rounds[..]),
            shared: from_u128(schedule.shared() ^ schedule.deciding()),
            swap: from_u128(0x0706_0504_0302_0100_0f0e_0d0c_0b0a_0908),
            second: from_u128(second),
            partners: from_u128(0x8080_8080_0680_8080_8080_8080_0e80_8080),
        }
    }

    /// Whether one of the hashes leads to a number below 2^48.
    #[target_feature(enable = "aes,avx2")]
    #[inline]
    fn any_hit(&self, hashes: Lanes) -> bool {
        let mut least = from_u128(u128::MAX);
        for two in hashes.as_chunks::<2>().0 {
            least = _mm_min_epu8(least, self.distances(two));
        }
        let zeros = _mm_movemask_epi8(_mm_cmpeq_epi8(least, _mm_setzero_si128()));
        zeros & (1 << 3 | 1 << 11) != 0
    }

    /// Byte 3 or 11 is zero if one of the hashes leads to a number below 2^48. As many at once as
    /// keep the cipher busy and have room in registers.
    #[target_feature(enable = "aes,avx2")]
    #[inline]
    fn distances(&self, hashes: &[__m256i; 2]) -> __m128i {
        let mut blocks = [from_u128(0); 8];
        for (four, hashes) in blocks.as_chunks_mut::<4>().0.iter_mut().zip(hashes) {
            let low = _mm256_xor_si256(*hashes, self.first[0]);
            let even = _mm256_unpacklo_epi64(low, self.first[1]);
            let odd = _mm256_unpackhi_epi64(low, self.first[1]);
            *four = [
                _mm256_castsi256_si128(even),
                _mm256_castsi256_si128(odd),
                _mm256_extracti128_si256::<1>(even),
                _mm256_extracti128_si256::<1>(odd),
            ];
        }
        for key in self.rounds {
            for block in &mut blocks {
                *block = _mm_aesenc_si128(*block, *key);
            }
        }
        let mut least = from_u128(u128::MAX);
        for [first, second] in blocks.as_chunks::<2>().0 {
            let second = _mm_shuffle_epi8(*second, self.swap);
            let both = _mm_blendv_epi8(*first, second, self.second);
            let both = _mm_aesenc_si128(both, self.shared);
            let either = _mm_or_si128(both, _mm_shuffle_epi8(both, self.partners));
            least = _mm_min_epu8(least, either);
        }
        least
    }
}

/// Eight bytes of each strip from `at` on. Put together in registers: to load what was just stored
/// in smaller pieces, a CPU waits for the stores to leave its pipeline.
#[target_feature(enable = "avx2")]
#[inline]
fn eight_bytes(strips: &[&[u8]; LANES], at: usize) -> Lanes {
    let eight = |strip: &[u8]| {
        i64::from_le_bytes(strip[at..at + 8].try_into().expect("eight bytes were taken"))
    };
    let mut lanes = [_mm256_setzero_si256(); REGISTERS];
    for (lane, [a, b, c, d]) in lanes.iter_mut().zip(strips.as_chunks::<4>().0) {
        *lane = _mm256_set_epi64x(eight(d), eight(c), eight(b), eight(a));
    }
    lanes
}

/// Indices that move byte `i` of each eight to the lowest place and clear the others.
#[target_feature(enable = "avx2")]
fn pick(i: usize) -> __m256i {
    const CLEARED: u128 = 0x8080_8080_8080_8008_8080_8080_8080_8000;
    let i = i as u128;
    _mm256_broadcastsi128_si256(from_u128(CLEARED + (i | i << 64)))
}

#[cfg(test)]
#[target_feature(enable = "avx2")]
fn from_array(x: [u64; LANES]) -> Lanes {
    // SAFETY: the same bits; every pattern is a valid vector.
    unsafe { std::mem::transmute(x) }
}

#[target_feature(enable = "avx2")]
fn to_array(x: Lanes) -> [u64; LANES] {
    // SAFETY: the same bits; every pattern is a valid array of integers.
    unsafe { std::mem::transmute(x) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::schedule::from_u128;
    use super::super::{Chunker, Path};
    use super::{Avx2, Cipher, Field, LANES, from_array, pick, to_array};
    use crate::chunker::{P, multiply_add};

    /// Rolls once; returns the hashes before, as they are, and fully reduced.
    #[target_feature(enable = "avx2")]
    fn rolled(
        (r, out): (u64, u64),
        hashes: [u64; LANES],
        old: [u8; LANES],
        new: [u8; LANES],
    ) -> [[u64; LANES]; 3] {
        let field = Field::new(r, out);
        let bytes = |bytes: [u8; LANES]| from_array(bytes.map(|byte| u64::from(byte) << 24));
        let mut lanes = from_array(hashes);
        let mut before = lanes;
        field.roll(&mut lanes, &mut before, &bytes(old), &bytes(new), pick(3));
        [to_array(before), to_array(lanes), to_array(lanes.map(|lane| field.reduced(lane)))]
    }

    #[target_feature(enable = "aes,avx2")]
    fn any_hit(engine: &Avx2, hashes: [u64; LANES]) -> bool {
        let keys = std::array::from_fn(|i| from_u128(engine.schedule.rounds[i + 1]));
        Cipher::new(&engine.schedule, &keys).any_hit(from_array(hashes))
    }

    /// A number below `end` or near its ends.
    fn number(end: u64) -> impl Strategy<Value = u64> {
        prop_oneof![0..end, 0u64..3, (end - 3)..end]
    }

    const UNREDUCED: u64 = (1 << 52) + (1 << 12);

    proptest! {
        #[test]
        fn rolling_is_that_of_the_field(
            r in number(P),
            out in number(P),
            hashes in proptest::array::uniform16(number(UNREDUCED)),
            old in any::<[u8; LANES]>(),
            new in proptest::array::uniform16(prop_oneof![Just(0), Just(0xff), any::<u8>()]),
        ) {
            if Avx2::new(r, out, &[0; 16]).is_none() {
                return Ok(());
            }
            // SAFETY: the CPU has the features, or there were no engine.
            let [before, raw, reduced] = unsafe { rolled((r, out), hashes, old, new) };
            for i in 0..LANES {
                let input = multiply_add(out, u64::from(old[i]) + 1, u64::from(new[i]) + 1);
                prop_assert_eq!(reduced[i], multiply_add(hashes[i] % P, r, input));
                prop_assert!(raw[i] < UNREDUCED);
                prop_assert_eq!(before[i], hashes[i] % P);
            }
        }
    }

    /// Each lane reports exactly the hashes that lead below 2^48.
    #[test]
    fn the_coarse_test_is_exact() {
        let Some(engine) = Avx2::new(3, 5, &[8; 16]) else { return };
        let reference = Chunker::from_parts(3, &[8; 16], Path::Scalar).expect("everywhere");
        let (passing, failing): (Vec<u64>, Vec<u64>) =
            (0..1 << 19).partition(|&hash| reference.number(hash) < 1 << 48);
        assert!(passing.len() > 3);
        for &hash in &passing {
            for place in 0..LANES {
                let mut hashes = [failing[0]; LANES];
                hashes[place] = hash;
                // SAFETY: the CPU has the features, or there were no engine.
                assert!(unsafe { any_hit(&engine, hashes) }, "{hash} at {place}");
            }
        }
        for group in failing.chunks_exact(LANES) {
            // SAFETY: as above.
            assert!(!unsafe { any_hit(&engine, group.try_into().expect("as many as lanes")) });
        }
    }
}
