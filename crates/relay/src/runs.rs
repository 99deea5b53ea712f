//! Runs with all that their executions share, loaded once and kept for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pcs_domain::ids::{PromptCardId, TenantId, TestCaseId, TestRunId};
use pcs_domain::jobs::test_execution::RunPlan;
use pcs_domain::prompt_card::{Card, PromptCard, TestCase};
use pcs_domain::test_run::{Requested, Skips, TestRun};
use pcs_store::Store;
use tokio::time::Instant;

use crate::RelayError;

/// Runs that are kept; each holds its card's cases.
const RUNS_MAX: usize = 64;
/// Providers that answer from within the worker.
const LOCAL_PROVIDERS: [&str; 3] = ["echo", "scripted", "recorded"];
/// How long the answer "not cancelled" is believed.
const STATE_FRESH: Duration = Duration::from_millis(500);

/// A run and the part of its card's history that it uses. Neither changes any more.
pub(crate) struct RunContext {
    pub(crate) request: Requested,
    pub(crate) plan: RunPlan,
    card: Card,
    skips: Skips,
}

impl RunContext {
    /// A case of the run.
    pub(crate) fn case(&self, id: pcs_domain::ids::TestCaseId) -> Option<&TestCase> {
        self.card.cases.get(&id)
    }

    /// The cases of the run, in their order.
    pub(crate) fn cases(&self) -> Vec<&TestCase> {
        match &self.request.case_ids {
            Some(ids) => ids.iter().filter_map(|id| self.card.cases.get(id)).collect(),
            None => self.card.cases_in_order().collect(),
        }
    }

    /// Whether a cell of the matrix does not run.
    pub(crate) fn leaves_out(&self, case: TestCaseId, arm: (u32, &str), repeat: u16) -> bool {
        !self.request.skips.is_empty() && repeat >= self.skips.repeats(Some(case), arm, self.request.repeats)
    }

    /// Whether a model of the run is asked over a network: it may have no room, or be down, for all at once.
    pub(crate) fn is_remote(&self, model: &str) -> bool {
        self.plan.models.get(model).is_some_and(|model| !LOCAL_PROVIDERS.contains(&model.provider()))
    }

    /// Whether a cell is one of the run's matrix.
    pub(crate) fn has_cell(&self, cell: &pcs_domain::execution::ExecutionRef) -> bool {
        cell.card_id == self.request.card_id
            && self.plan.prompts.contains_key(&cell.version)
            && self.plan.models.contains_key(&cell.model)
            && cell.repeat < self.request.repeats
            && !self.leaves_out(cell.case_id, (cell.version, &cell.model), cell.repeat)
            && self.case(cell.case_id).is_some()
    }
}

struct Entry {
    context: Arc<RunContext>,
    is_running: bool,
    checked: Instant,
    used: Instant,
}

/// The cache; clones share it.
#[derive(Clone)]
pub(crate) struct Runs {
    store: Store,
    entries: Arc<Mutex<HashMap<(TenantId, TestRunId), Entry>>>,
    /// One load at a time: the first results of a run come in together, and one load serves them all.
    loading: Arc<tokio::sync::Mutex<()>>,
}

impl Runs {
    pub(crate) fn new(store: Store) -> Self {
        Self { store, entries: Arc::default(), loading: Arc::default() }
    }

    /// What the run's executions share; none where there is no such run.
    pub(crate) async fn context(
        &self,
        tenant: TenantId,
        run_id: TestRunId,
    ) -> Result<Option<Arc<RunContext>>, RelayError> {
        if let Some(context) = self.kept(tenant, run_id) {
            return Ok(Some(context));
        }
        let _turn = self.loading.lock().await;
        if let Some(context) = self.kept(tenant, run_id) {
            return Ok(Some(context));
        }
        let loaded = self.store.load::<TestRun>(tenant, run_id.0).await?;
        let is_running = matches!(loaded.state, TestRun::Running(_));
        let Some(request) = loaded.state.request() else { return Ok(None) };
        let context = Arc::new(self.load_context(tenant, run_id, request.clone()).await?);
        let now = Instant::now();
        let entry = Entry { context: Arc::clone(&context), is_running, checked: now, used: now };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.insert((tenant, run_id), entry);
        if entries.len() > RUNS_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| entry.used).map(|(key, _)| *key);
            oldest.and_then(|key| entries.remove(&key));
        }
        Ok(Some(context))
    }

    /// Whether the run still waits for results; believed for half a second.
    pub(crate) async fn is_running(&self, tenant: TenantId, run_id: TestRunId) -> Result<bool, RelayError> {
        {
            let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
            match entries.get_mut(&(tenant, run_id)) {
                Some(entry) if !entry.is_running || entry.checked.elapsed() < STATE_FRESH => {
                    return Ok(entry.is_running);
                }
                // This caller looks; the others go on believing meanwhile, or all would look at once.
                Some(entry) => entry.checked = Instant::now(),
                None => (),
            }
        }
        let state = self.store.load::<TestRun>(tenant, run_id.0).await?.state;
        let is_running = matches!(state, TestRun::Running(_));
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = entries.get_mut(&(tenant, run_id)) {
            entry.is_running = is_running;
            entry.checked = Instant::now();
        }
        Ok(is_running)
    }

    fn kept(&self, tenant: TenantId, run_id: TestRunId) -> Option<Arc<RunContext>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = entries.get_mut(&(tenant, run_id))?;
        entry.used = Instant::now();
        Some(Arc::clone(&entry.context))
    }

    async fn load_context(
        &self,
        tenant: TenantId,
        run_id: TestRunId,
        request: Requested,
    ) -> Result<RunContext, RelayError> {
        let PromptCardId(card_id) = request.card_id;
        let loaded = self.store.load_at::<PromptCard>(tenant, card_id, request.card_revision).await?;
        let missing = |message: &str| RelayError::Inconsistent { run_id, message: message.to_owned() };
        let (PromptCard::Active(card) | PromptCard::Archived(card)) = loaded.state else {
            return Err(missing("its card does not exist"));
        };
        let mut prompts = BTreeMap::new();
        for version in &request.versions {
            let prompt = card.prompts.get(version).ok_or_else(|| missing("its card lacks a version"))?;
            prompts.insert(*version, prompt.clone());
        }
        let models = request.models.iter().map(|model| (model.name().to_owned(), model.clone())).collect();
        let plan = RunPlan {
            grader: request.grader.clone(),
            partials: self.partials(tenant, &request).await?,
            run_id,
            prompts,
            models,
            assertions: request.assertions.clone(),
            threshold: request.threshold,
            cache: request.terms.cache,
        };
        Ok(RunContext { skips: Skips::of(&request.skips), request, plan, card })
    }

    /// The prompts of other cards that the run's prompts include, as they were when it was asked for.
    async fn partials(&self, tenant: TenantId, request: &Requested) -> Result<BTreeMap<String, String>, RelayError> {
        let mut partials = BTreeMap::new();
        for partial in &request.partials {
            let PromptCardId(card_id) = partial.card_id;
            let loaded = self.store.load_at::<PromptCard>(tenant, card_id, partial.card_revision).await?;
            if let Some(prompt) = loaded.state.card().and_then(|card| card.prompts.get(&partial.version)) {
                partials.insert(partial.name.clone(), prompt.clone());
            }
        }
        Ok(partials)
    }
}
