//! The suite of a command line, of ours or of promptfoo.

use std::path::Path;

use super::RunArgs;
use crate::commands::exit::CliError;
use crate::commands::output::Output;
use crate::promptfoo::{self, Imported, Options};
use crate::suite::Suite;

/// Reads the suite; what is different about one of promptfoo's is told on stderr. Where it says where results go, and the
/// command line does not, they go there.
pub(super) fn load(args: &mut RunArgs) -> Result<Suite, CliError> {
    let options = options(&args.provider_map, args.allow_unsupported)?;
    let Some(imported) = imported(&args.suite, &options)? else {
        return Ok(Suite::load(&args.suite)?);
    };
    let Imported { suite, output: path, report } = imported;
    args.output = args.output.take().or(path);
    let mut output = Output::of_process();
    for item in &report.items {
        output.note(&format!("{}:{}: {}: {}", item.file, item.line, item.item, item.note));
    }
    Ok(suite)
}

/// How a file of promptfoo's is read.
pub(crate) fn options(pairs: &[String], allow_unsupported: bool) -> Result<Options, CliError> {
    let mut options = Options { allow_unsupported, ..Options::default() };
    for pair in pairs {
        let mend = "write FROM=TO, such as --provider-map 'anthropic:*=openai:gpt-4o-mini'";
        options
            .providers
            .add(pair)
            .map_err(|error| CliError::usage(format!("--provider-map {pair:?}: {error}"), mend))?;
    }
    Ok(options)
}

/// A file, or a folder with one, where it is promptfoo's.
pub(crate) fn imported(path: &Path, options: &Options) -> Result<Option<Imported>, CliError> {
    match promptfoo::find(path)? {
        Some(file) => Ok(Some(promptfoo::load(&file, options)?)),
        None => Ok(None),
    }
}
