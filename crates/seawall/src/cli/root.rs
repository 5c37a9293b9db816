//! Flags of commands that sign with root keys.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::Args;

/// Which root keys sign.
#[derive(Debug, Args)]
pub(crate) struct RootKeyArgs {
    /// A root key's sealed copy, beside the root keys of this home; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: Vec<PathBuf>,
}

/// The fleet, where no home knows it.
#[derive(Debug, Args)]
pub(crate) struct FleetCardArgs {
    /// The fleet's card as you last saw it (seawall fleet card): where no home of the fleet is;
    /// what a home knows that is newer holds
    #[arg(long, value_name = "FILE")]
    pub(crate) fleet: Option<PathBuf>,
}

/// One more signature.
#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    /// A root key's sealed copy; repeat [default: the root keys of this home]
    #[arg(long, value_name = "FILE")]
    pub(crate) root_key: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) fleet: FleetCardArgs,
    /// Where to write it
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
    /// Do not ask
    #[arg(long)]
    pub(crate) yes: bool,
}
