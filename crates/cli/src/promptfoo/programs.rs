//! Programs in files that assertions and transforms name: taken as text, so that workers need no files.

use std::sync::LazyLock;

use regex::Regex;

use super::Reading;
use super::files::{self, FILE};
use crate::suite::error::{Place, SuiteError};
use crate::suite::source::{CASES_BYTES_MAX, Source};

/// Endings of files whose JavaScript is taken.
const JAVASCRIPT: [&str; 3] = ["js", "cjs", "mjs"];
/// Endings of programs that are not.
const OTHERS: [&str; 4] = ["ts", "cts", "mts", "rb"];
const PYTHON: &str = "py";

/// What needs another file or package.
static IMPORTS: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"^\s*(import\s*[\w*{"']|import\()|^\s*[^/*\s].*\brequire\s*\(|^require\s*\("#).ok());
static DEFAULT: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"(?m)^export\s+default\s+").ok());
static EXPORTED: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"(?m)^export\s+((?:async\s+)?function\s*\*?|const|let|class)\s+([A-Za-z_$][\w$]*)").ok()
});

impl Reading<'_> {
    /// Code, or what the program holds that it names: `file://x.js`, `file://x.js:function`, `file://x.py`.
    pub(super) fn code(&self, place: Place, text: String) -> Result<String, SuiteError> {
        let Some(written) = text.strip_prefix(FILE) else { return Ok(text) };
        let (path, function) = divided(written);
        let end = files::extension(path);
        let is_javascript = JAVASCRIPT.contains(&end.as_str());
        if !is_javascript && end != PYTHON {
            let message = format!("{path} is no program that can be taken over");
            return Err(self.source.error(place, message, "write it in JavaScript (.js) or Python (.py), or inline"));
        }
        let file = files::matching(self.source, place, self.folder, path)?.remove(0);
        let program = Source::read(&file, CASES_BYTES_MAX)?;
        if !is_javascript {
            let of_name = |name: &str| format!("{}\n\nget_assert = {name}\n", program.text);
            return Ok(function.map_or_else(|| program.text.clone(), of_name));
        }
        if let Some(line) = first_import(&program.text) {
            let message = "the program needs modules, and is run where there are none";
            return Err(program.error(Place::line(line), message, "write what it needs into the file itself"));
        }
        Ok(javascript(&program.text, function))
    }
}

/// Whether a value names a program and not a text.
pub(super) fn is_program(path: &str) -> bool {
    language(path).is_some() || OTHERS.contains(&files::extension(divided(path).0).as_str())
}

/// The kind of assertion that a program is.
pub(super) fn language(path: &str) -> Option<&'static str> {
    let end = files::extension(divided(path).0);
    if JAVASCRIPT.contains(&end.as_str()) { Some("javascript") } else { (end == PYTHON).then_some("python") }
}

/// A path, and the function that is meant of what is there.
fn divided(written: &str) -> (&str, Option<&str>) {
    match written.rsplit_once(':') {
        Some((path, function)) if !path.is_empty() && !function.contains(['/', '\\', '.']) => (path, Some(function)),
        _ => (written, None),
    }
}

fn first_import(text: &str) -> Option<u64> {
    let pattern = IMPORTS.as_ref()?;
    let code = |line: &str| pattern.is_match(line.split("//").next().unwrap_or_default());
    (1..).zip(text.lines()).find(|(_, line)| code(line)).map(|(number, _)| number)
}

/// A module as an expression whose value is its function; its lines stay where they are.
fn javascript(text: &str, function: Option<&str>) -> String {
    let names: Vec<String> = EXPORTED
        .as_ref()
        .map(|pattern| pattern.captures_iter(text).map(|found| found[2].to_owned()).collect())
        .unwrap_or_default();
    let text = match &*DEFAULT {
        Some(pattern) => pattern.replace_all(text, "module.exports.default = ").into_owned(),
        None => text.to_owned(),
    };
    let text = match &*EXPORTED {
        Some(pattern) => pattern.replace_all(&text, "$1 $2").into_owned(),
        None => text,
    };
    let exported: String = names.iter().map(|name| format!("module.exports.{name} = {name}; ")).collect();
    let found = match function {
        Some(name) => format!("module.exports.{name} ?? (typeof {name} === 'undefined' ? undefined : {name})"),
        None => "typeof module.exports === 'function' ? module.exports : module.exports.default".to_owned(),
    };
    let wanted = function.map_or_else(|| "function".to_owned(), |name| format!("function {name}"));
    format!(
        "(() => {{ const module = {{ exports: {{}} }}; let exports = module.exports; {text}\n;{exported}\n\
         const found = {found};\nif (typeof found !== 'function') throw new Error('the file exports no {wanted}');\n\
         return found; }})()"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use pcs_scripting::{Bindings, Script};
    use serde_json::json;

    fn value(text: &str, function: Option<&str>) -> serde_json::Value {
        let code = javascript(text, function);
        let script = Script::compile(&code).unwrap_or_else(|error| panic!("{error}: {code}"));
        script.evaluate(&Bindings::default().with("output", &"ab").with("context", &json!({}))).unwrap()
    }

    #[test]
    fn modules_of_all_forms_are_functions() {
        let both = "const twice = (o) => o.length * 2;\nmodule.exports = { twice, once(o) { return o.length } };";
        assert_eq!(value(both, Some("twice")), json!(4));
        assert_eq!(value(both, Some("once")), json!(2));
        assert_eq!(value("module.exports = (output) => output === 'ab'; // yes", None), json!(true));
        assert_eq!(value("export default function (output) { return output.length }", None), json!(2));
        assert_eq!(value("export default async (output) => output.length", None), json!(2));
        assert_eq!(
            value("export const last = (o) => o.at(-1);\nexport function first(o) { return o[0] }", Some("first")),
            json!("a")
        );
        assert_eq!(value("function hidden(o) { return o }", Some("hidden")), json!("ab"));
    }

    #[test]
    fn what_needs_modules_is_found() {
        for (text, line) in [
            ("const a = 1;\nconst fs = require('fs');", Some(2)),
            ("import fs from 'fs';", Some(1)),
            ("\nimport { a } from './a.js'", Some(2)),
            ("// const fs = require('fs')\nconst important = 1; // require(", None),
            ("/* import x */\nmodule.exports = (o) => o", None),
        ] {
            assert_eq!(first_import(text), line, "{text}");
        }
    }

    #[test]
    fn a_function_is_named_behind_the_path() {
        assert_eq!(divided("a/b.js:fn"), ("a/b.js", Some("fn")));
        assert_eq!(divided("a/b.js"), ("a/b.js", None));
        assert!(is_program("x.py:f") && is_program("x.ts") && !is_program("x.txt") && !is_program("x.json"));
    }
}
