//! What is spoken on a stream.

use firmware_io::Law;

/// A way of coding sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Opus (RFC 6716, RFC 7587).
    Opus,
    /// G.722 at 64 kbit/s, static payload type 9.
    G722,
    /// G.711 µ-law, static payload type 0.
    Pcmu,
    /// G.711 A-law, static payload type 8.
    Pcma,
}

impl From<Law> for Codec {
    fn from(law: Law) -> Codec {
        match law {
            Law::Mu => Codec::Pcmu,
            Law::A => Codec::Pcma,
        }
    }
}

impl Codec {
    /// All that the media plane speaks, the best sounding first.
    pub const ALL: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

    /// Its law, where it is what telephone lines speak (G.711).
    pub fn law(self) -> Option<Law> {
        match self {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            Codec::G722 | Codec::Opus => None,
        }
    }

    /// The encoding name in `a=rtpmap` (RFC 3551, RFC 7587).
    pub fn name(self) -> &'static str {
        match self {
            Codec::Opus => "opus",
            Codec::G722 => "G722",
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }

    /// The payload type in our offers: the static one (RFC 3551 table 4) where there is one.
    pub fn payload_type(self) -> u8 {
        match self {
            Codec::Opus => 111,
            Codec::G722 => 9,
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
        }
    }

    /// RTP clock rate in Hz. G.722 counts at half its sound's rate (RFC 3551 section 4.5.2).
    pub fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 8000,
        }
    }

    /// Channels as written in `a=rtpmap`: Opus always says two (RFC 7587 section 7).
    pub fn channels(self) -> u8 {
        match self {
            Codec::Opus => 2,
            Codec::G722 | Codec::Pcmu | Codec::Pcma => 1,
        }
    }

    /// The highest sampling rate of its sound in Hz.
    pub fn sound_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            Codec::G722 => 16_000,
            Codec::Pcmu | Codec::Pcma => 8000,
        }
    }
}

/// What a peer asks of the Opus that it is sent (RFC 7587 section 6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Opus {
    /// Hz beyond which it plays nothing.
    pub max_playback_rate: u32,
    /// Bit/s at most.
    pub max_average_bitrate: Option<u32>,
    /// It makes use of in-band forward error correction.
    pub fec: bool,
    /// It takes pauses without packets.
    pub dtx: bool,
    /// It wants a constant bit rate.
    pub cbr: bool,
}

impl Default for Opus {
    fn default() -> Opus {
        Opus { max_playback_rate: 48_000, max_average_bitrate: None, fec: false, dtx: false, cbr: false }
    }
}
