//! RTCP compound packets (RFC 3550 section 6), read with tolerance and written in place.
//!
//! Microsoft's peers append profile-specific extensions to their reports ([MS-RTP] 2.2.11): whatever
//! follows the report blocks inside a packet is skipped, never an error. Reduced-size packets
//! (RFC 5506) are taken as they come.

/// Sender report.
const SR: u8 = 200;
/// Receiver report.
const RR: u8 = 201;
/// Source description.
const SDES: u8 = 202;
/// Goodbye.
const BYE: u8 = 203;
/// Source description item: canonical name.
const CNAME: u8 = 1;

const HEADER: usize = 4;
const SENDER: usize = 20;
const BLOCK: usize = 24;

/// What a sender says of itself (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Time of the report, NTP format: seconds in the upper 32 bits.
    pub ntp: u64,
    /// The same moment in units of the RTP timestamp.
    pub timestamp: u32,
    /// Packets sent.
    pub packets: u32,
    /// Payload octets sent.
    pub octets: u32,
}

/// What a receiver says of one source (RFC 3550 section 6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// Whom it is about.
    pub ssrc: u32,
    /// Share lost since the last report, in 256ths.
    pub fraction: u8,
    /// Lost since the beginning; negative when packets came twice. 24 bits.
    pub lost: i32,
    /// Highest sequence number, with cycles in the upper 16 bits.
    pub highest: u32,
    /// Jitter in units of the RTP timestamp.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time in the last sender report; 0 when none came.
    pub last_report: u32,
    /// Time since that report, in 1/65536 s.
    pub since_report: u32,
}

/// One packet of a compound.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a> {
    /// Who sent it.
    pub ssrc: u32,
    /// Present in a sender report.
    pub sender: Option<Sender>,
    /// Report blocks, as octets; empty in anything but a report.
    blocks: &'a [u8],
}

impl Packet<'_> {
    /// Its report blocks.
    pub fn blocks(&self) -> impl Iterator<Item = Block> + '_ {
        self.blocks.as_chunks::<BLOCK>().0.iter().map(Block::read)
    }
}

impl Block {
    fn read(octets: &[u8; BLOCK]) -> Block {
        let word = |at: usize| u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
        Block {
            ssrc: word(0),
            fraction: octets[4],
            lost: (word(4) << 8) as i32 >> 8,
            highest: word(8),
            jitter: word(12),
            last_report: word(16),
            since_report: word(20),
        }
    }

    fn write(&self) -> [u8; BLOCK] {
        let lost = self.lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        let words = [
            self.ssrc,
            u32::from(self.fraction) << 24 | lost,
            self.highest,
            self.jitter,
            self.last_report,
            self.since_report,
        ];
        let mut octets = [0; BLOCK];
        for (octets, word) in octets.as_chunks_mut::<4>().0.iter_mut().zip(words) {
            *octets = word.to_be_bytes();
        }
        octets
    }
}

/// The packets of a compound, up to the first that is not RTCP or does not fit.
pub fn packets(compound: &[u8]) -> impl Iterator<Item = Packet<'_>> {
    let mut rest = compound;
    std::iter::from_fn(move || {
        let (packet, after) = split(rest)?;
        rest = after;
        Some(packet)
    })
}

fn split(octets: &[u8]) -> Option<(Packet<'_>, &[u8])> {
    let [first, kind @ 192..=223, high, low, ..] = *octets else { return None };
    let length = HEADER + 4 * usize::from(u16::from_be_bytes([high, low]));
    if first & 0xc0 != 0x80 || length > octets.len() {
        return None;
    }
    let (packet, after) = octets.split_at(length);
    let body = &packet[HEADER..];
    let ssrc = body.first_chunk().map_or(0, |ssrc| u32::from_be_bytes(*ssrc));
    let sender = if kind == SR { Some(Sender::read(body.get(4..)?.first_chunk()?)) } else { None };
    let blocks = match kind {
        SR => body.get(4 + SENDER..)?,
        RR => body.get(4..)?,
        _ => &[],
    };
    let blocks = &blocks[..blocks.len().min(BLOCK * usize::from(first & 0x1f))];
    Some((Packet { ssrc, sender, blocks }, after))
}

impl Sender {
    fn read(octets: &[u8; SENDER]) -> Sender {
        let word = |at: usize| u32::from_be_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]]);
        Sender {
            ntp: u64::from(word(0)) << 32 | u64::from(word(4)),
            timestamp: word(8),
            packets: word(12),
            octets: word(16),
        }
    }
}

/// Octets that [`Writer`] needs at most for a report with one block, a name of 16 octets and a goodbye.
pub const LONGEST: usize = HEADER + 4 + SENDER + BLOCK + HEADER + 4 + 20 + HEADER + 4;

/// Writes a compound: a report, then who we are, then maybe a goodbye, each once.
#[derive(Debug)]
pub struct Writer {
    octets: [u8; LONGEST],
    length: usize,
}

impl Writer {
    /// A sender report, or a receiver report when there is nothing to say as a sender.
    pub fn report(ssrc: u32, sender: Option<Sender>, block: Option<Block>) -> Writer {
        let mut writer = Writer { octets: [0; LONGEST], length: 0 };
        let words = 1 + if sender.is_some() { SENDER / 4 } else { 0 } + if block.is_some() { BLOCK / 4 } else { 0 };
        let kind = if sender.is_some() { SR } else { RR };
        writer.head(u8::from(block.is_some()), kind, words, ssrc);
        if let Some(sender) = sender {
            writer.put(&sender.ntp.to_be_bytes());
            writer.put(&sender.timestamp.to_be_bytes());
            writer.put(&sender.packets.to_be_bytes());
            writer.put(&sender.octets.to_be_bytes());
        }
        if let Some(block) = block {
            writer.put(&block.write());
        }
        writer
    }

    /// Adds the canonical name (RFC 3550 section 6.5.1; made as RFC 7022 section 4.2 says).
    #[must_use]
    pub fn named(mut self, ssrc: u32, name: &[u8; 16]) -> Writer {
        // Item header and name are 18 octets: two octets of zero end the list on a word's edge.
        self.head(1, SDES, 1 + 5, ssrc);
        self.put(&[CNAME, 16]);
        self.put(name);
        self.put(&[0; 2]);
        self
    }

    /// Adds a goodbye (RFC 3550 section 6.6).
    #[must_use]
    pub fn goodbye(mut self, ssrc: u32) -> Writer {
        self.head(1, BYE, 1, ssrc);
        self
    }

    /// The compound.
    pub fn octets(&self) -> &[u8] {
        &self.octets[..self.length]
    }

    fn head(&mut self, count: u8, kind: u8, words: usize, ssrc: u32) {
        self.put(&[0x80 | count, kind, 0, words as u8]);
        self.put(&ssrc.to_be_bytes());
    }

    fn put(&mut self, octets: &[u8]) {
        if let Some(free) = self.octets.get_mut(self.length..self.length + octets.len()) {
            free.copy_from_slice(octets);
            self.length += octets.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Sender = Sender { ntp: 0x0102_0304_0506_0708, timestamp: 9, packets: 10, octets: 11 };
    const THEM: Block =
        Block { ssrc: 5, fraction: 64, lost: -2, highest: 0x1_0007, jitter: 20, last_report: 30, since_report: 40 };

    fn read(compound: &[u8]) -> Vec<(u32, Option<Sender>, Vec<Block>)> {
        packets(compound).map(|packet| (packet.ssrc, packet.sender, packet.blocks().collect())).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let longest = Writer::report(1, Some(US), Some(THEM)).named(1, b"0123456789abcdef").goodbye(1);
        assert_eq!(longest.octets().len(), LONGEST);
        assert_eq!(read(longest.octets()), [(1, Some(US), vec![THEM]), (1, None, vec![]), (1, None, vec![])]);
        assert_eq!(read(Writer::report(2, None, None).octets()), [(2, None, vec![])]);
    }

    #[test]
    fn another_reader_agrees() {
        let compound = Writer::report(1, Some(US), Some(THEM)).named(1, b"0123456789abcdef").goodbye(1);
        let parsed: Vec<_> = rtcp_types::Compound::parse(compound.octets()).unwrap().collect::<Result<_, _>>().unwrap();
        let [rtcp_types::Packet::Sr(report), rtcp_types::Packet::Sdes(name), rtcp_types::Packet::Bye(_)] = &parsed[..]
        else {
            panic!("{parsed:?}")
        };
        assert_eq!((report.ntp_timestamp(), report.rtp_timestamp()), (US.ntp, US.timestamp));
        let block = report.report_blocks().next().unwrap();
        assert_eq!((block.ssrc(), block.fraction_lost(), block.extended_sequence_number()), (5, 64, 0x1_0007));
        assert_eq!(name.chunks().next().unwrap().items().next().unwrap().value(), b"0123456789abcdef");
    }

    #[test]
    fn microsofts_extensions_after_the_blocks_are_skipped() {
        let mut report = Writer::report(1, Some(US), Some(THEM)).octets().to_vec();
        report.extend([0x00, 0x06, 0x00, 0x08, 0, 0, 0, 0]);
        report[3] += 2;
        report.extend(Writer::report(9, None, None).goodbye(9).octets());
        assert_eq!(read(&report), [(1, Some(US), vec![THEM]), (9, None, vec![]), (9, None, vec![])]);
    }

    #[test]
    fn a_report_that_promises_more_than_it_holds_gives_what_it_holds() {
        let mut report = Writer::report(1, None, Some(THEM)).octets().to_vec();
        report[0] |= 0x1f;
        assert_eq!(read(&report), [(1, None, vec![THEM])]);
        report[3] = 200;
        assert_eq!(read(&report), []);
    }

    #[test]
    fn no_octets_make_it_panic() {
        bolero::check!().for_each(|octets: &[u8]| {
            packets(octets).for_each(|packet| assert!(packet.blocks().count() <= 31));
        });
    }
}
