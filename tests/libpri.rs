//! libpri, which has run in the field for twenty years, as the other end of the D channel; in virtual time.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use std::collections::VecDeque;
use std::time::Duration;

use demarc::isdn::link::{Condition, Link, Output, Parameters};
use demarc::random::Random;
use demarc::time::Instant;
use demarc::wire::q921::Side;

mod lab;

use lab::{Libpri, Said};

/// How long a frame is under way.
const WAY: u64 = 5;

/// Which end of the line a frame goes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum To {
    Us,
    Libpri,
}

/// A link of ours, libpri, and a line between them that loses frames.
struct Line {
    link: Link,
    libpri: Libpri,
    now: u64,
    loss: u64,
    random: Random,
    under_way: VecDeque<(u64, To, Vec<u8>)>,
    /// What libpri told its user.
    events: Vec<String>,
    /// What our link told.
    told: Vec<Output>,
    frames: u32,
}

impl Line {
    fn new(side: Side, loss: u64, seed: u64) -> Option<Line> {
        let far = if side == Side::User { "network" } else { "user" };
        let (libpri, said) = Libpri::start(far, "ni2")?;
        let mut line = Line {
            link: Link::new(side, Parameters::default()),
            libpri,
            now: 0,
            loss,
            random: Random::test(seed),
            under_way: VecDeque::new(),
            events: Vec::new(),
            told: Vec::new(),
            frames: 0,
        };
        line.heard(said);
        let mut out = Vec::new();
        line.link.line_up(at(0), &mut out);
        line.carry(out);
        Some(line)
    }

    fn put(&mut self, to: To, octets: Vec<u8>) {
        self.frames += 1;
        if self.random.below(100) >= self.loss {
            self.under_way.push_back((self.now + WAY, to, octets));
        }
    }

    fn heard(&mut self, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Frame(octets) => self.put(To::Us, octets),
                Said::Event(event) => self.events.push(event),
                Said::Complaint(_) => {}
            }
        }
    }

    fn carry(&mut self, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Frame(octets) => self.put(To::Libpri, octets),
                told => self.told.push(told),
            }
        }
    }

    fn run(&mut self, until: u64) {
        loop {
            let ours = self.link.timeout().map(|at| at.since_start().as_millis() as u64);
            let frame = self.under_way.front().map(|(at, ..)| *at);
            let next = [ours, self.libpri.due, frame].into_iter().flatten().min().filter(|next| *next <= until);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            let said = self.libpri.at(self.now);
            self.heard(said);
            let mut out = Vec::new();
            self.link.tick(at(self.now), &mut out);
            if frame == Some(next)
                && let Some((_, to, octets)) = self.under_way.pop_front()
            {
                match to {
                    To::Us => self.link.receive(at(self.now), &octets, &mut out),
                    To::Libpri => {
                        let said = self.libpri.hears(&octets);
                        self.heard(said);
                    }
                }
            }
            self.carry(out);
        }
        self.now = until;
        let said = self.libpri.at(until);
        self.heard(said);
    }

    /// Until something is so; how long that took.
    #[track_caller]
    fn until(&mut self, limit: u64, so: impl Fn(&Line) -> bool) -> u64 {
        let start = self.now;
        while !so(self) {
            assert!(self.now < start + limit, "libpri told {:?}, our link {:?}", self.events, self.told);
            self.run(self.now + 5);
        }
        self.now - start
    }

    fn says(&mut self, payload: &[u8]) {
        let mut out = Vec::new();
        self.link.send(at(self.now), payload.to_vec(), &mut out).unwrap();
        self.carry(out);
    }

    fn answers(&self) -> usize {
        self.told.iter().filter(|told| matches!(told, Output::Data(_))).count()
    }

    fn both_are_up(&self) -> bool {
        let last = |name| self.events.iter().rposition(|event| event == name);
        self.link.condition() == Condition::Up && last("up") > last("down")
    }
}

fn at(ms: u64) -> Instant {
    Instant::START + Duration::from_millis(ms)
}

/// A STATUS ENQUIRY for a call that nobody knows.
const ENQUIRY: [u8; 5] = [8, 2, 0, 9, 0x75];

#[test]
fn the_link_comes_up_on_either_side_and_lives_on_a_line_that_loses_frames() {
    for side in [Side::User, Side::Network] {
        for loss in [0, 10, 30] {
            let (mut slowest, mut frames, mut answers, mut interruptions) = (0, 0, 0, 0);
            for seed in 0..20 {
                let Some(mut line) = Line::new(side, loss, seed) else { return };
                slowest = slowest.max(line.until(60_000, Line::both_are_up));
                for _ in 0..20 {
                    if line.link.down().is_none() {
                        line.says(&ENQUIRY);
                    }
                    line.run(line.now + 700);
                }
                line.run(line.now + 60_000);
                line.loss = 0;
                line.until(30_000, Line::both_are_up);
                let before = line.answers();
                line.says(&ENQUIRY);
                line.until(1_000, |line| line.answers() > before);
                frames += line.frames;
                answers += line.answers();
                assert!(line.answers() <= 21);
                interruptions += line.events.iter().filter(|event| *event == "down").count();
            }
            println!(
                "{side:?}, {loss} % lost: up after at most {slowest} ms; {frames} frames, {answers} answers, libpri saw \
                 the link down {interruptions} times"
            );
            assert!(loss > 0 || (slowest < 100 && interruptions == 0 && answers == 20 * 21));
        }
    }
}
