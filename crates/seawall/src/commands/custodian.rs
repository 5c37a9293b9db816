//! `seawall custodian init | card | show | join | hand-over | take-over`.

mod machine;
pub(crate) mod token;

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

use crate::cli::{CustodianArgs, CustodianCommand, TokenArgs};
use crate::output::{
    Outcome, Printer, Usage, confirm, passphrase, read_input, read_up_to, show_path,
};

pub(crate) fn run(args: &CustodianArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let token = &args.token;
    match &args.command {
        CustodianCommand::Init {
            name,
            operator,
            share,
            algorithm,
            fleet,
            fleet_id,
            token_label,
            out,
        } => {
            let fleet = fleet.as_deref().map(|f| pinned(f, fleet_id.as_deref())).transpose()?;
            let named = (name.as_deref(), operator.as_deref(), (*algorithm).into());
            let wrapped = (token_label.as_deref(), token);
            let home = init(home, named, share.as_deref(), wrapped, printer)?;
            if let Some((fleet, _)) = fleet {
                printer.say(&joined(&home, fleet, true)?.1);
            }
            card(&home, None, out, printer)?;
        }
        CustodianCommand::Card { address, out } => {
            card(&token::open_home(home, token, printer)?, address.as_deref(), out, printer)?;
        }
        CustodianCommand::HandOver { group, capsules, out } => {
            let home = token::open_home(home, token, printer)?;
            return hand_over(&home, group, capsules, out, printer);
        }
        CustodianCommand::TakeOver { files } => {
            let home = token::open_home(home, token, printer)?;
            for file in files {
                home.keep_hand_over(&read_up_to(file, 64)?)
                    .with_context(|| format!("cannot use {}", file.display()))?;
            }
            printer
                .result(&json!({ "kept": files }), "kept; a snapshot of before opens once enough of the custodians who left have handed theirs over; start the machine again if one runs")?;
        }
        CustodianCommand::Show => show(&CustodianHome::open(home)?, printer)?,
        CustodianCommand::Join { card, fleet_id, yes } => {
            let home = token::open_home(home, token, printer)?;
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
            let (value, words) = joined(&home, fleet, confirmed)?;
            printer.result(&value, &words)?;
        }
        CustodianCommand::Token(command) => {
            let home = token::open_home(home, token, printer)?;
            return token::run(command, &home, token, printer);
        }
        CustodianCommand::Machine(command) => {
            return machine::run(command, home, token, printer);
        }
    }
    Ok(Outcome::Done)
}

fn init(
    path: &Path,
    (name, operator, algorithm): (Option<&str>, Option<&str>, Algorithm),
    share: Option<&Path>,
    (label, token): (Option<&str>, &TokenArgs),
    printer: &Printer,
) -> anyhow::Result<CustodianHome> {
    super::check_role(path, "custodian.json")?;
    // The token first: without it nothing is made.
    let key = |name: &str| -> anyhow::Result<_> {
        label.map(|label| token::key_for(None, name, label, token, printer)).transpose()
    };
    let say = |home: &CustodianHome| -> anyhow::Result<()> {
        if let Some(key) = home.token_key()? {
            printer.say(&format!("{} is wrapped by {key}", home.name()));
        }
        Ok(())
    };
    let Some(share) = share else {
        let name = name.ok_or_else(|| Usage("--name or --share names the custodian".to_owned()))?;
        let named = (name, operator.unwrap_or(name));
        let home = match key(name)? {
            Some(key) => CustodianHome::create_wrapped(path, named, algorithm, key, &mut OsRng)?,
            None => CustodianHome::create_of(path, named.0, named.1, algorithm, &mut OsRng)?,
        };
        say(&home)?;
        return Ok(token::reaching(home, token, printer));
    };
    let unusable = || format!("cannot use share {}", share.display());
    let file = ShareFile::parse(&read_input(share)?).with_context(unusable)?;
    let name = &file.public().custodian;
    let key = key(name)?;
    let is_wrapped = key.is_some();
    let secret = passphrase(&format!("Passphrase for the share of {name}"), false)?;
    let operator = operator.unwrap_or(name);
    let made = CustodianHome::create_from_share(path, operator, (&file, &secret), key, &mut OsRng);
    let home = made.with_context(unusable)?;
    say(&home)?;
    if is_wrapped {
        printer.say(token::OLD_COPIES);
    }
    Ok(token::reaching(home, token, printer))
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

fn joined(
    home: &CustodianHome,
    fleet: Fleet,
    confirmed: bool,
) -> anyhow::Result<(serde_json::Value, String)> {
    let mut unanswered = None;
    let mut ask = asking(&mut unanswered);
    let joined = if confirmed {
        home.join_confirmed(fleet, &mut ask, &mut OsRng)
    } else {
        home.join(fleet, &mut ask, &mut OsRng)
    };
    drop(ask);
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
    for share in &joined.unbound {
        words.push_str(&format!(
            "\n{share} was made before its fleet, which need not be this one; if it is, join again with --fleet-id and the id from the recovery sheet"
        ));
    }
    for share in &joined.deleted {
        words.push_str(&format!("\n{share} was replaced by a newer share and deleted"));
    }
    for share in &joined.aside {
        words.push_str(&format!(
            "\n{share} is the share of a group this custodian has left, set aside; delete it once nobody doubts that"
        ));
    }
    let value = json!({
        "fleet": fleet.id().to_hex(),
        "policy_version": fleet.version(),
        "bound": joined.bound,
        "unbound": joined.unbound,
        "deleted": joined.deleted,
        "aside": joined.aside,
    });
    Ok((value, words))
}

fn show(home: &CustodianHome, printer: &Printer) -> anyhow::Result<()> {
    let card = home.unsigned_card(None)?;
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
        let guard = share.token().map_or_else(
            || "sealed under a passphrase".to_owned(),
            |key| format!("wrapped by the token {:?}", key.label),
        );
        lines.push(format!(
            "share        {} of {}, {} needed, class {}, epoch {}: {state}\n             shares/{name}, {guard}",
            it.index, it.members, it.threshold, it.class, it.share_epoch
        ));
    }
    let token = home.token_key()?;
    if let Some(key) = &token {
        lines.insert(4, format!("token        {}, serial number {}", key.label, key.serial));
    }
    let aside = home.shares_aside()?;
    lines.extend(aside.iter().map(|path| format!("set aside    {path}")));
    let value = json!({
        "token": token.as_ref().map(token::described),
        "name": card.name,
        "operator": card.operator,
        "fingerprint": card.fingerprint(),
        "signing_key": card.signing_key,
        "witness": card.witness,
        "transport": card.transport,
        "home": home.path(),
        "aside": aside.iter().map(|path| home.path().join(path)).collect::<Vec<_>>(),
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
            "token": share.token().map(token::described),
        })).collect::<Vec<_>>(),
    });
    printer.result(&value, &lines.join("\n"))
}
