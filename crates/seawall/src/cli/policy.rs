//! Flags of `seawall fleet policy`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::{Args, Subcommand};
use seawall_record::EarlierLog;

use super::{FleetCardArgs, SignArgs};

#[derive(Debug, Subcommand)]
pub(crate) enum PolicyCommand {
    /// Show the policy that holds, or what a proposal would change
    #[command(
        after_help = "Example: seawall fleet policy show\n  seawall fleet policy show next.json"
    )]
    Show {
        /// A proposal
        proposal: Option<PathBuf>,
        #[command(flatten)]
        fleet: FleetCardArgs,
    },
    /// Write the next policy, signed with the root keys of this home
    #[command(after_help = PROPOSE_HELP)]
    Propose(Box<ProposeArgs>),
    /// Show what a proposal changes, ask, and add the signature of another root key
    #[command(
        after_help = "Example: seawall fleet policy sign next.json --root-key anna-root.json --out next.json"
    )]
    Sign {
        /// The proposal
        proposal: PathBuf,
        #[command(flatten)]
        sign: SignArgs,
    },
    /// Act by a proposal that has enough signatures; regions and other nodes learn of it at sync
    #[command(after_help = "Example: seawall fleet policy apply next.json")]
    Apply {
        /// The proposal
        proposal: PathBuf,
    },
}

const PROPOSE_HELP: &str = "What is not named stays as it is.\nExample: seawall fleet policy propose --revoke site-b --keep-entries 41 --reason 'laptop stolen' --out next.json\n  seawall fleet policy propose --root-key ed25519:… --root-key ed25519:… --root-threshold 2 --out next.json";

/// What the next policy changes.
#[derive(Debug, Args)]
pub(crate) struct ProposeArgs {
    /// Add an escrow group, or replace its record: the file that a ceremony wrote. A new group of
    /// a class retires the one before, which goes on opening what was sealed to it
    #[arg(long, value_name = "FILE")]
    pub(crate) group: Vec<PathBuf>,
    /// Take no new snapshots to this escrow group any more
    #[arg(long, value_name = "GROUP-ID")]
    pub(crate) retire: Vec<String>,
    /// Say where a custodian's machine answers: its card with an address (seawall custodian card)
    #[arg(long, value_name = "CARD")]
    pub(crate) endpoint: Vec<PathBuf>,
    /// Add or replace a log witness: a custodian's card, or {"operator", "name", "key", "endpoint"}
    #[arg(long, value_name = "FILE")]
    pub(crate) witness: Vec<PathBuf>,
    /// Remove a witness
    #[arg(long, value_name = "NAME")]
    pub(crate) remove_witness: Vec<String>,
    /// Operators that must have cosigned what is believed to be fresh
    #[arg(long, value_name = "Q", requires = "faulty")]
    pub(crate) witness_quorum: Option<u16>,
    /// Demand no witnesses any more: whoever sees a log for the first time believes what it is shown
    #[arg(long, conflicts_with = "witness_quorum")]
    pub(crate) no_witness_quorum: bool,
    /// Operators of whom it is assumed that they may lie together
    #[arg(long, value_name = "F", requires = "witness_quorum")]
    pub(crate) faulty: Option<u16>,
    /// Let regions delete what is at least so many days old by witnessed time
    #[arg(long, value_name = "DAYS", requires = "deletion_custodians",
          value_parser = clap::value_parser!(u32).range(1..=36_500))]
    pub(crate) deletion_min_days: Option<u32>,
    /// Custodians of its group who must sign to delete what is younger
    #[arg(long, value_name = "N", requires = "deletion_min_days")]
    pub(crate) deletion_custodians: Option<u16>,
    /// Revoke a member: its name, or its id
    #[arg(long, value_name = "MEMBER", requires = "reason")]
    pub(crate) revoke: Option<String>,
    /// Entries of its log that are still believed [default: all that are known here, none if its
    /// log is not]
    #[arg(long, value_name = "N", requires = "revoke")]
    pub(crate) keep_entries: Option<u64>,
    /// The last epoch of it that is revoked [default: the highest that is known]
    #[arg(long, value_name = "N", requires = "revoke")]
    pub(crate) epoch: Option<u32>,
    /// Entries of its log of an earlier epoch that are still believed [default: all that are
    /// known here]; repeat
    #[arg(long, value_name = "EPOCH:N", requires = "revoke", value_parser = earlier_log)]
    pub(crate) keep_earlier: Vec<EarlierLog>,
    /// Why it is revoked
    #[arg(long, value_name = "TEXT", requires = "revoke")]
    pub(crate) reason: Option<String>,
    /// The root keys from now on, all of them; repeat
    #[arg(long, value_name = "KEY", requires = "root_threshold")]
    pub(crate) root_key: Vec<String>,
    /// How many of them have to sign
    #[arg(long, value_name = "K", requires = "root_key")]
    pub(crate) root_threshold: Option<u16>,
    /// Sign with this sealed copy of a root key, beside the root keys of this home; repeat
    #[arg(long, value_name = "FILE")]
    pub(crate) sign_with: Vec<PathBuf>,
    /// A further statement of earlier root keys that stays good, such as an enrolment or the answer
    /// of `seawall fleet epoch`; those signed here stay by themselves
    #[arg(long, value_name = "FILE")]
    pub(crate) carry: Vec<PathBuf>,
    /// Carry over what the old root keys signed and only the logs within reach hold
    #[arg(long, requires = "root_key", conflicts_with = "leave_logs")]
    pub(crate) carry_logs: bool,
    /// Go on without it: those logs cannot be read any more
    #[arg(long, requires = "root_key")]
    pub(crate) leave_logs: bool,
    /// Where to write the proposal
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub(crate) out: PathBuf,
}

fn earlier_log(text: &str) -> Result<EarlierLog, String> {
    let parsed = text.split_once(':').and_then(|(epoch, size)| {
        Some(EarlierLog { epoch: epoch.parse().ok()?, log_size: size.parse().ok()? })
    });
    parsed.ok_or_else(|| "an epoch and a number of entries, such as 1:57".to_owned())
}
