//! Flags of `seawall custodian` and `seawall group`.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::KeyAlgorithm;

#[derive(Debug, Subcommand)]
pub(crate) enum CustodianCommand {
    /// Make a custodian's home and keys, and write its public card
    #[command(
        after_help = "Example: seawall --home ~/custodian custodian init --name anna --out anna.json\n  seawall --home ~/custodian custodian init --share share-1-anna.json --out anna.json"
    )]
    Init {
        /// Name of the custodian
        #[arg(long, value_name = "NAME", required_unless_present = "share")]
        name: Option<String>,
        /// Who runs it; several custodians of one operator count once as witnesses [default: the
        /// custodian's name]
        #[arg(long, value_name = "NAME")]
        operator: Option<String>,
        /// Take over the name, signing key and share of a share file that `init` wrote
        #[arg(long, value_name = "FILE", conflicts_with = "name")]
        share: Option<PathBuf>,
        /// Algorithm of the key that signs approvals; with a share file it is the file's
        #[arg(
            long,
            value_name = "ALGORITHM",
            value_enum,
            default_value = "ed25519",
            conflicts_with = "share"
        )]
        algorithm: KeyAlgorithm,
        /// The card of a fleet to join at once (see custodian join)
        #[arg(long, value_name = "FILE", requires = "fleet_id")]
        fleet: Option<PathBuf>,
        /// The fleet id on the recovery sheet
        #[arg(long, value_name = "HEX", requires = "fleet")]
        fleet_id: Option<String>,
        /// Label of a token that wraps shares and secret keys from the start (needs --module)
        #[arg(long, value_name = "LABEL")]
        token_label: Option<String>,
        /// Where to write the card
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Print this custodian's card again
    #[command(
        after_help = "Example: seawall --home ~/custodian custodian card --address custodian.example:7444"
    )]
    Card {
        /// HOST:PORT where its daemon answers
        #[arg(long, value_name = "ADDR")]
        address: Option<String>,
        /// Where to write the card
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Deal this custodian's post-quantum shares of snapshots to the custodians of a group that was
    /// shared anew
    #[command(
        after_help = "Example: seawall --home ~/custodian custodian hand-over --group reshared.json --capsules capsules.jsonl --out anna-hands-over.json"
    )]
    HandOver {
        /// The group file of the re-sharing (seawall group finish)
        #[arg(long, value_name = "FILE")]
        group: PathBuf,
        /// What `seawall snapshot capsules` wrote on each node; repeat for each
        #[arg(long, required = true, value_name = "FILE")]
        capsules: Vec<PathBuf>,
        /// Where to write what is handed over; public
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Keep what other custodians handed over
    #[command(
        after_help = "Example: seawall --home ~/custodian custodian take-over anna-hands-over.json"
    )]
    TakeOver {
        /// What `seawall custodian hand-over` wrote
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Show keys, fleets and shares of this home
    #[command(after_help = "Example: seawall --home ~/custodian custodian show")]
    Show,
    /// Learn of a fleet or of its newer policies; seals shares made before it was founded, deletes
    /// shares that its policy has replaced
    #[command(
        after_help = "Example: seawall --home ~/custodian custodian join fleet.json --fleet-id 91ab..."
    )]
    Join {
        /// The card that `seawall fleet card` wrote
        card: PathBuf,
        /// The fleet id on the recovery sheet; refuses any other fleet
        #[arg(long, value_name = "HEX")]
        fleet_id: Option<String>,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    #[command(flatten)]
    Token(super::TokenCommand),
    #[command(flatten)]
    Machine(super::MachineCommand),
}

/// Where a ceremony lies, and why it is held.
#[derive(Debug, Args)]
pub(crate) struct Opening {
    /// The ceremony's folder: on a stick, or shared; made if it is not there
    pub(crate) folder: PathBuf,
    /// A custodian's card, in the order of their indices; repeat
    #[arg(long = "card", required = true, value_name = "FILE")]
    pub(crate) cards: Vec<PathBuf>,
    /// Why; all who take part read it
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
}

/// The group a ceremony starts from.
#[derive(Debug, Args)]
pub(crate) struct From {
    /// The fleet's card, or the group file of an earlier ceremony
    #[arg(long, value_name = "FILE")]
    pub(crate) from: PathBuf,
    /// Of a fleet with several groups: the data class [default: the strictest]
    #[arg(long, value_name = "CLASS")]
    pub(crate) class: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum GroupCommand {
    /// Open a ceremony that makes a new group between its custodians
    #[command(
        after_help = "Example: seawall group begin /media/usb/ceremony --threshold 2 --card anna.json --card bob.json --card carla.json --reason 'our first group'"
    )]
    Begin {
        #[command(flatten)]
        opening: Opening,
        /// How many custodians it takes to open a snapshot
        #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=16))]
        threshold: u16,
        /// The data class
        #[arg(long, value_name = "CLASS", default_value = "default")]
        class: String,
        /// Number of the class inside sealed objects; each class of a fleet has its own, and 1 is
        /// that of a fleet's first
        #[arg(long, value_name = "N", conflicts_with = "fleet",
              value_parser = clap::value_parser!(u8).range(1..))]
        class_number: Option<u8>,
        /// The card of the fleet the group is for, if it is founded already; it says the number of
        /// the class
        #[arg(long, value_name = "FILE")]
        fleet: Option<PathBuf>,
    },
    /// Open a ceremony that gives all custodians of a group new shares
    #[command(
        after_help = "Example: seawall group refresh /media/usb/refresh --from fleet.json --card anna.json --card bob.json --card carla.json --reason 'once a year'"
    )]
    Refresh {
        #[command(flatten)]
        opening: Opening,
        #[command(flatten)]
        from: From,
    },
    /// Open a ceremony in which the others give a custodian its lost share again
    #[command(
        after_help = "Example: seawall group repair /media/usb/repair --from fleet.json --lost carla --card carla-new.json --card anna.json --card bob.json --reason 'stick lost'"
    )]
    Repair {
        #[command(flatten)]
        opening: Opening,
        #[command(flatten)]
        from: From,
        /// Name of the custodian who lost its share; one of the cards is its own, new or old
        #[arg(long, value_name = "NAME")]
        lost: String,
    },
    /// Open a ceremony that shares a group among other custodians, or with another threshold
    #[command(
        after_help = "Example: seawall group reshare /media/usb/reshare --from fleet.json --dealer anna --dealer bob --threshold 3 --card anna.json --card bob.json --card dora.json --card eve.json --card fritz.json --reason 'two more people'"
    )]
    Reshare {
        #[command(flatten)]
        opening: Opening,
        #[command(flatten)]
        from: From,
        /// How many custodians it takes afterwards
        #[arg(long, value_name = "K", value_parser = clap::value_parser!(u16).range(2..=16))]
        threshold: u16,
        /// Names of the custodians of today who deal, as many as the group's threshold
        #[arg(long = "dealer", required = true, value_name = "NAME")]
        dealers: Vec<String>,
        /// Go on though fewer custodians stay than it takes: those who leave will hand their
        /// post-quantum shares over (seawall custodian hand-over), or today's snapshots will not open
        #[arg(long)]
        few_stay: bool,
    },
    /// Do whatever is this custodian's to do in a ceremony by now; run it as often as you like
    #[command(
        after_help = "Example: seawall --home ~/custodian group step /media/usb/ceremony\nExit codes: 0 whatever could be done is done (see waiting), 1 something is wrong."
    )]
    Step {
        /// The ceremony's folder
        folder: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Show what a ceremony is for, and who has done what
    #[command(after_help = "Example: seawall group status /media/usb/ceremony")]
    Status {
        /// The ceremony's folder
        folder: PathBuf,
    },
    /// Give up a ceremony that comes to nothing: delete its secrets here, set its share aside
    #[command(after_help = "Example: seawall --home ~/custodian group abandon 91ab22c4")]
    Abandon {
        /// The ceremony's number, or the beginning of it
        number: String,
    },
    /// Write the group file of a complete ceremony, for init or the fleet's policy
    #[command(after_help = "Example: seawall group finish /media/usb/ceremony --out group.json")]
    Finish {
        /// The ceremony's folder
        folder: PathBuf,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Check a group file, and print the ceremony's record
    #[command(after_help = "Example: seawall group record group.json --html --out record.html")]
    Record {
        /// The group file
        group: PathBuf,
        /// A printable page instead of text
        #[arg(long)]
        html: bool,
        /// Where to write it
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
}
