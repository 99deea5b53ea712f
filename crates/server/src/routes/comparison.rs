//! Whether a run is better or worse than another one, and what its repeats say about each case.

use axum::extract::State;
use axum::response::Response;
use pcs_auth::{Action, authorize};
use pcs_domain::ids::{TenantId, TestRunId};
use pcs_projections::comparison::{ArmComparison, CannotPair, CountedRun, Side, Wanted, compare_runs};
use pcs_projections::repeats::{ArmRepeats, repeats_of};
use pcs_projections::run_summary::{self, Run, RunStatus};
use serde::{Deserialize, Serialize};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::past::{Past, answer, last_position, least_position, past};
use super::results::wait_for_results;
use super::{BEHIND_RETRY_AFTER, run_answer};
use crate::edge::as_of::AsOf;
use crate::edge::authenticate::Caller;
use crate::edge::parameters::{Path, Query};
use crate::openapi::comparison::{ComparisonDoc, RunRepeatsDoc};
use crate::problem::Problem;
use crate::state::AppState;

/// Up to which p-value a difference is real, where the client does not say.
const LEVEL_DEFAULT: f64 = 0.05;
/// Most runs that are compared with one baseline at once.
const RUNS_MAX: usize = 20;
/// The highest level: beyond it every second difference is there by chance.
const LEVEL_MAX: f64 = 0.5;

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(compare)).routes(routes!(repeats))
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ComparisonQuery {
    /// The run to compare with; the same one, to compare two of its versions or models.
    #[param(value_type = Uuid)]
    baseline: TestRunId,
    /// This version of the run; else each model's newest.
    version: Option<u32>,
    /// This model of the run; else every one that both have, or the only one of each.
    model: Option<String>,
    /// This version of the baseline; else each model's newest.
    baseline_version: Option<u32>,
    /// This model of the baseline.
    baseline_model: Option<String>,
    /// Further runs that are compared with the baseline at once, by their ids with commas between them.
    and: Option<String>,
    /// Up to which p-value a difference is real; 0.05 unless said otherwise.
    #[param(minimum = 0, maximum = 0.5)]
    level: Option<f64>,
    /// Compares what there was at this position of the log, or at this time.
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

/// Two runs compared.
#[derive(Debug, Serialize)]
pub(crate) struct Answer {
    pub(crate) run_id: TestRunId,
    pub(crate) baseline_run_id: TestRunId,
    /// Whether both runs have ended: else it is a comparison of what there is.
    pub(crate) final_results: bool,
    pub(crate) level: f64,
    pub(crate) comparisons: Vec<ArmComparison>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RepeatsQuery {
    /// Of how many repeats one shall pass, or all; else as many as the run has.
    #[param(minimum = 1, maximum = 1000)]
    k: Option<u16>,
    /// Reads what there was at this position of the log, or at this time.
    #[param(value_type = Option<String>)]
    as_of: Option<AsOf>,
    /// Waits until the read model has this position.
    min_position: Option<i64>,
}

/// What a run's repeats say.
#[derive(Debug, Serialize)]
pub(crate) struct RepeatsAnswer {
    pub(crate) run_id: TestRunId,
    pub(crate) k: u64,
    pub(crate) arms: Vec<ArmRepeats>,
}

/// Compares a run, or several, with another one of the same card, case by case.
#[utoipa::path(get, path = "/runs/{run_id}/comparison", tag = "results",
    params(("run_id" = Uuid, Path), ComparisonQuery),
    responses((status = 200, body = ComparisonDoc, description = "The comparison")))]
async fn compare(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<TestRunId>,
    Query(query): Query<ComparisonQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    let level = query.level.unwrap_or(LEVEL_DEFAULT);
    if !(level > 0.0 && level <= LEVEL_MAX) {
        return Err(Problem::invalid_query("level", "must be more than 0, and at most 0.5"));
    }
    let past = past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait_for_results(&state, least_position(past.as_ref(), query.min_position)).await?;
    let (baseline, runs) = (query.baseline, candidates(id, query.and.as_deref())?);
    let asked = Asked { state: &state, tenant: principal.tenant, past: past.as_ref() };
    let wanted_baseline = Wanted { version: query.baseline_version, model: query.baseline_model };
    let (of, base) = asked.side(baseline, wanted_baseline).await?;
    let mut final_results = of.status != RunStatus::Running;
    let mut sides = Vec::new();
    for run_id in runs {
        let wanted = Wanted { version: query.version, model: query.model.clone() };
        let (run, side) = asked.side(run_id, wanted).await?;
        if run.card_id != of.card_id {
            return Err(Problem::invalid_query("baseline", "is a run of another card, which has other cases"));
        }
        final_results &= run.status != RunStatus::Running;
        sides.push(side);
    }
    // Thousands of draws for each metric would keep this thread from answering others.
    let compared = tokio::task::spawn_blocking(move || compare_runs(&base, &sides, level));
    let comparisons = compared.await.map_err(|error| Problem::internal(error.to_string()))?.map_err(cannot_pair)?;
    let compared = Answer { run_id: id, baseline_run_id: baseline, final_results, level, comparisons };
    Ok(answer(past.as_ref(), compared))
}

/// Says how often each case passes over its repeats, and which cases are flaky.
#[utoipa::path(get, path = "/runs/{run_id}/repeats", tag = "results", params(("run_id" = Uuid, Path), RepeatsQuery),
    responses((status = 200, body = RunRepeatsDoc, description = "What the repeats say")))]
async fn repeats(
    State(state): State<AppState>,
    Caller(principal): Caller,
    Path(id): Path<TestRunId>,
    Query(query): Query<RepeatsQuery>,
) -> Result<Response, Problem> {
    authorize(&principal, Action::ReadRun)?;
    if query.k.is_some_and(|k| !(1..=1_000).contains(&k)) {
        return Err(Problem::invalid_query("k", "must be from 1 to 1000"));
    }
    let past = past(&state, principal.tenant, query.as_of, query.min_position).await?;
    wait_for_results(&state, least_position(past.as_ref(), query.min_position)).await?;
    let run = existing(&state, principal.tenant, id, past.as_ref()).await?;
    let k = query.k.map_or_else(|| u64::try_from(run.repeats).unwrap_or(1), u64::from);
    let up_to = last_position(past.as_ref());
    let counted = CountedRun::read(state.store().pool(), (principal.tenant, id), up_to).await?;
    Ok(answer(past.as_ref(), RepeatsAnswer { run_id: id, k, arms: repeats_of(&counted, k) }))
}

/// The run and those beside it, each once.
fn candidates(run: TestRunId, and: Option<&str>) -> Result<Vec<TestRunId>, Problem> {
    let mut runs = vec![run];
    for text in and.into_iter().flat_map(|and| and.split(',')).map(str::trim) {
        let wrong = |_| Problem::invalid_query("and", format!("{text:?} is not the id of a run"));
        let run = text.parse().map_err(wrong)?;
        if !runs.contains(&run) {
            runs.push(run);
        }
    }
    if runs.len() > RUNS_MAX {
        return Err(Problem::invalid_query("and", format!("at most {RUNS_MAX} runs are compared at once")));
    }
    Ok(runs)
}

/// What the sides of a comparison are read from.
struct Asked<'a> {
    state: &'a AppState,
    tenant: TenantId,
    past: Option<&'a Past<'a>>,
}

impl Asked<'_> {
    async fn side(&self, run_id: TestRunId, wanted: Wanted) -> Result<(Run, Side), Problem> {
        let run = existing(self.state, self.tenant, run_id, self.past).await?;
        let (pool, up_to) = (self.state.store().pool(), last_position(self.past));
        let counted = CountedRun::read(pool, (self.tenant, run_id), up_to).await?;
        Ok((run, Side { run_id, counted, wanted }))
    }
}

async fn existing(state: &AppState, tenant: TenantId, id: TestRunId, past: Option<&Past<'_>>) -> Result<Run, Problem> {
    let found = match past {
        None => run_summary::by_id(state.store().pool(), tenant, id).await?,
        Some(past) => pcs_projections::past::run(past.moment, id).await?,
    };
    if let Some(run) = found {
        return Ok(run);
    }
    run_answer::must_exist(state, tenant, id, last_position(past)).await?;
    let detail = format!("the read model {} does not have the run yet", run_summary::NAME);
    Err(Problem::unavailable("read_model_behind", detail, BEHIND_RETRY_AFTER))
}

fn cannot_pair(why: CannotPair) -> Problem {
    let field = match why {
        CannotPair::NoResults { side: "baseline" } => "baseline",
        CannotPair::NoResults { .. } | CannotPair::NoCommonModel => "model",
        CannotPair::Itself => "baseline_version",
    };
    Problem::unprocessable("not_comparable", why.to_string()).field(field, why.to_string())
}
