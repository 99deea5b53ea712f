//! The repeats of one case, boiled down to their number, mean and variance.

/// The repeats of one case on one side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// How many repeats there are; at least one.
    pub trials: u64,
    /// Their mean.
    pub mean: f64,
    /// Their variance around it (divided by `trials - 1`); none where there is one repeat.
    pub variance: Option<f64>,
}

/// One case on both sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair {
    /// What it is compared with.
    pub baseline: Sample,
    /// What is judged.
    pub candidate: Sample,
}

impl Sample {
    /// Repeats that pass or fail; none where there are none.
    #[must_use]
    pub fn of_passes(trials: u64, passed: u64) -> Option<Self> {
        let passed = count(passed);
        Self::of_sums(trials, passed, passed)
    }

    /// Repeats of which the sum and the sum of squares are known; none where there are none.
    #[must_use]
    pub fn of_sums(trials: u64, sum: f64, sum_of_squares: f64) -> Option<Self> {
        if trials == 0 {
            return None;
        }
        let number = count(trials);
        let mean = sum / number;
        // Rounding may leave less than nothing.
        let spread = (sum_of_squares - mean * sum).max(0.0);
        let variance = (trials > 1).then(|| spread / (number - 1.0));
        Some(Self { trials, mean, variance })
    }
}

impl Pair {
    /// How much larger the candidate is.
    #[must_use]
    pub fn difference(&self) -> f64 {
        self.candidate.mean - self.baseline.mean
    }
}

/// A count as a number to calculate with; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "no run has more than a million trials")]
pub(crate) fn count(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_have_a_mean_and_a_variance() {
        let sample = Sample::of_passes(4, 1).unwrap();
        assert_eq!((sample.mean, sample.variance), (0.25, Some(0.25)));
        assert_eq!(Sample::of_passes(1, 1).unwrap().variance, None);
        assert_eq!(Sample::of_passes(0, 0), None);
    }

    #[test]
    fn sums_say_as_much_as_the_numbers() {
        let sample = Sample::of_sums(3, 6.0, 14.0).unwrap();
        assert_eq!((sample.mean, sample.variance), (2.0, Some(1.0)));
        assert_eq!(Sample::of_sums(2, 0.2, 0.02).unwrap().variance, Some(0.0));
    }
}
