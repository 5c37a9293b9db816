//! What a ceremony leaves behind: the group's record, signed by everyone who took part.
//!
//! The file carries the opening and the decisive statements beside the result, so that whoever
//! puts the group into a fleet sees who decided it, under which threshold, and from what it was
//! computed. Signing the fleet's policy is still what makes it the fleet's.

use seawall_base::Sha256;
use seawall_sign::{Envelope, Statement};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{envelope, parse, raw};
use crate::ceremony::{Ceremony, CeremonyResult, open_message};
use crate::{
    CeremonyMessage, CeremonyOpening, CustodianCard, EscrowGroupRecord, GroupChange, RecordError,
};

const WHAT: &str = "group file";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileText {
    format: String,
    opening: Box<RawValue>,
    cards: Vec<CustodianCard>,
    dealings: Vec<Box<RawValue>>,
    result: Box<RawValue>,
}

/// A ceremony's result: checked to be signed by all who took part in it.
///
/// The group's points are not looked at here; `Group::of_record` checks them wherever a record is
/// used.
#[derive(Debug, Clone)]
pub struct GroupFile {
    ceremony: Ceremony,
    dealings: Vec<(Envelope, CeremonyMessage)>,
    envelope: Envelope,
    result: CeremonyResult,
}

impl GroupFile {
    /// The file's format.
    pub const FORMAT: &str = "seawall-group/1";

    /// Puts a result together with what it was made from.
    pub fn new(
        ceremony: Ceremony,
        dealings: Vec<Envelope>,
        result: Envelope,
    ) -> Result<Self, RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        let signers = ceremony.opening.signers();
        let opened = Statement::<CeremonyResult>::open(&result, &signers, signers.len())
            .map_err(RecordError::statement(WHAT))?
            .predicate;
        if opened.ceremony != ceremony.id() {
            return refuse("the result belongs to another ceremony");
        }
        opened.record.check_form()?;
        if opened.previous != ceremony.opening.starts_from() {
            return refuse("the result does not start from the group the ceremony was opened for");
        }
        check_record(&ceremony.opening, &opened.record)?;
        let digests: Vec<Sha256> = dealings.iter().map(Envelope::digest).collect();
        if digests != opened.transcript {
            return refuse("the statements in it are not the ones the result was made from");
        }
        let step = ceremony.opening.decisive();
        let speakers = ceremony.opening.speakers(step);
        let mut read = Vec::new();
        for (it, from) in dealings.into_iter().zip(&speakers) {
            let message = open_message(&ceremony, &it)?;
            if (message.step, message.from) != (step, *from) {
                return refuse("its statements are not in the order of their speakers");
            }
            read.push((it, message));
        }
        if read.len() != speakers.len() {
            return refuse("a statement is missing");
        }
        Ok(Self { ceremony, dealings: read, envelope: result, result: opened })
    }

    /// Parses and checks a file.
    pub fn open(json: &[u8]) -> Result<Self, RecordError> {
        let file: FileText = parse(WHAT, json, Self::FORMAT, |f: &FileText| &f.format)?;
        let most = crate::ceremony::MAX_PARTICIPANTS;
        if file.cards.len() > most || file.dealings.len() > most {
            return Err(RecordError::refused(WHAT, "holds more than 16 participants"));
        }
        let ceremony = Ceremony::new(envelope(WHAT, &file.opening)?, file.cards)?;
        let dealings = file.dealings.iter().map(|it| envelope(WHAT, it)).collect::<Result<_, _>>();
        Self::new(ceremony, dealings?, envelope(WHAT, &file.result)?)
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        let file = FileText {
            format: Self::FORMAT.to_owned(),
            opening: raw(self.ceremony.envelope()),
            cards: self.ceremony.cards.clone(),
            dealings: self.dealings.iter().map(|(it, _)| raw(it)).collect(),
            result: raw(&self.envelope),
        };
        let mut json = serde_json::to_vec_pretty(&file).expect("text always serialises");
        json.push(b'\n');
        json
    }

    /// The group, as it goes into a genesis statement or a policy.
    pub const fn record(&self) -> &EscrowGroupRecord {
        &self.result.record
    }

    /// The ceremony it comes from.
    pub const fn ceremony(&self) -> &Ceremony {
        &self.ceremony
    }

    /// The statements it was made from, in the order of their speakers.
    pub fn dealings(&self) -> impl Iterator<Item = &CeremonyMessage> {
        self.dealings.iter().map(|(_, message)| message)
    }

    /// The custodians' word for what this file makes of a group, for the fleet's policy; `None`
    /// for a new group, which was nobody's before, and for a ceremony of an earlier version, whose
    /// result does not say what it started from.
    pub fn change(&self) -> Option<GroupChange> {
        self.result.previous.map(|_| GroupChange {
            group: self.result.record.id,
            ceremony: self.result.ceremony,
            transcript: self.result.transcript.clone(),
            signatures: self.envelope.signatures(),
        })
    }

    /// Digest of the result.
    pub fn digest(&self) -> Sha256 {
        self.envelope.digest()
    }
}

/// The result must be the one that was opened, in all that can be said without points.
fn check_record(opening: &CeremonyOpening, record: &EscrowGroupRecord) -> Result<(), RecordError> {
    let mut fits = record.class == opening.class
        && record.class_number == opening.class_number
        && record.threshold == opening.threshold
        && opening.participants.iter().all(|p| {
            record
                .custodian(p.index)
                .is_some_and(|c| c.signing_key == p.signing_key && c.name == p.name)
        });
    match &opening.previous {
        None => {
            fits &= record.share_epoch == 0
                && !record.retired
                && record.ceremony == "distributed"
                && record.custodians.len() == opening.participants.len();
        }
        Some(before) => {
            fits &= record.id == before.id
                && record.key == before.key
                && record.retired == before.retired
                && record.ceremony == before.ceremony
                && record.share_epoch == before.share_epoch + u32::from(opening.raises_epoch());
            let whole = opening.raises_epoch();
            let others =
                record.custodians.iter().filter(|c| opening.participant(c.index).is_none());
            fits &= if whole {
                record.custodians.len() == opening.participants.len()
            } else {
                record.custodians.len() == before.custodians.len()
                    && others.clone().all(|c| before.custodian(c.index) == Some(c))
                    && record
                        .custodians
                        .iter()
                        .all(|c| before.custodian(c.index).map(|b| b.share) == Some(c.share))
            };
        }
    }
    if fits {
        Ok(())
    } else {
        Err(RecordError::refused(WHAT, "the group is not the one its ceremony was opened for"))
    }
}
