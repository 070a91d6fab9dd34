//! The sound of a conference (RFC 4353's mixer): each participant hears all others.
//!
//! ```text
//! begin -> put, for each who speaks: gain -> kept, and added to the sum
//!       -> hear, for each who listens: the sum - what it said itself - those it must not hear, saturated
//! ```
//!
//! Sound is added once, in 32 bits, and a listener's own is taken from the sum again, so that a conference of N costs N
//! and not N². Nothing saturates but what is heard: loud voices that cancel each other out do no harm before.

use crate::media::kernels::{Kernels, kernels};

/// Participants of one mixer at most: as many as 16 bits each cannot overflow 32.
const MOST: usize = 1 << 15;

/// How much louder somebody is made, as a factor from 0 to 8 (18 dB) in steps of 1/4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gain(i32);

impl Gain {
    /// Not heard.
    pub const MUTE: Gain = Gain(0);
    /// As it is.
    pub const UNITY: Gain = Gain(1 << Gain::BITS);
    const BITS: u32 = 12;
    const MOST: f32 = 8.0;

    /// The factor nearest to this one.
    pub fn of(factor: f32) -> Gain {
        Gain((factor.clamp(0.0, Gain::MOST) * Gain::UNITY.0 as f32).round() as i32)
    }

    /// The factor of so many dB.
    pub fn of_db(db: i8) -> Gain {
        Gain::of(10f32.powf(f32::from(db) / 20.0))
    }

    #[inline(always)]
    fn apply(self, sample: i16) -> i16 {
        saturate((i32::from(sample) * self.0 + (1 << (Gain::BITS - 1))) >> Gain::BITS)
    }

    /// Between two, `part` of `whole` of the way from the first to the second.
    fn between(self, other: Gain, part: usize, whole: usize) -> Gain {
        let step = i64::from(other.0 - self.0) * part as i64 / whole.max(1) as i64;
        Gain(self.0 + step as i32)
    }
}

/// A place in a mixer. Who holds it may speak and listen; giving it back ends that.
#[derive(Debug, PartialEq, Eq)]
pub struct Participant(u16);

/// Mixes what participants say, a frame at a time.
#[derive(Debug)]
pub struct Mixer {
    kernels: Kernels,
    /// Samples of a frame.
    samples: usize,
    seats: Vec<Seat>,
    /// What each said in this frame, after its gain.
    said: Vec<i16>,
    sum: Vec<i32>,
    /// The sum for one listener.
    rest: Vec<i32>,
}

#[derive(Debug)]
struct Seat {
    taken: bool,
    spoke: bool,
    gain: Gain,
    /// The gain at the end of the last frame: a change glides over a frame, so that it does not click.
    reached: Gain,
    energy: f32,
    /// Those that it must not hear.
    excluded: Vec<u16>,
}

impl Seat {
    const FREE: Seat =
        Seat { taken: false, spoke: false, gain: Gain::UNITY, reached: Gain::UNITY, energy: 0.0, excluded: Vec::new() };
}

impl Mixer {
    /// For so many participants and frames of so many samples. Allocates all that frames will need.
    pub fn new(participants: usize, samples: usize) -> Mixer {
        Mixer::with(Kernels::best(), participants, samples)
    }

    /// The same with these loops.
    pub fn with(kernels: Kernels, participants: usize, samples: usize) -> Mixer {
        let participants = participants.min(MOST);
        let seats = (0..participants).map(|_| Seat::FREE).collect();
        let (said, sum) = (vec![0; participants * samples], vec![0; samples]);
        Mixer { kernels, samples, seats, said, rest: sum.clone(), sum }
    }

    /// Somebody comes; `None` when all places are taken.
    pub fn join(&mut self) -> Option<Participant> {
        let at = self.seats.iter().position(|seat| !seat.taken)?;
        self.seats[at] = Seat { taken: true, ..Seat::FREE };
        Some(Participant(at as u16))
    }

    /// Somebody goes, with what was said in this frame.
    pub fn leave(&mut self, participant: Participant) {
        let Some(seat) = self.seats.get_mut(usize::from(participant.0)) else { return };
        if std::mem::replace(seat, Seat::FREE).spoke {
            let said = own(&self.said, self.samples, participant.0);
            self.kernels.take_away(said, &mut self.sum);
        }
        self.seats.iter_mut().for_each(|seat| seat.excluded.retain(|other| *other != participant.0));
    }

    /// How loud a participant is to all others from the next frame on.
    pub fn set_gain(&mut self, participant: &Participant, gain: Gain) {
        if let Some(seat) = self.seats.get_mut(usize::from(participant.0)) {
            seat.gain = gain;
        }
    }

    /// Shall `listener` hear `speaker`? At first everybody hears everybody else.
    pub fn set_heard(&mut self, speaker: &Participant, listener: &Participant, heard: bool) {
        let Some(seat) = self.seats.get_mut(usize::from(listener.0)) else { return };
        seat.excluded.retain(|other| *other != speaker.0);
        if !heard && speaker != listener {
            seat.excluded.push(speaker.0);
        }
    }

    /// The next frame begins: nobody has said anything.
    pub fn begin(&mut self) {
        self.sum.fill(0);
        for seat in &mut self.seats {
            (seat.spoke, seat.energy) = (false, 0.0);
        }
    }

    /// What a participant says in this frame; what is short of a frame is silence, what is said a second time is not
    /// heard.
    pub fn put(&mut self, participant: &Participant, sound: &[i16]) {
        let Some(seat) = self.seats.get_mut(usize::from(participant.0)).filter(|seat| !seat.spoke) else { return };
        let sound = &sound[..sound.len().min(self.samples)];
        let before = std::mem::replace(&mut seat.reached, seat.gain);
        let first = usize::from(participant.0) * self.samples;
        let (said, rest) = self.said[first..first + self.samples].split_at_mut(sound.len());
        rest.fill(0);
        let squares = match (before, seat.gain) {
            (Gain::UNITY, Gain::UNITY) => self.kernels.take(sound, said, &mut self.sum),
            (before, gain) => {
                if before == gain {
                    self.kernels.amplify(gain, sound, said);
                } else {
                    glide(before, gain, sound, said);
                }
                self.kernels.add(said, &mut self.sum);
                self.kernels.energy(sound)
            }
        };
        seat.energy = squares as f32 / self.samples.max(1) as f32;
        seat.spoke = squares > 0;
    }

    /// The mean square of what a participant says in this frame, before its gain: who is muted can be told so.
    pub fn energy(&self, participant: &Participant) -> f32 {
        self.seats.get(usize::from(participant.0)).map_or(0.0, |seat| seat.energy)
    }

    /// What a participant hears in this frame, once all have spoken.
    pub fn hear(&mut self, participant: &Participant, heard: &mut [i16]) {
        let Mixer { kernels, samples, seats, said, sum, rest } = self;
        let Some(seat) = seats.get(usize::from(participant.0)) else { return heard.fill(0) };
        let spoke = |other: &&u16| seats.get(usize::from(**other)).is_some_and(|seat| seat.spoke);
        let mut excluded = seat.excluded.iter().filter(spoke).peekable();
        let all = match excluded.peek() {
            None => sum,
            Some(_) => {
                rest.copy_from_slice(sum);
                excluded.for_each(|other| kernels.take_away(own(said, *samples, *other), rest));
                rest
            }
        };
        match seat.spoke {
            true => kernels.hear_others(all, own(said, *samples, participant.0), heard),
            false => kernels.hear_all(all, heard),
        }
    }
}

fn own(said: &[i16], samples: usize, participant: u16) -> &[i16] {
    let first = usize::from(participant) * samples;
    said.get(first..first + samples).unwrap_or_default()
}

fn glide(from: Gain, to: Gain, sound: &[i16], louder: &mut [i16]) {
    for (at, (sample, louder)) in sound.iter().zip(louder).enumerate() {
        *louder = from.between(to, at + 1, sound.len()).apply(*sample);
    }
}

kernels! {
    /// Keeps sound as it is and adds it to a sum; the sum of all squares.
    take(sound: &[i16], said: &mut [i16], sum: &mut [i32]) -> u64 {
        let mut squares = 0;
        for ((sample, said), sum) in sound.iter().zip(said).zip(sum) {
            *said = *sample;
            *sum += i32::from(*sample);
            squares += square(*sample);
        }
        squares
    }
    /// Adds sound to a sum.
    add(sound: &[i16], sum: &mut [i32]) {
        sum.iter_mut().zip(sound).for_each(|(sum, sample)| *sum += i32::from(*sample));
    }
    /// Takes sound from a sum.
    take_away(sound: &[i16], sum: &mut [i32]) {
        sum.iter_mut().zip(sound).for_each(|(sum, sample)| *sum -= i32::from(*sample));
    }
    /// Makes sound louder or softer.
    amplify(gain: Gain, sound: &[i16], louder: &mut [i16]) {
        louder.iter_mut().zip(sound).for_each(|(louder, sample)| *louder = gain.apply(*sample));
    }
    /// What is left of a sum without one's own sound.
    hear_others(sum: &[i32], own: &[i16], heard: &mut [i16]) {
        heard.iter_mut().zip(sum.iter().zip(own)).for_each(|(heard, (sum, own))| *heard = saturate(*sum - i32::from(*own)));
    }
    /// A sum as sound.
    hear_all(sum: &[i32], heard: &mut [i16]) {
        heard.iter_mut().zip(sum).for_each(|(heard, sum)| *heard = saturate(*sum));
    }
    /// The sum of all squares.
    energy(sound: &[i16]) -> u64 {
        sound.iter().map(|sample| square(*sample)).sum()
    }
}

#[inline(always)]
fn square(sample: i16) -> u64 {
    u64::from((i32::from(sample) * i32::from(sample)) as u32)
}

#[inline(always)]
fn saturate(sample: i32) -> i16 {
    sample.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLES: usize = 37;

    fn heard(mixer: &mut Mixer, participant: &Participant) -> Vec<i16> {
        let mut heard = vec![1; SAMPLES];
        mixer.hear(participant, &mut heard);
        heard
    }

    fn mixer(participants: usize) -> (Mixer, Vec<Participant>) {
        let mut mixer = Mixer::new(participants, SAMPLES);
        let all = (0..participants).map(|_| mixer.join().unwrap()).collect();
        mixer.begin();
        (mixer, all)
    }

    #[test]
    fn everybody_hears_all_others() {
        let (mut mixer, all) = mixer(4);
        for (participant, value) in all.iter().zip([1, 10, 100]) {
            mixer.put(participant, &[value; SAMPLES]);
        }
        let heard: Vec<_> = all.iter().map(|participant| heard(&mut mixer, participant)).collect();
        assert_eq!(heard, [110, 101, 11, 111].map(|value| vec![value; SAMPLES]));
        mixer.begin();
        assert_eq!(self::heard(&mut mixer, &all[0]), [0; SAMPLES], "a frame does not last");
    }

    #[test]
    fn an_invisible_participant_is_heard_by_those_it_helps_only() {
        let (mut mixer, all) = mixer(3);
        let [coach, agent, caller] = &all[..] else { panic!("three") };
        mixer.set_heard(coach, caller, false);
        mixer.put(coach, &[5; SAMPLES]);
        mixer.put(agent, &[70; SAMPLES]);
        mixer.put(caller, &[900; SAMPLES]);
        let heard = [coach, agent, caller].map(|participant| heard(&mut mixer, participant)[0]);
        assert_eq!(heard, [970, 905, 70]);
        mixer.set_heard(coach, caller, true);
        assert_eq!(self::heard(&mut mixer, caller)[0], 75);
    }

    #[test]
    fn only_what_is_heard_saturates() {
        let (mut mixer, all) = mixer(4);
        for (participant, value) in all.iter().zip([30_000, 30_000, -30_000]) {
            mixer.put(participant, &[value; SAMPLES]);
        }
        let heard: Vec<_> = all.iter().map(|participant| heard(&mut mixer, participant)[0]).collect();
        assert_eq!(heard, [0, 0, i16::MAX, 30_000]);
    }

    #[test]
    fn a_gain_glides_over_a_frame_and_mutes_at_last() {
        let (mut mixer, all) = mixer(2);
        mixer.put(&all[0], &[8000; SAMPLES]);
        assert_eq!(heard(&mut mixer, &all[1]), [8000; SAMPLES]);
        mixer.set_gain(&all[0], Gain::MUTE);
        mixer.begin();
        mixer.put(&all[0], &[8000; SAMPLES]);
        let gliding = heard(&mut mixer, &all[1]);
        assert!(gliding.is_sorted_by(|a, b| a > b) && gliding[0] > 7500 && gliding[SAMPLES - 1] == 0, "{gliding:?}");
        mixer.begin();
        mixer.put(&all[0], &[8000; SAMPLES]);
        assert_eq!((heard(&mut mixer, &all[1]), mixer.energy(&all[0])), (vec![0; SAMPLES], 64e6), "muted, and speaks");
        mixer.set_gain(&all[0], Gain::of(0.5));
        for _ in 0..2 {
            mixer.begin();
            mixer.put(&all[0], &[8000; SAMPLES]);
        }
        assert_eq!(heard(&mut mixer, &all[1]), [4000; SAMPLES]);
    }

    #[test]
    fn who_leaves_takes_voice_and_exclusions_away() {
        let (mut mixer, mut all) = mixer(3);
        assert_eq!(mixer.join(), None, "full");
        mixer.set_heard(&all[2], &all[0], false);
        all.iter().for_each(|participant| mixer.put(participant, &[7; SAMPLES]));
        mixer.leave(all.remove(2));
        assert_eq!(heard(&mut mixer, &all[0])[0], 7);
        all.push(mixer.join().unwrap());
        mixer.begin();
        mixer.put(&all[2], &[9; SAMPLES]);
        mixer.put(&all[2], &[9; SAMPLES]);
        assert_eq!(heard(&mut mixer, &all[0])[0], 9, "once, and by who must not hear the one before");
    }

    /// A frame in wide numbers: what each says after its gain is of 16 bits, what is heard too, nothing else.
    fn model(said: &[(i16, u8, u64)], listener: usize) -> i64 {
        let audible = |other: &usize| *other != listener && said[listener].2 & 1 << other == 0;
        let sum: i64 = (0..said.len()).filter(audible).map(|other| amplified(said[other].0, said[other].1)).sum();
        sum.clamp(-32_768, 32_767)
    }

    fn amplified(sample: i16, gain: u8) -> i64 {
        ((i64::from(sample) * i64::from(gain) * 128 + 2048).div_euclid(4096)).clamp(-32_768, 32_767)
    }

    #[test]
    fn any_conference_is_mixed_as_in_wide_numbers_by_all_loops() {
        bolero::check!().with_type().with_iterations(400).for_each(|said: &Vec<(i16, u8, u64)>| {
            let said = &said[..said.len().min(20)];
            for kernels in Kernels::all() {
                let mut mixer = Mixer::with(kernels, said.len(), SAMPLES);
                let all: Vec<_> = said.iter().map(|_| mixer.join().unwrap()).collect();
                for (participant, (_, gain, excluded)) in all.iter().zip(said) {
                    mixer.set_gain(participant, Gain::of(f32::from(*gain) / 32.0));
                    let silent = all.iter().enumerate().filter(|(at, _)| excluded & 1 << at != 0);
                    silent.for_each(|(_, speaker)| mixer.set_heard(speaker, participant, false));
                }
                for turn in 0..3 {
                    mixer.begin();
                    // The gains glide in the first frame; then all say their number forward and backward.
                    for (participant, (sample, ..)) in all.iter().zip(said) {
                        let sound: [i16; SAMPLES] =
                            std::array::from_fn(|at| if (at + turn) % 2 == 0 { *sample } else { !*sample });
                        mixer.put(participant, &sound);
                    }
                    if turn == 0 {
                        continue;
                    }
                    for (listener, participant) in all.iter().enumerate() {
                        let turned: Vec<_> = said.iter().map(|(sample, gain, out)| (!*sample, *gain, *out)).collect();
                        let wanted = [model(said, listener), model(&turned, listener)];
                        let heard = heard(&mut mixer, participant);
                        let right = |(at, sample): (usize, &i16)| i64::from(*sample) == wanted[(at + turn) % 2];
                        assert!(heard.iter().enumerate().all(right), "{kernels}: {heard:?}, not {wanted:?}");
                    }
                }
            }
        });
    }

    #[test]
    fn energy_is_the_mean_square() {
        for kernels in Kernels::all() {
            let sound: Vec<i16> = (0..1000).map(|at| (at * 31 % 2000 - 1000) as i16).collect();
            for length in 0..70 {
                let wanted = sound[..length].iter().map(|sample| i64::from(*sample).pow(2)).sum::<i64>();
                assert_eq!(kernels.energy(&sound[..length]) as i64, wanted, "{kernels} {length}");
            }
        }
    }
}
