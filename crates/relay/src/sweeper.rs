//! Sweeps what was left lying, the places of workers that are gone; and tells who is there, and whether anything is held.

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
}

impl Sweeper {
    pub(crate) fn new(store: Store, bus: Bus, presence: Presence) -> Self {
        Self { store, bus, presence }
    }

    /// Sweeps once.
    pub(crate) async fn sweep(&self) -> Result<(), RelayError> {
        let pool = self.store.pool();
        let workers = self.presence.workers();
        desk::note_workers(pool, &workers).await?;
        // A relay that has just begun has not heard of everybody yet.
        if self.presence.is_settled() {
            let alive: Vec<String> = workers.into_iter().map(|seen| seen.heartbeat.worker).collect();
            let swept = desk::sweep_places(pool, &alive).await?;
            desk::count(pool, "places_swept", swept).await?;
        }
        let held = desk::has_holds(pool).await?;
        self.bus.announce_holds(held).await;
        Ok(())
    }
}
