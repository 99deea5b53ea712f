//! Finds tickets that the broker lost, and hands their executions out again.

use std::time::Duration;

use pcs_bus::Bus;
use pcs_domain::ids::DispatchId;
use pcs_domain::jobs::KINDS;
use pcs_store::Store;

use crate::RelayError;
use crate::desk;
use crate::dispatch::WINDOW_LEN_MAX;

/// A ticket younger than this may still be on its way.
const TICKET_SETTLED: Duration = Duration::from_secs(5);
/// Tickets that the stream may hold beside the window: of earlier hand-overs, not yet acknowledged.
const STALE_TICKETS_MAX: usize = 100_000;
/// Looks between two that go through the tickets even where their number is right.
const LOOKS_PER_SCAN: u32 = 10;
/// How often, and how far apart, it is looked whether the scheduler has caught up.
const CATCH_UP_LOOKS: u32 = 20;
const CATCH_UP_PAUSE: Duration = Duration::from_millis(100);

/// Compares the broker's tickets with the desk.
#[derive(Default)]
pub(crate) struct Reconciler {
    looks: u32,
}

impl Reconciler {
    /// Looks once; answers how many hand-overs were lost.
    ///
    /// A stream with another time of creation has lost everything. Otherwise a hand-over whose ticket is not in the
    /// stream was lost: the stream keeps each ticket until its result is recorded.
    pub(crate) async fn look(&mut self, store: &Store, bus: &Bus) -> Result<u64, RelayError> {
        self.looks = self.looks.wrapping_add(1);
        let state = match bus.stream_state().await {
            Ok(state) => state,
            // No stream, or no broker: make the stream again, or fail on that.
            Err(_) => {
                bus.ensure_topology().await?;
                bus.stream_state().await?
            }
        };
        for kind in KINDS {
            if !bus.has_consumer(kind).await {
                bus.ensure_topology().await?;
            }
        }
        if desk::is_new_stream(store.pool(), state.created.get()).await? {
            let lost = desk::take_all_back(store.pool()).await?;
            // Noted last: a failure before it is found again the next time.
            desk::note_stream(store.pool(), state.created.get()).await?;
            if lost > 0 {
                tracing::warn!(lost, "the broker has come back without its tickets; they are handed out again");
            }
            return Ok(lost);
        }
        let suspects = desk::dispatched_before(store.pool(), TICKET_SETTLED).await?;
        // As many tickets as hand-overs: all is well, most likely; a look at each of them costs a round trip.
        let plausible = state.messages >= desk::dispatched(store.pool()).await? as u64;
        if suspects.is_empty() || (plausible && !self.looks.is_multiple_of(LOOKS_PER_SCAN)) {
            return Ok(0);
        }
        take_lost_back(store, bus, suspects).await
    }
}

async fn take_lost_back(store: &Store, bus: &Bus, suspects: Vec<DispatchId>) -> Result<u64, RelayError> {
    let live = bus.live_dispatches(WINDOW_LEN_MAX + STALE_TICKETS_MAX).await?;
    let lost: Vec<DispatchId> = suspects.into_iter().filter(|dispatch| !live.contains(dispatch)).collect();
    if lost.is_empty() || !caught_up(store).await? {
        return Ok(0);
    }
    let taken_back = desk::take_back(store.pool(), &lost).await?;
    if taken_back > 0 {
        tracing::warn!(lost = taken_back, "the broker has lost tickets; they are handed out again");
    }
    Ok(taken_back)
}

/// Waits until the desk has every result that was in the log when the tickets were looked at: a ticket that is gone
/// because its result is recorded is not lost.
async fn caught_up(store: &Store) -> Result<bool, RelayError> {
    let head = store.head().await?;
    for _ in 0..CATCH_UP_LOOKS {
        if desk::cursor(store.pool()).await? >= head {
            return Ok(true);
        }
        tokio::time::sleep(CATCH_UP_PAUSE).await;
    }
    Ok(false)
}
