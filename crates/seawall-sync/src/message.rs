//! The JSON bodies of the region protocol. Unknown fields are refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use seawall_base::{FleetId, Sha256, Timestamp};
use seawall_sign::token::Operation;
use seawall_sign::{Envelope, SignError, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Largest `enrol` body in bytes: an enrolment and a few subkeys.
pub const MAX_ENROL_BODY: usize = 1 << 20;

/// Most subkeys in one `enrol`.
pub const MAX_ENROL_SUBKEYS: usize = 16;

/// Largest other JSON body in bytes.
pub const MAX_JSON_BODY: usize = 4_096;

/// `POST /v1/enrol`: who is calling.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolRequest {
    /// The fleet; the region must host it.
    pub fleet: FleetId,
    enrolment: Box<RawValue>,
    subkeys: Vec<Box<RawValue>>,
    /// The fleet's policies as the member knows them: its enrolment may be signed by root keys the
    /// region has not heard of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    policies: Vec<Box<RawValue>>,
}

impl EnrolRequest {
    /// A request of a member with statements that certify its subkeys.
    pub fn new(fleet: FleetId, enrolment: &Envelope, subkeys: &[Envelope]) -> Self {
        let subkeys = subkeys.iter().map(raw).collect();
        Self { fleet, enrolment: raw(enrolment), subkeys, policies: Vec::new() }
    }

    /// The same, with the fleet's policies.
    #[must_use]
    pub fn with_policies(self, policies: &[Envelope]) -> Self {
        Self { policies: policies.iter().map(raw).collect(), ..self }
    }

    /// The policies, none of them verified.
    pub fn policies(&self) -> Result<Vec<Envelope>, SignError> {
        self.policies.iter().map(|raw| Envelope::parse(raw.get().as_bytes())).collect()
    }

    /// The enrolment and the subkeys, none of them verified.
    pub fn envelopes(&self) -> Result<(Envelope, Vec<Envelope>), SignError> {
        if self.subkeys.len() > MAX_ENROL_SUBKEYS {
            let limit = MAX_ENROL_SUBKEYS;
            return Err(SignError::TooLarge { found: self.subkeys.len(), limit });
        }
        let parse = |raw: &RawValue| Envelope::parse(raw.get().as_bytes());
        let subkeys = self.subkeys.iter().map(|s| parse(s)).collect::<Result<_, _>>()?;
        Ok((parse(&self.enrolment)?, subkeys))
    }
}

fn raw(envelope: &Envelope) -> Box<RawValue> {
    let json = String::from_utf8(envelope.to_json()).expect("JSON is UTF-8");
    RawValue::from_string(json).expect("an envelope is one JSON value")
}

/// `POST /v1/receipt`: which entry to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptRequest {
    /// The log.
    pub origin: String,
    /// The manifest's index.
    pub index: u64,
}

/// The answer to `POST /v1/log/witnessed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CosignedAnswer {
    /// The largest size of which a cosigned checkpoint is kept; 0 for none.
    pub size: u64,
}

/// Largest list of notices of deletion in bytes.
pub const MAX_NOTICES: usize = 64 << 20;

/// A list of envelopes as JSON: notices of deletion.
pub fn envelopes_to_json(all: &[Envelope]) -> Vec<u8> {
    let all: Vec<_> = all.iter().map(raw).collect();
    serde_json::to_vec(&all).expect("envelopes always serialise")
}

/// Parses a list of envelopes, none of them verified.
pub fn envelopes_of_json(json: &[u8]) -> Result<Vec<Envelope>, SignError> {
    let malformed = |e: serde_json::Error| SignError::Malformed(e.to_string());
    let all: Vec<&RawValue> = serde_json::from_slice(json).map_err(malformed)?;
    all.iter().map(|raw| Envelope::parse(raw.get().as_bytes())).collect()
}

/// `POST /v1/token`: what a token is wanted for. Who asks is known from the connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// The operation.
    pub operation: Operation,
    /// The statement it is to be bound to; the connection it is asked on, where there is none.
    pub statement: Option<Sha256>,
    /// 32 lowercase hexadecimal digits that the caller draws; they become the token's id.
    pub nonce: String,
}

/// The answer to [`TokenRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenAnswer {
    /// The token.
    pub token: String,
    /// When it was issued, by the issuer's clock. The caller counts on from here, so that its own
    /// clock need not be right.
    pub now: Timestamp,
    /// When it expires, by the issuer's clock.
    pub expires: Timestamp,
}

/// `POST /v1/delegation`: a node asks to issue tokens itself for some days.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationRequest {
    /// The key its tokens will be signed with.
    pub key: VerifyingKey,
}

/// A region's delegation with the enrolment that makes the region believed elsewhere: what stands
/// in the header [`DELEGATION_HEADER`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShownDelegation {
    region: Box<RawValue>,
    delegation: Box<RawValue>,
}

/// Largest shown delegation in bytes of JSON.
pub const MAX_DELEGATION: usize = 8_192;

/// Bears a request's token, after [`TOKEN_SCHEME`].
pub const TOKEN_HEADER: &str = "authorization";

/// What stands before a token in its header.
pub const TOKEN_SCHEME: &str = "PASETO ";

/// Bears a request's proof of possession.
pub const PROOF_HEADER: &str = "seawall-proof";

/// Bears what makes a token of a node's own issue believed: base64url of [`ShownDelegation`].
pub const DELEGATION_HEADER: &str = "seawall-delegation";

impl ShownDelegation {
    /// Puts the two statements together.
    pub fn new(region: &Envelope, delegation: &Envelope) -> Self {
        Self { region: raw(region), delegation: raw(delegation) }
    }

    /// The header's value.
    pub fn to_header(&self) -> String {
        BASE64.encode(serde_json::to_vec(self).expect("envelopes always serialise"))
    }

    /// The region's enrolment and the delegation of a header's value, neither of them verified.
    pub fn parse(header: &str) -> Result<(Envelope, Envelope), SignError> {
        let malformed = |why: String| SignError::Malformed(format!("delegation: {why}"));
        if header.len() > MAX_DELEGATION * 4 / 3 + 4 {
            let (found, limit) = (header.len(), MAX_DELEGATION * 4 / 3 + 4);
            return Err(SignError::TooLarge { found, limit });
        }
        let json = BASE64.decode(header).map_err(|e| malformed(e.to_string()))?;
        let it: Self = serde_json::from_slice(&json).map_err(|e| malformed(e.to_string()))?;
        it.envelopes()
    }

    /// The region's enrolment and the delegation, neither of them verified.
    pub fn envelopes(&self) -> Result<(Envelope, Envelope), SignError> {
        let parse = |raw: &RawValue| Envelope::parse(raw.get().as_bytes());
        Ok((parse(&self.region)?, parse(&self.delegation)?))
    }
}

#[cfg(test)]
mod tests {
    use seawall_sign::SigningKey;

    use super::*;

    #[test]
    fn enrol_round_trips_and_is_bounded() {
        let key = SigningKey::from_seed(&[1; 32]);
        let envelope = Envelope::sign("t", b"p".to_vec(), &[&key]);
        let request =
            EnrolRequest::new(FleetId([1; 32]), &envelope, std::slice::from_ref(&envelope));
        let json = serde_json::to_vec(&request).expect("serialises");
        let back: EnrolRequest = serde_json::from_slice(&json).expect("parses");
        assert_eq!(back.envelopes(), Ok((envelope.clone(), vec![envelope.clone()])));
        let many = vec![envelope.clone(); MAX_ENROL_SUBKEYS + 1];
        assert!(EnrolRequest::new(FleetId([1; 32]), &envelope, &many).envelopes().is_err());
        let more = String::from_utf8(json).expect("UTF-8").replacen('{', r#"{"x":1,"#, 1);
        assert!(serde_json::from_str::<EnrolRequest>(&more).is_err(), "unknown fields");
    }
}
