//! What ended without an answer: dead letters, and what a cancelled run left undone.

use pcs_domain::execution::DeadLettered;
use pcs_domain::ids::{ExecutionId, PromptCardId, TenantId, TestRunId};
use pcs_domain::test_run::Retry;
use pcs_store::Recorded;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::RelayError;

/// A cell of a run that shall be run again by another run.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct UndoneCell {
    pub(crate) version: i32,
    pub(crate) case_id: Uuid,
    pub(crate) model: String,
    pub(crate) repeat: i16,
}

/// A dead letter to be kept.
pub(crate) struct DeadLetter {
    tenant: TenantId,
    execution_id: ExecutionId,
    of: DeadLettered,
    at: OffsetDateTime,
    position: i64,
}

impl DeadLetter {
    pub(crate) fn new(recorded: &Recorded, of: &DeadLettered) -> Self {
        Self {
            tenant: recorded.tenant,
            execution_id: ExecutionId(recorded.stream_id),
            // The case's variables are in the log; the desk has no use for them.
            of: DeadLettered { input: serde_json::Map::new(), ..of.clone() },
            at: recorded.recorded_at.get(),
            position: recorded.position,
        }
    }

    /// What a person is told of it. Of a data subject's case nothing: it may quote the case.
    fn error(&self) -> &str {
        if self.of.subject.is_some() { "" } else { &self.of.failure.error }
    }
}

/// Keeps dead letters until somebody runs them again or dismisses them.
pub(crate) async fn keep_dead(connection: &mut PgConnection, letters: &[DeadLetter]) -> Result<(), RelayError> {
    sqlx::query(
        "insert into jobs.undone (execution_id, tenant_id, run_id, card_id, version, case_id, model, repeat, class,
                                  attempts, worker, error, at, position)
         select * from unnest($1::uuid[], $2::int[], $3::uuid[], $4::uuid[], $5::int[], $6::uuid[], $7::text[],
             $8::smallint[], $9::text[], $10::smallint[], $11::text[], $12::text[], $13::timestamptz[], $14::bigint[])
         on conflict (execution_id) do update
         set class = excluded.class, attempts = excluded.attempts, worker = excluded.worker, error = excluded.error,
             at = excluded.at, position = excluded.position
         where undone.class is null",
    )
    .bind(letters.iter().map(|letter| letter.execution_id.0).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.tenant.0).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.of.cell.run_id.0).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.of.cell.card_id.0).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| i32::try_from(letter.of.cell.version).unwrap_or(i32::MAX)).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.of.cell.case_id.0).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.of.cell.model.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| i16::try_from(letter.of.cell.repeat).unwrap_or(i16::MAX)).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.of.failure.class.name()).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| i16::try_from(letter.of.attempt).unwrap_or(i16::MAX)).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.of.worker.as_str()).collect::<Vec<_>>())
    .bind(letters.iter().map(DeadLetter::error).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.at).collect::<Vec<_>>())
    .bind(letters.iter().map(|letter| letter.position).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Forgets dead letters that somebody dismissed.
pub(crate) async fn dismiss_dead(connection: &mut PgConnection, dismissed: &[Uuid]) -> Result<(), RelayError> {
    sqlx::query("delete from jobs.undone where execution_id = any($1)").bind(dismissed).execute(connection).await?;
    Ok(())
}

/// Keeps what a cancelled run has not done, so that another run can.
pub(crate) async fn keep_unfinished(
    connection: &mut PgConnection,
    run_id: TestRunId,
    card_id: PromptCardId,
    (at, position): (OffsetDateTime, i64),
) -> Result<(), RelayError> {
    sqlx::query(
        "insert into jobs.undone (execution_id, tenant_id, run_id, card_id, version, case_id, model, repeat, attempts,
                                  worker, error, at, position)
         select e.execution_id, e.tenant_id, e.run_id, $2, e.version, e.case_id, e.model, e.repeat, e.attempt - 1, '', '',
                $3, $4
         from jobs.queue q cross join lateral (
             -- One index for each.
             select * from jobs.execution where queue_id = q.queue_id and state = 0
             union all select * from jobs.execution where queue_id = q.queue_id and state = 1
             union all select * from jobs.execution where queue_id = q.queue_id and state = 2) e
         where q.run_id = $1
         on conflict (execution_id) do nothing",
    )
    .bind(run_id.0)
    .bind(card_id.0)
    .bind(at)
    .bind(position)
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes the cells that a retry repeats.
pub(crate) async fn take_undone(
    connection: &mut PgConnection,
    tenant: TenantId,
    retry: &Retry,
    at_most: u64,
) -> Result<Vec<UndoneCell>, RelayError> {
    let classes: Option<Vec<&str>> =
        retry.errors.as_ref().map(|classes| classes.iter().map(|class| class.name()).collect());
    let ids: Option<Vec<Uuid>> = retry.execution_ids.as_ref().map(|ids| ids.iter().map(|id| id.0).collect());
    Ok(sqlx::query_as(
        "delete from jobs.undone
         where execution_id in (
             select execution_id from jobs.undone
             where tenant_id = $1 and run_id = $2 and ($5::uuid[] is null or execution_id = any($5))
               and ((class is null and $3) or (class is not null and $4::text[] is not null
                                               and (cardinality($4) = 0 or class = any($4))))
             order by position, execution_id limit $6)
         returning version, case_id, model, repeat",
    )
    .bind(tenant.0)
    .bind(retry.of.0)
    .bind(retry.unfinished)
    .bind(classes)
    .bind(ids)
    .bind(i64::try_from(at_most).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await?)
}
