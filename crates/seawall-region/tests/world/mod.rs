//! A small fleet for tests: root key, members, hand-made snapshots of random bytes.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part of it")]

use std::sync::Arc;

use seawall_base::wire::Writer;
use seawall_base::{Disk, GroupId, ObjectId, Rng as _, Seconds, Sha256, Timestamp};
use seawall_record::reference_set::{Member, build};
use seawall_record::{
    Base64, CustodianRecord, Enrolment, EscrowGroupRecord, Fleet, Genesis, Hex32, Manifest,
    ManifestCore, Role, Subkey, Totals,
};
use seawall_sign::{Envelope, SigningKey, Statement, VerifyingKey};
use seawall_sim::{SeededRng, SimDisk};
use seawall_store::{Options, Store};
use seawall_sync::{Push, Pushed, Receipts, SyncError, Tier};
use seawall_tlog::{Log, Origin};

pub struct World {
    root: SigningKey,
    pub fleet: Fleet,
    pub now: Timestamp,
}

/// A key that a small number names.
pub fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

/// `count` objects of random bytes that `seed` names.
pub fn objects(seed: u64, count: usize) -> Vec<Vec<u8>> {
    let mut rng = SeededRng::new(seed);
    (0..count)
        .map(|_| {
            let mut bytes = vec![0; 100 + rng.below(5_000) as usize];
            rng.fill(&mut bytes);
            bytes
        })
        .collect()
}

impl World {
    pub fn new(seed: u8, now: Timestamp) -> Self {
        let root = key(seed);
        let custodian = CustodianRecord {
            index: 1,
            name: "custodian".to_owned(),
            signing_key: key(200).public(),
            share: Hex32([1; 32]),
            kem: None,
            endpoint: None,
        };
        let group = EscrowGroupRecord {
            id: GroupId([7; 32]),
            class: "customer".to_owned(),
            class_number: 1,
            threshold: 1,
            key: Hex32([2; 32]),
            ceremony: "local".to_owned(),
            share_epoch: 0,
            suite: None,
            retired: false,
            custodians: vec![custodian],
        };
        let genesis = Genesis {
            policy_version: 1,
            fleet_name: "test fleet".to_owned(),
            root_keys: vec![root.public()],
            root_threshold: 1,
            groups: vec![group],
            witnesses: vec![],
            created: now,
            nonce: Hex32([seed; 32]),
        };
        let envelope = Statement::new(Fleet::subject(&genesis), genesis)
            .sign(&[&root])
            .expect("a genesis statement is small");
        Self { root, fleet: Fleet::open(envelope).expect("a good genesis"), now }
    }

    pub fn enrol(&self, enrolment: Enrolment) -> Envelope {
        enrolment.statement().sign(&[&self.root]).expect("an enrolment is small")
    }

    pub fn region(&self, name: &str, identity: VerifyingKey, transport: VerifyingKey) -> Enrolment {
        let envelope = self.region_envelope(name, identity, transport);
        Enrolment::open(&self.fleet, &envelope, Role::Region).expect("a good enrolment")
    }

    pub fn region_envelope(
        &self,
        name: &str,
        identity: VerifyingKey,
        transport: VerifyingKey,
    ) -> Envelope {
        let enrolment = Enrolment {
            fleet: self.fleet.id(),
            role: Role::Region,
            name: name.to_owned(),
            epoch: 1,
            identity,
            transport,
            recipient: None,
            tenant: None,
            issued: self.now,
        };
        self.enrol(enrolment)
    }

    /// A node with an empty log on a disk of its own: `seed`, `seed + 1` and `seed + 2` name its keys.
    pub fn node(&self, seed: u8, tenant: &str) -> Node {
        self.node_of_epoch(seed, tenant, 1)
    }

    pub fn node_of_epoch(&self, seed: u8, tenant: &str, epoch: u32) -> Node {
        let (identity, transport, subkey) = (key(seed), key(seed + 1), key(seed + 2));
        let enrolment = Enrolment {
            fleet: self.fleet.id(),
            role: Role::Node,
            name: format!("node {seed}"),
            epoch,
            identity: identity.public(),
            transport: transport.public(),
            recipient: Some(Base64(vec![0; 32])),
            tenant: Some(tenant.to_owned()),
            issued: self.now,
        };
        let envelope = self.enrol(enrolment.clone());
        let certified = Subkey {
            fleet: self.fleet.id(),
            node: enrolment.node(),
            key: subkey.public(),
            not_before: self.now.before(Seconds::days(1)),
            not_after: self.now.after(Seconds::days(10)),
        };
        let certified = certified.statement().sign(&[&identity]).expect("a subkey is small");
        let mut node = Node::open(self, enrolment, envelope, transport, subkey, SimDisk::new());
        node.append(&[node.envelope.to_json(), certified.to_json()]);
        node
    }
}

pub struct Node {
    pub fleet: Fleet,
    pub enrolment: Enrolment,
    pub envelope: Envelope,
    pub transport: SigningKey,
    pub subkey: SigningKey,
    pub disk: SimDisk,
    pub store: Store,
    pub log: Log,
    pub last: Option<(u64, Sha256)>,
    pub now: Timestamp,
}

impl Node {
    fn open(
        world: &World,
        enrolment: Enrolment,
        envelope: Envelope,
        transport: SigningKey,
        subkey: SigningKey,
        disk: SimDisk,
    ) -> Self {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let (store, _) =
            Store::open(shared.clone(), "objects", Options::default()).expect("a store");
        let origin = Origin::of_node(world.fleet.id(), enrolment.node(), enrolment.epoch);
        let (log, _) = Log::open(shared, "log", &origin).expect("a log");
        let (fleet, now) = (world.fleet.clone(), world.now);
        Self { fleet, enrolment, envelope, transport, subkey, disk, store, log, last: None, now }
    }

    /// This node as it stands, on a copy of its disk: a backup of its home, restored.
    pub fn restored_from_copy(&self, world: &World) -> Self {
        let disk = self.disk.power_cut(seawall_sim::PowerCut::KeepUnsynced);
        let (enrolment, envelope) = (self.enrolment.clone(), self.envelope.clone());
        let (transport, subkey) = (
            SigningKey::from_seed(&self.transport.seed()),
            SigningKey::from_seed(&self.subkey.seed()),
        );
        let mut node = Self::open(world, enrolment, envelope, transport, subkey, disk);
        node.last = self.last;
        node
    }

    pub fn append(&mut self, entries: &[Vec<u8>]) {
        self.log.append(entries).expect("appended");
        self.log.sign_checkpoint(&self.subkey).expect("signed");
    }

    /// A manifest of `bodies` that continues from `last`, with everything it needs in the store.
    pub fn manifest(&mut self, bodies: &[Vec<u8>]) -> Envelope {
        let mut members: Vec<Member> =
            bodies.iter().map(|b| Member { id: ObjectId::of(b), len: b.len() as u32 }).collect();
        members.sort();
        members.dedup();
        for body in bodies {
            self.store.put(ObjectId::of(body), None, body).expect("put");
        }
        let mut pages = Vec::new();
        let reference_set = build(&members, &mut |id, bytes| pages.push((id, bytes)));
        for (id, bytes) in pages {
            self.store.put(id, None, &bytes).expect("put");
        }
        self.store.flush().expect("flushed");
        let core = ManifestCore {
            fleet: self.fleet.id(),
            node: self.enrolment.node(),
            origin: self.log.origin().to_string(),
            sequence: self.last.map_or(1, |(sequence, _)| sequence + 1),
            previous: self.last.map(|(_, digest)| digest),
            created: self.now,
            class: 1,
            group: GroupId([7; 32]),
            reference_set,
            totals: Totals::default(),
            set: None,
            tags: Vec::new(),
        };
        let capsule = Base64(Writer::new().u64(1).clone().into_vec());
        Manifest { core, capsule, path_index: Vec::new() }
            .statement()
            .sign(&[&self.subkey])
            .expect("small")
    }

    /// Makes a snapshot of `bodies` and logs it; returns its index.
    pub fn snapshot(&mut self, bodies: &[Vec<u8>]) -> u64 {
        let envelope = self.manifest(bodies);
        self.last = Some((self.last.map_or(1, |(s, _)| s + 1), envelope.digest()));
        self.append(&[envelope.to_json()]);
        self.log.size() - 1
    }

    pub fn receipts(&self, region: &Enrolment) -> Receipts {
        Receipts::open(Arc::new(self.disk.clone()), "receipts", region.identity).expect("receipts")
    }

    pub fn push(&mut self, tier: &dyn Tier, region: &Enrolment) -> Result<Pushed, SyncError> {
        let mut receipts = self.receipts(region);
        let mut push = Push {
            fleet: &self.fleet,
            region,
            log: &mut self.log,
            objects: &self.store,
            receipts: &mut receipts,
        };
        let mut last = seawall_sync::Progress::default();
        push.run(tier, &mut SeededRng::new(5), &mut |p| {
            assert!(p.objects >= last.objects && p.bytes >= last.bytes, "progress goes on");
            assert!(p.objects <= p.total_objects && p.bytes <= p.total_bytes, "{p:?}");
            last = p;
        })
    }
}
