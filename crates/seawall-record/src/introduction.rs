//! Who signs a node's log: for witnesses, which have no entries to learn it from.

use seawall_sign::{Envelope, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{envelope, raw};
use crate::{Enrolment, Fleet, RecordError, Role, Subkey, node_origin};

const WHAT: &str = "introduction";

/// Largest introduction in bytes of JSON.
pub const MAX_INTRODUCTION: usize = 64 << 10;

/// Most subkeys in one introduction.
pub const MAX_INTRODUCED: usize = 16;

/// A node's enrolment and the statements that certify its subkeys.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Introduction {
    format: String,
    enrolment: Box<RawValue>,
    subkeys: Vec<Box<RawValue>>,
}

/// An introduction whose statements have been checked.
#[derive(Debug, Clone)]
pub struct Introduced {
    /// The node.
    pub enrolment: Enrolment,
    /// Its enrolment statement.
    pub envelope: Envelope,
    /// Its subkeys, each with the statement that certifies it.
    pub subkeys: Vec<(Subkey, Envelope)>,
}

impl Introduction {
    const FORMAT: &str = "seawall-introduction/1";

    /// Introduces a node by the newest [`MAX_INTRODUCED`] of its subkeys.
    pub fn new(enrolment: &Envelope, subkeys: &[Envelope]) -> Self {
        let newest = &subkeys[subkeys.len().saturating_sub(MAX_INTRODUCED)..];
        Self {
            format: Self::FORMAT.to_owned(),
            enrolment: raw(enrolment),
            subkeys: newest.iter().map(raw).collect(),
        }
    }

    /// Parses an introduction without believing it.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        if json.len() > MAX_INTRODUCTION {
            return Err(RecordError::refused(WHAT, "larger than 64 KiB"));
        }
        let it: Self = serde_json::from_slice(json)
            .map_err(|e| RecordError::refused(WHAT, format!("not a {} file: {e}", Self::FORMAT)))?;
        if it.format != Self::FORMAT {
            let why = format!("format {:?} is not {}", it.format, Self::FORMAT);
            return Err(RecordError::refused(WHAT, why));
        }
        if it.subkeys.is_empty() || it.subkeys.len() > MAX_INTRODUCED {
            return Err(RecordError::refused(WHAT, "it has 1 to 16 subkeys"));
        }
        Ok(it)
    }

    /// Checks every signature.
    pub fn open(&self, fleet: &Fleet) -> Result<Introduced, RecordError> {
        let statement = envelope("enrolment", &self.enrolment)?;
        let enrolment = Enrolment::open(fleet, &statement, Role::Node)?;
        let certified = |raw: &RawValue| {
            let statement = envelope("signing subkey", raw)?;
            Ok((Subkey::open(&enrolment, &statement)?, statement))
        };
        let subkeys =
            self.subkeys.iter().map(|raw| certified(raw)).collect::<Result<_, RecordError>>()?;
        Ok(Introduced { enrolment, envelope: statement, subkeys })
    }

    /// The JSON.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("envelopes are JSON")
    }
}

impl Introduced {
    /// Origin line of the log that these keys sign.
    pub fn origin(&self) -> String {
        node_origin(self.enrolment.fleet, self.enrolment.node(), self.enrolment.epoch)
    }

    /// The subkeys.
    pub fn keys(&self) -> impl Iterator<Item = VerifyingKey> {
        self.subkeys.iter().map(|(subkey, _)| subkey.key)
    }
}
