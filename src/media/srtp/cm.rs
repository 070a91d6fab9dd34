//! AES in counter mode with HMAC-SHA1 (RFC 3711 section 4, RFC 6188).
//!
//! On the wire: `header | payload | MKI | tag`, `packet | E, index | MKI | tag`; the tag covers what stands before the MKI,
//! and for RTP the rollover counter.

use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use aes::{Aes128, Aes256};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;

use super::{ENCRYPTED, INDEX, Label, RTCP_CLEAR, Refusal, append, derive, trailer};
use crate::session::{Keys, Suite};

/// Octets of the tag, but for the suites with a short one on RTP.
const TAG: usize = 10;
const SHORT_TAG: usize = 4;

/// A block cipher of either key length.
#[allow(clippy::large_enum_variant, reason = "it lies in a box with the rest of the session keys")]
pub(super) enum Block {
    /// 16 octets.
    Aes128(Aes128),
    /// 32 octets.
    Aes256(Aes256),
}

impl Block {
    /// With a key of 16 or 32 octets; `None` for another length.
    pub(super) fn new(key: &[u8]) -> Option<Block> {
        Aes128::new_from_slice(key).map(Block::Aes128).or_else(|_| Aes256::new_from_slice(key).map(Block::Aes256)).ok()
    }

    /// Adds the key stream that begins at this counter block.
    pub(super) fn stream(&self, iv: [u8; 16], octets: &mut [u8]) {
        let iv = iv.into();
        match self {
            Block::Aes128(aes) => {
                CtrCore::<&Aes128, Ctr128BE>::inner_iv_init(aes, &iv).apply_keystream_partial(octets.into());
            }
            Block::Aes256(aes) => {
                CtrCore::<&Aes256, Ctr128BE>::inner_iv_init(aes, &iv).apply_keystream_partial(octets.into());
            }
        }
    }
}

/// The session keys of either RTP or RTCP.
pub(super) struct CounterMode {
    cipher: Block,
    mac: Hmac<Sha1>,
    salt: [u8; 14],
    tag: usize,
}

impl CounterMode {
    pub(super) fn new(keys: &Keys, label: Label) -> Option<CounterMode> {
        let (mut key, mut mac, mut salt) = ([0; 32], [0; 20], [0; 14]);
        let key = &mut key[..keys.suite().key_length()];
        derive(keys, label.cipher(), key)?;
        derive(keys, label.mac(), &mut mac)?;
        derive(keys, label.salt(), &mut salt)?;
        let short = matches!(keys.suite(), Suite::Aes128CmHmacSha1_32 | Suite::Aes256CmHmacSha1_32);
        // SRTCP keeps the long tag whatever the suite (RFC 4568 section 6.2).
        let tag = if short && label == Label::Rtp { SHORT_TAG } else { TAG };
        Some(CounterMode { cipher: Block::new(key)?, mac: Hmac::new_from_slice(&mac).ok()?, salt, tag })
    }

    /// Encrypts or decrypts in place (section 4.1.1).
    fn crypt(&self, ssrc: u32, index: u64, octets: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        let xor = u128::from(ssrc) << 64 | u128::from(index) << 16;
        self.cipher.stream((u128::from_be_bytes(iv) ^ xor).to_be_bytes(), octets);
    }

    fn tag(&self, packet: &[u8], rollover: Option<u32>) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(packet);
        if let Some(rollover) = rollover {
            mac.update(&rollover.to_be_bytes());
        }
        mac
    }

    /// Where the authenticated part ends, and the tag. At least `least` octets stand before the MKI.
    fn split<'a>(&self, packet: &'a [u8], least: usize, mki: &[u8]) -> Result<(usize, &'a [u8]), Refusal> {
        let end = packet.len().checked_sub(self.tag).ok_or(Refusal::Short)?;
        let (front, tag) = packet.split_at(end);
        let front = front.strip_suffix(mki).ok_or(Refusal::Unauthentic)?;
        if front.len() < least { Err(Refusal::Short) } else { Ok((front.len(), tag)) }
    }

    pub(super) fn open_rtp(
        &self,
        (header, ssrc, index): (usize, u32, u64),
        packet: &mut [u8],
        mki: &[u8],
    ) -> Result<usize, Refusal> {
        let (length, tag) = self.split(packet, header, mki)?;
        let mac = self.tag(&packet[..length], Some((index >> 16) as u32));
        mac.verify_truncated_left(tag).map_err(|_| Refusal::Unauthentic)?;
        self.crypt(ssrc, index, &mut packet[header..length]);
        Ok(length)
    }

    pub(super) fn seal_rtp(
        &self,
        (header, ssrc, index): (usize, u32, u64),
        buffer: &mut [u8],
        length: usize,
        mki: &[u8],
    ) -> Option<usize> {
        self.crypt(ssrc, index, buffer.get_mut(header..length)?);
        let tag = self.tag(&buffer[..length], Some((index >> 16) as u32));
        self.finish(buffer, length, mki, tag)
    }

    /// E flag and index of an SRTCP packet.
    pub(super) fn rtcp_trailer(&self, packet: &[u8], mki: &[u8]) -> Result<u32, Refusal> {
        let (end, _) = self.split(packet, RTCP_CLEAR + INDEX, mki)?;
        Ok(trailer(&packet[..end]))
    }

    pub(super) fn open_rtcp(&self, ssrc: u32, packet: &mut [u8], mki: &[u8]) -> Result<usize, Refusal> {
        let (end, tag) = self.split(packet, RTCP_CLEAR + INDEX, mki)?;
        let (length, trailer) = (end - INDEX, trailer(&packet[..end]));
        self.tag(&packet[..end], None).verify_truncated_left(tag).map_err(|_| Refusal::Unauthentic)?;
        if trailer & ENCRYPTED != 0 {
            self.crypt(ssrc, u64::from(trailer & !ENCRYPTED), &mut packet[RTCP_CLEAR..length]);
        }
        Ok(length)
    }

    pub(super) fn seal_rtcp(
        &self,
        (ssrc, index): (u32, u32),
        buffer: &mut [u8],
        length: usize,
        mki: &[u8],
    ) -> Option<usize> {
        self.crypt(ssrc, u64::from(index), buffer.get_mut(RTCP_CLEAR..length)?);
        let end = append(buffer, length, &(ENCRYPTED | index).to_be_bytes())?;
        let tag = self.tag(&buffer[..end], None);
        self.finish(buffer, end, mki, tag)
    }

    fn finish(&self, buffer: &mut [u8], length: usize, mki: &[u8], tag: Hmac<Sha1>) -> Option<usize> {
        let length = append(buffer, length, mki)?;
        append(buffer, length, &tag.finalize().into_bytes()[..self.tag])
    }
}
