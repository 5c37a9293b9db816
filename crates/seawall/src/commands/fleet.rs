//! `seawall fleet show | card | bundle | adopt | sign | root-key | recover | policy | retention |
//! index | operator | epoch | sheet`.

mod changes;
mod index;
mod policy;
mod retention;
pub(crate) mod sign;
mod statements;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seawall_escrow::RootKeyFile;
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    CardSource, HandOn, Home, HomeError, RootFile, adopt_region, enrolment_bundle, export_root_key,
    new_root_key, replaced_region, sheet_html, sheet_text, sign_region,
};
use seawall_record::{Enrolment, Fleet, FleetCard, MemberCard, RegionCard};
use serde_json::json;

pub(crate) use self::statements::revoked;
use crate::cli::{FleetCommand, RootKeyArgs};
use crate::output::{Outcome, Printer, passphrase, read_input, write_output};

pub(crate) fn run(
    command: &FleetCommand,
    path: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        // Holders of root keys have no home.
        FleetCommand::Recover { root_key, out, card, bucket, name } => {
            super::check_role(path, "home.json")?;
            let name = name.clone().unwrap_or_else(super::host_name);
            let source = (card.as_deref(), bucket.as_deref());
            recover((path, &name), root_key, out.as_deref(), source, printer)?;
        }
        FleetCommand::Sign { file, sign, dry_run } => {
            sign::run(file, sign, *dry_run, path, printer)?;
        }
        FleetCommand::RootKey { out, new: true, fleet } => {
            new_key(&sign::known_fleet(path, fleet.as_deref())?, out, printer)?;
        }
        FleetCommand::Retention(command) => retention::run(path, command, printer)?,
        FleetCommand::Policy(command) => policy::run(path, command, printer)?,
        _ => run_in(&Home::open(path)?, command, printer)?,
    }
    Ok(Outcome::Done)
}

fn run_in(home: &Home, command: &FleetCommand, printer: &Printer) -> anyhow::Result<()> {
    match command {
        FleetCommand::Recover { .. }
        | FleetCommand::Sign { .. }
        | FleetCommand::Retention(_)
        | FleetCommand::Policy(_) => unreachable!("done without a home"),
        FleetCommand::RootKey { out, .. } => root_key(home, out, printer)?,
        FleetCommand::Show => show(home, printer)?,
        FleetCommand::Card { out } => {
            let card = FleetCard::new(&home.fleet()?);
            let text = serde_json::to_string_pretty(&card).context("a card is JSON")? + "\n";
            printer.document(out, text.as_bytes())?;
        }
        FleetCommand::Bundle { card, roots, out } => {
            let roots = sign::signers(home, roots)?;
            let card = MemberCard::parse(&read_input(card)?)?;
            let bundle = enrolment_bundle(home, &card, &roots, &SystemClock, &mut OsRng)?;
            let words = format!("enrolled {}; the bundle is for its keys only", card.name);
            let file = RootFile::Bundle(Box::new(bundle));
            sign::write(&file, &home.fleet()?, out, &words, printer)?;
        }
        FleetCommand::Adopt { card, roots, out, replace } => {
            adopt(home, card, roots, (out.as_deref(), *replace), printer)?;
        }
        FleetCommand::Index(command) => index::run(home, command, printer)?,
        FleetCommand::Operator(command) => index::operator(home, command, printer)?,
        FleetCommand::Epoch { request, roots, out, yes } => {
            super::epoch::grant(home, (request, out), roots, *yes, printer)?;
        }
        FleetCommand::Sheet { html, out } => {
            let fleet = home.fleet()?;
            let regions = regions(home)?;
            let page = if *html { sheet_html } else { sheet_text };
            let page = page(&fleet, &regions);
            if printer.is_json() && out.as_os_str() == "-" {
                let value = json!({ "fleet": fleet.id().to_hex(), "sheet": page });
                printer.result(&value, "")?;
            } else {
                printer.document(out, page.as_bytes())?;
            }
        }
    }
    Ok(())
}

/// Signs for a region, or takes what others have signed.
fn adopt(
    home: &Home,
    file: &Path,
    roots: &RootKeyArgs,
    (out, replace): (Option<&Path>, bool),
    printer: &Printer,
) -> anyhow::Result<()> {
    let fleet = home.fleet()?;
    let (signed, remedy) = region_to_adopt(home, &fleet, file, roots, printer)?;
    if let Some(out) = out {
        let words = "nothing is adopted yet; seawall fleet adopt takes what was written";
        return sign::write(&signed, &fleet, out, words, printer);
    }
    let (have, need) = signed.signed(&fleet)?;
    anyhow::ensure!(have >= need, sign::too_few((have, need), remedy));
    let RootFile::Region(address) = signed else { unreachable!("no other is made above") };
    let replaced = replaced_region(home, &address)?;
    if let Some((old, known)) = replaced.as_ref().filter(|_| !replace) {
        anyhow::bail!(
            "{} at {} has that name here already, and another key: nothing was changed. If that region is gone, or was set up anew, --replace puts this one in its place; otherwise give one of them another name",
            known.name,
            old.address
        );
    }
    let enrolment = adopt_region(home, &address)?;
    let value = json!({
        "region": enrolment.name,
        "address": address.address,
        "identity": enrolment.identity,
        "replaces": replaced.as_ref().map(|(_, known)| known.identity),
    });
    let mut words = format!(
        "region {} at {} is trusted to keep, never to read",
        enrolment.name, address.address
    );
    if let Some((old, known)) = replaced {
        words += &format!(
            "\nit takes the place of {} at {}, key {}; other nodes learn of it from new bundles",
            known.name, old.address, known.identity
        );
    }
    printer.result(&value, &words)
}

/// A copy may be the only one of its key: nothing replaces it.
fn check_unwritten(out: &Path) -> anyhow::Result<()> {
    let is_there = out.as_os_str() != "-" && out.try_exists()?;
    anyhow::ensure!(
        !is_there,
        "{} is there already, and may be the only copy of a root key: name another file",
        out.display()
    );
    Ok(())
}

/// A region's card, signed here; or what others have signed, with the signatures of the copies that
/// are named. Also what to do if the signatures are too few.
fn region_to_adopt(
    home: &Home,
    fleet: &Fleet,
    path: &Path,
    roots: &RootKeyArgs,
    printer: &Printer,
) -> anyhow::Result<(RootFile, &'static str)> {
    /// Cards name their format, what was signed does not.
    #[derive(serde::Deserialize)]
    struct Head {
        format: Option<String>,
    }
    let what = || path.display().to_string();
    let json = read_input(path)?;
    let head: Head = serde_json::from_slice(&json).with_context(|| {
        format!("{} is neither a region's card nor what --out wrote", path.display())
    })?;
    if head.format.is_some() {
        let card = RegionCard::parse(&json).with_context(what)?;
        let roots = sign::signers(home, roots)?;
        let signed = sign_region(home, &card, &roots, &SystemClock)?;
        return Ok((RootFile::Region(Box::new(signed)), sign::MORE_COPIES));
    }
    let mut file = RootFile::parse(&json).with_context(what)?;
    let is_region = matches!(file, RootFile::Region(_));
    anyhow::ensure!(is_region, "{} holds no region's signed address", path.display());
    file.check(fleet).with_context(what)?;
    if !roots.root_key.is_empty() {
        printer.show(&sign::describe(&file, fleet)?.words);
        for key in &sign::copies_of(fleet, &roots.root_key)? {
            file = file.sign(fleet, key)?;
        }
    }
    let remedy = "name a copy of each that is still missing (--root-key), or have the others sign the file (seawall fleet sign)";
    Ok((file, remedy))
}

fn root_key(home: &Home, out: &Path, printer: &Printer) -> anyhow::Result<()> {
    check_unwritten(out)?;
    let passphrase = passphrase("Passphrase for the root key's copy", true)?;
    let file = export_root_key(home, &passphrase, &mut OsRng)?;
    write_output(out, file.to_json().as_bytes())?;
    let words =
        format!("wrote {}; keep it with the recovery sheet, apart from the shares", out.display());
    printer.result(&copy(&file, out), &words)
}

fn new_key(fleet: &Fleet, out: &Path, printer: &Printer) -> anyhow::Result<()> {
    check_unwritten(out)?;
    let passphrase = passphrase("Passphrase for the root key's copy", true)?;
    let file = new_root_key(fleet, &passphrase, &mut OsRng)?;
    write_output(out, file.to_json().as_bytes())?;
    let words = format!(
        "wrote {}; it is no root key yet: seawall fleet policy propose --root-key {} makes it one",
        out.display(),
        file.key()
    );
    printer.result(&copy(&file, out), &words)
}

fn copy(file: &RootKeyFile, out: &Path) -> serde_json::Value {
    json!({ "file": out, "fleet": file.fleet().to_hex(), "key": file.key() })
}

fn recover(
    (home, name): (&Path, &str),
    root_keys: &[PathBuf],
    out: Option<&Path>,
    (card, bucket): (Option<&Path>, Option<&str>),
    printer: &Printer,
) -> anyhow::Result<()> {
    let card = card.map(read_input).transpose()?;
    let source = match (&card, bucket) {
        (Some(json), _) => CardSource::Card(json),
        (None, Some(url)) => CardSource::Bucket(url),
        (None, None) => anyhow::bail!("neither --card nor --bucket was given"),
    };
    let roots = sign::open_copies(root_keys)?;
    let place = (home, name);
    let hand_on = out.map(|out| {
        move |file: &RootFile, fleet: &Fleet| {
            let written = sign::write(file, fleet, out, "", printer);
            written.map_err(|e| HomeError::Refused(format!("{e:#}")))
        }
    });
    let hand_on = hand_on.as_ref().map(|it| it as &HandOn<'_>);
    let recovered =
        seawall_node::recover(place, &source, roots, hand_on, &SystemClock, &mut OsRng)?;
    let (fleet, id) = (&recovered.fleet, recovered.fleet.id().to_hex());
    let compare = format!("compare the fleet id with the recovery sheet: {id}");
    if let (false, Some(out)) = (recovered.finished, out) {
        printer.say(&format!(
            "{name} waits for the other root keys; {compare}\nthen here: seawall node enroll {} --fleet-id {id}",
            out.display()
        ));
        return Ok(());
    }
    let value = json!({ "fleet": id, "home": home });
    let words = format!(
        "{name} is the new first node of fleet {}\n{compare}\nnext: seawall snapshot list --all",
        fleet.genesis().fleet_name,
    );
    printer.result(&value, &words)
}

fn regions(home: &Home) -> anyhow::Result<Vec<(String, Enrolment)>> {
    let regions = home.regions(&home.fleet()?)?;
    Ok(regions.into_iter().map(|(address, region)| (address.address, region)).collect())
}

fn show(home: &Home, printer: &Printer) -> anyhow::Result<()> {
    let fleet = home.fleet()?;
    let genesis = fleet.genesis();
    let (own, _) = home.enrolment(&fleet)?;
    let regions = regions(home)?;
    let value = json!({
        "fleet": fleet.id().to_hex(),
        "fingerprint": fleet.id().fingerprint(),
        "name": genesis.fleet_name,
        "created": genesis.created.to_string(),
        "policy_version": fleet.version(),
        "node": { "id": own.node().to_hex(), "name": own.name, "tenant": own.tenant, "epoch": own.epoch },
        "groups": fleet.groups().iter().map(|g| json!({
            "id": g.id.to_hex(),
            "class": g.class,
            "threshold": g.threshold,
            "ceremony": g.ceremony,
            "share_epoch": g.share_epoch,
            "retired": g.retired,
            "custodians": g.custodians.iter().map(|c| &c.name).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
        "regions": regions.iter().map(|(address, region)| json!({
            "name": region.name, "address": address, "identity": region.identity,
        })).collect::<Vec<_>>(),
        "home": home.path(),
    });
    printer.result(&value, &sheet_text(&fleet, &regions))
}
