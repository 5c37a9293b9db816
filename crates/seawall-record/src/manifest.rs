//! A snapshot as the rest of the world sees it: no name, no key, only digests and totals.

use seawall_base::{FleetId, GroupId, NodeId, ObjectId, Sha256, Timestamp};
use seawall_sign::{Predicate, Statement, Subject};
use serde::{Deserialize, Serialize};

use crate::{Base64, Hex32, RecordError, check_text};

/// A snapshot's manifest: everything the capsule's label covers, and the capsule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// What the capsule is bound to.
    pub core: ManifestCore,
    /// The sealed root reference and its escrowed key (`seawall-escrow`); opaque here.
    pub capsule: Base64,
    /// Where the snapshot's path index begins, sealed to each operator who may read it, by
    /// ascending key; empty if it has none. The core's digest is the associated data of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path_index: Vec<SealedRoot>,
}

/// The beginning of a path index, sealed to one operator's key; opaque here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedRoot {
    /// SHA-256 of the operator's public key.
    pub key: Hex32,
    /// HPKE ciphertext.
    pub sealed: Base64,
}

impl SealedRoot {
    /// Longest ciphertext in bytes.
    pub const MAX: usize = 2_048;
}

/// The part of a manifest that the capsule's label covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestCore {
    /// The fleet.
    pub fleet: FleetId,
    /// The node that wrote it.
    pub node: NodeId,
    /// Origin line of the log it stands in.
    pub origin: String,
    /// Counts the snapshots of one log from 1, without gaps.
    pub sequence: u64,
    /// Digest of the previous manifest statement; none for sequence 1.
    pub previous: Option<Sha256>,
    /// When the node says it was finished.
    pub created: Timestamp,
    /// Data class number, as in sealed objects.
    pub class: u8,
    /// The escrow group that can open it.
    pub group: GroupId,
    /// The objects it consists of.
    pub reference_set: ReferenceSet,
    /// What was stored.
    pub totals: Totals,
    /// The set it belongs to; absent where none was named. Public.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Its tags, strictly ascending; absent where there are none. Public.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// Most tags of one snapshot.
pub const MAX_TAGS: usize = 32;

/// Longest tag, and longest name of a set, in bytes.
pub const MAX_TAG: usize = 64;

/// Root and totals of a reference-set tree ([`crate::reference_set`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReferenceSet {
    /// Id of the root page.
    pub root: ObjectId,
    /// Number of objects.
    pub count: u64,
    /// Sum of their sealed sizes in bytes.
    pub bytes: u64,
}

/// What a snapshot holds. A restore must arrive at exactly these figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Totals {
    /// Regular files, each counted under its first name.
    pub files: u64,
    /// Directories, the root not counted.
    pub directories: u64,
    /// Symlinks, fifos, devices, and further names of anything (hard links).
    pub others: u64,
    /// Apparent bytes of regular files.
    pub bytes: u64,
    /// Entries found but not stored, or stored while they changed.
    pub problems: u64,
}

impl Predicate for Manifest {
    const TYPE: &'static str = "urn:seawall:predicate:snapshot:1";
}

/// Checks the name of a set or a tag. A comma would make two of it on a command line.
pub fn check_tag(text: &str) -> Result<(), RecordError> {
    const WHAT: &str = "set or tag";
    check_text(WHAT, text, MAX_TAG)?;
    if text.contains(',') || text.trim() != text {
        return Err(RecordError::refused(WHAT, "no commas, and no space around it"));
    }
    Ok(())
}

impl ManifestCore {
    /// Checks set and tags: few, short, each once, in order, so that there is one spelling.
    pub(crate) fn check_names(&self) -> Result<(), RecordError> {
        self.set.iter().chain(&self.tags).try_for_each(|name| check_tag(name))?;
        if self.tags.len() > MAX_TAGS || !self.tags.is_sorted_by(|a, b| a < b) {
            let why = format!("more than {MAX_TAGS} tags, or not in strictly ascending order");
            return Err(RecordError::refused("manifest", why));
        }
        Ok(())
    }

    /// SHA-256 of the canonical JSON of the core: fields in the order above, no white space, those
    /// that are absent left out.
    pub fn digest(&self) -> Sha256 {
        let json = serde_json::to_vec(self).expect("numbers and text always serialise");
        Sha256::of(&json)
    }
}

impl Manifest {
    /// Longest capsule in bytes; with the post-quantum half of sixteen custodians.
    pub const MAX_CAPSULE: usize = 24 << 10;

    /// The statement for the node's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        let subject = Subject::blake3("reference-set", self.core.reference_set.root);
        Statement::new(subject, self)
    }
}
