//! A file cache in which anything stands: the input edits the frames of a real one, and says
//! whether the run that left them came to its end. What is wrong with a cache costs time: the
//! snapshots after it end, and nothing panics.

#![no_main]

use std::io;
use std::sync::{Arc, OnceLock};

use libfuzzer_sys::fuzz_target;
use seawall_backup::entry::Meta;
use seawall_backup::snapshot::{Checkpoints, FileCache, Plan, Snapshot, SnapshotError, write};
use seawall_backup::source::filter::Exclusions;
use seawall_backup::source::{
    Bucket, BucketObject, BucketPage, BucketTree, Content, Extent, FoundObject, Reason,
};
use seawall_base::{Disk, Seconds, Timestamp};
use seawall_seal::{Domain, DomainScope};
use seawall_sim::{PowerCut, SeededRng, SimClock, SimDisk};
use seawall_store::{Options, Store};

const NOW: Timestamp = Timestamp(1_700_000_000);
const STEM: &str = "cache/files";

/// A file of each form: inline, in a bundle, in chunks of its own. In a listing's order.
const FILES: [(&str, usize); 8] = [
    ("a/b/other", 5_000),
    ("a/b/tiny", 1),
    ("a/empty", 0),
    ("a/inline", 40),
    ("a/small", 3_000),
    ("c/long", 300_000),
    ("c/small", 9_000),
    ("z", 600),
];

#[derive(Debug)]
struct Few;

struct Text(Vec<u8>);

impl Content for Text {
    fn size(&self) -> Option<u64> {
        Some(self.0.len() as u64)
    }
    fn data_after(&mut self, offset: u64) -> io::Result<Option<Extent>> {
        let len = self.0.len() as u64;
        Ok((offset < len).then(|| Extent { offset, len: len - offset }))
    }
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let rest = &self.0[offset as usize..];
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }
    fn changed(&mut self) -> io::Result<bool> {
        Ok(false)
    }
}

impl Bucket for Few {
    fn page(&self, _token: Option<&[u8]>) -> io::Result<BucketPage> {
        let object = |&(key, size): &(&str, usize)| BucketObject {
            key: key.as_bytes().to_vec(),
            size: size as u64,
            etag: b"tag".to_vec(),
            modified: (1_000, 0),
        };
        Ok(BucketPage { objects: FILES.iter().map(object).collect(), next: None })
    }

    fn open(&self, key: &[u8]) -> Result<FoundObject, Reason> {
        let (_, size) = FILES.iter().find(|(k, _)| k.as_bytes() == key).ok_or(Reason::Vanished)?;
        // Not all alike, and not all of one piece.
        let text = (0..*size).map(|i| (i * i % 251) as u8 ^ key[0] ^ (i >> 10) as u8).collect();
        Ok(FoundObject {
            etag: b"tag".to_vec(),
            modified: (1_000, 0),
            attributes: Vec::new(),
            content: Box::new(Text(text)),
        })
    }
}

fn snapshot(disk: &SimDisk) -> Result<Snapshot, SnapshotError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, _) = Store::open(shared.clone(), "", Options::default())?;
    let mut rng = SeededRng::new(3);
    let cache = FileCache::open(shared, STEM, NOW, &mut rng).expect("a healthy disk");
    let clock = SimClock::new(NOW);
    let plan = Plan {
        sources: vec![b"/in".to_vec()],
        host: b"edge".to_vec(),
        class: 1,
        domain: &Domain::derive(&[1; 32], DomainScope::Tenant),
        index_domain: Some(&Domain::derive(&[1; 32], DomainScope::PathIndex)),
        store: &store,
        workers: 1,
        checkpoints: Checkpoints { bytes: u64::MAX, every: Seconds(u64::MAX), clock: &clock },
    };
    let names = [b"in".to_vec()];
    let tree = BucketTree::new(Arc::new(Few), &names, Meta::default(), &Exclusions::default())
        .expect("the page is there");
    write(&plan, Box::new(tree), Some(cache), &mut rng, &mut |_| ())
}

/// A disk after the first run, and what the frames of its cache are.
fn after_one_run() -> &'static (SimDisk, Vec<(u8, Vec<u8>)>) {
    static ONCE: OnceLock<(SimDisk, Vec<(u8, Vec<u8>)>)> = OnceLock::new();
    ONCE.get_or_init(|| {
        let disk = SimDisk::new();
        snapshot(&disk).expect("nothing fails");
        let again = snapshot(&disk).expect("nothing fails").progress;
        assert_eq!((again.files, again.unchanged), (0, FILES.len() as u64));
        let mut frames = FileCache::frames(&disk, STEM).expect("a whole cache");
        assert!(frames.len() >= 4 && frames.last().is_some_and(|(kind, _)| *kind == 3));
        frames.pop();
        for path in disk.paths().iter().filter(|path| path.starts_with(STEM)) {
            disk.remove(path).expect("a healthy disk");
        }
        (disk, frames)
    })
}

/// Edits frames as the script says; the rest of it becomes the last frame.
fn edited(frames: &[(u8, Vec<u8>)], mut script: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = frames.to_vec();
    while let Some(([what, which, high, low, value], rest)) = script.split_first_chunk::<5>() {
        script = rest;
        let at = usize::from(*which) % frames.len();
        let frame = &mut frames[at];
        let offset = usize::from(u16::from_be_bytes([*high, *low])) % (frame.1.len() + 1);
        match what % 8 {
            0 | 1 => frame.1.iter_mut().skip(offset).take(1).for_each(|byte| *byte ^= value),
            2 => frame.1.insert(offset, *value),
            3 => drop(frame.1.drain(offset..(offset + usize::from(*value)).min(frame.1.len()))),
            4 => {
                let n = usize::from(*value).min(script.len());
                let (bytes, rest) = script.split_at(n);
                script = rest;
                let end = (offset + n).min(frame.1.len());
                frame.1[offset..end].copy_from_slice(&bytes[..end - offset]);
            }
            5 => frame.0 = 1 + value % 3,
            6 => {
                let copy = frame.clone();
                frames.push(copy);
            }
            _ => {
                frames.push((1 + value % 3, script.to_vec()));
                break;
            }
        }
    }
    frames
}

fuzz_target!(|data: &[u8]| {
    let Some((how, script)) = data.split_first() else { return };
    let (disk, frames) = after_one_run();
    let disk = disk.power_cut(PowerCut::KeepUnsynced);
    let frames = edited(frames, script);
    FileCache::forge(&disk, STEM, &frames, how & 1 == 0).expect("a healthy disk");
    // What stands in an entry is believed, so it may be nonsense; whoever restores finds out.
    let _ = snapshot(&disk);
    let _ = snapshot(&disk);
});
