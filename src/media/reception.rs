//! What comes from one side, counted as RFC 3550 appendix A says: sequence (A.1), loss (A.3),
//! jitter (A.8).

use crate::session::Codec;
use crate::time::Instant;
use crate::wire::rtcp::Block;

/// A step forward beyond which a source has begun anew (appendix A.1: MAX_DROPOUT).
const DROPOUT: u16 = 3000;
/// A step back within which a packet is only late (appendix A.1: MAX_MISORDER).
const MISORDER: u16 = 100;

/// The source heard now, and the losses of those before it.
#[derive(Clone, Copy, Debug)]
pub struct Reception {
    clock_rate: u32,
    source: Option<Source>,
    lost_before: u64,
    gaps: u64,
}

impl Default for Reception {
    fn default() -> Reception {
        Reception { clock_rate: Codec::Pcmu.clock_rate(), source: None, lost_before: 0, gaps: 0 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Source {
    ssrc: u32,
    base: u16,
    /// With cycles in the upper 16 bits.
    highest: u32,
    received: u32,
    /// The one that would confirm that the source began anew.
    doubt: Option<u16>,
    expected_before: u32,
    received_before: u32,
    transit: Option<u32>,
    /// Scaled by 16.
    jitter: u32,
}

/// How a packet stands to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// In its source's order, early or late.
    Expected,
    /// The first of a source, or of one that began anew.
    First,
    /// Far from its source's order: only the next one tells.
    Doubtful,
}

impl Reception {
    /// Timestamps from now on count at this rate, in Hz.
    pub fn count_at(&mut self, clock_rate: u32) {
        if clock_rate == self.clock_rate {
            return;
        }
        if let Some(source) = &mut self.source {
            source.transit = None;
            source.jitter = scaled(source.jitter, clock_rate, self.clock_rate);
        }
        self.clock_rate = clock_rate;
    }

    /// Counts a packet.
    pub fn packet(&mut self, ssrc: u32, sequence: u16) -> Arrival {
        let Some(source) = self.source.as_mut().filter(|source| source.ssrc == ssrc) else {
            return self.begin(ssrc, sequence);
        };
        let step = sequence.wrapping_sub(source.highest as u16);
        if step >= DROPOUT && step < MISORDER.wrapping_neg() {
            if source.doubt == Some(sequence) {
                return self.begin(ssrc, sequence);
            }
            source.doubt = Some(sequence.wrapping_add(1));
            return Arrival::Doubtful;
        }
        if step < DROPOUT {
            self.gaps += u64::from(step > 1);
            source.highest = source.highest.wrapping_add(u32::from(step));
        }
        source.received = source.received.wrapping_add(1);
        Arrival::Expected
    }

    fn begin(&mut self, ssrc: u32, sequence: u16) -> Arrival {
        self.lost_before = self.lost();
        self.source = Some(Source {
            ssrc,
            base: sequence,
            highest: u32::from(sequence),
            received: 1,
            doubt: None,
            expected_before: 0,
            received_before: 0,
            transit: None,
            jitter: 0,
        });
        Arrival::First
    }

    /// Takes the arrival of a sound packet into the jitter.
    pub fn timing(&mut self, timestamp: u32, now: Instant) {
        let Some(source) = &mut self.source else { return };
        let arrival = (now.since_start().as_micros() as u64 * u64::from(self.clock_rate) / 1_000_000) as u32;
        let transit = arrival.wrapping_sub(timestamp);
        if let Some(before) = source.transit.replace(transit) {
            let change = (transit.wrapping_sub(before) as i32).unsigned_abs();
            let forgotten = source.jitter.saturating_add(8) >> 4;
            source.jitter = source.jitter.saturating_add(change).saturating_sub(forgotten);
        }
    }

    /// Packets missing so far, of all sources.
    pub fn lost(&self) -> u64 {
        let now = self.source.map_or(0, |source| i64::from(source.lost()).max(0));
        self.lost_before + now.unsigned_abs()
    }

    /// How often packets in a row were missing, of all sources; one that came late leaves its gap counted.
    pub fn gaps(&self) -> u64 {
        self.gaps
    }

    /// Jitter in microseconds.
    pub fn jitter_us(&self) -> u32 {
        self.source.map_or(0, |source| scaled(source.jitter >> 4, 1_000_000, self.clock_rate))
    }

    /// The report block of the source heard now, without the times of its own reports. Begins a new
    /// interval for the loss fraction.
    pub fn block(&mut self) -> Option<Block> {
        let source = self.source.as_mut()?;
        let expected = source.expected();
        let interval = expected.wrapping_sub(source.expected_before);
        let received = source.received.wrapping_sub(source.received_before);
        (source.expected_before, source.received_before) = (expected, source.received);
        let fraction = match interval.checked_sub(received) {
            Some(lost) if interval > 0 => (u64::from(lost) * 256 / u64::from(interval)).min(255) as u8,
            _ => 0,
        };
        Some(Block {
            ssrc: source.ssrc,
            fraction,
            lost: source.lost(),
            highest: source.highest,
            jitter: source.jitter >> 4,
            ..Block::default()
        })
    }
}

/// A count of `from` a second as a count of `to` a second.
fn scaled(count: u32, to: u32, from: u32) -> u32 {
    (u64::from(count) * u64::from(to) / u64::from(from.max(1))).try_into().unwrap_or(u32::MAX)
}

impl Source {
    fn expected(&self) -> u32 {
        self.highest.wrapping_sub(u32::from(self.base)).wrapping_add(1)
    }

    fn lost(&self) -> i32 {
        self.expected().wrapping_sub(self.received) as i32
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::random::Random;

    fn hear(reception: &mut Reception, ssrc: u32, sequences: &[u16]) -> Vec<Arrival> {
        sequences.iter().map(|sequence| reception.packet(ssrc, *sequence)).collect()
    }

    #[test]
    fn loss_is_counted_over_the_wrap_and_by_interval() {
        let mut reception = Reception::default();
        hear(&mut reception, 1, &[65533, 65534, 65535, 1, 2, 0]);
        assert_eq!(reception.lost(), 0, "the late one came");
        hear(&mut reception, 1, &[5, 6]);
        assert_eq!(reception.lost(), 2);
        let block = reception.block().unwrap();
        assert_eq!((block.ssrc, block.fraction, block.lost, block.highest), (1, 51, 2, 0x1_0006));
        hear(&mut reception, 1, &[7, 8, 9, 11]);
        let block = reception.block().unwrap();
        assert_eq!((block.fraction, block.lost), (51, 3), "one of five");
        assert_eq!(reception.block().unwrap().fraction, 0, "nothing since");
    }

    #[test]
    fn losses_stay_when_the_source_changes() {
        let mut reception = Reception::default();
        hear(&mut reception, 1, &[1, 3]);
        assert_eq!(hear(&mut reception, 2, &[900, 901]), [Arrival::First, Arrival::Expected]);
        assert_eq!(reception.lost(), 1);
    }

    #[test]
    fn a_source_that_begins_anew_must_prove_it_twice() {
        let mut reception = Reception::default();
        hear(&mut reception, 1, &[1, 2]);
        assert_eq!(
            hear(&mut reception, 1, &[30_000, 3, 40_000, 40_001, 40_002]),
            [Arrival::Doubtful, Arrival::Expected, Arrival::Doubtful, Arrival::First, Arrival::Expected]
        );
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn jitter_is_that_of_the_arrivals() {
        let mut reception = Reception::default();
        for packet in 0..1000u32 {
            reception.packet(1, packet as u16);
            let late = if packet % 2 == 0 { 0 } else { 4 };
            reception
                .timing(packet.wrapping_mul(160), Instant::at(Duration::from_millis(u64::from(packet) * 20 + late)));
        }
        assert!((3800..=4000).contains(&reception.jitter_us()), "{}", reception.jitter_us());
    }

    #[test]
    fn jitter_counts_at_the_codecs_rate_and_outlives_a_change_of_it() {
        let mut reception = Reception::default();
        reception.count_at(48_000);
        let hear = |reception: &mut Reception, packet: u32, rate: u32| {
            reception.packet(1, packet as u16);
            let (late, due) = (if packet.is_multiple_of(2) { 0 } else { 4 }, u64::from(packet) * 20);
            reception.timing(packet.wrapping_mul(rate / 50), Instant::at(Duration::from_millis(due + late)));
        };
        (0..1000).for_each(|packet| hear(&mut reception, packet, 48_000));
        assert!((3800..=4000).contains(&reception.jitter_us()), "{}", reception.jitter_us());
        assert!((182..=192).contains(&reception.block().unwrap().jitter), "4 ms in 48ths of a ms");
        reception.count_at(8000);
        (1000..1002).for_each(|packet| hear(&mut reception, packet, 8000));
        assert!((3600..=4000).contains(&reception.jitter_us()), "{}", reception.jitter_us());
    }

    /// A link as it really is, and what is said of it.
    #[derive(Clone, Copy, Debug)]
    struct Link {
        /// Of all packets.
        lost: f64,
        /// Given that the one before was lost.
        lost_again: f64,
        /// Delays are anything from 0 to this.
        jitter_ms: u64,
        clock_rate: u32,
    }

    /// Sends packets over the link; those that arrive, in the order of their arrival, with the time in microseconds.
    fn sent_over(link: Link, packets: u32, random: &mut Random) -> Vec<(u64, u32)> {
        let mut gone = false;
        let mut arrivals = Vec::new();
        for packet in 0..packets {
            let chance = if gone { link.lost_again } else { link.lost };
            gone = (random.below(1_000_000) as f64) < chance * 1e6;
            let delay = random.below(link.jitter_ms * 1000 + 1);
            if !gone {
                arrivals.push((u64::from(packet) * 20_000 + delay, packet));
            }
        }
        arrivals.sort_unstable();
        arrivals
    }

    #[test]
    fn reports_say_what_a_link_does() {
        let links = [(0.0, 0.0), (0.01, 0.01), (0.05, 0.5), (0.3, 0.3)].into_iter().flat_map(|(lost, lost_again)| {
            [(0, 8000), (5, 8000), (12, 48_000), (70, 8000), (70, 48_000)].map(|(jitter_ms, clock_rate)| Link {
                lost,
                lost_again,
                jitter_ms,
                clock_rate,
            })
        });
        for (seed, link) in links.enumerate() {
            let mut random = Random::test(seed as u64);
            let first = random.u64() as u16;
            let arrivals = sent_over(link, 5000, &mut random);
            let mut reception = Reception::default();
            reception.count_at(link.clock_rate);
            let (mut highest, mut base, mut before) = (0, None, (0, 0));
            let (mut transit, mut jitter) = (None, 0.0);
            for (count, (at, packet)) in arrivals.iter().enumerate() {
                reception.packet(7, first.wrapping_add(*packet as u16));
                let timestamp = packet.wrapping_mul(link.clock_rate / 50).wrapping_add(0xffff_0000);
                reception.timing(timestamp, Instant::at(Duration::from_micros(*at)));
                highest = highest.max(*packet);
                let base = *base.get_or_insert(*packet);
                // Jitter as RFC 3550 section 6.4.1 defines it, in microseconds.
                let now = *at as f64 - f64::from(*packet) * 20_000.0;
                if let Some(then) = transit.replace(now) {
                    jitter += (f64::abs(now - then) - jitter) / 16.0;
                }
                if count % 250 == 249 {
                    let block = reception.block().unwrap();
                    let (expected, received) = (highest - base + 1, count as u32 + 1);
                    assert_eq!(block.lost, expected as i32 - received as i32, "{link:?}");
                    assert_eq!(block.highest, u32::from(first.wrapping_add(base as u16)) + highest - base, "{link:?}");
                    let said = f64::from(block.jitter) * 1e6 / f64::from(link.clock_rate);
                    let unit = 1e6 / f64::from(link.clock_rate);
                    assert!((said - jitter).abs() <= 1.0 + 1.5 * unit, "{link:?}: {said} instead of {jitter}");
                    let lost = f64::from((expected - before.0) as i32 - (received - before.1) as i32);
                    let share = (lost / f64::from(expected - before.0)).max(0.0);
                    assert!((f64::from(block.fraction) / 256.0 - share).abs() < 1.0 / 256.0, "{link:?}");
                    before = (expected, received);
                }
            }
            let missing = f64::from(highest - base.unwrap() + 1) - arrivals.len() as f64;
            assert_eq!(reception.lost() as f64, missing.max(0.0), "{link:?}");
            if link.jitter_ms <= 12 && link.lost > 0.0 {
                let mean_gap = reception.lost() as f64 / reception.gaps() as f64;
                assert!((mean_gap * (1.0 - link.lost_again) - 1.0).abs() < 0.15, "{link:?}: gaps of {mean_gap}");
            }
        }
    }
}
