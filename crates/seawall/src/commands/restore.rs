//! `seawall restore request | approve | run`.

mod own_share;
mod part;
mod remote;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use seawall_backup::browse::{Selection, View};
use seawall_backup::restore::{Objects, Restored, restore};
use seawall_backup::target::{Options, Target, TargetError};
use seawall_base::Seconds;
use seawall_custodian::{
    Classical, CustodianHome, Examined, NO_FLEET, NO_QUANTUM_SHARE, examine_with, kem_keys,
    shares_of,
};
use seawall_escrow::{MAX_SHARE_FILE, ShareFile};
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    Answer, Bucket, Home, Layered, Listed, Opened, Reach, RegionLink, RequestOptions,
    RequestWritten, Requestable, Vouched, check_history, examine_request_with, keep_evidence,
    keep_hand_over, learn_newer, list_snapshots, open_request, record_use,
};
use seawall_record::{Ending, Pin, Use};
use serde_json::{Value, json};

pub(crate) use self::own_share::OwnShare;
pub(crate) use self::part::kind_of;
use super::custodian::token::{reaching, secret_of};
use super::known;
use super::snapshot::{find, pulled, witnessed};
use crate::cli::{PartArgs, RestoreCommand, TokenArgs};
use crate::output::{
    Outcome, Printer, Usage, confirm, from_root, human, read_input, read_up_to, show_path,
    write_output,
};

pub(crate) fn run(
    command: &RestoreCommand,
    home: impl Fn() -> anyhow::Result<PathBuf>,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        RestoreCommand::Request { id, reason, out, valid, break_glass, send } => {
            let home = Home::open(&home()?)?;
            let valid = Seconds::hours(*valid);
            let break_glass = *break_glass;
            let options = RequestOptions { id, reason, valid, break_glass, drill: false };
            request(&home, &options, out, *send, printer)
        }
        RestoreCommand::Collect { request, out_dir } => {
            remote::collect(&Home::open(&home()?)?, request, out_dir, printer)
        }
        RestoreCommand::TakeOver { files } => take_over(&Home::open(&home()?)?, files, printer),
        RestoreCommand::Plan(args) => remote::plan(&Home::open(&home()?)?, args, printer),
        RestoreCommand::Approve { request, share, fleet, token, out, accept_classical, yes } => {
            let how = (classical(*accept_classical, printer), *yes);
            let share = OwnShare { given: share.as_deref(), home: &home };
            approve(request, (&share, token), fleet.as_deref(), out, how, printer)
        }
        RestoreCommand::Run {
            request,
            approvals,
            to,
            part,
            dry_run,
            accept_classical,
            privileged,
            resume,
        } => {
            let home = Home::open(&home()?)?;
            let options = Options { overwrite: false, resume: *resume, privileged: *privileged };
            let selection = selection(part)?;
            let classical = classical(*accept_classical, printer);
            let opened = open_with(&home, request, (approvals, classical), printer)?;
            let (what, target, done) = match to {
                _ if *dry_run => {
                    (Use::List, None, part::preview(&home, &opened, &selection, printer))
                }
                Some(to) if !selection.is_all() => {
                    let done = part::write(&home, &opened, &selection, to, options, printer);
                    (Use::Part, Some(to), done)
                }
                Some(to) => {
                    let done = write_tree(&home, &opened, to, options, printer);
                    (Use::Restore, Some(to), done)
                }
                None => anyhow::bail!("without --dry-run, --to says where to restore"),
            };
            let ending = match &done {
                Ok(Done { outcome: Outcome::Done, .. }) => Ending::Done,
                Ok(_) => Ending::Partly,
                Err(_) => Ending::Failed,
            };
            // What lies in a directory that was left alone came from elsewhere.
            let wrote = !done.as_ref().is_err_and(is_left_alone);
            let target = target.filter(|_| wrote).map(PathBuf::as_path);
            note_use(&home, &opened, (what, ending), target, printer);
            let done = done?;
            printer.result(&done.value, &done.words)?;
            Ok(done.outcome)
        }
    }
}

/// Whether a restore ended before it wrote anything, because something lies where it was to go.
fn is_left_alone(e: &anyhow::Error) -> bool {
    let why = e.chain().find_map(|e| e.downcast_ref::<TargetError>());
    matches!(why, Some(TargetError::NotEmpty(_)))
}

fn take_over(home: &Home, files: &[PathBuf], printer: &Printer) -> anyhow::Result<Outcome> {
    for file in files {
        keep_hand_over(home, &read_up_to(file, 64)?)
            .with_context(|| format!("cannot use {}", file.display()))?;
    }
    printer.result(&json!({ "kept": files }), "kept; what they lead to opens once enough of the custodians who left have handed theirs over")?;
    Ok(Outcome::Done)
}

/// What the flag says, with a word about it.
fn classical(accepted: bool, printer: &Printer) -> Classical {
    if !accepted {
        return Classical::Refused;
    }
    printer.warn("a capsule without its post-quantum half is accepted here: check whose it is");
    Classical::Accepted
}

/// Reads approvals as they were handed over.
pub(crate) fn read_approvals(paths: &[PathBuf]) -> anyhow::Result<Vec<Answer>> {
    let read = |p: &PathBuf| Ok(Answer { name: p.display().to_string(), bytes: read_input(p)? });
    paths.iter().map(read).collect()
}

/// Checks a request and opens its snapshot with those of `approvals` that are good for it.
pub(crate) fn open(
    home: &Home,
    request: &Path,
    approvals: &[Answer],
    printer: &Printer,
) -> anyhow::Result<Opened> {
    open_lenient(home, request, (approvals, Classical::Refused), printer)
}

fn open_lenient(
    home: &Home,
    request: &Path,
    (approvals, classical): (&[Answer], Classical),
    printer: &Printer,
) -> anyhow::Result<Opened> {
    let not_opened = || format!("{}: the snapshot was not opened", request.display());
    let request_bytes = read_input(request)?;
    let examined = examine_request_with(home, &request_bytes, classical);
    let examined = examined.with_context(not_opened)?;
    vouch(home, &examined, printer).with_context(not_opened)?;
    if let Some(glass) = &examined.dossier.break_glass {
        let seen = opened_glass(&examined);
        printer.warn(&format!("{seen}: {}", glass.reason));
    }
    let opened = open_request(home, examined, approvals).with_context(not_opened)?;
    if let Err(e) = keep_evidence(home, &request_bytes, &opened) {
        printer.warn(&format!("the request and its approvals were not kept for an audit: {e}"));
    }
    // Asked once the snapshot is held for reading: it cannot be forgotten from here on.
    let digest = opened.examined.dossier.manifest_digest;
    if let Some(listed) = list_snapshots(home, &[])?.iter().find(|s| s.digest == digest) {
        warn_if_forgotten(home, listed, printer)?;
    }
    Ok(opened)
}

/// Logs that an opened snapshot was used. That this is not possible, as in a home that cannot be
/// written, makes no restore fail.
pub(crate) fn note_use(
    home: &Home,
    opened: &Opened,
    how: (Use, Ending),
    target: Option<&Path>,
    printer: &Printer,
) {
    let target = target.map(|path| path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    let noted = record_use(home, opened, how, target.as_deref(), &SystemClock, &mut OsRng);
    if let Err(e) = noted {
        printer.warn(&format!("this use of the snapshot was not logged: {e}"));
    }
}

/// As [`open`], where all approvals are meant for the one request.
pub(crate) fn open_one(
    home: &Home,
    request: &Path,
    approvals: &[PathBuf],
    printer: &Printer,
) -> anyhow::Result<Opened> {
    open_with(home, request, (approvals, Classical::Refused), printer)
}

fn open_with(
    home: &Home,
    request: &Path,
    (approvals, classical): (&[PathBuf], Classical),
    printer: &Printer,
) -> anyhow::Result<Opened> {
    let answers = read_approvals(approvals)?;
    let opened = open_lenient(home, request, (&answers, classical), printer)?;
    for (name, e) in &opened.refused {
        printer.warn(&format!("{name} was not used: {e}"));
    }
    Ok(opened)
}

/// Opens everything within reach that may hold objects.
pub(crate) fn reach(home: &Home, printer: &Printer) -> anyhow::Result<Arc<Reach>> {
    let (reach, unreached) = Reach::open(home)?;
    for (name, e) in unreached {
        printer.warn(&format!("{name}: {e}"));
    }
    Ok(Arc::new(reach))
}

/// The part of a snapshot that flags name.
pub(crate) fn selection(part: &PartArgs) -> anyhow::Result<Selection> {
    let paths: Vec<_> =
        part.paths.iter().map(|p| p.as_os_str().as_encoded_bytes().to_vec()).collect();
    Selection::new(&paths, &part.globs).map_err(|e| Usage(e.to_string()).into())
}

/// Refuses paths the snapshot does not have, before anything is written.
pub(crate) fn check_paths(view: &View, selection: &Selection) -> anyhow::Result<()> {
    let missing = view.missing(selection)?;
    let names: Vec<_> = missing.iter().map(|path| from_root(path)).collect();
    anyhow::ensure!(
        names.is_empty(),
        "the snapshot has nothing at {}; paths begin at its root, such as {}",
        names.join(", "),
        view.sources().first().map_or_else(|| "/srv/www".to_owned(), |s| show_path(s)),
    );
    Ok(())
}

/// Says that this node forgot a snapshot, and who may still have its objects.
fn warn_if_forgotten(home: &Home, listed: &Listed, printer: &Printer) -> anyhow::Result<()> {
    if let Some(it) = &listed.deleted {
        printer.warn(&format!(
            "the snapshot was deleted by {} ({}), statement {}: regions and its node give its objects back, and may have done so",
            it.by.join(", "),
            it.reason,
            it.statement.to_hex()
        ));
        return Ok(());
    }
    let Some(at) = listed.forgotten else { return Ok(()) };
    let own = home.origin(&home.fleet()?)?;
    if listed.log != own.as_str() {
        return Ok(());
    }
    let mut places = listed.receipts.clone();
    places.extend(home.bucket().map(|_| "the bucket".to_owned()));
    let places = match places.join(", ") {
        none if none.is_empty() => "no other tier is known to hold them".to_owned(),
        some => format!("they may be in: {some}"),
    };
    printer.warn(&format!(
        "this node forgot the snapshot {at} and may have dropped its objects; {places}"
    ));
    Ok(())
}

/// Looks for the snapshot's place in every copy of its log within reach.
pub(crate) fn vouch(home: &Home, examined: &Examined, printer: &Printer) -> anyhow::Result<()> {
    let own = home.origin(&home.fleet()?)?;
    let is_own = examined.dossier.request.origin == own.as_str();
    let logs = if is_own { Vec::new() } else { pulled(home, printer)?.logs };
    match check_history(home, examined, &logs)? {
        Vouched::OwnLog => printer.say("its history is unbroken in this node's own log"),
        Vouched::Copy(place) => printer.say(&format!("its history is unbroken in {place}'s copy")),
        Vouched::Nobody => printer.warn(
            "no copy of the snapshot's log is within reach: only its author's signature vouches that nothing newer or other exists",
        ),
    }
    Ok(())
}

fn request(
    home: &Home,
    options: &RequestOptions<'_>,
    out: &Path,
    send: bool,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let written = make_request(home, options, printer)?;
    write_output(out, written.dossier.as_bytes())?;
    let core = &written.manifest.core;
    let group = core.group;
    let fleet = home.fleet()?;
    let record = fleet.group(group).context("the fleet has this group")?;
    let mut value = json!({
        "request": written.digest.to_hex(),
        "snapshot": written.manifest_digest.to_hex(),
        "file": out,
        "threshold": record.threshold,
        "custodians": record.custodians.iter().map(|c| &c.name).collect::<Vec<_>>(),
        "witnessed": witnessed(&written.witnessed),
        "break_glass": written.break_glass,
    });
    let names: Vec<_> = record.custodians.iter().map(|c| c.name.as_str()).collect();
    let ask = if written.break_glass {
        printer.warn(
            "BREAK-GLASS: nobody vouches, or too few do, that nothing newer or other exists; the statement is logged and goes with the request",
        );
        format!("ask EVERY custodian that can be reached; it takes {} of", record.threshold)
    } else {
        format!("it needs the approval of {} of", record.threshold)
    };
    let mut words = format!(
        "wrote {}\nits log is witnessed at {}\n{ask}: {}\neach runs: seawall restore approve {} --share FILE --out APPROVAL",
        out.display(),
        written.witnessed,
        names.join(", "),
        out.display(),
    );
    let mut outcome = Outcome::Done;
    if send {
        let asked = remote::send(home, written.dossier.as_bytes())?;
        value["sent"] = asked.value;
        words.push_str(&format!("\nsent:\n{}", asked.words));
        outcome = asked.outcome;
    }
    printer.result(&value, &words)?;
    Ok(outcome)
}

/// Finds a snapshot here or in the regions and writes a request for it.
pub(crate) fn make_request(
    home: &Home,
    options: &RequestOptions<'_>,
    printer: &Printer,
) -> anyhow::Result<RequestWritten> {
    // How many must vouch for the snapshot the newest policy says.
    let (fleet, ..) = learn_newer(home)?;
    let own = home.log(&fleet)?;
    let mut logs = Vec::new();
    let mut snapshots = list_snapshots(home, &logs)?;
    if find(&snapshots, options.id).is_err() {
        logs = pulled(home, printer)?.logs;
        snapshots = list_snapshots(home, &logs)?;
    }
    let listed = find(&snapshots, options.id)?;
    warn_if_forgotten(home, listed, printer)?;
    let origin = &listed.log;
    let (clock, mut rng) = (SystemClock, OsRng);
    let written = if origin == own.origin().as_str() {
        let state = home.log_state(&fleet, &own)?;
        let log = Requestable::Own(&own);
        seawall_node::request(home, &log, &state, listed.index, options, &clock, &mut rng)
    } else {
        let log = logs.iter().find(|l| l.origin.as_str() == origin).context("listed above")?;
        let source = Requestable::Pulled(log);
        seawall_node::request(home, &source, &log.state, listed.index, options, &clock, &mut rng)
    };
    Ok(written?)
}

fn approve(
    request: &Path,
    (share, token): (&OwnShare<'_>, &TokenArgs),
    card: Option<&Path>,
    out: &Path,
    (classical, yes): (Classical, bool),
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let request_bytes = read_input(request)?;
    let share = &share.for_request(&request_bytes)?;
    let unusable = || format!("cannot use share {}", share.display());
    let file = read_share(share)?;
    let refused = || format!("{} must not be approved", request.display());
    let expected = file.public().fleet;
    anyhow::ensure!(
        expected != NO_FLEET,
        "{} was made for a fleet that was still to be founded; run seawall custodian join with the fleet's card",
        share.display()
    );
    let home = home_of(share)?.map(|home| reaching(home, token, printer));
    let known = known::of_share(card, home.as_ref(), expected)?;
    let pin = known.as_ref().map_or(Pin::Id(expected), Pin::Known);
    let examined = examine_with(&request_bytes, pin, classical).with_context(refused)?;
    examined.check_share(file.public()).with_context(unusable)?;
    examined.check_time(&SystemClock).with_context(refused)?;
    printer.show(&what_is_asked(&examined));
    if !yes && !confirm("Approve this restore?")? {
        anyhow::bail!("not approved; nothing was written");
    }
    // With the home's token, which is asked for its PIN once.
    let secret = match (&home, file.token()) {
        (Some(home), Some(_)) => home
            .open_share(&file, &mut |_, _| unreachable!("a token wraps it"))
            .with_context(unusable)?,
        _ => secret_of(&file, token, printer).with_context(unusable)?,
    };
    let keys = kem_keys(&secret, home.as_ref())?;
    let given = match &home {
        Some(home) => home.hand_overs()?,
        None => Vec::new(),
    };
    let shares = shares_of(&examined.capsule, &examined.dossier.fleet, &given, &keys);
    let without_quantum = examined.lacks_quantum(&shares);
    if without_quantum {
        printer.warn(NO_QUANTUM_SHARE);
    }
    let approval = examined.approve_with(file.public(), &secret, shares, &SystemClock, &mut OsRng);
    let approval = approval.with_context(unusable)?;
    write_output(out, &approval.to_json())?;
    let value = json!({
        "approval": out,
        "request": examined.dossier.request_digest.to_hex(),
        "snapshot": examined.dossier.manifest_digest.to_hex(),
        "witnessed": witnessed(&examined.witnessed),
        "break_glass": examined.dossier.break_glass.is_some(),
        "post_quantum": !without_quantum,
        "custodian": file.public().custodian,
        "index": file.public().index,
    });
    let words = format!("wrote {}; only the requester can use it", out.display());
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}

fn read_share(share: &Path) -> anyhow::Result<ShareFile> {
    let bytes = read_input(share)?;
    anyhow::ensure!(
        bytes.len() <= MAX_SHARE_FILE,
        "{} is too large to be a share file",
        share.display()
    );
    ShareFile::parse(&bytes).with_context(|| format!("cannot use share {}", share.display()))
}

/// The custodian's home that the share lies in, if it lies in one.
pub(super) fn home_of(share: &Path) -> anyhow::Result<Option<CustodianHome>> {
    let home = share.canonicalize().ok();
    let home = home.as_deref().and_then(Path::parent).and_then(Path::parent);
    let home = home.filter(|home| home.join("custodian.json").is_file());
    Ok(home.map(CustodianHome::open).transpose()?)
}

/// What breaking the glass means for a request that did.
fn opened_glass(examined: &Examined) -> String {
    examined.about().break_glass.map_or_else(String::new, |glass| glass.to_string())
}

/// What a custodian has to know before saying yes.
fn what_is_asked(examined: &Examined) -> String {
    let it = &examined.dossier;
    let core = &it.manifest.core;
    let group = it.fleet.group(core.group);
    let glass = it.break_glass.as_ref().map_or_else(String::new, |glass| {
        let more = glass.reason.strip_prefix(&it.request.reason).unwrap_or(&glass.reason);
        format!("\n  {}{more}", opened_glass(examined))
    });
    format!(
        "restore request {request}\n  fleet      {fleet} ({fingerprint})\n  asked by   {requester} ({node}), {role}, enrolled {enrolled}\n  reason     \"{reason}\"{drill}\n  made       {made}, open until {expires}\n  snapshot   {snapshot}\n  of         {author}, number {sequence}, made {created}\n  content    {files} files, {bytes}; {skipped} skipped when it was made\n  class      {class}: {threshold} approvals needed\n  in the log at index {index} of {size} entries, proof checked\n  witnessed  {witnessed}{glass}",
        request = &it.request_digest.to_hex()[..16],
        fleet = it.fleet.genesis().fleet_name,
        fingerprint = it.fleet.id().fingerprint(),
        requester = it.requester.name,
        node = it.requester.node().short(),
        role = if it.requester.node() == it.author.node() {
            "whose snapshot it is"
        } else {
            "NOT the node that made it"
        },
        enrolled = it.requester.issued,
        reason = it.request.reason,
        drill = if it.request.drill {
            "\n  a drill    restored for a test, and opened all the same"
        } else {
            ""
        },
        made = it.request.created,
        expires = it.request.expires,
        snapshot = &it.manifest_digest.to_hex()[..16],
        author = it.author.name,
        sequence = core.sequence,
        created = core.created,
        files = core.totals.files,
        bytes = human(core.totals.bytes),
        skipped = core.totals.problems,
        class = group.map_or("unknown", |g| g.class.as_str()),
        threshold = group.map_or(0, |g| g.threshold),
        index = it.request.index,
        size = examined.log_size,
        witnessed = examined.witnessed,
    )
}

/// A finished restore, ready to be printed.
pub(crate) struct Done {
    pub(crate) value: Value,
    pub(crate) words: String,
    pub(crate) outcome: Outcome,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Restores an opened snapshot from this node's store with the regions behind it.
pub(crate) fn write_tree(
    home: &Home,
    opened: &Opened,
    to: &Path,
    options: Options,
    printer: &Printer,
) -> anyhow::Result<Done> {
    let fleet = home.fleet()?;
    let (store, _) = home.store()?;
    let (links, failed) = RegionLink::all(home, &fleet)?;
    for (region, e) in failed {
        printer.warn(&format!("region {region}: {e}"));
    }
    let bucket = Bucket::of(home);
    let bucket = bucket.unwrap_or_else(|e| {
        printer.warn(&e.to_string());
        None
    });
    let regions = links.iter().map(|l| l as &dyn Objects);
    let behind = regions.chain(bucket.as_ref().map(|b| b as &dyn Objects)).collect();
    let objects = Layered { store: &store, behind };
    let signed = &opened.examined.dossier.manifest.core;
    let target = Target::create(to, options)
        .context("nothing was restored (--resume finishes an interrupted restore)")?;
    let bar = printer.bytes_bar("restoring", Some(signed.totals.bytes));
    // More than the cores of a small machine: some of them wait for tiers far away.
    let workers = std::thread::available_parallelism().map_or(4, |n| n.get().max(4));
    let root = &opened.root;
    let restored = restore(&objects, &objects, root, signed, target, workers, &mut |p| {
        bar.set_position(p.bytes);
    });
    bar.finish_and_clear();
    let restored = restored.context("the restore ended early; --resume continues it")?;
    name_what_is_missing(&restored, printer);
    let totals = restored.totals;
    let value = json!({
        "snapshot": opened.examined.dossier.manifest_digest.to_hex(),
        "to": to,
        "sources": restored.sources.iter().map(|s| show_path(s)).collect::<Vec<_>>(),
        "files": totals.files,
        "directories": totals.directories,
        "others": totals.others,
        "bytes": totals.bytes,
        "custodians": opened.custodians,
        "witnessed": witnessed(&opened.examined.witnessed),
        "break_glass": opened.examined.dossier.break_glass.is_some(),
        "refused": restored.refused.iter().map(|r| json!({
            "path": show_path(&r.path), "what": r.what.to_string(),
        })).collect::<Vec<_>>(),
        "lost": restored.lost.iter().map(|l| json!({
            "path": show_path(&l.path), "why": l.why.to_string(),
        })).collect::<Vec<_>>(),
    });
    let proven = if restored.lost.is_empty() {
        "every object, the reference set and the totals are the signed ones"
    } else {
        "NOT complete: see the files named above"
    };
    let words = format!(
        "restored {} files, {} directories, {} below {}\n{proven}",
        totals.files,
        totals.directories,
        human(totals.bytes),
        to.display(),
    );
    let whole = restored.lost.is_empty() && restored.refused.is_empty();
    let outcome = if whole { Outcome::Done } else { Outcome::Partly };
    Ok(Done { value, words, outcome, files: totals.files, bytes: totals.bytes })
}

/// Names every path that is not as it was.
fn name_what_is_missing(restored: &Restored, printer: &Printer) {
    for refused in &restored.refused {
        printer.warn(&refused.to_string());
    }
    for lost in &restored.lost {
        printer.warn(&format!("{}: not restored: {}", show_path(&lost.path), lost.why));
    }
    if restored.refused.iter().any(is_privileged) {
        printer.say("set-uid and set-gid bits, capabilities and devices need --privileged");
    }
}

fn is_privileged(refused: &seawall_backup::target::Refused) -> bool {
    use seawall_backup::target::Refusal;
    matches!(
        refused.what,
        Refusal::SetUid | Refusal::SetGid | Refusal::Capability | Refusal::Device
    )
}
