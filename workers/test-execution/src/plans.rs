//! Run plans with their templates and assertions compiled, fetched once per run and kept for a while.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use pcs_bus::Bus;
use pcs_domain::assertion::Assertion;
use pcs_domain::ids::{TenantId, TestRunId};
use pcs_domain::jobs::test_execution::{Question, Reply, RunPlan};
use pcs_domain::model::ModelSpec;
use pcs_grading::{Check, Template, Transform};

use crate::handler::{Obstacle, ask};

/// Plans that are kept.
const PLANS_MAX: usize = 32;

/// A run plan, ready to be used.
pub(crate) struct CompiledPlan {
    /// The templates by version; the text says what is wrong with one that can't be parsed.
    pub(crate) prompts: BTreeMap<u32, Result<Template, String>>,
    pub(crate) models: BTreeMap<String, ModelSpec>,
    /// What is looked at of the models' answers, where that is not all; the text says what is wrong with one.
    pub(crate) transforms: BTreeMap<String, Result<Transform, String>>,
    /// Demands on every output.
    pub(crate) checks: Result<Vec<Check>, String>,
    /// The same as they are written.
    pub(crate) assertions: Vec<Assertion>,
    /// The model that judges where an assertion names none.
    pub(crate) grader: Option<ModelSpec>,
    pub(crate) threshold: Option<f64>,
    /// Whether an answer that the same question got before may be used again.
    pub(crate) cache: bool,
}

impl CompiledPlan {
    fn compile(plan: RunPlan) -> Self {
        let partials = plan.partials;
        let parse = |source: String| Template::parse_prompt(&source, &partials).map_err(|error| error.to_string());
        Self {
            prompts: plan.prompts.into_iter().map(|(version, source)| (version, parse(source))).collect(),
            transforms: plan
                .models
                .iter()
                .filter_map(|(name, model)| Some((name.clone(), transform(model)?)))
                .collect(),
            models: plan.models,
            checks: compile_checks(&plan.assertions),
            assertions: plan.assertions,
            grader: plan.grader,
            threshold: plan.threshold,
            cache: plan.cache,
        }
    }
}

impl CompiledPlan {
    /// The demands on every output; none where one of them can't be used, which is found before an attempt is made.
    pub(crate) fn run_checks(&self) -> &[Check] {
        self.checks.as_deref().unwrap_or_default()
    }
}

fn transform(model: &ModelSpec) -> Option<Result<Transform, String>> {
    let code = model.transform.as_deref()?;
    Some(Transform::compile(code).map_err(|error| format!("the transform of {}: {error}", model.name())))
}

/// Compiles assertions, or says what is wrong with the first bad one.
pub(crate) fn compile_checks(assertions: &[Assertion]) -> Result<Vec<Check>, String> {
    assertions.iter().map(|assertion| Check::compile(assertion).map_err(|error| error.to_string())).collect()
}

/// The plans that this worker knows.
pub(crate) struct Plans {
    bus: Bus,
    kept: Mutex<HashMap<TestRunId, Arc<CompiledPlan>>>,
    /// One fetch at a time: all slots start on a new run at once, and one answer serves them all.
    fetching: tokio::sync::Mutex<()>,
}

impl Plans {
    pub(crate) fn new(bus: Bus) -> Self {
        Self { bus, kept: Mutex::default(), fetching: tokio::sync::Mutex::default() }
    }

    pub(crate) async fn get(&self, tenant: TenantId, run_id: TestRunId) -> Result<Arc<CompiledPlan>, Obstacle> {
        if let Some(plan) = self.kept(run_id) {
            return Ok(plan);
        }
        let _turn = self.fetching.lock().await;
        if let Some(plan) = self.kept(run_id) {
            return Ok(plan);
        }
        let plan = match ask(&self.bus, &Question::Plan { tenant, run_id }).await? {
            Reply::Plan(plan) => Arc::new(CompiledPlan::compile(*plan)),
            Reply::Unknown { .. } => return Err(Obstacle::Unwanted),
            _ => return Err(Obstacle::Relay),
        };
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= PLANS_MAX {
            // Rare, and a plan is cheap to fetch again.
            kept.clear();
        }
        kept.insert(run_id, Arc::clone(&plan));
        Ok(plan)
    }

    fn kept(&self, run_id: TestRunId) -> Option<Arc<CompiledPlan>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&run_id).cloned()
    }
}
