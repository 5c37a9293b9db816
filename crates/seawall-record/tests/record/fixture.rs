//! One small fleet with everything in it, and the means to break any part.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use seawall_base::{GroupId, NodeId, ObjectId, Seconds, Sha256, Timestamp};
use seawall_record::{
    Base64, CustodianRecord, DossierParts, Enrolment, EscrowGroupRecord, Fleet, Genesis, Hex32,
    Manifest, ManifestCore, RecordError, ReferenceSet, Request, Role, Subkey, Totals,
    WitnessRecord,
};
use seawall_sign::{Envelope, Predicate, SignError, Signer, SigningKey, Statement, Subject};

/// The moment around which everything happens: 2026-11-20T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_132_800);
pub(crate) const ORIGIN: &str = "seawall/fleet/node/1";
pub(crate) const GROUP: GroupId = GroupId([0x61; 32]);
pub(crate) const OTHER_GROUP: GroupId = GroupId([0x62; 32]);

/// A key that is the same in every run.
pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) fn root() -> SigningKey {
    key(1)
}

pub(crate) fn identity() -> SigningKey {
    key(10)
}

pub(crate) fn subkey_key() -> SigningKey {
    key(11)
}

pub(crate) fn requester_identity() -> SigningKey {
    key(20)
}

pub(crate) fn requester_subkey() -> SigningKey {
    key(21)
}

pub(crate) fn region_identity() -> SigningKey {
    key(30)
}

pub(crate) fn group(id: GroupId, class: &str, class_number: u8) -> EscrowGroupRecord {
    let custodian = |index: u16| CustodianRecord {
        index,
        name: format!("custodian-{index}"),
        signing_key: key(100 + 10 * class_number + index as u8).public(),
        share: Hex32([index as u8; 32]),
        kem: None,
        endpoint: None,
    };
    EscrowGroupRecord {
        id,
        class: class.to_owned(),
        class_number,
        threshold: 2,
        key: Hex32([0x40 + class_number; 32]),
        ceremony: "local".to_owned(),
        share_epoch: 0,
        suite: None,
        retired: false,
        custodians: (1..=3).map(custodian).collect(),
    }
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        policy_version: 1,
        fleet_name: "harbour".to_owned(),
        root_keys: vec![root().public()],
        root_threshold: 1,
        groups: vec![group(GROUP, "customers", 1), group(OTHER_GROUP, "web", 2)],
        witnesses: vec![WitnessRecord {
            operator: "neighbour".to_owned(),
            name: "witness.example".to_owned(),
            key: key(40).public(),
            endpoint: None,
        }],
        created: NOW.before(Seconds::days(30)),
        nonce: Hex32([9; 32]),
    }
}

/// Signs a genesis statement with `roots` and opens it.
pub(crate) fn open_genesis(genesis: Genesis, roots: &[&dyn Signer]) -> Result<Fleet, RecordError> {
    let subject = Fleet::subject(&genesis);
    Fleet::open(Statement::new(subject, genesis).sign(roots).expect("signed"))
}

pub(crate) fn fleet() -> Fleet {
    open_genesis(genesis(), &[&root()]).expect("a good genesis statement")
}

/// A fleet with the same keys and another id.
pub(crate) fn other_fleet() -> Fleet {
    let other = Genesis { nonce: Hex32([8; 32]), ..genesis() };
    open_genesis(other, &[&root()]).expect("a good genesis statement")
}

pub(crate) fn node_enrolment() -> Enrolment {
    Enrolment {
        fleet: fleet().id(),
        role: Role::Node,
        name: "site-a".to_owned(),
        epoch: 1,
        identity: identity().public(),
        transport: key(12).public(),
        recipient: Some(Base64(vec![7; 8])),
        tenant: Some("default".to_owned()),
        issued: NOW.before(Seconds::days(20)),
    }
}

pub(crate) fn requester_enrolment() -> Enrolment {
    Enrolment {
        name: "site-b".to_owned(),
        identity: requester_identity().public(),
        transport: key(22).public(),
        ..node_enrolment()
    }
}

pub(crate) fn region_enrolment() -> Enrolment {
    Enrolment {
        role: Role::Region,
        name: "region-a".to_owned(),
        identity: region_identity().public(),
        transport: key(32).public(),
        recipient: None,
        tenant: None,
        ..node_enrolment()
    }
}

pub(crate) fn by_root(enrolment: Enrolment) -> Envelope {
    enrolment.statement().sign(&[&root()]).expect("signed")
}

pub(crate) fn subkey() -> Subkey {
    Subkey {
        fleet: fleet().id(),
        node: identity().public().node_id(),
        key: subkey_key().public(),
        not_before: NOW.before(Seconds::days(3)),
        not_after: NOW.after(Seconds::days(4)),
    }
}

pub(crate) fn by_identity(subkey: Subkey) -> Envelope {
    subkey.statement().sign(&[&identity()]).expect("signed")
}

/// The manifest of the snapshot with this sequence number, of which all else is good.
pub(crate) fn manifest(sequence: u64, previous: Option<Sha256>) -> Manifest {
    Manifest {
        core: ManifestCore {
            fleet: fleet().id(),
            node: identity().public().node_id(),
            origin: ORIGIN.to_owned(),
            sequence,
            previous,
            created: NOW,
            class: 1,
            group: GROUP,
            reference_set: ReferenceSet { root: ObjectId([5; 32]), count: 3, bytes: 4_096 },
            totals: Totals { files: 2, directories: 1, others: 0, bytes: 900, problems: 0 },
            set: None,
            tags: Vec::new(),
        },
        capsule: Base64(vec![0xca; 300]),
        path_index: Vec::new(),
    }
}

pub(crate) fn by_subkey(manifest: Manifest) -> Envelope {
    manifest.statement().sign(&[&subkey_key()]).expect("signed")
}

pub(crate) fn request() -> Request {
    Request {
        fleet: fleet().id(),
        manifest: by_subkey(manifest(1, None)).digest(),
        origin: ORIGIN.to_owned(),
        index: 2,
        requester: requester_identity().public().node_id(),
        one_time_key: Base64(vec![0x0a; 16]),
        nonce: Hex32([3; 32]),
        created: NOW,
        expires: NOW.after(Seconds::days(3)),
        reason: "disk of site-a died".to_owned(),
        drill: false,
    }
}

pub(crate) fn by_requester(request: Request) -> Envelope {
    request.statement().sign(&[&requester_subkey()]).expect("signed")
}

pub(crate) fn requester_certificate() -> Subkey {
    Subkey {
        node: requester_identity().public().node_id(),
        key: requester_subkey().public(),
        ..subkey()
    }
}

/// A dossier that verifies.
pub(crate) fn parts() -> DossierParts {
    let certified = by_identity(subkey());
    let requester = requester_certificate().statement();
    DossierParts {
        request: by_requester(request()),
        genesis: fleet().envelope().clone(),
        policies: Vec::new(),
        requester: [
            by_root(requester_enrolment()),
            requester.sign(&[&requester_identity()]).expect("signed"),
        ],
        author: [by_root(node_enrolment()), certified.clone(), certified],
        manifest: by_subkey(manifest(1, None)),
        checkpoint: "seawall/fleet/node/1\n3\nAAAA\n\n".to_owned(),
        inclusion: vec![Sha256([1; 32]), Sha256([2; 32])],
        break_glass: None,
    }
}

/// The envelope with its payload changed and its signatures kept.
pub(crate) fn tampered(envelope: &Envelope, from: &str, to: &str) -> Envelope {
    let payload = String::from_utf8(envelope.unverified_payload().to_vec()).expect("JSON");
    assert!(payload.contains(from), "{from:?} is not in {payload}");
    let changed = BASE64.encode(payload.replacen(from, to, 1));
    let mut json: serde_json::Value =
        serde_json::from_slice(&envelope.to_json()).expect("an envelope");
    json["payload"] = changed.into();
    Envelope::parse(json.to_string().as_bytes()).expect("still an envelope")
}

/// A predicate of no kind a log or a reader knows.
#[derive(serde::Serialize, serde::Deserialize)]
pub(crate) struct Foreign {
    pub(crate) text: String,
}

impl Predicate for Foreign {
    const TYPE: &'static str = "urn:example:predicate:foreign:1";
}

pub(crate) fn foreign(signer: &SigningKey) -> Envelope {
    let subject = Subject::sha256("thing", Sha256([1; 32]));
    let it = Statement::new(subject, Foreign { text: "hello".to_owned() });
    it.sign(&[signer]).expect("signed")
}

/// The rule an error names; panics if it is another kind of error.
pub(crate) fn rule(e: &RecordError) -> &str {
    match e {
        RecordError::Refused { why, .. } => why,
        other => panic!("expected a broken rule, found: {other}"),
    }
}

/// The signature error inside.
pub(crate) fn signature(e: RecordError) -> SignError {
    match e {
        RecordError::Statement { source, .. } => source,
        other => panic!("expected a signature error, found: {other}"),
    }
}

pub(crate) fn node_of(n: u8) -> NodeId {
    key(n).public().node_id()
}
