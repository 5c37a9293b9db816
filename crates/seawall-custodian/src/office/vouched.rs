//! What the fleet's witnesses say of the custodian's own logs.
//!
//! Each fleet's log goes to the witnesses of that fleet's policy that can be reached, and to
//! nobody else; what they sign stands on the checkpoint that is served. An entry makes a new
//! checkpoint that nobody has signed yet, so the last one that anybody did is kept beside the log:
//! it says up to where others hold this custodian to what it wrote.

use seawall_base::{FleetId, Timestamp, read_file, write_atomic};
use seawall_record::WitnessRecord;
use seawall_tlog::{AddCheckpoint, Kind, LogError, NoteSignature, SignedCheckpoint, Verifier};

use super::{Office, OfficeError};

/// Largest kept checkpoint in bytes.
const MAX_CHECKPOINT: usize = 256 << 10;

/// A witness that has not signed what a log says now.
#[derive(Debug, Clone)]
pub struct Unvouched {
    /// Whose log.
    pub fleet: FleetId,
    /// Who could sign it.
    pub witness: WitnessRecord,
}

/// Where the last checkpoint that a witness signed is kept.
pub(super) fn path(fleet: FleetId) -> String {
    format!("custody/{}/witnessed", fleet.to_hex())
}

/// The last checkpoint of a fleet's log that a witness signed.
pub(super) fn read(
    disk: &dyn seawall_base::Disk,
    fleet: FleetId,
) -> Result<Option<SignedCheckpoint>, OfficeError> {
    let path = path(fleet);
    let bytes = read_file(disk, &path, MAX_CHECKPOINT).map_err(OfficeError::io(&path))?;
    let parsed = bytes.map(|bytes| SignedCheckpoint::parse(&bytes)).transpose();
    parsed.map_err(|e| OfficeError::Damaged { path, why: e.to_string() })
}

impl Office {
    /// The witnesses that could sign a log's last checkpoint and have not.
    pub fn unvouched(&self) -> Result<Vec<Unvouched>, OfficeError> {
        let own = self.witness.verifier().map_err(LogError::from)?;
        let mut out = Vec::new();
        for (fleet, docket) in &self.dockets {
            let Some(signed) = docket.log().checkpoint() else { continue };
            if signed.checkpoint().size == 0 {
                continue;
            }
            for witness in docket.fleet.witnesses().iter().filter(|w| w.endpoint.is_some()) {
                let key = verifier(witness)?;
                let has_signed = signed.note().signatures().iter().any(|line| key.claims(line));
                if !has_signed && key != own {
                    out.push(Unvouched { fleet: *fleet, witness: witness.clone() });
                }
            }
        }
        Ok(out)
    }

    /// What to bring to a witness that has `old` entries of a fleet's log; `None` if that is more
    /// than there are.
    pub fn growth(&self, fleet: FleetId, old: u64) -> Result<Option<AddCheckpoint>, OfficeError> {
        let Some(docket) = self.dockets.get(&fleet) else { return Ok(None) };
        let log = docket.log();
        let Some(signed) = log.checkpoint().filter(|it| it.checkpoint().size >= old) else {
            return Ok(None);
        };
        let proof = log.consistency(old, signed.checkpoint().size)?;
        Ok(Some(AddCheckpoint { old, proof, checkpoint: signed.clone() }))
    }

    /// Takes what a witness signed. Returns the time it gave; `None` if the log has grown since.
    /// Without a signature under the name and key that the policy has for it, an error.
    pub fn vouch(
        &mut self,
        it: &Unvouched,
        brought: &SignedCheckpoint,
        lines: &[NoteSignature],
    ) -> Result<Option<Timestamp>, OfficeError> {
        let key = verifier(&it.witness)?;
        let Some(docket) = self.dockets.get_mut(&it.fleet) else { return Ok(None) };
        let is_last = |signed: &SignedCheckpoint| signed.note().text() == brought.note().text();
        if !docket.log().checkpoint().is_some_and(is_last) {
            return Ok(None);
        }
        let mut time = None;
        for line in lines.iter().filter(|line| key.claims(line)) {
            time = key.verify(brought.note().text(), line).map_err(LogError::from)?;
        }
        if time.is_none() || docket.add_cosignatures(lines, &[key])? == 0 {
            return Err(OfficeError::OtherWitness { name: it.witness.name.clone() });
        }
        let Some(bytes) = docket.log().checkpoint().map(SignedCheckpoint::to_bytes) else {
            return Ok(None);
        };
        let path = path(it.fleet);
        write_atomic(self.disk.as_ref(), &path, &bytes).map_err(OfficeError::io(&path))?;
        Ok(time)
    }
}

fn verifier(witness: &WitnessRecord) -> Result<Verifier, OfficeError> {
    let key = Verifier::new(&witness.name, Kind::Cosigner, &witness.key);
    Ok(key.map_err(LogError::from)?)
}
