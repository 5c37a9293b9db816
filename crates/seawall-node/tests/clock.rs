//! A node under a clock of the test's own: a month of snapshots, and two drills within one second.

use std::io::Cursor;
use std::path::Path;
use std::sync::Mutex;

use seawall_base::{Clock, Seconds, Timestamp};
use seawall_host::OsRng;
use seawall_node::{
    CreateOptions, Founding, FoundingGroup, Home, Input, LocalGroup, ScrubDrill, create_snapshot,
    drill_scrub, found, kept_reports, publish,
};
use seawall_record::{LogState, Subkey};
use seawall_sign::{Algorithm, Envelope, Statement};
use zeroize::Zeroizing;

struct Moved(Mutex<Timestamp>);

impl Clock for Moved {
    fn now(&self) -> Timestamp {
        *self.0.lock().expect("not poisoned")
    }
}

fn founded(dir: &Path, algorithm: Algorithm, clock: &dyn Clock) -> Home {
    let founding = Founding {
        home: &dir.join("home"),
        group: FoundingGroup::Local(LocalGroup {
            shares_dir: &dir.join("shares"),
            class: "default",
            custodians: vec!["anna".to_owned()],
            threshold: 1,
            post_quantum: true,
        }),
        fleet_name: "harbour",
        node_name: "node-1",
        tenant: "default",
        index: false,
        canary: None,
        algorithm,
        bucket: None,
    };
    let mut passphrase = |_: &str| Ok(Zeroizing::new(b"a passphrase".to_vec()));
    found(&founding, &mut passphrase, clock, &mut OsRng).expect("founded");
    Home::open(&dir.join("home")).expect("a home")
}

fn snapshot(home: &Home, clock: &dyn Clock) {
    let reader = Box::new(Cursor::new(b"what changes each day".to_vec()));
    let input = Input::Stream { name: "day".as_ref(), reader };
    let options = CreateOptions { class: None, set: None, tags: &[], workers: 1 };
    create_snapshot(home, input, &options, clock, &mut OsRng, &mut |_| ()).expect("a snapshot");
}

/// The subkeys certified in a home's log, in order, after every rule of the log was checked.
fn subkeys(home: &Home) -> Vec<Subkey> {
    let fleet = home.fleet().expect("a fleet");
    let log = home.log(&fleet).expect("a log");
    let mut state = LogState::new(fleet, log.origin().as_str());
    let mut found = Vec::new();
    for index in 0..log.size() {
        let entry = log.entry(index).expect("an entry");
        state.accept(&entry).expect("every reader believes it");
        let envelope = Envelope::parse(&entry).expect("an envelope");
        if let Ok(certified) = Statement::<Subkey>::read_unverified(&envelope) {
            found.push(certified.predicate);
        }
    }
    found
}

#[test]
fn subkeys_replace_themselves_through_a_month() {
    for algorithm in [Algorithm::Ed25519, Algorithm::MlDsa44] {
        let dir = tempfile::tempdir().expect("a directory");
        let start = Timestamp(1_800_000_000);
        let clock = Moved(Mutex::new(start));
        let home = founded(dir.path(), algorithm, &clock);
        for day in 0..=30 {
            *clock.0.lock().expect("not poisoned") = start.after(Seconds::days(day));
            snapshot(&home, &clock);
        }
        let keys = subkeys(&home);
        // Seven days each, replaced with two days left.
        assert_eq!(keys.len(), 6, "{algorithm}");
        for pair in keys.windows(2) {
            assert_ne!(pair[0].key, pair[1].key);
            assert!(pair[1].not_before < pair[0].not_after, "one follows before the other ends");
            let early = pair[0].not_after.before(Seconds::days(2));
            assert!(pair[1].not_before.after(Seconds::hours(1)) >= early, "and not too early");
        }
    }
}

#[test]
fn drills_of_one_second_have_each_their_report() {
    let dir = tempfile::tempdir().expect("a directory");
    let clock = Moved(Mutex::new(Timestamp(1_800_000_000)));
    let home = founded(dir.path(), Algorithm::Ed25519, &clock);
    let plan = ScrubDrill { workers: 1, ..Default::default() };
    let drill = || drill_scrub(&home, &plan, &clock, &mut OsRng, &mut |_| ()).expect("on record");
    let both = [drill(), drill()];
    // However alike they are, each names its own place in the log.
    let named = both.each_ref().map(|it| it.verified.details.entry);
    assert_eq!(named, both.each_ref().map(|it| Some(it.verified.index)));
    assert_ne!(named[0], named[1]);
    assert_eq!(kept_reports(&home).expect("readable").len(), 2);
    assert_eq!(publish(&home, &dir.path().join("site")).expect("published").new, 2);
}
