//! That a backup was tried, and what came of it: the drill entry of a node's log, and the in-toto
//! test result it pins.
//!
//! The log carries little: which snapshot, whether it passed, and the digest of the report. The
//! report, which may be shown to anybody, is a statement of a public type that other tools read
//! (<https://github.com/in-toto/attestation>, `spec/predicates/test-result.md`, v0.1). One
//! without the other proves nothing: a report that is not logged could be withheld when it is bad
//! and made when it is wanted.

use std::collections::BTreeMap;

use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{RecordError, check_text};

/// What was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DrillKind {
    /// Everything held was read and hashed, without any key.
    Scrub,
    /// A snapshot of canary data was restored by its own escrow group, without people.
    Canary,
    /// A snapshot was restored by the approvals of its custodians.
    Quorum,
}

/// What came of it. The order is from good to bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// As it should be.
    Passed,
    /// As it should be, with something that a person should look at.
    Warned,
    /// Not as it should be.
    Failed,
}

/// A snapshot, by its place in its log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SnapshotPlace {
    /// Origin line of its log.
    pub origin: String,
    /// Its sequence number there.
    pub sequence: u64,
    /// Digest of its manifest statement.
    pub manifest: Sha256,
}

/// A node says: I tried this, and the report with this digest tells what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Drill {
    /// The fleet.
    pub fleet: FleetId,
    /// The node that did it.
    pub node: NodeId,
    /// Origin line of the log this stands in.
    pub origin: String,
    /// What was tried.
    pub kind: DrillKind,
    /// The snapshot that was restored; absent of a scrub, and only of a scrub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotPlace>,
    /// What came of it.
    pub result: Verdict,
    /// Whether all of it was tried, rather than a sample.
    pub whole: bool,
    /// Digest of the restore request; absent of a scrub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Sha256>,
    /// Digests of the approvals that opened it, strictly ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<Sha256>,
    /// Digest of the report: a [`TestResult`] statement of the same signer.
    pub report: Sha256,
    /// When it began.
    pub began: Timestamp,
    /// When it ended.
    pub created: Timestamp,
}

impl Predicate for Drill {
    const TYPE: &'static str = "urn:seawall:predicate:drill:1";
}

impl Drill {
    /// Most approvals in one statement.
    pub const MAX_APPROVALS: usize = 64;

    /// The statement for the node's subkey to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("report", self.report), self)
    }

    /// Whether it shows that its snapshot can be restored: all of it was, after enough custodians
    /// had opened it, and nothing was found to be wrong.
    pub fn proves(&self) -> bool {
        self.snapshot.is_some() && self.whole && self.result != Verdict::Failed
    }

    /// Checks that `signer` signed it, and its form.
    pub fn open(envelope: &Envelope, signer: VerifyingKey) -> Result<Self, RecordError> {
        let it = Statement::<Self>::open(envelope, &[signer], 1)
            .map_err(RecordError::statement("drill statement"))?
            .predicate;
        it.check_form()?;
        Ok(it)
    }

    /// What holds whatever log it stands in.
    pub(crate) fn check_form(&self) -> Result<(), RecordError> {
        const WHAT: &str = "drill statement";
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        let is_restore = self.kind != DrillKind::Scrub;
        if self.snapshot.is_some() != is_restore || self.request.is_some() != is_restore {
            return refuse("a scrub names no snapshot and no request, every other drill both");
        }
        if self.approvals.len() > Self::MAX_APPROVALS || !self.approvals.is_sorted_by(|a, b| a < b)
        {
            return refuse("more than 64 approvals, or not in strictly ascending order");
        }
        if !is_restore && !self.approvals.is_empty() {
            return refuse("nobody approves a scrub");
        }
        if self.proves() && self.approvals.is_empty() {
            return refuse("a snapshot that nobody approved cannot have been restored");
        }
        if self.began > self.created {
            return refuse("ended before it began");
        }
        Ok(())
    }
}

/// A resource descriptor of in-toto, as far as Seawall writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceDescriptor {
    /// A name within the statement.
    pub name: String,
    /// Digests by algorithm, lowercase hexadecimal.
    pub digest: BTreeMap<String, String>,
    /// Its media type.
    pub media_type: String,
}

/// in-toto's test result: what passed, what did not. Details are a document of their own, pinned
/// by [`TestResult::details`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TestResult {
    /// The worst of all.
    pub result: Verdict,
    /// What the tests were run with: one descriptor, of the details.
    pub configuration: Vec<ResourceDescriptor>,
    /// Names of the checks that passed.
    pub passed_tests: Vec<String>,
    /// Names of those that passed and that somebody should look at.
    pub warned_tests: Vec<String>,
    /// Names of those that failed.
    pub failed_tests: Vec<String>,
}

impl Predicate for TestResult {
    const TYPE: &'static str = "https://in-toto.io/attestation/test-result/v0.1";
}

impl TestResult {
    const DETAILS: &str = "drill";
    const MEDIA_TYPE: &str = "application/vnd.seawall.drill+json";
    /// Most checks of one drill.
    pub const MAX_CHECKS: usize = 64;
    /// Longest name of a check, in bytes.
    pub const MAX_NAME: usize = 64;

    /// The result of checks, each with what came of it, and the digest of the details.
    pub fn of(checks: &[(String, Verdict)], details: Sha256) -> Self {
        let named = |verdict: Verdict| {
            let of_it = checks.iter().filter(|(_, v)| *v == verdict);
            of_it.map(|(name, _)| name.clone()).collect()
        };
        Self {
            // No check at all is no success.
            result: checks.iter().map(|(_, v)| *v).max().unwrap_or(Verdict::Failed),
            configuration: vec![ResourceDescriptor {
                name: Self::DETAILS.to_owned(),
                digest: BTreeMap::from([("sha256".to_owned(), details.to_hex())]),
                media_type: Self::MEDIA_TYPE.to_owned(),
            }],
            passed_tests: named(Verdict::Passed),
            warned_tests: named(Verdict::Warned),
            failed_tests: named(Verdict::Failed),
        }
    }

    /// The statement for the node's subkey to sign: about a snapshot, or about the node whose
    /// store was read.
    pub fn statement(self, snapshot: Option<Sha256>, node: NodeId) -> Statement<Self> {
        Statement::new(Self::subject(snapshot, node), self)
    }

    fn subject(snapshot: Option<Sha256>, node: NodeId) -> Subject {
        match snapshot {
            Some(manifest) => Subject::sha256("manifest", manifest),
            None => Subject::sha256("node", Sha256(node.0)),
        }
    }

    /// Checks that `signer` signed it about this snapshot, or this node, and its form.
    pub fn open(
        envelope: &Envelope,
        signer: VerifyingKey,
        snapshot: Option<Sha256>,
        node: NodeId,
    ) -> Result<Self, RecordError> {
        const WHAT: &str = "test result";
        let statement = Statement::<Self>::open(envelope, &[signer], 1)
            .map_err(RecordError::statement(WHAT))?;
        if statement.subject != [Self::subject(snapshot, node)] {
            return Err(RecordError::refused(WHAT, "it is about something else than the drill"));
        }
        let it = statement.predicate;
        let all = || it.passed_tests.iter().chain(&it.warned_tests).chain(&it.failed_tests);
        if all().count() > Self::MAX_CHECKS {
            return Err(RecordError::refused(WHAT, "more than 64 tests"));
        }
        all().try_for_each(|name| check_text(WHAT, name, Self::MAX_NAME))?;
        let worst = match (&it.failed_tests[..], &it.warned_tests[..], &it.passed_tests[..]) {
            ([], [], []) | ([_, ..], ..) => Verdict::Failed,
            ([], [_, ..], _) => Verdict::Warned,
            ([], [], [_, ..]) => Verdict::Passed,
        };
        if it.result != worst {
            return Err(RecordError::refused(WHAT, "its result is not the worst of its tests"));
        }
        it.details()?;
        Ok(it)
    }

    /// The digest of the details.
    pub fn details(&self) -> Result<Sha256, RecordError> {
        let refuse = || RecordError::refused("test result", "it does not pin the drill's details");
        let [one] = &self.configuration[..] else { return Err(refuse()) };
        if one.name != Self::DETAILS || one.media_type != Self::MEDIA_TYPE || one.digest.len() != 1
        {
            return Err(refuse());
        }
        let hex = one.digest.get("sha256").ok_or_else(refuse)?;
        Sha256::from_hex(hex).map_err(|_| refuse())
    }
}
