//! Scripts in processes of their own, which this program starts from itself.

#![expect(clippy::unwrap_used, reason = "a test that is its own harness: what fails ends it")]

use std::time::{Duration, Instant};

use pcs_scripting::{Bindings, Host, PythonScript, Script, ScriptError, TIME_MAX, isolate, serve};
use serde_json::{Value, json};

const HOST: &str = "script-host";
/// What a script that is ended with its process may take, and a little more.
const WAITED_MAX: Duration = Duration::from_secs(TIME_MAX.as_secs() * 15);

fn main() {
    if std::env::args().nth(1).as_deref() == Some(HOST) {
        serve().unwrap();
        return;
    }
    isolate(Host { program: std::env::current_exe().unwrap(), arguments: vec![HOST.to_owned()] });
    scripts_run_in_processes_as_they_do_on_threads();
    a_script_that_can_not_be_stopped_is_ended_with_its_process();
    a_process_that_is_killed_costs_no_script_its_result();
    a_script_that_ends_its_engine_ends_nothing_else();
    nothing_of_the_surroundings_is_there();
    python_is_not_run_where_nobody_allows_it();
    eprintln!("6 tests passed");
}

fn evaluated(code: &str) -> Result<Value, ScriptError> {
    Script::compile(code)?.evaluate(&Bindings::default().with("output", &"hello\n\u{2028}é"))
}

fn scripts_run_in_processes_as_they_do_on_threads() {
    assert_eq!(evaluated("output"), Ok(json!("hello\n\u{2028}é")));
    assert_eq!(
        evaluated("(output) => ({ pass: output.length > 3, score: 0.5 })"),
        Ok(json!({ "pass": true, "score": 0.5 }))
    );
    assert!(matches!(evaluated("return return"), Err(ScriptError::Syntax { line: Some(1), .. })));
    assert!(matches!(evaluated("\nthrow new Error('no')"), Err(ScriptError::Thrown { line: Some(2), .. })));
    assert!(matches!(evaluated("while (true) {}"), Err(ScriptError::TimedOut { .. })));
    let large = evaluated("'\"'.repeat(500000)").unwrap();
    assert_eq!(large.as_str().map(str::len), Some(500_000));
    assert_eq!(hosts().len(), 1, "one caller has one process");
}

fn a_script_that_can_not_be_stopped_is_ended_with_its_process() {
    // The engine asks for the time each 10,000 steps, and in some of its functions not at all.
    for code in [
        "const s = 'é'.repeat(1e6); while (true) { s.toUpperCase() }",
        "new Array(4294967295).sort()",
        "Array.prototype.reverse.call({ length: 2 ** 53 - 1 })",
        "[new Array(4294967295)].flat()",
        "const s = 'a'.repeat(4e6); return s.indexOf('a'.repeat(2e6) + 'b')",
    ] {
        let before = hosts();
        let started = Instant::now();
        let slow = evaluated(code);
        assert!(matches!(slow, Err(ScriptError::TimedOut { .. })), "{code}: {slow:?}");
        assert!(started.elapsed() < WAITED_MAX, "{code}: {:?}", started.elapsed());
        assert!(hosts().iter().all(|host| !before.contains(host)), "the process of {code} is gone");
        assert_eq!(evaluated("1"), Ok(json!(1)), "after {code}");
    }
}

fn a_process_that_is_killed_costs_no_script_its_result() {
    for host in hosts() {
        let status = std::process::Command::new("kill").args(["-9", &host]).status().unwrap();
        assert!(status.success());
    }
    assert_eq!(evaluated("output.length"), Ok(json!(8)));
}

fn a_script_that_ends_its_engine_ends_nothing_else() {
    // Without memory this expression read what was not there (QuickJS of rquickjs 0.14.0).
    let code = "const kept = []; try { while (true) kept.push(new Array(1000).fill({})) } catch (e) {}
        for (let i = 0; i < 50; i++) { try { eval(\"/(a)(?<b>b)/.exec('ab')\") } catch (e) {} }
        throw new Error('it may also get here')";
    assert!(evaluated(code).is_err());
    assert_eq!(evaluated("output.length"), Ok(json!(8)));
}

fn nothing_of_the_surroundings_is_there() {
    for host in hosts() {
        assert_eq!(std::fs::read(format!("/proc/{host}/environ")).unwrap(), b"", "its environment");
        assert_eq!(std::fs::read_link(format!("/proc/{host}/cwd")).unwrap(), std::path::Path::new("/"));
    }
}

fn python_is_not_run_where_nobody_allows_it() {
    let script = PythonScript::new("True").unwrap();
    assert_eq!(script.evaluate(&json!("out"), &json!({})), Err(ScriptError::NotAllowed));
}

/// The processes that this one has started, by their ids.
fn hosts() -> Vec<String> {
    let own = std::process::id();
    let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    children.split_whitespace().map(str::to_owned).collect()
}
