//! AES in Galois/counter mode (RFC 7714).
//!
//! On the wire: `header | payload | tag | MKI`, `header | payload | tag | E, index | MKI`; the tag covers all but the MKI, and
//! the rollover counter through the nonce.

use aes_gcm::aead::inout::InOutBuf;
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};

use super::{ENCRYPTED, INDEX, Label, RTCP_CLEAR, Refusal, append, derive, trailer};
use crate::media::kernels::fetch;
use crate::session::Keys;

/// Octets of the tag.
pub(super) const TAG: usize = 16;

enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes256(Box<Aes256Gcm>),
}

/// The session keys of either RTP or RTCP.
pub(super) struct Galois {
    cipher: Cipher,
    salt: [u8; 12],
}

impl Galois {
    pub(super) fn new(keys: &Keys, label: Label) -> Option<Galois> {
        let (mut key, mut salt) = ([0; 32], [0; 12]);
        let key = &mut key[..keys.suite().key_length()];
        derive(keys, label.cipher(), key)?;
        derive(keys, label.salt(), &mut salt)?;
        let cipher = Aes128Gcm::new_from_slice(key)
            .map(|aes| Cipher::Aes128(Box::new(aes)))
            .or_else(|_| Aes256Gcm::new_from_slice(key).map(|aes| Cipher::Aes256(Box::new(aes))))
            .ok()?;
        Some(Galois { cipher, salt })
    }

    pub(super) fn fetch(&self) {
        match &self.cipher {
            Cipher::Aes128(aes) => fetch(&**aes),
            Cipher::Aes256(aes) => fetch(&**aes),
        }
    }

    /// Section 8.1 for RTP (rollover counter and sequence number), section 9.1 for RTCP.
    fn nonce(&self, ssrc: u32, index: u64) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[2..6].copy_from_slice(&ssrc.to_be_bytes());
        nonce[6..].copy_from_slice(&index.to_be_bytes()[2..]);
        nonce.iter_mut().zip(self.salt).for_each(|(octet, salt)| *octet ^= salt);
        nonce
    }

    fn seal(&self, nonce: [u8; 12], aad: &[u8], octets: &mut [u8]) -> Option<[u8; TAG]> {
        let (nonce, octets) = (nonce.into(), InOutBuf::from(octets));
        let tag = match &self.cipher {
            Cipher::Aes128(aes) => aes.encrypt_inout_detached(&nonce, aad, octets),
            Cipher::Aes256(aes) => aes.encrypt_inout_detached(&nonce, aad, octets),
        };
        tag.ok().map(Into::into)
    }

    fn open(&self, nonce: [u8; 12], aad: &[u8], octets: &mut [u8], tag: [u8; TAG]) -> Result<(), Refusal> {
        let (nonce, octets, tag) = (nonce.into(), InOutBuf::from(octets), tag.into());
        let opened = match &self.cipher {
            Cipher::Aes128(aes) => aes.decrypt_inout_detached(&nonce, aad, octets, &tag),
            Cipher::Aes256(aes) => aes.decrypt_inout_detached(&nonce, aad, octets, &tag),
        };
        opened.map_err(|_| Refusal::Unauthentic)
    }

    pub(super) fn open_rtp(
        &self,
        (header, ssrc, index): (usize, u32, u64),
        packet: &mut [u8],
        mki: &[u8],
    ) -> Result<usize, Refusal> {
        let end = marked(packet, mki)?;
        let length = end.checked_sub(TAG).filter(|length| *length >= header).ok_or(Refusal::Short)?;
        let (clear, rest) = packet[..end].split_at_mut(header);
        let (octets, tag) = rest.split_last_chunk_mut::<TAG>().ok_or(Refusal::Short)?;
        self.open(self.nonce(ssrc, index), clear, octets, *tag)?;
        Ok(length)
    }

    pub(super) fn seal_rtp(
        &self,
        (header, ssrc, index): (usize, u32, u64),
        buffer: &mut [u8],
        length: usize,
        mki: &[u8],
    ) -> Option<usize> {
        let (clear, octets) = buffer.get_mut(..length)?.split_at_mut_checked(header)?;
        let tag = self.seal(self.nonce(ssrc, index), clear, octets)?;
        let length = append(buffer, length, &tag)?;
        append(buffer, length, mki)
    }

    /// E flag and index of an SRTCP packet.
    pub(super) fn rtcp_trailer(&self, packet: &[u8], mki: &[u8]) -> Result<u32, Refusal> {
        let end = marked(packet, mki)?;
        if end < RTCP_CLEAR + TAG + INDEX { Err(Refusal::Short) } else { Ok(trailer(&packet[..end])) }
    }

    pub(super) fn open_rtcp(&self, ssrc: u32, packet: &mut [u8], mki: &[u8]) -> Result<usize, Refusal> {
        let word = self.rtcp_trailer(packet, mki)?;
        let end = marked(packet, mki)? - INDEX;
        let length = end - TAG;
        let nonce = self.nonce(ssrc, u64::from(word & !ENCRYPTED));
        let (front, rest) = packet.split_at_mut(length);
        let tag = *rest.first_chunk().ok_or(Refusal::Short)?;
        if word & ENCRYPTED == 0 {
            // Of a packet in the clear all is associated data, with the index behind it (section 9.3).
            let clear = packet.get_mut(..length + INDEX).ok_or(Refusal::Short)?;
            clear[length..].copy_from_slice(&word.to_be_bytes());
            return self.open(nonce, clear, &mut [], tag).map(|()| length);
        }
        let mut aad = [0; RTCP_CLEAR + INDEX];
        let (clear, octets) = front.split_at_mut(RTCP_CLEAR);
        aad[..RTCP_CLEAR].copy_from_slice(clear);
        aad[RTCP_CLEAR..].copy_from_slice(&word.to_be_bytes());
        self.open(nonce, &aad, octets, tag)?;
        Ok(length)
    }

    pub(super) fn seal_rtcp(
        &self,
        (ssrc, index): (u32, u32),
        buffer: &mut [u8],
        length: usize,
        mki: &[u8],
    ) -> Option<usize> {
        let word = (ENCRYPTED | index).to_be_bytes();
        let (clear, octets) = buffer.get_mut(..length)?.split_at_mut_checked(RTCP_CLEAR)?;
        let mut aad = [0; RTCP_CLEAR + INDEX];
        aad[..RTCP_CLEAR].copy_from_slice(clear);
        aad[RTCP_CLEAR..].copy_from_slice(&word);
        let tag = self.seal(self.nonce(ssrc, u64::from(index)), &aad, octets)?;
        let length = append(buffer, length, &tag)?;
        let length = append(buffer, length, &word)?;
        append(buffer, length, mki)
    }
}

/// Where the MKI begins.
fn marked(packet: &[u8], mki: &[u8]) -> Result<usize, Refusal> {
    packet.strip_suffix(mki).map(<[u8]>::len).ok_or(Refusal::Unauthentic)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
        digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
    }

    /// Session keys as the vectors of RFC 7714 give them.
    fn galois(key: &str) -> Galois {
        let cipher = match hex(key) {
            key if key.len() == 16 => Cipher::Aes128(Box::new(Aes128Gcm::new_from_slice(&key).unwrap())),
            key => Cipher::Aes256(Box::new(Aes256Gcm::new_from_slice(&key).unwrap())),
        };
        Galois { cipher, salt: hex("51756964 2070726f 2071756f").try_into().unwrap() }
    }

    const KEYS: [&str; 2] = [
        "00010203 04050607 08090a0b 0c0d0e0f",
        "00010203 04050607 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f",
    ];

    #[test]
    fn the_packets_of_rfc_7714_16() {
        let header = "8040f17b 8041f8d3 5501a0b2";
        let text = "47616c6c 69612065 7374206f 6d6e6973 20646976 69736120 696e2070 61727465 73207472 6573";
        let sealed = [
            "f24de3a3 fb34de6c acba861c 9d7e4bca be633bd5 0d294e6f 42a5f47a 51c7d19b 36de3adf 8833 \
             899d7f27 beb16a91 52cf765e e4390cce",
            "32b1de78 a822fe12 ef9f78fa 332e33aa b1801238 9a58e2f3 b50b2a02 76ffae0f 1ba63799 b87b \
             7aa3db36 dfffd6b0 f9bb7878 d7a76c13",
        ];
        let (plain, place) = (hex(&[header, text].concat()), (12, 0x5501_a0b2, 0xf17b));
        for (key, sealed) in KEYS.into_iter().zip(sealed) {
            let (galois, sealed) = (galois(key), hex(&[header, sealed].concat()));
            let mut buffer = plain.clone();
            buffer.resize(plain.len() + TAG, 0);
            assert_eq!(galois.seal_rtp(place, &mut buffer, plain.len(), &[]), Some(sealed.len()));
            assert_eq!(buffer, sealed, "{key}");
            assert_eq!(galois.open_rtp(place, &mut buffer, &[]), Ok(plain.len()));
            assert_eq!(buffer[..plain.len()], plain, "{key}");
        }
    }

    /// What goes before the payload, and the payload, in the packets of RFC 7714 section 17.
    const REPORT: [&str; 2] = [
        "81c8000d 4d617273",
        "4e545031 4e545032 52545020 0000042a 0000e930 4c756e61 deadbeef deadbeef deadbeef deadbeef deadbeef",
    ];
    const REPORTED: (u32, u32) = (0x4d61_7273, 0x5d4);

    #[test]
    fn the_reports_of_rfc_7714_17_1_and_2() {
        let sealed = [
            "63e94885 dcdab67c a727d766 2f6b7e99 7ff5c0f7 6c06f32d c676a5f1 730d6fda 4ce09b46 86303ded 0bb9275b \
             c84aa458 96cf4d2f c5abf872 45d9eade 800005d4",
            "d50ae4d1 f5ce5d30 4ba297e4 7d470c28 2c3ece5d bffe0a50 a2eaa5c1 110555be 8415f658 c61de047 6f1b6fad \
             1d1eb30c 4446839f 57ff6f6c b26ac3be 800005d4",
        ];
        let plain = hex(&REPORT.concat());
        for (key, sealed) in KEYS.into_iter().zip(sealed) {
            let (galois, sealed) = (galois(key), hex(&[REPORT[0], sealed].concat()));
            let mut buffer = plain.clone();
            buffer.resize(sealed.len(), 0);
            assert_eq!(galois.seal_rtcp(REPORTED, &mut buffer, plain.len(), &[]), Some(sealed.len()));
            assert_eq!(buffer, sealed, "{key}");
            assert_eq!(galois.open_rtcp(REPORTED.0, &mut buffer, &[]), Ok(plain.len()));
            assert_eq!(buffer[..plain.len()], plain, "{key}");
        }
    }

    #[test]
    fn the_reports_in_the_clear_of_rfc_7714_17_3_and_4() {
        let tagged = ["841dd968 3dd78ec9 2ae58790 125f62b3 000005d4", "91db4afb feee5a97 8fab4393 ed2615fe 000005d4"];
        let plain = hex(&REPORT.concat());
        for (key, tagged) in KEYS.into_iter().zip(tagged) {
            let (galois, tagged) = (galois(key), [&plain[..], &hex(tagged)].concat());
            for at in 0..tagged.len() {
                let mut forged = tagged.clone();
                forged[at] ^= 0x80;
                assert_eq!(galois.open_rtcp(REPORTED.0, &mut forged, &[]), Err(Refusal::Unauthentic), "octet {at}");
            }
            let mut marked = [&tagged[..], &[7]].concat();
            assert_eq!(galois.open_rtcp(REPORTED.0, &mut marked, &[7]), Ok(plain.len()));
            assert_eq!(marked[..plain.len()], plain, "{key}");
        }
    }
}
