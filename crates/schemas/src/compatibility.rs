//! Whether a reader of one schema can read everything that a writer of another one writes.
//!
//! The answer leans to the safe side: what is not understood is refused, and an optional field that only the reader
//! knows is no obstacle, because a writer does not write fields that are not in its schema.

use std::collections::BTreeSet;

use serde_json::Value;

/// Deepest nesting that is compared; deeper parts have to be equal.
const DEPTH_MAX: usize = 16;

/// Keywords that say nothing about which values are valid.
const ANNOTATIONS: [&str; 9] =
    ["$schema", "$defs", "$id", "title", "description", "default", "examples", "deprecated", "x-subject"];

/// A place where a reader refuses, or may refuse, what the writer writes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Incompatible {
    /// A JSON pointer into the reader's schema.
    pub pointer: String,
    /// Why.
    pub message: String,
}

/// Every place where a reader of `reader` refuses what is valid by `writer`; empty where it reads everything.
#[must_use]
pub fn refusals(reader: &Value, writer: &Value) -> Vec<Incompatible> {
    let mut comparison = Comparison { reader, writer, found: Vec::new() };
    comparison.compare(reader, writer, "", 0);
    comparison.found
}

struct Comparison<'a> {
    reader: &'a Value,
    writer: &'a Value,
    found: Vec<Incompatible>,
}

impl Comparison<'_> {
    fn refuse(&mut self, pointer: &str, message: impl Into<String>) {
        self.found.push(Incompatible { pointer: pointer.to_owned(), message: message.into() });
    }

    fn compare(&mut self, reader: &Value, writer: &Value, pointer: &str, depth: usize) {
        let (reader, writer) = (resolve(self.reader, reader), resolve(self.writer, writer));
        if accepts_all(reader) {
            return;
        }
        if depth > DEPTH_MAX {
            if reader != writer {
                self.refuse(pointer, "the schemas differ too deep inside to be compared");
            }
            return;
        }
        if let Some(written) = alternatives(writer) {
            for branch in written {
                self.compare(reader, branch, pointer, depth + 1);
            }
            return;
        }
        if let Some(read) = alternatives(reader) {
            let fits = |branch: &&Value| self.trial(branch, writer, depth + 1).is_empty();
            if !read.iter().any(|branch| fits(&branch)) {
                self.refuse(pointer, format!("none of the alternatives takes {}", kinds_text(writer)));
            }
            return;
        }
        self.compare_constants(reader, writer, pointer);
        self.compare_kinds(reader, writer, pointer);
        self.compare_numbers(reader, writer, pointer);
        self.compare_keywords(reader, writer, pointer);
        self.compare_objects(reader, writer, pointer, depth);
        if let Some(items) = reader.get("items") {
            let written = writer.get("items").unwrap_or(&Value::Bool(true));
            if kinds(writer).is_none_or(|kinds| kinds.contains("array")) {
                self.compare(items, written, &format!("{pointer}/items"), depth + 1);
            }
        }
    }

    fn trial(&self, reader: &Value, writer: &Value, depth: usize) -> Vec<Incompatible> {
        let mut trial = Comparison { reader: self.reader, writer: self.writer, found: Vec::new() };
        trial.compare(reader, writer, "", depth);
        trial.found
    }

    fn compare_constants(&mut self, reader: &Value, writer: &Value, pointer: &str) {
        let Some(known) = constants(reader) else { return };
        match constants(writer) {
            None => self.refuse(pointer, "only fixed values are read here, and others are written"),
            Some(written) => {
                for value in written.into_iter().filter(|value| !known.contains(value)) {
                    self.refuse(pointer, format!("the value {value} is written and not read"));
                }
            }
        }
    }

    fn compare_kinds(&mut self, reader: &Value, writer: &Value, pointer: &str) {
        let Some(known) = kinds(reader) else { return };
        let Some(written) = kinds(writer) else {
            if constants(writer).is_none() {
                self.refuse(pointer, format!("only {} is read here, and anything is written", kinds_text(reader)));
            }
            return;
        };
        for kind in written {
            let fits = known.contains(kind) || (kind == "integer" && known.contains("number"));
            if !fits {
                self.refuse(pointer, format!("{kind} is written, and {} is read", kinds_text(reader)));
            }
        }
    }

    fn compare_numbers(&mut self, reader: &Value, writer: &Value, pointer: &str) {
        let numeric = |schema| kinds(schema).is_none_or(|kinds| kinds.contains("integer") || kinds.contains("number"));
        if !numeric(reader) || !numeric(writer) {
            return;
        }
        let ((least, most), (least_written, most_written)) = (bounds(reader), bounds(writer));
        if least.is_some_and(|least| least_written.is_none_or(|written| written < least)) {
            self.refuse(pointer, "smaller numbers are written than are read");
        }
        if most.is_some_and(|most| most_written.is_none_or(|written| written > most)) {
            self.refuse(pointer, "larger numbers are written than are read");
        }
    }

    /// Keywords without a rule of their own have to be equal, where the reader has them.
    fn compare_keywords(&mut self, reader: &Value, writer: &Value, pointer: &str) {
        const OWN_RULES: [&str; 11] = [
            "type",
            "const",
            "enum",
            "minimum",
            "maximum",
            "properties",
            "required",
            "additionalProperties",
            "items",
            "anyOf",
            "oneOf",
        ];
        for (keyword, read) in reader.as_object().into_iter().flatten() {
            let number_format = keyword == "format" && read.as_str().is_some_and(|format| range(format).is_some());
            let passes = ANNOTATIONS.contains(&keyword.as_str()) || OWN_RULES.contains(&keyword.as_str());
            if !passes && !number_format && writer.get(keyword) != Some(read) {
                self.refuse(pointer, format!("{keyword} {read} is demanded, and not kept by what is written"));
            }
        }
    }

    fn compare_objects(&mut self, reader: &Value, writer: &Value, pointer: &str, depth: usize) {
        let fields = |schema: &Value| schema.get("properties").and_then(Value::as_object).cloned().unwrap_or_default();
        let required = |schema: &Value| -> BTreeSet<String> {
            let names = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
            names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        if kinds(writer).is_some_and(|kinds| !kinds.contains("object")) {
            return;
        }
        for name in required(reader).difference(&required(writer)) {
            self.refuse(&format!("{pointer}/properties/{name}"), "it is demanded, and not always written");
        }
        let (read, written) = (fields(reader), fields(writer));
        for (name, field) in &written {
            let place = format!("{pointer}/properties/{name}");
            match read.get(name) {
                Some(reading) => self.compare(reading, field, &place, depth + 1),
                None => match reader.get("additionalProperties") {
                    Some(Value::Bool(false)) => self.refuse(&place, "it is written, and no other field is allowed"),
                    Some(others) => self.compare(others, field, &place, depth + 1),
                    None => (),
                },
            }
        }
        let closed = |schema: &Value| schema.get("additionalProperties") == Some(&Value::Bool(false));
        if closed(reader) && !closed(writer) && writer.get("additionalProperties").is_some() {
            self.refuse(pointer, "any field is written, and no other field is allowed");
        }
    }
}

/// The schema behind a reference into the same file. Beside a `$ref` stand only annotations, as `schemars` writes it.
pub(crate) fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    for _ in 0..DEPTH_MAX {
        let target = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.strip_prefix('#'));
        match target.and_then(|pointer| root.pointer(pointer)) {
            Some(found) => schema = found,
            None => break,
        }
    }
    schema
}

/// The branches of a choice between schemas; a choice between fixed values is not one.
pub(crate) fn alternatives(schema: &Value) -> Option<&Vec<Value>> {
    if constants(schema).is_some() {
        return None;
    }
    schema.get("anyOf").or_else(|| schema.get("oneOf")).and_then(Value::as_array)
}

/// The only values that are valid, where they are listed.
pub(crate) fn constants(schema: &Value) -> Option<Vec<&Value>> {
    if let Some(value) = schema.get("const") {
        return Some(vec![value]);
    }
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        return Some(values.iter().collect());
    }
    let branches = schema.get("oneOf").or_else(|| schema.get("anyOf")).and_then(Value::as_array)?;
    let each: Option<Vec<Vec<&Value>>> = branches.iter().map(constants).collect();
    each.map(|values| values.into_iter().flatten().collect())
}

/// The names of the types; none where any type is valid.
pub(crate) fn kinds(schema: &Value) -> Option<BTreeSet<&str>> {
    match schema.get("type")? {
        Value::String(kind) => Some(BTreeSet::from([kind.as_str()])),
        Value::Array(kinds) => Some(kinds.iter().filter_map(Value::as_str).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

fn kinds_text(schema: &Value) -> String {
    kinds(schema).map_or_else(|| "anything".to_owned(), |kinds| kinds.into_iter().collect::<Vec<_>>().join(" or "))
}

fn accepts_all(schema: &Value) -> bool {
    match schema {
        Value::Bool(all) => *all,
        Value::Object(keywords) => keywords.keys().all(|keyword| ANNOTATIONS.contains(&keyword.as_str())),
        Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => false,
    }
}

/// The range of an integer format, which `schemars` does not always write out as bounds.
pub(crate) fn range(format: &str) -> Option<(f64, f64)> {
    Some(match format {
        "uint8" => (0.0, f64::from(u8::MAX)),
        "uint16" => (0.0, f64::from(u16::MAX)),
        "uint32" => (0.0, f64::from(u32::MAX)),
        "uint64" | "uint" => (0.0, 18_446_744_073_709_551_615.0),
        "int8" => (f64::from(i8::MIN), f64::from(i8::MAX)),
        "int16" => (f64::from(i16::MIN), f64::from(i16::MAX)),
        "int32" => (f64::from(i32::MIN), f64::from(i32::MAX)),
        "int64" | "int" => (-9_223_372_036_854_775_808.0, 9_223_372_036_854_775_807.0),
        "float" | "double" => (f64::MIN, f64::MAX),
        _ => return None,
    })
}

/// The smallest and the largest number, by bounds or by format.
pub(crate) fn bounds(schema: &Value) -> (Option<f64>, Option<f64>) {
    let format = schema.get("format").and_then(Value::as_str).and_then(range);
    let of = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    (of("minimum").or(format.map(|(least, _)| least)), of("maximum").or(format.map(|(_, most)| most)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(properties: Value, required: Value) -> Value {
        json!({ "type": "object", "properties": properties, "required": required })
    }

    #[track_caller]
    fn check(reader: &Value, writer: &Value, pointers: &[&str]) {
        let found: Vec<String> = refusals(reader, writer).into_iter().map(|found| found.pointer).collect();
        assert_eq!(found, pointers, "{reader} reads {writer}");
    }

    #[test]
    fn an_optional_field_is_compatible_in_both_directions_and_a_demanded_one_is_not() {
        let old = object(json!({ "a": { "type": "string" } }), json!(["a"]));
        let optional = object(json!({ "a": { "type": "string" }, "b": { "type": ["integer", "null"] } }), json!(["a"]));
        let demanded = object(json!({ "a": { "type": "string" }, "b": { "type": "integer" } }), json!(["a", "b"]));
        check(&optional, &old, &[]);
        check(&old, &optional, &[]);
        check(&demanded, &old, &["/properties/b"]);
        check(&old, &demanded, &[]);
        check(&old, &object(json!({}), json!([])), &["/properties/a"]);
    }

    #[test]
    fn a_type_that_grows_is_read_by_the_new_and_not_by_the_old() {
        let field = |schema: Value| object(json!({ "a": schema }), json!(["a"]));
        let pairs = [
            (json!({ "type": "integer", "format": "uint64" }), json!({ "type": "integer", "format": "uint32" })),
            (json!({ "type": "number" }), json!({ "type": "integer" })),
            (json!({ "type": ["string", "null"] }), json!({ "type": "string" })),
            (json!({ "enum": ["x", "y"] }), json!({ "enum": ["x"] })),
            (json!({ "oneOf": [{ "const": "x" }, { "const": "y" }] }), json!({ "const": "x" })),
            (json!({ "type": "string" }), json!({ "type": "string", "format": "uuid" })),
            (json!({ "anyOf": [{ "type": "boolean" }, { "type": "null" }] }), json!({ "type": "boolean" })),
            (json!(true), json!({ "type": "string" })),
            (json!({ "type": "integer", "minimum": 0 }), json!({ "type": "integer", "minimum": 1 })),
        ];
        for (wide, narrow) in pairs {
            check(&field(wide.clone()), &field(narrow.clone()), &[]);
            assert!(!refusals(&field(narrow), &field(wide.clone())).is_empty(), "{wide} is wider");
        }
    }

    #[test]
    fn places_inside_are_named_and_references_are_followed() {
        let list = |item: Value| {
            json!({ "type": "object", "properties": { "all": { "type": "array", "items": { "$ref": "#/$defs/Item" } } },
                    "$defs": { "Item": object(json!({ "n": item }), json!(["n"])) } })
        };
        let (text, number) = (list(json!({ "type": "string" })), list(json!({ "type": "integer" })));
        check(&text, &number, &["/properties/all/items/properties/n"]);
        check(&text, &text, &[]);
    }

    #[test]
    fn a_closed_object_refuses_what_it_does_not_know() {
        let closed = json!({ "type": "object", "properties": {}, "additionalProperties": false });
        check(&closed, &object(json!({ "a": { "type": "string" } }), json!([])), &["/properties/a"]);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let pattern = json!({ "type": "string", "pattern": "^a" });
        check(&pattern, &json!({ "type": "string" }), &[""]);
        check(&pattern, &pattern, &[]);
    }
}
