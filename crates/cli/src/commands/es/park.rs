//! `pcs es park …`: events that a read model could not apply, and what is done about them.

use pcs_projections::{BadEvent, Drained};
use uuid::Uuid;

use super::console::Console;
use super::projection::find;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::{Align, excerpt};

const ERROR_CHARS_MAX: usize = 80;

/// Look at events that were set aside, and try or drop them.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum ParkCommand {
    /// List the events that were set aside
    Ls(Ls),
    /// Show one of them
    Show(Show),
    /// Apply the events of a lane in their order, until one fails again
    Retry(Lane),
    /// Give up the first event of a lane, and apply those that waited for it
    Skip(Lane),
}

/// `park ls`.
#[derive(Clone, Debug, clap::Args)]
pub struct Ls {
    /// Only those of this read model
    projection: Option<String>,
    /// Only those after this position: the next page
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: i64,
    /// Most events to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// `park show`.
#[derive(Clone, Debug, clap::Args)]
pub struct Show {
    /// The read model
    projection: String,
    /// The event's position
    position: i64,
}

/// `park retry` and `park skip`.
#[derive(Clone, Debug, clap::Args)]
pub struct Lane {
    /// The read model
    projection: String,
    /// The lane, as `park ls` shows it: usually the id of the stream
    lane: Uuid,
}

impl ParkCommand {
    /// Does it.
    ///
    /// # Errors
    /// Where nothing is parked there, or the database does not answer.
    pub async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        match self {
            Self::Ls(args) => ls(&args, console).await?,
            Self::Show(args) => show(&args, console).await?,
            Self::Retry(lane) => return again(&lane, false, console).await,
            Self::Skip(lane) => return again(&lane, true, console).await,
        }
        Ok(ExitStatus::Success)
    }
}

async fn ls(args: &Ls, console: &mut Console) -> Result<(), CliError> {
    let store = console.store().await?;
    let projection = args.projection.as_deref().map(find).transpose()?;
    let name = projection.as_ref().map(|projection| projection.name());
    // One more than wanted tells whether there is more.
    let mut events = pcs_projections::bad_events(store.pool(), name, args.after, i64::from(args.limit) + 1).await?;
    let more = cut(&mut events, args.limit);
    let columns = [
        ("projection", Align::Left),
        ("position", Align::Right),
        ("type", Align::Left),
        ("lane", Align::Left),
        ("state", Align::Left),
        ("attempts", Align::Right),
        ("error", Align::Left),
    ];
    console.list(&events, &columns, |event| {
        vec![
            event.projection.clone(),
            event.position.to_string(),
            event.event_type.clone(),
            event.lane.to_string(),
            event.state.clone(),
            event.attempts.to_string(),
            excerpt(event.error.as_deref().unwrap_or("-"), ERROR_CHARS_MAX),
        ]
    })?;
    if let Some(after) = more {
        console.output.note(&format!("there are more: --after {after}"));
    }
    Ok(())
}

/// Leaves as many events as are wanted, and all of the last one's position; answers where the next page begins, if there
/// is one.
fn cut(events: &mut Vec<BadEvent>, limit: u32) -> Option<i64> {
    let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
    let last = events.get(wanted.checked_sub(1)?)?.position;
    let end = events.partition_point(|event| event.position <= last);
    let is_cut = end < events.len();
    events.truncate(end);
    is_cut.then_some(last)
}

async fn show(args: &Show, console: &mut Console) -> Result<(), CliError> {
    let store = console.store().await?;
    let projection = find(&args.projection)?;
    let events =
        pcs_projections::bad_events(store.pool(), Some(projection.name()), args.position.saturating_sub(1), 1).await?;
    let Some(event) = events.first().filter(|event| event.position == args.position) else {
        let message = format!("{} has set no event {} aside", projection.name(), args.position);
        return Err(CliError::usage(message, "`pcs es park ls` lists what it has"));
    };
    console.thing(event, fields(event))
}

fn fields(event: &BadEvent) -> Vec<(&'static str, String)> {
    vec![
        ("projection", event.projection.clone()),
        ("generation", event.generation.clone()),
        ("position", event.position.to_string()),
        ("type", event.event_type.clone()),
        ("tenant", event.tenant_id.to_string()),
        ("stream", event.stream_id.to_string()),
        ("version", event.version.to_string()),
        ("lane", event.lane.to_string()),
        ("state", event.state.clone()),
        ("attempts", event.attempts.to_string()),
        ("set aside", event.at.to_string()),
        ("error", event.error.clone().unwrap_or_else(|| "-".to_owned())),
    ]
}

/// Tries a lane again; ends with 1 where events are left.
async fn again(lane: &Lane, skip: bool, console: &mut Console) -> Result<ExitStatus, CliError> {
    let store = console.store().await?;
    let projection = find(&lane.projection)?;
    let tenant = console.tenant().0;
    let drained: Drained = if skip {
        pcs_projections::skip_lane(&store, &*projection, tenant, lane.lane).await?
    } else {
        pcs_projections::retry_lane(&store, &*projection, tenant, lane.lane).await?
    };
    let fields = vec![("applied", drained.applied.to_string()), ("left", drained.left.to_string())];
    console.thing(&drained, fields)?;
    Ok(if drained.left == 0 { ExitStatus::Success } else { ExitStatus::GateFailed })
}
