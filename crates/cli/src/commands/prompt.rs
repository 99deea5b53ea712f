//! `pcs prompt`: the text of a prompt, as applications fetch it.

use super::exit::{CliError, ExitStatus};
use super::output::Output;
use crate::client::Api;
use crate::client::connection::Connection;

/// Print the prompt that a label means, as applications fetch it
#[derive(Clone, Debug, clap::Args)]
pub struct PromptArgs {
    /// The title of its card, alone or with @LABEL or @vVERSION behind it; alone, it is the one labelled production
    #[arg(value_name = "NAME[@LABEL|@vN]")]
    pub name: String,
    /// The label; the name is then the title as it stands, whatever is in it
    #[arg(long, conflicts_with = "version")]
    pub label: Option<String>,
    /// The version; the name is then the title as it stands, whatever is in it
    #[arg(long, value_name = "N")]
    pub version: Option<u32>,
    /// Print JSON, with its version, labels and message
    #[arg(long)]
    pub json: bool,
}

/// Which prompt is asked for.
#[derive(Debug, Eq, PartialEq)]
struct Asked<'a> {
    title: &'a str,
    label: Option<&'a str>,
    version: Option<u32>,
}

impl PromptArgs {
    /// Does it against the server that the environment names.
    pub async fn execute(self) -> Result<ExitStatus, CliError> {
        let api = Api::new(&Connection::discover()?)?;
        self.against(&api, &mut Output::of_process()).await
    }

    async fn against(self, api: &Api, output: &mut Output) -> Result<ExitStatus, CliError> {
        let Asked { title, label, version } = self.asked();
        let prompt = api.prompt(title, label, version).await?;
        if self.json {
            output.json(&prompt)?;
        } else {
            // As it is: it goes into files and other programs.
            output.text(&prompt.prompt)?;
        }
        Ok(ExitStatus::Success)
    }

    fn asked(&self) -> Asked<'_> {
        let whole = Asked { title: &self.name, label: self.label.as_deref(), version: self.version };
        if whole.label.is_some() || whole.version.is_some() {
            return whole;
        }
        let Some((title, suffix)) = self.name.rsplit_once('@').filter(|(title, _)| !title.is_empty()) else {
            return whole;
        };
        if let Some(version) = suffix.strip_prefix('v').and_then(|number| number.parse().ok()) {
            return Asked { title, label: None, version: Some(version) };
        }
        // What can't be a label belongs to the title, such as in "mail to me@Example Ltd".
        let is_label = suffix.starts_with(|c: char| c.is_ascii_lowercase())
            && suffix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.'));
        if is_label { Asked { title, label: Some(suffix), version: None } } else { whole }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;
    use crate::client::fake_server::{FakeServer, Reply};
    use crate::commands::output::tests::captured;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        prompt: PromptArgs,
    }

    fn parsed(line: &[&str]) -> PromptArgs {
        Line::try_parse_from(["prompt"].iter().chain(line)).unwrap_or_else(|error| panic!("{error}")).prompt
    }

    #[test]
    fn a_name_may_end_in_a_label_or_a_version() {
        for (name, title, label, version) in [
            ("Greeter", "Greeter", None, None),
            ("Greeter@staging", "Greeter", Some("staging"), None),
            ("Greeter@latest", "Greeter", Some("latest"), None),
            ("team/Greeter@v12", "team/Greeter", None, Some(12)),
            ("a@b@v1.2-rc", "a@b", Some("v1.2-rc"), None),
            ("mail to me@Example Ltd", "mail to me@Example Ltd", None, None),
            ("@staging", "@staging", None, None),
            ("Greeter@", "Greeter@", None, None),
        ] {
            assert_eq!(parsed(&[name]).asked(), Asked { title, label, version }, "{name}");
        }
        let asked = parsed(&["me@home", "--label", "v2"]);
        assert_eq!(asked.asked(), Asked { title: "me@home", label: Some("v2"), version: None });
        let asked = parsed(&["me@home", "--version", "3"]);
        assert_eq!(asked.asked(), Asked { title: "me@home", label: None, version: Some(3) });
    }

    #[tokio::test]
    async fn the_text_is_printed_as_it_is() {
        let prompt =
            json!({ "name": "a/b", "version": 2, "prompt": "Say\t{{x}}\n", "labels": ["staging"], "card_id": "c" });
        let server = FakeServer::in_order(vec![Reply::json(200, prompt.clone())]);
        let (mut output, out, _) = captured();
        parsed(&["a/b@staging"]).against(&server.api(), &mut output).await.unwrap();
        assert_eq!(out.text(), "Say\t{{x}}\n");
        let (mut output, out, _) = captured();
        parsed(&["a/b@v2", "--json"]).against(&server.api(), &mut output).await.unwrap();
        let printed: serde_json::Value = serde_json::from_str(&out.text()).unwrap();
        assert_eq!((&printed["version"], &printed["card_id"]), (&json!(2), &json!("c")));
        let expected = ["GET /api/v1/prompts/a%2Fb?label=staging", "GET /api/v1/prompts/a%2Fb?version=2"];
        assert_eq!(server.lines(), expected);
    }
}
