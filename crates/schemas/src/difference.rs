//! What differs between two versions of a payload, field by field, and who can still read whom.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::compatibility::refusals;
use crate::field::{Field, fields};

/// A field that differs: new without a `before`, gone without an `after`, else of another type or presence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Change {
    /// As it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<Field>,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<Field>,
}

/// Two versions side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Difference {
    /// The fields that differ.
    pub changes: Vec<Change>,
    /// Why readers of the second version can't read payloads of the first; empty where they can.
    pub backward: Vec<String>,
    /// Why readers of the first version can't read payloads of the second; empty where they can.
    pub forward: Vec<String>,
}

/// Compares two schemas.
#[must_use]
pub fn diff(before: &Value, after: &Value) -> Difference {
    let (old, new) = (fields(before), fields(after));
    let by_path = |fields: &[Field]| -> BTreeMap<String, Field> {
        fields.iter().map(|field| (field.path.clone(), field.clone())).collect()
    };
    let (old_by_path, new_by_path) = (by_path(&old), by_path(&new));
    let removed = old.iter().filter(|field| !new_by_path.contains_key(&field.path));
    let mut changes: Vec<Change> = removed.map(|field| Change { before: Some(field.clone()), after: None }).collect();
    for after in &new {
        let before = old_by_path.get(&after.path);
        if before.is_none_or(|before| differ(before, after)) {
            changes.push(Change { before: before.cloned(), after: Some(after.clone()) });
        }
    }
    let reasons = |reader: &Value, writer: &Value| {
        refusals(reader, writer).into_iter().map(|found| format!("{}: {}", found.pointer, found.message)).collect()
    };
    Difference { changes, backward: reasons(after, before), forward: reasons(before, after) }
}

fn differ(before: &Field, after: &Field) -> bool {
    (&before.kind, before.required, &before.default) != (&after.kind, after.required, &after.default)
}

/// JSON pointers of the places where two documents differ, at most `limit`.
pub(crate) fn places(one: &Value, other: &Value, limit: usize) -> Vec<String> {
    let mut found = Vec::new();
    collect(one, other, String::new(), limit, &mut found);
    found
}

fn collect(one: &Value, other: &Value, pointer: String, limit: usize, found: &mut Vec<String>) {
    if one == other || found.len() >= limit {
        return;
    }
    let (Some(left), Some(right)) = (one.as_object(), other.as_object()) else {
        found.push(pointer);
        return;
    };
    for (key, value) in left {
        let place = format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"));
        match right.get(key) {
            Some(same) => collect(value, same, place, limit, found),
            None => found.push(place),
        }
    }
    let new = right.keys().filter(|key| !left.contains_key(*key));
    found.extend(new.map(|key| format!("{pointer}/{}", key.replace('~', "~0").replace('/', "~1"))));
    found.truncate(limit);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn added_removed_and_changed_fields_are_told_apart() {
        let before = json!({ "type": "object", "required": ["a", "b"],
            "properties": { "a": { "type": "string" }, "b": { "type": "integer" }, "same": { "type": "string" } } });
        let after = json!({ "type": "object", "required": ["b", "c"],
            "properties": { "b": { "type": "string" }, "same": { "type": "string" }, "c": { "type": "boolean" } } });
        let difference = diff(&before, &after);
        let told: Vec<String> = difference
            .changes
            .iter()
            .map(|change| match (&change.before, &change.after) {
                (Some(before), Some(after)) => format!("{}: {} to {}", after.path, before.kind, after.kind),
                (Some(gone), None) => format!("-{}", gone.path),
                (None, added) => format!("+{}", added.as_ref().unwrap().path),
            })
            .collect();
        assert_eq!(told, ["-a", "b: integer to string", "+c"]);
        assert!(difference.backward.iter().any(|reason| reason.starts_with("/properties/c:")), "{difference:?}");
        assert!(difference.forward.iter().any(|reason| reason.starts_with("/properties/a:")), "{difference:?}");
        assert_eq!(diff(&before, &before), Difference { changes: vec![], backward: vec![], forward: vec![] });
    }

    #[test]
    fn places_are_pointers() {
        let (one, other) = (json!({ "a": { "b": 1, "c/d": 2 } }), json!({ "a": { "b": 3 }, "e": 4 }));
        assert_eq!(places(&one, &other, 9), ["/a/b", "/a/c~1d", "/e"]);
        assert_eq!(places(&one, &other, 1), ["/a/b"]);
    }
}
