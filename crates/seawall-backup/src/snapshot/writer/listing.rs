//! The pages of a complete directory, in the tree and in the path index.
//!
//! Each is taken from the last run if it is as it was there and the store still has its pages.
//! The two are judged apart: an index may be turned on for a tree that did not change.

use seawall_seal::Kind;

use super::super::SnapshotError;
use super::super::directory::{Dir, Known, Listed};
use super::super::file_cache::CachedDir;
use super::{TreeWriter, seal_page};
use crate::entry::List;
use crate::pages::ListWriter;
use crate::path_index::Indexed;

impl TreeWriter<'_, '_> {
    /// Writes the pages of a complete directory, unless they are those of the last run.
    pub(super) fn listing(&mut self, dir: &Dir) -> Result<(List, Option<Indexed>), SnapshotError> {
        let known = dir.sorted();
        for entry in &known {
            self.count(dir, entry);
        }
        let cached = dir.unchanged(&known).cloned();
        let tree = self.tree_pages(&known, cached.as_deref())?;
        let index = self.index_pages(&known, cached.as_deref())?;
        if let Some(cache) = &mut self.cache {
            let is_same = tree.is_cached
                && index.as_ref().is_none_or(|index| index.is_cached)
                && known.iter().all(Known::is_in_cache);
            match cached.as_ref().and_then(|c| c.whole()).filter(|_| is_same) {
                Some(frame) => cache.put_same(&dir.key, frame),
                None => cache.put(&dir.key, &dir.frame(&known, &tree, index.as_ref()), false),
            }
        }
        self.members.extend(tree.pages);
        let indexed = index.map(|index| {
            self.members.extend(index.pages);
            index.list
        });
        Ok((tree.list, indexed))
    }

    /// The pages of a directory in the tree; those of `cached`, which is equal, if they are there.
    fn tree_pages(
        &mut self,
        known: &[Known<'_>],
        cached: Option<&CachedDir>,
    ) -> Result<Listed<List>, SnapshotError> {
        if let Some(cached) = cached.filter(|c| c.list_members().all(|m| self.holds(m))) {
            let list = cached.listing.clone().expect("only a whole directory is unchanged");
            return Ok(Listed { list, pages: cached.list_members().collect(), is_cached: true });
        }
        let mut pages = Vec::new();
        let mut seal = |page: &[u8]| seal_page(self.sealer, Kind::Directory, page, &mut pages);
        let mut list = ListWriter::new(&self.secret);
        for entry in known {
            list.push(entry.record, &mut seal)?;
        }
        let list = list.finish(&mut seal)?;
        Ok(Listed { list, pages, is_cached: false })
    }

    /// The same in the path index, if there is one. An equal directory has an equal listing there
    /// only if those of the directories in it are as they were.
    fn index_pages(
        &mut self,
        known: &[Known<'_>],
        cached: Option<&CachedDir>,
    ) -> Result<Option<Listed<Indexed>>, SnapshotError> {
        if self.index.is_none() {
            return Ok(None);
        }
        let below = known.iter().filter_map(|k| k.indexed().map(|i| &i.fingerprint));
        let below = Indexed::below(below);
        if let Some(cached) = cached
            && let Some(indexed) = cached.indexed.as_ref().filter(|i| i.below == below)
            && cached.index_members().all(|m| self.holds(m))
        {
            let (list, pages) = (indexed.clone(), cached.index_members().collect());
            return Ok(Some(Listed { list, pages, is_cached: true }));
        }
        let mut entries = Vec::with_capacity(known.len());
        for entry in known {
            let path = entry.path();
            let named = |source| SnapshotError::Record { name: entry.name.to_vec(), source };
            entries.push(path.map_err(named)?);
        }
        let writer = self.index.as_ref().expect("just seen");
        let mut pages = Vec::new();
        let mut seal = |page: &[u8]| seal_page(self.sealer, Kind::PathIndex, page, &mut pages);
        let list = Indexed::new(writer.directory(&entries, &mut seal)?, below);
        Ok(Some(Listed { list, pages, is_cached: false }))
    }

    /// Where the path index begins, if there is one.
    pub(super) fn index_root(
        &mut self,
        top: Option<Indexed>,
    ) -> Result<Option<List>, SnapshotError> {
        let (Some(writer), Some(top)) = (&self.index, top) else { return Ok(None) };
        let (sealer, members) = (self.sealer, &mut self.members);
        let mut seal = |page: &[u8]| seal_page(sealer, Kind::PathIndex, page, members);
        writer.root(top.listing, &mut seal).map(Some)
    }
}
