//! `seawall report list | page | publish | verify`.

use std::path::PathBuf;

use anyhow::Context as _;
use comfy_table::{Table, presets};
use seawall_base::FleetId;
use seawall_node::{
    Home, duration, fetch_file, kept_reports, kind_word, publish, report_page, word,
};
use seawall_sync::{MAX_REPORT, Report, VerifiedReport};
use serde_json::{Value, json};

use super::drill::ago;
use crate::cli::ReportCommand;
use crate::output::{Outcome, Printer, Usage};

pub(crate) fn run(
    command: &ReportCommand,
    home: impl Fn() -> anyhow::Result<PathBuf>,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let open = || Ok::<_, anyhow::Error>(Home::open(&home()?)?);
    match command {
        ReportCommand::List => list(&open()?, printer),
        ReportCommand::Page { id, out } => {
            let reports = kept_reports(&open()?)?;
            let (_, report) = choose(&reports, id.as_deref())?;
            printer.document(out, report_page(report).as_bytes())?;
            Ok(Outcome::Done)
        }
        ReportCommand::Publish { to } => {
            let done = publish(&open()?, to).context("the reports were not published")?;
            let value = json!({ "dir": to, "new": done.new, "old": done.old });
            let words =
                format!("{} new reports in {}, {} old ones", done.new, to.display(), done.old);
            printer.result(&value, &words)?;
            Ok(Outcome::Done)
        }
        ReportCommand::Verify { reports, fleet } => verify(reports, fleet, printer),
    }
}

type Both = (Report, VerifiedReport);

fn choose<'a>(reports: &'a [Both], id: Option<&str>) -> anyhow::Result<&'a Both> {
    let Some(id) = id else {
        return reports.last().context("there is no report yet; run `seawall drill scrub`");
    };
    let mut found = reports.iter().filter(|(_, it)| it.digest.to_hex().starts_with(id));
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => anyhow::bail!("no report {id}; see `seawall report list`"),
        (Some(_), Some(_)) => anyhow::bail!("more than one report begins with {id}"),
    }
}

fn list(home: &Home, printer: &Printer) -> anyhow::Result<Outcome> {
    let reports = kept_reports(home)?;
    let value: Value = reports.iter().map(|(_, it)| describe(it)).collect();
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["ID", "ENDED", "DRILL", "RESULT", "RTO", "RPO", ""]);
    for (_, it) in &reports {
        let time = |millis: Option<u64>| millis.map_or_else(|| "-".to_owned(), duration);
        table.add_row([
            it.digest.to_hex()[..12].to_owned(),
            it.details.ended.to_string(),
            kind_word(it.details.kind).to_owned(),
            word(it.result.result).to_owned(),
            time(it.details.rto_millis),
            time(it.details.rpo_seconds.map(|s| s.saturating_mul(1_000))),
            if it.details.whole { String::new() } else { "a sample".to_owned() },
        ]);
    }
    let words = if reports.is_empty() { "no reports".to_owned() } else { table.to_string() };
    printer.result(&value, &words)?;
    Ok(Outcome::Done)
}

fn describe(it: &VerifiedReport) -> Value {
    json!({
        "id": it.digest.to_hex(),
        "kind": kind_word(it.details.kind),
        "result": word(it.result.result),
        "node": it.node.name,
        "began": it.details.began.to_string(),
        "ended": it.details.ended.to_string(),
        "whole": it.details.whole,
        "snapshot": it.drill.snapshot.as_ref().map(|s| s.manifest.to_hex()),
        "rto_millis": it.details.rto_millis,
        "rpo_seconds": it.details.rpo_seconds,
        "failed": it.result.failed_tests,
        "warned": it.result.warned_tests,
        "passed": it.result.passed_tests,
        "origin": it.drill.origin,
        "index": it.index,
        "log_size": it.log_size,
        "witnesses": it.witnesses,
    })
}

/// Checks reports with nothing but the fleet's id. One of several that is not genuine is named, and
/// the others are checked all the same.
fn verify(places: &[String], fleet: &str, printer: &Printer) -> anyhow::Result<Outcome> {
    let fleet = FleetId::from_hex(fleet.strip_prefix("fleet:").unwrap_or(fleet))
        .map_err(|e| Usage(format!("--fleet: {e}; it has 64 hexadecimal digits")))?;
    if let [place] = places {
        let (value, words, outcome) = verify_one(place, fleet)?;
        printer.result(&value, &words)?;
        return Ok(outcome);
    }
    let (mut values, mut all, mut worst) = (Vec::new(), Vec::new(), Outcome::Done);
    for place in places {
        let (mut value, words, outcome) = verify_one(place, fleet).unwrap_or_else(|e| {
            printer.warn(&format!("{place}: {e:#}"));
            let value = json!({ "id": null, "genuine": false, "why": format!("{e:#}") });
            (value, "not to be believed".to_owned(), Outcome::Found)
        });
        if outcome != Outcome::Done {
            worst = outcome;
        }
        value["place"] = json!(place);
        values.push(value);
        all.push(format!("{place}: {words}"));
    }
    printer.result(&Value::from(values), &all.join("\n\n"))?;
    Ok(worst)
}

/// What a report says, in JSON and in words. That it is genuine is what was asked; that its drill
/// failed is said, and is no success.
fn verify_one(place: &str, fleet: FleetId) -> anyhow::Result<(Value, String, Outcome)> {
    let bytes = fetch_file(place, MAX_REPORT)?;
    let it = Report::parse(&bytes)?.verify(fleet)?;
    let mut value = describe(&it);
    value["fleet"] = json!(fleet.to_hex());
    value["genuine"] = json!(true);
    value["policy"] = json!(it.fleet.version());
    let whose = it.drill.snapshot.as_ref().map_or_else(String::new, |s| {
        format!(" of snapshot {} (number {})", &s.manifest.to_hex()[..12], s.sequence)
    });
    let mut words = format!(
        "genuine: {node} of fleet {name} ({fingerprint}) says its {kind} drill{whose} {result}\n  ended {ended}, {ago}\n  entry {index} of {size} in log {origin}",
        node = it.node.name,
        name = it.fleet.genesis().fleet_name,
        fingerprint = it.fleet.id().fingerprint(),
        kind = kind_word(it.details.kind),
        result = word(it.result.result),
        ended = it.details.ended,
        ago = ago(it.details.ended),
        index = it.index,
        size = it.log_size,
        origin = it.drill.origin,
    );
    for check in &it.details.checks {
        let (verdict, name, said) = (word(check.verdict), &check.name, &check.said);
        words.push_str(&format!("\n  {verdict:<7} {name:<14} {said}"));
    }
    words.push_str(&format!("\njudged by version {} of the fleet's policy", it.fleet.version()));
    let witnesses = it.witnesses.join(", ");
    words.push_str(&match it.witnesses.len() {
        0 => "\nno witness of the fleet has cosigned the checkpoint".to_owned(),
        n => format!("\ncosigned by {n} of the fleet's witnesses: {witnesses}"),
    });
    let is_good = it.result.failed_tests.is_empty();
    Ok((value, words, if is_good { Outcome::Done } else { Outcome::Found }))
}
