//! Why a script has no result, in words for its author.

/// Why there is no result.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
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
        millis: u128,
    },
    /// It took too much memory.
    #[error("it needed more than {max} bytes of memory and was stopped")]
    OutOfMemory {
        /// How much it may take.
        max: usize,
    },
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
}

fn at(line: Option<u32>) -> String {
    line.map_or_else(String::new, |line| format!("line {line}: "))
}
