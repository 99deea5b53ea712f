//! Cards as they were, alone and in lists.

use pcs_domain::Timestamp;
use pcs_domain::ids::PromptCardId;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{CANDIDATES_MAX, Moment, Past, PastError, ROUND_LEN};
use crate::card_detail::{self, CardDetail, CaseRow, VersionRow};
use crate::card_list::{self, CardFilter, CardList, CardRow};
use crate::cursor::List;
use crate::page::{self, Page};
use crate::{ReadError, storable};

/// The card with an id.
///
/// # Errors
/// Where the database does not answer, an event can't be read or it takes too long.
pub async fn card(moment: Moment<'_>, id: PromptCardId) -> Result<Option<CardRow>, PastError> {
    let mut past = Past::open(moment, &[&CardList]).await?;
    past.fold_all(&CardList, id.0).await?;
    Ok(card_list::by_id_in(&mut past.reader(), moment.tenant, id).await?)
}

/// A page of the tenant's cards, the newest first.
///
/// # Errors
/// As [`card`], and for a cursor that is not of this list.
pub async fn cards(
    moment: Moment<'_>,
    filter: &CardFilter,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<CardRow>, PastError> {
    let mut after = cursor.map(|cursor| List::Cards.moment(cursor)).transpose().map_err(ReadError::from)?;
    let (mut rows, mut seen) = (Vec::new(), 0);
    let mut round_len = page::len(limit) + 1;
    let cursor_of = |card: &CardRow| List::Cards.after_moment(card.created_at, card.id.0);
    loop {
        let candidates = candidates(moment, after, round_len).await?;
        let Some((at, id)) = candidates.last().copied() else { break };
        let wanted = page::len(limit) + 1 - storable::count(rows.len());
        let mut past = Past::open(moment, &[&CardList]).await?;
        for (_, id) in &candidates {
            past.fold(&CardList, *id).await?;
        }
        past.settle(&CardList).await?;
        rows.extend(card_list::rows_in(&mut past.reader(), moment.tenant, filter, None, wanted).await?);
        seen += candidates.len();
        if storable::count(rows.len()) > page::len(limit) || storable::count(candidates.len()) < round_len {
            break;
        }
        if seen >= CANDIDATES_MAX {
            return Ok(Page { items: rows, next_cursor: Some(List::Cards.after_moment(Timestamp::new(at), id)) });
        }
        (after, round_len) = (Some((at, id)), ROUND_LEN);
    }
    Ok(Page::new(rows, limit, cursor_of))
}

/// The cards that there are now, which are all that there were: neither a card's time nor its id ever changes.
async fn candidates(
    moment: Moment<'_>,
    after: Option<(OffsetDateTime, Uuid)>,
    limit: i64,
) -> Result<Vec<(OffsetDateTime, Uuid)>, PastError> {
    let (after_at, after_id) = after.unzip();
    let rows = sqlx::query_as(
        "select created_at, id from read.card
         where tenant_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
         order by created_at desc, id desc limit $4",
    )
    .persistent(false)
    .bind(moment.tenant.0)
    .bind(after_at)
    .bind(after_id)
    .bind(limit)
    .fetch_all(moment.store.pool())
    .await?;
    Ok(rows)
}

/// A page of a card's versions, the oldest first.
///
/// # Errors
/// As [`cards`].
pub async fn versions(
    moment: Moment<'_>,
    card: PromptCardId,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<VersionRow>, PastError> {
    let mut past = detail(moment, card).await?;
    Ok(card_detail::versions_in(&mut past.reader(), moment.tenant, card, cursor, limit).await?)
}

/// One version of a card.
///
/// # Errors
/// As [`card`].
pub async fn version(moment: Moment<'_>, card: PromptCardId, version: u32) -> Result<Option<VersionRow>, PastError> {
    let mut past = detail(moment, card).await?;
    Ok(card_detail::version_in(&mut past.reader(), moment.tenant, card, version).await?)
}

/// A page of a card's cases in the order they were added.
///
/// # Errors
/// As [`cards`].
pub async fn cases(
    moment: Moment<'_>,
    card: PromptCardId,
    cursor: Option<&str>,
    limit: i64,
) -> Result<Page<CaseRow>, PastError> {
    let mut past = detail(moment, card).await?;
    Ok(card_detail::cases_in(&mut past.reader(), moment.tenant, card, cursor, limit).await?)
}

async fn detail<'s>(moment: Moment<'s>, card: PromptCardId) -> Result<Past<'s>, PastError> {
    let mut past = Past::open(moment, &[&CardDetail]).await?;
    past.fold_all(&CardDetail, card.0).await?;
    Ok(past)
}
