//! `seawall custodian run | requests | approver | approve | refuse | log`.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use seawall_base::{Clock as _, Disk as _, LockMode, OpenMode, Sha256, read_file, write_atomic};
use seawall_custodian::{
    CASES, CaseList, CustodianHome, HeldShare, Notifier, Office, OfficeParts, Rules, VERDICTS,
    WitnessDesk, parse_webhook, read_log, run_until_signal,
};
use seawall_host::{FsDisk, OsRng, SystemClock};
use seawall_record::{Act, CustodianAct, Fleet, PersonVerdict};
use seawall_sign::SigningKey;
use seawall_sign::key_file::{self, Purpose};
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::{MachineCommand, MachineLogCommand, RunArgs};
use crate::output::{Outcome, Printer, confirm, human, passphrase, read_input, show_path};

/// Held by the one process that runs this home's machine, or reads its log.
const LOCK: &str = "machine.lock";

const MAX_CASES: usize = 4 << 20;

pub(super) fn run(
    command: &MachineCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        MachineCommand::Run(args) => serve(&CustodianHome::open(home)?, args, printer)?,
        MachineCommand::Requests => requests(&CustodianHome::open(home)?, printer)?,
        MachineCommand::Approver { name, out } => approver(name, out, printer)?,
        MachineCommand::Approve { request, key, yes } => {
            let home = CustodianHome::open(home)?;
            let (digest, words) = find(&home, request)?;
            printer.show(&words);
            anyhow::ensure!(*yes || confirm("Confirm this restore?")?, "not confirmed");
            say(&home, digest, key, None, printer)?;
        }
        MachineCommand::Refuse { request, key, reason } => {
            let home = CustodianHome::open(home)?;
            let (digest, _) = find(&home, request)?;
            say(&home, digest, key, Some(reason), printer)?;
        }
        MachineCommand::Log(command) => log(&CustodianHome::open(home)?, command, printer)?,
    }
    Ok(Outcome::Done)
}

/// Takes the home's machine for this process.
fn alone(home: &CustodianHome) -> anyhow::Result<Box<dyn seawall_base::DiskFile>> {
    let file = home.disk().open(LOCK, OpenMode::Create).context(LOCK)?;
    let taken = file.lock(LockMode::Exclusive, false).context(LOCK)?;
    anyhow::ensure!(
        taken,
        "the machine of {} runs; stop it first, or read its log over the network",
        home.path().display()
    );
    Ok(file)
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
        let opened = HeldShare::open(&share, &secret(args, &public.custodian)?);
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
        rng: Box::new(OsRng),
        signing: home.log_keys()?,
        fleets,
        rules: rules(home, args, printer)?,
        shares,
        witness: WitnessDesk::open(home.disk(), "witness", witness, home.witness()?)?,
        forget_time: args.accept_clock,
    })?;
    let ready = |address| printer.say(&format!("listening on {address}"));
    Ok(run_until_signal(office, &home.transport()?, &args.listen, notifier, ready)?)
}

fn rules(home: &CustodianHome, args: &RunArgs, printer: &Printer) -> anyhow::Result<Rules> {
    let own = home.path().join("policy.toml");
    let path = match &args.policy {
        Some(path) => path.clone(),
        None if own.exists() => own,
        None => {
            printer.warn("no policy: requests are recorded and nothing is answered");
            return Ok(Rules::default());
        }
    };
    Rules::parse(&read_input(&path)?).with_context(|| path.display().to_string())
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

fn cases(home: &CustodianHome) -> anyhow::Result<CaseList> {
    let bytes = read_file(home.disk().as_ref(), CASES, MAX_CASES).context(CASES)?;
    let bytes = bytes.context("the machine of this home has not run yet")?;
    serde_json::from_slice(&bytes).context(CASES)
}

fn requests(home: &CustodianHome, printer: &Printer) -> anyhow::Result<()> {
    let cases = cases(home)?;
    let lines: Vec<_> = cases.cases.iter().map(|case| {
        format!(
            "{}  {:8}  {}\n  \"{}\", asked by {}, class {}, {} files, {}, until {}\n  confirmed by: {}",
            &case.request.to_hex()[..16],
            case.state.as_str(),
            case.decision,
            case.reason,
            case.requester,
            case.class,
            case.files,
            human(case.bytes),
            case.expires,
            if case.confirmed.is_empty() { "nobody".to_owned() } else { case.confirmed.join(", ") },
        )
    }).collect();
    let words = if lines.is_empty() { "no requests".to_owned() } else { lines.join("\n") };
    printer.result(&cases.cases, &words)
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

/// The one open request whose digest begins so.
fn find(home: &CustodianHome, beginning: &str) -> anyhow::Result<(Sha256, String)> {
    let cases = cases(home)?;
    let beginning = beginning.strip_prefix("sha256:").unwrap_or(beginning);
    let matching: Vec<_> =
        cases.cases.iter().filter(|c| c.request.to_hex().starts_with(beginning)).collect();
    let [case] = matching.as_slice() else {
        anyhow::bail!(
            "{} requests begin with {beginning:?}; see custodian requests",
            matching.len()
        )
    };
    let words = format!(
        "restore request {}\n  fleet     {} ({})\n  asked by  {}\n  reason    \"{}\"\n  class     {}\n  content   {} files, {}\n  until     {}\n  policy    {}",
        &case.request.to_hex()[..16],
        case.fleet_name,
        case.fleet.fingerprint(),
        case.requester,
        case.reason,
        case.class,
        case.files,
        human(case.bytes),
        case.expires,
        case.decision,
    );
    Ok((case.request, words))
}

/// Puts a verdict where the machine finds it.
fn say(
    home: &CustodianHome,
    request: Sha256,
    key: &Path,
    refused: Option<&str>,
    printer: &Printer,
) -> anyhow::Result<()> {
    let (disk, name) = place(key)?;
    let key = key_file::signing(&disk, &name, Purpose::Approver)?;
    let verdict = PersonVerdict {
        request,
        confirmed: refused.is_none(),
        why: refused.unwrap_or("").to_owned(),
        created: SystemClock.now(),
    };
    let envelope = verdict.statement().sign(&[&key])?;
    PersonVerdict::open(&envelope, &[key.public()])?;
    let disk = home.disk();
    disk.create_dir_all(VERDICTS).context(VERDICTS)?;
    let approver = &key.public().node_id().to_hex()[..16];
    let path = format!("{VERDICTS}/{}-{approver}.json", request.to_hex());
    write_atomic(disk.as_ref(), &path, &envelope.to_json()).context(path)?;
    let what = if refused.is_none() { "confirmed" } else { "refused" };
    let value = json!({ "request": request.to_hex(), "verdict": what });
    printer.result(&value, &format!("{what}; the machine takes it into its log within a second"))
}

fn log(home: &CustodianHome, command: &MachineLogCommand, printer: &Printer) -> anyhow::Result<()> {
    let _alone = alone(home)?;
    let mut logs = Vec::new();
    for fleet in home.fleets()? {
        let log = read_log(home.disk(), fleet.id(), &home.log_keys()?)?;
        logs.extend(log.map(|log| (fleet, log)));
    }
    match command {
        MachineLogCommand::List => {
            let acts: Vec<&CustodianAct> = logs.iter().flat_map(|(_, log)| &log.acts).collect();
            let lines: Vec<_> = acts.iter().map(|act| line(act)).collect();
            printer.result(&acts, &lines.join("\n"))
        }
        MachineLogCommand::Verify => {
            let words = logs.iter().map(|(fleet, log)| {
                let name = show_path(fleet.genesis().fleet_name.as_bytes());
                format!("{name}: {} entries, signatures, tree and checkpoint are right", log.size)
            });
            let value = logs.iter().map(|(fleet, log)| {
                json!({ "fleet": fleet.id().to_hex(), "origin": log.origin, "entries": log.size })
            });
            let (words, value) = (words.collect::<Vec<_>>(), value.collect::<Vec<_>>());
            printer.result(&value, &words.join("\n"))
        }
    }
}

fn line(it: &CustodianAct) -> String {
    let what = match &it.act {
        Act::Seen { requester, reason, class, .. } => {
            format!("seen: {class}, asked by {}, \"{reason}\"", requester.short())
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
