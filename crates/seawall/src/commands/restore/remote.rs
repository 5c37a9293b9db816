//! `seawall restore request --send | collect | plan`: custodians whose machines answer.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use seawall_base::{Clock as _, GroupId, Timestamp};
use seawall_custodian::Examined;
use seawall_custodian::message::{RequestStatus, Standing};
use seawall_host::{OsRng, SystemClock};
use seawall_node::{
    AskError, Asked, Home, alive, check_approval, examine_request, learn_newer, log_reached,
    request_status, send_request,
};
use seawall_record::{Alive, EscrowGroupRecord};
use serde_json::{Value, json};

use crate::cli::PlanArgs;
use crate::commands::snapshot::witnessed;
use crate::output::{Outcome, Printer, read_input, write_output};

/// What custodians said to a request.
pub(super) struct Sent {
    pub(super) value: Value,
    pub(super) words: String,
    pub(super) outcome: Outcome,
}

/// Sends a request that was just written.
pub(super) fn send(home: &Home, dossier: &[u8]) -> anyhow::Result<Sent> {
    let examined = examine_request(home, dossier)?;
    let asked = send_request(home, &examined, dossier)?;
    let mut words: Vec<_> = asked.iter().map(status_line).collect();
    let needed = usize::from(group_of(&examined)?.threshold);
    let open = asked.len() - asked.iter().filter(|asked| is_refused(asked)).count();
    // Who answers by hand, or was not reached, may still answer.
    let outcome = match open {
        0 => Outcome::Found,
        _ if open < needed => Outcome::Partly,
        _ => Outcome::Done,
    };
    if outcome != Outcome::Done {
        words.push(format!("{open} may still answer, and it takes {needed}"));
    }
    let value = asked.iter().map(status_json).collect();
    Ok(Sent { value, words: words.join("\n"), outcome })
}

fn is_refused(asked: &Asked<RequestStatus>) -> bool {
    match &asked.said {
        Ok(status) => status.state == Standing::Refused,
        Err(e) => matches!(e, AskError::Refused { .. }),
    }
}

fn status_line(asked: &Asked<RequestStatus>) -> String {
    let name = &asked.custodian.name;
    match &asked.said {
        Ok(status) if status.why == status.state.as_str() => format!("{name}: {}", status.why),
        Ok(status) => format!("{name}: {}, {}", status.state.as_str(), status.why),
        Err(e) => format!("{name}: {e}"),
    }
}

fn status_json(asked: &Asked<RequestStatus>) -> Value {
    let custodian = &asked.custodian;
    match &asked.said {
        Ok(status) => json!({
            "custodian": custodian.name, "index": custodian.index,
            "state": status.state.as_str(), "why": status.why, "until": status.until,
        }),
        Err(e) => json!({
            "custodian": custodian.name, "index": custodian.index, "error": e.to_string(),
        }),
    }
}

/// Fetches the answers that there are, checks each as the restore will, and keeps the good ones.
pub(super) fn collect(
    home: &Home,
    request: &Path,
    out: &Path,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let examined = examine_request(home, &read_input(request)?)?;
    std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    let (mut lines, mut values, mut files) = (Vec::new(), Vec::new(), Vec::new());
    let mut open = 0;
    for asked in request_status(home, &examined)? {
        open += usize::from(!is_refused(&asked));
        let mut line = status_line(&asked);
        let mut value = status_json(&asked);
        match keep(home, &examined, &asked, out) {
            Ok(Some(file)) => {
                line.push_str(&format!(": {}", file.display()));
                value["file"] = json!(file);
                files.push(file);
            }
            Ok(None) => {}
            Err(e) => {
                printer.warn(&format!("{}'s answer was not kept: {e:#}", asked.custodian.name));
                value["error"] = json!(format!("{e:#}"));
            }
        }
        lines.push(line);
        values.push(value);
    }
    let threshold = group_of(&examined)?.threshold;
    let enough = files.len() >= usize::from(threshold);
    lines.push(if enough {
        let approvals: Vec<_> =
            files.iter().map(|f| format!(" --approval {}", f.display())).collect();
        let request = request.display();
        format!("enough: seawall restore run {request}{} --to DIR", approvals.concat())
    } else if open < usize::from(threshold) {
        format!(
            "{} of {threshold} approvals, and only {open} may still come: {} refused for good; a new request says why it should be answered after all",
            files.len(),
            lines.len() - open
        )
    } else {
        format!("{} of {threshold} approvals; collect again later", files.len())
    });
    let value = json!({ "threshold": threshold, "enough": enough, "custodians": values });
    printer.result(&value, &lines.join("\n"))?;
    Ok(if enough { Outcome::Done } else { Outcome::Partly })
}

fn group_of(examined: &Examined) -> anyhow::Result<&EscrowGroupRecord> {
    examined.dossier.fleet.group(examined.group.id()).context("the fleet has this group")
}

fn keep(
    home: &Home,
    examined: &Examined,
    asked: &Asked<RequestStatus>,
    out: &Path,
) -> anyhow::Result<Option<PathBuf>> {
    let Some(approval) = asked.said.as_ref().ok().and_then(RequestStatus::approval) else {
        return Ok(None);
    };
    let approval = approval?;
    let index = check_approval(home, examined, &approval)?;
    let custodian = &asked.custodian;
    anyhow::ensure!(index == custodian.index, "it is custodian {index}'s");
    let file = out.join(format!("approval-{index}.json"));
    write_output(&file, &approval.to_json())?;
    Ok(Some(file))
}

/// Who is there, and how long it takes.
pub(super) fn plan(home: &Home, args: &PlanArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    learn_newer(home)?;
    if let Some(request) = &args.request {
        return plan_request(home, request, printer);
    }
    let fleet = home.fleet()?;
    let wanted = |g: &&EscrowGroupRecord| match &args.class {
        Some(class) => g.class == *class,
        None => !g.retired,
    };
    let groups: Vec<_> = fleet.groups().iter().filter(wanted).collect();
    anyhow::ensure!(!groups.is_empty(), "the fleet has no such class");
    let now = SystemClock.now();
    let (mut lines, mut values, mut all) = (Vec::new(), Vec::new(), true);
    let reached = log_reached(home)?;
    for group in groups {
        let asked = alive(home, group, &mut OsRng)?;
        let known: Vec<_> = asked.iter().map(|a| Prospect::of(a, group)).collect();
        lines.push(format!("class {}: {} of {}", group.class, group.threshold, asked.len()));
        for (asked, prospect) in asked.iter().zip(&known) {
            let words = prospect.words(asked, group.id);
            lines.push(format!("  {}: {words}", asked.custodian.name));
        }
        let quorum = quorum(&known, usize::from(group.threshold));
        lines.push(format!("  {}", quorum_words(quorum.as_ref(), now)));
        all &= quorum.is_some();
        values.push(json!({
            "class": group.class,
            "threshold": group.threshold,
            "custodians": asked.iter().zip(&known).map(|(a, p)| p.json(a, group.id)).collect::<Vec<_>>(),
            "quorum": quorum.map(|q| json!({ "at": q.at, "persons": q.persons })),
        }));
    }
    lines.push(format!("this node's log is witnessed at {reached}"));
    if !reached.suffices() {
        lines.push(
            "too few witnesses vouch for the newest snapshots: asking for them breaks the glass (--break-glass), and machines refuse that unless their policies allow it".to_owned(),
        );
        all = false;
    }
    let value = json!({ "now": now, "groups": values, "witnessed": witnessed(&reached) });
    printer.result(&value, &lines.join("\n"))?;
    Ok(if all { Outcome::Done } else { Outcome::Partly })
}

fn plan_request(home: &Home, request: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    let examined = examine_request(home, &read_input(request)?)?;
    warn_if_deleted(home, &examined, printer)?;
    let threshold = usize::from(group_of(&examined)?.threshold);
    let asked = request_status(home, &examined)?;
    let now = SystemClock.now();
    let known: Vec<_> = asked.iter().map(Prospect::of_status).collect();
    let mut lines: Vec<_> = asked.iter().map(status_line).collect();
    let quorum = quorum(&known, threshold);
    lines.push(quorum_words(quorum.as_ref(), now));
    lines.push(format!("the snapshot's log is witnessed at {}", examined.witnessed));
    let value = json!({
        "now": now,
        "witnessed": witnessed(&examined.witnessed),
        "threshold": threshold,
        "custodians": asked.iter().map(status_json).collect::<Vec<_>>(),
        "quorum": quorum.as_ref().map(|q| json!({ "at": q.at, "persons": q.persons })),
    });
    printer.result(&value, &lines.join("\n"))?;
    Ok(if quorum.is_some() { Outcome::Done } else { Outcome::Partly })
}

/// Says that a snapshot of this node was deleted: there is nothing left to ask for.
fn warn_if_deleted(home: &Home, examined: &Examined, printer: &Printer) -> anyhow::Result<()> {
    let fleet = home.fleet()?;
    let state = home.log_state(&fleet, &home.log(&fleet)?)?;
    if let Some(it) = state.deleted(&examined.dossier.manifest_digest) {
        printer.warn(&format!(
            "the snapshot was deleted by {} ({}): its objects are gone, whoever approves",
            it.by.join(", "),
            it.reason
        ));
    }
    Ok(())
}

/// When a custodian may answer: the earliest time, and how many people have to say yes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Prospect {
    /// By itself, or once so many people have confirmed it.
    Answers { persons: u16, at: Timestamp },
    /// It is there, and its policy will not answer.
    Never,
    /// It is there, and cannot use its share.
    Unable,
    /// By hand, or not reached.
    Unknown,
}

impl Prospect {
    fn of(asked: &Asked<Alive>, group: &EscrowGroupRecord) -> Self {
        let Ok(alive) = &asked.said else { return Self::Unknown };
        if unable(asked, group.id).is_some() {
            return Self::Unable;
        }
        let class = group.class.as_str();
        let named = |name: Option<&str>| alive.outlook.iter().find(|o| o.class.as_deref() == name);
        match named(Some(class)).or_else(|| named(None)) {
            None => Self::Unknown,
            Some(outlook) => outlook
                .earliest
                .map_or(Self::Never, |at| Self::Answers { persons: outlook.persons, at }),
        }
    }

    fn of_status(asked: &Asked<RequestStatus>) -> Self {
        let Ok(status) = &asked.said else { return Self::Unknown };
        match (status.state, status.until) {
            (Standing::Answered, _) => Self::Answers { persons: 0, at: Timestamp(0) },
            (Standing::Refused, _) => Self::Never,
            (Standing::Pending, Some(at)) => Self::Answers { persons: 0, at },
            (Standing::Pending, None) => Self::Unknown,
        }
    }

    fn words(self, asked: &Asked<Alive>, group: GroupId) -> String {
        match (&asked.said, self) {
            (Ok(_), Self::Unable) => match unable(asked, group) {
                Some(why) => format!("there, but answers nothing: {why}"),
                None => "there, but answers nothing".to_owned(),
            },
            (Err(e), _) => e.to_string(),
            (Ok(_), Self::Answers { persons: 0, at }) => format!("there, answers from {at} on"),
            (Ok(_), Self::Answers { persons, at }) => {
                format!("there, answers from {at} on, once {persons} people have confirmed it")
            }
            (Ok(_), Self::Never) => "there, but its policy will not answer this node".to_owned(),
            (Ok(_), Self::Unknown) => "there, but a person has to answer by hand".to_owned(),
        }
    }

    fn json(self, asked: &Asked<Alive>, group: GroupId) -> Value {
        let custodian = &asked.custodian;
        let mut value = json!({
            "custodian": custodian.name, "index": custodian.index, "alive": asked.said.is_ok(),
        });
        if let Err(e) = &asked.said {
            value["error"] = json!(e.to_string());
        }
        if let Some(why) = unable(asked, group) {
            value["unable"] = json!(why);
        }
        if let Self::Answers { persons, at } = self {
            value["earliest"] = json!(at);
            value["persons"] = json!(persons);
        }
        value
    }
}

/// Why a custodian says that it cannot answer for a group.
fn unable(asked: &Asked<Alive>, group: GroupId) -> Option<&str> {
    let alive = asked.said.as_ref().ok()?;
    alive.unable.iter().find(|it| it.group == group).map(|it| it.why.as_str())
}

/// The quorum that needs the fewest people, and the soonest of those.
struct Quorum {
    at: Timestamp,
    persons: u16,
}

fn quorum(known: &[Prospect], threshold: usize) -> Option<Quorum> {
    let answers = |p: &Prospect| match p {
        Prospect::Answers { persons, at } => Some((*persons, *at)),
        _ => None,
    };
    let mut sorted: Vec<_> = known.iter().filter_map(answers).collect();
    sorted.sort_unstable();
    let chosen = sorted.get(..threshold)?;
    let at = chosen.iter().map(|(_, at)| *at).max()?;
    Some(Quorum { at, persons: chosen.iter().map(|(persons, _)| persons).sum() })
}

fn quorum_words(quorum: Option<&Quorum>, now: Timestamp) -> String {
    match quorum {
        None => "no quorum in sight without asking people by hand".to_owned(),
        Some(Quorum { at, persons: 0 }) if *at <= now => "a quorum at once".to_owned(),
        Some(Quorum { at, persons: 0 }) => {
            format!("a quorum at {at}, in {}", span(at.0 - now.0))
        }
        Some(Quorum { at, persons }) => {
            format!("a quorum once {persons} people have confirmed it, not before {}", at.max(&now))
        }
    }
}

fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds.div_ceil(60)),
        _ => format!("{} h", seconds.div_ceil(3_600)),
    }
}
