//! Templates of prompts and of expected values: Nunjucks' notation as people know it, rendered by minijinja.

mod engine;
mod includes;
mod lex;
mod structured;
mod text;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use minijinja::{Environment, Error, ErrorKind};
use serde_json::{Map, Value};

pub use self::includes::included;
use self::lex::Piece;
use self::structured::Structured;
pub(crate) use self::text::number_text;

/// Largest text that a template may become, in bytes: a prompt of 1 MiB with large variables fits.
pub const RENDERED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Work that one rendering may do, in minijinja's fuel: about one per instruction and per 64 bytes.
pub const FUEL_MAX: u64 = 500_000;
/// Most undefined variables that [`Template::missing`] looks for; each costs one rendering.
const MISSING_MAX: usize = 100;

/// A parsed template; parse once, render often.
#[derive(Debug)]
pub struct Template {
    form: Form,
    variables: BTreeSet<String>,
}

#[derive(Debug)]
enum Form {
    /// Text and plain `{{ variable }}`s: what nearly all prompts are, rendered without the engine.
    Plain(Vec<Piece>),
    /// Everything else: an environment of its own, for minijinja ties a template's source to its environment.
    Full(Box<Environment<'static>>),
    /// JSON, such as a list of chat messages: each of its texts is a template.
    Structured(Structured),
}

/// The prompts of other cards that templates may include, by the names that they have there: `{% include "name@label" %}`.
pub type Partials = BTreeMap<String, String>;

/// Why a template can't be parsed or rendered.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// The notation is wrong.
    #[error(
        "line {line} of the template: {why}; braces that are meant as text go between {{% raw %}} and {{% endraw %}}"
    )]
    Syntax {
        /// The line, from 1.
        line: usize,
        /// What the parser expected.
        why: String,
    },
    /// No filter has that name.
    #[error("line {line} of the template: there is no filter {name:?}")]
    UnknownFilter {
        /// The line, from 1.
        line: usize,
        /// The name.
        name: String,
    },
    /// It includes what there is not.
    #[error(
        "line {line} of the template: there is no prompt {name:?} to include; write the title of a card and a label, such as \"greeting@production\""
    )]
    UnknownPartial {
        /// The line, from 1.
        line: usize,
        /// What it includes.
        name: String,
    },
    /// The template is too deep for its parser.
    #[error("line {line} of the template: there are more than {max} {what}; make the template simpler")]
    TooComplex {
        /// The line, from 1.
        line: usize,
        /// What there is too much of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// A variable has no value.
    #[error(
        "line {line} of the template: {name} has no value; give it one in the case's input, or a default(…) in the template"
    )]
    Undefined {
        /// The line, from 1.
        line: usize,
        /// The variable or expression without a value.
        name: String,
    },
    /// The result is too large.
    #[error("the rendered template is larger than {RENDERED_BYTES_MAX} bytes; use shorter variables or fewer loops")]
    TooLarge,
    /// Rendering takes too long.
    #[error("rendering the template takes more than {FUEL_MAX} steps; use fewer loops")]
    TooSlow,
    /// Something else went wrong at rendering.
    #[error("line {line} of the template: {why}")]
    Failed {
        /// The line, from 1.
        line: usize,
        /// What went wrong.
        why: String,
    },
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError`] with the line, for wrong notation, unknown filters and templates beyond the limits.
    pub fn parse(source: &str) -> Result<Self, TemplateError> {
        Self::parse_flat(source, &Partials::new())
    }

    /// Parses a prompt, which may include others. Where it is JSON, each of its texts is a template.
    ///
    /// # Errors
    /// As [`Self::parse`], also for what it includes; and where it includes what is not among the partials.
    pub fn parse_prompt(source: &str, partials: &Partials) -> Result<Self, TemplateError> {
        match Structured::parse(source, partials)? {
            Some(structured) => {
                let variables = structured.variables();
                Ok(Self { form: Form::Structured(structured), variables })
            }
            None => Self::parse_flat(source, partials),
        }
    }

    fn parse_flat(source: &str, partials: &Partials) -> Result<Self, TemplateError> {
        if let Some(pieces) = lex::plain_pieces(source)? {
            let variables = pieces.iter().filter_map(Piece::variable).map(str::to_owned).collect();
            return Ok(Self { form: Form::Plain(pieces), variables });
        }
        let used = includes::all(source, partials)?;
        let environment = engine::with_templates(source, &used).map_err(|error| TemplateError::from_engine(&error))?;
        let mut variables = engine::variables(&environment, engine::NAME);
        variables.extend(used.keys().flat_map(|name| engine::variables(&environment, name)));
        Ok(Self { form: Form::Full(Box::new(environment)), variables })
    }

    /// A template that is this text, whatever braces are in it.
    #[must_use]
    pub fn literal(text: String) -> Self {
        Self { form: Form::Plain(vec![Piece::Text(text)]), variables: BTreeSet::new() }
    }

    /// A template that is this value as templates print it.
    pub(crate) fn printed(value: &Value) -> Self {
        let mut out = String::new();
        text::push_json_value(&mut out, value);
        Self::literal(out)
    }

    /// The variables that the template refers to and does not set itself, whether it needs them or not.
    #[must_use]
    pub fn variables(&self) -> BTreeSet<String> {
        self.variables.clone()
    }

    /// What the template needs and the input lacks, by a trial rendering: variables such as `name`, or parts of one such
    /// as `user.name`.
    ///
    /// A variable that only appears in a condition, in `is defined`, before `default(…)` or in a branch that this input
    /// does not take is not missing. Errors that have nothing to do with missing values are left to [`Self::render`].
    #[must_use]
    pub fn missing(&self, input: &Map<String, Value>) -> Vec<String> {
        match &self.form {
            Form::Plain(_) => self.variables.iter().filter(|name| !input.contains_key(*name)).cloned().collect(),
            Form::Full(environment) => self.missing_by_trial(environment, input),
            Form::Structured(structured) => structured.missing(input),
        }
    }

    /// Renders, and at each undefined variable renders again with an empty value in its place.
    fn missing_by_trial(&self, environment: &Environment<'static>, input: &Map<String, Value>) -> Vec<String> {
        let mut missing: Vec<String> = Vec::new();
        for _ in 0..MISSING_MAX {
            let context = engine::context(&self.variables, input, &missing);
            let error = match engine::render(environment, context) {
                Ok(_) => break,
                Err(error) => error,
            };
            let Some(expression) = engine::undefined_expression(&error) else { break };
            let root = expression.split(['.', '[', '(', ' ']).next().unwrap_or_default();
            let is_variable = self.variables.contains(root) && !input.contains_key(root);
            let name = if is_variable { root } else { expression };
            if missing.iter().any(|known| known == name) {
                break;
            }
            missing.push(name.to_owned());
            if !is_variable {
                // A part of a value that is there: nothing can stand in for it, so the search ends here.
                break;
            }
        }
        missing
    }

    /// The template's text for these variables.
    ///
    /// # Errors
    /// [`TemplateError`] for a variable without a value and for whatever goes wrong in filters and expressions.
    pub fn render(&self, input: &Map<String, Value>) -> Result<String, TemplateError> {
        self.text(input).map(Cow::into_owned)
    }

    /// Like [`Self::render`], without a copy where the template is one text or one variable that is a string.
    pub(crate) fn text<'a>(&'a self, input: &'a Map<String, Value>) -> Result<Cow<'a, str>, TemplateError> {
        match &self.form {
            Form::Plain(pieces) => lex::render(pieces, input),
            Form::Full(environment) => {
                let context = engine::context(&self.variables, input, &[]);
                let text = engine::render(environment, context).map_err(|error| TemplateError::from_engine(&error))?;
                Ok(Cow::Owned(text))
            }
            Form::Structured(structured) => structured.render(input).map(Cow::Owned),
        }
    }

    /// The text, where it does not depend on any variable.
    pub(crate) fn constant(&self) -> Option<&str> {
        match &self.form {
            Form::Plain(pieces) => match pieces.as_slice() {
                [] => Some(""),
                [Piece::Text(text)] => Some(text),
                _ => None,
            },
            Form::Full(_) | Form::Structured(_) => None,
        }
    }
}

impl TemplateError {
    fn from_engine(error: &Error) -> Self {
        let line = error.line().unwrap_or(1);
        if let Some(name) = engine::undefined_expression(error) {
            return Self::Undefined { line, name: name.to_owned() };
        }
        let why = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
        match error.kind() {
            ErrorKind::SyntaxError | ErrorKind::BadEscape => Self::Syntax { line, why },
            ErrorKind::OutOfFuel => Self::TooSlow,
            ErrorKind::WriteFailure => Self::TooLarge,
            _ => Self::Failed { line, why },
        }
    }
}
