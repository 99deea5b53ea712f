//! A read model built anew beside the living one: loaded in bulk, caught up, compared, and swapped in at once.

mod pipeline;
mod shadow;
mod swap;
mod tables;

use std::time::Duration;

use pcs_store::Store;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

pub use self::shadow::{Compared, TableCompared, shadow};
pub use self::swap::{drop_generation, promote, rollback};
use crate::generation::Generation;
use crate::lease::{Lease, RENEW_AFTER};
use crate::policy::Policy;
use crate::status::Status;
use crate::step::{self, Outcome, Stepped, Target, Write};
use crate::{ControlError, Projection, checkpoint, control};

/// How a read model is built.
#[derive(Clone, Copy, Debug)]
pub struct RebuildConfig {
    /// Most positions of one page, and so of one transaction.
    pub page_len: i64,
    /// Whether a build that was begun is thrown away instead of gone on with.
    pub restart: bool,
    /// What is done with an event that can't be applied; none leaves it as it was, or to the projection.
    pub policy: Option<Policy>,
}

impl Default for RebuildConfig {
    fn default() -> Self {
        Self { page_len: 10_000, restart: false, policy: None }
    }
}

/// What a build is at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BuildPhase {
    /// The history is loaded.
    Loading,
    /// Keys and indexes are made.
    Keys,
    /// What was appended meanwhile is applied.
    CatchingUp,
}

/// How far a build is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BuildProgress {
    /// What it is at.
    pub phase: BuildPhase,
    /// The last position that it has.
    pub position: i64,
    /// The position of the newest event of the log, as it was when the build was begun or gone on with.
    pub head: i64,
}

/// How a build ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BuildEnd {
    /// It has everything up to this position and can be promoted.
    Ready(i64),
    /// Somebody has paused it here; it can be gone on with.
    Paused(i64),
    /// It stopped in front of an event that can't be applied; its state says which.
    Stopped(i64),
    /// It was cancelled here; it can be gone on with.
    Cancelled(i64),
}

/// What a build works with.
struct Build<'a> {
    store: &'a Store,
    projection: &'a dyn Projection,
    lease: Lease,
    config: RebuildConfig,
    stop: CancellationToken,
    head: i64,
    progress: &'a (dyn Fn(BuildProgress) + Sync),
}

/// Builds the next generation of a projection from the whole history, or goes on where an earlier build was left. The
/// living one is read and kept up meanwhile. Cancelling ends it after the page that is being written.
///
/// # Errors
/// [`ControlError::Busy`] where another process builds it; else where the log can't be read or a table can't be
/// written: what was committed stays, and the build can be gone on with.
pub async fn rebuild(
    store: &Store,
    projection: &dyn Projection,
    config: RebuildConfig,
    stop: CancellationToken,
    progress: &(dyn Fn(BuildProgress) + Sync),
) -> Result<BuildEnd, ControlError> {
    let name = projection.name();
    let taken = Lease::take(store.pool(), name, Generation::Next).await?;
    let lease = taken.ok_or_else(|| ControlError::Busy { name: name.to_owned() })?;
    let stop = stop.child_token();
    let keep = keep_lease(store, &lease, &stop);
    let head = store.head().await?;
    let build = Build { store, projection, lease, config, stop, head, progress };
    let ended = build.run().await;
    drop(keep);
    build.lease.release(store.pool()).await?;
    ended
}

/// Keeps a lease while a statement takes longer than it lasts, such as the one that makes an index.
fn keep_lease(store: &Store, lease: &Lease, stop: &CancellationToken) -> AbortOnDropHandle<()> {
    let (pool, lease, stop) = (store.pool().clone(), lease.clone(), stop.clone());
    spawn(async move {
        loop {
            tokio::time::sleep(RENEW_AFTER).await;
            // A database that does not answer ends the build by itself.
            if matches!(lease.renew(&pool).await, Ok(None)) {
                return stop.cancel();
            }
        }
    })
}

/// The one place where a build starts tasks: each ends with its handle.
#[expect(clippy::disallowed_methods, reason = "the handle owns the task and ends it")]
fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> AbortOnDropHandle<T> {
    AbortOnDropHandle::new(tokio::spawn(future))
}

impl Build<'_> {
    async fn run(&self) -> Result<BuildEnd, ControlError> {
        let pool = self.store.pool();
        if self.config.restart {
            tables::start_over(pool, self.projection).await?;
        }
        control::resume_build(self.store, self.projection).await?;
        if self.config.policy.is_some() {
            control::set_policy(self.store, self.projection, Generation::Next, self.config.policy).await?;
        }
        tables::create_missing(pool, self.projection).await?;
        let mut keys = tables::missing_keys(pool, self.projection).await?;
        if !keys.is_empty() {
            if let Some(end) = self.pages(Write::Load, BuildPhase::Loading).await? {
                return Ok(end);
            }
            keys = tables::missing_keys(pool, self.projection).await?;
            self.tell(BuildPhase::Keys, self.position().await?);
            for key in keys {
                if self.stop.is_cancelled() {
                    return Ok(BuildEnd::Cancelled(self.position().await?));
                }
                tables::add_key(pool, &key).await?;
            }
            tables::finish(pool, self.projection).await?;
        }
        if let Some(end) = self.pages(Write::Apply, BuildPhase::CatchingUp).await? {
            return Ok(end);
        }
        self.ready().await
    }

    /// Writes pages until one reaches the head; answers how the build ended if it did not get there.
    async fn pages(&self, write: Write, phase: BuildPhase) -> Result<Option<BuildEnd>, ControlError> {
        let target = Target { projection: self.projection, generation: Generation::Next, write };
        let position = self.position().await?;
        self.tell(phase, position);
        let mut reader = pipeline::Reader::start(self.store, self.projection, position, self.config.page_len);
        let mut expected = step::Expected { position, epoch: self.lease.epoch };
        let mut connection = self.store.pool().acquire().await?;
        // A COPY that is cut off leaves its connection between two messages: nobody else may have it.
        connection.close_on_drop();
        // A page is written with its checkpoint, so a crash loses both or none; the last commit of a build waits for all.
        sqlx::query("set synchronous_commit = off").execute(&mut *connection).await?;
        loop {
            if self.stop.is_cancelled() {
                return Ok(Some(BuildEnd::Cancelled(expected.position)));
            }
            let Some(page) = reader.next().await? else { return Ok(None) };
            let stepped = step::write_page_over(&mut connection, target, expected, &page, None).await?;
            if let Some(end) = ended(&stepped) {
                return Ok(Some(end));
            }
            self.tell(phase, stepped.position);
            expected.position = stepped.position;
            if stepped.position < page.up_to {
                return Ok(Some(BuildEnd::Stopped(stepped.position)));
            }
        }
    }

    async fn ready(&self) -> Result<BuildEnd, ControlError> {
        let position: Option<i64> = sqlx::query_scalar(
            "update read.projection set status = $3
             where name = $1 and generation = 'next' and epoch = $2 and status = 'building' returning position",
        )
        .bind(self.projection.name())
        .bind(self.lease.epoch)
        .bind(Status::Ready.name())
        .fetch_optional(self.store.pool())
        .await?;
        match position {
            Some(position) => Ok(BuildEnd::Ready(position)),
            None => Ok(BuildEnd::Paused(self.position().await?)),
        }
    }

    async fn position(&self) -> Result<i64, ControlError> {
        let read = checkpoint::read(self.store.pool(), self.projection.name(), Generation::Next).await?;
        Ok(read.map_or(0, |checkpoint| checkpoint.position))
    }

    fn tell(&self, phase: BuildPhase, position: i64) {
        (self.progress)(BuildProgress { phase, position, head: self.head });
    }
}

/// How a build ends when its page was refused.
fn ended(stepped: &Stepped) -> Option<BuildEnd> {
    match stepped.outcome {
        Outcome::Moved | Outcome::AtRest => None,
        Outcome::Standing(Status::Stopped) => Some(BuildEnd::Stopped(stepped.position)),
        Outcome::Standing(_) => Some(BuildEnd::Paused(stepped.position)),
        // Another process has taken over, or has begun anew.
        Outcome::Overtaken | Outcome::Rewound | Outcome::Fenced => Some(BuildEnd::Cancelled(stepped.position)),
    }
}

/// How long a swap waits for readers that hold the tables, before it lets the others pass and tries again.
const LOCK_WAIT: Duration = Duration::from_secs(2);
