//! The conventions of event schemas, for what is written from now on.
//!
//! They are of two kinds: names that a reader can trust (`_id` is a UUID, `_at` is a time, `is_` is yes or no), and
//! traps that can't be mended once events are stored (money in floats, integers without an end). Lengths of texts are
//! not among them: they are limits of the domain (`domain::limits`), which may change without a new version.

use serde_json::Value;

use crate::build::Build;
use crate::compatibility::{bounds, kinds};
use crate::field::{Field, fields};
use crate::finding::{Finding, Rule};
use crate::write::schema_path;

/// Past tenses that do not end in `ed`; add to them what is needed.
const IRREGULAR: [&str; 14] = [
    "begun", "broken", "built", "chosen", "found", "given", "hidden", "lost", "made", "paid", "sent", "set", "taken",
    "written",
];
/// Words in the name of an amount of money.
const MONEY: [&str; 6] = ["cost", "price", "usd", "eur", "fee", "amount"];

/// Every convention that the build's newest versions break.
#[must_use]
pub fn lint(build: &Build) -> Vec<Finding> {
    let mut found = Vec::new();
    for event in &build.events {
        let newest = event.lineage.newest;
        let path = schema_path(newest.name, newest.version);
        if let Some(message) = name_fault(event.category.name(), newest.name) {
            found.push(Finding::new(Rule::Name, path.clone(), message));
        }
        if event.lineage.when.trim().is_empty() {
            found.push(Finding::new(Rule::Description, path.clone(), "nothing says when the event happens"));
        }
        if text(&event.schema, "description").is_empty() {
            found.push(Finding::new(Rule::Description, path.clone(), "the payload has no description"));
        }
        for field in fields(&event.schema) {
            let place = format!("{path}#{}", field.pointer);
            found.extend(faults(&field).map(|(rule, message)| Finding::new(rule, place.clone(), message)));
        }
    }
    found
}

fn text<'a>(schema: &'a Value, keyword: &str) -> &'a str {
    schema.get(keyword).and_then(Value::as_str).unwrap_or_default()
}

fn is_snake_case(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_lowercase());
    starts && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn name_fault(category: &str, name: &str) -> Option<String> {
    let Some((prefix, event)) = name.split_once('.') else {
        return Some(format!("{name} has no category in front of a dot"));
    };
    let last = event.rsplit('_').next().unwrap_or_default();
    if prefix != category {
        Some(format!("{name} is in streams of {category}, and says {prefix}"))
    } else if !is_snake_case(event) {
        Some(format!("{name} is not in snake_case"))
    } else if !last.ends_with("ed") && !IRREGULAR.contains(&last) {
        Some(format!("{name} does not say what happened: it ends in no past tense"))
    } else {
        None
    }
}

fn faults(field: &Field) -> impl Iterator<Item = (Rule, String)> {
    let name = field.path.rsplit('.').next().unwrap_or_default();
    let kinds = kinds(&field.schema);
    let has = |kind: &str| kinds.as_ref().is_some_and(|kinds| kinds.contains(kind));
    let mut found = Vec::new();
    if !is_snake_case(name) {
        found.push((Rule::Name, format!("{} is not in snake_case", field.path)));
    }
    if field.description.is_empty() {
        found.push((Rule::Description, format!("{} has no description", field.path)));
    }
    let is_money = name.split('_').any(|word| MONEY.contains(&word));
    if is_money && (has("number") || has("string")) {
        found.push((Rule::Money, format!("{} is money: a whole number, such as `_micro_usd`", field.path)));
    }
    // The words of the kind, so that an optional value and a list are looked into.
    let one_of = |wanted: &str| field.kind.split(" or ").filter(|kind| *kind != "null").all(|kind| kind == wanted);
    for (holds, wanted) in [
        (name.ends_with("_id"), "uuid"),
        (name.ends_with("_ids"), "array of uuid"),
        (name.ends_with("_at"), "date-time"),
        (name.starts_with("is_"), "boolean"),
    ] {
        if holds && !one_of(wanted) {
            found
                .push((Rule::FieldType, format!("{} is called so and is no {wanted}, but {}", field.path, field.kind)));
        }
    }
    if has("integer") && (bounds(&field.schema).0.is_none() || bounds(&field.schema).1.is_none()) {
        found.push((Rule::Bounds, format!("{} has no smallest or no largest value", field.path)));
    }
    found.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rules(name: &str, schema: &Value) -> Vec<Rule> {
        let payload = json!({ "type": "object", "properties": { name: schema } });
        fields(&payload).iter().flat_map(faults).map(|(rule, _)| rule).collect()
    }

    #[test]
    fn the_events_of_this_build_keep_them() {
        let found: Vec<String> = lint(&Build::current()).iter().map(ToString::to_string).collect();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }

    #[test]
    fn each_convention_is_told_when_it_is_broken() {
        let of = |schema: Value| {
            let mut schema = schema;
            schema["description"] = json!("What it is.");
            schema
        };
        let uuid = of(json!({ "type": "string", "format": "uuid" }));
        let text = of(json!({ "type": "string" }));
        let number = of(json!({ "type": "number" }));
        for (name, schema, expected) in [
            ("run_id", &uuid, vec![]),
            ("run_id", &text, vec![Rule::FieldType]),
            (
                "run_ids",
                &of(json!({ "type": ["array", "null"], "items": { "type": "string" } })),
                vec![Rule::FieldType],
            ),
            ("retry_at", &text, vec![Rule::FieldType]),
            ("is_public", &text, vec![Rule::FieldType]),
            ("cost_usd", &number, vec![Rule::Money]),
            ("cost_micro_usd", &of(json!({ "type": ["integer", "null"], "format": "uint64" })), vec![]),
            ("count", &of(json!({ "type": "integer" })), vec![Rule::Bounds]),
            ("camelCase", &text, vec![Rule::Name]),
            ("name", &json!({ "type": "string" }), vec![Rule::Description]),
        ] {
            assert_eq!(rules(name, schema), expected, "{name}: {schema}");
        }
    }

    #[test]
    fn a_name_is_a_category_and_a_past_tense() {
        for name in ["prompt_card.revised", "prompt_card.cases_added", "prompt_card.sent"] {
            assert_eq!(name_fault("prompt_card", name), None);
        }
        for name in ["revised", "test_run.revised", "prompt_card.revise", "prompt_card.Revised", "prompt_card."] {
            assert!(name_fault("prompt_card", name).is_some(), "{name}");
        }
    }
}
