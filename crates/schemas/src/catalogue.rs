//! The page of all events, for people: when each happens, its fields, a sample, and what it was before.

use crate::build::{Build, BuiltEvent};
use crate::difference::{Change, diff};
use crate::field::{Field, fields};
use crate::released::Released;
use crate::write::sample_path;

/// What stands above the events.
const HEAD: &str = "# Events\n\n\
    Everything that happens is one of these, and nothing else is stored. The page is written by `make gen` from the\n\
    events' declarations in `crates/domain` and the released files of `event-schemas/`; a test fails where it is out of\n\
    date. How an event may change is in [CONTRIBUTING.md](../CONTRIBUTING.md#a-new-version-of-an-event).\n";

/// The page, as Markdown.
#[must_use]
pub fn catalogue(build: &Build, released: &Released) -> String {
    let mut page = String::from(HEAD);
    index(&mut page, build);
    let mut category = None;
    for event in &build.events {
        if category != Some(event.category) {
            category = Some(event.category);
            line(&mut page, &format!("\n## {}", event.category.name()));
        }
        section(&mut page, event, released);
    }
    page
}

fn line(page: &mut String, text: &str) {
    page.push_str(text);
    page.push('\n');
}

/// A sentence on one line, where a line break and a bar would end a cell; links of rustdoc lead nowhere here.
fn cell(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace('|', "\\|").replace("[`", "`").replace("`]", "`")
}

fn index(page: &mut String, build: &Build) {
    line(page, "\n| event | version | in streams of | when |\n|---|---|---|---|");
    for event in &build.events {
        let (name, version) = (event.lineage.newest.name, event.lineage.newest.version);
        let anchor = format!("{name} version {version}").replace('.', "").replace(' ', "-");
        let (category, when) = (event.category.name(), cell(event.lineage.when));
        line(page, &format!("| [`{name}`](#{anchor}) | {version} | `{category}` | {when} |"));
    }
}

fn section(page: &mut String, event: &BuiltEvent, released: &Released) {
    let newest = event.lineage.newest;
    line(page, &format!("\n### {} version {}\n", newest.name, newest.version));
    line(page, &cell(event.lineage.when));
    let all = fields(&event.schema);
    if all.is_empty() {
        line(page, "\nThe payload has no fields.");
    } else {
        line(page, "\n| field | type | | what it is |\n|---|---|---|---|");
        for field in &all {
            let presence = if field.required { "always" } else { "optional" };
            let (path, kind, description) = (&field.path, cell(&field.kind), cell(&described(field)));
            line(page, &format!("| `{path}` | {kind} | {presence} | {description} |"));
        }
    }
    if let Some(sample) = released.text(&sample_path(newest.name, newest.version)) {
        line(page, &format!("\n```json\n{}\n```", sample.trim_end()));
    }
    history(page, event, released);
}

fn described(field: &Field) -> String {
    let mut text = field.description.clone();
    if let Some(default) = &field.default {
        text.push_str(&format!(" Read as `{default}` where it is absent."));
    }
    if let Some(subject) = &field.subject {
        text.push_str(&format!(" Encrypted for the person in `{subject}`."));
    }
    text
}

fn history(page: &mut String, event: &BuiltEvent, released: &Released) {
    let versions: Vec<_> = event.lineage.versions().collect();
    for (former, next) in event.lineage.former.iter().zip(versions.iter().skip(1)) {
        let stored = former.event_type;
        let how = if former.upcast.is_some() { "a step makes" } else { "without a step, as" };
        let mut text =
            format!("\nBefore: `{}` version {}; {how} version {} of it", stored.name, stored.version, next.version);
        let before = released.schema(stored.name, stored.version);
        let after = released.schema(next.name, next.version);
        if let (Some(before), Some(after)) = (before, after) {
            let changes: Vec<String> = diff(&before, &after).changes.iter().map(told).collect();
            if !changes.is_empty() {
                text.push_str(". Changed: ");
                text.push_str(&changes.join("; "));
            }
        }
        text.push('.');
        line(page, &text);
    }
}

fn told(change: &Change) -> String {
    let presence = |field: &Field| if field.required { "always" } else { "optional" };
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let (old, new) = (presence(before), presence(after));
            format!("`{}` was {} ({old}) and is {} ({new})", after.path, before.kind, after.kind)
        }
        (None, Some(new)) => format!("`{}` is new ({}, {})", new.path, new.kind, presence(new)),
        (Some(gone), None) => format!("`{}` is gone", gone.path),
        (None, None) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_its_place_its_fields_and_its_sample() {
        let page = catalogue(&Build::current(), &Released::compiled_in().unwrap());
        for event in &Build::current().events {
            let newest = event.lineage.newest;
            assert!(page.contains(&format!("### {} version {}\n", newest.name, newest.version)), "{newest}");
            for field in fields(&event.schema) {
                assert!(page.contains(&format!("| `{}` |", field.path)), "{newest}: {}", field.path);
            }
        }
        assert!(page.contains("Before: `test_run.cancelled` version 1; a step makes version 2 of it."), "{page}");
    }
}
