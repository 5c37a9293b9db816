//! Whether two files of one size hold the same bytes.
//!
//! Where both have the same chunk at the same place nothing is opened. Keys are derived from
//! content, so that says all; that references differ says nothing.

use std::sync::Arc;

use crate::browse::{OpenFile, View, ViewError};
use crate::entry::{Entry, EntryKind};

/// Bytes compared at once.
const STEP: u64 = 1 << 20;

pub(super) fn differ(
    [old, new]: [&View; 2],
    a: &Arc<Entry>,
    b: &Arc<Entry>,
) -> Result<bool, ViewError> {
    let (EntryKind::File { size, content: was }, EntryKind::File { content: is, .. }) =
        (&a.kind, &b.kind)
    else {
        return Ok(true);
    };
    if was == is {
        return Ok(false);
    }
    let open = |entry| OpenFile::new(entry).expect("the entry is a file's");
    let (a, b) = (open(a), open(b));
    let mut at = 0;
    while at < *size {
        let (piece, other) = (old.piece_at(&a, at)?, new.piece_at(&b, at)?);
        let end = piece.end.min(other.end);
        if piece.is_same(&other) {
            at = end;
            continue;
        }
        while at < end {
            let len = STEP.min(end - at) as usize;
            if old.read(&a, at, len)? != new.read(&b, at, len)? {
                return Ok(true);
            }
            at += len as u64;
        }
    }
    Ok(false)
}
