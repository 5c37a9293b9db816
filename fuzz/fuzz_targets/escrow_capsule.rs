//! A capsule has one encoding, and only its own makes it valid.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::{Capsule, Demand, LabelFields};
use seawall_fuzz::{group, kem_keys, label_fields, recipients};

fuzz_target!(|data: &[u8]| {
    let Ok(capsule) = Capsule::decode(data) else { return };
    assert_eq!(capsule.encode(), data);
    let demand = Demand::post_quantum(vec![recipients()], true);
    if let Ok(checked) = capsule.check(group(), &label_fields(), &demand) {
        for (index, key) in (1..).zip(kem_keys()) {
            let _ = checked.open_share(index, &key);
            if let Some(evidence) = checked.evidence(index, &key) {
                assert!(checked.convicts(index, &evidence));
            }
        }
    }
    let other = LabelFields { sequence: 9, ..label_fields() };
    assert!(capsule.check(group(), &other, &demand).is_err());
});
