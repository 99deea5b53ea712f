//! The only crate that speaks NATS: topology, tickets, the worker runtime, and questions between workers and the relay.
//!
//! The broker distributes and forgets. Nothing here is a record: what must last is an event in PostgreSQL, and a ticket
//! that the broker loses is dispatched again. Kinds of jobs are opaque here; a worker brings a [`JobHandler`].

mod topology;
mod subjects;
mod connect;
mod tickets;
mod questions;
mod reports;
mod replay;
mod fleet;
mod hints;
mod backend;
mod lease;
mod measure;
mod worker;

pub use self::connect::{Bus, BusConfig};
pub use self::fleet::{Heartbeat, WorkerPresence};
pub use self::hints::LogHints;
pub use self::lease::{Delivery, Disposition, Job, JobHandler};
pub use self::measure::JobMetrics;
pub use self::questions::{Answering, Responder, until_taken};
pub use self::replay::{EventPublisher, NotTaken, ReplayedEvent};
pub use self::reports::Reports;
pub use self::tickets::{NewTicket, StreamState};
pub use self::worker::{WorkerConfig, run_worker};

/// The broker could not do its work; what was sent may or may not have arrived.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No connection.
    #[error("NATS at {url} does not answer: {message}")]
    Connect {
        /// The address, without credentials.
        url: String,
        /// What the client said.
        message: String,
    },
    /// A declaration in `nats/` is wrong, or the server refuses it.
    #[error("the declaration of {name} was refused: {message}")]
    Topology {
        /// The stream or consumer.
        name: String,
        /// What the server said.
        message: String,
    },
    /// A request had no answer.
    #[error("no answer on {subject}: {message}")]
    NoAnswer {
        /// Where it was sent.
        subject: String,
        /// What the client said.
        message: String,
    },
    /// An answer could not be read.
    #[error("the answer on {subject} can't be read: {message}")]
    Unreadable {
        /// Where it came from.
        subject: String,
        /// Why.
        message: String,
    },
    /// The worker runtime ended with an error.
    #[error("the worker runtime ended: {0}")]
    Worker(String),
}
