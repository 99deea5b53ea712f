//! The ways in which people write the code of an assertion, told apart by what the parser takes.

use crate::engines;
use crate::error::ScriptError;

/// How a script is written. A function is an expression too: it is called.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Manner {
    /// `output.length > 3`
    Expression,
    /// `const n = output.length; n > 3`
    Statements,
    /// `const n = output.length; return n > 3;`
    Body,
}

/// Code and how it is written.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    manner: Manner,
    code: String,
}

/// Finds out how code is written; nothing of it runs.
pub(crate) fn of(code: &str) -> Result<Form, ScriptError> {
    let trimmed = code.trim_end().trim_end_matches([';', ' ', '\t']);
    // Code that ends what is around it does not go on: there is more around it here than when it is evaluated.
    if is_parsed(format!("function f() {{ return [({trimmed}\n)] }}"))? {
        return Ok(Form { manner: Manner::Expression, code: trimmed.to_owned() });
    }
    engines::parse(format!("function f() {{ return [(() => {{ {code}\n}})()] }}"))
        .map_err(|error| error.within(code))?;
    // As in promptfoo, a single line need not say `return`: its last value is the result. Where nothing is around it,
    // `return` is no statement.
    let is_line = !code.trim().contains('\n');
    let manner = if is_line && is_parsed(code.to_owned())? { Manner::Statements } else { Manner::Body };
    Ok(Form { manner, code: code.to_owned() })
}

/// Whether the parser takes a program. That it could not be asked is an error: the code would be taken for what it is not.
fn is_parsed(program: String) -> Result<bool, ScriptError> {
    match engines::parse(program) {
        Ok(()) => Ok(true),
        Err(ScriptError::Syntax { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

impl Form {
    /// The code of a function of these names that has the script's value, for code around it.
    pub(crate) fn function(&self, names: &str) -> String {
        let Self { manner, code } = self;
        match manner {
            Manner::Expression => {
                format!(
                    "(({names}) => {{ const said = ({code}\n); return typeof said === 'function' ? said({names}) : said }})"
                )
            }
            // It takes the parameters for its variables.
            Manner::Statements => format!("(({names}) => eval({}))", serde_json::Value::from(code.as_str())),
            Manner::Body => format!("(({names}) => {{ {code}\n}})"),
        }
    }

    /// The program whose value is the script's. The code keeps its own lines: it begins on the first one.
    pub(crate) fn program(&self) -> String {
        let Self { manner, code } = self;
        match manner {
            // A comment at the end must not swallow what follows.
            Manner::Expression => format!("({code}\n)"),
            Manner::Statements => code.clone(),
            Manner::Body => format!("(() => {{ {code}\n}})()"),
        }
    }
}
