//! Whether what lies on the disk is what was sealed, by ways other than the one that wrote it.
//!
//! A restore proves the objects and counts what it wrote. That the bytes then lie where they should
//! is another claim, so the tree is counted again as the system shows it, and files taken at random
//! are read back and compared with the snapshot, read a second time by the code that serves mounts.
//! Where the live source still exists it is compared too, which is the only check that does not
//! take the snapshot's word for what there was: a node that sealed garbage is found out here.

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use seawall_backup::browse::{OpenFile, Selection, Step, View, ViewError, Visited, Walk};
use seawall_backup::entry::EntryKind;
use seawall_backup::target::{Aspect, Difference, Refusal, Refused, compare};
use seawall_base::{Rng, Timestamp};
use seawall_record::Totals;

/// Bytes of a file compared at once.
const STEP: usize = 1 << 20;

/// Counts a tree as a manifest's totals count it; `problems` stays 0.
pub(super) fn count(top: &Path) -> io::Result<Totals> {
    let mut totals = Totals::default();
    let mut linked = HashSet::new();
    let mut open = vec![top.to_owned()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            if meta.is_dir() {
                totals.directories += 1;
                open.push(entry.path());
            } else if meta.is_file()
                && (meta.nlink() == 1 || linked.insert((meta.dev(), meta.ino())))
            {
                totals.files += 1;
                totals.bytes += meta.len();
            } else {
                totals.others += 1;
            }
        }
    }
    Ok(totals)
}

/// What a restore left out on purpose and the count cannot find.
pub(super) fn left_out(refused: &[Refused]) -> u64 {
    refused.iter().filter(|r| r.what == Refusal::Device).count() as u64
}

/// `n` of the files of a snapshot, each as likely as any other (reservoir sampling).
pub(super) fn choose(view: &View, n: u64, rng: &mut dyn Rng) -> Result<Vec<Visited>, ViewError> {
    let everything = Selection::all();
    let mut walk = Walk::new(view, &everything);
    let (mut chosen, mut seen) = (Vec::new(), 0_u64);
    while let Some(step) = walk.next()? {
        let it = match step {
            Step::Leaf(it) if is_file(&it) => it,
            Step::Lost { why, .. } => return Err(why),
            _ => continue,
        };
        seen += 1;
        if (chosen.len() as u64) < n {
            chosen.push(it);
            continue;
        }
        let mut bytes = [0; 8];
        rng.fill(&mut bytes);
        let at = u64::from_le_bytes(bytes) % seen;
        if at < n {
            chosen[at as usize] = it;
        }
    }
    Ok(chosen)
}

fn is_file(it: &Visited) -> bool {
    it.link.is_none() && matches!(it.entry.kind, EntryKind::File { .. })
}

/// Where below `top` a path of a snapshot was restored.
pub(super) fn below(top: &Path, path: &[u8]) -> PathBuf {
    top.join(std::ffi::OsStr::from_bytes(path))
}

/// Files, bytes, and what is wrong with which of them.
#[derive(Debug, Default)]
pub(super) struct ReadBack {
    pub(super) files: u64,
    pub(super) bytes: u64,
    /// Those that could not be read, on either side; not among `files`.
    pub(super) unread: u64,
    pub(super) wrong: Vec<String>,
}

/// Reads files of the restored tree back and compares each with the snapshot.
pub(super) fn read_back(view: &View, top: &Path, files: &[Visited]) -> ReadBack {
    let mut out = ReadBack::default();
    for it in files {
        let path = below(top, &it.path);
        let Some(file) = OpenFile::new(&it.entry) else { continue };
        let differs = match same_bytes(view, &file, &path) {
            Ok(differs) => differs,
            Err(e) => {
                out.unread += 1;
                out.wrong.push(format!("{}: {e}", path.display()));
                continue;
            }
        };
        out.files += 1;
        out.bytes += file.size();
        if let Some(at) = differs {
            out.wrong.push(format!("{}: differs at byte {at}", path.display()));
        }
    }
    out
}

/// Where a file on disk first differs from one in a snapshot.
fn same_bytes(view: &View, file: &OpenFile, path: &Path) -> Result<Option<u64>, String> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let disk = OpenOptions::new().read(true).custom_flags(no_follow).open(path);
    let mut disk: File = disk.map_err(|e| e.to_string())?;
    let length = disk.metadata().map_err(|e| e.to_string())?.len();
    if length != file.size() {
        return Ok(Some(length.min(file.size())));
    }
    let mut at = 0;
    let mut buffer = vec![0; STEP];
    while at < length {
        let step = (length - at).min(STEP as u64) as usize;
        disk.read_exact(&mut buffer[..step]).map_err(|e| e.to_string())?;
        let sealed = view.read(file, at, step).map_err(|e| e.to_string())?;
        if sealed != buffer[..step] {
            let same = sealed.iter().zip(&buffer).take_while(|(a, b)| a == b).count();
            return Ok(Some(at + same as u64));
        }
        at += step as u64;
    }
    Ok(None)
}

/// A live tree to compare with.
#[derive(Debug, Clone, Copy)]
pub struct Against<'a> {
    /// The path that was sealed, as it stands now. Absolute.
    pub live: &'a Path,
    /// Whether the snapshot may lack things: some were excluded.
    pub may_lack: bool,
    /// How long making the snapshot took, at most: what changed meanwhile has changed since.
    pub took: seawall_base::Seconds,
}

/// What a comparison with the live tree came to.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// Files of the live tree that are the same.
    pub(super) same: u64,
    /// Paths that have changed since.
    pub(super) since: u64,
    /// Paths that the snapshot lacks and may.
    pub(super) lacking: u64,
    /// Everything else that differs.
    pub(super) wrong: Vec<String>,
}

/// Compares the live tree with the restored one, path by path. A difference is told from a change
/// made since by the live entry's times: its change time cannot be set back by whoever owns it.
pub(super) fn against(
    plan: &Against<'_>,
    top: &Path,
    created: Timestamp,
    refused: &[Refused],
) -> io::Result<Compared> {
    let inner = plan.live.strip_prefix("/").unwrap_or(plan.live);
    let restored = inside(top, inner)?;
    let differences = compare(plan.live, &restored, false, &mut |_| ())?;
    let refused: HashSet<&[u8]> = refused.iter().map(|r| r.path.as_slice()).collect();
    let since = created.before(plan.took);
    let mut out = Compared::default();
    for it in &differences {
        let path = it.path.strip_prefix(b"/").unwrap_or(&it.path);
        let whole = inner.join(std::ffi::OsStr::from_bytes(path));
        let whole = whole.as_os_str().as_bytes();
        if refused.contains(whole.strip_suffix(b"/").unwrap_or(whole)) && is_power(&it.aspect) {
            continue;
        }
        if changed_since(plan.live, path, &it.aspect, since) {
            out.since += 1;
        } else if plan.may_lack && may_be_excluded(it) {
            out.lacking += 1;
        } else {
            out.wrong.push(format!("{}: {}", plan.live.display(), it));
        }
    }
    let files = count(plan.live)?.files;
    out.same = files.saturating_sub(live_files(plan.live, &differences)?);
    Ok(out)
}

/// The directory `inner` in the tree that was restored below `top`. A link on the way would lead
/// out of it, most likely to the live tree, which is no different from itself.
fn inside(top: &Path, inner: &Path) -> io::Result<PathBuf> {
    let mut at = top.to_owned();
    for component in inner.components() {
        at.push(component);
        if at.symlink_metadata()?.is_symlink() {
            let link = at.strip_prefix(top).unwrap_or(&at).display();
            return Err(io::Error::other(format!(
                "/{link} is a symbolic link, and a link is all that was sealed of it; seal and \
                 compare what it points to"
            )));
        }
    }
    Ok(at)
}

/// How many files of the live tree are among these differences, each counted under its first name.
fn live_files(live: &Path, differences: &[Difference]) -> io::Result<u64> {
    let (mut files, mut below_them) = (HashSet::new(), 0);
    for it in differences {
        let at = below(live, it.path.strip_prefix(b"/").unwrap_or(&it.path));
        match at.symlink_metadata() {
            Ok(meta) if meta.is_file() => drop(files.insert((meta.dev(), meta.ino()))),
            Ok(meta) if meta.is_dir() && matches!(it.aspect, Aspect::OnlyInFirst) => {
                below_them += count(&at)?.files;
            }
            // Gone meanwhile, or nothing that is counted.
            Ok(_) | Err(_) => {}
        }
    }
    Ok(files.len() as u64 + below_them)
}

/// Excluding something changes what is in its directory and nothing else.
fn may_be_excluded(it: &Difference) -> bool {
    matches!(it.aspect, Aspect::OnlyInFirst)
}

/// What is not applied without the power to.
const fn is_power(aspect: &Aspect) -> bool {
    matches!(
        aspect,
        Aspect::Mode(..)
            | Aspect::Owner(..)
            | Aspect::Group(..)
            | Aspect::Xattr(_)
            | Aspect::OnlyInFirst
    )
}

/// Whether the live entry, or the directory that lost it, was touched at that time or later.
fn changed_since(live: &Path, path: &[u8], aspect: &Aspect, since: Timestamp) -> bool {
    let mut at = below(live, path);
    if matches!(aspect, Aspect::OnlyInSecond) {
        at.pop();
    }
    let meta = match at.symlink_metadata() {
        Ok(meta) => meta,
        // What cannot be looked at has no excuse; what is gone was removed since.
        Err(e) => return e.kind() == io::ErrorKind::NotFound,
    };
    let newest = meta.ctime().max(meta.mtime());
    u64::try_from(newest).is_ok_and(|at| at >= since.0)
}
