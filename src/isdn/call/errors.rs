//! Messages that do not fit (Q.931 section 5.8): to no call, to no state, or with something wrong in them.

use super::{Call, Output};
use crate::cause::Cause;
use crate::time::Instant;
use crate::wire::q931::{self, Builder, CallState, Flaw, Kind, Location, Message, Reference};

/// A rule that was broken, for operators.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// By the far end, who was told.
    #[error("the far end's {kind} is not as it has to be (cause {cause}, about {diagnostics:02x?})")]
    Theirs {
        /// Which message.
        kind: Kind,
        /// As which cause it was told.
        cause: Cause,
        /// About which elements, or which message.
        diagnostics: Vec<u8>,
    },
    /// By us, as the far end says.
    #[error("the far end finds fault with a message of ours: cause {cause}, about {diagnostics:02x?}")]
    Ours {
        /// Its cause.
        cause: Cause,
        /// About what.
        diagnostics: Vec<u8>,
    },
    /// Both ends think differently of a call.
    #[error("the far end has the call in state {}, here it is in {}", theirs.0, ours.0)]
    States {
        /// By its STATUS.
        theirs: CallState,
        /// By what was said and heard.
        ours: CallState,
    },
    /// The far end did not answer in time.
    #[error("timer T{0} ran out: the far end did not answer in time")]
    Timer(u16),
}

/// RELEASE COMPLETE for a SETUP that is not taken; `reference` as it was received.
pub fn refusal(reference: Reference, cause: &q931::Cause) -> Vec<u8> {
    Builder::new(reference.reply(), Kind::ReleaseComplete).with(cause).octets()
}

/// What a message to no call of ours is answered, a SETUP that begins one aside (section 5.8.3.2).
pub fn stray(message: &Message, location: Location) -> Option<Vec<u8>> {
    let told = |value| q931::Cause::new(location, value);
    let status = |value, state: CallState| {
        let message = Builder::new(message.reference.reply(), Kind::Status).with(&told(value)).with(&state);
        Some(message.octets())
    };
    match message.kind {
        Kind::Restart | Kind::RestartAck | Kind::Service(_) | Kind::ServiceAck(_) => None,
        Kind::StatusEnquiry => status(Cause::STATUS_ENQUIRY, CallState::NULL),
        Kind::Status if message.reference.is_global() => None,
        _ if message.reference.is_global() => status(Cause::NO_SUCH_CALL, CallState::NULL),
        // A SETUP whose flag is wrong, and what needs no answer.
        Kind::Setup | Kind::ReleaseComplete => None,
        Kind::Status if message.get() == Some(CallState::NULL) => None,
        Kind::Status => Some(refusal(message.reference, &told(Cause::WRONG_STATE))),
        _ => Some(refusal(message.reference, &told(Cause::NO_SUCH_CALL))),
    }
}

impl Call {
    /// A message that must not be acted on (sections 5.8.4 and 5.8.6); those that end a call do so nevertheless.
    pub(super) fn refuse(&mut self, now: Instant, message: &Message, flaw: &Flaw, out: &mut Vec<Output>) {
        match message.kind {
            Kind::Setup => {}
            Kind::Disconnect => self.disconnected(now, message, out),
            Kind::Release => self.released(message, out),
            Kind::ReleaseComplete => self.gone(message, out),
            _ if self.is_over() => {}
            kind => self.complain(kind, flaw.clone(), out),
        }
    }

    /// A message that does not fit the state.
    pub(super) fn unexpected(&self, message: &Message, out: &mut Vec<Output>) {
        self.complain(message.kind, Flaw::unexpected(message.kind), out);
    }

    /// STATUS with what is wrong.
    pub(super) fn complain(&self, kind: Kind, flaw: Flaw, out: &mut Vec<Output>) {
        let Flaw { value: cause, diagnostics, .. } = flaw;
        out.push(Output::Fault(Fault::Theirs { kind, cause, diagnostics: diagnostics.clone() }));
        self.say_status(cause, diagnostics, out);
    }

    /// SUSPEND, RESUME, HOLD and RETRIEVE are not for lines of this kind.
    pub(super) fn reject(&self, kind: Kind, out: &mut Vec<Output>) {
        let cause = self.cause(Cause::FACILITY_NOT_IMPLEMENTED);
        self.send(self.message(kind).with(&cause), out);
    }
}
