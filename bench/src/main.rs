//! `just bench-peers`: seawall beside restic, rustic, borg, bupstash and vykar, in one run, on
//! corpora made here. docs/benchmarks.md says what is measured and how to read it.
//!
//! The program is seen from outside, as a user sees it: its commands, its files, its time. That a
//! peer is measured by the same code in the same minute counts for more than a fine clock.

mod calls;
mod corpus;
mod durability;
mod ground;
mod measure;
mod options;
mod report;
mod results;
mod run;
mod seeded;
mod tools;
mod tree;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::options::Options;
use crate::results::Results;

/// The first word when this program runs itself as the launcher of a measured command.
const LAUNCH: &str = "--launch";

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().skip(1).collect();
    let done = match &words[..] {
        [first, out, command @ ..] if first == LAUNCH => measure::launch(Path::new(out), command),
        _ => benchmark(&words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn benchmark(words: &[OsString]) -> Result<()> {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let options = Options::parse(&words)?;
    if options.help {
        print!("{}", options::HELP);
        return Ok(());
    }
    if options.make {
        return run::make(&options);
    }
    let results = match &options.render {
        Some(file) => Results::read(file)?,
        None => run::all(&options, |results| match &options.json {
            Some(file) => results.write(file),
            None => Ok(()),
        })?,
    };
    let tables = report::markdown(&results);
    println!("{tables}");
    if options.update_docs {
        let page = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks.md");
        let text = std::fs::read_to_string(&page).context("reading docs/benchmarks.md")?;
        std::fs::write(&page, report::inserted(&text, &tables)?)?;
    }
    Ok(())
}
