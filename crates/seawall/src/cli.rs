//! Every command, flag and example: the one source of help, completions and manual pages.

#![allow(clippy::doc_markdown, reason = "these comments are the help text, shown as they stand")]

mod algorithm;
mod custody;
mod deletion;
mod drill;
mod find;
mod log;
mod look;
mod machine;
mod policy;
mod region;
mod restore;
mod root;
mod token;
mod witness;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use seawall_policy::Span;
use seawall_policy::retention::Count;

pub(crate) use self::algorithm::KeyAlgorithm;
pub(crate) use self::custody::{
    CustodianCommand, From as CeremonyFrom, GroupCommand, Opening as CeremonyOpening,
};
pub(crate) use self::deletion::{DeleteCommand, DeleteProposeArgs, RetentionCommand};
pub(crate) use self::drill::{
    AuditArgs, DrillCommand, QuorumCommand, ReportCommand, RestoreDrillArgs, ScrubArgs,
};
pub(crate) use self::find::{FindArgs, FindKind};
pub(crate) use self::log::LogCommand;
pub(crate) use self::look::{DiffArgs, ExportArgs, MountArgs, PartArgs};
pub(crate) use self::machine::{MachineCommand, MachineLogCommand, PlanArgs, RunArgs};
pub(crate) use self::policy::{PolicyCommand, ProposeArgs};
pub(crate) use self::region::{GcArgs, RegionCommand};
pub(crate) use self::restore::RestoreCommand;
pub(crate) use self::root::{FleetCardArgs, RootKeyArgs, SignArgs};
pub(crate) use self::token::{CustodianArgs, GroupArgs, TokenArgs, TokenCommand};
pub(crate) use self::witness::{EpochCommand, EvidenceCommand};

/// Backup whose restores need a quorum: sealed on the node, mirrored by regions that cannot
/// read it, opened only when enough custodians agree.
#[derive(Debug, Parser)]
#[command(name = "seawall", version, max_term_width = 100, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    /// Home of this node or region [default: ~/.local/share/seawall]
    #[arg(long, global = true, env = "SEAWALL_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print results as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress, no words on the side; warnings stay
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Log more to stderr (-v info, -vv debug, -vvv trace; SEAWALL_LOG filters by room)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with some files skipped (each named).\nExample: seawall demo /usr/share";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show everything on this machine: seal, lose a node, restore by quorum
    #[command(after_help = "Example: seawall demo /usr/share")]
    Demo(DemoArgs),
    /// Found a fleet: escrow group, share files, first node
    #[command(
        after_help = "Example: seawall init --custodians 3 --threshold 2 --shares-dir /media/usb/shares"
    )]
    Init(InitArgs),
    /// Make, list and show snapshots
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    /// Forget snapshots by rules, and give back the room of what nothing refers to any more
    #[command(after_help = PRUNE_HELP)]
    Prune(Box<PruneArgs>),
    /// Ask for a restore, approve one, run one
    #[command(subcommand)]
    Restore(RestoreCommand),
    /// Mount an approved snapshot, read-only
    #[command(
        after_help = "Example: seawall mount req.json /mnt --approval a1.json --approval a2.json"
    )]
    Mount(MountArgs),
    /// Write an approved snapshot, or a part of it, as a tar archive
    #[command(
        after_help = "Example: seawall export req.json --approval a1.json --approval a2.json --tar -o www.tar"
    )]
    Export(ExportArgs),
    /// Show what changed between two approved snapshots
    #[command(
        after_help = "Example: seawall diff old.json new.json --approval o1.json --approval o2.json --approval n1.json --approval n2.json\nExit codes: 0 they are equal, 1 they differ (or it failed), 3 some paths could not be compared."
    )]
    Diff(DiffArgs),
    /// Find paths in all snapshots, with this operator's key and without asking custodians
    #[command(after_help = find::HELP)]
    Find(Box<FindArgs>),
    /// Check every object, proof and signature held here; needs no key
    #[command(
        after_help = "Example: seawall verify --json\n  seawall verify --read-data-subset 1/7\n  seawall verify --repair"
    )]
    Verify(VerifyArgs),
    /// Try whether what was sealed can be had back, and report
    #[command(subcommand)]
    Drill(DrillCommand),
    /// List, print, publish and check the reports of drills
    #[command(subcommand)]
    Report(ReportCommand),
    /// Copy of a restored tree what developers may have, masked by rules
    #[command(
        after_help = "Example: seawall sanitise --rules rules.toml /srv/restored /srv/for-developers"
    )]
    Sanitise {
        /// What is kept, and how; everything else is dropped (docs/manual/drills.md)
        #[arg(long, value_name = "FILE")]
        rules: PathBuf,
        /// A restored tree
        from: PathBuf,
        /// An empty or new directory
        to: PathBuf,
    },
    /// Show who did what, when, and with whose approval
    #[command(after_help = drill::AUDIT_HELP)]
    Audit(Box<AuditArgs>),
    /// Show the fleet, print its recovery sheet, enrol members
    #[command(subcommand)]
    Fleet(FleetCommand),
    /// Make this machine a node of a fleet
    #[command(subcommand)]
    Node(NodeCommand),
    /// Set up and run a region
    #[command(subcommand)]
    Region(RegionCommand),
    /// Keep a share: a custodian's home and card
    Custodian(CustodianArgs),
    /// Make, refresh, repair and re-share escrow groups between custodians' machines
    Group(GroupArgs),
    /// Make every region hold what this node holds
    #[command(after_help = "Example: seawall sync")]
    Sync(SyncArgs),
    /// Show, prove and verify this node's log
    #[command(subcommand)]
    Log(LogCommand),
    /// Print a shell's completion script
    #[command(after_help = "Example: seawall completions bash > /etc/bash_completion.d/seawall")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write a manual page for every command
    #[command(after_help = "Example: seawall man /usr/local/share/man/man1")]
    Man {
        /// Where to write them
        dir: PathBuf,
    },
}

const PRUNE_HELP: &str = "Rules count within a set and class, by UTC; a snapshot that any rule wants stays, and so does the newest. Counts are numbers or `unlimited`; spans are like 1y6m, 7d or 36h, back from the newest snapshot. Without rules, those saved by --save apply. What regions keep is not decided here (see fleet retention).\nExample: seawall prune --plan --keep-daily 7 --keep-weekly 5 --keep-monthly 12";

/// What stays, and how careful to be.
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Only show what would go, what stays and why, and what room that gives back
    #[arg(long)]
    pub(crate) plan: bool,
    /// Do not ask
    #[arg(long, conflicts_with = "plan")]
    pub(crate) yes: bool,
    /// Save rules, --min-age and --copies in the home for later runs; prune nothing
    #[arg(long, conflicts_with_all = ["plan", "yes"])]
    pub(crate) save: bool,
    #[command(flatten)]
    pub(crate) counts: KeepCounts,
    #[command(flatten)]
    pub(crate) within: KeepWithin,
    /// Keep those with this tag; with several, separated by commas, those that have all; repeat
    #[arg(long = "keep-tag", value_name = "TAG[,TAG]", help_heading = "Rules")]
    pub(crate) tags: Vec<String>,
    /// Forget nothing younger than this [default: 24h]
    #[arg(long, value_name = "SPAN")]
    pub(crate) min_age: Option<Span>,
    /// Forget nothing that fewer other tiers hold; a region counts by its receipt
    /// [default: 2, or 0 where no region and no bucket is known]
    #[arg(long, value_name = "N")]
    pub(crate) copies: Option<u32>,
    /// Rewrite zones of which less than this is needed
    #[arg(long, value_name = "PERCENT", default_value_t = seawall_node::REWRITE_BELOW,
          value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) rewrite_below: u8,
}

/// So many of each period.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rules")]
pub(crate) struct KeepCounts {
    /// Keep the last N
    #[arg(long = "keep-last", value_name = "N")]
    pub(crate) last: Option<Count>,
    /// Keep the newest of each of the last N hours that have one
    #[arg(long = "keep-hourly", value_name = "N")]
    pub(crate) hourly: Option<Count>,
    /// As --keep-hourly, of days
    #[arg(long = "keep-daily", value_name = "N")]
    pub(crate) daily: Option<Count>,
    /// As --keep-hourly, of weeks (from Monday)
    #[arg(long = "keep-weekly", value_name = "N")]
    pub(crate) weekly: Option<Count>,
    /// As --keep-hourly, of months
    #[arg(long = "keep-monthly", value_name = "N")]
    pub(crate) monthly: Option<Count>,
    /// As --keep-hourly, of years
    #[arg(long = "keep-yearly", value_name = "N")]
    pub(crate) yearly: Option<Count>,
}

/// Those of each period within a span.
#[derive(Debug, Args)]
#[command(next_help_heading = "Rules")]
pub(crate) struct KeepWithin {
    /// Keep everything that is less than this older than the newest
    #[arg(id = "within-last", long = "keep-within", value_name = "SPAN")]
    pub(crate) last: Option<Span>,
    /// Keep the newest of each hour within SPAN of the newest
    #[arg(id = "within-hourly", long = "keep-within-hourly", value_name = "SPAN")]
    pub(crate) hourly: Option<Span>,
    /// As --keep-within-hourly, of days
    #[arg(id = "within-daily", long = "keep-within-daily", value_name = "SPAN")]
    pub(crate) daily: Option<Span>,
    /// As --keep-within-hourly, of weeks
    #[arg(id = "within-weekly", long = "keep-within-weekly", value_name = "SPAN")]
    pub(crate) weekly: Option<Span>,
    /// As --keep-within-hourly, of months
    #[arg(id = "within-monthly", long = "keep-within-monthly", value_name = "SPAN")]
    pub(crate) monthly: Option<Span>,
    /// As --keep-within-hourly, of years
    #[arg(id = "within-yearly", long = "keep-within-yearly", value_name = "SPAN")]
    pub(crate) yearly: Option<Span>,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// What to seal [default: a tree found on any machine]
    pub(crate) path: Option<PathBuf>,
    /// Keep the demo's directory and say where it is
    #[arg(long)]
    pub(crate) keep: bool,
    /// Where to put it; about three times the size of PATH is needed
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

/// How a fleet starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    /// Regions and custodians are other machines and people
    Fleet,
    /// One person: shares on laptop, paper and stick; a plain directory or bucket as region
    Solo,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// Found it on the group that a ceremony between machines made (see group begin)
    #[arg(long, value_name = "FILE", conflicts_with_all = ["custodians", "threshold", "names", "shares_dir", "classical"])]
    pub(crate) group: Option<PathBuf>,
    /// How many custodians hold a share
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) custodians: u16,
    /// How many of them it takes to open a snapshot
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) threshold: u16,
    /// Directory for the share files, outside the home
    #[arg(long, value_name = "DIR", required_unless_present = "group")]
    pub(crate) shares_dir: Option<PathBuf>,
    /// Custodians' names, once for each [default: custodian-1, ...; solo: laptop, paper, usb]
    #[arg(long = "custodian", value_name = "NAME")]
    pub(crate) names: Vec<String>,
    /// Name of the fleet
    #[arg(long, default_value = "fleet", value_name = "NAME")]
    pub(crate) fleet_name: String,
    /// Name of this node [default: the host's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// How the fleet starts
    #[arg(long, value_enum, default_value = "fleet")]
    pub(crate) profile: Profile,
    /// Solo: a directory, or s3://BUCKET/PREFIX, that stands in for a region
    #[arg(long, value_name = "DIR|S3-URL")]
    pub(crate) bucket: Option<String>,
    /// Algorithm of root key, custodians' signing keys and this node's identity
    #[arg(long, value_enum, default_value = "ed25519")]
    pub(crate) algorithm: KeyAlgorithm,
    /// Seal without the post-quantum half: smaller manifests, more than 16 custodians; what is
    /// copied today could be opened by a quantum computer later
    #[arg(long)]
    pub(crate) classical: bool,
    /// Write no path indexes, so that nothing is found without custodians (see fleet index)
    #[arg(long)]
    pub(crate) no_index: bool,
    /// Also make a class `canary` for drills, its share in a new directory HOME-canary
    #[arg(long)]
    pub(crate) canary: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum SnapshotCommand {
    /// Seal files and directories into a new snapshot
    #[command(after_help = "Example: seawall snapshot create /etc /srv/www")]
    Create(Box<CreateArgs>),
    /// List snapshots, oldest first
    #[command(after_help = "Example: seawall snapshot list --all --json")]
    List {
        /// Also those of other nodes, as the regions mirror them, and forgotten ones
        #[arg(long)]
        all: bool,
    },
    /// Delete snapshots everywhere, by a statement of their custodians
    #[command(subcommand)]
    Delete(DeleteCommand),
    /// Show what is public about one snapshot
    #[command(after_help = "Example: seawall snapshot show 4f1d22")]
    Show {
        /// Its id, or the beginning of it
        id: String,
    },
    /// Write the manifests of this node's snapshots, for custodians who hand their shares over
    #[command(after_help = "Example: seawall snapshot capsules --out capsules.jsonl")]
    Capsules {
        /// Where to write them, a line of JSON each
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
}

/// How progress is told where nobody watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressForm {
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// What to seal: files, directories, or one s3://BUCKET/PREFIX; with --from-exec, a command
    #[arg(required_unless_present_any = ["stdin", "from_command"], value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Data class, which chooses the escrow group [default: the strictest]
    #[arg(long)]
    pub(crate) class: Option<String>,
    /// Name of the set it belongs to; retention counts within sets. Public
    #[arg(long, value_name = "NAME")]
    pub(crate) set: Option<String>,
    /// A tag, for --keep-tag; repeat, or separate by commas. Public
    #[arg(long = "tag", value_name = "TAG", value_delimiter = ',')]
    pub(crate) tags: Vec<String>,
    /// Show what would be read and passed over, and seal nothing
    #[arg(short = 'n', long)]
    pub(crate) dry_run: bool,
    /// Tell progress to a program: a line of JSON on stderr each second
    #[arg(long, value_name = "FORM", value_enum)]
    pub(crate) progress: Option<ProgressForm>,
    #[command(flatten)]
    pub(crate) exclude: ExcludeArgs,
    #[command(flatten)]
    pub(crate) stream: StreamArgs,
    /// Read block devices among PATHs as files of what is on them
    #[arg(long, help_heading = "Sources")]
    pub(crate) block_devices: bool,
    /// Run a command before anything is read; if it fails, no snapshot is made
    #[arg(long, value_name = "COMMAND", help_heading = "Hooks")]
    pub(crate) pre_hook: Vec<OsString>,
    /// Run a command in the end, whatever the end is (SEAWALL_RESULT tells)
    #[arg(long, value_name = "COMMAND", help_heading = "Hooks")]
    pub(crate) post_hook: Vec<OsString>,
    /// Run a command when no snapshot was made, before the post-hooks (SEAWALL_ERROR tells why)
    #[arg(long, value_name = "COMMAND", help_heading = "Hooks")]
    pub(crate) fail_hook: Vec<OsString>,
    /// Seconds a hook may take
    #[arg(long, value_name = "SECONDS", default_value_t = 600, help_heading = "Hooks",
          value_parser = clap::value_parser!(u64).range(1..=604_800))]
    pub(crate) hook_timeout: u64,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Excluding")]
pub(crate) struct ExcludeArgs {
    /// Pass over what a pattern of gitignore syntax names, relative to each PATH
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<OsString>,
    /// The same, for either case of letters
    #[arg(long, value_name = "PATTERN")]
    pub(crate) iexclude: Vec<OsString>,
    /// The same, with the patterns in a file, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) exclude_from: Vec<PathBuf>,
    /// Honour ignore files of this name in the tree, such as .seawallignore
    #[arg(long, value_name = "NAME")]
    pub(crate) ignore_file: Vec<OsString>,
    /// Honour .gitignore files in the tree
    #[arg(long)]
    pub(crate) gitignore: bool,
    /// Of directories with a valid CACHEDIR.TAG, keep only the tag
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Of directories that hold something of this name, keep only that
    #[arg(long, value_name = "NAME")]
    pub(crate) exclude_if_present: Vec<OsString>,
    /// Pass over files larger than this, such as 500M or 2G
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub(crate) exclude_larger_than: Option<u64>,
    /// Keep mount points below PATHs as empty directories
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Sources")]
pub(crate) struct StreamArgs {
    /// Seal standard input as one file
    #[arg(long, conflicts_with_all = ["paths", "from_command", "from_exec"])]
    pub(crate) stdin: bool,
    /// Seal what a command for sh prints as one file; if it fails, no snapshot is made
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["paths", "from_exec"])]
    pub(crate) from_command: Option<OsString>,
    /// The same for PATHs, taken as a program and its arguments: --from-exec -- pg_dump shop
    #[arg(long)]
    pub(crate) from_exec: bool,
    /// Path of that one file in the snapshot
    #[arg(long, value_name = "PATH", default_value = "stdin")]
    pub(crate) stdin_filename: OsString,
}

/// A number of bytes with an optional binary unit.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match text[digits.len()..].to_ascii_uppercase().trim_end_matches("IB") {
        "" | "B" => 0,
        "K" | "KB" => 10,
        "M" | "MB" => 20,
        "G" | "GB" => 30,
        "T" | "TB" => 40,
        other => return Err(format!("unknown unit {other:?}; use K, M, G or T")),
    };
    let number: u64 = digits.parse().map_err(|_| "give a number, such as 500M".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "that is too large".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Also read and check everything in the bucket that stands in for a region
    #[arg(long)]
    pub(crate) bucket: bool,
    /// Read only some of the objects: a share at random (5%), a part of all (1/7: seven runs read
    /// everything), or about so much at random (500MiB)
    #[arg(long, value_name = "SUBSET")]
    pub(crate) read_data_subset: Option<crate::commands::verify::ReadSubset>,
    /// Fetch objects that are damaged or missing here from regions and the bucket
    #[arg(long)]
    pub(crate) repair: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum FleetCommand {
    /// Show the fleet: id, escrow groups, members known here
    #[command(after_help = "Example: seawall fleet show")]
    Show,
    /// Write the fleet's public card, for a region to host it
    #[command(after_help = "Example: seawall fleet card --out fleet.json")]
    Card {
        /// Where to write it
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Enrol a node: sign its card, encrypt the tenant's secret to it
    #[command(after_help = "Example: seawall fleet bundle site-b.json --out site-b.bundle")]
    Bundle {
        /// The card that `seawall node keys` wrote
        card: PathBuf,
        #[command(flatten)]
        roots: RootKeyArgs,
        /// Where to write the bundle
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Enrol a region: sign its card and keep its address
    #[command(
        after_help = "Example: seawall fleet adopt region-a.json\n  seawall fleet adopt region-a.json --root-key anna-root.json --out signed.json\n  seawall fleet adopt signed.json --root-key bert-root.json"
    )]
    Adopt {
        /// The card that `seawall region init` wrote, or the file that --out wrote; --root-key adds
        /// its signature to that
        card: PathBuf,
        #[command(flatten)]
        roots: RootKeyArgs,
        /// Write what is to be signed there, for other root keys, and adopt nothing yet
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Let it take the place of the region that has its name here and another key
        #[arg(long, conflicts_with = "out")]
        replace: bool,
    },
    /// Show what a file says, ask, and add the signature of a root key: to a bundle, a region to
    /// adopt, the grant of an epoch, a policy, rules of retention; no home is needed
    #[command(
        after_help = "Example: seawall fleet sign site-b.bundle --root-key anna-root.json --fleet fleet.json --out site-b.bundle"
    )]
    Sign {
        /// The file
        file: PathBuf,
        #[command(flatten)]
        sign: SignArgs,
        /// Only show what would be signed, and how far it is signed
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Write a copy of the root key, sealed under a passphrase, for the drawer
    #[command(after_help = "Example: seawall fleet root-key --out /media/usb/root-key.json")]
    RootKey {
        /// Where to write it, outside the home
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Make another key instead, for somebody else to hold; a policy makes it a root key
        #[arg(long)]
        new: bool,
        /// The fleet's card as you last saw it (seawall fleet card): where no home of the fleet is
        #[arg(long, value_name = "FILE", requires = "new")]
        fleet: Option<PathBuf>,
    },
    /// When every machine is gone: make a new first node from copies of root keys
    #[command(
        after_help = "Example: seawall fleet recover --root-key root-key.json --bucket /mnt/nas/seawall"
    )]
    Recover {
        /// A copy that `seawall fleet root-key` wrote; repeat, for as many as have to sign
        #[arg(long, value_name = "FILE", required = true)]
        root_key: Vec<PathBuf>,
        /// Write there what other root keys are to sign (seawall fleet sign), if these are not
        /// enough; seawall node enroll takes it here then
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// The fleet's card; a region has it as fleets/ID/genesis.json, `fleet card` writes it
        #[arg(
            long,
            value_name = "FILE",
            conflicts_with = "bucket",
            required_unless_present = "bucket"
        )]
        card: Option<PathBuf>,
        /// The directory or s3://BUCKET/PREFIX that stood in for a region
        #[arg(long, value_name = "DIR|S3-URL")]
        bucket: Option<String>,
        /// Name of this node [default: the host's name]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Change what the fleet goes by: root keys, escrow groups, witnesses, deletion, revocations
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Say which of this node's snapshots regions keep, and which may expire
    #[command(subcommand)]
    Retention(RetentionCommand),
    /// Decide which snapshots get a path index, for `seawall find`
    #[command(subcommand)]
    Index(IndexCommand),
    /// Decide who reads path indexes
    #[command(subcommand)]
    Operator(OperatorCommand),
    /// Grant a node the next epoch of its log; needs the root keys
    #[command(after_help = "Example: seawall fleet epoch epoch.json --out granted.json")]
    Epoch {
        /// The request that `seawall node epoch begin` wrote
        request: PathBuf,
        #[command(flatten)]
        roots: RootKeyArgs,
        /// Where to write what was granted
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
    /// Print the recovery sheet
    #[command(after_help = "Example: seawall fleet sheet --html --out sheet.html")]
    Sheet {
        /// A printable page instead of text
        #[arg(long)]
        html: bool,
        /// Where to write it
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum IndexCommand {
    /// Show classes with path indexes, and who reads them
    #[command(after_help = "Example: seawall fleet index show --json")]
    Show,
    /// Snapshots of a class get a path index from now on; needs the root key
    #[command(after_help = "Example: seawall fleet index on default")]
    On {
        /// The data class
        class: String,
        #[command(flatten)]
        decide: DecideArgs,
    },
    /// They get none any more; needs the root key
    #[command(after_help = "Example: seawall fleet index off default")]
    Off {
        /// The data class
        class: String,
        #[command(flatten)]
        decide: DecideArgs,
    },
    /// Act by what `--out` wrote and enough root keys have signed
    #[command(after_help = "Example: seawall fleet index apply index.json")]
    Apply {
        /// The file
        file: PathBuf,
    },
}

/// Who decides about path indexes.
#[derive(Debug, Args)]
pub(crate) struct DecideArgs {
    #[command(flatten)]
    pub(crate) roots: RootKeyArgs,
    /// Write it there, for other root keys to sign (seawall fleet sign), and change nothing yet;
    /// seawall fleet index apply takes it then
    #[arg(long, value_name = "FILE")]
    pub(crate) out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Let somebody read the path indexes made from now on; needs the root key
    #[command(after_help = "Example: seawall fleet operator add anna.json")]
    Add {
        /// The card that `seawall node operator` wrote
        card: PathBuf,
        #[command(flatten)]
        decide: DecideArgs,
    },
    /// Let somebody read none of those made from now on; needs the root key
    #[command(after_help = "Example: seawall fleet operator remove anna")]
    Remove {
        /// The operator's name
        name: String,
        #[command(flatten)]
        decide: DecideArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Make this node's keys and write its public card
    #[command(after_help = "Example: seawall node keys --name site-b --out site-b.json")]
    Keys {
        /// Name of this node [default: the host's name]
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        /// Algorithm of this node's identity; the same again once it has keys
        #[arg(long, value_enum, default_value = "ed25519")]
        algorithm: KeyAlgorithm,
        /// Where to write the card
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Make an operator's key on this node, and write its public card
    #[command(after_help = "Example: seawall node operator --out anna.json")]
    Operator {
        /// Where to write the card
        #[arg(long, value_name = "FILE", default_value = "-")]
        out: PathBuf,
    },
    /// Join the fleet that the bundle was made for; again, to learn of new regions
    #[command(after_help = "Example: seawall node enroll site-b.bundle --fleet-id 91ab...")]
    Enroll {
        /// The bundle that `seawall fleet bundle` wrote
        bundle: PathBuf,
        /// The fleet id on the recovery sheet; refuses any other fleet
        #[arg(long, value_name = "HEX")]
        fleet_id: Option<String>,
    },
    /// The way out when this node's disk went back in time
    #[command(subcommand)]
    Epoch(EpochCommand),
}

#[derive(Debug, Args)]
pub(crate) struct SyncArgs {
    /// The bucket is meant to be a new, empty one, although it held data before: fill it again
    #[arg(long)]
    pub(crate) new_bucket: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size("500"), Ok(500));
        assert_eq!(size("2k"), Ok(2_048));
        assert_eq!(size("3MiB"), Ok(3 << 20));
        assert_eq!(size("1GB"), Ok(1 << 30));
        for bad in ["", "M", "1.5G", "-1", "1X", "99999999999T"] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }
}
