//! How the read models are, as tables.

use pcs_projections::{ProjectionState, Status};
use pcs_store::Store;

use super::Name;
use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::{Align, excerpt};

const REASON_CHARS_MAX: usize = 100;

pub(super) async fn list(store: &Store, console: &mut Console) -> Result<(), CliError> {
    print(&pcs_projections::states(store).await?, console)
}

/// One read model with all its generations.
pub(super) async fn show(store: &Store, name: &Name, console: &mut Console) -> Result<(), CliError> {
    print(&pcs_projections::states_of(store, &*name.find()?).await?, console)
}

fn print(states: &[ProjectionState], console: &mut Console) -> Result<(), CliError> {
    let columns = [
        ("name", Align::Left),
        ("generation", Align::Left),
        ("status", Align::Left),
        ("position", Align::Right),
        ("behind", Align::Right),
        ("parked", Align::Right),
        ("skipped", Align::Right),
        ("policy", Align::Left),
        ("reason", Align::Left),
    ];
    console.list(states, &columns, |state| {
        vec![
            state.name.clone(),
            state.generation.clone(),
            state.status.name().to_owned(),
            state.position.to_string(),
            state.lag_events.to_string(),
            state.parked.to_string(),
            state.skipped.to_string(),
            state.policy.clone(),
            reason(state),
        ]
    })
}

fn reason(state: &ProjectionState) -> String {
    let Some(failure) = &state.failure else { return "-".to_owned() };
    let text = format!(
        "event {} ({}, stream {}, version {}): {}",
        failure.position, failure.event_type, failure.stream_id, failure.version, failure.error
    );
    excerpt(&text, REASON_CHARS_MAX)
}

/// How far each living read model is behind.
pub(super) async fn lag(store: &Store, console: &mut Console) -> Result<ExitStatus, CliError> {
    let mut states = pcs_projections::states(store).await?;
    states.retain(|state| state.generation == "live");
    let columns = [
        ("name", Align::Left),
        ("status", Align::Left),
        ("behind", Align::Right),
        ("seconds", Align::Right),
        ("owner", Align::Left),
    ];
    console.list(&states, &columns, |state| {
        vec![
            state.name.clone(),
            state.status.name().to_owned(),
            state.lag_events.to_string(),
            format!("{:.3}", state.lag_seconds),
            state.owner.map_or_else(|| "-".to_owned(), |owner| owner.to_string()),
        ]
    })?;
    let stands = states.iter().any(|state| state.status == Status::Stopped);
    Ok(if stands { ExitStatus::GateFailed } else { ExitStatus::Success })
}
