//! Where a restore writes: an empty file system of its own, the same for every program.
//!
//! ext4 does not give an inode away again for some minutes after it was freed, and searches for
//! another one at a cost that grows with the number freed: whoever restores after somebody's tree
//! was removed pays for that removal, seconds of it. A fresh file system has no past. Without the
//! right to mount one a plain directory has to do, and restores are then not to be compared.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::calls::checked;
use crate::tree;

/// An empty directory, gone when this is dropped.
pub(crate) struct Ground {
    path: PathBuf,
    image: PathBuf,
    device: Option<String>,
}

impl Ground {
    /// A file system in `scratch` with room for twice `bytes` and at least `files` files.
    pub(crate) fn fresh(scratch: &Path, bytes: u64, files: u64) -> Result<Self> {
        let (path, image) = (scratch.join("restored"), scratch.join("restored.img"));
        tree::remove(&path)?;
        fs::create_dir(&path)?;
        let mut ground = Self { path, image, device: None };
        if Path::new("/proc/self").metadata().is_ok_and(|m| m.uid() == 0) {
            ground.mount(bytes, files)?;
        } else {
            eprintln!(
                "not root: restores go to a directory, and their times depend on what was removed before"
            );
        }
        Ok(ground)
    }

    fn mount(&mut self, bytes: u64, files: u64) -> Result<()> {
        let size = 2 * bytes + files * 8192 + (1 << 30);
        let file = File::create(&self.image).context("the image of a file system")?;
        file.set_len(size)?;
        let inodes = (2 * files + 100_000).to_string();
        let mut mkfs = Command::new("mkfs.ext4");
        checked(mkfs.args(["-q", "-F", "-N", &inodes]).arg(&self.image))?;
        let mut attach = Command::new("losetup");
        attach.args(["--find", "--show", "--direct-io=on"]).arg(&self.image);
        let device = String::from_utf8_lossy(&checked(&mut attach)?.stdout).trim().to_owned();
        self.device = Some(device.clone());
        // Without the thread that would go on making inode tables beside the restore.
        let mut mount = Command::new("mount");
        checked(mount.args(["-o", "noinit_itable,noatime"]).arg(device).arg(&self.path))?;
        tree::remove(&self.path.join("lost+found"))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let told = |done: Result<()>| {
            if let Err(error) = done {
                eprintln!("{error:#}");
            }
        };
        if let Some(device) = &self.device {
            told(checked(Command::new("umount").arg(&self.path)).map(drop));
            told(checked(Command::new("losetup").arg("--detach").arg(device)).map(drop));
            told(fs::remove_file(&self.image).context("removing the image"));
        }
        told(tree::remove(&self.path));
    }
}
