//! The reference set: which objects a snapshot consists of, as a persistent prefix tree of
//! public pages.
//!
//! The tree is canonical: a subtree of at most [`LEAF_CAPACITY`] objects is a leaf, a larger one
//! a branch over the next four bits of the id. Equal sets are equal trees, and two snapshots
//! share every page below which nothing changed, so [`difference`] costs O(changed), and a tier
//! that has no keys can tell what a snapshot needs. Pages are stored as objects of their own.
//! Layout: `docs/formats/reference-set.md`.

use seawall_base::ObjectId;
use seawall_base::wire::{Reader, WireError, Writer};

use crate::ReferenceSet;

/// Most objects in a leaf.
pub const LEAF_CAPACITY: usize = 256;

/// Largest page in bytes: a full leaf.
pub const MAX_PAGE: usize = 8 + LEAF_CAPACITY * 36;

const MAGIC: u16 = 0x5352;
const VERSION: u8 = 1;
const LEAF: u8 = 0;
const BRANCH: u8 = 1;

/// An object of the set: its id and the size of its sealed bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The object.
    pub id: ObjectId,
    /// Sealed bytes.
    pub len: u32,
}

/// One page of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Page {
    /// Members in strictly ascending order of id.
    Leaf(Vec<Member>),
    /// Children by the next four bits.
    Branch(Box<[Option<ReferenceSet>; 16]>),
}

/// Why a reference set could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReferenceSetError {
    /// A page is not there; another tier may have it.
    #[error("reference-set page {0} is missing")]
    Missing(ObjectId),
    /// A page contradicts the format, its parent or its digest. Whoever wrote it is at fault.
    #[error("reference-set page {id}: {why}")]
    Malformed {
        /// The page.
        id: ObjectId,
        /// What is wrong.
        why: String,
    },
    /// The store failed while a page was read.
    #[error("reading reference-set page {id}: {why}")]
    Store {
        /// The page.
        id: ObjectId,
        /// What the store said.
        why: String,
    },
}

/// Where pages are read from.
pub trait Pages {
    /// The bytes of a page; `None` if it is not there. Digests are checked by the caller.
    fn page(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String>;
}

impl<F: Fn(ObjectId) -> Result<Option<Vec<u8>>, String>> Pages for F {
    fn page(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
        self(id)
    }
}

impl Page {
    /// The page's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u16(MAGIC).u8(VERSION);
        match self {
            Self::Leaf(members) => {
                w.u8(LEAF).length(members.len());
                for m in members {
                    w.raw(m.id.as_bytes()).u32(m.len);
                }
            }
            Self::Branch(children) => {
                w.u8(BRANCH);
                let present = (0..16).filter(|&i| children[i].is_some());
                w.u16(present.fold(0, |bits, i| bits | 1 << i));
                for child in children.iter().flatten() {
                    w.raw(child.root.as_bytes()).u64(child.count).u64(child.bytes);
                }
            }
        }
        w.into_vec()
    }

    /// Parses a page; refuses every encoding but the canonical one.
    pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
        let mut r = Reader::new(bytes);
        if r.u16()? != MAGIC {
            return Err(r.invalid("magic number"));
        }
        if r.u8()? != VERSION {
            return Err(r.invalid("version (a newer seawall may read it)"));
        }
        let page = match r.u8()? {
            LEAF => Self::Leaf(decode_leaf(&mut r)?),
            BRANCH => Self::Branch(decode_branch(&mut r)?),
            _ => return Err(r.invalid("page type")),
        };
        r.finish()?;
        Ok(page)
    }

    /// Count and bytes of everything below.
    fn totals(&self) -> Option<(u64, u64)> {
        match self {
            Self::Leaf(members) => {
                Some((members.len() as u64, members.iter().map(|m| u64::from(m.len)).sum()))
            }
            Self::Branch(children) => {
                children.iter().flatten().try_fold((0u64, 0u64), |(count, bytes), c| {
                    Some((count.checked_add(c.count)?, bytes.checked_add(c.bytes)?))
                })
            }
        }
    }
}

fn decode_leaf(r: &mut Reader<'_>) -> Result<Vec<Member>, WireError> {
    let count = r.length(LEAF_CAPACITY)?;
    let mut members: Vec<Member> = Vec::with_capacity(count);
    for _ in 0..count {
        let member = Member { id: ObjectId(r.array()?), len: r.u32()? };
        if members.last().is_some_and(|last| last.id >= member.id) {
            return Err(r.invalid("order of members"));
        }
        if member.len as usize > seawall_base::MAX_OBJECT {
            return Err(r.invalid("length of a member"));
        }
        members.push(member);
    }
    Ok(members)
}

fn decode_branch(r: &mut Reader<'_>) -> Result<Box<[Option<ReferenceSet>; 16]>, WireError> {
    let present = r.u16()?;
    let mut children = Box::new([None; 16]);
    for (i, child) in children.iter_mut().enumerate() {
        if present & 1 << i != 0 {
            let set = ReferenceSet { root: ObjectId(r.array()?), count: r.u64()?, bytes: r.u64()? };
            if set.count == 0 {
                return Err(r.invalid("count of a child"));
            }
            *child = Some(set);
        }
    }
    Ok(children)
}

/// The `depth`-th four bits of an id.
fn nibble(id: &ObjectId, depth: usize) -> usize {
    let byte = id.0[depth / 2];
    usize::from(if depth.is_multiple_of(2) { byte >> 4 } else { byte & 15 })
}

/// Builds the tree of `members` (strictly ascending by id) and hands every page to `emit`.
///
/// # Panics
/// If the members are not strictly ascending: the caller sorts and deduplicates them.
pub fn build(members: &[Member], emit: &mut dyn FnMut(ObjectId, Vec<u8>)) -> ReferenceSet {
    assert!(members.windows(2).all(|w| w[0].id < w[1].id), "members must be sorted and distinct");
    build_subtree(members, 0, emit)
}

fn build_subtree(
    members: &[Member],
    depth: usize,
    emit: &mut dyn FnMut(ObjectId, Vec<u8>),
) -> ReferenceSet {
    let page = if members.len() <= LEAF_CAPACITY {
        Page::Leaf(members.to_vec())
    } else {
        let mut children = Box::new([None; 16]);
        let mut rest = members;
        for (i, child) in children.iter_mut().enumerate() {
            let n = rest.partition_point(|m| nibble(&m.id, depth) <= i);
            if n > 0 {
                *child = Some(build_subtree(&rest[..n], depth + 1, emit));
            }
            rest = &rest[n..];
        }
        Page::Branch(children)
    };
    let (count, bytes) = page.totals().expect("the sum of in-memory lengths fits");
    let encoded = page.encode();
    let root = ObjectId::of(&encoded);
    emit(root, encoded);
    ReferenceSet { root, count, bytes }
}

/// What a walk comes upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visit {
    /// A page of the tree itself and its length in bytes.
    Page(ObjectId, u32),
    /// An object of the set.
    Member(Member),
}

/// Visits every page and member of a set, each page checked against its digest, its parent's
/// totals, its prefix and the canonical shape.
pub fn walk(
    pages: &dyn Pages,
    set: &ReferenceSet,
    visit: &mut dyn FnMut(Visit),
) -> Result<(), ReferenceSetError> {
    difference(pages, None, set, visit)
}

/// Looks up one object: a page of each level is read, checked as [`walk`] checks it.
pub fn find(
    pages: &dyn Pages,
    set: &ReferenceSet,
    id: &ObjectId,
) -> Result<Option<Member>, ReferenceSetError> {
    let (mut set, mut prefix) = (*set, Vec::new());
    loop {
        match load(pages, &set, &prefix)?.0 {
            Page::Leaf(members) => {
                let found = members.binary_search_by_key(id, |m| m.id);
                return Ok(found.ok().map(|i| members[i]));
            }
            Page::Branch(children) => {
                let n = nibble(id, prefix.len());
                let Some(child) = children[n] else { return Ok(None) };
                prefix.push(n as u8);
                set = child;
            }
        }
    }
}

/// Visits the pages and members of `new` that `old` does not have: O(changed) page reads.
///
/// Both sets must be readable through `pages`. A page shared by both is not descended into; it
/// was checked when `old` was.
pub fn difference(
    pages: &dyn Pages,
    old: Option<&ReferenceSet>,
    new: &ReferenceSet,
    visit: &mut dyn FnMut(Visit),
) -> Result<(), ReferenceSetError> {
    let old = old.map_or(Old::Empty, |set| Old::Tree(*set));
    differ(pages, old, new, &mut Vec::new(), visit)
}

/// What the old set holds under the prefix at hand.
enum Old {
    Empty,
    Tree(ReferenceSet),
    /// Members of a leaf that stands higher up.
    Members(Vec<Member>),
}

impl Old {
    fn has(&self, member: &Member) -> bool {
        match self {
            Self::Members(members) => members.binary_search_by_key(&member.id, |m| m.id).is_ok(),
            Self::Empty | Self::Tree(_) => false,
        }
    }
}

fn differ(
    pages: &dyn Pages,
    old: Old,
    new: &ReferenceSet,
    prefix: &mut Vec<u8>,
    visit: &mut dyn FnMut(Visit),
) -> Result<(), ReferenceSetError> {
    if let Old::Tree(set) = &old
        && set.root == new.root
    {
        let why = "its totals differ from those it had elsewhere".to_owned();
        let same = set == new;
        return if same { Ok(()) } else { Err(ReferenceSetError::Malformed { id: new.root, why }) };
    }
    let (page, len) = load(pages, new, prefix)?;
    visit(Visit::Page(new.root, len));
    match page {
        Page::Leaf(members) => {
            let old = old_members(pages, old, &members, prefix)?;
            for member in members.into_iter().filter(|m| !old.has(m)) {
                visit(Visit::Member(member));
            }
        }
        Page::Branch(children) => {
            let mut olds = split_old(pages, old, prefix)?;
            for (i, child) in children.iter().enumerate() {
                if let Some(child) = child {
                    prefix.push(i as u8);
                    differ(
                        pages,
                        std::mem::replace(&mut olds[i], Old::Empty),
                        child,
                        prefix,
                        visit,
                    )?;
                    prefix.pop();
                }
            }
        }
    }
    Ok(())
}

/// Which of `wanted` the old set has: looks up each, so a shrunken set costs no full read.
fn old_members(
    pages: &dyn Pages,
    old: Old,
    wanted: &[Member],
    prefix: &[u8],
) -> Result<Old, ReferenceSetError> {
    let Old::Tree(set) = old else { return Ok(old) };
    let mut found = Vec::new();
    collect_wanted(pages, &set, wanted, &mut prefix.to_vec(), &mut found)?;
    Ok(Old::Members(found))
}

fn collect_wanted(
    pages: &dyn Pages,
    set: &ReferenceSet,
    wanted: &[Member],
    prefix: &mut Vec<u8>,
    found: &mut Vec<Member>,
) -> Result<(), ReferenceSetError> {
    if wanted.is_empty() {
        return Ok(());
    }
    let depth = prefix.len();
    match load(pages, set, prefix)?.0 {
        Page::Leaf(members) => found.extend(members),
        Page::Branch(children) => {
            let mut rest = wanted;
            for (i, child) in children.iter().enumerate() {
                let n = rest.partition_point(|m| nibble(&m.id, depth) <= i);
                if let Some(child) = child {
                    prefix.push(i as u8);
                    collect_wanted(pages, child, &rest[..n], prefix, found)?;
                    prefix.pop();
                }
                rest = &rest[n..];
            }
        }
    }
    Ok(())
}

/// The old set's part below each of the sixteen children.
fn split_old(pages: &dyn Pages, old: Old, prefix: &[u8]) -> Result<[Old; 16], ReferenceSetError> {
    let mut parts = [const { Old::Empty }; 16];
    let members = match old {
        Old::Empty => return Ok(parts),
        Old::Members(members) => members,
        Old::Tree(set) => match load(pages, &set, prefix)?.0 {
            Page::Leaf(members) => members,
            Page::Branch(children) => {
                for (part, child) in parts.iter_mut().zip(children.iter()) {
                    *part = child.map_or(Old::Empty, Old::Tree);
                }
                return Ok(parts);
            }
        },
    };
    for member in members {
        match &mut parts[nibble(&member.id, prefix.len())] {
            Old::Members(list) => list.push(member),
            empty => *empty = Old::Members(vec![member]),
        }
    }
    Ok(parts)
}

/// Reads one page and checks it against everything its parent promised.
fn load(
    pages: &dyn Pages,
    set: &ReferenceSet,
    prefix: &[u8],
) -> Result<(Page, u32), ReferenceSetError> {
    let id = set.root;
    let malformed = |why: String| ReferenceSetError::Malformed { id, why };
    let bytes = pages
        .page(id)
        .map_err(|why| ReferenceSetError::Store { id, why })?
        .ok_or(ReferenceSetError::Missing(id))?;
    if bytes.len() > MAX_PAGE || ObjectId::of(&bytes) != id {
        return Err(malformed("its bytes do not have this digest".to_owned()));
    }
    let page = Page::decode(&bytes).map_err(|e| malformed(e.to_string()))?;
    if page.totals() != Some((set.count, set.bytes)) {
        return Err(malformed("its totals differ from its parent's".to_owned()));
    }
    let canonical = match &page {
        Page::Leaf(members) => members
            .iter()
            .all(|m| prefix.iter().enumerate().all(|(i, &n)| nibble(&m.id, i) == usize::from(n))),
        Page::Branch(_) => set.count > LEAF_CAPACITY as u64 && prefix.len() < 64,
    };
    if !canonical {
        return Err(malformed("it is not in the place or shape its content demands".to_owned()));
    }
    Ok((page, bytes.len() as u32))
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    #[derive(Default)]
    struct Memory {
        pages: BTreeMap<ObjectId, Vec<u8>>,
        reads: Cell<usize>,
    }

    impl Pages for Memory {
        fn page(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
            self.reads.set(self.reads.get() + 1);
            Ok(self.pages.get(&id).cloned())
        }
    }

    impl Memory {
        fn build(&mut self, ids: &BTreeSet<u64>) -> ReferenceSet {
            let mut members: Vec<_> = ids.iter().map(|&n| member(n)).collect();
            members.sort();
            build(&members, &mut |id, bytes| {
                self.pages.insert(id, bytes);
            })
        }

        fn diff(&self, old: Option<&ReferenceSet>, new: &ReferenceSet) -> BTreeSet<ObjectId> {
            let mut out = BTreeSet::new();
            difference(self, old, new, &mut |v| {
                if let Visit::Member(m) = v {
                    assert!(out.insert(m.id), "visited twice");
                }
            })
            .expect("readable");
            out
        }
    }

    fn member(n: u64) -> Member {
        Member { id: ObjectId::of(&n.to_le_bytes()), len: (n % 1_000) as u32 }
    }

    fn ids(set: &BTreeSet<u64>) -> BTreeSet<ObjectId> {
        set.iter().map(|&n| member(n).id).collect()
    }

    #[test]
    fn difference_reads_what_changed_only() {
        let mut memory = Memory::default();
        let a: BTreeSet<u64> = (0..100_000).collect();
        let mut b = a.clone();
        b.extend(200_000..200_005);
        let (old, new) = (memory.build(&a), memory.build(&b));
        memory.reads.set(0);
        assert_eq!(memory.diff(Some(&old), &new), ids(&(200_000..200_005).collect()));
        let reads = memory.reads.get();
        assert!(reads <= 5 * 2 * 6, "{reads} page reads for 5 changes in 100 000");
        memory.reads.set(0);
        assert!(memory.diff(Some(&new), &new).is_empty());
        assert_eq!(memory.reads.get(), 0);
    }

    #[test]
    fn every_member_is_found_and_nothing_else() {
        for count in [0, 1, 256, 257, 5_000] {
            let mut memory = Memory::default();
            let set = memory.build(&(0..count).collect());
            for n in 0..count + 300 {
                let found = find(&memory, &set, &member(n).id).expect("readable");
                assert_eq!(found, (n < count).then(|| member(n)), "{n} of {count}");
            }
        }
        let mut memory = Memory::default();
        let set = memory.build(&(0..1_000).collect());
        memory.pages.remove(&set.root);
        let missing = ReferenceSetError::Missing(set.root);
        assert_eq!(find(&memory, &set, &member(1).id), Err(missing));
    }

    #[test]
    fn golden_page() {
        let members = [member(1), member(2)];
        let mut sorted = members;
        sorted.sort();
        let bytes = Page::Leaf(sorted.to_vec()).encode();
        assert_eq!(hex::encode(&bytes[..8]), "5253010002000000");
        assert_eq!(
            ObjectId::of(&bytes).to_hex(),
            "1a8d9b3eaf3654d909e094311c5fc67cb5761a0d677787fa07f877d7e4b9dc1d"
        );
    }

    #[test]
    fn a_lying_page_is_named() {
        let mut memory = Memory::default();
        let set = memory.build(&(0..1_000).collect());
        let more = ReferenceSet { count: set.count + 1, ..set };
        assert!(matches!(
            walk(&memory, &more, &mut |_| ()),
            Err(ReferenceSetError::Malformed { id, .. }) if id == set.root
        ));
        // A child under the wrong nibble: the root is re-made around swapped children.
        let Page::Branch(mut children) = Page::decode(&memory.pages[&set.root]).expect("decodes")
        else {
            panic!("1000 objects make a branch");
        };
        children.swap(0, 1);
        let bytes = Page::Branch(children).encode();
        let root = ObjectId::of(&bytes);
        memory.pages.insert(root, bytes);
        let swapped = ReferenceSet { root, ..set };
        assert!(matches!(
            walk(&memory, &swapped, &mut |_| ()),
            Err(ReferenceSetError::Malformed { .. })
        ));
        memory.pages.remove(&set.root);
        assert_eq!(walk(&memory, &set, &mut |_| ()), Err(ReferenceSetError::Missing(set.root)));
    }

    #[test]
    fn pages_have_one_encoding() {
        let mut unsorted = vec![member(1), member(2)];
        unsorted.sort();
        unsorted.reverse();
        assert!(Page::decode(&Page::Leaf(unsorted).encode()).is_err());
        assert!(Page::decode(&Page::Leaf(vec![member(1); 2]).encode()).is_err());
        let mut trailing = Page::Leaf(vec![]).encode();
        trailing.push(0);
        assert!(Page::decode(&trailing).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn difference_is_set_difference(
            a in prop::collection::btree_set(0u64..3_000, 0..1_500),
            b in prop::collection::btree_set(0u64..3_000, 0..1_500),
        ) {
            let mut memory = Memory::default();
            let (old, new) = (memory.build(&a), memory.build(&b));
            let expected: BTreeSet<u64> = b.difference(&a).copied().collect();
            prop_assert_eq!(memory.diff(Some(&old), &new), ids(&expected));
            prop_assert_eq!(memory.diff(None, &new), ids(&b));
            prop_assert_eq!(new.count, b.len() as u64);
        }

        #[test]
        fn hostile_pages_never_panic(bytes: Vec<u8>) {
            let id = ObjectId::of(&bytes);
            let pages = |_: ObjectId| Ok(Some(bytes.clone()));
            let set = ReferenceSet { root: id, count: 3, bytes: 9 };
            let _ = walk(&pages, &set, &mut |_| ());
        }
    }
}
