//! The time a custodian goes by: a clock that is believed neither when it runs backwards nor when it
//! leaps ahead.
//!
//! **Backwards.** What was seen is kept on the disk, at most a minute behind, so that a clock set
//! back while the process is down shortens no cooling-off and revives no expired request either.
//!
//! **Ahead.** While the process runs, the wall clock is measured against time that nobody can set.
//! Where it outruns that by more than [`SKEW`] in all, it is not believed: time goes on as it was
//! measured, and nothing is answered until the clock comes back or a person accepts it.
//!
//! **While the process was down**, nobody measured. What the clock says has passed since the last
//! kept time is believed, so that a machine that was off goes on by itself, and noted as a
//! [`Gap`], which counts towards no cooling-off and no day. So is what a person accepts: accepting
//! a clock says that it is right now, not that anybody had the time in between.
//!
//! Rejected: a hold after each restart, since the power that fails here may be why somebody asks;
//! and a cooling-off that begins anew, since then a machine that restarts each night never answers.

use std::sync::Arc;

use seawall_base::{Clock, Disk, Seconds, Steady, Timestamp, read_file, write_atomic};
use seawall_policy::custodian::Gap;
use serde::{Deserialize, Serialize};

use super::OfficeError;

const PATH: &str = "time.json";
const FORMAT: &str = "seawall-custodian-time/1";
const MAX_FILE: usize = 16 << 10;

/// Where a person says that the clock is right.
pub const ACCEPTED_CLOCK: &str = "accept-clock.json";

const ACCEPTED_FORMAT: &str = "seawall-accepted-clock/1";

/// How far what is on the disk may lie behind.
const LAG: Seconds = Seconds(60);

/// How far the clock may outrun measured time, in all the time the process runs.
const SKEW: Seconds = Seconds(300);

/// Gaps that ended longer ago bear on no request that is still open.
const REMEMBERED: Seconds = Seconds::days(62);

/// Most gaps. More become one that covers them, which only lengthens waits.
const MAX_GAPS: usize = 128;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format: String,
    latest: Timestamp,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    gaps: Vec<Gap>,
    /// The clock was ahead and had not been accepted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_ahead: bool,
}

/// A person's word that the clock is right, in a file beside the running machine.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AcceptedClock {
    format: String,
    /// What the clock showed.
    clock: Timestamp,
}

impl AcceptedClock {
    /// The word of somebody who sees `clock`.
    pub fn new(clock: Timestamp) -> Self {
        Self { format: ACCEPTED_FORMAT.to_owned(), clock }
    }

    /// As it is written.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and text serialise")
    }

    /// Whether it is about the clock as it is now; only then it counts.
    pub fn is_of(&self, wall: Timestamp) -> bool {
        self.format == ACCEPTED_FORMAT && self.clock.0.abs_diff(wall.0) <= SKEW.0
    }
}

pub(super) struct LatestTime {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    steady: Arc<dyn Steady>,
    latest: Timestamp,
    kept: Timestamp,
    gaps: Vec<Gap>,
    /// A time that was believed, and what [`Steady`] said then.
    base: (Timestamp, Seconds),
    is_ahead: bool,
}

impl LatestTime {
    /// Reads what was kept, or believes the clock though a later time was kept if `forget` says so.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        steady: Arc<dyn Steady>,
        forget: bool,
    ) -> Result<Self, OfficeError> {
        let bytes = read_file(disk.as_ref(), PATH, MAX_FILE).map_err(OfficeError::io(PATH))?;
        let wall = clock.now();
        let file = match bytes {
            None => {
                File { format: FORMAT.to_owned(), latest: wall, gaps: Vec::new(), is_ahead: false }
            }
            Some(bytes) => parse(&bytes)?,
        };
        let base = (file.latest, steady.elapsed());
        let (latest, gaps, is_ahead) = (file.latest, file.gaps, file.is_ahead);
        let mut it = Self { disk, clock, steady, latest, kept: Timestamp(0), gaps, base, is_ahead };
        if forget {
            it.accept()?;
        } else if !is_ahead {
            it.note_gap(wall);
            it.rebase(it.latest.max(wall));
        }
        it.keep()?;
        it.now()?;
        Ok(it)
    }

    fn rebase(&mut self, time: Timestamp) {
        self.latest = time;
        self.base = (time, self.steady.elapsed());
        self.is_ahead = false;
    }

    /// Nobody watched the time from the latest until `to`.
    fn note_gap(&mut self, to: Timestamp) {
        if to > self.latest {
            self.gaps.push(Gap { from: self.latest, to });
        }
        self.gaps.retain(|gap| gap.to.after(REMEMBERED) > to);
        if self.gaps.len() > MAX_GAPS {
            let later = self.gaps.split_off(2);
            let first = Gap { from: self.gaps[0].from, to: self.gaps[1].to };
            self.gaps = [vec![first], later].concat();
        }
    }

    /// A person says that the clock is right. Returns how far ahead it was.
    pub(super) fn accept(&mut self) -> Result<Seconds, OfficeError> {
        let wall = self.clock.now();
        let ahead = Seconds(wall.0.saturating_sub(self.latest.0));
        for gap in &mut self.gaps {
            // What a clock that was ahead has noted still is time nobody watched.
            let length = gap.to.0 - gap.from.0;
            gap.to = gap.to.min(wall);
            gap.from = gap.from.min(gap.to.before(Seconds(length)));
        }
        self.note_gap(wall);
        self.rebase(wall);
        self.keep()?;
        Ok(ahead)
    }

    /// What a person said about the clock, if it is about the clock as it is now: taken out of the
    /// home, and acted on. Returns how far ahead the clock was.
    pub(super) fn hear(&mut self) -> Result<Option<Seconds>, OfficeError> {
        let io = OfficeError::io;
        let said = match read_file(self.disk.as_ref(), ACCEPTED_CLOCK, MAX_FILE) {
            Ok(None) => return Ok(None),
            Ok(Some(bytes)) => serde_json::from_slice::<AcceptedClock>(&bytes).ok(),
            Err(e) if e.kind() == std::io::ErrorKind::FileTooLarge => None,
            Err(e) => {
                tracing::warn!(error = %e, "what was said about the clock cannot be read");
                return Ok(None);
            }
        };
        let wall = self.clock.now();
        let ahead = if said.is_some_and(|it| it.is_of(wall)) {
            Some(self.accept()?)
        } else {
            tracing::warn!("what was said about the clock counts for nothing: it is not its time");
            None
        };
        self.disk.remove(ACCEPTED_CLOCK).map_err(io(ACCEPTED_CLOCK))?;
        Ok(ahead)
    }

    /// Not before anything that was believed until now.
    pub(super) fn now(&mut self) -> Result<Timestamp, OfficeError> {
        let wall = self.clock.now();
        let passed = self.steady.elapsed().0.saturating_sub(self.base.1.0);
        let measured = self.base.0.after(Seconds(passed));
        let was_ahead = std::mem::replace(&mut self.is_ahead, wall > measured.after(SKEW));
        self.latest = self.latest.max(if self.is_ahead { measured } else { wall });
        if self.is_ahead && !was_ahead {
            tracing::error!(
                seconds = wall.0 - measured.0,
                "the clock was set forward: nothing is answered until a person accepts it"
            );
        }
        if self.is_ahead != was_ahead || self.latest >= self.kept.after(LAG) {
            self.keep()?;
        }
        Ok(self.latest)
    }

    /// Whether the clock is ahead of measured time, and not believed.
    pub(super) const fn is_ahead(&self) -> bool {
        self.is_ahead
    }

    /// Time nobody watched passing.
    pub(super) fn gaps(&self) -> &[Gap] {
        &self.gaps
    }

    /// How far the clock lies behind the latest time believed.
    pub(super) fn behind(&self) -> Seconds {
        Seconds(self.latest.0.saturating_sub(self.clock.now().0))
    }

    fn keep(&mut self) -> Result<(), OfficeError> {
        let (latest, gaps) = (self.latest, self.gaps.clone());
        let file = File { format: FORMAT.to_owned(), latest, gaps, is_ahead: self.is_ahead };
        let json = serde_json::to_vec(&file).expect("numbers and text serialise");
        write_atomic(self.disk.as_ref(), PATH, &json).map_err(OfficeError::io(PATH))?;
        self.kept = latest;
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Result<File, OfficeError> {
    let damaged = |why: String| OfficeError::Damaged { path: PATH.to_owned(), why };
    let file: File = serde_json::from_slice(bytes).map_err(|e| damaged(e.to_string()))?;
    if file.format != FORMAT {
        return Err(damaged(format!("format {:?} is not {FORMAT}", file.format)));
    }
    if file.gaps.len() > MAX_GAPS || file.gaps.iter().any(|gap| gap.from > gap.to) {
        return Err(damaged("gaps that no machine wrote".to_owned()));
    }
    Ok(file)
}

/// A clock that stands at one time.
pub(super) struct At(pub(super) Timestamp);

impl Clock for At {
    fn now(&self) -> Timestamp {
        self.0
    }
}
