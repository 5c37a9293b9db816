//! Deletion and collection in a region: who may, what goes, what never goes, and what is left when
//! the power goes in between.

use std::sync::Arc;

use seawall_base::{Clock as _, Disk as _, ObjectId, Seconds, Sha256, Timestamp};
use seawall_policy::retention::{Count, Period, Rules};
use seawall_record::{
    Deleted, Deletion, DeletionRule, Drill, DrillKind, Enrolment, Fleet, Forget, Forgotten, Hex32,
    Retention, SnapshotPlace, Verdict, WitnessQuorum, WitnessRecord,
};
use seawall_region::{Collect, CollectReport, Region};
use seawall_sign::{Envelope, SigningKey};
use seawall_sim::{PowerCut, SeededRng, SimClock, SimDisk};
use seawall_sync::{Class, SyncError, Tier, TierError};

#[path = "world/tier.rs"]
mod tier;
mod world;

use tier::{Between, InProcess};
use world::{Node, World, key, objects};

const NOW: Timestamp = Timestamp(1_800_000_000);
/// The witnesses of the policy, three of whom are a quorum, one of whom may lie.
const WITNESSES: [(&str, u8); 4] = [("anna", 150), ("ben", 151), ("cleo", 152), ("dora", 153)];
const AT_ONCE: Collect = Collect { grace: Seconds(0), percent: 100, dry_run: false };

/// One region, its disk and clock, and the fleet under a policy that lets things be deleted.
struct Harbour {
    world: World,
    disk: SimDisk,
    clock: SimClock,
    region: Arc<Region>,
    enrolment: Enrolment,
}

fn policy(fleet: Fleet, edit: impl Fn(&mut seawall_record::FleetPolicy)) -> Fleet {
    let mut policy = fleet.policy().clone();
    policy.version += 1;
    policy.previous = fleet.policy_digest();
    edit(&mut policy);
    let envelope = policy.statement().sign(&[&key(1)]).expect("signed");
    fleet.advance(envelope).expect("a good policy")
}

fn witness(operator: &str, n: u8) -> WitnessRecord {
    WitnessRecord {
        operator: operator.to_owned(),
        name: format!("{operator}.example/w"),
        key: key(n).public(),
        endpoint: None,
    }
}

impl Harbour {
    fn new() -> Self {
        let mut world = World::new(1, NOW);
        world.fleet = policy(world.fleet.clone(), |p| {
            p.deletion = Some(DeletionRule { min_age: Seconds::days(30), custodians: 1 });
            p.witnesses = WITNESSES.iter().map(|(name, n)| witness(name, *n)).collect();
            p.witness_quorum = Some(WitnessQuorum { quorum: 3, faulty: 1 });
        });
        let (disk, clock) = (SimDisk::new(), SimClock::new(NOW));
        let fleets = std::slice::from_ref(&world.fleet);
        let card =
            Region::init_on(&disk, "[::1]:1", "shore", fleets, &mut SeededRng::new(1), &clock)
                .expect("a new region");
        let region = open(&disk, &clock);
        let enrolment = world.region("shore", card.identity, card.transport);
        Self { world, disk, clock, region, enrolment }
    }

    fn push(&self, node: &mut Node) -> seawall_sync::Pushed {
        let tier = InProcess::connect(&self.region, node).expect("a member");
        node.push(&tier, &self.enrolment).expect("pushed")
    }

    /// Lets so many days pass, for the region and for whoever signs next.
    fn pass(&self, node: &mut Node, days: u64) {
        self.clock.set(self.clock.now().after(Seconds::days(days)));
        node.now = self.clock.now();
    }

    /// Every witness but those named cosigns what the node has, at the region's time, and the node
    /// brings it to the region.
    fn witnessed(&self, node: &mut Node, stamps: &[(&str, Timestamp)]) {
        let mut signed = node.log.checkpoint().expect("signed").clone();
        for (operator, n) in WITNESSES {
            let now = stamps.iter().find(|(name, _)| *name == operator);
            let time = now.map_or(self.clock.now(), |(_, time)| *time);
            let line = signed.cosign(&format!("{operator}.example/w"), &key(n), time);
            signed.add(line.expect("a good time")).expect("room");
        }
        let tier = InProcess::connect(&self.region, node).expect("a member");
        assert_eq!(tier.show_cosigned(&[signed.clone()]), Ok(signed.checkpoint().size));
    }

    fn collect(&self, how: &Collect) -> CollectReport {
        collect(&self.region, how)
    }

    fn verify(&self) -> seawall_sync::AuditReport {
        self.region.verify(&mut |_| {}).expect("verified")
    }

    fn stored(&self) -> u64 {
        let mut stored = 0;
        for tenant in self.disk.list("tenants").expect("listed") {
            let zones = format!("tenants/{tenant}/zones");
            for zone in self.disk.list(&zones).expect("listed") {
                let path = format!("{zones}/{zone}");
                let file = self.disk.open(&path, seawall_base::OpenMode::Read).expect("there");
                stored += file.len().expect("a length");
            }
        }
        stored
    }
}

fn open(disk: &SimDisk, clock: &SimClock) -> Arc<Region> {
    let region = Region::open_on(Arc::new(disk.clone()), Arc::new(clock.clone()));
    Arc::new(region.expect("opened"))
}

fn collect(region: &Region, how: &Collect) -> CollectReport {
    let report = region.collect(how, &mut SeededRng::new(9), &mut |_| {}).expect("collected");
    assert!(!report.is_stopped(), "{report:?}");
    report
}

/// A node with snapshots of their own objects: `count` of them each.
fn node_with(harbour: &Harbour, seed: u8, snapshots: u64, count: usize) -> (Node, Vec<Forgotten>) {
    let mut node = harbour.world.node(seed, "acme");
    let mut all = Vec::new();
    for n in 0..snapshots {
        node.snapshot(&objects(u64::from(seed) * 1_000 + n, count));
        let (sequence, manifest) = node.last.expect("made");
        all.push(Forgotten { sequence, manifest });
    }
    (node, all)
}

fn deletion(node: &Node, snapshots: &[Forgotten]) -> Deletion {
    Deletion {
        fleet: node.fleet.id(),
        node: node.enrolment.node(),
        origin: node.log.origin().to_string(),
        snapshots: snapshots.to_vec(),
        even_last: false,
        policy: node.fleet.version(),
        reason: "erasure".to_owned(),
        nonce: Hex32([3; 32]),
        created: node.now,
        expires: node.now.after(Seconds::days(7)),
    }
}

fn by_custodian(it: Deletion) -> Envelope {
    it.statement().sign(&[&key(200)]).expect("signed")
}

/// Logs a statement and lets every region know.
fn apply(harbour: &Harbour, node: &mut Node, it: Deletion) -> Envelope {
    let envelope = by_custodian(it);
    node.append(&[envelope.to_json()]);
    harbour.push(node);
    envelope
}

fn forget(node: &mut Node, snapshots: &[Forgotten]) {
    let it = Forget {
        fleet: node.fleet.id(),
        node: node.enrolment.node(),
        origin: node.log.origin().to_string(),
        snapshots: snapshots.to_vec(),
        copies: 2,
        reason: "keep last 1".to_owned(),
        created: node.now,
    };
    let envelope = it.statement().sign(&[&node.subkey]).expect("signed");
    node.append(&[envelope.to_json()]);
}

/// The root keys' rule: keep the last one.
/// The node lets snapshots go, makes another one, and two months pass.
fn let_go_and_wait(harbour: &Harbour, node: &mut Node, snapshots: &[Forgotten]) {
    forget(node, snapshots);
    harbour.push(node);
    harbour.witnessed(node, &[]);
    node.snapshot(&objects(7, 3));
    harbour.push(node);
    harbour.pass(node, 60);
    harbour.witnessed(node, &[]);
}

fn retention(node: &mut Node) {
    let counts = [(Period::Last, Count::Newest(1))].into_iter().collect();
    let it = Retention {
        fleet: node.fleet.id(),
        node: node.enrolment.node(),
        version: 1,
        rules: Rules { counts, ..Rules::default() },
        policy: node.fleet.version(),
        created: node.now,
    };
    node.append(&[it.statement().sign(&[&key(1)]).expect("signed").to_json()]);
}

fn expired(report: &CollectReport) -> Vec<u64> {
    report.expired.iter().flat_map(|it| &it.snapshots).map(|it| it.sequence).collect()
}

fn refused(e: TierError) -> String {
    match e {
        TierError::Refused { why, .. } => why,
        other => panic!("expected a refusal: {other}"),
    }
}

#[test]
fn a_statement_frees_what_only_the_deleted_snapshots_needed() {
    let harbour = Harbour::new();
    let (mut node, mut all) = node_with(&harbour, 10, 2, 40);
    // The last one shares half of the first.
    let mut shared = objects(10_000, 20);
    shared.extend(objects(77, 20));
    node.snapshot(&shared);
    let (sequence, manifest) = node.last.expect("made");
    all.push(Forgotten { sequence, manifest });
    let (mut other, _) = node_with(&harbour, 20, 1, 30);
    harbour.push(&mut node);
    harbour.push(&mut other);
    assert_eq!(harbour.collect(&AT_ONCE).freed(), 0, "everything is needed");
    let before = harbour.stored();
    let done = {
        node.append(&[by_custodian(deletion(&node, &all[..2])).to_json()]);
        harbour.push(&mut node)
    };
    assert_eq!((done.deleted, done.gone), (2, 2), "told and acknowledged");
    let again = harbour.push(&mut node);
    assert_eq!((again.deleted, again.gone, again.sent_objects), (0, 2, 0), "nothing comes back");
    let plan = harbour.collect(&Collect { dry_run: true, ..AT_ONCE });
    let done = harbour.collect(&AT_ONCE);
    assert_eq!(plan.tenants[0].1.dead_records, done.tenants[0].1.dead_records);
    assert!(
        done.freed() > 0 && harbour.stored() < before * 7 / 10,
        "{} of {before}",
        harbour.stored()
    );
    // But for the headers and ends of zone files, as much as there is less.
    let swept = done.tenants.iter().filter_map(|(_, it)| it.swept.as_ref());
    assert!(swept.map(|it| it.copied).sum::<u64>() > 10_000, "some were written anew");
    let less = before - harbour.stored();
    assert!(done.freed().abs_diff(less) < 1_000, "{} where there are {less} less", done.freed());
    assert!(harbour.verify().is_clean(), "what is left is whole, and nothing else is expected");
    let tier = InProcess::connect(&harbour.region, &node).expect("a member");
    let have =
        |bytes: &Vec<u8>| tier.have(&[ObjectId::of(bytes)]).expect("asked").missing.is_empty();
    assert!(shared.iter().all(have), "what the third needs stays");
    assert!(objects(10_001, 40).iter().all(|it| !have(it)), "what only the second needed went");
    let why = refused(tier.receipt(node.log.origin(), 2).expect_err("deleted"));
    assert_eq!(why, "the snapshot at entry 2 is deleted");
    let tier = InProcess::connect(&harbour.region, &other).expect("a member");
    let have = tier.have(&objects(20_000, 30).iter().map(|b| ObjectId::of(b)).collect::<Vec<_>>());
    assert!(have.expect("asked").missing.is_empty(), "another node's are untouched");
    // What went may come back with a new snapshot.
    node.snapshot(&objects(10_001, 40));
    assert_eq!(harbour.push(&mut node).receipts, 1);
    assert!(harbour.verify().is_clean());
}

#[test]
fn a_region_acts_only_on_what_the_newest_policy_allows() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 4, 3);
    harbour.push(&mut node);
    let tier = InProcess::connect(&harbour.region, &node).expect("a member");
    let why = |envelope: &Envelope| refused(tier.delete(envelope).expect_err("refused"));
    // Not in the log.
    let loose = by_custodian(deletion(&node, &all[..1]));
    assert!(why(&loose).contains("does not stand in the log"));
    // Signed by a node, a stranger, nobody who counts: such a log is not even taken.
    let unsigned = deletion(&node, &all[..1]).statement().sign(&[&node.subkey]).expect("signed");
    assert!(why(&unsigned).contains("does not stand in the log"));
    // In the log by version 2, when version 3 holds.
    node.append(&[loose.to_json()]);
    let newer = policy(node.fleet.clone(), |p| {
        p.deletion = Some(DeletionRule { min_age: Seconds::days(90), custodians: 1 });
    });
    harbour.region.add_fleet(newer.clone()).expect("learned");
    let pushed = harbour.push(&mut node);
    assert_eq!((pushed.deleted, pushed.refused_deletions.len()), (0, 1));
    assert!(pushed.refused_deletions[0].contains("names version 2"), "{pushed:?}");
    node.fleet = newer;
    // Expired, by whichever clock is later.
    let it = Deletion { nonce: Hex32([4; 32]), ..deletion(&node, &all[..1]) };
    let envelope = by_custodian(it);
    node.append(&[envelope.to_json()]);
    harbour.clock.set(NOW.after(Seconds::days(8)));
    let pushed = harbour.push(&mut node);
    assert!(pushed.refused_deletions.iter().any(|why| why.contains("expired")), "{pushed:?}");
    harbour.witnessed(&mut node, &[]);
    harbour.clock.set(NOW);
    assert!(why(&envelope).contains("expired"), "a clock set back revives nothing");
    let it = Deletion {
        nonce: Hex32([5; 32]),
        expires: NOW.after(Seconds::days(20)),
        ..deletion(&node, &all[1..2])
    };
    apply(&harbour, &mut node, it);
    let done: Vec<Deleted> = tier
        .deleted(node.log.origin())
        .expect("asked")
        .iter()
        .map(|it| Deleted::open(it, harbour.enrolment.identity).expect("its own"))
        .collect();
    assert_eq!(done.len(), 1);
    assert_eq!(done[0].snapshots, [all[1]]);
}

#[test]
fn retention_goes_by_witnessed_time_and_by_nothing_else() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 3, 5);
    harbour.push(&mut node);
    let run = || expired(&harbour.collect(&AT_ONCE));
    let why = || harbour.collect(&AT_ONCE).expired[0].why.clone();
    assert_eq!(why().as_deref(), Some("its log has no retention rules"));
    retention(&mut node);
    forget(&mut node, &all[..2]);
    harbour.push(&mut node);
    assert_eq!((why(), run()), (None, vec![0; 0]), "nobody has witnessed anything");
    harbour.witnessed(&mut node, &[]);
    harbour.pass(&mut node, 29);
    harbour.witnessed(&mut node, &[]);
    assert_eq!(run(), [0; 0], "29 days old");
    // The region's clock alone makes nothing old.
    harbour.clock.set(NOW.after(Seconds::days(4_000)));
    assert_eq!(run(), [0; 0], "its own clock is no witness");
    harbour.clock.set(NOW.after(Seconds::days(31)));
    // Nor does one witness whose clock runs fast.
    node.now = NOW;
    harbour.clock.set(NOW);
    node.snapshot(&objects(5, 3));
    harbour.push(&mut node);
    harbour.clock.set(NOW.after(Seconds::days(29)));
    harbour.witnessed(&mut node, &[("dora", NOW.after(Seconds::days(4_000)))]);
    harbour.clock.set(NOW.after(Seconds::days(31)));
    assert_eq!(run(), [0; 0], "one of four");
    harbour.clock.set(NOW);
    node.snapshot(&objects(6, 3));
    harbour.push(&mut node);
    harbour.clock.set(NOW.after(Seconds::days(31)));
    harbour.witnessed(&mut node, &[]);
    assert_eq!(run(), [1, 2], "31 days by a quorum");
    harbour.clock.set(NOW);
    let pushed = harbour.push(&mut node);
    assert_eq!((pushed.gone, pushed.set_aside, pushed.sent_objects), (2, 0, 0));
    assert!(harbour.verify().is_clean());
}

/// What `by` says of a drill with a snapshot of `of`.
fn drill(by: &Node, of: &Node, at: &Forgotten, result: Verdict) -> Vec<u8> {
    let origin = of.log.origin().to_string();
    let it = Drill {
        fleet: by.fleet.id(),
        node: by.enrolment.node(),
        origin: by.log.origin().to_string(),
        kind: DrillKind::Quorum,
        snapshot: Some(SnapshotPlace { origin, sequence: at.sequence, manifest: at.manifest }),
        result,
        whole: true,
        request: Some(Sha256([1; 32])),
        approvals: vec![Sha256([2; 32])],
        report: Sha256([3; 32]),
        began: by.now,
        created: by.now,
    };
    it.statement().sign(&[&by.subkey]).expect("signed").to_json()
}

#[test]
fn what_another_nodes_drill_has_proven_does_not_expire() {
    let mut harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 4, 3);
    let (mut other, _) = node_with(&harbour, 20, 1, 3);
    retention(&mut node);
    harbour.push(&mut node);
    let before = harbour.disk.paths();
    let passed = drill(&other, &node, &all[1], Verdict::Passed);
    let failed = drill(&other, &node, &all[2], Verdict::Failed);
    other.append(&[passed, failed]);
    harbour.push(&mut other);
    let_go_and_wait(&harbour, &mut node, &all[..3]);
    // What cannot be read might say so, too.
    let paths = harbour.disk.paths();
    let theirs = paths.iter().find(|path| path.ends_with("entries") && !before.contains(path));
    let theirs = theirs.expect("the other's log").clone();
    harbour.disk.flip_bit(&theirs, 100, 0).expect("flipped");
    harbour.region = open(&harbour.disk, &harbour.clock);
    let report = harbour.region.collect(&AT_ONCE, &mut SeededRng::new(9), &mut |_| {});
    let report = report.expect("collected");
    assert!(expired(&report).is_empty() && report.is_stopped(), "{report:?}");
    harbour.disk.flip_bit(&theirs, 100, 0).expect("flipped");
    harbour.region = open(&harbour.disk, &harbour.clock);
    let report = harbour.collect(&AT_ONCE);
    assert_eq!(expired(&report), [1, 3], "{report:?}");
}

#[test]
fn what_a_drill_has_proven_and_what_its_node_keeps_does_not_expire() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 5, 3);
    retention(&mut node);
    let passed = drill(&node, &node, &all[0], Verdict::Passed);
    node.append(&[passed]);
    // A stolen node says that the drill failed, and that another one passed.
    let failed = drill(&node, &node, &all[0], Verdict::Failed);
    let other = drill(&node, &node, &all[3], Verdict::Passed);
    node.append(&[failed, other]);
    // Number 2 is not let go.
    harbour.push(&mut node);
    let_go_and_wait(&harbour, &mut node, &[all[0], all[2]]);
    let report = harbour.collect(&AT_ONCE);
    assert_eq!(expired(&report), [3]);
    let it = &report.expired[0];
    // Numbers 1 and 4 are proven, 6 is young; 2 is held; 5 is the last.
    assert_eq!((it.denied, it.held, it.wanted), (3, 1, 1), "{it:?}");
}

#[test]
fn rules_count_only_while_the_root_keys_stand_behind_them() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 3, 3);
    harbour.push(&mut node);
    retention(&mut node);
    forget(&mut node, &all[..2]);
    harbour.push(&mut node);
    harbour.witnessed(&mut node, &[]);
    harbour.pass(&mut node, 60);
    harbour.witnessed(&mut node, &[]);
    let fleet = &harbour.world.fleet;
    let mut next = fleet.policy().clone();
    next.version += 1;
    next.previous = fleet.policy_digest();
    next.root_keys = vec![key(2).public()];
    // What the nodes and the region were enrolled by still holds; the retention is not carried.
    next.carried = vec![node.envelope.digest()];
    let both: [&SigningKey; 2] = [&key(1), &key(2)];
    let mut envelope = next.statement().sign(&[both[0]]).expect("signed");
    envelope = envelope.and_sign(both[1]).expect("another");
    harbour.region.add_fleet(fleet.clone().advance(envelope).expect("good")).expect("learned");
    let report = harbour.collect(&AT_ONCE);
    assert_eq!(expired(&report), [0; 0]);
    let why = report.expired[0].why.as_deref();
    assert_eq!(why, Some("today's root keys do not stand behind its retention rules"));
}

#[test]
fn what_is_leased_or_logged_meanwhile_is_spared() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 2, 30);
    harbour.push(&mut node);
    let it = deletion(&node, &all[..1]);
    apply(&harbour, &mut node, it);
    let slow = Collect { grace: Seconds::days(1), ..AT_ONCE };
    // Another node asks for some of what is about to be condemned, and is promised it.
    let (mut other, _) = node_with(&harbour, 20, 0, 0);
    let tier = InProcess::connect(&harbour.region, &other).expect("a member");
    let wanted = objects(10_000, 30);
    let ids: Vec<ObjectId> = wanted.iter().map(|it| ObjectId::of(it)).collect();
    assert_eq!(tier.have(&ids[..10]).expect("asked").missing, []);
    let report = harbour.collect(&slow);
    assert!(report.freed() == 0 && report.tenants[0].1.sweeps_at.is_some(), "{report:?}");
    let missing = tier.have(&ids).expect("asked").missing;
    assert_eq!(missing, ids[10..], "what is condemned counts as missing, what is leased does not");
    // It is sent again, and needed by a snapshot, before the sweep.
    other.snapshot(&wanted);
    harbour.push(&mut other);
    assert_eq!(harbour.collect(&slow).freed(), 0, "within the grace");
    harbour.pass(&mut node, 2);
    let done = harbour.collect(&slow);
    assert!(done.tenants[0].1.swept.is_some());
    assert!(harbour.verify().is_clean(), "the snapshot made meanwhile is whole");
    assert_eq!(harbour.push(&mut other).set_aside, 0);
}

#[test]
fn what_a_lease_kept_is_gone_after_it_from_a_zone_that_is_worth_keeping() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 1, 1);
    // Most of the zone is needed, however often it is looked at.
    node.snapshot(&objects(77, 40));
    harbour.push(&mut node);
    let id = ObjectId::of(&objects(10_000, 1)[0]);
    let (other, _) = node_with(&harbour, 20, 0, 0);
    let tier = InProcess::connect(&harbour.region, &other).expect("a member");
    let as_ever = Collect { percent: 70, ..AT_ONCE };
    assert_eq!(tier.have(&[id]).expect("asked").missing, [], "promised to the other");
    let it = deletion(&node, &all);
    apply(&harbour, &mut node, it);
    let before = harbour.stored();
    harbour.collect(&as_ever);
    let leased = harbour.stored();
    assert!(leased + 1_000 > before, "only its page is gone: {leased} of {before}");
    harbour.pass(&mut node, 8);
    harbour.collect(&as_ever);
    let gone = harbour.stored();
    assert!(gone + 1_000 < leased, "written anew without it: {gone} of {leased}");
    assert_eq!(tier.have(&[id]).expect("asked").missing, [id]);
    // From then on the zones of this log are worth keeping again.
    let swept = harbour.collect(&as_ever).tenants[0].1.swept.clone();
    assert!(swept.is_none_or(|it| it.copied == 0));
    assert!(harbour.verify().is_clean());
}

#[test]
fn nothing_goes_while_anything_is_in_doubt() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 2, 10);
    harbour.push(&mut node);
    assert!(!harbour.collect(&AT_ONCE).is_stopped());
    let it = deletion(&node, &all[..1]);
    apply(&harbour, &mut node, it);
    // A log that was here is gone: its snapshots' objects are nobody's garbage.
    let fleet = node.fleet.id().to_hex();
    let hash = node.log.origin().hash().to_hex();
    let disk = harbour.disk.power_cut(PowerCut::KeepUnsynced);
    disk.remove(&format!("fleets/{fleet}/logs/{hash}/origin")).expect("removed");
    let region = open(&disk, &harbour.clock);
    let report = region.collect(&AT_ONCE, &mut SeededRng::new(9), &mut |_| {}).expect("ran");
    assert!(report.is_stopped() && report.freed() == 0);
    let why = report.tenants[0].1.stopped.clone().expect("a reason");
    assert!(why.contains("entries of this log were here before"), "{why}");
}

#[test]
fn a_region_that_deletes_unasked_is_named() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 3, 10);
    let tier = Between::new(InProcess::connect(&harbour.region, &node).expect("a member"));
    node.push(&tier, &harbour.enrolment).expect("pushed");
    let identity = harbour.region.card().identity;
    let (fleet, origin) = (node.fleet.id(), node.log.origin().to_string());
    let other = node.restored_from_copy(&harbour.world);
    let incarnation = harbour.region.config().incarnation;
    let notice = |under: Sha256, snapshots: &[Forgotten], by: &SigningKey| {
        let it = Deleted {
            fleet,
            region: identity.node_id(),
            incarnation,
            origin: origin.clone(),
            under,
            snapshots: snapshots.to_vec(),
            created: NOW,
        };
        it.statement().sign(&[by]).expect("signed")
    };
    // The region's key is its own: a notice somebody else signed is no notice.
    *tier.mischief.notices.lock().expect("no panic") =
        Some(vec![notice(Sha256([1; 32]), &all[..1], &key(66))]);
    let e = node.push(&tier, &harbour.enrolment).expect_err("refused");
    assert_eq!(e.class(), Class::Lied, "{e}");
    // One it signed, about what nobody let it delete.
    let seed = seawall_base::read_file(&harbour.disk, "keys/identity", 64).expect("read");
    let seed: [u8; 32] = seed.expect("there").try_into().expect("a seed");
    let own = SigningKey::from_seed(&seed);
    *tier.mischief.notices.lock().expect("no panic") =
        Some(vec![notice(Sha256([1; 32]), &all[..2], &own)]);
    let e = node.push(&tier, &harbour.enrolment).expect_err("refused");
    assert!(matches!(e, SyncError::DeletedUnasked { .. }), "{e}");
    assert!(e.to_string().contains("deleted snapshots 1, 2 of this node"), "{e}");
    // Under rules that are there, but of a snapshot its node keeps.
    retention(&mut node);
    let entry = node.log.entry(node.log.size() - 1).expect("read");
    let under = Envelope::parse(&entry).expect("an envelope").digest();
    *tier.mischief.notices.lock().expect("no panic") = Some(vec![notice(under, &all[..1], &own)]);
    let e = node.push(&tier, &harbour.enrolment).expect_err("refused");
    assert!(matches!(e, SyncError::DeletedUnasked { .. }), "{e}");
    // It says nothing, and the objects of what the node has let go are gone.
    forget(&mut node, &all[..1]);
    harbour.push(&mut node);
    let disk = harbour.disk.power_cut(PowerCut::KeepUnsynced);
    let log = format!("fleets/{}/logs/{}", fleet.to_hex(), node.log.origin().hash().to_hex());
    let tomb = format!(
        r#"{{"format":"seawall-region-deleted/1","snapshots":[{{"sequence":1,"manifest":"{}","under":"{}","at":1}}]}}"#,
        all[0].manifest,
        Sha256([1; 32])
    );
    disk.plant(&format!("{log}/deleted.json"), tomb.as_bytes()).expect("planted");
    let region = open(&disk, &harbour.clock);
    assert!(collect(&region, &AT_ONCE).freed() > 0, "it deletes on nobody's word");
    let mut unasked = |tier: &dyn Tier| {
        let e = node.push(tier, &harbour.enrolment).expect_err("found out");
        assert!(e.to_string().contains("deleted snapshots 1 of this node, and no"), "{e}");
    };
    let tier = InProcess::connect(&region, &other).expect("a member");
    unasked(&tier);
    let hushed = Between::new(tier);
    *hushed.mischief.notices.lock().expect("no panic") = Some(Vec::new());
    unasked(&hushed);
    disk.remove(&format!("{log}/deleted.json")).expect("removed");
    unasked(&InProcess::connect(&open(&disk, &harbour.clock), &other).expect("a member"));
}

/// The power goes at every write of deleting, condemning and sweeping: what was acknowledged holds,
/// what is kept is whole, and the next run ends the work.
#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_is_kept() {
    let harbour = Harbour::new();
    let (mut node, all) = node_with(&harbour, 10, 3, 12);
    harbour.push(&mut node);
    let envelope = by_custodian(deletion(&node, &all[..2]));
    node.append(&[envelope.to_json()]);
    let image = harbour.disk.power_cut(PowerCut::KeepUnsynced);
    let mut cuts = 0;
    for at in 0.. {
        let disk = image.power_cut(PowerCut::KeepUnsynced);
        let region = open(&disk, &harbour.clock);
        let tier = InProcess::connect(&region, &node).expect("a member");
        let mut copy = node.restored_from_copy(&harbour.world);
        disk.power_off_after(at);
        let told = copy.push(&tier, &harbour.enrolment).is_ok();
        let ran = region.collect(&AT_ONCE, &mut SeededRng::new(9), &mut |_| {});
        let whole = told && ran.is_ok_and(|it| !it.is_stopped());
        for cut in [PowerCut::KeepUnsynced, PowerCut::LoseUnsynced] {
            let disk = disk.power_cut(cut);
            let region = open(&disk, &harbour.clock);
            let found = region.verify(&mut |_| {}).expect("verified");
            assert!(found.is_clean(), "write {at}, {cut:?}: {:?}", found.findings);
            let tier = InProcess::connect(&region, &node).expect("a member");
            if told {
                let gone = tier.deleted(node.log.origin()).expect("asked");
                assert_eq!(gone.len(), 1, "write {at}: it was acknowledged");
            }
            let mut copy = node.restored_from_copy(&harbour.world);
            copy.push(&tier, &harbour.enrolment).expect("pushed again");
            collect(&region, &AT_ONCE);
            assert!(region.verify(&mut |_| {}).expect("verified").is_clean());
            let have = objects(10_002, 12).iter().map(|b| ObjectId::of(b)).collect::<Vec<_>>();
            assert_eq!(tier.have(&have).expect("asked").missing, [], "write {at}");
        }
        cuts += 1;
        if whole {
            break;
        }
    }
    assert!(cuts > 20, "{cuts} writes");
}
