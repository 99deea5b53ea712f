//! `pcs jobs …`: what waits, what is held and limited, who works, and what ended without an answer.

mod dead_letters;
mod fleet;
mod limits;
mod on_request;
mod queues;
mod shown;

use super::exit::{CliError, ExitStatus};
use super::output::Output;
use crate::client::Api;
use crate::client::connection::Connection;

pub(super) use self::shown::{cell, items};

/// Look at the job system and steer it.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum JobsCommand {
    /// Show what waits, and what is held back
    Queues(queues::Queues),
    /// Hold jobs back: none of them begins, and those that run finish
    Pause(queues::Pause),
    /// Let jobs go on
    Resume(queues::Resume),
    /// Take another share of a fleet that others use too
    Weight(queues::Weight),
    /// Show what providers and models allow
    Limits(limits::Limits),
    /// Limit the calls to a provider or a model across the whole fleet
    Limit(limits::Limit),
    /// Limit them no more
    Unlimit(limits::Unlimit),
    /// Show the workers, who schedules, and whether there are enough
    Fleet(fleet::Fleet),
    /// Ask for a job, such as an agent's task or maintenance
    Request(on_request::Request),
    /// List the jobs that were asked for
    List(on_request::List),
    /// Show a job with its result and its failed attempts
    Show(on_request::Show),
    /// Cancel a job
    Cancel(on_request::Cancel),
    /// Try a job again that ended in an error
    Again(on_request::Again),
    /// List what of runs ended without an answer
    Dead(dead_letters::Dead),
    /// Show every attempt of an execution
    Attempts(dead_letters::Attempts),
    /// Run dead letters again
    Redrive(dead_letters::Redrive),
    /// Take dead letters off the list: nothing shall be done about them
    Dismiss(dead_letters::Dismiss),
}

impl JobsCommand {
    /// Does it against the server that the environment names.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        let api = Api::new(&Connection::discover()?)?;
        self.against(&api, &mut Output::of_process()).await
    }

    pub(crate) async fn against(self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        match self {
            Self::Queues(args) => queues::list(api, &args, output).await,
            Self::Pause(args) => queues::pause(api, &args, output).await,
            Self::Resume(args) => queues::resume(api, &args, output).await,
            Self::Weight(args) => queues::weight(api, &args, output).await,
            Self::Limits(args) => limits::list(api, &args, output).await,
            Self::Limit(args) => limits::set(api, &args, output).await,
            Self::Unlimit(args) => limits::remove(api, &args, output).await,
            Self::Fleet(args) => fleet::show(api, &args, output).await,
            Self::Request(args) => return on_request::request(api, &args, output).await,
            Self::List(args) => on_request::list(api, &args, output).await,
            Self::Show(args) => on_request::show(api, &args, output).await,
            Self::Cancel(args) => on_request::cancel(api, &args, output).await,
            Self::Again(args) => on_request::again(api, &args, output).await,
            Self::Dead(args) => dead_letters::list(api, &args, output).await,
            Self::Attempts(args) => dead_letters::attempts(api, &args, output).await,
            Self::Redrive(args) => dead_letters::redrive(api, &args, output).await,
            Self::Dismiss(args) => dead_letters::dismiss(api, &args, output).await,
        }?;
        Ok(ExitStatus::Success)
    }
}
