//! `regex`: a regular expression that is found in the output, as JavaScript's `RegExp.test` without flags.

use fancy_regex::Expr;

use super::source::{Source, resolved};
use super::{AssertionError, Evaluation, Finding, Subject};
use crate::excerpt::cut;
use crate::template::Template;

/// Largest compiled expression, in bytes.
const PROGRAM_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Most steps back that an expression with lookaround or back references may take.
const BACKTRACKS_MAX: usize = 500_000;
/// Most lookarounds and back references of an expression.
const LOOKAROUNDS_MAX: usize = 10;
/// Longest output, in bytes, for an expression with lookaround whose time grows with the square of the length.
const SQUARE_BYTES_MAX: usize = 16 * 1024;
/// Longest output, in bytes, for one whose time grows with the cube: a lookaround that searches, and is repeated.
const CUBE_BYTES_MAX: usize = 1024;
const NEEDS: &str = "a regular expression";

#[derive(Debug)]
pub(super) enum Pattern {
    Compiled(Engine),
    /// The expression depends on the case, so it is compiled at each verdict.
    Rendered(Template),
}

#[derive(Debug)]
pub(super) enum Engine {
    /// Takes time in proportion to the output, whatever the expression.
    Linear(regex::Regex),
    /// For lookaround and back references; it has limits instead.
    Backtracking {
        regex: Box<fancy_regex::Regex>,
        /// Longest output that it is used on.
        bytes_max: usize,
    },
}

impl Pattern {
    pub(super) fn compile(source: &Source<'_>) -> Result<Self, AssertionError> {
        source.no_threshold()?;
        source.no_tolerance()?;
        let Some(serde_json::Value::String(text)) = source.value().filter(|value| *value != "") else {
            return Err(source.wrong_value(NEEDS));
        };
        let template = source.template(text)?;
        let Some(text) = template.constant() else { return Ok(Self::Rendered(template)) };
        let compiled = Engine::compile(text).map(Self::Compiled);
        compiled.map_err(|why| AssertionError::Pattern { pattern: cut(text), why })
    }

    pub(super) fn evaluate(&self, subject: &Subject<'_>) -> Evaluation {
        match self {
            Self::Compiled(engine) => engine.evaluate(subject.output),
            Self::Rendered(template) => {
                let text = resolved(template, subject.variables)?;
                let engine = Engine::compile(&text)
                    .map_err(|why| format!("the regular expression {} can't be used: {why}", cut(&text)))?;
                engine.evaluate(subject.output)
            }
        }
    }
}

impl Engine {
    fn compile(pattern: &str) -> Result<Self, String> {
        let linear = regex::RegexBuilder::new(pattern).size_limit(PROGRAM_BYTES_MAX).build();
        if let Ok(regex) = linear {
            return Ok(Self::Linear(regex));
        }
        let bytes_max = bytes_max(pattern)?;
        let backtracking = fancy_regex::RegexBuilder::new(pattern)
            .backtrack_limit(BACKTRACKS_MAX)
            .delegate_size_limit(PROGRAM_BYTES_MAX)
            .max_prog_size(PROGRAM_BYTES_MAX / 64)
            .build();
        let regex = Box::new(backtracking.map_err(|error| cut(&error.to_string()))?);
        Ok(Self::Backtracking { regex, bytes_max })
    }

    fn evaluate(&self, output: &str) -> Evaluation {
        let (holds, pattern) = match self {
            Self::Linear(regex) => (regex.is_match(output), regex.as_str()),
            Self::Backtracking { bytes_max, .. } if output.len() > *bytes_max => {
                let len = output.len();
                return Err(format!("lookaround like this takes outputs up to {bytes_max} bytes, and this has {len}"));
            }
            Self::Backtracking { regex, .. } => {
                let holds =
                    regex.is_match(output).map_err(|error| format!("the regular expression gave up: {error}"))?;
                (holds, regex.as_str())
            }
        };
        let verb = if holds { "matches" } else { "does not match" };
        Ok(Finding { holds, fact: format!("the output {verb} {}", cut(pattern)) })
    }
}

/// How long an output may be for an expression that needs backtracking.
///
/// The limit of steps back does not bound the work between them: `(?:(?=(?:(?=.*!).)*b?)a)*b` took 162 s on 8,000
/// letters. What bounds it is how often lookarounds that go through the text are nested in repetitions.
fn bytes_max(pattern: &str) -> Result<usize, String> {
    let tree = Expr::parse_tree(pattern).map_err(|error| cut(&error.to_string()))?;
    let foreign = |expr: &Expr| matches!(expr, Expr::SubroutineCall(_) | Expr::Absent(_) | Expr::AstNode(..));
    if tree.expr.has_descendant_or_self(foreign) {
        return Err("it calls other parts of itself, which JavaScript has not".to_owned());
    }
    if lookarounds(&tree.expr) > LOOKAROUNDS_MAX {
        return Err(format!("it has more than {LOOKAROUNDS_MAX} lookarounds and back references"));
    }
    match passes(&tree.expr) {
        0 | 1 => Ok(SQUARE_BYTES_MAX),
        2 => Ok(CUBE_BYTES_MAX),
        _ => Err("it nests repeated lookarounds, which takes too long".to_owned()),
    }
}

fn lookarounds(expr: &Expr) -> usize {
    let own = usize::from(matches!(expr, Expr::LookAround(..) | Expr::Backref { .. }));
    own + expr.children_iter().map(lookarounds).sum::<usize>()
}

/// To which power of the text's length one attempt at one place takes, without steps back.
///
/// Nested repetitions still go through the text once, for each letter is taken once. A lookaround gives back what it
/// has read, so its passes count again at each turn of a repetition around it.
fn passes(expr: &Expr) -> usize {
    match expr {
        Expr::Repeat { child, hi, .. } if *hi > 1 => 1 + passes_given_back(child),
        Expr::Backref { .. } => 1,
        other => other.children_iter().map(passes).max().unwrap_or(0),
    }
}

fn passes_given_back(expr: &Expr) -> usize {
    match expr {
        Expr::LookAround(child, _) => passes(child),
        other => other.children_iter().map(passes_given_back).max().unwrap_or(0),
    }
}
