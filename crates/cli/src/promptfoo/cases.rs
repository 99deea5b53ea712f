//! The tests of a configuration: inline, in files and tables, in scenarios, with what all of them have in common.

use std::path::Path;
use std::sync::Arc;

use pcs_domain::assertion::Assertion;
use serde_json::{Map, Value};

use super::Reading;
use super::asserts::{Judges, Look};
use super::csv::{self, Row};
use super::expand::merged;
use super::files::{self, FILE};
use crate::suite::cases::SuiteCase;
use crate::suite::error::{Place, SuiteError};
use crate::suite::fields::Fields;
use crate::suite::node::{Kind, Node};
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
}

/// A test before its variables are multiplied out.
#[derive(Clone, Debug, Default)]
pub(super) struct Test {
    pub(super) file: Arc<str>,
    pub(super) place: Place,
    pub(super) description: Option<String>,
    pub(super) vars: Map<String, Value>,
    pub(super) assertions: Vec<Assertion>,
    pub(super) threshold: Option<f64>,
    pub(super) metadata: Map<String, Value>,
    pub(super) look: Look,
    pub(super) prefix: String,
    pub(super) suffix: String,
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
        judges: &mut Judges,
    ) -> Result<Read, SuiteError> {
        let default = match default {
            None => Test::default(),
            Some(Node { place, kind: Kind::Text(path) }) => {
                let (_, node) = files::document(&files::matching(self.source, place, self.folder, &path)?.remove(0))?;
                self.test(node, judges, &Test::default())?
            }
            Some(node) => self.test(node, judges, &Test::default())?,
        };
        let mut all = Vec::new();
        if let Some(node) = tests {
            all.extend(self.tests(node, judges, &default)?);
        }
        if let Some(node) = scenarios {
            all.extend(self.scenarios(node, judges, &default)?);
        }
        if all.is_empty() {
            // Without tests promptfoo asks each prompt once.
            all.push(Test { place, file: self.source.name.as_str().into(), ..Test::default() });
        }
        // A demand of all tests is one of the run, unless a test goes without it.
        let is_common = all.iter().all(|test| !test.without_defaults);
        let mut cases = Vec::new();
        for mut test in all {
            if !is_common && !test.without_defaults {
                test.assertions.splice(0..0, default.assertions.iter().cloned());
            }
            self.multiplied(merged(&default, test), &mut cases)?;
        }
        let assertions = if is_common { default.assertions } else { Vec::new() };
        Ok(Read { cases, assertions, threshold: default.threshold })
    }

    fn tests(&mut self, node: Node, judges: &mut Judges, default: &Test) -> Result<Vec<Test>, SuiteError> {
        let place = node.place;
        match node.kind {
            Kind::Text(path) => self.tests_of(place, &path, judges, default),
            Kind::List(items) => {
                let mut all = Vec::new();
                for item in items {
                    match item.kind {
                        Kind::Text(path) => all.extend(self.tests_of(item.place, &path, judges, default)?),
                        _ => all.push(self.test(item, judges, default)?),
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

    fn tests_of(
        &mut self,
        place: Place,
        path: &str,
        judges: &mut Judges,
        default: &Test,
    ) -> Result<Vec<Test>, SuiteError> {
        let name = path.strip_prefix(FILE).unwrap_or(path);
        let is_elsewhere = ["http://", "https://", "huggingface://"].iter().any(|prefix| name.starts_with(prefix));
        let end = files::extension(name.split_once(':').map_or(name, |(file, _)| file));
        if is_elsewhere || ["js", "ts", "mjs", "cjs", "py"].contains(&end.as_str()) {
            self.report.refused(place, &format!("tests: {name}"), "it runs a program or fetches the tests");
            return Ok(Vec::new());
        }
        let mut all = Vec::new();
        for file in files::matching(self.source, place, self.folder, path)? {
            all.extend(self.tests_in(&file, judges, default)?);
        }
        Ok(all)
    }

    fn tests_in(&mut self, path: &Path, judges: &mut Judges, default: &Test) -> Result<Vec<Test>, SuiteError> {
        let source = Source::read(path, CASES_BYTES_MAX)?;
        if files::extension(&path.to_string_lossy()) == "csv" {
            let rows = csv::rows(&source)?;
            let file: Arc<str> = source.name.as_str().into();
            return rows.into_iter().map(|row| self.test_of_row(&source, &file, row, judges, default)).collect();
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
        let mut inner = Reading {
            source: &source,
            folder: self.folder,
            options: self.options,
            report: super::Report::of(&source.name),
        };
        let tests = nodes.into_iter().map(|node| inner.test(node, judges, default)).collect::<Result<Vec<_>, _>>();
        self.report.items.append(&mut inner.report.items);
        tests
    }

    fn test_of_row(
        &mut self,
        source: &Source,
        file: &Arc<str>,
        row: Row,
        judges: &mut Judges,
        default: &Test,
    ) -> Result<Test, SuiteError> {
        let place = Place::line(row.line);
        let mut inner =
            Reading { source, folder: self.folder, options: self.options, report: super::Report::of(&source.name) };
        let look = default.look.clone();
        let assertions = row.expected.into_iter().map(|assertion| inner.finished(place, assertion, &look, judges));
        let assertions = assertions.collect::<Result<_, _>>()?;
        self.report.items.append(&mut inner.report.items);
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

    fn test(&mut self, node: Node, judges: &mut Judges, default: &Test) -> Result<Test, SuiteError> {
        let mut fields = Fields::open(self.source, node, "a test", &KEYS)?;
        let mut test = Test {
            file: self.source.name.as_str().into(),
            place: fields.place(),
            look: default.look.clone(),
            ..Test::default()
        };
        for key in ["provider", "providers", "prompts", "providerOutput", "assertScoringFunction", "config"] {
            if let Some(node) = fields.take(key) {
                self.report.unsupported(
                    node.place,
                    &format!("tests[].{key}"),
                    "every test meets every prompt and model",
                );
            }
        }
        if let Some(options) = fields.take("options") {
            self.options_of(options, &mut test, judges)?;
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
            let look = test.look.clone();
            test.assertions = self.assertions(node, &look, judges)?;
        }
        Ok(test)
    }

    fn options_of(&mut self, node: Node, test: &mut Test, judges: &mut Judges) -> Result<(), SuiteError> {
        let mut options = Fields::open(self.source, node, "`options` of a test", &OPTIONS)?;
        let place = options.place();
        test.prefix = options.text("prefix")?.unwrap_or_default();
        test.suffix = options.text("suffix")?.unwrap_or_default();
        if let Some(transform) = options.text("transform")?.or(options.text("postprocess")?) {
            test.look.transform = Some(transform);
        }
        test.keeps_lists = options.boolean("disableVarExpansion")?.unwrap_or(false);
        test.without_defaults = options.boolean("disableDefaultAsserts")?.unwrap_or(false);
        if let Some(node) = options.take("provider") {
            self.judge(node, judges)?;
        }
        if let Some(node) = options.take("rubricPrompt") {
            judges.rubric_prompt = Some(self.words(node)?);
        }
        drop(options.take("disableConversationVar"));
        for key in ["transformVars", "storeOutputAs", "runSerially", "factuality", "repeat"] {
            if options.take(key).is_some() {
                self.report.unsupported(place, &format!("options.{key}"), "tests know nothing of each other here");
            }
        }
        Ok(())
    }

    /// Who judges: one model, or one for texts and one for vectors.
    fn judge(&mut self, node: Node, judges: &mut Judges) -> Result<(), SuiteError> {
        if let Kind::Table(entries) = &node.kind {
            let of = |key: &str| entries.iter().find(|entry| entry.key == key).map(|entry| entry.value.clone());
            let (text, embedding) = (of("text"), of("embedding"));
            if text.is_some() || embedding.is_some() {
                judges.default = text.map(|node| self.provider(node)).transpose()?.flatten();
                judges.embedder = embedding.map(|node| self.provider(node)).transpose()?.flatten();
                return Ok(());
            }
        }
        judges.default = self.provider(node)?;
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

    fn scenarios(&mut self, node: Node, judges: &mut Judges, default: &Test) -> Result<Vec<Test>, SuiteError> {
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
            let tests = fields.take("tests").map(|node| self.tests(node, judges, default)).transpose()?;
            for node in config {
                let config = self.test(node, judges, default)?;
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
