//! Flags of the commands that look into an approved snapshot.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::Args;

/// Which part of a snapshot.
#[derive(Debug, Args)]
pub(crate) struct PartArgs {
    /// Only this path of the snapshot, from its root, and all below; may be repeated
    #[arg(long = "path", value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Only what this pattern matches, from the root, such as '**/*.conf'; may be repeated
    #[arg(long = "glob", value_name = "PATTERN")]
    pub(crate) globs: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct MountArgs {
    /// The request
    pub(crate) request: PathBuf,
    /// A directory
    pub(crate) mountpoint: PathBuf,
    /// An approval; repeat for each
    #[arg(long = "approval", required = true, value_name = "FILE")]
    pub(crate) approvals: Vec<PathBuf>,
    /// Let other users look, too, as far as the modes of the snapshot allow them
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Do not read all directories first; every name then shows a link count of 1
    #[arg(long)]
    pub(crate) no_link_counts: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The request
    pub(crate) request: PathBuf,
    /// An approval; repeat for each
    #[arg(long = "approval", required = true, value_name = "FILE")]
    pub(crate) approvals: Vec<PathBuf>,
    /// As a tar archive (POSIX pax), the one format there is
    #[arg(long, required = true)]
    pub(crate) tar: bool,
    /// Where to write it; - is standard output
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) part: PartArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DiffArgs {
    /// The request for the first snapshot
    pub(crate) old: PathBuf,
    /// The request for the second snapshot
    pub(crate) new: PathBuf,
    /// An approval of either request; repeat for each
    #[arg(long = "approval", required = true, value_name = "FILE")]
    pub(crate) approvals: Vec<PathBuf>,
}
