//! Python of assertions, where an operator allows it: a process for each evaluation, with limits of the kernel.
//!
//! Python can't be taken its way to files and networks from within. Its process has no environment, may write no file,
//! start no process and take little; but it may read what the worker's user may read, and connect. So nobody runs it
//! unless told to ([`allow_python`]), and who allows it trusts the authors of cards as much as that user.

mod process;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::ScriptError;
use crate::{CODE_BYTES_MAX, RESULT_BYTES_MAX};

/// Longest message of what was raised, in bytes.
const MESSAGE_BYTES_MAX: usize = 300;

static INTERPRETER: OnceLock<PathBuf> = OnceLock::new();

/// Says which interpreter runs Python, and so that it may be run. The first word counts.
pub fn allow_python(interpreter: PathBuf) {
    let _ = INTERPRETER.set(interpreter);
}

/// Python as it was written; only its interpreter can tell whether it is any.
#[derive(Clone, Debug)]
pub struct PythonScript {
    code: String,
}

/// What the harness says.
#[derive(Deserialize)]
#[serde(untagged)]
enum Said {
    Value { value: Value },
    Error { error: String, line: Option<u32>, memory: bool },
}

impl PythonScript {
    /// Takes code as promptfoo does: an expression, a body with `return`, or a module with `get_assert(output, context)`.
    ///
    /// # Errors
    /// [`ScriptError`] where it is too large.
    pub fn new(code: &str) -> Result<Self, ScriptError> {
        if code.len() > CODE_BYTES_MAX {
            return Err(ScriptError::TooLarge { bytes: code.len(), max: CODE_BYTES_MAX });
        }
        Ok(Self { code: code.to_owned() })
    }

    /// Its value for this output and context.
    ///
    /// # Errors
    /// [`ScriptError::NotAllowed`] where no interpreter is allowed; else what the code did, or did not do in time.
    pub fn evaluate(&self, output: &Value, context: &Value) -> Result<Value, ScriptError> {
        let interpreter = INTERPRETER.get().ok_or(ScriptError::NotAllowed)?;
        let job = json!({ "code": self.code, "output": output, "context": context });
        let answer = process::run(interpreter, &job)?;
        match serde_json::from_slice(&answer).map_err(|_| ScriptError::Crashed)? {
            Said::Value { value } if answer.len() <= RESULT_BYTES_MAX => Ok(value),
            Said::Value { .. } => Err(ScriptError::ResultTooLarge { bytes: answer.len(), max: RESULT_BYTES_MAX }),
            Said::Error { memory: true, .. } => Err(ScriptError::OutOfMemory { max: process::MEMORY_BYTES_MAX }),
            Said::Error { error, line, .. } => Err(ScriptError::Thrown { line, message: shortened(error) }),
        }
    }
}

fn shortened(mut message: String) -> String {
    message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
    message
}
