//! A peer that checks the ways to us (ICE), beside one that signalling names.
//!
//! ```text
//! the peer           side A                 side B
//!   | --- check --->  |                       |
//!   | <-- answer ---- |                       |
//!   | --- nominate -> |                       |
//!   | <-- answer ---- |                       |
//!   | <=== sound, RTCP, where nominated ===>  |
//! ```

use std::net::SocketAddr;
use std::time::Duration;

use super::tests::{PATIENCE, addresses, packet, stream};
use super::*;
use crate::media::clock::Moment;
use crate::private::Secret;
use crate::session::{Credentials, Direction, Ice, Stream, Watch};
use crate::wire::rtcp::Writer as Report;
use crate::wire::stun::{Class, Key, Message, Writer};

const PASSWORD: &str = "a password of ours, long";

fn named(session: &Session, side: Side) -> SocketAddr {
    session.sides[side.index()].as_ref().unwrap().remote.addresses().unwrap().rtp
}

fn ice(generation: u8) -> Ice {
    let end = |name: &str| Credentials {
        fragment: format!("{name}{generation}"),
        password: Secret(format!("{PASSWORD} {generation}")),
    };
    Ice { local: end("ours"), remote: end("theirs") }
}

/// What left a port of ours: the side, the port, where to, what.
type Sent = (Side, Channel, SocketAddr, Vec<u8>);

struct Rig {
    bridge: Bridge,
    session: Session,
    random: Random,
    now: Moment,
    told: Vec<MediaReport>,
}

impl Rig {
    /// Side A checks; `change` is made to its stream.
    fn new(change: impl FnOnce(&mut Stream)) -> Rig {
        let mut random = Random::test(1);
        let bridge = Bridge::new(SessionId(7), PATIENCE, &mut random, Instant::START);
        let mut session = Session { sides: Side::BOTH.map(|side| Some(stream(side))), ..Session::default() };
        let now = Moment { at: Instant::START, ntp: 1 << 63 };
        let checking = session.sides[0].as_mut().unwrap();
        checking.ice = Some(Box::new(ice(1)));
        addresses(checking).rtcp = addresses(checking).rtp;
        change(checking);
        let mut rig = Rig { bridge, session, random, now, told: Vec::new() };
        rig.apply(|_| ());
        rig
    }

    fn apply(&mut self, change: impl FnOnce(&mut Stream)) {
        change(self.session.sides[0].as_mut().unwrap());
        self.bridge.apply(&self.session, self.now.at, &mut self.random);
    }

    fn datagram(&mut self, side: Side, channel: Channel, from: SocketAddr, octets: &[u8]) -> Vec<Sent> {
        let mut buffer = [0; BUFFER];
        buffer[..octets.len()].copy_from_slice(octets);
        let datagram = Datagram { from, buffer: &mut buffer, length: octets.len() };
        let mut sent = Vec::new();
        let mut sink = |output: Output<'_>| match output {
            Output::Send(side, channel, to, octets) => sent.push((side, channel, to, octets.to_vec())),
            Output::Report(report) => panic!("{report:?}"),
        };
        let passed = match channel {
            Channel::Rtp => self.bridge.rtp(side, datagram, self.now, &mut sink),
            Channel::Rtcp => {
                self.bridge.rtcp(side, datagram, self.now, &mut sink);
                None
            }
        };
        sent.extend(passed.map(|out| (side.other(), Channel::Rtp, out.to, buffer[out.octets].to_vec())));
        sent
    }

    /// A check from an address of the peer's: the answer's error, if it is one.
    fn check(&mut self, channel: Channel, from: SocketAddr, ice: &Ice, nominates: bool) -> Option<u16> {
        let key = Key::new(&ice.local.password.0);
        let mut octets = [0; 200];
        let username = format!("{}:{}", ice.local.fragment, ice.remote.fragment);
        let request = Writer::new(&mut octets, Class::Request, &[7; 12]).username(&username).priority(1);
        let request = if nominates { request.nominating() } else { request };
        let length = request.integrity(&key).finish().unwrap();
        let sent = self.datagram(Side::A, channel, from, &octets[..length]);
        let [(Side::A, through, to, answer)] = &sent[..] else { panic!("{sent:?}") };
        assert_eq!((*through, *to), (channel, from), "back on the same way");
        let answer = Message::read(answer).unwrap();
        assert!(answer.error().is_some() || answer.mapped() == Some(from));
        answer.error()
    }

    /// A packet of sound into side A: how many went on to side B.
    fn heard(&mut self, from: SocketAddr, sequence: u16) -> usize {
        self.datagram(Side::A, Channel::Rtp, from, &packet(0, 9, sequence, &[1; 160])).len()
    }

    /// Where a packet of sound from side B goes.
    fn goes(&mut self, sequence: u16) -> Option<SocketAddr> {
        let from = named(&self.session, Side::B);
        self.datagram(Side::B, Channel::Rtp, from, &packet(0, 8, sequence, &[1; 160])).first().map(|sent| sent.2)
    }

    /// Where reports to side A went in the next while.
    fn reports(&mut self, seconds: u64) -> Vec<(Channel, SocketAddr)> {
        let (mut reports, end) = (Vec::new(), self.now.at + Duration::from_secs(seconds));
        while self.bridge.due() <= end {
            self.now.at = self.bridge.due();
            self.bridge.tick(self.now, 0, &mut self.random, |output| match output {
                Output::Send(Side::A, channel, to, _) => reports.push((channel, to)),
                Output::Report(report @ MediaReport::Silent(..)) => self.told.push(report),
                _ => {}
            });
        }
        self.now.at = end;
        reports
    }

    fn counters(&self) -> Counters {
        self.bridge.counters(self.now.at)[0]
    }
}

fn at(port: u16) -> SocketAddr {
    ([198, 51, 100, 7], port).into()
}

#[test]
fn media_flows_once_a_way_is_checked_and_goes_where_it_is_nominated() {
    let mut rig = Rig::new(|_| ());
    let named = named(&rig.session, Side::A);
    assert_eq!((rig.heard(named, 1), rig.goes(1)), (0, None), "signalling's address is nobody's");
    assert_eq!((rig.counters().unchecked, rig.counters().stranger), (1, 0));
    assert_eq!(rig.check(Channel::Rtp, at(1), &ice(1), false), None);
    assert_eq!((rig.heard(at(1), 2), rig.goes(2)), (1, Some(at(1))));
    assert_eq!(rig.check(Channel::Rtp, at(2), &ice(1), true), None);
    assert_eq!((rig.heard(at(2), 3), rig.goes(3)), (1, Some(at(2))));
    assert_eq!(rig.heard(named, 4), 0);
    assert_eq!((rig.counters().received, rig.counters().stranger, rig.counters().malformed), (2, 1, 0));
    assert!(rig.reports(20).iter().all(|sent| *sent == (Channel::Rtp, at(2))), "RTCP shares the way");
}

#[test]
fn reports_have_a_way_of_their_own_when_they_have_a_port() {
    let mut rig = Rig::new(|a| addresses(a).rtcp.set_port(9));
    rig.check(Channel::Rtp, at(1), &ice(1), true);
    assert_eq!(rig.reports(20), []);
    let report = Report::report(9, None, None);
    assert!(rig.datagram(Side::A, Channel::Rtcp, at(1), report.octets()).is_empty());
    assert_eq!((rig.counters().rtcp_received, rig.counters().unchecked), (0, 1));
    rig.check(Channel::Rtcp, at(2), &ice(1), true);
    rig.datagram(Side::A, Channel::Rtcp, at(2), report.octets());
    assert_eq!(rig.counters().rtcp_received, 1);
    let sent = rig.reports(20);
    assert!(!sent.is_empty() && sent.iter().all(|sent| *sent == (Channel::Rtcp, at(2))), "{sent:?}");
}

#[test]
fn a_restart_does_not_interrupt_the_sound() {
    let mut rig = Rig::new(|_| ());
    rig.check(Channel::Rtp, at(1), &ice(1), true);
    assert_eq!((rig.heard(at(1), 1), rig.goes(1)), (1, Some(at(1))));
    rig.apply(|a| a.ice = Some(Box::new(ice(2))));
    assert_eq!((rig.heard(at(1), 2), rig.goes(2)), (1, Some(at(1))));
    assert_eq!(rig.check(Channel::Rtp, at(2), &ice(2), false), None);
    assert_eq!((rig.heard(at(1), 3), rig.heard(at(2), 4), rig.goes(3)), (1, 1, Some(at(1))));
    assert_eq!(rig.check(Channel::Rtp, at(2), &ice(2), true), None);
    assert_eq!((rig.heard(at(1), 5), rig.heard(at(2), 6), rig.goes(4)), (0, 1, Some(at(2))));
    assert_eq!(rig.check(Channel::Rtp, at(1), &ice(1), true), Some(401));
    assert_eq!((rig.goes(5), rig.counters().unproven), (Some(at(2)), 1));
}

/// A peer on hold sends nothing but checks, and ends the call when they are not answered.
#[test]
fn a_long_hold_lives_on_its_checks() {
    let limit = Duration::from_secs(30);
    let mut rig = Rig::new(|a| a.watch = Some(Watch { limit }));
    rig.check(Channel::Rtp, at(1), &ice(1), true);
    rig.apply(|a| a.direction = Direction::Inactive);
    for _ in 0..20 {
        assert_eq!(rig.check(Channel::Rtp, at(1), &ice(1), false), None);
        rig.reports(5);
    }
    assert_eq!(rig.told, [], "what is proven by a check is a sign of life");
    rig.apply(|a| a.direction = Direction::SendRecv);
    assert_eq!((rig.heard(at(1), 1), rig.goes(1)), (1, Some(at(1))));
    let mut stranger = ice(1);
    stranger.local.password = Secret("guessed".into());
    for _ in 0..7 {
        assert_eq!(rig.check(Channel::Rtp, at(3), &stranger, true), Some(401));
        rig.reports(5);
    }
    assert_eq!(rig.told, [MediaReport::Silent(SessionId(7), Side::A, limit)], "a stranger's check is none");
}

#[test]
fn a_flood_of_strangers_is_counted_and_moves_nothing() {
    let mut rig = Rig::new(|_| ());
    rig.check(Channel::Rtp, at(1), &ice(1), true);
    let mut guessed = ice(1);
    guessed.local.password = Secret("guessed".into());
    for port in 1000..2000 {
        assert_eq!(rig.check(Channel::Rtp, at(port), &guessed, true), Some(401));
        assert_eq!(rig.heard(at(port), 1), 0);
    }
    assert_eq!((rig.counters().unproven, rig.counters().stranger), (1000, 1000));
    assert_eq!((rig.heard(at(1), 1), rig.goes(1)), (1, Some(at(1))));
}

#[test]
fn checks_are_nothing_to_who_did_not_agree_on_them() {
    let mut rig = Rig::new(|a| a.ice = None);
    let mut octets = [0; 200];
    let length = Writer::new(&mut octets, Class::Request, &[7; 12]).username("ours1:theirs1").finish().unwrap();
    let named = named(&rig.session, Side::A);
    assert_eq!(rig.datagram(Side::A, Channel::Rtp, named, &octets[..length]), []);
    assert_eq!((rig.counters().malformed, rig.counters().unproven), (1, 0));
}

#[test]
fn no_datagram_makes_a_checked_side_panic_or_lets_it_in() {
    bolero::check!().for_each(|octets: &[u8]| {
        let mut rig = Rig::new(|_| ());
        for channel in [Channel::Rtp, Channel::Rtcp] {
            let sent = rig.datagram(Side::A, channel, at(1), &octets[..octets.len().min(1900)]);
            assert!(sent.iter().all(|(side, _, to, _)| (*side, *to) == (Side::A, at(1))));
        }
        assert_eq!((rig.goes(1), rig.counters().received + rig.counters().rtcp_received), (None, 0));
    });
}
