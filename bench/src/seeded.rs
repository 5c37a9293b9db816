//! Bytes, words and choices from a seed: the same corpus on every machine and in every run.
//!
//! `SplitMix64`, which needs no dependency and passes for incompressible. Nothing here is secret.

/// A stream of numbers.
pub(crate) struct Seeded(u64);

/// Syllables the words are made of.
const SYLLABLES: &[&str] = &[
    "ka", "lo", "mer", "tin", "sa", "dro", "vel", "qui", "ran", "eth", "os", "bur", "nim", "pa",
    "gel", "tor", "wi", "ash", "ul", "fen", "cor", "da", "ix", "hem", "jo", "yar", "plu", "zet",
    "sti", "ock", "em", "ble",
];

impl Seeded {
    /// The stream of `seed` for the purpose that `label` names.
    pub(crate) fn new(seed: u64, label: &str) -> Self {
        Self(mixed(seed ^ hash(label.as_bytes())))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `limit`, which is not 0; the bias is far below what a corpus can show.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Incompressible bytes.
    pub(crate) fn noise(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 8);
        while bytes.len() < length {
            bytes.extend_from_slice(&self.next().to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }

    /// Text that compresses about as prose does: 4096 words, the first ones more frequent.
    pub(crate) fn text(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(length + 16);
        while bytes.len() < length {
            // The product of two uniform numbers leans to small ones.
            let word = (self.below(4096) * self.below(4096)) >> 12;
            let mut rest = mixed(word);
            for _ in 0..=(rest & 3) {
                rest >>= 5;
                let syllable = SYLLABLES[(rest & 31) as usize];
                bytes.extend_from_slice(syllable.as_bytes());
            }
            bytes.push(if self.below(12) == 0 { b'\n' } else { b' ' });
        }
        bytes.truncate(length);
        bytes
    }
}

/// A number that looks random, from bytes.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    let fold = |state: u64, byte: &u8| (state ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3);
    mixed(bytes.iter().fold(0xcbf2_9ce4_8422_2325, fold))
}

fn mixed(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_depends_on_seed_and_label_only() {
        let first = |seed, label| Seeded::new(seed, label).next();
        assert_eq!(first(1, "a"), first(1, "a"));
        assert_ne!(first(1, "a"), first(2, "a"));
        assert_ne!(first(1, "a"), first(1, "b"));
    }

    #[test]
    fn noise_and_text_have_the_length_asked_for() {
        let mut seeded = Seeded::new(1, "test");
        for length in [0, 1, 7, 8, 4097] {
            assert_eq!(seeded.noise(length).len(), length);
            assert_eq!(seeded.text(length).len(), length);
        }
        assert!(seeded.text(1 << 16).is_ascii());
    }
}
