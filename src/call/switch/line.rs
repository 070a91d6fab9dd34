//! The lines in the switch: each group of spans is one [`Line`], and a call on it has a leg in a call of ours.
//!
//! ```text
//! frame, alarm ─▶ Line ─▶ word ────────────▶ the leg's call
//!                         SETUP ───────────▶ a new call
//!                         frame ───────────▶ the D channel
//! a leg's order ─▶ Line
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use firmware_io::Alarms;

use super::super::b2bua::{CALLER, CallKey, Caller, LegKey};
use super::super::leg::{Heard, Leg};
use super::super::report::{Report, SpanView, Way};
use super::{Output, Switch, Turn, refused};
use crate::alarm::Alarm;
use crate::cause::{Cause, Guilty, Release};
use crate::config::Config;
use crate::hop::{SpanId, TrunkId};
use crate::isdn;
use crate::isdn::call::{Order, Setup, Word};
use crate::isdn::line::{self, Unjoined};
use crate::isdn::timeslots::{CallId, Slot};
use crate::private::Private;
use crate::random::Random;
use crate::time::{Instant, Now, soonest};

mod group;
mod view;

use self::group::{Group, Member, groups};

/// A call's place on a line.
type Place = (SpanId, CallId);
/// A leg's place in a call.
type Seat = (CallKey, LegKey);

/// All lines, and which of their calls is which leg of ours.
#[derive(Default)]
pub(super) struct Lines {
    groups: Vec<Group>,
    legs: HashMap<Place, Seat>,
    places: HashMap<Seat, Place>,
    /// The correlation id of each call until its last message: that comes when its leg has gone.
    ids: HashMap<Place, Arc<str>>,
}

/// What comes from a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromSpan {
    /// A frame from its D channel.
    Frame(Vec<u8>),
    /// The alarms that stand now.
    Alarms(Alarms),
    /// Its card or driver is not there; why.
    Gone(String),
    /// Its driver took it down by an operator's order, or let it up again.
    Forced(bool),
}

/// What an operator wants of a span or a timeslot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanOrder {
    /// Give the timeslot no further call; a call on it goes on.
    Block(u8),
    /// Give it calls again.
    Unblock(u8),
    /// Restart the timeslot, or all of them: calls there end.
    Restart(Option<u8>),
}

impl Lines {
    pub fn new(now: Now, random: &mut Random, config: &Config) -> Lines {
        let groups = groups(config).map(|(spans, trunk)| Group::new(now, random, spans, trunk)).collect();
        Lines { groups, ..Lines::default() }
    }

    pub fn timeout(&self) -> Option<Instant> {
        self.groups.iter().map(|group| group.line.timeout()).fold(None, soonest)
    }

    /// A leg moved to another call.
    pub fn hand_over(&mut self, from: Seat, to: Seat) {
        if let Some(place) = self.places.remove(&from) {
            self.seat(place, to);
        }
    }

    fn seat(&mut self, place: Place, seat: Seat) {
        self.legs.insert(place, seat);
        self.places.insert(seat, place);
    }

    fn leave(&mut self, place: Place) -> Option<Seat> {
        let seat = self.legs.remove(&place)?;
        self.places.remove(&seat);
        Some(seat)
    }

    fn group(&mut self, line: SpanId) -> Option<&mut Group> {
        self.groups.iter_mut().find(|group| group.id() == line)
    }

    fn group_of(&mut self, span: SpanId) -> Option<(&mut Group, usize)> {
        self.groups.iter_mut().find_map(|group| group.place(span).map(|place| (group, place)))
    }

    /// How each span stands.
    pub fn views(&self, now: Now, config: &Config) -> Vec<SpanView> {
        let mut views: Vec<(SpanId, SpanView)> =
            self.groups.iter().flat_map(|group| group.views(now, config)).collect();
        views.sort_by_key(|(id, _)| config.spans.iter().position(|span| span.id == *id));
        views.into_iter().map(|(_, view)| view).collect()
    }

    /// What operators must know of the lines.
    pub fn alarms(&self, now: Now) -> Vec<Alarm> {
        self.groups.iter().flat_map(|group| group.alarms(now)).collect()
    }
}

impl Switch {
    /// Something came from a span.
    pub(super) fn span_says(&mut self, span: SpanId, came: FromSpan, turn: &mut Turn<'_>) {
        let mut out = Vec::new();
        let Some((group, place)) = self.lines.group_of(span) else { return };
        let (line, now) = (group.id(), turn.now.mono);
        match came {
            FromSpan::Frame(octets) => group.line.receive(now, place, &octets, &mut out),
            FromSpan::Alarms(alarms) => {
                let set = |member: &mut Member| (member.alarms, member.why) = (Some(alarms), String::new());
                group.changed(turn.now, place, set, &mut out);
            }
            FromSpan::Gone(why) => {
                group.changed(turn.now, place, |member| (member.alarms, member.why) = (None, why), &mut out);
            }
            FromSpan::Forced(down) => group.changed(turn.now, place, |member| member.forced = down, &mut out),
        }
        self.heed_line(line, out, turn);
    }

    /// What an operator wants of a span.
    pub(super) fn order_span(&mut self, span: SpanId, order: SpanOrder, turn: &mut Turn<'_>) {
        let mut out = Vec::new();
        let Some((group, place)) = self.lines.group_of(span) else { return };
        let (line, now) = (group.id(), turn.now.mono);
        let slot = |timeslot| Slot { span: place, timeslot };
        match order {
            SpanOrder::Block(timeslot) => group.line.block(now, slot(timeslot), true, &mut out),
            SpanOrder::Unblock(timeslot) => group.line.block(now, slot(timeslot), false, &mut out),
            SpanOrder::Restart(timeslot) => {
                let what = timeslot
                    .map_or(isdn::restart::What::Span(place), |timeslot| isdn::restart::What::Slot(slot(timeslot)));
                group.line.restart(now, what, &mut out);
            }
        }
        self.heed_line(line, out, turn);
    }

    /// Timers of lines.
    pub(super) fn tick_lines(&mut self, turn: &mut Turn<'_>) {
        let due = |group: &&mut Group| group.line.timeout().is_some_and(|at| at <= turn.now.mono);
        let due: Vec<SpanId> = self.lines.groups.iter_mut().filter(due).map(|group| group.id()).collect();
        for line in due {
            let mut out = Vec::new();
            if let Some(group) = self.lines.group(line) {
                group.line.tick(turn.now.mono, &mut out);
            }
            self.heed_line(line, out, turn);
        }
    }

    /// A leg calls on a line.
    pub(super) fn place_on_line(&mut self, seat: Seat, line: SpanId, setup: Setup, turn: &mut Turn<'_>) {
        let mut out = Vec::new();
        // A call keeps the configuration it was born with; the line may be gone meanwhile.
        let placed = match self.lines.group(line) {
            Some(group) => group.line.place(turn.now.mono, setup, &mut out).map_err(|why| why.to_string()),
            None => Err("a reload took the line away".to_owned()),
        };
        match placed {
            Ok(call) => {
                self.lines.seat((line, call), seat);
                let bearer = self.lines.group(line).and_then(|group| group.stream(group.line.slot_of(call)?));
                if let Some(stream) = bearer {
                    self.tell(seat.0, seat.1, Heard::Bearer(stream), turn);
                }
            }
            Err(why) => {
                let why = format!("Span{}: {why}", line.0);
                let release = Release::new(Guilty::Network, Cause::NO_CIRCUIT, why);
                self.tell(seat.0, seat.1, Heard::Line(Word::Released(release)), turn);
            }
        }
        self.heed_line(line, out, turn);
    }

    /// A leg tells its call on a line.
    pub(super) fn order_line(&mut self, seat: Seat, order: Order, turn: &mut Turn<'_>) {
        let Some((line, call)) = self.lines.places.get(&seat).copied() else { return };
        if let Order::Release { .. } = order {
            self.lines.leave((line, call));
        }
        self.tell_line(line, call, order, turn);
    }

    /// A call of ours broke: nobody will end its legs on lines any more.
    pub(super) fn abandon_on_lines(&mut self, key: CallKey, turn: &mut Turn<'_>) {
        let seats: Vec<Seat> = self.lines.places.keys().filter(|(call, _)| *call == key).copied().collect();
        for seat in seats {
            self.order_line(seat, Order::Release { cause: Cause::TEMPORARY, tones: false }, turn);
        }
    }

    fn tell_line(&mut self, line: SpanId, call: CallId, order: Order, turn: &mut Turn<'_>) {
        let mut out = Vec::new();
        if let Some(group) = self.lines.group(line) {
            group.line.order(turn.now.mono, call, order, &mut out);
        }
        self.heed_line(line, out, turn);
    }

    fn heed_line(&mut self, line: SpanId, out: Vec<line::Output>, turn: &mut Turn<'_>) {
        if let Some(group) = self.lines.group(line) {
            group.look(turn.now.mono);
        }
        for output in out {
            match output {
                line::Output::Frame { span, octets } => {
                    let span =
                        self.lines.group(line).and_then(|group| group.spans.get(span)).map(|span| span.settings.id);
                    turn.out.extend(span.map(|span| Output::Frame(span, octets)));
                }
                line::Output::Word { call, word: Word::Setup(setup) } => self.called_on_line(line, call, &setup, turn),
                line::Output::Word { call, word } => {
                    let place = (line, call);
                    let over = matches!(word, Word::Released(_));
                    let seat = if over { self.lines.leave(place) } else { self.lines.legs.get(&place).copied() };
                    if let Some((key, leg)) = seat {
                        self.tell(key, leg, Heard::Line(word), turn);
                    }
                }
                line::Output::Bearer { call, slot } => self.bearer_on_line(line, call, slot, turn),
                line::Output::Message { call: Some(call), sent, octets } => {
                    let (call, way) = (self.id_on_line(line, call), if sent { Way::Sent } else { Way::Received });
                    let octets = Private(octets);
                    turn.out.push(Output::Report(Report::Signal { call, span: line, way, octets }));
                }
                line::Output::Message { call: None, .. } => {}
                line::Output::Joined { calls, outcome } => self.joined_on_line(line, calls, outcome, turn),
                line::Output::Over(call) => drop(self.lines.ids.remove(&(line, call))),
                line::Output::Report(report) => self.report_line(line, report, turn),
            }
        }
    }

    /// The two ends of a call shall be joined by the exchange, if both are on lines.
    pub(super) fn join_on_line(&mut self, key: CallKey, legs: [LegKey; 2], turn: &mut Turn<'_>) {
        let [a, b] = legs.map(|leg| self.end_on_line((key, leg)));
        let (Some((line, a)), Some((other, b))) = (a, b) else { return };
        let mut out = Vec::new();
        let asked = match self.lines.group(line).filter(|_| line == other) {
            Some(group) => group.line.join(turn.now.mono, [a, b], &mut out),
            None => Err(Unjoined::Apart),
        };
        if let Err(why) = asked {
            self.joined_on_line(line, [a, b], Err(why), turn);
        }
        self.heed_line(line, out, turn);
    }

    /// Where a leg stands on a line; or, of one whose call Microsoft's servers sent back to us under its Call-ID (a spiral),
    /// where the other end of that call stands.
    fn end_on_line(&self, seat: Seat) -> Option<Place> {
        let place = |seat: Seat| self.lines.places.get(&seat).copied();
        let spiral = || {
            let call_id = self.calls.get(seat.0)?.call.half(seat.1)?.leg.call_id()?;
            let mut others = self.calls.with_call_id(call_id).filter(|(key, _)| *key != seat.0);
            others.find_map(|(key, call)| place((key, call.beyond(call_id)?)))
        };
        place(seat).or_else(spiral)
    }

    /// What came of that, if both are still there.
    fn joined_on_line(&mut self, line: SpanId, calls: [CallId; 2], outcome: Result<(), Unjoined>, turn: &mut Turn<'_>) {
        let [a, b] = calls.map(|call| self.lines.legs.get(&(line, call)).map(|(key, _)| *key));
        let (Some(a), Some(b)) = (a, b) else { return };
        let trunk = self.lines.group(line).and_then(|group| group.trunk);
        let result = outcome.into();
        turn.out.extend(trunk.map(|trunk| Output::Report(Report::Shortened { trunk, result })));
        self.step(a, turn, |call, around| call.shortened(outcome, around));
        if b != a {
            self.step(b, turn, |call, around| call.shortened(outcome, around));
        }
    }

    /// The correlation id of the call whose leg it is; before it has one, that of the call to be.
    fn id_on_line(&mut self, line: SpanId, call: CallId) -> Arc<str> {
        let place = (line, call);
        let seated = self.lines.legs.get(&place).and_then(|(key, _)| self.calls.get(*key));
        let id = seated.map(|entry| entry.call.id.clone()).or_else(|| self.lines.ids.get(&place).cloned());
        let id = id.unwrap_or_else(|| self.random.token().into());
        self.lines.ids.insert(place, id.clone());
        id
    }

    fn bearer_on_line(&mut self, line: SpanId, call: CallId, slot: Slot, turn: &mut Turn<'_>) {
        let stream = self.lines.group(line).and_then(|group| group.stream(slot));
        let seat = self.lines.legs.get(&(line, call)).copied();
        if let (Some((key, leg)), Some(stream)) = (seat, stream) {
            self.tell(key, leg, Heard::Bearer(stream), turn);
        }
    }

    fn report_line(&mut self, line: SpanId, report: line::Report, turn: &mut Turn<'_>) {
        let Some(group) = self.lines.group(line) else { return };
        if let line::Report::Call { call, fault } = &report {
            let call = self.lines.legs.get(&(line, *call)).and_then(|(key, _)| self.calls.get(*key));
            let note = call.map(|entry| Report::Note { call: entry.call.id.clone(), text: fault.to_string().into() });
            return turn.out.extend(note.map(Output::Report));
        }
        if let line::Report::Healed(slot) = &report
            && let Some(member) = group.spans.get_mut(slot.span)
        {
            member.healed += 1;
        }
        let (good, text) = group.told(&report);
        if let (line::Report::Up | line::Report::Down(_), Some(trunk)) = (&report, group.trunk) {
            self.trunk_of_line(trunk, &text, turn);
        }
        turn.out.push(Output::Report(Report::Line { line, good, text }));
    }

    /// A trunk is up while one of its lines is.
    fn trunk_of_line(&mut self, trunk: TrunkId, last: &str, turn: &mut Turn<'_>) {
        let own = self.lines.groups.iter().filter(|group| group.trunk == Some(trunk));
        let (lines, ready) = own.fold((0, 0), |(all, up), group| (all + 1, up + u32::from(group.line.is_up())));
        let (up, why) = match (ready, lines) {
            (0, _) | (_, 1) => (ready > 0, last.to_owned()),
            _ => (true, format!("{ready} of {lines} D channels are up")),
        };
        let news = self.watch_mut(trunk).and_then(|watch| watch.line(turn.now, up, why));
        turn.out.extend(news.map(|why| Output::Report(Report::Trunk { trunk, up, why })));
    }

    /// The far end of a line calls.
    fn called_on_line(&mut self, line: SpanId, call: CallId, setup: &Setup, turn: &mut Turn<'_>) {
        let Some(group) = self.lines.group(line) else { return };
        let Some(trunk) = group.trunk else {
            return self.tell_line(line, call, Order::Release { cause: Cause::OUT_OF_ORDER, tones: false }, turn);
        };
        let stream = group.line.slot_of(call).and_then(|slot| group.stream(slot));
        let made = stream.map(|stream| {
            let (leg, parties, wish) = isdn::leg::Leg::incoming(&group.access, &group.numbering(), setup, stream);
            (Leg::Line(Box::new(leg)), parties, Some(wish))
        });
        let gone = || Release::new(Guilty::Us, Cause::TEMPORARY, "the timeslot is gone");
        match self.takes_call(trunk).and_then(|trunk| made.ok_or_else(gone).map(|made| (trunk, made))) {
            Ok((trunk, (leg, parties, wish))) => {
                let key = self.calls.next_key();
                self.lines.seat((line, call), (key, CALLER));
                let id = self.id_on_line(line, call);
                self.begin(key, id, None, Caller { trunk, leg, parties, wish, invite: None }, turn);
            }
            Err(release) => {
                turn.out.push(refused(trunk, release.final_status(), release.why));
                self.tell_line(line, call, Order::Release { cause: release.cause, tones: false }, turn);
            }
        }
    }

    /// Lines that are others now are begun anew: the calls on them are over.
    pub(super) fn reload_lines(&mut self, config: &Config, turn: &mut Turn<'_>) {
        let mut old = std::mem::take(&mut self.lines.groups);
        for (spans, trunk) in groups(config) {
            match old.iter().position(|group| group.goes_on_as(&spans)) {
                Some(at) => self.lines.groups.push(old.swap_remove(at).renewed(spans, trunk)),
                None => self.lines.groups.push(Group::new(turn.now, &mut self.random, spans, trunk)),
            }
        }
        for group in old {
            self.lines.ids.retain(|(line, _), _| *line != group.id());
            let lost: Vec<Place> = self.lines.legs.keys().filter(|(line, _)| *line == group.id()).copied().collect();
            for (key, leg) in lost.into_iter().filter_map(|place| self.lines.leave(place)).collect::<Vec<_>>() {
                let why = "the line was changed by a reload";
                let release = Release::new(Guilty::Us, Cause::OUT_OF_ORDER, why);
                self.tell(key, leg, Heard::Line(Word::Released(release)), turn);
            }
        }
    }
}
