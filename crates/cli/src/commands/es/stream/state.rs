//! `pcs es stream state` and `diff`: what a stream folds to, now or as it was.

use pcs_domain::data_subject::DataSubject;
use pcs_domain::execution::Execution;
use pcs_domain::ids::TenantId;
use pcs_domain::job::Job;
use pcs_domain::job_policy::JobPolicy;
use pcs_domain::prompt_card::PromptCard;
use pcs_domain::regrade::Regrade;
use pcs_domain::review::Review;
use pcs_domain::schedule::Schedule;
use pcs_domain::test_run::TestRun;
use pcs_domain::{Aggregate, Category, Timestamp};
use pcs_store::{Moment, Store, stream_name};
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;

use super::show::known;
use crate::commands::es::address::{self, StreamAddress};
use crate::commands::es::console::Console;
use crate::commands::exit::CliError;
use crate::commands::output::plain_text;

/// Lines around a difference.
const CONTEXT_LINES: usize = 3;

/// `stream state`.
#[derive(Clone, Debug, clap::Args)]
pub struct State {
    /// The stream: its id, or its category and id as in prompt_card-<uuid>
    #[arg(value_parser = address::stream)]
    stream: StreamAddress,
    /// As it was at this version
    #[arg(long, value_name = "N", conflicts_with_all = ["at_position", "at_time"])]
    at_version: Option<i64>,
    /// As it was when the log was at this position
    #[arg(long, value_name = "POSITION", conflicts_with = "at_time")]
    at_position: Option<i64>,
    /// As it was at this moment, as in 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = address::moment)]
    at_time: Option<Timestamp>,
}

/// `stream diff`.
#[derive(Clone, Debug, clap::Args)]
pub struct Diff {
    /// The stream: its id, or its category and id as in prompt_card-<uuid>
    #[arg(value_parser = address::stream)]
    stream: StreamAddress,
    /// The older version; 0 is before the first event
    a: i64,
    /// The newer version
    b: i64,
}

#[derive(Serialize)]
struct Folded {
    stream: String,
    version: i64,
    state: Value,
}

#[derive(Serialize)]
struct Difference {
    stream: String,
    a: Folded,
    b: Folded,
    unified: String,
}

impl State {
    pub(super) async fn execute(self, console: &mut Console) -> Result<(), CliError> {
        let store = console.store().await?;
        let category = known(&store, console, self.stream).await?;
        let (tenant, stream_id) = (console.tenant(), self.stream.stream_id);
        let moment = self.at_position.map(Moment::Position).or(self.at_time.map(Moment::Time));
        let version = match (self.at_version, moment) {
            (Some(version), _) => version,
            (None, Some(moment)) => store.version_at(tenant, stream_id, moment).await?,
            (None, None) => i64::MAX,
        };
        let folded = fold(&store, tenant, category, self.stream, version).await?;
        // The state is JSON for people as well.
        console.output.json(&folded)
    }
}

impl Diff {
    pub(super) async fn execute(self, console: &mut Console) -> Result<(), CliError> {
        let store = console.store().await?;
        let category = known(&store, console, self.stream).await?;
        let a = fold(&store, console.tenant(), category, self.stream, self.a).await?;
        let b = fold(&store, console.tenant(), category, self.stream, self.b).await?;
        let (old, new) = (pretty(&a.state)?, pretty(&b.state)?);
        let unified = TextDiff::from_lines(&old, &new)
            .unified_diff()
            .context_radius(CONTEXT_LINES)
            .header(&format!("version {}", a.version), &format!("version {}", b.version))
            .to_string();
        if console.json() {
            let stream = a.stream.clone();
            return console.output.json(&Difference { stream, a, b, unified });
        }
        if unified.is_empty() {
            console.output.note("no difference");
            return Ok(());
        }
        console.output.text(&plain_text(&unified))
    }
}

fn pretty(state: &Value) -> Result<String, CliError> {
    let text = serde_json::to_string_pretty(state).map_err(std::io::Error::other)?;
    Ok(text + "\n")
}

async fn fold(
    store: &Store,
    tenant: TenantId,
    category: i16,
    stream: StreamAddress,
    version: i64,
) -> Result<Folded, CliError> {
    let name = stream_name(category, stream.stream_id);
    let category = Category::from_number(category)
        .ok_or_else(|| CliError::System(format!("{name} is of a category that this build does not know")))?;
    let (state, version) = match category {
        Category::PromptCard => load::<PromptCard>(store, tenant, stream, version).await?,
        Category::TestRun => load::<TestRun>(store, tenant, stream, version).await?,
        Category::Execution => load::<Execution>(store, tenant, stream, version).await?,
        Category::DataSubject => load::<DataSubject>(store, tenant, stream, version).await?,
        Category::JobPolicy => load::<JobPolicy>(store, tenant, stream, version).await?,
        Category::Schedule => load::<Schedule>(store, tenant, stream, version).await?,
        Category::Job => load::<Job>(store, tenant, stream, version).await?,
        Category::Regrade => load::<Regrade>(store, tenant, stream, version).await?,
        Category::Review => load::<Review>(store, tenant, stream, version).await?,
    };
    Ok(Folded { stream: name, version, state })
}

async fn load<A: Aggregate + Serialize>(
    store: &Store,
    tenant: TenantId,
    stream: StreamAddress,
    version: i64,
) -> Result<(Value, i64), CliError> {
    let loaded = store.load_at::<A>(tenant, stream.stream_id, version).await?;
    let state = serde_json::to_value(&loaded.state).map_err(std::io::Error::other)?;
    Ok((state, loaded.revision))
}
