//! End-to-end tests: the real program on real files, as an operator would run it.
//!
//! One binary, one module per subject. Every test works in a directory of its own and talks to
//! the program only through its command line, its files and its exit codes.

mod attack;
mod audit;
mod beside;
mod browse;
mod buckets;
mod c2sp;
mod ceremonies;
mod contract;
mod daemons;
mod damage;
mod demo;
mod drills;
mod fidelity;
mod find;
mod full_disk;
mod harness;
mod hsm;
mod kills;
mod machines;
mod main_job;
mod manual;
mod postgres;
mod prune;
mod quantum;
mod resumed;
mod root_keys;
mod shown;
mod solo;
mod sources;
mod tiers;
mod tokens;
mod verify;
