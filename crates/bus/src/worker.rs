//! The worker runtime: an apalis worker over our backend, with heartbeats, cancellation and a drain.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
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
use tower::Layer;

use crate::backend::{Slots, TicketBackend};
use crate::fleet::{HEARTBEAT_INTERVAL, Heartbeat};
use crate::lease::{Delivery, InHand, JobHandler, Orders};
use crate::measure::JobMetrics;
use crate::{Bus, BusError, subjects};

/// How often a worker asks whether the runs that it works for are over.
const ENDED_RUNS_INTERVAL: Duration = Duration::from_secs(5);
/// Time for jobs to be given back after the drain.
const HAND_BACK_TIME: Duration = Duration::from_secs(4);
/// The word that something is held.
const HELD: &[u8] = b"held";

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
    /// What it measures.
    pub metrics: JobMetrics,
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
    let slots = Slots { free: Arc::new(Semaphore::new(config.slots as usize)), in_hand: InHand::default() };
    let helpers = TaskTracker::new();
    // Pulling ends when the worker is told to stop; the rest of it goes on through the drain, or a worker that finishes
    // its jobs would be taken for one that is gone.
    let (pulling_stop, ended) = (stop.child_token(), CancellationToken::new());
    let control = Control::default();
    helpers.spawn(listen(bus.clone(), control.clone(), ended.clone()));
    helpers.spawn(ask_for_ended_runs(Arc::clone(&handler), control.clone(), ended.clone()));
    let kind = handler.kind().name;
    let told = (stop.clone(), ended.clone());
    helpers.spawn(heartbeats(bus.clone(), config.clone(), kind, slots.in_hand.clone(), told));
    let pumping = CancellationToken::new();
    let pumped = pumping.clone();
    let backend = TicketBackend::start(
        bus.clone(),
        Arc::clone(&handler),
        slots,
        pulling_stop.clone(),
        pumping.drop_guard(),
        &helpers,
    );
    let hand_back = control.hand_back.clone();
    let measure = config.metrics.layer(handler.kind());
    let service = measure.layer(Work { bus, handler, control });
    let worker = WorkerBuilder::new(config.name.as_str()).backend(backend).build(service);
    let stopped = stop.clone();
    let run = worker.run_until(async move {
        stopped.cancelled().await;
        Ok::<(), std::io::Error>(())
    });
    let late = async {
        stop.cancelled().await;
        tokio::time::sleep(config.drain).await;
        hand_back.cancel();
        tokio::time::sleep(HAND_BACK_TIME).await;
    };
    let result = tokio::select! {
        result = run => result.map_err(|error| BusError::Worker(error.to_string())),
        // Without its pump the worker would say that it is there, and do nothing.
        () = ended_early(&pumped, &stop) => Err(BusError::Worker("no tickets are pulled".to_owned())),
        // What could not be given back is dropped; the broker delivers its tickets again.
        () = late => Ok(()),
    };
    pulling_stop.cancel();
    ended.cancel();
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
    control: Control,
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
        let Self { bus, handler, control } = self.clone();
        Box::pin(async move {
            let delivery = task.args;
            let orders = Orders {
                cancelled: control.cancellations.token(delivery.run_token()),
                hand_back: control.hand_back,
                ask_first: control.ask_first,
            };
            delivery.work(bus, handler, orders).await;
            Ok(())
        })
    }
}

async fn heartbeats(
    bus: Bus,
    config: WorkerConfig,
    kind: &'static str,
    in_hand: InHand,
    (stop, ended): (CancellationToken, CancellationToken),
) {
    loop {
        let draining = stop.is_cancelled();
        bus.send_heartbeat(&Heartbeat {
            worker: config.name.clone(),
            kind: kind.to_owned(),
            slots: config.slots,
            in_flight: in_hand.get(),
            draining,
            build: config.build.clone(),
        })
        .await;
        tokio::select! {
            () = ended.cancelled() => return,
            // At once, so that nobody counts on its slots any more.
            () = stop.cancelled(), if !draining => (),
            () = tokio::time::sleep(HEARTBEAT_INTERVAL) => (),
        }
    }
}

/// What this worker is told.
#[derive(Clone, Default)]
struct Control {
    cancellations: Cancellations,
    hand_back: CancellationToken,
    ask_first: Arc<AtomicBool>,
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

/// The sure path of a cancellation: it is asked for.
async fn ask_for_ended_runs(handler: Arc<dyn JobHandler>, control: Control, stop: CancellationToken) {
    loop {
        tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(ENDED_RUNS_INTERVAL) => () }
        for run in handler.ended_runs().await {
            control.cancellations.cancel(&run);
        }
    }
}

/// The fast path of a cancellation, and the word whether anything is held.
async fn listen(bus: Bus, control: Control, stop: CancellationToken) {
    let mut told = match bus.client.subscribe(format!("{}.>", subjects::CONTROL)).await {
        Ok(told) => told,
        Err(error) => {
            tracing::warn!(%error, "cancellations are noticed late");
            return;
        }
    };
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            message = told.next() => match message {
                Some(message) if message.subject.as_str() == subjects::HOLDS => {
                    control.ask_first.store(message.payload.as_ref() == HELD, Ordering::Relaxed);
                }
                Some(message) => control.cancellations.cancel(subjects::run_token(&message.subject)),
                None => return,
            },
        }
    }
}

impl Bus {
    /// Tells workers whether anything is held. Lossy: it is said again every second, and what counts is the answer that
    /// a worker gets when it asks.
    pub async fn announce_holds(&self, held: bool) {
        if self.is_connected() {
            let payload: &'static [u8] = if held { HELD } else { b"" };
            drop(self.client.publish(subjects::HOLDS, bytes::Bytes::from_static(payload)).await);
        }
    }
}
