//! `pcs es subscription …`: durable subscriptions, how far they are, and who works on their lanes.

use pcs_domain::Timestamp;
use pcs_store::{LaneStatus, Store, SubscriptionError, SubscriptionStatus};
use serde::Serialize;
use uuid::Uuid;

use super::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;

/// Look at durable subscriptions, send them back, delete them.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SubscriptionCommand {
    /// List the subscriptions: how far they are and what they could not handle
    Ls,
    /// Show the lanes of one: how far each is and which process works on it
    Show(Show),
    /// Send one to a position: what follows it is delivered again, what is passed over is not delivered
    Rewind(Rewind),
    /// Delete one with its checkpoints and its parked events; it no longer holds back the archive
    Delete(Delete),
}

/// `subscription rewind`.
#[derive(Clone, Debug, clap::Args)]
pub struct Rewind {
    /// Its name, as `subscription ls` shows it
    name: String,
    /// The last position that counts as handled; 0 delivers all
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(i64).range(0..))]
    to: i64,
}

/// `subscription delete`.
#[derive(Clone, Debug, clap::Args)]
pub struct Delete {
    /// Its name, as `subscription ls` shows it
    name: String,
    /// Does not ask: where it was, and what it had parked, can't be found again
    #[arg(long)]
    yes: bool,
}

/// `subscription show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// Its name, as `subscription ls` shows it
    name: String,
}

#[derive(Serialize)]
struct Line {
    name: String,
    lanes: i16,
    lanes_owned: i64,
    position: i64,
    lag_events: i64,
    lag_seconds: f64,
    parked: i64,
}

/// A subscription that was sent to a position.
#[derive(Serialize)]
struct Moved {
    name: String,
    position: i64,
}

/// A subscription that is gone.
#[derive(Serialize)]
struct Deleted {
    deleted: String,
}

#[derive(Serialize)]
struct LaneLine {
    lane: i16,
    position: i64,
    lag_events: i64,
    lag_seconds: f64,
    owner: Option<Uuid>,
    leased_until: Option<Timestamp>,
    fence: i64,
    stored_at: Timestamp,
    parked: i64,
}

impl From<SubscriptionStatus> for Line {
    fn from(status: SubscriptionStatus) -> Self {
        Self {
            name: status.name,
            lanes: status.lanes,
            lanes_owned: status.owned,
            position: status.position,
            lag_events: status.lag,
            lag_seconds: status.lag_seconds.unwrap_or(0.0),
            parked: status.parked,
        }
    }
}

impl From<LaneStatus> for LaneLine {
    fn from(status: LaneStatus) -> Self {
        Self {
            lane: status.lane,
            position: status.position,
            lag_events: status.lag,
            lag_seconds: status.lag_seconds.unwrap_or(0.0),
            owner: status.owner,
            leased_until: status.owner.and(status.leased_until),
            fence: status.fence,
            stored_at: status.updated_at,
            parked: status.parked,
        }
    }
}

impl SubscriptionCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        match self {
            Self::Ls => ls(&store, console).await?,
            Self::Show(show) => show.execute(&store, console).await?,
            Self::Rewind(rewind) => rewind.execute(&store, console).await?,
            Self::Delete(delete) => delete.execute(&store, console).await?,
        }
        Ok(ExitStatus::Success)
    }
}

async fn ls(store: &Store, console: &mut Console) -> Result<(), CliError> {
    let lines: Vec<Line> = store.subscriptions().await?.into_iter().map(Line::from).collect();
    let columns = [
        ("name", Align::Left),
        ("lanes", Align::Right),
        ("owned", Align::Right),
        ("position", Align::Right),
        ("behind", Align::Right),
        ("seconds", Align::Right),
        ("parked", Align::Right),
    ];
    console.list(&lines, &columns, |line| {
        vec![
            line.name.clone(),
            line.lanes.to_string(),
            line.lanes_owned.to_string(),
            line.position.to_string(),
            line.lag_events.to_string(),
            format!("{:.3}", line.lag_seconds),
            line.parked.to_string(),
        ]
    })
}

impl Show {
    async fn execute(self, store: &Store, console: &mut Console) -> Result<(), CliError> {
        let lanes = store.subscription_lanes(&self.name).await?;
        let lines: Vec<LaneLine> = lanes.into_iter().map(LaneLine::from).collect();
        let columns = [
            ("lane", Align::Right),
            ("position", Align::Right),
            ("behind", Align::Right),
            ("seconds", Align::Right),
            ("parked", Align::Right),
            ("owner", Align::Left),
            ("leased until", Align::Left),
            ("stored", Align::Left),
        ];
        console.list(&lines, &columns, |line| {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            vec![
                line.lane.to_string(),
                line.position.to_string(),
                line.lag_events.to_string(),
                format!("{:.3}", line.lag_seconds),
                line.parked.to_string(),
                or_dash(line.owner.map(|owner| owner.to_string())),
                or_dash(line.leased_until.map(|until| until.to_string())),
                line.stored_at.to_string(),
            ]
        })
    }
}

impl Rewind {
    async fn execute(self, store: &Store, console: &mut Console) -> Result<(), CliError> {
        store.rewind_subscription(&self.name, self.to).await?;
        let moved = Moved { name: self.name, position: self.to };
        let fields = vec![("subscription", moved.name.clone()), ("position", moved.position.to_string())];
        console.thing(&moved, fields)
    }
}

impl Delete {
    async fn execute(self, store: &Store, console: &mut Console) -> Result<(), CliError> {
        if !self.yes {
            let message = "the checkpoints and the parked events of the subscription would be lost";
            return Err(CliError::usage(message, "add --yes to do it; `pcs es subscription show` says where it is"));
        }
        store.delete_subscription(&self.name).await?;
        let deleted = Deleted { deleted: self.name };
        let fields = vec![("deleted", deleted.deleted.clone())];
        console.thing(&deleted, fields)
    }
}

impl From<SubscriptionError> for CliError {
    fn from(error: SubscriptionError) -> Self {
        match error {
            SubscriptionError::Store(error) => error.into(),
            error @ SubscriptionError::Unknown { .. } => {
                Self::usage(error.to_string(), "`pcs es subscription ls` lists them")
            }
            error @ SubscriptionError::Position { .. } => {
                Self::usage(error.to_string(), "give a position up to the end of the log")
            }
            error => Self::System(error.to_string()),
        }
    }
}
