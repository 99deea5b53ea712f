//! What the domain's callers bring with them: the time and fresh ids.

use uuid::Uuid;

use crate::timestamp::Timestamp;

/// The only source of the current time.
pub trait Clock: Send + Sync + 'static {
    /// Now, in UTC.
    fn now(&self) -> Timestamp;
}

/// The only source of fresh ids.
pub trait IdSource: Send + Sync + 'static {
    /// A fresh id that sorts after those made before it (UUID version 7).
    fn next(&self) -> Uuid;
}

/// The machine's clock and random ids; everything else takes them as parameters.
#[derive(Clone, Copy, Debug, Default)]
pub struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> Timestamp {
        Timestamp::new(time::OffsetDateTime::now_utc())
    }
}

impl IdSource for System {
    #[expect(clippy::disallowed_methods, reason = "the one place where fresh ids are made")]
    fn next(&self) -> Uuid {
        Uuid::now_v7()
    }
}
