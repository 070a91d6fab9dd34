//! SRTP and SRTCP (RFC 3711) with AES_CM_128_HMAC_SHA1_80, in place and without allocation.
//!
//! 1. Six session keys come from a master key and salt (section 4.3).
//! 2. Of a packet's index only the lower 16 bits travel; the rest is guessed (section 3.3.1).
//! 3. Receiving: replay check, tag, decryption, and only then is the source remembered (section 3.3).
//! 4. Sending: encryption, tag.
//!
//! On the wire: `header | payload | MKI | tag`, `packet | E, index | MKI | tag`; the tag covers what
//! stands before the MKI, and for RTP the rollover counter.

use aes::Aes128;
use aes::cipher::{InnerIvInit, KeyInit, StreamCipherCore};
use ctr::CtrCore;
use ctr::flavors::Ctr128BE;
use hmac::{Hmac, Mac};
use sha1::Sha1;
use thiserror::Error;

use crate::session::{Keys, Mki};
use crate::wire::rtp::Header;

/// Octets of the tag.
const TAG: usize = 10;
/// Octets of E flag and index in SRTCP.
const INDEX: usize = 4;
/// Octets of an RTCP packet that stay in the clear: header and SSRC.
const RTCP_CLEAR: usize = 8;
/// SSRCs that one peer may have at a time; of more, the one unheard for the longest is forgotten.
const SOURCES: usize = 16;
const ENCRYPTED: u32 = 1 << 31;

/// Octets that protection adds at most.
pub const GROWTH: usize = INDEX + 4 + TAG;

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

/// The session keys of either RTP or RTCP.
struct SessionKeys {
    cipher: Aes128,
    mac: Hmac<Sha1>,
    salt: [u8; 14],
}

impl SessionKeys {
    const RTP: u8 = 0;
    const RTCP: u8 = 3;

    /// Section 4.3.2; `label` is the first of three. The key derivation rate is 0.
    fn derive(keys: &Keys, label: u8) -> SessionKeys {
        let master = Aes128::new(&keys.key.0.into());
        let (mut cipher, mut mac, mut salt) = ([0; 16], [0; 20], [0; 14]);
        derive(&master, &keys.salt.0, label, &mut cipher);
        derive(&master, &keys.salt.0, label + 1, &mut mac);
        derive(&master, &keys.salt.0, label + 2, &mut salt);
        // A hash longer or shorter than its block is a key all the same: this cannot fail.
        #[allow(clippy::expect_used)]
        let mac = Hmac::new_from_slice(&mac).expect("HMAC takes a key of any length");
        SessionKeys { cipher: Aes128::new(&cipher.into()), mac, salt }
    }

    /// Encrypts or decrypts in place (section 4.1.1).
    fn crypt(&self, ssrc: u32, index: u64, octets: &mut [u8]) {
        let mut iv = [0; 16];
        iv[..14].copy_from_slice(&self.salt);
        let xor = u128::from(ssrc) << 64 | u128::from(index) << 16;
        let iv = u128::from_be_bytes(iv) ^ xor;
        keystream(&self.cipher, iv.to_be_bytes(), octets);
    }

    fn tag(&self, packet: &[u8], rollover: Option<u32>) -> Hmac<Sha1> {
        let mut mac = self.mac.clone();
        mac.update(packet);
        if let Some(rollover) = rollover {
            mac.update(&rollover.to_be_bytes());
        }
        mac
    }
}

fn derive(master: &Aes128, salt: &[u8; 14], label: u8, key: &mut [u8]) {
    let mut iv = [0; 16];
    iv[..14].copy_from_slice(salt);
    iv[7] ^= label;
    keystream(master, iv, key);
}

fn keystream(cipher: &Aes128, iv: [u8; 16], octets: &mut [u8]) {
    CtrCore::<&Aes128, Ctr128BE>::inner_iv_init(cipher, &iv.into()).apply_keystream_partial(octets.into());
}

/// The last 128 indices seen (section 3.3.2), and the guess of the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    newest: u64,
    /// Bit n: `newest - n` was seen. 0 before the first.
    seen: u128,
}

impl Window {
    /// The index whose lower 16 bits are `sequence` and which lies nearest to the newest
    /// (appendix A); `None` when that is before the first of all.
    pub fn guess(&self, sequence: u16) -> Option<u64> {
        if self.seen == 0 {
            return Some(u64::from(sequence));
        }
        let step = sequence.wrapping_sub(self.newest as u16) as i16;
        self.newest.checked_add_signed(i64::from(step))
    }

    /// Was this index not seen yet?
    pub fn is_fresh(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(age @ 0..128) => self.seen >> age & 1 == 0,
            Some(_) => self.seen == 0,
        }
    }

    /// Remembers an index.
    pub fn note(&mut self, index: u64) {
        match index.checked_sub(self.newest) {
            _ if self.seen == 0 => *self = Window { newest: index, seen: 1 },
            Some(step) => {
                self.seen = u32::try_from(step).ok().and_then(|step| self.seen.checked_shl(step)).unwrap_or(0) | 1;
                self.newest = index;
            }
            None => self.seen |= 1u128.checked_shl((self.newest - index) as u32).unwrap_or(0),
        }
    }

    /// The newest index, `None` before the first.
    pub fn newest(&self) -> Option<u64> {
        (self.seen != 0).then_some(self.newest)
    }
}

/// What is remembered of one authenticated source.
#[derive(Clone, Copy, Default)]
struct Source {
    ssrc: u32,
    rtp: Window,
    rtcp: Window,
    /// When it was last heard, counted in packets.
    heard: u64,
}

/// The way from the peer to us.
pub struct Inbound {
    rtp: SessionKeys,
    rtcp: SessionKeys,
    mki: Option<Mki>,
    sources: [Source; SOURCES],
    packets: u64,
}

impl Inbound {
    /// Nothing received yet under `keys`.
    pub fn new(keys: &Keys) -> Inbound {
        Inbound {
            rtp: SessionKeys::derive(keys, SessionKeys::RTP),
            rtcp: SessionKeys::derive(keys, SessionKeys::RTCP),
            mki: keys.mki,
            sources: [Source::default(); SOURCES],
            packets: 0,
        }
    }

    /// Checks and decrypts an SRTP packet in place; the length of the RTP packet that remains.
    pub fn rtp(&mut self, header: &Header, packet: &mut [u8]) -> Result<usize, Refusal> {
        let (length, tag) = split(packet, header.length, self.mki)?;
        let known = self.source(header.ssrc);
        let window = known.map(|at| self.sources[at].rtp).unwrap_or_default();
        let index = window.guess(header.sequence).filter(|index| window.is_fresh(*index)).ok_or(Refusal::Replayed)?;
        let mac = self.rtp.tag(&packet[..length], Some((index >> 16) as u32));
        mac.verify_truncated_left(&tag).map_err(|_| Refusal::Unauthentic)?;
        self.rtp.crypt(header.ssrc, index, &mut packet[header.length..length]);
        self.heard(known, header.ssrc).rtp.note(index);
        Ok(length)
    }

    /// Checks and decrypts an SRTCP compound in place; the length of the RTCP compound that remains.
    pub fn rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Refusal> {
        let (end, tag) = split(packet, RTCP_CLEAR + INDEX, self.mki)?;
        let length = end - INDEX;
        let word = |at: usize| packet[at..].first_chunk().map_or(0, |word| u32::from_be_bytes(*word));
        let (ssrc, trailer) = (word(4), word(length));
        let index = u64::from(trailer & !ENCRYPTED);
        let known = self.source(ssrc);
        if known.is_some_and(|at| !self.sources[at].rtcp.is_fresh(index)) {
            return Err(Refusal::Replayed);
        }
        let mac = self.rtcp.tag(&packet[..end], None);
        mac.verify_truncated_left(&tag).map_err(|_| Refusal::Unauthentic)?;
        if trailer & ENCRYPTED != 0 {
            self.rtcp.crypt(ssrc, index, &mut packet[RTCP_CLEAR..length]);
        }
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

/// Where the authenticated part ends, and the tag. At least `least` octets stand before the MKI.
fn split(packet: &[u8], least: usize, mki: Option<Mki>) -> Result<(usize, [u8; TAG]), Refusal> {
    let (front, tag) = packet.split_last_chunk::<TAG>().ok_or(Refusal::Short)?;
    let front = match mki {
        None => front,
        Some(mki) => {
            let octets = mki.value.to_be_bytes();
            front.strip_suffix(&octets[4 - mki_length(mki)..]).ok_or(Refusal::Unauthentic)?
        }
    };
    if front.len() < least { Err(Refusal::Short) } else { Ok((front.len(), *tag)) }
}

fn mki_length(mki: Mki) -> usize {
    usize::from(mki.length).clamp(1, 4)
}

/// The way from us to the peer: one source of ours.
pub struct Outbound {
    rtp: SessionKeys,
    rtcp: SessionKeys,
    mki: Option<Mki>,
    sent: Window,
    rtcp_index: u32,
}

impl Outbound {
    /// Nothing sent yet under `keys`.
    pub fn new(keys: &Keys) -> Outbound {
        Outbound {
            rtp: SessionKeys::derive(keys, SessionKeys::RTP),
            rtcp: SessionKeys::derive(keys, SessionKeys::RTCP),
            mki: keys.mki,
            sent: Window::default(),
            rtcp_index: 0,
        }
    }

    /// Encrypts the RTP packet in `buffer[..length]` in place; its new length. `None` when its index
    /// was used before, for the same keystream must not cover two payloads, or when `buffer` has
    /// no room for [`GROWTH`].
    pub fn rtp(&mut self, header: &Header, buffer: &mut [u8], length: usize) -> Option<usize> {
        let index = self.sent.guess(header.sequence).filter(|index| self.sent.is_fresh(*index))?;
        self.rtp.crypt(header.ssrc, index, buffer.get_mut(header.length..length)?);
        let tag = self.rtp.tag(&buffer[..length], Some((index >> 16) as u32));
        self.sent.note(index);
        finish(buffer, length, self.mki, tag)
    }

    /// Encrypts the RTCP compound in `buffer[..length]` in place; its new length. `None` when
    /// `buffer` has no room for [`GROWTH`] or the key is worn out (2^31 packets).
    pub fn rtcp(&mut self, ssrc: u32, buffer: &mut [u8], length: usize) -> Option<usize> {
        let index = Some(self.rtcp_index).filter(|index| *index < ENCRYPTED)?;
        self.rtcp_index += 1;
        self.rtcp.crypt(ssrc, u64::from(index), buffer.get_mut(RTCP_CLEAR..length)?);
        let end = append(buffer, length, &(ENCRYPTED | index).to_be_bytes())?;
        let tag = self.rtcp.tag(&buffer[..end], None);
        finish(buffer, end, self.mki, tag)
    }
}

fn finish(buffer: &mut [u8], length: usize, mki: Option<Mki>, tag: Hmac<Sha1>) -> Option<usize> {
    let length = match mki {
        None => length,
        Some(mki) => append(buffer, length, &mki.value.to_be_bytes()[4 - mki_length(mki)..])?,
    };
    append(buffer, length, &tag.finalize().into_bytes()[..TAG])
}

fn append(buffer: &mut [u8], length: usize, octets: &[u8]) -> Option<usize> {
    let end = length + octets.len();
    buffer.get_mut(length..end)?.copy_from_slice(octets);
    Some(end)
}

#[cfg(test)]
mod tests {
    use webrtc_srtp::context::Context;
    use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
    use webrtc_srtp::protection_profile::ProtectionProfile;

    use super::*;
    use crate::private::Secret;
    use crate::random::Random;
    use crate::wire::rtcp;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    fn keys(mki: Option<Mki>) -> Keys {
        let mut random = Random::test(3711);
        Keys { key: Secret(random.octets()), salt: Secret(random.octets()), mki }
    }

    fn oracle() -> Context {
        let keys = keys(None);
        Context::new(
            &keys.key.0,
            &keys.salt.0,
            ProtectionProfile::Aes128CmHmacSha1_80,
            Some(srtp_replay_protection(64)),
            Some(srtcp_replay_protection(64)),
        )
        .unwrap()
    }

    fn packet(ssrc: u32, sequence: u16) -> Vec<u8> {
        let header = Header {
            marker: false,
            payload_type: 0,
            sequence,
            timestamp: u32::from(sequence) * 160,
            ssrc,
            length: 12,
            padded: false,
        };
        [&header.write()[..], &[sequence as u8; 160]].concat()
    }

    fn protect(outbound: &mut Outbound, packet: &[u8]) -> Option<Vec<u8>> {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + GROWTH, 0xee);
        let length = outbound.rtp(&Header::read(packet)?, &mut buffer, packet.len())?;
        buffer.truncate(length);
        Some(buffer)
    }

    fn unprotect(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut buffer = packet.to_vec();
        let length = inbound.rtp(&Header::read(packet).ok_or(Refusal::Short)?, &mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn protect_rtcp(outbound: &mut Outbound, packet: &[u8]) -> Vec<u8> {
        let mut buffer = packet.to_vec();
        buffer.resize(packet.len() + GROWTH, 0xee);
        let length = outbound.rtcp(7, &mut buffer, packet.len()).unwrap();
        buffer.truncate(length);
        buffer
    }

    fn unprotect_rtcp(inbound: &mut Inbound, packet: &[u8]) -> Result<Vec<u8>, Refusal> {
        let mut buffer = packet.to_vec();
        let length = inbound.rtcp(&mut buffer)?;
        buffer.truncate(length);
        Ok(buffer)
    }

    fn report() -> Vec<u8> {
        rtcp::Writer::report(7, None, None).named(7, b"0123456789abcdef").octets().to_vec()
    }

    #[test]
    fn the_keystream_is_that_of_rfc_3711_b_2() {
        let cipher = Aes128::new_from_slice(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
        let iv: [u8; 16] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
        let mut octets = vec![0; 16 * 0xff02];
        keystream(&cipher, iv, &mut octets);
        for (block, expected) in [
            (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ] {
            assert_eq!(octets[16 * block..][..16], hex(expected), "block {block:x}");
        }
    }

    #[test]
    fn the_session_keys_are_those_of_rfc_3711_b_3() {
        let master = Aes128::new_from_slice(&hex("E1F97A0D3E018BE0D64FA32C06DE4139")).unwrap();
        let salt: [u8; 14] = hex("0EC675AD498AFEEBB6960B3AABE6").try_into().unwrap();
        for (label, expected) in [
            (0, "C61E7A93744F39EE10734AFE3FF7A087"),
            (2, "30CBBC08863D8C85D49DB34A9AE1"),
            (1, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098"),
        ] {
            let mut key = vec![0; expected.len() / 2];
            derive(&master, &salt, label, &mut key);
            assert_eq!(key, hex(expected), "label {label}");
        }
    }

    #[test]
    fn another_implementation_reads_what_we_write_over_three_rollovers() {
        let (mut ours, mut theirs) = (Outbound::new(&keys(None)), oracle());
        for step in 0..200_000u32 {
            // One packet in a hundred stands for the rest, around the wraps every one.
            let sequence = (step as u16).wrapping_add(60_000);
            let plain = packet(9, sequence);
            let sealed = protect(&mut ours, &plain).unwrap();
            if step % 100 == 0 || sequence.wrapping_add(20) < 40 {
                assert_eq!(theirs.decrypt_rtp(&sealed).unwrap(), plain, "step {step}");
            }
        }
    }

    #[test]
    fn we_read_what_another_implementation_writes_over_three_rollovers() {
        let (mut ours, mut theirs) = (Inbound::new(&keys(None)), oracle());
        for step in 0..200_000u32 {
            let plain = packet(9, (step as u16).wrapping_add(60_000));
            let sealed = theirs.encrypt_rtp(&plain).unwrap();
            if step % 100 == 0 || (step as u16).wrapping_add(60_020) < 40 {
                assert_eq!(unprotect(&mut ours, &sealed), Ok(plain), "step {step}");
            }
        }
    }

    #[test]
    fn sources_and_extension_stay_in_the_clear() {
        let mut plain = packet(9, 1);
        plain[0] |= 0x11;
        plain.splice(12..12, [0, 0, 0, 1, 0xbe, 0xde, 0, 1, 0x12, 2, 3, 4]);
        let sealed = oracle().encrypt_rtp(&plain).unwrap();
        assert_eq!(unprotect(&mut Inbound::new(&keys(None)), &sealed), Ok(plain.clone()));
        assert_eq!(protect(&mut Outbound::new(&keys(None)), &plain), Some(sealed.to_vec()));
    }

    #[test]
    fn srtcp_agrees_with_another_implementation_both_ways() {
        let (mut inbound, mut outbound) = (Inbound::new(&keys(None)), Outbound::new(&keys(None)));
        let (mut to, mut from) = (oracle(), oracle());
        for _ in 0..200 {
            let sealed = protect_rtcp(&mut outbound, &report());
            assert_eq!(to.decrypt_rtcp(&sealed).unwrap(), report());
            let sealed = from.encrypt_rtcp(&report()).unwrap();
            assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Ok(report()));
            assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Err(Refusal::Replayed));
        }
    }

    #[test]
    fn srtcp_in_the_clear_is_taken_when_its_tag_is_right() {
        let mut sealed = report();
        sealed.extend(5u32.to_be_bytes());
        let tag = SessionKeys::derive(&keys(None), SessionKeys::RTCP).tag(&sealed, None).finalize().into_bytes();
        sealed.extend(&tag[..TAG]);
        let mut inbound = Inbound::new(&keys(None));
        assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Ok(report()));
        sealed[8] ^= 1;
        sealed[report().len() + 3] = 6;
        assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Err(Refusal::Unauthentic));
    }

    #[test]
    fn the_mki_stands_between_payload_and_tag_and_is_not_authenticated() {
        let mki = |value, length| Some(Mki { value, length });
        for (mki, octets) in [(mki(1, 1), &[1][..]), (mki(0x0203, 2), &[2, 3]), (mki(5, 4), &[0, 0, 0, 5])] {
            let keys = keys(mki);
            let (mut outbound, mut inbound) = (Outbound::new(&keys), Inbound::new(&keys));
            let mut expected = oracle().encrypt_rtp(&packet(9, 1)).unwrap().to_vec();
            expected.splice(172..172, octets.iter().copied());
            let sealed = protect(&mut outbound, &packet(9, 1)).unwrap();
            assert_eq!(sealed, expected);
            assert_eq!(unprotect(&mut inbound, &sealed), Ok(packet(9, 1)));
            expected[172] ^= 1;
            assert_eq!(unprotect(&mut Inbound::new(&keys), &expected), Err(Refusal::Unauthentic), "another key's MKI");

            let mut expected = oracle().encrypt_rtcp(&report()).unwrap().to_vec();
            let at = expected.len() - TAG;
            expected[at - INDEX..at].copy_from_slice(&ENCRYPTED.to_be_bytes());
            let sealed = protect_rtcp(&mut outbound, &report());
            assert_eq!(sealed[at..at + octets.len()], *octets);
            assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Ok(report()));
        }
    }

    #[test]
    fn every_changed_octet_is_noticed_and_leaves_no_trace() {
        let sealed = protect(&mut Outbound::new(&keys(None)), &packet(9, 1)).unwrap();
        let mut inbound = Inbound::new(&keys(None));
        for at in 1..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x40;
            assert_eq!(unprotect(&mut inbound, &forged), Err(Refusal::Unauthentic), "octet {at}");
        }
        assert_eq!(inbound.packets, 0);
        assert_eq!(unprotect(&mut inbound, &sealed), Ok(packet(9, 1)));
    }

    #[test]
    fn forged_sources_take_no_room_and_true_ones_take_the_oldest() {
        let (mut outbound, mut inbound) = (Outbound::new(&keys(None)), Inbound::new(&keys(None)));
        let first = protect(&mut outbound, &packet(1, 1)).unwrap();
        assert!(unprotect(&mut inbound, &first).is_ok());
        for ssrc in 100..1000 {
            let mut forged = first.clone();
            forged[8..12].copy_from_slice(&u32::to_be_bytes(ssrc));
            assert_eq!(unprotect(&mut inbound, &forged), Err(Refusal::Unauthentic));
        }
        assert_eq!(unprotect(&mut inbound, &first), Err(Refusal::Replayed), "still known");
        for ssrc in 2..=SOURCES as u32 + 1 {
            let mut other = Outbound::new(&keys(None));
            assert!(unprotect(&mut inbound, &protect(&mut other, &packet(ssrc, 1)).unwrap()).is_ok());
        }
        assert_eq!(inbound.source(1), None);
        assert!(inbound.source(2).is_some());
    }

    #[test]
    fn late_packets_are_taken_once_and_old_ones_never() {
        let mut outbound = Outbound::new(&keys(None));
        let sealed: Vec<_> =
            (0..400u16).map(|step| protect(&mut outbound, &packet(9, step.wrapping_add(65_400))).unwrap()).collect();
        let mut inbound = Inbound::new(&keys(None));
        for (step, expected) in [
            (0, Ok(())),
            (130, Ok(())),
            (3, Ok(())),
            (3, Err(Refusal::Replayed)),
            (2, Err(Refusal::Replayed)),
            (140, Ok(())),
            (139, Ok(())),
            (135, Ok(())),
            (135, Err(Refusal::Replayed)),
            (399, Ok(())),
            (140, Err(Refusal::Replayed)),
        ] {
            assert_eq!(unprotect(&mut inbound, &sealed[step]).map(drop), expected, "packet {step}");
        }
    }

    #[test]
    fn no_keystream_is_used_twice() {
        let mut outbound = Outbound::new(&keys(None));
        assert!(protect(&mut outbound, &packet(9, 5)).is_some());
        assert!(protect(&mut outbound, &packet(9, 5)).is_none());
        assert!(protect(&mut outbound, &packet(9, 4)).is_some());
        assert!(protect(&mut outbound, &packet(9, 4)).is_none());
    }

    #[test]
    fn the_window_agrees_with_a_plain_list() {
        bolero::check!().with_type().for_each(|steps: &Vec<i8>| {
            let (mut window, mut seen, mut newest) = (Window::default(), Vec::<u64>::new(), 1000u64);
            for step in steps {
                let index = newest.saturating_add_signed(i64::from(*step) * 3);
                let old = seen.iter().max().is_some_and(|newest| newest.saturating_sub(index) >= 128);
                assert_eq!(window.is_fresh(index), !seen.contains(&index) && !old, "{index} after {seen:?}");
                assert_eq!(window.guess(index as u16), Some(index));
                window.note(index);
                seen.push(index);
                newest = newest.max(index);
            }
        });
    }

    #[test]
    fn no_octets_make_it_panic() {
        let mki = Some(Mki { value: 0, length: 4 });
        let (mut plain, mut marked) = (Inbound::new(&keys(None)), Inbound::new(&keys(mki)));
        let octets = |length: usize| vec![0x80u8; length];
        for length in 0..80 {
            for inbound in [&mut plain, &mut marked] {
                assert!(unprotect_rtcp(inbound, &octets(length)).is_err());
                assert!(unprotect(inbound, &octets(length)).is_err());
            }
        }
    }
}
