//! What one fleet asked of this custodian: a log that is the truth, and the cases read from it.
//!
//! A request's file is durable before the log says that it was seen; an answer's file is durable
//! before the log says that it was given, and neither leaves before that. So after a crash the log
//! tells what counts: an answer it does not name is made anew, a request it does not name was
//! never seen.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use seawall_base::{
    Disk, FleetId, GroupId, LockMode, NodeId, OpenMode, Seconds, Sha256, Timestamp,
};
use seawall_base::{read_file, write_atomic};
use seawall_escrow::unsound_group;
use seawall_policy::custodian::{Decision, Gap, watched};
use seawall_record::{
    Act, BadShareFile, CustodianAct, Dossier, DossierParts, Fleet, FleetCard, MAX_BUNDLE,
    MAX_DOSSIER, SeenAbout, check_text,
};
use seawall_sign::{Envelope, SigningKey, StatementKey, VerifyingKey};
use seawall_tlog::{Kind, Log, LogError, NoteSignature, Origin, SignedCheckpoint, Verifier};

use super::{OfficeError, vouched};
use crate::message::{MAX_STATUS, Refusal};
use crate::{Examined, examine};

/// Where reports of bad shares are kept.
const BAD_SHARES: &str = "bad-shares";

/// Answers older than this no longer count for anything, time that nobody watched left out.
const COUNTED: Seconds = Seconds::days(2);

/// Bad shares of one node within [`HELD_AGAINST`]: as many reports are kept, and then no more of
/// its manifests are looked at.
pub(super) const MAX_BAD_SHARES: usize = 16;

const HELD_AGAINST: Seconds = Seconds::days(30);

/// Shares of one node that are looked at in a day: each is an entry of the log.
pub(super) const MAX_SHARES_IN_A_DAY: usize = 10_000;

/// What a custodian's log is signed with. Checkpoints are Ed25519 by their protocol: where the
/// custodian's signing key is not, they are signed by the key of its connections, which the
/// fleet's policy names beside its address.
pub struct LogKeys {
    /// Signs the entries; the custodian's signing key.
    pub statements: StatementKey,
    /// Signs the checkpoints.
    pub checkpoints: SigningKey,
}
/// Cases that are neither answered nor refused, at one time.
const MAX_PENDING: usize = 256;

/// The same of one requester.
const MAX_PENDING_OF_ONE: usize = 16;

/// Cases of one requester that were refused and have not expired. They are not forgotten before
/// that: a request that was refused would come again as a new one.
const MAX_REFUSED_OF_ONE: usize = 64;

/// New requests of one requester in any hour, whether they have expired or not.
const MAX_NEW_IN_AN_HOUR: usize = 60;

const HOUR: Seconds = Seconds::hours(1);
const DAY: Seconds = Seconds::days(1);

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
    /// What it was examined to be; `None` where an earlier version took it.
    pub(super) about: Option<Box<SeenAbout>>,
    /// The keys that confirmed it, whoever they belong to now.
    pub(super) confirmed: BTreeSet<VerifyingKey>,
    /// Who refused it, and why: whoever asked reads both.
    pub(super) declined: Option<String>,
    /// The kind of the last decision in the log.
    pub(super) decided: Option<String>,
    pub(super) stand: Stand,
    /// When it was answered or refused.
    pub(super) settled: Option<Timestamp>,
}

impl Case {
    /// Whether the requester asks although too few witnesses vouch.
    pub(super) fn breaks_glass(&self) -> bool {
        self.about.as_ref().is_some_and(|about| about.break_glass.is_some())
    }
}

/// A fleet's cases.
pub(super) struct Docket {
    disk: Arc<dyn Disk>,
    dir: String,
    pub(super) fleet: Fleet,
    /// The version of the fleet's policy that the home's card has.
    kept_version: u64,
    /// The card in the home, as it was looked at last.
    card: Option<Sha256>,
    log: Log,
    pub(super) cases: BTreeMap<Sha256, Case>,
    /// Class and time of answers that may still count.
    pub(super) answered: Vec<(String, Timestamp)>,
    /// Whether the share was good, of each manifest that came.
    pub(super) arrived: BTreeMap<Sha256, bool>,
    /// Who made a new request within the last hour, and when.
    newcomers: Vec<(NodeId, Timestamp)>,
    /// Whose shares were looked at lately, when, and whether they were good.
    looked: Vec<(NodeId, Timestamp, bool)>,
    /// A write failed: what the log holds is known after reading it again.
    is_stale: bool,
    /// What was said last of the card that cannot be written.
    card_trouble: Option<String>,
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
        let (cases, answered, newcomers) = (BTreeMap::new(), Vec::new(), Vec::new());
        let (arrived, kept_version, is_stale) = (BTreeMap::new(), fleet.version(), false);
        let looked = Vec::new();
        let mut it = Self {
            disk,
            dir,
            fleet,
            kept_version,
            card: None,
            log,
            cases,
            answered,
            arrived,
            newcomers,
            looked,
            is_stale,
            card_trouble: None,
        };
        for act in acts {
            it.apply(act);
        }
        Ok(it)
    }

    /// Reads everything again after a failed write.
    pub(super) fn refresh(&mut self, signing: &LogKeys) -> Result<(), OfficeError> {
        if self.is_stale {
            let again = Self::open(self.disk.clone(), self.fleet.clone(), signing)?;
            let card_trouble = self.card_trouble.take();
            *self = Self { kept_version: self.kept_version, card_trouble, ..again };
        }
        Ok(())
    }

    /// Whether what the log holds is not known: nothing can be written into it until it was read
    /// again.
    pub(super) const fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Everyone keeps the highest version seen of a fleet's policy: from here on, and in the home,
    /// for the next start. Until the home has it, this is an error.
    pub(super) fn learn(&mut self, fleet: &Fleet) -> Result<(), OfficeError> {
        if fleet.version() > self.fleet.version() {
            if let Some((group, e)) = unsound_group(self.fleet.groups(), fleet.groups()) {
                return Err(OfficeError::Unsound { group, why: e.to_string() });
            }
            // Before the disk is asked: whom it revokes is refused whatever the disk says.
            self.fleet = fleet.clone();
        }
        self.keep_card()
    }

    /// Goes by the home's card where it is newer: a command that joined the fleet again has put it
    /// there, beside the running machine.
    pub(super) fn look_at_card(&mut self) -> Result<(), OfficeError> {
        let path = format!("fleets/{}.json", self.fleet.id().to_hex());
        let card =
            read_file(self.disk.as_ref(), &path, MAX_BUNDLE).map_err(OfficeError::io(&path))?;
        let Some(card) = card else { return Ok(()) };
        let digest = Sha256::of(&card);
        if self.card.replace(digest) == Some(digest) {
            return Ok(());
        }
        let newest = self.fleet.newest(FleetCard::open(&card)?)?;
        self.learn(&newest)
    }

    /// Writes the fleet's card, unless the home has a newer one. A command that joins the fleet
    /// again in this moment is in the way; the next call finds it done.
    pub(super) fn keep_card(&mut self) -> Result<(), OfficeError> {
        if self.kept_version == self.fleet.version() {
            return Ok(());
        }
        let lock = self.disk.open("lock", OpenMode::Create).map_err(OfficeError::io("lock"))?;
        if !lock.lock(LockMode::Exclusive, false).map_err(OfficeError::io("lock"))? {
            let busy = std::io::Error::new(
                std::io::ErrorKind::WouldBlock,
                "a command changes this home just now",
            );
            return Err(OfficeError::io("lock")(busy));
        }
        let path = format!("fleets/{}.json", self.fleet.id().to_hex());
        let card =
            read_file(self.disk.as_ref(), &path, MAX_BUNDLE).map_err(OfficeError::io(&path))?;
        let home = card.map(|card| FleetCard::open(&card)).transpose()?;
        if let Some(home) = &home {
            self.fleet = self.fleet.newest(home.clone())?;
        }
        if home.is_none_or(|home| home.version() < self.fleet.version()) {
            self.disk.create_dir_all("fleets").map_err(OfficeError::io("fleets"))?;
            let mut json = serde_json::to_vec_pretty(&FleetCard::new(&self.fleet))
                .expect("envelopes serialise");
            json.push(b'\n');
            write_atomic(self.disk.as_ref(), &path, &json).map_err(OfficeError::io(&path))?;
        }
        self.kept_version = self.fleet.version();
        Ok(())
    }

    /// As [`Docket::keep_card`]; what is in the way is said once, and the next call tries again.
    /// Until then the newer policy holds all the same, from memory.
    pub(super) fn try_keep_card(&mut self) {
        let trouble = self.keep_card().err().map(|e| e.to_string());
        if trouble != self.card_trouble {
            if let Some(why) = &trouble {
                let fleet = self.fleet.id();
                tracing::warn!(%fleet, why, "the card of a fleet cannot be kept yet; its newer policy holds all the same");
            }
            self.card_trouble = trouble;
        }
    }

    /// The log, for those who watch it.
    pub(super) const fn log(&self) -> &Log {
        &self.log
    }

    /// Adds what witnesses signed to the last checkpoint. Returns how many lines were new.
    pub(super) fn add_cosignatures(
        &mut self,
        lines: &[NoteSignature],
        known: &[Verifier],
    ) -> Result<usize, OfficeError> {
        Ok(self.log.add_cosignatures(lines, known)?)
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
            about,
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
                about,
                confirmed: BTreeSet::new(),
                declined: None,
                decided: None,
                stand: Stand::Pending,
                settled: None,
            };
            self.newcomers.push((requester, at));
            self.cases.entry(request).or_insert(case);
            return;
        }
        if let Act::ShareGood { node, .. } | Act::ShareBad { node, .. } = act {
            let good = matches!(act, Act::ShareGood { .. });
            self.arrived.insert(request, good);
            self.looked.push((node, at, good));
            return;
        }
        let Some(case) = self.cases.get_mut(&request) else { return };
        match act {
            Act::Seen { .. } | Act::ShareGood { .. } | Act::ShareBad { .. } => {}
            Act::Confirmed { key, .. } => {
                case.confirmed.insert(key);
            }
            Act::Declined { approver, why, .. } => {
                case.declined = Some(format!("{approver}: {why}"));
            }
            Act::Decided { decision, why, .. } => {
                if decision == REFUSE {
                    (case.stand, case.settled) = (Stand::Refused(why), Some(at));
                }
                case.decided = Some(decision);
            }
            Act::Answered { approval } => {
                (case.stand, case.settled) = (Stand::Answered(approval), Some(at));
                self.answered.push((case.class.clone(), at));
            }
        }
    }

    /// The cases that are neither answered nor refused.
    pub(super) fn pending(&self) -> Vec<Sha256> {
        let pending = self.cases.iter().filter(|(_, case)| case.stand == Stand::Pending);
        pending.map(|(digest, _)| *digest).collect()
    }

    /// Refuses a new request where there are enough.
    pub(super) fn check_room(&self, requester: NodeId, now: Timestamp) -> Result<(), Refusal> {
        let count =
            |is_it: &dyn Fn(&Case) -> bool| self.cases.values().filter(|c| is_it(c)).count();
        let pending = |case: &Case| case.stand == Stand::Pending;
        let refused = |case: &Case| matches!(case.stand, Stand::Refused(_));
        let new =
            self.newcomers.iter().filter(|(who, at)| *who == requester && at.after(HOUR) > now);
        let is_full = count(&pending) >= MAX_PENDING
            || count(&|case| case.requester == requester && pending(case)) >= MAX_PENDING_OF_ONE
            || count(&|case| case.requester == requester && refused(case)) >= MAX_REFUSED_OF_ONE
            || new.count() >= MAX_NEW_IN_AN_HOUR;
        if !is_full {
            return Ok(());
        }
        let why = "this custodian has enough open or refused requests";
        Err(Refusal::new(429, why, "wait until some are answered or have expired"))
    }

    /// Refuses to look at more of a node's shares where there were enough: each look is an entry of
    /// the log, each bad share a file.
    pub(super) fn check_looks(&self, node: NodeId, now: Timestamp) -> Result<(), Refusal> {
        let of_it = || self.looked.iter().filter(|(who, ..)| *who == node);
        let bad = of_it().filter(|(_, at, good)| !good && at.after(HELD_AGAINST) > now).count();
        if bad >= MAX_BAD_SHARES {
            let why = "it dealt 16 bad shares in 30 days: this custodian looks at no more of them";
            return Err(Refusal::new(429, why, "find out in whose hands the node is; revoke it"));
        }
        if of_it().filter(|(_, at, _)| at.after(DAY) > now).count() >= MAX_SHARES_IN_A_DAY {
            let why = "this custodian has looked at enough shares of this node today";
            return Err(Refusal::new(429, why, "sync again tomorrow"));
        }
        Ok(())
    }

    /// Drops what has expired: the case here, its request and its answer from the disk. The file
    /// of a request that was refused goes as well.
    pub(super) fn forget_expired(
        &mut self,
        now: Timestamp,
        gaps: &[Gap],
    ) -> Result<(), OfficeError> {
        self.answered.retain(|(_, at)| watched(*at, COUNTED, gaps) > now);
        self.looked.retain(|(_, at, good)| at.after(if *good { DAY } else { HELD_AGAINST }) > now);
        self.newcomers.retain(|(_, at)| at.after(HOUR) > now);
        self.cases.retain(|_, case| case.expires >= now);
        let is_kept = |case: &Case| !matches!(case.stand, Stand::Refused(_));
        for part in ["requests", "answers"] {
            let dir = format!("{}/{part}", self.dir);
            for name in self.disk.list(&dir).map_err(OfficeError::io(&dir))? {
                let digest = name.strip_suffix(".json").and_then(|hex| Sha256::from_hex(hex).ok());
                if digest.and_then(|digest| self.cases.get(&digest)).is_some_and(is_kept) {
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

    /// Keeps a request's file: what it says, in our words. As it was sent, it could be blown up.
    pub(super) fn keep_request(
        &self,
        request: Sha256,
        parts: &DossierParts,
    ) -> Result<(), OfficeError> {
        let path = self.path("requests", request);
        let dossier = serde_json::to_vec(&Dossier::new(parts)).expect("envelopes serialise");
        write_atomic(self.disk.as_ref(), &path, &dossier).map_err(OfficeError::io(&path))
    }

    /// Examines a request again, by what is known of the fleet now; or why it is no good any more.
    pub(super) fn examine(&self, request: Sha256) -> Result<Result<Examined, String>, OfficeError> {
        let Some(dossier) = self.request(request)? else {
            return Ok(Err("its file is gone; it has to be sent again as a new one".to_owned()));
        };
        Ok(examine(&dossier, &self.fleet).map_err(|e| e.to_string()))
    }

    /// A request's file; `None` if it is gone.
    fn request(&self, request: Sha256) -> Result<Option<Vec<u8>>, OfficeError> {
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
}

/// The kind of a decision, as the log says it.
pub(super) const fn kind(decision: &Decision) -> &'static str {
    match decision {
        Decision::Answer => "answer",
        Decision::Wait { .. } => "wait",
        Decision::Persons { .. } => "persons",
        Decision::Held(_) => "held",
        Decision::NoRule => "no-rule",
        Decision::Refuse(_) => REFUSE,
    }
}

pub(super) const REFUSE: &str = "refuse";

/// Longest words about a decision in bytes.
const MAX_WHY: usize = 1_000;

/// Words as the log and who asks take them: [`MAX_WHY`] bytes at most, and no characters that fool a
/// terminal.
pub(super) fn one_line(text: &str) -> String {
    let mut room = MAX_WHY;
    let is_plain = |c: &char| check_text("words", c.encode_utf8(&mut [0; 4]), 4).is_ok();
    let fitting = text.chars().filter(is_plain).take_while(|c| {
        let fits = c.len_utf8() <= room;
        room = if fits { room - c.len_utf8() } else { 0 };
        fits
    });
    fitting.collect()
}

/// A log that was read from beginning to end.
pub struct ReadLog {
    /// Its origin.
    pub origin: String,
    /// Its entries.
    pub size: u64,
    /// What they say, each signature checked.
    pub acts: Vec<CustodianAct>,
    /// The last checkpoint that a witness signed, if one did; not verified beyond its own log:
    /// the fleet says whose signatures count.
    pub witnessed: Option<SignedCheckpoint>,
}

/// Reads the log this home keeps for a fleet; `None` if there is none. Entries, tree and the last
/// checkpoint are checked against one another. The machine must not be running.
pub fn read_log(
    disk: Arc<dyn Disk>,
    fleet: FleetId,
    keys: &LogKeys,
) -> Result<Option<ReadLog>, OfficeError> {
    let Some((log, witnessed)) = open_log(disk, fleet, keys)? else { return Ok(None) };
    let acts = read_acts(&log, fleet, keys.statements.public())?;
    Ok(Some(ReadLog { origin: log.origin().to_string(), size: log.size(), acts, witnessed }))
}

/// Writes the log this home keeps for a fleet as C2SP tlog-tiles below `dir` of another disk, with
/// the cosignatures of witnesses where they cover all of it; how many entries it has, `None` if
/// there is no log. The machine must not be running.
pub fn export_log(
    disk: Arc<dyn Disk>,
    fleet: FleetId,
    keys: &LogKeys,
    (to, dir): (&dyn Disk, &str),
) -> Result<Option<u64>, OfficeError> {
    let Some((log, witnessed)) = open_log(disk, fleet, keys)? else { return Ok(None) };
    log.export_tiles(to, dir)?;
    if let Some(whole) = witnessed.filter(|it| it.checkpoint().size == log.size()) {
        let path = format!("{dir}/checkpoint");
        write_atomic(to, &path, &whole.to_bytes()).map_err(OfficeError::io(&path))?;
    }
    Ok(Some(log.size()))
}

/// A log, and the last checkpoint of it that a witness signed.
type OpenLog = (Log, Option<SignedCheckpoint>);

fn open_log(
    disk: Arc<dyn Disk>,
    fleet: FleetId,
    keys: &LogKeys,
) -> Result<Option<OpenLog>, OfficeError> {
    let custodian = keys.statements.public();
    let dir = format!("custody/{}/log", fleet.to_hex());
    if disk.list(&dir).map_err(OfficeError::io(&dir))?.is_empty() {
        return Ok(None);
    }
    let origin = origin(fleet, custodian);
    let witnessed = vouched::read(disk.as_ref(), fleet)?;
    let (log, _) = Log::open(disk, &dir, &origin)?;
    let damaged = |why: &str| OfficeError::Damaged { path: dir.clone(), why: why.to_owned() };
    let signed = log.checkpoint().ok_or_else(|| damaged("it has no checkpoint"))?;
    let key = Verifier::new(origin.as_str(), Kind::Signer, &keys.checkpoints.public())
        .map_err(LogError::from)?;
    let keys = [key];
    signed.verify(&keys).map_err(LogError::from)?;
    if let Some(cosigned) = &witnessed {
        let it = cosigned.checkpoint();
        let is_of_it = it.origin == origin && it.size <= log.size();
        if !is_of_it || log.root_at(it.size)? != it.root || cosigned.verify(&keys).is_err() {
            return Err(damaged("a witness signed other entries than it has"));
        }
    }
    Ok(Some((log, witnessed)))
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
