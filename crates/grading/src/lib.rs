//! What a prompt becomes and what an answer is worth: templates, assertions and scoring, without IO and without a clock.
//!
//! Read in this order: [`template`] turns a prompt and a case's variables into text, [`assertion`] gives each kind of
//! demand its meaning, [`judged`] those that ask a model, [`mod@grade`] makes one grade of many verdicts, [`lint`] says
//! where a prompt and its cases differ.

pub mod template;
pub mod assertion;
pub mod grade;
pub mod judged;
pub mod lint;
pub mod case_schema;
mod excerpt;

pub use assertion::{AssertionError, Check, KNOWN_KINDS, Seen, Step, Subject, Transform};
pub use case_schema::{CaseCheck, CaseSchemaError};
pub use grade::{Said, conclude, grade, grader_version, variables};
pub use judged::{Class, OffSchema, Question, Reply};
pub use lint::{Lint, Remark, RemarkKind};
pub use template::{Template, TemplateError};
