//! Removing objects: what is live is never lost, at whatever step power fails or a process is killed.

use std::collections::BTreeSet;
use std::sync::Arc;

use seawall_base::{Disk as _, ObjectId};
use seawall_sim::{PowerCut, SimDisk};
use seawall_store::{Access, Options, Store, StoreError, Swept, ZoneAction};

const HALF: u8 = 50;

fn open_for(disk: &SimDisk, access: Access) -> Store {
    let options = Options { access, zone_bytes: 2_000, salt: [7; 32], index_tail: 16 };
    let (store, report) = Store::open(Arc::new(disk.clone()), "", options).expect("opens");
    assert_eq!(report.damage, vec![]);
    store
}

fn open(disk: &SimDisk) -> Store {
    open_for(disk, Access::Write)
}

fn body(i: u8) -> Vec<u8> {
    vec![i; 100 + usize::from(i)]
}

fn id(i: u8) -> ObjectId {
    ObjectId::of(&body(i))
}

fn put(store: &Store, i: u8) -> bool {
    store.put(id(i), Some([i; 32]), &body(i)).expect("put")
}

/// A store of sixty objects; `live` are needed.
fn sample() -> SimDisk {
    let disk = SimDisk::new();
    let store = open(&disk);
    for i in 0..60 {
        put(&store, i);
    }
    store.flush().expect("flushed");
    drop(store);
    disk
}

fn ids(live: impl IntoIterator<Item = u8>) -> BTreeSet<ObjectId> {
    live.into_iter().map(id).collect()
}

fn reclaim(store: &Store, live: &BTreeSet<ObjectId>) -> Result<Swept, StoreError> {
    let mut session = store.reclaim()?;
    session.condemn(&mut |id| live.contains(id), HALF)?;
    assert!(session.quiet()?);
    session.sweep(HALF, &mut |_| {})
}

fn check(disk: &SimDisk, live: impl IntoIterator<Item = u8>) {
    let store = open(disk);
    for i in live {
        assert_eq!(store.get(id(i)).expect("whole"), Some(body(i)), "object {i}");
        assert!(store.contains(id(i)), "object {i}");
        assert_eq!(store.find(&[i; 32]), Some(id(i)), "the index key of object {i} is kept");
    }
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
}

fn used(disk: &SimDisk) -> usize {
    let zones = disk.paths().into_iter().filter(|p| p.ends_with(".zone"));
    zones.map(|p| disk.read(&p).expect("read").len()).sum()
}

#[test]
fn dead_zones_go_mostly_dead_ones_are_rewritten_and_the_plan_says_so_before() {
    let disk = sample();
    let store = open(&disk);
    let live = ids((0..60).filter(|i| *i >= 40 || *i % 16 == 0));
    let before = (disk.paths(), disk.op_count());
    let plan = store.plan_reclaim(&mut |id| live.contains(id), HALF).expect("planned");
    assert_eq!((disk.paths(), disk.op_count()), before, "a plan changes nothing");
    for action in [ZoneAction::Keep, ZoneAction::Rewrite, ZoneAction::Remove] {
        assert!(plan.zones.iter().any(|z| z.action == action), "{plan:?}");
    }
    assert_eq!((plan.live_objects, plan.dead_records), (23, 37));
    let size = used(&disk);
    let swept = reclaim(&store, &live).expect("reclaimed");
    assert!(swept.removed > 0 && swept.rewritten > 0 && swept.stopped.is_none(), "{swept:?}");
    assert_eq!(swept.copied, plan.to_copy());
    assert!(used(&disk) as u64 <= size as u64 - plan.reclaimable() + 200, "{swept:?}");
    assert_eq!(store.ids().expect("read"), live.iter().copied().collect::<Vec<_>>());
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
    drop(store);
    let kept = (0..60).filter(|i| *i >= 40 || *i % 16 == 0);
    check(&disk, kept.clone());
    check(&disk.power_cut(PowerCut::LoseUnsynced), kept);
    let again = reclaim(&open(&disk), &live).expect("reclaimed");
    assert_eq!((again.removed, again.rewritten, again.freed), (0, 0, 0), "nothing is left to do");
}

#[test]
fn the_condemned_are_absent_for_writers_and_there_for_readers() {
    let disk = sample();
    let store = open(&disk);
    let live = ids(10..60);
    let mut session = store.reclaim().expect("the right to reclaim");
    assert!(matches!(open(&disk).reclaim(), Err(StoreError::Reclaiming)));
    session.condemn(&mut |id| live.contains(id), HALF).expect("condemned");
    let other = open(&disk);
    assert!(
        !other.contains(id(3)) && other.known(&[3; 32]).is_none() && other.find(&[3; 32]).is_none()
    );
    assert_eq!(other.get(id(3)).expect("read"), Some(body(3)));
    assert!(put(&other, 3), "written anew");
    assert!(!put(&other, 30));
    other.flush().expect("flushed");
    assert_eq!(other.known(&[3; 32]), Some(id(3)));
    assert!(session.quiet().expect("asked"), "it opened behind the condemning");
    session.sweep(HALF, &mut |_| {}).expect("swept");
    drop(session);
    drop((store, other));
    check(&disk, (10..60).chain([3]));
    assert_eq!(open(&disk).get(id(4)).expect("read"), None);
}

#[test]
fn sweeping_waits_for_earlier_writers_and_spares_what_they_need() {
    let disk = sample();
    let (earlier, store) = (open(&disk), open(&disk));
    let reader = open_for(&disk, Access::Read);
    let live = ids(20..60);
    let mut session = store.reclaim().expect("the right to reclaim");
    session.condemn(&mut |id| live.contains(id), HALF).expect("condemned");
    // It does not know yet, and relies on what is condemned.
    assert_eq!(earlier.known(&[5; 32]), Some(id(5)));
    put(&earlier, 99);
    earlier.flush().expect("flushed");
    assert!(!session.quiet().expect("asked"));
    assert!(matches!(session.sweep(HALF, &mut |_| {}), Err(StoreError::WritersAtWork)));
    drop(earlier);
    assert!(session.quiet().expect("asked"));
    // Its manifest was logged: it needs three, of which one is condemned.
    let needed = [5, 25, 99].map(id);
    assert_eq!(session.reprieve(&mut needed.into_iter()).expect("reprieved"), 1);
    session.sweep(HALF, &mut |_| {}).expect("swept");
    for i in (20..60).chain([5, 99]) {
        let found = reader.get(id(i)).expect("whole");
        assert!(i == 99 || found == Some(body(i)), "a reader finds object {i} where it went");
    }
    assert_eq!(reader.get(id(6)).expect("swept on purpose"), None);
    drop(session);
    drop(store);
    check(&disk, (20..60).chain([5, 99]));
}

#[test]
fn a_killed_writer_is_not_waited_for_and_a_killed_reclaim_hinders_nobody() {
    let disk = sample();
    let _earlier = open(&disk);
    let store = open(&disk);
    let mut session = store.reclaim().expect("the right to reclaim");
    let live = ids(30..60);
    session.condemn(&mut |id| live.contains(id), HALF).expect("condemned");
    assert!(!session.quiet().expect("asked"));
    let disk = disk.power_cut(PowerCut::KeepUnsynced);
    let store = open(&disk);
    let swept = reclaim(&store, &live).expect("reclaimed");
    assert!(swept.removed > 0);
    drop(store);
    check(&disk, 30..60);
}

/// Every operation of a reclaim, killed or without power behind it, keeps what is live, and the next one
/// finishes.
#[test]
fn whatever_step_it_stops_at_what_is_live_stays() {
    let pristine = sample();
    let kept = || (0..60).filter(|i| *i >= 40 || *i % 16 == 0);
    let live = ids(kept());
    let mut finished = false;
    for ops in 0..400 {
        let disk = pristine.power_cut(PowerCut::KeepUnsynced);
        let store = open(&disk);
        disk.power_off_after(ops);
        finished = reclaim(&store, &live).is_ok();
        let cuts = [PowerCut::KeepUnsynced, PowerCut::LoseUnsynced, PowerCut::Torn { seed: ops }];
        for cut in cuts {
            let back = disk.power_cut(cut);
            check(&back, kept());
            let store = open(&back);
            reclaim(&store, &live).expect("reclaimed");
            assert_eq!(store.ids().expect("read").len(), live.len());
            drop(store);
            check(&back, kept());
        }
        if finished {
            break;
        }
    }
    assert!(finished, "the last run was not disturbed");
}

#[test]
fn on_a_full_disk_dead_zones_go_first_and_nothing_is_lost() {
    let disk = sample();
    let store = open(&disk);
    let kept = || (0..60).filter(|i| *i >= 40 || *i % 16 == 0);
    let live = ids(kept());
    let mut session = store.reclaim().expect("the right to reclaim");
    session.condemn(&mut |id| live.contains(id), HALF).expect("condemned");
    assert!(session.quiet().expect("asked"));
    let bytes: usize = disk.paths().iter().map(|p| disk.read(p).expect("read").len()).sum();
    disk.set_capacity(Some(bytes as u64));
    let swept = session.sweep(HALF, &mut |_| {}).expect("swept");
    assert!(swept.removed > 0, "{swept:?}");
    drop(session);
    drop(store);
    check(&disk, kept());
}

#[test]
fn damaged_zones_and_the_last_copy_are_kept() {
    let disk = sample();
    let zone = "zones/0000000000000000.zone";
    // In the body of the first object of the first zone.
    disk.flip_bit(zone, 64 + 112 + 5, 1).expect("flipped");
    let store = open(&disk);
    let live = ids([0].into_iter().chain(30..60));
    let swept = reclaim(&store, &live).expect("reclaimed");
    assert_eq!(swept.damaged, [0], "{swept:?}");
    assert!(matches!(store.get(id(0)), Err(StoreError::Damaged { .. })));
    assert!(store.replace_damaged(id(0), &body(0)).expect("put"));
    store.flush().expect("flushed");
    let swept = reclaim(&store, &live).expect("reclaimed");
    assert_eq!((swept.damaged.len(), swept.removed), (0, 1), "{swept:?}");
    assert_eq!(store.get(id(0)).expect("whole"), Some(body(0)));
    assert!(!disk.paths().contains(&zone.to_owned()));
}

#[test]
fn a_damaged_state_condemns_nobody_and_is_made_anew() {
    let disk = sample();
    let live = ids(30..60);
    let store = open(&disk);
    let mut session = store.reclaim().expect("the right to reclaim");
    session.condemn(&mut |id| live.contains(id), HALF).expect("condemned");
    drop(session);
    drop(store);
    let list =
        disk.list("reclaim").expect("listed").into_iter().find(|n| n.ends_with(".condemned"));
    for path in ["reclaim/state".to_owned(), format!("reclaim/{}", list.expect("a list"))] {
        let disk = disk.power_cut(PowerCut::KeepUnsynced);
        disk.flip_bit(&path, 20, 1).expect("flipped");
        let options = Options { zone_bytes: 2_000, salt: [7; 32], ..Options::default() };
        let (store, report) = Store::open(Arc::new(disk.clone()), "", options).expect("opens");
        assert_eq!(report.renewed.len(), 1);
        assert!(store.contains(id(3)));
        let swept = reclaim(&store, &live).expect("reclaimed");
        assert!(swept.removed > 0);
        drop(store);
        check(&disk, 30..60);
    }
}
