//! What the box itself takes to set up a call between SIP and a line: from the octets of an INVITE to those of the SETUP, and
//! from the SETUP to the INVITE. No I/O; the far end of the line is a line of ours on the network's side. The time of this
//! thread's CPU, median of many calls.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a benchmark prints its table and fails by panic")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use demarc::call::{Event, FromSpan, Output, Switch};
use demarc::config;
use demarc::hop::{Flow, SpanId, Transport, TrunkId};
use demarc::isdn::call::{Access, Order, Setup, Word};
use demarc::isdn::line::{Line, Output as Said, Terms};
use demarc::isdn::timeslots::{CallId, Carrier, Counting, Span};
use demarc::random::Random;
use demarc::session::{Codec, MediaOrder, MediaReport};
use demarc::time::Now;
use demarc::wire::q921::Side;
use demarc::wire::q931::{Bearer, Calling, Dialect, Number, NumberType};
use demarc::wire::sip::{Message, Method, validate};
use firmware_io::Alarms;
use nix::time::{ClockId, clock_gettime};

const CALLS: usize = 2000;
/// At most this of our own, µs.
const TARGET: f64 = 1000.0;
const SPAN: SpanId = SpanId(1);
const INI: &str = "[Lync]\nFqdn=ms1.contoso.com\nNextHop=pool01.contoso.com:5061\nOptionsInterval=0\n[Media]\n\
    Address=192.0.2.10\n[Gateway1]\nKind=isdn\nSpan=Span1\nVoiceRoutes=All\n[Span1]\nCountryCode=1\n\
    [HybridVoiceRoutes]\nAll=^\\+1312\\d{7}$\n";

/// A box, and the exchange at the other end of its line.
struct Rig {
    now: Now,
    switch: Switch,
    exchange: Line,
    out: Vec<Output>,
}

impl Rig {
    fn new() -> Rig {
        let (config, _) = config::parse(INI.as_bytes(), "demarc.ini").expect("a good configuration");
        let now = Now::virtual_start();
        let switch = Switch::new(now, Arc::new(config), Random::seeded([7; 32]));
        let access = Access::new(Side::Network, Dialect::Ni2, Codec::Pcmu);
        let span = Span { carrier: Carrier::T1, interface: 0, signalling: true, counting: Counting::Timeslot };
        let exchange = Line::new(Terms::new(Arc::new(access), vec![span]));
        let mut rig = Rig { now, switch, exchange, out: Vec::new() };
        let mut said = Vec::new();
        rig.exchange.span_up(now.mono, 0, &mut said);
        rig.event(Event::Span(SPAN, FromSpan::Alarms(Alarms::NONE)));
        rig.cross(said);
        rig
    }

    fn event(&mut self, event: Event) {
        self.switch.handle(self.now, event, &mut self.out);
    }

    /// Frames go to and fro until nothing more is said; media ports are there at once. What the exchange's calls say.
    fn cross(&mut self, mut said: Vec<Said>) -> Vec<(CallId, Word)> {
        let mut words = Vec::new();
        loop {
            for said in std::mem::take(&mut said) {
                match said {
                    Said::Frame { octets, .. } => self.event(Event::Span(SPAN, FromSpan::Frame(octets))),
                    Said::Word { call, word } => words.push((call, word)),
                    _ => {}
                }
            }
            let out: Vec<Output> = self.out.extract_if(.., |output| matches!(output, Output::Frame(..))).collect();
            if out.is_empty() {
                return words;
            }
            for output in out {
                if let Output::Frame(_, octets) = output {
                    self.exchange.receive(self.now.mono, 0, &octets, &mut said);
                }
            }
        }
    }

    /// The media plane does what it was told.
    fn media(&mut self) {
        let orders = self.out.extract_if(.., |output| matches!(output, Output::Media(_))).collect::<Vec<_>>();
        for order in orders {
            match order {
                Output::Media(MediaOrder::Open(id)) => self.event(Event::Media(MediaReport::Opened(id, [4000, 4002]))),
                Output::Media(MediaOrder::Close(id)) => {
                    self.event(Event::Media(MediaReport::Closed(id, Default::default())));
                }
                _ => {}
            }
        }
    }

    /// An hour later nothing of any call is left.
    fn rest(&mut self) {
        let end = self.now.after(Duration::from_secs(3600));
        loop {
            let due = [self.switch.timeout(), self.exchange.timeout()].into_iter().flatten().min();
            let Some(due) = due.filter(|due| *due <= end.mono) else { break };
            self.now = self.now.after(due.since(self.now.mono));
            let mut said = Vec::new();
            self.exchange.tick(self.now.mono, &mut said);
            self.event(Event::Tick);
            self.media();
            self.cross(said);
            if self.switch.live_calls() == 0 {
                break;
            }
        }
    }
}

fn cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("a clock").into()
}

/// INVITE to SETUP.
fn outward(rig: &mut Rig, call: usize) -> Duration {
    let sdp = "v=0\r\no=- 0 1 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\nm=audio 50012 RTP/SAVP 0 8 101\r\n\
        a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^31|1:1\r\n\
        a=rtpmap:101 telephone-event/8000\r\n";
    let text = format!(
        "INVITE sip:+13125556789@ms1.contoso.com;user=phone SIP/2.0\r\nVia: SIP/2.0/TLS 192.0.2.21:5061;branch=z9hG4bK{call}\r\n\
         Max-Forwards: 68\r\nFrom: <sip:+14255550100@contoso.com>;tag=t{call}\r\nTo: <sip:+13125556789@contoso.com>\r\n\
         Call-ID: c{call}@contoso.com\r\nCSeq: 1 INVITE\r\nContact: <sip:pool01.contoso.com:5061;transport=tls>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    let remote = "192.0.2.21:5061".parse().expect("an address");
    let local = "192.0.2.10:5070".parse().expect("an address");
    let flow = Flow { connection: 1, trunk: TrunkId::LYNC, transport: Transport::Tls, local, remote };
    let octets = Bytes::from(text);
    let begun = cpu();
    let message = Message::parse(octets).expect("the INVITE parses");
    validate(&message).expect("it is valid");
    rig.event(Event::Received { flow, message });
    rig.media();
    let spent = cpu() - begun;
    assert!(rig.out.iter().any(|output| matches!(output, Output::Frame(..))), "SETUP went out");
    let words = rig.cross(Vec::new());
    let (id, _) = words.iter().find(|(_, word)| matches!(word, Word::Setup(_))).expect("the exchange heard of it");
    let mut said = Vec::new();
    let cause = demarc::cause::Cause::BUSY;
    rig.exchange.order(rig.now.mono, *id, Order::Release { cause, tones: false }, &mut said);
    rig.cross(said);
    rig.media();
    rig.out.clear();
    rig.rest();
    spent
}

/// SETUP to INVITE.
fn inward(rig: &mut Rig) -> Duration {
    let number = |digits| Number::new(NumberType::NATIONAL, digits);
    let mut setup = Setup::new(Bearer::speech(Codec::Pcmu), number("4255550100"));
    setup.calling = Some(Calling { number: number("3125556789"), shown: None });
    let mut said = Vec::new();
    let id = rig.exchange.place(rig.now.mono, setup, &mut said).expect("a timeslot is free");
    let frames = said.into_iter().filter_map(|said| match said {
        Said::Frame { octets, .. } => Some(octets),
        _ => None,
    });
    let frames: Vec<_> = frames.collect();
    let begun = cpu();
    for octets in frames {
        rig.event(Event::Span(SPAN, FromSpan::Frame(octets)));
    }
    rig.media();
    let spent = cpu() - begun;
    let invites = |output: &Output| matches!(output, Output::Send { message, .. } if message.is(Method::Invite));
    assert!(rig.out.iter().any(invites), "INVITE went out");
    rig.cross(Vec::new());
    let mut said = Vec::new();
    let cause = demarc::cause::Cause::NORMAL;
    rig.exchange.order(rig.now.mono, id, Order::Release { cause, tones: false }, &mut said);
    rig.cross(said);
    rig.media();
    rig.out.clear();
    rig.rest();
    spent
}

fn main() {
    let mut rig = Rig::new();
    let mut rows = String::new();
    println!("{CALLS} calls each way, CPU time of our own\n\n{:<24}{:>12}{:>12}", "", "median µs", "p99 µs");
    for (name, out) in [("INVITE to SETUP", true), ("SETUP to INVITE", false)] {
        let mut spent: Vec<Duration> =
            (0..CALLS).map(|call| if out { outward(&mut rig, call) } else { inward(&mut rig) }).collect();
        spent.sort();
        let [median, p99] = [CALLS / 2, CALLS * 99 / 100].map(|at| spent[at].as_secs_f64() * 1e6);
        let met = median < TARGET;
        println!("{name:<24}{median:>12.1}{p99:>12.1}  under {TARGET} asked: {}", if met { "met" } else { "missed" });
        rows += &serde_json::json!({
            "name": format!("line set-up, {name}"), "unit": "µs", "ours": median, "rival": "limit", "rival_value": TARGET,
            "ratio": median / TARGET, "target": 1.0, "met": met, "runs": CALLS,
        })
        .to_string();
        rows.push('\n');
    }
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench");
    std::fs::create_dir_all(&folder).expect("a directory");
    std::fs::write(folder.join("line.jsonl"), rows).expect("the rows");
}
