//! Digits (DTMF), and how a peer sends and hears them.

use std::fmt;

/// A DTMF digit. What is dialled in a call may be a secret number: it never prints.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digit(u8);

impl Digit {
    /// By its key: `0` to `9`, `*`, `#`, `A` to `D`.
    pub fn of(key: char) -> Option<Digit> {
        let key = key.to_ascii_uppercase();
        Digit::KEYS.iter().position(|known| *known == key).map(|event| Digit(event as u8))
    }

    /// By its number as an event (RFC 4733 section 3.2).
    pub fn of_event(event: u8) -> Option<Digit> {
        (usize::from(event) < Digit::KEYS.len()).then_some(Digit(event))
    }

    /// Its number as an event.
    pub fn event(self) -> u8 {
        self.0
    }

    /// Its key.
    pub fn key(self) -> char {
        Digit::KEYS.get(usize::from(self.0)).copied().unwrap_or('0')
    }

    const KEYS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', '*', '#', 'A', 'B', 'C', 'D'];
}

impl fmt::Debug for Digit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digit(secret)")
    }
}

/// How RFC 4733 events are numbered and timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TelephoneEvent {
    /// 0 to 127.
    pub payload_type: u8,
    /// Hz: that of the sound beside it (RFC 4733 section 2.1), or 8000.
    pub clock_rate: u32,
}

/// How a peer sends and hears DTMF digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digits {
    /// As RTP events (RFC 4733).
    Events(TelephoneEvent),
    /// As tones in the sound.
    Tones,
    /// In SIP INFO.
    Info,
}

impl Digits {
    /// The events' number and clock, when digits are events.
    pub fn events(self) -> Option<TelephoneEvent> {
        match self {
            Digits::Events(events) => Some(events),
            Digits::Tones | Digits::Info => None,
        }
    }
}
