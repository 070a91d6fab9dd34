//! A line: its D channel or channels, its timeslots, its calls. All that the switch sees of ISDN.
//!
//! ```text
//! frames ─▶ signalling ─▶ a call's message ─▶ that call         ─▶ words, timeslots
//!                         SETUP            ─▶ a new call, where a timeslot is to be had    (`calls`)
//!                         RESTART, SERVICE ─▶ the channel table                            (`upkeep`)
//! ```
//!
//! Two calls may be joined by the exchange, where it does that (`join`).
//!
//! * A timeslot is agreed on as Q.931 sections 5.1.2 and 5.2.3.1 say. Where both ends want the same one, the exchange's call
//!   has it (section 5.7); ours goes to another without anybody above noticing.
//! * Calls live through an interruption of the D channel of T309. An alarm of a span ends those on it at once.
//! * Where nobody knows what the far end thinks of a timeslot it is not given out until a RESTART healed it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::call::{self, Access, Call, Order, Setup};
use super::link::{self, Condition, Down, Parameters, Unsent};
use super::maintenance::Notices;
use super::restart::{Restarts, What};
use super::signalling::{self, Signalling};
use super::timeslots::{CallId, End, Hunt, Slot, Span, Timeslots, View};
use crate::time::{Instant, soonest};
use crate::wire::q931::{Kind, Message, Reference, Unreadable};

mod calls;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod join;
mod upkeep;

#[cfg(test)]
mod tests;

pub use join::Unjoined;

/// How often it is looked whether both ends still think the same.
const AUDIT: Duration = Duration::from_secs(60);

/// What a line is.
#[derive(Clone, Debug)]
pub struct Terms {
    /// What its calls have in common.
    pub access: Arc<Access>,
    /// Its spans. The first with a D channel has the primary, a second one the backup.
    pub spans: Vec<Span>,
    /// How its data links wait and repeat.
    pub link: Parameters,
    /// Which timeslot a call of ours gets.
    pub hunt: Hunt,
    /// Our SETUP asks for that timeslot or none; else it is a wish.
    pub exclusive: bool,
}

impl Terms {
    /// With what is usual: timeslots from opposite ends, and the one that our SETUP names or none.
    pub fn new(access: Arc<Access>, spans: Vec<Span>) -> Terms {
        Terms { access, spans, link: Parameters::default(), hunt: Hunt::default(), exclusive: true }
    }
}

/// What comes of a call into the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the D channel of a span.
    Frame {
        /// Which.
        span: usize,
        /// Without FCS.
        octets: Vec<u8>,
    },
    /// A call of ours or of the far end's says something. [`call::Word::Setup`] begins one.
    Word {
        /// Which call.
        call: CallId,
        /// What.
        word: call::Word,
    },
    /// A call has this timeslot from now on. It loses it with [`call::Word::Released`].
    Bearer {
        /// Which call.
        call: CallId,
        /// Which timeslot.
        slot: Slot,
    },
    /// A message passed, for the ladder of its call; sent ones as often as a call says them.
    Message {
        /// Which call; `None` for the line as a whole and for calls that never were. A call of the far end's is told by its
        /// messages first: [`call::Word::Setup`] comes when its number is whole.
        call: Option<CallId>,
        /// By us?
        sent: bool,
        /// The message.
        octets: Vec<u8>,
    },
    /// What came of [`Line::join`]. Where the exchange did it, both calls are to be released.
    Joined {
        /// Which.
        calls: [CallId; 2],
        /// Has the exchange taken them?
        outcome: Result<(), Unjoined>,
    },
    /// No further message comes of a call. What ends it comes behind [`call::Word::Released`].
    Over(CallId),
    /// For operators.
    Report(Report),
}

/// What operators hear of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// Calls can be made.
    Up,
    /// The data link was begun anew.
    Interrupted,
    /// The backup D channel took over.
    ChangedOver {
        /// On which span it is.
        span: usize,
    },
    /// No calls can be made. Those that are up live on for T309.
    Down(Down),
    /// Something is wrong on a data link.
    Link {
        /// On which span.
        span: usize,
        /// What.
        fault: link::Fault,
    },
    /// A rule was broken in a call.
    Call {
        /// Which.
        call: CallId,
        /// Which rule.
        fault: call::Fault,
    },
    /// The far end sent what is no message.
    Unreadable(Unreadable),
    /// A message could not be sent.
    Unsent(Unsent),
    /// Both ends wanted the same timeslot.
    Glare {
        /// Which.
        slot: Slot,
        /// Who has it.
        winner: End,
    },
    /// Timeslots were restarted.
    Restarted {
        /// Who asked for it.
        by: End,
        /// Which.
        slots: Vec<Slot>,
    },
    /// The far end does not answer RESTART.
    RestartUnanswered(What),
    /// A timeslot that the far end held for busy, or may have, is idle at both ends again.
    Healed(Slot),
    /// A timeslot is blocked, or no longer.
    Blocked {
        /// Which.
        slot: Slot,
        /// By whom.
        end: End,
        /// Is it?
        blocked: bool,
    },
    /// The far end does not answer SERVICE.
    NoticeUnanswered(Slot),
}

/// Why a call cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Unplaced {
    /// No D channel is up.
    #[error("the D channel is down")]
    Down,
    /// No timeslot is idle.
    #[error("no timeslot is idle")]
    Full,
}

/// A call and what the line knows of it.
#[derive(Debug)]
struct Entry {
    call: Call,
    /// The call as the switch knows it: another one's where this is what is left of an attempt of its.
    of: CallId,
    slot: Option<Slot>,
    /// Its SETUP, until the far end's first answer.
    unanswered: Option<Box<Unanswered>>,
    /// By this the exchange of a release link trunk knows it.
    link: Option<i64>,
    /// When the far end last spoke of it.
    heard: Instant,
}

#[derive(Clone, Debug)]
struct Unanswered {
    setup: Setup,
    attempts: u8,
}

/// One line.
#[derive(Debug)]
pub struct Line {
    terms: Terms,
    signalling: Signalling,
    slots: Timeslots,
    restarts: Restarts,
    notices: Notices,
    calls: BTreeMap<CallId, Entry>,
    /// By the reference as we write it.
    references: HashMap<Reference, CallId>,
    last_call: u32,
    last_reference: u16,
    joins: Vec<join::Join>,
    /// Of what was asked for a join.
    last_number: u8,
    /// Spans whose timeslots have to be restarted once that is possible.
    stale: BTreeSet<usize>,
    /// While the D channel is up.
    audit: Option<Instant>,
}

impl Line {
    /// A line whose spans are in alarm until [`Line::span_up`].
    pub fn new(terms: Terms) -> Line {
        let side = terms.access.side;
        let with_d = terms.spans.iter().enumerate().filter(|(_, span)| span.signalling).map(|(place, _)| place);
        Line {
            signalling: Signalling::new(side, terms.link, with_d.take(2)),
            slots: Timeslots::new(side, terms.spans.clone()),
            restarts: Restarts::default(),
            notices: Notices::default(),
            calls: BTreeMap::new(),
            references: HashMap::new(),
            last_call: 0,
            last_reference: 0,
            joins: Vec::new(),
            last_number: 0,
            stale: (0..terms.spans.len()).collect(),
            audit: None,
            terms,
        }
    }

    /// The same with call references that follow `last`. Chosen at random, none is likely to be one that a far end
    /// still holds for a call of before our start: it would take our SETUP for a repeated one.
    #[must_use]
    pub fn with_references_after(self, last: u16) -> Line {
        Line { last_reference: last, ..self }
    }

    /// What holds from the next call on; the line itself stays what it is.
    pub fn renew(&mut self, access: Arc<Access>, hunt: Hunt, exclusive: bool) {
        (self.terms.access, self.terms.hunt, self.terms.exclusive) = (access, hunt, exclusive);
    }

    /// Can calls be made?
    pub fn is_up(&self) -> bool {
        self.signalling.is_up()
    }

    /// Each D channel: its span, how its data link is, what went wrong last.
    pub fn links(&self) -> impl Iterator<Item = (usize, Condition, Option<link::Fault>)> + '_ {
        self.signalling.view()
    }

    /// The span whose D channel carries the calls' messages.
    pub fn signalled_on(&self) -> Option<usize> {
        self.signalling.active()
    }

    /// Each timeslot.
    pub fn timeslots(&self) -> impl Iterator<Item = (Slot, View)> + '_ {
        self.slots.view()
    }

    /// The call that has a timeslot.
    pub fn call_on(&self, slot: Slot) -> Option<CallId> {
        self.slots.call(slot)
    }

    /// The timeslot that a call has.
    pub fn slot_of(&self, call: CallId) -> Option<Slot> {
        self.calls.get(&call).and_then(|entry| entry.slot)
    }

    /// Is it still one of its calls?
    pub fn knows(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// Is it up?
    pub fn is_active(&self, call: CallId) -> bool {
        self.calls.get(&call).is_some_and(|entry| entry.call.is_active())
    }

    /// The reference of a call, as we write it.
    pub fn reference(&self, call: CallId) -> Option<Reference> {
        self.calls.get(&call).map(|entry| entry.call.reference())
    }

    /// The call of a reference, as we write it.
    pub fn call_of(&self, reference: Reference) -> Option<CallId> {
        self.references.get(&reference).copied()
    }

    /// How many further calls of ours it could take now.
    pub fn free(&self) -> usize {
        if self.is_up() { self.slots.free() } else { 0 }
    }

    /// When [`Line::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let calls = self.calls.values().map(|entry| entry.call.timeout());
        let own = [self.signalling.timeout(), self.restarts.timeout(), self.notices.timeout(), self.audit];
        let own = own.into_iter().chain([self.joins_timeout()]);
        own.chain(calls).fold(None, soonest)
    }

    /// Timers.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        let mut said = Vec::new();
        self.signalling.tick(now, &mut said);
        self.signalled(now, said, out);
        let is_due = |entry: &Entry| entry.call.timeout().is_some_and(|at| at <= now);
        let due: Vec<CallId> = self.calls.iter().filter(|(_, entry)| is_due(entry)).map(|(id, _)| *id).collect();
        for id in due {
            self.with(now, id, out, |call, said| call.tick(now, said));
        }
        self.tick_joins(now, out);
        self.upkeep(now, out);
    }

    /// A frame from the D channel of a span.
    pub fn receive(&mut self, now: Instant, span: usize, octets: &[u8], out: &mut Vec<Output>) {
        let mut said = Vec::new();
        self.signalling.receive(now, span, octets, &mut said);
        self.signalled(now, said, out);
    }

    /// The data links shall be up, or down and stay down.
    pub fn want(&mut self, now: Instant, up: bool, out: &mut Vec<Output>) {
        let mut said = Vec::new();
        self.signalling.want(now, up, &mut said);
        self.signalled(now, said, out);
    }

    /// Says something to a call.
    pub fn order(&mut self, now: Instant, call: CallId, order: Order, out: &mut Vec<Output>) {
        if let Order::Release { .. } = order {
            self.part(call);
        }
        self.with(now, call, out, |call, said| call.order(now, order, said));
    }

    /// Sends a message that no call here knows of, to see what the far end makes of it.
    pub fn say(&mut self, now: Instant, message: Vec<u8>, out: &mut Vec<Output>) {
        self.tell(now, message, out);
    }

    fn signalled(&mut self, now: Instant, said: Vec<signalling::Output>, out: &mut Vec<Output>) {
        for said in said {
            match said {
                signalling::Output::Frame { span, octets } => out.push(Output::Frame { span, octets }),
                signalling::Output::Message(octets) => self.message(now, &octets, out),
                signalling::Output::Up => {
                    out.push(Output::Report(Report::Up));
                    self.interrupted(now, out);
                    self.restart_stale(now, out);
                    self.audit(now, out);
                }
                signalling::Output::Interrupted => {
                    out.push(Output::Report(Report::Interrupted));
                    self.interrupted(now, out);
                }
                signalling::Output::ChangedOver { span } => {
                    out.push(Output::Report(Report::ChangedOver { span }));
                    self.tell_change_over(now, span, out);
                    self.interrupted(now, out);
                }
                signalling::Output::Down(why) => {
                    out.push(Output::Report(Report::Down(why)));
                    self.audit = None;
                    self.each(now, out, |call, said| call.link_down(now, said));
                }
                signalling::Output::Fault { span, fault } => out.push(Output::Report(Report::Link { span, fault })),
            }
        }
    }

    /// What was on the way may be lost.
    fn interrupted(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.each(now, out, |call, said| call.link_up(now, said));
        let mut said = Vec::new();
        self.restarts.again(now, &mut said);
        self.restarting(now, said, out);
        let mut said = Vec::new();
        self.notices.again(now, &mut said);
        self.noticing(now, said, out);
    }

    fn message(&mut self, now: Instant, octets: &[u8], out: &mut Vec<Output>) {
        let message = match Message::read(octets) {
            Ok(message) => message,
            Err(why) => return out.push(Output::Report(Report::Unreadable(why))),
        };
        let known = self.references.get(&message.reference.reply()).copied();
        match (message.kind, known) {
            _ if message.reference.is_global() => {
                out.push(Output::Message { call: None, sent: false, octets: octets.to_vec() });
                self.global(now, &message, out);
            }
            (_, Some(call)) => {
                out.push(Output::Message { call: self.of(call), sent: false, octets: octets.to_vec() });
                self.heard(now, call, &message, out);
            }
            (Kind::Setup, None) if !message.reference.to_origin => self.called(now, &message, octets, out),
            (_, None) => {
                out.push(Output::Message { call: None, sent: false, octets: octets.to_vec() });
                self.stray(now, &message, out);
            }
        }
    }

    /// To no call of ours (Q.931 section 5.8.3.2).
    fn stray(&mut self, now: Instant, message: &Message, out: &mut Vec<Output>) {
        if let Some(answer) = call::stray(message, self.terms.access.location) {
            self.tell(now, answer, out);
        }
    }

    /// To the far end, about no call.
    fn tell(&mut self, now: Instant, message: Vec<u8>, out: &mut Vec<Output>) {
        self.tell_of(now, None, message, out);
    }

    /// To the far end, about a call.
    fn tell_of(&mut self, now: Instant, call: Option<CallId>, message: Vec<u8>, out: &mut Vec<Output>) {
        let (mut said, octets) = (Vec::new(), message.clone());
        match self.signalling.send(now, message, &mut said) {
            Ok(()) => out.push(Output::Message { call, sent: true, octets }),
            // The calls know that it is down.
            Err(Unsent::Down) => {}
            Err(why) => out.push(Output::Report(Report::Unsent(why))),
        }
        self.signalled(now, said, out);
    }

    /// A call as the switch knows it.
    fn of(&self, call: CallId) -> Option<CallId> {
        self.calls.get(&call).map(|entry| entry.of)
    }
}
