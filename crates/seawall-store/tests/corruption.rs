//! Bytes that rot, move or are made up: never a wrong body, never another object lost, always reported.

use std::sync::Arc;

use proptest::prelude::*;
use seawall_base::ObjectId;
use seawall_sim::{PowerCut, SimDisk};
use seawall_store::{DamageKind, OpenReport, Options, Store, StoreError, scan};

const COMMIT: usize = 80;

fn zone(number: u64) -> String {
    format!("zones/{number:016x}.zone")
}

fn open_with(disk: &SimDisk, zone_bytes: u64) -> (Store, OpenReport) {
    let options = Options { zone_bytes, salt: [7; 32], ..Options::default() };
    Store::open(Arc::new(disk.clone()), "", options).expect("opens")
}

fn open(disk: &SimDisk) -> (Store, OpenReport) {
    open_with(disk, 1_300)
}

fn bodies() -> Vec<Vec<u8>> {
    [40usize, 200, 40, 0, 123, 64, 64].iter().zip(1u8..).map(|(n, i)| vec![i; *n]).collect()
}

/// Two zones, a flush for every second object, index keys on some.
fn sample() -> SimDisk {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    for (i, body) in bodies().iter().enumerate() {
        let ix = (i % 3 == 0).then_some([i as u8; 32]);
        store.put(ObjectId::of(body), ix, body).expect("put");
        if i % 2 == 1 {
            store.flush().expect("flushed");
        }
    }
    store.flush().expect("flushed");
    assert_eq!(store.stats().expect("read").zones, 2);
    disk
}

fn copy(disk: &SimDisk) -> SimDisk {
    disk.power_cut(PowerCut::KeepUnsynced)
}

/// The ids a store still gives out whole; panics on a wrong body.
fn readable(store: &Store) -> Vec<ObjectId> {
    let mut good = Vec::new();
    for body in bodies() {
        let id = ObjectId::of(&body);
        match store.get(id) {
            Ok(Some(found)) => {
                assert_eq!(found, body, "a wrong body");
                good.push(id);
            }
            Ok(None) => {}
            Err(StoreError::Damaged { id: named, .. }) => assert_eq!(named, id),
            Err(e) => panic!("{e}"),
        }
    }
    good
}

fn verify(store: &Store) -> Vec<seawall_store::Damage> {
    store.verify(&mut |_| {}).expect("verified").damage
}

#[test]
fn a_flipped_bit_anywhere_is_reported_and_costs_at_most_its_own_object() {
    let pristine = sample();
    for number in [0, 1] {
        let path = zone(number);
        let len = pristine.read(&path).expect("read").len();
        for offset in 0..len {
            let disk = copy(&pristine);
            disk.flip_bit(&path, offset as u64, (offset % 8) as u8).expect("flipped");
            let (store, report) = open(&disk);
            assert!(readable(&store).len() >= bodies().len() - 1, "byte {offset} of zone {number}");
            assert_eq!(report.torn, vec![], "what a sync is known to have covered is not torn");
            let damage = verify(&store);
            // The settling commit at the very end acknowledges nothing: it is cut like any tail.
            if number == 1 && offset >= len - COMMIT {
                assert_eq!(report.cut_bytes, COMMIT as u64);
                assert_eq!(damage, vec![]);
            } else {
                assert!(!damage.is_empty(), "byte {offset} of zone {number} goes unnoticed");
                assert!(damage.iter().all(|d| d.zone == number));
                let at = offset as u64;
                assert!(damage.iter().any(|d| d.offset <= at && at < d.offset + d.len));
            }
            assert_eq!(store.ids().expect("read"), {
                let mut ids = readable(&store);
                ids.sort();
                ids
            });
        }
    }
}

#[test]
fn a_bit_that_flips_while_the_store_is_open_is_found_and_the_object_can_be_mended() {
    let pristine = sample();
    let len = pristine.read(&zone(1)).expect("read").len();
    for offset in 0..len - COMMIT {
        let disk = copy(&pristine);
        let (store, _) = open(&disk);
        disk.flip_bit(&zone(1), offset as u64, 0).expect("flipped");
        assert!(!verify(&store).is_empty(), "byte {offset}");
        for body in bodies() {
            let id = ObjectId::of(&body);
            let damaged = !store.contains(id);
            assert_eq!(store.put(id, None, &body).expect("put"), damaged);
        }
        store.flush().expect("flushed");
        assert_eq!(readable(&store).len(), bodies().len());
        drop(store);
        assert_eq!(readable(&open(&disk).0).len(), bodies().len(), "byte {offset}");
    }
}

#[test]
fn a_damaged_object_is_named_and_replaced() {
    let disk = sample();
    let body = &bodies()[1];
    let id = ObjectId::of(body);
    let bytes = disk.read(&zone(0)).expect("read");
    let at = bytes.windows(200).position(|w| w == &body[..]).expect("the body is there");
    disk.flip_bit(&zone(0), at as u64 + 9, 3).expect("flipped");
    let (store, report) = open(&disk);
    assert_eq!(report.damage, vec![], "opening reads no bodies of settled flushes");
    assert!(!store.replace_damaged(ObjectId::of(&bodies()[0]), &bodies()[0]).expect("healthy"));
    let error = store.get(id).expect_err("damaged");
    assert!(error.to_string().contains(&id.to_string()), "{error}");
    assert!(error.to_string().contains(&format!("zone 0000000000000000 at byte {}", at - 80)));
    assert!(!store.contains(id) && store.size_of(id).is_none());
    let [damage] = &verify(&store)[..] else { panic!("one piece of damage") };
    assert_eq!(
        (damage.id, damage.kind, damage.offset),
        (Some(id), DamageKind::Body, at as u64 - 80)
    );
    assert!(damage.to_string().contains("zones/0000000000000000.zone at byte"), "{damage}");
    assert!(store.replace_damaged(id, body).expect("put"));
    store.flush().expect("flushed");
    for store in [store, open(&disk).0] {
        assert_eq!(store.get(id).expect("mended").as_ref(), Some(body));
    }
}

#[test]
fn damage_in_the_middle_hides_nothing_behind_it() {
    let pristine = sample();
    let len = pristine.read(&zone(0)).expect("read").len();
    for start in (64..len - 300).step_by(8) {
        let disk = copy(&pristine);
        let mut bytes = disk.read(&zone(0)).expect("read");
        bytes[start..start + 200].fill(0xaa);
        disk.plant(&zone(0), &bytes).expect("planted");
        let (store, _) = open(&disk);
        // 200 bytes touch at most three of the sample's records that hold objects.
        assert!(readable(&store).len() >= bodies().len() - 3, "at {start}");
        assert!(store.contains(ObjectId::of(&bodies()[6])));
        assert!(!verify(&store).is_empty());
    }
}

#[test]
fn swapped_and_duplicated_records_are_no_records() {
    let pristine = sample();
    let bytes = pristine.read(&zone(0)).expect("read");
    let (a, b) = (&bodies()[0], &bodies()[2]);
    let at =
        |body: &[u8], header| bytes.windows(40).position(|w| w == body).expect("there") - header;
    let (first, third) = (at(a, 112), at(b, 80));
    let mut swapped = bytes.clone();
    swapped[first..first + 120].copy_from_slice(&bytes[third..third + 120]);
    swapped[third..third + 120].copy_from_slice(&bytes[first..first + 120]);
    let mut doubled = bytes.clone();
    doubled[third..third + 120].copy_from_slice(&bytes[first..first + 120]);
    for (bytes, lost) in [(swapped, 2), (doubled, 1)] {
        let disk = copy(&pristine);
        disk.plant(&zone(0), &bytes).expect("planted");
        let (store, report) = open(&disk);
        assert!(report.damage.iter().all(|d| d.kind == DamageKind::Unreadable));
        assert!(!report.damage.is_empty() && !verify(&store).is_empty());
        assert_eq!(readable(&store).len(), bodies().len() - lost);
    }
}

#[test]
fn a_stale_record_at_its_right_place_is_noticed_by_the_chain() {
    let [kept, stale] = [b"kept", b"old!"].map(|first| {
        let disk = SimDisk::new();
        let (store, _) = open(&disk);
        for body in [&first[..], b"second"] {
            store.put(ObjectId::of(body), None, body).expect("put");
            store.flush().expect("flushed");
        }
        disk
    });
    let mut bytes = kept.read(&zone(0)).expect("read");
    bytes[64..152].copy_from_slice(&stale.read(&zone(0)).expect("read")[64..152]);
    kept.plant(&zone(0), &bytes).expect("planted");
    let (store, report) = open(&kept);
    let [damage] = &report.damage[..] else { panic!("one piece of damage: {report:?}") };
    assert_eq!((damage.kind, damage.offset, damage.len), (DamageKind::Sequence, 64, 88));
    assert!(store.contains(ObjectId::of(b"second")) && !store.contains(ObjectId::of(b"kept")));
    assert!(damage.to_string().ends_with("records do not match their commit"));
}

#[test]
fn closed_zones_that_end_early_and_zones_that_vanish_are_reported() {
    let pristine = sample();
    let len = pristine.read(&zone(0)).expect("read").len() as u64;
    for cut in [len - 80, len - 8, 700, 64, 30, 0] {
        let disk = copy(&pristine);
        disk.truncate(&zone(0), cut).expect("cut");
        let (store, report) = open(&disk);
        assert!(report.damage.iter().any(|d| d.kind == DamageKind::Unclosed), "cut to {cut}");
        assert_eq!(disk.read(&zone(0)).expect("read").len() as u64, cut, "nothing is changed");
        assert_eq!(readable(&store), {
            let mut r = readable(&store);
            r.retain(|id| store.contains(*id));
            r
        });
    }
    let (store, _) = open(&pristine);
    pristine.truncate(&zone(1), 70).expect("cut");
    assert!(verify(&store).iter().any(|d| d.kind == DamageKind::Unclosed && d.zone == 1));
    let (store, _) = open(&sample());
    assert_eq!(verify(&store), vec![]);
    let disk = sample();
    let (store, _) = open(&disk);
    seawall_base::Disk::remove(&disk, &zone(0)).expect("removed");
    assert!(matches!(store.get(ObjectId::of(&bodies()[0])), Err(StoreError::Damaged { .. })));
    assert!(verify(&store).iter().any(|d| d.kind == DamageKind::Unclosed && d.zone == 0));
}

#[test]
fn a_zone_with_a_damaged_header_takes_no_more_records() {
    let disk = sample();
    disk.flip_bit(&zone(1), 20, 1).expect("flipped");
    let (store, report) = open(&disk);
    assert_eq!(report.damage.len(), 1);
    assert_eq!(readable(&store).len(), bodies().len(), "the records stand without it");
    store.put(ObjectId::of(b"next"), None, b"next").expect("put");
    store.flush().expect("flushed");
    assert_eq!(store.stats().expect("read").zones, 3);
    let (store, report) = open(&disk);
    assert_eq!(report.damage.iter().map(|d| d.kind).collect::<Vec<_>>(), [DamageKind::ZoneHeader]);
    assert!(store.contains(ObjectId::of(b"next")));
    // Renamed to another number, a zone is readable but not what its name says.
    let renamed = SimDisk::new();
    renamed.plant(&zone(9), &disk.read(&zone(0)).expect("read")).expect("planted");
    let (store, report) = open(&renamed);
    assert_eq!(report.damage[0].kind, DamageKind::ZoneHeader);
    assert!(store.contains(ObjectId::of(&bodies()[0])));
}

#[test]
fn bad_sectors_cost_what_they_touch_and_nothing_is_cut_around_them() {
    let disk = SimDisk::new();
    let (store, _) = open_with(&disk, 1 << 20);
    let body = |i: u32| [i.to_le_bytes().to_vec(), vec![9; 300]].concat();
    for i in 0..400 {
        store.put(ObjectId::of(&body(i)), None, &body(i)).expect("put");
    }
    store.flush().expect("flushed");
    let len = disk.read(&zone(0)).expect("read").len() as u64;
    // In the middle of the zone, and over its last commits, which must not make it look uncommitted.
    for bad in [40_960..45_056, len - 200..len] {
        let disk = copy(&disk);
        disk.spoil(&zone(0), bad).expect("spoiled");
        let (store, report) = open_with(&disk, 1 << 20);
        assert!(report.damage.iter().any(|d| d.kind == DamageKind::Unreadable));
        let there = (0..400).filter(|i| matches!(store.get(ObjectId::of(&body(*i))), Ok(Some(_))));
        assert!(there.count() >= 400 - 24);
        assert_eq!(disk.read(&zone(0)).expect("read").len() as u64, len, "not cut");
        store.put(ObjectId::of(b"next"), None, b"next").expect("put");
        store.flush().expect("flushed");
        assert!(!verify(&store).is_empty());
        assert!(open_with(&disk, 1 << 20).0.contains(ObjectId::of(b"next")));
    }
    disk.spoil(&zone(0), 0..u64::MAX).expect("spoiled");
    let refused = Store::open(Arc::new(disk), "", Options::default()).err();
    assert!(
        matches!(refused, Some(StoreError::Io { .. })),
        "a disk that fails throughout is no zone"
    );
}

#[test]
fn a_wholly_overwritten_last_zone_is_left_alone() {
    let disk = sample();
    disk.plant(&zone(1), &[0x55; 900]).expect("planted");
    let (store, report) = open(&disk);
    assert!(!report.damage.is_empty());
    store.put(ObjectId::of(b"next"), None, b"next").expect("put");
    store.flush().expect("flushed");
    assert_eq!(disk.read(&zone(1)).expect("read"), [0x55; 900]);
    assert!(disk.paths().contains(&zone(2)));
}

#[test]
fn a_later_version_is_refused_and_foreign_files_are_ignored() {
    let disk = sample();
    disk.plant("zones/readme.txt", b"not ours").expect("planted");
    disk.plant("zones/000000000000000A.zone", b"not ours").expect("planted");
    assert_eq!(open(&disk).1.zones, 2);
    let mut bytes = disk.read(&zone(0)).expect("read");
    bytes[8] = 3;
    let check = blake3::hash(&bytes[..48]);
    bytes[48..64].copy_from_slice(&check.as_bytes()[..16]);
    disk.plant(&zone(0), &bytes).expect("planted");
    let before = disk.op_count();
    let refused = Store::open(Arc::new(disk.clone()), "", Options::default()).err();
    assert!(matches!(refused, Some(StoreError::UnsupportedVersion { zone: 0, version: 3 })));
    assert_eq!(disk.op_count(), before + 1, "only the directory was synced");
}

#[test]
fn a_body_that_imitates_a_zone_is_never_read_as_one() {
    let disk = SimDisk::new();
    let (store, _) = open_with(&disk, 1 << 20);
    // What an outsider can make: a zone of a store whose salt is another.
    let foreign = SimDisk::new();
    let (other, _) = Store::open(Arc::new(foreign.clone()), "", Options::default()).expect("opens");
    other.put(ObjectId::of(b"forged"), Some([9; 32]), b"forged").expect("put");
    other.flush().expect("flushed");
    let forged = foreign.read(&zone(0)).expect("read");
    // Aligned so that the forged records stand at the offsets they claim.
    let body = [&vec![0; 1_000 - 144][..], &forged].concat();
    store.put(ObjectId::of(&body), None, &body).expect("put");
    store.put(ObjectId::of(b"after"), None, b"after").expect("put");
    store.flush().expect("flushed");
    disk.flip_bit(&zone(0), 70, 0).expect("the real header rots");
    let (store, report) = open_with(&disk, 1 << 20);
    assert_eq!(report.damage.len(), 1);
    assert_eq!(report.damage[0].id, Some(ObjectId::of(&body)), "the bytes prove which it was");
    assert_eq!(store.ids().expect("read"), [ObjectId::of(b"after")]);
    assert_eq!(store.find(&[9; 32]), None);
}

#[test]
fn the_golden_zone_is_what_it_was() {
    let disk = SimDisk::new();
    let (store, _) = open_with(&disk, 1 << 20);
    store.put(ObjectId::of(b"abc"), None, b"abc").expect("put");
    store.put(ObjectId::of(b""), Some([0x11; 32]), b"").expect("put");
    store.flush().expect("flushed");
    let bytes = disk.read(&zone(0)).expect("read");
    let lines: Vec<String> = bytes.chunks(32).map(hex_line).collect();
    assert_eq!(lines, GOLDEN);
    let found = scan(&bytes);
    assert_eq!((found.zone, found.objects.len(), found.committed), (Some(0), 2, 424));
    assert_eq!(found.objects[1].ix, Some([0x11; 32]));
}

fn hex_line(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut line, b| {
        write!(line, "{b:02x}").expect("writing to a string cannot fail");
        line
    })
}

/// Header, two objects, commit, settling commit; 32 bytes a line.
const GOLDEN: &[&str] = &[
    "8953575a4e0d0a1a0100000000000000000000000000000039ca7cc4decdc73f",
    "0000000000000000000000000000000088f4178b97e87c3bbfc1f29809738092",
    "e55357720100000039ca7cc4decdc73f03000000000000004000000000000000",
    "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
    "c92837fbe3084dfa2c8dfdf8d2fb5c616162630000000000e553577201010000",
    "39ca7cc4decdc73f00000000010000009800000000000000af1349b9f5f9a1a6",
    "a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f32621111111111111111",
    "111111111111111111111111111111111111111111111111a8dfbafe2a92a9d2",
    "2867485b36a297b2e55357720200000039ca7cc4decdc73f0000000002000000",
    "0801000000000000fda49191d716f05d3b3f6e4c3abb009974adf12634d725dc",
    "f96fbd3020b063e1c71b3f7adb9b599dd80b434382017e16e553577202040000",
    "39ca7cc4decdc73f00000000030000005801000000000000ad1376e0255cc9f9",
    "d3e4eeac26498a8f70c6c8d330c7374323d9283513754d971dc04b09c64f6b7c",
    "f492bb91a19df8c2",
];

#[test]
fn a_zone_of_ten_thousand_objects_opens_with_few_reads_and_no_writes() {
    let disk = SimDisk::new();
    let (store, _) = open_with(&disk, 1 << 30);
    for i in 0..10_000u32 {
        let body = i.to_le_bytes();
        store.put(ObjectId::of(&body), None, &body).expect("put");
    }
    store.flush().expect("flushed");
    let disk = copy(&disk);
    let (store, report) = open_with(&disk, 1 << 30);
    assert_eq!((report.objects, store.stats().expect("read").bytes), (10_000, 40_000));
    assert_eq!(disk.op_count(), 1, "only the directory was synced");
    assert!(store.ids().expect("read").is_sorted());
    let mut last = 0;
    store.verify(&mut |n| last = n).expect("verified");
    let len = disk.read(&zone(0)).expect("read").len();
    assert_eq!(last, (len - COMMIT) as u64, "all that is acknowledged");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn hostile_bytes_have_an_answer(
        noise in proptest::collection::vec(any::<u8>(), 0..300),
        at in 0usize..1_000,
        from in 0usize..1_000,
        len in 0usize..300,
    ) {
        let mut bytes = sample().read(&zone(0)).expect("read");
        let size = bytes.len();
        let (at, from) = (at.min(size), from.min(size));
        let piece = bytes[from..(from + len).min(size)].to_vec();
        bytes.splice(at..at, piece);
        let end = (at + noise.len()).min(bytes.len());
        bytes.splice(at..end, noise.iter().copied());
        for bytes in [&noise, &bytes] {
            for object in scan(bytes).objects {
                let start = object.offset as usize;
                prop_assert_eq!(ObjectId::of(&bytes[start..start + object.len as usize]), object.id);
            }
            let disk = SimDisk::new();
            disk.plant(&zone(0), bytes).expect("planted");
            let (store, _) = open(&disk);
            readable(&store);
            store.verify(&mut |_| {}).expect("verified");
            store.put(ObjectId::of(b"next"), None, b"next").expect("put");
            store.flush().expect("flushed");
            let (store, _) = open(&disk.power_cut(PowerCut::LoseUnsynced));
            prop_assert!(store.contains(ObjectId::of(b"next")));
        }
    }
}
