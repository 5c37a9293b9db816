//! The custodian's machine without a network: requests in, decisions, answers out.
//!
//! Synchronous, over the capabilities it is given, so that a test can cut its power and set its
//! clock. Each fleet has a docket of its own ([`docket`]): a directory, a log, cases; nothing of
//! one is ever looked at for another.
//!
//! What is answered was examined twice: when it came, and again from the kept file in the moment
//! of the answer. Between the two lies whatever the policy wants: hours, days, people. The answer
//! is durable and in the log before it leaves, and it leaves to one key only, that of the
//! requester's connection. No path here makes a partial before [`seawall_policy::custodian`] said
//! [`Decision::Answer`].
//!
//! Not written down: what is no valid request of an enrolled node to a fleet served here. Anybody
//! can make such things without end, and they would fill the log.

mod arrivals;
mod docket;
mod inbox;
mod rules;
mod shares;
mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seawall_base::{
    Clock, Disk, FleetId, GroupId, NodeId, Rng, Seconds, Sha256, Timestamp, write_atomic,
};
use seawall_policy::custodian::{Decision, PolicyError};
use seawall_record::{
    Act, Alive, AliveOutlook, Dossier, Enrolment, Fleet, Introduction, RecordError, Request, Role,
};
use seawall_sign::{SignError, Signer, Statement, VerifyingKey};
use seawall_tlog::{Judgement, LogError};
use serde::{Deserialize, Serialize};

use self::arrivals::Arrivals;
use self::docket::{Case, Docket, Stand, kind};
pub use self::docket::{LogKeys, ReadLog, read_log};
pub use self::inbox::VERDICTS;
pub use self::rules::Rules;
pub use self::shares::{HeldShare, ShareTrouble};
use self::time::{At, LatestTime};
use crate::message::{AliveRequest, Refusal, RequestStatus, Standing};
use crate::{CustodianError, Examined, WitnessDesk, examine};

/// Cases of one fleet that are neither answered nor refused, at one time.
const MAX_PENDING: usize = 256;

/// The same of one requester.
const MAX_PENDING_OF_ONE: usize = 16;

/// New requests of one requester in any hour.
const MAX_NEW_IN_AN_HOUR: usize = 60;

/// Keys of connections that showed an enrolment, remembered at one time.
const MAX_MEMBERS: usize = 10_000;

/// After trouble with a share, such as a token that is not there, nothing is tried for this long.
const PAUSE: Seconds = Seconds(60);

/// Why the office cannot be opened, or cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OfficeError {
    /// The disk failed.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not what it should be.
    #[error("{path}: {why}; restore it from a copy of this home")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The policy file.
    #[error(transparent)]
    BadPolicy(#[from] PolicyError),
    /// The policy names something that is not there.
    #[error("the policy's {place}: {why}")]
    Policy {
        /// Which part.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The log.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A statement in the log.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A signature.
    #[error(transparent)]
    Sign(#[from] SignError),
}

impl OfficeError {
    pub(crate) fn io(path: &str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

impl From<OfficeError> for Refusal {
    fn from(e: OfficeError) -> Self {
        Self::internal(&e)
    }
}

/// What a office is made of.
pub struct OfficeParts {
    /// The custodian's home.
    pub disk: Arc<dyn Disk>,
    /// The clock; it may jump.
    pub clock: Arc<dyn Clock>,
    /// Randomness for partials.
    pub rng: Box<dyn Rng>,
    /// What its log, and its signs of life, are signed with.
    pub signing: LogKeys,
    /// The fleets it serves.
    pub fleets: Vec<Fleet>,
    /// The policy.
    pub rules: Rules,
    /// Its shares.
    pub shares: Vec<HeldShare>,
    /// What it witnesses.
    pub witness: WitnessDesk,
    /// Believe the clock though a later time has been seen.
    pub forget_time: bool,
}

/// Something the custodian's people should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The fleet's name.
    pub fleet_name: String,
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the request.
    pub request: Sha256,
    /// Who asks: the node's id.
    pub requester: String,
    /// Why.
    pub reason: String,
    /// The class of the snapshot.
    pub class: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Until when it may be answered.
    pub expires: Timestamp,
    /// What the policy says about it.
    pub decision: String,
}

/// One case, for the custodian's people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedCase {
    /// The fleet's name.
    pub fleet_name: String,
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the request.
    pub request: Sha256,
    /// The snapshot.
    pub manifest: Sha256,
    /// Its escrow group.
    pub group: GroupId,
    /// Who asks: the node's id.
    pub requester: String,
    /// Why.
    pub reason: String,
    /// The class of the snapshot.
    pub class: String,
    /// Files in it.
    pub files: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// When it was first seen.
    pub seen: Timestamp,
    /// Until when it may be answered.
    pub expires: Timestamp,
    /// How it stands.
    pub state: Standing,
    /// What the policy says about it.
    pub decision: String,
    /// Who confirmed it.
    pub confirmed: Vec<String>,
}

/// Every case that has not expired, in a file that people's commands read beside the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseList {
    format: String,
    /// The cases, of all fleets.
    pub cases: Vec<ListedCase>,
}

/// Where the list of cases is.
pub const CASES: &str = "custody/cases.json";

/// The custodian's machine.
pub struct Office {
    disk: Arc<dyn Disk>,
    time: LatestTime,
    rng: Box<dyn Rng>,
    signing: LogKeys,
    rules: Rules,
    shares: Vec<HeldShare>,
    witness: WitnessDesk,
    dockets: BTreeMap<FleetId, Docket>,
    members: BTreeMap<VerifyingKey, BTreeSet<FleetId>>,
    notices: Vec<Notice>,
    published: Option<CaseList>,
    arrivals: Arrivals,
    /// Since trouble with a share.
    troubled: Option<Timestamp>,
}

impl Office {
    /// Opens the office: every docket's log is read and checked. Pending requests are announced
    /// again, since nobody knows whether they were before.
    pub fn open(parts: OfficeParts) -> Result<Self, OfficeError> {
        let OfficeParts { disk, clock, rng, signing, fleets, rules, shares, witness, forget_time } =
            parts;
        let time = LatestTime::open(disk.clone(), clock, forget_time)?;
        let mut dockets = BTreeMap::new();
        for fleet in fleets {
            let id = fleet.id();
            dockets.insert(id, Docket::open(disk.clone(), fleet, &signing)?);
        }
        let (members, notices) = (BTreeMap::new(), Vec::new());
        let mut it = Self {
            disk,
            time,
            rng,
            signing,
            rules,
            shares,
            witness,
            dockets,
            members,
            notices,
            published: None,
            arrivals: Arrivals::default(),
            troubled: None,
        };
        let behind = it.time.behind();
        if behind > Seconds::hours(1) {
            tracing::warn!(
                seconds = behind.0,
                "the clock is behind the latest time this home has seen"
            );
        }
        let now = it.time.now()?;
        for docket in it.dockets.values_mut() {
            docket.forget_expired(now)?;
        }
        let pending: Vec<_> = it.pending(now);
        it.notices.extend(pending);
        Ok(it)
    }

    fn pending(&self, now: Timestamp) -> Vec<Notice> {
        let of_docket = |docket: &Docket| {
            let pending = docket.cases.iter().filter(|(_, case)| case.stand == Stand::Pending);
            pending.map(|(digest, case)| self.notice(docket, *digest, case, now)).collect()
        };
        self.dockets.values().flat_map(|docket| -> Vec<Notice> { of_docket(docket) }).collect()
    }

    fn notice(&self, docket: &Docket, request: Sha256, case: &Case, now: Timestamp) -> Notice {
        Notice {
            fleet_name: docket.fleet.genesis().fleet_name.clone(),
            fleet: docket.fleet.id(),
            request,
            requester: case.requester.to_string(),
            reason: case.reason.clone(),
            class: case.class.clone(),
            files: case.files,
            bytes: case.bytes,
            expires: case.expires,
            decision: self.rules.decide(&docket.facts(case), now).to_string(),
        }
    }

    /// What has to be told since this was last asked.
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether `peer` has shown an enrolment in a fleet served here, or is one of its witnesses
    /// or custodians.
    pub fn is_known(&self, peer: &VerifyingKey) -> bool {
        self.members.contains_key(peer)
    }

    fn remember(&mut self, peer: VerifyingKey, fleet: FleetId) {
        if self.members.len() < MAX_MEMBERS || self.members.contains_key(&peer) {
            self.members.entry(peer).or_default().insert(fleet);
        }
    }

    /// A request file from the holder of `peer`: judged, kept, and answered if it may be.
    pub fn submit(&mut self, peer: VerifyingKey, dossier: &[u8]) -> Result<RequestStatus, Refusal> {
        let malformed = |e: &dyn std::fmt::Display| {
            Refusal::new(422, e.to_string(), "make the request again: seawall restore request")
        };
        let parts = Dossier::parse(dossier).map_err(|e| malformed(&e))?;
        let claimed =
            Statement::<Request>::read_unverified(&parts.request).map_err(|e| malformed(&e))?;
        let fleet = claimed.predicate.fleet;
        let known = &self.dockets.get(&fleet).ok_or_else(Refusal::stranger)?.fleet;
        let examined = examine(dossier, known).map_err(|e| malformed(&e))?;
        if examined.dossier.requester.transport != peer {
            return Err(Refusal::stranger());
        }
        self.remember(peer, fleet);
        let now = self.time.now()?;
        let digest = examined.dossier.request_digest;
        let signing = &self.signing;
        let docket = self.dockets.get_mut(&fleet).expect("looked up above");
        docket.refresh(signing)?;
        if !docket.cases.contains_key(&digest) {
            self.take(fleet, digest, &examined, dossier, now)?;
            self.attend(fleet, digest, now)?;
            let docket = &self.dockets[&fleet];
            if let Some(case) = docket.cases.get(&digest) {
                let notice = self.notice(docket, digest, case, now);
                self.notices.push(notice);
            }
        }
        self.status(peer, digest)
    }

    /// Opens a case.
    fn take(
        &mut self,
        fleet: FleetId,
        digest: Sha256,
        examined: &Examined,
        dossier: &[u8],
        now: Timestamp,
    ) -> Result<(), Refusal> {
        examined.check_time(&At(now)).map_err(|e| {
            Refusal::new(410, e.to_string(), "make a new request: seawall restore request")
        })?;
        let group = examined.group.id();
        if !self.shares.iter().any(|share| share.public().group == group) {
            return Err(Refusal::new(
                409,
                format!("this custodian holds no share of {group}"),
                "ask the custodians of that group",
            ));
        }
        let docket = self.dockets.get_mut(&fleet).expect("the caller looked it up");
        let it = &examined.dossier;
        check_room(docket, it.requester.node(), now)?;
        let core = &it.manifest.core;
        let class = it.fleet.group(core.group).map(|g| g.class.clone());
        let seen = Act::Seen {
            requester: it.requester.node(),
            transport: it.requester.transport,
            manifest: it.manifest_digest,
            group,
            class: class.ok_or_else(Refusal::stranger)?,
            files: core.totals.files,
            bytes: core.totals.bytes,
            reason: it.request.reason.clone(),
            expires: it.request.expires,
        };
        docket.keep_request(digest, dossier)?;
        Ok(docket.record(digest, now, vec![seen], &self.signing)?)
    }

    /// How a request stands, for the one who made it and nobody else.
    pub fn status(&mut self, peer: VerifyingKey, digest: Sha256) -> Result<RequestStatus, Refusal> {
        let now = self.time.now()?;
        let mine = self.dockets.values().find_map(|docket| {
            let case = docket.cases.get(&digest).filter(|case| case.transport == peer)?;
            Some((docket, case))
        });
        let (docket, case) = mine.ok_or_else(Refusal::unknown)?;
        if now > case.expires {
            return Err(Refusal::unknown());
        }
        let (state, why, until) = match &case.stand {
            Stand::Answered(named) => {
                let approval = docket.answer(digest, *named).map_err(|e| {
                    tracing::warn!(error = %e, "an answer that was given is gone");
                    let why = "it was answered, and the answer is no longer here";
                    Refusal::new(410, why, "make a new request: seawall restore request")
                })?;
                return RequestStatus::answered(digest, approval)
                    .map_err(|e| Refusal::internal(&e));
            }
            Stand::Refused(why) => (Standing::Refused, why.clone(), None),
            Stand::Pending => {
                let decision = self.rules.decide(&docket.facts(case), now);
                let until = match decision {
                    Decision::Wait { until, .. } => Some(until),
                    _ => None,
                };
                let why = match (&decision, self.troubled) {
                    (Decision::Answer, Some(_)) => {
                        "may be answered, but the share cannot be used just now".to_owned()
                    }
                    _ => decision.to_string(),
                };
                (Standing::Pending, why, until)
            }
        };
        Ok(RequestStatus::without_answer(digest, state, why, until))
    }

    /// Proves to an enrolled node that this custodian is there, and tells it what the policy
    /// would do for it. A signature over its nonce; nothing is decrypted.
    pub fn alive(&mut self, peer: VerifyingKey, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let asked: AliveRequest = serde_json::from_slice(body).map_err(|_| Refusal::stranger())?;
        let docket = self.dockets.get(&asked.fleet).ok_or_else(Refusal::stranger)?;
        let enrolment = asked.enrolment().map_err(|_| Refusal::stranger())?;
        let enrolment = Enrolment::open(&docket.fleet, &enrolment, Role::Node)
            .map_err(|_| Refusal::stranger())?;
        if enrolment.transport != peer {
            return Err(Refusal::stranger());
        }
        let now = self.time.now()?;
        let (fleet, requester) = (asked.fleet, enrolment.node());
        let outlook = self.rules.outlook(fleet, requester, &docket.answered, now);
        let outlook = outlook.into_iter().map(|o| AliveOutlook {
            class: o.class,
            earliest: o.earliest,
            persons: o.persons,
            persons_for_large: o.persons_for_large,
        });
        let alive = Alive { fleet, nonce: asked.nonce, at: now, outlook: outlook.collect() };
        let own = self.shares.iter().filter(|share| share.public().fleet == fleet);
        let mut keys: Vec<&dyn Signer> = own.map(|share| share.signing() as &dyn Signer).collect();
        keys.push(&self.signing.statements);
        keys.sort_by_key(|key| key.public());
        keys.dedup_by_key(|key| key.public());
        let signed = alive.statement().sign(&keys).map_err(OfficeError::from)?;
        self.remember(peer, fleet);
        Ok(signed.to_json())
    }

    /// A resource of the log kept for a fleet (C2SP tlog-tiles), for its members and witnesses.
    pub fn tile(&self, peer: VerifyingKey, log: Sha256, path: &str) -> Result<Vec<u8>, Refusal> {
        let fleets = self.members.get(&peer).ok_or_else(Refusal::unknown)?;
        let mut own = fleets.iter().filter_map(|fleet| self.dockets.get(fleet));
        let docket = own.find(|docket| docket.log().origin().hash() == log);
        let docket = docket.ok_or_else(Refusal::unknown)?;
        docket.log().tile(path).map_err(OfficeError::from)?.ok_or_else(Refusal::unknown)
    }

    fn fleets(&self) -> Vec<Fleet> {
        self.dockets.values().map(|docket| docket.fleet.clone()).collect()
    }

    /// Learns who signs the log of the node whose connection this is.
    pub fn introduce(&mut self, peer: VerifyingKey, body: &[u8]) -> Result<(), Refusal> {
        let refused = |e: &dyn std::fmt::Display| {
            Refusal::new(422, e.to_string(), "use a matching version of seawall")
        };
        let offered = Introduction::parse(body).map_err(|e| refused(&e))?;
        let fleets = self.fleets();
        let opened = fleets.iter().find_map(|f| offered.open(f).ok().map(|it| (f.id(), it)));
        let (fleet, it) = opened.ok_or_else(Refusal::stranger)?;
        if it.enrolment.transport != peer {
            return Err(Refusal::stranger());
        }
        self.witness.introduce(&fleets, body).map_err(|e| refused(&e))?;
        self.remember(peer, fleet);
        Ok(())
    }

    /// C2SP tlog-witness `add-checkpoint`. Whoever brings it: the log's own signature decides.
    pub fn add_checkpoint(&mut self, body: &[u8]) -> Result<Judgement, Refusal> {
        let now = self.time.now()?;
        let judged = self.witness.add_checkpoint(&self.fleets(), body, now);
        judged.map_err(|e| Refusal::internal(&e))
    }

    /// What is witnessed of a log, for whoever can name it: its origin has two ids that nobody
    /// guesses. `checkpoint` (C2SP tlog-witness, monitor retrieval) or `introduction`.
    pub fn witnessed(&self, log: Sha256, what: &str) -> Result<Vec<u8>, Refusal> {
        let found = match what {
            "checkpoint" => self.witness.checkpoint(log),
            "introduction" => self.witness.introduction(log),
            _ => None,
        };
        found.ok_or_else(Refusal::unknown)
    }

    /// Does what time and people have made possible since the last call. To be called every
    /// second or so; an error is of the machine, and the next call tries again.
    pub fn tick(&mut self) -> Result<(), OfficeError> {
        let now = self.time.now()?;
        self.read_verdicts(now)?;
        if self.troubled.is_some_and(|since| now < since.after(PAUSE)) {
            return self.publish(now);
        }
        self.troubled = None;
        let fleets: Vec<_> = self.dockets.keys().copied().collect();
        for fleet in fleets {
            let docket = self.dockets.get_mut(&fleet).expect("a key of the map");
            docket.refresh(&self.signing)?;
            let pending = docket.cases.iter().filter(|(_, case)| case.stand == Stand::Pending);
            let pending: Vec<_> = pending.map(|(digest, _)| *digest).collect();
            for digest in pending {
                self.attend(fleet, digest, now)?;
            }
            let docket = self.dockets.get_mut(&fleet).expect("a key of the map");
            docket.forget_expired(now)?;
        }
        self.publish(now)
    }

    /// Decides about a pending case, and answers it if that is the decision.
    fn attend(
        &mut self,
        fleet: FleetId,
        digest: Sha256,
        now: Timestamp,
    ) -> Result<(), OfficeError> {
        let docket = self.dockets.get_mut(&fleet).expect("the caller looked it up");
        let Some(case) = docket.cases.get(&digest) else { return Ok(()) };
        let decision = self.rules.decide(&docket.facts(case), now);
        let decided = Act::Decided {
            decision: kind(&decision).to_owned(),
            why: decision.to_string(),
            policy: self.rules.digest(),
        };
        if decision == Decision::Answer {
            return self.answer(fleet, digest, decided, now);
        }
        if case.decided.as_deref() != Some(kind(&decision)) {
            docket.record(digest, now, vec![decided], &self.signing)?;
        }
        Ok(())
    }

    /// Examines a request once more and answers it.
    fn answer(
        &mut self,
        fleet: FleetId,
        digest: Sha256,
        decided: Act,
        now: Timestamp,
    ) -> Result<(), OfficeError> {
        let docket = self.dockets.get_mut(&fleet).expect("the caller looked it up");
        let dossier = docket.request(digest)?;
        let examined = dossier
            .ok_or_else(|| "its file is gone; it has to be sent again as a new one".to_owned())
            .and_then(|dossier| {
                examine(&dossier, &docket.fleet)
                    .and_then(|examined| examined.check_time(&At(now)).map(|()| examined))
                    .map_err(|e| e.to_string())
            });
        let approval = match examined {
            Err(why) => Err(why),
            Ok(examined) => {
                let group = examined.group.id();
                let share = self.shares.iter().find(|share| share.public().group == group);
                match share.map(|share| share.answer(&examined, now, self.rng.as_mut())) {
                    None => Err("the share of its group is no longer here".to_owned()),
                    Some(Ok(approval)) => Ok(approval),
                    Some(Err(ShareTrouble::Refused(e))) => Err(e.to_string()),
                }
            }
        };
        let acts = match approval {
            Ok(approval) => {
                let approval = docket.keep_answer(digest, &approval)?;
                vec![decided, Act::Answered { approval }]
            }
            Err(why) => {
                let why = why.chars().filter(|c| !c.is_control()).take(200).collect();
                let decision = docket::REFUSE.to_owned();
                vec![Act::Decided { decision, why, policy: self.rules.digest() }]
            }
        };
        docket.record(digest, now, acts, &self.signing)
    }

    /// Writes the list of cases where it has changed.
    fn publish(&mut self, now: Timestamp) -> Result<(), OfficeError> {
        let of_docket = |docket: &Docket| -> Vec<ListedCase> {
            let cases = docket.cases.iter();
            cases.map(|(digest, case)| self.listed(docket, *digest, case, now)).collect()
        };
        let cases = self.dockets.values().flat_map(of_docket).collect();
        let list = CaseList { format: "seawall-custodian-cases/1".to_owned(), cases };
        if self.published.as_ref() != Some(&list) {
            let json = serde_json::to_vec_pretty(&list).expect("text and numbers serialise");
            write_atomic(self.disk.as_ref(), CASES, &json).map_err(OfficeError::io(CASES))?;
            self.published = Some(list);
        }
        Ok(())
    }

    fn listed(&self, docket: &Docket, request: Sha256, case: &Case, now: Timestamp) -> ListedCase {
        let (state, decision) = match &case.stand {
            Stand::Pending => {
                (Standing::Pending, self.rules.decide(&docket.facts(case), now).to_string())
            }
            Stand::Refused(why) => (Standing::Refused, why.clone()),
            Stand::Answered(_) => (Standing::Answered, "answered".to_owned()),
        };
        ListedCase {
            fleet_name: docket.fleet.genesis().fleet_name.clone(),
            fleet: docket.fleet.id(),
            request,
            manifest: case.manifest,
            group: case.group,
            requester: case.requester.to_string(),
            reason: case.reason.clone(),
            class: case.class.clone(),
            files: case.files,
            bytes: case.bytes,
            seen: case.seen,
            expires: case.expires,
            state,
            decision,
            confirmed: case.confirmed.iter().cloned().collect(),
        }
    }
}

fn check_room(docket: &Docket, requester: NodeId, now: Timestamp) -> Result<(), Refusal> {
    let pending = docket.cases.values().filter(|case| case.stand == Stand::Pending);
    let (mut all, mut own) = (0, 0);
    for case in pending {
        all += 1;
        own += usize::from(case.requester == requester);
    }
    let new = docket
        .cases
        .values()
        .filter(|case| case.requester == requester && case.seen.after(Seconds::hours(1)) > now);
    if all >= MAX_PENDING || own >= MAX_PENDING_OF_ONE || new.count() >= MAX_NEW_IN_AN_HOUR {
        let why = "this custodian has enough open requests";
        return Err(Refusal::new(429, why, "wait until some are answered or have expired"));
    }
    Ok(())
}

/// What [`CustodianError`]s mean for a case in hand.
impl From<CustodianError> for ShareTrouble {
    fn from(e: CustodianError) -> Self {
        Self::Refused(e)
    }
}
