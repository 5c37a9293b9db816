//! Identifiers that are digests of what they identify, each a type of its own.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{ParseDigestError, digest32, parse_hex32};

digest32!(
    /// SHA-256 of the genesis statement's payload: the anchor of trust of one fleet.
    FleetId, "fleet:"
);
digest32!(
    /// SHA-256 of a node's (or region's, or custodian's) algorithm-tagged identity key.
    NodeId, "node:"
);
digest32!(
    /// Hash of an escrow group's key and data class. Refresh and re-sharing keep it.
    GroupId, "group:"
);
digest32!(
    /// Hash of fleet id and tenant name: the scope of deduplication and of have/want.
    TenantId, "tenant:"
);

impl FleetId {
    /// The first 16 hex digits in groups of four, for people to compare by eye.
    pub fn fingerprint(&self) -> String {
        let hex = self.to_hex();
        [&hex[0..4], &hex[4..8], &hex[8..12], &hex[12..16]].join(" ")
    }
}

impl NodeId {
    /// The first 12 hex digits: enough to tell the nodes of one fleet apart in a list.
    pub fn short(&self) -> String {
        self.to_hex()[..12].to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_the_head_of_the_hex() {
        let id = FleetId([0xab; 32]);
        assert_eq!(id.fingerprint(), "abab abab abab abab");
        assert!("node:ab".parse::<NodeId>().is_err());
        assert_eq!(NodeId([1; 32]).short(), "010101010101");
    }
}
