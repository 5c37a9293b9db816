//! Everything within reach that may hold an object, and a snapshot opened over it.
//!
//! [`Layered`] borrows its tiers, which suits one command that restores; a mounted snapshot
//! outlives the function that opened it and is read by several threads, so here the tiers have
//! one owner.

use std::sync::Arc;

use seawall_backup::browse::View;
use seawall_backup::restore::{FetchError, Objects};
use seawall_base::ObjectId;
use seawall_store::Store;

use crate::bucket::Bucket;
use crate::home::{Home, HomeError};
use crate::opening::Opened;
use crate::tiers::{Layered, RegionLink, Unreached};

/// This node's store, the regions and the bucket behind it.
pub struct Reach {
    store: Store,
    regions: Vec<RegionLink>,
    bucket: Option<Bucket>,
}

impl Reach {
    /// The store alone: nothing far away is asked.
    pub fn local(home: &Home) -> Result<Self, HomeError> {
        let (store, _) = home.store()?;
        Ok(Self { store, regions: Vec::new(), bucket: None })
    }

    /// Opens what can be opened. What cannot be reached is returned with the reason.
    pub fn open(home: &Home) -> Result<(Self, Unreached), HomeError> {
        let fleet = home.fleet()?;
        let (store, _) = home.store()?;
        let (regions, mut unreached) = RegionLink::all(home, &fleet)?;
        let bucket = match home.bucket().map(Bucket::open).transpose() {
            Ok(bucket) => bucket,
            Err(e) => {
                unreached.push(("bucket".to_owned(), e.into()));
                None
            }
        };
        Ok((Self { store, regions, bucket }, unreached))
    }
}

impl Objects for Reach {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        let regions = self.regions.iter().map(|l| l as &dyn Objects);
        let behind = regions.chain(self.bucket.as_ref().map(|b| b as &dyn Objects)).collect();
        Layered { store: &self.store, behind }.get(ids, give);
    }
}

/// Opens a snapshot that a quorum has opened, for looking into it.
pub fn view(reach: &Arc<Reach>, opened: &Opened) -> Result<View, HomeError> {
    let signed = &opened.examined.dossier.manifest.core;
    View::open(reach.clone(), &opened.root, signed)
        .map_err(|e| HomeError::refused(format!("the snapshot's root: {e}")))
}
