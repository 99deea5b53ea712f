//! Columns as domain types: the one place where a row's numbers, ids and times get their meaning.

use pcs_domain::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{Error, Row};
use time::OffsetDateTime;
use uuid::Uuid;

pub(crate) fn timestamp(row: &PgRow, column: &str) -> Result<Timestamp, Error> {
    row.try_get::<OffsetDateTime, _>(column).map(Timestamp::new)
}

pub(crate) fn timestamp_opt(row: &PgRow, column: &str) -> Result<Option<Timestamp>, Error> {
    row.try_get::<Option<OffsetDateTime>, _>(column).map(|at| at.map(Timestamp::new))
}

pub(crate) fn id<T>(row: &PgRow, column: &str, wrap: impl FnOnce(Uuid) -> T) -> Result<T, Error> {
    row.try_get(column).map(wrap)
}

pub(crate) fn json<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<T, Error> {
    row.try_get::<Json<T>, _>(column).map(|Json(value)| value)
}

pub(crate) fn json_opt<T: DeserializeOwned>(row: &PgRow, column: &str) -> Result<Option<T>, Error> {
    row.try_get::<Option<Json<T>>, _>(column).map(|value| value.map(|Json(value)| value))
}

/// A bigint that holds a smaller or unsigned number.
pub(crate) fn number<T: TryFrom<i64>>(row: &PgRow, column: &str) -> Result<T, Error>
where
    T::Error: std::error::Error + Send + Sync + 'static,
{
    let number: i64 = row.try_get(column)?;
    T::try_from(number).map_err(|source| unreadable(column, source))
}

/// The error of a column whose value this build does not understand.
pub(crate) fn unreadable(column: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}

/// Millionths of a US dollar as dollars.
pub(crate) fn usd(micro_usd: i64) -> f64 {
    float(micro_usd) / 1e6
}

/// A count as a number to divide.
#[expect(clippy::cast_precision_loss, reason = "counts and micro-dollars of a run are far below 2^53")]
pub(crate) fn float(value: i64) -> f64 {
    value as f64
}
