//! What a listener would say: the E-model (ITU-T G.107) with its default values.
//!
//! `R = 93.2 - Idd - Ie,eff`: noise and levels cost nothing beyond the defaults, echo is taken as
//! cancelled, delay and lost packets are what is left.

use std::time::Duration;

/// Ro - Is with all parameters at their defaults.
const BEST: f64 = 93.2;
/// Equipment impairment of G.711 (G.113 table I.1).
const CODEC: f64 = 0.0;
/// Packet-loss robustness of G.711 without concealment (G.113 table I.4), for random loss.
const ROBUSTNESS: f64 = 4.3;

/// The rating R, 0 to 100, for a delay from mouth to ear and a share of lost packets (0 to 1).
pub fn rating(delay: Duration, lost: f64) -> f64 {
    BEST - delay_impairment(delay) - loss_impairment(lost)
}

/// The mean opinion score (MOS-CQE), 1 to 4.5, that a rating stands for (G.107 annex B).
pub fn mos(rating: f64) -> f64 {
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

/// Idd: nothing up to 100 ms, then what conversation suffers.
fn delay_impairment(delay: Duration) -> f64 {
    let x = (delay.as_secs_f64() / 0.1).log2();
    let sixth = |value: f64| (1.0 + value.powi(6)).powf(1.0 / 6.0);
    if x <= 0.0 { 0.0 } else { 25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0) }
}

/// Ie,eff with a burst ratio of 1.
fn loss_impairment(lost: f64) -> f64 {
    let percent = 100.0 * lost.clamp(0.0, 1.0);
    CODEC + (95.0 - CODEC) * percent / (percent + ROBUSTNESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, by: f64) {
        assert!((found - expected).abs() <= by, "{found} instead of {expected}");
    }

    #[test]
    fn scores_are_those_of_annex_b() {
        for (rating, expected) in [(93.2, 4.41), (90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            near(mos(rating), expected, 0.01);
        }
        assert_eq!((mos(-5.0), mos(0.0), mos(100.0)), (1.0, 1.0, 4.5));
    }

    /// Idd at one, two and log2(3) doublings of 100 ms, worked out by hand from equation 7-27.
    #[test]
    fn delay_costs_nothing_up_to_100_ms() {
        for (ms, cost) in [(0, 0.0), (20, 0.0), (100, 0.0), (200, 3.04), (300, 14.77), (400, 24.07)] {
            near(BEST - rating(Duration::from_millis(ms), 0.0), cost, 0.05);
        }
    }

    /// 95 * Ppl / (Ppl + 4.3): as many percent lost as the robustness costs half of 95.
    #[test]
    fn lost_packets_cost_more_than_anything() {
        for (lost, cost) in [(0.0, 0.0), (0.01, 17.92), (0.043, 47.5), (1.0, 91.08)] {
            near(BEST - rating(Duration::ZERO, lost), cost, 0.01);
        }
    }
}
