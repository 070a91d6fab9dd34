//! Keys as this peer wants to hear of them: events, tones, or nothing in the band at all.

use std::time::Duration;

use super::Key;
use super::tone::Generator;
use crate::session::{Digit, Digits, TelephoneEvent};
use crate::wire::telephone_event::{self, LENGTH};

/// A tone that is told shorter is played this long all the same: less is not heard as a digit (Q.24: 40 ms).
const SHORTEST_MS: u64 = 50;
/// Volume of our events, -dBm0.
const VOLUME: u8 = 10;
/// Samples made at once.
const PART: usize = 160;
/// Milliseconds in which a tone falls to silence.
const FALL_MS: usize = 2;

/// What is said about a key.
#[derive(Debug, PartialEq, Eq)]
pub enum Said<'a> {
    /// An event that began at this place; its first packet has the marker.
    Event(bool, u64, [u8; LENGTH]),
    /// Sound that begins at this place.
    Sound(u64, &'a [i16]),
    /// Signalling shall say this.
    Digit(Digit, Duration),
}

/// Says keys to one peer.
#[derive(Debug)]
pub struct Press {
    digits: Digits,
    rate: u32,
    /// Samples between two packets of an event.
    packet: u64,
    sounding: Option<Sounding>,
}

/// The key that the peer hears.
#[derive(Clone, Copy, Debug)]
struct Sounding {
    digit: Digit,
    /// Where it, or its present segment, began.
    place: u64,
    /// Samples in segments that are over.
    before: u64,
    /// Samples said so far.
    said: u64,
    tone: Generator,
}

impl Press {
    /// For a peer that hears digits in this way, beside sound of `rate` Hz in packets of `packet_ms`.
    pub fn new(digits: Digits, rate: u32, packet_ms: u8) -> Press {
        Press { digits, rate, packet: u64::from(rate) * u64::from(packet_ms) / 1000, sounding: None }
    }

    /// Is a key being said? Then other sound has to wait.
    pub fn sounds(&self) -> bool {
        self.sounding.is_some()
    }

    /// How a key stands now.
    pub fn say(&mut self, key: Key, out: &mut impl FnMut(Said<'_>)) {
        let fresh = self.sounding.is_none_or(|sounding| sounding.digit != key.digit);
        if fresh {
            let tone = Generator::new(key.digit, self.rate);
            self.sounding = Some(Sounding { digit: key.digit, place: key.place, before: 0, said: 0, tone });
        }
        let Some(mut sounding) = self.sounding else { return };
        match self.digits {
            Digits::Events(events) => self.event(events, &mut sounding, key, fresh, out),
            Digits::Tones => self.tone(&mut sounding, key, out),
            Digits::Info if !key.held => out(Said::Digit(key.digit, self.time(key.samples))),
            Digits::Info => {}
        }
        self.sounding = key.held.then_some(sounding);
    }

    fn event(
        &self,
        events: TelephoneEvent,
        sounding: &mut Sounding,
        key: Key,
        fresh: bool,
        out: &mut impl FnMut(Said<'_>),
    ) {
        let ticks = |samples: u64| samples * u64::from(events.clock_rate) / u64::from(self.rate.max(1));
        let packet = |end, samples| {
            let duration = ticks(samples).min(u64::from(u16::MAX)) as u16;
            telephone_event::TelephoneEvent { event: key.digit.event(), end, volume: VOLUME, duration }.write()
        };
        // Longer than a packet can tell: what is over becomes a segment of its own.
        let longest = u64::from(u16::MAX) * u64::from(self.rate) / u64::from(events.clock_rate.max(1));
        while key.samples.saturating_sub(sounding.before) > longest {
            out(Said::Event(false, sounding.place, packet(false, longest)));
            sounding.before += longest;
            sounding.place += longest;
        }
        let samples = key.samples.saturating_sub(sounding.before);
        if !key.held {
            (0..3).for_each(|at| out(Said::Event(fresh && at == 0, sounding.place, packet(true, samples))));
        } else if fresh || key.samples >= sounding.said + self.packet {
            out(Said::Event(fresh, sounding.place, packet(false, samples)));
            sounding.said = key.samples;
        }
    }

    fn tone(&self, sounding: &mut Sounding, key: Key, out: &mut impl FnMut(Said<'_>)) {
        let shortest = u64::from(self.rate) * SHORTEST_MS / 1000;
        let end = if key.held { key.samples } else { key.samples.max(shortest) };
        let mut part = [0; PART];
        while sounding.said < end {
            let part = &mut part[..(end - sounding.said).min(PART as u64) as usize];
            sounding.tone.read(part);
            out(Said::Sound(sounding.place + sounding.said, part));
            sounding.said += part.len() as u64;
        }
        if !key.held {
            let fall = &mut part[..(FALL_MS * self.rate as usize / 1000).min(PART)];
            sounding.tone.end(fall);
            out(Said::Sound(sounding.place + sounding.said, fall));
        }
    }

    fn time(&self, samples: u64) -> Duration {
        Duration::from_micros(samples * 1_000_000 / u64::from(self.rate.max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::dtmf::detect::{Detector, Heard};

    fn key(samples: u64, held: bool) -> Key {
        Key { digit: Digit::of('5').unwrap(), place: 1000, samples, held }
    }

    fn events(clock_rate: u32) -> Digits {
        Digits::Events(TelephoneEvent { payload_type: 101, clock_rate })
    }

    /// The packets of a key: marker, place, end, duration.
    fn packets(press: &mut Press, key: Key) -> Vec<(bool, u64, bool, u16)> {
        let mut packets = Vec::new();
        press.say(key, &mut |said| {
            let Said::Event(marker, place, payload) = said else { panic!("{said:?}") };
            let event = telephone_event::TelephoneEvent::read(&payload).unwrap();
            assert_eq!(event.event, 5);
            packets.push((marker, place, event.end, event.duration));
        });
        packets
    }

    #[test]
    fn an_event_is_told_every_packet_time_and_ends_three_times() {
        let mut press = Press::new(events(48_000), 8000, 20);
        assert_eq!(packets(&mut press, key(80, true)), [(true, 1000, false, 480)]);
        assert_eq!(packets(&mut press, key(160, true)), []);
        assert_eq!(packets(&mut press, key(240, true)), [(false, 1000, false, 1440)]);
        assert_eq!(packets(&mut press, key(400, false)), [(false, 1000, true, 2400); 3]);
        assert!(!press.sounds());
        let mut again = packets(&mut press, key(400, false));
        assert!(again.remove(0).0, "a key of which only the end came");
    }

    #[test]
    fn a_key_held_for_very_long_is_told_in_segments() {
        let mut press = Press::new(events(48_000), 8000, 20);
        packets(&mut press, key(160, true));
        let said = packets(&mut press, key(11_082, true));
        assert_eq!(said, [(false, 1000, false, 65_532), (false, 11_922, false, 960)]);
    }

    #[test]
    fn a_tone_lasts_as_long_as_its_key_and_at_least_50_ms() {
        for (held, length, expected) in [(400, 800, 816), (80, 160, 416)] {
            let mut press = Press::new(Digits::Tones, 8000, 20);
            let mut sound = Vec::new();
            for key in [key(held, true), key(length, false)] {
                press.say(key, &mut |said| {
                    let Said::Sound(place, part) = said else { panic!("{said:?}") };
                    assert_eq!(place, 1000 + sound.len() as u64);
                    sound.extend_from_slice(part);
                });
            }
            assert_eq!(sound.len(), expected);
            let mut detector = Detector::new(8000);
            assert!(matches!(detector.hear(&sound[..400]), Heard::Digit(digit, _) if digit.key() == '5'));
        }
    }

    #[test]
    fn signalling_says_a_digit_when_it_is_over() {
        let mut press = Press::new(Digits::Info, 8000, 20);
        let mut said = Vec::new();
        for key in [key(80, true), key(800, false)] {
            press.say(key, &mut |digit| said.push(format!("{digit:?}")));
        }
        assert_eq!(said, ["Digit(Digit(secret), 100ms)"]);
    }
}
