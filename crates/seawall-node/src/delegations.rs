//! Tokens of this node's own issue, under delegations its regions gave it.
//!
//! A sync asks each region for a delegation and keeps it for days. With one in hand the node signs
//! its tokens for storing, syncing and reading itself: at every region of the fleet, also while the
//! one that delegated is away, and without a round trip. Nothing depends on it: where such a token
//! is refused, or no delegation is left, the client asks the region as it would have without.

use seawall_base::{Clock, Disk as _, Rng, Timestamp, read_file, write_atomic};
use seawall_record::{Delegation, Enrolment, Fleet, RegionAddress, Role};
use seawall_sign::SigningKey;
use seawall_sync::message::{MAX_DELEGATION, ShownDelegation};

use crate::home::{Home, HomeError, file_name};
use crate::keys::{self, Purpose};
use crate::region_client::{Issuer, RegionClient};

const DIR: &str = "delegations";
const KEY: &str = "keys/token.key";

fn path_of(region: &Enrolment) -> String {
    format!("{DIR}/{}.json", file_name(&region.name))
}

impl Home {
    /// What this node may issue itself: its key and the delegations that hold at `now`. One that
    /// is damaged, or no longer believed, is passed over: the region is asked instead.
    pub(crate) fn issuer(
        &self,
        fleet: &Fleet,
        now: Timestamp,
    ) -> Result<Option<Issuer>, HomeError> {
        let disk = self.disk();
        // Nothing hangs on it: what cannot be read is made anew by the next sync.
        let seed = match keys::read(disk.as_ref(), KEY, Purpose::Token) {
            Err(HomeError::Damaged { .. }) => None,
            seed => seed?,
        };
        let Some(seed) = seed else { return Ok(None) };
        let mut issuer = Issuer::new(SigningKey::from_seed(&seed), fleet.id());
        for name in disk.list(DIR).map_err(HomeError::io(DIR))? {
            let path = format!("{DIR}/{name}");
            let Some(json) =
                read_file(disk.as_ref(), &path, MAX_DELEGATION).map_err(HomeError::io(&path))?
            else {
                continue;
            };
            match believed(fleet, &json) {
                Ok((shown, delegation)) if delegation.not_after > now => {
                    issuer.add(delegation, &shown);
                }
                Ok(_) => {}
                Err(e) => tracing::warn!(path, error = %e, "a delegation is passed over"),
            }
        }
        Ok(Some(issuer))
    }

    /// Asks a region for a delegation where the one from it is more than half over.
    pub(crate) fn renew_delegation(
        &self,
        fleet: &Fleet,
        (address, region): (&RegionAddress, &Enrolment),
        tier: &RegionClient,
        clock: &dyn Clock,
        rng: &mut dyn Rng,
    ) -> Result<(), HomeError> {
        let (disk, path) = (self.disk(), path_of(region));
        let json = read_file(disk.as_ref(), &path, MAX_DELEGATION).map_err(HomeError::io(&path))?;
        let key = token_key(self, rng)?;
        let held = json.and_then(|json| believed(fleet, &json).ok()).map(|(_, it)| it);
        if held.is_some_and(|it| it.key == key.public() && is_fresh(&it, clock.now())) {
            return Ok(());
        }
        let delegation = tier.delegate(key.public())?;
        let it = Delegation::open(region, &delegation)?;
        let shown = ShownDelegation::new(&address.envelope()?, &delegation);
        tracing::debug!(region = region.name, until = %it.not_after, "a delegation was given");
        disk.create_dir_all(DIR).map_err(HomeError::io(DIR))?;
        let json = serde_json::to_vec(&shown).expect("envelopes always serialise");
        write_atomic(disk.as_ref(), &path, &json).map_err(HomeError::io(&path))
    }
}

/// The key of this node's own tokens. One that is damaged is replaced: regions delegate to any.
fn token_key(home: &Home, rng: &mut dyn Rng) -> Result<SigningKey, HomeError> {
    let disk = home.disk();
    let made = keys::signing_or_new(disk.as_ref(), KEY, Purpose::Token, rng);
    let Err(HomeError::Damaged { why, .. }) = made else { return made };
    tracing::warn!("{KEY} is damaged ({why}) and is made anew");
    disk.remove(KEY).map_err(HomeError::io(KEY))?;
    keys::signing_or_new(disk.as_ref(), KEY, Purpose::Token, rng)
}

fn believed(fleet: &Fleet, json: &[u8]) -> Result<(ShownDelegation, Delegation), HomeError> {
    let shown: ShownDelegation =
        serde_json::from_slice(json).map_err(|e| HomeError::damaged(DIR, e.to_string()))?;
    let (region, delegation) = shown.envelopes()?;
    let region = Enrolment::open(fleet, &region, Role::Region)?;
    let delegation = Delegation::open(&region, &delegation)?;
    Ok((shown, delegation))
}

fn is_fresh(it: &Delegation, now: Timestamp) -> bool {
    let whole = it.not_after.0.saturating_sub(it.not_before.0);
    (it.not_before..=it.not_after).contains(&now) && it.not_after.0 - now.0 > whole / 2
}
