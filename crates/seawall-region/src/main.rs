//! `seawall-region`: a region and nothing else, in a program that cannot open a sealed object.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use seawall_base::{Seconds, read_file};
use seawall_host::{FsDisk, OsRng, SystemClock};
use seawall_record::{FleetCard, MAX_BUNDLE};
use seawall_region::{Collect, Region, init, run_until_signal, verify};
use seawall_store::Scrub;

/// Keeps sealed objects, mirrors and cosigns logs, signs receipts. Reads no content: it holds no
/// key and links no code that could.
#[derive(Parser)]
#[command(
    version,
    after_help = "Example:\n  \
        seawall-region --home /srv/seawall init --listen region.example:7440 --name region.example --fleet fleet.json > region-card.json\n  \
        seawall-region --home /srv/seawall run"
)]
struct Arguments {
    /// The region's directory.
    #[arg(long, env = "SEAWALL_REGION_HOME", value_name = "DIR")]
    home: PathBuf,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Make a new region and print its card, which an operator of the fleet adopts.
    Init {
        /// Address to listen on and to be reached at.
        #[arg(long, value_name = "HOST:PORT")]
        listen: String,
        /// Name of the region and of its cosignature key: no spaces.
        #[arg(long)]
        name: String,
        /// Card of a fleet to host; may be repeated.
        #[arg(long, value_name = "FILE")]
        fleet: Vec<PathBuf>,
    },
    /// Host another fleet.
    AddFleet {
        /// The fleet's card.
        #[arg(value_name = "FILE")]
        card: PathBuf,
    },
    /// Give back the room of what no snapshot needs any more. The region must not be running; one
    /// that runs does this by itself every hour.
    Gc {
        /// Only tell what would be done.
        #[arg(short = 'n', long)]
        dry_run: bool,
        /// How long what is condemned can still be read.
        #[arg(long, value_name = "HOURS", default_value_t = 24)]
        grace_hours: u32,
    },
    /// Serve until told to end (SIGINT or SIGTERM).
    Run,
    /// Check every object, log and snapshot. The region must not be running.
    Verify,
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match execute(Arguments::parse()) {
        Ok(code) => code,
        Err(e) => {
            tracing::error!("{e:#}");
            ExitCode::FAILURE
        }
    }
}

fn fleet(path: &Path) -> anyhow::Result<seawall_record::Fleet> {
    let shown = path.display();
    let (dir, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
    let dir = dir.filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
    anyhow::ensure!(dir.is_dir(), "{shown}: there is no such directory");
    let name = name.with_context(|| format!("{shown} is not a file"))?;
    let json = read_file(&FsDisk::create(dir)?, name, MAX_BUNDLE)
        .with_context(|| format!("reading {shown}"))?
        .with_context(|| format!("{shown}: there is no such file"))?;
    FleetCard::open(&json).with_context(|| format!("{shown} is not a fleet's card"))
}

fn execute(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let home = arguments.home;
    let mut out = std::io::stdout().lock();
    match arguments.command {
        Command::Init { listen, name, fleet: cards } => {
            let fleets = cards.iter().map(|card| fleet(card)).collect::<Result<Vec<_>, _>>()?;
            let card = init(&home, &listen, &name, &fleets, &mut OsRng, &SystemClock)?;
            out.write_all(&card.to_json())?;
            writeln!(out)?;
        }
        Command::AddFleet { card } => {
            let fleet = fleet(&card)?;
            let id = fleet.id();
            Region::open(&home)?.add_fleet(fleet)?;
            writeln!(out, "hosting {id}")?;
        }
        Command::Gc { dry_run, grace_hours } => {
            let grace = Seconds::hours(grace_hours.into());
            let how = Collect { grace, dry_run, ..Collect::default() };
            let report = Region::open(&home)?.collect(&how, &mut OsRng, &mut |_| ())?;
            let expired: usize = report.expired.iter().map(|it| it.snapshots.len()).sum();
            writeln!(out, "{expired} snapshots expired, {} bytes given back", report.freed())?;
            for (tenant, it) in report.tenants {
                let (dead, room) = (it.dead_records, it.reclaimable);
                writeln!(out, "{tenant}: {dead} objects not needed, {room} bytes to give back")?;
                if let Some(why) = it.stopped {
                    writeln!(out, "{tenant}: nothing was removed: {why}")?;
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        Command::Run => run_until_signal(&home, |address| {
            tracing::info!(%address, "serving");
        })?,
        Command::Verify => {
            let workers = std::thread::available_parallelism().map_or(1, usize::from);
            let scrub = Scrub { workers, ..Scrub::default() };
            let report = verify(&home, &scrub, &mut |_| {})?;
            writeln!(
                out,
                "{} objects ({} bytes), {} logs, {} entries, {} snapshots, {} cosignatures",
                report.objects,
                report.bytes,
                report.logs,
                report.entries,
                report.snapshots,
                report.cosignatures
            )?;
            for finding in &report.findings {
                writeln!(out, "{}: {}; {}", finding.place, finding.what, finding.remedy)?;
            }
            if !report.is_clean() {
                let count = report.findings.len() as u64 + report.more_findings;
                writeln!(out, "{count} findings")?;
                return Ok(ExitCode::FAILURE);
            }
            writeln!(out, "nothing is wrong")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
