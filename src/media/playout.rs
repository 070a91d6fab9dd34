//! What a peer says, as sound in its order and at its place in time.
//!
//! Places are counted in samples from the beginning of the direction. They follow the peer's timestamps; where those
//! jump or begin anew, they follow our clock, so that a pause of the other side stays a pause.

use std::time::Duration;

use crate::media::codec::{CodecError, Decoder, MOST_SAMPLES};
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
    /// A packet of another kind, with its marker.
    Other(Kind, bool, u64, &'a [u8]),
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
    decoder: Decoder,
    newest: Option<u16>,
    sound: Box<[i16; MOST_SAMPLES]>,
}

impl Playout {
    /// Hears this codec as sound of `rate` Hz.
    pub fn new(codec: Codec, rate: u32) -> Result<Playout, CodecError> {
        let line = Line { codec, rate, last: None };
        let decoder = Decoder::new(codec, rate)?;
        Ok(Playout { line, decoder, newest: None, sound: Box::new([0; MOST_SAMPLES]) })
    }

    /// A packet came.
    pub fn hear(&mut self, heard: &Heard, payload: &[u8], now: Instant, out: &mut impl FnMut(Played<'_>)) {
        let header = &heard.header;
        if heard.first {
            self.line.cut(header.timestamp, now);
        } else if self.newest.is_some_and(|newest| header.sequence.wrapping_sub(newest).wrapping_sub(1) >= 1 << 15) {
            return;
        }
        self.newest = Some(header.sequence);
        let place = self.line.place(header.timestamp, now);
        match heard.kind {
            Kind::Sound => {
                let samples = self.decoder.decode(payload, &mut self.sound[..]).unwrap_or(0);
                out(Played::Sound(place, &self.sound[..samples]));
            }
            kind => out(Played::Other(kind, header.marker, place, payload)),
        }
    }
}
