//! Enrolment bundles and fleet cards.

use seawall_base::FleetId;
use seawall_record::{
    Base64, BundlePredicate, EnrolmentBundle, FleetCard, MAX_BUNDLE, OpenedBundle, Pin,
    RecordError, RegionAddress, Role,
};
use seawall_sign::{Envelope, SignError, SigningKey};

use crate::fixture::{
    NOW, by_root, fleet, identity, key, node_enrolment, other_fleet, region_enrolment,
    requester_enrolment, root, rule, signature,
};

const ADDRESS: &str = "10.0.0.5:7443";

fn region() -> RegionAddress {
    RegionAddress::new(ADDRESS, &by_root(region_enrolment()))
}

fn heart() -> BundlePredicate {
    let digest = EnrolmentBundle::region_digest(&region()).expect("an envelope");
    BundlePredicate {
        fleet: fleet().id(),
        member: by_root(node_enrolment()).digest(),
        regions: vec![(ADDRESS.to_owned(), digest)],
        sealed_secrets: Base64(vec![0x5e; 40]),
        created: NOW,
        index_policy: None,
    }
}

fn file(
    enrolment: &Envelope,
    regions: Vec<RegionAddress>,
    heart: BundlePredicate,
    signer: &SigningKey,
) -> Vec<u8> {
    let heart = heart.statement().sign(&[signer]).expect("signed");
    let bundle = EnrolmentBundle::new(&fleet(), enrolment, regions, &heart);
    serde_json::to_vec(&bundle).expect("JSON")
}

fn good() -> Vec<u8> {
    file(&by_root(node_enrolment()), vec![region()], heart(), &root())
}

fn refused(json: &[u8]) -> RecordError {
    EnrolmentBundle::open(json, None).map(drop).expect_err("must be refused")
}

#[test]
fn a_good_bundle_opens_with_and_without_a_pin() {
    for pin in [None, Some(fleet().id())] {
        let OpenedBundle {
            fleet: found,
            enrolment,
            enrolment_envelope,
            sealed_secrets,
            regions,
            index_policy,
        } = EnrolmentBundle::open(&good(), pin.map(Pin::Id)).expect("opens");
        assert_eq!(found.id(), fleet().id());
        assert!(index_policy.is_none());
        assert_eq!(enrolment, node_enrolment());
        assert_eq!(enrolment_envelope, by_root(node_enrolment()));
        assert_eq!(sealed_secrets, [0x5e; 40]);
        assert_eq!(regions[0].address, ADDRESS);
        assert_eq!(regions[0].open(&found), Ok(region_enrolment()));
    }
}

#[test]
fn the_pin_decides_which_fleet() {
    let e = EnrolmentBundle::open(&good(), Some(Pin::Id(FleetId([7; 32])))).map(drop);
    assert!(matches!(e, Err(RecordError::OtherFleet { found, .. }) if found == fleet().id()));
}

#[test]
fn made_for_this_member_of_this_fleet() {
    let other = "made for another fleet or member";
    let json = file(&by_root(requester_enrolment()), vec![region()], heart(), &root());
    assert_eq!(rule(&refused(&json)), other);
    let elsewhere = BundlePredicate { fleet: other_fleet().id(), ..heart() };
    let json = file(&by_root(node_enrolment()), vec![region()], elsewhere, &root());
    assert_eq!(rule(&refused(&json)), other);
    let json = file(&by_root(region_enrolment()), vec![region()], heart(), &root());
    assert_eq!(rule(&refused(&json)), "enrolled as region, not as node");
}

#[test]
fn only_the_root_keys_make_bundles() {
    for stranger in [identity(), key(99)] {
        let json = file(&by_root(node_enrolment()), vec![region()], heart(), &stranger);
        let expected = SignError::BelowThreshold { have: 0, need: 1 };
        assert_eq!(signature(refused(&json)), expected);
    }
}

#[test]
fn the_regions_are_the_ones_signed_for() {
    let not_signed = "its regions are not the ones signed for";
    let elsewhere = RegionAddress::new("10.0.0.6:7443", &by_root(region_enrolment()));
    for regions in [vec![], vec![elsewhere], vec![region(), region()]] {
        let json = file(&by_root(node_enrolment()), regions, heart(), &root());
        assert_eq!(rule(&refused(&json)), not_signed);
    }
    let mut second = region_enrolment();
    second.identity = key(31).public();
    let swapped = RegionAddress::new(ADDRESS, &by_root(second));
    let json = file(&by_root(node_enrolment()), vec![swapped], heart(), &root());
    assert_eq!(rule(&refused(&json)), not_signed, "another region at the same address");
}

#[test]
fn a_region_must_be_enrolled_as_one() {
    let own = region_enrolment().statement().sign(&[&key(30)]).expect("signed");
    let json =
        file(&by_root(node_enrolment()), vec![RegionAddress::new(ADDRESS, &own)], heart(), &root());
    assert_eq!(signature(refused(&json)), SignError::BelowThreshold { have: 0, need: 1 });
    let node = RegionAddress::new(ADDRESS, &by_root(node_enrolment()));
    let e = node.open(&fleet()).expect_err("a node as a region");
    assert_eq!(rule(&e), "enrolled as node, not as region");
    for address in [String::new(), "a\nb:1".to_owned(), "h".repeat(257)] {
        let wrong = RegionAddress::new(&address, &by_root(region_enrolment()));
        assert!(rule(&wrong.open(&fleet()).expect_err("refused")).starts_with("text must be"));
    }
}

#[test]
fn files_have_one_form() {
    let good: serde_json::Value = serde_json::from_slice(&good()).expect("JSON");
    let mut newer = good.clone();
    newer["format"] = "seawall-bundle/2".into();
    assert!(rule(&refused(newer.to_string().as_bytes())).contains("seawall-bundle/2"));
    let mut more = good.clone();
    more["more"] = 1.into();
    assert!(rule(&refused(more.to_string().as_bytes())).contains("more"));
    assert_eq!(rule(&refused(&vec![b' '; MAX_BUNDLE + 1])), "larger than 4 MiB");
    for part in ["genesis", "enrolment", "bundle"] {
        let mut broken = good.clone();
        broken[part] = serde_json::json!([]);
        assert!(matches!(
            refused(broken.to_string().as_bytes()),
            RecordError::Statement { source: SignError::Malformed(_), .. }
        ));
    }
}

#[test]
fn a_card_is_a_genesis_statement_in_an_envelope_of_its_own() {
    let card = serde_json::to_vec(&FleetCard::new(&fleet())).expect("JSON");
    assert_eq!(FleetCard::open(&card).expect("opens").id(), fleet().id());
    let wrong = String::from_utf8(card).expect("UTF-8").replace("fleet/1", "fleet/9");
    assert!(rule(&FleetCard::open(wrong.as_bytes()).expect_err("refused")).contains("fleet/9"));
    let e = FleetCard::open(&good()).expect_err("a bundle is no card");
    assert!(rule(&e).starts_with("not a seawall-fleet/1 file"), "{e}");
    let e = seawall_record::Enrolment::open(&fleet(), fleet().envelope(), Role::Node);
    assert!(matches!(signature(e.expect_err("refused")), SignError::WrongType { .. }));
}
