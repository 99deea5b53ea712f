//! Results on their way to the relay: those that come in while others are under way go together, in one request.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use pcs_domain::jobs::test_execution::{Receipt, Report};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;
use tokio_util::task::TaskTracker;

use crate::{Bus, BusError, subjects};

/// Requests that are under way at once, of those that are answered soon.
const REQUESTS_MAX: usize = 2;
/// From then on a request does not count among them any more: the relay that has it may be frozen, and others not.
const SLOW: Duration = Duration::from_millis(250);
/// Most results in one request.
const REQUEST_LEN_MAX: usize = 128;
/// Largest request of several results, in bytes; one that is larger goes alone, as far as the broker takes it.
const REQUEST_BYTES_MAX: usize = 256 * 1024;
/// Results that wait to be sent; whoever has one more waits.
const QUEUE_LEN_MAX: usize = 1_024;

/// The way of a worker's results to the relay.
#[derive(Debug)]
pub struct Reports {
    queue: mpsc::Sender<Waiting>,
    _sender: AbortOnDropHandle<()>,
}

/// A result as JSON, and who waits for its receipt.
#[derive(Debug)]
struct Waiting {
    report: Vec<u8>,
    receipt: oneshot::Sender<Result<Receipt, BusError>>,
}

impl Reports {
    /// Begins to send what is given to it.
    #[must_use]
    pub fn start(bus: Bus) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_LEN_MAX);
        // Owned by the handle; what it begins is tracked, and waited for by those whose results it sends.
        let tasks = TaskTracker::new();
        let sender = AbortOnDropHandle::new(tasks.spawn(send_all(bus, waiting, tasks.clone())));
        Self { queue, _sender: sender }
    }

    /// Sends a result and waits for the word that it is committed.
    ///
    /// # Errors
    /// Where nobody answers in time: it may be committed all the same, and sending it again is safe.
    pub async fn send(&self, report: &Report) -> Result<Receipt, BusError> {
        let report = serde_json::to_vec(report).map_err(|error| unanswered(error.to_string()))?;
        let (receipt, received) = oneshot::channel();
        let stopped = || unanswered("this worker sends no results any more".to_owned());
        self.queue.send(Waiting { report, receipt }).await.map_err(|_| stopped())?;
        received.await.map_err(|_| stopped())?
    }
}

fn unanswered(message: String) -> BusError {
    BusError::NoAnswer { subject: subjects::RESULT.to_owned(), message }
}

async fn send_all(bus: Bus, mut waiting: mpsc::Receiver<Waiting>, tasks: TaskTracker) {
    let places = Arc::new(Semaphore::new(REQUESTS_MAX));
    let mut left_over = None;
    while let Ok(place) = Arc::clone(&places).acquire_owned().await {
        let first = match left_over.take() {
            Some(left_over) => left_over,
            None => match waiting.recv().await {
                Some(first) => first,
                None => return,
            },
        };
        let batch;
        (batch, left_over) = gather(first, &mut waiting);
        tasks.spawn(exchange(bus.clone(), batch, place));
    }
}

/// All that waits by now, as far as one request may be; and what was too large for it, for the next one.
fn gather(first: Waiting, waiting: &mut mpsc::Receiver<Waiting>) -> (Vec<Waiting>, Option<Waiting>) {
    let mut bytes = first.report.len();
    let mut batch = vec![first];
    while batch.len() < REQUEST_LEN_MAX {
        let Ok(next) = waiting.try_recv() else { break };
        bytes += next.report.len();
        // A large one must not make the small ones before it too large for the broker.
        if bytes > REQUEST_BYTES_MAX {
            return (batch, Some(next));
        }
        batch.push(next);
    }
    (batch, None)
}

async fn exchange(bus: Bus, batch: Vec<Waiting>, place: OwnedSemaphorePermit) {
    let answer = bus.request_answer::<Vec<Receipt>>(subjects::RESULT, list(&batch));
    tokio::pin!(answer);
    let answer = tokio::select! {
        answer = &mut answer => answer,
        () = tokio::time::sleep(SLOW) => {
            drop(place);
            answer.await
        }
    };
    let (receipts, missing) = match answer {
        Ok(receipts) => (receipts, "the answer is too short".to_owned()),
        Err(error) => (Vec::new(), error.to_string()),
    };
    let mut receipts = receipts.into_iter();
    for waiting in batch {
        // Nobody waits any more where the job was stopped meanwhile.
        drop(waiting.receipt.send(receipts.next().ok_or_else(|| unanswered(missing.clone()))));
    }
}

/// The JSON list of results that are JSON already.
fn list(batch: &[Waiting]) -> Bytes {
    let len = batch.iter().map(|waiting| waiting.report.len() + 1).sum::<usize>() + 1;
    let mut list = Vec::with_capacity(len);
    for (place, waiting) in batch.iter().enumerate() {
        list.push(if place == 0 { b'[' } else { b',' });
        list.extend_from_slice(&waiting.report);
    }
    list.push(b']');
    list.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(report: &str) -> Waiting {
        Waiting { report: report.as_bytes().to_vec(), receipt: oneshot::channel().0 }
    }

    fn queue(reports: &[String]) -> mpsc::Receiver<Waiting> {
        let (queue, received) = mpsc::channel(QUEUE_LEN_MAX);
        for report in reports {
            queue.try_send(waiting(report)).unwrap();
        }
        received
    }

    #[test]
    fn what_waits_goes_together_as_a_list() {
        let (batch, _) = gather(waiting("1"), &mut queue(&["\"a\"".to_owned(), "{}".to_owned()]));
        assert_eq!(list(&batch), r#"[1,"a",{}]"#);
        assert_eq!(list(&gather(waiting("1"), &mut queue(&[])).0), "[1]");
    }

    #[test]
    fn a_request_has_a_greatest_number_and_size() {
        let many = vec!["1".to_owned(); QUEUE_LEN_MAX];
        let (batch, left_over) = gather(waiting("1"), &mut queue(&many));
        assert_eq!((batch.len(), left_over.is_none()), (REQUEST_LEN_MAX, true));
        let large = "x".repeat(REQUEST_BYTES_MAX);
        let (batch, left_over) = gather(waiting("1"), &mut queue(&["2".to_owned(), large.clone(), "3".to_owned()]));
        assert_eq!((batch.len(), left_over.map(|one| one.report.len())), (2, Some(REQUEST_BYTES_MAX)));
        let (batch, left_over) = gather(waiting(&large), &mut queue(&many));
        assert_eq!((batch.len(), left_over.is_some()), (1, true));
    }
}
