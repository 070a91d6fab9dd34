//! One side of a bridge: what comes from the peer, what goes to it, and what RTCP says of both.
//!
//! The way of a packet in: source address (proven by checks where ICE is agreed), header and payload type, SRTP, padding, statistics.
//! The way out: place in our stream, header, SRTP. A packet never leaves its buffer.

use std::net::SocketAddr;
use std::ops::Range;
use std::time::Duration;

use crate::media::clock::Moment;
use crate::media::echo::BLOCK;
use crate::media::ice::{Agent, Taken};
use crate::media::io::{BUFFER, Datagram};
use crate::media::packetize::Packet;
use crate::media::quality::{self, Loss, Path};
use crate::media::reception::{Arrival, Reception};
use crate::media::splice::{Position, Splice};
use crate::media::srtp::{self, Refusal};
use crate::media::tap::{Course, Tap, Tapped};
use crate::random::Random;
use crate::session::{Counters, Keys, Mos, Remote, Stream, Timeslot};
use crate::time::{Instant, soonest};
use crate::wire::rtcp::{self, Block, Sender};
use crate::wire::rtp::{FIXED_HEADER, Header, is_rtcp};
use crate::wire::{stun, telephone_event};

/// Mean time between two reports (RFC 3550 section 6.2: the fixed minimum).
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

/// Which of a side's two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// The even one.
    Rtp,
    /// The odd one.
    Rtcp,
}

/// What an agreed payload type stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Sound.
    Sound,
    /// Telephone-event (RFC 4733).
    Event,
    /// Comfort noise (RFC 3389).
    Noise,
}

/// Where a packet of our own making comes from: each counts its packets for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The other side's sound, transcoded.
    OtherSide,
    /// What we play ourselves.
    Ourselves,
}

/// A good RTP packet, still in its buffer.
#[derive(Clone, Debug)]
pub struct Heard {
    /// What it carries.
    pub kind: Kind,
    /// Its header as it came.
    pub header: Header,
    /// Where its decrypted payload lies.
    pub payload: Range<usize>,
    /// The first of its source.
    pub first: bool,
}

/// What goes out: these octets of the buffer, there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where the packet lies in its buffer.
    pub octets: Range<usize>,
    /// The peer.
    pub to: SocketAddr,
}

/// Why a datagram was dropped: a [`Counters`] field each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    Stranger,
    Unchecked,
    Unproven,
    Unauthentic,
    Replayed,
    Malformed,
}

impl From<Refusal> for Dropped {
    fn from(refusal: Refusal) -> Dropped {
        match refusal {
            Refusal::Short => Dropped::Malformed,
            Refusal::Unauthentic => Dropped::Unauthentic,
            Refusal::Replayed => Dropped::Replayed,
        }
    }
}

/// Where the peer is: as signalled, or as its first good packet said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Latch {
    address: SocketAddr,
    open: bool,
    /// A good packet came from there.
    met: bool,
}

impl Latch {
    fn admits(self, from: SocketAddr) -> bool {
        self.open || self.address == from
    }

    fn fix(&mut self, from: SocketAddr) {
        *self = Latch { address: from, open: false, met: true };
    }

    /// The address, unless it is the nowhere of an old style hold (RFC 3264 section 8.4).
    fn reachable(self) -> Option<SocketAddr> {
        Some(self.address).filter(|address| address.port() != 0 && !address.ip().is_unspecified())
    }
}

/// How it is known where the peer is.
enum Whereabouts {
    /// Signalling says so, of each port.
    Signalled([Latch; 2]),
    /// It checks the ways to us.
    Checked(Box<Agent>),
    /// On a timeslot: no packet comes from there or goes there.
    Timeslot,
}

impl Whereabouts {
    fn new(stream: &Stream) -> Whereabouts {
        let latch = |address| Latch { address, open: stream.latch, met: false };
        match (stream.remote, &stream.ice) {
            (Remote::Timeslot(_), _) => Whereabouts::Timeslot,
            (Remote::Rtp(_), Some(ice)) => Whereabouts::Checked(Box::new(Agent::new(ice))),
            (Remote::Rtp(at), None) => Whereabouts::Signalled([latch(at.rtp), latch(at.rtcp)]),
        }
    }

    /// Takes over from `before` what did not change: latched addresses, ways that were checked.
    fn keep(self, before: Whereabouts, old: &Stream, new: &Stream) -> Whereabouts {
        match (before, &new.ice) {
            (Whereabouts::Checked(agent), Some(ice)) => Whereabouts::Checked(Box::new(agent.renewed(ice))),
            (before @ Whereabouts::Signalled(_), None) if (old.remote, old.latch) == (new.remote, new.latch) => before,
            _ => self,
        }
    }

    fn admit(&self, channel: Channel, from: SocketAddr) -> Result<(), Dropped> {
        match self {
            Whereabouts::Signalled(latches) if latches[channel as usize].admits(from) => Ok(()),
            Whereabouts::Checked(agent) if agent.admits(channel, from) => Ok(()),
            Whereabouts::Checked(agent) if agent.destination(channel).is_none() => Err(Dropped::Unchecked),
            Whereabouts::Signalled(_) | Whereabouts::Checked(_) | Whereabouts::Timeslot => Err(Dropped::Stranger),
        }
    }

    /// A good packet came from there.
    fn fix(&mut self, channel: Channel, from: SocketAddr) {
        if let Whereabouts::Signalled(latches) = self {
            latches[channel as usize].fix(from);
        }
    }

    /// Where all that is admitted on the RTP port comes from, and all goes.
    fn settled(&self) -> Option<SocketAddr> {
        match self {
            Whereabouts::Signalled([rtp, _]) if rtp.met => rtp.reachable(),
            Whereabouts::Signalled(_) | Whereabouts::Checked(_) | Whereabouts::Timeslot => None,
        }
    }

    fn destination(&self, channel: Channel) -> Option<SocketAddr> {
        match self {
            Whereabouts::Signalled(latches) => latches[channel as usize].reachable(),
            Whereabouts::Checked(agent) => agent.destination(channel),
            Whereabouts::Timeslot => None,
        }
    }
}

/// What offer and answer agreed.
struct Agreed {
    stream: Stream,
    whereabouts: Whereabouts,
    inbound: Option<srtp::Inbound>,
    outbound: Option<srtp::Outbound>,
    /// A key of ours that gave way, and how far it was used: it may come back when one of several answers is taken.
    former: Option<Box<(Keys, srtp::Outbound)>>,
}

impl Agreed {
    fn new(stream: &Stream) -> Agreed {
        Agreed {
            whereabouts: Whereabouts::new(stream),
            inbound: stream.srtp.map(|srtp| srtp::Inbound::new(&srtp.receive)),
            outbound: stream.srtp.map(|srtp| srtp::Outbound::new(&srtp.send)),
            former: None,
            stream: stream.clone(),
        }
    }

    /// Takes over from `before` what did not change: where the peer was found, and the state of each key.
    fn keep(mut self, before: Agreed) -> Agreed {
        let (old, new) = (&before.stream, &self.stream);
        self.whereabouts = self.whereabouts.keep(before.whereabouts, old, new);
        // A mark names a key and is no part of it.
        if let Some((old, new)) = old.srtp.zip(new.srtp)
            && old.receive.marked(None) == new.receive.marked(None)
        {
            self.inbound = before.inbound.map(|inbound| inbound.marked(new.receive.mki()));
        }
        let used = old.srtp.map(|srtp| srtp.send.marked(None)).zip(before.outbound);
        let again = new.srtp.map(|srtp| srtp.send);
        for (keys, outbound) in used.into_iter().chain(before.former.map(|former| *former)) {
            match again {
                // A key that began anew would repeat its keystream.
                Some(again) if again.marked(None) == keys => self.outbound = Some(outbound.marked(again.mki())),
                _ => self.former = self.former.or(Some(Box::new((keys, outbound)))),
            }
        }
        self
    }

    /// Where RTCP goes: RTP's port when both share it (RFC 5761).
    fn rtcp_channel(&self) -> Channel {
        if self.is_muxed() { Channel::Rtp } else { Channel::Rtcp }
    }

    fn is_muxed(&self) -> bool {
        self.stream.remote.addresses().is_some_and(|at| at.rtp == at.rtcp)
    }

    fn events(&self) -> Option<u8> {
        self.stream.digits.events().map(|events| events.payload_type)
    }

    /// The peer's number for what we say; `None` when it does not know such a thing.
    fn number(&self, kind: Kind) -> Option<u8> {
        match kind {
            Kind::Sound => Some(self.stream.payload_type),
            Kind::Event => self.events(),
            Kind::Noise => self.stream.comfort_noise,
        }
    }

    fn kind(&self, payload_type: u8) -> Option<Kind> {
        match Some(payload_type) {
            agreed if agreed == self.events() => Some(Kind::Event),
            agreed if agreed == self.stream.comfort_noise => Some(Kind::Noise),
            _ => (payload_type == self.stream.payload_type).then_some(Kind::Sound),
        }
    }
}

/// What our next block says of a sender report of the peer's.
#[derive(Clone, Copy, Debug)]
struct SenderReport {
    ssrc: u32,
    short_ntp: u32,
    came: Moment,
}

/// One side.
pub struct Peer {
    agreed: Option<Agreed>,
    reception: Reception,
    splice: Splice,
    /// Ours, for the life of the session.
    ssrc: u32,
    name: [u8; 16],
    packets: u32,
    octets: u32,
    /// `packets` at the last report and the one before.
    reported: [u32; 2],
    /// The peer's last sender report.
    report: Option<SenderReport>,
    /// The jitter that the peer last reported of what we sent, in units of our timestamps.
    reported_jitter: Option<u32>,
    report_due: Option<Instant>,
    alive: Instant,
    silent: bool,
    /// Of a hundred packets of ours, by the peer's last report.
    loss: u8,
    counters: Counters,
    tap: Option<Box<Tap>>,
}

impl Peer {
    /// Nothing agreed, nothing heard.
    pub fn new(random: &mut Random) -> Peer {
        let name = random.octets::<16>().map(|octet| b"0123456789abcdef"[usize::from(octet & 15)]);
        Peer {
            agreed: None,
            reception: Reception::default(),
            splice: Splice::new(random.u64() as u16, random.u64() as u32),
            // The range that Microsoft's x-ssrc-range allows.
            ssrc: 1 + random.below(0xffff_ff00) as u32,
            name,
            packets: 0,
            octets: 0,
            reported: [0; 2],
            report: None,
            reported_jitter: None,
            report_due: None,
            alive: Instant::START,
            silent: false,
            loss: 0,
            counters: Counters::default(),
            tap: None,
        }
    }

    /// A packet will come from it soon.
    pub fn fetch_inbound(&self) {
        self.agreed.iter().flat_map(|agreed| &agreed.inbound).for_each(srtp::Inbound::fetch);
    }

    /// A packet will go to it soon.
    pub fn fetch_outbound(&self) {
        self.agreed.iter().flat_map(|agreed| &agreed.outbound).for_each(srtp::Outbound::fetch);
    }

    /// From now on, what comes from the peer and what goes to it passes by this tap.
    pub fn tap(&mut self, tap: Box<Tap>) {
        self.tap = Some(tap);
    }

    /// What is agreed, if anything.
    pub fn stream(&self) -> Option<&Stream> {
        self.agreed.as_ref().map(|agreed| &agreed.stream)
    }

    /// What is done on its timeslot, if it is on one.
    pub fn timeslot(&self) -> Option<Timeslot> {
        match self.stream()?.remote {
            Remote::Timeslot(timeslot) => Some(timeslot),
            Remote::Rtp(_) => None,
        }
    }

    /// From now on, this.
    pub fn apply(&mut self, stream: Option<&Stream>, now: Instant, random: &mut Random) {
        let before = self.agreed.take();
        let watched = before.as_ref().map(|before| (before.stream.watch, before.stream.remote));
        if stream.map(|stream| (stream.watch, stream.remote)) != watched {
            (self.alive, self.silent) = (now, false);
        }
        if let Some(stream) = stream {
            self.splice.count_at(stream.codec.clock_rate());
            self.reception.count_at(stream.codec.clock_rate());
        }
        self.agreed = stream.map(|stream| match before {
            None => Agreed::new(stream),
            Some(before) => Agreed::new(stream).keep(before),
        });
        let packets = self.timeslot().is_none();
        self.report_due = match (&self.agreed, self.report_due) {
            (None, _) => None,
            (Some(_), _) if !packets => None,
            (Some(_), None) => Some(now + about(REPORT_INTERVAL / 2, random)),
            (Some(_), due) => due,
        };
    }

    /// Where all that is admitted on the RTP port comes from, and all goes, once it was met there.
    pub fn settled(&self) -> Option<SocketAddr> {
        self.agreed.as_ref()?.whereabouts.settled()
    }

    /// Whatever comes from the other side next is not the continuation of what came before.
    pub fn cut(&mut self) {
        self.splice.cut();
    }

    /// Is this a check of the peer's (RFC 7983), and no media?
    pub fn is_check(&self, datagram: &Datagram<'_>) -> bool {
        let checks = |agreed: &Agreed| matches!(agreed.whereabouts, Whereabouts::Checked(_));
        stun::is_stun(&datagram.buffer[..datagram.length]) && self.agreed.as_ref().is_some_and(checks)
    }

    /// Takes a check; the answer to it, to leave from the port where it came.
    pub fn check(&mut self, channel: Channel, datagram: &mut Datagram<'_>, now: Instant) -> Option<Outgoing> {
        let Whereabouts::Checked(agent) = &mut self.agreed.as_mut()?.whereabouts else { return None };
        let octets = match agent.take(channel, datagram.from, datagram.buffer, datagram.length, now) {
            Taken::Kept => return None,
            Taken::Proven(octets) => {
                self.hear(now);
                Some(octets)
            }
            Taken::Refused(octets) => {
                self.count(Dropped::Unproven);
                octets
            }
        };
        octets.map(|octets| Outgoing { octets, to: datagram.from })
    }

    /// Takes a datagram from the RTP port; the packet in it when it may be relayed.
    pub fn rtp(&mut self, datagram: &mut Datagram<'_>, now: Moment) -> Option<Heard> {
        let muxed = self.agreed.as_ref().is_some_and(Agreed::is_muxed);
        if muxed && is_rtcp(&datagram.buffer[..datagram.length]) {
            self.rtcp(datagram, now);
            return None;
        }
        match self.take_rtp(datagram, now.at) {
            Ok(heard) => {
                if let Some(Heard { kind, header, payload, first }) = &heard {
                    let place = Position { sequence: header.sequence, timestamp: header.timestamp, first: *first };
                    let payload = datagram.buffer.get(payload.clone()).unwrap_or_default();
                    self.record(Course::Received, *kind, place, payload, now.at);
                }
                heard
            }
            Err(dropped) => {
                self.count(dropped);
                None
            }
        }
    }

    fn take_rtp(&mut self, datagram: &mut Datagram<'_>, now: Instant) -> Result<Option<Heard>, Dropped> {
        let agreed = self.agreed.as_mut().ok_or(Dropped::Stranger)?;
        agreed.whereabouts.admit(Channel::Rtp, datagram.from)?;
        let packet = &mut datagram.buffer[..datagram.length];
        let header = Header::read(packet).ok_or(Dropped::Malformed)?;
        let kind = agreed.kind(header.payload_type).ok_or(Dropped::Malformed)?;
        let length = match &mut agreed.inbound {
            None => packet.len(),
            Some(inbound) => inbound.rtp(&header, packet)?,
        };
        let payload = header.payload(&packet[..length]).ok_or(Dropped::Malformed)?;
        if kind == Kind::Event && payload.len() < telephone_event::LENGTH {
            return Err(Dropped::Malformed);
        }
        agreed.whereabouts.fix(Channel::Rtp, datagram.from);
        self.hear(now);
        let arrival = self.reception.packet(header.ssrc, header.sequence);
        if arrival == Arrival::Doubtful {
            return Ok(None);
        }
        if kind == Kind::Sound {
            self.reception.timing(header.timestamp, now);
        }
        self.counters.received += 1;
        Ok(Some(Heard { kind, header, payload, first: arrival == Arrival::First }))
    }

    /// A packet passes by the tap, if there is one.
    fn record(&mut self, course: Course, kind: Kind, place: Position, payload: &[u8], now: Instant) {
        if let Some((tap, agreed)) = self.tap.as_mut().zip(self.agreed.as_ref()) {
            tap.pass(Tapped { course, codec: agreed.stream.codec, kind, place, at: now }, payload);
        }
    }

    /// A block passes on its timeslot: what it said and what it heard. The first is the first of its line.
    pub fn overhear(&mut self, number: u32, said: &[u8; BLOCK], heard: &[u8; BLOCK], now: Instant) {
        let place =
            Position { sequence: number as u16, timestamp: number.wrapping_mul(BLOCK as u32), first: number == 0 };
        self.record(Course::Received, Kind::Sound, place, said, now);
        self.record(Course::Sent, Kind::Sound, place, heard, now);
    }

    /// Takes a datagram of RTCP.
    pub fn rtcp(&mut self, datagram: &mut Datagram<'_>, now: Moment) {
        match self.take_rtcp(datagram) {
            Ok(length) => self.read_reports(&datagram.buffer[..length], now),
            Err(dropped) => self.count(dropped),
        }
    }

    fn take_rtcp(&mut self, datagram: &mut Datagram<'_>) -> Result<usize, Dropped> {
        let agreed = self.agreed.as_mut().ok_or(Dropped::Stranger)?;
        let channel = agreed.rtcp_channel();
        agreed.whereabouts.admit(channel, datagram.from)?;
        let packet = &mut datagram.buffer[..datagram.length];
        let length = match &mut agreed.inbound {
            None => packet.len(),
            Some(inbound) => inbound.rtcp(packet)?,
        };
        rtcp::packets(&packet[..length]).next().ok_or(Dropped::Malformed)?;
        agreed.whereabouts.fix(channel, datagram.from);
        Ok(length)
    }

    fn read_reports(&mut self, compound: &[u8], now: Moment) {
        self.hear(now.at);
        self.counters.rtcp_received += 1;
        for packet in rtcp::packets(compound) {
            if let Some(sender) = packet.sender {
                self.report = Some(SenderReport { ssrc: packet.ssrc, short_ntp: (sender.ntp >> 16) as u32, came: now });
            }
            for block in packet.blocks().filter(|block| block.ssrc == self.ssrc) {
                self.reported_jitter = Some(block.jitter);
                self.counters.reported_lost = u64::from(block.lost.max(0).unsigned_abs());
                self.loss = (u32::from(block.fraction) * 100 / 256) as u8;
                self.counters.round_trip_us = round_trip(&block, now).unwrap_or(self.counters.round_trip_us);
            }
        }
    }

    /// How many packets of a hundred the peer lost of late, as it says.
    pub fn loss(&self) -> u8 {
        self.loss
    }

    fn hear(&mut self, now: Instant) {
        (self.alive, self.silent) = (now, false);
    }

    fn count(&mut self, dropped: Dropped) {
        let counter = match dropped {
            Dropped::Stranger => &mut self.counters.stranger,
            Dropped::Unchecked => &mut self.counters.unchecked,
            Dropped::Unproven => &mut self.counters.unproven,
            Dropped::Unauthentic => &mut self.counters.unauthentic,
            Dropped::Replayed => &mut self.counters.replayed,
            Dropped::Malformed => &mut self.counters.malformed,
        };
        *counter += 1;
    }

    /// Makes a packet of the other side ours, under `payload_type`, in its buffer.
    pub fn say(
        &mut self,
        heard: &Heard,
        payload_type: u8,
        buffer: &mut [u8; BUFFER],
        now: Instant,
    ) -> Option<Outgoing> {
        let to = self.agreed.as_ref()?.whereabouts.destination(Channel::Rtp)?;
        if heard.first {
            self.splice.cut();
        }
        let place = self.splice.place(heard.header.ssrc, heard.header.sequence, heard.header.timestamp, now)?;
        let marker = heard.header.marker || place.first && heard.kind == Kind::Sound;
        let payload = match heard.kind {
            Kind::Event => telephone_event::LENGTH,
            Kind::Sound | Kind::Noise => heard.payload.len(),
        };
        // A header is never shorter than its fixed part: there is room for ours before the payload.
        let start = heard.payload.start.checked_sub(FIXED_HEADER)?;
        self.record(Course::Sent, heard.kind, place, buffer.get(heard.payload.start..)?.get(..payload)?, now);
        let length = self.seal(place, payload_type, marker, &mut buffer[start..], payload)?;
        Some(Outgoing { octets: start..start + length, to })
    }

    /// Makes a packet of our own making the peer's, in this buffer. `None` when the peer cannot be reached, or has
    /// agreed on nothing that this could be.
    pub fn speak(
        &mut self,
        origin: Origin,
        packet: &Packet<'_>,
        buffer: &mut [u8; BUFFER],
        now: Instant,
    ) -> Option<Outgoing> {
        let agreed = self.agreed.as_ref()?;
        let (to, payload_type) = (agreed.whereabouts.destination(Channel::Rtp)?, agreed.number(packet.kind)?);
        let room = buffer.get_mut(FIXED_HEADER..)?.get_mut(..packet.payload.len())?;
        room.copy_from_slice(packet.payload);
        // No source of a peer's has an SSRC of ours: a new one was cut off before.
        let place = self.splice.place(origin as u32, packet.sequence, packet.timestamp, now)?;
        let marker = packet.marker || place.first && packet.kind == Kind::Sound;
        self.record(Course::Sent, packet.kind, place, packet.payload, now);
        let length = self.seal(place, payload_type, marker, buffer, packet.payload.len())?;
        Some(Outgoing { octets: 0..length, to })
    }

    /// Puts our header before the payload and encrypts; the whole length.
    fn seal(
        &mut self,
        place: Position,
        payload_type: u8,
        marker: bool,
        packet: &mut [u8],
        payload: usize,
    ) -> Option<usize> {
        let header = Header {
            marker,
            payload_type,
            sequence: place.sequence,
            timestamp: place.timestamp,
            ssrc: self.ssrc,
            length: FIXED_HEADER,
            padded: false,
        };
        packet[..FIXED_HEADER].copy_from_slice(&header.write());
        let length = match &mut self.agreed.as_mut()?.outbound {
            None => FIXED_HEADER + payload,
            Some(outbound) => outbound.rtp(&header, packet, FIXED_HEADER + payload)?,
        };
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(payload as u32);
        self.counters.sent += 1;
        Some(length)
    }

    /// A packet of the other side is not for this peer: it leaves no gap.
    pub fn skip(&mut self, heard: &Heard) {
        if heard.first {
            self.splice.cut();
        }
        self.splice.skip(heard.header.ssrc, heard.header.sequence);
    }

    /// When [`Peer::report`] or [`Peer::silence`] has something to do; `None` is never.
    pub fn due(&self) -> Option<Instant> {
        soonest(self.report_due, self.watch().map(|limit| self.alive + limit))
    }

    fn watch(&self) -> Option<Duration> {
        // A dead line has alarms, and is never silent.
        let watched = self.stream().filter(|stream| !self.silent && stream.remote.addresses().is_some());
        watched.and_then(|stream| stream.watch).map(|watch| watch.limit)
    }

    /// How long the peer has been silent, once, when that is as long as its watch allows.
    pub fn silence(&mut self, now: Instant) -> Option<Duration> {
        let silence = now.since(self.alive);
        self.silent = silence >= self.watch()?;
        self.silent.then_some(silence)
    }

    /// Writes the report that is due into `buffer`; on which port it leaves.
    pub fn report(
        &mut self,
        now: Moment,
        random: &mut Random,
        buffer: &mut [u8; BUFFER],
    ) -> Option<(Channel, Outgoing)> {
        self.report_due.filter(|due| *due <= now.at)?;
        self.report_due = Some(now.at + about(REPORT_INTERVAL, random));
        self.write_report(now, false, buffer)
    }

    /// Writes the last report, with a goodbye.
    pub fn goodbye(&mut self, now: Moment, buffer: &mut [u8; BUFFER]) -> Option<(Channel, Outgoing)> {
        self.write_report(now, true, buffer)
    }

    fn write_report(&mut self, now: Moment, goodbye: bool, buffer: &mut [u8; BUFFER]) -> Option<(Channel, Outgoing)> {
        let sender = self.sender(now);
        let agreed = self.agreed.as_mut()?;
        let channel = agreed.rtcp_channel();
        let to = agreed.whereabouts.destination(channel)?;
        let block = self.reception.block().map(|block| match self.report.filter(|report| report.ssrc == block.ssrc) {
            None => block,
            Some(report) => Block {
                last_report: report.short_ntp,
                since_report: (now.ntp.wrapping_sub(report.came.ntp) >> 16) as u32,
                ..block
            },
        });
        let mut report = rtcp::Writer::report(self.ssrc, sender, block).named(self.ssrc, &self.name);
        if goodbye {
            report = report.goodbye(self.ssrc);
        }
        let octets = report.octets();
        buffer[..octets.len()].copy_from_slice(octets);
        let length = match &mut agreed.outbound {
            None => octets.len(),
            Some(outbound) => outbound.rtcp(self.ssrc, buffer, octets.len())?,
        };
        self.counters.rtcp_sent += 1;
        Some((channel, Outgoing { octets: 0..length, to }))
    }

    /// Who sent nothing since the report before the last one is no sender (RFC 3550 section 6.4).
    fn sender(&mut self, now: Moment) -> Option<Sender> {
        let [last, before] = self.reported;
        self.reported = [self.packets, last];
        (self.packets != before || self.packets != last).then(|| Sender {
            ntp: now.ntp,
            timestamp: self.splice.timestamp(now.at),
            packets: self.packets,
            octets: self.octets,
        })
    }

    /// How this side stands, while what comes from it waits here for so long.
    pub fn counters(&self, wait: Duration) -> Counters {
        Counters {
            lost: self.reception.lost(),
            jitter_us: self.reception.jitter_us(),
            mos_received: self.mos_received(wait),
            mos_sent: self.mos_sent(),
            ..self.counters
        }
    }

    fn mos_received(&self, wait: Duration) -> Option<Mos> {
        let loss = Loss::counted(self.counters.received, self.reception.lost(), self.reception.gaps());
        if self.counters.received == 0 { None } else { self.mos(wait, loss) }
    }

    fn mos_sent(&self) -> Option<Mos> {
        let jitter = Duration::from_secs(self.reported_jitter?.into()) / self.stream()?.codec.clock_rate();
        let lost = self.counters.reported_lost.min(self.counters.sent);
        let wait = quality::wait(self.packet()?, jitter);
        self.mos(wait, Loss::counted(self.counters.sent - lost, lost, 0))
    }

    fn packet(&self) -> Option<Duration> {
        self.stream().map(|stream| Duration::from_millis(stream.ptime_ms.into()))
    }

    fn mos(&self, wait: Duration, loss: Loss) -> Option<Mos> {
        let (codec, packet) = (self.stream()?.codec, self.packet()?);
        let round_trip = Duration::from_micros(self.counters.round_trip_us.into());
        Some(Path { codec, packet, round_trip, wait, loss }.mos())
    }
}

/// `interval` times 0.5 to 1.5, so that reports of many calls do not fall together (RFC 3550 section 6.2).
fn about(interval: Duration, random: &mut Random) -> Duration {
    interval / 2 + interval * random.below(1000) as u32 / 1000
}

/// Time there and back, in microseconds (RFC 3550 section 6.4.1); `None` when the peer has seen
/// no report of ours or its figures are impossible.
fn round_trip(block: &Block, now: Moment) -> Option<u32> {
    if block.last_report == 0 {
        return None;
    }
    let units = now.short_ntp().wrapping_sub(block.last_report).wrapping_sub(block.since_report) as i32;
    u32::try_from(units).ok().map(|units| (u64::from(units) * 15_625 / 1024) as u32)
}
