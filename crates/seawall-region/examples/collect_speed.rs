//! Measures a collection: `cargo run -p seawall-region --example collect_speed -- [OBJECTS]`.
//!
//! Two snapshots of so many objects each (100 to 5 100 random bytes), one tenth of them shared, in a
//! region on a real disk; the custodian deletes the first. Printed: how long condemning and sweeping
//! take, and the bytes of zone files before and after.

#[path = "../tests/world/tier.rs"]
mod tier;
#[path = "../tests/world/mod.rs"]
mod world;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use seawall_base::{Seconds, Timestamp};
use seawall_host::FsDisk;
use seawall_record::{Deletion, DeletionRule, Forgotten, Hex32};
use seawall_region::{Collect, Region};
use seawall_sim::{SeededRng, SimClock};
use tier::InProcess;
use world::{World, key, objects};

const NOW: Timestamp = Timestamp(1_800_000_000);

fn stored(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).expect("a directory");
    let size = |entry: std::fs::DirEntry| match entry.metadata().expect("metadata") {
        it if it.is_dir() => stored(&entry.path()),
        it if entry.path().extension().is_some_and(|e| e == "zone") => it.len(),
        _ => 0,
    };
    entries.map(|entry| size(entry.expect("readable"))).sum()
}

/// A fleet in which one custodian deletes.
fn ruled() -> World {
    let mut world = World::new(1, NOW);
    let mut policy = world.fleet.policy().clone();
    policy.version += 1;
    policy.previous = world.fleet.policy_digest();
    policy.deletion = Some(DeletionRule { min_age: Seconds::days(30), custodians: 1 });
    let envelope = policy.statement().sign(&[&key(1)]).expect("signed");
    world.fleet = world.fleet.clone().advance(envelope).expect("a good policy");
    world
}

#[expect(clippy::print_stdout, reason = "a measurement for people")]
fn main() {
    let count = std::env::args().nth(1).map_or(50_000, |n| n.parse().expect("a number"));
    let world = ruled();
    let dir = tempfile::tempdir().expect("a directory");
    let disk = FsDisk::create(dir.path()).expect("a disk");
    let clock = SimClock::new(NOW);
    let fleets = std::slice::from_ref(&world.fleet);
    let card = Region::init_on(&disk, "[::1]:1", "shore", fleets, &mut SeededRng::new(1), &clock);
    let card = card.expect("a new region");
    let region = Arc::new(Region::open_on(Arc::new(disk), Arc::new(clock)).expect("opened"));
    let enrolment = world.region("shore", card.identity, card.transport);
    let mut node = world.node(10, "acme");
    let mut bodies = objects(1, count);
    node.snapshot(&bodies);
    let (sequence, manifest) = node.last.expect("made");
    bodies.truncate(count / 10);
    bodies.extend(objects(2, count - count / 10));
    node.snapshot(&bodies);
    let deletion = Deletion {
        fleet: node.fleet.id(),
        node: node.enrolment.node(),
        origin: node.log.origin().to_string(),
        snapshots: vec![Forgotten { sequence, manifest }],
        even_last: false,
        policy: node.fleet.version(),
        reason: "measuring".to_owned(),
        nonce: Hex32([1; 32]),
        created: NOW,
        expires: NOW.after(Seconds::days(7)),
    };
    let tier = InProcess::connect(&region, &node).expect("a member");
    node.push(&tier, &enrolment).expect("pushed");
    node.append(&[deletion.statement().sign(&[&key(200)]).expect("signed").to_json()]);
    node.push(&tier, &enrolment).expect("pushed");
    let before = stored(dir.path());
    let how = Collect { grace: Seconds(0), percent: 70, dry_run: false };
    let begun = Instant::now();
    let report = region.collect(&how, &mut SeededRng::new(2), &mut |_| ()).expect("collected");
    let took = begun.elapsed();
    let (_, it) = &report.tenants[0];
    println!(
        "{} live and {} dead objects: {took:.2?}; zone files {before} bytes before, {} after; {} freed, {} copied",
        it.live_objects,
        it.dead_records,
        stored(dir.path()),
        report.freed(),
        it.swept.as_ref().map_or(0, |s| s.copied),
    );
}
