//! Keeps a projection up with the log: takes its lease, then page after page, and a short wait where nothing is new.

use std::sync::Arc;
use std::time::Duration;

use pcs_store::{Filter, Follower, Store};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cautious;
use crate::generation::Generation;
use crate::lease::{Lease, RENEW_AFTER};
use crate::status::Status;
use crate::step::{self, Outcome, Stepped};
use crate::{Projection, ProjectionError};

/// How often one that stands by, or stands still, looks whether it may go on.
const STANDBY_POLL: Duration = Duration::from_millis(500);

/// How a projection is kept up.
#[derive(Clone, Copy, Debug)]
pub struct RunnerConfig {
    /// Most positions of one page, and so of one transaction.
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

/// One projection and its runner's memory.
struct Runner {
    store: Store,
    follower: Follower,
    projection: Arc<dyn Projection>,
    config: RunnerConfig,
    lease: Option<Lease>,
    renewed: Instant,
    progress: Progress,
}

/// What a runner remembers between two steps.
struct Progress {
    batch_len: i64,
    pause: Duration,
    /// The text of the failure that was logged last, until a step succeeds at full length.
    failure: Option<String>,
    /// The state that was logged last.
    standing: Option<Status>,
}

/// Applies the log to a projection until `stop` is cancelled; the page that is being written is finished.
///
/// Several processes may run it: one has the lease and writes, the others stand by and take over when it says nothing
/// for five seconds. A failure of the database is logged once and tried again for ever, with growing pauses and shorter
/// pages. An event that can't be applied is the policy's affair, and is not tried again here.
///
/// # Errors
/// None today: failures are retried.
pub async fn run(
    store: Store,
    projection: Arc<dyn Projection>,
    config: RunnerConfig,
    stop: CancellationToken,
) -> Result<(), ProjectionError> {
    let progress = Progress::new(&config);
    // Types that it ignores come along: they are in memory already, and the fold passes over them.
    let follower = store.follow(Filter::all().categories(projection.categories()));
    let mut runner = Runner { store, follower, projection, config, lease: None, renewed: Instant::now(), progress };
    while !stop.is_cancelled() {
        let wait = runner.turn().await;
        tokio::select! {
            () = stop.cancelled() => (),
            () = runner.wait(wait) => (),
        }
    }
    if let Some(lease) = runner.lease.take()
        && let Err(error) = lease.release(runner.store.pool()).await
    {
        tracing::warn!(projection = runner.projection.name(), error = %error, "the lease ends by itself");
    }
    Ok(())
}

/// What a turn waits for.
enum Wait {
    Nothing,
    For(Duration),
    /// Something after this position, and the pace since the turn began.
    Change(i64, Instant),
}

impl Runner {
    async fn wait(&self, wait: Wait) {
        match wait {
            Wait::Nothing => (),
            Wait::For(pause) => tokio::time::sleep(pause).await,
            Wait::Change(position, started) => {
                self.follower.wait(position, self.config.poll).await;
                tokio::time::sleep_until(started + self.config.pace).await;
            }
        }
    }

    async fn turn(&mut self) -> Wait {
        let started = Instant::now();
        match self.step().await {
            Ok(None) => Wait::For(STANDBY_POLL),
            Ok(Some(stepped)) => self.stepped(stepped, started),
            Err(error) => {
                self.progress.log(self.projection.name(), &error);
                let pause = self.progress.pause;
                self.progress.failed(&self.config);
                Wait::For(pause)
            }
        }
    }

    /// One page; none where another process is the owner.
    async fn step(&mut self) -> Result<Option<Stepped>, ProjectionError> {
        let (pool, name) = (self.store.pool(), self.projection.name());
        let Some(lease) = &mut self.lease else {
            self.lease = Lease::take(pool, name, Generation::Live).await?;
            self.renewed = Instant::now();
            let Some(lease) = &self.lease else { return Ok(None) };
            tracing::info!(projection = name, epoch = lease.epoch, "this process writes the projection {name}");
            return self.page().await.map(Some);
        };
        if self.renewed.elapsed() > RENEW_AFTER {
            if lease.renew(pool).await?.is_none() {
                self.lost();
                return Ok(None);
            }
            self.renewed = Instant::now();
        }
        self.page().await.map(Some)
    }

    async fn page(&mut self) -> Result<Stepped, ProjectionError> {
        let Some(lease) = &mut self.lease else { return Ok(Stepped::refused(Outcome::Fenced, 0)) };
        let projection = self.projection.as_ref();
        if lease.starts > 1 {
            // Somebody died before a page went well: it may have been of an event.
            return cautious::step(&self.store, projection, lease, self.config.batch_len_max).await;
        }
        let stepped = step::follow(&self.store, &self.follower, projection, lease, self.progress.batch_len).await?;
        let went_well = matches!(stepped.outcome, Outcome::Moved | Outcome::AtRest);
        if went_well && lease.starts > 0 {
            lease.settle(self.store.pool()).await?;
        }
        Ok(stepped)
    }

    fn stepped(&mut self, stepped: Stepped, started: Instant) -> Wait {
        let name = self.projection.name();
        match stepped.outcome {
            Outcome::Moved => {
                self.progress.succeeded(name, stepped.position, true, &self.config);
                if stepped.full { Wait::Nothing } else { Wait::Change(stepped.position, started) }
            }
            Outcome::AtRest => {
                self.progress.succeeded(name, stepped.position, false, &self.config);
                Wait::Change(stepped.position, started)
            }
            Outcome::Overtaken | Outcome::Rewound => Wait::Nothing,
            Outcome::Fenced => {
                self.lost();
                Wait::For(STANDBY_POLL)
            }
            Outcome::Standing(status) => {
                self.progress.stands(name, status);
                Wait::For(STANDBY_POLL)
            }
        }
    }

    fn lost(&mut self) {
        let name = self.projection.name();
        tracing::warn!(projection = name, "another process writes the projection {name} now");
        self.lease = None;
    }
}

impl Progress {
    fn new(config: &RunnerConfig) -> Self {
        Self { batch_len: config.batch_len_max, pause: config.retry_min, failure: None, standing: None }
    }

    fn succeeded(&mut self, name: &str, position: i64, applied: bool, config: &RunnerConfig) {
        self.pause = config.retry_min;
        if self.standing.take().is_some() {
            tracing::info!(projection = name, event.position = position, "the projection {name} goes on");
        }
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

    fn stands(&mut self, name: &str, status: Status) {
        if self.standing.replace(status) != Some(status) {
            let how = status.name();
            tracing::warn!(projection = name, status = how, "the projection {name} is {how}: `pcs es projection ls`");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_get_shorter_while_it_fails_and_long_again_when_it_goes_on() {
        let config = RunnerConfig::default();
        let mut progress = Progress::new(&config);
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
