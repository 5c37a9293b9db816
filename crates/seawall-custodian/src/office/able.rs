//! Whether this machine could answer at all: what its policy says is one thing, whether the share
//! in its memory is of the fleet's newest sharing another.
//!
//! After a refresh the shares of before are worthless, and a machine opens its shares when it
//! starts. Which sharing is the newest it learns from the fleet's card, which requests show and
//! `custodian join` puts into the home. One that goes on with an old share looks well and answers nothing, so it says so itself:
//! in its own log, in its sign of life and in how requests stand.

use seawall_base::{GroupId, Seconds, Timestamp};
use seawall_record::{Fleet, Unable};

use super::{HeldShare, Office};

/// How often the home's cards are looked at.
const OFTEN: Seconds = Seconds(5);

const OLD: &str = "the share cannot be used just now: it is not of the fleet's newest sharing; start the machine again, after custodian join with the fleet's newest card";

const NONE: &str = "the machine has no share of this group: custodian join, then start it again";

const TROUBLE: &str = "the share cannot be used just now: see the machine's own log";

impl Office {
    /// Why nothing can be answered for a group, if so.
    pub(super) fn why_unable(&self, fleet: &Fleet, group: GroupId) -> Option<&'static str> {
        let record = fleet.group(group)?;
        let epochs: Vec<_> = self
            .shares
            .iter()
            .map(HeldShare::public)
            .filter(|public| public.group == group)
            .map(|public| public.share_epoch)
            .collect();
        if epochs.contains(&record.share_epoch) {
            return self.troubled.get(&group).map(|_| TROUBLE);
        }
        if !epochs.is_empty() {
            return Some(OLD);
        }
        let own = self.signing.statements.public();
        record.custodians.iter().any(|it| it.signing_key == own).then_some(NONE)
    }

    /// Whether a request that may be answered waits until the share of its group can be used.
    pub(super) fn waits_for_share(&self, fleet: &Fleet, group: GroupId) -> bool {
        matches!(self.why_unable(fleet, group), Some(OLD | TROUBLE))
    }

    /// The groups of a fleet for which nothing can be answered.
    pub(super) fn unable(&self, fleet: &Fleet) -> Vec<Unable> {
        let of = |group| self.why_unable(fleet, group).map(str::to_owned);
        let groups = fleet.groups().iter().map(|record| record.id);
        groups.filter_map(|group| Some(Unable { group, why: of(group)? })).collect()
    }

    /// Looks at the home's cards every so often. One that cannot be used changes nothing, and is
    /// said once.
    pub(super) fn look_at_cards(&mut self, now: Timestamp) {
        if self.looked.is_some_and(|looked| now < looked.after(OFTEN) && looked <= now) {
            return;
        }
        self.looked = Some(now);
        for docket in self.dockets.values_mut() {
            if let Err(e) = docket.look_at_card() {
                tracing::error!(error = %e, "the home's card of a fleet changes nothing");
            }
        }
    }

    /// Says it in the machine's own log, once for each group.
    pub(super) fn say_unable(&mut self) {
        let unable: Vec<_> =
            self.dockets.values().flat_map(|docket| self.unable(&docket.fleet)).collect();
        let unable = unable.into_iter().filter(|it| it.why != TROUBLE);
        let (mut now, mut new) = (Vec::new(), Vec::new());
        for it in unable {
            now.push(it.group);
            if !self.unable_said.contains(&it.group) {
                new.push(it);
            }
        }
        self.unable_said = now;
        for Unable { group, why } in new {
            tracing::error!(group = %group, "this machine answers nothing: {why}");
        }
    }
}
