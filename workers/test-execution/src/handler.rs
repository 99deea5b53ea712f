//! One ticket from its delivery to its report: ask the relay what is missing, make the attempt, report until answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pcs_bus::{Bus, Disposition, JobHandler};
use pcs_domain::execution::{Failure, FailureClass};
use pcs_domain::jobs::JobKind;
use pcs_domain::jobs::test_execution::{KIND, Outcome, Question, Receipt, Reply, Report, Ticket};
use pcs_domain::prompt_card::TestCase;
use pcs_providers::Gateway;
use pcs_sealing::{Hello, SealError};
use serde_json::{Map, Value};

use crate::attempt;
use crate::plans::Plans;
use crate::private::PrivateSession;

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
        let (case, session) = match ticket.case.clone() {
            Some(case) => (case, None),
            None => self.fetch_case(&ticket).await?,
        };
        let outcome = attempt::attempt(&self.gateway, &plan, &ticket, &case).await;
        let (input, outcome) = match session {
            None => (case.input, outcome),
            Some(session) => (Map::new(), session.seal(case.input, outcome).map_err(unsealable)?),
        };
        self.report(self.report_of(ticket, input, outcome)).await;
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
            Reply::Plan(_) | Reply::Case(_) | Reply::SealedCase { .. } | Reply::Unavailable { .. } => {
                Err(Obstacle::Relay)
            }
        }
    }

    /// Asks for a case that is not in its ticket; of a data subject's, with the session that its report needs.
    async fn fetch_case(&self, ticket: &Ticket) -> Result<(TestCase, Option<PrivateSession>), Obstacle> {
        let (tenant, cell) = (ticket.tenant, ticket.cell.clone());
        let hello = Hello::new().map_err(unsealable)?;
        let question = Question::Case { tenant, cell: cell.clone(), worker_key: Some(hello.public_key()) };
        match ask(&self.bus, &question).await? {
            Reply::Case(case) => Ok((*case, None)),
            Reply::SealedCase { relay_key, master, case } => {
                let begun = PrivateSession::begin(&hello, (tenant, &cell), (&relay_key, master), &case);
                let (session, case) = begun.map_err(unsealable)?;
                Ok((case, Some(session)))
            }
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

fn unsealable(error: SealError) -> Obstacle {
    tracing::warn!(%error, "a data subject's case can't be worked on now");
    Obstacle::Relay
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
            // A case that is not in its ticket may be a data subject's, and a panic may quote it.
            let error = match ticket.case {
                Some(_) => format!("the worker panicked: {message}"),
                None => "the worker panicked".to_owned(),
            };
            let failure = Failure { class: FailureClass::Worker, error };
            let input = ticket.case.as_ref().map(|case| case.input.clone()).unwrap_or_default();
            let outcome = Outcome::Failed { failure, retry_after_ms: None };
            self.report(self.report_of(ticket, input, outcome)).await;
            Disposition::Done
        })
    }
}
