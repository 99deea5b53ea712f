//! Reads of reviews: the queues, their answers, and what was given to them.

use std::collections::BTreeMap;

use pcs_domain::Timestamp;
use pcs_domain::ids::{ActorId, ExecutionId, PromptCardId, TenantId, TestRunId};
use pcs_domain::review::{Review, ScoreConfig, Scores};
use serde::Serialize;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use uuid::Uuid;

use crate::cursor::List;
use crate::page::{self, Page};
use crate::reader::Reader;
use crate::{ReadError, row};

/// The review of a run as the API returns it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ReviewRow {
    /// The run whose answers are reviewed.
    pub run_id: TestRunId,
    /// The run's card.
    pub card_id: PromptCardId,
    /// How people call it.
    pub title: String,
    /// What reviewers are told.
    pub instructions: String,
    /// What each answer is scored by.
    pub scores: Vec<ScoreConfig>,
    /// How many people score each answer.
    pub reviewers_per_item: i32,
    /// Whether nobody sees the scores of others before they gave their own.
    pub blind: bool,
    /// Whether nothing is scored any more.
    pub closed: bool,
    /// Answers in the queue.
    pub items: i64,
    /// Of these, with as many scores as they need.
    pub done: i64,
    /// Scores that were given.
    pub scored: i64,
    /// Scores that somebody is to give.
    pub assigned: i64,
    /// Who opened it.
    pub opened_by: ActorId,
    /// When.
    pub opened_at: Timestamp,
    /// The version of its stream.
    pub revision: i64,
}

/// Which reviews; an absent field is no condition.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ReviewFilter {
    /// Closed, or not.
    pub closed: Option<bool>,
    /// With answers that this person is to score.
    pub reviewer: Option<ActorId>,
}

/// An answer in a queue, with who is to score it or has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemRow {
    /// The answer, by its execution.
    pub execution_id: ExecutionId,
    /// Its reviewers.
    pub reviewers: Vec<PartRow>,
}

/// What one reviewer makes of an answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartRow {
    /// Who.
    pub reviewer: ActorId,
    /// What they gave; absent until they did, and for who may not see it yet.
    pub scores: Option<Scores>,
    /// What they say of it.
    pub comment: String,
    /// When they gave it.
    pub scored_at: Option<Timestamp>,
}

/// What one reviewer gave to an answer, for the agreement of reviewers.
#[derive(Clone, Debug, PartialEq)]
pub struct Scoring {
    /// The answer.
    pub execution_id: ExecutionId,
    /// Who.
    pub reviewer: ActorId,
    /// What they gave.
    pub scores: Scores,
}

impl FromRow<'_, PgRow> for ReviewRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            run_id: row::id(row, "run_id", TestRunId)?,
            card_id: row::id(row, "card_id", PromptCardId)?,
            title: row.try_get("title")?,
            instructions: row.try_get("instructions")?,
            scores: row::json(row, "scores")?,
            reviewers_per_item: row.try_get("reviewers_per_item")?,
            blind: row.try_get("blind")?,
            closed: row.try_get("closed")?,
            items: row.try_get("items")?,
            done: row.try_get("done")?,
            scored: row.try_get("scored")?,
            assigned: row.try_get("assigned")?,
            opened_by: row::id(row, "opened_by", ActorId)?,
            opened_at: row::timestamp(row, "opened_at")?,
            revision: row.try_get("revision")?,
        })
    }
}

/// The review of a run; none where no queue was opened.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_run(pool: &PgPool, tenant: TenantId, run: TestRunId) -> Result<Option<ReviewRow>, ReadError> {
    let rows = select(pool, tenant, Some(run), &ReviewFilter::default(), None, 1).await?;
    Ok(rows.into_iter().next())
}

/// A page of the tenant's reviews, the newest first.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn page(
    pool: &PgPool,
    tenant: TenantId,
    filter: &ReviewFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<ReviewRow>, ReadError> {
    let rows = select(pool, tenant, None, filter, cursor, page::len(limit) + 1).await?;
    Ok(Page::new(rows, limit, |row| List::Reviews.after_moment(row.opened_at, Review::id(row.run_id))))
}

async fn select(
    pool: &PgPool,
    tenant: TenantId,
    run: Option<TestRunId>,
    filter: &ReviewFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Vec<ReviewRow>, ReadError> {
    let (after_at, after_id) = cursor.map(|cursor| List::Reviews.moment(cursor)).transpose()?.unzip();
    let mut reader = Reader::living(pool).await?;
    let rows = sqlx::query_as(reader.sql(include_str!("../../queries/review_page.sql")))
        .persistent(false)
        .bind(tenant.0)
        .bind(run.map(Review::id))
        .bind(filter.closed)
        .bind(filter.reviewer.map(|reviewer| reviewer.0))
        .bind(after_at)
        .bind(after_id)
        .bind(limit)
        .fetch_all(reader.connection())
        .await?;
    Ok(rows)
}

/// A page of a review's answers, by their ids; those of one reviewer, where that is asked.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn items(
    pool: &PgPool,
    (tenant, run): (TenantId, TestRunId),
    reviewer: Option<ActorId>,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<ItemRow>, ReadError> {
    let after = cursor.map(|cursor| List::ReviewItems.moment(cursor)).transpose()?.map(|(_, id)| id);
    let mut reader = Reader::living(pool).await?;
    let ids: Vec<Uuid> = sqlx::query_scalar(reader.sql(
        "select i.execution_id from read.review_item i
         where i.tenant_id = $1 and i.review_id = $2 and i.execution_id > $3
           and ($4::uuid is null or exists (select from read.review_part p
                where p.tenant_id = i.tenant_id and p.review_id = i.review_id and p.execution_id = i.execution_id
                  and p.reviewer = $4))
         order by i.execution_id limit $5",
    ))
    .persistent(false)
    .bind(tenant.0)
    .bind(Review::id(run))
    .bind(after.unwrap_or(Uuid::nil()))
    .bind(reviewer.map(|reviewer| reviewer.0))
    .bind(page::len(limit) + 1)
    .fetch_all(reader.connection())
    .await?;
    let mut parts = parts(&mut reader, (tenant, run), &ids).await?;
    let rows = ids
        .into_iter()
        .map(|id| ItemRow { execution_id: ExecutionId(id), reviewers: parts.remove(&id).unwrap_or_default() });
    let place = |row: &ItemRow| List::ReviewItems.after_moment(Timestamp::EPOCH, row.execution_id.0);
    Ok(Page::new(rows.collect(), limit, place))
}

type Living = Reader<sqlx::pool::PoolConnection<sqlx::Postgres>>;

async fn parts(
    reader: &mut Living,
    (tenant, run): (TenantId, TestRunId),
    ids: &[Uuid],
) -> Result<BTreeMap<Uuid, Vec<PartRow>>, ReadError> {
    let rows = sqlx::query(reader.sql(
        "select execution_id, reviewer, scores, comment, scored_at from read.review_part
         where tenant_id = $1 and review_id = $2 and execution_id = any($3::uuid[])
         order by execution_id, reviewer",
    ))
    .bind(tenant.0)
    .bind(Review::id(run))
    .bind(ids)
    .fetch_all(reader.connection())
    .await?;
    let mut parts = BTreeMap::<Uuid, Vec<PartRow>>::new();
    for row in &rows {
        let part = PartRow {
            reviewer: row::id(row, "reviewer", ActorId)?,
            scores: row::json_opt(row, "scores")?,
            comment: row.try_get("comment")?,
            scored_at: row::timestamp_opt(row, "scored_at")?,
        };
        parts.entry(row.try_get("execution_id")?).or_default().push(part);
    }
    Ok(parts)
}

/// Everything that was given in a review, by answer and reviewer.
///
/// # Errors
/// Where the database does not answer.
pub async fn scorings(pool: &PgPool, tenant: TenantId, run: TestRunId) -> Result<Vec<Scoring>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let rows = sqlx::query(reader.sql(
        "select execution_id, reviewer, scores from read.review_part
         where tenant_id = $1 and review_id = $2 and scores is not null order by execution_id, reviewer",
    ))
    .bind(tenant.0)
    .bind(Review::id(run))
    .fetch_all(reader.connection())
    .await?;
    let scoring = |row: &PgRow| -> Result<Scoring, sqlx::Error> {
        Ok(Scoring {
            execution_id: row::id(row, "execution_id", ExecutionId)?,
            reviewer: row::id(row, "reviewer", ActorId)?,
            scores: row::json(row, "scores")?,
        })
    };
    Ok(rows.iter().map(scoring).collect::<Result<_, _>>()?)
}

/// Whether each answer of a review passed by what was recorded.
///
/// # Errors
/// Where the database does not answer.
pub async fn recorded_verdicts(
    pool: &PgPool,
    tenant: TenantId,
    run: TestRunId,
) -> Result<BTreeMap<ExecutionId, bool>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let rows: Vec<(Uuid, bool)> = sqlx::query_as(reader.sql(
        "select r.execution_id, r.status = 'passed' from read.execution_result r
         join read.review_item i on i.tenant_id = r.tenant_id and i.execution_id = r.execution_id
         where r.tenant_id = $1 and i.review_id = $2 and r.status <> 'error'",
    ))
    .bind(tenant.0)
    .bind(Review::id(run))
    .fetch_all(reader.connection())
    .await?;
    Ok(rows.into_iter().map(|(id, passed)| (ExecutionId(id), passed)).collect())
}
