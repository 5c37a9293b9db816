//! A row of the cache: one thing that happened to one path.

use crate::path_index::PathKind;

/// A path component ends here in the key of a directory: below every byte of a name, so that
/// the directories of a subtree follow one another.
pub(super) const SEPARATOR: u8 = 0;

/// What a row says of its path. Ordinals count the snapshots of one line from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The path was this from snapshot `born` on.
    Span {
        /// What it was.
        kind: PathKind,
        /// Bytes of a file.
        size: u64,
        /// Modification time, seconds since the Unix epoch.
        mtime: i64,
        /// Fingerprint of what is below a directory.
        below: Option<[u8; 16]>,
        /// First snapshot that has it.
        born: u32,
        /// First later snapshot that does not; none if it still stands.
        died: Option<u32>,
    },
    /// What an older segment says still stands is gone from snapshot `died` on.
    End {
        /// The first snapshot without it.
        died: u32,
    },
}

/// One row. Rows are in order of line, directory and name, and of age for one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Number of the line.
    pub line: u32,
    /// Key of the directory: its components, joined by NUL; empty for `/`.
    pub dir: Vec<u8>,
    /// The name in it.
    pub name: Vec<u8>,
    /// What happened.
    pub event: Event,
}

/// The key of the directory `name` in `dir`.
pub(super) fn child(dir: &[u8], name: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(dir.len() + 1 + name.len());
    if !dir.is_empty() {
        key.extend_from_slice(dir);
        key.push(SEPARATOR);
    }
    key.extend_from_slice(name);
    key
}

/// Whether `dir` is `top` or below it.
pub(super) fn is_within(dir: &[u8], top: &[u8]) -> bool {
    top.is_empty()
        || dir.strip_prefix(top).is_some_and(|rest| rest.first().is_none_or(|&b| b == SEPARATOR))
}

/// Appends the path of `name` in `dir`, with slashes, from the root.
pub(super) fn push_path(out: &mut Vec<u8>, dir: &[u8], name: &[u8]) {
    if !dir.is_empty() {
        out.push(b'/');
        out.extend(dir.iter().map(|&b| if b == SEPARATOR { b'/' } else { b }));
    }
    out.push(b'/');
    out.extend_from_slice(name);
}

/// What the rows of one path amount to, oldest first: an end closes what stood before it. An end
/// that finds nothing standing is kept: what it closes may be in an older segment.
pub(super) fn fold(events: impl Iterator<Item = Event>, out: &mut Vec<Event>) {
    out.clear();
    for event in events {
        if let Event::End { died } = event
            && let Some(Event::Span { died: open @ None, .. }) = out.last_mut()
        {
            *open = Some(died);
        } else {
            out.push(event);
        }
    }
}

/// Makes one of versions that follow one another and differ in nothing but what is below a
/// directory: of that, only what still stands is ever compared.
pub(super) fn coalesce(events: &mut Vec<Event>) {
    events.dedup_by(|next, last| match (last, next) {
        (
            Event::Span { kind: k0, size: s0, mtime: m0, below: old, died: open, .. },
            Event::Span { kind, size, mtime, below, born, died },
        ) if (*k0, *s0, *m0, *open) == (*kind, *size, *mtime, Some(*born)) => {
            (*open, *old) = (*died, *below);
            true
        }
        _ => false,
    });
}
