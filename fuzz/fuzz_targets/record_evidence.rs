//! What strangers show as evidence, as an introduction or as a manifest, and logs of a later epoch.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::wire::Reader;
use seawall_fuzz::{NODE, ROOT, SUBKEY, fleet, key, sign};
use seawall_record::{
    Arrival, BadShareFile, EvidenceFile, HandOverFile, Introduction, LogState, node_origin,
};
use seawall_tlog::{Pair, SignedCheckpoint};

fuzz_target!(|data: &[u8]| {
    if let Ok(it) = Introduction::parse(data) {
        Introduction::parse(&it.to_json()).expect("what it writes, it reads");
        let _ = it.open(&fleet());
    }
    if let Ok(it) = Arrival::parse(data) {
        Arrival::parse(&it.to_json()).expect("what it writes, it reads");
        let _ = it.open(&fleet());
    }
    if let Ok(it) = BadShareFile::parse(data) {
        BadShareFile::parse(&it.to_json()).expect("what it writes, it reads");
        let _ = it.open();
    }
    if let Ok(it) = HandOverFile::parse(data) {
        HandOverFile::parse(&it.to_json()).expect("what it writes, it reads");
        let _ = it.open(&fleet());
    }
    if let Ok(it) = EvidenceFile::parse(data) {
        EvidenceFile::parse(&it.to_json()).expect("what it writes, it reads");
        let _ = it.open();
        let checkpoint = |text: &str| SignedCheckpoint::parse(text.as_bytes());
        if let (Ok(a), Ok(b)) =
            (checkpoint(&it.first.checkpoint), checkpoint(&it.second.checkpoint))
            && let Ok(pair) = Pair::new(a, b, it.beginning())
        {
            assert!(pair.judge(&[], &[]).is_empty(), "without keys nobody is convicted");
        }
    }
    later_epoch(data);
});

/// As `record_log_state`, with a log that has to reach its second epoch.
fn later_epoch(data: &[u8]) {
    let origin = node_origin(fleet().id(), key(NODE).public().node_id(), 2);
    let mut state = LogState::new(fleet(), &origin);
    let mut input = Reader::new(data);
    while let (Ok(signer), Ok(len)) = (input.u8(), input.u16()) {
        let Ok(payload) = input.take(usize::from(len).min(input.remaining())) else { return };
        let signer = [ROOT, NODE, SUBKEY][usize::from(signer) % 3];
        let before = (state.entries(), state.last_manifest(), state.continued().len());
        let accepted = state.accept(&sign(payload, &key(signer)).to_json());
        if accepted.is_err() {
            let after = (state.entries(), state.last_manifest(), state.continued().len());
            assert_eq!(before, after);
        } else {
            assert_eq!(before.0 + 1, state.entries());
        }
    }
}
