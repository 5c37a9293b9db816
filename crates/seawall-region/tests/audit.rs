//! What an audit finds in a log, and what stops a push before it does harm.

#[path = "world/tier.rs"]
mod tier;
mod world;

use std::ops::Range;
use std::sync::Arc;

use seawall_base::{ObjectId, Timestamp, write_atomic};
use seawall_record::Enrolment;
use seawall_region::Region;
use seawall_sim::{SeededRng, SimClock, SimDisk};
use seawall_sync::{Audit, AuditReport, AuditedLog, Class, Push, Receipts, SyncError};
use seawall_tlog::{Checkpoint, Kind, Log, Origin, SignedCheckpoint, Verifier};
use tier::InProcess;
use world::{Node, World, key, objects};

const NOW: Timestamp = Timestamp(1_800_000_000);

fn region(world: &World) -> (Arc<Region>, Enrolment) {
    let (disk, clock) = (SimDisk::new(), SimClock::new(NOW));
    let fleets = std::slice::from_ref(&world.fleet);
    Region::init_on(&disk, "127.0.0.1:0", "shore", fleets, &mut SeededRng::new(1), &clock)
        .expect("a new region");
    let region = Region::open_on(Arc::new(disk), Arc::new(clock)).expect("opened");
    let card = region.card();
    (Arc::new(region), world.region(&card.name, card.identity, card.transport))
}

/// A node with three snapshots that a region has receipted.
fn pushed() -> (World, Node, Arc<Region>, Enrolment) {
    let world = World::new(1, NOW);
    let (region, enrolment) = region(&world);
    let mut node = world.node(10, "acme");
    for seed in 1..4 {
        node.snapshot(&objects(seed, 300));
    }
    let tier = InProcess::connect(&region, &node).expect("enrolled");
    node.push(&tier, &enrolment).expect("pushed");
    (world, node, region, enrolment)
}

/// A store that has lost one object.
struct Without<'s> {
    store: &'s seawall_store::Store,
    gone: ObjectId,
}

impl seawall_sync::Objects for Without<'_> {
    fn object(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
        self.store.get(id).map(|found| found.filter(|_| id != self.gone)).map_err(|e| e.to_string())
    }
}

type Entries = Result<Vec<Vec<u8>>, String>;

/// Audits a node with its entries and checkpoint as `change` and `checkpoint` would have them.
fn audit(
    node: &Node,
    region: &Enrolment,
    change: &dyn Fn(Range<u64>, Vec<Vec<u8>>) -> Entries,
    checkpoint: Option<SignedCheckpoint>,
) -> AuditReport {
    let receipts = node.receipts(region);
    let entries = |range: Range<u64>| {
        change(range.clone(), node.log.entries(range).map_err(|e| e.to_string())?)
    };
    let key = Verifier::new(&region.name, Kind::Cosigner, &region.identity).expect("a name");
    let log = AuditedLog {
        origin: node.log.origin().clone(),
        fleet: &node.fleet,
        size: node.log.size(),
        entries: &entries,
        checkpoint,
        cosigners: vec![key],
        reclaims: false,
        deleted: std::collections::BTreeSet::new(),
    };
    let receipts = receipts.all().map(|(receipt, _)| receipt).collect();
    let audit = Audit { store: &node.store, logs: vec![log], receipts };
    audit.run(&mut |_| {}).expect("the disk can be read")
}

#[expect(clippy::unnecessary_wraps, reason = "the other changes can fail")]
fn unchanged(_: Range<u64>, entries: Vec<Vec<u8>>) -> Entries {
    Ok(entries)
}

/// That exactly one finding says `what`, and what it is about.
fn named<'r>(report: &'r AuditReport, what: &str) -> &'r str {
    let found: Vec<_> = report.findings.iter().filter(|f| f.what.contains(what)).collect();
    assert_eq!(found.len(), 1, "{what}: {:?}", report.findings);
    &found[0].place
}

#[test]
fn a_good_node_is_clean_and_everything_is_counted() {
    let (_, node, _, region) = pushed();
    let report = audit(&node, &region, &unchanged, node.log.checkpoint().cloned());
    assert!(report.is_clean(), "{:?}", report.findings);
    let counts = (report.entries, report.snapshots, report.cosignatures, report.receipts);
    assert_eq!(counts, (5, 3, 1, 3));
    let mut twice = report.clone();
    twice.merge(report);
    assert_eq!((twice.entries, twice.logs), (10, 2));
}

#[test]
fn what_is_wrong_with_a_log_is_named() {
    let (_, node, _, region) = pushed();
    let good = node.log.checkpoint().cloned();
    let unreadable = |_: Range<u64>, _: Vec<Vec<u8>>| -> Entries { Err("a bad sector".to_owned()) };
    let report = audit(&node, &region, &unreadable, good.clone());
    assert!(named(&report, "a bad sector").contains("entries 0 to 5"));

    let dropped = |_: Range<u64>, mut entries: Vec<Vec<u8>>| -> Entries {
        entries.remove(3);
        Ok(entries)
    };
    let report = audit(&node, &region, &dropped, good.clone());
    assert!(named(&report, "sequence 3 where 2 must follow").contains("entry 3"));
    named(&report, "4 entries where 5 were signed for");

    let swapped = |_: Range<u64>, mut entries: Vec<Vec<u8>>| -> Entries {
        entries.swap(3, 4);
        Ok(entries)
    };
    let report = audit(&node, &region, &swapped, good.clone());
    named(&report, "do not have the root signed for");

    named(&audit(&node, &region, &unchanged, None), "5 entries and no checkpoint");
    let checkpoint = good.expect("signed").checkpoint().clone();
    let stranger = SignedCheckpoint::sign(checkpoint.clone(), &key(99)).expect("signed");
    let report = audit(&node, &region, &unchanged, Some(stranger));
    named(&report, "by the keys of the log");
    let origin = "seawall.example/other".parse().expect("an origin");
    let other = Checkpoint::new(origin, checkpoint.size, checkpoint.root);
    let other = SignedCheckpoint::sign(other, &node.subkey).expect("signed");
    named(&audit(&node, &region, &unchanged, Some(other)), "another log's");
}

#[test]
fn a_log_under_another_name_than_its_node_and_epoch_is_a_finding() {
    let (_, mut node, _, region) = pushed();
    let origin = Origin::of_node(node.fleet.id(), node.enrolment.node(), 7);
    let (mut other, _) = Log::open(Arc::new(node.disk.clone()), "other", &origin).expect("a log");
    other.append(&node.log.entries(0..2).expect("enrolment and subkey")).expect("appended");
    other.sign_checkpoint(&node.subkey).expect("signed");
    node.log = other;
    let report = audit(&node, &region, &unchanged, node.log.checkpoint().cloned());
    named(&report, "it does not reach the epoch its origin names");
}

#[test]
fn a_log_that_was_never_pushed_is_no_finding() {
    let (world, _, _, region) = pushed();
    let mut node = world.node(40, "acme");
    node.snapshot(&objects(9, 3));
    let report = audit(&node, &region, &unchanged, node.log.checkpoint().cloned());
    assert!(report.is_clean(), "{:?}", report.findings);
    assert_eq!(report.cosignatures, 0);
}

#[test]
fn a_receipt_for_another_manifest_is_a_finding() {
    let (world, node, _, region) = pushed();
    let mut forked = world.node(10, "acme");
    forked.snapshot(&objects(50, 3));
    forked.disk = node.disk.clone();
    let report = audit(&forked, &region, &unchanged, forked.log.checkpoint().cloned());
    let wrong = report.findings.iter().filter(|f| f.what.contains("for another manifest")).count();
    assert_eq!((wrong, report.receipts), (3, 0), "{:?}", report.findings);
}

#[test]
fn a_lost_page_is_named_with_its_snapshot() {
    let (_, node, _, region) = pushed();
    let manifest = seawall_sign::Envelope::parse(&node.log.entry(3).expect("entry")).expect("ours");
    let manifest = seawall_sign::Statement::<seawall_record::Manifest>::read_unverified(&manifest)
        .expect("ours");
    let root = manifest.predicate.core.reference_set.root;
    let page = node.store.get(root).expect("read").expect("there");
    let path =
        node.disk.paths().into_iter().find(|p| p.contains("objects/zones/")).expect("a zone");
    let zone = node.disk.read(&path).expect("read");
    let at = zone.windows(page.len()).position(|w| w == page).expect("the page is there");
    node.disk.flip_bit(&path, at as u64 + 9, 0).expect("flipped");
    let report = audit(&node, &region, &unchanged, node.log.checkpoint().cloned());
    assert!(named(&report, "is missing").starts_with("snapshot 2 (entry 3"));
    assert_eq!(report.snapshots, 3, "the others are walked all the same");
}

#[test]
fn a_push_needs_a_signed_log_the_right_region_and_its_own_objects() {
    let (world, mut node, region, enrolment) = pushed();
    let tier = InProcess::connect(&region, &node).expect("enrolled");
    let impostor = Enrolment { identity: key(99).public(), ..enrolment.clone() };
    let mut receipts = node.receipts(&enrolment);
    let mut push = Push {
        fleet: &node.fleet,
        region: &impostor,
        log: &mut node.log,
        objects: &node.store,
        receipts: &mut receipts,
    };
    let error = push.run(&tier, &mut SeededRng::new(1), &mut |_| {}).expect_err("another key");
    assert_eq!(error.class(), Class::Lied, "{error}");

    let manifest = node.manifest(&objects(7, 3)).to_json();
    node.log.append(&[manifest]).expect("appended");
    let error = node.push(&tier, &enrolment).expect_err("no checkpoint covers it");
    assert!(matches!(error, SyncError::NotSigned { size: 6, signed: 5 }), "{error}");
    assert_eq!(error.class(), Class::Local);
    node.log.sign_checkpoint(&node.subkey).expect("signed");
    let done = node.push(&tier, &enrolment).expect("pushed");
    assert_eq!((done.receipts, done.sent_objects), (1, 4));

    let mut node = world.node(50, "acme");
    let bodies = objects(60, 3);
    node.snapshot(&bodies);
    let gone = ObjectId::of(&bodies[1]);
    let tier = InProcess::connect(&region, &node).expect("enrolled");
    let mut receipts = node.receipts(&enrolment);
    let mut push = Push {
        fleet: &node.fleet,
        region: &enrolment,
        log: &mut node.log,
        objects: &Without { store: &node.store, gone },
        receipts: &mut receipts,
    };
    let error = push.run(&tier, &mut SeededRng::new(1), &mut |_| {}).expect_err("not here");
    assert!(matches!(&error, SyncError::MissingLocally { id, .. } if *id == gone), "{error}");
    assert_eq!(error.class(), Class::Local);
}

#[test]
fn receipts_on_disk_are_checked_whenever_they_are_read_and_the_bad_ones_set_aside() {
    let (_, node, _, region) = pushed();
    let path = node.disk.paths().into_iter().find(|p| p.contains("receipts/")).expect("one");
    let other = key(98);
    let open = |key| Receipts::open(Arc::new(node.disk.clone()), "receipts", key).expect("opened");
    assert_eq!(
        (open(region.identity).all().count(), open(region.identity).unusable()),
        (3, &[][..])
    );
    let foreign = open(other.public());
    assert_eq!((foreign.all().count(), foreign.unusable().len()), (0, 3));
    assert!(foreign.unusable()[0].is_foreign, "{:?}", foreign.unusable());
    node.disk.truncate(&path, 40).expect("cut");
    let mut damaged = open(region.identity);
    assert_eq!(damaged.all().count(), 2);
    assert_eq!(damaged.unusable()[0].path, path);
    assert!(!damaged.unusable()[0].is_foreign, "{:?}", damaged.unusable());
    damaged.set_aside_unusable().expect("set aside");
    assert_eq!(damaged.unusable(), []);
    assert_eq!(open(region.identity).unusable(), []);
    assert!(node.disk.paths().contains(&format!("{path}.set-aside")));
}

#[test]
fn receipts_do_not_count_while_it_cannot_be_read_what_was_deleted() {
    let (_, node, _, region) = pushed();
    let path = node.disk.paths().into_iter().find(|p| p.contains("receipts/")).expect("one");
    let open = || {
        let disk = Arc::new(node.disk.clone());
        Receipts::open(disk, "receipts", region.identity).expect("opened")
    };
    let (receipt, _) = open().all().next().map(|(r, e)| (r.clone(), e.clone())).expect("one");
    // `<incarnation>-<log>-<index>.receipt` beside `<incarnation>-<log>.deleted`.
    let (log, _) = path.rsplit_once('-').expect("an index");
    let notice = format!("{log}.deleted");
    let write = |bytes: &[u8]| write_atomic(&node.disk, &notice, bytes).expect("written");
    write(b"[]");
    assert_eq!(open().all().count(), 3);
    write(b"[");
    let mut receipts = open();
    assert_eq!((receipts.all().count(), receipts.unusable().len()), (0, 1));
    receipts.set_aside_unusable().expect("looked at");
    assert_eq!(open().all().count(), 0, "the notice stays as long as a receipt may be meant");
    // The region says it again.
    let origin = receipt.origin.parse().expect("an origin");
    receipts.note_deleted(receipt.incarnation, &origin, &[]).expect("noted");
    assert_eq!((receipts.all().count(), open().all().count()), (3, 3));
}
