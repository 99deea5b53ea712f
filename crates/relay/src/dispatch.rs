//! Keeps a short window of tickets with the broker: short, so that cancelling and priorities act on the rest.

use pcs_bus::{Bus, NewTicket};
use pcs_domain::execution::ExecutionRef;
use pcs_domain::ids::{DispatchId, JobId};
use pcs_domain::job::Job;
use pcs_domain::jobs::on_request::JobTicket;
use pcs_domain::jobs::test_execution::{self, TICKET_CASE_BYTES_MAX, Ticket};
use pcs_domain::jobs::{JobKind, KINDS, ON_REQUEST};
use pcs_store::Store;

use crate::RelayError;
use crate::desk::{self, Fronts, Released};
use crate::presence::Presence;
use crate::runs::Runs;

/// Tickets with the broker for each slot of the fleet: one that is worked on and one that waits.
const TICKETS_PER_SLOT: usize = 2;
/// Tickets with the broker while few slots are known; covers the round trip of fast jobs.
const WINDOW_LEN_MIN: usize = 64;
/// Most tickets with the broker.
pub(crate) const WINDOW_LEN_MAX: usize = 8_192;
/// Most tickets that are handed out at once.
const RELEASE_LEN_MAX: usize = 1_024;

/// Hands out as many jobs of each kind as its window has room for; answers how many.
pub(crate) async fn fill_window(
    store: &Store,
    bus: &Bus,
    runs: &Runs,
    presence: &Presence,
    (term, fronts): (i64, &mut Fronts),
) -> Result<usize, RelayError> {
    if !bus.is_connected() {
        // The client would keep what is published and send it all later.
        return Ok(0);
    }
    let window = |kind| (presence.slots(kind) * TICKETS_PER_SLOT).clamp(WINDOW_LEN_MIN, WINDOW_LEN_MAX);
    let windows = KINDS.map(|kind| (kind, window(kind)));
    let released = desk::release(store.pool(), term, &windows, RELEASE_LEN_MAX, fronts).await?;
    if released.is_empty() {
        return Ok(0);
    }
    let mut tickets = Vec::with_capacity(released.len());
    let mut rows = Vec::with_capacity(released.len());
    for row in &released {
        match ticket(store, runs, row).await {
            Ok(ticket) => {
                tickets.push(ticket);
                rows.push(row);
            }
            // The others of the batch go out all the same; the reconciler puts this one back, and it is told again.
            Err(error @ RelayError::Inconsistent { .. }) => tracing::error!(%error, "a ticket can't be written"),
            Err(error) => return Err(error),
        }
    }
    let outcomes = bus.publish_tickets(tickets).await;
    let mut unsent = Vec::new();
    for (row, outcome) in rows.iter().zip(&outcomes) {
        if let Err(error) = outcome {
            tracing::debug!(%error, execution.id = %row.execution_id, "a ticket did not reach the broker");
            unsent.push(DispatchId(row.dispatch_id));
        }
    }
    if !unsent.is_empty() {
        tracing::warn!(tickets = unsent.len(), "tickets did not reach the broker; they are handed out again");
        desk::take_unsent_back(store.pool(), &unsent).await?;
        fronts.forget();
    }
    Ok(rows.len() - unsent.len())
}

async fn ticket(store: &Store, runs: &Runs, row: &Released) -> Result<NewTicket, RelayError> {
    match ON_REQUEST.into_iter().find(|kind| kind.name == row.kind) {
        Some(kind) => job_ticket(store, row, kind).await,
        None => execution_ticket(runs, row).await,
    }
}

async fn job_ticket(store: &Store, row: &Released, kind: JobKind) -> Result<NewTicket, RelayError> {
    let (run_id, tenant) = (row.run_id(), row.tenant());
    let job = store.load::<Job>(tenant, run_id.0).await?.state;
    let missing = || RelayError::Inconsistent { run_id, message: "the job is not in its stream".to_owned() };
    let ticket = JobTicket {
        tenant,
        dispatch_id: DispatchId(row.dispatch_id),
        job_id: JobId(run_id.0),
        attempt: u16::try_from(row.attempt).unwrap_or(1),
        input: job.request().ok_or_else(missing)?.input.clone(),
        traceparent: row.trace.clone(),
    };
    let payload = serde_json::to_vec(&ticket).unwrap_or_default().into();
    Ok(NewTicket { dispatch_id: ticket.dispatch_id, lane: row.lane(), kind, run_id, payload })
}

async fn execution_ticket(runs: &Runs, row: &Released) -> Result<NewTicket, RelayError> {
    let run_id = row.run_id();
    let missing = |message: &str| RelayError::Inconsistent { run_id, message: message.to_owned() };
    let run = runs.context(row.tenant(), run_id).await?.ok_or_else(|| missing("it is not in its stream"))?;
    let case = run.case(row.case_id()).ok_or_else(|| missing("a case of it is not in its card"))?;
    let cell = ExecutionRef {
        run_id,
        card_id: run.request.card_id,
        version: u32::try_from(row.version).unwrap_or_default(),
        case_id: row.case_id(),
        model: row.model.clone(),
        repeat: u16::try_from(row.repeat).unwrap_or_default(),
    };
    let mut ticket = Ticket {
        tenant: row.tenant(),
        dispatch_id: DispatchId(row.dispatch_id),
        attempt: u16::try_from(row.attempt).unwrap_or(1),
        snoozes: u16::try_from(row.snoozes).unwrap_or(0),
        limited: row.limited || run.request.terms.cache || run.is_remote(&row.model),
        cell,
        // Tickets are stored by the broker: what is a data subject's is fetched by the worker, sealed for it.
        case: case.subject.is_none().then(|| case.clone()),
        traceparent: row.trace.clone(),
    };
    let mut payload = ticket_bytes(&ticket);
    if payload.len() > TICKET_CASE_BYTES_MAX {
        // Too large for a ticket: the worker fetches the case.
        ticket.case = None;
        payload = ticket_bytes(&ticket);
    }
    Ok(NewTicket {
        dispatch_id: ticket.dispatch_id,
        lane: row.lane(),
        kind: test_execution::KIND,
        run_id,
        payload: payload.into(),
    })
}

/// A ticket as JSON; its maps have text keys, so encoding can't fail.
fn ticket_bytes(ticket: &Ticket) -> Vec<u8> {
    serde_json::to_vec(ticket).unwrap_or_default()
}
