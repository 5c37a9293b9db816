//! Reading file trees.
