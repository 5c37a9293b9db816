//! What an operating system looks like: files and links of `/usr`, chosen by a hash of their
//! paths, about as many and as large as those that the goals were set by: 47 636 files, 1067 MiB.
//!
//! Small and large files are chosen apart, so that both numbers come out whatever is installed. A
//! machine with less gets variants: the same files again, each with another first line.
//!
//! The choice depends on the machine and the seed alone; the bytes are the distribution's, because
//! generated text compresses and repeats in no natural way.

use std::fs::File;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::{Changes, Matter, Scale, one_percent};
use crate::seeded::hash;
use crate::tree;

const FILES: u64 = 47_636;
const BYTES: u64 = 1067 << 20;
const LINKS: u64 = 4000;

/// A file is large from here on.
const LARGE: u64 = 64 << 10;

/// Of a hundred files, so many are small.
const SMALL_PERCENT: u64 = 95;

struct Candidate {
    path: PathBuf,
    bytes: u64,
}

pub(super) fn make(dir: &Path, scratch: &Path, seed: u64, scale: Scale) -> Result<Changes> {
    let source = Path::new("/usr");
    let (files, bytes) = (scale.of(FILES, 400), scale.of(BYTES, 8 << 20));
    let (mut small, mut large, mut links) = (Vec::new(), Vec::new(), Vec::new());
    for entry in tree::entries(source)? {
        let full = source.join(&entry.path);
        let kind = entry.metadata.file_type();
        if full.starts_with(scratch) || (kind.is_file() && File::open(&full).is_err()) {
            continue;
        }
        let candidate = Candidate { path: entry.path, bytes: entry.metadata.len() };
        match () {
            () if kind.is_symlink() => links.push(candidate),
            () if kind.is_file() && candidate.bytes < LARGE => small.push(candidate),
            // One huge library must not be half of the corpus.
            () if kind.is_file() && candidate.bytes < bytes / 50 => large.push(candidate),
            () => {}
        }
    }
    ensure!(!small.is_empty() && !large.is_empty(), "nothing to copy in {}", source.display());
    for candidates in [&mut small, &mut large, &mut links] {
        let key = |c: &Candidate| hash(c.path.as_os_str().as_encoded_bytes()) ^ seed;
        candidates.sort_by_cached_key(key);
    }
    let tree = dir.join("tree");
    let few = files * SMALL_PERCENT / 100;
    let taken = take(&tree, source, &small, |count, _| count >= few)?;
    take(&tree, source, &large, |_, sum| taken + sum >= bytes)?;
    for link in links.iter().take(scale.of(LINKS, 40) as usize) {
        tree::copy(&source.join(&link.path), &tree.join("usr").join(&link.path))?;
    }
    one_percent(dir, seed, Matter::Text)
}

/// Copies candidates, and variants of them when they do not suffice, until `enough(count, bytes)`.
/// Returns how many bytes that were.
fn take(
    tree: &Path,
    source: &Path,
    candidates: &[Candidate],
    enough: impl Fn(u64, u64) -> bool,
) -> Result<u64> {
    let (mut count, mut sum) = (0, 0);
    for variant in 0_u32.. {
        for Candidate { path, bytes } in candidates {
            if enough(count, sum) {
                return Ok(sum);
            }
            let from = source.join(path);
            if variant == 0 {
                let to = tree.join("usr").join(path);
                tree::copy(&from, &to)?;
            } else {
                let to = tree.join(format!("variant-{variant}")).join(path);
                let mut varied = format!("variant {variant} of {}\n", path.display()).into_bytes();
                varied.extend(std::fs::read(&from)?);
                tree::write(&to, &varied)?;
                let mode = std::fs::metadata(&from)?.permissions().mode();
                std::fs::set_permissions(&to, PermissionsExt::from_mode(mode))?;
            }
            count += 1;
            sum += bytes;
        }
    }
    Ok(sum)
}
