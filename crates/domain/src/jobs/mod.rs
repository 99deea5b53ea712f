//! Kinds of work that follow from events, and what travels between the relay and a worker.

pub mod test_execution;

/// A kind of job: its name on the wire and the pool of workers that does it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct JobKind {
    /// The last but one token of a ticket's subject.
    pub name: &'static str,
    /// The pool whose workers do it.
    pub pool: &'static str,
}

/// All kinds; each has a consumer declared in `nats/consumers/` and a worker.
pub const KINDS: [JobKind; 1] = [test_execution::KIND];
