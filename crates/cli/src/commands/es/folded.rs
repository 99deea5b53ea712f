//! Projections beside the fold of the whole log: each is built again in tables of its own and compared at one position.

use pcs_projections::{BuildEnd, Compared, Generation, Projection, RebuildConfig};
use pcs_store::Store;
use tokio_util::sync::CancellationToken;

use crate::commands::exit::CliError;

/// A table that is not what the log folds to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The position at which the two were compared.
    pub position: i64,
    /// Which table, and some of the keys at which the two differ.
    pub what: String,
}

/// Builds a projection again beside the living one, compares the two, and takes the build away; answers what differs.
/// A build that somebody has begun is gone on with and left where it is.
///
/// # Errors
/// Where another process builds it, where it can't be built, or where the database does not answer.
pub async fn compare(store: &Store, projection: &dyn Projection) -> Result<Vec<Difference>, CliError> {
    let states = pcs_projections::states_of(store, projection).await?;
    let is_ours = !states.iter().any(|state| state.generation == Generation::Next.name());
    let compared = build_and_compare(store, projection).await;
    if is_ours {
        pcs_projections::drop_generation(store, projection, Generation::Next).await?;
    }
    Ok(differences(projection.name(), &compared?))
}

async fn build_and_compare(store: &Store, projection: &dyn Projection) -> Result<Compared, CliError> {
    let config = RebuildConfig::default();
    let ended = pcs_projections::rebuild(store, projection, config, CancellationToken::new(), &|_| ()).await?;
    match ended {
        BuildEnd::Ready(_) => Ok(pcs_projections::shadow(store, projection).await?),
        BuildEnd::Stopped(position) | BuildEnd::Paused(position) | BuildEnd::Cancelled(position) => {
            let name = projection.name();
            Err(CliError::System(format!("{name} can't be folded beyond position {position}")))
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
