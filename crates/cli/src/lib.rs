//! The one program: every role is a subcommand, and `pcs up` runs them all on a private local stack.
//!
//! [`roles`] starts what serves, [`commands`] is what a person calls against a running server, [`suite`] reads suite
//! files and [`promptfoo`] those of another tool, [`client`] speaks HTTP, [`stack`] runs PostgreSQL and NATS as child processes.

pub mod roles;
pub mod commands;
pub mod suite;
pub mod promptfoo;
pub mod client;
pub mod stack;
pub mod lifecycle;
pub mod local;
pub mod scripts;
pub mod telemetry;
