//! A custodian's public keys, for ceremonies and for the fleet's policy.
//!
//! A card is signed by the signing key in it, so that whoever carries it cannot put another
//! recipient's key beside a known signing key. It proves nothing about whose it is: a carrier can
//! sign a card of its own. It counts because everyone who takes part in a ceremony compares its
//! fingerprint with its owner, because its owner refuses a ceremony that lists another card in its
//! name, and because root keys sign the group that comes out.
//!
//! Cards of earlier versions have no signature. They are read, for the ceremonies they were used
//! in; no ceremony is opened with one.

use seawall_base::Sha256;
use seawall_sign::{SignError, Signer, VerifyingKey};
use serde::{Deserialize, Serialize};

use crate::{Base64, RecordError, check_text};

const WHAT: &str = "custodian card";
/// Length of an X-Wing public key.
const RECIPIENT_KEY: usize = 1_216;
/// Length of an ML-KEM-768 encapsulation key (FIPS 203, table 3).
const KEM_KEY: usize = 1_184;
/// What a card's signature begins with: no statement does.
const CONTEXT: &[u8] = b"seawall 2026-11 custodian card v1";

/// A custodian's public keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CustodianCard {
    /// Names the format: `seawall-custodian/1`.
    pub format: String,
    /// The custodian's name, for people.
    pub name: String,
    /// Who runs it: several keys of one operator count once as witnesses.
    pub operator: String,
    /// Signs approvals and its part in ceremonies.
    pub signing_key: VerifyingKey,
    /// X-Wing key to which ceremonies seal what is for this custodian only.
    pub recipient: Base64,
    /// ML-KEM-768 encapsulation key for shares of the post-quantum half.
    pub kem: Base64,
    /// Cosigns logs.
    pub witness: VerifyingKey,
    /// Key of its TLS endpoint.
    pub transport: VerifyingKey,
    /// `HOST:PORT` of that endpoint, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Signature of `signing_key`, by its algorithm, over the card without this field; absent in
    /// cards of earlier versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Base64>,
}

impl CustodianCard {
    /// The format's name.
    pub const FORMAT: &str = "seawall-custodian/1";

    /// Parses a card and checks its form.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let card: Self = crate::bundle::parse(WHAT, json, Self::FORMAT, |c: &Self| &c.format)?;
        card.check()?;
        Ok(card)
    }

    pub(crate) fn check(&self) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        if self.format != Self::FORMAT {
            return refuse("of a format this version does not know; upgrade seawall");
        }
        check_text(WHAT, &self.name, 64)?;
        check_text(WHAT, &self.operator, 64)?;
        self.address.iter().try_for_each(|a| check_text(WHAT, a, 256))?;
        if self.recipient.0.len() != RECIPIENT_KEY {
            return refuse("its recipient is no X-Wing key of 1216 bytes");
        }
        if self.kem.0.len() != KEM_KEY {
            return refuse("its kem is no ML-KEM-768 key of 1184 bytes");
        }
        let keys = [self.signing_key, self.witness, self.transport];
        if keys[0] == keys[1] || keys[0] == keys[2] || keys[1] == keys[2] {
            return refuse("one key serves two purposes");
        }
        let Some(signature) = &self.signature else { return Ok(()) };
        self.signing_key
            .verify_statement(&self.signed(), &signature.0)
            .map_err(|_: SignError| RecordError::refused(WHAT, "its own key did not sign it"))
    }

    /// What the signature is over: the context, and the digest of the card without it.
    fn signed(&self) -> Vec<u8> {
        [CONTEXT, &self.digest().0].concat()
    }

    /// The card signed by its own key.
    #[must_use]
    pub fn sign(mut self, key: &dyn Signer) -> Self {
        self.signature = Some(Base64(key.sign_statement(&self.signed())));
        self
    }

    /// SHA-256 of the card's JSON without white space and without its signature: by it a ceremony
    /// names the card, and its owner knows it again without the signing key.
    pub fn digest(&self) -> Sha256 {
        let bare = Self { signature: None, ..self.clone() };
        Sha256::of(&serde_json::to_vec(&bare).expect("text always serialises"))
    }

    /// The first 16 hex digits of the digest in groups of four, for comparing by voice.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.digest())
    }

    /// The card as a JSON file.
    pub fn to_json(&self) -> Vec<u8> {
        let mut json = serde_json::to_vec_pretty(self).expect("text always serialises");
        json.push(b'\n');
        json
    }
}

/// What people read to one another: the first 16 hex digits in groups of four.
pub fn fingerprint(digest: Sha256) -> String {
    let hex = digest.to_hex();
    [&hex[0..4], &hex[4..8], &hex[8..12], &hex[12..16]].join(" ")
}
