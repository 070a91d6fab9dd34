//! Sides that are timeslots, in virtual time: a line takes and gives 8 octets a millisecond, whatever we do.
//!
//! ```text
//! far end of the line    timeslot      bridge       packets
//!   | -- 8 octets a ms -->  | == block ==> |              |
//!   | <-- 8 octets a ms --  | <== block == | <-- packet - |
//! ```

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard};

use super::tests::{PATIENCE, packet, stream};
use super::*;
use crate::media::codec::g711;
use crate::media::dtmf::detect::{Detector, Heard};
use crate::media::dtmf::tone::Generator;
use crate::media::echo::g168;
use crate::media::tap::{self, recording};
use crate::session::{Codec, Direction, Machine, Tail, TelephoneEvent, Timeslot};
use crate::tone::COUNTRIES;
use crate::wire::rtp::Header;
use crate::wire::telephone_event;

/// What the line's driver keeps for it at most.
const ROOM: usize = 400;

/// A timeslot between us and the line.
#[derive(Default)]
struct Wire {
    /// The line said, we heard it not yet.
    said: VecDeque<u8>,
    /// We said, the line heard it not yet.
    waiting: VecDeque<u8>,
    /// What the line heard; `None` where nothing waited.
    heard: Vec<Option<u8>>,
    gone: bool,
    /// The card takes echoes out.
    cancels_echo: bool,
}

struct Fake {
    wire: Arc<Mutex<Wire>>,
    readable: File,
}

impl Bearer for Fake {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        let mut wire = self.wire.lock().unwrap();
        if wire.gone {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let count = octets.len().min(wire.said.len());
        octets.iter_mut().zip(wire.said.drain(..count)).for_each(|(to, octet)| *to = octet);
        Ok(count)
    }

    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let mut wire = self.wire.lock().unwrap();
        let count = octets.len().min(ROOM - wire.waiting.len());
        wire.waiting.extend(&octets[..count]);
        Ok(count)
    }

    fn ready(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    fn cancels_echo(&self) -> bool {
        self.wire.lock().unwrap().cancels_echo
    }
}

/// The far end of a line.
#[derive(Clone)]
struct Far(Arc<Mutex<Wire>>);

impl Far {
    fn new() -> Far {
        Far(Arc::default())
    }

    fn bearer(&self) -> Box<dyn Bearer> {
        Box::new(Fake { wire: self.0.clone(), readable: File::open("/dev/null").unwrap() })
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap()
    }

    /// So many octets pass each way.
    fn pass(&self, says: &mut impl FnMut() -> u8, octets: usize) {
        let mut wire = self.wire();
        for _ in 0..octets {
            wire.said.push_back(says());
            let heard = wire.waiting.pop_front();
            wire.heard.push(heard);
        }
    }

    /// What it heard, nothing missing.
    fn heard(&self) -> Vec<u8> {
        let heard: Option<Vec<u8>> = self.wire().heard.iter().copied().collect();
        heard.expect("every octet")
    }
}

/// A bridge with timeslots.
struct Rig {
    bridge: Bridge,
    random: Random,
    now: Moment,
    session: Session,
    lines: [Option<Far>; 2],
    /// Packets to the sides that have packets.
    spoken: Vec<(Header, Vec<u8>)>,
    told: Vec<MediaReport>,
}

impl Rig {
    /// Side B is a line; A speaks in packets, or is one too.
    fn new(laws: [Option<Law>; 2], change: impl FnOnce(&mut [Stream; 2])) -> Rig {
        let mut random = Random::test(1);
        let mut bridge = Bridge::new(SessionId(7), PATIENCE, &mut random, Instant::START);
        let mut streams = Side::BOTH.map(stream);
        streams.iter_mut().for_each(|stream| stream.comfort_noise = None);
        let mut lines = [None, None];
        for (side, law) in Side::BOTH.into_iter().zip(laws) {
            let (Some(law), stream) = (law, &mut streams[side.index()]) else { continue };
            stream.remote = Remote::Timeslot(Timeslot::default());
            stream.codec = codec(law);
            stream.digits = Digits::Tones;
            let far = Far::new();
            assert!(bridge.seize(side, far.bearer(), law).unwrap().is_none());
            lines[side.index()] = Some(far);
        }
        change(&mut streams);
        let session = Session { sides: streams.map(Some), plays: [None, None] };
        let now = Moment { at: Instant::START, ntp: 1 << 63 };
        let mut rig = Rig { bridge, random, now, session, lines, spoken: Vec::new(), told: Vec::new() };
        rig.apply();
        rig
    }

    fn apply(&mut self) {
        self.bridge.apply(&self.session, self.now.at, &mut self.random);
    }

    fn far(&self, side: Side) -> Far {
        self.lines[side.index()].clone().unwrap()
    }

    /// A millisecond on the line of a side, which says this; then we wake up.
    fn millisecond(&mut self, side: Side, says: &mut impl FnMut() -> u8) {
        self.far(side).pass(says, 8);
        self.serve(side);
    }

    fn serve(&mut self, side: Side) {
        let (spoken, told) = (&mut self.spoken, &mut self.told);
        let mut sink = |output: Output<'_>| match output {
            Output::Send(_, Channel::Rtp, _, octets) => {
                let header = Header::read(octets).unwrap();
                spoken.push((header, octets[header.length..].to_vec()));
            }
            Output::Send(..) => {}
            Output::Report(report) => told.push(report),
        };
        self.bridge.serve(side, self.now, &mut sink).unwrap();
        if self.bridge.due() <= self.now.at {
            self.bridge.tick(self.now, 0, &mut self.random, sink);
        }
    }

    fn wait(&mut self, milliseconds: u64) {
        self.now.at = self.now.at + Duration::from_millis(milliseconds);
        self.now.ntp += (milliseconds << 32) / 1000;
    }

    /// A packet from side A.
    fn rtp(&mut self, octets: &[u8]) {
        let mut buffer = [0; BUFFER];
        buffer[..octets.len()].copy_from_slice(octets);
        let from = self.session.sides[0].as_ref().unwrap().remote.addresses().unwrap().rtp;
        let datagram = Datagram { from, buffer: &mut buffer, length: octets.len() };
        assert!(self.bridge.rtp(Side::A, datagram, self.now, &mut |_| {}).is_none());
    }

    /// Milliseconds in which side A sends packets of 20 ms with `says`, and the line of side B says something too.
    fn talk(&mut self, milliseconds: u64, mut says: impl FnMut(usize) -> Vec<u8>, mut line: impl FnMut() -> u8) {
        for time in 0..milliseconds {
            if time % 20 == 0 {
                let number = (time / 20) as usize;
                let payload = says(number);
                if !payload.is_empty() {
                    self.rtp(&packet(0, 5, number as u16, &payload));
                }
            }
            self.millisecond(Side::B, &mut line);
            self.wait(1);
        }
    }

    fn counters(&self, side: Side) -> Counters {
        self.bridge.counters(self.now.at)[side.index()]
    }
}

fn quiet(law: Law) -> impl FnMut() -> u8 {
    move || law.silence()
}

/// All codes, which come round after a prime number of them.
fn counted() -> impl FnMut() -> u8 {
    let mut at = 0u32;
    move || {
        at += 1;
        (at % 257) as u8
    }
}

/// Codes as sound.
fn sound(law: Law, codes: &[u8]) -> Vec<i16> {
    let mut sound = vec![0; codes.len()];
    g711::decode(law, codes, &mut sound);
    sound
}

fn codes(law: Law, sound: &[i16]) -> Vec<u8> {
    let mut codes = vec![0; sound.len()];
    g711::encode(law, sound, &mut codes);
    codes
}

/// The digits in this sound.
fn digits(sound: &[i16]) -> String {
    let (mut detector, mut digits, mut before) = (Detector::new(8000), String::new(), Heard::Nothing);
    for part in sound.chunks(80) {
        let now = detector.hear(part);
        if let (Heard::Digit(digit, _), Heard::Nothing | Heard::Doubt) = (now, before) {
            digits.push(digit.key());
        }
        before = now;
    }
    digits
}

/// Does this follow, octet for octet, somewhere in that?
fn contains(whole: &[u8], part: &[u8]) -> bool {
    whole.windows(part.len()).any(|window| window == part)
}

/// These codes of one law as the other has them.
fn converted(from: Law, to: Law, codes: &[u8]) -> Vec<u8> {
    let mut codes = codes.to_vec();
    if from != to {
        g711::convert(from, &mut codes);
    }
    codes
}

fn codec(law: Law) -> Codec {
    if law == Law::Mu { Codec::Pcmu } else { Codec::Pcma }
}

#[test]
fn what_a_line_says_leaves_in_packets_octet_for_octet() {
    for (milliseconds, law, to) in
        [(20, Law::Mu, Law::Mu), (10, Law::A, Law::A), (30, Law::Mu, Law::A), (20, Law::A, Law::Mu)]
    {
        // A canceller without an echo changes nothing either.
        let timeslot = Timeslot { canceller: (milliseconds == 20).then_some(Tail::Ms64), ..Timeslot::default() };
        let mut rig = Rig::new([None, Some(law)], |[a, b]| {
            (a.codec, a.ptime_ms, b.remote) = (codec(to), milliseconds, Remote::Timeslot(timeslot));
        });
        rig.talk(600, |_| Vec::new(), counted());
        let samples = 8 * usize::from(milliseconds);
        assert_eq!(rig.spoken.len(), 600 / usize::from(milliseconds));
        let (first, _) = rig.spoken[0];
        for (number, (header, payload)) in rig.spoken.iter().enumerate() {
            assert_eq!((payload.len(), header.marker), (samples, number == 0));
            assert_eq!(header.sequence, first.sequence.wrapping_add(number as u16));
            assert_eq!(header.timestamp, first.timestamp.wrapping_add((number * samples) as u32));
        }
        let whole: Vec<u8> = rig.spoken.iter().flat_map(|(_, payload)| payload.clone()).collect();
        let mut says = counted();
        let said: Vec<u8> = (0..whole.len()).map(|_| says()).collect();
        assert_eq!(whole, converted(law, to, &said), "{law:?} to {to:?}");
    }
}

#[test]
fn a_line_hears_packets_at_its_own_pace_octet_for_octet() {
    for (law, from) in [(Law::Mu, Law::Mu), (Law::A, Law::A), (Law::Mu, Law::A), (Law::A, Law::Mu)] {
        let mut rig = Rig::new([None, Some(law)], |[a, _]| a.codec = codec(from));
        let mut says = counted();
        let sent: Vec<u8> = (0..8000).map(|_| says()).collect();
        rig.talk(1000, |number| sent[160 * number..160 * (number + 1)].to_vec(), quiet(law));
        let heard = rig.far(Side::B).heard();
        assert_eq!(heard.len(), 8000);
        assert!(contains(&heard, &converted(from, law, &sent[..7000])), "{from:?} to {law:?}");
        let begun = heard.iter().position(|code| *code != law.silence()).unwrap();
        assert!(begun < 8 * 60, "{begun} octets late");
        let counters = rig.counters(Side::B);
        assert_eq!((counters.underruns, counters.overruns, counters.slips), (0, 0, 0));
    }
}

/// Packets of noise, which come late by so many milliseconds: how many the line did not hear as they were, and what was
/// counted.
fn changed(seconds: u64, late: impl Fn(u64) -> u64) -> (usize, Counters) {
    let mut rig = Rig::new([None, Some(Law::Mu)], |_| {});
    let mut random = Random::test(5);
    let sent: Vec<[u8; 160]> = (0..50 * seconds).map(|_| random.octets()).collect();
    for time in 0..1000 * seconds {
        for number in (0..=time / 20).rev().take_while(|number| time - 20 * number < 200) {
            if 20 * number + late(number) == time {
                rig.rtp(&packet(0, 5, number as u16, &sent[number as usize]));
            }
        }
        rig.millisecond(Side::B, &mut quiet(Law::Mu));
        rig.wait(1);
    }
    let heard = rig.far(Side::B).heard();
    // The last ones may still be on their way.
    let known: HashSet<&[u8]> = heard.windows(160).collect();
    let changed = sent[..sent.len() - 10].iter().filter(|frame| !known.contains(&frame[..])).count();
    (changed, rig.counters(Side::A))
}

#[test]
fn toward_a_line_sound_changes_only_where_it_is_counted() {
    let (none, counters) = changed(20, |_| 0);
    assert_eq!((none, counters.fitted, counters.concealed), (0, 0, 0));
    let (none, counters) = changed(20, |number| number * 7 % 5);
    assert_eq!((none, counters.fitted, counters.concealed), (0, 0, 0), "what is usual on a network");
    let (some, counters) = changed(20, |number| number * number % 31);
    let causes = (counters.fitted + counters.concealed) as usize;
    assert!(causes > 0 && (causes / 2..=2 * causes).contains(&some), "{some} by {counters:?}");
}

#[test]
fn lines_of_one_law_pass_each_other_every_octet() {
    let mut rig = Rig::new([Some(Law::Mu), Some(Law::Mu)], |_| {});
    let (mut a, mut b) = (counted(), quiet(Law::Mu));
    for _ in 0..2000 {
        rig.millisecond(Side::A, &mut a);
        rig.millisecond(Side::B, &mut b);
        rig.wait(1);
    }
    let heard = rig.far(Side::B).heard();
    let mut says = counted();
    let said: Vec<u8> = (0..15_000).map(|_| says()).collect();
    assert!(contains(&heard, &said));
    let late = heard.windows(50).position(|window| window == &said[..50]).unwrap();
    assert!(late <= 8 * 25, "{late} octets late");
    assert_eq!((rig.counters(Side::A).slips, rig.counters(Side::B).slips), (0, 0));
}

#[test]
fn where_t1_meets_e1_the_law_is_converted_by_the_tables() {
    let mut rig = Rig::new([Some(Law::Mu), Some(Law::A)], |_| {});
    let (mut a, mut b) = (counted(), counted());
    for _ in 0..500 {
        rig.millisecond(Side::A, &mut a);
        rig.millisecond(Side::B, &mut b);
        rig.wait(1);
    }
    let mut says = counted();
    let said: Vec<u8> = (0..3000).map(|_| says()).collect();
    for (from, to) in [(Law::Mu, Side::B), (Law::A, Side::A)] {
        let law = if from == Law::Mu { Law::A } else { Law::Mu };
        assert!(contains(&rig.far(to).heard(), &converted(from, law, &said)), "{from:?}");
    }
}

#[test]
fn lines_with_different_clocks_slip_by_single_frames() {
    let mut rig = Rig::new([Some(Law::A), Some(Law::A)], |_| {});
    let (mut a, mut b) = (quiet(Law::A), quiet(Law::A));
    // The clock of B is slower by a thousandth: 8 frames a second.
    for millisecond in 0..30_000 {
        rig.millisecond(Side::A, &mut a);
        if millisecond % 1000 != 0 {
            rig.millisecond(Side::B, &mut b);
        }
        rig.wait(1);
    }
    let (toward_a, toward_b) = (rig.counters(Side::A).slips, rig.counters(Side::B).slips);
    let expected = 190..=250;
    assert!(expected.contains(&toward_a) && expected.contains(&toward_b), "{toward_a} {toward_b} slips of 240");
    rig.far(Side::A).heard();
}

#[test]
fn digits_on_a_line_become_events_and_events_become_tones() {
    let events = TelephoneEvent { payload_type: 101, clock_rate: 8000 };
    let mut rig = Rig::new([None, Some(Law::Mu)], |[a, _]| a.digits = Digits::Events(events));
    let dialled = "159#*0D";
    let mut tones = Vec::new();
    for key in dialled.chars() {
        let mut tone = [0; 800];
        Generator::new(Digit::of(key).unwrap(), 8000).read(&mut tone);
        tones.extend(tone.into_iter().chain([0; 640]));
    }
    let mut line = codes(Law::Mu, &tones).into_iter();
    let mut packets = Vec::new();
    for (at, key) in dialled.chars().enumerate() {
        for part in 1..=6u16 {
            let (event, end) = (Digit::of(key).unwrap().event(), part >= 6);
            let payload = telephone_event::TelephoneEvent { event, end, volume: 10, duration: 160 * part }.write();
            packets.push((160 * (9 * at as u64 + u64::from(part)) / 8, 1440 * at as u32, payload));
        }
    }
    let mut sequence = 0;
    for time in 0..1500 {
        for (_, timestamp, payload) in packets.iter().filter(|(at, ..)| *at == time) {
            let marker = telephone_event::TelephoneEvent::read(payload).unwrap().duration == 160;
            let header = Header {
                marker,
                payload_type: 101,
                sequence,
                timestamp: *timestamp,
                ssrc: 5,
                length: 12,
                padded: false,
            };
            rig.rtp(&[&header.write()[..], payload].concat());
            sequence += 1;
        }
        rig.millisecond(Side::B, &mut || line.next().unwrap_or(0xff));
        rig.wait(1);
    }
    assert_eq!(digits(&sound(Law::Mu, &rig.far(Side::B).heard())), dialled);
    let (mut told, mut last) = (String::new(), None);
    let mut beside = Vec::new();
    for (header, payload) in &rig.spoken {
        match header.payload_type {
            101 => {
                let event = telephone_event::TelephoneEvent::read(payload).unwrap();
                if last.replace(header.timestamp) != Some(header.timestamp) {
                    told.push(Digit::of_event(event.event).unwrap().key());
                }
                if event.end {
                    assert!(event.duration.abs_diff(800) <= 240, "{} ticks", event.duration);
                }
            }
            _ => beside.extend(sound(Law::Mu, payload)),
        }
    }
    assert_eq!((told.as_str(), digits(&beside).as_str()), (dialled, ""), "each digit once");
}

#[test]
fn digits_in_signalling_are_dialled_on_the_line_and_told_from_it() {
    let mut rig = Rig::new([None, Some(Law::A)], |[a, b]| (a.codec, a.digits) = (b.codec, Digits::Info));
    let mut tone = [0; 800];
    Generator::new(Digit::of('7').unwrap(), 8000).read(&mut tone);
    let mut line = codes(Law::A, &tone).into_iter();
    rig.bridge.press(Side::A, Digit::of('4').unwrap(), Duration::from_millis(100));
    rig.bridge.press(Side::A, Digit::of('2').unwrap(), Duration::from_millis(100));
    rig.talk(600, |_| Vec::new(), || line.next().unwrap_or(0xd5));
    assert_eq!(digits(&sound(Law::A, &rig.far(Side::B).heard())), "42");
    let told: Vec<_> = rig.told.iter().filter(|report| matches!(report, MediaReport::Digit(..))).collect();
    assert!(matches!(told[..], [MediaReport::Digit(_, Side::B, digit, _)] if digit.key() == '7'), "{told:?}");
}

#[test]
fn a_late_wake_up_is_an_underrun_and_costs_no_delay() {
    let mut rig = Rig::new([None, Some(Law::Mu)], |_| {});
    let mut says = quiet(Law::Mu);
    let sent = |number: usize| vec![number as u8 % 100 + 1; 160];
    rig.talk(400, sent, quiet(Law::Mu));
    let before = rig.far(Side::B).wire().waiting.len();
    // 50 ms without us.
    rig.far(Side::B).pass(&mut says, 400);
    rig.wait(50);
    rig.serve(Side::B);
    assert_eq!(rig.counters(Side::B).underruns, 1);
    rig.talk(400, sent, quiet(Law::Mu));
    assert_eq!(rig.counters(Side::B).underruns, 1);
    assert_eq!(rig.far(Side::B).wire().waiting.len(), before, "no more waits than before");
    let missing = rig.far(Side::B).wire().heard.iter().filter(|octet| octet.is_none()).count();
    assert!((300..=400).contains(&missing), "{missing} octets of 400 were missing");
}

#[test]
fn a_line_that_takes_less_than_it_says_is_counted() {
    let mut rig = Rig::new([None, Some(Law::Mu)], |_| {});
    for _ in 0..200 {
        {
            let far = rig.far(Side::B);
            let mut wire = far.wire();
            wire.said.extend([0xff; 8]);
            let room = ROOM - wire.waiting.len().min(ROOM);
            wire.waiting.extend(std::iter::repeat_n(0xff, room));
        }
        rig.serve(Side::B);
        rig.wait(1);
    }
    assert!(rig.counters(Side::B).overruns > 10);
}

#[test]
fn a_line_hears_silence_of_its_law_while_there_is_nothing_else() {
    for law in [Law::Mu, Law::A] {
        let mut rig = Rig::new([None, Some(law)], |[_, b]| b.direction = Direction::Inactive);
        rig.talk(200, |_| vec![1; 160], counted());
        assert_eq!(rig.far(Side::B).heard(), [law.silence(); 1600], "held");
        assert!(rig.spoken.is_empty());
        rig.session.sides = [None, None];
        rig.apply();
        rig.talk(200, |_| Vec::new(), counted());
        assert_eq!(rig.far(Side::B).heard(), [law.silence(); 3200], "nothing agreed");
    }
}

#[test]
fn a_line_hears_our_tones_and_a_caller_hears_ringing_over_a_silent_line() {
    let ring = COUNTRIES[3].ring;
    let mut rig = Rig::new([None, Some(Law::A)], |[a, b]| a.codec = b.codec);
    rig.session.plays = [Some(Play::Tone(ring)), Some(Play::Tone(ring))];
    rig.apply();
    // Idle noise of a line: its smallest codes.
    let mut flip = false;
    rig.talk(
        2000,
        |_| Vec::new(),
        || {
            flip = !flip;
            if flip { 0xd5 } else { 0x55 }
        },
    );
    let level = |codes: &[u8]| g168::level(&sound(Law::A, codes).into_iter().map(f32::from).collect::<Vec<_>>());
    let heard = rig.far(Side::B).heard();
    assert!((level(&heard[8000..12_000]) + 10.0).abs() < 1.0, "{} dBm0", level(&heard[8000..12_000]));
    let packets: Vec<u8> = rig.spoken.iter().flat_map(|(_, payload)| payload.clone()).collect();
    assert!((level(&packets[8000..12_000]) + 10.0).abs() < 1.0);
    // Somebody speaks.
    let speech: Vec<i16> = g168::composite(8000, -20.0, 1.0, 3).iter().map(|sample| *sample as i16).collect();
    let mut line = codes(Law::A, &speech).into_iter();
    rig.spoken.clear();
    rig.talk(1000, |_| Vec::new(), || line.next().unwrap_or(0xd5));
    let packets: Vec<u8> = rig.spoken.iter().flat_map(|(_, payload)| payload.clone()).collect();
    assert!((level(&packets) + 20.0).abs() < 2.5, "{}", level(&packets));
}

#[test]
fn the_echo_of_a_line_is_taken_out_and_gains_are_put_to_it() {
    let cancelling = |timeslot: Timeslot, card: bool| {
        let mut rig = Rig::new([None, Some(Law::Mu)], |[_, b]| b.remote = Remote::Timeslot(timeslot));
        rig.far(Side::B).wire().cancels_echo = card;
        rig.apply();
        let speech: Vec<i16> = g168::composite(16_000, -10.0, 1.0, 3).iter().map(|sample| *sample as i16).collect();
        let sent = codes(Law::Mu, &speech);
        // What the line heard comes back 5 ms later, 12 dB softer.
        let (far, mut at) = (rig.far(Side::B), 0);
        let mut step = 0;
        for time in 0..2000usize {
            if time % 20 == 0 {
                rig.rtp(&packet(0, 5, (time / 20) as u16, &sent[8 * time..8 * time + 160]));
            }
            for _ in 0..8 {
                let mut wire = far.wire();
                let heard = wire.waiting.pop_front().unwrap();
                wire.heard.push(Some(heard));
                let back = step.max(40) - 40;
                let late = wire.heard.get(back).copied().flatten().filter(|_| step >= 40).unwrap_or(0xff);
                let echo = codes(Law::Mu, &[sound(Law::Mu, &[late])[0] / 4])[0];
                wire.said.push_back(echo);
                step += 1;
            }
            rig.serve(Side::B);
            rig.wait(1);
            at += 1;
        }
        assert_eq!(at, 2000);
        let packets: Vec<u8> = rig.spoken.iter().flat_map(|(_, payload)| payload.clone()).collect();
        let level = |codes: &[u8]| g168::level(&sound(Law::Mu, codes).into_iter().map(f32::from).collect::<Vec<_>>());
        (level(&packets[12_000..15_600]), level(&far.heard()[8000..13_600]))
    };
    let plain = cancelling(Timeslot::default(), false);
    assert!((plain.0 + 22.0).abs() < 2.0, "{plain:?}");
    let wanted = Timeslot { canceller: Some(Tail::Ms64), ..Timeslot::default() };
    let without = cancelling(wanted, false);
    assert!(without.0 < -55.0, "{without:?}");
    assert_eq!(cancelling(wanted, true), plain, "it is the card's affair");
    let louder = cancelling(Timeslot { receive_gain: 6, transmit_gain: -6, ..Timeslot::default() }, false);
    assert!((louder.1 - plain.1 + 6.0).abs() < 0.5 && (louder.0 - plain.0).abs() < 0.5, "{louder:?} {plain:?}");
}

#[test]
fn a_modem_is_left_untouched_gains_pauses_and_digits_too() {
    let timeslot = Timeslot { receive_gain: 6, transmit_gain: 6, canceller: Some(Tail::Ms64), ..Timeslot::default() };
    let mut rig = Rig::new([None, Some(Law::Mu)], |[a, b]| {
        (a.comfort_noise, b.remote) = (Some(13), Remote::Timeslot(timeslot));
    });
    let answer = (0..12_000).map(|at: usize| {
        let turn = std::f64::consts::TAU * 2100.0 * at as f64 / 8000.0 + std::f64::consts::PI * (at / 3600) as f64;
        (5000.0 * turn.sin()) as i16
    });
    let mut line = codes(Law::Mu, &answer.collect::<Vec<_>>()).into_iter();
    rig.talk(1500, |_| Vec::new(), || line.next().unwrap());
    rig.spoken.clear();
    let begun = rig.far(Side::B).wire().heard.len();
    // A tone of data that would be a digit, and a steady hiss that would be a pause.
    let mut key = [0; 4000];
    Generator::new(Digit::of('8').unwrap(), 8000).read(&mut key);
    let mut noise = crate::media::codec::comfort_noise::Generator::new(8000);
    noise.hear(&[35]);
    let mut hiss = [0; 12_000];
    noise.fill(&mut hiss);
    let data = codes(Law::Mu, &[&key[..], &hiss].concat());
    let mut line = data.iter().copied();
    rig.talk(2000, |number| data[160 * number..160 * (number + 1)].to_vec(), || line.next().unwrap());
    let heard = rig.far(Side::B).heard();
    assert!(contains(&heard[begun..], &data[..14_000]), "toward the modem");
    let packets: Vec<u8> = rig.spoken.iter().flat_map(|(_, payload)| payload.clone()).collect();
    assert!(rig.spoken.iter().all(|(header, _)| header.payload_type == 0), "neither events nor comfort noise");
    assert!(contains(&packets, &data[..15_000]), "from the modem");
    let told = rig.told.iter().filter(|report| matches!(report, MediaReport::Machine(..))).collect::<Vec<_>>();
    assert_eq!(told, [&MediaReport::Machine(SessionId(7), Side::B, Machine::Modem)]);
}

#[test]
fn a_line_is_not_watched_for_packets() {
    let watch = Some(crate::session::Watch { limit: Duration::from_secs(1) });
    let mut rig = Rig::new([None, Some(Law::Mu)], |[_, b]| b.watch = watch);
    rig.talk(3000, |_| Vec::new(), quiet(Law::Mu));
    assert!(!rig.told.iter().any(|report| matches!(report, MediaReport::Silent(..))));
}

#[test]
fn a_line_is_recorded_on_both_tracks() {
    let mut rig = Rig::new([None, Some(Law::A)], |[a, b]| a.codec = b.codec);
    let mut file = std::io::Cursor::new(Vec::new());
    let (tap, recorder) = recording(&mut file, 8000).unwrap();
    rig.bridge.tap(Side::B, Box::new(tap));
    let wave = |hertz| {
        let sound: Vec<i16> = g168::tone(8000, -10.0, (hertz, 0.0)).iter().map(|sample| *sample as i16 / 2).collect();
        codes(Law::A, &sound)
    };
    let (sent, said) = (wave(400.0), wave(1000.0));
    let mut line = said.iter().copied();
    rig.talk(1000, |number| sent[160 * number..160 * (number + 1)].to_vec(), || line.next().unwrap());
    assert_eq!(recorder.finish().unwrap().missed, 0);
    let [left, right] = tap::tests::tracks(file.get_ref());
    let heard = |track: &[i16], hertz| tap::tests::tone(&track[2400..6400], 8000, hertz) > 0.4;
    assert!(heard(&left, 1000.0) && !heard(&left, 400.0), "what the line said");
    assert!(heard(&right, 400.0) && !heard(&right, 1000.0), "what it heard");
}

#[test]
fn a_card_that_is_gone_is_an_error_and_its_bearer_comes_home() {
    let mut rig = Rig::new([None, Some(Law::Mu)], |_| {});
    rig.talk(20, |_| Vec::new(), quiet(Law::Mu));
    rig.far(Side::B).wire().gone = true;
    assert!(rig.bridge.serve(Side::B, rig.now, &mut |_| {}).is_err());
    assert!(rig.bridge.release(Side::B).is_some() && rig.bridge.release(Side::B).is_none());
    assert!(rig.bridge.ready(Side::B).is_none());
    assert!(matches!(rig.bridge.serve(Side::B, rig.now, &mut |_| {}), Ok(None)), "and is served no more");
}

/// What may happen to a call.
#[derive(Debug, bolero::TypeGenerator)]
enum Happening {
    /// Each side is nothing, packets or a line, of these codecs, digits and gains.
    Apply([(u8, u8, u8, i8); 2]),
    Seize(bool, bool),
    Release(bool),
    /// The line says as much of this, over and over.
    Line(bool, u8, Vec<u8>),
    Packet(bool, u16, Vec<u8>),
    Press(bool, u8),
    Wait(u8),
}

fn side(b: bool) -> Side {
    if b { Side::B } else { Side::A }
}

fn some_stream(which: Side, (kind, codec, digits, gain): (u8, u8, u8, i8)) -> Option<Stream> {
    let (codec, events) = (Codec::ALL[usize::from(codec % 4)], TelephoneEvent { payload_type: 101, clock_rate: 8000 });
    let digits = [Digits::Events(events), Digits::Tones, Digits::Info][usize::from(digits % 3)];
    let canceller = (kind & 4 != 0).then_some(Tail::Ms64);
    let timeslot = Timeslot { receive_gain: gain, transmit_gain: -(gain / 2), canceller, ..Timeslot::default() };
    let packets = Stream { codec, payload_type: codec.payload_type(), digits, ..stream(which) };
    match kind % 4 {
        0 => None,
        1 => Some(packets),
        _ => Some(Stream { remote: Remote::Timeslot(timeslot), ..packets }),
    }
}

#[test]
fn nothing_that_happens_to_a_line_makes_it_panic_or_leaves_it_without_an_answer() {
    bolero::check!().with_type().with_iterations(150).for_each(|happenings: &Vec<Happening>| {
        let mut rig = Rig::new([None, None], |_| {});
        for happening in happenings.iter().take(60) {
            match happening {
                Happening::Apply(kinds) => {
                    rig.session.sides = Side::BOTH.map(|which| some_stream(which, kinds[which.index()]));
                    rig.apply();
                }
                Happening::Seize(b, law) => {
                    let far = Far::new();
                    let law = if *law { Law::A } else { Law::Mu };
                    let _ = rig.bridge.seize(side(*b), far.bearer(), law).unwrap();
                    rig.lines[usize::from(*b)] = Some(far);
                }
                Happening::Release(b) => {
                    let held = rig.lines[usize::from(*b)].take().is_some();
                    assert_eq!(rig.bridge.release(side(*b)).is_some(), held);
                }
                Happening::Line(b, blocks, octets) if rig.lines[usize::from(*b)].is_some() => {
                    let mut says = octets.iter().copied().cycle();
                    for _ in 0..*blocks % 8 {
                        rig.far(side(*b)).pass(&mut || says.next().unwrap_or(0), BLOCK);
                        rig.serve(side(*b));
                        rig.wait(5);
                        assert_eq!(rig.far(side(*b)).wire().waiting.len(), 2 * BLOCK, "as much goes as comes");
                    }
                }
                Happening::Packet(b, sequence, payload) => {
                    let Some(stream) = &rig.session.sides[usize::from(*b)] else { continue };
                    let Some(at) = stream.remote.addresses() else { continue };
                    let kind = if sequence % 5 == 0 { 101 } else { stream.payload_type };
                    let octets = packet(kind, 5, *sequence, &payload[..payload.len().min(400)]);
                    let mut buffer = [0; BUFFER];
                    buffer[..octets.len()].copy_from_slice(&octets);
                    let datagram = Datagram { from: at.rtp, buffer: &mut buffer, length: octets.len() };
                    rig.bridge.rtp(side(*b), datagram, rig.now, &mut |_| {});
                }
                Happening::Press(b, digit) => {
                    let digit = Digit::of_event(digit % 16).unwrap();
                    rig.bridge.press(side(*b), digit, Duration::from_millis(80));
                }
                Happening::Wait(milliseconds) => rig.wait((*milliseconds).into()),
                Happening::Line(..) => {}
            }
        }
    });
}
