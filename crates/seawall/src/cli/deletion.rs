//! Flags of `seawall snapshot delete` and `seawall fleet retention`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{KeepCounts, KeepWithin, RootKeyArgs, SignArgs, TokenArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum DeleteCommand {
    /// Write a proposal for the custodians to sign
    #[command(
        after_help = "Example: seawall snapshot delete propose 4f1d22 --reason 'erasure, case 7' --out delete.json"
    )]
    Propose(DeleteProposeArgs),
    /// Show what a proposal would delete, and who has signed it
    #[command(after_help = "Example: seawall snapshot delete show delete.json")]
    Show {
        /// The proposal
        proposal: PathBuf,
    },
    /// Sign a proposal with a custodian's share
    #[command(
        after_help = "Example: seawall snapshot delete sign delete.json --share share-1-anna.json --out delete.json"
    )]
    Sign {
        /// The proposal
        proposal: PathBuf,
        /// The share file [default: of a custodian's home, the share that the snapshots need]
        #[arg(long, value_name = "FILE")]
        share: Option<PathBuf>,
        /// The fleet's card as you last saw it (seawall fleet card): nothing older is believed,
        /// nor anything older than what the custodian's home knows
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
        #[command(flatten)]
        token: TokenArgs,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Put a proposal that enough custodians have signed into this node's log; the next sync
    /// carries it to the regions, the next prune gives the room back here
    #[command(after_help = "Example: seawall snapshot delete apply delete.json")]
    Apply {
        /// The proposal
        proposal: PathBuf,
        /// Only say whether it could be applied
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

/// What is to be deleted.
#[derive(Debug, Args)]
pub(crate) struct DeleteProposeArgs {
    /// Ids of this node's snapshots, or the beginnings of them
    #[arg(required = true, value_name = "ID")]
    pub(crate) ids: Vec<String>,
    /// Why; the custodians read it, and so does everybody who reads the log
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Also the newest of a set, and the last that a drill has proven
    #[arg(long)]
    pub(crate) even_last: bool,
    /// For how many days it may be signed and acted on
    #[arg(long, value_name = "DAYS", default_value_t = 14,
          value_parser = clap::value_parser!(u32).range(1..=30))]
    pub(crate) valid_days: u32,
    /// Where to write the proposal
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RetentionCommand {
    /// Show what regions keep of this node's snapshots
    #[command(after_help = "Example: seawall fleet retention show")]
    Show,
    /// Write new rules, signed with the root keys of this home
    #[command(
        after_help = "Example: seawall fleet retention propose --keep-daily 30 --keep-monthly 24 --out keep.json\n  seawall fleet retention propose --node site-b --keep-daily 30 --out keep.json"
    )]
    Propose {
        /// Whose snapshots they are about, a name or an id; that node applies them [default: this one]
        #[arg(long, value_name = "NODE")]
        node: Option<String>,
        #[command(flatten)]
        roots: RootKeyArgs,
        #[command(flatten)]
        counts: Box<KeepCounts>,
        #[command(flatten)]
        within: Box<KeepWithin>,
        /// Keep those with this tag; with several, separated by commas, those that have all; repeat
        #[arg(long = "keep-tag", value_name = "TAG[,TAG]", help_heading = "Rules")]
        tags: Vec<String>,
        /// Where to write them
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Show the rules, ask, and add the signature of another root key
    #[command(
        after_help = "Example: seawall fleet retention sign keep.json --root-key anna-root.json --out keep.json"
    )]
    Sign {
        /// The rules
        rules: PathBuf,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Put rules that enough root keys have signed into this node's log
    #[command(after_help = "Example: seawall fleet retention apply keep.json")]
    Apply {
        /// The rules
        rules: PathBuf,
    },
}
