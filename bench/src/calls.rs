//! Commands: what to run, where, with which environment, and what came of it.
//!
//! Every program gets an environment of its own, so that no cache, configuration or setting of
//! the user is measured. Output goes to files: no program draws progress for a terminal.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::measure::Usage;

/// One command of a tool.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// Names the files its output goes to.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(String, OsString)>,
    pub(crate) directory: PathBuf,
}

impl Call {
    /// Adds arguments.
    pub(crate) fn with<S: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = S>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|a| a.as_ref().to_owned()));
        self
    }

    /// Runs it in another directory.
    pub(crate) fn within(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// Runs it, and fails unless it ends with 0.
    pub(crate) fn run(&self) -> Result<()> {
        let status = self.command(&[]).status().with_context(|| self.says())?;
        ensure!(status.success(), "{}: {status}: {}", self.says(), self.complaint());
        Ok(())
    }

    /// Runs it under the launcher, and fails unless it ends with 0.
    pub(crate) fn measured(&self) -> Result<Usage> {
        let out = self.output("usage");
        let launcher = std::env::current_exe().context("finding this program")?;
        let prefix = [launcher.into_os_string(), crate::LAUNCH.into(), out.clone().into()];
        let status = self.command(&prefix).status().with_context(|| self.says())?;
        ensure!(status.success(), "the launcher failed: {}", self.complaint());
        let usage: Usage = serde_json::from_slice(&fs::read(&out)?)?;
        if usage.exit != 0 {
            bail!("{}: exit code {}: {}", self.says(), usage.exit, self.complaint());
        }
        Ok(usage)
    }

    /// Runs it under `strace`, which writes to `log` what is made durable and renamed.
    pub(crate) fn traced(&self, log: &Path) -> Result<()> {
        let calls = "trace=fsync,fdatasync,syncfs,sync,\
                     renameat,renameat2,link,linkat,openat,io_uring_enter";
        let mut prefix: Vec<OsString> =
            ["strace", "-f", "-y", "-qq", "-s", "0", "-e", calls, "-o"].map(Into::into).into();
        prefix.push(log.into());
        let status = self.command(&prefix).status().context("running strace")?;
        ensure!(status.success(), "{} under strace: {}", self.says(), self.complaint());
        Ok(())
    }

    /// What it said on standard output.
    pub(crate) fn said(&self) -> Result<String> {
        let path = self.output("out");
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }

    fn command(&self, prefix: &[OsString]) -> Command {
        let mut words = prefix.to_vec();
        words.push(self.program.clone().into_os_string());
        words.extend(self.arguments.iter().cloned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().current_dir(&self.directory).stdin(Stdio::null());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        command.stdout(self.written("out")).stderr(self.written("err"));
        command
    }

    /// A file that cannot be made means a disk that is full or read-only; the program will say so.
    fn written(&self, kind: &str) -> Stdio {
        File::create(self.output(kind)).map_or_else(|_| Stdio::null(), Stdio::from)
    }

    fn output(&self, kind: &str) -> PathBuf {
        let home = self.environment.iter().find(|(name, _)| name == "HOME");
        let dir = home.map_or(self.directory.as_path(), |(_, home)| Path::new(home));
        dir.join(format!("{}.{kind}", self.name))
    }

    fn says(&self) -> String {
        let words = self.arguments.iter().map(|a| a.to_string_lossy());
        let line = std::iter::once(self.program.to_string_lossy()).chain(words);
        line.collect::<Vec<_>>().join(" ")
    }

    /// The end of what it wrote to standard error.
    fn complaint(&self) -> String {
        let said = fs::read_to_string(self.output("err")).unwrap_or_else(|e| e.to_string());
        let lines: Vec<_> = said.lines().filter(|line| !line.trim().is_empty()).collect();
        lines[lines.len().saturating_sub(4)..].join("; ")
    }
}

/// Runs a command that is not measured, and fails with what it said unless it ends with 0.
pub(crate) fn checked(command: &mut Command) -> Result<Output> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("running {program}: is it installed?"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{program} failed, {}: {}", output.status, said.trim());
    }
    Ok(output)
}
