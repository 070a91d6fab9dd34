//! Vectors of the RFCs, another implementation both ways, and whatever a network does.

use webrtc_srtp::context::Context;
use webrtc_srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use webrtc_srtp::protection_profile::ProtectionProfile;

use super::*;
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

use crate::private::Secret;
use crate::random::Random;
use crate::wire::rtcp;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Octets of the long tag of HMAC-SHA1.
const TAG: usize = 10;

fn keys_of(suite: Suite, mki: Option<Mki>) -> Keys {
    Keys::cut(suite, &Secret(Random::test(3711).octets())).marked(mki)
}

fn keys(mki: Option<Mki>) -> Keys {
    keys_of(Suite::Aes128CmHmacSha1_80, mki)
}

fn oracle() -> Context {
    oracle_of(Suite::Aes128CmHmacSha1_80)
}

fn oracle_of(suite: Suite) -> Context {
    let keys = keys_of(suite, None);
    Context::new(
        keys.key(),
        keys.salt(),
        match suite {
            Suite::Aes128CmHmacSha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            Suite::Aes128CmHmacSha1_32 => ProtectionProfile::Aes128CmHmacSha1_32,
            Suite::Aes256CmHmacSha1_80 => ProtectionProfile::Aes256CmHmacSha1_80,
            Suite::Aes256CmHmacSha1_32 => ProtectionProfile::Aes256CmHmacSha1_32,
            Suite::AeadAes128Gcm => ProtectionProfile::AeadAes128Gcm,
            Suite::AeadAes256Gcm => ProtectionProfile::AeadAes256Gcm,
        },
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
    let cipher = Block::new(&hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap();
    let iv: [u8; 16] = hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000").try_into().unwrap();
    let mut octets = vec![0; 16 * 0xff02];
    cipher.stream(iv, &mut octets);
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
    let octets = hex("E1F97A0D3E018BE0D64FA32C06DE4139 0EC675AD498AFEEBB6960B3AABE6");
    let keys = Keys::new(Suite::Aes128CmHmacSha1_80, &octets).unwrap();
    for (label, expected) in [
        (0, "C61E7A93744F39EE10734AFE3FF7A087"),
        (2, "30CBBC08863D8C85D49DB34A9AE1"),
        (1, "CEBE321F6FF7716B6FD4AB49AF256A156D38BAA48F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098"),
    ] {
        let mut key = vec![0; expected.len() / 2];
        derive(&keys, label, &mut key).unwrap();
        assert_eq!(key, hex(expected), "label {label}");
    }
}

#[test]
fn aes_256_is_that_of_rfc_6188_7() {
    let cipher = Block::new(&hex("57f82fe3613fd170a85ec93c40b1f0922ec4cb0dc025b58272147cc438944a98")).unwrap();
    let mut octets = [0; 48];
    cipher.stream(hex("f0f1f2f3f4f5f6f7f8f9fafbfcfd0000").try_into().unwrap(), &mut octets);
    assert_eq!(
        octets[..],
        hex("92bdd28a93c3f52511c677d08b5515a49da71b2378a854f67050756ded165bac63c4868b7096d88421b563b8c94c9a31")
    );
    let master = "f0f04914b513f2763a1b1fa130f10e2998f6f6e43e4309d1e622a0e332b9f1b6 3b04803de51ee7c96423ab5b78d2";
    let keys = Keys::new(Suite::Aes256CmHmacSha1_80, &hex(master)).unwrap();
    for (label, expected) in [
        (0, "5ba1064e30ec51613cad926c5a28ef731ec7fb397f70a960653caf06554cd8c4"),
        (2, "fa31791685ca444a9e07c6c64e93"),
        (1, "fd9c32d39ed5fbb5a9dc96b30818454d1313dc05"),
    ] {
        let mut key = vec![0; expected.len() / 2];
        derive(&keys, label, &mut key).unwrap();
        assert_eq!(key, hex(expected), "label {label}");
    }
}

#[test]
fn every_suite_agrees_with_another_implementation_both_ways() {
    for suite in Suite::ALL {
        let keys = keys_of(suite, None);
        let (mut inbound, mut outbound) = (Inbound::new(&keys), Outbound::new(&keys));
        let (mut to, mut from) = (oracle_of(suite), oracle_of(suite));
        for step in 0..400u16 {
            let plain = packet(9, step.wrapping_add(65_400));
            let sealed = protect(&mut outbound, &plain).unwrap();
            assert_eq!(to.decrypt_rtp(&sealed).unwrap(), plain, "{suite:?} {step}");
            let sealed = from.encrypt_rtp(&plain).unwrap();
            assert_eq!(unprotect(&mut inbound, &sealed), Ok(plain), "{suite:?} {step}");
            assert_eq!(unprotect(&mut inbound, &sealed), Err(Refusal::Replayed));
            let sealed = protect_rtcp(&mut outbound, &report());
            assert_eq!(to.decrypt_rtcp(&sealed).unwrap(), report(), "{suite:?} {step}");
            let sealed = from.encrypt_rtcp(&report()).unwrap();
            assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Ok(report()), "{suite:?} {step}");
        }
    }
}

#[test]
fn every_suite_carries_its_mark_and_notices_every_changed_octet() {
    let marks = [None, Some(Mki { value: 0x0102_0304, length: 4 })];
    for (suite, mki) in Suite::ALL.into_iter().flat_map(|suite| marks.map(|mki| (suite, mki))) {
        let keys = keys_of(suite, mki);
        let mut outbound = Outbound::new(&keys);
        let (rtp, rtcp) = (protect(&mut outbound, &packet(9, 1)).unwrap(), protect_rtcp(&mut outbound, &report()));
        let mut inbound = Inbound::new(&keys);
        for at in 1..rtp.len() {
            let mut forged = rtp.clone();
            forged[at] ^= 0x40;
            assert!(unprotect(&mut inbound, &forged).is_err(), "{suite:?} octet {at}");
        }
        for at in 0..rtcp.len() {
            let mut forged = rtcp.clone();
            forged[at] ^= 0x40;
            assert!(unprotect_rtcp(&mut inbound, &forged).is_err(), "{suite:?} octet {at}");
        }
        assert_eq!(inbound.packets, 0, "no trace is left");
        assert_eq!(unprotect(&mut inbound, &rtp), Ok(packet(9, 1)));
        assert_eq!(unprotect_rtcp(&mut inbound, &rtcp), Ok(report()));
        for length in 0..80 {
            assert!(unprotect_rtcp(&mut inbound, &vec![0x80; length]).is_err());
            assert!(unprotect(&mut inbound, &vec![0x80; length]).is_err());
        }
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

/// RFC 3711 section 3.4: a packet with the E flag clear is not encrypted, but tagged as any other.
#[test]
fn srtcp_in_the_clear_is_taken_when_its_tag_is_right() {
    let tagged = [
        Suite::Aes128CmHmacSha1_80,
        Suite::Aes128CmHmacSha1_32,
        Suite::Aes256CmHmacSha1_80,
        Suite::Aes256CmHmacSha1_32,
    ];
    let marks = [None, Some(Mki { value: 7, length: 1 })];
    for (suite, mki) in tagged.into_iter().flat_map(|suite| marks.map(|mki| (suite, mki))) {
        let (keys, mut key) = (keys_of(suite, mki), [0; 20]);
        derive(&keys, Label::Rtcp.mac(), &mut key).unwrap();
        let mut sealed = [&report()[..], &5u32.to_be_bytes()].concat();
        let tag = Hmac::<Sha1>::new_from_slice(&key).unwrap().chain_update(&sealed).finalize().into_bytes();
        sealed.extend(Marker::new(mki).octets());
        sealed.extend(&tag[..TAG]);
        let mut inbound = Inbound::new(&keys);
        for at in 0..sealed.len() {
            let mut forged = sealed.clone();
            forged[at] ^= 0x80;
            assert_eq!(unprotect_rtcp(&mut inbound, &forged), Err(Refusal::Unauthentic), "{suite:?} octet {at}");
        }
        assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Ok(report()), "{suite:?}");
        assert_eq!(unprotect_rtcp(&mut inbound, &sealed), Err(Refusal::Replayed), "{suite:?}");
    }
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

/// A datagram: whatever octets, or one of the peer's packets, perhaps with an octet changed and its end cut off.
type Datagram = Result<Vec<u8>, (u8, Option<(u8, u8)>, Option<u8>)>;

fn octets_of(datagram: &Datagram, sent: &[Vec<u8>]) -> Vec<u8> {
    match datagram {
        Ok(octets) => octets.clone(),
        Err((which, change, end)) => {
            let mut octets = sent[usize::from(*which) % sent.len()].clone();
            let length = octets.len();
            if let Some((at, bits)) = change {
                octets[usize::from(*at) % length] ^= bits;
            }
            octets.truncate(end.map_or(length, usize::from));
            octets
        }
    }
}

#[test]
fn only_what_the_peer_sent_is_taken_and_once_and_all_else_leaves_no_trace() {
    type Case = (u8, Option<(u32, u8)>, Vec<(bool, Datagram)>);
    bolero::check!().with_type().for_each(|(suite, mki, datagrams): &Case| {
        let mki = mki.map(|(value, length)| Mki { value, length: 1 + length % 4 });
        let keys = keys_of(Suite::ALL[usize::from(*suite) % Suite::ALL.len()], mki);
        let (mut inbound, mut outbound) = (Inbound::new(&keys), Outbound::new(&keys));
        let plain = [(0..8).map(|sequence| packet(9, sequence)).collect(), vec![report(); 8]];
        let sent = [
            plain[0].iter().map(|plain| protect(&mut outbound, plain).unwrap()).collect::<Vec<_>>(),
            plain[1].iter().map(|plain| protect_rtcp(&mut outbound, plain)).collect(),
        ];
        let mut seen = Vec::new();
        for (rtcp, datagram) in datagrams {
            let (sent, plain) = (&sent[usize::from(*rtcp)], &plain[usize::from(*rtcp)]);
            let (octets, before) = (octets_of(datagram, sent), (inbound.packets, *inbound.sources));
            let taken = if *rtcp { unprotect_rtcp(&mut inbound, &octets) } else { unprotect(&mut inbound, &octets) };
            match sent.iter().position(|sent| *sent == octets && !seen.contains(&octets)) {
                Some(at) => assert_eq!(taken.as_ref(), Ok(&plain[at])),
                None => assert!(taken.is_err() && (inbound.packets, *inbound.sources) == before, "{taken:?}"),
            }
            seen.push(octets);
        }
    });
}
