//! A subscription's handler that remembers what it was given, and answers as a test says.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use pcs_domain::ids::{CommandId, TenantId};
use pcs_domain::prompt_card::{PromptCardEvent, Published};
use pcs_store::{
    Append, CommandContext, Delivery, Expected, Handler, Recorded, Refusal, Signal, Store, Subscription,
    SubscriptionError,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::eventually;

type Answer = dyn Fn(&Recorded, Delivery) -> Result<(), Refusal> + Send + Sync;

/// What was handed over, in the order of the hand-overs that were answered.
pub struct Subscriber {
    seen: Mutex<Vec<(Recorded, Delivery)>>,
    signals: Mutex<Vec<Signal>>,
    pause: Duration,
    answer: Box<Answer>,
}

impl Subscriber {
    /// One that handles everything.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::answering(Duration::ZERO, |_, _| Ok(()))
    }

    /// One that takes its time and answers this way.
    #[must_use]
    pub fn answering(
        pause: Duration,
        answer: impl Fn(&Recorded, Delivery) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { seen: Mutex::default(), signals: Mutex::default(), pause, answer: Box::new(answer) })
    }

    /// What was handled, in order.
    ///
    /// # Panics
    /// When another test thread panicked.
    #[must_use]
    pub fn seen(&self) -> Vec<(Recorded, Delivery)> {
        self.seen.lock().expect("nobody panicked").clone()
    }

    /// The positions of what was handled, in order.
    #[must_use]
    pub fn positions(&self) -> Vec<i64> {
        self.seen().iter().map(|(event, _)| event.position).collect()
    }

    /// The signals, in order.
    ///
    /// # Panics
    /// When another test thread panicked.
    #[must_use]
    pub fn signals(&self) -> Vec<Signal> {
        self.signals.lock().expect("nobody panicked").clone()
    }

    /// Waits until so many events were handled.
    pub async fn has_seen(&self, count: usize) {
        eventually(&format!("{count} events are handled"), || async { (self.seen().len() >= count).then_some(()) })
            .await;
    }
}

impl Handler for Subscriber {
    fn handle<'a>(&'a self, event: &'a Recorded, delivery: Delivery) -> BoxFuture<'a, Result<(), Refusal>> {
        async move {
            tokio::time::sleep(self.pause).await;
            (self.answer)(event, delivery)?;
            self.seen.lock().expect("nobody panicked").push((event.clone(), delivery));
            Ok(())
        }
        .boxed()
    }

    fn signal(&self, signal: Signal) {
        self.signals.lock().expect("nobody panicked").push(signal);
    }
}

/// A share of a subscription that runs.
pub struct Running {
    stop: CancellationToken,
    task: JoinSet<Result<(), SubscriptionError>>,
}

impl Running {
    /// Starts one.
    #[must_use]
    pub fn start(store: &Store, subscription: &Subscription, handler: &Arc<Subscriber>) -> Self {
        let (store, subscription, handler) = (store.clone(), subscription.clone(), Arc::clone(handler));
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        let stopping = stop.clone();
        task.spawn(async move { store.subscribe(subscription, handler, stopping).await });
        Self { stop, task }
    }

    /// Stops it as a process does that is told to.
    pub async fn stop(self) {
        self.stop.cancel();
        self.end().await.expect("it stops without an error");
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// Why it did.
    ///
    /// # Panics
    /// When it panics.
    pub async fn end(mut self) -> Result<(), SubscriptionError> {
        self.task.join_next().await.expect("it runs").expect("it does not panic")
    }

    /// Ends it like a process that is killed: nothing is stored or given back.
    pub fn kill(mut self) {
        self.task.abort_all();
    }
}

/// A subscription for tests: it notices a change of members fast.
#[must_use]
pub fn subscription(name: &str) -> Subscription {
    Subscription { lease: Duration::from_secs(2), ..Subscription::new(name) }
}

/// Appends `count` events to a stream with one command; answers the position of the last.
///
/// # Panics
/// When they are refused.
pub async fn append(store: &Store, stream: Uuid, count: usize) -> i64 {
    let mut append = Append::new(CommandContext::derived(TenantId::DEFAULT, CommandId(Uuid::new_v4())));
    let events = vec![PromptCardEvent::Published(Published {}); count];
    store.write(&mut append, stream, Expected::Any, &events).expect("it can be written");
    store.append(append).await.expect("it is appended").last_position
}

/// Fails where the events of a stream are not numbered from `first` on without gaps and doubles, in this order.
///
/// # Panics
/// Then.
pub fn assert_in_order(seen: &[(Recorded, Delivery)], first: i64) {
    let mut versions: BTreeMap<Uuid, i64> = BTreeMap::new();
    for (event, _) in seen {
        let next = versions.entry(event.stream_id).or_insert(first);
        assert_eq!(event.version, *next, "stream {}: {:?}", event.stream_id, seen.len());
        *next += 1;
    }
}
