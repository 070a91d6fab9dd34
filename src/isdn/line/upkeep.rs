//! What keeps both ends of a line of one mind about its timeslots: RESTART, SERVICE, alarms, the audit.
//!
//! 1. When a span came up its timeslots are restarted: neither end can know what the other remembers.
//! 2. The far end's RESTART ends the calls on those timeslots without a word (Q.931 section 5.5).
//! 3. SERVICE blocks a timeslot, or a D channel of two. Calls go on.
//! 4. Each minute: a timeslot that nobody is sure of is restarted, and a call that was quiet for long is asked after.

use super::{AUDIT, Line, Output, Report};
use crate::cause::{Cause, Guilty, Release};
use crate::isdn::maintenance;
use crate::isdn::restart::{self, What};
use crate::isdn::timeslots::{CallId, End, Slot, Use};
use crate::time::Instant;
use crate::wire::q931::{
    Builder, CallState, ChangeStatus, Channel, Choice, Flaw, Kind, Message, Reference, Restart, id,
};

/// 82: identified channel does not exist.
const NO_SUCH_CHANNEL: Cause = Cause(82);
/// A call of which nothing was heard for so many audits is asked after.
const QUIET: u32 = 10;
/// So many calls are asked after at a time.
const ASKED: usize = 8;

impl Line {
    /// The alarms of a span are over.
    pub fn span_up(&mut self, now: Instant, span: usize, out: &mut Vec<Output>) {
        self.slots.alarm(span, false);
        let mut said = Vec::new();
        self.signalling.line_up(now, span, &mut said);
        self.signalled(now, said, out);
        self.restart_stale(now, out);
    }

    /// A span went into alarm: nobody on it hears anybody.
    pub fn span_down(&mut self, now: Instant, span: usize, out: &mut Vec<Output>) {
        self.slots.alarm(span, true);
        self.stale.insert(span);
        let mut said = Vec::new();
        self.signalling.line_down(now, span, &mut said);
        self.signalled(now, said, out);
        let (cause, why) = (Cause::OUT_OF_ORDER, "the span went into alarm");
        if !self.is_up() {
            return self.forget(now, cause, why, |slot| slot.span == span, out);
        }
        for id in self.on(|slot| slot.span == span) {
            self.end(now, id, Release::new(Guilty::Network, cause, why), out);
        }
    }

    /// Blocks a timeslot, or no longer. A call on it goes on.
    pub fn block(&mut self, now: Instant, slot: Slot, blocked: bool, out: &mut Vec<Output>) {
        if !self.slots.block(slot, End::Near, blocked) {
            return;
        }
        out.push(Output::Report(Report::Blocked { slot, end: End::Near, blocked }));
        let status = if blocked { ChangeStatus::OutOfService } else { ChangeStatus::InService };
        self.notify(now, slot, status, out);
    }

    /// Tells the far end, where it has a word for it.
    fn notify(&mut self, now: Instant, slot: Slot, status: ChangeStatus, out: &mut Vec<Output>) {
        if self.terms.access.dialect.maintenance().is_some() {
            let mut said = Vec::new();
            self.notices.tell(now, slot, status, &mut said);
            self.noticing(now, said, out);
        }
    }

    /// Restarts timeslots. Calls on them end. Nobody would ever acknowledge one that is not there.
    pub fn restart(&mut self, now: Instant, what: What, out: &mut Vec<Output>) {
        if !self.slots.bearers(None).any(|slot| what.covers(slot)) {
            return;
        }
        self.forget(now, Cause::TEMPORARY, "the timeslot was restarted here", |slot| what.covers(slot), out);
        if let What::Slot(slot) = what
            && self.slots.used(slot) == Some(Use::Idle)
        {
            self.slots.restart(slot);
        }
        let mut said = Vec::new();
        self.restarts.request(now, what, &mut said);
        self.restarting(now, said, out);
    }

    /// Spans that came up since they were last restarted.
    pub(super) fn restart_stale(&mut self, now: Instant, out: &mut Vec<Output>) {
        let ready: Vec<usize> = self.stale.iter().copied().filter(|span| !self.slots.is_in_alarm(*span)).collect();
        for span in ready.into_iter().filter(|_| self.is_up()).collect::<Vec<_>>() {
            self.stale.remove(&span);
            self.restart(now, What::Span(span), out);
        }
    }

    /// Timers of RESTART and SERVICE, and the audit.
    pub(super) fn upkeep(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut said = Vec::new();
        self.restarts.tick(now, &mut said);
        self.restarting(now, said, out);
        let mut said = Vec::new();
        self.notices.tick(now, &mut said);
        self.noticing(now, said, out);
        if self.audit.is_some_and(|at| at <= now) {
            self.audit(now, out);
        }
    }

    /// Do both ends still think the same?
    pub(super) fn audit(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.audit = Some(now + AUDIT);
        let idle = |slot: &Slot| self.slots.is_idle(*slot) && !self.restarts.will_cover(*slot);
        for slot in self.slots.doubtful().filter(idle).collect::<Vec<_>>() {
            self.restart(now, What::Slot(slot), out);
        }
        let quiet = |(id, entry): (&CallId, &super::Entry)| {
            (!entry.call.is_clearing() && now.since(entry.heard) >= AUDIT * QUIET).then_some(*id)
        };
        for id in self.calls.iter().filter_map(quiet).take(ASKED).collect::<Vec<_>>() {
            self.with(now, id, out, |call, said| call.enquire(now, said));
        }
    }

    /// A message about the line as a whole.
    pub(super) fn global(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        if let Some(flaw) = message.flaw(self.terms.access.side.other()).filter(|flaw| flaw.grave) {
            return self.complain(now, message, &flaw, out);
        }
        match message.kind {
            Kind::Restart => self.restart_asked(now, message, out),
            Kind::RestartAck => self.restart_acknowledged(now, message, out),
            Kind::Service(_) => self.service(now, message, out),
            Kind::ServiceAck(_) => self.channels(message).into_iter().for_each(|slot| self.notices.acknowledged(slot)),
            _ => self.stray(now, message, out),
        }
    }

    /// STATUS to the far end (Q.931 section 5.8).
    fn complain(&mut self, now: Instant, message: &Message, flaw: &Flaw, out: &mut Vec<Output>) {
        let reference = message.reference.reply();
        let cause = flaw.cause(self.terms.access.location);
        let status = Builder::new(reference, Kind::Status).with(&cause).with(&CallState::NULL);
        self.tell(now, status.octets(), out);
    }

    /// RESTART: what was on these timeslots is over at both ends.
    fn restart_asked(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        let slots = self.restarted(message);
        if slots.is_empty() {
            let flaw = Flaw { grave: true, value: NO_SUCH_CHANNEL, diagnostics: vec![id::CHANNEL_IDENTIFICATION] };
            return self.complain(now, message, &flaw, out);
        }
        let why = "the far end restarted the timeslot";
        self.forget(now, Cause::TEMPORARY, why, |slot| slots.contains(&slot), out);
        let blocked: Vec<Slot> = slots.iter().copied().filter(|slot| self.slots.is_blocked(*slot, End::Near)).collect();
        for slot in &slots {
            self.slots.doubt(*slot, false);
            if self.slots.block(*slot, End::Far, false) {
                out.push(Output::Report(Report::Blocked { slot: *slot, end: End::Far, blocked: false }));
            }
        }
        let answer = Builder::new(message.reference.reply(), Kind::RestartAck)
            .with_all(&message.get::<Channel>())
            .with_all(&message.get::<Restart>());
        self.tell(now, answer.octets(), out);
        out.push(Output::Report(Report::Restarted { by: End::Far, slots }));
        // It may have forgotten that, too.
        for slot in blocked {
            self.notify(now, slot, ChangeStatus::OutOfService, out);
        }
    }

    /// The timeslots that RESTART or its acknowledgement is about.
    fn restarted(&self, message: &Message) -> Vec<Slot> {
        let channel = message.get::<Channel>();
        match message.get::<Restart>() {
            Some(Restart::All) => self.slots.bearers(None).collect(),
            Some(Restart::Interface) => {
                let span = self.slots.span(channel.and_then(|channel| channel.interface));
                span.into_iter().flat_map(|span| self.slots.bearers(Some(span))).collect()
            }
            Some(Restart::Channels) | None => channel.map_or(Vec::new(), |channel| self.slots.find_all(&channel)),
        }
    }

    fn restart_acknowledged(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        let slots = self.restarted(message);
        let what = match (message.get::<Restart>(), &slots[..]) {
            (Some(Restart::Channels), [slot]) => Some(What::Slot(*slot)),
            (_, [first, ..]) => Some(What::Span(first.span)),
            (_, []) => None,
        };
        if let Some(what) = what {
            let mut said = Vec::new();
            self.restarts.acknowledged(now, what, &mut said);
            self.restarting(now, said, out);
        }
    }

    pub(super) fn restarting(&mut self, now: Instant, said: Vec<restart::Output>, out: &mut Vec<Output>) {
        for said in said {
            match said {
                restart::Output::Send(what) => self.send_restart(now, what, out),
                restart::Output::Done(what) => {
                    let slots: Vec<Slot> = self.slots.bearers(None).filter(|slot| what.covers(*slot)).collect();
                    let healed = self.slots.doubtful().filter(|slot| what.covers(*slot)).collect::<Vec<_>>();
                    for slot in &slots {
                        self.restarted_here(now, *slot);
                        self.slots.doubt(*slot, false);
                    }
                    out.push(Output::Report(Report::Restarted { by: End::Near, slots }));
                    out.extend(healed.into_iter().map(|slot| Output::Report(Report::Healed(slot))));
                }
                restart::Output::Failed(what) => {
                    if let What::Slot(slot) = what {
                        self.restarted_here(now, slot);
                        self.slots.doubt(slot, true);
                    }
                    out.push(Output::Report(Report::RestartUnanswered(what)));
                }
            }
        }
    }

    fn restarted_here(&mut self, now: Instant, slot: Slot) {
        if self.slots.used(slot) == Some(Use::Restarting) {
            self.slots.release(slot, now);
        }
    }

    /// One span alone needs no name: a RESTART without channel identification is about it.
    fn send_restart(&mut self, now: Instant, what: What, out: &mut Vec<Output>) {
        let (class, channel) = match what {
            What::Slot(slot) => (Restart::Channels, Some(self.slots.channel(slot, true))),
            What::Span(span) => {
                let named =
                    |interface| Channel { interface: Some(interface), exclusive: true, choice: Choice::Interface };
                (Restart::Interface, self.slots.interface(span).map(named))
            }
        };
        let message = Builder::new(Reference::GLOBAL, Kind::Restart).with_all(&channel).with(&class);
        self.tell(now, message.octets(), out);
    }

    /// SERVICE: the far end wants timeslots used or not, or the other D channel.
    fn service(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        let (Some(status), Some(channel)) = (message.get::<ChangeStatus>(), message.get::<Channel>()) else { return };
        if channel.choice == Choice::D
            && status == ChangeStatus::InService
            && let Some(span) = self.slots.span(channel.interface)
        {
            self.signalling.follow(span);
        }
        let blocked = status != ChangeStatus::InService;
        for slot in self.slots.find_all(&channel) {
            if self.slots.block(slot, End::Far, blocked) {
                out.push(Output::Report(Report::Blocked { slot, end: End::Far, blocked }));
            }
        }
        if let Kind::Service(way) = message.kind {
            let answer = Builder::new(message.reference.reply(), Kind::ServiceAck(way)).with(&channel).with(&status);
            self.tell(now, answer.octets(), out);
        }
    }

    /// Our D channel is another from now on.
    pub(super) fn tell_change_over(&mut self, now: Instant, span: usize, out: &mut Vec<Output>) {
        let channel = Channel { interface: self.slots.interface(span), exclusive: true, choice: Choice::D };
        self.send_service(now, &channel, ChangeStatus::InService, out);
    }

    pub(super) fn noticing(&mut self, now: Instant, said: Vec<maintenance::Output>, out: &mut Vec<Output>) {
        for said in said {
            match said {
                maintenance::Output::Send(slot, status) => {
                    self.send_service(now, &self.slots.channel(slot, true), status, out);
                }
                maintenance::Output::Failed(slot) => out.push(Output::Report(Report::NoticeUnanswered(slot))),
            }
        }
    }

    fn send_service(&mut self, now: Instant, channel: &Channel, status: ChangeStatus, out: &mut Vec<Output>) {
        if let Some(way) = self.terms.access.dialect.maintenance() {
            let message = Builder::new(Reference::GLOBAL, Kind::Service(way)).with(channel).with(&status);
            self.tell(now, message.octets(), out);
        }
    }

    fn channels(&self, message: &Message) -> Vec<Slot> {
        message.get::<Channel>().map_or(Vec::new(), |channel| self.slots.find_all(&channel))
    }

    /// Calls on these timeslots end without a word to the far end. A restart of the timeslots follows, or was asked for.
    fn forget(
        &mut self,
        now: Instant,
        cause: Cause,
        why: &'static str,
        which: impl Fn(Slot) -> bool,
        out: &mut Vec<Output>,
    ) {
        let doubtful: Vec<Slot> = self.slots.doubtful().collect();
        for id in self.on(which) {
            let slot = self.slot_of(id);
            self.with(now, id, out, |call, said| call.abort(cause, why, said));
            if let Some(slot) = slot.filter(|slot| !doubtful.contains(slot)) {
                self.slots.doubt(slot, false);
            }
        }
    }

    fn on(&self, which: impl Fn(Slot) -> bool) -> Vec<CallId> {
        self.calls.iter().filter(|(_, entry)| entry.slot.is_some_and(&which)).map(|(id, _)| *id).collect()
    }
}
