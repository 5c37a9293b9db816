//! Chunker, walk, snapshot and restore.

pub mod entry;
pub mod source;
pub mod target;
