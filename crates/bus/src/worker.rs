//! The worker runtime: an apalis worker over our backend, with heartbeats, cancellation and a drain.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use apalis_core::worker::builder::WorkerBuilder;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::backend::TicketBackend;
use crate::fleet::{HEARTBEAT_INTERVAL, Heartbeat};
use crate::lease::{Delivery, JobHandler};
use crate::{Bus, BusError, subjects};

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Its name, unique per start of a process.
    pub name: String,
    /// How many jobs it does at once.
    pub slots: u32,
    /// How long running jobs may take after the worker was told to stop.
    pub drain: Duration,
    /// The version of its program.
    pub build: String,
}

/// Does jobs until told to stop; then takes no more, and finishes those it has, for at most the drain time.
///
/// # Errors
/// [`BusError::Worker`] where the runtime ends by itself.
pub async fn run_worker(
    bus: Bus,
    config: WorkerConfig,
    handler: Arc<dyn JobHandler>,
    stop: CancellationToken,
) -> Result<(), BusError> {
    let slots = Arc::new(Semaphore::new(config.slots as usize));
    let cancellations = Cancellations::default();
    let helpers = TaskTracker::new();
    let helpers_stop = stop.child_token();
    helpers.spawn(listen_for_cancellations(bus.clone(), cancellations.clone(), helpers_stop.clone()));
    let kind = handler.kind().name;
    helpers.spawn(heartbeats(bus.clone(), config.clone(), kind, Arc::clone(&slots), helpers_stop.clone()));
    let pumping = CancellationToken::new();
    let pumped = pumping.clone();
    let backend = TicketBackend::start(
        bus.clone(),
        handler.kind(),
        Arc::clone(&slots),
        helpers_stop.clone(),
        pumping.drop_guard(),
        &helpers,
    );
    let service = Work { bus, handler, cancellations };
    let worker = WorkerBuilder::new(config.name.as_str()).backend(backend).build(service);
    let stopped = stop.clone();
    let run = worker.run_until(async move {
        stopped.cancelled().await;
        Ok::<(), std::io::Error>(())
    });
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(config.drain).await;
    };
    let result = tokio::select! {
        result = run => result.map_err(|error| BusError::Worker(error.to_string())),
        // Without its pump the worker would say that it is there, and do nothing.
        () = ended_early(&pumped, &stop) => Err(BusError::Worker("no tickets are pulled".to_owned())),
        // What is still running is dropped; the broker delivers its tickets again.
        () = late => Ok(()),
    };
    helpers_stop.cancel();
    helpers.close();
    helpers.wait().await;
    result
}

/// Resolves when the pump ends although nobody said so.
async fn ended_early(pumped: &CancellationToken, stop: &CancellationToken) {
    pumped.cancelled().await;
    if stop.is_cancelled() {
        std::future::pending::<()>().await;
    }
}

/// What apalis calls for each delivery. A named service: apalis' bounds can't be shown for a closure's opaque future.
#[derive(Clone)]
struct Work {
    bus: Bus,
    handler: Arc<dyn JobHandler>,
    cancellations: Cancellations,
}

impl tower::Service<Task<Delivery>> for Work {
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        // The backend hands over only what there is a slot for.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, task: Task<Delivery>) -> Self::Future {
        let Self { bus, handler, cancellations } = self.clone();
        Box::pin(async move {
            let delivery = task.args;
            let cancelled = cancellations.token(delivery.run_token());
            delivery.work(bus, handler, cancelled).await;
            Ok(())
        })
    }
}

async fn heartbeats(
    bus: Bus,
    config: WorkerConfig,
    kind: &'static str,
    slots: Arc<Semaphore>,
    stop: CancellationToken,
) {
    loop {
        let free = u32::try_from(slots.available_permits()).unwrap_or(u32::MAX);
        let draining = stop.is_cancelled();
        bus.send_heartbeat(&Heartbeat {
            worker: config.name.clone(),
            kind: kind.to_owned(),
            slots: config.slots,
            in_flight: config.slots.saturating_sub(free),
            draining,
            build: config.build.clone(),
        })
        .await;
        if draining {
            return;
        }
        tokio::select! { () = stop.cancelled() => (), () = tokio::time::sleep(HEARTBEAT_INTERVAL) => () }
    }
}

/// The runs that this worker works for, and how to stop it.
#[derive(Clone, Default)]
struct Cancellations {
    runs: Arc<Mutex<HashMap<String, CancellationToken>>>,
}

/// Runs that are remembered; beyond it those that nothing waits for are forgotten.
const RUNS_MAX: usize = 1_024;

impl Cancellations {
    fn token(&self, run: &str) -> CancellationToken {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        if runs.len() >= RUNS_MAX {
            // A token that was never cancelled can be made anew by the next ticket of its run.
            runs.retain(|_, token| token.is_cancelled());
            if runs.len() >= RUNS_MAX {
                runs.clear();
            }
        }
        runs.entry(run.to_owned()).or_default().clone()
    }

    fn cancel(&self, run: &str) {
        let token = self.runs.lock().unwrap_or_else(PoisonError::into_inner).get(run).cloned();
        if let Some(token) = token {
            token.cancel();
        }
    }
}

/// The fast path of a cancellation; the sure one is the relay's answer to a report or a question.
async fn listen_for_cancellations(bus: Bus, cancellations: Cancellations, stop: CancellationToken) {
    let mut announced = match bus.client.subscribe(format!("{}.*", subjects::CANCEL)).await {
        Ok(announced) => announced,
        Err(error) => {
            tracing::warn!(%error, "cancellations are noticed late");
            return;
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = announced.next() => match message {
                Some(message) => cancellations.cancel(subjects::run_token(&message.subject)),
                None => return,
            },
        }
    }
}
