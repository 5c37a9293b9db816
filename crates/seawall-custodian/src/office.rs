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

mod able;
mod arrivals;
mod docket;
mod inbox;
mod listed;
mod policies;
mod rules;
mod shares;
mod time;
mod vouched;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seawall_base::{Clock, Disk, FleetId, GroupId, Rng, Seconds, Sha256, Steady, Timestamp};
use seawall_policy::custodian::{Decision, Facts, Hold, PolicyError};
use seawall_record::{
    Act, Alive, AliveOutlook, Dossier, DossierParts, Enrolment, Fleet, Introduction, RecordError,
    Request, Role,
};
use seawall_sign::{SignError, Signer, Statement, VerifyingKey};
use seawall_tlog::{Judgement, LogError};

use self::arrivals::Arrivals;
use self::docket::{Case, Docket, Stand, kind};
pub use self::docket::{LogKeys, ReadLog, export_log, read_log};
use self::inbox::Unheard;
pub use self::inbox::VERDICTS;
pub use self::listed::{CASES, CaseList, ListedCase, MAX_CASES};
pub use self::rules::Rules;
pub use self::shares::{HeldShare, ShareTrouble};
pub use self::time::{ACCEPTED_CLOCK, AcceptedClock};
use self::time::{At, LatestTime};
pub use self::vouched::Unvouched;
use crate::message::{AliveRequest, Refusal, RequestStatus, Standing};
use crate::{CustodianError, Examined, WitnessDesk, examine};

/// Keys of connections that showed an enrolment, remembered at one time.
const MAX_MEMBERS: usize = 10_000;

/// After trouble with a share, such as a token that is not there, nothing is tried for this long.
const PAUSE: Seconds = Seconds(5);

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
    /// The root keys signed a group that cannot be one. It is not acted on.
    #[error(
        "the newer policy's record of {group} is unsound ({why}); find out who signed it with the root keys"
    )]
    Unsound {
        /// Which group.
        group: GroupId,
        /// What is wrong with it.
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
    /// What a witness signed is not signed with the name and key that the policy has for it.
    #[error(
        "it signed, but not with the key and the name {name:?} of the fleet's policy: a machine takes its name from the policy when it starts, so start the witness again, or put its card into the policy anew"
    )]
    OtherWitness {
        /// The name in the policy.
        name: String,
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
    /// What it is measured against.
    pub steady: Arc<dyn Steady>,
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
    notices: Vec<ListedCase>,
    published: Option<CaseList>,
    arrivals: Arrivals,
    unheard: Unheard,
    /// The groups whose share did not answer, and when: one group's trouble is no other's.
    troubled: BTreeMap<GroupId, Timestamp>,
    /// When the home's cards were looked at last.
    looked: Option<Timestamp>,
    /// The groups for which it was said last that nothing can be answered.
    unable_said: Vec<GroupId>,
}

impl Office {
    /// Opens the office: every docket's log is read and checked. Pending requests are announced
    /// again, since nobody knows whether they were before.
    pub fn open(parts: OfficeParts) -> Result<Self, OfficeError> {
        let OfficeParts { disk, clock, steady, rng, signing, .. } = parts;
        let OfficeParts { fleets, rules, shares, witness, forget_time, .. } = parts;
        let time = LatestTime::open(disk.clone(), clock, steady, forget_time)?;
        // Made by whoever can read what is put there.
        disk.create_dir_all(VERDICTS).map_err(OfficeError::io(VERDICTS))?;
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
            unheard: Unheard::default(),
            troubled: BTreeMap::new(),
            looked: None,
            unable_said: Vec::new(),
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
            docket.forget_expired(now, it.time.gaps())?;
        }
        let pending: Vec<_> = it.pending(now);
        it.notices.extend(pending);
        Ok(it)
    }

    /// Goes by newer fleets and another policy from now on. A fleet that is not known yet gets a
    /// docket; an older version of one that is changes nothing. Shares stay those that were opened.
    pub fn renew(&mut self, fleets: Vec<Fleet>, rules: Rules) -> Result<(), OfficeError> {
        for fleet in fleets {
            if let Some(docket) = self.dockets.get_mut(&fleet.id()) {
                let newest = docket.fleet.newest(fleet)?;
                docket.learn(&newest)?;
            } else {
                let docket = Docket::open(self.disk.clone(), fleet, &self.signing)?;
                self.dockets.insert(docket.fleet.id(), docket);
            }
        }
        self.rules = rules;
        // Who was a member under the old policy shows itself again.
        self.members.clear();
        Ok(())
    }

    /// What has to be told since this was last asked.
    pub fn take_notices(&mut self) -> Vec<ListedCase> {
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
        self.learn(&examined.dossier.fleet)?;
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
            self.take(&parts, &examined, now)?;
            self.attend(fleet, digest, now)?;
            let docket = &self.dockets[&fleet];
            if let Some(case) = docket.cases.get(&digest) {
                let notice = self.listed(docket, digest, case, now);
                self.notices.push(notice);
            }
        }
        self.status(peer, digest)
    }

    /// Keeps what a request shows of its fleet's policy, before anything else is done with it.
    fn learn(&mut self, fleet: &Fleet) -> Result<(), OfficeError> {
        let docket = self.dockets.get_mut(&fleet.id()).expect("the request is of a fleet served");
        if fleet.version() > docket.fleet.version() {
            // Who showed an enrolment under the policy of before shows it again under this one.
            self.members.retain(|_, fleets| {
                fleets.remove(&fleet.id());
                !fleets.is_empty()
            });
        }
        docket.learn(fleet)
    }

    /// Opens a case.
    fn take(
        &mut self,
        parts: &DossierParts,
        examined: &Examined,
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
        let it = &examined.dossier;
        let docket = self.dockets.get_mut(&it.fleet.id()).expect("the caller looked it up");
        docket.check_room(it.requester.node(), now)?;
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
            about: Some(Box::new(examined.about())),
        };
        docket.keep_request(it.request_digest, parts)?;
        Ok(docket.record(it.request_digest, now, vec![seen], &self.signing)?)
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
                // Whoever has been revoked since gets nothing more.
                docket.examine(digest)?.map_err(|why| {
                    Refusal::new(422, why, "make a new request: seawall restore request")
                })?;
                return RequestStatus::answered(digest, approval)
                    .map_err(|e| Refusal::internal(&e));
            }
            Stand::Refused(why) => (Standing::Refused, why.clone(), None),
            Stand::Pending => {
                let decision = self.decide(docket, digest, case, now);
                let until = match decision {
                    Decision::Wait { until, .. } => Some(until),
                    _ => None,
                };
                match self.why_unable(&docket.fleet, case.group) {
                    Some(why) => (Standing::Pending, format!("{decision}, but {why}"), None),
                    None => (Standing::Pending, decision.to_string(), until),
                }
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
        let is_revoked = docket.fleet.is_revoked(enrolment.node(), enrolment.epoch);
        if enrolment.transport != peer || is_revoked {
            return Err(Refusal::stranger());
        }
        let now = self.time.now()?;
        let (fleet, requester) = (asked.fleet, enrolment.node());
        let gaps = self.time.gaps();
        let outlook = self.rules.outlook(fleet, requester, &docket.answered, gaps, now);
        let outlook = outlook.into_iter().map(|o| AliveOutlook {
            class: o.class,
            earliest: o.earliest,
            persons: o.persons,
            persons_for_large: o.persons_for_large,
        });
        let unable = self.unable(&docket.fleet);
        let outlook = outlook.collect();
        let alive = Alive { fleet, nonce: asked.nonce, at: now, outlook, unable };
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
        let refused =
            |e: &dyn std::fmt::Display, remedy: &str| Refusal::new(422, e.to_string(), remedy);
        let offered = Introduction::parse(body)
            .map_err(|e| refused(&e, "use a matching version of seawall"))?;
        let fleets = self.fleets();
        let opened = fleets.iter().find_map(|f| offered.open(f).ok().map(|it| (f.id(), it)));
        let (fleet, it) = opened.ok_or_else(Refusal::stranger)?;
        if it.enrolment.transport != peer {
            return Err(Refusal::stranger());
        }
        self.witness.introduce(&fleets, body).map_err(|e| {
            refused(
                &e,
                "ask the custodian to join the fleet's newest card; its machine's log says more",
            )
        })?;
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
    ///
    /// One fleet's trouble does not stop the others: the first error is told at the end.
    pub fn tick(&mut self) -> Result<(), OfficeError> {
        let accepted = self.time.hear()?;
        let now = self.time.now()?;
        let (mut well, mut trouble) = (Vec::new(), None);
        for (fleet, docket) in &mut self.dockets {
            match docket.refresh(&self.signing) {
                Ok(()) => well.push(*fleet),
                Err(e) => trouble = trouble.or(Some(e)),
            }
            docket.try_keep_card();
        }
        self.look_at_cards(now);
        self.say_unable();
        if let Some(ahead) = accepted {
            trouble = trouble.or(self.note_accepted(ahead, &well, now).err());
        }
        trouble = trouble.or(self.read_verdicts(now).err());
        self.troubled.retain(|_, since| now < since.after(PAUSE));
        for fleet in well {
            trouble = trouble.or(self.attend_all(fleet, now).err());
        }
        self.publish(now)?;
        trouble.map_or(Ok(()), Err)
    }

    /// Attends to a fleet's open cases, and drops what has expired.
    fn attend_all(&mut self, fleet: FleetId, now: Timestamp) -> Result<(), OfficeError> {
        if self.dockets[&fleet].is_stale() {
            // A write failed a moment ago, and was told; the next call reads the log again.
            return Ok(());
        }
        for digest in self.dockets[&fleet].pending() {
            self.attend(fleet, digest, now)?;
        }
        let docket = self.dockets.get_mut(&fleet).expect("the caller has it from the map");
        docket.forget_expired(now, self.time.gaps())
    }

    /// Writes into the logs of these fleets that a person has accepted the clock: of each case
    /// that it bears on.
    fn note_accepted(
        &mut self,
        ahead: Seconds,
        fleets: &[FleetId],
        now: Timestamp,
    ) -> Result<(), OfficeError> {
        tracing::warn!(seconds = ahead.0, "a person accepted the clock, which was so far ahead");
        let why = format!("a person accepted the clock, which was {} s ahead", ahead.0);
        let dockets = self.dockets.iter_mut().filter(|(id, _)| fleets.contains(id));
        let mut trouble = None;
        for (_, docket) in dockets {
            for digest in docket.pending() {
                let act = decided("clock", &why, &self.rules);
                if let Err(e) = docket.record(digest, now, vec![act], &self.signing) {
                    trouble = trouble.or(Some(e));
                    break;
                }
            }
        }
        trouble.map_or(Ok(()), Err)
    }

    /// What the policy says about a case.
    fn decide(&self, docket: &Docket, digest: Sha256, case: &Case, now: Timestamp) -> Decision {
        let held = if self.unheard.may_concern(digest) {
            Some(Hold::Verdict)
        } else {
            self.time.is_ahead().then_some(Hold::Clock)
        };
        let facts = Facts {
            fleet: docket.fleet.id(),
            class: &case.class,
            requester: case.requester,
            reason: &case.reason,
            files: case.files,
            bytes: case.bytes,
            break_glass: case.breaks_glass(),
            seen: case.seen,
            expires: case.expires,
            answered: &docket.answered,
            gaps: self.time.gaps(),
            held,
            confirmed: u16::try_from(self.confirmed(case).count()).unwrap_or(u16::MAX),
            refused_by: case.declined.as_deref(),
        };
        self.rules.decide(&facts, now)
    }

    /// The names of those who confirmed a case and may do so today.
    fn confirmed<'o>(&'o self, case: &'o Case) -> impl Iterator<Item = &'o str> {
        case.confirmed.iter().filter_map(|key| self.rules.approver(key))
    }

    /// Decides about a pending case, and answers it if that is the decision.
    fn attend(
        &mut self,
        fleet: FleetId,
        digest: Sha256,
        now: Timestamp,
    ) -> Result<(), OfficeError> {
        let docket = &self.dockets[&fleet];
        let Some(case) = docket.cases.get(&digest) else { return Ok(()) };
        let decision = self.decide(docket, digest, case, now);
        let act = decided(kind(&decision), &decision.to_string(), &self.rules);
        if decision == Decision::Answer {
            // Nothing is decided until the share can be used; `say_unable` and the status say why.
            if self.waits_for_share(&docket.fleet, case.group) {
                return Ok(());
            }
            return self.answer(fleet, digest, act, now);
        }
        if case.decided.as_deref() != Some(kind(&decision)) {
            if matches!(decision, Decision::Held(_)) {
                let notice = self.listed(docket, digest, case, now);
                self.notices.push(notice);
            }
            let docket = self.dockets.get_mut(&fleet).expect("looked up above");
            docket.record(digest, now, vec![act], &self.signing)?;
        }
        Ok(())
    }

    /// Examines a request once more and answers it.
    fn answer(
        &mut self,
        fleet: FleetId,
        digest: Sha256,
        yes: Act,
        now: Timestamp,
    ) -> Result<(), OfficeError> {
        let docket = self.dockets.get_mut(&fleet).expect("the caller looked it up");
        let examined = docket.examine(digest)?.and_then(|examined| {
            let in_time = examined.check_time(&At(now)).map_err(|e| e.to_string());
            in_time?;
            // Whoever was asked did not know: it was taken by an earlier version.
            if examined.breaks_glass() && !docket.cases[&digest].breaks_glass() {
                return Err("it breaks the glass, and nobody was told: ask anew".to_owned());
            }
            Ok(examined)
        });
        let approval = match examined {
            Err(why) => Err(why),
            Ok(examined) => {
                let group = examined.group.id();
                let epoch = docket.fleet.group(group).map(|g| g.share_epoch);
                let is_it = |share: &&HeldShare| {
                    let public = share.public();
                    public.group == group && Some(public.share_epoch) == epoch
                };
                let share = self.shares.iter().find(is_it);
                match share.map(|share| share.answer(&examined, now, self.rng.as_mut())) {
                    None => Err("the share of its group is no longer here".to_owned()),
                    Some(Ok(approval)) => Ok(approval),
                    Some(Err(ShareTrouble::Refused(e))) => Err(e.to_string()),
                    // Nothing is decided: it is tried again.
                    Some(Err(ShareTrouble::Token(e))) => {
                        tracing::error!(error = %e, "the token does not unwrap the share");
                        self.troubled.insert(group, now);
                        return Ok(());
                    }
                }
            }
        };
        let acts = match approval {
            Ok(approval) => {
                let approval = docket.keep_answer(digest, &approval)?;
                vec![yes, Act::Answered { approval }]
            }
            Err(why) => vec![decided(docket::REFUSE, &why, &self.rules)],
        };
        docket.record(digest, now, acts, &self.signing)
    }
}

/// What the log says of a decision. Words that no reader of the log would take are cut here: an act
/// that cannot be written would be tried again for ever.
fn decided(decision: &str, why: &str, rules: &Rules) -> Act {
    let why = docket::one_line(why);
    Act::Decided { decision: decision.to_owned(), why, policy: rules.digest() }
}

/// What [`CustodianError`]s mean for a case in hand.
impl From<CustodianError> for ShareTrouble {
    fn from(e: CustodianError) -> Self {
        Self::Refused(e)
    }
}
