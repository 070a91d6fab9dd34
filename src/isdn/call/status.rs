//! What the far end thinks of a call (Q.931 sections 5.8.10 and 5.8.11).
//!
//! 1. STATUS ENQUIRY, T322; twice more; then the call is ended with cause 41.
//! 2. STATUS says the far end's state. Null: the call is over. Another than ours in answer to our question, on a call that is
//!    up: both ends cannot agree, the call is ended with cause 101.
//! 3. A STATUS that finds fault with a message of ours is told to operators; the call goes on: its timers know what to do.

use super::{Call, Fault, Output, State, Timeslot};
use crate::cause::{Cause, Guilty, Release};
use crate::time::Instant;
use crate::wire::q931::{self, CallState, Kind, Message};

/// How often the far end is asked.
const ASKED: u8 = 3;

/// A question that is out.
#[derive(Debug)]
pub(super) struct Enquiry {
    t322: Instant,
    asked: u8,
}

impl Enquiry {
    pub(super) fn timeout(&self) -> Instant {
        self.t322
    }
}

impl Call {
    /// Asks the far end what it thinks of the call, unless it was asked already or cannot hear.
    pub fn enquire(&mut self, now: Instant, out: &mut Vec<Output>) {
        let heard = !matches!(self.state, State::Active { t309: Some(_) });
        if heard && self.enquiry.is_none() && !self.is_clearing() {
            self.ask(now, 1, out);
        }
    }

    fn ask(&mut self, now: Instant, asked: u8, out: &mut Vec<Output>) {
        self.send(self.message(Kind::StatusEnquiry), out);
        self.enquiry = Some(Enquiry { t322: now + self.access.timers.t322, asked });
    }

    /// T322 ran out.
    pub(super) fn unanswered(&mut self, now: Instant, out: &mut Vec<Output>) {
        let Some(Enquiry { asked, .. }) = self.enquiry else { return };
        if asked < ASKED {
            return self.ask(now, asked + 1, out);
        }
        out.push(Output::Fault(Fault::Timer(322)));
        self.fail(now, Cause::TEMPORARY, "the far end does not say whether it still knows the call (T322)", out);
    }

    /// STATUS.
    pub(super) fn status(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        let (Some(cause), Some(theirs)) = (message.get::<q931::Cause>(), message.get::<CallState>()) else { return };
        // Any STATUS shows that the call is known; its state is up to date only in the answer.
        let asked = self.enquiry.take().is_some() && cause.value == Cause::STATUS_ENQUIRY;
        if cause.value.0 / 16 == 6 {
            out.push(Output::Fault(Fault::Ours { cause: cause.value, diagnostics: cause.diagnostics }));
        }
        let ours = self.state();
        let differs = asked && self.is_active() && theirs != ours;
        if (theirs == CallState::NULL || differs) && !self.is_over() {
            out.push(Output::Fault(Fault::States { theirs, ours }));
        }
        if theirs == CallState::NULL {
            let why = "the far end does not know the call any more";
            self.farewell(Release::new(Guilty::Network, Cause::WRONG_STATE, why), out);
            self.free(Timeslot::Freed, out);
        } else if differs {
            let why = "the two ends of the line disagree on the state of the call";
            self.farewell(Release::new(Guilty::Network, Cause::WRONG_STATE, why), out);
            self.ask_release(now, self.cause(Cause::WRONG_STATE), out);
        }
    }

    pub(super) fn say_status(&self, cause: Cause, diagnostics: Vec<u8>, out: &mut Vec<Output>) {
        let cause = self.cause(cause).about(diagnostics);
        self.send(self.message(Kind::Status).with(&cause).with(&self.state()), out);
    }
}
