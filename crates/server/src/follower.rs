//! Follows the log to count results as they are recorded, whoever records them.

use std::sync::Arc;
use std::time::Duration;

use pcs_domain::execution::ExecutionEvent;
use pcs_domain::{Category, DomainEvent};
use pcs_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Events that are read at once.
const PAGE_LEN: i64 = 500;
/// How often the log is looked at when nothing wakes the follower: well below a scrape's interval.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// Pause after the log could not be read.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);

/// Counts the results that are recorded from now on, until `stop`. Counters start at zero with each process, so the
/// results of earlier ones are not counted again. Every process that runs this counts all results.
pub async fn metrics_follower(store: Store, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut position = None;
    while !stop.is_cancelled() {
        let pause = match advance(&store, &metrics, &mut position).await {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(error = %error, "results could not be counted");
                Some(FAILURE_PAUSE)
            }
        };
        let wait = async {
            match (pause, position) {
                (Some(pause), _) => tokio::time::sleep(pause).await,
                (None, after) => store.wait_for_change(after.unwrap_or(0), POLL_INTERVAL).await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = wait => (),
        }
    }
}

/// Counts everything after the position; the first time only finds where the log ends.
async fn advance(store: &Store, metrics: &Metrics, position: &mut Option<i64>) -> Result<(), StoreError> {
    let mut after = match *position {
        Some(after) => after,
        None => store.head().await?,
    };
    *position = Some(after);
    loop {
        let page = store.read_subscribed(after, PAGE_LEN, &[Category::Execution]).await?;
        let Some(last) = page.last() else {
            return Ok(());
        };
        after = last.position;
        for recorded in &page {
            match &recorded.event {
                DomainEvent::Execution(ExecutionEvent::Finished(e)) => {
                    metrics.record_execution(e.cell.card_id, e.grade.passed);
                }
                DomainEvent::Execution(ExecutionEvent::DeadLettered(e)) => {
                    metrics.record_execution(e.cell.card_id, false);
                }
                DomainEvent::Execution(ExecutionEvent::AttemptFailed(_))
                | DomainEvent::PromptCard(_)
                | DomainEvent::TestRun(_)
                | DomainEvent::Unread(_) => (),
            }
        }
        *position = Some(after);
    }
}
