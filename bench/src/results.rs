//! What a run found: everything that was measured, nothing dropped. The JSON file is this.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::calls::checked;
use crate::corpus::Scale;
use crate::durability::Durability;
use crate::measure::Usage;
use crate::tree::{Differences, Totals};

/// The steps that are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    /// A backup into an empty repository.
    First,
    /// The same tree again.
    Unchanged,
    /// The tree after its change.
    Churn,
    /// Seawall's request and approvals.
    Asking,
    /// Into an empty directory.
    Restore,
}

impl Phase {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Unchanged => "unchanged",
            Self::Churn => "churn",
            Self::Asking => "asking",
            Self::Restore => "restore",
        }
    }
}

/// One command that was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Sample {
    pub(crate) corpus: String,
    pub(crate) tool: String,
    pub(crate) phase: Phase,
    pub(crate) repetition: u32,
    #[serde(flatten)]
    pub(crate) usage: Usage,
}

/// How large a repository was after a phase.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Size {
    pub(crate) corpus: String,
    pub(crate) tool: String,
    pub(crate) after: Phase,
    pub(crate) repetition: u32,
    /// What its files say they have, in bytes, without caches.
    pub(crate) bytes: u64,
    /// What the disk gives for it, in bytes, without caches.
    pub(crate) allocated: u64,
    /// Its files, without caches.
    pub(crate) files: u64,
    /// What the files of caches say they have, in bytes.
    pub(crate) caches: u64,
}

/// A phase that did not come to its end.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Failure {
    pub(crate) corpus: String,
    pub(crate) tool: String,
    pub(crate) phase: Phase,
    pub(crate) repetition: u32,
    pub(crate) message: String,
}

/// How a restored tree compared with its source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Restored {
    pub(crate) corpus: String,
    pub(crate) tool: String,
    pub(crate) differences: Differences,
}

/// A program that took part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) version: String,
    /// None where `strace` could not be run.
    pub(crate) durability: Option<Durability>,
}

/// A corpus that was used.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Used {
    pub(crate) name: String,
    pub(crate) title: String,
    pub(crate) totals: Totals,
    /// Files that the change brings, new or in place of others.
    pub(crate) brought: usize,
    /// Files that it removes.
    pub(crate) removed: usize,
    /// Seconds that the sum of primitives says a first backup takes on all cores.
    pub(crate) limit: Option<f64>,
}

/// Where it ran.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    pub(crate) file_system: String,
    pub(crate) date: String,
}

/// One run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) command: String,
    pub(crate) machine: Machine,
    pub(crate) seed: u64,
    pub(crate) scale: Scale,
    pub(crate) repetitions: u32,
    pub(crate) tools: Vec<Contender>,
    pub(crate) corpora: Vec<Used>,
    pub(crate) samples: Vec<Sample>,
    pub(crate) sizes: Vec<Size>,
    pub(crate) restored: Vec<Restored>,
    pub(crate) failures: Vec<Failure>,
}

impl Machine {
    pub(crate) fn here(scratch: &Path) -> Result<Self> {
        let field = |file: &str, name: &str| -> Result<String> {
            let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim());
            Ok(value.unwrap_or("unknown").to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal")?;
        let kibibytes: u64 = memory.split(' ').next().unwrap_or(&memory).parse()?;
        let date = checked(Command::new("date").args(["-u", "+%Y-%m-%d %H:%M UTC"]))?;
        let disk =
            checked(Command::new("findmnt").args(["-n", "-o", "FSTYPE", "-T"]).arg(scratch))?;
        let said = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().to_owned();
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name")?,
            cores: std::thread::available_parallelism()?.get(),
            memory_mib: kibibytes >> 10,
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            file_system: said(disk.stdout),
            date: said(date.stdout),
        })
    }
}

impl Results {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is no run", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_vec_pretty(self)?)
            .with_context(|| format!("writing {}", path.display()))
    }
}
