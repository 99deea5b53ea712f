//! What repeats of one case say about it: would any of them do, would all of them, do they agree.

use crate::sample::count;

/// The probability that at least one of `k` repeats passes, of `passed` among `trials`; none where there are fewer than `k`.
///
/// The unbiased estimate of Chen and others, *Evaluating Large Language Models Trained on Code*, 2021.
#[must_use]
pub fn pass_at_k(trials: u64, passed: u64, k: u64) -> Option<f64> {
    Some(1.0 - all_of(trials, trials.checked_sub(passed)?, k)?)
}

/// The probability that all of `k` repeats pass, of `passed` among `trials`; none where there are fewer than `k`.
#[must_use]
pub fn pass_hat_k(trials: u64, passed: u64, k: u64) -> Option<f64> {
    all_of(trials, passed, k)
}

/// The probability that two repeats of a case disagree; none where there is one. At most a half of all, and a little more of few.
#[must_use]
pub fn disagreement(trials: u64, passed: u64) -> Option<f64> {
    let failed = trials.checked_sub(passed)?;
    (trials > 1).then(|| 2.0 * count(passed) * count(failed) / (count(trials) * count(trials - 1)))
}

/// The probability that `k` of `trials`, drawn without putting back, are all among `those`.
fn all_of(trials: u64, those: u64, k: u64) -> Option<f64> {
    if k == 0 || k > trials || those > trials {
        return None;
    }
    if k > those {
        return Some(0.0);
    }
    Some((0..k).map(|nth| count(those - nth) / count(trials - nth)).product())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_and_all_of_k() {
        assert_eq!(pass_at_k(4, 1, 1), Some(0.25));
        assert_eq!(pass_at_k(4, 1, 2), Some(0.5));
        assert_eq!(pass_at_k(4, 1, 4), Some(1.0));
        assert_eq!(pass_hat_k(4, 3, 2), Some(0.5));
        assert_eq!(pass_hat_k(4, 3, 4), Some(0.0));
        assert_eq!((pass_at_k(4, 1, 5), pass_hat_k(4, 1, 0), pass_hat_k(4, 5, 1)), (None, None, None));
    }

    #[test]
    fn repeats_that_agree_do_not_disagree() {
        assert_eq!((disagreement(5, 5), disagreement(5, 0), disagreement(1, 1)), (Some(0.0), Some(0.0), None));
        assert_eq!(disagreement(4, 2), Some(2.0 / 3.0));
    }
}
