//! Checkpoints: which log, how many leaves, which root (C2SP tlog-checkpoint).
//!
//! A [`Checkpoint`] is a claim; a [`SignedCheckpoint`] the note that carries it, verbatim, because
//! two of them are the evidence that a log forked. Parsing neither verifies nor trusts: keys come
//! from the fleet's policy, never from the note.

use std::fmt;
use std::str::FromStr;

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::SigningKey;

use crate::merkle::{Hash, MAX_SIZE};
use crate::note::{
    Note, NoteError, NoteSignature, Verified, Verifier, decode_base64, encode_base64, parse_decimal,
};

/// Longest origin in bytes.
pub const MAX_ORIGIN: usize = 255;

/// Why a checkpoint was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The text is not a checkpoint. Refuse its sender.
    #[error("malformed checkpoint: {0}")]
    Malformed(&'static str),
    /// The note around it was refused.
    #[error(transparent)]
    Note(#[from] NoteError),
}

/// The identity of a log, the first line of its checkpoints and the name of its keys.
///
/// Any C2SP origin that can also be a key name: 1 to 255 bytes without spaces, plus and control
/// characters. Our own logs are `seawall/<fleet id>/<node id>/<epoch>`, both ids as 64 hex
/// digits: shortened ids would let a node look for a collision with another's log.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of a node's log in an epoch. A restored node gets a new epoch, so that indices
    /// are never used twice.
    pub fn of_node(fleet: FleetId, node: NodeId, epoch: u32) -> Self {
        Self(format!("seawall/{}/{}/{epoch}", fleet.to_hex(), node.to_hex()))
    }

    /// Fleet, node and epoch, if this is an origin that [`Self::of_node`] makes.
    pub fn node(&self) -> Option<(FleetId, NodeId, u32)> {
        let mut parts = self.0.strip_prefix("seawall/")?.split('/');
        let fleet = FleetId::from_hex(parts.next()?).ok()?;
        let node = NodeId::from_hex(parts.next()?).ok()?;
        let epoch = u32::try_from(parse_decimal(parts.next()?)?).ok()?;
        parts.next().is_none().then_some((fleet, node, epoch))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the text: the log's place under a witness's or mirror's monitoring prefix.
    pub fn hash(&self) -> Sha256 {
        Sha256::of(self.0.as_bytes())
    }
}

impl FromStr for Origin {
    type Err = CheckpointError;

    fn from_str(text: &str) -> Result<Self, CheckpointError> {
        let bad = |c: char| c == '+' || c.is_whitespace() || c.is_control();
        if text.is_empty() || text.len() > MAX_ORIGIN || text.contains(bad) {
            return Err(CheckpointError::Malformed(
                "an origin has 1 to 255 bytes and no spaces, plus or control characters",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A log's state: the note text of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// Leaves in the tree.
    pub size: u64,
    /// The root of the tree.
    pub root: Hash,
    /// Further lines, opaque and not empty. Ours have none.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// A checkpoint without extension lines.
    pub const fn new(origin: Origin, size: u64, root: Hash) -> Self {
        Self { origin, size, root, extensions: Vec::new() }
    }

    /// Parses a note text.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        use CheckpointError::Malformed;
        let body = text.strip_suffix('\n').ok_or(Malformed("no final newline"))?;
        let mut lines = body.split('\n');
        let mut line = |missing| lines.next().ok_or(Malformed(missing));
        let origin = line("no origin")?.parse()?;
        let size = parse_decimal(line("no size")?)
            .filter(|size| *size <= MAX_SIZE)
            .ok_or(Malformed("the size is not a canonical number up to 2^61"))?;
        let root = decode_base64(line("no root")?, 32)
            .and_then(|bytes| bytes.try_into().ok())
            .map(Sha256)
            .ok_or(Malformed("the root is not the base64 of 32 bytes"))?;
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(Malformed("an empty extension line"));
        }
        Ok(Self { origin, size, root, extensions })
    }

    /// The note text.
    pub fn to_text(&self) -> String {
        let mut text =
            format!("{}\n{}\n{}\n", self.origin, self.size, encode_base64(self.root.as_bytes()));
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

/// A checkpoint and the note that carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedCheckpoint {
    checkpoint: Checkpoint,
    note: Note,
}

impl SignedCheckpoint {
    /// Signs a checkpoint as its log: the key's name is the origin.
    pub fn sign(checkpoint: Checkpoint, key: &SigningKey) -> Result<Self, CheckpointError> {
        let text = checkpoint.to_text();
        let line = NoteSignature::sign(checkpoint.origin.as_str(), key, &text)?;
        let mut note = Note::new(text)?;
        note.add(line)?;
        Ok(Self { checkpoint, note })
    }

    /// Parses a note. Says nothing about its signatures' validity.
    pub fn parse(bytes: &[u8]) -> Result<Self, CheckpointError> {
        let note = Note::parse(bytes)?;
        Ok(Self { checkpoint: Checkpoint::parse(note.text())?, note })
    }

    /// What is claimed.
    pub const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The note, with every signature it came with.
    pub const fn note(&self) -> &Note {
        &self.note
    }

    /// Which of `keys` signed; see [`Note::verify`].
    pub fn verify<'k>(&self, keys: &'k [Verifier]) -> Result<Vec<Verified<'k>>, NoteError> {
        self.note.verify(keys)
    }

    /// A cosignature of this checkpoint.
    pub fn cosign(
        &self,
        name: &str,
        key: &SigningKey,
        time: Timestamp,
    ) -> Result<NoteSignature, NoteError> {
        NoteSignature::cosign(name, key, self.note.text(), time)
    }

    /// Adds a line; one of the same key replaces the earlier.
    pub fn add(&mut self, line: NoteSignature) -> Result<(), NoteError> {
        self.note.add(line)
    }

    /// The same with nothing but the good lines of `keys`; see [`Note::good_lines`].
    #[must_use]
    pub fn with_good_lines_of(&self, keys: &[Verifier]) -> Self {
        let mut kept = self.clone();
        let good = self.note.good_lines(keys);
        kept.note.retain(|_| false);
        kept.note.merge(&good);
        kept
    }

    /// Adds what others have signed of the same text, as many lines as there is room for. It
    /// replaces none; the lines of `other` must be good ones.
    pub fn merge(&mut self, other: &Self) {
        if self.note.text() == other.note.text() {
            self.note.merge(other.note.signatures());
        }
    }

    /// The same with only the lines that one of `keys` claims.
    pub(crate) fn with_lines_of(&self, keys: &[Verifier]) -> Self {
        let mut kept = self.clone();
        kept.note.retain(|line| keys.iter().any(|key| key.claims(line)));
        kept
    }

    /// The note's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.note.to_string().into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::merkle::empty_root;
    use crate::note::Kind;

    /// The example of C2SP tlog-cosignature; its keys are not published.
    const SPEC: &str = "example.com/behind-the-sofa\n20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

    #[test]
    fn the_example_of_the_specification_parses_and_round_trips() {
        let signed = SignedCheckpoint::parse(SPEC.as_bytes()).expect("the vector parses");
        assert_eq!(signed.to_bytes(), SPEC.as_bytes());
        assert_eq!(signed.checkpoint().origin.as_str(), "example.com/behind-the-sofa");
        assert_eq!(signed.checkpoint().size, 20_852_163);
        assert_eq!(signed.note().signatures()[1].signature[..8], 1_679_315_147_u64.to_be_bytes());
    }

    #[test]
    fn our_own_checkpoint_is_pinned() {
        let key = SigningKey::from_seed(&[7; 32]);
        let origin = Origin::of_node(FleetId([0xaa; 32]), NodeId([0xbb; 32]), 3);
        let checkpoint = Checkpoint::new(origin.clone(), 0, empty_root());
        let signed = SignedCheckpoint::sign(checkpoint, &key).expect("a good origin");
        let text = String::from_utf8(signed.to_bytes()).expect("a note is UTF-8");
        let ids = format!("{}/{}", "aa".repeat(32), "bb".repeat(32));
        assert!(
            text.starts_with(&format!(
                "seawall/{ids}/3\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n\u{2014} seawall/{ids}/3 "
            )),
            "{text}"
        );
        assert_eq!(origin.node(), Some((FleetId([0xaa; 32]), NodeId([0xbb; 32]), 3)));
        let keys =
            [Verifier::new(origin.as_str(), Kind::Signer, &key.public()).expect("a good name")];
        assert_eq!(signed.verify(&keys).expect("signed").len(), 1);
        let again = SignedCheckpoint::parse(&signed.to_bytes()).expect("round trips");
        assert_eq!(again, signed);
    }

    #[test]
    fn origins_of_others_are_not_nodes_of_ours() {
        let hex = "aa".repeat(32);
        for other in [
            "example.com/log".to_owned(),
            format!("seawall/{hex}/{hex}"),
            format!("seawall/{hex}/{hex}/03"),
            format!("seawall/{hex}/{hex}/4294967296"),
            format!("seawall/{hex}/{hex}/3/4"),
            format!("seawall/{}/{hex}/3", hex.to_uppercase()),
        ] {
            let origin: Origin = other.parse().expect("a C2SP origin");
            assert_eq!(origin.node(), None, "{other}");
        }
        for bad in ["", "a b", "a+b", "a\u{2003}b", "a\nb", &"x".repeat(256)] {
            assert!(bad.parse::<Origin>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn malformed_checkpoints_are_refused_by_name() {
        let root = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=";
        let good = format!("o\n5\n{root}\n");
        let parsed = Checkpoint::parse(&good).expect("well formed");
        assert_eq!(parsed.to_text(), good);
        let extended = format!("{good}more\nlines\n");
        let parsed = Checkpoint::parse(&extended).expect("extension lines are allowed");
        assert_eq!((parsed.extensions.len(), parsed.to_text()), (2, extended));
        for (case, text) in [
            ("empty", String::new()),
            ("no root", "o\n5\n".to_owned()),
            ("no final newline", good.trim_end().to_owned()),
            ("no origin", format!("\n5\n{root}\n")),
            ("leading zero", format!("o\n05\n{root}\n")),
            ("plus", format!("o\n+5\n{root}\n")),
            ("too large", format!("o\n2305843009213693953\n{root}\n")),
            ("short root", "o\n5\nAAAA\n".to_owned()),
            ("unpadded root", format!("o\n5\n{}\n", root.trim_end_matches('='))),
            ("empty extension", format!("{good}\nx\n")),
        ] {
            assert!(Checkpoint::parse(&text).is_err(), "{case} was accepted");
        }
    }

    proptest! {
        #[test]
        fn any_text_that_parses_is_canonical(text in "[a-c0-9=\n+]{0,60}", bytes: Vec<u8>) {
            for text in [text.clone(), format!("o\n{text}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")] {
                if let Ok(checkpoint) = Checkpoint::parse(&text) {
                    prop_assert_eq!(checkpoint.to_text(), text);
                }
            }
            let _ = SignedCheckpoint::parse(&bytes);
        }
    }
}
