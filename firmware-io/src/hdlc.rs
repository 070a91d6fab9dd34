//! HDLC in a timeslot (ISO/IEC 13239 as ITU-T Q.921 section 2 uses it).
//!
//! 1. Between frames: flags (01111110), or ones where the far end idles so.
//! 2. In a frame: octets, the least significant bit first, behind every five ones a zero that is no part of them.
//! 3. After the frame: its FCS (CRC of X.25), the low octet first, and a flag, which may begin the next frame.
//! 4. Seven ones and more: what came since the last flag is worth nothing.
//!
//! The line carries the most significant bit of a timeslot's octet first. Frames begin at any bit.

/// The longest frame without FCS: Q.921's 260 octets of N201 and four of address and control.
pub const LONGEST: usize = 264;
/// A frame with its FCS.
const WITH_FCS: usize = LONGEST + 2;
/// The shortest frame without FCS: address and control.
const SHORTEST: usize = 2;
const FLAG: u8 = 0x7e;
/// What the CRC comes to over a good frame and its FCS.
const GOOD: u16 = 0xf0b8;

/// The CRC of X.25, the octets' least significant bit first.
const CRC: [u16; 256] = {
    let mut table = [0; 256];
    let mut octet = 0;
    while octet < 256 {
        let mut crc = octet as u16;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ 0x8408 } else { crc >> 1 };
            bit += 1;
        }
        table[octet] = crc;
        octet += 1;
    }
    table
};

const fn crc(crc: u16, octet: u8) -> u16 {
    crc >> 8 ^ CRC[((crc ^ octet as u16) & 0xff) as usize]
}

/// The FCS of a frame; it goes out low octet first.
pub fn fcs(frame: &[u8]) -> u16 {
    !frame.iter().fold(0xffff, |sum, octet| crc(sum, *octet))
}

/// What is sent while there is no frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Flag after flag: usual on primary rate lines.
    #[default]
    Flags,
    /// Ones.
    Ones,
}

/// Frames to the octets of a timeslot.
#[derive(Debug)]
pub struct Encoder {
    idle: Idle,
    frame: [u8; WITH_FCS],
    length: usize,
    sent: usize,
    sending: Sending,
    /// Bits that did not fill an octet yet, the oldest highest.
    bits: u32,
    count: u32,
    /// Ones in a row, for the stuffing.
    ones: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Nothing,
    Frame,
}

impl Default for Encoder {
    fn default() -> Encoder {
        Encoder::new(Idle::Flags)
    }
}

impl Encoder {
    /// An encoder with nothing to send.
    pub fn new(idle: Idle) -> Encoder {
        Encoder {
            idle,
            frame: [0; WITH_FCS],
            length: 0,
            sent: 0,
            sending: Sending::Nothing,
            bits: 0,
            count: 0,
            ones: 0,
        }
    }

    /// The timeslot's next octets. `next` is asked for a frame whenever the one before has left: it writes the frame
    /// without FCS into what it is given and says its length.
    pub fn encode(&mut self, octets: &mut [u8], next: &mut impl FnMut(&mut [u8; LONGEST]) -> Option<usize>) {
        for octet in octets {
            while self.count < 8 {
                self.more(next);
            }
            self.count -= 8;
            *octet = (self.bits >> self.count) as u8;
        }
    }

    /// Breaks off the frame that is on its way: the far end forgets it.
    pub fn abort(&mut self) {
        if self.sending == Sending::Frame {
            self.sending = Sending::Nothing;
            self.put(0xff, 8);
            self.flag();
        }
    }

    fn more(&mut self, next: &mut impl FnMut(&mut [u8; LONGEST]) -> Option<usize>) {
        match self.sending {
            Sending::Frame if self.sent < self.length => self.octet(),
            Sending::Frame => {
                self.sending = Sending::Nothing;
                self.flag();
                self.load(next);
            }
            Sending::Nothing => {
                match self.idle {
                    Idle::Flags => self.flag(),
                    Idle::Ones => self.put(0xff, 8),
                }
                if self.load(next) && self.idle == Idle::Ones {
                    self.flag();
                }
            }
        }
    }

    fn load(&mut self, next: &mut impl FnMut(&mut [u8; LONGEST]) -> Option<usize>) -> bool {
        let Some(frame) = self.frame.first_chunk_mut::<LONGEST>() else { return false };
        let Some(length) = next(frame).filter(|length| (SHORTEST..=LONGEST).contains(length)) else { return false };
        let fcs = fcs(&frame[..length]).to_le_bytes();
        self.frame[length..length + 2].copy_from_slice(&fcs);
        self.length = length + 2;
        self.sent = 0;
        self.ones = 0;
        self.sending = Sending::Frame;
        true
    }

    fn octet(&mut self) {
        let mut octet = self.frame[self.sent];
        self.sent += 1;
        for _ in 0..8 {
            let bit = u32::from(octet & 1);
            octet >>= 1;
            self.put(bit, 1);
            self.ones = if bit == 1 { self.ones + 1 } else { 0 };
            if self.ones == 5 {
                self.put(0, 1);
                self.ones = 0;
            }
        }
    }

    fn flag(&mut self) {
        self.put(FLAG.into(), 8);
    }

    fn put(&mut self, bits: u32, count: u32) {
        self.bits = self.bits << count | bits;
        self.count += count;
    }
}

/// What is wrong with a frame that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// The line changed it.
    #[error("the frame check sequence is wrong")]
    Fcs,
    /// Seven ones: the far end took it back, or the line failed.
    #[error("the frame was broken off")]
    Aborted,
    /// It does not end where an octet does.
    #[error("the frame has a part of an octet")]
    Unaligned,
    /// It has no room for address, control and FCS.
    #[error("the frame is too short")]
    Short,
    /// It is longer than any frame may be.
    #[error("the frame is too long")]
    Long,
}

/// The octets of a timeslot to frames, wherever their bits begin.
#[derive(Debug)]
pub struct Decoder {
    hearing: Hearing,
    frame: [u8; WITH_FCS],
    length: usize,
    fcs: u16,
    /// The octet that fills, from its most significant bit down.
    octet: u8,
    count: u32,
    ones: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hearing {
    /// No flag since the last abort.
    Nothing,
    Frame,
    /// Too long a frame: wait for its end.
    Rest,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::new()
    }
}

impl Decoder {
    /// A decoder that has heard nothing.
    pub fn new() -> Decoder {
        Decoder { hearing: Hearing::Nothing, frame: [0; WITH_FCS], length: 0, fcs: 0xffff, octet: 0, count: 0, ones: 0 }
    }

    /// Takes the timeslot's next octets and says each frame that ends in them, without its FCS, or what is wrong with it.
    pub fn decode(&mut self, octets: &[u8], heard: &mut impl FnMut(Result<&[u8], BadFrame>)) {
        for octet in octets {
            // Between frames most octets are flags or ones: no bit of them has to be looked at by itself.
            if *octet == 0xff && self.hearing == Hearing::Nothing {
                self.ones = 7;
                continue;
            }
            for shift in (0..8).rev() {
                self.bit(octet >> shift & 1, heard);
            }
        }
    }

    fn bit(&mut self, bit: u8, heard: &mut impl FnMut(Result<&[u8], BadFrame>)) {
        if bit == 1 {
            self.ones += 1;
            match self.ones {
                ..=6 => self.shift(0x80, heard),
                7 => self.abort(heard),
                _ => self.ones = 7,
            }
            return;
        }
        match std::mem::take(&mut self.ones) {
            5 => {}
            6 => self.flag(heard),
            _ => self.shift(0, heard),
        }
    }

    fn shift(&mut self, bit: u8, heard: &mut impl FnMut(Result<&[u8], BadFrame>)) {
        self.octet = self.octet >> 1 | bit;
        self.count += 1;
        if self.count < 8 {
            return;
        }
        self.count = 0;
        if self.hearing != Hearing::Frame {
            return;
        }
        let Some(place) = self.frame.get_mut(self.length) else {
            self.hearing = Hearing::Rest;
            return heard(Err(BadFrame::Long));
        };
        *place = self.octet;
        self.length += 1;
        self.fcs = crc(self.fcs, self.octet);
    }

    fn abort(&mut self, heard: &mut impl FnMut(Result<&[u8], BadFrame>)) {
        if self.hearing == Hearing::Frame && self.length > 0 {
            heard(Err(BadFrame::Aborted));
        }
        self.hearing = Hearing::Nothing;
    }

    fn flag(&mut self, heard: &mut impl FnMut(Result<&[u8], BadFrame>)) {
        // Of the flag's own bits a zero and six ones were taken for the frame's; the zero may be the one before's.
        let (bits, aligned) = (8 * self.length as u32 + self.count, self.count == 7);
        if self.hearing == Hearing::Frame && bits > 7 {
            heard(match self.length {
                _ if !aligned => Err(BadFrame::Unaligned),
                length if length < SHORTEST + 2 => Err(BadFrame::Short),
                _ if self.fcs != GOOD => Err(BadFrame::Fcs),
                length => Ok(&self.frame[..length - 2]),
            });
        }
        self.hearing = Hearing::Frame;
        self.length = 0;
        self.fcs = 0xffff;
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn encode(frames: &[&[u8]], octets: usize, idle: Idle) -> Vec<u8> {
        let mut frames: VecDeque<_> = frames.iter().collect();
        let mut line = vec![0; octets];
        Encoder::new(idle).encode(&mut line, &mut |room| {
            let frame = frames.pop_front()?;
            room[..frame.len()].copy_from_slice(frame);
            Some(frame.len())
        });
        line
    }

    fn decode(line: &[u8]) -> Vec<Result<Vec<u8>, BadFrame>> {
        let mut heard = Vec::new();
        Decoder::new().decode(line, &mut |frame| heard.push(frame.map(<[u8]>::to_vec)));
        heard
    }

    /// The line's bits from text; spaces are for the eye.
    fn line(bits: &str) -> Vec<u8> {
        let bits: Vec<u8> = bits.bytes().filter(|bit| *bit != b' ').map(|bit| bit - b'0').collect();
        bits.chunks(8).map(|octet| octet.iter().enumerate().fold(0, |sum, (at, bit)| sum | bit << (7 - at))).collect()
    }

    /// The line's bits, late by so many.
    fn late(octets: &[u8], by: usize) -> Vec<u8> {
        let bits: String = octets.iter().map(|octet| format!("{octet:08b}")).collect();
        line(&format!("{}{bits}{}", "1".repeat(by), "1".repeat(8 - by)))
    }

    #[test]
    fn the_fcs_is_that_of_x25() {
        assert_eq!(fcs(b"123456789"), 0x906e);
        assert_eq!(fcs(&[0x00, 0x01, 0x7f]), 0x5464);
    }

    #[test]
    fn a_sabme_looks_like_this_on_the_line() {
        // 00 01 7f, FCS 64 54, each with its least significant bit first; a zero is stuffed into 1111111.
        let expected = "01111110 00000000 10000000 111110110 00100110 00101010 01111110 0111111";
        assert_eq!(encode(&[&[0x00, 0x01, 0x7f]], 8, Idle::Flags), line(expected));
        assert_eq!(decode(&line(expected)), [Ok(vec![0x00, 0x01, 0x7f])]);
    }

    #[test]
    fn frames_follow_each_other_with_one_flag_between() {
        let sent = encode(&[&[0, 1], &[2, 3]], 11, Idle::Flags);
        assert_eq!(decode(&sent), [Ok(vec![0, 1]), Ok(vec![2, 3])]);
        let bits: String = sent.iter().map(|octet| format!("{octet:08b}")).collect();
        assert_eq!(bits.match_indices("01111110").map(|(at, _)| at).collect::<Vec<_>>(), [0, 40, 80]);
    }

    #[test]
    fn a_zero_may_end_one_flag_and_begin_the_next() {
        assert_eq!(decode(&line("011111101111110 00000000 10000000")), []);
        let frame = "00000000 10000000 111110110 00100110 00101010";
        let shared = line(&format!("011111101111110{frame}011111101111110"));
        assert_eq!(decode(&shared), [Ok(vec![0x00, 0x01, 0x7f])]);
    }

    #[test]
    fn what_is_wrong_with_a_frame_is_said() {
        let cases = [
            ("01111110 00000000 10000000 00000000 00000000 00000000 01111110", Err(BadFrame::Fcs)),
            ("01111110 00000000 10000000 11111111", Err(BadFrame::Aborted)),
            ("01111110 00000000 10000000 01010101 00 01111110", Err(BadFrame::Unaligned)),
            ("01111110 00000000 10000000 01010101 01111110", Err(BadFrame::Short)),
            ("01111110 000 01111110", Err(BadFrame::Unaligned)),
        ];
        for (bits, expected) in cases {
            assert_eq!(decode(&line(bits)), [expected], "{bits}");
        }
    }

    #[test]
    fn too_long_a_frame_is_told_once_and_the_next_is_heard() {
        let endless = "01111110".to_owned() + &"00000000".repeat(5000) + "01111110";
        let good = "00000000 10000000 111110110 00100110 00101010 01111110";
        assert_eq!(decode(&line(&(endless + good))), [Err(BadFrame::Long), Ok(vec![0x00, 0x01, 0x7f])]);
    }

    #[test]
    fn ones_between_frames_are_no_frames() {
        let sent = encode(&[&[0xff; 40], &[0x7e; 3]], 100, Idle::Ones);
        assert_eq!(decode(&sent), [Ok(vec![0xff; 40]), Ok(vec![0x7e; 3])]);
    }

    #[test]
    fn a_frame_that_is_taken_back_is_not_heard() {
        let mut encoder = Encoder::default();
        let mut waiting = VecDeque::from([vec![1; 100], vec![2; 5]]);
        let mut next = |room: &mut [u8; LONGEST]| {
            let frame = waiting.pop_front()?;
            room[..frame.len()].copy_from_slice(&frame);
            Some(frame.len())
        };
        let mut sent = vec![0; 60];
        encoder.encode(&mut sent[..30], &mut next);
        encoder.abort();
        encoder.encode(&mut sent[30..], &mut next);
        assert_eq!(decode(&sent), [Err(BadFrame::Aborted), Ok(vec![2; 5])]);
    }

    #[test]
    fn what_is_sent_is_heard_at_any_alignment() {
        bolero::check!().with_type::<(Vec<Vec<u8>>, u8, bool)>().for_each(|(frames, by, ones)| {
            let frames: Vec<&[u8]> =
                frames.iter().map(Vec::as_slice).filter(|frame| (SHORTEST..=LONGEST).contains(&frame.len())).collect();
            let idle = if *ones { Idle::Ones } else { Idle::Flags };
            let room = frames.iter().map(|frame| frame.len() * 6 / 5 + 8).sum::<usize>() + 8;
            let heard = decode(&late(&encode(&frames, room, idle), usize::from(by % 8)));
            assert!(heard.iter().map(|frame| frame.as_deref()).eq(frames.into_iter().map(Ok)));
        });
    }

    #[test]
    fn any_octets_are_borne() {
        bolero::check!().with_type::<Vec<u8>>().for_each(|octets| {
            let mut decoder = Decoder::new();
            decoder.decode(octets, &mut |frame| {
                assert!(frame.is_err() || frame.is_ok_and(|frame| (SHORTEST..=LONGEST).contains(&frame.len())));
            });
            // Whatever came before, a frame behind two flags is heard.
            let mut last = None;
            let frame = line("01111110 01111110 00000000 10000000 111110110 00100110 00101010 01111110");
            decoder.decode(&frame, &mut |frame| last = Some(frame.map(<[u8]>::to_vec)));
            assert_eq!(last, Some(Ok(vec![0x00, 0x01, 0x7f])));
        });
    }
}
