//! How far a walk over the log is: a bar with an estimate where somebody watches, a line now and then where nobody does.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::commands::output::Output;

const BAR: &str = "{msg} {bar:30} {pos}/{len} ({percent} %) {per_sec}, {eta} left";
/// How often a line is written where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// What is shown while positions go by.
pub struct Progress {
    bar: Option<ProgressBar>,
    doing: String,
    total: u64,
    started: Instant,
    last_line: Instant,
}

impl Progress {
    /// Starts to show: `doing` is a word such as `verifying`, `total` the count of positions to go by.
    #[must_use]
    pub fn new(doing: &str, total: u64, output: &Output) -> Self {
        let bar = output.is_watched().then(|| {
            let bar = ProgressBar::new(total);
            if let Ok(style) = ProgressStyle::with_template(BAR) {
                bar.set_style(style);
            }
            bar.set_message(doing.to_owned());
            bar
        });
        let now = Instant::now();
        Self { bar, doing: doing.to_owned(), total, started: now, last_line: now }
    }

    /// Shows that so many are done.
    pub fn show(&mut self, done: u64, output: &mut Output) {
        if let Some(bar) = &self.bar {
            bar.set_position(done);
            return;
        }
        let now = Instant::now();
        if now.duration_since(self.last_line) >= LINE_EVERY {
            self.last_line = now;
            let seconds = now.duration_since(self.started).as_secs().max(1);
            let per_second = (done / seconds).max(1);
            let left = self.total.saturating_sub(done) / per_second;
            let (doing, total) = (&self.doing, self.total);
            output.note(&format!("{doing}: {done} of {total}, {per_second}/s, about {left} s left"));
        }
    }

    /// Runs something that writes to the terminal without the bar in its way.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
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
