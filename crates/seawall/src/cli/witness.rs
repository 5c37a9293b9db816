//! Epochs of a node's log, and evidence against logs and witnesses.

use std::path::PathBuf;

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum EpochCommand {
    /// Show where this node's log stands, here and with everybody who can be asked
    #[command(after_help = "Example: seawall node epoch status --json")]
    Status,
    /// Ask everybody for the largest checkpoint of this node's log, and write a request for the
    /// root keys; until it is granted, entries are kept here and shown to nobody
    #[command(
        after_help = "Example: seawall node epoch begin --reason 'restored from a VM image' --out epoch.json"
    )]
    Begin {
        /// Why; whoever has the root keys reads it
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Where to write the request
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Go on in the epoch that the root keys granted
    #[command(after_help = "Example: seawall node epoch adopt granted.json")]
    Adopt {
        /// The file that `seawall fleet epoch` wrote
        file: PathBuf,
        /// Go on without entries that are not here, although no region can be asked for them
        #[arg(long)]
        without_copies: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum EvidenceCommand {
    /// Check offline what two signed checkpoints prove, and of whom
    #[command(after_help = "Example: seawall log evidence verify fork.json --fleet-id 91ab...")]
    Verify {
        /// The evidence file
        file: PathBuf,
        /// The fleet id on the recovery sheet; refuses any other fleet
        #[arg(long, value_name = "HEX")]
        fleet_id: Option<String>,
    },
}
