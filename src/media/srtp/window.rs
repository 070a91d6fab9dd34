//! The replay window (RFC 3711 section 3.3.2) and the guess of what a sequence number stands for (section 3.3.1).

/// The last 128 indices seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    newest: u64,
    /// Bit n: `newest - n` was seen. 0 before the first.
    seen: u128,
}

impl Window {
    /// The index whose lower 16 bits are `sequence` and which lies nearest to the newest
    /// (appendix A); `None` when that is before the first of all.
    pub fn guess(&self, sequence: u16) -> Option<u64> {
        if self.seen == 0 {
            return Some(u64::from(sequence));
        }
        let step = sequence.wrapping_sub(self.newest as u16) as i16;
        self.newest.checked_add_signed(i64::from(step))
    }

    /// Was this index not seen yet?
    pub fn is_fresh(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(age @ 0..128) => self.seen >> age & 1 == 0,
            Some(_) => self.seen == 0,
        }
    }

    /// Remembers an index.
    pub fn note(&mut self, index: u64) {
        match index.checked_sub(self.newest) {
            _ if self.seen == 0 => *self = Window { newest: index, seen: 1 },
            Some(step) => {
                self.seen = u32::try_from(step).ok().and_then(|step| self.seen.checked_shl(step)).unwrap_or(0) | 1;
                self.newest = index;
            }
            None => self.seen |= 1u128.checked_shl((self.newest - index) as u32).unwrap_or(0),
        }
    }

    /// The newest index, `None` before the first.
    pub fn newest(&self) -> Option<u64> {
        (self.seen != 0).then_some(self.newest)
    }
}
