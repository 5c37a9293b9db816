//! Sealed objects: convergent, misuse-resistant, padded; the store never learns what it stores.
