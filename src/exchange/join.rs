//! The exchange is asked to join two calls of the box's, and does, or refuses where a number's behaviour says so.

use super::plan::{Joins, Step};
use super::{Exchange, Output};
use crate::cause::{Cause, Release};
use crate::isdn::call::Order;
use crate::isdn::timeslots::CallId;
use crate::time::Instant;
use crate::wire::q931::transfer::{Ask, Said};

/// Errors of Q.950.
const NOT_SUBSCRIBED: u8 = 0;
const INVALID_CALL_STATE: u8 = 7;
/// The number under which a path is proposed, and how many call identities have four digits.
const PROPOSAL: u8 = 1;
const IDENTITIES: u32 = 10_000;

impl Exchange {
    /// The link of a call is its own number.
    pub(super) fn asked_to_join(&mut self, now: Instant, id: CallId, said: Said, out: &mut Vec<Output>) {
        let Said::Ask(number, ask) = said else { return };
        match ask {
            Ask::Link | Ask::Candidate => {
                self.order(now, id, Order::Facility(ask.result(number, id.0.into())), out);
            }
            Ask::Join(other) => self.join(now, (id, number, ask), self.line.call_of(other.reply()), out),
            Ask::JoinLink(link) | Ask::ThirdParty(link) => {
                self.join(now, (id, number, ask), u32::try_from(link).ok().map(CallId), out);
            }
            // Both are asked; the path is proposed anew on the first and comes back on the second.
            Ask::Complete { primary: true } => {
                let proposal = Ask::Propose { identity: (id.0 % IDENTITIES) as u16 }.facility(PROPOSAL);
                self.order(now, id, Order::Facility(proposal), out);
            }
            Ask::Complete { primary: false } => {}
            Ask::Propose { identity } => {
                let other = self.calls.keys().find(|other| other.0 % IDENTITIES == u32::from(identity)).copied();
                self.join(now, (id, number, ask), other, out);
            }
        }
    }

    /// Both calls end for the box; who was in them talk on behind the exchange.
    fn join(
        &mut self,
        now: Instant,
        (id, number, ask): (CallId, i64, Ask),
        other: Option<CallId>,
        out: &mut Vec<Output>,
    ) {
        let up = |id: &CallId| self.calls.contains_key(id) && self.line.is_active(*id);
        let both = other.filter(|other| *other != id && up(other) && up(&id)).map(|other| [id, other]);
        let Some(both) = both else {
            return self.order(now, id, Order::Facility(ask.error(number, INVALID_CALL_STATE)), out);
        };
        let joins = |wanted| both.iter().any(|id| self.calls.get(id).is_some_and(|call| call.joins == wanted));
        if joins(Joins::Silent) {
            return;
        }
        if joins(Joins::Refuses) {
            return self.order(now, id, Order::Facility(ask.error(number, NOT_SUBSCRIBED)), out);
        }
        if !matches!(ask, Ask::Propose { .. }) {
            self.order(now, id, Order::Facility(ask.result(number, 0)), out);
        }
        for id in both {
            self.step(now, id, Step::Release { cause: Cause::NORMAL, tones: false }, out);
            self.over(id, Release::normal("the exchange joined it with another call"), out);
        }
    }
}
