//! Two calls back to back: whatever is ordered when, and whatever a data link loses that begins anew, both ends are free in
//! the end.

use std::collections::VecDeque;

use super::*;

const ENDS: [usize; 2] = [0, 1];

/// One end.
#[derive(Default)]
struct End {
    call: Option<Call>,
    /// Messages on their way to it.
    inbox: VecDeque<Vec<u8>>,
    /// It had so many calls, and so often was done with a timeslot.
    calls: usize,
    freed: usize,
    /// No further word may come.
    over: bool,
}

struct Pair {
    now: Instant,
    access: [Arc<Access>; 2],
    ends: [End; 2],
    out: Vec<Output>,
}

impl Pair {
    fn new(caller: Side, dialect: Dialect) -> Pair {
        let access = |side| Arc::new(Access { overlap: None, ..Access::new(side, dialect, Codec::Pcmu) });
        let access = [access(caller), access(caller.other())];
        let mut pair = Pair { now: Instant::START, access, ends: Default::default(), out: Vec::new() };
        let channel = Channel::slot(None, 7, true);
        let call = Call::outgoing(pair.now, pair.access[0].clone(), 9, channel, &setup(), &mut pair.out);
        (pair.ends[0].call, pair.ends[0].calls) = (Some(call), 1);
        pair.perform(0);
        pair
    }

    fn perform(&mut self, at: usize) {
        for output in self.out.drain(..) {
            match output {
                Output::Message(octets) => self.ends[1 - at].inbox.push_back(octets),
                Output::Word(word) => {
                    assert!(!self.ends[at].over, "a word after the last: {word:?}");
                    self.ends[at].over = matches!(word, Word::Released(_));
                }
                Output::Timeslot(Timeslot::Freed | Timeslot::Unsure) => self.ends[at].freed += 1,
                Output::Timeslot(Timeslot::Agreed(_)) | Output::Fault(_) => {}
            }
        }
        let end = &mut self.ends[at];
        end.call = end.call.take().filter(|call| !call.is_over());
    }

    /// The next message to this end arrives.
    fn deliver(&mut self, to: usize) {
        let Some(octets) = self.ends[to].inbox.pop_front() else { return };
        let message = Message::read(&octets).unwrap();
        let access = self.access[to].clone();
        match &mut self.ends[to].call {
            Some(call) => call.receive(self.now, &message, &mut self.out),
            None if message.kind == Kind::Setup && to == 1 => {
                let call = Call::incoming(self.now, access, &message, message.get().unwrap(), &mut self.out).unwrap();
                self.ends[to].call = Some(call);
                self.ends[to].calls += 1;
                self.ends[to].over = false;
            }
            None => {
                let answer = stray(&message, access.location);
                self.out.extend(answer.map(Output::Message));
            }
        }
        self.perform(to);
    }

    fn order(&mut self, to: usize, order: Order) {
        let Some(call) = &mut self.ends[to].call else { return };
        let last = matches!(order, Order::Release { .. });
        call.order(self.now, order, &mut self.out);
        self.perform(to);
        self.ends[to].over |= last;
    }

    fn link(&mut self, to: usize, up: bool) {
        let Some(call) = &mut self.ends[to].call else { return };
        if up {
            call.link_up(self.now, &mut self.out)
        } else {
            call.link_down(self.now, &mut self.out)
        }
        self.perform(to);
    }

    /// Time goes on to the next deadline, a minute at most.
    fn wait(&mut self) {
        let due = self.ends.iter().filter_map(|end| end.call.as_ref()?.timeout()).min();
        self.now = due.unwrap_or(self.now).max(self.now).min(self.now + seconds(60));
        for at in ENDS {
            if let Some(call) = &mut self.ends[at].call {
                call.tick(self.now, &mut self.out);
                self.perform(at);
            }
        }
    }

    /// Something happens.
    fn step(&mut self, random: &mut Random) {
        let at = random.below(2) as usize;
        match random.below(20) {
            0..=7 => self.deliver(at),
            8 => self.order(at, Order::Alert { audible: random.below(2) == 0 }),
            9 => self.order(at, Order::Answer(Box::default())),
            10 => self.order(at, Order::Progress),
            11 if random.below(4) == 0 => {
                self.order(at, Order::Release { cause: Cause::NORMAL, tones: random.below(2) == 0 })
            }
            12 => self.order(at, Order::Digits { digits: Private("1".into()), whole: true }),
            13 => self.order(at, Order::Notify(Notification(0))),
            14 if random.below(3) == 0 => {
                // The data link begins anew, and what was on its way is lost.
                self.ends[at].inbox.clear();
                ENDS.into_iter().for_each(|at| self.link(at, true));
            }
            15 if random.below(4) == 0 => {
                ENDS.into_iter().for_each(|at| self.ends[at].inbox.clear());
                ENDS.into_iter().for_each(|at| self.link(at, false));
                self.wait();
                ENDS.into_iter().for_each(|at| self.ends[at].inbox.clear());
                ENDS.into_iter().for_each(|at| self.link(at, true));
            }
            16 if random.below(4) == 0 => drop(self.ends[at].inbox.pop_front()),
            17 if random.below(8) == 0 => self.wait(),
            _ => {}
        }
    }
}

#[test]
fn whatever_happens_both_ends_are_free_in_the_end() {
    let mut answered = 0;
    for seed in 0..4000 {
        let mut random = Random::test(seed);
        let dialect = Dialect::ALL[(seed % 6) as usize];
        let caller = if random.below(2) == 0 { Side::User } else { Side::Network };
        let mut pair = Pair::new(caller, dialect);
        (0..random.below(60)).for_each(|_| pair.step(&mut random));
        answered += usize::from(pair.ends.iter().all(|end| end.call.as_ref().is_some_and(Call::is_active)));
        for at in ENDS {
            pair.order(at, Order::Release { cause: Cause::NORMAL, tones: false });
        }
        for _ in 0..100 {
            while pair.ends.iter().any(|end| !end.inbox.is_empty()) {
                ENDS.into_iter().for_each(|at| pair.deliver(at));
            }
            pair.wait();
        }
        for end in &pair.ends {
            assert!(end.call.is_none(), "seed {seed}: {:?}", end.call);
            assert_eq!(end.freed, end.calls, "seed {seed}");
        }
    }
    assert!(answered > 200, "only {answered} calls were answered");
}
