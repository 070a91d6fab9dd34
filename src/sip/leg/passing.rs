//! Our REFER in a leg: the peer shall call somebody by itself, through us (RFC 3515).
//!
//! ```text
//! call                 leg                    peer
//!  |------ Refer ------>|----- REFER --------->|
//!  |<-- Referred(Taken)-|<---- 202 ------------|  or Referred(Refused): any refusal, no answer
//!  |<-- Referred(At) ---|<---- NOTIFY 180 -----|
//!  |<- Referred(Reached) |<---- NOTIFY 200 -----|  or Referred(Failed)
//! ```

use super::{Received, RequestId, Step, unanswered};
use crate::cause::{Release, reason_phrase};
use crate::leg::{Outcome, Passage, Word};
use crate::private::Private;
use crate::sip::dialog::Dialog;
use crate::sip::invite::{PRODUCT, dated, refer_to};
use crate::sip::reason::refused_by;
use crate::sip::transaction::Failure;
use crate::wire::sip::{Line, Method, Name, Params, fragment, fragment_status, refer_event, without_ms};

/// A REFER of ours.
#[derive(Debug)]
pub(super) enum Passing {
    /// On its way.
    Sent { id: RequestId },
    /// Taken: the peer tells how it goes.
    Taken,
}

impl Passing {
    /// Sends the REFER.
    pub(super) fn begin(step: &mut Step<'_>, dialog: &mut Dialog, passage: &Passage) -> Passing {
        let target = refer_to(&step.base.trunk, step.base.transport(), passage);
        let builder = dated(dialog.request(Method::Refer).header(Name::UserAgent, PRODUCT), step.now);
        let builder = builder.header(Name::ReferTo, format_args!("<{target}>"));
        let builder = match &passage.referred_by {
            Some(Private(value)) => {
                builder.line(Line { name: Name::ReferredBy, text: b"Referred-By", value: &without_ms(value) })
            }
            None => builder,
        };
        let contact = crate::sip::invite::contact(&step.base.trunk, step.base.transport());
        let id = step.send(dialog, builder.header(Name::Contact, contact).empty_body());
        Passing::Sent { id }
    }

    /// Is this our REFER?
    pub(super) fn awaits(&self, id: RequestId) -> bool {
        matches!(self, Passing::Sent { id: ours } if *ours == id)
    }

    /// It was answered. `None`: it is over.
    pub(super) fn answered(self, step: &mut Step<'_>, status: u16) -> Option<Passing> {
        if status < 300 {
            step.say(Word::Referred(Outcome::Taken));
            return Some(Passing::Taken);
        }
        let why = format!("the peer answered {status} {} to our REFER", reason_phrase(status));
        step.say(Word::Referred(Outcome::Refused(Release::refused(status, None, why))));
        None
    }

    /// It was not answered.
    pub(super) fn failed(self, step: &mut Step<'_>, why: Failure) -> Option<Passing> {
        step.say(Word::Referred(Outcome::Refused(unanswered(why))));
        None
    }

    /// A NOTIFY of the peer's, which may overtake its 202.
    pub(super) fn notified(self, step: &mut Step<'_>, received: &Received) -> Option<Passing> {
        let message = &received.message;
        let ours = refer_event(message.value(Name::Event).unwrap_or_default()).is_some();
        let Some(status) = fragment_status(message.body()).filter(|_| ours) else {
            step.respond(received, step.reply(received, if ours { 400 } else { 489 }));
            return Some(self);
        };
        step.respond(received, step.reply(received, 200));
        let state = Params::behind(message.value(Name::SubscriptionState).unwrap_or_default()).0;
        let ended = state.eq_ignore_ascii_case(b"terminated");
        match status {
            200..300 => step.say(Word::Referred(Outcome::Reached)),
            300.. => step.say(Word::Referred(Outcome::Failed(failed(message.body(), status)))),
            _ if ended => {
                let why = "the peer tells no more of its call, and has not said how it ended";
                step.say(Word::Referred(Outcome::Failed(Release::refused(500, None, why))));
            }
            _ => {
                step.say(Word::Referred(Outcome::At(status)));
                return Some(self);
            }
        }
        None
    }
}

/// Why the peer's own call failed, as far as its fragment tells.
fn failed(body: &[u8], status: u16) -> Release {
    let why = format!("the gateway's own call ended with {status} {}", reason_phrase(status));
    match fragment(body) {
        Some(fragment) => refused_by(&fragment, status, why),
        None => Release::refused(status, None, why),
    }
}
