//! What remains to be said when the call has already forgotten the leg.
//!
//! ```text
//! Cancelling   CANCEL went out; the INVITE's end is awaited. A 200 that crosses is confirmed and hung up
//! Unconfirmed  our 200 waits for its ACK; only then may a BYE go out (RFC 3261 section 15)
//! Telling      the peer's transfer is not decided, or not told yet; then a BYE, unless the peer hung up
//! Bye          our BYE waits for its answer
//! ```

use std::time::Duration;

use super::confirmed::Unacked;
use super::referring::Referring;
use super::{Output, Received, RequestId, State, Step};
use crate::cause::Release;
use crate::leg::Order;
use crate::sip::dialog::Dialog;
use crate::sip::reliable::Repeat;
use crate::sip::transaction::{Failure, LIFETIME};
use crate::time::{Instant, soonest};
use crate::wire::sip::{Message, Method, Name};

/// How long the peer may take to hear how its transfer went before it hears our BYE.
const HEARING: Duration = Duration::from_secs(5);
/// How long the peer may hear of its transfer after it hung up: longer than any subscription.
const LISTENING: Duration = Duration::from_secs(300);

/// A leg that is ending.
#[derive(Debug)]
pub(super) enum Leaving {
    Cancelling { id: RequestId, tag: String, end: Instant },
    Unconfirmed { dialog: Dialog, unacked: Unacked, release: Release },
    Telling { dialog: Dialog, referring: Referring, bye: Option<Release>, end: Instant },
    Bye { dialog: Dialog, id: RequestId, reinvite: Option<Reinvite>, release: Release, end: Instant },
}

/// A re-INVITE of ours that may still be accepted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reinvite {
    pub(super) id: RequestId,
    pub(super) cseq: u32,
}

impl Leaving {
    pub(super) fn cancelling(now: Instant, id: RequestId, invite: &Message) -> Leaving {
        let tag = invite.tag(Name::From).unwrap_or_default().to_owned();
        // The transaction gives up 64*T1 after the CANCEL has gone out, which may be 64*T1 from now.
        Leaving::Cancelling { id, tag, end: now + LIFETIME * 3 }
    }

    /// Sends BYE.
    pub(super) fn bye(step: &mut Step<'_>, mut dialog: Dialog, release: &Release, reinvite: Option<Reinvite>) -> State {
        let id = step.bye(&mut dialog, release);
        let end = step.now.mono + LIFETIME * 2;
        State::Leaving(Box::new(Leaving::Bye { dialog, id, reinvite, release: release.clone(), end }))
    }

    /// The peer's transfer is not told yet; with `bye` we hang up after that, without the peer has.
    pub(super) fn telling(step: &mut Step<'_>, dialog: Dialog, referring: Referring, bye: Option<Release>) -> State {
        let end = step.now.mono + if bye.is_some() { HEARING } else { LISTENING };
        State::Leaving(Box::new(Leaving::Telling { dialog, referring, bye, end }))
    }

    /// What comes of a step of [`Leaving::Telling`]; with nothing left to tell the leg ends.
    fn told(
        step: &mut Step<'_>,
        dialog: Dialog,
        referring: Option<Referring>,
        bye: Option<Release>,
        end: Instant,
    ) -> State {
        match (referring, bye) {
            (Some(referring), bye) if step.now.mono < end => {
                State::Leaving(Box::new(Leaving::Telling { dialog, referring, bye, end }))
            }
            (_, Some(release)) => Leaving::bye(step, dialog, &release, None),
            (_, None) => State::Over,
        }
    }

    pub(super) fn order(self: Box<Self>, step: &mut Step<'_>, order: Order) -> State {
        match (*self, order) {
            (Leaving::Telling { mut dialog, referring, bye, end }, Order::Transfer(outcome)) => {
                let referring = referring.order(step, &mut dialog, outcome);
                Leaving::told(step, dialog, referring, bye, end)
            }
            (leaving, _) => State::Leaving(Box::new(leaving)),
        }
    }

    pub(super) fn request(self: Box<Self>, step: &mut Step<'_>, received: Received) -> State {
        let bye = received.message.is(Method::Bye);
        if let Leaving::Telling { mut dialog, referring, bye: hangs_up, end } = *self {
            if received.message.is(Method::Subscribe) {
                let referring = referring.subscribe(step, &mut dialog, &received);
                return Leaving::told(step, dialog, referring, hangs_up, end);
            }
            step.respond(&received, step.reply(&received, if bye { 200 } else { 481 }));
            return if bye {
                Leaving::telling(step, dialog, referring, None)
            } else {
                Leaving::told(step, dialog, Some(referring), hangs_up, end)
            };
        }
        step.respond(&received, step.reply(&received, if bye { 200 } else { 481 }));
        match *self {
            Leaving::Unconfirmed { .. } if bye => State::Over,
            leaving => State::Leaving(Box::new(leaving)),
        }
    }

    pub(super) fn ack(self: Box<Self>, step: &mut Step<'_>, ack: &Message) -> State {
        match *self {
            Leaving::Unconfirmed { dialog, unacked, release } if unacked.is_for(ack) => {
                Leaving::bye(step, dialog, &release, None)
            }
            leaving => State::Leaving(Box::new(leaving)),
        }
    }

    pub(super) fn response(self: Box<Self>, step: &mut Step<'_>, id: RequestId, response: &Message) -> State {
        let status = response.status().unwrap_or_default();
        match *self {
            _ if status < 200 => State::Leaving(self),
            Leaving::Telling { mut dialog, referring, bye, end } if referring.awaits(id) => {
                let referring = referring.answered(step, &mut dialog, Some(status));
                Leaving::told(step, dialog, referring, bye, end)
            }
            Leaving::Cancelling { id: ours, .. } if ours == id => {
                step.hang_up_stray(id, response);
                State::Over
            }
            Leaving::Bye { id: ours, .. } if ours == id => State::Over,
            Leaving::Bye { ref dialog, reinvite: Some(reinvite), .. } if reinvite.id == id && status < 300 => {
                step.acknowledge(id, dialog, reinvite.cseq);
                State::Leaving(self)
            }
            _ => {
                step.hang_up_stray(id, response);
                State::Leaving(self)
            }
        }
    }

    pub(super) fn failed(self: Box<Self>, step: &mut Step<'_>, id: RequestId, why: Failure) -> State {
        match *self {
            Leaving::Cancelling { id: ours, .. } if ours == id => State::Over,
            Leaving::Telling { mut dialog, referring, bye, end } if referring.awaits(id) => {
                let referring = referring.answered(step, &mut dialog, None);
                Leaving::told(step, dialog, referring, bye, end)
            }
            // The way to the peer is gone: once more by the other one.
            Leaving::Bye { dialog, id: ours, reinvite, release, .. }
                if ours == id && why == Failure::Transport && step.base.take_detour() =>
            {
                Leaving::bye(step, dialog, &release, reinvite)
            }
            Leaving::Bye { id: ours, .. } if ours == id => State::Over,
            leaving => State::Leaving(Box::new(leaving)),
        }
    }

    pub(super) fn has_tag(&self, tag: &str) -> bool {
        match self {
            Leaving::Cancelling { tag: ours, .. } => ours == tag,
            Leaving::Unconfirmed { dialog, .. } | Leaving::Telling { dialog, .. } | Leaving::Bye { dialog, .. } => {
                dialog.local_tag() == tag
            }
        }
    }

    pub(super) fn timeout(&self) -> Option<Instant> {
        match self {
            Leaving::Cancelling { end, .. } | Leaving::Bye { end, .. } => Some(*end),
            Leaving::Unconfirmed { unacked, .. } => Some(unacked.timeout()),
            Leaving::Telling { referring, end, .. } => soonest(referring.timeout(), Some(*end)),
        }
    }

    pub(super) fn tick(self: Box<Self>, step: &mut Step<'_>) -> State {
        match *self {
            Leaving::Cancelling { end, .. } | Leaving::Bye { end, .. } if step.now.mono >= end => State::Over,
            Leaving::Telling { mut dialog, referring, bye, end } => {
                let referring = referring.tick(step, &mut dialog);
                Leaving::told(step, dialog, referring, bye, end)
            }
            Leaving::Unconfirmed { dialog, mut unacked, release } => match unacked.tick(step.now.mono) {
                Repeat::Lost => Leaving::bye(step, dialog, &release, None),
                Repeat::Again(message) => {
                    step.out.push(Output::Respond { transaction: unacked.transaction(), message });
                    State::Leaving(Box::new(Leaving::Unconfirmed { dialog, unacked, release }))
                }
                Repeat::Wait => State::Leaving(Box::new(Leaving::Unconfirmed { dialog, unacked, release })),
            },
            leaving => State::Leaving(Box::new(leaving)),
        }
    }
}
