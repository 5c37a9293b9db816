//! What a custodian writes into its own log, what its people sign, and how it proves to be alive.
//!
//! Nothing here opens anything. An act says that a request was seen, what was decided and that it
//! was answered; of the answer it carries the digest only, because the log may be read by others
//! and partials are for one requester.

use std::fmt;

use seawall_base::{FleetId, GroupId, NodeId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Hex32, RecordError, ShareSubject, check_text};

/// One entry of a custodian's log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodianAct {
    /// The fleet.
    pub fleet: FleetId,
    /// Digest of the request statement; of the manifest statement in what is said of a share.
    pub request: Sha256,
    /// When, by the latest time the custodian has seen.
    pub at: Timestamp,
    /// What.
    pub act: Act,
}

/// What a custodian did about a request, or found about its share of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Act {
    /// A valid request came for the first time.
    Seen {
        /// Who asks.
        requester: NodeId,
        /// Key of the requester's TLS connection; only it is told how the request stands.
        transport: VerifyingKey,
        /// The snapshot.
        manifest: Sha256,
        /// Its escrow group.
        group: GroupId,
        /// Its class.
        class: String,
        /// Files in it.
        files: u64,
        /// Bytes in it.
        bytes: u64,
        /// Why, in the requester's words.
        reason: String,
        /// After this nobody answers it.
        expires: Timestamp,
        /// What people are shown beside that; absent in entries of earlier versions.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        about: Option<Box<SeenAbout>>,
    },
    /// An approver confirmed it.
    Confirmed {
        /// The approver's name in the policy.
        approver: String,
        /// The approver's key.
        key: VerifyingKey,
    },
    /// An approver refused it.
    Declined {
        /// The approver's name in the policy.
        approver: String,
        /// The approver's key.
        key: VerifyingKey,
        /// Why.
        why: String,
    },
    /// The policy came to another decision than before.
    Decided {
        /// `answer`, `wait`, `persons`, `no-rule` or `refuse`.
        decision: String,
        /// In words.
        why: String,
        /// SHA-256 of the policy file; absent if there was none.
        #[serde(skip_serializing_if = "Option::is_none")]
        policy: Option<Sha256>,
    },
    /// It was answered. Durable before the answer leaves.
    Answered {
        /// SHA-256 of the approval's bytes.
        approval: Sha256,
    },
    /// A manifest came, and the post-quantum share in it opens and is the committed one.
    ShareGood {
        /// Who dealt it.
        node: NodeId,
        /// Which share.
        share: ShareSubject,
    },
    /// A manifest came, and the share does not open or is not the committed one.
    ShareBad {
        /// Who dealt it.
        node: NodeId,
        /// Which share.
        share: ShareSubject,
        /// What is wrong.
        why: String,
        /// What proves it to anybody, as in [`crate::ShareBad`].
        #[serde(default, skip_serializing_if = "Option::is_none")]
        evidence: Option<Hex32>,
    },
}

/// What a request was examined to be, for the people who decide about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenAbout {
    /// The requester's name, by its enrolment.
    pub requester_name: String,
    /// The node that made the snapshot.
    pub node: NodeId,
    /// That node's name, by its enrolment.
    pub node_name: String,
    /// How many witnesses vouch for the snapshot's log, at which level, in words.
    pub witnessed: String,
    /// Too few do, or something newer was seen, and the requester says that it cannot wait; absent
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub break_glass: Option<SeenGlass>,
}

/// How few witnesses vouch where a request breaks the glass, by the custodian's own count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenGlass {
    /// How many vouched.
    pub vouched: u16,
    /// How many the fleet's policy demands.
    pub needed: u16,
}

impl fmt::Display for SeenGlass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vouched >= self.needed {
            return f.write_str(
                "BREAK-GLASS: the requester has seen a newer history of this log than it can show, and says that it cannot wait",
            );
        }
        write!(
            f,
            "BREAK-GLASS: {} of {} witnesses vouch that this is the newest history there is; the requester says that it cannot wait",
            self.vouched, self.needed
        )
    }
}

impl Act {
    /// Whether the digest beside it is a request's; else it is a manifest's.
    pub const fn is_about_a_request(&self) -> bool {
        !matches!(self, Self::ShareGood { .. } | Self::ShareBad { .. })
    }

    /// What the digest beside it is of.
    const fn subject(&self) -> &'static str {
        if self.is_about_a_request() { "request" } else { "manifest" }
    }
}

impl Predicate for CustodianAct {
    const TYPE: &'static str = "urn:seawall:predicate:custodian-act:1";
}

impl CustodianAct {
    const WHAT: &str = "custodian's log entry";

    /// The statement for the custodian's signing key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256(self.act.subject(), self.request), self)
    }

    /// Checks that `custodian` signed it, for this fleet.
    pub fn open(
        fleet: FleetId,
        envelope: &Envelope,
        custodian: VerifyingKey,
    ) -> Result<Self, RecordError> {
        let it = Statement::<Self>::open(envelope, &[custodian], 1)
            .map_err(RecordError::statement(Self::WHAT))?
            .predicate;
        if it.fleet != fleet {
            let (expected, found) = (fleet, it.fleet);
            return Err(RecordError::OtherFleet { what: Self::WHAT, expected, found });
        }
        let texts: &[(&str, usize)] = match &it.act {
            Act::Seen { class, reason, about: None, .. } => &[(class, 64), (reason, 1_000)],
            Act::Seen { class, reason, about: Some(about), .. } => &[
                (class, 64),
                (reason, 1_000),
                (&about.requester_name, 256),
                (&about.node_name, 256),
                (&about.witnessed, 500),
            ],
            Act::Confirmed { approver, .. } => &[(approver, 256)],
            Act::Declined { approver, why, .. } => &[(approver, 256), (why, 1_000)],
            Act::Decided { decision, why, .. } => &[(decision, 16), (why, 1_000)],
            Act::ShareBad { why, .. } => &[(why, 1_000)],
            Act::Answered { .. } | Act::ShareGood { .. } => &[],
        };
        texts.iter().try_for_each(|(text, limit)| check_text(Self::WHAT, text, *limit))?;
        Ok(it)
    }
}

/// One of a custodian's people says yes or no to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PersonVerdict {
    /// Digest of the request statement.
    pub request: Sha256,
    /// Yes or no.
    pub confirmed: bool,
    /// Why not; empty for a yes.
    pub why: String,
    /// When.
    pub created: Timestamp,
}

impl Predicate for PersonVerdict {
    const TYPE: &'static str = "urn:seawall:predicate:custodian-verdict:1";
}

impl PersonVerdict {
    /// The statement for the approver's key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("request", self.request), self)
    }

    /// Checks that one of `approvers` signed it, and only that one.
    pub fn open(
        envelope: &Envelope,
        approvers: &[VerifyingKey],
    ) -> Result<(Self, VerifyingKey), RecordError> {
        const WHAT: &str = "approver's verdict";
        let it = Statement::<Self>::open(envelope, approvers, 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        let mut signers = envelope.signers();
        let (Some(signer), None) = (signers.next(), signers.next()) else {
            return Err(RecordError::refused(WHAT, "each approver signs one of their own"));
        };
        if it.confirmed != it.why.is_empty() {
            return Err(RecordError::refused(WHAT, "a no, and only a no, has a reason"));
        }
        if !it.confirmed {
            check_text(WHAT, &it.why, 500)?;
        }
        Ok((it, signer))
    }
}

/// A custodian is there: a signature over what the asker drew, and never a decryption.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alive {
    /// The fleet that was asked about.
    pub fleet: FleetId,
    /// What the asker drew.
    pub nonce: Hex32,
    /// The custodian's time.
    pub at: Timestamp,
    /// What its policy would do for the asker now, for each rule about this fleet.
    pub outlook: Vec<AliveOutlook>,
    /// The groups of the fleet for which it cannot answer anything just now; absent where empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unable: Vec<Unable>,
}

/// A group for which a custodian cannot answer just now, whatever its policy says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unable {
    /// The group.
    pub group: GroupId,
    /// Why, and what its people have to do.
    pub why: String,
}

/// What one rule of a custodian would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliveOutlook {
    /// The class; absent for every class that no other rule names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// When a request that came now would be answered at the earliest; absent for never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earliest: Option<Timestamp>,
    /// How many people have to confirm one of ordinary size.
    pub persons: u16,
    /// How many have to confirm a large one.
    pub persons_for_large: u16,
}

impl Predicate for Alive {
    const TYPE: &'static str = "urn:seawall:predicate:custodian-alive:1";
}

impl Alive {
    /// The statement for the custodian's signing key to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("nonce", Sha256(self.nonce.0)), self)
    }

    /// Checks that `custodian` signed it for this fleet and nonce.
    pub fn open(
        envelope: &Envelope,
        custodian: VerifyingKey,
        fleet: FleetId,
        nonce: Hex32,
    ) -> Result<Self, RecordError> {
        const WHAT: &str = "sign of life";
        let it = Statement::<Self>::open(envelope, &[custodian], 1)
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if it.fleet != fleet || it.nonce != nonce {
            return Err(RecordError::refused(WHAT, "made for another fleet, or at another time"));
        }
        it.unable.iter().try_for_each(|unable| check_text(WHAT, &unable.why, 500))?;
        Ok(it)
    }
}
