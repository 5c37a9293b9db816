//! A snapshot as a read-only file system (FUSE).
//!
//! The kernel asks, a [`View`] answers; nothing is fetched before it is asked for. Set-uid bits,
//! capabilities and devices are shown but have no effect (`nosuid`, `nodev`), and the kernel
//! checks modes and ACLs as on any file system (`default_permissions`).
//!
//! An inode's number is a hash of its path, so it is the same whenever it is asked for: programs
//! that copy hard links remember numbers for longer than the kernel does. What cannot be read is
//! an input/output error, and a warning that names path and object.

mod inodes;
mod requests;

use std::io;
use std::path::Path;
use std::time::Duration;

use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use rustix::mount::{UnmountFlags, unmount};
use seawall_backup::browse::{Names, View};

use self::requests::Shown;
use crate::home::HomeError;

/// Threads that answer the kernel: one slow tier does not stop who reads from another.
const THREADS: usize = 4;
/// How often it is looked whether somebody else has unmounted.
const POLL: Duration = Duration::from_millis(100);

/// How to mount.
#[derive(Debug, Clone, Copy, Default)]
pub struct MountOptions {
    /// Other users may look, too, as far as modes allow them.
    pub allow_other: bool,
}

/// Why a mount ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmounted {
    /// Somebody unmounted it.
    ByOthers,
    /// This process was told to end.
    BySignal,
    /// As `BySignal`, but files were open: they give errors from now on.
    InUse,
}

/// Mounts `view` at the directory `point` until it is unmounted or this process is told to end
/// (interrupt or termination signal). `names` are the link counts to show; `ready` is called when
/// the file system can be used.
pub fn mount(
    view: View,
    names: &Names,
    point: &Path,
    options: MountOptions,
    ready: &mut dyn FnMut(),
) -> Result<Unmounted, HomeError> {
    let failed = |action: &'static str| {
        move |e: io::Error| HomeError::refused(format!("cannot {action} {}: {e}", point.display()))
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed("prepare for signals while mounting"))?;
    // Before mounting: a signal between the two must not leave a mount behind.
    let (mut interrupt, mut terminate) = {
        use tokio::signal::unix::{SignalKind, signal};
        let _inside = runtime.enter();
        let watch = |kind| signal(kind).map_err(failed("watch for signals while mounting"));
        (watch(SignalKind::interrupt())?, watch(SignalKind::terminate())?)
    };
    let mut config = Config::default();
    config.mount_options = vec![
        MountOption::RO,
        MountOption::NoSuid,
        MountOption::NoDev,
        MountOption::NoAtime,
        MountOption::DefaultPermissions,
        MountOption::FSName("seawall".to_owned()),
        MountOption::Subtype("seawall".to_owned()),
    ];
    config.acl = if options.allow_other { SessionACL::All } else { SessionACL::Owner };
    config.n_threads = Some(THREADS);
    let session = Session::new(Shown::new(view, names), point, &config)
        .and_then(Session::spawn)
        .map_err(failed("mount on"))?;
    ready();
    let told = runtime.block_on(async {
        let mut poll = tokio::time::interval(POLL);
        loop {
            tokio::select! {
                _ = interrupt.recv() => break true,
                _ = terminate.recv() => break true,
                _ = poll.tick() => if session.guard.is_finished() { break false },
            }
        }
    });
    if told { end(session, point) } else { joined(session).map_err(failed("serve")) }
}

fn joined(session: BackgroundSession) -> io::Result<Unmounted> {
    session.join().map(|()| Unmounted::ByOthers)
}

/// Unmounts; where something is still in use, takes it out of sight at least.
fn end(session: BackgroundSession, point: &Path) -> Result<Unmounted, HomeError> {
    let Err(e) = session.umount_and_join() else { return Ok(Unmounted::BySignal) };
    match unmount(point, UnmountFlags::DETACH) {
        Ok(()) => Ok(Unmounted::InUse),
        Err(_) => Err(HomeError::refused(format!(
            "cannot unmount {}: {e}; close what is open there and run `umount {0}`",
            point.display()
        ))),
    }
}
