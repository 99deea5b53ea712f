//! Writes a page in parts, so that one event that can't be applied is found, and the policy decides about it alone.

use std::collections::HashSet;
use std::ops::Range;

use pcs_store::{LogPage, Recorded, Unreadable};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use crate::ProjectionError;
use crate::policy::Policy;
use crate::status::Failure;
use crate::step::{Target, write_rows};

/// An event that must not be handled again, because the process has died of it.
#[derive(Clone, Debug)]
pub(crate) struct Condemned {
    pub(crate) position: i64,
    pub(crate) error: String,
}

/// What became of the parts.
pub(crate) struct Written {
    /// Where the checkpoint may move: in front of the event that stops the projection.
    pub(crate) up_to: i64,
    pub(crate) events: usize,
    /// How many events could not be applied.
    pub(crate) failures: i64,
    /// The event that stops the projection.
    pub(crate) failure: Option<Failure>,
}

/// An event of the page, whether it can be read or not.
#[derive(Clone, Copy)]
enum Item<'a> {
    Readable(&'a Recorded),
    Unreadable(&'a Unreadable),
}

impl<'a> Item<'a> {
    fn position(self) -> i64 {
        match self {
            Self::Readable(recorded) => recorded.position,
            Self::Unreadable(unreadable) => unreadable.position,
        }
    }

    fn lane(self, target: Target<'_>) -> (i32, Uuid) {
        match self {
            Self::Readable(recorded) => (recorded.tenant.0, target.projection.lane(recorded)),
            // What it is about can't be read, so only what comes after it in its own stream can wait for it.
            Self::Unreadable(unreadable) => (unreadable.tenant_id, unreadable.stream_id),
        }
    }

    fn failure(self, error: String) -> Failure {
        let (position, stream_id, version, event_type) = match self {
            Self::Readable(r) => (r.position, r.stream_id, r.version, format!("{}.v{}", r.type_name, r.schema_version)),
            Self::Unreadable(u) => (u.position, u.stream_id, u.version, u.event_type.clone()),
        };
        // PostgreSQL's text holds no NUL, and an error may quote the event.
        let error = crate::storable::text(&error).into_owned();
        Failure { position, stream_id, version, event_type, error, at: None }
    }
}

struct Isolation<'a> {
    target: Target<'a>,
    policy: Policy,
    items: Vec<Item<'a>>,
    /// Lanes with a parked event: what comes after it waits.
    parked: HashSet<(i32, Uuid)>,
    written: Written,
}

/// Writes the events in order, within the caller's transaction. Halves what fails until one event is left, which the
/// policy decides about.
pub(crate) async fn write(
    connection: &mut PgConnection,
    target: Target<'_>,
    policy: Policy,
    page: &LogPage,
    condemned: Option<&Condemned>,
) -> Result<Written, ProjectionError> {
    let mut items: Vec<Item<'_>> = page.events.iter().map(Item::Readable).collect();
    items.extend(page.unreadable.iter().map(Item::Unreadable));
    items.sort_unstable_by_key(|item| item.position());
    let mut isolation = Isolation {
        target,
        policy,
        parked: parked_lanes(connection, target).await?,
        written: Written { up_to: page.up_to, events: 0, failures: 0, failure: None },
        items,
    };
    let whole = 0..isolation.items.len();
    let mut work = vec![whole];
    while let Some(range) = work.pop() {
        if range.is_empty() {
            continue;
        }
        if let Some(at) = isolation.first_hopeless(&range, condemned).filter(|_| range.len() > 1) {
            work.extend([at + 1..range.end, at..at + 1, range.start..at]);
            continue;
        }
        match isolation.attempt(connection, range.clone(), condemned).await? {
            Attempt::Written => (),
            Attempt::Split(middle) => work.extend([middle..range.end, range.start..middle]),
            Attempt::Failed(at, error) => {
                if !isolation.decide(connection, at, error).await? {
                    return Ok(isolation.written);
                }
            }
        }
    }
    Ok(isolation.written)
}

enum Attempt {
    Written,
    Split(usize),
    Failed(usize, String),
}

impl Isolation<'_> {
    /// The first event of a range that need not be tried.
    fn first_hopeless(&self, range: &Range<usize>, condemned: Option<&Condemned>) -> Option<usize> {
        range.clone().find(|at| {
            let item = self.items[*at];
            matches!(item, Item::Unreadable(_)) || condemned.is_some_and(|c| c.position == item.position())
        })
    }

    async fn attempt(
        &mut self,
        connection: &mut PgConnection,
        range: Range<usize>,
        condemned: Option<&Condemned>,
    ) -> Result<Attempt, ProjectionError> {
        let (queued, free): (Vec<usize>, Vec<usize>) =
            range.clone().partition(|at| self.parked.contains(&self.items[*at].lane(self.target)));
        let mut events = Vec::with_capacity(free.len());
        for at in free {
            match self.items[at] {
                Item::Unreadable(unreadable) => return Ok(Attempt::Failed(at, unreadable.error.to_string())),
                Item::Readable(recorded) => match condemned.filter(|c| c.position == recorded.position) {
                    Some(condemned) => return Ok(Attempt::Failed(at, condemned.error.clone())),
                    None => events.push(recorded.clone()),
                },
            }
        }
        let mut savepoint = connection.begin().await?;
        match write_rows(&mut savepoint, self.target, &events).await {
            Ok(()) => savepoint.commit().await?,
            Err(error) if !error.is_of_the_events() => return Err(error),
            Err(error) => {
                savepoint.rollback().await?;
                let middle = range.start + range.len() / 2;
                return Ok(if range.len() == 1 {
                    Attempt::Failed(range.start, error.to_string())
                } else {
                    Attempt::Split(middle)
                });
            }
        }
        self.written.events += events.len();
        // Only now: what comes after an event that stops the projection is read again.
        for at in queued {
            self.set_aside(connection, at, "queued", None).await?;
        }
        Ok(Attempt::Written)
    }

    /// Does what the policy says about an event; answers whether the rest of the page goes on.
    async fn decide(
        &mut self,
        connection: &mut PgConnection,
        at: usize,
        error: String,
    ) -> Result<bool, ProjectionError> {
        self.written.failures += 1;
        let item = self.items[at];
        match self.policy {
            Policy::Stop => {
                self.written.up_to = item.position() - 1;
                self.written.failure = Some(item.failure(error));
                return Ok(false);
            }
            Policy::ParkStream => {
                self.set_aside(connection, at, "parked", Some(error)).await?;
                self.parked.insert(item.lane(self.target));
            }
            Policy::Skip => self.set_aside(connection, at, "skipped", Some(error)).await?,
        }
        Ok(true)
    }

    async fn set_aside(
        &self,
        connection: &mut PgConnection,
        at: usize,
        state: &'static str,
        error: Option<String>,
    ) -> Result<(), ProjectionError> {
        let item = self.items[at];
        let (tenant_id, lane) = item.lane(self.target);
        let attempts = i32::from(error.is_some());
        let failure = item.failure(error.clone().unwrap_or_default());
        sqlx::query(
            "insert into read.bad_event (name, generation, position, lane, tenant_id, stream_id, version, event_type,
                                         state, error, attempts)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(self.target.projection.name())
        .bind(self.target.generation.name())
        .bind(failure.position)
        .bind(lane)
        .bind(tenant_id)
        .bind(failure.stream_id)
        .bind(failure.version)
        .bind(failure.event_type)
        .bind(state)
        .bind(error.map(|_| failure.error))
        .bind(attempts)
        .execute(connection)
        .await?;
        Ok(())
    }
}

async fn parked_lanes(
    connection: &mut PgConnection,
    target: Target<'_>,
) -> Result<HashSet<(i32, Uuid)>, ProjectionError> {
    let lanes: Vec<(i32, Uuid)> = sqlx::query_as(
        "select distinct tenant_id, lane from read.bad_event
         where name = $1 and generation = $2 and state <> 'skipped'",
    )
    .bind(target.projection.name())
    .bind(target.generation.name())
    .fetch_all(connection)
    .await?;
    Ok(lanes.into_iter().collect())
}
