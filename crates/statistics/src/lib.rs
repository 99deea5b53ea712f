//! Whether a difference between two sets of repeated trials is real: paired by case, repeats pooled, many metrics at once.
//!
//! Cases are the unit: repeats of one case are not independent of each other, so each case counts once, by the mean of its
//! repeats. Everything here is a pure function; where chance is needed its seed is fixed, so the same data have the same
//! verdict for ever.

mod sample;
mod sign;
mod permutation;
mod false_discovery;
mod needed;
mod compare;
mod repeats;
mod agreement;
mod sequential;
#[cfg(test)]
mod reference_tests;

pub use self::agreement::{Scale, cohens_kappa, krippendorff_alpha};
pub use self::compare::{Better, Comparison, Metric, Test, Verdict, compare, compare_all};
pub use self::false_discovery::benjamini_hochberg;
pub use self::needed::more_repeats;
pub use self::permutation::sign_flip_test;
pub use self::repeats::{disagreement, pass_at_k, pass_hat_k};
pub use self::sample::{Pair, Sample};
pub use self::sequential::{Leaning, TwoRates, sign_e_value};
pub use self::sign::sign_test;
