//! Chunker, walk, snapshot and restore.
