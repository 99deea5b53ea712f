//! Group commit: one task appends for the whole process; while a batch is in flight the next one fills.
//!
//! A lone append goes at once. Streams and command ids of a batch are disjoint, so that commands of one batch can't see
//! each other: a second command on the same stream waits for the next batch ([`queue`]). A batch goes to the log as it
//! is ([`commit`]); only where the log is not as expected it is judged command by command ([`judge`]).

mod commit;
pub(crate) mod judge;
mod queue;

use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::PgConnectOptions;
use tokio::sync::{mpsc, oneshot};

use self::commit::Session;
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
/// Longest time for one batch; a frozen database must not hold callers for ever.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);
/// How many batches are judged at once after one was not as expected: while streams are contended, a first try is lost.
const JUDGED_AFTER_SURPRISE: u8 = 8;

/// A command that waits for its batch.
pub(crate) struct Pending {
    pub(crate) append: Append,
    pub(crate) answer: oneshot::Sender<Result<Appended, AppendError>>,
}

/// The way to the appender task; the task ends when all of these are gone.
pub(crate) struct Appender {
    queue: mpsc::Sender<Pending>,
}

impl Appender {
    /// Starts the appender on a thread of its own: among the tasks of the process its turn would come after those of
    /// all callers that the last batch has woken, and the database would wait (docs/decisions/0011).
    pub(crate) fn start(options: PgConnectOptions) -> Result<Self, StoreError> {
        let (queue, waiting) = mpsc::channel(WAITING_LEN_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(sqlx::Error::Io)?;
        let thread = std::thread::Builder::new().name("appender".to_owned());
        // Not joined: it ends by itself when the last handle of the store is dropped.
        thread.spawn(move || runtime.block_on(run(options, waiting))).map_err(sqlx::Error::Io)?;
        Ok(Self { queue })
    }

    pub(crate) fn submit(&self, pending: Pending) -> Result<(), AppendError> {
        self.queue.try_send(pending).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AppendError::Overloaded { retry_after: RETRY_AFTER },
            mpsc::error::TrySendError::Closed(_) => AppendError::Store(StoreError::Closed),
        })
    }
}

async fn run(options: PgConnectOptions, mut waiting: mpsc::Receiver<Pending>) {
    let mut queue = Queue::default();
    let mut session = Session::new(options);
    let mut judged_next = 0_u8;
    while queue.fill(&mut waiting).await {
        let batch = queue.take_batch();
        let plain = judged_next == 0 && batch.iter().all(|pending| pending.append.is_placed());
        judged_next = judged_next.saturating_sub(1);
        let outcome = tokio::time::timeout(BATCH_TIMEOUT, settle(&mut session, &batch, plain)).await;
        let failure = match outcome {
            Ok(Ok(settled)) => {
                if settled.surprise {
                    judged_next = JUDGED_AFTER_SURPRISE;
                }
                answer(batch, settled.outcomes);
                continue;
            }
            Ok(Err(error)) => error,
            Err(_) => StoreError::Unknowable("the database took too long".to_owned()),
        };
        // Whatever state it is in: the next batch gets a fresh one.
        session.forget();
        fail(batch, &failure);
    }
}

/// What became of a batch.
struct Settled {
    /// One outcome per command, in the batch's order.
    outcomes: Vec<Result<Appended, AppendError>>,
    /// Whether something was not as the commands expected.
    surprise: bool,
}

/// Commits a batch: as it is where `plain`, else, or where something is in its way, command by command.
async fn settle(session: &mut Session, batch: &[Pending], plain: bool) -> Result<Settled, StoreError> {
    let connection: &mut PgConnection = session.connection().await?;
    if plain {
        let all: Vec<&Append> = batch.iter().map(|pending| &pending.append).collect();
        if let Some(outcomes) = commit::as_it_is(connection, &all).await? {
            return Ok(Settled { outcomes: outcomes.into_iter().map(Ok).collect(), surprise: false });
        }
    }
    let outcomes = judge::one_by_one(connection, batch).await?;
    Ok(Settled { outcomes, surprise: plain })
}

/// Gives each command its outcome. A caller that has gone away has still been served.
fn answer(batch: Vec<Pending>, outcomes: Vec<Result<Appended, AppendError>>) {
    for (pending, outcome) in batch.into_iter().zip(outcomes) {
        drop(pending.answer.send(outcome));
    }
}

fn fail(batch: Vec<Pending>, failure: &StoreError) {
    for pending in batch {
        let failure = match failure {
            StoreError::ReadOnly => StoreError::ReadOnly,
            other => StoreError::Unknowable(other.to_string()),
        };
        drop(pending.answer.send(Err(failure.into())));
    }
}
