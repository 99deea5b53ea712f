//! Why a script has no result, in words for its author.

use serde::{Deserialize, Serialize};

/// Why there is no result.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, thiserror::Error)]
pub enum ScriptError {
    /// The code is larger than any assertion needs.
    #[error("the script has {bytes} bytes, and may have {max}")]
    TooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// It is no JavaScript.
    #[error("{}it is no JavaScript: {message}", at(*.line))]
    Syntax {
        /// Where, from 1, as far as that is known.
        line: Option<u32>,
        /// What the parser says.
        message: String,
    },
    /// It threw something.
    #[error("{}it threw {message}", at(*.line))]
    Thrown {
        /// Where, from 1, as far as that is known.
        line: Option<u32>,
        /// What it threw.
        message: String,
    },
    /// It took too long.
    #[error("it took more than {millis} ms and was stopped")]
    TimedOut {
        /// How long it may take.
        millis: u64,
    },
    /// It took too much memory.
    #[error("it needed more than {max} bytes of memory and was stopped")]
    OutOfMemory {
        /// How much it may take.
        max: usize,
    },
    /// Its promise waits for something that never happens here.
    #[error("its promise is never settled: there are no timers and nothing to wait for")]
    Unsettled,
    /// Its result can't be said in JSON.
    #[error("its result is not a value that JSON has; return true, false, a number, a text or an object")]
    NoJson,
    /// Its result is too large.
    #[error("its result has {bytes} bytes, and may have {max}")]
    ResultTooLarge {
        /// How many it has.
        bytes: usize,
        /// How many it may have.
        max: usize,
    },
    /// The engine ended, and again when it was begun anew.
    #[error("it ended the engine that ran it")]
    Crashed,
    /// It is Python, and nobody said that it may be run.
    #[error(
        "this worker runs no Python: start it with PCS_PYTHON=python3, if the authors of assertions may do what it may do"
    )]
    NotAllowed,
    /// No script could be run.
    #[error("no script can be run now: {why}")]
    NoRoom {
        /// What is in the way.
        why: String,
    },
}

impl ScriptError {
    /// The same of this code: where something lacks at its end, the parser finds that behind it.
    pub(crate) fn within(self, code: &str) -> Self {
        match self {
            Self::Syntax { line: Some(line), message } => {
                let last = u32::try_from(code.lines().count()).unwrap_or(u32::MAX).max(1);
                Self::Syntax { line: Some(line.min(last)), message }
            }
            other => other,
        }
    }
}

fn at(line: Option<u32>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}
