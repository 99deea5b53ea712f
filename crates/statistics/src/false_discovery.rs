//! Many metrics at once: the more one looks at, the more differences are there by chance.

/// Each p-value raised so that of all that are below a level, no more than that share is there by chance, on average.
///
/// Benjamini and Hochberg, 1995; as `scipy.stats.false_discovery_control(method='bh')`.
#[must_use]
pub fn benjamini_hochberg(p_values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|one, other| p_values[*other].total_cmp(&p_values[*one]));
    let mut adjusted = vec![1.0; p_values.len()];
    let (mut least, mut rank, all) = (1.0_f64, p_values.len(), p_values.len());
    for place in order {
        #[expect(clippy::cast_precision_loss, reason = "there are a handful of metrics")]
        let raised = p_values[place] * all as f64 / rank as f64;
        least = least.min(raised);
        adjusted[place] = least;
        rank -= 1;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_metric_is_left_as_it_is() {
        assert_eq!(benjamini_hochberg(&[0.03]), [0.03]);
        assert!(benjamini_hochberg(&[]).is_empty());
    }

    #[test]
    fn a_smaller_value_never_becomes_the_larger_one() {
        let adjusted = benjamini_hochberg(&[0.04, 0.01, 0.03]);
        assert_eq!(adjusted, [0.04, 0.03, 0.04]);
    }
}
