//! Who did what, when, and with whose approval: one list out of every log and paper within reach.
//!
//! Sources, and what each proves. This node's log and the copies of other nodes' logs in regions:
//! each entry was accepted by the rules of a log, and has a proof of inclusion. Requests and
//! approvals that were kept with a restore: signed by requester and custodians, their digests
//! pinned by the restore's log entry. Exported logs that somebody hands over: entries proven under
//! their checkpoint, whose signer must be the key the fleet knows.
//!
//! A list can only have what somebody logged. That an approval was used and not logged shows in the
//! custodian's own log, which is why those are asked for.

mod policy;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use seawall_base::{Sha256, Timestamp};
use seawall_custodian::reached;
use seawall_policy::witness::Reached;
use seawall_record::{
    Accepted, Act, Approval, CustodianAct, CustodianRecord, Ending, Fleet, Forgotten, LogState,
    Use, VerifiedDossier,
};
use seawall_sign::{Algorithm, Envelope, Predicate, Statement, VerifyingKey, predicate_type};
use seawall_tlog::tile::{TilePath, TileReader};
use seawall_tlog::{
    Checkpoint, Hash, Kind, Log, Origin, Roster, SignedCheckpoint, Verifier, merkle,
};

use self::policy::of_policies;
use crate::drill::{kind_word, word};
use crate::evidence;
use crate::home::{Home, HomeError};
use crate::opening::examine_kept;
use crate::tiers::PulledLog;
use crate::witnesses::{Witnessed, home_roster};

/// Where something that happened is written, so that somebody else can check it.
#[derive(Debug, Clone)]
pub enum Proof {
    /// In a log.
    Log {
        /// Which.
        origin: String,
        /// Where this copy was read.
        seen_in: String,
        /// The entry.
        index: u64,
        /// Hashes of the inclusion proof.
        inclusion: Vec<Hash>,
        /// The signed checkpoint over it; none if the entry is newer than the last one.
        checkpoint: Option<String>,
        /// Who vouches for a history with it.
        witnessed: Reached,
    },
    /// In a statement that was kept with a restore.
    Kept,
    /// In the fleet's policies, each signed by root keys and naming the one before.
    Policy {
        /// Which version.
        version: u64,
    },
}

/// Something that somebody did.
#[derive(Debug, Clone)]
pub struct Happening {
    /// When they say they did.
    pub at: Timestamp,
    /// Who: the name in their enrolment or in the escrow group.
    pub actor: String,
    /// What sort.
    pub kind: &'static str,
    /// In words.
    pub what: String,
    /// The snapshots it is about.
    pub snapshots: Vec<Sha256>,
    /// The request it belongs to.
    pub request: Option<Sha256>,
    /// The approvals it rests on.
    pub approvals: Vec<Sha256>,
    /// Who else signed for it, by name.
    pub signers: Vec<String>,
    /// Digest of the statement.
    pub statement: Sha256,
    /// Where it is written.
    pub proof: Proof,
}

impl Happening {
    /// The same wherever it is read, and another's for nothing else: of an entry SHA-256 of log,
    /// index and statement, otherwise the statement's digest. The epoch does not tell a node's logs
    /// apart: a later one begins with the entries of the one before.
    pub fn id(&self) -> Sha256 {
        let Proof::Log { origin, index, .. } = &self.proof else { return self.statement };
        let of_node = origin.parse::<Origin>().ok().and_then(|it| it.node());
        let log = of_node.map_or_else(
            || origin.clone(),
            |(fleet, node, _)| format!("seawall/{}/{}", fleet.to_hex(), node.to_hex()),
        );
        Sha256::of(format!("{log}\n{index}\n{}", self.statement.to_hex()).as_bytes())
    }
}

/// What an entry of a node's log is, in one word and in a line.
pub fn in_words(accepted: &Accepted) -> (&'static str, String) {
    match accepted {
        Accepted::Enrolment(e) => ("enrolment", format!("{} ({})", e.name, e.node().short())),
        Accepted::Subkey(s) => ("subkey", format!("{} until {}", s.key, s.not_after)),
        Accepted::Manifest(_, m) => {
            let core = &m.core;
            let files = core.totals.files;
            ("snapshot", format!("number {}, {files} files, {}", core.sequence, core.created))
        }
        Accepted::Epoch(e) => {
            let from = e.continues.size;
            (
                "epoch",
                format!("{}, from {from} entries of the epoch before ({})", e.epoch, e.reason),
            )
        }
        Accepted::Branch(b) => {
            ("branch", format!("{} snapshots of {} follow", b.manifests.len(), b.of))
        }
        Accepted::BranchManifest(_, m) => {
            let (core, files) = (&m.core, m.core.totals.files);
            let what =
                format!("number {} of a branch, {files} files, {}", core.sequence, core.created);
            ("branched", what)
        }
        Accepted::BreakGlass(b) => {
            let vouched = b.operators.len();
            ("break-glass", format!("{vouched} of {} operators vouched ({})", b.needed, b.reason))
        }
        Accepted::Forget(f) => {
            let numbers = numbers(&f.snapshots);
            ("forget", format!("numbers {numbers}, {} ({})", f.created, f.reason))
        }
        Accepted::Deletion(_, d) => {
            ("deletion", format!("numbers {}, {} ({})", numbers(&d.snapshots), d.created, d.reason))
        }
        Accepted::Retention(r) => {
            ("retention", format!("version {}: keep {}, {}", r.version, r.rules, r.created))
        }
        Accepted::Drill(d) => {
            let of = d
                .snapshot
                .as_ref()
                .map_or_else(String::new, |s| format!(" of number {}", s.sequence));
            let extent = if d.whole { "" } else { ", a sample" };
            let kind = kind_word(d.kind);
            ("drill", format!("{kind}{of}{extent}: {}, {}", word(d.result), d.created))
        }
        Accepted::Restored(r) => {
            let (what, ending) = (use_word(r.what), ending_word(r.ending));
            let n = r.snapshot.sequence;
            (
                "restored",
                format!(
                    "{what} of number {n}, {} approvals: {ending}, {}",
                    r.approvals.len(),
                    r.created
                ),
            )
        }
        Accepted::Disbelieved => ("disbelieved", "written after the node was revoked".to_owned()),
        Accepted::Event(e) => ("event", format!("{}: {}, {}", e.kind, e.text, e.created)),
    }
}

fn numbers(snapshots: &[Forgotten]) -> String {
    snapshots.iter().map(|s| s.sequence.to_string()).collect::<Vec<_>>().join(" ")
}

const fn use_word(what: Use) -> &'static str {
    match what {
        Use::Restore => "restore",
        Use::Part => "partial restore",
        Use::List => "list",
        Use::Export => "export",
        Use::Mount => "mount",
        Use::Diff => "comparison",
    }
}

const fn ending_word(ending: Ending) -> &'static str {
    match ending {
        Ending::Done => "done",
        Ending::Partly => "partly",
        Ending::Failed => "failed",
    }
}

/// Everything that is known, oldest first: each entry of each log once, and each statement that was
/// kept and stands in none.
pub fn audit(home: &Home, logs: &[PulledLog]) -> Result<Vec<Happening>, HomeError> {
    let fleet = home.fleet()?;
    let own = home.log(&fleet)?;
    let roster = home_roster(home, &fleet)?;
    let mut all = of_own_log(home, &fleet, &roster, &own)?;
    for log in logs.iter().filter(|l| l.origin != *own.origin()) {
        all.extend(of_copy(&fleet, &roster, log)?);
    }
    let logged: BTreeSet<_> = all.iter().map(|it| it.statement).collect();
    let kept = of_evidence(home, &fleet)?.into_iter().chain(of_policies(&fleet)?);
    all.extend(kept.filter(|it| !logged.contains(&it.statement)));
    // Two entries may be equal in every byte, so they are told apart by their places; one that is
    // in several copies is taken from the first, and a kept statement once.
    let mut seen = BTreeSet::new();
    all.retain(|it| seen.insert(it.id()));
    all.sort_by_key(|it| (it.at, order(&it.proof)));
    Ok(all)
}

/// What was kept comes before what was logged of it, entries by their index.
const fn order(proof: &Proof) -> u64 {
    match proof {
        Proof::Log { index, .. } => *index + 1,
        Proof::Kept | Proof::Policy { .. } => 0,
    }
}

fn of_own_log(
    home: &Home,
    fleet: &Fleet,
    roster: &Roster,
    log: &Log,
) -> Result<Vec<Happening>, HomeError> {
    let quorum = fleet.policy().quorum();
    let voices = Witnessed::open(home, log.origin())?.voices(roster, log.checkpoint());
    let prove = |index| {
        let reached = voices.reached(quorum.as_ref(), index);
        match log.checkpoint() {
            Some(signed) if index < signed.checkpoint().size => {
                let inclusion = log.inclusion(index, signed.checkpoint().size)?;
                Ok((inclusion, Some(note(signed)), reached))
            }
            _ => Ok((Vec::new(), None, reached)),
        }
    };
    let entry = |index| Ok(log.entry(index)?);
    Ok(read(fleet, log.origin(), "this node", log.size(), &entry, &prove)?.0)
}

fn of_copy(fleet: &Fleet, roster: &Roster, log: &PulledLog) -> Result<Vec<Happening>, HomeError> {
    let checkpoint = note(&log.checkpoint);
    // Each voucher's signatures are checked once, not for each entry.
    let vouchers: Vec<_> = log
        .vouchers()
        .map(|it| (it.checkpoint().size, reached(fleet, roster, std::iter::once(it)).operators))
        .collect();
    let quorum = fleet.policy().quorum();
    let prove = |index| {
        let covering = vouchers.iter().filter(|(size, _)| *size > index);
        let names = covering.flat_map(|(_, names)| names).map(String::as_str);
        let reached = Reached::count(quorum.as_ref(), names);
        Ok((log.inclusion(index)?, Some(checkpoint.clone()), reached))
    };
    let entry = |index| {
        let found = log.entry(index).map(<[u8]>::to_vec);
        found.ok_or_else(|| HomeError::refused(format!("log {} is shorter", log.origin)))
    };
    Ok(read(fleet, &log.origin, &log.region, log.state.entries(), &entry, &prove)?.0)
}

fn note(signed: &SignedCheckpoint) -> String {
    String::from_utf8_lossy(&signed.to_bytes()).into_owned()
}

type Entries<'a> = dyn Fn(u64) -> Result<Vec<u8>, HomeError> + 'a;
type Proven = (Vec<Hash>, Option<String>, Reached);
type Prove<'a> = dyn Fn(u64) -> Result<Proven, HomeError> + 'a;

/// Reads a log through its rules and tells what each entry says.
fn read(
    fleet: &Fleet,
    origin: &Origin,
    seen_in: &str,
    size: u64,
    entry: &Entries<'_>,
    prove: &Prove<'_>,
) -> Result<(Vec<Happening>, LogState), HomeError> {
    let mut state = LogState::new(fleet.clone(), origin.as_str());
    let mut out: Vec<Happening> = Vec::new();
    for index in 0..size {
        let bytes = entry(index)?;
        let accepted = state.accept(&bytes)?;
        let (inclusion, checkpoint, witnessed) = prove(index)?;
        let proof = Proof::Log {
            origin: origin.as_str().to_owned(),
            seen_in: seen_in.to_owned(),
            index,
            inclusion,
            checkpoint,
            witnessed,
        };
        let actor = state.enrolment().map_or_else(String::new, |e| e.name.clone());
        // What is not believed need not even be a statement, and its time is what a thief wrote.
        let statement = match accepted {
            Accepted::Disbelieved => Sha256::of(&bytes),
            _ => Envelope::parse(&bytes)?.digest(),
        };
        let mut it = happening(&accepted, actor, statement, proof);
        if let Accepted::Deletion(digest, _) = &accepted {
            let by = state.deletion(digest).map(|it| it.by.clone());
            it.signers = by.into_iter().flatten().collect();
            it.what = format!("{}, signed by {}", it.what, it.signers.join(", "));
        }
        if let (Accepted::Disbelieved, Some(before)) = (&accepted, out.last()) {
            it.at = before.at;
        }
        out.push(it);
    }
    Ok((out, state))
}

fn happening(accepted: &Accepted, actor: String, statement: Sha256, proof: Proof) -> Happening {
    let (kind, what) = in_words(accepted);
    let (at, snapshots, request, approvals) = match accepted {
        Accepted::Enrolment(e) => (e.issued, Vec::new(), None, Vec::new()),
        Accepted::Subkey(s) => (s.not_before, Vec::new(), None, Vec::new()),
        Accepted::Manifest(digest, m) | Accepted::BranchManifest(digest, m) => {
            (m.core.created, vec![*digest], None, Vec::new())
        }
        Accepted::Epoch(e) => (e.created, Vec::new(), None, Vec::new()),
        Accepted::Branch(b) => (b.created, b.manifests.clone(), None, Vec::new()),
        Accepted::BreakGlass(b) => (b.created, vec![b.manifest], None, Vec::new()),
        Accepted::Forget(f) => {
            let forgotten = f.snapshots.iter().map(|s| s.manifest).collect();
            (f.created, forgotten, None, Vec::new())
        }
        Accepted::Deletion(_, d) => {
            let deleted = d.snapshots.iter().map(|s| s.manifest).collect();
            (d.created, deleted, None, Vec::new())
        }
        Accepted::Retention(r) => (r.created, Vec::new(), None, Vec::new()),
        Accepted::Drill(d) => {
            let snapshot = d.snapshot.iter().map(|s| s.manifest).collect();
            (d.created, snapshot, d.request, d.approvals.clone())
        }
        Accepted::Restored(r) => {
            (r.created, vec![r.snapshot.manifest], Some(r.request), r.approvals.clone())
        }
        Accepted::Event(e) => (e.created, Vec::new(), None, Vec::new()),
        Accepted::Disbelieved => (Timestamp(0), Vec::new(), None, Vec::new()),
    };
    let signers = Vec::new();
    Happening { at, actor, kind, what, snapshots, request, approvals, signers, statement, proof }
}

/// Requests and approvals that were kept here, each checked as when it was used. What is not
/// believed is listed as that: it hides nothing else.
fn of_evidence(home: &Home, fleet: &Fleet) -> Result<Vec<Happening>, HomeError> {
    let mut out = Vec::new();
    for kept in evidence::kept(home)? {
        let (examined, today) = match examine_kept(home, &kept.request) {
            Ok(judged) => judged,
            Err(e) => {
                out.push(unbelieved("request", Sha256::of(&kept.request), &e.to_string()));
                continue;
            }
        };
        let it = &examined.dossier;
        let (request, snapshot) = (it.request_digest, it.manifest_digest);
        let drill = if it.request.drill { ", for a drill" } else { "" };
        let today = today.map_or_else(String::new, |why| format!("; no longer acceptable: {why}"));
        out.push(Happening {
            at: it.request.created,
            actor: it.requester.name.clone(),
            kind: "request",
            what: format!(
                "asked for number {} of {}{drill}: {}{today}",
                it.manifest.core.sequence, it.author.name, it.request.reason
            ),
            snapshots: vec![snapshot],
            request: Some(request),
            approvals: Vec::new(),
            signers: Vec::new(),
            statement: request,
            proof: Proof::Kept,
        });
        for bytes in &kept.approvals {
            let given = of_approval(fleet, it, bytes);
            out.push(
                given.unwrap_or_else(|e| unbelieved("approval", Sha256::of(bytes), &e.to_string())),
            );
        }
    }
    Ok(out)
}

/// Something that was kept and proves nothing.
fn unbelieved(kind: &'static str, statement: Sha256, why: &str) -> Happening {
    Happening {
        at: Timestamp(0),
        actor: "nobody".to_owned(),
        kind,
        what: format!("kept with a restore, and not believed: {why}"),
        snapshots: Vec::new(),
        request: None,
        approvals: Vec::new(),
        signers: Vec::new(),
        statement,
        proof: Proof::Kept,
    }
}

/// An approval that was kept with a request: by a custodian as the group was then, or as it is.
fn of_approval(fleet: &Fleet, it: &VerifiedDossier, bytes: &[u8]) -> Result<Happening, HomeError> {
    let envelope = Envelope::parse(bytes)?;
    let claimed = Statement::<Approval>::read_unverified(&envelope)?.predicate;
    let groups = [&it.fleet, fleet].map(|known| known.group(it.manifest.core.group));
    let custodians = groups.into_iter().flatten().filter_map(|g| g.custodian(claimed.custodian));
    let opened = custodians
        .filter(|_| claimed.request == it.request_digest)
        .find_map(|c| Some((c, Statement::open(&envelope, &[c.signing_key], 1).ok()?)));
    let (custodian, statement): (&CustodianRecord, Statement<Approval>) =
        opened.ok_or_else(|| {
            HomeError::refused("it answers another request, or no custodian of the group signed it")
        })?;
    Ok(Happening {
        at: statement.predicate.created,
        actor: custodian.name.clone(),
        kind: "approval",
        what: format!("approved the request of {}", it.requester.name),
        snapshots: vec![it.manifest_digest],
        request: Some(it.request_digest),
        approvals: vec![envelope.digest()],
        signers: Vec::new(),
        statement: envelope.digest(),
        proof: Proof::Kept,
    })
}

/// Approvals that were kept here, by the digest under which a custodian's log names them: that of
/// their bytes. Everybody else names a statement by its payload's.
fn kept_approvals(home: &Home) -> Result<BTreeMap<Sha256, Sha256>, HomeError> {
    let mut named = BTreeMap::new();
    for kept in evidence::kept(home)? {
        for bytes in &kept.approvals {
            if let Ok(envelope) = Envelope::parse(bytes) {
                named.insert(Sha256::of(&envelope.to_json()), envelope.digest());
            }
        }
    }
    Ok(named)
}

/// The entries of a log that somebody exported as tiles: another node's, by the rules of a log, or
/// a custodian's, each entry signed by it.
pub fn audit_exported(home: &Home, dir: &Path) -> Result<Vec<Happening>, HomeError> {
    let fleet = home.fleet()?;
    let place = dir.display().to_string();
    let fetch = |path: &TilePath| std::fs::read(dir.join(path.to_string()));
    let bytes = fetch(&TilePath::Checkpoint).map_err(HomeError::io(&place))?;
    let signed = SignedCheckpoint::parse(&bytes)?;
    let checkpoint = signed.checkpoint();
    let reader = TileReader::new(checkpoint, &fetch);
    let damaged = |e: seawall_tlog::tile::TileError| HomeError::damaged(&place, e.to_string());
    reader.verify_root().map_err(damaged)?;
    let text = note(&signed);
    let roster = home_roster(home, &fleet)?;
    let vouched = reached(&fleet, &roster, std::iter::once(&signed));
    let entry = |index| {
        let mut one = reader.entries(index..index + 1).map_err(damaged)?;
        one.pop().ok_or_else(|| HomeError::damaged(&place, "an empty bundle"))
    };
    let prove = |index| {
        let proof = merkle::inclusion_proof(&reader, index, checkpoint.size);
        let proof = proof.map_err(|e| HomeError::damaged(&place, e.to_string()))?;
        Ok((proof, Some(text.clone()), vouched.clone()))
    };
    if checkpoint.origin.node().is_some() {
        let (found, state) =
            read(&fleet, &checkpoint.origin, &place, checkpoint.size, &entry, &prove)?;
        let keys: Vec<_> = state.checkpoint_signers().collect();
        check_signer(&signed, &keys)?;
        return Ok(found);
    }
    let custodians = fleet.groups().iter().flat_map(|g| &g.custodians);
    for custodian in custodians {
        if check_signer(&signed, &log_keys(custodian)).is_ok() {
            let of = (&fleet, checkpoint, place.as_str());
            return of_custodian(home, custodian, of, &entry, &prove);
        }
    }
    let why = "its checkpoint is signed by no custodian and no node of this fleet";
    Err(HomeError::refused(format!("{place}: {why}")))
}

/// Adds to a list what an exported log tells. Entries that it has from another copy of that log are
/// not listed again. Where copies of one log say different things in one place, both are listed, and
/// the first such place is returned: whoever has the log's keys signed two histories.
pub fn add_exported(all: &mut Vec<Happening>, more: Vec<Happening>) -> Option<(String, u64)> {
    let place = |it: &Happening| match &it.proof {
        Proof::Log { origin, index, .. } => Some((origin.clone(), *index)),
        Proof::Kept | Proof::Policy { .. } => None,
    };
    let places: BTreeSet<_> = all.iter().map(place).collect();
    let mut known: BTreeSet<_> = all.iter().map(Happening::id).collect();
    let mut apart = None;
    for it in more {
        if !known.insert(it.id()) {
            continue;
        }
        let place = place(&it);
        if apart.is_none() && places.contains(&place) {
            apart = place;
        }
        all.push(it);
    }
    apart
}

/// What a custodian's log may be signed with: its signing key, or that of its machine's connections
/// where the first is of a kind that notes do not know.
fn log_keys(custodian: &CustodianRecord) -> Vec<VerifyingKey> {
    match custodian.signing_key.algorithm() {
        Algorithm::Ed25519 => vec![custodian.signing_key],
        Algorithm::MlDsa44 => custodian.endpoint.iter().map(|it| it.transport).collect(),
    }
}

fn check_signer(signed: &SignedCheckpoint, keys: &[VerifyingKey]) -> Result<(), HomeError> {
    let origin = signed.checkpoint().origin.as_str();
    let keys: Vec<_> = keys
        .iter()
        .map(|key| Verifier::new(origin, Kind::Signer, key))
        .collect::<Result<_, _>>()?;
    signed.verify(&keys)?;
    Ok(())
}

/// What a custodian's log says of requests. An entry of another type is named by it, at the time of
/// the one before.
fn of_custodian(
    home: &Home,
    custodian: &CustodianRecord,
    (fleet, checkpoint, seen_in): (&Fleet, &Checkpoint, &str),
    entry: &Entries<'_>,
    prove: &Prove<'_>,
) -> Result<Vec<Happening>, HomeError> {
    let kept = kept_approvals(home)?;
    let mut asked_for: BTreeMap<Sha256, Sha256> = BTreeMap::new();
    let (mut out, mut last) = (Vec::new(), Timestamp(0));
    for index in 0..checkpoint.size {
        let envelope = Envelope::parse(&entry(index)?)?;
        envelope.verify(&[custodian.signing_key], 1)?;
        let kind = predicate_type(&envelope)?;
        let (inclusion, text, witnessed) = prove(index)?;
        let mut it = Happening {
            at: last,
            actor: custodian.name.clone(),
            kind: "custodian",
            what: format!("logged {}", kind.escape_debug()),
            snapshots: Vec::new(),
            request: None,
            approvals: Vec::new(),
            signers: Vec::new(),
            statement: envelope.digest(),
            proof: Proof::Log {
                origin: checkpoint.origin.as_str().to_owned(),
                seen_in: seen_in.to_owned(),
                index,
                inclusion,
                checkpoint: text,
                witnessed,
            },
        };
        if kind == CustodianAct::TYPE {
            let act = CustodianAct::open(fleet.id(), &envelope, custodian.signing_key)?;
            last = act.at;
            if let Act::Seen { manifest, .. } = &act.act {
                asked_for.entry(act.request).or_insert(*manifest);
            }
            it.at = act.at;
            if act.act.is_about_a_request() {
                it.request = Some(act.request);
                it.snapshots.extend(asked_for.get(&act.request));
            } else {
                it.snapshots.push(act.request);
            }
            (it.kind, it.what) = act_in_words(&act.act);
            if let Act::Answered { approval } = &act.act {
                it.approvals.push(kept.get(approval).copied().unwrap_or(*approval));
            }
        }
        out.push(it);
    }
    Ok(out)
}

/// What a custodian did, in one word and in a line.
fn act_in_words(act: &Act) -> (&'static str, String) {
    match act {
        Act::Seen { requester, class, files, reason, .. } => (
            "seen",
            format!("{} asks for {files} files of class {class}: {reason}", requester.short()),
        ),
        Act::Confirmed { approver, .. } => ("confirmed", format!("{approver} agrees")),
        Act::Declined { approver, why, .. } => ("declined", format!("{approver} refuses: {why}")),
        Act::Decided { decision, why, .. } => ("decided", format!("{decision}: {why}")),
        Act::Answered { .. } => ("answered", "approved".to_owned()),
        Act::ShareGood { node, .. } => {
            ("share-good", format!("the share that {} dealt opens", node.short()))
        }
        Act::ShareBad { node, why, .. } => {
            ("share-bad", format!("the share that {} dealt is bad: {why}", node.short()))
        }
    }
}
