//! Brings the office's logs to the witnesses of their fleets, in a thread of its own.
//!
//! The office is locked for the moments in which something is read from it or written to it, and
//! never while a witness is waited for. A witness that fails is left alone, longer each time.

use std::collections::BTreeMap;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use http::Method;
use seawall_link::{Connection, Message, Patience};
use seawall_sign::{SigningKey, VerifyingKey};
use seawall_tlog::WitnessAnswer;

use crate::Office;
use crate::office::Unvouched;
use crate::routes::lock;

/// How often it is looked whether a witness has not signed.
const LOOK: Duration = Duration::from_secs(1);

/// How many looks a witness that failed is left alone, at first and at last.
const PAUSES: (u32, u32) = (2, 300);

/// Most bytes of what a witness answers.
const MAX_ANSWER: usize = 256 << 10;

/// The thread; dropped, it ends after what it is doing.
pub(crate) struct Vouching {
    stop: mpsc::Sender<()>,
    thread: Option<JoinHandle<()>>,
}

/// What is remembered of one witness of one log.
struct Known {
    entries: u64,
    /// Looks to come in which it is left alone, and how many it will be after the next failure.
    left: u32,
    pause: u32,
}

impl Known {
    const NEW: Self = Self { entries: 0, left: 0, pause: PAUSES.0 };

    /// Whether it is left alone at this look.
    const fn rests(&mut self) -> bool {
        let rests = self.left > 0;
        self.left = self.left.saturating_sub(1);
        rests
    }

    /// After a look; the longest pause is reached in about ten minutes.
    const fn looked(&mut self, has_signed: bool) {
        if has_signed {
            self.pause = PAUSES.0;
            return;
        }
        self.left = self.pause;
        self.pause = if self.pause * 2 < PAUSES.1 { self.pause * 2 } else { PAUSES.1 };
    }
}

impl Vouching {
    pub(crate) fn start(office: Arc<Mutex<Office>>, transport: SigningKey) -> Self {
        let (stop, stopped) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            let mut known = BTreeMap::new();
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                look(&office, &transport, &mut known);
            }
        });
        Self { stop, thread: Some(thread) }
    }
}

impl Drop for Vouching {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.stop.send(());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("bringing logs to witnesses ended badly");
        }
    }
}

type Memory = BTreeMap<(seawall_base::FleetId, VerifyingKey), Known>;

fn look(office: &Mutex<Office>, transport: &SigningKey, memory: &mut Memory) {
    let unvouched = match lock(office).unvouched() {
        Ok(unvouched) => unvouched,
        Err(e) => return tracing::error!(error = %e, "the logs cannot be brought to witnesses"),
    };
    for it in unvouched {
        let known = memory.entry((it.fleet, it.witness.key)).or_insert(Known::NEW);
        if known.rests() {
            continue;
        }
        let brought = bring(office, transport, &it, known);
        if let Err(why) = &brought {
            let witness = &it.witness.name;
            tracing::warn!(witness, why, "a witness did not sign this custodian's log");
        }
        known.looked(brought.is_ok());
    }
}

fn bring(
    office: &Mutex<Office>,
    transport: &SigningKey,
    it: &Unvouched,
    known: &mut Known,
) -> Result<(), String> {
    let endpoint = it.witness.endpoint.as_ref().ok_or("nobody says where it is")?;
    let patience = Patience { connect: Duration::from_secs(5), request: Duration::from_secs(30) };
    let (address, pinned) = (&endpoint.address, endpoint.transport);
    let mut connection = Connection::open(address, pinned, transport, patience, None)
        .map_err(|e| format!("{address}: {e}"))?;
    // A witness that has another number of entries than it had says so once.
    for _ in 0..2 {
        let growth = lock(office).growth(it.fleet, known.entries).map_err(|e| e.to_string())?;
        let Some(request) = growth else {
            return Err(format!(
                "it has {} entries, which is more than this log has: is this home an old copy?",
                known.entries
            ));
        };
        let answer = connection
            .request(&Message {
                method: Method::POST,
                path: "/v1/witness/add-checkpoint".to_owned(),
                content_type: "text/plain; charset=utf-8",
                body: request.to_bytes().into(),
                limit: MAX_ANSWER,
            })
            .map_err(|e| e.to_string())?;
        match WitnessAnswer::parse(answer.status.as_u16(), &answer.body) {
            Some(WitnessAnswer::Cosigned(lines)) => {
                known.entries = request.checkpoint.checkpoint().size;
                let vouched = lock(office).vouch(it, &request.checkpoint, &lines);
                let vouched = vouched.map_err(|e| e.to_string())?;
                // Without a time, the log has grown meanwhile: the next look brings that, too.
                tracing::debug!(witness = it.witness.name, at = ?vouched, "a witness signed");
                return Ok(());
            }
            Some(WitnessAnswer::Conflict(entries)) => known.entries = entries,
            Some(refusal) => return Err(refusal.body().trim_end().to_owned()),
            None => return Err(format!("it answered with status {}", answer.status)),
        }
    }
    Err("it says otherwise each time".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_witness_that_fails_is_left_alone_longer_each_time() {
        let mut known = Known::NEW;
        let rest = |known: &mut Known| (0..1_000).take_while(|_| known.rests()).count();
        let mut pauses = Vec::new();
        for _ in 0..10 {
            known.looked(false);
            pauses.push(rest(&mut known));
        }
        assert_eq!(pauses, [2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        known.looked(true);
        assert_eq!(rest(&mut known), 0);
        known.looked(false);
        assert_eq!(rest(&mut known), 2);
    }
}
