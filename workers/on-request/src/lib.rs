//! What a worker does with a ticket of a job on request, whatever its kind: look whether it is wanted, work, report.
//!
//! A kind brings a [`Task`]; [`OnRequest`] makes a handler of it that keeps the promises of all kinds: the ticket is
//! acknowledged only after the report is committed, an attempt that takes too long is stopped, a panic is a failed
//! attempt, and a worker that has to stop gives the job back.

mod handler;
mod working;

use std::time::Duration;

use futures_util::future::BoxFuture;
use pcs_domain::ids::{JobId, TenantId};
use pcs_domain::jobs::JobKind;
use pcs_domain::jobs::on_request::JobFailure;
use serde_json::{Map, Value};

pub use self::handler::OnRequest;

/// An attempt at a job.
#[derive(Clone, Debug, PartialEq)]
pub struct Attempt {
    /// The tenant.
    pub tenant: TenantId,
    /// The job.
    pub job_id: JobId,
    /// Which attempt, from 1.
    pub attempt: u16,
    /// What is to be done.
    pub input: Map<String, Value>,
}

/// A kind of job on request, as a worker does it.
pub trait Task: Send + Sync + 'static {
    /// The kind.
    fn kind(&self) -> JobKind;

    /// How long an attempt may take; then it is stopped, and has failed.
    fn time_max(&self) -> Duration;

    /// Makes an attempt. It may be dropped at any await, and made again after that: what it does must bear that.
    ///
    /// # Errors
    /// What went wrong; its class says whether another attempt could go better.
    fn attempt(&self, attempt: Attempt) -> BoxFuture<'_, Result<Map<String, Value>, JobFailure>>;
}
