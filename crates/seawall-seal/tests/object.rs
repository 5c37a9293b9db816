//! Sealed objects: golden vectors, binding of every field, hostile bytes.

use proptest::prelude::*;
use seawall_base::wire::{Reader, Writer};
use seawall_base::{ObjectId, Rng};
use seawall_seal::{
    Domain, DomainScope, Kind, MAX_PLAIN, ObjectKey, ObjectRef, Placement, Prepared, SealError,
    open, open_in_domain, seal,
};

/// Counts upwards: enough for the one place that draws a key.
struct Counter(u8);

impl Rng for Counter {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            *byte = self.0;
            self.0 = self.0.wrapping_add(1);
        }
    }
}

const CHUNK: Placement = Placement { kind: Kind::Chunk, class: 2 };

fn domain() -> Domain {
    Domain::derive(&[7; 32], DomainScope::Tenant)
}

fn sealed(plain: &[u8]) -> seawall_seal::Sealed<'static> {
    seal(&domain(), CHUNK, plain, &mut Counter(0)).expect("below the cap")
}

/// The stored format, pinned. `docs/vectors/object.json` holds the same bytes for the second
/// implementation.
#[test]
fn golden_vectors() {
    let text = include_str!("../../../docs/vectors/object.json");
    let vectors: serde_json::Value = serde_json::from_str(text).expect("JSON");
    let mut checked = 0;
    for v in vectors["objects"].as_array().expect("an array") {
        let bytes = |k: &str| hex::decode(v[k].as_str().expect(k)).expect(k);
        let secret: [u8; 32] = bytes("tenant_secret").try_into().expect("32 bytes");
        let scope = match v["set"].as_str() {
            Some(set) => DomainScope::Set(set),
            None => DomainScope::Tenant,
        };
        let kind = match v["kind"].as_u64().expect("kind") {
            1 => Kind::Chunk,
            3 => Kind::Directory,
            n => panic!("kind {n} has no vector"),
        };
        let placement = Placement { kind, class: v["class"].as_u64().expect("class") as u8 };
        let domain = Domain::derive(&secret, scope);
        let made = seal(&domain, placement, &bytes("plain"), &mut Counter(0)).expect("seals");
        assert_eq!(hex::encode(&*made.bytes), v["object"].as_str().expect("object"));
        assert_eq!(hex::encode(made.object_ref.key.expose()), v["key"].as_str().expect("key"));
        assert_eq!(hex::encode(made.index.expect("has one")), v["index"].as_str().expect("index"));
        assert_eq!(made.object_ref.id.to_hex(), v["id"].as_str().expect("id"));
        let opened = open_in_domain(&domain, &made.object_ref, placement, &made.bytes);
        assert_eq!(opened.expect("opens").as_slice(), bytes("plain"));
        checked += 1;
    }
    assert!(checked >= 4, "vectors went missing");
}

/// Writes the vectors anew; run with `SEAWALL_BLESS=1` after a deliberate change of format.
#[test]
fn bless_golden_vectors() {
    if std::env::var_os("SEAWALL_BLESS").is_none() {
        return;
    }
    let cases: [(&[u8], Option<&str>, Kind, u8); 4] = [
        (b"", None, Kind::Chunk, 1),
        (b"seawall", None, Kind::Chunk, 2),
        (&[b'a'; 300], Some("mail"), Kind::Directory, 2),
        (b"seawall", Some("mail"), Kind::Directory, 1),
    ];
    let objects: Vec<_> = cases
        .into_iter()
        .map(|(plain, set, kind, class)| {
            let scope = set.map_or(DomainScope::Tenant, DomainScope::Set);
            let domain = Domain::derive(&[7; 32], scope);
            let made =
                seal(&domain, Placement { kind, class }, plain, &mut Counter(0)).expect("ok");
            serde_json::json!({
                "tenant_secret": hex::encode([7; 32]), "set": set, "kind": kind as u8,
                "class": class, "plain": hex::encode(plain), "object": hex::encode(&*made.bytes),
                "key": hex::encode(made.object_ref.key.expose()),
                "index": hex::encode(made.index.expect("has one")),
                "id": made.object_ref.id.to_hex(),
            })
        })
        .collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/vectors/object.json");
    let text = serde_json::to_string_pretty(&serde_json::json!({ "objects": objects }));
    std::fs::write(path, text.expect("JSON") + "\n").expect("written");
}

#[test]
fn equal_pieces_are_equal_within_a_domain_and_unrelated_outside() {
    let plain = [b'x'; 5_000];
    let one = sealed(&plain);
    assert_eq!(one.bytes, sealed(&plain).bytes);
    let others = [
        seal(&Domain::derive(&[8; 32], DomainScope::Tenant), CHUNK, &plain, &mut Counter(0)),
        seal(&Domain::derive(&[7; 32], DomainScope::Set("a")), CHUNK, &plain, &mut Counter(0)),
        seal(&domain(), Placement { kind: Kind::Bundle, class: 2 }, &plain, &mut Counter(0)),
        seal(&domain(), Placement { kind: Kind::Chunk, class: 3 }, &plain, &mut Counter(0)),
    ];
    for other in others {
        let other = other.expect("seals");
        assert_ne!(other.object_ref.id, one.object_ref.id);
        assert_ne!(other.object_ref.key, one.object_ref.key);
        assert_ne!(other.index, one.index);
    }
}

#[test]
fn the_domain_of_none_draws_a_key_each_time() {
    let mut rng = Counter(0);
    let one = seal(&Domain::none(), CHUNK, b"same", &mut rng).expect("seals");
    let two = seal(&Domain::none(), CHUNK, b"same", &mut rng).expect("seals");
    assert_eq!(one.index, None);
    assert_ne!(one.object_ref.id, two.object_ref.id);
    assert_eq!(open(&two.object_ref, CHUNK, &two.bytes).expect("opens").as_slice(), b"same");
}

#[test]
fn opens_only_as_what_it_is() {
    let s = sealed(b"some bytes");
    let page = Placement { kind: Kind::Directory, class: 2 };
    let strict = Placement { kind: Kind::Chunk, class: 3 };
    let wrong = Err(SealError::WrongKey(s.object_ref.id));
    assert_eq!(open(&s.object_ref, page, &s.bytes).map(|_| ()), wrong);
    assert_eq!(open(&s.object_ref, strict, &s.bytes).map(|_| ()), wrong);
    let other = ObjectRef { key: ObjectKey::new([1; 32]), ..s.object_ref.clone() };
    assert_eq!(open(&other, CHUNK, &s.bytes).map(|_| ()), wrong);
    let longer = ObjectRef { plain_len: 11, ..s.object_ref.clone() };
    assert!(matches!(open(&longer, CHUNK, &s.bytes), Err(SealError::Malformed { .. })));
}

#[test]
fn a_decompression_bomb_is_capped_by_the_recorded_length() {
    let plain = vec![0; MAX_PLAIN];
    let s = sealed(&plain);
    assert!(s.bytes.len() < 10_000, "it did compress");
    let small = ObjectRef { plain_len: 1_000, ..s.object_ref };
    assert!(matches!(open(&small, CHUNK, &s.bytes), Err(SealError::Malformed { .. })));
    let too_long = vec![0; MAX_PLAIN + 1];
    assert_eq!(
        seal(&domain(), CHUNK, &too_long, &mut Counter(0)).map(|_| ()),
        Err(SealError::PlainTooLong(MAX_PLAIN + 1))
    );
}

#[test]
fn a_key_not_bound_to_its_content_is_found_by_who_can() {
    // Sealed in another domain: consistent in itself, but not what this domain would derive.
    let foreign = Domain::derive(&[9; 32], DomainScope::Tenant);
    let s = seal(&foreign, CHUNK, b"planted", &mut Counter(0)).expect("seals");
    assert!(open(&s.object_ref, CHUNK, &s.bytes).is_ok());
    assert!(matches!(
        open_in_domain(&domain(), &s.object_ref, CHUNK, &s.bytes),
        Err(SealError::Malformed { what: "its key is not bound to its content", .. })
    ));
}

#[test]
fn secrets_are_not_printed() {
    let s = sealed(b"x");
    let key = hex::encode(s.object_ref.key.expose());
    assert!(!format!("{:?}", s.object_ref).contains(&key));
    let prepared = Prepared::new(&domain(), CHUNK, b"x", &mut Counter(0));
    assert_eq!(format!("{prepared:?}"), "Prepared(..)");
}

#[test]
fn references_have_one_encoding() {
    let object_ref = sealed(b"a piece").object_ref;
    let mut w = Writer::new();
    object_ref.encode(&mut w);
    let bytes = w.into_vec();
    assert_eq!(bytes.len(), ObjectRef::ENCODED_LEN);
    assert_eq!(ObjectRef::decode(&mut Reader::new(&bytes)), Ok(object_ref.clone()));
    for n in 0..bytes.len() {
        assert!(ObjectRef::decode(&mut Reader::new(&bytes[..n])).is_err(), "cut to {n}");
    }
    let mut huge = bytes.clone();
    huge[64..].copy_from_slice(&(MAX_PLAIN as u32 + 1).to_le_bytes());
    assert!(ObjectRef::decode(&mut Reader::new(&huge)).is_err(), "a length above the cap");
    let other = ObjectRef { key: ObjectKey::new([1; 32]), ..object_ref.clone() };
    assert_ne!(other, object_ref);
}

#[test]
fn a_known_piece_is_named_without_sealing_it_again() {
    let s = sealed(b"a piece");
    let prepared = Prepared::new(&domain(), CHUNK, b"a piece", &mut Counter(0));
    assert_eq!(prepared.index, s.index);
    assert_eq!(prepared.reference(s.object_ref.id, 7), s.object_ref);
    let too_long = vec![0; MAX_PLAIN + 1];
    let mut workspace = seawall_seal::Workspace::new();
    let prepared = Prepared::new(&domain(), CHUNK, &too_long, &mut Counter(0));
    let sealed = prepared.seal(CHUNK, &too_long, &mut workspace);
    assert_eq!(sealed.map(|_| ()), Err(SealError::PlainTooLong(MAX_PLAIN + 1)));
}

#[test]
fn each_domain_cuts_by_a_secret_of_its_own() {
    let set = Domain::derive(&[7; 32], DomainScope::Set("mail"));
    let secrets = [domain().chunker_secret(), set.chunker_secret()];
    assert!(secrets.iter().all(Option::is_some));
    assert_ne!(secrets[0], secrets[1]);
    assert_eq!(Domain::none().chunker_secret(), None);
}

#[test]
fn newer_suites_and_impossible_lengths_are_told_apart() {
    let s = sealed(b"a piece");
    let mut newer = s.bytes.to_vec();
    newer[0] = 2;
    let id = ObjectId::of(&newer);
    let object_ref = ObjectRef { id, ..s.object_ref.clone() };
    assert_eq!(
        open(&object_ref, CHUNK, &newer).map(|_| ()),
        Err(SealError::UnknownSuite { id, suite: 2 })
    );
    assert!(matches!(open(&s.object_ref, CHUNK, &s.bytes[..40]), Err(SealError::Malformed { .. })));
}

#[test]
fn lengths_on_the_wire_are_padme_lengths() {
    let mut seen = std::collections::BTreeSet::new();
    for n in 4_000..4_100usize {
        // Incompressible: a keyed stream.
        let mut plain = vec![0; n];
        blake3_stream(&mut plain);
        seen.insert(sealed(&plain).bytes.len());
    }
    assert!(seen.len() <= 3, "{seen:?} tells lengths apart");
}

fn blake3_stream(out: &mut [u8]) {
    for (i, block) in out.chunks_mut(32).enumerate() {
        let id = ObjectId::of(&i.to_le_bytes());
        block.copy_from_slice(&id.as_bytes()[..block.len()]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn round_trips(plain: Vec<u8>) {
        let s = sealed(&plain);
        let opened = open_in_domain(&domain(), &s.object_ref, CHUNK, &s.bytes);
        prop_assert_eq!(opened.expect("opens").to_vec(), plain);
    }

    #[test]
    fn every_flipped_bit_is_refused_even_under_a_matching_digest(bit: usize) {
        let s = sealed(b"a piece of a file that matters");
        let mut bytes = s.bytes.to_vec();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let wrong_id = Err(SealError::WrongId(s.object_ref.id));
        prop_assert_eq!(open(&s.object_ref, CHUNK, &bytes).map(|_| ()), wrong_id);
        let relabelled = ObjectRef { id: ObjectId::of(&bytes), ..s.object_ref };
        prop_assert!(open(&relabelled, CHUNK, &bytes).is_err());
    }

    #[test]
    fn hostile_bytes_never_panic(bytes: Vec<u8>, plain_len in 0u32..100_000) {
        let object_ref =
            ObjectRef { id: ObjectId::of(&bytes), key: ObjectKey::new([3; 32]), plain_len };
        prop_assert!(open(&object_ref, CHUNK, &bytes).is_err());
    }
}
