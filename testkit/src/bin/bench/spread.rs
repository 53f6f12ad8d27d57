//! Several measurements of one thing.

/// The middle one and the extremes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// None of nothing.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values = sorted(values);
        Some(Self {
            median: quantile(&values, 0.5)?,
            min: *values.first()?,
            max: *values.last()?,
        })
    }
}

/// The smallest of the sorted values that at least this share does not exceed.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are at most thousands of values, and the share is within 0 and 1"
)]
pub(crate) fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

/// Where the median of the whole lies that these sorted values are a sample of,
/// in 95 of 100 cases and however they are distributed. None for too few.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "there are at most thousands of values"
)]
pub(crate) fn median_interval(sorted: &[f64]) -> Option<(f64, f64)> {
    // How many of them are below the median is binomial: n/2, and 1.96 standard
    // deviations of sqrt(n)/2 to either side.
    let count = sorted.len() as f64;
    let below = ((count - 1.96 * count.sqrt()) / 2.0).floor();
    if below < 1.0 {
        return None;
    }
    let below = below as usize;
    let low = *sorted.get(below - 1)?;
    let high = *sorted.get(sorted.len() - below)?;
    Some((low, high))
}

/// What the one exceeds the other by, in each pair, sorted.
pub(crate) fn differences(these: &[f64], those: &[f64]) -> Vec<f64> {
    let pairs = these.iter().zip(those);
    sorted(pairs.map(|(this, that)| this - that))
}

pub(crate) fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_and_the_ends_are_found_in_any_order() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.0, 3.0));
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn a_quantile_is_one_of_the_values() {
        let values: Vec<f64> = (1..=50).map(f64::from).collect();
        assert_eq!(quantile(&values, 0.5), Some(25.0));
        assert_eq!(quantile(&values, 0.99), Some(50.0));
        assert_eq!(quantile(&[7.0], 0.5), Some(7.0));
    }

    /// The ranks are those of the tables, 40 and 61 of 100.
    #[test]
    fn the_median_lies_within_the_interval_and_few_values_have_none() {
        let values: Vec<f64> = (1..=100).map(f64::from).collect();
        assert_eq!(median_interval(&values), Some((40.0, 61.0)));
        assert_eq!(median_interval(&[1.0; 6]), None);
        assert_eq!(median_interval(&[]), None);
    }

    #[test]
    fn differences_are_taken_within_pairs() {
        let found = differences(&[5.0, 1.0, 9.0], &[2.0, 2.0, 2.0]);
        assert_eq!(found, [-1.0, 3.0, 7.0]);
    }
}
