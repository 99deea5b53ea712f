//! Journeys through the whole system, over HTTP and with the real program.

mod cards;
mod edge;
mod main_job;
mod readme;
mod runs;
mod up;
