//! The daemon on a T1 of DAHDI's: runs in the guest of `make test-dahdi`, whose spans 1 and 2 are looped. Span 1 is the
//! daemon's; at span 2 the network is libpri over the kernel's HDLC.
//!
//! 1. The D channel comes up. A call from the network: what is said on its timeslot comes out of the RTP octet for octet,
//!    and what the RTP says comes back on the timeslot.
//! 2. A call to the network. Span 1 loses its signal: the call ends, the line takes no other.
//! 3. The signal returns: the line is picked up again and carries a call.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panic and say what they saw")]

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::UdpSocket;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use firmware_io::dahdi::{Buffers, Dahdi};
use firmware_io::{Bearer, Line, Span as _};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

mod lab;

use lab::{Demarc, Dialog, Lab, Peer, Sdp, Setup, seconds, until};

/// Emulated time is soft: what comes at all comes within this.
const SOON: Duration = Duration::from_secs(30);
/// How long is spoken.
const TALK: Duration = Duration::from_secs(4);
/// The timeslot whose octets are compared.
const TIMESLOT: u8 = 3;
/// Where the telephone hears: `Sdp::plain` says so.
const RTP_PORT: u16 = 30_000;
const RTP_HEADER: usize = 12;
/// One of the kernel's alarm bits.
const LOSS_OF_SIGNAL: u32 = 8;
/// So many octets in a row are like no others of the sequence.
const TELLING: usize = 16;

#[test]
#[ignore = "runs in DAHDI's guest: make test-dahdi"]
fn calls_cross_a_t1_of_dahdi_and_survive_its_alarm() {
    let lab = Lab::new();
    let mut lync = Peer::lync(&lab);
    let mut setup = Setup::new(lync.address, &[]);
    setup.srtp = "NotSupported";
    setup.codecs = "PCMU";
    setup.more = "\n[Gateway1]\nKind=isdn\nSpan=Span1\nVoiceRoutes=LocalRoute\n\n\
                  [Span1]\nDriver=dahdi\nDevice=1\nCountryCode=1\nEchoTail=off\n"
        .to_owned();
    let demarc = setup.start(&lab);
    let mut network = Network::start(48);
    network.hears("up");
    network.hears("restart");

    called(&demarc, &mut lync, &mut network);

    let (call, _) = calls(&demarc, &mut lync, &mut network);
    alarm(LOSS_OF_SIGNAL);
    shows_loss(&demarc, true);
    lync.expect_within("BYE", SOON).answer(200, "OK", "");
    demarc.idle_within(SOON);
    let mut refused = lync.call(&lync.connect(demarc.lync), "+13125550123", &Sdp::plain(lync.host, "sendrecv"));
    let refusal = lync.expect_within("503 INVITE", SOON);
    refused.acknowledge_refusal(&refusal);
    drop(call);

    alarm(0);
    shows_loss(&demarc, false);
    network.hears("restart");
    let (mut call, number) = calls(&demarc, &mut lync, &mut network);
    call.request("BYE", "", "");
    lync.expect_within("200 BYE", SOON);
    assert_eq!(network.hears_of("disconnect", number, "cause"), 16);
    demarc.idle_within(SOON);
}

/// A call from the network, with sound.
fn called(demarc: &Demarc, lync: &mut Peer, network: &mut Network) {
    let telephone = UdpSocket::bind((lync.host, RTP_PORT)).unwrap();
    network.order(&format!("dial {TIMESLOT} exclusive 3125550100 3125556789"));
    let number = network.hears_number("dialled", "call");
    let invite = lync.expect_within("INVITE", SOON);
    assert!(invite.uri().contains("+13125550100"), "{}", invite.uri());
    invite.answer(180, "Ringing", "");
    network.hears("ringing");
    invite.answer(200, "OK", &Sdp::plain(lync.host, "sendrecv"));
    lync.expect_within("ACK", SOON);
    assert_eq!(network.hears_of("answer", number, "channel"), i64::from(TIMESLOT));

    let mut far = Dahdi::open(2).unwrap();
    far.buffers(Buffers { count: 32, octets: 160 });
    let bearer = far.bearer(Line::T1.timeslot(TIMESLOT).unwrap()).unwrap();
    let hearing = thread::spawn(move || repeat(&telephone));
    let (said, came_back) = talk(bearer);
    let heard = hearing.join().unwrap();
    let there = in_sequence(&said, &heard);
    let back = in_sequence(&said, &came_back);
    println!("  of {} octets said {there} came by RTP; {back} came back", said.len());
    assert!(there.gaps == 0 && there.only_zeros_changed());
    assert!(there.octets > 16_000 && back.octets > 8_000);

    network.order(&format!("hangup {number} 16"));
    lync.expect_within("BYE", SOON).answer(200, "OK", "");
    network.hears("hangup");
    demarc.idle_within(SOON);
}

/// A call to the network, until it is answered; its number there.
fn calls(demarc: &Demarc, lync: &mut Peer, network: &mut Network) -> (Dialog, i64) {
    let mut call = lync.call(&lync.connect(demarc.lync), "+13125550123", &Sdp::plain(lync.host, "sendrecv"));
    let ring = network.hears("ring");
    assert!(ring.contains("called=3125550123"), "{ring}");
    let number = value(&ring, "call");
    let timeslot = value(&ring, "channel");
    for order in ["proceeding", "alerting", "answer"] {
        network.order(&format!("{order} {number} {timeslot}"));
    }
    let answer = lync.expect_within("200 INVITE", SOON);
    call.acknowledge(&answer);
    (call, number)
}

/// The line is down for want of a signal, or up without an alarm.
fn shows_loss(demarc: &Demarc, lost: bool) {
    let is = |name: &str, label: &str, stands: bool| demarc.metric_where(name, label) == f64::from(u8::from(stands));
    until(SOON, "the line's alarm is shown as it is", || {
        (is("demarc_span_alarms", "alarm=\"LOS\"", lost) && is("demarc_span_up", "Span1", !lost)).then_some(())
    });
}

/// Alarm bits of span 1, set by a process of its own: see the program.
fn alarm(bits: u32) {
    assert!(Command::new("dahdi").args(["simulate", "1", &bits.to_string()]).status().unwrap().success());
}

/// libpri in real time.
struct Network {
    program: Child,
    orders: ChildStdin,
    lines: Receiver<String>,
    waiting: VecDeque<String>,
}

impl Network {
    fn start(channel_number: u32) -> Network {
        let mut command = Command::new("libpri");
        command.args(["network", "ni2", &channel_number.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = command.spawn().unwrap();
        let (orders, said) = (program.stdin.take().unwrap(), program.stdout.take().unwrap());
        let (post, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                println!("  libpri: {line}");
                let _ = post.send(line);
            }
        });
        Network { program, orders, lines, waiting: VecDeque::new() }
    }

    fn order(&mut self, line: &str) {
        writeln!(self.orders, "{line}").unwrap();
    }

    /// The next event of that name; others wait.
    #[track_caller]
    fn hears(&mut self, name: &str) -> String {
        let is = |line: &String| line.split(' ').nth(1) == Some(name);
        if let Some(at) = self.waiting.iter().position(is) {
            return self.waiting.remove(at).unwrap();
        }
        let end = Instant::now() + SOON;
        loop {
            let line = self.lines.recv_timeout(end.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|_| panic!("libpri tells of no {name}; it told {:?}", self.waiting));
            if is(&line) {
                return line;
            }
            self.waiting.push_back(line);
        }
    }

    #[track_caller]
    fn hears_number(&mut self, name: &str, key: &str) -> i64 {
        value(&self.hears(name), key)
    }

    /// The same of a call.
    #[track_caller]
    fn hears_of(&mut self, name: &str, call: i64, key: &str) -> i64 {
        let line = self.hears(name);
        assert_eq!(value(&line, "call"), call, "{line}");
        value(&line, key)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

#[track_caller]
fn value(line: &str, key: &str) -> i64 {
    let found = line.split(' ').find_map(|word| word.strip_prefix(key)?.strip_prefix('=')?.parse().ok());
    found.unwrap_or_else(|| panic!("no {key} in {line}"))
}

/// The telephone: keeps what it hears, and says it again.
fn repeat(telephone: &UdpSocket) -> Vec<u8> {
    telephone.set_read_timeout(Some(seconds(1))).unwrap();
    let (mut heard, mut packet) = (Vec::new(), [0; 1500]);
    let end = Instant::now() + TALK;
    while Instant::now() < end {
        let Ok((length, from)) = telephone.recv_from(&mut packet) else { continue };
        // RTP, and G.711 in it: else it is RTCP, or a comfort noise.
        if length > RTP_HEADER && packet[0] == 0x80 && packet[1] & 0x7f == 0 {
            heard.extend_from_slice(&packet[RTP_HEADER..length]);
            packet[8..RTP_HEADER].copy_from_slice(b"back");
            telephone.send_to(&packet[..length], from).unwrap();
        }
    }
    heard
}

/// Says octets like no others, as many as come; what was said, and what came.
fn talk(mut bearer: Box<dyn Bearer>) -> (Vec<u8>, Vec<u8>) {
    let (mut said, mut heard, mut octets) = (Vec::new(), Vec::new(), [0; 1024]);
    let mut state = 1_u32;
    let begun = Instant::now();
    while begun.elapsed() < TALK {
        poll(&mut [PollFd::new(bearer.ready(), PollFlags::POLLIN)], PollTimeout::from(100_u16)).unwrap();
        let count = bearer.read(&mut octets).unwrap();
        heard.extend_from_slice(&octets[..count]);
        for octet in &mut octets[..count] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *octet = state.to_be_bytes()[0];
        }
        assert_eq!(bearer.write(&octets[..count]).unwrap(), count, "there is room for as much as came");
        said.extend_from_slice(&octets[..count]);
    }
    (said, heard)
}

/// How much of what was heard was said like that.
struct Sequence {
    octets: usize,
    /// How many times it goes on elsewhere in what was said.
    gaps: usize,
    /// Octets between two gaps that came as others.
    changed: Vec<(u8, u8)>,
}

/// µ-law's two zeros, the negative one first.
const ZEROS: (u8, u8) = (0x7f, 0xff);

impl Sequence {
    /// Sound knows one zero only.
    fn only_zeros_changed(&self) -> bool {
        self.changed.iter().all(|change| *change == ZEROS)
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (gaps: {}, changed: {})", self.octets, self.gaps, self.changed.len())
    }
}

/// Finds what was said in what was heard; what comes before and after is silence.
fn in_sequence(said: &[u8], heard: &[u8]) -> Sequence {
    let places: HashMap<&[u8], usize> = said.windows(TELLING).enumerate().map(|(at, octets)| (octets, at)).collect();
    let mut sequence = Sequence { octets: 0, gaps: 0, changed: Vec::new() };
    let (mut at, mut last) = (0, None);
    while let Some(place) = heard.get(at..at + TELLING).map(|octets| places.get(octets)) {
        let Some(&found) = place else {
            at += 1;
            continue;
        };
        match last {
            Some((ended, said_then)) if found.checked_sub(said_then) == Some(at - ended) => {
                let pairs = said[said_then..found].iter().copied().zip(heard[ended..at].iter().copied());
                let changed = sequence.changed.len();
                sequence.changed.extend(pairs.filter(|(said, heard)| said != heard));
                sequence.octets += at - ended - (sequence.changed.len() - changed);
            }
            Some(_) => sequence.gaps += 1,
            None => {}
        }
        let alike = said[found..].iter().zip(&heard[at..]).take_while(|(said, heard)| said == heard).count();
        sequence.octets += alike;
        at += alike;
        last = Some((at, found + alike));
    }
    sequence
}
