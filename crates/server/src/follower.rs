//! Follows the log to count results as they are recorded, whoever records them.

use std::sync::Arc;
use std::time::Duration;

use pcs_domain::execution::ExecutionEvent;
use pcs_domain::{Category, DomainEvent};
use pcs_store::{Filter, Follower, POLL_INTERVAL, Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Events that are read at once.
const PAGE_LEN: usize = 500;
/// Pause after the log could not be read.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// Counts the results that are recorded from now on, until `stop`. Counters start at zero with each process, so the
/// results of earlier ones are not counted again. Every process that runs this counts all results.
pub async fn metrics_follower(store: Store, metrics: Arc<Metrics>, stop: CancellationToken) {
    let follower = store.follow(Filter::all().categories(&[Category::Execution]));
    let mut position = None;
    while !stop.is_cancelled() {
        let turn = async {
            if let Err(error) = advance(&store, &follower, &metrics, &mut position).await {
                tracing::warn!(error = %error, "results could not be counted");
                tokio::time::sleep(FAILURE_PAUSE).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = turn => (),
        }
    }
}

/// Counts what follows the position, or waits for it; the first time only finds where the log ends.
async fn advance(
    store: &Store,
    follower: &Follower,
    metrics: &Metrics,
    position: &mut Option<i64>,
) -> Result<(), StoreError> {
    let after = match *position {
        Some(after) => after,
        None => *position.insert(store.head().await?),
    };
    let page = follower.next(after, PAGE_LEN, POLL_INTERVAL).await?;
    for recorded in &page.events {
        match &recorded.event {
            DomainEvent::Execution(ExecutionEvent::Finished(e)) => {
                metrics.record_execution(e.cell.card_id, e.grade.passed);
            }
            DomainEvent::Execution(ExecutionEvent::DeadLettered(e)) => {
                metrics.record_execution(e.cell.card_id, false);
            }
            DomainEvent::Execution(
                ExecutionEvent::AttemptFailed(_) | ExecutionEvent::Snoozed(_) | ExecutionEvent::Dismissed(_),
            )
            | DomainEvent::PromptCard(_)
            | DomainEvent::DataSubject(_)
            | DomainEvent::JobPolicy(_)
            | DomainEvent::Schedule(_)
            | DomainEvent::Job(_)
            | DomainEvent::Regrade(_)
            | DomainEvent::Review(_)
            | DomainEvent::TestRun(_)
            | DomainEvent::Unread(_) => (),
        }
    }
    *position = Some(page.position);
    Ok(())
}
