//! What travels between a log, its witnesses and its mirrors.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_tlog::package::Package;
use seawall_tlog::{AddCheckpoint, EntriesHeader, MirrorAnswer, WitnessAnswer};

fuzz_target!(|data: &[u8]| {
    let _ = AddCheckpoint::parse(data);
    for status in [200, 202, 400, 403, 404, 409, 422, 500] {
        let _ = WitnessAnswer::parse(status, data);
        let _ = MirrorAnswer::parse(status, data);
    }
    let mut body = data;
    let Ok(header) = EntriesHeader::read(&mut body) else { return };
    assert_eq!(header.to_bytes(), data[..data.len() - body.len()]);
    for bounds in header.bounds().take(64) {
        let before = body;
        let Ok(package) = Package::read(&mut body, &bounds) else { return };
        let mut written = Vec::new();
        package.write(&mut written);
        assert_eq!(written, before[..before.len() - body.len()]);
    }
});
