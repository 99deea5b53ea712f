//! Code, sets, transforms, markup, SQL and METEOR.

use pcs_domain::assertion::{Assertion, Verdict};
use serde_json::{Map, Value, json};

use super::*;

fn variables() -> Map<String, Value> {
    json!({ "name": "Ann", "limit": 3 }).as_object().unwrap().clone()
}

fn verdict(assertion: Value, output: &str) -> Verdict {
    let assertion: Assertion = serde_json::from_value(assertion).unwrap();
    let variables = variables();
    let subject = Subject { output, latency_ms: 1, cost_micro_usd: None, finish_reason: None, variables: &variables };
    Check::compile(&assertion).unwrap().verdict(&subject)
}

fn passes(assertion: Value, output: &str) -> bool {
    verdict(assertion, output).passed
}

fn refused(assertion: Value) -> String {
    let assertion: Assertion = serde_json::from_value(assertion).unwrap();
    Check::compile(&assertion).unwrap_err().to_string()
}

#[test]
fn code_returns_a_truth_value_a_score_or_both() {
    let code = |value: &str| json!({ "type": "javascript", "value": value });
    assert!(passes(code("output.includes(context.vars.name)"), "Hi Ann"));
    assert!(!passes(code("output.length > context.vars.limit"), "ab"));
    assert!(!passes(json!({ "type": "not-javascript", "value": "output.length > 1" }), "ab"));
    let scored = verdict(code("output.length / 10"), "four!");
    assert!(scored.passed && (scored.score - 0.5).abs() < 1e-9, "{scored:?}");
    assert!(!passes(code("0"), "x"));
    assert!(!passes(json!({ "type": "javascript", "value": "0.6", "threshold": 0.7 }), "x"));
    let said = verdict(code("return { pass: false, score: 0.25, reason: 'too ' + output }"), "short");
    assert_eq!((said.passed, said.score, said.reason.as_str()), (false, 0.25, "too short"));
    assert!(passes(
        json!({ "type": "javascript", "value": "context.config.least <= output.length", "config": { "least": 2 } }),
        "ab"
    ));
}

#[test]
fn code_that_says_nothing_or_throws_fails_both_ways() {
    for value in ["'yes'", "null", "({ score: 1 })", "missing.length", "undefined", "while (true) {}"] {
        for kind in ["javascript", "not-javascript"] {
            let failed = verdict(json!({ "type": kind, "value": value }), "x");
            assert!(!failed.passed && failed.reason.contains("can't be evaluated"), "{kind} {value}: {failed:?}");
        }
    }
    assert!(refused(json!({ "type": "javascript", "value": "return (" })).contains("no JavaScript"));
    assert!(refused(json!({ "type": "javascript" })).contains("needs JavaScript"));
}

#[test]
fn a_transform_says_what_is_looked_at() {
    let upper = json!({ "type": "equals", "value": "ANN", "transform": "output.trim().toUpperCase()" });
    assert!(passes(upper, " ann "));
    let field = json!({ "type": "equals", "value": "3", "transform": "JSON.parse(output).n" });
    assert!(passes(field.clone(), "{\"n\": 3}"));
    let failed = verdict(field, "no JSON");
    assert!(!failed.passed && failed.reason.contains("the transform failed"), "{failed:?}");
    assert!(refused(json!({ "type": "equals", "value": "x", "transform": "output." })).contains("no JavaScript"));
    let transform = Transform::compile("({ a: output })").unwrap();
    assert_eq!(transform.apply("x", &variables()).unwrap(), "{\"a\":\"x\"}");
}

#[test]
fn a_set_counts_as_one() {
    let members = json!([
        { "type": "contains", "value": "a", "weight": 3 },
        { "type": "contains", "value": "{{name}}" },
    ]);
    let set = |more: Value| {
        let mut set = json!({ "type": "assert-set", "value": members });
        set.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        set
    };
    assert!(passes(set(json!({})), "a Ann"));
    let missed = verdict(set(json!({})), "a");
    assert!(!missed.passed && (missed.score - 0.75).abs() < 1e-9, "{missed:?}");
    assert!(missed.reason.contains("contains: the output does not contain"), "{missed:?}");
    assert!(passes(set(json!({ "threshold": 0.7 })), "a"));
    assert!(!passes(set(json!({ "threshold": 0.8 })), "a"));
    assert!(passes(json!({ "type": "not-assert-set", "value": members }), "b"));
    for value in [
        json!([]),
        json!("x"),
        json!([{ "type": "assert-set", "value": members }]),
        json!([{ "type": "llm-rubric", "value": "x" }]),
    ] {
        assert!(refused(json!({ "type": "assert-set", "value": value })).contains("a list of assertions"));
    }
    assert!(
        refused(json!({ "type": "assert-set", "value": [{ "type": "containz", "value": "x" }] })).contains("contains")
    );
    assert!(refused(json!({ "type": "assert-set", "value": [{ "kind": "contains" }] })).contains("one is none"));
}

#[test]
fn xml_is_well_formed_and_has_its_elements() {
    let xml = |value: Value| json!({ "type": "is-xml", "value": value });
    let order = "<?xml version=\"1.0\"?><order id=\"1\"><item>a</item><total/></order>";
    for paths in [
        json!(null),
        json!("order.item, order.total"),
        json!(["order"]),
        json!({ "requiredElements": ["order.total"] }),
    ] {
        assert!(passes(xml(paths.clone()), order), "{paths}");
    }
    assert!(verdict(xml(json!(["order.price"])), order).reason.contains("lacks order.price"));
    for broken in ["", "text", "<a>", "<a></b>", "<a/><b/>", "<a/> text", "text <a/>"] {
        assert!(!passes(xml(json!(null)), broken), "{broken}");
    }
    let within = |value: Value| json!({ "type": "contains-xml", "value": value });
    assert!(passes(within(json!("b.c")), "first <a/> then <b><c/></b>, 1 < 2"));
    assert!(!passes(within(json!("b.d")), "first <a/> then <b><c/></b>"));
    assert!(!passes(within(json!(null)), "1 < 2"));
    assert!(!passes(xml(json!(null)), &"<a>".repeat(100_000)));
}

#[test]
fn html_is_known_by_its_elements() {
    let html = json!({ "type": "is-html" });
    for good in ["<p>hi</p>", "<!DOCTYPE html><html><body><br><img src=x></body></html>", "<div><p>a</p></div>"] {
        assert!(passes(html.clone(), good), "{good}");
    }
    for bad in ["", "text", "<p>hi", "<p><b>hi</p></b>", "see <p>hi</p>", "<order/>", "1 < 2 > 1"] {
        assert!(!passes(html.clone(), bad), "{bad}");
    }
    assert!(passes(json!({ "type": "contains-html" }), "see <p>hi</p>"));
    assert!(!passes(json!({ "type": "contains-html" }), "a < b and c > d"));
}

#[test]
fn sql_is_parsed_and_keeps_to_what_is_allowed() {
    let sql = |value: Value| json!({ "type": "is-sql", "value": value });
    assert!(passes(sql(json!(null)), "select a, b from t where a > 1"));
    for bad in ["", "selec a from t", "hello", "select from where"] {
        assert!(!passes(sql(json!(null)), bad), "{bad}");
    }
    let only = json!({ "databaseType": "PostgreSQL", "allowedTables": ["select::null::orders"], "allowedColumns": ["select::orders::id"] });
    assert!(passes(sql(only.clone()), "select id from orders"));
    assert!(verdict(sql(only.clone()), "select id from users").reason.contains("the table users"));
    assert!(verdict(sql(only), "select o.name from orders o").reason.contains("the column name"));
    assert!(passes(json!({ "type": "contains-sql" }), "Use this:\n```sql\nselect 1\n```\n"));
    assert!(!passes(sql(json!(null)), &format!("select {}1{}", "(".repeat(10_000), ")".repeat(10_000))));
    assert!(refused(sql(json!({ "tables": [] }))).contains("allowedTables"));
}

#[test]
fn meteor_takes_stems_and_minds_the_order() {
    let meteor = |least: f64| json!({ "type": "meteor", "value": "the cats were running fast", "threshold": least });
    assert!(passes(meteor(0.9), "the cats were running fast"));
    assert!(passes(meteor(0.9), "The cat were runs fast"));
    assert!(!passes(meteor(0.9), "fast running were cats the"));
    assert!(!passes(meteor(0.1), "a dog"));
    assert!((verdict(meteor(0.9), "the cats were running fast").score - 0.996).abs() < 1e-9);
}
