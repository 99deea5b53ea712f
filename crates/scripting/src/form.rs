//! The three ways in which people write the code of an assertion, told apart by what the parser takes.

use crate::error::ScriptError;
use crate::sandbox;

/// How a script is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// `output.length > 3`
    Expression,
    /// `const n = output.length; return n > 3;`
    Body,
    /// `(output, context) => output.length > 3`
    Function,
}

/// Code and how it is written.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    manner: Manner,
    code: String,
}

/// Finds out how code is written.
pub(crate) fn of(code: &str) -> Result<Form, ScriptError> {
    let trimmed = code.trim().trim_end_matches(';').trim_end();
    let expression = Form { manner: Manner::Expression, code: trimmed.to_owned() };
    let manner = if sandbox::check(&expression.program(&[])).is_ok() {
        // A function is an expression too, but its value is no result: it is called.
        if is_function(trimmed) { Manner::Function } else { Manner::Expression }
    } else {
        Manner::Body
    };
    let form = match manner {
        Manner::Body => Form { manner, code: code.to_owned() },
        Manner::Expression | Manner::Function => Form { manner, ..expression },
    };
    sandbox::check(&form.program(&[])).map(|()| form)
}

/// Whether an expression is a function: `function …`, `async …`, `x => …` or `(x, y) => …`.
fn is_function(code: &str) -> bool {
    let named = code.starts_with("function") && !code[8..].starts_with(|c: char| c.is_alphanumeric() || c == '_');
    named || arrow_after_parameters(code)
}

/// Whether the code begins with an arrow function's parameters, and the arrow is not inside of a later call.
fn arrow_after_parameters(code: &str) -> bool {
    let rest = match code.strip_prefix('(') {
        Some(inner) => match matching_parenthesis(inner) {
            Some(end) => &inner[end + 1..],
            None => return false,
        },
        None => code.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_' || c == '$'),
    };
    rest.len() < code.len() && rest.trim_start().starts_with("=>")
}

/// Where the parenthesis ends that was opened before this text; texts in it are rare among parameters.
fn matching_parenthesis(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' if depth == 0 => return Some(index),
            ')' => depth -= 1,
            _ => (),
        }
    }
    None
}

impl Form {
    /// The program whose value is the script's: strict, and a text of JSON or `undefined`.
    ///
    /// The code keeps its own lines: it begins on the first one.
    pub(crate) fn program(&self, parameters: &[&str]) -> String {
        let Self { manner, code } = self;
        let value = match manner {
            // A comment at the end must not swallow what follows.
            Manner::Expression => format!("({code}\n)"),
            Manner::Function => format!("({code}\n)({})", parameters.join(", ")),
            Manner::Body => format!("(() => {{ {code}\n}})()"),
        };
        format!("\"use strict\"; JSON.stringify({value})")
    }
}
