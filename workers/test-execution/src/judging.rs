//! Asks the models that assertions ask, keeps what they said, and grades by it.

use std::time::Duration;

use pcs_domain::assertion::{Judgement, Verdict};
use pcs_domain::execution::{Failure, FailureClass};
use pcs_domain::limits::JUDGEMENT_BYTES_MAX;
use pcs_domain::model::ModelSpec;
use pcs_grading::{Check, Question, Reply, Step, Subject};
use pcs_providers::{CallError, CallKey, ChatRequest, EmbedRequest, Gateway, call_deadline};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// How often a judge is asked one thing: it may have no room, or answer off its schema.
const CALLS_PER_QUESTION_MAX: u32 = 3;
/// First pause before a judge is asked again; each further one is twice as long.
const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// Longest pause before a judge is asked again; one that wants to be left alone for longer fails the attempt.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// Most questions that one assertion asks: the kind with the most asks two for each of 20 criteria.
const QUESTIONS_MAX: usize = 50;

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
    /// The verdict of a check, after asking whom it asks.
    ///
    /// # Errors
    /// Where a judge does not answer, or not in the form that it is asked for: that is no verdict.
    pub(crate) async fn verdict(&self, check: &Check, subject: &Subject<'_>) -> Result<Verdict, Unjudged> {
        let mut replies: Vec<Reply> = Vec::new();
        let mut judgements = Vec::new();
        // How often the judge has answered this question off its schema.
        let mut strays = 0;
        loop {
            let question = match check.step(subject, &replies) {
                Ok(Step::Done(verdict)) => return Ok(Verdict { judgements, ..verdict }),
                Ok(Step::Ask(question)) => question,
                Err(error) => {
                    strays += 1;
                    if strays == CALLS_PER_QUESTION_MAX || replies.pop().is_none() {
                        return Err(Unjudged::of(FailureClass::MalformedResponse, error.to_string()));
                    }
                    continue;
                }
            };
            if replies.len() == QUESTIONS_MAX {
                let message = format!("an assertion asks more than {QUESTIONS_MAX} questions");
                return Err(Unjudged::of(FailureClass::Grading, message));
            }
            let judge = check.judge(&question).or(self.grader).ok_or_else(|| {
                let message = "an assertion asks a judge, and neither it nor the run names one";
                Unjudged::of(FailureClass::Grading, message)
            })?;
            let (reply, judgement) = self.ask(judge, &question, judgements.len()).await?;
            replies.push(reply);
            judgements.push(judgement);
            if check.step(subject, &replies).is_ok() {
                strays = 0;
            }
        }
    }

    /// Asks, and again where the judge has no room.
    async fn ask(&self, judge: &ModelSpec, question: &Question, number: usize) -> Result<(Reply, Judgement), Unjudged> {
        let mut pause = PAUSE_FIRST;
        for call in 1.. {
            let error = match self.call(judge, question, (number, call)).await {
                Ok(answered) => return Ok(answered),
                Err(error) => error,
            };
            let wait = error.retry_after.unwrap_or(pause);
            if call >= CALLS_PER_QUESTION_MAX || !error.class.is_retryable() || wait > PAUSE_MAX {
                let failure = Failure { class: error.class, error: format!("the judge {}: {error}", judge.name()) };
                return Err(Unjudged { failure, retry_after: error.retry_after });
            }
            tokio::time::sleep(wait).await;
            pause *= 2;
        }
        Err(Unjudged::of(FailureClass::Worker, "the judge was never asked"))
    }

    async fn call(
        &self,
        judge: &ModelSpec,
        question: &Question,
        number: (usize, u32),
    ) -> Result<(Reply, Judgement), CallError> {
        let deadline = call_deadline(judge);
        match question {
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

fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// What is kept of an answer; PostgreSQL keeps no NUL.
fn kept(answer: &str) -> String {
    let mut kept = answer.replace('\0', "\u{FFFD}");
    kept.truncate(kept.floor_char_boundary(JUDGEMENT_BYTES_MAX));
    kept
}
