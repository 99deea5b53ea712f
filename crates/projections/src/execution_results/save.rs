//! Writes the results of a page of events: one statement for each table, more only where the outputs are huge.

use pcs_domain::execution::Failure;
use sqlx::PgConnection;

use super::{Added, SavedAttempt, SavedResult};
use crate::{ProjectionError, storable};

impl Added<'_> {
    pub(super) async fn save(&self, connection: &mut PgConnection) -> Result<(), ProjectionError> {
        let bytes = self.results.iter().map(|result| {
            result.input.len()
                + result.verdicts.len()
                + result.subject.as_ref().map_or(0, String::len)
                + result.output.as_ref().map_or(0, |output| output.len())
        });
        let mut start = 0;
        for end in storable::statement_ends(bytes) {
            save_results(&self.results[start..end], connection).await?;
            start = end;
        }
        if self.attempts.is_empty() { Ok(()) } else { save_attempts(&self.attempts, connection).await }
    }
}

/// One array of a column for `unnest`.
fn column<'a, R, T>(rows: &'a [R], value: impl FnMut(&'a R) -> T) -> Vec<T> {
    rows.iter().map(value).collect()
}

/// The wire name of a failure's class, as events and the API have it.
pub(super) fn class(failure: &Failure) -> Result<String, serde_json::Error> {
    serde_json::to_string(&failure.class).map(|json| json.trim_matches('"').to_owned())
}

async fn save_results(rows: &[SavedResult<'_>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let models = column(rows, |r| storable::text(&r.cell.model));
    let classes = rows.iter().map(|r| r.failure.map(class).transpose()).collect::<Result<Vec<_>, _>>()?;
    let errors = column(rows, |r| r.failure.map(|failure| storable::text(&failure.error)));
    let workers = column(rows, |r| storable::text(r.worker));
    sqlx::query(include_str!("../../queries/results_save.sql"))
        .bind(column(rows, |r| r.tenant.0))
        .bind(column(rows, |r| r.execution_id.0))
        .bind(column(rows, |r| r.cell.run_id.0))
        .bind(column(rows, |r| r.cell.card_id.0))
        .bind(column(rows, |r| i64::from(r.cell.version)))
        .bind(column(rows, |r| r.cell.case_id.0))
        .bind(column(&models, AsRef::as_ref))
        .bind(column(rows, |r| i32::from(r.cell.repeat)))
        .bind(column(rows, |r| r.status.name()))
        .bind(column(rows, |r| r.score))
        .bind(column(rows, |r| r.input.as_str()))
        .bind(column(rows, |r| r.output.as_deref()))
        .bind(column(rows, |r| r.verdicts.as_str()))
        .bind(column(rows, |r| r.answer.map(|answer| storable::measure(answer.latency_ms))))
        .bind(column(rows, |r| r.answer.map(|answer| storable::measure(answer.input_tokens))))
        .bind(column(rows, |r| r.answer.map(|answer| storable::measure(answer.output_tokens))))
        .bind(column(rows, |r| r.cost_micro_usd.map(storable::measure)))
        .bind(classes)
        .bind(column(&errors, Option::as_deref))
        .bind(column(rows, |r| i32::from(r.attempt)))
        .bind(column(&workers, AsRef::as_ref))
        .bind(column(rows, |r| r.executed_at.get()))
        .bind(column(rows, |r| r.position))
        .bind(column(rows, |r| r.subject.as_deref()))
        .bind(column(rows, |r| r.grader))
        .bind(column(rows, |r| r.answer.is_some_and(|answer| answer.cached)))
        .execute(connection)
        .await?;
    Ok(())
}

async fn save_attempts(rows: &[SavedAttempt<'_>], connection: &mut PgConnection) -> Result<(), ProjectionError> {
    let errors = column(rows, |r| storable::text(&r.failure.error));
    let workers = column(rows, |r| storable::text(r.worker));
    sqlx::query(
        "insert into execution_attempt (tenant_id, execution_id, attempt, worker, class, error, retry_at, at,
                                             subject)
         select tenant_id, execution_id, attempt, worker, class, error, retry_at, at, subject::jsonb
         from unnest($1::int[], $2::uuid[], $3::int[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
                     $8::timestamptz[], $9::text[])
              as r (tenant_id, execution_id, attempt, worker, class, error, retry_at, at, subject)
         on conflict (tenant_id, execution_id, attempt) do nothing",
    )
    .bind(column(rows, |r| r.tenant.0))
    .bind(column(rows, |r| r.execution_id.0))
    .bind(column(rows, |r| i32::from(r.attempt)))
    .bind(column(&workers, AsRef::as_ref))
    .bind(rows.iter().map(|r| class(r.failure)).collect::<Result<Vec<_>, _>>()?)
    .bind(column(&errors, AsRef::as_ref))
    .bind(column(rows, |r| r.retry_at.map(pcs_domain::Timestamp::get)))
    .bind(column(rows, |r| r.at.get()))
    .bind(column(rows, |r| r.subject.as_deref()))
    .execute(connection)
    .await?;
    Ok(())
}
