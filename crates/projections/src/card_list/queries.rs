//! Reads of the card list.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::DerefMut;

use pcs_domain::Timestamp;
use pcs_domain::ids::{ActorId, PromptCardId, TenantId};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, Row};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::cursor::List;
use crate::page::{self, Page};
use crate::reader::Reader;
use crate::{ReadError, row, storable};

/// A card as the API returns it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CardRow {
    /// The card.
    pub id: PromptCardId,
    /// Its title.
    pub title: String,
    /// Free text.
    pub description: String,
    /// The template of its newest version.
    pub prompt: String,
    /// Its category; empty for none.
    pub category: String,
    /// Its tags, sorted.
    pub tags: Vec<String>,
    /// The team's own fields.
    pub metadata: Map<String, Value>,
    /// Who made it.
    pub created_by: ActorId,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Its newest version.
    pub version: u32,
    /// Whether everybody may see it.
    pub is_public: bool,
    /// Whether it is out of use.
    pub archived: bool,
    /// Its labels and the versions they point to.
    pub labels: BTreeMap<String, u32>,
    /// The labels that not everybody may move, sorted; a version need not have them.
    pub protected_labels: BTreeSet<String>,
    /// How many cases it has.
    pub case_count: i64,
    /// The version of its stream.
    pub revision: i64,
}

/// The column `labels`: the versions that labels point to, and beside them, under a name that no label can have, which
/// labels are protected.
#[derive(Deserialize)]
pub(super) struct Labels {
    #[serde(flatten)]
    pub(super) versions: BTreeMap<String, u32>,
    #[serde(rename = "@protected", default)]
    pub(super) protected: BTreeSet<String>,
}

impl FromRow<'_, PgRow> for CardRow {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let Labels { versions, protected } = row::json(row, "labels")?;
        Ok(Self {
            id: row::id(row, "id", PromptCardId)?,
            title: row.try_get("title")?,
            description: row.try_get("description")?,
            prompt: row.try_get("prompt")?,
            category: row.try_get("category")?,
            tags: row.try_get("tags")?,
            metadata: row::json(row, "metadata")?,
            created_by: row::id(row, "created_by", ActorId)?,
            created_at: row::timestamp(row, "created_at")?,
            updated_at: row::timestamp(row, "updated_at")?,
            version: row::number(row, "version")?,
            is_public: row.try_get("is_public")?,
            archived: row.try_get("archived")?,
            labels: versions,
            protected_labels: protected,
            case_count: row.try_get("case_count")?,
            revision: row.try_get("revision")?,
        })
    }
}

/// A card with its tenant, for the fold.
pub(super) struct Stored {
    pub(super) tenant: TenantId,
    pub(super) card: CardRow,
}

impl FromRow<'_, PgRow> for Stored {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self { tenant: TenantId(row.try_get("tenant_id")?), card: CardRow::from_row(row)? })
    }
}

/// Which cards; an absent field is no condition.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CardFilter {
    /// Words in title, description or prompt, as people type them into a search engine.
    pub text: Option<String>,
    /// Exactly this title.
    pub title: Option<String>,
    /// Exactly this category.
    pub category: Option<String>,
    /// Has this tag.
    pub tag: Option<String>,
    /// Whether everybody may see it.
    pub is_public: Option<bool>,
    /// Whether it is out of use.
    pub archived: Option<bool>,
}

/// A page of a tenant's cards, the newest first.
///
/// # Errors
/// For a cursor that is not of this list, or where the database does not answer.
pub async fn page(
    pool: &PgPool,
    tenant: TenantId,
    filter: &CardFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<CardRow>, ReadError> {
    let after = cursor.map(|cursor| List::Cards.moment(cursor)).transpose()?;
    let rows = rows_in(&mut Reader::living(pool).await?, tenant, filter, after, page::len(limit) + 1).await?;
    Ok(Page::new(rows, limit, |card| List::Cards.after_moment(card.created_at, card.id.0)))
}

/// The newest cards before a moment and an id, at most `limit`.
pub(crate) async fn rows_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    filter: &CardFilter,
    after: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<CardRow>, sqlx::Error> {
    let (after_at, after_id) = after.unzip();
    // Made to fit as the stored texts were: with a NUL character the database would refuse the whole query.
    let fitted = |text: &Option<String>| text.as_deref().map(|text| storable::text(text).into_owned());
    sqlx::query_as(reader.sql(include_str!("../../queries/card_page.sql")))
        // Planned for these very conditions: a plan for all of them can use the index of none.
        .persistent(false)
        .bind(tenant.0)
        .bind(filter.text.as_deref().map(words))
        .bind(fitted(&filter.title))
        .bind(fitted(&filter.category))
        .bind(fitted(&filter.tag))
        .bind(filter.is_public)
        .bind(filter.archived)
        .bind(after_at)
        .bind(after_id)
        .bind(limit)
        .fetch_all(reader.connection())
        .await
}

/// A search without the dashes that exclude nothing: PostgreSQL stacks up those in a row and fails beyond 32 of them.
fn words(search: &str) -> String {
    let mut words = String::with_capacity(search.len());
    let search = storable::text(search);
    let mut characters = search.chars().peekable();
    while let Some(character) = characters.next() {
        let excludes = characters.peek().is_some_and(|next| next.is_alphanumeric() || *next == '"');
        words.push(if character == '-' && !excludes { ' ' } else { character });
    }
    words
}

/// The card with an id.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_id(pool: &PgPool, tenant: TenantId, id: PromptCardId) -> Result<Option<CardRow>, ReadError> {
    by_id_in(&mut Reader::living(pool).await?, tenant, id).await
}

pub(crate) async fn by_id_in<C: DerefMut<Target = PgConnection>>(
    reader: &mut Reader<C>,
    tenant: TenantId,
    id: PromptCardId,
) -> Result<Option<CardRow>, ReadError> {
    let row = sqlx::query_as(reader.sql(
        "select id, title, description, prompt, category, tags, metadata, created_by, created_at, updated_at,
                version, is_public, archived, labels, case_count, revision
         from read.card where tenant_id = $1 and id = $2",
    ))
    .bind(tenant.0)
    .bind(id.0)
    .fetch_optional(reader.connection())
    .await?;
    Ok(row)
}

/// The cards with exactly this title, the newest first: titles are not unique, so the caller decides what many mean.
///
/// # Errors
/// Where the database does not answer.
pub async fn by_title(pool: &PgPool, tenant: TenantId, title: &str) -> Result<Vec<CardRow>, ReadError> {
    let filter = CardFilter { title: Some(title.to_owned()), ..CardFilter::default() };
    Ok(page(pool, tenant, &filter, None, page::PAGE_LEN_MAX).await?.items)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protected_labels_are_beside_the_versions() {
        let labels: Labels = serde_json::from_str(r#"{"a": 1, "@protected": ["a", "b"], "c": 2}"#).unwrap();
        assert_eq!(labels.versions, BTreeMap::from([("a".to_owned(), 1), ("c".to_owned(), 2)]));
        assert_eq!(labels.protected, BTreeSet::from(["a".to_owned(), "b".to_owned()]));
        let labels: Labels = serde_json::from_str(r#"{"a": 1}"#).unwrap();
        assert_eq!((labels.versions.len(), labels.protected.len()), (1, 0));
    }

    #[test]
    fn only_dashes_in_front_of_words_and_phrases_stay() {
        assert_eq!(words("a -b -\"c d\" x-y"), "a -b -\"c d\" x-y");
        assert!(!words(&"-".repeat(50)).contains('-'));
        assert_eq!(words("-(x)"), " (x)");
    }
}
