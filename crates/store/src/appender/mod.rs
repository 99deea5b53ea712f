//! Group commit: one task appends for the whole process; while a batch is in flight the next one fills.
//!
//! A command that finds no other under way goes at once, by its own caller: handing it to the appender's thread and the
//! answer back would wake two threads more (docs/decisions/0032). Streams and command ids of a batch are disjoint, so
//! that commands of one batch can't see each other: a second command on the same stream waits for the next batch
//! ([`queue`]). A batch goes to the log as it is ([`commit`]); only where the log is not as expected it is judged command
//! by command ([`judge`]).

mod commit;
mod committer;
pub(crate) mod judge;
mod queue;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use tokio::sync::{Mutex, mpsc, oneshot};

use self::committer::{Committer, Outcomes};
use self::queue::Queue;
use crate::append::{Append, Appended};
use crate::error::{AppendError, StoreError};

/// Most elements (events and checks) of one batch.
const BATCH_LEN_MAX: usize = 1_024;
/// Most payload of one batch, in bytes; a single larger command still goes, alone.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most commands that wait in the channel; beyond it callers are told to come back.
const WAITING_LEN_MAX: usize = 16_384;
/// Most commands that the appender holds back because others on their streams go first.
const HELD_LEN_MAX: usize = 16_384;
/// When a caller who was turned away shall come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A command that waits for its batch.
struct Pending {
    append: Append,
    answer: oneshot::Sender<Result<Appended, AppendError>>,
}

/// The way into the log for all callers of a process; the appender's task ends when it is gone.
pub(crate) struct Appender {
    queue: mpsc::Sender<Pending>,
    /// Commands that have not been answered.
    under_way: AtomicUsize,
    /// For the command that is alone under way.
    alone: Mutex<Committer>,
}

impl Appender {
    /// Starts the appender on a thread of its own: among the tasks of the process its turn would come after those of
    /// all callers that the last batch has woken, and the database would wait (docs/decisions/0011).
    pub(crate) fn start(options: PgConnectOptions) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(WAITING_LEN_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(sqlx::Error::Io)?;
        let thread = std::thread::Builder::new().name("appender".to_owned());
        let (together, alone) = (Committer::new(options.clone()), Mutex::new(Committer::new(options)));
        // Not joined: it ends by itself when the last handle of the store is dropped.
        thread.spawn(move || runtime.block_on(run(together, waiting))).map_err(sqlx::Error::Io)?;
        Ok(Self { queue, under_way: AtomicUsize::new(0), alone })
    }

    /// Appends one command, with others that come at the same time; answers when it is durable.
    pub(crate) async fn append(&self, append: Append) -> Result<Appended, AppendError> {
        let under_way = UnderWay::enter(&self.under_way);
        if under_way.alone
            && let Ok(mut committer) = self.alone.try_lock()
        {
            let outcome = committer.settle(&[&append]).await.map_err(|failure| unknowable(&failure))?.pop();
            return outcome.unwrap_or_else(|| Err(StoreError::Closed.into()));
        }
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Pending { append, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::Overloaded { retry_after: RETRY_AFTER },
            mpsc::error::TrySendError::Closed(_) => AppendError::Store(StoreError::Closed),
        })?;
        answered.await.map_err(|_| StoreError::Closed)?
    }
}

/// Counts a command while it is under way.
struct UnderWay<'a> {
    count: &'a AtomicUsize,
    /// Whether there was no other when it began.
    alone: bool,
}

impl<'a> UnderWay<'a> {
    fn enter(count: &'a AtomicUsize) -> Self {
        Self { count, alone: count.fetch_add(1, Ordering::Relaxed) == 0 }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run(mut committer: Committer, mut waiting: mpsc::Receiver<Pending>) {
    let mut queue = Queue::default();
    let mut done = None;
    loop {
        let batch = queue.next_batch(&mut waiting);
        if batch.is_empty() {
            answer(done.take());
            if queue.fill(&mut waiting).await {
                continue;
            }
            return;
        }
        let appends: Vec<&Append> = batch.iter().map(|pending| &pending.append).collect();
        // The callers of the last batch are answered while the database works on this one: waking them takes time.
        let (outcomes, ()) = tokio::join!(biased; committer.settle(&appends), async { answer(done.take()) });
        done = Some((batch, outcomes));
    }
}

/// Gives each command its outcome. A caller that has gone away has still been served.
fn answer(done: Option<(Vec<Pending>, Result<Outcomes, StoreError>)>) {
    let Some((batch, outcomes)) = done else { return };
    match outcomes {
        Ok(outcomes) => {
            for (pending, outcome) in batch.into_iter().zip(outcomes) {
                drop(pending.answer.send(outcome));
            }
        }
        Err(failure) => {
            for pending in batch {
                drop(pending.answer.send(Err(unknowable(&failure))));
            }
        }
    }
}

/// What a command is told whose batch failed.
fn unknowable(failure: &StoreError) -> AppendError {
    let failure = match failure {
        StoreError::ReadOnly => StoreError::ReadOnly,
        other => StoreError::Unknowable(other.to_string()),
    };
    failure.into()
}
