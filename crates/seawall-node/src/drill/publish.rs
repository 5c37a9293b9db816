//! Reports as a static site for anybody to read and check.
//!
//! ```text
//! index.html, index.json        every report, newest first
//! reports/<name>.json           a report: complete, checked with `seawall report verify`
//! reports/<name>.html           the same for people
//! reports/<name>.proof          its log entry's proof (C2SP tlog-proof)
//! incidents/<month>.html        the drills of a month that failed; only of such months
//! ```
//!
//! A report that was published is never written again, and one that has changed since stops
//! everything before a byte is written: whoever can write to the site must not be able to have a
//! failure replaced by a later run. That goes for its page and its proof, too: people read the page.
//! Both are what this program makes of the report; where they are missing they are made again, which
//! is how a later program's pages come in. What is on the site and no longer in the home stays
//! listed, if it still holds. Only index and incidents are made anew.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use seawall_base::FleetId;
use seawall_record::{Fleet, Verdict};
use seawall_sync::{MAX_REPORT, Report, VerifiedReport};
use seawall_tlog::SignedCheckpoint;
use serde_json::json;

use super::page::{duration, escape, kind_word, page, report_page, word};
use super::record::{kept_reports, name_of};
use crate::fetch::fetch_file;
use crate::home::{Home, HomeError};
use crate::restore::{certificate, checkpoint_signer};
use crate::witnesses::{Witnessed, home_roster};

fn io(path: &Path) -> impl FnOnce(io::Error) -> HomeError + use<> {
    HomeError::io(&path.display().to_string())
}

/// What publishing did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Published {
    /// Reports that were not there before.
    pub new: usize,
    /// Reports that were.
    pub old: usize,
}

/// A report under its name.
type Named = BTreeMap<String, (Report, VerifiedReport)>;

/// Writes the site of all reports of a home into `dir`.
pub fn publish(home: &Home, dir: &Path) -> Result<Published, HomeError> {
    let fleet = home.fleet()?;
    let reports = dir.join("reports");
    let incidents = dir.join("incidents");
    for path in [dir, &reports, &incidents] {
        fs::create_dir_all(path).map_err(io(path))?;
    }
    let mut all: Named = there(&reports, &fleet)?;
    let mut done = Published { new: 0, old: all.len() };
    let mut missing = Vec::new();
    for (name, it) in &all {
        missing.extend(missing_beside(&reports.join(name), it)?);
    }
    let mut fresh = Vec::new();
    for (report, verified) in kept_reports(home)? {
        let name = name_of(&verified);
        match all.get(&name) {
            Some((known, _)) if is_same(known, &report) => {}
            Some(_) => return Err(changed(&reports.join(&name), "it is not the one kept here")),
            None => {
                fresh.push(name.clone());
                all.insert(name, vouched_for(home, &fleet, report, verified)?);
            }
        }
    }
    done.new = fresh.len();
    for name in &fresh {
        let path = reports.join(name);
        // The report last: one that is there has its page and its proof.
        missing.extend(beside(&path, &all[name]));
        missing.push((path, all[name].0.to_json()));
    }
    for (path, bytes) in missing {
        write(&path, &bytes).map_err(io(&path))?;
    }
    for (month, body) in months(&all) {
        let path = incidents.join(format!("{month}.html"));
        write(&path, body.as_bytes()).map_err(io(&path))?;
    }
    for (path, bytes) in
        [("index.json", index_json(fleet.id(), &all)), ("index.html", index(fleet.id(), &all))]
    {
        let path = dir.join(path);
        write(&path, bytes.as_bytes()).map_err(io(&path))?;
    }
    Ok(done)
}

/// What lies beside a report: its page and its proof.
fn beside(path: &Path, (report, verified): &(Report, VerifiedReport)) -> [(PathBuf, Vec<u8>); 2] {
    [
        (path.with_extension("html"), report_page(verified).into_bytes()),
        (path.with_extension("proof"), proof_of(report).into_bytes()),
    ]
}

/// What is not there beside a report that was published; an error if something else is.
fn missing_beside(
    path: &Path,
    published: &(Report, VerifiedReport),
) -> Result<Vec<(PathBuf, Vec<u8>)>, HomeError> {
    let mut missing = Vec::new();
    for (path, bytes) in beside(path, published) {
        // One byte more than it has would be another file.
        let most = bytes.len() as u64 + 1;
        let mut there = Vec::new();
        match fs::File::open(&path).and_then(|file| file.take(most).read_to_end(&mut there)) {
            Ok(_) if there == bytes => {}
            Ok(_) => {
                let why = "it is not what its report says; removed, it is made again from that";
                return Err(changed(&path, why));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => missing.push((path, bytes)),
            Err(e) => return Err(io(&path)(e)),
        }
    }
    Ok(missing)
}

/// Whether two reports tell of one drill; each may prove its place by another checkpoint.
fn is_same(a: &Report, b: &Report) -> bool {
    let tells = |it: &Report| (it.statement.to_json(), it.entry.to_json(), it.index);
    tells(a) == tells(b) && a.details == b.details
}

/// The report with the checkpoint over it that most of the fleet's witnesses have cosigned by now.
/// The drill itself ended before anybody could.
fn vouched_for(
    home: &Home,
    fleet: &Fleet,
    report: Report,
    verified: VerifiedReport,
) -> Result<(Report, VerifiedReport), HomeError> {
    let log = home.log(fleet)?;
    if log.origin().as_str() != verified.drill.origin {
        return Ok((report, verified));
    }
    let (roster, all) = (home_roster(home, fleet)?, Witnessed::open(home, log.origin())?);
    let voices = |it: &SignedCheckpoint| {
        seawall_custodian::reached(fleet, &roster, std::iter::once(it)).operators.len()
    };
    // Of equals the smallest: the first that covers it.
    let covering = all.covering(report.index).enumerate();
    let best = covering.max_by_key(|(n, it)| (voices(it), std::cmp::Reverse(*n)));
    let Some((_, best)) = best else { return Ok((report, verified)) };
    let state = home.log_state(fleet, &log)?;
    let mut better = report.clone();
    better.inclusion = log.inclusion(report.index, best.checkpoint().size)?;
    better.checkpoint = String::from_utf8_lossy(&best.to_bytes()).into_owned();
    better.subkeys[1] = certificate(&state, checkpoint_signer(&state, best)?)?;
    let again = better.verify(fleet.id()).map_err(|e| HomeError::refused(e.to_string()))?;
    Ok(if again.witnesses.len() > verified.witnesses.len() {
        (better, again)
    } else {
        (report, verified)
    })
}

fn changed(path: &Path, why: &str) -> HomeError {
    HomeError::refused(format!(
        "{} was changed after it was published ({why}); nothing was written: find out who did that, and move it away",
        path.display()
    ))
}

/// What was published before, each checked again and under its own name.
fn there(reports: &Path, fleet: &Fleet) -> Result<Named, HomeError> {
    let io = |e| HomeError::io(&reports.display().to_string())(e);
    let mut out = Named::new();
    for entry in fs::read_dir(reports).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.extension().is_none_or(|e| e != "json") {
            continue;
        }
        let bytes = fetch_file(&path.display().to_string(), MAX_REPORT)
            .map_err(|e| HomeError::refused(e.to_string()))?;
        let report = Report::parse(&bytes).map_err(|e| changed(&path, &e.to_string()))?;
        let verified = report.verify(fleet.id()).map_err(|e| changed(&path, &e.to_string()))?;
        let (node, epoch) = (verified.node.node(), verified.node.epoch);
        // It carries the policies of its time; this home knows those since.
        if fleet.believed_entries(node, epoch).is_some_and(|n| report.index >= n) {
            return Err(changed(&path, "its node was revoked before it wrote this"));
        }
        let name = name_of(&verified);
        if path.file_name().is_none_or(|n| n != name.as_str()) || report.to_json() != bytes {
            return Err(changed(&path, "its name or its spelling is another"));
        }
        out.insert(name, (report, verified));
    }
    Ok(out)
}

/// C2SP tlog-proof of a report's log entry.
fn proof_of(report: &Report) -> String {
    use base64::Engine as _;
    let mut out = format!("c2sp.org/tlog-proof@v1\nindex {}\n", report.index);
    for hash in &report.inclusion {
        out.push_str(&base64::engine::general_purpose::STANDARD.encode(hash.0));
        out.push('\n');
    }
    out + "\n" + &report.checkpoint
}

/// Replaces a file that anybody may read, whole or not at all.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("tmp");
    match fs::remove_file(&temporary) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(0o644).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)
}

fn index_json(fleet: FleetId, all: &Named) -> String {
    let one = |(name, (_, it)): (&String, &(Report, VerifiedReport))| {
        json!({
            "report": format!("reports/{name}"),
            "kind": kind_word(it.details.kind),
            "result": word(it.result.result),
            "node": it.node.name,
            "began": it.details.began,
            "ended": it.details.ended,
            "whole": it.details.whole,
            "rto_millis": it.details.rto_millis,
            "rpo_seconds": it.details.rpo_seconds,
        })
    };
    let value = json!({
        "format": "seawall-reports/1",
        "fleet": fleet.to_hex(),
        "reports": all.iter().rev().map(one).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&value).expect("plain values serialise") + "\n"
}

fn rows<'a>(reports: impl Iterator<Item = (&'a String, &'a VerifiedReport)>, up: &str) -> String {
    let mut out = String::from(
        "<table>\n<tr><th>Ended</th><th>Drill</th><th>Result</th><th>Node</th><th>RTO</th><th>RPO</th></tr>\n",
    );
    for (name, it) in reports {
        let stem = name.strip_suffix(".json").unwrap_or(name);
        let result = word(it.result.result);
        let time = |millis: Option<u64>| millis.map_or_else(|| "-".to_owned(), duration);
        out.push_str(&format!(
            "<tr><td><a href=\"{up}reports/{stem}.html\">{}</a></td><td>{}</td><td class=\"{result}\">{result}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            it.details.ended,
            kind_word(it.details.kind),
            escape(&it.node.name),
            time(it.details.rto_millis),
            time(it.details.rpo_seconds.map(|s| s.saturating_mul(1_000))),
        ));
    }
    out + "</table>\n"
}

fn index(fleet: FleetId, all: &Named) -> String {
    let reports = all.iter().rev().map(|(name, (_, it))| (name, it));
    let body = format!(
        "<h1>Restore drills</h1>\n<p>Every drill of this fleet that was published, good or bad. Each has a page, and beside it a file that proves it: <code>seawall report verify URL --fleet {}</code>.</p>\n{}",
        fleet.to_hex(),
        rows(reports, "")
    );
    page("Restore drills", &body)
}

/// A page for each month in which a drill failed.
fn months(all: &Named) -> BTreeMap<String, String> {
    let month = |it: &VerifiedReport| it.details.ended.to_string()[..7].to_owned();
    let failed = all.values().filter(|(_, it)| it.result.result == Verdict::Failed);
    let mut out: BTreeMap<String, String> =
        failed.map(|(_, it)| (month(it), String::new())).collect();
    for (name, body) in &mut out {
        let of_it = || all.iter().filter(|(_, (_, it))| month(it) == *name);
        let bad = || of_it().filter(|(_, (_, it))| it.result.result == Verdict::Failed);
        let mut text = format!(
            "<h1>Failed drills, {name}</h1>\n<p>{} of {} drills failed.</p>\n",
            bad().count(),
            of_it().count()
        );
        text.push_str(&rows(bad().map(|(name, (_, it))| (name, it)), "../"));
        for (_, (_, it)) in bad() {
            text.push_str(&format!("<h2>{}</h2>\n<ul>\n", it.details.ended));
            let wrong = it.details.checks.iter().filter(|c| c.verdict == Verdict::Failed);
            for check in wrong {
                let line = format!("{}: {}", check.name, check.said);
                text.push_str(&format!("<li>{}</li>\n", escape(&line)));
            }
            text.push_str("</ul>\n");
        }
        *body = page(&format!("Failed drills, {name}"), &text);
    }
    out
}
