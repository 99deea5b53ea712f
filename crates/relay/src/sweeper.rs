//! Sweeps what was left lying: places of workers that are gone, answers that are old; and tells who is there.

use std::time::Duration;

use pcs_bus::Bus;
use pcs_store::Store;

use crate::RelayError;
use crate::desk;
use crate::presence::Presence;

/// Looks for what was left lying.
pub(crate) struct Sweeper {
    store: Store,
    bus: Bus,
    presence: Presence,
    sweeps: u32,
}

/// Sweeps between two looks for what is older than it may be.
const SWEEPS_PER_LOOK: u32 = 60;

/// How long an answer may be used again.
const ANSWER_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);
/// What a cancelled run left undone can be taken up for so long.
const UNFINISHED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

impl Sweeper {
    pub(crate) fn new(store: Store, bus: Bus, presence: Presence) -> Self {
        Self { store, bus, presence, sweeps: 0 }
    }

    /// Sweeps once; what is kept for days is looked at once a minute.
    pub(crate) async fn sweep(&mut self) -> Result<(), RelayError> {
        let pool = self.store.pool();
        self.sweeps = self.sweeps.wrapping_add(1);
        let workers = self.presence.workers();
        desk::note_workers(pool, &workers).await?;
        // A relay that has just begun has not heard of everybody yet.
        if self.presence.is_settled() {
            let alive: Vec<String> = workers.into_iter().map(|seen| seen.heartbeat.worker).collect();
            let swept = desk::sweep_places(pool, &alive).await?;
            desk::count(pool, "places_swept", swept).await?;
        }
        if self.sweeps.is_multiple_of(SWEEPS_PER_LOOK) {
            desk::forget_old(pool, ANSWER_KEPT, UNFINISHED_KEPT).await?;
        }
        let held = desk::has_holds(pool).await?;
        self.bus.announce_holds(held).await;
        Ok(())
    }
}
