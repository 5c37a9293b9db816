//! Ceremonies over files: what a custodian's home does next, and what it will not do.
//!
//! A ceremony lives in a folder that people carry or share: the opening, then one file for each
//! statement of each participant. Whoever has it runs [`take_step`], which looks at everything
//! that lies there, does whatever is this custodian's to do by now, and says for whom it waits.
//! There is one command, run as often as one likes.
//!
//! Invariants:
//!
//! - Nothing is said that is not written in the home before, so that after a crash the very same
//!   statement is said again: a second, different one would look like a lie.
//! - A share is durable before the result is accepted, and secrets of a ceremony are deleted when
//!   it is: a group never exists whose shares do not.
//! - Everything is checked again at every step, by everyone, from the statements alone. Who lies
//!   is named; what is missing is waited for.
//! - No step of any ceremony puts a group's secret together.
//!
//! Rejected: a coordinator that hands on (one more to trust with completeness), and steps with
//! commands of their own (a nervous person then has to know which).

mod board;
mod compute;
mod journal;
mod opening;
mod parts;

use std::collections::BTreeMap;

use seawall_base::Rng;
use seawall_escrow::{Group, ShareFile, SharePublic, ShareSecret};
use seawall_record::{
    Ceremony, CeremonyKind, CeremonyMessage, CeremonyResult, CeremonyStep, Fleet, GroupFile, Hex32,
    KnowledgeProof, MessageFile, SealedPart,
};
use seawall_sign::StatementKey;

pub use self::board::{Board, Waiting};
pub use self::compute::check_group_file;
pub use self::opening::{NewGroup, check_stay, open_new, open_refresh, open_repair, open_reshare};
use crate::home::{Ask, AskPassphrase, CustodianHome, CustodyError, NO_FLEET};
use compute::Computed;
use journal::Journal;

/// A file for the ceremony's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub bytes: Vec<u8>,
}

/// Where a custodian stands in a ceremony.
#[derive(Debug)]
pub struct Progress {
    /// This custodian's statements so far, for the folder.
    pub files: Vec<Output>,
    /// Steps that were taken now.
    pub taken: Vec<CeremonyStep>,
    /// For whom this custodian waits; nobody once it has done everything.
    pub waiting: Option<Waiting>,
    /// Where the share lies below the home, once there is one from this ceremony.
    pub share: Option<String>,
}

/// Who this custodian is in a ceremony.
#[derive(Debug, Clone, Copy)]
struct Role {
    /// Index in the group that results.
    member: Option<u16>,
    /// Index in the group as it is, if it deals.
    dealer: Option<u16>,
}

impl Role {
    fn of(home: &CustodianHome, ceremony: &Ceremony) -> Result<Self, CustodyError> {
        let own = home.unsigned_card(None)?;
        let key = own.signing_key;
        let opening = &ceremony.opening;
        let member = opening.participants.iter().find(|p| p.signing_key == key).map(|p| p.index);
        let custodians = opening.previous.iter().flat_map(|p| &p.custodians);
        let dealer = custodians
            .filter(|c| c.signing_key == key && opening.dealers.contains(&c.index))
            .map(|c| c.index)
            .next();
        if member.is_none() && dealer.is_none() {
            return Err(CustodyError::refused(format!(
                "{} takes no part in this ceremony; is this the right home, or the right folder?",
                home.name()
            )));
        }
        if let Some(card) = member.and_then(|index| ceremony.card(index)) {
            let theirs = card.clone();
            let mine = own;
            let same = (theirs.recipient == mine.recipient)
                && (theirs.kem == mine.kem)
                && (theirs.witness == mine.witness)
                && (theirs.transport == mine.transport);
            if !same {
                return Err(CustodyError::refused(format!(
                    "the ceremony lists another card in the name of {}: somebody changed it on the way; begin anew with cards whose fingerprints were compared",
                    home.name()
                )));
            }
        }
        Ok(Self { member, dealer })
    }

    /// The index under which this custodian speaks in a step, if it does.
    fn speaks(self, ceremony: &Ceremony, step: CeremonyStep) -> Option<u16> {
        let opening = &ceremony.opening;
        let as_dealer = match step {
            CeremonyStep::Commit | CeremonyStep::Accept => false,
            CeremonyStep::Deal => opening.kind != CeremonyKind::New,
            CeremonyStep::Sum | CeremonyStep::Release => true,
        };
        let index = if as_dealer { self.dealer } else { self.member };
        index.filter(|i| opening.speakers(step).contains(i))
    }
}

/// Whether this home has begun to take part: people are asked before that.
pub fn takes_part(home: &CustodianHome, ceremony: &Ceremony) -> Result<bool, CustodyError> {
    Role::of(home, ceremony)?;
    Journal::of(home, ceremony).begun()
}

/// Takes every step that is this custodian's to take by now.
pub fn take_step(
    home: &CustodianHome,
    ceremony: &Ceremony,
    board: &mut Board<'_>,
    ask: &mut AskPassphrase<'_>,
    rng: &mut dyn Rng,
) -> Result<Progress, CustodyError> {
    let _lock = home.lock()?;
    let role = Role::of(home, ceremony)?;
    let journal = Journal::of(home, ceremony);
    if journal.is_abandoned()? {
        return Err(CustodyError::refused("this ceremony was abandoned here; begin another"));
    }
    check_fleet(home, ceremony)?;
    let mut progress =
        Progress { files: Vec::new(), taken: Vec::new(), waiting: None, share: None };
    let mut actor = Actor { home, ceremony, role, journal: &journal, ask, rng, share: None };
    for step in CeremonyStep::ALL {
        let Some(index) = role.speaks(ceremony, step) else { continue };
        let name = file_name(ceremony, step, index);
        let file = if let Some(said) = journal.said(step)? {
            board.expect_own(step, index, &said)?;
            said
        } else {
            if board.has(step, index) {
                return Err(CustodyError::refused(format!(
                    "the folder holds a statement in the name of {} that this home did not make; is there a second copy of the home?",
                    home.name()
                )));
            }
            if let Some(waiting) = board.waiting_for(actor.needs(step)) {
                progress.waiting = Some(waiting);
                break;
            }
            check_version(ceremony)?;
            let file = actor.act(step, index, board)?;
            journal.say(step, &file)?;
            progress.taken.push(step);
            file
        };
        let bytes = file.to_json();
        board.add(&name, &file)?;
        progress.files.push(Output { name, bytes });
    }
    progress.share = actor.share.take().or(journal.share()?);
    if journal.said(CeremonyStep::Accept)?.is_some()
        || role.speaks(ceremony, CeremonyStep::Accept).is_none() && progress.waiting.is_none()
    {
        journal.forget_secrets()?;
    }
    if progress.waiting.is_none() {
        progress.waiting = board.waiting_for(&[CeremonyStep::Accept, CeremonyStep::Release]);
    }
    Ok(progress)
}

/// The name a statement's file gets in the folder.
fn file_name(ceremony: &Ceremony, step: CeremonyStep, index: u16) -> String {
    let name = ceremony.opening.speaker(step, index).map_or("", |(name, _)| name);
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let number = CeremonyStep::ALL.iter().position(|s| *s == step).map_or(0, |at| at + 1);
    format!("{number}-{}-{index}-{name}.json", step.word())
}

/// What changes a group is done by today's rules only, and with cards that their owners signed.
fn check_version(ceremony: &Ceremony) -> Result<(), CustodyError> {
    if ceremony.opening.previous.is_none() {
        return Ok(());
    }
    if !ceremony.opening.confirmed {
        return Err(CustodyError::refused(
            "the ceremony was opened by an earlier version of seawall, under which cards could be exchanged unnoticed; begin another",
        ));
    }
    opening::check_signed(&ceremony.cards)
}

/// The opening must name the fleet whose group it is, since no other's policy will take the result,
/// and start from the record that this fleet's newest policy has. Whose group it is this home's own
/// share says; other fleets may have the same public record, and have no say.
fn check_fleet(home: &CustodianHome, ceremony: &Ceremony) -> Result<(), CustodyError> {
    let Some(previous) = &ceremony.opening.previous else { return Ok(()) };
    let (named, fleets) = (ceremony.opening.fleet, home.fleets()?);
    let of_share = |(_, share): (String, ShareFile)| {
        let public = share.public();
        (public.group == previous.id && public.fleet != NO_FLEET).then_some(public.fleet)
    };
    let mut owners: Vec<_> = home.shares()?.into_iter().filter_map(of_share).collect();
    if owners.is_empty() && named.is_none() {
        let has_it = |fleet: &&Fleet| fleet.group(previous.id).is_some();
        owners.extend(fleets.iter().filter(has_it).map(Fleet::id));
    }
    if let Some(owner) = owners.first().filter(|_| owners.iter().all(|it| Some(*it) != named)) {
        return Err(CustodyError::refused(format!(
            "{} belongs to fleet {owner}, which the ceremony does not name: begin anew from that fleet's card",
            previous.id
        )));
    }
    let known = fleets.iter().find(|fleet| Some(fleet.id()) == named);
    if let Some(fleet) = known.filter(|fleet| fleet.group(previous.id) != Some(previous)) {
        return Err(CustodyError::refused(format!(
            "the ceremony starts from another record of {} than the fleet's policy has (version {} is known here): join the fleet's newest card, or begin anew from it",
            previous.id,
            fleet.version()
        )));
    }
    Ok(())
}

struct Actor<'a, 'b> {
    home: &'a CustodianHome,
    ceremony: &'a Ceremony,
    role: Role,
    journal: &'a Journal<'a>,
    ask: &'a mut AskPassphrase<'b>,
    rng: &'a mut dyn Rng,
    share: Option<String>,
}

impl Actor<'_, '_> {
    /// The steps that everyone must have taken before.
    fn needs(&self, step: CeremonyStep) -> &'static [CeremonyStep] {
        use CeremonyStep::{Commit, Deal, Sum};
        let repaired = self.role.member == self.ceremony.opening.repaired;
        match (step, self.ceremony.opening.kind) {
            (Deal, CeremonyKind::New | CeremonyKind::Repair | CeremonyKind::Reshare) => &[Commit],
            (Commit | Deal, _) => &[],
            (CeremonyStep::Accept, CeremonyKind::New) => &[Commit, Deal],
            (CeremonyStep::Accept, CeremonyKind::Repair) if repaired => &[Deal, Sum],
            (Sum | CeremonyStep::Accept | CeremonyStep::Release, _) => &[Deal],
        }
    }

    fn act(
        &mut self,
        step: CeremonyStep,
        index: u16,
        board: &Board<'_>,
    ) -> Result<MessageFile, CustodyError> {
        let computed = Computed { ceremony: self.ceremony, board };
        match (step, self.ceremony.opening.kind) {
            (CeremonyStep::Commit, CeremonyKind::New) => self.commit(index, &computed),
            // The opening's digest stands in every statement; that is all there is to confirm.
            (CeremonyStep::Commit, _) => {
                self.say(self.message(step, index), &BTreeMap::new(), Vec::new())
            }
            (CeremonyStep::Deal, CeremonyKind::New) => self.deal_new(index, &computed),
            (CeremonyStep::Deal, _) => self.deal_again(index, &computed),
            (CeremonyStep::Sum, _) => self.sum(index, &computed),
            (CeremonyStep::Accept, _) => self.accept(index, &computed),
            (CeremonyStep::Release, _) => self.sign_result(&computed.group()?, &computed),
        }
    }

    fn message(&self, step: CeremonyStep, from: u16) -> CeremonyMessage {
        CeremonyMessage {
            ceremony: self.ceremony.id(),
            step,
            from,
            commitments: Vec::new(),
            proof: None,
            sealed: Vec::new(),
            seen: Vec::new(),
        }
    }

    /// Signs a statement around its sealed parts and the decisive statements seen.
    fn say(
        &mut self,
        mut message: CeremonyMessage,
        values: &BTreeMap<u16, zeroize::Zeroizing<[u8; 32]>>,
        seen: Vec<seawall_sign::Envelope>,
    ) -> Result<MessageFile, CustodyError> {
        let mut sealed = Vec::new();
        for (to, value) in values {
            let bytes = parts::seal(self.ceremony, &message, *to, value, self.rng)?;
            message.sealed.push(SealedPart { to: *to, sha256: parts::digest(&bytes) });
            sealed.push(bytes);
        }
        message.seen = seen.iter().map(seawall_sign::Envelope::digest).collect();
        let key = self.signing()?;
        let envelope = message.statement().sign(&[&key])?;
        Ok(MessageFile { message: envelope, sealed, seen })
    }

    fn signing(&self) -> Result<StatementKey, CustodyError> {
        self.home.signing()
    }

    fn commit(&mut self, index: u16, computed: &Computed<'_>) -> Result<MessageFile, CustodyError> {
        let step = seawall_escrow::ceremony::dkg::commit(&computed.plan(), index, self.rng)?;
        let mut message = self.message(CeremonyStep::Commit, index);
        message.commitments = step.out.points.into_iter().map(Hex32).collect();
        let (r, z) = step.out.proof;
        message.proof = Some(KnowledgeProof { r: Hex32(r), z: Hex32(z) });
        self.journal.keep_secret(CeremonyStep::Commit, &step.secret)?;
        self.say(message, &BTreeMap::new(), Vec::new())
    }

    fn deal_new(
        &mut self,
        index: u16,
        computed: &Computed<'_>,
    ) -> Result<MessageFile, CustodyError> {
        let secret = self.journal.secret(CeremonyStep::Commit)?;
        let all = computed.commitments()?;
        let step = seawall_escrow::ceremony::dkg::deal(&computed.plan(), index, &secret, &all)
            .map_err(|e| computed.named(CeremonyStep::Commit, e))?;
        self.journal.keep_secret(CeremonyStep::Deal, &step.secret)?;
        let message = self.message(CeremonyStep::Deal, index);
        let seen = computed.board.decisive()?;
        self.say(message, &step.out, seen)
    }

    /// Deals from the share of the group as it is.
    fn deal_again(
        &mut self,
        index: u16,
        computed: &Computed<'_>,
    ) -> Result<MessageFile, CustodyError> {
        let (_, secret) = self.old_share(index)?;
        let before = computed.before()?;
        let mut message = self.message(CeremonyStep::Deal, index);
        let (commitments, values) = if self.ceremony.opening.kind == CeremonyKind::Repair {
            let pieces = computed.repair(&before)?.deal(&secret.share, self.rng)?;
            (pieces.commitments, pieces.values)
        } else {
            let members = computed.members();
            let dealing = computed.resharing(&before, &members).deal(&secret.share, self.rng)?;
            (dealing.commitments, dealing.values)
        };
        message.commitments = commitments.into_iter().map(Hex32).collect();
        self.say(message, &values, Vec::new())
    }

    fn sum(&mut self, index: u16, computed: &Computed<'_>) -> Result<MessageFile, CustodyError> {
        let before = computed.before()?;
        let repair = computed.repair(&before)?;
        let received = self.received(CeremonyStep::Deal, index, computed)?;
        let sum = repair
            .sum(index, &computed.published()?, &received)
            .map_err(|e| computed.named(CeremonyStep::Deal, e))?;
        let values = BTreeMap::from([(repair.repaired, sum)]);
        let message = self.message(CeremonyStep::Sum, index);
        let seen = computed.board.decisive()?;
        self.say(message, &values, seen)
    }

    fn accept(&mut self, index: u16, computed: &Computed<'_>) -> Result<MessageFile, CustodyError> {
        let before = computed.before_if_any()?;
        let (group, share) = match (self.ceremony.opening.kind, &before) {
            (CeremonyKind::New, _) => {
                let secret = self.journal.secret(CeremonyStep::Deal)?;
                let received = self.received(CeremonyStep::Deal, index, computed)?;
                let all = computed.commitments()?;
                let plan = computed.plan();
                let finished =
                    seawall_escrow::ceremony::dkg::finish(&plan, index, &secret, &all, &received);
                let (group, share) = finished.map_err(|e| computed.named(CeremonyStep::Deal, e))?;
                (group, Some(share))
            }
            (CeremonyKind::Repair, Some(before)) => {
                let repair = computed.repair(before)?;
                let share = if repair.repaired == index {
                    let received = self.received(CeremonyStep::Sum, index, computed)?;
                    let share = repair.finish(&computed.published()?, &received);
                    Some(share.map_err(|e| computed.named(CeremonyStep::Sum, e))?)
                } else {
                    None
                };
                (before.clone(), share)
            }
            (kind, Some(before)) => {
                let members = computed.members();
                let resharing = computed.resharing(before, &members);
                let received = self.received(CeremonyStep::Deal, index, computed)?;
                let old = if kind == CeremonyKind::Refresh {
                    Some(self.old_share(index)?.1.share.clone())
                } else {
                    None
                };
                let published = computed.published()?;
                let finished = resharing.finish(index, old.as_ref(), &published, &received);
                let (group, share) = finished.map_err(|e| computed.named(CeremonyStep::Deal, e))?;
                (group, Some(share))
            }
            (_, None) => return Err(CustodyError::refused("the ceremony names no group")),
        };
        if let Some(share) = share {
            self.keep(&group, share)?;
        }
        self.sign_result(&group, computed)
    }

    fn sign_result(
        &self,
        group: &Group,
        computed: &Computed<'_>,
    ) -> Result<MessageFile, CustodyError> {
        let result = computed.result(group)?;
        let seen = computed.board.decisive()?;
        let message = CeremonyResult::statement(result).sign(&[&self.signing()?])?;
        Ok(MessageFile { message, sealed: Vec::new(), seen })
    }

    /// What others sealed to this participant in a step.
    fn received(
        &self,
        step: CeremonyStep,
        index: u16,
        computed: &Computed<'_>,
    ) -> Result<BTreeMap<u16, zeroize::Zeroizing<[u8; 32]>>, CustodyError> {
        let recipient = self.home.recipient()?;
        let mut out = BTreeMap::new();
        for (from, said) in computed.board.of_step(step) {
            // What a new group's participant would deal to itself stays in its secret.
            let Some(sealed) = said.part_for(index) else { continue };
            let value = parts::open(self.ceremony, &said.message, index, sealed, &recipient);
            let value = value.map_err(|why| computed.blame(step, from, why))?;
            out.insert(from, value);
        }
        Ok(out)
    }

    /// The share of the group as it is, and its file.
    fn old_share(&mut self, index: u16) -> Result<(SharePublic, ShareSecret), CustodyError> {
        let previous = self.ceremony.opening.previous.as_ref();
        let previous = previous.ok_or_else(|| CustodyError::refused("there is no old group"))?;
        let newer = self.home.shares()?.into_iter().map(|(_, file)| file).find(|file| {
            let public = file.public();
            public.group == previous.id && public.share_epoch > previous.share_epoch
        });
        if let Some(newer) = newer {
            let epoch = newer.public().share_epoch;
            let from = journal::origin_of_share(self.home, previous.id, epoch)?;
            let from = from.map_or_else(String::new, |number| {
                format!(
                    "; if the ceremony it is from came to nothing: seawall group abandon {number}"
                )
            });
            return Err(CustodyError::refused(format!(
                "this home has a share of {} in epoch {epoch}, the ceremony starts from epoch {}: it is an old one{from}",
                previous.id, previous.share_epoch
            )));
        }
        let file = self.home.share(previous.id, previous.share_epoch)?.ok_or_else(|| {
            CustodyError::refused(format!(
                "this home has no share of {} in epoch {}; have it repaired",
                previous.id, previous.share_epoch
            ))
        })?;
        if file.public().index != index {
            let why = "the share's index is not the one the group has for this custodian";
            return Err(CustodyError::refused(why));
        }
        Ok((file.public().clone(), self.home.open_share(&file, self.ask)?))
    }

    /// Writes the share that came out, unless it is there already.
    fn keep(
        &mut self,
        group: &Group,
        share: seawall_escrow::SecretShare,
    ) -> Result<(), CustodyError> {
        let opening = &self.ceremony.opening;
        let previous = opening.previous.as_ref();
        let epoch = previous.map_or(0, |p| p.share_epoch) + u32::from(opening.raises_epoch());
        let key = self.signing()?;
        // A group that is in a fleet stays in it, though the opening may not know.
        let fleets = self.home.fleets()?;
        let known = fleets.iter().find(|f| f.group(group.id()).is_some());
        let public = SharePublic {
            fleet: opening.fleet.or(known.map(Fleet::id)).unwrap_or(NO_FLEET),
            group: group.id(),
            class: group.class().to_owned(),
            index: share.index(),
            threshold: group.threshold(),
            members: group.members().len() as u16,
            share_epoch: epoch,
            custodian: self.home.name().to_owned(),
            signing_key: key.public().to_string(),
        };
        let there = self.home.share(group.id(), epoch)?;
        let path = if let Some(there) = there {
            // A crash came between share and statement; or a repair was not needed.
            let same =
                *self.home.open_share(&there, self.ask)?.share.to_bytes() == *share.to_bytes();
            if !same {
                let from = journal::origin_of_share(self.home, group.id(), epoch)?;
                return Err(CustodyError::refused(format!(
                    "this home holds another share of that group and epoch; if the ceremony it is from came to nothing: seawall group abandon {}",
                    from.as_deref().unwrap_or("NUMBER")
                )));
            }
            self.home.keep_share(&there)?
        } else {
            let secret = ShareSecret { share, signing_seed: key.seed() };
            let file =
                self.home.seal_share(public, &secret, (&mut *self.ask, Ask::New), self.rng)?;
            self.home.keep_share(&file)?
        };
        self.journal.keep_share(&path)?;
        self.share = Some(path);
        Ok(())
    }
}

/// Gives up a ceremony that comes to nothing: its secrets are deleted, the share that came out is
/// set aside. `number` is the beginning of the ceremony's id, with or without spaces.
///
/// Refused where a fleet known here already has the group with that share epoch.
pub fn abandon(home: &CustodianHome, number: &str) -> Result<Abandoned, CustodyError> {
    let _lock = home.lock()?;
    let journal = Journal::of_number(home, number)?;
    let share = journal.share()?;
    let mut aside = None;
    for (name, file) in home.shares()? {
        let path = format!("shares/{name}");
        if share.as_ref() != Some(&path) {
            continue;
        }
        let public = file.public();
        for fleet in home.fleets()? {
            if fleet.group(public.group).is_some_and(|g| g.share_epoch >= public.share_epoch) {
                return Err(CustodyError::refused(format!(
                    "{path} is of a group that is in the policy of fleet {}: that ceremony was not in vain",
                    fleet.id()
                )));
            }
        }
        aside = Some(home.set_share_aside(&path, crate::home::ABANDONED)?);
    }
    journal.abandon()?;
    Ok(Abandoned { ceremony: journal.id().to_owned(), share: aside })
}

/// What was given up.
#[derive(Debug)]
pub struct Abandoned {
    /// The ceremony's id, in hexadecimal.
    pub ceremony: String,
    /// Where its share was set aside below the home, if there was one.
    pub share: Option<String>,
}

/// The group file, once everyone has accepted the same result.
pub fn finish(ceremony: &Ceremony, board: &Board<'_>) -> Result<GroupFile, CustodyError> {
    if let Some(waiting) = board.waiting_for(&CeremonyStep::ALL) {
        return Err(CustodyError::refused(format!("the ceremony is not complete: {waiting}")));
    }
    let computed = Computed { ceremony, board };
    let group = computed.group()?;
    // Signed by nobody: for its digest, which covers what is said and how it is spelt.
    let expected = computed.result(&group)?.statement().sign(&[])?.digest();
    let mut whole: Option<seawall_sign::Envelope> = None;
    for (step, index, accepted) in board.accepted() {
        if accepted.digest() != expected {
            return Err(computed.blame(
                step,
                index,
                "accepted another group than the statements make".to_owned(),
            ));
        }
        whole = Some(match whole {
            None => accepted.clone(),
            Some(so_far) => so_far.and_signatures_of(accepted)?,
        });
    }
    let whole = whole.ok_or_else(|| CustodyError::refused("nobody has accepted"))?;
    Ok(GroupFile::new(ceremony.clone(), board.decisive()?, whole)?)
}
