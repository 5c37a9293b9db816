//! Everything within reach that may hold an object, and a snapshot opened over it.
//!
//! [`Layered`] borrows its tiers, which suits one command that restores; a mounted snapshot
//! outlives the function that opened it and is read by several threads, so here the tiers have
//! one owner.

use std::sync::Arc;

use seawall_backup::browse::View;
use seawall_backup::restore::{FetchError, Objects};
use seawall_base::ObjectId;
use seawall_record::reference_set::Pages;
use seawall_store::Store;

use crate::bucket::Bucket;
use crate::home::{Home, HomeError};
use crate::opening::Opened;
use crate::tiers::{Layered, RegionLink, Unreached, page_of};

/// This node's store, the regions and the bucket behind it.
pub struct Reach {
    /// None where it is left out on purpose.
    store: Option<Store>,
    regions: Vec<RegionLink>,
    bucket: Option<Bucket>,
}

impl Reach {
    /// The store alone: nothing far away is asked.
    pub fn local(home: &Home) -> Result<Self, HomeError> {
        let (store, _) = home.store()?;
        Ok(Self { store: Some(store), regions: Vec::new(), bucket: None })
    }

    /// Opens what can be opened. What cannot be reached is returned with the reason.
    pub fn open(home: &Home) -> Result<(Self, Unreached), HomeError> {
        let (mut reach, unreached) = Self::elsewhere(home)?;
        reach.store = Some(home.store()?.0);
        Ok((reach, unreached))
    }

    /// As [`Reach::open`], without this node's own store: what is there if this machine is not.
    pub fn elsewhere(home: &Home) -> Result<(Self, Unreached), HomeError> {
        let fleet = home.fleet()?;
        let (regions, mut unreached) = RegionLink::all(home, &fleet)?;
        let bucket = match Bucket::of(home) {
            Ok(bucket) => bucket,
            Err(e) => {
                unreached.push(("bucket".to_owned(), e));
                None
            }
        };
        Ok((Self { store: None, regions, bucket }, unreached))
    }

    /// Where objects come from, by name.
    pub fn names(&self) -> Vec<String> {
        let own = self.store.iter().map(|_| "this node".to_owned());
        let regions = self.regions.iter().map(|l| l.region.name.clone());
        own.chain(regions).chain(self.bucket.iter().map(|_| "the bucket".to_owned())).collect()
    }
}

impl Objects for Reach {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        let regions = self.regions.iter().map(|l| l as &dyn Objects);
        let behind = regions.chain(self.bucket.as_ref().map(|b| b as &dyn Objects)).collect();
        let store = self.store.as_ref().map_or(&Nothing as &dyn Objects, |store| store);
        Layered { store, behind }.get(ids, give);
    }
}

impl Pages for Reach {
    fn page(&self, id: ObjectId) -> Result<Option<Vec<u8>>, String> {
        page_of(self, id)
    }
}

/// A store that was left out.
struct Nothing;

impl Objects for Nothing {
    fn get(&self, ids: &[ObjectId], give: &mut dyn FnMut(ObjectId, Result<Vec<u8>, FetchError>)) {
        for id in ids {
            give(*id, Err(FetchError::Missing(*id)));
        }
    }
}

/// Opens a snapshot that a quorum has opened, for looking into it.
pub fn view(reach: &Arc<Reach>, opened: &Opened) -> Result<View, HomeError> {
    let signed = &opened.examined.dossier.manifest.core;
    View::open(reach.clone(), &opened.root, signed)
        .map_err(|e| HomeError::refused(format!("the snapshot's root: {e}")))
}
