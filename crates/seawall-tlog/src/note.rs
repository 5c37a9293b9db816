//! C2SP signed notes: a text, and lines that say which named key signed it.
//!
//! Two signature types are spoken: plain Ed25519 (0x01, a log's own) and timestamped Ed25519
//! cosignatures (0x04, C2SP tlog-cosignature, a witness's or mirror's). Lines of other keys are
//! carried along and ignored; a line that names a key we know and does not verify condemns the
//! whole note. The text of an unverified note means nothing: only [`Note::verify`] says
//! otherwise.

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use seawall_base::{Sha256, Timestamp};
use seawall_sign::{SigningKey, VerifyingKey};

/// Largest note in bytes: room for 16 post-quantum signatures of others.
pub const MAX_NOTE: usize = 256 << 10;

/// Most signature lines of a note. The specification asks for at least 16.
pub const MAX_SIGNATURES: usize = 64;

/// Longest key name in bytes.
pub const MAX_NAME: usize = 255;

/// Largest signature in bytes (ML-DSA-44 with a timestamp has 2428).
const MAX_SIGNATURE: usize = 8 << 10;

/// Why a note was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// The bytes are not a signed note. Refuse its sender.
    #[error("malformed note: {0}")]
    Malformed(&'static str),
    /// A key name that no note may carry.
    #[error(
        "{0:?} cannot be a key name: empty, too long, or with spaces, plus or control characters"
    )]
    Name(String),
    /// A known key's line does not verify: the note is forged or damaged.
    #[error("the signature of {name} does not verify")]
    BadSignature {
        /// The key's name.
        name: String,
    },
    /// No known key signed the note.
    #[error("no signature by a known key")]
    NoKnownSignature,
}

/// What a signature line's key does: the signature type byte of the specification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Signs the text: type 0x01.
    Signer,
    /// Cosigns a checkpoint's text at a time: type 0x04.
    Cosigner,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Self::Signer => 0x01,
            Self::Cosigner => 0x04,
        }
    }

    const fn signature_len(self) -> usize {
        match self {
            Self::Signer => 64,
            Self::Cosigner => 8 + 64,
        }
    }
}

/// Whether `name` may be a key name.
fn check_name(name: &str) -> Result<(), NoteError> {
    let bad = |c: char| c == '+' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > MAX_NAME || name.contains(bad) {
        return Err(NoteError::Name(name.chars().take(80).collect()));
    }
    Ok(())
}

/// Decodes canonical, padded base64; the length is checked before anything is allocated.
pub(crate) fn decode_base64(text: &str, max: usize) -> Option<Vec<u8>> {
    if text.len() > max.div_ceil(3) * 4 {
        return None;
    }
    BASE64_STANDARD.decode(text).ok().filter(|bytes| bytes.len() <= max)
}

pub(crate) fn encode_base64(bytes: &[u8]) -> String {
    BASE64_STANDARD.encode(bytes)
}

/// Parses a decimal number that has one spelling: digits only, no leading zeroes.
pub(crate) fn parse_decimal(text: &str) -> Option<u64> {
    let canonical = text == "0" || !text.starts_with('0');
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if canonical && digits { text.parse().ok() } else { None }
}

/// A public key with the name and kind under which it signs notes: a *vkey*.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    name: String,
    kind: Kind,
    id: u32,
    key: VerifyingKey,
}

impl Verifier {
    /// A key under a name.
    pub fn new(name: &str, kind: Kind, key: &VerifyingKey) -> Result<Self, NoteError> {
        check_name(name)?;
        let mut identity = name.as_bytes().to_vec();
        identity.extend_from_slice(&[b'\n', kind.byte()]);
        identity.extend_from_slice(key.as_bytes());
        let [a, b, c, d, ..] = Sha256::of(&identity).0;
        Ok(Self { name: name.to_owned(), kind, id: u32::from_be_bytes([a, b, c, d]), key: *key })
    }

    /// The name in signature lines.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the key does.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The key id in signature lines.
    pub const fn id(&self) -> u32 {
        self.id
    }

    /// The public key.
    pub const fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// Whether this key claims to have made the line.
    pub fn claims(&self, line: &NoteSignature) -> bool {
        line.id == self.id && line.name == self.name
    }

    /// Checks a line this key claims; gives the time of a cosignature.
    pub fn verify(&self, text: &str, line: &NoteSignature) -> Result<Option<Timestamp>, NoteError> {
        let bad = || NoteError::BadSignature { name: self.name.clone() };
        if !self.claims(line) || line.signature.len() != self.kind.signature_len() {
            return Err(bad());
        }
        let (head, signature) = line.signature.split_at(line.signature.len() - 64);
        let signature = signature.try_into().expect("split 64 bytes from the end");
        let (message, time) = match self.kind {
            Kind::Signer => (text.as_bytes().to_vec(), None),
            Kind::Cosigner => {
                let seconds = u64::from_be_bytes(head.try_into().expect("72 - 64 bytes"));
                if seconds == 0 || seconds > i64::MAX as u64 {
                    return Err(bad());
                }
                let time = Timestamp(seconds);
                (cosigned_message(text, time), Some(time))
            }
        };
        self.key.verify(&message, signature).map_err(|_| bad())?;
        Ok(time)
    }
}

impl fmt::Display for Verifier {
    /// The vkey encoding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut material = vec![self.kind.byte()];
        material.extend_from_slice(self.key.as_bytes());
        write!(f, "{}+{:08x}+{}", self.name, self.id, encode_base64(&material))
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Verifier {
    type Err = NoteError;

    fn from_str(vkey: &str) -> Result<Self, NoteError> {
        const BAD: NoteError = NoteError::Malformed("not a verifier key");
        let mut parts = vkey.splitn(3, '+');
        let (Some(name), Some(id), Some(material)) = (parts.next(), parts.next(), parts.next())
        else {
            return Err(BAD);
        };
        let material = decode_base64(material, 33).ok_or(BAD)?;
        let (kind, key) = material.split_first().ok_or(BAD)?;
        let kind = match kind {
            0x01 => Kind::Signer,
            0x04 => Kind::Cosigner,
            _ => return Err(NoteError::Malformed("unknown signature type in a verifier key")),
        };
        let key = VerifyingKey::from_bytes(key.try_into().map_err(|_| BAD)?).map_err(|_| BAD)?;
        let verifier = Self::new(name, kind, &key)?;
        if format!("{:08x}", verifier.id) == id { Ok(verifier) } else { Err(BAD) }
    }
}

/// What a cosigner signs (C2SP tlog-cosignature, Ed25519).
fn cosigned_message(text: &str, time: Timestamp) -> Vec<u8> {
    format!("cosignature/v1\ntime {}\n{text}", time.0).into_bytes()
}

/// One signature line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteSignature {
    /// The key's name.
    pub name: String,
    /// The key's id.
    pub id: u32,
    /// The signature as its type defines it.
    pub signature: Vec<u8>,
}

impl NoteSignature {
    /// Signs a note's text (type 0x01).
    pub fn sign(name: &str, key: &SigningKey, text: &str) -> Result<Self, NoteError> {
        let verifier = Verifier::new(name, Kind::Signer, &key.public())?;
        let signature = key.sign(text.as_bytes()).to_vec();
        Ok(Self { name: verifier.name, id: verifier.id, signature })
    }

    /// Cosigns a checkpoint's text at a time (type 0x04). The time must be neither 0 nor above
    /// 2^63 - 1.
    pub fn cosign(
        name: &str,
        key: &SigningKey,
        text: &str,
        time: Timestamp,
    ) -> Result<Self, NoteError> {
        if time.0 == 0 || time.0 > i64::MAX as u64 {
            return Err(NoteError::Malformed("a cosignature needs a time between 1 and 2^63 - 1"));
        }
        let verifier = Verifier::new(name, Kind::Cosigner, &key.public())?;
        let mut signature = time.0.to_be_bytes().to_vec();
        signature.extend_from_slice(&key.sign(&cosigned_message(text, time)));
        Ok(Self { name: verifier.name, id: verifier.id, signature })
    }

    /// Whether both claim to be of one key.
    fn is_of_same_key(&self, other: &Self) -> bool {
        (self.id, &self.name) == (other.id, &other.name)
    }

    fn parse(line: &str) -> Result<Self, NoteError> {
        const BAD: NoteError = NoteError::Malformed("not a signature line");
        let (name, blob) =
            line.strip_prefix("\u{2014} ").and_then(|rest| rest.split_once(' ')).ok_or(BAD)?;
        check_name(name)?;
        let blob = decode_base64(blob, 4 + MAX_SIGNATURE).ok_or(BAD)?;
        let (id, signature) = blob.split_first_chunk::<4>().ok_or(BAD)?;
        if signature.is_empty() {
            return Err(BAD);
        }
        let (name, id) = (name.to_owned(), u32::from_be_bytes(*id));
        Ok(Self { name, id, signature: signature.to_vec() })
    }

    /// Parses signature lines, each ending in a newline; at least one.
    pub fn parse_lines(lines: &str) -> Result<Vec<Self>, NoteError> {
        let body = lines
            .strip_suffix('\n')
            .ok_or(NoteError::Malformed("the last signature line has no newline"))?;
        let mut out = Vec::new();
        for line in body.split('\n') {
            if out.len() == MAX_SIGNATURES {
                return Err(NoteError::Malformed("too many signatures"));
            }
            out.push(Self::parse(line)?);
        }
        Ok(out)
    }
}

impl fmt::Display for NoteSignature {
    /// The signature line with its newline.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut blob = self.id.to_be_bytes().to_vec();
        blob.extend_from_slice(&self.signature);
        writeln!(f, "\u{2014} {} {}", self.name, encode_base64(&blob))
    }
}

/// A known key's valid signature on a note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<'k> {
    /// Whose.
    pub key: &'k Verifier,
    /// When, for a cosigner: the latest of its lines.
    pub time: Option<Timestamp>,
}

/// A text and its signature lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    text: String,
    signatures: Vec<NoteSignature>,
}

impl Note {
    /// A note with signatures to be added. The text ends in a newline and holds no other control
    /// character.
    pub fn new(text: String) -> Result<Self, NoteError> {
        if text.len() > MAX_NOTE {
            return Err(NoteError::Malformed("longer than 256 KiB"));
        }
        if !text.ends_with('\n') {
            return Err(NoteError::Malformed("the text does not end in a newline"));
        }
        if text.bytes().any(|b| b < 0x20 && b != b'\n') {
            return Err(NoteError::Malformed("control characters"));
        }
        Ok(Self { text, signatures: Vec::new() })
    }

    /// Parses a signed note. Says nothing about its signatures' validity.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoteError> {
        if bytes.len() > MAX_NOTE {
            return Err(NoteError::Malformed("longer than 256 KiB"));
        }
        let whole = str::from_utf8(bytes).map_err(|_| NoteError::Malformed("not UTF-8"))?;
        let blank = whole.rfind("\n\n").ok_or(NoteError::Malformed("no blank line"))?;
        let mut note = Self::new(whole[..=blank].to_owned())?;
        note.signatures = NoteSignature::parse_lines(&whole[blank + 2..])?;
        Ok(note)
    }

    /// What is signed, with its final newline.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signature lines, known and unknown.
    pub fn signatures(&self) -> &[NoteSignature] {
        &self.signatures
    }

    /// Adds a line; one of the same key replaces the earlier.
    pub fn add(&mut self, line: NoteSignature) -> Result<(), NoteError> {
        self.signatures.retain(|s| !s.is_of_same_key(&line));
        if self.signatures.len() == MAX_SIGNATURES {
            return Err(NoteError::Malformed("too many signatures"));
        }
        self.signatures.push(line);
        Ok(())
    }

    /// The lines that verify under one of `keys`, of each key the first. Whoever carries a note can
    /// add lines to it: this is what those keys have said, whatever else stands there.
    pub fn good_lines(&self, keys: &[Verifier]) -> Vec<NoteSignature> {
        let mut good: Vec<NoteSignature> = Vec::new();
        for line in &self.signatures {
            let has = good.iter().any(|it| it.is_of_same_key(line));
            let mut claimed = keys.iter().filter(|key| key.claims(line));
            if !has && claimed.any(|key| key.verify(&self.text, line).is_ok()) {
                good.push(line.clone());
            }
        }
        good
    }

    /// Adds lines of keys that have none here, as many as there is room for. Nothing that stands
    /// here is replaced.
    pub(crate) fn merge(&mut self, lines: &[NoteSignature]) {
        for line in lines {
            let has = self.signatures.iter().any(|it| it.is_of_same_key(line));
            if !has && self.signatures.len() < MAX_SIGNATURES {
                self.signatures.push(line.clone());
            }
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(&NoteSignature) -> bool) {
        self.signatures.retain(keep);
    }

    /// Which of `keys` signed, each once and in the order of `keys`. Refuses the note if one of
    /// their lines does not verify, or if none of them signed.
    pub fn verify<'k>(&self, keys: &'k [Verifier]) -> Result<Vec<Verified<'k>>, NoteError> {
        let mut verified = Vec::new();
        for key in keys {
            let mut latest = None;
            for line in self.signatures.iter().filter(|line| key.claims(line)) {
                latest = latest.max(Some(key.verify(&self.text, line)?));
            }
            verified.extend(latest.map(|time| Verified { key, time }));
        }
        if verified.is_empty() { Err(NoteError::NoKnownSignature) } else { Ok(verified) }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.text)?;
        self.signatures.iter().try_for_each(|line| line.fmt(f))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SPEC_VKEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const SPEC_NOTE: &str = "This is an example message.\n\n\u{2014} example.com/foo \
        Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    /// The example of the documentation of Go's golang.org/x/mod/sumdb/note.
    const GO_VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_NOTE: &str = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\u{2014} PeterNeumann \
        x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

    fn verifier(vkey: &str) -> Verifier {
        vkey.parse().expect("the vector is a vkey")
    }

    fn note(text: &str) -> Note {
        Note::parse(text.as_bytes()).expect("the vector is a note")
    }

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&[seed; 32])
    }

    #[test]
    fn vectors_of_others_verify_and_round_trip() {
        for (vkey, text) in [(SPEC_VKEY, SPEC_NOTE), (GO_VKEY, GO_NOTE)] {
            let keys = [verifier(vkey)];
            assert_eq!(keys[0].to_string(), vkey);
            let parsed = note(text);
            assert_eq!(parsed.to_string(), text);
            let verified = parsed.verify(&keys).expect("signed by the key");
            assert_eq!(verified, [Verified { key: &keys[0], time: None }]);
        }
        let other = [verifier(SPEC_VKEY)];
        assert_eq!(note(GO_NOTE).verify(&other), Err(NoteError::NoKnownSignature));
    }

    #[test]
    fn every_single_bit_of_a_signed_note_matters() {
        let keys = [verifier(SPEC_VKEY)];
        for bit in 0..SPEC_NOTE.len() * 8 {
            let mut bytes = SPEC_NOTE.as_bytes().to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let accepted = Note::parse(&bytes).is_ok_and(|note| note.verify(&keys).is_ok());
            assert!(!accepted, "bit {bit} can be flipped");
        }
    }

    #[test]
    fn a_cosignature_carries_its_time() {
        let text = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        let mut signed = Note::new(text.to_owned()).expect("a text");
        signed
            .add(NoteSignature::sign("example.com/log", &key(1), text).expect("name"))
            .expect("room");
        let at = |t| NoteSignature::cosign("w.example/1", &key(2), text, Timestamp(t));
        signed.add(at(1_679_315_147).expect("a good time")).expect("room");
        assert!(at(0).is_err() && at(1 << 63).is_err());

        let witness =
            Verifier::new("w.example/1", Kind::Cosigner, &key(2).public()).expect("a good name");
        let same_key_as_signer =
            Verifier::new("w.example/1", Kind::Signer, &key(2).public()).expect("a good name");
        assert_ne!(witness.id(), same_key_as_signer.id(), "kinds have ids of their own");
        let keys = [same_key_as_signer, witness];
        let verified = signed.verify(&keys).expect("cosigned");
        assert_eq!(verified, [Verified { key: &keys[1], time: Some(Timestamp(1_679_315_147)) }]);

        let mut later = signed.signatures()[1].clone();
        later.signature[7] += 1;
        signed.add(later).expect("replaces");
        assert_eq!(signed.signatures().len(), 2);
        assert_eq!(
            signed.verify(&keys),
            Err(NoteError::BadSignature { name: "w.example/1".to_owned() }),
            "a cosignature holds for one time only"
        );
    }

    #[test]
    fn added_lines_neither_hide_nor_replace_good_ones() {
        let text = "example.com/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";
        let keys = [
            Verifier::new("log", Kind::Signer, &key(1).public()).expect("a good name"),
            Verifier::new("w", Kind::Cosigner, &key(2).public()).expect("a good name"),
        ];
        let by_log = NoteSignature::sign("log", &key(1), text).expect("a good name");
        let by_w = NoteSignature::cosign("w", &key(2), text, Timestamp(7)).expect("a good time");
        let bad = |line: &NoteSignature| {
            let mut line = line.clone();
            *line.signature.last_mut().expect("bytes") ^= 1;
            line
        };
        let mut note = Note::new(text.to_owned()).expect("a text");
        note.signatures = vec![bad(&by_log), by_log.clone(), bad(&by_w), by_w.clone()];
        note.signatures.push(NoteSignature::sign("x", &key(3), text).expect("a good name"));
        assert!(note.verify(&keys).is_err(), "as the specification has it");
        assert_eq!(note.good_lines(&keys), [by_log.clone(), by_w.clone()]);

        let mut own = Note::new(text.to_owned()).expect("a text");
        own.add(by_log.clone()).expect("room");
        own.merge(&[bad(&by_log), by_w.clone()]);
        assert_eq!(own.signatures(), [by_log, by_w]);
        let many = (0..MAX_SIGNATURES)
            .map(|n| NoteSignature::sign(&format!("k{n}"), &key(3), text).expect("a good name"));
        own.merge(&many.collect::<Vec<_>>());
        assert_eq!(own.signatures().len(), MAX_SIGNATURES, "what has no room is left out");
    }

    #[test]
    fn a_cosignature_of_no_time_is_refused_even_if_signed() {
        let text = "hello\n";
        let witness = Verifier::new("w", Kind::Cosigner, &key(2).public()).expect("a good name");
        for (seconds, good) in [(0, false), (1, true), (i64::MAX as u64, true), (1 << 63, false)] {
            let message = cosigned_message(text, Timestamp(seconds));
            let mut signature = seconds.to_be_bytes().to_vec();
            signature.extend_from_slice(&key(2).sign(&message));
            let line = NoteSignature { name: "w".to_owned(), id: witness.id(), signature };
            assert_eq!(witness.verify(text, &line).is_ok(), good, "{seconds}");
        }
    }

    #[test]
    fn a_bad_line_of_a_known_key_condemns_a_note_that_another_signed() {
        let text = "hello\n";
        let mut signed = Note::new(text.to_owned()).expect("a text");
        let line = |name, k: &SigningKey, text| NoteSignature::sign(name, k, text).expect("name");
        signed.add(line("a", &key(1), text)).expect("room");
        signed.add(line("b", &key(2), "other\n")).expect("room");
        let known =
            |name, k: u8| Verifier::new(name, Kind::Signer, &key(k).public()).expect("a good name");
        assert!(signed.verify(&[known("a", 1)]).is_ok(), "b is unknown and ignored");
        let both = [known("a", 1), known("b", 2)];
        assert_eq!(signed.verify(&both), Err(NoteError::BadSignature { name: "b".to_owned() }));
    }

    #[test]
    fn malformed_notes_are_refused_by_name() {
        let line = SPEC_NOTE.split_once("\n\n").expect("a blank line").1;
        let cases = [
            ("no blank line", format!("text\n{line}")),
            ("no newline at the end", SPEC_NOTE.trim_end().to_owned()),
            ("no signatures", "text\n\n".to_owned()),
            ("a blank line after the signatures", format!("{SPEC_NOTE}\n")),
            ("a carriage return", format!("text\r\n\n{line}")),
            ("a tab", format!("te\txt\n\n{line}")),
            ("a hyphen for the dash", SPEC_NOTE.replace('\u{2014}', "-")),
            ("no name", SPEC_NOTE.replace("example.com/foo ", " ")),
            ("a plus in the name", SPEC_NOTE.replace("foo ", "f+o ")),
            ("a no-break space in the name", SPEC_NOTE.replace("foo ", "f\u{a0}o ")),
            ("no padding", SPEC_NOTE.replace('=', "")),
            ("four bytes only", "text\n\n\u{2014} a AAAAAA==\n".to_owned()),
            ("loose bits in base64", "text\n\n\u{2014} a AAAAAAB=\n".to_owned()),
            ("65 signatures", format!("text\n\n{}", line.repeat(65))),
        ];
        for (case, text) in cases {
            assert!(Note::parse(text.as_bytes()).is_err(), "{case} was accepted");
        }
        let many = format!("text\n\n{}", line.repeat(64));
        assert!(Note::parse(many.as_bytes()).is_ok());
        assert!(Note::parse(&vec![b'\n'; MAX_NOTE + 1]).is_err());
        assert!(Note::parse(b"\xff\n\n").is_err());
        assert!(Note::new("no newline".to_owned()).is_err());
        assert!(Note::new("\n".repeat(MAX_NOTE + 1)).is_err());
    }

    #[test]
    fn the_text_may_hold_blank_lines() {
        let line = SPEC_NOTE.split_once("\n\n").expect("a blank line").1;
        assert_eq!(note(&format!("a\n\nb\n\n{line}")).text(), "a\n\nb\n");
    }

    #[test]
    fn bad_verifier_keys_are_refused() {
        let cases = [
            "",
            "example.com/foo",
            "example.com/foo+530d903a",
            "example.com/foo+530d903b+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530D903A+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/bar+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+BukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
            "example.com/foo+530d903a+Aekyeg==",
            "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
        ];
        for vkey in cases {
            assert!(vkey.parse::<Verifier>().is_err(), "{vkey:?} was accepted");
        }
    }

    #[test]
    fn numbers_have_one_spelling() {
        assert_eq!(parse_decimal("0"), Some(0));
        assert_eq!(parse_decimal("18446744073709551615"), Some(u64::MAX));
        for bad in ["", "00", "01", "+1", "-1", "1 ", "18446744073709551616", "١"] {
            assert_eq!(parse_decimal(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn random_bytes_never_panic_and_what_parses_is_canonical(bytes: Vec<u8>, text in "[a \n+=\u{2014}]{0,40}") {
            let joined = format!("{text}\n\n\u{2014} a AAAAAAA=\n");
            for input in [&bytes[..], text.as_bytes(), joined.as_bytes()] {
                if let Ok(note) = Note::parse(input) {
                    prop_assert_eq!(note.to_string().into_bytes(), input);
                }
            }
            let _ = text.parse::<Verifier>();
        }
    }
}
