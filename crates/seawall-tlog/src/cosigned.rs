//! Cosigned checkpoints of one log, and the times that witnesses set on it.
//!
//! The *last* checkpoint says how far the log is witnessed; the *first* one that covers an entry
//! says since when others know of it, which is what its age is counted from. Later cosignatures
//! must not make it younger, so all are kept. Whoever holds them keeps to one history: a checkpoint
//! with another root than the one held at its size takes its place, and is for the holder to refuse.

use std::collections::BTreeMap;

use seawall_base::Timestamp;

use crate::checkpoint::SignedCheckpoint;
use crate::note::NoteError;
use crate::roster::Roster;

/// Checkpoints of one log by their size, with all cosignatures there are.
#[derive(Debug, Clone, Default)]
pub struct Cosigned {
    by_size: BTreeMap<u64, SignedCheckpoint>,
}

impl Cosigned {
    /// Adds a checkpoint, with the lines that are held of the same one. Returns what is to be kept
    /// of this size, or nothing where nothing is new.
    pub fn add(
        &mut self,
        cosigned: &SignedCheckpoint,
    ) -> Result<Option<&SignedCheckpoint>, NoteError> {
        let size = cosigned.checkpoint().size;
        let mut merged = cosigned.clone();
        if let Some(known) = self.by_size.get(&size)
            && known.checkpoint().root == cosigned.checkpoint().root
        {
            // The first stamp of a witness is the one that says since when it knows.
            for line in known.note().signatures() {
                merged.add(line.clone())?;
            }
            if merged == *known {
                return Ok(None);
            }
        }
        Ok(Some(self.by_size.entry(size).insert_entry(merged).into_mut()))
    }

    /// All of them, the smallest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &SignedCheckpoint> {
        self.by_size.values()
    }

    /// Those that cover entry `index`, the smallest first.
    pub fn covering(&self, index: u64) -> impl Iterator<Item = &SignedCheckpoint> {
        self.by_size.range(index.saturating_add(1)..).map(|(_, signed)| signed)
    }

    /// The newest one.
    pub fn newest(&self) -> Option<&SignedCheckpoint> {
        self.by_size.values().next_back()
    }

    /// The first stamps on entry `index` of so many operators, from the first checkpoints that have
    /// them; every stamp there is, if none have.
    pub fn first_stamps<'r>(
        &self,
        roster: &'r Roster,
        index: u64,
        needed: u16,
    ) -> Vec<(&'r str, Timestamp)> {
        let mut stamps: Vec<(&str, Timestamp)> = Vec::new();
        for signed in self.covering(index) {
            stamps.extend(roster.stamps(signed));
            let mut operators: Vec<_> = stamps.iter().map(|(operator, _)| *operator).collect();
            operators.sort_unstable();
            operators.dedup();
            if operators.len() >= usize::from(needed) {
                break;
            }
        }
        stamps
    }

    /// Every stamp there is.
    pub fn stamps<'r>(&self, roster: &'r Roster) -> Vec<(&'r str, Timestamp)> {
        self.by_size.values().flat_map(|signed| roster.stamps(signed)).collect()
    }
}

#[cfg(test)]
mod tests {
    use seawall_sign::SigningKey;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::merkle::{Hash, empty_root};

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn cosigned(size: u64, by: &[(u8, u64)]) -> SignedCheckpoint {
        let origin = "example.com/log".parse().expect("a C2SP origin");
        let root = if size == 0 { empty_root() } else { Hash::of(b"") };
        let checkpoint = Checkpoint::new(origin, size, root);
        let mut signed = SignedCheckpoint::sign(checkpoint, &key(1)).expect("signs");
        for (seed, time) in by {
            let line = signed.cosign(&format!("w{seed}"), &key(*seed), Timestamp(*time));
            signed.add(line.expect("a good time")).expect("room");
        }
        signed
    }

    #[test]
    fn an_entry_is_as_old_as_its_first_quorum_and_now_is_the_last_stamp() {
        let keys = [(2, "anna"), (3, "ben")].map(|(n, name)| (name, n));
        let roster =
            Roster::new(keys.map(|(name, n)| (name, ["w2", "w3"][n - 2], key(n as u8).public())));
        let roster = roster.expect("good names");
        let mut all = Cosigned::default();
        for it in
            [cosigned(3, &[(2, 10)]), cosigned(5, &[(3, 20)]), cosigned(9, &[(2, 30), (3, 31)])]
        {
            assert!(all.add(&it).expect("one history").is_some());
            assert!(all.add(&it).expect("one history").is_none(), "known");
        }
        let first = |index, needed| all.first_stamps(&roster, index, needed);
        assert_eq!(first(0, 1), [("anna", Timestamp(10))]);
        assert_eq!(first(0, 2), [("anna", Timestamp(10)), ("ben", Timestamp(20))]);
        assert_eq!(first(4, 2).len(), 3, "ben at 5, both at 9");
        assert_eq!(first(9, 1), []);
        assert_eq!(all.stamps(&roster).len(), 4);
        assert_eq!(all.newest().map(|it| it.checkpoint().size), Some(9));
        // A second witness at the same size joins the first.
        let both = all.add(&cosigned(3, &[(3, 12)])).expect("one history").expect("new").clone();
        assert_eq!(roster.stamps(&both).len(), 2);
    }
}
