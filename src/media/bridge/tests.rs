//! A bridge in virtual time.

use super::*;
use crate::private::Secret;
use crate::session::{Addresses, Codec, Digits, Direction, Keys, Remote, Srtp, Stream, TelephoneEvent, Watch};
use crate::wire::rtcp::{self, Block, Sender, Writer};
use crate::wire::rtp::{Header, is_rtcp};

pub(super) const PATIENCE: Duration = Duration::from_millis(120);

/// A bridge in virtual time, and what it did.
pub(super) struct Rig {
    pub(super) bridge: Bridge,
    random: Random,
    pub(super) now: Moment,
    pub(super) session: Session,
    reports: Vec<(Side, Channel, SocketAddr, Vec<u8>)>,
    pub(super) told: Vec<MediaReport>,
    /// Packets of our own making, by the side that they go to.
    pub(super) spoken: Vec<(Side, Vec<u8>)>,
}

pub(in crate::media) fn stream(side: Side) -> Stream {
    let port = 5000 + 10 * side.index() as u16;
    Stream {
        digits: events(101 - side.index() as u8),
        comfort_noise: Some(13),
        ..Stream::new(Remote::Rtp(Addresses { rtp: address(port), rtcp: address(port + 1) }), Codec::Pcmu)
    }
}

fn events(payload_type: u8) -> Digits {
    Digits::Events(TelephoneEvent { payload_type, clock_rate: 8000 })
}

pub(super) fn address(port: u16) -> SocketAddr {
    ([192, 0, 2, 1], port).into()
}

/// Where a stream's peer is said to be.
pub(super) fn addresses(stream: &mut Stream) -> &mut Addresses {
    match &mut stream.remote {
        Remote::Rtp(addresses) => addresses,
        Remote::Timeslot(_) => panic!("a timeslot"),
    }
}

pub(super) fn packet(payload_type: u8, ssrc: u32, sequence: u16, payload: &[u8]) -> Vec<u8> {
    let timestamp = u32::from(sequence) * 160;
    let header = Header { marker: false, payload_type, sequence, timestamp, ssrc, length: 12, padded: false }.write();
    [&header[..], payload].concat()
}

impl Rig {
    pub(super) fn new(change: impl FnOnce(&mut [Stream; 2])) -> Rig {
        let mut random = Random::test(1);
        let bridge = Bridge::new(SessionId(7), PATIENCE, &mut random, Instant::START);
        let now = Moment { at: Instant::START, ntp: 1 << 63 };
        let (reports, told, spoken) = (Vec::new(), Vec::new(), Vec::new());
        let mut rig = Rig { bridge, random, now, session: Session::default(), reports, told, spoken };
        let mut streams = Side::BOTH.map(stream);
        change(&mut streams);
        rig.session.sides = streams.map(Some);
        rig.apply();
        rig
    }

    pub(super) fn apply(&mut self) {
        self.bridge.apply(&self.session, self.now.at, &mut self.random);
    }

    pub(super) fn change(&mut self, side: Side, change: impl FnOnce(&mut Stream)) {
        change(self.session.sides[side.index()].as_mut().unwrap());
        self.apply();
    }

    pub(super) fn wait(&mut self, milliseconds: u64) {
        self.now.at = self.now.at + Duration::from_millis(milliseconds);
        self.now.ntp += (milliseconds << 32) / 1000;
    }

    /// Lets time pass and does what is due on the way.
    pub(super) fn run(&mut self, milliseconds: u64) {
        let end = self.now.at + Duration::from_millis(milliseconds);
        while self.bridge.due() <= end {
            let step = self.bridge.due().since(self.now.at);
            self.wait(step.as_millis() as u64 + 1);
            let (reports, told, spoken) = (&mut self.reports, &mut self.told, &mut self.spoken);
            self.bridge.tick(self.now, 0, &mut self.random, |output| match output {
                Output::Send(side, Channel::Rtp, _, octets) if !is_rtcp(octets) => spoken.push((side, octets.to_vec())),
                Output::Send(side, channel, to, octets) => reports.push((side, channel, to, octets.to_vec())),
                Output::Report(report) => told.push(report),
            });
        }
        self.wait(end.since(self.now.at).as_millis() as u64);
    }

    /// Where the peer of this side was said to be.
    pub(super) fn named(&self, side: Side) -> Addresses {
        self.session.sides[side.index()].as_ref().unwrap().remote.addresses().unwrap()
    }

    /// What a datagram on the RTP port of `side` becomes.
    fn rtp_from(&mut self, from: SocketAddr, side: Side, octets: &[u8]) -> Option<(Header, Vec<u8>, SocketAddr)> {
        let mut buffer = [0; BUFFER];
        buffer[..octets.len()].copy_from_slice(octets);
        let datagram = Datagram { from, buffer: &mut buffer, length: octets.len() };
        let (spoken, told) = (&mut self.spoken, &mut self.told);
        let outgoing = self.bridge.rtp(side, datagram, self.now, &mut |output| match output {
            Output::Send(side, Channel::Rtp, _, octets) => spoken.push((side, octets.to_vec())),
            Output::Report(report) => told.push(report),
            output => panic!("{output:?}"),
        })?;
        let packet = &buffer[outgoing.octets];
        Some((Header::read(packet).unwrap(), packet[12..].to_vec(), outgoing.to))
    }

    pub(super) fn rtp(&mut self, side: Side, octets: &[u8]) -> Option<(Header, Vec<u8>)> {
        let from = self.named(side).rtp;
        self.rtp_from(from, side, octets).map(|(header, payload, _)| (header, payload))
    }

    pub(super) fn rtcp(&mut self, side: Side, octets: &[u8]) {
        let from = self.named(side).rtcp;
        self.rtcp_from(from, side, octets);
    }

    fn rtcp_from(&mut self, from: SocketAddr, side: Side, octets: &[u8]) {
        let mut buffer = [0; BUFFER];
        buffer[..octets.len()].copy_from_slice(octets);
        let datagram = Datagram { from, buffer: &mut buffer, length: octets.len() };
        self.bridge.rtcp(side, datagram, self.now, &mut |output| panic!("{output:?}"));
    }

    /// A packet of sound from `side`, sent on.
    pub(super) fn sound(&mut self, side: Side, ssrc: u32, sequence: u16) -> Option<Header> {
        self.rtp(side, &packet(0, ssrc, sequence, &[1; 160])).map(|(header, _)| header)
    }

    pub(super) fn counters(&self, side: Side) -> Counters {
        self.bridge.counters(self.now.at)[side.index()]
    }

    fn reports_to(&self, side: Side) -> Vec<(Option<Sender>, Vec<Block>)> {
        let reports = self.reports.iter().filter(|report| report.0 == side);
        let first = |octets| rtcp::packets(octets).next().map(|report| (report.sender, report.blocks().collect()));
        reports.filter_map(|(_, _, _, octets)| first(octets)).collect()
    }
}

#[test]
fn each_kind_leaves_under_the_other_sides_payload_type() {
    let mut rig = Rig::new(|[_, b]| {
        b.payload_type = 96;
        b.comfort_noise = Some(19);
    });
    let (first, payload) = rig.rtp(Side::A, &packet(0, 9, 1, b"sound")).unwrap();
    assert_eq!((first.payload_type, first.marker, &payload[..]), (96, true, &b"sound"[..]));
    let (event, payload) = rig.rtp(Side::A, &packet(101, 9, 2, &[5, 10, 0, 160, 6, 7, 8, 9])).unwrap();
    assert_eq!((event.payload_type, event.marker, &payload[..]), (100, false, &[5, 10, 0, 160][..]));
    let (noise, payload) = rig.rtp(Side::A, &packet(13, 9, 3, &[60])).unwrap();
    assert_eq!((noise.payload_type, &payload[..]), (19, &[60][..]));
    assert_eq!([event.sequence, noise.sequence].map(|number| number - first.sequence), [1, 2]);
    let (back, _) = rig.rtp(Side::B, &packet(96, 8, 1, b"sound")).unwrap();
    assert_eq!(back.payload_type, 0);
    assert_ne!(back.ssrc, first.ssrc);
}

#[test]
fn what_was_not_agreed_is_malformed() {
    let mut rig = Rig::new(|_| ());
    let dropped = [
        packet(8, 9, 1, b"another codec"),
        packet(101, 9, 2, &[5, 10, 0]),
        b"\x00\x01 a binding request".to_vec(),
        vec![0x80; 11],
        vec![],
    ];
    for (count, octets) in dropped.iter().enumerate() {
        assert_eq!(rig.rtp(Side::A, octets), None);
        assert_eq!(rig.counters(Side::A).malformed, count as u64 + 1);
    }
    assert_eq!(rig.counters(Side::A).received, 0);
}

#[test]
fn another_law_is_put_in_place_of_the_first() {
    let mut rig = Rig::new(|[_, b]| (b.codec, b.payload_type) = (Codec::Pcma, 8));
    let mu: Vec<u8> = (0..=255).collect();
    let mut a = mu.clone();
    g711::convert(Law::Mu, &mut a);
    let (first, payload) = rig.rtp(Side::A, &packet(0, 9, 1, &mu)).unwrap();
    assert_eq!((first.payload_type, payload), (8, a.clone()));
    let (noise, payload) = rig.rtp(Side::A, &packet(13, 9, 2, &[60])).unwrap();
    assert_eq!((noise.payload_type, &payload[..]), (13, &[60][..]));
    let (event, payload) = rig.rtp(Side::A, &packet(101, 9, 3, &[5, 10, 0, 160])).unwrap();
    assert_eq!((event.payload_type, &payload[..]), (100, &[5, 10, 0, 160][..]));
    let late = rig.sound(Side::A, 9, 6).unwrap();
    assert_eq!(late.sequence.wrapping_sub(event.sequence), 3, "the far end sees what was lost, and conceals it once");
    let mut back = a.clone();
    g711::convert(Law::A, &mut back);
    assert_eq!(rig.rtp(Side::B, &packet(8, 8, 1, &a)).unwrap().1, back);
    assert!(rig.spoken.is_empty());
}

#[test]
fn another_law_is_transcoded_where_more_than_it_differs() {
    let changes: [fn(&mut Stream); 4] = [
        |b| b.ptime_ms = 10,
        |b| b.comfort_noise = None,
        |b| b.digits = Digits::Tones,
        |b| (b.codec, b.payload_type) = (Codec::G722, 9),
    ];
    for (case, change) in changes.into_iter().enumerate() {
        let mut rig = Rig::new(|[_, b]| {
            (b.codec, b.payload_type) = (Codec::Pcma, 8);
            change(b);
        });
        assert_eq!(rig.sound(Side::A, 9, 1), None, "{case}");
        assert!(!rig.spoken.is_empty(), "{case}");
    }
}

#[test]
fn different_codecs_are_transcoded_packet_by_packet() {
    let mut rig = Rig::new(|[_, b]| (b.codec, b.payload_type, b.ptime_ms) = (Codec::Pcma, 8, 40));
    let mut spoken = Vec::new();
    for sequence in 1..7 {
        assert_eq!(rig.sound(Side::A, 9, sequence), None, "nothing goes out in its own buffer");
        spoken.extend(rig.spoken.drain(..).map(|(side, octets)| (sequence, side, octets)));
        rig.wait(20);
    }
    let headers: Vec<_> =
        spoken.iter().map(|(sequence, side, octets)| (*sequence, *side, Header::read(octets).unwrap())).collect();
    assert_eq!(
        headers.iter().map(|(after, side, _)| (*after, *side)).collect::<Vec<_>>(),
        [2, 4, 6].map(|at| (at, Side::B))
    );
    let first = headers[0].2;
    for ((_, _, header), at) in headers.iter().zip(0..) {
        assert_eq!((header.payload_type, header.marker), (8, at == 0));
        assert_eq!((header.sequence, header.timestamp), (first.sequence + at, first.timestamp + 320 * u32::from(at)));
    }
    assert!(spoken.iter().all(|(_, _, octets)| octets.len() == 12 + 320));
}

#[test]
fn noise_that_the_other_side_does_not_know_leaves_no_gap() {
    let mut rig = Rig::new(|[_, b]| b.comfort_noise = None);
    let before = rig.sound(Side::A, 9, 1).unwrap();
    assert_eq!(rig.rtp(Side::A, &packet(13, 9, 2, &[60])), None);
    let after = rig.sound(Side::A, 9, 3).unwrap();
    assert_eq!(after.sequence, before.sequence.wrapping_add(1));
    assert_eq!(rig.counters(Side::A).malformed, 0);
}

#[test]
fn a_stranger_is_counted_and_dropped() {
    let mut rig = Rig::new(|_| ());
    for from in [address(5001), address(5010), ([192, 0, 2, 2], 5000).into()] {
        assert_eq!(rig.rtp_from(from, Side::A, &packet(0, 9, 1, &[1])), None);
    }
    assert_eq!(rig.counters(Side::A).stranger, 3);
    rig.session.sides[0] = None;
    rig.apply();
    assert_eq!(rig.rtp_from(address(5000), Side::A, &packet(0, 9, 1, &[1])), None);
    assert_eq!(rig.counters(Side::A).stranger, 4, "nobody is named");
}

#[test]
fn with_latching_the_first_good_packet_decides() {
    let mut rig = Rig::new(|[a, _]| a.latch = true);
    let (real, other) = (address(7000), address(8000));
    assert_eq!(rig.rtp_from(other, Side::A, b"not RTP"), None);
    assert!(rig.rtp_from(real, Side::A, &packet(0, 9, 1, &[1])).is_some());
    assert_eq!(rig.rtp_from(other, Side::A, &packet(0, 9, 2, &[1])), None);
    let (_, _, to) = rig.rtp_from(address(5010), Side::B, &packet(0, 8, 1, &[1])).unwrap();
    assert_eq!(to, real);
    rig.change(Side::A, |a| a.direction = Direction::RecvOnly);
    assert_eq!(rig.rtp_from(other, Side::A, &packet(0, 9, 2, &[1])), None, "a new offer does not unlatch");
    assert!(rig.rtp_from(real, Side::A, &packet(0, 9, 3, &[1])).is_some());
    rig.change(Side::A, |a| addresses(a).rtp = other);
    assert!(rig.rtp_from(other, Side::A, &packet(0, 9, 4, &[1])).is_some(), "a new address does");
}

#[test]
fn with_latching_reports_go_where_the_first_one_came_from() {
    let mut rig = Rig::new(|[a, _]| a.latch = true);
    let report = Writer::report(9, None, None);
    rig.rtcp_from(address(7001), Side::A, report.octets());
    rig.rtcp_from(address(8001), Side::A, report.octets());
    assert_eq!((rig.counters(Side::A).rtcp_received, rig.counters(Side::A).stranger), (1, 1));
    rig.run(4000);
    assert!(rig.reports.iter().any(|report| (report.0, report.2) == (Side::A, address(7001))));
}

#[test]
fn a_held_side_hears_and_says_nothing_and_resumes_without_a_gap() {
    let mut rig = Rig::new(|_| ());
    let before = rig.sound(Side::A, 9, 1).unwrap();
    rig.change(Side::B, |b| b.direction = Direction::Inactive);
    for sequence in 2..50 {
        rig.wait(20);
        assert_eq!(rig.sound(Side::A, 9, sequence), None);
        assert_eq!(rig.sound(Side::B, 8, sequence), None);
    }
    rig.change(Side::B, |b| b.direction = Direction::SendRecv);
    rig.wait(20);
    let after = rig.sound(Side::A, 9, 50).unwrap();
    assert_eq!((after.sequence, after.ssrc, after.marker), (before.sequence.wrapping_add(1), before.ssrc, true));
    assert_eq!(after.timestamp.wrapping_sub(before.timestamp), 49 * 160);
    assert_eq!(rig.counters(Side::A).received, 50);
}

#[test]
fn half_held_sound_goes_one_way() {
    for (direction, a_to_b, b_to_a) in
        [(Direction::SendOnly, true, false), (Direction::RecvOnly, false, true), (Direction::SendRecv, true, true)]
    {
        let mut rig = Rig::new(|[_, b]| b.direction = direction);
        assert_eq!(rig.sound(Side::A, 9, 1).is_some(), a_to_b, "{direction:?}");
        assert_eq!(rig.sound(Side::B, 8, 1).is_some(), b_to_a, "{direction:?}");
    }
}

#[test]
fn nothing_is_sent_to_an_address_of_nowhere() {
    let mut rig = Rig::new(|[_, b]| addresses(b).rtp = ([0, 0, 0, 0], 5010).into());
    assert_eq!(rig.sound(Side::A, 9, 1), None);
}

#[test]
fn a_new_source_or_a_restarted_one_is_one_stream_to_the_other_side() {
    let mut rig = Rig::new(|_| ());
    let mut expected = rig.sound(Side::A, 9, 65_534).unwrap();
    for (ssrc, sequence, spliced) in [(9, 65_535, false), (9, 0, false), (7, 20_000, true), (7, 20_001, false)] {
        rig.wait(20);
        let next = rig.sound(Side::A, ssrc, sequence).unwrap();
        assert_eq!((next.ssrc, next.sequence), (expected.ssrc, expected.sequence.wrapping_add(1)));
        assert_eq!(next.marker, spliced);
        expected = next;
    }
    assert_eq!(rig.sound(Side::A, 7, 50_000), None, "once is chance");
    let next = rig.sound(Side::A, 7, 50_001).unwrap();
    assert_eq!((next.sequence, next.marker), (expected.sequence.wrapping_add(1), true));
    let lossy = rig.sound(Side::A, 7, 50_004).unwrap();
    assert_eq!(lossy.sequence, next.sequence.wrapping_add(3), "what was lost stays visible");
    assert_eq!(rig.counters(Side::A).lost, 2);
}

#[test]
fn a_restart_that_begins_with_what_is_left_out_is_spliced_all_the_same() {
    let mut rig = Rig::new(|[_, b]| b.comfort_noise = None);
    let before = rig.sound(Side::A, 9, 1).unwrap();
    assert_eq!(rig.rtp(Side::A, &packet(13, 9, 30_000, &[60])), None);
    assert_eq!(rig.rtp(Side::A, &packet(13, 9, 30_001, &[60])), None);
    let after = rig.sound(Side::A, 9, 30_002).unwrap();
    assert_eq!((after.sequence, after.marker), (before.sequence.wrapping_add(1), true));
}

pub(super) fn keys(seed: u64) -> Keys {
    let mut random = Random::test(seed);
    Keys::cut(crate::session::Suite::Aes128CmHmacSha1_80, &Secret(random.octets()))
}

fn sealed(outbound: &mut crate::media::srtp::Outbound, octets: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 400];
    buffer[..octets.len()].copy_from_slice(octets);
    let length = outbound.rtp(&Header::read(octets).unwrap(), &mut buffer, octets.len()).unwrap();
    buffer[..length].to_vec()
}

#[test]
fn keys_that_did_not_change_keep_their_state() {
    let srtp = Srtp { send: keys(1), receive: keys(2) };
    let mut rig = Rig::new(|[a, _]| a.srtp = Some(srtp));
    let mut peer = crate::media::srtp::Outbound::new(&keys(2));
    let first = sealed(&mut peer, &packet(0, 9, 1, b"sound"));
    assert_eq!(rig.rtp(Side::A, &first).unwrap().1, b"sound");
    rig.change(Side::A, |a| a.srtp = Some(Srtp { send: keys(3), ..srtp }));
    assert_eq!(rig.rtp(Side::A, &first), None);
    assert_eq!(rig.counters(Side::A).replayed, 1);
    rig.change(Side::A, |a| a.srtp = Some(Srtp { send: keys(3), receive: keys(4) }));
    let second = sealed(&mut peer, &packet(0, 9, 2, b"sound"));
    assert_eq!(rig.rtp(Side::A, &second), None);
    assert_eq!(rig.counters(Side::A).unauthentic, 1);
    let mut peer = crate::media::srtp::Outbound::new(&keys(4));
    assert!(rig.rtp(Side::A, &sealed(&mut peer, &packet(0, 9, 2, b"sound"))).is_some());
}

#[test]
fn a_key_that_did_not_change_goes_on_over_rollovers_and_reports() {
    let srtp = Srtp { send: keys(1), receive: keys(2) };
    let mut rig = Rig::new(|[a, _]| a.srtp = Some(srtp));
    let mut peer = crate::media::srtp::Inbound::new(&keys(1));
    let mut heard = |rig: &mut Rig, sequence: u16| {
        let (header, payload) = rig.rtp(Side::B, &packet(0, 8, sequence, &[3; 160])).unwrap();
        peer.rtp(&header, &mut [&header.write()[..], &payload].concat()).map(drop)
    };
    for sequence in 0..=65_535 {
        assert_eq!(heard(&mut rig, sequence), Ok(()), "{sequence}");
    }
    rig.run(4000);
    rig.change(Side::A, |a| a.srtp = Some(Srtp { receive: keys(3), ..srtp }));
    assert_eq!(heard(&mut rig, 0), Ok(()), "another key of the peer is none of ours");
    rig.run(8000);
    rig.reports.retain(|report| report.0 == Side::A);
    assert!(rig.reports.len() > 1);
    for (.., octets) in &mut rig.reports {
        assert!(peer.rtcp(octets).is_ok(), "an index of its own for each report");
    }
}

/// Our answers bear the mark of the peer's line and our offers none, over one key.
#[test]
fn a_key_goes_on_whatever_its_mark() {
    let mark = |value| Some(crate::session::Mki { value, length: 1 });
    let srtp = |mki| Srtp { send: keys(1).marked(mki), receive: keys(2).marked(mki) };
    let mut rig = Rig::new(|_| ());
    let mut inbound = crate::media::srtp::Inbound::new(&keys(1));
    let mut outbound = crate::media::srtp::Outbound::new(&keys(2));
    for (mki, sequences) in [(mark(1), 0..=65_535), (None, 0..=0), (mark(2), 1..=1)] {
        rig.change(Side::A, |a| a.srtp = Some(srtp(mki)));
        (inbound, outbound) = (inbound.marked(mki), outbound.marked(mki));
        for sequence in sequences {
            let (header, payload) = rig.rtp(Side::B, &packet(0, 8, sequence, &[3; 160])).unwrap();
            let heard = inbound.rtp(&header, &mut [&header.write()[..], &payload].concat());
            assert_eq!(heard.map(drop), Ok(()), "to the peer, {mki:?} {sequence}");
            let said = sealed(&mut outbound, &packet(0, 9, sequence, b"sound"));
            assert!(rig.rtp(Side::A, &said).is_some(), "from the peer, {mki:?} {sequence}");
            assert_eq!(rig.rtp(Side::A, &said), None, "once, {mki:?} {sequence}");
        }
        rig.run(8000);
        let mut reports = rig.reports.extract_if(.., |report| report.0 == Side::A).peekable();
        assert!(reports.peek().is_some());
        reports.for_each(|(.., mut octets)| {
            assert!(inbound.rtcp(&mut octets).is_ok(), "an index of its own for each report, {mki:?}");
        });
    }
}

/// Of several that answered, one speaks SRTP, another does not; the first is taken in the end.
#[test]
fn a_key_that_comes_back_goes_on_where_it_was() {
    let srtp = Srtp { send: keys(1), receive: keys(2) };
    let mut rig = Rig::new(|[a, _]| a.srtp = Some(srtp));
    let mut peer = crate::media::srtp::Inbound::new(&keys(1));
    for between in [None, Some(Srtp { send: keys(7), receive: keys(8) })] {
        rig.change(Side::A, |a| a.srtp = Some(srtp));
        for sequence in 0..=65_535 {
            let (header, payload) = rig.rtp(Side::B, &packet(0, 8, sequence, &[3; 160])).unwrap();
            let heard = peer.rtp(&header, &mut [&header.write()[..], &payload].concat());
            assert_eq!(heard.map(drop), Ok(()), "{sequence}");
        }
        rig.run(8000);
        let mut reports = rig.reports.extract_if(.., |report| report.0 == Side::A).peekable();
        assert!(reports.peek().is_some());
        reports.for_each(|(.., mut octets)| assert!(peer.rtcp(&mut octets).is_ok(), "an index that was not used"));
        rig.change(Side::A, |a| a.srtp = between);
        rig.run(8000);
        rig.reports.clear();
    }
}

#[test]
fn what_is_sent_under_a_new_key_begins_without_rollovers() {
    let mut rig = Rig::new(|[a, _]| a.srtp = Some(Srtp { send: keys(1), receive: keys(2) }));
    let mut peer = crate::media::srtp::Inbound::new(&keys(1));
    let mut heard = |rig: &mut Rig, sequence: u16| {
        let (header, payload) = rig.rtp(Side::B, &packet(0, 8, sequence, &[3; 160])).unwrap();
        let mut octets = [&header.write()[..], &payload].concat();
        peer.rtp(&header, &mut octets).map(|length| octets[12..length].to_vec())
    };
    for sequence in 0..=65_535 {
        assert_eq!(heard(&mut rig, sequence), Ok(vec![3; 160]), "{sequence}");
    }
    rig.change(Side::A, |a| a.srtp = Some(Srtp { send: keys(5), receive: keys(2) }));
    let mut peer = crate::media::srtp::Inbound::new(&keys(5));
    let (header, payload) = rig.rtp(Side::B, &packet(0, 8, 0, &[3; 160])).unwrap();
    assert!(peer.rtp(&header, &mut [&header.write()[..], &payload].concat()).is_ok());
}

#[test]
fn reports_tell_both_sides_what_was_sent_and_heard() {
    let mut rig = Rig::new(|_| ());
    for sequence in [1, 2, 3, 5] {
        rig.sound(Side::A, 9, sequence).unwrap();
        rig.wait(20);
    }
    rig.run(4000);
    let [(None, to_a)] = &rig.reports_to(Side::A)[..] else { panic!("{:?}", rig.reports) };
    let [block] = to_a[..] else { panic!("{to_a:?}") };
    assert_eq!((block.ssrc, block.highest, block.lost, block.fraction), (9, 5, 1, 51));
    let [(Some(sender), to_b)] = &rig.reports_to(Side::B)[..] else { panic!("{:?}", rig.reports) };
    assert!(to_b.is_empty(), "nothing was heard from there");
    assert_eq!((sender.packets, sender.octets), (4, 640));
    assert!(rig.reports.iter().all(|report| report.1 == Channel::Rtcp && [5001, 5011].contains(&report.2.port())));
    rig.run(60_000);
    let count = rig.reports_to(Side::B).len();
    assert!((9..=17).contains(&count), "{count} reports in a minute");
    assert_eq!(rig.reports_to(Side::B).last().unwrap().0, None, "who sends nothing is no sender");
}

#[test]
fn the_report_times_belong_together() {
    let mut rig = Rig::new(|_| ());
    rig.wait(100);
    let last = rig.sound(Side::A, 9, 1).unwrap();
    let at = rig.now.ntp;
    rig.run(4000);
    let sender = rig.reports_to(Side::B)[0].0.unwrap();
    let elapsed = (sender.ntp - at) as f64 / 4294967296.0;
    let units = f64::from(sender.timestamp.wrapping_sub(last.timestamp));
    assert!((units / 8000.0 - elapsed).abs() < 0.001, "{units} units in {elapsed} s");
}

#[test]
fn the_round_trip_is_time_minus_the_peers_delay() {
    let mut rig = Rig::new(|_| ());
    rig.sound(Side::B, 8, 1).unwrap();
    rig.run(4000);
    let ours = rtcp::packets(&rig.reports.iter().find(|report| report.0 == Side::A).unwrap().3).next().unwrap();
    let (ssrc, sent) = (ours.ssrc, ours.sender.unwrap().ntp);
    rig.run(1000);
    let elapsed = ((rig.now.ntp - sent) >> 16) as u32;
    let block = Block {
        ssrc,
        lost: 3,
        last_report: (sent >> 16) as u32,
        since_report: elapsed - (65_536 / 10),
        ..Block::default()
    };
    let theirs = Sender { ntp: 77 << 16, timestamp: 0, packets: 0, octets: 0 };
    rig.rtcp(Side::A, Writer::report(9, Some(theirs), Some(block)).octets());
    let heard = rig.now.ntp;
    let counters = rig.counters(Side::A);
    assert!((99_000..=101_000).contains(&counters.round_trip_us), "{}", counters.round_trip_us);
    assert_eq!((counters.reported_lost, counters.rtcp_received), (3, 1));

    rig.sound(Side::A, 9, 1).unwrap();
    rig.sound(Side::B, 8, 2).unwrap();
    rig.run(8000);
    rig.reports.retain(|report| report.0 == Side::A);
    rig.reports.remove(0);
    let block = rig.reports_to(Side::A)[0].1[0];
    assert_eq!(block.last_report, 77);
    let sent = rtcp::packets(&rig.reports[0].3).next().unwrap().sender.unwrap().ntp;
    assert_eq!(block.since_report, ((sent - heard) >> 16) as u32);
}

#[test]
fn impossible_reports_are_no_round_trip() {
    let mut rig = Rig::new(|_| ());
    rig.run(4000);
    let ssrc = rtcp::packets(&rig.reports[0].3).next().unwrap().ssrc;
    for (last_report, since_report) in [(0, 0), (rig.now.short_ntp(), 65_536), (u32::MAX, u32::MAX)] {
        let block = Block { ssrc, last_report, since_report, lost: -5, ..Block::default() };
        rig.rtcp(Side::A, Writer::report(9, None, Some(block)).octets());
        assert_eq!((rig.counters(Side::A).round_trip_us, rig.counters(Side::A).reported_lost), (0, 0));
    }
    rig.rtcp(Side::A, b"nonsense");
    assert_eq!((rig.counters(Side::A).rtcp_received, rig.counters(Side::A).malformed), (3, 1));
}

#[test]
fn rtp_and_rtcp_can_share_a_port() {
    let mut rig = Rig::new(|[a, _]| addresses(a).rtcp = addresses(a).rtp);
    assert_eq!(rig.rtp(Side::A, Writer::report(9, None, None).octets()), None);
    assert_eq!(rig.counters(Side::A).rtcp_received, 1);
    rig.run(4000);
    let report = rig.reports.iter().find(|report| report.0 == Side::A).unwrap();
    assert_eq!((report.1, report.2), (Channel::Rtp, address(5000)));
}

#[test]
fn reports_are_sealed_where_sound_is() {
    let mut rig = Rig::new(|[a, _]| a.srtp = Some(Srtp { send: keys(1), receive: keys(2) }));
    rig.run(4000);
    let mut octets = rig.reports.iter().find(|report| report.0 == Side::A).unwrap().3.clone();
    let mut peer = crate::media::srtp::Inbound::new(&keys(1));
    let length = peer.rtcp(&mut octets).unwrap();
    assert_eq!(rtcp::packets(&octets[..length]).count(), 2, "report and name");
    rig.rtcp(Side::A, Writer::report(9, None, None).octets());
    assert_eq!(rig.counters(Side::A).rtcp_received, 0, "in the clear it proves nothing");
}

#[test]
fn events_of_one_timestamp_are_no_jitter() {
    let mut rig = Rig::new(|_| ());
    for sequence in 1..50u16 {
        rig.sound(Side::A, 9, sequence).unwrap();
        rig.wait(20);
    }
    for sequence in 50..60u16 {
        let mut event = packet(101, 9, sequence, &[1, 10, 0, 160]);
        event[4..8].copy_from_slice(&[0, 0, 31, 64]);
        rig.rtp(Side::A, &event).unwrap();
        rig.wait(20);
    }
    assert_eq!(rig.counters(Side::A).jitter_us, 0);
}

fn silences(rig: &Rig) -> Vec<(Side, u64)> {
    rig.told
        .iter()
        .filter_map(|report| match report {
            MediaReport::Silent(_, side, silence) => Some((*side, silence.as_secs())),
            _ => None,
        })
        .collect()
}

#[test]
fn silence_is_reported_once_and_again_after_a_sign_of_life() {
    let limit = Duration::from_secs(30);
    let mut rig = Rig::new(|[a, _]| a.watch = Some(Watch { limit }));
    rig.run(20_000);
    rig.rtcp(Side::A, Writer::report(9, None, None).octets());
    rig.run(29_000);
    assert_eq!(silences(&rig), [], "a report is a sign of life");
    rig.run(100_000);
    assert_eq!(silences(&rig), [(Side::A, 30)]);
    rig.sound(Side::A, 9, 1);
    rig.run(100_000);
    assert_eq!(silences(&rig), [(Side::A, 30), (Side::A, 30)]);
}

#[test]
fn a_stranger_is_no_sign_of_life_and_a_hold_stops_the_watch() {
    let limit = Duration::from_secs(30);
    let mut rig = Rig::new(|[a, _]| a.watch = Some(Watch { limit }));
    rig.run(20_000);
    rig.rtp_from(address(9), Side::A, &packet(0, 9, 1, &[1]));
    rig.change(Side::A, |a| a.watch = None);
    rig.run(60_000);
    rig.change(Side::A, |a| a.watch = Some(Watch { limit }));
    rig.run(29_000);
    assert_eq!(silences(&rig), []);
    rig.run(2_000);
    assert_eq!(silences(&rig), [(Side::A, 30)]);
}

#[test]
fn counters_come_every_five_seconds() {
    let mut rig = Rig::new(|_| ());
    rig.run(61_000);
    let counted = rig.told.iter().filter(|report| matches!(report, MediaReport::Counted(SessionId(7), _)));
    assert_eq!(counted.count(), 12);
}

#[test]
fn the_end_is_a_goodbye_to_both_and_the_last_counters() {
    let mut rig = Rig::new(|_| ());
    rig.sound(Side::A, 9, 1).unwrap();
    let (mut goodbyes, mut told) = (Vec::new(), Vec::new());
    rig.bridge.close(rig.now, |output| match output {
        Output::Send(side, _, _, octets) => goodbyes.push((side, octets.to_vec())),
        Output::Report(report) => told.push(report),
    });
    for (side, octets) in &goodbyes {
        let parsed: Vec<_> = rtcp_types::Compound::parse(octets).unwrap().flatten().collect();
        assert!(matches!(parsed[..], [_, _, rtcp_types::Packet::Bye(_)]), "{side:?}");
    }
    assert_eq!(goodbyes.len(), 2);
    let [MediaReport::Closed(SessionId(7), [a, b])] = told[..] else { panic!("{told:?}") };
    assert_eq!((a.received, b.sent, b.received, b.rtcp_sent), (1, 1, 0, 1));
}

/// A feedback packet alone (RFC 5506), then a report whose tail is Microsoft's: a known field and an unknown one.
#[test]
fn reduced_reports_are_taken_and_unknown_tails_skipped() {
    let mut rig = Rig::new(|_| ());
    rig.sound(Side::B, 8, 1).unwrap();
    rig.run(4000);
    let ssrc = rtcp::packets(&rig.reports.iter().find(|report| report.0 == Side::A).unwrap().3).next().unwrap().ssrc;
    let feedback = [[0x81, 205, 0, 3], [0, 0, 0, 9], ssrc.to_be_bytes(), [0, 1, 0, 0]].concat();
    rig.rtcp(Side::A, &feedback);
    assert_eq!((rig.counters(Side::A).rtcp_received, rig.counters(Side::A).malformed), (1, 0));
    let block = Block { ssrc, lost: 4, ..Block::default() };
    let theirs = Sender { ntp: 77 << 16, timestamp: 0, packets: 0, octets: 0 };
    let mut report = Writer::report(9, Some(theirs), Some(block)).octets().to_vec();
    report.extend([0x00, 0x06, 0x00, 0x08, 0, 0, 0, 0, 0x7f, 0xff, 0x00, 0x08, 1, 2, 3, 4]);
    report[3] += 4;
    rig.rtcp(Side::A, &report);
    assert_eq!((rig.counters(Side::A).rtcp_received, rig.counters(Side::A).reported_lost), (2, 4));
}

#[test]
fn a_block_answers_only_the_reports_of_its_own_source() {
    let mut rig = Rig::new(|_| ());
    let theirs = Sender { ntp: 77 << 16, timestamp: 0, packets: 1, octets: 160 };
    rig.rtcp(Side::A, Writer::report(9, Some(theirs), None).octets());
    rig.sound(Side::A, 10, 1).unwrap();
    rig.run(4000);
    let block = rig.reports_to(Side::A)[0].1[0];
    assert_eq!((block.ssrc, block.last_report, block.since_report), (10, 0, 0));
}

#[test]
fn jitter_is_reported_in_units_of_the_codec() {
    let mut rig = Rig::new(|[a, b]| {
        for stream in [a, b] {
            (stream.codec, stream.payload_type) = (Codec::Opus, 111);
        }
    });
    for sequence in 0..200u32 {
        let mut octets = packet(111, 9, sequence as u16, &[1; 40]);
        octets[4..8].copy_from_slice(&(sequence * 960).to_be_bytes());
        rig.rtp(Side::A, &octets).unwrap();
        rig.wait(if sequence % 2 == 0 { 24 } else { 16 });
    }
    rig.run(4000);
    let block = rig.reports_to(Side::A)[0].1[0];
    assert!((180..=200).contains(&block.jitter), "4 ms are 192 units of 48 kHz, not {}", block.jitter);
    assert!((3700..=4200).contains(&rig.counters(Side::A).jitter_us), "{}", rig.counters(Side::A).jitter_us);
}

#[test]
fn each_way_of_a_leg_is_scored() {
    let mut rig = Rig::new(|_| ());
    assert_eq!((rig.counters(Side::A).mos_received, rig.counters(Side::A).mos_sent), (None, None));
    for sequence in 0..1000 {
        if sequence % 20 != 7 {
            rig.sound(Side::A, 9, sequence);
        }
        rig.sound(Side::B, 8, sequence).unwrap();
        rig.wait(20);
    }
    rig.run(4000);
    let [a, b] = Side::BOTH.map(|side| rig.counters(side));
    let (heard, clean) = (a.mos_received.unwrap().score(), b.mos_received.unwrap().score());
    // 5 % at random, concealed: R = 93.2 - 95 * 5 / 30.1.
    assert!((clean, a.mos_sent) == (4.41, None) && (heard - 3.92).abs() < 0.01, "{heard} {clean}");
    let ssrc = rtcp::packets(&rig.reports.iter().find(|report| report.0 == Side::A).unwrap().3).next().unwrap().ssrc;
    let block = Block { ssrc, lost: 100, ..Block::default() };
    rig.rtcp(Side::A, Writer::report(9, None, Some(block)).octets());
    let there = rig.counters(Side::A).mos_sent.unwrap().score();
    assert!((there - 3.41).abs() < 0.02, "a tenth lost: {there}");
}

#[test]
fn sound_waits_where_it_is_put_in_order_and_nowhere_else() {
    let wait = |to: Codec| {
        let mut rig = Rig::new(|[_, b]| (b.codec, b.payload_type) = (to, to.payload_type()));
        for pair in 0..100 {
            rig.wait(30);
            rig.sound(Side::A, 9, 2 * pair + 1);
            rig.wait(10);
            rig.sound(Side::A, 9, 2 * pair);
        }
        rig.bridge.ways[0].wait(rig.now.at)
    };
    assert_eq!(wait(Codec::Pcmu), Duration::ZERO);
    assert_eq!(wait(Codec::Pcma), Duration::ZERO);
    assert!(wait(Codec::G722) > Duration::from_millis(2), "{:?}", wait(Codec::G722));
}
