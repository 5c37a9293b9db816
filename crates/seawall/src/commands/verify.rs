//! `seawall verify`: check everything held here, without any key.

use std::path::Path;

use seawall_node::Home;
use seawall_sync::AuditReport;
use serde_json::json;

use crate::cli::VerifyArgs;
use crate::output::{Outcome, Printer, human};

pub(crate) fn run(_: &VerifyArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let bar = printer.bytes_bar("verifying", None);
    let report = if home.join("region.json").is_file() {
        seawall_region::verify(home, &mut |p| bar.set_position(p.bytes))?
    } else {
        seawall_node::verify(&Home::open(home)?, &mut |p| bar.set_position(p.bytes))?
    };
    bar.finish_and_clear();
    for finding in &report.findings {
        printer.warn(&format!("{} ({}); {}", finding.what, finding.place, finding.remedy));
    }
    if report.more_findings > 0 {
        printer.warn(&format!("and {} more findings", report.more_findings));
    }
    printer.result(&describe(&report), &in_words(&report))?;
    Ok(if report.is_clean() { Outcome::Done } else { Outcome::Found })
}

fn describe(report: &AuditReport) -> serde_json::Value {
    json!({
        "ok": report.is_clean(),
        "objects": report.objects,
        "bytes": report.bytes,
        "zones": report.zones,
        "logs": report.logs,
        "entries": report.entries,
        "snapshots": report.snapshots,
        "cosignatures": report.cosignatures,
        "receipts": report.receipts,
        "findings": report.findings.iter().map(|f| json!({
            "what": f.what, "place": f.place, "remedy": f.remedy,
        })).collect::<Vec<_>>(),
        "more_findings": report.more_findings,
    })
}

fn in_words(report: &AuditReport) -> String {
    format!(
        "{}: {} objects ({}), {} logs with {} entries, {} snapshots, {} cosignatures, {} receipts",
        if report.is_clean() { "everything holds" } else { "DAMAGED" },
        report.objects,
        human(report.bytes),
        report.logs,
        report.entries,
        report.snapshots,
        report.cosignatures,
        report.receipts,
    )
}
