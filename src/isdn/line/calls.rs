//! Calls on a line, and which timeslot each gets (Q.931 sections 5.1.2, 5.2.3.1 and 5.7).
//!
//! 1. Ours: an idle timeslot is hunted. The far end's first answer agrees, or names another one that we take if it is idle
//!    here; else the call is ended with cause 6.
//! 2. Theirs: the timeslot that is asked for, or else an idle one, or cause 44, or cause 34.
//! 3. Theirs asks for the one that an unanswered call of ours asked for: the exchange's call has it. As a user we wait what
//!    else the exchange gives ours.
//!    A call that is being ended gives way: for the far end it has ended.
//! 4. Ours is refused with cause 44: the far end holds that timeslot for busy. The call is placed on another.

use super::{Entry, Line, Output, Report, Unanswered, Unplaced};
use crate::cause::{Cause, Guilty, Release};
use crate::isdn::call::{self, Call, Order, Setup, Timeslot, Word};
use crate::isdn::timeslots::{CallId, End, Slot, Unavailable, Use};
use crate::time::Instant;
use crate::wire::q921::Side;
use crate::wire::q931::transfer::{self, Answer, Said};
use crate::wire::q931::{self, Channel, Facility, Message, Profile, Reference};

/// On so many timeslots a call of ours is tried.
const ATTEMPTS: u8 = 3;
/// 44: requested circuit not available.
const NOT_AVAILABLE: Cause = Cause(44);
/// A call reference has 15 bits.
const LAST_REFERENCE: u16 = 0x7fff;

impl Line {
    /// Calls.
    pub fn place(&mut self, now: Instant, setup: Setup, out: &mut Vec<Output>) -> Result<CallId, Unplaced> {
        let id = self.next_call();
        self.attempt(now, id, Unanswered { setup, attempts: 1 }, out).map(|()| id)
    }

    fn attempt(&mut self, now: Instant, id: CallId, what: Unanswered, out: &mut Vec<Output>) -> Result<(), Unplaced> {
        if !self.is_up() {
            return Err(Unplaced::Down);
        }
        let slot = self.slots.hunt(self.terms.hunt).ok_or(Unplaced::Full)?;
        let reference = self.next_reference();
        let channel = self.slots.channel(slot, self.terms.exclusive);
        let (access, mut said) = (self.terms.access.clone(), Vec::new());
        let call = Call::outgoing(now, access, reference, channel, &what.setup, &mut said);
        self.slots.take(slot, id);
        self.keep(
            id,
            Entry { call, of: id, slot: Some(slot), unanswered: Some(Box::new(what)), link: None, heard: now },
        );
        self.said(now, id, said, out);
        Ok(())
    }

    /// The far end calls.
    pub(super) fn called(&mut self, now: Instant, message: &Message, octets: &[u8], out: &mut Vec<Output>) {
        let heard = |call| Output::Message { call, sent: false, octets: octets.to_vec() };
        let wish = message.get::<Channel>();
        if let Some(slot) = wish.as_ref().and_then(|wish| self.slots.find(wish)) {
            self.collide(now, slot, out);
        }
        let slot = match self.slots.grant(wish.as_ref(), self.terms.hunt) {
            Ok(slot) => slot,
            Err(why) => {
                let cause = if why == Unavailable::Requested { NOT_AVAILABLE } else { Cause::NO_CIRCUIT };
                let cause = q931::Cause::new(self.terms.access.location, cause);
                out.push(heard(None));
                return self.tell(now, call::refusal(message.reference, &cause), out);
            }
        };
        let (access, channel) = (self.terms.access.clone(), self.slots.channel(slot, true));
        let mut said = Vec::new();
        match Call::incoming(now, access, message, channel, &mut said) {
            Ok(call) => {
                let id = self.next_call();
                self.slots.take(slot, id);
                self.slots.doubt(slot, false);
                self.keep(id, Entry { call, of: id, slot: Some(slot), unanswered: None, link: None, heard: now });
                out.extend([heard(Some(id)), Output::Bearer { call: id, slot }]);
                self.said(now, id, said, out);
            }
            Err(refusal) => {
                out.push(heard(None));
                self.tell(now, refusal, out);
            }
        }
    }

    /// The far end wants a timeslot that is in use here.
    fn collide(&mut self, now: Instant, slot: Slot, out: &mut Vec<Output>) {
        let Some(id) = self.slots.call(slot) else { return };
        let Some(entry) = self.calls.get_mut(&id) else { return };
        if entry.call.is_clearing() {
            // The last word of the old call was lost.
            let why = "the far end uses the timeslot anew";
            return self.with(now, id, out, |call, said| call.abort(Cause::NORMAL, why, said));
        }
        if entry.unanswered.is_none() {
            // It holds a timeslot for idle that is not: does it still know the call?
            return self.with(now, id, out, |call, said| call.enquire(now, said));
        }
        let winner = if self.terms.access.side == Side::User { End::Far } else { End::Near };
        out.push(Output::Report(Report::Glare { slot, winner }));
        if winner == End::Far {
            entry.slot = None;
            self.slots.release(slot, now);
        }
    }

    /// A message of a call that we know.
    pub(super) fn heard(&mut self, now: Instant, id: CallId, message: &Message, out: &mut Vec<Output>) {
        if let Some(entry) = self.calls.get_mut(&id) {
            entry.heard = now;
            entry.link = entry.link.or_else(|| link(message));
        }
        self.heard_while_joining(now, id, message, out);
        self.with(now, id, out, |call, said| call.receive(now, message, said));
    }

    /// Something happens to a call.
    pub(super) fn with(
        &mut self,
        now: Instant,
        id: CallId,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Call, &mut Vec<call::Output>),
    ) {
        if let Some(entry) = self.calls.get_mut(&id) {
            let mut said = Vec::new();
            act(&mut entry.call, &mut said);
            self.said(now, id, said, out);
        }
    }

    /// The same happens to all calls.
    pub(super) fn each(
        &mut self,
        now: Instant,
        out: &mut Vec<Output>,
        act: impl Fn(&mut Call, &mut Vec<call::Output>),
    ) {
        for id in self.calls.keys().copied().collect::<Vec<_>>() {
            self.with(now, id, out, &act);
        }
    }

    fn said(&mut self, now: Instant, mut id: CallId, said: Vec<call::Output>, out: &mut Vec<Output>) {
        for said in said {
            match said {
                call::Output::Message(octets) => self.tell_of(now, self.of(id), octets, out),
                call::Output::Word(Word::Released(release)) => match self.again(now, id, &release, out) {
                    Some(old) => id = old,
                    None => out.push(Output::Word { call: id, word: Word::Released(release) }),
                },
                call::Output::Word(word) => out.push(Output::Word { call: id, word }),
                call::Output::Timeslot(Timeslot::Agreed(channel)) => self.agreed(now, id, &channel, out),
                call::Output::Timeslot(Timeslot::Freed) => self.free_slot(now, id, false),
                call::Output::Timeslot(Timeslot::Unsure) => self.free_slot(now, id, true),
                call::Output::Fault(fault) => out.push(Output::Report(Report::Call { call: id, fault })),
            }
        }
        self.settle(id, out);
    }

    /// The table follows the call.
    fn settle(&mut self, id: CallId, out: &mut Vec<Output>) {
        let Some(entry) = self.calls.get(&id) else { return };
        if entry.call.is_over() {
            let of = entry.of;
            self.references.remove(&entry.call.reference());
            self.calls.remove(&id);
            self.part(id);
            if self.calls.values().all(|entry| entry.of != of) {
                out.push(Output::Over(of));
            }
        } else if let Some(slot) = entry.slot
            && entry.call.is_active()
        {
            self.slots.connect(slot, if entry.call.is_outgoing() { Use::Out(id) } else { Use::In(id) });
        }
    }

    /// The first answer to our SETUP names a timeslot.
    fn agreed(&mut self, now: Instant, id: CallId, channel: &Channel, out: &mut Vec<Output>) {
        let Some(entry) = self.calls.get_mut(&id) else { return };
        entry.unanswered = None;
        let ours = entry.slot;
        match self.slots.find(channel) {
            Some(slot) if ours == Some(slot) => out.push(Output::Bearer { call: id, slot }),
            Some(slot) if self.slots.is_idle(slot) => {
                entry.slot = Some(slot);
                self.slots.take(slot, id);
                // It gave another one than we asked for: it holds ours for busy.
                if let Some(ours) = ours {
                    self.slots.release(ours, now);
                    self.slots.doubt(ours, true);
                }
                out.push(Output::Bearer { call: id, slot });
            }
            _ => {
                let why = "the exchange gave the call a timeslot that is not idle here";
                self.end(now, id, Release::new(Guilty::Network, Cause::CHANNEL_UNACCEPTABLE, why), out);
            }
        }
    }

    /// We end a call, and the other leg hears why, unless it is over for it already.
    pub(super) fn end(&mut self, now: Instant, id: CallId, release: Release, out: &mut Vec<Output>) {
        if self.calls.get(&id).is_none_or(|entry| entry.call.is_clearing()) {
            return;
        }
        let (cause, tones) = (release.cause, false);
        out.push(Output::Word { call: id, word: Word::Released(release) });
        self.with(now, id, out, |call, said| call.order(now, Order::Release { cause, tones }, said));
    }

    fn free_slot(&mut self, now: Instant, id: CallId, unsure: bool) {
        if let Some(slot) = self.calls.get_mut(&id).and_then(|entry| entry.slot.take()) {
            self.slots.release(slot, now);
            if unsure {
                self.slots.doubt(slot, true);
            }
        }
    }

    /// The far end refused the timeslot, not the call: it is placed on another, under the same number. What is left of the
    /// old attempt goes on under the number that is given back.
    fn again(&mut self, now: Instant, id: CallId, release: &Release, out: &mut Vec<Output>) -> Option<CallId> {
        let entry = self.calls.get_mut(&id).filter(|_| release.cause == NOT_AVAILABLE)?;
        let what = entry.unanswered.take().filter(|what| what.attempts < ATTEMPTS)?;
        // Where it was no glare, the far end holds it for busy.
        if let Some(slot) = entry.slot {
            self.slots.doubt(slot, true);
        }
        let entry = self.calls.remove(&id)?;
        let old = self.next_call();
        if let Some(slot) = entry.slot {
            self.slots.take(slot, old);
        }
        self.keep(old, entry);
        let what = Unanswered { attempts: what.attempts + 1, ..*what };
        if self.attempt(now, id, what, out).is_err() {
            out.push(Output::Word { call: id, word: Word::Released(release.clone()) });
        }
        Some(old)
    }

    fn keep(&mut self, id: CallId, entry: Entry) {
        self.references.insert(entry.call.reference(), id);
        self.calls.insert(id, entry);
    }

    fn next_call(&mut self) -> CallId {
        self.last_call = self.last_call.wrapping_add(1);
        CallId(self.last_call)
    }

    /// There are more references than timeslots: one is free.
    pub(super) fn next_reference(&mut self) -> u16 {
        loop {
            self.last_reference = self.last_reference % LAST_REFERENCE + 1;
            let reference = Reference { value: self.last_reference, to_origin: false };
            if !self.references.contains_key(&reference) {
                return self.last_reference;
            }
        }
    }
}

/// The link that an exchange gives a call of a release link trunk.
fn link(message: &Message) -> Option<i64> {
    let all = message.all().filter(|facility: &Facility| facility.profile() == Some(Profile::ReleaseLink));
    all.flat_map(|facility| transfer::said(&facility).collect::<Vec<_>>()).find_map(|said| match said {
        Said::Answer(_, Answer::Done(link)) => link,
        _ => None,
    })
}
