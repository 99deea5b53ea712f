//! The rules of prompt cards, test runs and executions: what may happen, what happened, and nothing else.
//!
//! Read in this order: [`aggregate`] says how a command becomes events, [`prompt_card`], [`test_run`] and
//! [`execution`] hold the rules, [`jobs`] says what work follows from an event, and [`job`] is work that is asked for by itself. There is no IO here and no clock:
//! time and ids come in as parameters, so that the same history always folds to the same state.

pub mod aggregate;
pub mod prompt_card;
pub mod test_run;
pub mod regrade;
pub mod review;
pub mod execution;
pub mod data_subject;
pub mod job_policy;
pub mod schedule;
pub mod job;
pub mod jobs;
pub mod assertion;
pub mod canonical;
pub mod certificate;
pub mod event;
pub mod ids;
pub mod limits;
pub mod model;
pub mod ports;
pub mod snapshot;
pub mod timestamp;
pub mod upcast;
#[cfg(test)]
mod given;

pub use aggregate::{Aggregate, RejectionCode};
pub use event::{Category, DecodeError, DomainEvent, EventSet, EventType, Unread};
pub use snapshot::SnapshotFormat;
pub use timestamp::Timestamp;
