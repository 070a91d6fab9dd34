//! NTP packets (RFC 5905 section 7.3) as a client needs them: the query it sends, the answer it reads.
//!
//! ```text
//! 0      1         2      3           4            8                 12          16
//! | LVM  | stratum | poll | precision | root delay | root dispersion | refid     | reference time (8)
//! 24                32               40
//! | origin time (8) | receive time (8) | transmit time (8) |  extensions, MAC: passed over
//! ```

use std::time::Duration;

use jiff::SignedDuration;

/// A packet without extensions.
pub const LENGTH: usize = 48;

/// Version 4, mode 3 (client), leap indicator 0.
const QUERY: u8 = 4 << 3 | 3;
const SERVER: u8 = 4;
/// From 1900 to 1970, seconds.
const TO_UNIX: i64 = 2_208_988_800;
/// Seconds of an era: timestamps begin again in 2036.
const ERA: i64 = 1 << 32;
/// No answer of today is older than 2020: this tells the eras apart without a clock.
const PIVOT: i64 = 1_577_836_800;

/// A query that says nothing about us: all zero but `nonce` in place of our time, which an answer must repeat as its
/// origin (RFC 5905 section 8; draft-ietf-ntp-data-minimization).
pub fn query(nonce: u64) -> [u8; LENGTH] {
    let mut packet = [0; LENGTH];
    packet[0] = QUERY;
    packet[40..].copy_from_slice(&nonce.to_be_bytes());
    packet
}

/// A 64-bit timestamp: seconds since 1900 modulo 2^32, and their fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(pub u64);

impl Stamp {
    /// Time since 1970; `None` for "unknown", which is zero on the wire.
    pub fn since_1970(self) -> Option<SignedDuration> {
        if self.0 == 0 {
            return None;
        }
        let seconds = i64::from((self.0 >> 32) as u32) - TO_UNIX;
        let seconds = if seconds < PIVOT { seconds + ERA } else { seconds };
        let nanos = ((self.0 & 0xffff_ffff) * 1_000_000_000) >> 32;
        Some(SignedDuration::new(seconds, nanos as i32))
    }
}

/// The kiss-o'-death codes that a client must obey (RFC 5905 section 7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kiss {
    /// `RATE`: ask less often.
    Rate,
    /// `DENY` or `RSTR`: ask no more.
    Deny,
}

/// Why octets are no answer to a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNtp {
    /// Fewer than 48 octets.
    #[error("it is too short for NTP")]
    Short,
    /// Neither version 3 nor 4.
    #[error("it is NTP of version {0}")]
    Version(u8),
    /// No answer of a server.
    #[error("it is no answer of a server (mode {0})")]
    Mode(u8),
}

/// What a server says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// 3: it does not know the time itself.
    pub leap: u8,
    /// Steps from a reference clock; 0 in a kiss-o'-death.
    pub stratum: u8,
    /// The grain of its clock.
    pub precision: Duration,
    /// To the reference clock and back.
    pub root_delay: Duration,
    /// What it may be off.
    pub root_dispersion: Duration,
    /// Its reference, or the code of a kiss-o'-death.
    pub reference: [u8; 4],
    /// The nonce of the query that is answered.
    pub origin: u64,
    /// When the query came.
    pub receive: Stamp,
    /// When the answer left.
    pub transmit: Stamp,
}

impl Answer {
    /// Reads an answer of version 3 or 4; what follows the 48th octet is passed over.
    pub fn read(packet: &[u8]) -> Result<Answer, NotNtp> {
        let packet: &[u8; LENGTH] = packet.first_chunk().ok_or(NotNtp::Short)?;
        let (leap, version, mode) = (packet[0] >> 6, packet[0] >> 3 & 7, packet[0] & 7);
        if !matches!(version, 3 | 4) {
            return Err(NotNtp::Version(version));
        }
        if mode != SERVER {
            return Err(NotNtp::Mode(mode));
        }
        let long = |at: usize| packet[at..at + 8].iter().fold(0, |sum, octet| sum << 8 | u64::from(*octet));
        let short = |at: usize| Duration::from_nanos(((long(at) >> 32) * 1_000_000_000) >> 16);
        Ok(Answer {
            leap,
            stratum: packet[1],
            precision: Duration::from_secs_f64(f64::from((packet[3] as i8).clamp(-30, 4)).exp2()),
            root_delay: short(4),
            root_dispersion: short(8),
            reference: [packet[12], packet[13], packet[14], packet[15]],
            origin: long(24),
            receive: Stamp(long(32)),
            transmit: Stamp(long(40)),
        })
    }

    /// Is it an order to ask less or no more?
    pub fn kiss(&self) -> Option<Kiss> {
        match (self.stratum, &self.reference) {
            (0, b"RATE") => Some(Kiss::Rate),
            (0, b"DENY" | b"RSTR") => Some(Kiss::Deny),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer of chronyd 4.3 at stratum 1 to the query whose nonce is 0x0123456789abcdef.
    const ANSWER: [u8; LENGTH] = [
        0x24, 0x01, 0x06, 0xe7, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x80, 0x00, 0x7f, 0x7f, 0x01, 0x01, 0xee, 0xa5,
        0xb6, 0x41, 0x00, 0x00, 0x00, 0x00, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xee, 0xa5, 0xb6, 0x44,
        0x80, 0x00, 0x00, 0x00, 0xee, 0xa5, 0xb6, 0x44, 0xc0, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn a_query_says_its_nonce_and_nothing_else() {
        let packet = query(0x0123_4567_89ab_cdef);
        assert_eq!((packet[0], &packet[40..]), (0x23, &ANSWER[24..32]));
        assert!(packet[1..40].iter().all(|octet| *octet == 0));
    }

    #[test]
    fn an_answer_is_read_field_by_field() {
        let answer = Answer::read(&ANSWER).unwrap();
        assert_eq!((answer.leap, answer.stratum, answer.origin), (0, 1, 0x0123_4567_89ab_cdef));
        assert_eq!((answer.root_delay, answer.root_dispersion), (Duration::ZERO, Duration::from_millis(500)));
        assert_eq!(answer.precision, Duration::from_secs_f64(1.0 / f64::from(1 << 25)));
        let at = |stamp: Stamp| stamp.since_1970().unwrap();
        assert_eq!(at(answer.receive), SignedDuration::new(0xeea5_b644 - TO_UNIX, 500_000_000));
        assert_eq!(at(answer.transmit) - at(answer.receive), SignedDuration::from_millis(250));
        assert_eq!(answer.kiss(), None);
    }

    #[test]
    fn time_goes_on_after_2036() {
        let second = |stamp: u64| Stamp(stamp << 32).since_1970().unwrap().as_secs();
        assert_eq!(second(u64::from(u32::MAX)) + 1, Stamp(1).since_1970().unwrap().as_secs());
        assert_eq!(jiff::Timestamp::from_second(second(1)).unwrap().to_string(), "2036-02-07T06:28:17Z");
        assert_eq!(Stamp(0).since_1970(), None);
    }

    #[test]
    fn what_is_no_answer_is_said_so() {
        let with = |first: u8| [&[first], &ANSWER[1..]].concat();
        assert_eq!(Answer::read(&ANSWER[..47]), Err(NotNtp::Short));
        assert_eq!(Answer::read(&with(0x14)), Err(NotNtp::Version(2)));
        assert_eq!(Answer::read(&with(0x25)), Err(NotNtp::Mode(5)));
        assert_eq!(Answer::read(&query(7)), Err(NotNtp::Mode(3)));
        assert!(Answer::read(&[&ANSWER[..], &[0; 24]].concat()).is_ok());
        for (code, kiss) in [(b"RATE", Some(Kiss::Rate)), (b"RSTR", Some(Kiss::Deny)), (b"INIT", None)] {
            let packet = [&[0xe4, 0], &ANSWER[2..12], code, &ANSWER[16..]].concat();
            assert_eq!(Answer::read(&packet).unwrap().kiss(), kiss);
        }
    }

    #[test]
    fn no_packet_panics() {
        bolero::check!().for_each(|octets: &[u8]| {
            for packet in [octets, &[&[0x24], octets].concat()] {
                if let Ok(answer) = Answer::read(packet) {
                    let _ = (answer.kiss(), answer.receive.since_1970(), answer.transmit.since_1970());
                }
            }
        });
    }
}
