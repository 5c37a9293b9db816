//! Commands that run before and after a snapshot, and commands whose output is one.
//!
//! They come from whoever runs the program and from nobody else: nothing in a snapshot, a log or
//! a region can name one. Each runs in a process group of its own, so that a time limit or an
//! interruption ends all it has started.

use std::collections::{BTreeSet, VecDeque};
use std::ffi::{OsStr, OsString};
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// Last lines of a command's words that are kept for its failure.
const TAIL_LINES: usize = 20;
/// Longest line kept, in bytes.
const TAIL_LINE: usize = 1_024;
/// How long a command may take to end after it was told to.
const GRACE: Duration = Duration::from_secs(5);
/// How long what a command started may go on holding its output after it has ended.
const OUTPUT_GRACE: Duration = Duration::from_millis(500);
/// Variables that are no business of a command.
const SECRET: &[&str] = &["SEAWALL_SHARE_PASSPHRASE", "SEAWALL_TOKEN_PIN"];

/// Why a command counts as failed.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It could not be started.
    #[error("{what} {command:?} cannot be started: {source}")]
    Start {
        /// Which sort of command.
        what: &'static str,
        /// The command.
        command: OsString,
        /// Why.
        source: io::Error,
    },
    /// It ended with something else than success.
    #[error("{what} {command:?} failed with {status}{}", Said(.said))]
    Failed {
        /// Which sort of command.
        what: &'static str,
        /// The command.
        command: OsString,
        /// Its exit code, or the signal that killed it.
        status: ExitStatus,
        /// The last it said.
        said: Vec<String>,
    },
    /// It was ended for taking too long.
    #[error("{what} {command:?} was ended: it took more than {} s{}", .limit.as_secs(), Said(.said))]
    TooLong {
        /// Which sort of command.
        what: &'static str,
        /// The command.
        command: OsString,
        /// How long it may take.
        limit: Duration,
        /// The last it said.
        said: Vec<String>,
    },
}

struct Said<'a>(&'a [String]);

impl std::fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str("; it said nothing");
        }
        f.write_str("; it said:")?;
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// The process groups of commands that run now.
#[derive(Debug, Clone, Default)]
pub struct Commands(Arc<Mutex<BTreeSet<i32>>>);

impl Commands {
    fn groups(&self) -> MutexGuard<'_, BTreeSet<i32>> {
        self.0.lock().expect("no holder of this lock panics")
    }

    /// Tells all of them to end.
    pub fn end_all(&self) {
        for group in self.groups().iter().filter_map(|group| Pid::from_raw(*group)) {
            // One that has ended meanwhile cannot be told.
            let _ = rustix::process::kill_process_group(group, Signal::TERM);
        }
    }

    /// Starts `command` in a group of its own, without input.
    pub(crate) fn start(&self, command: &mut Command) -> io::Result<Running> {
        for name in SECRET {
            command.env_remove(name);
        }
        let child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        let group = i32::try_from(child.id()).expect("process ids are small");
        self.groups().insert(group);
        Ok(Running { child, group, commands: self.clone() })
    }
}

/// A started command. Dropped, all of its group is ended.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) child: Child,
    group: i32,
    commands: Commands,
}

impl Running {
    /// Waits for it. The group is forgotten before its number can be given to another.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        if self.commands.groups().contains(&self.group) {
            let pid = Pid::from_child(&self.child);
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let ended = || rustix::process::waitid(WaitId::Pid(pid), look);
            while matches!(ended(), Err(rustix::io::Errno::INTR)) {}
            self.commands.groups().remove(&self.group);
        }
        self.child.wait()
    }

    /// Waits until `deadline`; `None` if it still runs then.
    fn wait_until(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        let id = WaitId::Pid(Pid::from_child(&self.child));
        let look = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        let mut pause = Duration::from_millis(1);
        while rustix::process::waitid(id.clone(), look)?.is_none() {
            if Instant::now() >= deadline {
                return Ok(None);
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(Duration::from_millis(50));
        }
        self.wait().map(Some)
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = Pid::from_raw(self.group) {
            let _ = rustix::process::kill_process_group(group, signal);
        }
    }

    /// Ends it, kindly at first.
    fn end(&mut self) {
        self.signal(Signal::TERM);
        if !matches!(self.wait_until(Instant::now() + GRACE), Ok(Some(_))) {
            self.signal(Signal::KILL);
            let _ = self.wait();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.commands.groups().contains(&self.group) {
            self.end();
        }
    }
}

/// The last lines of what a command says, while it says them.
#[derive(Debug)]
pub(crate) struct Tail {
    lines: Arc<Mutex<VecDeque<String>>>,
    ended: mpsc::Receiver<()>,
    readers: usize,
}

impl Tail {
    /// Listens to `outputs`; each line goes to the log as well.
    pub(crate) fn of(what: &'static str, outputs: Vec<Box<dyn Read + Send>>) -> Self {
        let lines = Arc::new(Mutex::new(VecDeque::new()));
        let (end, ended) = mpsc::channel();
        let readers = outputs.len();
        for output in outputs {
            let (lines, end) = (Arc::clone(&lines), end.clone());
            // Not joined: what a hook leaves behind, such as a service, may hold its output open.
            std::thread::spawn(move || {
                listen(what, output, &lines);
                let _ = end.send(());
            });
        }
        Self { lines, ended, readers }
    }

    /// What was said last, once the command has ended.
    pub(crate) fn said(self) -> Vec<String> {
        let deadline = Instant::now() + OUTPUT_GRACE;
        for _ in 0..self.readers {
            let left = deadline.saturating_duration_since(Instant::now());
            if self.ended.recv_timeout(left).is_err() {
                break;
            }
        }
        self.lines.lock().expect("no holder of this lock panics").iter().cloned().collect()
    }
}

fn listen(what: &'static str, output: Box<dyn Read + Send>, lines: &Mutex<VecDeque<String>>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A line without an end is taken in parts.
        match output.by_ref().take(TAIL_LINE as u64).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text: String = text.trim_end().chars().filter(|c| !c.is_control()).collect();
        if text.is_empty() {
            continue;
        }
        tracing::info!(command = what, "{text}");
        let mut lines = lines.lock().expect("no holder of this lock panics");
        if lines.len() == TAIL_LINES {
            lines.pop_front();
        }
        lines.push_back(text);
    }
}

/// A command that runs before or after a snapshot, by `sh -c`.
#[derive(Debug)]
pub struct Hook<'a> {
    /// Such as `pre-hook`.
    pub what: &'static str,
    /// The command.
    pub command: &'a OsStr,
    /// Variables it gets besides those of this process. What is no text of a variable is cleaned.
    pub environment: &'a [(&'static str, String)],
    /// How long it may take.
    pub limit: Duration,
}

impl Hook<'_> {
    /// Runs it to its end.
    pub fn run(&self, commands: &Commands) -> Result<(), CommandError> {
        let (what, command) = (self.what, self.command.to_owned());
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(self.command).stdout(Stdio::piped()).stderr(Stdio::piped());
        for (name, value) in self.environment {
            shell.env(name, value.replace('\0', " "));
        }
        let mut running = commands.start(&mut shell).map_err(|source| CommandError::Start {
            what,
            command: command.clone(),
            source,
        })?;
        let mut outputs: Vec<Box<dyn Read + Send>> = Vec::new();
        outputs.extend(running.child.stdout.take().map(|out| Box::new(out) as _));
        outputs.extend(running.child.stderr.take().map(|out| Box::new(out) as _));
        let tail = Tail::of(what, outputs);
        let ended = running
            .wait_until(Instant::now() + self.limit)
            .map_err(|source| CommandError::Start { what, command: command.clone(), source })?;
        match ended {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(CommandError::Failed { what, command, status, said: tail.said() }),
            None => {
                drop(running);
                let (limit, said) = (self.limit, tail.said());
                Err(CommandError::TooLong { what, command, limit, said })
            }
        }
    }
}

/// From now on, interruptions (`SIGINT`, `SIGTERM`, `SIGHUP`) do not end the process: the first
/// calls `finish` with its number, in a thread of its own. That may end the process anywhere:
/// what a cut off snapshot leaves behind is unreferenced.
pub fn on_interruption(finish: impl FnOnce(i32) + Send + 'static) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut interrupt, mut terminate, mut hangup) = {
        let _inside = runtime.enter();
        (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        )
    };
    std::thread::spawn(move || {
        let kind = runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
                _ = hangup.recv() => SignalKind::hangup(),
            }
        });
        finish(kind.as_raw_value());
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(command: &str, limit: Duration) -> Result<(), CommandError> {
        let environment = [("SEAWALL_RESULT", "done".to_owned())];
        let command = OsStr::new(command);
        Hook { what: "pre-hook", command, environment: &environment, limit }
            .run(&Commands::default())
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn the_end_of_a_hook_and_its_last_words_are_told() {
        run("test $SEAWALL_RESULT = done", LONG).expect("success");
        let words = run("echo out; echo err >&2; exit 7", LONG).expect_err("7").to_string();
        for word in ["pre-hook", "exit status: 7", "out", "err"] {
            assert!(words.contains(word), "{words}");
        }
        let words = run("kill -9 $$", LONG).expect_err("killed").to_string();
        assert!(words.contains("SIGKILL") && words.contains("said nothing"), "{words}");
        let words = run("seq 100; false", LONG).expect_err("1").to_string();
        assert!(words.contains("\n  81\n") && !words.contains("\n  80\n"), "{words}");
    }

    #[test]
    fn too_long_ends_all_it_started() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("pid");
        let command = format!("sleep 600 & echo $! > {}; wait", file.display());
        let start = Instant::now();
        let e = run(&command, Duration::from_millis(500)).expect_err("too long");
        assert!(matches!(e, CommandError::TooLong { .. }), "{e}");
        assert!(start.elapsed() < LONG);
        let pid = std::fs::read_to_string(file).expect("written");
        let process = format!("/proc/{}/stat", pid.trim());
        let is_gone =
            || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
        while !is_gone() {
            assert!(start.elapsed() < LONG, "sleep still runs");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    #[test]
    fn what_a_hook_leaves_running_does_not_hold_it_up() {
        let start = Instant::now();
        run("sleep 30 & exit 0", LONG).expect("success");
        assert!(start.elapsed() < LONG);
    }
}
