//! The exact sign test; with one repeat a case it is McNemar's exact test.

use statrs::function::factorial::ln_binomial;

use crate::sample::count;

/// What a term has to be of the sum to matter, relative.
const NEGLIGIBLE: f64 = 1e-17;

/// How likely it is, where up and down are equally likely, that so many or more of the cases that changed went the same way
/// (two-sided). Cases that did not change say nothing, and are not counted.
///
/// After Conover, *Practical Nonparametric Statistics*, 3.4; as `scipy.stats.binomtest(up, up + down)`.
#[must_use]
pub fn sign_test(up: u64, down: u64) -> f64 {
    let (few, all) = (up.min(down), up.saturating_add(down));
    if few == all - few {
        return 1.0;
    }
    // The probability of `few`, and then of fewer and fewer, each from the one before.
    let mut term = (ln_binomial(all, few) - count(all) * std::f64::consts::LN_2).exp();
    let mut sum = term;
    for number in (1..=few).rev() {
        term *= count(number) / count(all - number + 1);
        sum += term;
        if term < sum * NEGLIGIBLE {
            break;
        }
    }
    (2.0 * sum).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_changed_is_no_evidence() {
        assert_eq!(sign_test(0, 0), 1.0);
        assert_eq!(sign_test(7, 7), 1.0);
    }

    #[test]
    fn known_values() {
        assert!((sign_test(0, 5) - 0.0625).abs() < 1e-15);
        assert!((sign_test(1, 9) - 0.021_484_375).abs() < 1e-15);
        assert_eq!(sign_test(9, 1), sign_test(1, 9));
    }

    #[test]
    fn a_million_cases_are_no_problem() {
        let probability = sign_test(499_000, 501_000);
        assert!((probability - 0.045_5).abs() < 1e-3, "{probability}");
        assert_eq!(sign_test(0, 1_000_000), 0.0);
    }
}
