//! The node: keys and state on disk, the client of the region, the sync loop.
