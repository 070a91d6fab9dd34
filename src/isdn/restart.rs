//! RESTART (Q.931 section 5.5): both ends forget what timeslots were used for.
//!
//! ```text
//! we                        far end
//!  | -- RESTART ------------> |   one at a time; T316, once more, then given up
//!  | <------- RESTART ACK --- |   the timeslots are idle
//! ```
//!
//! The other way we are done at once: calls end without a word, so T317 cannot run out.

use std::collections::VecDeque;
use std::time::Duration;

use super::timeslots::Slot;
use crate::time::Instant;

/// How long RESTART ACKNOWLEDGE is waited for.
pub const T316: Duration = Duration::from_secs(120);
/// How often RESTART is sent in all.
pub const N316: u8 = 2;

/// What shall be restarted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// One timeslot.
    Slot(Slot),
    /// All timeslots of a span.
    Span(usize),
}

impl What {
    /// Is this timeslot among it?
    pub fn covers(self, slot: Slot) -> bool {
        match self {
            What::Slot(one) => one == slot,
            What::Span(span) => span == slot.span,
        }
    }
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send RESTART.
    Send(What),
    /// It is done.
    Done(What),
    /// The far end does not answer.
    Failed(What),
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// No RESTART is out.
    #[default]
    Idle,
    /// One is, for the `tries`th time.
    Requested { what: What, t316: Instant, tries: u8 },
}

/// Our requests, one after the other.
#[derive(Debug, Default)]
pub struct Restarts {
    state: State,
    queue: VecDeque<What>,
}

impl Restarts {
    /// When [`Restarts::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        match self.state {
            State::Idle => None,
            State::Requested { t316, .. } => Some(t316),
        }
    }

    /// Is a restart of this timeslot under way, or waiting?
    pub fn will_cover(&self, slot: Slot) -> bool {
        let out = matches!(self.state, State::Requested { what, .. } if what.covers(slot));
        out || self.queue.iter().any(|what| what.covers(slot))
    }

    /// Wants a restart, once.
    pub fn request(&mut self, now: Instant, what: What, out: &mut Vec<Output>) {
        let asked = matches!(self.state, State::Requested { what: asked, .. } if asked == what);
        if !asked && !self.queue.contains(&what) {
            self.queue.push_back(what);
        }
        self.next(now, out);
    }

    /// The far end is done with it.
    pub fn acknowledged(&mut self, now: Instant, what: What, out: &mut Vec<Output>) {
        if matches!(self.state, State::Requested { what: asked, .. } if asked == what) {
            self.state = State::Idle;
            out.push(Output::Done(what));
            self.next(now, out);
        }
    }

    /// T316.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        match self.state {
            State::Requested { what, t316, tries } if t316 <= now && tries < N316 => {
                self.send(now, what, tries + 1, out)
            }
            State::Requested { what, t316, .. } if t316 <= now => {
                self.state = State::Idle;
                out.push(Output::Failed(what));
                self.next(now, out);
            }
            State::Idle | State::Requested { .. } => {}
        }
    }

    /// Messages that were on the way are lost: what was asked is asked again.
    pub fn again(&mut self, now: Instant, out: &mut Vec<Output>) {
        if let State::Requested { what, .. } = self.state {
            self.send(now, what, 1, out);
        }
    }

    fn next(&mut self, now: Instant, out: &mut Vec<Output>) {
        if matches!(self.state, State::Idle)
            && let Some(what) = self.queue.pop_front()
        {
            self.send(now, what, 1, out);
        }
    }

    fn send(&mut self, now: Instant, what: What, tries: u8, out: &mut Vec<Output>) {
        self.state = State::Requested { what, t316: now + T316, tries };
        out.push(Output::Send(what));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(timeslot: u8) -> What {
        What::Slot(Slot { span: 0, timeslot })
    }

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    #[test]
    fn one_after_the_other_and_each_once() {
        let (mut restarts, mut out) = (Restarts::default(), Vec::new());
        for what in [slot(1), slot(2), slot(1), What::Span(0), slot(2)] {
            restarts.request(at(0), what, &mut out);
        }
        restarts.acknowledged(at(1), slot(2), &mut out);
        assert_eq!(out.split_off(0), [Output::Send(slot(1))]);
        restarts.acknowledged(at(1), slot(1), &mut out);
        assert_eq!(out.split_off(0), [Output::Done(slot(1)), Output::Send(slot(2))]);
        restarts.acknowledged(at(2), slot(2), &mut out);
        restarts.acknowledged(at(2), What::Span(0), &mut out);
        let expected = [Output::Done(slot(2)), Output::Send(What::Span(0)), Output::Done(What::Span(0))];
        assert_eq!((out.split_off(0), restarts.timeout()), (expected.to_vec(), None));
    }

    #[test]
    fn t316_asks_once_more_and_gives_up() {
        let (mut restarts, mut out) = (Restarts::default(), Vec::new());
        restarts.request(at(0), slot(1), &mut out);
        restarts.request(at(0), slot(2), &mut out);
        out.clear();
        restarts.tick(at(119), &mut out);
        assert_eq!((out.split_off(0), restarts.timeout()), (vec![], Some(at(120))));
        restarts.tick(at(120), &mut out);
        assert_eq!(out.split_off(0), [Output::Send(slot(1))]);
        restarts.again(at(200), &mut out);
        restarts.tick(at(320), &mut out);
        restarts.tick(at(440), &mut out);
        let expected = [Output::Send(slot(1)), Output::Send(slot(1)), Output::Failed(slot(1)), Output::Send(slot(2))];
        assert_eq!(out.split_off(0), expected);
        restarts.request(at(440), What::Span(1), &mut out);
        let covered = |span, timeslot| restarts.will_cover(Slot { span, timeslot });
        assert_eq!([covered(0, 1), covered(0, 2), covered(1, 9)], [false, true, true]);
    }
}
