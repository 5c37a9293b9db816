//! Putting a drill on record: signed, logged, kept.

use seawall_base::{Clock, Disk as _, Rng, write_atomic};
use seawall_record::{Drill, TestResult};
use seawall_sync::{Details, Report, ReportError, VerifiedReport};

use crate::home::{Home, HomeError, append};
use crate::restore::{certificate, checkpoint_signer};

const DIR: &str = "drills";
/// Longest words of a check, in bytes.
const MAX_SAID: usize = 300;

/// A drill that is on record.
#[derive(Debug)]
pub struct Drilled {
    /// The report, read back and checked as an outsider would.
    pub verified: VerifiedReport,
    /// The report's file in the home.
    pub path: std::path::PathBuf,
    /// What was found, with paths and words: not for publishing.
    pub findings: Vec<String>,
}

/// Signs the details, logs the drill, keeps the report.
pub(super) fn put_on_record(
    home: &Home,
    mut details: Details,
    findings: Vec<String>,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<Drilled, HomeError> {
    details.checks.iter_mut().for_each(|check| shorten(&mut check.said));
    let lock = home.lock()?;
    let fleet = home.fleet()?;
    let mut log = home.log_for_writing(&fleet, &lock)?;
    let mut state = home.log_state(&fleet, &log)?;
    let subkey = home.subkey(&fleet, &mut log, &mut state, clock, rng)?;
    details.ended = clock.now().max(details.began);
    details.entry = Some(log.size());
    let json = details
        .to_json()
        .map_err(|e| HomeError::refused(format!("the drill's details do not fit a report: {e}")))?;
    let pinned = seawall_base::Sha256::of(json.as_bytes());
    let result = TestResult::of(&details.verdicts(), pinned);
    let verdict = result.result;
    let manifest = details.snapshot.as_ref().map(|s| s.place.manifest);
    let statement = result.statement(manifest, details.node).sign(&[&subkey])?;
    let drill = Drill {
        fleet: fleet.id(),
        node: details.node,
        origin: log.origin().as_str().to_owned(),
        kind: details.kind,
        snapshot: details.snapshot.as_ref().map(|s| s.place.clone()),
        result: verdict,
        whole: details.whole,
        request: details.request,
        approvals: details.approval_digests(),
        report: statement.digest(),
        began: details.began,
        created: details.ended,
    };
    let entry = drill.statement().sign(&[&subkey])?;
    let index = append(&mut log, &mut state, &entry)?;
    let signed = log.sign_checkpoint(&subkey)?.clone();
    let (_, enrolment) = home.enrolment(&fleet)?;
    let report = Report {
        statement,
        details: json,
        entry,
        index,
        inclusion: log.inclusion(index, signed.checkpoint().size)?,
        checkpoint: String::from_utf8_lossy(&signed.to_bytes()).into_owned(),
        genesis: fleet.envelope().clone(),
        policies: fleet.policies().to_vec(),
        enrolment,
        subkeys: [
            certificate(&state, subkey.public())?,
            certificate(&state, checkpoint_signer(&state, &signed)?)?,
        ],
    };
    keep(home, &report, findings)
}

/// Keeps a report under the time of its drill and the beginning of its digest.
fn keep(home: &Home, report: &Report, findings: Vec<String>) -> Result<Drilled, HomeError> {
    let json = report.to_json();
    let fleet = home.fleet()?.id();
    let verified = Report::parse(&json)
        .and_then(|it| it.verify(fleet))
        .map_err(|e| HomeError::refused(e.to_string()))?;
    let path = format!("{DIR}/{}", name_of(&verified));
    let disk = home.disk();
    disk.create_dir_all(DIR).map_err(HomeError::io(DIR))?;
    write_atomic(disk.as_ref(), &path, &json).map_err(HomeError::io(&path))?;
    Ok(Drilled { verified, path: home.path().join(path), findings })
}

/// The file name of a report: sorted by time, different for different reports.
pub(crate) fn name_of(report: &VerifiedReport) -> String {
    let time: String =
        report.drill.created.to_string().chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{time}-{}.json", &report.digest.to_hex()[..16])
}

/// The reports kept in a home, oldest first, each checked again.
pub fn kept_reports(home: &Home) -> Result<Vec<(Report, VerifiedReport)>, HomeError> {
    let disk = home.disk();
    let fleet = home.fleet()?.id();
    let mut out = Vec::new();
    for name in disk.list(DIR).map_err(HomeError::io(DIR))? {
        if !name.ends_with(".json") {
            continue;
        }
        let path = format!("{DIR}/{name}");
        let bytes = home.read(&path)?.ok_or_else(|| HomeError::Missing(path.clone()))?;
        let damaged = |e: ReportError| HomeError::damaged(&path, e.to_string());
        let report = Report::parse(&bytes).map_err(damaged)?;
        let verified = report.verify(fleet).map_err(damaged)?;
        out.push((report, verified));
    }
    // By their place in the log: two may have ended within one second.
    out.sort_by_key(|(_, it)| it.index);
    Ok(out)
}

fn shorten(said: &mut String) {
    let plain: String = said.chars().filter(|c| !c.is_control()).collect();
    let end = plain.floor_char_boundary(MAX_SAID);
    *said = plain;
    said.truncate(end);
    if said.is_empty() {
        said.push('-');
    }
}
