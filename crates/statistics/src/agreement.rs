//! Whether people agree: Cohen's kappa of two raters, and Krippendorff's alpha of any number of them.

use std::collections::BTreeMap;

use crate::sample::count;

/// How much two raters agree beyond chance, of the categories that they gave to the same items: 1 is always, 0 is as by
/// chance. None where nothing was rated by both, or where both gave the same category to all, of which chance does as well.
///
/// Cohen, *A Coefficient of Agreement for Nominal Scales*, 1960.
#[must_use]
pub fn cohens_kappa<C: Ord>(pairs: &[(C, C)]) -> Option<f64> {
    let mut sides: BTreeMap<&C, (u64, u64)> = BTreeMap::new();
    let mut agreed = 0;
    for (one, other) in pairs {
        agreed += u64::from(one == other);
        sides.entry(one).or_default().0 += 1;
        sides.entry(other).or_default().1 += 1;
    }
    let items = count(u64::try_from(pairs.len()).ok().filter(|items| *items > 0)?);
    let observed = count(agreed) / items;
    let by_chance: f64 = sides.values().map(|(one, other)| count(*one) / items * (count(*other) / items)).sum();
    (by_chance < 1.0).then(|| (observed - by_chance) / (1.0 - by_chance))
}

/// How far apart two ratings are.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scale {
    /// The same or not.
    Nominal,
    /// The square of their difference.
    Interval,
}

/// How much any number of raters agree beyond chance: 1 is always, 0 is as by chance. Each item has the ratings that it
/// got, of which some may lack; categories are any numbers. None where no item has two ratings, or where all are the same.
///
/// Krippendorff, *Computing Krippendorff's Alpha-Reliability*, 2011.
#[must_use]
pub fn krippendorff_alpha(items: &[Vec<f64>], scale: Scale) -> Option<f64> {
    let paired: Vec<&Vec<f64>> = items.iter().filter(|ratings| ratings.len() > 1).collect();
    let all: Vec<f64> = paired.iter().flat_map(|ratings| ratings.iter().copied()).collect();
    let number = |len: usize| u64::try_from(len).map_or(f64::INFINITY, count);
    let within: f64 = paired.iter().map(|ratings| apart(ratings, scale) / (number(ratings.len()) - 1.0)).sum();
    let among = apart(&all, scale) / (number(all.len()) - 1.0);
    (!all.is_empty() && among > 0.0).then(|| 1.0 - within / among)
}

/// The distances of all ordered pairs of these ratings, added up.
fn apart(ratings: &[f64], scale: Scale) -> f64 {
    let number = u64::try_from(ratings.len()).map_or(f64::INFINITY, count);
    match scale {
        Scale::Interval => {
            // Around the mean, so that large numbers with small differences keep their digits.
            let mean = ratings.iter().sum::<f64>() / number;
            2.0 * number * ratings.iter().map(|rating| (rating - mean) * (rating - mean)).sum::<f64>()
        }
        Scale::Nominal => {
            let mut sorted = ratings.to_vec();
            sorted.sort_by(f64::total_cmp);
            let same = sorted.chunk_by(|one, other| one.total_cmp(other).is_eq());
            let alike: f64 = same.map(|run| u64::try_from(run.len()).map_or(f64::INFINITY, count).powi(2)).sum();
            number * number - alike
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agreement_of_two() {
        let pairs = |text: &str| -> Vec<(char, char)> {
            text.split(' ').map(|pair| (pair.chars().next().unwrap(), pair.chars().nth(1).unwrap())).collect()
        };
        assert_eq!(cohens_kappa(&pairs("aa bb aa bb")), Some(1.0));
        assert_eq!(cohens_kappa(&pairs("aa ab ba bb")), Some(0.0));
        assert_eq!(cohens_kappa(&pairs("ab ba")), Some(-1.0));
        assert_eq!(cohens_kappa(&pairs("aa aa")), None, "chance agrees as well");
        assert_eq!(cohens_kappa::<u8>(&[]), None);
    }

    #[test]
    fn what_only_one_rated_does_not_count() {
        let items = [vec![1.0, 1.0], vec![2.0, 2.0], vec![3.0]];
        assert_eq!(krippendorff_alpha(&items, Scale::Nominal), Some(1.0));
        assert_eq!(krippendorff_alpha(&items, Scale::Interval), Some(1.0));
        assert_eq!(krippendorff_alpha(&[vec![1.0], Vec::new()], Scale::Nominal), None);
        assert_eq!(krippendorff_alpha(&[vec![1.0, 1.0]], Scale::Interval), None, "all are the same");
    }
}
