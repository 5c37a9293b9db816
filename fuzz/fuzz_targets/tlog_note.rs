//! Signed notes and checkpoints: one spelling each.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_fuzz::{SUBKEY, key};
use seawall_tlog::{Kind, Note, SignedCheckpoint, Verifier};

fuzz_target!(|data: &[u8]| {
    if let Ok(note) = Note::parse(data) {
        let name = note.text().lines().next().map_or("", |line| line);
        for kind in [Kind::Signer, Kind::Cosigner] {
            if let Ok(key) = Verifier::new(name, kind, &key(SUBKEY).public()) {
                let _ = note.verify(&[key]);
            }
        }
    }
    if let Ok(signed) = SignedCheckpoint::parse(data) {
        assert_eq!(signed.to_bytes(), data);
        assert!(signed.note().text().starts_with(&signed.checkpoint().to_text()));
    }
});
