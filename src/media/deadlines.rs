//! Which of many sessions has something to do next.
//!
//! A session's deadline mostly moves into the future, with every packet that comes: then nothing is done but to note it,
//! and the entry that waits at the old time is put back when its turn comes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::time::Instant;

const NEVER: Instant = Instant::at(Duration::MAX);

/// The deadlines of numbered seats.
#[derive(Debug)]
pub struct Deadlines {
    due: Vec<Instant>,
    /// Where the earliest entry of a seat waits.
    queued: Vec<Instant>,
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Deadlines {
    /// None yet, for so many seats.
    pub fn new(seats: usize) -> Deadlines {
        Deadlines { due: vec![NEVER; seats], queued: vec![NEVER; seats], heap: BinaryHeap::with_capacity(4 * seats) }
    }

    /// This seat has something to do then; what was noted before does not hold any more.
    pub fn set(&mut self, seat: usize, due: Instant) {
        self.due[seat] = due;
        if due < self.queued[seat] {
            self.queued[seat] = due;
            self.heap.push(Reverse((due, seat)));
        }
    }

    /// This seat has nothing to do.
    pub fn forget(&mut self, seat: usize) {
        self.due[seat] = NEVER;
    }

    /// No seat has anything to do before this.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A seat whose time has come, and when that was. It is not named again until it is [`Deadlines::set`].
    pub fn take(&mut self, now: Instant) -> Option<(usize, Instant)> {
        while let Some(Reverse((at, seat))) = self.heap.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.heap.pop();
            if self.queued[seat] != at {
                continue;
            }
            self.queued[seat] = NEVER;
            let due = self.due[seat];
            if due <= now {
                self.due[seat] = NEVER;
                return Some((seat, due));
            }
            if due < NEVER {
                self.set(seat, due);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: u64) -> Instant {
        Instant::at(Duration::from_millis(milliseconds))
    }

    #[test]
    fn seats_are_named_in_their_time_and_once() {
        let mut deadlines = Deadlines::new(3);
        deadlines.set(0, at(30));
        deadlines.set(1, at(10));
        deadlines.set(2, at(20));
        deadlines.set(1, at(40));
        deadlines.set(2, at(5));
        assert_eq!(deadlines.next(), Some(at(5)));
        assert_eq!(deadlines.take(at(4)), None);
        assert_eq!(deadlines.take(at(30)), Some((2, at(5))));
        assert_eq!(deadlines.take(at(30)), Some((0, at(30))));
        assert_eq!(deadlines.take(at(30)), None);
        assert_eq!(deadlines.take(at(50)), Some((1, at(40))));
        deadlines.set(0, at(60));
        deadlines.forget(0);
        assert_eq!(deadlines.take(at(90)), None);
        assert_eq!(deadlines.next(), None);
    }

    #[test]
    fn a_plain_list_agrees() {
        bolero::check!().with_type().for_each(|steps: &Vec<(u8, u8, bool)>| {
            let (mut deadlines, mut plain) = (Deadlines::new(8), [NEVER; 8]);
            let mut now = at(0);
            for (seat, step, forget) in steps {
                let seat = usize::from(seat % 8);
                let due = now + Duration::from_millis(u64::from(step % 50));
                (plain[seat], _) = match forget {
                    true => (NEVER, deadlines.forget(seat)),
                    false => (due, deadlines.set(seat, due)),
                };
                now = now + Duration::from_millis(u64::from(step / 8));
                let soonest = plain.iter().min().copied().filter(|due| *due < NEVER);
                assert!(soonest.is_none_or(|soonest| deadlines.next().is_some_and(|next| next <= soonest)));
                let mut taken: Vec<usize> = Vec::new();
                while let Some((seat, due)) = deadlines.take(now) {
                    assert_eq!(plain[seat], due);
                    plain[seat] = NEVER;
                    taken.push(seat);
                }
                assert!(plain.iter().all(|due| *due > now), "{taken:?}");
            }
        });
    }
}
