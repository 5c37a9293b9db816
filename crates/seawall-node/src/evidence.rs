//! What a restore leaves behind: the request and the approvals that opened it, an entry in the log,
//! and for whoever finds the restored tree later, where it came from.
//!
//! The record of where a tree came from is in the home, under the hash of the tree's path, and not
//! beside the tree: a file in it would make it another tree than the one that was signed, and one
//! beside it would be left behind or moved by the first `mv`. A copy of the tree elsewhere has no
//! record; what it came from is told by the path it was restored to.
//!
//! Approvals are encrypted to the request's one-time key, whose secret is deleted when the request
//! expires. Until then whoever steals the home can open that one snapshot again, as before.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use seawall_base::{Clock, Disk as _, Rng, Sha256, Timestamp, write_atomic};
use seawall_record::{Dossier, Ending, Restored, SnapshotPlace, Use};
use serde::{Deserialize, Serialize};

use crate::home::{Home, HomeError, append};
use crate::opening::{Opened, examine_kept};

const EVIDENCE: &str = "evidence";
const PROVENANCE: &str = "provenance";
const FORMAT: &str = "seawall-provenance/1";

/// Keeps a request and the approvals that opened its snapshot.
pub fn keep(home: &Home, request: &[u8], opened: &Opened) -> Result<(), HomeError> {
    let dir = dir_of(opened.examined.dossier.request_digest);
    let disk = home.disk();
    disk.create_dir_all(&dir).map_err(HomeError::io(&dir))?;
    let write = |path: String, bytes: &[u8]| {
        write_atomic(disk.as_ref(), &path, bytes).map_err(HomeError::io(&path))
    };
    write(format!("{dir}/request.json"), request)?;
    for (index, approval) in &opened.approvals {
        write(format!("{dir}/approval-{index}.json"), &approval.to_json())?;
    }
    Ok(())
}

fn dir_of(request: Sha256) -> String {
    format!("{EVIDENCE}/{}", request.to_hex())
}

/// A request that was used here, and the approvals kept with it. Nothing in them is checked.
#[derive(Debug)]
pub(crate) struct Kept {
    /// The request's file.
    pub(crate) request: Vec<u8>,
    /// The approvals.
    pub(crate) approvals: Vec<Vec<u8>>,
}

/// Every request that was used here. Other evidence lies beside their directories, as files: of
/// nodes that wrote two histories, and of witnesses.
pub(crate) fn kept(home: &Home) -> Result<Vec<Kept>, HomeError> {
    let disk = home.disk();
    let mut out = Vec::new();
    let names = disk.list(EVIDENCE).map_err(HomeError::io(EVIDENCE))?;
    for digest in names.iter().filter_map(|name| Sha256::from_hex(name).ok()) {
        let dir = dir_of(digest);
        // Cut off before it was whole: its restore has not begun.
        let Some(request) = home.read(&format!("{dir}/request.json"))? else { continue };
        let mut approvals = Vec::new();
        for file in disk.list(&dir).map_err(HomeError::io(&dir))? {
            if file.starts_with("approval-") && file.ends_with(".json") {
                approvals.extend(home.read(&format!("{dir}/{file}"))?);
            }
        }
        out.push(Kept { request, approvals });
    }
    Ok(out)
}

/// Where a tree in this machine came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    format: String,
    /// The directory that was restored into.
    pub target: String,
    /// Name of the node that made the snapshot.
    pub site: String,
    /// The snapshot.
    pub snapshot: SnapshotPlace,
    /// Its index in its log.
    pub index: u64,
    /// When its node says it was made.
    pub created: Timestamp,
    /// Digest of the request, whose file is in the home's `evidence/`.
    pub request: Sha256,
    /// Digests of the approvals.
    pub approvals: Vec<Sha256>,
    /// What was restored of it, and how that ended.
    pub what: Use,
    /// How that ended.
    pub ending: Ending,
    /// When it was restored.
    pub restored: Timestamp,
}

/// Logs that a snapshot was used, and, where a tree was written, what it came from.
pub fn record_use(
    home: &Home,
    opened: &Opened,
    (what, ending): (Use, Ending),
    target: Option<&Path>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<(), HomeError> {
    let fleet = home.fleet()?;
    let dossier = &opened.examined.dossier;
    let core = &dossier.manifest.core;
    let snapshot = SnapshotPlace {
        origin: core.origin.clone(),
        sequence: core.sequence,
        manifest: dossier.manifest_digest,
    };
    let mut approvals: Vec<_> = opened.approvals.iter().map(|(_, a)| a.digest()).collect();
    approvals.sort_unstable();
    approvals.dedup();
    let lock = home.lock()?;
    let now = clock.now();
    if let Some(target) = target {
        let record = Provenance {
            format: FORMAT.to_owned(),
            target: text(target)?,
            site: dossier.author.name.clone(),
            snapshot: snapshot.clone(),
            index: dossier.request.index,
            created: core.created,
            request: dossier.request_digest,
            approvals: approvals.clone(),
            what,
            ending,
            restored: now,
        };
        home.disk().create_dir_all(PROVENANCE).map_err(HomeError::io(PROVENANCE))?;
        home.write_json(&path_of(target), &record)?;
    }
    let mut log = home.log_for_writing(&fleet, &lock)?;
    let mut state = home.log_state(&fleet, &log)?;
    let subkey = home.subkey(&fleet, &mut log, &mut state, clock, rng)?;
    let (own, _) = home.enrolment(&fleet)?;
    let restored = Restored {
        fleet: fleet.id(),
        node: own.node(),
        origin: log.origin().as_str().to_owned(),
        request: dossier.request_digest,
        snapshot,
        approvals,
        what,
        ending,
        created: now,
    };
    append(&mut log, &mut state, &restored.statement().sign(&[&subkey])?)?;
    log.sign_checkpoint(&subkey)?;
    Ok(())
}

fn text(path: &Path) -> Result<String, HomeError> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        HomeError::refused(format!("{} is not UTF-8: no record was kept", path.display()))
    })
}

fn path_of(target: &Path) -> String {
    format!("{PROVENANCE}/{}.json", Sha256::of(target.as_os_str().as_bytes()).to_hex())
}

/// That a snapshot stands where a record says, as its request proves it.
#[derive(Debug, Clone)]
pub struct OriginProof {
    /// A checkpoint its author signed (C2SP signed note).
    pub checkpoint: String,
    /// Entries of the log under it.
    pub log_size: u64,
    /// The manifest's inclusion proof.
    pub inclusion: Vec<Sha256>,
    /// Why the request would be refused today, if it would.
    pub refused_today: Option<String>,
}

/// The proof kept with the request of a record, checked again; none if it is not there any more.
pub fn prove_origin(home: &Home, record: &Provenance) -> Result<Option<OriginProof>, HomeError> {
    let path = format!("{}/request.json", dir_of(record.request));
    let Some(request) = home.read(&path)? else { return Ok(None) };
    let (examined, refused_today) = examine_kept(home, &request)?;
    let it = &examined.dossier;
    if (it.request_digest, it.manifest_digest) != (record.request, record.snapshot.manifest) {
        return Err(HomeError::damaged(&path, "it is another request than the record's"));
    }
    let parts = Dossier::parse(&request)?;
    let (checkpoint, inclusion) = (parts.checkpoint, parts.inclusion);
    let log_size = examined.log_size;
    Ok(Some(OriginProof { checkpoint, log_size, inclusion, refused_today }))
}

/// What a file came from: the record of the tree it is in, and its path in the snapshot.
pub fn provenance(home: &Home, file: &Path) -> Result<Option<(Provenance, PathBuf)>, HomeError> {
    for target in file.ancestors() {
        let path = path_of(target);
        if home.read(&path)?.is_none() {
            continue;
        }
        let record: Provenance = home.read_json(&path)?;
        if record.format != FORMAT || Path::new(&record.target) != target {
            return Err(HomeError::damaged(&path, "it is not the record of that directory"));
        }
        let inner = file.strip_prefix(target).unwrap_or(file);
        return Ok(Some((record, Path::new("/").join(inner))));
    }
    Ok(None)
}
