//! The peer's REFER in a leg: taken or refused by the call, then told of how the new call goes.
//!
//! ```text
//! call                  leg                  peer
//!  |<----- Transfer -----|<---- REFER --------|
//!  |-- Transfer(Taken) ->|----- 202 --------->|  or Transfer(Refused): 4xx, 6xx
//!  |                     |----- NOTIFY 100 -->|
//!  |-- Transfer(At) ---->|----- NOTIFY 180 -->|
//!  |- Transfer(Reached)->|----- NOTIFY 200 -->|  or Transfer(Failed): its status, and why
//! ```
//! One at a time: a REFER while another runs gets 491.

use std::time::Duration;

use super::{Received, RequestId, Step};
use crate::cause::{Cause, Guilty, Release};
use crate::leg::{Outcome, Referral, Word};
use crate::private::Private;
use crate::sip::dialog::Dialog;
use crate::sip::invite::{PRODUCT, accepted, contact, dated};
use crate::sip::reason::fragment;
use crate::sip::refer::{Subscription, wants_news};
use crate::time::Instant;
use crate::wire::sip::{Message, Method, Name, Params, ReferTo, date};

/// How long the call may think about a REFER, whose sender gives up after 32 s.
const PATIENCE: Duration = Duration::from_secs(20);

/// A REFER of the peer.
#[derive(Debug)]
pub(super) enum Referring {
    /// The call thinks about it.
    Asked { received: Received, first: bool, end: Instant },
    /// The new call is on its way, and the peer is told.
    Told(Subscription<RequestId>),
    /// The peer wants no news (RFC 4488).
    Untold,
}

impl Referring {
    /// A REFER came: asks the call, or refuses what nobody could follow.
    pub(super) fn begin(step: &mut Step<'_>, received: Received, first: bool) -> Option<Referring> {
        let refuse = |step: &mut Step<'_>, status| step.respond(&received, step.reply(&received, status));
        if !accepted(&step.base.trunk).methods.contains(&Method::Refer) {
            refuse(step, 405);
            step.note("a transfer was asked for by a trunk that may not: see AcceptRefer");
            return None;
        }
        let Some(referral) = referral(&received.message) else {
            refuse(step, 400);
            step.note("a REFER whose Refer-To cannot be read is refused");
            return None;
        };
        step.say(Word::Transfer(Box::new(referral)));
        Some(Referring::Asked { received, first, end: step.now.mono + PATIENCE })
    }

    /// The call says how it goes. `None`: it is over.
    pub(super) fn order(self, step: &mut Step<'_>, dialog: &mut Dialog, outcome: Outcome) -> Option<Referring> {
        match (self, outcome) {
            (Referring::Asked { received, .. }, Outcome::Refused(release)) => {
                step.refuse(&received, &release, None);
                None
            }
            (Referring::Asked { received, first, .. }, outcome) => {
                let taken = Referring::take(step, &received, first).tell(step, dialog);
                match outcome {
                    Outcome::Taken => taken,
                    outcome => taken?.order(step, dialog, outcome),
                }
            }
            (Referring::Told(mut subscription), outcome) => {
                if let Some((status, release)) = stand(&outcome) {
                    subscription.news(status, fragment(&step.base.trunk, status, release));
                }
                Referring::Told(subscription).tell(step, dialog)
            }
            (Referring::Untold, Outcome::Reached | Outcome::Failed(_)) => None,
            (referring, _) => Some(referring),
        }
    }

    fn take(step: &mut Step<'_>, received: &Received, first: bool) -> Referring {
        let told = wants_news(&received.message);
        let builder = step.reply(received, 202);
        let builder = builder.header(Name::Contact, contact(&step.base.trunk, step.base.transport()));
        step.respond(received, if told { builder } else { builder.other("Refer-Sub", "false") });
        match told {
            true => Referring::Told(Subscription::begin(step.now.mono, &received.message, first)),
            false => Referring::Untold,
        }
    }

    /// Sends the NOTIFY that is due.
    fn tell(mut self, step: &mut Step<'_>, dialog: &mut Dialog) -> Option<Referring> {
        let Referring::Told(subscription) = &mut self else { return Some(self) };
        let now = step.now;
        let contact = contact(&step.base.trunk, step.base.transport());
        let begin = || {
            let builder = dialog.request(Method::Notify).header(Name::UserAgent, PRODUCT);
            dated(builder, now).header(Name::Contact, contact)
        };
        if let Some(notify) = subscription.next(now.mono, begin) {
            subscription.sent(step.send(dialog, notify));
        }
        (!subscription.is_over()).then_some(self)
    }

    /// Is this the request of a NOTIFY of ours?
    pub(super) fn awaits(&self, id: RequestId) -> bool {
        matches!(self, Referring::Told(subscription) if subscription.awaits(id))
    }

    /// A NOTIFY was answered so, or not at all.
    pub(super) fn answered(
        mut self,
        step: &mut Step<'_>,
        dialog: &mut Dialog,
        status: Option<u16>,
    ) -> Option<Referring> {
        if let Referring::Told(subscription) = &mut self {
            subscription.answered(status);
            if let Some(status) = status.filter(|status| *status >= 300) {
                step.note(format!("the peer wants to hear no more of its transfer ({status})"));
            }
        }
        self.tell(step, dialog)
    }

    /// The peer's SUBSCRIBE in the dialog.
    pub(super) fn subscribe(
        mut self,
        step: &mut Step<'_>,
        dialog: &mut Dialog,
        received: &Received,
    ) -> Option<Referring> {
        let granted = match &mut self {
            Referring::Told(subscription) => subscription.subscribe(step.now.mono, &received.message),
            Referring::Asked { .. } | Referring::Untold => None,
        };
        match granted {
            Some(seconds) => {
                let contact = contact(&step.base.trunk, step.base.transport());
                let builder = step.reply(received, 200).header(Name::Expires, seconds);
                step.respond(received, builder.header(Name::Contact, contact));
            }
            None => step.respond(received, step.reply(received, 481)),
        }
        self.tell(step, dialog)
    }

    /// The dialog's call ends with a BYE of the peer: does the peer still wait for news?
    pub(super) fn outlives_call(self, step: &mut Step<'_>) -> Option<Referring> {
        match self {
            Referring::Asked { received, .. } => {
                step.respond(&received, step.reply(&received, 481));
                None
            }
            Referring::Told(_) => Some(self),
            Referring::Untold => None,
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        match self {
            Referring::Asked { end, .. } => Some(*end),
            Referring::Told(subscription) => subscription.timeout(),
            Referring::Untold => None,
        }
    }

    pub(super) fn tick(self, step: &mut Step<'_>, dialog: &mut Dialog) -> Option<Referring> {
        match self {
            Referring::Asked { received, end, .. } if end <= step.now.mono => {
                step.note("the transfer was not decided in time");
                step.respond(&received, step.reply(&received, 504));
                None
            }
            Referring::Told(mut subscription) => {
                subscription.tick(step.now.mono);
                Referring::Told(subscription).tell(step, dialog)
            }
            referring => Some(referring),
        }
    }
}

/// The status of the new call, and why it failed.
fn stand(outcome: &Outcome) -> Option<(u16, Option<&Release>)> {
    match outcome {
        Outcome::At(status) => Some((*status, None)),
        Outcome::Reached => Some((200, None)),
        Outcome::Failed(release) => Some((release.final_status(), Some(release))),
        Outcome::Taken | Outcome::Refused(_) => None,
    }
}

/// What a REFER asks for; `None` when it names nobody whom we could call, or more than one.
fn referral(refer: &Message) -> Option<Referral> {
    let mut targets = refer.all(Name::ReferTo);
    let refer_to = targets.next().and_then(ReferTo::parse).filter(|refer_to| refer_to.calls)?;
    if targets.next().is_some() {
        return None;
    }
    let referred_by = refer.value(Name::ReferredBy);
    // Microsoft's own servers sign for the referee that they see: whom the REFER is addressed to, unless told.
    let named = referred_by.and_then(|value| Params::behind(value).1.text("ms-referee-uri"));
    let addressed = || refer.address(Name::To).ok().map(|to| to.uri.as_str());
    Some(Referral {
        target: Private(refer_to.target),
        replaces: refer_to.replaces.map(Private),
        referred_by: referred_by.map(|value| Private(value.to_vec())),
        referee: Private(named.or_else(addressed).unwrap_or_default().to_owned()),
        date: refer.value(Name::Date).and_then(date),
    })
}

/// A REFER that comes while the leg cannot follow it.
pub(super) fn later(step: &mut Step<'_>, received: &Received, why: &'static str) {
    let release = Release::new(Guilty::Peer, Cause::TEMPORARY, why).with_status(491);
    step.note(format!("a REFER gets 491: {why}"));
    step.refuse(received, &release, None);
}
