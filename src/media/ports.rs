//! The range of ports for media: pairs of an even port (RTP) and the odd one above (RTCP).
//!
//! A pair that came home waits until all others had their turn: late packets of its last call must
//! not meet the next one.

/// Which pairs of the range are taken.
#[derive(Debug)]
pub struct Ports {
    first: u16,
    taken: Vec<bool>,
    next: usize,
}

impl Ports {
    /// The pairs that lie wholly between `first` and `last`.
    pub fn new((first, last): (u16, u16)) -> Ports {
        let even = u32::from(first).next_multiple_of(2);
        let pairs = (u32::from(last) + 1).saturating_sub(even) / 2;
        Ports { first: even as u16, taken: vec![false; pairs as usize], next: 0 }
    }

    /// How many pairs there are.
    pub fn pairs(&self) -> usize {
        self.taken.len()
    }

    /// The even port of the free pair that waited longest for its turn.
    pub fn take(&mut self) -> Option<u16> {
        let pairs = self.pairs();
        let free = (0..pairs).map(|step| (self.next + step) % pairs).find(|pair| !self.taken[*pair])?;
        self.taken[free] = true;
        self.next = (free + 1) % pairs;
        Some(self.first + 2 * free as u16)
    }

    /// The pair of this even port is free again.
    pub fn put_back(&mut self, port: u16) {
        let pair = usize::from(port.wrapping_sub(self.first) / 2);
        if let Some(taken) = self.taken.get_mut(pair) {
            *taken = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_start_at_an_even_port_and_end_inside_the_range() {
        for (range, pairs) in
            [((40001, 40004), 1), ((40000, 40003), 2), ((40000, 40000), 0), ((9, 8), 0), ((65534, 65535), 1)]
        {
            assert_eq!(Ports::new(range).pairs(), pairs, "{range:?}");
        }
        assert_eq!(Ports::new((40001, 40004)).take(), Some(40002));
    }

    #[test]
    fn a_pair_that_came_home_waits_for_its_turn() {
        let mut ports = Ports::new((40000, 40007));
        assert_eq!(ports.take(), Some(40000));
        ports.put_back(40000);
        assert_eq!([(); 4].map(|()| ports.take()), [Some(40002), Some(40004), Some(40006), Some(40000)]);
        assert_eq!(ports.take(), None);
        ports.put_back(40004);
        assert_eq!(ports.take(), Some(40004));
    }
}
