//! The way into the log: a connection for appends, and one call of `es.append` for all commands of a batch.

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions};
use sqlx::{Arguments, Connection, PgConnection};
use uuid::Uuid;

use crate::append::{Append, Appended, NewEvent, Place, StreamWrite};
use crate::chain::{Hash, batch_digest};
use crate::error::StoreError;

/// Longest statement; above it the server gives the batch up.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(25);
/// Longest wait for the head, which another process holds while it appends.
const LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a batch may be half way while this process says nothing: a frozen appender must not stop all others.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);
/// Parameters of `es.append`.
const PARAMETERS: usize = 32;
/// What an event takes beside its payload in the message to the server, in bytes: only an estimate, so that the message
/// need not grow.
const BYTES_BESIDE_PAYLOAD: usize = 400;
/// What PostgreSQL says where a key is there already, and what `es.append` says where a stream has moved.
const SURPRISES: [&str; 2] = ["23505", "40001"];
/// What PostgreSQL says where it does not take writes (any more).
const READ_ONLY: &str = "25006";

/// A connection for appends, which is kept from batch to batch.
pub(super) struct Session {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Session {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        let milliseconds = |limit: Duration| limit.as_millis().to_string();
        let options = options.options([
            ("default_transaction_isolation", "read committed".to_owned()),
            ("statement_timeout", milliseconds(STATEMENT_TIMEOUT)),
            ("lock_timeout", milliseconds(LOCK_TIMEOUT)),
            ("idle_in_transaction_session_timeout", milliseconds(IDLE_TIMEOUT)),
        ]);
        // A plan that was cached while the tables were empty must not scan them for ever (measured: 12,000 appends/s
        // instead of 57,000 at 256 callers).
        let options =
            options.options(["enable_seqscan", "enable_hashjoin", "enable_mergejoin", "jit"].map(|on| (on, "off")));
        Self { options, connection: None }
    }

    /// The connection, made where there is none; the caller gives it back with [`Session::keep`] if it is as it was.
    /// A server that does not take writes is not kept: after a failover the former primary may answer first.
    pub(super) async fn take(&mut self) -> Result<PgConnection, StoreError> {
        if let Some(kept) = self.connection.take() {
            return Ok(kept);
        }
        let mut fresh = PgConnection::connect_with(&self.options).await?;
        let read_only: bool =
            sqlx::query_scalar("select pg_is_in_recovery() or current_setting('default_transaction_read_only')::bool")
                .fetch_one(&mut fresh)
                .await?;
        if read_only { Err(StoreError::ReadOnly) } else { Ok(fresh) }
    }

    /// Keeps the connection for the next batch.
    pub(super) fn keep(&mut self, connection: PgConnection) {
        self.connection = Some(connection);
    }
}

/// Appends all commands as they say, or nothing: then something is not as they expect.
pub(super) async fn as_it_is(
    connection: &mut PgConnection,
    batch: &[&Append],
) -> Result<Option<Vec<Appended>>, StoreError> {
    let mut arrays = Arrays::default();
    for append in batch {
        arrays.push(append);
    }
    let spans = std::mem::take(&mut arrays.spans);
    match arrays.call(connection).await {
        Ok(last_given) => {
            let appended = |span: &Span| Appended {
                first_position: last_given + i64::from(span.first),
                last_position: last_given + i64::from(span.last),
                version: span.version,
                duplicate: false,
            };
            Ok(Some(spans.iter().map(appended).collect()))
        }
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| SURPRISES.contains(&&*code)) => Ok(None),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == READ_ONLY) => {
            Err(StoreError::ReadOnly)
        }
        Err(error) => Err(error.into()),
    }
}

/// Where a command's events stand in the batch, from 1, and the version that its first stream comes to.
struct Span {
    first: i32,
    last: i32,
    version: i64,
}

/// The arguments of `es.append`; the names are its own.
#[derive(Default)]
struct Arrays<'a> {
    spans: Vec<Span>,
    tenant: Vec<i32>,
    stream: Vec<Uuid>,
    category: Vec<i16>,
    stream_no: Vec<Option<i64>>,
    version: Vec<i64>,
    nth: Vec<i32>,
    event_id: Vec<Uuid>,
    type_id: Vec<i16>,
    command_id: Vec<Uuid>,
    correlation: Vec<Option<Uuid>>,
    causation: Vec<Option<Uuid>>,
    actor: Vec<Option<Uuid>>,
    trace: Vec<Option<&'a str>>,
    hash: Vec<&'a [u8]>,
    payload: Vec<&'a str>,
    new: NewStreams<'a>,
    moved: MovedStreams<'a>,
    remembered: Remembered,
}

#[derive(Default)]
struct NewStreams<'a> {
    tenant: Vec<i32>,
    stream: Vec<Uuid>,
    category: Vec<i16>,
    place: Vec<i32>,
    version: Vec<i64>,
    hash: Vec<&'a [u8]>,
}

#[derive(Default)]
struct MovedStreams<'a> {
    tenant: Vec<i32>,
    stream: Vec<Uuid>,
    expected: Vec<i64>,
    version: Vec<i64>,
    hash: Vec<&'a [u8]>,
}

#[derive(Default)]
struct Remembered {
    tenant: Vec<i32>,
    id: Vec<Uuid>,
    fingerprint: Vec<Uuid>,
    first: Vec<i32>,
    last: Vec<i32>,
}

/// An array that has only nulls may be empty: it is then not sent and not taken apart.
fn or_empty<T>(array: Vec<Option<T>>) -> Vec<Option<T>> {
    if array.iter().all(Option::is_none) { Vec::new() } else { array }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a batch is far below i32::MAX")]
fn place(len: usize) -> i32 {
    len as i32
}

impl<'a> Arrays<'a> {
    fn push(&mut self, append: &'a Append) {
        let first = place(self.event_id.len()) + 1;
        for stream in &append.streams {
            if let (Some(at), false) = (&stream.place, stream.events.is_empty()) {
                self.push_stream(append, stream, at);
            }
        }
        let last = place(self.event_id.len());
        let version = append.streams.first().map_or(0, |stream| {
            stream.place.as_ref().map_or(0, |at| at.version) + i64::from(place(stream.events.len()))
        });
        if let Some(fingerprint) = append.context.fingerprint.filter(|_| last >= first) {
            self.remembered.tenant.push(append.context.tenant.0);
            self.remembered.id.push(append.context.command_id.0);
            self.remembered.fingerprint.push(fingerprint);
            self.remembered.first.push(first);
            self.remembered.last.push(last);
        }
        self.spans.push(Span { first, last, version });
    }

    fn push_stream(&mut self, append: &'a Append, stream: &'a StreamWrite, at: &'a Place) {
        let tenant = append.context.tenant.0;
        let to = at.version + i64::from(place(stream.events.len()));
        let newest: &[u8] = at.hashes.last().map_or(&[], |hash| hash);
        if at.stream_no.is_none() {
            self.new.tenant.push(tenant);
            self.new.stream.push(stream.stream_id);
            self.new.category.push(stream.category.number());
            self.new.place.push(place(self.event_id.len()) + 1);
            self.new.version.push(to);
            self.new.hash.push(newest);
        } else {
            self.moved.tenant.push(tenant);
            self.moved.stream.push(stream.stream_id);
            self.moved.expected.push(at.version);
            self.moved.version.push(to);
            self.moved.hash.push(newest);
        }
        for ((nth, event), hash) in (1_i32..).zip(&stream.events).zip(&at.hashes) {
            self.push_event(append, stream, (at, nth), event, hash);
        }
    }

    fn push_event(
        &mut self,
        append: &'a Append,
        stream: &StreamWrite,
        (at, nth): (&Place, i32),
        event: &'a NewEvent,
        hash: &'a Hash,
    ) {
        let context = &append.context;
        self.tenant.push(context.tenant.0);
        self.stream.push(stream.stream_id);
        self.category.push(stream.category.number());
        self.stream_no.push(at.stream_no);
        self.version.push(at.version + i64::from(nth));
        self.nth.push(nth);
        self.event_id.push(event.event_id);
        self.type_id.push(event.type_id);
        self.command_id.push(context.command_id.0);
        self.correlation.push(context.correlation_id);
        self.causation.push(context.causation_id);
        self.actor.push(context.actor.map(|actor| actor.0));
        self.trace.push(context.traceparent.as_deref());
        self.hash.push(hash);
        self.payload.push(&event.payload);
    }

    /// Answers the last position that was given out before this batch.
    async fn call(self, connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
        let hashes = batch_digest(self.hash.iter().copied());
        let mut arguments = PgArguments::default();
        let payloads: usize = self.payload.iter().map(|payload| payload.len()).sum();
        arguments.reserve(PARAMETERS, payloads + self.payload.len() * BYTES_BESIDE_PAYLOAD);
        sqlx::query_scalar_with(
            "select es.append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
                              $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32)",
            arguments,
        )
        .bind(self.tenant)
        .bind(self.stream)
        .bind(self.category)
        .bind(or_empty(self.stream_no))
        .bind(self.version)
        .bind(self.nth)
        .bind(self.event_id)
        .bind(self.type_id)
        .bind(self.command_id)
        .bind(or_empty(self.correlation))
        .bind(or_empty(self.causation))
        .bind(or_empty(self.actor))
        .bind(or_empty(self.trace))
        .bind(self.hash)
        .bind(self.payload)
        .bind(hashes.as_slice())
        .bind(self.new.tenant)
        .bind(self.new.stream)
        .bind(self.new.category)
        .bind(self.new.place)
        .bind(self.new.version)
        .bind(self.new.hash)
        .bind(self.moved.tenant)
        .bind(self.moved.stream)
        .bind(self.moved.expected)
        .bind(self.moved.version)
        .bind(self.moved.hash)
        .bind(self.remembered.tenant)
        .bind(self.remembered.id)
        .bind(self.remembered.fingerprint)
        .bind(self.remembered.first)
        .bind(self.remembered.last)
        .fetch_one(connection)
        .await
    }
}
