//! `recorded:<set>/<model>`: answers from files, found by the case's variables; no network, no key, no chance.

mod set;

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use pcs_domain::execution::{Answer, FailureClass};
use pcs_domain::model::ModelSpec;
use tokio::sync::Mutex;

use self::set::{LoadError, RecordedSet, case_key};
use crate::call::{CallError, ChatRequest, Provider};

/// The file of a set, in the folder of its name.
const ANSWERS_FILE: &str = "answers.jsonl";
/// Most bytes of answers that are kept in memory, over all sets; a worker has 100 MiB for everything.
const KEPT_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Answers what was recorded. Each set is read once, when it is first asked for, and kept.
pub(crate) struct Recorded {
    dir: Option<PathBuf>,
    /// The last used set is the last one.
    kept: Mutex<Vec<(String, Arc<RecordedSet>)>>,
}

impl Recorded {
    pub(crate) fn new(dir: Option<PathBuf>) -> Self {
        Self { dir, kept: Mutex::default() }
    }

    /// The set, from memory or from its file. Whoever asks while it is read waits for that one reading.
    async fn set(&self, name: &str, path: PathBuf) -> Result<Arc<RecordedSet>, CallError> {
        let mut kept = self.kept.lock().await;
        if let Some(index) = kept.iter().position(|(kept_name, _)| kept_name == name) {
            let entry = kept.remove(index);
            let set = Arc::clone(&entry.1);
            kept.push(entry);
            return Ok(set);
        }
        let shown = path.display().to_string();
        let read = tokio::task::spawn_blocking(move || RecordedSet::read(&path, KEPT_BYTES_MAX)).await;
        let set = match read {
            Ok(Ok(set)) => Arc::new(set),
            Ok(Err(error)) => return Err(load_error(name, &shown, &error)),
            Err(_) => return Err(CallError::new(FailureClass::Worker, format!("reading {shown} was broken off"))),
        };
        kept.push((name.to_owned(), Arc::clone(&set)));
        while kept.len() > 1 && kept.iter().map(|(_, set)| set.bytes()).sum::<usize>() > KEPT_BYTES_MAX {
            kept.remove(0);
        }
        Ok(set)
    }

    fn locate<'a>(&self, model: &'a ModelSpec) -> Result<(&'a str, &'a str, PathBuf), CallError> {
        let names = model.model().split_once('/').filter(|(set, name)| is_plain(set) && is_plain(name));
        let Some((set, name)) = names else {
            let message = format!(
                "\"{}\" is not recorded:<set>/<model> with names of letters, digits, dots, dashes and underscores",
                model.id
            );
            return Err(CallError::new(FailureClass::UnknownModel, message));
        };
        let Some(dir) = &self.dir else {
            let message = "there are no recorded answers here: give the workers a recordings folder";
            return Err(CallError::new(FailureClass::UnknownModel, message));
        };
        Ok((set, name, dir.join(set).join(ANSWERS_FILE)))
    }
}

#[async_trait]
impl Provider for Recorded {
    fn check(&self, model: &ModelSpec) -> Result<(), CallError> {
        let (set, _, path) = self.locate(model)?;
        if path.is_file() { Ok(()) } else { Err(no_set(set, &path.display().to_string())) }
    }

    async fn call(&self, request: &ChatRequest<'_>) -> Result<Answer, CallError> {
        let (set_name, name, path) = self.locate(request.model)?;
        let set = self.set(set_name, path).await?;
        let Some(model) = set.model(name) else {
            let message = format!(
                "the recorded set \"{set_name}\" has no model \"{name}\"; it has {}",
                set.model_names().collect::<Vec<_>>().join(", ")
            );
            return Err(CallError::new(FailureClass::UnknownModel, message));
        };
        set.answer(case_key(request.variables), model).ok_or_else(|| {
            let message = format!(
                "the recorded set \"{set_name}\" has no answer of \"{name}\" for these variables: record one, with \
                 \"vars\" equal to the case's input"
            );
            CallError::new(FailureClass::UnknownModel, message)
        })
    }
}

/// A name that can't lead out of its folder: no slash, no colon, and not only dots.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with('.')
}

fn no_set(name: &str, path: &str) -> CallError {
    let message = format!("there is no recorded set \"{name}\": no file {path} at the worker");
    CallError::new(FailureClass::UnknownModel, message)
}

fn load_error(name: &str, path: &str, error: &LoadError) -> CallError {
    let class = match error {
        LoadError::Read(source) if source.kind() == std::io::ErrorKind::NotFound => return no_set(name, path),
        LoadError::Read(_) => FailureClass::Worker,
        LoadError::Line { .. } | LoadError::Twice { .. } | LoadError::TooLarge { .. } => {
            FailureClass::MalformedResponse
        }
    };
    CallError::new(class, format!("the recorded set {path} can't be used: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        for good in ["gsm8k", "6b_finetuning", "gpt-4.1", "A"] {
            assert!(is_plain(good), "{good}");
        }
        for bad in ["", ".", "..", ".hidden", "a/b", "a\\b", "a b", "ä", "a\0", "C:"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
