//! A node and a region in one process, over disks that lose power: what a push promises.

#[path = "world/tier.rs"]
mod tier;
mod world;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use seawall_base::{Disk, ObjectId, Seconds, Timestamp};
use seawall_record::{Enrolment, Subkey};
use seawall_region::Region;
use seawall_sign::{Envelope, SigningKey};
use seawall_sim::{PowerCut, SeededRng, SimClock, SimDisk};
use seawall_sync::{Answer, Class, SyncError, Tier, TierError, read_entries};
use seawall_tlog::{Checkpoint, Kind, SignedCheckpoint, Upload, UploadStep, Verifier};

use tier::{Between, InProcess};
use world::{Node, World, key, objects};

const NOW: Timestamp = Timestamp(1_800_000_000);

struct Shore {
    world: World,
    disk: SimDisk,
    clock: SimClock,
    region: Arc<Region>,
    enrolment: Enrolment,
}

fn open(disk: &SimDisk, clock: &SimClock) -> Arc<Region> {
    let region = Region::open_on(Arc::new(disk.clone()), Arc::new(clock.clone()));
    Arc::new(region.expect("the region opens"))
}

fn shore() -> Shore {
    let world = World::new(1, NOW);
    let disk = SimDisk::new();
    let clock = SimClock::new(NOW);
    Region::init_on(
        &disk,
        "127.0.0.1:0",
        "shore",
        std::slice::from_ref(&world.fleet),
        &mut SeededRng::new(1),
        &clock,
    )
    .expect("a new region");
    let region = open(&disk, &clock);
    let card = region.card();
    let enrolment = world.region(&card.name, card.identity, card.transport);
    Shore { world, disk, clock, region, enrolment }
}

impl Shore {
    fn tier(&self, node: &Node) -> InProcess {
        InProcess::connect(&self.region, node).expect("enrolled")
    }

    fn between(&self, node: &Node) -> Between {
        Between::new(self.tier(node))
    }

    fn push(&self, node: &mut Node) -> seawall_sync::Pushed {
        node.push(&self.tier(node), &self.enrolment).expect("pushed")
    }
}

fn ids(bodies: &[Vec<u8>]) -> Vec<ObjectId> {
    bodies.iter().map(|b| ObjectId::of(b)).collect()
}

#[test]
fn a_push_is_received_mirrored_cosigned_and_receipted() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    let bodies = objects(1, 700);
    let index = node.snapshot(&bodies);
    let done = shore.push(&mut node);
    assert_eq!((done.receipts, done.mirrored, done.proven_objects), (1, 3, 0));
    assert!(done.sent_objects > 700, "objects and pages");
    let identity = shore.region.identity();
    let receipts = node.receipts(&shore.enrolment);
    let receipt = receipts.get(identity.incarnation, node.log.origin(), index).expect("kept");
    assert_eq!(receipt.reference_set.count, 700);
    let key = Verifier::new("shore", Kind::Cosigner, &identity.identity).expect("a name");
    let signed = node.log.checkpoint().expect("signed");
    assert_eq!(signed.verify(&[key]).expect("good lines")[0].time, Some(NOW));

    let again = shore.push(&mut node);
    assert_eq!((again.receipts, again.recounted, again.sent_objects), (0, 1, 0));
    let mut got = 0;
    let tier = shore.tier(&node);
    tier.get(&ids(&bodies)[..50], &mut |id, bytes| {
        assert_eq!(ObjectId::of(&bytes), id);
        got += 1;
    })
    .expect("fetched");
    assert_eq!(got, 50);
    let origin = node.log.origin();
    let checkpoint = tier.checkpoint(origin).expect("read").expect("there");
    let entries = read_entries(&tier, checkpoint.checkpoint(), 0..3).expect("proven");
    assert_eq!(entries[2], node.log.entry(2).expect("entry"));
}

#[test]
fn the_second_node_sends_only_what_is_new_and_the_region_proves_the_rest() {
    let shore = shore();
    let (mut a, mut b) = (shore.world.node(10, "acme"), shore.world.node(20, "acme"));
    let shared = objects(1, 300);
    a.snapshot(&shared);
    shore.push(&mut a);
    let mut bodies = shared.clone();
    bodies.extend(objects(2, 5));
    b.snapshot(&bodies);
    let done = shore.push(&mut b);
    // 300 objects and the pages both snapshots share; 5 objects and the pages above them.
    assert!((300..330).contains(&done.proven_objects), "what it claimed was challenged: {done:?}");
    assert!((6..25).contains(&done.sent_objects), "{done:?}");
    assert_eq!(done.receipts, 1);
}

#[test]
fn nothing_of_one_tenant_is_seen_from_another() {
    let shore = shore();
    let (mut a, mut b) = (shore.world.node(10, "acme"), shore.world.node(20, "bolt"));
    let bodies = objects(1, 40);
    let index = a.snapshot(&bodies);
    shore.push(&mut a);
    let tier = shore.tier(&b);
    let wanted = ids(&bodies);
    assert_eq!(tier.have(&wanted).expect("answered").missing, wanted);
    tier.get(&wanted, &mut |id, _| panic!("{id} was handed to another tenant")).expect("answered");
    assert_eq!(tier.challenge(&[1; 32], &wanted).expect("answered"), vec![None; 40]);
    assert_eq!(tier.logs().expect("answered"), []);
    assert_eq!(tier.checkpoint(a.log.origin()).expect("answered"), None);
    assert!(matches!(tier.receipt(a.log.origin(), index), Err(TierError::Refused { .. })));
    b.snapshot(&bodies);
    let done = shore.push(&mut b);
    assert!(done.sent_objects >= 40 && done.proven_objects == 0, "{done:?}");
    assert_eq!(shore.tier(&a).logs().expect("answered").len(), 1);
}

#[test]
fn later_snapshots_cost_what_changed() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    let mut bodies = objects(1, 2_000);
    node.snapshot(&bodies);
    shore.push(&mut node);
    bodies.extend(objects(2, 3));
    node.snapshot(&bodies);
    bodies.extend(objects(3, 3));
    node.snapshot(&bodies);
    let done = shore.push(&mut node);
    assert_eq!(done.receipts, 2);
    assert!(done.sent_objects < 40 && done.proven_objects == 0, "{done:?}");
}

#[test]
fn a_region_that_claims_what_it_does_not_have_is_caught() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 50));
    let liar = shore.between(&node);
    liar.mischief.claim_all.store(true, Ordering::SeqCst);
    liar.mischief.wrong_proofs.store(true, Ordering::SeqCst);
    let error = node.push(&liar, &shore.enrolment).expect_err("caught");
    let SyncError::Lied { ids, .. } = &error else { panic!("{error}") };
    assert_eq!((ids.len(), error.class()), (51, Class::Lied));
    assert_eq!(liar.sent.load(Ordering::SeqCst), 51, "the objects were offered again");
    assert_eq!(node.receipts(&shore.enrolment).all().count(), 0);

    let mut other = shore.world.node(20, "bolt");
    other.snapshot(&objects(2, 50));
    let honest_later = shore.between(&other);
    honest_later.mischief.claim_all.store(true, Ordering::SeqCst);
    let done = other.push(&honest_later, &shore.enrolment).expect("it admits, and is sent them");
    assert_eq!((done.mended_objects, done.receipts), (51, 1));

    let mut third = shore.world.node(30, "cord");
    third.snapshot(&objects(3, 50));
    let sink = shore.between(&third);
    sink.mischief.claim_all.store(true, Ordering::SeqCst);
    sink.mischief.swallow.store(true, Ordering::SeqCst);
    let error = third.push(&sink, &shore.enrolment).expect_err("sent twice and still not there");
    assert!(matches!(error, SyncError::Lied { .. }), "{error}");
}

#[test]
fn a_region_that_lost_or_forgot_what_it_signed_for_counts_anew() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 20));
    shore.push(&mut node);
    let liar = shore.between(&node);
    liar.mischief.wrong_proofs.store(true, Ordering::SeqCst);
    let error = node.push(&liar, &shore.enrolment).expect_err("a sample is always challenged");
    assert!(matches!(error, SyncError::Lied { .. }), "{error}");
    assert_eq!(node.receipts(&shore.enrolment).all().count(), 0, "set aside");
    let done = shore.push(&mut node);
    assert_eq!((done.receipts, done.proven_objects), (1, 21), "everything proven anew");

    // The disk loses every body: the sample fails honestly and the same push mends all.
    for path in shore.disk.paths().iter().filter(|p| p.contains("/zones/")) {
        let len = shore.disk.read(path).expect("read").len() as u64;
        for offset in (200..len).step_by(64) {
            shore.disk.flip_bit(path, offset, 3).expect("flipped");
        }
    }
    let done = shore.push(&mut node);
    assert_eq!((done.set_aside, done.receipts), (1, 1));
    assert!(done.mended_objects + done.sent_objects >= 21, "{done:?}");
    let again = shore.push(&mut node);
    assert_eq!((again.set_aside, again.receipts), (0, 0));
}

#[test]
fn a_new_incarnation_is_offered_everything_again() {
    let (first, second) = (shore(), shore());
    let mut node = first.world.node(10, "acme");
    node.snapshot(&objects(1, 30));
    first.push(&mut node);
    // The same keys, another store.
    for path in ["keys/identity", "keys/transport"] {
        second.disk.plant(path, &first.disk.read(path).expect("read")).expect("planted");
    }
    let json = String::from_utf8(second.disk.read("region.json").expect("read")).expect("UTF-8");
    let drawn = hex::encode(second.region.identity().incarnation.0);
    let json = json.replace(&drawn, &"ab".repeat(32));
    second.disk.plant("region.json", json.as_bytes()).expect("planted");
    let reborn = open(&second.disk, &second.clock);
    assert_ne!(reborn.identity().incarnation, first.region.identity().incarnation);
    let tier = InProcess::connect(&reborn, &node).expect("enrolled");
    let done = node.push(&tier, &first.enrolment).expect("pushed");
    assert_eq!((done.receipts, done.sent_objects), (1, 31));
}

#[test]
fn a_push_killed_anywhere_is_simply_run_again() {
    for limit in 1..40 {
        let shore = shore();
        let mut node = shore.world.node(10, "acme");
        node.snapshot(&objects(1, 60));
        node.snapshot(&objects(2, 60));
        let dying = shore.between(&node);
        dying.mischief.die_after.store(limit, Ordering::SeqCst);
        let died = node.push(&dying, &shore.enrolment);
        // The node loses power too.
        node = node.restored_from_copy(&shore.world);
        let done = shore.push(&mut node);
        assert_eq!(node.receipts(&shore.enrolment).all().count(), 2, "limit {limit}");
        match died {
            Ok(_) => {
                assert_eq!(done.receipts, 0);
                return;
            }
            Err(e) => assert_eq!(e.class(), Class::Retry, "{e}"),
        }
    }
    panic!("40 calls are enough for a push");
}

#[test]
fn a_forged_receipt_is_refused() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 5));
    shore.push(&mut node);
    let first = node.receipts(&shore.enrolment);
    let old = first.all().next().expect("one").1.clone();
    node.snapshot(&objects(2, 5));
    let liar = shore.between(&node);
    *liar.mischief.receipt.lock().expect("no panic") = Some(old);
    let error = node.push(&liar, &shore.enrolment).expect_err("a receipt of another entry");
    assert!(error.to_string().contains("not for entry 3"), "{error}");
}

#[test]
fn an_old_copy_of_a_node_is_told_so_by_name() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 5));
    let mut copy = node.restored_from_copy(&shore.world);
    node.snapshot(&objects(2, 5));
    shore.push(&mut node);
    let tier = shore.tier(&copy);
    let error = copy.push(&tier, &shore.enrolment).expect_err("the log is shorter");
    let SyncError::RolledBack { mirrored: 4, held: 3, .. } = error else { panic!("{error}") };
    assert!(error.to_string().contains("restored from an old copy"), "{error}");
    copy.snapshot(&objects(3, 5));
    copy.snapshot(&objects(4, 5));
    let error = copy.push(&tier, &shore.enrolment).expect_err("the log went another way");
    assert!(matches!(error, SyncError::RolledBack { mirrored: 4, held: 5, .. }), "{error}");
}

/// A subkey of node 10 that its log does not hold: its key and certificate.
fn unlogged(node: &Node) -> (SigningKey, Envelope) {
    let subkey = Subkey {
        fleet: node.fleet.id(),
        node: node.enrolment.node(),
        key: key(77).public(),
        not_before: NOW.before(Seconds::days(1)),
        not_after: NOW.after(Seconds::days(10)),
    };
    let certificate = subkey.statement().sign(&[&key(10)]).expect("a subkey is small");
    (key(77), certificate)
}

#[test]
fn an_old_copy_from_before_its_newest_subkey_is_told_so_too() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 5));
    let mut copy = node.restored_from_copy(&shore.world);
    let (subkey, certificate) = unlogged(&node);
    node.append(&[certificate.to_json()]);
    node.subkey = subkey;
    node.snapshot(&objects(2, 5));
    shore.push(&mut node);
    let error = copy.push(&shore.tier(&copy), &shore.enrolment).expect_err("the log is shorter");
    assert!(matches!(error, SyncError::RolledBack { mirrored: 5, held: 3, .. }), "{error}");
}

#[test]
fn a_region_cannot_make_a_node_believe_that_it_was_rolled_back() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 5));
    let liar = shore.between(&node);
    let origin = node.log.origin().clone();
    let lied = |node: &mut Node, liar: &Between| {
        let error = node.push(liar, &shore.enrolment).expect_err("it lies");
        assert!(matches!(error, SyncError::Tier(TierError::Protocol { .. })), "{error}");
        assert_eq!(error.class(), Class::Lied);
        error.to_string()
    };
    for (status, body) in [(409, "99\n"), (422, "another history\n")] {
        let answer = Answer { status, body: body.into() };
        *liar.mischief.add_checkpoint.lock().expect("no panic") = Some(answer);
        let why = lied(&mut node, &liar);
        assert!(why.contains("no checkpoint of them that this node signed"), "{why}");
    }
    *liar.mischief.add_checkpoint.lock().expect("no panic") = None;
    // Larger, and as large with another root; before anything is mirrored and after.
    for pushed in [false, true] {
        if pushed {
            shore.push(&mut node);
        }
        for size in [99, 3] {
            let made_up = Checkpoint::new(origin.clone(), size, seawall_base::Sha256([7; 32]));
            let made_up = SignedCheckpoint::sign(made_up, &key(99)).expect("signed").to_bytes();
            *liar.mischief.checkpoint.lock().expect("no panic") = Some(made_up);
            lied(&mut node, &liar);
        }
    }
    // The signature of another node of the fleet, with whom the region is in league.
    let mut accomplice = shore.world.node(20, "acme");
    accomplice.snapshot(&objects(2, 5));
    let made_up = Checkpoint::new(origin, 99, seawall_base::Sha256([7; 32]));
    let made_up = SignedCheckpoint::sign(made_up, &accomplice.subkey).expect("signed").to_bytes();
    *liar.mischief.checkpoint.lock().expect("no panic") = Some(made_up);
    lied(&mut node, &liar);
    *liar.mischief.checkpoint.lock().expect("no panic") = None;
    node.push(&liar, &shore.enrolment).expect("nothing of it stays");
}

/// Uploads a node's log as its own client would.
fn upload(tier: &InProcess, node: &Node) -> Result<(), String> {
    let mut upload = Upload::new(&node.log, 0, 0).expect("signed");
    loop {
        let answer = match upload.step(&node.log).expect("a step") {
            UploadStep::AddCheckpoint(body) => tier.add_checkpoint(&body),
            UploadStep::AddEntries(body) => tier.add_entries(&body),
            UploadStep::Done { .. } => return Ok(()),
        }
        .expect("answered");
        upload.answer(answer.status, &answer.body).map_err(|e| e.to_string())?;
    }
}

#[test]
fn a_checkpoint_that_no_logged_subkey_signed_is_never_published() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    let (unlogged, certificate) = unlogged(&node);
    let tier = shore.tier(&node);
    let certified = Envelope::parse(&node.log.entry(1).expect("the subkey")).expect("ours");
    tier.introduce(&[certified, certificate.clone()]).expect("both are certified");
    let origin = node.log.origin().clone();
    let published = || tier.checkpoint(&origin).expect("read");
    let own = SigningKey::from_seed(&node.subkey.seed());

    // With entries the region does not have yet.
    node.log.sign_checkpoint(&unlogged).expect("signed");
    let why = upload(&tier, &node).expect_err("every reader would refuse it");
    assert!(why.contains("not signed by a subkey that these entries certify"), "{why}");
    assert_eq!(published(), None);
    node.snapshot(&objects(1, 3));
    upload(&tier, &node).expect("signed by its logged subkey");
    let good = published();
    assert_eq!(good.as_ref().map(|c| c.checkpoint().size), Some(3));

    // With entries that are all there.
    node.log.sign_checkpoint(&own).expect("signed");
    let again = SignedCheckpoint::sign(
        node.log.checkpoint().expect("signed").checkpoint().clone(),
        &unlogged,
    )
    .expect("signed");
    let announce = seawall_tlog::AddCheckpoint { old: 3, proof: Vec::new(), checkpoint: again };
    assert_eq!(tier.add_checkpoint(&announce.to_bytes()).expect("answered").status, 200);
    let info = seawall_tlog::MirrorInfo { size: 3, next: 3, ticket: Vec::new() };
    let body = seawall_tlog::upload::entries_request(&node.log, &info).expect("a request");
    let answer = tier.add_entries(&body).expect("answered");
    assert_eq!(answer.status, 422, "{}", String::from_utf8_lossy(&answer.body));
    assert_eq!(published(), good, "what was published stays");

    // By way of an older pending checkpoint, with a good one after it.
    let manifest = node.manifest(&objects(2, 3)).to_json();
    node.append(&[manifest]);
    let Ok(UploadStep::AddCheckpoint(body)) =
        Upload::new(&node.log, 3, 3).expect("signed").step(&node.log)
    else {
        panic!("it begins with the checkpoint")
    };
    assert_eq!(tier.add_checkpoint(&body).expect("answered").status, 200);
    let body = seawall_tlog::upload::entries_request(&node.log, &info).expect("a request");
    assert_eq!(tier.add_entries(&body).expect("answered").status, 409, "go on from the latest");
    assert_eq!(published(), good, "what was published stays");

    // Once it is logged it may sign.
    node.append(&[certificate.to_json()]);
    node.log.sign_checkpoint(&unlogged).expect("signed");
    upload(&tier, &node).expect("its certificate is logged");
    assert_eq!(published().map(|c| c.checkpoint().size), Some(5));
    let report = shore.region.verify(&mut |_| {}).expect("verified");
    assert!(report.findings.iter().all(|f| !f.what.contains("by the keys of the log")));
}

#[test]
fn an_unreadable_log_is_left_out_of_the_list_and_hurts_nobody_else() {
    let shore = shore();
    let mut nodes: Vec<_> = [(10, "acme"), (20, "acme"), (30, "bolt")]
        .into_iter()
        .map(|(seed, tenant)| shore.world.node(seed, tenant))
        .collect();
    for node in &mut nodes {
        node.snapshot(&objects(1, 3));
        shore.push(node);
    }
    for node in &nodes[1..] {
        let dir = format!("logs/{}/checkpoint", node.log.origin().hash().to_hex());
        let path = shore.disk.paths().into_iter().find(|p| p.contains(&dir)).expect("published");
        shore.disk.plant(&path, b"nonsense").expect("planted");
    }
    let reopened = open(&shore.disk, &shore.clock);
    let logs_of = |node: &Node| {
        InProcess::connect(&reopened, node).expect("enrolled").logs().expect("answered")
    };
    let origin = nodes[0].log.origin().to_string();
    for node in &nodes[..2] {
        let listed: Vec<_> = logs_of(node).into_iter().map(|l| l.origin).collect();
        assert_eq!(listed, std::slice::from_ref(&origin), "the tenant's readable log");
    }
    assert_eq!(logs_of(&nodes[2]), []);
    let named = reopened.verify(&mut |_| {}).expect("verified").findings;
    assert_eq!(named.iter().filter(|f| f.what.contains("cannot be opened")).count(), 2);
}

/// Lets a node append whatever it likes and tells what the region says.
fn refusal_of(shore: &Shore, node: &mut Node, entry: Vec<u8>) -> String {
    node.append(&[entry]);
    let tier = shore.tier(node);
    let certified = node.log.entry(1).expect("the subkey");
    tier.introduce(&[Envelope::parse(&certified).expect("ours")]).expect("known");
    upload(&tier, node).expect_err("it was accepted")
}
#[test]
fn a_manifest_that_breaks_the_chain_is_refused_by_name() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    let index = node.snapshot(&objects(1, 5));
    shore.push(&mut node);
    let replayed = node.log.entry(index).expect("entry");
    let why = refusal_of(&shore, &mut node, replayed);
    assert!(why.contains("sequence 1 where 2 must follow"), "{why}");

    let mut node = shore.world.node(20, "acme");
    node.snapshot(&objects(1, 5));
    node.last = Some((1, seawall_base::Sha256([9; 32])));
    let forked = node.manifest(&objects(2, 5)).to_json();
    let why = refusal_of(&shore, &mut node, forked);
    assert!(why.contains("the history was rewritten"), "{why}");
    // What was refused left nothing behind, and the good entries before it can be read.
    assert!(shore.region.verify(&mut |_| {}).expect("verified").is_clean());
}

#[test]
fn a_log_is_written_by_the_node_its_enrolment_names_and_nobody_else() {
    let shore = shore();
    let (mut a, b) = (shore.world.node(10, "acme"), shore.world.node(20, "acme"));
    a.snapshot(&objects(1, 3));
    let stranger = shore.tier(&b);
    let body = match Upload::new(&a.log, 0, 0).and_then(|u| u.step(&a.log)) {
        Ok(UploadStep::AddCheckpoint(body)) => body,
        other => panic!("{other:?}"),
    };
    let error = stranger.add_checkpoint(&body).expect_err("not its log");
    assert!(error.to_string().contains("is not this member's"), "{error}");
    // An expired subkey signs no more.
    shore.clock.advance(Seconds::days(12));
    let tier = shore.tier(&a);
    let error = a.push(&tier, &shore.enrolment).expect_err("its only subkey has expired");
    assert_eq!(error.class(), Class::Refused, "{error}");
}

#[test]
fn enrolment_is_checked_and_a_higher_epoch_replaces() {
    let shore = shore();
    let stranger = World::new(2, NOW);
    let foreign = stranger.node(10, "acme");
    let error = InProcess::connect(&shore.region, &foreign).err().expect("another fleet");
    assert!(error.to_string().contains("not hosted here"), "{error}");
    let forged = Node { fleet: shore.world.fleet.clone(), ..stranger.node(10, "acme") };
    let error = InProcess::connect(&shore.region, &forged).err().expect("another root");
    assert!(error.to_string().contains("not a member"), "{error}");
    let mut node = shore.world.node(10, "acme");
    node.transport = world::key(77);
    let error = InProcess::connect(&shore.region, &node).err().expect("another key");
    assert!(error.to_string().contains("not the one enrolled"), "{error}");

    let first = shore.world.node(10, "acme");
    shore.tier(&first);
    let mut other_tenant = shore.world.node(10, "bolt");
    let error = InProcess::connect(&shore.region, &other_tenant).err().expect("same epoch");
    assert!(error.to_string().contains("does not replace"), "{error}");
    other_tenant = shore.world.node_of_epoch(10, "bolt", 2);
    shore.tier(&other_tenant);
    assert!(InProcess::connect(&shore.region, &first).is_err(), "epoch 1 is over");
    let reopened = open(&shore.disk, &shore.clock);
    let member = reopened.member(&other_tenant.transport.public()).expect("durable");
    assert_eq!(member.enrolment.epoch, 2);
}

#[test]
fn nothing_acknowledged_is_lost_with_the_power() {
    for mode in [PowerCut::LoseUnsynced, PowerCut::KeepUnsynced, PowerCut::Torn { seed: 4 }] {
        let shore = shore();
        let mut node = shore.world.node(10, "acme");
        let bodies = objects(1, 100);
        let index = node.snapshot(&bodies);
        let half = shore.between(&node);
        half.inner.put(&[(ObjectId::of(&bodies[0]), bodies[0].clone())]).expect("put");
        let after = open(&shore.disk.power_cut(mode), &shore.clock);
        let tier = InProcess::connect(&after, &node).expect("enrolled");
        let missing = tier.have(&ids(&bodies[..1])).expect("answered").missing;
        assert_eq!(missing, [], "{mode:?}: an acknowledged object");
        let done = node.push(&tier, &shore.enrolment).expect("pushed");
        assert_eq!(done.receipts, 1);

        shore.push(&mut node);
        let after = open(&shore.disk.power_cut(mode), &shore.clock);
        let tier = InProcess::connect(&after, &node).expect("enrolled");
        let checkpoint = tier.checkpoint(node.log.origin()).expect("read").expect("mirrored");
        assert_eq!(checkpoint.checkpoint().size, node.log.size());
        assert!(matches!(
            tier.receipt(node.log.origin(), index),
            Ok(seawall_sync::ReceiptAnswer::Given(_))
        ));
        let report = after.verify(&mut |_| {}).expect("verified");
        assert!(report.is_clean(), "{mode:?}: {:?}", report.findings);
    }
}

#[test]
fn a_full_or_failing_disk_acknowledges_nothing_and_recovers() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    node.snapshot(&objects(1, 100));
    let tier = shore.tier(&node);
    shore.disk.set_capacity(Some(50_000));
    let error = node.push(&tier, &shore.enrolment).expect_err("no room");
    assert_eq!(error.class(), Class::Retry, "{error}");
    shore.disk.set_capacity(None);
    let done = shore.push(&mut node);
    assert_eq!(done.receipts, 1);
    for ops in 0..60 {
        node.snapshot(&objects(100 + ops, 4));
        shore.disk.fail_after(ops, std::io::ErrorKind::Other, seawall_sim::Outcome::Half);
        let failed = node.push(&tier, &shore.enrolment);
        shore.disk.clear_fault();
        if let Err(e) = failed {
            assert_eq!(e.class(), Class::Retry, "operation {ops}: {e}");
        }
        shore.push(&mut node);
    }
    assert!(shore.region.verify(&mut |_| {}).expect("verified").is_clean());
}

#[test]
fn the_audit_names_a_flipped_bit_with_object_zone_and_snapshot() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    let bodies = objects(1, 30);
    node.snapshot(&bodies);
    shore.push(&mut node);
    let mut seen = 0;
    let report = shore.region.verify(&mut |p| seen = seen.max(p.bytes)).expect("verified");
    assert!(report.is_clean() && seen > 0, "{:?}", report.findings);
    let counts = (report.logs, report.entries, report.snapshots, report.cosignatures);
    assert_eq!(counts, (1, 3, 1, 1));
    assert_eq!(report.objects, 31);

    let path = shore.disk.paths().into_iter().find(|p| p.contains("/zones/")).expect("a zone");
    let zone = shore.disk.read(&path).expect("read");
    let at = zone.windows(64).position(|w| w == &bodies[7][..64]).expect("the body is there");
    shore.disk.flip_bit(&path, at as u64 + 20, 1).expect("flipped");
    let report = shore.region.verify(&mut |_| {}).expect("verified");
    let id = ObjectId::of(&bodies[7]).to_string();
    let named: Vec<_> = report.findings.iter().filter(|f| f.what.contains(&id)).collect();
    assert!(named.iter().any(|f| f.place.starts_with("zone ")), "{:?}", report.findings);
    assert!(
        named.iter().any(|f| f.what.contains("missing") && f.place.contains("snapshot 1 (entry 2")),
        "{:?}",
        report.findings
    );
    assert!(named.iter().all(|f| f.remedy.contains("seawall sync")));
}

#[test]
fn damage_found_by_an_audit_is_mended_by_the_next_push() {
    let shore = shore();
    let mut node = shore.world.node(10, "acme");
    // So many that the sample of 32 does not hit the one that is damaged.
    let bodies = objects(1, 3_000);
    node.snapshot(&bodies);
    shore.push(&mut node);
    let path = shore.disk.paths().into_iter().find(|p| p.contains("/zones/")).expect("a zone");
    let zone = shore.disk.read(&path).expect("read");
    let at = zone.windows(64).position(|w| w == &bodies[7][..64]).expect("the body is there");
    shore.disk.flip_bit(&path, at as u64 + 20, 1).expect("flipped");
    assert!(!shore.region.verify(&mut |_| {}).expect("verified").is_clean());
    let mended = shore.push(&mut node);
    assert_eq!((mended.recounted, mended.sent_objects), (1, 1), "{mended:?}");
    let report = shore.region.verify(&mut |_| {}).expect("verified");
    assert!(report.is_clean() && report.superseded == 1, "{:?}", report.findings);
}

#[test]
fn wrong_ids_and_hostile_bodies_are_refused_on_arrival() {
    let shore = shore();
    let node = shore.world.node(10, "acme");
    let tier = shore.tier(&node);
    let wrong = (ObjectId([3; 32]), b"other bytes".to_vec());
    let good = (ObjectId::of(b"good"), b"good".to_vec());
    let error = tier.put(&[good.clone(), wrong.clone()]).expect_err("a wrong id");
    assert!(error.to_string().contains("wrong id"), "{error}");
    let missing = tier.have(&[good.0, wrong.0]).expect("answered").missing;
    assert_eq!(missing, [wrong.0], "the good one before it was kept");
    let member = tier.member();
    assert_eq!(shore.region.put(&member, &[1, 2, 3]).expect_err("cut off").status, 400);
    assert_eq!(shore.region.add_checkpoint(&member, b"old x\n").expect_err("nonsense").status, 400);
    assert_eq!(shore.region.add_entries(&member, &[0, 1]).expect("an answer").status, 400);
    assert_eq!(shore.region.enrol(&node.transport.public(), b"{}").expect_err("no").status, 400);
    let nothing = shore.disk.list("tenants").expect("listed");
    assert_eq!(nothing.len(), 1);
}
