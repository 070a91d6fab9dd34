//! Sound to payloads and back.
//!
//! Sound is one channel of 16-bit samples at 8000, 16000 or 48000 Hz. A codec works at the rate of its own sound or
//! less: toward a telephone line all of them work at 8000 Hz, which is far cheaper and leaves nothing to resample. Here, and
//! nowhere else, stand how much sound a payload is and what that is in RTP's time.

pub mod comfort_noise;
pub mod g711;
pub mod g722;
pub mod opus;
pub mod pause;
pub(in crate::media) mod prediction;
pub mod vad;

use thiserror::Error;

use crate::media::conceal::Concealer;
use crate::session::{self, Codec};
use g711::Law;

/// The longest sound of one packet that a [`Decoder`] may be asked to write: 120 ms at 48 kHz (RFC 6716 section 3.2.5).
pub const MOST_SAMPLES: usize = 48 * opus::MOST_MS;

/// Packet times that every codec can be sent in, in milliseconds.
const PACKET_TIMES: [u8; 5] = [10, 20, 30, 40, 60];

/// The peer sent a payload that the codec cannot be read from, or one with more sound than there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a payload of the codec")]
pub struct Malformed;

/// We ask what a codec cannot do.
#[derive(Debug, Error)]
pub enum CodecError {
    /// The codec does not work at this rate, Hz.
    #[error("{codec} does not work at {1} Hz", codec = .0.name())]
    Rate(Codec, u32),
    /// The payload's buffer is too small.
    #[error("no room for the payload")]
    Room,
    /// libopus refuses, or has no memory.
    #[error("{0}")]
    Opus(#[from] ::opus::Error),
}

/// The rate at which two sides work together, Hz: the narrower one's.
pub fn common_rate(a: Codec, b: Codec) -> u32 {
    a.sound_rate().min(b.sound_rate())
}

/// Can the codec work at this rate, Hz?
pub fn works_at(codec: Codec, rate: u32) -> bool {
    matches!(rate, 8000 | 16_000 | 48_000) && rate <= codec.sound_rate()
}

/// The packet time in milliseconds with which `wanted` is met: the next one that is not longer.
pub fn packet_time(wanted: u8) -> u8 {
    let [shortest, ..] = PACKET_TIMES;
    PACKET_TIMES.into_iter().rfind(|time| *time <= wanted).unwrap_or(shortest)
}

/// How much sound a payload is, in samples at `rate`; `None` when it cannot be.
pub fn samples(codec: Codec, rate: u32, payload: &[u8]) -> Option<usize> {
    match codec {
        Codec::Opus => opus::samples(rate, payload),
        // An octet for every tick, whatever the rate of the sound.
        Codec::G722 | Codec::Pcmu | Codec::Pcma => Some(from_ticks(codec, rate, payload.len() as u32)),
    }
}

/// How long sound is in RTP's time (ticks of [`Codec::clock_rate`]).
pub fn ticks(codec: Codec, rate: u32, samples: usize) -> u32 {
    (samples as u64 * u64::from(codec.clock_rate()) / u64::from(rate.max(1))) as u32
}

/// How much sound a span of RTP's time is, in samples at `rate`.
pub fn from_ticks(codec: Codec, rate: u32, ticks: u32) -> usize {
    (u64::from(ticks) * u64::from(rate) / u64::from(codec.clock_rate())) as usize
}

/// Payloads of one codec to sound at one rate. What is lost, Opus conceals itself; with the others the sound before it goes
/// on.
pub enum Decoder {
    /// PCMU, PCMA; heard as the same law or as the other.
    G711 {
        /// Of the payloads.
        law: Law,
        /// Of whoever will hear the sound.
        to: Law,
        /// Fills what is lost.
        concealer: Concealer,
    },
    /// G.722.
    G722(Box<g722::Decoder>, Concealer),
    /// Opus; its state lives in libopus.
    Opus(opus::Decoder),
}

impl Decoder {
    /// For sound at `rate` Hz.
    pub fn new(codec: Codec, rate: u32) -> Result<Decoder, CodecError> {
        if !works_at(codec, rate) {
            return Err(CodecError::Rate(codec, rate));
        }
        Ok(match codec {
            Codec::Pcmu => Decoder::G711 { law: Law::Mu, to: Law::Mu, concealer: Concealer::new(rate) },
            Codec::Pcma => Decoder::G711 { law: Law::A, to: Law::A, concealer: Concealer::new(rate) },
            Codec::G722 => Decoder::G722(Box::new(g722::Decoder::new(rate == 16_000)), Concealer::new(rate)),
            Codec::Opus => Decoder::Opus(opus::Decoder::new(rate)?),
        })
    }

    /// The sound will be said in this codec. Between G.711's laws it is heard as its tables say.
    #[must_use]
    pub fn toward(self, codec: Codec) -> Decoder {
        match (self, codec.law()) {
            (Decoder::G711 { law, concealer, .. }, Some(to)) => Decoder::G711 { law, to, concealer },
            (decoder, _) => decoder,
        }
    }

    /// Decodes a packet; how many samples. `sound` has room for them, at best for [`MOST_SAMPLES`].
    pub fn decode(&mut self, payload: &[u8], sound: &mut [i16]) -> Result<usize, Malformed> {
        if let Decoder::Opus(decoder) = self {
            return decoder.decode(payload, sound);
        }
        let heard = self.hear(payload, &mut [])?;
        sound.get_mut(..heard.len()).ok_or(Malformed)?.copy_from_slice(heard);
        Ok(heard.len())
    }

    /// The same without a copy: the sound is in `room`, or where it is remembered in any case.
    pub fn hear<'a>(&'a mut self, payload: &[u8], room: &'a mut [i16]) -> Result<&'a [i16], Malformed> {
        match self {
            Decoder::G711 { law, to, concealer } => {
                let decode = if law == to { g711::decode } else { g711::decode_converted };
                concealer.good(payload.len(), |sound| decode(*law, payload, sound)).ok_or(Malformed)
            }
            Decoder::G722(decoder, concealer) => {
                let samples = decoder.samples(payload);
                // cannot fail: there is as much room as samples.
                concealer.good(samples, |sound| _ = decoder.decode(payload, sound)).ok_or(Malformed)
            }
            Decoder::Opus(decoder) => {
                let samples = decoder.decode(payload, room)?;
                room.get(..samples).ok_or(Malformed)
            }
        }
    }

    /// Fills `sound` in place of a lost packet. Of several, only the last is given the packet that follows, `next`.
    pub fn conceal(&mut self, next: Option<&[u8]>, sound: &mut [i16]) {
        match self {
            Decoder::G711 { concealer, .. } | Decoder::G722(_, concealer) => concealer.lost(sound),
            Decoder::Opus(decoder) => decoder.conceal(next, sound),
        }
    }
}

/// Sound at one rate to payloads of one codec.
#[derive(Debug)]
pub enum Encoder {
    /// PCMU, PCMA.
    G711(Law),
    /// G.722.
    G722(Box<g722::Encoder>),
    /// Opus; its state lives in libopus.
    Opus(Box<opus::Encoder>),
}

impl Encoder {
    /// For sound at `rate` Hz; `wishes` are the peer's, of no meaning but with Opus.
    pub fn new(codec: Codec, rate: u32, wishes: &session::Opus) -> Result<Encoder, CodecError> {
        if !works_at(codec, rate) {
            return Err(CodecError::Rate(codec, rate));
        }
        Ok(match codec {
            Codec::Pcmu => Encoder::G711(Law::Mu),
            Codec::Pcma => Encoder::G711(Law::A),
            Codec::G722 => Encoder::G722(Box::new(g722::Encoder::new(rate == 16_000))),
            Codec::Opus => Encoder::Opus(Box::new(opus::Encoder::new(rate, wishes)?)),
        })
    }

    /// Encodes a packet of 10, 20, 30, 40 or 60 ms; how many octets of `payload`, 0 when there is nothing to send.
    pub fn encode(&mut self, sound: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        match self {
            Encoder::G711(law) => {
                let payload = payload.get_mut(..sound.len()).ok_or(CodecError::Room)?;
                g711::encode(*law, sound, payload);
                Ok(payload.len())
            }
            Encoder::G722(encoder) => encoder.encode(sound, payload),
            Encoder::Opus(encoder) => encoder.encode(sound, payload),
        }
    }

    /// How many packets of a hundred the peer reports as lost: an encoder that can protects against it.
    pub fn expect_loss(&mut self, percent: u8) {
        if let Encoder::Opus(encoder) = self {
            encoder.expect_loss(percent);
        }
    }

    /// How hard an encoder that has the choice shall work: 0 to 10.
    pub fn complexity(&mut self, complexity: u8) {
        if let Encoder::Opus(encoder) = self {
            encoder.complexity(complexity);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_says_every_packet_time_at_each_of_its_rates() {
        for codec in Codec::ALL {
            for rate in [8000, 16_000, 48_000].into_iter().filter(|rate| works_at(codec, *rate)) {
                let mut encoder = Encoder::new(codec, rate, &session::Opus::default()).unwrap();
                let mut decoder = Decoder::new(codec, rate).unwrap();
                for milliseconds in PACKET_TIMES.map(usize::from) {
                    let sound = vec![100; rate as usize / 1000 * milliseconds];
                    let (mut payload, mut heard) = ([0; 1500], [0; MOST_SAMPLES]);
                    let octets = encoder.encode(&sound, &mut payload).unwrap();
                    let payload = &payload[..octets];
                    let case = format!("{} at {rate} Hz, {milliseconds} ms", codec.name());
                    assert_eq!(samples(codec, rate, payload), Some(sound.len()), "{case}");
                    assert_eq!(decoder.decode(payload, &mut heard), Ok(sound.len()), "{case}");
                    let ticks = ticks(codec, rate, sound.len());
                    assert_eq!(ticks as usize, codec.clock_rate() as usize / 1000 * milliseconds, "{case}");
                    assert_eq!(from_ticks(codec, rate, ticks), sound.len(), "{case}");
                }
            }
        }
    }

    #[test]
    fn what_is_lost_is_filled_with_what_was_heard() {
        for codec in Codec::ALL {
            let mut encoder = Encoder::new(codec, 8000, &session::Opus::default()).unwrap();
            let mut decoder = Decoder::new(codec, 8000).unwrap();
            let (mut payload, mut heard) = ([0; 1500], [0; 160]);
            let sample = |at: usize| (f64::from(at as u32) * 0.2).sin() * 8000.0;
            let sound: Vec<i16> = (0..1600).map(|at| sample(at) as i16).collect();
            for sound in sound.chunks(160) {
                let octets = encoder.encode(sound, &mut payload).unwrap();
                decoder.decode(&payload[..octets], &mut heard).unwrap();
            }
            decoder.conceal(None, &mut heard);
            let loudest = heard.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            assert!((4000..10_000).contains(&loudest), "{}: {loudest}", codec.name());
        }
    }

    #[test]
    fn two_sides_meet_at_the_narrower_one() {
        for (a, b, rate) in [
            (Codec::Opus, Codec::Pcmu, 8000),
            (Codec::G722, Codec::Opus, 16_000),
            (Codec::Opus, Codec::Opus, 48_000),
            (Codec::Pcma, Codec::G722, 8000),
        ] {
            assert_eq!([common_rate(a, b), common_rate(b, a)], [rate; 2]);
            assert!(works_at(a, rate) && works_at(b, rate));
        }
        assert!(matches!(Decoder::new(Codec::Pcmu, 16_000), Err(CodecError::Rate(Codec::Pcmu, 16_000))));
        assert!(Encoder::new(Codec::Opus, 44_100, &session::Opus::default()).is_err());
    }

    #[test]
    fn a_packet_time_is_met_from_below() {
        assert_eq!([0, 5, 10, 19, 20, 35, 50, 60, 120].map(packet_time), [10, 10, 10, 10, 20, 30, 40, 60, 60]);
    }
}
