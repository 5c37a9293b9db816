//! Restoring the selected part of a snapshot.
//!
//! A restore of everything ends by proving that it visited exactly the signed set; a part cannot.
//! It proves instead that each object it used is of that set, and that no more was met than was
//! signed. It writes in the order of the walk and one file at a time: parts are small, and what
//! is large goes through the restore of everything.
//!
//! A further name whose first name is not restored becomes a file of its own.

use std::io;

use super::{OpenFile, Selection, Step, View, ViewError, Visited, Walk, Walked};
use crate::entry::EntryKind;
use crate::target::{Refused, Target, TargetError};

/// Bytes of a file read and written at once.
const STEP: usize = 4 << 20;

/// Why something selected is not in the restored tree.
#[derive(Debug, thiserror::Error)]
pub enum Why {
    /// It could not be read from the snapshot.
    #[error(transparent)]
    Unreadable(#[from] ViewError),
    /// It could not be written.
    #[error(transparent)]
    Unwritable(#[from] TargetError),
}

/// Something selected that is not in the restored tree.
#[derive(Debug)]
pub struct Unwritten {
    /// Path from the snapshot's root.
    pub path: Vec<u8>,
    /// Why; a directory's reason holds for everything below it.
    pub why: Why,
}

/// What was restored of a snapshot.
#[derive(Debug)]
pub struct Picked {
    /// What was written.
    pub walked: Walked,
    /// What was deliberately not applied (set-uid, capabilities, devices, foreign owners).
    pub refused: Vec<Refused>,
    /// What could not be restored.
    pub lost: Vec<Unwritten>,
}

/// Why restoring a part ended early.
#[derive(Debug, thiserror::Error)]
pub enum PickedError {
    /// The snapshot is not what was signed.
    #[error(transparent)]
    Forged(ViewError),
    /// The disk is full, the target went away, or the like: going on is pointless.
    #[error(transparent)]
    Target(TargetError),
}

/// Restores what `selection` means into `target`. `progress` is told the files and bytes so far.
pub fn restore_selected(
    view: &View,
    selection: &Selection,
    mut target: Target,
    progress: &mut dyn FnMut(&Walked),
) -> Result<Picked, PickedError> {
    let mut walk = Walk::new(view, selection);
    let mut lost = Vec::new();
    while let Some(step) = walk.next().map_err(PickedError::Forged)? {
        let (path, done) = match step {
            Step::Lost { path, why } => (path, Err(why.into())),
            Step::Enter(it) => match target.enter(it.name()) {
                Ok(()) => continue,
                Err(e) if is_final(&e) => return Err(PickedError::Target(e)),
                Err(e) => {
                    walk.skip(&it);
                    (it.path, Err(e.into()))
                }
            },
            Step::Leave(it) => {
                let left = target.leave(&it.entry.meta);
                (it.path, left.map_err(Why::from))
            }
            Step::Leaf(it) => {
                let written = leaf(view, &mut target, &it);
                if written.is_err() {
                    walk.not_written(&it);
                }
                (it.path, written)
            }
        };
        progress(&walk.yielded());
        match done {
            Ok(()) => {}
            Err(Why::Unwritable(e)) if is_final(&e) => return Err(PickedError::Target(e)),
            Err(Why::Unreadable(e)) if e.is_forgery() => return Err(PickedError::Forged(e)),
            Err(why) => lost.push(Unwritten { path, why }),
        }
    }
    let walked = walk.yielded();
    let refused = target.finish(None).map_err(PickedError::Target)?;
    Ok(Picked { walked, refused, lost })
}

fn leaf(view: &View, target: &mut Target, it: &Visited) -> Result<(), Why> {
    let (name, meta) = (it.name(), &it.entry.meta);
    if let Some(first) = &it.link {
        return Ok(target.hard_link(name, first)?);
    }
    match &it.entry.kind {
        EntryKind::File { size, .. } => {
            let file = OpenFile::new(&it.entry).expect("the entry is a file's");
            let writer = target.file(name, *size)?;
            if let Err(why) = content(view, &file, |at, bytes| writer.write_at(at, bytes)) {
                target.discard(&writer)?;
                return Err(why);
            }
            target.finish_file(&writer, meta)?;
        }
        EntryKind::Symlink { target: to } => target.symlink(name, to, meta)?,
        EntryKind::Fifo => target.fifo(name, meta)?,
        EntryKind::CharDevice { major, minor } => {
            target.char_device(name, (*major, *minor), meta)?;
        }
        EntryKind::BlockDevice { major, minor } => {
            target.block_device(name, (*major, *minor), meta)?;
        }
        EntryKind::Directory { .. } | EntryKind::HardLink { .. } => {
            unreachable!("a walk yields directories as such and resolves further names")
        }
    }
    Ok(())
}

/// Hands over the data of a file, without its holes.
fn content(
    view: &View,
    file: &OpenFile,
    mut write: impl FnMut(u64, &[u8]) -> Result<(), TargetError>,
) -> Result<(), Why> {
    let mut at = 0;
    while let Some(from) = view.next_data(file, at)? {
        let end = view.next_hole(file, from)?;
        at = from;
        while at < end {
            let bytes = view.read(file, at, STEP.min((end - at) as usize))?;
            write(at, &bytes)?;
            at += bytes.len() as u64;
        }
    }
    Ok(())
}

/// Whether every further entry would fail the same way.
fn is_final(e: &TargetError) -> bool {
    let TargetError::Io { source, .. } = e else { return false };
    matches!(
        source.kind(),
        io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

impl View {
    /// The paths of a selection at which the snapshot has nothing.
    pub fn missing(&self, selection: &Selection) -> Result<Vec<Vec<u8>>, ViewError> {
        let mut missing = Vec::new();
        for path in selection.paths() {
            if self.lookup(path)?.is_none() {
                missing.push(super::join(path));
            }
        }
        Ok(missing)
    }
}
