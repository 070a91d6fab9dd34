//! We call (Q.931 sections 5.1 and 5.2, seen from who sends SETUP).
//!
//! 1. SETUP; T303, once more, T303. `Initiated`
//! 2. The first answer names the timeslot, if it is another than ours. A name that is told in a FACILITY follows now.
//! 3. SETUP ACKNOWLEDGE: digits one by one. `OverlapSending` CALL PROCEEDING: `OutgoingProceeding`
//! 4. ALERTING: `Delivered`. A progress indicator: the timeslot is to be listened to.
//! 5. CONNECT is acknowledged. `Active`

use std::sync::Arc;

use super::{Access, Answer, Call, Fault, Output, Setup, State, Timeslot, Word};
use crate::cause::{Cause, Guilty, Release};
use crate::private::Private;
use crate::time::Instant;
use crate::wire::q931::{
    Called, Channel, Facility, Kind, Message, Name, Number, NumberType, Party, Plan, Reference, SendingComplete,
};

impl Call {
    /// Calls over the timeslot that `channel` asks for. `reference` is one that no other call of ours on this D channel has.
    pub fn outgoing(
        now: Instant,
        access: Arc<Access>,
        reference: u16,
        channel: Channel,
        setup: &Setup,
        out: &mut Vec<Output>,
    ) -> Call {
        let reference = Reference { value: reference, to_origin: false };
        let channel = access.named(channel);
        let (message, name) = setup.message(&access, reference, &channel);
        out.push(Output::Message(message.clone()));
        let state =
            State::Initiated { t303: now + access.timers.t303, again: Some(message), name, whole: setup.complete };
        Call { access, reference, channel, slot_told: true, state, enquiry: None, enclosed: None }
    }

    /// No answer to our SETUP.
    pub(super) fn t303(&mut self, now: Instant, out: &mut Vec<Output>) {
        let State::Initiated { t303, again, .. } = &mut self.state else { return };
        if let Some(message) = again.take() {
            *t303 = now + self.access.timers.t303;
            return out.push(Output::Message(message));
        }
        let cause = self.cause(Cause::TIMER).about(*b"303");
        out.push(Output::Fault(Fault::Timer(303)));
        self.send(self.message(Kind::ReleaseComplete).with(&cause), out);
        let why = "the exchange does not answer SETUP (T303)";
        self.farewell(Release::new(Guilty::Network, Cause::NO_RESPONSE, why), out);
        self.free(Timeslot::Unsure, out);
    }

    /// Does a message of the called end's fit the state?
    pub(super) fn expects(&self, kind: Kind) -> bool {
        let progress = matches!(kind, Kind::Alerting | Kind::Progress | Kind::Connect);
        match self.state {
            State::Initiated { .. } => progress || matches!(kind, Kind::SetupAck | Kind::CallProceeding),
            State::OverlapSending { .. } => progress || kind == Kind::CallProceeding,
            State::OutgoingProceeding { .. } | State::Progressing { .. } => progress,
            State::Delivered { .. } => matches!(kind, Kind::Progress | Kind::Connect),
            _ => false,
        }
    }

    /// The called end's messages up to CONNECT.
    pub(super) fn answered(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        if let State::Initiated { name, whole, .. } = &mut self.state {
            let (name, whole) = (name.take(), *whole);
            if let Err((cause, why)) = self.agree(message, out) {
                return self.fail(now, cause, why, out);
            }
            if let Some(name) = name {
                self.send(self.message(Kind::Facility).with(&name), out);
            }
            if whole && message.kind == Kind::SetupAck {
                // It wants digits, and there are none.
                self.send(self.message(Kind::Information).with(&SendingComplete), out);
            }
        }
        let timers = &self.access.timers;
        let audible = Call::is_audible(message);
        let (state, word) = match message.kind {
            Kind::SetupAck => (State::OverlapSending { t304: now + timers.t304 }, None),
            Kind::Alerting => {
                (State::Delivered { t301: now + timers.t301 }, Some(Word::Progress { ringing: true, audible }))
            }
            Kind::Connect => {
                self.send(self.message(Kind::ConnectAck), out);
                (State::Active { t309: None }, Some(Word::Answer(Box::new(answer(message)))))
            }
            // PROGRESS, CALL PROCEEDING.
            _ if audible => (self.listening(now), Some(Word::Progress { ringing: false, audible })),
            Kind::Progress if !matches!(self.state, State::Initiated { .. } | State::OverlapSending { .. }) => return,
            _ => (State::OutgoingProceeding { t310: now + timers.t310 }, Some(Word::Proceeding)),
        };
        self.state = state;
        out.extend(word.map(Output::Word));
    }

    /// Sections 5.1.6 and 5.2.6: something is in the timeslot, T310 stops.
    fn listening(&self, now: Instant) -> State {
        match self.state {
            State::Delivered { t301 } => State::Delivered { t301 },
            State::Progressing { t301 } => State::Progressing { t301 },
            _ => State::Progressing { t301: now + self.access.timers.t301 },
        }
    }

    /// The timeslot of the first answer (sections 5.1.2 and 5.2.3.1).
    fn agree(&mut self, message: &Message, out: &mut Vec<Output>) -> Result<(), (Cause, &'static str)> {
        let theirs = message.get::<Channel>().filter(|theirs| theirs.single().is_some() && !self.is_ours(theirs));
        match theirs {
            Some(_) if self.channel.exclusive => {
                let why = "the exchange gave another timeslot than the one that was asked for";
                return Err((Cause::CHANNEL_UNACCEPTABLE, why));
            }
            Some(theirs) => self.channel = theirs,
            None => {}
        }
        if self.channel.single().is_none() {
            return Err((Cause::MANDATORY_MISSING, "the exchange named no timeslot"));
        }
        self.channel.exclusive = true;
        out.push(Output::Timeslot(Timeslot::Agreed(self.channel.clone())));
        Ok(())
    }

    /// Who names no interface may mean any that the other names.
    fn is_ours(&self, theirs: &Channel) -> bool {
        let interfaces = theirs.interface.is_none() || self.channel.interface.is_none();
        theirs.numbers() == self.channel.numbers() && (interfaces || theirs.interface == self.channel.interface)
    }

    /// Further digits, where they are wanted.
    pub(super) fn dial(&mut self, now: Instant, digits: Private<String>, whole: bool, out: &mut Vec<Output>) {
        let State::OverlapSending { t304 } = &mut self.state else { return };
        *t304 = now + self.access.timers.t304;
        let any = !digits.get().is_empty();
        let called = Called(Number { kind: NumberType::UNKNOWN, plan: Plan::ISDN, digits });
        let message = self.message(Kind::Information).with_all(any.then_some(&called));
        self.send(message.with_all(whole.then_some(&SendingComplete)), out);
    }

    /// A timer of call set-up ran out: the far end hears which, the other leg what it means.
    pub(super) fn late(&mut self, now: Instant, timer: u16, out: &mut Vec<Output>) {
        let (cause, why) = match timer {
            301 => (Cause::NO_ANSWER, "nobody answered (T301)"),
            304 => (Cause::INCOMPLETE, "the exchange waits for digits that we do not have (T304)"),
            310 => (Cause::NO_RESPONSE, "the exchange took the call and said nothing more (T310)"),
            _ => (Cause::TIMER, "the exchange does not acknowledge that the call was answered (T313)"),
        };
        out.push(Output::Fault(Fault::Timer(timer)));
        self.farewell(Release::new(Guilty::Network, cause, why), out);
        let told = self.cause(Cause::TIMER).about(timer.to_string());
        self.disconnect(now, told, out);
    }
}

/// Who answered.
fn answer(message: &Message) -> Answer {
    let names = message.all::<Facility>().filter_map(|facility| Name::read(&facility));
    let name = names.into_iter().find(|name| name.party == Party::Connected);
    Answer { connected: message.get(), name, user_user: message.get() }
}
