//! Chores of the house: `tidy` and generated pages.

fn main() {}
