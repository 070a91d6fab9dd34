//! SRTP and SRTCP (RFC 3711, RFC 6188, RFC 7714), in place and without allocation.
//!
//! 1. Session keys come from a master key and salt (section 4.3): here.
//! 2. Of a packet's index only the lower 16 bits travel; the rest is guessed: [`window`].
//! 3. Receiving: replay check, tag, decryption, and only then is the source remembered (section 3.3).
//! 4. Sending: encryption, tag. How is a matter of the suite: [`cm`] or [`gcm`].

mod cm;
mod gcm;
mod window;

use thiserror::Error;

use crate::media::kernels::fetch;
use crate::session::{Keys, Mki, Suite};
use crate::wire::rtp::Header;

pub use window::Window;

use cm::{Block, CounterMode};
use gcm::Galois;

/// Octets of E flag and index in SRTCP.
const INDEX: usize = 4;
/// Octets of an RTCP packet that stay in the clear: header and SSRC.
const RTCP_CLEAR: usize = 8;
/// SSRCs that one peer may have at a time; of more, the one unheard for the longest is forgotten.
const SOURCES: usize = 16;
const ENCRYPTED: u32 = 1 << 31;

/// Octets that protection adds at most.
pub const GROWTH: usize = INDEX + 4 + gcm::TAG;

/// Why a packet was not taken. The peer is at fault, or somebody in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Too short to hold what must be there.
    #[error("the packet is cut short")]
    Short,
    /// The tag or the MKI is not that of the agreed key.
    #[error("the packet does not prove to come from the peer")]
    Unauthentic,
    /// The index was seen before, or lies too far back to know.
    #[error("the packet was seen before")]
    Replayed,
}

/// What session keys are for: the labels of their derivation (section 4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Rtp,
    Rtcp,
}

impl Label {
    fn cipher(self) -> u8 {
        match self {
            Label::Rtp => 0,
            Label::Rtcp => 3,
        }
    }

    fn mac(self) -> u8 {
        self.cipher() + 1
    }

    fn salt(self) -> u8 {
        self.cipher() + 2
    }
}

/// Section 4.3.2; the key derivation rate is 0. A salt of 12 octets is followed by zeroes (RFC 7714 section 11).
fn derive(keys: &Keys, label: u8, key: &mut [u8]) -> Option<()> {
    let mut iv = [0; 16];
    iv[..keys.salt().len()].copy_from_slice(keys.salt());
    iv[7] ^= label;
    Block::new(keys.key())?.stream(iv, key);
    Some(())
}

/// The session keys of either RTP or RTCP.
enum Transform {
    Cm(Box<CounterMode>),
    Gcm(Galois),
}

impl Transform {
    fn new(keys: &Keys, label: Label) -> Option<Transform> {
        match keys.suite() {
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => Galois::new(keys, label).map(Transform::Gcm),
            _ => CounterMode::new(keys, label).map(|mode| Transform::Cm(Box::new(mode))),
        }
    }

    fn fetch(&self) {
        match self {
            Transform::Cm(mode) => fetch(&**mode),
            Transform::Gcm(mode) => mode.fetch(),
        }
    }

    /// The keys of RTP and RTCP. Keys are as long as their suite says, so there always are some.
    fn pair(keys: &Keys) -> Option<[Transform; 2]> {
        Some([Transform::new(keys, Label::Rtp)?, Transform::new(keys, Label::Rtcp)?])
    }
}

/// A master key identifier as it stands in packets; nothing when there is none.
#[derive(Clone, Copy)]
struct Marker([u8; 4], usize);

impl Marker {
    fn new(mki: Option<Mki>) -> Marker {
        mki.map_or(Marker([0; 4], 4), |mki| Marker(mki.value.to_be_bytes(), 4 - usize::from(mki.length).clamp(1, 4)))
    }

    fn octets(&self) -> &[u8] {
        &self.0[self.1..]
    }
}

/// What is remembered of one authenticated source.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Source {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    /// When it was last heard, counted in packets.
    heard: u64,
}

/// The way from the peer to us.
pub struct Inbound {
    transforms: Option<[Transform; 2]>,
    mki: Marker,
    sources: Box<[Source; SOURCES]>,
    packets: u64,
}

impl Inbound {
    /// Nothing received yet under `keys`.
    pub fn new(keys: &Keys) -> Inbound {
        Inbound {
            transforms: Transform::pair(keys),
            mki: Marker::new(keys.mki()),
            sources: Box::new([Source::default(); SOURCES]),
            packets: 0,
        }
    }

    /// The same key under another master key identifier: what was heard stays heard.
    #[must_use]
    pub fn marked(self, mki: Option<Mki>) -> Inbound {
        Inbound { mki: Marker::new(mki), ..self }
    }

    /// A packet will come soon.
    pub fn fetch(&self) {
        fetch(&self.sources[0]);
        self.transforms.iter().for_each(|[rtp, _]| rtp.fetch());
    }

    /// Checks and decrypts an SRTP packet in place; the length of the RTP packet that remains.
    pub fn rtp(&mut self, header: &Header, packet: &mut [u8]) -> Result<usize, Refusal> {
        let known = self.source(header.ssrc);
        let window = known.map(|at| self.sources[at].rtp).unwrap_or_default();
        let index = window.guess(header.sequence).filter(|index| window.is_fresh(*index)).ok_or(Refusal::Replayed)?;
        let (place, mki) = ((header.length, header.ssrc, index), self.mki.octets());
        let length = match &self.transforms {
            Some([Transform::Cm(mode), _]) => mode.open_rtp(place, packet, mki)?,
            Some([Transform::Gcm(mode), _]) => mode.open_rtp(place, packet, mki)?,
            None => return Err(Refusal::Unauthentic),
        };
        self.heard(known, header.ssrc).rtp.note(index);
        Ok(length)
    }

    /// Checks and decrypts an SRTCP compound in place; the length of the RTCP compound that remains.
    pub fn rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Refusal> {
        let Some([_, transform]) = &self.transforms else { return Err(Refusal::Unauthentic) };
        let mki = self.mki.octets();
        let trailer = match transform {
            Transform::Cm(mode) => mode.rtcp_trailer(packet, mki)?,
            Transform::Gcm(mode) => mode.rtcp_trailer(packet, mki)?,
        };
        let ssrc = packet.get(4..).and_then(<[u8]>::first_chunk).map_or(0, |word| u32::from_be_bytes(*word));
        let index = u64::from(trailer & !ENCRYPTED);
        let known = self.source(ssrc);
        if known.is_some_and(|at| !self.sources[at].rtcp.is_fresh(index)) {
            return Err(Refusal::Replayed);
        }
        let length = match transform {
            Transform::Cm(mode) => mode.open_rtcp(ssrc, packet, mki)?,
            Transform::Gcm(mode) => mode.open_rtcp(ssrc, packet, mki)?,
        };
        self.heard(known, ssrc).rtcp.note(index);
        Ok(length)
    }

    fn source(&self, ssrc: u32) -> Option<usize> {
        self.sources.iter().position(|source| source.heard > 0 && source.ssrc == ssrc)
    }

    fn heard(&mut self, known: Option<usize>, ssrc: u32) -> &mut Source {
        self.packets += 1;
        let at = known.unwrap_or_else(|| {
            let longest = (0..SOURCES).min_by_key(|at| self.sources[*at].heard).unwrap_or(0);
            self.sources[longest] = Source { ssrc, ..Source::default() };
            longest
        });
        self.sources[at].heard = self.packets;
        &mut self.sources[at]
    }
}

/// The way from us to the peer: one source of ours.
pub struct Outbound {
    transforms: Option<[Transform; 2]>,
    mki: Marker,
    sent: Window,
    rtcp_index: u32,
}

impl Outbound {
    /// Nothing sent yet under `keys`.
    pub fn new(keys: &Keys) -> Outbound {
        let (transforms, mki) = (Transform::pair(keys), Marker::new(keys.mki()));
        Outbound { transforms, mki, sent: Window::default(), rtcp_index: 0 }
    }

    /// The same key under another master key identifier: no index is used again.
    #[must_use]
    pub fn marked(self, mki: Option<Mki>) -> Outbound {
        Outbound { mki: Marker::new(mki), ..self }
    }

    /// A packet will leave soon.
    pub fn fetch(&self) {
        self.transforms.iter().for_each(|[rtp, _]| rtp.fetch());
    }

    /// Encrypts the RTP packet in `buffer[..length]` in place; its new length. `None` when its index
    /// was used before, for the same keystream must not cover two payloads, or when `buffer` has
    /// no room for [`GROWTH`].
    pub fn rtp(&mut self, header: &Header, buffer: &mut [u8], length: usize) -> Option<usize> {
        let index = self.sent.guess(header.sequence).filter(|index| self.sent.is_fresh(*index))?;
        self.sent.note(index);
        let (place, mki) = ((header.length, header.ssrc, index), self.mki.octets());
        match self.transforms.as_ref()? {
            [Transform::Cm(mode), _] => mode.seal_rtp(place, buffer, length, mki),
            [Transform::Gcm(mode), _] => mode.seal_rtp(place, buffer, length, mki),
        }
    }

    /// Encrypts the RTCP compound in `buffer[..length]` in place; its new length. `None` when
    /// `buffer` has no room for [`GROWTH`] or the key is worn out (2^31 packets).
    pub fn rtcp(&mut self, ssrc: u32, buffer: &mut [u8], length: usize) -> Option<usize> {
        let index = Some(self.rtcp_index).filter(|index| *index < ENCRYPTED)?;
        self.rtcp_index += 1;
        let mki = self.mki.octets();
        match self.transforms.as_ref()? {
            [_, Transform::Cm(mode)] => mode.seal_rtcp((ssrc, index), buffer, length, mki),
            [_, Transform::Gcm(mode)] => mode.seal_rtcp((ssrc, index), buffer, length, mki),
        }
    }
}

/// The last word: E flag and index.
fn trailer(packet: &[u8]) -> u32 {
    packet.last_chunk().map_or(0, |word| u32::from_be_bytes(*word))
}

fn append(buffer: &mut [u8], length: usize, octets: &[u8]) -> Option<usize> {
    let end = length + octets.len();
    buffer.get_mut(length..end)?.copy_from_slice(octets);
    Some(end)
}

#[cfg(test)]
mod tests;
