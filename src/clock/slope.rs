//! How fast one clock gains on another: the line through the last differences (least squares).

use std::collections::VecDeque;
use std::time::Duration;

use jiff::SignedDuration;

use crate::time::Instant;

/// Differences that count.
const POINTS: usize = 64;

/// The last differences of two clocks.
#[derive(Clone, Debug)]
pub struct Slope {
    /// Differences closer than this to the last one are passed over.
    pace: Duration,
    /// Nothing is said before this much time is seen.
    span: Duration,
    points: VecDeque<(Instant, SignedDuration)>,
}

impl Slope {
    /// Nothing seen yet.
    pub fn new(pace: Duration, span: Duration) -> Slope {
        Slope { pace, span, points: VecDeque::with_capacity(POINTS) }
    }

    /// Another difference.
    pub fn push(&mut self, at: Instant, difference: SignedDuration) {
        if self.points.back().is_some_and(|(last, _)| at.since(*last) < self.pace) {
            return;
        }
        if self.points.len() == POINTS {
            self.points.pop_front();
        }
        self.points.push_back((at, difference));
    }

    /// Begins anew: one of the clocks was set.
    pub fn forget(&mut self) {
        self.points.clear();
    }

    /// Parts per million, positive while the difference grows.
    pub fn ppm(&self) -> Option<f64> {
        let ((first, zero), (last, _)) = (self.points.front()?, self.points.back()?);
        if last.since(*first) < self.span {
            return None;
        }
        let count = self.points.len() as f64;
        let point = |(at, difference): &(Instant, SignedDuration)| {
            (at.since(*first).as_secs_f64(), (*difference - *zero).as_secs_f64())
        };
        let (mut x_sum, mut y_sum) = (0.0, 0.0);
        for (x, y) in self.points.iter().map(point) {
            (x_sum, y_sum) = (x_sum + x, y_sum + y);
        }
        let (x_mean, y_mean) = (x_sum / count, y_sum / count);
        let (mut both, mut square) = (0.0, 0.0);
        for (x, y) in self.points.iter().map(point) {
            (both, square) = (both + (x - x_mean) * (y - y_mean), square + (x - x_mean).powi(2));
        }
        Some(both / square * 1e6)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slope_is_that_of_the_last_points() {
        let mut slope = Slope::new(Duration::from_secs(4), Duration::from_secs(16));
        let at = |second: u64| Instant::at(Duration::from_secs(second));
        for second in 0..16 {
            slope.push(at(second), SignedDuration::from_micros(500 * second as i64));
            assert_eq!(slope.ppm(), None);
        }
        // Gains 500 µs a second, a little shaky; after 400 s it loses 20.
        let shaky =
            |second: u64, gain: i64| SignedDuration::from_micros(gain * second as i64 + (second % 3) as i64 * 10);
        (16..400).for_each(|second| slope.push(at(second), shaky(second, 500)));
        assert!((slope.ppm().unwrap() - 500.0).abs() < 1.0, "{:?}", slope.ppm());
        slope.forget();
        assert_eq!(slope.ppm(), None);
        (400..1400).for_each(|second| slope.push(at(second), shaky(second, -20)));
        assert!((slope.ppm().unwrap() + 20.0).abs() < 1.0, "{:?}", slope.ppm());
    }
}
