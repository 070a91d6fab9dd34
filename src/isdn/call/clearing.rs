//! The end of a call (Q.931 section 5.3).
//!
//! 1. We end it: DISCONNECT, T305, then RELEASE.
//! 2. The far end ends it: DISCONNECT is answered by RELEASE. With tones in the timeslot we may listen first.
//! 3. RELEASE is sent twice, T308 each; then the timeslot is one that nobody is sure of.
//! 4. RELEASE is answered by RELEASE COMPLETE, unless ours is out as well (section 5.3.5).

use super::{Call, Fault, Output, State, Timeslot, Word};
use crate::cause::{Cause, Guilty, Release, Words};
use crate::time::Instant;
use crate::wire::q931::{self, Flaw, Kind, Location, Message, Side, UserUser, id};

impl Call {
    pub(super) fn release(&mut self, now: Instant, cause: Cause, tones: bool, out: &mut Vec<Output>) {
        let told = self.cause(cause);
        match self.state {
            State::Listening { .. } => self.ask_release(now, told, out),
            _ if self.is_clearing() => {}
            // Nobody hears us (section 5.8.9).
            State::Active { t309: Some(_) } => self.free(Timeslot::Unsure, out),
            _ if tones && self.access.side == Side::Network => {
                let message = self.message(Kind::Disconnect).with(&told).with(&self.in_band());
                self.send_enclosing(message, out);
                self.state = State::Tones { t306: now + self.access.timers.t306, cause };
            }
            _ => self.disconnect(now, told, out),
        }
    }

    /// Something went wrong: both sides hear of it.
    pub(super) fn fail(&mut self, now: Instant, cause: Cause, why: &'static str, out: &mut Vec<Output>) {
        self.farewell(Release::new(Guilty::Network, cause, why), out);
        self.disconnect(now, self.cause(cause), out);
    }

    pub(super) fn disconnect(&mut self, now: Instant, cause: q931::Cause, out: &mut Vec<Output>) {
        self.enquiry = None;
        let message = self.message(Kind::Disconnect).with(&cause);
        self.send_enclosing(message, out);
        self.state = State::DisconnectRequest { t305: now + self.access.timers.t305, cause: cause.value };
    }

    pub(super) fn ask_release(&mut self, now: Instant, cause: q931::Cause, out: &mut Vec<Output>) {
        self.enquiry = None;
        let message = self.message(Kind::Release).with(&cause).octets();
        out.push(Output::Message(message.clone()));
        self.state = State::ReleaseRequest { t308: now + self.access.timers.t308, again: Some(message) };
    }

    /// DISCONNECT. Without a cause, or with one that cannot be read, it counts as cause 31, and RELEASE says what was wrong
    /// (sections 5.8.6.1 and 5.8.6.2).
    pub(super) fn disconnected(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        let cause = message.get::<q931::Cause>();
        let flaw = message.flaw(self.access.side.other()).filter(|flaw| flaw.grave);
        let echo = self.cause(cause.as_ref().map_or(Cause::UNSPECIFIED, |cause| cause.value));
        let told = flaw.map_or(echo, |flaw| flaw.cause(self.access.location));
        self.passed(message, out);
        match self.state {
            State::DisconnectRequest { .. } | State::Tones { .. } => self.ask_release(now, told, out),
            _ if self.is_clearing() => {}
            _ if self.access.listens && self.is_outgoing() && !self.is_active() && Call::is_audible(message) => {
                self.enquiry = None;
                out.push(Output::Word(Word::Progress { ringing: false, audible: true }));
                self.state = State::Listening { t306: now + self.access.timers.t306, release: theirs(message) };
            }
            _ => {
                self.farewell(theirs(message), out);
                self.ask_release(now, told, out);
            }
        }
    }

    /// The tones were heard long enough.
    pub(super) fn listened(&mut self, now: Instant, out: &mut Vec<Output>) {
        let State::Listening { release, .. } = &self.state else { return };
        let told = self.cause(release.cause);
        self.farewell(release.clone(), out);
        self.ask_release(now, told, out);
    }

    /// RELEASE. As the first word of an end it needs a cause.
    pub(super) fn released(&mut self, message: &Message, out: &mut Vec<Output>) {
        self.passed(message, out);
        let collision = matches!(self.state, State::ReleaseRequest { .. });
        let first = !self.is_clearing();
        let flaw = message.flaw(self.access.side.other()).filter(|flaw| flaw.grave || flaw.diagnostics == [id::CAUSE]);
        let missing = || (first && message.raw(id::CAUSE).next().is_none()).then(|| Flaw::missing(id::CAUSE));
        let told = flaw.or_else(missing).map(|flaw| flaw.cause(self.access.location));
        if !collision {
            self.send(self.message(Kind::ReleaseComplete).with_all(&told), out);
        }
        self.gone(message, out);
    }

    /// RELEASE COMPLETE, or the last there is to be said.
    pub(super) fn gone(&mut self, message: &Message, out: &mut Vec<Output>) {
        self.farewell(theirs(message), out);
        self.free(Timeslot::Freed, out);
    }

    /// The last word to the other leg. Who listened to tones hears the cause that came with them.
    pub(super) fn farewell(&self, release: Release, out: &mut Vec<Output>) {
        let release = if let State::Listening { release, .. } = &self.state { release.clone() } else { release };
        self.tell(Word::Released(release), out);
    }

    /// Ends the call without a word to the far end, which knows or cannot hear: RESTART, an alarm, a lost data link.
    pub fn abort(&mut self, cause: Cause, why: &'static str, out: &mut Vec<Output>) {
        self.farewell(Release::new(Guilty::Network, cause, why), out);
        self.free(Timeslot::Unsure, out);
    }

    pub(super) fn free(&mut self, timeslot: Timeslot, out: &mut Vec<Output>) {
        if !self.is_over() {
            (self.state, self.enquiry) = (State::Null, None);
            out.push(Output::Timeslot(timeslot));
        }
    }

    /// No RELEASE came in answer to our DISCONNECT, or nobody hung up on our tones.
    pub(super) fn t305(&mut self, now: Instant, out: &mut Vec<Output>) {
        let (timer, cause) = match self.state {
            State::Tones { cause, .. } => (306, cause),
            State::DisconnectRequest { cause, .. } => (305, cause),
            _ => return,
        };
        if timer == 305 {
            out.push(Output::Fault(Fault::Timer(timer)));
        }
        self.ask_release(now, self.cause(cause), out);
    }

    /// No RELEASE COMPLETE came.
    pub(super) fn t308(&mut self, now: Instant, out: &mut Vec<Output>) {
        let State::ReleaseRequest { t308, again } = &mut self.state else { return };
        out.push(Output::Fault(Fault::Timer(308)));
        match again.take() {
            Some(message) => {
                *t308 = now + self.access.timers.t308;
                out.push(Output::Message(message));
            }
            None => self.free(Timeslot::Unsure, out),
        }
    }

    /// The data link did not come back.
    pub(super) fn t309(&mut self, out: &mut Vec<Output>) {
        out.push(Output::Fault(Fault::Timer(309)));
        self.abort(Cause::OUT_OF_ORDER, "the D channel did not come back (T309)", out);
    }
}

/// The far end's end of the call: its cause, or none, and its user's last word.
fn theirs(message: &Message) -> Release {
    let cause = message.get::<q931::Cause>();
    let value = cause.as_ref().map_or(Cause::UNSPECIFIED, |cause| cause.value);
    let guilty = match value {
        Cause::NORMAL | Cause::UNSPECIFIED => Guilty::Nobody,
        _ => Guilty::Network,
    };
    let user_user = message.get().map(|UserUser(told)| told);
    let release = Release::new(guilty, value, value.text()).with_words(Words { user_user, ..Words::default() });
    match cause {
        // RFC 3398 section 7.2.4.1: nobody else need be asked.
        Some(q931::Cause { value: Cause::REJECTED, location: Location::USER, .. }) => release.with_status(603),
        _ => release,
    }
}
