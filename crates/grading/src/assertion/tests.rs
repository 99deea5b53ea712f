//! Each kind of assertion against outputs that meet it and outputs that do not, and what is refused up front.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::excerpt::EXCERPT_CHARS_MAX;

fn assertion(fields: Value) -> Assertion {
    serde_json::from_value(fields).unwrap()
}

fn subject<'a>(output: &'a str, variables: &'a Map<String, Value>) -> Subject<'a> {
    Subject {
        output,
        is_value: false,
        tools: &[],
        latency_ms: 250,
        cost_micro_usd: Some(1_500),
        finish_reason: Some("stop"),
        variables,
    }
}

fn verdict(fields: &Value, output: &str) -> Verdict {
    let variables =
        json!({ "expected_output": "18", "city": "Paris", "list": ["a", "b"], "empty": "", "pattern": "^P.*s$" });
    let check = Check::compile(&assertion(fields.clone())).unwrap_or_else(|error| panic!("{fields}: {error}"));
    check.verdict(&subject(output, variables.as_object().unwrap()))
}

/// Asserts the verdict, and that `not-` turns it round with the same reason.
#[track_caller]
fn says(fields: Value, output: &str, passes: bool, reason: &str) {
    let plain = verdict(&fields, output);
    assert_eq!((plain.passed, plain.reason.as_str()), (passes, reason), "{fields} of {output:?}");
    assert_eq!(plain.score, if passes { 1.0 } else { 0.0 });
    let mut negated = fields;
    negated["type"] = json!(format!("not-{}", plain.kind));
    let opposite = verdict(&negated, output);
    assert_eq!((opposite.passed, opposite.reason.as_str()), (!passes, reason), "{negated} of {output:?}");
}

/// Asserts that the verdict is failed because it can't be evaluated, with `not-` and without.
#[track_caller]
fn gives_up(fields: &Value, output: &str, why: &str) {
    let kind = fields["type"].as_str().unwrap();
    for kind in [kind.to_owned(), format!("not-{kind}")] {
        let mut fields = fields.clone();
        fields["type"] = json!(kind);
        let verdict = verdict(&fields, output);
        assert!(!verdict.passed, "{fields}");
        assert!(verdict.reason.contains(why) && verdict.reason.contains("can't be evaluated"), "{}", verdict.reason);
    }
}

#[track_caller]
fn refused(fields: Value) -> AssertionError {
    Check::compile(&assertion(fields.clone())).expect_err(&fields.to_string())
}

#[test]
fn equals() {
    says(json!({ "type": "equals", "value": "{{ expected_output }}" }), "18", true, r#"the output is "18""#);
    says(json!({ "type": "equals", "value": "a" }), "b", false, r#"the output is "b", not "a""#);
    says(json!({ "type": "equals", "value": "a" }), "a ", false, r#"the output is "a ", not "a""#);
    says(json!({ "type": "equals", "value": "" }), "", true, r#"the output is """#);
    says(json!({ "type": "equals", "value": 18.0 }), "18", true, r#"the output is "18""#);
    says(json!({ "type": "equals", "value": true }), "true", true, r#"the output is "true""#);
    let object = json!({ "type": "equals", "value": { "b": [1.0, { "c": null }], "a": "x" } });
    says(object.clone(), r#" {"a":"x","b":[1,{"c":null}]} "#, true, "the output is equal to the value as JSON");
    let reason = r#"the output is "{\"a\":1}", not "{\"a\":\"x\",\"b\":[1.0,{\"c\":null}]}""#;
    says(object.clone(), r#"{"a":1}"#, false, reason);
    says(object, "x", false, "the output is not JSON: expected value at line 1 column 1");
}

#[test]
fn texts_in_the_output() {
    says(json!({ "type": "contains", "value": "{{city}}" }), "in Paris.", true, r#"the output contains "Paris""#);
    says(json!({ "type": "contains", "value": "paris" }), "Paris", false, r#"the output does not contain "paris""#);
    says(json!({ "type": "contains", "value": 18 }), "A: 18", true, r#"the output contains "18""#);
    says(json!({ "type": "icontains", "value": "ÜBER" }), "Darüber", true, r#"the output contains "ÜBER""#);
    says(json!({ "type": "icontains", "value": "x" }), "", false, r#"the output does not contain "x""#);
    says(json!({ "type": "starts-with", "value": "Pa" }), "Paris", true, r#"the output starts with "Pa""#);
    says(json!({ "type": "starts-with", "value": "is" }), "Paris", false, r#"the output does not start with "is""#);
    gives_up(&json!({ "type": "contains", "value": "{{ empty }}" }), "x", "empty text");
    gives_up(&json!({ "type": "contains", "value": "{{ absent }}" }), "x", "absent has no value");
}

#[test]
fn counted_words() {
    let exact = json!({ "type": "word-count", "value": 2 });
    says(exact.clone(), " two\nwords ", true, "the output has 2 words; wanted are 2");
    says(exact, "", false, "the output has 0 words; wanted are 2");
    let bounds = |value: Value| json!({ "type": "word-count", "value": value });
    says(bounds(json!({ "min": 1, "max": 3 })), "a b c", true, "the output has 3 words; wanted are 1 to 3");
    says(bounds(json!({ "min": 2 })), "a", false, "the output has 1 words; wanted are at least 2");
    says(bounds(json!({ "max": 2 })), "a b c", false, "the output has 3 words; wanted are 0 to 2");
    for wrong in [
        json!(null),
        json!(-1),
        json!(1.5),
        json!("2"),
        json!({}),
        json!({ "least": 1 }),
        json!({ "min": 3, "max": 2 }),
    ] {
        assert!(matches!(refused(bounds(wrong)), AssertionError::WrongValue { .. }));
    }
}

#[test]
fn letters_that_differ() {
    let close = json!({ "type": "levenshtein", "value": "{{city}}" });
    says(close.clone(), "Parts", true, "the output is 1 edits from \"Paris\", at most 5");
    says(close, "Constantinople", false, "the output is 12 edits from \"Paris\", more than 5");
    let strict = json!({ "type": "levenshtein", "value": "Paris", "threshold": 0 });
    says(strict, "paris", false, "the output is 1 edits from \"Paris\", more than 0");
    gives_up(&json!({ "type": "levenshtein", "value": "x".repeat(11_000) }), &"y".repeat(10_000), "too long");
    let negative = refused(json!({ "type": "levenshtein", "value": "x", "threshold": -1 }));
    assert!(matches!(negative, AssertionError::OutOfRange { .. }));
}

#[test]
fn wording_that_a_reference_has_too() {
    let rouge = json!({ "type": "rouge-n", "value": "The capital is {{city}}", "threshold": 0.75 });
    let found = verdict(&rouge, "the capital is paris");
    assert_eq!((found.passed, found.score), (true, 1.0));
    let half = verdict(&rouge, "the river is Seine");
    assert_eq!((half.passed, half.score), (false, 0.5));
    assert_eq!(half.reason, "the output agrees with the reference by 0.500, less than 0.75");
    let turned = verdict(&json!({ "type": "not-rouge-n", "value": "The capital is {{city}}" }), "the river is Seine");
    assert_eq!((turned.passed, turned.score), (true, 0.5));
    for kind in ["bleu", "gleu"] {
        let several = json!({ "type": kind, "value": ["no", "It is in {{city}} now"] });
        assert!(verdict(&several, "it is in paris now").passed, "{kind}");
        assert_eq!(verdict(&several, "").score, 0.0, "{kind}");
        assert!(matches!(refused(json!({ "type": kind, "value": [] })), AssertionError::WrongValue { .. }));
    }
    gives_up(&json!({ "type": "bleu", "value": "{{empty}}" }), "x", "has no words");
}

#[test]
fn how_an_answer_ends() {
    says(json!({ "type": "finish-reason", "value": "STOP" }), "", true, "the answer ended by \"stop\", by \"STOP\"");
    says(
        json!({ "type": "finish-reason", "value": "length" }),
        "",
        false,
        "the answer ended by \"stop\", not by \"length\"",
    );
    says(json!({ "type": "is-refusal" }), "I\u{2019}m sorry, no.", true, "the output says \"i\u{2019}m sorry\"");
    says(json!({ "type": "is-refusal" }), " ", true, "the output is empty");
    says(json!({ "type": "is-refusal" }), "Paris", false, "the output says nothing that refusals say");
    assert!(matches!(refused(json!({ "type": "is-refusal", "value": 1 })), AssertionError::Superfluous { .. }));
    let variables = Map::new();
    let silent = Subject { finish_reason: None, ..subject("", &variables) };
    let check = Check::compile(&assertion(json!({ "type": "not-finish-reason", "value": "stop" }))).unwrap();
    assert!(!check.verdict(&silent).passed);
}

#[test]
fn lists_of_texts_in_the_output() {
    let any = |value: Value| json!({ "type": "contains-any", "value": value });
    let all = |value: Value| json!({ "type": "contains-all", "value": value });
    says(any(json!(["x", "{{ city }}"])), "Paris", true, r#"the output contains "Paris""#);
    says(any(json!("x, y")), "Paris", false, r#"the output contains none of "x", "y""#);
    says(
        any(json!(["v", "w", "x", "y", 1])),
        "Paris",
        false,
        r#"the output contains none of "v", "w", "x" and 2 more"#,
    );
    says(any(json!("{{ list }}")), "b", true, r#"the output contains "b""#);
    says(all(json!("{{ list }}")), "b", false, r#"the output does not contain "a""#);
    says(all(json!(r#""a, b", c"#)), "a, b c", true, r#"the output contains "a, b", "c""#);
    says(json!({ "type": "icontains-any", "value": ["PARIS"] }), "paris", true, r#"the output contains "PARIS""#);
    says(json!({ "type": "icontains-all", "value": "PARIS, x" }), "paris", false, r#"the output does not contain "x""#);
    gives_up(&any(json!(["a", "{{ empty }}"])), "a", "empty text");
    gives_up(&all(json!("{{ empty }}")), "a", "empty text");
}

#[test]
fn regular_expressions() {
    let regex = |pattern: &str| json!({ "type": "regex", "value": pattern });
    says(regex(r"\d{2}$"), "A: 18", true, r"the output matches \d{2}$");
    says(regex("^a$"), "b\na\nb", false, "the output does not match ^a$");
    says(regex(r"(?<!\$)\b18\b"), "18", true, r"the output matches (?<!\$)\b18\b");
    says(regex(r"(a)\1"), "aba", false, r"the output does not match (a)\1");
    says(regex(r"^(?=.*x)(?=.*y)"), "y x", true, r"the output matches ^(?=.*x)(?=.*y)");
    says(regex("{{ pattern }}"), "Paris", true, "the output matches ^P.*s$");
    gives_up(&regex("({{ city }}"), "x", "the regular expression (Paris can't be used");
    gives_up(&regex(r"(?!x)(a+)+\1$"), &"a".repeat(40_000), "takes outputs up to 16384 bytes");
    assert!(matches!(refused(regex("(")), AssertionError::Pattern { pattern, .. } if pattern == "("));
    assert!(matches!(refused(regex("")), AssertionError::WrongValue { .. }));
    assert!(matches!(refused(regex("{{ city | uper }}")), AssertionError::Template { .. }));
    assert!(matches!(refused(json!({ "type": "regex", "value": 1 })), AssertionError::WrongValue { .. }));
}

#[test]
fn no_regular_expression_hangs() {
    let regex = |pattern: &str| json!({ "type": "regex", "value": pattern });
    let begin = std::time::Instant::now();
    for (pattern, len) in [
        (r"(?=a)(a+)+$", 4_000),
        (r"(a|aa)+\1$", 16_000),
        (r"^(?!b)(.*)*\1c", 16_000),
        ("(a+)+$", 1_000_000),
        ("(.*)*x", 100_000),
        (r"(?:(?!b).)*c", 16_000),
        (r"(?>(?=.*!)a*)b", 2_000),
        (r"(?:(?=.*!)a)*b", 300),
        (r"(?>(?:(?=.*!)a)*)b", 300),
        (r"(?>(?:(?=.*!)a)*)b", 1_000_000),
    ] {
        let _ = verdict(&regex(pattern), &("a".repeat(len) + "!"));
    }
    // In a release build the slowest takes 2 s at its limits; tests are not optimised and run beside each other.
    assert!(begin.elapsed().as_secs() < 60, "{:?}", begin.elapsed());
    for pattern in [r"(?:(?=(?:(?=.*!).)*b?)a)*b", &r"(?=.*a)".repeat(11), r"(?=a)(?<x>a\g<x>?)"] {
        assert!(matches!(refused(regex(pattern)), AssertionError::Pattern { .. }), "{pattern}");
    }
    let tempered = r"^(?:(?!secret).)*$";
    says(regex(tempered), &"x".repeat(16_000), true, "the output matches ^(?:(?!secret).)*$");
}

#[test]
fn json_in_the_output() {
    let schema = json!({ "type": "object", "required": ["a"], "properties": { "a": { "type": "integer" } } });
    let is = |value: &Value| json!({ "type": "is-json", "value": value });
    let has = |value: &Value| json!({ "type": "contains-json", "value": value });
    says(json!({ "type": "is-json" }), " [1] ", true, "the output is JSON");
    says(
        json!({ "type": "is-json" }),
        "[1",
        false,
        "the output is not JSON: EOF while parsing a list at line 1 column 2",
    );
    says(is(&schema), r#"{"a":1}"#, true, "the output has JSON of the schema");
    says(is(&json!(schema.to_string())), r#"{"a":1}"#, true, "the output has JSON of the schema");
    says(is(&schema), r#"{"a":"x"}"#, false, r#"the JSON is not of the schema at /a: "x" is not of type "integer""#);
    says(is(&schema), "{}", false, r#"the JSON is not of the schema: "a" is a required property"#);
    says(is(&json!(false)), "{}", false, "the JSON is not of the schema: False schema does not allow {}");
    says(json!({ "type": "contains-json" }), "so {x} it is {\"a\": 1}.", true, "there is a JSON object in the output");
    says(json!({ "type": "contains-json" }), "so {x} it is [1] {", false, "there is no JSON object in the output");
    says(has(&schema), r#"{"b":1} {"a":1}"#, true, "the output has JSON of the schema");
    says(has(&schema), r#"{"b":1}"#, false, r#"the JSON is not of the schema: "a" is a required property"#);
    says(has(&schema), r#"{ broken {"a":1}"#, true, "the output has JSON of the schema");
    for value in [
        json!({ "type": "objekt" }),
        json!({ "pattern": "(?=a)b" }),
        json!({ "$ref": "https://example.com/x" }),
        json!({ "$ref": "file:///etc/passwd" }),
        json!("x"),
    ] {
        assert!(matches!(refused(is(&value)), AssertionError::Schema { .. }), "{value}");
    }
    assert!(matches!(refused(is(&json!([1]))), AssertionError::WrongValue { .. }));
}

#[test]
fn json_of_any_depth_and_length_is_searched_in_time() {
    let begin = std::time::Instant::now();
    let deep = "{\"a\":".repeat(20_000);
    says(json!({ "type": "contains-json" }), &deep, false, "there is no JSON object in the output");
    assert!(!verdict(&json!({ "type": "is-json" }), &deep).passed);
    assert!(!verdict(&json!({ "type": "equals", "value": [1] }), &"[".repeat(100_000)).passed);
    let itself = json!({ "type": "is-json", "value": { "$ref": "#" } });
    let _ = Check::compile(&assertion(itself)).map(|check| check.verdict(&subject("{}", &Map::new())));
    assert!(begin.elapsed().as_secs() < 30, "{:?}", begin.elapsed());
}

#[test]
fn numeric() {
    let numeric = |value: Value| json!({ "type": "numeric", "value": value });
    says(numeric(json!(18)), "9 * 2 = 18.\nA: 18", true, "the last number in the output is 18");
    says(numeric(json!("{{ expected_output }}")), "A: $26.00", false, "the last number in the output is 26, not 18");
    says(numeric(json!("1,800 eggs")), "1800.0", true, "the last number in the output is 1800");
    says(numeric(json!(18)), "eighteen", false, "no number in the output");
    says(
        json!({ "type": "numeric", "value": 10, "tolerance": 0.5 }),
        "10.5",
        true,
        "the last number in the output is 10.5",
    );
    says(
        json!({ "type": "numeric", "value": 10, "tolerance": 0 }),
        "10.1",
        false,
        "the last number in the output is 10.1, not 10",
    );
    gives_up(&numeric(json!("{{ city }}")), "18", "no number in its value \"Paris\"");
    gives_up(&numeric(json!("{{ absent }}")), "18", "absent has no value");
    assert!(matches!(refused(numeric(json!("none"))), AssertionError::WrongValue { .. }));
    assert!(matches!(refused(numeric(json!([1]))), AssertionError::WrongValue { .. }));
    let negative = json!({ "type": "numeric", "value": 1, "tolerance": -1 });
    assert!(matches!(refused(negative), AssertionError::OutOfRange { field: "tolerance", .. }));
}

/// Lines of `example_model_solutions.jsonl` of <https://github.com/openai/grade-school-math> (MIT).
#[test]
fn numeric_agrees_with_the_flags_of_gsm8k() {
    let check = Check::compile(&assertion(json!({ "type": "numeric", "value": "{{ expected_output }}" }))).unwrap();
    let lines = include_str!("../../testdata/gsm8k-answers.jsonl").lines();
    let mut counts = [0, 0];
    for line in lines {
        let answer: Map<String, Value> = serde_json::from_str(line).unwrap();
        let verdict = check.verdict(&subject(answer["output"].as_str().unwrap(), &answer));
        assert_eq!(Some(verdict.passed), answer["is_correct"].as_bool(), "{line}: {}", verdict.reason);
        counts[usize::from(verdict.passed)] += 1;
    }
    assert_eq!(counts, [11, 9]);
}

#[test]
fn latency_and_cost() {
    says(json!({ "type": "latency", "threshold": 250 }), "", true, "the answer took 250 ms, at most 250 ms");
    says(json!({ "type": "latency", "threshold": 249.5 }), "", false, "the answer took 250 ms, more than 249.5 ms");
    says(json!({ "type": "cost", "threshold": 0.0015 }), "", true, "the answer cost 0.0015 USD, at most 0.0015 USD");
    says(json!({ "type": "cost", "threshold": 0.001 }), "", false, "the answer cost 0.0015 USD, more than 0.001 USD");
    for kind in ["cost", "not-cost"] {
        let check = Check::compile(&assertion(json!({ "type": kind, "threshold": 1 }))).unwrap();
        let variables = Map::new();
        let free = Subject { cost_micro_usd: None, ..subject("", &variables) };
        assert_eq!(
            check.verdict(&free).reason,
            format!("{kind} can't be evaluated: the cost of the answer is not known")
        );
        assert!(!check.verdict(&free).passed);
    }
    for kind in ["latency", "cost"] {
        assert!(matches!(refused(json!({ "type": kind })), AssertionError::OutOfRange { field: "threshold", .. }));
        assert!(matches!(refused(json!({ "type": kind, "threshold": -1 })), AssertionError::OutOfRange { .. }));
        assert!(matches!(
            refused(json!({ "type": kind, "value": 1 })),
            AssertionError::Superfluous { field: "value", .. }
        ));
    }
}

#[test]
fn an_unknown_kind_is_refused_with_the_nearest_one() {
    for (kind, mend) in [
        ("contians", "did you mean \"contains\"?"),
        ("not-contain", "did you mean \"not-contains\"?"),
        ("IS_JSON", "did you mean \"is-json\"?"),
        ("containsany", "did you mean \"contains-any\"?"),
        ("agent-rubric", "there are equals, contains,"),
        ("", "there are equals, contains,"),
        ("not-", "there are equals, contains,"),
    ] {
        let message = refused(json!({ "type": kind, "value": "x" })).to_string();
        assert!(message.contains(mend) && message.contains(&format!("{kind:?}")), "{message}");
    }
}

#[test]
fn what_would_be_ignored_is_refused() {
    // Those that take no value have a test of their own.
    let others = ["latency", "cost", "is-refusal", "meteor", "javascript", "python", "assert-set"];
    let structure = ["is-xml", "contains-xml", "is-html", "contains-html", "is-sql", "contains-sql"];
    // Those that ask a model, and those of structure, have tests of their own.
    let judged = crate::judged::KINDS;
    let is_of_tools = |kind: &str| kind.starts_with("is-valid-") || kind == "tool-call-f1";
    for kind in KNOWN_KINDS.iter().filter(|kind| {
        !others.contains(kind) && !judged.contains(kind) && !structure.contains(kind) && !is_of_tools(kind)
    }) {
        let value = match *kind {
            "word-count" => json!(18),
            kind if kind.ends_with("json") => json!({}),
            _ => json!("18"),
        };
        Check::compile(&assertion(json!({ "type": kind, "value": value }))).unwrap();
        let threshold = json!({ "type": kind, "value": value, "threshold": 1 });
        if ["levenshtein", "rouge-n", "bleu", "gleu"].contains(kind) {
            Check::compile(&assertion(threshold)).unwrap();
        } else {
            assert!(matches!(refused(threshold), AssertionError::Superfluous { field: "threshold", .. }));
        }
        if *kind != "numeric" {
            let tolerance = json!({ "type": kind, "value": value, "tolerance": 1 });
            assert!(matches!(refused(tolerance), AssertionError::Superfluous { field: "tolerance", .. }));
        }
        if !kind.ends_with("json") {
            assert!(matches!(refused(json!({ "type": kind })), AssertionError::WrongValue { .. }));
            assert!(matches!(refused(json!({ "type": kind, "value": null })), AssertionError::WrongValue { .. }));
            let broken = refused(json!({ "type": kind, "value": "{{ x | uper }}" }));
            let is_template = *kind != "word-count";
            assert_eq!(matches!(broken, AssertionError::Template { .. }), is_template, "{broken}");
        }
    }
    let weight = json!({ "type": "equals", "value": "x", "weight": -1 });
    assert!(matches!(refused(weight), AssertionError::OutOfRange { field: "weight", .. }));
    let list = [assertion(json!({ "type": "is-json" })), assertion(json!({ "type": "contains", "value": [] }))];
    let message = Check::compile_all(&list).unwrap_err().to_string();
    assert_eq!(message, "assertion 2: contains needs a text or a number as its value, and has an empty list");
}

#[test]
fn a_verdict_carries_its_assertion_and_a_short_reason() {
    let fields = json!({ "type": "not-equals", "value": "x", "weight": 2.5, "metric": "style" });
    let long = verdict(&fields, &"é\0".repeat(50_000));
    assert_eq!((long.kind.as_str(), long.weight, long.metric.as_deref()), ("not-equals", 2.5, Some("style")));
    assert!(long.passed && long.reason.chars().count() < 4 * EXCERPT_CHARS_MAX, "{}", long.reason);
    assert!(!long.reason.contains('\0'));
}

proptest! {
    #[test]
    fn not_is_the_opposite_and_nothing_panics(
        kind in prop::sample::select(KNOWN_KINDS.to_vec()),
        value in prop_oneof!["[a-c,\"(|)*1. ]{0,6}", ".{0,12}"],
        output in prop_oneof!["[a-c,{}\\[\\]\"(:)*1. -]{0,16}", ".{0,24}"],
        threshold in 0.0..500.0_f64,
    ) {
        let fields = if ["latency", "cost"].contains(&kind) {
            json!({ "type": kind, "threshold": threshold })
        } else {
            json!({ "type": kind, "value": value })
        };
        if let Ok(check) = Check::compile(&assertion(fields.clone())) {
            let mut negated = fields;
            negated["type"] = json!(format!("not-{kind}"));
            let negated = Check::compile(&assertion(negated)).unwrap();
            let variables = Map::new();
            let subject = subject(&output, &variables);
            let (one, other) = (check.verdict(&subject), negated.verdict(&subject));
            if one.reason.contains("can't be evaluated") {
                prop_assert!(!one.passed && !other.passed);
            } else {
                prop_assert_eq!(one.passed, !other.passed);
                prop_assert_eq!(one.reason, other.reason);
            }
        }
    }
}
