//! The paired permutation test: were the two sides the same, each case's difference could as well have the other sign.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::Rng;
use statrs::function::erf::erfc;

use crate::sample::count;

/// Up to so many differences all signs are tried: 65,536 of them.
const EXACT_MAX: usize = 16;
/// From so many differences on, their sum is as good as normally distributed.
const NORMAL_MIN: usize = 4_096;
/// Signs that are drawn between the two.
const DRAWS: u32 = 20_000;
/// The draws are the same each time.
const SEED: u128 = 0x0070_6373_5f73_7461_7469_7374_6963_7321;
/// Sums that differ by less than this, relative to the largest possible, are the same: their order may differ.
const SAME: f64 = 1e-12;

/// How likely it is, were the two sides the same, that the differences' mean is as far from 0 as it is, or farther
/// (two-sided).
///
/// Exact for up to 16 differences other than 0 (as `scipy.stats.permutation_test(permutation_type='samples')`), by 20,000 draws
/// below 4,096, and by the normal distribution beyond. Differences must be finite.
#[must_use]
pub fn sign_flip_test(differences: &[f64]) -> f64 {
    // A 0 is 0 with either sign.
    let changed: Vec<f64> = differences.iter().copied().filter(|difference| *difference != 0.0).collect();
    let largest: f64 = changed.iter().map(|difference| difference.abs()).sum();
    if changed.is_empty() || largest == 0.0 {
        return 1.0;
    }
    let least = changed.iter().sum::<f64>().abs() - largest * SAME;
    if changed.len() <= EXACT_MAX {
        exact(&changed, least)
    } else if changed.len() < NORMAL_MIN {
        drawn(&changed, least)
    } else {
        normal(&changed)
    }
}

fn exact(changed: &[f64], least: f64) -> f64 {
    let signs = 1_u32 << changed.len();
    let far = (0..signs).filter(|signs| sum(changed, u64::from(*signs)).abs() >= least).count();
    count(u64::try_from(far).unwrap_or(u64::MAX)) / f64::from(signs)
}

fn drawn(changed: &[f64], least: f64) -> f64 {
    let mut random = Pcg64Mcg::new(SEED);
    let mut far = 0_u32;
    for _ in 0..DRAWS {
        let total: f64 = changed.chunks(64).map(|chunk| sum(chunk, random.next_u64())).sum();
        far += u32::from(total.abs() >= least);
    }
    // What was seen is one of the draws: an estimate of 0 would be more than is known.
    f64::from(far + 1) / f64::from(DRAWS + 1)
}

fn normal(changed: &[f64]) -> f64 {
    let sum: f64 = changed.iter().sum();
    let squares: f64 = changed.iter().map(|difference| difference * difference).sum();
    erfc(sum.abs() / (2.0 * squares).sqrt())
}

/// The sum with the signs of the differences whose bits are set turned round.
fn sum(changed: &[f64], signs: u64) -> f64 {
    changed
        .iter()
        .enumerate()
        .map(|(bit, difference)| if signs >> bit & 1 == 1 { -difference } else { *difference })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_differences_there_is_no_evidence() {
        assert_eq!(sign_flip_test(&[]), 1.0);
        assert_eq!(sign_flip_test(&[0.0; 5]), 1.0);
        assert_eq!(sign_flip_test(&[1.0, -1.0]), 1.0);
    }

    #[test]
    fn few_differences_are_judged_exactly() {
        assert_eq!(sign_flip_test(&[0.1; 5]), 2.0 / 32.0);
        assert_eq!(sign_flip_test(&[0.1, 0.1, 0.1, 0.1, 0.1, 0.0]), 2.0 / 32.0);
    }

    #[test]
    fn the_ways_of_judging_agree_where_they_meet() {
        let differences = |len: u32| -> Vec<f64> {
            (0..len).map(|nth| f64::from(nth % 7) - 2.85 + f64::from(nth % 3) * 0.01).collect()
        };
        let few = differences(16);
        let least = few.iter().sum::<f64>().abs();
        assert!((exact(&few, least) - drawn(&few, least)).abs() < 0.01);
        let many = differences(3_000);
        let least = many.iter().sum::<f64>().abs();
        assert!((normal(&many) - drawn(&many, least)).abs() < 0.01, "{} {}", normal(&many), drawn(&many, least));
    }

    #[test]
    fn the_same_data_have_the_same_answer() {
        let differences: Vec<f64> = (0..100).map(|nth| f64::from(nth % 5) - 1.9).collect();
        assert_eq!(sign_flip_test(&differences), sign_flip_test(&differences));
    }
}
