//! What a prompt becomes and what an answer is worth: templates, assertions and scoring, without IO and without a clock.
//!
//! Read in this order: [`template`] turns a prompt and a case's variables into text, [`assertion`] gives each kind of
//! demand its meaning, [`mod@grade`] makes one grade of many verdicts.

pub mod template;
pub mod assertion;
pub mod grade;
mod excerpt;

pub use assertion::{AssertionError, Check, KNOWN_KINDS, Subject};
pub use grade::{grade, variables};
pub use template::{Template, TemplateError};
