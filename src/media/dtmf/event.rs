//! Events as a peer sends them (RFC 4733) become keys that are held and released.
//!
//! An event is known by its timestamp: every packet of it tells the duration so far, three tell its end. Any of them may be
//! lost; when all of the end are, the key counts as released after a while.

use std::time::Duration;

use super::Key;
use crate::session::Digit;
use crate::time::Instant;
use crate::wire::telephone_event::TelephoneEvent;

/// Silence after which a held key was released: packets come every 20 to 60 ms.
const RELEASED: Duration = Duration::from_millis(200);

/// Reads the events of one peer.
#[derive(Debug)]
pub struct Reader {
    clock_rate: u32,
    rate: u32,
    last: Option<Last>,
}

/// The event that was heard last.
#[derive(Clone, Copy, Debug)]
struct Last {
    digit: Digit,
    place: u64,
    timestamp: u32,
    /// Ticks of segments before this one (section 2.5.1.3).
    before: u32,
    duration: u16,
    held: bool,
    at: Instant,
}

impl Reader {
    /// For events timed at `clock_rate` Hz, beside sound of `rate` Hz.
    pub fn new(clock_rate: u32, rate: u32) -> Reader {
        Reader { clock_rate, rate, last: None }
    }

    /// A packet of the event that began at `timestamp`, which is at `place` in the sound.
    pub fn packet(&mut self, timestamp: u32, place: u64, payload: &[u8], now: Instant, out: &mut impl FnMut(Key)) {
        let Some(event) = TelephoneEvent::read(payload) else { return };
        let Some(digit) = Digit::of_event(event.event) else { return };
        let mut last = match self.last {
            Some(last) if last.timestamp == timestamp && last.digit == digit => last,
            Some(last) if last.goes_on_at(timestamp, digit) => {
                Last { timestamp, before: last.before + u32::from(last.duration), duration: 0, ..last }
            }
            // What was sent before the last event is only late.
            Some(last) if (timestamp.wrapping_sub(last.timestamp) as i32) < 0 && now.since(last.at) < RELEASED => {
                return;
            }
            _ => {
                self.release(out);
                Last { digit, place, timestamp, before: 0, duration: 0, held: true, at: now }
            }
        };
        last.duration = last.duration.max(event.duration);
        last.at = now;
        if last.held {
            let samples = self.samples(&last);
            out(Key { digit, place: last.place, samples, held: !event.end });
        }
        last.held &= !event.end;
        self.last = Some(last);
    }

    /// When [`Reader::tick`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.last.filter(|last| last.held).map(|last| last.at + RELEASED)
    }

    /// Releases a key of which nothing was heard for long.
    pub fn tick(&mut self, now: Instant, out: &mut impl FnMut(Key)) {
        if self.due().is_some_and(|due| due <= now) {
            self.release(out);
        }
    }

    fn release(&mut self, out: &mut impl FnMut(Key)) {
        if let Some(last) = self.last.filter(|last| last.held) {
            let samples = self.samples(&last);
            out(Key { digit: last.digit, place: last.place, samples, held: false });
            self.last = Some(Last { held: false, ..last });
        }
    }

    fn samples(&self, last: &Last) -> u64 {
        let ticks = u64::from(last.before) + u64::from(last.duration);
        ticks * u64::from(self.rate) / u64::from(self.clock_rate.max(1))
    }
}

impl Last {
    /// Is this the next segment of a key that is held for very long?
    fn goes_on_at(&self, timestamp: u32, digit: Digit) -> bool {
        self.held && self.digit == digit && timestamp == self.timestamp.wrapping_add(u32::from(self.duration))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    fn payload(event: u8, end: bool, duration: u16) -> [u8; 4] {
        TelephoneEvent { event, end, volume: 10, duration }.write()
    }

    struct Rig {
        reader: Reader,
        now: u64,
        keys: Vec<(char, u64, bool)>,
    }

    impl Rig {
        fn new(clock_rate: u32) -> Rig {
            Rig { reader: Reader::new(clock_rate, 8000), now: 0, keys: Vec::new() }
        }

        fn packet(&mut self, timestamp: u32, event: u8, end: bool, duration: u16) {
            let (now, keys) = (Instant::at(Duration::from_millis(self.now)), &mut self.keys);
            let payload = payload(event, end, duration);
            let mut out = |key: Key| keys.push((key.digit.key(), key.samples, key.held));
            self.reader.tick(now, &mut out);
            self.reader.packet(timestamp, u64::from(timestamp), &payload, now, &mut out);
            self.now += 20;
        }

        fn wait(&mut self, milliseconds: u64) {
            self.now += milliseconds;
            let keys = &mut self.keys;
            let now = Instant::at(Duration::from_millis(self.now));
            self.reader.tick(now, &mut |key| keys.push((key.digit.key(), key.samples, key.held)));
        }

        fn released(&self) -> String {
            self.keys.iter().filter(|key| !key.2).map(|key| key.0).collect()
        }
    }

    #[test]
    fn a_key_is_held_and_released_once() {
        let mut rig = Rig::new(8000);
        for (end, duration) in [(false, 160), (false, 320), (true, 480), (true, 480), (true, 480)] {
            rig.packet(1000, 5, end, duration);
        }
        assert_eq!(rig.keys, [('5', 160, true), ('5', 320, true), ('5', 480, false)]);
    }

    #[test]
    fn beginning_and_end_may_be_lost() {
        let mut rig = Rig::new(8000);
        rig.packet(1000, 1, false, 320);
        rig.wait(300);
        rig.packet(5000, 2, true, 800);
        rig.packet(6000, 3, false, 160);
        rig.packet(8000, 3, false, 160);
        rig.wait(300);
        assert_eq!(rig.released(), "1233");
        assert_eq!(rig.keys.iter().map(|key| key.1).collect::<Vec<_>>(), [320, 320, 800, 160, 160, 160, 160]);
    }

    #[test]
    fn a_key_held_for_very_long_is_one_key() {
        let mut rig = Rig::new(48_000);
        rig.packet(0, 7, false, 0xffff);
        rig.packet(0xffff, 7, false, 960);
        rig.packet(0xffff, 7, true, 4801);
        assert_eq!(rig.keys, [('7', 10922, true), ('7', 11082, true), ('7', 11722, false)]);
    }

    #[test]
    fn other_events_and_short_payloads_are_no_digits() {
        let mut rig = Rig::new(8000);
        rig.packet(0, 16, true, 160);
        rig.packet(0, 200, false, 160);
        rig.reader.packet(0, 0, &[1, 2], Instant::START, &mut |_| panic!("a digit"));
        assert_eq!(rig.keys, []);
    }

    #[test]
    fn thirty_percent_loss_costs_no_digit() {
        for seed in 0..200 {
            let (mut rig, mut random) = (Rig::new(8000), Random::test(seed));
            let mut dialled = String::new();
            for number in 0..10u32 {
                let event = random.below(16) as u8;
                let timestamp = number * 3200;
                let mut sent: Vec<(bool, u16)> = (1..=5).map(|step| (false, 160 * step)).collect();
                sent.extend([(true, 960); 3]);
                let mut heard = 0;
                for (at, (end, duration)) in sent.iter().enumerate() {
                    let last = at == sent.len() - 1;
                    if random.below(10) >= 3 || last && heard == 0 {
                        heard += 1;
                        rig.packet(timestamp, event, *end, *duration);
                    } else {
                        rig.wait(20);
                    }
                }
                dialled.push(Digit::of_event(event).unwrap().key());
                rig.wait(100);
            }
            rig.wait(500);
            assert_eq!(rig.released(), dialled, "seed {seed}");
        }
    }

    #[test]
    fn any_packets_in_any_order() {
        bolero::check!().with_type().for_each(|packets: &Vec<(u32, [u8; 4], u8)>| {
            let mut reader = Reader::new(8000, 8000);
            let mut held: Option<Digit> = None;
            let mut now = Instant::START;
            for (timestamp, payload, wait) in packets {
                now = now + Duration::from_millis(u64::from(*wait));
                let mut out = |key: Key| {
                    assert!(held.is_none_or(|held| held == key.digit), "one key at a time");
                    held = key.held.then_some(key.digit);
                };
                reader.tick(now, &mut out);
                reader.packet(*timestamp, 0, payload, now, &mut out);
            }
        });
    }
}
