//! Who may be connected at one time: a share for each key, and some places for strangers.
//!
//! Whoever has proved a key has proved nothing else: keys cost nothing. So a stranger, whom the
//! handler does not know, has one of few places, and when they are full the one that has been
//! there longest goes, first of those who ask nothing just now. Idle strangers therefore shut
//! nobody out. A known key has its share and no more, whatever it does with its connections.
//!
//! Rejected: turning the newcomer away, since then the first sixty-four idlers are the last guests.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seawall_sign::VerifyingKey;
use tokio::sync::Notify;

/// Connections of one key.
pub(crate) const MAX_OF_ONE: usize = 16;

/// Connections of peers that are not known. The rest is for those who are.
const MAX_STRANGERS: usize = 64;

/// The connections there are.
#[derive(Default)]
pub(crate) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    by_key: BTreeMap<VerifyingKey, usize>,
    /// By number: the oldest first.
    strangers: BTreeMap<u64, Stranger>,
    next: u64,
}

struct Stranger {
    leave: Arc<Notify>,
    /// Requests of its that are being answered.
    requests: usize,
}

/// One connection's place, until it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    peer: VerifyingKey,
    number: u64,
    leave: Arc<Notify>,
}

/// While a request is being answered.
pub(crate) struct Busy<'p>(&'p Place);

impl Places {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for `peer`; `None` where it has its share.
    pub(crate) fn take(self: &Arc<Self>, peer: VerifyingKey, is_known: bool) -> Option<Place> {
        let mut taken = self.lock();
        let own = taken.by_key.entry(peer).or_default();
        if *own == MAX_OF_ONE {
            return None;
        }
        *own += 1;
        let (number, leave) = (taken.next, Arc::new(Notify::new()));
        taken.next += 1;
        if !is_known {
            if taken.strangers.len() == MAX_STRANGERS {
                let leaving =
                    taken.strangers.iter().min_by_key(|(number, it)| (it.requests > 0, **number));
                let leaving = *leaving.expect("there are some").0;
                taken.strangers.remove(&leaving).expect("found above").leave.notify_one();
            }
            taken.strangers.insert(number, Stranger { leave: leave.clone(), requests: 0 });
        }
        Some(Place { places: self.clone(), peer, number, leave })
    }
}

impl Place {
    /// Ends when a newcomer needs the place.
    pub(crate) async fn is_wanted(&self) {
        self.leave.notified().await;
    }

    /// To be held while a request is answered.
    pub(crate) fn busy(&self) -> Busy<'_> {
        self.count(|n| n + 1);
        Busy(self)
    }

    fn count(&self, change: impl Fn(usize) -> usize) {
        if let Some(it) = self.places.lock().strangers.get_mut(&self.number) {
            it.requests = change(it.requests);
        }
    }

    /// The peer has become known: it needs no stranger's place any more.
    pub(crate) fn is_known(&self) {
        self.places.lock().strangers.remove(&self.number);
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.count(|n| n.saturating_sub(1));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        taken.strangers.remove(&self.number);
        if let Some(own) = taken.by_key.get_mut(&self.peer) {
            *own -= 1;
            if *own == 0 {
                taken.by_key.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    fn key(n: u8) -> VerifyingKey {
        seawall_sign::SigningKey::from_seed(&[n; 32]).public()
    }

    fn must_leave(place: &Place) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let wanted = async { timeout(Duration::from_millis(1), place.is_wanted()).await.is_ok() };
        runtime.expect("a runtime").block_on(wanted)
    }

    #[test]
    fn idle_strangers_shut_nobody_out() {
        let places = Arc::new(Places::default());
        let mut idle: Vec<_> = (0..MAX_STRANGERS)
            .map(|n| places.take(key(n as u8 / 8), false).expect("room for strangers"))
            .collect();
        let known = places.take(key(200), true).expect("who is known needs no such place");
        let busy = idle[0].busy();
        let newcomer = places.take(key(100), false).expect("somebody else goes");
        assert!(!must_leave(&idle[0]), "it is being answered");
        assert!(must_leave(&idle[1]), "the oldest of those who ask nothing");
        assert!(!must_leave(&newcomer) && !must_leave(&known));
        drop(busy);
        // Once it is known, it is not in question any more, and its place is free.
        newcomer.is_known();
        let second = places.take(key(101), false).expect("a free place");
        assert!((0..MAX_STRANGERS).filter(|n| *n != 1).all(|n| !must_leave(&idle[n])));
        // All are being answered: the oldest goes nevertheless.
        let held: Vec<_> = idle.iter().chain([&second]).map(Place::busy).collect();
        let third = places.take(key(102), false).expect("somebody goes");
        assert!(must_leave(&idle[0]) && !must_leave(&idle[2]));
        drop(held);
        idle.clear();
        drop((newcomer, known, second, third));
        let left = places.lock();
        assert!(left.by_key.is_empty() && left.strangers.is_empty(), "what has ended is forgotten");
    }

    #[test]
    fn a_key_has_its_share() {
        let places = Arc::new(Places::default());
        for is_known in [true, false] {
            let mut own: Vec<_> = (0..MAX_OF_ONE)
                .map(|_| places.take(key(1), is_known).expect("its share"))
                .collect();
            assert!(places.take(key(1), is_known).is_none(), "one too many");
            let other = places.take(key(2), is_known).expect("another has its own");
            own.pop();
            drop(other);
            assert!(places.take(key(1), is_known).is_some(), "one has ended");
        }
    }
}
