//! The selected part of a snapshot as one plain tar archive, for programs that are not this one.
//!
//! POSIX.1-2001 (pax): a `ustar` header for each name, preceded by an extended header where that
//! cannot say everything (long names, sizes from 8 GiB, large ids, fractions of a second, times
//! before 1970, extended attributes as `SCHILY.xattr.*`, ACLs as `SCHILY.acl.*`). Files with holes are in GNU's sparse
//! format 1.0, which GNU tar, libarchive and Python read; zeros in their place would make a
//! thin disk image as large as its disk. Headers of `crate tar` were not used: it writes no
//! fractions, no attributes and no holes.
//!
//! The archive is written front to back in bounded memory, so a header cannot wait for its file.
//! A file of up to [`WINDOW`] bytes is read first, and left out if it cannot be had whole. A
//! longer one has been announced with its size by then: what is lost of it becomes zeros, so that
//! the rest of the archive stays readable, and the ranges are named.

mod acl;
mod header;

use std::io::{self, Write};
use std::ops::Range;

use self::header::{Member, Tag};
use crate::browse::{OpenFile, Selection, Step, View, ViewError, Visited, Walk, Walked, join};
use crate::entry::EntryKind;

/// Bytes of a file read before they are written; a smaller file is there whole or not at all.
pub const WINDOW: usize = 4 << 20;
/// In what grains a window is read that could not be read at once.
const GRAIN: usize = 64 << 10;
/// Archives are filled up to a multiple of this, which tape drives once wanted.
const RECORD: u64 = 10_240;
const BLOCK: u64 = 512;

/// What of a snapshot is in an archive.
#[derive(Debug)]
pub struct Exported {
    /// What was written.
    pub walked: Walked,
    /// Bytes of the archive.
    pub archive_bytes: u64,
    /// What is missing.
    pub lost: Vec<Missing>,
}

/// Something the archive does not hold.
#[derive(Debug)]
pub struct Missing {
    /// Path from the snapshot's root.
    pub path: Vec<u8>,
    /// The first reason; a directory's holds for everything below it.
    pub why: ViewError,
    /// The ranges of the file that are zeros in the archive. None: it is not in the archive.
    pub zeros: Vec<Range<u64>>,
}

/// Why an export ended early. The archive is not whole.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The snapshot is not what was signed.
    #[error(transparent)]
    Forged(ViewError),
    /// The archive could not be written.
    #[error("writing the archive: {0}")]
    Write(#[from] io::Error),
}

/// Writes what `selection` means as a tar archive. `progress` is told what was written so far.
pub fn tar(
    view: &View,
    selection: &Selection,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(&Walked, u64),
) -> Result<Exported, ExportError> {
    let mut walk = Walk::new(view, selection);
    let mut archive = Archive { out, written: 0 };
    let mut lost = Vec::new();
    while let Some(step) = walk.next().map_err(ExportError::Forged)? {
        let missing = match step {
            Step::Lost { path, why } => Some(Missing { path, why, zeros: Vec::new() }),
            Step::Leave(_) => None,
            Step::Enter(it) => {
                let path = [it.path.as_slice(), b"/"].concat();
                archive.member(&Member::new(path, Tag::Directory, &it.entry.meta))?;
                None
            }
            Step::Leaf(it) => {
                let missing = archive.leaf(view, &it)?;
                if missing.as_ref().is_some_and(|m| m.zeros.is_empty()) {
                    walk.not_written(&it);
                }
                missing
            }
        };
        match missing {
            Some(missing) if missing.why.is_forgery() => {
                return Err(ExportError::Forged(missing.why));
            }
            missing => lost.extend(missing),
        }
        progress(&walk.yielded(), archive.written);
    }
    archive.end()?;
    Ok(Exported { walked: walk.yielded(), archive_bytes: archive.written, lost })
}

struct Archive<'a> {
    out: &'a mut dyn Write,
    written: u64,
}

impl Archive<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn member(&mut self, member: &Member<'_>) -> io::Result<()> {
        self.write(&member.headers())
    }

    /// Fills up the last block.
    fn pad_to(&mut self, multiple: u64) -> io::Result<()> {
        let rest = self.written.next_multiple_of(multiple) - self.written;
        self.write(&vec![0; rest as usize])
    }

    fn end(&mut self) -> io::Result<()> {
        self.write(&[0; 2 * BLOCK as usize])?;
        self.pad_to(RECORD)?;
        self.out.flush()
    }

    fn leaf(&mut self, view: &View, it: &Visited) -> io::Result<Option<Missing>> {
        let meta = &it.entry.meta;
        let tag = match &it.entry.kind {
            _ if it.link.is_some() => Tag::HardLink,
            EntryKind::File { .. } => return self.file(view, it),
            EntryKind::Symlink { .. } => Tag::Symlink,
            EntryKind::Fifo => Tag::Fifo,
            EntryKind::CharDevice { .. } => Tag::CharDevice,
            EntryKind::BlockDevice { .. } => Tag::BlockDevice,
            EntryKind::Directory { .. } | EntryKind::HardLink { .. } => {
                unreachable!("a walk yields directories as such and resolves further names")
            }
        };
        let mut member = Member::new(it.path.clone(), tag, meta);
        match (&it.link, &it.entry.kind) {
            (Some(first), _) => member.link = join(first),
            (None, EntryKind::Symlink { target }) => member.link.clone_from(target),
            (
                None,
                EntryKind::CharDevice { major, minor } | EntryKind::BlockDevice { major, minor },
            ) => member.device = (*major, *minor),
            _ => {}
        }
        self.member(&member)?;
        Ok(None)
    }

    fn file(&mut self, view: &View, it: &Visited) -> io::Result<Option<Missing>> {
        let file = OpenFile::new(&it.entry).expect("the entry is a file's");
        let left_out = |why| Ok(Some(Missing { path: it.path.clone(), why, zeros: Vec::new() }));
        let data = match data_ranges(view, &file) {
            Ok(data) => data,
            Err(why) => return left_out(why),
        };
        let is_short = file.size() <= WINDOW as u64;
        let whole = if is_short { view.read(&file, 0, WINDOW).map(Some) } else { Ok(None) };
        let whole = match whole {
            Ok(whole) => whole,
            Err(why) => return left_out(why),
        };
        let mut member = Member::new(it.path.clone(), Tag::File, &it.entry.meta);
        let stored: u64 = data.iter().map(|r| r.end - r.start).sum();
        let map = (stored < file.size()).then(|| sparse_map(&data, file.size()));
        member.size = stored + map.as_ref().map_or(0, |map| map.len() as u64);
        member.sparse = map.is_some().then_some(file.size());
        self.member(&member)?;
        self.write(&map.unwrap_or_else(Vec::new))?;
        let mut lost = Lost::default();
        for range in data {
            if let Some(whole) = &whole {
                self.write(&whole[range.start as usize..range.end as usize])?;
            } else {
                self.range(view, &file, range, &mut lost)?;
            }
        }
        self.pad_to(BLOCK)?;
        let Lost { why, zeros } = lost;
        Ok(why.map(|why| Missing { path: it.path.clone(), why, zeros }))
    }

    /// Writes a range of a file, zeros for what of it is lost.
    fn range(
        &mut self,
        view: &View,
        file: &OpenFile,
        range: Range<u64>,
        lost: &mut Lost,
    ) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let len = WINDOW.min((range.end - at) as usize);
            if let Ok(bytes) = view.read(file, at, len) {
                self.write(&bytes)?;
            } else {
                for start in (at..at + len as u64).step_by(GRAIN) {
                    let len = GRAIN.min((at + len as u64 - start) as usize);
                    let bytes = view.read(file, start, len).unwrap_or_else(|why| {
                        lost.note(start..start + len as u64, why);
                        vec![0; len]
                    });
                    self.write(&bytes)?;
                }
            }
            at += len as u64;
        }
        Ok(())
    }
}

/// What is zeros in the archive of one file.
#[derive(Default)]
struct Lost {
    why: Option<ViewError>,
    zeros: Vec<Range<u64>>,
}

impl Lost {
    fn note(&mut self, range: Range<u64>, why: ViewError) {
        match self.zeros.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => self.zeros.push(range),
        }
        // A forgery found late is what the caller has to hear of.
        if self.why.is_none() || why.is_forgery() {
            self.why = Some(why);
        }
    }
}

fn data_ranges(view: &View, file: &OpenFile) -> Result<Vec<Range<u64>>, ViewError> {
    let mut ranges = Vec::new();
    let mut at = 0;
    while let Some(start) = view.next_data(file, at)? {
        at = view.next_hole(file, start)?;
        ranges.push(start..at);
    }
    Ok(ranges)
}

/// GNU's sparse map 1.0: how many ranges, then offset and length of each, in lines, filled up to
/// a block. A file that ends with a hole has an empty range at its end.
fn sparse_map(data: &[Range<u64>], size: u64) -> Vec<u8> {
    let end = (data.last().is_none_or(|last| last.end < size)).then_some(size..size);
    let mut map = format!("{}\n", data.len() + usize::from(end.is_some())).into_bytes();
    for range in data.iter().chain(&end) {
        map.extend(format!("{}\n{}\n", range.start, range.end - range.start).into_bytes());
    }
    map.resize(map.len().next_multiple_of(BLOCK as usize), 0);
    map
}
