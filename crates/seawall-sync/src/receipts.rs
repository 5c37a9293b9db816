//! What a node remembers of a tier: its receipts, one file each, and nothing else.
//!
//! Whatever a push did before a crash is either proven by a receipt on disk or is done again.
//! Receipts of an earlier incarnation, and those set aside after the tier failed a challenge,
//! stay as evidence and count for nothing.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use seawall_base::{Disk, Sha256, read_file, write_atomic};
use seawall_record::{Deleted, Hex32, Receipt, RecordError};
use seawall_sign::envelope::MAX_ENVELOPE;
use seawall_sign::{Envelope, SignError, VerifyingKey};
use seawall_tlog::checkpoint::{CheckpointError, Origin};

use crate::message::{MAX_NOTICES, envelopes_of_json, envelopes_to_json};

const SUFFIX: &str = ".receipt";
const SET_ASIDE: &str = ".set-aside";
const DELETED: &str = ".deleted";

/// Why receipts could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptsError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// Which file.
        path: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A file is not an envelope.
    #[error("{path} is damaged ({source}); remove it, the next push asks for a new one")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        source: SignError,
    },
    /// A receipt this tier did not sign.
    #[error("{path}: {source}; remove it, the next push asks for a new one")]
    NotBelieved {
        /// Which file.
        path: String,
        /// What is wrong.
        source: RecordError,
    },
    /// A receipt for a log whose origin cannot be one.
    #[error("{path}: {source}")]
    Origin {
        /// Which file.
        path: String,
        /// What is wrong.
        source: CheckpointError,
    },
}

type Key = (Hex32, String, u64);

/// The receipts of one tier.
pub struct Receipts {
    disk: Arc<dyn Disk>,
    dir: String,
    region: VerifyingKey,
    counting: BTreeMap<Key, (Receipt, Envelope)>,
    /// What the tier says it keeps no longer: manifests, each with the notice.
    deleted: BTreeMap<(Hex32, Sha256), Deleted>,
}

impl Receipts {
    /// Reads the receipts in `dir` that `region` (its identity key) signed. Other files there
    /// are left alone; a receipt that does not verify is an error that names its file.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &str,
        region: VerifyingKey,
    ) -> Result<Self, ReceiptsError> {
        let io = |path: &str| {
            let path = path.to_owned();
            move |source| ReceiptsError::Io { path, source }
        };
        disk.create_dir_all(dir).map_err(io(dir))?;
        let (mut counting, mut deleted) = (BTreeMap::new(), BTreeMap::new());
        for name in disk.list(dir).map_err(io(dir))? {
            if name.ends_with(DELETED) {
                let path = format!("{dir}/{name}");
                read_deleted(disk.as_ref(), &path, region, &mut deleted)?;
            }
            if !name.ends_with(SUFFIX) {
                continue;
            }
            let path = format!("{dir}/{name}");
            let Some(bytes) = read_file(disk.as_ref(), &path, MAX_ENVELOPE).map_err(io(&path))?
            else {
                continue;
            };
            let envelope = Envelope::parse(&bytes)
                .map_err(|source| ReceiptsError::Damaged { path: path.clone(), source })?;
            let receipt = Receipt::open(&envelope, region)
                .map_err(|source| ReceiptsError::NotBelieved { path, source })?;
            let key = (receipt.incarnation, receipt.origin.clone(), receipt.index);
            counting.insert(key, (receipt, envelope));
        }
        Ok(Self { disk, dir: dir.to_owned(), region, counting, deleted })
    }

    /// Every receipt that has not been set aside, of every incarnation, for what the tier still
    /// says it keeps.
    pub fn all(&self) -> impl Iterator<Item = (&Receipt, &Envelope)> {
        let held =
            |(r, _): &&(Receipt, Envelope)| self.deleted(r.incarnation, &r.manifest).is_none();
        self.counting.values().filter(held).map(|(receipt, envelope)| (receipt, envelope))
    }

    /// The tier's word that it keeps a snapshot no longer, if it gave it.
    pub fn deleted(&self, incarnation: Hex32, manifest: &Sha256) -> Option<&Deleted> {
        self.deleted.get(&(incarnation, *manifest))
    }

    /// Every snapshot of which some incarnation of the tier said that it keeps it no longer.
    pub fn all_deleted(&self) -> impl Iterator<Item = (Sha256, &Deleted)> {
        self.deleted.iter().map(|((_, manifest), notice)| (*manifest, notice))
    }

    /// Keeps what the tier says it deleted of a log, durably. The region's signatures are checked.
    pub fn note_deleted(
        &mut self,
        incarnation: Hex32,
        origin: &Origin,
        notices: &[Envelope],
    ) -> Result<(), ReceiptsError> {
        let mut news = BTreeMap::new();
        let name = format!("{}-{}{DELETED}", hex::encode(incarnation.0), origin.hash().to_hex());
        let path = format!("{}/{name}", self.dir);
        take_notices(notices, self.region, &path, &mut news)?;
        if news.keys().all(|key| self.deleted.contains_key(key)) {
            return Ok(());
        }
        write_atomic(self.disk.as_ref(), &path, &envelopes_to_json(notices))
            .map_err(|source| ReceiptsError::Io { path, source })?;
        self.deleted.append(&mut news);
        Ok(())
    }

    /// The receipt for entry `index` of the log `origin` by this incarnation.
    pub fn get(&self, incarnation: Hex32, origin: &Origin, index: u64) -> Option<&Receipt> {
        let key = (incarnation, origin.as_str().to_owned(), index);
        self.counting.get(&key).map(|(receipt, _)| receipt)
    }

    /// Checks the region's signature and keeps a receipt durably.
    pub fn add(&mut self, envelope: Envelope) -> Result<&Receipt, ReceiptsError> {
        let not_believed =
            |source| ReceiptsError::NotBelieved { path: "a new receipt".to_owned(), source };
        let receipt = Receipt::open(&envelope, self.region).map_err(not_believed)?;
        let path = self.path(&receipt)?;
        write_atomic(self.disk.as_ref(), &path, &envelope.to_json())
            .map_err(|source| ReceiptsError::Io { path, source })?;
        let key = (receipt.incarnation, receipt.origin.clone(), receipt.index);
        Ok(&self.counting.entry(key).insert_entry((receipt, envelope)).into_mut().0)
    }

    /// Lets no receipt of an incarnation count any more: it failed to prove what it signed for.
    /// The files stay, under another name, as evidence. Returns how many there were.
    pub fn set_aside(&mut self, incarnation: Hex32) -> Result<usize, ReceiptsError> {
        let keys: Vec<Key> =
            self.counting.keys().filter(|(i, _, _)| *i == incarnation).cloned().collect();
        for key in &keys {
            let path = self.path(&self.counting[key].0)?;
            self.disk
                .rename(&path, &format!("{path}{SET_ASIDE}"))
                .map_err(|source| ReceiptsError::Io { path, source })?;
        }
        let dir = &self.dir;
        self.disk
            .sync_dir(dir)
            .map_err(|source| ReceiptsError::Io { path: dir.clone(), source })?;
        self.counting.retain(|(i, _, _), _| *i != incarnation);
        Ok(keys.len())
    }

    fn path(&self, receipt: &Receipt) -> Result<String, ReceiptsError> {
        let origin: Origin = receipt
            .origin
            .parse()
            .map_err(|source| ReceiptsError::Origin { path: self.dir.clone(), source })?;
        let incarnation = hex::encode(receipt.incarnation.0);
        let origin = origin.hash().to_hex();
        Ok(format!("{}/{incarnation}-{origin}-{:020}{SUFFIX}", self.dir, receipt.index))
    }
}

fn read_deleted(
    disk: &dyn Disk,
    path: &str,
    region: VerifyingKey,
    into: &mut BTreeMap<(Hex32, Sha256), Deleted>,
) -> Result<(), ReceiptsError> {
    let bytes = read_file(disk, path, MAX_NOTICES)
        .map_err(|source| ReceiptsError::Io { path: path.to_owned(), source })?;
    let Some(bytes) = bytes else { return Ok(()) };
    let notices = envelopes_of_json(&bytes)
        .map_err(|source| ReceiptsError::Damaged { path: path.to_owned(), source })?;
    take_notices(&notices, region, path, into)
}

fn take_notices(
    notices: &[Envelope],
    region: VerifyingKey,
    path: &str,
    into: &mut BTreeMap<(Hex32, Sha256), Deleted>,
) -> Result<(), ReceiptsError> {
    for envelope in notices {
        let notice = Deleted::open(envelope, region)
            .map_err(|source| ReceiptsError::NotBelieved { path: path.to_owned(), source })?;
        for it in &notice.snapshots {
            into.insert((notice.incarnation, it.manifest), notice.clone());
        }
    }
    Ok(())
}
