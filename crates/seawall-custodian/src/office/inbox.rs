//! What the custodian's people say: signed verdicts, put into the home by a command beside the
//! running machine.
//!
//! A verdict counts once it is in the log; then its file goes. One that counts for nothing goes
//! too, with a word in the machine's own log. One that was not read, for whatever reason, stays:
//! it may be a no. While it is there, nothing is answered that it could be about; its name says
//! what that is.

use std::collections::BTreeSet;
use std::io;

use seawall_base::{FleetId, Sha256, Timestamp, read_file};
use seawall_record::{Act, PersonVerdict};
use seawall_sign::{Envelope, VerifyingKey};

use super::docket::Stand;
use super::{Office, OfficeError};

/// Where verdicts are put. A file's name begins with the digest of the request in hexadecimal.
pub const VERDICTS: &str = "verdicts";

/// Largest verdict in bytes.
const MAX_VERDICT: usize = 16 << 10;

/// Files taken in one go.
const MAX_AT_ONCE: usize = 64;

/// The names of verdicts that have not been taken.
#[derive(Debug, Default)]
pub(super) struct Unheard(BTreeSet<String>);

impl Unheard {
    /// Whether one of them may be about a request. A name that says nothing is about all.
    pub(super) fn may_concern(&self, request: Sha256) -> bool {
        let about = |name: &String| Sha256::from_hex(name.get(..64)?).ok();
        self.0.iter().any(|name| about(name).is_none_or(|digest| digest == request))
    }
}

impl Office {
    /// Takes what people said into the log.
    pub(super) fn read_verdicts(&mut self, now: Timestamp) -> Result<(), OfficeError> {
        let names = self.disk.list(VERDICTS).map_err(OfficeError::io(VERDICTS))?;
        let mut unheard = BTreeSet::new();
        let mut taken = 0;
        for name in names.into_iter().filter(|name| name.strip_suffix(".json").is_some()) {
            let path = format!("{VERDICTS}/{name}");
            if taken == MAX_AT_ONCE {
                unheard.insert(name);
                continue;
            }
            match read_file(self.disk.as_ref(), &path, MAX_VERDICT) {
                Ok(Some(bytes)) => self.hear(&path, &bytes, now)?,
                Ok(None) => continue,
                Err(e) if e.kind() == io::ErrorKind::FileTooLarge => {
                    tracing::warn!(path, error = %e, "a verdict counts for nothing");
                }
                Err(e) => {
                    if !self.unheard.0.contains(&name) {
                        tracing::error!(path, error = %e, "a verdict cannot be read: its request is not answered while it is there");
                    }
                    unheard.insert(name);
                    continue;
                }
            }
            taken += 1;
            self.disk.remove(&path).map_err(OfficeError::io(&path))?;
        }
        self.unheard = Unheard(unheard);
        Ok(())
    }

    fn hear(&mut self, path: &str, bytes: &[u8], now: Timestamp) -> Result<(), OfficeError> {
        let opened = Envelope::parse(bytes).map_err(|e| e.to_string()).and_then(|e| {
            PersonVerdict::open(&e, &self.rules.approvers()).map_err(|e| e.to_string())
        });
        let (verdict, key) = match opened {
            Ok(opened) => opened,
            Err(e) => {
                tracing::warn!(path, error = %e, "a verdict counts for nothing");
                return Ok(());
            }
        };
        let Some((fleet, digest)) = self.open_case(verdict.request) else {
            tracing::warn!(path, "a verdict is about no open request");
            return Ok(());
        };
        let act = self.act(&verdict, key);
        let docket = self.dockets.get_mut(&fleet).expect("the case is in it");
        docket.record(digest, now, vec![act], &self.signing)
    }

    fn open_case(&self, request: Sha256) -> Option<(FleetId, Sha256)> {
        self.dockets.iter().find_map(|(fleet, docket)| {
            let case = docket.cases.get(&request)?;
            (case.stand == Stand::Pending).then_some((*fleet, request))
        })
    }

    fn act(&self, verdict: &PersonVerdict, key: VerifyingKey) -> Act {
        let approver = self.rules.approver(&key).expect("one of the approvers signed").to_owned();
        if verdict.confirmed {
            Act::Confirmed { approver, key }
        } else {
            Act::Declined { approver, key, why: verdict.why.clone() }
        }
    }
}
