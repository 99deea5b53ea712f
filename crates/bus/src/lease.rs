//! One delivery of one ticket: kept alive while it is worked on, acknowledged only after its effect is durable.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream::{AckKind, Message};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use pcs_domain::jobs::JobKind;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::{Bus, subjects};

/// How often the broker hears that a ticket is worked on; well below the consumer's `ack_wait` of 15 s.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(5);
/// Longest time to tell the relay that a job is given back.
const HAND_BACK_MAX: Duration = Duration::from_secs(2);
/// When a ticket that could not even be dead-lettered comes back.
const DEAD_LETTER_RETRY: Duration = Duration::from_secs(5);

/// A job in a worker's hands.
#[derive(Clone, Debug)]
pub struct Job {
    /// The ticket, as it was published.
    pub ticket: Bytes,
    /// Whether it was delivered before: somebody may have done it already.
    pub redelivered: bool,
    /// Whether anything is held somewhere: then the job may be too, and the worker has to ask.
    pub ask_first: bool,
}

/// A kind of job, as a worker does it.
pub trait JobHandler: Send + Sync + 'static {
    /// The kind.
    fn kind(&self) -> JobKind;

    /// Does one job. It must have reported its outcome before it answers [`Disposition::Done`]. How long the work may
    /// take is the kind's to say; reporting takes as long as nobody takes the report.
    fn handle(&self, job: Job) -> BoxFuture<'_, Disposition>;

    /// Says what becomes of a ticket whose job panicked; the panic has to be reported like any other failure, or the
    /// ticket would come back for ever.
    fn panicked(&self, ticket: Bytes, message: String) -> BoxFuture<'_, Disposition>;

    /// Gives a job back that could not be finished before the worker has to stop.
    fn hand_back(&self, ticket: Bytes) -> BoxFuture<'_, Disposition>;

    /// Asks which of the runs that it works for are over: the last tokens of their tickets' subjects.
    fn ended_runs(&self) -> BoxFuture<'_, Vec<String>>;
}

/// What becomes of a ticket.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Disposition {
    /// Its effect is durable, or somebody else's is: take it out of the stream.
    Done,
    /// Nothing was done; try again after this time. The ticket stays here: a delivery to somebody else would look as if
    /// this worker were lost.
    Later(Duration),
    /// Nothing was done, and nobody could be told: deliver it again.
    Redeliver,
    /// Nobody can do anything with it: keep it for people to look at.
    Unreadable(String),
}

/// What may stop a job, or change how it begins.
#[derive(Clone)]
pub(crate) struct Orders {
    /// Its run is over.
    pub(crate) cancelled: CancellationToken,
    /// The worker has to stop.
    pub(crate) hand_back: CancellationToken,
    /// Something is held somewhere.
    pub(crate) ask_first: Arc<AtomicBool>,
}

/// A ticket in a worker's hands, with the slot it takes up.
#[derive(Clone)]
pub struct Delivery {
    held: Arc<Held>,
}

struct Held {
    message: Message,
    // Both are given back when the last clone is dropped, so neither can leak.
    _slot: OwnedSemaphorePermit,
    _counted: Counted,
}

/// How many tickets are in a worker's hands; clones count together. Slots would not say: a pull holds those that are free.
#[derive(Clone, Debug, Default)]
pub(crate) struct InHand(Arc<AtomicU32>);

struct Counted(InHand);

impl InHand {
    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    fn count(&self) -> Counted {
        self.0.fetch_add(1, Ordering::Relaxed);
        Counted(self.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for Delivery {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Delivery").field(&self.held.message.subject).finish()
    }
}

impl Delivery {
    pub(crate) fn new(message: Message, slot: OwnedSemaphorePermit, in_hand: &InHand) -> Self {
        Self { held: Arc::new(Held { message, _slot: slot, _counted: in_hand.count() }) }
    }

    fn message(&self) -> &Message {
        &self.held.message
    }

    fn deliveries(&self) -> i64 {
        self.message().info().map_or(1, |info| info.delivered)
    }

    pub(crate) fn id(&self) -> String {
        let sequence = self.message().info().map_or(0, |info| info.stream_sequence);
        format!("{sequence}#{}", self.deliveries())
    }

    pub(crate) fn run_token(&self) -> &str {
        subjects::run_token(&self.message().subject)
    }

    pub(crate) async fn give_back(&self, how: AckKind) {
        // Where this does not arrive, the broker delivers again after `ack_wait`.
        if let Err(error) = self.message().ack_with(how).await {
            tracing::debug!(%error, "the broker did not hear about a ticket");
        }
    }

    /// Does the job under a lease, and tells the broker what becomes of the ticket.
    pub(crate) async fn work(self, bus: Bus, handler: Arc<dyn JobHandler>, orders: Orders) {
        let ticket = self.message().payload.clone();
        let disposition = tokio::select! {
            disposition = self.work_until_done(&handler, &orders) => disposition,
            never = self.keep_alive() => match never {},
            // The run is over: nobody waits for the result, and the call is dropped with the job's task.
            () = orders.cancelled.cancelled() => Disposition::Done,
            () = orders.hand_back.cancelled() => {
                let told = tokio::time::timeout(HAND_BACK_MAX, handler.hand_back(ticket)).await;
                told.unwrap_or(Disposition::Redeliver)
            }
        };
        match disposition {
            Disposition::Done => self.give_back(AckKind::Ack).await,
            Disposition::Later(_) | Disposition::Redeliver => self.give_back(AckKind::Nak(None)).await,
            Disposition::Unreadable(why) => self.dead_letter(&bus, &why).await,
        }
    }

    /// Gives a job back that was pulled and not begun.
    pub(crate) async fn give_up_unbegun(self, handler: Arc<dyn JobHandler>) {
        let told = tokio::time::timeout(HAND_BACK_MAX, handler.hand_back(self.message().payload.clone())).await;
        let ack = if told == Ok(Disposition::Done) { AckKind::Ack } else { AckKind::Nak(None) };
        self.give_back(ack).await;
    }

    async fn work_until_done(&self, handler: &Arc<dyn JobHandler>, orders: &Orders) -> Disposition {
        let mut redelivered = self.deliveries() > 1;
        loop {
            match self.work_once(handler, orders, redelivered).await {
                Disposition::Later(pause) => tokio::time::sleep(pause).await,
                disposition => return disposition,
            }
            redelivered = true;
        }
    }

    async fn work_once(&self, handler: &Arc<dyn JobHandler>, orders: &Orders, redelivered: bool) -> Disposition {
        let ticket = self.message().payload.clone();
        let job = Job { ticket: ticket.clone(), redelivered, ask_first: orders.ask_first.load(Ordering::Relaxed) };
        // A task of its own: a panic stays in it, and it is aborted with us, which plain `tokio::spawn` is not.
        let task = {
            let handler = Arc::clone(handler);
            spawn(async move { handler.handle(job).await })
        };
        match task.await {
            Ok(disposition) => disposition,
            Err(error) => {
                // Without its message, which may quote a case; the report has it where nothing speaks against it.
                tracing::error!(job = handler.kind().name, "a job panicked");
                handler.panicked(ticket, error.to_string()).await
            }
        }
    }

    async fn dead_letter(&self, bus: &Bus, why: &str) {
        let message = self.message();
        tracing::error!(subject = %message.subject, why, "a ticket can't be read");
        // The broker must have the copy before the original goes: the other order can lose it.
        match bus.dead_letter(&message.subject, message.payload.clone(), why).await {
            Ok(()) => self.give_back(AckKind::Term).await,
            Err(_) => self.give_back(AckKind::Nak(Some(DEAD_LETTER_RETRY))).await,
        }
    }

    async fn keep_alive(&self) -> Infallible {
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            self.give_back(AckKind::Progress).await;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "the handle owns the task and aborts it when it is dropped")]
fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(future))
}
