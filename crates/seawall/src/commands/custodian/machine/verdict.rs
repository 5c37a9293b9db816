//! `seawall custodian approve | refuse`: a person's word, and what became of it.
//!
//! The word is a file that the machine takes into its log. The command says more than that it was
//! written: whoever says no and is told nothing else believes that it counts. So it looks first at
//! how the request stands and whose key this is, and then waits until the machine shows the word in
//! its list. What the machine's list says is its own view; the machine decides, not this check.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use seawall_base::{Clock as _, Disk as _, Sha256, write_atomic};
use seawall_custodian::message::Standing;
use seawall_custodian::{CaseList, CustodianHome, ListedCase, VERDICTS};
use seawall_host::SystemClock;
use seawall_record::PersonVerdict;
use seawall_sign::SigningKey;
use seawall_sign::key_file::{self, Purpose};
use serde_json::json;

use super::{as_owner, cases, place, rules_of, taken};
use crate::output::{Outcome, Printer};

/// How long the machine may take: it looks twice in a second, and may be at an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whose keys count, by key.
type Names = BTreeMap<String, String>;

/// What somebody may still say something about.
pub(super) fn check_open(case: Option<&ListedCase>) -> anyhow::Result<()> {
    let Some(case) = case else { return Ok(()) };
    let at = case.settled.map_or_else(String::new, |at| format!(" at {at}"));
    match case.state {
        Standing::Pending => Ok(()),
        Standing::Answered => anyhow::bail!("too late: it was answered{at}; nothing was written"),
        Standing::Refused => {
            anyhow::bail!("too late: it was refused{at} ({}); nothing was written", case.decision)
        }
    }
}

/// Puts a verdict where the machine finds it, and says what became of it.
pub(super) fn say(
    home: &CustodianHome,
    request: Sha256,
    (key, list): (&Path, Option<&CaseList>),
    refused: Option<&str>,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    as_owner(home)?;
    let (disk, name) = place(key)?;
    let key = key_file::signing(&disk, &name, Purpose::Approver)?;
    let runs = taken(home)?.is_none();
    let rules = match rules_of(home, None) {
        // A no must always be possible.
        Err(e) if refused.is_some() => {
            printer.warn(&format!("whose key this is cannot be seen: {e:#}"));
            None
        }
        rules => Some(rules?).filter(|rules| !rules.is_none()),
    };
    let listed = list.and_then(|list| list.approvers.as_ref());
    let file = rules.map(|rules| rules.names());
    let approver = approver(listed, file.as_ref(), &key, runs)?;
    let verdict = PersonVerdict {
        request,
        confirmed: refused.is_none(),
        why: refused.unwrap_or("").to_owned(),
        created: SystemClock.now(),
    };
    let envelope = verdict.statement().sign(&[&key])?;
    PersonVerdict::open(&envelope, &[key.public()])?;
    let disk = home.disk();
    disk.create_dir_all(VERDICTS).context(VERDICTS)?;
    let by = &key.public().node_id().to_hex()[..16];
    let file = format!("{}-{by}.json", request.to_hex());
    let path = format!("{VERDICTS}/{file}");
    write_atomic(disk.as_ref(), &path, &envelope.to_json()).context(path)?;
    let what = if refused.is_none() { "confirmed" } else { "refused" };
    let came = if runs { wait(home, request, &file, refused.is_none(), &approver)? } else { None };
    let value = json!({
        "request": request.to_hex(), "verdict": what, "taken": came.is_some(), "runs": runs,
    });
    if let Some(words) = came {
        printer.result(&value, &format!("{what}: {words}"))?;
        return Ok(Outcome::Done);
    }
    let words = if runs {
        "written, and the machine has not taken it: see the machine's own log"
    } else {
        "written; the machine does not run: it counts when the machine runs, if the request is still open then"
    };
    printer.result(&value, &format!("{what}: {words}"))?;
    Ok(Outcome::Partly)
}

/// Whose key this is, by the policy that the machine goes by; empty where no policy can be seen.
fn approver(
    listed: Option<&Names>,
    file: Option<&Names>,
    key: &SigningKey,
    runs: bool,
) -> anyhow::Result<String> {
    let key = key.public().to_string();
    let of = |names: Option<&Names>| names.and_then(|names| names.get(&key).cloned());
    match (of(listed), of(file)) {
        (Some(name), _) => Ok(name),
        (None, Some(name)) if !runs || listed.is_none() => Ok(name),
        (None, Some(name)) => anyhow::bail!(
            "the running machine has not read the policy that names {name}: tell it to (kill -HUP, systemctl reload), then say this again; nothing was written"
        ),
        (None, None) if listed.is_none() && file.is_none() => Ok(String::new()),
        (None, None) => anyhow::bail!(
            "this key is no approver's of the policy ({key}): its word counts for nothing; nothing was written"
        ),
    }
}

/// Looks again and again until there is something to see, or the machine has had its time.
pub(super) fn patiently<T>(
    mut look: impl FnMut(bool) -> anyhow::Result<Option<T>>,
) -> anyhow::Result<Option<T>> {
    let begun = Instant::now();
    loop {
        let late = begun.elapsed() >= PATIENCE;
        let seen = look(late)?;
        if seen.is_some() || late {
            return Ok(seen);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Waits until the machine has taken a verdict, and says how the request stands then; `None` if it
/// does not take it.
fn wait(
    home: &CustodianHome,
    request: Sha256,
    file: &str,
    yes: bool,
    approver: &str,
) -> anyhow::Result<Option<String>> {
    patiently(|late| {
        if home.disk().list(VERDICTS).context(VERDICTS)?.iter().any(|it| it == file) {
            return Ok(None);
        }
        let list = match cases(home) {
            Ok(list) => list,
            // The machine writes it anew.
            Err(_) if !late => return Ok(None),
            Err(e) => {
                return Err(
                    e.context("the machine has taken it; what became of it is not to be seen")
                );
            }
        };
        let case = list.iter().flat_map(|list| &list.cases).find(|case| case.request == request);
        if let Some(case) = case {
            return became(case, yes, approver, late);
        }
        anyhow::ensure!(
            !late || list.is_some_and(|list| list.left_off > 0),
            "the machine knows no such open request: it counts for nothing"
        );
        Ok(late.then(|| "the machine has taken it; the request is not listed".to_owned()))
    })
}

/// What became of a request after somebody's word was taken; `None` while the list is of before.
fn became(
    case: &ListedCase,
    yes: bool,
    approver: &str,
    late: bool,
) -> anyhow::Result<Option<String>> {
    let is_counted = case.confirmed.iter().any(|name| name == approver);
    Ok(match (case.state, yes) {
        (Standing::Pending, true) if is_counted => {
            Some(format!("the machine has it in its log; {}", case.decision))
        }
        (Standing::Answered, true) if is_counted => {
            Some("the machine has it in its log, and has answered".to_owned())
        }
        (Standing::Refused, false) => {
            Some(format!("the machine has it in its log; {}", case.decision))
        }
        (Standing::Pending, _) if late => {
            anyhow::bail!("the machine has not counted it: see the machine's own log")
        }
        (Standing::Pending, _) => None,
        (Standing::Answered | Standing::Refused, _) => {
            check_open(Some(case)).context("it counts for nothing")?;
            None
        }
    })
}
