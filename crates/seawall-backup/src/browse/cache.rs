//! What was used last, within a bound on its cost.
//!
//! The entry used longest ago goes first. An entry that alone costs more than the bound is not
//! kept, so that one large object does not push out everything else.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

pub(super) struct Cache<K, V> {
    entries: HashMap<K, Slot<V>>,
    /// Keys by when they were used last.
    order: BTreeMap<u64, K>,
    clock: u64,
    cost: usize,
    limit: usize,
}

struct Slot<V> {
    value: V,
    used: u64,
    cost: usize,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(super) fn new(limit: usize) -> Self {
        Self { entries: HashMap::new(), order: BTreeMap::new(), clock: 0, cost: 0, limit }
    }

    pub(super) fn get(&mut self, key: &K) -> Option<V> {
        let slot = self.entries.get_mut(key)?;
        self.clock += 1;
        self.order.remove(&slot.used);
        slot.used = self.clock;
        self.order.insert(self.clock, key.clone());
        Some(slot.value.clone())
    }

    pub(super) fn put(&mut self, key: K, value: V, cost: usize) {
        self.remove(&key);
        if cost > self.limit {
            return;
        }
        while self.cost + cost > self.limit
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.remove(&oldest);
        }
        self.clock += 1;
        self.cost += cost;
        self.order.insert(self.clock, key.clone());
        self.entries.insert(key, Slot { value, used: self.clock, cost });
    }

    fn remove(&mut self, key: &K) {
        if let Some(slot) = self.entries.remove(key) {
            self.order.remove(&slot.used);
            self.cost -= slot.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_holds_and_the_last_used_stay() {
        let mut cache = Cache::new(100);
        for key in 0..10 {
            cache.put(key, key * 2, 10);
        }
        assert_eq!(cache.get(&0), Some(0));
        cache.put(10, 20, 15);
        assert_eq!((cache.get(&1), cache.get(&2)), (None, None), "used longest ago");
        assert_eq!((cache.get(&0), cache.get(&10)), (Some(0), Some(20)));
        cache.put(11, 22, 101);
        assert_eq!(cache.get(&11), None, "it alone is above the bound");
        assert_eq!(cache.get(&9), Some(18), "and pushed nothing out");
        cache.put(0, 5, 1);
        assert_eq!(cache.get(&0), Some(5));
        assert_eq!(cache.cost, cache.entries.values().map(|s| s.cost).sum::<usize>());
        assert_eq!(cache.order.len(), cache.entries.len());
    }
}
