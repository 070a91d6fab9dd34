//! Just enough SDP: one audio m-line with SDES crypto, with or without MKI.

use crate::codec::Codec;
use crate::srtp::MASTER_LEN;
use base64::{Engine, engine::general_purpose::STANDARD as B64};
use std::net::{Ipv4Addr, SocketAddrV4};

#[derive(Clone, Debug)]
pub struct Media {
    pub addr: SocketAddrV4,
    pub rtcp: SocketAddrV4,
    pub srtp: bool,
    /// The line that is taken: of those we speak, the first without MKI, else the first.
    pub crypto: Option<Crypto>,
    pub pts: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crypto {
    /// An answer must repeat the tag of the offered line it takes.
    pub tag: u32,
    pub key: [u8; MASTER_LEN],
    /// Empty: none.
    pub mki: Vec<u8>,
}

pub fn build(addr: SocketAddrV4, codec: Codec, crypto: &[Crypto], id: u64) -> String {
    let ip = addr.ip();
    let mut s = format!(
        "v=0\r\no=- {id} 1 IN IP4 {ip}\r\ns=rtpload\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {} RTP/{} {pt}\r\na=rtcp:{}\r\na=rtpmap:{pt} {}\r\na=ptime:20\r\na=sendrecv\r\n",
        addr.port(),
        if crypto.is_empty() { "AVP" } else { "SAVP" },
        addr.port() + 1,
        codec.rtpmap(),
        pt = codec.pt(),
    );
    for c in crypto {
        s += &format!("a=crypto:{} AES_CM_128_HMAC_SHA1_80 inline:{}|2^31", c.tag, B64.encode(c.key));
        if !c.mki.is_empty() {
            let value = c.mki.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
            s += &format!("|{value}:{}", c.mki.len());
        }
        s += "\r\n";
    }
    s
}

pub fn parse(sdp: &str) -> Result<Media, String> {
    let bad = |w: &str| format!("no {w} in SDP:\n{sdp}");
    let (mut ip, mut port, mut rtcp, mut srtp, mut pts) = (None, None, None, false, Vec::new());
    let mut lines = Vec::new();
    for l in sdp.lines() {
        if let Some(v) = l.strip_prefix("c=IN IP4 ") {
            ip = v.trim().parse::<Ipv4Addr>().ok();
        } else if let Some(v) = l.strip_prefix("m=audio ") {
            let f: Vec<&str> = v.split_whitespace().collect();
            port = f.first().and_then(|p| p.parse::<u16>().ok());
            srtp = f.get(1).is_some_and(|p| p.contains("SAVP"));
            pts = f.iter().skip(2).filter_map(|p| p.parse().ok()).collect();
        } else if let Some(v) = l.strip_prefix("a=rtcp:") {
            rtcp = v.split_whitespace().next().and_then(|p| p.parse::<u16>().ok());
        } else if let Some(v) = l.strip_prefix("a=crypto:") {
            lines.extend(crypto(v));
        }
    }
    let ip = ip.ok_or_else(|| bad("address"))?;
    let port = port.filter(|p| *p != 0).ok_or_else(|| bad("audio port"))?;
    let crypto = lines.iter().find(|c| c.mki.is_empty()).or(lines.first()).filter(|_| srtp).cloned();
    if srtp && crypto.is_none() {
        return Err(bad("usable crypto"));
    }
    let rtcp = SocketAddrV4::new(ip, rtcp.unwrap_or(port.saturating_add(1)));
    Ok(Media { addr: SocketAddrV4::new(ip, port), rtcp, srtp, crypto, pts })
}

/// One line's value; None for a suite that we do not speak.
fn crypto(v: &str) -> Option<Crypto> {
    let mut f = v.split_whitespace();
    let tag = f.next()?.parse().ok()?;
    f.next().filter(|suite| *suite == "AES_CM_128_HMAC_SHA1_80")?;
    let mut parts = f.next()?.strip_prefix("inline:")?.split('|');
    let key = B64.decode(parts.next()?).ok()?.try_into().ok()?;
    let mki = match parts.find_map(|p| p.split_once(':')) {
        Some((value, length)) => {
            let (value, length): (u64, usize) = (value.parse().ok()?, length.parse().ok()?);
            value.to_be_bytes().get(8usize.checked_sub(length)?..)?.to_vec()
        }
        None => Vec::new(),
    };
    Some(Crypto { tag, key, mki })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 4000);

    fn line(tag: u32, mki: &[u8]) -> Crypto {
        Crypto { tag, key: [tag as u8; MASTER_LEN], mki: mki.to_vec() }
    }

    #[test]
    fn picks_the_supported_suite_and_its_tag() {
        let s = build(A, Codec::Pcmu, &[line(4, &[])], 1)
            .replace("a=crypto:4", "a=crypto:1 AEAD_AES_256_GCM inline:AAAA\r\na=crypto:4");
        let m = parse(&s).unwrap();
        assert_eq!((m.crypto, m.addr, m.srtp, m.pts), (Some(line(4, &[])), A, true, vec![0]));
        assert_eq!(m.rtcp.port(), 4001);
        assert!(parse("v=0\r\nm=audio 0 RTP/AVP 0\r\n").is_err());
    }

    #[test]
    fn prefers_the_line_without_mki() {
        let (with, without) = (line(1, &[1]), line(2, &[]));
        let s = build(A, Codec::Pcmu, &[with.clone(), without.clone()], 1);
        assert!(s.contains("|2^31|1:1\r\n") && s.contains("|2^31\r\n"));
        assert_eq!(parse(&s).unwrap().crypto, Some(without));
        let only = parse(&build(A, Codec::Pcmu, std::slice::from_ref(&with), 1)).unwrap();
        assert_eq!(only.crypto, Some(with));
    }

    #[test]
    fn rtcp_may_have_a_port_of_its_own() {
        let s = build(A, Codec::Pcma, &[], 1);
        assert_eq!(parse(&s.replace("a=rtcp:4001", "a=rtcp:5005 IN IP4 127.0.0.1")).unwrap().rtcp.port(), 5005);
        assert_eq!(parse(&s.replace("a=rtcp:4001\r\n", "")).unwrap().rtcp.port(), 4001);
    }
}
