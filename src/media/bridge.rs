//! The media of one call: two peers, and a way from each to the other.
//!
//! No I/O: datagrams come in with the time, what is to be sent or told goes to the caller's sink; timeslots are read and
//! written when they are ready, which never waits. What a packet or a block of a timeslot is done with is decided when the
//! [`Session`] is applied, not when it comes.

use std::io;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use firmware_io::Bearer;

use crate::media::clock::Moment;
use crate::media::codec::g711::{self, Law};
use crate::media::echo::BLOCK;
use crate::media::io::{BUFFER, Datagram};
use crate::media::line::inbound::Inbound;
use crate::media::line::outbound::Outbound;
use crate::media::line::{Line, Seized};
use crate::media::packetize::Packet;
use crate::media::peer::{Channel, Kind, Origin, Outgoing, Peer};
use crate::media::source::Source;
use crate::media::speech::Said;
use crate::media::tap::Tap;
use crate::media::transcode::Transcoder;
use crate::random::Random;
use crate::session::{Counters, Digit, Digits, MediaReport, Play, Remote, Session, SessionId, Side, Stream, Timeslot};
use crate::time::{Instant, soonest};

/// Time between two [`MediaReport::Counted`].
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// What is done with the packets of one side.
enum Way {
    /// They are counted and go no further: a side is not agreed, or held.
    Closed,
    /// Both sides speak the same, or but for the law of G.711: payloads are passed on under the other side's payload
    /// types, sound from this law made the other's.
    Relay { sound: u8, event: Option<u8>, noise: Option<u8>, law: Option<Law> },
    /// They speak differently.
    Transcode(Box<Transcoder>),
    /// From packets to a timeslot.
    Outbound(Box<Outbound>),
    /// From a timeslot to packets.
    Inbound(Box<Inbound>),
    /// From one timeslot to another.
    Through,
}

impl Way {
    /// The way from one side to the other, and whether it goes on where the one before stood. It may allocate: no
    /// packet waits for it.
    fn between(from: &Peer, to: &Peer, before: Way, patience: Duration) -> (Way, bool) {
        let (Some(from), Some(to)) = (from.stream(), to.stream()) else { return (Way::Closed, true) };
        if !from.direction.receives() || !to.direction.sends() {
            return (Way::Closed, true);
        }
        match (from.remote, to.remote) {
            (Remote::Rtp(_), Remote::Rtp(_)) => {}
            (Remote::Timeslot(_), Remote::Timeslot(_)) => return (Way::Through, true),
            (Remote::Rtp(_), Remote::Timeslot(_)) => return (Way::outbound(from, to, before, patience), true),
            (Remote::Timeslot(_), Remote::Rtp(_)) => return Way::inbound(from, to, before),
        }
        if alike(from, to) {
            let event = to.digits.events().map(|events| events.payload_type);
            let law = from.codec.law().filter(|_| from.codec != to.codec);
            let relay = Way::Relay { sound: to.payload_type, event, noise: to.comfort_noise, law };
            return (relay, matches!(before, Way::Relay { .. }));
        }
        match before {
            Way::Transcode(transcoder) if transcoder.suits(from, to) => (Way::Transcode(transcoder), true),
            // It fails where a codec finds no memory to work in.
            _ => match Transcoder::new(from, to, patience) {
                Ok(transcoder) => (Way::Transcode(Box::new(transcoder)), false),
                Err(_) => (Way::Closed, true),
            },
        }
    }
}

impl Way {
    /// It is closed where a codec finds no memory to work in.
    fn outbound(from: &Stream, to: &Stream, before: Way, patience: Duration) -> Way {
        match before {
            Way::Outbound(outbound) if outbound.suits(from, to) => Way::Outbound(outbound),
            _ => Outbound::new(from, to, patience).map_or(Way::Closed, |outbound| Way::Outbound(Box::new(outbound))),
        }
    }

    /// As above, and whether it goes on.
    fn inbound(from: &Stream, to: &Stream, before: Way) -> (Way, bool) {
        match before {
            Way::Inbound(inbound) if inbound.suits(from, to) => (Way::Inbound(inbound), true),
            _ => (Inbound::new(from, to).map_or(Way::Closed, |inbound| Way::Inbound(Box::new(inbound))), false),
        }
    }
}

/// May packets be passed on one by one? The laws of G.711 differ sample by sample alone.
fn alike(from: &Stream, to: &Stream) -> bool {
    let packets = (from.ptime_ms, from.comfort_noise.is_some()) == (to.ptime_ms, to.comfort_noise.is_some());
    let laws = from.codec.law().is_some() && to.codec.law().is_some() && packets;
    (from.codec == to.codec || laws) && digits_alike(from.digits, to.digits)
}

/// May digits be passed on with all the rest?
fn digits_alike(from: Digits, to: Digits) -> bool {
    match (from, to) {
        (Digits::Events(from), Digits::Events(to)) => from.clock_rate == to.clock_rate,
        (from, to) => from == to,
    }
}

impl Way {
    fn due(&self) -> Option<Instant> {
        match self {
            // A timeslot's pace is its own.
            Way::Closed | Way::Relay { .. } | Way::Outbound(_) | Way::Inbound(_) | Way::Through => None,
            Way::Transcode(transcoder) => transcoder.due(),
        }
    }
}

impl Way {
    /// What was made of a side's packets.
    fn count(&self, counters: &mut Counters) {
        match self {
            Way::Transcode(transcoder) => transcoder.count(counters),
            Way::Outbound(outbound) => outbound.count(counters),
            Way::Closed | Way::Relay { .. } | Way::Inbound(_) | Way::Through => {}
        }
    }

    /// How long sound is kept here on its way, so that it goes on evenly.
    fn wait(&self, now: Instant) -> Duration {
        match self {
            Way::Transcode(transcoder) => transcoder.wait(),
            Way::Outbound(outbound) => outbound.wait(now),
            Way::Closed | Way::Relay { .. } | Way::Inbound(_) | Way::Through => Duration::ZERO,
        }
    }
}

/// What is to be played to a peer, and whether it goes on where the one before stood. It may allocate, as a way may.
fn source(
    play: Option<&Play>,
    to: &Peer,
    heard: bool,
    before: Option<Box<Source>>,
    now: Instant,
) -> (Option<Box<Source>>, bool) {
    let Some((play, to)) = play.zip(to.stream().filter(|to| to.direction.sends())) else {
        return (None, true);
    };
    match before {
        Some(source) if source.suits(play, to) => (Some(source), true),
        // It fails where a codec finds no memory to work in.
        _ => (Source::new(play, to, heard, now).ok().map(Box::new), false),
    }
}

/// What a bridge wants done.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a report is passed on without an allocation")]
pub enum Output<'a> {
    /// Send this from a port of this side.
    Send(Side, Channel, SocketAddr, &'a [u8]),
    /// Tell signalling.
    Report(MediaReport),
}

/// The media of one call.
pub struct Bridge {
    id: SessionId,
    peers: [Peer; 2],
    /// Indexed by the side that packets come from.
    ways: [Way; 2],
    /// What is played in place of its packets, indexed as they are.
    sources: [Option<Box<Source>>; 2],
    /// Timeslots, and the sound of those that are agreed.
    seized: [Option<Box<Seized>>; 2],
    lines: [Option<Box<Line>>; 2],
    patience: Duration,
    count_due: Instant,
}

impl Bridge {
    /// Nothing agreed yet. Where sound is transcoded, a missing packet is waited for at most for `patience`.
    pub fn new(id: SessionId, patience: Duration, random: &mut Random, now: Instant) -> Bridge {
        let peers = [Peer::new(random), Peer::new(random)];
        let (ways, sources) = ([Way::Closed, Way::Closed], [None, None]);
        let (seized, lines) = ([None, None], [None, None]);
        Bridge { id, peers, ways, sources, seized, lines, patience, count_due: now + COUNT_INTERVAL }
    }

    /// Its name.
    pub fn id(&self) -> SessionId {
        self.id
    }

    /// From now on, this.
    pub fn apply(&mut self, session: &Session, now: Instant, random: &mut Random) {
        for side in Side::BOTH {
            self.peers[side.index()].apply(session.sides[side.index()].as_ref(), now, random);
            self.set_line(side);
        }
        for side in Side::BOTH {
            let before = std::mem::replace(&mut self.ways[side.index()], Way::Closed);
            let (from, to) = pair(&mut self.peers, side);
            let (way, goes_on) = Way::between(from, to, before, self.patience);
            let play = session.plays[side.other().index()].as_ref();
            let heard = !matches!(way, Way::Closed);
            let before = self.sources[side.index()].take();
            let (source, plays_on) = source(play, to, heard, before, now);
            if !goes_on || !plays_on {
                to.cut();
            }
            self.ways[side.index()] = way;
            self.sources[side.index()] = source;
        }
    }

    /// From now on, sound of `side` goes to this timeslot, where the session says so; the one before, if there was one. It
    /// may allocate, as applying a session may.
    pub fn seize(&mut self, side: Side, bearer: Box<dyn Bearer>, law: Law) -> io::Result<Option<Box<dyn Bearer>>> {
        let before = self.seized[side.index()].replace(Box::new(Seized::new(bearer, law)?));
        self.set_line(side);
        Ok(before.map(|seized| seized.release()))
    }

    /// The timeslot of `side`, to go home.
    pub fn release(&mut self, side: Side) -> Option<Box<dyn Bearer>> {
        self.lines[side.index()] = None;
        self.seized[side.index()].take().map(|seized| seized.release())
    }

    /// What is readable when [`Bridge::serve`] has something to do.
    pub fn ready(&self, side: Side) -> Option<BorrowedFd<'_>> {
        self.seized[side.index()].as_ref().map(|seized| seized.ready())
    }

    /// The sound of a timeslot that is there and agreed.
    fn set_line(&mut self, side: Side) {
        let (peer, line) = (&self.peers[side.index()], &mut self.lines[side.index()]);
        let seized = self.seized[side.index()].as_ref();
        *line = seized.zip(peer.timeslot()).map(|(seized, wanted)| {
            let canceller = wanted.canceller.filter(|_| !seized.cancels_echo());
            let (law, timeslot) = (seized.law(), Timeslot { canceller, ..wanted });
            match line.take() {
                Some(mut line) if line.suits(law, &timeslot) => {
                    line.set(&timeslot);
                    line
                }
                _ => Box::new(Line::new(law, &timeslot)),
            }
        });
    }

    /// From now on, what this side says and hears passes by the tap.
    pub fn tap(&mut self, side: Side, tap: Box<Tap>) {
        self.peers[side.index()].tap(tap);
    }

    /// A packet of `side` will come soon: fetches what lies elsewhere.
    pub fn fetch(&self, side: Side) {
        self.peers[side.index()].fetch_inbound();
        self.peers[side.other().index()].fetch_outbound();
    }

    /// A datagram on the RTP port of `side`. What goes out in its own buffer, on the RTP port of the other side, is
    /// returned; packets of our own making go to the sink.
    pub fn rtp(
        &mut self,
        side: Side,
        mut datagram: Datagram<'_>,
        now: Moment,
        sink: &mut impl FnMut(Output<'_>),
    ) -> Option<Outgoing> {
        let (from, to) = pair(&mut self.peers, side);
        if from.is_check(&datagram) {
            check(from, side, Channel::Rtp, datagram, now, sink);
            return None;
        }
        let heard = from.rtp(&mut datagram, now)?;
        let source = &mut self.sources[side.index()];
        let payload_type = match &mut self.ways[side.index()] {
            Way::Closed => return None,
            _ if source.as_mut().is_some_and(|source| !source.admits(heard.kind, now.at)) => return None,
            Way::Transcode(transcoder) => {
                let payload = datagram.buffer.get(heard.payload.clone()).unwrap_or_default();
                let id = self.id;
                transcoder.hear(&heard, payload, now.at, &mut |said| say(id, to, side, &said, now, sink));
                return None;
            }
            Way::Outbound(outbound) => {
                outbound.hear(&heard, datagram.buffer.get(heard.payload.clone()).unwrap_or_default(), now.at);
                return None;
            }
            // What is on a timeslot sends no packets.
            Way::Inbound(_) | Way::Through => return None,
            Way::Relay { sound, event, noise, law } => match heard.kind {
                Kind::Sound => {
                    if let Some((law, codes)) = law.zip(datagram.buffer.get_mut(heard.payload.clone())) {
                        g711::convert(law, codes);
                    }
                    Some(*sound)
                }
                Kind::Event => *event,
                Kind::Noise => *noise,
            },
        };
        match payload_type {
            Some(payload_type) => to.say(&heard, payload_type, datagram.buffer, now.at),
            None => {
                to.skip(&heard);
                None
            }
        }
    }

    /// A datagram on the RTCP port of `side`.
    pub fn rtcp(&mut self, side: Side, mut datagram: Datagram<'_>, now: Moment, sink: &mut impl FnMut(Output<'_>)) {
        let peer = &mut self.peers[side.index()];
        match peer.is_check(&datagram) {
            true => check(peer, side, Channel::Rtcp, datagram, now, sink),
            false => peer.rtcp(&mut datagram, now),
        }
    }

    /// Signalling wants this digit pressed, as if it came from `side`. Where digits are tones or events on both sides,
    /// nobody asks for this.
    pub fn press(&mut self, side: Side, digit: Digit, length: Duration) {
        match &mut self.ways[side.index()] {
            Way::Transcode(transcoder) => transcoder.press(digit, length),
            Way::Outbound(outbound) => outbound.press(digit, length),
            Way::Inbound(inbound) => inbound.press(digit, length),
            Way::Closed | Way::Relay { .. } | Way::Through => {}
        }
    }

    /// The timeslot of `side` is ready: for each block that came from it one goes there. When the first was due. An
    /// error says that the card or its driver went away.
    pub fn serve(&mut self, side: Side, now: Moment, sink: &mut impl FnMut(Output<'_>)) -> io::Result<Option<Instant>> {
        let mut first = None;
        loop {
            let Some(seized) = &mut self.seized[side.index()] else { return Ok(first) };
            let Some((said, due)) = seized.read(now.at)? else { return Ok(first) };
            first = first.or(Some(due));
            let silence = seized.law().silence();
            let heard = self.block(side, &said, now, sink).unwrap_or([silence; BLOCK]);
            if let Some(seized) = &mut self.seized[side.index()] {
                seized.write(&heard)?;
            }
        }
    }

    /// A block that the line of `side` said; what it hears meanwhile. `None` when nothing is agreed.
    fn block(
        &mut self,
        side: Side,
        said: &[u8; BLOCK],
        now: Moment,
        sink: &mut impl FnMut(Output<'_>),
    ) -> Option<[u8; BLOCK]> {
        let [this, other] = [side.index(), side.other().index()];
        let mut heard = self.heard(side, now)?;
        let line = self.lines[this].as_mut()?;
        let block = line.exchange(&mut heard, said);
        let law = self.seized[this].as_ref()?.law();
        if let Some(machine) = block.began {
            sink(Output::Report(MediaReport::Machine(self.id, side, machine)));
        }
        if let Way::Outbound(outbound) = &mut self.ways[other] {
            outbound.set_steady(block.untouched);
        }
        self.peers[this].overhear(block.number, &block.octets, &heard, now.at);
        let admitted = match &mut self.sources[this] {
            Some(source) if block.is_audible() => source.admits(Kind::Sound, now.at),
            Some(source) => !source.is_ours(),
            None => true,
        };
        let (_, to) = pair(&mut self.peers, side);
        match &mut self.ways[this] {
            Way::Inbound(inbound) if admitted => {
                let id = self.id;
                let mut out = |said: Said<'_>| say(id, to, side, &said, now, sink);
                inbound.hear(&block, now.at, &mut out);
            }
            Way::Inbound(inbound) => inbound.skip(BLOCK),
            Way::Through if admitted => {
                if let Some(line) = &mut self.lines[other] {
                    line.put(&block.octets, law, now.at);
                }
            }
            Way::Closed | Way::Relay { .. } | Way::Transcode(_) | Way::Outbound(_) | Way::Through => {}
        }
        Some(heard)
    }

    /// What the line of `side` hears in the next block.
    fn heard(&mut self, side: Side, now: Moment) -> Option<[u8; BLOCK]> {
        let line = self.lines[side.index()].as_mut()?;
        let mut sound = [0; BLOCK];
        if let Some(source) = &mut self.sources[side.other().index()]
            && source.fill(now.at, &mut sound)
        {
            return Some(line.encode(&sound));
        }
        match &mut self.ways[side.other().index()] {
            Way::Outbound(outbound) => {
                outbound.fill(now.at, &mut sound);
                Some(line.encode(&sound))
            }
            Way::Through => Some(line.take(now.at)),
            Way::Closed | Way::Relay { .. } | Way::Transcode(_) | Way::Inbound(_) => Some(line.silence()),
        }
    }

    /// The one address that the RTP port of `side` has to do with, once its peer was met there.
    pub fn settled(&self, side: Side) -> Option<SocketAddr> {
        self.peers[side.index()].settled()
    }

    /// When the sound of a side, or what is played in its place, has something to do.
    pub fn sound_due(&self, from: Side) -> Option<Instant> {
        match &self.sources[from.index()] {
            // A timeslot takes what is played at its own pace.
            Some(_) if self.peers[from.other().index()].timeslot().is_some() => self.ways[from.index()].due(),
            Some(source) if source.is_ours() => source.due(),
            Some(source) => soonest(source.due(), self.ways[from.index()].due()),
            None => self.ways[from.index()].due(),
        }
    }

    /// When [`Bridge::tick`] has something to do.
    pub fn due(&self) -> Instant {
        let peers = soonest(self.peers[0].due(), self.peers[1].due());
        let sound = soonest(self.sound_due(Side::A), self.sound_due(Side::B));
        soonest(peers, sound).map_or(self.count_due, |due| due.min(self.count_due))
    }

    /// Does what is due: sound in place of what was lost, reports to the peers, the watch, the counters.
    /// `load` is how busy the thread is, in percent.
    pub fn tick(&mut self, now: Moment, load: u8, random: &mut Random, mut sink: impl FnMut(Output<'_>)) {
        let mut buffer = [0; BUFFER];
        for side in Side::BOTH {
            let (_, to) = pair(&mut self.peers, side);
            if let Some(source) = &mut self.sources[side.index()]
                && to.timeslot().is_none()
            {
                source.adapt(to.loss(), load);
                source.tick(now.at, &mut |packet| {
                    speak(Origin::Ourselves, to, side, &packet, now, &mut sink);
                });
                if source.is_ours() {
                    continue;
                }
            }
            if let Way::Transcode(transcoder) = &mut self.ways[side.index()] {
                let id = self.id;
                transcoder.adapt(to.loss(), load);
                transcoder.tick(now.at, &mut |said| say(id, to, side, &said, now, &mut sink));
            }
            if let Way::Inbound(inbound) = &mut self.ways[side.index()] {
                inbound.adapt(to.loss(), load);
            }
        }
        for side in Side::BOTH {
            let peer = &mut self.peers[side.index()];
            if let Some(report) = peer.report(now, random, &mut buffer) {
                send(side, report, &buffer, &mut sink);
            }
            if let Some(silence) = peer.silence(now.at) {
                sink(Output::Report(MediaReport::Silent(self.id, side, silence)));
            }
        }
        if self.count_due <= now.at {
            self.count_due = now.at + COUNT_INTERVAL;
            sink(Output::Report(MediaReport::Counted(self.id, self.counters(now.at))));
        }
    }

    /// The end: says goodbye to both peers and gives the last counters.
    pub fn close(&mut self, now: Moment, mut sink: impl FnMut(Output<'_>)) {
        let mut buffer = [0; BUFFER];
        for side in Side::BOTH {
            if let Some(goodbye) = self.peers[side.index()].goodbye(now, &mut buffer) {
                send(side, goodbye, &buffer, &mut sink);
            }
        }
        sink(Output::Report(MediaReport::Closed(self.id, self.counters(now.at))));
    }

    fn counters(&self, now: Instant) -> [Counters; 2] {
        Side::BOTH.map(|side| {
            let mut counters = self.peers[side.index()].counters(self.ways[side.index()].wait(now));
            self.ways[side.index()].count(&mut counters);
            self.seized[side.index()].iter().for_each(|seized| seized.count(&mut counters));
            self.lines[side.index()].iter().for_each(|line| line.count(&mut counters));
            counters
        })
    }
}

fn pair(peers: &mut [Peer; 2], from: Side) -> (&mut Peer, &mut Peer) {
    let [a, b] = peers;
    match from {
        Side::A => (a, b),
        Side::B => (b, a),
    }
}

/// Answers a check (ICE) on one of a side's ports, from there.
fn check(
    peer: &mut Peer,
    side: Side,
    channel: Channel,
    mut datagram: Datagram<'_>,
    now: Moment,
    sink: &mut impl FnMut(Output<'_>),
) {
    if let Some(answer) = peer.check(channel, &mut datagram, now.at) {
        send(side, (channel, answer), datagram.buffer, sink);
    }
}

/// Says to the peer `to` what came of the sound of `side`.
fn say(id: SessionId, to: &mut Peer, side: Side, said: &Said<'_>, now: Moment, sink: &mut impl FnMut(Output<'_>)) {
    match said {
        Said::Packet(packet) => speak(Origin::OtherSide, to, side, packet, now, sink),
        Said::Digit(digit, length) => sink(Output::Report(MediaReport::Digit(id, side, *digit, *length))),
    }
}

fn speak(
    origin: Origin,
    to: &mut Peer,
    side: Side,
    packet: &Packet<'_>,
    now: Moment,
    sink: &mut impl FnMut(Output<'_>),
) {
    let mut buffer = [0; BUFFER];
    if let Some(outgoing) = to.speak(origin, packet, &mut buffer, now.at) {
        sink(Output::Send(side.other(), Channel::Rtp, outgoing.to, &buffer[outgoing.octets]));
    }
}

fn send(
    side: Side,
    (channel, outgoing): (Channel, Outgoing),
    buffer: &[u8; BUFFER],
    sink: &mut impl FnMut(Output<'_>),
) {
    sink(Output::Send(side, channel, outgoing.to, &buffer[outgoing.octets]));
}

#[cfg(test)]
mod checks;
#[cfg(test)]
mod digits;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod plays;
#[cfg(test)]
pub(in crate::media) mod tests;
