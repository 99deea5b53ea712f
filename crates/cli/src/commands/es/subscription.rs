//! `pcs es subscription …`: durable subscriptions, how far they are, and who works on their lanes.

use pcs_domain::Timestamp;
use pcs_store::{LaneStatus, Store, SubscriptionError, SubscriptionStatus};
use serde::Serialize;
use uuid::Uuid;

use super::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;

/// Look at durable subscriptions.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum SubscriptionCommand {
    /// List the subscriptions: how far they are and what they could not handle
    Ls,
    /// Show the lanes of one: how far each is and which process works on it
    Show(Show),
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

impl From<SubscriptionError> for CliError {
    fn from(error: SubscriptionError) -> Self {
        match error {
            SubscriptionError::Store(error) => error.into(),
            error @ SubscriptionError::Unknown { .. } => {
                Self::usage(error.to_string(), "`pcs es subscription ls` lists them")
            }
            error => Self::System(error.to_string()),
        }
    }
}
