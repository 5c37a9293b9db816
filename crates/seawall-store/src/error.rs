//! What can go wrong, by what the caller does next; and what damage is called.

use std::fmt;
use std::io;

use seawall_base::{MAX_OBJECT, ObjectId};

/// Why an operation of the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No room. Nothing acknowledged is lost, and what was put before stays pending: free space and
    /// flush again.
    #[error(
        "the disk is full while {doing}; nothing flushed is lost: free space and run again: {source}"
    )]
    Full {
        /// What was being done, with the path.
        doing: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The disk failed. The operation may be tried again; what was put before stays pending.
    #[error("failed {doing}: {source}")]
    Io {
        /// What was being done, with the path.
        doing: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A sync or a roll-back failed earlier, so what the disk holds behind the last flush is unknown.
    /// Reading goes on; to write, open the store again.
    #[error("writing stopped after an earlier disk failure ({cause}); open the store again")]
    Poisoned {
        /// The earlier failure.
        cause: String,
    },
    /// The object's bytes are not what its id names. Fetch a good copy and put it.
    #[error("object {id} is damaged in zone {zone:016x} at byte {offset}; put a good copy of it")]
    Damaged {
        /// The object.
        id: ObjectId,
        /// The zone's number.
        zone: u64,
        /// Where its record starts in the zone file.
        offset: u64,
    },
    /// The caller's body does not have the caller's id; nothing was stored.
    #[error("refused a body under a wrong id: claimed {claimed}, found {found}")]
    WrongId {
        /// What the caller said.
        claimed: ObjectId,
        /// What the body hashes to.
        found: ObjectId,
    },
    /// The body is larger than any object may be; nothing was stored.
    #[error("refused a body of {len} bytes: objects have at most {MAX_OBJECT}")]
    TooLarge {
        /// The body's length in bytes.
        len: usize,
    },
    /// The store was opened for reading.
    #[error("the store was opened for reading only: nothing was stored")]
    ReadOnly,
    /// Another process removes objects. Wait for it; nothing was changed.
    #[error("another process is removing objects from this store; wait for it and run again")]
    Reclaiming,
    /// A writer that may rely on condemned objects still runs. Wait for it; nothing was removed.
    #[error(
        "a writer that began earlier still runs; nothing was removed: run again when it is done"
    )]
    WritersAtWork,
    /// The index was damaged. It has been rebuilt from the zones, which have everything.
    #[error("the store's index was damaged and has been rebuilt ({why}); run again")]
    IndexRebuilt {
        /// What was wrong.
        why: String,
    },
    /// A zone of a later program. Nothing was changed; upgrade before opening.
    #[error(
        "zone {zone:016x} (format version {version}) uses features this program does not know: \
         upgrade it"
    )]
    UnsupportedVersion {
        /// The zone's number.
        zone: u64,
        /// The version found.
        version: u32,
    },
}

impl StoreError {
    /// Classifies a disk error.
    pub(crate) fn io(doing: impl Into<String>, source: io::Error) -> Self {
        let doing = doing.into();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full { doing, source }
            }
            _ => Self::Io { doing, source },
        }
    }
}

/// What is wrong with a stretch of a zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamageKind {
    /// The zone header is not valid; the records were found without it.
    ZoneHeader,
    /// No valid record covers these bytes: at least one record is lost here.
    Unreadable,
    /// The record's header is whole, its body is not what the id names.
    Body,
    /// Bytes after the body are not zero; the object itself is whole.
    Padding,
    /// Records between two commits are not the ones the later commit covers; those present are whole.
    Sequence,
    /// A closed zone ends without its closing commit: records may be missing at its end.
    Unclosed,
}

/// A damaged stretch of a zone file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The zone's number; its file is `zones/<16 hex digits>.zone`.
    pub zone: u64,
    /// First byte in the zone file.
    pub offset: u64,
    /// Length in bytes; 0 where something is missing at `offset`.
    pub len: u64,
    /// The object, where a whole record header or the bytes themselves prove which it is.
    pub id: Option<ObjectId>,
    /// What is wrong.
    pub kind: DamageKind,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            DamageKind::ZoneHeader => "zone header not valid",
            DamageKind::Unreadable => "no valid record",
            DamageKind::Body => "body does not match its id",
            DamageKind::Padding => "padding is not zero",
            DamageKind::Sequence => "records do not match their commit",
            DamageKind::Unclosed => "closing commit missing",
        };
        let Self { zone, offset, len, .. } = self;
        write!(f, "zones/{zone:016x}.zone at byte {offset}, {len} bytes: {what}")?;
        self.id.map_or(Ok(()), |id| write!(f, " ({id})"))
    }
}
