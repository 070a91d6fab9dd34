//! Which of many sessions has something to do next.
//!
//! A session's deadline mostly moves into the future, with every packet that comes: then nothing is done at all. Whoever is
//! named in vain says so, and is asked for the deadline that holds now.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use crate::time::Instant;

const NEVER: Instant = Instant::at(Duration::MAX);

/// The deadlines of numbered seats.
#[derive(Debug)]
pub struct Deadlines {
    /// When a seat is named next.
    queued: Vec<Instant>,
    heap: BinaryHeap<Reverse<(Instant, usize)>>,
}

impl Deadlines {
    /// None yet, for so many seats.
    pub fn new(seats: usize) -> Deadlines {
        Deadlines { queued: vec![NEVER; seats], heap: BinaryHeap::with_capacity(4 * seats) }
    }

    /// This seat has something to do then. It may be named before, if an earlier deadline was set, but not later.
    pub fn set(&mut self, seat: usize, due: Instant) {
        if due < self.queued[seat] {
            self.queued[seat] = due;
            self.heap.push(Reverse((due, seat)));
        }
    }

    /// This seat has nothing to do.
    pub fn forget(&mut self, seat: usize) {
        self.queued[seat] = NEVER;
    }

    /// No seat has anything to do before this.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// A seat whose earliest deadline has come, which may not hold any more. It is not named again until it is
    /// [`Deadlines::set`].
    pub fn take(&mut self, now: Instant) -> Option<usize> {
        while let Some(Reverse((at, seat))) = self.heap.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.heap.pop();
            if self.queued[seat] == at {
                self.queued[seat] = NEVER;
                return Some(seat);
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
        let named = |deadlines: &mut Deadlines, now| std::iter::from_fn(|| deadlines.take(at(now))).collect::<Vec<_>>();
        assert_eq!(named(&mut deadlines, 30), [2, 1, 0]);
        assert_eq!(named(&mut deadlines, 50), [0; 0], "not before it is set again");
        deadlines.set(1, at(40));
        deadlines.set(0, at(60));
        deadlines.forget(0);
        assert_eq!(named(&mut deadlines, 90), [1]);
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
                    false => (plain[seat].min(due), deadlines.set(seat, due)),
                };
                now = now + Duration::from_millis(u64::from(step / 8));
                let soonest = plain.iter().min().copied().filter(|due| *due < NEVER);
                assert!(soonest.is_none_or(|soonest| deadlines.next().is_some_and(|next| next <= soonest)));
                let mut taken: Vec<usize> = Vec::new();
                while let Some(seat) = deadlines.take(now) {
                    assert!(plain[seat] <= now, "{seat} too early");
                    plain[seat] = NEVER;
                    taken.push(seat);
                }
                assert!(plain.iter().all(|due| *due > now), "{taken:?}");
            }
        });
    }
}
