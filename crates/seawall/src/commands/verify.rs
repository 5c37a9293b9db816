//! `seawall verify`: check everything held here, without any key.

use std::path::Path;

use seawall_node::{Bucket, Home};
use seawall_sync::AuditReport;
use serde_json::json;

use crate::cli::VerifyArgs;
use crate::output::{Outcome, Printer, Usage, human};

pub(crate) fn run(args: &VerifyArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let bar = printer.bytes_bar("verifying", None);
    let mut report = if home.join("region.json").is_file() {
        seawall_region::verify(home, &mut |p| bar.set_position(p.bytes))?
    } else {
        seawall_node::verify(&Home::open(home)?, &mut |p| bar.set_position(p.bytes))?
    };
    if args.bucket {
        let url = Home::open(home)?.bucket().map(str::to_owned);
        let url = url.ok_or_else(|| Usage("this home has no bucket".to_owned()))?;
        let (objects, bytes, findings) =
            Bucket::open(&url)?.verify(&mut |bytes| bar.set_position(bytes))?;
        report.objects += objects;
        report.bytes += bytes;
        report.findings.extend(findings);
    }
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
