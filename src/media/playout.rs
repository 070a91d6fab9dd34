//! What a peer says, as sound in its order and at its place in time.
//!
//! Places are counted in samples from the beginning of the direction. They follow the peer's timestamps; where those
//! jump or begin anew, they follow our clock, so that a pause of the other side stays a pause.

use std::time::Duration;

use crate::media::codec::{CodecError, Decoder, MOST_SAMPLES, from_ticks, samples, ticks};
use crate::media::jitter::{Arrival, Buffer, Next, Troubles};
use crate::media::peer::{Heard, Kind};
use crate::session::Codec;
use crate::time::Instant;

/// A jump of the peer's timestamps beyond this is no pause: it has begun anew.
const JUMP: Duration = Duration::from_secs(10);

/// Something heard, with its place.
#[derive(Debug)]
pub enum Played<'a> {
    /// Sound that begins at this place.
    Sound(u64, &'a [i16]),
    /// A packet of the event that began at this timestamp and place (RFC 4733).
    Event {
        /// The event's name.
        timestamp: u32,
        /// Where it began.
        place: u64,
        /// Its octets.
        payload: &'a [u8],
    },
    /// A pause that begins at this place, with the description of its noise.
    Noise(u64, &'a [u8]),
}

/// Where the peer's timestamps lie on the time line of a direction.
#[derive(Debug)]
struct Line {
    codec: Codec,
    rate: u32,
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    timestamp: u32,
    /// Ticks of the peer's RTP clock from the beginning of the direction.
    ticks: u64,
    at: Instant,
}

impl Line {
    /// The place of a timestamp that was heard now.
    fn place(&mut self, timestamp: u32, now: Instant) -> u64 {
        let ticks = match self.last {
            None => 0,
            Some(last) => self.ticks(last, timestamp, now),
        };
        if self.last.is_none_or(|last| last.ticks <= ticks) {
            self.last = Some(Last { timestamp, ticks, at: now });
        }
        ticks * u64::from(self.rate) / u64::from(self.codec.clock_rate())
    }

    fn ticks(&self, last: Last, timestamp: u32, now: Instant) -> u64 {
        let step = i64::from(timestamp.wrapping_sub(last.timestamp) as i32);
        let jump = JUMP.as_secs() as i64 * i64::from(self.codec.clock_rate());
        match step.abs() <= jump {
            true => last.ticks.saturating_add_signed(step),
            false => last.ticks + ticks_of(now.since(last.at), self.codec),
        }
    }

    fn now(&self, now: Instant) -> u64 {
        let ticks = self.last.map_or(0, |last| last.ticks + ticks_of(now.since(last.at), self.codec));
        ticks * u64::from(self.rate) / u64::from(self.codec.clock_rate())
    }

    /// The peer's source has changed: its timestamps mean something else from now on.
    fn cut(&mut self, timestamp: u32, now: Instant) {
        if let Some(last) = &mut self.last {
            *last = Last { timestamp, ticks: last.ticks + ticks_of(now.since(last.at), self.codec), at: now };
        }
    }
}

/// A tick count of the codec's RTP clock.
fn ticks_of(time: Duration, codec: Codec) -> u64 {
    time.as_micros() as u64 * u64::from(codec.clock_rate()) / 1_000_000
}

/// What a peer says, made audible.
pub struct Playout {
    line: Line,
    buffer: Buffer,
    voice: Voice,
}

/// Payloads to sound.
struct Voice {
    decoder: Decoder,
    sound: Box<[i16; MOST_SAMPLES]>,
}

impl Voice {
    /// A payload at its place; what cannot be read is not heard.
    fn say(&mut self, kind: Kind, place: u64, timestamp: u32, payload: &[u8], out: &mut impl FnMut(Played<'_>)) {
        match kind {
            Kind::Sound => {
                if let Ok(sound) = self.decoder.hear(payload, &mut self.sound[..]) {
                    out(Played::Sound(place, sound));
                }
            }
            Kind::Event => out(Played::Event { timestamp, place, payload }),
            Kind::Noise => out(Played::Noise(place, payload)),
        }
    }

    fn conceal(&mut self, place: u64, samples: usize, next: Option<&[u8]>, out: &mut impl FnMut(Played<'_>)) {
        let sound = &mut self.sound[..samples];
        self.decoder.conceal(next, sound);
        out(Played::Sound(place, sound));
    }
}

impl Playout {
    /// Hears this codec as sound of `rate` Hz; a missing packet is waited for at most for `most`.
    pub fn new(codec: Codec, rate: u32, most: Duration) -> Result<Playout, CodecError> {
        Ok(Playout {
            line: Line { codec, rate, last: None },
            buffer: Buffer::new(codec.clock_rate(), most),
            voice: Voice { decoder: Decoder::new(codec, rate)?, sound: Box::new([0; MOST_SAMPLES]) },
        })
    }

    /// What is heard will be said in this codec.
    #[must_use]
    pub fn toward(mut self, codec: Codec) -> Playout {
        self.voice.decoder = self.voice.decoder.toward(codec);
        self
    }

    /// A packet came.
    pub fn hear(&mut self, heard: &Heard, payload: &[u8], now: Instant, out: &mut impl FnMut(Played<'_>)) {
        let (header, kind) = (&heard.header, heard.kind);
        if heard.first {
            self.buffer.restart();
            self.line.cut(header.timestamp, now);
        }
        let Line { codec, rate, .. } = self.line;
        let samples = if kind == Kind::Sound { samples(codec, rate, payload) } else { Some(0) };
        if let Some(samples) = samples {
            let (sequence, timestamp) = (header.sequence, header.timestamp);
            let ticks = ticks(codec, rate, samples);
            let arrival = Arrival { sequence, timestamp, ticks, kind, payload };
            if self.buffer.passes(&arrival, now) {
                let place = self.line.place(timestamp, now);
                self.voice.say(kind, place, timestamp, payload, out);
            } else {
                self.buffer.insert(&arrival, now);
            }
        }
        self.play(now, out);
    }

    /// Plays what is due.
    pub fn play(&mut self, now: Instant, out: &mut impl FnMut(Played<'_>)) {
        let Playout { line, buffer, voice } = self;
        while let Some(next) = buffer.next(now) {
            match next {
                Next::Packet { kind, timestamp, payload } => {
                    voice.say(kind, line.place(timestamp, now), timestamp, payload, out);
                }
                Next::Lost { timestamp, ticks, next } => {
                    let samples = from_ticks(line.codec, line.rate, ticks).min(MOST_SAMPLES);
                    voice.conceal(line.place(timestamp, now), samples, next, out);
                }
            }
        }
    }

    /// Plays what comes next though it would be waited for; `false` when nothing is expected.
    pub fn demand(&mut self, now: Instant, out: &mut impl FnMut(Played<'_>)) -> bool {
        let due = self.buffer.due();
        due.into_iter().for_each(|due| self.play(due.max(now), out));
        due.is_some()
    }

    /// What did not go smoothly so far.
    pub fn troubles(&self) -> Troubles {
        self.buffer.troubles()
    }

    /// How long sound waits here, on average of late.
    pub fn wait(&self) -> Duration {
        self.buffer.wait()
    }

    /// When the sound that follows all that was played would come by the fastest path; `None` before any came.
    pub fn expected(&self) -> Option<Instant> {
        self.buffer.expected()
    }

    /// How late nearly all packets are at most, within what is waited for.
    pub fn lateness(&self) -> Duration {
        self.buffer.lateness()
    }

    /// Where the peer's sound would be now, if it went on.
    pub fn place(&self, now: Instant) -> u64 {
        self.line.now(now)
    }

    /// When [`Playout::play`] has something to say though no packet comes.
    pub fn due(&self) -> Option<Instant> {
        self.buffer.due()
    }
}
