//! Evidence that may be looked at after every trial, and that may end the trials, without being wrong more often for it.

use statrs::function::beta::ln_beta;

use crate::sample::count;

/// Half a trial of each kind: what is not known of a rate before there are trials, after Jeffreys.
const HALF: f64 = 0.5;

/// How strong the evidence is that up and down are not equally likely: the e-value of a mixture of all rates.
///
/// Where they are equally likely, the chance that it *ever* reaches `1 / alpha`, however often it is looked at and whenever
/// one stops, is at most `alpha` (Ville's inequality). The mixture is Beta(1/2, 1/2), as in Robbins, *Statistical methods
/// related to the law of the iterated logarithm*, 1970.
#[must_use]
pub fn sign_e_value(up: u64, down: u64) -> f64 {
    let all = up.saturating_add(down);
    let mixture = ln_beta(count(up) + HALF, count(down) + HALF) - ln_beta(HALF, HALF);
    (mixture + count(all) * std::f64::consts::LN_2).exp()
}

/// Two rates of success, and which of them some trials are of: Wald's sequential probability ratio test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TwoRates {
    high: f64,
    low: f64,
}

/// Which rate trials are of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leaning {
    /// The higher one, within the rate of errors that is allowed.
    High,
    /// The lower one, within the rate of errors that is allowed.
    Low,
    /// That can't be said yet.
    Open,
}

impl TwoRates {
    /// The rates that so many successes of so many trials speak for; none where the first is not the higher one.
    #[must_use]
    pub fn of(high: (u64, u64), low: (u64, u64)) -> Option<Self> {
        let rate = |(passed, trials): (u64, u64)| (count(passed) + HALF) / (count(trials) + 2.0 * HALF);
        let rates = Self { high: rate(high), low: rate(low) };
        (rates.high > rates.low).then_some(rates)
    }

    /// The logarithm of how many times as likely these trials are under the higher rate.
    #[must_use]
    pub fn log_ratio(&self, passed: u64, trials: u64) -> f64 {
        let failed = trials.saturating_sub(passed);
        count(passed) * (self.high / self.low).ln() + count(failed) * ((1.0 - self.high) / (1.0 - self.low)).ln()
    }

    /// Which rate these trials are of, wrong with a chance of about `error_rate` at most.
    #[must_use]
    pub fn leaning(&self, passed: u64, trials: u64, error_rate: f64) -> Leaning {
        let bound = ((1.0 - error_rate) / error_rate).ln();
        let ratio = self.log_ratio(passed, trials);
        if ratio >= bound {
            Leaning::High
        } else if ratio <= -bound {
            Leaning::Low
        } else {
            Leaning::Open
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths of a simulation.
    const PATHS: u64 = 4_000;
    /// Trials of each.
    const TRIALS: u64 = 400;

    /// Whether each trial of a path went up, of which so many per mille do (xorshift, seeded by the path).
    fn path(seed: u64, ups_per_mille: u64) -> impl Iterator<Item = bool> {
        let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        std::iter::from_fn(move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            Some((state >> 33) % 1_000 < ups_per_mille)
        })
    }

    /// The share of paths whose evidence ever reaches this, and the mean of trials that those took.
    fn reached(ups_per_mille: u64, e_value: f64) -> (f64, f64) {
        let (mut paths, mut trials) = (0, 0);
        for seed in 1..=PATHS {
            let (mut up, mut down) = (0, 0);
            for went_up in path(seed, ups_per_mille).take(usize::try_from(TRIALS).unwrap()) {
                if went_up {
                    up += 1
                } else {
                    down += 1
                }
                if sign_e_value(up, down) >= e_value {
                    paths += 1;
                    trials += up + down;
                    break;
                }
            }
        }
        (count(paths) / count(PATHS), count(trials) / count(paths.max(1)))
    }

    #[test]
    fn looking_all_the_time_is_wrong_no_more_often_than_allowed() {
        for alpha in [0.05, 0.01] {
            let (share, _) = reached(500, 1.0 / alpha);
            assert!(share <= alpha, "{share} of {alpha}");
        }
        // The exact test, looked at after every trial, would be wrong far more often: that is why it is not used for this.
        let peeking = (1..=PATHS).filter(|seed| {
            let (mut up, mut down) = (0, 0);
            path(*seed, 500).take(400).any(|went_up| {
                if went_up {
                    up += 1
                } else {
                    down += 1
                }
                crate::sign_test(up, down) < 0.05
            })
        });
        assert!(count(peeking.count() as u64) / count(PATHS) > 0.2);
    }

    #[test]
    fn a_difference_is_found_and_the_sooner_the_larger_it_is() {
        let (some, late) = reached(650, 20.0);
        let (all, soon) = reached(900, 20.0);
        assert!(some > 0.95 && all > 0.999, "{some} {all}");
        assert!(soon < late && soon < 20.0, "{soon} {late}");
    }

    #[test]
    fn known_values() {
        // Of one trial nothing follows, and five of five are 2^5 * B(5.5, 0.5) / B(0.5, 0.5) = 63/8.
        assert!((sign_e_value(0, 0) - 1.0).abs() < 1e-12);
        assert!((sign_e_value(1, 0) - 1.0).abs() < 1e-12);
        assert!((sign_e_value(5, 0) - 7.875).abs() < 1e-9);
        assert!(sign_e_value(500, 500) < 1.0);
    }

    #[test]
    fn trials_are_of_one_of_two_rates() {
        let rates = TwoRates::of((3, 3), (0, 3)).unwrap();
        assert_eq!(rates.leaning(1, 1, 0.05), Leaning::Open);
        assert_eq!(rates.leaning(2, 2, 0.05), Leaning::High);
        assert_eq!(rates.leaning(0, 2, 0.05), Leaning::Low);
        assert_eq!(rates.leaning(10, 20, 0.05), Leaning::Open);
        assert!((rates.log_ratio(1, 2)).abs() < 1e-12, "one of each says nothing of mirrored rates");
        assert_eq!(TwoRates::of((1, 3), (1, 3)), None);
        assert_eq!(TwoRates::of((0, 3), (3, 3)), None);
        // Of rates that are near to each other more has to be seen.
        let near = TwoRates::of((8, 10), (4, 10)).unwrap();
        assert_eq!(near.leaning(2, 2, 0.05), Leaning::Open);
        assert_eq!(near.leaning(12, 12, 0.05), Leaning::High);
    }
}
