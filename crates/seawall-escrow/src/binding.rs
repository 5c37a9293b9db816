//! What of the record a capsule is bound to: the one place where escrow meets manifests.
//!
//! The writer of a snapshot, the custodian and the restorer must derive the very same group and
//! label; each doing it for itself would be three chances to disagree.

use seawall_base::{GroupId, Seconds, Timestamp};
use seawall_record::{EscrowGroupRecord, ManifestCore};

use crate::{DealingError, Demand, Group, GroupError, KemPublic, LabelFields, Recipients};

/// How long after a group got post-quantum keys a capsule without a post-quantum half is still
/// believed to come from a node that could not know: a site may be cut off for months.
pub const CLASSICAL_GRACE: Seconds = Seconds::days(90);

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

/// The first group of `newest` that is not as `known` has it and whose key and shares do not fit
/// one another, with what is wrong.
pub fn unsound_group(
    known: &[EscrowGroupRecord],
    newest: &[EscrowGroupRecord],
) -> Option<(GroupId, GroupError)> {
    let mut new = newest.iter().filter(|group| !known.contains(group));
    new.find_map(|group| Some((group.id, Group::of_record(group).err()?)))
}

impl Recipients {
    /// The custodians of a group whose record demands a post-quantum half (`suite` 2); `None` of
    /// one that does not, though its custodians may have keys: records from before had them for
    /// what was to come.
    pub fn of_record(record: &EscrowGroupRecord) -> Result<Option<Self>, DealingError> {
        if record.suite.is_none() {
            return Ok(None);
        }
        let mut keys = Vec::new();
        for custodian in &record.custodians {
            let index = custodian.index;
            let key = custodian.kem.as_ref().ok_or(DealingError::Key { index })?;
            let key = KemPublic::from_bytes(&key.0).map_err(|_| DealingError::Key { index })?;
            keys.push((index, key));
        }
        Self::new(record.threshold, keys).map(Some)
    }
}

impl Demand {
    /// What a group's records, oldest first and each with the time it began to hold, demand of a
    /// capsule made at `created`.
    ///
    /// A post-quantum half may be for the custodians of any of them. None at all is accepted if
    /// at some time in the [`CLASSICAL_GRACE`] before `created` the group demanded none. A record
    /// with keys that are none demands a half that nobody can make: it fails closed.
    pub fn of_history(history: &[(Timestamp, EscrowGroupRecord)], created: Timestamp) -> Self {
        let earliest = created.before(CLASSICAL_GRACE);
        let (mut recipients, mut classical) = (Vec::new(), false);
        for (n, (since, record)) in history.iter().enumerate() {
            let ended = history.get(n + 1).is_some_and(|(next, _)| *next <= earliest);
            let begun = n == 0 || *since <= created;
            match Recipients::of_record(record) {
                Ok(Some(to)) => recipients.push(to),
                Ok(None) => classical |= begun && !ended,
                Err(_) => {}
            }
        }
        Self::post_quantum(recipients, classical)
    }
}

impl LabelFields {
    /// What the capsule of the snapshot with this manifest core is for.
    pub fn of_manifest(core: &ManifestCore) -> Self {
        Self {
            fleet: core.fleet,
            group: core.group,
            node: core.node,
            origin: core.origin.clone(),
            sequence: core.sequence,
            manifest_core: core.digest(),
        }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use seawall_base::{FleetId, GroupId, NodeId, ObjectId, Timestamp};
    use seawall_record::{Base64, ReferenceSet, Totals};
    use serde_json::json;

    use super::*;
    use crate::testkit::{kem_keys, three_of_five};
    use crate::{Capsule, CapsuleError, LabelError, SUITE, SUITE_BOUND, SUITE_PQ};

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

    fn with_keys(group: &Group, seed: &str) -> EscrowGroupRecord {
        let mut it = record(group);
        for (custodian, key) in it.custodians.iter_mut().zip(kem_keys(seed, 5)) {
            custodian.kem = Some(Base64(key.public().as_bytes().to_vec()));
        }
        it.suite = Some(SUITE_PQ);
        it
    }

    #[test]
    fn a_group_is_post_quantum_where_its_record_says_so_and_every_custodian_has_a_key() {
        let (group, _) = three_of_five("record");
        assert_eq!(Recipients::of_record(&record(&group)), Ok(None));
        let mut it = with_keys(&group, "a");
        let to = Recipients::of_record(&it).expect("keys").expect("all have one");
        assert_eq!((to.threshold(), to.keys().len()), (3, 5));
        it.ceremony = "distributed".to_owned();
        assert!(matches!(Recipients::of_record(&it), Ok(Some(_))), "however it was made");
        it.custodians[4].kem = Some(Base64(vec![0xff; 1184]));
        assert_eq!(Recipients::of_record(&it), Err(DealingError::Key { index: 5 }));
        it.custodians[4].kem = None;
        assert_eq!(Recipients::of_record(&it), Err(DealingError::Key { index: 5 }));
        // Records of ceremonies before suite 2 have keys, and nobody sealed anything to them.
        it.suite = None;
        assert_eq!(Recipients::of_record(&it), Ok(None));
    }

    #[test]
    fn what_is_demanded_of_a_capsule_depends_on_when_it_was_made() {
        let (group, _) = three_of_five("record");
        let day = |n: u64| Timestamp(1_800_000_000).after(Seconds::days(n));
        let (plain, keyed, other) =
            (record(&group), with_keys(&group, "a"), with_keys(&group, "b"));
        let fields = |core: &ManifestCore| LabelFields::of_manifest(core);
        let core = core(group.id());
        let seal = |record: &EscrowGroupRecord| {
            let to = Recipients::of_record(record).expect("keys");
            let mut rng = crate::testkit::Seeded::new("made");
            Capsule::seal(&group, &fields(&core), to.as_ref(), b"x", &mut rng).expect("seals")
        };
        let judged = |capsule: &Capsule, history: &[(Timestamp, EscrowGroupRecord)], created| {
            let demand = Demand::of_history(history, created);
            capsule.check(&group, &fields(&core), &demand).map(|_| ()).err()
        };
        let (classical, first, second) = (seal(&plain), seal(&keyed), seal(&other));
        assert_eq!((keyed.suite, first.suite()), (Some(SUITE_PQ), SUITE_BOUND));
        let added = [(day(0), plain.clone()), (day(100), keyed.clone()), (day(300), other)];
        // Before the keys, and as long as a node may not have heard of them.
        for when in [day(0), day(99), day(189), Timestamp(1)] {
            assert_eq!(judged(&classical, &added, when), None, "{when}");
        }
        for when in [day(190), day(191), day(1_000)] {
            assert_eq!(judged(&classical, &added, when), Some(CapsuleError::Downgraded));
        }
        for capsule in [&first, &second] {
            assert_eq!(judged(capsule, &added, day(400)), None, "of any record");
            let early = judged(capsule, &added[..1], day(400));
            assert_eq!(early, Some(CapsuleError::OtherRecipients));
        }
        // A fleet founded with keys never took anything else.
        let founded = [(day(0), keyed.clone())];
        assert_eq!(judged(&classical, &founded, day(1)), Some(CapsuleError::Downgraded));
        // Keys that are none demand what nobody can make.
        let mut broken = keyed;
        broken.custodians[0].kem = Some(Base64(vec![0xff; 1184]));
        let broken = [(day(0), broken)];
        assert_eq!(judged(&classical, &broken, day(1)), Some(CapsuleError::Downgraded));
        assert_eq!(judged(&first, &broken, day(1)), Some(CapsuleError::OtherRecipients));
        assert_eq!(judged(&classical, &[], day(1)), Some(CapsuleError::Downgraded));
        // Keys that the fleet gave up again.
        let given_up = [added[0].clone(), added[1].clone(), (day(200), plain)];
        assert_eq!(judged(&classical, &given_up, day(400)), None);
    }

    #[test]
    fn whatever_a_manifest_says_is_in_the_label() {
        let good = core(GroupId([4; 32]));
        let label = |core: &ManifestCore| LabelFields::of_manifest(core).label(SUITE, &[0; 32]);
        let first = label(&good).expect("a label");
        assert_eq!(label(&good.clone()), Ok(first));
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
            assert_ne!(label(&changed).expect("a label"), first, "edit {n}");
        }
        let nameless = ManifestCore { origin: String::new(), ..good };
        assert_eq!(label(&nameless), Err(LabelError::Origin { found: 0 }));
    }
}
