//! Applying owner, attributes, mode and time, in the order in which none undoes another.
//!
//! A right that depends on another is refused with it: set-uid, set-gid and capabilities of a
//! file whose owner could not be set would hand somebody else's powers to the wrong person; and
//! where an ACL could not be set, the mode's group bits (which held the ACL's mask) are cut down
//! to what the ACL gave the owning group.

use std::io;

use rustix::fs::{self, AtFlags, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};
use rustix::io::{Errno, Result};

use super::Refusal;
use crate::entry::{Meta, Xattr};
use crate::source::Handle;

const CAPABILITY: &[u8] = b"security.capability";
const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
const SET_UID: u32 = 0o4000;
const SET_GID: u32 = 0o2000;

/// What metadata means depends on what it is applied to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A regular file: its set-uid and set-gid bits and capabilities are powers.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, which has no mode.
    Symlink,
    /// A pipe or device node.
    Special,
}

/// Applies all of `meta`; returns what was not allowed, by the caller or by the system.
pub(super) fn apply(
    handle: Handle<'_>,
    kind: Kind,
    meta: &Meta,
    privileged: bool,
) -> Result<Vec<Refusal>> {
    let mut refused = Vec::new();
    apply_owner(handle, meta, &mut refused)?;
    let may_empower = privileged && refused.is_empty();
    let has_acl = apply_xattrs(handle, meta, may_empower, &mut refused)?;
    let mode = granted_mode(kind, meta, may_empower, has_acl, &mut refused);
    let bits = Mode::from_raw_mode(mode);
    let changed = match handle {
        _ if kind == Kind::Symlink => Ok(()),
        Handle::Open(fd) => fs::fchmod(fd, bits),
        Handle::Path(_) => fs::chmod(handle.proc_name(), bits),
    };
    let mode_is_refused = !allowed(changed)?;
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: meta.mtime_sec, tv_nsec: i64::from(meta.mtime_nsec) },
    };
    let changed = fs::utimensat(handle.fd(), "", &times, AtFlags::EMPTY_PATH);
    let time_is_refused = !allowed(changed)?;
    // Some are granted in part without a word: times outside the file system's range or finer
    // than its clock, set-gid for a group one is not in.
    let stat = fs::fstat(handle.fd())?;
    if mode_is_refused || kind != Kind::Symlink && stat.st_mode & 0o7777 != mode {
        refused.push(Refusal::Mode(mode));
    }
    let mtime = (stat.st_mtime, stat.st_mtime_nsec);
    if time_is_refused || mtime != (meta.mtime_sec, u64::from(meta.mtime_nsec)) {
        refused.push(Refusal::Time);
    }
    Ok(refused)
}

/// The mode to set: without powers that were not granted and rights an ACL would have cut.
fn granted_mode(
    kind: Kind,
    meta: &Meta,
    may_empower: bool,
    has_acl: bool,
    refused: &mut Vec<Refusal>,
) -> u32 {
    let mode = if has_acl { meta.mode } else { mode_without_acl(meta) };
    if kind != Kind::File || may_empower {
        return mode;
    }
    for (bit, refusal) in [(SET_UID, Refusal::SetUid), (SET_GID, Refusal::SetGid)] {
        if mode & bit != 0 {
            refused.push(refusal);
        }
    }
    mode & !(SET_UID | SET_GID)
}

/// Tells "not permitted" from failure.
fn allowed(result: Result<()>) -> Result<bool> {
    match result {
        // `EINVAL` is the answer to an id that a user namespace does not map.
        Err(Errno::PERM | Errno::ACCESS | Errno::INVAL | Errno::NOTSUP) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Owner and group at once, or as much of them as is permitted.
fn apply_owner(handle: Handle<'_>, meta: &Meta, refused: &mut Vec<Refusal>) -> Result<()> {
    let chown = |uid: Option<u32>, gid: Option<u32>| {
        let (uid, gid) = (uid.map(Uid::from_raw), gid.map(Gid::from_raw));
        fs::chownat(handle.fd(), "", uid, gid, AtFlags::EMPTY_PATH)
    };
    let stat = fs::fstat(handle.fd())?;
    let mut uid = (stat.st_uid != meta.uid).then_some(meta.uid);
    let mut gid = (stat.st_gid != meta.gid).then_some(meta.gid);
    // To the kernel this id means "leave as it is".
    refused.extend(uid.take_if(|uid| *uid == u32::MAX).map(Refusal::Owner));
    refused.extend(gid.take_if(|gid| *gid == u32::MAX).map(Refusal::Group));
    if uid.is_none() && gid.is_none() || chown(uid, gid).is_ok() {
        return Ok(());
    }
    if let Some(uid) = uid
        && !allowed(chown(Some(uid), None))?
    {
        refused.push(Refusal::Owner(uid));
    }
    if let Some(gid) = gid
        && !allowed(chown(None, Some(gid)))?
    {
        refused.push(Refusal::Group(gid));
    }
    Ok(())
}

/// Makes the attributes those of `meta`, also removing what was inherited from the directory.
/// `security.*` attributes set by the system itself are left. Returns whether the ACL is in place.
fn apply_xattrs(
    handle: Handle<'_>,
    meta: &Meta,
    may_empower: bool,
    refused: &mut Vec<Refusal>,
) -> Result<bool> {
    let lost = |name: &[u8], error: Errno| Refusal::Xattr {
        name: name.to_vec(),
        kind: io::Error::from(error).kind(),
    };
    let mut has_acl = true;
    for name in handle.xattr_names()? {
        let is_wanted = meta.xattrs.iter().any(|x| x.name == name);
        if is_wanted || name.starts_with(b"security.") {
            continue;
        }
        match handle.remove_xattr(&name) {
            Ok(()) | Err(Errno::NODATA) => {}
            Err(error) => refused.push(lost(&name, error)),
        }
    }
    for Xattr { name, value } in &meta.xattrs {
        if name == CAPABILITY && !may_empower {
            refused.push(Refusal::Capability);
            continue;
        }
        match handle.set_xattr(name, value) {
            Ok(()) => {}
            Err(error) => {
                has_acl &= name != ACCESS_ACL;
                refused.push(lost(name, error));
            }
        }
    }
    Ok(has_acl)
}

/// The mode with the group's own rights in place of the mask of an ACL that could not be set.
///
/// An access ACL is a version (`u32`) and entries of tag (`u16`), rights (`u16`) and id (`u32`),
/// little-endian (Linux `posix_acl_xattr.h`); tag 4 is the owning group. Without such an entry
/// the group gets nothing.
fn mode_without_acl(meta: &Meta) -> u32 {
    const OWNING_GROUP: [u8; 2] = [4, 0];
    let Some(acl) = meta.xattrs.iter().find(|x| x.name == ACCESS_ACL) else { return meta.mode };
    let (entries, _) = acl.value.get(4..).unwrap_or_default().as_chunks::<8>();
    let group = entries.iter().find(|e| e[..2] == OWNING_GROUP).map_or(0, |e| u32::from(e[2] & 7));
    meta.mode & (!0o070 | group << 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_acl_never_widens_the_groups_rights() {
        let with = |value: Vec<u8>| Meta {
            mode: 0o4775,
            xattrs: vec![Xattr { name: ACCESS_ACL.to_vec(), value }],
            ..Meta::default()
        };
        let mut acl = vec![2, 0, 0, 0];
        for (tag, rights) in [(1u8, 7u8), (2, 6), (4, 4), (0x10, 7), (0x20, 5)] {
            acl.extend([tag, 0, rights, 0, 255, 255, 255, 255]);
        }
        assert_eq!(mode_without_acl(&with(acl)), 0o4745);
        assert_eq!(mode_without_acl(&with(vec![2])), 0o4705);
        assert_eq!(mode_without_acl(&Meta { mode: 0o4775, ..Meta::default() }), 0o4775);
    }
}
