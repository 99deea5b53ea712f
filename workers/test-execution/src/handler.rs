//! One ticket from its delivery to its report: ask the relay what is missing, make the attempt, report until answered.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use pcs_bus::{Bus, Disposition, Job, JobHandler, Reports, until_taken};
use pcs_domain::execution::{Failure, FailureClass};
use pcs_domain::jobs::JobKind;
use pcs_domain::jobs::test_execution::{Claim, KIND, Outcome, Question, Reply, Report, Ticket};
use pcs_domain::prompt_card::TestCase;
use pcs_providers::Gateway;
use pcs_sealing::{Hello, SealError};
use serde_json::{Map, Value};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use crate::attempt;
use crate::kept::Kept;
use crate::place::{self, Place};
use crate::plans::{CompiledPlan, Plans};
use crate::private::PrivateSession;
use crate::working::Working;

/// When a ticket comes back that nothing could be done for because the relay did not answer.
const RELAY_RETRY: Duration = Duration::from_secs(1);

/// Does `test_execution` jobs.
pub struct TestExecution {
    bus: Bus,
    reports: Reports,
    gateway: Arc<Gateway>,
    plans: Plans,
    worker: String,
    working: Working,
    kept: Kept,
}

/// What came of a job.
struct Attempted {
    outcome: Outcome,
    /// Whether it had a reserved place.
    reserved: bool,
    /// The question's hash, where the answer may be used again.
    content: Option<String>,
}

impl Attempted {
    /// Without a place, and with nothing to be kept.
    fn of(outcome: Outcome) -> Self {
        Self { outcome, reserved: false, content: None }
    }
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
        let (plans, reports) = (Plans::new(bus.clone()), Reports::start(bus.clone()));
        Self { plans, reports, bus, gateway, worker, working: Working::default(), kept: Kept::default() }
    }

    async fn work(&self, ticket: Ticket, job: &Job, exported: &Span) -> Result<(), Obstacle> {
        // Somebody may have done it already, and calls cost money.
        if job.redelivered && !self.is_wanted(&ticket).await? {
            return Err(Obstacle::Unwanted);
        }
        let plan = self.plans.get(ticket.tenant, ticket.cell.run_id).await?;
        let (case, session) = match ticket.case.clone() {
            Some(case) => (case, None),
            None => self.fetch_case(&ticket).await?,
        };
        let Some(attempted) = self.attempt(&plan, &ticket, &case, (job.ask_first, session.is_some())).await? else {
            return Ok(());
        };
        if let Outcome::Failed { failure, .. } = &attempted.outcome {
            exported.record("otel.status_code", "ERROR");
            exported.record("error.type", failure.class.name());
        }
        let (input, outcome) = match session {
            None => (case.input, attempted.outcome),
            Some(session) => (Map::new(), session.seal(case.input, attempted.outcome).map_err(unsealable)?),
        };
        let report = self.report_of(ticket, input, outcome);
        self.report(Report { reserved: attempted.reserved, content: attempted.content, ..report }).await;
        Ok(())
    }

    /// Makes the attempt; none where the relay has taken the job back.
    async fn attempt(
        &self,
        plan: &Arc<CompiledPlan>,
        ticket: &Ticket,
        case: &TestCase,
        (ask_first, is_private): (bool, bool),
    ) -> Result<Option<Attempted>, Obstacle> {
        let prepared = match attempt::prepare(plan, ticket, case) {
            Ok(prepared) => prepared,
            Err(failure) => return Ok(Some(Attempted::of(attempt::failed(failure)))),
        };
        // What a data subject's case brought is not kept for others.
        let content = (plan.cache && !is_private).then(|| place::content(ticket, case, &prepared));
        // A data subject's answer stays nowhere longer than its attempt.
        let kept = (!is_private).then_some(&self.kept);
        let place = if ticket.limited || ask_first {
            place::place(&self.bus, ticket, &self.worker, &prepared, content.as_deref()).await?
        } else {
            Place::NotAsked
        };
        Ok(match place {
            Place::Snoozed => None,
            Place::Answered(answer) => Some(Attempted::of(prepared.grade(&self.gateway, answer).await)),
            Place::NotAsked => Some(Attempted::of(prepared.attempt(&self.gateway, kept).await)),
            Place::Reserved => {
                let outcome = prepared.attempt(&self.gateway, kept).await;
                Some(Attempted { outcome, reserved: true, content })
            }
        })
    }

    fn report_of(&self, ticket: Ticket, input: Map<String, Value>, outcome: Outcome) -> Report {
        let Ticket { tenant, dispatch_id, cell, attempt, snoozes, traceparent, .. } = ticket;
        let (worker, reserved, content) = (self.worker.clone(), false, None);
        Report { tenant, dispatch_id, cell, input, attempt, snoozes, worker, outcome, reserved, content, traceparent }
    }

    fn claim(&self, ticket: &Ticket) -> Claim {
        Claim { dispatch_id: ticket.dispatch_id, worker: self.worker.clone() }
    }

    async fn is_wanted(&self, ticket: &Ticket) -> Result<bool, Obstacle> {
        let (tenant, cell) = (ticket.tenant, ticket.cell.clone());
        let (attempt, snoozes, claim) = (ticket.attempt, ticket.snoozes, Some(self.claim(ticket)));
        match ask(&self.bus, &Question::Wanted { tenant, cell, attempt, snoozes, claim }).await? {
            Reply::Wanted { wanted } => Ok(wanted),
            Reply::Unknown { .. } => Err(Obstacle::Unwanted),
            _ => Err(Obstacle::Relay),
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
            _ => Err(Obstacle::Relay),
        }
    }

    /// Sends the report until it has an answer: the result was paid for, and the lease is kept alive meanwhile.
    async fn report(&self, report: Report) {
        until_taken(|| self.reports.send(&report)).await;
    }
}

/// What every line that is logged for a job says: the request that caused it, and which attempt at what it is.
fn span(ticket: &Ticket) -> Span {
    // version-trace-parent-flags: the trace is the second part.
    let trace = ticket.traceparent.as_deref().and_then(|parent| parent.split('-').nth(1)).unwrap_or_default();
    tracing::info_span!(
        "job",
        trace.id = trace,
        run.id = %ticket.cell.run_id,
        execution.id = %ticket.cell.id(),
        attempt = ticket.attempt,
    )
}

/// The job in the trace of the request that caused it.
fn exported_span(ticket: &Ticket) -> Span {
    let span = tracing::info_span!(
        target: pcs_traces::TARGET,
        "process test_execution",
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "nats",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        run.id = %ticket.cell.run_id,
        execution.id = %ticket.cell.id(),
        attempt = i64::from(ticket.attempt),
        "error.type" = Empty,
    );
    pcs_traces::continue_from(&span, ticket.traceparent.as_deref());
    span
}

fn unsealable(error: SealError) -> Obstacle {
    tracing::warn!(%error, "a data subject's case can't be worked on now");
    Obstacle::Relay
}

impl JobHandler for TestExecution {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn handle(&self, job: Job) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            let mut ticket: Ticket = match serde_json::from_slice(&job.ticket) {
                Ok(ticket) => ticket,
                Err(error) => return Disposition::Unreadable(error.to_string()),
            };
            let _working = self.working.begin(&ticket);
            let (span, exported) = (span(&ticket), exported_span(&ticket));
            if let Some(own) = pcs_traces::traceparent(&exported) {
                // What follows, follows from the job.
                ticket.traceparent = Some(own);
            }
            let working = self.work(ticket, &job, &exported).instrument(exported.clone());
            match working.instrument(span).await {
                Ok(()) | Err(Obstacle::Unwanted) => Disposition::Done,
                Err(Obstacle::Relay) => Disposition::Later(RELAY_RETRY),
            }
        })
    }

    fn hand_back(&self, ticket: bytes::Bytes) -> BoxFuture<'_, Disposition> {
        Box::pin(async move {
            let Ok(ticket) = serde_json::from_slice::<Ticket>(&ticket) else { return Disposition::Redeliver };
            let (tenant, cell, claim) = (ticket.tenant, ticket.cell.clone(), self.claim(&ticket));
            match ask(&self.bus, &Question::HandBack { tenant, cell, claim }).await {
                Ok(Reply::Noted) => Disposition::Done,
                Ok(_) | Err(_) => Disposition::Redeliver,
            }
        })
    }

    fn ended_runs(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async move {
            let runs = self.working.runs();
            if runs.is_empty() {
                return Vec::new();
            }
            match ask(&self.bus, &Question::Ended { runs }).await {
                Ok(Reply::Ended { runs }) => runs.into_iter().map(|run| run.0.simple().to_string()).collect(),
                Ok(_) | Err(_) => Vec::new(),
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
            let outcome = attempt::failed(failure);
            self.report(self.report_of(ticket, input, outcome)).await;
            Disposition::Done
        })
    }
}
