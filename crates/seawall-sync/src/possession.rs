//! Proof that a tier holds an object: a hash of it under a key drawn just now.

use seawall_base::{ObjectId, Rng};

/// BLAKE3 keyed by `nonce` over the whole object. Who has only the object's id cannot compute
/// it, and an answer to an earlier challenge is worth nothing.
pub fn possession(nonce: &[u8; 32], object: &[u8]) -> [u8; 32] {
    *blake3::keyed_hash(nonce, object).as_bytes()
}

/// Puts ids into random order (Fisher and Yates), so that the order of an upload does not tell
/// which objects lie next to one another in a file.
pub fn shuffle(ids: &mut [ObjectId], rng: &mut dyn Rng) {
    for i in (1..ids.len()).rev() {
        ids.swap(i, below(i as u64 + 1, rng) as usize);
    }
}

/// A number below `bound`, which is not 0.
pub(crate) fn below(bound: u64, rng: &mut dyn Rng) -> u64 {
    let mut bytes = [0; 8];
    rng.fill(&mut bytes);
    u64::from_le_bytes(bytes) % bound
}

#[cfg(test)]
mod tests {
    use seawall_sim::SeededRng;

    use super::*;

    #[test]
    fn depends_on_nonce_and_object() {
        let proof = possession(&[1; 32], b"object");
        assert_ne!(proof, possession(&[2; 32], b"object"));
        assert_ne!(proof, possession(&[1; 32], b"objecu"));
        assert_ne!(proof, ObjectId::of(b"object").0);
    }

    #[test]
    fn a_shuffle_keeps_every_id_and_changes_the_order() {
        let before: Vec<_> = (0..100u8).map(|i| ObjectId([i; 32])).collect();
        let mut after = before.clone();
        shuffle(&mut after, &mut SeededRng::new(3));
        assert_ne!(before, after);
        after.sort();
        assert_eq!(before, after);
    }
}
