//! Answers whose judges failed: they were paid for, so the next attempt grades them instead of asking the model again.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pcs_domain::execution::Answer;
use pcs_domain::ids::ExecutionId;

/// Most answers that are kept; the oldest go first.
const ANSWERS_MAX: usize = 1_000;
/// Most bytes of all of them together.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// The answers that this worker keeps; another worker that gets the next attempt has to ask.
#[derive(Default)]
pub(crate) struct Kept(Mutex<Answers>);

#[derive(Default)]
struct Answers {
    by_execution: HashMap<ExecutionId, Answer>,
    oldest: VecDeque<ExecutionId>,
    bytes: usize,
}

impl Kept {
    /// Keeps the answer of an execution until it is taken, or too many others have come.
    pub(crate) fn keep(&self, execution: ExecutionId, answer: Answer) {
        let mut answers = self.answers();
        answers.remove(execution);
        answers.bytes += answer.output.len();
        answers.by_execution.insert(execution, answer);
        answers.oldest.push_back(execution);
        while answers.by_execution.len() > ANSWERS_MAX || answers.bytes > BYTES_MAX {
            let Some(oldest) = answers.oldest.front().copied() else { break };
            answers.remove(oldest);
        }
    }

    /// The answer of an execution, which is kept no longer.
    pub(crate) fn take(&self, execution: ExecutionId) -> Option<Answer> {
        self.answers().remove(execution)
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Answers {
    fn remove(&mut self, execution: ExecutionId) -> Option<Answer> {
        let answer = self.by_execution.remove(&execution)?;
        self.oldest.retain(|kept| *kept != execution);
        self.bytes -= answer.output.len();
        Some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn answer(output: String) -> Answer {
        serde_json::from_value(
            serde_json::json!({ "output": output, "latency_ms": 1, "input_tokens": 1, "output_tokens": 1 }),
        )
        .unwrap()
    }

    fn execution(number: u128) -> ExecutionId {
        ExecutionId(Uuid::from_u128(number))
    }

    #[test]
    fn an_answer_is_taken_once() {
        let kept = Kept::default();
        kept.keep(execution(1), answer("a".to_owned()));
        kept.keep(execution(1), answer("b".to_owned()));
        assert_eq!(kept.take(execution(1)).map(|answer| answer.output).as_deref(), Some("b"));
        assert_eq!(kept.take(execution(1)), None);
        assert_eq!(kept.answers().bytes, 0);
    }

    #[test]
    fn the_oldest_make_room() {
        let kept = Kept::default();
        for number in 0..=ANSWERS_MAX as u128 {
            kept.keep(execution(number), answer("x".to_owned()));
        }
        assert_eq!(kept.take(execution(0)), None);
        assert!(kept.take(execution(1)).is_some());
        kept.keep(execution(5_000), answer("x".repeat(BYTES_MAX)));
        assert_eq!(kept.take(execution(2)), None);
        assert!(kept.take(execution(5_000)).is_some());
    }
}
