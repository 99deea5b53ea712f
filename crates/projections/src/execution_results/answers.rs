//! Which answers a run has, chosen by how they came out: what people are to review.

use pcs_domain::ids::{ExecutionId, PromptCardId, TenantId, TestRunId};
use sqlx::PgPool;
use uuid::Uuid;

use super::ResultStatus;
use crate::ReadError;
use crate::reader::Reader;

/// Which answers; an absent field is no condition. What ended without an answer is never among them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerFilter {
    /// How they came out.
    pub status: Option<ResultStatus>,
    /// Of the model with this name.
    pub model: Option<String>,
    /// These only.
    pub among: Option<Vec<ExecutionId>>,
}

/// The answers of a run, at most `limit` of them. Ids are hashes, and the least are taken: so it is a random sample, and
/// the same one each time.
///
/// # Errors
/// Where the database does not answer.
pub async fn answer_ids(
    pool: &PgPool,
    (tenant, run): (TenantId, TestRunId),
    filter: &AnswerFilter,
    limit: i64,
) -> Result<Vec<ExecutionId>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let among = filter.among.as_ref().map(|ids| ids.iter().map(|id| id.0).collect::<Vec<_>>());
    let ids: Vec<Uuid> = sqlx::query_scalar(reader.sql(
        "select execution_id from read.execution_result
         where tenant_id = $1 and run_id = $2 and status <> 'error'
           and ($3::text is null or status = $3)
           and ($4::text is null or model = $4)
           and ($5::uuid[] is null or execution_id = any($5))
         order by execution_id limit $6",
    ))
    .persistent(false)
    .bind(tenant.0)
    .bind(run.0)
    .bind(filter.status.map(ResultStatus::name))
    .bind(filter.model.as_deref())
    .bind(among)
    .bind(limit)
    .fetch_all(reader.connection())
    .await?;
    Ok(ids.into_iter().map(ExecutionId).collect())
}

/// The card of a run; none while the read model does not have the run.
///
/// # Errors
/// Where the database does not answer.
pub async fn card_of(pool: &PgPool, tenant: TenantId, run: TestRunId) -> Result<Option<PromptCardId>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let card: Option<Uuid> =
        sqlx::query_scalar(reader.sql("select card_id from read.run where tenant_id = $1 and id = $2"))
            .bind(tenant.0)
            .bind(run.0)
            .fetch_optional(reader.connection())
            .await?;
    Ok(card.map(PromptCardId))
}
