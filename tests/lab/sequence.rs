//! Octets on a timeslot that are like no others, and how many of them arrive elsewhere, in order.

use std::collections::HashMap;
use std::fmt;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use firmware_io::Bearer;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::seconds;

const RTP_HEADER: usize = 12;
/// So many octets in a row are like no others of the sequence.
const TELLING: usize = 16;

/// Says octets like no others on a timeslot, as many as come; what was said, and what came.
pub fn talk(mut bearer: Box<dyn Bearer>, time: Duration) -> (Vec<u8>, Vec<u8>) {
    let (mut said, mut heard, mut octets) = (Vec::new(), Vec::new(), [0; 1024]);
    let mut state = 1_u32;
    let begun = Instant::now();
    while begun.elapsed() < time {
        poll(&mut [PollFd::new(bearer.ready(), PollFlags::POLLIN)], PollTimeout::from(100_u16)).unwrap();
        let count = bearer.read(&mut octets).unwrap();
        heard.extend_from_slice(&octets[..count]);
        for octet in &mut octets[..count] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *octet = state.to_be_bytes()[0];
        }
        assert_eq!(bearer.write(&octets[..count]).unwrap(), count, "there is room for as much as came");
        said.extend_from_slice(&octets[..count]);
    }
    (said, heard)
}

/// A telephone that says again what it hears, for so long; what it heard. The RTP it knows is of one payload type.
pub fn repeat(telephone: &UdpSocket, payload_type: u8, time: Duration) -> Vec<u8> {
    telephone.set_read_timeout(Some(seconds(1))).unwrap();
    let (mut heard, mut packet) = (Vec::new(), [0; 1500]);
    let end = Instant::now() + time;
    while Instant::now() < end {
        let Ok((length, from)) = telephone.recv_from(&mut packet) else { continue };
        // Else it is RTCP, or a comfort noise.
        if length > RTP_HEADER && packet[0] == 0x80 && packet[1] & 0x7f == payload_type {
            heard.extend_from_slice(&packet[RTP_HEADER..length]);
            packet[8..RTP_HEADER].copy_from_slice(b"back");
            telephone.send_to(&packet[..length], from).unwrap();
        }
    }
    heard
}

/// How much of what was heard was said like that.
pub struct Sequence {
    pub octets: usize,
    /// How many times it goes on elsewhere in what was said.
    pub gaps: usize,
    /// Octets between two gaps that came as others.
    pub changed: usize,
}

impl Sequence {
    /// Finds what was said in what was heard; what comes before and after is silence.
    pub fn find(said: &[u8], heard: &[u8]) -> Sequence {
        let places: HashMap<&[u8], usize> =
            said.windows(TELLING).enumerate().map(|(at, octets)| (octets, at)).collect();
        let mut sequence = Sequence { octets: 0, gaps: 0, changed: 0 };
        let (mut at, mut last) = (0, None);
        while let Some(place) = heard.get(at..at + TELLING).map(|octets| places.get(octets)) {
            let Some(&found) = place else {
                at += 1;
                continue;
            };
            match last {
                Some((ended, said_then)) if found.checked_sub(said_then) == Some(at - ended) => {
                    let pairs = said[said_then..found].iter().zip(&heard[ended..at]);
                    let changed = pairs.filter(|(said, heard)| said != heard).count();
                    sequence.changed += changed;
                    sequence.octets += at - ended - changed;
                }
                Some(_) => sequence.gaps += 1,
                None => {}
            }
            let alike = said[found..].iter().zip(&heard[at..]).take_while(|(said, heard)| said == heard).count();
            sequence.octets += alike;
            at += alike;
            last = Some((at, found + alike));
        }
        sequence
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (gaps: {}, changed: {})", self.octets, self.gaps, self.changed)
    }
}
