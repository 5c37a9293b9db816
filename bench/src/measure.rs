//! Measures one command with everything it starts.
//!
//! The harness runs itself as a launcher for each command, because the kernel counts a child's
//! peak memory from its fork on: a child of the harness would start with the harness's own peak,
//! and processor time would be mixed with that of other children. The launcher is a few MiB.
//!
//! - Wall clock: from before the start to the exit of the command.
//! - Processor time: user and system of the command and every descendant. The launcher is a
//!   subreaper and waits for those that outlive their parents too.
//! - Peak memory: the largest of any one process, as the kernel counts it exactly, or the largest
//!   sum over the tree that a sample every 20 ms saw, whichever is more.
//!
//! Rejected: cgroup accounting. It counts page cache, which is the corpus, not the program.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::sys::wait::waitpid;
use serde::{Deserialize, Serialize};

/// What one command took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Wall clock, in seconds.
    pub(crate) wall: f64,
    /// User and system time of the whole tree, in seconds.
    pub(crate) cpu: f64,
    /// Peak resident memory, in bytes.
    pub(crate) peak: u64,
    /// Seconds for which descendants went on after the command had returned.
    pub(crate) lingered: f64,
    /// Processor seconds that everything else on the machine took meanwhile: noise.
    pub(crate) foreign: f64,
    /// Exit code; 128 and more for a signal.
    pub(crate) exit: i32,
}

const SAMPLE: Duration = Duration::from_millis(20);

/// The launcher: runs `command` (a program and its arguments) and writes its [`Usage`] to `out`.
pub(crate) fn launch(out: &Path, command: &[OsString]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no command to measure")?;
    nix::sys::prctl::set_child_subreaper(true).context("becoming a subreaper")?;
    let sampled = AtomicU64::new(0);
    let over = AtomicBool::new(false);
    let busy = busy();
    let began = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .spawn()
        .with_context(|| format!("starting {}", program.display()))?;
    let root = child.id();
    let (wall, status) = thread::scope(|scope| -> Result<_> {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                sampled.fetch_max(resident(root), Ordering::Relaxed);
                thread::sleep(SAMPLE);
            }
        });
        let status = child.wait().context("waiting for the command");
        let wall = began.elapsed();
        over.store(true, Ordering::Relaxed);
        Ok((wall, status?))
    })?;
    let busy = busy_since(busy);
    let orphaned = Instant::now();
    // Ends with ECHILD, when no descendant is left.
    while waitpid(None, None).is_ok() {}
    let lingered = orphaned.elapsed();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).context("asking for the usage")?;
    let micros = used.user_time().num_microseconds() + used.system_time().num_microseconds();
    let cpu = Duration::from_micros(u64::try_from(micros).context("negative time")?).as_secs_f64();
    // The kernel says KiB.
    let largest = u64::try_from(used.max_rss()).context("a negative peak")? * 1024;
    let usage = Usage {
        wall: wall.as_secs_f64(),
        cpu,
        peak: largest.max(sampled.into_inner()),
        lingered: lingered.as_secs_f64(),
        foreign: busy.map_or(0.0, |busy| (busy - cpu).max(0.0)),
        exit: exit_code(status),
    };
    fs::write(out, serde_json::to_vec(&usage)?)
        .with_context(|| format!("writing {}", out.display()))
}

/// Processor seconds since the start of the machine, of all that is not idle; none where the
/// kernel does not say.
fn busy() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let ticks: Vec<f64> =
        stat.lines().next()?.split_whitespace().skip(1).flat_map(str::parse).collect();
    // user nice system idle iowait irq softirq steal; guests are in user. A tick is 10 ms.
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some((ticks.iter().take(8).sum::<f64>() - idle) / 100.0)
}

fn busy_since(then: Option<f64>) -> Option<f64> {
    Some(busy()? - then?)
}

fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// Resident bytes of a process and its descendants; those that end meanwhile count nothing.
fn resident(root: u32) -> u64 {
    let mut sum = 0;
    let mut left = vec![root];
    while let Some(pid) = left.pop() {
        let at = PathBuf::from(format!("/proc/{pid}"));
        sum += status_kib(&at).unwrap_or(0) * 1024;
        let Ok(tasks) = fs::read_dir(at.join("task")) else { continue };
        for task in tasks.flatten() {
            let Ok(children) = fs::read_to_string(task.path().join("children")) else { continue };
            left.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
    }
    sum
}

fn status_kib(process: &Path) -> Option<u64> {
    let status = fs::read_to_string(process.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(script: &str) -> Usage {
        let dir = tempfile::tempdir().expect("a directory");
        let out = dir.path().join("usage");
        launch(&out, &["sh".into(), "-c".into(), script.into()]).expect("measured");
        serde_json::from_slice(&fs::read(out).expect("written")).expect("usage")
    }

    // One test, because usage is that of all children of this process so far.
    #[test]
    fn time_memory_and_exit_code_of_the_whole_tree_are_counted() {
        let slept = measured("sleep 0.3; exit 7");
        assert!(slept.wall >= 0.3 && slept.cpu < 0.2, "{slept:?}");
        assert_eq!(slept.exit, 7);
        let lazy = measured("sleep 0.4 & exit 0");
        assert!(lazy.wall < 0.3 && lazy.lingered > 0.1, "{lazy:?}");
        // dd holds one block in memory, in a grandchild.
        let large = measured("(dd if=/dev/zero of=/dev/null bs=96M count=8 2>/dev/null; true)");
        assert!(large.peak > 96 << 20 && large.peak < 140 << 20, "{large:?}");
        assert!(large.cpu > 0.02, "{large:?}");
    }
}
