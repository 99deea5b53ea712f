//! The tests of a configuration: inline, in files and tables, in scenarios, with what all of them have in common.

use std::path::Path;
use std::sync::Arc;

use pcs_domain::assertion::Assertion;
use pcs_domain::model::ModelSpec;
use pcs_scripting::{Bindings, Script};
use serde_json::{Map, Value, json};

use super::Reading;
use super::asserts::{Draft, Judges, Manner};
use super::csv::{self, Row};
use super::expand::merged;
use super::files::{self, FILE};
use crate::suite::cases::SuiteCase;
use crate::suite::error::{Place, SuiteError};
use crate::suite::fields::Fields;
use crate::suite::node::{Kind, Node};
use crate::suite::only::Only;
use crate::suite::source::{CASES_BYTES_MAX, Format, Source};

const KEYS: [&str; 12] = [
    "description",
    "vars",
    "assert",
    "threshold",
    "metadata",
    "options",
    "provider",
    "providers",
    "prompts",
    "providerOutput",
    "assertScoringFunction",
    "config",
];
const OPTIONS: [&str; 14] = [
    "prefix",
    "suffix",
    "transform",
    "postprocess",
    "transformVars",
    "storeOutputAs",
    "rubricPrompt",
    "provider",
    "factuality",
    "disableVarExpansion",
    "disableConversationVar",
    "disableDefaultAsserts",
    "runSerially",
    "repeat",
];
const MEND: &str = "write a list of tests, or the path of a .csv, .json, .jsonl or .yaml file";

/// What is read of a configuration's tests.
pub(super) struct Read {
    /// Not yet only once each.
    pub(super) cases: Vec<SuiteCase>,
    /// Demands on every output.
    pub(super) assertions: Vec<Assertion>,
    pub(super) threshold: Option<f64>,
    /// What stands around the prompts: texts, or variables of the cases.
    pub(super) around: (String, String),
    pub(super) grader: Option<ModelSpec>,
}

/// The variables in which cases say what stands before and behind their prompts.
pub(super) const AROUND: (&str, &str) = ("__prefix", "__suffix");

/// A test before its variables are multiplied out.
#[derive(Clone, Debug, Default)]
pub(super) struct Test {
    pub(super) file: Arc<str>,
    pub(super) place: Place,
    pub(super) description: Option<String>,
    pub(super) vars: Map<String, Value>,
    pub(super) assertions: Vec<Draft>,
    pub(super) threshold: Option<f64>,
    pub(super) metadata: Map<String, Value>,
    pub(super) manner: Manner,
    /// JavaScript that makes variables of variables.
    pub(super) transform_vars: Option<String>,
    pub(super) prefix: String,
    pub(super) suffix: String,
    /// Which prompts and models it meets, and how often.
    pub(super) only: Only,
    pub(super) keeps_lists: bool,
    pub(super) without_defaults: bool,
}

impl Reading<'_> {
    /// Reads tests, scenarios and what all tests have in common.
    pub(super) fn cases(
        &mut self,
        place: Place,
        default: Option<Node>,
        tests: Option<Node>,
        scenarios: Option<Node>,
    ) -> Result<Read, SuiteError> {
        let default = match default {
            None => Test::default(),
            Some(Node { place, kind: Kind::Text(path) }) => {
                let (_, node) = files::document(&files::matching(self.source, place, self.folder, &path)?.remove(0))?;
                self.test(node)?
            }
            Some(node) => self.test(node)?,
        };
        let mut all = Vec::new();
        if let Some(node) = tests {
            all.extend(self.tests(node)?);
        }
        if let Some(node) = scenarios {
            all.extend(self.scenarios(node)?);
        }
        if all.is_empty() {
            // Without tests promptfoo asks each prompt once.
            all.push(Test { place, file: self.source.name.as_str().into(), ..Test::default() });
        }
        let mut judges = Judges { default: default.manner.judge.clone(), is_needed: false };
        // A demand of all tests is one of the run, unless a test goes without it or means it in its own way.
        let is_common = all.iter().all(|test| !test.without_defaults && test.manner == Manner::default());
        let all: Vec<Test> = all.into_iter().map(|test| merged(&default, test)).collect();
        let around = around(&all);
        let mut cases = Vec::new();
        for test in all {
            let common = if is_common || test.without_defaults { &[][..] } else { &default.assertions };
            let own = common.iter().chain(&test.assertions);
            let own = own.map(|draft| self.finished(draft, &test.manner, &mut judges)).collect::<Result<_, _>>()?;
            self.multiplied(test, own, around.is_none(), &mut cases)?;
        }
        let common = if is_common { default.assertions.as_slice() } else { &[] };
        let common = common.iter().map(|draft| self.finished(draft, &default.manner, &mut judges));
        let assertions = common.collect::<Result<_, _>>()?;
        let variable = |name: &str| format!("{{{{{name}}}}}");
        let around = around.unwrap_or_else(|| (variable(AROUND.0), variable(AROUND.1)));
        Ok(Read { cases, assertions, threshold: default.threshold, around, grader: self.grader(judges, place) })
    }

    fn tests(&mut self, node: Node) -> Result<Vec<Test>, SuiteError> {
        let place = node.place;
        match node.kind {
            Kind::Text(path) => self.tests_of(place, &path),
            Kind::List(items) => {
                let mut all = Vec::new();
                for item in items {
                    match item.kind {
                        Kind::Text(path) => all.extend(self.tests_of(item.place, &path)?),
                        _ => all.push(self.test(item)?),
                    }
                }
                Ok(all)
            }
            Kind::Table(_) => {
                self.report.refused(place, "tests", "a program makes these tests");
                Ok(Vec::new())
            }
            _ => Err(self.source.error(place, "`tests` must be a list of tests", MEND)),
        }
    }

    fn tests_of(&mut self, place: Place, path: &str) -> Result<Vec<Test>, SuiteError> {
        let name = path.strip_prefix(FILE).unwrap_or(path);
        let is_elsewhere = ["http://", "https://", "huggingface://"].iter().any(|prefix| name.starts_with(prefix));
        let end = files::extension(name.split_once(':').map_or(name, |(file, _)| file));
        if is_elsewhere || ["js", "ts", "mjs", "cjs", "py"].contains(&end.as_str()) {
            self.report.refused(place, &format!("tests: {name}"), "it runs a program or fetches the tests");
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for file in files::matching(self.source, place, self.folder, path)? {
            all.extend(self.tests_in(&file)?);
        }
        Ok(all)
    }

    fn tests_in(&mut self, path: &Path) -> Result<Vec<Test>, SuiteError> {
        let source = Source::read(path, CASES_BYTES_MAX)?;
        if files::extension(&path.to_string_lossy()) == "csv" {
            let rows = csv::rows(&source)?;
            let file: Arc<str> = source.name.as_str().into();
            return rows.into_iter().map(|row| self.test_of_row(&source, &file, row)).collect();
        }
        let nodes = match Format::of(path) {
            Some(Format::JsonLines) => {
                let lines = (1u64..).zip(source.text.lines()).filter(|(_, text)| !text.trim().is_empty());
                lines.map(|(line, text)| crate::suite::json::parse(&source, text, line)).collect::<Result<_, _>>()?
            }
            Some(format) => match source.document(format)? {
                Node { kind: Kind::List(items), .. } => items,
                node => vec![node],
            },
            None => {
                let message = format!("{} is no file of tests", path.display());
                return Err(SuiteError::of_file(source.name, message, MEND));
            }
        };
        // What is wrong in the file is told with its name and its lines.
        let mut inner = self.of_file(&source);
        let tests = nodes.into_iter().map(|node| inner.test(node)).collect::<Result<Vec<_>, _>>();
        self.report.items.append(&mut inner.report.items);
        tests
    }

    fn test_of_row(&mut self, source: &Source, file: &Arc<str>, row: Row) -> Result<Test, SuiteError> {
        let place = Place::line(row.line);
        let mut inner = self.of_file(source);
        let assertions = row.expected.into_iter().map(|assertion| inner.draft(place, assertion, Vec::new()));
        let assertions = assertions.collect::<Result<_, _>>()?;
        Ok(Test {
            file: Arc::clone(file),
            place,
            description: row.description,
            vars: row.vars,
            assertions,
            threshold: row.threshold,
            metadata: row.metadata,
            prefix: row.prefix.unwrap_or_default(),
            suffix: row.suffix.unwrap_or_default(),
            ..Test::default()
        })
    }

    fn test(&mut self, node: Node) -> Result<Test, SuiteError> {
        let mut fields = Fields::open(self.source, node, "a test", &KEYS)?;
        let file = self.source.name.as_str().into();
        let mut test = Test { file, place: fields.place(), ..Test::default() };
        test.only.prompts = fields.take("prompts").map(|node| self.prompts_meant(node)).transpose()?;
        test.only.models = fields.take("providers").map(|node| self.models_meant(node)).transpose()?;
        for key in ["provider", "providerOutput", "assertScoringFunction", "config"] {
            if let Some(node) = fields.take(key) {
                self.report.unsupported(node.place, &format!("tests[].{key}"), "there is nothing like it here");
            }
        }
        if let Some(options) = fields.take("options") {
            self.options_of(options, &mut test)?;
        }
        test.description = fields.text("description")?;
        test.threshold = fields.number("threshold")?;
        test.metadata = fields.object("metadata")?.unwrap_or_default();
        test.vars = match fields.take("vars") {
            None => Map::new(),
            Some(Node { place, kind: Kind::Text(path) }) => {
                let file = files::matching(self.source, place, self.folder, &path)?.remove(0);
                files::document(&file)?.1.into_json().as_object().cloned().unwrap_or_default()
            }
            Some(node) => {
                let place = node.place;
                let Value::Object(vars) = node.into_json() else {
                    return Err(self.source.error(place, "`vars` must be a table", "write `vars: { name: value }`"));
                };
                self.with_files(place, vars)?
            }
        };
        if let Some(node) = fields.take("assert") {
            test.assertions = self.assertions(node)?;
        }
        Ok(test)
    }

    fn options_of(&mut self, node: Node, test: &mut Test) -> Result<(), SuiteError> {
        let mut options = Fields::open(self.source, node, "`options` of a test", &OPTIONS)?;
        let place = options.place();
        test.prefix = options.text("prefix")?.unwrap_or_default();
        test.suffix = options.text("suffix")?.unwrap_or_default();
        if let Some(transform) = options.text("transform")?.or(options.text("postprocess")?) {
            test.manner.transform = Some(self.code(place, transform)?);
        }
        if let Some(transform) = options.text("transformVars")? {
            test.transform_vars = Some(self.code(place, transform)?);
        }
        test.keeps_lists = options.boolean("disableVarExpansion")?.unwrap_or(false);
        test.without_defaults = options.boolean("disableDefaultAsserts")?.unwrap_or(false);
        if let Some(node) = options.take("provider") {
            self.judges(node, &mut test.manner)?;
        }
        if let Some(node) = options.take("rubricPrompt") {
            test.manner.rubric_prompt = Some(self.words(node)?);
        }
        drop(options.take("disableConversationVar"));
        let max = u64::from(pcs_domain::limits::RUN_REPEATS_MAX);
        test.only.repeats = options.whole("repeat", max)?.and_then(|repeats| u16::try_from(repeats.max(1)).ok());
        for key in ["storeOutputAs", "runSerially", "factuality"] {
            if options.take(key).is_some() {
                let note = match key {
                    "factuality" => "its categories have the usual scores here",
                    _ => "tests know nothing of each other here",
                };
                self.report.unsupported(place, &format!("options.{key}"), note);
            }
        }
        Ok(())
    }

    /// Who judges: one model, or one for texts and one for vectors.
    fn judges(&mut self, node: Node, manner: &mut Manner) -> Result<(), SuiteError> {
        if let Kind::Table(entries) = &node.kind {
            let of = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.clone());
            let (text, embedding) = (of("text"), of("embedding"));
            if text.is_some() || embedding.is_some() {
                manner.judge = text.map(|node| self.judge(node)).transpose()?;
                manner.embedder = embedding.map(|node| self.judge(node)).transpose()?;
                return Ok(());
            }
        }
        manner.judge = Some(self.judge(node)?);
        Ok(())
    }

    /// Variables with those that the test's code makes of them.
    pub(super) fn with_made(&self, test: &mut Test) -> Result<(), SuiteError> {
        let Some(code) = test.transform_vars.take() else { return Ok(()) };
        let error = |why: String| {
            let message = format!("`transformVars` failed: {why}");
            SuiteError::of_file(test.file.as_ref(), message, "mend its code: it is given `vars`").at(test.place)
        };
        let script = Script::compile(&code).map_err(|why| error(why.to_string()))?;
        let bindings = Bindings::default().with("vars", &test.vars).with("context", &json!({ "vars": test.vars }));
        match script.evaluate(&bindings).map_err(|why| error(why.to_string()))? {
            Value::Object(made) => test.vars.extend(made),
            other => return Err(error(format!("it returned {other}, and not an object of variables"))),
        }
        Ok(())
    }

    /// Variables with what the files hold that they name.
    fn with_files(&mut self, place: Place, vars: Map<String, Value>) -> Result<Map<String, Value>, SuiteError> {
        let mut read = Map::new();
        for (name, value) in vars {
            let Some(path) = value.as_str().filter(|text| text.starts_with(FILE)) else {
                read.insert(name, value);
                continue;
            };
            let end = files::extension(path);
            if ["js", "ts", "mjs", "cjs", "py", "pdf", "png", "jpg", "jpeg", "gif", "mp3", "wav", "mp4"]
                .contains(&end.as_str())
            {
                self.report.unsupported(
                    place,
                    &format!("vars.{name}"),
                    format!("{path} is a program, an image or the like"),
                );
                continue;
            }
            let mut texts = Vec::new();
            for file in files::matching(self.source, place, self.folder, path)? {
                let source = Source::read(&file, CASES_BYTES_MAX)?;
                texts.push(match end.as_str() {
                    "yaml" | "yml" => Value::from(source.document(Format::Yaml)?.into_json().to_string()),
                    _ => Value::from(source.text.trim_end().to_owned()),
                });
            }
            // A pattern of names is a list of values.
            read.insert(name, if texts.len() == 1 { texts.remove(0) } else { Value::from(texts) });
        }
        Ok(read)
    }

    fn scenarios(&mut self, node: Node) -> Result<Vec<Test>, SuiteError> {
        let place = node.place;
        let Kind::List(items) = node.kind else {
            return Err(self.source.error(
                place,
                "`scenarios` must be a list",
                "write `- config: […]` and `tests: […]`",
            ));
        };
        let mut all = Vec::new();
        for item in items {
            let mut fields = Fields::open(self.source, item, "a scenario", &["description", "config", "tests"])?;
            let config = fields.list("config", "a list of tests")?.unwrap_or_default();
            let tests = fields.take("tests").map(|node| self.tests(node)).transpose()?;
            for node in config {
                let config = self.test(node)?;
                for test in tests.iter().flatten() {
                    let mut one = merged(&config, test.clone());
                    one.assertions.splice(0..0, config.assertions.iter().cloned());
                    all.push(one);
                }
            }
        }
        Ok(all)
    }
}

/// The texts around all prompts; none where tests differ in them.
fn around(tests: &[Test]) -> Option<(String, String)> {
    let of = |test: &Test| (test.prefix.clone(), test.suffix.clone());
    let first = tests.first().map(of).unwrap_or_default();
    tests.iter().all(|test| of(test) == first).then_some(first)
}
