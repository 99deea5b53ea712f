//! `pcs es event grep`: events whose payload matches, shown while the log is being read.

use pcs_store::StoredEvent;
use regex::Regex;
use serde_json::Value;

use crate::commands::es::console::Console;
use crate::commands::es::event_view::{self, EventView};
use crate::commands::es::progress::Progress;
use crate::commands::es::selection::{Filter, Range, Walk};
use crate::commands::exit::{CliError, ExitStatus};

/// `event grep`.
#[derive(Clone, Debug, clap::Args)]
pub struct Grep {
    /// A regular expression that the payload's text matches somewhere
    #[arg(value_parser = Regex::new, required_unless_present = "fields")]
    pattern: Option<Regex>,
    /// A field of the payload and its value, such as model=echo or totals.failed=0; may be given several times
    #[arg(long = "field", value_name = "PATH=VALUE", value_parser = field)]
    fields: Vec<Field>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    #[command(flatten)]
    range: Range,
    #[command(flatten)]
    filter: Filter,
}

/// A demand on a field of the payload.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Field {
    path: Vec<String>,
    value: String,
}

fn field(text: &str) -> Result<Field, String> {
    let (path, value) = text.split_once('=').ok_or("a field is written as path=value")?;
    Ok(Field { path: path.split('.').map(str::to_owned).collect(), value: value.to_owned() })
}

impl Field {
    /// Texts are compared as they are, everything else as JSON; the number of an element is a step of the path.
    fn is_met_by(&self, payload: &Value) -> bool {
        let step = |value: &Value, step: &String| match value {
            Value::Object(fields) => fields.get(step).cloned(),
            Value::Array(items) => step.parse::<usize>().ok().and_then(|place| items.get(place).cloned()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        };
        match self.path.iter().try_fold(payload.clone(), |value, name| step(&value, name)) {
            Some(Value::String(text)) => text == self.value,
            Some(other) => {
                let text = other.to_string();
                text == self.value
            }
            None => false,
        }
    }
}

impl Grep {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store().await?;
        let selection = self.filter.selection(console, &store).await?;
        let mut walk = Walk::over(&store, selection, self.range).await?;
        let mut progress = Progress::new("searching", walk.total(), &console.output);
        let (mut found, limit) = (0, self.limit.unwrap_or(u64::MAX));
        while let Some(events) = walk.next(&store).await? {
            for event in events.iter().filter(|event| self.matches(event)) {
                if found == limit {
                    return Ok(ExitStatus::Success);
                }
                found += 1;
                progress.suspend(|| print(event, console))?;
            }
            progress.show(walk.done(), &mut console.output);
        }
        Ok(if found > 0 { ExitStatus::Success } else { ExitStatus::GateFailed })
    }

    fn matches(&self, event: &StoredEvent) -> bool {
        if self.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(&event.payload)) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        // A payload that is no JSON has no fields.
        serde_json::from_str(&event.payload)
            .is_ok_and(|payload: Value| self.fields.iter().all(|field| field.is_met_by(&payload)))
    }
}

fn print(event: &StoredEvent, console: &mut Console) -> Result<(), CliError> {
    if console.json() {
        return console.output.json_line(&EventView::from(event));
    }
    console.output.line(&event_view::line(event))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_field_is_found_by_its_path_and_compared_by_its_kind() {
        let payload = json!({ "model": "echo", "totals": { "failed": 0 }, "tags": ["a", "b"], "score": null });
        let met = |text: &str| field(text).unwrap().is_met_by(&payload);
        assert!(met("model=echo") && met("totals.failed=0") && met("tags.1=b") && met("score=null"));
        assert!(!met("model=\"echo\"") && !met("totals.passed=0") && !met("tags.2=b") && !met("model.x=1"));
        assert_eq!(field("a=b=c").unwrap().value, "b=c");
        assert!(field("model").is_err());
    }
}
