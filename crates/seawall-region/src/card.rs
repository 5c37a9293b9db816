//! What a region tells an operator about itself, to be turned into a root-signed enrolment.

use seawall_sign::VerifyingKey;
use serde::{Deserialize, Serialize};

/// A region's card: public, and worth nothing until root keys have signed for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RegionCard {
    /// Names the format: `seawall-region/1`.
    pub format: String,
    /// The region's name, which is also the name of its cosignature key.
    pub name: String,
    /// `HOST:PORT` of its TLS endpoint.
    pub address: String,
    /// Signs receipts and cosigns logs.
    pub identity: VerifyingKey,
    /// Key of its TLS endpoint.
    pub transport: VerifyingKey,
}

impl RegionCard {
    /// The format's name.
    pub const FORMAT: &str = "seawall-region/1";

    /// The card as a JSON file.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(self).expect("text always serialises")
    }
}
