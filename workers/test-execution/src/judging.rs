//! Asks the models that assertions ask, keeps what they said, and grades by it.

use std::time::Duration;

use pcs_domain::assertion::{Judgement, Verdict};
use pcs_domain::execution::{Failure, FailureClass};
use pcs_domain::limits::JUDGEMENT_BYTES_MAX;
use pcs_domain::model::ModelSpec;
use pcs_grading::{Class, OffSchema, Question, Reply, Step};
use pcs_providers::{CallError, CallKey, ChatRequest, Classes, ClassifyRequest, EmbedRequest, Gateway, call_deadline};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How often a judge is asked one thing: it may have no room, or answer off its schema.
const CALLS_PER_QUESTION_MAX: u32 = 3;
/// First pause before a judge is asked again; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before a judge is asked again; one that wants to be left alone for longer fails the attempt.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// Longest time of a webhook's answer.
const WEBHOOK_TIME_MAX: Duration = Duration::from_secs(5);
/// What a webhook is called where a judge's model stands.
const WEBHOOK: &str = "webhook";
/// Most questions that one assertion asks: a single kind asks 40 at most, a set as many as its members do.
const QUESTIONS_MAX: usize = 200;

/// Who is asked, and what for.
pub(crate) struct Judging<'a> {
    pub(crate) gateway: &'a Gateway,
    pub(crate) grader: Option<&'a ModelSpec>,
    /// The attempt that is judged.
    pub(crate) key: CallKey,
    pub(crate) variables: &'a Map<String, Value>,
}

/// Why there is no verdict.
pub(crate) struct Unjudged {
    pub(crate) failure: Failure,
    pub(crate) retry_after: Option<Duration>,
}

impl Unjudged {
    /// A failure of this class.
    pub(crate) fn of(class: FailureClass, error: impl Into<String>) -> Self {
        Self { failure: Failure { class, error: error.into() }, retry_after: None }
    }
}

impl Judging<'_> {
    /// The verdict of a check, after asking whom it asks; `step` says what it needs after these replies.
    ///
    /// # Errors
    /// Where a judge does not answer, or not in the form that it is asked for: that is no verdict.
    pub(crate) async fn verdict<F>(&self, step: impl Fn(Vec<Reply>) -> F) -> Result<Verdict, Unjudged>
    where
        F: Future<Output = Result<Result<Step, OffSchema>, Unjudged>>,
    {
        let mut replies: Vec<Reply> = Vec::new();
        let mut judgements = Vec::new();
        // How often the judge has answered this question off its schema.
        let mut strays = 0;
        let mut next = step(replies.clone()).await?;
        loop {
            let (question, judge) = match next {
                Ok(Step::Done(verdict)) => return Ok(Verdict { judgements, ..verdict }),
                Ok(Step::Ask(question, judge)) => (question, judge),
                Err(error) => {
                    strays += 1;
                    if strays == CALLS_PER_QUESTION_MAX || replies.pop().is_none() {
                        return Err(Unjudged::of(FailureClass::MalformedResponse, error.to_string()));
                    }
                    next = step(replies.clone()).await?;
                    continue;
                }
            };
            if replies.len() == QUESTIONS_MAX {
                let message = format!("an assertion asks more than {QUESTIONS_MAX} questions");
                return Err(Unjudged::of(FailureClass::Grading, message));
            }
            let judge = self.judge(&question, judge.as_deref())?;
            let (reply, judgement) = self.ask(judge, &question, judgements.len()).await?;
            replies.push(reply);
            judgements.push(judgement);
            next = step(replies.clone()).await?;
            if next.is_ok() {
                strays = 0;
            }
        }
    }

    /// Who is asked; a webhook's address is in its question.
    fn judge<'b>(
        &'b self,
        question: &Question,
        named: Option<&'b ModelSpec>,
    ) -> Result<Option<&'b ModelSpec>, Unjudged> {
        if matches!(question, Question::Post { .. }) {
            return Ok(None);
        }
        let judge = named.or(self.grader);
        let message = "an assertion asks a judge, and neither it nor the run names one";
        judge.map(Some).ok_or_else(|| Unjudged::of(FailureClass::Grading, message))
    }

    /// Asks, and again where the judge has no room.
    async fn ask(
        &self,
        judge: Option<&ModelSpec>,
        question: &Question,
        number: usize,
    ) -> Result<(Reply, Judgement), Unjudged> {
        let mut pause = PAUSE_FIRST;
        for call in 1.. {
            let error = match self.call(judge, question, (number, call)).await {
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            let wait = error.retry_after.unwrap_or(pause);
            if call >= CALLS_PER_QUESTION_MAX || !error.class.is_retryable() || wait > PAUSE_MAX {
                let who = judge.map_or_else(|| WEBHOOK.to_owned(), |judge| format!("judge {}", judge.name()));
                let failure = Failure { class: error.class, error: format!("the {who}: {error}") };
                return Err(Unjudged { failure, retry_after: error.retry_after });
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        Err(Unjudged::of(FailureClass::Worker, "the judge was never asked"))
    }

    async fn call(
        &self,
        judge: Option<&ModelSpec>,
        question: &Question,
        number: (usize, u32),
    ) -> Result<(Reply, Judgement), CallError> {
        let absent = ModelSpec::of_id(WEBHOOK);
        let judge = judge.unwrap_or(&absent);
        let deadline = call_deadline(judge);
        match question {
            Question::Classes(text) => {
                let sorted = self.gateway.classify(&ClassifyRequest { model: judge, text, deadline }).await?;
                Ok(classes(judge, text, sorted))
            }
            Question::Post { url, body } => {
                let (text, latency_ms) = self.gateway.webhook(url, body, WEBHOOK_TIME_MAX).await?;
                let judgement = unpriced(judge, &body.to_string(), &text, latency_ms);
                Ok((Reply::Text(text), judgement))
            }
            Question::Chat(prompt) => {
                let cell = self.key_of(number);
                let request = ChatRequest { model: judge, prompt, variables: self.variables, cell, deadline };
                let answer = self.gateway.call(&request).await?;
                let judgement = Judgement {
                    model: judge.id.clone(),
                    prompt_sha256: sha256(prompt),
                    answer: kept(&answer.output),
                    latency_ms: answer.latency_ms,
                    input_tokens: answer.input_tokens,
                    output_tokens: answer.output_tokens,
                    cost_micro_usd: answer.cost_micro_usd,
                };
                Ok((Reply::Text(answer.output), judgement))
            }
            Question::Vectors(texts) => {
                let embeddings = self.gateway.embed(&EmbedRequest { model: judge, texts, deadline }).await?;
                let judgement = Judgement {
                    model: judge.id.clone(),
                    prompt_sha256: sha256(&serde_json::to_string(texts).unwrap_or_default()),
                    answer: String::new(),
                    latency_ms: embeddings.latency_ms,
                    input_tokens: embeddings.input_tokens,
                    output_tokens: 0,
                    cost_micro_usd: embeddings.cost_micro_usd,
                };
                Ok((Reply::Vectors(embeddings.vectors), judgement))
            }
        }
    }

    /// A scripted judge draws its luck for each call, and not that of the attempt.
    fn key_of(&self, (number, call): (usize, u32)) -> CallKey {
        let name = format!("judge/{number}/{call}");
        let id = Uuid::new_v5(&self.key.execution_id.0, name.as_bytes());
        CallKey { execution_id: pcs_domain::ids::ExecutionId(id), ..self.key }
    }
}

fn classes(judge: &ModelSpec, text: &str, sorted: Classes) -> (Reply, Judgement) {
    let judgement = unpriced(judge, text, &sorted.answer, sorted.latency_ms);
    let classes = sorted.classes.into_iter();
    let classes = classes.map(|class| Class { label: class.label, score: class.score, flagged: class.flagged });
    (Reply::Classes(classes.collect()), judgement)
}

/// A call of somebody who counts no tokens.
fn unpriced(judge: &ModelSpec, asked: &str, answer: &str, latency_ms: u64) -> Judgement {
    Judgement {
        model: judge.id.clone(),
        prompt_sha256: sha256(asked),
        answer: kept(answer),
        latency_ms,
        input_tokens: 0,
        output_tokens: 0,
        cost_micro_usd: None,
    }
}

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// What is kept of an answer; PostgreSQL keeps no NUL.
fn kept(answer: &str) -> String {
    let mut kept = answer.replace('\0', "\u{FFFD}");
    kept.truncate(kept.floor_char_boundary(JUDGEMENT_BYTES_MAX));
    kept
}
