//! The newest checkpoint seen of every other log: whoever shows less or other entries is named.
//!
//! Beside it lie the hashes of the entries under it. With them a copy that shows fewer is known to be
//! an older state of the same history, or another history, without anybody else's help.

use std::cmp::Ordering;

use seawall_base::{Sha256, read_file, write_atomic};
use seawall_record::{Fleet, Sighting};
use seawall_tlog::merkle::{self, Frontier, HashReader};
use seawall_tlog::{Hash, Origin, SignedCheckpoint};

use super::PulledLog;
use crate::home::{Home, HomeError};
use crate::witnesses::write_evidence;

/// The entries seen before must be the entries seen now.
pub(super) fn check_pin(pin: Option<&SignedCheckpoint>, frontier: &Frontier) -> Result<(), String> {
    match pin.map(SignedCheckpoint::checkpoint) {
        Some(pin) if pin.size == frontier.size() && pin.root != frontier.root() => Err(format!(
            "its first {} entries are not those seen before: the history was forked; compare with another region",
            pin.size
        )),
        _ => Ok(()),
    }
}

fn pin_path(origin: &Origin) -> String {
    format!("pins/{}.checkpoint", origin.hash().to_hex())
}

pub(super) fn read_pin(
    home: &Home,
    origin: &Origin,
) -> Result<Option<SignedCheckpoint>, HomeError> {
    let path = pin_path(origin);
    let bytes = read_file(home.disk().as_ref(), &path, 1 << 20).map_err(HomeError::io(&path))?;
    let parsed = bytes.map(|b| SignedCheckpoint::parse(&b)).transpose();
    parsed.map_err(|e| HomeError::Pin { file: path, why: e.to_string() })
}

/// Remembers the newest checkpoint seen of a log, and the hashes of the entries under it. How many
/// entries were seen before, if they were more.
pub(super) fn keep_pin(
    home: &Home,
    pin: Option<&SignedCheckpoint>,
    log: &PulledLog,
) -> Result<Option<u64>, HomeError> {
    let signed = &log.checkpoint;
    let (seen, now) = (pin.map_or(0, |p| p.checkpoint().size), signed.checkpoint().size);
    if now < seen {
        return Ok(Some(seen));
    }
    let is_known = now == seen && pin.is_some();
    let (disk, path) = (home.disk(), leaves_path(&signed.checkpoint().origin));
    // An earlier version kept none. They come first: more of them than the pin covers do no harm.
    if !is_known || read_leaves(home, &log.origin).is_none() {
        let leaves: Vec<u8> = log.leaves().flat_map(|it| it.0).collect();
        write_atomic(disk.as_ref(), &path, &leaves).map_err(HomeError::io(&path))?;
    }
    if is_known {
        return Ok(None);
    }
    let path = pin_path(&signed.checkpoint().origin);
    write_atomic(disk.as_ref(), &path, &signed.to_bytes()).map_err(HomeError::io(&path))?;
    Ok(None)
}

/// Largest file of hashes in bytes.
const MAX_LEAVES: usize = 64 << 20;

fn leaves_path(origin: &Origin) -> String {
    format!("pins/{}.leaves", origin.hash().to_hex())
}

/// The hashes as they lie there. None where they cannot be used, which is said: then a shorter copy
/// cannot be told from another history, and no copy is worse for it.
fn read_leaves(home: &Home, origin: &Origin) -> Option<Vec<Hash>> {
    let path = leaves_path(origin);
    let bytes = match read_file(home.disk().as_ref(), &path, MAX_LEAVES) {
        Ok(bytes) => bytes?,
        Err(e) => {
            tracing::warn!(path, error = %e, "what was seen of a log cannot be read");
            return None;
        }
    };
    let (hashes, rest) = bytes.as_chunks::<32>();
    if !rest.is_empty() {
        tracing::warn!(path, "what was seen of a log is damaged, and kept anew");
        return None;
    }
    Some(hashes.iter().copied().map(Sha256).collect())
}

/// The tree of what was seen of a log, by which an older state of it can be told from another history.
pub(super) struct Seen(Vec<Hash>);

impl HashReader for Seen {
    fn hash(&self, level: u8, index: u64) -> std::io::Result<Hash> {
        let at = merkle::stored_position(level, index) as usize;
        self.0.get(at).copied().ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
    }
}

impl Seen {
    /// The tree under a pin, if this home keeps it whole.
    pub(super) fn under(home: &Home, pin: &SignedCheckpoint) -> Option<Self> {
        let pin = pin.checkpoint();
        let leaves = read_leaves(home, &pin.origin)?;
        let (mut frontier, mut stored) = (Frontier::default(), Vec::new());
        for leaf in leaves.get(..usize::try_from(pin.size).ok()?)? {
            frontier.push(*leaf, &mut stored);
        }
        (frontier.root() == pin.root).then_some(Self(stored))
    }

    /// The root over the first `now` entries, and the proof that all `seen` begin with them.
    pub(super) fn beginning(&self, now: u64, seen: u64) -> Result<(Hash, Vec<Hash>), HomeError> {
        let of = |e: merkle::MerkleError| HomeError::refused(format!("what was seen: {e}"));
        let root = merkle::root(self, now).map_err(of)?;
        Ok((root, merkle::consistency_proof(self, now, seen).map_err(of)?))
    }
}

/// How a copy that lags contradicts what was seen, if it does.
pub(super) fn check_lagging(
    home: &Home,
    pin: &SignedCheckpoint,
    log: &PulledLog,
) -> Result<Option<String>, HomeError> {
    let (now, seen) = (log.checkpoint.checkpoint(), pin.checkpoint().size);
    let Some(tree) = Seen::under(home, pin) else { return Ok(None) };
    let (before, _) = tree.beginning(now.size, seen)?;
    Ok((before != now.root).then(|| {
        format!(
            "its {} entries are not the first of the {seen} seen before: the history was forked; compare with another region",
            now.size
        )
    }))
}

/// Writes both histories' checkpoints where anybody can check them, and says where.
pub(super) fn contradiction(
    home: &Home,
    fleet: &Fleet,
    log: &PulledLog,
    (pin, why): (&SignedCheckpoint, &str),
) -> Result<String, HomeError> {
    let (seen, now) = (pin.checkpoint().size, log.checkpoint.checkpoint().size);
    let beginning = match seen.cmp(&now) {
        Ordering::Less => {
            let proof = merkle::consistency_proof(log, seen, now)
                .map_err(|e| HomeError::refused(e.to_string()))?;
            Some((log.root_at(seen)?, proof))
        }
        Ordering::Equal => None,
        Ordering::Greater => {
            Seen::under(home, pin).map(|it| it.beginning(now, seen)).transpose()?
        }
    };
    let sighting = |seen_at: &str, it: &SignedCheckpoint| Sighting {
        seen_at: seen_at.to_owned(),
        checkpoint: String::from_utf8_lossy(&it.to_bytes()).into_owned(),
    };
    let both = [sighting("seen before", pin), sighting(&log.region, &log.checkpoint)];
    let written = write_evidence(home, fleet, &log.state, why, (both, beginning))?;
    Ok(written.map_or_else(String::new, |path| format!("; both checkpoints are in {path}")))
}
