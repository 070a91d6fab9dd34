//! The payload of a telephone-event (RFC 4733 section 2.3).
//!
//! ```text
//! 0        8   10     16              32
//! |  event |E|R|volume|    duration    |
//! ```

/// Octets of a payload. Microsoft's side takes exactly this many.
pub const LENGTH: usize = 4;

/// One event as a packet tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 15 are DTMF digits (section 3.2).
    pub event: u8,
    /// It has ended.
    pub end: bool,
    /// -dBm0, 0 to 63.
    pub volume: u8,
    /// Ticks of the event's clock since its beginning.
    pub duration: u16,
}

impl TelephoneEvent {
    /// Reads a payload; `None` when it is too short. What stands behind it is another event's.
    pub fn read(payload: &[u8]) -> Option<TelephoneEvent> {
        let &[event, flags, high, low, ..] = payload else { return None };
        let duration = u16::from_be_bytes([high, low]);
        Some(TelephoneEvent { event, end: flags & 0x80 != 0, volume: flags & 0x3f, duration })
    }

    /// Writes the payload.
    pub fn write(self) -> [u8; LENGTH] {
        let [high, low] = self.duration.to_be_bytes();
        [self.event, u8::from(self.end) << 7 | self.volume & 0x3f, high, low]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard() {
        let event = TelephoneEvent { event: 9, end: true, volume: 7, duration: 1760 };
        assert_eq!(event.write(), [9, 0x87, 0x06, 0xe0]);
        assert_eq!(TelephoneEvent::read(&[9, 0x87, 0x06, 0xe0, 1, 2]), Some(event));
        assert_eq!(TelephoneEvent::read(&[9, 0x87, 6]), None);
    }

    #[test]
    fn what_is_written_is_read() {
        bolero::check!().with_type().for_each(|octets: &[u8; LENGTH]| {
            let event = TelephoneEvent::read(octets).unwrap();
            assert_eq!(TelephoneEvent::read(&event.write()), Some(event));
        });
    }
}
