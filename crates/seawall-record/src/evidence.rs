//! Two checkpoints that cannot both be true, with all that anyone needs to see it offline.
//!
//! The file carries the fleet's card, the introduction of the node whose log it is, and both
//! checkpoints as they were signed. Whether they contradict one another is arithmetic on notes and
//! trees and belongs to whoever knows those; here the keys are established by which to judge.

use seawall_base::Sha256;
use serde::{Deserialize, Serialize};

use crate::{Fleet, FleetCard, Hex32, Introduced, Introduction, RecordError, check_text};

const WHAT: &str = "evidence file";

/// Largest evidence file in bytes of JSON.
pub const MAX_EVIDENCE: usize = 2 << 20;

/// Most hashes of a consistency proof.
const MAX_PROOF: usize = 63;

/// A signed checkpoint and where it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sighting {
    /// Who showed it.
    pub seen_at: String,
    /// The checkpoint (C2SP signed note).
    pub checkpoint: String,
}

/// What the larger tree has where the smaller checkpoint ends, and the proof of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beginning {
    /// The root over the larger tree's first entries, as many as the smaller checkpoint has.
    pub root: Hex32,
    /// The consistency proof from them to the larger checkpoint.
    pub proof: Vec<Hex32>,
}

/// Evidence that a log or its witnesses misbehaved.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EvidenceFile {
    format: String,
    fleet: FleetCard,
    author: Introduction,
    /// What the finder calls it; the checkpoints decide.
    pub finding: String,
    /// The smaller one, or the one seen first.
    pub first: Sighting,
    /// The other.
    pub second: Sighting,
    /// Needed where their sizes differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beginning: Option<Beginning>,
}

/// Evidence whose keys have been established.
#[derive(Debug, Clone)]
pub struct OpenedEvidence {
    /// The fleet; compare its id with a pinned one.
    pub fleet: Fleet,
    /// Whose log it is.
    pub author: Introduced,
}

impl EvidenceFile {
    const FORMAT: &str = "seawall-evidence/1";

    /// Evidence about the log that `author` signs.
    pub fn new(
        fleet: &Fleet,
        author: Introduction,
        finding: &str,
        [first, second]: [Sighting; 2],
        beginning: Option<(Sha256, Vec<Sha256>)>,
    ) -> Self {
        let beginning = beginning.map(|(root, proof)| Beginning {
            root: Hex32(root.0),
            proof: proof.iter().map(|hash| Hex32(hash.0)).collect(),
        });
        Self {
            format: Self::FORMAT.to_owned(),
            fleet: FleetCard::new(fleet),
            author,
            finding: finding.to_owned(),
            first,
            second,
            beginning,
        }
    }

    /// Parses a file without believing it.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        if json.len() > MAX_EVIDENCE {
            return Err(RecordError::refused(WHAT, "larger than 2 MiB"));
        }
        let it: Self = serde_json::from_slice(json)
            .map_err(|e| RecordError::refused(WHAT, format!("not a {} file: {e}", Self::FORMAT)))?;
        if it.format != Self::FORMAT {
            let why = format!("format {:?} is not {}", it.format, Self::FORMAT);
            return Err(RecordError::refused(WHAT, why));
        }
        check_text(WHAT, &it.finding, 1_000)?;
        check_text(WHAT, &it.first.seen_at, 256)?;
        check_text(WHAT, &it.second.seen_at, 256)?;
        if it.beginning.as_ref().is_some_and(|b| b.proof.len() > MAX_PROOF) {
            return Err(RecordError::refused(WHAT, "a consistency proof has at most 63 hashes"));
        }
        Ok(it)
    }

    /// Checks the statements that say whose keys signed.
    pub fn open(&self) -> Result<OpenedEvidence, RecordError> {
        let card = serde_json::to_vec(&self.fleet).expect("a card is JSON");
        let fleet = FleetCard::open(&card)?;
        let author = self.author.open(&fleet)?;
        Ok(OpenedEvidence { fleet, author })
    }

    /// The root and the proof of [`EvidenceFile::beginning`].
    pub fn beginning(&self) -> Option<(Sha256, Vec<Sha256>)> {
        let it = self.beginning.as_ref()?;
        Some((Sha256(it.root.0), it.proof.iter().map(|hash| Sha256(hash.0)).collect()))
    }

    /// The JSON.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("text always serialises");
        json.push(b'\n');
        json
    }
}
