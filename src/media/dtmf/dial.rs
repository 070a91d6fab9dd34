//! Digits that signalling wants pressed (SIP INFO): one after the other, at our own pace.

use std::collections::VecDeque;
use std::time::Duration;

use super::Key;
use crate::session::Digit;
use crate::time::{Instant, soonest};

/// How often a pressed key is told of.
const PACE: Duration = Duration::from_millis(20);
/// Between two keys (Q.24: 40 ms).
const PAUSE: Duration = Duration::from_millis(60);
/// A key is pressed for no less and no more than this.
const LENGTH: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Keys that may wait; who dials faster is not a person.
const MOST: usize = 32;

/// A finger on the keypad.
#[derive(Debug)]
pub struct Dial {
    rate: u32,
    waiting: VecDeque<(Digit, Duration)>,
    pressed: Option<Pressed>,
    /// No key before this.
    rest: Instant,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    digit: Digit,
    length: Duration,
    start: Instant,
    place: u64,
    told: Instant,
}

impl Dial {
    /// Beside sound of `rate` Hz.
    pub fn new(rate: u32) -> Dial {
        Dial { rate, waiting: VecDeque::with_capacity(MOST), pressed: None, rest: Instant::START }
    }

    /// Presses a key, after those that wait. What is too much is not dialled.
    pub fn press(&mut self, digit: Digit, length: Duration) {
        if self.waiting.len() < MOST {
            self.waiting.push_back((digit, length.clamp(LENGTH.0, LENGTH.1)));
        }
    }

    /// When [`Dial::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let next = (!self.waiting.is_empty()).then_some(self.rest);
        self.pressed.map_or(next, |pressed| soonest(Some(pressed.told + PACE), Some(pressed.start + pressed.length)))
    }

    /// Tells how the key stands; a new one begins at `place` in the sound.
    pub fn tick(&mut self, now: Instant, place: u64) -> Option<Key> {
        if self.due().is_none_or(|due| now < due) {
            return None;
        }
        let Some(pressed) = &mut self.pressed else {
            let (digit, length) = self.waiting.pop_front()?;
            self.pressed = Some(Pressed { digit, length, start: now, place, told: now });
            return Some(Key { digit, place, samples: 0, held: true });
        };
        pressed.told = now;
        let Pressed { digit, length, start, place, .. } = *pressed;
        let elapsed = now.since(start).min(length);
        let held = elapsed < length;
        if !held {
            (self.pressed, self.rest) = (None, now + PAUSE);
        }
        let samples = elapsed.as_micros() as u64 * u64::from(self.rate) / 1_000_000;
        Some(Key { digit, place, samples, held })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_pressed_one_after_the_other() {
        let mut dial = Dial::new(8000);
        dial.press(Digit::of('1').unwrap(), Duration::from_millis(100));
        dial.press(Digit::of('#').unwrap(), Duration::ZERO);
        let mut told = Vec::new();
        let mut now = Instant::at(Duration::from_secs(1));
        while let Some(due) = dial.due() {
            now = due.max(now);
            let ms = now.since_start().as_millis() as u64;
            let key = dial.tick(now, ms * 8).unwrap();
            told.push((ms - 1000, key.digit.key(), key.place / 8 - 1000, key.samples / 8, key.held));
        }
        let one = |ms, samples, held| (ms, '1', 0, samples, held);
        let hash = |ms, samples, held| (ms, '#', 160, samples, held);
        assert_eq!(
            told,
            [
                one(0, 0, true),
                one(20, 20, true),
                one(40, 40, true),
                one(60, 60, true),
                one(80, 80, true),
                one(100, 100, false),
                hash(160, 0, true),
                hash(180, 20, true),
                hash(200, 40, true),
                hash(210, 50, false)
            ]
        );
    }

    #[test]
    fn who_dials_too_fast_is_not_followed_for_ever() {
        let mut dial = Dial::new(8000);
        (0..1000).for_each(|_| dial.press(Digit::of('1').unwrap(), Duration::from_secs(9)));
        assert_eq!(dial.waiting.len(), MOST);
    }
}
