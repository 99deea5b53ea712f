//! Kinds of work that follow from events, and what travels between the relay and a worker.

pub mod test_execution;
pub mod swarm_agent;
pub mod maintenance;
pub mod on_request;

use serde::Deserialize;
use serde_json::{Map, Value};

/// A kind of job: its name on the wire and the pool of workers that does it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct JobKind {
    /// The last but one token of a ticket's subject.
    pub name: &'static str,
    /// The pool whose workers do it.
    pub pool: &'static str,
}

/// All kinds; each has a consumer declared in `nats/consumers/` and a worker.
pub const KINDS: [JobKind; 3] = [test_execution::KIND, swarm_agent::KIND, maintenance::KIND];

/// The kinds that are asked for one by one, as [`crate::job::Job`]; test executions follow from runs.
pub const ON_REQUEST: [JobKind; 2] = [swarm_agent::KIND, maintenance::KIND];

/// Why a job can't be asked for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum InputError {
    /// There is no such kind on request.
    UnknownKind,
    /// The kind does not understand the input.
    Unreadable(String),
}

/// Whether a kind understands an input.
pub(crate) fn check_input(kind: &str, input: &Map<String, Value>) -> Result<(), InputError> {
    match kind {
        _ if kind == swarm_agent::KIND.name => read::<swarm_agent::AgentTask>(input).map(drop),
        _ if kind == maintenance::KIND.name => read::<maintenance::Task>(input).map(drop),
        _ => return Err(InputError::UnknownKind),
    }
    .map_err(InputError::Unreadable)
}

/// Reads an input as its kind's type.
///
/// # Errors
/// Where and why it is none.
pub fn read<'a, T: Deserialize<'a>>(input: &'a Map<String, Value>) -> Result<T, String> {
    T::deserialize(input).map_err(|error| error.to_string())
}

/// The kinds on request, for a person.
#[must_use]
pub fn on_request_names() -> String {
    ON_REQUEST.map(|kind| kind.name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_on_request_has_an_input() {
        for kind in ON_REQUEST {
            assert!(KINDS.contains(&kind), "{}", kind.name);
            // None of them understands everything.
            let nothing_like_it = Map::from_iter([("no such field".to_owned(), Value::Null)]);
            assert!(
                matches!(check_input(kind.name, &nothing_like_it), Err(InputError::Unreadable(_))),
                "{}",
                kind.name
            );
        }
        assert_eq!(check_input("dishes", &Map::new()), Err(InputError::UnknownKind));
    }
}
