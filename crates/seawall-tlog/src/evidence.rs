//! Two signed checkpoints that prove misbehaviour, to anyone and without a network.
//!
//! Of one history every smaller state is a beginning of every larger one. Two checkpoints of equal
//! size contradict one another when their roots differ. Of unequal size they do when the larger
//! tree can be *proven* to begin otherwise: with the root over its first entries, as many as the
//! smaller has, a consistency proof from there to the larger, and that root not being the smaller
//! one's. Whoever signed both sides of a contradiction did so to two faces.
//!
//! A cosignature also says "this is the largest I have seen" at a time. One for fewer entries,
//! made later, proves that its witness went back: a rollback, or a disk that was restored.

use seawall_base::Timestamp;

use crate::checkpoint::SignedCheckpoint;
use crate::merkle::{Hash, MerkleError, verify_consistency};
use crate::note::Verifier;

/// Two checkpoints of one log, the smaller first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    smaller: SignedCheckpoint,
    larger: SignedCheckpoint,
    beginning: Option<Hash>,
}

/// What a pair proves of whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misconduct {
    /// Whoever holds the log's keys signed two histories.
    LogForked,
    /// This witness cosigned two histories.
    WitnessForked {
        /// Its name in cosignatures.
        name: String,
    },
    /// This witness cosigned fewer entries than it had before.
    WitnessWentBack {
        /// Its name in cosignatures.
        name: String,
        /// When it had the larger state.
        had: Timestamp,
        /// When it cosigned the smaller one.
        then: Timestamp,
    },
}

/// Why two checkpoints are no evidence.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// They are of two logs.
    #[error("they are checkpoints of two logs, {0} and {1}")]
    TwoLogs(String, String),
    /// The proof of the larger one's beginning is none.
    #[error("what the larger one begins with is not proven: {0}")]
    Beginning(#[from] MerkleError),
}

impl Pair {
    /// Puts two checkpoints in order. `beginning` is the root over the larger one's first entries,
    /// as many as the smaller has, with the consistency proof from there; it is checked here.
    pub fn new(
        one: SignedCheckpoint,
        other: SignedCheckpoint,
        beginning: Option<(Hash, Vec<Hash>)>,
    ) -> Result<Self, PairError> {
        let (a, b) = (one.checkpoint(), other.checkpoint());
        if a.origin != b.origin {
            return Err(PairError::TwoLogs(a.origin.to_string(), b.origin.to_string()));
        }
        let (smaller, larger) = if a.size <= b.size { (one, other) } else { (other, one) };
        let (a, b) = (smaller.checkpoint(), larger.checkpoint());
        if let Some((root, proof)) = &beginning {
            verify_consistency(a.size, root, b.size, &b.root, proof)?;
        }
        let beginning = beginning.map(|(root, _)| root);
        Ok(Self { smaller, larger, beginning })
    }

    /// The one with fewer entries.
    pub const fn smaller(&self) -> &SignedCheckpoint {
        &self.smaller
    }

    /// The one with more entries, or as many.
    pub const fn larger(&self) -> &SignedCheckpoint {
        &self.larger
    }

    /// Whether they cannot both be of one history.
    pub fn contradicts(&self) -> bool {
        let (a, b) = (self.smaller.checkpoint(), self.larger.checkpoint());
        match self.beginning {
            Some(beginning) => beginning != a.root,
            None => a.size == b.size && a.root != b.root,
        }
    }

    /// What is proven, by the log's keys and the keys of witnesses. A line that does not verify
    /// proves nothing and takes nothing back: who showed a fork could otherwise add one.
    pub fn judge(&self, log: &[Verifier], witnesses: &[Verifier]) -> Vec<Misconduct> {
        let mut found = Vec::new();
        let contradicts = self.contradicts();
        if contradicts && signed(&self.smaller, log) && signed(&self.larger, log) {
            found.push(Misconduct::LogForked);
        }
        let grew = self.smaller.checkpoint().size < self.larger.checkpoint().size;
        for key in witnesses {
            let both = stamp(&self.smaller, key).zip(stamp(&self.larger, key));
            let Some((then, had)) = both else { continue };
            let name = key.name().to_owned();
            if contradicts {
                found.push(Misconduct::WitnessForked { name });
            } else if grew && then > had {
                found.push(Misconduct::WitnessWentBack { name, had, then });
            }
        }
        found
    }
}

fn signed(checkpoint: &SignedCheckpoint, keys: &[Verifier]) -> bool {
    !checkpoint.note().good_lines(keys).is_empty()
}

fn stamp(checkpoint: &SignedCheckpoint, key: &Verifier) -> Option<Timestamp> {
    let keys = std::slice::from_ref(key);
    checkpoint.with_good_lines_of(keys).verify(keys).ok()?.first()?.time
}

#[cfg(test)]
mod tests {
    use seawall_sign::SigningKey;

    use super::*;
    use crate::checkpoint::{Checkpoint, Origin};
    use crate::merkle::{Frontier, root_of_leaves};
    use crate::merkle::{HashReader, consistency_proof, leaf_hash, root, stored_position};
    use crate::note::Kind;

    struct Tree(Vec<Hash>);

    impl HashReader for Tree {
        fn hash(&self, level: u8, index: u64) -> std::io::Result<Hash> {
            Ok(self.0[stored_position(level, index) as usize])
        }
    }

    fn tree(branch_at: u64, size: u64) -> Tree {
        let (mut frontier, mut stored) = (Frontier::default(), Vec::new());
        for i in 0..size {
            let name = if i < branch_at { "trunk" } else { "branch" };
            frontier.push(leaf_hash(format!("{name} {i}").as_bytes()), &mut stored);
        }
        Tree(stored)
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn origin() -> Origin {
        "example.com/log".parse().expect("a C2SP origin")
    }

    fn keys() -> [Vec<Verifier>; 2] {
        let verifier = |name: &str, kind, seed| {
            vec![Verifier::new(name, kind, &key(seed).public()).expect("a good name")]
        };
        [verifier("example.com/log", Kind::Signer, 1), verifier("w", Kind::Cosigner, 2)]
    }

    fn checkpoint(tree: &Tree, size: u64, stamped: Option<u64>) -> SignedCheckpoint {
        let root = root(tree, size).expect("in range");
        let text = Checkpoint::new(origin(), size, root);
        let mut signed = SignedCheckpoint::sign(text, &key(1)).expect("signs");
        if let Some(time) = stamped {
            let line = signed.cosign("w", &key(2), Timestamp(time)).expect("a good time");
            signed.add(line).expect("room");
        }
        signed
    }

    fn judged(pair: &Pair) -> Vec<Misconduct> {
        let [log, witnesses] = keys();
        pair.judge(&log, &witnesses)
    }

    #[test]
    fn two_roots_of_one_size_convict_who_signed_both() {
        let (a, b) = (tree(9, 9), tree(5, 9));
        let pair = Pair::new(checkpoint(&a, 9, Some(5)), checkpoint(&b, 9, Some(6)), None);
        let found = judged(&pair.expect("one log"));
        assert_eq!(found[0], Misconduct::LogForked);
        assert_eq!(found[1], Misconduct::WitnessForked { name: "w".to_owned() });
        let pair = Pair::new(checkpoint(&a, 9, None), checkpoint(&a, 9, Some(6)), None);
        assert_eq!(judged(&pair.expect("one log")), []);
    }

    #[test]
    fn a_larger_tree_convicts_by_what_it_begins_with() {
        let (a, b) = (tree(20, 20), tree(5, 13));
        let (large, small) = (checkpoint(&a, 20, None), checkpoint(&b, 13, None));
        let bare = Pair::new(large.clone(), small.clone(), None).expect("one log");
        assert!(!bare.contradicts() && judged(&bare).is_empty(), "sizes alone prove nothing");
        let proof = consistency_proof(&a, 13, 20).expect("in range");
        let beginning = root(&a, 13).expect("in range");
        let full = Pair::new(large.clone(), small.clone(), Some((beginning, proof.clone())));
        assert_eq!(judged(&full.expect("proven")), [Misconduct::LogForked]);
        let honest = checkpoint(&a, 13, None);
        let same = Pair::new(large.clone(), honest, Some((beginning, proof.clone())));
        assert_eq!(judged(&same.expect("proven")), []);
        // A beginning that is not the larger tree's convicts nobody.
        let made_up = root_of_leaves((0..13_u64).map(|i| leaf_hash(&i.to_be_bytes())));
        assert!(Pair::new(large, small, Some((made_up, proof))).is_err());
    }

    #[test]
    fn a_witness_that_cosigns_less_than_before_went_back() {
        let a = tree(20, 20);
        let judged_at = |small, large| {
            let pair = (checkpoint(&a, 13, Some(small)), checkpoint(&a, 20, Some(large)));
            judged(&Pair::new(pair.0, pair.1, None).expect("one log"))
        };
        assert_eq!(judged_at(5, 9), []);
        assert_eq!(judged_at(9, 9), []);
        let (had, then) = (Timestamp(5), Timestamp(9));
        assert_eq!(
            judged_at(9, 5),
            [Misconduct::WitnessWentBack { name: "w".to_owned(), had, then }]
        );
    }

    #[test]
    fn forged_checkpoints_convict_nobody() {
        let (a, b) = (tree(9, 9), tree(5, 9));
        let text = Checkpoint::new(origin(), 9, root(&b, 9).expect("in range"));
        let forged = SignedCheckpoint::sign(text, &key(8)).expect("signs");
        let pair = Pair::new(checkpoint(&a, 9, None), forged, None).expect("one log");
        assert!(pair.contradicts());
        assert_eq!(judged(&pair), []);
        let other = Checkpoint::new("other".parse().expect("origin"), 9, a.0[0]);
        let other = SignedCheckpoint::sign(other, &key(1)).expect("signs");
        assert!(Pair::new(checkpoint(&a, 9, None), other, None).is_err());
    }
}
