//! A log whose entries are well signed but say anything: a signer byte, a 16-bit length and a
//! payload each. What is refused leaves the state as it was.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::wire::Reader;
use seawall_fuzz::{NODE, ROOT, SUBKEY, fleet, key, sign};
use seawall_record::LogState;

fuzz_target!(|data: &[u8]| {
    let mut state = LogState::new(fleet(), "example.org/log");
    let mut input = Reader::new(data);
    while let (Ok(signer), Ok(len)) = (input.u8(), input.u16()) {
        let Ok(payload) = input.take(usize::from(len).min(input.remaining())) else { return };
        let signer = [ROOT, NODE, SUBKEY][usize::from(signer) % 3];
        let before = (state.entries(), state.last_manifest());
        let accepted = state.accept(&sign(payload, &key(signer)).to_json());
        if accepted.is_err() {
            assert_eq!(before, (state.entries(), state.last_manifest()));
        } else {
            assert_eq!(before.0 + 1, state.entries());
        }
    }
});
