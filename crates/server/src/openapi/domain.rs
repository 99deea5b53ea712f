//! Schemas of the domain's types: derived there, referred to here, and copied into the document as they are.

use std::borrow::Cow;

use pcs_domain::assertion::{Assertion, Verdict};
use pcs_domain::model::ModelSpec;
use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;
use utoipa::openapi::{ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

/// Declares a stand-in that only refers to the domain's schema of that name.
macro_rules! of_domain {
    ($(#[$meta:meta])* $stand_in:ident for $name:literal) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub(crate) struct $stand_in;

        impl PartialSchema for $stand_in {
            fn schema() -> RefOr<Schema> {
                // Replaced by `define`.
                ObjectBuilder::new().into()
            }
        }

        impl ToSchema for $stand_in {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }
        }
    };
}

of_domain!(
    /// Stands for [`Assertion`].
    AssertionDoc for "Assertion"
);
of_domain!(
    /// Stands for [`Verdict`].
    VerdictDoc for "Verdict"
);
of_domain!(
    /// Stands for [`ModelSpec`].
    ModelSpecDoc for "ModelSpec"
);

/// Puts the domain's schemas, and those that they refer to, into the document.
pub(super) fn define(document: &mut Value) {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    let mut generator = settings.into_generator();
    Assertion::add_to(&mut generator);
    Verdict::add_to(&mut generator);
    ModelSpec::add_to(&mut generator);
    let definitions = generator.take_definitions(true);
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.extend(definitions);
    }
}

trait AddTo: JsonSchema {
    fn add_to(generator: &mut schemars::SchemaGenerator);
}

impl<T: JsonSchema> AddTo for T {
    fn add_to(generator: &mut schemars::SchemaGenerator) {
        // Only its effect is wanted: the definitions that it adds.
        drop(generator.subschema_for::<T>());
    }
}
