//! What a leg says and hears, recorded.
//!
//! ```text
//! media thread                      |  recorder, anywhere else
//! packet passes by -> tap -> ring --|-> pace (order, loss, decoder; a clock that is the packets' time) -> WAV
//!                      '- no room:  |        left what the peer said, right what it heard
//!                         counted   |
//! ```
//!
//! A tap copies payloads and allocates nothing; they are decoded where there is time. Both directions are taken at the
//! same ticks, so that they stay side by side; what was not said is silence.

use std::io::{Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hound::{SampleFormat, WavSpec, WavWriter};
use rtrb::{Consumer, Producer, RingBuffer};
use thiserror::Error;

use crate::media::codec::CodecError;
use crate::media::pace::PacedPlayout;
use crate::media::peer::{Heard, Kind};
use crate::media::resample::{RateError, Resampler};
use crate::media::splice::Position;
use crate::session::Codec;
use crate::time::Instant;
use crate::wire::rtp::{FIXED_HEADER, Header};

/// Packets that may wait for the recorder: 10 s of both directions at 20 ms.
const PACKETS: usize = 1000;
/// Octets that may wait: as long, of 64 kbit/s.
const OCTETS: usize = PACKETS * 160;
/// The longest payload that is recorded.
const PAYLOAD: usize = 1500;
/// The recorder's pace.
const TICK: Duration = Duration::from_millis(20);
/// How often a recorder looks for packets.
const LOOK: Duration = Duration::from_millis(100);
/// Packets are waited for at most as long as this in a recording, where a delay harms nobody.
const PATIENCE: Duration = Duration::from_millis(200);
/// What is still played when a recording ends.
const END: Duration = Duration::from_secs(1);
/// Samples that a WAV file can tell of: its lengths have 32 bits and count octets, those of its own head too.
const LONGEST: u32 = (1 << 31) - 4096;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The peer says it.
    Received,
    /// The peer hears it.
    Sent,
}

/// A packet that passes by.
#[derive(Clone, Copy, Debug)]
pub struct Tapped {
    /// Which way.
    pub course: Course,
    /// How its sound is coded.
    pub codec: Codec,
    /// What it carries.
    pub kind: Kind,
    /// Where it lies in its stream, and whether its source is a new one.
    pub place: Position,
    /// When.
    pub at: Instant,
}

/// The media thread's end of a recording.
#[derive(Debug)]
pub struct Tap {
    packets: Producer<(Tapped, usize)>,
    octets: Producer<u8>,
    missed: Arc<AtomicU64>,
}

impl Tap {
    /// A packet passes by. When the recorder is far behind, it is missed.
    pub fn pass(&mut self, tapped: Tapped, payload: &[u8]) {
        let room = !self.packets.is_full() && payload.len() <= PAYLOAD;
        if !room || self.octets.push_entire_slice(payload).is_err() {
            self.missed.fetch_add(1, Ordering::Relaxed);
            return;
        }
        // There is room: seen above.
        let _ = self.packets.push((tapped, payload.len()));
    }
}

/// Why a recording ends before its time.
#[derive(Debug, Error)]
pub enum RecordError {
    /// The disk is full, or the like.
    #[error("cannot write the recording: {0}")]
    Write(#[from] hound::Error),
    /// It is as long as a WAV file can be.
    #[error("the recording is as long as its file can be")]
    Full,
    /// Its sound cannot be decoded.
    #[error("cannot record this codec: {0}")]
    Codec(#[from] CodecError),
    /// Its sound has another rate.
    #[error("cannot record at this rate: {0}")]
    Rate(#[from] RateError),
}

/// What became of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// How long it is.
    pub length: Duration,
    /// Packets for which there was no room on their way.
    pub missed: u64,
}

/// The other end: writes a stereo WAV file of 16 bits.
pub struct Recorder<File: Write + Seek> {
    packets: Consumer<(Tapped, usize)>,
    octets: Consumer<u8>,
    missed: Arc<AtomicU64>,
    file: WavWriter<File>,
    rate: u32,
    tracks: [Option<Track>; 2],
    /// The next tick; there is none before the first packet.
    tick: Option<Instant>,
    ticks: u32,
}

/// A recording of sound of `rate` Hz (8000, 16000 or 48000) into this file.
pub fn recording<File: Write + Seek>(file: File, rate: u32) -> Result<(Tap, Recorder<File>), RecordError> {
    let spec = WavSpec { channels: 2, sample_rate: rate, bits_per_sample: 16, sample_format: SampleFormat::Int };
    let file = WavWriter::new(file, spec)?;
    let (to_packets, packets) = RingBuffer::new(PACKETS);
    let (to_octets, octets) = RingBuffer::new(OCTETS);
    let missed = Arc::new(AtomicU64::new(0));
    let tap = Tap { packets: to_packets, octets: to_octets, missed: missed.clone() };
    Ok((tap, Recorder { packets, octets, missed, file, rate, tracks: [None, None], tick: None, ticks: 0 }))
}

impl<File: Write + Seek> Recorder<File> {
    /// Records until the tap's end. Waits in between: for a thread of its own.
    pub fn run(mut self) -> Result<Recorded, RecordError> {
        while self.work()? {
            std::thread::sleep(LOOK);
        }
        self.finish()
    }

    /// Writes what came; `false` when nothing more will. Never waits but for the file.
    pub fn work(&mut self) -> Result<bool, RecordError> {
        let goes_on = !self.packets.is_abandoned();
        let mut payload = [0; PAYLOAD];
        while let Ok((tapped, length)) = self.packets.pop() {
            let payload = &mut payload[..length.min(PAYLOAD)];
            if self.octets.pop_entire_slice(payload).is_ok() {
                self.ticks_until(tapped.at)?;
                self.track(&tapped)?.hear(&tapped, payload);
            }
        }
        Ok(goes_on)
    }

    /// Writes what came, plays what is left and completes the file.
    pub fn finish(mut self) -> Result<Recorded, RecordError> {
        self.work()?;
        let end = self.tick.map(|tick| tick + END);
        while let Some(tick) =
            self.tick.filter(|tick| Some(*tick) < end && self.tracks.iter().flatten().any(Track::sounds))
        {
            self.ticks_until(tick)?;
        }
        self.file.finalize()?;
        Ok(Recorded { length: TICK * self.ticks, missed: self.missed.load(Ordering::Relaxed) })
    }

    fn ticks_until(&mut self, now: Instant) -> Result<(), RecordError> {
        let mut tick = *self.tick.get_or_insert(now + TICK);
        while tick <= now {
            self.write(tick)?;
            tick = tick + TICK;
            self.tick = Some(tick);
        }
        Ok(())
    }

    fn write(&mut self, tick: Instant) -> Result<(), RecordError> {
        if self.file.len() > LONGEST {
            return Err(RecordError::Full);
        }
        let samples = self.rate as usize * TICK.as_millis() as usize / 1000;
        let [left, right] =
            self.tracks.each_mut().map(|track| track.as_mut().map_or(&[][..], |track| track.tick(tick)));
        let mut file = self.file.get_i16_writer(2 * samples as u32);
        for at in 0..samples {
            file.write_sample(left.get(at).copied().unwrap_or(0));
            file.write_sample(right.get(at).copied().unwrap_or(0));
        }
        file.flush()?;
        self.ticks += 1;
        Ok(())
    }

    /// The track of a packet; a new one where its codec has changed.
    fn track(&mut self, tapped: &Tapped) -> Result<&mut Track, RecordError> {
        let place = &mut self.tracks[tapped.course as usize];
        let track = match place.take() {
            Some(track) if track.codec == tapped.codec => track,
            _ => Track::new(tapped.codec, self.rate)?,
        };
        Ok(place.insert(track))
    }
}

/// One direction.
struct Track {
    codec: Codec,
    playout: PacedPlayout,
    resampler: Resampler,
    sound: Vec<i16>,
    recorded: Vec<i16>,
}

impl Track {
    fn new(codec: Codec, rate: u32) -> Result<Track, RecordError> {
        let own = rate.min(codec.sound_rate());
        let samples = |rate: u32| vec![0; rate as usize * TICK.as_millis() as usize / 1000];
        let (playout, resampler) = (PacedPlayout::new(codec, own, PATIENCE)?, Resampler::new(own, rate)?);
        Ok(Track { codec, playout, resampler, sound: samples(own), recorded: samples(rate) })
    }

    fn hear(&mut self, tapped: &Tapped, payload: &[u8]) {
        let Position { sequence, timestamp, .. } = tapped.place;
        // A stream of ours goes on whatever it is made of.
        let first = tapped.course == Course::Received && tapped.place.first;
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp,
            ssrc: 0,
            length: FIXED_HEADER,
            padded: false,
        };
        let heard = Heard { kind: tapped.kind, header, payload: 0..payload.len(), first };
        self.playout.hear(&heard, payload, tapped.at, &mut |_| {});
    }

    fn tick(&mut self, now: Instant) -> &[i16] {
        self.playout.tick(now, &mut self.sound, &mut |_| {});
        self.resampler.process(&self.sound, &mut self.recorded);
        &self.recorded
    }

    fn sounds(&self) -> bool {
        !self.playout.pauses()
    }
}

#[cfg(test)]
pub(super) mod tests;
