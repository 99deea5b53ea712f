//! All providers through the gateway: the same demands on each, and each wire against a server that misbehaves.

#![expect(clippy::unwrap_used, reason = "what a test needs and does not get is its failure")]

mod fake;
mod question;
mod conformance;
mod openai;
mod other_wires;
