//! What custodians say to one another while they make, refresh, repair or re-share a group.
//!
//! A ceremony begins with one statement, the *opening*; its digest is the ceremony's id, and every
//! later statement names it, so that nothing said in one ceremony counts in another. An opening
//! lists who takes part, in order, each under the digest of its card. What is for one participant
//! only travels sealed beside the statement that names its digest.
//!
//! Everyone repeats what it saw (`seen`): a participant that told two others two different things
//! has signed both, and is named with the proof in hand.
//!
//! Here stand the forms and the rules that need no group arithmetic; the points inside are checked
//! by whoever computes with them (`seawall-escrow`, `seawall-custodian`).

use std::collections::{BTreeMap, BTreeSet};

use seawall_base::{FleetId, Sha256, Timestamp};
use seawall_sign::{Envelope, Predicate, Statement, Subject, VerifyingKey};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::bundle::{envelope, parse, raw};
use crate::custodian_card::fingerprint;
use crate::{
    Base64, CustodianCard, CustodianRecord, EscrowGroupRecord, Hex32, RecordError, SUITE_PQ,
    check_text,
};

const WHAT: &str = "ceremony's opening";
const MESSAGE: &str = "ceremony message";
/// Most participants: the record they sign, with a 1184-byte key each, must fit an envelope.
pub const MAX_PARTICIPANTS: usize = 16;
/// Largest file of a ceremony, in bytes of JSON.
pub const MAX_CEREMONY_FILE: usize = crate::MAX_BUNDLE;

/// What a ceremony is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CeremonyKind {
    /// A new group, its key made between its custodians.
    New,
    /// New shares of the same custodians; old ones are worth nothing together with them.
    Refresh,
    /// One custodian gets its lost share again.
    Repair,
    /// The same group among other custodians, or with another threshold.
    Reshare,
}

impl CeremonyKind {
    /// The kind in a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::New => "new group",
            Self::Refresh => "refresh",
            Self::Repair => "repair",
            Self::Reshare => "re-sharing",
        }
    }
}

/// One who takes part and receives something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Participant {
    /// Share index in the group that results.
    pub index: u16,
    /// A name for people; the card's.
    pub name: String,
    /// Signs what it says; the card's.
    pub signing_key: VerifyingKey,
    /// Digest of its card.
    pub card: Sha256,
}

/// The statement a ceremony begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeremonyOpening {
    /// What it is for.
    pub kind: CeremonyKind,
    /// The fleet; null for a fleet that is still to be founded.
    pub fleet: Option<FleetId>,
    /// The data class of the group.
    pub class: String,
    /// The class's number inside sealed objects.
    pub class_number: u8,
    /// Custodians needed to open a snapshot, afterwards.
    pub threshold: u16,
    /// Who takes part, by ascending index: the group that results, or the helpers of a repair and
    /// the one repaired.
    pub participants: Vec<Participant>,
    /// The group as it is, unless it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<EscrowGroupRecord>,
    /// Indices in `previous` of those who give from their shares, ascending: all in a refresh, as
    /// many as the threshold in a repair or re-sharing, nobody for a new group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dealers: Vec<u16>,
    /// Who lost its share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repaired: Option<u16>,
    /// The suite of the group that results; see [`EscrowGroupRecord::suite`]. A repair keeps the
    /// group's; nothing else goes back to an earlier one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<u8>,
    /// Why, for the people who decide whether to take part.
    pub reason: String,
    /// When it was opened.
    pub created: Timestamp,
    /// Makes two ceremonies of the same people differ.
    pub nonce: Hex32,
}

impl Predicate for CeremonyOpening {
    const TYPE: &'static str = "urn:seawall:predicate:ceremony-opening:1";
}

impl CeremonyOpening {
    /// The statement for its convener to sign.
    pub fn statement(self) -> Result<Statement<Self>, RecordError> {
        self.check()?;
        let cards: Vec<_> = self.participants.iter().map(|p| p.card).collect();
        let cards = serde_json::to_vec(&cards).expect("digests serialise as text");
        Ok(Statement::new(Subject::sha256("participants", Sha256::of(&cards)), self))
    }

    /// The participant with this index.
    pub fn participant(&self, index: u16) -> Option<&Participant> {
        self.participants.iter().find(|p| p.index == index)
    }

    /// Who speaks as `from` in a step: name and key. Dealers of a re-sharing are named by their
    /// index in the group as it was, everybody else by that in the group that results.
    pub fn speaker(&self, step: CeremonyStep, from: u16) -> Option<(&str, VerifyingKey)> {
        if step == CeremonyStep::Deal && !self.dealers.is_empty() {
            if !self.dealers.contains(&from) {
                return None;
            }
            let dealer = self.previous.as_ref()?.custodian(from)?;
            return Some((&dealer.name, dealer.signing_key));
        }
        if step == CeremonyStep::Sum && !self.dealers.contains(&from) {
            return None;
        }
        self.participant(from).map(|p| (p.name.as_str(), p.signing_key))
    }

    /// Who has to speak in a step, in order; nobody where the ceremony has no such step.
    pub fn speakers(&self, step: CeremonyStep) -> Vec<u16> {
        let everyone = || self.participants.iter().map(|p| p.index).collect();
        match (step, self.kind) {
            (CeremonyStep::Commit | CeremonyStep::Deal, CeremonyKind::New)
            | (CeremonyStep::Accept, _) => everyone(),
            (CeremonyStep::Deal, _) | (CeremonyStep::Sum, CeremonyKind::Repair) => {
                self.dealers.clone()
            }
            (CeremonyStep::Commit | CeremonyStep::Sum, _) => Vec::new(),
        }
    }

    /// The keys that have to sign the result: everyone who takes part.
    pub fn signers(&self) -> Vec<VerifyingKey> {
        self.participants.iter().map(|p| p.signing_key).collect()
    }

    /// The step whose statements make the result, and which everyone must have seen alike.
    pub const fn decisive(&self) -> CeremonyStep {
        match self.kind {
            CeremonyKind::New => CeremonyStep::Commit,
            _ => CeremonyStep::Deal,
        }
    }

    /// The record of the group that results, from what was computed and the participants' cards.
    /// `key` and the verification shares are points; `id` is the hash of key and class.
    pub fn record(
        &self,
        id: seawall_base::GroupId,
        key: Hex32,
        shares: &BTreeMap<u16, Hex32>,
        cards: &[CustodianCard],
    ) -> Result<EscrowGroupRecord, RecordError> {
        let mut custodians = Vec::new();
        for (index, share) in shares {
            let at = self.participants.iter().position(|p| p.index == *index);
            let card = at.and_then(|at| cards.get(at));
            let before = self.previous.as_ref().and_then(|p| p.custodian(*index));
            custodians.push(match (card, before) {
                (Some(card), before) => self.custodian(*index, *share, card, before),
                (None, Some(before)) => before.clone(),
                (None, None) => {
                    return Err(RecordError::refused(WHAT, "lists no custodian for a share"));
                }
            });
        }
        let previous = self.previous.as_ref();
        let epoch = previous.map_or(0, |p| p.share_epoch);
        let record = EscrowGroupRecord {
            id,
            class: self.class.clone(),
            class_number: self.class_number,
            threshold: self.threshold,
            key,
            ceremony: previous.map_or("distributed", |p| &p.ceremony).to_owned(),
            share_epoch: epoch + u32::from(self.raises_epoch()),
            suite: self.suite,
            retired: previous.is_some_and(|p| p.retired),
            custodians,
        };
        record.check_form()?;
        Ok(record)
    }

    fn custodian(
        &self,
        index: u16,
        share: Hex32,
        card: &CustodianCard,
        before: Option<&CustodianRecord>,
    ) -> CustodianRecord {
        // In a repair the others' entries stay as they are, and all have such a key or none has.
        let repair = self.kind == CeremonyKind::Repair;
        let without_kem = repair && before.is_some_and(|b| b.kem.is_none());
        let (address, transport) = (card.address.clone(), card.transport);
        let known = before.filter(|b| b.signing_key == card.signing_key);
        CustodianRecord {
            index,
            name: card.name.clone(),
            signing_key: card.signing_key,
            share,
            kem: (!without_kem).then(|| card.kem.clone()),
            endpoint: address
                .map(|address| crate::Endpoint { address, transport })
                .or_else(|| known.and_then(|b| b.endpoint.clone())),
        }
    }

    /// Whether partials of before and after must not be mixed.
    pub const fn raises_epoch(&self) -> bool {
        matches!(self.kind, CeremonyKind::Refresh | CeremonyKind::Reshare)
    }

    /// Checks the form, and that kind, group and participants fit one another.
    pub fn check(&self) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        check_text(WHAT, &self.class, 64)?;
        check_text(WHAT, &self.reason, 1_000)?;
        self.participants.iter().try_for_each(|p| check_text(WHAT, &p.name, 64))?;
        let n = self.participants.len();
        if !(2..=MAX_PARTICIPANTS).contains(&n) {
            return refuse("a ceremony has 2 to 16 participants");
        }
        if self.participants[0].index == 0
            || self.participants.windows(2).any(|w| w[0].index >= w[1].index)
        {
            return refuse("participants are listed by ascending index from 1");
        }
        let keys: BTreeSet<_> = self.participants.iter().map(|p| p.signing_key).collect();
        let cards: BTreeSet<_> = self.participants.iter().map(|p| p.card).collect();
        if keys.len() != n || cards.len() != n {
            return refuse("two participants share a key or a card");
        }
        if self.class_number == 0 {
            return refuse("class numbers count from 1");
        }
        if self.threshold < 2 {
            return refuse(
                "at a threshold of 1 every share is the group's secret, which a ceremony never assembles; choose 2 or more",
            );
        }
        self.check_suite()?;
        match (&self.previous, self.kind) {
            (None, CeremonyKind::New) => self.check_new(),
            (Some(previous), CeremonyKind::Refresh) => self.check_refresh(previous),
            (Some(previous), CeremonyKind::Repair) => self.check_repair(previous),
            (Some(previous), CeremonyKind::Reshare) => self.check_reshare(previous),
            _ => refuse("a new group has no previous one, every other ceremony has one"),
        }
    }

    /// Openings from before suite 2 name none. Who strips it off a group that has it is refused.
    fn check_suite(&self) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        let before = self.previous.as_ref().and_then(|p| p.suite);
        match self.suite {
            None if before.is_some() => refuse("it takes the group's post-quantum half away"),
            suite if self.kind == CeremonyKind::Repair && suite != before => {
                refuse("a repair keeps the group's suite; refresh the group to raise it")
            }
            None | Some(SUITE_PQ) => Ok(()),
            Some(_) => refuse("it demands a suite that this version does not know; upgrade"),
        }
    }

    fn check_new(&self) -> Result<(), RecordError> {
        if !self.dealers.is_empty() || self.repaired.is_some() {
            return Err(RecordError::refused(WHAT, "nobody deals to a new group"));
        }
        self.check_whole()
    }

    /// Indices 1 to n, and a threshold they can reach.
    fn check_whole(&self) -> Result<(), RecordError> {
        let counted = (1..).zip(&self.participants).all(|(i, p): (u16, _)| p.index == i);
        if !counted || usize::from(self.threshold) > self.participants.len() {
            let why = "a group's indices are 1 to n, its threshold is at most n";
            return Err(RecordError::refused(WHAT, why));
        }
        Ok(())
    }

    fn check_same_class(&self, previous: &EscrowGroupRecord) -> Result<(), RecordError> {
        previous.check_form()?;
        if previous.class != self.class || previous.class_number != self.class_number {
            return Err(RecordError::refused(WHAT, "a group keeps its class and its number"));
        }
        if previous.share_epoch == u32::MAX {
            return Err(RecordError::refused(WHAT, "the group's share epochs are used up"));
        }
        Ok(())
    }

    fn check_refresh(&self, previous: &EscrowGroupRecord) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        self.check_same_class(previous)?;
        let before = previous.custodians.iter().map(|c| (c.index, c.signing_key));
        if !before.eq(self.participants.iter().map(|p| (p.index, p.signing_key)))
            || self.threshold != previous.threshold
        {
            return refuse(
                "a refresh keeps custodians and threshold; repair a lost share first, or share the group anew",
            );
        }
        if !self.dealers.iter().eq(previous.custodians.iter().map(|c| &c.index)) {
            return refuse("everyone deals in a refresh");
        }
        if self.repaired.is_some() {
            return refuse("a refresh repairs nobody");
        }
        Ok(())
    }

    fn check_reshare(&self, previous: &EscrowGroupRecord) -> Result<(), RecordError> {
        self.check_same_class(previous)?;
        self.check_whole()?;
        if self.repaired.is_some() {
            return Err(RecordError::refused(WHAT, "a re-sharing repairs nobody"));
        }
        self.check_quorum(previous)
    }

    /// As many dealers as the group's threshold, each one of its custodians.
    fn check_quorum(&self, previous: &EscrowGroupRecord) -> Result<(), RecordError> {
        let ascending = self.dealers.windows(2).all(|w| w[0] < w[1]);
        let known = self.dealers.iter().all(|i| previous.custodian(*i).is_some());
        if !ascending || !known || self.dealers.len() != usize::from(previous.threshold) {
            let why = "exactly as many custodians of the group deal as its threshold says";
            return Err(RecordError::refused(WHAT, why));
        }
        Ok(())
    }

    fn check_repair(&self, previous: &EscrowGroupRecord) -> Result<(), RecordError> {
        let refuse = |why: &str| Err(RecordError::refused(WHAT, why));
        self.check_same_class(previous)?;
        if previous.threshold < 2 || self.threshold != previous.threshold {
            return refuse("a repair keeps the threshold, of 2 or more");
        }
        let Some(repaired) = self.repaired.filter(|r| previous.custodian(*r).is_some()) else {
            return refuse("a repair names the custodian of the group that lost its share");
        };
        self.check_quorum(previous)?;
        let mut expected: Vec<_> = self.dealers.clone();
        expected.push(repaired);
        expected.sort_unstable();
        if self.dealers.contains(&repaired)
            || !expected.iter().eq(self.participants.iter().map(|p| &p.index))
        {
            return refuse("a repair is between its helpers and the one repaired");
        }
        for helper in self.participants.iter().filter(|p| p.index != repaired) {
            if previous.custodian(helper.index).map(|c| c.signing_key) != Some(helper.signing_key) {
                return refuse("a helper is not the custodian the group has under its index");
            }
        }
        Ok(())
    }
}

/// What is said in a ceremony, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CeremonyStep {
    /// A new group: commitments to one's polynomial, and proof of knowing it.
    Commit,
    /// Shares of one's polynomial, sealed to each recipient.
    Deal,
    /// A repair: the sum of what a helper received, sealed to the one repaired.
    Sum,
    /// The result, signed.
    Accept,
}

impl CeremonyStep {
    /// All of them, in order.
    pub const ALL: [Self; 4] = [Self::Commit, Self::Deal, Self::Sum, Self::Accept];

    /// The step in a word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Deal => "deal",
            Self::Sum => "sum",
            Self::Accept => "accept",
        }
    }
}

/// A Schnorr proof of knowing the constant term of a committed polynomial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KnowledgeProof {
    /// The commitment to the nonce: a point.
    pub r: Hex32,
    /// The response: a scalar.
    pub z: Hex32,
}

/// Digest of something sealed to one participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SealedPart {
    /// Index of the recipient among the participants.
    pub to: u16,
    /// SHA-256 of the sealed bytes.
    pub sha256: Sha256,
}

/// One statement of one participant, but the last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeremonyMessage {
    /// Digest of the opening.
    pub ceremony: Sha256,
    /// Which step: commit, deal or sum.
    pub step: CeremonyStep,
    /// Who says it.
    pub from: u16,
    /// Points that everyone must see alike.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commitments: Vec<Hex32>,
    /// Proof of knowing what was committed to; in `commit` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<KnowledgeProof>,
    /// What goes to single participants, by ascending recipient.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sealed: Vec<SealedPart>,
    /// Digests of the decisive statements it saw, in the order of their speakers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<Sha256>,
}

impl Predicate for CeremonyMessage {
    const TYPE: &'static str = "urn:seawall:predicate:ceremony-message:1";
}

impl CeremonyMessage {
    /// The statement for its speaker to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("ceremony", self.ceremony), self)
    }
}

/// The last statement: the group that results. All participants sign the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CeremonyResult {
    /// Digest of the opening.
    pub ceremony: Sha256,
    /// The group, as it goes into the fleet's policy.
    pub record: EscrowGroupRecord,
    /// Digests of the decisive statements, in the order of their speakers.
    pub transcript: Vec<Sha256>,
}

impl Predicate for CeremonyResult {
    const TYPE: &'static str = "urn:seawall:predicate:escrow-group:1";
}

impl CeremonyResult {
    /// The statement for every participant to sign.
    pub fn statement(self) -> Statement<Self> {
        Statement::new(Subject::sha256("ceremony", self.ceremony), self)
    }
}

/// An opening as a file: the statement with the cards it names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OpeningFile {
    format: String,
    opening: Box<RawValue>,
    cards: Vec<CustodianCard>,
}

/// An opening whose form, signature and cards have been checked.
#[derive(Debug, Clone)]
pub struct Ceremony {
    id: Sha256,
    envelope: Envelope,
    /// What it says.
    pub opening: CeremonyOpening,
    /// The participants' cards, in their order.
    pub cards: Vec<CustodianCard>,
}

impl Ceremony {
    /// The format of an opening's file.
    pub const FORMAT: &str = "seawall-ceremony/1";

    /// Puts a signed opening and its cards together.
    pub fn new(envelope: Envelope, cards: Vec<CustodianCard>) -> Result<Self, RecordError> {
        let opening = open_opening(&envelope)?;
        let fit = cards.len() == opening.participants.len()
            && cards.iter().zip(&opening.participants).all(|(card, p)| {
                card.digest() == p.card
                    && card.name == p.name
                    && card.signing_key == p.signing_key
                    && card.check().is_ok()
            });
        if !fit {
            return Err(RecordError::refused(WHAT, "the cards are not the ones it names"));
        }
        Ok(Self { id: envelope.digest(), envelope, opening, cards })
    }

    /// Parses and checks an opening's file.
    pub fn open(json: &[u8]) -> Result<Self, RecordError> {
        let file: OpeningFile = parse(WHAT, json, Self::FORMAT, |f: &OpeningFile| &f.format)?;
        if file.cards.len() > MAX_PARTICIPANTS {
            return Err(RecordError::refused(WHAT, "a ceremony has 2 to 16 participants"));
        }
        Self::new(envelope(WHAT, &file.opening)?, file.cards)
    }

    /// The opening's file.
    pub fn to_json(&self) -> Vec<u8> {
        let file = OpeningFile {
            format: Self::FORMAT.to_owned(),
            opening: raw(&self.envelope),
            cards: self.cards.clone(),
        };
        to_lines(&file)
    }

    /// The ceremony's id: the opening's digest.
    pub const fn id(&self) -> Sha256 {
        self.id
    }

    /// The first 16 digits of the id, for comparing by voice.
    pub fn fingerprint(&self) -> String {
        fingerprint(self.id)
    }

    /// The opening as it was signed.
    pub const fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The card of the participant with this index.
    pub fn card(&self, index: u16) -> Option<&CustodianCard> {
        let at = self.opening.participants.iter().position(|p| p.index == index)?;
        self.cards.get(at)
    }
}

/// Checks an opening: well formed, and signed by one of those it is about.
fn open_opening(it: &Envelope) -> Result<CeremonyOpening, RecordError> {
    let claimed = Statement::<CeremonyOpening>::read_unverified(it)
        .map_err(RecordError::statement(WHAT))?
        .predicate;
    claimed.check()?;
    let mut conveners = claimed.signers();
    conveners
        .extend(claimed.previous.iter().flat_map(|p| p.custodians.iter().map(|c| c.signing_key)));
    it.verify(&conveners, 1).map_err(RecordError::statement(WHAT))?;
    Ok(claimed)
}

fn to_lines<T: Serialize>(value: &T) -> Vec<u8> {
    let mut json = serde_json::to_vec_pretty(value).expect("text always serialises");
    json.push(b'\n');
    json
}

/// A participant's statement as a file: what is sealed, and the statements it saw.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageFileText {
    format: String,
    message: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sealed: Vec<Base64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    seen: Vec<Box<RawValue>>,
}

/// A parsed file of one statement; nothing in it has been checked yet.
#[derive(Debug, Clone)]
pub struct MessageFile {
    /// The statement: a [`CeremonyMessage`] or a [`CeremonyResult`].
    pub message: Envelope,
    /// What is sealed to single participants, in the statement's order.
    pub sealed: Vec<Base64>,
    /// The decisive statements its author saw.
    pub seen: Vec<Envelope>,
}

impl MessageFile {
    /// The file's format.
    pub const FORMAT: &str = "seawall-ceremony-message/1";

    /// Parses a file.
    pub fn parse(json: &[u8]) -> Result<Self, RecordError> {
        let file: MessageFileText =
            parse(MESSAGE, json, Self::FORMAT, |f: &MessageFileText| &f.format)?;
        if file.sealed.len() > MAX_PARTICIPANTS || file.seen.len() > MAX_PARTICIPANTS {
            return Err(RecordError::refused(MESSAGE, "holds more than 16 parts"));
        }
        let seen = file.seen.iter().map(|it| envelope(MESSAGE, it)).collect::<Result<_, _>>()?;
        Ok(Self { message: envelope(MESSAGE, &file.message)?, sealed: file.sealed, seen })
    }

    /// The file.
    pub fn to_json(&self) -> Vec<u8> {
        let file = MessageFileText {
            format: Self::FORMAT.to_owned(),
            message: raw(&self.message),
            sealed: self.sealed.clone(),
            seen: self.seen.iter().map(raw).collect(),
        };
        to_lines(&file)
    }
}

/// Opens a statement of a ceremony: signed by its speaker, of this ceremony, of this form.
pub fn open_message(ceremony: &Ceremony, it: &Envelope) -> Result<CeremonyMessage, RecordError> {
    let refuse = |why: String| Err(RecordError::refused(MESSAGE, why));
    let claimed = Statement::<CeremonyMessage>::read_unverified(it)
        .map_err(RecordError::statement(MESSAGE))?
        .predicate;
    if claimed.ceremony != ceremony.id {
        return refuse(format!(
            "belongs to another ceremony ({}), not to this one ({})",
            fingerprint(claimed.ceremony),
            ceremony.fingerprint()
        ));
    }
    let (step, from) = (claimed.step, claimed.from);
    let speaker = ceremony.opening.speaker(step, from);
    let Some((name, key)) = speaker.filter(|_| {
        step != CeremonyStep::Accept && ceremony.opening.speakers(step).contains(&from)
    }) else {
        return refuse(format!("{from} has nothing to {} in this ceremony", step.word()));
    };
    let opened = Statement::<CeremonyMessage>::open(it, &[key], 1);
    let message = opened.map_err(|e| {
        let why = format!("said to be by {name} ({}), but: {e}", step.word());
        RecordError::refused(MESSAGE, why)
    })?;
    check_message(ceremony, &message.predicate, name)?;
    Ok(message.predicate)
}

fn check_message(ceremony: &Ceremony, it: &CeremonyMessage, name: &str) -> Result<(), RecordError> {
    let opening = &ceremony.opening;
    let to: Vec<_> = it.sealed.iter().map(|s| s.to).collect();
    let everyone: Vec<_> = opening.participants.iter().map(|p| p.index).collect();
    let others = |of: &[u16]| of.iter().copied().filter(|i| *i != it.from).collect::<Vec<_>>();
    let threshold = usize::from(opening.threshold);
    let decisive = opening.speakers(opening.decisive()).len();
    let (commitments, proof, recipients, seen) = match (it.step, opening.kind) {
        (CeremonyStep::Commit, _) => (threshold, true, Vec::new(), 0),
        (CeremonyStep::Deal, CeremonyKind::New) => (0, false, others(&everyone), decisive),
        (CeremonyStep::Deal, CeremonyKind::Refresh) => (threshold - 1, false, everyone, 0),
        (CeremonyStep::Deal, CeremonyKind::Reshare) => (threshold, false, everyone, 0),
        (CeremonyStep::Deal, CeremonyKind::Repair) => {
            (opening.dealers.len(), false, opening.dealers.clone(), 0)
        }
        (CeremonyStep::Sum | CeremonyStep::Accept, _) => {
            (0, false, opening.repaired.into_iter().collect(), decisive)
        }
    };
    let fits = it.commitments.len() == commitments
        && it.proof.is_some() == proof
        && to == recipients
        && it.seen.len() == seen;
    if !fits {
        let why = format!("of {name} ({}) does not have the parts it must have", it.step.word());
        return Err(RecordError::refused(MESSAGE, why));
    }
    Ok(())
}

/// Opens somebody's signature under the result: for this ceremony, by one participant.
///
/// Returns the result and the index of who signed it.
pub fn open_accept(
    ceremony: &Ceremony,
    it: &Envelope,
) -> Result<(CeremonyResult, u16), RecordError> {
    let refuse = |why: &str| Err(RecordError::refused(MESSAGE, why));
    let claimed = Statement::<CeremonyResult>::read_unverified(it)
        .map_err(RecordError::statement(MESSAGE))?
        .predicate;
    if claimed.ceremony != ceremony.id {
        return refuse("the result belongs to another ceremony");
    }
    let mut signers = it.signers();
    let (Some(signer), None) = (signers.next(), signers.next()) else {
        return refuse("one participant accepts in one file");
    };
    let participants = &ceremony.opening.participants;
    let Some(by) = participants.iter().find(|p| p.signing_key == signer) else {
        return refuse("the result is signed by somebody who takes no part");
    };
    it.verify(&[by.signing_key], 1).map_err(RecordError::statement(MESSAGE))?;
    claimed.record.check_form()?;
    if claimed.transcript.len() != ceremony.opening.speakers(ceremony.opening.decisive()).len() {
        return refuse("the result does not list the statements it was made from");
    }
    Ok((claimed, by.index))
}
