//! One call on a D channel (Q.931 section 5), from either end of the line.
//!
//! ```text
//!  we                          far end        we                          far end
//!  | -- SETUP ------------------> | T303      | <----------------- SETUP -- |
//!  | <----- [SETUP ACKNOWLEDGE] - | T304      | - [SETUP ACKNOWLEDGE] ----> | T302, until the number is whole
//!  | - [INFORMATION] -----------> |           | <-------- [INFORMATION] --- |
//!  | <-------- CALL PROCEEDING -- | T310      | -- CALL PROCEEDING -------> |
//!  | <----- ALERTING, PROGRESS -- | T301      | -- ALERTING, PROGRESS ----> |
//!  | <---------------- CONNECT -- |           | -- CONNECT ---------------> | T313, at the user's end
//!  | -- CONNECT ACKNOWLEDGE ----> |           | <---- CONNECT ACKNOWLEDGE - |
//!             `outgoing`                                 `incoming`
//!
//!  | -- DISCONNECT -------------> | T305      either end may begin: `clearing`
//!  | <---------------- RELEASE -- |
//!  | -- RELEASE COMPLETE -------> |           who sent RELEASE waits for it: T308
//! ```
//!
//! Errors are answered as section 5.8 wants it (`errors`). A call that is up outlives its data link by T309; then, and
//! whenever somebody doubts, the far end is asked what it knows: STATUS ENQUIRY, T322 (`status`). What differs between the
//! two ends of a line stands in `access`.

mod access;
mod clearing;
mod errors;
mod incoming;
mod outgoing;
mod setup;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use access::{Access, Overlap, Timers};
pub use errors::{Fault, refusal, stray};
pub use setup::Setup;

use crate::cause::{Cause, Release};
use crate::private::Private;
use crate::time::{Instant, soonest};
use crate::wire::q931::{
    self, Builder, CallState, Called, Channel, Connected, Facility, Flaw, Keypad, Kind, Message, Name, Notification,
    Progress, Reference, UserUser,
};
use status::Enquiry;

/// What the other leg wants of a call on the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// To a caller: the called end rings; `audible`: so does the timeslot.
    Alert {
        /// The timeslot is to be listened to.
        audible: bool,
    },
    /// To a caller: tones or announcements are in the timeslot.
    Progress,
    /// To a caller: the called end answered.
    Answer(Box<Answer>),
    /// Further digits of the called number.
    Digits {
        /// IA5.
        digits: Private<String>,
        /// None will follow.
        whole: bool,
    },
    /// End the call. It says no further word.
    Release {
        /// Why.
        cause: Cause,
        /// By an exchange: tones are in the timeslot, which the far end may listen to for T306.
        tones: bool,
    },
    /// Something happened to the party at our end.
    Notify(Notification),
    /// A supplementary service's components, as they are.
    Facility(Facility),
    /// What users tell each other.
    UserUser(UserUser),
    /// What our user tells with our next message that ends the call or says how far it is.
    Enclose(UserUser),
}

/// Who answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Under which number.
    pub connected: Option<Connected>,
    /// Under which name.
    pub name: Option<Name>,
    /// What he tells.
    pub user_user: Option<UserUser>,
}

/// What a call on the line tells the other leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Word {
    /// Somebody calls; the number is whole.
    Setup(Box<Setup>),
    /// The called number is whole and on its way.
    Proceeding,
    /// The called end makes progress.
    Progress {
        /// It rings.
        ringing: bool,
        /// The timeslot is to be listened to.
        audible: bool,
    },
    /// The called end answered.
    Answer(Box<Answer>),
    /// Digits in signalling, after the number was whole.
    Digits(Private<String>),
    /// A name that came by itself.
    Name(Name),
    /// Something happened to the other party.
    Notice(Notification),
    /// A supplementary service's components, as they are.
    Facility(Facility),
    /// What users tell each other.
    UserUser(UserUser),
    /// It is over, or about to be: nothing more comes.
    Released(Release),
}

/// What becomes of the timeslot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Timeslot {
    /// The far end's first answer to our SETUP: both use this one.
    Agreed(Channel),
    /// Both know that it is free.
    Freed,
    /// We are done with it; nobody knows what the far end thinks.
    Unsure,
}

/// What comes of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the data link.
    Message(Vec<u8>),
    /// To the other leg.
    Word(Word),
    /// To the channel table.
    Timeslot(Timeslot),
    /// To operators.
    Fault(Fault),
}

/// Sections 2.1.1 and 2.1.2.
#[derive(Debug)]
enum State {
    /// U1, N6: SETUP, with a number that may be `whole`, is out; it is sent a second time. The name follows the far end's
    /// first answer.
    Initiated { t303: Instant, again: Option<Vec<u8>>, name: Option<Facility>, whole: bool },
    /// U2, N25: the far end wants more digits.
    OverlapSending { t304: Instant },
    /// U3, N9.
    OutgoingProceeding { t310: Instant },
    /// U3, N9 with something in the timeslot: the standard has no timer any more, here T301 counts.
    Progressing { t301: Instant },
    /// U4, N7.
    Delivered { t301: Instant },
    /// U25, N2: we want more digits.
    OverlapReceiving { t302: Instant, setup: Box<Setup> },
    /// U9, N3: the caller's name was announced.
    AwaitingName { until: Instant, setup: Box<Setup> },
    /// U9, N3.
    IncomingProceeding,
    /// U7, N4.
    Received,
    /// U8: the far end owes us CONNECT ACKNOWLEDGE.
    ConnectRequest { t313: Instant },
    /// U10, N10; T309 runs while the data link is down.
    Active { t309: Option<Instant> },
    /// U11, N12: DISCONNECT is out.
    DisconnectRequest { t305: Instant, cause: Cause },
    /// N12 with tones in the timeslot.
    Tones { t306: Instant, cause: Cause },
    /// U12 with tones in the timeslot, which we listen to.
    Listening { t306: Instant, release: Release },
    /// U19, N19: RELEASE is out; it is sent a second time.
    ReleaseRequest { t308: Instant, again: Option<Vec<u8>> },
    /// U0, N0.
    Null,
}

/// A call.
#[derive(Debug)]
pub struct Call {
    access: Arc<Access>,
    /// As we write it.
    reference: Reference,
    channel: Channel,
    /// Our first answer, which names the timeslot, is out.
    slot_told: bool,
    state: State,
    enquiry: Option<Enquiry>,
    enclosed: Option<UserUser>,
}

impl Call {
    /// Its reference, as we write it.
    pub fn reference(&self) -> Reference {
        self.reference
    }

    /// Its timeslot.
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// Did we send the SETUP?
    pub fn is_outgoing(&self) -> bool {
        !self.reference.to_origin
    }

    /// Is it up?
    pub fn is_active(&self) -> bool {
        matches!(self.state, State::Active { .. })
    }

    /// Is it being ended?
    pub fn is_clearing(&self) -> bool {
        use State::{DisconnectRequest, Listening, Null, ReleaseRequest, Tones};
        matches!(self.state, DisconnectRequest { .. } | Tones { .. } | Listening { .. } | ReleaseRequest { .. } | Null)
    }

    /// Is nothing left to be said?
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Null)
    }

    /// Its state as the standard counts.
    pub fn state(&self) -> CallState {
        let by_place = |user, network| if self.access.counts_as_user() { user } else { network };
        match self.state {
            State::Initiated { .. } => by_place(CallState::INITIATED, CallState::PRESENT),
            State::OverlapSending { .. } => by_place(CallState::OVERLAP_SENDING, CallState::OVERLAP_RECEIVING),
            State::OutgoingProceeding { .. } | State::Progressing { .. } => {
                by_place(CallState::OUTGOING_PROCEEDING, CallState::INCOMING_PROCEEDING)
            }
            State::Delivered { .. } => by_place(CallState::DELIVERED, CallState::RECEIVED),
            State::OverlapReceiving { .. } => by_place(CallState::OVERLAP_RECEIVING, CallState::OVERLAP_SENDING),
            State::AwaitingName { .. } | State::IncomingProceeding => {
                by_place(CallState::INCOMING_PROCEEDING, CallState::OUTGOING_PROCEEDING)
            }
            State::Received => by_place(CallState::RECEIVED, CallState::DELIVERED),
            State::ConnectRequest { .. } => CallState::CONNECT_REQUEST,
            State::Active { .. } => CallState::ACTIVE,
            State::DisconnectRequest { .. } | State::Tones { .. } => {
                by_place(CallState::DISCONNECT_REQUEST, CallState::DISCONNECT_INDICATION)
            }
            State::Listening { .. } => by_place(CallState::DISCONNECT_INDICATION, CallState::DISCONNECT_REQUEST),
            State::ReleaseRequest { .. } => CallState::RELEASE_REQUEST,
            State::Null => CallState::NULL,
        }
    }

    /// A message of this call.
    pub fn receive(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        let flaw = message.flaw(self.access.side.other());
        if let Some(flaw) = flaw.as_ref().filter(|flaw| flaw.grave) {
            return self.refuse(now, message, flaw, out);
        }
        let answers = self.expects(message.kind) && !self.is_clearing();
        match message.kind {
            // Section 5.8.3.2 e.
            Kind::Setup => return,
            Kind::Disconnect => return self.disconnected(now, message, out),
            Kind::Release => return self.released(message, out),
            Kind::ReleaseComplete => return self.gone(message, out),
            Kind::Status => return self.status(now, message, out),
            Kind::StatusEnquiry => self.say_status(Cause::STATUS_ENQUIRY, Vec::new(), out),
            _ if self.is_clearing() => return,
            Kind::Information => self.information(now, message, out),
            Kind::Notify => message.all().for_each(|notice| self.tell(Word::Notice(notice), out)),
            Kind::Facility | Kind::UserInformation | Kind::CongestionControl => {}
            Kind::Segment | Kind::Register => return self.complain(message.kind, Flaw::unknown(message.kind), out),
            Kind::Suspend => self.reject(Kind::SuspendReject, out),
            Kind::Resume => self.reject(Kind::ResumeReject, out),
            Kind::Hold => self.reject(Kind::HoldReject, out),
            Kind::Retrieve => self.reject(Kind::RetrieveReject, out),
            kind if self.expects(kind) => {
                // Before the word that it belongs to.
                self.passed(message, out);
                self.answered(now, message, out);
            }
            Kind::ConnectAck => match self.state {
                State::ConnectRequest { .. } => self.state = State::Active { t309: None },
                State::Active { .. } if !self.is_outgoing() => {}
                _ => return self.unexpected(message, out),
            },
            _ => return self.unexpected(message, out),
        }
        if !answers {
            self.passed(message, out);
        }
        if let Some(flaw) = flaw {
            self.complain(message.kind, flaw, out);
        }
    }

    /// What the other leg wants. What does not fit the state is passed over: it came too late.
    pub fn order(&mut self, now: Instant, order: Order, out: &mut Vec<Output>) {
        match order {
            Order::Release { cause, tones } => self.release(now, cause, tones, out),
            Order::Enclose(told) => self.enclosed = Some(told),
            _ if self.is_clearing() => {}
            // Nothing may be said before the far end's first answer.
            _ if matches!(self.state, State::Initiated { .. }) => {}
            Order::Alert { audible } => self.alert(audible, out),
            Order::Progress => self.progress(out),
            Order::Answer(answer) => self.answer(now, *answer, out),
            Order::Digits { digits, whole } => self.dial(now, digits, whole, out),
            Order::Notify(notice) => self.send(self.message(Kind::Notify).with(&notice), out),
            Order::Facility(facility) => self.send(self.message(Kind::Facility).with(&facility), out),
            Order::UserUser(told) if self.is_active() => {
                self.send(self.message(Kind::UserInformation).with(&told), out)
            }
            Order::UserUser(_) => {}
        }
    }

    /// The data link is gone (section 5.8.9): what is not up is over.
    pub fn link_down(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.enquiry = None;
        match &mut self.state {
            State::Active { t309 } => *t309 = t309.or(Some(now + self.access.timers.t309)),
            _ => self.abort(Cause::OUT_OF_ORDER, "the D channel went down while the call was being set up", out),
        }
    }

    /// The data link is there again, or was begun anew and may have lost messages (section 5.8.8).
    pub fn link_up(&mut self, now: Instant, out: &mut Vec<Output>) {
        match &mut self.state {
            State::Active { t309 } => {
                *t309 = None;
                self.enquire(now, out);
            }
            State::OverlapSending { .. } | State::OverlapReceiving { .. } => {
                self.fail(now, Cause::TEMPORARY, "the data link was begun anew in the midst of the number", out);
            }
            _ => {}
        }
    }

    /// When [`Call::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let state = match self.state {
            State::Initiated { t303: at, .. }
            | State::OverlapSending { t304: at }
            | State::OutgoingProceeding { t310: at }
            | State::Progressing { t301: at }
            | State::Delivered { t301: at }
            | State::OverlapReceiving { t302: at, .. }
            | State::AwaitingName { until: at, .. }
            | State::ConnectRequest { t313: at }
            | State::DisconnectRequest { t305: at, .. }
            | State::Tones { t306: at, .. }
            | State::Listening { t306: at, .. }
            | State::ReleaseRequest { t308: at, .. } => Some(at),
            State::Active { t309 } => t309,
            // The other leg is bounded, and so is the far end's patience.
            State::IncomingProceeding | State::Received | State::Null => None,
        };
        soonest(state, self.enquiry.as_ref().map(Enquiry::timeout))
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        if self.enquiry.as_ref().is_some_and(|enquiry| now >= enquiry.timeout()) {
            self.unanswered(now, out);
        }
        // The first that is due: a state that is entered now has its time before it.
        match &self.state {
            State::Initiated { t303: at, .. } if now >= *at => self.t303(now, out),
            State::OverlapSending { t304: at } if now >= *at => self.late(now, 304, out),
            State::OutgoingProceeding { t310: at } if now >= *at => self.late(now, 310, out),
            State::Progressing { t301: at } | State::Delivered { t301: at } if now >= *at => self.late(now, 301, out),
            State::OverlapReceiving { t302: at, .. } if now >= *at => self.t302(now, out),
            State::AwaitingName { until: at, .. } if now >= *at => self.present(None, out),
            State::ConnectRequest { t313: at } if now >= *at => self.late(now, 313, out),
            State::Active { t309: Some(at) } if now >= *at => self.t309(out),
            State::DisconnectRequest { t305: at, .. } | State::Tones { t306: at, .. } if now >= *at => {
                self.t305(now, out)
            }
            State::Listening { t306: at, .. } if now >= *at => self.listened(now, out),
            State::ReleaseRequest { t308: at, .. } if now >= *at => self.t308(now, out),
            _ => {}
        }
    }

    /// Digits: the rest of a number, or pressed during the call.
    fn information(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        let called = message.get().map(|Called(number)| number.digits);
        let pressed = message.get().map(|Keypad(keys)| Private(keys.0.iter().copied().map(char::from).collect()));
        match (&self.state, called.or(pressed)) {
            (State::OverlapReceiving { .. }, digits) => self.collect(now, digits, message, out),
            (_, Some(digits)) => self.tell(Word::Digits(digits), out),
            (_, None) => {}
        }
    }

    /// Names, and what is passed as it is; what CONNECT tells belongs to its answer, and a user's last word to the end.
    fn passed(&mut self, message: &Message, out: &mut Vec<Output>) {
        let within = matches!(message.kind, Kind::Connect | Kind::Disconnect | Kind::Release | Kind::ReleaseComplete);
        if let Some(told) = message.get().filter(|_| !within) {
            self.tell(Word::UserUser(told), out);
        }
        for facility in message.all::<Facility>() {
            match Name::read(&facility) {
                Some(name) if matches!(self.state, State::AwaitingName { .. }) => self.present(Some(name), out),
                Some(_) if message.kind == Kind::Connect => {}
                Some(name) => self.tell(Word::Name(name), out),
                None => self.tell(Word::Facility(facility), out),
            }
        }
    }

    /// A word to the other leg, if it knows of the call and still listens.
    fn tell(&self, word: Word, out: &mut Vec<Output>) {
        let unknown = matches!(self.state, State::OverlapReceiving { .. } | State::AwaitingName { .. });
        let listens = !self.is_clearing() || matches!(self.state, State::Listening { .. });
        out.extend((listens && !unknown).then_some(Output::Word(word)));
    }

    fn message(&self, kind: Kind) -> Builder {
        Builder::new(self.reference, kind)
    }

    /// A cause that arises here.
    fn cause(&self, value: Cause) -> q931::Cause {
        q931::Cause::new(self.access.location, value)
    }

    /// With what our user tells.
    fn send_enclosing(&mut self, message: Builder, out: &mut Vec<Output>) {
        let told = self.enclosed.take();
        self.send(message.with_all(&told), out);
    }

    fn send(&self, message: Builder, out: &mut Vec<Output>) {
        out.push(Output::Message(message.octets()));
    }

    fn is_audible(message: &Message) -> bool {
        message.all::<Progress>().any(|progress| progress.is_audible())
    }
}
