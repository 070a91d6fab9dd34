//! What is heard in place of a lost packet: the last pitch periods go on, softer and softer, until silence
//! (the way of ITU-T G.711 Appendix I, but without its delay of 3.75 ms).
//!
//! 1. The pitch is the lag at which the last 20 ms resemble what was before them.
//! 2. The last period is repeated; after 10 ms two periods, after 20 ms three, for a single one soon buzzes.
//! 3. After 5 ms it fades by a fifth every 10 ms: before 60 ms nothing is left.
//! 4. Beginnings, repetitions and the first sound that follows are joined by cross-fading.

use crate::media::pitch::{self, LONGEST};

/// Periods that are repeated at most.
const PERIODS: usize = 3;
/// What is remembered: the longest periods with the overlap before them.
const HISTORY: usize = LONGEST * PERIODS + LONGEST / 4 + 1;
/// Room behind it for what comes: far more than a packet, so that the history is seldom moved.
const ROOM: usize = 250;
/// Another period is taken in, and a step of the fading is done, after each of these.
const STEP: usize = 10;
/// The loudness that a step takes, of the whole.
const FADE: f32 = 0.2;
/// The longest cross-fade into the sound that follows, and what each step adds to it: a longer one smears what came.
const REJOIN: (usize, usize) = (10, 1);

/// The highest rate, in samples per millisecond.
const MOST: usize = 48;

/// Conceals losses in one stream of sound.
pub struct Concealer {
    /// Samples per millisecond.
    unit: usize,
    /// What was heard, the newest before `end`.
    heard: Box<[i16]>,
    end: usize,
    loss: Option<Loss>,
    periods: Box<[f32]>,
    overlap: Box<[f32]>,
}

/// A loss that is being concealed.
#[derive(Clone, Copy, Debug)]
struct Loss {
    /// Samples of a pitch period.
    pitch: usize,
    /// Samples that are repeated: one to three periods, at the end of `periods`.
    length: usize,
    /// The next one of them.
    at: usize,
    /// Samples concealed so far.
    done: usize,
}

impl Concealer {
    /// For sound of `rate` Hz, up to 48 kHz.
    pub fn new(rate: u32) -> Concealer {
        let unit = (rate as usize / 1000).clamp(1, MOST);
        let zeroes = |milliseconds: usize| vec![0.0; milliseconds * unit].into_boxed_slice();
        let (periods, overlap) = (zeroes(HISTORY), zeroes(REJOIN.0 + LONGEST));
        let heard = vec![0; periods.len() + ROOM * unit].into_boxed_slice();
        Concealer { unit, heard, end: periods.len(), loss: None, periods, overlap }
    }

    /// So many samples that came, up to 250 ms: `write` puts them where they will be remembered. Their beginning is joined
    /// to what was made up before it. `None` when they are more.
    pub fn good(&mut self, samples: usize, write: impl FnOnce(&mut [i16])) -> Option<&[i16]> {
        let came = self.room(samples)..self.end + samples;
        write(self.heard.get_mut(came.clone())?);
        if let Some(loss) = self.loss {
            let steps = loss.done / (STEP * self.unit);
            let rejoin = (loss.pitch / 4 + REJOIN.1 * self.unit * steps).min(REJOIN.0 * self.unit).min(samples);
            for at in 0..rejoin {
                let made = self.make();
                let share = (at + 1) as f32 / (rejoin + 1) as f32;
                let came = &mut self.heard[came.start + at];
                *came = sample(made + (f32::from(*came) - made) * share);
            }
            self.loss = None;
        }
        self.end = came.end;
        self.heard.get(came)
    }

    /// Sound to be heard in place of what was lost.
    pub fn lost(&mut self, sound: &mut [i16]) {
        if self.loss.is_none() {
            self.begin();
        }
        sound.iter_mut().for_each(|at| *at = sample(self.make()));
        self.remember(sound);
    }

    fn begin(&mut self) {
        let kept = self.periods.len();
        let history = &self.heard[self.end - kept..self.end];
        self.periods.iter_mut().zip(history).for_each(|(at, sample)| *at = f32::from(*sample));
        let pitch = pitch::find(&self.periods, self.unit).period;
        self.loss = Some(Loss { pitch, length: pitch, at: 0, done: 0 });
        self.smooth(pitch, pitch / 4);
        // The first period begins out of the mirrored end of what was heard.
        for (at, kept) in self.overlap[..pitch / 4].iter_mut().zip(self.heard[..self.end].iter().rev()) {
            *at = f32::from(*kept);
        }
    }

    /// Makes the end of the repeated part run into its beginning.
    fn smooth(&mut self, length: usize, overlap: usize) {
        let total = self.periods.len();
        let (history, before) = (&self.heard[self.end - total..self.end], total - length - overlap);
        for at in 0..overlap {
            let share = (at + 1) as f32 / (overlap + 1) as f32;
            let [ending, beginning] = [total - overlap + at, before + at].map(|at| f32::from(history[at]));
            self.periods[total - overlap + at] = ending + (beginning - ending) * share;
        }
    }

    /// The next sample that is made up.
    fn make(&mut self) -> f32 {
        let Some(mut loss) = self.loss else { return 0.0 };
        let step = STEP * self.unit;
        if loss.done > 0 && loss.done.is_multiple_of(step) && loss.length < PERIODS * loss.pitch {
            self.take_period(&mut loss);
        }
        let total = self.periods.len();
        let made = self.periods[total - loss.length + loss.at];
        loss.at = (loss.at + 1) % loss.length;
        // A cross-fade: from the mirrored end at the beginning, from the fewer periods later.
        let into = if loss.done < step { loss.done } else { loss.done % step };
        let joining = loss.pitch / 4;
        let crossing = into < joining && loss.done < PERIODS * step;
        let made = match crossing {
            true => self.overlap[into] + (made - self.overlap[into]) * (into + 1) as f32 / (joining + 1) as f32,
            false => made,
        };
        let faded = (loss.done.saturating_sub(step / 2) as f32 / step as f32 * FADE).min(1.0);
        loss.done += 1;
        self.loss = Some(loss);
        made * (1.0 - faded)
    }

    /// One more period is repeated; the old ones go on for a moment under the new.
    fn take_period(&mut self, loss: &mut Loss) {
        let (total, joining) = (self.periods.len(), loss.pitch / 4);
        for at in 0..joining {
            self.overlap[at] = self.periods[total - loss.length + (loss.at + at) % loss.length];
        }
        loss.length += loss.pitch;
        loss.at %= loss.pitch;
        let history = total - loss.length;
        self.smooth(loss.length, joining.min(history));
    }

    fn remember(&mut self, sound: &[i16]) {
        let kept = self.periods.len();
        let new = &sound[sound.len().saturating_sub(kept)..];
        let start = self.room(new.len());
        self.end = start + new.len();
        self.heard[start..self.end].copy_from_slice(new);
    }

    /// Where so many samples have room behind the history.
    fn room(&mut self, samples: usize) -> usize {
        let kept = self.periods.len();
        if self.end + samples > self.heard.len() {
            self.heard.copy_within(self.end - kept..self.end, 0);
            self.end = kept;
        }
        self.end
    }
}

fn sample(value: f32) -> i16 {
    value as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATES: [u32; 3] = [8000, 16_000, 48_000];

    fn tone(rate: u32, hertz: f32, from: usize, samples: usize) -> Vec<i16> {
        let step = std::f32::consts::TAU * hertz / rate as f32;
        (from..from + samples).map(|at| (10_000.0 * (step * at as f32).sin()) as i16).collect()
    }

    fn good(concealer: &mut Concealer, sound: &mut [i16]) {
        let came = sound.to_vec();
        sound.copy_from_slice(concealer.good(came.len(), |room| room.copy_from_slice(&came)).unwrap());
    }

    fn energy(sound: &[i16]) -> f32 {
        sound.iter().map(|sample| f32::from(*sample) * f32::from(*sample)).sum::<f32>() / sound.len() as f32
    }

    fn steepest(sound: &[i16]) -> i32 {
        sound.windows(2).map(|pair| (i32::from(pair[1]) - i32::from(pair[0])).abs()).max().unwrap_or(0)
    }

    #[test]
    fn what_comes_whole_stays_as_it_is() {
        for rate in RATES {
            let mut concealer = Concealer::new(rate);
            for milliseconds in [10, 20, 60, 30] {
                let sound = tone(rate, 300.0, 0, rate as usize / 1000 * milliseconds);
                let mut heard = sound.clone();
                good(&mut concealer, &mut heard);
                assert_eq!(heard, sound);
            }
        }
    }

    #[test]
    fn a_tone_goes_on_over_a_loss_without_a_click() {
        for rate in RATES {
            for hertz in [100.0, 150.0, 210.0, 400.0] {
                let frame = rate as usize / 50;
                let mut concealer = Concealer::new(rate);
                let mut heard = Vec::new();
                for number in 0..8 {
                    let mut sound = tone(rate, hertz, number * frame, frame);
                    match number {
                        5 => concealer.lost(&mut sound),
                        _ => good(&mut concealer, &mut sound),
                    }
                    heard.extend(sound);
                }
                let whole = tone(rate, hertz, 0, 8 * frame);
                let (heard_energy, whole_energy) =
                    (energy(&heard[5 * frame..6 * frame]), energy(&whole[5 * frame..6 * frame]));
                assert!(heard_energy > 0.6 * whole_energy, "{rate} {hertz}: {heard_energy} of {whole_energy}");
                let limit = steepest(&whole) * 3 / 2 + 200;
                assert!(steepest(&heard) <= limit, "{rate} {hertz}: {} over {limit}", steepest(&heard));
            }
        }
    }

    #[test]
    fn a_long_loss_fades_to_silence_in_60_ms() {
        for rate in RATES {
            let unit = rate as usize / 1000;
            let mut concealer = Concealer::new(rate);
            good(&mut concealer, &mut tone(rate, 200.0, 0, 100 * unit));
            let mut heard = vec![1; 120 * unit];
            heard.chunks_mut(30 * unit).for_each(|part| concealer.lost(part));
            let loud = |part: std::ops::Range<usize>| energy(&heard[part.start * unit..part.end * unit]);
            assert!(loud(0..10) > loud(20..30) && loud(20..30) > loud(40..50));
            assert!(heard[61 * unit..].iter().all(|sample| *sample == 0));
            let mut back = tone(rate, 200.0, 0, 20 * unit);
            good(&mut concealer, &mut back);
            assert!(steepest(&back) < 3000 * 8 / unit as i32, "it comes back softly");
        }
    }

    #[test]
    fn there_is_room_for_250_ms_and_no_more() {
        for rate in RATES {
            let (mut concealer, most) = (Concealer::new(rate), rate as usize / 4);
            assert_eq!(concealer.good(most, |room| room.fill(7)).map(<[i16]>::len), Some(most));
            assert_eq!(concealer.good(most + 1, |_| panic!("too long")), None);
            concealer.lost(&mut vec![1; most + 1]);
        }
    }

    #[test]
    fn any_sound_in_any_lengths() {
        bolero::check!().with_type().with_iterations(300).for_each(|parts: &Vec<(bool, u8, i16)>| {
            let mut concealer = Concealer::new(8000);
            for (lost, length, value) in parts.iter().take(30) {
                let mut sound: Vec<i16> =
                    (0..usize::from(*length) * 2).map(|at| value.wrapping_mul(at as i16)).collect();
                if *lost { concealer.lost(&mut sound) } else { good(&mut concealer, &mut sound) }
            }
        });
    }
}
