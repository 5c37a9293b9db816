//! The program: one file per command.

fn main() {}
