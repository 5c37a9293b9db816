//! `seawall completions` and `seawall man`: pages made from the command definitions.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;
use serde_json::json;

use crate::cli::Cli;
use crate::output::{Outcome, Printer};

pub(crate) fn completions(
    shell: clap_complete::Shell,
    printer: &Printer,
) -> anyhow::Result<Outcome> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "seawall", &mut out);
    let script = String::from_utf8(out).context("a script is text")?;
    printer.result(&json!({ "shell": shell.to_string(), "script": script }), &script)?;
    Ok(Outcome::Done)
}

pub(crate) fn man(dir: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
    let words = format!("wrote manual pages to {}", dir.display());
    printer.result(&json!({ "dir": dir }), &words)?;
    Ok(Outcome::Done)
}
