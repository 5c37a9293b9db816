//! What a node remembers of a tier: its receipts, one file each, and nothing else.
//!
//! Whatever a push did before a crash is either proven by a receipt on disk or is done again.
//! Receipts of an earlier incarnation, and those set aside after the tier failed a challenge,
//! stay as evidence and count for nothing. So do files that are damaged, or that another key signed, as
//! those of a region that was set up anew: receipts decide nothing about a restore, so none of them
//! may stand in its way. Where it cannot be read what the tier says it deleted, its receipts for that
//! log do not count until it says so again.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use seawall_base::{Disk, Sha256, read_file, write_atomic};
use seawall_record::{Deleted, Hex32, Receipt, RecordError};
use seawall_sign::envelope::MAX_ENVELOPE;
use seawall_sign::{Envelope, VerifyingKey};
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
    /// A receipt this tier did not sign.
    #[error("{path}: {source}")]
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

/// A file among the receipts that counts for nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Which file.
    pub path: String,
    /// What is wrong.
    pub why: String,
    /// Whether it is whole, and another key than the region's signed it: that of an earlier
    /// enrolment.
    pub is_foreign: bool,
    /// Of a notice of deletion: the incarnation and the log that it is about, as files are named.
    about: Option<String>,
}

/// The receipts of one tier.
pub struct Receipts {
    disk: Arc<dyn Disk>,
    dir: String,
    region: VerifyingKey,
    counting: BTreeMap<Key, (Receipt, Envelope)>,
    /// What the tier says it keeps no longer: manifests, each with the notice.
    deleted: Notices,
    unusable: Vec<Unusable>,
}

impl Receipts {
    /// Reads the receipts in `dir` that `region` (its identity key) signed. Other files there
    /// are left alone; a receipt that cannot be used is passed over, see [`Receipts::unusable`].
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
        let mut unusable = Vec::new();
        for name in disk.list(dir).map_err(io(dir))? {
            let path = format!("{dir}/{name}");
            if let Some(about) = name.strip_suffix(DELETED) {
                match read_deleted(disk.as_ref(), &path, region) {
                    Ok(mut notices) => deleted.append(&mut notices),
                    Err(spoilt) => unusable.push(spoilt.named(path, Some(about.to_owned()))),
                }
            } else if name.ends_with(SUFFIX) {
                match read_receipt(disk.as_ref(), &path, region) {
                    Ok(Some((receipt, envelope))) => {
                        let key = (receipt.incarnation, receipt.origin.clone(), receipt.index);
                        counting.insert(key, (receipt, envelope));
                    }
                    Ok(None) => {}
                    Err(spoilt) => unusable.push(spoilt.named(path, None)),
                }
            }
        }
        Ok(Self { disk, dir: dir.to_owned(), region, counting, deleted, unusable })
    }

    /// Files that count for nothing: damaged, or signed by another key.
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }

    /// Puts what is unusable out of the way, under another name. A notice of deletion only once
    /// nothing counts that it may speak of: until then the tier has to say it again.
    pub fn set_aside_unusable(&mut self) -> Result<(), ReceiptsError> {
        let unusable = std::mem::take(&mut self.unusable);
        let counts = |about: &String| self.counting.values().any(|(r, _)| files_of(r) == *about);
        let (kept, gone): (Vec<_>, Vec<_>) =
            unusable.into_iter().partition(|it| it.about.as_ref().is_some_and(counts));
        self.unusable = kept;
        for Unusable { path, .. } in gone {
            self.disk
                .rename(&path, &format!("{path}{SET_ASIDE}"))
                .map_err(|source| ReceiptsError::Io { path, source })?;
        }
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), ReceiptsError> {
        let path = || self.dir.clone();
        self.disk.sync_dir(&self.dir).map_err(|source| ReceiptsError::Io { path: path(), source })
    }

    /// Whether the tier's word on what it deleted of this receipt's log cannot be read.
    fn is_doubted(&self, receipt: &Receipt) -> bool {
        self.unusable
            .iter()
            .any(|it| it.about.as_ref().is_some_and(|log| *log == files_of(receipt)))
    }

    /// Every receipt that has not been set aside, of every incarnation, for what the tier still
    /// says it keeps.
    pub fn all(&self) -> impl Iterator<Item = (&Receipt, &Envelope)> {
        let held = |(r, _): &&(Receipt, Envelope)| {
            self.deleted(r.incarnation, &r.manifest).is_none() && !self.is_doubted(r)
        };
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
        let about = format!("{}-{}", hex::encode(incarnation.0), origin.hash().to_hex());
        let path = format!("{}/{about}{DELETED}", self.dir);
        let mut news = opened(notices, self.region)
            .map_err(|source| ReceiptsError::NotBelieved { path: path.clone(), source })?;
        let doubted = self.unusable.iter().any(|it| it.about.as_ref() == Some(&about));
        if !doubted && news.keys().all(|key| self.deleted.contains_key(key)) {
            return Ok(());
        }
        write_atomic(self.disk.as_ref(), &path, &envelopes_to_json(notices))
            .map_err(|source| ReceiptsError::Io { path, source })?;
        self.deleted.append(&mut news);
        self.unusable.retain(|it| it.about.as_ref() != Some(&about));
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
        self.sync_dir()?;
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

/// What is wrong with a file, and whether another key signed it.
struct Spoilt {
    why: String,
    is_foreign: bool,
}

impl Spoilt {
    fn new(why: impl std::fmt::Display) -> Self {
        Self { why: why.to_string(), is_foreign: false }
    }

    /// What a whole envelope is refused for.
    fn of(envelope: &Envelope, region: VerifyingKey, why: &RecordError) -> Self {
        let is_foreign = envelope.signers().all(|key| key != region);
        Self { is_foreign, ..Self::new(why) }
    }

    fn named(self, path: String, about: Option<String>) -> Unusable {
        Unusable { path, why: self.why, is_foreign: self.is_foreign, about }
    }
}

/// How the names of files about a receipt's incarnation and log begin.
fn files_of(receipt: &Receipt) -> String {
    let incarnation = hex::encode(receipt.incarnation.0);
    // An origin that is none has no notices.
    let origin = receipt.origin.parse::<Origin>().map(|it| it.hash().to_hex());
    origin.map_or_else(|_| incarnation.clone(), |origin| format!("{incarnation}-{origin}"))
}

fn read_receipt(
    disk: &dyn Disk,
    path: &str,
    region: VerifyingKey,
) -> Result<Option<(Receipt, Envelope)>, Spoilt> {
    let Some(bytes) = read_file(disk, path, MAX_ENVELOPE).map_err(Spoilt::new)? else {
        return Ok(None);
    };
    let envelope = Envelope::parse(&bytes).map_err(Spoilt::new)?;
    let receipt =
        Receipt::open(&envelope, region).map_err(|e| Spoilt::of(&envelope, region, &e))?;
    Ok(Some((receipt, envelope)))
}

fn read_deleted(disk: &dyn Disk, path: &str, region: VerifyingKey) -> Result<Notices, Spoilt> {
    let bytes = read_file(disk, path, MAX_NOTICES).map_err(Spoilt::new)?;
    let Some(bytes) = bytes else { return Ok(Notices::new()) };
    let notices = envelopes_of_json(&bytes).map_err(Spoilt::new)?;
    opened(&notices, region).map_err(|why| {
        let of_all = |it: &Envelope| Spoilt::of(it, region, &why).is_foreign;
        Spoilt { is_foreign: notices.iter().all(of_all), ..Spoilt::new(&why) }
    })
}

/// What a tier says it keeps no longer: manifests, each with the notice.
type Notices = BTreeMap<(Hex32, Sha256), Deleted>;

fn opened(notices: &[Envelope], region: VerifyingKey) -> Result<Notices, RecordError> {
    let mut all = Notices::new();
    for envelope in notices {
        let notice = Deleted::open(envelope, region)?;
        for it in &notice.snapshots {
            all.insert((notice.incarnation, it.manifest), notice.clone());
        }
    }
    Ok(all)
}
