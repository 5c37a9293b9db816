//! Who may read path indexes: the policy, the bundle that carries it, the manifest's field.

use seawall_record::{
    Base64, BundlePredicate, EnrolmentBundle, Hex32, IndexPolicy, LogState, MAX_OPERATORS,
    Manifest, Operator, OperatorCard, RecordError, SealedRoot,
};
use seawall_sign::{Envelope, SignError, SigningKey};

use crate::fixture::{
    NOW, ORIGIN, by_identity, by_root, by_subkey, fleet, identity, manifest, node_enrolment,
    other_fleet, root, rule, signature, subkey,
};

fn operator(name: &str, n: u8) -> Operator {
    Operator { name: name.to_owned(), key: Base64(vec![n; 32]) }
}

fn policy() -> IndexPolicy {
    IndexPolicy {
        fleet: fleet().id(),
        tenant: "default".to_owned(),
        version: 7,
        classes: vec!["customers".to_owned(), "web".to_owned()],
        operators: vec![operator("anna", 1), operator("ben", 2)],
        created: NOW,
    }
}

fn signed(policy: IndexPolicy, signer: &SigningKey) -> Envelope {
    policy.statement().sign(&[signer]).expect("signed")
}

fn refused(policy: IndexPolicy) -> RecordError {
    IndexPolicy::open(&fleet(), &signed(policy, &root())).expect_err("must be refused")
}

#[test]
fn a_good_policy_names_the_readers_of_its_classes() {
    let opened = IndexPolicy::open(&fleet(), &signed(policy(), &root())).expect("opens");
    assert_eq!(opened, policy());
    assert_eq!(opened.readers("web"), policy().operators);
    let web = IndexPolicy { classes: vec!["web".to_owned()], ..policy() };
    assert_eq!(web.readers("customers"), []);
    assert_ne!(operator("anna", 1).id(), operator("anna", 2).id());
}

#[test]
fn every_rule_of_a_policy_is_kept() {
    let unsigned = IndexPolicy::open(&fleet(), &signed(policy(), &identity()));
    let expected = SignError::BelowThreshold { have: 0, need: 1 };
    assert_eq!(signature(unsigned.expect_err("not by root keys")), expected);
    let elsewhere = refused(IndexPolicy { fleet: other_fleet().id(), ..policy() });
    assert!(matches!(elsewhere, RecordError::OtherFleet { .. }), "{elsewhere}");
    assert_eq!(rule(&refused(IndexPolicy { version: 0, ..policy() })), "versions count from 1");
    let classes = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    for wrong in [["web", "customers"], ["web", "web"]] {
        let e = refused(IndexPolicy { classes: classes(&wrong), ..policy() });
        assert_eq!(rule(&e), "its classes are not in order");
    }
    let e = refused(IndexPolicy { classes: classes(&["nothing"]), ..policy() });
    assert_eq!(rule(&e), "it names a data class the fleet does not have");
    let operators = |operators: Vec<Operator>| refused(IndexPolicy { operators, ..policy() });
    let e = operators(vec![operator("ben", 1), operator("anna", 2)]);
    assert_eq!(rule(&e), "its operators are not in order");
    let e = operators(vec![operator("anna", 1), operator("ben", 1)]);
    assert_eq!(rule(&e), "two operators share a key");
    let many = (0..=MAX_OPERATORS as u8).map(|n| operator(&format!("o{n:02}"), n)).collect();
    assert_eq!(rule(&operators(many)), "more than 16 operators");
    let hidden = operators(vec![operator("an\u{200b}na", 1)]);
    assert!(hidden.to_string().contains("index policy"), "{hidden}");
}

/// A bundle whose heart names `named`, and which carries `carried`.
fn bundle(named: Option<&Envelope>, carried: Option<&Envelope>) -> Vec<u8> {
    let heart = BundlePredicate {
        fleet: fleet().id(),
        member: by_root(node_enrolment()).digest(),
        regions: Vec::new(),
        sealed_secrets: Base64(vec![0x5e; 40]),
        created: NOW,
        index_policy: named.map(Envelope::digest),
    };
    let heart = heart.statement().sign(&[&root()]).expect("signed");
    let mut it = EnrolmentBundle::new(&fleet(), &by_root(node_enrolment()), Vec::new(), &heart);
    if let Some(policy) = carried {
        it = it.with_index_policy(policy);
    }
    serde_json::to_vec(&it).expect("JSON")
}

#[test]
fn a_bundle_carries_the_policy_it_was_signed_with_and_no_other() {
    let newest = signed(policy(), &root());
    let older = signed(IndexPolicy { version: 6, ..policy() }, &root());
    let opened = EnrolmentBundle::open(&bundle(Some(&newest), Some(&newest)), None);
    let (found, statement) = opened.expect("opens").index_policy.expect("it has one");
    assert_eq!((found, statement.digest()), (policy(), newest.digest()));
    for (named, carried) in
        [(Some(&newest), Some(&older)), (Some(&newest), None), (None, Some(&newest))]
    {
        let e = EnrolmentBundle::open(&bundle(named, carried), None).map(drop);
        let e = e.expect_err("another one than signed for");
        assert_eq!(rule(&e), "its index policy is not the one signed for");
    }
    let theirs = signed(IndexPolicy { tenant: "theirs".to_owned(), ..policy() }, &root());
    let e = EnrolmentBundle::open(&bundle(Some(&theirs), Some(&theirs)), None).map(drop);
    assert_eq!(rule(&e.expect_err("refused")), "its index policy is of another tenant");
    let forged = signed(policy(), &identity());
    let e = EnrolmentBundle::open(&bundle(Some(&forged), Some(&forged)), None).map(drop);
    assert!(matches!(signature(e.expect_err("refused")), SignError::BelowThreshold { .. }));
}

fn with_roots(roots: &[(u8, usize)]) -> Manifest {
    let sealed =
        |&(n, len): &(u8, usize)| SealedRoot { key: Hex32([n; 32]), sealed: Base64(vec![n; len]) };
    Manifest { path_index: roots.iter().map(sealed).collect(), ..manifest(1, None) }
}

#[test]
fn a_manifest_names_each_operator_once_and_briefly() {
    let offer = |manifest: Manifest| {
        let mut log = LogState::new(fleet(), ORIGIN);
        log.accept(&by_root(node_enrolment()).to_json()).expect("the enrolment");
        log.accept(&by_identity(subkey()).to_json()).expect("the subkey");
        log.accept(&by_subkey(manifest).to_json()).map(drop)
    };
    let most: Vec<_> = (0..MAX_OPERATORS as u8).map(|n| (n, 100)).collect();
    offer(with_roots(&most)).expect("sixteen");
    offer(with_roots(&[(1, SealedRoot::MAX)])).expect("as long as may be");
    let long = "its path index is sealed to too many, or too long";
    let many: Vec<_> = (0..=MAX_OPERATORS as u8).map(|n| (n, 100)).collect();
    assert_eq!(rule(&offer(with_roots(&many)).expect_err("seventeen")), long);
    let e = offer(with_roots(&[(1, SealedRoot::MAX + 1)])).expect_err("too long");
    assert_eq!(rule(&e), long);
    for wrong in [[(2, 9), (1, 9)], [(1, 9), (1, 9)]] {
        let e = offer(with_roots(&wrong)).expect_err("out of order");
        assert_eq!(rule(&e), "its path index names operators out of order");
    }
    // Absent, it leaves the manifest as it was before there was such a field.
    let json = serde_json::to_string(&manifest(1, None)).expect("JSON");
    assert!(!json.contains("path_index"), "{json}");
}

#[test]
fn operator_cards() {
    let card = OperatorCard {
        format: OperatorCard::FORMAT.to_owned(),
        name: "anna".to_owned(),
        key: Base64(vec![7; 32]),
    };
    let json = serde_json::to_string(&card).expect("JSON");
    assert_eq!(OperatorCard::parse(json.as_bytes()), Ok(card));
    for (from, to) in [("operator/1", "operator/2"), ("anna", ""), ("\"key\"", "\"clef\"")] {
        OperatorCard::parse(json.replace(from, to).as_bytes()).expect_err(to);
    }
}
