//! What is done to the parts: the dice say what and when.

use std::time::Duration;

use serde::Serialize;

use super::dice::Dice;
use super::parts::Parts;
use super::scratch::Scratch;
use crate::commands::exit::CliError;

/// Pauses between two faults, in milliseconds.
const PAUSE_MILLIS: (u64, u64) = (100, 600);
/// How long a writer is frozen, in milliseconds.
const FREEZE_MILLIS: (u64, u64) = (50, 1_500);
/// Faults that can't be done are tried again, for at most so long: the server may just be starting.
const CUT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often each fault was done.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Faults {
    writers_killed: u64,
    writers_frozen: u64,
    projectors_killed: u64,
    connections_cut: u64,
    servers_killed: u64,
}

impl Faults {
    /// Waits for the next fault's time and does it.
    pub(super) async fn next(
        &mut self,
        dice: &mut Dice,
        parts: &mut Parts,
        scratch: &mut Scratch,
    ) -> Result<(), CliError> {
        tokio::time::sleep(dice.millis(PAUSE_MILLIS.0, PAUSE_MILLIS.1)).await;
        let sides = u64::try_from(parts.writers()).unwrap_or(1);
        let place = usize::try_from(dice.roll(sides)).unwrap_or(0);
        match dice.roll(10) {
            0..=2 => {
                parts.kill_writer(place).await?;
                self.writers_killed += 1;
            }
            3 | 4 => {
                let time = dice.millis(FREEZE_MILLIS.0, FREEZE_MILLIS.1);
                parts.freeze_writer(place, time).await?;
                self.writers_frozen += 1;
            }
            5 | 6 => {
                parts.kill_projector(place).await?;
                self.projectors_killed += 1;
            }
            7 if scratch.is_private() => {
                scratch.crash().await?;
                self.servers_killed += 1;
            }
            // Cuts, and on a server that must not be killed more of them.
            cut => {
                let one_of = if cut == 9 { 1 } else { 2 };
                let cut = tokio::time::timeout(CUT_TIMEOUT, scratch.cut(one_of)).await;
                self.connections_cut +=
                    cut.map_err(|_| CliError::System("the server does not answer".to_owned()))??;
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "killed: {} writers, {} projectors, {} times the server; {} writers frozen, {} connections cut",
            self.writers_killed, self.projectors_killed, self.servers_killed, self.writers_frozen, self.connections_cut
        )
    }
}
