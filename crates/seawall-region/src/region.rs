//! A region without a network: fleets, members, tenants' stores, mirrored logs.
//!
//! Locks are taken in one order: members, tenants, logs (the map), one log. None is held while
//! another member's slow disk operation runs, except the lock of one and the same log.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use seawall_base::{Clock, Disk, FleetId, Rng, Sha256, TenantId, read_file};
use seawall_host::{FsDisk, SystemClock};
use seawall_record::{Fleet, PolicyChain, RegionCard};
use seawall_sign::{Envelope, VerifyingKey};
use seawall_store::{Options, Store};
use seawall_sync::{Leases, MAX_LEASED_IDS, MAX_LEASES, TierIdentity};
use seawall_tlog::Cosigner;

use crate::home::{self, Config, Keys};
use crate::logs::LogSlot;
use crate::tokens::ledger::Ledger;
use crate::{Member, Refusal, RegionError};

/// Largest file of leases in bytes.
const MAX_LEASE_FILE: usize = 12 + MAX_LEASES * 44 + MAX_LEASED_IDS * 32;

pub(crate) const UNPOISONED: &str = "no code that holds a lock of the region panics";

/// An open region.
pub struct Region {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    fleets: RwLock<BTreeMap<FleetId, Fleet>>,
    members: RwLock<BTreeMap<VerifyingKey, Arc<Member>>>,
    tenants: Mutex<BTreeMap<TenantId, Arc<Tenant>>>,
    pub(crate) logs: Mutex<BTreeMap<Sha256, Arc<LogSlot>>>,
    /// Locked for itself, while nothing else is.
    pub(crate) tokens: Mutex<Ledger>,
    /// Held, not used: dropping it releases the home.
    lock: Option<File>,
}

/// One tenant's objects.
pub(crate) struct Tenant {
    pub(crate) store: Store,
    pub(crate) leases: Mutex<Leases>,
    pub(crate) lease_path: String,
}

impl Region {
    /// Opens the region in `home` and keeps it locked until dropped.
    pub fn open(home: &Path) -> Result<Self, RegionError> {
        let shown = home.display().to_string();
        if !home.join("region.json").is_file() {
            return Err(RegionError::Damaged {
                path: shown,
                why: "no region was made here; make one with `init`".to_owned(),
            });
        }
        let lock = home::lock(home)?;
        let disk = FsDisk::create(home).map_err(RegionError::io(format!("opening {shown}")))?;
        let mut region = Self::open_on(Arc::new(disk), Arc::new(SystemClock))?;
        region.lock = Some(lock);
        Ok(region)
    }

    /// Opens the region on any disk. One process at a time may have it open.
    pub fn open_on(disk: Arc<dyn Disk>, clock: Arc<dyn Clock>) -> Result<Self, RegionError> {
        let (config, keys) = home::read(disk.as_ref())?;
        let tokens = Mutex::new(Ledger::open(disk.clone(), clock.now())?);
        let region = Self {
            tokens,
            disk,
            clock,
            config,
            keys,
            fleets: RwLock::default(),
            members: RwLock::default(),
            tenants: Mutex::default(),
            logs: Mutex::default(),
            lock: None,
        };
        region.load()?;
        Ok(region)
    }

    /// Makes a region on any disk; see [`crate::init`].
    pub fn init_on(
        disk: &dyn Disk,
        listen: &str,
        name: &str,
        fleets: &[Fleet],
        rng: &mut dyn Rng,
        clock: &dyn Clock,
    ) -> Result<RegionCard, RegionError> {
        home::init_on(disk, listen, name, fleets, rng, clock)
    }

    fn load(&self) -> Result<(), RegionError> {
        let list =
            |dir: &str| self.disk.list(dir).map_err(RegionError::io(format!("listing {dir}")));
        for name in list("fleets")? {
            let path = format!("fleets/{name}/genesis.json");
            let damaged = |why: String| RegionError::Damaged { path: path.clone(), why };
            let id = FleetId::from_hex(&name).map_err(|e| damaged(e.to_string()))?;
            // A fleet whose directory was made and whose genesis was not was never acknowledged.
            let Some(bytes) = read_file(self.disk.as_ref(), &path, home::MAX_FILE)
                .map_err(RegionError::io(format!("reading {path}")))?
            else {
                continue;
            };
            let envelope = Envelope::parse(&bytes).map_err(|e| damaged(e.to_string()))?;
            let policies = home::read_policies(self.disk.as_ref(), id)?;
            let fleet =
                Fleet::open_chain(envelope, policies, id).map_err(|e| damaged(e.to_string()))?;
            self.load_members(&fleet)?;
            self.load_logs(&fleet)?;
            self.fleets_mut().insert(id, fleet);
        }
        Ok(())
    }

    /// Hosts a fleet from now on, or learns of its newer policies. True if anything is new.
    ///
    /// Policies are durable before they are acted on. Members they revoke, and members whose
    /// enrolment they no longer carry, are none from here on; logs are judged anew at their next
    /// use.
    pub fn add_fleet(&self, fleet: Fleet) -> Result<bool, RegionError> {
        let mut fleets = self.fleets_mut();
        let known = fleets.get(&fleet.id());
        let newest = match known {
            Some(known) => known.newest(fleet)?,
            None => fleet,
        };
        if known.is_some_and(|known| known.version() == newest.version()) {
            return Ok(false);
        }
        home::write_fleet(self.disk.as_ref(), &newest)?;
        let id = newest.id();
        fleets.insert(id, newest.clone());
        drop(fleets);
        self.members_mut().retain(|_, member| member.fleet.id() != id);
        self.load_members(&newest)?;
        Ok(true)
    }

    /// Takes newer policies that somebody shows, whoever it is: root keys have signed them. A
    /// member is shown the policies held here.
    pub fn exchange_policies(&self, peer: &VerifyingKey, body: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (id, policies) = PolicyChain::parse(body).map_err(|e| {
            Refusal::new(400, format!("malformed: {e}"), "use a matching version of seawall")
        })?;
        let known = self.fleet(id).ok_or_else(|| {
            Refusal::forbidden(
                format!("{id} is not hosted here"),
                "ask the region's operator to add the fleet's card",
            )
        })?;
        let newest = self.learn_policies(&known, policies)?;
        let is_member = self.member(peer).is_some_and(|m| m.fleet.id() == id);
        Ok(if is_member { PolicyChain::of(&newest).to_json() } else { b"{}".to_vec() })
    }

    /// Takes policies of a fleet that is `known` so far; the fleet as it is then known.
    pub(crate) fn learn_policies(
        &self,
        known: &Fleet,
        policies: Vec<Envelope>,
    ) -> Result<Fleet, Refusal> {
        let newest = Fleet::open_chain(known.envelope().clone(), policies, known).map_err(|e| {
            Refusal::new(422, format!("policies not taken: {e}"), "show this fleet's own policies")
        })?;
        if newest.version() > known.version() {
            let (fleet, version) = (newest.id(), newest.version());
            self.add_fleet(newest.clone())?;
            tracing::info!(%fleet, version, "a newer policy of the fleet holds");
        }
        Ok(newest)
    }

    /// The fleets it hosts.
    pub fn fleet_ids(&self) -> Vec<FleetId> {
        self.fleets().keys().copied().collect()
    }

    /// Its configuration.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Its card.
    pub fn card(&self) -> RegionCard {
        RegionCard {
            format: RegionCard::FORMAT.to_owned(),
            name: self.config.name.clone(),
            address: self.config.listen.clone(),
            identity: self.keys.identity.public(),
            transport: self.keys.transport.public(),
        }
    }

    /// Who it is, for anyone who asks.
    pub fn identity(&self) -> TierIdentity {
        TierIdentity {
            name: self.config.name.clone(),
            identity: self.keys.identity.public(),
            incarnation: self.config.incarnation,
        }
    }

    /// Mirror cosignatures are made with the identity key: what it signs otherwise are DSSE
    /// envelopes, whose encoding begins differently.
    pub(crate) fn cosigner(&self) -> Cosigner<'_> {
        Cosigner { name: &self.config.name, key: &self.keys.identity }
    }

    /// The member with this transport key.
    pub fn member(&self, transport: &VerifyingKey) -> Option<Arc<Member>> {
        self.members().get(transport).cloned()
    }

    pub(crate) fn fleet(&self, id: FleetId) -> Option<Fleet> {
        self.fleets().get(&id).cloned()
    }

    /// A fleet that a log or member here is of.
    pub(crate) fn hosted(&self, id: FleetId) -> Result<Fleet, RegionError> {
        self.fleet(id).ok_or_else(|| RegionError::Damaged {
            path: format!("fleets/{}", id.to_hex()),
            why: "the fleet of a log is not hosted".to_owned(),
        })
    }

    pub(crate) fn fleets(&self) -> RwLockReadGuard<'_, BTreeMap<FleetId, Fleet>> {
        self.fleets.read().expect(UNPOISONED)
    }

    fn fleets_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<FleetId, Fleet>> {
        self.fleets.write().expect(UNPOISONED)
    }

    pub(crate) fn members(&self) -> RwLockReadGuard<'_, BTreeMap<VerifyingKey, Arc<Member>>> {
        self.members.read().expect(UNPOISONED)
    }

    pub(crate) fn members_mut(&self) -> RwLockWriteGuard<'_, BTreeMap<VerifyingKey, Arc<Member>>> {
        self.members.write().expect(UNPOISONED)
    }

    fn tenants(&self) -> MutexGuard<'_, BTreeMap<TenantId, Arc<Tenant>>> {
        self.tenants.lock().expect(UNPOISONED)
    }

    /// A tenant's objects, opened at first use.
    pub(crate) fn tenant(&self, id: TenantId) -> Result<Arc<Tenant>, RegionError> {
        let mut tenants = self.tenants();
        if let Some(tenant) = tenants.get(&id) {
            return Ok(tenant.clone());
        }
        let tenant = Arc::new(self.open_tenant(id)?);
        tenants.insert(id, tenant.clone());
        Ok(tenant)
    }

    /// Forgets the store `poisoned`, so that the next use opens it again. Whoever still holds it
    /// can only read, so there are never two writers; a store that somebody else has opened in
    /// its place already is left alone.
    pub(crate) fn forget_tenant(&self, id: TenantId, poisoned: &Arc<Tenant>) {
        let mut tenants = self.tenants();
        if tenants.get(&id).is_some_and(|open| Arc::ptr_eq(open, poisoned)) {
            tenants.remove(&id);
        }
    }

    fn open_tenant(&self, id: TenantId) -> Result<Tenant, RegionError> {
        let dir = format!("tenants/{}", id.to_hex());
        let lease_path = format!("{dir}/leases");
        self.disk.create_dir_all(&dir).map_err(RegionError::io(format!("creating {dir}")))?;
        for dir in ["tenants", ""] {
            self.disk.sync_dir(dir).map_err(RegionError::io("syncing the tenants"))?;
        }
        let options = Options { salt: self.keys.salt, ..Options::default() };
        let (store, report) = Store::open(self.disk.clone(), &dir, options)?;
        for damage in &report.damage {
            tracing::warn!(tenant = %id, %damage, "damage found while opening");
        }
        let leases = read_file(self.disk.as_ref(), &lease_path, MAX_LEASE_FILE)
            .map_err(RegionError::io(format!("reading {lease_path}")))?;
        let leases = match leases {
            None => Leases::default(),
            Some(bytes) => Leases::decode(&bytes).map_err(|e| RegionError::Damaged {
                path: lease_path.clone(),
                why: e.to_string(),
            })?,
        };
        Ok(Tenant { store, leases: Mutex::new(leases), lease_path })
    }

    /// The tenants that have objects on disk.
    pub(crate) fn tenant_ids(&self) -> Result<Vec<TenantId>, RegionError> {
        let names = self.disk.list("tenants").map_err(RegionError::io("listing tenants"))?;
        let parse = |name: &String| {
            TenantId::from_hex(name).map_err(|e| RegionError::Damaged {
                path: format!("tenants/{name}"),
                why: e.to_string(),
            })
        };
        names.iter().map(parse).collect()
    }

    /// Makes everything durable and closes the stores: the end of a graceful shutdown.
    pub fn close(&self) -> Result<(), RegionError> {
        let tenants = std::mem::take(&mut *self.tenants());
        for tenant in tenants.values() {
            tenant.store.flush()?;
        }
        self.logs.lock().expect(UNPOISONED).values().for_each(|slot| slot.close());
        Ok(())
    }
}
