//! What operators are told of the lines: how each span stands, what is wrong with it and what to do, and what was reported, in words.

use std::time::Duration;

use firmware_io::Alarms;

use super::super::super::report::{SpanView, TimeslotView};
use super::group::{Group, Member};
use crate::alarm::{Alarm, Severity, Text};
use crate::config::Config;
use crate::hop::SpanId;
use crate::isdn::line;
use crate::isdn::link::Down;
use crate::isdn::restart::What;
use crate::isdn::timeslots::{End, Slot};
use crate::time::Now;

/// A data link on a good line comes up sooner than that.
const SETTLES: Duration = Duration::from_secs(5);

impl Group {
    pub fn views(&self, now: Now, config: &Config) -> Vec<(SpanId, SpanView)> {
        let trunk = self.trunk.and_then(|id| config.trunk(id)).map(|trunk| trunk.name.clone());
        let view = |(place, member): (usize, &Member)| {
            let timeslots = self.line.timeslots().filter(|(slot, _)| slot.span == place);
            let link = self.line.links().find(|(span, ..)| *span == place);
            let view = SpanView {
                id: member.settings.id,
                name: member.settings.name.clone(),
                trunk: trunk.clone(),
                line: member.settings.line.name(),
                switch: member.settings.dialect.name(),
                up: member.is_up(),
                alarms: member.alarms.into_iter().flat_map(Alarms::names).collect(),
                since_seconds: now.mono.since(member.since).as_secs_f64(),
                why: member.why().to_owned(),
                forced_down: member.forced,
                loop_back: None,
                healed_timeslots: member.healed,
                echo_canceller: None,
                d_channel: link.map(|(_, condition, _)| condition.name()),
                d_channel_stands_by: self.stands_by(place),
                d_channel_fault: link.and_then(|(.., fault)| fault).map(|fault| fault.to_string()),
                timeslots: timeslots
                    .map(|(slot, view)| TimeslotView {
                        timeslot: slot.timeslot,
                        state: view.name(),
                        call: self.line.call_on(slot).is_some(),
                    })
                    .collect(),
                counters: None,
                capture: None,
            };
            (member.settings.id, view)
        };
        self.spans.iter().enumerate().map(view).collect()
    }

    pub fn alarms<'a>(&'a self, now: Now) -> impl Iterator<Item = Alarm> + 'a {
        let spans = self.spans.iter().filter(|member| !member.is_up());
        let spans = spans.map(move |member| {
            let name = &member.settings.name;
            let (what, remedy) = match member.alarms {
                _ if member.forced => (format!("{name} is down: {}", member.why()), format!("demarc spans up {name}")),
                None => (
                    format!("{name} is not there: {}", member.why),
                    "look at the card, its driver and Device, and at what the service may open (lines.conf)".into(),
                ),
                Some(alarms) => (format!("{name} is in alarm: {alarms}"), remedy(name, alarms)),
            };
            let text = Text::new(what, "no call can use its timeslots, and those that did have ended", remedy);
            Alarm::new(now, member.since, Severity::Major, name, text)
        });
        spans.chain(self.silent(now))
    }

    fn stands_by(&self, place: usize) -> bool {
        let active = self.line.signalled_on();
        active.is_some_and(|active| active != place)
            && self.line.links().any(|(span, link, _)| span == place && link.is_up())
    }

    /// A line itself is in order, and nobody at its far end sets calls up.
    fn silent(&self, now: Now) -> Option<Alarm> {
        let (place, since) = self.silent?;
        let name = &self.spans.get(place)?.settings.name;
        let fault = self.line.links().find(|(span, ..)| *span == place).and_then(|(.., fault)| fault);
        let fault = fault.map_or_else(|| "nobody answers on it".to_owned(), |fault| fault.to_string());
        let (severity, what, breaks) = match self.line.is_up() {
            true => (
                Severity::Minor,
                "does not stand by",
                "nothing yet; once the D channel in use fails as well, no call can be set up",
            ),
            false => (Severity::Major, "is down", "no call can be set up on its timeslots"),
        };
        let text = Text::new(
            format!("the D channel of {name} {what}: {fault}"),
            breaks,
            format!(
                "compare Switch=, Side=, DChannel= and Interface= of {name} with the carrier's, ask whether the D channel is in \
                 service, and end a loop back; demarc doctor looks closer"
            ),
        );
        (now.mono.since(since) >= SETTLES).then(|| Alarm::new(now, since, severity, name, text))
    }
}

impl Group {
    /// A report in words, and whether all is as it should be.
    pub fn told(&self, report: &line::Report) -> (bool, String) {
        use line::Report as Is;
        let name = |span: usize| self.spans.get(span).map_or("", |member| member.settings.name.as_str());
        // The line's name stands before it.
        let slot = |slot: &Slot| match slot.span {
            0 => format!("timeslot {}", slot.timeslot),
            span => format!("timeslot {} of {}", slot.timeslot, name(span)),
        };
        match report {
            Is::Up => (true, "the D channel is up: calls can be made".to_owned()),
            Is::Interrupted => (false, "the data link was begun anew; what was on the way may be lost".to_owned()),
            Is::ChangedOver { span } => (false, format!("the D channel of {} took over", name(*span))),
            Is::Down(Down::Line) => (false, "the D channel is down with its line; no call can be made".to_owned()),
            Is::Down(why) => {
                (false, format!("the D channel is down: {why}; no call can be made, live ones go on for a while"))
            }
            Is::Link { span, fault } => (false, format!("{}: {fault}", name(*span))),
            Is::Call { fault, .. } => (false, fault.to_string()),
            Is::Unreadable(why) => (false, format!("the far end sent what is no message: {why}")),
            Is::Unsent(why) => (false, format!("a message could not be sent: {why}")),
            Is::Glare { slot: at, winner: End::Near } => (true, format!("both ends wanted {}: ours has it", slot(at))),
            Is::Glare { slot: at, winner: End::Far } => {
                (true, format!("both ends wanted {}: the far end has it", slot(at)))
            }
            Is::Restarted { by, slots } => {
                let who = if *by == End::Near { "here" } else { "by the far end" };
                (true, format!("{} timeslots were restarted {who}", slots.len()))
            }
            Is::RestartUnanswered(What::Slot(at)) => {
                (false, format!("the far end does not answer RESTART of {}: no call gets it until it does", slot(at)))
            }
            Is::RestartUnanswered(What::Span(span)) => (
                false,
                format!(
                    "the far end does not answer RESTART of {}: what both ends think of its timeslots may differ",
                    name(*span)
                ),
            ),
            Is::Healed(at) => (true, format!("{} was thought busy by one end alone and is idle again", slot(at))),
            Is::Blocked { slot: at, end, blocked } => {
                let who = if *end == End::Near { "here" } else { "by the far end" };
                (true, format!("{} is {} {who}", slot(at), if *blocked { "blocked" } else { "free again" }))
            }
            Is::NoticeUnanswered(at) => (false, format!("the far end does not answer SERVICE for {}", slot(at))),
        }
    }
}

/// What to look at, by what is seen (T1.403, G.704).
fn remedy(name: &str, alarms: Alarms) -> String {
    match () {
        () if alarms.contains(Alarms::LOS) => {
            format!("nothing is received on {name}: check the cable and the far end's power")
        }
        () if alarms.contains(Alarms::LOF) => {
            format!(
                "what is received on {name} has no framing that we know: compare framing and line code with the carrier's"
            )
        }
        () if alarms.contains(Alarms::AIS) => format!("the far end of {name} has nothing to send: call the carrier"),
        () => format!("the far end of {name} does not hear us: check the transmitting pair, then call the carrier"),
    }
}
