//! What a peer says, at our own pace: every tick takes exactly as much as it needs. For timeslots, mixers, recordings.
//!
//! ```text
//! packet --> playout (order, loss, decoder) --> waiting sound --> tick: so many samples, always
//!                 ^                                  |
//!                 '----- demanded when it runs out --'
//! ```
//!
//! The delay is counted from the fastest path: sound shall wait for as long as nearly all packets are late at most, and
//! for a tick more. It is set anew, unheard, where sound begins after a pause. While sound goes on, a delay that is off
//! (the network changed, or the peer's clock is not ours) is put right
//!
//! 1. in a gap between words, where a few milliseconds more or less are not heard;
//! 2. when there is none for long, within a word.
//!
//! What is left out or said twice is a period of the sound, even of noise: PESQ finds that better than any other length.
//!
//! Sound that is no talk (a modem's, a fax's) is held: it waits a [`CUSHION`] longer, and nothing is changed before a whole
//! cushion is used up or has gathered. Then, as when a line slips, it is centred again at once.

use std::time::Duration;

use crate::media::codec::comfort_noise::Generator;
use crate::media::codec::vad::{Activity, Vad};
use crate::media::codec::{CodecError, MOST_SAMPLES};
use crate::media::jitter::Troubles;
use crate::media::peer::Heard;
use crate::media::pitch::{self, LONGEST, Pitch, WINDOW};
use crate::media::playout::{Played, Playout};
use crate::session::Codec;
use crate::time::Instant;

/// By how much longer it waits at first, while little is known of the network: far less than what is left out again.
const AT_FIRST: Duration = Duration::from_millis(5);
/// By how much sound may wait for too long: more than what is left out at once, so that it does not wait too short then.
const SLACK: Duration = Duration::from_millis(LONGEST as u64 + 3);
/// The same between words.
const SLACK_IN_QUIET: Duration = Duration::from_millis(10);
/// Sound that waits longer than this and too long is made up for without patience.
const URGENT: Duration = Duration::from_millis(60);
/// How long a gap between words is waited for when sound waits too long.
const PATIENCE_TO_LEAVE_OUT: Duration = Duration::from_secs(3);
/// And when it waits too short: then every late packet is lost.
const PATIENCE_TO_REPEAT: Duration = Duration::from_millis(200);
/// In words, a period that resembles the one before less than this is better left alone, until patience has ended so
/// often.
const CLEAR: f32 = 0.8;
const PATIENCE_ENDS: u32 = 4;
/// By how much longer sound waits that is no talk, and by how much more or less it may be: ten minutes with a clock that is
/// off by 50 ppm.
const CUSHION: Duration = Duration::from_millis(30);
/// What is left out or repeated at a time at most.
const STEP: Duration = Duration::from_millis(LONGEST as u64);
/// Sound that can wait beyond the longest delay: more is dropped.
const ROOM: Duration = Duration::from_millis(500);
/// How long sounds are joined where one does not follow the other, milliseconds.
const JOIN: usize = 5;

/// What was done to keep the pace, in samples but for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Adjustments {
    /// Pieces that were said twice or left out.
    pub pieces: u64,
    /// Said twice.
    pub repeated: u64,
    /// Left out.
    pub left_out: u64,
    /// Of silence or comfort noise in pauses.
    pub filled: u64,
}

/// A peer's sound at our own pace.
pub struct PacedPlayout {
    playout: Playout,
    rate: u32,
    waiting: Waiting,
    vad: Vad,
    quiet: bool,
    manner: Manner,
}

/// How a delay that is off is put right.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// It is put right where that is not heard; since when it is off.
    Talk { off: Option<Instant> },
    /// Nothing until it has to be; is it being centred?
    Held { centring: bool },
}

impl Manner {
    const TALK: Manner = Manner::Talk { off: None };
}

impl PacedPlayout {
    /// Hears this codec as sound of `rate` Hz; a packet is waited for at most for `most`.
    pub fn new(codec: Codec, rate: u32, most: Duration) -> Result<PacedPlayout, CodecError> {
        Ok(PacedPlayout {
            playout: Playout::new(codec, rate, most)?,
            rate,
            waiting: Waiting::new(rate, most + ROOM),
            vad: Vad::new(rate),
            quiet: false,
            manner: Manner::TALK,
        })
    }

    /// What is heard will be said in this codec.
    #[must_use]
    pub fn toward(mut self, codec: Codec) -> PacedPlayout {
        self.playout = self.playout.toward(codec);
        self
    }

    /// Is the sound no talk, and to be held?
    pub fn set_steady(&mut self, steady: bool) {
        self.manner = match (steady, self.manner) {
            (true, Manner::Talk { .. }) => Manner::Held { centring: true },
            (false, Manner::Held { .. }) => Manner::TALK,
            (_, same) => same,
        };
    }

    /// What was done so far to keep the pace.
    pub fn adjustments(&self) -> Adjustments {
        self.waiting.adjustments
    }

    /// What did not go smoothly on the way here.
    pub fn troubles(&self) -> Troubles {
        self.playout.troubles()
    }

    /// A packet came. What is not sound goes to `out`.
    pub fn hear(&mut self, heard: &Heard, payload: &[u8], now: Instant, out: &mut impl FnMut(Played<'_>)) {
        let PacedPlayout { playout, waiting, .. } = self;
        playout.hear(heard, payload, now, &mut |played| waiting.take(played, out));
    }

    /// A tick: fills `sound` (10 to 60 ms) with what is to be heard now. What is not sound goes to `out`.
    pub fn tick(&mut self, now: Instant, sound: &mut [i16], out: &mut impl FnMut(Played<'_>)) {
        let PacedPlayout { playout, waiting, .. } = self;
        playout.play(now, &mut |played| waiting.take(played, out));
        self.begin_in_time(now, sound.len());
        let PacedPlayout { playout, waiting, .. } = self;
        while waiting.filled < sound.len() && playout.demand(now, &mut |played| waiting.take(played, out)) {}
        self.put_right(now, sound.len());
        self.waiting.play(sound);
        self.quiet = self.vad.hear(sound) != Activity::Sound;
    }

    /// Is there nothing to be heard but a pause?
    pub fn pauses(&self) -> bool {
        self.waiting.filled == 0 && self.playout.due().is_none()
    }

    /// How long sound waits here, from its arrival by the fastest path until a tick takes it.
    pub fn delay(&self, now: Instant) -> Option<Duration> {
        let expected = self.playout.expected()?;
        // The fastest path brings what follows the waiting sound later than now, or should have brought it.
        let waiting = now + self.time(self.waiting.filled);
        Some(waiting.since(expected))
    }

    /// For how long it shall wait, with ticks of so many samples: the youngest sound in a tick may be of a late packet.
    fn wanted(&self, tick: usize) -> Duration {
        let cushion = if matches!(self.manner, Manner::Held { .. }) { CUSHION } else { Duration::ZERO };
        self.playout.lateness() + self.time(tick) + cushion
    }

    /// Where sound does not follow what was heard, silence between them makes the delay right.
    fn begin_in_time(&mut self, now: Instant, tick: usize) {
        let Some(at) = self.waiting.begins.take() else { return };
        let short =
            self.delay(now).map_or(Duration::ZERO, |delay| (self.wanted(tick) + AT_FIRST).saturating_sub(delay));
        self.waiting.pause(at, self.samples(short));
        self.waiting.noisy = false;
        if let Manner::Talk { off } = &mut self.manner {
            *off = None;
        }
    }

    /// Leaves out or repeats a piece, when that is wanted and will not be heard.
    fn put_right(&mut self, now: Instant, tick: usize) {
        let Some(delay) = self.delay(now).filter(|_| self.waiting.end.is_some()) else { return };
        let wanted = self.wanted(tick);
        let (long, short) = (delay.saturating_sub(wanted), wanted.saturating_sub(delay));
        self.manner = match self.manner {
            Manner::Talk { off } => Manner::Talk { off: self.put_talk_right(now, off, (long, short), tick) },
            Manner::Held { centring } => Manner::Held { centring: self.centre(centring, (long, short), tick) },
        };
    }

    /// Since when the delay is off now.
    fn put_talk_right(
        &mut self,
        now: Instant,
        off: Option<Instant>,
        (long, short): (Duration, Duration),
        tick: usize,
    ) -> Option<Instant> {
        let quiet = self.quiet && self.waiting.stays_quiet();
        let slack = if quiet { SLACK_IN_QUIET } else { SLACK };
        if long <= slack && short.is_zero() {
            return None;
        }
        let off = off.unwrap_or(now);
        let waited = now.since(off);
        let done = if short.is_zero() { self.leave_out(long, waited, quiet, tick) } else { self.repeat(waited, quiet) };
        (!done).then_some(off)
    }

    /// Is the delay still off so far that the next tick goes on with it?
    fn centre(&mut self, centring: bool, (long, short): (Duration, Duration), tick: usize) -> bool {
        // One step too many leaves it no longer than a step.
        let (most, least) = if centring { (STEP, Duration::ZERO) } else { (CUSHION, CUSHION) };
        match (long > most, short > least) {
            (true, _) => {
                let pitch = self.waiting.pitch(self.waiting.past);
                pitch.is_some_and(|pitch| self.leave_out_period(pitch.period, tick))
            }
            (_, true) => {
                let pitch = self.waiting.pitch(self.waiting.filled.min(WINDOW * self.waiting.unit));
                pitch.is_some_and(|pitch| self.waiting.repeat(pitch.period))
            }
            (false, false) => false,
        }
    }

    fn leave_out(&mut self, long: Duration, waited: Duration, quiet: bool, tick: usize) -> bool {
        let patient = waited < PATIENCE_TO_LEAVE_OUT && long < URGENT;
        let pitch = if patient && !quiet { None } else { self.waiting.pitch(self.waiting.past) };
        let Some(Pitch { period, .. }) = pitch.filter(|pitch| quiet || pitch.is_clear(waited, PATIENCE_TO_LEAVE_OUT))
        else {
            return false;
        };
        period <= self.samples(long) && self.leave_out_period(period, tick)
    }

    /// What is left has to last for this tick.
    fn leave_out_period(&mut self, period: usize, tick: usize) -> bool {
        let lasts = period + tick <= self.waiting.filled;
        lasts && self.waiting.leave_out(LONGEST * self.waiting.unit - period, period, period)
    }

    fn repeat(&mut self, waited: Duration, quiet: bool) -> bool {
        let ahead = self.waiting.filled.min(WINDOW * self.waiting.unit);
        let pitch = if waited < PATIENCE_TO_REPEAT && !quiet { None } else { self.waiting.pitch(ahead) };
        let pitch = pitch.filter(|pitch| quiet || pitch.is_clear(waited, PATIENCE_TO_REPEAT));
        pitch.is_some_and(|pitch| self.waiting.repeat(pitch.period))
    }

    fn samples(&self, time: Duration) -> usize {
        (time.as_micros() as u64 * u64::from(self.rate) / 1_000_000) as usize
    }

    fn time(&self, samples: usize) -> Duration {
        Duration::from_micros(samples as u64 * 1_000_000 / u64::from(self.rate.max(1)))
    }
}

impl Pitch {
    /// Is it clear enough to be used after so long a wait?
    fn is_clear(&self, waited: Duration, patience: Duration) -> bool {
        self.likeness >= CLEAR || waited >= patience * PATIENCE_ENDS
    }
}

/// Sound that waits, and the end of what was heard before it.
struct Waiting {
    /// Samples a millisecond.
    unit: usize,
    /// What was heard last, `past` long; what waits follows.
    sound: Box<[i16]>,
    past: usize,
    /// Samples that wait.
    filled: usize,
    /// The place that follows all that waits; `None` while a pause is heard.
    end: Option<u64>,
    /// Where sound begins that does not follow what is before it.
    begins: Option<usize>,
    /// Pauses are noise, not silence.
    noisy: bool,
    noise: Generator,
    adjustments: Adjustments,
    work: Box<[f32]>,
}

impl Waiting {
    fn new(rate: u32, most: Duration) -> Waiting {
        let unit = (rate as usize / 1000).max(1);
        let past = (LONGEST + WINDOW) * unit;
        let room = past + most.as_millis() as usize * unit + MOST_SAMPLES;
        Waiting {
            unit,
            sound: vec![0; room].into_boxed_slice(),
            past,
            filled: 0,
            end: None,
            begins: None,
            noisy: false,
            noise: Generator::new(rate),
            adjustments: Adjustments::default(),
            work: vec![0.0; past].into_boxed_slice(),
        }
    }

    /// Takes what the playout has; what is not sound goes on to `out`.
    fn take(&mut self, played: Played<'_>, out: &mut impl FnMut(Played<'_>)) {
        match played {
            Played::Sound(place, sound) => {
                if self.end.is_none_or(|end| place > end) {
                    self.begins = Some(self.filled);
                }
                self.end = Some(place + sound.len() as u64);
                self.push(sound);
            }
            Played::Noise(_, payload) => {
                self.noise.hear(payload);
                self.noisy = true;
            }
            Played::Event { .. } => out(played),
        }
    }

    /// More than there is room for pushes the oldest out.
    fn push(&mut self, sound: &[i16]) {
        let sound = &sound[sound.len().saturating_sub(self.sound.len() - self.past)..];
        let over = (self.past + self.filled + sound.len()).saturating_sub(self.sound.len());
        if over > 0 && !self.leave_out(0, over, JOIN * self.unit) {
            self.filled = 0;
        }
        self.begins = self.begins.map(|at| at.saturating_sub(over).min(self.filled));
        let end = self.past + self.filled;
        self.sound[end..end + sound.len()].copy_from_slice(sound);
        self.filled += sound.len();
    }

    /// So many samples of a pause before what waits at `at`. What is before it runs into what follows.
    fn pause(&mut self, at: usize, samples: usize) {
        let (from, end) = (self.past + at, self.past + self.filled);
        let samples = samples.min(self.sound.len() - end);
        self.sound.copy_within(from..end, from + samples);
        let pause = &mut self.sound[from..from + samples];
        match self.noisy {
            true => self.noise.fill(pause),
            false => pause.fill(0),
        }
        self.filled += samples;
        self.adjustments.filled += samples as u64;
        let join = (JOIN * self.unit).min(self.filled - at);
        for step in 0..join {
            // What was before goes on backward: as loud, and without a step.
            self.sound[from + step] = faded(self.sound[from - 1 - step], self.sound[from + step], step, join);
        }
    }

    /// Leaves out so many samples behind `at`, where they fade into what follows them; `false` when too little waits.
    fn leave_out(&mut self, at: usize, samples: usize, joined: usize) -> bool {
        if at + samples + joined > self.filled {
            return false;
        }
        let from = self.past + at;
        for step in 0..joined {
            let (one, other) = (self.sound[from + step], self.sound[from + samples + step]);
            self.sound[from + step] = faded(one, other, step, joined);
        }
        self.sound.copy_within(from + samples + joined..self.past + self.filled, from + joined);
        self.filled -= samples;
        self.adjustments.pieces += 1;
        self.adjustments.left_out += samples as u64;
        true
    }

    /// Says the last so many samples again, into which fades what waits; `false` when there is no room.
    fn repeat(&mut self, samples: usize) -> bool {
        let (past, end) = (self.past, self.past + self.filled);
        if samples > past || end + samples > self.sound.len() {
            return false;
        }
        self.sound.copy_within(past..end, past + samples);
        self.sound.copy_within(past - samples..past, past);
        let joined = samples.min(self.filled);
        for step in 0..joined {
            let (one, other) = (self.sound[past + samples + step], self.sound[past + step]);
            self.sound[past + step] = faded(one, other, step, joined);
        }
        self.filled += samples;
        self.adjustments.pieces += 1;
        self.adjustments.repeated += samples as u64;
        true
    }

    /// The pitch of the sound that begins with what was heard and ends with what waits, `ahead` of its first sample.
    fn pitch(&mut self, ahead: usize) -> Option<Pitch> {
        if ahead > self.filled {
            return None;
        }
        let sound = &self.sound[ahead..ahead + self.past];
        self.work.iter_mut().zip(sound).for_each(|(at, sample)| *at = f32::from(*sample));
        Some(pitch::find(&self.work, self.unit))
    }

    /// Is what waits, as far as a change reaches, no louder than what was heard last?
    fn stays_quiet(&self) -> bool {
        let loudest = |sound: &[i16]| sound.iter().map(|sample| sample.unsigned_abs()).max().unwrap_or(0);
        let reach = (2 * LONGEST * self.unit).min(self.filled);
        loudest(&self.sound[self.past..self.past + reach])
            <= loudest(&self.sound[self.past - WINDOW * self.unit..self.past]).saturating_mul(2)
    }

    /// What waited longest; a pause where there is not enough.
    fn play(&mut self, sound: &mut [i16]) {
        let short = sound.len().saturating_sub(self.filled);
        if short > 0 {
            self.end = None;
            self.pause(self.filled, short);
        }
        let taken = sound.len().min(self.filled);
        let end = self.past + self.filled;
        let (now, later) = sound.split_at_mut(taken);
        now.copy_from_slice(&self.sound[self.past..self.past + taken]);
        later.fill(0);
        self.sound.copy_within(taken..end, 0);
        self.filled -= taken;
    }
}

/// Of the way from one sound to the other, which takes `joined` samples, the sample `step`.
fn faded(one: i16, other: i16, step: usize, joined: usize) -> i16 {
    let share = (step + 1) as f32 / (joined + 1) as f32;
    (f32::from(one) + (f32::from(other) - f32::from(one)) * share).round() as i16
}

#[cfg(test)]
mod tests;
