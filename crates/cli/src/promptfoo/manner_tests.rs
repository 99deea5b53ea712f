//! What tests say about how they are graded, and to which assertions it belongs; programs in files; what tables say.

use pcs_domain::assertion::Assertion;
use pcs_grading::{Check, Subject};
use serde_json::{Map, Value, json};

use super::tests::{config, read, read_with, refused};
use super::{Imported, Options};

/// All demands on a case's output: the run's, and its own.
fn demands(imported: &Imported, case: usize) -> Vec<Assertion> {
    imported.suite.assertions.iter().chain(&imported.suite.cases[case].draft.assertions).cloned().collect()
}

fn passes(assertion: &Assertion, output: &str) -> bool {
    let variables = Map::new();
    let subject = Subject {
        output,
        is_value: false,
        tools: &[],
        latency_ms: 1,
        cost_micro_usd: None,
        finish_reason: None,
        variables: &variables,
    };
    Check::compile(assertion).unwrap().verdict(&subject).passed
}

#[test]
fn a_judge_of_one_test_judges_no_other() {
    let imported = config(
        "
prompts: ['{{q}}']
providers: [echo]
defaultTest: {assert: [{type: llm-rubric, value: polite}], options: {provider: 'openai:gpt-4o'}}
tests:
  - {vars: {q: a}, assert: [{type: llm-rubric, value: kind}]}
  - {vars: {q: b}, options: {provider: 'openai:gpt-4o-mini', rubricPrompt: 'Is {{output}} {{rubric}}?'}}
  - {vars: {q: c}}
",
    );
    assert_eq!(imported.suite.grader.as_ref().unwrap().id, "openai:gpt-4o");
    assert!(imported.suite.assertions.is_empty(), "one test means the common demand in its own way");
    let judged = |case: usize| {
        let all = demands(&imported, case).into_iter();
        all.map(|each| (each.provider.map(|model| model.id), each.rubric_prompt)).collect::<Vec<_>>()
    };
    assert_eq!(judged(0), [(None, None), (None, None)]);
    let own = (Some("openai:gpt-4o-mini".to_owned()), Some("Is {{output}} {{rubric}}?".to_owned()));
    assert_eq!(judged(1), [own]);
    assert_eq!(judged(2), [(None, None)]);
}

#[test]
fn a_tests_transform_is_before_the_common_demands_too() {
    let imported = config(
        "
prompts: ['{{q}}']
providers: [echo]
defaultTest:
  options: {transform: 'return output.trim();'}
  assert: [{type: equals, value: A}, {type: javascript, value: 'output.n === 3', transform: '(o) => JSON.parse(o)'}]
tests:
  - {vars: {q: 1}}
  - {vars: {q: 2}, options: {transform: output.toUpperCase()}}
",
    );
    let (first, second) = (demands(&imported, 0), demands(&imported, 1));
    assert!(passes(&first[0], " A ") && !passes(&first[0], "a"));
    assert!(passes(&second[0], "a") && !passes(&second[0], " A "), "the test's own is instead of the default's");
    // A body and a function, one after the other; code sees the object that was made.
    assert!(passes(&first[1], " {\"n\": 3} ") && !passes(&first[1], "{\"n\": 4}"));
    let broken = "prompts: [x]\nproviders: [echo]\ntests:\n- options: {transform: 'output.'}\n  assert: [{type: equals, value: x, transform: output.trim()}]";
    let broken = refused(&[("c.yaml", broken)]);
    assert!(broken.starts_with("c.yaml:5:") && broken.contains("the transform can't be used"), "{broken}");
}

#[test]
fn programs_in_files_are_taken_over() {
    let imported = read(&[
        (
            "promptfooconfig.yaml",
            "
prompts: ['{{q}}']
providers: [echo]
tests:
  - assert:
      - {type: javascript, value: 'file://checks/long.js'}
      - {type: javascript, value: 'file://checks/named.mjs:isShort'}
      - {type: python, value: 'file://checks/check.py:judge'}
      - {type: equals, value: 'file://checks/expected.txt', transform: 'file://checks/long.js:upper'}
",
        ),
        (
            "checks/long.js",
            "// Long?\nmodule.exports = (output) => output.length > 3;\nmodule.exports.upper = (o) => o.toUpperCase();",
        ),
        ("checks/named.mjs", "export function isShort(output, { vars }) {\n  return output.length < 6;\n}"),
        ("checks/check.py", "def judge(output, context):\n    return 'a' in output\n"),
        ("checks/expected.txt", "ABCD"),
    ]);
    let all = demands(&imported, 0);
    assert!(passes(&all[0], "abcd") && !passes(&all[0], "ab"));
    assert!(passes(&all[1], "abcd") && !passes(&all[1], "abcdef"));
    assert!(all[2].value.as_ref().unwrap().as_str().unwrap().ends_with("get_assert = judge\n"));
    assert!(passes(&all[3], "abcd"));
    let config = "prompts: [x]\nproviders: [echo]\ntests: [{assert: [{type: javascript, value: 'file://a.js'}]}]";
    let needs = refused(&[("c.yaml", config), ("a.js", "\nconst fs = require('fs');\nmodule.exports = () => true;")]);
    assert!(needs.starts_with("a.js:2:") && needs.contains("needs modules"), "{needs}");
    let made = "prompts: [x]\nproviders: [echo]\ntests: [{assert: [{type: contains, value: 'file://a.js'}]}]";
    let made = refused(&[("c.yaml", made), ("a.js", "module.exports = () => 'x';")]);
    assert!(made.contains("a program that makes the value"), "{made}");
}

#[test]
fn tables_name_programs_and_set_thresholds_in_any_order() {
    let files = |table: &'static str| {
        [
            ("c.yaml", "prompts: ['{{q}}']\nproviders: [echo]\ntests: t.csv"),
            ("t.csv", table),
            ("x.js", "module.exports = (o) => o.length / 10;"),
        ]
    };
    let imported = read(&files(
        "__config:__expected2:threshold,q,__expected1,__expected2,__metric\n0.5,a,contains: a,file://x.js,size\n,b,contains: b,,\n",
    ));
    let all = demands(&imported, 0);
    assert_eq!(
        (all[1].kind.as_str(), all[1].threshold, all[1].metric.as_deref()),
        ("javascript", Some(0.5), Some("size"))
    );
    assert!(passes(&all[1], "12345") && !passes(&all[1], "1234"));
    assert_eq!(demands(&imported, 1).len(), 1);
    for (table, said) in [
        ("q,__expected,__config:__expected2:threshold\na,contains: a,0.5\n", "a threshold for demand 2"),
        (
            "q,__expected,__config:__expected:weight\na,contains: a,0.5\n",
            "no special column `__config:__expected:weight`",
        ),
        ("q,__expected\na,select-best: the kindest\n", "select-best"),
        ("q,__expected\na,python: x,\n", "the table can't be read"),
    ] {
        let error = refused(&files(table));
        assert!(error.starts_with("t.csv:") && error.contains(said), "{error}");
    }
}

#[test]
fn judges_that_can_not_be_asked_are_errors_whatever_may_be_left_out() {
    let options = Options { allow_unsupported: true, ..Options::default() };
    for (test, said) in [
        ("assert: [{type: llm-rubric, value: x, provider: 'bedrock:claude'}]", "the judge can't be asked here"),
        ("options: {provider: 'exec:judge.sh'}", "the judge can't be asked here"),
        ("assert: [{type: context-recall, value: x, contextTransform: 'output.'}]", "it is no JavaScript"),
    ] {
        let text = format!("prompts: [x]\nproviders: [echo]\ntests:\n- {{{test}}}");
        let error = read_with(&[("c.yaml", &text)], &options).unwrap_err();
        assert!(error.message.contains(said) && error.place.line == 4, "{error}");
    }
}

#[test]
fn providers_are_mapped_by_either_name_and_so_is_the_usual_judge() {
    let mut options = Options::default();
    options.providers.add("bedrock:*=openai:chat:gpt-4o").unwrap();
    options.providers.add("openai:gpt-4o-mini=ollama:chat:llama3").unwrap();
    let text = "prompts: [x]\nproviders: ['bedrock:claude']\ntests: [{assert: [{type: llm-rubric, value: x}]}]";
    let suite = read_with(&[("c.yaml", text)], &options).unwrap().suite;
    assert_eq!(suite.models[0].id, "openai:gpt-4o");
    assert_eq!(suite.grader.unwrap().id, "ollama:llama3");
}

#[test]
fn sets_have_judges_and_one_metric() {
    let imported = config(
        "
prompts: [x]
providers: [echo]
tests:
  - options: {provider: 'openai:gpt-4o-mini'}
    assert:
      - type: assert-set
        metric: all
        assert:
          - {type: contains, value: a, metric: own}
          - {type: llm-rubric, value: kind}
",
    );
    let set = &demands(&imported, 0)[0];
    let members: Vec<Assertion> = serde_json::from_value(set.value.clone().unwrap()).unwrap();
    assert_eq!((set.metric.as_deref(), members[0].metric.as_deref()), (Some("all"), None));
    assert_eq!(members[1].provider.as_ref().unwrap().id, "openai:gpt-4o-mini");
    let noted = imported.report.items.iter().any(|item| item.item == "assert-set: metric" && item.line == 10);
    assert!(noted, "{:?}", imported.report.items);
}

#[test]
fn texts_stand_around_prompts() {
    let common = config(
        "prompts: ['{{q}}']\nproviders: [echo]\ndefaultTest: {options: {prefix: 'Q: ', suffix: '?'}}\ntests: [{vars: {q: a}}]",
    );
    assert_eq!(common.suite.prompts, ["Q: {{q}}?"]);
    assert_eq!(common.suite.cases[0].draft.input, *json!({ "q": "a" }).as_object().unwrap());
    let differ = config(
        "prompts: ['{{q}}']\nproviders: [echo]\ntests: [{vars: {q: a}, options: {prefix: 'To {{q}}: '}}, {vars: {q: b}}]",
    );
    assert_eq!(differ.suite.prompts, ["{{__prefix}}{{q}}{{__suffix}}"]);
    let inputs: Vec<Value> = differ.suite.cases.iter().map(|case| Value::Object(case.draft.input.clone())).collect();
    assert_eq!(
        inputs,
        [
            json!({ "q": "a", "__prefix": "To a: ", "__suffix": "" }),
            json!({ "q": "b", "__prefix": "", "__suffix": "" })
        ]
    );
    let chat = refused(&[(
        "c.yaml",
        "prompts: ['[{\"role\": \"user\", \"content\": \"x\"}]']\nproviders: [echo]\ntests: [{options: {prefix: a}}]",
    )]);
    assert!(chat.contains("a chat has no text before or behind it"), "{chat}");
}

#[test]
fn variables_are_made_of_variables() {
    let imported = config(
        "prompts: ['{{q}}{{up}}']\nproviders: [echo]\ndefaultTest: {options: {transformVars: '({ ...vars, up: vars.q.toUpperCase() })'}}\ntests: [{vars: {q: a}}]",
    );
    assert_eq!(imported.suite.cases[0].draft.input, *json!({ "q": "a", "up": "A" }).as_object().unwrap());
    for code in ["vars.q", "nobody()", "vars."] {
        let text = format!(
            "prompts: [x]\nproviders: [echo]\ntests:\n- {{vars: {{q: a}}, options: {{transformVars: '{code}'}}}}"
        );
        let error = refused(&[("c.yaml", &text)]);
        assert!(error.starts_with("c.yaml:4:") && error.contains("`transformVars` failed"), "{error}");
    }
}

#[test]
fn tools_of_a_provider_are_given_to_its_model() {
    let imported = read(&[
        (
            "promptfooconfig.yaml",
            "
prompts: [x]
providers:
  - {id: 'openai:gpt-4o', config: {tools: 'file://tools.json'}}
tests: [{assert: [{type: is-valid-openai-tools-call}, {type: tool-call-f1, value: [weather]}]}]
",
        ),
        ("tools.json", r#"[{"type": "function", "function": {"name": "weather"}}]"#),
    ]);
    assert_eq!(imported.suite.models[0].params.tools[0]["function"]["name"], "weather");
    assert_eq!(imported.suite.cases[0].draft.assertions[1].kind, "tool-call-f1");
    let wrong = refused(&[("c.yaml", "prompts: [x]\nproviders:\n- {id: 'openai:m', config: {tools: weather}}")]);
    assert!(wrong.starts_with("c.yaml:3:") && wrong.contains("`tools` must be a list of tools"), "{wrong}");
}

#[test]
fn a_prompt_that_looks_like_a_path_is_written_as_a_text() {
    let imported = config("prompts: ['a/b {{q}}', 'plain {{q}}']\nproviders: [echo]\ntests: [{vars: {q: x}}]");
    let written = super::export(&imported.suite).document.to_string();
    let again = read(&[("c.json", &written)]);
    assert_eq!(again.suite.prompts, ["a/b {{q}}\n{#- a text, and no path #}", "plain {{q}}"]);
    let variables = json!({ "q": "x" }).as_object().cloned().unwrap();
    let template = pcs_grading::Template::parse_prompt(&again.suite.prompts[0], &std::collections::BTreeMap::new());
    assert_eq!(template.unwrap().render(&variables).unwrap(), "a/b x");
}

#[test]
fn tests_and_providers_meet_what_they_name() {
    let imported = config(
        "
prompts: [{label: a, raw: 'A {{q}}'}, {label: b, raw: 'B {{q}}'}]
providers: [echo, {id: 'openai:chat:gpt-4o', label: big, prompts: [b]}]
defaultTest: {options: {repeat: 2}}
tests:
  - {vars: {q: 1}, providers: [openai]}
  - {vars: {q: 2}, prompts: ['a*'], options: {repeat: 3}}
",
    );
    let suite = &imported.suite;
    assert_eq!((suite.repeats, suite.model_only.len()), (3, 1));
    assert_eq!(suite.model_only[0].1.prompts, Some(vec![1]));
    let [first, second] = [&suite.cases[0].only, &suite.cases[1].only];
    assert_eq!((first.models.as_deref(), first.repeats), (Some(&["big".to_owned()][..]), Some(2)));
    assert_eq!((second.prompts.as_deref(), second.repeats), (Some(&[0][..]), None));
    let error =
        refused(&[("c.yaml", "prompts: [x]\nproviders: [echo]\ntests:\n  - {vars: {q: 1}, prompts: [nobody]}\n")]);
    assert!(error.contains("c.yaml:4:") && error.contains("none of the prompts is called nobody"), "{error}");
}
