//! One spelling for equal JSON: keys sorted, no white space, so that hashes of content are stable.

use serde_json::Value;

/// The canonical text of a JSON value: object keys in byte order, numbers and strings as `serde_json` writes them.
#[must_use]
pub fn canonical_json(value: &Value) -> String {
    let mut out = String::new();
    write(value, &mut out);
    out
}

fn write(value: &Value, out: &mut String) {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            // Sorted here and not trusted to the map: a dependency may switch serde_json to insertion order.
            let mut members: Vec<(&String, &Value)> = map.iter().collect();
            if !members.is_sorted_by_key(|(key, _)| *key) {
                members.sort_by_key(|(key, _)| *key);
            }
            out.push('{');
            for (index, (key, member)) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                string(key, out);
                out.push(':');
                write(member, out);
            }
            out.push('}');
        }
    }
}

/// A string with nothing to escape, as nearly all keys and most short texts, is copied.
fn string(text: &str, out: &mut String) {
    if text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\') {
        out.push('"');
        out.push_str(text);
        out.push('"');
    } else {
        out.push_str(&Value::from(text).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_order_of_keys_does_not_matter() {
        let one: Value = serde_json::from_str(r#"{"b": [1, {"y": 2, "x": null}], "a": "é\n"}"#).unwrap();
        let two = json!({ "a": "é\n", "b": [1, { "x": null, "y": 2 }] });
        assert_eq!(canonical_json(&one), canonical_json(&two));
        assert_eq!(canonical_json(&one), "{\"a\":\"é\\n\",\"b\":[1,{\"x\":null,\"y\":2}]}");
    }

    #[test]
    fn strings_are_escaped_as_serde_json_does() {
        for text in ["", "é", "a\"b", "a\\b", "tab\t", "\u{1}", "\u{7f}", "\u{2028}", "/"] {
            assert_eq!(canonical_json(&json!({ text: text })), json!({ text: text }).to_string(), "{text:?}");
        }
    }
}
