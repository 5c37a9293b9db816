//! Who cosigned: witnesses' keys by the operator who runs them.
//!
//! A policy names witnesses by operator, and several keys of one operator are one voice. So
//! nothing that counts sees keys: it asks a roster who, of the operators it lists, has cosigned a
//! checkpoint, and when. A line that does not verify counts for nothing and condemns nothing:
//! whoever carries a checkpoint could otherwise silence every witness on it by adding one.

use seawall_base::Timestamp;
use seawall_sign::VerifyingKey;

use crate::checkpoint::SignedCheckpoint;
use crate::note::{Kind, NoteError, Verifier};

/// Cosigners and their operators.
#[derive(Debug, Clone, Default)]
pub struct Roster {
    members: Vec<(String, Verifier)>,
}

impl Roster {
    /// A roster of (operator, name in cosignatures, key). A key that two operators claim is the
    /// first one's: it is one key in one hand, whatever a list says.
    pub fn new<'a>(
        members: impl IntoIterator<Item = (&'a str, &'a str, VerifyingKey)>,
    ) -> Result<Self, NoteError> {
        let mut roster = Self::default();
        for (operator, name, key) in members {
            roster.add(operator, name, key)?;
        }
        Ok(roster)
    }

    /// A roster of those whose names a signature line can carry. Any other has cosigned nothing and
    /// counts for nothing; nobody else pays for it, and `left_out` is told.
    pub fn of<'a>(
        members: impl IntoIterator<Item = (&'a str, &'a str, VerifyingKey)>,
        mut left_out: impl FnMut(NoteError),
    ) -> Self {
        let mut roster = Self::default();
        for (operator, name, key) in members {
            if let Err(e) = roster.add(operator, name, key) {
                left_out(e);
            }
        }
        roster
    }

    /// Adds a cosigner, unless its key is listed already for another operator.
    pub fn add(&mut self, operator: &str, name: &str, key: VerifyingKey) -> Result<(), NoteError> {
        let verifier = Verifier::new(name, Kind::Cosigner, &key)?;
        let taken = |(other, known): &(String, Verifier)| *known.key() == key && other != operator;
        if !self.members.iter().any(taken) {
            self.members.push((operator.to_owned(), verifier));
        }
        Ok(())
    }

    /// Every cosigner's key.
    pub fn verifiers(&self) -> Vec<Verifier> {
        self.members.iter().map(|(_, verifier)| verifier.clone()).collect()
    }

    /// Who cosigned a checkpoint, and when: each valid line, with its operator.
    pub fn stamps<'r>(&'r self, signed: &SignedCheckpoint) -> Vec<(&'r str, Timestamp)> {
        let note = signed.note();
        let mut stamps = Vec::new();
        for (operator, verifier) in &self.members {
            for line in note.signatures().iter().filter(|line| verifier.claims(line)) {
                if let Ok(Some(time)) = verifier.verify(note.text(), line) {
                    stamps.push((operator.as_str(), time));
                }
            }
        }
        stamps
    }
}

#[cfg(test)]
mod tests {
    use seawall_sign::SigningKey;

    use super::*;
    use crate::checkpoint::Checkpoint;
    use crate::merkle::empty_root;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    fn checkpoint() -> SignedCheckpoint {
        let origin = "example.com/log".parse().expect("a C2SP origin");
        SignedCheckpoint::sign(Checkpoint::new(origin, 0, empty_root()), &key(1)).expect("signs")
    }

    fn roster() -> Roster {
        let mirror = key(2).public();
        Roster::new([
            ("acme", "acme.example/mirror", mirror),
            ("acme", "acme.example/witness", key(3).public()),
            ("ben", "ben.example/w", key(4).public()),
            // A key that is somebody's already makes nobody a second voice.
            ("shell company", "acme.example/mirror", mirror),
        ])
        .expect("good names")
    }

    fn cosigned(by: &[(&str, u8, u64)]) -> SignedCheckpoint {
        let mut signed = checkpoint();
        for (name, seed, time) in by {
            let line = signed.cosign(name, &key(*seed), Timestamp(*time)).expect("a good time");
            signed.add(line).expect("room");
        }
        signed
    }

    #[test]
    fn keys_of_one_operator_carry_its_name() {
        let signed =
            cosigned(&[("acme.example/mirror", 2, 5), ("acme.example/witness", 3, 7), ("x", 9, 9)]);
        let stamps = roster();
        let stamps = stamps.stamps(&signed);
        assert_eq!(stamps, [("acme", Timestamp(5)), ("acme", Timestamp(7))]);
    }

    #[test]
    fn a_forged_line_counts_for_nothing_and_silences_nobody() {
        let mut signed = cosigned(&[("ben.example/w", 4, 5)]);
        // Of the mirror's name and id, by another key.
        let mut forged = cosigned(&[("acme.example/mirror", 2, 5)]).note().signatures()[1].clone();
        forged.signature[20] ^= 1;
        signed.add(forged).expect("room");
        assert_eq!(roster().stamps(&signed), [("ben", Timestamp(5))]);
    }

    #[test]
    fn the_logs_own_signature_is_no_cosignature() {
        let roster = Roster::new([("node", "example.com/log", key(1).public())]).expect("a name");
        assert_eq!(roster.stamps(&checkpoint()), []);
    }
}
