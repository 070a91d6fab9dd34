//! One leg takes another's place: Replaces (RFC 3891), in an INVITE to us and in a Refer-To (RFC 5589 section 7).
//!
//! ```text
//! an INVITE with Replaces       a REFER with Replaces: two calls of ours become one
//!   A ----- B                     A ----- B        A ----- B
//!   C ------^                     A'----- C   =>           C
//! C sits where A sat              C's leg moves to B's call, A' and A are let go
//! ```
//! A' may still hear C ring. Then C's leg moves as the target of A's transfer, which it is until C answers, and only A' is
//! let go. RFC 3891 section 3 forbids to replace an early dialog at the one who is called, which to A' are we; but it is
//! no such INVITE that comes, and toward C we are the caller.

use super::b2bua::{Around, Call, Half, LegKey};
use super::report::TransferResult;
use super::terms;
use crate::cause::Release;
use crate::config::Trunk;
use crate::leg::{Fork, Order, Outcome, Terms};
use crate::private::Private;
use crate::session::{Direction, Side, Stream};

/// A leg on its way from one call to another.
pub(super) struct Moved {
    half: Half,
    /// What it speaks; `None`: it rings.
    stream: Option<Stream>,
    /// Who that is.
    user: Private<String>,
}

impl Moved {
    /// Its key in the call that it leaves.
    pub(super) fn key(&self) -> LegKey {
        self.half.key
    }
}

impl Call {
    /// The side on which somebody may take this leg's place: both talk, and no transfer is under way.
    pub(super) fn replaceable(&self, key: LegKey) -> Option<Side> {
        let settled = self.is_connected() && self.transfer().is_none();
        self.side_of(key).filter(|side| settled && self.stream(side.other()).is_some())
    }

    /// Whoever talks with the leg `key`, or is called by it, leaves for another call; this one ends.
    pub(super) fn give(&mut self, key: LegKey, around: &mut Around<'_>) -> Option<Moved> {
        let talks = self.replaceable(key).map(Side::other);
        let rings = self.side_of(key).filter(|side| *side == Side::A && self.is_alerting()).map(Side::other);
        let side = talks.or(rings)?;
        let stream = talks.and_then(|side| self.stream(side)).cloned();
        let user = match side {
            Side::A => self.parties.calling.clone(),
            Side::B => self.parties.called.clone(),
        };
        let half = self.take_leg(side)?;
        self.note("the other side goes on in another call: a transfer joins the two", around);
        self.end(Release::normal("transferred to another call"), "us", around);
        Some(Moved { half, stream, user })
    }

    /// Somebody from another call takes the place of the leg that asked for a transfer; its new key.
    pub(super) fn join(&mut self, moved: Moved, around: &mut Around<'_>) -> Option<LegKey> {
        let Moved { half, stream, user } = moved;
        let Some(stream) = stream else { return self.ring(half, around) };
        let transfer = self.take_transfer()?;
        let side = transfer.side();
        self.note("the transfer joins two calls of ours", around);
        self.report_transfer(&transfer, TransferResult::Reached, around);
        self.order(transfer.by(), Order::Transfer(Outcome::Reached), around);
        self.order(transfer.by(), Order::Release(Release::normal("transferred")), around);
        self.take_change();
        let key = self.add_leg(half);
        self.sit(side, key, user, stream);
        self.apply(around);
        // Its sound still goes to the ports of its old call, and both are held as a rule.
        self.speak(side, around);
        self.speak(side.other(), around);
        self.settle(around);
        Some(key)
    }

    /// The leg of an INVITE with Replaces sits down on `side` and is answered; who sat there is let go.
    pub(super) fn replace(&mut self, side: Side, half: Half, user: Private<String>, around: &mut Around<'_>) {
        let before = self.key_of(side);
        let terms = self.spoken(side, &half.trunk);
        self.note("an INVITE with Replaces takes the place of a leg", around);
        let key = self.add_leg(half);
        self.vacate(side, key, user);
        self.take_change();
        if let Some(terms) = terms {
            self.order(key, Order::Answer { terms, fork: Fork(0), told: Box::default() }, around);
        }
        if let Some(before) = before {
            self.order(before, Order::Release(Release::normal("replaced")), around);
        }
        self.settle(around);
        if self.stream(side.other()).is_some_and(|other| other.direction != Direction::SendRecv) {
            self.speak(side.other(), around);
            self.settle(around);
        }
    }

    /// Offers a side to speak both ways with the other, at our ports of this call.
    pub(super) fn speak(&mut self, side: Side, around: &mut Around<'_>) {
        let trunk = self.half(self.key_of(side)).map(|half| half.trunk.clone());
        let terms = trunk.and_then(|trunk| self.spoken(side, &trunk));
        if let (Some(key), Some(terms)) = (self.key_of(side), terms) {
            self.order(key, Order::Change(terms), around);
        }
    }

    /// What `side` may agree on with the other, both ways, whatever hold that is in.
    pub(super) fn spoken(&self, side: Side, trunk: &Trunk) -> Option<Terms> {
        let terms = terms::mirror(self.stream(side.other())?, trunk, self.local(side));
        Some(Terms { direction: Direction::SendRecv, ..terms })
    }
}
