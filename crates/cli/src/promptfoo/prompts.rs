//! The prompts of a configuration: texts, files of one or several, and chats.

use std::path::Path;

use super::files::{self, FILE};
use super::{Reading, csv};
use crate::suite::error::{Place, SuiteError};
use crate::suite::fields::Fields;
use crate::suite::node::{Kind, Node};
use crate::suite::source::{CASES_BYTES_MAX, Source};

/// The prompt where a configuration has none.
const DEFAULT: &str = "{{prompt}}";
/// The line between the prompts of a text file.
const SEPARATOR: &str = "---";
/// Extensions by which a text is the name of a file.
const EXTENSIONS: [&str; 9] = ["txt", "json", "jsonl", "yaml", "yml", "md", "j2", "csv", "njk"];
/// Extensions of programs that would make prompts.
const PROGRAMS: [&str; 9] = ["js", "cjs", "mjs", "ts", "cts", "mts", "py", "rb", "sh"];
/// Prefixes of prompts that are kept elsewhere.
const ELSEWHERE: [&str; 4] = ["exec:", "langfuse://", "portkey://", "helicone://"];
const MEND: &str = "write a text, `file://` with a path, or a table with `raw:` and `label:`";

/// A prompt and what it is called.
struct Prompt {
    text: String,
    names: Vec<String>,
}

impl Prompt {
    fn of(text: String, id: Option<&str>) -> Self {
        let names = std::iter::once(text.clone()).chain(id.map(str::to_owned)).collect();
        Self { text, names }
    }
}

fn labelled(mut prompts: Vec<Prompt>, label: Option<&str>) -> Vec<Prompt> {
    prompts.iter_mut().for_each(|prompt| prompt.names.extend(label.map(str::to_owned)));
    prompts
}

impl Reading<'_> {
    /// Reads the prompts, without those that are there twice; what they are called is kept.
    pub(super) fn prompts(&mut self, node: Option<Node>) -> Result<Vec<String>, SuiteError> {
        let mut prompts = match node {
            None => vec![Prompt::of(DEFAULT.to_owned(), None)],
            Some(Node { place, kind: Kind::Text(text) }) => self.prompt(place, &text)?,
            Some(Node { kind: Kind::List(items), .. }) => {
                let mut all = Vec::new();
                for item in items {
                    all.extend(self.prompt_item(item)?);
                }
                all
            }
            // The old form: paths and their labels.
            Some(Node { kind: Kind::Table(entries), .. }) => {
                let mut all = Vec::new();
                for entry in entries {
                    let label = match entry.value.kind {
                        Kind::Text(label) => Some(label),
                        _ => None,
                    };
                    all.extend(labelled(self.prompt(entry.place, &entry.key)?, label.as_deref()));
                }
                all
            }
            Some(node) => return Err(self.source.error(node.place, "`prompts` must be a list of prompts", MEND)),
        };
        let mut seen = std::collections::HashSet::new();
        prompts.retain(|prompt| seen.insert(prompt.text.clone()));
        let (texts, names) = prompts.into_iter().map(|prompt| (prompt.text, prompt.names)).unzip();
        self.known.prompts = names;
        Ok(texts)
    }

    /// Puts texts before and behind each prompt; a chat has no such places.
    pub(super) fn put_around(&mut self, place: Place, prompts: &mut [String], (before, behind): &(String, String)) {
        if before.is_empty() && behind.is_empty() {
            return;
        }
        for prompt in prompts {
            if prompt.trim_start().starts_with('[') && serde_json::from_str::<serde_json::Value>(prompt).is_ok() {
                let note = "a chat has no text before or behind it: put it into a message";
                self.report.unsupported(place, "options.prefix or suffix", note);
            } else {
                *prompt = format!("{before}{prompt}{behind}");
            }
        }
    }

    fn prompt_item(&mut self, node: Node) -> Result<Vec<Prompt>, SuiteError> {
        let place = node.place;
        if let Kind::Text(text) = &node.kind {
            return self.prompt(place, text);
        }
        let known = ["id", "label", "raw", "config", "display"];
        let mut fields = Fields::open(self.source, node, "a prompt", &known)?;
        if let Some(config) = fields.take("config") {
            self.report.unsupported(config.place, "prompts[].config", "a prompt has no model settings of its own here");
        }
        let label = fields.text("label")?;
        match (fields.text("raw")?, fields.text("id")?) {
            (Some(raw), id) => Ok(labelled(vec![Prompt::of(raw, id.as_deref())], label.as_deref())),
            (None, Some(id)) => Ok(labelled(self.prompt(place, &id)?, label.as_deref())),
            (None, None) => Err(self.source.error(place, "a prompt has neither `raw` nor `id`", MEND)),
        }
    }

    fn prompt(&mut self, place: Place, text: &str) -> Result<Vec<Prompt>, SuiteError> {
        if let Some(prefix) = ELSEWHERE.iter().find(|prefix| text.starts_with(**prefix)) {
            self.report.refused(place, &format!("prompts: {prefix}"), "it runs a program or fetches the prompt");
            return Ok(Vec::new());
        }
        let name = text.strip_prefix(FILE).unwrap_or(text);
        let end = files::extension(name.split_once(':').map_or(name, |(path, _)| path));
        let is_file = !text.contains('\n') && (text.starts_with(FILE) || is_path(name, &end));
        if is_file && PROGRAMS.contains(&end.as_str()) {
            self.report.refused(place, "prompts", format!("{name} is a program that makes prompts"));
            return Ok(Vec::new());
        }
        if !is_file {
            return Ok(vec![Prompt::of(text.to_owned(), None)]);
        }
        let mut prompts = Vec::new();
        for file in files::matching(self.source, place, self.folder, text)? {
            prompts.extend(of_file(&file)?.into_iter().map(|prompt| Prompt::of(prompt, Some(text))));
        }
        Ok(prompts)
    }
}

/// Whether a text without a line break is the path of a file. A path that leads nowhere is an error here; promptfoo would
/// ask the model for it.
fn is_path(name: &str, end: &str) -> bool {
    let has_extension = EXTENSIONS.contains(&end) || PROGRAMS.contains(&end);
    has_extension && !name.contains(' ') && !name.contains("{{")
}

fn of_file(path: &Path) -> Result<Vec<String>, SuiteError> {
    let end = files::extension(&path.to_string_lossy());
    match end.as_str() {
        "json" | "yaml" | "yml" => {
            let (_, node) = files::document(path)?;
            Ok(vec![node.into_json().to_string()])
        }
        "jsonl" => {
            let source = Source::read(path, CASES_BYTES_MAX)?;
            Ok(source.text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect())
        }
        "csv" => csv::prompts(path),
        "txt" => {
            let source = Source::read(path, CASES_BYTES_MAX)?;
            Ok(divided(&source.text))
        }
        _ => Ok(vec![Source::read(path, CASES_BYTES_MAX)?.text]),
    }
}

fn divided(text: &str) -> Vec<String> {
    let mut prompts = vec![String::new()];
    for line in text.lines() {
        match prompts.last_mut() {
            Some(_) if line.trim_end() == SEPARATOR => prompts.push(String::new()),
            Some(prompt) => {
                prompt.push_str(line);
                prompt.push('\n');
            }
            None => (),
        }
    }
    prompts.iter().map(|prompt| prompt.trim().to_owned()).filter(|prompt| !prompt.is_empty()).collect()
}
