//! Flags of `seawall drill`, `seawall report` and `seawall audit`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use seawall_policy::Span;

use super::find::when;

pub(super) const AUDIT_HELP: &str = "Example: seawall audit --since 30d\n  seawall audit --snapshot 4f1d22 --export - | jq .kind\n  seawall audit --file /srv/restored/etc/hostname";

#[derive(Debug, Subcommand)]
pub(crate) enum DrillCommand {
    /// Read and hash everything held here, and what other tiers hold of it; needs no key
    #[command(after_help = "Example: seawall drill scrub --region region-a --sample 1000")]
    Scrub(ScrubArgs),
    /// Restore a snapshot of the class `canary`, by itself
    #[command(after_help = "Example: seawall drill canary --against /srv/canary")]
    Canary {
        /// The snapshot [default: the newest of the class]
        #[arg(long, value_name = "ID")]
        snapshot: Option<String>,
        /// Directory of the canary's share [default: beside the home, HOME-canary]
        #[arg(long, value_name = "DIR")]
        share_dir: Option<PathBuf>,
        /// Do nothing if the last one has passed, within this time, such as 28d
        #[arg(long, value_name = "SPAN")]
        if_due: Option<Span>,
        #[command(flatten)]
        restore: Box<RestoreDrillArgs>,
    },
    /// Restore a real snapshot with the approvals of its custodians
    #[command(subcommand)]
    Quorum(QuorumCommand),
    /// Print timers and cron lines that drill every week, month and quarter
    #[command(after_help = "Example: seawall drill schedule --cron")]
    Schedule {
        /// Lines for a crontab instead of units for systemd
        #[arg(long)]
        cron: bool,
        /// Where requests of quorum drills are written for custodians to fetch
        #[arg(long, value_name = "DIR", default_value = "/var/lib/seawall-drills")]
        requests: PathBuf,
        /// More arguments of the canary drill, such as --check 'command'
        #[arg(last = true)]
        arguments: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct ScrubArgs {
    /// Also read this node's log and objects back from a region; repeat
    #[arg(long = "region", value_name = "NAME")]
    pub(crate) regions: Vec<String>,
    /// Also read everything in the bucket
    #[arg(long)]
    pub(crate) bucket: bool,
    /// Of each region only N objects, chosen at random
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) sample: Option<u64>,
    /// Do nothing if the last one has passed, within this time, such as 6d
    #[arg(long, value_name = "SPAN")]
    pub(crate) if_due: Option<Span>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QuorumCommand {
    /// Write a request for the custodians, marked as a drill
    #[command(after_help = "Example: seawall drill quorum begin --out drill.json")]
    Begin {
        /// The snapshot [default: the newest of this node that is no canary]
        #[arg(long, value_name = "ID")]
        snapshot: Option<String>,
        /// Where to write the request
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Hours during which it may be answered
        #[arg(long, default_value_t = 168, value_name = "HOURS",
              value_parser = clap::value_parser!(u64).range(1..=720))]
        valid: u64,
        /// Do nothing if the last one has passed, within this time, such as 85d
        #[arg(long, value_name = "SPAN")]
        if_due: Option<Span>,
    },
    /// Restore with the approvals into a scratch place, compare, try, report
    #[command(
        after_help = "Example: seawall drill quorum run drill.json --approval a1.json --approval a2.json --check 'test -s \"$SEAWALL_RESTORED/etc/hostname\"'"
    )]
    Run {
        /// The request
        request: PathBuf,
        /// An approval; repeat for each
        #[arg(long = "approval", required = true, value_name = "FILE")]
        approvals: Vec<PathBuf>,
        #[command(flatten)]
        restore: Box<RestoreDrillArgs>,
    },
}

/// How a drill restores and what it is held against.
#[derive(Debug, Args)]
pub(crate) struct RestoreDrillArgs {
    /// Directory in which a scratch directory is made [default: TMPDIR or /tmp]
    #[arg(long, value_name = "DIR")]
    pub(crate) scratch: Option<PathBuf>,
    /// Leave what was restored in the scratch directory
    #[arg(long)]
    pub(crate) keep: bool,
    /// Restore N files chosen at random instead of everything; proves less
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub(crate) sample: Option<u64>,
    /// Take nothing from this node's own store: what is there if this machine is not
    #[arg(long)]
    pub(crate) elsewhere: bool,
    /// Compare with this live path, file by file
    #[arg(long, value_name = "PATH", help_heading = "Comparing")]
    pub(crate) against: Option<PathBuf>,
    /// The snapshot may lack what PATH has: some of it was excluded
    #[arg(long, requires = "against", help_heading = "Comparing")]
    pub(crate) may_lack: bool,
    /// Making the snapshot took so many seconds: what changed meanwhile has changed since
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 0,
        requires = "against",
        help_heading = "Comparing"
    )]
    pub(crate) took: u64,
    /// A command that fails if the application does not work on what lies in $SEAWALL_RESTORED
    #[arg(long, value_name = "COMMAND", help_heading = "Application")]
    pub(crate) check: Option<OsString>,
    /// Seconds it may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Application",
          value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) check_timeout: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportCommand {
    /// List the reports of this node's drills, oldest first
    #[command(after_help = "Example: seawall report list --json")]
    List,
    /// Write the newest report, or one of them, as a printable page
    #[command(after_help = "Example: seawall report page --out drill.html")]
    Page {
        /// The report's id, or the beginning of it [default: the newest]
        id: Option<String>,
        /// Where to write it
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Write all reports as a static site for anybody to check
    #[command(after_help = "Example: seawall report publish --to /srv/www/drills")]
    Publish {
        /// A directory that a web server serves
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Check reports that somebody published; needs no home and nothing else
    #[command(
        after_help = "Example: seawall report verify https://status.example.org/reports/r.json --fleet 91ab..."
    )]
    Verify {
        /// A file, or an http or https URL of one; of several each is checked
        #[arg(required = true, value_name = "REPORT")]
        reports: Vec<String>,
        /// The fleet's id, from the recovery sheet or from somebody you trust
        #[arg(long, value_name = "HEX")]
        fleet: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct AuditArgs {
    /// Only what concerns this snapshot: its id, or the beginning of it
    #[arg(long, value_name = "ID")]
    pub(crate) snapshot: Option<String>,
    /// Only what this node or custodian did
    #[arg(long, value_name = "NAME")]
    pub(crate) actor: Option<String>,
    /// Only since: 2026-11-01, 2026-11-01T12:30 (UTC), or back from now: 7d, 36h
    #[arg(long, value_name = "TIME", value_parser = when)]
    pub(crate) since: Option<jiff::Timestamp>,
    /// Where a restored file or directory came from
    #[arg(long, value_name = "PATH", conflicts_with_all = ["snapshot", "actor", "since"])]
    pub(crate) file: Option<PathBuf>,
    /// Also the logs of custodians and nodes that were exported to these directories; repeat
    #[arg(long = "log", value_name = "DIR")]
    pub(crate) logs: Vec<PathBuf>,
    /// Write JSON lines with inclusion proofs to a file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) export: Option<PathBuf>,
    /// Ask no region and no bucket
    #[arg(long)]
    pub(crate) offline: bool,
}
