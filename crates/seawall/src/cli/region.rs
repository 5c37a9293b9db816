//! Flags of `seawall region`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum RegionCommand {
    /// Make a region's keys and write its card
    #[command(
        after_help = "Example: seawall region init --fleet fleet.json --name region-a --listen 10.0.0.5:7443 --out region-a.json"
    )]
    Init {
        /// The card that `seawall fleet card` wrote; repeat for each fleet to host
        #[arg(long = "fleet", required = true, value_name = "FILE")]
        fleets: Vec<PathBuf>,
        /// Name of the region
        #[arg(long, value_name = "NAME")]
        name: String,
        /// HOST:PORT where nodes reach it
        #[arg(long, value_name = "ADDR")]
        listen: String,
        /// Where to write the card
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Host another fleet, or one again that a region put back from a copy has lost; the region must
    /// not be running
    #[command(
        after_help = "Example: seawall --home /var/lib/seawall-region region add-fleet fleet.json"
    )]
    AddFleet {
        /// The card that `seawall fleet card` wrote
        card: PathBuf,
    },
    /// Print this region's card again
    #[command(after_help = "Example: seawall --home /var/lib/seawall-region region card")]
    Card {
        /// Where to write the card
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Give back the room of what no snapshot needs any more; the region must not be running
    ///
    /// A region that runs does this by itself every hour. Snapshots expire that may, then what
    /// nothing needs is condemned, and removed by the first run after the grace.
    #[command(
        after_help = "Example: seawall --home /var/lib/seawall-region region gc --dry-run\n  seawall --home /var/lib/seawall-region region gc --grace-hours 0"
    )]
    Gc(GcArgs),
    /// Run the region until it is told to stop
    #[command(after_help = "Example: seawall --home /var/lib/seawall-region region run")]
    Run,
}

/// How garbage is collected.
#[derive(Debug, Args)]
pub(crate) struct GcArgs {
    /// Only show what would expire and what room that gives back
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// How long what is condemned can still be read
    #[arg(long, value_name = "HOURS", default_value_t = 24)]
    pub(crate) grace_hours: u32,
    /// Rewrite zones of which less than this is needed
    #[arg(long, value_name = "PERCENT", default_value_t = 70,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) rewrite_below: u8,
}
