//! One ticket from its delivery to its report: ask the relay what is missing, make the attempt, report until answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pcs_bus::{Bus, Disposition, JobHandler};
use pcs_domain::execution::{Failure, FailureClass};
use pcs_domain::jobs::JobKind;
use pcs_domain::jobs::test_execution::{KIND, Outcome, Question, Receipt, Reply, Report, Ticket};
use pcs_providers::Gateway;
use serde_json::{Map, Value};

use crate::attempt;
use crate::plans::Plans;

/// When a ticket comes back that nothing could be done for because the relay did not answer.
const RELAY_RETRY: Duration = Duration::from_secs(1);
/// The first pause before a report is sent again.
const REPORT_RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest pause before a report is sent again.
const REPORT_RETRY_MAX: Duration = Duration::from_secs(2);

/// Does `test_execution` jobs.
pub struct TestExecution {
    bus: Bus,
    gateway: Arc<Gateway>,
    plans: Plans,
    worker: String,
}

/// Why a ticket can't be worked on now, or ever.
pub(crate) enum Obstacle {
    /// The relay does not answer.
    Relay,
    /// There is no such run or case, or nobody waits for the result any more.
    Unwanted,
}

/// Asks the relay; the ticket comes back where it can't answer.
pub(crate) async fn ask(bus: &Bus, question: &Question) -> Result<Reply, Obstacle> {
    match bus.ask(question).await {
        Ok(Reply::Unavailable { message }) => {
            tracing::warn!(message, "the relay can't answer now");
            Err(Obstacle::Relay)
        }
        Ok(reply) => Ok(reply),
        Err(error) => {
            tracing::warn!(%error, "the relay does not answer");
            Err(Obstacle::Relay)
        }
    }
}

impl TestExecution {
    /// A handler that reports as `worker`.
    #[must_use]
    pub fn new(bus: Bus, gateway: Arc<Gateway>, worker: String) -> Self {
        Self { plans: Plans::new(bus.clone()), bus, gateway, worker }
    }

    async fn work(&self, ticket: Ticket, redelivered: bool) -> Result<(), Obstacle> {
        // Somebody may have done it already, and calls cost money.
        if redelivered && !self.is_wanted(&ticket).await? {
            return Err(Obstacle::Unwanted);
        }
        let plan = self.plans.get(ticket.tenant, ticket.cell.run_id).await?;
        let case = match ticket.case.clone() {
            Some(case) => case,
            None => self.fetch_case(&ticket).await?,
        };
        let outcome = attempt::attempt(&self.gateway, &plan, &ticket, &case).await;
        self.report(self.report_of(ticket, case.input, outcome)).await;
        Ok(())
    }

    fn report_of(&self, ticket: Ticket, input: Map<String, Value>, outcome: Outcome) -> Report {
        let Ticket { tenant, dispatch_id, cell, attempt, .. } = ticket;
        Report { tenant, dispatch_id, cell, input, attempt, worker: self.worker.clone(), outcome }
    }

    async fn is_wanted(&self, ticket: &Ticket) -> Result<bool, Obstacle> {
        let (tenant, cell, attempt) = (ticket.tenant, ticket.cell.clone(), ticket.attempt);
        match ask(&self.bus, &Question::Wanted { tenant, cell, attempt }).await? {
            Reply::Wanted { wanted } => Ok(wanted),
            Reply::Unknown { .. } => Err(Obstacle::Unwanted),
            Reply::Plan(_) | Reply::Case(_) | Reply::Unavailable { .. } => Err(Obstacle::Relay),
        }
    }

    async fn fetch_case(&self, ticket: &Ticket) -> Result<pcs_domain::prompt_card::TestCase, Obstacle> {
        match ask(&self.bus, &Question::Case { tenant: ticket.tenant, cell: ticket.cell.clone() }).await? {
            Reply::Case(case) => Ok(*case),
            Reply::Unknown { .. } => Err(Obstacle::Unwanted),
            Reply::Plan(_) | Reply::Wanted { .. } | Reply::Unavailable { .. } => Err(Obstacle::Relay),
        }
    }

    /// Sends the report until it has an answer: the result was paid for, and the lease is kept alive meanwhile.
    async fn report(&self, report: Report) {
        let mut pause = REPORT_RETRY_MIN;
        loop {
            match self.bus.report(&report).await {
                Ok(Receipt::Recorded) => return,
                Ok(Receipt::Refused { code }) => {
                    tracing::debug!(code, execution.id = %report.execution_id(), "a result was refused");
                    return;
                }
                Ok(Receipt::Unavailable { message }) => {
                    tracing::warn!(message, "a result could not be recorded; it is kept and sent again");
                }
                Err(error) => tracing::warn!(%error, "nobody took a result; it is kept and sent again"),
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(REPORT_RETRY_MAX);
        }
    }
}

impl JobHandler for TestExecution {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn handle(&self, ticket: bytes::Bytes, redelivered: bool) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            let ticket: Ticket = match serde_json::from_slice(&ticket) {
                Ok(ticket) => ticket,
                Err(error) => return Disposition::Unreadable(error.to_string()),
            };
            match self.work(ticket, redelivered).await {
                Ok(()) | Err(Obstacle::Unwanted) => Disposition::Done,
                Err(Obstacle::Relay) => Disposition::Later(RELAY_RETRY),
            }
        })
    }

    fn panicked(&self, ticket: bytes::Bytes, message: String) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            let ticket: Ticket = match serde_json::from_slice(&ticket) {
                Ok(ticket) => ticket,
                Err(error) => return Disposition::Unreadable(error.to_string()),
            };
            let failure = Failure { class: FailureClass::Worker, error: format!("the worker panicked: {message}") };
            let input = ticket.case.as_ref().map(|case| case.input.clone()).unwrap_or_default();
            let outcome = Outcome::Failed { failure, retry_after_ms: None };
            self.report(self.report_of(ticket, input, outcome)).await;
            Disposition::Done
        })
    }
}
