//! Writing restored file trees.
