//! Bringing members into a fleet: a member makes its keys, the operator signs for them.
//!
//! Node: `node keys` writes a card → the operator's `fleet bundle CARD` signs an enrolment and
//! encrypts the tenant's secret to it → `node enroll BUNDLE`. Region: `region init` writes a
//! card → `fleet adopt CARD`. Cards are public; nothing secret travels but the encrypted secret.

use seawall_base::{Clock, Disk as _, FleetId, NodeId, Rng, Timestamp};
use seawall_escrow::OneTimePublic;
use seawall_record::{
    Base64, BundlePredicate, Enrolment, EnrolmentBundle, Fleet, MemberCard, Pin, RecordError,
    RegionAddress, RegionCard, Role,
};
use seawall_sign::{Algorithm, Envelope, StatementKey};
use zeroize::Zeroizing;

use crate::home::{Home, HomeError, file_name};
use crate::keys::{self, Purpose};
use crate::operators;
use crate::root_files::sign_as_root;

/// HPKE `info` of the tenant's secret in a bundle.
const SECRET_INFO: &[u8] = b"seawall 2026-11 tenant secret v1";

/// Enrolments of nodes that were signed here.
const ISSUED: &str = "root/enrolments";
/// Statements about epochs that were signed here.
const EPOCHS: &str = "root/epochs";

/// Makes a member's keys, or finds them, and returns its card.
///
/// `algorithm` is that of the identity key if it is made now. A home that was enrolled keeps the
/// one of its enrolment.
pub fn member_keys(
    home: &Home,
    algorithm: Algorithm,
    rng: &mut dyn Rng,
) -> Result<MemberCard, HomeError> {
    const IDENTITY: &str = "keys/identity.key";
    let disk = home.disk();
    let disk = disk.as_ref();
    let enrolled = home.fleet().and_then(|fleet| home.enrolment(&fleet));
    let algorithm = enrolled.map_or(algorithm, |(it, _)| it.identity.algorithm());
    let identity = if let Some(seed) = keys::read(disk, IDENTITY, Purpose::Identity)? {
        StatementKey::from_seed(algorithm, &seed)
    } else {
        let fresh = StatementKey::generate(algorithm, rng);
        keys::write(disk, IDENTITY, Purpose::Identity, &fresh.seed())?;
        fresh
    };
    let transport = keys::signing_or_new(disk, "keys/transport.key", Purpose::Transport, rng)?;
    let recipient = keys::recipient_or_new(disk, "keys/recipient.key", Purpose::Recipient, rng)?;
    Ok(MemberCard {
        format: MemberCard::FORMAT.to_owned(),
        name: home.name().to_owned(),
        identity: identity.public(),
        transport: transport.public(),
        recipient: Base64(recipient.public().as_bytes().to_vec()),
    })
}

fn sign_enrolment(
    home: &Home,
    fleet: &Fleet,
    card: &MemberCard,
    (tenant, roots): (&str, &[StatementKey]),
    now: Timestamp,
) -> Result<Envelope, HomeError> {
    let enrolment = Enrolment {
        fleet: fleet.id(),
        role: Role::Node,
        name: card.name.clone(),
        epoch: 1,
        identity: card.identity,
        transport: card.transport,
        recipient: Some(card.recipient.clone()),
        tenant: Some(tenant.to_owned()),
        issued: now,
    };
    if fleet.is_revoked(enrolment.node(), enrolment.epoch) {
        return Err(HomeError::refused(format!(
            "the keys of {} were revoked, and no bundle brings them back: it needs new ones (seawall node keys, in a new home), or, if they never left its hands, a new epoch (seawall fleet epoch)",
            enrolment.name
        )));
    }
    // Its log begins with the first enrolment, whichever bundle it is given later.
    for held in kept(home, ISSUED)? {
        let same = |it: &Enrolment| Enrolment { issued: now, ..it.clone() } == enrolment;
        if Enrolment::open(fleet, &held, Role::Node).is_ok_and(|it| same(&it)) {
            return Ok(held);
        }
    }
    let envelope = sign_as_root(roots, |roots| enrolment.statement().sign(roots))?;
    keep_issued(home, fleet, &envelope)?;
    Ok(envelope)
}

/// Keeps an enrolment of a node that enough root keys have signed. One that lacks signatures is
/// nobody's word yet: new root keys must not carry it over.
pub(crate) fn keep_issued(
    home: &Home,
    fleet: &Fleet,
    envelope: &Envelope,
) -> Result<(), HomeError> {
    let (have, need) = fleet.root_signatures(envelope);
    if have < need {
        return Ok(());
    }
    let it = Enrolment::open(fleet, envelope, Role::Node)?;
    keep(home, ISSUED, (it.node(), it.epoch), envelope)
}

fn keep(
    home: &Home,
    dir: &str,
    (node, epoch): (NodeId, u32),
    statement: &Envelope,
) -> Result<(), HomeError> {
    home.disk().create_dir_all(dir).map_err(HomeError::io(dir))?;
    // What was signed twice is two statements, and the member uses one of them.
    let digest = &statement.digest().to_hex()[..16];
    home.write_envelope(&format!("{dir}/{}-{epoch}-{digest}.json", node.to_hex()), statement)
}

/// Keeps what the root keys of this home signed for a node's next epoch: the log that is continued
/// by it ends with it, if new root keys ever forget to carry it over.
pub(crate) fn keep_epoch(
    home: &Home,
    of: (NodeId, u32),
    [enrolment, epoch]: [&Envelope; 2],
) -> Result<(), HomeError> {
    keep(home, ISSUED, of, enrolment)?;
    keep(home, EPOCHS, of, epoch)
}

/// The enrolments signed in this home, and those of the regions it knows: what new root keys
/// have to carry over.
pub(crate) fn issued(home: &Home, fleet: &Fleet) -> Result<Vec<Envelope>, HomeError> {
    let mut out = kept(home, ISSUED)?;
    out.push(home.enrolment(fleet)?.1);
    for (region, _) in home.regions(fleet)? {
        out.push(Envelope::parse(region.enrolment.get().as_bytes())?);
    }
    Ok(out)
}

/// The statements about epochs that were signed in this home.
pub(crate) fn issued_epochs(home: &Home) -> Result<Vec<Envelope>, HomeError> {
    kept(home, EPOCHS)
}

fn kept(home: &Home, dir: &str) -> Result<Vec<Envelope>, HomeError> {
    let names = home.disk().list(dir).map_err(HomeError::io(dir))?;
    let statements = names.iter().filter(|name| name.ends_with(".json"));
    statements.map(|name| home.read_envelope(&format!("{dir}/{name}"))).collect()
}

/// Enrols the node of the very home that holds the root key.
pub(crate) fn enrol_here(
    home: &Home,
    fleet: &Fleet,
    card: &MemberCard,
    as_root: (&str, &[StatementKey]),
    clock: &dyn Clock,
) -> Result<(), HomeError> {
    let envelope = sign_enrolment(home, fleet, card, as_root, clock.now())?;
    Enrolment::open(fleet, &envelope, Role::Node)?;
    home.write_envelope("enrolment.json", &envelope)
}

/// Signs an enrolment for a node with `roots`, and makes the bundle that its `node enroll` takes.
/// With fewer of them than it takes, others sign it as well ([`crate::RootFile`]).
pub fn enrolment_bundle(
    home: &Home,
    card: &MemberCard,
    roots: &[StatementKey],
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<EnrolmentBundle, HomeError> {
    let fleet = home.fleet()?;
    let (own, _) = home.enrolment(&fleet)?;
    let tenant = own.tenant.ok_or_else(|| HomeError::refused("this node has no tenant"))?;
    let regions: Vec<RegionAddress> =
        home.regions(&fleet)?.into_iter().map(|(address, _)| address).collect();
    let secret = keys::read(home.disk().as_ref(), "keys/tenant.key", Purpose::Tenant)?
        .ok_or_else(|| HomeError::Missing("keys/tenant.key".to_owned()))?;
    let policy = operators::policy(home, &fleet)?.map(|(_, statement)| statement);
    let given = Given { tenant: &tenant, secret: &secret, regions, policy };
    bundle(home, &fleet, card, given, roots, (clock, rng))
}

/// What a new member is given.
struct Given<'a> {
    tenant: &'a str,
    secret: &'a [u8; 32],
    regions: Vec<RegionAddress>,
    policy: Option<Envelope>,
}

/// A bundle for a node of a fleet that has lost all others: with a tenant's secret of its own, and
/// no regions.
pub(crate) fn first_bundle(
    home: &Home,
    fleet: &Fleet,
    card: &MemberCard,
    as_root: (&str, &[StatementKey]),
    (clock, rng): (&dyn Clock, &mut dyn Rng),
) -> Result<EnrolmentBundle, HomeError> {
    let mut secret = Zeroizing::new([0; 32]);
    rng.fill(&mut *secret);
    let (tenant, roots) = as_root;
    let given = Given { tenant, secret: &secret, regions: Vec::new(), policy: None };
    bundle(home, fleet, card, given, roots, (clock, rng))
}

fn bundle(
    home: &Home,
    fleet: &Fleet,
    card: &MemberCard,
    Given { tenant, secret, regions, policy }: Given<'_>,
    roots: &[StatementKey],
    (clock, rng): (&dyn Clock, &mut dyn Rng),
) -> Result<EnrolmentBundle, HomeError> {
    let enrolment = sign_enrolment(home, fleet, card, (tenant, roots), clock.now())?;
    let recipient = OneTimePublic::from_bytes(&card.recipient.0)?;
    let member = enrolment.digest();
    let sealed = recipient.seal(SECRET_INFO, &member.0, secret, rng)?;
    let listed = regions
        .iter()
        .map(|r| Ok((r.address.clone(), EnrolmentBundle::region_digest(r)?)))
        .collect::<Result<_, RecordError>>()?;
    let heart = BundlePredicate {
        fleet: fleet.id(),
        member,
        regions: listed,
        sealed_secrets: Base64(sealed),
        created: clock.now(),
        index_policy: policy.as_ref().map(Envelope::digest),
    };
    let heart = sign_as_root(roots, |roots| heart.statement().sign(roots))?;
    let mut bundle = EnrolmentBundle::new(fleet, &enrolment, regions, &heart);
    if let Some(policy) = &policy {
        bundle = bundle.with_index_policy(policy);
    }
    Ok(bundle)
}

/// Takes a bundle into a home whose keys it was made for. Run again with a newer bundle to
/// learn of new regions.
pub fn enroll(
    home: &Home,
    bundle: &[u8],
    pinned: Option<FleetId>,
) -> Result<(Fleet, Enrolment), HomeError> {
    let disk = home.disk();
    let known = match home.read("fleet/genesis.json")? {
        Some(_) => Some(home.fleet()?),
        None => None,
    };
    let pin = known.as_ref().map(Pin::Known).or(pinned.map(Pin::Id));
    let opened = EnrolmentBundle::open(bundle, pin)?;
    if let Some(pinned) = pinned.filter(|p| *p != opened.fleet.id()) {
        let why = format!("the bundle is of {}, not of {pinned}", opened.fleet.id());
        return Err(HomeError::refused(why));
    }
    if let Some((policy, _)) = &opened.index_policy {
        operators::check_newer(home, &opened.fleet, policy)?;
    }
    home.identity(&opened.enrolment).map_err(|_| {
        HomeError::refused(
            "the bundle was made for another node's keys; give the operator this node's card",
        )
    })?;
    let recipient = keys::read(disk.as_ref(), "keys/recipient.key", Purpose::Recipient)?
        .ok_or_else(|| HomeError::Missing("keys/recipient.key".to_owned()))?;
    let recipient = seawall_escrow::OneTimeSecret::from_bytes(&recipient);
    let aad = opened.enrolment_envelope.digest();
    let plain = recipient.open(SECRET_INFO, &aad.0, &opened.sealed_secrets)?;
    let mut secret = Zeroizing::new([0; 32]);
    if plain.len() != 32 {
        return Err(HomeError::refused("the bundle's secret does not have 32 bytes"));
    }
    secret.copy_from_slice(&plain);
    keys::write(disk.as_ref(), "keys/tenant.key", Purpose::Tenant, &secret)?;
    for region in &opened.regions {
        home.keep_region(&region.open(&opened.fleet)?.name, region)?;
    }
    if let Some((_, policy)) = &opened.index_policy {
        home.write_envelope(operators::POLICY, policy)?;
    }
    // A log begins with the enrolment it was begun under; that one stays.
    if home.read("enrolment.json")?.is_none() {
        home.write_envelope("enrolment.json", &opened.enrolment_envelope)?;
    }
    home.keep_fleet(&opened.fleet)?;
    disk.sync_dir("").map_err(HomeError::io("."))?;
    Ok((opened.fleet, opened.enrolment))
}

/// Signs for a region with `roots`.
pub fn sign_region(
    home: &Home,
    card: &RegionCard,
    roots: &[StatementKey],
    clock: &dyn Clock,
) -> Result<RegionAddress, HomeError> {
    card.check_name()?;
    let fleet = home.fleet()?;
    let enrolment = Enrolment {
        fleet: fleet.id(),
        role: Role::Region,
        name: card.name.clone(),
        epoch: 1,
        identity: card.identity,
        transport: card.transport,
        recipient: None,
        tenant: None,
        issued: clock.now(),
    };
    let envelope = sign_as_root(roots, |roots| enrolment.statement().sign(roots))?;
    Ok(RegionAddress::new(&card.address, &envelope))
}

/// The region whose place another would take, having the same name here and another key. One whose
/// enrolment does not hold has no place.
pub fn replaced_region(
    home: &Home,
    address: &RegionAddress,
) -> Result<Option<(RegionAddress, Enrolment)>, HomeError> {
    let fleet = home.fleet()?;
    let it = address.open(&fleet)?;
    let mut known = home.known_regions(&fleet)?.0.into_iter();
    Ok(known.find(|(_, known)| {
        file_name(&known.name) == file_name(&it.name) && known.identity != it.identity
    }))
}

/// Keeps the address of a region that enough root keys have signed for.
pub fn adopt_region(home: &Home, address: &RegionAddress) -> Result<Enrolment, HomeError> {
    let fleet = home.fleet()?;
    let enrolment = address.open(&fleet)?;
    home.keep_region(&enrolment.name, address)?;
    Ok(enrolment)
}
