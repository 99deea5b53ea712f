//! Runs, their counts and their results as they were.

use pcs_domain::Timestamp;
use pcs_domain::ids::{ExecutionId, TestRunId};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{CANDIDATES_MAX, Moment, Past, PastError, ROUND_LEN};
use crate::card_detail::CardDetail;
use crate::cursor::List;
use crate::execution_results::{self, ExecutionDetail, ExecutionResults, ResultFilter, ResultRow};
use crate::page::{self, Page};
use crate::run_summary::{self, Run, RunFilter, RunSummary};
use crate::{ReadError, storable};

/// The run with an id, with the counts and percentiles of then.
///
/// # Errors
/// Where the database does not answer, an event can't be read or it takes too long.
pub async fn run(moment: Moment<'_>, id: TestRunId) -> Result<Option<Run>, PastError> {
    let mut past = Past::open(moment, &[&RunSummary]).await?;
    past.fold_all(&RunSummary, id.0).await?;
    run_summary::count_past(past.connection(), moment.tenant, &[id.0], moment.position).await?;
    Ok(run_summary::by_id_in(&mut past.reader(), moment.tenant, id).await?)
}

/// A page of the tenant's runs, the newest first.
///
/// # Errors
/// As [`run`], and for a cursor that is not of this list.
pub async fn runs(
    moment: Moment<'_>,
    filter: &RunFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<Run>, PastError> {
    let mut after = cursor.map(|cursor| List::Runs.moment(cursor)).transpose().map_err(ReadError::from)?;
    let (mut rows, mut seen) = (Vec::new(), 0);
    let mut round_len = page::len(limit) + 1;
    loop {
        let candidates = candidates(moment, filter, after, round_len).await?;
        let Some((at, id)) = candidates.last().copied() else { break };
        let wanted = page::len(limit) + 1 - storable::count(rows.len());
        rows.extend(round(moment, filter, &candidates, wanted).await?);
        seen += candidates.len();
        if storable::count(rows.len()) > page::len(limit) || storable::count(candidates.len()) < round_len {
            break;
        }
        if seen >= CANDIDATES_MAX {
            return Ok(Page { items: rows, next_cursor: Some(List::Runs.after_moment(Timestamp::new(at), id)) });
        }
        (after, round_len) = (Some((at, id)), ROUND_LEN);
    }
    Ok(Page::new(rows, limit, |run| List::Runs.after_moment(run.requested_at, run.id.0)))
}

/// Those of some runs that are wanted; the results are counted of these only.
async fn round(
    moment: Moment<'_>,
    filter: &RunFilter,
    candidates: &[(OffsetDateTime, Uuid)],
    wanted: i64,
) -> Result<Vec<Run>, PastError> {
    let mut past = Past::open(moment, &[&RunSummary]).await?;
    for (_, id) in candidates {
        past.fold(&RunSummary, *id).await?;
    }
    past.settle(&RunSummary).await?;
    let mut rows = run_summary::rows_in(&mut past.reader(), moment.tenant, filter, None, wanted).await?;
    let ids: Vec<Uuid> = rows.iter().map(|run| run.id.0).collect();
    run_summary::count_past(past.connection(), moment.tenant, &ids, moment.position).await?;
    run_summary::add_models(&mut past.reader(), moment.tenant, &mut rows).await?;
    Ok(rows)
}

/// The runs that there are now, which are all that there were: a run's card, time and id never change.
async fn candidates(
    moment: Moment<'_>,
    filter: &RunFilter,
    after: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<(OffsetDateTime, Uuid)>, PastError> {
    let (after_at, after_id) = after.unzip();
    let rows = sqlx::query_as(
        "select requested_at, id from read.run
         where tenant_id = $1 and ($2::uuid is null or card_id = $2)
           and ($3::timestamptz is null or (requested_at, id) < ($3, $4::uuid))
         order by requested_at desc, id desc limit $5",
    )
    .persistent(false)
    .bind(moment.tenant.0)
    .bind(filter.card_id.map(|card| card.0))
    .bind(after_at)
    .bind(after_id)
    .bind(limit)
    .fetch_all(moment.store.pool())
    .await?;
    Ok(rows)
}

/// A page of a run's results, in the order they were recorded, with the names that their cases had then.
///
/// # Errors
/// As [`runs`].
pub async fn results(
    moment: Moment<'_>,
    run: TestRunId,
    filter: &ResultFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<ResultRow>, PastError> {
    // Results are written once and never change; only the names of cases have to be folded.
    let card: Option<Uuid> =
        sqlx::query_scalar("select card_id from read.execution_result where tenant_id = $1 and run_id = $2 limit 1")
            .bind(moment.tenant.0)
            .bind(run.0)
            .fetch_optional(moment.store.pool())
            .await?;
    let mut past = Past::open(moment, &[&CardDetail]).await?;
    if let Some(card) = card {
        past.fold_all(&CardDetail, card).await?;
    }
    let filter = ResultFilter { up_to: Some(moment.position), ..filter.clone() };
    Ok(execution_results::page_in(&mut past.reader(), (moment.tenant, run), &filter, cursor, limit).await?)
}

/// The result of an execution and its failed attempts; none while it had no result.
///
/// # Errors
/// As [`run`].
pub async fn execution(moment: Moment<'_>, id: ExecutionId) -> Result<Option<ExecutionDetail>, PastError> {
    let mut past = Past::open(moment, &[&ExecutionResults, &CardDetail]).await?;
    past.fold_all(&ExecutionResults, id.0).await?;
    let found = execution_results::by_id_in(&mut past.reader(), moment.tenant, id).await?;
    let Some(detail) = found else { return Ok(None) };
    past.fold_all(&CardDetail, detail.result.card_id.0).await?;
    Ok(execution_results::by_id_in(&mut past.reader(), moment.tenant, id).await?)
}
