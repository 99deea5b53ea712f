//! A schema as a person reads it: one line per field, with references followed.

use serde::Serialize;
use serde_json::Value;

use crate::compatibility::{alternatives, constants, kinds, range, resolve};

/// Deepest nesting of fields that is listed.
const DEPTH_MAX: usize = 8;

/// One field of a payload.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Field {
    /// Names from the outside in, such as `cases[].input`.
    pub path: String,
    /// The type in words, such as `array of uuid` or `integer (uint32) or null`.
    pub kind: String,
    /// Whether every payload has it.
    pub required: bool,
    /// What it is.
    pub description: String,
    /// What is read where it is absent, as far as the schema says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The field that names the person whom it is about, where it is encrypted for that person (`x-subject`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// Where it stands in the schema.
    pub pointer: String,
    /// The field's own schema, with its reference followed.
    #[serde(skip)]
    pub(crate) schema: Value,
}

/// All fields of a schema, each followed by those inside of it.
#[must_use]
pub fn fields(schema: &Value) -> Vec<Field> {
    let mut found = Vec::new();
    Listing { root: schema, found: &mut found }.object(schema, "", "", 0);
    found
}

struct Listing<'a> {
    root: &'a Value,
    found: &'a mut Vec<Field>,
}

impl Listing<'_> {
    fn object(&mut self, schema: &Value, path: &str, pointer: &str, depth: usize) {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let target = resolve(self.root, field);
            let text = |keyword: &str| field.get(keyword).or_else(|| target.get(keyword));
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let pointer = format!("{pointer}/properties/{}", name.replace('~', "~0").replace('/', "~1"));
            self.found.push(Field {
                path: path.clone(),
                kind: kind(self.root, field),
                required: required.contains(&name.as_str()),
                description: text("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
                default: text("default").cloned(),
                subject: text("x-subject").and_then(Value::as_str).map(str::to_owned),
                pointer: pointer.clone(),
                schema: target.clone(),
            });
            if depth < DEPTH_MAX {
                self.inside(target, &path, &pointer, depth + 1);
            }
        }
    }

    /// The fields of what a field holds: an object, each item of a list, or the one schema of an optional value.
    fn inside(&mut self, schema: &Value, path: &str, pointer: &str, depth: usize) {
        if let Some(items) = schema.get("items") {
            let path = format!("{path}[]");
            self.inside(resolve(self.root, items), &path, &format!("{pointer}/items"), depth);
        }
        for branch in alternatives(schema).into_iter().flatten() {
            self.inside(resolve(self.root, branch), path, pointer, depth);
        }
        self.object(schema, path, pointer, depth);
    }
}

/// The type in words.
pub(crate) fn kind(root: &Value, schema: &Value) -> String {
    let schema = resolve(root, schema);
    if let Some(values) = constants(schema) {
        return values.iter().map(|value| value.to_string()).collect::<Vec<_>>().join(", ");
    }
    if let Some(branches) = alternatives(schema) {
        return branches.iter().map(|branch| kind(root, branch)).collect::<Vec<_>>().join(" or ");
    }
    let Some(kinds) = kinds(schema) else { return "any".to_owned() };
    // `null` last, as people say it.
    let (null, other): (Vec<_>, Vec<_>) = kinds.into_iter().partition(|kind| *kind == "null");
    other.into_iter().chain(null).map(|name| of_type(root, schema, name)).collect::<Vec<_>>().join(" or ")
}

fn of_type(root: &Value, schema: &Value, name: &str) -> String {
    let format = schema.get("format").and_then(Value::as_str);
    match (name, format) {
        ("array", _) => match schema.get("items") {
            Some(items) => format!("array of {}", kind(root, items)),
            None => "array of any".to_owned(),
        },
        ("string", Some(format)) if range(format).is_none() => format.to_owned(),
        ("integer" | "number", Some(format)) if range(format).is_some() => format!("{name} ({format})"),
        (name, _) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_inside_of_lists_options_and_references_are_listed() {
        let schema = json!({
            "type": "object",
            "properties": {
                "cases": { "type": "array", "items": { "$ref": "#/$defs/Case" }, "description": "All." },
                "by": { "anyOf": [{ "$ref": "#/$defs/Id" }, { "type": "null" }], "description": "Who." },
            },
            "required": ["cases"],
            "$defs": {
                "Id": { "type": "string", "format": "uuid", "description": "An id." },
                "Case": {
                    "type": "object",
                    "properties": {
                        "n": { "type": ["integer", "null"], "format": "uint32", "default": 7, "x-subject": "by" },
                        "lane": { "oneOf": [{ "const": "hi" }, { "const": "std" }] },
                        "id": { "$ref": "#/$defs/Id" },
                    },
                    "required": ["lane"],
                },
            },
        });
        let lines: Vec<String> = fields(&schema)
            .into_iter()
            .map(|field| {
                format!(
                    "{}{}: {} | {}",
                    field.path,
                    if field.required { "" } else { "?" },
                    field.kind,
                    field.description
                )
            })
            .collect();
        let expected = [
            "cases: array of object | All.",
            "cases[].n?: integer (uint32) or null | ",
            "cases[].lane: \"hi\", \"std\" | ",
            "cases[].id?: uuid | An id.",
            "by?: uuid or null | Who.",
        ];
        assert_eq!(lines, expected);
        assert_eq!(fields(&schema)[1].subject.as_deref(), Some("by"));
        assert_eq!(fields(&schema)[1].pointer, "/properties/cases/items/properties/n");
    }
}
