//! What a region keeps when a member's log shows it two histories, and shows to that log's tenant.
//!
//! A fork is proven by two checkpoints that the same log signed, so the file needs no trust in the
//! region. Invariants: only what proves itself is kept; a member that forks again and again fills
//! [`MAX_KEPT`] files of its own log and no more. What cannot be proven from here (a larger
//! checkpoint without a proof) is told to the operator and not kept.

use seawall_base::{Sha256, read_file, write_atomic};
use seawall_record::{EvidenceFile, Introduction, MAX_EVIDENCE, Sighting};
use seawall_tlog::{Evidence, Finding, LogError, SignedCheckpoint};
use serde_json::value::RawValue;

use crate::enrol::Member;
use crate::logs::LogSlot;
use crate::{Region, RegionError};

/// Most files kept of one log.
const MAX_KEPT: usize = 16;

impl Region {
    /// Keeps the proof of a fork, if that is what was found.
    pub(crate) fn keep_evidence(
        &self,
        member: &Member,
        slot: &LogSlot,
        finding: &Finding,
    ) -> Result<(), RegionError> {
        let Finding::Fork(evidence) = finding else { return Ok(()) };
        let Evidence { held, offered } = evidence.as_ref();
        let (smaller, larger) = (offered.checkpoint().size, held.checkpoint().size);
        let beginning = if smaller == larger {
            None
        } else {
            let known = self.with_log(slot, |log| {
                let root = log.mirror.root_at(smaller)?;
                Ok((root, log.mirror.consistency(smaller, larger)?))
            });
            match known {
                Ok(known) => Some(known),
                // Where the larger one's entries are not all here yet, nothing can be proven.
                Err(RegionError::Log(LogError::NoEntry { .. })) => return Ok(()),
                Err(e) => return Err(e),
            }
        };
        let subkeys: Vec<_> = member.subkeys.iter().rev().map(|(_, it)| it.clone()).collect();
        let author = Introduction::new(&member.envelope, &subkeys);
        let name = &self.config().name;
        let sightings = [sighting(name, offered), sighting(name, held)];
        let finding = "the history was forked";
        let file = EvidenceFile::new(&member.fleet, author, finding, sightings, beginning);
        let (dir, json) = (slot.evidence_dir(), file.to_json());
        let io = |what: &str| RegionError::io(format!("{what} {dir}"));
        self.disk.create_dir_all(&dir).map_err(io("creating"))?;
        let kept = self.disk.list(&dir).map_err(io("listing"))?;
        let name = format!("{}.json", &Sha256::of(&json).to_hex()[..16]);
        if kept.contains(&name) || kept.len() >= MAX_KEPT {
            return Ok(());
        }
        write_atomic(self.disk.as_ref(), &format!("{dir}/{name}"), &json).map_err(io("writing"))
    }

    /// What is kept about a log: a JSON array of evidence files.
    pub(crate) fn evidence(&self, slot: &LogSlot) -> Result<Vec<u8>, RegionError> {
        let dir = slot.evidence_dir();
        let io = |what: &str| RegionError::io(format!("{what} {dir}"));
        let mut all: Vec<Box<RawValue>> = Vec::new();
        let names = self.disk.list(&dir).or_else(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Ok(Vec::new()),
            _ => Err(e),
        });
        for name in names.map_err(io("listing"))? {
            let path = format!("{dir}/{name}");
            let bytes =
                read_file(self.disk.as_ref(), &path, MAX_EVIDENCE).map_err(io("reading"))?;
            // What a broken write left is nobody's evidence.
            if let Some(Ok(file)) = bytes.map(|bytes| serde_json::from_slice(&bytes)) {
                all.push(file);
            }
        }
        Ok(serde_json::to_vec(&all).expect("JSON values serialise"))
    }
}

fn sighting(seen_at: &str, it: &SignedCheckpoint) -> Sighting {
    let checkpoint = String::from_utf8_lossy(&it.to_bytes()).into_owned();
    Sighting { seen_at: seen_at.to_owned(), checkpoint }
}
