//! A drill's report as it is handed on: everything somebody outside needs to believe it, in one file.
//!
//! Believing goes down from the one thing the reader brings, the fleet's id: the genesis statement
//! has that id; root keys enrolled the node; the node's identity key certified the subkeys; one of
//! them signed the result and the log entry that pins it; another the checkpoint; the entry is in
//! the tree under that checkpoint. Nothing of it needs a network or a home. What it cannot show is
//! that there is no *other* report, of a drill that failed: for that, compare the log with a copy
//! that a region or a witness has.

mod details;

use seawall_base::{FleetId, Sha256};
use seawall_record::{Drill, Enrolment, Fleet, Hex32, RecordError, Role, Subkey, TestResult};
use seawall_sign::Envelope;
use seawall_tlog::{Hash, Kind, Origin, SignedCheckpoint, Verifier, merkle};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub use self::details::{Check, Details, Given, Phase, RestoredSnapshot};

const FORMAT: &str = "seawall-drill-report/1";
/// Largest report in bytes of JSON.
pub const MAX_REPORT: usize = 1 << 20;
/// Longest inclusion proof.
const MAX_PROOF: usize = 63;

/// Why a report is not believed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not a report at all.
    #[error("not a {FORMAT} file: {0}; fetch it again from where it was published")]
    Form(String),
    /// A statement in it is not what it must be.
    #[error("the report must not be believed: {0}")]
    Record(#[from] RecordError),
    /// The checkpoint or the proof under it.
    #[error("the report must not be believed: its place in the log: {0}")]
    Log(String),
    /// What it tells is not what was signed.
    #[error("the report must not be believed: {0}")]
    Contradiction(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReportFile {
    format: String,
    /// The test result.
    statement: Box<RawValue>,
    /// What the test result pins.
    details: Box<RawValue>,
    /// The log entry that pins the test result.
    entry: Box<RawValue>,
    index: u64,
    inclusion: Vec<Hex32>,
    checkpoint: String,
    genesis: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Box<RawValue>>,
    enrolment: Box<RawValue>,
    /// The subkeys that signed the result and the checkpoint (often the same).
    subkeys: [Box<RawValue>; 2],
}

/// A report that nobody has checked.
#[derive(Debug, Clone)]
pub struct Report {
    /// The test result.
    pub statement: Envelope,
    /// The details, byte for byte as they were digested.
    pub details: String,
    /// The log entry.
    pub entry: Envelope,
    /// Where the entry stands.
    pub index: u64,
    /// Its inclusion proof under the checkpoint.
    pub inclusion: Vec<Hash>,
    /// A signed checkpoint that covers it (C2SP signed note).
    pub checkpoint: String,
    /// The genesis statement.
    pub genesis: Envelope,
    /// The fleet's policies since, in order.
    pub policies: Vec<Envelope>,
    /// The node's enrolment.
    pub enrolment: Envelope,
    /// Certificates of the subkeys that signed the result and the checkpoint.
    pub subkeys: [Envelope; 2],
}

/// A report that holds together, of the fleet that was asked for.
#[derive(Debug, Clone)]
pub struct VerifiedReport {
    /// The fleet.
    pub fleet: Fleet,
    /// The node.
    pub node: Enrolment,
    /// Digest of the test result: the report's id.
    pub digest: Sha256,
    /// The test result.
    pub result: TestResult,
    /// What it pins.
    pub details: Details,
    /// What the log says.
    pub drill: Drill,
    /// Where it says so.
    pub index: u64,
    /// Entries of the log under the checkpoint.
    pub log_size: u64,
    /// Witnesses of the fleet that have cosigned the checkpoint, by operator, each once.
    pub witnesses: Vec<String>,
}

fn raw(envelope: &Envelope) -> Box<RawValue> {
    let json = String::from_utf8(envelope.to_json()).expect("JSON is UTF-8");
    RawValue::from_string(json).expect("an envelope is JSON")
}

fn envelope(what: &str, raw: &RawValue) -> Result<Envelope, ReportError> {
    Envelope::parse(raw.get().as_bytes()).map_err(|e| ReportError::Form(format!("{what}: {e}")))
}

impl Report {
    /// Parses a report. Nothing in it is believed yet.
    pub fn parse(json: &[u8]) -> Result<Self, ReportError> {
        if json.len() > MAX_REPORT {
            return Err(ReportError::Form(format!("larger than {MAX_REPORT} bytes")));
        }
        let it: ReportFile =
            serde_json::from_slice(json).map_err(|e| ReportError::Form(e.to_string()))?;
        if it.format != FORMAT {
            return Err(ReportError::Form(format!("it says {:?}", it.format)));
        }
        if it.inclusion.len() > MAX_PROOF {
            return Err(ReportError::Form("a proof of more than 63 hashes".to_owned()));
        }
        Ok(Self {
            statement: envelope("statement", &it.statement)?,
            details: it.details.get().to_owned(),
            entry: envelope("entry", &it.entry)?,
            index: it.index,
            inclusion: it.inclusion.iter().map(|h| Sha256(h.0)).collect(),
            checkpoint: it.checkpoint,
            genesis: envelope("genesis", &it.genesis)?,
            policies: it
                .policies
                .iter()
                .map(|p| envelope("policy", p))
                .collect::<Result<_, _>>()?,
            enrolment: envelope("enrolment", &it.enrolment)?,
            subkeys: [envelope("subkey", &it.subkeys[0])?, envelope("subkey", &it.subkeys[1])?],
        })
    }

    /// The report as a file: the same bytes for the same report.
    pub fn to_json(&self) -> Vec<u8> {
        let file = ReportFile {
            format: FORMAT.to_owned(),
            statement: raw(&self.statement),
            details: RawValue::from_string(self.details.clone()).expect("details are JSON"),
            entry: raw(&self.entry),
            index: self.index,
            inclusion: self.inclusion.iter().map(|h| Hex32(h.0)).collect(),
            checkpoint: self.checkpoint.clone(),
            genesis: raw(&self.genesis),
            policies: self.policies.iter().map(raw).collect(),
            enrolment: raw(&self.enrolment),
            subkeys: self.subkeys.each_ref().map(raw),
        };
        let mut json = serde_json::to_vec_pretty(&file).expect("plain fields serialise");
        json.push(b'\n');
        json
    }

    /// Checks everything against the fleet's id.
    pub fn verify(&self, pinned: FleetId) -> Result<VerifiedReport, ReportError> {
        let fleet = Fleet::open_chain(self.genesis.clone(), self.policies.clone(), pinned)?;
        let node = Enrolment::open(&fleet, &self.enrolment, Role::Node)?;
        let signer = Subkey::open(&node, &self.subkeys[0])?;
        let drill = Drill::open(&self.entry, signer.key)
            .map_err(|e| ReportError::Contradiction(format!("its log entry: {e}")))?;
        let about = drill.snapshot.as_ref().map(|place| place.manifest);
        let result = TestResult::open(&self.statement, signer.key, about, node.node())?;
        let digest = self.statement.digest();
        let pinned = result.details()?;
        let contradiction = |why: &str| ReportError::Contradiction(why.to_owned());
        if Sha256::of(self.details.as_bytes()) != pinned {
            return Err(contradiction("its details are not those that were signed"));
        }
        let details = Details::parse(self.details.as_bytes())
            .map_err(|e| ReportError::Form(format!("details: {e}")))?;
        if drill.report != digest {
            return Err(contradiction("the log entry beside it is of another report"));
        }
        if details.entry.is_some_and(|index| index != self.index) {
            return Err(contradiction("it stands elsewhere in the log than its details say"));
        }
        if fleet.believed_entries(node.node(), node.epoch).is_some_and(|n| self.index >= n) {
            return Err(contradiction("the node was revoked before it wrote this"));
        }
        if !signer.valid_at(drill.created) {
            return Err(contradiction("signed by a subkey that was not valid then"));
        }
        agree(&result, &details, &drill, &node, &fleet).map_err(contradiction)?;
        let (log_size, witnesses) = self.check_place(&fleet, &node, &drill)?;
        let index = self.index;
        Ok(VerifiedReport {
            fleet,
            node,
            digest,
            result,
            details,
            drill,
            index,
            log_size,
            witnesses,
        })
    }

    /// The entry is in the node's log, under a checkpoint the node signed.
    fn check_place(
        &self,
        fleet: &Fleet,
        node: &Enrolment,
        drill: &Drill,
    ) -> Result<(u64, Vec<String>), ReportError> {
        let log = |why: &str| ReportError::Log(why.to_owned());
        let signed = SignedCheckpoint::parse(self.checkpoint.as_bytes())
            .map_err(|e| ReportError::Log(e.to_string()))?;
        let checkpoint = signed.checkpoint();
        if checkpoint.origin != Origin::of_node(fleet.id(), node.node(), node.epoch)
            || checkpoint.origin.as_str() != drill.origin
        {
            return Err(log("the checkpoint is of another log"));
        }
        let subkey = Subkey::open(node, &self.subkeys[1])?;
        if subkey.not_after < drill.created {
            return Err(log(
                "the checkpoint is signed by a subkey that had ended before the drill",
            ));
        }
        let key = Verifier::new(&drill.origin, Kind::Signer, &subkey.key)
            .map_err(|e| ReportError::Log(e.to_string()))?;
        signed.verify(&[key]).map_err(|e| ReportError::Log(format!("the checkpoint: {e}")))?;
        let leaf = merkle::leaf_hash(&self.entry.to_json());
        merkle::verify_inclusion(
            &leaf,
            self.index,
            checkpoint.size,
            &checkpoint.root,
            &self.inclusion,
        )
        .map_err(|e| ReportError::Log(e.to_string()))?;
        Ok((checkpoint.size, cosigners(fleet, &signed)))
    }
}

/// Operators of the fleet's witnesses whose cosignature holds.
fn cosigners(fleet: &Fleet, signed: &SignedCheckpoint) -> Vec<String> {
    let mut operators = std::collections::BTreeSet::new();
    for witness in fleet.witnesses() {
        let Ok(key) = Verifier::new(&witness.name, Kind::Cosigner, &witness.key) else { continue };
        if signed.verify(&[key]).is_ok_and(|found| !found.is_empty()) {
            operators.insert(witness.operator.clone());
        }
    }
    operators.into_iter().collect()
}

/// Result, details and log entry must tell the same.
fn agree(
    result: &TestResult,
    details: &Details,
    drill: &Drill,
    node: &Enrolment,
    fleet: &Fleet,
) -> Result<(), &'static str> {
    let told = TestResult::of(&details.verdicts(), drill.report);
    let names = |it: &TestResult| {
        [it.passed_tests.clone(), it.warned_tests.clone(), it.failed_tests.clone()]
    };
    if told.result != result.result || names(&told) != names(result) {
        return Err("its details tell of other checks than its result");
    }
    if (drill.fleet, drill.node) != (fleet.id(), node.node())
        || (details.fleet, details.node) != (fleet.id(), node.node())
    {
        return Err("it names another node or fleet than its signer's");
    }
    let place = details.snapshot.as_ref().map(|s| &s.place);
    let same = drill.kind == details.kind
        && drill.snapshot.as_ref() == place
        && drill.whole == details.whole
        && drill.result == result.result
        && drill.request == details.request
        && drill.approvals == details.approval_digests()
        && (drill.began, drill.created) == (details.began, details.ended);
    if same { Ok(()) } else { Err("the log tells of another drill than its details") }
}
