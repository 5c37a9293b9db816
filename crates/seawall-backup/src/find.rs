//! Finding paths in all snapshots of a fleet, without opening any of them.
//!
//! A [`Cache`] on the operator's disk holds what path indexes say ([`crate::path_index`]), laid
//! out for answering within a tenth of a second from a cold start: each version of a path once,
//! with the span of snapshots that hold it. [`Cache::ingest`] compares a new index with what is
//! known and reads only the pages of directories that changed; [`Cache::find`] answers.
//!
//! The cache is a merge tree of immutable segments: what a snapshot changed becomes a small
//! segment, and segments of like size are merged. A segment holds rows in order of directory and
//! name, in blocks: names, directories and columns sealed apart, so that a scan for a name reads
//! names and nothing else. Every byte at rest is encrypted and authenticated under a key of the
//! operator's home; what does not open is thrown away and built again. Layout:
//! `docs/formats/find-cache.md`.
//!
//! Rejected: a row per path and snapshot (a hundred snapshots would make a hundred times the
//! rows); an inverted index of trigrams (as large as the names it would save from scanning, and
//! names scan at memory speed); a database file (not encrypted, or encrypted page by page and
//! decrypted to find out that a page is not needed).
//!
//! Pure over the `Disk` capability. It must not know: where the key comes from, how objects
//! travel, what a log is.

mod cache;
mod ingest;
mod lookup;
mod merge;
mod pattern;
mod query;
mod row;
mod segment;
#[cfg(test)]
mod tests;
mod vault;

pub use cache::{Cache, CacheError, CacheStats, LineId, Owner, SnapshotFacts};
pub use ingest::{IngestError, Ingested, Source};
pub use pattern::{Match, Pattern, PatternError};
pub use query::{Answer, Filter, Found};
pub use row::{Event, Row};
