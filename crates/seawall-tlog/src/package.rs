//! The bytes of C2SP tlog-mirror's `add-entries`: header, entry packages, answers.
//!
//! Packages are cut at multiples of 256 by start and end alone (the *canonical sequence*), so
//! neither side sends or trusts a package's bounds. A reader never buffers more than one package:
//! 256 largest entries, 16 MiB.

use std::io::{self, Read};

use crate::checkpoint::Origin;
use crate::merkle::{Hash, MAX_PROOF, MAX_SIZE};
use crate::note::{NoteSignature, decode_base64, encode_base64, parse_decimal};
use crate::tile::WIDTH;

/// Most packages of one request, as the specification recommends.
pub const MAX_PACKAGES: u64 = 32;

/// Longest ticket in bytes.
pub const MAX_TICKET: usize = u16::MAX as usize;

/// The answer to `add-entries`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MirrorAnswer {
    /// 200: the mirror checkpoint is at `upload_end`; its cosignatures.
    Cosigned(Vec<NoteSignature>),
    /// 202: a prefix was kept; go on from here.
    Accepted(MirrorInfo),
    /// 400: not a request, or not one whole package.
    Malformed(String),
    /// 404: the log is not known here.
    UnknownLog,
    /// 409: start or end do not fit; these do.
    Conflict(MirrorInfo),
    /// 422: a package does not verify or is refused, or there is no pending checkpoint.
    Refused(String),
}

/// Where a mirror stands: the body of 202 and 409.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorInfo {
    /// The size of a pending checkpoint to upload to.
    pub size: u64,
    /// The first entry the mirror does not have.
    pub next: u64,
    /// To be sent back as it is. Ours are empty.
    pub ticket: Vec<u8>,
}

impl MirrorAnswer {
    /// The HTTP status code.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Cosigned(_) => 200,
            Self::Accepted(_) => 202,
            Self::Malformed(_) => 400,
            Self::UnknownLog => 404,
            Self::Conflict(_) => 409,
            Self::Refused(_) => 422,
        }
    }

    /// The `Content-Type`.
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Accepted(_) | Self::Conflict(_) => "text/x.tlog.mirror-info",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The response body.
    pub fn body(&self) -> String {
        match self {
            Self::Cosigned(lines) => lines.iter().map(ToString::to_string).collect(),
            Self::Accepted(info) | Self::Conflict(info) => {
                format!("{}\n{}\n{}\n", info.size, info.next, encode_base64(&info.ticket))
            }
            Self::Malformed(why) | Self::Refused(why) => format!("{why}\n"),
            Self::UnknownLog => "unknown log\n".to_owned(),
        }
    }

    /// Parses an answer; `None` for a status or body the protocol does not know.
    pub fn parse(status: u16, body: &[u8]) -> Option<Self> {
        let text = str::from_utf8(body).ok().filter(|text| text.len() <= 256 << 10)?;
        let why = || text.chars().filter(|c| !c.is_control()).take(200).collect();
        Some(match status {
            200 => Self::Cosigned(NoteSignature::parse_lines(text).ok()?),
            202 => Self::Accepted(MirrorInfo::parse(text)?),
            400 => Self::Malformed(why()),
            404 => Self::UnknownLog,
            409 => Self::Conflict(MirrorInfo::parse(text)?),
            422 => Self::Refused(why()),
            _ => return None,
        })
    }
}

impl MirrorInfo {
    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.strip_suffix('\n')?.split('\n');
        let size = parse_decimal(lines.next()?)?;
        let next = parse_decimal(lines.next()?)?;
        let ticket = decode_base64(lines.next()?, MAX_TICKET)?;
        (lines.next().is_none() && size <= MAX_SIZE && next <= MAX_SIZE).then_some(Self {
            size,
            next,
            ticket,
        })
    }
}

/// What comes before the packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntriesHeader {
    /// Which log.
    pub origin: Origin,
    /// The first entry sent.
    pub start: u64,
    /// The pending checkpoint to reach.
    pub end: u64,
    /// What the mirror gave earlier.
    pub ticket: Vec<u8>,
}

impl EntriesHeader {
    /// Reads a header. The error is the answer to send.
    pub fn read(body: &mut dyn Read) -> Result<Self, MirrorAnswer> {
        let bad = |why: &str| MirrorAnswer::Malformed(format!("malformed header: {why}"));
        let cut = |_: io::Error| bad("truncated");
        let origin = read_sized(body).map_err(cut)?;
        let start = read_u64(body).map_err(cut)?;
        let end = read_u64(body).map_err(cut)?;
        let ticket = read_sized(body).map_err(cut)?;
        let origin = String::from_utf8(origin).map_err(|_| bad("the origin is not UTF-8"))?;
        let origin = origin.parse().map_err(|_| bad("not an origin"))?;
        if start > end || end > MAX_SIZE {
            return Err(bad("the range is not one"));
        }
        Ok(Self { origin, start, end, ticket })
    }

    /// The header's bytes. The ticket must be what a mirror sent, which is at most 65535 bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let sized = |bytes: &mut Vec<u8>, field: &[u8]| {
            let len = u16::try_from(field.len()).expect("origins and tickets fit 16 bits");
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(field);
        };
        sized(&mut bytes, self.origin.as_str().as_bytes());
        bytes.extend_from_slice(&self.start.to_be_bytes());
        bytes.extend_from_slice(&self.end.to_be_bytes());
        sized(&mut bytes, &self.ticket);
        bytes
    }

    /// The canonical sequence.
    pub fn bounds(&self) -> impl Iterator<Item = Bounds> + use<> {
        let (start, end) = (self.start, self.end);
        let packages = if start == end { 0..0 } else { start / WIDTH..end.div_ceil(WIDTH) };
        packages.map(move |i| Bounds {
            aligned: i * WIDTH,
            start: start.max(i * WIDTH),
            end: end.min((i + 1) * WIDTH),
        })
    }
}

/// Which entries a package holds and which subtree it proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The subtree's first leaf, a multiple of 256.
    pub aligned: u64,
    /// The first entry sent.
    pub start: u64,
    /// One past the last entry, and the subtree's end.
    pub end: u64,
}

/// A package: entries and the proof of their subtree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// The entries of its bounds.
    pub entries: Vec<Vec<u8>>,
    /// The subtree consistency proof.
    pub proof: Vec<Hash>,
}

impl Package {
    /// Reads a package. An error means that the body ended or is no package.
    pub fn read(body: &mut dyn Read, bounds: &Bounds) -> io::Result<Self> {
        let entries =
            (bounds.start..bounds.end).map(|_| read_sized(body)).collect::<io::Result<_>>()?;
        let mut count = [0];
        body.read_exact(&mut count)?;
        if usize::from(count[0]) > MAX_PROOF {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "more than 63 hashes"));
        }
        let hash = |_| {
            let mut hash = [0; 32];
            body.read_exact(&mut hash).map(|()| seawall_base::Sha256(hash))
        };
        Ok(Self { entries, proof: (0..count[0]).map(hash).collect::<io::Result<_>>()? })
    }

    /// Appends the package's bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&crate::tile::encode_bundle(&self.entries));
        out.push(u8::try_from(self.proof.len()).expect("proofs have at most 63 hashes"));
        for hash in &self.proof {
            out.extend_from_slice(&hash.0);
        }
    }
}

fn read_u64(body: &mut dyn Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    body.read_exact(&mut bytes)?;
    Ok(u64::from_be_bytes(bytes))
}

fn read_sized(body: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut len = [0; 2];
    body.read_exact(&mut len)?;
    let mut bytes = vec![0; u16::from_be_bytes(len).into()];
    body.read_exact(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn header(start: u64, end: u64) -> EntriesHeader {
        let origin = "example.com/log".parse().expect("a C2SP origin");
        EntriesHeader { origin, start, end, ticket: b"t".to_vec() }
    }

    #[test]
    fn the_canonical_sequence_is_cut_at_multiples_of_256() {
        let bounds = |start, end| {
            header(start, end).bounds().map(|b| (b.aligned, b.start, b.end)).collect::<Vec<_>>()
        };
        assert_eq!(bounds(0, 0), []);
        assert_eq!(bounds(300, 300), []);
        assert_eq!(bounds(0, 1), [(0, 0, 1)]);
        assert_eq!(bounds(0, 256), [(0, 0, 256)]);
        assert_eq!(bounds(255, 257), [(0, 255, 256), (256, 256, 257)]);
        assert_eq!(bounds(300, 700), [(256, 300, 512), (512, 512, 700)]);
    }

    #[test]
    fn header_bytes_are_pinned() {
        let bytes = header(1, 258).to_bytes();
        let expected = b"\0\x0fexample.com/log\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x01\x02\0\x01t";
        assert_eq!(bytes, expected);
        assert_eq!(EntriesHeader::read(&mut &bytes[..]), Ok(header(1, 258)));
        for cut in 0..bytes.len() {
            assert!(EntriesHeader::read(&mut &bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(EntriesHeader::read(&mut &header(2, 1).to_bytes()[..]).is_err());
        assert!(EntriesHeader::read(&mut &header(2, u64::MAX).to_bytes()[..]).is_err());
    }

    #[test]
    fn a_package_round_trips_and_no_part_of_it_is_one() {
        let package = Package {
            entries: vec![b"a".to_vec(), Vec::new()],
            proof: vec![seawall_base::Sha256([7; 32])],
        };
        let mut bytes = Vec::new();
        package.write(&mut bytes);
        assert_eq!(bytes, [&b"\0\x01a\0\0\x01"[..], &[7; 32]].concat());
        let bounds = Bounds { aligned: 0, start: 4, end: 6 };
        assert_eq!(Package::read(&mut &bytes[..], &bounds).expect("whole"), package);
        for cut in 0..bytes.len() {
            assert!(Package::read(&mut &bytes[..cut], &bounds).is_err(), "cut at {cut}");
        }
        bytes[5] = 64;
        bytes.resize(6 + 64 * 32, 0);
        assert!(Package::read(&mut &bytes[..], &bounds).is_err(), "64 hashes are too many");
    }

    #[test]
    fn answers_round_trip() {
        let info = MirrorInfo { size: 512, next: 300, ticket: vec![1, 2, 3] };
        let line = NoteSignature { name: "m.example".to_owned(), id: 7, signature: vec![1; 72] };
        for (status, answer) in [
            (200, MirrorAnswer::Cosigned(vec![line])),
            (202, MirrorAnswer::Accepted(info.clone())),
            (400, MirrorAnswer::Malformed("why".to_owned())),
            (404, MirrorAnswer::UnknownLog),
            (409, MirrorAnswer::Conflict(MirrorInfo { ticket: Vec::new(), ..info })),
            (422, MirrorAnswer::Refused("why".to_owned())),
        ] {
            assert_eq!(answer.status(), status);
            assert_eq!(MirrorAnswer::parse(status, answer.body().as_bytes()), Some(answer));
        }
        for bad in ["", "1\n2\n", "1\n2\n\n\n", "1\n02\n\n", "1\n2\n!\n", "1\n2\n"] {
            assert_eq!(MirrorAnswer::parse(409, bad.as_bytes()), None, "{bad:?}");
        }
        assert_eq!(MirrorAnswer::parse(500, b""), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, status: u16, start in 0..9_u64, n in 0..9_u64) {
            let _ = EntriesHeader::read(&mut &bytes[..]);
            let _ = Package::read(&mut &bytes[..], &Bounds { aligned: 0, start, end: start + n });
            let _ = MirrorAnswer::parse(status, &bytes);
        }
    }
}
