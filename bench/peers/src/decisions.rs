//! `disintegrate` with `disintegrate-postgres`: a decision on the events of one order, no snapshots.

use disintegrate::serde::json::Json;
use disintegrate::{Decision, DecisionError, Event, NoSnapshot, StateMutate, StateQuery};
use disintegrate_postgres::{Error, PgDecisionMaker, PgEventStore};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use crate::load::{Appends, Outcome};

#[derive(Clone, Debug, Deserialize, Event, PartialEq, Serialize)]
enum OrderEvent {
    Placed {
        #[id]
        order_id: String,
        text: String,
    },
}

#[derive(Clone, Deserialize, Serialize, StateQuery)]
#[state_query(OrderEvent)]
struct Order {
    #[id]
    order_id: String,
    placed: bool,
}

impl StateMutate for Order {
    fn mutate(&mut self, event: OrderEvent) {
        let OrderEvent::Placed { .. } = event;
        self.placed = true;
    }
}

struct Place {
    order_id: String,
    text: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the order was placed before")]
struct PlacedBefore;

impl Decision for Place {
    type Event = OrderEvent;
    type StateQuery = Order;
    type Error = PlacedBefore;

    fn state_query(&self) -> Order {
        Order { order_id: self.order_id.clone(), placed: false }
    }

    fn process(&self, state: &Order) -> Result<Vec<OrderEvent>, PlacedBefore> {
        if state.placed {
            return Err(PlacedBefore);
        }
        Ok(vec![OrderEvent::Placed { order_id: self.order_id.clone(), text: self.text.clone() }])
    }
}

/// The decision maker, ready for decisions.
pub struct Orders(PgDecisionMaker<OrderEvent, Json<OrderEvent>, NoSnapshot>);

impl Orders {
    pub async fn prepare(pool: &PgPool) -> anyhow::Result<Self> {
        let events = PgEventStore::try_new(pool.clone(), Json::<OrderEvent>::default()).await?;
        mend_literal(pool).await?;
        Ok(Self(disintegrate_postgres::decision_maker(events, NoSnapshot)))
    }
}

/// Lets it run on PostgreSQL 15, which does not know hexadecimal numbers: the same function with the same number.
async fn mend_literal(pool: &PgPool) -> anyhow::Result<()> {
    let function: String = sqlx::query_scalar(
        "select replace(pg_get_functiondef('event_store_begin_epoch'::regproc), '0xFFFFFFFF', '4294967295')",
    )
    .fetch_one(pool)
    .await?;
    sqlx::raw_sql(&function).execute(pool).await?;
    Ok(())
}

impl Appends for Orders {
    async fn append(&self, stream: Uuid, text: String) -> anyhow::Result<Outcome> {
        match self.0.make(Place { order_id: stream.to_string(), text }).await {
            Ok(_) => Ok(Outcome::Acknowledged),
            Err(DecisionError::StateStore(error) | DecisionError::EventStore(error)) if refused(error.as_ref()) => {
                Ok(Outcome::Refused)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// PostgreSQL's words for a transaction that could not be put in an order with others.
const SERIALIZATION_FAILURE: &str = "40001";

/// Whether others were in the way: its own check, or PostgreSQL's, at any statement.
fn refused(error: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    match error.downcast_ref::<Error>() {
        Some(Error::Concurrency) => true,
        Some(Error::Database(sqlx::Error::Database(error))) => error.code().as_deref() == Some(SERIALIZATION_FAILURE),
        _ => false,
    }
}
