//! A drill that restores: from a request and its approvals to a tree that was compared and tried.
//!
//! What goes wrong on the way is a check that failed, not an error: a drill that ends badly has to
//! be on record more than one that ends well. Errors are what keeps a drill from beginning.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use seawall_backup::browse::{Selection, View, restore_selected};
use seawall_backup::restore::{RestoreError, Restored, restore};
use seawall_backup::target::{Options, Refused, Target};
use seawall_base::{Clock, Rng, Sha256, Timestamp};
use seawall_custodian::Examined;
use seawall_record::{DrillKind, ManifestCore, SnapshotPlace, Totals, Verdict};

use seawall_sync::{Details, Given, Phase, RestoredSnapshot};

use super::compare::{self, Against};
use super::record::{Drilled, put_on_record};
use super::watch::Watch;
use crate::browse::{Reach, view};
use crate::evidence;
use crate::history::{Vouched, check_history};
use crate::hooks::{Commands, Hook};
use crate::opening::{Answer, Opened, open_request};
use crate::tiers::PulledLog;
use crate::{Home, HomeError, list_snapshots};

/// Files that are read back where all of a snapshot was restored.
const READ_BACK: u64 = 100;

/// The command that says whether the application works on what was restored.
#[derive(Debug, Clone, Copy)]
pub struct AppCheck<'a> {
    /// A command for `sh`; it succeeds where all is well.
    pub command: &'a OsStr,
    /// How long it may take.
    pub limit: Duration,
}

/// What to restore, and how to judge it.
pub struct RestoreDrill<'a> {
    /// Canary or quorum.
    pub kind: DrillKind,
    /// The request, examined.
    pub examined: Examined,
    /// The request's file.
    pub request: &'a [u8],
    /// The approvals as they were handed over.
    pub answers: &'a [Answer],
    /// Copies of other nodes' logs.
    pub logs: &'a [PulledLog],
    /// An empty directory with room enough.
    pub scratch: &'a Path,
    /// Restore so many files, chosen at random, instead of everything.
    pub sample: Option<u64>,
    /// Leave this node's own store out.
    pub elsewhere: bool,
    /// Compare with this live path.
    pub against: Option<Against<'a>>,
    /// Ask this command.
    pub check: Option<AppCheck<'a>>,
}

/// A tree in the scratch directory.
struct Tree {
    refused: Vec<Refused>,
}

/// A drill on its way.
struct Run<'a> {
    plan: &'a RestoreDrill<'a>,
    signed: ManifestCore,
    details: Details,
    findings: Vec<String>,
    watch: Watch,
}

/// Restores, compares, tries, and puts all of it on record. `progress` is told of restored bytes,
/// before the first is written and once more before anything is on record: where the process is
/// about to be ended it keeps the thread, for a drill that was interrupted has not failed.
pub fn drill_restore(
    home: &Home,
    plan: &RestoreDrill<'_>,
    commands: &Commands,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
    progress: &mut dyn FnMut(u64),
) -> Result<Drilled, HomeError> {
    let fleet = home.fleet()?;
    let (own, _) = home.enrolment(&fleet)?;
    let mut details = Details::new(plan.kind, fleet.id(), own.node(), clock.now());
    details.whole = plan.sample.is_none();
    describe(&mut details, plan, &fleet)?;
    details.rpo_seconds = newest(home, plan)?.map(|at| details.began.0.saturating_sub(at.0));
    let signed = plan.examined.dossier.manifest.core.clone();
    let mut run = Run { plan, signed, details, findings: Vec::new(), watch: Watch::start() };
    run.everything(home, commands, rng, progress)?;
    progress(run.details.bytes);
    let Run { mut details, findings, .. } = run;
    if details.is_good() {
        let compared = |p: &&Phase| p.name != "compare";
        details.rto_millis = Some(details.phases.iter().filter(compared).map(|p| p.millis).sum());
    }
    put_on_record(home, details, findings, clock, rng)
}

fn describe(
    details: &mut Details,
    plan: &RestoreDrill<'_>,
    fleet: &seawall_record::Fleet,
) -> Result<(), HomeError> {
    let dossier = &plan.examined.dossier;
    let core = &dossier.manifest.core;
    let group = fleet
        .group(core.group)
        .ok_or_else(|| HomeError::refused("the snapshot's escrow group is not the fleet's"))?;
    details.request = Some(dossier.request_digest);
    details.snapshot = Some(RestoredSnapshot {
        author: dossier.author.name.clone(),
        place: SnapshotPlace {
            origin: core.origin.clone(),
            sequence: core.sequence,
            manifest: dossier.manifest_digest,
        },
        index: dossier.request.index,
        created: core.created,
        class: group.class.clone(),
        set: core.set.clone(),
        totals: core.totals,
        objects: core.reference_set.count,
    });
    Ok(())
}

/// When the newest snapshot of this log, class and set was made that is not forgotten.
fn newest(home: &Home, plan: &RestoreDrill<'_>) -> Result<Option<Timestamp>, HomeError> {
    let core = &plan.examined.dossier.manifest.core;
    let like = list_snapshots(home, plan.logs)?.into_iter().filter(|s| {
        let other = &s.manifest.core;
        s.forgotten.is_none()
            && (&other.origin, other.class, &other.set) == (&core.origin, core.class, &core.set)
    });
    Ok(like.map(|s| s.manifest.core.created).max())
}

impl Run<'_> {
    /// Notes how long it took since the last time.
    fn phase(&mut self, name: &str) {
        let millis = self.watch.lap();
        self.details.phases.push(Phase { name: name.to_owned(), millis });
    }

    fn fail(&mut self, name: &str, said: &str, finding: impl std::fmt::Display) {
        self.details.note(name, Verdict::Failed, said);
        self.findings.push(format!("{name}: {finding}"));
    }

    fn everything(
        &mut self,
        home: &Home,
        commands: &Commands,
        rng: &mut dyn Rng,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), HomeError> {
        if !self.history(home) {
            return Ok(());
        }
        let Some(opened) = self.open(home)? else { return Ok(()) };
        let (reach, unreached) =
            if self.plan.elsewhere { Reach::elsewhere(home)? } else { Reach::open(home)? };
        self.details.tiers = reach.names();
        if !unreached.is_empty() {
            let said = format!("{} tiers could not be reached", unreached.len());
            self.details.note("tiers", Verdict::Warned, said);
            let words = unreached.iter().map(|(name, e)| format!("tiers: {name}: {e}"));
            self.findings.extend(words);
        }
        let reach = Arc::new(reach);
        progress(0);
        let tree = match self.plan.sample {
            None => self.restore(&reach, &opened, progress),
            Some(n) => self.restore_sample(&reach, &opened, n, rng, progress),
        };
        let Some(tree) = tree else { return Ok(()) };
        if self.plan.sample.is_none() {
            self.count(&tree);
            self.read_back(&reach, &opened, rng);
        }
        self.compare_live(&tree);
        self.phase("compare");
        self.ask(commands);
        Ok(())
    }

    fn history(&mut self, home: &Home) -> bool {
        match check_history(home, &self.plan.examined, self.plan.logs) {
            Ok(Vouched::OwnLog) => {
                self.details.note("history", Verdict::Passed, "unbroken in this node's own log");
            }
            Ok(Vouched::Copy(place)) => {
                let said = format!("unbroken in the copy of {place}");
                self.details.note("history", Verdict::Passed, said);
            }
            Ok(Vouched::Nobody) => {
                let said = "no copy of the log is within reach: only its author vouches for it";
                self.details.note("history", Verdict::Warned, said);
            }
            Err(e) => {
                self.fail("history", "the log does not have the snapshot in its place", e);
                return false;
            }
        }
        true
    }

    /// Opens the snapshot with the approvals; the time until then is told apart from ours.
    fn open(&mut self, home: &Home) -> Result<Option<Opened>, HomeError> {
        // What was examined is examined again: opening takes it.
        let examined = crate::opening::examine_request(home, self.plan.request)?;
        let group = examined.group.threshold();
        let opened = match open_request(home, examined, self.plan.answers) {
            Ok(opened) => opened,
            Err(e) => {
                self.fail("quorum", "the approvals do not open the snapshot", e);
                return Ok(None);
            }
        };
        self.findings.extend(opened.refused.iter().map(|(name, e)| format!("{name}: {e}")));
        evidence::keep(home, self.plan.request, &opened)?;
        self.details.approvals = given(&opened)?;
        self.waited(&opened);
        let said = format!("{} approvals, {group} needed", opened.approvals.len());
        self.details.note("quorum", Verdict::Passed, said);
        self.phase("open");
        Ok(Some(opened))
    }

    /// From the request to the last approval, and from there to the beginning of this run.
    fn waited(&mut self, opened: &Opened) {
        let asked = opened.examined.dossier.request.created;
        let last = self.details.approvals.iter().map(|a| a.created).max().unwrap_or(asked);
        let millis = |from: Timestamp, to: Timestamp| to.0.saturating_sub(from.0) * 1_000;
        let began = self.details.began;
        for (name, millis) in [("approvals", millis(asked, last)), ("idle", millis(last, began))] {
            self.details.phases.push(Phase { name: name.to_owned(), millis });
        }
    }

    fn target(&mut self) -> Option<Target> {
        match Target::create(self.plan.scratch, Options::default()) {
            Ok(target) => Some(target),
            Err(e) => {
                self.fail("restore", "the scratch directory cannot be used", e);
                None
            }
        }
    }

    fn restore(
        &mut self,
        reach: &Arc<Reach>,
        opened: &Opened,
        progress: &mut dyn FnMut(u64),
    ) -> Option<Tree> {
        let target = self.target()?;
        let workers = std::thread::available_parallelism().map_or(4, |n| n.get().max(4));
        let mut first = None;
        let (watch, signed) = (self.watch, self.signed.clone());
        let reach: &Reach = reach;
        let restored = restore(reach, reach, &opened.root, &signed, target, workers, &mut |p| {
            first.get_or_insert_with(|| watch.so_far());
            progress(p.bytes);
        });
        if let Some(millis) = first {
            self.details.phases.push(Phase { name: "first byte".to_owned(), millis });
            self.watch.skip(millis);
        }
        self.phase("restore");
        match restored {
            Ok(restored) => Some(self.judge(restored)),
            Err(e) => {
                let (name, said) = what_failed(&e);
                self.fail(name, said, e);
                None
            }
        }
    }

    fn judge(&mut self, restored: Restored) -> Tree {
        let Restored { refused, lost, .. } = restored;
        if !lost.is_empty() {
            let words = lost.iter().map(|l| format!("{}: {}", shown(&l.path), l.why));
            self.findings.extend(words);
            let said = format!("{} entries could not be restored", lost.len());
            self.details.note("restore", Verdict::Failed, said);
            return Tree { refused };
        }
        let said = format!("every object fetched, proven and opened; {} left out", refused.len());
        self.details.note("restore", Verdict::Passed, said);
        self.findings.extend(refused.iter().map(|r| format!("left out: {r}")));
        self.details.note("signed totals", Verdict::Passed, "the tree has what was signed");
        let said =
            format!("the {} objects used are the public set", self.signed.reference_set.count);
        self.details.note("reference set", Verdict::Passed, said);
        Tree { refused }
    }

    fn restore_sample(
        &mut self,
        reach: &Arc<Reach>,
        opened: &Opened,
        n: u64,
        rng: &mut dyn Rng,
        progress: &mut dyn FnMut(u64),
    ) -> Option<Tree> {
        let view = self.view(reach, opened)?;
        let chosen = match compare::choose(&view, n, rng) {
            Ok(chosen) => chosen,
            Err(e) => {
                self.fail("signed totals", "the directories could not all be read", e);
                return None;
            }
        };
        let said = "every directory was read, and has what was signed";
        self.details.note("signed totals", Verdict::Passed, said);
        let paths: Vec<_> = chosen.iter().map(|it| it.path.clone()).collect();
        if paths.is_empty() {
            self.fail("restore", "the snapshot has no file to restore", "no files");
            return None;
        }
        let selection = Selection::new(&paths, &[]).ok()?;
        let target = self.target()?;
        let picked = restore_selected(&view, &selection, target, &mut |w| progress(w.bytes));
        self.phase("restore");
        let picked = match picked {
            Ok(picked) => picked,
            Err(e) => {
                self.fail("restore", "the sample could not be restored", e);
                return None;
            }
        };
        self.details.items = picked.walked.files;
        self.details.bytes = picked.walked.bytes;
        let (lost, of) = (picked.lost.len(), self.signed.totals.files);
        self.findings.extend(picked.lost.iter().map(|l| format!("{}: {}", shown(&l.path), l.why)));
        let verdict = if lost == 0 { Verdict::Passed } else { Verdict::Failed };
        let said = format!("{} of {of} files, {lost} could not be", picked.walked.files);
        self.details.note("restore", verdict, said);
        let back = compare::read_back(&view, self.plan.scratch, &chosen);
        self.note_read_back(back);
        Some(Tree { refused: picked.refused })
    }

    fn view(&mut self, reach: &Arc<Reach>, opened: &Opened) -> Option<View> {
        match view(reach, opened) {
            Ok(view) => Some(view),
            Err(e) => {
                self.fail("restore", "the snapshot's root cannot be read", e);
                None
            }
        }
    }

    /// The tree as the system shows it, against what was signed. What is there is what counts as
    /// restored, whoever else says that it was written.
    fn count(&mut self, tree: &Tree) {
        let mut found = match compare::count(self.plan.scratch) {
            Ok(found) => found,
            Err(e) => return self.fail("real tree", "the tree on the disk cannot be counted", e),
        };
        self.details.items = found.files;
        self.details.bytes = found.bytes;
        found.others += compare::left_out(&tree.refused);
        let signed = Totals { problems: 0, ..self.signed.totals };
        if found == signed {
            let said = "counted again on the disk, it is the tree that was signed";
            self.details.note("real tree", Verdict::Passed, said);
        } else {
            let finding =
                format!("on the disk are {}; signed are {}", it_has(&found), it_has(&signed));
            self.fail("real tree", "the tree on the disk is not what was signed", finding);
        }
    }

    fn read_back(&mut self, reach: &Arc<Reach>, opened: &Opened, rng: &mut dyn Rng) {
        let Some(view) = self.view(reach, opened) else { return };
        match compare::choose(&view, READ_BACK, rng) {
            Ok(chosen) => {
                let back = compare::read_back(&view, self.plan.scratch, &chosen);
                self.note_read_back(back);
            }
            Err(e) => self.fail("read back", "the directories could not all be read again", e),
        }
    }

    fn note_read_back(&mut self, back: compare::ReadBack) {
        let verdict = if back.wrong.is_empty() { Verdict::Passed } else { Verdict::Failed };
        let differ = back.wrong.len() as u64 - back.unread;
        let mut said = format!(
            "{} files of {} bytes read back and compared, {differ} differ",
            back.files, back.bytes,
        );
        if back.unread > 0 {
            said.push_str(&format!(", {} could not be read", back.unread));
        }
        self.details.note("read back", verdict, said);
        self.findings.extend(back.wrong.into_iter().map(|w| format!("read back: {w}")));
    }

    fn compare_live(&mut self, tree: &Tree) {
        let Some(plan) = &self.plan.against else { return };
        let created = self.signed.created;
        // What was not drawn for a sample is not there, and need not be.
        let may_lack = plan.may_lack || self.plan.sample.is_some();
        let plan = Against { may_lack, ..*plan };
        let found = match compare::against(&plan, self.plan.scratch, created, &tree.refused) {
            Ok(found) => found,
            Err(e) => {
                let said = "the snapshot does not have the live path, or it cannot be read";
                return self.fail("live source", said, e);
            }
        };
        // Of what was skipped when the snapshot was made, nobody says which paths it was.
        let skipped = self.signed.totals.problems;
        let wrong = found.wrong.len() as u64;
        let nothing = found.same == 0 && found.since > 0;
        let verdict = match wrong {
            0 if nothing => Verdict::Warned,
            0 => Verdict::Passed,
            n if n <= skipped => Verdict::Warned,
            _ => Verdict::Failed,
        };
        let said = format!(
            "{} files are as they are live, {} paths have changed since, {} are not in it and need not be, {wrong} differ",
            found.same, found.since, found.lacking
        );
        self.details.note("live source", verdict, said);
        self.findings.extend(found.wrong.into_iter().map(|w| format!("live source: {w}")));
    }

    /// The application's own word. Last, because it may write to the tree.
    fn ask(&mut self, commands: &Commands) {
        let Some(check) = &self.plan.check else { return };
        let environment = [
            ("SEAWALL_RESTORED", self.plan.scratch.display().to_string()),
            ("SEAWALL_SNAPSHOT", self.plan.examined.dossier.manifest_digest.to_hex()),
        ];
        let hook = Hook {
            what: "application check",
            command: check.command,
            environment: &environment,
            limit: check.limit,
        };
        match hook.run(commands) {
            Ok(()) => {
                self.details.note("application", Verdict::Passed, "it works on what was restored");
            }
            Err(e) => self.fail("application", "it does not work on what was restored", e),
        }
        self.phase("application");
    }
}

/// Which check a failed restore has failed, in words without paths.
const fn what_failed(e: &RestoreError) -> (&'static str, &'static str) {
    match e {
        RestoreError::AboveTotals { .. } => {
            ("signed totals", "the tree holds more than was signed")
        }
        RestoreError::OtherTotals { .. } => ("signed totals", "the tree is not what was signed"),
        RestoreError::OtherSet { .. } => {
            ("reference set", "the objects used are not the public set")
        }
        RestoreError::ReferenceSet(_) => ("reference set", "the public set cannot be read"),
        RestoreError::Root(_) => ("restore", "the snapshot's root cannot be read"),
        RestoreError::Target(_) => ("restore", "the scratch directory could not be written"),
        RestoreError::WorkerLost => ("restore", "a writing thread ended unexpectedly"),
    }
}

/// What a tree has, in words.
fn it_has(totals: &Totals) -> String {
    let Totals { files, directories, others, bytes, .. } = totals;
    format!("{files} files, {directories} directories, {others} links and others, {bytes} bytes")
}

fn shown(path: &[u8]) -> String {
    format!("/{}", String::from_utf8_lossy(path).escape_debug())
}

/// The approvals that opened a snapshot.
fn given(opened: &Opened) -> Result<Vec<Given>, HomeError> {
    use seawall_record::Approval;
    let one = |(custodian, envelope): &(u16, seawall_sign::Envelope)| {
        // Accepted before: signed by the custodian it names, for this request.
        let it = seawall_sign::Statement::<Approval>::read_unverified(envelope)?.predicate;
        let approval: Sha256 = envelope.digest();
        Ok(Given { custodian: *custodian, approval, created: it.created })
    };
    opened.approvals.iter().map(one).collect()
}
