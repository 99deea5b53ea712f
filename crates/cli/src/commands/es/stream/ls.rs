//! `pcs es stream ls`: the heads of streams.

use pcs_domain::Category;
use pcs_store::{StreamFilter, StreamHead, stream_name};
use serde::Serialize;

use crate::commands::es::address::{self, StreamAddress};
use crate::commands::es::console::Console;
use crate::commands::exit::CliError;
use crate::commands::output::Align;

/// `stream ls`.
#[derive(Clone, Debug, clap::Args)]
pub struct Ls {
    /// Only streams of this category
    #[arg(long, value_parser = address::category)]
    category: Option<Category>,
    /// Only streams whose name is like this, with % for any text and _ for any character
    #[arg(long, value_name = "PATTERN")]
    like: Option<String>,
    /// Only streams after this one: the next page
    #[arg(long, value_name = "STREAM", value_parser = address::stream)]
    after: Option<StreamAddress>,
    /// Most streams to list
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

#[derive(Serialize)]
struct Line {
    stream: String,
    version: i64,
    state: String,
    last_position: Option<i64>,
    last_recorded_at: Option<String>,
}

impl Ls {
    pub(super) async fn execute(self, console: &mut Console) -> Result<(), CliError> {
        let store = console.store().await?;
        let after = self.after.map(|stream| stream.stream_id);
        let filter = StreamFilter { category: self.category, like: self.like, after };
        // One more than wanted tells whether there is more.
        let mut heads = store.streams(console.tenant(), &filter, i64::from(self.limit) + 1).await?;
        let wanted = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let more = heads.len() > wanted;
        heads.truncate(wanted);
        let lines: Vec<Line> = heads.iter().map(line).collect();
        let columns = [
            ("stream", Align::Left),
            ("version", Align::Right),
            ("state", Align::Left),
            ("last position", Align::Right),
            ("last recorded", Align::Left),
        ];
        console.list(&lines, &columns, |line| {
            let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
            vec![
                line.stream.clone(),
                line.version.to_string(),
                line.state.clone(),
                or_dash(line.last_position.map(|position| position.to_string())),
                or_dash(line.last_recorded_at.clone()),
            ]
        })?;
        if let (true, Some(last)) = (more, lines.last()) {
            console.output.note(&format!("there are more: --after {}", last.stream));
        }
        Ok(())
    }
}

fn line(head: &StreamHead) -> Line {
    Line {
        stream: stream_name(head.category, head.stream_id),
        version: head.version,
        state: state_name(head.state),
        last_position: head.last_position,
        last_recorded_at: head.last_recorded_at.map(|at| at.to_string()),
    }
}

fn state_name(state: i16) -> String {
    match state {
        0 => "open".to_owned(),
        1 => "deleted".to_owned(),
        2 => "archived".to_owned(),
        3 => "tombstoned".to_owned(),
        other => other.to_string(),
    }
}
