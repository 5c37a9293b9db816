//! The policy with what it needs from the machine: time zones, and keys that can be used.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;
use seawall_base::{FleetId, NodeId, Sha256, Timestamp};
use seawall_policy::custodian::{CustodianPolicy, Decision, Facts, Gap, Outlook, WeekMinute};
use seawall_record::check_text;
use seawall_sign::VerifyingKey;

use super::OfficeError;

/// What a custodian's machine goes by. Without a file it answers nothing.
#[derive(Debug, Default)]
pub struct Rules {
    policy: Option<CustodianPolicy>,
    digest: Option<Sha256>,
    approvers: BTreeMap<VerifyingKey, String>,
    zones: BTreeMap<String, TimeZone>,
}

impl Rules {
    /// Reads a policy file.
    pub fn parse(toml: &[u8]) -> Result<Self, OfficeError> {
        let policy = CustodianPolicy::parse(toml)?;
        let mut approvers = BTreeMap::new();
        for approver in policy.approvers() {
            // The log names whoever confirms and refuses.
            check_text("name", &approver.name, 256).map_err(|e| OfficeError::Policy {
                place: format!("approver {:?}", approver.name),
                why: e.to_string(),
            })?;
            let key = approver.key.parse().map_err(|e| OfficeError::Policy {
                place: format!("approver {:?}", approver.name),
                why: format!("its key cannot be used: {e}"),
            })?;
            approvers.insert(key, approver.name.clone());
        }
        let mut zones = BTreeMap::new();
        for name in policy.time_zones() {
            let zone = TimeZone::get(name).map_err(|_| OfficeError::Policy {
                place: format!("time zone {name:?}"),
                why: "this machine does not know it; write one such as Europe/Vienna, or UTC"
                    .to_owned(),
            })?;
            zones.insert(name.to_owned(), zone);
        }
        Ok(Self { policy: Some(policy), digest: Some(Sha256::of(toml)), approvers, zones })
    }

    /// Whether there is no policy, so that nothing is answered.
    pub const fn is_none(&self) -> bool {
        self.policy.is_none()
    }

    /// SHA-256 of the policy file.
    pub(super) const fn digest(&self) -> Option<Sha256> {
        self.digest
    }

    /// The keys of those who may confirm.
    pub(super) fn approvers(&self) -> Vec<VerifyingKey> {
        self.approvers.keys().copied().collect()
    }

    /// The keys of those who may confirm, in their text form, and their names.
    pub fn names(&self) -> BTreeMap<String, String> {
        self.approvers.iter().map(|(key, name)| (key.to_string(), name.clone())).collect()
    }

    /// The name that goes with an approver's key.
    pub(super) fn approver(&self, key: &VerifyingKey) -> Option<&str> {
        self.approvers.get(key).map(String::as_str)
    }

    pub(super) fn decide(&self, facts: &Facts<'_>, now: Timestamp) -> Decision {
        let rule = self.policy.as_ref().and_then(|p| Some((p, p.rule(facts.fleet, facts.class)?)));
        let Some((policy, rule)) = rule else { return Decision::NoRule };
        policy.decide(facts, now, &|at| self.local(rule.time_zone(), at))
    }

    pub(super) fn outlook(
        &self,
        fleet: FleetId,
        requester: NodeId,
        answered: &[(String, Timestamp)],
        gaps: &[Gap],
        now: Timestamp,
    ) -> Vec<Outlook> {
        let Some(policy) = &self.policy else { return Vec::new() };
        policy.outlook(fleet, requester, answered, gaps, now, &|zone, at| self.local(zone, at))
    }

    /// The minute of the local week. Times no calendar has are the last one that it has.
    fn local(&self, zone: &str, at: Timestamp) -> WeekMinute {
        let zone = self.zones.get(zone).expect("every zone of the policy was looked up");
        let seconds = i64::try_from(at.0).unwrap_or(i64::MAX);
        let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::MAX);
        let local = zone.to_datetime(at);
        let in_range = "weekdays, hours and minutes are within theirs";
        let small = |n: i8| u8::try_from(n).expect(in_range);
        let day = small(local.weekday().to_monday_zero_offset());
        WeekMinute::new(day, small(local.hour()), small(local.minute())).expect(in_range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_follows_summer_time() {
        let text = |zone: &str| {
            format!(
                "format = \"seawall-custodian-policy/1\"\napprovers = []\n[[rules]]\n\
                 fleet = \"{}\"\nclass = \"any\"\nrequesters = [\"any\"]\nreason = \"\"\n\
                 cooling_off = \"0s\"\ntime_zone = \"{zone}\"\nhours = [\"always\"]\n\
                 per_day = 1\npersons = 0\nlarge = {{ files = 0, bytes = \"0\", persons = 0 }}\n",
                FleetId([1; 32])
            )
        };
        let rules = Rules::parse(text("Europe/Vienna").as_bytes()).expect("a good policy");
        let local = |at| rules.local("Europe/Vienna", Timestamp(at));
        // 2026-07-06 and 2026-11-23 were Mondays; 06:30 UTC.
        assert_eq!(Some(local(1_783_319_400)), WeekMinute::new(0, 8, 30));
        assert_eq!(Some(local(1_795_415_400)), WeekMinute::new(0, 7, 30));
        let refused = Rules::parse(text("Europe/Atlantis").as_bytes()).expect_err("no such zone");
        assert!(refused.to_string().contains("Europe/Atlantis"), "{refused}");
    }
}
