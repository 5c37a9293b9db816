//! Deletion and retention statements that enough custodians or root keys have signed, whatever they
//! say, in a log with snapshots; proposals that go round as files; and notices of regions.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_fuzz::{ROOT, deletable_log, key, ruled};
use seawall_record::{Deleted, DeletionFile};
use seawall_sign::Envelope;
use seawall_sync::message::{envelopes_of_json, envelopes_to_json};

fuzz_target!(|data: &[u8]| {
    for keys in [[key(11), key(12)], [key(ROOT), key(11)]] {
        let [a, b] = &keys;
        let envelope = Envelope::sign("application/vnd.in-toto+json", data.to_vec(), &[a, b]);
        let mut log = deletable_log();
        let all = log.last_manifest();
        let accepted = log.accept(&envelope.to_json());
        assert_eq!(log.last_manifest(), all, "no snapshot comes or goes");
        if accepted.is_err() {
            assert!(log.retention().is_none() && log.deletion(&envelope.digest()).is_none());
        }
    }
    if let Ok(file) = DeletionFile::parse(data, &ruled()) {
        let again =
            DeletionFile::parse(&file.to_json(), &ruled()).expect("what it writes, it reads");
        assert_eq!(again.deletion(), file.deletion());
        let _ = file.signed();
    }
    if let Ok(notices) = envelopes_of_json(data) {
        let again = envelopes_of_json(&envelopes_to_json(&notices)).expect("what it writes");
        assert_eq!(again, notices);
        for notice in &notices {
            let _ = Deleted::open(notice, key(30).public());
        }
    }
});
