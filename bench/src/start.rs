//! How soon a job begins: from the accepted request to the moment at which a worker has the ticket, at 500 jobs a second.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pcs_bus::{Bus, BusConfig, Disposition, Job, JobHandler, JobMetrics, WorkerConfig, run_worker};
use pcs_domain::assertion::Grade;
use pcs_domain::execution::Answer;
use pcs_domain::ids::TestRunId;
use pcs_domain::jobs::JobKind;
use pcs_domain::jobs::test_execution::{KIND, Outcome, Report, Ticket};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::gsm8k::{Role, wait_for};
use crate::jobs::System;
use crate::report::{Row, Target};
use crate::settings::{Settings, percentile};

/// Runs that are requested each second, of so many jobs.
const RUNS_PER_SECOND: u32 = 50;
const JOBS_PER_RUN: u32 = 10;
/// Slots of the worker: more than ever begin at once.
const SLOTS: u32 = 256;
const P50_MS_MAX: f64 = 20.0;
const P99_MS_MAX: f64 = 100.0;

/// Notes when tickets arrive, and reports an answer for each.
struct Clocked {
    bus: Bus,
    arrived: Mutex<HashMap<TestRunId, Vec<Instant>>>,
}

impl Clocked {
    fn note(&self, run: TestRunId, at: Instant) {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).entry(run).or_default().push(at);
    }
}

impl JobHandler for Clocked {
    fn kind(&self) -> JobKind {
        KIND
    }

    fn handle(&self, job: Job) -> BoxFuture<'_, Disposition> {
        let now = Instant::now();
        Box::pin(async move {
            let Ok(ticket) = serde_json::from_slice::<Ticket>(&job.ticket) else {
                return Disposition::Unreadable("it is no ticket".to_owned());
            };
            self.note(ticket.cell.run_id, now);
            while self.bus.report(&report(&ticket)).await.is_err() {}
            Disposition::Done
        })
    }

    fn panicked(&self, _: Bytes, _: String) -> BoxFuture<'_, Disposition> {
        Box::pin(async { Disposition::Done })
    }

    fn hand_back(&self, _: Bytes) -> BoxFuture<'_, Disposition> {
        Box::pin(async { Disposition::Redeliver })
    }

    fn ended_runs(&self) -> BoxFuture<'_, Vec<String>> {
        Box::pin(async { Vec::new() })
    }
}

fn report(ticket: &Ticket) -> Report {
    let answer = Answer {
        output: "1".to_owned(),
        latency_ms: 0,
        input_tokens: 1,
        output_tokens: 1,
        cost_micro_usd: None,
        finish_reason: None,
        cached: false,
    };
    Report {
        tenant: ticket.tenant,
        dispatch_id: ticket.dispatch_id,
        cell: ticket.cell.clone(),
        input: ticket.case.as_ref().map(|case| case.input.clone()).unwrap_or_default(),
        attempt: ticket.attempt,
        snoozes: ticket.snoozes,
        worker: "clocked".to_owned(),
        outcome: Outcome::Finished { answer, grade: Grade { passed: true, score: 1.0, verdicts: Vec::new() } },
        reserved: false,
        content: None,
    }
}

pub(crate) async fn measure(settings: Settings) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let local = folder.path().join("local");
    let local_dir = local.display().to_string();
    let up = ["up", "--no-demo", "--no-worker", "--listen", "127.0.0.1:0", "--local-dir", &local_dir];
    let system = Role::start(&up, folder.path(), "up.log")?;
    let endpoints = wait_for(&local.join("endpoints.json"))?;
    let api = System::of(&wait_for(&local.join("credentials.json"))?)?;
    let url = endpoints["worker_nats_url"].as_str().context("no NATS address")?.to_owned();
    let bus = Bus::connect(&BusConfig { url, name: "bench".to_owned() }).await?;
    let handler = Arc::new(Clocked { bus: bus.clone(), arrived: Mutex::default() });
    let stop = CancellationToken::new();
    let config = WorkerConfig {
        name: "clocked".to_owned(),
        slots: SLOTS,
        drain: Duration::from_secs(5),
        build: "bench".to_owned(),
        metrics: JobMetrics::default(),
    };
    let worker = run_worker(bus, config, Arc::<Clocked>::clone(&handler), stop.clone());
    let asker = async {
        let accepted = ask(&api, settings.seconds).await;
        stop.cancel();
        accepted
    };
    let (worked, accepted) = tokio::join!(worker, asker);
    worked?;
    let mut waits = waits(&accepted?, &handler);
    system.stop()?;
    eprintln!("  {} jobs", waits.len());
    let (p50, p99) = (percentile(&mut waits, 0.5), percentile(&mut waits, 0.99));
    Ok(vec![
        Row::new("start, p50 at 500 jobs/s", p50, "the ceiling", P50_MS_MAX, "ms", &Target::AtMost(1.0)),
        Row::new("start, p99 at 500 jobs/s", p99, "the ceiling", P99_MS_MAX, "ms", &Target::AtMost(1.0)),
    ])
}

/// Requests runs at a steady rate; answers when each was accepted.
async fn ask(api: &System, seconds: u32) -> anyhow::Result<HashMap<TestRunId, Instant>> {
    let card = api.card(1).await?;
    let request = json!({ "card_id": card, "models": [{ "id": "echo" }], "repeats": JOBS_PER_RUN });
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / RUNS_PER_SECOND);
    let mut accepted = HashMap::new();
    for nth in 0..RUNS_PER_SECOND * (seconds + 1) {
        ticks.tick().await;
        let run = api.post("/runs", &request).await?;
        // The first second warms up.
        if nth >= RUNS_PER_SECOND {
            accepted.insert(run["id"].as_str().context("no id")?.parse()?, Instant::now());
        }
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    Ok(accepted)
}

/// How long each job waited, in milliseconds; a job that began before the answer was there did not wait.
fn waits(accepted: &HashMap<TestRunId, Instant>, handler: &Clocked) -> Vec<f64> {
    let arrived = handler.arrived.lock().unwrap_or_else(PoisonError::into_inner);
    let of_run = |(run, at): (&TestRunId, &Instant)| {
        let arrivals = arrived.get(run).cloned().unwrap_or_default();
        let at = *at;
        arrivals.into_iter().map(move |arrival| arrival.saturating_duration_since(at).as_secs_f64() * 1_000.0)
    };
    accepted.iter().flat_map(of_run).collect()
}
