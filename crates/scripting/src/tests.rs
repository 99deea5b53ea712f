//! What scripts may do, and what they may not.

use std::time::Instant;

use serde_json::{Map, Value, json};

use crate::{CODE_BYTES_MAX, Script, ScriptError, TIME_MAX};

fn values(output: &str) -> Map<String, Value> {
    let values = json!({ "output": output, "context": { "vars": { "name": "Ann", "list": [1, 2] } } });
    values.as_object().unwrap().clone()
}

fn evaluated(code: &str) -> Result<Value, ScriptError> {
    Script::compile(code)?.evaluate(&["output", "context"], &values("hello"))
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
    // Compiling runs nothing.
    assert!(Script::compile("while (true) {}").is_ok());
}

#[test]
fn code_can_not_leave_its_place() {
    for code in ["1); while (true) {} (1", "} while (true) {} {", "*/ 1 /*"] {
        assert!(Script::compile(code).is_err(), "{code}");
    }
}

#[test]
fn what_is_thrown_is_told_with_its_line() {
    let error = evaluated("const a = 1;\nthrow new Error('no ' + output)").unwrap_err();
    assert!(matches!(&error, ScriptError::Thrown { line: Some(2), message } if message == "no hello"), "{error:?}");
    assert!(matches!(evaluated("missing.length"), Err(ScriptError::Thrown { .. })));
    assert!(matches!(evaluated("throw 'a text'"), Err(ScriptError::Thrown { message, .. }) if message == "a text"));
}

#[test]
fn a_result_is_json_or_none() {
    for code in ["undefined", "return", "() => {}", "Symbol('x')", "let x = 1"] {
        assert_eq!(evaluated(code), Err(ScriptError::NoJson), "{code}");
    }
    assert!(matches!(evaluated("const a = {}; a.a = a; return a"), Err(ScriptError::Thrown { .. })));
    is("NaN", &Value::Null);
    assert!(matches!(evaluated("'x'.repeat(2000000)"), Err(ScriptError::ResultTooLarge { .. })));
}

#[test]
fn nothing_hangs_and_nothing_grows_without_end() {
    let hanging = [
        "while (true) {}",
        "for (;;) { try { while (true) {} } catch (e) {} }",
        "const f = () => f(); try { f() } catch (e) { while (true) {} }",
        "/^(a+)+$/.test('a'.repeat(40) + 'b')",
        "new Array(1e9).fill(0).length",
        "let s = 'x'; while (true) { s += s }",
        "const a = []; while (true) { a.push(new Array(1000).fill('x')) }",
        "'x'.repeat(2 ** 29).split('')",
        "JSON.stringify(new Array(1e8))",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1e9)",
        "}); while (true) {} (() => {",
    ];
    for code in hanging {
        let started = Instant::now();
        let result = evaluated(code);
        assert!(result.is_err(), "{code}: {result:?}");
        assert!(started.elapsed() < TIME_MAX * 4, "{code} took {:?}", started.elapsed());
    }
    assert!(evaluated("const f = () => 1 + f(); return f()").is_err());
    // The next one finds a sound place.
    is("output", &json!("hello"));
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
    ] {
        is(&format!("typeof {name}"), &json!("undefined"));
    }
    assert!(evaluated("import('fs')").is_err() || evaluated("import('fs')") == Ok(json!({})));
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
