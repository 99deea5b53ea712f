//! Truths that hold across crates, each against the real thing: schemas, the store, projections, the broker.

#![expect(clippy::expect_used, clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod es_bench;
mod archive;
mod archive_kills;
mod archive_tools;
mod event_schemas;
mod chain;
mod event_store;
mod log_tools;
mod global_order;
mod log_rules;
mod folds;
mod projection_rules;
mod places;
mod privacy;
mod evolution;
mod evolution_check;
mod fair_release;
mod projections;
mod reading;
mod rebuild;
mod tally;
mod snapshots;
mod transfer;
mod verification;
mod subscriptions;
mod wakeups;
mod time_travel;
mod privacy_tools;
mod projection_tools;
mod stream_tools;
mod subscription_tools;
