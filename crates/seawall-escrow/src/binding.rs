//! What of the record a capsule is bound to: the one place where escrow meets manifests.
//!
//! The writer of a snapshot, the custodian and the restorer must derive the very same group and
//! label; each doing it for itself would be three chances to disagree.

use seawall_record::{EscrowGroupRecord, ManifestCore};

use crate::{Group, GroupError, Label, LabelError, LabelFields, SUITE};

impl Group {
    /// The group a genesis statement records, with every point checked and its id recomputed.
    pub fn of_record(record: &EscrowGroupRecord) -> Result<Self, GroupError> {
        let members = record.custodians.iter().map(|c| (c.index, c.share.0)).collect();
        let group = Self::new(&record.class, record.threshold, record.key.0, members)?;
        if group.id() == record.id {
            Ok(group)
        } else {
            Err(GroupError::OtherId { recorded: record.id, derived: group.id() })
        }
    }
}

impl Label {
    /// The label of the snapshot with this manifest core, in the suite without a post-quantum
    /// half.
    pub fn of_manifest(core: &ManifestCore) -> Result<Self, LabelError> {
        LabelFields {
            suite: SUITE,
            fleet: core.fleet,
            group: core.group,
            node: core.node,
            origin: core.origin.clone(),
            sequence: core.sequence,
            manifest_core: core.digest(),
            pq_digest: [0; 32],
        }
        .label()
    }
}
