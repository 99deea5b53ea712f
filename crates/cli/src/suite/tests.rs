//! Every class of bad input with its exact words, and the suites that this repository ships.

use std::fs;
use std::path::{Path, PathBuf};

use pcs_domain::limits;

use super::Suite;
use super::cases;
use super::mapping::Mapping;

const GOOD: &str = "name: Demo
card:
  title: Demo card
  prompt: 'Say {{word}}'
models: [echo]
cases:
  - input: { word: hello }
    expected_output: hello
assertions:
  - { type: contains, value: '{{word}}' }
";

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The message for a suite, without the name of the temporary folder.
    fn message(&self, name: &str) -> String {
        let error = Suite::load(&self.0.path().join(name)).unwrap_err().to_string();
        error.replace(&format!("{}/", self.0.path().display()), "")
    }
}

fn refused(suite: impl AsRef<[u8]>) -> String {
    let folder = Folder::new();
    folder.write("s.yaml", suite);
    folder.message("s.yaml")
}

/// The message when a part of the good suite is written otherwise.
fn refused_with(part: &str, otherwise: &str) -> String {
    assert!(GOOD.contains(part), "{part}");
    refused(GOOD.replace(part, otherwise))
}

fn load(suite: &str) -> Suite {
    let folder = Folder::new();
    Suite::load(&folder.write("s.yaml", suite)).unwrap()
}

#[test]
fn a_suite_is_read() {
    let suite = load(GOOD);
    assert_eq!((suite.name.as_str(), suite.executions(), suite.repeats), ("Demo", 1, 1));
    assert_eq!(suite.card.title, "Demo card");
    assert_eq!(suite.models[0].name(), "echo");
    assert_eq!((suite.cases[0].name().as_str(), suite.cases[0].place.line), ("case 1", 7));
    assert_eq!(suite.assertions[0].kind, "contains");
    assert_eq!(suite.lane.name(), "std");
}

#[test]
fn everything_that_may_be_said_is_read() {
    let suite = load(
        "name: n\ncard:\n  title: t\n  description: d\n  category: c\n  tags: [b, a, b]\n  metadata: {k: [1, {x: null}]}\n  \
         is_public: true\n  prompt: '{{a}}'\nmodels:\n  - id: 'openai:m'\n    label: warm\n    base_url: http://h/v1\n    \
         params: {temperature: 0.5, max_tokens: 9, top_p: 1, seed: 7, stop: [x], system: s, timeout_ms: 5}\n  - id: \
         scripted\n    script: {answer: '{{a}}', latency_ms: 2, errors_per_mille: 1, rate_limits_per_mille: 2, \
         retry_after_ms: 3, refusals_per_mille: 4}\ncases:\n  - {name: one, vars: {a: 1}, threshold: 0.5, assertions: \
         [{type: not-contains, value: x, weight: 2, metric: m}]}\nthreshold: 0.25\nrepeats: 3\nlane: bulk\n",
    );
    assert_eq!(suite.executions(), 6);
    assert_eq!(suite.card.tags.as_deref().unwrap(), ["a", "b"]);
    assert_eq!(suite.card.is_public, Some(true));
    assert_eq!(suite.models[0].params.max_tokens, Some(9));
    assert_eq!(suite.models[1].script.as_ref().unwrap().refusals_per_mille, 4);
    assert_eq!(suite.cases[0].draft.assertions[0].weight, 2.0);
    assert_eq!((suite.threshold, suite.cases[0].draft.threshold), (Some(0.25), Some(0.5)));
}

#[test]
fn json_is_read_as_yaml_is() {
    let folder = Folder::new();
    let json = r#"{"name": "J", "card": {"title": "T", "prompt": "p {{w}}"}, "models": ["echo"],
        "cases": [{"input": {"w": "a"}}, {"input": {"w": "b"}}]}"#;
    let suite = Suite::load(&folder.write("s.json", json)).unwrap();
    assert_eq!((suite.cases.len(), suite.cases[1].place.line, suite.cases[1].place.column), (2, 2, 42));
}

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    assert_eq!(
        refused_with("assertions:\n", "assertion:\n"),
        "s.yaml:9:1: the suite has the unknown key `assertion`\n  mend: did you mean `assertions`? Known are name, card, \
         models, cases, assertions, threshold, derived_metrics, grader, repeats, lane"
    );
    assert_eq!(
        refused_with("  title:", "  titel: x\n  title:"),
        "s.yaml:3:3: the card has the unknown key `titel`\n  mend: did you mean `title`? Known are title, description, \
         category, tags, metadata, is_public, prompt, prompt_file"
    );
    assert_eq!(
        refused_with("[echo]", "[{id: echo, params: {temprature: 1}}]"),
        "s.yaml:5:30: `params` of model 1 has the unknown key `temprature`\n  mend: did you mean `temperature`? Known are \
         temperature, max_tokens, top_p, seed, stop, system, tools, timeout_ms"
    );
    assert!(
        refused_with("type: contains,", "typ: contains,")
            .starts_with("s.yaml:10:7: assertion 1 of the suite has the unknown key `typ`")
    );
}

#[test]
fn wrong_types_are_refused_where_they_stand() {
    assert_eq!(
        refused_with("expected_output: hello", "expected_output: 18"),
        "s.yaml:8:22: `expected_output` of case 1 must be a text, and this is the number 18\n  mend: put it in quotes: \
         expected_output: \"18\""
    );
    assert_eq!(
        refused_with("models: [echo]", "models: echo"),
        "s.yaml:5:9: `models` of the suite must be a list, and this is the text \"echo\"\n  mend: write `models: [ … ]`, \
         or one `- …` per line"
    );
    assert_eq!(
        refused_with("name: Demo", "name: [a]"),
        "s.yaml:1:7: `name` of the suite must be a text, and this is a list\n  mend: write a text"
    );
    assert_eq!(
        refused_with("{ word: hello }", "hello"),
        "s.yaml:7:12: `input` of case 1 must be a table of keys and values, and this is the text \"hello\"\n  mend: write \
         `input: { name: value }`"
    );
    assert_eq!(
        refused(format!("{GOOD}repeats: 0\n")),
        "s.yaml:11:10: `repeats` must be a whole number from 1 to 1000, and this is the number 0\n  mend: write 1 to ask once"
    );
    assert_eq!(
        refused(format!("{GOOD}threshold: 90\n")),
        "s.yaml:11:12: `threshold` of the suite must be a number from 0 to 1, and this is the number 90\n  mend: write 0.9 \
         where 90 % is meant"
    );
    assert_eq!(
        refused(format!("{GOOD}lane: high\n")),
        "s.yaml:11:7: there is no lane \"high\"\n  mend: did you mean `hi`? Known are hi, std, bulk"
    );
    assert_eq!(
        refused("just a text\n"),
        "s.yaml:1:1: the suite must be a table of keys and values, and this is the text \"just a text\"\n  mend: write keys \
         such as `name:`, `card:`, `models:`, `cases:`, `assertions:`, `threshold:`, `derived_metrics:`, `grader:`, `repeats:`, `lane:`"
    );
}

#[test]
fn a_missing_variable_is_found_before_anything_is_sent() {
    assert_eq!(
        refused_with("input: { word: hello }", "input: { wrod: hello }"),
        "s.yaml:7:5: case 1 has no value for the variable `word` of the prompt\n  mend: its input has `wrod`: use one \
         spelling in both"
    );
    let others =
        "input: {}\n  - { input: {}, expected_output: a, name: second }\n  - { input: { word: x } }\n  - input: {}";
    assert_eq!(
        refused_with("input: { word: hello }", others),
        "s.yaml:7:5: case 1 has no value for the variable `word` of the prompt (nor have second, case 4)\n  mend: add \
         `word:` to its input, or take it out of the prompt"
    );
}

#[test]
fn a_prompt_that_is_no_template_is_refused() {
    let message = refused_with("'Say {{word}}'", "'Say {{word'");
    assert!(message.starts_with("s.yaml:4:11: the prompt is not a template: line 1 of the template: "), "{message}");
}

#[test]
fn an_empty_matrix_is_refused() {
    let no_models = "the suite has no models: the matrix is empty\n  mend: name at least one model";
    assert_eq!(refused_with("[echo]", "[]"), format!("s.yaml:5:9: {no_models}"));
    let cases = "cases:\n  - input: { word: hello }\n    expected_output: hello\n";
    assert_eq!(
        refused_with(cases, "cases: []\n"),
        "s.yaml:6:8: the suite has no cases: the matrix is empty\n  mend: give at least one case: `- input: { question: \
         \"…\" }`"
    );
    assert_eq!(
        refused_with(cases, ""),
        "s.yaml:1:1: the suite has no `cases`\n  mend: give the path of a file, or a list of cases"
    );
    assert_eq!(
        refused("# nothing\n"),
        "s.yaml: the suite is empty\n  mend: a suite has at least `name`, `card`, `models` and `cases`"
    );
}

#[test]
fn a_prompt_of_ten_megabytes_is_refused_with_both_sizes() {
    let long = "x".repeat(10 * 1024 * 1024);
    let mend = "make it shorter, and move what changes into the cases' variables";
    let said =
        format!("the prompt has 10485760 bytes, and at most {} are allowed\n  mend: {mend}", limits::PROMPT_BYTES_MAX);
    assert_eq!(refused_with("Say {{word}}", &long), format!("s.yaml:4:11: {said}"));
    let folder = Folder::new();
    folder.write("p.txt", &long);
    folder.write("s.yaml", GOOD.replace("prompt: 'Say {{word}}'", "prompt_file: p.txt"));
    assert_eq!(folder.message("s.yaml"), format!("p.txt:1: {said}"));
}

#[test]
fn files_that_are_too_large_are_not_read_whole() {
    let folder = Folder::new();
    let file = fs::File::create(folder.0.path().join("s.yaml")).unwrap();
    file.set_len(17 * 1024 * 1024).unwrap();
    assert_eq!(
        folder.message("s.yaml"),
        "s.yaml: the file has 17825792 bytes, and at most 16777216 are allowed\n  mend: split it, or keep long texts in \
         files of their own"
    );
}

#[test]
fn what_is_not_utf_8_is_refused_at_its_byte() {
    assert_eq!(
        refused(b"name: a\ncard: \xffx\n"),
        "s.yaml:2:7: the file is not UTF-8: byte 14 is 0xff\n  mend: save it as UTF-8"
    );
    assert_eq!(
        refused(b"name: a\0b\n"),
        "s.yaml:1:8: the file holds a NUL character at byte 7\n  mend: take it out; a file full of them is UTF-16 or not a \
         text: save it as UTF-8"
    );
    assert_eq!(
        refused_with("word: hello", "word: \"a\\0\""),
        "s.yaml:7:20: the text holds a NUL character (\\u0000)\n  mend: take it out"
    );
    assert!(Suite::load(&Folder::new().write("s.yaml", format!("\u{feff}{GOOD}"))).is_ok());
}

#[test]
fn yaml_bombs_are_refused() {
    let line = |of: char, from: char| format!("{of}: &{of} [{}]\n", vec![format!("*{from}"); 9].join(", "));
    let laughs: String = ('b'..='i').zip('a'..).map(|(of, from)| line(of, from)).collect();
    let message = refused(format!("a: &a [x, x, x, x, x, x, x, x, x]\n{laughs}"));
    assert_eq!(
        message.split_once(": ").unwrap().1,
        "the aliases of the file stand for too much text\n  mend: write the values out"
    );
    let message = refused("a: &a [*a]\n");
    assert_eq!(message, "s.yaml:1:8: the aliases of the file stand for too much text\n  mend: write the values out");
    let deep = format!("name: {}x{}\n", "[".repeat(10_000), "]".repeat(10_000));
    let message = refused(deep);
    assert!(
        message.ends_with("lists and tables are nested deeper than 24\n  mend: make the file flatter"),
        "{message}"
    );
    let anchors: String = (0..1_001).map(|number| format!("k{number}: &a{number} 1\n")).collect();
    let message = refused(anchors);
    assert!(message.ends_with("the file has more than 1000 anchors\n  mend: write the values out"), "{message}");
}

#[test]
fn broken_yaml_is_refused_at_its_place() {
    assert_eq!(
        refused_with("models: [echo]", "models: [echo"),
        "s.yaml:6:6: this is not YAML: illegal placement of ':' indicator\n  mend: mend the YAML at this place"
    );
    assert_eq!(
        refused(format!("{GOOD}name: again\n")),
        "s.yaml:11:1: the key `name` appears twice\n  mend: keep one of the two"
    );
    assert_eq!(
        refused(format!("{GOOD}---\nname: x\n")),
        "s.yaml:11:1: the file has more than one YAML document\n  mend: keep one, and take out the `---` lines"
    );
    assert_eq!(
        refused_with("word: hello", "word: *nope"),
        "s.yaml:7:20: there is no anchor of this name\n  mend: a text that begins with * needs quotes"
    );
    assert_eq!(
        refused_with("word: hello", "word: .inf"),
        "s.yaml:7:20: .inf is not a finite number\n  mend: write a finite number, or put it in quotes"
    );
    assert_eq!(
        refused_with("word: hello", "word: 123456789012345678901234567890"),
        "s.yaml:7:20: this number is too large to be kept as it is\n  mend: put it in quotes"
    );
}

#[test]
fn assertions_are_refused_where_they_stand() {
    assert_eq!(
        refused_with("type: contains,", "type: contians,"),
        "s.yaml:10:13: assertion 1 of the suite: there is no assertion type \"contians\"\n  mend: did you mean `contains`?"
    );
    let wrong = "expected_output: hello\n    assertions:\n      - { type: contains, value: x }\n      - { type: regex, value: '(' }";
    let message = refused_with("expected_output: hello", wrong);
    assert!(message.starts_with("s.yaml:11:31: assertion 2 of case 1: "), "{message}");
    assert!(message.ends_with("\n  mend: change it so, or take the assertion out"), "{message}");
    assert_eq!(
        refused_with("type: contains,", "type: contains, weight: -1,"),
        "s.yaml:10:31: `weight` of assertion 1 of the suite must be a number, 0 or more, and this is the number -1\n  mend: \
         write a number, without quotes"
    );
}

#[test]
fn models_are_refused_where_they_stand() {
    assert_eq!(
        refused_with("[echo]", "['opnai:m']"),
        "s.yaml:5:10: model 1 has the id \"opnai:m\", and there is no provider \"opnai\"\n  mend: did you mean `openai`? Known \
         are echo, scripted, recorded, openai, anthropic, gemini, ollama, huggingface"
    );
    assert_eq!(
        refused_with("[echo]", "[echo, {id: 'openai:m', label: echo}]"),
        "s.yaml:5:16: models 1 and 2 are both called \"echo\"\n  mend: give each its own `label`"
    );
    assert!(
        refused_with("[echo]", "['openai:']")
            .contains("which is not `provider:model`\n  mend: write `provider:model`, such as")
    );
}

#[test]
fn the_cases_file_is_refused_by_its_own_lines() {
    let folder = Folder::new();
    folder.write("s.yaml", GOOD.split("cases:").next().unwrap().to_owned() + "cases: c.jsonl\n");
    let said = |lines: &str| {
        folder.write("c.jsonl", lines);
        folder.message("s.yaml")
    };
    assert_eq!(
        said("{\"input\": {\"word\": \"a\"}}\n\n{\"input\": {\"word\": \"a\"}}\n"),
        "c.jsonl:3:1: case 2 has the same input and expected output as case 1 (line 1)\n  mend: keep one of them; to ask \
         several times, use `repeats`"
    );
    assert_eq!(
        said("{\"input\": {\"word\": \"a\"}}\n{\"input\": {\"word\": }}\n"),
        "c.jsonl:2:20: this is not JSON: expected value\n  mend: mend the JSON at this place"
    );
    assert_eq!(
        said("{\"input\": {\"word\": \"a\", \"word\": \"b\"}}\n"),
        "c.jsonl:1:33: the key `word` appears twice\n  mend: keep one of the two"
    );
    assert_eq!(
        said("{\"input\": {\"word\": \"a\"}, \"expected\": \"x\"}\n"),
        "c.jsonl:1:38: case 1 has the unknown key `expected`\n  mend: did you mean `expected_output`? Known are name, \
         subject, input, vars, expected_output, assertions, threshold, tags, metadata"
    );
    assert_eq!(
        said("{\"input\": {\"word\": \"\\u0000\"}}"),
        "c.jsonl:1:20: the text holds a NUL character (\\u0000)\n  mend: take it out"
    );
    assert_eq!(
        said("{\"input\": {\"word\": 123456789012345678901234567890}}"),
        "c.jsonl:1:20: this number is too large to be kept as it is\n  mend: put it in quotes"
    );
    assert!(
        said("{\"vars\": {}, \"input\": {}}")
            .starts_with("c.jsonl:1:1: case 1 has both `input` and `vars`, which are the same")
    );
    assert!(said("{}").starts_with("c.jsonl:1:1: case 1 has no `input`"));
    assert!(said("\n\n").starts_with("c.jsonl: the suite has no cases: the matrix is empty"));
    let nested = format!("{{\"input\": {{\"word\": {}{}}}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert!(said(&nested).contains("lists and tables are nested deeper than 24"));
}

#[test]
fn cases_are_read_from_a_table() {
    let folder = Folder::new();
    folder.write("s.yaml", GOOD.split("cases:").next().unwrap().to_owned() + "cases: c.csv\n");
    folder.write("c.csv", "name,word,expected_output,tags,__expected\nfirst,a,A,\"dev,hard\",contains: a\n,b,,,\n");
    let suite = Suite::load(&folder.0.path().join("s.yaml")).unwrap();
    let (first, second) = (&suite.cases[0], &suite.cases[1]);
    assert_eq!((first.name().as_str(), first.draft.expected_output.as_deref()), ("first", Some("A")));
    assert_eq!(
        (first.draft.tags.join(" "), first.draft.assertions[0].kind.as_str()),
        ("dev hard".to_owned(), "contains")
    );
    assert_eq!(serde_json::Value::from(first.draft.input.clone()), serde_json::json!({ "word": "a" }));
    assert_eq!((second.name().as_str(), &second.draft.expected_output, second.place.line), ("case 2", &None, 3));
    folder.write("c.csv", "word,__expected\na,contains-jsn: x\n");
    assert!(
        Suite::load(&folder.0.path().join("s.yaml")).is_ok(),
        "a text that is no demand is what the output has to be"
    );
    folder.write("c.csv", "word,__expected\na,ruby: x\n");
    assert!(folder.message("s.yaml").starts_with("c.csv:2: an expectation of case 1: there is no assertion type"));
}

#[test]
fn files_that_are_not_there_are_named() {
    let folder = Folder::new();
    assert_eq!(folder.message("no.yaml"), "no.yaml: there is no such file\n  mend: check the path and its spelling");
    folder.write("s.yaml", GOOD.replace("prompt: 'Say {{word}}'", "prompt_file: p.txt"));
    assert_eq!(folder.message("s.yaml"), "p.txt: there is no such file\n  mend: check the path and its spelling");
    folder.write("s.toml", GOOD);
    assert_eq!(
        folder.message("s.toml"),
        "s.toml: a suite is a .yaml or .json file\n  mend: give it the extension of what it holds"
    );
    fs::create_dir(folder.0.path().join("d.yaml")).unwrap();
    assert_eq!(folder.message("d.yaml"), "d.yaml: this is a folder, not a file\n  mend: name the file inside it");
}

#[test]
fn a_run_that_is_too_large_is_refused() {
    let cases: String = (0..1_100).map(|number| format!("  - input: {{ word: w{number} }}\n")).collect();
    let suite = GOOD.split("cases:").next().unwrap().to_owned() + "repeats: 1000\ncases:\n" + &cases;
    assert_eq!(
        refused(suite),
        "s.yaml:8:3: 1 models x 1100 cases x 1000 repeats are 1100000 executions, and at most 1000000 are allowed\n  mend: \
         split the suite, or lower `repeats`"
    );
}

#[test]
fn cases_are_read_on_their_own() {
    let folder = Folder::new();
    let path = folder.write("c.yaml", "- { name: a, input: {} }\n");
    assert_eq!(cases::load(&path, &Mapping::default()).unwrap()[0].name(), "a");
    assert!(cases::load(Path::new("c.csv"), &Mapping::default()).is_err());
}

#[test]
fn the_shipped_suites_are_good() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let gsm8k = Suite::load(&examples.join("gsm8k/suite.yaml")).unwrap();
    assert_eq!((gsm8k.models.len(), gsm8k.cases.len(), gsm8k.executions()), (4, 1_319, 5_276));
    let real = Suite::load(&examples.join("real-model/suite.yaml")).unwrap();
    assert_eq!(real.cases.len(), 20);
}

#[test]
fn columns_that_are_called_otherwise_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let texts = ["answer=expected_output", "question=q", "id=-", "split=tags"].map(str::to_owned);
    let mapping = Mapping::parse(&texts).unwrap();
    let files = [
        ("c.csv", "id,question,answer,split,level\n1,how many?,3,test,easy\n"),
        ("c.jsonl", r#"{"id": 1, "question": "how many?", "answer": 3, "split": "test", "level": "easy"}"#),
        ("c.json", r#"[{"id": 1, "question": "how many?", "answer": 3, "split": "test", "level": "easy"}]"#),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let case = &cases::load(&path, &mapping).unwrap()[0].draft;
        assert_eq!(serde_json::json!(case.input), serde_json::json!({ "q": "how many?", "level": "easy" }), "{name}");
        assert_eq!((case.expected_output.as_deref(), &*case.tags), (Some("3"), &["test".to_owned()][..]), "{name}");
        let slip = Mapping::parse(&["anwser=expected_output".to_owned()]).unwrap();
        let error = cases::load(&path, &slip).unwrap_err().to_string();
        assert!(error.contains("there is no column \"anwser\"") && error.contains("question"), "{error}");
    }
}
