//! RTP (RFC 3550 section 5.1) as it lies in a datagram.
//!
//! Read and written in place: a relayed packet never leaves the buffer that it came in. Under SRTP
//! the header is readable before the payload is, so padding is looked at in a second step.

use std::ops::Range;

/// Octets of a header without contributing sources and extension.
pub const FIXED_HEADER: usize = 12;

const VERSION_2: u8 = 0x80;
const PADDING: u8 = 0x20;
const EXTENSION: u8 = 0x10;
const MARKER: u8 = 0x80;

/// An RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// First packet of a talkspurt or event.
    pub marker: bool,
    /// What the payload is, 0 to 127.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Sampling instant of the first octet, in units of the clock rate.
    pub timestamp: u32,
    /// Synchronization source.
    pub ssrc: u32,
    /// Octets before the payload: fixed part, contributing sources, extension.
    pub length: usize,
    /// The last octet counts padding.
    pub padded: bool,
}

impl Header {
    /// The header of `packet`; `None` when it is not RTP version 2 or is cut short.
    pub fn read(packet: &[u8]) -> Option<Header> {
        let fixed: &[u8; FIXED_HEADER] = packet.first_chunk()?;
        if fixed[0] & 0xc0 != VERSION_2 {
            return None;
        }
        let mut length = FIXED_HEADER + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & EXTENSION != 0 {
            let words = packet.get(length + 2..length + 4)?;
            length += 4 + 4 * usize::from(u16::from_be_bytes([words[0], words[1]]));
        }
        (length <= packet.len()).then_some(Header {
            marker: fixed[1] & MARKER != 0,
            payload_type: fixed[1] & !MARKER,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            timestamp: u32::from_be_bytes([fixed[4], fixed[5], fixed[6], fixed[7]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
            length,
            padded: fixed[0] & PADDING != 0,
        })
    }

    /// Where the payload of the decrypted `packet` lies, padding left out; `None` when the padding
    /// is longer than the packet.
    pub fn payload(&self, packet: &[u8]) -> Option<Range<usize>> {
        let padding = match (self.padded, packet.last()) {
            (false, _) => 0,
            (true, Some(0) | None) => return None,
            (true, Some(&octets)) => usize::from(octets),
        };
        let end = packet.len().checked_sub(padding)?;
        (self.length <= end).then_some(self.length..end)
    }

    /// The fixed part, without contributing sources, extension or padding.
    pub fn write(&self) -> [u8; FIXED_HEADER] {
        let mut fixed = [0; FIXED_HEADER];
        fixed[0] = VERSION_2;
        fixed[1] = self.payload_type | if self.marker { MARKER } else { 0 };
        fixed[2..4].copy_from_slice(&self.sequence.to_be_bytes());
        fixed[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        fixed[8..12].copy_from_slice(&self.ssrc.to_be_bytes());
        fixed
    }
}

/// Is this datagram RTCP on a port shared with RTP (RFC 5761 section 4)?
pub fn is_rtcp(packet: &[u8]) -> bool {
    matches!(packet, [first, 192..=223, ..] if first & 0xc0 == VERSION_2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Header =
        Header { marker: true, payload_type: 8, sequence: 7, timestamp: 160, ssrc: 0xfeed, length: 12, padded: false };

    #[test]
    fn what_is_written_is_read() {
        assert_eq!(Header::read(&PLAIN.write()), Some(PLAIN));
    }

    #[test]
    fn sources_extension_and_padding_are_not_payload() {
        let mut packet = PLAIN.write().to_vec();
        packet[0] |= PADDING | EXTENSION | 1;
        packet.extend([0; 4]);
        packet.extend([0xbe, 0xde, 0, 1, 1, 2, 3, 4]);
        packet.extend([0xaa, 0xbb, 0xcc, 0, 2]);
        let header = Header::read(&packet).unwrap();
        assert_eq!(header.length, 24);
        assert_eq!(header.payload(&packet), Some(24..27));
    }

    #[test]
    fn short_and_lying_packets_are_refused() {
        let good = PLAIN.write();
        assert_eq!(Header::read(&good[..11]), None, "cut short");
        assert_eq!(Header::read(&[&[0x40], &good[1..]].concat()), None, "version 1");
        assert_eq!(Header::read(&[&[0x8f], &good[1..]].concat()), None, "15 sources that are not there");
        assert_eq!(Header::read(&[&[0x90], &good[1..], &[0, 0, 0xff, 0xff]].concat()), None, "endless extension");
        for padding in [0, 14, 255] {
            let packet = [&[0xa0], &good[1..], &[padding]].concat();
            assert_eq!(Header::read(&packet).unwrap().payload(&packet), None, "padding of {padding}");
        }
    }

    #[test]
    fn no_octets_make_it_panic() {
        bolero::check!().for_each(|octets: &[u8]| {
            if let Some(payload) = Header::read(octets).and_then(|header| header.payload(octets)) {
                assert!(payload.start >= FIXED_HEADER && payload.end <= octets.len());
            }
        });
    }

    #[test]
    fn rtcp_is_told_from_rtp_by_its_second_octet() {
        assert!(is_rtcp(&[0x80, 200]) && is_rtcp(&[0x81, 201]));
        assert!(!is_rtcp(&PLAIN.write()) && !is_rtcp(&[0x80]) && !is_rtcp(&[0x00, 200]));
    }
}
