//! The engine on loopback: two far ends with real sockets.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

use tokio::sync::mpsc::{Receiver, channel};

use crate::config::{Media, SocketIo};
use crate::media::engine::{Engine, StartError};
use crate::media::srtp::{GROWTH, Inbound, Outbound};
use crate::private::Secret;
use crate::random::Random;
use crate::session::{
    Addresses, Codec, Counters, Digits, Direction, Keys, MediaOrder, MediaReport, Mki, Opus, Remote, Session,
    SessionId, Side, Srtp, Stream, TelephoneEvent, Watch,
};
use crate::wire::rtcp;
use crate::wire::rtp::Header;

mod line;
mod recording;

const PATIENCE: Duration = Duration::from_secs(10);
const FIRST: u16 = 20_000;

/// The loopback address of a test: its ports are used by nothing else on this machine.
fn local(test: u8) -> Ipv4Addr {
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high, low, 1 + test)
}

fn config(test: u8, sessions: u16) -> Media {
    let jitter = Duration::from_millis(120);
    Media {
        address: local(test).into(),
        ports: (FIRST, FIRST + 4 * sessions - 1),
        threads: Some(1),
        jitter,
        cores: Vec::new(),
        socket_io: SocketIo::Auto,
    }
}

fn events(payload_type: u8) -> Digits {
    Digits::Events(TelephoneEvent { payload_type, clock_rate: 8000 })
}

/// The next report that is not only counters; fails the test when none comes.
fn report(reports: &mut Receiver<MediaReport>) -> MediaReport {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        loop {
            match tokio::time::timeout(PATIENCE, reports.recv()).await.expect("a report").expect("an engine") {
                MediaReport::Counted(..) | MediaReport::Late(_) => (),
                report => return report,
            }
        }
    })
}

/// A telephone: two sockets, maybe keys.
struct FarEnd {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    to: SocketAddr,
    srtp: Option<(Outbound, Inbound)>,
    ssrc: u32,
    sequence: u16,
}

fn socket() -> UdpSocket {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

impl FarEnd {
    fn new(to: SocketAddr) -> FarEnd {
        let ssrc = u32::from(to.port());
        FarEnd { rtp: socket(), rtcp: socket(), to, srtp: None, ssrc, sequence: 100 }
    }

    fn remote(&self) -> Remote {
        Remote::Rtp(Addresses { rtp: self.rtp.local_addr().unwrap(), rtcp: self.rtcp.local_addr().unwrap() })
    }

    /// The next packet, as it goes on the wire.
    fn packet(&mut self, payload_type: u8, payload: &[u8]) -> Vec<u8> {
        self.sequence = self.sequence.wrapping_add(1);
        let header = Header {
            marker: false,
            payload_type,
            sequence: self.sequence,
            timestamp: u32::from(self.sequence) * 160,
            ssrc: self.ssrc,
            length: 12,
            padded: false,
        };
        let mut octets = [&header.write()[..], payload].concat();
        if let Some((outbound, _)) = &mut self.srtp {
            let length = octets.len();
            octets.resize(length + GROWTH, 0);
            let length = outbound.rtp(&header, &mut octets, length).unwrap();
            octets.truncate(length);
        }
        octets
    }

    fn send(&mut self, payload_type: u8, payload: &[u8]) {
        let octets = self.packet(payload_type, payload);
        self.rtp.send_to(&octets, self.to).unwrap();
    }

    fn hear(&mut self) -> (Header, Vec<u8>) {
        let mut octets = [0; 2000];
        let (length, from) = self.rtp.recv_from(&mut octets).expect("a packet");
        assert_eq!(from, self.to, "from the port that was named");
        let header = Header::read(&octets[..length]).expect("RTP");
        let length = match &mut self.srtp {
            None => length,
            Some((_, inbound)) => inbound.rtp(&header, &mut octets[..length]).expect("authentic"),
        };
        (header, octets[header.length..length].to_vec())
    }
}

/// A call through an engine of its own.
struct Call {
    engine: Engine,
    reports: Receiver<MediaReport>,
    session: Session,
    a: FarEnd,
    b: FarEnd,
}

const ID: SessionId = SessionId(1);

fn keys(seed: u64, mki: Option<Mki>) -> Keys {
    let mut random = Random::test(seed);
    Keys::cut(crate::session::Suite::Aes128CmHmacSha1_80, &Secret(random.octets())).marked(mki)
}

impl Call {
    fn new(test: u8) -> Call {
        Call::with(test, SocketIo::Auto)
    }

    fn with(test: u8, socket_io: SocketIo) -> Call {
        let (sender, mut reports) = channel(16);
        let mut engine = Engine::start(&Media { socket_io, ..config(test, 1) }, sender).unwrap();
        engine.order(MediaOrder::Open(ID)).unwrap();
        let MediaReport::Opened(ID, ports) = report(&mut reports) else { panic!("not opened") };
        let [a, b] = ports.map(|port| FarEnd::new((local(test), port).into()));
        let sides = [&a, &b].map(|end| Some(Stream { digits: events(101), ..Stream::new(end.remote(), Codec::Pcmu) }));
        let mut call = Call { engine, reports, session: Session { sides, ..Session::default() }, a, b };
        call.apply();
        call
    }

    fn apply(&mut self) {
        self.engine.order(MediaOrder::Apply(ID, Box::new(self.session.clone()))).unwrap();
    }

    fn change(&mut self, side: Side, change: impl FnOnce(&mut Stream)) {
        change(self.session.sides[side.index()].as_mut().unwrap());
        self.apply();
    }

    /// Both the engine and the far end of side A use these keys from now on.
    fn key(&mut self, to_engine: Keys, from_engine: Keys) {
        self.a.srtp = Some((Outbound::new(&to_engine), Inbound::new(&from_engine)));
        self.change(Side::A, |a| a.srtp = Some(Srtp { send: from_engine, receive: to_engine }));
    }

    fn cross(&mut self, text: &[u8]) -> Header {
        self.a.send(0, text);
        let (header, heard) = self.b.hear();
        assert_eq!(heard, text);
        header
    }

    fn cross_back(&mut self, text: &[u8]) -> Header {
        self.b.send(0, text);
        let (header, heard) = self.a.hear();
        assert_eq!(heard, text);
        header
    }

    /// Returns when the thread has met all that was sent before. It takes orders before packets, so the second answer
    /// comes from a round after the one that met them.
    fn settle(&mut self) {
        for unknown in [8, 9].map(SessionId) {
            self.engine.order(MediaOrder::Close(unknown)).unwrap();
            assert_eq!(report(&mut self.reports), MediaReport::Closed(unknown, Default::default()));
        }
    }

    fn close(mut self) -> [Counters; 2] {
        self.engine.order(MediaOrder::Close(ID)).unwrap();
        match report(&mut self.reports) {
            MediaReport::Closed(ID, counters) => counters,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn sound_crosses_both_ways() {
    let mut call = Call::new(0);
    for round in 0..100u8 {
        call.cross(&[round; 160]);
        call.cross_back(&[round + 100; 160]);
    }
    let [a, b] = call.close();
    for side in [a, b] {
        assert_eq!((side.received, side.sent, side.lost, side.stranger, side.malformed), (100, 100, 0, 0, 0));
    }
}

#[test]
fn sound_crosses_from_srtp_to_rtp_and_back() {
    for (test, mki) in [(1, None), (2, Some(Mki { value: 1, length: 1 }))] {
        let mut call = Call::new(test);
        call.key(keys(1, mki), keys(2, mki));
        for round in 0..100u8 {
            call.cross(&[round; 160]);
            call.cross_back(&[round + 100; 160]);
        }
        let [a, b] = call.close();
        assert_eq!((a.received, a.sent, a.unauthentic, a.replayed), (100, 100, 0, 0));
        assert_eq!((b.received, b.sent), (100, 100));
    }
}

#[test]
fn strangers_forgers_and_repeaters_are_counted_and_not_heard() {
    let mut call = Call::new(3);
    call.key(keys(1, None), keys(2, None));
    let good = call.a.packet(0, b"first");
    socket().send_to(&good, call.a.to).unwrap();
    let mut forged = good.clone();
    forged[20] ^= 1;
    for octets in [&forged, &good, &good, &good[..8].to_vec()] {
        call.a.rtp.send_to(octets, call.a.to).unwrap();
    }
    call.cross_back(b"and back");
    assert_eq!(call.b.hear().1, b"first");
    call.cross(b"second");
    let [a, _] = call.close();
    assert_eq!((a.received, a.stranger, a.unauthentic, a.replayed, a.malformed), (2, 1, 1, 1, 1));
}

#[test]
fn an_event_of_eight_octets_arrives_as_four() {
    let mut call = Call::new(4);
    call.change(Side::B, |b| b.digits = events(96));
    call.a.send(101, &[5, 0x8a, 3, 0x20, 1, 2, 3, 4]);
    call.a.send(101, &[5, 0x8a, 3]);
    call.a.send(0, b"sound");
    let (header, event) = call.b.hear();
    assert_eq!((header.payload_type, event), (96, vec![5, 0x8a, 3, 0x20]));
    assert_eq!(call.b.hear().1, b"sound");
    assert_eq!(call.close()[0].malformed, 1);
}

#[test]
fn a_call_is_held_and_resumed() {
    let mut call = Call::new(5);
    let before = call.cross(b"before");
    call.cross_back(b"before");
    call.change(Side::B, |b| b.direction = Direction::Inactive);
    call.a.send(0, b"not for the held");
    call.b.send(0, b"nor from there");
    call.settle();
    call.change(Side::B, |b| b.direction = Direction::SendRecv);
    let after = call.cross(b"after");
    call.cross_back(b"after");
    assert_eq!((after.ssrc, after.sequence, after.marker), (before.ssrc, before.sequence.wrapping_add(1), true));
    let [a, b] = call.close();
    assert_eq!([(a.received, a.sent), (b.received, b.sent)], [(3, 2); 2]);
}

#[test]
fn new_keys_take_the_place_of_old_ones() {
    let mut call = Call::new(6);
    call.key(keys(1, None), keys(2, None));
    let before = call.cross(b"old");
    let late = call.a.packet(0, b"late");
    call.key(keys(3, None), keys(4, None));
    call.a.rtp.send_to(&late, call.a.to).unwrap();
    let after = call.cross(b"new");
    call.cross_back(b"new as well");
    assert_eq!(after.ssrc, before.ssrc);
    assert_eq!(call.close()[0].unauthentic, 1);
}

#[test]
fn a_new_source_continues_the_stream() {
    let mut call = Call::new(7);
    let first = call.cross(b"one");
    (call.a.ssrc, call.a.sequence) = (0x1234_5678, 60_000);
    let second = call.cross(b"two");
    let third = call.cross(b"three");
    assert_eq!([second.ssrc, third.ssrc], [first.ssrc; 2]);
    assert_eq!([second, third].map(|header| header.sequence.wrapping_sub(first.sequence)), [1, 2]);
    assert_eq!([first, second, third].map(|header| header.marker), [true, true, false]);
}

#[test]
fn a_silent_side_is_reported() {
    let mut call = Call::new(8);
    call.change(Side::B, |b| b.watch = Some(Watch { limit: Duration::from_millis(50) }));
    let MediaReport::Silent(ID, Side::B, silence) = report(&mut call.reports) else { panic!("not silent") };
    assert!(silence >= Duration::from_millis(50));
}

#[test]
fn rtcp_goes_to_the_rtcp_port_and_ends_with_a_goodbye() {
    let mut call = Call::new(9);
    call.cross(b"sound");
    let rtcp_port = SocketAddr::new(call.b.to.ip(), call.b.to.port() + 1);
    let theirs = rtcp::Writer::report(9, None, None);
    call.b.rtcp.send_to(theirs.octets(), rtcp_port).unwrap();
    let mut octets = [0; 500];
    let (length, from) = call.b.rtcp.recv_from(&mut octets).expect("a first report in under four seconds");
    assert_eq!(from, rtcp_port);
    let sender = rtcp::packets(&octets[..length]).next().unwrap().sender.unwrap();
    assert_eq!((sender.packets, sender.octets), (1, 5));
    call.engine.order(MediaOrder::Close(ID)).unwrap();
    let goodbye = |length: usize, octets: &[u8]| octets[length - 7] == 203;
    let (length, _) = call.b.rtcp.recv_from(&mut octets).unwrap();
    assert!(goodbye(length, &octets));
    let MediaReport::Closed(ID, [_, b]) = report(&mut call.reports) else { panic!("not closed") };
    assert_eq!((b.rtcp_received, b.rtcp_sent), (1, 2));
}

#[test]
fn all_ports_are_handed_out_and_come_home() {
    for threads in [1, 2] {
        hand_out_all_ports(threads);
    }
}

fn hand_out_all_ports(threads: usize) {
    let (sender, mut reports) = channel(64);
    let mut engine = Engine::start(&Media { threads: Some(threads), ..config(10, 10) }, sender).unwrap();
    for round in 0..5 {
        let mut ports = Vec::new();
        for id in 0..10 {
            engine.order(MediaOrder::Open(SessionId(id))).unwrap();
            match report(&mut reports) {
                MediaReport::Opened(_, opened) => ports.extend(opened),
                other => panic!("round {round}: {other:?}"),
            }
        }
        ports.sort_unstable();
        assert!(ports.windows(2).all(|pair| pair[0] + 2 == pair[1]) && ports.len() == 20, "{ports:?}");
        engine.order(MediaOrder::Open(SessionId(99))).unwrap();
        let MediaReport::Refused(SessionId(99), why) = report(&mut reports) else { panic!("not refused") };
        assert_eq!(why, "all media ports from 20000 to 20039 are in use");
        for id in [0, 2, 4, 6, 8, 1, 3, 5, 7, 9, 99] {
            engine.order(MediaOrder::Close(SessionId(id))).unwrap();
            assert!(matches!(report(&mut reports), MediaReport::Closed(..)));
        }
        assert!(UdpSocket::bind((local(10), FIRST)).is_ok(), "the port is free");
    }
}

#[test]
fn a_port_that_somebody_else_has_is_passed_over() {
    let somebody = UdpSocket::bind((local(11), FIRST + 3)).unwrap();
    let (sender, mut reports) = channel(16);
    let mut engine = Engine::start(&config(11, 2), sender).unwrap();
    engine.order(MediaOrder::Open(ID)).unwrap();
    assert_eq!(report(&mut reports), MediaReport::Opened(ID, [FIRST, FIRST + 4]));
    engine.order(MediaOrder::Open(SessionId(2))).unwrap();
    assert!(
        matches!(report(&mut reports), MediaReport::Refused(SessionId(2), _)),
        "one pair is left, a call takes two"
    );
    drop(somebody);
    engine.order(MediaOrder::Open(SessionId(3))).unwrap();
    let MediaReport::Opened(SessionId(3), mut ports) = report(&mut reports) else { panic!("the rest is free") };
    ports.sort_unstable();
    assert_eq!(ports, [FIRST + 2, FIRST + 6]);
}

#[test]
fn a_session_opened_twice_is_refused_and_the_first_stays() {
    let mut call = Call::new(12);
    call.engine.order(MediaOrder::Open(ID)).unwrap();
    assert!(matches!(report(&mut call.reports), MediaReport::Refused(ID, _)));
    call.cross(b"still there");
}

#[test]
fn the_engine_says_what_is_wrong_with_its_configuration() {
    let start = |config: Media| Engine::start(&config, channel(1).0).err();
    assert!(matches!(
        start(Media { ports: (21_301, 21_304), ..config(0, 1) }),
        Some(StartError::Ports(21_301, 21_304))
    ));
    let foreign = Media { address: [192, 0, 2, 1].into(), ..config(0, 1) };
    assert!(matches!(start(foreign), Some(StartError::Address(..))));
}

#[test]
fn stopping_ends_all_sessions() {
    let Call { engine, mut reports, .. } = Call::new(13);
    engine.stop();
    assert!(matches!(report(&mut reports), MediaReport::Closed(ID, _)));
    assert_eq!(reports.blocking_recv(), None, "the threads are gone");
}

#[test]
fn a_full_channel_loses_no_report_but_counters() {
    let (sender, mut reports) = channel(1);
    let mut engine = Engine::start(&config(14, 3), sender).unwrap();
    let mut expected = Vec::new();
    for id in 0..3 {
        engine.order(MediaOrder::Open(SessionId(id))).unwrap();
        engine.order(MediaOrder::Close(SessionId(id))).unwrap();
        expected.extend([(true, id), (false, id)]);
    }
    let heard: Vec<_> = (0..6)
        .map(|_| match report(&mut reports) {
            MediaReport::Opened(id, _) => (true, id.0),
            MediaReport::Closed(id, _) => (false, id.0),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(heard, expected);
}
