//! The JSON bodies of the region protocol. Unknown fields are refused.

use seawall_base::FleetId;
use seawall_sign::{Envelope, SignError};
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
