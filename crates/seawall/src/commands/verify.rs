//! `seawall verify`: check everything held here, without any key; mend it from other tiers.

use std::path::Path;
use std::str::FromStr;

use seawall_base::Rng as _;
use seawall_host::OsRng;
use seawall_node::{Bucket, Home, ReadData, Repaired, Verified, VerifyOptions, log_reached};
use seawall_store::{Scrub, Subset};
use seawall_sync::AuditReport;
use serde_json::json;

use crate::cli::VerifyArgs;
use crate::output::{Outcome, Printer, Usage, human};

/// What `--read-data-subset` asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadSubset {
    /// Part n of m.
    Part { part: u32, of: u32 },
    /// A share at random.
    Millionths(u32),
    /// About so much, at random.
    Bytes(u64),
}

impl FromStr for ReadSubset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || {
            format!("{text:?} is no subset; write a share (5%), a part (1/7) or a size (500MiB)")
        };
        if let Some(percent) = text.strip_suffix('%') {
            let millionths = millionths(percent).filter(|n| (1..=1_000_000).contains(n));
            return millionths.map(Self::Millionths).ok_or_else(refused);
        }
        if let Some((part, of)) = text.split_once('/') {
            let (part, of) = (part.parse().ok(), of.parse().ok());
            return match (part, of) {
                (Some(part), Some(of)) if part >= 1 && part <= of => Ok(Self::Part { part, of }),
                _ => Err(refused()),
            };
        }
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.trim_end_matches("iB") {
            "" => 0,
            "K" | "k" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            _ => return Err(refused()),
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        number.checked_mul(1 << shift).filter(|n| *n > 0).map(Self::Bytes).ok_or_else(refused)
    }
}

/// A percentage with at most four decimals, in millionths of the whole.
fn millionths(percent: &str) -> Option<u32> {
    let (whole, decimals) = percent.split_once('.').unwrap_or((percent, ""));
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || decimals.len() > 4 || !digits(whole) || !digits(decimals) {
        return None;
    }
    format!("{whole}{decimals:0<4}").parse().ok()
}

pub(crate) fn run(args: &VerifyArgs, home: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let (mut report, repaired) = if home.join("region.json").is_file() {
        (verify_region(args, home, printer)?, Repaired::default())
    } else {
        let Verified { report, repaired } = verify_node(args, home, printer)?;
        (report, repaired)
    };
    if args.bucket {
        let bucket = Bucket::of(&Home::open(home)?)?;
        let bucket = bucket.ok_or_else(|| Usage("this home has no bucket".to_owned()))?;
        let bar = printer.bytes_bar("verifying", None);
        let (objects, bytes, findings) = bucket.verify(&mut |bytes| bar.set_position(bytes))?;
        bar.finish_and_clear();
        report.objects += objects;
        report.bytes += bytes;
        report.findings.extend(findings);
    }
    for (tier, why) in &repaired.unreached {
        printer.warn(&format!("{tier}: {why}"));
    }
    for finding in &report.findings {
        printer.warn(&format!("{} ({}); {}", finding.what, finding.place, finding.remedy));
    }
    if report.more_findings > 0 {
        printer.warn(&format!("and {} more findings", report.more_findings));
    }
    let (mut value, mut words) = (describe(&report, &repaired), in_words(&report, &repaired));
    if !home.join("region.json").is_file() {
        let reached = log_reached(&Home::open(home)?)?;
        value["witnessed"] = super::snapshot::witnessed(&reached);
        words.push_str(&format!("\nthis node's log is witnessed at {reached}"));
    }
    printer.result(&value, &words)?;
    Ok(if report.is_clean() { Outcome::Done } else { Outcome::Found })
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn verify_node(args: &VerifyArgs, home: &Path, printer: &Printer) -> anyhow::Result<Verified> {
    let seed = u64::from_le_bytes(OsRng.array());
    let read = match args.read_data_subset {
        None => ReadData::Subset(Subset::All),
        Some(ReadSubset::Part { part, of }) => ReadData::Subset(Subset::Part { part, of }),
        Some(ReadSubset::Millionths(millionths)) => {
            ReadData::Subset(Subset::Share { millionths, seed })
        }
        Some(ReadSubset::Bytes(bytes)) => ReadData::Bytes { bytes, seed },
    };
    let options = VerifyOptions { workers: workers(), read, repair: args.repair };
    let bar = printer.bytes_bar("verifying", Some(0));
    let verified = seawall_node::verify(&Home::open(home)?, &options, &mut |p, total| {
        bar.set_length(total.max(p.bytes));
        bar.set_position(p.bytes);
    })?;
    bar.finish_and_clear();
    Ok(verified)
}

fn verify_region(args: &VerifyArgs, home: &Path, printer: &Printer) -> anyhow::Result<AuditReport> {
    if args.repair {
        let why = "a region is mended by its nodes: run `seawall sync` there, and a node with \
                   `seawall verify --repair`";
        return Err(Usage(why.to_owned()).into());
    }
    let subset = match args.read_data_subset {
        None => Subset::All,
        Some(ReadSubset::Part { part, of }) => Subset::Part { part, of },
        Some(ReadSubset::Millionths(millionths)) => {
            Subset::Share { millionths, seed: u64::from_le_bytes(OsRng.array()) }
        }
        Some(ReadSubset::Bytes(_)) => {
            return Err(Usage("of a region, read a share (5%) or a part (1/7)".to_owned()).into());
        }
    };
    let bar = printer.bytes_bar("verifying", None);
    let scrub = Scrub { workers: workers(), subset };
    let report = seawall_region::verify(home, &scrub, &mut |p| bar.set_position(p.bytes))?;
    bar.finish_and_clear();
    Ok(report)
}

fn describe(report: &AuditReport, repaired: &Repaired) -> serde_json::Value {
    json!({
        "ok": report.is_clean(),
        "objects": report.objects,
        "skipped": report.skipped,
        "bytes": report.bytes,
        "zones": report.zones,
        "logs": report.logs,
        "entries": report.entries,
        "snapshots": report.snapshots,
        "cosignatures": report.cosignatures,
        "receipts": report.receipts,
        "repaired": repaired.from.iter().map(|(tier, (objects, bytes))| json!({
            "from": tier, "objects": objects, "bytes": bytes,
        })).collect::<Vec<_>>(),
        "findings": report.findings.iter().map(|f| json!({
            "what": f.what, "place": f.place, "remedy": f.remedy,
        })).collect::<Vec<_>>(),
        "more_findings": report.more_findings,
    })
}

fn in_words(report: &AuditReport, repaired: &Repaired) -> String {
    let mut words = format!(
        "{}: {} objects ({}), {} logs with {} entries, {} snapshots, {} cosignatures, {} receipts",
        if report.is_clean() { "everything holds" } else { "DAMAGED" },
        report.objects,
        human(report.bytes),
        report.logs,
        report.entries,
        report.snapshots,
        report.cosignatures,
        report.receipts,
    );
    if report.skipped > 0 {
        words.push_str(&format!("\n{} objects were not read: not in the subset", report.skipped));
    }
    for (tier, (objects, bytes)) in &repaired.from {
        words.push_str(&format!("\nrepaired from {tier}: {objects} objects ({})", human(*bytes)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_spelled_as_in_restic() {
        for (text, subset) in [
            ("5%", ReadSubset::Millionths(50_000)),
            ("2.5%", ReadSubset::Millionths(25_000)),
            ("100%", ReadSubset::Millionths(1_000_000)),
            ("1/7", ReadSubset::Part { part: 1, of: 7 }),
            ("7/7", ReadSubset::Part { part: 7, of: 7 }),
            ("500MiB", ReadSubset::Bytes(500 << 20)),
            ("2G", ReadSubset::Bytes(2 << 30)),
            ("42", ReadSubset::Bytes(42)),
        ] {
            assert_eq!(text.parse(), Ok(subset), "{text}");
        }
        for text in [
            "", "%", "0%", "101%", "-1%", "NaN%", "1.00001%", ".5%", "0/3", "4/3", "1/", "/", "5X",
            "M", "1e3",
        ] {
            let refused = text.parse::<ReadSubset>().expect_err(text);
            assert!(refused.contains("5%"), "{refused}");
        }
        assert!("99999999999T".parse::<ReadSubset>().is_err(), "too large");
    }
}
