//! A latency histogram of one worker's shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::proto;

use super::add;

/// The upper bounds shared by every histogram, in seconds and in nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    seconds: Arc<[f64]>,
    nanos: Arc<[u64]>,
}

impl Bounds {
    pub(super) fn new(seconds: &[f64]) -> Self {
        let nanos = seconds
            .iter()
            .map(|bound| (bound * 1e9).round() as u64)
            .collect();
        Self {
            seconds: seconds.into(),
            nanos,
        }
    }
}

/// One thread alone may observe, and any may read.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds: Bounds,
    /// Not cumulative; the last one is above every bound.
    buckets: Box<[AtomicU64]>,
    sum_nanos: AtomicU64,
}

impl Histogram {
    pub(super) fn new(bounds: &Bounds) -> Self {
        let buckets = (0..=bounds.nanos.len())
            .map(|_| AtomicU64::new(0))
            .collect();
        Self {
            bounds: bounds.clone(),
            buckets,
            sum_nanos: AtomicU64::new(0),
        }
    }

    pub(super) fn observe(&self, duration: Duration) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let bucket = self.bounds.nanos.partition_point(|bound| *bound < nanos);
        add(&self.buckets[bucket], 1);
        add(&self.sum_nanos, nanos);
    }

    /// The sum of the shards; none if nothing was observed, which keeps a scrape of many idle
    /// routes small.
    pub(super) fn total<'a>(shards: impl Iterator<Item = &'a Self>) -> Option<proto::Histogram> {
        let mut counts: Vec<u64> = Vec::new();
        let mut bounds: &[f64] = &[];
        let mut nanos = 0_u64;
        for shard in shards {
            bounds = &shard.bounds.seconds;
            counts.resize(shard.buckets.len(), 0);
            for (count, bucket) in counts.iter_mut().zip(&shard.buckets) {
                *count += bucket.load(Ordering::Relaxed);
            }
            nanos = nanos.wrapping_add(shard.sum_nanos.load(Ordering::Relaxed));
        }
        let samples: u64 = counts.iter().sum();
        (samples > 0).then(|| {
            let mut histogram = proto::Histogram::default();
            histogram.set_sample_count(samples);
            histogram.set_sample_sum(nanos as f64 / 1e9);
            histogram.set_bucket(cumulative(bounds, &counts));
            histogram
        })
    }
}

fn cumulative(bounds: &[f64], counts: &[u64]) -> Vec<proto::Bucket> {
    let mut below = 0;
    let bucket = |(bound, count): (&f64, &u64)| {
        below += count;
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(below);
        bucket
    };
    bounds.iter().zip(counts).map(bucket).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_add_up_and_a_bound_holds_its_own_value() {
        let bounds = Bounds::new(&[0.001, 0.01]);
        let (one, two) = (Histogram::new(&bounds), Histogram::new(&bounds));
        assert!(Histogram::total([&one, &two].into_iter()).is_none());
        one.observe(Duration::from_millis(1));
        two.observe(Duration::from_millis(2));
        two.observe(Duration::from_secs(1));
        let total = Histogram::total([&one, &two].into_iter()).unwrap();
        assert_eq!(total.get_sample_count(), 3);
        assert!((total.get_sample_sum() - 1.003).abs() < 1e-9);
        let counts: Vec<u64> = total
            .get_bucket()
            .iter()
            .map(|bucket| bucket.cumulative_count())
            .collect();
        assert_eq!(counts, [1, 2]);
    }
}
