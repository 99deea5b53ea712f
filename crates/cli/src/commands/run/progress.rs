//! How far a run is: a bar where somebody watches, a line now and then where nobody does.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::client::run_wire::Totals;
use crate::commands::output::Output;

const BAR: &str = "{bar:30} {pos}/{len} ({percent} %) {per_sec}, {eta} left{msg}";
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is shown while a run goes on.
pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    planned: u64,
    last_line: Instant,
}

impl Progress {
    pub(crate) fn new(planned: u64, now: Instant, output: &Output) -> Self {
        let bar = output.is_watched().then(|| {
            let bar = ProgressBar::new(planned);
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, planned, last_line: now }
    }

    pub(crate) fn show(&mut self, totals: &Totals, now: Instant, output: &mut Output) {
        if let Some(bar) = &self.bar {
            bar.set_position(totals.executions);
            bar.set_message(if totals.errors > 0 { format!(", {} errors", totals.errors) } else { String::new() });
            return;
        }
        if now.duration_since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            let share = 100 * totals.executions / self.planned.max(1);
            let (done, planned, errors) = (totals.executions, self.planned, totals.errors);
            output.note(&format!("{done} of {planned} executions ({share} %), {errors} errors"));
        }
    }

    /// Says something beside the bar.
    pub(crate) fn tell(&self, text: &str, output: &mut Output) {
        match &self.bar {
            Some(bar) => bar.println(text),
            None => output.note(text),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
