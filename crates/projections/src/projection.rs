//! What a read model is: how events change its tables, and which events concern it.

use std::pin::Pin;

use pcs_domain::{Category, EventType};
use pcs_store::{Recorded, Subscribed};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::{Policy, ProjectionError};

/// A future behind a pointer, so that a projection can be a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A read model: how a page of events changes its tables.
pub trait Projection: Send + Sync {
    /// `<what the reader sees>.v<version>`, also the name of its checkpoint.
    fn name(&self) -> &'static str;

    /// All tables that it writes, without their schema. No other projection writes them.
    fn tables(&self) -> &'static [&'static str];

    /// The categories whose events it uses. An event of another one that this build can't read, most likely of a newer
    /// build, is passed by; one of these stops the projection.
    fn categories(&self) -> &'static [Category];

    /// Types of these categories that it passes over all the same: they never leave the database.
    fn ignored(&self) -> &'static [EventType] {
        &[]
    }

    /// What it asks the log for. Its checkpoint passes the rest as well.
    fn subscribed(&self) -> Subscribed {
        Subscribed { categories: self.categories(), ignored: self.ignored() }
    }

    /// Writes what a page of consecutive events changes. The caller commits it together with the checkpoint, so each
    /// event is applied once. Tables are named without a schema: the search path says which generation is written.
    fn apply<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>>;

    /// Tables that only grow, and that [`Projection::load`] fills without their keys; these are made after it.
    fn late_keys(&self) -> &'static [&'static str] {
        &[]
    }

    /// As [`Projection::apply`], into tables that are read by nobody yet, and without the keys of `late_keys`.
    fn load<'a>(
        &'a self,
        connection: &'a mut PgConnection,
        batch: &'a [Recorded],
    ) -> BoxFuture<'a, Result<(), ProjectionError>> {
        self.apply(connection, batch)
    }

    /// What an event is about, within its tenant: when it can't be applied and is parked, later ones of the same lane
    /// wait for it. Its stream, unless rows are made from several streams.
    fn lane(&self, recorded: &Recorded) -> Uuid {
        recorded.stream_id
    }

    /// What is done with an event that can't be applied, until somebody sets another policy.
    fn policy(&self) -> Policy {
        Policy::Stop
    }
}
