//! What a reader demands of the suite of a capsule.
//!
//! Both suites with a post-quantum half will do where one is demanded: what sets suite 3 apart
//! protects those who answer, and a capsule cannot be moved from one to the other.

use crate::capsule::CapsuleError;
use crate::dealing::{Dealing, Recipients};

/// What a reader demands of the suite of a capsule. It comes from the group's record, never from
/// the capsule.
#[derive(Debug, Clone)]
pub struct Demand {
    pub(crate) recipients: Vec<Recipients>,
    classical: bool,
}

impl Demand {
    /// Of a group whose custodians have no post-quantum keys: suite 1 and nothing else.
    pub const fn classical() -> Self {
        Self { recipients: Vec::new(), classical: true }
    }

    /// A post-quantum half for one of these sets of custodians. With `or_classical`, for capsules
    /// from before the group had keys, none will do as well.
    pub const fn post_quantum(recipients: Vec<Recipients>, or_classical: bool) -> Self {
        Self { recipients, classical: or_classical }
    }

    /// The same, with no post-quantum half doing as well.
    #[must_use]
    pub fn or_classical(self) -> Self {
        Self { classical: true, ..self }
    }

    /// Whom a half is for, of those it may be for; `None` where none will do and there is none.
    pub(crate) fn admit(&self, half: Option<&Dealing>) -> Result<Option<Recipients>, CapsuleError> {
        let Some(half) = half else {
            return if self.classical { Ok(None) } else { Err(CapsuleError::Downgraded) };
        };
        let found = self.recipients.iter().find(|recipients| half.is_for(recipients));
        found.cloned().map(Some).ok_or(CapsuleError::OtherRecipients)
    }
}
