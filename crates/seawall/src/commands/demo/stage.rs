//! The demo's directory, and the process that clears it away whatever happens to the demo.
//!
//! The demo plays in a child process. The parent only waits, and removes the directory after the
//! child has ended: by itself, by a signal, or because it crashed. Rejected: removing it from a
//! signal's thread of one process, because the other threads go on making files until the very
//! last moment.

use std::ffi::OsStr;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use std::{fs, io};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process};
use seawall_base::Rng as _;
use seawall_host::OsRng;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::DemoArgs;
use crate::output::{Outcome, Printer};

/// Tells the child where to play.
const STAGE: &str = "SEAWALL_DEMO_STAGE";

const SIGINT: i32 = Signal::INT.as_raw();
const SIGTERM: i32 = Signal::TERM.as_raw();

/// How long a `cp` that outlives the child may keep the directory alive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The directory, if this is the child.
pub(super) fn given() -> Option<PathBuf> {
    std::env::var_os(STAGE).filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Lets a child play the demo in a fresh directory and removes it, unless it is to be kept.
pub(super) fn supervise(args: &DemoArgs, printer: &Printer) -> anyhow::Result<Outcome> {
    // Before the directory is there, so that no signal finds it with nobody to remove it.
    let signals = Signals::listen().context("cannot listen for signals")?;
    let above = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let stage = create(&above)
        .with_context(|| format!("cannot make a directory in {}", above.display()))?;
    let played = play(stage.as_os_str(), signals);
    if args.keep {
        printer.say(&format!("kept in {}", stage.display()));
    } else if !remove(&stage) {
        printer.warn(&format!("{} could not be removed; remove it yourself", stage.display()));
    }
    let (code, interrupted) = played.context("cannot start the demo's process")?;
    if interrupted {
        let left = if args.keep { "the directory was kept" } else { "nothing was left behind" };
        anyhow::bail!("interrupted; {left}");
    }
    // The child has said why it failed.
    Ok(match code {
        Some(0) => Outcome::Done,
        Some(3) => Outcome::Partly,
        _ => Outcome::Found,
    })
}

fn create(above: &Path) -> io::Result<PathBuf> {
    let unique = u64::from_le_bytes(OsRng.array());
    fs::create_dir_all(above)?;
    let path = above.canonicalize()?.join(format!("seawall-demo-{unique:016x}"));
    fs::create_dir(&path)?;
    Ok(path)
}

/// What asks for an early end; from its making on, such signals no longer end this process.
struct Signals {
    runtime: tokio::runtime::Runtime,
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let entered = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        drop(entered);
        Ok(Self { runtime, interrupt, terminate })
    }

    fn wait(mut self) {
        self.runtime.block_on(async {
            tokio::select! {
                _ = self.interrupt.recv() => {}
                _ = self.terminate.recv() => {}
            }
        });
    }
}

/// Runs the child to its end; returns its exit code and whether a signal ended it early.
fn play(stage: &OsStr, signals: Signals) -> io::Result<(Option<i32>, bool)> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .env(STAGE, stage)
        .spawn()?;
    let (pid, told) = (Pid::from_child(&child), Arc::new(AtomicBool::new(false)));
    let tell = told.clone();
    std::thread::spawn(move || {
        signals.wait();
        tell.store(true, Ordering::SeqCst);
        // It has ended already: as good. Its number is not reused before it is waited for, and
        // after that this process ends.
        let _ = kill_process(pid, Signal::KILL);
    });
    let ended = child.wait()?;
    tracing::debug!(%ended, "the demo's process ended");
    // At a terminal the child gets the signal too and may be the first to act on it.
    let signalled = ended.signal().is_some_and(|s| [SIGINT, SIGTERM].contains(&s));
    Ok((ended.code(), signalled || told.load(Ordering::SeqCst)))
}

/// Removes the directory, again if a file came while it was being removed.
fn remove(path: &Path) -> bool {
    let start = Instant::now();
    while let Err(e) = fs::remove_dir_all(path) {
        if e.kind() == io::ErrorKind::NotFound {
            break;
        }
        if start.elapsed() > PATIENCE {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    true
}
