//! What each event of a review changes in the tables.

use pcs_domain::DomainEvent;
use pcs_domain::ids::{ActorId, ExecutionId};
use pcs_domain::review::{ItemsAssigned, Opened, ReviewEvent, Scored, VerdictReplaced};
use pcs_store::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{ProjectionError, storable};

pub(super) async fn fold(connection: &mut PgConnection, recorded: &Recorded) -> Result<(), ProjectionError> {
    let Some(event) = event_of(recorded) else { return Ok(()) };
    match event {
        ReviewEvent::Opened(e) => opened(connection, recorded, e).await?,
        ReviewEvent::ItemsAdded(e) => added(connection, recorded, &e.items).await?,
        ReviewEvent::ItemsAssigned(ItemsAssigned { items, reviewer, .. }) => {
            assigned(connection, recorded, items, *reviewer).await?;
        }
        ReviewEvent::ItemsReleased(e) => released(connection, recorded, &e.items, e.reviewer).await?,
        ReviewEvent::Scored(e) => scored(connection, recorded, e).await?,
        ReviewEvent::VerdictReplaced(e) => {
            withdrawn(connection, recorded, e.execution_id).await?;
            overridden(connection, recorded, e).await?;
        }
        ReviewEvent::VerdictRestored(e) => withdrawn(connection, recorded, e.execution_id).await?,
        ReviewEvent::Closed(_) => closed(connection, recorded, true).await?,
        ReviewEvent::Reopened(_) => closed(connection, recorded, false).await?,
    }
    sqlx::query("update review set revision = $3 where tenant_id = $1 and review_id = $2")
        .bind(recorded.tenant.0)
        .bind(recorded.stream_id)
        .bind(recorded.version)
        .execute(connection)
        .await?;
    Ok(())
}

/// The events that this projection uses: all of reviews.
fn event_of(recorded: &Recorded) -> Option<&ReviewEvent> {
    match &recorded.event {
        DomainEvent::Review(event) => Some(event),
        DomainEvent::PromptCard(_)
        | DomainEvent::TestRun(_)
        | DomainEvent::Execution(_)
        | DomainEvent::DataSubject(_)
        | DomainEvent::JobPolicy(_)
        | DomainEvent::Schedule(_)
        | DomainEvent::Job(_)
        | DomainEvent::Regrade(_)
        | DomainEvent::Unread(_) => None,
    }
}

async fn opened(connection: &mut PgConnection, recorded: &Recorded, e: &Opened) -> Result<(), ProjectionError> {
    sqlx::query(
        "insert into review (tenant_id, review_id, run_id, card_id, title, instructions, scores, reviewers_per_item, blind,
                             closed, opened_by, opened_at, revision)
         values ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, false, $10, $11, $12)",
    )
    .bind(recorded.tenant.0)
    .bind(recorded.stream_id)
    .bind(e.run_id.0)
    .bind(e.card_id.0)
    .bind(storable::text(&e.title))
    .bind(storable::text(&e.instructions))
    .bind(storable::json(&e.scores)?)
    .bind(i32::from(e.reviewers_per_item))
    .bind(e.blind)
    .bind(e.opened_by.0)
    .bind(recorded.recorded_at.get())
    .bind(recorded.version)
    .execute(connection)
    .await?;
    Ok(())
}

fn ids(items: &[ExecutionId]) -> Vec<Uuid> {
    items.iter().map(|item| item.0).collect()
}

async fn added(
    connection: &mut PgConnection,
    recorded: &Recorded,
    items: &[ExecutionId],
) -> Result<(), ProjectionError> {
    sqlx::query(
        "insert into review_item (tenant_id, review_id, execution_id) select $1, $2, id from unnest($3::uuid[]) id
         on conflict do nothing",
    )
    .bind(recorded.tenant.0)
    .bind(recorded.stream_id)
    .bind(ids(items))
    .execute(connection)
    .await?;
    Ok(())
}

async fn assigned(
    connection: &mut PgConnection,
    recorded: &Recorded,
    items: &[ExecutionId],
    reviewer: ActorId,
) -> Result<(), ProjectionError> {
    sqlx::query(
        "insert into review_part (tenant_id, review_id, execution_id, reviewer, comment)
         select $1, $2, id, $4, '' from unnest($3::uuid[]) id on conflict do nothing",
    )
    .bind(recorded.tenant.0)
    .bind(recorded.stream_id)
    .bind(ids(items))
    .bind(reviewer.0)
    .execute(connection)
    .await?;
    Ok(())
}

async fn released(
    connection: &mut PgConnection,
    recorded: &Recorded,
    items: &[ExecutionId],
    reviewer: ActorId,
) -> Result<(), ProjectionError> {
    sqlx::query(
        "delete from review_part
         where tenant_id = $1 and review_id = $2 and execution_id = any($3::uuid[]) and reviewer = $4 and scores is null",
    )
    .bind(recorded.tenant.0)
    .bind(recorded.stream_id)
    .bind(ids(items))
    .bind(reviewer.0)
    .execute(connection)
    .await?;
    Ok(())
}

async fn scored(connection: &mut PgConnection, recorded: &Recorded, e: &Scored) -> Result<(), ProjectionError> {
    sqlx::query(
        "insert into review_part (tenant_id, review_id, execution_id, reviewer, scores, comment, scored_at)
         values ($1, $2, $3, $4, $5::jsonb, $6, $7)
         on conflict (tenant_id, review_id, execution_id, reviewer) do update
         set scores = excluded.scores, comment = excluded.comment, scored_at = excluded.scored_at",
    )
    .bind(recorded.tenant.0)
    .bind(recorded.stream_id)
    .bind(e.execution_id.0)
    .bind(e.reviewer.0)
    .bind(storable::json(&e.values)?)
    .bind(storable::text(&e.comment))
    .bind(recorded.recorded_at.get())
    .execute(connection)
    .await?;
    Ok(())
}

async fn overridden(
    connection: &mut PgConnection,
    recorded: &Recorded,
    e: &VerdictReplaced,
) -> Result<(), ProjectionError> {
    sqlx::query(
        "insert into verdict_override (tenant_id, execution_id, position, run_id, passed, passed_before, reason,
                                       overridden_by, overridden_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(recorded.tenant.0)
    .bind(e.execution_id.0)
    .bind(recorded.position)
    .bind(e.run_id.0)
    .bind(e.passed)
    .bind(e.passed_before)
    .bind(storable::text(&e.reason))
    .bind(e.replaced_by.0)
    .bind(recorded.recorded_at.get())
    .execute(connection)
    .await?;
    Ok(())
}

async fn withdrawn(
    connection: &mut PgConnection,
    recorded: &Recorded,
    execution: ExecutionId,
) -> Result<(), ProjectionError> {
    sqlx::query(
        "update verdict_override set until_position = $3
         where tenant_id = $1 and execution_id = $2 and until_position is null",
    )
    .bind(recorded.tenant.0)
    .bind(execution.0)
    .bind(recorded.position)
    .execute(connection)
    .await?;
    Ok(())
}

async fn closed(connection: &mut PgConnection, recorded: &Recorded, closed: bool) -> Result<(), ProjectionError> {
    sqlx::query("update review set closed = $3 where tenant_id = $1 and review_id = $2")
        .bind(recorded.tenant.0)
        .bind(recorded.stream_id)
        .bind(closed)
        .execute(connection)
        .await?;
    Ok(())
}
