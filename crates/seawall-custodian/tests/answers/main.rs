//! Requests that must not be answered and approvals that must not count, made by whoever has the
//! keys to make them: what no bit flipped in a file can show.

use seawall_base::{Rng, Seconds, Sha256, Timestamp};
use seawall_custodian::{
    ArrivedManifest, CustodianError, Examined, check_hand_overs, examine, hand_over_shares,
    hand_overs_to, shares_of,
};
use seawall_escrow::{
    Capsule, CapsuleError, Group, HandOver, KemSecret, LabelFields, OneTimePublic, OneTimeSecret,
    Partial, PartialError, Recipients, SUITE_PQ, SecretShare, SharePublic, ShareSecret,
    VerifiedPartial, ceremony,
};
use seawall_record::{
    Approval, Base64, CustodianRecord, Dossier, DossierParts, Enrolment, EscrowGroupRecord, Fleet,
    Genesis, HandOverFile, Hex32, Manifest, ManifestCore, RecordError, ReferenceSet, Request, Role,
    ShareBad, ShareGood, ShareHandOver, Subkey, Totals,
};
use seawall_sign::{Envelope, SignError, SigningKey, Statement};
use seawall_sim::{SeededRng, SimClock};
use seawall_tlog::{Checkpoint, NoteError, Origin, SignedCheckpoint, merkle};

/// 2026-11-20T00:00:00Z.
const NOW: Timestamp = Timestamp(1_795_132_800);
const PAYLOAD: &[u8] = b"a root reference";
const PARTIAL_INFO: &[u8] = b"seawall 2026-11 sealed partial v1";

/// Alters an approval before its signer signs it.
type Change = fn(&mut Approval);

fn key(n: u8) -> SigningKey {
    SigningKey::from_seed(&[n; 32])
}

const ROOT: u8 = 1;
const NODE: u8 = 10;
const NODE_SUBKEY: u8 = 11;
const ASKER: u8 = 20;
const ASKER_SUBKEY: u8 = 21;

/// A fleet with two escrow groups, a node with a snapshot in its log, and who asks for it.
struct World {
    rng: SeededRng,
    groups: [(Group, Vec<SecretShare>); 2],
    fleet: Fleet,
    one_time: OneTimeSecret,
}

/// The signing key of custodian `index` of group `group`.
/// The post-quantum key of a custodian who has a share file.
fn own_kem(secret: &ShareSecret) -> KemSecret {
    KemSecret::of_share_file(&secret.signing_seed)
}

fn custodian_key(group: usize, index: u16) -> SigningKey {
    key(100 + 10 * group as u8 + index as u8)
}

fn record(group: &Group, number: usize) -> EscrowGroupRecord {
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
    fn new() -> Self {
        Self::seeded(0)
    }

    fn seeded(seed: u64) -> Self {
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

    fn origin(&self) -> Origin {
        Origin::of_node(self.fleet.id(), key(NODE).public().node_id(), 1)
    }

    fn enrolment(&self, identity: u8, by: u8) -> Envelope {
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

    fn subkey(&self, identity: u8, subkey: u8) -> Envelope {
        let it = Subkey {
            fleet: self.fleet.id(),
            node: key(identity).public().node_id(),
            key: key(subkey).public(),
            not_before: NOW.before(Seconds::days(3)),
            not_after: NOW.after(Seconds::days(4)),
        };
        it.statement().sign(&[&key(identity)]).expect("signed")
    }

    fn core(&self, sequence: u64, group: usize) -> ManifestCore {
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

    fn capsule(&mut self, core: &ManifestCore, group: usize) -> Vec<u8> {
        let fields = LabelFields::of_manifest(core);
        let record = self.fleet.group(core.group).expect("a group");
        let to = Recipients::of_record(record).expect("keys");
        let group = &self.groups[group].0;
        let capsule = Capsule::seal(group, &fields, to.as_ref(), PAYLOAD, &mut self.rng);
        capsule.expect("sealed").encode()
    }

    /// An honest manifest of the snapshot with this sequence number.
    fn manifest(&mut self, sequence: u64, group: usize) -> Manifest {
        let core = self.core(sequence, group);
        let capsule = Base64(self.capsule(&core, group));
        Manifest { core, capsule, path_index: Vec::new() }
    }

    /// The request file for a manifest, which is the third entry of its node's log.
    fn parts(&mut self, manifest: Manifest) -> DossierParts {
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
            policies: Vec::new(),
            requester: [self.enrolment(ASKER, ROOT), self.subkey(ASKER, ASKER_SUBKEY)],
            author: [enrolled, certified.clone(), certified],
            manifest,
            checkpoint: checkpoint(self.origin(), 3, root, NODE_SUBKEY),
            inclusion: vec![first_two],
            break_glass: None,
        }
    }

    fn request(&mut self, manifest: &Envelope) -> Request {
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

    fn examine(&self, parts: &DossierParts) -> Result<Examined, CustodianError> {
        let json = serde_json::to_vec(&Dossier::new(parts)).expect("JSON");
        examine(&json, self.fleet.id())
    }

    /// A request for a good snapshot, examined.
    fn asked(&mut self, sequence: u64) -> Examined {
        let manifest = self.manifest(sequence, 0);
        let parts = self.parts(manifest);
        self.examine(&parts).expect("nothing is wrong with it")
    }

    /// The share of custodian `index` of group `group`.
    fn share(&self, group: usize, index: u16) -> (SharePublic, ShareSecret) {
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

    fn answer(&mut self, it: &Examined, index: u16) -> Envelope {
        let group = usize::from(it.group.id() == self.groups[1].0.id());
        let (public, secret) = self.share(group, index);
        it.approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut self.rng)
            .expect("answered")
    }

    /// What custodian `index` honestly makes of the capsule.
    fn partial(&mut self, it: &Examined, index: u16) -> Vec<u8> {
        let (_, secret) = self.share(0, index);
        let made = Partial::make(&it.capsule, &secret.share, &it.group, 0, &mut self.rng);
        made.expect("made").encode().to_vec()
    }

    /// An approval in the name of `custodian` around any bytes, signed by its key.
    fn approval(&mut self, it: &Examined, custodian: u16, partial: &[u8]) -> Approval {
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

    fn accept(
        &self,
        it: &Examined,
        approval: &Envelope,
    ) -> Result<VerifiedPartial, CustodianError> {
        it.accept(approval, &self.one_time)
    }

    /// Why an approval of custodian 1 around these bytes does not count.
    fn refusal(&mut self, it: &Examined, partial: &[u8]) -> CustodianError {
        let approval = self.approval(it, 1, partial);
        let signed = signed(approval, &custodian_key(0, 1));
        self.accept(it, &signed).expect_err("it must not count")
    }
}

fn checkpoint(origin: Origin, size: u64, root: Sha256, by: u8) -> String {
    let signed = SignedCheckpoint::sign(Checkpoint::new(origin, size, root), &key(by));
    String::from_utf8(signed.expect("signed").to_bytes()).expect("text")
}

fn signed(approval: Approval, by: &SigningKey) -> Envelope {
    approval.statement().sign(&[by]).expect("signed")
}

#[test]
fn two_honest_answers_open_the_capsule() {
    let mut world = World::new();
    let it = world.asked(1);
    let partials = [1, 3].map(|index| {
        let answer = world.answer(&it, index);
        world.accept(&it, &answer).expect("it counts")
    });
    let opened = seawall_escrow::open(&it.capsule, &it.group, &[], &partials).expect("a quorum");
    assert_eq!(opened.payload(), PAYLOAD);
    assert!(seawall_escrow::open(&it.capsule, &it.group, &[], &partials[..1]).is_err());
}

#[test]
fn two_honest_answers_open_a_post_quantum_capsule() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let it = world.examine(&parts).expect("nothing is wrong with it");
    let partials = [2, 3].map(|index| {
        let answer = world.answer(&it, index);
        world.accept(&it, &answer).expect("it counts")
    });
    let opened = seawall_escrow::open(&it.capsule, &it.group, &[], &partials).expect("a quorum");
    assert_eq!((opened.payload(), opened.misdealt()), (PAYLOAD, &[][..]));
    // Two partials, and the post-quantum share of one of the two.
    let (public, secret) = world.share(1, 1);
    let bare = it.approve_with(&public, &secret, Vec::new(), &SimClock::new(NOW), &mut world.rng);
    let bare = world.accept(&it, &bare.expect("answered")).expect("it counts");
    let half = [partials[0].clone(), bare];
    let why = seawall_escrow::open(&it.capsule, &it.group, &[], &half).expect_err("one short");
    assert!(why.to_string().contains("post-quantum shares of 2 custodians"), "{why}");
}

#[test]
fn a_group_with_post_quantum_keys_takes_no_lesser_capsule() {
    let mut world = World::new();
    let core = world.core(1, 1);
    let fields = LabelFields::of_manifest(&core);
    let group = world.groups[1].0.clone();
    let capsule = Capsule::seal(&group, &fields, None, PAYLOAD, &mut world.rng).expect("sealed");
    let capsule = Base64(capsule.encode());
    let parts = world.parts(Manifest { core, capsule, path_index: Vec::new() });
    let why = world.examine(&parts).expect_err("a downgrade");
    assert!(matches!(why, CustodianError::Capsule(CapsuleError::Downgraded)), "{why}");
    let arrived = ArrivedManifest::check(&world.fleet, &parts.manifest).expect_err("as well");
    assert!(matches!(arrived, CustodianError::Capsule(CapsuleError::Downgraded)), "{arrived}");
}

#[test]
fn a_custodian_reports_its_share_on_arrival() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let arrived = ArrivedManifest::check(&world.fleet, &parts.manifest).expect("a good capsule");
    let signer = custodian_key(1, 2);
    let own = KemSecret::of_share_file(&signer.seed());
    let good =
        arrived.report(2, &own, &signer, &SimClock::new(NOW)).expect("signed").expect("a share");
    good.share.expect("it opens");
    let said = ShareGood::open(&good.statement, signer.public()).expect("a report");
    assert_eq!((said.share.custodian, said.share.manifest), (2, parts.manifest.digest()));
    assert_eq!(Some(said.share.dealing.0), arrived.capsule().dealing());
    assert_eq!(Some(&said.share.commitment.0), arrived.capsule().share_commitment(2));
    // With another key it does not open, and the report says so.
    let other = KemSecret::from_bytes(&[9; 32]);
    let bad =
        arrived.report(2, &other, &signer, &SimClock::new(NOW)).expect("signed").expect("a share");
    bad.share.expect_err("not its key");
    let said = ShareBad::open(&bad.statement, signer.public()).expect("a report");
    assert!(said.reason.contains("does not open with its key"), "{}", said.reason);
    ShareGood::open(&bad.statement, signer.public()).expect_err("another kind of statement");
    ShareBad::open(&bad.statement, key(99).public()).expect_err("another signer");
    assert!(arrived.report(9, &own, &signer, &SimClock::new(NOW)).expect("no error").is_none());
    let classical = world.manifest(1, 0);
    let parts = world.parts(classical);
    let arrived = ArrivedManifest::check(&world.fleet, &parts.manifest).expect("a good capsule");
    assert!(arrived.report(2, &own, &signer, &SimClock::new(NOW)).expect("no error").is_none());
}

#[test]
fn leaving_custodians_hand_their_shares_on_and_those_after_them_open() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let it = world.examine(&parts).expect("nothing is wrong with it");
    let newcomers: Vec<_> = (1..=2).map(|n| KemSecret::from_bytes(&[n; 32])).collect();
    let to = (1..).zip(newcomers.iter().map(KemSecret::public)).collect();
    let to = Recipients::new(2, to).expect("recipients");
    let (mut given, mut shares) = (Vec::new(), vec![Vec::new(), Vec::new()]);
    for leaver in [1, 3] {
        let signer = custodian_key(1, leaver);
        let own = it.capsule.open_own_share(&[KemSecret::of_share_file(&signer.seed())]);
        let batch: Vec<_> = own.into_iter().map(|s| (parts.manifest.digest(), s)).collect();
        let about = ShareHandOver {
            fleet: world.fleet.id(),
            group: it.group.id(),
            custodian: leaver,
            share_epoch: 1,
            shares: Vec::new(),
            created: NOW,
        };
        let (said, dealings) = hand_over_shares(&about, &batch, &to, &signer).expect("it is small");
        let said = ShareHandOver::open(&said, signer.public()).expect("signed by the leaver");
        ShareHandOver::open(&parts.manifest, signer.public()).expect_err("no hand-over");
        for (named, dealing) in said.shares.iter().zip(dealings) {
            assert_eq!(named.dealing.0, dealing.digest());
            let checked = dealing.check(&to).expect("for the newcomers");
            for (n, key) in newcomers.iter().enumerate() {
                shares[n].push(checked.open_share(n as u16 + 1, key).expect("its share"));
            }
            given.push(checked);
        }
    }
    // The group itself was not shared anew here: the partials are the old custodians'.
    let partials: Vec<_> = [1, 2]
        .into_iter()
        .zip(shares)
        .map(|(index, shares)| {
            let (public, secret) = world.share(1, index);
            let answer =
                it.approve_with(&public, &secret, shares, &SimClock::new(NOW), &mut world.rng);
            world.accept(&it, &answer.expect("answered")).expect("it counts")
        })
        .collect();
    let opened = seawall_escrow::open(&it.capsule, &it.group, &given, &partials).expect("opens");
    assert_eq!((opened.payload(), opened.misdealt()), (PAYLOAD, &[][..]));
}

#[test]
fn a_file_of_hand_overs_counts_as_its_signer_wrote_it() {
    let mut world = World::new();
    let manifest = world.manifest(1, 1);
    let parts = world.parts(manifest);
    let it = world.examine(&parts).expect("nothing is wrong with it");
    let keys = [1, 2, 3].map(|i| KemSecret::of_share_file(&custodian_key(1, i).seed()));
    let to = Recipients::of_record(&world.fleet.groups()[1]).expect("keys").expect("suite 2");
    let hand = |by: &SigningKey| {
        let own = it.capsule.open_own_share(&keys[2..]).expect("the third's share");
        let about = ShareHandOver {
            fleet: world.fleet.id(),
            group: it.group.id(),
            custodian: 3,
            share_epoch: 0,
            shares: Vec::new(),
            created: NOW,
        };
        let batch = [(parts.manifest.digest(), own)];
        let (said, dealings) = hand_over_shares(&about, &batch, &to, by).expect("it is small");
        (said, dealings.iter().map(HandOver::encode).collect::<Vec<_>>())
    };
    let (said, dealings) = hand(&custodian_key(1, 3));
    let with = |dealings: &[Vec<u8>]| {
        let file = HandOverFile::new(vec![(said.clone(), dealings.to_vec())]);
        [HandOverFile::parse(&file.to_json()).expect("what it writes, it reads")]
    };
    let reach = |files: &[HandOverFile]| hand_overs_to(&it.capsule, &world.fleet, files);
    assert_eq!(reach(&with(&dealings)).len(), 1);
    let good = with(&dealings);
    assert_eq!(check_hand_overs(&good[0], &world.fleet).expect("good"), 1);
    // The first answers with its own share and with what it was dealt of the third's.
    let shares = shares_of(&it.capsule, &world.fleet, &with(&dealings), &keys[..1]);
    assert_eq!(shares.len(), 2);
    let mut altered = dealings.clone();
    altered[0][100] ^= 1;
    for (dealings, words) in [
        (altered, "not the one signed for"),
        (vec![dealings[0][1..].to_vec()], "a hand-over that is none"),
        (Vec::new(), "other dealings than it has"),
    ] {
        let [bad] = with(&dealings);
        let why = check_hand_overs(&bad, &world.fleet).expect_err("refused").to_string();
        assert!(why.contains(words), "{why}");
        // One that was kept all the same spoils nothing for the others.
        assert_eq!(reach(&[bad, good[0].clone()]).len(), 1);
    }
    let (said, dealings) = hand(&custodian_key(1, 1));
    let forged = HandOverFile::new(vec![(said, dealings)]);
    let why = check_hand_overs(&forged, &world.fleet).expect_err("another signer");
    assert!(why.to_string().contains("not signed by the custodian"), "{why}");
    assert_eq!(reach(&[forged, good[0].clone()]).len(), 1);
    // Another snapshot's are passed over.
    let (said, dealings) = hand(&custodian_key(1, 3));
    let files = [HandOverFile::new(vec![(said, dealings)])];
    let other = world.manifest(2, 1);
    let other = world.parts(other);
    let other = world.examine(&other).expect("nothing is wrong with it");
    let reached = hand_overs_to(&other.capsule, &world.fleet, &files);
    assert!(reached.is_empty());
}

#[test]
fn only_the_time_between_made_and_expired_is_answered() {
    let mut world = World::new();
    let it = world.asked(1);
    let (public, secret) = world.share(0, 1);
    let mut answer = |now| {
        it.approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(now), &mut world.rng)
            .map(|_| ())
    };
    let end = NOW.after(Seconds::hours(72));
    for good in [NOW, NOW.before(Seconds(300)), end] {
        answer(good).expect("in time");
    }
    let expired = answer(end.after(Seconds(1))).expect_err("too late");
    assert!(matches!(expired, CustodianError::Expired(when) if when == end), "{expired}");
    assert!(expired.to_string().contains("ask for a new one"));
    let early = answer(NOW.before(Seconds(301))).expect_err("not made yet");
    assert!(matches!(early, CustodianError::FromTheFuture(when) if when == NOW), "{early}");
    assert!(early.to_string().contains("compare the clocks"));
}

#[test]
fn a_request_must_come_from_an_enrolled_node() {
    let mut world = World::new();
    let manifest = world.manifest(1, 0);
    let good = world.parts(manifest);
    let enrolled_by_itself = world.enrolment(ASKER, ASKER);
    let other_subkey = world.subkey(ASKER, 99);
    let author_subkey = good.author[1].clone();
    let cases = [
        ("enrolled by itself", [enrolled_by_itself, good.requester[1].clone()]),
        ("another subkey", [good.requester[0].clone(), other_subkey]),
        ("another node's subkey", [good.requester[0].clone(), author_subkey]),
    ];
    for (what, requester) in cases {
        let parts = DossierParts { requester, ..good.clone() };
        let why = world.examine(&parts).expect_err(what);
        assert!(
            matches!(why, CustodianError::Record(RecordError::Statement { .. })),
            "{what}: {why}"
        );
    }
    let other = World::seeded(7);
    let why = other.examine(&good).expect_err("another fleet");
    assert!(matches!(why, CustodianError::Record(RecordError::OtherFleet { .. })), "{why}");
}

#[test]
fn a_snapshot_must_be_in_its_nodes_log() {
    let mut world = World::new();
    let manifest = world.manifest(1, 0);
    let good = world.parts(manifest.clone());
    let leaf = merkle::leaf_hash(&good.manifest.to_json());
    let with = |change: &dyn Fn(&mut DossierParts)| {
        let mut parts = good.clone();
        change(&mut parts);
        world.examine(&parts).expect_err("not in the log")
    };
    let why = with(&|p| p.inclusion[0].0[0] ^= 1);
    assert!(matches!(why, CustodianError::NotIncluded { index: 2, .. }), "{why}");
    let why = with(&|p| p.inclusion.clear());
    assert!(matches!(why, CustodianError::NotIncluded { .. }), "{why}");
    let origin = world.origin();
    let why = with(&|p| p.checkpoint = checkpoint(origin.clone(), 1, leaf, 99));
    assert!(matches!(why, CustodianError::Note(NoteError::NoKnownSignature)), "{why}");
    // A log of one entry, honestly signed, in which the snapshot stands elsewhere.
    let why = with(&|p| p.checkpoint = checkpoint(origin.clone(), 1, leaf, NODE_SUBKEY));
    assert!(matches!(why, CustodianError::NotIncluded { .. }), "{why}");
    let elsewhere = Origin::of_node(world.fleet.id(), key(ASKER).public().node_id(), 1);
    let why = with(&|p| p.checkpoint = checkpoint(elsewhere.clone(), 1, leaf, NODE_SUBKEY));
    assert!(matches!(why, CustodianError::OtherLog { .. }), "{why}");
}

#[test]
fn a_capsule_moved_into_an_innocent_manifest_is_refused() {
    let mut world = World::new();
    let victim = world.manifest(1, 0);
    let mut innocent = world.manifest(2, 0);
    let own = innocent.capsule.0.clone();
    innocent.capsule = victim.capsule.clone();
    let parts = world.parts(innocent.clone());
    let why = world.examine(&parts).expect_err("a copied capsule");
    assert!(matches!(why, CustodianError::Capsule(CapsuleError::OtherLabel)), "{why}");
    // Suite, group, label; then u, u-bar, challenge, response, masked key, commitment.
    let field = |n: usize| 1 + 32 * n..33 + 32 * n;
    let grafts: [&[usize]; 6] = [&[2, 3], &[2, 3, 4, 5], &[2], &[6], &[0, 1, 2, 3, 4, 5], &[7]];
    for graft in grafts {
        let mut capsule = own.clone();
        for n in graft {
            capsule[field(*n)].copy_from_slice(&victim.capsule.0[field(*n)]);
        }
        // Under the label of the manifest it now stands in, as an attacker would.
        capsule[field(1)].copy_from_slice(&own[field(1)]);
        innocent.capsule = Base64(capsule);
        let parts = world.parts(innocent.clone());
        let why = world.examine(&parts).expect_err("a grafted capsule");
        assert!(matches!(why, CustodianError::Capsule(CapsuleError::Proof)), "{graft:?}: {why}");
    }
    let mut core = world.core(3, 0);
    let foreign = world.manifest(3, 1).capsule;
    core.sequence = 3;
    let parts = world.parts(Manifest { core, capsule: foreign, path_index: Vec::new() });
    let why = world.examine(&parts).expect_err("sealed to the weaker group");
    assert!(matches!(why, CustodianError::Capsule(CapsuleError::OtherGroup { .. })), "{why}");
}

#[test]
fn a_share_helps_only_its_own_group_and_signer() {
    let mut world = World::new();
    let it = world.asked(1);
    let (public, secret) = world.share(1, 1);
    let why = it
        .approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut world.rng)
        .expect_err("other group");
    assert!(matches!(why, CustodianError::OtherGroup { .. }), "{why}");
    assert!(why.to_string().contains("use the share of that group"), "{why}");
    let (public, mut secret) = world.share(0, 1);
    secret.signing_seed = key(99).seed();
    let why = it
        .approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut world.rng)
        .expect_err("other signer");
    assert!(matches!(why, CustodianError::OtherSigner(1)), "{why}");
    // A share of before the fleet was founded anew, under today's signing key.
    let (public, mut secret) = world.share(0, 1);
    secret.share = World::seeded(7).share(0, 1).1.share;
    let why = it
        .approve(&public, &secret, &[own_kem(&secret)], &SimClock::new(NOW), &mut world.rng)
        .expect_err("old share");
    assert!(matches!(why, CustodianError::Partial(PartialError::WrongShare { index: 1 })), "{why}");
}

#[test]
fn forged_replayed_and_borrowed_partials_do_not_count() {
    let mut world = World::new();
    let (it, other) = (world.asked(1), world.asked(2));
    let [own, second] = [1, 2].map(|index| world.partial(&it, index));
    let honest = world.approval(&it, 1, &own);
    world.accept(&it, &signed(honest, &custodian_key(0, 1))).expect("the honest one counts");

    let replayed = world.partial(&other, 1);
    let why = world.refusal(&it, &replayed);
    assert!(matches!(why, CustodianError::Partial(PartialError::OtherLabel { index: 1 })), "{why}");
    let why = world.refusal(&it, &second);
    assert!(matches!(why, CustodianError::Misplaced(_)), "{why}");
    assert!(why.to_string().contains("the partial of another custodian"), "{why}");
    // Suite, group and label, index, share epoch, then value, challenge, response.
    for from in [71, 103, 135] {
        let mut forged = own.clone();
        forged[from..from + 32].copy_from_slice(&second[from..from + 32]);
        let why = world.refusal(&it, &forged);
        assert!(matches!(why, CustodianError::Partial(PartialError::Proof { index: 1 })), "{why}");
    }
    let mut borrowed = second.clone();
    borrowed[65..67].copy_from_slice(&own[65..67]);
    let why = world.refusal(&it, &borrowed);
    assert!(matches!(why, CustodianError::Partial(PartialError::Proof { .. })), "{why}");
    let mut relabelled = replayed;
    relabelled[33..65].copy_from_slice(&own[33..65]);
    let why = world.refusal(&it, &relabelled);
    assert!(matches!(why, CustodianError::Partial(PartialError::Proof { .. })), "{why}");
    for bytes in [&own[..own.len() - 1], &[&own[..], &[0]].concat(), &[]] {
        let why = world.refusal(&it, bytes);
        assert!(matches!(why, CustodianError::Partial(PartialError::Malformed(_))), "{why}");
    }
}

#[test]
fn an_answer_of_another_sharing_is_refused_by_name_and_spoils_no_other() {
    let mut world = World::new();
    let it = world.asked(1);
    let (_, secret) = world.share(0, 2);
    for (claimed, inside, words) in [
        (99, 99, "of custodian-2 claims share epoch 99, the fleet's policy has 0"),
        (0, 99, "claims share epoch 99"),
        (99, 0, "claims share epoch 99"),
    ] {
        let made = Partial::make(&it.capsule, &secret.share, &it.group, inside, &mut world.rng);
        let made = made.expect("its proof holds, whatever it says of its epoch").encode();
        let mut approval = world.approval(&it, 2, &made);
        approval.share_epoch = claimed;
        let why = world.accept(&it, &signed(approval, &custodian_key(0, 2)));
        let why = why.expect_err("no such sharing").to_string();
        assert!(why.contains(words), "{why}");
    }
    let partials = [1, 3].map(|index| {
        let answer = world.answer(&it, index);
        world.accept(&it, &answer).expect("it counts")
    });
    seawall_escrow::open(&it.capsule, &it.group, &[], &partials).expect("a quorum without it");
}

#[test]
fn approvals_count_only_for_what_they_name() {
    let mut world = World::new();
    let (it, other) = (world.asked(1), world.asked(2));
    let mut again = world.parts(it.dossier.manifest.clone());
    // The same snapshot asked for by another node.
    again.requester = [world.enrolment(30, ROOT), world.subkey(30, 31)];
    let mut request = world.request(&again.manifest);
    request.requester = key(30).public().node_id();
    again.request = request.statement().sign(&[&key(31)]).expect("signed");
    let again = world.examine(&again).expect("also a good request");
    for (from, why) in
        [(&other, "is for another snapshot"), (&again, "answers another request for this snapshot")]
    {
        let answer = world.answer(from, 1);
        let refused = world.accept(&it, &answer).expect_err("it names another");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let partial = world.partial(&it, 1);
    let cases: [(&str, Change); 4] = [
        ("another fleet", |a| a.fleet.0[0] ^= 1),
        ("another snapshot", |a| a.manifest.0[0] ^= 1),
        ("answers another request", |a| a.request.0[0] ^= 1),
        ("another escrow group", |a| a.group.0[0] ^= 1),
    ];
    for (why, change) in cases {
        let mut approval = world.approval(&it, 1, &partial);
        change(&mut approval);
        let approval = signed(approval, &custodian_key(0, 1));
        let refused = world.accept(&it, &approval).expect_err("altered by its own signer");
        assert!(refused.to_string().contains(why), "{refused}");
    }
    let mut approval = world.approval(&it, 1, &partial);
    approval.group = world.groups[1].0.id();
    let refused = world.accept(&it, &signed(approval, &custodian_key(1, 1)));
    let refused = refused.expect_err("a real group, but not this snapshot's");
    assert!(refused.to_string().contains("another escrow group"), "{refused}");
}

#[test]
fn only_the_custodian_itself_signs_its_approval() {
    let mut world = World::new();
    let it = world.asked(1);
    let partial = world.partial(&it, 1);
    for stranger in [&key(99), &custodian_key(0, 2), &custodian_key(1, 1), &key(ROOT), &key(NODE)] {
        let approval = signed(world.approval(&it, 1, &partial), stranger);
        let why = world.accept(&it, &approval).expect_err("somebody else's signature");
        let below = SignError::BelowThreshold { have: 0, need: 1 };
        assert!(matches!(&why, CustodianError::Sign(e) if *e == below), "{why}");
    }
    let approval = signed(world.approval(&it, 9, &partial), &custodian_key(0, 1));
    let why = world.accept(&it, &approval).expect_err("nobody has index 9");
    assert!(why.to_string().contains("a custodian the escrow group does not have"), "{why}");
    // Another kind of statement by the right key.
    let request = it.dossier.request.clone().statement();
    let request = request.sign(&[&custodian_key(0, 1)]).expect("signed");
    let why = world.accept(&it, &request).expect_err("not an approval");
    assert!(matches!(why, CustodianError::Sign(SignError::WrongType { .. })), "{why}");
}

#[test]
fn signatures_must_be_there_once_and_of_a_known_kind() {
    let mut world = World::new();
    let it = world.asked(1);
    let good = world.answer(&it, 1).to_json();
    let judge = |change: &dyn Fn(&mut Vec<serde_json::Value>)| {
        let mut json: serde_json::Value = serde_json::from_slice(&good).expect("JSON");
        change(json["signatures"].as_array_mut().expect("a list"));
        let parsed = Envelope::parse(json.to_string().as_bytes()).map_err(CustodianError::from);
        parsed.and_then(|envelope| world.accept(&it, &envelope)).map(|_| ())
    };
    judge(&|_| ()).expect("unchanged, it counts");
    let none = judge(&|all| all.clear()).expect_err("no signature");
    assert!(matches!(none, CustodianError::Sign(SignError::Malformed(_))), "{none}");
    let twice = judge(&|all| all.push(all[0].clone())).expect_err("twice");
    assert!(matches!(twice, CustodianError::Sign(SignError::DuplicateSigner(_))), "{twice}");
    let empty = judge(&|all| all[0]["sig"] = "".into()).expect_err("empty");
    assert!(matches!(empty, CustodianError::Sign(SignError::Malformed(_))), "{empty}");
    let unknown = judge(&|all| {
        let keyid = all[0]["keyid"].as_str().expect("text").replace("ed25519:", "ml-dsa-65:");
        all[0]["keyid"] = keyid.into();
    });
    let unknown = unknown.expect_err("unknown algorithm");
    assert!(
        matches!(&unknown, CustodianError::Sign(SignError::UnknownAlgorithm(a)) if a == "ml-dsa-65"),
        "{unknown}"
    );
    let zeros = judge(&|all| all[0]["sig"] = format!("{}==", "A".repeat(86)).into());
    let zeros = zeros.expect_err("a signature of zeros");
    assert!(matches!(zeros, CustodianError::Sign(SignError::BadSignature)), "{zeros}");
}

#[test]
fn an_answer_opens_for_its_requester_only() {
    let mut world = World::new();
    let it = world.asked(1);
    let answer = world.answer(&it, 1);
    let other = OneTimeSecret::generate(&mut world.rng);
    let why = it.accept(&answer, &other).expect_err("another one-time secret");
    assert!(matches!(why, CustodianError::OneTime(_)), "{why}");
}
