//! `seawall snapshot delete propose | show | sign | apply`.

use std::path::Path;

use anyhow::Context as _;
use seawall_base::{Clock as _, Seconds};
use seawall_custodian::sign_deletion;
use seawall_escrow::{MAX_SHARE_FILE, ShareFile};
use seawall_host::{OsRng, SystemClock};
use seawall_node::{DeletionOrder, Home, apply_deletion, list_snapshots, propose_deletion};
use seawall_record::{DeletionFile, Pin, Signed};
use serde_json::{Value, json};

use crate::cli::{DeleteCommand, DeleteProposeArgs, TokenArgs};
use crate::commands::custodian::token::secret_of;
use crate::commands::known;
use crate::commands::restore::{OwnShare, home_of};
use crate::output::{Outcome, Printer, confirm, human, read_input, show_path, write_output};

pub(super) fn run(
    command: &DeleteCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        DeleteCommand::Propose(args) => propose(&Home::open(home)?, args, printer)?,
        DeleteCommand::Show { proposal } => {
            let file = read(&Home::open(home)?, proposal)?;
            printer.result(&as_json(&file)?, &in_words(&file)?)?;
        }
        DeleteCommand::Sign { proposal, share, fleet, token, out, yes } => {
            let share = OwnShare { given: share.as_deref(), home: &|| Ok(home.to_owned()) };
            sign(proposal, (&share, token), fleet.as_deref(), out, *yes, printer)?;
        }
        DeleteCommand::Apply { proposal, dry_run } => {
            apply(&Home::open(home)?, proposal, *dry_run, printer)?;
        }
    }
    Ok(Outcome::Done)
}

fn read(home: &Home, path: &Path) -> anyhow::Result<DeletionFile> {
    DeletionFile::parse(&read_input(path)?, &home.fleet()?)
        .with_context(|| format!("{} cannot be used", path.display()))
}

fn propose(home: &Home, args: &DeleteProposeArgs, printer: &Printer) -> anyhow::Result<()> {
    let all = list_snapshots(home, &[])?;
    let find = |id: &String| {
        let found = super::find(&all, id);
        let found = found.context("a deletion is proposed on the node that made the snapshot")?;
        Ok(found.digest)
    };
    let snapshots = args.ids.iter().map(find).collect::<anyhow::Result<Vec<_>>>()?;
    let order = DeletionOrder {
        snapshots: &snapshots,
        reason: &args.reason,
        even_last: args.even_last,
        validity: Seconds::days(args.valid_days.into()),
    };
    let file = propose_deletion(home, &order, &SystemClock, &mut OsRng)?;
    printer.described(&args.out, &file.to_json(), (as_json(&file)?, &in_words(&file)?))
}

fn sign(
    proposal: &Path,
    (share, token): (&OwnShare<'_>, &TokenArgs),
    card: Option<&Path>,
    out: &Path,
    yes: bool,
    printer: &Printer,
) -> anyhow::Result<()> {
    let proposed = read_input(proposal)?;
    let share = &share.for_deletion(&proposed)?;
    let unusable = || format!("cannot use share {}", share.display());
    let bytes = read_input(share)?;
    anyhow::ensure!(bytes.len() <= MAX_SHARE_FILE, "{} is too large", share.display());
    let share_file = ShareFile::parse(&bytes).with_context(unusable)?;
    let expected = share_file.public().fleet;
    let known = known::of_share(card, home_of(share)?.as_ref(), expected)?;
    let pin = known.as_ref().map_or(Pin::Id(expected), Pin::Known);
    let file = DeletionFile::parse(&proposed, pin)
        .with_context(|| format!("{} must not be signed", proposal.display()))?;
    printer.show(&in_words(&file)?);
    if !yes && !confirm("Delete these snapshots for ever?")? {
        anyhow::bail!("not signed; nothing was written");
    }
    let secret = secret_of(&share_file, token, printer).with_context(unusable)?;
    let signed = sign_deletion(file, share_file.public(), &secret, SystemClock.now())
        .with_context(unusable)?;
    write_output(out, &signed.to_json())?;
    printer.result(&as_json(&signed)?, &state(&signed)?)
}

fn apply(home: &Home, proposal: &Path, dry_run: bool, printer: &Printer) -> anyhow::Result<()> {
    let file = read(home, proposal)?;
    let statement = apply_deletion(home, &file, dry_run, &SystemClock, &mut OsRng)?;
    let mut value = as_json(&file)?;
    value["statement"] = statement.to_hex().into();
    value["applied"] = (!dry_run).into();
    let words = if dry_run {
        "it could be applied; nothing was changed".to_owned()
    } else {
        "deleted in this node's log; seawall sync carries it to the regions, seawall prune gives the room back here".to_owned()
    };
    printer.result(&value, &words)
}

fn as_json(file: &DeletionFile) -> anyhow::Result<Value> {
    let it = file.deletion();
    let snapshots: Vec<_> = it
        .snapshots
        .iter()
        .zip(file.cores())
        .map(|(named, core)| {
            json!({
                "id": named.manifest.to_hex(),
                "sequence": named.sequence,
                "created": core.created.to_string(),
                "set": core.set,
                "bytes": core.totals.bytes,
            })
        })
        .collect();
    let signed: Vec<_> = file
        .signed()?
        .iter()
        .map(|s| json!({ "class": s.class, "by": s.by, "need": s.need }))
        .collect();
    Ok(json!({
        "fleet": file.fleet().id().to_string(),
        "node": it.node.to_string(),
        "snapshots": snapshots,
        "even_last": it.even_last,
        "reason": it.reason,
        "policy": it.policy,
        "expires": it.expires.to_string(),
        "signed": signed,
        "complete": file.signed()?.iter().all(Signed::is_complete),
    }))
}

fn in_words(file: &DeletionFile) -> anyhow::Result<String> {
    let it = file.deletion();
    let name = |text: &str| show_path(text.as_bytes());
    let mut lines = vec![format!("delete, wherever they are, of {}:", it.node)];
    for core in file.cores() {
        let set =
            core.set.as_deref().map_or_else(String::new, |set| format!(", set {}", name(set)));
        let (files, bytes) = (core.totals.files, human(core.totals.bytes));
        let sequence = core.sequence;
        lines.push(format!("  number {sequence} of {}{set}: {files} files, {bytes}", core.created));
    }
    if it.even_last {
        lines.push(
            "THE NEWEST OF A SET, OR THE LAST PROVEN BY A DRILL, MAY BE AMONG THEM".to_owned(),
        );
    }
    lines.push(format!("because: {}", name(&it.reason)));
    lines.push(format!("until {}, by version {} of the fleet's policy", it.expires, it.policy));
    lines.push(state(file)?);
    Ok(lines.join("\n"))
}

fn state(file: &DeletionFile) -> anyhow::Result<String> {
    let one = |s: &Signed| {
        let by = if s.by.is_empty() { "nobody".to_owned() } else { s.by.join(", ") };
        format!("class {}: signed by {by}; {} of {} needed", s.class, s.by.len(), s.need)
    };
    let signed = file.signed()?;
    let mut lines: Vec<_> = signed.iter().map(one).collect();
    if signed.iter().all(Signed::is_complete) {
        lines.push("complete: seawall snapshot delete apply puts it on record".to_owned());
    }
    Ok(lines.join("\n"))
}
