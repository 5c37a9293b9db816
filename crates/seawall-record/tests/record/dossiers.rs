//! A request file: everything in it is checked against everything else.

use seawall_base::Seconds;
use seawall_record::{
    Dossier, DossierParts, MAX_DOSSIER, RecordError, Request, Subkey, VerifiedDossier,
};
use seawall_sign::SignError;

use crate::fixture::{
    NOW, ORIGIN, by_identity, by_requester, by_root, by_subkey, fleet, identity, key, manifest,
    node_enrolment, node_of, other_fleet, parts, region_enrolment, request, requester_certificate,
    requester_enrolment, requester_identity, rule, signature, subkey, tampered,
};

fn verify(parts: &DossierParts) -> Result<VerifiedDossier, RecordError> {
    parts.verify(fleet().id())
}

fn refused(edit: impl FnOnce(&mut DossierParts)) -> RecordError {
    let mut changed = parts();
    edit(&mut changed);
    verify(&changed).expect_err("must be refused")
}

#[test]
fn a_good_one_survives_the_file_and_verifies() {
    let file = serde_json::to_vec(&Dossier::new(&parts())).expect("JSON");
    let read = Dossier::parse(&file).expect("parses");
    assert_eq!(read.checkpoint, parts().checkpoint);
    assert_eq!(read.inclusion, parts().inclusion);
    let it = verify(&read).expect("verifies");
    assert_eq!(it.fleet.id(), fleet().id());
    assert_eq!(it.request, request());
    assert_eq!(it.request_digest, by_requester(request()).digest());
    assert_eq!(it.requester, requester_enrolment());
    assert_eq!(it.author, node_enrolment());
    assert_eq!(it.checkpoint_subkey, subkey());
    assert_eq!(it.manifest, manifest(1, None));
    assert_eq!(it.manifest_digest, by_subkey(manifest(1, None)).digest());
}

#[test]
fn another_fleet_is_named() {
    let e = parts().verify(other_fleet().id()).expect_err("the pin is another fleet's");
    assert!(matches!(e, RecordError::OtherFleet { expected, found, .. }
        if expected == other_fleet().id() && found == fleet().id()));
    let e = refused(|p| p.genesis = other_fleet().envelope().clone());
    assert!(matches!(e, RecordError::OtherFleet { .. }));
    let e = refused(|p| {
        let foreign = Request { fleet: other_fleet().id(), ..request() };
        p.request = by_requester(foreign);
    });
    assert_eq!(rule(&e), "made in the name of another fleet or requester");
}

#[test]
fn the_requester_must_be_enrolled_as_a_node() {
    let e = refused(|p| {
        let own = requester_enrolment().statement();
        p.requester[0] = own.sign(&[&requester_identity()]).expect("signed");
    });
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 });
    let e = refused(|p| p.requester[0] = by_root(region_enrolment()));
    assert_eq!(rule(&e), "enrolled as region, not as node");
    let e = refused(|p| p.requester[0] = by_root(node_enrolment()));
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 }, "another's subkey");
    let e = refused(|p| {
        p.request = by_requester(Request { requester: node_of(10), ..request() });
    });
    assert_eq!(rule(&e), "made in the name of another fleet or requester");
}

#[test]
fn the_one_time_key_cannot_be_swapped() {
    let e = refused(|p| {
        // The key as it stands in the payload, and one an interceptor would like answers for.
        p.request = tampered(&p.request, "CgoKCgoKCgoKCgoKCgoKCg==", "CwsLCwsLCwsLCwsLCwsLCw==");
    });
    assert_eq!(signature(e), SignError::BadSignature);
}

#[test]
fn no_field_of_a_request_can_be_changed() {
    for (from, to) in [
        ("\"index\":2", "\"index\":1"),
        ("disk of site-a died", "disk of site-a lives"),
        (ORIGIN, "seawall/fleet/node/2"),
        ("\"expires\":1795392000", "\"expires\":1795392001"),
    ] {
        let e = refused(|p| p.request = tampered(&p.request, from, to));
        assert_eq!(signature(e), SignError::BadSignature, "{from}");
    }
}

#[test]
fn the_requesters_subkey_was_valid_when_it_asked() {
    let certified =
        |subkey: Subkey| subkey.statement().sign(&[&requester_identity()]).expect("signed");
    let expired = Subkey { not_after: NOW.before(Seconds(1)), ..requester_certificate() };
    let early = Subkey { not_before: NOW.after(Seconds(1)), ..requester_certificate() };
    for wrong in [expired, early] {
        let e = refused(|p| p.requester[1] = certified(wrong));
        assert_eq!(rule(&e), "signed with a subkey that was not valid when it was made");
    }
}

#[test]
fn the_file_holds_the_snapshot_that_is_asked_for() {
    let other = "asks for another snapshot than the one in the file";
    let e = refused(|p| p.manifest = by_subkey(manifest(2, None)));
    assert_eq!(rule(&e), other);
    let e = refused(|p| {
        let elsewhere = Request { origin: "another/log".to_owned(), ..request() };
        p.request = by_requester(elsewhere);
    });
    assert_eq!(rule(&e), other);
}

#[test]
fn the_snapshot_is_signed_by_its_author() {
    let e = refused(|p| p.manifest = tampered(&p.manifest, "\"files\":2", "\"files\":9"));
    assert_eq!(signature(e), SignError::BadSignature);
    let e = refused(|p| {
        let other = Subkey { key: key(13).public(), ..subkey() };
        p.author[1] = by_identity(other);
    });
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 });
    let e = refused(|p| p.author[0] = by_root(requester_enrolment()));
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 });
    let e = refused(|p| {
        let forged = Subkey { key: key(13).public(), ..subkey() };
        p.author[2] = forged.statement().sign(&[&key(13)]).expect("signed");
    });
    assert_eq!(signature(e), SignError::BelowThreshold { have: 0, need: 1 });
    let e = refused(|p| {
        let expired = Subkey { not_after: NOW.before(Seconds(1)), ..subkey() };
        p.author[1] = by_identity(expired);
    });
    assert!(rule(&e).contains("with a subkey valid from"));
}

#[test]
fn the_author_may_ask_for_its_own_snapshot() {
    let mut own = parts();
    own.requester = [by_root(node_enrolment()), by_identity(subkey())];
    let node = identity().public().node_id();
    own.request = Request { requester: node, ..request() }
        .statement()
        .sign(&[&crate::fixture::subkey_key()])
        .expect("signed");
    assert_eq!(verify(&own).expect("verifies").requester, node_enrolment());
}

#[test]
fn the_file_has_one_form() {
    let good = serde_json::to_value(Dossier::new(&parts())).expect("JSON");
    let refused = |edit: &dyn Fn(&mut serde_json::Value)| {
        let mut changed = good.clone();
        edit(&mut changed);
        Dossier::parse(changed.to_string().as_bytes()).expect_err("must be refused")
    };
    let e = refused(&|v| v["format"] = "seawall-request/2".into());
    assert!(rule(&e).contains("seawall-request/2"), "{e}");
    let e = refused(&|v| v["extra"] = 1.into());
    assert!(rule(&e).contains("extra"), "{e}");
    let e = refused(&|v| v["manifest"] = serde_json::Value::Null);
    assert!(matches!(signature(e), SignError::Malformed(_)));
    let e = refused(&|v| v["requester"] = serde_json::json!([v["requester"][0]]));
    assert!(rule(&e).starts_with("not a seawall-request/1 file"), "{e}");
    let e = refused(&|v| v["inclusion"] = vec!["00".repeat(32); 64].into());
    assert_eq!(rule(&e), "an inclusion proof has at most 63 hashes");
    let e = refused(&|v| v["inclusion"] = vec!["AA".repeat(32)].into());
    assert!(rule(&e).contains("lowercase hexadecimal"), "{e}");
    let e = Dossier::parse(&vec![b' '; MAX_DOSSIER + 1]).expect_err("too large");
    assert_eq!(rule(&e), "larger than 4 MiB");
}

#[test]
fn embedded_statements_are_named_when_they_are_malformed() {
    let good = serde_json::to_value(Dossier::new(&parts())).expect("JSON");
    let places = [
        ("/request", "restore request"),
        ("/genesis", "genesis statement"),
        ("/requester/0", "requester's enrolment"),
        ("/requester/1", "requester's subkey"),
        ("/author/0", "node's enrolment"),
        ("/author/1", "node's subkey"),
        ("/author/2", "node's subkey"),
        ("/manifest", "manifest"),
    ];
    for (place, name) in places {
        let mut changed = good.clone();
        *changed.pointer_mut(place).expect("the place") = serde_json::json!({});
        let e = Dossier::parse(changed.to_string().as_bytes()).expect_err("malformed");
        assert!(matches!(e, RecordError::Statement { what, .. } if what == name), "{place}");
    }
}
