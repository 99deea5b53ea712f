//! QuickJS with nothing around it: a runtime for each thread, a context for each evaluation.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use rquickjs::context::intrinsic;
use rquickjs::{CatchResultExt, CaughtError, Context, Ctx, Exception, Runtime, Value};
use serde_json::Map;

use crate::error::ScriptError;

/// Longest time of one evaluation.
pub const TIME_MAX: Duration = Duration::from_secs(1);
/// Most memory of one evaluation, in bytes.
pub const MEMORY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Deepest stack, in bytes; a worker's threads have 2 MiB.
pub const STACK_BYTES_MAX: usize = 256 * 1024;
/// Longest message of what was thrown, in characters.
const MESSAGE_CHARS_MAX: usize = 300;

/// The language, and nothing that looks at a clock, waits or loads. `eval` is needed to take the code itself.
type Language = (
    intrinsic::Date,
    intrinsic::Eval,
    intrinsic::RegExpCompiler,
    intrinsic::RegExp,
    intrinsic::Json,
    intrinsic::MapSet,
    intrinsic::TypedArrays,
);

thread_local! {
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether the code can be taken; nothing of it runs.
pub(crate) fn check(program: &str) -> Result<(), ScriptError> {
    // A function that is never called is parsed all the same.
    let unused = format!("(function () {{ {program}\n}})");
    in_context(|context| {
        context.eval::<Value<'_>, _>(unused).catch(&context).map(drop).map_err(|e| explained(&e, true))
    })
}

/// The program's value, a text, with these values as constants.
pub(crate) fn evaluate(program: &str, values: &Map<String, serde_json::Value>) -> Result<String, ScriptError> {
    in_context(|context| {
        let globals = context.globals();
        for (name, value) in values {
            let text = serde_json::to_string(value).map_err(|_| ScriptError::NoJson)?;
            let value = context.json_parse(text).catch(&context).map_err(|error| explained(&error, false))?;
            globals.set(name.as_str(), value).catch(&context).map_err(|error| explained(&error, false))?;
        }
        let result = context.eval::<Value<'_>, _>(program).catch(&context);
        let result = result.map_err(|error| explained(&error, false))?;
        // JSON has no undefined and no functions.
        let text = result.as_string().ok_or(ScriptError::NoJson)?;
        text.to_string().map_err(|_| ScriptError::NoJson)
    })
}

fn in_context<T>(work: impl FnOnce(Ctx<'_>) -> Result<T, ScriptError>) -> Result<T, ScriptError> {
    RUNTIME.with(|kept| {
        let mut kept = kept.borrow_mut();
        let runtime = match kept.take() {
            Some(runtime) => runtime,
            None => runtime()?,
        };
        let context = Context::custom::<Language>(&runtime).map_err(|_| out_of_memory())?;
        DEADLINE.set(Some(Instant::now() + TIME_MAX));
        let result = context.with(work);
        let timed_out = DEADLINE.replace(None).is_some_and(|deadline| Instant::now() >= deadline);
        drop(context);
        // What one evaluation has left behind must not be the next one's burden.
        runtime.run_gc();
        match result {
            Ok(value) => {
                *kept = Some(runtime);
                Ok(value)
            }
            // After a limit was met the runtime is not used again: it may be in any state.
            Err(_) if timed_out => Err(ScriptError::TimedOut { millis: TIME_MAX.as_millis() }),
            Err(ScriptError::OutOfMemory { max }) => Err(ScriptError::OutOfMemory { max }),
            Err(error) => {
                *kept = Some(runtime);
                Err(error)
            }
        }
    })
}

fn out_of_memory() -> ScriptError {
    ScriptError::OutOfMemory { max: MEMORY_BYTES_MAX }
}

fn runtime() -> Result<Runtime, ScriptError> {
    let runtime = Runtime::new().map_err(|_| out_of_memory())?;
    runtime.set_memory_limit(MEMORY_BYTES_MAX);
    runtime.set_max_stack_size(STACK_BYTES_MAX);
    let is_late = || DEADLINE.get().is_some_and(|deadline| Instant::now() >= deadline);
    runtime.set_interrupt_handler(Some(Box::new(is_late)));
    Ok(runtime)
}

fn explained(error: &CaughtError<'_>, is_syntax: bool) -> ScriptError {
    let (line, message) = match error {
        CaughtError::Exception(exception) => (line_of(exception), exception.message().unwrap_or_default()),
        CaughtError::Value(value) => (None, said(value)),
        CaughtError::Error(error) => (None, error.to_string()),
    };
    if message.is_empty() || message.contains("out of memory") {
        return out_of_memory();
    }
    let message: String = message.chars().take(MESSAGE_CHARS_MAX).collect();
    if is_syntax { ScriptError::Syntax { line, message } } else { ScriptError::Thrown { line, message } }
}

/// What was thrown that is no error, such as a text.
fn said(value: &Value<'_>) -> String {
    match value.as_string().and_then(|text| text.to_string().ok()) {
        Some(text) => text,
        None => format!("a value of the type {}", value.type_name()),
    }
}

/// The line of the innermost place in the script, as its stack says: `at <anonymous> (eval_script:3:7)`.
fn line_of(exception: &Exception<'_>) -> Option<u32> {
    let stack = exception.stack()?;
    let place = stack.lines().find(|line| line.contains("eval_script:"))?;
    place.split("eval_script:").nth(1)?.split([':', ')']).next()?.trim().parse().ok()
}
