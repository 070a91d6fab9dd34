//! RTCP (RFC 3550 section 6): what a leg tells about itself, and what it reads of the other end.

use std::time::Duration;

/// One report block, about the packets that its writer got.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Block {
    pub ssrc: u32,
    pub fraction_lost: u8,
    /// 24 bits.
    pub lost: u32,
    pub highest_seq: u32,
    pub jitter: u32,
    pub last_sr: u32,
    pub delay_since_sr: u32,
}

/// What a sender tells of its stream.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Sender {
    pub ntp: u64,
    pub rtp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// What a compound packet says, as far as a load generator cares.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Told {
    pub ssrc: u32,
    pub sender: Option<Sender>,
    pub blocks: Vec<Block>,
}

/// Nanoseconds since 1970 as an NTP timestamp.
pub fn ntp(real_ns: u64) -> u64 {
    let t = Duration::from_nanos(real_ns);
    ((t.as_secs() + 2_208_988_800) << 32) | ((u64::from(t.subsec_nanos()) << 32) / 1_000_000_000)
}

/// The middle of an NTP timestamp, as LSR carries it.
pub fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// Writes SR with an optional block, then SDES with a CNAME; returns the length.
pub fn write(b: &mut [u8], ssrc: u32, s: Sender, block: Option<Block>) -> usize {
    let mut n = 0;
    let mut put = |v: &[u8]| {
        b[n..n + v.len()].copy_from_slice(v);
        n += v.len();
    };
    let count = u8::from(block.is_some());
    put(&[0x80 | count, 200, 0, 6 + 6 * count]);
    put(&ssrc.to_be_bytes());
    put(&s.ntp.to_be_bytes());
    for v in [s.rtp, s.packets, s.octets] {
        put(&v.to_be_bytes());
    }
    if let Some(k) = block {
        let lost = u32::from(k.fraction_lost) << 24 | (k.lost & 0xff_ffff);
        for v in [k.ssrc, lost, k.highest_seq, k.jitter, k.last_sr, k.delay_since_sr] {
            put(&v.to_be_bytes());
        }
    }
    // One zero ends the items, two more fill the last word.
    put(&[0x81, 202, 0, 4]);
    put(&ssrc.to_be_bytes());
    put(b"\x01\x07rtpload\0\0\0");
    n
}

/// Reads a compound packet; None when it is none.
pub fn read(mut b: &[u8]) -> Option<Told> {
    let mut told = Told::default();
    let mut first = true;
    while !b.is_empty() {
        let (head, len) = (b.get(..4)?, 4 + 4 * usize::from(u16::from_be_bytes([*b.get(2)?, *b.get(3)?])));
        let (p, rest) = b.split_at_checked(len)?;
        let (count, kind) = (usize::from(head[0] & 31), head[1]);
        if head[0] >> 6 != 2 || first && !matches!(kind, 200 | 201) {
            return None;
        }
        if matches!(kind, 200 | 201) {
            report(p, kind == 200, count, &mut told)?;
        }
        first = false;
        b = rest;
    }
    (!first).then_some(told)
}

fn report(p: &[u8], sender: bool, count: usize, told: &mut Told) -> Option<()> {
    let word = |i: usize| p.get(4 * i..4 * i + 4).map(|w| u32::from_be_bytes([w[0], w[1], w[2], w[3]]));
    told.ssrc = word(1)?;
    let mut at = 2;
    if sender {
        let ntp = u64::from(word(2)?) << 32 | u64::from(word(3)?);
        told.sender = Some(Sender { ntp, rtp: word(4)?, packets: word(5)?, octets: word(6)? });
        at = 7;
    }
    for i in 0..count {
        let w = |k: usize| word(at + 6 * i + k);
        let lost = w(1)?;
        told.blocks.push(Block {
            ssrc: w(0)?,
            fraction_lost: (lost >> 24) as u8,
            lost: lost & 0xff_ffff,
            highest_seq: w(2)?,
            jitter: w(3)?,
            last_sr: w(4)?,
            delay_since_sr: w(5)?,
        });
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let sender = Sender { ntp: ntp(1_700_000_000_500_000_000), rtp: 5, packets: 6, octets: 7 };
        let block = Block {
            ssrc: 9,
            fraction_lost: 3,
            lost: 70_000,
            highest_seq: 65_540,
            jitter: 4,
            last_sr: 1,
            delay_since_sr: 2,
        };
        let mut b = [0u8; 128];
        for blocks in [vec![], vec![block]] {
            let n = write(&mut b, 8, sender, blocks.first().copied());
            assert_eq!(read(&b[..n]), Some(Told { ssrc: 8, sender: Some(sender), blocks }));
            assert_eq!(read(&b[..n - 1]), None);
        }
        assert_eq!(sender.ntp as u32, 1 << 31);
        assert_eq!(read(&[0x81, 202, 0, 0]), None);
        assert_eq!(read(&[]), None);
    }
}
