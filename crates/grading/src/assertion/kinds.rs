//! The names of all kinds of assertions.

use crate::judged;

/// Kinds that ask nobody.
const OWN: [&str; 35] = [
    "equals",
    "contains",
    "icontains",
    "contains-any",
    "contains-all",
    "icontains-any",
    "icontains-all",
    "starts-with",
    "regex",
    "is-json",
    "contains-json",
    "numeric",
    "latency",
    "cost",
    "word-count",
    "levenshtein",
    "rouge-n",
    "bleu",
    "gleu",
    "finish-reason",
    "is-refusal",
    "meteor",
    "is-xml",
    "contains-xml",
    "is-html",
    "contains-html",
    "is-sql",
    "contains-sql",
    "javascript",
    "python",
    "is-valid-function-call",
    "is-valid-openai-function-call",
    "is-valid-openai-tools-call",
    "tool-call-f1",
    "assert-set",
];

/// Every kind of assertion; each can have `not-` in front.
pub const KNOWN_KINDS: &[&str] = &known();

const fn known() -> [&'static str; OWN.len() + judged::KINDS.len()] {
    let mut all = [""; OWN.len() + judged::KINDS.len()];
    let mut place = 0;
    while place < all.len() {
        all[place] = if place < OWN.len() { OWN[place] } else { judged::KINDS[place - OWN.len()] };
        place += 1;
    }
    all
}
