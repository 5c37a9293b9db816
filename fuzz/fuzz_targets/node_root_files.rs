//! Files that go from one holder of a root key to the next: as files, and as what their statements
//! claim behind a signature that is not a root key's.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_fuzz::{NODE, ROOT, fleet, key, sign};
use seawall_node::RootFile;
use seawall_record::{EnrolmentBundle, Epoch, RegionAddress};
use seawall_sign::{Statement, StatementKey};
use serde_json::value::RawValue;

fuzz_target!(|data: &[u8]| {
    try_file(data);
    // Which file, the length of its first statement's payload, that payload, the second's.
    let [which, low, high, payloads @ ..] = data else { return };
    let middle = usize::from(u16::from_le_bytes([*low, *high]));
    let Some((first, second)) = payloads.split_at_checked(middle) else { return };
    let statement = |payload: &[u8]| sign(payload, &key(NODE));
    let raw = |payload: &[u8]| {
        let json = String::from_utf8(statement(payload).to_json()).expect("JSON is UTF-8");
        RawValue::from_string(json).expect("an envelope is one JSON value")
    };
    let file = match which % 4 {
        0 => {
            let bundle =
                EnrolmentBundle::new(&fleet(), &statement(first), vec![], &statement(second));
            serde_json::to_vec(&bundle)
        }
        1 => serde_json::to_vec(&RegionAddress::new("region:1", &statement(first))),
        2 => {
            #[derive(serde::Serialize)]
            struct Grant {
                format: &'static str,
                enrolment: Box<RawValue>,
                epoch: Box<RawValue>,
            }
            let format = "seawall-epoch/1";
            serde_json::to_vec(&Grant { format, enrolment: raw(first), epoch: raw(second) })
        }
        _ => Ok(statement(first).to_json()),
    };
    try_file(&file.expect("it serialises"));
});

fn try_file(file: &[u8]) {
    let Ok(file) = RootFile::parse(file) else { return };
    let again = RootFile::parse(&file.to_json()).expect("what it writes, it reads");
    let (Ok(all), Ok(same)) = (file.statements(), again.statements()) else { return };
    let digests =
        |of: &[seawall_sign::Envelope]| of.iter().map(|it| it.digest()).collect::<Vec<_>>();
    assert_eq!(digests(&all), digests(&same));
    let fleet = fleet();
    let root = StatementKey::from(key(ROOT));
    let stranger = StatementKey::from(key(NODE));
    let sound = file.check(&fleet).is_ok();
    // A policy may name new root keys, and those sign it, too.
    if !matches!(file, RootFile::Policy(_)) {
        file.clone().sign(&fleet, &stranger).expect_err("not a root key");
    }
    let Ok(signed) = file.sign(&fleet, &root) else { return };
    assert!(sound, "nothing is signed that was not found sound");
    signed.check(&fleet).expect("it is as sound as before");
    let (have, need) = signed.signed(&fleet).expect("it has statements");
    assert!(have >= need, "the one root key has signed all of it");
    // A signature is given to this fleet's statements only.
    for envelope in signed.statements().expect("as before") {
        assert!(envelope.signers().any(|it| it == key(ROOT).public()));
        if let Ok(it) = Statement::<Epoch>::read_unverified(&envelope) {
            assert_eq!(it.predicate.fleet, fleet.id());
        }
    }
}
