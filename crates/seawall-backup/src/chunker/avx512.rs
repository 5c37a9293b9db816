//! The fast path with AVX-512 IFMA and VAES: thirty-two strips roll side by side, eight to a
//! register, and four blocks are encrypted by one instruction.
//!
//! The cipher is what costs: nine of its ten rounds have to be run for every byte. Two things
//! are saved. The last round only maps bytes to bytes, so the state before it is compared with
//! what would become zero. And of the round before only two columns of four matter, those that
//! lead to the two highest bytes of the number; so two blocks share it. What passes has those
//! two bytes zero, one position in 2^16, and is judged in full.
//!
//! Rejected: windows evaluated by doubling (six multiplications a byte instead of two); tables
//! of multiples of `r^64` (indexed by content, so not in constant time).

#![allow(unsafe_code)] // Entering a function that needs CPU features; see `Avx512::tile`.

use std::arch::x86_64::{
    __m512i, _mm512_add_epi64, _mm512_aesenc_epi128, _mm512_and_si512, _mm512_broadcast_i32x4,
    _mm512_madd52hi_epu64, _mm512_madd52lo_epu64, _mm512_mask_cmpeq_epi8_mask,
    _mm512_mask_shuffle_epi8, _mm512_min_epu64, _mm512_set1_epi64, _mm512_setzero_si512,
    _mm512_shuffle_epi8, _mm512_srli_epi64, _mm512_sub_epi64, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi64, _mm512_xor_si512,
};
use std::is_x86_feature_detected;

use zeroize::ZeroizeOnDrop;

use super::schedule::{Schedule, from_u128};
use super::{P, Tile, WINDOW, multiply_add};

/// Strips of a tile.
pub(super) const LANES: usize = 32;
/// Registers they fill.
const REGISTERS: usize = LANES / 8;
/// A number for each lane.
type Lanes = [__m512i; REGISTERS];
/// Longest strip.
pub(super) const STRIP: usize = 512;
/// Exclusive bound of the points this path can do: `hash * r >> 52` is below `r`, and with the
/// part of the byte that leaves, up to 255, it must stay below 2^52.
const POINTS: u64 = (1 << 52) - 256;

/// Bytes of a second block, swapped by halves, that take the places which columns 1 and 2 of the
/// shared round read; the first block keeps those which columns 0 and 3 read.
const SECOND: u64 = 0x639c_639c_639c_639c;
/// Bytes that decide: 3 and 14 of the first block; 11 and 6, the same ones swapped, of the second.
const DECIDING: u64 = 0x4848_4848_4848_4848;
/// Of [`DECIDING`], the one that reports the first block.
const FIRST_HIT: u64 = 0x0008_0008_0008_0008;
/// Of [`DECIDING`], the one that reports the second block.
const SECOND_HIT: u64 = 0x0800_0800_0800_0800;

/// Exists only where the CPU has what [`Avx512::tile`] needs.
#[derive(ZeroizeOnDrop)]
pub(super) struct Avx512 {
    r: u64,
    out: u64,
    schedule: Schedule,
}

impl Avx512 {
    /// Nothing on other CPUs, and nothing for one point in 2^44.
    pub(super) fn new(r: u64, out: u64, key: &[u8; 16]) -> Option<Self> {
        let can = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512ifma")
            && is_x86_feature_detected!("vaes")
            && r < POINTS;
        let schedule = Schedule::new(key).filter(|_| can)?;
        Some(Self { r, out, schedule })
    }

    /// The first boundary in `tile`, whose strips are a multiple of 8 long.
    pub(super) fn tile(&self, tile: &Tile<'_>) -> Option<usize> {
        // SAFETY: `new` gives a value only if the CPU has the four features.
        unsafe { self.roll_and_test(tile) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512ifma,vaes")]
    fn roll_and_test(&self, tile: &Tile<'_>) -> Option<usize> {
        let field = Field::new(self.r, self.out);
        let cipher = Cipher::new(&self.schedule);
        let strips: [&[u8]; LANES] = std::array::from_fn(|lane| tile.strip(lane));
        let picks: [__m512i; 8] = std::array::from_fn(|i| pick(i));
        // The last window's bytes, eight of each strip at a time.
        let mut window = [[_mm512_setzero_si512(); REGISTERS]; WINDOW / 8];
        let mut here = [_mm512_setzero_si512(); REGISTERS];
        for (i, eight) in window.iter_mut().enumerate() {
            *eight = eight_bytes(&strips, 8 * i);
            for pick in picks {
                here = field.take_in(here, *eight, pick);
            }
        }
        let mut best = None;
        let mut hashes = [here; 8];
        for eight in 0..tile.strip / 8 {
            let old = window[eight % window.len()];
            let new = eight_bytes(&strips, WINDOW + 8 * eight);
            window[eight % window.len()] = new;
            // First all hashes, then all ciphers: mixed, they need more registers than there are.
            for (step, pick) in hashes.iter_mut().zip(picks) {
                *step = here;
                here = field.roll(here, old, new, pick);
            }
            for (i, step) in hashes.iter().enumerate() {
                if cipher.hits(*step) != 0 {
                    tile.judge(8 * eight + i, &to_array(*step), &mut best);
                }
            }
        }
        best
    }
}

/// Constants of the rolling hash.
struct Field {
    r: __m512i,
    out: __m512i,
    /// What the `+ 1` of the byte that enters and of the one that leaves amount to.
    ones: __m512i,
    one: __m512i,
    fold: __m512i,
    low: __m512i,
    p: __m512i,
}

impl Field {
    #[target_feature(enable = "avx512f")]
    fn new(r: u64, out: u64) -> Self {
        let all = |x: u64| _mm512_set1_epi64(x.cast_signed());
        Self {
            r: all(r),
            out: all(out),
            ones: all(multiply_add(out, 1, 1)),
            one: all(1),
            fold: all(47),
            low: all((1 << 52) - 1),
            p: all(P),
        }
    }

    /// All hashes with one more byte: the one that `pick` finds in `new`.
    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    #[inline]
    fn take_in(&self, mut hashes: Lanes, new: Lanes, pick: __m512i) -> Lanes {
        for k in 0..REGISTERS {
            let low = _mm512_add_epi64(_mm512_shuffle_epi8(new[k], pick), self.one);
            hashes[k] = self.advance(hashes[k], low, _mm512_setzero_si512());
        }
        hashes
    }

    /// All hashes one byte further: the bytes that `pick` finds in `old` and `new`.
    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    #[inline]
    fn roll(&self, mut hashes: Lanes, old: Lanes, new: Lanes, pick: __m512i) -> Lanes {
        for k in 0..REGISTERS {
            let old = _mm512_shuffle_epi8(old[k], pick);
            let low = _mm512_add_epi64(_mm512_shuffle_epi8(new[k], pick), self.ones);
            let low = _mm512_madd52lo_epu64(low, old, self.out);
            let high = _mm512_madd52hi_epu64(_mm512_setzero_si512(), old, self.out);
            hashes[k] = self.advance(hashes[k], low, high);
        }
        hashes
    }

    /// `hash * r + low + 2^52 * high`, fully reduced; `low` below 2^53 + 2^8, `high` below 2^8.
    #[target_feature(enable = "avx512f,avx512ifma")]
    #[inline]
    fn advance(&self, hash: __m512i, low: __m512i, high: __m512i) -> __m512i {
        // Now low is below 3 * 2^52 + 2^8, high below r + 2^8, so below 2^52.
        let low = _mm512_madd52lo_epu64(low, hash, self.r);
        let high = _mm512_madd52hi_epu64(high, hash, self.r);
        // 2^52 = 47 (mod P): below 2^54 + 2^8, and what 47 * high has above bit 52, below 47.
        let low = _mm512_madd52lo_epu64(low, high, self.fold);
        let high = _mm512_madd52hi_epu64(_mm512_srli_epi64::<52>(low), high, self.fold);
        // Once more: below 2^52 + 47 * 51, so one subtraction is enough.
        let low = _mm512_madd52lo_epu64(_mm512_and_si512(low, self.low), high, self.fold);
        _mm512_min_epu64(low, _mm512_sub_epi64(low, self.p))
    }
}

/// Round keys, four times side by side.
struct Cipher {
    /// Low and high halves of the first key, in all eight places.
    first: [__m512i; 2],
    rounds: [__m512i; 8],
    /// Of round 9, for columns 0, 3, 0, 3.
    shared: __m512i,
    before_zero: __m512i,
    /// Swaps the halves of each block.
    swap: __m512i,
}

impl Cipher {
    #[target_feature(enable = "avx512f")]
    fn new(schedule: &Schedule) -> Self {
        let four = |key: u128| _mm512_broadcast_i32x4(from_u128(key));
        let first = schedule.rounds[0];
        Self {
            first: [_mm512_set1_epi64(first as i64), _mm512_set1_epi64((first >> 64) as i64)],
            rounds: std::array::from_fn(|i| four(schedule.rounds[i + 1])),
            shared: four(schedule.shared()),
            before_zero: four(schedule.deciding()),
            swap: four(0x0706_0504_0302_0100_0f0e_0d0c_0b0a_0908),
        }
    }

    /// Not zero if one of the hashes leads to a number below 2^48.
    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    #[inline]
    fn hits(&self, hashes: Lanes) -> u64 {
        let (mut even, mut odd) = (hashes, hashes);
        for i in 0..REGISTERS {
            let low = _mm512_xor_si512(hashes[i], self.first[0]);
            even[i] = _mm512_unpacklo_epi64(low, self.first[1]);
            odd[i] = _mm512_unpackhi_epi64(low, self.first[1]);
        }
        for key in self.rounds {
            for i in 0..REGISTERS {
                even[i] = _mm512_aesenc_epi128(even[i], key);
                odd[i] = _mm512_aesenc_epi128(odd[i], key);
            }
        }
        let mut hits = 0;
        for i in 0..REGISTERS {
            let both = _mm512_mask_shuffle_epi8(even[i], SECOND, odd[i], self.swap);
            let both = _mm512_aesenc_epi128(both, self.shared);
            let equal = _mm512_mask_cmpeq_epi8_mask(DECIDING, both, self.before_zero);
            hits |= equal & (equal >> 11 & FIRST_HIT | equal << 5 & SECOND_HIT);
        }
        hits
    }
}

/// Eight bytes of each strip from `at` on.
#[target_feature(enable = "avx512f")]
#[inline]
fn eight_bytes(strips: &[&[u8]; LANES], at: usize) -> Lanes {
    let mut lanes = [0; LANES];
    for (lane, strip) in lanes.iter_mut().zip(strips) {
        *lane = u64::from_le_bytes(strip[at..at + 8].try_into().expect("eight bytes were taken"));
    }
    from_array(lanes)
}

/// Indices that move byte `i` of each eight to the lowest place and clear the others.
#[target_feature(enable = "avx512f")]
fn pick(i: usize) -> __m512i {
    const CLEARED: u128 = 0x8080_8080_8080_8008_8080_8080_8080_8000;
    let i = i as u128;
    _mm512_broadcast_i32x4(from_u128(CLEARED + (i | i << 64)))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn from_array(x: [u64; LANES]) -> Lanes {
    // SAFETY: the same bits; every pattern is a valid vector.
    unsafe { std::mem::transmute(x) }
}

#[target_feature(enable = "avx512f")]
fn to_array(x: Lanes) -> [u64; LANES] {
    // SAFETY: the same bits; every pattern is a valid array of integers.
    unsafe { std::mem::transmute(x) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Chunker, Path};
    use super::{Avx512, Cipher, Field, LANES, POINTS, from_array, pick, to_array};
    use crate::chunker::{P, multiply_add};

    type Bytes = [u8; LANES];

    #[target_feature(enable = "avx512f,avx512bw,avx512ifma")]
    fn rolled(r: u64, out: u64, hashes: [u64; LANES], old: Bytes, new: Bytes) -> [u64; LANES] {
        let bytes = |bytes: Bytes| from_array(bytes.map(|byte| u64::from(byte) << 24));
        to_array(Field::new(r, out).roll(from_array(hashes), bytes(old), bytes(new), pick(3)))
    }

    #[target_feature(enable = "avx512f,avx512bw,vaes")]
    fn hits(engine: &Avx512, hashes: [u64; LANES]) -> bool {
        Cipher::new(&engine.schedule).hits(from_array(hashes)) != 0
    }

    /// A number in the field or near its ends.
    fn element(end: u64) -> impl Strategy<Value = u64> {
        prop_oneof![0..end, 0u64..3, (end - 3)..end]
    }

    proptest! {
        #[test]
        fn rolling_is_that_of_the_field(
            r in element(POINTS),
            out in element(P),
            hashes in proptest::array::uniform32(element(P)),
            old in any::<[u8; 32]>(),
            new in proptest::array::uniform32(prop_oneof![Just(0), Just(0xff), any::<u8>()]),
        ) {
            if Avx512::new(r, out, &[0; 16]).is_none() {
                return Ok(());
            }
            // SAFETY: the CPU has the features, or there were no engine.
            let found = unsafe { rolled(r, out, hashes, old, new) };
            for i in 0..LANES {
                let input = multiply_add(out, u64::from(old[i]) + 1, u64::from(new[i]) + 1);
                prop_assert_eq!(found[i], multiply_add(hashes[i], r, input));
            }
        }
    }

    /// Each lane reports exactly the hashes that lead below 2^48.
    #[test]
    fn the_coarse_test_is_exact() {
        let Some(engine) = Avx512::new(3, 5, &[8; 16]) else { return };
        let reference = Chunker::from_parts(3, &[8; 16], Path::Scalar).expect("everywhere");
        let (passing, failing): (Vec<u64>, Vec<u64>) =
            (0..1 << 19).partition(|&hash| reference.number(hash) < 1 << 48);
        assert!(passing.len() > 3);
        for &hash in &passing {
            for place in 0..LANES {
                let mut hashes = [failing[0]; LANES];
                hashes[place] = hash;
                // SAFETY: the CPU has the features, or there were no engine.
                assert!(unsafe { hits(&engine, hashes) }, "{hash} at {place}");
            }
        }
        for group in failing.chunks_exact(LANES) {
            // SAFETY: as above.
            assert!(!unsafe { hits(&engine, group.try_into().expect("as many as lanes")) });
        }
    }
}
