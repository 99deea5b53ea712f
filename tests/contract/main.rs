//! Truths that hold across crates, each against the real thing: schemas, the store, projections, the broker.

mod event_schemas;
mod event_store;
mod projections;
