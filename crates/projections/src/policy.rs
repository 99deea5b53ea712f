//! What is done with an event that can't be applied, and which failures are the event's.

use pcs_store::StoreError;

use crate::ProjectionError;

/// What a projection does with an event that it can't read or apply.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Policy {
    /// It stops in front of it, with a reason that can be read, until somebody resumes it.
    Stop,
    /// It sets the event aside with all later ones of the same lane, in order, and goes on with the others.
    ParkStream,
    /// It records the event with its error, and goes on without it.
    Skip,
}

impl Policy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stop, Self::ParkStream, Self::Skip];

    /// Its name in tables and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::ParkStream => "park-stream",
            Self::Skip => "skip",
        }
    }

    /// The policy with this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|policy| policy.name() == name)
    }
}

/// Classes of SQLSTATE that say that a row is wrong, and would be wrong again: a value that does not fit (22), a
/// broken constraint (23), one row twice in a statement (21), and beyond a limit of the server (54).
const ROW_ERRORS: [&str; 4] = ["21", "22", "23", "54"];

impl ProjectionError {
    /// Whether the same events would fail again: then the policy decides. Everything else, such as a broken connection,
    /// is tried again for ever, because no event is to blame for it.
    #[must_use]
    pub fn is_of_the_events(&self) -> bool {
        match self {
            Self::Store(StoreError::Decode { .. } | StoreError::Unknown { .. }) | Self::Encode(_) | Self::Fold(_) => {
                true
            }
            Self::Database(sqlx::Error::Database(error)) => {
                error.code().is_some_and(|code| ROW_ERRORS.iter().any(|class| code.starts_with(class)))
            }
            Self::Database(error) => matches!(error, sqlx::Error::Encode(_)),
            Self::Store(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_nobody_s_fault() {
        assert!(!ProjectionError::Database(sqlx::Error::PoolTimedOut).is_of_the_events());
        assert!(!ProjectionError::Store(StoreError::Closed).is_of_the_events());
        let unknown = StoreError::Unknown { position: 1, what: "type", number: 9 };
        assert!(ProjectionError::Store(unknown).is_of_the_events());
        assert!(ProjectionError::Fold("no such card".to_owned()).is_of_the_events());
    }

    #[test]
    fn every_policy_has_its_word() {
        for policy in Policy::ALL {
            assert_eq!(Policy::parse(policy.name()), Some(policy));
        }
        assert_eq!(Policy::parse("ignore"), None);
    }
}
