//! A payload signed by the fleet's own root key, so that mutation reaches the rules behind the
//! signature: whatever opens is a fleet that opens again, and its groups are judged.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_escrow::Group;
use seawall_fuzz::{ROOT, key, sign};
use seawall_record::{Fleet, FleetCard};

fuzz_target!(|data: &[u8]| {
    let Ok(fleet) = Fleet::open(sign(data, &key(ROOT))) else { return };
    let card = serde_json::to_vec(&FleetCard::new(&fleet)).expect("a card serialises");
    let again = FleetCard::open(&card).expect("the card of a fleet opens");
    assert_eq!(again.id(), fleet.id());
    for record in &fleet.genesis().groups {
        if let Ok(group) = Group::of_record(record) {
            assert_eq!(group.id(), record.id);
        }
    }
});
