//! A database at rest: a PostgreSQL data directory after `pgbench -i`, and after 10 000
//! transactions of pgbench; the server is stopped both times.
//!
//! The bytes differ a little from machine to machine: a cluster has a random identifier and dates.
//! The server refuses to run as root, so root's run is that of the user `postgres` or `nobody`.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Changes, Scale, change_to};
use crate::calls::checked;
use crate::tree;

const CLIENTS: u64 = 4;
const TRANSACTIONS: u64 = 10_000;
/// About 15 MiB of tables each.
const BRANCHES: u64 = 20;

struct Server {
    programs: PathBuf,
    /// Data and socket: short, because a socket's path may not be long, and open to its user.
    dir: PathBuf,
    user: Option<(u32, u32)>,
}

pub(super) fn make(dir: &Path, seed: u64, scale: Scale) -> Result<Changes> {
    let server = Server::new()?;
    let made = server.fill(dir, seed, scale);
    tree::remove(&server.dir)?;
    made?;
    change_to(dir, &dir.join("after"))
}

impl Server {
    fn new() -> Result<Self> {
        let programs = programs().context(
            "no PostgreSQL here: install it (Debian: apt-get install postgresql), \
             or leave out this corpus with --corpus",
        )?;
        let dir = std::env::temp_dir().join(format!("seawall-bench-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| format!("making {}", dir.display()))?;
        let root = fs::metadata(&dir)?.uid() == 0;
        let user = if root { Some(unprivileged()?) } else { None };
        if let Some((uid, gid)) = user {
            chown(&dir, Some(uid), Some(gid))?;
        }
        Ok(Self { programs, dir, user })
    }

    fn fill(&self, dir: &Path, seed: u64, scale: Scale) -> Result<()> {
        self.run("initdb", &["--auth=trust", "--no-sync", "--data-checksums", "-U", "bench"])?;
        self.start()?;
        let branches = scale.of(BRANCHES, 1).to_string();
        let filled = self.client(&["-i", "-q", "-s", &branches]);
        self.stop()?;
        filled?;
        tree::copy_all(&self.data(), &dir.join("tree"))?;
        self.start()?;
        let each = (scale.of(TRANSACTIONS, 400) / CLIENTS).to_string();
        let (clients, seed) = (CLIENTS.to_string(), format!("--random-seed={seed}"));
        let used = self.client(&["-n", "-c", &clients, "-j", "2", "-t", &each, &seed]);
        self.stop()?;
        used?;
        tree::copy_all(&self.data(), &dir.join("after"))
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn start(&self) -> Result<()> {
        let options = format!(
            "-c listen_addresses= -c unix_socket_directories={} -c fsync=off -c autovacuum=off",
            self.dir.display()
        );
        let log = self.dir.join("log");
        self.run("pg_ctl", &["start", "-w", "-s", "-l", &log.display().to_string(), "-o", &options])
    }

    fn stop(&self) -> Result<()> {
        self.run("pg_ctl", &["stop", "-w", "-s", "-m", "fast"])
    }

    fn client(&self, arguments: &[&str]) -> Result<()> {
        let mut command = self.command("pgbench");
        command.args(["-U", "bench", "-h"]).arg(&self.dir).args(arguments).arg("postgres");
        checked(&mut command).map(drop)
    }

    fn run(&self, program: &str, arguments: &[&str]) -> Result<()> {
        checked(self.command(program).args(arguments)).map(drop)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        command.env_clear().env("PGDATA", self.data()).env("LC_ALL", "C");
        command.env("PATH", "/usr/bin:/bin").env("HOME", &self.dir).current_dir(&self.dir);
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
        command
    }
}

/// Where the server's programs are: Debian keeps them off the path, by version; the newest.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut dirs: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    dirs.sort();
    dirs.reverse();
    dirs.extend(std::env::split_paths(&std::env::var_os("PATH")?));
    dirs.into_iter().find(|dir| ["initdb", "pgbench"].iter().all(|name| dir.join(name).is_file()))
}

fn unprivileged() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let ids = |wanted: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(wanted))?;
        let mut ids = line.split(':').skip(2);
        Some((ids.next()?.parse().ok()?, ids.next()?.parse().ok()?))
    };
    ids("postgres").or_else(|| ids("nobody")).context("neither a user postgres nor nobody")
}
