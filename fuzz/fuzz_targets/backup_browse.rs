//! Snapshots that nobody honest writes, looked into in every way there is. The input is a script
//! that seals pages and lets them refer to one another, since no mutation guesses a digest.
//! Whatever it builds, everything ends, and nothing panics.

#![no_main]

use std::collections::BTreeMap;
use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use seawall_backup::browse::{OpenFile, Selection, Step, View, Walk};
use seawall_backup::chunker::CHUNKER_ID;
use seawall_backup::diff::diff;
use seawall_backup::entry::{Content, Entry, EntryKind, List, Meta};
use seawall_backup::export::tar;
use seawall_backup::pages::{RootPage, Stretch, encode_entry};
use seawall_backup::restore::{FetchError, Objects};
use seawall_base::wire::Writer;
use seawall_base::{FleetId, GroupId, NodeId, ObjectId, Timestamp};
use seawall_record::reference_set::{self, Member};
use seawall_record::{ManifestCore, ReferenceSet, Totals};
use seawall_seal::{Domain, DomainScope, Kind, ObjectRef, Placement, seal};
use seawall_sim::SeededRng;

/// Few enough that the longest walk is short.
const SIGNED: Totals =
    Totals { files: 60, directories: 60, others: 60, bytes: 20_000, problems: 0 };

struct Shelf(BTreeMap<ObjectId, Vec<u8>>);

impl Objects for Shelf {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        for id in ids {
            give(*id, self.0.get(id).cloned().ok_or(FetchError::Missing(*id)));
        }
    }
}

/// Reads the script and seals what it says.
struct Forge<'a> {
    script: &'a [u8],
    shelf: Shelf,
    members: BTreeMap<ObjectId, u32>,
    made: Vec<ObjectRef>,
}

impl Forge<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.script.split_first() else { return 0 };
        self.script = rest;
        *first
    }

    fn pick(&mut self) -> ObjectRef {
        let at = usize::from(self.byte()) % self.made.len();
        self.made[at].clone()
    }

    fn seal(&mut self, kind: Kind, plain: &[u8]) {
        let domain = Domain::derive(&[1; 32], DomainScope::Tenant);
        let sealed = seal(&domain, Placement { kind, class: 1 }, plain, &mut SeededRng::new(1))
            .expect("short enough");
        self.members.insert(sealed.object_ref.id, sealed.bytes.len() as u32);
        self.shelf.0.insert(sealed.object_ref.id, sealed.bytes.to_vec());
        self.made.push(sealed.object_ref);
    }

    fn page(&mut self, kind: Kind, level: u8, records: &[Vec<u8>]) {
        let mut w = Writer::new();
        w.u8(1).u8(level).u32(records.len() as u32).raw(&records.concat());
        self.seal(kind, w.as_slice());
    }

    fn step(&mut self) {
        let (what, count) = (self.byte(), self.byte() % 12);
        match what % 6 {
            0 => {
                let fill = self.byte();
                self.seal(Kind::Chunk, &vec![fill & 1; usize::from(count) * 9]);
            }
            1 => self.seal(Kind::Bundle, &vec![2; usize::from(count) * 60]),
            2 => {
                let kind = if what & 8 == 0 { Kind::Directory } else { Kind::ChunkList };
                let level = self.byte() % 4;
                let record = |forge: &mut Self| {
                    let mut w = Writer::new();
                    forge.pick().encode(&mut w);
                    w.into_vec()
                };
                let records: Vec<_> = (0..count).map(|_| record(self)).collect();
                self.page(kind, level, &records);
            }
            3 => {
                let records: Vec<_> = (0..count).map(|_| self.stretch().encode()).collect();
                self.page(Kind::ChunkList, 0, &records);
            }
            4 => {
                let entries: Vec<_> = (0..count).map(|_| self.entry()).collect();
                let records = entries.iter().filter_map(|e| encode_entry(e).ok());
                let records: Vec<_> = records.collect();
                self.page(Kind::Directory, 0, &records);
            }
            _ => {
                let cut = usize::from(count).min(self.script.len());
                let (raw, rest) = self.script.split_at(cut);
                self.script = rest;
                self.seal(Kind::Directory, raw);
            }
        }
    }

    fn stretch(&mut self) -> Stretch {
        match self.byte() % 3 {
            0 => Stretch::Data(self.pick()),
            1 => Stretch::Hole(u64::from(self.byte())),
            _ => Stretch::Gap { offset: u32::from(self.byte()), len: u32::from(self.byte()) },
        }
    }

    fn entry(&mut self) -> Entry {
        let name = vec![b'a' + self.byte() % 26];
        let (form, size) = (self.byte(), u32::from(self.byte()));
        let kind = match form % 6 {
            0 => EntryKind::Directory { listing: self.list() },
            1 => {
                let List { root: list, depth } = self.list();
                let size = u64::from(size) * u64::from(form);
                EntryKind::File { size, content: Content::Chunks { list, depth } }
            }
            2 => {
                let content = Content::Bundle { object: self.pick(), offset: 3, len: size };
                EntryKind::File { size: size.into(), content }
            }
            3 => {
                let names = (0..1 + size % 3).map(|_| vec![b'a' + self.byte() % 26]).collect();
                EntryKind::HardLink { target: names }
            }
            4 => EntryKind::Symlink { target: b"x".to_vec() },
            _ => EntryKind::CharDevice { major: size, minor: 1 << 30 },
        };
        let meta = Meta { mtime_sec: i64::from(form) - 100, ..Meta::default() };
        Entry { name, meta, kind }
    }

    fn list(&mut self) -> List {
        List { depth: self.byte() % 4, root: self.pick() }
    }
}

fn manifest(reference_set: ReferenceSet) -> ManifestCore {
    ManifestCore {
        fleet: FleetId([1; 32]),
        node: NodeId([2; 32]),
        origin: "example.org/log".to_owned(),
        sequence: 1,
        previous: None,
        created: Timestamp(1_700_000_000),
        class: 1,
        group: GroupId([3; 32]),
        reference_set,
        totals: SIGNED,
        set: None,
        tags: Vec::new(),
    }
}

fn look(view: &View) {
    let all = Selection::all();
    let mut walk = Walk::new(view, &all);
    while let Ok(Some(step)) = walk.next() {
        let Step::Leaf(it) = step else { continue };
        let path: Vec<_> = it.path.split(|&b| b == b'/').collect();
        let _ = view.lookup(&path);
        let Some(file) = OpenFile::new(&it.entry) else { continue };
        for at in [0, 1, file.size() / 2, file.size().saturating_sub(1), file.size() + 1] {
            if let Ok(bytes) = view.read(&file, at, 300) {
                assert_eq!(bytes.len() as u64, file.size().saturating_sub(at).min(300));
            }
            if let Ok(Some(data)) = view.next_data(&file, at) {
                assert!((at..file.size()).contains(&data));
            }
            if let Ok(hole) = view.next_hole(&file, at) {
                assert!(hole >= at);
            }
        }
    }
    let _ = view.names(&mut |_| ());
    let some = Selection::new(&[b"b".to_vec()], &["**/c".to_owned()]).expect("a selection");
    let _ = tar(view, &some, &mut std::io::sink(), &mut |_, _| ());
}

fuzz_target!(|data: &[u8]| {
    let (shelf, members) = (Shelf(BTreeMap::new()), BTreeMap::new());
    let mut forge = Forge { script: data, shelf, members, made: Vec::new() };
    forge.seal(Kind::Chunk, b"something to refer to");
    let mut views = Vec::new();
    let mut roots = Vec::new();
    for _ in 0..2 {
        for _ in 0..20 {
            forge.step();
        }
        let tree = List { depth: forge.byte() % 3, root: forge.made[forge.made.len() - 1].clone() };
        let root = RootPage {
            chunker: CHUNKER_ID,
            tree,
            host: Vec::new(),
            sources: Vec::new(),
            path_index: None,
        };
        forge.seal(Kind::Root, &root.encode());
        roots.extend(forge.made.last().cloned());
    }
    let members: Vec<_> = forge.members.iter().map(|(&id, &len)| Member { id, len }).collect();
    let objects = &mut forge.shelf.0;
    let set = reference_set::build(&members, &mut |id, page| {
        objects.insert(id, page);
    });
    let shelf = Arc::new(forge.shelf);
    for root in &roots {
        views.extend(View::open(shelf.clone(), root, &manifest(set)));
    }
    views.iter().for_each(look);
    if let [a, b] = &views[..] {
        let _ = diff(a, b, &mut |_| ());
    }
});
