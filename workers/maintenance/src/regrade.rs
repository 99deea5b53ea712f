//! A regrade: reads a run's answers from the log, grades them by the new demands, and records the grades part by part.
//!
//! Where it stopped is in the regrade's own stream, so an attempt that was lost is gone on with, and what was recorded is
//! never recorded twice.

use std::collections::HashMap;
use std::sync::Arc;

use pcs_domain::assertion::{Assertion, Verdict};
use pcs_domain::execution::{ExecutionEvent, FailureClass, Finished};
use pcs_domain::ids::{CommandId, RegradeId, TenantId, TestCaseId};
use pcs_domain::jobs::on_request::JobFailure;
use pcs_domain::model::ModelSpec;
use pcs_domain::prompt_card::{Card, PromptCard, TestCase};
use pcs_domain::regrade::{Regrade, RegradeCommand, RegradeTotals, Regraded, Requested};
use pcs_domain::test_run::TestRun;
use pcs_domain::{Category, DomainEvent, EventType};
use pcs_grading::{Check, Seen, Subject, Transform, conclude, grader_version, variables};
use pcs_store::{CommandContext, Store, Subscribed, execute_kept};
use serde_json::{Map, Value};

use crate::failed;

/// Positions of the log that are looked through at once; as many grades of a kilobyte are a large event, not a huge one.
const PAGE_LEN: i64 = 2_000;
/// Events of executions that hold no answer.
const IGNORED: [EventType; 4] = [
    EventType { name: "execution.attempt_failed", version: 3 },
    EventType { name: "execution.dead_lettered", version: 3 },
    EventType { name: "execution.snoozed", version: 1 },
    EventType { name: "execution.dismissed", version: 1 },
];
const ANSWERS: Subscribed = Subscribed { categories: &[Category::Execution], ignored: &IGNORED };

/// The demands of a regrade, compiled, beside those of the run.
struct Demands {
    request: Requested,
    checks: Vec<Check>,
    /// The cases with what they demand now, compiled.
    cases: HashMap<TestCaseId, (TestCase, Vec<Check>)>,
    /// What is looked at of the answers of some models.
    transforms: HashMap<String, Transform>,
    models: HashMap<String, ModelSpec>,
    /// What the run demanded, to find the verdicts of judges again.
    run_assertions: Vec<Assertion>,
    /// What the cases demanded when the run was asked for.
    run_cases: Card,
}

/// The regrade as this worker's last command left it.
struct Standing<'a> {
    store: &'a Store,
    tenant: TenantId,
    id: RegradeId,
    state: Regrade,
    revision: i64,
}

impl Standing<'_> {
    /// Executes a command. Where another worker was faster, this attempt ends, and the next one goes on from there.
    async fn act(&mut self, command: RegradeCommand) -> Result<(), JobFailure> {
        let command_id = CommandId::derived(self.id.0, &format!("part {}", self.revision));
        let context = CommandContext::derived(self.tenant, command_id);
        let kept = (std::mem::take(&mut self.state), self.revision);
        let executed = execute_kept(self.store, &context, self.id.0, kept, command).await.map_err(failed)?;
        (self.state, self.revision) = (executed.state, executed.revision);
        Ok(())
    }
}

/// Does what was asked for, from where it stopped the last time.
pub(crate) async fn run(store: &Store, tenant: TenantId, id: RegradeId) -> Result<Map<String, Value>, JobFailure> {
    let loaded = store.load::<Regrade>(tenant, id.0).await.map_err(failed)?;
    let (request, mut through) = match &loaded.state {
        Regrade::Absent => return Err(bad("there is no such regrade")),
        Regrade::Completed(_, totals) => return Ok(answer(*totals)),
        Regrade::Running { request, through, .. } => (request.clone(), *through),
    };
    let mut standing = Standing { store, tenant, id, state: loaded.state, revision: loaded.revision };
    let until = request.until;
    let demands = Arc::new(demands(store, tenant, request).await?);
    let mut page = answers(store, tenant, &demands, through).await?;
    while through < until {
        let page_end = page.up_to;
        let grading = graded(Arc::clone(&demands), std::mem::take(&mut page.answers));
        // The next page is read while this one is graded and recorded.
        let recording = async {
            let record = RegradeCommand::Record { after: through, through: page_end, grades: grading.await? };
            standing.act(record).await
        };
        let (recorded, following) = tokio::join!(recording, answers(store, tenant, &demands, page_end));
        recorded?;
        (through, page) = (page_end, following?);
    }
    standing.act(RegradeCommand::Complete).await?;
    match standing.state {
        Regrade::Completed(_, totals) => Ok(answer(totals)),
        Regrade::Absent | Regrade::Running { .. } => Err(failed("the regrade is not complete")),
    }
}

fn answer(totals: RegradeTotals) -> Map<String, Value> {
    serde_json::to_value(totals).ok().and_then(|value| value.as_object().cloned()).unwrap_or_default()
}

fn bad(error: impl Into<String>) -> JobFailure {
    JobFailure::new(FailureClass::BadRequest, error.into())
}

async fn demands(store: &Store, tenant: TenantId, request: Requested) -> Result<Demands, JobFailure> {
    let run = store.load::<TestRun>(tenant, request.run_id.0).await.map_err(failed)?.state;
    let asked = run.request().ok_or_else(|| bad("there is no such run"))?;
    let run_cases = card(store, tenant, &request, asked.card_revision).await?;
    let now = if request.card_revision == asked.card_revision {
        run_cases.clone()
    } else {
        card(store, tenant, &request, request.card_revision).await?
    };
    let compile = |assertions: &[Assertion]| Check::compile_all(assertions).map_err(|error| bad(error.to_string()));
    let mut cases = HashMap::with_capacity(run_cases.cases.len());
    for (id, was) in &run_cases.cases {
        // A case that the card has no more is graded as it was.
        let case = now.cases.get(id).unwrap_or(was).clone();
        let checks = compile(&case.assertions)?;
        cases.insert(*id, (case, checks));
    }
    let checks = compile(&request.assertions)?;
    let mut transforms = HashMap::new();
    for model in &asked.models {
        if let Some(code) = &model.transform {
            let transform = Transform::compile(code).map_err(|error| bad(error.to_string()))?;
            transforms.insert(model.name().to_owned(), transform);
        }
    }
    let models = asked.models.iter().map(|model| (model.name().to_owned(), model.clone())).collect();
    Ok(Demands { checks, cases, transforms, models, run_assertions: asked.assertions.clone(), run_cases, request })
}

async fn card(store: &Store, tenant: TenantId, request: &Requested, revision: i64) -> Result<Card, JobFailure> {
    let loaded = store.load_at::<PromptCard>(tenant, request.card_id.0, revision).await.map_err(failed)?;
    let mut state = loaded.state;
    // Demands may quote a data subject's data.
    store.reveal_state(tenant, &mut state).await.map_err(failed)?;
    match state {
        PromptCard::Active(card) | PromptCard::Archived(card) => Ok(card),
        PromptCard::Absent => Err(bad("the run's card does not exist")),
    }
}

/// The run's answers of some positions of the log.
struct Answers {
    answers: Vec<Finished>,
    up_to: i64,
}

async fn answers(store: &Store, tenant: TenantId, demands: &Demands, after: i64) -> Result<Answers, JobFailure> {
    let left = demands.request.until.saturating_sub(after);
    if left <= 0 {
        return Ok(Answers { answers: Vec::new(), up_to: after });
    }
    let page = store.read_page(after, PAGE_LEN.min(left), &ANSWERS).await.map_err(failed)?;
    let mut answers = Vec::new();
    for recorded in page.events.into_iter().filter(|recorded| recorded.tenant == tenant) {
        match recorded.into_record().event {
            DomainEvent::Execution(ExecutionEvent::Finished(e)) if e.cell.run_id == demands.request.run_id => {
                answers.push(e);
            }
            _ => (),
        }
    }
    if let Some(unreadable) = page.unreadable.into_iter().next() {
        return Err(failed(unreadable.error));
    }
    let parts = answers.iter_mut().map(|answer| answer as &mut dyn pcs_domain::data_subject::Guarded);
    store.reveal(tenant, parts).await.map_err(failed)?;
    Ok(Answers { answers, up_to: page.up_to })
}

/// Grades answers beside the runtime's threads: there are thousands of them.
async fn graded(demands: Arc<Demands>, answers: Vec<Finished>) -> Result<Vec<Regraded>, JobFailure> {
    let grading = tokio::task::spawn_blocking(move || {
        // What a data subject said is gone with their key: there is nothing to grade.
        let readable =
            answers.iter().filter(|e| !e.subject.as_ref().is_some_and(|subject| subject.guard.is_shredded()));
        readable.filter_map(|answer| demands.grade(answer)).collect()
    });
    grading.await.map_err(failed)
}

impl Demands {
    fn grade(&self, finished: &Finished) -> Option<Regraded> {
        let (case, case_checks) = self.cases.get(&finished.cell.case_id)?;
        let variables = variables(case);
        let transform = self.transforms.get(&finished.cell.model);
        let said = Seen::text(&finished.answer.output);
        let seen = match transform {
            None => Ok(said),
            Some(transform) => transform.apply(said, &finished.input),
        };
        let mut subject = Subject::of(&finished.answer, &variables);
        if let Some(model) = self.models.get(&finished.cell.model) {
            subject = subject.of_model(model);
        }
        if let Ok(seen) = &seen {
            subject = subject.with(seen);
        }
        let own = self.request.assertions.iter().zip(&self.checks);
        let of_case = case.assertions.iter().zip(case_checks);
        let verdicts = own.chain(of_case).map(|(assertion, check)| match &seen {
            _ if check.is_judged() => self.judged(finished, assertion, check, &subject),
            Ok(_) => check.verdict(&subject),
            // The run could transform it: now its engine ended, or had no room. A verdict says so; none would hide it.
            Err(why) => check.unevaluated(why.clone()),
        });
        let grade = conclude(case, self.request.threshold, verdicts.collect());
        let grader = Some(grader_version(&self.request.assertions, self.request.threshold, case));
        Some(Regraded {
            execution_id: finished.cell.id(),
            subject: finished.subject.clone(),
            passed_before: finished.grade.passed,
            grade: pcs_domain::assertion::Grade { grader, ..grade },
        })
    }

    /// No judge is asked again: what it said of the same demand when the answer was recorded stays.
    fn judged(&self, finished: &Finished, assertion: &Assertion, check: &Check, subject: &Subject<'_>) -> Verdict {
        let of_case = self.run_cases.cases.get(&finished.cell.case_id).map(|case| case.assertions.as_slice());
        let recorded = self.run_assertions.iter().chain(of_case.unwrap_or_default()).zip(&finished.grade.verdicts);
        let same = recorded.into_iter().find(|(was, _)| is_same_demand(was, assertion));
        same.map_or_else(
            || check.verdict(subject),
            |(_, verdict)| Verdict { weight: assertion.weight, metric: assertion.metric.clone(), ..verdict.clone() },
        )
    }
}

/// Whether two assertions ask a judge the same; what its verdict weighs is another matter.
fn is_same_demand(one: &Assertion, other: &Assertion) -> bool {
    let bare = |of: &Assertion| Assertion { weight: 1.0, metric: None, ..of.clone() };
    bare(one) == bare(other)
}
