//! What the targets share: one small fleet with known keys.
//!
//! A fuzzer cannot sign. Targets whose subject lies behind a signature sign the input themselves,
//! with the keys of this fleet, so that mutation reaches the rules instead of the signature check.

use std::sync::OnceLock;

use seawall_base::{FleetId, NodeId, ObjectId, Seconds, Sha256, Timestamp};
use seawall_escrow::{
    Capsule, CheckedCapsule, Demand, Group, KemPublic, KemSecret, LabelFields, OneTimeSecret,
    Recipients, SecretShare, ceremony as group_making,
};
use seawall_record::{
    Base64, Ceremony, CeremonyKind, CeremonyOpening, CustodianCard, CustodianRecord, DeletionRule,
    Enrolment, EscrowGroupRecord, Fleet, Genesis, Hex32, LogState, Manifest, ManifestCore,
    Participant, ReferenceSet, Role, SUITE_PQ, Subkey, Totals,
};
use seawall_sign::{Envelope, SigningKey, Statement};
use seawall_sim::SeededRng;

/// Seed of the fleet's one root key.
pub const ROOT: u8 = 1;
/// Seed of the node's identity key.
pub const NODE: u8 = 2;
/// Seed of the node's signing subkey.
pub const SUBKEY: u8 = 3;
/// The node's log.
pub const ORIGIN: &str = "example.org/log";

/// The key of a seed.
pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// Any payload as a statement that `key` signed.
pub fn sign(payload: &[u8], key: &SigningKey) -> Envelope {
    Envelope::sign("application/vnd.in-toto+json", payload.to_vec(), &[key])
}

fn ceremony_of_two() -> &'static (Group, Vec<SecretShare>) {
    static CEREMONY: OnceLock<(Group, Vec<SecretShare>)> = OnceLock::new();
    CEREMONY.get_or_init(|| {
        group_making::local(3, 2, "standard", &mut SeededRng::new(1)).expect("two of three")
    })
}

/// The fleet's escrow group, two of three.
pub fn group() -> &'static Group {
    &ceremony_of_two().0
}

/// Its shares.
pub fn shares() -> &'static [SecretShare] {
    &ceremony_of_two().1
}

/// What the group's capsules are for.
pub fn label_fields() -> LabelFields {
    LabelFields {
        fleet: FleetId([5; 32]),
        group: group().id(),
        node: NodeId([6; 32]),
        origin: ORIGIN.into(),
        sequence: 1,
        manifest_core: Sha256([7; 32]),
    }
}

/// Its custodians' post-quantum keys.
pub fn kem_keys() -> Vec<KemSecret> {
    (1..=3).map(|n| KemSecret::from_bytes(&[n; 32])).collect()
}

fn post_quantum(index: u16) -> KemPublic {
    kem_keys()[usize::from(index) - 1].public()
}

/// Whom a post-quantum half is dealt to.
pub fn recipients() -> Recipients {
    let keys = (1..).zip(kem_keys().iter().map(KemSecret::public)).collect();
    Recipients::new(2, keys).expect("two of three")
}

/// A valid capsule of that group.
pub fn capsule() -> &'static CheckedCapsule {
    static CAPSULE: OnceLock<CheckedCapsule> = OnceLock::new();
    CAPSULE.get_or_init(|| sealed(None, &Demand::classical()))
}

/// A valid capsule of that group with a post-quantum half.
pub fn quantum_capsule() -> &'static CheckedCapsule {
    static CAPSULE: OnceLock<CheckedCapsule> = OnceLock::new();
    CAPSULE.get_or_init(|| {
        let to = recipients();
        sealed(Some(&to), &Demand::post_quantum(vec![to.clone()], false))
    })
}

fn sealed(to: Option<&Recipients>, demand: &Demand) -> CheckedCapsule {
    let (rng, payload) = (&mut SeededRng::new(2), b"a root reference");
    Capsule::seal(group(), &label_fields(), to, payload, rng)
        .and_then(|capsule| capsule.check(group(), &label_fields(), demand))
        .expect("sealed to this group")
}

/// What the fleet's genesis says.
pub fn genesis() -> Genesis {
    let custodians = group().members().iter().map(|member| CustodianRecord {
        index: member.index(),
        name: format!("custodian {}", member.index()),
        signing_key: key(10 + member.index() as u8).public(),
        share: Hex32(member.verification_share()),
        kem: Some(Base64(post_quantum(member.index()).as_bytes().to_vec())),
        endpoint: None,
    });
    Genesis {
        policy_version: 1,
        fleet_name: "example".into(),
        root_keys: vec![key(ROOT).public()],
        root_threshold: 1,
        groups: vec![EscrowGroupRecord {
            id: group().id(),
            class: group().class().to_owned(),
            class_number: 1,
            threshold: group().threshold(),
            key: Hex32(group().key()),
            ceremony: "local".into(),
            share_epoch: 0,
            suite: Some(SUITE_PQ),
            retired: false,
            custodians: custodians.collect(),
        }],
        witnesses: vec![],
        created: Timestamp(1_700_000_000),
        nonce: Hex32([6; 32]),
    }
}

/// The fleet.
pub fn fleet() -> Fleet {
    static FLEET: OnceLock<Fleet> = OnceLock::new();
    let found = || {
        let genesis = genesis();
        let statement = Statement::new(Fleet::subject(&genesis), genesis);
        let envelope = statement.sign(&[&key(ROOT)]).expect("it is small");
        Fleet::open(envelope).expect("a well-formed fleet")
    };
    FLEET.get_or_init(found).clone()
}

/// The fleet after a policy that lets two custodians delete.
pub fn ruled() -> Fleet {
    static FLEET: OnceLock<Fleet> = OnceLock::new();
    let made = || {
        let mut policy = fleet().policy().clone();
        policy.version = 2;
        policy.previous = fleet().policy_digest();
        policy.deletion = Some(DeletionRule { min_age: Seconds::days(30), custodians: 2 });
        let envelope = policy.statement().sign(&[&key(ROOT)]).expect("it is small");
        fleet().advance(envelope).expect("a good policy")
    };
    FLEET.get_or_init(made).clone()
}

/// A log of two snapshots in that fleet.
pub fn deletable_log() -> LogState {
    static LOG: OnceLock<LogState> = OnceLock::new();
    let made = || {
        let mut log = LogState::new(ruled(), ORIGIN);
        for entry in deletable_entries() {
            log.accept(&entry.to_json()).expect("a good entry");
        }
        log
    };
    LOG.get_or_init(made).clone()
}

/// The node's enrolment.
pub fn enrolment() -> Enrolment {
    Enrolment {
        fleet: fleet().id(),
        role: Role::Node,
        name: "edge".into(),
        epoch: 1,
        identity: key(NODE).public(),
        transport: key(20).public(),
        recipient: Some(Base64(vec![1; 8])),
        tenant: Some("tenant".into()),
        issued: Timestamp(1_700_000_100),
    }
}

/// Its entries: enrolment, subkey, two snapshots.
pub fn deletable_entries() -> Vec<Envelope> {
    let (enrolment, now) = (enrolment(), Timestamp(1_700_000_100));
    let fleet = enrolment.fleet;
    let node = enrolment.node();
    let not_after = now.after(Subkey::MAX_VALIDITY);
    let subkey = Subkey { fleet, node, key: key(SUBKEY).public(), not_before: now, not_after };
    let mut out = vec![
        enrolment.statement().sign(&[&key(ROOT)]).expect("it is small"),
        subkey.statement().sign(&[&key(NODE)]).expect("it is small"),
    ];
    for sequence in 1..=2 {
        let core = ManifestCore {
            fleet,
            node,
            origin: ORIGIN.into(),
            sequence,
            previous: out.last().filter(|_| sequence > 1).map(Envelope::digest),
            created: now,
            class: 1,
            group: group().id(),
            reference_set: ReferenceSet { root: ObjectId([5; 32]), count: 3, bytes: 4_096 },
            totals: Totals::default(),
            set: None,
            tags: Vec::new(),
        };
        let manifest = Manifest { core, capsule: Base64(vec![7; 64]), path_index: Vec::new() };
        out.push(manifest.statement().sign(&[&key(SUBKEY)]).expect("it is small"));
    }
    out
}

/// The signing key of a participant in [`ceremony`].
pub fn ceremony_key(index: u16) -> SigningKey {
    key(30 + index as u8)
}

/// A ceremony that makes a group of two of three.
pub fn ceremony() -> Ceremony {
    let card = |index: u16| CustodianCard {
        format: CustodianCard::FORMAT.into(),
        name: format!("custodian {index}"),
        operator: format!("operator {index}"),
        signing_key: ceremony_key(index).public(),
        recipient: Base64(
            OneTimeSecret::from_bytes(&[index as u8; 32]).public().as_bytes().to_vec(),
        ),
        kem: Base64(KemSecret::from_bytes(&[index as u8; 32]).public().as_bytes().to_vec()),
        witness: key(40 + index as u8).public(),
        transport: key(50 + index as u8).public(),
        address: None,
        signature: None,
    };
    let card = |index: u16| card(index).sign(&ceremony_key(index));
    let cards: Vec<_> = (1..=3).map(card).collect();
    let participants = (1..).zip(&cards).map(|(index, card)| Participant {
        index,
        name: card.name.clone(),
        signing_key: card.signing_key,
        card: card.digest(),
    });
    let opening = CeremonyOpening {
        kind: CeremonyKind::New,
        fleet: None,
        class: "standard".into(),
        class_number: 1,
        threshold: 2,
        participants: participants.collect(),
        previous: None,
        dealers: vec![],
        repaired: None,
        suite: Some(SUITE_PQ),
        confirmed: false,
        reason: "fuzzing".into(),
        created: Timestamp(1_700_000_000),
        nonce: Hex32([7; 32]),
    };
    let statement = opening.statement().expect("a sound opening");
    let envelope = statement.sign(&[&ceremony_key(1)]).expect("it is small");
    Ceremony::new(envelope, cards).expect("its own cards")
}
