//! Reading an assertion's fields: right type, right range, and nothing that would be ignored.

use pcs_domain::assertion::Assertion;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::borrow::Cow;

use super::AssertionError;
use crate::template::{Template, TemplateError};

/// The assertion that is being compiled.
pub(crate) struct Source<'a> {
    pub(crate) assertion: &'a Assertion,
}

impl Source<'_> {
    pub(crate) fn value(&self) -> Option<&Value> {
        self.assertion.value.as_ref().filter(|value| !value.is_null())
    }

    pub(crate) fn wrong_value(&self, needs: &'static str) -> AssertionError {
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

    pub(crate) fn no_value(&self, instead: &'static str) -> Result<(), AssertionError> {
        self.without("value", self.value().is_some(), instead)
    }

    pub(crate) fn no_threshold(&self) -> Result<(), AssertionError> {
        let instead = "a threshold belongs to the case, or to kinds that have a bound";
        self.without("threshold", self.assertion.threshold.is_some(), instead)
    }

    pub(crate) fn no_tolerance(&self) -> Result<(), AssertionError> {
        self.without("tolerance", self.assertion.tolerance.is_some(), "only numeric has one")
    }

    fn without(&self, field: &'static str, is_there: bool, instead: &'static str) -> Result<(), AssertionError> {
        if is_there {
            Err(AssertionError::Superfluous { kind: self.assertion.kind.clone(), field, instead })
        } else {
            Ok(())
        }
    }

    pub(crate) fn threshold(&self) -> Result<f64, AssertionError> {
        self.not_negative("threshold", self.assertion.threshold.unwrap_or(f64::NAN))
    }

    pub(crate) fn not_negative(&self, field: &'static str, number: f64) -> Result<f64, AssertionError> {
        if number.is_finite() && number >= 0.0 {
            Ok(number)
        } else {
            Err(AssertionError::OutOfRange { kind: self.assertion.kind.clone(), field })
        }
    }

    /// Kinds that ask no model have nothing to say to one.
    pub(crate) fn asks_nobody(&self) -> Result<(), AssertionError> {
        let instead = "it asks no model";
        self.without("provider", self.assertion.provider.is_some(), instead)?;
        self.without("rubric_prompt", self.assertion.rubric_prompt.is_some(), instead)
    }

    pub(crate) fn no_own_words(&self) -> Result<(), AssertionError> {
        self.without("rubric_prompt", self.assertion.rubric_prompt.is_some(), "its judge is asked in fixed words")
    }

    /// The author's words for the judge, parsed.
    pub(crate) fn own_words(&self, parsed: Result<Template, TemplateError>) -> Result<Template, AssertionError> {
        parsed.map_err(|source| AssertionError::Template { kind: self.assertion.kind.clone(), source })
    }

    pub(crate) fn lacks_embedder(&self) -> AssertionError {
        AssertionError::NoEmbedder { kind: self.assertion.kind.clone() }
    }

    pub(crate) fn lacks_sorter(&self) -> AssertionError {
        AssertionError::NoSorter { kind: self.assertion.kind.clone() }
    }

    pub(crate) fn asks_a_server(&self) -> AssertionError {
        let instead = "it asks the server whose URL its value is";
        AssertionError::Superfluous { kind: self.assertion.kind.clone(), field: "provider", instead }
    }

    /// Code, compiled, or what is wrong with it.
    pub(crate) fn code<T>(&self, compiled: Result<T, pcs_scripting::ScriptError>) -> Result<T, AssertionError> {
        compiled.map_err(|source| AssertionError::Code { kind: self.assertion.kind.clone(), source })
    }

    /// A setting of its `config`, read as what it has to be.
    pub(crate) fn setting<T: DeserializeOwned>(&self, name: &'static str) -> Result<Option<T>, AssertionError> {
        let Some(value) = self.assertion.config.as_ref().and_then(|config| config.get(name)) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| AssertionError::Setting {
            kind: self.assertion.kind.clone(),
            name,
            why: error.to_string(),
        })
    }

    pub(crate) fn template(&self, text: &str) -> Result<Template, AssertionError> {
        Template::parse(text).map_err(|source| AssertionError::Template { kind: self.assertion.kind.clone(), source })
    }

    /// A value that is a text or prints as one.
    pub(crate) fn text(&self, value: &Value, needs: &'static str) -> Result<Template, AssertionError> {
        match value {
            Value::String(text) => self.template(text),
            Value::Number(_) | Value::Bool(_) => Ok(Template::printed(value)),
            Value::Null | Value::Array(_) | Value::Object(_) => Err(self.wrong_value(needs)),
        }
    }
}

/// A value's text for these variables.
pub(crate) fn resolved<'a>(template: &'a Template, variables: &'a Map<String, Value>) -> Result<Cow<'a, str>, String> {
    template.text(variables).map_err(|error| format!("its value has no text: {error}"))
}
