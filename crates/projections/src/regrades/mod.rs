//! `regrades.v1`: one row a regrade, as it is now, and one each new grade of an answer.

mod queries;

use std::collections::{BTreeMap, BTreeSet};

use pcs_domain::ids::{RegradeId, TenantId};
use pcs_domain::regrade::{Graded, RegradeEvent};
use pcs_domain::{Category, DomainEvent};
use pcs_store::Recorded;
use serde::Serialize;
use sqlx::PgConnection;

pub use self::queries::{RegradeRow, RegradeStatus, RegradedRow, by_id, of_run, results};
use crate::copy::Load;
use crate::{BoxFuture, Projection, ProjectionError, storable, subject};

/// The name of the projection and of its checkpoint.
pub const NAME: &str = "regrades.v1";

/// Most grades of one event: more than any event can hold.
const GRADES_PER_EVENT_MAX: i64 = 1_000_000;

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Regrades;

type Rows = BTreeMap<(TenantId, RegradeId), RegradeRow>;

impl Projection for Regrades {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["regrade", "regrade_result"]
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::Regrade]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(async move {
            let touched: BTreeSet<_> = batch.iter().filter(|recorded| event_of(recorded).is_some()).map(key).collect();
            if touched.is_empty() {
                return Ok(());
            }
            let mut rows = load(connection, &touched).await?;
            batch.iter().for_each(|recorded| fold(&mut rows, recorded));
            save(connection, &rows).await?;
            save_results(connection, batch).await
        })
    }
}

fn key(recorded: &Recorded) -> (TenantId, RegradeId) {
    (recorded.tenant, RegradeId(recorded.stream_id))
}

/// The events that this projection uses: all of regrades.
fn event_of(recorded: &Recorded) -> Option<&RegradeEvent> {
    match &recorded.event {
        DomainEvent::Regrade(event) => Some(event),
        DomainEvent::PromptCard(_)
        | DomainEvent::TestRun(_)
        | DomainEvent::Execution(_)
        | DomainEvent::DataSubject(_)
        | DomainEvent::JobPolicy(_)
        | DomainEvent::Schedule(_)
        | DomainEvent::Job(_)
        | DomainEvent::Review(_)
        | DomainEvent::Unread(_) => None,
    }
}

fn fold(rows: &mut Rows, recorded: &Recorded) {
    let Some(event) = event_of(recorded) else { return };
    if let RegradeEvent::Requested(request) = event {
        rows.entry(key(recorded)).or_insert_with(|| RegradeRow::requested(recorded, request));
        return;
    }
    // As in the domain: what happens to no regrade changes nothing.
    let Some(row) = rows.get_mut(&key(recorded)) else { return };
    row.revision = recorded.version;
    match event {
        // A stream has one, its first, and it was used above.
        RegradeEvent::Requested(_) => (),
        RegradeEvent::Graded(graded) => row.add(graded),
        RegradeEvent::Completed(_) => {
            (row.status, row.ended_at) = (RegradeStatus::Completed, Some(recorded.recorded_at))
        }
    }
}

async fn load(
    connection: &mut PgConnection,
    touched: &BTreeSet<(TenantId, RegradeId)>,
) -> Result<Rows, ProjectionError> {
    let (tenants, ids): (Vec<_>, Vec<_>) = touched.iter().map(|(tenant, id)| (tenant.0, id.0)).unzip();
    let rows: Vec<queries::Stored> = sqlx::query_as(
        "select tenant_id, id, run_id, card_id, name, status, answers, passed, failed, turned_to_passed,
                turned_to_failed, verdicts, requested_by, requested_at, ended_at, revision
         from regrade join unnest($1::int[], $2::uuid[]) as touched (tenant_id, id) using (tenant_id, id)",
    )
    .persistent(false)
    .bind(tenants)
    .bind(ids)
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|stored| ((stored.tenant, stored.row.id), stored.row)).collect())
}

/// A regrade with its tenant, as the statement takes it: the fields have the columns' names.
#[derive(Serialize)]
struct Saved<'a> {
    tenant_id: TenantId,
    #[serde(flatten)]
    row: &'a RegradeRow,
}

async fn save(connection: &mut PgConnection, rows: &Rows) -> Result<(), ProjectionError> {
    let saved = rows.iter().map(|((tenant, _), row)| Saved { tenant_id: *tenant, row });
    for array in storable::json_arrays(saved)? {
        sqlx::query(include_str!("../../queries/regrade_save.sql")).bind(array).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Columns of [`COPY_RESULTS`].
const RESULT_FIELDS: i16 = 10;
/// A page that is written once more finds none of its rows: they are in one transaction with the checkpoint.
const COPY_RESULTS: &str = "copy regrade_result (
    tenant_id, regrade_id, ordinal, execution_id, passed, passed_before, score, verdicts, grader, subject)
    from stdin with (format binary)";

async fn save_results(connection: &mut PgConnection, batch: &[Recorded]) -> Result<(), ProjectionError> {
    let graded = batch.iter().filter_map(|recorded| match event_of(recorded) {
        Some(RegradeEvent::Graded(graded)) if !graded.grades.is_empty() => Some((recorded, graded)),
        Some(RegradeEvent::Graded(_) | RegradeEvent::Requested(_) | RegradeEvent::Completed(_)) | None => None,
    });
    let graded: Vec<(&Recorded, &Graded)> = graded.collect();
    if graded.is_empty() {
        return Ok(());
    }
    let mut load = Load::begin(connection, COPY_RESULTS, RESULT_FIELDS).await?;
    for (recorded, graded) in graded {
        let place = recorded.version.saturating_mul(GRADES_PER_EVENT_MAX);
        for (index, regraded) in graded.grades.iter().enumerate() {
            let (tenant, id) = key(recorded);
            load.rows()
                .row()
                .int(tenant.0)
                .uuid(id.0)
                .bigint(place.saturating_add(storable::count(index)))
                .uuid(regraded.execution_id.0)
                .bool(regraded.grade.passed)
                .bool(regraded.passed_before)
                .double(Some(regraded.grade.score))
                .jsonb(&storable::json(&regraded.grade.verdicts)?)
                .text(regraded.grade.grader.as_deref())
                .jsonb_opt(subject::column(regraded.subject.as_ref())?.as_deref());
            load.send().await?;
        }
    }
    load.finish().await?;
    Ok(())
}
