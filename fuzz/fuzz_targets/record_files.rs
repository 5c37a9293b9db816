//! Files people hand to one another: cards, enrolment bundle, request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use seawall_fuzz::fleet;
use seawall_record::{Dossier, EnrolmentBundle, FleetCard, MemberCard, RegionCard};

fuzz_target!(|data: &[u8]| {
    let _ = FleetCard::open(data);
    let _ = MemberCard::parse(data);
    if let Ok(card) = RegionCard::parse(data) {
        assert_eq!(RegionCard::parse(&card.to_json()), Ok(card));
    }
    let pinned = fleet().id();
    if EnrolmentBundle::open(data, Some(seawall_record::Pin::Id(pinned))).is_ok() {
        assert!(EnrolmentBundle::open(data, None).is_ok(), "a pin only adds a check");
    }
    let _ = EnrolmentBundle::open(data, None);
    if let Ok(parts) = Dossier::parse(data) {
        let text = serde_json::to_vec(&Dossier::new(&parts)).expect("a dossier serialises");
        Dossier::parse(&text).expect("what it writes, it reads");
        let _ = parts.verify(pinned);
    }
});
