//! Runs on the desk: put on it, counted, taken off.

use std::collections::HashMap;

use pcs_domain::Timestamp;
use pcs_domain::execution::Finished;
use pcs_domain::ids::{TenantId, TestRunId};
use pcs_domain::jobs::test_execution::KIND;
use pcs_domain::model::ModelSpec;
use pcs_domain::test_run::{CancelCause, Requested, RunTotals};
use sqlx::{AssertSqlSafe, PgConnection, PgPool};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{INSERT_LEN_MAX, number};
use crate::RelayError;

/// A run to be put on the desk.
pub(crate) struct NewRun<'a> {
    pub(crate) tenant: TenantId,
    pub(crate) run_id: TestRunId,
    pub(crate) request: &'a Requested,
    /// When it was asked for.
    pub(crate) at: Timestamp,
    pub(crate) trace: Option<&'a str>,
    /// How many executions it has.
    pub(crate) executions: u64,
}

/// Executions to be put on the desk, column by column.
#[derive(Default)]
pub(crate) struct NewExecutions {
    pub(crate) id: Vec<Uuid>,
    pub(crate) version: Vec<i32>,
    pub(crate) case_id: Vec<Uuid>,
    pub(crate) model: Vec<String>,
    pub(crate) repeat: Vec<i16>,
}

/// A run whose executions all have a result.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct FullRun {
    pub(crate) run_id: Uuid,
    pub(crate) tenant_id: i32,
    planned: i64,
    passed: i64,
    failed: i64,
    errors: i64,
}

impl FullRun {
    pub(crate) fn totals(&self) -> RunTotals {
        let count = |value: i64| u64::try_from(value).unwrap_or(0);
        RunTotals {
            executions: count(self.planned),
            passed: count(self.passed),
            failed: count(self.failed),
            errors: count(self.errors),
        }
    }
}

/// Results of one page of the log of one run, and what they took.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sum {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) errors: u64,
    pub(crate) cost_micro_usd: u64,
    pub(crate) tokens: u64,
}

impl Sum {
    /// Adds what an answer and its judges took; what has no known price is free.
    pub(crate) fn use_up(&mut self, finished: &Finished) {
        let judges = finished.grade.judges_cost_micro_usd();
        let cost = finished.answer.cost_micro_usd.unwrap_or(0).saturating_add(judges);
        let tokens = finished.answer.input_tokens.saturating_add(finished.answer.output_tokens);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(cost);
        self.tokens = self.tokens.saturating_add(tokens).saturating_add(finished.grade.judges_tokens());
    }
}

/// Results of one page of the log, by run.
pub(crate) type Tally = HashMap<TestRunId, Sum>;

fn bigint(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Puts a run on the desk, with a queue for each of its models; answers the queues by the models' names.
pub(crate) async fn add_run(
    connection: &mut PgConnection,
    new: &NewRun<'_>,
) -> Result<HashMap<String, i64>, RelayError> {
    let terms = &new.request.terms;
    let begin = terms.not_before.map_or(new.at, |not_before| not_before.max(new.at));
    let within = |seconds: Option<u32>| seconds.map(|s| begin.plus(std::time::Duration::from_secs(s.into())).get());
    greet_tenant(connection, new.tenant).await?;
    sqlx::query(
        "insert into jobs.run (run_id, tenant_id, planned, trace, lane, not_before, start_by, end_by, cost_max, tokens_max)
         values ($1, $2, $3, $4, $5, coalesce($6, '-infinity'), coalesce($7, 'infinity'), coalesce($8, 'infinity'), $9, $10)",
    )
    .bind(new.run_id.0)
    .bind(new.tenant.0)
    .bind(bigint(new.executions))
    .bind(new.trace)
    .bind(number(new.request.lane))
    .bind(terms.not_before.map(Timestamp::get))
    .bind(within(terms.start_within_seconds))
    .bind(within(terms.budget.seconds))
    .bind(terms.budget.cost_micro_usd.map(bigint))
    .bind(terms.budget.tokens.map(bigint))
    .execute(&mut *connection)
    .await?;
    add_queues(connection, new).await
}

async fn add_queues(connection: &mut PgConnection, new: &NewRun<'_>) -> Result<HashMap<String, i64>, RelayError> {
    let models = &new.request.models;
    let column = |value: fn(&ModelSpec) -> &str| models.iter().map(value).collect::<Vec<_>>();
    let queues: Vec<(String, i64)> = sqlx::query_as(
        "insert into jobs.queue (run_id, tenant_id, kind, model, model_id, provider)
         select $1, $2, $3, model, model_id, provider from unnest($4::text[], $5::text[], $6::text[])
             with ordinality u(model, model_id, provider, place) order by place
         returning model, queue_id",
    )
    .bind(new.run_id.0)
    .bind(new.tenant.0)
    .bind(KIND.name)
    .bind(column(ModelSpec::name))
    .bind(column(|model| &model.id))
    .bind(column(ModelSpec::provider))
    .fetch_all(connection)
    .await?;
    Ok(queues.into_iter().collect())
}

/// A tenant that had no work begins where the others are: time without work is not saved up.
pub(crate) async fn greet_tenant(connection: &mut PgConnection, tenant: TenantId) -> Result<(), RelayError> {
    sqlx::query(
        "with others as (
             select min(t.passed) as passed from jobs.tenant t
             where t.tenant_id <> $1 and exists (select from jobs.run r where r.tenant_id = t.tenant_id)
         )
         insert into jobs.tenant (tenant_id, passed) select $1, coalesce(passed, 0) from others
         on conflict (tenant_id) do update set passed = greatest(tenant.passed, excluded.passed)
         where not exists (select from jobs.run r where r.tenant_id = $1)",
    )
    .bind(tenant.0)
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn add_executions(
    connection: &mut PgConnection,
    new: &NewRun<'_>,
    queues: &HashMap<String, i64>,
    rows: &NewExecutions,
) -> Result<(), RelayError> {
    let queue: Vec<i64> = rows.model.iter().map(|model| queues.get(model).copied().unwrap_or_default()).collect();
    for from in (0..rows.id.len()).step_by(INSERT_LEN_MAX) {
        let to = (from + INSERT_LEN_MAX).min(rows.id.len());
        sqlx::query(
            "insert into jobs.execution (execution_id, tenant_id, run_id, lane, version, case_id, model, repeat, queue_id)
             select id, $1, $2, $3, version, case_id, model, repeat, queue_id
             from unnest($4::uuid[], $5::int[], $6::uuid[], $7::text[], $8::smallint[], $9::bigint[])
                  with ordinality u(id, version, case_id, model, repeat, queue_id, place)
             order by place",
        )
        .bind(new.tenant.0)
        .bind(new.run_id.0)
        .bind(number(new.request.lane))
        .bind(&rows.id[from..to])
        .bind(&rows.version[from..to])
        .bind(&rows.case_id[from..to])
        .bind(&rows.model[from..to])
        .bind(&rows.repeat[from..to])
        .bind(&queue[from..to])
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Takes executions with a result off the desk, and counts the results.
pub(crate) async fn settle(connection: &mut PgConnection, recorded: &[Uuid], tally: &Tally) -> Result<(), RelayError> {
    let settled = sqlx::query("delete from jobs.execution where execution_id = any($1)")
        .bind(recorded)
        .execute(&mut *connection)
        .await?;
    if usize::try_from(settled.rows_affected()).is_ok_and(|settled| settled < recorded.len()) {
        // Some came in after their run was cancelled: what has its result is not to be run again.
        sqlx::query("delete from jobs.undone where execution_id = any($1) and class is null")
            .bind(recorded)
            .execute(&mut *connection)
            .await?;
    }
    let column = |value: fn(&Sum) -> u64| -> Vec<i64> { tally.values().map(|sum| bigint(value(sum))).collect() };
    sqlx::query(
        "update jobs.run r set passed = r.passed + u.passed, failed = r.failed + u.failed, errors = r.errors + u.errors,
                               cost = r.cost + u.cost, tokens = r.tokens + u.tokens
         from unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
              u(id, passed, failed, errors, cost, tokens)
         where r.run_id = u.id",
    )
    .bind(tally.keys().map(|run| run.0).collect::<Vec<_>>())
    .bind(column(|sum| sum.passed))
    .bind(column(|sum| sum.failed))
    .bind(column(|sum| sum.errors))
    .bind(column(|sum| sum.cost_micro_usd))
    .bind(column(|sum| sum.tokens))
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes runs that are over off the desk, with all that is left of them.
pub(crate) async fn close_runs(connection: &mut PgConnection, runs: &[Uuid]) -> Result<(), RelayError> {
    // What is handed out may meanwhile be put back to wait or pause, never the other way: it is looked for first.
    // The state is written out: a partial index is not found by a parameter.
    for state in ["1", "0", "2"] {
        let delete = format!(
            "delete from jobs.execution e using jobs.queue q
             where q.run_id = any($1) and e.queue_id = q.queue_id and e.state = {state}"
        );
        sqlx::query(AssertSqlSafe(delete)).bind(runs).execute(&mut *connection).await?;
    }
    sqlx::query("delete from jobs.queue where run_id = any($1)").bind(runs).execute(&mut *connection).await?;
    sqlx::query("delete from jobs.run where run_id = any($1)").bind(runs).execute(connection).await?;
    Ok(())
}

/// Runs whose executions all have a result and that nobody has completed yet.
pub(crate) async fn full_runs(pool: &PgPool) -> Result<Vec<FullRun>, RelayError> {
    Ok(sqlx::query_as(
        "select run_id, tenant_id, planned, passed, failed, errors from jobs.run
         where passed + failed + errors >= planned",
    )
    .fetch_all(pool)
    .await?)
}

/// A run that has used up its budget.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct SpentRun {
    pub(crate) run_id: Uuid,
    pub(crate) tenant_id: i32,
    by_cost: bool,
    by_tokens: bool,
}

impl SpentRun {
    /// Which part of the budget it was.
    pub(crate) fn cause(&self) -> CancelCause {
        match (self.by_cost, self.by_tokens) {
            (true, _) => CancelCause::CostBudget,
            (false, true) => CancelCause::TokenBudget,
            (false, false) => CancelCause::TimeBudget,
        }
    }
}

/// Runs that have used up their budget and still wait for results.
pub(crate) async fn spent_runs(pool: &PgPool) -> Result<Vec<SpentRun>, RelayError> {
    Ok(sqlx::query_as(
        "select run_id, tenant_id, coalesce(cost >= cost_max, false) as by_cost,
                coalesce(tokens >= tokens_max, false) as by_tokens
         from jobs.run
         where passed + failed + errors < planned
           and (cost >= cost_max or tokens >= tokens_max or end_by <= clock_timestamp())",
    )
    .fetch_all(pool)
    .await?)
}

/// An execution that was not begun in time.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct Expired {
    pub(crate) tenant_id: i32,
    pub(crate) run_id: Uuid,
    pub(crate) version: i32,
    pub(crate) case_id: Uuid,
    pub(crate) model: String,
    pub(crate) repeat: i16,
}

/// Executions that were never handed out and whose run allows them no more; at most so many.
pub(crate) async fn expired(pool: &PgPool, len_max: u32) -> Result<Vec<Expired>, RelayError> {
    Ok(sqlx::query_as(
        "select e.tenant_id, e.run_id, e.version, e.case_id, e.model, e.repeat
         from jobs.run r join jobs.queue q using (run_id) join jobs.execution e using (queue_id)
         where r.start_by <= clock_timestamp() and e.state = 0 and e.attempt = 1 and e.dispatched_at is null
         limit $1",
    )
    .bind(i64::from(len_max))
    .fetch_all(pool)
    .await?)
}

/// When the next run may begin or has to end, of those that have such a time; for nobody has to look before.
pub(crate) async fn has_deadlines(pool: &PgPool) -> Result<bool, RelayError> {
    let due: bool = sqlx::query_scalar(
        "select exists (select from jobs.run where start_by <= clock_timestamp() or end_by <= clock_timestamp())",
    )
    .fetch_one(pool)
    .await?;
    Ok(due)
}

/// A moment that a column holds.
pub(crate) fn moment(at: OffsetDateTime) -> Timestamp {
    Timestamp::new(at)
}
