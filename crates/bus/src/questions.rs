//! Requests between workers and the relay: results, and what a worker needs to know.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, join_all};
use futures_util::stream::{Stream, select_all};
use pcs_domain::jobs::on_request::{JobQuestion, JobReply, JobReport};
use pcs_domain::jobs::test_execution::{Question, Receipt, Reply, Report};
use pcs_domain::jobs::{JobKind, ON_REQUEST};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{Bus, BusError, subjects};

/// The name under which relays share requests: each goes to one of them.
const QUEUE_GROUP: &str = "relay";
/// What every inbox begins with, whatever user it is called after.
const INBOXES: &str = "_INBOX";
/// Requests of one kind that are worked on at once; the rest waits in the subscription.
const ANSWERS_INFLIGHT_MAX: usize = 2_048;
/// The same for requests with results of executions, each of which holds many.
const RESULTS_INFLIGHT_MAX: usize = 64;
/// The first pause before a report is sent again.
const REPORT_RETRY_MIN: Duration = Duration::from_millis(50);
/// The longest pause before a report is sent again.
const REPORT_RETRY_MAX: Duration = Duration::from_secs(2);

/// The relay's side: answers workers.
pub trait Responder: Send + Sync + 'static {
    /// Commits a result; answers only after the commit.
    fn record(&self, report: Report) -> BoxFuture<'_, Receipt>;
    /// Says what a worker wants to know.
    fn reply(&self, question: Question) -> BoxFuture<'_, Reply>;
    /// Commits the result of a job on request; answers only after the commit.
    fn record_job(&self, report: JobReport) -> BoxFuture<'_, Receipt>;
    /// Says what a worker of jobs on request wants to know.
    fn reply_job(&self, question: JobQuestion) -> BoxFuture<'_, JobReply>;
}

/// Subscriptions that are open: from now on requests reach the responder, once [`Answering::run`] runs.
pub struct Answering {
    bus: Bus,
    results: async_nats::Subscriber,
    questions: async_nats::Subscriber,
    job_results: Vec<async_nats::Subscriber>,
    job_questions: Vec<async_nats::Subscriber>,
}

impl Bus {
    /// Asks the relay.
    ///
    /// # Errors
    /// Where nobody answers in time.
    pub async fn ask(&self, question: &Question) -> Result<Reply, BusError> {
        self.request(subjects::ASK, question).await
    }

    /// Sends the result of a job on request and waits for the word that it is committed.
    ///
    /// # Errors
    /// Where nobody answers in time: it may be committed all the same, and sending it again is safe.
    pub async fn report_job(&self, kind: JobKind, report: &JobReport) -> Result<Receipt, BusError> {
        self.request(&subjects::result_of(kind), report).await
    }

    /// Asks the relay about jobs on request.
    ///
    /// # Errors
    /// Where nobody answers in time.
    pub async fn ask_job(&self, kind: JobKind, question: &JobQuestion) -> Result<JobReply, BusError> {
        self.request(&subjects::ask_of(kind), question).await
    }

    async fn request<Q: Serialize, A: DeserializeOwned>(&self, subject: &str, question: &Q) -> Result<A, BusError> {
        let no_answer = |message: String| BusError::NoAnswer { subject: subject.to_owned(), message };
        let payload = serde_json::to_vec(question).map_err(|error| no_answer(error.to_string()))?;
        self.request_answer(subject, payload.into()).await
    }

    /// Sends a question that is JSON already.
    pub(crate) async fn request_answer<A: DeserializeOwned>(
        &self,
        subject: &str,
        question: Bytes,
    ) -> Result<A, BusError> {
        let no_answer = |message: String| BusError::NoAnswer { subject: subject.to_owned(), message };
        let message =
            self.client.request(subject.to_owned(), question).await.map_err(|error| no_answer(error.to_string()))?;
        serde_json::from_slice(&message.payload)
            .map_err(|error| BusError::Unreadable { subject: subject.to_owned(), message: error.to_string() })
    }

    /// Opens the relay's subscriptions.
    ///
    /// # Errors
    /// Where the broker refuses them.
    pub async fn open_answering(&self) -> Result<Answering, BusError> {
        let (results, questions) = (self.share(subjects::RESULT).await?, self.share(subjects::ASK).await?);
        let (mut job_results, mut job_questions) = (Vec::new(), Vec::new());
        for kind in ON_REQUEST {
            job_results.push(self.share(&subjects::result_of(kind)).await?);
            job_questions.push(self.share(&subjects::ask_of(kind)).await?);
        }
        Ok(Answering { bus: self.clone(), results, questions, job_results, job_questions })
    }

    async fn share(&self, subject: &str) -> Result<async_nats::Subscriber, BusError> {
        let fault = |message: String| BusError::NoAnswer { subject: subject.to_owned(), message };
        let subscribed = self.client.queue_subscribe(subject.to_owned(), QUEUE_GROUP.to_owned()).await;
        subscribed.map_err(|error| fault(error.to_string()))
    }
}

/// Sends a report until somebody takes it: its result was worked for, and its ticket's lease is kept alive meanwhile.
pub async fn until_taken<F: Future<Output = Result<Receipt, BusError>>>(send: impl Fn() -> F) {
    let mut pause = REPORT_RETRY_MIN;
    loop {
        match send().await {
            Ok(Receipt::Recorded) => return,
            Ok(Receipt::Refused { code }) => {
                tracing::debug!(code, "a result was refused");
                return;
            }
            Ok(Receipt::Unavailable { message }) => {
                tracing::warn!(message, "a result could not be recorded; it is kept and sent again");
            }
            Err(error) => tracing::warn!(%error, "nobody took a result; it is kept and sent again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(REPORT_RETRY_MAX);
    }
}

impl Answering {
    /// Answers until told to stop; then finishes what it has begun.
    pub async fn run(self, responder: Arc<dyn Responder>, stop: CancellationToken) {
        let Self { bus, results, questions, job_results, job_questions } = self;
        let (recorder, of_jobs) = (Arc::clone(&responder), Arc::clone(&responder));
        let job_recorder = Arc::clone(&responder);
        tokio::join!(
            answer(bus.clone(), results, (RESULTS_INFLIGHT_MAX, stop.clone()), move |reports: Vec<Box<RawValue>>| {
                let recorder = Arc::clone(&recorder);
                async move { join_all(reports.iter().map(|report| record(&*recorder, report))).await }
            }),
            answer(bus.clone(), questions, (ANSWERS_INFLIGHT_MAX, stop.clone()), move |question| {
                let responder = Arc::clone(&responder);
                async move { responder.reply(question).await }
            }),
            answer(bus.clone(), select_all(job_results), (ANSWERS_INFLIGHT_MAX, stop.clone()), move |report| {
                let recorder = Arc::clone(&job_recorder);
                async move { recorder.record_job(report).await }
            }),
            answer(bus, select_all(job_questions), (ANSWERS_INFLIGHT_MAX, stop), move |question| {
                let responder = Arc::clone(&of_jobs);
                async move { responder.reply_job(question).await }
            }),
        );
    }
}

/// Records one of many results. One that can't be read must not keep the others from being recorded.
async fn record(recorder: &dyn Responder, report: &RawValue) -> Receipt {
    match serde_json::from_str(report.get()) {
        Ok(report) => recorder.record(report).await,
        Err(error) => {
            tracing::error!(%error, "a result can't be read");
            Receipt::Unavailable { message: error.to_string() }
        }
    }
}

async fn answer<Q, A, F, W>(
    bus: Bus,
    mut requests: impl Stream<Item = async_nats::Message> + Unpin,
    (inflight_max, stop): (usize, CancellationToken),
    work: W,
) where
    Q: DeserializeOwned + Send + 'static,
    A: Serialize + Send + 'static,
    F: Future<Output = A> + Send + 'static,
    W: Fn(Q) -> F + Send + Sync + 'static,
{
    let tasks = TaskTracker::new();
    let slots = Arc::new(Semaphore::new(inflight_max));
    let work = Arc::new(work);
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let message = tokio::select! {
            () = stop.cancelled() => break,
            message = requests.next() => message,
        };
        let Some(message) = message else { break };
        // Only to an inbox: the relay may publish everywhere, and whoever asks must not choose where.
        let Some(reply_to) = message.reply.filter(|reply| reply.starts_with(INBOXES)) else { continue };
        match serde_json::from_slice::<Q>(&message.payload) {
            Ok(question) => {
                let (bus, work) = (bus.clone(), Arc::clone(&work));
                tasks.spawn(async move {
                    let answer = work(question).await;
                    let payload = serde_json::to_vec(&answer).map(Bytes::from).unwrap_or_default();
                    respond(&bus, reply_to, payload).await;
                    drop(slot);
                });
            }
            // Without an answer the worker tries again, and shows the problem where it can be seen: in its log.
            Err(error) => tracing::error!(subject = %message.subject, %error, "a request can't be read"),
        }
    }
    tasks.close();
    tasks.wait().await;
}

async fn respond(bus: &Bus, reply_to: async_nats::Subject, payload: Bytes) {
    if let Err(error) = bus.client.publish(reply_to, payload).await {
        tracing::warn!(%error, "an answer could not be sent; the worker will ask again");
    }
}
