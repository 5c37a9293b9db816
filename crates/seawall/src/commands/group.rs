//! `seawall group begin | refresh | repair | reshare | step | status | abandon | finish | record`.

mod record;

use std::path::Path;

use anyhow::Context as _;
use seawall_base::FleetId;
use seawall_custodian::CustodianHome;
use seawall_custodian::ceremony::{
    self, Board, NewGroup, check_group_file, check_stay, open_new, open_refresh, open_repair,
    open_reshare,
};
use seawall_host::{OsRng, SystemClock};
use seawall_record::{
    Ceremony, CeremonyStep, CustodianCard, EscrowGroupRecord, Fleet, FleetCard, GroupFile,
};
use serde_json::json;

use super::custodian::asking;
use super::custodian::token::open_home;
use crate::cli::{CeremonyFrom, CeremonyOpening, GroupArgs, GroupCommand};
use crate::output::{Outcome, Printer, Usage, confirm, read_input, show_path, write_output};

const OPENING: &str = "opening.json";
const GROUP: &str = "group.json";
/// Far more files than a ceremony has.
const MAX_FILES: usize = 256;

pub(crate) fn run(
    args: &GroupArgs,
    home: impl Fn() -> anyhow::Result<std::path::PathBuf>,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let custodian = || open_home(&home()?, &args.token, printer);
    match &args.command {
        GroupCommand::Begin { opening, threshold, class, class_number, fleet } => {
            let fleet = fleet.as_deref().map(fleet_of).transpose()?;
            let groups = fleet.as_ref().map_or(&[][..], Fleet::groups);
            let first = EscrowGroupRecord::number_of_class(groups, class);
            let class_number = class_number.unwrap_or(first);
            let group = NewGroup { class, class_number, threshold: *threshold };
            let cards = cards(opening)?;
            let with = (&SystemClock as _, &mut OsRng as _);
            let fleet = fleet.as_ref().map(Fleet::id);
            let it = open_new(&custodian()?, group, cards, fleet, &opening.reason, with)?;
            begin(&opening.folder, &it, printer)?;
        }
        GroupCommand::Refresh { opening, from } => {
            let (fleet, group) = previous(from)?;
            let with = (&SystemClock as _, &mut OsRng as _);
            let cards = cards(opening)?;
            let it = open_refresh(&custodian()?, &group, cards, fleet, &opening.reason, with)?;
            begin(&opening.folder, &it, printer)?;
        }
        GroupCommand::Repair { opening, from, lost } => {
            let (fleet, group) = previous(from)?;
            let (repaired, helpers) = repaired(&group, lost, cards(opening)?)?;
            let with = (&SystemClock as _, &mut OsRng as _);
            let home = custodian()?;
            let reason = &opening.reason;
            let it = open_repair(&home, &group, repaired, helpers, fleet, reason, with)?;
            begin(&opening.folder, &it, printer)?;
        }
        GroupCommand::Reshare { opening, from, threshold, dealers, few_stay } => {
            let (fleet, group) = previous(from)?;
            let dealers = dealers.iter().map(|name| index_of(&group, name));
            let dealers = dealers.collect::<anyhow::Result<Vec<_>>>()?;
            let with = (&SystemClock as _, &mut OsRng as _);
            let (home, cards, reason) = (custodian()?, cards(opening)?, &opening.reason);
            if !few_stay {
                check_stay(&group, &cards)?;
            }
            let it =
                open_reshare(&home, &group, (*threshold, cards), dealers, fleet, reason, with)?;
            begin(&opening.folder, &it, printer)?;
        }
        GroupCommand::Step { folder, yes } => step(&custodian()?, folder, *yes, printer)?,
        GroupCommand::Status { folder } => status(folder, printer)?,
        GroupCommand::Abandon { number } => {
            let given_up = ceremony::abandon(&custodian()?, number)?;
            let value = json!({ "ceremony": given_up.ceremony, "share": given_up.share });
            let share =
                given_up.share.map_or_else(String::new, |s| format!("; its share is now {s}"));
            let words = format!("gave up ceremony {}{share}", &given_up.ceremony[..16]);
            printer.result(&value, &words)?;
        }
        GroupCommand::Finish { folder, out } => finish(folder, out, printer)?,
        GroupCommand::Record { group, html, out } => record::run(group, *html, out, printer)?,
    }
    Ok(Outcome::Done)
}

fn cards(opening: &CeremonyOpening) -> anyhow::Result<Vec<CustodianCard>> {
    let read = |path: &std::path::PathBuf| {
        CustodianCard::parse(&read_input(path)?)
            .with_context(|| format!("cannot use {}", path.display()))
    };
    opening.cards.iter().map(read).collect()
}

fn fleet_of(card: &Path) -> anyhow::Result<Fleet> {
    let fleet = FleetCard::open(&read_input(card)?);
    fleet.with_context(|| format!("cannot use {}", card.display()))
}

/// The group a ceremony starts from: of a fleet's newest policy, or as a ceremony left it.
fn previous(from: &CeremonyFrom) -> anyhow::Result<(Option<FleetId>, EscrowGroupRecord)> {
    #[derive(serde::Deserialize)]
    struct Format {
        format: String,
    }
    let bytes = read_input(&from.from)?;
    let unusable = || format!("cannot use {}", from.from.display());
    if serde_json::from_slice::<Format>(&bytes).is_ok_and(|f| f.format == GroupFile::FORMAT) {
        let (file, _) = check_group_file(&bytes).with_context(unusable)?;
        return Ok((file.ceremony().opening.fleet, file.record().clone()));
    }
    let fleet = FleetCard::open(&bytes).with_context(unusable)?;
    let group = fleet.group_of_class(from.class.as_deref()).with_context(|| {
        let classes: Vec<_> = fleet.groups().iter().map(|g| g.class.as_str()).collect();
        format!("the fleet has groups of the classes {}", classes.join(", "))
    })?;
    Ok((Some(fleet.id()), group.clone()))
}

fn index_of(group: &EscrowGroupRecord, name: &str) -> anyhow::Result<u16> {
    let of_name: Vec<_> = group.custodians.iter().filter(|c| c.name == name).collect();
    if let [one] = of_name[..] {
        return Ok(one.index);
    }
    let names: Vec<_> = group.custodians.iter().map(|c| c.name.as_str()).collect();
    Err(Usage(format!("{name} is not the one name of one of: {}", names.join(", "))).into())
}

type Repaired = ((u16, CustodianCard), Vec<CustodianCard>);

/// Tells the card of the one repaired from those of the helpers.
fn repaired(
    group: &EscrowGroupRecord,
    lost: &str,
    cards: Vec<CustodianCard>,
) -> anyhow::Result<Repaired> {
    let index = index_of(group, lost)?;
    let (mut own, helpers): (Vec<_>, Vec<_>) = cards.into_iter().partition(|c| c.name == lost);
    match (own.pop(), own.len()) {
        (Some(card), 0) => Ok(((index, card), helpers)),
        _ => Err(Usage(format!("exactly one --card must be that of {lost}")).into()),
    }
}

/// Writes the opening into its folder.
fn begin(folder: &Path, ceremony: &Ceremony, printer: &Printer) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let there = files(folder)?;
    anyhow::ensure!(
        there.is_empty() && !folder.join(OPENING).exists(),
        "{} holds a ceremony already; choose an empty folder",
        folder.display()
    );
    write_output(&folder.join(OPENING), &ceremony.to_json())?;
    let words = format!(
        "opened: {}\nread the ceremony's number out to everyone: {}\nnow each runs: seawall group step {}",
        record::about(ceremony),
        ceremony.fingerprint(),
        folder.display()
    );
    let value = json!({
        "ceremony": ceremony.id().to_hex(),
        "fingerprint": ceremony.fingerprint(),
        "folder": folder,
    });
    printer.result(&value, &words)
}

/// The statements that lie in a folder, by name.
fn files(folder: &Path) -> anyhow::Result<Vec<(String, Vec<u8>)>> {
    let unreadable = || format!("cannot read {}", folder.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(unreadable)? {
        let Ok(name) = entry.with_context(unreadable)?.file_name().into_string() else { continue };
        let statement = name.ends_with(".json") && name != OPENING && name != GROUP;
        if statement && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort_unstable();
    anyhow::ensure!(names.len() <= MAX_FILES, "{} holds too many files", folder.display());
    names.into_iter().map(|n| Ok((n.clone(), read_input(&folder.join(n))?))).collect()
}

fn opening(folder: &Path) -> anyhow::Result<Ceremony> {
    let path = folder.join(OPENING);
    let bytes = read_input(&path).with_context(|| {
        format!("{} holds no ceremony; `seawall group begin` opens one", folder.display())
    })?;
    Ceremony::open(&bytes).with_context(|| format!("cannot use {}", path.display()))
}

fn step(home: &CustodianHome, folder: &Path, yes: bool, printer: &Printer) -> anyhow::Result<()> {
    let ceremony = opening(folder)?;
    let wrong = || format!("{}: nothing was done", folder.display());
    let mut board = Board::read(&ceremony, &files(folder)?).with_context(wrong)?;
    if !ceremony::takes_part(home, &ceremony).with_context(wrong)? {
        printer.show(&record::opening_text(&ceremony));
        printer.show(
            "compare the ceremony's number with what was read out to you, and the fingerprint of every card with its owner, by voice: what you deal goes to whoever made these cards",
        );
        anyhow::ensure!(yes || confirm("Take part in this ceremony?")?, "nothing was done");
    }
    let mut unanswered = None;
    let progress =
        ceremony::take_step(home, &ceremony, &mut board, &mut asking(&mut unanswered), &mut OsRng);
    if let Some(e) = unanswered {
        return Err(e);
    }
    let progress = progress.with_context(wrong)?;
    for file in &progress.files {
        let path = folder.join(&file.name);
        // What lies there already is left alone: it was compared.
        if read_input(&path).ok().as_ref() != Some(&file.bytes) {
            write_output(&path, &file.bytes)?;
        }
    }
    let taken: Vec<_> = progress.taken.iter().map(|s| s.word()).collect();
    let mut words = if taken.is_empty() {
        "nothing to do for you now".to_owned()
    } else {
        format!("done: {}", taken.join(", "))
    };
    if let (Some(share), true) = (&progress.share, taken.contains(&"accept")) {
        words.push_str(&format!(
            "\nyour share lies in {}; put a copy of this home away",
            home.path().join(share).display()
        ));
    }
    match &progress.waiting {
        Some(waiting) => words.push_str(&format!("\n{waiting}: hand the folder on")),
        None => words.push_str(&format!(
            "\neveryone has accepted; now: seawall group finish {} --out group.json",
            folder.display()
        )),
    }
    let value = json!({
        "ceremony": ceremony.id().to_hex(),
        "taken": taken,
        "share": progress.share.map(|s| home.path().join(s)),
        "waiting": progress.waiting.as_ref().map(|w| json!({
            "step": w.step.word(), "names": w.names,
        })),
    });
    printer.result(&value, &words)
}

fn status(folder: &Path, printer: &Printer) -> anyhow::Result<()> {
    let ceremony = opening(folder)?;
    let board = Board::read(&ceremony, &files(folder)?)
        .with_context(|| format!("{} must not be used", folder.display()))?;
    let mut lines = vec![record::opening_text(&ceremony)];
    let mut steps = Vec::new();
    for step in CeremonyStep::ALL {
        let speakers = ceremony.opening.speakers(step);
        let (mut done, mut missing) = (Vec::new(), Vec::new());
        for index in speakers {
            let name = ceremony.opening.speaker(step, index).map_or("", |(name, _)| name);
            let to = if board.has(step, index) { &mut done } else { &mut missing };
            to.push(name.to_owned());
        }
        if done.is_empty() && missing.is_empty() {
            continue;
        }
        let rest = if missing.is_empty() {
            "complete".to_owned()
        } else {
            format!("missing: {}", missing.join(", "))
        };
        lines.push(format!("  {:<8} {rest}", step.word()));
        steps.push(json!({ "step": step.word(), "done": done, "missing": missing }));
    }
    let value = json!({
        "ceremony": ceremony.id().to_hex(),
        "fingerprint": ceremony.fingerprint(),
        "kind": ceremony.opening.kind,
        "steps": steps,
        "complete": board.waiting_for(&CeremonyStep::ALL).is_none(),
    });
    printer.result(&value, &lines.join("\n"))
}

fn finish(folder: &Path, out: &Path, printer: &Printer) -> anyhow::Result<()> {
    let ceremony = opening(folder)?;
    let wrong = || format!("{}: no group file was written", folder.display());
    let board = Board::read(&ceremony, &files(folder)?).with_context(wrong)?;
    let file = ceremony::finish(&ceremony, &board).with_context(wrong)?;
    let bytes = file.to_json();
    // What is handed on is checked as whoever receives it will.
    let (file, group) = check_group_file(&bytes).with_context(wrong)?;
    write_output(out, &bytes)?;
    let value = json!({
        "file": out,
        "group": group.id().to_hex(),
        "class": group.class(),
        "class_number": file.record().class_number,
        "threshold": group.threshold(),
        "share_epoch": file.record().share_epoch,
        "custodians": file.record().custodians.iter().map(|c| &c.name).collect::<Vec<_>>(),
    });
    let words = format!(
        "wrote {}, signed by everyone who took part\n{}\nnext: seawall init --group {} founds a fleet on it, seawall fleet policy propose --group {} puts it into one\nprint the record: seawall group record {}",
        out.display(),
        show_path(record::outcome(&file).as_bytes()),
        out.display(),
        out.display(),
        out.display(),
    );
    printer.result(&value, &words)
}
