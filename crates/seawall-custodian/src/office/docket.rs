//! What one fleet asked of this custodian: a log that is the truth, and the cases read from it.
//!
//! A request's file is durable before the log says that it was seen; an answer's file is durable
//! before the log says that it was given, and neither leaves before that. So after a crash the log
//! tells what counts: an answer it does not name is made anew, a request it does not name was
//! never seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seawall_base::{Disk, FleetId, GroupId, NodeId, Seconds, Sha256, Timestamp};
use seawall_base::{read_file, write_atomic};
use seawall_policy::custodian::{Decision, Facts};
use seawall_record::{Act, BadShareFile, CustodianAct, Fleet, MAX_DOSSIER};
use seawall_sign::{Envelope, SigningKey, StatementKey, VerifyingKey};
use seawall_tlog::{Kind, Log, LogError, Origin, Verifier};

use super::OfficeError;
use crate::message::MAX_STATUS;

/// Where reports of bad shares are kept.
const BAD_SHARES: &str = "bad-shares";

/// Answers older than this no longer count for anything.
const COUNTED: Seconds = Seconds::days(2);

/// What a custodian's log is signed with. Checkpoints are Ed25519 by their protocol: where the
/// custodian's signing key is not, they are signed by the key of its connections, which the
/// fleet's policy names beside its address.
pub struct LogKeys {
    /// Signs the entries; the custodian's signing key.
    pub statements: StatementKey,
    /// Signs the checkpoints.
    pub checkpoints: SigningKey,
}

/// How a case stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stand {
    Pending,
    Refused(String),
    /// With the digest of the approval.
    Answered(Sha256),
}

/// One request, as the log tells it.
#[derive(Debug, Clone)]
pub(super) struct Case {
    pub(super) requester: NodeId,
    pub(super) transport: VerifyingKey,
    pub(super) manifest: Sha256,
    pub(super) group: GroupId,
    pub(super) class: String,
    pub(super) files: u64,
    pub(super) bytes: u64,
    pub(super) reason: String,
    pub(super) seen: Timestamp,
    pub(super) expires: Timestamp,
    pub(super) confirmed: BTreeSet<String>,
    pub(super) declined: Option<String>,
    /// The kind of the last decision in the log.
    pub(super) decided: Option<String>,
    pub(super) stand: Stand,
}

/// A fleet's cases.
pub(super) struct Docket {
    disk: Arc<dyn Disk>,
    dir: String,
    pub(super) fleet: Fleet,
    log: Log,
    pub(super) cases: BTreeMap<Sha256, Case>,
    /// Class and time of answers that may still count.
    pub(super) answered: Vec<(String, Timestamp)>,
    /// Whether the share was good, of each manifest that came.
    pub(super) arrived: BTreeMap<Sha256, bool>,
    /// A write failed: what the log holds is known after reading it again.
    is_stale: bool,
}

/// The origin of the log a custodian keeps for a fleet.
pub(super) fn origin(fleet: FleetId, custodian: VerifyingKey) -> Origin {
    let id = custodian.node_id().to_hex();
    let text = format!("seawall/{}/custodian/{id}", fleet.to_hex());
    text.parse().expect("hexadecimal digits and slashes, 147 of them")
}

impl Docket {
    /// Opens the docket of a fleet, making it if there is none.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        fleet: Fleet,
        signing: &LogKeys,
    ) -> Result<Self, OfficeError> {
        let dir = format!("custody/{}", fleet.id().to_hex());
        for part in ["log", "requests", "answers", BAD_SHARES] {
            let path = format!("{dir}/{part}");
            disk.create_dir_all(&path).map_err(OfficeError::io(&path))?;
        }
        let origin = origin(fleet.id(), signing.statements.public());
        let (mut log, _) = Log::open(disk.clone(), &format!("{dir}/log"), &origin)?;
        let acts = read_acts(&log, fleet.id(), signing.statements.public())?;
        // Entries that a crash left without a checkpoint get theirs; so does an empty log.
        let signed = log.checkpoint().map(|signed| signed.checkpoint().size);
        if signed != Some(log.size()) {
            log.sign_checkpoint(&signing.checkpoints)?;
        }
        let (cases, answered, arrived) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        let mut it = Self { disk, dir, fleet, log, cases, answered, arrived, is_stale: false };
        for act in acts {
            it.apply(act);
        }
        Ok(it)
    }

    /// Reads everything again after a failed write.
    pub(super) fn refresh(&mut self, signing: &LogKeys) -> Result<(), OfficeError> {
        if self.is_stale {
            *self = Self::open(self.disk.clone(), self.fleet.clone(), signing)?;
        }
        Ok(())
    }

    /// The log, for those who watch it.
    pub(super) const fn log(&self) -> &Log {
        &self.log
    }

    /// Writes acts about one request into the log; durable, and under a checkpoint, when this
    /// returns.
    pub(super) fn record(
        &mut self,
        request: Sha256,
        at: Timestamp,
        acts: Vec<Act>,
        signing: &LogKeys,
    ) -> Result<(), OfficeError> {
        let fleet = self.fleet.id();
        let acts: Vec<_> =
            acts.into_iter().map(|act| CustodianAct { fleet, request, at, act }).collect();
        let mut entries = Vec::with_capacity(acts.len());
        for act in &acts {
            let envelope = act.clone().statement().sign(&[&signing.statements])?;
            // What a reader would refuse is never written.
            CustodianAct::open(fleet, &envelope, signing.statements.public())?;
            entries.push(envelope.to_json());
        }
        self.is_stale = true;
        self.log.append(&entries)?;
        self.log.sign_checkpoint(&signing.checkpoints)?;
        self.is_stale = false;
        for act in acts {
            self.apply(act);
        }
        Ok(())
    }

    /// What an act means for the case it is about.
    fn apply(&mut self, act: CustodianAct) {
        let CustodianAct { request, at, act, .. } = act;
        if let Act::Seen {
            requester,
            transport,
            manifest,
            group,
            class,
            files,
            bytes,
            reason,
            expires,
        } = act
        {
            let case = Case {
                requester,
                transport,
                manifest,
                group,
                class,
                files,
                bytes,
                reason,
                seen: at,
                expires,
                confirmed: BTreeSet::new(),
                declined: None,
                decided: None,
                stand: Stand::Pending,
            };
            self.cases.entry(request).or_insert(case);
            return;
        }
        if matches!(act, Act::ShareGood { .. } | Act::ShareBad { .. }) {
            self.arrived.insert(request, matches!(act, Act::ShareGood { .. }));
            return;
        }
        let Some(case) = self.cases.get_mut(&request) else { return };
        match act {
            Act::Seen { .. } | Act::ShareGood { .. } | Act::ShareBad { .. } => {}
            Act::Confirmed { approver, .. } => {
                case.confirmed.insert(approver);
            }
            Act::Declined { approver, .. } => case.declined = Some(approver),
            Act::Decided { decision, why, .. } => {
                if decision == REFUSE {
                    case.stand = Stand::Refused(why);
                }
                case.decided = Some(decision);
            }
            Act::Answered { approval } => {
                case.stand = Stand::Answered(approval);
                self.answered.push((case.class.clone(), at));
            }
        }
    }

    /// Drops what has expired: the case here, its request and its answer from the disk.
    pub(super) fn forget_expired(&mut self, now: Timestamp) -> Result<(), OfficeError> {
        self.answered.retain(|(_, at)| at.after(COUNTED) > now);
        self.cases.retain(|_, case| case.expires >= now);
        for part in ["requests", "answers"] {
            let dir = format!("{}/{part}", self.dir);
            for name in self.disk.list(&dir).map_err(OfficeError::io(&dir))? {
                let digest = name.strip_suffix(".json").and_then(|hex| Sha256::from_hex(hex).ok());
                if digest.is_some_and(|digest| self.cases.contains_key(&digest)) {
                    continue;
                }
                let path = format!("{dir}/{name}");
                self.disk.remove(&path).map_err(OfficeError::io(&path))?;
            }
        }
        Ok(())
    }

    fn path(&self, part: &str, request: Sha256) -> String {
        format!("{}/{part}/{}.json", self.dir, request.to_hex())
    }

    /// Keeps a request's file.
    pub(super) fn keep_request(&self, request: Sha256, dossier: &[u8]) -> Result<(), OfficeError> {
        let path = self.path("requests", request);
        write_atomic(self.disk.as_ref(), &path, dossier).map_err(OfficeError::io(&path))
    }

    /// A request's file; `None` if it is gone.
    pub(super) fn request(&self, request: Sha256) -> Result<Option<Vec<u8>>, OfficeError> {
        let path = self.path("requests", request);
        read_file(self.disk.as_ref(), &path, MAX_DOSSIER).map_err(OfficeError::io(&path))
    }

    /// Keeps what convicts a dealer, for showing around; durable before the log names it.
    pub(super) fn keep_bad_share(
        &self,
        manifest: Sha256,
        file: &BadShareFile,
    ) -> Result<(), OfficeError> {
        let path = self.path(BAD_SHARES, manifest);
        write_atomic(self.disk.as_ref(), &path, &file.to_json()).map_err(OfficeError::io(&path))
    }

    /// Keeps an answer; it counts once the log names its digest, which this returns.
    pub(super) fn keep_answer(
        &self,
        request: Sha256,
        approval: &Envelope,
    ) -> Result<Sha256, OfficeError> {
        let (path, bytes) = (self.path("answers", request), approval.to_json());
        write_atomic(self.disk.as_ref(), &path, &bytes).map_err(OfficeError::io(&path))?;
        Ok(Sha256::of(&bytes))
    }

    /// The answer the log names.
    pub(super) fn answer(&self, request: Sha256, named: Sha256) -> Result<Vec<u8>, OfficeError> {
        let path = self.path("answers", request);
        let bytes =
            read_file(self.disk.as_ref(), &path, MAX_STATUS).map_err(OfficeError::io(&path))?;
        bytes.filter(|bytes| Sha256::of(bytes) == named).ok_or_else(|| OfficeError::Damaged {
            path,
            why: "not the answer that the log names".to_owned(),
        })
    }

    /// The facts of a case, for the policy.
    pub(super) fn facts<'d>(&'d self, case: &'d Case) -> Facts<'d> {
        Facts {
            fleet: self.fleet.id(),
            class: &case.class,
            requester: case.requester,
            reason: &case.reason,
            files: case.files,
            bytes: case.bytes,
            seen: case.seen,
            expires: case.expires,
            answered: &self.answered,
            confirmed: u16::try_from(case.confirmed.len()).unwrap_or(u16::MAX),
            refused_by: case.declined.as_deref(),
        }
    }
}

/// The kind of a decision, as the log says it.
pub(super) const fn kind(decision: &Decision) -> &'static str {
    match decision {
        Decision::Answer => "answer",
        Decision::Wait { .. } => "wait",
        Decision::Persons { .. } => "persons",
        Decision::NoRule => "no-rule",
        Decision::Refuse(_) => REFUSE,
    }
}

pub(super) const REFUSE: &str = "refuse";

/// A log that was read from beginning to end.
pub struct ReadLog {
    /// Its origin.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// What they say, each signature checked.
    pub acts: Vec<CustodianAct>,
}

/// Reads the log this home keeps for a fleet; `None` if there is none. Entries, tree and the last
/// checkpoint are checked against one another. The machine must not be running.
pub fn read_log(
    disk: Arc<dyn Disk>,
    fleet: FleetId,
    keys: &LogKeys,
) -> Result<Option<ReadLog>, OfficeError> {
    let custodian = keys.statements.public();
    let dir = format!("custody/{}/log", fleet.to_hex());
    if disk.list(&dir).map_err(OfficeError::io(&dir))?.is_empty() {
        return Ok(None);
    }
    let origin = origin(fleet, custodian);
    let (log, _) = Log::open(disk, &dir, &origin)?;
    let damaged = |why: &str| OfficeError::Damaged { path: dir.clone(), why: why.to_owned() };
    let signed = log.checkpoint().ok_or_else(|| damaged("it has no checkpoint"))?;
    let key = Verifier::new(origin.as_str(), Kind::Signer, &keys.checkpoints.public())
        .map_err(LogError::from)?;
    signed.verify(&[key]).map_err(LogError::from)?;
    let (origin, size) = (origin.to_string(), log.size());
    Ok(Some(ReadLog { origin, size, acts: read_acts(&log, fleet, custodian)? }))
}

/// Every act in a custodian's log, each checked.
fn read_acts(
    log: &Log,
    fleet: FleetId,
    custodian: VerifyingKey,
) -> Result<Vec<CustodianAct>, OfficeError> {
    /// Entries read at a time.
    const STEP: u64 = 1_024;
    let mut acts = Vec::new();
    let mut next = 0;
    while next < log.size() {
        let end = (next + STEP).min(log.size());
        for entry in log.entries(next..end)? {
            acts.push(CustodianAct::open(fleet, &Envelope::parse(&entry)?, custodian)?);
        }
        next = end;
    }
    Ok(acts)
}
