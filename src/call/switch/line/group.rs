//! The spans whose calls one D channel sets up, and the line that they make.

use std::sync::Arc;

use firmware_io::Alarms;

use super::super::super::terms;
use crate::config::{self, Config, DChannel, Span, Trunk};
use crate::hop::{SpanId, TrunkId};
use crate::isdn::call::Access;
use crate::isdn::leg::Numbering;
use crate::isdn::line::{self, Line};
use crate::isdn::timeslots::{self, Slot};
use crate::random::Random;
use crate::session::Stream;
use crate::time::{Instant, Now};

/// The spans of one line: the one with the D channel first.
pub(super) struct Group {
    pub spans: Vec<Member>,
    /// The gateway whose line it is; without one its calls are refused.
    pub trunk: Option<TrunkId>,
    pub access: Arc<Access>,
    pub line: Line,
    /// The first good span whose D channel is down, and since when.
    pub silent: Option<(usize, Instant)>,
}

/// A span of a line.
pub(super) struct Member {
    pub settings: Arc<Span>,
    /// `None` while the line's card or driver is not there.
    pub alarms: Option<Alarms>,
    /// An operator took it down.
    pub forced: bool,
    pub since: Instant,
    pub why: String,
    /// Timeslots of which one end thought otherwise than the other, and both think alike again.
    pub healed: u64,
}

impl Member {
    pub fn is_up(&self) -> bool {
        !self.forced && self.alarms.is_some_and(Alarms::is_empty)
    }

    pub fn why(&self) -> &str {
        if self.forced { "an operator took it down" } else { &self.why }
    }
}

impl Group {
    /// A group that begins.
    pub fn new(now: Now, random: &mut Random, spans: Vec<Arc<Span>>, trunk: Option<TrunkId>) -> Group {
        let first = &spans[0];
        let access = Arc::new(Access::of(first));
        let carried = spans.iter().map(|span| timeslots::Span::of(span)).collect();
        let terms =
            line::Terms { hunt: first.hunt, exclusive: first.exclusive, ..line::Terms::new(access.clone(), carried) };
        let why = "it is being opened";
        let (alarms, since) = (None, now.mono);
        let member = |settings| Member { settings, alarms, forced: false, since, why: why.to_owned(), healed: 0 };
        // A far end that still knows calls of ours must not take new ones for these.
        let line = Line::new(terms).with_references_after(random.below(0x7fff) as u16);
        Group { line, access, trunk, silent: None, spans: spans.into_iter().map(member).collect() }
    }

    /// Do its lines go on as these?
    pub fn goes_on_as(&self, spans: &[Arc<Span>]) -> bool {
        config::go_on(self.spans.iter().map(|member| &member.settings), spans.iter())
    }

    /// The same lines with settings that count from the next call on.
    pub fn renewed(mut self, spans: Vec<Arc<Span>>, trunk: Option<TrunkId>) -> Group {
        self.access = Arc::new(Access::of(&spans[0]));
        self.line.renew(self.access.clone(), spans[0].hunt, spans[0].exclusive);
        for (member, settings) in self.spans.iter_mut().zip(spans) {
            member.settings = settings;
        }
        Group { trunk, ..self }
    }

    /// Looks whether every D channel of a good span could be used.
    pub fn look(&mut self, now: Instant) {
        let is_up = |span: usize| self.spans.get(span).is_some_and(Member::is_up);
        let silent = self.line.links().find(|(span, condition, _)| is_up(*span) && !condition.is_up());
        self.silent = match (silent, self.silent) {
            (Some((span, ..)), Some((known, since))) if known == span => Some((span, since)),
            (silent, _) => silent.map(|(span, ..)| (span, now)),
        };
    }

    pub fn id(&self) -> SpanId {
        self.spans[0].settings.id
    }

    pub fn place(&self, span: SpanId) -> Option<usize> {
        self.spans.iter().position(|member| member.settings.id == span)
    }

    /// The sound of a timeslot.
    pub fn stream(&self, slot: Slot) -> Option<Stream> {
        let settings = &self.spans.get(slot.span)?.settings;
        Some(terms::through(settings, slot.timeslot))
    }

    pub fn numbering(&self) -> Numbering {
        Numbering::of(&self.spans[0].settings)
    }

    /// A span is no longer as it was: the line hears when that takes it away or brings it back.
    pub fn changed(&mut self, now: Now, place: usize, change: impl FnOnce(&mut Member), out: &mut Vec<line::Output>) {
        let Some(member) = self.spans.get_mut(place) else { return };
        let (before, was_up) = ((member.alarms, member.forced), member.is_up());
        change(member);
        if (member.alarms, member.forced) == before {
            return;
        }
        member.since = now.mono;
        match (was_up, member.is_up()) {
            (false, true) => self.line.span_up(now.mono, place, out),
            (true, false) => self.line.span_down(now.mono, place, out),
            _ => {}
        }
    }
}

/// The groups that a configuration makes, each with the trunk that has its spans.
pub(super) fn groups(config: &Config) -> impl Iterator<Item = (Vec<Arc<Span>>, Option<TrunkId>)> {
    let first = config.spans.iter().filter(|span| span.d_channel == DChannel::Own);
    first.map(|first| {
        let spans: Vec<_> = config.lines_of(first.id).cloned().collect();
        let has = |trunk: &&Arc<Trunk>| spans.iter().any(|span| trunk.spans.contains(&span.id));
        let trunk = config.trunks.iter().find(has).map(|trunk| trunk.id);
        (spans, trunk)
    })
}
