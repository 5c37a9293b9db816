//! A set of object ids in little memory, which may say yes to a few that are not in it.
//!
//! A Bloom filter in blocks of one cache line: the id chooses a block, and nine bits at a time eight
//! positions in it. Ids are uniform hashes, so parts of them serve; they are keyed with a salt, so
//! that what one run mistakes the next does not.

use seawall_base::ObjectId;

/// Bits for each id that is expected.
const BITS: u64 = 16;
/// Bits set by each id.
const PROBES: u32 = 7;

type Block = [u64; 8];

/// The filter. Never says no to an id that was added.
pub struct Mark {
    blocks: Vec<Block>,
    salt: [u64; 2],
}

impl Mark {
    /// Room for so many ids; more make it say yes more often.
    pub fn new(expected: u64, salt: [u8; 16]) -> Self {
        let blocks = (expected.saturating_mul(BITS) / 512 + 1) as usize;
        let (a, b) = (u128::from_le_bytes(salt) as u64, (u128::from_le_bytes(salt) >> 64) as u64);
        Self { blocks: vec![[0; 8]; blocks], salt: [a, b | 1] }
    }

    /// The block of an id, and the bits in it.
    fn place(&self, id: &ObjectId) -> (usize, u64) {
        let word = |at: usize| {
            u64::from_le_bytes(id.0[at..at + 8].try_into().expect("eight of thirty-two bytes"))
        };
        let mix = |word: u64| {
            let mixed = (word ^ self.salt[0]).wrapping_mul(self.salt[1]);
            (mixed ^ (mixed >> 29)).wrapping_mul(0x9e37_79b9_7f4a_7c15)
        };
        let block = (u128::from(mix(word(0))) * self.blocks.len() as u128) >> 64;
        (block as usize, mix(word(8)) ^ mix(word(16)).rotate_left(32))
    }

    fn bits(seed: u64) -> impl Iterator<Item = (usize, u64)> {
        (0..PROBES).map(move |i| {
            let bit = (seed >> (9 * i)) & 511;
            ((bit / 64) as usize, 1 << (bit % 64))
        })
    }

    /// Adds an id.
    pub fn add(&mut self, id: &ObjectId) {
        let (block, seed) = self.place(id);
        for (word, bit) in Self::bits(seed) {
            self.blocks[block][word] |= bit;
        }
    }

    /// Whether the id was added; sometimes yes where it was not.
    pub fn has(&self, id: &ObjectId) -> bool {
        let (block, seed) = self.place(id);
        Self::bits(seed).all(|(word, bit)| self.blocks[block][word] & bit != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> ObjectId {
        ObjectId::of(&n.to_le_bytes())
    }

    #[test]
    fn says_yes_to_all_that_were_added_and_to_few_others() {
        const N: u32 = 200_000;
        let filled = |salt| {
            let mut mark = Mark::new(u64::from(N), salt);
            (0..N).for_each(|n| mark.add(&id(n)));
            mark
        };
        let (one, other) = (filled([1; 16]), filled([0xe3; 16]));
        assert!((0..N).all(|n| one.has(&id(n)) && other.has(&id(n))));
        let wrong = |mark: &Mark| (N..2 * N).filter(|n| mark.has(&id(*n))).collect::<Vec<_>>();
        let (a, b) = (wrong(&one), wrong(&other));
        // Measured 0.1 %; a broken hash would be far from it.
        assert!(a.len() < 500 && b.len() < 500, "{} and {}", a.len(), b.len());
        let both = a.iter().filter(|n| b.contains(n)).count();
        assert!(both * 20 <= a.len().max(20), "{both} are mistaken by both salts");
    }

    #[test]
    fn an_empty_one_has_nothing() {
        let mark = Mark::new(0, [7; 16]);
        assert!(!(0..1_000).any(|n| mark.has(&id(n))));
    }
}
