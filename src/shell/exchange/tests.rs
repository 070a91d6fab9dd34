//! The exchange in real time, heard from our end of the line.

use std::time::Duration;

use firmware_io::simulated::{Cable, Pacer};
use firmware_io::{Bearer, DChannel, Span, hdlc};
use nix::poll::{PollFd, PollFlags, ppoll};

use super::desk::{PIECE, RATE};
use super::*;
use crate::config::Driver;
use crate::exchange::Says;
use crate::isdn::call::{self, Access, Setup, Word};
use crate::isdn::line::{self, Line, Report, Terms};
use crate::isdn::timeslots::{self, CallId};
use crate::media::codec::g711::{self, Law};
use crate::media::tone::Generator;
use crate::private::Private;
use crate::time::Instant;
use crate::tone::COUNTRIES;
use crate::wire::q931::{Number, NumberType};

/// For everything that takes its time.
const LIMIT: Duration = Duration::from_secs(10);

fn settings(line: &str) -> config::Span {
    let text = format!(
        "[Lync]\nFqdn=a.example\nNextHop=b.example\n[Media]\nAddress=192.0.2.10\n[Span1]\nDriver=simulated\nLine={line}\n"
    );
    let span = crate::config::parse(text.as_bytes(), "test.ini").unwrap().0.spans[0].clone();
    assert_eq!(span.driver, Driver::Simulated);
    (*span).clone()
}

/// A box: our own line on the user's side, and the bearer of its call.
struct Near {
    line: Line,
    end: End,
    d_channel: Box<dyn DChannel>,
    clock: Clock,
    bearer: Option<Box<dyn Bearer>>,
    words: Vec<Word>,
    restarted: bool,
    exchange: JoinHandle<()>,
    exchanges: Exchanges,
    _pacer: Pacer,
}

impl Near {
    fn new(kind: &str) -> Near {
        let (settings, clock) = (settings(kind), Clock::start());
        let exchanges = Exchanges::new(clock.clone(), Random::test(5));
        let (cable, mut end, far) = Cable::new(settings.line, 1).unwrap();
        let pacer = Pacer::start(|| {}).unwrap();
        pacer.add(cable);
        let exchange = exchanges.start(vec![Arc::new(settings.clone())], settings.id, far).unwrap().unwrap();
        let terms = Terms::new(Arc::new(Access::of(&settings)), vec![timeslots::Span::of(&settings)]);
        let d_channel = end.d_channel().unwrap();
        let (bearer, words) = (None, Vec::new());
        let line = Line::new(terms);
        let restarted = false;
        let mut near =
            Near { line, end, d_channel, clock, bearer, words, restarted, exchange, exchanges, _pacer: pacer };
        near.act(|line, now, out| line.span_up(now, 0, out));
        near.until("the line comes up", |near| near.restarted);
        near
    }

    fn dial(&mut self, digits: &str) {
        let law = crate::session::Codec::from(self.end.line().law());
        let called = Number::new(NumberType::NATIONAL, digits);
        let setup = Setup::new(crate::wire::q931::Bearer::speech(law), called);
        self.act(|line, now, out| {
            line.place(now, setup, out).unwrap();
        });
    }

    fn act(&mut self, act: impl FnOnce(&mut Line, Instant, &mut Vec<line::Output>)) {
        let mut out = Vec::new();
        act(&mut self.line, self.clock.now().mono, &mut out);
        for output in out {
            match output {
                line::Output::Frame { octets, .. } => self.d_channel.send(&octets).unwrap(),
                line::Output::Bearer { slot, .. } => {
                    let timeslot = self.end.line().timeslot(slot.timeslot).unwrap();
                    self.bearer = Some(self.end.bearer(timeslot).unwrap());
                }
                line::Output::Word { word, .. } => self.words.push(word),
                line::Output::Report(Report::Restarted { by: timeslots::End::Far, .. }) => self.restarted = true,
                line::Output::Report(_)
                | line::Output::Message { .. }
                | line::Output::Over(_)
                | line::Output::Joined { .. } => {}
            }
        }
    }

    /// Waits for the line, a wake-up at a time.
    #[track_caller]
    fn until(&mut self, what: &str, enough: impl Fn(&Near) -> bool) {
        let until = self.clock.after(LIMIT);
        while !enough(self) {
            assert!(self.clock.now().mono < until, "{what}");
            self.step();
        }
    }

    fn step(&mut self) {
        let mut ready = vec![PollFd::new(self.d_channel.ready(), PollFlags::POLLIN)];
        ready.extend(self.bearer.iter().map(|bearer| PollFd::new(bearer.ready(), PollFlags::POLLIN)));
        ppoll(&mut ready, Some(Duration::from_millis(100).into()), None).unwrap();
        let mut frame = [0; hdlc::LONGEST];
        while let Some(length) = self.d_channel.receive(&mut frame).unwrap() {
            self.act(|line, now, out| line.receive(now, 0, &frame[..length], out));
        }
        self.act(|line, now, out| line.tick(now, out));
    }

    /// What is heard until there is so much of it, while this is said.
    fn hear(&mut self, count: usize, say: &[u8]) -> Vec<u8> {
        let mut heard = Vec::new();
        // The bearer is filled: who is late for less than 64 ms is not heard.
        let mut said = self.bearer.as_mut().unwrap().write(say).unwrap();
        while heard.len() < count {
            self.step();
            let Some(bearer) = &mut self.bearer else { continue };
            let mut octets = [0; PIECE];
            let new = bearer.read(&mut octets).unwrap();
            heard.extend_from_slice(&octets[..new]);
            said += bearer.write(&say[said..say.len().min(said + new)]).unwrap();
        }
        heard
    }

    fn is_up(&self) -> bool {
        self.words.iter().any(|word| matches!(word, Word::Answer(_)))
    }
}

fn contains(heard: &[u8], wanted: &[u8]) -> bool {
    heard.windows(wanted.len()).any(|window| window == wanted)
}

#[test]
fn an_echo_is_exact_octet_for_octet() {
    let mut near = Near::new("T1");
    near.dial("3125553000");
    near.until("it is answered", Near::is_up);
    let said: [u8; 4000] = Random::test(1).octets();
    let heard = near.hear(8000, &said);
    let exact = said.chunks(1000).filter(|piece| contains(&heard, piece)).count();
    assert!(exact >= 2, "{exact}");
}

#[test]
fn tones_are_in_the_timeslot_by_the_line_s_law() {
    for (kind, law, country) in [("T1", Law::Mu, "us"), ("E1", Law::A, "de")] {
        let mut near = Near::new(kind);
        near.dial("3125551000");
        let listen = |near: &Near| near.words.iter().any(|word| matches!(word, Word::Progress { .. }));
        near.until("a tone is announced", listen);
        let busy = COUNTRIES.iter().find(|tones| tones.country == country).unwrap().busy;
        let (mut sound, mut expected) = ([0; 4000], [0; 4000]);
        Generator::new(busy, RATE).read(&mut sound);
        g711::encode(law, &sound, &mut expected);
        let heard = near.hear(10_000, &[]);
        assert!(contains(&heard, &expected[800..3200]), "{kind}");
    }
}

#[test]
fn speech_is_heard_and_the_thread_ends_with_its_line() {
    let mut near = Near::new("E1");
    near.dial("3125552000");
    near.until("it is answered", Near::is_up);
    let heard = near.hear(8000, &[]);
    let silence = near.end.law().silence();
    assert!(heard.iter().filter(|octet| **octet != silence).count() > 4000);
    let Near { end, d_channel, bearer, exchange, _pacer, .. } = near;
    drop((end, d_channel, bearer));
    exchange.join().unwrap();
}

/// Says what it has, once.
struct Parrot(mpsc::Sender<usize>, usize);

impl Handset for Parrot {
    fn converse(&mut self, heard: &[u8], said: &mut [u8]) {
        said.fill(7);
        self.1 += heard.iter().filter(|octet| **octet == 9).count();
    }
}

impl Drop for Parrot {
    fn drop(&mut self) {
        let _ = self.0.try_send(self.1);
    }
}

#[test]
fn a_telephone_that_is_lent_out_hears_and_says_what_its_owner_does() {
    let mut near = Near::new("T1");
    let mut telephone = near.exchanges.telephone(SpanId(1), "5556789").unwrap();
    let (counted, mut count) = mpsc::channel(1);
    telephone.take(Box::new(Parrot(counted, 0)));
    near.dial("3125556789");
    near.until("it is answered", Near::is_up);
    let heard = near.hear(4000, &[9; 4000]);
    assert!(heard.iter().filter(|octet| **octet == 7).count() > 2000);
    near.act(|line, now, out| {
        let hang_up = call::Order::Release { cause: crate::cause::Cause::NORMAL, tones: false };
        line.order(now, CallId(1), hang_up, out);
    });
    near.until("the timeslot is idle", |near| near.line.free() == 23);
    let counted = count.blocking_recv().unwrap();
    assert!((2000..=4000).contains(&counted), "{counted}");
    let news = std::iter::from_fn(|| telephone.news.try_recv().ok());
    let names: Vec<String> = news.map(|news| format!("{news:?}")[..5].to_owned()).collect();
    assert_eq!(names, ["InSer", "Calle", "Conne", "Ended"]);
    let what = Placed {
        called: Number::new(NumberType::NATIONAL, "4255550100"),
        calling: Number::new(NumberType::NATIONAL, "3125556789"),
        name: Private(String::new()),
        says: Says::Silence,
        lasts: None,
    };
    telephone.dial(what);
    near.until("it calls", |near| near.words.iter().any(|word| matches!(word, Word::Setup(_))));
    telephone.hang_up();
    near.until("it hangs up", |near| matches!(near.words.last(), Some(Word::Released(_))));
}
