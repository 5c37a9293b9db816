//! Making of a restored tree one that developers may have.
//!
//! Rules name what is kept, and everything else is dropped: a path that nobody thought of, a column
//! that was added last week, a table, a statement of a dump. Of what is kept, columns of CSV files,
//! JSON lines and plain PostgreSQL dumps can be dropped, replaced by a fixed text, or by a keyed hash.
//! The key is drawn for the run and forgotten, so equal values stay equal in one result, joins still
//! work, and nobody can try names against it later. Everything is streamed: no file is held, no line
//! above [`MAX_RECORD`] is taken.
//!
//! Rejected: masking by guessing what looks like a name or an address. What is guessed wrong is what
//! leaks, and nobody is told.

mod csv;
mod dump;
mod lines;
mod rules;

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use seawall_base::Rng;
use zeroize::Zeroizing;

pub use self::rules::{Action, Columns, MAX_RULES, Rules, RulesError, Treatment};

/// Longest record, line or statement, in bytes.
pub const MAX_RECORD: usize = 16 << 20;

/// Why sanitising ended.
#[derive(Debug, thiserror::Error)]
pub enum SanitiseError {
    /// The file system.
    #[error("{path}: {source}")]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// The target.
    #[error("{0} is not an empty directory; name an empty or a new one")]
    NotEmpty(PathBuf),
    /// The target lies in the source or the other way round.
    #[error("{0} and {1} lie within each other; name a target outside")]
    Within(PathBuf, PathBuf),
    /// A file is not what its rule says.
    #[error("{path}, line {line}: {why}; nothing of it was kept: change the rule, or the file")]
    Content {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: u64,
        /// What is wrong.
        why: String,
    },
}

/// What was kept and what was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Files kept as they were.
    pub kept: u64,
    /// Files of which records were gone through.
    pub filtered: u64,
    /// Files, links and others that no rule keeps.
    pub dropped: u64,
    /// Records kept.
    pub records: u64,
    /// Records and statements dropped.
    pub dropped_records: u64,
    /// Values replaced.
    pub masked: u64,
    /// Values dropped.
    pub dropped_values: u64,
}

/// What stops one file.
#[derive(Debug)]
pub(crate) enum Stop {
    Io(io::Error),
    Content(u64, String),
}

impl From<io::Error> for Stop {
    fn from(e: io::Error) -> Self {
        Self::Io(e)
    }
}

/// Replaces values.
pub(crate) struct Masker {
    key: Zeroizing<[u8; 32]>,
}

impl Masker {
    pub(crate) fn new(rng: &mut dyn Rng) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        rng.fill(&mut *key);
        Self { key }
    }

    /// Sixteen bytes of keyed BLAKE3 in hexadecimal: the same for the same value in this run.
    pub(crate) fn hash(&self, value: &[u8]) -> String {
        hex::encode(&blake3::keyed_hash(&self.key, value).as_bytes()[..16])
    }
}

/// Copies what `rules` keep of the tree `from` into the empty or new directory `to`. A file that is
/// not what its rule says ends it, and is not there afterwards.
pub fn sanitise(
    from: &Path,
    to: &Path,
    rules: &Rules,
    rng: &mut dyn Rng,
) -> Result<Counts, SanitiseError> {
    let from = from.canonicalize().map_err(at(from))?;
    private_directory(to)?;
    let to = to.canonicalize().map_err(at(to))?;
    if from.starts_with(&to) || to.starts_with(&from) {
        return Err(SanitiseError::Within(from, to));
    }
    if fs::read_dir(&to).map_err(at(&to))?.next().is_some() {
        return Err(SanitiseError::NotEmpty(to));
    }
    let masker = Masker::new(rng);
    let mut counts = Counts::default();
    let mut open = vec![PathBuf::new()];
    while let Some(dir) = open.pop() {
        let here = from.join(&dir);
        for entry in fs::read_dir(&here).map_err(at(&here))? {
            let entry = entry.map_err(at(&here))?;
            let path = dir.join(entry.file_name());
            let kind = entry.file_type().map_err(at(&path))?;
            if kind.is_dir() {
                open.push(path);
                continue;
            }
            let rule = rules.of(path.as_os_str().as_bytes());
            let one = One { from: from.join(&path), to: to.join(&path), masker: &masker };
            one.treat(kind, rule, &mut counts)?;
        }
    }
    open_directories(&from, &to)?;
    Ok(counts)
}

/// Until everything is in them, directories are for whoever runs this alone.
fn private_directory(path: &Path) -> Result<(), SanitiseError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(at(path))
}

/// Gives the directories below `to` the modes and times they have in `from`, the deepest first.
fn open_directories(from: &Path, to: &Path) -> Result<(), SanitiseError> {
    let (mut made, mut next) = (vec![PathBuf::new()], 0);
    while next < made.len() {
        let here = to.join(&made[next]);
        for entry in fs::read_dir(&here).map_err(at(&here))? {
            let entry = entry.map_err(at(&here))?;
            if entry.file_type().map_err(at(&here))?.is_dir() {
                made.push(made[next].join(entry.file_name()));
            }
        }
        next += 1;
    }
    for path in made[1..].iter().rev() {
        let (from, to) = (from.join(path), to.join(path));
        let meta = fs::symlink_metadata(&from).map_err(at(&from))?;
        let directory = File::open(&to).map_err(at(&to))?;
        let allowed = fs::Permissions::from_mode(meta.permissions().mode() & 0o777);
        directory.set_permissions(allowed).map_err(at(&to))?;
        directory.set_modified(meta.modified().map_err(at(&from))?).map_err(at(&to))?;
    }
    Ok(())
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> SanitiseError + use<> {
    let path = path.to_owned();
    move |source| SanitiseError::Io { path, source }
}

/// One file and where it goes.
struct One<'a> {
    from: PathBuf,
    to: PathBuf,
    masker: &'a Masker,
}

impl One<'_> {
    fn treat(
        &self,
        kind: fs::FileType,
        rule: Option<&Treatment>,
        counts: &mut Counts,
    ) -> Result<(), SanitiseError> {
        let Some(rule) = rule else {
            counts.dropped += 1;
            return Ok(());
        };
        let parent = self.to.parent().expect("it is below the target");
        if kind.is_symlink() && matches!(rule, Treatment::Keep) {
            private_directory(parent)?;
            let target = fs::read_link(&self.from).map_err(at(&self.from))?;
            std::os::unix::fs::symlink(target, &self.to).map_err(at(&self.to))?;
            counts.kept += 1;
            return Ok(());
        }
        if !kind.is_file() {
            counts.dropped += 1;
            return Ok(());
        }
        private_directory(parent)?;
        match self.copy(rule, counts) {
            Ok(()) => Ok(()),
            Err(stop) => {
                match fs::remove_file(&self.to) {
                    Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(at(&self.to)(e)),
                    // It was not even begun where the source does not open.
                    Ok(()) | Err(_) => {}
                }
                Err(match stop {
                    Stop::Io(source) => at(&self.from)(source),
                    Stop::Content(line, why) => {
                        SanitiseError::Content { path: self.from.clone(), line, why }
                    }
                })
            }
        }
    }

    fn copy(&self, rule: &Treatment, counts: &mut Counts) -> Result<(), Stop> {
        let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
        let source = File::options().read(true).custom_flags(no_follow).open(&self.from)?;
        let meta = source.metadata()?;
        let target = File::options().write(true).create_new(true).mode(0o600).open(&self.to)?;
        let (mut input, mut out) = (BufReader::new(source), BufWriter::new(target));
        filter(rule, &mut input, &mut out, self.masker, counts)?;
        let target = out.into_inner().map_err(|e| Stop::Io(e.into_error()))?;
        target.set_permissions(fs::Permissions::from_mode(meta.permissions().mode() & 0o777))?;
        target.set_modified(meta.modified()?)?;
        Ok(())
    }
}

/// Goes through one file.
pub(crate) fn filter(
    rule: &Treatment,
    input: &mut dyn BufRead,
    out: &mut dyn Write,
    masker: &Masker,
    counts: &mut Counts,
) -> Result<(), Stop> {
    match rule {
        Treatment::Keep => {
            io::copy(input, out)?;
            counts.kept += 1;
            return Ok(());
        }
        Treatment::Csv(columns, separator) => {
            csv::filter(columns, *separator, input, out, masker, counts)?;
        }
        Treatment::JsonLines(columns) => lines::filter(columns, input, out, masker, counts)?,
        Treatment::Dump(tables) => dump::filter(tables, input, out, masker, counts)?,
    }
    counts.filtered += 1;
    out.flush()?;
    Ok(())
}

/// Reads up to and without the next line end into `line`; false at the end of the input.
pub(crate) fn read_line(
    input: &mut dyn BufRead,
    line: &mut Vec<u8>,
    number: u64,
) -> Result<bool, Stop> {
    line.clear();
    let mut limited = io::Read::take(input, MAX_RECORD as u64 + 1);
    if limited.read_until(b'\n', line)? == 0 {
        return Ok(false);
    }
    if line.len() > MAX_RECORD {
        return Err(Stop::Content(number, format!("longer than {MAX_RECORD} bytes")));
    }
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Ok(true)
}

/// For the fuzzer: rules and a file in memory, both of them anything.
#[cfg(fuzzing)]
pub fn sanitise_bytes(rules: &Rules, path: &[u8], file: &[u8]) -> Option<(Vec<u8>, Counts)> {
    let rule = rules.of(path)?;
    let (mut out, mut counts) = (Vec::new(), Counts::default());
    let masker = Masker { key: Zeroizing::new([7; 32]) };
    filter(rule, &mut &file[..], &mut out, &masker, &mut counts).ok()?;
    Some((out, counts))
}

#[cfg(test)]
mod tests;
