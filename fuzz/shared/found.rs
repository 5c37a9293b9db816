//! A small find cache, made as the program makes one.

use std::collections::HashMap;

use seawall_backup::find::{Cache, LineId, Owner, SnapshotFacts, Source};
use seawall_backup::path_index::{Listing, PathEntry, PathIndexRoot, PathIndexWriter, PathKind};
use seawall_backup::restore::{FetchError, Objects};
use seawall_base::{FleetId, NodeId, ObjectId, Sha256, Timestamp};
use seawall_record::Totals;
use seawall_seal::{Domain, DomainScope, Kind, Placement, SealError, seal};
use seawall_sim::{SeededRng, SimDisk};

pub const KEY: [u8; 32] = [9; 32];
pub const OWNER: Owner = Owner { fleet: FleetId([1; 32]), operator: [2; 32] };

struct Shelf(HashMap<ObjectId, Vec<u8>>);

impl Objects for Shelf {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        for &id in ids {
            give(id, self.0.get(&id).cloned().ok_or(FetchError::Missing(id)));
        }
    }
}

/// Two snapshots of a few files, in a cache on a fresh disk.
pub fn disk() -> SimDisk {
    let (disk, mut shelf, mut rng) = (SimDisk::new(), Shelf(HashMap::new()), SeededRng::new(5));
    let domain = Domain::derive(&[7; 32], DomainScope::PathIndex);
    let mut cache = Cache::open(&disk, "find", &KEY, OWNER).expect("an empty one");
    for n in 0..2 {
        let root = index(&mut shelf, &domain, 4 + n);
        let source = Source {
            line: LineId {
                origin: "a log".to_owned(),
                node: NodeId([1; 32]),
                node_name: "node-1".to_owned(),
                line: [4; 32],
            },
            facts: SnapshotFacts {
                digest: Sha256::of(&[n]),
                sequence: u64::from(n) + 1,
                created: Timestamp(1_000 * u64::from(n)),
            },
            class: 1,
            totals: Totals { files: 100, ..Totals::default() },
            root,
            objects: &shelf,
        };
        cache.ingest(&source, &mut rng).expect("taken in");
    }
    drop(cache);
    disk
}

fn index(shelf: &mut Shelf, domain: &Domain, files: u8) -> PathIndexRoot {
    let writer = PathIndexWriter::new(domain);
    let mut put = |page: &[u8]| {
        let placement = Placement { kind: Kind::PathIndex, class: 1 };
        let sealed = seal(domain, placement, page, &mut SeededRng::new(1))?;
        shelf.0.insert(sealed.object_ref.id, sealed.bytes.into_bytes());
        Ok::<_, SealError>(sealed.object_ref)
    };
    let entry = |name: String, listing: Option<Listing>| {
        let is_dir = Option::is_some(&listing);
        let kind = if is_dir { PathKind::Directory } else { PathKind::File };
        PathEntry { name: name.into_bytes(), kind, size: 0, mtime: 5, listing }
    };
    let names = (0..files).map(|n| entry(format!("file-{n}.txt"), None)).collect::<Vec<_>>();
    let sub = writer.directory(&names, &mut put).expect("sealed");
    let mut top = names;
    top.push(entry("sub".to_owned(), Some(sub)));
    let listing = writer.directory(&top, &mut put).expect("sealed");
    let tree = writer.root(listing, &mut put).expect("sealed");
    PathIndexRoot { line: [4; 32], tree }
}
