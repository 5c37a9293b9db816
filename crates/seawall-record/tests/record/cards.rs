//! Cards: what members tell an operator about themselves.

use seawall_record::{Base64, MemberCard, RecordError, RegionCard};
use seawall_sign::SigningKey;

fn member() -> MemberCard {
    let key = |n| SigningKey::from_seed(&[n; 32]).public();
    MemberCard {
        format: MemberCard::FORMAT.to_owned(),
        name: "site-a".to_owned(),
        identity: key(1),
        transport: key(2),
        recipient: Base64(vec![3; 40]),
    }
}

fn region() -> RegionCard {
    let MemberCard { identity, transport, .. } = member();
    RegionCard {
        format: RegionCard::FORMAT.to_owned(),
        name: "region-a".to_owned(),
        address: "region-a.example:7443".to_owned(),
        identity,
        transport,
    }
}

fn json<T: serde::Serialize>(card: &T) -> Vec<u8> {
    serde_json::to_vec(card).expect("serialises")
}

#[test]
fn cards_round_trip() {
    assert_eq!(MemberCard::parse(&json(&member())), Ok(member()));
    assert_eq!(RegionCard::parse(&region().to_json()), Ok(region()));
}

#[test]
fn one_card_is_not_the_other() {
    assert!(MemberCard::parse(&region().to_json()).is_err());
    assert!(RegionCard::parse(&json(&member())).is_err());
    let newer = MemberCard { format: "seawall-node/2".to_owned(), ..member() };
    let e = MemberCard::parse(&json(&newer)).expect_err("another format");
    assert!(e.to_string().contains("seawall-node/1"), "{e}");
}

#[test]
fn names_cannot_deceive() {
    for name in ["", "a\u{1b}[2J", "a\u{202e}b", "zero\u{200b}width", &"x".repeat(65)] {
        let card = MemberCard { name: name.to_owned(), ..member() };
        assert!(matches!(MemberCard::parse(&json(&card)), Err(RecordError::Refused { .. })));
        let card = RegionCard { name: name.to_owned(), ..region() };
        assert!(matches!(RegionCard::parse(&json(&card)), Err(RecordError::Refused { .. })));
    }
    assert!(MemberCard::parse(&vec![b' '; 2 << 20]).is_err(), "larger than any card");
}
