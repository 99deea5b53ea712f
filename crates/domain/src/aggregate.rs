//! The one shape of every aggregate: a command is decided on against a state, and events evolve that state.

use crate::data_subject::Guarded;
use crate::event::EventSet;
use crate::snapshot::SnapshotFormat;
use crate::timestamp::Timestamp;

/// A consistency boundary whose state is folded from its own stream.
///
/// `decide` and `evolve` are total, deterministic and free of IO: no clock, no randomness, no look-ups.
pub trait Aggregate: Default + Send + Sync + 'static {
    /// What somebody wants to happen.
    type Command: Send;
    /// What did happen.
    type Event: EventSet;
    /// Why it may not happen: a fact of the domain with a stable code, never an error.
    type Rejection: RejectionCode;

    /// How its state is kept beside long streams; none unless a benchmark shows that it pays.
    const SNAPSHOT: Option<SnapshotFormat<Self>> = None;

    /// Decides on a command at the time `at`; no events means that it already holds.
    ///
    /// # Errors
    /// The rule that forbids the command.
    fn decide(&self, command: Self::Command, at: Timestamp) -> Result<Vec<Self::Event>, Self::Rejection>;

    /// Folds one event into the state. Cannot fail: what was recorded, happened.
    fn evolve(&mut self, event: Self::Event);

    /// The parts of the state that may hold a data subject's fields, sealed as the events have them.
    fn guarded(&mut self) -> Vec<&mut dyn Guarded> {
        Vec::new()
    }

    /// The state after a whole history.
    fn fold(history: impl IntoIterator<Item = Self::Event>) -> Self {
        let mut state = Self::default();
        for event in history {
            state.evolve(event);
        }
        state
    }
}

/// A rejection's stable, machine-readable code, such as `already_archived`.
pub trait RejectionCode: std::error::Error + Send + Sync + 'static {
    /// The code, in `snake_case`; clients may match on it.
    fn code(&self) -> &'static str;
}
