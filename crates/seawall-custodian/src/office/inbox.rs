//! What the custodian's people say: signed verdicts, put into the home by a command beside the
//! running machine.
//!
//! A verdict counts once it is in the log; then its file goes. One that is whole and counts for
//! nothing, since no approver signed it or its request is not open, goes too, with a word in the
//! machine's own log. Everything else stays, whether it was not read or makes no sense: it may be
//! what a failing disk left of a no. While it is there, nothing is answered that it could be about;
//! its name says what that is. Only the home's owner can put anything there, so nobody else can
//! hold a request this way. Whoever said it says it again, which replaces the file; or a person
//! moves it away.

use std::collections::BTreeSet;

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
    /// What is there is not known: it may be about anything.
    fn all() -> Self {
        Self(BTreeSet::from([VERDICTS.to_owned()]))
    }

    /// Whether one of them may be about a request. A name that says nothing is about all.
    pub(super) fn may_concern(&self, request: Sha256) -> bool {
        let about = |name: &String| Sha256::from_hex(name.get(..64)?).ok();
        self.0.iter().any(|name| about(name).is_none_or(|digest| digest == request))
    }
}

/// What became of a verdict's file.
enum Heard {
    /// It is in the log, or counts for nothing, and goes.
    Settled,
    /// It stays, and why.
    Unclear(String),
    /// It is not there any more.
    Gone,
}

impl Office {
    /// Takes what people said into the log. One that cannot be taken holds what it may be about,
    /// and stops no other; the first error is told at the end.
    pub(super) fn read_verdicts(&mut self, now: Timestamp) -> Result<(), OfficeError> {
        let names = self.disk.list(VERDICTS).map_err(OfficeError::io(VERDICTS));
        let names = names.inspect_err(|_| self.unheard = Unheard::all())?;
        let (mut unheard, mut trouble) = (BTreeSet::new(), None);
        let mut taken = 0;
        for name in names.into_iter().filter(|name| name.strip_suffix(".json").is_some()) {
            if taken == MAX_AT_ONCE {
                unheard.insert(name);
                continue;
            }
            let path = format!("{VERDICTS}/{name}");
            let settled = match self.take_verdict(&path, now) {
                Ok(Heard::Gone) => continue,
                Ok(Heard::Settled) => self.disk.remove(&path).map_err(OfficeError::io(&path)),
                Ok(Heard::Unclear(why)) => {
                    if !self.unheard.0.contains(&name) {
                        tracing::error!(
                            path,
                            why,
                            "a verdict was not understood and may be a no: its request is not answered while it is there; whoever said it says it again, or somebody moves the file away"
                        );
                    }
                    unheard.insert(name);
                    continue;
                }
                Err(e) => Err(e),
            };
            taken += 1;
            if let Err(e) = settled {
                unheard.insert(name);
                trouble = trouble.or(Some(e));
            }
        }
        self.unheard = Unheard(unheard);
        trouble.map_or(Ok(()), Err)
    }

    fn take_verdict(&mut self, path: &str, now: Timestamp) -> Result<Heard, OfficeError> {
        let bytes = match read_file(self.disk.as_ref(), path, MAX_VERDICT) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return Ok(Heard::Gone),
            Err(e) => return Ok(Heard::Unclear(e.to_string())),
        };
        let envelope = match Envelope::parse(&bytes) {
            Ok(envelope) => envelope,
            Err(e) => return Ok(Heard::Unclear(e.to_string())),
        };
        let approvers = self.rules.approvers();
        let (verdict, key) = match PersonVerdict::open(&envelope, &approvers) {
            Ok(opened) => opened,
            Err(e) if is_whole_and_of_others(&envelope, &approvers) => {
                tracing::warn!(path, error = %e, "a verdict counts for nothing");
                return Ok(Heard::Settled);
            }
            Err(e) => return Ok(Heard::Unclear(e.to_string())),
        };
        let Some((fleet, digest)) = self.open_case(verdict.request) else {
            tracing::warn!(path, "a verdict is about no open request");
            return Ok(Heard::Settled);
        };
        let act = self.act(&verdict, key);
        let docket = self.dockets.get_mut(&fleet).expect("the case is in it");
        if docket.is_stale() {
            return Ok(Heard::Unclear("its fleet's log cannot be written just now".to_owned()));
        }
        docket.record(digest, now, vec![act], &self.signing)?;
        Ok(Heard::Settled)
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

/// Whether every signature is a good one, and none is in the name of an approver.
fn is_whole_and_of_others(envelope: &Envelope, approvers: &[VerifyingKey]) -> bool {
    let signers: Vec<_> = envelope.signers().collect();
    signers.iter().all(|key| !approvers.contains(key))
        && envelope.verify(&signers, signers.len()).is_ok()
}
