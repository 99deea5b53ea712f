//! Where waiting begins in each queue, as the last hand-over left it: what was handed out a moment ago need not be passed over.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long it is believed. What is put back before a front is seen by then.
const FRESH: Duration = Duration::from_millis(500);

/// Places before which nothing waits, by queue.
#[derive(Debug)]
pub(crate) struct Fronts {
    places: HashMap<i64, i64>,
    since: Instant,
}

impl Default for Fronts {
    fn default() -> Self {
        Self { places: HashMap::new(), since: Instant::now() }
    }
}

impl Fronts {
    /// Everything may wait everywhere.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Queues and their fronts; none that are no longer believed.
    pub(crate) fn believed(&mut self) -> (Vec<i64>, Vec<i64>) {
        if self.since.elapsed() >= FRESH {
            self.forget();
        }
        self.places.iter().unzip()
    }

    /// A place was handed out, and with it all that waited before it in its queue.
    pub(crate) fn pass(&mut self, queue: i64, place: i64) {
        let front = self.places.entry(queue).or_default();
        *front = (*front).max(place.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_front_moves_on_and_is_believed_for_a_while() {
        let mut fronts = Fronts::default();
        fronts.pass(1, 7);
        fronts.pass(1, 3);
        assert_eq!(fronts.believed(), (vec![1], vec![8]));
        tokio::time::advance(FRESH).await;
        assert_eq!(fronts.believed(), (Vec::new(), Vec::new()));
    }
}
