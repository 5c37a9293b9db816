//! Power cuts and failing disks, against a model: what was acknowledged is there, nothing half-written is.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;

use proptest::prelude::*;
use seawall_base::{Disk as _, ObjectId};
use seawall_sim::{Outcome, PowerCut, SimDisk};
use seawall_store::{OpenReport, Options, Store, StoreError};

const ZONE: &str = "zones/0000000000000000.zone";
/// A record header without the local-only part; also the length of a commit.
const COMMIT: usize = 80;

type Model = BTreeMap<ObjectId, Vec<u8>>;

fn try_open(disk: &SimDisk, zone_bytes: u64) -> Result<(Store, OpenReport), StoreError> {
    Store::open(
        Arc::new(disk.clone()),
        "",
        Options { zone_bytes, salt: [7; 32], ..Options::default() },
    )
}

fn open(disk: &SimDisk) -> (Store, OpenReport) {
    try_open(disk, 1 << 20).expect("opens")
}

fn planted(bytes: &[u8]) -> SimDisk {
    let disk = SimDisk::new();
    disk.plant(ZONE, bytes).expect("planted");
    disk
}

/// A zone of four flushes; where the commit of each ends, and what it had put.
struct Sample {
    bytes: Vec<u8>,
    flushes: Vec<(usize, Vec<Vec<u8>>)>,
}

impl Sample {
    fn new() -> Self {
        let disk = SimDisk::new();
        let (store, _) = open(&disk);
        let mut flushes = Vec::new();
        for batch in [&[3usize, 70][..], &[16], &[0, 41, 8], &[100, 33]] {
            let bodies: Vec<Vec<u8>> = batch.iter().map(|n| vec![*n as u8 + 1; *n]).collect();
            for (i, body) in bodies.iter().enumerate() {
                let ix = (i == 1).then_some([9; 32]);
                store.put(ObjectId::of(body), ix, body).expect("put");
            }
            store.flush().expect("flushed");
            let end = disk.read(ZONE).expect("read").len() - COMMIT;
            flushes.push((end, bodies));
        }
        Self { bytes: disk.read(ZONE).expect("read"), flushes }
    }

    /// What was acknowledged for sure if the first `len` bytes are as written.
    fn acknowledged(&self, len: usize) -> Model {
        let flushes = self.flushes.iter().filter(|(end, _)| *end <= len);
        flushes.flat_map(|(_, b)| b).map(|b| (ObjectId::of(b), b.clone())).collect()
    }

    fn all(&self) -> Model {
        self.acknowledged(usize::MAX)
    }
}

/// Checks a store against what it must hold and what it may hold.
fn check(store: &Store, must: &Model, may: &Model) {
    let ids = store.ids().expect("read");
    for id in must.keys() {
        assert!(ids.contains(id), "acknowledged object {id} is gone");
    }
    for id in ids {
        let body = may.get(&id).expect("only what was put may be there");
        assert_eq!(store.get(id).expect("a visible object is whole").as_ref(), Some(body));
    }
}

/// Opens twice, writes on, cuts the power, and opens again.
fn check_recovery(disk: &SimDisk, must: &Model, may: &Model) {
    let (store, report) = open(disk);
    assert_eq!(report.damage, vec![], "a power cut is no corruption");
    check(&store, must, may);
    let ids = store.ids().expect("read");
    drop(store);
    let (store, again) = open(disk);
    assert_eq!((again.cut_bytes, again.torn, again.damage), (0, vec![], vec![]));
    assert_eq!(store.ids().expect("read"), ids, "opening again changes nothing");
    let later = ObjectId::of(b"written later");
    store.put(later, None, b"written later").expect("put");
    store.flush().expect("flushed");
    assert_eq!(store.verify(&mut |_| {}).expect("verified").damage, vec![]);
    let (store, report) = open(&disk.power_cut(PowerCut::LoseUnsynced));
    assert_eq!(report.damage, vec![]);
    assert!(store.contains(later) && ids.iter().all(|id| store.contains(*id)));
}

#[test]
fn a_zone_cut_at_every_byte_keeps_what_was_acknowledged() {
    let sample = Sample::new();
    for len in 0..=sample.bytes.len() {
        let must = sample.acknowledged(len);
        check_recovery(&planted(&sample.bytes[..len]), &must, &must);
    }
}

#[test]
fn a_tail_of_zeros_from_every_byte_keeps_what_was_acknowledged() {
    let sample = Sample::new();
    for len in 64..=sample.bytes.len() {
        let mut bytes = sample.bytes.clone();
        bytes[len..].fill(0);
        // A commit may end in zero bytes only by chance; none of the sample does.
        let must = sample.acknowledged(len);
        check_recovery(&planted(&bytes), &must, &sample.all());
    }
}

#[test]
fn holes_in_an_unfinished_flush_take_only_what_they_touch() {
    let sample = Sample::new();
    let last = sample.flushes.len() - 1;
    let (start, end) = (sample.flushes[last - 1].0 + COMMIT, sample.flushes[last].0);
    let must = sample.acknowledged(start);
    for from in start..end - COMMIT {
        for len in [1, 8, 90, 250] {
            let mut bytes = sample.bytes[..end].to_vec();
            let to = (from + len).min(end - COMMIT);
            bytes[from..to].fill(0);
            check_recovery(&planted(&bytes), &must, &sample.all());
        }
    }
    let mut bytes = sample.bytes[..end].to_vec();
    bytes[start + 100] ^= 1;
    let (store, report) = open(&planted(&bytes));
    let [torn, whole] = [0, 1].map(|i| ObjectId::of(&sample.flushes[last].1[i]));
    assert_eq!(report.torn.iter().map(|t| t.id).collect::<Vec<_>>(), [Some(torn)]);
    assert!(store.contains(whole) && !store.contains(torn));
    assert!(
        store.put(torn, None, &sample.flushes[last].1[0]).expect("put"),
        "and can be put again"
    );
}

#[test]
fn records_behind_a_commit_prove_that_its_flush_was_durable() {
    let sample = Sample::new();
    let (first_end, first) = (sample.flushes[0].0, &sample.flushes[0].1[0]);
    let mut bytes = sample.bytes[..sample.flushes[1].0 - COMMIT].to_vec();
    bytes[first_end..first_end + COMMIT].fill(0);
    bytes[64 + 80] ^= 1;
    let disk = planted(&bytes);
    let (store, report) = open(&disk);
    assert_eq!((report.torn, report.cut_bytes), (vec![], (bytes.len() - first_end) as u64));
    assert!(matches!(store.get(ObjectId::of(first)), Err(StoreError::Damaged { .. })));
    assert_eq!(disk.read(ZONE).expect("read")[..first_end], bytes[..first_end], "not overwritten");
}

#[test]
fn a_zone_torn_while_it_is_created_is_created_again() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    for op in 0..5 {
        let disk = SimDisk::new();
        disk.create_dir_all("zones").expect("created");
        let (store, _) = open(&disk);
        disk.fail_after(op, ErrorKind::Other, Outcome::Half);
        let failed = store.put(ObjectId::of(b"x"), None, b"x").is_err();
        assert_eq!(failed, op < 5, "operation {op} is part of creating");
        for seed in 0..20 {
            let back = disk.power_cut(PowerCut::Torn { seed });
            check_recovery(&back, &Model::new(), &Model::new());
        }
    }
    assert_eq!(store.stats().expect("read").zones, 0, "an empty store has no zone");
}

#[test]
fn a_full_disk_loses_nothing_and_goes_on_when_there_is_room() {
    let disk = SimDisk::new();
    let (store, _) = open(&disk);
    let bodies: Vec<Vec<u8>> = (0..5u8).map(|i| vec![i; 300]).collect();
    store.put(ObjectId::of(&bodies[0]), None, &bodies[0]).expect("put");
    store.flush().expect("flushed");
    disk.set_capacity(Some(900));
    for body in &bodies[1..] {
        store.put(ObjectId::of(body), None, body).expect("buffered");
    }
    for _ in 0..3 {
        let error = store.flush().expect_err("full");
        assert!(
            matches!(error, StoreError::Full { .. }) && error.to_string().contains("free space")
        );
        assert_eq!(store.ids().expect("read").len(), 1);
        let (back, report) = open(&disk.power_cut(PowerCut::Torn { seed: 1 }));
        assert_eq!((back.ids().expect("read").len(), report.damage), (1, vec![]));
    }
    disk.set_capacity(None);
    store.flush().expect("what was put is still pending");
    let (back, _) = open(&disk.power_cut(PowerCut::LoseUnsynced));
    assert_eq!(back.ids().expect("read").len(), 5);
}

#[test]
fn a_failed_sync_stops_writing_and_opening_again_makes_good() {
    for outcome in [Outcome::Lost, Outcome::Half, Outcome::Persisted] {
        let disk = SimDisk::new();
        let (store, _) = open(&disk);
        store.put(ObjectId::of(b"a"), None, b"a").expect("put");
        disk.fail_after(1, ErrorKind::Other, outcome);
        assert!(matches!(store.flush(), Err(StoreError::Io { .. })));
        assert!(matches!(store.flush(), Err(StoreError::Poisoned { .. })));
        let refused = store.put(ObjectId::of(b"b"), None, b"b").expect_err("poisoned");
        assert!(refused.to_string().contains("open the store again"), "{refused}");
        assert!(!store.contains(ObjectId::of(b"a")), "not acknowledged");
        let (store, _) = open(&disk);
        assert!(store.contains(ObjectId::of(b"a")), "found whole in the cache, written again");
        let (store, report) = open(&disk.power_cut(PowerCut::LoseUnsynced));
        assert!(store.contains(ObjectId::of(b"a")), "and so durable: {outcome:?} {report:?}");
    }
}

#[test]
fn a_commit_that_a_failed_write_left_behind_proves_nothing() {
    let bodies = [vec![1; 64], vec![], vec![2; 64]];
    for (seed, outcome) in (0..4_000).flat_map(|s| [(s, Outcome::Persisted), (s, Outcome::Half)]) {
        let disk = SimDisk::new();
        let (store, _) = open(&disk);
        store.put(ObjectId::of(&bodies[0]), None, &bodies[0]).expect("put");
        disk.fail_after(0, ErrorKind::StorageFull, outcome);
        store.flush().expect_err("the write reports an error");
        for body in &bodies[1..] {
            store.put(ObjectId::of(body), None, body).expect("put");
        }
        disk.power_off_after(1);
        store.flush().expect_err("written, and then the power fails");
        let may: Model = bodies.iter().map(|b| (ObjectId::of(b), b.clone())).collect();
        let (store, report) = open(&disk.power_cut(PowerCut::Torn { seed }));
        assert_eq!(report.damage, vec![], "seed {seed}");
        check(&store, &Model::new(), &may);
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Put(u8, usize),
    Flush,
    Reopen,
    Cut(PowerCut),
    Fault(u64, ErrorKind, Outcome),
    PowerOff(u64),
    Capacity(Option<u64>),
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![Just(Outcome::Lost), Just(Outcome::Persisted), Just(Outcome::Half)];
    let kind = prop_oneof![Just(ErrorKind::Other), Just(ErrorKind::StorageFull)];
    let cut = prop_oneof![
        Just(PowerCut::LoseUnsynced),
        Just(PowerCut::KeepUnsynced),
        any::<u64>().prop_map(|seed| PowerCut::Torn { seed }),
    ];
    prop_oneof![
        8 => (any::<u8>(), 0usize..400).prop_map(|(i, n)| Op::Put(i, n)),
        // Long enough to be written at once.
        1 => (any::<u8>(), 65_530usize..65_550).prop_map(|(i, n)| Op::Put(i, n)),
        4 => Just(Op::Flush),
        1 => Just(Op::Reopen),
        2 => cut.prop_map(Op::Cut),
        2 => (0u64..8, kind, outcome).prop_map(|(n, k, o)| Op::Fault(n, k, o)),
        2 => (0u64..8).prop_map(Op::PowerOff),
        1 => proptest::option::of(500u64..4_000).prop_map(Op::Capacity),
        1 => (64_000u64..140_000).prop_map(|bytes| Op::Capacity(Some(bytes))),
    ]
}

/// A store under test and what is known about it.
struct Run {
    disk: SimDisk,
    /// None while it is being opened again.
    store: Option<Store>,
    pending: Model,
    acknowledged: Model,
    put: Model,
}

/// With an index on disk of even the smallest store.
fn try_open_indexed(disk: &SimDisk) -> Result<(Store, OpenReport), StoreError> {
    let options = Options { zone_bytes: 900, salt: [7; 32], index_tail: 3, ..Options::default() };
    Store::open(Arc::new(disk.clone()), "", options)
}

impl Run {
    fn new() -> Self {
        let disk = SimDisk::new();
        let (store, _) = try_open_indexed(&disk).expect("opens");
        let (pending, acknowledged, put) = (Model::new(), Model::new(), Model::new());
        Self { disk, store: Some(store), pending, acknowledged, put }
    }

    fn store(&self) -> &Store {
        self.store.as_ref().expect("open but while it is opened again")
    }

    fn reopen(&mut self) {
        self.store = None;
        let opened = try_open_indexed(&self.disk).or_else(|_| {
            // The fault struck while opening: it must not have made anything worse.
            self.disk = self.disk.power_cut(PowerCut::Torn { seed: self.disk.op_count() });
            self.disk.set_capacity(None);
            try_open_indexed(&self.disk)
        });
        let (store, report) = opened.expect("opens without a fault");
        assert_eq!(report.damage, vec![], "no crash is corruption");
        check(&store, &self.acknowledged, &self.put);
        // Whatever an opening shows is durable from then on.
        self.acknowledged = self.put.clone();
        self.acknowledged.retain(|id, _| store.contains(*id));
        self.pending.clear();
        self.store = Some(store);
    }

    fn apply(&mut self, op: Op) {
        match op {
            Op::Put(i, n) => {
                let body = vec![i; n];
                let id = ObjectId::of(&body);
                self.put.insert(id, body.clone());
                if let Ok(new) = self.store().put(id, Some([i; 32]), &body) {
                    let held =
                        self.pending.contains_key(&id) || self.acknowledged.contains_key(&id);
                    assert_eq!(new, !held);
                    self.pending.insert(id, body);
                }
                // A put may have closed a zone, which acknowledges what came before it.
                for id in self.store().ids().expect("read") {
                    self.acknowledged.insert(id, self.put[&id].clone());
                }
            }
            Op::Flush => {
                if self.store().flush().is_ok() {
                    self.acknowledged.append(&mut self.pending);
                }
                check(self.store(), &self.acknowledged, &self.acknowledged);
            }
            Op::Reopen => self.reopen(),
            Op::Cut(mode) => {
                self.disk = self.disk.power_cut(mode);
                self.reopen();
            }
            Op::Fault(n, kind, outcome) => self.disk.fail_after(n, kind, outcome),
            Op::PowerOff(n) => self.disk.power_off_after(n),
            Op::Capacity(bytes) => self.disk.set_capacity(bytes),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(4000) })]

    #[test]
    fn any_history_keeps_what_was_acknowledged(ops in proptest::collection::vec(op(), 1..60)) {
        let mut run = Run::new();
        for op in ops {
            run.apply(op);
        }
        run.apply(Op::Capacity(None));
        run.apply(Op::Cut(PowerCut::LoseUnsynced));
        prop_assert_eq!(run.store().verify(&mut |_| {}).expect("verified").damage, vec![]);
        run.apply(Op::Put(1, 7));
        run.apply(Op::Flush);
        run.apply(Op::Cut(PowerCut::LoseUnsynced));
        prop_assert!(run.store().contains(ObjectId::of(&[1; 7])));
    }
}
