//! Looking into snapshots, honest and hostile, against a model of the tree that was put in.
//!
//! Trees are sealed here by hand, so that pages are as long, as deep and as wrong as a test wants.

#[expect(dead_code, reason = "nothing is restored to disk here")]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use proptest::prelude::*;
use seawall_backup::browse::{Listing, OpenFile, Selection, Step, View, ViewError, Walk, join};
use seawall_backup::chunker::CHUNKER_ID;
use seawall_backup::diff::{What, diff};
use seawall_backup::entry::{Content, Entry, EntryKind, List, Meta};
use seawall_backup::export::{ExportError, tar};
use seawall_backup::pages::{ListWriter, RootPage, Stretch, encode_entry};
use seawall_backup::restore::{FetchError, Objects};
use seawall_base::ObjectId;
use seawall_record::reference_set::{self, Member};
use seawall_record::{ManifestCore, Totals};
use seawall_seal::{Domain, DomainScope, Kind, ObjectRef, Placement, seal};
use seawall_sim::SeededRng;
use support::{CLASS, signed};

/// Sealed objects in memory. What is removed is missing from then on.
#[derive(Default)]
struct Shelf {
    objects: Mutex<BTreeMap<ObjectId, Vec<u8>>>,
    fetched: AtomicUsize,
}

impl Objects for Shelf {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        self.fetched.fetch_add(ids.len(), Ordering::Relaxed);
        for id in ids {
            let found = self.objects.lock().expect("whole").get(id).cloned();
            give(*id, found.ok_or(FetchError::Missing(*id)));
        }
    }
}

/// Seals trees onto a shelf, several onto the same.
struct Maker {
    shelf: Arc<Shelf>,
    members: BTreeMap<ObjectId, u32>,
    totals: Totals,
    rng: SeededRng,
}

impl Maker {
    fn new() -> Self {
        Self::onto(&Arc::default())
    }

    fn onto(shelf: &Arc<Shelf>) -> Self {
        let (members, totals) = (BTreeMap::new(), Totals::default());
        Self { shelf: shelf.clone(), members, totals, rng: SeededRng::new(1) }
    }

    fn seal(&mut self, kind: Kind, plain: &[u8]) -> ObjectRef {
        let domain = Domain::derive(&[5; 32], DomainScope::Tenant);
        let sealed = seal(&domain, Placement { kind, class: CLASS }, plain, &mut self.rng)
            .expect("within bounds");
        let id = sealed.object_ref.id;
        self.members.insert(id, sealed.bytes.len() as u32);
        self.shelf.objects.lock().expect("whole").insert(id, sealed.bytes.into_bytes());
        sealed.object_ref
    }

    fn list(&mut self, kind: Kind, records: impl Iterator<Item = Vec<u8>>) -> List {
        let mut writer = ListWriter::new(&[1; 32]);
        for record in records {
            let Ok(()) = writer
                .push::<std::convert::Infallible>(&record, &mut |page| Ok(self.seal(kind, page)));
        }
        let Ok(list) =
            writer.finish::<std::convert::Infallible>(&mut |page| Ok(self.seal(kind, page)));
        list
    }

    fn directory(&mut self, entries: &[Entry]) -> List {
        self.list(Kind::Directory, entries.iter().map(|e| encode_entry(e).expect("a valid entry")))
    }

    fn chunks(&mut self, stretches: &[Stretch]) -> Content {
        let list = self.list(Kind::ChunkList, stretches.iter().map(Stretch::encode));
        Content::Chunks { list: list.root, depth: list.depth }
    }

    /// A tree of this model.
    fn tree(&mut self, things: &BTreeMap<Vec<u8>, Thing>) -> List {
        let mut entries = Vec::new();
        for (name, thing) in things {
            let kind = match thing {
                Thing::File(pieces) => self.file(pieces),
                Thing::Small(bytes) => self.small(bytes),
                Thing::Symlink(target) => EntryKind::Symlink { target: target.clone() },
                Thing::Directory(below) => EntryKind::Directory { listing: self.tree(below) },
                Thing::Link(first) => EntryKind::HardLink { target: first.clone() },
            };
            self.count(&kind);
            entries.push(Entry { name: name.clone(), meta: Meta::default(), kind });
        }
        self.directory(&entries)
    }

    fn small(&mut self, bytes: &[u8]) -> EntryKind {
        let content = match bytes.len() {
            0 => Content::Empty,
            1..=512 => Content::Inline(bytes.to_vec()),
            len => {
                let object = self.seal(Kind::Bundle, &[b"before", bytes, b"after"].concat());
                Content::Bundle { object, offset: 6, len: len as u32 }
            }
        };
        EntryKind::File { size: bytes.len() as u64, content }
    }

    fn file(&mut self, pieces: &[Piece]) -> EntryKind {
        let mut stretches = Vec::new();
        for piece in pieces {
            match piece {
                Piece::Hole(len) => stretches.push(Stretch::Hole(*len)),
                Piece::Chunk(plain, gap) => {
                    if let Some((offset, len)) = gap {
                        stretches.push(Stretch::Gap { offset: *offset, len: *len });
                    }
                    stretches.push(Stretch::Data(self.seal(Kind::Chunk, plain)));
                }
            }
        }
        let size = stretches.iter().map(Stretch::len).sum();
        EntryKind::File { size, content: self.chunks(&stretches) }
    }

    fn count(&mut self, kind: &EntryKind) {
        match kind {
            EntryKind::Directory { .. } => self.totals.directories += 1,
            EntryKind::File { size, .. } => {
                self.totals.files += 1;
                self.totals.bytes += size;
            }
            _ => self.totals.others += 1,
        }
    }

    /// Signs what was sealed and opens it.
    fn view(&mut self, tree: List) -> View {
        let (root, core) = self.sign(tree);
        View::open(self.shelf.clone(), &root, &core).expect("an honest root")
    }

    fn sign(&mut self, tree: List) -> (ObjectRef, ManifestCore) {
        let page = RootPage {
            chunker: CHUNKER_ID,
            tree,
            host: b"h".to_vec(),
            sources: vec![b"/".into()],
            path_index: None,
        };
        let root = self.seal(Kind::Root, &page.encode());
        let members: Vec<_> = self.members.iter().map(|(&id, &len)| Member { id, len }).collect();
        let set = reference_set::build(&members, &mut |id, page| {
            self.shelf.objects.lock().expect("whole").insert(id, page);
        });
        (root, signed(set, self.totals))
    }
}

#[derive(Debug, Clone)]
enum Thing {
    Small(Vec<u8>),
    File(Vec<Piece>),
    Symlink(Vec<u8>),
    Directory(BTreeMap<Vec<u8>, Thing>),
    Link(Vec<Vec<u8>>),
}

#[derive(Debug, Clone)]
enum Piece {
    Hole(u64),
    /// Bytes, and a hole (offset, length) in them where they are zero.
    Chunk(Vec<u8>, Option<(u32, u32)>),
}

impl Thing {
    /// The bytes of a file and which of them are in holes.
    fn bytes(&self) -> Option<(Vec<u8>, Vec<bool>)> {
        match self {
            Self::Small(bytes) => Some((bytes.clone(), vec![false; bytes.len()])),
            Self::File(pieces) => {
                let (mut bytes, mut holes) = (Vec::new(), Vec::new());
                for piece in pieces {
                    let start = bytes.len();
                    match piece {
                        Piece::Hole(len) => {
                            bytes.resize(start + *len as usize, 0);
                            holes.resize(bytes.len(), true);
                        }
                        Piece::Chunk(plain, gap) => {
                            bytes.extend(plain);
                            holes.resize(bytes.len(), false);
                            if let Some((offset, len)) = gap {
                                let from = start + *offset as usize;
                                holes[from..from + *len as usize].fill(true);
                            }
                        }
                    }
                }
                Some((bytes, holes))
            }
            _ => None,
        }
    }
}

fn names(text: &[&str]) -> Vec<Vec<u8>> {
    text.iter().map(|n| n.as_bytes().to_vec()).collect()
}

fn small(text: &str) -> Thing {
    Thing::Small(text.as_bytes().to_vec())
}

fn tree<const N: usize>(things: [(&str, Thing); N]) -> BTreeMap<Vec<u8>, Thing> {
    things.into_iter().map(|(name, thing)| (name.as_bytes().to_vec(), thing)).collect()
}

fn chunk() -> impl Strategy<Value = Piece> {
    (1usize..3_000, any::<u8>(), any::<bool>(), 0u32..3_000, 1u32..500).prop_map(
        |(len, fill, has_gap, offset, gap)| {
            let mut bytes = vec![fill | 1; len];
            let end = offset.saturating_add(gap);
            let gap = (has_gap && end as usize <= len).then_some((offset, gap));
            if gap.is_some() {
                bytes[offset as usize..end as usize].fill(0);
            }
            Piece::Chunk(bytes, gap)
        },
    )
}

fn thing() -> impl Strategy<Value = Thing> {
    let piece = prop_oneof![3 => chunk(), 1 => (1u64..5_000).prop_map(Piece::Hole)];
    let leaf = prop_oneof![
        3 => prop::collection::vec(any::<u8>(), 0..1_000).prop_map(Thing::Small),
        2 => prop::collection::vec(piece, 1..12).prop_map(Thing::File),
        1 => "[a-z/]{1,9}".prop_map(|s| Thing::Symlink(s.into_bytes())),
    ];
    leaf.prop_recursive(3, 24, 8, |inner| {
        prop::collection::btree_map("[a-c]{1,3}".prop_map(String::into_bytes), inner, 0..8)
            .prop_map(Thing::Directory)
    })
}

fn check(view: &View, path: &mut Vec<Vec<u8>>, list: &List, model: &BTreeMap<Vec<u8>, Thing>) {
    let mut listing = Listing::new(list);
    for (name, thing) in model {
        let entry = listing.next(view).expect("not the end").expect("readable");
        assert_eq!(&entry.name, name);
        path.push(name.clone());
        let found = view.lookup(path).expect("readable").expect("there");
        assert_eq!(found, entry, "looked up");
        match (thing, &entry.kind) {
            (Thing::Directory(below), EntryKind::Directory { listing }) => {
                check(view, path, listing, below);
            }
            (Thing::Symlink(to), EntryKind::Symlink { target }) => assert_eq!(to, target),
            _ => check_file(view, &entry, thing),
        }
        path.push(b"nothing here".to_vec());
        assert_eq!(view.lookup(path).expect("readable"), None);
        path.truncate(path.len() - 2);
    }
    assert!(listing.next(view).is_none());
}

fn check_file(view: &View, entry: &Arc<Entry>, thing: &Thing) {
    let (bytes, holes) = thing.bytes().expect("a file");
    let file = OpenFile::new(entry).expect("a file");
    assert_eq!(file.size(), bytes.len() as u64);
    let end = bytes.len();
    // Backwards, so that the first read is the deepest.
    for at in (0..=end + 10).rev().step_by(1 + end / 13) {
        for len in [1, 700, end] {
            let expected = &bytes[at.min(end)..(at + len).min(end).max(at.min(end))];
            assert_eq!(view.read(&file, at as u64, len).expect("readable"), expected);
        }
        let data = (at..end).find(|&i| !holes[i]).map(|i| i as u64);
        assert_eq!(view.next_data(&file, at as u64).expect("readable"), data);
        let hole = (at..end).find(|&i| holes[i]).unwrap_or(end.max(at));
        assert_eq!(view.next_hole(&file, at as u64).expect("readable"), hole as u64);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_view_shows_the_tree_that_was_put_in(
        model in prop::collection::btree_map("[a-z]{1,4}".prop_map(String::into_bytes), thing(), 0..8)
    ) {
        let mut maker = Maker::new();
        let list = maker.tree(&model);
        let view = maker.view(list.clone());
        check(&view, &mut Vec::new(), &list, &model);
        let selection = Selection::all();
        let mut walk = Walk::new(&view, &selection);
        while let Some(step) = walk.next().expect("as signed") {
            let is_lost = matches!(step, Step::Lost { .. });
            prop_assert!(!is_lost);
        }
        let walked = walk.yielded();
        let totals = maker.totals;
        prop_assert_eq!(
            (walked.files, walked.directories, walked.others, walked.bytes),
            (totals.files, totals.directories, totals.others, totals.bytes)
        );
    }

    #[test]
    fn differences_are_those_of_the_models(
        old in prop::collection::btree_map("[a-c]{1,2}".prop_map(String::into_bytes), thing(), 0..6),
        new in prop::collection::btree_map("[a-c]{1,2}".prop_map(String::into_bytes), thing(), 0..6),
    ) {
        let mut was = Maker::new();
        let list = was.tree(&old);
        let a = was.view(list);
        let mut is = Maker::onto(&was.shelf);
        let list = is.tree(&new);
        let b = is.view(list);
        let mut found = BTreeMap::new();
        diff(&a, &b, &mut |change| {
            let sign = match change.what {
                What::Added(_) => '+',
                What::Removed(_) => '-',
                What::Changed(_) => '*',
                What::Unknown(why) => panic!("{why}"),
            };
            assert!(found.insert(change.path, sign).is_none(), "said twice");
        })
        .expect("as signed");
        let (old, new) = (flat(&old), flat(&new));
        let paths: BTreeSet<_> = old.keys().chain(new.keys()).collect();
        let expected: BTreeMap<_, _> = paths
            .into_iter()
            .filter_map(|path| match (old.get(path), new.get(path)) {
                (Some(_), None) => Some((path.clone(), '-')),
                (None, Some(_)) => Some((path.clone(), '+')),
                (a, b) => (a != b).then(|| (path.clone(), '*')),
            })
            .collect();
        prop_assert_eq!(found, expected);
    }
}

/// Every path of a model, and what its thing is apart from what is below it.
fn flat(model: &BTreeMap<Vec<u8>, Thing>) -> BTreeMap<Vec<u8>, (char, Vec<u8>)> {
    let mut out = BTreeMap::new();
    for (name, thing) in model {
        let what = match thing {
            Thing::Directory(below) => {
                for (path, what) in flat(below) {
                    out.insert([name.as_slice(), &path].join(&b'/'), what);
                }
                ('d', Vec::new())
            }
            Thing::Symlink(to) => ('l', to.clone()),
            Thing::Link(first) => ('h', join(first)),
            file => ('f', file.bytes().expect("a file").0),
        };
        out.insert(name.clone(), what);
    }
    out
}

#[test]
fn a_name_is_found_without_reading_the_directory() {
    let mut maker = Maker::new();
    let entries: BTreeMap<_, _> =
        (0..40_000).map(|i| (format!("{i:06}").into_bytes(), small("x"))).collect();
    let list = maker.tree(&entries);
    assert!(list.depth > 0 && maker.members.len() > 40, "{} pages", maker.members.len());
    let (root, core) = maker.sign(list.clone());
    for n in [0, 1, 19_999, 39_999] {
        let view = View::open(maker.shelf.clone(), &root, &core).expect("an honest root");
        let before = maker.shelf.fetched.load(Ordering::Relaxed);
        let name = format!("{n:06}").into_bytes();
        assert_eq!(view.find(&list, &name).expect("readable").expect("there").name, name);
        assert_eq!(view.find(&list, format!("{n:06}a").as_bytes()).expect("readable"), None);
        let fetched = maker.shelf.fetched.load(Ordering::Relaxed) - before;
        assert!(fetched < 25, "{fetched} objects of {} for one name", maker.members.len());
    }
}

#[test]
fn a_long_file_is_read_anywhere_and_learned_once() {
    let mut maker = Maker::new();
    let chunks: Vec<_> = (0..16u8).map(|i| vec![i + 1; 100 + usize::from(i)]).collect();
    let refs: Vec<_> = chunks.iter().map(|c| maker.seal(Kind::Chunk, c)).collect();
    // A number in each hole, so that no two pages are alike.
    let stretches: Vec<_> = (0..60_000usize)
        .map(|i| match i % 3 {
            2 => Stretch::Hole(1 + i as u64),
            _ => Stretch::Data(refs[i % 16].clone()),
        })
        .collect();
    let starts: Vec<u64> = stretches
        .iter()
        .scan(0, |at, s| {
            *at += s.len();
            Some(*at - s.len())
        })
        .collect();
    let size = stretches.iter().map(Stretch::len).sum();
    let content = maker.chunks(&stretches);
    let kind = EntryKind::File { size, content };
    maker.count(&kind);
    let entry = Entry { name: b"long".to_vec(), meta: Meta::default(), kind };
    let list = maker.directory(std::slice::from_ref(&entry));
    let view = maker.view(list);
    let file = OpenFile::new(&Arc::new(entry)).expect("a file");
    let check = |i: usize| {
        let expected = match &stretches[i] {
            Stretch::Data(_) => chunks[i % 16].clone(),
            _ => vec![0; 1 + i],
        };
        assert_eq!(view.read(&file, starts[i], expected.len()).expect("readable"), expected);
    };
    check(59_999);
    let learned = maker.shelf.fetched.load(Ordering::Relaxed);
    for i in (0..60_000).rev().step_by(997) {
        check(i);
    }
    let again = maker.shelf.fetched.load(Ordering::Relaxed) - learned;
    assert!(again < 40, "{again} objects were fetched although all had been learned");
    assert_eq!(view.next_hole(&file, starts[30_000]).expect("readable"), starts[30_002]);
}

#[test]
fn an_object_outside_the_signed_set_is_not_believed() {
    let mut maker = Maker::new();
    let list = maker.tree(&tree([("a", Thing::Directory(tree([("b", small("x"))])))]));
    let (root, mut core) = maker.sign(list);
    let members: Vec<_> = maker.members.iter().map(|(&id, &len)| Member { id, len }).collect();
    for leave_out in 0..members.len() {
        let mut fewer = members.clone();
        let without = fewer.remove(leave_out).id;
        core.reference_set = reference_set::build(&fewer, &mut |id, page| {
            maker.shelf.objects.lock().expect("whole").insert(id, page);
        });
        let outcome = View::open(maker.shelf.clone(), &root, &core)
            .and_then(|view| view.lookup(&names(&["a", "b"])).map(drop));
        assert!(matches!(outcome, Err(ViewError::Unsigned(id)) if id == without), "{outcome:?}");
    }
}

#[test]
fn a_lost_page_costs_its_names_and_no_others() {
    let mut maker = Maker::new();
    let entries: BTreeMap<_, _> =
        (0..3_000).map(|i| (format!("{i:06}").into_bytes(), small("x"))).collect();
    let list = maker.tree(&entries);
    let (root, core) = maker.sign(list.clone());
    let whole: Vec<ObjectId> =
        maker.members.keys().copied().filter(|id| *id != root.id && *id != list.root.id).collect();
    for lost in whole {
        let page = maker.shelf.objects.lock().expect("whole").remove(&lost).expect("there");
        let view = View::open(maker.shelf.clone(), &root, &core).expect("the root is there");
        let (mut listing, mut read, mut errors) = (Listing::new(&list), BTreeSet::new(), 0);
        while let Some(entry) = listing.next(&view) {
            match entry {
                Ok(entry) => drop(read.insert(entry.name.clone())),
                Err(_) => errors += 1,
            }
        }
        assert_eq!(errors, 1);
        assert!(read.len() < 3_000 && read.len() > 1_000, "{} names", read.len());
        for name in entries.keys().step_by(37) {
            match view.find(&list, name) {
                Ok(found) => assert_eq!(found.is_some(), read.contains(name)),
                Err(e) => assert!(!read.contains(name), "{e}"),
            }
        }
        maker.shelf.objects.lock().expect("whole").insert(lost, page);
    }
}

/// Paths a walk yields: `=` and the earlier name for links.
fn walked(view: &View, selection: &Selection) -> Vec<String> {
    let text = |path: &[u8]| String::from_utf8(path.to_vec()).expect("names here are UTF-8");
    let mut walk = Walk::new(view, selection);
    let mut out = Vec::new();
    while let Some(step) = walk.next().expect("as signed") {
        match step {
            Step::Enter(it) => out.push(format!("{}/", text(&it.path))),
            Step::Leaf(it) => {
                let link = it.link.map_or(String::new(), |l| format!(" = {}", text(&join(&l))));
                out.push(text(&it.path) + &link);
            }
            Step::Lost { path, why } => out.push(format!("{}: {why}", text(&path))),
            Step::Leave(_) => {}
        }
    }
    out
}

fn select(paths: &[&str], globs: &[&str]) -> Selection {
    let globs: Vec<_> = globs.iter().map(ToString::to_string).collect();
    Selection::new(&names(paths), &globs).expect("a selection")
}

#[test]
fn links_never_lead_to_what_was_not_yielded() {
    let mut maker = Maker::new();
    let link = |first: &[&str]| Thing::Link(names(first));
    let list = maker.tree(&tree([
        ("a", Thing::Directory(tree([("early", link(&["m", "file"])), ("late", link(&["z"]))]))),
        ("m", Thing::Directory(tree([("file", small("content")), ("nowhere", link(&["q"]))]))),
        ("n", Thing::Directory(tree([("again", link(&["m", "file"])), ("z", link(&["z"]))]))),
        ("z", Thing::Symlink(b"t".to_vec())),
    ]));
    let view = maker.view(list);
    assert_eq!(
        walked(&view, &Selection::all()),
        [
            "a/",
            "a/early",
            "a/late",
            "m/",
            "m/file = a/early",
            "m/nowhere: its first name, \"q\", is not in the snapshot",
            "n/",
            "n/again = a/early",
            "n/z = a/late",
            "z = a/late",
        ]
    );
    assert_eq!(walked(&view, &select(&["n"], &[])), ["n/", "n/again", "n/z"]);
    assert_eq!(walked(&view, &select(&["/m/file", "n/"], &[]))[..3], ["m/", "m/file", "n/"]);
    assert_eq!(walked(&view, &select(&["m/file"], &["n/aga*"]))[3], "n/again = m/file");
    assert_eq!(walked(&view, &select(&[], &["**/z"])), ["n/", "n/z", "z = n/z"]);
    assert_eq!(walked(&view, &select(&[], &["nothing/**"])), [""; 0]);
    assert_eq!(view.missing(&select(&["n/z", "n/q"], &[])).expect("readable"), [b"n/q"]);
}

#[test]
fn a_directory_that_contains_itself_many_times_ends_every_walk() {
    let mut maker = Maker::new();
    let mut listing = maker.directory(&[]);
    for _ in 0..10 {
        let entries: Vec<_> = (0..1_000)
            .map(|i| {
                let kind = EntryKind::Directory { listing: listing.clone() };
                Entry { name: format!("{i:04}").into_bytes(), meta: Meta::default(), kind }
            })
            .collect();
        listing = maker.directory(&entries);
    }
    maker.totals.directories = 50;
    let view = maker.view(listing);
    let mut maker = Maker::new();
    let empty = maker.directory(&[]);
    let empty = maker.view(empty);
    for selection in [Selection::all(), select(&[], &["**/nothing"])] {
        let mut walk = Walk::new(&view, &selection);
        let end = loop {
            match walk.next() {
                Ok(Some(_)) => {}
                end => break end,
            }
        };
        let what = "directories";
        assert!(matches!(end, Err(ViewError::AboveTotals { what: w, signed: 50 }) if w == what));
    }
    let outcome = tar(&view, &Selection::all(), &mut std::io::sink(), &mut |_, _| ());
    assert!(matches!(outcome, Err(ExportError::Forged(ViewError::AboveTotals { .. }))));
    for (a, b) in [(&view, &empty), (&empty, &view)] {
        let outcome = diff(a, b, &mut |_| ());
        assert!(matches!(outcome, Err(ViewError::AboveTotals { .. })), "{outcome:?}");
    }
}

#[test]
fn less_than_was_signed_is_not_believed() {
    let mut maker = Maker::new();
    let list = maker.tree(&tree([("a", small("x"))]));
    maker.totals.files += 1;
    let view = maker.view(list);
    let outcome = tar(&view, &Selection::all(), &mut std::io::sink(), &mut |_, _| ());
    let forged = matches!(outcome, Err(ExportError::Forged(ViewError::OtherTotals { .. })));
    assert!(forged, "{outcome:?}");
    let part = tar(&view, &select(&["a"], &[]), &mut std::io::sink(), &mut |_, _| ());
    assert_eq!(part.expect("a part cannot tell").walked.files, 1);
}

#[test]
fn a_change_costs_what_changed() {
    let mut was = Maker::new();
    let files = |n: usize, mark: &str| -> BTreeMap<Vec<u8>, Thing> {
        (0..n).map(|i| (format!("{i:05}").into_bytes(), small(mark))).collect()
    };
    let mut model: BTreeMap<_, _> = (0..200)
        .map(|d| (format!("d{d:03}").into_bytes(), Thing::Directory(files(50, &format!("{d}")))))
        .collect();
    model.insert(b"wide".to_vec(), Thing::Directory(files(20_000, "wide")));
    let list = was.tree(&model);
    let (root_a, core_a) = was.sign(list);
    let Some(Thing::Directory(inner)) = model.get_mut(b"d077".as_slice()) else { unreachable!() };
    inner.insert(b"new".to_vec(), small("new"));
    let Some(Thing::Directory(wide)) = model.get_mut(b"wide".as_slice()) else { unreachable!() };
    wide.insert(b"10000".to_vec(), small("other"));
    wide.remove(b"15000".as_slice());
    let mut is = Maker::onto(&was.shelf);
    let list = is.tree(&model);
    let (root_b, core_b) = is.sign(list);
    let open = |root, core| View::open(was.shelf.clone(), root, core).expect("an honest root");
    let (a, b) = (open(&root_a, &core_a), open(&root_b, &core_b));
    let before = was.shelf.fetched.load(Ordering::Relaxed);
    let mut found = Vec::new();
    let summary = diff(&a, &b, &mut |c| found.push(c.path)).expect("as signed");
    let fetched = was.shelf.fetched.load(Ordering::Relaxed) - before;
    assert_eq!((summary.added, summary.removed, summary.changed), (1, 1, 1));
    let expected = ["d077/new", "wide/10000", "wide/15000"].map(|p| p.as_bytes().to_vec());
    assert_eq!(found, expected);
    assert!(fetched < 40, "{fetched} objects of {} were read", is.members.len());
    let same = diff(&a, &a, &mut |_| ()).expect("as signed");
    assert!(same.is_equal());
}

/// What GNU tar lists of an archive: paths and sizes.
fn listed(archive: &[u8]) -> Vec<(String, u64)> {
    use std::io::Write as _;
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(archive).expect("written");
    let mut command = std::process::Command::new("tar");
    let said = command.args(["-tvf"]).arg(file.path()).output().expect("tar runs");
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(String::from_utf8_lossy(&said.stderr), "", "nothing to complain of");
    let text = String::from_utf8(said.stdout).expect("names here are UTF-8");
    let fields = |line: &str| {
        let fields: Vec<_> = line.split_whitespace().map(ToOwned::to_owned).collect();
        (fields[5].clone(), fields[2].parse().expect("a size"))
    };
    text.lines().map(fields).collect()
}

#[test]
fn what_is_lost_of_an_archive_is_left_out_or_named_zeros() {
    let chunk = |fill: u8| Piece::Chunk(vec![fill; 2 << 20], None);
    let short = vec![4; 900];
    let mut maker = Maker::new();
    let list = maker.tree(&tree([
        ("lost", Thing::Small(short.clone())),
        ("lost too", Thing::Link(names(&["lost"]))),
        ("part", Thing::File(vec![chunk(1), chunk(2), Piece::Hole(1 << 20), chunk(3)])),
        ("whole", small("whole")),
    ]));
    let view = maker.view(list);
    let gone = [[b"before", &short[..], b"after"].concat(), vec![2; 2 << 20]];
    for (kind, plain) in [Kind::Bundle, Kind::Chunk].into_iter().zip(&gone) {
        let id = maker.seal(kind, plain).id;
        maker.shelf.objects.lock().expect("whole").remove(&id);
    }
    let mut archive = Vec::new();
    let done = tar(&view, &Selection::all(), &mut archive, &mut |_, _| ()).expect("it goes on");
    assert_eq!(done.archive_bytes, archive.len() as u64);
    assert_eq!(archive.len() % 10_240, 0);
    let missing: Vec<_> = done
        .lost
        .iter()
        .map(|m| (String::from_utf8_lossy(&m.path).into_owned(), m.zeros.clone()))
        .collect();
    let middle: std::ops::Range<u64> = 2 << 20..4 << 20;
    assert_eq!(
        missing,
        [("lost".into(), vec![]), ("lost too".into(), vec![]), ("part".into(), vec![middle])]
    );
    assert_eq!(listed(&archive), [("part".into(), 7 << 20), ("whole".into(), 5)]);
    let blocks = archive.chunks(512).filter(|block| block.iter().all(|b| *b == 1));
    assert_eq!(blocks.count(), (2 << 20) / 512, "what is there is there");
    assert!(!archive.contains(&2), "what is lost is zeros");
}

#[test]
fn odd_names_and_attributes_go_through_an_archive() {
    use seawall_backup::entry::Xattr;
    let mut maker = Maker::new();
    let xattr = |name: &str| Xattr { name: name.into(), value: b"a\n=\0".to_vec() };
    let meta = Meta { xattrs: vec![xattr("user.a%=b"), xattr("user.b")], ..Meta::default() };
    let kind = EntryKind::File { size: 0, content: Content::Empty };
    maker.count(&kind);
    let entry = Entry { name: vec![b'n'; 255], meta, kind };
    let list = maker.directory(&[entry]);
    let view = maker.view(list);
    let mut archive = Vec::new();
    tar(&view, &Selection::all(), &mut archive, &mut |_, _| ()).expect("nothing is wrong");
    assert_eq!(listed(&archive), [("n".repeat(255), 0)]);
    let contains = |what: &[u8]| archive.windows(what.len()).any(|w| w == what);
    assert!(contains(b"SCHILY.xattr.user.a%25%3Db=a\n=\0\n"));
}

#[test]
fn names_are_counted() {
    let mut maker = Maker::new();
    let link = |first: &[&str]| Thing::Link(names(first));
    let list = maker.tree(&tree([
        ("a", Thing::Directory(tree([("x", small("x")), ("y", link(&["a", "x"]))]))),
        ("b", link(&["a", "x"])),
        ("c", small("alone")),
    ]));
    let view = maker.view(list);
    let counted = view.names(&mut |_| ()).expect("as signed");
    assert_eq!(counted.into_iter().collect::<Vec<_>>(), [(names(&["a", "x"]), 3)]);
}

#[test]
fn what_may_be_in_a_lost_page_is_not_called_added() {
    let mut was = Maker::new();
    let mut model: BTreeMap<_, _> =
        (0..3_000).map(|i| (format!("{i:06}").into_bytes(), small("x"))).collect();
    let list = was.tree(&model);
    let (root, core) = was.sign(list.clone());
    model.insert(b"000000 added".to_vec(), small("y"));
    model.insert(b"zzz".to_vec(), small("y"));
    let mut is = Maker::onto(&was.shelf);
    let new = is.tree(&model);
    let new = is.view(new);
    let leaves = was.members.keys().filter(|id| ![root.id, list.root.id].contains(id));
    for lost in leaves.copied().collect::<Vec<_>>() {
        let page = was.shelf.objects.lock().expect("whole").remove(&lost).expect("there");
        let old = View::open(was.shelf.clone(), &root, &core).expect("the root is there");
        let mut found = Vec::new();
        let summary = diff(&old, &new, &mut |c| found.push((c.path, c.what))).expect("as signed");
        assert!(summary.unknown == 1 || is.members.contains_key(&lost), "{summary:?}");
        assert_eq!((summary.removed, summary.changed), (0, 0));
        for (path, what) in &found {
            if let What::Added(_) = what {
                let is_new = path == b"000000 added" || path == b"zzz";
                assert!(is_new, "{} was there", String::from_utf8_lossy(path));
            }
        }
        was.shelf.objects.lock().expect("whole").insert(lost, page);
    }
}

#[test]
fn a_changed_long_file_is_told_without_reading_all_of_it() {
    let pieces = |changed: usize| -> Vec<Piece> {
        let fill = |i: usize| if i == changed { 255 } else { i as u8 };
        (0..200).map(|i| Piece::Chunk(vec![fill(i); 1_000 + i], None)).collect()
    };
    let mut was = Maker::new();
    let list = was.tree(&tree([("long", Thing::File(pieces(999)))]));
    let old = was.view(list);
    let mut is = Maker::onto(&was.shelf);
    let list = is.tree(&tree([("long", Thing::File(pieces(190)))]));
    let new = is.view(list);
    let before = was.shelf.fetched.load(Ordering::Relaxed);
    let summary = diff(&old, &new, &mut |_| ()).expect("as signed");
    assert_eq!(summary.changed, 1);
    let fetched = was.shelf.fetched.load(Ordering::Relaxed) - before;
    assert!(fetched < 14, "{fetched} objects of 200 chunks were read");
}
