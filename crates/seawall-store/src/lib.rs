//! Append-only zones and the index rebuilt from them: opaque bytes under their BLAKE3 digest.
