//! Headers of one member of a tar archive.
//!
//! Numbers that do not fit their octal field go into the extended header, and the field says 0;
//! only device numbers, for which pax has no word, are written in base 256 as GNU tar does. Names
//! are the snapshot's bytes, also where pax wants UTF-8: GNU tar and Python read them so, and a
//! declared character set makes GNU tar warn about every such name.

use super::acl;
use crate::entry::Meta;

const BLOCK: usize = 512;
/// Longest name or link target of a `ustar` header that needs no extended one.
const MAX_NAME: usize = 100;

/// ACLs as attributes, and the records they become.
const ACLS: [(&[u8], &[u8]); 2] = [
    (b"system.posix_acl_access", b"SCHILY.acl.access"),
    (b"system.posix_acl_default", b"SCHILY.acl.default"),
];

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Tag {
    File = b'0',
    HardLink = b'1',
    Symlink = b'2',
    CharDevice = b'3',
    BlockDevice = b'4',
    Directory = b'5',
    Fifo = b'6',
}

/// A member: everything but its bytes.
pub(super) struct Member<'a> {
    path: Vec<u8>,
    tag: Tag,
    meta: &'a Meta,
    /// Bytes that follow the headers.
    pub(super) size: u64,
    /// Where a link points.
    pub(super) link: Vec<u8>,
    /// Major and minor number of a device.
    pub(super) device: (u32, u32),
    /// Of a file whose holes are left out: its size with them.
    pub(super) sparse: Option<u64>,
}

impl<'a> Member<'a> {
    pub(super) const fn new(path: Vec<u8>, tag: Tag, meta: &'a Meta) -> Self {
        Self { path, tag, meta, size: 0, link: Vec::new(), device: (0, 0), sparse: None }
    }

    /// The extended header, if one is needed, and the header.
    pub(super) fn headers(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let records = self.records();
        if !records.is_empty() {
            let name = [b"PaxHeaders/", self.path.as_slice()].concat();
            out.extend(block(&name, b'x', 0o644, (0, 0), records.len() as u64, 0, &[], (0, 0)));
            out.extend(&records);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        let name = match self.sparse {
            // What does not know the sparse format extracts the map and the data under this name.
            Some(_) => [b"GNUSparseFile.0/", self.path.as_slice()].concat(),
            None => self.path.clone(),
        };
        let ids = (self.meta.uid, self.meta.gid);
        let mtime = u64::try_from(self.meta.mtime_sec).unwrap_or(0);
        out.extend(block(
            &name,
            self.tag as u8,
            self.meta.mode,
            ids,
            self.size,
            mtime,
            &self.link,
            self.device,
        ));
        out
    }

    /// The records of the extended header.
    fn records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(size) = self.sparse {
            record(&mut out, b"GNU.sparse.major", b"1");
            record(&mut out, b"GNU.sparse.minor", b"0");
            record(&mut out, b"GNU.sparse.name", &self.path);
            record(&mut out, b"GNU.sparse.realsize", size.to_string().as_bytes());
        } else if self.path.len() > MAX_NAME {
            record(&mut out, b"path", &self.path);
        }
        if self.link.len() > MAX_NAME {
            record(&mut out, b"linkpath", &self.link);
        }
        let numbers: [(&[u8], u64, usize); 3] = [
            (b"size", self.size, 12),
            (b"uid", self.meta.uid.into(), 8),
            (b"gid", self.meta.gid.into(), 8),
        ];
        for (name, value, field) in numbers {
            if !fits(value, field) {
                record(&mut out, name, value.to_string().as_bytes());
            }
        }
        let whole = u64::try_from(self.meta.mtime_sec).is_ok_and(|sec| fits(sec, 12));
        if !whole || self.meta.mtime_nsec != 0 {
            record(&mut out, b"mtime", time(self.meta.mtime_sec, self.meta.mtime_nsec).as_bytes());
        }
        // A further name has the attributes of the first.
        if self.tag != Tag::HardLink {
            for xattr in &self.meta.xattrs {
                let list = ACLS.iter().find(|(name, _)| *name == xattr.name);
                if let (Some((_, name)), Some(text)) = (list, acl::text(&xattr.value)) {
                    record(&mut out, name, text.as_bytes());
                    continue;
                }
                let mut name = b"SCHILY.xattr.".to_vec();
                for &byte in &xattr.name {
                    match byte {
                        b'=' => name.extend(b"%3D"),
                        b'%' => name.extend(b"%25"),
                        other => name.push(other),
                    }
                }
                record(&mut out, &name, &xattr.value);
            }
        }
        out
    }
}

/// Whether a number has room in an octal field of `len` bytes, the last of which is NUL.
const fn fits(value: u64, len: usize) -> bool {
    value < 1 << (3 * (len - 1))
}

/// Seconds since the epoch as a decimal number.
fn time(sec: i64, nsec: u32) -> String {
    let (sign, whole, nsec) = match (sec, nsec) {
        (0.., _) => ("", sec.unsigned_abs(), nsec),
        (_, 0) => ("-", sec.unsigned_abs(), 0),
        _ => ("-", sec.unsigned_abs() - 1, 1_000_000_000 - nsec),
    };
    let text = format!("{sign}{whole}.{nsec:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Appends `LENGTH NAME=VALUE\n`, where the length counts itself.
fn record(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let rest = 1 + name.len() + 1 + value.len() + 1;
    let mut len = rest + 1;
    while rest + len.to_string().len() != len {
        len = rest + len.to_string().len();
    }
    out.extend(format!("{len} ").into_bytes());
    out.extend(name);
    out.push(b'=');
    out.extend(value);
    out.push(b'\n');
}

#[expect(clippy::too_many_arguments, reason = "the fields of a header, in their order")]
fn block(
    name: &[u8],
    tag: u8,
    mode: u32,
    (uid, gid): (u32, u32),
    size: u64,
    mtime: u64,
    link: &[u8],
    (major, minor): (u32, u32),
) -> [u8; BLOCK] {
    let mut out = [0; BLOCK];
    let cut = |text: &[u8]| text.len().min(MAX_NAME);
    out[..cut(name)].copy_from_slice(&name[..cut(name)]);
    octal(&mut out[100..108], mode.into());
    octal(&mut out[108..116], uid.into());
    octal(&mut out[116..124], gid.into());
    octal(&mut out[124..136], size);
    octal(&mut out[136..148], mtime);
    out[148..156].fill(b' ');
    out[156] = tag;
    out[157..157 + cut(link)].copy_from_slice(&link[..cut(link)]);
    out[257..265].copy_from_slice(b"ustar\x0000");
    if tag == Tag::CharDevice as u8 || tag == Tag::BlockDevice as u8 {
        device(&mut out[329..337], major);
        device(&mut out[337..345], minor);
    }
    let sum: u32 = out.iter().map(|&b| u32::from(b)).sum();
    out[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    out
}

/// Writes a number, or 0 where the extended header says it.
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let value = if fits(value, field.len()) { value } else { 0 };
    field[..digits].copy_from_slice(format!("{value:0digits$o}").as_bytes());
}

fn device(field: &mut [u8], number: u32) {
    if fits(number.into(), field.len()) {
        octal(field, number.into());
    } else {
        field.fill(0);
        field[0] = 0x80;
        let at = field.len() - 4;
        field[at..].copy_from_slice(&number.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_count_themselves() {
        for len in (0..1_200).chain(9_970..10_010) {
            let mut out = Vec::new();
            record(&mut out, b"k", &vec![b'v'; len]);
            let text = String::from_utf8(out.clone()).expect("text");
            let (number, _) = text.split_once(' ').expect("a space");
            assert_eq!(number.parse(), Ok(out.len()), "value of {len} bytes");
        }
    }

    #[test]
    fn times_are_exact_on_both_sides_of_the_epoch() {
        for (sec, nsec, text) in [
            (0, 0, "0"),
            (1, 500_000_000, "1.5"),
            (0, 1, "0.000000001"),
            (-1, 0, "-1"),
            (-1, 999_999_999, "-0.000000001"),
            (-2, 250_000_000, "-1.75"),
            (i64::MIN, 0, "-9223372036854775808"),
        ] {
            assert_eq!(time(sec, nsec), text);
        }
    }

    #[test]
    fn golden_header() {
        let meta = Meta { mode: 0o4755, uid: 7, gid: 1 << 30, mtime_sec: 1, ..Meta::default() };
        let mut member = Member::new(b"a/b".to_vec(), Tag::CharDevice, &meta);
        member.device = (1, 3);
        let bytes = member.headers();
        assert_eq!(bytes.len(), 3 * BLOCK, "an extended header for the group");
        assert_eq!(&bytes[512..528], b"18 gid=107374182");
        let header = &bytes[1024..];
        assert_eq!(&header[..4], b"a/b\0");
        assert_eq!(&header[100..124], b"0004755\x000000007\x000000000\0");
        assert_eq!(&header[156..158], b"3\0");
        assert_eq!(&header[257..265], b"ustar\x0000");
        assert_eq!(&header[329..345], b"0000001\x000000003\0");
        let sum: u32 = header.iter().map(|&b| u32::from(b)).sum::<u32>()
            - header[148..156].iter().map(|&b| u32::from(b)).sum::<u32>()
            + 8 * 32;
        assert_eq!(&header[148..156], format!("{sum:06o}\0 ").as_bytes());
    }
}
