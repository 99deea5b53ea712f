//! Finds tickets that the broker lost, and hands their executions out again.

use std::time::Duration;

use pcs_bus::Bus;
use pcs_domain::ids::DispatchId;
use pcs_store::Store;

use crate::RelayError;
use crate::desk;
use crate::dispatch::WINDOW_LEN_MAX;

/// A ticket younger than this may still be on its way.
const TICKET_SETTLED: Duration = Duration::from_secs(5);
/// Tickets that the stream may hold beside the window: of earlier hand-overs, not yet acknowledged.
const STALE_TICKETS_MAX: usize = 100_000;

/// Looks once; answers how many hand-overs were lost.
///
/// A stream with another time of creation has lost everything. Otherwise a hand-over whose ticket is not in the stream
/// was lost: the stream keeps each ticket until its result is recorded.
pub(crate) async fn reconcile(store: &Store, bus: &Bus) -> Result<u64, RelayError> {
    let state = match bus.stream_state().await {
        Ok(state) => state,
        // No stream, or no broker: make the stream again, or fail on that.
        Err(_) => {
            bus.ensure_topology().await?;
            bus.stream_state().await?
        }
    };
    if desk::note_stream(store.pool(), state.created.get()).await? {
        bus.ensure_topology().await?;
        let lost = desk::take_all_back(store.pool()).await?;
        tracing::warn!(lost, "the broker has come back without its tickets; they are handed out again");
        return Ok(lost);
    }
    let suspects = desk::dispatched_before(store.pool(), TICKET_SETTLED).await?;
    if suspects.is_empty() {
        return Ok(0);
    }
    let live = bus.live_dispatches(WINDOW_LEN_MAX + STALE_TICKETS_MAX).await?;
    let lost: Vec<DispatchId> = suspects.into_iter().filter(|dispatch| !live.contains(dispatch)).collect();
    if lost.is_empty() {
        return Ok(0);
    }
    // A result may have been recorded, and its ticket acknowledged, between the two looks: then its row is gone or
    // soon will be, and at worst the execution is handed out once more and its second result refused.
    let taken_back = desk::take_back(store.pool(), &lost).await?;
    tracing::warn!(lost = taken_back, "the broker has lost tickets; they are handed out again");
    Ok(taken_back)
}
