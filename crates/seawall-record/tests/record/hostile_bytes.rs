//! Bytes from strangers: refused or accepted, never a panic, and never accepted by luck.

use std::collections::BTreeMap;

use proptest::prelude::*;
use seawall_base::ObjectId;
use seawall_record::reference_set::{
    LEAF_CAPACITY, MAX_PAGE, Member, Page, ReferenceSetError, Visit, build, difference, walk,
};
use seawall_record::{Dossier, EnrolmentBundle, FleetCard, LogState, ReferenceSet};

use crate::fixture::{ORIGIN, by_identity, by_root, fleet, node_enrolment, parts, subkey};

fn member(n: u64) -> Member {
    Member { id: ObjectId::of(&n.to_le_bytes()), len: 1_000 }
}

fn tree(n: u64) -> (ReferenceSet, BTreeMap<ObjectId, Vec<u8>>) {
    let mut members: Vec<_> = (0..n).map(member).collect();
    members.sort();
    let mut pages = BTreeMap::new();
    let set = build(&members, &mut |id, bytes| {
        pages.insert(id, bytes);
    });
    (set, pages)
}

fn count(
    pages: &BTreeMap<ObjectId, Vec<u8>>,
    set: &ReferenceSet,
) -> Result<u64, ReferenceSetError> {
    let mut members = 0;
    let read = |id: ObjectId| Ok(pages.get(&id).cloned());
    walk(&read, set, &mut |visit| members += u64::from(matches!(visit, Visit::Member(_))))?;
    Ok(members)
}

#[test]
fn trees_have_the_shape_their_size_demands() {
    for (n, pages_expected) in [(0, 1), (1, 1), (LEAF_CAPACITY as u64, 1)] {
        let (set, pages) = tree(n);
        assert_eq!(pages.len(), pages_expected);
        assert_eq!(count(&pages, &set), Ok(n));
    }
    let (set, pages) = tree(LEAF_CAPACITY as u64 + 1);
    assert!(pages.len() > 2, "one more than a leaf holds makes a branch");
    assert!(pages.values().all(|p| p.len() <= MAX_PAGE));
    assert_eq!(count(&pages, &set), Ok(LEAF_CAPACITY as u64 + 1));
}

#[test]
fn pages_of_the_wrong_shape_are_refused() {
    let put = |pages: &mut BTreeMap<_, _>, page: &Page, count: u64, bytes: u64| {
        let encoded = page.encode();
        let root = ObjectId::of(&encoded);
        pages.insert(root, encoded);
        ReferenceSet { root, count, bytes }
    };
    // A branch where a leaf would do: two writers of one set would no longer share pages.
    let (small, mut pages) = tree(3);
    let Ok(Page::Leaf(members)) = Page::decode(&pages[&small.root]) else {
        panic!("three members make a leaf");
    };
    let mut children = Box::new([None; 16]);
    for m in &members {
        let slot = usize::from(m.id.0[0] >> 4);
        children[slot] = Some(put(&mut pages, &Page::Leaf(vec![*m]), 1, 1_000));
    }
    let branch = put(&mut pages, &Page::Branch(children), 3, 3_000);
    assert!(matches!(count(&pages, &branch), Err(ReferenceSetError::Malformed { .. })));
    // An empty branch, and totals that overflow.
    let none = put(&mut pages, &Page::Branch(Box::new([None; 16])), 0, 0);
    assert!(matches!(count(&pages, &none), Err(ReferenceSetError::Malformed { .. })));
    let huge = ReferenceSet { root: small.root, count: u64::MAX, bytes: 1 };
    let mut children = Box::new([None; 16]);
    children[0] = Some(huge);
    children[1] = Some(huge);
    let overflowing = put(&mut pages, &Page::Branch(children), 0, 2);
    assert!(matches!(count(&pages, &overflowing), Err(ReferenceSetError::Malformed { .. })));
}

/// The field that is named, and how it is broken.
type Broken = (&'static str, fn(&mut Vec<u8>));

#[test]
fn what_a_page_may_not_say() {
    let leaf = Page::Leaf(vec![member(1)]).encode();
    let edits: [Broken; 7] = [
        ("magic", |p| p[0] ^= 1),
        ("version", |p| p[2] = 2),
        ("page type", |p| p[3] = 2),
        ("limit", |p| p[4..8].copy_from_slice(&257u32.to_le_bytes())),
        ("truncated", |p| p[4] = 2),
        ("length of a member", |p| p[40..44].copy_from_slice(&(16u32 << 20 | 1).to_le_bytes())),
        ("follow the end", |p| p.push(0)),
    ];
    for (expected, edit) in edits {
        let mut page = leaf.clone();
        edit(&mut page);
        let e = Page::decode(&page).expect_err(expected).to_string();
        assert!(e.contains(expected), "{expected}: {e}");
    }
    let zero = ReferenceSet { root: ObjectId([1; 32]), count: 0, bytes: 0 };
    let mut children = Box::new([None; 16]);
    children[3] = Some(zero);
    let e = Page::decode(&Page::Branch(children).encode()).expect_err("an empty child");
    assert!(e.to_string().contains("count of a child"), "{e}");
}

#[test]
fn a_store_that_fails_is_not_a_missing_page() {
    let (set, _) = tree(3);
    let broken = |_: ObjectId| Err("the disk is on fire".to_owned());
    let e = walk(&broken, &set, &mut |_| ()).expect_err("cannot be read");
    assert!(matches!(e, ReferenceSetError::Store { id, .. } if id == set.root), "{e}");
    let swapped = |_: ObjectId| Ok(Some(b"another page".to_vec()));
    let e = walk(&swapped, &set, &mut |_| ()).expect_err("other bytes");
    assert!(e.to_string().contains("do not have this digest"), "{e}");
}

#[test]
fn a_shrunken_or_grown_set_is_compared_across_levels() {
    let (small, mut pages) = tree(200);
    let (large, more) = tree(5_000);
    pages.extend(more);
    let read = |id: ObjectId| Ok(pages.get(&id).cloned());
    let changed = |old: &ReferenceSet, new: &ReferenceSet| {
        let mut members = 0;
        difference(&read, Some(old), new, &mut |visit| {
            members += u32::from(matches!(visit, Visit::Member(_)));
        })
        .expect("readable");
        members
    };
    assert_eq!(changed(&small, &large), 4_800, "a leaf against a branch");
    assert_eq!(changed(&large, &small), 0, "a branch against a leaf");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn random_bytes_are_refused_everywhere(bytes: Vec<u8>) {
        prop_assert!(LogState::new(fleet(), ORIGIN).accept(&bytes).is_err());
        prop_assert!(Dossier::parse(&bytes).is_err());
        prop_assert!(EnrolmentBundle::open(&bytes, None).is_err());
        prop_assert!(FleetCard::open(&bytes).is_err());
        let _ = Page::decode(&bytes);
    }

    #[test]
    fn a_damaged_entry_is_refused_or_says_the_same(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut log = LogState::new(fleet(), ORIGIN);
        log.accept(&by_root(node_enrolment()).to_json()).expect("the enrolment");
        let good = by_identity(subkey());
        let mut entry = good.to_json();
        let at = at.index(entry.len());
        entry[at] ^= 1 << bit;
        if log.accept(&entry).is_ok() {
            prop_assert_eq!(log.subkey(subkey().key).map(|(s, _)| s), Some(&subkey()));
        } else {
            prop_assert_eq!(log.entries(), 1);
        }
    }

    #[test]
    fn a_damaged_dossier_never_verifies_as_something_else(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut file = serde_json::to_vec(&Dossier::new(&parts())).expect("JSON");
        let at = at.index(file.len());
        file[at] ^= 1 << bit;
        if let Ok(it) = Dossier::parse(&file).and_then(|p| p.verify(fleet().id())) {
            // Checkpoint and proof are not signed by anyone here; all else must be untouched.
            prop_assert_eq!(it.request, crate::fixture::request());
            prop_assert_eq!(it.manifest, crate::fixture::manifest(1, None));
        }
    }

    #[test]
    fn a_damaged_page_is_noticed(at in any::<prop::sample::Index>(), bit in 0u8..8, n in 1u64..600) {
        let (set, mut pages) = tree(n);
        let target = *pages.keys().next().expect("at least one page");
        let page = pages.get_mut(&target).expect("just named");
        let at = at.index(page.len());
        page[at] ^= 1 << bit;
        prop_assert!(count(&pages, &set).is_err());
    }

    #[test]
    fn what_decodes_has_one_encoding(at in any::<prop::sample::Index>(), bit in 0u8..8, n in 1u64..600) {
        let (_, pages) = tree(n);
        for page in pages.values() {
            let mut damaged = page.clone();
            let at = at.index(damaged.len());
            damaged[at] ^= 1 << bit;
            for bytes in [page, &damaged] {
                if let Ok(decoded) = Page::decode(bytes) {
                    prop_assert_eq!(&decoded.encode(), bytes);
                }
            }
        }
    }
}
