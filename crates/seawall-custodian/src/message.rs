//! What travels between a custodian's machine and those who ask it. Unknown fields are refused.

use seawall_base::{FleetId, Sha256, Timestamp};
use seawall_record::{Fleet, Hex32, MAX_BUNDLE, PolicyChain, RecordError};
use seawall_sign::{Envelope, SignError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Largest `POST /v1/custodian` body in bytes: an enrolment and two words.
pub const MAX_ALIVE_BODY: usize = 128 << 10;

/// Largest `POST /v1/policies` body in bytes: a fleet's policies and an enrolment.
pub const MAX_POLICIES_BODY: usize = MAX_BUNDLE + MAX_ALIVE_BODY;

/// Largest answer in bytes: an approval and a few words.
pub const MAX_STATUS: usize = 256 << 10;

/// How a request stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It may still be answered.
    Pending,
    /// It will not be.
    Refused,
    /// It has been.
    Answered,
}

impl Standing {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Answered => "answered",
        }
    }
}

/// The answer to `POST /v1/request` and `GET /v1/request/<digest>`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestStatus {
    /// Digest of the request statement.
    pub request: Sha256,
    /// How it stands.
    pub state: Standing,
    /// Why, in words.
    pub why: String,
    /// When it may be answered at the earliest, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// The approval, once there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<Box<RawValue>>,
}

impl RequestStatus {
    /// Of a request that has no answer.
    pub(crate) const fn without_answer(
        request: Sha256,
        state: Standing,
        why: String,
        until: Option<Timestamp>,
    ) -> Self {
        Self { request, state, why, until, approval: None }
    }

    /// Of a request with its approval.
    pub(crate) fn answered(request: Sha256, approval: Vec<u8>) -> Result<Self, serde_json::Error> {
        let text = String::from_utf8(approval).map_err(serde::de::Error::custom)?;
        let approval = Some(RawValue::from_string(text)?);
        let (state, why) = (Standing::Answered, "answered".to_owned());
        Ok(Self { request, state, why, until: None, approval })
    }

    /// The approval, not verified.
    pub fn approval(&self) -> Option<Result<Envelope, SignError>> {
        self.approval.as_ref().map(|raw| Envelope::parse(raw.get().as_bytes()))
    }
}

/// What a custodian found in a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ShareFound {
    /// Its post-quantum share is as it should be.
    Good,
    /// It does not open, or is not the committed one.
    Bad,
    /// There is none for it.
    None,
}

/// The answer to `POST /v1/manifest`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrivalStatus {
    /// Digest of the manifest statement.
    pub manifest: Sha256,
    /// What was found, and is in the custodian's log.
    pub share: ShareFound,
    /// In words, where it is not good.
    pub why: String,
}

/// `POST /v1/custodian`: are you there, and what would you do for me?
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliveRequest {
    /// The fleet.
    pub fleet: FleetId,
    /// Drawn by the asker.
    pub nonce: Hex32,
    enrolment: Box<RawValue>,
}

impl AliveRequest {
    /// A question of an enrolled node.
    pub fn new(fleet: FleetId, nonce: Hex32, enrolment: &Envelope) -> Self {
        let json = String::from_utf8(enrolment.to_json()).expect("JSON is UTF-8");
        let enrolment = RawValue::from_string(json).expect("an envelope is one JSON value");
        Self { fleet, nonce, enrolment }
    }

    /// The asker's enrolment, not verified.
    pub fn enrolment(&self) -> Result<Envelope, SignError> {
        Envelope::parse(self.enrolment.get().as_bytes())
    }
}

/// `POST /v1/policies`: what an enrolled node knows of the fleet's policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoliciesShown {
    enrolment: Box<RawValue>,
    policies: Box<RawValue>,
}

impl PoliciesShown {
    /// All policies of a fleet, shown by the node with this enrolment.
    pub fn new(fleet: &Fleet, enrolment: &Envelope) -> Self {
        let raw = |json: Vec<u8>| {
            let json = String::from_utf8(json).expect("JSON is UTF-8");
            RawValue::from_string(json).expect("it is one JSON value")
        };
        Self {
            enrolment: raw(enrolment.to_json()),
            policies: raw(PolicyChain::of(fleet).to_json()),
        }
    }

    /// The node's enrolment, not verified.
    pub fn enrolment(&self) -> Result<Envelope, SignError> {
        Envelope::parse(self.enrolment.get().as_bytes())
    }

    /// The fleet and its policies, not verified.
    pub fn policies(&self) -> Result<(FleetId, Vec<Envelope>), RecordError> {
        PolicyChain::parse(self.policies.get().as_bytes())
    }
}

/// The answer to `POST /v1/policies`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoliciesKnown {
    /// The version that was known before.
    pub before: u64,
    policies: Box<RawValue>,
}

impl PoliciesKnown {
    /// What is known of a fleet now.
    pub(crate) fn new(before: u64, fleet: &Fleet) -> Self {
        let json = String::from_utf8(PolicyChain::of(fleet).to_json()).expect("JSON is UTF-8");
        let policies = RawValue::from_string(json).expect("it is one JSON value");
        Self { before, policies }
    }

    /// The fleet and its policies, not verified.
    pub fn policies(&self) -> Result<(FleetId, Vec<Envelope>), RecordError> {
        PolicyChain::parse(self.policies.get().as_bytes())
    }
}

/// An answer of "no" (or "not now"): an HTTP status, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {error}; {remedy}")]
pub struct Refusal {
    /// HTTP status code.
    pub status: u16,
    /// What was refused and why.
    pub error: String,
    /// What to do.
    pub remedy: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, error: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { status, error: error.into(), remedy: remedy.into() }
    }

    /// The same words for whoever is not enrolled and whoever is so in another fleet: nobody
    /// learns which fleets are served here.
    pub(crate) fn stranger() -> Self {
        Self::new(
            403,
            "no fleet served here has enrolled the key of this connection for that",
            "send from the home of the node that made the request",
        )
    }

    pub(crate) fn unknown() -> Self {
        Self::new(404, "nothing of that name is here for you", "check the name; send it first")
    }

    /// The custodian's own trouble: details stay in its log.
    pub(crate) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, "request failed");
        let error = "the custodian's machine has trouble of its own";
        Self::new(500, error, "try again later; tell the custodian")
    }
}
