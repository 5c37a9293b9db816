//! Makes a tier hold a node's snapshots and believes it only with proof.
//!
//! Order: (1) a sample of what is receipted is challenged; (2) objects of every snapshot not yet
//! receipted: what the tier lacks is sent, what it claims to have is challenged; (3) the log;
//! (4) a receipt for each snapshot. So a mirrored manifest never lacks objects, and a push that
//! dies anywhere is simply run again: the receipts on disk are its only state.
//!
//! Snapshots that this node has forgotten are not offered: their objects may be gone here. What a
//! tier has of them it keeps, until a deletion or the fleet's retention says otherwise.
//!
//! The rejected order, log first, would show the region a snapshot sooner, but for hours it would
//! name objects that only a node about to burn down has.

mod deletions;

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{ObjectId, Rng, Sha256};
use seawall_record::reference_set::{Page, Visit, difference};
use seawall_record::{
    Accepted, Enrolment, Fleet, Hex32, LogState, Manifest, Receipt, ReferenceSet,
};
use seawall_sign::{Envelope, VerifyingKey};
use seawall_tlog::{
    Checkpoint, Kind, Log, SignedCheckpoint, Upload, UploadError, UploadStep, Verifier,
};

use self::deletions::Deletions;
use crate::audit::enrols;
use crate::possession::{below, possession, shuffle};
use crate::tier::{Objects, ReceiptAnswer, Tier, read_entries};
use crate::wire::{BATCH_BYTES, FRAME_HEADER, MAX_CHALLENGE};
use crate::{Receipts, SyncError, TierError};

/// How many receipted objects are challenged in each push.
const SAMPLE: usize = 32;

/// How many ids are asked about at a time.
const HAVE_STEP: usize = crate::wire::MAX_HAVE;

/// Entries of a contradicting mirror read at a time.
const REPLAY_STEP: u64 = 256;

/// Most certified subkeys introduced: 8 fortnights of rotation without a push.
const MAX_INTRODUCED: usize = 8;

/// How far a push is. Totals grow no more once the first object has been sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// Objects proven to be there, sent ones included.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects in all.
    pub total_objects: u64,
    /// Bytes in all.
    pub total_bytes: u64,
}

/// What a push achieved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Objects (and reference-set pages) sent.
    pub sent_objects: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Objects the tier had already and proved to have.
    pub proven_objects: u64,
    /// Objects it had lost, admitted so when challenged, and was sent again.
    pub mended_objects: u64,
    /// Receipts given for snapshots that had none.
    pub receipts: u64,
    /// Snapshots counted once more: 1 where there was nothing new.
    pub recounted: u64,
    /// Receipts of this incarnation that were set aside because the tier had lost something.
    pub set_aside: usize,
    /// Entries of the log the tier mirrors now.
    pub mirrored: u64,
    /// Snapshots it was told to delete.
    pub deleted: u64,
    /// Snapshots it keeps no longer, rightly.
    pub gone: u64,
    /// Deletion statements it refused, each with the reason.
    pub refused_deletions: Vec<String>,
}

/// A node's side of a push.
pub struct Push<'a> {
    /// The fleet.
    pub fleet: &'a Fleet,
    /// The region's enrolment, pinned.
    pub region: &'a Enrolment,
    /// This node's log, with a checkpoint of all its entries. Gains the region's cosignature.
    pub log: &'a mut Log,
    /// This node's objects and pages.
    pub objects: &'a dyn Objects,
    /// The region's receipts.
    pub receipts: &'a mut Receipts,
}

struct Snapshot {
    index: u64,
    digest: Sha256,
    manifest: Manifest,
}

impl Snapshot {
    const fn set(&self) -> &ReferenceSet {
        &self.manifest.core.reference_set
    }
}

/// What this node's own log says.
struct OwnLog {
    snapshots: Vec<Snapshot>,
    /// Statements that certify the newest subkeys.
    introduced: Vec<Envelope>,
    /// Every subkey certified.
    keys: Vec<VerifyingKey>,
    deletions: Deletions,
}

/// What one run knows.
struct Run<'p, 'a> {
    push: &'p mut Push<'a>,
    tier: &'p dyn Tier,
    rng: &'p mut dyn Rng,
    progress: &'p mut dyn FnMut(Progress),
    incarnation: Hex32,
    keys: Vec<VerifyingKey>,
    so_far: Progress,
    done: Pushed,
}

impl Push<'_> {
    /// Pushes everything not yet receipted. Safe to interrupt and to run again.
    pub fn run(
        &mut self,
        tier: &dyn Tier,
        rng: &mut dyn Rng,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Pushed, SyncError> {
        let identity = tier.identity()?;
        if identity.identity != self.region.identity {
            let why =
                format!("it signs as {}, enrolled is {}", identity.identity, self.region.identity);
            return Err(protocol(&self.region.name, why));
        }
        let mut run = Run {
            push: self,
            tier,
            rng,
            progress,
            incarnation: identity.incarnation,
            keys: Vec::new(),
            so_far: Progress::default(),
            done: Pushed::default(),
        };
        run.everything()?;
        Ok(run.done)
    }

    /// Replays the node's own log.
    fn replay(&self) -> Result<OwnLog, SyncError> {
        let mut state = LogState::new(self.fleet.clone(), self.log.origin().as_str());
        let (mut snapshots, mut subkeys) = (Vec::new(), Vec::new());
        let mut deletions = Deletions::default();
        for index in 0..self.log.size() {
            let entry = self.log.entry(index)?;
            let accepted =
                state.accept(&entry).map_err(|source| SyncError::Record { index, source })?;
            deletions.note(&entry, &accepted);
            match accepted {
                Accepted::Manifest(digest, manifest)
                | Accepted::BranchManifest(digest, manifest) => {
                    snapshots.push(Snapshot { index, digest, manifest: *manifest });
                }
                Accepted::Subkey(subkey) => {
                    subkeys.extend(state.subkey(subkey.key).map(|(_, envelope)| envelope.clone()));
                }
                _ => {}
            }
        }
        let snapshots = deletions.divide(snapshots, &state);
        let first = subkeys.len().saturating_sub(MAX_INTRODUCED);
        let introduced = subkeys.split_off(first);
        Ok(OwnLog { snapshots, introduced, keys: state.all_subkeys().collect(), deletions })
    }
}

fn is_signed_by(shown: &SignedCheckpoint, keys: impl Iterator<Item = VerifyingKey>) -> bool {
    let origin = shown.checkpoint().origin.as_str();
    let keys: Result<Vec<_>, _> =
        keys.map(|key| Verifier::new(origin, Kind::Signer, &key)).collect();
    keys.is_ok_and(|keys| shown.verify(&keys).is_ok())
}

fn protocol(tier: &str, why: String) -> SyncError {
    TierError::Protocol { tier: tier.to_owned(), why }.into()
}

impl Run<'_, '_> {
    fn everything(&mut self) -> Result<(), SyncError> {
        let size = self.push.log.size();
        let signed = self.push.log.checkpoint().map_or(0, |c| c.checkpoint().size);
        if size == 0 || signed != size {
            return Err(SyncError::NotSigned { size, signed });
        }
        let OwnLog { snapshots, introduced, keys, deletions } = self.push.replay()?;
        self.keys = keys;
        let mirrored = self.check_history()?;
        // A tier that signed for an entry it no longer mirrors was rolled back: what else it
        // lost nobody knows, so nothing it signed counts until it is counted again.
        if snapshots.iter().any(|s| s.index >= mirrored && self.is_receipted(s)) {
            self.done.set_aside += self.push.receipts.set_aside(self.incarnation)?;
        }
        let gone = self.notices(&deletions)?;
        self.sample(&snapshots)?;
        let first = snapshots.iter().position(|s| !self.is_receipted(s)).unwrap_or(snapshots.len());
        // In order and without gaps: a receipt behind a missing one is asked for again.
        let (receipted, pending) = snapshots.split_at(first);
        let mut base = receipted.last().map(|s| *s.set());
        let mut plan = Vec::new();
        for snapshot in pending {
            // A node whose disk went back in time has manifests in its log of which it has no
            // objects. The tier may have them: it is asked to count them, and only if it cannot
            // is anything missing.
            let here = self.local(snapshot.set().root)?.is_some();
            plan.push(if here { self.plan(base.as_ref(), snapshot)? } else { BTreeMap::new() });
            base = here.then(|| *snapshot.set());
        }
        for (snapshot, objects) in pending.iter().zip(plan) {
            self.offer(snapshot.index, &objects)?;
        }
        self.mirror(&introduced, mirrored)?;
        for snapshot in pending {
            self.receipt(snapshot)?;
            self.done.receipts += 1;
        }
        // Where there is nothing new, the last one is counted again: damage that the tier has
        // found since is named now, and mended, instead of when a sample happens to hit it.
        if let (Some(last), []) = (receipted.last(), pending) {
            self.receipt(last)?;
            self.done.recounted = 1;
        }
        self.count_one_let_go(&deletions, &gone)?;
        self.carry(&deletions, &gone)
    }

    fn name(&self) -> String {
        self.push.region.name.clone()
    }

    /// Refuses to go on if the tier has seen more of this log than there is here, or other
    /// entries: then this disk is an old copy, and objects of its new snapshots belong to a log
    /// that cannot be continued. Returns how many entries it has.
    fn check_history(&self) -> Result<u64, SyncError> {
        let origin = self.push.log.origin();
        let Some(mirrored) = self.tier.checkpoint(origin)? else { return Ok(0) };
        if self.contradicts(mirrored.checkpoint())? {
            return Err(self.contradicted(&mirrored)?);
        }
        Ok(mirrored.checkpoint().size)
    }

    /// Whether a checkpoint covers more entries than there are here, or other ones.
    fn contradicts(&self, checkpoint: &Checkpoint) -> Result<bool, SyncError> {
        let log = &self.push.log;
        Ok(checkpoint.size > log.size() || log.root_at(checkpoint.size)? != checkpoint.root)
    }

    /// What a checkpoint that contradicts this log means: that this disk is an old copy, if this
    /// node signed it; else that the tier made it up.
    fn contradicted(&self, shown: &SignedCheckpoint) -> Result<SyncError, SyncError> {
        let mirrored = shown.checkpoint().size;
        if !self.signed_by_this_node(shown)? {
            return Ok(self.unproven(mirrored));
        }
        Ok(SyncError::RolledBack {
            tier: self.name(),
            origin: self.push.log.origin().to_string(),
            mirrored,
            held: self.push.log.size(),
        })
    }

    /// What an answer means by which the tier knows more of this log than there is here, or other
    /// entries: it counts for nothing without the checkpoint.
    fn disagreement(&self, claimed: u64) -> Result<SyncError, SyncError> {
        match self.tier.checkpoint(self.push.log.origin())? {
            Some(shown) if self.contradicts(shown.checkpoint())? => self.contradicted(&shown),
            _ => Ok(self.unproven(claimed)),
        }
    }

    fn unproven(&self, claimed: u64) -> SyncError {
        let why = format!(
            "it claims to know {claimed} entries of {}, of which this node holds {} or others, and \
             shows no checkpoint of them that this node signed",
            self.push.log.origin(),
            self.push.log.size()
        );
        protocol(&self.push.region.name, why)
    }

    /// Whether a subkey of this node signed `shown`. The copy here may be older than the subkey:
    /// its certificate is then among the entries only the tier has, and as those are signed too,
    /// no tier can make them up.
    fn signed_by_this_node(&self, shown: &SignedCheckpoint) -> Result<bool, SyncError> {
        if is_signed_by(shown, self.keys.iter().copied()) {
            return Ok(true);
        }
        let checkpoint = shown.checkpoint();
        let mut state = LogState::new(self.push.fleet.clone(), checkpoint.origin.as_str());
        while state.entries() < checkpoint.size {
            let from = state.entries();
            let range = from..checkpoint.size.min(from + REPLAY_STEP);
            let entries = read_entries(self.tier, checkpoint, range)?;
            if entries.is_empty() || entries.iter().any(|entry| state.accept(entry).is_err()) {
                return Ok(false);
            }
        }
        let own = state.enrolment().is_some_and(|e| enrols(&checkpoint.origin, e));
        Ok(own && is_signed_by(shown, state.all_subkeys()))
    }

    fn is_receipted(&self, snapshot: &Snapshot) -> bool {
        let receipt =
            self.push.receipts.get(self.incarnation, self.push.log.origin(), snapshot.index);
        receipt.is_some_and(|r| r.manifest == snapshot.digest && r.reference_set == *snapshot.set())
    }

    fn local(&self, id: ObjectId) -> Result<Option<Vec<u8>>, SyncError> {
        self.push.objects.object(id).map_err(|why| SyncError::Store { id, why })
    }

    /// The objects and pages of a snapshot that `base` does not have, with their lengths.
    fn plan(
        &mut self,
        base: Option<&ReferenceSet>,
        snapshot: &Snapshot,
    ) -> Result<BTreeMap<ObjectId, u32>, SyncError> {
        let objects = self.push.objects;
        let pages = |id: ObjectId| objects.object(id);
        let mut found = BTreeMap::new();
        difference(&pages, base, snapshot.set(), &mut |visit| {
            match visit {
                Visit::Page(id, len) => found.insert(id, len),
                Visit::Member(member) => found.insert(member.id, member.len),
            };
        })
        .map_err(|source| SyncError::ReferenceSet { index: snapshot.index, source })?;
        self.so_far.total_objects += found.len() as u64;
        self.so_far.total_bytes += found.values().map(|len| u64::from(*len)).sum::<u64>();
        (self.progress)(self.so_far);
        Ok(found)
    }

    /// Makes the tier hold `objects`, each either sent now or proven to be there.
    fn offer(&mut self, index: u64, objects: &BTreeMap<ObjectId, u32>) -> Result<(), SyncError> {
        let mut ids: Vec<ObjectId> = objects.keys().copied().collect();
        shuffle(&mut ids, self.rng);
        for ids in ids.chunks(HAVE_STEP) {
            let lacking: BTreeSet<ObjectId> = self.tier.have(ids)?.missing.into_iter().collect();
            let (missing, claimed): (Vec<_>, Vec<_>) =
                ids.iter().partition(|id| lacking.contains(id));
            self.send(index, &missing)?;
            self.count(&missing, objects);
            self.prove(index, &claimed)?;
            self.count(&claimed, objects);
        }
        Ok(())
    }

    fn count(&mut self, ids: &[ObjectId], lengths: &BTreeMap<ObjectId, u32>) {
        self.so_far.objects += ids.len() as u64;
        self.so_far.bytes += ids.iter().map(|id| u64::from(lengths[id])).sum::<u64>();
        (self.progress)(self.so_far);
    }

    /// Sends objects in batches of about 8 MiB.
    fn send(&mut self, index: u64, ids: &[ObjectId]) -> Result<(), SyncError> {
        let mut batch = Vec::new();
        let mut size = 0;
        for &id in ids {
            let bytes = self.local(id)?.ok_or(SyncError::MissingLocally { id, index })?;
            size += FRAME_HEADER + bytes.len();
            batch.push((id, bytes));
            if size >= BATCH_BYTES {
                self.put(&mut batch)?;
                size = 0;
            }
        }
        self.put(&mut batch)
    }

    fn put(&mut self, batch: &mut Vec<(ObjectId, Vec<u8>)>) -> Result<(), SyncError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.tier.put(batch)?;
        self.done.sent_objects += batch.len() as u64;
        self.done.sent_bytes += batch.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>();
        batch.clear();
        Ok(())
    }

    /// Challenges what the tier claims to have. What it admits to have lost is sent and
    /// challenged again; a wrong answer is a lie.
    fn prove(&mut self, index: u64, claimed: &[ObjectId]) -> Result<(), SyncError> {
        for ids in claimed.chunks(MAX_CHALLENGE) {
            let (lost, mut lied) = self.challenge(index, ids)?;
            let again: Vec<ObjectId> = lost.iter().chain(&lied).copied().collect();
            if !again.is_empty() {
                self.send(index, &again)?;
                let (still_lost, still_wrong) = self.challenge(index, &again)?;
                lied.extend(still_lost);
                lied.extend(still_wrong);
            }
            if !lied.is_empty() {
                return Err(self.lied(lied));
            }
            self.done.mended_objects += lost.len() as u64;
            self.done.proven_objects += (ids.len() - lost.len()) as u64;
        }
        Ok(())
    }

    /// The error for a lie, after every receipt of this incarnation has been set aside: the next
    /// push counts everything anew.
    fn lied(&mut self, mut ids: Vec<ObjectId>) -> SyncError {
        ids.sort();
        ids.dedup();
        match self.push.receipts.set_aside(self.incarnation) {
            Ok(_) => SyncError::Lied { tier: self.name(), ids },
            Err(e) => e.into(),
        }
    }

    /// Asks for proof of at most [`MAX_CHALLENGE`] objects; returns those the tier admits to
    /// have lost and those it answered wrongly.
    fn challenge(
        &mut self,
        index: u64,
        ids: &[ObjectId],
    ) -> Result<(Vec<ObjectId>, Vec<ObjectId>), SyncError> {
        let mut nonce = [0; 32];
        self.rng.fill(&mut nonce);
        let answers = self.tier.challenge(&nonce, ids)?;
        if answers.len() != ids.len() {
            let why = format!("{} answers to {} challenges", answers.len(), ids.len());
            return Err(protocol(&self.push.region.name, why));
        }
        let (mut lost, mut wrong) = (Vec::new(), Vec::new());
        for (&id, answer) in ids.iter().zip(answers) {
            match answer {
                None => lost.push(id),
                Some(proof) => {
                    let bytes = self.local(id)?.ok_or(SyncError::MissingLocally { id, index })?;
                    if possession(&nonce, &bytes) != proof {
                        wrong.push(id);
                    }
                }
            }
        }
        Ok((lost, wrong))
    }

    /// Challenges a few objects the tier has signed for. If it has lost one, none of its receipts
    /// counts any more and this very push counts everything anew.
    fn sample(&mut self, snapshots: &[Snapshot]) -> Result<(), SyncError> {
        let receipted: Vec<&Snapshot> = snapshots.iter().filter(|s| self.is_receipted(s)).collect();
        let mut chosen = BTreeMap::new();
        if receipted.is_empty() {
            return Ok(());
        }
        for _ in 0..SAMPLE {
            let snapshot = receipted[below(receipted.len() as u64, self.rng) as usize];
            // What this node no longer has itself it cannot check.
            if let Some(id) = self.random_member(snapshot)?
                && self.local(id)?.is_some()
            {
                chosen.insert(id, snapshot.index);
            }
        }
        let ids: Vec<ObjectId> = chosen.keys().copied().collect();
        if ids.is_empty() {
            return Ok(());
        }
        let (lost, wrong) = self.challenge(receipted[0].index, &ids)?;
        if !wrong.is_empty() {
            for id in &wrong {
                self.send(chosen[id], &[*id])?;
            }
            return Err(self.lied(wrong));
        }
        if !lost.is_empty() {
            self.done.set_aside = self.push.receipts.set_aside(self.incarnation)?;
        }
        Ok(())
    }

    /// A member of a snapshot's set, each equally likely; `None` where a page is not here.
    fn random_member(&mut self, snapshot: &Snapshot) -> Result<Option<ObjectId>, SyncError> {
        let mut set = *snapshot.set();
        // 64 nibbles: no path is longer.
        for _ in 0..=64 {
            let Some(bytes) = self.local(set.root)? else { return Ok(None) };
            match Page::decode(&bytes) {
                Ok(Page::Leaf(members)) if members.is_empty() => return Ok(None),
                Ok(Page::Leaf(members)) => {
                    let at = below(members.len() as u64, self.rng) as usize;
                    return Ok(Some(members[at].id));
                }
                Ok(Page::Branch(children)) => {
                    let mut at = below(set.count.max(1), self.rng);
                    let chosen = children.iter().flatten().find(|child| {
                        let here = at < child.count;
                        at = at.saturating_sub(child.count);
                        here
                    });
                    match chosen {
                        Some(child) => set = *child,
                        None => return Ok(None),
                    }
                }
                Err(_) => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Brings the log to the tier and keeps its cosignature.
    fn mirror(&mut self, subkeys: &[Envelope], mirrored: u64) -> Result<(), SyncError> {
        self.tier.introduce(subkeys)?;
        let mut upload =
            Upload::new(self.push.log, mirrored, mirrored).map_err(|e| self.upload_error(e))?;
        loop {
            let step = upload.step(self.push.log).map_err(|e| self.upload_error(e))?;
            let answer = match step {
                UploadStep::AddCheckpoint(body) => self.tier.add_checkpoint(&body)?,
                UploadStep::AddEntries(body) => self.tier.add_entries(&body)?,
                UploadStep::Done { size, lines } => {
                    let region = self.push.region;
                    let key = Verifier::new(&region.name, Kind::Cosigner, &region.identity)
                        .map_err(|e| protocol(&region.name, format!("its name: {e}")))?;
                    if self.push.log.add_cosignatures(&lines, &[key])? == 0 {
                        let why = "it mirrored the log and did not cosign it".to_owned();
                        return Err(protocol(&region.name, why));
                    }
                    self.done.mirrored = size;
                    return Ok(());
                }
            };
            upload.answer(answer.status, &answer.body).map_err(|e| self.upload_error(e))?;
        }
    }

    fn upload_error(&self, e: UploadError) -> SyncError {
        let tier = self.name();
        match e {
            UploadError::Log(e) => e.into(),
            UploadError::Unsigned => SyncError::NotSigned { size: self.push.log.size(), signed: 0 },
            UploadError::Behind { mirror, .. } => self.disagreement(mirror).unwrap_or_else(|e| e),
            UploadError::Forked(_) => {
                let size = self.push.log.checkpoint().map_or(0, |c| c.checkpoint().size);
                self.disagreement(size).unwrap_or_else(|e| e)
            }
            UploadError::Refused { why, .. } => {
                let remedy = "see the reason; `seawall verify` checks this node's log".to_owned();
                TierError::Refused { tier, why: why.trim_end().to_owned(), remedy }.into()
            }
            e @ UploadError::Nonsense(_) => protocol(&tier, e.to_string()),
            e @ UploadError::Stalled => TierError::Retry { tier, why: e.to_string() }.into(),
        }
    }

    /// Asks for a receipt, a second time where the tier says that it misses something.
    fn receipt(&mut self, snapshot: &Snapshot) -> Result<(), SyncError> {
        let origin = self.push.log.origin().clone();
        for _ in 0..2 {
            match self.tier.receipt(&origin, snapshot.index)? {
                ReceiptAnswer::Given(envelope) => return self.keep(&envelope, snapshot),
                // Whatever it lost: everything of this snapshot is offered and proven again.
                ReceiptAnswer::Missing(_) => {
                    let all = self.plan(None, snapshot)?;
                    self.offer(snapshot.index, &all)?;
                }
            }
        }
        let why = format!("it misses objects of entry {} that it was just sent", snapshot.index);
        Err(protocol(&self.push.region.name, why))
    }

    fn keep(&mut self, envelope: &Envelope, snapshot: &Snapshot) -> Result<(), SyncError> {
        let region = self.push.region;
        let receipt = Receipt::open(envelope, region.identity)
            .map_err(|e| protocol(&region.name, e.to_string()))?;
        let matches = receipt.fleet == self.push.fleet.id()
            && receipt.incarnation == self.incarnation
            && receipt.manifest == snapshot.digest
            && receipt.origin == self.push.log.origin().as_str()
            && receipt.index == snapshot.index
            && receipt.reference_set == *snapshot.set();
        if !matches {
            let why = format!("its receipt is not for entry {} of this log", snapshot.index);
            return Err(protocol(&region.name, why));
        }
        self.push.receipts.add(envelope.clone())?;
        Ok(())
    }
}
