//! How many names each thing of a snapshot has.
//!
//! An entry does not say: a further name points to the first, and nothing points back. Whoever
//! shows link counts (a mounted file system must, or programs copy hard links as files of their
//! own) reads every directory once. No file is opened.

use std::collections::HashMap;

use seawall_record::Totals;

use super::{Listing, View, ViewError};
use crate::entry::EntryKind;

/// First names, each with the number of all names of what it names, where that is above one.
pub type Names = HashMap<Vec<Vec<u8>>, u32>;

impl View {
    /// Counts names. `progress` is told how many entries have been seen. Directories that cannot
    /// be read are passed over: what is in them cannot be opened either.
    pub fn names(&self, progress: &mut dyn FnMut(u64)) -> Result<Names, ViewError> {
        let signed = self.signed().totals;
        let mut names = Names::new();
        let mut met = Totals::default();
        let EntryKind::Directory { listing } = &self.top().kind else {
            unreachable!("the top is a directory")
        };
        let mut open = vec![Listing::new(listing)];
        while let Some(listing) = open.last_mut() {
            let entry = match listing.next(self) {
                None => {
                    open.pop();
                    continue;
                }
                Some(Err(e)) if e.is_forgery() => return Err(e),
                Some(Err(_)) => continue,
                Some(Ok(entry)) => entry,
            };
            let (what, counter, signed) = match &entry.kind {
                EntryKind::Directory { .. } => {
                    ("directories", &mut met.directories, signed.directories)
                }
                EntryKind::File { .. } => ("files", &mut met.files, signed.files),
                _ => ("links and special files", &mut met.others, signed.others),
            };
            *counter += 1;
            if *counter > signed {
                return Err(ViewError::AboveTotals { what, signed });
            }
            match &entry.kind {
                EntryKind::Directory { listing } => open.push(Listing::new(listing)),
                EntryKind::HardLink { target } => {
                    let count = names.entry(target.clone()).or_insert(1);
                    *count = count.saturating_add(1);
                }
                _ => {}
            }
            progress(met.files + met.directories + met.others);
        }
        Ok(names)
    }
}
