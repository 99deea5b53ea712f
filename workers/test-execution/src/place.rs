//! A place for a call: asked of the relay where limits, pauses or kept answers may matter.

use std::time::Duration;

use pcs_bus::Bus;
use pcs_domain::canonical::canonical_json;
use pcs_domain::execution::Answer;
use pcs_domain::jobs::test_execution::{Claim, Question, Reply, Reserve, Ticket};
use pcs_domain::prompt_card::TestCase;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::attempt::Prepared;
use crate::handler::{Obstacle, ask};

/// What the relay said.
pub(crate) enum Place {
    /// No place is needed.
    NotAsked,
    /// The call may be made now.
    Reserved,
    /// The question was answered before.
    Answered(Answer),
    /// Not now; the relay has the job back.
    Snoozed,
}

/// Gets a place for the call, and waits for its time.
pub(crate) async fn place(
    bus: &Bus,
    ticket: &Ticket,
    worker: &str,
    prepared: &Prepared<'_>,
    content: Option<&str>,
) -> Result<Place, Obstacle> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (input_tokens, output_tokens) = pcs_providers::call_tokens(prepared.model, &prepared.prompt);
    let wanted = Reserve {
        tenant: ticket.tenant,
        cell: ticket.cell.clone(),
        claim: Claim { dispatch_id: ticket.dispatch_id, worker: worker.to_owned() },
        input_tokens,
        output_tokens,
        call_ms: millis(prepared.deadline),
        content: content.map(str::to_owned),
    };
    let question = Question::Reserve(Box::new(wanted));
    let mut reply = ask(bus, &question).await?;
    if let Reply::Reserved { start_in_ms: wait @ 1.. } = reply {
        tokio::time::sleep(Duration::from_millis(wait)).await;
        // Meanwhile the provider may have said that it has no room.
        reply = ask(bus, &question).await?;
    }
    match reply {
        Reply::Reserved { start_in_ms } => {
            tokio::time::sleep(Duration::from_millis(start_in_ms)).await;
            Ok(Place::Reserved)
        }
        Reply::Cached(answer) => Ok(Place::Answered(Answer { cached: true, cost_micro_usd: Some(0), ..*answer })),
        Reply::Snoozed => Ok(Place::Snoozed),
        Reply::Unknown { .. } => Err(Obstacle::Unwanted),
        _ => Err(Obstacle::Relay),
    }
}

/// The hash of all that the answer depends on. The repeat is among it: repeats are there to see answers differ.
pub(crate) fn content(ticket: &Ticket, case: &TestCase, prepared: &Prepared<'_>) -> String {
    let model = prepared.model;
    let asked = json!({
        "model": model.id,
        "base_url": model.base_url,
        "params": model.params,
        "script": model.script,
        // Models that are no models answer by the case's variables.
        "variables": case.input,
        "prompt": prepared.prompt,
        "repeat": ticket.cell.repeat,
    });
    hex::encode(Sha256::digest(canonical_json(&asked).as_bytes()))
}
