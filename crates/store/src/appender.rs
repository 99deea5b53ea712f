//! Group commit: one task appends for the whole process; while a batch is in flight the next one fills.
//!
//! A lone append goes at once. Streams and command ids of a batch are disjoint, so that commands of one batch can't see
//! each other: a second command on the same stream waits for the next batch.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use crate::append::{Append, Appended};
use crate::error::{AppendError, StoreError};

/// Most elements (events and checks) of one batch.
const BATCH_LEN_MAX: usize = 1_024;
/// Most payload of one batch, in bytes; a single larger command still goes, alone.
const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most commands that wait in this process; beyond it callers are told to come back.
const WAITING_LEN_MAX: usize = 16_384;
/// When such a caller shall come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Longest time for one batch; a frozen database must not hold callers for ever.
const BATCH_TIMEOUT: Duration = Duration::from_secs(30);

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
    let mut held: VecDeque<Pending> = VecDeque::new();
    let mut connection: Option<PgConnection> = None;
    loop {
        let batch = fill(&mut held, &mut waiting).await;
        if batch.is_empty() {
            return;
        }
        let outcome = tokio::time::timeout(BATCH_TIMEOUT, commit(&options, &mut connection, &batch)).await;
        let failure = match outcome {
            Ok(Ok(rows)) => {
                answer(batch, rows);
                continue;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "the database took too long".to_owned(),
        };
        // Whatever state it is in: the next batch gets a fresh one.
        connection = None;
        fail(batch, &failure);
    }
}

/// Commits a batch on the appender's own connection, which is kept from batch to batch.
async fn commit(
    options: &PgConnectOptions,
    connection: &mut Option<PgConnection>,
    batch: &[Pending],
) -> Result<Vec<Row>, sqlx::Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(PgConnection::connect_with(options).await?),
    };
    Arrays::of(batch).call(connection).await
}

/// Waits for the first command, then takes what is there and fits, without waiting for more.
async fn fill(held: &mut VecDeque<Pending>, waiting: &mut mpsc::Receiver<Pending>) -> Vec<Pending> {
    if held.is_empty() {
        match waiting.recv().await {
            Some(first) => held.push_back(first),
            None => return Vec::new(),
        }
    }
    while held.len() < BATCH_LEN_MAX {
        match waiting.try_recv() {
            Ok(pending) => held.push_back(pending),
            Err(_) => break,
        }
    }
    take_disjoint(held)
}

/// Takes from the front what may share a batch; the rest keeps its order.
fn take_disjoint(held: &mut VecDeque<Pending>) -> Vec<Pending> {
    let mut batch: Vec<Pending> = Vec::new();
    let mut streams: HashSet<(i32, Uuid)> = HashSet::new();
    let mut commands: HashSet<(i32, Uuid)> = HashSet::new();
    let (mut len, mut bytes) = (0, 0);
    let mut left = VecDeque::with_capacity(held.len());
    for pending in held.drain(..) {
        let tenant = pending.append.context.tenant.0;
        let fits = batch.is_empty()
            || (len + pending.append.len() <= BATCH_LEN_MAX && bytes + pending.append.bytes() <= BATCH_BYTES_MAX);
        let apart = !commands.contains(&(tenant, pending.append.context.command_id.0))
            && !pending.append.streams.iter().any(|stream| streams.contains(&(tenant, stream.stream_id)));
        // A command that has to wait also holds back later ones on its streams: their order is kept.
        streams.extend(pending.append.streams.iter().map(|stream| (tenant, stream.stream_id)));
        commands.insert((tenant, pending.append.context.command_id.0));
        if fits && apart {
            len += pending.append.len();
            bytes += pending.append.bytes();
            batch.push(pending);
        } else {
            left.push_back(pending);
        }
    }
    *held = left;
    batch
}

type Row = (i32, i16, Option<i64>, Option<i64>, i64);

/// Gives each command its outcome. A caller that has gone away has still been served.
fn answer(batch: Vec<Pending>, rows: Vec<Row>) {
    let mut outcomes: Vec<Option<Row>> = vec![None; batch.len()];
    for row in rows {
        if let Some(place) = usize::try_from(row.0).ok().and_then(|number| outcomes.get_mut(number)) {
            *place = Some(row);
        }
    }
    for (pending, outcome) in batch.into_iter().zip(outcomes) {
        let result = outcome.map_or_else(
            || Err(StoreError::Unknowable("the database gave no outcome".to_owned()).into()),
            |row| read_outcome(&pending.append, row),
        );
        drop(pending.answer.send(result));
    }
}

fn read_outcome(append: &Append, (_, outcome, first, last, version): Row) -> Result<Appended, AppendError> {
    let appended = |duplicate| Appended {
        first_position: first.unwrap_or_default(),
        last_position: last.unwrap_or_default(),
        version,
        duplicate,
    };
    match outcome {
        0 => Ok(appended(false)),
        1 => Ok(appended(true)),
        2 => {
            let unmet = append.streams.iter().find(|stream| !stream.expected.is_met_by(version));
            let expected = unmet.or(append.streams.first()).map_or(crate::Expected::Any, |stream| stream.expected);
            Err(AppendError::Conflict { expected, actual: version })
        }
        3 => Err(AppendError::KeyReused),
        other => Err(StoreError::Unknowable(format!("outcome {other} is not known")).into()),
    }
}

fn fail(batch: Vec<Pending>, message: &str) {
    for pending in batch {
        drop(pending.answer.send(Err(StoreError::Unknowable(message.to_owned()).into())));
    }
}

/// The arguments of `es.append`: one element per event or check.
#[derive(Default)]
struct Arrays {
    command: Vec<i32>,
    command_id: Vec<Uuid>,
    remember: Vec<bool>,
    fingerprint: Vec<Option<Uuid>>,
    tenant: Vec<i32>,
    stream: Vec<Uuid>,
    category: Vec<i16>,
    expected: Vec<i64>,
    nth: Vec<i32>,
    event_id: Vec<Option<Uuid>>,
    type_id: Vec<Option<i16>>,
    payload: Vec<Option<String>>,
    correlation: Vec<Option<Uuid>>,
    causation: Vec<Option<Uuid>>,
    actor: Vec<Option<Uuid>>,
    trace: Vec<Option<String>>,
}

impl Arrays {
    fn of(batch: &[Pending]) -> Self {
        let mut arrays = Self::default();
        for (command, pending) in (0_i32..).zip(batch) {
            for stream in &pending.append.streams {
                if stream.events.is_empty() {
                    arrays.push(command, &pending.append, stream, 1, None);
                }
                for (nth, event) in (1_i32..).zip(&stream.events) {
                    arrays.push(command, &pending.append, stream, nth, Some(event));
                }
            }
        }
        arrays
    }

    fn push(
        &mut self,
        command: i32,
        append: &Append,
        stream: &crate::StreamWrite,
        nth: i32,
        event: Option<&crate::append::NewEvent>,
    ) {
        let context = &append.context;
        self.command.push(command);
        self.command_id.push(context.command_id.0);
        self.remember.push(context.fingerprint.is_some());
        self.fingerprint.push(context.fingerprint);
        self.tenant.push(context.tenant.0);
        self.stream.push(stream.stream_id);
        self.category.push(stream.category.number());
        self.expected.push(stream.expected.code());
        self.nth.push(nth);
        self.event_id.push(event.map(|event| event.event_id));
        self.type_id.push(event.map(|event| event.type_id));
        self.payload.push(event.map(|event| event.payload.clone()));
        self.correlation.push(context.correlation_id);
        self.causation.push(context.causation_id);
        self.actor.push(context.actor.map(|actor| actor.0));
        self.trace.push(context.traceparent.clone());
    }

    async fn call(self, connection: &mut PgConnection) -> Result<Vec<Row>, sqlx::Error> {
        sqlx::query_as(
            "select command, outcome, first_position, last_position, version
             from es.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)",
        )
        .bind(self.command)
        .bind(self.command_id)
        .bind(self.remember)
        .bind(self.fingerprint)
        .bind(self.tenant)
        .bind(self.stream)
        .bind(self.category)
        .bind(self.expected)
        .bind(self.nth)
        .bind(self.event_id)
        .bind(self.type_id)
        .bind(self.payload)
        .bind(self.correlation)
        .bind(self.causation)
        .bind(self.actor)
        .bind(self.trace)
        .fetch_all(connection)
        .await
    }
}
