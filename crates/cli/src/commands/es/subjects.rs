//! `pcs es subjects`, `pcs es shred` and `pcs es keys`: data subjects, and the keys that make their data readable.

use std::path::PathBuf;

use pcs_domain::data_subject::SubjectName;
use pcs_store::{PrivacyError, StoreError, SubjectEntry};
use serde::Serialize;

use crate::commands::es::console::Console;
use crate::commands::exit::{CliError, ExitStatus};
use crate::commands::output::Align;
use crate::local;
use crate::roles::KeyArgs;

/// Subjects that are read at once.
const PAGE_LEN: i64 = 1_000;
/// What a fresh master key is called, before its random part.
const KEY_PREFIX: &str = "master";

/// List the data subjects of whom something is or was kept.
#[derive(Clone, Debug, clap::Args)]
pub struct Subjects {
    #[command(flatten)]
    keys: KeyArgs,
}

/// Destroy a data subject's key: what is kept of them can't be read any more, in no copy of it.
#[derive(Clone, Debug, clap::Args)]
pub struct Shred {
    /// The subject, as the cases name them
    subject: String,
    /// Does not ask: this can't be undone
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    keys: KeyArgs,
}

/// The master keys, which wrap the keys of data subjects.
#[derive(Clone, Debug, clap::Subcommand)]
pub enum KeysCommand {
    /// List the master keys that wrap something; others may be destroyed
    Ls(KeysLs),
    /// Put a fresh master key in front of those of the key file: it wraps what is new
    Add(KeysAdd),
    /// Wrap all keys anew with the first master key
    Rotate(KeysRotate),
}

/// Arguments of `pcs es keys ls`.
#[derive(Clone, Debug, clap::Args)]
pub struct KeysLs {
    #[command(flatten)]
    keys: KeyArgs,
}

/// Arguments of `pcs es keys add`.
#[derive(Clone, Debug, clap::Args)]
pub struct KeysAdd {
    #[command(flatten)]
    keys: KeyArgs,
}

/// Arguments of `pcs es keys rotate`.
#[derive(Clone, Debug, clap::Args)]
pub struct KeysRotate {
    #[command(flatten)]
    keys: KeyArgs,
}

#[derive(Serialize)]
struct SubjectLine {
    id: String,
    subject: Option<String>,
    master_key: Option<String>,
    created_at: String,
    shredded_at: Option<String>,
}

impl From<SubjectEntry> for SubjectLine {
    fn from(entry: SubjectEntry) -> Self {
        Self {
            id: entry.id.to_string(),
            subject: entry.name,
            master_key: entry.master_key,
            created_at: entry.created_at.to_string(),
            shredded_at: entry.shredded_at.map(|at| at.to_string()),
        }
    }
}

#[derive(Serialize)]
struct ShredDone {
    id: String,
    already: bool,
}

#[derive(Serialize)]
struct KeyLine {
    master_key: String,
    wraps: i64,
}

#[derive(Serialize)]
struct Rotated {
    rotated: u64,
}

#[derive(Serialize)]
struct Added {
    master_key: String,
    file: PathBuf,
}

impl Subjects {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let store = console.store_with(self.keys.source()).await?;
        let mut lines: Vec<SubjectLine> = Vec::new();
        let mut after = None;
        loop {
            let page = store.subjects(console.tenant(), after, PAGE_LEN).await?;
            let Some(last) = page.last() else { break };
            after = Some(last.id);
            lines.extend(page.into_iter().map(SubjectLine::from));
        }
        let columns =
            [("id", Align::Left), ("subject", Align::Left), ("created", Align::Left), ("shredded", Align::Left)];
        console.list(&lines, &columns, |line| {
            let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            vec![line.id.clone(), shown(&line.subject), line.created_at.clone(), shown(&line.shredded_at)]
        })?;
        Ok(ExitStatus::Success)
    }
}

impl Shred {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        let name = SubjectName::parse(&self.subject)
            .map_err(|error| CliError::usage(error.to_string(), "name the subject as the cases do"))?;
        if !self.yes {
            let message = "what is kept of the subject would be unreadable for ever, in every copy of it";
            return Err(CliError::usage(message, "add --yes to do it"));
        }
        let store = console.store_with(self.keys.source()).await?;
        let shredded = store.shred(console.tenant(), &name, None).await.map_err(|error| match error {
            StoreError::Privacy(PrivacyError::UnknownSubject) => {
                CliError::usage("nothing was ever kept of this data subject", "`pcs es subjects` lists all of them")
            }
            error => error.into(),
        })?;
        let done = ShredDone { id: shredded.id.to_string(), already: shredded.already };
        let said = if done.already { "had been shredded before" } else { "shredded" };
        console.thing(&done, vec![("subject", done.id.clone()), ("done", said.to_owned())])?;
        Ok(ExitStatus::Success)
    }
}

impl KeysCommand {
    pub(super) async fn execute(self, console: &mut Console) -> Result<ExitStatus, CliError> {
        match self {
            Self::Ls(KeysLs { keys }) => {
                let used = console.store_with(keys.source()).await?.keys_in_use().await?;
                let lines: Vec<KeyLine> =
                    used.into_iter().map(|key| KeyLine { master_key: key.name, wraps: key.keys }).collect();
                let columns = [("master key", Align::Left), ("wraps", Align::Right)];
                console.list(&lines, &columns, |line| vec![line.master_key.clone(), line.wraps.to_string()])?;
            }
            Self::Add(KeysAdd { keys }) => {
                let none =
                    || CliError::usage("no key file is known", "give --key-file; it is made where it is not there");
                let file = keys.file().ok_or_else(none)?;
                let name = local::add_key(&file, KEY_PREFIX).map_err(|error| CliError::System(format!("{error:#}")))?;
                let added = Added { master_key: name, file };
                let fields = vec![("master key", added.master_key.clone()), ("file", added.file.display().to_string())];
                console.thing(&added, fields)?;
            }
            Self::Rotate(KeysRotate { keys }) => {
                let rotated = Rotated { rotated: console.store_with(keys.source()).await?.rotate_keys().await? };
                console.thing(&rotated, vec![("rotated", rotated.rotated.to_string())])?;
            }
        }
        Ok(ExitStatus::Success)
    }
}
