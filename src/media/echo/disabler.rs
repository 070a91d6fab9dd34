//! The tone disabler (ITU-T G.168 clause 7): modems and faxes cancel echoes themselves and are to be left untouched.
//!
//! 1. In either direction an answer tone of 2100 Hz whose phase reverses every 450 ms (V.25, V.8) means a modem. Without
//!    reversals it may be a fax, which talks one way at a time and is helped by a canceller.
//! 2. The flags before a fax's first frame (T.30, V.21 channel 2) mean a fax.
//! 3. Silence in both directions ends it: 250 ms after a modem; after a fax what T.30's timer T2 waits for an answer.
//!
//! Sound is heard in blocks of 5 ms: 2100, 1650 and 1850 Hz are told apart by one block.

use std::f32::consts::TAU;

use super::transform::BLOCK;
use crate::session::Machine;

/// Blocks of silence that end it.
fn patience(machine: Machine) -> u32 {
    match machine {
        Machine::Modem => 50,
        Machine::Fax => 1400,
    }
}

/// The disabler of one call.
#[derive(Clone, Debug)]
pub struct Disabler {
    listeners: [Listener; 2],
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Listening,
    /// For so many blocks both directions have been silent.
    Untouched(Machine, u32),
}

impl Disabler {
    /// Nothing heard.
    pub fn new() -> Disabler {
        Disabler { listeners: [Listener::default(); 2], state: State::Listening }
    }

    /// Hears a block of each direction; is it to be left untouched?
    pub fn hear(&mut self, blocks: [&[f32; BLOCK]; 2]) -> Option<Machine> {
        let [a, b] = &mut self.listeners;
        let (a, b) = (a.hear(blocks[0]), b.hear(blocks[1]));
        self.state = match (self.state, a.found.or(b.found)) {
            (_, Some(found)) => State::Untouched(found, 0),
            (State::Untouched(why, silence), None) if a.silent && b.silent => {
                if silence < patience(why) {
                    State::Untouched(why, silence + 1)
                } else {
                    State::Listening
                }
            }
            (State::Untouched(why, _), None) => State::Untouched(why, 0),
            (State::Listening, None) => State::Listening,
        };
        self.untouched()
    }

    /// Is sound left untouched?
    pub fn untouched(&self) -> Option<Machine> {
        match self.state {
            State::Listening => None,
            State::Untouched(why, _) => Some(why),
        }
    }
}

impl Default for Disabler {
    fn default() -> Disabler {
        Disabler::new()
    }
}

/// The mean square of a sine of 0 dBm0: 3.14 dB below full scale (G.711).
const REFERENCE: f32 = 32_767.0 * 32_767.0 / 2.0 * 0.485_3;
/// Of -36 dBm0, below which there is silence.
const SILENT: f32 = REFERENCE * 2.5e-4;
/// Of -33 dBm0, above which a tone counts: the disabler must hear -31.
const QUIETEST: f32 = REFERENCE * 5e-4;
/// The answer tone, and V.21's mark and space. Hz.
const TONES: [f32; 3] = [2100.0, 1650.0, 1850.0];
/// The share of a block's power that its tone has at least.
const PURE: f32 = 0.7;

/// What a block was.
struct Heard {
    found: Option<Machine>,
    silent: bool,
}

/// Listens to one direction.
#[derive(Clone, Copy, Debug, Default)]
struct Listener {
    answer: Answer,
    flags: Flags,
}

impl Listener {
    fn hear(&mut self, block: &[f32; BLOCK]) -> Heard {
        let energy: f32 = block.iter().map(|sample| sample * sample).sum();
        let [answer, mark, space] = phasors(block);
        // A sine's phasor squared is its energy times half of the block.
        let share = |phasors: f32| phasors / (energy.max(1.0) * BLOCK as f32 / 2.0);
        let loud = energy > QUIETEST * BLOCK as f32;
        let reversed = self.answer.hear(answer, loud && share(answer.square()) > PURE);
        let flags =
            self.flags.hear(loud && share(mark.square() + space.square()) > PURE, space.square() > mark.square());
        let found = if flags { Some(Machine::Fax) } else { reversed.then_some(Machine::Modem) };
        Heard { found, silent: energy < SILENT * BLOCK as f32 }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Phasor {
    re: f32,
    im: f32,
}

impl Phasor {
    fn square(self) -> f32 {
        self.re * self.re + self.im * self.im
    }

    fn unit(self) -> Phasor {
        let length = self.square().sqrt().max(1e-9);
        Phasor { re: self.re / length, im: self.im / length }
    }

    /// Turned back by the other's phase.
    fn against(self, other: Phasor) -> Phasor {
        Phasor { re: self.re * other.re + self.im * other.im, im: self.im * other.re - self.re * other.im }
    }
}

/// Goertzel's algorithm for each of [`TONES`].
fn phasors(block: &[f32; BLOCK]) -> [Phasor; 3] {
    let turns = TONES.map(|hertz| (TAU * hertz / 8000.0).sin_cos());
    let mut states = [(0.0f32, 0.0f32); 3];
    for sample in block {
        for (state, (_, cosine)) in states.iter_mut().zip(turns) {
            *state = (sample + 2.0 * cosine * state.0 - state.1, state.0);
        }
    }
    let mut found = [Phasor::default(); 3];
    for ((found, (now, before)), (sine, cosine)) in found.iter_mut().zip(states).zip(turns) {
        *found = Phasor { re: now - before * cosine, im: before * sine };
    }
    found
}

/// An answer tone and its reversals.
#[derive(Clone, Copy, Debug, Default)]
struct Answer {
    /// Of the blocks before, the newest first.
    phasors: [Phasor; 4],
    /// Blocks for which the tone sounds, and since it was last reversed, if it was.
    sounding: u32,
    reversed: Option<u32>,
    /// Blocks in a row that are not pure.
    impure: u32,
}

impl Answer {
    /// Blocks between reversals: 450 ms, and what blocks and lines make of it.
    const PERIOD: std::ops::RangeInclusive<u32> = 82..=98;
    /// The cosine of 132 degrees: a turn of 155 to 205 is a reversal, one of up to 110 is none.
    const TURNED: f32 = -0.67;

    /// Was this the second of two reversals?
    fn hear(&mut self, phasor: Phasor, pure: bool) -> bool {
        // The block in which the phase reverses is not pure.
        self.impure = if pure { 0 } else { self.impure + 1 };
        if self.impure > 2 {
            *self = Answer { impure: 3, ..Answer::default() };
            return false;
        }
        self.sounding += 1;
        let [_, before, _, long_before] = self.phasors;
        self.phasors.copy_within(..3, 1);
        self.phasors[0] = phasor.unit();
        // A tone that is a little off turns a little with each block, always alike.
        let turn = phasor.unit().against(before).against(before.against(long_before));
        let turned = pure && turn.re < Answer::TURNED;
        match self.reversed {
            Some(since) if turned && Answer::PERIOD.contains(&since) => {
                self.reversed = Some(0);
                true
            }
            Some(since) if !turned || since < 6 => {
                self.reversed = Some(since + 1);
                false
            }
            _ => {
                self.reversed = if turned && self.sounding > 8 { Some(0) } else { None };
                false
            }
        }
    }
}

/// Flags in V.21: a space of two bits and a mark of six, over and over.
#[derive(Clone, Copy, Debug, Default)]
struct Flags {
    blocks: u32,
    spaces: u32,
    space: bool,
}

impl Flags {
    /// Blocks that tell: 300 ms.
    const ENOUGH: u32 = 60;
    /// Flags in that time are 11, when none is missed.
    const FLAGS: std::ops::RangeInclusive<u32> = 9..=13;

    /// Were these flags enough?
    fn hear(&mut self, pure: bool, space: bool) -> bool {
        if !pure {
            *self = Flags::default();
            return false;
        }
        self.blocks += 1;
        self.spaces += u32::from(space && !self.space);
        self.space = space;
        if self.blocks < Flags::ENOUGH {
            return false;
        }
        let found = Flags::FLAGS.contains(&self.spaces);
        *self = Flags::default();
        found
    }
}
