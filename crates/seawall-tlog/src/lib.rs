//! One append-only Merkle log per origin: C2SP tlog-tiles, checkpoints, proofs, witnesses and mirrors.
