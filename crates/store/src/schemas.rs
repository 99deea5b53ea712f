//! Checks payloads against their JSON Schemas before they are stored.

use std::collections::HashMap;

use jsonschema::Validator;
use pcs_domain::{DomainEvent, EventType};

use crate::error::StoreError;

/// One compiled validator per event type that this build writes.
pub(crate) struct Schemas {
    validators: HashMap<EventType, Validator>,
}

impl Schemas {
    /// Compiles the schemas of the domain; `event-schemas/` holds the same ones, frozen, and a test compares them.
    pub(crate) fn compile() -> Result<Self, StoreError> {
        let mut validators = HashMap::new();
        for (event_type, schema) in DomainEvent::schemas() {
            let validator = jsonschema::validator_for(schema.as_value()).map_err(|error| StoreError::Schema {
                event_type: event_type.to_string(),
                path: error.instance_path().to_string(),
                message: format!("the schema itself is wrong: {error}"),
            })?;
            validators.insert(event_type, validator);
        }
        Ok(Self { validators })
    }

    /// The type with this name and version, where this build writes it.
    pub(crate) fn written(&self, name: &str, version: i16) -> Option<EventType> {
        self.validators.keys().find(|known| known.name == name && known.version == version).copied()
    }

    /// Refuses a payload that is not of its type's schema.
    pub(crate) fn check(&self, event_type: EventType, payload: &serde_json::Value) -> Result<(), StoreError> {
        let fault =
            |path: String, message: String| StoreError::Schema { event_type: event_type.to_string(), path, message };
        let validator = self
            .validators
            .get(&event_type)
            .ok_or_else(|| fault(String::new(), "the type has no schema".to_owned()))?;
        validator.validate(payload).map_err(|error| {
            // Without the value, which may be a person's.
            fault(error.instance_path().to_string(), error.masked().to_string())
        })
    }
}
