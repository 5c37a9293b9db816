//! What a drill's report tells: the document that the signed test result pins.
//!
//! It is made to be shown to anybody, so it has no path, no reason and nothing a command said:
//! names that stand in the log anyway, counts, times and verdicts. Paths and words are findings,
//! which stay with whoever ran the drill.

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_record::{DrillKind, SnapshotPlace, TestResult, Totals, Verdict, check_text};
use serde::{Deserialize, Serialize};

const FORMAT: &str = "seawall-drill/1";
/// Largest details in bytes of JSON.
pub(super) const MAX_DETAILS: usize = 64 << 10;
/// Longest words of a check, in bytes.
const MAX_SAID: usize = 300;
/// Most phases, tiers and approvals.
const MAX_LIST: usize = 64;

/// One check of a drill.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name, which the test result repeats.
    pub name: String,
    /// What came of it.
    pub verdict: Verdict,
    /// What was found, in words without names of files.
    pub said: String,
}

/// How long something took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// What.
    pub name: String,
    /// How long, in milliseconds.
    pub millis: u64,
}

/// The snapshot that was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredSnapshot {
    /// Name of the node that made it.
    pub author: String,
    /// Where it stands.
    pub place: SnapshotPlace,
    /// Its index in its log.
    pub index: u64,
    /// When its node says it was made.
    pub created: Timestamp,
    /// Name of its data class.
    pub class: String,
    /// The set it belongs to, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// What was signed that it holds.
    pub totals: Totals,
    /// Objects of its reference set.
    pub objects: u64,
}

/// One approval that opened it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    /// Share index of the custodian.
    pub custodian: u16,
    /// Digest of the approval statement.
    pub approval: Sha256,
    /// When the custodian says it was given.
    pub created: Timestamp,
}

/// Everything a report tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Details {
    format: String,
    /// What was tried.
    pub kind: DrillKind,
    /// The fleet.
    pub fleet: FleetId,
    /// The node that did it.
    pub node: NodeId,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
    /// Index of its entry in the node's log, which tells it from a drill that found the same within
    /// the same second; absent in reports of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<u64>,
    /// The snapshot; absent of a scrub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<RestoredSnapshot>,
    /// Digest of the request; absent of a scrub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Sha256>,
    /// The approvals used, by custodian.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Given>,
    /// Whether all of it was tried.
    pub whole: bool,
    /// Where objects were taken from.
    pub tiers: Vec<String>,
    /// The checks, in order.
    pub checks: Vec<Check>,
    /// What took how long, in order.
    pub phases: Vec<Phase>,
    /// Recovery time: from the request to the end of the last check, comparing left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rto_millis: Option<u64>,
    /// Recovery point: how old the newest snapshot like this one was when the drill began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpo_seconds: Option<u64>,
    /// Files that were restored, or objects that were read.
    pub items: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Details {
    /// Nothing done yet.
    pub fn new(kind: DrillKind, fleet: FleetId, node: NodeId, began: Timestamp) -> Self {
        Self {
            format: FORMAT.to_owned(),
            kind,
            fleet,
            node,
            began,
            ended: began,
            entry: None,
            snapshot: None,
            request: None,
            approvals: Vec::new(),
            whole: true,
            tiers: Vec::new(),
            checks: Vec::new(),
            phases: Vec::new(),
            rto_millis: None,
            rpo_seconds: None,
            items: 0,
            bytes: 0,
        }
    }

    /// Notes what came of a check.
    pub fn note(&mut self, name: &str, verdict: Verdict, said: impl Into<String>) {
        self.checks.push(Check { name: name.to_owned(), verdict, said: said.into() });
    }

    /// As it is digested: without white space, fields in their order. An error if it does not fit a
    /// report.
    pub fn to_json(&self) -> Result<String, String> {
        let json = serde_json::to_string(self).map_err(|e| e.to_string())?;
        Self::parse(json.as_bytes()).map(|_| json)
    }

    /// Whether nothing has failed so far.
    pub fn is_good(&self) -> bool {
        self.checks.iter().all(|c| c.verdict != Verdict::Failed)
    }

    /// Parses details and checks their form.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        if json.len() > MAX_DETAILS {
            return Err(format!("above {MAX_DETAILS} bytes"));
        }
        let it: Self = serde_json::from_slice(json).map_err(|e| e.to_string())?;
        if it.format != FORMAT {
            return Err(format!("format {:?} is not {FORMAT}", it.format));
        }
        let lists = [it.tiers.len(), it.checks.len(), it.phases.len(), it.approvals.len()];
        if lists.into_iter().any(|n| n > MAX_LIST) {
            return Err(format!("a list of more than {MAX_LIST}"));
        }
        let text =
            |text: &str, limit| check_text("details", text, limit).map_err(|e| e.to_string());
        it.tiers.iter().try_for_each(|tier| text(tier, 128))?;
        it.phases.iter().try_for_each(|phase| text(&phase.name, TestResult::MAX_NAME))?;
        for check in &it.checks {
            text(&check.name, TestResult::MAX_NAME)?;
            text(&check.said, MAX_SAID)?;
        }
        if let Some(snapshot) = &it.snapshot {
            text(&snapshot.author, 64)?;
            text(&snapshot.class, 64)?;
            text(&snapshot.place.origin, 255)?;
            snapshot.set.iter().try_for_each(|set| text(set, 64))?;
        }
        Ok(it)
    }

    /// The checks as the test result has them.
    pub fn verdicts(&self) -> Vec<(String, Verdict)> {
        self.checks.iter().map(|c| (c.name.clone(), c.verdict)).collect()
    }

    /// Digests of the approvals, strictly ascending.
    pub fn approval_digests(&self) -> Vec<Sha256> {
        let mut all: Vec<_> = self.approvals.iter().map(|a| a.approval).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_are_bounded_and_cannot_fool_a_terminal() {
        let (fleet, node) = (FleetId([1; 32]), NodeId([2; 32]));
        let mut good = Details::new(DrillKind::Scrub, fleet, node, Timestamp(7));
        good.note("own store", Verdict::Passed, "everything holds");
        good.tiers.push("this node".to_owned());
        let json = |it: &Details| serde_json::to_vec(it).expect("JSON");
        assert_eq!(Details::parse(&json(&good)), Ok(good.clone()));
        let refused = |change: &dyn Fn(&mut Details)| {
            let mut bad = good.clone();
            change(&mut bad);
            Details::parse(&json(&bad)).expect_err("refused")
        };
        for hostile in ["\u{1b}[2J", "a\u{202e}b", ""] {
            refused(&|it| it.note(hostile, Verdict::Passed, "x"));
            refused(&|it| it.note("x", Verdict::Passed, hostile));
            refused(&|it| it.tiers.push(hostile.to_owned()));
        }
        refused(&|it| it.note("x", Verdict::Passed, "y".repeat(MAX_SAID + 1)));
        refused(&|it| it.tiers = vec!["x".to_owned(); MAX_LIST + 1]);
        refused(&|it| it.format = "seawall-drill/2".to_owned());
        let more = String::from_utf8(json(&good)).expect("UTF-8").replacen('{', "{\"more\":1,", 1);
        Details::parse(more.as_bytes()).expect_err("an unknown field");
        Details::parse(&vec![b' '; MAX_DETAILS + 1]).expect_err("too long");
    }
}
