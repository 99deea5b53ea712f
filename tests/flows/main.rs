//! Journeys through the whole system, over HTTP and with the real program.

#![expect(clippy::expect_used, reason = "what a test needs and does not get is its failure")]

mod broker;
mod cards;
mod certificates;
mod comparison;
mod deliveries;
mod edge;
mod main_job;
mod on_request;
mod job_commands;
mod jobs;
mod judges;
mod langfuse;
mod limits;
mod playground;
mod program;
mod promptfoo;
mod readme;
mod regrades;
mod reviews;
mod relays;
mod runs;
mod scripts;
mod tracing;
mod trials;
mod up;
mod workers;
