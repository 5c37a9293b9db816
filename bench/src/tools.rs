//! The programs that are compared, each behind the same four steps.
//!
//! All of them: encryption on, zstd level 3, a local repository on the disk of the corpus, the
//! program's defaults for everything else, and a home of its own for caches and configuration.

mod peers;
mod seawall;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::calls::{Call, checked};

/// Answers every program's question for a passphrase.
const PASSPHRASE: &str = "correct horse battery staple";

/// The programs, ours first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Name {
    Seawall,
    Restic,
    Rustic,
    Borg,
    Bupstash,
    Vykar,
}

impl Name {
    pub(crate) const ALL: [Self; 6] =
        [Self::Seawall, Self::Restic, Self::Rustic, Self::Borg, Self::Bupstash, Self::Vykar];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Seawall => "seawall",
            Self::Restic => "restic",
            Self::Rustic => "rustic",
            Self::Borg => "borg",
            Self::Bupstash => "bupstash",
            Self::Vykar => "vykar",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tool| tool.text() == name)
    }
}

/// A program that is there.
#[derive(Debug, Clone)]
pub(crate) struct Tool {
    pub(crate) name: Name,
    program: PathBuf,
    /// What it says its version is.
    pub(crate) version: String,
}

/// How a restore is run.
pub(crate) struct Restore {
    /// What comes before, timed apart: seawall's request and approvals.
    pub(crate) asking: Vec<Call>,
    pub(crate) run: Call,
}

impl Tool {
    /// Looks for a program in `dirs`, then on the path.
    pub(crate) fn found(name: Name, dirs: &[PathBuf]) -> Result<Option<Self>> {
        let path = std::env::var_os("PATH");
        let path = path.iter().flat_map(std::env::split_paths);
        let mut programs = dirs.iter().cloned().chain(path).map(|dir| dir.join(name.text()));
        let Some(program) = programs.find(|program| program.is_file()) else {
            return Ok(None);
        };
        let ask = if name == Name::Restic { "version" } else { "--version" };
        let said = checked(Command::new(&program).arg(ask))
            .or_else(|_| checked(Command::new(&program).arg("version")))?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let line = said.lines().next().with_context(|| format!("{} is silent", name.text()))?;
        // "restic 0.18.0 compiled with …", "bupstash-0.12.0", "rustic v0.11.4".
        let rest = line.strip_prefix(name.text()).unwrap_or(line);
        let rest = rest.trim_start_matches([' ', '-', 'v']);
        let version = rest.split_whitespace().next().unwrap_or(rest).to_owned();
        let program = fs::canonicalize(program)?;
        Ok(Some(Self { name, program, version }))
    }

    /// A fresh place below `scratch`, with an empty repository in it.
    pub(crate) fn start(&self, scratch: &Path) -> Result<Place> {
        let dir = scratch.join("runs").join(self.name.text());
        crate::tree::remove(&dir)?;
        let place = Place { tool: self.clone(), dir };
        for part in ["home", "tmp"] {
            fs::create_dir_all(place.dir.join(part))?;
        }
        let first = match self.name {
            Name::Seawall => vec![seawall::start(&place)],
            name => peers::start(name, &place)?,
        };
        for call in first {
            call.run()?;
        }
        Ok(place)
    }
}

/// One program's repository and home.
pub(crate) struct Place {
    pub(crate) tool: Tool,
    dir: PathBuf,
}

impl Place {
    /// The repository; ours is a whole home.
    pub(crate) fn repository(&self) -> PathBuf {
        self.dir.join("repository")
    }

    /// What the program may lose without losing a backup. Ours lies in the repository.
    pub(crate) fn caches(&self) -> Vec<PathBuf> {
        let places = match self.tool.name {
            Name::Seawall => vec![self.repository().join("cache"), self.repository().join("find")],
            _ => vec![self.dir.join("home")],
        };
        places.into_iter().filter(|place| place.is_dir()).collect()
    }

    /// Everything this program wrote.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Backs up `source`; `label` differs from backup to backup.
    pub(crate) fn backup(&self, source: &Path, label: &str) -> Call {
        match self.tool.name {
            Name::Seawall => seawall::backup(self, source),
            name => peers::backup(name, self, source, label),
        }
    }

    /// Restores the newest backup, which is `label`, into the empty directory `to`.
    pub(crate) fn restore(&self, to: &Path, label: &str) -> Result<Restore> {
        match self.tool.name {
            Name::Seawall => seawall::restore(self, to),
            name => {
                let run = peers::restore(name, self, to, label);
                Ok(Restore { asking: Vec::new(), run })
            }
        }
    }

    /// A call of the program in the environment all share.
    fn call(&self, name: &str) -> Call {
        let home = self.dir.join("home");
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
        let environment = vec![
            ("PATH".to_owned(), path),
            ("HOME".to_owned(), home.clone().into_os_string()),
            ("TMPDIR".to_owned(), self.dir.join("tmp").into_os_string()),
            ("LC_ALL".to_owned(), "C.UTF-8".into()),
        ];
        Call {
            name: name.to_owned(),
            program: self.tool.program.clone(),
            arguments: Vec::new(),
            environment,
            directory: home,
        }
    }
}

impl Call {
    fn set(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }
}

/// Where a program put the tree: some restore under the whole path, some under its last name.
pub(crate) fn restored(to: &Path, source: &Path) -> PathBuf {
    let whole = to.join(source.strip_prefix("/").unwrap_or(source));
    let last = source.file_name().map(|name| to.join(name));
    let places = std::iter::once(whole).chain(last);
    places.into_iter().find(|place| place.is_dir()).unwrap_or_else(|| to.to_owned())
}
