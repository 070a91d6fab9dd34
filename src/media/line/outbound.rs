//! What a line hears of packets: sound at the line's own pace, digits as tones.
//!
//! While a digit sounds there is nothing else. It lasts as long as it is told, but long enough to be recognised, and the next
//! one waits for a gap: packets may tell of several at once.

use std::collections::VecDeque;
use std::time::Duration;

use crate::media::codec::CodecError;
use crate::media::dtmf::Key;
use crate::media::dtmf::dial::Dial;
use crate::media::dtmf::event::Reader;
use crate::media::dtmf::tone::Generator;
use crate::media::echo::BLOCK;
use crate::media::pace::PacedPlayout;
use crate::media::peer::Heard;
use crate::media::playout::Played;
use crate::session::{Codec, Counters, Digit, Digits, Stream};
use crate::time::Instant;

/// Samples a second of a timeslot.
const RATE: u32 = 8000;
/// Samples of a tick, for which sound is asked: two blocks.
const TICK: usize = 2 * BLOCK;
/// Samples that a digit sounds at least, and between two (Q.24: 40 ms).
const SHORTEST: u64 = 50 * 8;
const GAP: u64 = 50 * 8;
/// A digit whose end nobody tells ends after so many samples.
const LONGEST: u64 = 10 * RATE as u64;
/// Digits that may wait.
const WAITING: usize = 32;

/// One direction.
pub struct Outbound {
    task: (Codec, Digits, Codec),
    playout: PacedPlayout,
    reader: Option<Reader>,
    dial: Dial,
    keypad: Keypad,
    /// Sound that was asked for; its second half may still have to be said.
    tick: [i16; TICK],
    half: bool,
}

impl Outbound {
    /// What `from` says becomes what the line `to` hears. A packet is waited for at most for `patience`.
    pub fn new(from: &Stream, to: &Stream, patience: Duration) -> Result<Outbound, CodecError> {
        Ok(Outbound {
            task: task(from, to),
            playout: PacedPlayout::new(from.codec, RATE, patience)?.toward(to.codec),
            reader: from.digits.events().map(|events| Reader::new(events.clock_rate, RATE)),
            dial: Dial::new(RATE),
            keypad: Keypad::new(),
            tick: [0; TICK],
            half: false,
        })
    }

    /// May it go on when the sides have agreed on this?
    pub fn suits(&self, from: &Stream, to: &Stream) -> bool {
        self.task == task(from, to)
    }

    /// Shall the sound go out as it comes, for it is no talk?
    pub fn set_steady(&mut self, steady: bool) {
        self.playout.set_steady(steady);
    }

    /// A packet came.
    pub fn hear(&mut self, heard: &Heard, payload: &[u8], now: Instant) {
        let Outbound { playout, reader, keypad, .. } = self;
        playout.hear(heard, payload, now, &mut |played| press(reader, keypad, &played, now));
    }

    /// How long sound waits here.
    pub fn wait(&self, now: Instant) -> Duration {
        self.playout.delay(now).unwrap_or_default()
    }

    /// What went wrong on the way here, and what was done about it.
    pub fn count(&self, counters: &mut Counters) {
        counters.concealed = self.playout.troubles().lost;
        counters.fitted = self.playout.adjustments().pieces;
    }

    /// Signalling wants this digit pressed.
    pub fn press(&mut self, digit: Digit, length: Duration) {
        self.dial.press(digit, length);
    }

    /// What the line hears in the next block.
    pub fn fill(&mut self, now: Instant, block: &mut [i16; BLOCK]) {
        let Outbound { playout, reader, dial, keypad, tick, half, .. } = self;
        if !*half {
            playout.tick(now, tick, &mut |played| press(reader, keypad, &played, now));
        }
        let from = if *half { BLOCK } else { 0 };
        block.copy_from_slice(&tick[from..from + BLOCK]);
        *half = !*half;
        if let Some(reader) = reader {
            reader.tick(now, &mut |key| keypad.key(key));
        }
        if let Some(key) = dial.tick(now, 0) {
            keypad.key(key);
        }
        keypad.sound(block);
    }
}

fn task(from: &Stream, to: &Stream) -> (Codec, Digits, Codec) {
    (from.codec, from.digits, to.codec)
}

fn press(reader: &mut Option<Reader>, keypad: &mut Keypad, played: &Played<'_>, now: Instant) {
    if let (Some(reader), Played::Event { timestamp, place, payload }) = (reader, played) {
        reader.packet(*timestamp, *place, payload, now, &mut |key| keypad.key(key));
    }
}

/// Keys as tones, one after the other.
#[derive(Debug)]
struct Keypad {
    waiting: VecDeque<Key>,
    sounding: Option<Sounding>,
    /// Samples of silence before the next.
    gap: u64,
}

#[derive(Debug)]
struct Sounding {
    key: Key,
    tone: Generator,
    said: u64,
}

impl Keypad {
    fn new() -> Keypad {
        Keypad { waiting: VecDeque::with_capacity(WAITING), sounding: None, gap: 0 }
    }

    /// How a key stands.
    fn key(&mut self, key: Key) {
        let same = |known: &Key| (known.digit, known.place) == (key.digit, key.place);
        let room = self.waiting.len() < WAITING;
        let sounding = self.sounding.as_mut().map(|sounding| &mut sounding.key);
        match sounding.into_iter().chain(&mut self.waiting).find(|known| known.held && same(known)) {
            Some(known) => *known = key,
            None if room => self.waiting.push_back(key),
            None => {}
        }
    }

    /// The tone in place of what the block says, while there is one.
    fn sound(&mut self, block: &mut [i16; BLOCK]) {
        if self.sounding.is_none() && self.gap == 0 {
            self.sounding = self.waiting.pop_front().map(|key| {
                let tone = Generator::new(key.digit, RATE);
                Sounding { key, tone, said: 0 }
            });
        }
        let Some(Sounding { key, tone, said }) = &mut self.sounding else {
            if self.gap > 0 {
                block.fill(0);
                self.gap = self.gap.saturating_sub(BLOCK as u64);
            }
            return;
        };
        *said += BLOCK as u64;
        let over = !key.held && *said >= key.samples.max(SHORTEST) || *said >= LONGEST;
        match over {
            true => tone.end(block),
            false => tone.read(block),
        }
        if over {
            (self.sounding, self.gap) = (None, GAP);
        }
    }
}
