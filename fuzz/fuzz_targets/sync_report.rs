//! Drill reports and their details: whatever parses is spelled again in the one way, and nothing but
//! what the fleet's own node signed is believed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_fuzz::fleet;
use seawall_sync::{Details, Report};

fuzz_target!(|data: &[u8]| {
    let _ = Details::parse(data);
    if let Ok(report) = Report::parse(data) {
        let again = Report::parse(&report.to_json()).expect("what it writes, it reads");
        assert_eq!(again.to_json(), report.to_json());
        assert!(report.verify(fleet().id()).is_err(), "nobody drills in this fleet");
    }
});
