//! Whatever comes, from whomever, in whatever order: no panic, and nothing of a stranger's is heard.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::tests::{PATIENCE, Rig, address, keys, stream};
use super::*;
use crate::media::clock::Moment;
use crate::session::{Codec, Digits, Direction, Sound, Srtp, Stream, TelephoneEvent};
use crate::tone::SPECIAL_INFORMATION;
use crate::wire::rtp::Header;

#[test]
fn no_datagram_makes_it_panic() {
    let srtp = Srtp { send: keys(1), receive: keys(2) };
    bolero::check!().for_each(|octets: &[u8]| {
        let octets = &octets[..octets.len().min(1900)];
        let mut plain = Rig::new(|[_, b]| b.srtp = Some(srtp));
        plain.rtp(Side::A, octets);
        plain.rtcp(Side::A, octets);
        plain.rtp(Side::B, octets);
        plain.rtcp(Side::B, octets);
        assert_eq!(plain.counters(Side::B).received + plain.counters(Side::B).rtcp_received, 0);
    });
}

/// What may happen to a call's media.
#[derive(Clone, Debug, bolero::TypeGenerator)]
enum Step {
    /// Signalling wants this of a side: codec, direction, packet time, ways of digits and pauses, keys.
    Agree { b: bool, codec: u8, direction: u8, ptime: u8, events: Option<u8>, noise: bool, keys: bool },
    /// Signalling wants this side to hear something.
    Play { b: bool, what: u8 },
    /// An RTP packet with any header and as many octets of one value.
    Rtp { b: bool, stranger: bool, number: u8, sequence: u16, timestamp: u32, ssrc: u8, octets: u16, value: u8 },
    /// The packet that follows the last one of this side.
    Next { b: bool, octets: u8, value: u8 },
    /// Anything at all.
    Octets { b: bool, rtcp: bool, stranger: bool, octets: Vec<u8> },
    /// Time passes, in milliseconds.
    Wait(u8),
}

/// Tells where what is said goes, and that nobody else's datagram makes it say anything.
struct Judge {
    bridge: Bridge,
    random: Random,
    now: Moment,
    session: Session,
    last: [(u16, u32); 2],
}

impl Judge {
    fn new() -> Judge {
        let mut random = Random::test(1);
        let bridge = Bridge::new(SessionId(1), PATIENCE, &mut random, Instant::START);
        let session = Session { sides: Side::BOTH.map(|side| Some(stream(side))), ..Session::default() };
        Judge { bridge, random, now: Moment { at: Instant::START, ntp: 1 << 63 }, session, last: [(0, 0); 2] }
    }

    fn stream(&mut self, side: Side) -> &mut Stream {
        self.session.sides[side.index()].get_or_insert_with(|| stream(side))
    }

    fn step(&mut self, step: &Step) {
        let side_of = |b: bool| if b { Side::B } else { Side::A };
        match step {
            Step::Agree { b, codec, direction, ptime, events, noise, keys: keyed } => {
                let stream = self.stream(side_of(*b));
                stream.codec = Codec::ALL[usize::from(codec % 4)];
                stream.payload_type = 96 + codec % 4;
                stream.direction = Direction::of(direction & 1 == 0, direction & 2 == 0);
                stream.ptime_ms = *ptime;
                let clock_rate = stream.codec.clock_rate();
                let numbered = |payload_type| Digits::Events(TelephoneEvent { payload_type, clock_rate });
                stream.digits = events.map_or(Digits::Tones, |number| numbered(number % 128));
                stream.comfort_noise = noise.then_some(13);
                stream.srtp = keyed.then(|| Srtp { send: keys(1), receive: keys(2) });
                self.bridge.apply(&self.session, self.now.at, &mut self.random);
            }
            Step::Play { b, what } => {
                let sound = Sound::new(vec![1000; 200], vec![1000; 400]).map(Arc::new).unwrap();
                self.session.plays[side_of(*b).index()] = match what % 4 {
                    0 => None,
                    1 => Some(Play::Tone(SPECIAL_INFORMATION)),
                    2 => Some(Play::Music(sound)),
                    _ => Some(Play::Announcement(sound)),
                };
                self.bridge.apply(&self.session, self.now.at, &mut self.random);
            }
            Step::Rtp { b, stranger, number, sequence, timestamp, ssrc, octets, value } => {
                let (side, ssrc) = (side_of(*b), u32::from(*ssrc));
                self.rtp(
                    side,
                    *stranger,
                    *number,
                    (*sequence, *timestamp, ssrc),
                    &vec![*value; usize::from(octets % 1700)],
                );
            }
            Step::Next { b, octets, value } => {
                let side = side_of(*b);
                let (sequence, timestamp) = self.last[side.index()];
                let (number, clock) = (self.stream(side).payload_type, self.stream(side).codec.clock_rate());
                let place = (sequence.wrapping_add(1), timestamp.wrapping_add(clock / 50), 7);
                self.rtp(side, false, number, place, &vec![*value; usize::from(*octets)]);
            }
            Step::Octets { b, rtcp, stranger, octets } => {
                let channel = if *rtcp { Channel::Rtcp } else { Channel::Rtp };
                self.datagram(side_of(*b), channel, *stranger, &octets[..octets.len().min(1900)]);
            }
            Step::Wait(milliseconds) => {
                let step = Duration::from_millis(u64::from(*milliseconds));
                self.now.at = self.now.at + step;
                let remotes = self.remotes();
                self.bridge.tick(self.now, 0, &mut self.random, |output| check(&output, &remotes));
            }
        }
        assert!(self.bridge.due() <= self.now.at + Duration::from_secs(60), "it looks after the peers");
    }

    fn rtp(&mut self, side: Side, stranger: bool, number: u8, place: (u16, u32, u32), payload: &[u8]) {
        let (sequence, timestamp, ssrc) = place;
        let payload_type = number % 128;
        let header =
            Header { marker: number > 127, payload_type, sequence, timestamp, ssrc, length: 12, padded: false };
        self.datagram(side, Channel::Rtp, stranger, &[&header.write()[..], payload].concat());
        self.last[side.index()] = (sequence, timestamp);
    }

    fn datagram(&mut self, side: Side, channel: Channel, stranger: bool, octets: &[u8]) {
        let remotes = self.remotes();
        let own = remotes[side.index()].map_or(address(1), |remote| match channel {
            Channel::Rtp => remote.0,
            Channel::Rtcp => remote.1,
        });
        let from = if stranger { address(666) } else { own };
        let mut buffer = [0; BUFFER];
        buffer[..octets.len()].copy_from_slice(octets);
        let datagram = Datagram { from, buffer: &mut buffer, length: octets.len() };
        let mut said = 0;
        let mut sink = |output: Output<'_>| {
            check(&output, &remotes);
            said += 1;
        };
        let passed = match channel {
            Channel::Rtp => self.bridge.rtp(side, datagram, self.now, &mut sink),
            Channel::Rtcp => {
                self.bridge.rtcp(side, datagram, self.now, &mut sink);
                None
            }
        };
        if let Some(outgoing) = passed {
            assert!(
                Some(outgoing.to) == remotes[side.other().index()].map(|remote| remote.0)
                    && outgoing.octets.end <= BUFFER
            );
            said += 1;
        }
        assert!(said == 0 || !stranger, "a stranger is heard");
    }

    fn remotes(&self) -> [Option<(SocketAddr, SocketAddr)>; 2] {
        self.session.sides.each_ref().map(|stream| stream.as_ref()?.remote.addresses().map(|at| (at.rtp, at.rtcp)))
    }
}

/// Everything goes to the peer of its side.
fn check(output: &Output<'_>, remotes: &[Option<(SocketAddr, SocketAddr)>; 2]) {
    if let Output::Send(side, channel, to, octets) = output {
        let remote = remotes[side.index()].map(|remote| if *channel == Channel::Rtp { remote.0 } else { remote.1 });
        assert_eq!(Some(*to), remote);
        assert!((12..=1500).contains(&octets.len()) || *channel == Channel::Rtcp, "{} octets", octets.len());
    }
}

#[test]
fn nothing_that_happens_to_a_leg_makes_it_panic_or_lets_a_stranger_in() {
    bolero::check!().with_type().with_iterations(3000).for_each(|steps: &Vec<Step>| {
        let mut judge = Judge::new();
        judge.bridge.apply(&judge.session, judge.now.at, &mut judge.random);
        steps.iter().take(60).for_each(|step| judge.step(step));
        judge.bridge.close(judge.now, |_| ());
    });
}
