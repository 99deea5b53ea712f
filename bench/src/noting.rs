//! A worker in this process that notes when it has a job in its hands, and then does it as every worker does.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use pcs_bus::{Disposition, Job, JobHandler, JobMetrics, WorkerConfig, run_worker};
use pcs_domain::ids::TestRunId;
use pcs_domain::jobs::JobKind;
use pcs_domain::jobs::test_execution::Ticket;
use pcs_providers::{Gateway, GatewayConfig};
use pcs_worker_test_execution::TestExecution;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::system::System;

/// How long running jobs may take after the end.
const DRAIN: Duration = Duration::from_secs(5);

/// When attempts began, with the run of each.
type Begun = Arc<Mutex<Vec<(TestRunId, Instant)>>>;

struct Noting {
    begun: Begun,
    inner: TestExecution,
}

impl JobHandler for Noting {
    fn kind(&self) -> JobKind {
        self.inner.kind()
    }

    fn handle(&self, job: Job) -> BoxFuture<'_, Disposition> {
        let now = Instant::now();
        if let (Ok(read), false) = (serde_json::from_slice::<Ticket>(&job.ticket), job.redelivered) {
            let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
            begun.push((read.cell.run_id, now));
        }
        self.inner.handle(job)
    }

    fn panicked(&self, ticket: Bytes, message: String) -> BoxFuture<'_, Disposition> {
        self.inner.panicked(ticket, message)
    }

    fn hand_back(&self, ticket: Bytes) -> BoxFuture<'_, Disposition> {
        self.inner.hand_back(ticket)
    }

    fn ended_runs(&self) -> BoxFuture<'_, Vec<String>> {
        self.inner.ended_runs()
    }
}

/// The worker. `stop` ends it in order.
pub(crate) struct NotingWorker {
    begun: Begun,
    stop: CancellationToken,
    tasks: JoinSet<anyhow::Result<()>>,
}

impl NotingWorker {
    pub(crate) async fn start(system: &System, slots: u32) -> anyhow::Result<Self> {
        let bus = system.bus().await?;
        let gateway = Arc::new(Gateway::new(GatewayConfig::default())?);
        let name = format!("bench-{}", Uuid::new_v4().simple());
        let begun = Begun::default();
        let inner = TestExecution::new(bus.clone(), gateway, name.clone());
        let handler = Arc::new(Noting { begun: Arc::clone(&begun), inner });
        let config =
            WorkerConfig { name, slots, drain: DRAIN, build: "bench".to_owned(), metrics: JobMetrics::default() };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let stopped = stop.clone();
        tasks.spawn(async move { Ok(run_worker(bus, config, handler, stopped).await?) });
        Ok(Self { begun, stop, tasks })
    }

    /// Takes what was noted since the last time.
    pub(crate) fn take(&self) -> Vec<(TestRunId, Instant)> {
        std::mem::take(&mut *self.begun.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}
