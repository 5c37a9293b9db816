//! The thread that walks and reads, and owns what is known of the tree so far.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::thread::Scope;

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use seawall_record::Totals;
use seawall_record::reference_set::Member;
use seawall_seal::{Kind, ObjectRef};
use zeroize::Zeroizing;

use super::long_file::{Piece, Pieces};
use super::sealer::{SealedPiece, Sealer};
use super::{Progress, SnapshotError};
use crate::chunker::{Chunker, MIN};
use crate::entry::{Content, Entry, EntryKind, List, MAX_INLINE, Meta};
use crate::pages::{ListWriter, Stretch, encode_entry};
use crate::source::{Event, FileReader, Inode, Leaf, Problem, Reason, Source};

/// Files up to this size share bundles; longer ones are cut into chunks of their own.
const SMALL_FILE: u64 = MIN as u64;
/// A bundle is closed by content from this size on, and at [`BUNDLE_MAX`] in any case.
const BUNDLE_MIN: usize = 128 << 10;
const BUNDLE_MAX: usize = 1 << 20;

type DirId = u64;
type FileId = u64;
type BundleId = u64;

/// Which piece a sealed object is.
#[derive(Debug, Clone, Copy)]
enum Ticket {
    Bundle(BundleId),
    Chunk(FileId, u64),
}

struct Job {
    ticket: Ticket,
    kind: Kind,
    plain: Zeroizing<Vec<u8>>,
}

type Done = (Ticket, Result<SealedPiece, SnapshotError>);

/// A directory that is not sealed yet.
struct Dir {
    /// Parent and position in it; none for the root.
    parent: Option<(DirId, usize)>,
    name: Vec<u8>,
    meta: Meta,
    /// Entries in order of name; none while content is being sealed, or if it could not be read.
    entries: Vec<Option<Entry>>,
    waiting: usize,
    left: bool,
}

/// A position in a directory that waits for its content.
struct Slot {
    dir: DirId,
    at: usize,
    name: Vec<u8>,
    meta: Meta,
    size: u64,
}

/// A file whose chunks are being sealed.
struct LongFile {
    slot: Slot,
    list: ListWriter,
    /// Stretches not pushed yet; the chunk of a group is none until it is sealed.
    pending: VecDeque<(Vec<Stretch>, Option<SealedPiece>)>,
    /// Number of the first pending group.
    first: u64,
    members: Vec<Member>,
    complete: bool,
}

#[derive(Default)]
struct OpenBundle {
    plain: Zeroizing<Vec<u8>>,
    spans: Vec<(Slot, u32, u32)>,
}

/// What a finished walk leaves behind.
pub(super) struct Written {
    pub(super) members: Vec<Member>,
    pub(super) totals: Totals,
    pub(super) problems: Vec<Problem>,
    pub(super) files: u64,
}

pub(super) struct TreeWriter<'a> {
    sealer: &'a Sealer<'a>,
    jobs: Sender<Job>,
    done: Receiver<Done>,
    in_flight: usize,
    source: Source,
    chunker: Chunker,
    secret: Zeroizing<[u8; 32]>,
    dirs: HashMap<DirId, Dir>,
    stack: Vec<DirId>,
    long_files: HashMap<FileId, LongFile>,
    open_bundles: BTreeMap<u32, OpenBundle>,
    closed_bundles: HashMap<BundleId, Vec<(Slot, u32, u32)>>,
    next_id: u64,
    tree: Option<List>,
    members: Vec<Member>,
    totals: Totals,
    files_read: u64,
}

impl<'a> TreeWriter<'a> {
    pub(super) fn start<'scope>(
        scope: &'scope Scope<'scope, '_>,
        sealer: &'a Sealer<'a>,
        workers: usize,
        secret: &[u8; 32],
        source: Source,
    ) -> Self
    where
        'a: 'scope,
    {
        let (jobs, queue) = bounded::<Job>(2 * workers);
        // Unbounded, so that workers never wait for the walk while the walk waits for them. It
        // holds references only, and no more than there are jobs in flight.
        let (report, done) = unbounded();
        for _ in 0..workers {
            let (queue, report) = (queue.clone(), report.clone());
            scope.spawn(move || {
                for Job { ticket, kind, plain } in queue {
                    if report.send((ticket, sealer.seal(kind, &plain))).is_err() {
                        break;
                    }
                }
            });
        }
        Self {
            sealer,
            jobs,
            done,
            in_flight: 0,
            source,
            chunker: Chunker::new(secret),
            secret: Zeroizing::new(*secret),
            dirs: HashMap::new(),
            stack: Vec::new(),
            long_files: HashMap::new(),
            open_bundles: BTreeMap::new(),
            closed_bundles: HashMap::new(),
            next_id: 0,
            tree: None,
            members: Vec::new(),
            totals: Totals::default(),
            files_read: 0,
        }
    }

    pub(super) fn run(
        &mut self,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<List, SnapshotError> {
        while let Some(event) = self.source.next() {
            match event {
                Event::Enter { name, meta } => self.enter(name, meta),
                Event::Leaf { name, meta, inode, leaf } => {
                    self.leaf(name, meta, inode, leaf, progress)?;
                }
                Event::Leave => self.leave()?,
            }
            self.take_done(false)?;
            progress(&self.sealer.progress(self.files_read, self.totals.bytes));
        }
        while let Some((_, bundle)) = self.open_bundles.pop_first() {
            self.close_bundle(bundle)?;
        }
        while self.in_flight > 0 {
            self.take_done(true)?;
            progress(&self.sealer.progress(self.files_read, self.totals.bytes));
        }
        Ok(self.tree.take().expect("a walk leaves its root last, when nothing waits any more"))
    }

    pub(super) fn finish(self) -> Written {
        Written {
            members: self.members,
            totals: self.totals,
            problems: self.source.into_problems(),
            files: self.files_read,
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn here(&mut self) -> (DirId, &mut Dir) {
        let id = *self.stack.last().expect("leaves and directories come inside the root");
        (id, self.dirs.get_mut(&id).expect("a directory stays until it was left"))
    }

    fn enter(&mut self, name: Vec<u8>, meta: Meta) {
        let parent = (!self.stack.is_empty()).then(|| {
            self.totals.directories += 1;
            let (id, dir) = self.here();
            dir.waiting += 1;
            dir.entries.push(None);
            (id, dir.entries.len() - 1)
        });
        let id = self.fresh_id();
        let dir = Dir { parent, name, meta, entries: Vec::new(), waiting: 0, left: false };
        self.dirs.insert(id, dir);
        self.stack.push(id);
    }

    fn leave(&mut self) -> Result<(), SnapshotError> {
        let id = self.stack.pop().expect("a walk leaves what it entered");
        let dir = self.dirs.get_mut(&id).expect("it stays until it was left");
        dir.left = true;
        if dir.waiting == 0 { self.seal_directory(id) } else { Ok(()) }
    }

    fn leaf(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        inode: Inode,
        leaf: Leaf,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), SnapshotError> {
        let kind = match leaf {
            Leaf::File(reader) => return self.file(name, meta, inode, reader, progress),
            Leaf::Symlink(target) => EntryKind::Symlink { target },
            Leaf::Fifo => EntryKind::Fifo,
            Leaf::CharDevice { major, minor } => EntryKind::CharDevice { major, minor },
            Leaf::BlockDevice { major, minor } => EntryKind::BlockDevice { major, minor },
            Leaf::HardLink(target) => EntryKind::HardLink { target },
        };
        self.totals.others += 1;
        self.here().1.entries.push(Some(Entry { name, meta, kind }));
        Ok(())
    }

    fn file(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        inode: Inode,
        reader: FileReader,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), SnapshotError> {
        let size = reader.size();
        let path = self.source.path_of(&name);
        let read = match is_small(&reader) {
            Ok(true) => self.small_file(name, meta, &reader),
            Ok(false) => self.long_file(name, meta, reader, progress),
            Err(e) => Ok(Err(e)),
        }?;
        match read {
            Ok(changed) => {
                self.totals.files += 1;
                self.totals.bytes += size;
                self.files_read += 1;
                if changed {
                    self.source.report(path, Reason::ChangedWhileRead);
                }
            }
            Err(e) => {
                self.source.not_kept(inode);
                self.source.report(path, Reason::Unreadable(e));
            }
        }
        Ok(())
    }

    /// Reads a file whole. The outer error ends the snapshot, the inner one only this file.
    fn small_file(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        reader: &FileReader,
    ) -> Result<std::io::Result<bool>, SnapshotError> {
        let size = reader.size();
        let mut plain = Zeroizing::new(vec![0; size as usize]);
        let read = reader
            .read_at(0, &mut plain)
            .and_then(|n| Ok(n < plain.len() || reader.changed_since_open()?));
        let changed = match read {
            Ok(changed) => changed,
            Err(e) => return Ok(Err(e)),
        };
        if plain.len() <= MAX_INLINE {
            let content =
                if plain.is_empty() { Content::Empty } else { Content::Inline(plain.to_vec()) };
            let kind = EntryKind::File { size, content };
            self.here().1.entries.push(Some(Entry { name, meta, kind }));
            return Ok(Ok(changed));
        }
        let owner = meta.uid;
        let slot = self.wait_for(name, meta, size);
        if self.open_bundles.get(&owner).is_some_and(|b| b.plain.len() + plain.len() > BUNDLE_MAX) {
            let full = self.open_bundles.remove(&owner).expect("just seen");
            self.close_bundle(full)?;
        }
        // By content, so that an inserted file re-writes its own bundle and no later one.
        let boundary = blake3::keyed_hash(&self.secret, &plain).as_bytes()[0] & 7 == 0;
        let bundle = self.open_bundles.entry(owner).or_default();
        bundle.spans.push((slot, bundle.plain.len() as u32, plain.len() as u32));
        bundle.plain.extend_from_slice(&plain);
        if bundle.plain.len() >= BUNDLE_MIN && boundary {
            let full = self.open_bundles.remove(&owner).expect("just filled");
            self.close_bundle(full)?;
        }
        Ok(Ok(changed))
    }

    /// Reserves the next position in the current directory.
    fn wait_for(&mut self, name: Vec<u8>, meta: Meta, size: u64) -> Slot {
        let (dir, here) = self.here();
        here.waiting += 1;
        here.entries.push(None);
        Slot { dir, at: here.entries.len() - 1, name, meta, size }
    }

    fn close_bundle(&mut self, bundle: OpenBundle) -> Result<(), SnapshotError> {
        let id = self.fresh_id();
        self.closed_bundles.insert(id, bundle.spans);
        self.submit(Job { ticket: Ticket::Bundle(id), kind: Kind::Bundle, plain: bundle.plain })
    }

    fn long_file(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        reader: FileReader,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<std::io::Result<bool>, SnapshotError> {
        let id = self.fresh_id();
        let slot = self.wait_for(name, meta, reader.size());
        self.long_files.insert(
            id,
            LongFile {
                slot,
                list: ListWriter::new(&self.secret),
                pending: VecDeque::new(),
                first: 0,
                members: Vec::new(),
                complete: false,
            },
        );
        let mut pieces = Pieces::new(reader);
        let mut number = 0;
        let mut read = 0;
        let outcome = loop {
            match pieces.next(&self.chunker) {
                Ok(Some(piece)) => {
                    if let Piece::Chunk { plain, .. } = &piece {
                        read += plain.len() as u64;
                    }
                    self.piece(id, number, piece)?;
                    number += 1;
                }
                Ok(None) => {
                    let changed = pieces.reader().changed_since_open();
                    break changed.map(|changed| changed || pieces.short);
                }
                Err(e) => break Err(e),
            }
            self.take_done(false)?;
            progress(&self.sealer.progress(self.files_read, self.totals.bytes + read));
        };
        if outcome.is_err() {
            // Its sealed chunks stay behind unreferenced; later reports of them find no file.
            let file = self.long_files.remove(&id).expect("only completion removes it");
            self.resolve(file.slot, None)?;
        } else if let Some(file) = self.long_files.get_mut(&id) {
            file.complete = true;
            self.advance(id)?;
        }
        Ok(outcome)
    }

    fn piece(&mut self, id: FileId, number: u64, piece: Piece) -> Result<(), SnapshotError> {
        let file = self.long_files.get_mut(&id).expect("it is being read");
        match piece {
            Piece::Hole(len) => {
                file.pending.push_back((vec![Stretch::Hole(len)], None));
                self.advance(id)
            }
            Piece::Chunk { plain, gaps } => {
                let gap = |(offset, len)| Stretch::Gap { offset, len };
                // The chunk's own stretch joins its gaps once it is sealed.
                file.pending.push_back((gaps.into_iter().map(gap).collect(), None));
                self.submit(Job { ticket: Ticket::Chunk(id, number), kind: Kind::Chunk, plain })
            }
        }
    }

    /// Pushes what is known of a long file, in order; completes the file with its last stretch.
    fn advance(&mut self, id: FileId) -> Result<(), SnapshotError> {
        let Some(file) = self.long_files.get_mut(&id) else { return Ok(()) };
        let (sealer, members) = (self.sealer, &mut file.members);
        let mut seal = |page: &[u8]| seal_page(sealer, Kind::ChunkList, page, members);
        while let Some((stretches, chunk)) = file.pending.front() {
            let is_hole = matches!(stretches[..], [Stretch::Hole(_)]);
            if !is_hole && chunk.is_none() {
                return Ok(());
            }
            let (stretches, chunk) = file.pending.pop_front().expect("just seen");
            file.first += 1;
            for stretch in stretches {
                file.list.push(&stretch.encode(), &mut seal)?;
            }
            if let Some(chunk) = chunk {
                file.list.push(&Stretch::Data(chunk.object).encode(), &mut seal)?;
            }
        }
        if !file.complete {
            return Ok(());
        }
        let LongFile { slot, list, mut members, .. } =
            self.long_files.remove(&id).expect("just seen");
        let mut seal = |page: &[u8]| seal_page(sealer, Kind::ChunkList, page, &mut members);
        let List { root, depth } = list.finish(&mut seal)?;
        self.members.append(&mut members);
        let kind =
            EntryKind::File { size: slot.size, content: Content::Chunks { list: root, depth } };
        self.resolve(slot, Some(kind))
    }

    fn submit(&mut self, job: Job) -> Result<(), SnapshotError> {
        self.jobs.send(job).map_err(|_| SnapshotError::WorkerLost)?;
        self.in_flight += 1;
        Ok(())
    }

    /// Takes note of sealed pieces: all there are, after waiting for one if `wait`.
    fn take_done(&mut self, wait: bool) -> Result<(), SnapshotError> {
        if wait && self.in_flight > 0 {
            let done = self.done.recv().map_err(|_| SnapshotError::WorkerLost)?;
            self.sealed(done)?;
        }
        while let Ok(done) = self.done.try_recv() {
            self.sealed(done)?;
        }
        Ok(())
    }

    fn sealed(&mut self, (ticket, piece): Done) -> Result<(), SnapshotError> {
        self.in_flight -= 1;
        let piece = piece?;
        let member = Member { id: piece.object.id, len: piece.sealed_len };
        match ticket {
            Ticket::Bundle(id) => {
                self.members.push(member);
                let spans = self.closed_bundles.remove(&id).expect("a bundle is sealed once");
                for (slot, offset, len) in spans {
                    let content = Content::Bundle { object: piece.object.clone(), offset, len };
                    let kind = EntryKind::File { size: slot.size, content };
                    self.resolve(slot, Some(kind))?;
                }
                Ok(())
            }
            Ticket::Chunk(id, number) => {
                if let Some(file) = self.long_files.get_mut(&id) {
                    file.members.push(member);
                    let at = (number - file.first) as usize;
                    file.pending[at].1 = Some(piece);
                }
                self.advance(id)
            }
        }
    }

    /// Fills a reserved position, or leaves it empty; seals the directory it completes.
    fn resolve(&mut self, slot: Slot, kind: Option<EntryKind>) -> Result<(), SnapshotError> {
        let Slot { dir: id, at, name, meta, .. } = slot;
        let dir = self.dirs.get_mut(&id).expect("a directory stays while it waits");
        dir.entries[at] = kind.map(|kind| Entry { name, meta, kind });
        dir.waiting -= 1;
        if dir.left && dir.waiting == 0 { self.seal_directory(id) } else { Ok(()) }
    }

    /// Seals a directory and, as far as it was the last to wait for, those above it.
    fn seal_directory(&mut self, mut id: DirId) -> Result<(), SnapshotError> {
        loop {
            let dir = self.dirs.remove(&id).expect("sealed once, when nothing waits");
            let (sealer, members) = (self.sealer, &mut self.members);
            let mut seal = |page: &[u8]| seal_page(sealer, Kind::Directory, page, members);
            let mut list = ListWriter::new(&self.secret);
            for entry in dir.entries.into_iter().flatten() {
                let record = encode_entry(&entry)
                    .map_err(|source| SnapshotError::Entry { name: entry.name, source })?;
                list.push(&record, &mut seal)?;
            }
            let listing = list.finish(&mut seal)?;
            let Some((parent, at)) = dir.parent else {
                self.tree = Some(listing);
                return Ok(());
            };
            let above = self.dirs.get_mut(&parent).expect("a directory outlives those in it");
            let kind = EntryKind::Directory { listing };
            above.entries[at] = Some(Entry { name: dir.name, meta: dir.meta, kind });
            above.waiting -= 1;
            if !(above.left && above.waiting == 0) {
                return Ok(());
            }
            id = parent;
        }
    }
}

/// Whether a file is read whole: short and without holes.
fn is_small(reader: &FileReader) -> std::io::Result<bool> {
    let size = reader.size();
    if size > SMALL_FILE {
        return Ok(false);
    }
    if size == 0 {
        return Ok(true);
    }
    Ok(reader.data_after(0)?.is_some_and(|extent| extent.offset == 0 && extent.len == size))
}

fn seal_page(
    sealer: &Sealer<'_>,
    kind: Kind,
    page: &[u8],
    members: &mut Vec<Member>,
) -> Result<ObjectRef, SnapshotError> {
    let piece = sealer.seal(kind, page)?;
    members.push(Member { id: piece.object.id, len: piece.sealed_len });
    Ok(piece.object)
}
