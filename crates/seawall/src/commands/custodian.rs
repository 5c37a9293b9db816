//! `seawall custodian init | card | show | join | hand-over | take-over`.

mod machine;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seawall_custodian::ceremony::check_group_file;
use seawall_custodian::{Ask, CustodianHome, CustodyError, NO_FLEET, hand_on};
use seawall_escrow::ShareFile;
use seawall_host::{OsRng, SystemClock};
use seawall_record::{Arrival, Fleet, FleetCard};
use seawall_sign::Algorithm;
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::CustodianCommand;
use crate::output::{
    Outcome, Printer, Usage, confirm, passphrase, read_input, read_up_to, show_path,
};

pub(crate) fn run(
    command: &CustodianCommand,
    home: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    match command {
        CustodianCommand::Init { name, operator, share, algorithm, fleet, fleet_id, out } => {
            let fleet = fleet.as_deref().map(|f| pinned(f, fleet_id.as_deref())).transpose()?;
            let names = (name.as_deref(), operator.as_deref());
            let home = init(home, names, share.as_deref(), (*algorithm).into())?;
            if let Some((fleet, _)) = fleet {
                printer.say(&joined(&home, fleet)?.1);
            }
            card(&home, None, out, printer)?;
        }
        CustodianCommand::Card { address, out } => {
            card(&CustodianHome::open(home)?, address.as_deref(), out, printer)?;
        }
        CustodianCommand::HandOver { group, capsules, out } => {
            return hand_over(&CustodianHome::open(home)?, group, capsules, out, printer);
        }
        CustodianCommand::TakeOver { files } => {
            let home = CustodianHome::open(home)?;
            for file in files {
                home.keep_hand_over(&read_up_to(file, 64)?)
                    .with_context(|| format!("cannot use {}", file.display()))?;
            }
            printer
                .result(&json!({ "kept": files }), "kept; start the machine again if one runs")?;
        }
        CustodianCommand::Show => show(&CustodianHome::open(home)?, printer)?,
        CustodianCommand::Join { card, fleet_id, yes } => {
            let home = CustodianHome::open(home)?;
            let (fleet, confirmed) = pinned(card, fleet_id.as_deref())?;
            let known = home.fleet(fleet.id())?.is_some();
            if !known && !confirmed {
                printer.show(&format!(
                    "fleet {}\n  fleet id     {}\n  fingerprint  {}\ncompare the fleet id with the recovery sheet: this custodian will answer for this fleet",
                    show_path(fleet.genesis().fleet_name.as_bytes()),
                    fleet.id().to_hex(),
                    fleet.id().fingerprint(),
                ));
                anyhow::ensure!(*yes || confirm("Is it the same?")?, "not joined");
            }
            let (value, words) = joined(&home, fleet)?;
            printer.result(&value, &words)?;
        }
        CustodianCommand::Machine(command) => return machine::run(command, home, printer),
    }
    Ok(Outcome::Done)
}

fn init(
    path: &Path,
    (name, operator): (Option<&str>, Option<&str>),
    share: Option<&Path>,
    algorithm: Algorithm,
) -> anyhow::Result<CustodianHome> {
    if let Some(share) = share {
        let unusable = || format!("cannot use share {}", share.display());
        let file = ShareFile::parse(&read_input(share)?).with_context(unusable)?;
        let name = &file.public().custodian;
        let secret = passphrase(&format!("Passphrase for the share of {name}"), false)?;
        let operator = operator.unwrap_or(name);
        return CustodianHome::create_from_share(path, operator, &file, &secret, &mut OsRng)
            .with_context(unusable);
    }
    let name = name.ok_or_else(|| Usage("--name or --share names the custodian".to_owned()))?;
    Ok(CustodianHome::create_of(path, name, operator.unwrap_or(name), algorithm, &mut OsRng)?)
}

fn card(
    home: &CustodianHome,
    address: Option<&str>,
    out: &Path,
    printer: &Printer,
) -> anyhow::Result<()> {
    let card = home.card(address)?;
    printer.document(out, &card.to_json())?;
    printer.say(&format!(
        "card of {}, fingerprint {}: read it out to whoever uses the card",
        show_path(card.name.as_bytes()),
        card.fingerprint()
    ));
    Ok(())
}

fn hand_over(
    home: &CustodianHome,
    group: &Path,
    capsules: &[PathBuf],
    out: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let unusable = || format!("cannot use {}", group.display());
    let (group, _) = check_group_file(&read_input(group)?).with_context(unusable)?;
    let mut arrivals = Vec::new();
    for path in capsules {
        let bytes = read_up_to(path, 64)?;
        let lines = bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        for line in lines {
            let arrival = Arrival::parse(line);
            arrivals.push(arrival.with_context(|| format!("cannot use {}", path.display()))?);
        }
    }
    let handed = hand_on(home, &group, &arrivals, &SystemClock)?;
    anyhow::ensure!(handed.shares > 0, "this home has no share of any of these snapshots");
    printer.document(out, &handed.file.to_json())?;
    for (manifest, why) in &handed.without {
        printer.warn(&format!("snapshot {} was not handed over: {why}", &manifest.to_hex()[..16]));
    }
    printer.say(&format!(
        "{} shares handed over; every custodian of the new group runs `seawall custodian take-over`, whoever restores `seawall restore take-over`",
        handed.shares
    ));
    Ok(if handed.without.is_empty() { Outcome::Done } else { Outcome::Partly })
}

/// Reads a fleet card; the flag says whether its id was compared with the given one.
fn pinned(card: &Path, fleet_id: Option<&str>) -> anyhow::Result<(Fleet, bool)> {
    let fleet = FleetCard::open(&read_input(card)?)
        .with_context(|| format!("cannot use {}", card.display()))?;
    let Some(id) = fleet_id else { return Ok((fleet, false)) };
    let id = id.strip_prefix("fleet:").unwrap_or(id);
    let found = fleet.id().to_hex();
    anyhow::ensure!(
        id == found,
        "{} is the card of fleet {found}, not of {id}: somebody may have replaced it",
        card.display()
    );
    Ok((fleet, true))
}

/// Asks for a share's passphrase; keeps what went wrong for the caller.
pub(super) fn asking(
    unanswered: &mut Option<anyhow::Error>,
) -> impl FnMut(Ask, &str) -> Result<Zeroizing<Vec<u8>>, CustodyError> + '_ {
    |ask, name| {
        let (prompt, new) = match ask {
            Ask::Existing => (format!("Passphrase for the share of {name}"), false),
            Ask::New => (format!("Passphrase for the new share of {name}"), true),
        };
        passphrase(&prompt, new).map_err(|e| {
            let why = CustodyError::Refused(format!("{e:#}"));
            *unanswered = Some(e);
            why
        })
    }
}

fn joined(home: &CustodianHome, fleet: Fleet) -> anyhow::Result<(serde_json::Value, String)> {
    let mut unanswered = None;
    let joined = home.join(fleet, &mut asking(&mut unanswered), &mut OsRng);
    if let Some(e) = unanswered {
        return Err(e);
    }
    let joined = joined.context("the fleet was not joined")?;
    let (fleet, name) = (&joined.fleet, show_path(joined.fleet.genesis().fleet_name.as_bytes()));
    let mut words =
        format!("{} knows fleet {name}, policy version {}", home.name(), fleet.version());
    for share in &joined.bound {
        words.push_str(&format!("\n{share} is a share of this fleet now"));
    }
    for share in &joined.deleted {
        words.push_str(&format!("\n{share} was replaced by a newer share and deleted"));
    }
    let value = json!({
        "fleet": fleet.id().to_hex(),
        "policy_version": fleet.version(),
        "bound": joined.bound,
        "deleted": joined.deleted,
    });
    Ok((value, words))
}

fn show(home: &CustodianHome, printer: &Printer) -> anyhow::Result<()> {
    let card = home.card(None)?;
    let fleets = home.fleets()?;
    let shares = home.shares()?;
    let mut lines = vec![
        format!("custodian    {}", show_path(card.name.as_bytes())),
        format!("operator     {}", show_path(card.operator.as_bytes())),
        format!("fingerprint  {}", card.fingerprint()),
        format!("signing key  {}", card.signing_key),
    ];
    for fleet in &fleets {
        let name = show_path(fleet.genesis().fleet_name.as_bytes());
        lines.push(format!("fleet        {name}, policy version {}", fleet.version()));
        lines.push(format!("             {}", fleet.id().to_hex()));
    }
    for (name, share) in &shares {
        let it = share.public();
        let fleet = fleets.iter().find(|f| f.id() == it.fleet);
        let state = match fleet.and_then(|f| f.group(it.group)) {
            _ if it.fleet == NO_FLEET => "of a fleet that is still to be founded",
            None => "of a fleet this home does not know",
            Some(group) if group.share_epoch > it.share_epoch => "replaced by a newer one",
            Some(group) if group.share_epoch < it.share_epoch => "not in the fleet's policy yet",
            Some(_) => "current",
        };
        lines.push(format!(
            "share        {} of {}, {} needed, class {}, epoch {}: {state}\n             shares/{name}",
            it.index, it.members, it.threshold, it.class, it.share_epoch
        ));
    }
    let value = json!({
        "name": card.name,
        "operator": card.operator,
        "fingerprint": card.fingerprint(),
        "signing_key": card.signing_key,
        "witness": card.witness,
        "transport": card.transport,
        "home": home.path(),
        "fleets": fleets.iter().map(|f| json!({
            "id": f.id().to_hex(), "name": f.genesis().fleet_name, "policy_version": f.version(),
        })).collect::<Vec<_>>(),
        "shares": shares.iter().map(|(name, share)| json!({
            "file": home.path().join("shares").join(name),
            "group": share.public().group.to_hex(),
            "fleet": share.public().fleet.to_hex(),
            "class": share.public().class,
            "index": share.public().index,
            "threshold": share.public().threshold,
            "members": share.public().members,
            "share_epoch": share.public().share_epoch,
        })).collect::<Vec<_>>(),
    });
    printer.result(&value, &lines.join("\n"))
}
