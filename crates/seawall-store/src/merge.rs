//! Several sorted sequences as one.

use std::io;

/// A sorted sequence that may fail.
pub(crate) type Source<'s, T> = Box<dyn Iterator<Item = io::Result<T>> + 's>;

/// The merged sequence, each value once. After a failure it ends.
pub(crate) struct Merge<'s, T, K> {
    /// Each source with its next value.
    sources: Vec<(T, Source<'s, T>)>,
    failed: Option<io::Error>,
    last: Option<T>,
    keep: K,
}

impl<'s, T: Copy + Ord, K: Fn(&T) -> bool> Merge<'s, T, K> {
    /// Merges `sources`; only values that `keep` wants are given.
    pub(crate) fn of(sources: Vec<Source<'s, T>>, keep: K) -> Self {
        let mut merge = Self { sources: Vec::new(), failed: None, last: None, keep };
        for mut source in sources {
            match source.next() {
                Some(Ok(value)) => merge.sources.push((value, source)),
                Some(Err(e)) => merge.failed = Some(e),
                None => {}
            }
        }
        merge
    }

    /// Takes the smallest value and moves its source on.
    fn smallest(&mut self) -> Option<T> {
        // A handful of sources: a heap would not be faster.
        let heads = self.sources.iter().enumerate();
        let (at, value) =
            heads.map(|(i, (value, _))| (i, *value)).min_by_key(|(_, value)| *value)?;
        match self.sources[at].1.next() {
            Some(Ok(next)) => self.sources[at].0 = next,
            Some(Err(e)) => self.failed = Some(e),
            None => {
                drop(self.sources.swap_remove(at));
            }
        }
        Some(value)
    }
}

impl<T: Copy + Ord, K: Fn(&T) -> bool> Iterator for Merge<'_, T, K> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(e) = self.failed.take() {
                self.sources.clear();
                return Some(Err(e));
            }
            let value = self.smallest()?;
            if self.last != Some(value) && (self.keep)(&value) {
                self.last = Some(value);
                return Some(Ok(value));
            }
        }
    }
}
