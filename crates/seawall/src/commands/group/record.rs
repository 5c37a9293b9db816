//! A ceremony in words: before anyone takes part, and as a printed record afterwards.

use std::path::Path;

use anyhow::Context as _;
use seawall_custodian::ceremony::check_group_file;
use seawall_record::{Ceremony, CeremonyKind, EscrowGroupRecord, GroupFile};
use serde_json::json;

use crate::output::{Printer, read_input};

/// What a ceremony is for, in a line.
pub(super) fn about(ceremony: &Ceremony) -> String {
    let opening = &ceremony.opening;
    let (k, class) = (opening.threshold, &opening.class);
    let n = opening.participants.len();
    match opening.kind {
        CeremonyKind::New => format!("a new group of {n}, {k} needed, class {class}"),
        CeremonyKind::Refresh => format!("new shares for the {n} custodians of class {class}"),
        CeremonyKind::Repair => format!("a lost share of class {class} is given again"),
        CeremonyKind::Reshare => {
            format!("the group of class {class} goes to {n} custodians, {k} needed")
        }
    }
}

/// What whoever takes part has to know before.
pub(super) fn opening_text(ceremony: &Ceremony) -> String {
    let opening = &ceremony.opening;
    let mut out = format!(
        "ceremony    {}: {}\n  number    {}\n  reason    \"{}\"\n  opened    {}\n",
        opening.kind.word(),
        about(ceremony),
        ceremony.fingerprint(),
        opening.reason,
        opening.created,
    );
    match opening.fleet {
        Some(fleet) => out.push_str(&format!("  fleet     {}\n", fleet.to_hex())),
        None => out.push_str("  fleet     still to be founded\n"),
    }
    if let Some(previous) = &opening.previous {
        let names: Vec<_> = opening
            .dealers
            .iter()
            .filter_map(|i| previous.custodian(*i))
            .map(|c| c.name.as_str())
            .collect();
        out.push_str(&format!(
            "  group     {}, share epoch {}, {} of {}\n  dealers   {}\n",
            previous.id.to_hex(),
            previous.share_epoch,
            previous.threshold,
            previous.custodians.len(),
            names.join(", "),
        ));
    }
    for (participant, card) in opening.participants.iter().zip(&ceremony.cards) {
        let lost =
            if opening.repaired == Some(participant.index) { ", lost its share" } else { "" };
        let known = |p: &EscrowGroupRecord| {
            p.custodians.iter().any(|c| c.signing_key == participant.signing_key)
        };
        let new = match &opening.previous {
            Some(previous) if !known(previous) => ", new to the group",
            _ => "",
        };
        out.push_str(&format!(
            "  {:>4}      {}, card {}{new}{lost}\n",
            participant.index,
            participant.name,
            card.fingerprint(),
        ));
    }
    out.pop();
    out
}

/// What came out, in a line.
pub(super) fn outcome(file: &GroupFile) -> String {
    let record = file.record();
    format!(
        "group {} of class {}: any {} of {} custodians open a snapshot, share epoch {}",
        &record.id.to_hex()[..16],
        record.class,
        record.threshold,
        record.custodians.len(),
        record.share_epoch
    )
}

/// The record as plain text, 80 columns where names and keys allow it.
fn text(file: &GroupFile) -> String {
    let (ceremony, record) = (file.ceremony(), file.record());
    let mut out = format!(
        "SEAWALL CEREMONY RECORD\n\n{}\n\nWhat came out\n  {}\n  group id   {}\n  group key  {:?}\n  made       {}\n  result     {}\n\nCustodians\n",
        opening_text(ceremony),
        outcome(file),
        record.id.to_hex(),
        record.key,
        if record.ceremony == "distributed" {
            "between the custodians' machines: nobody ever had the whole secret"
        } else {
            "in one process, when the fleet was founded: that machine saw the secret"
        },
        file.digest().to_hex(),
    );
    for custodian in &record.custodians {
        out.push_str(&format!(
            "  {:>2}  {}\n      signing key {}\n      share       {:?}\n",
            custodian.index, custodian.name, custodian.signing_key, custodian.share
        ));
    }
    out.push_str(STEPS);
    out
}

const STEPS: &str = "
All who took part have signed this result, and it was computed again from what
they published before this page was printed. It holds no secret.

Each compares the ceremony's number and the group id with the others' pages
and signs here:


_______________________  _______________________  _______________________

What is left to do
  1. the fleet's root keys: seawall fleet policy propose --group FILE
     (or, for a fleet that is still to be founded: seawall init --group FILE)
  2. each custodian: seawall custodian join FLEET-CARD
  3. keep a copy of each custodian's home apart from the others
";

fn html(file: &GroupFile) -> String {
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n<title>Seawall ceremony record: {}</title>\n<style>\n@page {{ size: A4; margin: 20mm }}\nbody {{ font: 10pt/1.5 monospace; max-width: 60em; margin: auto }}\npre {{ white-space: pre-wrap; overflow-wrap: anywhere }}\n</style>\n<pre>{}</pre>\n</html>\n",
        escape(&file.record().class),
        escape(&text(file))
    )
}

pub(super) fn run(
    group: &Path,
    as_html: bool,
    out: &Path,
    printer: &Printer,
) -> anyhow::Result<()> {
    let (file, _) = check_group_file(&read_input(group)?)
        .with_context(|| format!("cannot use {}", group.display()))?;
    let page = if as_html { html(&file) } else { text(&file) };
    if printer.is_json() && out.as_os_str() == "-" {
        let value = json!({
            "ceremony": file.ceremony().id().to_hex(),
            "group": file.record().id.to_hex(),
            "record": page,
        });
        return printer.result(&value, "");
    }
    printer.document(out, page.as_bytes())
}
