//! Configurations as people write them, and what becomes of each item.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::report::Standing;
use super::{Imported, Options, find, load};
use crate::suite::error::SuiteError;

/// A folder with these files, the first of which is the configuration.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

pub(super) fn read_with(files: &[(&str, &str)], options: &Options) -> Result<Imported, SuiteError> {
    let folder = folder(files);
    let path = folder.path().join(files[0].0);
    assert_eq!(find(&path).unwrap().as_deref(), Some(path.as_path()));
    load(&path, options)
}

pub(super) fn read(files: &[(&str, &str)]) -> Imported {
    read_with(files, &Options::default()).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn config(text: &str) -> Imported {
    read(&[("promptfooconfig.yaml", text)])
}

/// The error of a configuration, without the folder's name.
pub(super) fn refused(files: &[(&str, &str)]) -> String {
    let error = read_with(files, &Options::default()).unwrap_err();
    let file = Path::new(&error.file).file_name().unwrap().to_string_lossy().into_owned();
    SuiteError { file, ..error }.to_string()
}

fn inputs(imported: &Imported) -> Vec<Value> {
    imported.suite.cases.iter().map(|case| Value::Object(case.draft.input.clone())).collect()
}

fn kinds(imported: &Imported, case: usize) -> Vec<&str> {
    imported.suite.cases[case].draft.assertions.iter().map(|assertion| assertion.kind.as_str()).collect()
}

const MINIMAL: &str = "
description: Greetings
prompts: ['Hello {{name}}', 'Hi {{name}}!']
providers: [echo, {id: 'openai:chat:gpt-4o-mini', label: mini, config: {temperature: 0.2, max_tokens: 64}}]
defaultTest:
  assert: [{type: icontains, value: '{{name}}'}]
tests:
  - vars: {name: Ann}
    description: ann
    assert: [{type: equals, value: 'Hello Ann', weight: 2, metric: exact}]
  - vars: {name: Bob}
    threshold: 0.5
";

#[test]
fn prompts_are_versions_and_providers_are_models() {
    let imported = config(MINIMAL);
    let suite = &imported.suite;
    assert_eq!((suite.name.as_str(), suite.card.title.as_str()), ("Greetings", "Greetings"));
    assert_eq!(suite.prompts, ["Hello {{name}}", "Hi {{name}}!"]);
    assert_eq!(suite.executions(), 8);
    let mini = &suite.models[1];
    assert_eq!((mini.id.as_str(), mini.name(), mini.params.max_tokens), ("openai:gpt-4o-mini", "mini", Some(64)));
    assert_eq!(suite.assertions[0].kind, "icontains");
    assert_eq!(inputs(&imported), [json!({ "name": "Ann" }), json!({ "name": "Bob" })]);
    let own = &suite.cases[0].draft.assertions[0];
    assert_eq!((own.weight, own.metric.as_deref()), (2.0, Some("exact")));
    assert_eq!((suite.cases[0].name(), suite.cases[1].draft.threshold), ("ann".to_owned(), Some(0.5)));
    assert!(imported.report.items.is_empty(), "{:?}", imported.report.items);
}

#[test]
fn our_own_suites_are_not_theirs() {
    let ours = folder(&[("s.yaml", "name: x\ncard: {title: T, prompt: p}\nmodels: [echo]\ncases: [{input: {}}]\n")]);
    assert_eq!(find(&ours.path().join("s.yaml")).unwrap(), None);
    let theirs = folder(&[("promptfooconfig.yaml", MINIMAL)]);
    assert_eq!(find(theirs.path()).unwrap(), Some(theirs.path().join("promptfooconfig.yaml")));
}

#[test]
fn prompt_files_of_every_kind_are_read() {
    let imported = read(&[
        (
            "c.yaml",
            "prompts: [file://p/*.txt, p/chat.json, 'p/lines.jsonl', p/table.csv, {raw: 'raw {{q}}', label: r}]\nproviders: [echo]\ntests: [{vars: {q: 1}}]",
        ),
        ("p/a.txt", "one {{q}}\n---\ntwo {{q}}\n"),
        ("p/b.txt", "three {{q}}"),
        ("p/chat.json", r#"[{"role": "user", "content": "{{q}}"}]"#),
        ("p/lines.jsonl", "{\"a\": \"{{q}}\"}\n"),
        ("p/table.csv", "prompt,label\n\"four, {{q}}\",x\n"),
    ]);
    let chat: Value = serde_json::from_str(&imported.suite.prompts[3]).unwrap();
    assert_eq!(chat, json!([{ "role": "user", "content": "{{q}}" }]));
    assert_eq!(
        [&imported.suite.prompts[..3], &imported.suite.prompts[4..]].concat(),
        ["one {{q}}", "two {{q}}", "three {{q}}", "{\"a\": \"{{q}}\"}", "four, {{q}}", "raw {{q}}"]
    );
    let missing = refused(&[("c.yaml", "prompts: [p/none.txt]\nproviders: [echo]")]);
    assert!(missing.starts_with("c.yaml:1:11: there is no file"), "{missing}");
}

#[test]
fn tests_come_from_tables_and_files() {
    let imported = read(&[
        (
            "c.yaml",
            "prompts: ['{{q}}']\nproviders: [echo]\ntests: [t.csv, 'file://t*.jsonl', t.yaml, {vars: {q: inline}}]",
        ),
        (
            "t.csv",
            "q,__expected,__expected2,__description,__metric,__threshold,__metadata:tag[]\n1+1,contains-any: 2; \"two\",javascript: output.length > 0,sum,m,0.5,\"a,b\"\nhi,hello,,,,,\n",
        ),
        ("t1.jsonl", "{\"vars\": {\"q\": \"line\"}, \"assert\": [{\"type\": \"is-json\"}]}\n"),
        (
            "t.yaml",
            "- vars: {q: yaml}\n  assert: ['not-contains: x', 'similar(0.9): y', 'latency: 500', 'grade: is kind']\n",
        ),
    ]);
    let found: Vec<Value> = inputs(&imported).into_iter().map(|input| input["q"].clone()).collect();
    assert_eq!(found, ["1+1", "hi", "line", "yaml", "inline"]);
    let first = &imported.suite.cases[0].draft;
    assert_eq!((first.name.as_str(), first.threshold, &first.metadata["tag"]), ("sum", Some(0.5), &json!(["a", "b"])));
    assert_eq!(
        (kinds(&imported, 0), first.assertions[0].metric.as_deref()),
        (vec!["contains-any", "javascript"], Some("m"))
    );
    assert_eq!(imported.suite.cases[1].draft.assertions[0].value, Some(json!("hello")));
    let yaml = &imported.suite.cases[3].draft.assertions;
    assert_eq!(kinds(&imported, 3), ["not-contains", "similar", "latency", "llm-rubric"]);
    assert_eq!((yaml[1].threshold, yaml[2].threshold), (Some(0.9), Some(500.0)));
    assert_eq!(yaml[1].provider.as_ref().unwrap().id, "openai:text-embedding-3-large");
    // A judge is needed and none is named.
    assert_eq!(imported.suite.grader.unwrap().id, "openai:gpt-4o-mini");
}

#[test]
fn a_column_that_is_nearly_special_is_diagnosed() {
    let config = "prompts: ['{{q}}']\nproviders: [echo]\ntests: t.csv";
    let with = |table: &str| refused(&[("c.yaml", config), ("t.csv", table)]);
    assert!(with("q,_expected\n1,2\n").contains("t.csv:1: the column `_expected` would be a variable"));
    assert!(with("q,__expect\n1,2\n").contains("t.csv:1: there is no special column `__expect`"));
    assert!(with("q,__expected\n1\n").contains("t.csv:2: the table can't be read"));
    assert!(with("q,__threshold\n1,high\n").contains("t.csv:2: `__threshold` is \"high\""));
}

#[test]
fn lists_are_multiplied_out_and_variables_rendered() {
    let imported = read(&[
        (
            "c.yaml",
            "
prompts: ['{{greeting}} {{body}}']
providers: [echo]
defaultTest: {vars: {greeting: [Hi, Hello], name: Ann}}
tests:
  - vars: {body: 'dear {{name}}', list: [1, 2]}
  - vars: {body: file://body.txt}
    options: {disableVarExpansion: true}
",
        ),
        ("body.txt", "from a file\n"),
    ]);
    let found = inputs(&imported);
    assert_eq!(found.len(), 3);
    assert_eq!(found[0], json!({ "greeting": "Hi", "name": "Ann", "body": "dear Ann", "list": [1, 2] }));
    assert_eq!(found[1]["greeting"], "Hello");
    assert_eq!((&found[2]["greeting"], &found[2]["body"]), (&json!(["Hi", "Hello"]), &json!("from a file")));
}

#[test]
fn scenarios_are_each_configuration_with_each_test() {
    let imported = config(
        "
prompts: ['{{language}} {{text}}']
providers: [echo]
scenarios:
  - config:
      - vars: {language: French}
        assert: [{type: contains, value: French}]
      - vars: {language: German}
    tests:
      - vars: {text: hello}
        assert: [{type: contains, value: hello}]
      - vars: {text: bye}
",
    );
    assert_eq!(inputs(&imported).len(), 4);
    assert_eq!(kinds(&imported, 0), ["contains", "contains"]);
    assert_eq!(inputs(&imported)[3], json!({ "language": "German", "text": "bye" }));
}

#[test]
fn templates_references_sets_and_the_environment_are_put_in() {
    let imported = config(
        "
env: {MODEL: gpt-4o}
prompts: ['{{q}}']
providers: ['openai:{{ env.MODEL }}']
assertionTemplates: {short: {type: javascript, value: 'output.length < 10'}}
tests:
  - vars: {q: a}
    assert:
      - $ref: '#/assertionTemplates/short'
      - {type: assert-set, threshold: 0.5, assert: [{type: contains, value: a}, {type: equals, value: b}]}
",
    );
    assert_eq!(imported.suite.models[0].id, "openai:gpt-4o");
    assert_eq!(kinds(&imported, 0), ["javascript", "assert-set"]);
    let set = &imported.suite.cases[0].draft.assertions[1];
    assert_eq!(set.value.as_ref().unwrap()[1]["type"], "equals");
    let unset = refused(&[("c.yaml", "prompts: [x]\nproviders: ['openai:{{env.NOBODY_SETS_THIS}}']")]);
    assert!(unset.starts_with("c.yaml:2:") && unset.contains("NOBODY_SETS_THIS"), "{unset}");
    let lost = refused(&[("c.yaml", "prompts: [x]\nproviders: [echo]\ntests: [{assert: [{$ref: '#/nowhere'}]}]")]);
    assert!(lost.contains("\"#/nowhere\" leads nowhere"), "{lost}");
}

#[test]
fn judges_and_transforms_go_where_they_belong() {
    let imported = config(
        "
prompts: ['{{q}}']
providers: [{id: echo, transform: output.trim()}]
defaultTest:
  options:
    provider: {text: 'anthropic:messages:claude-haiku-4-5', embedding: 'openai:embedding:text-embedding-3-small'}
    rubricPrompt: 'Is {{output}} {{rubric}}?'
    transform: output.toUpperCase()
tests:
  - vars: {q: a}
    assert:
      - {type: llm-rubric, value: kind}
      - {type: factuality, value: x, provider: 'openai:gpt-4o'}
      - {type: similar, value: a}
      - {type: equals, value: A!, transform: 'output + \"!\"'}
",
    );
    let suite = &imported.suite;
    assert_eq!(suite.grader.as_ref().unwrap().id, "anthropic:claude-haiku-4-5");
    assert_eq!(suite.models[0].transform.as_deref(), Some("output.trim()"));
    let own = &suite.cases[0].draft.assertions;
    assert_eq!(own[0].rubric_prompt.as_deref(), Some("Is {{output}} {{rubric}}?"));
    assert_eq!(own[1].provider.as_ref().unwrap().id, "openai:gpt-4o");
    assert_eq!(own[2].provider.as_ref().unwrap().id, "openai:text-embedding-3-small");
    // The test's transform comes before the assertion's.
    let transform = pcs_grading::Transform::compile(own[3].transform.as_deref().unwrap()).unwrap();
    assert_eq!(transform.apply(pcs_grading::Seen::text("a"), &serde_json::Map::new()).unwrap().text, "A!");
}

#[test]
fn what_can_not_be_done_stops_unless_it_may_be_left_out() {
    let text = "prompts: [x]\nproviders: [echo, 'bedrock:claude', 'exec:rm -rf']\nextensions: [file://hook.js]\ntracing: {}\ntests: [{options: {prefix: 'Q: '}, vars: {q: 1}}]";
    let error = refused(&[("c.yaml", text)]);
    assert!(error.contains("`providers: bedrock:claude` is not supported") && error.contains("and 3 more"), "{error}");
    let options = Options { allow_unsupported: true, ..Options::default() };
    let imported = read_with(&[("c.yaml", text)], &options).unwrap();
    assert_eq!(imported.suite.models.len(), 1);
    let standing = |wanted: Standing| imported.report.items.iter().filter(|item| item.standing == wanted).count();
    assert_eq!((standing(Standing::Unsupported), standing(Standing::Refused)), (2, 2));
    assert_eq!(imported.report.items[0].line, 2);
    let mut mapped = Options::default();
    mapped.providers.add("bedrock:*=openai:gpt-4o-mini").unwrap();
    mapped.providers.add("*=echo").unwrap();
    assert!(mapped.providers.add("a=nobody:x").is_err() && mapped.providers.add("a").is_err());
    let text = "prompts: [x]\nproviders: ['bedrock:claude', 'exec:rm']";
    let models = read_with(&[("c.yaml", text)], &mapped).unwrap().suite.models;
    assert_eq!(
        (models[0].id.as_str(), models[0].name(), models[1].id.as_str()),
        ("openai:gpt-4o-mini", "bedrock:claude", "echo")
    );
}

#[test]
fn an_assertion_is_never_left_out() {
    let options = Options { allow_unsupported: true, ..Options::default() };
    for (kind, word) in [
        ("not-empty", "there is no assertion type"),
        ("contains-jsn", "contains-json"),
        ("ruby", "ruby"),
        ("select-best", "select-best"),
    ] {
        let text = format!("prompts: [x]\nproviders: [echo]\ntests:\n  - assert:\n      - {{type: {kind}, value: a}}");
        let error = read_with(&[("c.yaml", &text)], &options).unwrap_err();
        assert!(error.message.contains(word) || error.mend.contains(word), "{error}");
        assert_eq!(error.place.line, 5, "{error}");
    }
    let bad = refused(&[(
        "c.yaml",
        "prompts: [x]\nproviders: [echo]\ntests: [{assert: [{type: javascript, value: 'output.'}]}]",
    )]);
    assert!(bad.contains("no JavaScript"), "{bad}");
}

#[test]
fn what_they_only_warn_about_has_a_place_and_a_mend() {
    for (text, message) in [
        (
            "prompts: [x]\nproviders: [echo]\ntets: []",
            "c.yaml:3:1: the configuration has the unknown key `tets`\n  mend: did you mean `tests`?",
        ),
        ("prompts: [x]\nproviders: [echo]\ntargets: [echo]", "both `providers` and `targets`"),
        ("prompts: [x]", "has no `providers`"),
        ("prompts: [x]\nproviders: [echo]\ntests: [{var: {a: 1}}]", "a test has the unknown key `var`"),
        ("prompts: [x]\nproviders: [echo]\ntests: [{assert: [{typ: equals}]}]", "unknown key `typ`"),
        ("prompts: [x]\nproviders: [{lable: a}]", "`lable`"),
        (
            "prompts: [x]\nproviders: [echo]\ntests: [{vars: {q: a}, threshold: 1}, {vars: {q: a}}]",
            "the same variables as the test of line 3",
        ),
    ] {
        let error = refused(&[(
            "c.yaml",
            text.replace("prompts: [x]\nproviders: [{lable", "prompts: [x]\nproviders: [{id: echo, lable").as_str(),
        )]);
        assert!(error.contains(message), "{error}\n{message}");
    }
}

#[test]
fn variables_without_a_value_are_empty_as_there_and_it_is_said() {
    let imported = config(
        "prompts: ['{{a}} and {{b}}']\nproviders: [echo]\ntests: [{vars: {a: 1}}, {vars: {a: 1, b: ''}, assert: [{type: contains, value: '1'}]}]",
    );
    assert_eq!(inputs(&imported), [json!({ "a": 1, "b": "" })], "they are one case then");
    assert!(imported.report.items.iter().any(|item| item.note.contains("`b` has no value")));
    // Without tests each prompt is asked once.
    assert_eq!(inputs(&config("prompts: ['hello']\nproviders: [echo]")), [json!({})]);
}

#[test]
fn what_is_written_back_is_read_as_the_same() {
    let first = config(MINIMAL).suite;
    let exported = super::export(&first);
    assert!(exported.notes.is_empty(), "{:?}", exported.notes);
    let again = read(&[("promptfooconfig.json", &exported.document.to_string())]).suite;
    assert_eq!((&again.prompts, &again.models, &again.assertions), (&first.prompts, &first.models, &first.assertions));
    let drafts = |suite: &crate::suite::Suite| suite.cases.iter().map(|case| case.draft.clone()).collect::<Vec<_>>();
    assert_eq!(drafts(&again), drafts(&first));
}

#[test]
fn a_kind_that_they_lack_is_code_there() {
    let folder = folder(&[(
        "s.yaml",
        "name: n\ncard: {title: T, prompt: '{{q}}'}\nmodels: [echo, 'scripted:x']\ncases:\n  - input: {q: '6 * 3'}\n    \
         expected_output: '18'\n    tags: [a]\nassertions:\n  - {type: numeric, value: '{{expected_output}}', tolerance: 0.5}\n",
    )]);
    let suite = crate::suite::Suite::load(&folder.path().join("s.yaml")).unwrap();
    let exported = super::export(&suite);
    let notes = exported.notes.join("\n");
    assert!(notes.contains("`numeric`") && notes.contains("scripted:x") && notes.contains("tags"), "{notes}");
    let again = read(&[("promptfooconfig.json", &exported.document.to_string())]).suite;
    let variables = again.cases[0].draft.input.clone();
    let check = pcs_grading::Check::compile(&again.assertions[0]).unwrap();
    let passes = |output: &str| {
        let subject = pcs_grading::Subject {
            output,
            is_value: false,
            tools: &[],
            latency_ms: 1,
            cost_micro_usd: None,
            finish_reason: None,
            variables: &variables,
        };
        check.verdict(&subject).passed
    };
    assert!(passes("it is 1,000 or 18.4") && !passes("18 or 19") && !passes("none"));
}

#[test]
fn derived_metrics_are_read_and_checked() {
    let text = "prompts: [x]\nproviders: [echo]\ntests: [{ vars: { q: 1 }, assert: [{ type: contains, value: x, metric: hits }] }]\n";
    let good = format!("{text}derivedMetrics: [{{ name: rate, value: 'hits / __count' }}]\n");
    let suite = read_with(&[("c.yaml", &good)], &Options::default()).unwrap().suite;
    assert_eq!((suite.derived[0].name.as_str(), suite.has_metrics()), ("rate", true));
    let bad = format!("{text}derivedMetrics: [{{ name: rate, value: 'hits /' }}]\n");
    let error = refused(&[("c.yaml", &bad)]);
    assert!(error.contains("c.yaml:4:") && error.contains("is no expression"), "{error}");
}
