//! Chance that repeats: what is disturbed on a line follows from a seed alone.

/// A small generator (splitmix64); good enough for faults, not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) fn new(seed: u64) -> Chance {
        Chance(seed)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Evenly from 0 (never reached) to 1.
    fn unit(&mut self) -> f64 {
        ((self.u64() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// Does what happens at this rate (0 to 1) happen now?
    pub(crate) fn happens(&mut self, rate: f64) -> bool {
        rate > 0.0 && self.unit() <= rate
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.u64() % bound.max(1) as u64) as usize
    }

    /// How many tries pass before the next hit, when each hits at this rate.
    pub(crate) fn misses(&mut self, rate: f64) -> u64 {
        match rate {
            ..=0.0 => u64::MAX,
            1.0.. => 0,
            _ => (self.unit().ln() / (-rate).ln_1p()) as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hits_come_at_their_rate() {
        let mut chance = Chance::new(1);
        let between = (0..20_000).map(|_| chance.misses(0.001)).sum::<u64>() / 20_000;
        assert!((980..1020).contains(&between), "{between}");
        let hits = (0..20_000).filter(|_| chance.happens(0.25)).count();
        assert!((4800..5200).contains(&hits), "{hits}");
        assert_eq!((chance.misses(0.0), chance.misses(1.0), chance.happens(0.0)), (u64::MAX, 0, false));
    }
}
