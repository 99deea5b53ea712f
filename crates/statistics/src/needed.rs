//! How many more repeats it would take to see a difference that was hinted at.

use crate::sample::{Pair, count};

/// The normal distribution's 97.5 % and 80 % points added: a level of 5 %, two-sided, and a power of 80 %.
const POINTS: f64 = 1.959_964 + 0.841_621;
/// More repeats of each case than this are nobody's to ask for.
const REPEATS_MAX: f64 = 1_000.0;

/// About how many more repeats of each case, on both sides, would show the difference with a probability of 80 %, were it as
/// large as it now seems; none where more repeats would not help: there is no difference, or cases differ so much from each
/// other that it takes more cases.
///
/// The variance of the mean difference is that between cases over their number, and that of repeats over both numbers.
/// Where there is one repeat nothing is known about repeats, and all of the variance is taken for theirs.
#[must_use]
pub fn more_repeats(pairs: &[Pair]) -> Option<u64> {
    let cases = count(u64::try_from(pairs.len()).ok()?);
    if cases < 2.0 {
        return None;
    }
    let mean = pairs.iter().map(Pair::difference).sum::<f64>() / cases;
    let total = pairs.iter().map(|pair| (pair.difference() - mean).powi(2)).sum::<f64>() / (cases - 1.0);
    if mean == 0.0 || total == 0.0 {
        return None;
    }
    let repeats = pairs.iter().map(|pair| count(pair.baseline.trials.min(pair.candidate.trials))).sum::<f64>() / cases;
    let within = within(pairs).unwrap_or(total);
    // Both are estimates: what repeats explain may be more than there is.
    let between = (total - within).max(0.0);
    let allowed = (mean / POINTS).powi(2) * cases;
    if within == 0.0 || allowed <= between {
        return None;
    }
    let needed = within * repeats / (allowed - between);
    let more = (needed - repeats).ceil().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 1 to REPEATS_MAX")]
    (more <= REPEATS_MAX).then_some(more as u64)
}

/// The mean variance of a case's difference that its repeats explain; none where no case has repeats on both sides.
fn within(pairs: &[Pair]) -> Option<f64> {
    let known: Vec<f64> = pairs
        .iter()
        .filter_map(|pair| {
            let of = |sample: crate::Sample| Some(sample.variance? / count(sample.trials));
            Some(of(pair.baseline)? + of(pair.candidate)?)
        })
        .collect();
    let number = count(u64::try_from(known.len()).ok()?);
    (number > 0.0).then(|| known.iter().sum::<f64>() / number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Sample;

    fn pair(trials: u64, baseline: u64, candidate: u64) -> Pair {
        Pair {
            baseline: Sample::of_passes(trials, baseline).unwrap(),
            candidate: Sample::of_passes(trials, candidate).unwrap(),
        }
    }

    #[test]
    fn a_hint_among_flaky_cases_wants_repeats() {
        let pairs: Vec<Pair> = (0..20).map(|nth| pair(4, 2, if nth % 3 == 0 { 3 } else { 2 })).collect();
        assert!(more_repeats(&pairs).is_some_and(|more| (20..=40).contains(&more)), "{:?}", more_repeats(&pairs));
    }

    #[test]
    fn no_difference_and_cases_that_disagree_want_none() {
        assert_eq!(more_repeats(&[pair(4, 2, 2); 20]), None);
        let steady: Vec<Pair> = (0..20).map(|nth| if nth < 11 { pair(8, 0, 8) } else { pair(8, 8, 0) }).collect();
        assert_eq!(more_repeats(&steady), None, "these cases pass or fail for good");
        assert_eq!(more_repeats(&[pair(1, 0, 1)]), None);
    }

    #[test]
    fn the_smaller_the_difference_the_more_repeats() {
        let of = |changed: usize| -> Option<u64> {
            more_repeats(&(0..60).map(|nth| pair(4, 2, if nth < changed { 3 } else { 2 })).collect::<Vec<_>>())
        };
        let (small, large) = (of(6).unwrap(), of(12).unwrap());
        assert!(small > large, "{small} {large}");
    }
}
