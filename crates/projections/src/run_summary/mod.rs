//! `run_summary.v1`: one row a run, and for each of its models how many results there are, and what they took.

mod latency;
mod past;
mod usage;
mod queries;
mod save;

use std::borrow::Cow;
use std::collections::BTreeMap;

use pcs_domain::execution::{ExecutionEvent, ExecutionRef, Finished};
use pcs_domain::ids::{TenantId, TestRunId};
use pcs_domain::prompt_card::PromptCardEvent;
use pcs_domain::test_run::{Requested, TestRunEvent};
use pcs_domain::{Category, DomainEvent, EventType, Timestamp};
use pcs_store::Recorded;
use sqlx::PgConnection;
use uuid::Uuid;

pub(crate) use self::past::count_past;
pub use self::queries::{Latency, ModelSummary, Overrides, Run, RunFilter, RunStatus, Tokens, Totals, by_id, page};
pub(crate) use self::queries::{add_models, by_id_in, rows_in};
pub use self::usage::{VersionUsage, versions_of_runs, versions_run};
use crate::{BoxFuture, Projection, ProjectionError, storable};

/// The name of the projection and of its checkpoint.
pub const NAME: &str = "run_summary.v1";

/// An attempt that failed or was snoozed is no result, and a dead letter that is dismissed stays an error.
const IGNORED: [EventType; 3] = [
    EventType { name: "execution.attempt_failed", version: 3 },
    EventType { name: "execution.snoozed", version: 1 },
    EventType { name: "execution.dismissed", version: 1 },
];

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct RunSummary;

impl Projection for RunSummary {
    fn name(&self) -> &'static str {
        NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["run", "run_model", "run_latency"]
    }

    fn ignored(&self) -> &'static [EventType] {
        &IGNORED
    }

    /// A result changes the row of its run, so it waits for the run.
    fn lane(&self, recorded: &Recorded) -> Uuid {
        match &recorded.event {
            DomainEvent::Execution(ExecutionEvent::Finished(e)) => e.cell.run_id.0,
            DomainEvent::Execution(ExecutionEvent::AttemptFailed(e)) => e.cell.run_id.0,
            DomainEvent::Execution(ExecutionEvent::DeadLettered(e)) => e.cell.run_id.0,
            DomainEvent::Execution(ExecutionEvent::Snoozed(e)) => e.cell.run_id.0,
            DomainEvent::Execution(ExecutionEvent::Dismissed(e)) => e.run_id.0,
            DomainEvent::TestRun(_)
            | DomainEvent::PromptCard(_)
            | DomainEvent::DataSubject(_)
            | DomainEvent::JobPolicy(_)
            | DomainEvent::Schedule(_)
            | DomainEvent::Job(_)
            | DomainEvent::Regrade(_)
            | DomainEvent::Review(_)
            | DomainEvent::Unread(_) => recorded.stream_id,
        }
    }

    fn categories(&self) -> &'static [Category] {
        &[Category::TestRun, Category::Execution]
    }

    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        Box::pin(async move {
            let mut changes = Changes::default();
            batch.iter().for_each(|recorded| changes.fold(recorded));
            save::save(&changes, connection).await
        })
    }
}

/// A new run.
struct Started<'a> {
    tenant: TenantId,
    run_id: TestRunId,
    request: &'a Requested,
    at: Timestamp,
    revision: i64,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Ended {
    status: RunStatus,
    at: Timestamp,
    revision: i64,
}

/// What a page adds to the counts of one model of one run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    passed: i64,
    failed: i64,
    errors: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_micro_usd: i64,
    priced: i64,
}

/// A model of a run by its name; [`Cow`] because a name may hold a NUL character, which the columns don't.
type ModelKey<'a> = (TenantId, TestRunId, Cow<'a, str>);

/// What a page changes. Counts are added to those in the tables, so nothing has to be loaded.
#[derive(Default)]
struct Changes<'a> {
    started: Vec<Started<'a>>,
    ended: BTreeMap<(TenantId, TestRunId), Ended>,
    counts: BTreeMap<ModelKey<'a>, Counts>,
    latencies: BTreeMap<(ModelKey<'a>, i16), i64>,
}

impl<'a> Changes<'a> {
    fn fold(&mut self, recorded: &'a Recorded) {
        match &recorded.event {
            DomainEvent::TestRun(event) => self.fold_run(recorded, event),
            DomainEvent::Execution(event) => self.fold_execution(recorded, event),
            DomainEvent::PromptCard(
                PromptCardEvent::Created(_)
                | PromptCardEvent::Revised(_)
                | PromptCardEvent::Described(_)
                | PromptCardEvent::Tagged(_)
                | PromptCardEvent::Labelled(_)
                | PromptCardEvent::Unlabelled(_)
                | PromptCardEvent::LabelProtected(_)
                | PromptCardEvent::LabelUnprotected(_)
                | PromptCardEvent::SchemaChanged(_)
                | PromptCardEvent::Published(_)
                | PromptCardEvent::Unpublished(_)
                | PromptCardEvent::Archived(_)
                | PromptCardEvent::Restored(_)
                | PromptCardEvent::CasesAdded(_)
                | PromptCardEvent::CaseChanged(_)
                | PromptCardEvent::CasesRemoved(_),
            )
            | DomainEvent::DataSubject(_)
            | DomainEvent::JobPolicy(_)
            | DomainEvent::Schedule(_)
            | DomainEvent::Job(_)
            | DomainEvent::Regrade(_)
            | DomainEvent::Review(_)
            | DomainEvent::Unread(_) => (),
        }
    }

    fn fold_run(&mut self, recorded: &'a Recorded, event: &'a TestRunEvent) {
        match event {
            TestRunEvent::Requested(request) => self.started.push(Started {
                tenant: recorded.tenant,
                run_id: TestRunId(recorded.stream_id),
                request,
                at: recorded.recorded_at,
                revision: recorded.version,
            }),
            TestRunEvent::Cancelled(_) => self.end(recorded, RunStatus::Cancelled),
            // Its totals are not used: they are the sum of the results, which are counted one by one.
            TestRunEvent::Completed(_) => self.end(recorded, RunStatus::Completed),
        }
    }

    /// The first end stays, as in the domain.
    fn end(&mut self, recorded: &Recorded, status: RunStatus) {
        let key = (recorded.tenant, TestRunId(recorded.stream_id));
        let ended = Ended { status, at: recorded.recorded_at, revision: recorded.version };
        self.ended.entry(key).or_insert(ended);
    }

    fn fold_execution(&mut self, recorded: &Recorded, event: &'a ExecutionEvent) {
        match event {
            ExecutionEvent::Finished(finished) => self.count(recorded.tenant, finished),
            ExecutionEvent::DeadLettered(e) => {
                self.add(model_key(recorded.tenant, &e.cell), None, Counts { errors: 1, ..Counts::default() });
            }
            // Another attempt follows: there is no result yet.
            ExecutionEvent::AttemptFailed(_) | ExecutionEvent::Snoozed(_) => (),
            // It was counted when it became a dead letter.
            ExecutionEvent::Dismissed(_) => (),
        }
    }

    fn count(&mut self, tenant: TenantId, finished: &'a Finished) {
        let cost = finished.cost_micro_usd();
        let counts = Counts {
            passed: i64::from(finished.grade.passed),
            failed: i64::from(!finished.grade.passed),
            errors: 0,
            input_tokens: storable::measure(finished.answer.input_tokens),
            output_tokens: storable::measure(finished.answer.output_tokens),
            cost_micro_usd: cost.map_or(0, storable::measure),
            priced: i64::from(cost.is_some()),
        };
        self.add(model_key(tenant, &finished.cell), Some(finished.answer.latency_ms), counts);
    }

    /// Adds results of one model; where they have a latency, all have the same one.
    fn add(&mut self, key: ModelKey<'a>, latency_ms: Option<u64>, counts: Counts) {
        if let Some(latency_ms) = latency_ms {
            // Cut as in a result's row, so that rows and events give the same count.
            let bucket = latency::bucket(latency_ms.min(storable::MEASURE_MAX));
            let latency = self.latencies.entry((key.clone(), bucket)).or_default();
            *latency += counts.passed + counts.failed;
        }
        let sum = self.counts.entry(key).or_default();
        sum.passed += counts.passed;
        sum.failed += counts.failed;
        sum.errors += counts.errors;
        sum.input_tokens += counts.input_tokens;
        sum.output_tokens += counts.output_tokens;
        sum.cost_micro_usd += counts.cost_micro_usd;
        sum.priced += counts.priced;
    }
}

fn model_key(tenant: TenantId, cell: &ExecutionRef) -> ModelKey<'_> {
    (tenant, cell.run_id, storable::text(&cell.model))
}

#[cfg(test)]
mod tests {
    use pcs_domain::test_run::{CancelCause, Cancelled, Completed, RunTotals};

    use super::*;
    use crate::tests::{actor, dead_lettered, finished, recorded};

    fn changes(history: &[Recorded]) -> Changes<'_> {
        let mut changes = Changes::default();
        history.iter().for_each(|recorded| changes.fold(recorded));
        changes
    }

    #[test]
    fn results_are_counted_by_model_and_outcome() {
        let mut unpriced = finished("b", 0, false);
        unpriced.answer.cost_micro_usd = None;
        let events = [
            ExecutionEvent::Finished(finished("a", 0, true)),
            ExecutionEvent::Finished(finished("a", 1, false)),
            ExecutionEvent::Finished(unpriced),
            ExecutionEvent::DeadLettered(dead_lettered("b", 1)),
        ];
        let history: Vec<_> = events.into_iter().map(|e| recorded(9, 1, DomainEvent::Execution(e))).collect();
        let changes = changes(&history);
        let counts: Vec<Counts> = changes.counts.values().copied().collect();
        let [a, b] = counts[..] else { panic!("two models") };
        assert_eq!((a.passed, a.failed, a.errors, a.priced, a.cost_micro_usd), (1, 1, 0, 2, 14));
        assert_eq!((b.passed, b.failed, b.errors, b.priced, b.cost_micro_usd), (0, 1, 1, 0, 0));
        assert_eq!(changes.latencies.values().sum::<i64>(), 3, "an error has no latency");
    }

    #[test]
    fn the_first_end_of_a_run_stays() {
        let cancelled = Cancelled { reason: String::new(), cancelled_by: Some(actor()), cause: CancelCause::Asked };
        let events =
            [TestRunEvent::Cancelled(cancelled), TestRunEvent::Completed(Completed { totals: RunTotals::default() })];
        let history: Vec<_> = (2..).zip(events).map(|(v, e)| recorded(8, v, DomainEvent::TestRun(e))).collect();
        let changes = changes(&history);
        let ended = changes.ended.values().next().unwrap();
        assert_eq!((ended.status, ended.revision), (RunStatus::Cancelled, 2));
    }
}
