//! The one source of tags, branches, keys and other unguessable values: a seeded generator that
//! comes into a machine as an argument, so that a test repeats exactly.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A cryptographic generator (rand's `StdRng`), seeded once by the shell or by a test.
#[derive(Debug)]
pub struct Random(StdRng);

impl Random {
    /// A generator whose every draw follows from `seed`.
    pub fn seeded(seed: [u8; 32]) -> Random {
        Random(StdRng::from_seed(seed))
    }

    /// A generator for tests.
    pub fn test(seed: u64) -> Random {
        Random(StdRng::seed_from_u64(seed))
    }

    /// The next 64 bits.
    pub fn u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `bound` (which is at least 1).
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0.next_u64() % bound.max(1)
    }

    /// Key material: `N` octets.
    pub fn octets<const N: usize>(&mut self) -> [u8; N] {
        let mut octets = [0; N];
        self.0.fill_bytes(&mut octets);
        octets
    }

    /// A token of 16 hexadecimal digits: tags, branches, Call-IDs.
    pub fn token(&mut self) -> String {
        format!("{:016x}", self.u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_draws() {
        let (mut a, mut b) = (Random::test(7), Random::test(7));
        assert_eq!(a.token(), b.token());
        assert_eq!(a.octets::<30>(), b.octets::<30>());
        assert_ne!(a.token(), a.token());
    }
}
