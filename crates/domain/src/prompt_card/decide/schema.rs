//! Rules about what cases have to look like; whether a schema is one, and which cases fit, is found before the command.

use super::{Decision, Event, changed};
use crate::prompt_card::{Card, CaseSchema, SchemaChanged, details};

pub(super) fn schema_changed(card: &Card, schema: CaseSchema) -> Decision {
    for part in [&schema.input, &schema.expected_output].into_iter().flatten() {
        details::json_object("schema", part)?;
    }
    Ok(changed(schema != card.schema, Event::SchemaChanged(SchemaChanged { schema })))
}
