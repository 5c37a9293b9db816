//! Whether this machine's clock can be right, asked before anything is logged.
//!
//! A log goes forward in time: what is dated before its predecessor is refused by every reader,
//! which is what makes an expired subkey worthless to a thief. So a single entry dated 2040 would
//! be the last one until 2040, or until the root keys begin the next epoch. Nothing is logged by a
//! clock that is far ahead of the last that was heard of time: the last entry, or a witness's stamp.
//! A machine that was off for so long is one command away from going on.
//!
//! Rejected: asking a region for the time. It could then end a node's backups by itself.

use seawall_base::{Clock, Seconds, Timestamp};
use seawall_record::{Fleet, LogState};
use seawall_tlog::Origin;
use serde::{Deserialize, Serialize};

use crate::home::{Home, HomeError};
use crate::witnesses::{Witnessed, home_roster};

const PATH: &str = "clock.json";

/// How far ahead a clock may be of what was last heard of time.
const FAR: Seconds = Seconds::days(90);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Trusted {
    format: String,
    /// What the clock showed when somebody said that it was right.
    at: Timestamp,
}

impl Trusted {
    const FORMAT: &str = "seawall-clock/1";
}

/// What is known of time here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockStanding {
    /// What the clock shows.
    pub now: Timestamp,
    /// The last that was heard of time; none in a new log.
    pub last: Option<Timestamp>,
}

impl ClockStanding {
    /// Whether anything is logged by this clock.
    pub fn is_believed(&self) -> bool {
        self.last.is_none_or(|last| self.now <= last.after(FAR))
    }
}

/// Compares this machine's clock with what was last heard of time.
pub fn clock_standing(home: &Home, clock: &dyn Clock) -> Result<ClockStanding, HomeError> {
    let fleet = home.fleet()?;
    let log = home.log(&fleet)?;
    let state = home.log_state(&fleet, &log)?;
    standing(home, &fleet, log.origin(), (&state, clock.now()))
}

/// Takes this machine's clock to be right: somebody has looked.
pub fn trust_clock(home: &Home, clock: &dyn Clock) -> Result<(), HomeError> {
    let _lock = home.lock()?;
    home.write_json(PATH, &Trusted { format: Trusted::FORMAT.to_owned(), at: clock.now() })
}

fn standing(
    home: &Home,
    fleet: &Fleet,
    origin: &Origin,
    (state, now): (&LogState, Timestamp),
) -> Result<ClockStanding, HomeError> {
    let mut it = ClockStanding { now, last: state.last_created() };
    // Signatures are looked at only where the log itself does not tell.
    if it.is_believed() {
        return Ok(it);
    }
    let roster = home_roster(home, fleet)?;
    let stamps = Witnessed::open(home, origin)?;
    let stamps = stamps.last_stamps(&roster);
    it.last = it.last.max(stamps.iter().map(|stamp| stamp.time).max());
    if home.read(PATH)?.is_some() {
        let trusted: Trusted = home.read_json(PATH)?;
        if trusted.format != Trusted::FORMAT {
            return Err(HomeError::damaged(PATH, format!("format {:?}", trusted.format)));
        }
        it.last = it.last.max(Some(trusted.at));
    }
    Ok(it)
}

/// Refuses to log by a clock that is far ahead.
pub(crate) fn check(
    home: &Home,
    fleet: &Fleet,
    origin: &Origin,
    (state, now): (&LogState, Timestamp),
) -> Result<(), HomeError> {
    let it = standing(home, fleet, origin, (state, now))?;
    match it.last {
        Some(last) if !it.is_believed() => Err(HomeError::refused(format!(
            "this machine's clock shows {now}, and the last that was heard of time is {last}: an entry from the future would end this node's backups until then. Set the clock, or say that it is right: seawall log clock --is-right"
        ))),
        _ => Ok(()),
    }
}
