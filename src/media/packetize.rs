//! Sound of any length becomes packets of one packet time, numbered and timed by ourselves.
//!
//! The place of every sample is counted from the beginning of the direction. So what the other side did not say
//! (a pause, a hold) is a step of the timestamp and no sound; and a pause within its sound goes out as comfort noise where
//! the peer takes that.

use crate::media::codec::opus::complexity_under;
use crate::media::codec::pause::{Pauses, Sent};
use crate::media::codec::{CodecError, Encoder, packet_time, ticks};
use crate::media::peer::Kind;
use crate::session::{Codec, Stream};

/// Octets of the longest payload: what goes through any network in one piece.
const PAYLOAD: usize = 1200;

/// Comfort noise is agreed at this RTP clock only, Hz.
const COMFORT_NOISE_CLOCK: u32 = 8000;

/// A packet to send, not yet numbered into the peer's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// What it carries.
    pub kind: Kind,
    /// The first after a pause.
    pub marker: bool,
    /// Counts the packets of this direction.
    pub sequence: u16,
    /// In ticks of the codec's RTP clock, from the beginning of this direction.
    pub timestamp: u32,
    /// Its octets.
    pub payload: &'a [u8],
}

/// Makes packets of sound.
pub struct Packetizer {
    encoder: Encoder,
    codec: Codec,
    rate: u32,
    /// Samples of a packet.
    samples: usize,
    /// Present where the peer takes comfort noise.
    pauses: Option<Pauses>,
    /// Nothing is taken for a pause.
    steady: bool,
    /// What waits for the rest of its packet.
    sound: Box<[i16]>,
    filled: usize,
    /// Of the first sample in `sound`.
    position: u64,
    sequence: u16,
    /// The next packet of sound follows a pause.
    marker: bool,
}

impl Packetizer {
    /// Speaks to this peer, with sound of `rate` Hz.
    pub fn new(to: &Stream, rate: u32) -> Result<Packetizer, CodecError> {
        let samples = usize::from(packet_time(to.ptime_ms)) * rate as usize / 1000;
        let noise = to.comfort_noise.filter(|_| to.codec.clock_rate() == COMFORT_NOISE_CLOCK);
        Ok(Packetizer {
            encoder: Encoder::new(to.codec, rate, &to.opus)?,
            codec: to.codec,
            rate,
            samples,
            pauses: noise.map(|_| Pauses::new(rate)),
            steady: false,
            sound: vec![0; samples].into(),
            filled: 0,
            position: 0,
            sequence: 0,
            marker: true,
        })
    }

    /// Sound whose first sample stands at `position`, in samples from the beginning.
    pub fn sound(&mut self, position: u64, mut sound: &[i16], out: &mut impl FnMut(Packet<'_>)) {
        self.seek(position, out);
        while !sound.is_empty() {
            if self.filled == 0
                && let Some((frame, later)) = sound.split_at_checked(self.samples)
            {
                self.encode(frame, out);
                sound = later;
                continue;
            }
            let (now, later) = sound.split_at(sound.len().min(self.samples - self.filled));
            self.sound[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            sound = later;
            if self.filled == self.samples {
                self.encode_filled(out);
            }
        }
    }

    /// Shall all sound go out as it is, for it is no talk (a modem's, a fax's)?
    pub fn set_steady(&mut self, steady: bool) {
        self.steady = steady;
    }

    /// Its packet time in milliseconds.
    pub fn packet_ms(&self) -> u8 {
        (self.samples as u32 * 1000 / self.rate) as u8
    }

    /// The place behind all that was said.
    pub fn end(&self) -> u64 {
        self.position + self.filled as u64
    }

    /// Does the peer take descriptions of the noise in a pause?
    pub fn takes_noise(&self) -> bool {
        self.pauses.is_some()
    }

    /// An event or comfort noise that begins at `position`.
    pub fn pass(&mut self, kind: Kind, marker: bool, position: u64, payload: &[u8], out: &mut impl FnMut(Packet<'_>)) {
        self.marker |= kind == Kind::Noise;
        let (timestamp, sequence) = (self.timestamp(position), self.next());
        let payload = &payload[..payload.len().min(PAYLOAD)];
        out(Packet { kind, marker, sequence, timestamp, payload });
    }

    /// The peer loses so many packets of a hundred, and the thread is so busy, in percent.
    pub fn adapt(&mut self, loss: u8, load: u8) {
        self.encoder.expect_loss(loss);
        self.encoder.complexity(complexity_under(load, self.rate));
    }

    /// What waits for the rest of its packet goes out with silence behind it when the sound goes on later. Sound that
    /// overlaps what was said goes behind it: there are peers whose timestamps do not keep up.
    fn seek(&mut self, position: u64, out: &mut impl FnMut(Packet<'_>)) {
        if position <= self.end() {
            return;
        }
        if self.filled > 0 {
            self.sound[self.filled..self.samples].fill(0);
            self.encode_filled(out);
        }
        self.position = self.position.max(position);
        self.marker = true;
    }

    fn encode_filled(&mut self, out: &mut impl FnMut(Packet<'_>)) {
        let sound = std::mem::take(&mut self.sound);
        self.filled = 0;
        self.encode(&sound[..self.samples], out);
        self.sound = sound;
    }

    /// A packet's sound, which begins at `position`.
    fn encode(&mut self, frame: &[i16], out: &mut impl FnMut(Packet<'_>)) {
        let timestamp = self.timestamp(self.position);
        self.position += self.samples as u64;
        let pauses = self.pauses.as_mut().filter(|_| !self.steady);
        match pauses.map_or(Sent::Sound, |pauses| pauses.hear(frame)) {
            Sent::Sound => {
                let mut payload = [0; PAYLOAD];
                // It fails on nothing but a frame of no packet time, or a payload without room.
                let octets = self.encoder.encode(frame, &mut payload).unwrap_or(0);
                if octets > 0 {
                    let (marker, sequence) = (self.marker, self.next());
                    out(Packet { kind: Kind::Sound, marker, sequence, timestamp, payload: &payload[..octets] });
                }
                self.marker = octets == 0;
            }
            Sent::Noise(noise) => {
                self.marker = true;
                let sequence = self.next();
                out(Packet { kind: Kind::Noise, marker: false, sequence, timestamp, payload: noise.octets() });
            }
            Sent::Nothing => self.marker = true,
        }
    }

    fn next(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn timestamp(&self, position: u64) -> u32 {
        ticks(self.codec, self.rate, position as usize)
    }
}
