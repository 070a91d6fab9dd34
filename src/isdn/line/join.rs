//! Two calls of the line are joined by the exchange, which then frees both timeslots here; each scheme its own way
//! ([`transfer`]).
//!
//! ```text
//!  two B-channel transfer      release link trunk          explicit call transfer      call transfer, path replacement
//!  a -- join with b -->        b has a link since SETUP    b -- which link? -->        a -- transferred -->
//!  a <-- result -------        a -- join with link -->     b <-- result: link -        b -- transferred -->
//!                              a <-- result ----------     a -- join with link -->     a <-- propose ------   either way,
//!                                                          a <-- result ----------     b -- propose ----->   passed on
//!  a, b <-- DISCONNECT         likewise                    likewise                    likewise
//! ```
//!
//! 1. We ask. `Linking`, `Asked`, `Replacing`
//! 2. It is done once the exchange says so and ends a call, or has had the time to. `Done`
//! 3. Where it refuses or says nothing, both calls go on as they are. A later yes is two calls that the exchange ends.
//!
//! Who ends one of the calls meanwhile, at either end, ends the attempt.

use std::time::Duration;

use super::{Line, Output};
use crate::isdn::call::Order;
use crate::isdn::timeslots::CallId;
use crate::time::{Instant, soonest};
use crate::wire::q931::transfer::{self, Answer, Ask, Refusal, Said, Scheme};
use crate::wire::q931::{Facility, Kind, Message, Side};

/// The exchange may take so long: nobody hears the wait.
const ANSWERS: Duration = Duration::from_secs(10);
/// A private exchange looks for a better path when it likes; T1 of ECMA-176 is 30 s.
const REPLACES: Duration = Duration::from_secs(30);
/// After its yes it ends both calls, or else we do.
const ENDS: Duration = Duration::from_secs(4);
/// Our numbers for what is asked, apart from those that SETUP uses.
const NUMBERS: std::ops::Range<u8> = 16..128;

/// Why two calls are not joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unjoined {
    /// No D channel has both.
    #[error("they are on lines with different D channels")]
    Apart,
    /// We are the exchange.
    #[error("only an exchange joins calls, and the far end is none (Side=network)")]
    Exchange,
    /// A call is not up, or is being joined already.
    #[error("a call is not up yet")]
    NotUp,
    /// The exchange named no link.
    #[error("the exchange did not offer it when the call was set up")]
    NotOffered,
    /// It says no.
    #[error("the exchange refuses: {0}")]
    Refused(Refusal),
    /// It says nothing.
    #[error("the exchange does not answer")]
    Silent,
    /// A call ended first.
    #[error("a call ended first")]
    Ended,
}

/// Two calls that shall be joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct Join {
    /// The first is asked to be joined with the second.
    calls: [CallId; 2],
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// The second call's link is asked for.
    Linking { number: u8, until: Instant },
    /// It was asked to join them.
    Asked { number: u8, until: Instant },
    /// It may replace their path; `proposed`: it has begun to.
    Replacing { proposed: bool, until: Instant },
    /// It has joined them.
    Done { until: Instant },
}

impl Join {
    pub fn timeout(&self) -> Instant {
        match self.state {
            State::Linking { until, .. }
            | State::Asked { until, .. }
            | State::Replacing { until, .. }
            | State::Done { until } => until,
        }
    }

    pub fn has(&self, call: CallId) -> bool {
        self.calls.contains(&call)
    }

    fn other(&self, call: CallId) -> CallId {
        let [a, b] = self.calls;
        if call == a { b } else { a }
    }
}

impl Line {
    /// Asks the exchange to join two calls that are up. [`Output::Joined`] tells what came of it.
    pub fn join(&mut self, now: Instant, calls: [CallId; 2], out: &mut Vec<Output>) -> Result<(), Unjoined> {
        let [a, b] = calls;
        if !self.is_active(a)
            || !self.is_active(b)
            || a == b
            || self.joins.iter().any(|join| join.has(a) || join.has(b))
        {
            return Err(Unjoined::NotUp);
        }
        let dialect = self.terms.access.dialect;
        if self.terms.access.side == Side::Network && !dialect.is_private() {
            return Err(Unjoined::Exchange);
        }
        let (number, until) = (self.next_number(), now + ANSWERS);
        let (calls, state) = match dialect.scheme() {
            Scheme::TwoBChannel => {
                let other = self.reference(b).ok_or(Unjoined::NotUp)?;
                self.ask(now, a, Ask::Join(other).facility(number), out);
                (calls, State::Asked { number, until })
            }
            Scheme::Explicit => {
                self.ask(now, b, Ask::Link.facility(number), out);
                (calls, State::Linking { number, until })
            }
            Scheme::ReleaseLink => {
                let link = |call| self.calls.get(&call).and_then(|entry| entry.link);
                let (calls, link) = match (link(b), link(a)) {
                    (Some(link), _) => ([a, b], link),
                    (None, Some(link)) => ([b, a], link),
                    (None, None) => return Err(Unjoined::NotOffered),
                };
                self.ask(now, calls[0], Ask::ThirdParty(link).facility(number), out);
                (calls, State::Asked { number: transfer::THIRD_PARTY, until })
            }
            Scheme::PathReplacement => {
                self.ask(now, a, Ask::Complete { primary: true }.facility(number), out);
                self.ask(now, b, Ask::Complete { primary: false }.facility(number), out);
                (calls, State::Replacing { proposed: false, until: now + REPLACES })
            }
        };
        self.joins.push(Join { calls, state });
        Ok(())
    }

    pub(super) fn joins_timeout(&self) -> Option<Instant> {
        self.joins.iter().map(|join| Some(join.timeout())).fold(None, soonest)
    }

    /// A message of the far end's, before its call hears it.
    pub(super) fn heard_while_joining(&mut self, now: Instant, call: CallId, message: &Message, out: &mut Vec<Output>) {
        let Some(at) = self.joins.iter().position(|join| join.has(call)) else { return };
        let mut join = Some(self.joins.swap_remove(at));
        for facility in message.all::<Facility>() {
            for said in transfer::said(&facility) {
                join = join.and_then(|join| self.said_while_joining(now, join, (call, said), &facility, out));
            }
        }
        if matches!(message.kind, Kind::Disconnect | Kind::Release | Kind::ReleaseComplete) {
            let ended = join.take();
            out.extend(ended.map(|Join { calls, state }| {
                let done = matches!(state, State::Done { .. } | State::Replacing { proposed: true, .. });
                Output::Joined { calls, outcome: if done { Ok(()) } else { Err(Unjoined::Ended) } }
            }));
        }
        self.joins.extend(join);
    }

    fn said_while_joining(
        &mut self,
        now: Instant,
        join: Join,
        (call, said): (CallId, Said),
        facility: &Facility,
        out: &mut Vec<Output>,
    ) -> Option<Join> {
        let Join { calls, state } = join;
        let [asked, other] = calls;
        match (state, said) {
            (State::Replacing { until, .. }, Said::Ask(_, Ask::Propose { .. })) => {
                self.ask(now, join.other(call), facility.clone(), out);
                Some(Join { calls, state: State::Replacing { proposed: true, until } })
            }
            (State::Replacing { proposed, .. }, Said::Answer(_, answer)) => {
                // What the exchange asked there is answered here; before that, it is an answer to us.
                if proposed {
                    self.ask(now, join.other(call), facility.clone(), out);
                }
                match answer {
                    Answer::Done(_) => Some(join),
                    Answer::Refused(why) => unjoined(calls, Unjoined::Refused(why), out),
                }
            }
            (State::Linking { number, until }, Said::Answer(to, answer)) if is_to(number, to) && call == other => {
                match answer {
                    Answer::Done(Some(link)) => {
                        let number = self.next_number();
                        self.ask(now, asked, Ask::JoinLink(link).facility(number), out);
                        Some(Join { calls, state: State::Asked { number, until } })
                    }
                    Answer::Done(None) => unjoined(calls, Unjoined::NotOffered, out),
                    Answer::Refused(why) => unjoined(calls, Unjoined::Refused(why), out),
                }
            }
            (State::Asked { number, .. }, Said::Answer(to, answer)) if is_to(number, to) && call == asked => {
                match answer {
                    Answer::Done(_) => Some(Join { calls, state: State::Done { until: now + ENDS } }),
                    Answer::Refused(why) => unjoined(calls, Unjoined::Refused(why), out),
                }
            }
            _ => Some(join),
        }
    }

    /// The exchange had its time.
    pub(super) fn tick_joins(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (due, later): (Vec<Join>, Vec<Join>) = self.joins.drain(..).partition(|join| join.timeout() <= now);
        self.joins = later;
        out.extend(due.into_iter().map(|Join { calls, state }| {
            let outcome = if let State::Done { .. } = state { Ok(()) } else { Err(Unjoined::Silent) };
            Output::Joined { calls, outcome }
        }));
    }

    /// A call ends, by our end or without a word of the far end's.
    pub(super) fn part(&mut self, call: CallId) {
        self.joins.retain(|join| !join.has(call));
    }

    fn ask(&mut self, now: Instant, call: CallId, facility: Facility, out: &mut Vec<Output>) {
        self.with(now, call, out, |call, said| call.order(now, Order::Facility(facility), said));
    }

    fn next_number(&mut self) -> u8 {
        let next = self.last_number + 1;
        self.last_number = if NUMBERS.contains(&next) { next } else { NUMBERS.start };
        self.last_number
    }
}

/// An answer without a number may be to anything.
fn is_to(number: u8, to: Option<i64>) -> bool {
    to.is_none_or(|to| to == i64::from(number))
}

fn unjoined(calls: [CallId; 2], why: Unjoined, out: &mut Vec<Output>) -> Option<Join> {
    out.push(Output::Joined { calls, outcome: Err(why) });
    None
}
