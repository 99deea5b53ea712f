//! Waits for the end of a run by asking the server, often at first and less often later.

use std::time::{Duration, Instant};

use super::interrupt::Interrupts;
use super::progress::Progress;
use crate::client::Api;
use crate::client::error::ApiError;
use crate::client::run_wire::{ExecutionResult, Run};
use crate::client::runs::ResultFilter;
use crate::commands::exit::CliError;
use crate::commands::output::Output;
use crate::commands::page::{RESULTS_PAGE_LEN_MAX, collect};

const POLL_FIRST: Duration = Duration::from_millis(50);
const POLL_LAST: Duration = Duration::from_secs(1);
/// How long a server may be away, as for a restart, before its run is given up.
const OUTAGE_MAX: Duration = Duration::from_secs(60);
/// How often results are read again while they are fewer than the run has counted.
const RESULTS_TRIES_MAX: u32 = 20;
const RESULTS_WAIT: Duration = Duration::from_millis(250);

/// A run that is waited for.
pub(super) struct Following<'a> {
    pub(super) api: &'a Api,
    pub(super) run_id: &'a str,
    pub(super) planned: u64,
    pub(super) started: Instant,
    pub(super) deadline: Option<Instant>,
}

/// How the waiting ended.
pub(super) enum Ended {
    /// With the run.
    Run(Box<Run>),
    /// With Ctrl-C.
    Interrupted,
    /// With `--timeout`.
    TimedOut,
}

impl Following<'_> {
    pub(super) async fn to_the_end(&self, output: &mut Output, interrupts: &mut Interrupts) -> Result<Ended, CliError> {
        let mut progress = Progress::new(self.planned, self.started, output);
        let mut last_answer = Instant::now();
        let mut is_away = false;
        loop {
            let polled = tokio::select! {
                biased;
                () = interrupts.next() => return Ok(Ended::Interrupted),
                () = until(self.deadline) => return Ok(Ended::TimedOut),
                polled = self.poll() => polled,
            };
            match polled {
                Ok(run) if run.status != "running" => return Ok(Ended::Run(Box::new(run))),
                Ok(run) => {
                    last_answer = Instant::now();
                    is_away = false;
                    progress.show(&run.totals, last_answer, output);
                }
                Err(error) if error.may_pass() && last_answer.elapsed() < OUTAGE_MAX => {
                    if !is_away {
                        progress.tell("the server does not answer; the run is safe there, trying again", output);
                    }
                    is_away = true;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn poll(&self) -> Result<Run, ApiError> {
        tokio::time::sleep(poll_wait(self.started.elapsed())).await;
        self.api.run(self.run_id).await
    }
}

/// A tenth of the time that the run has taken: what is added to it by waiting stays small.
fn poll_wait(elapsed: Duration) -> Duration {
    (elapsed / 10).clamp(POLL_FIRST, POLL_LAST)
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

/// Every result of a run that has ended.
///
/// The run's counts and its results are two read models: the second may be a moment behind the first.
pub(super) async fn results(api: &Api, run: &Run) -> Result<Vec<ExecutionResult>, CliError> {
    let filter = ResultFilter::default();
    let expected = run.totals.executions;
    let mut found = 0;
    for _ in 0..RESULTS_TRIES_MAX {
        let page = collect(usize::MAX, RESULTS_PAGE_LEN_MAX, async |limit, cursor| {
            api.results(&run.id, &filter, limit, cursor).await
        });
        let results = page.await?.items;
        found = u64::try_from(results.len()).unwrap_or(u64::MAX);
        if found >= expected {
            return Ok(results);
        }
        tokio::time::sleep(RESULTS_WAIT).await;
    }
    Err(CliError::System(format!("the server has {found} results of the run {}, and counts {expected}", run.id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polls_get_rarer_with_the_time_that_a_run_takes() {
        let waits = [0, 400, 2_000, 9_000, 600_000].map(|ms| poll_wait(Duration::from_millis(ms)).as_millis());
        assert_eq!(waits, [50, 50, 200, 900, 1_000]);
    }
}
