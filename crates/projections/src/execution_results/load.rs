//! Writes results in bulk, by COPY: where the read model is built anew, and where a page is long.

use pcs_domain::execution::Failure;
use pcs_store::Recorded;
use sqlx::PgConnection;

use super::save::class;
use super::{Added, SavedAttempt, SavedResult};
use crate::copy::{Load, Rows};
use crate::{ProjectionError, storable};

/// Columns of [`COPY_RESULTS`].
const RESULT_FIELDS: i16 = 26;
const COPY_RESULTS: &str = "copy execution_result (
    tenant_id, execution_id, run_id, card_id, version, case_id, model, repeat, status, score, input, output, verdicts,
    latency_ms, input_tokens, output_tokens, cost_micro_usd, error_class, error, attempt, worker, executed_at, position,
    subject, grader, cached) from stdin with (format binary)";

/// Columns of [`COPY_ATTEMPTS`].
const ATTEMPT_FIELDS: i16 = 9;
const COPY_ATTEMPTS: &str = "copy execution_attempt (
    tenant_id, execution_id, attempt, worker, class, error, retry_at, at, subject) from stdin with (format binary)";

/// Folds and sends event by event, so that the server writes the first rows while the last ones are folded.
pub(super) async fn load(connection: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    let mut added = Added::default();
    let mut load = Load::begin(&mut *connection, COPY_RESULTS, RESULT_FIELDS).await?;
    for recorded in batch {
        added.fold(recorded)?;
        for result in added.results.drain(..) {
            put_result(load.rows(), &result)?;
            load.send().await?;
        }
    }
    load.finish().await?;
    if added.attempts.is_empty() {
        return Ok(());
    }
    let mut load = Load::begin(connection, COPY_ATTEMPTS, ATTEMPT_FIELDS).await?;
    for attempt in &added.attempts {
        put_attempt(load.rows(), attempt)?;
        load.send().await?;
    }
    load.finish().await?;
    Ok(())
}

fn put_result(rows: &mut Rows, result: &SavedResult<'_>) -> Result<(), serde_json::Error> {
    let measure = |value: Option<u64>| value.map(storable::measure);
    let (answer, failure) = (result.answer, result.failure);
    rows.row()
        .int(result.tenant.0)
        .uuid(result.execution_id.0)
        .uuid(result.cell.run_id.0)
        .uuid(result.cell.card_id.0)
        .bigint(i64::from(result.cell.version))
        .uuid(result.cell.case_id.0)
        .text(&*storable::text(&result.cell.model))
        .int(i32::from(result.cell.repeat))
        .text(result.status.name())
        .double(result.score)
        .jsonb(&result.input)
        .text(result.output.as_deref())
        .jsonb(&result.verdicts)
        .bigint(measure(answer.map(|answer| answer.latency_ms)))
        .bigint(measure(answer.map(|answer| answer.input_tokens)))
        .bigint(measure(answer.map(|answer| answer.output_tokens)))
        .bigint(measure(result.cost_micro_usd))
        .text(failure.map(class).transpose()?.as_deref())
        .text(failure.map(error).as_deref())
        .int(i32::from(result.attempt))
        .text(&*storable::text(result.worker))
        .timestamp(result.executed_at)
        .bigint(result.position)
        .jsonb_opt(result.subject.as_deref())
        .text(result.grader)
        .bool(answer.is_some_and(|answer| answer.cached));
    Ok(())
}

fn put_attempt(rows: &mut Rows, attempt: &SavedAttempt<'_>) -> Result<(), serde_json::Error> {
    rows.row()
        .int(attempt.tenant.0)
        .uuid(attempt.execution_id.0)
        .int(i32::from(attempt.attempt))
        .text(&*storable::text(attempt.worker))
        .text(&*class(attempt.failure)?)
        .text(&*error(attempt.failure))
        .timestamp(attempt.retry_at)
        .timestamp(attempt.at)
        .jsonb_opt(attempt.subject.as_deref());
    Ok(())
}

fn error(failure: &Failure) -> std::borrow::Cow<'_, str> {
    storable::text(&failure.error)
}
