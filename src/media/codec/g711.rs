//! G.711 (ITU-T Rec. G.711): sound to µ-law or A-law and back.

/// The two laws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Law {
    /// µ-law, PCMU.
    Mu,
    /// A-law, PCMA.
    A,
}

/// Encodes as much as both have room for.
pub fn encode(law: Law, sound: &[i16], payload: &mut [u8]) {
    for (octet, sample) in payload.iter_mut().zip(sound) {
        *octet = (0..=255).min_by_key(|code| (i32::from(value(law, *code)) - i32::from(*sample)).abs()).unwrap_or(0);
    }
}

/// Decodes as much as both have room for.
pub fn decode(law: Law, payload: &[u8], sound: &mut [i16]) {
    for (sample, octet) in sound.iter_mut().zip(payload) {
        *sample = value(law, *octet);
    }
}

fn value(law: Law, code: u8) -> i16 {
    let code = match law {
        Law::Mu => !code,
        Law::A => code ^ 0x55,
    };
    let (segment, step) = (code >> 4 & 7, i16::from(code & 15));
    let magnitude = match (law, segment) {
        (Law::Mu, _) => (((2 * step + 33) << segment) - 33) << 2,
        (Law::A, 0) => step << 4 | 8,
        (Law::A, _) => (step << 4 | 0x108) << (segment - 1),
    };
    let negative = match law {
        Law::Mu => code & 0x80 != 0,
        Law::A => code & 0x80 == 0,
    };
    if negative { -magnitude } else { magnitude }
}
