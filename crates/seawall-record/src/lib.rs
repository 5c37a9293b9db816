//! Predicate types of every statement, the public reference-set tree, and the order of verification.
