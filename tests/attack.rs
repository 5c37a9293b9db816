//! The attacks of the threat table (docs/security-model.md), each tried with the real program.
//!
//! One module per attacker or per place that is attacked; a test's name is the attack. A test
//! carries its attack as far as it goes and prints what stopped it, in the words of the program.
//! `just attack` shows the lines.

use std::cell::Cell;

pub(crate) mod bombs;
mod custodians;
mod custody;
mod dealing;
mod deletion;
mod drills;
mod log;
mod machine;
mod network;
mod node;
mod operator;
mod region;
mod theft;
mod witnesses;

/// Lines a test prints; one that tries every length or bit would print hundreds.
const LINES: usize = 5;

thread_local! {
    /// How many this test, which has a thread of its own, has printed.
    static PRINTED: Cell<usize> = const { Cell::new(0) };
}

/// Prints what stopped the attack that the test is named after.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the lines are what `just attack` shows")]
fn stopped(by: &str) {
    let lines = || by.lines().map(str::trim).filter(|line| !line.is_empty());
    let by = lines().find(|line| line.starts_with("error")).or_else(|| lines().next_back());
    let by = by.expect("whatever stops an attack says so");
    let by = by.trim_start_matches("error: ").split(' ').map(without_directory);
    let by = by.collect::<Vec<_>>().join(" ");
    let here = std::thread::current();
    // One test at a time runs on the main thread.
    let test = here.name().filter(|name| *name != "main").map(str::to_owned);
    let test = test.unwrap_or_else(|| std::panic::Location::caller().to_string());
    let (_, attack) = test.split_once("attack::").unwrap_or(("", &test));
    let printed = PRINTED.get();
    PRINTED.set(printed + 1);
    if printed < LINES {
        println!("attack: {} — stopped by: {by}", attack.replace("::", ": ").replace('_', " "));
    }
}

/// A path in a test's own directory, without that.
fn without_directory(word: &str) -> &str {
    word.split_once("/.tmp").and_then(|(_, rest)| rest.split_once('/')).map_or(word, |(_, it)| it)
}
