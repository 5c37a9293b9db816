//! One append-only Merkle log per origin: C2SP tlog-tiles, checkpoints, proofs, witnesses and mirrors.
//!
//! Floor 2. [`Log`] is the writer on a node, [`Mirror`] the copy a region keeps, [`Witness`] what
//! cosigns a log's growth, [`Upload`] the client that brings a log to a mirror. All are
//! synchronous and talk to the world only through the [`seawall_base::Disk`] they are given and
//! the bytes they take and return; time comes as an argument.
//!
//! It must not know: what an entry means, how bytes travel, which keys a fleet trusts.

pub mod checkpoint;
mod cosigned;
mod evidence;
mod log;
pub mod merkle;
pub mod mirror;
pub mod note;
pub mod package;
mod roster;
mod store;
pub mod tile;
pub mod upload;
pub mod witness;

pub use checkpoint::{Checkpoint, CheckpointError, Origin, SignedCheckpoint};
pub use cosigned::Cosigned;
pub use evidence::{Misconduct, Pair, PairError};
pub use log::Log;
pub use merkle::{Hash, MerkleError};
pub use mirror::Mirror;
pub use note::{Kind, Note, NoteError, NoteSignature, Verified, Verifier};
pub use package::{EntriesHeader, MirrorAnswer, MirrorInfo};
pub use roster::Roster;
pub use store::{LogError, MAX_ENTRY, MAX_GROUP_BYTES, MAX_GROUP_ENTRIES, OpenReport};
pub use upload::{Upload, UploadError, UploadStep};
pub use witness::{AddCheckpoint, Cosigner, Evidence, Finding, Judgement, Witness, WitnessAnswer};
