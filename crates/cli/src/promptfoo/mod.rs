//! promptfoo's configuration files, read as suites: what they mean here, and what of them can't be meant here.
//!
//! Read in this order: [`load`] is the way through a file; [`report`] says of every item how well it is understood;
//! `prompts`, `providers` and `cases` read the three parts, `asserts` and `expectation` what they demand, `expand` makes cases of tests. The meaning is that
//! of one version of promptfoo ([`SEMANTICS`]), for it has changed between versions.

pub mod report;
mod restrict;
mod asserts;
mod cases;
pub(crate) mod csv;
mod environment;
mod expand;
pub(crate) mod expectation;
mod export;
mod files;
mod programs;
mod prompts;
mod providers;
#[cfg(test)]
mod conformance_tests;
#[cfg(test)]
mod manner_tests;
#[cfg(test)]
mod reference_tests;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use pcs_domain::model::ModelSpec;
use pcs_domain::test_run::Lane;
use serde_json::Value;

pub use self::export::{Exported, export};
pub use self::providers::ProviderMap;
use self::report::Report;
use self::restrict::Known;
use crate::suite::Suite;
use crate::suite::card::SuiteCard;
use crate::suite::derived::{self, DerivedMetric};
use crate::suite::error::SuiteError;
use crate::suite::fields::Fields;
use crate::suite::node::{Kind, Node};
use crate::suite::only::Only;
use crate::suite::source::{Format, SUITE_BYTES_MAX, Source};

/// The version of promptfoo whose meaning files have here.
pub const SEMANTICS: &str = "0.121.20";
/// Keys by which a file is promptfoo's, where it has no `card`.
const SIGNS: [&str; 4] = ["prompts", "providers", "targets", "tests"];
/// The names that promptfoo looks for in a folder.
const FILES: [&str; 3] = ["promptfooconfig.yaml", "promptfooconfig.yml", "promptfooconfig.json"];
/// Every key that promptfoo knows at the top.
const KEYS: [&str; 24] = [
    "description",
    "prompts",
    "providers",
    "targets",
    "tests",
    "defaultTest",
    "scenarios",
    "assertionTemplates",
    "env",
    "evaluateOptions",
    "commandLineOptions",
    "outputPath",
    "derivedMetrics",
    "nunjucksFilters",
    "extensions",
    "redteam",
    "plugins",
    "strategies",
    "tracing",
    "sharing",
    "tags",
    "metadata",
    "writeLatestResults",
    "$schema",
];
/// Keys that say how promptfoo shows and shares results, and nothing about the tests.
const HARMLESS: [&str; 6] = ["sharing", "tags", "metadata", "writeLatestResults", "$schema", "commandLineOptions"];

/// Endings of the files that results are written to.
const OUTPUTS: [&str; 4] = ["json", "jsonl", "csv", "xml"];

/// How a file is to be read.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which of its providers are which of ours.
    pub providers: ProviderMap,
    /// Whether what can't be done here is left out. Assertions never are.
    pub allow_unsupported: bool,
}

/// A file as a suite, and how well each of its items is understood.
#[derive(Debug)]
pub struct Imported {
    /// The suite.
    pub suite: Suite,
    /// Where results go that nobody named another place for.
    pub output: Option<PathBuf>,
    /// What is to be said about it.
    pub report: Report,
}

/// What every part needs to be read.
struct Reading<'a> {
    source: &'a Source,
    folder: &'a Path,
    options: &'a Options,
    report: Report,
    /// What prompts and models are called.
    known: Known,
    /// The ids under which the provider was written that is being read.
    written: Vec<String>,
    /// The prompts that it is asked, where it is not all.
    asked_only: Option<Vec<usize>>,
    /// What models are restricted to.
    model_only: Vec<(String, Only)>,
}

impl<'a> Reading<'a> {
    fn new(source: &'a Source, folder: &'a Path, options: &'a Options) -> Self {
        let (known, written, model_only) = (Known::default(), Vec::new(), Vec::new());
        Self { source, folder, options, report: Report::of(&source.name), known, written, asked_only: None, model_only }
    }

    /// The same for a file that this one names.
    fn of_file<'b>(&self, source: &'b Source) -> Reading<'b>
    where
        'a: 'b,
    {
        Reading { known: self.known.clone(), ..Reading::new(source, self.folder, self.options) }
    }
}

/// The configuration that a path means, where it is promptfoo's: a folder that holds one, or a file that looks like one.
pub fn find(path: &Path) -> Result<Option<PathBuf>, SuiteError> {
    if path.is_dir() {
        return Ok(FILES.iter().map(|name| path.join(name)).find(|file| file.is_file()));
    }
    let Some(format @ (Format::Yaml | Format::Json)) = Format::of(path) else { return Ok(None) };
    let document = Source::read(path, SUITE_BYTES_MAX)?.document(format)?;
    let Kind::Table(entries) = document.kind else { return Ok(None) };
    let has = |key: &str| entries.iter().any(|entry| entry.key == key);
    Ok((!has("card") && SIGNS.iter().any(|sign| has(sign))).then(|| path.to_owned()))
}

/// Reads a configuration and the files that it names.
///
/// # Errors
/// [`SuiteError`] with the place of what is wrong, or of the first item that can't be done here.
pub fn load(path: &Path, options: &Options) -> Result<Imported, SuiteError> {
    let source = Source::read(path, SUITE_BYTES_MAX)?;
    let format = Format::of(path).unwrap_or(Format::Yaml);
    let document = source.document(format)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let mut reading = Reading::new(&source, folder, options);
    let (suite, output) = reading.config(document, path)?;
    let report = reading.report;
    match report.first_obstacle().filter(|_| !options.allow_unsupported) {
        Some(obstacle) => Err(obstacle),
        None => Ok(Imported { suite, output, report }),
    }
}

impl Reading<'_> {
    fn config(&mut self, document: Node, path: &Path) -> Result<(Suite, Option<PathBuf>), SuiteError> {
        let source = self.source;
        let document = environment::rendered(source, document)?;
        let document = files::with_references(source, document)?;
        let mut fields = Fields::open(source, document, "the configuration", &KEYS)?;
        let place = fields.place();
        let title = fields.text("description")?.unwrap_or_else(|| named_after(path));
        let mut prompts = self.prompts(fields.take("prompts"))?;
        let providers = match (fields.take("providers"), fields.take("targets")) {
            (Some(node), None) | (None, Some(node)) => node,
            (None, None) => return Err(source.error(place, "the configuration has no `providers`", providers::MEND)),
            (Some(node), Some(_)) => {
                let message = "the configuration has both `providers` and `targets`, which are the same";
                return Err(source.error(node.place, message, "keep `providers`"));
            }
        };
        let models = self.providers(providers)?;
        let of_all = self.evaluate_options(&mut fields)?;
        let output = self.output_path(&mut fields)?;
        let derived = self.derived(&mut fields)?;
        self.others(&mut fields);
        let default = fields.take("defaultTest");
        let (tests, scenarios) = (fields.take("tests"), fields.take("scenarios"));
        let read = self.cases(place, default, tests, scenarios)?;
        let mut cases = read.cases;
        self.put_around(place, &mut prompts, &read.around);
        let empty = expand::fill(&prompts, &mut cases)?;
        for variable in empty {
            let note = format!("`{variable}` has no value in some tests: it is empty there, as in promptfoo");
            self.report.approximate(place, "vars", note);
        }
        let mut cases = self.distinct(cases)?;
        let repeats = restrict::repeats(cases.iter_mut().map(|case| &mut case.only), of_all);
        let first = prompts.first().cloned().unwrap_or_default();
        let suite = Suite {
            file: source.name.clone(),
            name: title.clone(),
            card: card(title, first),
            prompts,
            models,
            cases,
            assertions: read.assertions,
            threshold: read.threshold,
            derived,
            grader: read.grader,
            model_only: std::mem::take(&mut self.model_only),
            repeats,
            lane: Lane::default(),
        };
        Ok((suite, output))
    }

    /// Metrics that are made of others; what is no expression is code of its own.
    fn derived(&mut self, fields: &mut Fields<'_>) -> Result<Vec<DerivedMetric>, SuiteError> {
        let nodes = fields.list("derivedMetrics", "a list of metrics")?.unwrap_or_default();
        if let Some(first) = nodes.first() {
            let note = "the expression is JavaScript here, in which ^ is the power";
            self.report.approximate(first.place, "derivedMetrics", note);
        }
        derived::list(self.source, nodes)
    }

    /// The first path whose form is one of ours, beside the configuration.
    fn output_path(&mut self, fields: &mut Fields<'_>) -> Result<Option<PathBuf>, SuiteError> {
        let Some(node) = fields.take("outputPath") else { return Ok(None) };
        let place = node.place;
        let paths: Vec<String> = match node.into_json() {
            Value::String(path) => vec![path],
            Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => return Err(self.source.error(place, "`outputPath` must be a path", "write results.json")),
        };
        let (ours, others): (Vec<_>, Vec<_>) =
            paths.into_iter().partition(|path| OUTPUTS.contains(&files::extension(path).as_str()));
        let left = ours.iter().skip(1).chain(&others).map(String::as_str).collect::<Vec<_>>();
        if !left.is_empty() {
            let note = format!("{} is not written: results go to one file of {}", left.join(", "), OUTPUTS.join(", "));
            self.report.approximate(place, "outputPath", note);
        }
        if !ours.is_empty() {
            self.report.approximate(place, "outputPath", "results are written in the form of `--output`");
        }
        Ok(ours.first().map(|path| self.folder.join(path)))
    }

    fn evaluate_options(&mut self, fields: &mut Fields<'_>) -> Result<u16, SuiteError> {
        let Some(node) = fields.take("evaluateOptions") else { return Ok(1) };
        let known = ["repeat", "maxConcurrency", "delay", "cache", "showProgressBar", "timeoutMs", "maxEvalTimeMs"];
        let mut options = Fields::open(self.source, node, "`evaluateOptions`", &known)?;
        let place = options.place();
        for key in &known[1..] {
            if options.take(key).is_some() {
                let note = "how fast and how long a run works is the server's and the provider's limits here";
                self.report.approximate(place, &format!("evaluateOptions.{key}"), note);
            }
        }
        let max = u64::from(pcs_domain::limits::RUN_REPEATS_MAX);
        let repeat = options.whole("repeat", max)?.unwrap_or(1).max(1);
        Ok(u16::try_from(repeat).unwrap_or(1))
    }

    /// Items that mean nothing here, or something that can't be done.
    fn others(&mut self, fields: &mut Fields<'_>) {
        for key in HARMLESS {
            if let Some(node) = fields.take(key) {
                self.report.approximate(node.place, key, "it is about promptfoo's own files and pages");
            }
        }
        for key in ["tracing"] {
            if let Some(node) = fields.take(key) {
                self.report.unsupported(node.place, key, "there is nothing like it here yet");
            }
        }
        for key in ["nunjucksFilters", "extensions", "redteam", "plugins", "strategies"] {
            if let Some(node) = fields.take(key) {
                self.report.refused(node.place, key, "it runs code of its own, or attacks that are made elsewhere");
            }
        }
        // What `find_references` has used.
        drop((fields.take("assertionTemplates"), fields.take("env")));
    }
}

/// The card, of which a configuration says nothing but its name.
fn card(title: String, prompt: String) -> SuiteCard {
    SuiteCard { title, prompt, description: None, category: None, tags: None, metadata: None, is_public: None }
}

/// A configuration without a description is called like its folder, or like its file where it has another name.
fn named_after(path: &Path) -> String {
    let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let folder = text(absolute.parent().and_then(Path::file_name)).unwrap_or_default();
    let file = text(path.file_stem()).unwrap_or_default();
    if file == "promptfooconfig" && !folder.is_empty() { folder } else { format!("{folder}/{file}") }
}

/// The model that a judge is, where a configuration names none.
fn usual_grader() -> ModelSpec {
    ModelSpec::of_id(asserts::GRADER_DEFAULT)
}
