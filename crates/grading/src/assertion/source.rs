//! Reading an assertion's fields: right type, right range, and nothing that would be ignored.

use pcs_domain::assertion::Assertion;
use serde_json::{Map, Value};
use std::borrow::Cow;

use super::AssertionError;
use crate::template::Template;

/// The assertion that is being compiled.
pub(super) struct Source<'a> {
    pub(super) assertion: &'a Assertion,
}

impl Source<'_> {
    pub(super) fn value(&self) -> Option<&Value> {
        self.assertion.value.as_ref().filter(|value| !value.is_null())
    }

    pub(super) fn wrong_value(&self, needs: &'static str) -> AssertionError {
        let given = match self.value() {
            None => "none",
            Some(Value::Null | Value::Bool(_)) => "true or false",
            Some(Value::Number(_)) => "a number",
            Some(Value::String(text)) if text.is_empty() => "an empty text",
            Some(Value::String(_)) => "a text",
            Some(Value::Array(items)) if items.is_empty() => "an empty list",
            Some(Value::Array(_)) => "a list",
            Some(Value::Object(_)) => "an object",
        };
        AssertionError::WrongValue { kind: self.assertion.kind.clone(), needs, given: given.to_owned() }
    }

    pub(super) fn no_value(&self, instead: &'static str) -> Result<(), AssertionError> {
        self.without("value", self.value().is_some(), instead)
    }

    pub(super) fn no_threshold(&self) -> Result<(), AssertionError> {
        let instead = "a threshold belongs to the case, or to kinds that have a bound";
        self.without("threshold", self.assertion.threshold.is_some(), instead)
    }

    pub(super) fn no_tolerance(&self) -> Result<(), AssertionError> {
        self.without("tolerance", self.assertion.tolerance.is_some(), "only numeric has one")
    }

    fn without(&self, field: &'static str, is_there: bool, instead: &'static str) -> Result<(), AssertionError> {
        if is_there {
            Err(AssertionError::Superfluous { kind: self.assertion.kind.clone(), field, instead })
        } else {
            Ok(())
        }
    }

    pub(super) fn threshold(&self) -> Result<f64, AssertionError> {
        self.not_negative("threshold", self.assertion.threshold.unwrap_or(f64::NAN))
    }

    pub(super) fn not_negative(&self, field: &'static str, number: f64) -> Result<f64, AssertionError> {
        if number.is_finite() && number >= 0.0 {
            Ok(number)
        } else {
            Err(AssertionError::OutOfRange { kind: self.assertion.kind.clone(), field })
        }
    }

    pub(super) fn template(&self, text: &str) -> Result<Template, AssertionError> {
        Template::parse(text).map_err(|source| AssertionError::Template { kind: self.assertion.kind.clone(), source })
    }

    /// A value that is a text or prints as one.
    pub(super) fn text(&self, value: &Value, needs: &'static str) -> Result<Template, AssertionError> {
        match value {
            Value::String(text) => self.template(text),
            Value::Number(_) | Value::Bool(_) => Ok(Template::printed(value)),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(self.wrong_value(needs)),
        }
    }
}

/// A value's text for these variables.
pub(super) fn resolved<'a>(template: &'a Template, variables: &'a Map<String, Value>) -> Result<Cow<'a, str>, String> {
    template.text(variables).map_err(|error| format!("its value has no text: {error}"))
}
