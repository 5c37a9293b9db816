//! `seawall custodian run | requests | approver | approve | refuse | accept-clock | log`.

mod verdict;

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use seawall_base::{Clock as _, Disk as _, LockMode, OpenMode, Sha256, read_file, write_atomic};
use seawall_custodian::{
    ACCEPTED_CLOCK, AcceptedClock, CASES, CaseList, CustodianHome, HeldShare, ListedCase,
    MAX_CASES, Notifier, Office, OfficeParts, Rules, WitnessDesk, export_log, parse_webhook,
    reached, read_log, roster, run_until_signal,
};
use seawall_host::{FsDisk, OsRng, SystemClock, SystemSteady};
use seawall_record::{Act, CustodianAct, Fleet};
use seawall_sign::SigningKey;
use seawall_sign::key_file::{self, Purpose};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::super::snapshot::witnessed;
use super::token::open_home;
use crate::cli::{MachineCommand, MachineLogCommand, RunArgs, TokenArgs};
use crate::output::{Outcome, Printer, confirm, human, passphrase, read_input, show_path};

/// Held by the one process that runs this home's machine, or reads its log.
const LOCK: &str = "machine.lock";

pub(super) fn run(
    command: &MachineCommand,
    home: &Path,
    token: &TokenArgs,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        MachineCommand::Run(args) => serve(&open_home(home, token, printer)?, args, printer)?,
        MachineCommand::Requests => requests(&CustodianHome::open(home)?, printer)?,
        MachineCommand::Approver { name, out } => approver(name, out, printer)?,
        MachineCommand::Approve { request, key, yes } => {
            let home = CustodianHome::open(home)?;
            // What cannot be shown is not confirmed.
            let list = cases(&home)?;
            let (digest, case) = find(list.as_ref(), request)?;
            printer.show(&shown(digest, case));
            verdict::check_open(case)?;
            anyhow::ensure!(*yes || confirm("Confirm this restore?")?, "not confirmed");
            return verdict::say(&home, digest, (key, list.as_ref()), None, printer);
        }
        MachineCommand::Refuse { request, key, reason } => {
            let home = CustodianHome::open(home)?;
            let list = match cases(&home) {
                // A no must always be possible; a whole digest needs no list.
                Err(e) if whole(request).is_some() => {
                    printer.warn(&format!("the machine's list cannot be read: {e:#}"));
                    None
                }
                list => list?,
            };
            let (digest, case) = find(list.as_ref(), request)?;
            verdict::check_open(case)?;
            return verdict::say(&home, digest, (key, list.as_ref()), Some(reason), printer);
        }
        MachineCommand::AcceptClock { yes } => {
            return accept_clock(&CustodianHome::open(home)?, *yes, printer);
        }
        MachineCommand::Log(command) => log(&CustodianHome::open(home)?, command, printer)?,
    }
    Ok(Outcome::Done)
}

/// Takes the home's machine for this process; `None` while another one has it.
fn taken(home: &CustodianHome) -> anyhow::Result<Option<Box<dyn seawall_base::DiskFile>>> {
    let file = home.disk().open(LOCK, OpenMode::Create).context(LOCK)?;
    let taken = file.lock(LockMode::Exclusive, false).context(LOCK)?;
    Ok(taken.then_some(file))
}

fn alone(home: &CustodianHome) -> anyhow::Result<Box<dyn seawall_base::DiskFile>> {
    taken(home)?.with_context(|| {
        format!(
            "the machine of {} runs; stop it first, or read its log over the network",
            home.path().display()
        )
    })
}

fn serve(home: &CustodianHome, args: &RunArgs, printer: &Printer) -> anyhow::Result<()> {
    let _alone = alone(home)?;
    let notifier = Notifier {
        webhook: args
            .webhook
            .as_deref()
            .map(parse_webhook)
            .transpose()
            .map_err(|e| anyhow::Error::from(crate::output::Usage(e)))?,
        command: args.notify_command.clone(),
    };
    let fleets = home.fleets()?;
    anyhow::ensure!(!fleets.is_empty(), "this home knows no fleet: seawall custodian join CARD");
    let mut shares = Vec::new();
    for (name, share) in home.shares()? {
        let public = share.public();
        let group = fleets.iter().find(|f| f.id() == public.fleet);
        let group = group.and_then(|f| f.group(public.group));
        if group.is_none_or(|group| group.share_epoch != public.share_epoch) {
            printer.warn(&format!("shares/{name} is not the fleet's current one; it is not used"));
            continue;
        }
        let opened = match share.token() {
            Some(key) => HeldShare::wrapped(&share, home.token(key)?),
            None => HeldShare::open(&share, &secret(args, &public.custodian)?),
        };
        shares.push(opened.with_context(|| format!("shares/{name}"))?.in_home(home)?);
    }
    if shares.is_empty() {
        printer.warn("no share: this machine is a witness and answers no request");
    }
    let key = home.witness()?.public();
    let named = |f: &Fleet| f.witnesses().iter().find(|w| w.key == key).map(|w| w.name.clone());
    let witness = fleets.iter().find_map(named).unwrap_or_else(|| home.name().replace(' ', "-"));
    let office = Office::open(OfficeParts {
        disk: home.disk(),
        clock: Arc::new(SystemClock),
        steady: Arc::new(SystemSteady),
        rng: Box::new(OsRng),
        signing: home.log_keys()?,
        fleets,
        rules: rules(home, args, printer)?,
        shares,
        witness: WitnessDesk::open(home.disk(), "witness", witness, home.witness()?)?,
        forget_time: args.accept_clock,
    })?;
    let (path, file) = (home.path().to_owned(), args.policy.clone());
    let read_again = move || {
        let home = CustodianHome::open(&path).map_err(|e| e.to_string())?;
        let rules = rules_of(&home, file.as_deref()).map_err(|e| format!("{e:#}"))?;
        Ok((home.fleets().map_err(|e| e.to_string())?, rules))
    };
    let ready = |address| printer.say(&format!("listening on {address}"));
    Ok(run_until_signal(office, &home.transport()?, &args.listen, notifier, read_again, ready)?)
}

fn rules(home: &CustodianHome, args: &RunArgs, printer: &Printer) -> anyhow::Result<Rules> {
    let rules = rules_of(home, args.policy.as_deref())?;
    if rules.is_none() {
        printer.warn("no policy: requests are recorded and nothing is answered");
    }
    Ok(rules)
}

fn rules_of(home: &CustodianHome, file: Option<&Path>) -> anyhow::Result<Rules> {
    let own = home.path().join("policy.toml");
    let path = match file {
        Some(path) => path,
        None if own.exists() => &own,
        None => return Ok(Rules::default()),
    };
    Rules::parse(&read_input(path)?).with_context(|| path.display().to_string())
}

fn secret(args: &RunArgs, name: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let Some(path) = &args.passphrase_file else {
        return passphrase(&format!("Passphrase for the share of {name}"), false);
    };
    let mut bytes = Zeroizing::new(read_input(path)?);
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
    }
    Ok(bytes)
}

/// The list that the machine keeps; `None` if it has not run yet.
fn cases(home: &CustodianHome) -> anyhow::Result<Option<CaseList>> {
    let bytes = read_file(home.disk().as_ref(), CASES, MAX_CASES).context(CASES)?;
    bytes.map(|bytes| serde_json::from_slice(&bytes).context(CASES)).transpose()
}

const NOT_RUN: &str = "the machine of this home has not run yet";

fn requests(home: &CustodianHome, printer: &Printer) -> anyhow::Result<()> {
    let cases = cases(home)?.context(NOT_RUN)?;
    let lines: Vec<_> = cases.cases.iter().map(in_lines).collect();
    if cases.left_off > 0 {
        printer.warn(&format!(
            "{} more are not listed; approve and refuse take the whole digest, which the notice has",
            cases.left_off
        ));
    }
    let words = if lines.is_empty() { "no requests".to_owned() } else { lines.join("\n") };
    let values = cases.cases.iter().map(as_json).collect::<anyhow::Result<Vec<_>>>()?;
    printer.result(&values, &words)
}

fn in_lines(case: &ListedCase) -> String {
    let state = case.state.as_str();
    let decision = if case.decision == state { "" } else { &case.decision };
    let mut lines = vec![
        format!("{}  {state:8}  {decision}", &case.request.to_hex()[..16]).trim_end().to_owned(),
        format!("\"{}\", asked by {}", case.reason, case.asked_by()),
    ];
    lines.push(format!(
        "snapshot {}{}, class {}, {} files, {}, until {}",
        &case.manifest.to_hex()[..16],
        case.about.as_ref().map_or_else(String::new, |about| format!(" of {}", about.node_name)),
        case.class,
        case.files,
        human(case.bytes),
        case.expires,
    ));
    lines.extend(case.about.as_ref().map(|about| format!("witnessed at {}", about.witnessed)));
    lines.extend(case.break_glass().map(|glass| glass.to_string()));
    let confirmed = case.confirmed.join(", ");
    lines.push(format!(
        "confirmed by: {}",
        if confirmed.is_empty() { "nobody" } else { &confirmed }
    ));
    lines.join("\n  ")
}

/// As it is listed, under the names that a notice has.
fn as_json(case: &ListedCase) -> anyhow::Result<Value> {
    let mut value = serde_json::to_value(case).context("a case")?;
    let about = case.about.as_deref();
    if let Some(object) = value.as_object_mut() {
        object.remove("about");
    }
    value["snapshot"] = json!(case.manifest);
    value["requester_name"] = json!(about.map(|it| &it.requester_name));
    value["node"] = json!(about.map(|it| it.node));
    value["node_name"] = json!(about.map(|it| &it.node_name));
    value["witnessed"] = json!(about.map(|it| &it.witnessed));
    value["break_glass"] = json!(case.break_glass().is_some());
    Ok(value)
}

fn approver(name: &str, out: &Path, printer: &Printer) -> anyhow::Result<()> {
    let good = !name.is_empty() && name.len() <= 256 && !name.contains(char::is_control);
    anyhow::ensure!(good, "a name has 1 to 256 bytes and no control characters");
    anyhow::ensure!(!out.exists(), "{} is there already", out.display());
    let key = SigningKey::generate(&mut OsRng);
    let (disk, file) = place(out)?;
    key_file::write(&disk, &file, Purpose::Approver, &key.seed())?;
    let public = key.public().to_string();
    let toml = format!("[[approvers]]\nname = {}\nkey = \"{public}\"", json!(name));
    printer.result(&json!({ "name": name, "key": public, "file": out }), &toml)
}

/// The directory of a file, and its name there.
fn place(path: &Path) -> anyhow::Result<(FsDisk, String)> {
    let name = path.file_name().and_then(|n| n.to_str());
    let name = name.with_context(|| format!("{} is no file's name", path.display()))?;
    let dir = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(dir.is_dir(), "{}: there is no such directory", dir.display());
    Ok((FsDisk::create(dir)?, name.to_owned()))
}

/// Fewest digits that name a request, as they name a snapshot.
const MIN_DIGITS: usize = 4;

fn whole(digest: &str) -> Option<Sha256> {
    Sha256::from_hex(digest.strip_prefix("sha256:").unwrap_or(digest)).ok()
}

/// The one request whose digest begins so, as it is listed if it is. A whole digest needs no list:
/// the list has no room for all.
fn find<'a>(
    list: Option<&'a CaseList>,
    beginning: &str,
) -> anyhow::Result<(Sha256, Option<&'a ListedCase>)> {
    let whole = whole(beginning);
    anyhow::ensure!(list.is_some() || whole.is_some(), NOT_RUN);
    let beginning = beginning.strip_prefix("sha256:").unwrap_or(beginning);
    // An empty variable of a script must not mean whatever stands alone in the list.
    anyhow::ensure!(
        beginning.len() >= MIN_DIGITS,
        "{beginning:?} is too short: give at least {MIN_DIGITS} digits of a request (custodian requests)"
    );
    let listed = list.iter().flat_map(|list| &list.cases);
    let matching: Vec<_> = listed.filter(|c| c.request.to_hex().starts_with(beginning)).collect();
    match (&matching[..], whole) {
        ([case], _) => Ok((case.request, Some(case))),
        ([], Some(digest)) => Ok((digest, None)),
        (all, _) => {
            let n = all.len();
            anyhow::bail!("{n} requests begin with {beginning:?}; see custodian requests")
        }
    }
}

fn shown(request: Sha256, case: Option<&ListedCase>) -> String {
    case.map_or_else(
        || format!("restore request {}\n  not in the machine's list", request.to_hex()),
        |case| format!("restore request\n{}", case.facts()),
    )
}

/// Only the home's owner leaves files that the machine can read.
fn as_owner(home: &CustodianHome) -> anyhow::Result<()> {
    let path = home.path();
    let owner = std::fs::metadata(path).with_context(|| path.display().to_string())?.uid();
    let own = rustix::process::geteuid().as_raw();
    anyhow::ensure!(
        own == owner,
        "{} belongs to user {owner}, and what user {own} writes its machine may not be able to read: nothing was written; run the same command as that user: sudo -u '#{owner}' seawall ...",
        path.display()
    );
    Ok(())
}

fn accept_clock(home: &CustodianHome, yes: bool, printer: &Printer) -> anyhow::Result<Outcome> {
    as_owner(home)?;
    let shown = SystemClock.now();
    printer.show(&format!("this machine's clock shows {shown}"));
    anyhow::ensure!(yes || confirm("Is that the time?")?, "not accepted");
    // What the person saw: whoever sets the clock while they look gains nothing.
    let word = AcceptedClock::new(shown);
    anyhow::ensure!(
        word.is_of(SystemClock.now()),
        "the clock has moved on by minutes since it was shown: nothing was accepted; say it again"
    );
    write_atomic(home.disk().as_ref(), ACCEPTED_CLOCK, &word.to_json()).context(ACCEPTED_CLOCK)?;
    let runs = taken(home)?.is_none();
    let heard = |_| {
        let left = read_file(home.disk().as_ref(), ACCEPTED_CLOCK, MAX_CASES);
        Ok(left.context(ACCEPTED_CLOCK)?.is_none().then_some(()))
    };
    let heard = runs && verdict::patiently(heard)?.is_some();
    let value = json!({ "accepted": shown, "taken": heard, "runs": runs });
    let words = match (heard, runs) {
        (true, _) => "accepted; the machine has taken it",
        (false, true) => "written, and the machine has not taken it: see the machine's own log",
        (false, false) => {
            "written; the machine does not run: it counts if the machine runs within minutes, otherwise say it again then"
        }
    };
    printer.result(&value, words)?;
    Ok(if heard { Outcome::Done } else { Outcome::Partly })
}

fn export(
    home: &CustodianHome,
    dir: &Path,
    fleet_id: Option<&str>,
    printer: &Printer,
) -> anyhow::Result<()> {
    let wanted = fleet_id.map(|id| id.strip_prefix("fleet:").unwrap_or(id));
    let mut fleets = home.fleets()?;
    fleets.retain(|it| wanted.is_none_or(|id| it.id().to_hex() == id));
    let [fleet] = &fleets[..] else {
        anyhow::bail!(
            "this home knows {} fleets{}; --fleet-id says which log to export (seawall custodian show lists them)",
            fleets.len(),
            wanted.map_or_else(String::new, |id| format!(" of id {id}"))
        );
    };
    let to = FsDisk::create(dir)?;
    let entries = export_log(home.disk(), fleet.id(), &home.log_keys()?, (&to, "."))?;
    let entries = entries.context("this custodian has seen no request of that fleet")?;
    let value = json!({ "dir": dir, "fleet": fleet.id().to_hex(), "entries": entries });
    printer.result(&value, &format!("wrote the tiles of {entries} entries"))
}

fn log(home: &CustodianHome, command: &MachineLogCommand, printer: &Printer) -> anyhow::Result<()> {
    let _alone = alone(home)?;
    if let MachineLogCommand::Export { dir, fleet_id } = command {
        return export(home, dir, fleet_id.as_deref(), printer);
    }
    let mut logs = Vec::new();
    for fleet in home.fleets()? {
        let log = read_log(home.disk(), fleet.id(), &home.log_keys()?)?;
        logs.extend(log.map(|log| (fleet, log)));
    }
    match command {
        MachineLogCommand::Export { .. } => Ok(()),
        MachineLogCommand::List => {
            let acts: Vec<&CustodianAct> = logs.iter().flat_map(|(_, log)| &log.acts).collect();
            let lines: Vec<_> = acts.iter().map(|act| line(act)).collect();
            printer.result(&acts, &lines.join("\n"))
        }
        MachineLogCommand::Verify => {
            let (mut words, mut value) = (Vec::new(), Vec::new());
            for (fleet, log) in &logs {
                let name = show_path(fleet.genesis().fleet_name.as_bytes());
                let level = reached(fleet, &roster(fleet.policy()), &log.witnessed);
                let held = log.witnessed.as_ref().map_or(0, |it| it.checkpoint().size);
                words.push(format!(
                    "{name}: {} entries, signatures, tree and checkpoint are right; {held} of them witnessed at {level}",
                    log.size
                ));
                value.push(json!({
                    "fleet": fleet.id().to_hex(), "origin": log.origin, "entries": log.size,
                    "witnessed_entries": held, "witnessed": witnessed(&level),
                }));
            }
            printer.result(&value, &words.join("\n"))
        }
    }
}

fn line(it: &CustodianAct) -> String {
    let what = match &it.act {
        Act::Seen { requester, reason, class, about, .. } => {
            let about = about.as_deref();
            let name = about.map_or_else(String::new, |it| format!("{} ", it.requester_name));
            let glass = about.and_then(|it| it.break_glass);
            let glass = glass.map_or_else(String::new, |glass| format!("; {glass}"));
            format!("seen: {class}, asked by {name}{}, \"{reason}\"{glass}", requester.short())
        }
        Act::Confirmed { approver, .. } => format!("confirmed by {approver}"),
        Act::Declined { approver, why, .. } => format!("refused by {approver}: {why}"),
        Act::Decided { decision, why, .. } => format!("decided: {decision} ({why})"),
        Act::Answered { approval } => format!("answered: {}", &approval.to_hex()[..16]),
        Act::ShareGood { node, .. } => {
            format!("share good: the post-quantum share that {} dealt", node.short())
        }
        Act::ShareBad { node, why, evidence, .. } => {
            let proven = if evidence.is_some() { "PROVEN" } else { "its word against ours" };
            format!("SHARE BAD: {} dealt it wrongly ({proven}): {why}", node.short())
        }
    };
    format!("{}  {}  {what}", it.at, &it.request.to_hex()[..16])
}
