//! Scripts that would hang or grow without end. Those that end their engine are in `tests/process.rs`.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::tests::evaluated;
use crate::{ScriptError, TIME_MAX};

/// What a script may take with all waiting; tests are not optimised and run beside each other.
const WAITED_MAX: Duration = Duration::from_secs(TIME_MAX.as_secs() * 15);

/// Asserts that each script fails in time, and that the next one finds a sound place.
#[track_caller]
fn fail_in_time(scripts: &[&str]) {
    for code in scripts {
        let started = Instant::now();
        let result = evaluated(code);
        assert!(result.is_err(), "{code}: {result:?}");
        assert!(started.elapsed() < WAITED_MAX, "{code} took {:?}", started.elapsed());
        assert_eq!(evaluated("output"), Ok(json!("hello")), "after {code}");
    }
}

#[test]
fn endless_work_is_stopped_and_can_not_be_caught() {
    for code in [
        "while (true) {}",
        "for (;;) { try { while (true) {} } catch (e) {} }",
        "const f = () => f(); try { f() } catch (e) { while (true) {} }",
        "/^(a+)+$/.test('a'.repeat(40) + 'b')",
        "({ toJSON() { while (true) {} } })",
        "eval('while (true) {}')",
        "new Function('while (true) {}')()",
        "new Array(4294967295).every(x => x)",
    ] {
        let started = Instant::now();
        assert_eq!(evaluated(code), Err(ScriptError::timed_out()), "{code}");
        assert!(started.elapsed() < WAITED_MAX, "{code} took {:?}", started.elapsed());
    }
}

#[test]
fn memory_and_stack_end_without_ending_the_process() {
    fail_in_time(&[
        "let s = 'x'; while (true) { s += s }",
        "const a = []; while (true) { a.push(new Array(1000).fill('x')) }",
        "'x'.repeat(2 ** 29).split('')",
        "JSON.stringify(new Array(1e8))",
        "const f = () => 1 + f(); return f()",
        "JSON.parse('['.repeat(1e6))",
        "eval('('.repeat(1e6))",
        "new RegExp('('.repeat(1e5) + ')'.repeat(1e5))",
        "let a = []; for (let i = 0; i < 1e5; i++) a = [a]; return a",
        "const f = () => Promise.resolve().then(f); return f()",
        "Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1e9)",
    ]);
}

#[test]
fn a_script_whose_steps_are_long_is_left_to_itself() {
    // The engine asks for the time each 10,000 steps, and each of these takes milliseconds: it goes on for a minute.
    let started = Instant::now();
    let slow = "const s = 'é'.repeat(1e6); while (true) { s.toUpperCase() }";
    assert_eq!(evaluated(slow), Err(ScriptError::timed_out()));
    assert!(started.elapsed() < WAITED_MAX, "{:?}", started.elapsed());
    assert_eq!(evaluated("output"), Ok(json!("hello")));
}

#[test]
fn many_callers_share_the_threads() {
    let slow: Vec<_> = (0..24).map(|_| std::thread::spawn(|| evaluated("let n = 0; while (n < 1e5) n++; n"))).collect();
    for caller in slow {
        assert_eq!(caller.join().unwrap(), Ok(json!(100_000)));
    }
}
