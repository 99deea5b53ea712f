//! Truths that hold across crates, each against the real thing: schemas, the store, projections, the broker.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod event_schemas;
mod event_store;
mod projections;
mod snapshots;
