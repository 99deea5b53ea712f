//! `cqrs-es` with `postgres-es`: an aggregate, its events in one table, no snapshots and no views.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, AggregateError, DomainEvent};
use postgres_es::PostgresCqrs;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::load::{Appends, Outcome};

/// The table of `postgres-es` 0.5 (`db/init.sql` of that crate), which has no migrator.
const TABLE: &str = "create table if not exists events (
    aggregate_type text not null,
    aggregate_id text not null,
    sequence bigint check (sequence >= 0) not null,
    event_type text not null,
    event_version text not null,
    payload json not null,
    metadata json not null,
    primary key (aggregate_type, aggregate_id, sequence)
)";

#[derive(Default, Deserialize, Serialize)]
struct Order {
    placed: bool,
}

struct Place {
    text: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
enum OrderEvent {
    Placed { text: String },
}

impl DomainEvent for OrderEvent {
    fn event_type(&self) -> String {
        "placed".to_owned()
    }

    fn event_version(&self) -> String {
        "1".to_owned()
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the order was placed before")]
struct PlacedBefore;

impl Aggregate for Order {
    const TYPE: &'static str = "order";
    type Command = Place;
    type Event = OrderEvent;
    type Error = PlacedBefore;
    type Services = ();

    async fn handle(&mut self, command: Place, _: &(), sink: &EventSink<Self>) -> Result<(), PlacedBefore> {
        if self.placed {
            return Err(PlacedBefore);
        }
        sink.write(OrderEvent::Placed { text: command.text }, self).await;
        Ok(())
    }

    fn apply(&mut self, event: OrderEvent) {
        let OrderEvent::Placed { .. } = event;
        self.placed = true;
    }
}

/// The framework, ready for commands.
pub struct Orders(PostgresCqrs<Order>);

impl Orders {
    pub async fn prepare(pool: &PgPool) -> anyhow::Result<Self> {
        sqlx::query(TABLE).execute(pool).await?;
        Ok(Self(postgres_es::postgres_cqrs(pool.clone(), Vec::new(), ())))
    }
}

impl Appends for Orders {
    async fn append(&self, stream: Uuid, text: String) -> anyhow::Result<Outcome> {
        match self.0.execute(&stream.to_string(), Place { text }).await {
            Ok(()) => Ok(Outcome::Acknowledged),
            Err(AggregateError::AggregateConflict) => Ok(Outcome::Refused),
            Err(error) => Err(error.into()),
        }
    }
}
