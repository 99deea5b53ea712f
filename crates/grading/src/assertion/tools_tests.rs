//! Calls of tools, and the demands on them.

use pcs_domain::assertion::Assertion;
use serde_json::{Map, Value, json};

use super::*;

fn refused(assertion: Value) -> String {
    let assertion: Assertion = serde_json::from_value(assertion).unwrap();
    Check::compile(&assertion).unwrap_err().to_string()
}

#[test]
fn calls_are_of_the_tools_that_there_are() {
    let tools: Vec<Map<String, Value>> = serde_json::from_value(json!([
        { "type": "function", "function": { "name": "weather", "parameters": { "type": "object", "required": ["city"],
            "properties": { "city": { "type": "string" } }, "additionalProperties": false } } },
        { "name": "time" },
    ]))
    .unwrap();
    let verdict = |assertion: Value, output: &str, tools: &[Map<String, Value>]| {
        let assertion: Assertion = serde_json::from_value(assertion).unwrap();
        let variables = Map::new();
        let subject = Subject {
            output,
            is_value: false,
            tools,
            latency_ms: 1,
            cost_micro_usd: None,
            finish_reason: None,
            variables: &variables,
        };
        Check::compile(&assertion).unwrap().verdict(&subject)
    };
    let call = |name: &str, arguments: &str| json!({ "id": "c", "type": "function", "function": { "name": name, "arguments": arguments } });
    let good = json!([call("weather", r#"{"city": "Rome"}"#), call("time", "{}")]).to_string();
    let of_tools = json!({ "type": "is-valid-openai-tools-call" });
    assert!(verdict(of_tools.clone(), &good, &tools).passed);
    for (output, why) in [
        (json!([call("weather", r#"{"city": 1}"#)]).to_string(), "not of its schema at /city"),
        (json!([call("weather", "{}")]).to_string(), "\"city\" is a required property"),
        (json!([call("weather", "{")]).to_string(), "are no JSON"),
        (json!([call("nobody", "{}")]).to_string(), "was given no tool \"nobody\""),
        (json!([]).to_string(), "no tool is called"),
        (call("time", "{}").to_string(), "no list of calls"),
        ("It is sunny.".to_owned(), "no call"),
        ("[{\"a\": 1}]".to_owned(), "no call of a tool"),
    ] {
        let missed = verdict(of_tools.clone(), &output, &tools);
        assert!(!missed.passed && missed.reason.contains(why), "{output}: {missed:?}");
        assert!(verdict(json!({ "type": "not-is-valid-openai-tools-call" }), &output, &tools).passed, "{output}");
    }
    for alone in [
        json!({ "name": "time", "arguments": "{}" }),
        json!({ "function_call": { "name": "time", "arguments": {} } }),
        json!({ "tool_calls": [call("time", "{}")] }),
    ] {
        assert!(verdict(json!({ "type": "is-valid-function-call" }), &alone.to_string(), &tools).passed, "{alone}");
    }
    for kind in ["is-valid-function-call", "not-is-valid-function-call"] {
        let none = verdict(json!({ "type": kind }), &good, &[]);
        assert!(!none.passed && none.reason.contains("was given no tools"), "{none:?}");
    }
    let f1 = |value: Value, threshold: f64| {
        verdict(json!({ "type": "tool-call-f1", "value": value, "threshold": threshold }), &good, &[])
    };
    assert!(f1(json!(["time", "weather"]), 1.0).passed);
    let some = f1(json!("weather, news"), 0.5);
    assert!(some.passed && (some.score - 0.5).abs() < 1e-9, "{some:?}");
    assert!(!f1(json!(["news"]), 0.1).passed);
    assert!(refused(json!({ "type": "tool-call-f1" })).contains("the names of the tools"));
    assert!(refused(json!({ "type": "is-valid-function-call", "value": [] })).contains("params.tools"));
}
