//! What a listener would say: the E-model (ITU-T G.107) from what RTP and RTCP tell.
//!
//! `R = 93.2 - Idd - Ie,eff`: levels and noise are the recommendation's defaults, echo is taken as cancelled; delay,
//! codec and lost packets are what is left. A leg is rated by itself, each way, as if its listener sat at its end. What comes
//! to us waits as long as it really does: not at all where packets are only passed on. Of the peer's telephone that is
//! not known ([`wait`]).

use std::time::Duration;

use crate::session::{Codec, Mos};

/// Ro - Is with all parameters at their defaults.
const BEST: f64 = 93.2;

/// What a codec does to sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Equipment {
    /// Ie: its impairment while nothing is lost.
    pub impairment: f64,
    /// Bpl: the percentage of random loss that costs half of what is left.
    pub robustness: f64,
}

impl Equipment {
    /// G.711 whose lost packets are silence (G.113 appendix I).
    pub const SILENT: Equipment = Equipment { impairment: 0.0, robustness: 4.3 };
    /// G.711 whose lost packets are concealed (G.113 appendix I, with G.711 appendix I).
    pub const CONCEALED: Equipment = Equipment { impairment: 0.0, robustness: 25.1 };

    /// As it is heard of a telephone of today, which conceals. G.113 has no figures on the narrowband scale for G.722
    /// and Opus: being no worse than G.711 over a good line, and concealed as well as it over a bad one, they count as it.
    pub fn of(codec: Codec) -> Equipment {
        match codec {
            Codec::Opus | Codec::G722 | Codec::Pcmu | Codec::Pcma => Equipment::CONCEALED,
        }
    }
}

/// Sound ahead of what it codes that a codec waits for.
fn look_ahead(codec: Codec) -> Duration {
    match codec {
        // RFC 6716 section 2.1.5 with 2.5 ms of overlap; the filters of G.722 (clause 2.5).
        Codec::Opus => Duration::from_micros(6500),
        Codec::G722 => Duration::from_micros(1500),
        Codec::Pcmu | Codec::Pcma => Duration::ZERO,
    }
}

/// Packets that did not arrive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    /// Of all packets, 0 to 1.
    pub share: f64,
    /// BurstR: how much longer the gaps are than chance makes them; 1 is chance.
    pub burst_ratio: f64,
}

impl Loss {
    /// Lost by chance.
    pub fn random(share: f64) -> Loss {
        Loss { share, burst_ratio: 1.0 }
    }

    /// Counted: packets that came, and packets that did not, in how many gaps (0: not known).
    pub fn counted(received: u64, lost: u64, gaps: u64) -> Loss {
        let share = if lost == 0 { 0.0 } else { lost as f64 / (received + lost) as f64 };
        let mean_gap = if gaps == 0 { 1.0 } else { lost as f64 / gaps as f64 };
        // Chance makes gaps of 1 / (1 - share) packets.
        Loss { share, burst_ratio: (mean_gap * (1.0 - share)).clamp(1.0, 8.0) }
    }
}

/// One way of a leg, as measured.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    /// What is spoken.
    pub codec: Codec,
    /// Sound in a packet.
    pub packet: Duration,
    /// There and back; zero when not known.
    pub round_trip: Duration,
    /// For how long sound is kept back where it arrives, so that it can be heard evenly.
    pub wait: Duration,
    /// Packets that did not arrive.
    pub loss: Loss,
}

impl Path {
    /// From the speaker's mouth to a listener at the other end of this leg.
    pub fn delay(&self) -> Duration {
        self.packet + look_ahead(self.codec) + self.round_trip / 2 + self.wait
    }

    /// Its score.
    pub fn mos(&self) -> Mos {
        Mos::new(mos(rating(self.delay(), self.loss, Equipment::of(self.codec))))
    }
}

/// How long a telephone keeps sound back, as is usual: a packet and twice the jitter.
pub fn wait(packet: Duration, jitter: Duration) -> Duration {
    packet + 2 * jitter
}

/// The rating R, 0 to 100, for a delay from mouth to ear.
pub fn rating(delay: Duration, loss: Loss, equipment: Equipment) -> f64 {
    (BEST - delay_impairment(delay) - loss_impairment(loss, equipment)).clamp(0.0, 100.0)
}

/// The mean opinion score (MOS-CQE), 1 to 4.5, that a rating stands for (G.107 annex B).
pub fn mos(rating: f64) -> f64 {
    let r = rating.clamp(0.0, 100.0);
    (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
}

/// Idd (equation 7-27): nothing up to 100 ms, then what conversation suffers.
fn delay_impairment(delay: Duration) -> f64 {
    let x = (delay.as_secs_f64() / 0.1).log2();
    let sixth = |value: f64| (1.0 + value.powi(6)).powf(1.0 / 6.0);
    if x <= 0.0 { 0.0 } else { 25.0 * (sixth(x) - 3.0 * sixth(x / 3.0) + 2.0) }
}

/// Ie,eff (equation 7-29).
fn loss_impairment(loss: Loss, Equipment { impairment, robustness }: Equipment) -> f64 {
    let percent = 100.0 * loss.share.clamp(0.0, 1.0);
    impairment + (95.0 - impairment) * percent / (percent / loss.burst_ratio.max(1.0) + robustness)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, expected: f64, by: f64) {
        assert!((found - expected).abs() <= by, "{found} instead of {expected}");
    }

    /// The impairment of a share of loss.
    fn cost(loss: Loss, equipment: Equipment) -> f64 {
        BEST - rating(Duration::ZERO, loss, equipment)
    }

    #[test]
    fn scores_are_those_of_annex_b() {
        for (rating, expected) in [(93.2, 4.41), (90.0, 4.34), (80.0, 4.03), (70.0, 3.60), (60.0, 3.10), (50.0, 2.58)] {
            near(mos(rating), expected, 0.01);
        }
        assert_eq!((mos(-5.0), mos(0.0), mos(100.0)), (1.0, 1.0, 4.5));
        near(mos(rating(Duration::ZERO, Loss::random(0.0), Equipment::SILENT)), 4.41, 0.005);
    }

    /// Idd at one, two and log2(3) doublings of 100 ms, worked out by hand from equation 7-27.
    #[test]
    fn delay_costs_nothing_up_to_100_ms() {
        for (ms, cost) in [(0, 0.0), (20, 0.0), (100, 0.0), (200, 3.04), (300, 14.77), (400, 24.07)] {
            let rating = rating(Duration::from_millis(ms), Loss::random(0.0), Equipment::SILENT);
            near(BEST - rating, cost, 0.05);
        }
    }

    /// 95 * Ppl / (Ppl + 4.3): as many percent lost as the robustness costs half of 95.
    #[test]
    fn lost_packets_cost_more_than_anything() {
        for (lost, expected) in [(0.0, 0.0), (0.01, 17.92), (0.043, 47.5), (1.0, 91.08)] {
            near(cost(Loss::random(lost), Equipment::SILENT), expected, 0.01);
        }
    }

    /// The listening tests that the formula stands for: Ie of concealed G.711 at a percentage of random loss in the
    /// tables of G.113 before it.
    #[test]
    fn concealment_saves_what_g_113_found() {
        for (percent, expected) in
            [(0.0, 0.0), (1.0, 5.0), (2.0, 7.0), (3.0, 10.0), (5.0, 15.0), (7.0, 20.0), (10.0, 25.0)]
        {
            near(cost(Loss::random(percent / 100.0), Equipment::CONCEALED), expected, 2.1);
        }
    }

    #[test]
    fn bursts_cost_more_than_chance() {
        let chance = Loss::counted(98, 2, 2);
        let bursts = Loss::counted(95, 5, 1);
        assert_eq!(chance, Loss::random(0.02));
        near(bursts.burst_ratio, 4.75, 1e-9);
        near(cost(chance, Equipment::CONCEALED), 95.0 * 2.0 / 27.1, 1e-9);
        near(cost(bursts, Equipment::CONCEALED), 95.0 * 5.0 / (5.0 / 4.75 + 25.1), 1e-9);
        assert_eq!(Loss::counted(0, 0, 0), Loss::random(0.0));
    }

    #[test]
    fn a_good_leg_scores_what_the_codec_can() {
        let path = |codec, loss, round_trip, jitter| Path {
            codec,
            packet: Duration::from_millis(20),
            round_trip: Duration::from_millis(round_trip),
            wait: wait(Duration::from_millis(20), Duration::from_millis(jitter)),
            loss: Loss::random(loss),
        };
        let good = path(Codec::Pcmu, 0.0, 10, 1);
        assert_eq!((good.delay(), good.mos()), (Duration::from_millis(47), Mos::new(4.41)));
        assert_eq!(path(Codec::Opus, 0.0, 0, 0).delay(), Duration::from_micros(46_500));
        assert!(path(Codec::Pcma, 0.05, 10, 1).mos() < Mos::new(4.1));
        assert!(path(Codec::Pcma, 0.0, 600, 50).mos() < Mos::new(3.6));
    }
}
