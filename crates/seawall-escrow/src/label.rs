//! What a capsule is *for*: one snapshot of one node, in one fleet, for one escrow group.
//!
//! The label is hashed into the capsule's validity proof and into every partial's proof, so an
//! approval given for one snapshot opens no other. The encoding hashed is the house wire
//! encoding (fixed widths, one length-prefixed string), so two sets of fields never encode alike.

use seawall_base::wire::Writer;
use seawall_base::{FleetId, GroupId, NodeId, Sha256};

use crate::capsule::SUITE;

/// Longest log origin, in bytes.
pub const MAX_ORIGIN: usize = 256;

const CONTEXT: &str = "seawall 2026-11 capsule label v1";

/// The hash of [`LabelFields`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(pub [u8; 32]);

/// Why fields make no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A suite this version does not know.
    #[error("capsule label names suite {found}, this version knows suite {SUITE}; upgrade seawall")]
    Suite {
        /// The suite named.
        found: u8,
    },
    /// The origin is empty or too long.
    #[error("capsule label has a log origin of {found} bytes; 1 to {MAX_ORIGIN} are allowed")]
    Origin {
        /// The origin's length in bytes.
        found: usize,
    },
}

/// Everything a capsule is bound to (DESIGN, "Snapshots and consensus").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFields {
    /// The cryptographic suite of the capsule.
    pub suite: u8,
    /// The fleet.
    pub fleet: FleetId,
    /// The escrow group the capsule is sealed to.
    pub group: GroupId,
    /// The node whose snapshot it is.
    pub node: NodeId,
    /// The origin line of the node's log, 1 to [`MAX_ORIGIN`] bytes.
    pub origin: String,
    /// The snapshot's sequence number.
    pub sequence: u64,
    /// SHA-256 of the manifest without its capsule.
    pub manifest_core: Sha256,
    /// Digest of the post-quantum half; all zero where the suite has none.
    pub pq_digest: [u8; 32],
}

impl LabelFields {
    /// The label: BLAKE3 `derive_key` over the wire encoding of the fields in order.
    pub fn label(&self) -> Result<Label, LabelError> {
        if self.suite != SUITE {
            return Err(LabelError::Suite { found: self.suite });
        }
        if self.origin.is_empty() || self.origin.len() > MAX_ORIGIN {
            return Err(LabelError::Origin { found: self.origin.len() });
        }
        let mut w = Writer::new();
        w.u8(self.suite)
            .raw(self.fleet.as_bytes())
            .raw(self.group.as_bytes())
            .raw(self.node.as_bytes())
            .bytes(self.origin.as_bytes())
            .u64(self.sequence)
            .raw(self.manifest_core.as_bytes())
            .raw(&self.pq_digest);
        Ok(Label(blake3::derive_key(CONTEXT, w.as_slice())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::label_fields;

    #[test]
    fn an_unknown_suite_and_an_unusable_origin_make_no_label() {
        let good = label_fields(GroupId([4; 32]));
        good.label().expect("the fields are in range");
        let suite = LabelFields { suite: 2, ..good.clone() };
        assert_eq!(suite.label(), Err(LabelError::Suite { found: 2 }));
        assert!(suite.label().expect_err("refused").to_string().contains("upgrade"));
        for (len, ok) in [(0, false), (1, true), (256, true), (257, false)] {
            let fields = LabelFields { origin: "o".repeat(len), ..good.clone() };
            assert_eq!(fields.label().is_ok(), ok, "{len}");
        }
    }

    #[test]
    fn every_field_changes_the_label() {
        let good = label_fields(GroupId([4; 32]));
        let mut seen = std::collections::HashSet::from([good.label().expect("valid")]);
        for (name, changed) in crate::testkit::changed_labels(&good) {
            assert!(seen.insert(changed.label().expect("valid")), "{name}");
        }
    }
}
