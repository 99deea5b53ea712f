//! What the cases of a card have to look like.

use reqwest::Method;
use serde_json::{Value, json};

use super::Schema;
use crate::client::Api;
use crate::commands::exit::CliError;
use crate::commands::output::Output;
use crate::commands::target;

pub(super) async fn schema(api: &Api, args: &Schema, output: &mut Output) -> Result<(), CliError> {
    let wanted = match &args.set {
        Some(path) => {
            let unread = |why: String| {
                let message = format!("{} can't be read: {why}", path.display());
                CliError::usage(message, "write JSON Schemas as {\"input\": {…}, \"expected_output\": {…}}")
            };
            let text = std::fs::read_to_string(path).map_err(|error| unread(error.to_string()))?;
            Some(serde_json::from_str::<Value>(&text).map_err(|error| unread(error.to_string()))?)
        }
        None => args.clear.then(|| json!({})),
    };
    let card = target::card(api, &args.card).await?;
    let path = ["cards", card.id.as_str(), "schema"];
    if let Some(wanted) = wanted {
        api.act(Method::PUT, &path, &wanted).await?;
    }
    output.json(&api.show(&path, &[]).await?)
}
