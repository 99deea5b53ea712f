//! Reads of a card's versions and cases.

use std::ops::DerefMut;

use pcs_domain::Timestamp;
use pcs_domain::assertion::Assertion;
use pcs_domain::data_subject::{Guarded, Subject};
use pcs_domain::ids::{ActorId, PromptCardId, TenantId, TestCaseId};
use pcs_domain::model::ModelSpec;
use serde::Serialize;
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};

use crate::cursor::List;
use crate::page::{self, Page};
use crate::reader::Reader;
use crate::{ReadError, row, subject};

/// A version of a card's prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VersionRow {
    /// Its number, from 1.
    pub version: u32,
    /// The template.
    pub prompt: String,
    /// The model that it is written for, with its parameters.
    pub model: Option<ModelSpec>,
    /// Why it was made, in the author's words; may be empty.
    pub message: String,
    /// Who made it.
    pub author: ActorId,
    /// When it was made.
    pub created_at: Timestamp,
}

impl FromRow<'_, PgRow> for VersionRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            version: row::number(row, "version")?,
            prompt: row.try_get("prompt")?,
            model: row::json_opt(row, "model")?,
            message: row.try_get("message")?,
            author: row::id(row, "author", ActorId)?,
            created_at: row::timestamp(row, "created_at")?,
        })
    }
}

/// A test case of a card.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CaseRow {
    /// The case.
    pub id: TestCaseId,
    /// How people call it.
    pub name: String,
    /// The values of the template's variables.
    pub input: Map<String, Value>,
    /// The right answer, where there is one.
    pub expected_output: Option<String>,
    /// What is demanded of the output.
    pub assertions: Vec<Assertion>,
    /// The score from which it passes.
    pub threshold: Option<f64>,
    /// What people choose it by.
    pub tags: Vec<String>,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
    /// Whose data it is made of, where it is a person's. Until it is revealed, what is theirs is empty.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "subject::shown")]
    pub subject: Option<Subject>,
    /// When it was added.
    pub created_at: Timestamp,
}

impl Guarded for CaseRow {
    fn subject(&self) -> Option<&Subject> {
        self.subject.as_ref()
    }

    fn subject_mut(&mut self) -> Option<&mut Subject> {
        self.subject.as_mut()
    }

    fn put_back(&mut self, mut fields: Map<String, Value>) -> Result<(), serde_json::Error> {
        self.input = subject::field(&mut fields, "/input")?.unwrap_or_default();
        self.expected_output = subject::field(&mut fields, "/expected_output")?;
        self.assertions = subject::field(&mut fields, "/assertions")?.unwrap_or_default();
        self.metadata = subject::field(&mut fields, "/metadata")?.unwrap_or_default();
        Ok(())
    }
}

struct PlacedCase {
    ordinal: i64,
    case: CaseRow,
}

impl FromRow<'_, PgRow> for PlacedCase {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let case = CaseRow {
            id: row::id(row, "case_id", TestCaseId)?,
            name: row.try_get("name")?,
            input: row::json(row, "input")?,
            expected_output: row.try_get("expected_output")?,
            assertions: row::json(row, "assertions")?,
            threshold: row.try_get("threshold")?,
            tags: row::json(row, "tags")?,
            metadata: row::json(row, "metadata")?,
            subject: row::json_opt(row, "subject")?,
            created_at: row::timestamp(row, "created_at")?,
        };
        Ok(Self { ordinal: row.try_get("ordinal")?, case })
    }
}

/// A page of a card's versions, the oldest first; no rows where there is no such card.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn versions(
    pool: &PgPool,
    tenant: TenantId,
    card: PromptCardId,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<VersionRow>, ReadError> {
    versions_in(&mut Reader::living(pool).await?, tenant, card, cursor, limit).await
}

pub(crate) async fn versions_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    card: PromptCardId,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<VersionRow>, ReadError> {
    let after = cursor.map(|cursor| List::Versions.number(cursor)).transpose()?;
    let rows: Vec<VersionRow> = sqlx::query_as(reader.sql(
        "select version, prompt, model, message, author, created_at from read.card_version
         where tenant_id = $1 and card_id = $2 and version > $3 order by version limit $4",
    ))
    .bind(tenant.0)
    .bind(card.0)
    .bind(after.unwrap_or(0))
    .bind(page::len(limit) + 1)
    .fetch_all(reader.connection())
    .await?;
    Ok(Page::new(rows, limit, |version| List::Versions.after_number(i64::from(version.version))))
}

/// One version of a card.
///
/// # Errors
/// Where the database does not answer.
pub async fn version(
    pool: &PgPool,
    tenant: TenantId,
    card: PromptCardId,
    version: u32,
) -> Result<Option<VersionRow>, ReadError> {
    version_in(&mut Reader::living(pool).await?, tenant, card, version).await
}

pub(crate) async fn version_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    card: PromptCardId,
    version: u32,
) -> Result<Option<VersionRow>, ReadError> {
    let row = sqlx::query_as(reader.sql(
        "select version, prompt, model, message, author, created_at from read.card_version
         where tenant_id = $1 and card_id = $2 and version = $3",
    ))
    .bind(tenant.0)
    .bind(card.0)
    .bind(i64::from(version))
    .fetch_optional(reader.connection())
    .await?;
    Ok(row)
}

/// A page of a card's cases in the order they were added; no rows where there is no such card.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn cases(
    pool: &PgPool,
    tenant: TenantId,
    card: PromptCardId,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<CaseRow>, ReadError> {
    cases_in(&mut Reader::living(pool).await?, tenant, card, cursor, limit).await
}

pub(crate) async fn cases_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    card: PromptCardId,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<CaseRow>, ReadError> {
    let after = cursor.map(|cursor| List::Cases.number(cursor)).transpose()?;
    let rows: Vec<PlacedCase> = sqlx::query_as(reader.sql(
        "select case_id, ordinal, name, input, expected_output, assertions, threshold, tags, metadata, subject, created_at
         from read.test_case
         where tenant_id = $1 and card_id = $2 and ordinal > $3 and not removed order by ordinal limit $4",
    ))
    .bind(tenant.0)
    .bind(card.0)
    .bind(after.unwrap_or(-1))
    .bind(page::len(limit) + 1)
    .fetch_all(reader.connection())
    .await?;
    Ok(Page::new(rows, limit, |placed| List::Cases.after_number(placed.ordinal)).map(|placed| placed.case))
}
