//! What a peer hears from ourselves, a packet every packet time on our own clock: tones, music, announcements.
//!
//! 1. Where the other side can be heard, it has the turn first: its sound may be on its way.
//! 2. When it was silent for long enough the turn is ours. Deadlines are counted from there; who wakes up late says a few
//!    packets at once and leaves the rest of the time out.
//! 3. Its next packet of sound ends our turn. An announcement is not interrupted, and ends by itself.

use std::sync::Arc;
use std::time::Duration;

use crate::media::codec::CodecError;
use crate::media::packetize::{Packet, Packetizer};
use crate::media::peer::Kind;
use crate::media::tone::Generator;
use crate::session::{Codec, Opus, Play, Sound, Stream};
use crate::time::Instant;

/// Packets that are said at once after a late wake-up.
const MOST_BEHIND: u32 = 3;
/// A packet of sound speaks for this long: longer than Opus is silent in a pause (400 ms), and than packets take that were
/// on their way when the peer stopped.
const SOUND: Duration = Duration::from_millis(500);
/// Comfort noise speaks for this long: in a pause it comes again every few seconds at most (RFC 3389 section 4).
const NOISE: Duration = Duration::from_secs(3);
/// Samples of the longest packet: 60 ms at 16 kHz.
const LONGEST: usize = 960;

/// Something to play, to one peer.
pub struct Source {
    play: Play,
    task: Task,
    voice: Voice,
    packetizer: Packetizer,
    turn: Turn,
    sound: Box<[i16; LONGEST]>,
    rate: u32,
    /// Of a packet.
    samples: usize,
    began: Instant,
    /// Of the next sample, from the beginning.
    position: u64,
}

/// What a source was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Task {
    codec: Codec,
    opus: Opus,
    packet_ms: u8,
}

impl Task {
    fn of(to: &Stream) -> Task {
        Task { codec: to.codec, opus: to.opus, packet_ms: to.ptime_ms }
    }
}

/// Whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The other side's, until then at least.
    Theirs { until: Instant },
    /// Ours.
    Ours { due: Instant },
    /// The announcement is over.
    Over,
}

impl Source {
    /// From its beginning to this peer. `heard` says whether the other side can be heard at all.
    pub fn new(play: &Play, to: &Stream, heard: bool, now: Instant) -> Result<Source, CodecError> {
        let widest = to.codec.sound_rate();
        let (rate, voice) = match play {
            // Its frequencies are those of a telephone line.
            Play::Tone(cadence) => (Sound::RATES[0], Voice::Tone(Generator::new(cadence, Sound::RATES[0]))),
            Play::Music(sound) => (sound.at(widest).0, Voice::Sound(Player::new(sound.clone(), widest, true))),
            Play::Announcement(sound) => (sound.at(widest).0, Voice::Sound(Player::new(sound.clone(), widest, false))),
        };
        let packetizer = Packetizer::new(&steady(to), rate)?;
        let samples = usize::from(packetizer.packet_ms()) * rate as usize / 1000;
        let waits = heard && !matches!(play, Play::Announcement(_));
        let turn = if waits { Turn::Theirs { until: now + SOUND } } else { Turn::Ours { due: now } };
        let (play, task, sound) = (play.clone(), Task::of(to), Box::new([0; LONGEST]));
        Ok(Source { play, task, voice, packetizer, turn, sound, rate, samples, began: now, position: 0 })
    }

    /// May it go on when this is to be played to this peer?
    pub fn suits(&self, play: &Play, to: &Stream) -> bool {
        self.play == *play && self.task == Task::of(to)
    }

    /// A packet came from the other side; may it be heard?
    pub fn admits(&mut self, kind: Kind, now: Instant) -> bool {
        let until = match (kind, &self.play, self.turn) {
            (_, _, Turn::Over) => return true,
            (_, Play::Announcement(_), _) => return false,
            // Digits are heard, but say nothing of the sound.
            (Kind::Event, ..) => return !self.is_ours(),
            (Kind::Sound, ..) => now + SOUND,
            (Kind::Noise, ..) => now + NOISE,
        };
        self.turn = Turn::Theirs { until };
        true
    }

    /// Does the peer hear us and not the other side?
    pub fn is_ours(&self) -> bool {
        matches!(self.turn, Turn::Ours { .. })
    }

    /// The peer loses so many packets of a hundred, and the thread is so busy, in percent.
    pub fn adapt(&mut self, loss: u8, load: u8) {
        self.packetizer.adapt(loss, load);
    }

    /// When [`Source::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        match self.turn {
            Turn::Theirs { until } => Some(until),
            Turn::Ours { due } => Some(due),
            Turn::Over => None,
        }
    }

    /// The next of its sound, for a listener with a pace of its own (a timeslot); `false` when the turn is not ours.
    pub fn fill(&mut self, now: Instant, sound: &mut [i16]) -> bool {
        if let Turn::Theirs { until } = self.turn
            && until <= now
        {
            self.begin(now);
        }
        if !self.is_ours() {
            return false;
        }
        if !self.voice.read(sound) {
            self.turn = Turn::Over;
        }
        true
    }

    /// Says what is due.
    pub fn tick(&mut self, now: Instant, out: &mut impl FnMut(Packet<'_>)) {
        if let Turn::Theirs { until } = self.turn
            && until <= now
        {
            self.begin(now);
        }
        let packet = Duration::from_millis(self.packetizer.packet_ms().into());
        while let Turn::Ours { due } = self.turn
            && due <= now
        {
            let behind = (now.since(due).as_micros() / packet.as_micros()) as u32;
            let missed = if behind >= MOST_BEHIND { behind } else { 0 };
            self.position += u64::from(missed) * self.samples as u64;
            let due = due + packet * (missed + 1);
            self.turn = if self.say(out) { Turn::Ours { due } } else { Turn::Over };
        }
    }

    /// Our turn: what we say next stands where it is said.
    fn begin(&mut self, now: Instant) {
        let passed = now.since(self.began).as_micros() as u64 * u64::from(self.rate) / 1_000_000;
        self.position = self.position.max(passed);
        self.turn = Turn::Ours { due: now };
        if let (Voice::Tone(generator), Play::Tone(cadence)) = (&mut self.voice, &self.play) {
            // In the middle of a step it would click, and may be silent for seconds.
            *generator = Generator::new(cadence, self.rate);
        }
    }

    /// One packet; whether there is more to say.
    fn say(&mut self, out: &mut impl FnMut(Packet<'_>)) -> bool {
        let sound = &mut self.sound[..self.samples];
        let more = self.voice.read(sound);
        self.packetizer.sound(self.position, sound, out);
        self.position += self.samples as u64;
        more
    }
}

/// The peer as it hears us: without pauses, for what a detector takes for noise may be music.
fn steady(to: &Stream) -> Stream {
    Stream { comfort_noise: None, opus: Opus { dtx: false, ..to.opus }, ..to.clone() }
}

/// Where the sound comes from.
#[derive(Debug)]
enum Voice {
    Tone(Generator),
    Sound(Player),
}

impl Voice {
    /// The next of it, with silence behind its end; whether there is more.
    fn read(&mut self, sound: &mut [i16]) -> bool {
        match self {
            Voice::Tone(generator) => {
                generator.read(sound);
                true
            }
            Voice::Sound(player) => player.read(sound),
        }
    }
}

/// Reads a sound from its beginning.
#[derive(Debug)]
struct Player {
    sound: Arc<Sound>,
    /// The highest rate that its listener plays, Hz.
    widest: u32,
    looped: bool,
    /// Samples that are read.
    position: usize,
}

impl Player {
    fn new(sound: Arc<Sound>, widest: u32, looped: bool) -> Player {
        Player { sound, widest, looped, position: 0 }
    }

    fn read(&mut self, mut room: &mut [i16]) -> bool {
        let (_, samples) = self.sound.at(self.widest);
        while !room.is_empty() && self.position < samples.len() {
            let length = room.len().min(samples.len() - self.position);
            let (now, later) = room.split_at_mut(length);
            now.copy_from_slice(&samples[self.position..self.position + length]);
            (room, self.position) = (later, self.position + length);
            if self.looped && self.position == samples.len() {
                self.position = 0;
            }
        }
        room.fill(0);
        self.position < samples.len()
    }
}
