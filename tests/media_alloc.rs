//! On the way of an RTP packet, and of a timeslot's octets, nothing is allocated: 10,000 packets from SRTP to RTP and as many back, counted by
//! the allocator itself, and the checks of a peer that speaks ICE among them.
#![allow(unsafe_code, clippy::unwrap_used, clippy::expect_used)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::Cursor;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use demarc::config::Media;
use demarc::media::Engine;
use demarc::media::srtp::{GROWTH, Inbound, Outbound};
use demarc::media::tap::recording;
use demarc::private::Secret;
use demarc::random::Random;
use demarc::session::{
    Addresses, Codec, Credentials, Digits, Ice, Keys, MediaOrder, MediaReport, Play, Remote, Session, SessionId, Side,
    Sound, Srtp, Stream, Suite, Tail, TelephoneEvent, Timeslot,
};
use demarc::wire::rtp::Header;
use demarc::wire::stun::{self, Class, Key, Message, Writer};
use firmware_io::simulated::Cable;
use firmware_io::{Law, Line, Span};
use tokio::sync::mpsc::channel;

/// Counts what threads other than the test's own allocate.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static OWN: Cell<bool> = const { Cell::new(false) };
}

fn count() {
    if !OWN.get() {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
    }
}

// SAFETY: everything is left to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as the caller promised.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

fn stream(rtp: &UdpSocket, codec: Codec, srtp: Option<Srtp>) -> Stream {
    let rtp = rtp.local_addr().unwrap();
    Stream { srtp, ..Stream::new(Remote::Rtp(Addresses { rtp, rtcp: rtp }), codec) }
}

fn packet(sequence: u16) -> (Header, [u8; 172 + GROWTH]) {
    let timestamp = u32::from(sequence).wrapping_mul(160);
    let header = Header { marker: false, payload_type: 0, sequence, timestamp, ssrc: 9, length: 12, padded: false };
    let mut octets = [7; 172 + GROWTH];
    octets[..12].copy_from_slice(&header.write());
    (header, octets)
}

fn header_of(sequence: u16, codec: Codec) -> Header {
    let timestamp = u32::from(sequence).wrapping_mul(codec.clock_rate() / 50);
    Header { payload_type: codec.payload_type(), timestamp, ..packet(sequence).0 }
}

/// Receives the next RTP packet (RTCP shares the port): its length in `octets`.
fn hear(socket: &UdpSocket, octets: &mut [u8; 300]) -> usize {
    loop {
        let length = socket.recv(octets).expect("a packet");
        if !demarc::wire::rtp::is_rtcp(&octets[..length]) {
            return length;
        }
    }
}

fn ice() -> Ice {
    let end = |name: &str| Credentials { fragment: name.into(), password: Secret("known to both".into()) };
    Ice { local: end("ours"), remote: end("theirs") }
}

/// The peer checks the way again, and is answered.
fn check(socket: &UdpSocket, to: SocketAddr) {
    let mut octets = [0; 300];
    let request = Writer::new(&mut octets, Class::Request, &[7; 12]).username("ours:theirs").nominating();
    let length = request.integrity(&Key::new("known to both")).finish().unwrap();
    socket.send_to(&octets[..length], to).unwrap();
    let length = loop {
        let length = socket.recv(&mut octets).expect("an answer");
        if stun::is_stun(&octets[..length]) {
            break length;
        }
    };
    assert_eq!(Message::read(&octets[..length]).unwrap().mapped(), socket.local_addr().ok());
}

/// One after the other: all count on one counter.
#[test]
fn a_packet_on_its_way_allocates_nothing() {
    OWN.set(true);
    for suite in [Suite::Aes128CmHmacSha1_80, Suite::Aes256CmHmacSha1_32, Suite::AeadAes128Gcm, Suite::AeadAes256Gcm] {
        a_call_allocates_nothing(suite, Codec::Pcmu);
    }
    for codec in [Codec::Pcma, Codec::G722, Codec::Opus] {
        a_call_allocates_nothing(Suite::Aes128CmHmacSha1_80, codec);
    }
    for codec in Codec::ALL {
        music_allocates_nothing(codec);
    }
    for codec in [Codec::Pcmu, Codec::Opus] {
        a_line_allocates_nothing(codec);
    }
    two_lines_allocate_nothing();
}

/// An engine with the ports of one session.
fn open() -> (Engine, [SocketAddr; 2]) {
    let [.., high, low] = std::process::id().to_be_bytes();
    let address = Ipv4Addr::new(127, high, low, 100);
    let (sender, mut reports) = channel(100);
    let config = Media {
        address: address.into(),
        ports: (20_000, 20_003),
        threads: Some(1),
        jitter: Duration::from_millis(120),
        cores: Vec::new(),
        socket_io: Default::default(),
    };
    let mut engine = Engine::start(&config, sender).unwrap();
    engine.order(MediaOrder::Open(SessionId(1))).unwrap();
    let Some(MediaReport::Opened(_, ports)) = reports.blocking_recv() else { panic!("not opened") };
    (engine, ports.map(|port| SocketAddr::from((address, port))))
}

/// Packets of G.711 under SRTP on one side, of `codec` in the clear on the other.
fn a_call_allocates_nothing(suite: Suite, codec: Codec) {
    let (mut engine, [to_a, to_b]) = open();

    let mut random = Random::test(1);
    let [send, receive] = [(); 2].map(|()| Keys::cut(suite, &Secret(random.octets())));
    let (a, b) = (socket(), socket());
    let checked = Stream { ice: Some(Box::new(ice())), ..stream(&a, Codec::Pcmu, Some(Srtp { send, receive })) };
    let sides = [Some(checked), Some(stream(&b, codec, None))];
    engine.order(MediaOrder::Apply(SessionId(1), Box::new(Session { sides, ..Session::default() }))).unwrap();
    // Recorded as well: at first there is room, then packets are missed.
    let (tap, _recorder) = recording(Cursor::new(Vec::new()), 8000).unwrap();
    engine.tap(SessionId(1), Side::A, tap).unwrap();

    let (mut outbound, mut inbound) = (Outbound::new(&receive), Inbound::new(&send));
    let mut heard = [0; 300];
    let mut before = 0;
    // Side B says what it once heard: any packet of the codec will do.
    let mut said = packet(0).1[12..172].to_vec();
    for step in 0..3000 {
        if step == 500 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        if step % 50 == 0 {
            check(&a, to_a);
        }
        let (header, mut octets) = packet(step);
        let length = outbound.rtp(&header, &mut octets, 172).unwrap();
        a.send_to(&octets[..length], to_a).unwrap();
        let length = hear(&b, &mut heard);
        match codec {
            Codec::Pcmu => assert_eq!(heard[12..length], [7; 160]),
            _ if step < 100 => said = heard[12..length].to_vec(),
            _ => {}
        }

        let mut octets = [0; 300];
        octets[..12].copy_from_slice(&header_of(step, codec).write());
        octets[12..12 + said.len()].copy_from_slice(&said);
        b.send_to(&octets[..12 + said.len()], to_b).unwrap();
        let length = hear(&a, &mut heard);
        let header = Header::read(&heard[..length]).unwrap();
        assert_eq!(inbound.rtp(&header, &mut heard[..length]), Ok(172));
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
    assert!(before > 0, "the counter counts");
}

fn timeslot() -> Remote {
    Remote::Timeslot(Timeslot {
        receive_gain: 3,
        transmit_gain: -3,
        canceller: Some(Tail::Ms64),
        ..Timeslot::default()
    })
}

/// 20 ms pass on the line; the engine has time to follow.
fn pass(cable: &mut Cable) {
    for _ in 0..4 {
        cable.advance(Duration::from_millis(5));
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Sound and digits between packets of `codec` and a timeslot.
fn a_line_allocates_nothing(codec: Codec) {
    let (mut engine, [to_a, _]) = open();
    let (mut cable, mut near, mut far) = Cable::new(Line::T1, 1).unwrap();
    let slot = Line::T1.timeslot(1).unwrap();
    let mut far = far.bearer(slot).unwrap();
    engine.seize(SessionId(1), Side::B, near.bearer(slot).unwrap(), Law::Mu).unwrap();
    let a = socket();
    a.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let events = Digits::Events(TelephoneEvent { payload_type: 101, clock_rate: codec.clock_rate() });
    let packets = Stream { digits: events, ..stream(&a, codec, None) };
    let line = Stream { remote: timeslot(), ..stream(&a, Codec::Pcmu, None) };
    let session = Session { sides: [Some(packets), Some(line)], ..Session::default() };
    engine.order(MediaOrder::Apply(SessionId(1), Box::new(session))).unwrap();
    let (mut heard, mut before) = ([0; 300], 0);
    for step in 0..300u16 {
        if step == 100 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        // What passed before the engine had the timeslot was nobody's: time goes on until a packet comes.
        let length = loop {
            far.write(&[step as u8; 160]).unwrap();
            far.read(&mut [0; 400]).unwrap();
            pass(&mut cable);
            match a.recv(&mut heard) {
                Ok(length) if !demarc::wire::rtp::is_rtcp(&heard[..length]) => break length,
                _ => {}
            }
        };
        // What was heard is said back; every tenth packet is a digit.
        let digit = step % 10 == 0;
        let header = header_of(step, codec);
        let header = if digit { Header { payload_type: 101, marker: true, ..header } } else { header };
        heard[..12].copy_from_slice(&header.write());
        if digit {
            heard[12..16].copy_from_slice(&[5, 0x8a, 0, 160]);
        }
        a.send_to(&heard[..if digit { 16 } else { length }], to_a).unwrap();
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{}", codec.name());
}

/// A T1 and an E1 at both sides.
fn two_lines_allocate_nothing() {
    let (mut engine, _) = open();
    let a = socket();
    let mut lines = [Line::T1, Line::E1].map(|line| Cable::new(line, 1).unwrap());
    let mut sides = [None, None];
    for (side, (_, near, _)) in Side::BOTH.into_iter().zip(&mut lines) {
        let slot = Line::T1.timeslot(2).unwrap();
        engine.seize(SessionId(1), side, near.bearer(slot).unwrap(), near.law()).unwrap();
        let codec = if side == Side::A { Codec::Pcmu } else { Codec::Pcma };
        sides[side.index()] = Some(Stream { remote: timeslot(), ..stream(&a, codec, None) });
    }
    engine.order(MediaOrder::Apply(SessionId(1), Box::new(Session { sides, ..Session::default() }))).unwrap();
    let mut before = 0;
    for step in 0..100 {
        if step == 50 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        lines.iter_mut().for_each(|(cable, ..)| pass(cable));
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0);
}

/// Two seconds of it, over and over, to a peer that says nothing.
fn music_allocates_nothing(codec: Codec) {
    let (mut engine, _) = open();
    let b = socket();
    let wave = |samples: i32| (0..samples).map(|at| (at * 97 % 8000) as i16).collect();
    let sound = Sound::new(wave(800), wave(1600)).map(Arc::new);
    let sides = [None, Some(Stream { ptime_ms: 10, ..stream(&b, codec, None) })];
    let session = Session { sides, plays: [None, sound.map(Play::Music)] };
    engine.order(MediaOrder::Apply(SessionId(1), Box::new(session))).unwrap();
    let mut before = 0;
    for step in 0..200 {
        if step == 50 {
            before = ALLOCATIONS.load(Ordering::Relaxed);
        }
        hear(&b, &mut [0; 300]);
    }
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 0, "{}", codec.name());
}
