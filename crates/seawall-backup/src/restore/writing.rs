//! The threads that fetch, open and write content, while the walk reads directories.
//!
//! A job is what is best done in one go: the files of a few bundles, or some chunks of one long
//! file. What becomes of each file is told back; the walk owns all other state.

use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender};
use seawall_base::ObjectId;
use seawall_seal::{Kind, ObjectRef, Placement, Workspace};

use super::fetch::{FetchError, Objects};
use super::{EntryError, malformed};
use crate::entry::Meta;
use crate::target::{FileWriter, Place, Refused};

/// Number of a directory within one restore.
pub(super) type DirId = u64;

/// A file and where it goes.
pub(super) struct File {
    pub(super) dir: DirId,
    pub(super) place: Arc<Place>,
    pub(super) name: Vec<u8>,
    pub(super) meta: Meta,
    pub(super) size: u64,
}

/// What threads are asked to do.
pub(super) enum Job {
    /// Files with their content.
    Inline(Vec<(File, Vec<u8>)>),
    /// Bundles and the files in them, each with its offset.
    Bundles(Vec<(ObjectRef, Vec<(File, u32)>)>),
    /// Chunks of one file.
    Chunks(Arc<LongFile>, Vec<Piece>),
}

/// A chunk, where it goes, and the short holes in it.
pub(super) struct Piece {
    pub(super) at: u64,
    pub(super) object: ObjectRef,
    pub(super) gaps: Vec<Range<usize>>,
}

/// A file written by several jobs.
pub(super) struct LongFile {
    pub(super) file: File,
    writer: FileWriter,
    /// Jobs not done yet, and one for the walk until it has handed out all.
    open: AtomicUsize,
    failed: Mutex<Option<EntryError>>,
}

/// What became of a job.
#[derive(Default)]
pub(super) struct Done {
    /// The objects that were opened.
    pub(super) visited: Vec<ObjectId>,
    pub(super) files: Vec<Finished>,
}

/// What became of a file.
pub(super) struct Finished {
    pub(super) dir: DirId,
    /// From the target directory.
    pub(super) path: Vec<u8>,
    pub(super) outcome: Result<Vec<Refused>, EntryError>,
}

impl File {
    fn path(&self) -> Vec<u8> {
        self.place.path_of(&self.name)
    }

    /// Creates the file with this content.
    fn write(&self, content: &[u8]) -> Result<Vec<Refused>, EntryError> {
        let writer = self.place.file(&self.name, self.size)?;
        if let Err(why) = writer.write_at(0, content) {
            self.place.discard(&writer)?;
            return Err(why.into());
        }
        Ok(self.place.finish_file(&writer, &self.meta)?)
    }

    pub(super) fn finished(&self, outcome: Result<Vec<Refused>, EntryError>) -> Finished {
        Finished { dir: self.dir, path: self.path(), outcome }
    }
}

impl LongFile {
    /// Takes a file just created.
    pub(super) const fn new(file: File, writer: FileWriter) -> Self {
        Self { file, writer, open: AtomicUsize::new(1), failed: Mutex::new(None) }
    }

    /// One more job will write to it.
    pub(super) fn begin(&self) {
        self.open.fetch_add(1, Ordering::Relaxed);
    }

    /// It cannot be restored whole; the first reason counts.
    pub(super) fn fail(&self, why: EntryError) {
        let mut failed = self.failed.lock().expect("no holder of this lock panics");
        failed.get_or_insert(why);
    }

    pub(super) fn has_failed(&self) -> bool {
        self.failed.lock().expect("no holder of this lock panics").is_some()
    }

    /// A job, or the walk, is done with it; whoever is last finishes it.
    pub(super) fn end(&self) -> Option<Finished> {
        if self.open.fetch_sub(1, Ordering::AcqRel) > 1 {
            return None;
        }
        let failed = self.failed.lock().expect("no holder of this lock panics").take();
        let place = &self.file.place;
        let outcome = match failed {
            Some(why) => place.discard(&self.writer).map_err(Into::into).and(Err(why)),
            None => place.finish_file(&self.writer, &self.file.meta).map_err(Into::into),
        };
        Some(self.file.finished(outcome))
    }

    /// Writes one chunk around its short holes.
    fn write(&self, piece: &Piece, plain: &[u8]) -> Result<(), EntryError> {
        let mut from = 0;
        for gap in &piece.gaps {
            if plain.get(gap.clone()).is_none_or(|zeros| zeros.iter().any(|&b| b != 0)) {
                return Err(malformed(&piece.object, "it is not zero where its short holes are"));
            }
            self.writer.write_at(piece.at + from as u64, &plain[from..gap.start])?;
            from = gap.end;
        }
        Ok(self.writer.write_at(piece.at + from as u64, &plain[from..])?)
    }
}

/// Does jobs until there are no more. One such loop runs on each of some threads.
pub(super) fn work(objects: &dyn Objects, class: u8, jobs: &Receiver<Job>, report: &Sender<Done>) {
    let mut worker = Worker { objects, class, workspace: Workspace::new(), done: Done::default() };
    for job in jobs {
        worker.job(job);
        if report.send(std::mem::take(&mut worker.done)).is_err() {
            break;
        }
    }
}

struct Worker<'a> {
    objects: &'a dyn Objects,
    class: u8,
    workspace: Workspace,
    done: Done,
}

impl Worker<'_> {
    fn job(&mut self, job: Job) {
        match job {
            Job::Inline(files) => {
                let written =
                    files.iter().map(|(file, content)| file.finished(file.write(content)));
                self.done.files.extend(written);
            }
            Job::Bundles(bundles) => {
                let ids: Vec<_> = bundles.iter().map(|(object, _)| object.id).collect();
                for ((object, files), bytes) in bundles.iter().zip(self.fetch(&ids)) {
                    self.bundle(object, files, bytes);
                }
            }
            Job::Chunks(file, pieces) => {
                let ids: Vec<_> = pieces.iter().map(|piece| piece.object.id).collect();
                if !file.has_failed() {
                    for (piece, bytes) in pieces.iter().zip(self.fetch(&ids)) {
                        if let Err(why) = self.chunk(&file, piece, bytes) {
                            file.fail(why);
                            break;
                        }
                    }
                }
                self.done.files.extend(file.end());
            }
        }
    }

    fn bundle(
        &mut self,
        object: &ObjectRef,
        files: &[(File, u32)],
        bytes: Result<Vec<u8>, FetchError>,
    ) {
        let placement = Placement { kind: Kind::Bundle, class: self.class };
        let opened = bytes.map_err(EntryError::from).and_then(|bytes| {
            self.workspace.open(object, placement, &bytes).map_err(EntryError::from)
        });
        match opened {
            Ok(plain) => {
                self.done.visited.push(object.id);
                for (file, offset) in files {
                    let start = *offset as usize;
                    let end = start.checked_add(file.size as usize);
                    let outcome = match end.and_then(|end| plain.get(start..end)) {
                        Some(content) => file.write(content),
                        None => Err(malformed(object, "a file lies outside it")),
                    };
                    self.done.files.push(file.finished(outcome));
                }
            }
            Err(why) => {
                let lost = files.iter().map(|(file, _)| file.finished(Err(why.again())));
                self.done.files.extend(lost);
            }
        }
    }

    fn chunk(
        &mut self,
        file: &LongFile,
        piece: &Piece,
        bytes: Result<Vec<u8>, FetchError>,
    ) -> Result<(), EntryError> {
        let placement = Placement { kind: Kind::Chunk, class: self.class };
        let bytes = bytes?;
        let plain = self.workspace.open(&piece.object, placement, &bytes)?;
        self.done.visited.push(piece.object.id);
        file.write(piece, plain)
    }

    /// The objects in the order of `ids`.
    fn fetch(&self, ids: &[ObjectId]) -> Vec<Result<Vec<u8>, FetchError>> {
        let missing = |id: &ObjectId| Err(FetchError::Missing(*id));
        let mut fetched: Vec<_> = ids.iter().map(missing).collect();
        let mut distinct = ids.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        self.objects.get(&distinct, &mut |id, got| {
            let mut places = (0..ids.len()).filter(|&at| ids[at] == id);
            let Some(first) = places.next() else { return };
            for at in places {
                fetched[at].clone_from(&got);
            }
            fetched[first] = got;
        });
        fetched
    }
}
