//! Flags of `seawall log`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::Subcommand;

use super::EvidenceCommand;

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// List the entries of this node's log, oldest first
    #[command(after_help = "Example: seawall log show --json")]
    Show,
    /// Print the inclusion proof of an entry under the newest checkpoint
    #[command(after_help = "Example: seawall log prove 7 > entry-7.proof")]
    Prove {
        /// The entry's index
        index: u64,
    },
    /// Put an event on record, such as a case that was opened
    #[command(
        after_help = "Example: seawall log append-event --kind chassis-tamper --text 'lid switch of rack 3'"
    )]
    AppendEvent {
        /// What sort: a-z, 0-9 and dashes
        #[arg(long, value_name = "KIND")]
        kind: String,
        /// What is to be known; everybody who reads the log sees it
        #[arg(long, value_name = "TEXT")]
        text: String,
    },
    /// Compare this machine's clock with what was last heard of time
    #[command(after_help = "Example: seawall log clock\n  seawall log clock --is-right")]
    Clock {
        /// Go on by it although it is far ahead: the machine was off for so long
        #[arg(long)]
        is_right: bool,
    },
    /// Check the log: every entry, every signature, the checkpoint
    #[command(after_help = "Example: seawall log verify")]
    Verify,
    /// Check evidence that a log or a witness misbehaved
    #[command(subcommand)]
    Evidence(EvidenceCommand),
    /// Write the log as C2SP tlog-tiles for any web server to serve
    #[command(after_help = "Example: seawall log export /srv/www/log")]
    Export {
        /// A directory
        dir: PathBuf,
    },
}
