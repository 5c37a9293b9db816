//! `seawall custodian run` and what people do beside it; `seawall restore collect | plan`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

#[derive(Debug, Subcommand)]
pub(crate) enum MachineCommand {
    /// Answer requests by this custodian's policy, until told to end (SIGINT or SIGTERM)
    #[command(
        after_help = "Example: seawall --home /var/lib/custodian custodian run --listen 0.0.0.0:7444 --passphrase-file /run/credentials/passphrase --notify-command 'mail -s restore anna@example.org'"
    )]
    Run(Box<RunArgs>),
    /// List the requests the running machine knows
    #[command(after_help = "Example: seawall --home /var/lib/custodian custodian requests")]
    Requests,
    /// Make the key of a person who may confirm requests, and print the lines for the policy
    #[command(
        after_help = "Example: seawall custodian approver --name anna --out anna-approver.key"
    )]
    Approver {
        /// The person's name
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Where to write the key: a stick, or a directory only this person reads
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Confirm a request, as one of the people the policy names
    #[command(
        after_help = "Example: seawall --home /var/lib/custodian custodian approve 91ab22c4 --key anna-approver.key"
    )]
    Approve {
        /// The request's digest, or the beginning of it; the whole one where it is not listed
        request: String,
        /// The person's key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Refuse a request for good, as one of the people the policy names
    #[command(
        after_help = "Example: seawall --home /var/lib/custodian custodian refuse 91ab22c4 --key anna-approver.key --reason 'nobody called me'"
    )]
    Refuse {
        /// The request's digest, or the beginning of it; the whole one where it is not listed
        request: String,
        /// The person's key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// Why; the requester reads it
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Tell the running machine that this machine's clock is right
    ///
    /// A clock that was set forward is not believed, and nothing is answered, until it comes back
    /// or a person has compared it with another one. What it skipped counts as cooling-off for no
    /// request, accepted or not.
    #[command(after_help = "Example: seawall --home /var/lib/custodian custodian accept-clock")]
    AcceptClock {
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show or check what this custodian's machine saw, decided and answered
    #[command(subcommand)]
    Log(MachineLogCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum MachineLogCommand {
    /// List every act, of every fleet
    #[command(after_help = "Example: seawall --home /var/lib/custodian custodian log list --json")]
    List,
    /// Check every signature, the tree and the checkpoint of each fleet's log
    #[command(after_help = "Example: seawall --home /var/lib/custodian custodian log verify")]
    Verify,
    /// Write the log that is kept for a fleet as C2SP tlog-tiles: for `seawall audit --log`
    #[command(
        after_help = "Example: seawall --home /var/lib/custodian custodian log export anna-log"
    )]
    Export {
        /// A directory
        dir: PathBuf,
        /// The fleet [default: the one that this home knows, if it is one]
        #[arg(long, value_name = "HEX")]
        fleet_id: Option<String>,
    },
}

/// How a custodian's machine runs.
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Address to listen on
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: String,
    /// The policy [default: policy.toml in the home; without one, nothing is answered]
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// File with the passphrase of the shares, all bytes up to a final newline
    #[arg(long, value_name = "FILE")]
    pub(crate) passphrase_file: Option<PathBuf>,
    /// An https: or http: URL that is told of each new request by POST, in JSON
    #[arg(long, value_name = "URL")]
    pub(crate) webhook: Option<String>,
    /// A command that is told of each new request on its standard input
    #[arg(long, value_name = "COMMAND")]
    pub(crate) notify_command: Option<String>,
    /// Believe the clock, though this home has seen a later time
    #[arg(long)]
    pub(crate) accept_clock: bool,
}

/// Which custodians to ask.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// Of a fleet with several groups: the data class [default: every group]
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
    /// A request that has been sent: how it stands with each custodian
    #[arg(long, value_name = "FILE", conflicts_with = "class")]
    pub(crate) request: Option<PathBuf>,
}
