//! All providers through the gateway: the same demands on each, and each wire against a server that misbehaves.

mod fake;
mod question;
mod conformance;
mod openai;
mod other_wires;
