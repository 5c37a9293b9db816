//! Snapshots that no writer makes: sealed by hand, well-keyed, and lying wherever they can.
//!
//! Whoever holds a node's key can sign any of these. Whatever they say, a restore ends, writes
//! nothing outside its target and nothing beyond the signed totals, names what it could not
//! restore, and never passes part of a file off as the file.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;
use seawall_backup::chunker::CHUNKER_ID;
use seawall_backup::entry::{Content, Entry, EntryKind, List, MAX_DEPTH, MAX_FILE, Meta};
use seawall_backup::pages::{RootPage, Stretch, encode_entry};
use seawall_backup::restore::{EntryError, FetchError, Objects, RestoreError, Restored, restore};
use seawall_backup::target::{Options, Target};
use seawall_base::ObjectId;
use seawall_base::wire::Writer;
use seawall_record::reference_set::{self, Member, ReferenceSetError};
use seawall_record::{ReferenceSet, Totals};
use seawall_seal::{Domain, Kind, MAX_PLAIN, ObjectKey, ObjectRef, Placement, SealError, seal};
use seawall_sim::SeededRng;
use support::{CLASS, signed, temporary};

/// An attacker's workshop: seals whatever it is given and keeps it.
struct Forge {
    objects: BTreeMap<ObjectId, Vec<u8>>,
    members: BTreeMap<ObjectId, u32>,
    rng: SeededRng,
    fetched: AtomicUsize,
}

impl Objects for Forge {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        self.fetched.fetch_add(ids.len(), Ordering::Relaxed);
        for id in ids {
            give(*id, self.objects.get(id).cloned().ok_or(FetchError::Missing(*id)));
        }
    }
}

impl Forge {
    fn has_fetched_below(&self, limit: usize) {
        let fetched = self.fetched.load(Ordering::Relaxed);
        assert!(fetched < limit, "{fetched} objects fetched");
    }

    fn new() -> Self {
        let (objects, members) = (BTreeMap::new(), BTreeMap::new());
        Self { objects, members, rng: SeededRng::new(1), fetched: AtomicUsize::new(0) }
    }

    fn seal_as(&mut self, kind: Kind, class: u8, plain: &[u8]) -> ObjectRef {
        let sealed = seal(&Domain::none(), Placement { kind, class }, plain, &mut self.rng)
            .expect("within bounds");
        let id = sealed.object_ref.id;
        self.members.insert(id, sealed.bytes.len() as u32);
        self.objects.insert(id, sealed.bytes.into_bytes());
        sealed.object_ref
    }

    fn seal(&mut self, kind: Kind, plain: &[u8]) -> ObjectRef {
        self.seal_as(kind, CLASS, plain)
    }

    fn directory(&mut self, entries: &[Entry]) -> List {
        let record = |e| encode_entry(e).expect("a valid entry");
        let records: Vec<_> = entries.iter().map(record).collect();
        List { root: self.seal(Kind::Directory, &page(0, &records)), depth: 0 }
    }

    fn index(&mut self, kind: Kind, level: u8, below: &[ObjectRef]) -> ObjectRef {
        let records: Vec<_> = below.iter().map(reference).collect();
        self.seal(kind, &page(level, &records))
    }

    fn chunk_list(&mut self, stretches: &[Stretch]) -> ObjectRef {
        let records: Vec<_> = stretches.iter().map(Stretch::encode).collect();
        self.seal(Kind::ChunkList, &page(0, &records))
    }

    /// A file of these stretches, said to be `size` bytes long.
    fn long_file(&mut self, name: &str, size: u64, stretches: &[Stretch]) -> Entry {
        let list = self.chunk_list(stretches);
        file(name, size, Content::Chunks { list, depth: 0 })
    }

    fn root(&mut self, tree: List) -> ObjectRef {
        self.root_with(tree, CHUNKER_ID)
    }

    fn root_with(&mut self, tree: List, chunker: u16) -> ObjectRef {
        let page = RootPage { chunker, tree, host: vec![], sources: vec![], path_index: None };
        self.seal(Kind::Root, &page.encode())
    }

    /// The reference set of everything sealed so far.
    fn reference_set(&mut self) -> ReferenceSet {
        let members: Vec<_> = self.members.iter().map(|(&id, &len)| Member { id, len }).collect();
        let objects = &mut self.objects;
        reference_set::build(&members, &mut |id, page| {
            objects.insert(id, page);
        })
    }

    fn restore_set(
        &self,
        root: &ObjectRef,
        set: ReferenceSet,
        totals: Totals,
        options: Options,
        to: &Path,
    ) -> Result<Restored, RestoreError> {
        let pages = |id: ObjectId| Ok(self.objects.get(&id).cloned());
        let target = Target::create(to, options).expect("an empty directory");
        restore(self, &pages, root, &signed(set, totals), target, 2, &mut |_| ())
    }

    /// Restores `tree` under `totals` into a fresh directory.
    fn restore(&mut self, tree: List, totals: Totals) -> Attempt {
        let root = self.root(tree);
        let set = self.reference_set();
        let dir = temporary();
        let to = dir.path().join("to");
        let outcome = self.restore_set(&root, set, totals, Options::default(), &to);
        Attempt { _dir: dir, to, outcome }
    }

    /// Restores a directory of `bad` entries after one good file, under totals nobody reaches.
    fn restore_beside_good(&mut self, bad: &[Entry]) -> Attempt {
        let good = file("a good one", 4, Content::Inline(b"good".to_vec()));
        let entries: Vec<_> = [good].iter().chain(bad).cloned().collect();
        let tree = self.directory(&entries);
        self.restore(tree, PLENTY)
    }
}

struct Attempt {
    _dir: tempfile::TempDir,
    to: PathBuf,
    outcome: Result<Restored, RestoreError>,
}

impl Attempt {
    fn names(&self) -> Vec<String> {
        names(&self.to)
    }

    /// The paths lost, each with its reason.
    fn lost(&self) -> Vec<(String, String)> {
        let restored = self.outcome.as_ref().expect("losing files does not end a restore");
        let text = |path: &[u8]| String::from_utf8(path.to_vec()).expect("names here are UTF-8");
        restored.lost.iter().map(|l| (text(&l.path), l.why.to_string())).collect()
    }

    /// Exactly the file `bad` is lost, for this reason; the good one is there and nothing else.
    fn assert_only_bad_lost(&self, why: &str) {
        let lost = self.lost();
        assert_eq!(lost.len(), 1, "{lost:?}");
        assert_eq!(lost[0].0, "/bad");
        assert!(lost[0].1.contains(why), "{why:?} is not in {:?}", lost[0].1);
        assert_eq!(self.names(), ["a good one"], "nothing is left of the bad one: {why}");
        let good = fs::read(self.to.join("a good one")).expect("it was restored");
        assert_eq!(good, b"good");
    }
}

/// The id of nothing.
const NOBODY: ObjectId = ObjectId([0xee; 32]);

/// Totals that nothing here reaches.
const PLENTY: Totals =
    Totals { files: 1 << 40, directories: 1 << 40, others: 1 << 40, bytes: 1 << 62, problems: 0 };

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).expect("a directory");
    let mut names: Vec<_> = entries
        .map(|e| e.expect("readable").file_name().into_string().expect("names here are UTF-8"))
        .collect();
    names.sort_unstable();
    names
}

/// A page as `docs/formats/page.md` lays it out.
fn page(level: u8, records: &[Vec<u8>]) -> Vec<u8> {
    let mut w = Writer::new();
    w.u8(1).u8(level).u32(records.len() as u32);
    for record in records {
        w.raw(record);
    }
    w.into_vec()
}

fn reference(object: &ObjectRef) -> Vec<u8> {
    let mut w = Writer::new();
    object.encode(&mut w);
    w.into_vec()
}

fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry { name: name.into(), meta: Meta { mode: 0o755, ..Meta::default() }, kind }
}

fn file(name: &str, size: u64, content: Content) -> Entry {
    entry(name, EntryKind::File { size, content })
}

fn directory(name: &str, listing: List) -> Entry {
    entry(name, EntryKind::Directory { listing })
}

fn link(name: &str, to: &[&str]) -> Entry {
    let target = to.iter().map(|c| c.as_bytes().to_vec()).collect();
    entry(name, EntryKind::HardLink { target })
}

fn symbolic(name: &str, to: &str) -> Entry {
    entry(name, EntryKind::Symlink { target: to.into() })
}

/// A record whose bytes `from` became `to`, as no encoder writes it.
fn patched(entry: &Entry, from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut record = encode_entry(entry).expect("valid before it is patched");
    let at = record.windows(from.len()).position(|w| w == from).expect("there");
    record.splice(at..at + from.len(), to.iter().copied());
    record
}

fn nothing_at(id: ObjectId) -> ObjectRef {
    ObjectRef { id, key: ObjectKey::new([9; 32]), plain_len: 10 }
}

#[test]
fn what_is_true_is_restored() {
    let mut forge = Forge::new();
    let inner = forge.directory(&[entry("fifo", EntryKind::Fifo)]);
    let tree = forge.directory(&[directory("d", inner), symbolic("s", "/nowhere")]);
    let totals = Totals { directories: 1, others: 2, ..Totals::default() };
    let attempt = forge.restore(tree, totals);
    assert_eq!(attempt.lost(), []);
    assert_eq!(attempt.names(), ["d", "s"]);
    assert_eq!(attempt.outcome.expect("nothing is wrong").totals, totals);
}

#[test]
fn a_directory_that_contains_itself_many_times_ends_at_the_signed_totals() {
    let mut forge = Forge::new();
    let mut listing = forge.directory(&[]);
    for _ in 0..10 {
        let entries: Vec<_> =
            (0..1000).map(|i| directory(&format!("{i:04}"), listing.clone())).collect();
        listing = forge.directory(&entries);
    }
    let attempt = forge.restore(listing, Totals { directories: 50, ..Totals::default() });
    let outcome = &attempt.outcome;
    assert!(
        matches!(outcome, Err(RestoreError::AboveTotals { what: "directories", signed: 50 })),
        "{outcome:?}"
    );
    let mut made = 0;
    let mut unseen = vec![attempt.to.clone()];
    while let Some(dir) = unseen.pop() {
        let below = names(&dir);
        made += below.len();
        unseen.extend(below.iter().map(|name| dir.join(name)));
    }
    assert_eq!(made, 50);
    forge.has_fetched_below(200);
}

/// Index pages full of one reference, as deep as a list may be. Without entries in the leaf no
/// total is ever reached, and a walk would take 100^16 steps.
#[test]
fn index_pages_that_repeat_each_other_end() {
    let empty = page(0, &[]);
    let fifo = page(0, &[encode_entry(&entry("f", EntryKind::Fifo)).expect("valid")]);
    for leaf in [Some(empty), Some(fifo), None] {
        let mut forge = Forge::new();
        let mut below = match &leaf {
            Some(leaf) => forge.seal(Kind::Directory, leaf),
            None => nothing_at(NOBODY),
        };
        for level in 1..=MAX_DEPTH {
            below = forge.index(Kind::Directory, level, &vec![below; 100]);
        }
        let attempt = forge.restore(List { root: below, depth: MAX_DEPTH }, PLENTY);
        assert!(!attempt.lost().is_empty(), "{leaf:?}");
        assert!(attempt.lost().len() < 100 * 17);
        forge.has_fetched_below(500);
    }
}

#[test]
fn chunk_lists_that_repeat_each_other_end() {
    let gap = |offset, len| Stretch::Gap { offset, len };
    let many_gaps: Vec<_> = (0..1000).map(|i| gap(2 * i, 1)).collect();
    for leaf in [vec![], vec![gap(0, 1)], many_gaps] {
        let mut forge = Forge::new();
        let mut below = forge.chunk_list(&leaf);
        for level in 1..=MAX_DEPTH {
            below = forge.index(Kind::ChunkList, level, &vec![below; 100]);
        }
        let content = Content::Chunks { list: below, depth: MAX_DEPTH };
        let attempt = forge.restore_beside_good(&[file("bad", 1 << 40, content)]);
        attempt.assert_only_bad_lost(if leaf.is_empty() { "is empty" } else { "out of place" });
        forge.has_fetched_below(500);
    }
}

#[test]
fn more_bytes_than_signed_are_not_written() {
    let mut forge = Forge::new();
    let chunk = forge.seal(Kind::Chunk, &vec![0; 1 << 20]);
    let list = forge.chunk_list(&vec![Stretch::Data(chunk); 1000]);
    let size = 1000 << 20;
    let bomb = |i| file(&format!("{i}"), size, Content::Chunks { list: list.clone(), depth: 0 });
    let entries: Vec<_> = (0..9).map(bomb).collect();
    let tree = forge.directory(&entries);
    let totals = Totals { files: 9, bytes: size - 1, ..Totals::default() };
    let attempt = forge.restore(tree, totals);
    let outcome = &attempt.outcome;
    assert!(matches!(outcome, Err(RestoreError::AboveTotals { what: "bytes", .. })), "{outcome:?}");
    assert_eq!(attempt.names(), [""; 0], "refused before the first byte");
}

#[test]
fn sizes_beyond_any_sum_are_refused() {
    let mut forge = Forge::new();
    let hole = [Stretch::Hole(MAX_FILE)];
    let entries: Vec<_> =
        ["1", "2", "3"].iter().map(|name| forge.long_file(name, MAX_FILE, &hole)).collect();
    let tree = forge.directory(&entries);
    let attempt = forge.restore(tree, Totals { files: 3, bytes: u64::MAX, ..Totals::default() });
    let outcome = &attempt.outcome;
    assert!(matches!(outcome, Err(RestoreError::AboveTotals { what: "bytes", .. })), "{outcome:?}");
}

#[test]
fn totals_must_be_met_exactly() {
    let totals = Totals { files: 2, directories: 1, others: 1, bytes: 5, problems: 0 };
    let restored = |totals| {
        let mut forge = Forge::new();
        let inner = forge.directory(&[file("x", 5, Content::Inline(b"12345".to_vec()))]);
        let (empty, fifo) = (file("e", 0, Content::Empty), entry("f", EntryKind::Fifo));
        let tree = forge.directory(&[directory("d", inner), empty, fifo]);
        forge.restore(tree, totals).outcome
    };
    // What could not be read when the snapshot was made cannot be counted now.
    let outcome = restored(Totals { problems: 7, ..totals });
    assert!(outcome.is_ok(), "{outcome:?}");
    let fields: [fn(&mut Totals) -> &mut u64; 4] =
        [|t| &mut t.files, |t| &mut t.directories, |t| &mut t.others, |t| &mut t.bytes];
    for field in fields {
        let (mut high, mut low) = (totals, totals);
        *field(&mut high) += 1;
        *field(&mut low) -= 1;
        let outcome = restored(high);
        assert!(matches!(outcome, Err(RestoreError::OtherTotals { .. })), "{high:?}: {outcome:?}");
        let outcome = restored(low);
        assert!(matches!(outcome, Err(RestoreError::AboveTotals { .. })), "{low:?}: {outcome:?}");
    }
}

#[test]
fn the_set_must_be_what_was_visited() {
    let totals = Totals { others: 1, ..Totals::default() };
    let attempt = |change: &dyn Fn(&mut Forge)| {
        let mut forge = Forge::new();
        let tree = forge.directory(&[entry("f", EntryKind::Fifo)]);
        let root = forge.root(tree.clone());
        change(&mut forge);
        let set = forge.reference_set();
        let dir = temporary();
        let outcome =
            forge.restore_set(&root, set, totals, Options::default(), &dir.path().join("to"));
        (tree.root.id, root.id, outcome)
    };
    let (tree, root, outcome) = attempt(&|_| ());
    assert!(outcome.is_ok());
    for id in [tree, root] {
        let outcome = attempt(&|forge| assert!(forge.members.remove(&id).is_some())).2;
        let is_named = matches!(
            outcome, Err(RestoreError::OtherSet { what: "visited", id: found }) if found == id
        );
        assert!(is_named, "left out of the set: {outcome:?}");
    }
    for extra in [ObjectId([0; 32]), ObjectId([0xff; 32])] {
        let add = |forge: &mut Forge| assert!(forge.members.insert(extra, 100).is_none());
        let outcome = attempt(&add).2;
        let is_named = matches!(
            outcome, Err(RestoreError::OtherSet { what: "unvisited", id }) if id == extra
        );
        assert!(is_named, "in the set only: {outcome:?}");
    }
}

#[test]
fn a_reference_set_that_cannot_be_read_is_no_proof() {
    let mut forge = Forge::new();
    let tree = forge.directory(&[]);
    let root = forge.root(tree);
    let set = ReferenceSet { root: NOBODY, count: 2, bytes: 2 };
    let dir = temporary();
    let to = dir.path().join("to");
    let outcome = forge.restore_set(&root, set, Totals::default(), Options::default(), &to);
    let missing = ReferenceSetError::Missing(NOBODY);
    assert!(matches!(&outcome, Err(RestoreError::ReferenceSet(e)) if *e == missing), "{outcome:?}");
}

#[test]
fn a_missing_or_damaged_object_costs_the_files_that_need_it() {
    for damaged in [false, true] {
        let mut forge = Forge::new();
        let bundle = forge.seal(Kind::Bundle, b"one and two");
        let other = forge.seal(Kind::Bundle, b"another");
        let chunks = [0, 1].map(|i| forge.seal(Kind::Chunk, &vec![i; 5000]));
        let chunk_list = forge.chunk_list(&chunks.clone().map(Stretch::Data));
        let below = forge.directory(&[entry("f", EntryKind::Fifo)]);
        let span = |object: &ObjectRef, offset, len| Content::Bundle {
            object: object.clone(),
            offset,
            len,
        };
        let tree = forge.directory(&[
            directory("dir", below.clone()),
            file("kept", 7, span(&other, 0, 7)),
            file("long", 10_000, Content::Chunks { list: chunk_list, depth: 0 }),
            link("long too", &["long"]),
            file("one", 3, span(&bundle, 0, 3)),
            file("two", 3, span(&bundle, 8, 3)),
        ]);
        for id in [bundle.id, chunks[1].id, below.root.id] {
            if damaged {
                forge.objects.get_mut(&id).expect("sealed")[40] ^= 1;
            } else {
                forge.objects.remove(&id);
            }
        }
        let attempt = forge.restore(tree, PLENTY);
        let lost: Vec<_> = attempt.lost().into_iter().map(|(path, _)| path).collect();
        assert_eq!(lost, ["/dir", "/long", "/long too", "/one", "/two"]);
        assert_eq!(attempt.names(), ["dir", "kept"], "no half of the long file is left");
        let restored = attempt.outcome.expect("checked above");
        let is_told = |why: &EntryError| {
            if damaged {
                matches!(why, EntryError::Seal(SealError::WrongId(_)))
            } else {
                matches!(why, EntryError::Fetch(FetchError::Missing(_)))
            }
        };
        assert_eq!(restored.lost.iter().filter(|l| is_told(&l.why)).count(), 4);
    }
}

#[test]
fn objects_of_another_kind_class_or_key_do_not_open() {
    let mut forge = Forge::new();
    let empty = page(0, &[]);
    let zeros = vec![0; 600];
    let wrong_kind = forge.seal(Kind::Chunk, &zeros);
    let wrong_class = forge.seal_as(Kind::Bundle, CLASS + 1, &zeros);
    let right = forge.seal(Kind::Bundle, &zeros);
    let wrong_key = ObjectRef { key: ObjectKey::new([9; 32]), ..right.clone() };
    for object in [wrong_kind.clone(), wrong_class, wrong_key.clone()] {
        let content = Content::Bundle { object, offset: 0, len: 600 };
        let attempt = forge.restore_beside_good(&[file("bad", 600, content)]);
        attempt.assert_only_bad_lost("does not open under the key, kind and class");
    }
    // The same object was opened just before, under its own key.
    let content = |object| Content::Bundle { object, offset: 0, len: 600 };
    let attempt = forge.restore_beside_good(&[
        file("b", 600, content(right)),
        file("bad", 600, content(wrong_key)),
    ]);
    assert_eq!(attempt.names(), ["a good one", "b"]);
    for (kind, class) in [(Kind::Chunk, CLASS), (Kind::ChunkList, CLASS), (Kind::Directory, 9)] {
        let root = forge.seal_as(kind, class, &empty);
        let attempt = forge.restore_beside_good(&[directory("bad", List { root, depth: 0 })]);
        assert_eq!(attempt.lost().len(), 1);
        assert_eq!(attempt.lost()[0].0, "/bad");
        assert_eq!(names(&attempt.to.join("bad")), [""; 0]);
    }
}

#[test]
fn pages_at_another_level_are_refused() {
    let mut forge = Forge::new();
    let leaf = forge.directory(&[entry("f", EntryKind::Fifo)]).root;
    let index = forge.index(Kind::Directory, 1, std::slice::from_ref(&leaf));
    let skipping = forge.index(Kind::Directory, 2, std::slice::from_ref(&leaf));
    let no_pages = forge.seal(Kind::Directory, &page(1, &[]));
    let cases = [(leaf, 1), (index.clone(), 0), (index, 2), (skipping, 2), (no_pages, 1)];
    for (root, depth) in cases {
        let attempt = forge.restore_beside_good(&[directory("bad", List { root, depth })]);
        assert_eq!(attempt.lost().len(), 1, "depth {depth}");
        assert_eq!(attempt.lost()[0].0, "/bad");
        assert_eq!(names(&attempt.to.join("bad")), [""; 0]);
    }
    let chunk = forge.seal(Kind::Chunk, b"data");
    let list = forge.chunk_list(&[Stretch::Data(chunk)]);
    let attempt = forge.restore_beside_good(&[file("bad", 4, Content::Chunks { list, depth: 1 })]);
    attempt.assert_only_bad_lost("level of a page");
}

#[test]
fn names_that_lead_elsewhere_spoil_their_page() {
    let x = file("xx", 1, Content::Inline(b"!".to_vec()));
    for name in [&b".."[..], b"a/", b"/a", b"a\0"] {
        let mut forge = Forge::new();
        let record = patched(&x, b"xx", name);
        let root = forge.seal(Kind::Directory, &page(0, &[record]));
        let attempt = forge.restore(List { root, depth: 0 }, PLENTY);
        assert_eq!(attempt.lost().len(), 1);
        assert!(attempt.lost()[0].1.contains("entry name"), "{:?}", attempt.lost());
        assert_eq!(attempt.names(), [""; 0]);
        assert_eq!(names(attempt.to.parent().expect("in a directory")), ["to"]);
    }
}

#[test]
fn names_out_of_order_or_twice_spoil_their_page() {
    let dir = temporary();
    let elsewhere = dir.path().to_str().expect("UTF-8");
    let mut forge = Forge::new();
    let inner = forge.directory(&[file("stolen", 1, Content::Inline(b"!".to_vec()))]);
    let planted = [symbolic("a", elsewhere), directory("a", inner.clone())];
    let unsorted = [entry("b", EntryKind::Fifo), entry("a", EntryKind::Fifo)];
    for entries in [&planted, &unsorted] {
        let tree = forge.directory(entries);
        let attempt = forge.restore(tree, PLENTY);
        assert!(attempt.lost()[0].1.contains("order of names"), "{:?}", attempt.lost());
        assert_eq!(attempt.names(), [""; 0]);
    }
    assert_eq!(names(dir.path()), [""; 0]);
}

/// In two pages the order cannot be seen from one; and a resumed restore removes what is in its
/// way, so that the second of two equal names would replace the first.
#[test]
fn names_out_of_order_across_pages_are_refused_even_when_resuming() {
    let outside = temporary();
    let elsewhere = outside.path().to_str().expect("UTF-8");
    let mut forge = Forge::new();
    let inner = forge.directory(&[file("stolen", 1, Content::Inline(b"!".to_vec()))]);
    let first = forge.directory(&[symbolic("m", elsewhere)]).root;
    for again in ["m", "a"] {
        let second = forge.directory(&[directory(again, inner.clone())]).root;
        let third = forge.directory(&[entry("z", EntryKind::Fifo)]).root;
        let root = forge.index(Kind::Directory, 1, &[first.clone(), second, third]);
        let root = forge.root(List { root, depth: 1 });
        let set = forge.reference_set();
        let dir = temporary();
        let options = Options { resume: true, ..Options::default() };
        let restored = forge
            .restore_set(&root, set, PLENTY, options, dir.path())
            .expect("losing a page does not end a restore");
        assert_eq!(restored.lost.len(), 1);
        let why = restored.lost[0].why.to_string();
        assert!(why.contains("do not follow the page before"), "{why}");
        assert_eq!(names(dir.path()), ["m", "z"]);
        assert!(dir.path().join("m").is_symlink());
    }
    assert_eq!(names(outside.path()), [""; 0]);
}

#[test]
fn hard_links_do_not_leave_the_target() {
    let mut forge = Forge::new();
    for component in [&b".."[..], b"s/", b"\0s"] {
        let record = patched(&link("bad", &["xx", "s"]), b"xx", component);
        let root = forge.seal(Kind::Directory, &page(0, &[record]));
        let attempt = forge.restore(List { root, depth: 0 }, PLENTY);
        assert!(attempt.lost()[0].1.contains("hard link target"), "{:?}", attempt.lost());
        assert_eq!(attempt.names(), [""; 0]);
    }
    let outside = temporary();
    let secret = outside.path().join("secret");
    fs::write(&secret, "theirs").expect("written");
    let elsewhere = outside.path().to_str().expect("UTF-8");
    let tree = forge.directory(&[
        symbolic("a", elsewhere),
        symbolic("b", secret.to_str().expect("UTF-8")),
        link("c", &["a", "secret"]),
        link("d", &["b"]),
        link("e", &["later"]),
        link("f", &["f"]),
        file("later", 0, Content::Empty),
    ]);
    let attempt = forge.restore(tree, PLENTY);
    let lost: Vec<_> = attempt.lost().into_iter().map(|(path, _)| path).collect();
    assert_eq!(lost, ["/c", "/e", "/f"]);
    assert_eq!(attempt.names(), ["a", "b", "d", "later"]);
    assert!(attempt.to.join("d").is_symlink(), "the link itself has two names, not its target");
    assert_eq!(fs::metadata(&secret).expect("untouched").nlink(), 1);
}

#[test]
fn a_directory_gets_no_second_name() {
    let mut forge = Forge::new();
    let inner = forge.directory(&[]);
    let tree = forge.directory(&[directory("d", inner), link("e", &["d"])]);
    let attempt = forge.restore(tree, PLENTY);
    assert_eq!(attempt.lost().len(), 1);
    assert_eq!(attempt.names(), ["d"]);
}

#[test]
fn short_holes_out_of_place_cost_the_file() {
    let mut plain = vec![7; 9000];
    plain[4096..8192].fill(0);
    let gap = |offset, len| Stretch::Gap { offset, len };
    let cases: &[(&str, &[Stretch])] = &[
        ("sum above u32", &[gap(u32::MAX, u32::MAX)]),
        ("past any object", &[gap(0, MAX_PLAIN as u32 + 1)]),
        ("past the chunk", &[gap(8000, 1001)]),
        ("not zero there", &[gap(4095, 10)]),
        ("overlapping", &[gap(4096, 10), gap(4105, 10)]),
        ("touching", &[gap(4096, 10), gap(4106, 10)]),
        ("descending", &[gap(5000, 10), gap(4096, 10)]),
        ("twice", &[gap(4096, 10), gap(4096, 10)]),
    ];
    for (case, gaps) in cases {
        let mut forge = Forge::new();
        let chunk = forge.seal(Kind::Chunk, &plain);
        let data = Stretch::Data(chunk);
        let stretches: Vec<_> = gaps.iter().cloned().chain([data.clone()]).collect();
        let bad = forge.long_file("bad", 9000, &stretches);
        let attempt = forge.restore_beside_good(&[bad]);
        let lost = attempt.lost();
        assert_eq!(lost.len(), 1, "{case}: {lost:?}");
        assert_eq!(attempt.names(), ["a good one"], "{case}");
        // Without the chunk that it would be in.
        let bad = forge.long_file("bad", 9000, &[data, gap(4096, 10)]);
        forge.restore_beside_good(&[bad]).assert_only_bad_lost("shorter than the file");
    }
    let mut forge = Forge::new();
    let chunk = forge.seal(Kind::Chunk, &plain);
    let right = forge.long_file("right", 9000, &[gap(4096, 4096), Stretch::Data(chunk)]);
    let attempt = forge.restore_beside_good(&[right]);
    assert_eq!(fs::read(attempt.to.join("right")).expect("restored"), plain);
}

#[test]
fn stretches_of_another_length_cost_the_file() {
    let mut forge = Forge::new();
    let chunk = forge.seal(Kind::Chunk, &[7; 100]);
    let data = || Stretch::Data(chunk.clone());
    let cases: &[(u64, &[Stretch], &str)] = &[
        (99, &[data()], "longer than the file"),
        (150, &[data(), data()], "longer than the file"),
        (101, &[data()], "shorter than the file"),
        (150, &[data(), Stretch::Hole(51)], "longer than the file"),
        (150, &[data(), Stretch::Hole(MAX_FILE)], "longer than the file"),
        (150, &[data(), Stretch::Hole(49)], "shorter than the file"),
        (150, &[data(), Stretch::Hole(0)], "length of a stretch"),
        (150, &[data(), Stretch::Hole(u64::MAX)], "length of a stretch"),
        (150, &[Stretch::Gap { offset: 5, len: 0 }, data()], "length of a stretch"),
        (150, &[], "is empty"),
    ];
    for (size, stretches, why) in cases {
        let bad = forge.long_file("bad", *size, stretches);
        forge.restore_beside_good(&[bad]).assert_only_bad_lost(why);
    }
}

#[test]
fn lengths_that_contradict_their_object_cost_the_file() {
    let mut forge = Forge::new();
    let object = forge.seal(Kind::Bundle, b"twelve bytes");
    let longer = ObjectRef { plain_len: 13, ..object.clone() };
    let content = Content::Bundle { object: longer, offset: 8, len: 5 };
    let attempt = forge.restore_beside_good(&[file("bad", 5, content)]);
    attempt.assert_only_bad_lost("its length differs from the recorded length");
    // A frame that grows to four mebibytes, said to be of a hundred bytes.
    let bomb = forge.seal(Kind::Bundle, &vec![0; 4 << 20]);
    assert!(forge.objects[&bomb.id].len() < 4096, "it is packed");
    let bomb = ObjectRef { plain_len: 100, ..bomb };
    let content = Content::Bundle { object: bomb, offset: 0, len: 100 };
    let attempt = forge.restore_beside_good(&[file("bad", 100, content)]);
    attempt.assert_only_bad_lost("does not decompress to the recorded length");
}

#[test]
fn entries_that_contradict_themselves_spoil_their_page() {
    let mut forge = Forge::new();
    let object = forge.seal(Kind::Bundle, b"twelve bytes");
    let inline = file("x", 5, Content::Inline(b"12345".to_vec()));
    let span = file("x", 5, Content::Bundle { object, offset: 0x7, len: 5 });
    let long = forge.long_file("x", 0x1122_3344, &[Stretch::Hole(0x1122_3344)]);
    let size = |n: u64| n.to_le_bytes();
    let records = [
        patched(&inline, &size(5), &size(6)),
        patched(&inline, &size(5), &size(0)),
        patched(&span, &size(5), &size(6)),
        patched(&span, &7u32.to_le_bytes(), &8u32.to_le_bytes()),
        patched(&span, &7u32.to_le_bytes(), &u32::MAX.to_le_bytes()),
        patched(&long, &size(0x1122_3344), &size(MAX_FILE + 1)),
        patched(&long, &size(0x1122_3344), &size(0)),
    ];
    for record in records {
        let root = forge.seal(Kind::Directory, &page(0, &[record]));
        let attempt = forge.restore(List { root, depth: 0 }, PLENTY);
        assert!(attempt.lost()[0].1.contains("content for the file"), "{:?}", attempt.lost());
        assert_eq!(attempt.names(), [""; 0]);
    }
}

#[test]
fn a_root_that_cannot_be_read_restores_nothing() {
    let mut forge = Forge::new();
    let tree = forge.directory(&[entry("f", EntryKind::Fifo)]);
    let newer = forge.root_with(tree.clone(), CHUNKER_ID + 1);
    let chunk = forge.seal(Kind::Chunk, b"not a root");
    let garbage = forge.seal(Kind::Root, b"not a root");
    let other_class = forge.seal_as(Kind::Root, CLASS + 1, b"not a root");
    let deep = forge.root(List { depth: MAX_DEPTH + 1, ..tree.clone() });
    let cases = [
        (newer, "use a newer seawall"),
        (chunk, "does not open"),
        (garbage, "version of a root page"),
        (other_class, "does not open"),
        (deep, "depth of a tree"),
        (nothing_at(NOBODY), "is missing"),
    ];
    let set = forge.reference_set();
    for (root, why) in cases {
        let dir = temporary();
        let outcome = forge.restore_set(&root, set, PLENTY, Options::default(), dir.path());
        let is_told = matches!(&outcome, Err(RestoreError::Root(e)) if e.to_string().contains(why));
        assert!(is_told, "{why}: {outcome:?}");
        assert_eq!(names(dir.path()), [""; 0]);
    }
}

/// A lost file whose name somebody else took meanwhile is not removed.
#[test]
fn only_what_was_created_is_discarded() {
    let dir = temporary();
    let mut target = Target::create(dir.path(), Options::default()).expect("empty");
    let gone = target.file(b"gone", 10).expect("created");
    let taken = target.file(b"taken", 10).expect("created");
    let linked = target.file(b"linked", 10).expect("created");
    let half = target.file(b"half", 10).expect("created");
    half.write_at(0, b"part").expect("written");
    fs::remove_file(dir.path().join("gone")).expect("removed");
    fs::remove_file(dir.path().join("taken")).expect("removed");
    fs::write(dir.path().join("taken"), "theirs").expect("written");
    fs::remove_file(dir.path().join("linked")).expect("removed");
    symlink("taken", dir.path().join("linked")).expect("linked");
    for writer in [gone, taken, linked, half] {
        target.discard(&writer).expect("none of this is an error");
    }
    assert_eq!(names(dir.path()), ["linked", "taken"]);
    assert_eq!(fs::read(dir.path().join("taken")).expect("read"), b"theirs");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Pages with single bytes changed, sealed as if they were right.
    #[test]
    fn changed_pages_never_lead_outside(
        which in 0usize..3, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)
    ) {
        let mut forge = Forge::new();
        let change = |kept: usize, mut bytes: Vec<u8>| {
            if kept == which {
                for (at, to) in &changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *to;
                }
            }
            bytes
        };
        let chunk = forge.seal(Kind::Chunk, &vec![0; 5000]);
        let stretches = [Stretch::Gap { offset: 0, len: 4096 }, Stretch::Data(chunk), Stretch::Hole(9)];
        let list = change(0, page(0, &stretches.map(|s| s.encode())));
        let list = forge.seal(Kind::ChunkList, &list);
        let records = |entries: &[Entry]| -> Vec<_> {
            entries.iter().map(|e| encode_entry(e).expect("valid")).collect()
        };
        let inner = [
            file("a", 5, Content::Inline(b"12345".to_vec())),
            file("b", 5009, Content::Chunks { list, depth: 0 }),
            link("c", &["d", "a"]),
        ];
        let inner = change(1, page(0, &records(&inner)));
        let listing = List { root: forge.seal(Kind::Directory, &inner), depth: 0 };
        let outer = change(2, page(0, &records(&[directory("d", listing), symbolic("e", "/tmp")])));
        let tree = List { root: forge.seal(Kind::Directory, &outer), depth: 0 };
        let totals = Totals { files: 2, directories: 1, others: 2, bytes: 5014, problems: 0 };
        let attempt = forge.restore(tree, totals);
        let beside = names(attempt.to.parent().expect("in a directory"));
        prop_assert_eq!(beside, ["to"]);
    }
}
