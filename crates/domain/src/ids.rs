//! Typed identities: one newtype per thing, so that a card's id can't be passed where a run's is meant.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(
            Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// A prompt card; also the id of its stream.
    PromptCardId
);
id!(
    /// A test case of a card, derived from its content: see [`TestCaseId::derive`].
    TestCaseId
);
id!(
    /// A test run; also the id of its stream.
    TestRunId
);
id!(
    /// One cell of a run's matrix, derived from it: see [`crate::execution::ExecutionRef::id`].
    ExecutionId
);
id!(
    /// A data subject, derived from their name with a key, so that it says nothing about them; also the id of their
    /// stream.
    SubjectId
);
id!(
    /// One hand-over of a job to the broker; a retry or a re-dispatch has a new one.
    DispatchId
);
id!(
    /// A regrade of a run; also the id of its stream.
    RegradeId
);
id!(
    /// A schedule of runs; also the id of its stream.
    ScheduleId
);
id!(
    /// A job on request; also the id of its stream.
    JobId
);
id!(
    /// An account, or a service account.
    ActorId
);
id!(
    /// What makes a command idempotent: sending it again has the first result.
    CommandId
);

/// The tenant that a row, an event, a ticket or a subject belongs to.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct TenantId(pub i32);

impl TenantId {
    /// The tenant of a single-team installation.
    pub const DEFAULT: Self = Self(1);
}

impl std::fmt::Display for TenantId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl CommandId {
    /// The id of a command that follows from something already recorded, so that doing it twice is doing it once.
    #[must_use]
    pub fn derived(cause: Uuid, purpose: &str) -> Self {
        Self(Uuid::new_v5(&cause, purpose.as_bytes()))
    }
}
