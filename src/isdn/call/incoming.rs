//! We are called (Q.931 sections 5.1 and 5.2, seen from who receives SETUP).
//!
//! 1. SETUP. The channel table has found a timeslot, or refused.
//! 2. Where numbers come digit by digit and this one is not whole: SETUP ACKNOWLEDGE, T302 anew with each INFORMATION.
//!    `OverlapReceiving`
//! 3. CALL PROCEEDING; the first answer names the timeslot. Where the caller's name was announced, it is waited for a
//!    little. `AwaitingName`, `IncomingProceeding`
//! 4. ALERTING, PROGRESS, as the other leg says. `Received`
//! 5. CONNECT. A user awaits its acknowledgement, T313: `ConnectRequest`; the exchange does not. `Active`

use std::sync::Arc;
use std::time::Duration;

use super::{Access, Answer, Call, Output, Setup, State, Word, refusal};
use crate::cause::Cause;
use crate::private::Private;
use crate::time::Instant;
use crate::wire::q931::{self, Builder, Channel, Flaw, Heard, Kind, Message, Name, Progress, SendingComplete};

/// How long an announced name is waited for: it follows CALL PROCEEDING at once, or not at all.
const NAME: Duration = Duration::from_millis(500);
/// Ends a number.
const END: char = '#';

impl Call {
    /// Takes a SETUP, which will use this timeslot of ours. One that cannot be taken is refused: the message to send.
    pub fn incoming(
        now: Instant,
        access: Arc<Access>,
        message: &Message,
        channel: Channel,
        out: &mut Vec<Output>,
    ) -> Result<Call, Vec<u8>> {
        let location = access.location;
        let flaw = message.flaw(access.side.other());
        let refused = |flaw: Flaw| refusal(message.reference, &flaw.cause(location));
        let setup = match flaw.clone().filter(|flaw| flaw.grave) {
            Some(flaw) => return Err(refused(flaw)),
            None => Setup::read(message).map_err(refused)?,
        };
        if let Some(cause) = setup.unfit() {
            return Err(refusal(message.reference, &q931::Cause::new(location, cause)));
        }
        let state = State::OverlapReceiving { t302: now + access.timers.t302, setup: Box::new(setup) };
        let channel = access.named(Channel { exclusive: true, ..channel });
        let mut call = Call {
            access,
            reference: message.reference.reply(),
            channel,
            slot_told: false,
            state,
            enquiry: None,
            enclosed: None,
        };
        if call.is_whole() {
            call.number_whole(now, out);
        } else {
            let message = call.first_answer(Kind::SetupAck);
            call.send(message, out);
        }
        if let Some(flaw) = flaw {
            call.complain(Kind::Setup, flaw, out);
        }
        Ok(call)
    }

    /// Digits of a number that is not whole yet.
    pub(super) fn collect(
        &mut self,
        now: Instant,
        digits: Option<Private<String>>,
        message: &Message,
        out: &mut Vec<Output>,
    ) {
        let State::OverlapReceiving { t302, setup } = &mut self.state else { return };
        *t302 = now + self.access.timers.t302;
        setup.called.digits.0.push_str(digits.unwrap_or_default().get());
        setup.complete |= message.get::<SendingComplete>().is_some();
        if self.is_whole() {
            self.number_whole(now, out);
        }
    }

    fn is_whole(&self) -> bool {
        let State::OverlapReceiving { setup, .. } = &self.state else { return true };
        let digits = setup.called.digits.get();
        self.access
            .overlap
            .is_none_or(|overlap| setup.complete || digits.ends_with(END) || digits.len() >= overlap.length)
    }

    /// No further digit came. What there is has to do; nothing at all cannot.
    pub(super) fn t302(&mut self, now: Instant, out: &mut Vec<Output>) {
        let State::OverlapReceiving { setup, .. } = &self.state else { return };
        if setup.called.digits.get().is_empty() {
            self.fail(now, Cause::INCOMPLETE, "no digits came (T302)", out);
        } else {
            self.number_whole(now, out);
        }
    }

    /// The number is whole.
    pub(super) fn number_whole(&mut self, now: Instant, out: &mut Vec<Output>) {
        let State::OverlapReceiving { setup, .. } = &mut self.state else { return };
        if self.access.overlap.is_some() && setup.called.digits.get().ends_with(END) {
            setup.called.digits.0.pop();
        }
        setup.complete = true;
        let awaits_name = setup.name_follows && setup.name.is_none();
        self.state = State::AwaitingName { until: now + NAME, setup: setup.clone() };
        let message = self.first_answer(Kind::CallProceeding);
        self.send(message, out);
        if !awaits_name {
            self.present(None, out);
        }
    }

    /// The call becomes one of the house.
    pub(super) fn present(&mut self, name: Option<Name>, out: &mut Vec<Output>) {
        let State::AwaitingName { setup, .. } = &mut self.state else { return };
        setup.name = name.or(setup.name.take());
        out.push(Output::Word(Word::Setup(setup.clone())));
        self.state = State::IncomingProceeding;
    }

    pub(super) fn alert(&mut self, audible: bool, out: &mut Vec<Output>) {
        if matches!(self.state, State::IncomingProceeding) {
            let message = self.message(Kind::Alerting).with_all(audible.then(|| self.in_band()).as_ref());
            self.send_enclosing(message, out);
            self.state = State::Received;
        } else if audible {
            self.progress(out);
        }
    }

    pub(super) fn progress(&mut self, out: &mut Vec<Output>) {
        if matches!(self.state, State::IncomingProceeding | State::Received) {
            let message = self.message(Kind::Progress).with(&self.in_band());
            self.send_enclosing(message, out);
        }
    }

    pub(super) fn answer(&mut self, now: Instant, answer: Answer, out: &mut Vec<Output>) {
        if !matches!(self.state, State::IncomingProceeding | State::Received) {
            return;
        }
        let (dialect, private) = (self.access.dialect, self.access.dialect.is_private());
        let name = answer.name.filter(|_| private).map(|name| name.facility(1, private));
        let connected = answer.connected.filter(|_| dialect.tells_who_answered());
        let message = self.message(Kind::Connect).with_all(&connected).with_all(&name);
        self.send(message.with_all(&answer.user_user), out);
        self.state = if self.access.awaits_connect_ack() {
            State::ConnectRequest { t313: now + self.access.timers.t313 }
        } else {
            State::Active { t309: None }
        };
    }

    /// Our first answer to a SETUP names the timeslot (section 5.2.3.1).
    fn first_answer(&mut self, kind: Kind) -> Builder {
        let told = std::mem::replace(&mut self.slot_told, true);
        self.message(kind).with_all((!told).then_some(&self.channel))
    }

    pub(super) fn in_band(&self) -> Progress {
        Progress::new(self.access.location, Heard::IN_BAND)
    }
}
