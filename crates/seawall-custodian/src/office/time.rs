//! The latest time seen: a clock that is never believed when it runs backwards.
//!
//! What was seen is kept on the disk, at most a minute behind, so that a clock set back while the
//! process is down shortens no cooling-off and revives no expired request either. A clock that
//! once ran far ahead therefore makes everything look expired until the true time has caught up:
//! that is refused, not answered, and a person can order the kept time to be forgotten.

use std::sync::Arc;

use seawall_base::{Clock, Disk, Seconds, Timestamp, read_file, write_atomic};
use serde::{Deserialize, Serialize};

use super::OfficeError;

const PATH: &str = "time.json";
const FORMAT: &str = "seawall-custodian-time/1";
const MAX_FILE: usize = 1_024;

/// How far what is on the disk may lie behind.
const LAG: Seconds = Seconds(60);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    latest: Timestamp,
}

pub(super) struct LatestTime {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    latest: Timestamp,
    kept: Timestamp,
}

impl LatestTime {
    /// Reads what was kept, or begins anew from the clock if `forget` says so.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        forget: bool,
    ) -> Result<Self, OfficeError> {
        let bytes = read_file(disk.as_ref(), PATH, MAX_FILE).map_err(OfficeError::io(PATH))?;
        let kept = match bytes.filter(|_| !forget) {
            None => Timestamp(0),
            Some(bytes) => {
                let damaged = |why: String| OfficeError::Damaged { path: PATH.to_owned(), why };
                let file: File =
                    serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
                if file.format != FORMAT {
                    return Err(damaged(format!("format {:?} is not {FORMAT}", file.format)));
                }
                file.latest
            }
        };
        let mut it = Self { disk, clock, latest: kept, kept };
        if forget {
            it.keep(it.clock.now())?;
        }
        it.now()?;
        Ok(it)
    }

    /// Not before anything that was seen until now.
    pub(super) fn now(&mut self) -> Result<Timestamp, OfficeError> {
        self.latest = self.latest.max(self.clock.now());
        if self.latest >= self.kept.after(LAG) {
            self.keep(self.latest)?;
        }
        Ok(self.latest)
    }

    /// How far the clock lies behind the latest time seen.
    pub(super) fn behind(&self) -> Seconds {
        Seconds(self.latest.0.saturating_sub(self.clock.now().0))
    }

    fn keep(&mut self, latest: Timestamp) -> Result<(), OfficeError> {
        let file = File { format: FORMAT.to_owned(), latest };
        let json = serde_json::to_vec(&file).expect("numbers and text serialise");
        write_atomic(self.disk.as_ref(), PATH, &json).map_err(OfficeError::io(PATH))?;
        self.kept = latest;
        Ok(())
    }
}

/// A clock that stands at one time.
pub(super) struct At(pub(super) Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}
