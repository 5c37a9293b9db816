//! Flags of `seawall restore`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::Subcommand;

use super::{PartArgs, PlanArgs, TokenArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum RestoreCommand {
    /// Write a request for the custodians
    #[command(
        after_help = "Example: seawall restore request 4f1d22 --reason 'disk of site-a died' --out req.json"
    )]
    Request {
        /// The snapshot's id, or the beginning of it
        id: String,
        /// Why; the custodians read it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Where to write the request
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Hours during which it may be answered
        #[arg(long, default_value_t = 72, value_name = "HOURS",
              value_parser = clap::value_parser!(u64).range(1..=720))]
        valid: u64,
        /// Ask although fewer witnesses vouch for the log than the fleet demands; this is logged,
        /// and every custodian sees it
        #[arg(long)]
        break_glass: bool,
        /// Send it to every custodian of the group whose machine answers
        #[arg(long)]
        send: bool,
    },
    /// Fetch the answers of custodians' machines to a request that was sent
    #[command(
        after_help = "Example: seawall restore collect req.json --out-dir approvals\nExit codes: 0 there are enough, 3 not yet."
    )]
    Collect {
        /// The request
        request: PathBuf,
        /// Directory for the approvals
        #[arg(long, value_name = "DIR")]
        out_dir: PathBuf,
    },
    /// Show which custodians are there and how long a quorum takes
    #[command(
        after_help = "Example: seawall restore plan\nExit codes: 0 a quorum is in sight, 3 people have to be asked by hand."
    )]
    Plan(PlanArgs),
    /// As a custodian: show what is asked, and answer it with a share
    #[command(
        after_help = "Example: seawall restore approve req.json --share share-1-anna.json --out approval-1.json"
    )]
    Approve {
        /// The request
        request: PathBuf,
        /// The share file; one that a token wrapped needs --module [default: of a custodian's home,
        /// the share that the snapshot needs]
        #[arg(long, value_name = "FILE")]
        share: Option<PathBuf>,
        /// The fleet's card as you last saw it (seawall fleet card): nothing older is believed,
        /// nor anything older than what the custodian's home knows, so that nobody who was revoked
        /// since asks with an old one
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
        #[command(flatten)]
        token: TokenArgs,
        /// Where to write the approval
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Answer though the snapshot lacks the post-quantum half that its group demands: for one of
        /// a node that was cut off for more than ninety days. Ask whoever ran it first
        #[arg(long)]
        accept_classical: bool,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Keep what custodians handed over to others, so that older snapshots open
    #[command(after_help = "Example: seawall restore take-over anna-hands-over.json")]
    TakeOver {
        /// What `seawall custodian hand-over` wrote
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Open the snapshot with enough approvals and restore it
    #[command(
        after_help = "Example: seawall restore run req.json --approval a1.json --approval a2.json --to /srv/restored"
    )]
    Run {
        /// The request
        request: PathBuf,
        /// An approval; repeat for each
        #[arg(long = "approval", required = true, value_name = "FILE")]
        approvals: Vec<PathBuf>,
        /// An empty or new directory
        #[arg(long, value_name = "DIR", required_unless_present = "dry_run")]
        to: Option<PathBuf>,
        #[command(flatten)]
        part: PartArgs,
        /// Write nothing: say what would be written (with --json, each path)
        #[arg(long)]
        dry_run: bool,
        /// Restore though the snapshot lacks the post-quantum half that its group demands
        #[arg(long)]
        accept_classical: bool,
        /// Also restore set-uid and set-gid bits, file capabilities and device nodes
        #[arg(long)]
        privileged: bool,
        /// The target holds an interrupted restore: finish it
        #[arg(long)]
        resume: bool,
    },
}
