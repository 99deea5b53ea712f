//! Starting and stopping: every service has a name and a stage; stages stop in order, and a dead service ends all.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use anyhow::Context;
use futures_util::FutureExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Longest time that the services of one stage may take to stop.
const STAGE_STOP_MAX: Duration = Duration::from_secs(30);

/// When a service stops, relative to the others: what brings work in stops first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Stage {
    /// Takes work in: the HTTP server and the workers.
    Front,
    /// Serves the front: the relay answers workers that are finishing.
    Relay,
    /// Follows the log: projections and metrics.
    Readers,
}

const STAGES: [Stage; 3] = [Stage::Front, Stage::Relay, Stage::Readers];

/// The services of a process.
pub struct Lifecycle {
    stages: Vec<(Stage, CancellationToken, TaskTracker)>,
    ended: mpsc::UnboundedSender<anyhow::Error>,
    first_end: mpsc::UnboundedReceiver<anyhow::Error>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        let (ended, first_end) = mpsc::unbounded_channel();
        let stages = STAGES.iter().map(|stage| (*stage, CancellationToken::new(), TaskTracker::new())).collect();
        Self { stages, ended, first_end }
    }
}

impl Lifecycle {
    /// Starts a service; `run` gets the token that tells it to stop.
    pub fn start<F, R>(&self, stage: Stage, name: &'static str, run: R)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
        R: FnOnce(CancellationToken) -> F,
    {
        let Some((_, stop, tasks)) = self.stages.iter().find(|(known, _, _)| *known == stage) else { return };
        let (stop, ended) = (stop.clone(), self.ended.clone());
        let service = run(stop.clone());
        tasks.spawn(async move {
            // A panic is an end like any other: without this nobody would learn of it.
            let panicked = |_| Err(anyhow::anyhow!("it panicked"));
            let result = AssertUnwindSafe(service).catch_unwind().await.unwrap_or_else(panicked);
            let end = match result {
                Err(error) => error.context(format!("the service {name} failed")),
                Ok(()) if stop.is_cancelled() => return,
                Ok(()) => anyhow::anyhow!("the service {name} ended by itself"),
            };
            drop(ended.send(end));
        });
    }

    /// Waits for the first service that ends by itself, which none should.
    pub async fn failed(&mut self) -> anyhow::Error {
        self.first_end.recv().await.unwrap_or_else(|| anyhow::anyhow!("no service is left"))
    }

    /// Stops all services, stage by stage, each within a bounded time.
    pub async fn stop(self) {
        for (stage, stop, tasks) in self.stages {
            stop.cancel();
            tasks.close();
            if tokio::time::timeout(STAGE_STOP_MAX, tasks.wait()).await.is_err() {
                tracing::warn!(?stage, "services did not stop in time; they are dropped");
            }
        }
    }

    /// Runs until a signal or until a service ends, then stops everything. A second signal ends the process at once.
    ///
    /// # Errors
    /// Why a service ended.
    pub async fn run_until_signal(mut self) -> anyhow::Result<()> {
        let result = tokio::select! {
            signal = signal() => signal,
            error = self.failed() => Err(error),
        };
        tokio::select! {
            () = self.stop() => (),
            _ = signal() => tracing::warn!("stopped at once on a second signal"),
        }
        result
    }
}

/// Waits for Ctrl-C or SIGTERM.
///
/// # Errors
/// Where signals can't be listened to.
pub async fn signal() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .context("SIGTERM can't be listened to")?;
    tokio::select! {
        result = tokio::signal::ctrl_c() => result.context("Ctrl-C can't be listened to"),
        _ = terminate.recv() => Ok(()),
    }
}
