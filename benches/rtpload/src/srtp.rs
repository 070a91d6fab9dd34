//! Independent SRTP and SRTCP (RFC 3711), AES_CM_128_HMAC_SHA1_80/32, for checking a peer's.
//! An MKI stands before the tag and is not authenticated.

use aes::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, Mac};
use sha1::Sha1;

type Aes128Ctr = ctr::Ctr128BE<aes::Aes128>;
type HmacSha1 = Hmac<Sha1>;

pub const MASTER_LEN: usize = 30;

pub struct Srtp {
    rtp: Keys,
    tag_len: usize,
    mki: Vec<u8>,
    roc: u32,
    last_seq: Option<u16>,
    rtcp: Keys,
    rtcp_index: u32,
}

/// Session keys of SRTP or of SRTCP.
struct Keys {
    enc_key: [u8; 16],
    salt: [u8; 14],
    mac: HmacSha1,
}

impl Keys {
    /// `label`: 0 for RTP, 3 for RTCP.
    fn derive(master: &[u8; MASTER_LEN], label: u8) -> Self {
        let (k, s) = master.split_at(16);
        let (mut enc_key, mut auth, mut salt) = ([0u8; 16], [0u8; 20], [0u8; 14]);
        derive(k, s, label, &mut enc_key);
        derive(k, s, label + 1, &mut auth);
        derive(k, s, label + 2, &mut salt);
        let mac = <HmacSha1 as Mac>::new_from_slice(&auth).expect("any length");
        Self { enc_key, salt, mac }
    }

    /// `index`: the 48 bits of ROC and sequence number, or the 31 of SRTCP.
    fn crypt(&self, ssrc: u32, index: u64, body: &mut [u8]) {
        let mut iv = [0u8; 16];
        iv[..14].copy_from_slice(&self.salt);
        let mixed = ssrc.to_be_bytes().into_iter().chain(index.to_be_bytes().into_iter().skip(2));
        for (d, s) in iv[4..14].iter_mut().zip(mixed) {
            *d ^= s;
        }
        Aes128Ctr::new((&self.enc_key).into(), (&iv).into()).apply_keystream(body);
    }

    fn tag(&self, parts: [&[u8]; 2]) -> [u8; 20] {
        let mut m = self.mac.clone();
        parts.iter().for_each(|p| m.update(p));
        m.finalize().into_bytes().into()
    }
}

fn derive(key: &[u8], salt: &[u8], label: u8, out: &mut [u8]) {
    let mut iv = [0u8; 16];
    iv[..14].copy_from_slice(salt);
    iv[7] ^= label;
    out.fill(0);
    Aes128Ctr::new(key.into(), (&iv).into()).apply_keystream(out);
}

impl Srtp {
    /// `master` is the 16-byte key followed by the 14-byte salt, as in SDES `inline:`; `mki` may be empty.
    pub fn new(master: &[u8; MASTER_LEN], tag_len: usize, mki: Vec<u8>) -> Self {
        let (rtp, rtcp) = (Keys::derive(master, 0), Keys::derive(master, 3));
        Self { rtp, tag_len, mki, roc: 0, last_seq: None, rtcp, rtcp_index: 0 }
    }

    /// Puts MKI and tag after `buf[..len]`, returns the new length.
    fn seal(&self, buf: &mut [u8], len: usize, tag: &[u8]) -> usize {
        let at = len + self.mki.len();
        buf[len..at].copy_from_slice(&self.mki);
        buf[at..at + tag.len()].copy_from_slice(tag);
        at + tag.len()
    }

    /// Where MKI and tag begin in `packet`.
    fn sealed<'a>(&self, packet: &'a [u8], tag_len: usize) -> Result<(usize, &'a [u8]), &'static str> {
        let at = packet.len().checked_sub(tag_len + self.mki.len()).filter(|at| *at >= 8).ok_or("short")?;
        let (mki, tag) = packet[at..].split_at(self.mki.len());
        if mki == self.mki { Ok((at, tag)) } else { Err("mki") }
    }

    /// Encrypts the RTCP packet `buf[..len]` in place, appends index, MKI and tag, returns the new length.
    pub fn protect_rtcp(&mut self, buf: &mut [u8], len: usize) -> usize {
        self.rtcp_index += 1;
        self.rtcp.crypt(ssrc(buf, 4), u64::from(self.rtcp_index), &mut buf[8..len]);
        let index = (self.rtcp_index | 1 << 31).to_be_bytes();
        buf[len..len + 4].copy_from_slice(&index);
        let tag = self.rtcp.tag([&buf[..len + 4], &[]]);
        self.seal(buf, len + 4, &tag[..10])
    }

    /// Checks an SRTCP packet's tag, decrypts in place, returns the plain length.
    pub fn unprotect_rtcp(&mut self, buf: &mut [u8], len: usize) -> Result<usize, &'static str> {
        let (end, tag) = self.sealed(&buf[..len], 10)?;
        let n = end.checked_sub(4).filter(|n| *n >= 8).ok_or("short")?;
        if self.rtcp.tag([&buf[..end], &[]])[..10] != *tag {
            return Err("auth");
        }
        let index = u32::from_be_bytes([buf[n], buf[n + 1], buf[n + 2], buf[n + 3]]);
        if index >> 31 == 1 {
            self.rtcp.crypt(ssrc(buf, 4), u64::from(index & 0x7fff_ffff), &mut buf[8..n]);
        }
        Ok(n)
    }

    /// Encrypts `buf[..len]` in place, appends the tag, returns the new length.
    pub fn protect(&mut self, buf: &mut [u8], len: usize) -> usize {
        let seq = u16::from_be_bytes([buf[2], buf[3]]);
        if self.last_seq.is_some_and(|l| seq < l && l - seq > 0x8000) {
            self.roc += 1;
        }
        self.last_seq = Some(seq);
        let hdr = header_len(&buf[..len]).expect("own packet");
        self.rtp.crypt(ssrc(buf, 8), index(self.roc, seq), &mut buf[hdr..len]);
        let t = self.rtp.tag([&buf[..len], &self.roc.to_be_bytes()]);
        self.seal(buf, len, &t[..self.tag_len])
    }

    /// Checks the tag, decrypts in place, returns the plain length.
    pub fn unprotect(&mut self, buf: &mut [u8], len: usize) -> Result<usize, &'static str> {
        let (n, tag) = self.sealed(&buf[..len], self.tag_len)?;
        let hdr = header_len(&buf[..n]).ok_or("header")?;
        let seq = u16::from_be_bytes([buf[2], buf[3]]);
        let roc = match self.last_seq {
            None => self.roc,
            Some(l) if seq < l && l - seq > 0x8000 => self.roc + 1,
            Some(l) if seq > l && seq - l > 0x8000 => self.roc.wrapping_sub(1),
            Some(_) => self.roc,
        };
        if self.rtp.tag([&buf[..n], &roc.to_be_bytes()])[..self.tag_len] != *tag {
            return Err("auth");
        }
        let newer = roc == self.roc.wrapping_add(1) || self.last_seq.is_none_or(|l| seq > l);
        if newer && roc != self.roc.wrapping_sub(1) {
            self.roc = roc;
            self.last_seq = Some(seq);
        }
        self.rtp.crypt(ssrc(buf, 8), index(roc, seq), &mut buf[hdr..n]);
        Ok(n)
    }
}

fn ssrc(packet: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
}

fn index(roc: u32, seq: u16) -> u64 {
    u64::from(roc) << 16 | u64::from(seq)
}

/// Length of the RTP header with CSRCs and extension, or None when malformed.
pub fn header_len(p: &[u8]) -> Option<usize> {
    if p.len() < 12 || p[0] >> 6 != 2 {
        return None;
    }
    let mut n = 12 + 4 * (p[0] & 15) as usize;
    if p[0] & 0x10 != 0 {
        let l = p.get(n + 2..n + 4)?;
        n += 4 + 4 * u16::from_be_bytes([l[0], l[1]]) as usize;
    }
    (n <= p.len()).then_some(n)
}

/// Cost of one protect and one unprotect of a 172-byte packet, ns (`rtpload --srtp-bench`).
pub fn bench() -> (f64, f64) {
    const N: usize = 200_000;
    let m = [3u8; MASTER_LEN];
    let (mut tx, mut rx) = (Srtp::new(&m, 10, Vec::new()), Srtp::new(&m, 10, Vec::new()));
    let mut b = [0u8; 192];
    let (mut tp, mut tu) = (0u64, 0u64);
    for block in 0..N / 64 {
        let mut pk = [[0u8; 192]; 64];
        for (i, p) in pk.iter_mut().enumerate() {
            b[0] = 0x80;
            b[2..4].copy_from_slice(&((block * 64 + i) as u16).to_be_bytes());
            *p = b;
        }
        let t0 = crate::net::mono_ns();
        pk.iter_mut().for_each(|p| {
            tx.protect(p, 172);
        });
        let t1 = crate::net::mono_ns();
        pk.iter_mut().for_each(|p| {
            rx.unprotect(p, 182).expect("own packet");
        });
        tp += t1 - t0;
        tu += crate::net::mono_ns() - t1;
    }
    (tp as f64 / N as f64, tu as f64 / N as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(s: &str) -> Vec<u8> {
        (0..s.len()).step_by(2).map(|i| u8::from_str_radix(&s[i..i + 2], 16).unwrap()).collect()
    }

    #[test]
    fn rfc3711_b3_key_derivation() {
        let key = hex("E1F97A0D3E018BE0D64FA32C06DE4139");
        let salt = hex("0EC675AD498AFEEBB6960B3AABE6");
        let (mut k, mut s, mut a) = ([0u8; 16], [0u8; 14], [0u8; 20]);
        derive(&key, &salt, 0, &mut k);
        derive(&key, &salt, 2, &mut s);
        derive(&key, &salt, 1, &mut a);
        assert_eq!(k.to_vec(), hex("C61E7A93744F39EE10734AFE3FF7A087"));
        assert_eq!(s.to_vec(), hex("30CBBC08863D8C85D49DB34A9AE1"));
        assert_eq!(a.to_vec(), hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4"));
    }

    #[test]
    fn libsrtp_reference_packet() {
        // Plain and protected packet of libsrtp's srtp_validate().
        let mut m = [0u8; 30];
        m.copy_from_slice(&hex("e1f97a0d3e018be0d64fa32c06de41390ec675ad498afeebb6960b3aabe6"));
        let plain = hex("800f1234decafbadcafebabeabababababababababababababababab");
        let want = hex("800f1234decafbadcafebabe4e55dc4ce79978d88ca4d215949d2402b78d6acc99ea179b8dbb");
        let mut buf = plain.clone();
        buf.resize(64, 0);
        let n = Srtp::new(&m, 10, Vec::new()).protect(&mut buf, plain.len());
        assert_eq!(&buf[..n], &want[..]);
        let n = Srtp::new(&m, 10, Vec::new()).unprotect(&mut buf, n).unwrap();
        assert_eq!(&buf[..n], &plain[..]);
        buf[20] ^= 1;
        assert!(Srtp::new(&m, 10, Vec::new()).unprotect(&mut buf, want.len()).is_err());
    }

    #[test]
    fn sequence_wrap_advances_roc_on_both_ends() {
        let m = [7u8; 30];
        let (mut tx, mut rx) = (Srtp::new(&m, 10, Vec::new()), Srtp::new(&m, 10, Vec::new()));
        for i in 0..200_000u32 {
            let seq = (i + 65_000) as u16;
            let mut b = vec![0u8; 64];
            b[0] = 0x80;
            b[2..4].copy_from_slice(&seq.to_be_bytes());
            let n = tx.protect(&mut b, 32);
            assert_eq!(rx.unprotect(&mut b, n), Ok(32));
        }
        assert_eq!((tx.roc, rx.roc), (4, 4));
    }

    #[test]
    fn rtcp_and_mki_come_back() {
        let m = [5u8; 30];
        let plain = [0x80, 200, 0, 2, 1, 2, 3, 4, 9, 9, 9, 9];
        for mki in [vec![], vec![1]] {
            let (mut tx, mut rx) = (Srtp::new(&m, 10, mki.clone()), Srtp::new(&m, 10, mki.clone()));
            let mut b = [0u8; 64];
            b[..12].copy_from_slice(&plain);
            let n = tx.protect_rtcp(&mut b, 12);
            assert_eq!((n, &b[12..16]), (12 + 4 + mki.len() + 10, &[0x80, 0, 0, 1][..]));
            assert_ne!(b[8..12], plain[8..]);
            assert_eq!(rx.unprotect_rtcp(&mut b, n), Ok(12));
            assert_eq!(b[..12], plain);
            let n = tx.protect_rtcp(&mut b, 12);
            b[9] ^= 1;
            assert_eq!(rx.unprotect_rtcp(&mut b, n), Err("auth"));

            let mut b = [0u8; 64];
            b[0] = 0x80;
            let n = tx.protect(&mut b, 32);
            assert_eq!(n, 32 + mki.len() + 10);
            assert_eq!(rx.unprotect(&mut b, n), Ok(32));
            let other = Srtp::new(&m, 10, vec![2]).unprotect(&mut b, n);
            assert!(other.is_err());
        }
    }
}
