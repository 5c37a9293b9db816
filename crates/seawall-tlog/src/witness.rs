//! The witness of C2SP tlog-witness: cosigns a log's checkpoint if it grew from the last one.
//!
//! The whole protocol is one function from a request and the checkpoint held to an answer; the
//! rest is keeping what is held. Invariants: a checkpoint is durable before its cosignature
//! leaves; per origin the size never shrinks. A write that fails leaves the old checkpoint or the
//! new one on the disk, and either is right, because no cosignature of the new one has left.
//!
//! What goes wrong is named ([`Finding`]) with both checkpoints as evidence; a third party can
//! check a [`Finding::Fork`] with nothing but the log's key.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use seawall_base::{Disk, Timestamp, write_atomic};
use seawall_sign::SigningKey;

use crate::checkpoint::{CheckpointError, Origin, SignedCheckpoint};
use crate::merkle::{Hash, MAX_PROOF, empty_root, verify_consistency};
use crate::note::{
    Kind, MAX_NOTE, NoteError, NoteSignature, Verifier, decode_base64, encode_base64, parse_decimal,
};
use crate::store::{LogError, damaged, read_small};

/// Largest `add-checkpoint` request in bytes: 63 proof lines and a note.
pub const MAX_ADD_CHECKPOINT: usize = 32 + 45 * MAX_PROOF + MAX_NOTE;

/// The body of an `add-checkpoint` request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddCheckpoint {
    /// The size the sender believes the witness holds.
    pub old: u64,
    /// The consistency proof from there.
    pub proof: Vec<Hash>,
    /// The new checkpoint.
    pub checkpoint: SignedCheckpoint,
}

impl AddCheckpoint {
    /// Parses a request body.
    pub fn parse(body: &[u8]) -> Result<Self, CheckpointError> {
        use CheckpointError::Malformed;
        if body.len() > MAX_ADD_CHECKPOINT {
            return Err(Malformed("the request is too long"));
        }
        let blank = body.windows(2).position(|w| w == b"\n\n").ok_or(Malformed("no empty line"))?;
        let head = str::from_utf8(&body[..blank]).map_err(|_| Malformed("not UTF-8"))?;
        let mut lines = head.split('\n');
        let old = lines
            .next()
            .and_then(|line| line.strip_prefix("old "))
            .and_then(parse_decimal)
            .ok_or(Malformed("no old size"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() == MAX_PROOF {
                return Err(Malformed("more than 63 proof lines"));
            }
            let hash = decode_base64(line, 32).and_then(|bytes| bytes.try_into().ok());
            proof.push(seawall_base::Sha256(hash.ok_or(Malformed("a proof line is no hash"))?));
        }
        Ok(Self { old, proof, checkpoint: SignedCheckpoint::parse(&body[blank + 2..])? })
    }

    /// The request body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut head = format!("old {}\n", self.old);
        for hash in &self.proof {
            writeln!(head, "{}", encode_base64(hash.as_bytes())).expect("a string takes all");
        }
        head.push('\n');
        let mut body = head.into_bytes();
        body.extend_from_slice(&self.checkpoint.to_bytes());
        body
    }
}

/// The answer to `add-checkpoint`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WitnessAnswer {
    /// 200: the checkpoint is held; its cosignatures (none from a mirror without a witness).
    Cosigned(Vec<NoteSignature>),
    /// 400: not a request, or the checkpoint is smaller than the old size.
    Malformed(String),
    /// 403: no valid signature by a trusted key.
    Forbidden(String),
    /// 404: the origin is not known here.
    UnknownLog,
    /// 409: the old size is not this one, which is held.
    Conflict(u64),
    /// 409: another tree of the same size is held.
    Forked(String),
    /// 422: the checkpoint is not proved to be consistent with the one held.
    Inconsistent(String),
}

impl WitnessAnswer {
    /// The HTTP status code.
    pub const fn status(&self) -> u16 {
        match self {
            Self::Cosigned(_) => 200,
            Self::Malformed(_) => 400,
            Self::Forbidden(_) => 403,
            Self::UnknownLog => 404,
            Self::Conflict(_) | Self::Forked(_) => 409,
            Self::Inconsistent(_) => 422,
        }
    }

    /// The `Content-Type`.
    pub const fn content_type(&self) -> &'static str {
        match self {
            Self::Conflict(_) => "text/x.tlog.size",
            _ => "text/plain; charset=utf-8",
        }
    }

    /// The response body.
    pub fn body(&self) -> String {
        match self {
            Self::Cosigned(lines) => lines.iter().map(ToString::to_string).collect(),
            Self::Malformed(why)
            | Self::Forbidden(why)
            | Self::Forked(why)
            | Self::Inconsistent(why) => format!("{why}\n"),
            Self::UnknownLog => "unknown log\n".to_owned(),
            Self::Conflict(size) => format!("{size}\n"),
        }
    }

    /// Parses an answer; `None` for a status or body the protocol does not know.
    pub fn parse(status: u16, body: &[u8]) -> Option<Self> {
        let text = str::from_utf8(body).ok().filter(|text| text.len() <= MAX_NOTE)?;
        let why = || text.chars().filter(|c| !c.is_control()).take(200).collect();
        Some(match status {
            200 if text.is_empty() => Self::Cosigned(Vec::new()),
            200 => Self::Cosigned(NoteSignature::parse_lines(text).ok()?),
            400 => Self::Malformed(why()),
            403 => Self::Forbidden(why()),
            404 => Self::UnknownLog,
            409 if text.starts_with(|c: char| c.is_ascii_digit()) => {
                Self::Conflict(parse_decimal(text.strip_suffix('\n')?)?)
            }
            409 => Self::Forked(why()),
            422 => Self::Inconsistent(why()),
            _ => return None,
        })
    }
}

/// What a validly signed checkpoint says about its log, beside the one held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// Both cannot belong to one history. Proof of misbehaviour by whoever holds the log's key.
    Fork(Box<Evidence>),
    /// The offered one is larger and came without a valid proof: a fork, or a faulty sender.
    Unproven(Box<Evidence>),
    /// The offered one is smaller: the log lost entries, or someone replays.
    Rollback(Box<Evidence>),
    /// The offered one is smaller and a true beginning of what is held: an old checkpoint again.
    Replay(Box<Evidence>),
}

/// Two signed checkpoints of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The one held.
    pub held: SignedCheckpoint,
    /// The one offered.
    pub offered: SignedCheckpoint,
}

/// An answer to send and what to tell the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    /// Goes back to the sender.
    pub answer: WitnessAnswer,
    /// Worth an alarm or a log entry, if any.
    pub finding: Option<Finding>,
}

impl From<WitnessAnswer> for Judgement {
    fn from(answer: WitnessAnswer) -> Self {
        Self { answer, finding: None }
    }
}

/// Who cosigns.
#[derive(Clone, Copy)]
pub struct Cosigner<'k> {
    /// The key's name in signature lines.
    pub name: &'k str,
    /// The key; used for nothing else (C2SP tlog-cosignature).
    pub key: &'k SigningKey,
}

impl Cosigner<'_> {
    /// The key with which others check the cosignatures.
    pub fn verifier(&self) -> Result<Verifier, NoteError> {
        Verifier::new(self.name, Kind::Cosigner, &self.key.public())
    }
}

/// Decides about a request given the keys trusted for its origin and the checkpoint held.
///
/// The accepted checkpoint carries only the signatures of trusted keys.
pub(crate) fn judge(
    request: &AddCheckpoint,
    keys: &[Verifier],
    held: Option<&SignedCheckpoint>,
) -> Result<SignedCheckpoint, Judgement> {
    let offered = &request.checkpoint;
    offered
        .verify(keys)
        .map_err(|why| Judgement::from(WitnessAnswer::Forbidden(why.to_string())))?;
    let (new, old) = (offered.checkpoint(), held.map(SignedCheckpoint::checkpoint));
    let (old_size, old_root) = old.map_or((0, empty_root()), |c| (c.size, c.root));
    let found = |name: fn(Box<Evidence>) -> Finding| {
        let offered = offered.clone();
        held.map(|held| name(Box::new(Evidence { held: held.clone(), offered })))
    };
    let finding = match new.size {
        size if size < old_size => found(Finding::Rollback),
        size if size == old_size && new.root != old_root => found(Finding::Fork),
        _ => None,
    };
    if request.old > new.size {
        let answer = WitnessAnswer::Malformed("the old size is above the checkpoint's".to_owned());
        return Err(Judgement { answer, finding });
    }
    if request.old != old_size {
        return Err(Judgement { answer: WitnessAnswer::Conflict(old_size), finding });
    }
    if request.old == new.size && request.old > 0 && new.root != old_root {
        let why = "another tree of this size was cosigned here: the log forked".to_owned();
        return Err(Judgement { answer: WitnessAnswer::Forked(why), finding });
    }
    // Also refuses an empty tree with another root than the empty one.
    verify_consistency(old_size, &old_root, new.size, &new.root, &request.proof).map_err(
        |why| {
            let answer = WitnessAnswer::Inconsistent(why.to_string());
            Judgement { answer, finding: finding.or_else(|| found(Finding::Unproven)) }
        },
    )?;
    Ok(offered.with_lines_of(keys))
}

/// The latest checkpoint of every log, and the right to cosign the next.
pub struct Witness {
    disk: Arc<dyn Disk>,
    dir: String,
    held: BTreeMap<Origin, SignedCheckpoint>,
}

impl Witness {
    /// Opens the witness's memory in `dir`. A file that is not what it should be is an error: a
    /// witness that forgets a log would cosign its fork.
    pub fn open(disk: Arc<dyn Disk>, dir: &str) -> Result<Self, LogError> {
        disk.create_dir_all(dir).map_err(LogError::io("creating", dir))?;
        let mut held = BTreeMap::new();
        for name in disk.list(dir).map_err(LogError::io("listing", dir))? {
            // What a write that did not finish left behind.
            if name.strip_suffix(".tmp").is_some() {
                continue;
            }
            let path = format!("{dir}/{name}");
            let bytes = read_small(disk.as_ref(), &path, MAX_NOTE)?
                .ok_or_else(|| damaged(&path, 0, "listed but not there"))?;
            let checkpoint = SignedCheckpoint::parse(&bytes)?;
            let origin = checkpoint.checkpoint().origin.clone();
            if origin.hash().to_hex() != name {
                return Err(LogError::OtherLog { path, found: origin.to_string() });
            }
            held.insert(origin, checkpoint);
        }
        disk.sync_dir(dir).map_err(LogError::io("syncing", dir))?;
        Ok(Self { disk, dir: dir.to_owned(), held })
    }

    /// The latest cosigned checkpoint of a log, with the log's and this witness's signatures.
    pub fn checkpoint(&self, origin: &Origin) -> Option<&SignedCheckpoint> {
        self.held.get(origin)
    }

    /// Every log this witness has cosigned.
    pub fn checkpoints(&self) -> impl Iterator<Item = &SignedCheckpoint> {
        self.held.values()
    }

    /// Handles `add-checkpoint`. `trusted` gives the keys of a log, `None` if it is not known;
    /// `now` must not be 0. An error means that nothing was cosigned (answer 500).
    pub fn add_checkpoint(
        &mut self,
        body: &[u8],
        trusted: &dyn Fn(&Origin) -> Option<Vec<Verifier>>,
        cosigner: Cosigner<'_>,
        now: Timestamp,
    ) -> Result<Judgement, LogError> {
        let request = match AddCheckpoint::parse(body) {
            Ok(request) => request,
            Err(why) => return Ok(WitnessAnswer::Malformed(why.to_string()).into()),
        };
        let origin = request.checkpoint.checkpoint().origin.clone();
        let Some(keys) = trusted(&origin) else { return Ok(WitnessAnswer::UnknownLog.into()) };
        let mut accepted = match judge(&request, &keys, self.held.get(&origin)) {
            Ok(accepted) => accepted,
            Err(judgement) => return Ok(judgement),
        };
        let line = accepted.cosign(cosigner.name, cosigner.key, now)?;
        accepted.add(line.clone())?;
        let path = format!("{}/{}", self.dir, origin.hash().to_hex());
        write_atomic(self.disk.as_ref(), &path, &accepted.to_bytes())
            .map_err(LogError::io("writing", &path))?;
        self.held.insert(origin, accepted);
        Ok(WitnessAnswer::Cosigned(vec![line]).into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The example of C2SP tlog-witness, whose keys are not published.
    const SPEC: &str = "old 20852014\n\
        PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n\
        jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n\
        5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n\
        /6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n\
        \n\
        example.com/behind-the-sofa\n\
        20852163\n\
        CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\
        \n\
        \u{2014} example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n\
        \u{2014} example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=\n";

    #[test]
    fn the_example_of_the_specification_round_trips() {
        let request = AddCheckpoint::parse(SPEC.as_bytes()).expect("the vector parses");
        assert_eq!((request.old, request.proof.len()), (20_852_014, 4));
        assert_eq!(request.to_bytes(), SPEC.as_bytes());
    }

    #[test]
    fn malformed_requests_are_refused_by_name() {
        let line = "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n";
        for (case, body) in [
            ("empty", String::new()),
            ("no old", SPEC.replace("old ", "new ")),
            ("leading zero", SPEC.replace("old 2", "old 02")),
            ("short hash", SPEC.replace("PlRN", "")),
            ("64 hashes", SPEC.replace(line, &line.repeat(61))),
            ("no empty line", SPEC.replacen("\n\n", "\n", 1)),
            ("no checkpoint", SPEC.split_once("\n\n").expect("two parts").0.to_owned() + "\n\n"),
        ] {
            assert!(AddCheckpoint::parse(body.as_bytes()).is_err(), "{case} was accepted");
        }
        let most = SPEC.replace(line, &line.repeat(60));
        assert_eq!(AddCheckpoint::parse(most.as_bytes()).expect("63 hashes").proof.len(), 63);
    }

    #[test]
    fn answers_round_trip() {
        let lines = AddCheckpoint::parse(SPEC.as_bytes())
            .map(|request| request.checkpoint.note().signatures().to_vec())
            .expect("the vector parses");
        for (status, answer) in [
            (200, WitnessAnswer::Cosigned(lines)),
            (200, WitnessAnswer::Cosigned(Vec::new())),
            (400, WitnessAnswer::Malformed("why".to_owned())),
            (403, WitnessAnswer::Forbidden("why".to_owned())),
            (404, WitnessAnswer::UnknownLog),
            (409, WitnessAnswer::Conflict(17)),
            (409, WitnessAnswer::Forked("why".to_owned())),
            (422, WitnessAnswer::Inconsistent("why".to_owned())),
        ] {
            assert_eq!(answer.status(), status);
            assert_eq!(WitnessAnswer::parse(status, answer.body().as_bytes()), Some(answer));
        }
        assert_eq!(WitnessAnswer::Conflict(17).content_type(), "text/x.tlog.size");
        assert_eq!(WitnessAnswer::parse(409, b"017\n"), None);
        assert_eq!(WitnessAnswer::parse(200, b"nonsense"), None);
        assert_eq!(WitnessAnswer::parse(500, b""), None);
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic(bytes: Vec<u8>, status: u16, cut in 0..SPEC.len()) {
            let _ = AddCheckpoint::parse(&bytes);
            let _ = AddCheckpoint::parse(&SPEC.as_bytes()[..cut]);
            let _ = WitnessAnswer::parse(status, &bytes);
        }
    }
}
