//! minijinja, set up with Nunjucks' habits and with limits: no loader, no escaping, no undefined values in the text.

use std::collections::BTreeSet;
use std::error::Error as _;
use std::io;
use std::sync::{Arc, OnceLock};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior, context};
use serde_json::{Map, Value as Json};

use super::text::{self, PrintError};
use super::{FUEL_MAX, Partials, RENDERED_BYTES_MAX};

/// The name of the one template of an environment.
pub(super) const NAME: &str = "template";
/// How deep macros may call each other; a macro costs 4, and a thread's stack of 2 MiB has to hold it.
const RECURSION_MAX: usize = 100;
/// Widest indent of `dump`, in spaces; `JSON.stringify` has the same limit.
const INDENT_MAX: usize = 10;
/// Integral numbers up to here are integers to templates, as they are in JavaScript (2^53).
const SAFE_INTEGER_MAX: f64 = 9_007_199_254_740_992.0;

fn shared() -> &'static Environment<'static> {
    static SHARED: OnceLock<Environment<'static>> = OnceLock::new();
    SHARED.get_or_init(|| {
        let mut environment = Environment::new();
        // Semi-strict: an undefined variable is an error in the text and may be asked about in an `if`.
        environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(syntax());
        environment.set_fuel(Some(FUEL_MAX));
        environment.set_recursion_limit(RECURSION_MAX);
        // Errors name the undefined variable in debug mode only.
        environment.set_debug(true);
        environment.set_formatter(print);
        // Nunjucks has neither, `debug` prints all variables, and values of any depth can be made with `namespace`.
        environment.remove_global("debug");
        environment.remove_global("namespace");
        environment.add_filter("dump", dump);
        environment.add_filter("tojson", dump);
        environment.add_filter("join", join);
        environment
    })
}

/// Jinja's delimiters; a template's last line break stays, as in Nunjucks.
pub(super) fn syntax() -> SyntaxConfig {
    SyntaxConfig::builder().keep_trailing_newline(true).build().unwrap_or_default()
}

/// An environment with this template and what it includes. The shared parts are reference counted, so it is cheap.
pub(super) fn with_templates(source: &str, included: &Partials) -> Result<Environment<'static>, Error> {
    let mut environment = shared().clone();
    for (name, source) in included {
        environment.add_template_owned(name.clone(), source.clone())?;
    }
    environment.add_template_owned(NAME, source.to_owned())?;
    Ok(environment)
}

/// The variables that the template does not set itself.
pub(super) fn variables(environment: &Environment<'static>, template: &str) -> BTreeSet<String> {
    let names =
        environment.get_template(template).map(|template| template.undeclared_variables(false)).unwrap_or_default();
    names.into_iter().filter(|name| shared().globals().all(|(global, _)| global != name)).collect()
}

/// Whether templates can use a filter of this name.
pub(super) fn has_filter(name: &str) -> bool {
    let asked = shared().compile_expression("name is filter").and_then(|asked| asked.eval(context! { name }));
    asked.is_ok_and(|answer| answer.is_true())
}

/// The values of these variables, with stand-ins for those that are known to be missing.
pub(super) fn context(variables: &BTreeSet<String>, input: &Map<String, Json>, missing: &[String]) -> Value {
    let given = variables.iter().filter_map(|name| input.get(name).map(|json| (name.clone(), value(json))));
    let absent = missing.iter().map(|name| (name.clone(), Value::from_object(StandIn)));
    Value::from_pairs(given.chain(absent))
}

/// A JSON value for the engine; integral floats become integers, because `1.0` is `1` in JavaScript.
pub(super) fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::from(()),
        Json::Bool(flag) => Value::from(*flag),
        Json::String(text) => Value::from(text),
        Json::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(integer), _, _) => Value::from(integer),
            (_, Some(integer), _) => Value::from(integer),
            (_, _, Some(float)) if float.fract() == 0.0 && float.abs() < SAFE_INTEGER_MAX => {
                #[expect(clippy::cast_possible_truncation, reason = "it is integral and below 2^53")]
                let integer = float as i64;
                Value::from(integer)
            }
            (_, _, float) => Value::from(float),
        },
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(map) => Value::from_pairs(map.iter().map(|(key, item)| (key.clone(), value(item)))),
    }
}

/// Renders an environment's template.
pub(super) fn render(environment: &Environment<'static>, context: Value) -> Result<String, Error> {
    let mut sink = Sink(Vec::new());
    environment.get_template(NAME)?.render_captured_to(context, &mut sink)?;
    String::from_utf8(sink.0).map_err(|_| Error::new(ErrorKind::WriteFailure, "the text is not UTF-8"))
}

/// What has no value, such as `user.name`, where that is why rendering failed.
pub(super) fn undefined_expression(error: &Error) -> Option<&str> {
    // What goes wrong in an included template is the reason of an error of the including one.
    let inner = error.source().and_then(|source| source.downcast_ref::<Error>());
    if let Some(found) = inner.and_then(undefined_expression) {
        return Some(found);
    }
    // minijinja says "`user.name` is undefined", or puts that in parentheses behind another message.
    let detail = error.detail()?;
    let end = detail.rfind("` is undefined")?;
    let start = detail[..end].rfind('`')? + 1;
    Some(&detail[start..end])
}

/// Takes at most [`RENDERED_BYTES_MAX`].
struct Sink(Vec<u8>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > RENDERED_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Stands in for a missing variable in a trial rendering: empty, and so are its parts.
#[derive(Debug)]
struct StandIn;

impl Object for StandIn {
    fn get_value(self: &Arc<Self>, _: &Value) -> Option<Value> {
        Some(Value::from_object(Self))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Empty
    }
}

fn print(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), Error> {
    if let Some(text) = value.as_str() {
        return out.write_str(text).map_err(Error::from);
    }
    let text = charged(state, text::printed(value))?;
    out.write_str(&text).map_err(Error::from)
}

/// Nunjucks' `dump`: `JSON.stringify`, with an indent where one is given.
fn dump(state: &State<'_, '_>, value: &Value, indent: Option<usize>) -> Result<Value, Error> {
    if value.is_undefined() {
        // Handed on, so that the error names the variable.
        return Ok(value.clone());
    }
    let indent = indent.map(|spaces| spaces.min(INDENT_MAX)).filter(|spaces| *spaces > 0);
    charged(state, text::json(value, indent)).map(Value::from)
}

/// Nunjucks' `join`: of the items, or of one attribute of each.
fn join(
    state: &State<'_, '_>,
    value: &Value,
    separator: Option<String>,
    attribute: Option<String>,
) -> Result<Value, Error> {
    if value.is_undefined() {
        return Ok(value.clone());
    }
    let separator = separator.unwrap_or_default();
    let mut joined = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        if index > 0 {
            joined.push_str(&separator);
        }
        let item = attribute.as_deref().map_or(Ok(item.clone()), |name| item.get_attr(name))?;
        joined.push_str(&charged(state, text::printed(&item))?);
        if joined.len() > RENDERED_BYTES_MAX {
            return Err(ErrorKind::WriteFailure.into());
        }
    }
    Ok(Value::from(joined))
}

/// Pays for a text that was made outside of the engine's own accounting.
fn charged(state: &State<'_, '_>, text: Result<String, PrintError>) -> Result<String, Error> {
    match text {
        Ok(text) => {
            state.consume_fuel(1 + text.len() as u64 / 64)?;
            Ok(text)
        }
        Err(PrintError::TooLarge) => Err(ErrorKind::WriteFailure.into()),
        Err(PrintError::Invalid(why)) => Err(Error::new(ErrorKind::InvalidOperation, why)),
    }
}
