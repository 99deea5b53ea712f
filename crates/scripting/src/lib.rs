//! JavaScript in a sandbox: the code of assertions, which users write, and which must neither hang nor harm a worker.
//!
//! A [`Script`] is compiled once for its syntax and evaluated often, each time in a fresh context: there is nothing in it
//! but the language and the values it is given. Time, memory and stack are limited; there are no modules, no timers and
//! no way out.

mod error;
mod form;
mod sandbox;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

pub use self::error::ScriptError;
use self::form::Form;
pub use self::sandbox::{MEMORY_BYTES_MAX, STACK_BYTES_MAX, TIME_MAX};

/// Largest code, in bytes.
pub const CODE_BYTES_MAX: usize = 256 * 1024;
/// Largest result, in bytes of its JSON.
pub const RESULT_BYTES_MAX: usize = 1024 * 1024;

/// Code that is known to be JavaScript.
#[derive(Clone, Debug)]
pub struct Script {
    form: Form,
}

impl Script {
    /// Takes code as promptfoo does: an expression, a body with `return`, or a function of the values it is given.
    ///
    /// # Errors
    /// [`ScriptError`] where it is too large, or no JavaScript.
    pub fn compile(code: &str) -> Result<Self, ScriptError> {
        if code.len() > CODE_BYTES_MAX {
            return Err(ScriptError::TooLarge { bytes: code.len(), max: CODE_BYTES_MAX });
        }
        if code.contains('\0') {
            return Err(ScriptError::Syntax { line: None, message: "it holds a NUL character".to_owned() });
        }
        Ok(Self { form: form::of(code)? })
    }

    /// Evaluates it with these values, which it knows by their names; a function is called with them in `parameters`' order.
    ///
    /// # Errors
    /// [`ScriptError`] says what the code did, or did not do in time.
    pub fn evaluate(&self, parameters: &[&str], values: &Map<String, Value>) -> Result<Value, ScriptError> {
        let result = sandbox::evaluate(&self.form.program(parameters), values)?;
        if result.len() > RESULT_BYTES_MAX {
            return Err(ScriptError::ResultTooLarge { bytes: result.len(), max: RESULT_BYTES_MAX });
        }
        serde_json::from_str(&result).map_err(|_| ScriptError::NoJson)
    }
}
