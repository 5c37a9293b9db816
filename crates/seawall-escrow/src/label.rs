//! What a capsule is *for*: one snapshot of one node, in one fleet, for one escrow group.
//!
//! The label is hashed into the capsule's validity proof and into every partial's proof, so an
//! approval given for one snapshot opens no other. The encoding hashed is the house wire
//! encoding (fixed widths, one length-prefixed string), so two sets of fields never encode alike.
//!
//! A post-quantum half is made before the label that covers it. It is bound to the *core* label:
//! the label of the same fields with zeros for the half's own digest, and in suite 3 to TDH2's two
//! points as well.

use seawall_base::wire::Writer;
use seawall_base::{FleetId, GroupId, NodeId, Sha256};

use crate::capsule::SUITE_BOUND;
use crate::curve::Element;
use crate::dealing::Context;

/// Longest log origin, in bytes.
pub const MAX_ORIGIN: usize = 256;

const CONTEXT: &str = "seawall 2026-11 capsule label v1";
const BINDING_CONTEXT: &str = "seawall 2026-11 pq binding v1";

/// The hash of [`LabelFields`], suite and post-quantum half.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Label(pub [u8; 32]);

/// Why fields make no label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// The origin is empty or too long.
    #[error("capsule label has a log origin of {found} bytes; 1 to {MAX_ORIGIN} are allowed")]
    Origin {
        /// The origin's length in bytes.
        found: usize,
    },
}

/// Everything a capsule is bound to (DESIGN, "Snapshots and consensus"), its suite and its
/// post-quantum half excepted: those the capsule has itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelFields {
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
}

impl LabelFields {
    /// The label: BLAKE3 `derive_key` over the wire encoding of suite, fields in order, and digest
    /// of the post-quantum half (zeros where the suite has none).
    pub fn label(&self, suite: u8, pq_digest: &[u8; 32]) -> Result<Label, LabelError> {
        if self.origin.is_empty() || self.origin.len() > MAX_ORIGIN {
            return Err(LabelError::Origin { found: self.origin.len() });
        }
        let mut w = Writer::new();
        w.u8(suite)
            .raw(self.fleet.as_bytes())
            .raw(self.group.as_bytes())
            .raw(self.node.as_bytes())
            .bytes(self.origin.as_bytes())
            .u64(self.sequence)
            .raw(self.manifest_core.as_bytes())
            .raw(pq_digest);
        Ok(Label(blake3::derive_key(CONTEXT, w.as_slice())))
    }

    /// What of these fields a post-quantum half of a suite is bound to.
    pub fn core_label(&self, suite: u8) -> Result<Label, LabelError> {
        self.label(suite, &[0; 32])
    }

    /// What the post-quantum half of a capsule with these points is bound to.
    pub(crate) fn half_context(
        &self,
        suite: u8,
        u: &Element,
        u_bar: &Element,
    ) -> Result<Context, LabelError> {
        let core = self.core_label(suite)?.0;
        if suite != SUITE_BOUND {
            return Ok(Context::of_place(core));
        }
        let mut w = Writer::new();
        w.raw(&core).raw(u.bytes()).raw(u_bar.bytes());
        Ok(Context::of_commitments(blake3::derive_key(BINDING_CONTEXT, w.as_slice())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capsule::{SUITE, SUITE_PQ};
    use crate::testkit::label_fields;

    #[test]
    fn an_unusable_origin_makes_no_label() {
        let good = label_fields(GroupId([4; 32]));
        for (len, ok) in [(0, false), (1, true), (256, true), (257, false)] {
            let fields = LabelFields { origin: "o".repeat(len), ..good.clone() };
            assert_eq!(fields.label(SUITE, &[0; 32]).is_ok(), ok, "{len}");
            assert_eq!(fields.core_label(SUITE_BOUND).is_ok(), ok, "{len}");
        }
    }

    #[test]
    fn every_field_suite_and_half_changes_the_label() {
        let good = label_fields(GroupId([4; 32]));
        let label = |fields: &LabelFields, suite, pq| fields.label(suite, pq).expect("valid");
        let mut seen = std::collections::HashSet::from([label(&good, SUITE, &[0; 32])]);
        for (name, changed) in crate::testkit::changed_labels(&good) {
            assert!(seen.insert(label(&changed, SUITE, &[0; 32])), "{name}");
        }
        assert!(seen.insert(label(&good, SUITE, &[9; 32])));
        assert!(seen.insert(label(&good, SUITE_PQ, &[9; 32])));
        assert!(seen.insert(label(&good, SUITE_BOUND, &[9; 32])));
        for suite in [SUITE_PQ, SUITE_BOUND] {
            assert!(seen.insert(good.core_label(suite).expect("valid")));
        }
    }
}
