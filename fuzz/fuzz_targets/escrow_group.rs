//! A group from text, and from raw points.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_base::wire::Reader;
use seawall_escrow::Group;

fuzz_target!(|data: &[u8]| {
    if let Ok(group) = serde_json::from_slice::<Group>(data) {
        let text = serde_json::to_vec(&group).expect("a group serialises");
        assert_eq!(serde_json::from_slice::<Group>(&text).expect("it reads its own"), group);
    }
    let mut r = Reader::new(data);
    let (Ok(threshold), Ok(key)) = (r.u8(), r.array()) else { return };
    let mut members = Vec::new();
    while let (Ok(index), Ok(share)) = (r.u8(), r.array()) {
        members.push((u16::from(index), share));
    }
    if let Ok(group) = Group::new("a", u16::from(threshold), key, members) {
        assert!(usize::from(group.threshold()) <= group.members().len());
    }
});
