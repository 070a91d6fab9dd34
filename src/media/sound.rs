//! Sound files: read whole, outside the media threads, before a call needs them.
//!
//! 1. WAV as it is, or Ogg Opus (RFC 7845) decoded: in pieces, never more of it than [`LONGEST`].
//! 2. Several channels become one.
//! 3. The rest is resampled to the rates at which a [`Sound`] is kept.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use hound::{SampleFormat, WavReader};
use ogg::{OggReadError, PacketReader};
use thiserror::Error;

use crate::media::codec::{CodecError, MOST_SAMPLES, opus};
use crate::media::resample::{RateError, Resampler};
use crate::session::Sound;

/// The longest sound: a minute of it takes 3 MB of memory.
pub const LONGEST: Duration = Duration::from_secs(600);
/// The highest sampling rate of a WAV file, Hz.
const HIGHEST_RATE: u32 = 192_000;
/// Opus counts time at this rate in a file, Hz (RFC 7845 section 4).
const OPUS_CLOCK: u32 = 48_000;

/// We are misconfigured: the file cannot be played.
#[derive(Debug, Error)]
pub enum SoundError {
    /// It is not there, or not ours to read.
    #[error("it cannot be read: {0}")]
    Unreadable(#[from] io::Error),
    /// It begins as neither does.
    #[error("it is neither WAV nor Ogg Opus")]
    Unknown,
    /// A WAV file that is damaged, or coded in a way that is not plain samples.
    #[error("this WAV file cannot be played: {0}")]
    Wav(#[from] hound::Error),
    /// A damaged Ogg file.
    #[error("this Ogg file is damaged: {0}")]
    Ogg(#[from] OggReadError),
    /// Ogg, but not Opus in one or two channels.
    #[error("this Ogg file holds no Opus of one or two channels")]
    NotOpus,
    /// A packet of it is damaged.
    #[error("the Opus in this file is damaged")]
    BadOpus,
    /// libopus does not start.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// No resampler for its rate.
    #[error("its sampling rate is unusual: {0}")]
    Rate(#[from] RateError),
    /// More than [`LONGEST`].
    #[error("it is longer than {} minutes", LONGEST.as_secs() / 60)]
    Long,
    /// There is no sound in it.
    #[error("there is no sound in it")]
    Empty,
}

/// Reads a file. It blocks.
pub fn load(file: &Path) -> Result<Sound, SoundError> {
    read(BufReader::new(File::open(file)?))
}

fn read(mut file: impl Read + Seek) -> Result<Sound, SoundError> {
    let mut magic = Vec::new();
    file.by_ref().take(4).read_to_end(&mut magic)?;
    file.seek(SeekFrom::Start(0))?;
    let sound = match &magic[..] {
        b"RIFF" => wav(file),
        b"OggS" => ogg_opus(file),
        _ => Err(SoundError::Unknown),
    }?;
    let [narrow, wide] = sound;
    // A sample more or less, by rounding.
    let length = narrow.len().min(wide.len() / 2);
    let cut = |mut samples: Vec<i16>, length| {
        samples.truncate(length);
        samples
    };
    Sound::new(cut(narrow, length), cut(wide, 2 * length)).ok_or(SoundError::Empty)
}

/// At each of [`Sound::RATES`].
type Samples = [Vec<i16>; 2];

fn wav(file: impl Read) -> Result<Samples, SoundError> {
    let mut reader = WavReader::new(file)?;
    let spec = reader.spec();
    let (channels, rate) = (usize::from(spec.channels.max(1)), spec.sample_rate);
    if rate > HIGHEST_RATE {
        return Err(SoundError::Rate(RateError::Apart(rate, Sound::RATES[1])));
    }
    let most = LONGEST.as_secs() as usize * rate as usize;
    let mut mixer = Mixer { channels, most, mixed: Vec::new(), frame: 0.0, filled: 0 };
    match spec.sample_format {
        SampleFormat::Float => {
            for sample in reader.samples::<f32>() {
                mixer.sample(sample?)?;
            }
        }
        SampleFormat::Int => {
            let full = 2f32.powi(i32::from(spec.bits_per_sample) - 1);
            for sample in reader.samples::<i32>() {
                mixer.sample(sample? as f32 / full)?;
            }
        }
    }
    let [narrow, wide] = Sound::RATES.map(|to| resample(&mixer.mixed, rate, to));
    Ok([narrow?, wide?])
}

/// Makes one channel of several.
struct Mixer {
    channels: usize,
    most: usize,
    mixed: Vec<i16>,
    /// Of the channels that came so far.
    frame: f32,
    filled: usize,
}

impl Mixer {
    /// The next sample of the next channel, full scale at 1.
    fn sample(&mut self, sample: f32) -> Result<(), SoundError> {
        (self.frame, self.filled) = (self.frame + sample, self.filled + 1);
        if self.filled < self.channels {
            return Ok(());
        }
        if self.mixed.len() == self.most {
            return Err(SoundError::Long);
        }
        // A float becomes the nearest number of 16 bits, nonsense becomes silence.
        self.mixed.push((self.frame / self.channels as f32 * 32_768.0).round() as i16);
        (self.frame, self.filled) = (0.0, 0);
        Ok(())
    }
}

/// The whole sound at another rate, as long as it was and no later.
fn resample(sound: &[i16], from: u32, to: u32) -> Result<Vec<i16>, RateError> {
    let mut resampler = Resampler::new(from, to)?;
    let late = (resampler.delay().as_secs_f64() * f64::from(to)).round() as usize;
    let length = (sound.len() as u64 * u64::from(to) / u64::from(from)) as usize;
    // As much silence behind it as pushes its end out: a block that waits, and the delay.
    let silence = if from == to { Vec::new() } else { vec![0; from as usize / 2] };
    let mut resampled = Vec::new();
    for part in [sound, &silence] {
        let begun = resampled.len();
        resampled.resize(begun + resampler.room(part.len()), 0);
        let written = resampler.process(part, &mut resampled[begun..]);
        resampled.truncate(begun + written);
    }
    resampled.drain(..late.min(resampled.len()));
    resampled.truncate(length);
    Ok(resampled)
}

/// What an Ogg Opus file begins with (RFC 7845 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpusHead {
    /// Samples before the sound begins, at 48 kHz.
    pre_skip: u16,
    /// 1/256 dB.
    gain: i16,
}

impl OpusHead {
    /// Of mapping family 0: one or two channels.
    fn read(packet: &[u8]) -> Option<OpusHead> {
        let (magic, rest) = packet.split_at_checked(8)?;
        let [version, channels, skip_low, skip_high, _, _, _, _, gain_low, gain_high, family, ..] = *rest else {
            return None;
        };
        let fits = magic == b"OpusHead" && version >> 4 == 0 && (1..=2).contains(&channels) && family == 0;
        fits.then(|| OpusHead {
            pre_skip: u16::from_le_bytes([skip_low, skip_high]),
            gain: i16::from_le_bytes([gain_low, gain_high]),
        })
    }
}

/// The first Opus stream of a file. Opus decodes to any of our rates by itself.
fn ogg_opus(file: impl Read + Seek) -> Result<Samples, SoundError> {
    let mut reader = PacketReader::new(file);
    let first = reader.read_packet()?.ok_or(SoundError::NotOpus)?;
    let head = OpusHead::read(&first.data).ok_or(SoundError::NotOpus)?;
    let [narrow, wide] = Sound::RATES;
    let mut decoders = [opus::Decoder::new(narrow)?, opus::Decoder::new(wide)?];
    let mut samples = [Vec::new(), Vec::new()];
    // The second packet is the tags.
    let mut tags = true;
    let mut end = None;
    while let Some(packet) = reader.read_packet()? {
        if packet.stream_serial() != first.stream_serial() {
            continue;
        }
        if !std::mem::take(&mut tags) {
            for (decoder, samples) in decoders.iter_mut().zip(&mut samples) {
                decode(decoder, &packet.data, samples)?;
            }
        }
        if samples[0].len() > (LONGEST.as_secs() * u64::from(narrow)) as usize + MOST_SAMPLES {
            return Err(SoundError::Long);
        }
        if packet.last_in_stream() {
            end = Some(packet.absgp_page());
            break;
        }
    }
    for (samples, rate) in samples.iter_mut().zip(Sound::RATES) {
        trim(samples, &head, end, rate);
    }
    Ok(samples)
}

fn decode(decoder: &mut opus::Decoder, packet: &[u8], samples: &mut Vec<i16>) -> Result<(), SoundError> {
    let mut sound = [0; MOST_SAMPLES];
    let length = decoder.decode(packet, &mut sound).map_err(|_| SoundError::BadOpus)?;
    samples.extend_from_slice(&sound[..length]);
    Ok(())
}

/// Cuts off what the encoder put before and behind the sound, and makes it as loud as the file says.
fn trim(samples: &mut Vec<i16>, head: &OpusHead, end: Option<u64>, rate: u32) {
    let at_rate = |ticks: u64| usize::try_from(ticks / u64::from(OPUS_CLOCK / rate)).unwrap_or(usize::MAX);
    if let Some(end) = end {
        samples.truncate(at_rate(end));
    }
    samples.drain(..at_rate(head.pre_skip.into()).min(samples.len()));
    if head.gain != 0 {
        let gain = 10f32.powf(f32::from(head.gain) / (20.0 * 256.0));
        // A float becomes the nearest number of 16 bits.
        samples.iter_mut().for_each(|sample| *sample = (f32::from(*sample) * gain).round() as i16);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use hound::{WavSpec, WavWriter};
    use ogg::{PacketWriteEndInfo, PacketWriter};

    use super::*;
    use crate::session;

    /// 400 Hz, half of full scale.
    fn tone(rate: u32, at: usize) -> f64 {
        (at as f64 * 400.0 / f64::from(rate) * std::f64::consts::TAU).sin() * 0.5
    }

    fn wav_file(rate: u32, seconds: f64, spec: WavSpec) -> Vec<u8> {
        let mut file = Cursor::new(Vec::new());
        let mut writer = WavWriter::new(&mut file, WavSpec { sample_rate: rate, ..spec }).unwrap();
        for at in 0..(seconds * f64::from(rate)) as usize {
            // The others are silent.
            for channel in 0..spec.channels {
                let sample = if channel == 0 { tone(rate, at) } else { 0.0 };
                match spec.sample_format {
                    SampleFormat::Float => writer.write_sample(sample as f32).unwrap(),
                    SampleFormat::Int => {
                        let full = 2f64.powi(i32::from(spec.bits_per_sample) - 1);
                        writer.write_sample((sample * full) as i32).unwrap();
                    }
                }
            }
        }
        writer.finalize().unwrap();
        file.into_inner()
    }

    const PLAIN: WavSpec =
        WavSpec { channels: 1, sample_rate: 0, bits_per_sample: 16, sample_format: SampleFormat::Int };

    /// As an encoder writes it: 312 samples at 48 kHz before the sound, and an end in the middle of a packet.
    fn opus_file(milliseconds: u64, channels: u8, gain: i16) -> Vec<u8> {
        let skip = 312;
        let mut encoder = opus::Encoder::new(48_000, &session::Opus::default()).unwrap();
        let mut file = Vec::new();
        let mut writer = PacketWriter::new(&mut file);
        let gain = gain.to_le_bytes();
        let head = [&b"OpusHead\x01"[..], &[channels, 56, 1, 0x80, 0xbb, 0, 0], &gain, &[0]].concat();
        writer.write_packet(head, 7, PacketWriteEndInfo::EndPage, 0).unwrap();
        writer.write_packet(&b"OpusTags\0\0\0\0\0\0\0\0"[..], 7, PacketWriteEndInfo::EndPage, 0).unwrap();
        let end = milliseconds * 48 + skip;
        for (packet, begun) in (0..end).step_by(960).enumerate() {
            let samples: Vec<i16> = (0..960).map(|at| (tone(48_000, packet * 960 + at) * 32_768.0) as i16).collect();
            let mut payload = [0; 1500];
            let octets = encoder.encode(&samples, &mut payload).unwrap();
            let last = begun + 960 >= end;
            let info = if last { PacketWriteEndInfo::EndStream } else { PacketWriteEndInfo::NormalPacket };
            writer.write_packet(payload[..octets].to_vec(), 7, info, (begun + 960).min(end)).unwrap();
        }
        file
    }

    /// Half of full scale is 1.
    fn level(sound: &[i16]) -> f64 {
        let squares = sound.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>();
        (2.0 * squares / sound.len() as f64).sqrt() / 16_384.0
    }

    /// How much of it is 400 Hz that began when the sound did.
    fn likeness(sound: &[i16], rate: u32) -> f64 {
        let product: f64 = sound.iter().enumerate().map(|(at, sample)| f64::from(*sample) * tone(rate, at)).sum();
        2.0 * product / sound.len() as f64 / 8192.0 / level(sound)
    }

    #[track_caller]
    fn assert_tone(file: Vec<u8>, milliseconds: u64, loud: f64) {
        let sound = read(Cursor::new(file)).unwrap();
        assert_eq!(sound.length(), Duration::from_millis(milliseconds));
        for rate in Sound::RATES {
            let (at, samples) = sound.at(rate);
            assert_eq!((at, samples.len() as u64), (rate, milliseconds * u64::from(rate) / 1000));
            assert!((level(samples) / loud - 1.0).abs() < 0.1, "{rate} Hz: {}", level(samples));
            assert!(likeness(samples, rate) > 0.9, "{rate} Hz: {}", likeness(samples, rate));
        }
    }

    #[test]
    fn wav_of_every_usual_rate_is_as_long_and_as_loud_as_it_was() {
        for rate in [8000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000] {
            assert_tone(wav_file(rate, 0.48, PLAIN), 480, 1.0);
        }
    }

    #[test]
    fn wav_of_every_sample_format_is_read_and_channels_are_mixed() {
        for bits_per_sample in [8, 16, 24, 32] {
            assert_tone(wav_file(8000, 0.5, WavSpec { bits_per_sample, ..PLAIN }), 500, 1.0);
        }
        let float = WavSpec { bits_per_sample: 32, sample_format: SampleFormat::Float, ..PLAIN };
        assert_tone(wav_file(8000, 0.5, float), 500, 1.0);
        assert_tone(wav_file(8000, 0.5, WavSpec { channels: 2, ..PLAIN }), 500, 0.5);
    }

    #[test]
    fn opus_is_cut_to_the_sound_and_made_as_loud_as_it_says() {
        assert_tone(opus_file(505, 1, 0), 505, 1.0);
        assert_tone(opus_file(505, 2, 0), 505, 1.0);
        assert_tone(opus_file(505, 1, -1541), 505, 0.5);
    }

    #[test]
    fn what_cannot_be_played_says_why() {
        let fault = |file: Vec<u8>| read(Cursor::new(file)).unwrap_err().to_string();
        assert_eq!(fault(b"ID3\x04 music".to_vec()), "it is neither WAV nor Ogg Opus");
        assert_eq!(fault(Vec::new()), "it is neither WAV nor Ogg Opus");
        assert_eq!(fault(wav_file(8000, 0.0, PLAIN)), "there is no sound in it");
        assert_eq!(fault(wav_file(8000, 601.0, PLAIN)), "it is longer than 10 minutes");
        assert_eq!(
            fault(wav_file(44_101, 0.1, PLAIN)),
            "its sampling rate is unusual: no way from 44101 Hz to 8000 Hz"
        );
        let mut law = wav_file(8000, 0.1, PLAIN);
        law[20] = 7;
        assert!(fault(law).starts_with("this WAV file cannot be played: "));
        let mut cut = wav_file(8000, 0.1, PLAIN);
        cut.truncate(400);
        assert!(fault(cut).starts_with("this WAV file cannot be played: "));
        assert_eq!(fault(opus_file(20, 6, 0)), "this Ogg file holds no Opus of one or two channels");
        let mut damaged = opus_file(200, 1, 0);
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        assert!(fault(damaged).starts_with("this Ogg file is damaged: "));
        let gone = load(Path::new("/nowhere/music.wav")).unwrap_err();
        assert_eq!(gone.to_string(), "it cannot be read: No such file or directory (os error 2)");
    }

    #[test]
    fn no_file_upsets_it() {
        let files = [wav_file(8000, 0.01, PLAIN), opus_file(60, 1, 0)];
        for file in &files {
            (0..file.len()).for_each(|length| drop(read(Cursor::new(&file[..length]))));
        }
        bolero::check!().with_type::<(bool, Vec<(u16, u8)>)>().for_each(|(wav, changes)| {
            let mut file = files[usize::from(*wav)].clone();
            for (at, octet) in changes {
                let at = usize::from(*at) % file.len();
                file[at] = *octet;
            }
            drop(read(Cursor::new(file)));
        });
    }
}
