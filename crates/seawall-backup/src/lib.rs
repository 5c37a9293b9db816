//! Chunker, walk, snapshot and restore.
//!
//! Floor 4. A file tree goes in ([`source`]), is cut ([`chunker`]), laid out in sealed pages
//! ([`entry`], [`pages`]) and handed to a store ([`snapshot`]); a reference comes back out and
//! leads to an equal tree ([`restore`], [`target`]).
//!
//! It must not know: where objects travel, who approves a restore, any network. Real file trees
//! are read and written here and nowhere else; everything else is pure.

pub mod browse;
pub mod chunker;
pub mod diff;
pub mod entry;
pub mod export;
pub mod find;
pub mod pages;
pub mod path_index;
pub mod restore;
pub mod sanitise;
pub mod snapshot;
pub mod source;
pub mod target;
