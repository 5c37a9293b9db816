//! The thread that reads, and owns what is known of the tree so far.

mod listing;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;

use crossbeam_channel::{Receiver, Sender};
use seawall_base::Timestamp;
use seawall_record::Totals;
use seawall_record::reference_set::Member;
use seawall_seal::{Kind, ObjectRef};
use zeroize::Zeroizing;

use super::directory::{Dir, DirId, Fresh, Known, Made};
use super::file_cache::{FileCache, ROOT_KEY, child_key};
use super::long_file::{Piece, Pieces};
use super::sealer::{Done, Job, SealedPiece, Sealer, Ticket};
use super::{Checkpoints, Progress, Roots, SnapshotError};
use crate::chunker::{Chunker, MIN};
use crate::entry::{
    Content as Kept, Entry, EntryKind, List, MAX_INLINE, MAX_LINK_COMPONENTS, Meta,
};
use crate::pages::{ListWriter, Stretch, encode_entry};
use crate::path_index::PathIndexWriter;
use crate::source::{
    Content, Directory, Leaf, LinkTable, Node, Opened, Problem, Reason, Stamp, Step,
};

/// Files up to this size share bundles; longer ones are cut into chunks of their own.
const SMALL_FILE: u64 = MIN as u64;
/// A bundle is closed by content from this size on, and at [`BUNDLE_MAX`] in any case.
const BUNDLE_MIN: usize = 128 << 10;
const BUNDLE_MAX: usize = 1 << 20;
/// Buffers kept for the next pieces.
const BUFFERS: usize = 8;

/// A position in a directory that waits for its content.
struct Slot {
    dir: DirId,
    at: usize,
    name: Vec<u8>,
    meta: Meta,
    size: u64,
    stamp: Option<Stamp>,
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

/// How much of a bundle is used.
struct Use {
    used: u64,
    len: u32,
}

/// What a finished walk leaves behind.
pub(super) struct Written {
    pub(super) members: Vec<Member>,
    pub(super) totals: Totals,
    pub(super) problems: Vec<Problem>,
    pub(super) files: u64,
    pub(super) cache: Option<FileCache>,
    /// Bundles of which less than half is used, ascending.
    pub(super) sparse: Vec<[u8; 32]>,
}

/// The channels to the sealing threads and to the one that flushes.
pub(super) struct Channels {
    pub(super) jobs: Sender<Job>,
    pub(super) done: Receiver<Done>,
    pub(super) checkpoints: Sender<()>,
}

pub(super) struct TreeWriter<'s, 'a> {
    sealer: &'s Sealer<'a>,
    channels: Channels,
    in_flight: usize,
    chunker: Chunker,
    secret: Zeroizing<[u8; 32]>,
    cache: Option<FileCache>,
    links: LinkTable,
    dirs: HashMap<DirId, Dir>,
    /// The directories from the root to where the walk stands.
    stack: Vec<DirId>,
    long_files: HashMap<u64, LongFile>,
    open_bundles: BTreeMap<u32, OpenBundle>,
    closed_bundles: HashMap<u64, Vec<(Slot, u32, u32)>>,
    uses: HashMap<[u8; 32], Use>,
    next_id: u64,
    index: Option<PathIndexWriter>,
    tree: Option<Roots>,
    members: Vec<Member>,
    /// The object asked for last and found: neighbours share bundles.
    held: Option<Member>,
    totals: Totals,
    problems: Vec<Problem>,
    files: u64,
    unchanged: u64,
    checkpoints: Checkpoints<'a>,
    /// New bytes at the last checkpoint, and when it was.
    durable: (u64, Timestamp),
    buffers: Vec<Zeroizing<Vec<u8>>>,
    small: Zeroizing<Vec<u8>>,
    long: Zeroizing<Vec<u8>>,
}

impl<'s, 'a> TreeWriter<'s, 'a> {
    pub(super) fn new(
        sealer: &'s Sealer<'a>,
        channels: Channels,
        secret: &[u8; 32],
        (cache, index): (Option<FileCache>, Option<PathIndexWriter>),
        checkpoints: Checkpoints<'a>,
    ) -> Self {
        Self {
            sealer,
            channels,
            in_flight: 0,
            chunker: Chunker::new(secret),
            secret: Zeroizing::new(*secret),
            cache,
            links: LinkTable::default(),
            dirs: HashMap::new(),
            stack: Vec::new(),
            long_files: HashMap::new(),
            open_bundles: BTreeMap::new(),
            closed_bundles: HashMap::new(),
            uses: HashMap::new(),
            next_id: 0,
            index,
            tree: None,
            members: Vec::new(),
            held: None,
            totals: Totals::default(),
            problems: Vec::new(),
            files: 0,
            unchanged: 0,
            checkpoints,
            durable: (0, checkpoints.clock.now()),
            buffers: Vec::new(),
            small: Zeroizing::new(vec![0; SMALL_FILE as usize]),
            long: Zeroizing::new(Vec::new()),
        }
    }

    /// Takes the whole walk and returns the root directory's listings.
    pub(super) fn run(
        &mut self,
        steps: &Receiver<Vec<Step>>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Roots, SnapshotError> {
        for batch in steps {
            for step in batch {
                match step {
                    Step::Enter { name, meta } => self.enter(name, meta),
                    Step::Leaves { dir, leaves } => {
                        for leaf in leaves {
                            self.leaf(&leaf, &*dir, progress)?;
                        }
                    }
                    Step::Leave => self.leave()?,
                }
            }
            self.take_done(false)?;
            progress(&self.progress(0));
        }
        while let Some((_, bundle)) = self.open_bundles.pop_first() {
            self.close_bundle(bundle)?;
        }
        while self.in_flight > 0 {
            self.take_done(true)?;
            progress(&self.progress(0));
        }
        Ok(self.tree.take().expect("a walk leaves its root last, when nothing waits any more"))
    }

    pub(super) fn finish(self) -> Written {
        let is_sparse = |u: &Use| u.used < u64::from(u.len / 2);
        let mut sparse: Vec<_> =
            self.uses.iter().filter(|(_, u)| is_sparse(u)).map(|(id, _)| *id).collect();
        sparse.sort_unstable();
        Written {
            members: self.members,
            totals: self.totals,
            problems: self.problems,
            files: self.files,
            cache: self.cache,
            sparse,
        }
    }

    fn progress(&self, reading: u64) -> Progress {
        let read = self.totals.bytes + reading;
        self.sealer.progress(self.files, self.unchanged, read)
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn here(&mut self) -> (DirId, &mut Dir) {
        let id = *self.stack.last().expect("leaves and directories come inside the root");
        (id, self.dirs.get_mut(&id).expect("a directory stays until it was left"))
    }

    /// Components of the path of `name` in the directory stood in.
    fn components(&self, name: &[u8]) -> Vec<Vec<u8>> {
        let inside = self.stack[1..].iter().map(|id| self.dirs[id].name.clone());
        inside.chain([name.to_vec()]).collect()
    }

    fn report(&mut self, name: &[u8], reason: Reason) {
        let path = self.components(name).iter().flat_map(|c| [&b"/"[..], c].concat()).collect();
        self.problems.push(Problem { path, reason });
    }

    fn enter(&mut self, name: Vec<u8>, meta: Meta) {
        let id = self.fresh_id();
        let (parent, key) = if self.stack.is_empty() {
            (None, ROOT_KEY)
        } else {
            self.totals.directories += 1;
            let (above, dir) = self.here();
            dir.waiting += 1;
            dir.entries.push(Made::Waiting);
            (Some((above, dir.entries.len() - 1)), child_key(&dir.key, &name))
        };
        let cached = self.cache.as_ref().and_then(|cache| cache.directory(&key));
        self.dirs.insert(id, Dir::new(parent, name, meta, key, cached));
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
        leaf: &Leaf,
        handle: &dyn Directory,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), SnapshotError> {
        if self.reuse(leaf) {
            return Ok(());
        }
        let Opened { meta, flaws, stamp, node } = match handle.open(leaf) {
            Ok(opened) => opened,
            Err(reason) => {
                self.report(&leaf.name, reason);
                return Ok(());
            }
        };
        // What is flawed is looked at again next time, and reported again.
        let trusted = flaws.is_empty() && self.cache.as_ref().is_some_and(|c| c.trusts(&stamp));
        for flaw in flaws {
            self.report(&leaf.name, flaw);
        }
        let keep = trusted.then_some(stamp);
        let first = self.first_name(&stamp, &leaf.name);
        let is_link = first.is_some();
        let kind = match (first, node) {
            (Some(target), _) => EntryKind::HardLink { target },
            (None, Node::File(content)) => {
                let (name, found) = (leaf.name.clone(), stamp);
                return self.file(name, meta, (found, keep), content, progress);
            }
            (None, Node::Symlink(target)) => EntryKind::Symlink { target },
            (None, Node::Fifo) => EntryKind::Fifo,
            (None, Node::CharDevice { major, minor }) => EntryKind::CharDevice { major, minor },
            (None, Node::BlockDevice { major, minor }) => EntryKind::BlockDevice { major, minor },
        };
        self.totals.others += 1;
        let fresh =
            Fresh { is_link, ..Fresh::of(Entry { name: leaf.name.clone(), meta, kind }, keep)? };
        self.here().1.entries.push(Made::Fresh(Box::new(fresh)));
        Ok(())
    }

    /// Where the object was met before in this walk.
    fn first_name(&mut self, stamp: &Stamp, name: &[u8]) -> Option<Vec<Vec<u8>>> {
        if stamp.nlink < 2 {
            return None;
        }
        if self.stack.len() > MAX_LINK_COMPONENTS {
            self.report(name, Reason::LinkTooDeep);
            return None;
        }
        let path = self.components(name);
        self.links.first(stamp, || path)
    }

    /// Takes a leaf over from the last run, if it is what it was then.
    fn reuse(&mut self, leaf: &Leaf) -> bool {
        let (_, dir) = self.here();
        let Some(cached) = dir.cached.clone() else { return false };
        let Some(at) = cached.find(&leaf.name, dir.hint) else { return false };
        dir.hint = at + 1;
        let entry = cached.entry(at);
        if entry.stamp != Some(Stamp { nlink: 0, ..leaf.stamp }) {
            return false;
        }
        let is_sparse = |m: &Member| self.cache.as_ref().is_some_and(|c| c.is_sparse(&m.id.0));
        if entry.bundle_len > 0 && cached.members(entry).any(|m| is_sparse(&m)) {
            return false;
        }
        if !cached.members(entry).all(|member| self.holds(member)) {
            return false;
        }
        if leaf.stamp.nlink > 1 {
            if self.stack.len() > MAX_LINK_COMPONENTS || !self.same_link(&leaf.stamp, &cached, at) {
                return false;
            }
            self.first_name(&leaf.stamp, &leaf.name);
        } else if entry.is_link {
            return false;
        }
        if !entry.is_link && leaf.stamp.is_file() {
            self.totals.files += 1;
            self.totals.bytes += leaf.stamp.size;
            self.unchanged += 1;
        } else {
            self.totals.others += 1;
        }
        self.here().1.entries.push(Made::Cached(at));
        true
    }

    /// Whether a name of an object with several is the same link, or the first name, as before.
    fn same_link(&self, stamp: &Stamp, cached: &super::file_cache::CachedDir, at: usize) -> bool {
        let entry = cached.entry(at);
        let mut reader = seawall_base::wire::Reader::new(cached.record(entry));
        let before = match Entry::decode(&mut reader).map(|entry| entry.kind) {
            Ok(EntryKind::HardLink { target }) => Some(target),
            Ok(_) => None,
            Err(_) => return false,
        };
        self.links.met(stamp) == before.as_ref()
    }

    /// Whether the store has this object, as long as it was.
    fn holds(&mut self, member: Member) -> bool {
        if self.held == Some(member) {
            return true;
        }
        let found = self.sealer.holds(member);
        if found {
            self.held = Some(member);
        }
        found
    }

    fn file(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        (stamp, keep): (Stamp, Option<Stamp>),
        mut content: Box<dyn Content>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(), SnapshotError> {
        let shown = name.clone();
        let read = match small_size(&mut *content) {
            Ok(Some(size)) => self.small_file(name, meta, keep, size, &mut *content),
            Ok(None) => self.long_file(name, meta, keep, content, progress),
            Err(e) => Ok(Err(e)),
        }?;
        match read {
            Ok((size, changed)) => {
                self.totals.files += 1;
                self.totals.bytes += size;
                self.files += 1;
                if changed {
                    self.report(&shown, Reason::ChangedWhileRead);
                }
                if self.files.is_multiple_of(64) {
                    self.take_done(false)?;
                    progress(&self.progress(0));
                }
            }
            Err(e) => {
                // The next name of this object is not a link to something that is not there.
                self.links.forget(&stamp);
                self.report(&shown, Reason::Unreadable(e));
            }
        }
        Ok(())
    }

    /// Reads a file whole. The outer error ends the snapshot, the inner one only this file.
    fn small_file(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        keep: Option<Stamp>,
        size: u64,
        content: &mut dyn Content,
    ) -> Result<io::Result<(u64, bool)>, SnapshotError> {
        let mut buffer = std::mem::take(&mut self.small);
        let plain = &mut buffer[..size as usize];
        let read = content.read_at(0, plain).and_then(|found| {
            plain[found..].fill(0);
            Ok(found < plain.len() || content.changed()?)
        });
        let placed = match read {
            Ok(changed) => {
                let keep = keep.filter(|_| !changed);
                self.place_small(name, meta, keep, plain).map(|()| Ok((size, changed)))
            }
            Err(e) => Ok(Err(e)),
        };
        self.small = buffer;
        placed
    }

    /// Puts a small file into its directory or, if it is not tiny, into its owner's bundle.
    fn place_small(
        &mut self,
        name: Vec<u8>,
        meta: Meta,
        keep: Option<Stamp>,
        plain: &[u8],
    ) -> Result<(), SnapshotError> {
        let size = plain.len() as u64;
        if plain.len() <= MAX_INLINE {
            let content = if plain.is_empty() { Kept::Empty } else { Kept::Inline(plain.to_vec()) };
            let entry = Entry { name, meta, kind: EntryKind::File { size, content } };
            let fresh = Fresh::of(entry, keep)?;
            self.here().1.entries.push(Made::Fresh(Box::new(fresh)));
            return Ok(());
        }
        let owner = meta.uid;
        let slot = self.wait_for(name, meta, size, keep);
        if self.open_bundles.get(&owner).is_some_and(|b| b.plain.len() + plain.len() > BUNDLE_MAX) {
            let full = self.open_bundles.remove(&owner).expect("just seen");
            self.close_bundle(full)?;
        }
        let mut bundle = match self.open_bundles.remove(&owner) {
            Some(bundle) => bundle,
            None => OpenBundle { plain: self.buffer(), spans: Vec::new() },
        };
        bundle.spans.push((slot, bundle.plain.len() as u32, plain.len() as u32));
        bundle.plain.extend_from_slice(plain);
        // By content, so that an inserted file re-writes its own bundle and no later one.
        let boundary = || blake3::keyed_hash(&self.secret, plain).as_bytes()[0] & 7 == 0;
        if bundle.plain.len() >= BUNDLE_MIN && boundary() {
            return self.close_bundle(bundle);
        }
        self.open_bundles.insert(owner, bundle);
        Ok(())
    }

    /// Reserves the next position in the current directory.
    fn wait_for(&mut self, name: Vec<u8>, meta: Meta, size: u64, stamp: Option<Stamp>) -> Slot {
        let (dir, here) = self.here();
        here.waiting += 1;
        here.entries.push(Made::Waiting);
        Slot { dir, at: here.entries.len() - 1, name, meta, size, stamp }
    }

    /// A buffer from a piece that has been sealed, or a new one.
    fn buffer(&mut self) -> Zeroizing<Vec<u8>> {
        let fresh = || Zeroizing::new(Vec::with_capacity(BUNDLE_MAX));
        let mut buffer = self.buffers.pop().unwrap_or_else(fresh);
        // What is left of another piece must never become part of this one.
        buffer.clear();
        buffer
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
        keep: Option<Stamp>,
        content: Box<dyn Content>,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<io::Result<(u64, bool)>, SnapshotError> {
        let id = self.fresh_id();
        let slot = self.wait_for(name, meta, 0, keep);
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
        let mut pieces = Pieces::new(content, std::mem::take(&mut self.long));
        let outcome = self.read_pieces(id, &mut pieces, progress)?;
        let size = pieces.size();
        self.long = pieces.into_buffer();
        if outcome.is_err() {
            // Its sealed chunks stay behind unreferenced; later reports of them find no file.
            let file = self.long_files.remove(&id).expect("only completion removes it");
            self.resolve(&file.slot, Made::Gone)?;
        } else if let Some(file) = self.long_files.get_mut(&id) {
            file.complete = true;
            file.slot.size = size;
            file.slot.stamp = keep.filter(|_| matches!(outcome, Ok(false)));
            self.advance(id)?;
        }
        Ok(outcome.map(|changed| (size, changed)))
    }

    /// Reads all of a file; true if it changed meanwhile.
    fn read_pieces(
        &mut self,
        id: u64,
        pieces: &mut Pieces,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<io::Result<bool>, SnapshotError> {
        let (mut number, mut read) = (0, 0);
        loop {
            let piece = match pieces.next(&self.chunker) {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(pieces.changed()),
                Err(e) => return Ok(Err(e)),
            };
            let file = self.long_files.get_mut(&id).expect("it is being read");
            match piece {
                Piece::Hole(len) => {
                    file.pending.push_back((vec![Stretch::Hole(len)], None));
                    self.advance(id)?;
                }
                Piece::Chunk { len, gaps } => {
                    let gap = |(offset, len)| Stretch::Gap { offset, len };
                    // The chunk's own stretch joins its gaps once it is sealed.
                    file.pending.push_back((gaps.into_iter().map(gap).collect(), None));
                    let mut plain = self.buffer();
                    pieces.take(len, &mut plain);
                    let ticket = Ticket::Chunk(id, number);
                    self.submit(Job { ticket, kind: Kind::Chunk, plain })?;
                    read += len as u64;
                }
            }
            number += 1;
            self.take_done(false)?;
            progress(&self.progress(read));
        }
    }

    /// Pushes what is known of a long file, in order; completes the file with its last stretch.
    fn advance(&mut self, id: u64) -> Result<(), SnapshotError> {
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
        let content = if slot.size == 0 {
            Kept::Empty
        } else {
            let mut seal = |page: &[u8]| seal_page(sealer, Kind::ChunkList, page, &mut members);
            let List { root, depth } = list.finish(&mut seal)?;
            Kept::Chunks { list: root, depth }
        };
        self.made(slot, content, 0, members)
    }

    fn submit(&mut self, job: Job) -> Result<(), SnapshotError> {
        self.channels.jobs.send(job).map_err(|_| SnapshotError::WorkerLost)?;
        self.in_flight += 1;
        Ok(())
    }

    /// Takes note of sealed pieces: all there are, after waiting for one if `wait`.
    fn take_done(&mut self, wait: bool) -> Result<(), SnapshotError> {
        if wait && self.in_flight > 0 {
            let done = self.channels.done.recv().map_err(|_| SnapshotError::WorkerLost)?;
            self.sealed(done)?;
        }
        while let Ok(done) = self.channels.done.try_recv() {
            self.sealed(done)?;
        }
        let (new, now) = (self.sealer.new_bytes(), self.checkpoints.clock.now());
        let (durable, last) = self.durable;
        // A clock that was set back counts from where it stands.
        self.durable.1 = last.min(now);
        if new - durable >= self.checkpoints.bytes
            || now.0 - last.min(now).0 >= self.checkpoints.every.0
        {
            self.durable = (new, now);
            self.checkpoint();
        }
        Ok(())
    }

    /// Has what was sealed so far made durable, and keeps what is known of unfinished directories.
    fn checkpoint(&mut self) {
        if let Some(cache) = &mut self.cache {
            for dir in self.dirs.values_mut() {
                if let Some(part) = dir.part() {
                    cache.put(&dir.key, &part, true);
                }
            }
            cache.write_out();
        }
        // If one is under way, the next will cover this as well.
        let _ = self.channels.checkpoints.try_send(());
    }

    fn sealed(&mut self, Done { ticket, piece, plain }: Done) -> Result<(), SnapshotError> {
        self.in_flight -= 1;
        let plain_len = plain.len() as u32;
        if self.buffers.len() < BUFFERS {
            self.buffers.push(plain);
        }
        let piece = piece?;
        let member = Member { id: piece.object.id, len: piece.sealed_len };
        match ticket {
            Ticket::Bundle(id) => {
                let spans = self.closed_bundles.remove(&id).expect("a bundle is sealed once");
                for (slot, offset, len) in spans {
                    let content = Kept::Bundle { object: piece.object.clone(), offset, len };
                    self.made(slot, content, plain_len, vec![member])?;
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

    /// The content of a waiting file is known.
    fn made(
        &mut self,
        slot: Slot,
        content: Kept,
        bundle_len: u32,
        members: Vec<Member>,
    ) -> Result<(), SnapshotError> {
        let Slot { dir, at, name, meta, size, stamp } = slot;
        let entry = Entry { name, meta, kind: EntryKind::File { size, content } };
        let fresh = Fresh { bundle_len, size, members, ..Fresh::of(entry, stamp)? };
        self.fill((dir, at), Made::Fresh(Box::new(fresh)))
    }

    fn resolve(&mut self, slot: &Slot, made: Made) -> Result<(), SnapshotError> {
        self.fill((slot.dir, slot.at), made)
    }

    /// Fills a reserved position; seals the directory it completes.
    fn fill(&mut self, (id, at): (DirId, usize), made: Made) -> Result<(), SnapshotError> {
        let dir = self.dirs.get_mut(&id).expect("a directory stays while it waits");
        dir.entries[at] = made;
        dir.waiting -= 1;
        if dir.left && dir.waiting == 0 { self.seal_directory(id) } else { Ok(()) }
    }

    /// Seals a directory and, as far as it was the last to wait for, those above it.
    fn seal_directory(&mut self, mut id: DirId) -> Result<(), SnapshotError> {
        loop {
            let dir = self.dirs.remove(&id).expect("sealed once, when nothing waits");
            let (listing, indexed) = self.listing(&dir)?;
            let Some((parent, at)) = dir.parent else {
                self.tree = Some((listing, self.index_root(indexed)?));
                return Ok(());
            };
            let kind = EntryKind::Directory { listing };
            let entry = Entry { name: dir.name, meta: dir.meta, kind };
            let fresh = Fresh { indexed, ..Fresh::of(entry, None)? };
            let above = self.dirs.get_mut(&parent).expect("a directory outlives those in it");
            above.entries[at] = Made::Fresh(Box::new(fresh));
            above.waiting -= 1;
            if !(above.left && above.waiting == 0) {
                return Ok(());
            }
            id = parent;
        }
    }

    /// Adds the objects of an entry to the reference set, and to the use of its bundle.
    fn count(&mut self, dir: &Dir, entry: &Known<'_>) {
        for member in dir.members(entry) {
            if entry.bundle_len > 0 {
                let len = entry.bundle_len;
                self.uses.entry(member.id.0).or_insert(Use { used: 0, len }).used += entry.size;
            }
            if self.members.last() != Some(&member) {
                self.members.push(member);
            }
        }
    }
}

impl Fresh {
    /// An entry that needs no objects.
    fn of(entry: Entry, stamp: Option<Stamp>) -> Result<Self, SnapshotError> {
        let record = encode_entry(&entry)
            .map_err(|source| SnapshotError::Entry { name: entry.name.clone(), source })?;
        let (is_link, bundle_len, size, members) = (false, 0, 0, Vec::new());
        let name = entry.name;
        Ok(Self { name, record, stamp, is_link, bundle_len, size, members, indexed: None })
    }
}

/// The size of a file that is read whole: short and without holes.
fn small_size(content: &mut dyn Content) -> io::Result<Option<u64>> {
    let Some(size) = content.size().filter(|size| *size <= SMALL_FILE) else { return Ok(None) };
    if size == 0 {
        return Ok(Some(0));
    }
    let first = content.data_after(0)?;
    Ok(first.is_some_and(|extent| extent.offset == 0 && extent.len >= size).then_some(size))
}

fn seal_page(
    sealer: &Sealer<'_>,
    kind: Kind,
    page: &[u8],
    members: &mut Vec<Member>,
) -> Result<ObjectRef, SnapshotError> {
    let piece = sealer.seal_page(kind, page)?;
    members.push(Member { id: piece.object.id, len: piece.sealed_len });
    Ok(piece.object)
}
