//! Opus (RFC 6716) over RTP (RFC 7587), by libopus: one channel, tuned for speech.
//!
//! * A packet of 30 ms is three frames of 10 ms: Opus has no frame of 30.
//! * The encoder protects against loss only when the peer uses that (`useinbandfec=1`) and reports loss: the copy of the
//!   packet before that each packet then carries costs bits, and what it costs is added, or speech would pay.
//! * Pauses are not sent when the peer takes that (`usedtx=1`).
//! * The decoder makes one channel of two, and takes packets of any number of frames.

use std::fmt;

use ::opus::{Application, Bandwidth, Bitrate, Channels, Repacketizer, Signal};

use super::{CodecError, Malformed};
use crate::session::Opus;

/// The longest packet (RFC 6716 section 3.2.5), in milliseconds.
pub const MOST_MS: usize = 120;
/// Complexity from a load in percent on: less than half the work toward a telephone line, and 0.02 of a MOS lost.
const UNDER_LOAD: [(u8, u8); 2] = [(80, 0), (60, 2)];
/// Octets of a packet that say only that there is nothing to say (RFC 7587 section 3.1.3).
const PAUSE: usize = 2;
/// The most octets of each frame when a packet is put together of several.
const MOST_OCTETS: usize = 400;
/// Frames are at least this long here, in parts of a second.
const FRAMES_A_SECOND: usize = 100;
/// The shortest sound that Opus can conceal, in parts of a second.
const QUANTA_A_SECOND: usize = 400;

/// Bit/s for speech at up to this many Hz of sampling rate. More than it needs to be understood: octets are cheap beside
/// headers, and the more of them, the less work makes speech sound well.
const BITRATES: [(u32, Bandwidth, i32); 5] = [
    (8000, Bandwidth::Narrowband, 28_000),
    (12_000, Bandwidth::Mediumband, 30_000),
    (16_000, Bandwidth::Wideband, 32_000),
    (24_000, Bandwidth::Superwideband, 36_000),
    (48_000, Bandwidth::Fullband, 40_000),
];
/// Bit/s at least; below, libopus speaks of noise.
const LEAST_BITRATE: i32 = 6000;
/// Bit/s more for frames of 10 ms, which say many things twice as often.
const SHORT_FRAMES: i32 = 3000;

/// How hard encoders shall work while the thread that runs them is busy for so many percent of its time.
pub fn complexity_under(load: u8, rate: u32) -> u8 {
    UNDER_LOAD.into_iter().find(|(from, _)| load >= *from).map_or(complexity(rate), |(_, complexity)| complexity)
}

/// Complexity that a new encoder works with: what more of it gains is not heard. At 8 kHz PESQ says 4.50 rather than the 4.51
/// of 5, for a fifth less work.
pub const fn complexity(rate: u32) -> u8 {
    if rate > 8000 { 5 } else { 3 }
}

/// Sound to packets.
pub struct Encoder {
    opus: ::opus::Encoder,
    repacketizer: Repacketizer,
    /// Samples a second.
    rate: usize,
    wishes: Opus,
    /// Packets lost of a hundred, as the peer reports.
    loss: u8,
    /// Samples of a packet that the encoder is tuned to.
    tuned: usize,
}

impl Encoder {
    /// For sound at 8000, 16000 or 48000 Hz, as the peer wishes.
    pub fn new(rate: u32, wishes: &Opus) -> Result<Encoder, CodecError> {
        let mut opus = ::opus::Encoder::new(rate, Channels::Mono, Application::Voip)?;
        opus.set_signal(Signal::Voice)?;
        opus.set_vbr(!wishes.cbr)?;
        opus.set_dtx(wishes.dtx)?;
        opus.set_lsb_depth(16)?;
        opus.set_complexity(i32::from(complexity(rate)))?;
        let repacketizer = Repacketizer::new()?;
        Ok(Encoder { opus, repacketizer, rate: rate as usize, wishes: *wishes, loss: 0, tuned: 0 })
    }

    /// Encodes a packet of 10, 20, 30, 40 or 60 ms; how many octets, 0 when there is nothing to send.
    pub fn encode(&mut self, sound: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        if sound.len() != self.tuned {
            self.tune(sound.len())?;
        }
        let frame = self.rate / FRAMES_A_SECOND;
        let octets = match sound.len() == 3 * frame {
            true => self.encode_three(sound, payload)?,
            false => self.opus.encode(sound, payload)?,
        };
        Ok(if self.wishes.dtx && octets <= PAUSE { 0 } else { octets })
    }

    fn encode_three(&mut self, sound: &[i16], payload: &mut [u8]) -> Result<usize, CodecError> {
        let (mut octets, mut lengths) = ([[0; MOST_OCTETS]; 3], [0; 3]);
        for ((frame, octets), length) in sound.chunks(sound.len() / 3).zip(&mut octets).zip(&mut lengths) {
            *length = self.opus.encode(frame, octets)?;
        }
        if lengths.iter().all(|length| *length <= PAUSE) && self.wishes.dtx {
            return Ok(0);
        }
        let [a, b, c] = &octets;
        let [a_length, b_length, c_length] = lengths;
        Ok(self.repacketizer.combine(&[&a[..a_length], &b[..b_length], &c[..c_length]], payload)?)
    }

    /// Sets bit rate and protection for packets of so many samples.
    fn tune(&mut self, samples: usize) -> Result<(), CodecError> {
        let three = samples == 3 * (self.rate / FRAMES_A_SECOND);
        let short = three || samples * FRAMES_A_SECOND <= self.rate;
        let heard = self.wishes.max_playback_rate.clamp(8000, self.rate as u32);
        let [.., widest] = BITRATES;
        let (_, bandwidth, bitrate) = BITRATES.into_iter().find(|(rate, ..)| heard <= *rate).unwrap_or(widest);
        // Frames of one packet are alike. And of three frames, two would protect what comes with the same packet.
        let protected = self.wishes.fec && !three && self.loss > 0;
        let bitrate = bitrate + if short { SHORT_FRAMES } else { 0 };
        let bitrate = if protected { bitrate * 5 / 4 } else { bitrate };
        let most = self.wishes.max_average_bitrate.map_or(i32::MAX, |most| i32::try_from(most).unwrap_or(i32::MAX));
        let bitrate = bitrate.min(most).max(LEAST_BITRATE);
        self.opus.set_max_bandwidth(bandwidth)?;
        self.opus.set_bandwidth(if three { affordable(bandwidth, bitrate) } else { Bandwidth::Auto })?;
        self.opus.set_bitrate(Bitrate::Bits(bitrate))?;
        self.opus.set_inband_fec(protected)?;
        self.opus.set_packet_loss_perc(i32::from(self.loss))?;
        self.tuned = samples;
        Ok(())
    }

    /// How many packets of a hundred the peer reports as lost.
    pub fn expect_loss(&mut self, percent: u8) {
        let percent = percent.min(100);
        if percent != self.loss {
            // Tuned anew with the next packet.
            (self.loss, self.tuned) = (percent, 0);
        }
    }

    /// How hard to work: 0 to 10.
    pub fn complexity(&mut self, complexity: u8) {
        // Cannot fail: every value up to 10 is allowed.
        let _ = self.opus.set_complexity(i32::from(complexity.min(10)));
    }

    /// How much later sound leaves a decoder than it entered here, in samples: what the codec itself takes.
    pub fn delay(&mut self) -> usize {
        self.opus.get_lookahead().map_or(0, |samples| usize::try_from(samples).unwrap_or(0))
    }
}

impl fmt::Debug for Encoder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Encoder")
            .field("rate", &self.rate)
            .field("wishes", &self.wishes)
            .finish_non_exhaustive()
    }
}

/// `widest`, or less where so few bits a second would spread too thin.
fn affordable(widest: Bandwidth, bitrate: i32) -> Bandwidth {
    match bitrate {
        ..12_000 => Bandwidth::Narrowband,
        12_000..24_000 if widest != Bandwidth::Narrowband => Bandwidth::Wideband,
        _ => widest,
    }
}

/// Packets to sound.
#[derive(Debug)]
pub struct Decoder {
    opus: ::opus::Decoder,
    /// Samples a second.
    rate: usize,
}

impl Decoder {
    /// For sound at 8000, 16000 or 48000 Hz.
    pub fn new(rate: u32) -> Result<Decoder, CodecError> {
        Ok(Decoder { opus: ::opus::Decoder::new(rate, Channels::Mono)?, rate: rate as usize })
    }

    /// Decodes a packet; how many samples, which must fit into `sound`.
    pub fn decode(&mut self, payload: &[u8], sound: &mut [i16]) -> Result<usize, Malformed> {
        if payload.is_empty() {
            return Err(Malformed);
        }
        self.opus.decode(payload, sound, false).map_err(|_| Malformed)
    }

    /// Fills `sound` in place of what was lost. With the packet that follows, its end is taken from the copy in there, if
    /// there is one.
    pub fn conceal(&mut self, next: Option<&[u8]>, sound: &mut [i16]) {
        let quantum = self.rate / QUANTA_A_SECOND;
        let (whole, rest) = sound.split_at_mut(sound.len() / quantum * quantum);
        let next = next.filter(|next| !next.is_empty() && !whole.is_empty());
        let recovered = next.is_some_and(|next| self.opus.decode(next, whole, true).is_ok());
        if !recovered {
            self.invent(whole);
        }
        if !rest.is_empty() {
            let mut invented = [0; 48_000 / QUANTA_A_SECOND];
            self.invent(&mut invented[..quantum]);
            rest.copy_from_slice(&invented[..rest.len()]);
        }
    }

    fn invent(&mut self, sound: &mut [i16]) {
        if !sound.is_empty() && self.opus.decode(&[], sound, false).is_err() {
            sound.fill(0);
        }
    }
}

/// How much sound a packet is, in samples at `rate`; `None` when it is no Opus packet.
pub fn samples(rate: u32, payload: &[u8]) -> Option<usize> {
    ::opus::packet::get_nb_samples(payload, rate).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 3] = [8000, 16_000, 48_000];
    const ALL: Opus = Opus { max_playback_rate: 48_000, max_average_bitrate: None, fec: true, dtx: false, cbr: false };

    /// Something like a voice: a buzz of 120 to 180 Hz that swells and fades.
    fn voice(rate: u32, milliseconds: usize) -> Vec<i16> {
        let (mut phase, mut smooth) = (0.0f64, [0.0; 2]);
        let sample = |at: usize| {
            let time = at as f64 / f64::from(rate);
            phase += (150.0 + 30.0 * (time * 5.0).sin()) / f64::from(rate);
            let pulse = if phase >= 1.0 { 1.0 } else { 0.0 };
            phase = phase.fract();
            // A resonance at 700 Hz.
            let (turn, decay) = (std::f64::consts::TAU * 700.0 / f64::from(rate), (-600.0 / f64::from(rate)).exp());
            let value = pulse + 2.0 * decay * turn.cos() * smooth[0] - decay * decay * smooth[1];
            smooth = [value, smooth[0]];
            (value * 4000.0 * (1.2 + (time * 9.0).sin())).clamp(-32768.0, 32767.0) as i16
        };
        (0..rate as usize * milliseconds / 1000).map(sample).collect()
    }

    /// How alike, -1 to 1, at the best shift of up to 10 ms.
    fn likeness(source: &[i16], heard: &[i16], rate: u32) -> f64 {
        let energy = |sound: &[i16]| sound.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
        let at = |shift: usize| {
            let product: f64 = source.iter().zip(&heard[shift..]).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            product / (energy(source) * energy(heard)).sqrt().max(1.0)
        };
        (0..80).map(|shift| at(shift * rate as usize / 8000)).fold(-1.0, f64::max)
    }

    fn encode(encoder: &mut Encoder, sound: &[i16], frame: usize) -> Vec<Vec<u8>> {
        let mut payload = [0; 1500];
        let frames = sound.chunks_exact(frame);
        frames
            .map(|frame| encoder.encode(frame, &mut payload).map(|octets| payload[..octets].to_vec()).unwrap())
            .collect()
    }

    fn decode(decoder: &mut Decoder, packets: &[Vec<u8>]) -> Vec<i16> {
        let mut sound = [0; 48 * MOST_MS];
        let mut one = |packet: &Vec<u8>| decoder.decode(packet, &mut sound).map(|length| sound[..length].to_vec());
        packets.iter().flat_map(|packet| one(packet).unwrap()).collect()
    }

    #[test]
    fn every_packet_time_at_every_rate_keeps_a_voice() {
        for rate in RATES {
            let source = voice(rate, 240);
            for milliseconds in [10, 20, 30, 40, 60] {
                let frame = rate as usize * milliseconds / 1000;
                let packets = encode(&mut Encoder::new(rate, &ALL).unwrap(), &source, frame);
                assert!(
                    packets.iter().all(|packet| samples(rate, packet) == Some(frame)),
                    "{rate} Hz, {milliseconds} ms"
                );
                for hearing in RATES {
                    let heard = decode(&mut Decoder::new(hearing).unwrap(), &packets);
                    let alike = likeness(&voice(hearing, 240), &heard, hearing);
                    assert!(alike > 0.85, "{rate} Hz, {milliseconds} ms, heard at {hearing} Hz: {alike}");
                }
            }
        }
    }

    #[test]
    fn under_load_encoders_work_less() {
        let under = |rate| [0, 59, 60, 79, 80, 100].map(|load| complexity_under(load, rate));
        assert_eq!(under(16_000), [5, 5, 2, 2, 0, 0]);
        assert_eq!(under(8000), [3, 3, 2, 2, 0, 0]);
    }

    #[test]
    fn thirty_milliseconds_are_three_frames() {
        let packets = encode(&mut Encoder::new(8000, &ALL).unwrap(), &voice(8000, 90), 240);
        assert!(packets.iter().all(|packet| ::opus::packet::get_nb_frames(packet).unwrap() == 3));
    }

    /// Every fifth packet of a voice is lost: how alike the sound is to what it is without loss.
    fn recovered(wishes: &Opus, loss: u8, use_next: bool) -> f64 {
        let source = voice(8000, 2000);
        let mut encoder = Encoder::new(8000, wishes).unwrap();
        encoder.expect_loss(loss);
        let packets = encode(&mut encoder, &source, 160);
        let mut decoder = Decoder::new(8000).unwrap();
        let mut heard = Vec::new();
        for (at, packet) in packets.iter().enumerate() {
            let mut sound = [0; 160];
            match (at % 5, packets.get(at + 1)) {
                (3, Some(next)) => decoder.conceal(use_next.then_some(next), &mut sound),
                _ => assert_eq!(decoder.decode(packet, &mut sound), Ok(160)),
            }
            heard.extend(sound);
        }
        likeness(&decode(&mut Decoder::new(8000).unwrap(), &packets), &heard, 8000)
    }

    #[test]
    fn the_packet_after_a_lost_one_brings_it_back() {
        let invented = recovered(&ALL, 20, false);
        let restored = recovered(&ALL, 20, true);
        assert!(restored > 0.98 && restored > invented + 0.01, "{restored} {invented}");
    }

    #[test]
    fn nobody_is_protected_who_did_not_ask_or_loses_nothing() {
        let not_asked = Opus { fec: false, ..ALL };
        assert_eq!(recovered(&not_asked, 20, true), recovered(&not_asked, 20, false));
        assert_eq!(recovered(&ALL, 0, true), recovered(&ALL, 0, false));
    }

    #[test]
    fn pauses_are_not_sent_to_who_takes_that() {
        let pause = vec![0; 8000 * 2];
        for (dtx, frame) in [(true, 160), (true, 240), (false, 160), (false, 240)] {
            let packets = encode(&mut Encoder::new(8000, &Opus { dtx, ..ALL }).unwrap(), &pause, frame);
            let sent = packets.iter().filter(|packet| !packet.is_empty()).count();
            let expected = if dtx { 1..packets.len() / 2 } else { packets.len()..packets.len() + 1 };
            assert!(expected.contains(&sent), "{dtx} {frame}: {sent} of {}", packets.len());
        }
    }

    #[test]
    fn a_peer_gets_no_more_than_it_wishes() {
        let octets = |wishes: Opus, rate: u32, milliseconds: usize| -> Vec<usize> {
            let frame = rate as usize * milliseconds / 1000;
            let packets = encode(&mut Encoder::new(rate, &wishes).unwrap(), &voice(rate, 3000), frame);
            packets.iter().map(Vec::len).collect()
        };
        for milliseconds in [20, 30, 60] {
            let slow = octets(Opus { max_average_bitrate: Some(12_000), ..ALL }, 48_000, milliseconds);
            let bits = slow.iter().sum::<usize>() * 8 / 3;
            assert!((6000..12_600).contains(&bits), "{bits} bit/s");
        }
        let constant = octets(Opus { cbr: true, ..ALL }, 16_000, 20);
        assert!(constant.iter().all(|octets| octets == &constant[0]), "{constant:?}");
        let narrow = Opus { max_playback_rate: 8000, ..ALL };
        let packets = encode(&mut Encoder::new(48_000, &narrow).unwrap(), &voice(48_000, 200), 960);
        assert!(packets.iter().all(|packet| ::opus::packet::get_bandwidth(packet).unwrap() == Bandwidth::Narrowband));
    }

    #[test]
    fn two_channels_become_one_and_long_packets_are_read() {
        let mut peer = ::opus::Encoder::new(48_000, Channels::Stereo, Application::Audio).unwrap();
        let both: Vec<i16> = voice(48_000, 120).iter().flat_map(|sample| [*sample; 2]).collect();
        let packet = peer.encode_vec(&both, 1500).unwrap();
        let mut sound = [0; 48 * MOST_MS];
        let mut decoder = Decoder::new(48_000).unwrap();
        assert_eq!(decoder.decode(&packet, &mut sound), Ok(5760));
        assert!(likeness(&voice(48_000, 120), &sound, 48_000) > 0.8);
        assert_eq!(decoder.decode(&packet, &mut sound[..5759]), Err(Malformed), "no room");
    }

    #[test]
    fn what_is_lost_is_filled_whatever_its_length() {
        let packets = encode(&mut Encoder::new(8000, &ALL).unwrap(), &voice(8000, 200), 160);
        for length in [0, 1, 19, 20, 80, 161, 480, 959] {
            let mut decoder = Decoder::new(8000).unwrap();
            decode(&mut decoder, &packets);
            let mut sound = vec![i16::MIN; length];
            decoder.conceal(packets.first().map(Vec::as_slice), &mut sound);
            assert!(!sound.contains(&i16::MIN), "{length}");
        }
    }

    #[test]
    fn no_octets_upset_the_decoder() {
        let voice = encode(&mut Encoder::new(48_000, &ALL).unwrap(), &voice(48_000, 100), 960);
        bolero::check!().with_type::<(Vec<u8>, Vec<u8>, u8)>().for_each(|(payload, next, rate)| {
            let rate = RATES[usize::from(*rate) % 3];
            let mut decoder = Decoder::new(rate).unwrap();
            let mut sound = [0; 48 * MOST_MS];
            decoder.decode(&voice[0], &mut sound).unwrap();
            let expected = samples(rate, payload);
            if let Ok(length) = decoder.decode(payload, &mut sound) {
                assert_eq!(expected, Some(length));
            }
            decoder.conceal(Some(next), &mut sound[..rate as usize / 50]);
            decoder.conceal(None, &mut sound[..rate as usize / 100]);
        });
    }
}
