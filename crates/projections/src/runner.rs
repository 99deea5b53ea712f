//! Keeps a projection up with the log: page after page, and a short wait where there is nothing new.

use std::sync::Arc;
use std::time::Duration;

use pcs_store::{Filter, Follower, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::advance;
use crate::{Projection, ProjectionError};

/// How a projection is kept up.
#[derive(Clone, Copy, Debug)]
pub struct RunnerConfig {
    /// Most events of one page, and so of one transaction.
    pub batch_len_max: i64,
    /// Longest wait until the log is looked at again; events of other processes are seen after it.
    pub poll: Duration,
    /// Shortest time from the start of a page that was not full to the next page. An idle projection applies an event
    /// at once; a busy one gathers, because a page costs eight round trips, however few events it has.
    pub pace: Duration,
    /// The first pause after a failure; it doubles.
    pub retry_min: Duration,
    /// The longest pause after a failure.
    pub retry_max: Duration,
}

impl Default for RunnerConfig {
    fn default() -> Self {
        Self {
            batch_len_max: 2_000,
            // Four looks a second and projection are cheap; more would not be noticed by a person.
            poll: Duration::from_millis(250),
            pace: Duration::from_millis(20),
            retry_min: Duration::from_millis(200),
            retry_max: Duration::from_secs(30),
        }
    }
}

/// What a runner remembers between two steps.
struct Progress {
    batch_len: i64,
    pause: Duration,
    /// The text of the failure that was logged last, until a step succeeds at full length.
    failure: Option<String>,
}

/// Applies the log to a projection until `stop` is cancelled.
///
/// A failure is logged once and tried again for ever, with growing pauses. The pages get shorter meanwhile, so that
/// what stands in front of an event that can't be read is applied, and only that event is waited for.
///
/// # Errors
/// None today: failures are retried.
pub async fn run(
    store: Store,
    projection: Arc<dyn Projection>,
    config: RunnerConfig,
    stop: CancellationToken,
) -> Result<(), ProjectionError> {
    let mut progress = Progress { batch_len: config.batch_len_max, pause: config.retry_min, failure: None };
    let follower = store.follow(Filter::all().needing(projection.categories()));
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = turn(&store, &follower, projection.as_ref(), &config, &mut progress) => (),
        }
    }
}

/// One step and the wait after it. Dropping it half way rolls its transaction back.
async fn turn(
    store: &Store,
    follower: &Follower,
    projection: &dyn Projection,
    config: &RunnerConfig,
    progress: &mut Progress,
) {
    let started = Instant::now();
    match advance(store, follower, projection, progress.batch_len).await {
        Ok(stepped) => {
            let page_was_full = i64::try_from(stepped.events).is_ok_and(|events| events >= progress.batch_len);
            progress.succeeded(projection.name(), stepped.position, stepped.events > 0, config);
            if !page_was_full {
                follower.wait(stepped.position, config.poll).await;
                tokio::time::sleep_until(started + config.pace).await;
            }
        }
        Err(error) => {
            progress.log(projection.name(), &error);
            tokio::time::sleep(progress.pause).await;
            progress.failed(config);
        }
    }
}

impl Progress {
    fn succeeded(&mut self, name: &str, position: i64, applied: bool, config: &RunnerConfig) {
        self.pause = config.retry_min;
        if self.batch_len == config.batch_len_max {
            if applied && self.failure.take().is_some() {
                tracing::info!(projection = name, event.position = position, "the projection {name} goes on");
            }
            return;
        }
        self.batch_len = (self.batch_len * 2).min(config.batch_len_max);
    }

    /// Shorter pages first: each failure costs a pause, and the longest page needs eleven to become one event.
    fn failed(&mut self, config: &RunnerConfig) {
        if self.batch_len > 1 {
            self.batch_len /= 2;
        } else {
            self.pause = (self.pause * 2).min(config.retry_max);
        }
    }

    fn log(&mut self, name: &str, error: &ProjectionError) {
        let text = error.to_string();
        if self.failure.as_ref() != Some(&text) {
            tracing::error!(projection = name, error = text, "the projection {name} stands still and tries again");
            self.failure = Some(text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_get_shorter_while_it_fails_and_long_again_when_it_goes_on() {
        let config = RunnerConfig::default();
        let mut progress = Progress { batch_len: config.batch_len_max, pause: config.retry_min, failure: None };
        for _ in 0..100 {
            progress.failed(&config);
        }
        assert_eq!((progress.batch_len, progress.pause), (1, config.retry_max));
        for _ in 0..11 {
            progress.succeeded("card_list.v1", 1, true, &config);
        }
        assert_eq!((progress.batch_len, progress.pause), (config.batch_len_max, config.retry_min));
    }
}
