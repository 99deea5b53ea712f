//! The shape of every domain test: given events, when a command, then events or a refusal.

use std::fmt::Debug;

use crate::aggregate::{Aggregate, RejectionCode};
use crate::event::EventSet;
use crate::timestamp::Timestamp;

/// An aggregate with this history.
pub(crate) fn given<A: Aggregate>(history: impl IntoIterator<Item = A::Event>) -> Given<A> {
    Given(A::fold(history))
}

pub(crate) struct Given<A>(A);

impl<A: Aggregate> Given<A> {
    /// Decides on a command, at the start of 1970.
    pub(crate) fn when(self, command: A::Command) -> When<A> {
        let decision = self.0.decide(command, Timestamp::EPOCH);
        When { state: self.0, decision }
    }

    /// The state itself.
    pub(crate) fn state(self) -> A {
        self.0
    }
}

pub(crate) struct When<A: Aggregate> {
    state: A,
    decision: Result<Vec<A::Event>, A::Rejection>,
}

impl<A: Aggregate> When<A>
where
    A::Rejection: PartialEq,
{
    /// Asserts which events follow; returns the aggregate after them, so that a story can go on.
    #[track_caller]
    pub(crate) fn then(self, expected: impl IntoIterator<Item = A::Event>) -> Given<A> {
        let events = self.decision.expect("the command was refused");
        assert_eq!(events, expected.into_iter().collect::<Vec<_>>());
        lived(self.state, events)
    }

    /// Asserts that it held already.
    #[track_caller]
    pub(crate) fn nothing(self) -> Given<A> {
        self.then([])
    }

    /// The events, whichever they are, and the aggregate after them.
    #[track_caller]
    pub(crate) fn events(self) -> (Vec<A::Event>, Given<A>) {
        let events = self.decision.expect("the command was refused");
        (events.clone(), lived(self.state, events))
    }

    /// Asserts that the command is accepted.
    #[track_caller]
    pub(crate) fn accepted(self) -> Given<A> {
        self.events().1
    }

    /// Asserts the refusal's code; the refusal says in words why.
    #[track_caller]
    pub(crate) fn refused(self, code: &str) {
        let rejection = self.decision.expect_err("the command was accepted");
        assert_eq!(rejection.code(), code, "{rejection}");
        assert!(!rejection.to_string().is_empty());
    }
}

fn lived<A: Aggregate>(mut state: A, events: Vec<A::Event>) -> Given<A> {
    for event in events {
        state.evolve(event);
    }
    Given(state)
}

/// What a reader of the store gets: the event after being written and read.
#[track_caller]
pub(crate) fn stored<E: EventSet + Debug>(event: &E) -> E {
    let kind = event.event_type();
    assert!(E::TYPES.contains(&kind), "{kind}");
    E::decode(kind.name, kind.version, &event.encode().unwrap().to_string()).unwrap()
}

/// Chance for tests, the same at each run: xorshift64*, good enough to wander through commands.
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number from 0 up to, not including, `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        let index = self.below(from.len() as u64);
        from[usize::try_from(index).unwrap()].clone()
    }

    pub(crate) fn flip(&mut self) -> bool {
        self.below(2) == 1
    }
}
