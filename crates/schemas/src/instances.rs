//! Payloads that a schema allows, made up by chance that is the same at each run.

use serde_json::{Map, Number, Value, json};

use crate::compatibility::{alternatives, bounds, constants, kinds, resolve};

/// Deepest nesting; below it, optional fields are left out and lists are empty.
const DEPTH_MAX: usize = 12;
/// Most items of a list and characters of a text; enough for none, one and several.
const LEN_MAX: u64 = 4;
/// What texts are made of: plain, quoted, combined, beyond 16 bits, and what templates and paths use.
const CHARACTERS: [&str; 12] = ["a", "Z", "0", " ", "\"", "\\", "\n", "é", "漢", "🦀", "{{x}}", "/"];
/// Integers that floats hold exactly; larger ones are not needed to find a wrong step.
const INTEGER_MAX: f64 = 9_007_199_254_740_991.0;

/// An endless row of payloads of one schema.
pub struct Instances<'a> {
    schema: &'a Value,
    state: u64,
}

impl<'a> Instances<'a> {
    /// Begins a row; the same seed gives the same row.
    #[must_use]
    pub fn of(schema: &'a Value, seed: u64) -> Self {
        Self { schema, state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// A number from 0 up to, not including, `bound`: xorshift64*.
    fn below(&mut self, bound: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % bound.max(1)
    }

    fn pick<'v, T>(&mut self, from: &'v [T]) -> Option<&'v T> {
        let index = self.below(from.len() as u64);
        from.get(usize::try_from(index).unwrap_or(0))
    }

    fn value(&mut self, schema: &Value, depth: usize) -> Value {
        let schema = resolve(self.schema, schema);
        if let Some(values) = constants(schema) {
            return self.pick(&values).map_or(Value::Null, |value| (*value).clone());
        }
        if let Some(branches) = alternatives(schema) {
            let branch = self.pick(branches).cloned().unwrap_or(Value::Null);
            return self.value(&branch, depth + 1);
        }
        let kinds: Vec<&str> = kinds(schema).map_or_else(|| vec!["string", "integer", "null"], Vec::from_iter);
        match self.pick(&kinds).copied() {
            Some("object") => self.object(schema, depth),
            Some("array") => self.array(schema, depth),
            Some("string") => self.string(schema),
            Some("integer") => self.integer(schema),
            Some("number") => self.number(schema),
            Some("boolean") => Value::Bool(self.below(2) == 1),
            _ => Value::Null,
        }
    }

    fn object(&mut self, schema: &Value, depth: usize) -> Value {
        let required: Vec<&str> =
            schema.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let mut object = Map::new();
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let optional = !required.contains(&name.as_str());
            if optional && (depth > DEPTH_MAX || self.below(2) == 0) {
                continue;
            }
            object.insert(name.clone(), self.value(field, depth + 1));
        }
        if let Some(others) = schema.get("additionalProperties").filter(|others| **others != Value::Bool(false)) {
            for _ in 0..self.below(LEN_MAX) {
                let name = self.text();
                let value = self.value(others, depth + 1);
                object.entry(name).or_insert(value);
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &Value, depth: usize) -> Value {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let len = if depth > DEPTH_MAX { least } else { least + self.below(LEN_MAX) };
        let anything = Value::Bool(true);
        let items = schema.get("items").unwrap_or(&anything);
        (0..len).map(|_| self.value(items, depth + 1)).collect()
    }

    fn text(&mut self) -> String {
        (0..self.below(LEN_MAX)).filter_map(|_| self.pick(&CHARACTERS).copied()).collect()
    }

    fn string(&mut self, schema: &Value) -> Value {
        match schema.get("format").and_then(Value::as_str) {
            Some("uuid") => {
                let mut group = |len: usize| -> String {
                    (0..len).filter_map(|_| char::from_digit(u32::try_from(self.below(16)).unwrap_or(0), 16)).collect()
                };
                // Sometimes the nil id: where there is a special one, it is this.
                let id = [group(8), group(4), group(4), group(4), group(12)].join("-");
                if self.below(8) == 0 { json!("00000000-0000-0000-0000-000000000000") } else { json!(id) }
            }
            Some("date-time") => {
                let (day, hour, milli) = (1 + self.below(28), self.below(24), self.below(1_000));
                json!(format!("2026-02-{day:02}T{hour:02}:00:00.{milli:03}Z"))
            }
            _ => json!(self.text()),
        }
    }

    fn integer(&mut self, schema: &Value) -> Value {
        let (least, most) = self.range(schema);
        match self.below(4) {
            0 => whole(least.ceil()),
            1 => whole(most.floor()),
            _ => whole((least.ceil() + f64::from(u16::try_from(self.below(1_000)).unwrap_or(0))).min(most.floor())),
        }
    }

    fn number(&mut self, schema: &Value) -> Value {
        let (least, most) = self.range(schema);
        let step = f64::from(u16::try_from(self.below(1_000)).unwrap_or(0)) / 1_000.0;
        let around = if least > 0.0 || most < 1.0 { least } else { 0.0 };
        Number::from_f64((around + step).clamp(least, most)).map_or(Value::Null, Value::Number)
    }

    fn range(&self, schema: &Value) -> (f64, f64) {
        let (least, most) = bounds(schema);
        (least.unwrap_or(-INTEGER_MAX).max(-INTEGER_MAX), most.unwrap_or(INTEGER_MAX).min(INTEGER_MAX))
    }
}

impl Iterator for Instances<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        Some(self.value(self.schema, 0))
    }
}

/// A whole number as JSON writes it, without a point.
fn whole(number: f64) -> Value {
    serde_json::from_str(&format!("{number:.0}")).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Build, Released};

    #[test]
    fn they_are_of_their_schema() {
        let released = Released::compiled_in().unwrap();
        for (name, _) in released.schemas() {
            let schema = released.schema(&name.name, name.version).unwrap();
            let validator = jsonschema::validator_for(&schema).unwrap();
            for (nth, instance) in Instances::of(&schema, 3).take(100).enumerate() {
                let fault = validator.validate(&instance).err().map(|error| error.to_string());
                assert_eq!(fault, None, "{name} {nth}: {instance}");
            }
        }
    }

    #[test]
    fn they_differ_and_the_same_seed_gives_the_same() {
        let schema = &Build::current().events[0].schema;
        let of = |seed| Instances::of(schema, seed).take(50).collect::<Vec<_>>();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
        let mut different = of(1);
        different.dedup();
        assert!(different.len() > 40);
    }

    #[test]
    fn whole_numbers_have_no_point() {
        assert_eq!(whole(9_007_199_254_740_991.0).to_string(), "9007199254740991");
        assert_eq!(whole(-3.0).to_string(), "-3");
    }
}
