//! Who writes a generation of a projection: one process at a time, by a lease in its row, with an epoch as the fence.
//!
//! A session lock would do without a lease, but not through a pooler of transactions. The lease only says when another
//! may try; what keeps two from writing is the epoch, which every page compares under the row's lock.

use std::time::Duration;

use pcs_domain::ports::{IdSource, System};
use sqlx::PgPool;

use crate::ProjectionError;
use crate::checkpoint;
use crate::generation::Generation;
use crate::status::Status;

/// How long an owner that says nothing stays the owner. A page and an idle look renew it.
pub(crate) const LEASE: Duration = Duration::from_secs(5);
/// When an idle owner renews.
pub(crate) const RENEW_AFTER: Duration = Duration::from_millis(1_500);

/// The right to write a generation, until somebody else takes it.
#[derive(Clone, Debug)]
pub struct Lease {
    name: &'static str,
    generation: Generation,
    pub(crate) epoch: i64,
    /// Changes of hands since the last page that went well, this one included.
    pub(crate) starts: i32,
}

impl Lease {
    /// Takes the lease where nobody has it, or where its owner was silent for longer than it holds; none otherwise.
    ///
    /// A projection that had stopped is tried again by its new owner: that may be a build that can read the event.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn take(
        pool: &PgPool,
        name: &'static str,
        generation: Generation,
    ) -> Result<Option<Self>, ProjectionError> {
        checkpoint::ensure(pool, name, generation).await?;
        let taken: Option<(i64, i32)> = sqlx::query_as(
            "update read.projection set owner = $3, epoch = epoch + 1, starts = starts + 1,
                    lease_until = clock_timestamp() + make_interval(secs => $4),
                    status = case when status <> 'stopped' then status
                                  when generation = 'live' then 'running' else 'building' end
             where (name, generation) in (
                 select name, generation from read.projection
                 where name = $1 and generation = $2
                   and (lease_until is null or lease_until < clock_timestamp())
                 for update skip locked)
             returning epoch, starts",
        )
        .bind(name)
        .bind(generation.name())
        .bind(System.next())
        .bind(LEASE.as_secs_f64())
        .fetch_optional(pool)
        .await?;
        Ok(taken.map(|(epoch, starts)| Self { name, generation, epoch, starts }))
    }

    /// Says that the owner is there; answers how the projection is, or none where another has taken over.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub(crate) async fn renew(&self, pool: &PgPool) -> Result<Option<Status>, ProjectionError> {
        let row = sqlx::query(
            "update read.projection set lease_until = clock_timestamp() + make_interval(secs => $4)
             where name = $1 and generation = $2 and epoch = $3 returning status",
        )
        .bind(self.name)
        .bind(self.generation.name())
        .bind(self.epoch)
        .bind(LEASE.as_secs_f64())
        .fetch_optional(pool)
        .await?;
        Ok(row.as_ref().map(Status::of).transpose()?)
    }

    /// Notes that pages go well again: a process that dies from now on begins to count at one.
    pub(crate) async fn settle(&mut self, pool: &PgPool) -> Result<(), ProjectionError> {
        sqlx::query(
            "update read.projection set starts = 0, suspect_position = null, suspect_starts = 0
             where name = $1 and generation = $2 and epoch = $3",
        )
        .bind(self.name)
        .bind(self.generation.name())
        .bind(self.epoch)
        .execute(pool)
        .await?;
        self.starts = 0;
        Ok(())
    }

    /// Writes down that an event is about to be handled, and answers how many owners it was in front of: what survives the
    /// process counts its deaths. An owner that tries again, because the database failed it, is alive and counts once.
    pub(crate) async fn suspect(&self, pool: &PgPool, position: i64) -> Result<i32, ProjectionError> {
        let counted: Option<i32> = sqlx::query_scalar(
            "update read.projection set suspect_position = $4, suspect_epoch = $3,
                    suspect_starts = case when suspect_position is distinct from $4 then 1
                                          when suspect_epoch = $3 then suspect_starts else suspect_starts + 1 end
             where name = $1 and generation = $2 and epoch = $3 returning suspect_starts",
        )
        .bind(self.name)
        .bind(self.generation.name())
        .bind(self.epoch)
        .bind(position)
        .fetch_optional(pool)
        .await?;
        // Whoever has lost the lease finds out when it writes its page.
        Ok(counted.unwrap_or(1))
    }

    /// Gives it back, so that another need not wait for its end.
    ///
    /// # Errors
    /// Where the database does not answer; the lease ends by itself then.
    pub async fn release(self, pool: &PgPool) -> Result<(), ProjectionError> {
        sqlx::query(
            "update read.projection set owner = null, lease_until = null, starts = 0
             where name = $1 and generation = $2 and epoch = $3",
        )
        .bind(self.name)
        .bind(self.generation.name())
        .bind(self.epoch)
        .execute(pool)
        .await?;
        Ok(())
    }
}
