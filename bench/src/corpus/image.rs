//! The disk of a virtual machine: a raw image of 1600 MiB with an ext4 file system that holds the
//! OS tree, before and after packages were upgraded.
//!
//! `mke2fs -d` fills the image and `debugfs -w` changes it, both without privileges. As a package
//! manager does, each changed file is unlinked and written anew, so the rest keeps its blocks. The
//! image has no holes, as one read from a block device.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::{Changes, Corpus, Kind, Matter, Scale, edited};
use crate::calls::checked;
use crate::seeded::{Seeded, hash};
use crate::tree;

const BYTES: u64 = 1600 << 20;
/// How many files the upgrade replaces, and how large they may be.
const UPGRADED: u64 = 400;
const LARGEST: u64 = 4 << 20;
/// Any fixed ones; else each image would be laid out in its own way.
const UUID: &str = "5ea3a11e-0000-4000-8000-00000000beef";
const TIME: &str = "1700000000";

pub(super) fn make(dir: &Path, scratch: &Path, seed: u64, scale: Scale) -> Result<Changes> {
    let content = Corpus::made(scratch, Kind::OsTree, seed, scale)?.tree();
    let image = dir.join("tree/disk.img");
    let sparse = dir.join("sparse.img");
    fs::create_dir_all(dir.join("tree"))?;
    let mebibytes = scale.of(BYTES, 64 << 20) >> 20;
    let mut mke2fs = tool("mke2fs");
    mke2fs.args(["-q", "-F", "-t", "ext4", "-b", "4096", "-m", "0", "-U", UUID]);
    mke2fs.args(["-i", "16384", "-E", &format!("hash_seed={UUID},root_owner=0:0")]);
    mke2fs.arg("-d").arg(&content).arg(&sparse).arg(format!("{mebibytes}M"));
    checked(&mut mke2fs)?;
    let mut dense = Command::new("cp");
    checked(dense.arg("--sparse=never").arg(&sparse).arg(&image))?;
    upgrade(&content, &sparse, dir, seed, scale)?;
    let after = dir.join("delta/disk.img");
    checked(Command::new("cp").arg("--sparse=never").arg(&sparse).arg(&after))?;
    fs::remove_file(&sparse)?;
    ensure!(!tree::same_bytes(&image, &after)?, "the upgrade changed nothing");
    Ok(Changes { brought: [PathBuf::from("disk.img")].into(), ..Changes::default() })
}

/// Replaces some hundred files of the file system in `image`.
fn upgrade(content: &Path, image: &Path, dir: &Path, seed: u64, scale: Scale) -> Result<()> {
    let fresh = dir.join("fresh");
    fs::create_dir_all(&fresh)?;
    let mut seeded = Seeded::new(seed, "upgrade");
    let mut paths = tree::files(content)?;
    paths.retain(|path| path.to_str().is_some_and(|path| path.bytes().all(plain)));
    paths.sort_by_key(|path| hash(path.as_os_str().as_encoded_bytes()) ^ hash(b"upgrade"));
    let mut script = String::new();
    for (index, path) in paths.iter().take(scale.of(UPGRADED, 20) as usize).enumerate() {
        let from = content.join(path);
        let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(OsStr::to_str))
        else {
            continue;
        };
        if fs::metadata(&from)?.len() > LARGEST {
            continue;
        }
        let new = fresh.join(index.to_string());
        fs::write(&new, edited(&from, &mut seeded, Matter::Text)?)?;
        script += &format!("cd \"/{}\"\nrm {name}\n", parent.display());
        script += &format!("write \"{}\" {name}\n", new.display());
    }
    let commands = dir.join("upgrade.debugfs");
    fs::write(&commands, script)?;
    checked(tool("debugfs").arg("-w").arg("-f").arg(&commands).arg(image))?;
    // Says whether the file system is whole after that; a damaged one is no disk of anybody.
    checked(tool("e2fsck").args(["-f", "-n"]).arg(image))?;
    fs::remove_file(&commands)?;
    tree::remove(&fresh)
}

/// Names that need no quoting in debugfs.
fn plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte)
}

/// A program of e2fsprogs, which some systems keep off the path of users.
fn tool(name: &str) -> Command {
    let mut command = Command::new(name);
    let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".into());
    command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
    command.env("E2FSPROGS_FAKE_TIME", TIME);
    command
}
