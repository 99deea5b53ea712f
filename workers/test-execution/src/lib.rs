//! What a worker does with one `test_execution` ticket: render, ask, grade, report.
//!
//! The ticket is acknowledged only after the report is committed. A worker holds no database credential: what it needs
//! to know it asks the relay, and what a run's executions share it keeps.

mod handler;
mod attempt;
mod judging;
mod kept;
mod place;
mod working;
mod plans;
mod private;

pub use self::handler::TestExecution;
