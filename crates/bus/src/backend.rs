//! Our apalis backend: deliveries of a durable pull consumer, never more than there are free slots.
//!
//! apalis ends a worker on any error of its backend, so there is none here: the pump asks again. It asks for as many
//! tickets as slots are free, and each delivery carries its slot until the job is done, so nothing is prefetched.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::PullConsumer;
use futures_util::StreamExt;
use pcs_domain::jobs::JobKind;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tower::layer::util::Identity;

use crate::lease::{Delivery, InHand, JobHandler};
use crate::{Bus, BusError};

/// Most tickets asked for at once.
const PULL_LEN_MAX: usize = 256;
/// How long the broker holds a pull that it can't fill.
const PULL_EXPIRES: Duration = Duration::from_secs(10);
/// The pause after the broker refused a pull.
const PULL_RETRY: Duration = Duration::from_millis(250);

/// A worker's slots, and the tickets that take them up.
#[derive(Clone)]
pub(crate) struct Slots {
    pub(crate) free: Arc<Semaphore>,
    pub(crate) in_hand: InHand,
}

/// Deliveries as apalis wants them.
pub(crate) struct TicketBackend {
    deliveries: mpsc::Receiver<Delivery>,
    tasks: TaskTracker,
    handler: Arc<dyn JobHandler>,
    config: (),
}

impl TicketBackend {
    /// Starts the pump; it ends with `stop`, and `pumping` is dropped with it.
    pub(crate) fn start(
        bus: Bus,
        handler: Arc<dyn JobHandler>,
        slots: Slots,
        stop: CancellationToken,
        pumping: DropGuard,
        tasks: &TaskTracker,
    ) -> Self {
        let kind = handler.kind();
        let (sender, deliveries) = mpsc::channel(PULL_LEN_MAX);
        tasks.spawn(async move {
            // Dropped with the pump, however it ends.
            let _pumping = pumping;
            pump(bus, kind, slots, sender, stop).await;
        });
        Self { deliveries, tasks: tasks.clone(), handler, config: () }
    }
}

impl Backend for TicketBackend {
    type Task = Task<Delivery>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Option<Result<Task<Delivery>, Infallible>>> {
        self.deliveries.poll_recv(cx).map(|delivery| {
            delivery.map(|delivery| {
                // One id per delivery: apalis must not take a redelivery for a task that it is already running.
                let id = TaskId::from_string(delivery.id());
                Ok(TaskBuilder::new(delivery).task_id(id).build())
            })
        })
    }

    fn poll_close(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.deliveries.close();
        // What was pulled and not begun goes back at once, or it would lie here until its lease ends.
        while let Ok(delivery) = self.deliveries.try_recv() {
            self.tasks.spawn(delivery.give_up_unbegun(Arc::clone(&self.handler)));
        }
        Poll::Ready(Ok(()))
    }
}

impl BackendConfig for TicketBackend {
    type Args = Delivery;
    type Id = uuid::Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &() {
        &self.config
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}

async fn pump(bus: Bus, kind: JobKind, slots: Slots, deliveries: mpsc::Sender<Delivery>, stop: CancellationToken) {
    let mut consumer = None;
    while !stop.is_cancelled() {
        let round = tokio::select! {
            () = stop.cancelled() => return,
            round = pull(&bus, kind, &mut consumer, &slots, &deliveries) => round,
        };
        if let Err(error) = round {
            // The consumer may be gone with the broker's disk; the relay makes it again.
            consumer = None;
            tracing::warn!(%error, kind = kind.name, "no tickets for now");
            tokio::select! { () = stop.cancelled() => return, () = tokio::time::sleep(PULL_RETRY) => () }
        }
    }
}

/// One pull: waits for a free slot, asks for as many tickets as there are free slots, hands them over.
async fn pull(
    bus: &Bus,
    kind: JobKind,
    consumer: &mut Option<PullConsumer>,
    slots: &Slots,
    deliveries: &mpsc::Sender<Delivery>,
) -> Result<(), BusError> {
    let fault = |message: String| BusError::NoAnswer { subject: kind.name.to_owned(), message };
    let Ok(first) = Arc::clone(&slots.free).acquire_owned().await else { return Ok(()) };
    let mut free = vec![first];
    while free.len() < PULL_LEN_MAX {
        match Arc::clone(&slots.free).try_acquire_owned() {
            Ok(slot) => free.push(slot),
            Err(_) => break,
        }
    }
    let consumer = match consumer {
        Some(consumer) => consumer,
        None => consumer.insert(bus.consumer(kind).await?),
    };
    let mut batch = consumer
        .batch()
        .max_messages(free.len())
        .expires(PULL_EXPIRES)
        .messages()
        .await
        .map_err(|error| fault(error.to_string()))?;
    while let Some(message) = batch.next().await {
        let message = message.map_err(|error| fault(error.to_string()))?;
        let Some(slot) = free.pop() else { break };
        if let Err(unsent) = deliveries.send(Delivery::new(message, slot, &slots.in_hand)).await {
            unsent.0.give_back(AckKind::Nak(None)).await;
        }
    }
    Ok(())
}
