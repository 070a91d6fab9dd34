//! The D channels of a line: one, or two of which one stands by for the other (D-channel backup, TR 41459, SR-4994).
//!
//! ```text
//!            primary            backup
//! start      up: in use         up alone for 5 s: in use
//!            in use             standing by: its link is up too
//!            link lost          in use; what was on the way is lost, calls stay; SERVICE tells the far end
//!            up again           in use: nobody changes back by itself
//! both lost  Down: calls live as long as T309
//! ```
//!
//! Messages are taken from either; the far end's SERVICE makes us follow it.

use std::time::Duration;

use super::link::{Condition, Down, Fault, Link, Output as Linked, Parameters, Unsent};
use crate::time::{Instant, soonest};
use crate::wire::q921::Side;

/// How long the backup waits for the primary at the start.
const PATIENCE: Duration = Duration::from_secs(5);

/// What comes of a call into the D channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To the D channel of a span.
    Frame {
        /// Which.
        span: usize,
        /// Without FCS.
        octets: Vec<u8>,
    },
    /// A message from the far end.
    Message(Vec<u8>),
    /// Messages can be exchanged.
    Up,
    /// They still can; of those that were on the way some may be lost.
    Interrupted,
    /// As [`Output::Interrupted`]; from now on over another span, which the far end has to be told.
    ChangedOver {
        /// Which.
        span: usize,
    },
    /// No messages can be exchanged.
    Down(Down),
    /// For operators.
    Fault {
        /// On which span.
        span: usize,
        /// What.
        fault: Fault,
    },
}

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// None is up.
    Down,
    /// The backup is up, and waits for the primary.
    Waiting { until: Instant },
    /// This one of them.
    Up { active: usize },
}

/// One D channel or two. The first is the primary.
#[derive(Debug)]
pub struct Signalling {
    links: Vec<(usize, Link)>,
    state: State,
}

impl Signalling {
    /// With D channels on these spans.
    pub fn new(side: Side, parameters: Parameters, spans: impl IntoIterator<Item = usize>) -> Signalling {
        let links = spans.into_iter().map(|span| (span, Link::new(side, parameters))).collect();
        Signalling { links, state: State::Down }
    }

    /// Can messages be exchanged?
    pub fn is_up(&self) -> bool {
        matches!(self.state, State::Up { .. })
    }

    /// The span whose D channel is used.
    pub fn active(&self) -> Option<usize> {
        match self.state {
            State::Up { active } => self.links.get(active).map(|(span, _)| *span),
            State::Down | State::Waiting { .. } => None,
        }
    }

    /// Each D channel: its span, how its link is, what went wrong last.
    pub fn view(&self) -> impl Iterator<Item = (usize, Condition, Option<Fault>)> + '_ {
        self.links.iter().map(|(span, link)| (*span, link.condition(), link.fault()))
    }

    /// When [`Signalling::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let waiting = match self.state {
            State::Waiting { until } => Some(until),
            State::Down | State::Up { .. } => None,
        };
        self.links.iter().map(|(_, link)| link.timeout()).fold(waiting, soonest)
    }

    /// Timers.
    pub fn tick(&mut self, now: Instant, out: &mut Vec<Output>) {
        for place in 0..self.links.len() {
            self.on(now, place, out, |link, out| link.tick(now, out));
        }
        if matches!(self.state, State::Waiting { until } if until <= now) {
            self.begin(1, out);
        }
    }

    /// A frame from the D channel of a span.
    pub fn receive(&mut self, now: Instant, span: usize, octets: &[u8], out: &mut Vec<Output>) {
        self.on_span(now, span, out, |link, out| link.receive(now, octets, out));
    }

    /// The alarms of a span are over.
    pub fn line_up(&mut self, now: Instant, span: usize, out: &mut Vec<Output>) {
        self.on_span(now, span, out, |link, out| link.line_up(now, out));
    }

    /// A span went into alarm.
    pub fn line_down(&mut self, now: Instant, span: usize, out: &mut Vec<Output>) {
        self.on_span(now, span, out, |link, out| link.line_down(out));
    }

    /// All D channels shall be up, or down.
    pub fn want(&mut self, now: Instant, up: bool, out: &mut Vec<Output>) {
        // The one in use last: nothing is changed over on the way.
        let is_active = |place: &usize| self.state == State::Up { active: *place };
        let (active, others): (Vec<_>, Vec<_>) = (0..self.links.len()).partition(is_active);
        for place in others.into_iter().chain(active) {
            self.on(now, place, out, |link, out| match up {
                true => link.establish(now, out),
                false => link.release(now, out),
            });
        }
    }

    /// A message for the far end.
    pub fn send(&mut self, now: Instant, message: Vec<u8>, out: &mut Vec<Output>) -> Result<(), Unsent> {
        let State::Up { active } = self.state else { return Err(Unsent::Down) };
        let mut sent = Err(Unsent::Down);
        self.on(now, active, out, |link, out| sent = link.send(now, message, out));
        sent
    }

    /// The far end uses the D channel of this span from now on. Do we?
    pub fn follow(&mut self, span: usize) -> bool {
        let up = |(on, link): &(usize, Link)| *on == span && link.down().is_none();
        match (self.state, self.links.iter().position(up)) {
            (State::Up { .. }, Some(active)) => {
                self.state = State::Up { active };
                true
            }
            _ => false,
        }
    }

    fn on_span(
        &mut self,
        now: Instant,
        span: usize,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Link, &mut Vec<Linked>),
    ) {
        if let Some(place) = self.links.iter().position(|(on, _)| *on == span) {
            self.on(now, place, out, act);
        }
    }

    fn on(&mut self, now: Instant, place: usize, out: &mut Vec<Output>, act: impl FnOnce(&mut Link, &mut Vec<Linked>)) {
        let Some((span, link)) = self.links.get_mut(place) else { return };
        let (span, mut said) = (*span, Vec::new());
        act(link, &mut said);
        for said in said {
            match said {
                Linked::Frame(octets) => out.push(Output::Frame { span, octets }),
                Linked::Data(message) => {
                    // Whoever speaks has begun.
                    self.begin(place, out);
                    out.push(Output::Message(message));
                }
                Linked::Fault(fault) => out.push(Output::Fault { span, fault }),
                Linked::Up => self.up(now, place, out),
                Linked::Reset { .. } if self.state == State::Up { active: place } => out.push(Output::Interrupted),
                Linked::Reset { .. } => {}
                Linked::Down(why) => self.down(place, why, out),
            }
        }
    }

    fn up(&mut self, now: Instant, place: usize, out: &mut Vec<Output>) {
        match (self.state, place) {
            (State::Up { .. }, _) => {}
            (_, 0) => self.begin(0, out),
            (State::Down, _) => self.state = State::Waiting { until: now + PATIENCE },
            (State::Waiting { .. }, _) => {}
        }
    }

    fn begin(&mut self, active: usize, out: &mut Vec<Output>) {
        if !self.is_up() {
            self.state = State::Up { active };
            out.push(Output::Up);
        }
    }

    fn down(&mut self, place: usize, why: Down, out: &mut Vec<Output>) {
        let other = self.links.iter().position(|(_, link)| link.down().is_none());
        match (self.state, other) {
            (State::Up { active }, Some(other)) if active == place => {
                self.state = State::Up { active: other };
                let span = self.links.get(other).map_or(0, |(span, _)| *span);
                out.push(Output::ChangedOver { span });
            }
            (State::Up { active }, _) if active != place => {}
            (State::Waiting { .. }, Some(_)) => {}
            // Also where it was down before: it stays down for another reason.
            _ => {
                self.state = State::Down;
                out.push(Output::Down(why));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    /// Two ends of a line with D channels on spans 0 and 2.
    struct Pair {
        ends: [Signalling; 2],
        now: Instant,
        told: [Vec<String>; 2],
        /// Spans on which nothing passes.
        cut: [bool; 3],
        under_way: VecDeque<(usize, usize, Vec<u8>)>,
    }

    impl Pair {
        fn new(spans: &[usize]) -> Pair {
            let end = |side| Signalling::new(side, Parameters::default(), spans.to_vec());
            let ends = [end(Side::User), end(Side::Network)];
            Pair { ends, now: Instant::START, told: Default::default(), cut: [false; 3], under_way: VecDeque::new() }
        }

        /// Both ends see the span come up, or go down, before anything is carried.
        fn line(&mut self, span: usize, up: bool) {
            let mut outs = [Vec::new(), Vec::new()];
            for (end, out) in self.ends.iter_mut().zip(&mut outs) {
                match up {
                    true => end.line_up(self.now, span, out),
                    false => end.line_down(self.now, span, out),
                }
            }
            outs.into_iter().enumerate().for_each(|(end, out)| self.say(end, out));
            self.carry();
        }

        fn act(&mut self, end: usize, act: impl FnOnce(&mut Signalling, &mut Vec<Output>)) {
            let mut out = Vec::new();
            act(&mut self.ends[end], &mut out);
            self.say(end, out);
            self.carry();
        }

        fn carry(&mut self) {
            while let Some((end, span, octets)) = self.under_way.pop_front() {
                let mut out = Vec::new();
                self.ends[end].receive(self.now, span, &octets, &mut out);
                self.say(end, out);
            }
        }

        fn say(&mut self, end: usize, out: Vec<Output>) {
            for output in out {
                match output {
                    Output::Frame { span, octets } if !self.cut[span] => {
                        self.under_way.push_back((1 - end, span, octets));
                    }
                    Output::Message(message) => self.told[end].push(String::from_utf8(message).unwrap()),
                    Output::Up => self.told[end].push("up".into()),
                    Output::Interrupted => self.told[end].push("interrupted".into()),
                    Output::ChangedOver { span } => self.told[end].push(format!("over {span}")),
                    Output::Down(why) => self.told[end].push(format!("{why:?}")),
                    Output::Frame { .. } | Output::Fault { .. } => {}
                }
            }
        }

        fn run(&mut self, seconds: u64) {
            for _ in 0..seconds * 10 {
                self.now = self.now + Duration::from_millis(100);
                for end in 0..2 {
                    let now = self.now;
                    self.act(end, |end, out| end.tick(now, out));
                }
            }
        }

        fn says(&mut self, end: usize, text: &str) {
            let now = self.now;
            self.act(end, |end, out| end.send(now, text.into(), out).unwrap());
        }

        #[track_caller]
        fn told(&mut self, expected: [&str; 2]) {
            assert_eq!(std::mem::take(&mut self.told).map(|told| told.join(", ")), expected);
        }
    }

    #[test]
    fn one_d_channel_is_up_or_down() {
        let mut pair = Pair::new(&[0]);
        pair.line(0, true);
        pair.told(["up", "up"]);
        pair.says(0, "setup");
        pair.says(1, "proceeding");
        pair.told(["proceeding", "setup"]);
        pair.cut[0] = true;
        pair.run(30);
        pair.told(["Silent", "Silent"]);
        assert_eq!(pair.ends[0].send(pair.now, vec![1], &mut Vec::new()), Err(Unsent::Down));
        pair.cut[0] = false;
        pair.run(2);
        // The one that hears the other's SABME first is up first, and then hears it begin anew.
        pair.told(["up, interrupted", "up"]);
        pair.line(0, false);
        pair.told(["Line", "Line"]);
    }

    #[test]
    fn the_backup_takes_over_and_keeps_it() {
        let mut pair = Pair::new(&[0, 2]);
        pair.line(2, true);
        pair.run(4);
        pair.told(["", ""]);
        pair.line(0, true);
        pair.told(["up", "up"]);
        assert_eq!(pair.ends[0].active(), Some(0));
        pair.says(0, "by the primary");
        pair.line(0, false);
        pair.told(["over 2", "by the primary, over 2"]);
        pair.says(1, "by the backup");
        pair.line(0, true);
        pair.run(30);
        pair.told(["by the backup", ""]);
        assert_eq!(pair.ends.each_ref().map(Signalling::active), [Some(2), Some(2)]);
        pair.line(2, false);
        pair.told(["over 0", "over 0"]);
        pair.line(0, false);
        pair.told(["Line", "Line"]);
    }

    #[test]
    fn the_backup_begins_alone_after_a_while_and_either_end_may_change_over() {
        let mut pair = Pair::new(&[0, 2]);
        pair.line(2, true);
        pair.run(5);
        pair.told(["up", "up"]);
        pair.line(0, true);
        pair.told(["", ""]);
        assert!(pair.ends[0].follow(0));
        assert!(!pair.ends[0].follow(1));
        pair.says(0, "by the primary");
        pair.says(1, "by the backup");
        pair.told(["by the backup", "by the primary"]);
        let now = pair.now;
        pair.act(0, |end, out| end.want(now, false, out));
        pair.told(["Released", "over 0, Disconnected"]);
    }
}
