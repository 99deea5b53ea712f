//! The HTTP API: extract, authorise, execute, answer. Knows no NATS subject.
//!
//! [`Server`] accepts connections with time-outs and limits, [`edge`] is around every route (names, errors, metrics),
//! [`routes`] has one file per group of routes, and [`openapi`] describes them from the same code.

mod config;
mod serve;
mod state;
mod edge;
mod routes;
mod problem;
mod openapi;
mod metrics;
mod metrics_server;
mod job_gauges;
mod projection_gauges;
mod follower;
mod readiness;

pub use self::config::ServerConfig;
pub use self::follower::metrics_follower;
pub use self::metrics::Metrics;
pub use self::metrics_server::metrics_server;
pub use self::openapi::document as openapi_document;
pub use self::readiness::{Checked, Readiness, ReadinessCheck};
pub use self::serve::{Server, ServerError};
pub use self::state::AppState;
