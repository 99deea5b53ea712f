//! A process's share of a subscription: it says that it lives, takes and gives back lanes, and keeps their leases.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::lane::{Ended, LaneWork, Parts, Start};
use super::lease::{self, Claimed};
use super::standing::Standing;
use super::{Handler, Subscription, SubscriptionError};
use crate::Store;
use crate::tail::Lane;

/// A lease is renewed this many times before it would end.
const RENEWALS: u32 = 4;

/// One process that works on a subscription.
pub(super) struct Member {
    store: Store,
    subscription: Arc<Subscription>,
    handler: Arc<dyn Handler>,
    standing: Arc<Standing>,
    id: Uuid,
    lanes: HashMap<u16, Working>,
    tasks: JoinSet<Ended>,
    failing: bool,
}

/// A lane that is being worked on.
struct Working {
    task: Id,
    fence: i64,
    /// How long the lease lasts, by this process's clock: never longer than by the database's.
    until: watch::Sender<Instant>,
    retire: CancellationToken,
}

impl Member {
    pub(super) fn new(store: Store, subscription: Subscription, handler: Arc<dyn Handler>) -> Self {
        let standing = Arc::new(Standing::new(Arc::clone(&handler), subscription.behind_after));
        Self {
            store,
            subscription: Arc::new(subscription),
            handler,
            standing,
            id: Uuid::new_v4(),
            lanes: HashMap::new(),
            tasks: JoinSet::new(),
            failing: false,
        }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) -> Result<(), SubscriptionError> {
        let mut next = tokio::time::interval(self.subscription.lease / RENEWALS);
        next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let result = loop {
            tokio::select! {
                () = stop.cancelled() => break Ok(()),
                _ = next.tick() => {
                    if let Err(error) = self.turn().await {
                        break Err(error);
                    }
                }
                Some(ended) = self.tasks.join_next_with_id() => {
                    let panicked = ended.is_err();
                    if let Err(error) = self.lane_ended(ended).await {
                        break Err(error);
                    }
                    // A lane is free: it, or another one, is taken at once. After a panic only at the next turn.
                    if !panicked {
                        next.reset_immediately();
                    }
                }
            }
        };
        let left = self.leave().await;
        result.and(left)
    }

    /// A look at the shares. A database that does not answer is waited for: leases end by themselves.
    async fn turn(&mut self) -> Result<(), SubscriptionError> {
        match self.balance().await {
            Ok(()) => self.failing = false,
            Err(SubscriptionError::Store(error)) => {
                if !self.failing {
                    tracing::warn!(%error, "{} can't keep its leases now", self.subscription.name);
                }
                self.failing = true;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn balance(&mut self) -> Result<(), SubscriptionError> {
        let Subscription { name, lease, lanes, .. } = &*self.subscription;
        let (pool, lease) = (self.store.pool().clone(), *lease);
        let members = lease::live(&pool, name, self.id, lease).await?;
        if members.is_empty() {
            return Err(SubscriptionError::Unknown { name: name.clone() });
        }
        let asked_at = Instant::now();
        let held: Vec<(i16, i64)> = self.lanes.iter().map(|(lane, working)| (number(*lane), working.fence)).collect();
        let kept = lease::renew(&pool, name, self.id, lease, &held).await?;
        for (lane, working) in &self.lanes {
            // The lease of a lane that was taken away ends now.
            let until = if kept.contains(&number(*lane)) { asked_at + lease } else { asked_at };
            working.until.send_replace(until);
        }
        let share = lease::share(*lanes, &members, self.id);
        if self.lanes.len() > share {
            self.retire_down_to(share);
        } else if self.lanes.len() < share {
            let asked_at = Instant::now();
            let working: Vec<i16> = held.iter().map(|(lane, _)| *lane).collect();
            let most = share - self.lanes.len();
            for claimed in lease::claim(&pool, name, self.id, lease, &working, most).await? {
                self.begin(&claimed, asked_at + lease)?;
            }
        }
        Ok(())
    }

    /// Asks the lanes with the highest numbers to stop; they count until they have.
    fn retire_down_to(&mut self, share: usize) {
        let mut lanes: Vec<u16> = self.lanes.keys().copied().collect();
        lanes.sort_unstable();
        for lane in lanes.into_iter().skip(share) {
            if let Some(working) = self.lanes.get(&lane) {
                working.retire.cancel();
            }
        }
    }

    fn begin(&mut self, claimed: &Claimed, until: Instant) -> Result<(), SubscriptionError> {
        let lane = u16::try_from(claimed.lane).unwrap_or_default();
        let filter = self.subscription.filter.clone().lane(Lane::new(lane, self.subscription.lanes)?);
        let start = Start {
            lane,
            fence: claimed.fence,
            position: claimed.position,
            crashed: claimed.crashed,
            tried_position: claimed.tried_position,
            tries: claimed.tries,
        };
        let parts = Parts {
            store: self.store.clone(),
            subscription: Arc::clone(&self.subscription),
            handler: Arc::clone(&self.handler),
            standing: Arc::clone(&self.standing),
        };
        let retire = CancellationToken::new();
        let work = LaneWork::new(parts, self.store.follow(filter), start, retire.clone());
        let (until, lasts) = watch::channel(until);
        let task = self.tasks.spawn(work.run(lasts)).id();
        self.lanes.insert(lane, Working { task, fence: claimed.fence, until, retire });
        Ok(())
    }

    async fn lane_ended(&mut self, ended: Result<(Id, Ended), JoinError>) -> Result<(), SubscriptionError> {
        let (task, ended) = match ended {
            Ok((task, ended)) => (task, Some(ended)),
            // The handler panicked. The lane is taken again with care, like that of a process that crashed.
            Err(error) => {
                tracing::error!(%error, "a handler of {} panicked", self.subscription.name);
                (error.id(), None)
            }
        };
        let Some(lane) = self.lanes.iter().find(|(_, working)| working.task == task).map(|(lane, _)| *lane) else {
            return Ok(());
        };
        let Some(Working { fence, .. }) = self.lanes.remove(&lane) else { return Ok(()) };
        match ended {
            Some(Ended::Retired) => self.release(lane, fence).await,
            Some(Ended::Failed(error)) => {
                self.release(lane, fence).await;
                return Err(error);
            }
            Some(Ended::Lost) => tracing::info!(lane, "{} has lost a lane", self.subscription.name),
            None => self.standing.ended(lane),
        }
        Ok(())
    }

    async fn release(&self, lane: u16, fence: i64) {
        let released = lease::release(self.store.pool(), &self.subscription.name, lane, fence).await;
        if let Err(error) = released {
            tracing::debug!(%error, lane, "a lane could not be given back; its lease ends by itself");
        }
    }

    /// Lets every lane finish the event in hand and store its checkpoint, within the lease.
    async fn leave(&mut self) -> Result<(), SubscriptionError> {
        for working in self.lanes.values() {
            working.retire.cancel();
        }
        let mut result = Ok(());
        while let Some(ended) = self.tasks.join_next_with_id().await {
            result = result.and(self.lane_ended(ended).await);
        }
        if let Err(error) = lease::leave(self.store.pool(), &self.subscription.name, self.id).await {
            tracing::debug!(%error, "a member could not be taken out; it is forgotten by itself");
        }
        result
    }
}

fn number(lane: u16) -> i16 {
    i16::try_from(lane).unwrap_or(i16::MAX)
}
