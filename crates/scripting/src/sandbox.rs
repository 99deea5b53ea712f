//! QuickJS with nothing around it: a runtime that is kept, a context for each evaluation.

use std::cell::Cell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use rquickjs::context::{EvalOptions, intrinsic};
use rquickjs::function::Args;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Exception, Module, Runtime, Value};

use crate::RESULT_BYTES_MAX;
use crate::error::ScriptError;

/// Longest time of one evaluation.
pub const TIME_MAX: Duration = Duration::from_secs(1);
/// Most memory of one evaluation, in bytes.
pub const MEMORY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Deepest stack, in bytes; the threads of scripts have more.
pub const STACK_BYTES_MAX: usize = 256 * 1024;
/// Longest message of what was thrown, in characters.
const MESSAGE_CHARS_MAX: usize = 300;
const SCRIPT_NAME: &str = "script";

/// The language, and nothing that waits, loads or looks into other contexts. `eval` is needed to take the code itself;
/// without `Promise` a script with an `async` function would end the process, by an assertion of the engine.
type Language = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
    intrinsic::Promise,
);

/// A place for one script after the other.
#[derive(Default)]
pub(crate) struct Sandbox {
    runtime: Option<Runtime>,
    deadline: Rc<Cell<Option<Instant>>>,
}

impl Sandbox {
    /// Whether the parser takes a program; nothing of it runs.
    pub(crate) fn parse(&mut self, program: &str) -> Result<(), ScriptError> {
        self.in_context(|context, _| {
            // Only a module can be compiled without running it.
            let module = Module::declare(context.clone(), SCRIPT_NAME, program).catch(context);
            module.map(drop).map_err(|error| explained(&error, true))
        })
    }

    /// The program's value as JSON, with these values of JSON as globals.
    pub(crate) fn evaluate(&mut self, program: &str, values: &[(String, String)]) -> Result<String, ScriptError> {
        self.in_context(|context, is_late| {
            valued(context, program, values, is_late).map_err(|unfit| match unfit {
                Unfit::Failed(error) => explained(&error, false),
                Unfit::NoResult(error) => error,
            })
        })
    }

    fn in_context<T>(
        &mut self,
        work: impl FnOnce(&Ctx<'_>, &dyn Fn() -> bool) -> Result<T, ScriptError>,
    ) -> Result<T, ScriptError> {
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => runtime(&self.deadline)?,
        };
        let context = Context::custom::<Language>(&runtime).map_err(|_| out_of_memory())?;
        let deadline = Instant::now() + TIME_MAX;
        self.deadline.set(Some(deadline));
        let is_late = || Instant::now() >= deadline;
        let result = context.with(|context| work(&context, &is_late));
        self.deadline.set(None);
        drop(context);
        // What one evaluation has left behind must not be the next one's burden: a runtime is kept only where all went
        // well and nothing is left to be done.
        if result.is_ok() && !runtime.is_job_pending() {
            runtime.run_gc();
            self.runtime = Some(runtime);
        } else if is_late() {
            return Err(ScriptError::timed_out());
        }
        result
    }
}

/// Why an evaluation has no value.
enum Unfit<'js> {
    Failed(CaughtError<'js>),
    NoResult(ScriptError),
}

impl<'js> From<CaughtError<'js>> for Unfit<'js> {
    fn from(error: CaughtError<'js>) -> Self {
        Self::Failed(error)
    }
}

fn valued<'js>(
    context: &Ctx<'js>,
    program: &str,
    values: &[(String, String)],
    is_late: &dyn Fn() -> bool,
) -> Result<String, Unfit<'js>> {
    let mut given = Args::new(context.clone(), values.len());
    for (name, json) in values {
        let value = context.json_parse(json.as_str()).catch(context)?;
        context.globals().set(name.as_str(), value.clone()).catch(context)?;
        given.push_arg(value).catch(context)?;
    }
    let mut value: Value<'js> = context.eval_with_options(program, options()).catch(context)?;
    if let Some(function) = value.as_function() {
        value = function.call_arg(given).catch(context)?;
    }
    if let Some(promise) = value.as_promise() {
        let settled = loop {
            if let Some(settled) = promise.result::<Value<'js>>() {
                break settled.catch(context)?;
            }
            if is_late() || !context.execute_pending_job() {
                return Err(Unfit::NoResult(ScriptError::Unsettled));
            }
        };
        value = settled;
    }
    // The engine's own way to write JSON: what the script made of `JSON` does not matter.
    let text = context.json_stringify(value).catch(context)?.ok_or(Unfit::NoResult(ScriptError::NoJson))?;
    let text = text.to_string().catch(context)?;
    if text.len() > RESULT_BYTES_MAX {
        return Err(Unfit::NoResult(ScriptError::ResultTooLarge { bytes: text.len(), max: RESULT_BYTES_MAX }));
    }
    Ok(text)
}

/// As `new Function` of other engines: not strict.
fn options() -> EvalOptions {
    let mut options = EvalOptions::default();
    options.strict = false;
    options.filename = Some(SCRIPT_NAME.to_owned());
    options
}

fn out_of_memory() -> ScriptError {
    ScriptError::OutOfMemory { max: MEMORY_BYTES_MAX }
}

fn runtime(deadline: &Rc<Cell<Option<Instant>>>) -> Result<Runtime, ScriptError> {
    let runtime = Runtime::new().map_err(|_| out_of_memory())?;
    runtime.set_memory_limit(MEMORY_BYTES_MAX);
    runtime.set_max_stack_size(STACK_BYTES_MAX);
    let deadline = Rc::clone(deadline);
    let is_late = move || deadline.get().is_some_and(|deadline| Instant::now() >= deadline);
    runtime.set_interrupt_handler(Some(Box::new(is_late)));
    Ok(runtime)
}

fn explained(error: &CaughtError<'_>, is_syntax: bool) -> ScriptError {
    let (line, message) = match error {
        CaughtError::Exception(exception) => (line_of(exception), described(exception)),
        CaughtError::Value(value) => (None, said(value)),
        CaughtError::Error(rquickjs::Error::Allocation) => return out_of_memory(),
        CaughtError::Error(error) => (None, error.to_string()),
    };
    if message == "out of memory" {
        return out_of_memory();
    }
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    if is_syntax { ScriptError::Syntax { line, message } } else { ScriptError::Thrown { line, message } }
}

fn described(exception: &Exception<'_>) -> String {
    exception.message().filter(|message| !message.is_empty()).unwrap_or_else(|| "an error without a message".to_owned())
}

/// What was thrown that is no error, such as a text.
fn said(value: &Value<'_>) -> String {
    match value.as_string().and_then(|text| text.to_string().ok()) {
        Some(text) if !text.is_empty() => text,
        Some(_) => "an empty text".to_owned(),
        // Where there is no memory for an error, the engine throws null.
        None if value.is_null() => "null, or ran out of memory".to_owned(),
        None => format!("a value of the type {}", value.type_name()),
    }
}

/// The line of the innermost place in the script, as its stack says: `at <anonymous> (script:3:7)`.
fn line_of(exception: &Exception<'_>) -> Option<u32> {
    let stack = exception.stack()?;
    let place = format!("{SCRIPT_NAME}:");
    let line = stack.lines().find_map(|line| line.split_once(&place))?.1;
    line.split([':', ')']).next()?.trim().parse().ok()
}
