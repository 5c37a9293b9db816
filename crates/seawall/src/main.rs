//! The program: one file per command.
//!
//! Commands parse arguments, call the roots, and print: results on stdout and nothing else,
//! progress and words on stderr. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done with some
//! files skipped, each named.

mod cli;
mod commands;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::{Cli, Command};
use crate::output::{Outcome, Printer};

fn main() -> ExitCode {
    no_core_dumps();
    let cli = Cli::parse();
    output::start_logging(cli.verbose);
    let printer = Printer::new(cli.json, cli.quiet);
    match run(cli, &printer) {
        Ok(outcome) => outcome.into(),
        Err(e) => {
            printer.error(&e);
            ExitCode::from(if e.is::<output::Usage>() { 2 } else { 1 })
        }
    }
}

/// A crash must not write keys to a disk. The hard limit stays, for what hooks and checks run.
fn no_core_dumps() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Core).maximum;
    // Lowering one's own limit is always allowed; were it not, there is nothing better to do.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum });
}

fn run(cli: Cli, printer: &Printer) -> anyhow::Result<Outcome> {
    let home = || cli.home.clone().map_or_else(output::default_home, Ok);
    match cli.command {
        Command::Demo(args) => commands::demo::run(&args, printer),
        Command::Init(args) => commands::init::run(&args, &home()?, printer),
        Command::Snapshot(command) => commands::snapshot::run(&command, &home()?, printer),
        Command::Prune(args) => commands::prune::run(&args, &home()?, printer),
        Command::Restore(command) => commands::restore::run(&command, home, printer),
        Command::Mount(args) => commands::mount::run(&args, &home()?, printer),
        Command::Export(args) => commands::export::run(&args, &home()?, printer),
        Command::Diff(args) => commands::diff::run(&args, &home()?, printer),
        Command::Find(args) => commands::find::run(&args, &home()?, printer),
        Command::Verify(args) => commands::verify::run(&args, &home()?, printer),
        Command::Drill(command) => commands::drill::run(&command, &home()?, printer),
        Command::Report(command) => commands::report::run(&command, home, printer),
        Command::Sanitise { rules, from, to } => {
            commands::sanitise::run(&rules, &from, &to, printer)
        }
        Command::Audit(args) => commands::audit::run(&args, &home()?, printer),
        Command::Fleet(command) => commands::fleet::run(&command, &home()?, printer),
        Command::Node(command) => commands::node::run(&command, &home()?, printer),
        Command::Region(command) => commands::region::run(&command, &home()?, printer),
        Command::Custodian(command) => commands::custodian::run(&command, &home()?, printer),
        Command::Group(command) => commands::group::run(&command, home, printer),
        Command::Sync(args) => commands::sync::run(&args, &home()?, printer),
        Command::Log(command) => commands::log::run(&command, &home()?, printer),
        Command::Completions { shell } => commands::pages::completions(shell, printer),
        Command::Man { dir } => commands::pages::man(&dir, printer),
    }
}
