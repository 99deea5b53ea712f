//! JavaScript in a sandbox: the code of assertions, which users write, and which must neither hang nor harm a worker.
//!
//! A [`Script`] is looked at once, without running it, and evaluated often, each time in a fresh context: there is
//! nothing in it but the language and the values it is given. Time, memory and stack are limited; there are no modules,
//! no timers and no way out. A program that runs what others write says how a process for scripts is started ([`isolate`]):
//! then none of them can end or hold its process. Else they run on threads, and their caller waits for two seconds at most.
//! Python ([`PythonScript`]) is no sandbox, and is run only where an operator says so.

mod error;
mod form;
mod sandbox;
mod engines;
mod process;
mod thread;
mod python;
#[cfg(test)]
mod limits_tests;
#[cfg(test)]
mod tests;

use serde::Serialize;
use serde_json::Value;

pub use self::engines::isolate;
pub use self::error::ScriptError;
use self::form::Form;
pub use self::process::{Host, serve};
pub use self::python::{PythonScript, allow_python};
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

/// Values that a script knows by their names, in the order in which a function is called with them.
#[derive(Clone, Debug, Default)]
pub struct Bindings {
    values: Vec<(String, String)>,
}

impl Bindings {
    /// These values and one more; what can't be said in JSON is `null`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &impl Serialize) -> Self {
        let json = serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned());
        self.values.push((name.to_owned(), json));
        self
    }
}

impl Script {
    /// Takes code as promptfoo does: an expression, one line of statements, a body with `return`, or a function of the
    /// values it is given.
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

    /// The code of a script that does this one first, and then the other with its value as `output`; both know `context`.
    #[must_use]
    pub fn then(&self, next: &Self) -> String {
        const NAMES: &str = "output, context";
        let (first, second) = (self.form.function(NAMES), next.form.function(NAMES));
        format!("(async () => {second}(await {first}(output, context), context))()")
    }

    /// Evaluates it with these values.
    ///
    /// # Errors
    /// [`ScriptError`] says what the code did, or did not do in time.
    pub fn evaluate(&self, bindings: &Bindings) -> Result<Value, ScriptError> {
        let result = engines::evaluate(self.form.program(), bindings.values.clone())?;
        serde_json::from_str(&result).map_err(|_| ScriptError::NoJson)
    }
}
