//! What a snapshot is made of: file trees, one stream, or a bucket.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use seawall_backup::entry::Meta;
use seawall_backup::snapshot::SnapshotError;
use seawall_backup::source::filter::{Excluded, Exclusions};
use seawall_backup::source::{BucketTree, FileTree, Problem, Reason, Source, Step, Stream};
use seawall_base::Clock;

use crate::bucket_source::{S3Source, SharedSource, parse_url};
use crate::command_source::{CommandLine, CommandOutput};
use crate::home::HomeError;
use crate::hooks::Commands;

/// Paths to read, and what not to.
#[derive(Debug, Clone, Default)]
pub struct Trees {
    /// Files and directories.
    pub paths: Vec<PathBuf>,
    /// What is passed over below them.
    pub exclusions: Exclusions,
    /// Block devices among `paths` are files of what is on them.
    pub devices: bool,
}

/// What a snapshot reads.
pub enum Input<'a> {
    /// File trees.
    Trees(Trees),
    /// A stream, as a file of this path.
    Stream {
        /// Its path in the snapshot.
        name: &'a OsStr,
        /// What is read.
        reader: Box<dyn Read + Send>,
    },
    /// What a command prints, as a file of this path.
    Command {
        /// Its path in the snapshot.
        name: &'a OsStr,
        /// The command.
        line: &'a CommandLine,
        /// Where it is known while it runs.
        commands: &'a Commands,
    },
    /// `s3://BUCKET/PREFIX`.
    Bucket {
        /// The URL.
        url: &'a str,
        /// Of these, patterns and lengths count.
        exclusions: Exclusions,
    },
}

/// An input about to be read.
pub(crate) struct Ready {
    pub(crate) source: Box<dyn Source>,
    /// What the snapshot says it was made of.
    pub(crate) names: Vec<Vec<u8>>,
    /// A part of it is worth nothing: without the rest there is no snapshot.
    pub(crate) is_whole: bool,
}

impl Input<'_> {
    /// Opens it: starts the command, asks the bucket for its first page.
    pub(crate) fn ready(self, clock: &dyn Clock) -> Result<Ready, HomeError> {
        match self {
            Self::Trees(trees) => {
                let (paths, source) = trees.open()?;
                let names = paths.iter().map(|p| p.as_os_str().as_bytes().to_vec()).collect();
                Ok(Ready { source: Box::new(source), names, is_whole: false })
            }
            Self::Stream { name, reader } => stream(name, reader, clock),
            Self::Command { name, line, commands } => {
                let output = CommandOutput::start(line, commands)
                    .map_err(|e| HomeError::refused(e.to_string()))?;
                stream(name, Box::new(output), clock)
            }
            Self::Bucket { url, exclusions } => {
                let source = Box::new(bucket(url, &exclusions)?);
                Ok(Ready { source, names: vec![url.as_bytes().to_vec()], is_whole: false })
            }
        }
    }
}

/// Whether what was read is enough for a snapshot, given what was met.
pub(crate) fn check(is_whole: bool, problems: &[Problem]) -> Result<(), HomeError> {
    for Problem { reason, .. } in problems {
        match reason {
            Reason::ListingStopped(_) => return Err(HomeError::refused(reason.to_string())),
            Reason::Unreadable(e) if is_whole => {
                return Err(HomeError::refused(format!("the stream broke off: {e}")));
            }
            _ => {}
        }
    }
    Ok(())
}

impl Trees {
    fn open(&self) -> Result<(Vec<PathBuf>, FileTree), HomeError> {
        let plain = |path| plain(path, self.devices);
        let paths = self.paths.iter().map(|p| plain(p)).collect::<Result<Vec<_>, _>>()?;
        let source = FileTree::without(&paths, self.exclusions.clone(), self.devices);
        Ok((paths, source.map_err(SnapshotError::from)?))
    }
}

/// Only whoever runs this may read what comes out of streams and buckets.
fn private(mtime_sec: i64) -> Meta {
    Meta {
        mode: 0o600,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime_sec,
        ..Meta::default()
    }
}

fn stream(
    name: &OsStr,
    reader: Box<dyn Read + Send>,
    clock: &dyn Clock,
) -> Result<Ready, HomeError> {
    let now = i64::try_from(clock.now().0).map_err(|_| HomeError::refused("the clock is wrong"))?;
    let source = Stream::new(name.as_bytes(), private(now), reader)
        .map_err(|e| HomeError::refused(e.to_string()))?;
    let absolute = [b"/", name.as_bytes().strip_prefix(b"/").unwrap_or(name.as_bytes())].concat();
    Ok(Ready { source: Box::new(source), names: vec![absolute], is_whole: true })
}

fn bucket(url: &str, exclusions: &Exclusions) -> Result<BucketTree, HomeError> {
    let source = SharedSource(Arc::new(S3Source::open(url)?));
    let (name, prefix) = parse_url(url).expect("it was just opened");
    let above = std::iter::once(name).chain(prefix.split('/').filter(|part| !part.is_empty()));
    let above: Vec<_> = above.map(|part| part.as_bytes().to_vec()).collect();
    // Directories of a bucket have no time.
    let tree = BucketTree::new(Arc::new(source), &above, private(0), exclusions)
        .map_err(|e| HomeError::refused(format!("bucket {url} cannot be listed: {e}")))?;
    if tree.is_empty() {
        // A mistyped prefix must not become an empty snapshot.
        return Err(HomeError::refused(format!("nothing begins with {url}/; check the prefix")));
    }
    Ok(tree)
}

/// What a snapshot of file trees or a bucket would read.
#[derive(Debug, Default)]
pub struct Survey {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links, devices, pipes, and further names of files with several.
    pub others: u64,
    /// Bytes of all files.
    pub bytes: u64,
    /// What would not be held whole; what only reading can tell is not among it.
    pub problems: Vec<Problem>,
    /// What is passed over.
    pub excluded: Excluded,
}

/// Walks `input` without opening a file; until `go_on` says no. A stream cannot be surveyed, and
/// a command is not run.
pub fn survey(
    input: Input<'_>,
    clock: &dyn Clock,
    go_on: &mut dyn FnMut(&Survey) -> bool,
) -> Result<Survey, HomeError> {
    if matches!(input, Input::Stream { .. } | Input::Command { .. }) {
        return Err(HomeError::refused("what a stream will bring can only be known by reading it"));
    }
    let Ready { mut source, is_whole, .. } = input.ready(clock)?;
    let mut survey = Survey::default();
    let mut met = HashSet::new();
    while let Some(step) = source.next() {
        match step {
            Step::Enter { name, .. } => survey.directories += u64::from(!name.is_empty()),
            Step::Leaves { leaves, .. } => {
                for stamp in leaves.iter().map(|leaf| leaf.stamp) {
                    let is_new = stamp.nlink < 2 || met.insert((stamp.dev, stamp.ino));
                    if stamp.is_file() && is_new {
                        survey.files += 1;
                        survey.bytes += stamp.size;
                    } else {
                        survey.others += 1;
                    }
                }
            }
            Step::Leave => {}
        }
        if !go_on(&survey) {
            break;
        }
    }
    survey.problems = source.take_problems();
    survey.excluded = source.excluded();
    check(is_whole, &survey.problems)?;
    Ok(survey)
}

/// An absolute path without `.` and `..` and without following links: what `a/../b` means is
/// decided here, once, by the words alone. A link to a device is followed where devices are read:
/// they are usually known by one.
fn plain(path: &Path, devices: bool) -> Result<PathBuf, HomeError> {
    use std::os::unix::fs::FileTypeExt as _;
    let shown = path.display().to_string();
    if devices
        && path.is_symlink()
        && path.metadata().is_ok_and(|m| m.file_type().is_block_device())
    {
        return path.canonicalize().map_err(HomeError::io(&shown));
    }
    if path.is_symlink() && path.is_dir() {
        tracing::warn!(path = %shown, "a symbolic link; the directory it points to is not read");
    }
    let absolute = std::path::absolute(path).map_err(HomeError::io(&shown))?;
    let mut out = PathBuf::new();
    for component in absolute.components() {
        match component {
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::CurDir => {}
            other => out.push(other),
        }
    }
    Ok(out)
}
