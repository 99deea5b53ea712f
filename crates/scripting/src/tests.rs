//! What scripts may do, and what they may not.

use serde_json::{Value, json};

use crate::{Bindings, CODE_BYTES_MAX, Script, ScriptError};

pub(crate) fn evaluated(code: &str) -> Result<Value, ScriptError> {
    let context = json!({ "vars": { "name": "Ann", "list": [1, 2] } });
    Script::compile(code)?.evaluate(&Bindings::default().with("output", &"hello").with("context", &context))
}

fn is(code: &str, expected: &Value) {
    assert_eq!(evaluated(code).as_ref(), Ok(expected), "{code}");
}

#[test]
fn expressions_bodies_and_functions_have_their_value() {
    is("output.length > 3", &json!(true));
    is("output.length;", &json!(5));
    is("output === 'hello' // it is", &json!(true));
    is("const n = output.length;\nreturn n * 2;", &json!(10));
    is(
        "if (output.includes('x')) return false; return { pass: true, score: 0.5, reason: 'ok' }",
        &json!({ "pass": true, "score": 0.5, "reason": "ok" }),
    );
    is("(output, context) => context.vars.name + output.length", &json!("Ann5"));
    is("output => output.toUpperCase()", &json!("HELLO"));
    is("function (output) { return output.length }", &json!(5));
    is("function named(output, context) { return context.vars.list[1] }", &json!(2));
    is("(output + '!').length", &json!(6));
    is("[1, 2].map(x => x * 2)", &json!([2, 4]));
    is("(() => output)()", &json!("hello"));
    is("JSON.parse('{\"a\": [1]}').a[0] === 1", &json!(true));
    is("/l+/.test(output)", &json!(true));
    is("{ pass: true }.pass", &json!(true));
    is("function () { return 1 }()", &json!(1));
    is("\noutput\n  .includes('ell')\n", &json!(true));
}

#[test]
fn a_line_of_statements_has_the_value_of_its_last_one() {
    is("const n = output.length; n > 3", &json!(true));
    is("const s = output + ';b'; s === 'hello;b';", &json!(true));
    is("count = output.length; count", &json!(5));
    // With more lines, `return` says what the result is.
    assert_eq!(evaluated("const n = output.length;\nn > 3"), Err(ScriptError::NoJson));
    assert_eq!(evaluated(""), Err(ScriptError::NoJson));
}

#[test]
fn one_script_is_done_after_the_other_however_they_are_written() {
    let forms = [
        ("JSON.parse(output)", "output.n + context.vars.list.length"),
        ("const o = JSON.parse(output); return o;", "const n = output.n; return n + 2"),
        ("(output) => JSON.parse(output) // why", "(o, context) => o.n + context.vars.list[1]"),
        ("const o = JSON.parse(output); o", "const n = output.n; n + 2"),
        ("async (output) => JSON.parse(output)", "async function (o) { return o.n + 2 }"),
    ];
    let context = json!({ "vars": { "list": [1, 2] } });
    for (first, _) in forms {
        for (_, second) in forms {
            let both = Script::compile(first).unwrap().then(&Script::compile(second).unwrap());
            let bindings = Bindings::default().with("output", &"{\"n\": 3}").with("context", &context);
            assert_eq!(Script::compile(&both).unwrap().evaluate(&bindings), Ok(json!(5)), "{both}");
        }
    }
}

#[test]
fn promises_are_waited_for_as_far_as_they_can_be_kept() {
    is("async (output) => output.length", &json!(5));
    is("(async () => { await null; return context.vars.name })()", &json!("Ann"));
    is("Promise.all([1, Promise.resolve(2)])", &json!([1, 2]));
    assert_eq!(evaluated("new Promise(() => {})"), Err(ScriptError::Unsettled));
    let rejected = evaluated("Promise.reject(new Error('no'))");
    assert!(matches!(&rejected, Err(ScriptError::Thrown { message, .. }) if message == "no"), "{rejected:?}");
    // What is left to be done is not done in the next script's place.
    is("const f = () => Promise.resolve().then(f); f(); return 1", &json!(1));
    is("output", &json!("hello"));
}

#[test]
fn compiling_runs_nothing() {
    for code in ["while (true) {}", "(() => { while (true) {} })()", "const a = (() => { while (true) {} })(); a"] {
        assert!(Script::compile(code).is_ok(), "{code}");
    }
}

#[test]
fn what_is_no_javascript_is_refused_with_its_line() {
    let error = Script::compile("const a = 1;\nreturn a +;").unwrap_err();
    assert!(matches!(error, ScriptError::Syntax { line: Some(2), .. }), "{error:?}");
    for code in ["return return", "}", "(", "`", "class", "{ a: }"] {
        assert!(matches!(Script::compile(code), Err(ScriptError::Syntax { .. })), "{code}");
    }
    let large = "1".repeat(CODE_BYTES_MAX + 1);
    assert!(matches!(Script::compile(&large), Err(ScriptError::TooLarge { .. })));
    assert!(matches!(Script::compile("output\0"), Err(ScriptError::Syntax { .. })));
}

#[test]
fn code_can_not_leave_its_place() {
    for code in ["1); while (true) {} (1", "} while (true) {} {", "*/ 1 /*", "})(); while (true) {} (() => {", "} } {{"]
    {
        assert!(Script::compile(code).is_err(), "{code}");
    }
}

#[test]
fn what_is_thrown_is_told_with_its_line() {
    let error = evaluated("const a = 1;\nthrow new Error('no ' + output)").unwrap_err();
    assert!(matches!(&error, ScriptError::Thrown { line: Some(2), message } if message == "no hello"), "{error:?}");
    assert!(matches!(evaluated("missing.length"), Err(ScriptError::Thrown { .. })));
    for (code, said) in [
        ("throw 'a text'", "a text"),
        ("throw ''", "an empty text"),
        ("throw new Error('')", "an error without a message"),
        ("throw null", "null, or ran out of memory"),
        ("throw 1", "a value of the type int"),
        ("throw new Error('x'.repeat(1000))", &*"x".repeat(300)),
    ] {
        let error = evaluated(code);
        assert!(matches!(&error, Err(ScriptError::Thrown { message, .. }) if message == said), "{code}: {error:?}");
    }
}

#[test]
fn a_result_is_json_or_none() {
    for code in ["undefined", "return", "() => {}", "Symbol('x')", "let x = 1", "() => output.at"] {
        assert_eq!(evaluated(code), Err(ScriptError::NoJson), "{code}");
    }
    assert!(matches!(evaluated("const a = {}; a.a = a; return a"), Err(ScriptError::Thrown { .. })));
    is("NaN", &Value::Null);
    // What the script makes of its own JSON does not matter.
    is("JSON.stringify = () => '1'; return { a: output }", &json!({ "a": "hello" }));
    assert!(matches!(evaluated("10n"), Err(ScriptError::Thrown { .. })));
    assert!(matches!(evaluated("'x'.repeat(2000000)"), Err(ScriptError::ResultTooLarge { .. })));
}

#[test]
fn there_is_nothing_around() {
    for name in [
        "process",
        "require",
        "fetch",
        "console",
        "setTimeout",
        "XMLHttpRequest",
        "WebAssembly",
        "Deno",
        "std",
        "os",
        "print",
        "scriptArgs",
        "Worker",
        "performance",
        "navigator",
        "gc",
    ] {
        is(&format!("typeof {name}"), &json!("undefined"));
    }
    assert!(matches!(evaluated("import('fs')"), Err(ScriptError::Thrown { .. })));
    assert!(matches!(evaluated("eval(\"import('fs')\")"), Err(ScriptError::Thrown { .. })));
    assert!(matches!(Script::compile("import fs from 'fs'"), Err(ScriptError::Syntax { .. })));
}

#[test]
fn one_evaluation_leaves_nothing_to_the_next() {
    let poison = "Array.prototype.includes = () => true; Object.prototype.pass = true; globalThis.x = 1; return true";
    is(poison, &json!(true));
    is("[].includes('a') || 'pass' in {} || typeof x !== 'undefined'", &json!(false));
    is("output = 'changed'; return output", &json!("changed"));
    is("output", &json!("hello"));
}
