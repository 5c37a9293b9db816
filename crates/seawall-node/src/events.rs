//! Putting something on record that no command of ours did: a case that was opened, a drawn plug.

use seawall_base::{Clock, Rng};
use seawall_record::Event;

use crate::home::{Home, HomeError, append};

/// Logs an event and signs a checkpoint over it. Returns its index.
pub fn append_event(
    home: &Home,
    kind: &str,
    text: &str,
    clock: &dyn Clock,
    rng: &mut dyn Rng,
) -> Result<u64, HomeError> {
    let fleet = home.fleet()?;
    let lock = home.lock()?;
    let mut log = home.log_for_writing(&fleet, &lock)?;
    let mut state = home.log_state(&fleet, &log)?;
    let subkey = home.subkey(&fleet, &mut log, &mut state, clock, rng)?;
    let (own, _) = home.enrolment(&fleet)?;
    let event = Event {
        fleet: fleet.id(),
        node: own.node(),
        origin: log.origin().as_str().to_owned(),
        kind: kind.to_owned(),
        text: text.to_owned(),
        created: clock.now(),
    };
    let index = append(&mut log, &mut state, &event.statement().sign(&[&subkey])?)?;
    log.sign_checkpoint(&subkey)?;
    Ok(index)
}
