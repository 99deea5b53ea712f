//! `pcs es projection …`: how the read models are, and building one anew without anybody noticing.

mod build;
mod list;

use std::sync::Arc;

use pcs_projections::{ControlError, Generation, Policy, Projection};

use super::console::Console;
use crate::commands::exit::{CliError, ExitStatus};

/// Look at read models, stop them, and build them anew.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ProjectionCommand {
    /// List the read models: whether they run, how far they are, and what they could not apply
    Ls,
    /// Show how far each read model is behind the log; ends with 1 where one stands still
    Lag,
    /// Make one stand still until it is resumed
    Pause(Which),
    /// Let one go on that was paused or that stopped; the event that stopped it is tried again
    Resume(Which),
    /// Say what is done with an event that can't be applied
    Policy(SetPolicy),
    /// Build one anew beside the living one, or go on with a build; ^C leaves it where it is
    Rebuild(build::Rebuild),
    /// Compare a build with the living read model; ends with 1 where they differ
    Shadow(Name),
    /// Put a build in the living one's place, at once for all readers
    Promote(Name),
    /// Put back what was there before the last promotion
    Rollback(Name),
    /// Remove a build, or what was there before the last promotion
    Drop(Which),
}

/// A read model.
#[derive(Clone, Debug, clap::Args)]
pub struct Name {
    /// Its name, such as `card_list.v1`; without the version where it is clear
    name: String,
}

/// A read model, and which of its generations.
#[derive(Clone, Debug, clap::Args)]
pub struct Which {
    #[command(flatten)]
    name: Name,
    /// The one that people read, the one that is built, or the one before the last promotion
    #[arg(long, value_parser = generation, default_value = "live")]
    generation: Generation,
}

/// `projection policy`.
#[derive(Clone, Debug, clap::Args)]
pub struct SetPolicy {
    #[command(flatten)]
    which: Which,
    /// Stop in front of it, park it with all that comes after it in its stream, or go on without it
    #[arg(value_parser = policy)]
    policy: Policy,
}

impl ProjectionCommand {
    /// Does it.
    ///
    /// # Errors
    /// Where there is no such read model, or the database does not answer.
    pub async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        match self {
            Self::Ls => list::list(&store, console).await?,
            Self::Lag => return list::lag(&store, console).await,
            Self::Pause(which) => {
                pcs_projections::pause(&store, &*which.name.find()?, which.generation).await?;
                list::show(&store, &which.name, console).await?;
            }
            Self::Resume(which) => {
                pcs_projections::resume(&store, &*which.name.find()?, which.generation).await?;
                list::show(&store, &which.name, console).await?;
            }
            Self::Policy(SetPolicy { which, policy }) => {
                pcs_projections::set_policy(&store, &*which.name.find()?, which.generation, Some(policy)).await?;
                list::show(&store, &which.name, console).await?;
            }
            Self::Rebuild(rebuild) => return rebuild.execute(&store, console).await,
            Self::Shadow(name) => return build::shadow(&store, &name, console).await,
            Self::Promote(name) => {
                pcs_projections::promote(&store, &*name.find()?).await?;
                list::show(&store, &name, console).await?;
            }
            Self::Rollback(name) => {
                pcs_projections::rollback(&store, &*name.find()?).await?;
                list::show(&store, &name, console).await?;
            }
            Self::Drop(which) => {
                pcs_projections::drop_generation(&store, &*which.name.find()?, which.generation).await?;
                list::show(&store, &which.name, console).await?;
            }
        }
        Ok(ExitStatus::Success)
    }
}

impl Name {
    fn find(&self) -> Result<Arc<dyn Projection>, CliError> {
        find(&self.name)
    }
}

/// The read model with a name, or with a name and any version.
///
/// # Errors
/// Where there is none.
pub(super) fn find(name: &str) -> Result<Arc<dyn Projection>, CliError> {
    let is_named = |projection: &Arc<dyn Projection>| {
        let own = projection.name();
        own == name || own.rsplit_once(".v").is_some_and(|(short, _)| short == name)
    };
    let found = pcs_projections::all().into_iter().find(is_named);
    found.ok_or_else(|| {
        let names: Vec<_> = pcs_projections::all().iter().map(|projection| projection.name()).collect();
        CliError::usage(format!("there is no read model {name}"), format!("take one of {}", names.join(", ")))
    })
}

fn generation(text: &str) -> Result<Generation, String> {
    Generation::parse(text).ok_or_else(|| "a generation is live, next or old".to_owned())
}

pub(super) fn policy(text: &str) -> Result<Policy, String> {
    Policy::parse(text).ok_or_else(|| "a policy is stop, park-stream or skip".to_owned())
}

impl From<ControlError> for CliError {
    fn from(error: ControlError) -> Self {
        let text = error.to_string();
        match error {
            ControlError::Projection(error) => error.into(),
            ControlError::Database(error) => error.into(),
            ControlError::Store(error) => error.into(),
            ControlError::Unknown(_) => Self::usage(text, "`pcs es projection ls` lists them"),
            ControlError::NoGeneration { generation, .. } if generation == Generation::Old.name() => {
                Self::usage(text, "`pcs es projection promote` leaves one, until it is dropped")
            }
            ControlError::NoGeneration { .. } => Self::usage(text, "`pcs es projection rebuild` makes one"),
            ControlError::Busy { .. } => Self::usage(text, "wait for it, or stop that process"),
            ControlError::NotNow { name, status, need } => Self::usage(format!("{name} is {status}"), need),
            ControlError::NotParked(_) => Self::usage(text, "`pcs es park ls` lists what is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_model_is_found_with_and_without_its_version() {
        for projection in pcs_projections::all() {
            assert_eq!(find(projection.name()).unwrap().name(), projection.name());
            let short = projection.name().rsplit_once(".v").unwrap().0;
            assert_eq!(find(short).unwrap().name(), projection.name());
        }
        assert!(find("cards").is_err());
    }
}
