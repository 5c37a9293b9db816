//! `seawall drill scrub | canary | quorum | schedule`.

mod schedule;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use seawall_base::{Clock as _, Seconds, Timestamp};
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Against, Answer, AppCheck, CANARY, Commands, Drilled, Home, Listed, PulledLog, RequestOptions,
    RestoreDrill, Scratch, ScrubDrill, approve_canary, canary_dir, drill_restore, drill_scrub,
    duration, examine_request, is_asked_here, kept_reports, kind_word, list_snapshots,
    on_interruption, read_claim, remove_tree_in_use, word,
};
use seawall_policy::Span;
use seawall_record::{DrillKind, Totals, Verdict};
use seawall_sync::VerifiedReport;
use serde_json::json;

use super::restore::{make_request, read_approvals};
use super::snapshot::{find, pulled};
use crate::cli::{DrillCommand, QuorumCommand, RestoreDrillArgs, ScrubArgs};
use crate::output::{Outcome, Printer, human, read_input, write_output};

pub(crate) fn run(
    command: &DrillCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    if let DrillCommand::Schedule { cron, requests, arguments } = command {
        return schedule::run(home, *cron, requests, arguments, printer);
    }
    let home = Home::open(home)?;
    match command {
        DrillCommand::Scrub(args) => scrub(&home, args, printer),
        DrillCommand::Canary { snapshot, share_dir, if_due, restore } => {
            if is_done(&home, DrillKind::Canary, *if_due, printer)? {
                return Ok(Outcome::Done);
            }
            canary(&home, snapshot.as_deref(), share_dir.as_deref(), restore, printer)
        }
        DrillCommand::Quorum(QuorumCommand::Begin { snapshot, out, valid, if_due }) => {
            if is_done(&home, DrillKind::Quorum, *if_due, printer)? {
                return Ok(Outcome::Done);
            }
            if is_under_way(&home, out, if_due.is_some(), printer)? {
                return Ok(Outcome::Done);
            }
            begin(&home, snapshot.as_deref(), out, Seconds::hours(*valid), printer)
        }
        DrillCommand::Quorum(QuorumCommand::Run { request, approvals, restore }) => {
            quorum(&home, request, approvals, restore, printer)
        }
        DrillCommand::Schedule { .. } => unreachable!("handled above"),
    }
}

/// Whether the newest such drill has ended well, and within this time. A failed one is tried again
/// at once, whatever was before it.
fn is_done(
    home: &Home,
    kind: DrillKind,
    within: Option<Span>,
    printer: &Printer,
) -> anyhow::Result<bool> {
    let Some(within) = within else { return Ok(false) };
    let now = SystemClock.now();
    let since = now.before(within.length_until(now));
    let mut newest = kept_reports(home)?.into_iter().map(|(_, it)| it);
    let done = newest.rfind(|it| it.details.kind == kind).filter(|it| {
        it.result.result != Verdict::Failed && (since..=now).contains(&it.details.ended)
    });
    if let Some(done) = &done {
        let at = done.details.ended;
        let value = json!({ "due": false, "last": at.to_string() });
        let words = format!("not due: a {} drill ended well at {at}", kind_word(kind));
        printer.result(&value, &words)?;
    }
    Ok(done.is_some())
}

/// Whether `out` holds the request of a drill that can still be run. It is not replaced: approvals
/// of it may be on their way. One that was run, has expired, or is not acceptable any more is.
fn is_under_way(home: &Home, out: &Path, asked: bool, printer: &Printer) -> anyhow::Result<bool> {
    if out.as_os_str() == "-" || !out.try_exists()? {
        return Ok(false);
    }
    let what = "is not replaced: name another file, or remove it";
    let bytes = read_input(out)?;
    let it = read_claim(&bytes)
        .with_context(|| format!("{} is no drill's request and {what}", out.display()))?;
    anyhow::ensure!(it.drill, "{} is a request for a restore and {what}", out.display());
    let is_of_it = |report: &VerifiedReport| report.details.request == Some(it.request);
    let was_run = kept_reports(home)?.iter().any(|(_, report)| is_of_it(report));
    if was_run || it.expires < SystemClock.now() {
        return Ok(false);
    }
    anyhow::ensure!(
        is_asked_here(home, it.request)?,
        "{} is the request of a drill of another machine and {what}",
        out.display()
    );
    if let Err(e) = examine_request(home, &bytes) {
        printer.warn(&format!(
            "the drill of {} cannot be run any more: {e}; another is asked for",
            out.display()
        ));
        return Ok(false);
    }
    let until = it.expires;
    anyhow::ensure!(
        asked,
        "{} is the request of a drill that can be run until {until} and {what}",
        out.display()
    );
    let value = json!({ "due": false, "under_way": out, "until": until.to_string() });
    let words = format!("not due: the drill of {} can be run until {until}", out.display());
    printer.result(&value, &words)?;
    Ok(true)
}

fn scrub(home: &Home, args: &ScrubArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    if is_done(home, DrillKind::Scrub, args.if_due, printer)? {
        return Ok(Outcome::Done);
    }
    let plan = ScrubDrill {
        workers: std::thread::available_parallelism().map_or(1, usize::from),
        regions: args.regions.clone(),
        bucket: args.bucket,
        sample: args.sample,
    };
    let bar = printer.bytes_bar("reading", None);
    let drilled = drill_scrub(home, &plan, &SystemClock, &mut OsRng, &mut |bytes| {
        bar.set_position(bytes);
    })?;
    bar.finish_and_clear();
    tell(&drilled, None, printer)
}

/// Snapshots of this node, and those of others where they are asked for.
fn snapshots(
    home: &Home,
    id: Option<&str>,
    printer: &Printer,
) -> anyhow::Result<(Vec<Listed>, Vec<PulledLog>)> {
    let own = list_snapshots(home, &[])?;
    if id.is_some_and(|id| find(&own, id).is_ok()) {
        return Ok((own, Vec::new()));
    }
    let logs = pulled(home, printer)?.logs;
    Ok((list_snapshots(home, &logs)?, logs))
}

/// The snapshot named, or the newest whose class is the canary's, or is not.
fn choose(
    home: &Home,
    snapshots: &[Listed],
    id: Option<&str>,
    is_canary: bool,
) -> anyhow::Result<Listed> {
    if let Some(id) = id {
        return Ok(find(snapshots, id)?.clone());
    }
    let fleet = home.fleet()?;
    let of_class = |s: &&Listed| {
        let class = fleet.group(s.manifest.core.group).map(|g| g.class.as_str());
        s.forgotten.is_none() && (class == Some(CANARY)) == is_canary
    };
    // The list is by time, oldest first.
    let newest = snapshots.iter().rfind(of_class).cloned();
    newest.with_context(|| {
        if is_canary {
            "no canary is known here; if a warning above says that a region was not reached, try again; if there is none yet: seawall snapshot create --class canary PATH".to_owned()
        } else {
            "there is no snapshot yet; name one with --snapshot".to_owned()
        }
    })
}

fn canary(
    home: &Home,
    id: Option<&str>,
    share_dir: Option<&Path>,
    args: &RestoreDrillArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let (list, logs) = snapshots(home, id, printer)?;
    let chosen = choose(home, &list, id, true)?;
    let share_dir = share_dir.map_or_else(|| canary_dir(home.path()), Path::to_owned);
    let id = chosen.digest.to_hex();
    let reason = "canary drill";
    let options = RequestOptions {
        id: &id,
        reason,
        valid: Seconds::hours(1),
        break_glass: false,
        drill: true,
    };
    let request = make_request(home, &options, printer)?.dossier.into_bytes();
    let examined = examine_request(home, &request)?;
    let approval = approve_canary(&examined, &share_dir, &SystemClock, &mut OsRng)
        .context("the canary cannot be opened")?;
    let answers = [Answer { name: CANARY.to_owned(), bytes: approval.to_json() }];
    restore(home, DrillKind::Canary, (&request, &answers), &logs, args, printer)
}

fn begin(
    home: &Home,
    id: Option<&str>,
    out: &Path,
    valid: Seconds,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let (list, _) = snapshots(home, id, printer)?;
    let chosen = choose(home, &list, id, false)?;
    let class = home.fleet()?.group(chosen.manifest.core.group).map(|g| g.class.clone());
    anyhow::ensure!(
        class.as_deref() != Some(CANARY),
        "{} is a canary, which one share beside this machine opens: it proves nothing about custodians (seawall drill canary)",
        &chosen.digest.to_hex()[..12]
    );
    let id = chosen.digest.to_hex();
    let options =
        RequestOptions { id: &id, reason: "restore drill", valid, break_glass: false, drill: true };
    let written = make_request(home, &options, printer)?;
    write_output(out, written.dossier.as_bytes())?;
    let fleet = home.fleet()?;
    let group = fleet.group(written.manifest.core.group).context("the fleet has this group")?;
    let names: Vec<_> = group.custodians.iter().map(|c| c.name.as_str()).collect();
    let value = json!({
        "request": written.digest.to_hex(),
        "snapshot": written.manifest_digest.to_hex(),
        "file": out,
        "threshold": group.threshold,
        "custodians": names,
    });
    let words = format!(
        "wrote {0}\nit needs the approval of {1} of: {2}\neach runs: seawall restore approve {0} --share FILE --out APPROVAL\nthen here: seawall drill quorum run {0} --approval APPROVAL ...",
        out.display(),
        group.threshold,
        names.join(", "),
    );
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}

fn quorum(
    home: &Home,
    request: &Path,
    approvals: &[PathBuf],
    args: &RestoreDrillArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let bytes = read_input(request)?;
    let examined = examine_request(home, &bytes)?;
    anyhow::ensure!(
        examined.dossier.request.drill,
        "{} is a request for a restore and no drill; make one with `seawall drill quorum begin`",
        request.display()
    );
    // Asked on another machine, nothing would come of it but a failed drill on record.
    anyhow::ensure!(
        is_asked_here(home, examined.dossier.request_digest)?,
        "{} was made on another machine, or has expired: run it there",
        request.display()
    );
    let answers = read_approvals(approvals)?;
    let own = home.origin(&home.fleet()?)?;
    let is_own = examined.dossier.manifest.core.origin == own.as_str();
    let logs = if is_own { Vec::new() } else { pulled(home, printer)?.logs };
    restore(home, DrillKind::Quorum, (&bytes, &answers), &logs, args, printer)
}

/// Restores into a scratch directory, and tells what came of it.
fn restore(
    home: &Home,
    kind: DrillKind,
    (request, answers): (&[u8], &[Answer]),
    logs: &[PulledLog],
    args: &RestoreDrillArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let live = args.against.as_deref().map(std::path::absolute).transpose()?;
    if let Some(live) = &live {
        anyhow::ensure!(live.is_dir(), "--against {} is not a directory", live.display());
    }
    let examined = examine_request(home, request)?;
    let totals = examined.dossier.manifest.core.totals;
    // Of a sample, nobody knows the size before it is drawn; what is too much ends as a failed drill.
    let room = if args.sample.is_some() { Totals::default() } else { totals };
    let place = args.scratch.clone().unwrap_or_else(std::env::temp_dir);
    let mut scratch = Scratch::new(&place, &room, &mut OsRng)?;
    if args.keep {
        scratch.keep()?;
    }
    let commands = Commands::default();
    let is_over = clean_up_when_interrupted(&scratch, args.keep, &commands)?;
    let bar = printer.bytes_bar("restoring", Some(totals.bytes));
    let plan = RestoreDrill {
        kind,
        examined,
        request,
        answers,
        logs,
        scratch: scratch.path(),
        sample: args.sample,
        elsewhere: args.elsewhere,
        against: live.as_deref().map(|live| Against {
            live,
            may_lack: args.may_lack,
            took: Seconds(args.took),
        }),
        check: args
            .check
            .as_deref()
            .map(|command| AppCheck { command, limit: Duration::from_secs(args.check_timeout) }),
    };
    let drilled = drill_restore(home, &plan, &commands, &SystemClock, &mut OsRng, &mut |bytes| {
        while is_over.load(Ordering::SeqCst) {
            std::thread::park();
        }
        bar.set_position(bytes);
    })?;
    bar.finish_and_clear();
    tell(&drilled, args.keep.then(|| scratch.path()), printer)
}

/// What is returned becomes true when a signal has come: from then on nothing is to be restored or
/// put on record.
fn clean_up_when_interrupted(
    scratch: &Scratch,
    is_kept: bool,
    commands: &Commands,
) -> anyhow::Result<Arc<AtomicBool>> {
    let (path, commands) = (scratch.path().to_owned(), commands.clone());
    let is_over = Arc::new(AtomicBool::new(false));
    let told = is_over.clone();
    let clean_up = move |signal: i32| {
        told.store(true, Ordering::SeqCst);
        commands.end_all();
        if !is_kept && let Err(e) = remove_tree_in_use(&path) {
            let path = path.display();
            tracing::warn!(%path, error = %e, "restored data was left behind; remove it");
        }
        #[expect(clippy::disallowed_methods, reason = "what matters was removed above")]
        std::process::exit(128 + signal);
    };
    on_interruption(clean_up).context("cannot listen for signals")?;
    Ok(is_over)
}

fn tell(drilled: &Drilled, kept: Option<&Path>, printer: &Printer) -> anyhow::Result<Outcome> {
    let it = &drilled.verified;
    for finding in &drilled.findings {
        printer.warn(finding);
    }
    let details = &it.details;
    let mut value = serde_json::to_value(details)?;
    value["id"] = json!(it.digest.to_hex());
    value["result"] = json!(word(it.result.result));
    value["report"] = json!(drilled.path);
    value["findings"] = json!(drilled.findings);
    value["kept"] = json!(kept);
    let mut words = format!(
        "{} drill {}: {} {}, {}\n",
        kind_word(details.kind),
        word(it.result.result),
        details.items,
        if details.snapshot.is_some() { "files" } else { "objects" },
        human(details.bytes),
    );
    for check in &details.checks {
        words.push_str(&format!(
            "  {:<7} {:<14} {}\n",
            word(check.verdict),
            check.name,
            check.said
        ));
    }
    if let (Some(rto), Some(rpo)) = (details.rto_millis, details.rpo_seconds) {
        let rpo = rpo.saturating_mul(1_000);
        words.push_str(&format!(
            "recovery time {}, recovery point {}\n",
            duration(rto),
            duration(rpo)
        ));
    }
    words.push_str(&format!("report {}", drilled.path.display()));
    if let Some(kept) = kept {
        words.push_str(&format!("\nrestored in {}; remove it", kept.display()));
    }
    printer.result(&value, &words)?;
    Ok(match it.result.result {
        Verdict::Passed => Outcome::Done,
        Verdict::Warned => Outcome::Partly,
        Verdict::Failed => Outcome::Found,
    })
}

/// A time as a span back from now, for people.
pub(crate) fn ago(at: Timestamp) -> String {
    let seconds = SystemClock.now().0.saturating_sub(at.0);
    format!("{} ago", duration(seconds.saturating_mul(1_000)))
}
