//! The attacks of the threat table (docs/security-model.md), each tried with the real program.
//!
//! One module per row, one test per cell. A test carries its attack as far as it goes and prints
//! one line: what was tried, and the words of whatever stopped it. `just attack` shows the lines.

mod operator;

/// Prints what stopped an attack, in the words of the program or of the error itself.
#[track_caller]
#[expect(clippy::print_stdout, reason = "the lines are what `just attack` shows")]
fn stopped(attack: &str, by: &str) {
    let by = by.lines().find(|line| !line.trim().is_empty());
    let by = by.expect("whatever stops an attack says so");
    println!("attack: {attack} — stopped by: {}", by.trim().trim_start_matches("error: "));
}
