//! Projections beside the fold of the whole log: each is built again in tables of its own and compared at one position.

use pcs_projections::{BuildEnd, Compared, ControlError, Generation, Projection, RebuildConfig};
use pcs_store::Store;
use tokio_util::sync::CancellationToken;

use crate::commands::exit::CliError;

/// A table that is not what the log folds to, or can't be compared with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The position at which the two were compared, or up to which the log could be folded.
    pub position: i64,
    /// Which table and some of the keys at which the two differ, or why nothing could be compared.
    pub what: String,
}

/// Builds a projection again beside the living one, compares the two, and takes the build away; answers what differs, and
/// what keeps them from being compared. A build that somebody has begun is gone on with and left where it is.
///
/// # Errors
/// Where another process builds it, or where the database does not answer.
pub async fn compare(store: &Store, projection: &dyn Projection) -> Result<Vec<Difference>, CliError> {
    let states = pcs_projections::states_of(store, projection).await?;
    let is_ours = !states.iter().any(|state| state.generation == Generation::Next.name());
    let compared = build_and_compare(store, projection).await;
    if is_ours {
        pcs_projections::drop_generation(store, projection, Generation::Next).await?;
    }
    compared
}

async fn build_and_compare(store: &Store, projection: &dyn Projection) -> Result<Vec<Difference>, CliError> {
    let name = projection.name();
    let config = RebuildConfig::default();
    let ended = pcs_projections::rebuild(store, projection, config, CancellationToken::new(), &|_| ()).await?;
    match ended {
        BuildEnd::Ready(position) => match pcs_projections::shadow(store, projection).await {
            Ok(compared) => Ok(differences(name, &compared)),
            // Nobody brings it up to the log, so there is no position at which it could be compared.
            Err(error @ ControlError::NotNow { .. }) => Ok(vec![Difference { position, what: error.to_string() }]),
            Err(error) => Err(error.into()),
        },
        BuildEnd::Stopped(position) => {
            let what = format!("{name} can't be folded beyond here: an event can't be applied");
            Ok(vec![Difference { position, what }])
        }
        BuildEnd::Paused(position) | BuildEnd::Cancelled(position) => {
            Err(CliError::System(format!("somebody has stopped the build of {name} at position {position}")))
        }
    }
}

fn differences(name: &str, compared: &Compared) -> Vec<Difference> {
    let tables = compared.tables.iter().filter(|table| !table.is_equal());
    let told = tables.map(|table| {
        let keys = table.differing.join(", ");
        let (table, live, next) = (&table.table, table.live_rows, table.next_rows);
        let what = format!("{name}: {table} has {live} rows and the fold has {next}; they differ at {keys}");
        Difference { position: compared.position, what }
    });
    told.collect()
}
