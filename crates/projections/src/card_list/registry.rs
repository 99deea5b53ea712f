//! The cards in use as applications list them: by title, in numbered pages, with the version that a label means.

use std::collections::BTreeMap;

use pcs_domain::Timestamp;
use pcs_domain::ids::TenantId;
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};

use super::queries::Labels;
use crate::{ReadError, page, row, storable};

/// Which prompts; an absent field is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PromptFilter {
    /// Exactly this title.
    pub title: Option<String>,
    /// Has a version with this label; `latest` is every card's newest.
    pub label: Option<String>,
    /// Has this tag.
    pub tag: Option<String>,
    /// Its card changed at this time or later.
    pub updated_from: Option<Timestamp>,
    /// Its card last changed before this time.
    pub updated_before: Option<Timestamp>,
}

/// A card's prompt in the list.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptRow {
    /// The title of its card.
    pub title: String,
    /// The tags of its card, sorted.
    pub tags: Vec<String>,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
    /// When its card last changed.
    pub updated_at: Timestamp,
    /// Its newest version.
    pub version: u32,
    /// Its labels and the versions they point to.
    pub labels: BTreeMap<String, u32>,
    /// The version that the filter's label means; without one, the newest.
    pub chosen: u32,
    /// The template of the chosen version.
    pub prompt: String,
}

impl FromRow<'_, PgRow> for PromptRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            title: row.try_get("title")?,
            tags: row.try_get("tags")?,
            metadata: row::json(row, "metadata")?,
            updated_at: row::timestamp(row, "updated_at")?,
            version: row::number(row, "version")?,
            labels: row::json::<Labels>(row, "labels")?.versions,
            chosen: row::number(row, "chosen")?,
            prompt: row.try_get("prompt")?,
        })
    }
}

/// Some of the prompts, and how many there are altogether.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptPage {
    /// The prompts, by title.
    pub prompts: Vec<PromptRow>,
    /// How many the filter finds.
    pub total: i64,
}

/// At most `limit` prompts behind the first `skipped`, by title.
///
/// # Errors
/// Where the database does not answer.
pub async fn prompts(
    pool: &PgPool,
    tenant: TenantId,
    filter: &PromptFilter,
    skipped: i64,
    limit: i64,
) -> Result<PromptPage, ReadError> {
    // Made to fit as the stored texts were: with a NUL character the database would refuse the whole query.
    let fitted = |text: &Option<String>| text.as_deref().map(|text| storable::text(text).into_owned());
    let (title, label, tag) = (fitted(&filter.title), fitted(&filter.label), fitted(&filter.tag));
    let (from, before) = (filter.updated_from.map(Timestamp::get), filter.updated_before.map(Timestamp::get));
    // Both planned for these very conditions, as the page of cards is.
    let total = sqlx::query_scalar(include_str!("../../queries/prompt_count.sql"))
        .persistent(false)
        .bind(tenant.0)
        .bind(&title)
        .bind(&label)
        .bind(&tag)
        .bind(from)
        .bind(before)
        .fetch_one(pool)
        .await?;
    let prompts = sqlx::query_as(include_str!("../../queries/prompt_page.sql"))
        .persistent(false)
        .bind(tenant.0)
        .bind(&title)
        .bind(&label)
        .bind(&tag)
        .bind(from)
        .bind(before)
        .bind(page::len(limit))
        .bind(skipped.max(0))
        .fetch_all(pool)
        .await?;
    Ok(PromptPage { prompts, total })
}
