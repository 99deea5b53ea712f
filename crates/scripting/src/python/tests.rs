//! What Python says, and what keeps it in its place.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{PythonScript, allow_python, process};
use crate::ScriptError;

fn evaluated(code: &str) -> Result<Value, ScriptError> {
    allow_python(PathBuf::from("python3"));
    PythonScript::new(code)?.evaluate(&json!("hello"), &json!({ "vars": { "name": "Ann", "list": [1, 2] } }))
}

fn is(code: &str, expected: &Value) {
    assert_eq!(evaluated(code).as_ref(), Ok(expected), "{code}");
}

#[test]
fn expressions_bodies_and_modules_have_their_value() {
    is("len(output) > 3", &json!(true));
    is("{'pass': output == 'hello', 'score': 0.5}", &json!({ "pass": true, "score": 0.5 }));
    is("import re\nif re.search('l+', output):\n    return len(output)\nreturn 0", &json!(5));
    is("text = '''a\n  b'''\nreturn text", &json!("a\n  b"));
    is("def get_assert(output, context):\n    return context['vars']['name'] + output", &json!("Annhello"));
    is("async def get_assert(output, context):\n    return context['vars']['list'][1]", &json!(2));
    is("def check(output, context):\n    return 0.25\n\nget_assert = check", &json!(0.25));
    is("print('noise')\nreturn True", &json!(true));
}

#[test]
fn what_goes_wrong_is_told_with_its_line() {
    let raised = evaluated("x = 1\nraise ValueError('no ' + output)");
    assert!(
        matches!(&raised, Err(ScriptError::Thrown { line: Some(2), message }) if message == "ValueError: no hello"),
        "{raised:?}"
    );
    let unread = evaluated("x = 1\nreturn (");
    assert!(matches!(&unread, Err(ScriptError::Thrown { line: Some(2), .. })), "{unread:?}");
    for code in ["float('nan')", "object()", "import sys\nsys.exit(0)"] {
        assert!(matches!(evaluated(code), Err(ScriptError::Thrown { .. })), "{code}");
    }
    assert!(matches!(evaluated("'x' * 1500000"), Err(ScriptError::ResultTooLarge { .. })));
    assert_eq!(evaluated("import os\nos._exit(3)"), Err(ScriptError::Crashed));
}

#[test]
fn it_has_little_to_take() {
    assert!(matches!(evaluated("'x' * (2 ** 31)"), Err(ScriptError::OutOfMemory { .. })));
    is(
        "import os\nreturn sorted(set(os.environ) - {'LC_CTYPE'})",
        &json!(["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "PYTHONUTF8"]),
    );
    is("import os\nreturn os.getcwd()", &json!("/"));
    let code =
        "import tempfile\nwith tempfile.TemporaryFile() as file:\n    file.write(b'x')\n    file.flush()\nreturn 1";
    assert!(matches!(evaluated(code), Err(ScriptError::Thrown { .. })), "it may write no file");
}

#[test]
fn an_endless_one_is_ended() {
    let started = Instant::now();
    assert!(matches!(evaluated("while True: pass"), Err(ScriptError::TimedOut { .. } | ScriptError::Crashed)));
    assert!(started.elapsed() < process::PYTHON_TIME_MAX + Duration::from_secs(60), "{:?}", started.elapsed());
}
