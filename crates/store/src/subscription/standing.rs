//! Whether a process's share of a subscription is at the end of the log, told once per change.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Handler, Signal};

/// What the lanes of one process have told.
pub(super) struct Standing {
    handler: Arc<dyn Handler>,
    behind_after: i64,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    live: bool,
    behind: BTreeSet<u16>,
}

impl Standing {
    pub(super) fn new(handler: Arc<dyn Handler>, behind_after: i64) -> Self {
        Self { handler, behind_after, state: Mutex::default() }
    }

    /// A lane is worked on from now on; while the share is at the end, it only counts when it is found to be behind.
    pub(super) fn begun(&self, lane: u16) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.live {
            state.behind.insert(lane);
        }
    }

    /// How far a lane is behind the end of the log; none where it has reached it.
    pub(super) fn at(&self, lane: u16, behind: Option<i64>) {
        self.change(|state| match behind {
            None => {
                state.behind.remove(&lane);
            }
            Some(events) if events > self.behind_after => {
                state.behind.insert(lane);
            }
            Some(_) => (),
        });
    }

    /// A lane is worked on by somebody else.
    pub(super) fn ended(&self, lane: u16) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.behind.remove(&lane);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let signal = {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut state);
            match (state.live, state.behind.is_empty()) {
                (false, true) => Some(Signal::CaughtUp),
                (true, false) => Some(Signal::FellBehind),
                (true, true) | (false, false) => None,
            }
            .inspect(|signal| state.live = *signal == Signal::CaughtUp)
        };
        if let Some(signal) = signal {
            self.handler.signal(signal);
        }
    }
}
