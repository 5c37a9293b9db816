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

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use seawall_base::{FleetId, GroupId, NodeId, ObjectId, Timestamp};
    use seawall_record::{ReferenceSet, Totals};
    use serde_json::json;

    use super::*;
    use crate::testkit::three_of_five;

    /// The record of a group, with the Ed25519 base point as everyone's signing key.
    fn record(group: &Group) -> EscrowGroupRecord {
        let mut point = [0x66; 32];
        point[0] = 0x58;
        let key = base64::engine::general_purpose::STANDARD.encode(point);
        let custodians = group.members().iter().map(|m| {
            json!({
                "index": m.index(),
                "name": "custodian",
                "signing_key": format!("ed25519:{key}"),
                "share": hex::encode(m.verification_share()),
            })
        });
        serde_json::from_value(json!({
            "id": group.id(),
            "class": group.class(),
            "class_number": 2,
            "threshold": group.threshold(),
            "key": hex::encode(group.key()),
            "ceremony": "local",
            "custodians": custodians.collect::<Vec<_>>(),
        }))
        .expect("a record")
    }

    fn core(group: GroupId) -> ManifestCore {
        ManifestCore {
            fleet: FleetId([1; 32]),
            node: NodeId([3; 32]),
            origin: "fleet/node/1".to_owned(),
            sequence: 7,
            previous: None,
            created: Timestamp(1_795_132_799),
            class: 2,
            group,
            reference_set: ReferenceSet { root: ObjectId([5; 32]), count: 1, bytes: 9 },
            totals: Totals::default(),
            set: None,
            tags: Vec::new(),
        }
    }

    #[test]
    fn a_recorded_group_is_checked_and_its_id_recomputed() {
        let (group, _) = three_of_five("record");
        let good = record(&group);
        assert_eq!(Group::of_record(&good), Ok(group.clone()));
        let (other, _) = three_of_five("another group");
        let swapped = EscrowGroupRecord { id: group.id(), ..record(&other) };
        assert_eq!(
            Group::of_record(&swapped),
            Err(GroupError::OtherId { recorded: group.id(), derived: other.id() })
        );
        let mut weaker = good;
        weaker.threshold = 2;
        assert_eq!(Group::of_record(&weaker), Err(GroupError::WrongKey));
    }

    #[test]
    fn whatever_a_manifest_says_is_in_the_label() {
        let good = core(GroupId([4; 32]));
        let label = Label::of_manifest(&good).expect("a label");
        assert_eq!(Label::of_manifest(&good.clone()), Ok(label));
        let edits: [fn(&mut ManifestCore); 9] = [
            |m| m.fleet.0[0] ^= 1,
            |m| m.node.0[0] ^= 1,
            |m| m.group.0[0] ^= 1,
            |m| m.origin.push('1'),
            |m| m.sequence += 1,
            |m| m.created = Timestamp(0),
            |m| m.class += 1,
            |m| m.reference_set.root.0[0] ^= 1,
            |m| m.totals.files += 1,
        ];
        for (n, edit) in edits.into_iter().enumerate() {
            let mut changed = good.clone();
            edit(&mut changed);
            assert_ne!(Label::of_manifest(&changed).expect("a label"), label, "edit {n}");
        }
        let nameless = ManifestCore { origin: String::new(), ..good };
        assert_eq!(Label::of_manifest(&nameless), Err(LabelError::Origin { found: 0 }));
    }
}
