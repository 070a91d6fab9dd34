//! Payload sources. G.711 payloads carry data as 16 amplitude symbols, so that a
//! G.711 <-> G.711 transcoder (PCMU <-> PCMA) still delivers every data bit.

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Codec {
    Pcmu,
    Pcma,
    G722,
    Opus,
}

impl Codec {
    pub fn parse(s: &str) -> Option<Self> {
        Some(match s.to_ascii_lowercase().as_str() {
            "pcmu" => Self::Pcmu,
            "pcma" => Self::Pcma,
            "g722" => Self::G722,
            "opus" => Self::Opus,
            _ => return None,
        })
    }
    pub fn pt(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 96,
        }
    }
    pub fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::Opus => "opus",
        }
    }
    pub fn rtpmap(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU/8000",
            Self::Pcma => "PCMA/8000",
            Self::G722 => "G722/8000",
            Self::Opus => "opus/48000/2",
        }
    }
    pub fn ts_step(self) -> u32 {
        if self == Self::Opus { 960 } else { 160 }
    }
    /// RTP clock rate, Hz.
    pub fn clock(self) -> u32 {
        if self == Self::Opus { 48_000 } else { 8_000 }
    }
    pub fn is_g711(self) -> bool {
        matches!(self, Self::Pcmu | Self::Pcma)
    }
}

pub fn ulaw_to_linear(u: u8) -> i32 {
    let u = !u;
    let t = ((((u & 15) as i32) << 3) + 0x84) << ((u >> 4) & 7);
    if u & 0x80 != 0 { 0x84 - t } else { t - 0x84 }
}

pub fn alaw_to_linear(a: u8) -> i32 {
    let a = a ^ 0x55;
    let seg = (a >> 4) & 7;
    let m = ((a & 15) as i32) << 4;
    let t = match seg {
        0 => m + 8,
        s => (m + 0x108) << (s - 1),
    };
    if a & 0x80 != 0 { t } else { -t }
}

/// Eight magnitudes a factor of about 1.7 apart, both signs.
const LEVELS: [i32; 8] = [300, 510, 870, 1480, 2510, 4270, 7260, 12340];

fn symbol_value(s: usize) -> i32 {
    if s & 8 != 0 { -LEVELS[s & 7] } else { LEVELS[s & 7] }
}

pub struct G711 {
    pub to_byte: [u8; 16],
    pub to_symbol: [u8; 256],
}

impl G711 {
    pub fn new(c: Codec) -> Self {
        let lin: fn(u8) -> i32 = if c == Codec::Pcma { alaw_to_linear } else { ulaw_to_linear };
        let near = |v: i32| (0..=255u8).min_by_key(|b| (lin(*b) - v).abs()).unwrap();
        let mut to_byte = [0; 16];
        for (s, b) in to_byte.iter_mut().enumerate() {
            *b = near(symbol_value(s));
        }
        let mut to_symbol = [0; 256];
        for b in 0..=255u8 {
            to_symbol[b as usize] = (0..16).min_by_key(|s| (symbol_value(*s) - lin(b)).abs()).unwrap() as u8;
        }
        Self { to_byte, to_symbol }
    }

    pub fn put(&self, out: &mut [u8], data: &[u8]) {
        for (o, d) in out.chunks_exact_mut(2).zip(data) {
            o[0] = self.to_byte[(d >> 4) as usize];
            o[1] = self.to_byte[(d & 15) as usize];
        }
    }

    pub fn get(&self, pay: &[u8], out: &mut [u8]) {
        for (p, d) in pay.chunks_exact(2).zip(out) {
            *d = self.to_symbol[p[0] as usize] << 4 | self.to_symbol[p[1] as usize];
        }
    }
}

pub const DATA_LEN: usize = 80;
const MAGIC: u32 = 0x5254_4c31;

/// What every G.711 frame carries: who sent it, which one it is, when it left.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Mark {
    pub leg: u32,
    pub index: u64,
    pub in_window: bool,
    pub sent_ns: u64,
}

fn fill(leg: u32, index: u64, out: &mut [u8]) {
    let mut x = (u64::from(leg) << 32 ^ index).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for c in out.chunks_mut(8) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        let b = x.to_le_bytes();
        c.copy_from_slice(&b[..c.len()]);
    }
}

impl Mark {
    pub fn write(&self, d: &mut [u8; DATA_LEN]) {
        d[..4].copy_from_slice(&MAGIC.to_be_bytes());
        d[4..8].copy_from_slice(&self.leg.to_be_bytes());
        let i = self.index | (self.in_window as u64) << 63;
        d[8..16].copy_from_slice(&i.to_be_bytes());
        d[16..24].copy_from_slice(&self.sent_ns.to_be_bytes());
        fill(self.leg, self.index, &mut d[24..]);
    }

    /// None when the magic or any fill byte is wrong.
    pub fn read(d: &[u8; DATA_LEN]) -> Option<Self> {
        let w = |r: std::ops::Range<usize>| d[r].iter().fold(0u64, |a, b| a << 8 | *b as u64);
        if w(0..4) as u32 != MAGIC {
            return None;
        }
        let m =
            Mark { leg: w(4..8) as u32, index: w(8..16) & !(1 << 63), in_window: d[8] & 0x80 != 0, sent_ns: w(16..24) };
        let mut f = [0u8; DATA_LEN - 24];
        fill(m.leg, m.index, &mut f);
        (f[..] == d[24..]).then_some(m)
    }
}

/// A loop of ready frames for codecs that carry no marks; those of Opus are given.
pub fn frames(c: Codec, opus: &[Vec<u8>]) -> Vec<Vec<u8>> {
    match c {
        Codec::Opus => opus.to_vec(),
        // Any octet string is a decodable G.722 stream; a decoder's work does not depend on it.
        _ => (0..50u64)
            .map(|i| {
                let mut f = vec![0u8; 160];
                fill(7, i, &mut f);
                f
            })
            .collect(),
    }
}

/// Opus packets of 20 ms, each behind its length in two octets. None when they are not that, or do not fit a packet.
pub fn opus_frames(mut file: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut all = Vec::new();
    while let [a, b, rest @ ..] = file {
        let (frame, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([*a, *b])))?;
        all.push(frame.to_vec());
        file = rest;
    }
    let fits = file.is_empty() && !all.is_empty() && all.iter().all(|f| (1..=400).contains(&f.len()));
    fits.then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_ulaw_alaw_conversion() {
        let (u, a) = (G711::new(Codec::Pcmu), G711::new(Codec::Pcma));
        let m = Mark { leg: 9, index: 77, in_window: true, sent_ns: 0x0123_4567_89ab_cdef };
        let (mut d, mut p, mut back) = ([0; DATA_LEN], [0; 160], [0; DATA_LEN]);
        m.write(&mut d);
        u.put(&mut p, &d);
        for b in p.iter_mut() {
            let v = ulaw_to_linear(*b);
            *b = (0..=255u8).min_by_key(|x| (alaw_to_linear(*x) - v).abs()).unwrap();
        }
        a.get(&p, &mut back);
        assert_eq!(Mark::read(&back), Some(m));
        back[60] ^= 0x10;
        assert_eq!(Mark::read(&back), None);
    }

    #[test]
    fn opus_packets_lie_behind_their_lengths() {
        assert_eq!(opus_frames(&[0, 2, 7, 8, 0, 1, 9]), Some(vec![vec![7, 8], vec![9]]));
        for bad in [&[][..], &[0], &[0, 0], &[0, 2, 7], &[0, 1, 7, 0]] {
            assert_eq!(opus_frames(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn g711_reference_points() {
        assert_eq!((ulaw_to_linear(0xff), ulaw_to_linear(0x80), ulaw_to_linear(0x00)), (0, 32124, -32124));
        assert_eq!((alaw_to_linear(0xd5), alaw_to_linear(0xaa), alaw_to_linear(0x2a)), (8, 32256, -32256));
    }
}
