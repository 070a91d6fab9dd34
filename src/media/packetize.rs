//! Sound of any length becomes packets of one packet time, numbered and timed by ourselves.
//!
//! The place of every sample is counted from the beginning of the direction. So what the other side did not say
//! (a pause, a hold) is a step of the timestamp and no sound.

use crate::media::codec::{CodecError, Encoder, packet_time, ticks};
use crate::media::peer::Kind;
use crate::session::{Codec, Stream};

/// Samples of the longest packet: 60 ms at 48 kHz.
const LONGEST: usize = 2880;
/// Octets of the longest payload: what goes through any network in one piece.
const PAYLOAD: usize = 1200;

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
    sound: Box<[i16; LONGEST]>,
    filled: usize,
    /// Of the first sample in `sound`.
    position: u64,
    sequence: u16,
    /// The next packet of sound follows a pause.
    marker: bool,
    payload: Box<[u8; PAYLOAD]>,
}

impl Packetizer {
    /// Speaks to this peer, with sound of `rate` Hz.
    pub fn new(to: &Stream, rate: u32) -> Result<Packetizer, CodecError> {
        Ok(Packetizer {
            encoder: Encoder::new(to.codec, rate, &to.opus)?,
            codec: to.codec,
            rate,
            samples: usize::from(packet_time(to.ptime_ms)) * rate as usize / 1000,
            sound: Box::new([0; LONGEST]),
            filled: 0,
            position: 0,
            sequence: 0,
            marker: true,
            payload: Box::new([0; PAYLOAD]),
        })
    }

    /// Sound whose first sample stands at `position`, in samples from the beginning.
    pub fn sound(&mut self, position: u64, mut sound: &[i16], out: &mut impl FnMut(Packet<'_>)) {
        self.seek(position, out);
        while !sound.is_empty() {
            let (now, later) = sound.split_at(sound.len().min(self.samples - self.filled));
            self.sound[self.filled..self.filled + now.len()].copy_from_slice(now);
            self.filled += now.len();
            sound = later;
            if self.filled == self.samples {
                self.encode(out);
            }
        }
    }

    /// An event or comfort noise that begins at `position`.
    pub fn pass(&mut self, kind: Kind, marker: bool, position: u64, payload: &[u8], out: &mut impl FnMut(Packet<'_>)) {
        self.marker |= kind == Kind::Noise;
        let (timestamp, sequence) = (self.timestamp(position), self.next());
        let payload = &payload[..payload.len().min(PAYLOAD)];
        out(Packet { kind, marker, sequence, timestamp, payload });
    }

    /// How many packets of a hundred the peer reports as lost.
    pub fn expect_loss(&mut self, percent: u8) {
        self.encoder.expect_loss(percent);
    }

    /// What waits for the rest of its packet goes out with silence behind it when the sound goes on later. Sound that
    /// overlaps what was said goes behind it: there are peers whose timestamps do not keep up.
    fn seek(&mut self, position: u64, out: &mut impl FnMut(Packet<'_>)) {
        if position <= self.position + self.filled as u64 {
            return;
        }
        if self.filled > 0 {
            self.sound[self.filled..self.samples].fill(0);
            self.encode(out);
        }
        self.position = self.position.max(position);
        self.marker = true;
    }

    fn encode(&mut self, out: &mut impl FnMut(Packet<'_>)) {
        let timestamp = self.timestamp(self.position);
        self.position += self.samples as u64;
        self.filled = 0;
        // cannot fail: the frame is of a packet time, and the buffer holds the longest payload.
        let octets = self.encoder.encode(&self.sound[..self.samples], &mut self.payload[..]).unwrap_or(0);
        if octets > 0 {
            let (marker, sequence) = (self.marker, self.next());
            out(Packet { kind: Kind::Sound, marker, sequence, timestamp, payload: &self.payload[..octets] });
        }
        self.marker = octets == 0;
    }

    fn next(&mut self) -> u16 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    fn timestamp(&self, position: u64) -> u32 {
        ticks(self.codec, self.rate, position as usize)
    }
}
