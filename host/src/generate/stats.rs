//! What a generation took.

use std::time::Duration;

/// Times and counts of one call of [`run`](super::run::run), over all its jobs.
#[derive(Clone, Debug, Default)]
pub struct Timings {
    /// Prompt tokens that were computed (not those found in a session).
    pub prompt_tokens: usize,
    /// Time for them.
    pub prefill: Duration,
    /// From the start to the first chosen token.
    pub first_token: Option<Duration>,
    /// New tokens of all jobs.
    pub new_tokens: usize,
    /// Time between one token of a job and the next.
    pub intervals: Vec<Duration>,
    /// From the start to the end.
    pub total: Duration,
}

impl Timings {
    /// Prompt tokens per second.
    pub fn prompt_rate(&self) -> Option<f64> {
        rate(self.prompt_tokens, self.prefill)
    }

    /// New tokens per second after the first of each job, all jobs together.
    pub fn decode_rate(&self) -> Option<f64> {
        rate(self.intervals.len(), self.total.saturating_sub(self.prefill))
    }

    /// The interval that `percent` of all intervals do not exceed (nearest rank).
    pub fn interval_percentile(&self, percent: usize) -> Option<Duration> {
        percentile(&self.intervals, percent)
    }
}

fn rate(count: usize, time: Duration) -> Option<f64> {
    (count > 0 && !time.is_zero()).then(|| count as f64 / time.as_secs_f64())
}

/// The value that `percent` of all values do not exceed (nearest rank).
pub fn percentile(values: &[Duration], percent: usize) -> Option<Duration> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

/// Mean and sample standard deviation.
pub fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count.max(1.0);
    let square: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
    (mean, if values.len() > 1 { (square / (count - 1.0)).sqrt() } else { 0.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_nearest_ranks() {
        let values: Vec<Duration> = (1..=10).rev().map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Some(Duration::from_millis(5)));
        assert_eq!(percentile(&values, 99), Some(Duration::from_millis(10)));
        assert_eq!(percentile(&values[..1], 1), Some(Duration::from_millis(10)));
        assert_eq!(percentile(&[], 50), None);
    }

    #[test]
    fn mean_and_deviation_by_hand() {
        assert_eq!(mean_and_deviation(&[2.0, 4.0, 6.0]), (4.0, 2.0));
        assert_eq!(mean_and_deviation(&[3.0]), (3.0, 0.0));
    }

    #[test]
    fn rates_of_nothing_are_none() {
        let timings = Timings::default();
        assert_eq!((timings.prompt_rate(), timings.decode_rate()), (None, None));
    }
}
