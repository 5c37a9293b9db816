//! Signing with root keys: those of the home, and sealed copies; `seawall fleet sign`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seawall_base::FleetId;
use seawall_escrow::RootKeyFile;
use seawall_node::{Home, RootFile, open_root_key, root_signers};
use seawall_record::{
    BundlePredicate, Enrolment, Epoch, Fleet, FleetCard, IndexPolicy, Retention, Role,
};
use seawall_sign::{Envelope, Predicate, Statement, StatementKey, predicate_type};
use serde_json::{Value, json};

use super::policy;
use crate::cli::{FleetCardArgs, RootKeyArgs, SignArgs};
use crate::output::{Printer, passphrase, read_input, show_path, write_output};

/// Opens sealed copies, each with the fleet it is of.
pub(super) fn open_copies(paths: &[PathBuf]) -> anyhow::Result<Vec<(FleetId, StatementKey)>> {
    let open = |path: &PathBuf| {
        let file = RootKeyFile::parse(&read_input(path)?)
            .with_context(|| format!("cannot use {}", path.display()))?;
        let passphrase = passphrase(&format!("Passphrase of {}", path.display()), false)?;
        open_root_key(&file, &passphrase).with_context(|| path.display().to_string())
    };
    paths.iter().map(open).collect()
}

/// As [`open_copies`], of keys of this fleet.
pub(super) fn copies_of(fleet: &Fleet, paths: &[PathBuf]) -> anyhow::Result<Vec<StatementKey>> {
    let mut keys = Vec::new();
    for ((of, key), path) in open_copies(paths)?.into_iter().zip(paths) {
        anyhow::ensure!(
            of == fleet.id(),
            "{} is a key of {of}, not of {}",
            path.display(),
            fleet.id()
        );
        keys.push(key);
    }
    Ok(keys)
}

/// The root keys to sign with in a home: its own, and copies.
pub(crate) fn signers(home: &Home, args: &RootKeyArgs) -> anyhow::Result<Vec<StatementKey>> {
    Ok(root_signers(home, copies_of(&home.fleet()?, &args.root_key)?)?)
}

/// The fleet as the home or the card knows it, whichever knows more.
pub(super) fn known_fleet(home: &Path, card: &FleetCardArgs) -> anyhow::Result<Fleet> {
    let here = Home::open(home).and_then(|home| home.fleet());
    let Some(path) = &card.fleet else {
        return here.context("no fleet is known here; name its card (--fleet FILE)");
    };
    let shown = FleetCard::open(&read_input(path)?)
        .with_context(|| format!("{} is not a fleet's card", path.display()))?;
    Ok(match here {
        Ok(here) if here.id() == shown.id() => here.newest(shown)?,
        _ => shown,
    })
}

/// The keys that add a signature: the copies, or else the root keys of the home.
pub(super) fn adding(
    home: &Path,
    fleet: &Fleet,
    copies: &[PathBuf],
) -> anyhow::Result<Vec<StatementKey>> {
    if !copies.is_empty() {
        return copies_of(fleet, copies);
    }
    let home = Home::open(home).context("no home to take root keys from; --root-key FILE")?;
    anyhow::ensure!(home.fleet()?.id() == fleet.id(), "this home is of another fleet");
    Ok(root_signers(&home, Vec::new())?)
}

/// `seawall fleet sign`.
pub(super) fn run(
    path: &Path,
    args: &SignArgs,
    dry_run: bool,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<()> {
    let json = read_input(path)?;
    let mut file = RootFile::parse(&json).with_context(|| path.display().to_string())?;
    let fleet = known_fleet(home, &args.fleet)?;
    file.check(&fleet).with_context(|| path.display().to_string())?;
    if dry_run {
        let (value, words) = describe(&file, &fleet)?;
        return printer.result(&value, &words);
    }
    for key in &adding(home, &fleet, &args.root_key)? {
        file = file.sign(&fleet, key)?;
    }
    if let Ok(home) = Home::open(home)
        && home.fleet().is_ok_and(|own| own.id() == fleet.id())
    {
        file.keep(&home)?;
    }
    let (value, words) = describe(&file, &fleet)?;
    printer.described(&args.out, &file.to_json(), (value, &words))
}

/// Writes a file that root keys sign, and says whether it is finished.
pub(crate) fn write(
    file: &RootFile,
    fleet: &Fleet,
    out: &Path,
    words: &str,
    printer: &Printer,
) -> anyhow::Result<()> {
    let (have, need) = file.signed(fleet)?;
    if printer.is_json() {
        printer.described(out, &file.to_json(), (standing(have, need), ""))?;
    } else {
        write_output(out, &file.to_json())?;
    }
    if have >= need {
        printer.say(words);
    } else {
        printer.warn(&format!(
            "signed by {have} of {need} root keys: nobody takes it yet; seawall fleet sign adds a signature"
        ));
    }
    Ok(())
}

/// Why what has too few signatures is not taken.
pub(crate) fn too_few(have: usize, need: usize) -> String {
    format!(
        "signed by {have} of {need} root keys: name a copy of each (--root-key), or write it with --out for the others to sign (seawall fleet sign)"
    )
}

fn standing(have: usize, need: usize) -> Value {
    json!({ "signed": { "by": have, "of": need }, "complete": have >= need })
}

/// What a file says, and how far it is signed.
fn describe(file: &RootFile, fleet: &Fleet) -> anyhow::Result<(Value, String)> {
    if let RootFile::Policy(envelope) = file {
        return policy::describe_against(fleet, envelope.clone());
    }
    let (have, need) = file.signed(fleet)?;
    let mut value = standing(have, need);
    let mut lines = vec![format!("fleet     {}", fleet.id().to_hex())];
    let statements = file.statements()?;
    value["statements"] = statements.iter().map(said).collect::<anyhow::Result<_>>()?;
    if let RootFile::Region(it) = file {
        value["address"] = it.address.clone().into();
        lines.push(format!("address   {}", show_path(it.address.as_bytes())));
    }
    for it in &statements {
        lines.extend(in_words(it)?);
    }
    lines.push(if have >= need {
        "signed by enough root keys".to_owned()
    } else {
        format!("signed by {have} of {need} root keys; seawall fleet sign adds a signature")
    });
    Ok((value, lines.join("\n")))
}

fn said(envelope: &Envelope) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(envelope.unverified_payload())?)
}

fn read<P: Predicate>(envelope: &Envelope) -> anyhow::Result<P> {
    Ok(Statement::<P>::read_unverified(envelope)?.predicate)
}

fn in_words(envelope: &Envelope) -> anyhow::Result<Vec<String>> {
    let name = |text: &str| show_path(text.as_bytes());
    Ok(match predicate_type(envelope)?.as_str() {
        Enrolment::TYPE => {
            let it: Enrolment = read(envelope)?;
            let role = if it.role == Role::Region { "region" } else { "node" };
            vec![
                format!("enrols    {role} {}, epoch {}", name(&it.name), it.epoch),
                format!("id        {}", it.node().to_hex()),
                format!("identity  {}", it.identity),
                format!("transport {}", it.transport),
            ]
        }
        BundlePredicate::TYPE => {
            let it: BundlePredicate = read(envelope)?;
            let regions: Vec<_> = it.regions.iter().map(|(address, _)| name(address)).collect();
            let none = regions.is_empty();
            vec![format!("regions   {}", if none { "none".to_owned() } else { regions.join(", ") })]
        }
        Epoch::TYPE => {
            let it: Epoch = read(envelope)?;
            let asked: Vec<_> = it.asked.iter().map(|who| name(who)).collect();
            let nobody = asked.is_empty();
            vec![
                format!("epoch     {} goes on from {} entries", it.epoch, it.continues.size),
                format!(
                    "asked     {}",
                    if nobody { "NOBODY".to_owned() } else { asked.join(", ") }
                ),
                format!("reason    {}", name(&it.reason)),
            ]
        }
        Retention::TYPE => {
            let it: Retention = read(envelope)?;
            vec![
                format!("of node   {}", it.node.to_hex()),
                format!("version   {}: regions keep {}", it.version, it.rules),
            ]
        }
        IndexPolicy::TYPE => {
            let it: IndexPolicy = read(envelope)?;
            let classes: Vec<_> = it.classes.iter().map(|class| name(class)).collect();
            let readers: Vec<_> = it.operators.iter().map(|o| name(&o.name)).collect();
            vec![
                format!("indexes   of classes {}", classes.join(", ")),
                format!("read by   {}", readers.join(", ")),
            ]
        }
        other => vec![other.escape_debug().to_string()],
    })
}
