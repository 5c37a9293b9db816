//! A fleet in memory: two escrow groups, a node with a snapshot in its log, and who asks for it.

use seawall_base::{Rng, Seconds, Sha256, Timestamp};
use seawall_custodian::{CustodianError, Examined, examine};
use seawall_escrow::{
    Capsule, Group, KemSecret, LabelFields, OneTimePublic, OneTimeSecret, Partial, Recipients,
    SUITE_PQ, SecretShare, SharePublic, ShareSecret, VerifiedPartial, ceremony,
};
use seawall_record::{
    Approval, Base64, CustodianRecord, Dossier, DossierParts, Enrolment, EscrowGroupRecord, Fleet,
    FleetPolicy, Genesis, Hex32, Manifest, ManifestCore, ReferenceSet, Request, Role, Subkey,
    Totals,
};
use seawall_sign::{Envelope, SigningKey, Statement};
use seawall_sim::{SeededRng, SimClock};
use seawall_tlog::{Checkpoint, Origin, SignedCheckpoint, merkle};

/// 2026-11-20T00:00:00Z.
pub(crate) const NOW: Timestamp = Timestamp(1_795_132_800);
pub(crate) const PAYLOAD: &[u8] = b"a root reference";
pub(crate) const PARTIAL_INFO: &[u8] = b"seawall 2026-11 sealed partial v1";

pub(crate) fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

pub(crate) const ROOT: u8 = 1;
pub(crate) const NODE: u8 = 10;
pub(crate) const NODE_SUBKEY: u8 = 11;
pub(crate) const ASKER: u8 = 20;
pub(crate) const ASKER_SUBKEY: u8 = 21;

/// A fleet with two escrow groups, a node with a snapshot in its log, and who asks for it.
pub(crate) struct World {
    pub(crate) rng: SeededRng,
    pub(crate) groups: [(Group, Vec<SecretShare>); 2],
    pub(crate) fleet: Fleet,
    pub(crate) one_time: OneTimeSecret,
}

/// The post-quantum key of a custodian who has a share file.
pub(crate) fn own_kem(secret: &ShareSecret) -> KemSecret {
    KemSecret::of_share_file(&secret.signing_seed)
}

/// The signing key of custodian `index` of group `group`.
pub(crate) fn custodian_key(group: usize, index: u16) -> SigningKey {
    key(100 + 10 * group as u8 + index as u8)
}

pub(crate) fn record(group: &Group, number: usize) -> EscrowGroupRecord {
    let custodian = |m: &seawall_escrow::Member| CustodianRecord {
        index: m.index(),
        name: format!("custodian-{}", m.index()),
        signing_key: custodian_key(number, m.index()).public(),
        share: Hex32(m.verification_share()),
        // The second group is post-quantum.
        kem: (number == 1).then(|| {
            let secret = KemSecret::of_share_file(&custodian_key(number, m.index()).seed());
            Base64(secret.public().as_bytes().to_vec())
        }),
        endpoint: None,
    };
    EscrowGroupRecord {
        id: group.id(),
        class: group.class().to_owned(),
        class_number: number as u8 + 1,
        threshold: group.threshold(),
        key: Hex32(group.key()),
        ceremony: "local".to_owned(),
        share_epoch: 0,
        suite: (number == 1).then_some(SUITE_PQ),
        retired: false,
        custodians: group.members().iter().map(custodian).collect(),
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::seeded(0)
    }

    pub(crate) fn seeded(seed: u64) -> Self {
        let mut rng = SeededRng::new(seed << 32);
        let groups = ["customers", "web"]
            .map(|class| ceremony::local(3, 2, class, &mut rng).expect("a ceremony"));
        let genesis = Genesis {
            policy_version: 1,
            fleet_name: "harbour".to_owned(),
            root_keys: vec![key(ROOT).public()],
            root_threshold: 1,
            groups: vec![record(&groups[0].0, 0), record(&groups[1].0, 1)],
            witnesses: Vec::new(),
            created: NOW.before(Seconds::days(30)),
            nonce: Hex32([9; 32]),
        };
        let subject = Fleet::subject(&genesis);
        let signed = Statement::new(subject, genesis).sign(&[&key(ROOT)]).expect("signed");
        let one_time = OneTimeSecret::generate(&mut rng);
        Self { rng, groups, fleet: Fleet::open(signed).expect("a fleet"), one_time }
    }

    /// The root key signs another policy.
    pub(crate) fn amend(&mut self, change: impl FnOnce(&mut FleetPolicy)) {
        let known = self.fleet.clone();
        let mut next = known.policy().clone();
        (next.version, next.previous) = (next.version + 1, known.policy_digest());
        change(&mut next);
        let signed = next.statement().sign(&[&key(ROOT)]).expect("signed");
        let policies = known.policies().iter().cloned().chain([signed]).collect();
        let all = Fleet::open_chain(known.envelope().clone(), policies, known.id());
        self.fleet = all.expect("a policy that follows");
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin::of_node(self.fleet.id(), key(NODE).public().node_id(), 1)
    }

    pub(crate) fn enrolment(&self, identity: u8, by: u8) -> Envelope {
        let it = Enrolment {
            fleet: self.fleet.id(),
            role: Role::Node,
            name: format!("node-{identity}"),
            epoch: 1,
            identity: key(identity).public(),
            transport: key(identity + 5).public(),
            recipient: Some(Base64(vec![7; 8])),
            tenant: Some("default".to_owned()),
            issued: NOW.before(Seconds::days(20)),
        };
        it.statement().sign(&[&key(by)]).expect("signed")
    }

    pub(crate) fn subkey(&self, identity: u8, subkey: u8) -> Envelope {
        let it = Subkey {
            fleet: self.fleet.id(),
            node: key(identity).public().node_id(),
            key: key(subkey).public(),
            not_before: NOW.before(Seconds::days(3)),
            not_after: NOW.after(Seconds::days(4)),
        };
        it.statement().sign(&[&key(identity)]).expect("signed")
    }

    pub(crate) fn core(&self, sequence: u64, group: usize) -> ManifestCore {
        ManifestCore {
            fleet: self.fleet.id(),
            node: key(NODE).public().node_id(),
            origin: self.origin().as_str().to_owned(),
            sequence,
            previous: None,
            created: NOW.before(Seconds::hours(1)),
            class: group as u8 + 1,
            group: self.groups[group].0.id(),
            reference_set: ReferenceSet {
                root: seawall_base::ObjectId([5; 32]),
                count: 3,
                bytes: 9,
            },
            totals: Totals { files: 2, directories: 1, others: 0, bytes: 900, problems: 0 },
            set: None,
            tags: Vec::new(),
        }
    }

    pub(crate) fn capsule(&mut self, core: &ManifestCore, group: usize) -> Vec<u8> {
        let fields = LabelFields::of_manifest(core);
        let record = self.fleet.group(core.group).expect("a group");
        let to = Recipients::of_record(record).expect("keys");
        let group = &self.groups[group].0;
        let capsule = Capsule::seal(group, &fields, to.as_ref(), PAYLOAD, &mut self.rng);
        capsule.expect("sealed").encode()
    }

    /// An honest manifest of the snapshot with this sequence number.
    pub(crate) fn manifest(&mut self, sequence: u64, group: usize) -> Manifest {
        let core = self.core(sequence, group);
        let capsule = Base64(self.capsule(&core, group));
        Manifest { core, capsule, path_index: Vec::new() }
    }

    /// The request file for a manifest, which is the third entry of its node's log.
    pub(crate) fn parts(&mut self, manifest: Manifest) -> DossierParts {
        let manifest = manifest.statement().sign(&[&key(NODE_SUBKEY)]).expect("signed");
        let author = [self.enrolment(NODE, ROOT), self.subkey(NODE, NODE_SUBKEY)];
        let leaves = [&author[0], &author[1], &manifest].map(|e| merkle::leaf_hash(&e.to_json()));
        let first_two = merkle::node_hash(&leaves[0], &leaves[1]);
        let root = merkle::node_hash(&first_two, &leaves[2]);
        let request = self.request(&manifest);
        let [enrolled, certified] = author;
        DossierParts {
            request: request.statement().sign(&[&key(ASKER_SUBKEY)]).expect("signed"),
            genesis: self.fleet.envelope().clone(),
            policies: self.fleet.policies().to_vec(),
            requester: [self.enrolment(ASKER, ROOT), self.subkey(ASKER, ASKER_SUBKEY)],
            author: [enrolled, certified.clone(), certified],
            manifest,
            checkpoint: checkpoint(self.origin(), 3, root, NODE_SUBKEY),
            inclusion: vec![first_two],
            break_glass: None,
        }
    }

    pub(crate) fn request(&mut self, manifest: &Envelope) -> Request {
        Request {
            fleet: self.fleet.id(),
            manifest: manifest.digest(),
            origin: self.origin().as_str().to_owned(),
            index: 2,
            requester: key(ASKER).public().node_id(),
            one_time_key: Base64(self.one_time.public().as_bytes().to_vec()),
            nonce: Hex32(self.rng.array()),
            created: NOW,
            expires: NOW.after(Seconds::hours(72)),
            reason: "disk of node-10 died".to_owned(),
            drill: false,
        }
    }

    pub(crate) fn examine(&self, parts: &DossierParts) -> Result<Examined, CustodianError> {
        let json = serde_json::to_vec(&Dossier::new(parts)).expect("JSON");
        examine(&json, self.fleet.id())
    }

    /// A request for a good snapshot, examined.
    pub(crate) fn asked(&mut self, sequence: u64) -> Examined {
        let manifest = self.manifest(sequence, 0);
        let parts = self.parts(manifest);
        self.examine(&parts).expect("nothing is wrong with it")
    }

    /// The share of custodian `index` of group `group`.
    pub(crate) fn share(&self, group: usize, index: u16) -> (SharePublic, ShareSecret) {
        let (it, shares) = &self.groups[group];
        let share = &shares[usize::from(index) - 1];
        let signer = custodian_key(group, index);
        let public = SharePublic {
            fleet: self.fleet.id(),
            group: it.id(),
            class: it.class().to_owned(),
            index,
            threshold: 2,
            members: 3,
            share_epoch: 0,
            custodian: format!("custodian-{index}"),
            signing_key: signer.public().to_string(),
        };
        let share = SecretShare::from_bytes(index, &share.to_bytes()).expect("a share");
        (public, ShareSecret { share, signing_seed: signer.seed() })
    }

    pub(crate) fn answer(&mut self, it: &Examined, index: u16) -> Envelope {
        let group = usize::from(it.group.id() == self.groups[1].0.id());
        let (public, secret) = self.share(group, index);
        it.approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut self.rng)
            .expect("answered")
    }

    /// What custodian `index` honestly makes of the capsule.
    pub(crate) fn partial(&mut self, it: &Examined, index: u16) -> Vec<u8> {
        let (_, secret) = self.share(0, index);
        let made = Partial::make(&it.capsule, &secret.share, &it.group, 0, &mut self.rng);
        made.expect("made").encode().to_vec()
    }

    /// An approval in the name of `custodian` around any bytes, signed by its key.
    pub(crate) fn approval(&mut self, it: &Examined, custodian: u16, partial: &[u8]) -> Approval {
        let request = it.dossier.request_digest;
        let to = OneTimePublic::from_bytes(self.one_time.public().as_bytes()).expect("a key");
        let sealed = to.seal(PARTIAL_INFO, &request.0, partial, &mut self.rng).expect("sealed");
        Approval {
            fleet: self.fleet.id(),
            request,
            manifest: it.dossier.manifest_digest,
            group: it.group.id(),
            custodian,
            share_epoch: 0,
            sealed_partial: Base64(sealed),
            created: NOW,
        }
    }

    pub(crate) fn accept(
        &self,
        it: &Examined,
        approval: &Envelope,
    ) -> Result<VerifiedPartial, CustodianError> {
        it.accept(approval, &self.one_time)
    }

    /// Why an approval of custodian 1 around these bytes does not count.
    pub(crate) fn refusal(&mut self, it: &Examined, partial: &[u8]) -> CustodianError {
        let approval = self.approval(it, 1, partial);
        let signed = signed(approval, &custodian_key(0, 1));
        self.accept(it, &signed).expect_err("it must not count")
    }
}

pub(crate) fn checkpoint(origin: Origin, size: u64, root: Sha256, by: u8) -> String {
    let signed = SignedCheckpoint::sign(Checkpoint::new(origin, size, root), &key(by));
    String::from_utf8(signed.expect("signed").to_bytes()).expect("text")
}

pub(crate) fn signed(approval: Approval, by: &SigningKey) -> Envelope {
    approval.statement().sign(&[by]).expect("signed")
}
