//! A run's results counted by version, model and case: what comparisons and the statistics of repeats are made of.

use pcs_domain::ids::{TenantId, TestCaseId, TestRunId};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};

use crate::reader::Reader;
use crate::{ReadError, row};

/// Numbers of which only their count, sum and sum of squares are known.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    /// How many there are.
    pub count: u64,
    /// Their sum.
    pub sum: f64,
    /// The sum of their squares.
    pub squares: f64,
}

/// The repeats of one case with one version and one model.
#[derive(Clone, Debug, PartialEq)]
pub struct CaseResults {
    /// The prompt version.
    pub version: u32,
    /// The model's name in the run.
    pub model: String,
    /// The case.
    pub case_id: TestCaseId,
    /// How the case is called now; absent until the cards' read model has it.
    pub case_name: Option<String>,
    /// A hash of the case's variables: the same id with another one is another question. A data subject's are not among them.
    pub content: String,
    /// A hash of all answers, in the order of the repeats.
    pub outputs: String,
    /// The version of what graded them; absent where it is not known, or not one.
    pub grader: Option<String>,
    /// Repeats with an answer.
    pub answered: u64,
    /// Repeats that passed.
    pub passed: u64,
    /// Repeats without an answer.
    pub errors: u64,
    /// Repeats whose recorded verdict a person overrode.
    pub overridden: u64,
    /// Scores of the answers.
    pub score: Sums,
    /// Milliseconds until the answers.
    pub latency_ms: Sums,
    /// Millionths of a US dollar, where the price is known.
    pub cost_micro_usd: Sums,
}

/// The scores of one metric of one case.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricResults {
    /// The metric.
    pub metric: String,
    /// The prompt version.
    pub version: u32,
    /// The model's name in the run.
    pub model: String,
    /// The case.
    pub case_id: TestCaseId,
    /// Scores of the verdicts.
    pub score: Sums,
}

fn sums(row: &PgRow, [count, sum, squares]: [&str; 3]) -> Result<Sums, sqlx::Error> {
    Ok(Sums { count: row::number(row, count)?, sum: row.try_get(sum)?, squares: row.try_get(squares)? })
}

impl FromRow<'_, PgRow> for CaseResults {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row::number(row, "version")?,
            model: row.try_get("model")?,
            case_id: row::id(row, "case_id", TestCaseId)?,
            case_name: row.try_get("case_name")?,
            content: row.try_get("content")?,
            outputs: row.try_get("outputs")?,
            grader: row.try_get("grader")?,
            answered: row::number(row, "answered")?,
            passed: row::number(row, "passed")?,
            errors: row::number(row, "errors")?,
            overridden: row::number(row, "overridden")?,
            score: sums(row, ["answered", "score_sum", "score_squares"])?,
            latency_ms: sums(row, ["latencies", "latency_sum", "latency_squares"])?,
            cost_micro_usd: sums(row, ["costs", "cost_sum", "cost_squares"])?,
        })
    }
}

impl FromRow<'_, PgRow> for MetricResults {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            metric: row.try_get("metric")?,
            version: row::number(row, "version")?,
            model: row.try_get("model")?,
            case_id: row::id(row, "case_id", TestCaseId)?,
            score: sums(row, ["scores", "score_sum", "score_squares"])?,
        })
    }
}

/// A run's results up to a position of the log by version, model and case, in this order.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_case(
    pool: &PgPool,
    (tenant, run): (TenantId, TestRunId),
    up_to: i64,
) -> Result<Vec<CaseResults>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let query = sqlx::query_as(reader.sql(include_str!("../../queries/results_by_case.sql")));
    Ok(query.persistent(false).bind(tenant.0).bind(run.0).bind(up_to).fetch_all(reader.connection()).await?)
}

/// The scores of a run's metrics up to a position of the log, by metric, version, model and case.
///
/// # Errors
/// Where the database does not answer.
pub async fn metrics_by_case(
    pool: &PgPool,
    (tenant, run): (TenantId, TestRunId),
    up_to: i64,
) -> Result<Vec<MetricResults>, ReadError> {
    let mut reader = Reader::living(pool).await?;
    let query = sqlx::query_as(reader.sql(include_str!("../../queries/metrics_by_case.sql")));
    Ok(query.persistent(false).bind(tenant.0).bind(run.0).bind(up_to).fetch_all(reader.connection()).await?)
}
