//! `seawall completions` and `seawall man`: pages made from the command definitions.

use std::path::Path;

use anyhow::Context as _;
use clap::CommandFactory as _;

use crate::cli::Cli;
use crate::output::{Outcome, Printer};

pub(crate) fn completions(shell: clap_complete::Shell) -> anyhow::Result<Outcome> {
    let mut out = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "seawall", &mut out);
    crate::output::write_output(Path::new("-"), &out)?;
    Ok(Outcome::Done)
}

pub(crate) fn man(dir: &Path, printer: &Printer) -> anyhow::Result<Outcome> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    clap_mangen::generate_to(Cli::command(), dir)
        .with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
    printer.say(&format!("wrote manual pages to {}", dir.display()));
    Ok(Outcome::Done)
}
