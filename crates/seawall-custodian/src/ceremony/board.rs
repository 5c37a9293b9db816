//! Everything that lies in a ceremony's folder, checked and compared.
//!
//! Each file is opened by itself (`seawall-record`), then held against the others: a speaker that
//! said two different things is named, whichever files they stand in, for every statement carries
//! the decisive ones its author saw. Files that are not of this ceremony are refused by name
//! rather than passed over; somebody put them there.

use std::collections::BTreeMap;
use std::fmt;

use seawall_base::Sha256;
use seawall_record::{
    Base64, Ceremony, CeremonyMessage, CeremonyStep, MAX_CEREMONY_FILE, MessageFile, RecordError,
    open_accept, open_message,
};
use seawall_sign::{Envelope, Predicate as _, predicate_type};

use super::parts;
use crate::home::CustodyError;

/// A statement of one participant, with what it sealed.
#[derive(Debug, Clone)]
pub(super) struct Said {
    pub(super) message: CeremonyMessage,
    envelope: Envelope,
    sealed: Vec<Base64>,
    file: String,
}

impl Said {
    /// What is sealed to a participant.
    pub(super) fn part_for(&self, index: u16) -> Option<&Base64> {
        let at = self.message.sealed.iter().position(|s| s.to == index)?;
        self.sealed.get(at)
    }
}

/// A decisive statement, and the file in which it was first seen.
#[derive(Debug, Clone)]
struct Seen {
    envelope: Envelope,
    file: String,
}

/// What has been said in a ceremony so far.
#[derive(Debug, Clone)]
pub struct Board<'a> {
    ceremony: &'a Ceremony,
    said: BTreeMap<(CeremonyStep, u16), Said>,
    accepted: BTreeMap<(CeremonyStep, u16), Seen>,
    decisive: BTreeMap<u16, Seen>,
}

/// For whom a ceremony waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// The step that is missing.
    pub step: CeremonyStep,
    /// Who has not taken it, by name.
    pub names: Vec<String>,
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "waiting for {} ({})", self.names.join(", "), self.step.word())
    }
}

impl<'a> Board<'a> {
    /// An empty board.
    pub const fn new(ceremony: &'a Ceremony) -> Self {
        Self {
            ceremony,
            said: BTreeMap::new(),
            accepted: BTreeMap::new(),
            decisive: BTreeMap::new(),
        }
    }

    /// Reads the files of a folder: names and contents, without the opening and the group file.
    pub fn read(ceremony: &'a Ceremony, files: &[(String, Vec<u8>)]) -> Result<Self, CustodyError> {
        let mut board = Self::new(ceremony);
        for (name, bytes) in files {
            let in_file = |source| CustodyError::File { file: name.clone(), source };
            if bytes.len() > MAX_CEREMONY_FILE {
                return Err(CustodyError::refused(format!("{name} is too large for a statement")));
            }
            let file = MessageFile::parse(bytes).map_err(in_file)?;
            board.add(name, &file)?;
        }
        Ok(board)
    }

    /// Adds one file.
    pub(super) fn add(&mut self, name: &str, file: &MessageFile) -> Result<(), CustodyError> {
        let in_file = |source| CustodyError::File { file: name.to_owned(), source };
        let kind = predicate_type(&file.message)?;
        if kind == seawall_record::CeremonyResult::TYPE {
            let (result, step, index) =
                open_accept(self.ceremony, &file.message).map_err(in_file)?;
            self.add_seen(name, &result.transcript, &file.seen)?;
            let seen = Seen { envelope: file.message.clone(), file: name.to_owned() };
            let before = self.accepted.insert((step, index), seen);
            return self.compare(step, index, before.as_ref(), name, &file.message);
        }
        let message = open_message(self.ceremony, &file.message).map_err(in_file)?;
        let digests: Vec<Sha256> = file.sealed.iter().map(parts::digest).collect();
        if !message.sealed.iter().map(|s| s.sha256).eq(digests) {
            return Err(CustodyError::refused(format!(
                "{name}: what is sealed in it is not what its author signed; ask for it again"
            )));
        }
        self.add_seen(name, &message.seen, &file.seen)?;
        let (step, from) = (message.step, message.from);
        if step == self.ceremony.opening.decisive() {
            self.add_decisive(name, from, &file.message)?;
        }
        let said = Said {
            message,
            envelope: file.message.clone(),
            sealed: file.sealed.clone(),
            file: name.to_owned(),
        };
        let before = self.said.insert((step, from), said);
        let before = before.map(|b| Seen { envelope: b.envelope, file: b.file });
        self.compare(step, from, before.as_ref(), name, &file.message)
    }

    /// The decisive statements that an author says it saw: all of them, in order.
    fn add_seen(
        &mut self,
        name: &str,
        claimed: &[Sha256],
        seen: &[Envelope],
    ) -> Result<(), CustodyError> {
        if !seen.iter().map(Envelope::digest).eq(claimed.iter().copied()) {
            return Err(CustodyError::refused(format!(
                "{name}: the statements beside it are not the ones its author says it saw"
            )));
        }
        if seen.is_empty() {
            return Ok(());
        }
        let step = self.ceremony.opening.decisive();
        let speakers = self.ceremony.opening.speakers(step);
        for (envelope, speaker) in seen.iter().zip(speakers) {
            let in_file =
                |source: RecordError| CustodyError::File { file: name.to_owned(), source };
            let message = open_message(self.ceremony, envelope).map_err(in_file)?;
            if (message.step, message.from) != (step, speaker) {
                return Err(CustodyError::refused(format!(
                    "{name}: the statements beside it are not in the order of their speakers"
                )));
            }
            self.add_decisive(name, speaker, envelope)?;
        }
        Ok(())
    }

    fn add_decisive(
        &mut self,
        name: &str,
        from: u16,
        envelope: &Envelope,
    ) -> Result<(), CustodyError> {
        let step = self.ceremony.opening.decisive();
        let before = self.decisive.get(&from).cloned();
        self.compare(step, from, before.as_ref(), name, envelope)?;
        if before.is_none() {
            let seen = Seen { envelope: envelope.clone(), file: name.to_owned() };
            self.decisive.insert(from, seen);
        }
        Ok(())
    }

    /// One speaker says one thing in a step.
    fn compare(
        &self,
        step: CeremonyStep,
        from: u16,
        before: Option<&Seen>,
        name: &str,
        now: &Envelope,
    ) -> Result<(), CustodyError> {
        match before {
            Some(before) if before.envelope.digest() != now.digest() => {
                let speaker = self.ceremony.opening.speaker(step, from);
                Err(CustodyError::Culprit {
                    name: speaker.map_or_else(String::new, |(name, _)| name.to_owned()),
                    index: from,
                    why: format!(
                        "said two different things ({}), one in {} and another in {name}, and signed both; keep the files",
                        step.word(),
                        before.file
                    ),
                })
            }
            _ => Ok(()),
        }
    }

    /// This home's own statement must be the one in the folder, if there is one.
    pub(super) fn expect_own(
        &self,
        step: CeremonyStep,
        index: u16,
        own: &MessageFile,
    ) -> Result<(), CustodyError> {
        let accepted = self.accepted.get(&(step, index)).map(|s| &s.envelope);
        match accepted.or_else(|| self.said.get(&(step, index)).map(|s| &s.envelope)) {
            Some(there) if there.digest() != own.message.digest() => {
                Err(CustodyError::refused(format!(
                    "the folder holds another statement ({}) in this custodian's name than this home made; is there a second copy of the home?",
                    step.word()
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether somebody has taken a step.
    pub fn has(&self, step: CeremonyStep, index: u16) -> bool {
        self.accepted.contains_key(&(step, index)) || self.said.contains_key(&(step, index))
    }

    /// The first of these steps that somebody still has to take.
    pub fn waiting_for(&self, steps: &[CeremonyStep]) -> Option<Waiting> {
        let opening = &self.ceremony.opening;
        steps.iter().find_map(|step| {
            let missing = opening.speakers(*step).into_iter().filter(|i| !self.has(*step, *i));
            let names: Vec<_> = missing
                .filter_map(|i| opening.speaker(*step, i).map(|(name, _)| name.to_owned()))
                .collect();
            (!names.is_empty()).then_some(Waiting { step: *step, names })
        })
    }

    /// What was said in a step, by speaker.
    pub(super) fn of_step(&self, step: CeremonyStep) -> impl Iterator<Item = (u16, &Said)> {
        self.said.iter().filter(move |((s, _), _)| *s == step).map(|((_, from), it)| (*from, it))
    }

    /// The decisive statements, in the order of their speakers; all of them.
    pub(super) fn decisive(&self) -> Result<Vec<Envelope>, CustodyError> {
        let step = self.ceremony.opening.decisive();
        if let Some(waiting) = self.waiting_for(&[step]) {
            return Err(CustodyError::refused(waiting.to_string()));
        }
        Ok(self.decisive.values().map(|s| s.envelope.clone()).collect())
    }

    /// The signatures under the result: in which step, by whom.
    pub(super) fn accepted(&self) -> impl Iterator<Item = (CeremonyStep, u16, &Envelope)> {
        self.accepted.iter().map(|((step, index), seen)| (*step, *index, &seen.envelope))
    }
}
