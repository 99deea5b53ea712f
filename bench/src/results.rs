//! Results as they really are: the published answers to the GSM8K problems, recorded by run after run.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use pcs_domain::assertion::{Grade, Verdict};
use pcs_domain::execution::{Answer, ExecutionEvent, ExecutionRef, Finished};
use pcs_domain::ids::{ActorId, CommandId, PromptCardId, TenantId, TestCaseId, TestRunId};
use pcs_domain::model::{ModelParams, ModelSpec};
use pcs_domain::test_run::{Lane, Requested, Terms, TestRunEvent};
use pcs_store::{Append, CommandContext, Expected, Store};
use serde::Deserialize;
use serde_json::{Map, Value};
use uuid::Uuid;

/// Commands on their way at once while a log is filled.
const FILLERS: usize = 32;
/// Results of one command while a log is filled.
const RESULTS_PER_COMMAND: u64 = 32;
/// The card of all runs.
const CARD: PromptCardId = PromptCardId(Uuid::from_u128(0x018f_5a3e_7c10_7d2a_9b1e_2f6c_0a4d_8e01));

#[derive(Deserialize)]
struct Line {
    vars: Map<String, Value>,
    answers: Map<String, Value>,
}

/// One cell of a run's matrix, without the run.
struct Cell {
    case_id: TestCaseId,
    input: Map<String, Value>,
    model: String,
    output: String,
}

/// The data set: each problem with each model's answer, 5,276 results a run.
pub(crate) struct Results {
    cells: Vec<Cell>,
    models: Vec<ModelSpec>,
}

impl Results {
    pub(crate) fn load() -> anyhow::Result<Self> {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../examples/gsm8k/answers.jsonl");
        let text = std::fs::read_to_string(&path).with_context(|| format!("{} is not there", path.display()))?;
        let lines: Vec<Line> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        let mut cells = Vec::new();
        for line in &lines {
            for (model, output) in &line.answers {
                cells.push(Cell {
                    case_id: TestCaseId::derive(CARD, &line.vars, None),
                    input: line.vars.clone(),
                    model: model.clone(),
                    output: output.as_str().unwrap_or_default().to_owned(),
                });
            }
        }
        let first = lines.first().context("the data set is empty")?;
        let models = first.answers.keys().map(|name| model(name)).collect();
        Ok(Self { cells, models })
    }

    /// How many results a run has.
    pub(crate) fn per_run(&self) -> u64 {
        self.cells.len() as u64
    }

    /// The run that the result with this number belongs to.
    pub(crate) fn run(&self, number: u64) -> TestRunId {
        TestRunId(Uuid::new_v5(&CARD.0, &(number / self.per_run()).to_be_bytes()))
    }

    /// The beginning of a run.
    pub(crate) fn requested(&self) -> TestRunEvent {
        TestRunEvent::Requested(Requested {
            grader: None,
            partials: Vec::new(),
            skips: Vec::new(),
            name: "measured".to_owned(),
            card_id: CARD,
            card_revision: 2,
            versions: vec![1],
            models: self.models.clone(),
            case_ids: None,
            cases: u32::try_from(self.cells.len() / self.models.len()).unwrap_or(u32::MAX),
            repeats: 1,
            assertions: Vec::new(),
            threshold: None,
            executions: self.per_run(),
            lane: Lane::Std,
            requested_by: ActorId(Uuid::nil()),
            terms: Terms::default(),
            retry: None,
            schedule_id: None,
            source: None,
        })
    }

    /// The result with this number, and its stream.
    pub(crate) fn finished(&self, number: u64) -> (Uuid, ExecutionEvent) {
        self.finished_in(self.run(number), number)
    }

    /// The same as a result of another run.
    pub(crate) fn finished_in(&self, run_id: TestRunId, number: u64) -> (Uuid, ExecutionEvent) {
        let place = usize::try_from(number % self.per_run()).unwrap_or_default();
        let Cell { case_id, input, model, output } = &self.cells[place];
        let cell =
            ExecutionRef { run_id, card_id: CARD, version: 1, case_id: *case_id, model: model.clone(), repeat: 0 };
        let passed = !number.is_multiple_of(3);
        let score = if passed { 1.0 } else { 0.0 };
        let verdict = Verdict {
            judgements: Vec::new(),
            kind: "numeric".to_owned(),
            passed,
            score,
            reason: format!("the last number is {}, 18 is expected", number % 100),
            weight: 1.0,
            metric: None,
        };
        let event = ExecutionEvent::Finished(Finished {
            subject: None,
            input: input.clone(),
            answer: Answer {
                output: output.clone(),
                latency_ms: 300 + number % 1_000,
                input_tokens: 120,
                output_tokens: output.len() as u64 / 4,
                cost_micro_usd: Some(17),
                finish_reason: Some("stop".to_owned()),
                cached: false,
            },
            grade: Grade { grader: None, passed, score, verdicts: vec![verdict] },
            attempt: 1,
            worker: format!("worker-{}-7f3a9c01", number % 2),
            cell: cell.clone(),
        });
        (cell.id().0, event)
    }
}

fn model(name: &str) -> ModelSpec {
    let params = ModelParams::default();
    ModelSpec {
        transform: None,
        id: format!("recorded:gsm8k/{name}"),
        label: Some(name.to_owned()),
        base_url: None,
        params,
        script: None,
    }
}

/// The request of a run, as one command.
pub(crate) async fn request(store: &Store, results: &Results, run: TestRunId) -> anyhow::Result<()> {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, run.0, Expected::NoStream, &[results.requested()])?;
    store.append(append).await?;
    Ok(())
}

/// One result, as one command; answers its position.
pub(crate) async fn record(store: &Store, (stream, event): (Uuid, ExecutionEvent)) -> anyhow::Result<i64> {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    store.write(&mut append, stream, Expected::NoStream, &[event])?;
    Ok(store.append(append).await?.last_position)
}

/// Fills an empty log with this many results, and with the requests of their runs.
pub(crate) async fn fill(store: &Store, results: &Arc<Results>, count: u64) -> anyhow::Result<()> {
    for first in (0..count).step_by(usize::try_from(results.per_run())?) {
        request(store, results, results.run(first)).await?;
    }
    let next = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..FILLERS {
        let (store, results, next) = (store.clone(), Arc::clone(results), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let first = next.fetch_add(RESULTS_PER_COMMAND, Ordering::Relaxed);
                if first >= count {
                    return anyhow::Ok(());
                }
                let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
                for number in first..count.min(first + RESULTS_PER_COMMAND) {
                    let (stream, event) = results.finished(number);
                    store.write(&mut append, stream, Expected::NoStream, &[event])?;
                }
                store.append(append).await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}
