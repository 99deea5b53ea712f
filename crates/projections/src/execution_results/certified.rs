//! A run's results as a certificate has them: what came of each, and a hash of its answer.

use pcs_domain::certificate::CertifiedResult;
use pcs_domain::ids::{ExecutionId, TenantId, TestRunId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};

use crate::reader::Reader;
use crate::{ReadError, row};

struct Certified(CertifiedResult);

impl FromRow<'_, PgRow> for Certified {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self(CertifiedResult {
            execution_id: row::id(row, "execution_id", ExecutionId)?,
            status: row.try_get("status")?,
            score: row.try_get("score")?,
            output_sha256: row.try_get("output_sha256")?,
            grader: row.try_get("grader")?,
        }))
    }
}

/// All results of a run. The database makes the hashes: answers are larger than what is certified of them.
///
/// # Errors
/// Where the database does not answer.
pub async fn certified(pool: &PgPool, tenant: TenantId, run: TestRunId) -> Result<Vec<CertifiedResult>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let rows: Vec<Certified> = sqlx::query_as(reader.sql(
        "select execution_id, status, score, grader,
                case when subject is null then encode(sha256(convert_to(output, 'UTF8')), 'hex') end as output_sha256
         from read.execution_result where tenant_id = $1 and run_id = $2",
    ))
    .bind(tenant.0)
    .bind(run.0)
    .fetch_all(reader.connection())
    .await?;
    Ok(rows.into_iter().map(|Certified(result)| result).collect())
}
