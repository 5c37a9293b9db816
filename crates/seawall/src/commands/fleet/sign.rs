//! Signing with root keys: those of the home, and sealed copies; `seawall fleet sign`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seawall_base::FleetId;
use seawall_escrow::RootKeyFile;
use seawall_node::{Home, RootFile, open_root_key, root_signers};
use seawall_record::Fleet;
use seawall_sign::{Envelope, StatementKey};
use serde_json::{Value, json};

use super::{policy, statements};
use crate::cli::{RootKeyArgs, SignArgs};
use crate::commands::known;
use crate::output::{Printer, confirm, passphrase, read_input, show_path, write_output};

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
pub(super) fn known_fleet(home: &Path, card: Option<&Path>) -> anyhow::Result<Fleet> {
    fleet_here(card, known::home_at(home)?.map(|(_, fleet)| fleet))
}

fn fleet_here(card: Option<&Path>, here: Option<Fleet>) -> anyhow::Result<Fleet> {
    known::newest(card, here)?.context("no fleet is known here; name its card (--fleet FILE)")
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
    let here = known::home_at(home)?;
    let fleet =
        fleet_here(args.fleet.fleet.as_deref(), here.as_ref().map(|(_, fleet)| fleet.clone()))?;
    file.check(&fleet).with_context(|| path.display().to_string())?;
    let shown = describe(&file, &fleet)?;
    if dry_run {
        return printer.result(&shown.value, &format!("{}\n{}", shown.words, shown.state));
    }
    agree(&shown.words, args.yes, printer)?;
    for key in &adding(home, &fleet, &args.root_key)? {
        file = file.sign(&fleet, key)?;
    }
    if let Some((home, _)) = here.filter(|(_, own)| own.id() == fleet.id()) {
        file.keep(&home)?;
    }
    let signed = describe(&file, &fleet)?;
    hand_over(&args.out, &file.to_json(), (signed.value, &signed.state), printer)
}

/// Shows what is to be signed, wherever the document goes, and asks.
pub(super) fn agree(words: &str, yes: bool, printer: &Printer) -> anyhow::Result<()> {
    printer.show(words);
    anyhow::ensure!(yes || confirm("Sign this?")?, "not signed; nothing was written");
    Ok(())
}

/// Writes what was signed and says how far it is, on the side where the document is the result.
pub(super) fn hand_over(
    out: &Path,
    document: &[u8],
    (value, state): (Value, &str),
    printer: &Printer,
) -> anyhow::Result<()> {
    printer.described(out, document, (value, state))?;
    if out.as_os_str() == "-" {
        printer.say(state);
    }
    Ok(())
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

/// Why what has too few signatures is not taken, and what to do: `remedy`.
pub(crate) fn too_few((have, need): (usize, usize), remedy: &str) -> String {
    format!("signed by {have} of {need} root keys: {remedy}")
}

/// What to do where the command itself takes copies and `--out`.
pub(crate) const MORE_COPIES: &str = "name a copy of each (--root-key), or write it with --out for the others to sign (seawall fleet sign)";

fn standing(have: usize, need: usize) -> Value {
    json!({ "signed": { "by": have, "of": need }, "complete": have >= need })
}

/// A file that root keys sign, for people and programs.
pub(super) struct Described {
    pub(super) value: Value,
    /// What it says.
    pub(super) words: String,
    /// How far it is signed.
    pub(super) state: String,
}

/// What a file says, and how far it is signed.
pub(super) fn describe(file: &RootFile, fleet: &Fleet) -> anyhow::Result<Described> {
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
        lines.extend(statements::in_words(it, fleet)?);
    }
    value["words"] = lines.clone().into();
    let state = if have >= need {
        "signed by enough root keys".to_owned()
    } else {
        format!("signed by {have} of {need} root keys; seawall fleet sign adds a signature")
    };
    Ok(Described { value, words: lines.join("\n"), state })
}

fn said(envelope: &Envelope) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(envelope.unverified_payload())?)
}
