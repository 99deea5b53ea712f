//! Calls of an agent to models: each has its place before it is made, and is settled after it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use pcs_bus::Bus;
use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::ids::{ExecutionId, JobId, TenantId};
use pcs_domain::jobs::on_request::{CallEnd, JobCall, JobFailure, JobQuestion, JobReply};
use pcs_domain::jobs::swarm_agent::KIND;
use pcs_domain::model::ModelSpec;
use pcs_providers::{CallError, CallKey, ChatRequest, Gateway, call_deadline, call_tokens};
use pcs_worker_on_request::Attempt;
use serde_json::{Map, Value};
use tracing::Instrument;
use uuid::Uuid;

/// When a relay that does not answer is asked again.
const RELAY_RETRY: Duration = Duration::from_secs(1);

/// The calls of one attempt at one job.
pub struct Calls {
    bus: Bus,
    gateway: Arc<Gateway>,
    worker: String,
    tenant: TenantId,
    job_id: JobId,
    attempt: u16,
    made: AtomicU16,
}

impl Calls {
    pub(crate) fn new(bus: Bus, gateway: Arc<Gateway>, worker: String, attempt: &Attempt) -> Self {
        let Attempt { tenant, job_id, attempt, .. } = *attempt;
        Self { bus, gateway, worker, tenant, job_id, attempt, made: AtomicU16::new(0) }
    }

    /// Asks a model. It waits for room as long as there is none, and for as long as a provider says that it has none: that
    /// is no failure.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn ask(
        &self,
        model: &ModelSpec,
        prompt: &str,
        variables: &Map<String, Value>,
    ) -> Result<Answer, JobFailure> {
        self.gateway.check(model).map_err(failure)?;
        let deadline = call_deadline(model);
        loop {
            let call_id = Uuid::new_v4();
            self.reserve(call_id, model, prompt, deadline).await?;
            let number = self.made.fetch_add(1, Ordering::Relaxed);
            let cell = CallKey { execution_id: ExecutionId(self.job_id.0), attempt: self.attempt, snoozes: number };
            let request = ChatRequest { model, prompt, variables, cell, deadline };
            let exported = pcs_traces::call_span(model.provider(), model.model());
            let result = self.gateway.call(&request).instrument(exported.clone()).await;
            pcs_traces::end_call(&exported, tokens_or_class(&result));
            self.settle(call_id, model, &result).await;
            match result {
                Ok(answer) => return Ok(answer),
                Err(error) if error.class == FailureClass::RateLimited => {
                    tracing::info!(model = model.id, "the provider has no room; the agent waits");
                }
                Err(error) => return Err(failure(error)),
            }
        }
    }

    async fn reserve(
        &self,
        call_id: Uuid,
        model: &ModelSpec,
        prompt: &str,
        deadline: Duration,
    ) -> Result<(), JobFailure> {
        let (input_tokens, output_tokens) = call_tokens(model, prompt);
        let wanted = JobCall {
            tenant: self.tenant,
            job_id: self.job_id,
            call_id,
            worker: self.worker.clone(),
            model: model.clone(),
            input_tokens,
            output_tokens,
            call_ms: u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX),
        };
        let question = JobQuestion::Reserve(Box::new(wanted));
        loop {
            match self.bus.ask_job(KIND, &question).await {
                Ok(JobReply::Reserved { start_in_ms: 0 }) => return Ok(()),
                // And then asked again: meanwhile the provider may have said that it has no room.
                Ok(JobReply::Reserved { start_in_ms }) => tokio::time::sleep(Duration::from_millis(start_in_ms)).await,
                Ok(JobReply::NoRoom { ask_in_ms }) => tokio::time::sleep(Duration::from_millis(ask_in_ms)).await,
                Ok(JobReply::Wanted { .. }) => {
                    return Err(JobFailure::new(FailureClass::Worker, "the job was over before the call"));
                }
                Ok(other) => {
                    tracing::warn!(?other, "the relay can't say whether there is room");
                    tokio::time::sleep(RELAY_RETRY).await;
                }
                Err(error) => {
                    tracing::warn!(%error, "the relay does not answer");
                    tokio::time::sleep(RELAY_RETRY).await;
                }
            }
        }
    }

    /// Tells how a call went. Where that is lost, its place is free again when its time is over.
    async fn settle(&self, call_id: Uuid, model: &ModelSpec, result: &Result<Answer, CallError>) {
        let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        let answer = result.as_ref().ok();
        let error = result.as_ref().err();
        let end = CallEnd {
            tenant: self.tenant,
            call_id,
            model: model.clone(),
            input_tokens: answer.map_or(0, |answer| answer.input_tokens),
            output_tokens: answer.map_or(0, |answer| answer.output_tokens),
            class: error.map(|error| error.class),
            retry_after_ms: error.and_then(|error| error.retry_after).map(millis),
        };
        if let Err(error) = self.bus.ask_job(KIND, &JobQuestion::Settle(Box::new(end))).await {
            tracing::warn!(%error, "the relay did not hear how a call went");
        }
    }
}

fn tokens_or_class(result: &Result<Answer, CallError>) -> Result<(u64, u64), &'static str> {
    result.as_ref().map(|answer| (answer.input_tokens, answer.output_tokens)).map_err(|error| error.class.name())
}

fn failure(error: CallError) -> JobFailure {
    let millis = |pause: Duration| u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
    JobFailure { class: error.class, retry_after_ms: error.retry_after.map(millis), error: error.message }
}
