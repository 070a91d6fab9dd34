//! Offers and answers as real peers write them, then every policy against every other.

use super::*;
use crate::cause::Guilty;
use crate::private::Secret;
use crate::session::{Opus, Suite};

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
const SALT: [u8; 14] = *b"\t220;}\n}\nunles";

fn policy(dialect: Dialect, srtp: SrtpMode) -> Policy {
    Policy {
        dialect,
        srtp,
        suites: Suites::new(Suite::ALL),
        latch: false,
        ice: false,
        dtmf: Dtmf::Auto,
        watch_live: true,
        watch_held: false,
    }
}

fn microsoft(srtp: SrtpMode) -> Policy {
    policy(Dialect::Microsoft, srtp)
}

fn gateway(srtp: SrtpMode) -> Policy {
    policy(Dialect::Gateway, srtp)
}

fn terms() -> Terms {
    Terms {
        local: "10.0.0.1:40000".parse().unwrap(),
        codecs: vec![Codec::Pcmu, Codec::Pcma],
        direction: Direction::SendRecv,
        telephone_event: true,
        comfort_noise: false,
    }
}

fn events(payload_type: u8) -> Digits {
    Digits::Events(TelephoneEvent { payload_type, clock_rate: 8000 })
}

fn local(seed: u64) -> Local {
    Local::new(&mut Random::test(seed))
}

/// A peer's description: one media line and what stands under it.
fn says(line: &str, under: &str) -> Description {
    let text = format!("v=0\r\no=- 5 1 IN IP4 10.9.0.1\r\ns=-\r\nc=IN IP4 10.9.0.1\r\nt=0 0\r\n{line}\r\n");
    Description::parse((text + under).as_bytes()).unwrap()
}

fn crypto(tag: u32, rest: &str) -> String {
    format!("a=crypto:{tag} AES_CM_128_HMAC_SHA1_80 inline:{KEY}{rest}\r\n")
}

fn read(text: &Text) -> Description {
    Description::parse(text.wire().as_bytes()).unwrap()
}

fn lines(text: &Text) -> Vec<&str> {
    text.wire().lines().collect()
}

fn answered(policy: &Policy, offer: &Description) -> Answered {
    answer(policy, &mut local(1), &terms(), offer).unwrap()
}

fn refused(policy: &Policy, offer: &Description) -> Refusal {
    answer(policy, &mut local(1), &terms(), offer).unwrap_err()
}

/// The line of our text that begins so.
fn line<'a>(text: &'a Text, start: &str) -> Option<&'a str> {
    text.wire().lines().find(|line| line.starts_with(start))
}

// --- what we offer ---

#[test]
fn an_offer_by_srtp_mode() {
    let offered = |srtp| offer(&microsoft(srtp), &mut local(1), &terms()).text;
    let required = offered(SrtpMode::Required);
    assert_eq!(line(&required, "m="), Some("m=audio 40000 RTP/SAVP 0 8 101"));
    assert_eq!(required.wire().matches("a=crypto").count(), 1);
    let key = line(&required, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:").unwrap();
    assert!(key.ends_with("|2^31"), "a plain line, no MKI");
    assert_eq!(line(&required, "a=tcap"), None);

    let optional = offered(SrtpMode::Optional);
    assert_eq!(line(&optional, "m="), Some("m=audio 40000 RTP/AVP 0 8 101"));
    assert_eq!(line(&optional, "a=tcap"), Some("a=tcap:1 RTP/SAVP"));
    assert_eq!(line(&optional, "a=pcfg"), Some("a=pcfg:1 t=1"));
    assert!(line(&optional, "a=crypto").is_some());

    let plain = offered(SrtpMode::NotSupported);
    assert_eq!(line(&plain, "m="), Some("m=audio 40000 RTP/AVP 0 8 101"));
    assert_eq!((line(&plain, "a=crypto"), line(&plain, "a=tcap")), (None, None));
}

#[test]
fn a_plain_offer_to_the_letter() {
    let mut local = local(1);
    let text = offer(&gateway(SrtpMode::NotSupported), &mut local, &terms()).text;
    let origin = format!("o=- {} 1 IN IP4 10.0.0.1", local.session);
    assert_eq!(
        lines(&text),
        [
            "v=0",
            &origin,
            "s=-",
            "c=IN IP4 10.0.0.1",
            "t=0 0",
            "m=audio 40000 RTP/AVP 0 8 101",
            "a=rtcp:40001",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=ptime:20",
            "a=sendrecv",
        ]
    );
    let ipv6 = Terms { local: "[2001:db8::1]:40000".parse().unwrap(), telephone_event: false, ..terms() };
    let text = offer(&gateway(SrtpMode::NotSupported), &mut local, &ipv6).text;
    assert_eq!(line(&text, "c="), Some("c=IN IP6 2001:db8::1"));
    assert_eq!(line(&text, "m="), Some("m=audio 40000 RTP/AVP 0 8"));
}

#[test]
fn hold_is_said_in_each_dialect() {
    use Direction::*;
    for (meant, microsofts, gateways) in [
        (SendRecv, "a=sendrecv", "a=sendrecv"),
        (SendOnly, "a=inactive", "a=sendonly"),
        (RecvOnly, "a=inactive", "a=recvonly"),
        (Inactive, "a=inactive", "a=inactive"),
    ] {
        let terms = Terms { direction: meant, ..terms() };
        for (policy, said) in [(microsoft(SrtpMode::Required), microsofts), (gateway(SrtpMode::NotSupported), gateways)]
        {
            let offered = offer(&policy, &mut local(1), &terms);
            assert_eq!(lines(&offered.text).last(), Some(&said), "{meant:?}");
            let secure = if policy.srtp == SrtpMode::Required { crypto(1, "") } else { String::new() };
            let proto = if policy.srtp == SrtpMode::Required { "RTP/SAVP" } else { "RTP/AVP" };
            let peer = says(&format!("m=audio 4000 {proto} 0"), &secure);
            let stream = accept(&policy, &offered, &peer).unwrap();
            assert_eq!(format!("a={}", stream.direction.attribute()), said, "what is said is what is done");
        }
    }
}

#[test]
fn the_version_counts_changes_only() {
    let (policy, mut local) = (microsoft(SrtpMode::Required), local(1));
    let version = |text: &Text| line(text, "o=").unwrap().split(' ').nth(2).unwrap().to_string();
    let first = offer(&policy, &mut local, &terms()).text;
    let refresh = offer(&policy, &mut local, &terms()).text;
    let hold = offer(&policy, &mut local, &Terms { direction: Direction::Inactive, ..terms() }).text;
    let resumed = offer(&policy, &mut local, &terms()).text;
    assert_eq!(first, refresh);
    assert_eq!([&first, &hold, &resumed].map(version), ["1", "2", "3"]);
    assert_eq!(line(&first, "a=crypto"), line(&resumed, "a=crypto"), "keys last as long as the dialog");
    assert_ne!(line(&first, "a=crypto"), line(&offer(&policy, &mut super::tests::local(2), &terms()).text, "a=crypto"));
}

// --- what we answer ---

#[test]
fn the_mediation_server_with_srtp_optional() {
    let under = "a=tcap:1 RTP/SAVP\r\na=pcfg:1 t=1\r\nc=IN IP4 10.1.1.5\r\na=rtcp:53019\r\na=label:Audio\r\n"
        .to_string()
        + &crypto(1, "|2^31|2:1")
        + &crypto(2, "|2^31")
        + "a=inactive\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n";
    let offer = says("m=audio 53018 RTP/AVP 8 101", &under);
    let wish = wish(&microsoft(SrtpMode::Optional), &offer).unwrap();
    assert_eq!(wish, Wish { codecs: vec![Codec::Pcma], direction: Direction::Inactive, comfort_noise: false });

    let Answered { text, stream } = answered(&microsoft(SrtpMode::Optional), &offer);
    assert_eq!(line(&text, "m="), Some("m=audio 40000 RTP/SAVP 8 101"));
    assert_eq!(line(&text, "a=acfg"), Some("a=acfg:1 t=1"));
    assert!(line(&text, "a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:").unwrap().ends_with("|2^31"), "the plain line");
    assert_eq!(lines(&text).last(), Some(&"a=inactive"));
    assert_eq!(stream.remote.addresses().unwrap().rtp, "10.1.1.5:53018".parse().unwrap());
    assert_eq!(stream.remote.addresses().unwrap().rtcp, "10.1.1.5:53019".parse().unwrap());
    assert_eq!((stream.codec, stream.payload_type, stream.digits), (Codec::Pcma, 8, events(101)));
    assert_eq!(stream.direction, Direction::Inactive);
    assert_eq!(stream.watch, None, "a held call is not watched under this policy");
    let srtp = stream.srtp.unwrap();
    assert_eq!((srtp.receive.salt(), srtp.receive.mki(), srtp.send.mki()), (&SALT[..], None, None));
    let sent = read(&text).audio().next().unwrap().crypto().next().unwrap();
    assert_eq!(sent.keys, srtp.send, "we send under the key that we said");
}

#[test]
fn the_skype_for_business_client() {
    let under = "a=rtcp:5371\r\na=rtcp-mux\r\na=maxptime:200\r\na=rtpmap:104 SILK/16000\r\na=rtpmap:103 SILK/8000\r\n\
        a=rtpmap:13 CN/8000\r\na=rtpmap:118 CN/16000\r\na=rtpmap:101 telephone-event/8000\r\n\
        m=video 5372 RTP/AVP 122 121\r\na=rtpmap:122 X-H264UC/90000\r\nm=application 0 TCP/SAVP x-data\r\n";
    let offer = says("m=audio 5370 RTP/AVP 104 114 9 112 111 0 8 103 116 115 97 13 118 119 101", under);
    let Answered { text, stream } = answered(&microsoft(SrtpMode::Optional), &offer);
    let media: Vec<_> = lines(&text).into_iter().filter(|line| line.starts_with("m=")).collect();
    let refused = ["m=video 0 RTP/AVP 122", "m=application 0 TCP/SAVP x-data"];
    assert_eq!(media, ["m=audio 40000 RTP/AVP 0 101", refused[0], refused[1]]);
    assert!(line(&text, "a=rtcp-mux").is_some() && line(&text, "a=rtcp:").is_none());
    assert_eq!(stream.remote.addresses().unwrap().rtcp, stream.remote.addresses().unwrap().rtp);
    assert_eq!((stream.comfort_noise, stream.digits, stream.srtp), (None, events(101), None));
    assert!(stream.watch.is_some());
}

#[test]
fn media_lines_outlive_the_streams_they_refused() {
    let mut local = local(1);
    let policy = microsoft(SrtpMode::NotSupported);
    let both = says("m=video 5372 RTP/AVP 122", "m=audio 5370 RTP/AVP 0\r\n");
    answer(&policy, &mut local, &terms(), &both).unwrap();
    let hold = offer(&policy, &mut local, &Terms { direction: Direction::Inactive, ..terms() });
    let media: Vec<_> = lines(&hold.text).into_iter().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(media, ["m=video 0 RTP/AVP 122", "m=audio 40000 RTP/AVP 0 8 101"]);
    let reply = says("m=video 0 RTP/AVP 122", "m=audio 5370 RTP/AVP 0\r\na=inactive\r\n");
    assert_eq!(accept(&policy, &hold, &reply).unwrap().remote.addresses().unwrap().rtp.port(), 5370);
}

#[test]
fn numbers_and_ports_last_as_long_as_the_dialog() {
    let mut local = local(1);
    let policy = microsoft(SrtpMode::NotSupported);
    let under = "a=rtpmap:126 telephone-event/8000\r\na=rtcp-mux\r\n";
    let theirs = says("m=audio 4000 RTP/AVP 0 126", under);
    answer(&policy, &mut local, &terms(), &theirs).unwrap();
    let again = offer(&policy, &mut local, &terms());
    assert_eq!(line(&again.text, "m="), Some("m=audio 40000 RTP/AVP 0 8 126"));
    assert!(line(&again.text, "a=rtcp:40001").is_some() && line(&again.text, "a=rtcp-mux").is_some());
    let shared = accept(&policy, &again, &theirs).unwrap();
    assert_eq!(shared.remote.addresses().unwrap().rtcp, shared.remote.addresses().unwrap().rtp);
    let apart = accept(&policy, &again, &says("m=audio 4000 RTP/AVP 0", "")).unwrap();
    assert_eq!(apart.remote.addresses().unwrap().rtcp.port(), 4001);
    let never_asked = offer(&policy, &mut super::tests::local(2), &terms());
    assert_eq!(accept(&policy, &never_asked, &theirs).unwrap().remote.addresses().unwrap().rtcp.port(), 4001);
}

// --- ICE ---

fn teams() -> Policy {
    Policy { ice: true, ..microsoft(SrtpMode::Required) }
}

/// What Teams says with media bypass.
fn checking_by(fragment: &str, more: &str) -> Description {
    let ice = format!("a=ice-ufrag:{fragment}\r\na=ice-pwd:0123456789abcdef012345\r\n");
    let candidates = "a=candidate:1 1 UDP 2130706431 10.9.0.1 4000 typ host\r\n\
        a=candidate:2 1 UDP 1694498815 192.0.2.3 45664 typ srflx raddr 10.9.0.1 rport 4000\r\n";
    says("m=audio 4000 RTP/SAVP 0", &(crypto(1, "") + &ice + candidates + more))
}

fn ice_of(stream: &Stream) -> Option<(String, String)> {
    let ice = stream.ice.as_ref()?;
    Some((ice.local.fragment.clone(), ice.remote.fragment.clone()))
}

#[test]
fn teams_may_check_the_ways_to_us() {
    let Answered { text, stream } = answered(&teams(), &checking_by("peer", "a=rtcp-mux\r\n"));
    let (ours, theirs) = ice_of(&stream).unwrap();
    assert_eq!(theirs, "peer");
    assert_eq!(line(&text, "a=ice-ufrag"), Some(&*format!("a=ice-ufrag:{ours}")));
    let session: Vec<_> = lines(&text).into_iter().take_while(|line| !line.starts_with("m=")).collect();
    assert_eq!(session.last(), Some(&"a=ice-lite"));
    let candidates =
        |text: &Text| read(text).audio().next().unwrap().candidates().map(|c| c.wire()).collect::<Vec<_>>();
    let rtp = "1 1 UDP 2130706431 10.0.0.1 40000 typ host";
    assert_eq!((candidates(&text), line(&text, "a=rtcp")), (vec![rtp.into()], Some("a=rtcp-mux")));
    let password = read(&text).audio().next().unwrap().credentials().unwrap().password;
    assert_eq!(stream.ice.unwrap().local.password, password);
    assert!(!format!("{text:?}").contains(&password.0));

    let apart = answered(&teams(), &checking_by("peer", "")).text;
    assert_eq!(candidates(&apart), [rtp, "1 2 UDP 2130706430 10.0.0.1 40001 typ host"]);
    for (policy, offer) in [
        (microsoft(SrtpMode::Required), checking_by("peer", "")),
        (teams(), checking_by("who", "")),
        (teams(), says("m=audio 4000 RTP/SAVP 0", &crypto(1, ""))),
    ] {
        let Answered { text, stream } = answered(&policy, &offer);
        assert_eq!((stream.ice, text.wire().contains("ice"), text.wire().contains("candidate")), (None, false, false));
    }
}

#[test]
fn credentials_stay_until_the_peers_change() {
    let (policy, mut local) = (teams(), local(1));
    let mut said = |offer: &Description| answer(&policy, &mut local, &terms(), offer).unwrap();
    let (early, firm) = (said(&checking_by("peer", "")), said(&checking_by("peer", "")));
    assert_eq!(early.text, firm.text, "183 and 200 say the same");
    let held = said(&checking_by("peer", "a=inactive\r\n"));
    assert_eq!(held.stream.ice, firm.stream.ice);
    let anew = said(&checking_by("anew", ""));
    let [before, after] = [&firm, &anew].map(|said| said.stream.ice.clone().unwrap());
    assert!(before.local.fragment != after.local.fragment && before.local.password != after.local.password);
    assert_eq!(said(&checking_by("anew", "")).stream.ice, anew.stream.ice);
    let ours = offer(&policy, &mut local, &terms());
    assert_eq!(ours.ice, Some(after.local), "what we offer restarts nothing");
}

#[test]
fn every_offer_to_teams_lets_it_check() {
    let (policy, mut local) = (teams(), local(1));
    let offered = offer(&policy, &mut local, &terms());
    assert!(line(&offered.text, "a=ice-lite").is_some() && line(&offered.text, "a=rtcp-mux").is_some());
    assert_eq!(offered.text.wire().matches("a=candidate").count(), 2);
    // Two telephones take it; each has credentials of its own.
    let took = |fragment: &str| accept(&policy, &offered, &checking_by(fragment, "")).unwrap();
    let [left, right] = ["left", "right"].map(took);
    assert_eq!(ice_of(&left).unwrap().0, ice_of(&right).unwrap().0);
    local.accepted(&right);
    let again = answer(&policy, &mut local, &terms(), &checking_by("right", "")).unwrap();
    assert_eq!(ice_of(&again.stream), ice_of(&right), "the same credentials are no restart");

    let plain = accept(&policy, &offered, &says("m=audio 4000 RTP/SAVP 0", &crypto(1, ""))).unwrap();
    assert_eq!((plain.ice, plain.remote.addresses().unwrap().rtcp.port()), (None, 4001), "its servers stay between");
    let offered = offer(&microsoft(SrtpMode::Required), &mut super::tests::local(2), &terms());
    assert_eq!((line(&offered.text, "a=ice"), line(&offered.text, "a=candidate")), (None, None));
}

#[test]
fn of_two_lite_agents_nobody_checks() {
    let offer = read(&super::offer(&teams(), &mut local(1), &terms()).text);
    let Answered { text, stream } = answer(&teams(), &mut local(2), &terms(), &offer).unwrap();
    assert_eq!((stream.ice, line(&text, "a=ice")), (None, None));
}

#[test]
fn an_address_that_is_yet_to_be_found_is_no_hold() {
    let nowhere = |text: &str| Description::parse(text.replace("10.9.0.1", "0.0.0.0").as_bytes()).unwrap();
    let said = format!(
        "{}m=audio 9 RTP/SAVP 0\r\n{}",
        "v=0\r\no=- 5 1 IN IP4 10.9.0.1\r\ns=-\r\nc=IN IP4 10.9.0.1\r\nt=0 0\r\n",
        crypto(1, "")
    );
    assert_eq!(answered(&teams(), &nowhere(&said)).stream.direction, Direction::Inactive);
    let found = said + "a=ice-ufrag:peer\r\na=ice-pwd:0123456789abcdef012345\r\n";
    let stream = answered(&teams(), &nowhere(&found)).stream;
    assert_eq!((stream.direction, stream.ice.is_some()), (Direction::SendRecv, true));
}

#[test]
fn teams_offers_the_short_tag_first() {
    let short = format!("a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:{KEY}|2^31\r\n");
    let offer = says(
        "m=audio 49152 RTP/SAVP 111 103 104 9 0 8 106 13 110 112 113 126",
        &(short + &crypto(2, "|2^31") + "a=rtpmap:126 telephone-event/8000\r\na=rtcp-mux\r\na=rtpmap:106 CN/32000\r\n"),
    );
    let Answered { text, stream } = answered(&microsoft(SrtpMode::Required), &offer);
    assert_eq!(line(&text, "m="), Some("m=audio 40000 RTP/SAVP 0 126"));
    assert_eq!(line(&text, "a=rtpmap:126"), Some("a=rtpmap:126 telephone-event/8000"));
    assert!(line(&text, "a=crypto:2 ").is_some());
    assert_eq!(stream.comfort_noise, None, "the other side takes no pauses");
    let pausing = Terms { comfort_noise: true, ..terms() };
    let Answered { text, stream } = answer(&microsoft(SrtpMode::Required), &mut local(1), &pausing, &offer).unwrap();
    assert_eq!(line(&text, "m="), Some("m=audio 40000 RTP/SAVP 0 13 126"));
    assert_eq!((line(&text, "a=rtpmap:13"), stream.comfort_noise), (Some("a=rtpmap:13 CN/8000"), Some(13)));
}

#[test]
fn the_best_suite_that_the_trunk_allows_is_taken() {
    let line = |tag: u32, suite: Suite| {
        let keys = Keys::cut(suite, &sdp::draw(&mut Random::test(7)));
        format!("a=crypto:{}\r\n", Crypto { tag, keys }.wire())
    };
    let offer = says(
        "m=audio 4000 RTP/SAVP 0",
        &(line(1, Suite::AeadAes256Gcm) + &line(2, Suite::Aes256CmHmacSha1_32) + &line(3, Suite::AeadAes128Gcm)),
    );
    for (allowed, taken) in [
        (&Suite::ALL[..], Some((2, Suite::Aes256CmHmacSha1_32))),
        (&[Suite::AeadAes128Gcm, Suite::AeadAes256Gcm], Some((3, Suite::AeadAes128Gcm))),
        (&[Suite::Aes128CmHmacSha1_80], None),
    ] {
        let policy = Policy { suites: Suites::new(allowed.iter().copied()), ..gateway(SrtpMode::Required) };
        let answered = answer(&policy, &mut local(1), &terms(), &offer);
        assert_eq!(answered.is_ok(), taken.is_some(), "{allowed:?}");
        let (Ok(Answered { text, stream }), Some((tag, suite))) = (answered, taken) else { continue };
        let srtp = stream.srtp.unwrap();
        assert_eq!([srtp.send.suite(), srtp.receive.suite()], [suite; 2]);
        assert!(line_of(&text).starts_with(&format!("a=crypto:{tag} {} inline:", suite.name())));
    }
    let policy = Policy { suites: Suites::new([Suite::AeadAes256Gcm]), ..gateway(SrtpMode::Required) };
    let offered = offer_of(&policy);
    assert!(line_of(&offered.text).starts_with("a=crypto:1 AEAD_AES_256_GCM inline:"));
    let stream = accept(&policy, &offered, &says("m=audio 4000 RTP/SAVP 0", &line(1, Suite::AeadAes256Gcm))).unwrap();
    assert_eq!(stream.srtp.unwrap().receive.suite(), Suite::AeadAes256Gcm);
}

fn line_of(text: &Text) -> &str {
    line(text, "a=crypto").unwrap()
}

fn offer_of(policy: &Policy) -> Offered {
    offer(policy, &mut local(1), &terms())
}

#[test]
fn opus_is_offered_with_events_on_its_own_clock() {
    let wide = Terms { codecs: Codec::ALL.to_vec(), comfort_noise: true, ..terms() };
    let offered = offer(&gateway(SrtpMode::NotSupported), &mut local(1), &wide);
    let said = lines(&offered.text);
    assert_eq!(said[5], "m=audio 40000 RTP/AVP 111 9 0 8 13 101 110");
    for expected in [
        "a=rtpmap:111 opus/48000/2",
        "a=fmtp:111 useinbandfec=1",
        "a=rtpmap:9 G722/8000",
        "a=rtpmap:13 CN/8000",
        "a=rtpmap:101 telephone-event/8000",
        "a=rtpmap:110 telephone-event/48000",
    ] {
        assert!(said.contains(&expected), "{expected}");
    }
    for (formats, events) in [
        ("110 101", TelephoneEvent { payload_type: 110, clock_rate: 48_000 }),
        ("101", TelephoneEvent { payload_type: 101, clock_rate: 8000 }),
    ] {
        let under = "a=rtpmap:111 OPUS/48000/2\r\na=fmtp:111 maxplaybackrate=16000; useinbandfec=1;usedtx=1;x\r\n\
                     a=rtpmap:110 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n";
        let answer = says(&format!("m=audio 4000 RTP/AVP 111 {formats}"), under);
        let stream = accept(&gateway(SrtpMode::NotSupported), &offered, &answer).unwrap();
        assert_eq!((stream.codec, stream.payload_type, stream.digits), (Codec::Opus, 111, Digits::Events(events)));
        let wishes = Opus { max_playback_rate: 16_000, fec: true, dtx: true, ..Opus::default() };
        assert_eq!(stream.opus, wishes);
    }
}

#[test]
fn a_number_that_the_peer_uses_for_something_else_is_left_to_it() {
    let siren = says(
        "m=audio 4000 RTP/AVP 111 104 101 9 0",
        "a=rtpmap:111 SIREN/16000\r\na=rtpmap:104 opus/48000/2\r\na=rtpmap:101 telephone-event/8000\r\n",
    );
    let policy = gateway(SrtpMode::NotSupported);
    let (mut ours, wide) = (local(1), Terms { codecs: Codec::ALL.to_vec(), ..terms() });
    let taken = answer(&policy, &mut ours, &wide, &siren).unwrap();
    assert_eq!(line(&taken.text, "m="), Some("m=audio 40000 RTP/AVP 104 101"));
    assert_eq!(line(&offer(&policy, &mut ours, &wide).text, "m="), Some("m=audio 40000 RTP/AVP 104 9 0 8 101 110"));

    let taken = says("m=audio 4000 RTP/AVP 111 110 0", "a=rtpmap:111 SIREN/16000\r\na=rtpmap:110 x-data/90000\r\n");
    let mut ours = local(1);
    answer(&policy, &mut ours, &wide, &taken).unwrap();
    assert_eq!(line(&offer(&policy, &mut ours, &wide).text, "m="), Some("m=audio 40000 RTP/AVP 127 9 0 8 101 126"));
}

#[test]
fn rtpengine_puts_our_suite_behind_six_others() {
    let others: String = (1..7).map(|tag| format!("a=crypto:{tag} AEAD_AES_256_GCM inline:{KEY}{KEY}\r\n")).collect();
    let offer = says("m=audio 30000 RTP/SAVP 0 101", &(others + &crypto(7, "")));
    assert!(line(&answered(&gateway(SrtpMode::Optional), &offer).text, "a=crypto:7 ").is_some());
}

#[test]
fn baresip_demands_srtp() {
    let offer = says("m=audio 30000 RTP/SAVP 0 8 101", &(crypto(1, "") + "a=rtpmap:101 telephone-event/8000\r\n"));
    for mode in [SrtpMode::Required, SrtpMode::Optional] {
        let Answered { text, stream } = answered(&gateway(mode), &offer);
        assert_eq!(line(&text, "m="), Some("m=audio 40000 RTP/SAVP 0 101"));
        assert!(stream.srtp.is_some());
    }
    let refusal = refused(&gateway(SrtpMode::NotSupported), &offer);
    assert_eq!((&refusal.reason, refusal.guilty()), (&Reason::EncryptionDemanded, Guilty::Us));
}

#[test]
fn encryption_by_table() {
    use SrtpMode::*;
    let (plain, both) = (String::new(), crypto(1, "|2^31|1:1") + &crypto(2, "|2^31"));
    let (mki, foreign) = (crypto(3, "|2^31|9:2"), "a=crypto:1 AEAD_AES_128_GCM inline:x\r\n".to_string());
    let required = both.clone() + "a=encryption:required\r\n";
    let rejected = both.clone() + "a=encryption:rejected\r\n";
    for (mode, proto, under, comes_to) in [
        (Required, "RTP/SAVP", &both, "RTP/SAVP crypto:2"),
        (Required, "RTP/AVP", &both, "RTP/SAVP crypto:2"),
        (Required, "RTP/AVPF", &both, "RTP/SAVPF crypto:2"),
        (Required, "RTP/SAVP", &mki, "RTP/SAVP crypto:3"),
        (Required, "RTP/AVP", &plain, "488 308"),
        (Required, "RTP/AVP", &foreign, "488 308"),
        (Required, "RTP/SAVP", &plain, "488 308"),
        (Required, "RTP/SAVP", &foreign, "488 308"),
        (Required, "RTP/AVP", &rejected, "488 308"),
        (Optional, "RTP/SAVP", &both, "RTP/SAVP crypto:2"),
        (Optional, "RTP/AVP", &both, "RTP/SAVP crypto:2"),
        (Optional, "RTP/AVP", &plain, "RTP/AVP"),
        (Optional, "RTP/AVPF", &plain, "RTP/AVPF"),
        (Optional, "RTP/AVP", &foreign, "RTP/AVP"),
        (Optional, "RTP/AVP", &rejected, "RTP/AVP"),
        (Optional, "RTP/AVP", &required, "RTP/SAVP crypto:2"),
        (Optional, "RTP/SAVP", &foreign, "488 308"),
        (NotSupported, "RTP/AVP", &both, "RTP/AVP"),
        (NotSupported, "RTP/AVP", &plain, "RTP/AVP"),
        (NotSupported, "RTP/AVP", &required, "488 308"),
        (NotSupported, "RTP/SAVP", &both, "488 308"),
        (Optional, "TCP/RTP/SAVP", &both, "488 302"),
        (Optional, "UDP/TLS/RTP/SAVP", &plain, "488 302"),
    ] {
        let offer = says(&format!("m=audio 4000 {proto} 0"), under);
        let got = match answer(&microsoft(mode), &mut local(1), &terms(), &offer) {
            Err(refusal) => format!("{} {}", refusal.status(), refusal.warning().unwrap().code),
            Ok(Answered { text, stream }) => {
                let key = line(&text, "a=crypto").map(|line| format!(" {}", &line[2..10])).unwrap_or_default();
                assert_eq!(stream.srtp.is_some(), !key.is_empty());
                line(&text, "m=").unwrap().split(' ').nth(2).unwrap().to_string() + &key
            }
        };
        assert_eq!(got, comes_to, "{mode:?} {proto} {under}");
    }
}

#[test]
fn the_only_line_has_an_mki() {
    let offer = says("m=audio 4000 RTP/SAVP 0", &crypto(4, "|2^31|1:1"));
    let Answered { text, stream } = answered(&microsoft(SrtpMode::Required), &offer);
    assert!(line(&text, "a=crypto:4 ").unwrap().ends_with("|2^31|1:1"), "the form is mirrored");
    let srtp = stream.srtp.unwrap();
    assert_eq!(srtp.send.mki(), srtp.receive.mki());
    assert!(srtp.send.mki().is_some());
}

#[test]
fn the_first_stream_that_can_be_spoken_is_taken() {
    let offer =
        says("m=audio 4000 RTP/SAVP 0", &(crypto(1, "") + "m=audio 4002 RTP/AVP 18\r\nm=audio 4004 RTP/AVP 0\r\n"));
    let Answered { text, stream } = answered(&gateway(SrtpMode::NotSupported), &offer);
    let media: Vec<_> = lines(&text).into_iter().filter(|line| line.starts_with("m=")).collect();
    assert_eq!(media, ["m=audio 0 RTP/SAVP 0", "m=audio 0 RTP/AVP 18", "m=audio 40000 RTP/AVP 0"]);
    assert_eq!(stream.remote.addresses().unwrap().rtp.port(), 4004);
}

#[test]
fn codecs_by_table() {
    use Codec::*;
    for (allowed, numbers, under, taken) in [
        (vec![Pcmu, Pcma], "8 0", "", Some((Pcmu, 0))),
        (vec![Pcma, Pcmu], "0 8", "", Some((Pcma, 8))),
        (vec![Pcma], "0 8", "", Some((Pcma, 8))),
        (vec![Pcmu], "8", "", None),
        (vec![Pcmu], "96", "a=rtpmap:96 pcmu/8000\r\n", Some((Pcmu, 96))),
        (vec![Pcmu], "0", "a=rtpmap:0 PCMU/16000\r\n", None),
        (vec![Pcmu, Pcma], "18 4", "", None),
    ] {
        let offer = says(&format!("m=audio 4000 RTP/AVP {numbers}"), under);
        let terms = Terms { codecs: allowed.clone(), ..terms() };
        let got = answer(&gateway(SrtpMode::Optional), &mut local(1), &terms, &offer).map(|answered| answered.stream);
        assert_eq!(got.map(|stream| (stream.codec, stream.payload_type)).ok(), taken, "{allowed:?} {numbers}");
    }
    let peers_order = says("m=audio 4000 RTP/AVP 18 8 0", "");
    let wish = wish(&gateway(SrtpMode::Optional), &peers_order).unwrap();
    assert_eq!(wish.codecs, [Pcma, Pcmu]);
}

#[test]
fn events_are_answered_with_the_peers_number_or_not_at_all() {
    let offer = says(
        "m=audio 4000 RTP/AVP 0 97 98",
        "a=rtpmap:97 telephone-event/16000\r\na=rtpmap:98 telephone-event/8000\r\n",
    );
    let policy = gateway(SrtpMode::NotSupported);
    let Answered { text, stream } = answered(&policy, &offer);
    assert_eq!(stream.digits, events(98));
    assert_eq!(line(&text, "a=fmtp"), Some("a=fmtp:98 0-16"));
    let without = Terms { telephone_event: false, ..terms() };
    let Answered { text, stream } = answer(&policy, &mut local(1), &without, &offer).unwrap();
    assert_eq!((stream.digits, line(&text, "m=")), (Digits::Tones, Some("m=audio 40000 RTP/AVP 0")));
    assert_eq!(answered(&policy, &says("m=audio 4000 RTP/AVP 0 101", "")).stream.digits, Digits::Tones);
}

#[test]
fn forms_of_hold_by_table() {
    use Direction::*;
    let zero = "c=IN IP4 0.0.0.0\r\n";
    for (under, wanted, gateways, microsofts) in [
        ("a=sendrecv\r\n".to_string(), SendRecv, SendRecv, SendRecv),
        (String::new(), SendRecv, SendRecv, SendRecv),
        ("a=sendonly\r\n".into(), RecvOnly, RecvOnly, Inactive),
        ("a=recvonly\r\n".into(), SendOnly, SendOnly, Inactive),
        ("a=inactive\r\n".into(), Inactive, Inactive, Inactive),
        (zero.into(), RecvOnly, RecvOnly, Inactive),
        (format!("{zero}a=recvonly\r\n"), Inactive, Inactive, Inactive),
    ] {
        let offer = says("m=audio 4000 RTP/AVP 0", &under);
        let mode = SrtpMode::Optional;
        assert_eq!(wish(&gateway(mode), &offer).unwrap().direction, wanted, "{under}");
        for (policy, direction) in [(gateway(mode), gateways), (microsoft(mode), microsofts)] {
            let Answered { text, stream } = answered(&policy, &offer);
            assert_eq!(stream.direction, direction, "{policy:?} {under}");
            assert_eq!(lines(&text).last(), Some(&format!("a={}", direction.attribute()).as_str()));
        }
    }
}

#[test]
fn a_held_side_keeps_what_the_terms_allow() {
    let offer = says("m=audio 4000 RTP/AVP 0", "a=sendonly\r\n");
    let terms = Terms { direction: Direction::SendOnly, ..terms() };
    let held = answer(&gateway(SrtpMode::Optional), &mut local(1), &terms, &offer).unwrap();
    assert_eq!(held.stream.direction, Direction::Inactive);
}

#[test]
fn a_call_that_hears_nothing_is_watched_by_the_switch_for_held_calls() {
    for (under, live, held, watched) in [
        ("", true, false, true),
        ("", false, true, false),
        ("a=recvonly\r\n", true, false, false),
        ("a=recvonly\r\n", false, true, true),
        ("a=sendonly\r\n", true, false, true),
        ("a=inactive\r\n", false, true, true),
    ] {
        let policy = Policy { watch_live: live, watch_held: held, ..gateway(SrtpMode::Optional) };
        let stream = answered(&policy, &says("m=audio 4000 RTP/AVP 0", under)).stream;
        assert_eq!(stream.watch.is_some(), watched, "{under} {live} {held}");
    }
}

#[test]
fn a_static_number_is_not_taken_over_for_events() {
    let (policy, mut local) = (gateway(SrtpMode::NotSupported), local(1));
    let odd = says("m=audio 4000 RTP/AVP 0 8", "a=rtpmap:8 telephone-event/8000\r\n");
    answer(&policy, &mut local, &terms(), &odd).unwrap();
    assert_eq!(line(&offer(&policy, &mut local, &terms()).text, "m="), Some("m=audio 40000 RTP/AVP 0 8 101"));
}

// --- what we refuse ---

#[test]
fn refusals_by_table() {
    let any = gateway(SrtpMode::Optional);
    let audio = "m=audio 4000 RTP/AVP 0";
    for (offer, warning, why) in [
        (says("m=video 4000 RTP/AVP 34", ""), 304, "the gateway offers no audio stream"),
        (says("m=audio 0 RTP/AVP 0", ""), 304, "the gateway offers no audio stream"),
        (
            says("m=audio 4000 RTP/AVP 18 4 101", "a=rtpmap:101 telephone-event/8000\r\n"),
            305,
            "the gateway offers no codec that may be used: offered G729 G723; allowed PCMU PCMA",
        ),
        (
            says(audio, "c=IN IP4 gw.example.com\r\n"),
            301,
            "the gateway cannot be sent media: it names a host instead of an address for its media",
        ),
        (
            says(audio, "c=IN IP6 2001:db8::1\r\n"),
            301,
            "the gateway cannot be sent media: its media address is of another IP version than ours",
        ),
        (
            says(audio, "c=IN IP4 224.1.1.1/16\r\n"),
            330,
            "the gateway cannot be sent media: its media address is a multicast or broadcast address",
        ),
        (
            says("m=audio 4000 TCP/RTP/AVP 0", ""),
            302,
            "the gateway offers media over TCP/RTP/AVP; only RTP over UDP is spoken",
        ),
        (
            says("m=audio 4000 RTP/SAVP 0", "a=crypto:1 AEAD_AES_128_GCM inline:x\r\n"),
            308,
            "the gateway offers no usable SRTP key: offered AEAD_AES_128_GCM; allowed AES_CM_128_HMAC_SHA1_80 \
             AES_CM_128_HMAC_SHA1_32 AES_256_CM_HMAC_SHA1_80 AES_256_CM_HMAC_SHA1_32 AEAD_AES_128_GCM AEAD_AES_256_GCM",
        ),
    ] {
        let refusal = refused(&any, &offer);
        assert_eq!(refusal.to_string(), why);
        assert_eq!((refusal.status(), refusal.warning().unwrap().code), (488, warning), "{why}");
        let release = refusal.release();
        assert_eq!((release.final_status(), release.guilty), (488, Guilty::Peer));
    }
}

#[test]
fn encryption_levels_in_microsofts_words() {
    let refusal = refused(&microsoft(SrtpMode::Required), &says("m=audio 4000 RTP/AVP 0", ""));
    assert_eq!(refusal.to_string(), "the Microsoft side offers plain media only; SRTPMode Required asks for SRTP");
    let warning = refusal.warning().unwrap().header("demarc.example.com");
    assert_eq!(warning, "308 lcs.microsoft.com \"Encryption Levels not compatible\"");
    assert_eq!(refusal.diagnostics().number, 52017);
    let other = refused(&microsoft(SrtpMode::Optional), &says("m=audio 4000 RTP/AVP 18", ""));
    assert_eq!(
        other.warning().unwrap().header("demarc.example.com"),
        "305 demarc.example.com \"Incompatible media format\""
    );
    assert_eq!(other.diagnostics().number, 52063);
}

#[test]
fn an_unreadable_offer_is_a_bad_request() {
    let refusal = microsoft(SrtpMode::Required).read(Said::Offer, b"hello").unwrap_err();
    assert_eq!((refusal.status(), refusal.warning()), (400, None));
    assert!(refusal.to_string().starts_with("the Microsoft side's session description cannot be read: "));
}

#[test]
fn a_refusal_repeats_no_more_than_a_line_can_hold() {
    let long = "X".repeat(5_000);
    let numbers: String = (64..127).map(|number| format!(" {number}")).collect();
    let maps: String = (64..127).map(|number| format!("a=rtpmap:{number} {long}/1\r\n")).take(10).collect();
    let why =
        refused(&gateway(SrtpMode::Optional), &says(&format!("m=audio 4000 RTP/AVP{numbers}"), &maps)).to_string();
    assert!(why.len() < 700, "{}", why.len());
    let version = format!("v=\u{1b}[31m{long}");
    let why = gateway(SrtpMode::Optional).read(Said::Answer, version.as_bytes()).unwrap_err().to_string();
    assert!(why.len() < 200 && !why.contains('\u{1b}'), "{why}");
}

// --- what we accept ---

#[test]
fn answers_that_misbehave() {
    use SrtpMode::*;
    let suite = "a=crypto:1 AES_CM_128_HMAC_SHA1_32 inline:x\r\n".to_string();
    for (mode, line, under, why) in [
        (
            Required,
            "m=audio 4000 RTP/AVP 0",
            crypto(1, ""),
            "the gateway answers with RTP/AVP, which the offer did not allow",
        ),
        (
            NotSupported,
            "m=audio 4000 RTP/SAVP 0",
            crypto(1, ""),
            "the gateway answers with RTP/SAVP, which the offer did not allow",
        ),
        (
            Required,
            "m=audio 4000 RTP/SAVP 0",
            crypto(2, ""),
            "the gateway answers with crypto line 2, which was not offered",
        ),
        (
            Optional,
            "m=audio 4000 RTP/SAVP 0",
            crypto(2, ""),
            "the gateway answers with crypto line 2, which was not offered",
        ),
        (
            Required,
            "m=audio 4000 RTP/SAVP 0",
            suite,
            "the gateway answers with no usable SRTP key: answered AES_CM_128_HMAC_SHA1_32; allowed AES_CM_128_HMAC_SHA1_80",
        ),
        (
            Required,
            "m=audio 4000 RTP/SAVP 0",
            String::new(),
            "the gateway answers with no usable SRTP key: answered none; allowed AES_CM_128_HMAC_SHA1_80",
        ),
        (
            NotSupported,
            "m=audio 4000 RTP/AVP 9 18",
            String::new(),
            "the gateway answers with no codec that may be used: answered G722 G729; allowed PCMU PCMA",
        ),
        (NotSupported, "m=audio 0 RTP/AVP 0", String::new(), "the gateway answers with no audio stream"),
        (NotSupported, "m=video 4000 RTP/AVP 0", String::new(), "the gateway answers with no audio stream"),
        (
            NotSupported,
            "m=audio 4000 UDP/TLS/RTP/SAVP 0",
            String::new(),
            "the gateway answers with media over UDP/TLS/RTP/SAVP; only RTP over UDP is spoken",
        ),
    ] {
        let policy = gateway(mode);
        let offered = offer(&policy, &mut local(1), &terms());
        let refusal = accept(&policy, &offered, &says(line, &under)).unwrap_err();
        assert_eq!(refusal.to_string(), why);
        assert_eq!((refusal.release().final_status(), refusal.guilty()), (502, Guilty::Peer), "{why}");
    }
}

#[test]
fn answers_that_are_taken() {
    use SrtpMode::*;
    let mki = crypto(1, "|2^31|1:1");
    for (mode, line, under, secure) in [
        (Required, "m=audio 4000 RTP/SAVP 0", &mki, true),
        (Optional, "m=audio 4000 RTP/SAVP 0", &mki, true),
        (Optional, "m=audio 4000 RTP/AVP 0", &mki, true),
        (Optional, "m=audio 4000 RTP/AVP 0", &String::new(), false),
        (NotSupported, "m=audio 4000 RTP/AVP 0", &mki, false),
    ] {
        let policy = microsoft(mode);
        let mut local = local(1);
        let offered = offer(&policy, &mut local, &terms());
        let stream = accept(&policy, &offered, &says(line, under)).unwrap();
        assert_eq!(stream.srtp.is_some(), secure, "{mode:?} {line}");
        if let Some(srtp) = stream.srtp {
            assert_eq!((srtp.send.octets(), srtp.send.mki()), (&local.material.secret.0[..30], None), "we said no MKI");
            assert!(srtp.receive.mki().is_some(), "the peer did");
        }
    }
}

#[test]
fn only_what_was_offered_is_taken_from_an_answer() {
    let policy = gateway(SrtpMode::NotSupported);
    let narrow = Terms { codecs: vec![Codec::Pcma], telephone_event: false, ..terms() };
    let offered = offer(&policy, &mut local(1), &narrow);
    let answer =
        says("m=audio 4000 RTP/AVP 0 8 101", "a=rtpmap:101 telephone-event/8000\r\na=ptime:30\r\na=recvonly\r\n");
    let stream = accept(&policy, &offered, &answer).unwrap();
    assert_eq!((stream.codec, stream.digits, stream.ptime_ms), (Codec::Pcma, Digits::Tones, 30));
    assert_eq!(stream.direction, Direction::SendOnly);
    let refused = says("m=audio 4000 RTP/AVP 0", "");
    assert!(accept(&policy, &offered, &refused).is_err());
}

// --- keys of ours ---

/// What a peer says that would have this suite, or plain media.
fn secured(suite: Option<Suite>) -> Description {
    let crypto = suite.map(|suite| Crypto { tag: 1, keys: Keys::cut(suite, &Secret([5; Keys::LONGEST])) });
    let under = crypto.map(|crypto| format!("a=crypto:{}\r\n", crypto.wire())).unwrap_or_default();
    says("m=audio 4000 RTP/AVP 0", &under)
}

#[test]
fn a_key_of_ours_starts_once() {
    const LONG: Option<Suite> = Some(Suite::Aes128CmHmacSha1_80);
    const SHORT: Option<Suite> = Some(Suite::Aes128CmHmacSha1_32);
    const GCM: Option<Suite> = Some(Suite::AeadAes256Gcm);
    let policy = gateway(SrtpMode::Optional);
    // Each offer of the peer's, and the number of our key in the answer.
    for ladder in [
        &[(LONG, 1), (LONG, 1), (SHORT, 2), (SHORT, 2), (LONG, 3), (GCM, 4), (LONG, 5)][..],
        &[(LONG, 1), (None, 0), (None, 0), (LONG, 2), (LONG, 2), (None, 0), (GCM, 3)],
        &[(None, 0), (GCM, 1), (GCM, 1)],
    ] {
        let (mut local, mut known) = (local(1), vec![]);
        for (step, (suite, number)) in ladder.iter().enumerate() {
            let answered = answer(&policy, &mut local, &terms(), &secured(*suite)).unwrap();
            let send = answered.stream.srtp.map(|srtp| srtp.send);
            assert_eq!(read(&answered.text).audio().next().unwrap().crypto().next().map(|line| line.keys), send);
            assert_eq!(send.map(|keys| keys.suite()), *suite);
            // What is cut for one suite begins as what is cut for another.
            let master = send.map(|keys| keys.octets()[..16].to_vec());
            if master.is_some() && !known.contains(&master) {
                known.push(master.clone());
            }
            let at = known.iter().position(|known| *known == master).map_or(0, |at| at + 1);
            assert_eq!(at, *number, "step {step} of {ladder:?}");
        }
    }
}

#[test]
fn a_key_that_was_offered_only_may_be_offered_again() {
    let policy = gateway(SrtpMode::Optional);
    let (mut local, wide) = (local(1), Some(Suite::Aes128CmHmacSha1_80));
    let keys = |local: &mut Local, answer: Option<Description>| {
        let offered = offer(&policy, local, &terms());
        if let Some(answer) = answer {
            local.accepted(&accept(&policy, &offered, &answer).unwrap());
        }
        offered.keys.unwrap()
    };
    let first = keys(&mut local, None);
    assert_eq!(keys(&mut local, Some(secured(None))), first, "refused");
    assert_eq!(keys(&mut local, Some(secured(wide))), first, "answered with plain media");
    assert_eq!(keys(&mut local, None), first, "in use");
    assert_eq!(keys(&mut local, Some(secured(None))), first, "still in use");
    let second = keys(&mut local, Some(secured(wide)));
    assert_ne!(second.key(), first.key(), "no more in use");
    let short = answer(&policy, &mut local, &terms(), &secured(Some(Suite::Aes128CmHmacSha1_32))).unwrap();
    let third = short.stream.srtp.unwrap().send;
    assert!(![first.key(), second.key()].contains(&third.key()));
    assert_eq!(keys(&mut local, None), third, "we offer the suite that is spoken");
}

// --- both together ---

#[test]
fn whatever_one_policy_answers_the_other_accepts() {
    use Direction::*;
    let modes = [SrtpMode::Required, SrtpMode::Optional, SrtpMode::NotSupported];
    let dialects = [Dialect::Microsoft, Dialect::Gateway];
    let policies: Vec<_> = modes.iter().flat_map(|mode| dialects.map(|dialect| policy(dialect, *mode))).collect();
    let mut agreed = 0;
    for asking in &policies {
        for asked in &policies {
            for (there, here) in
                [SendRecv, SendOnly, RecvOnly, Inactive].map(|d| [(d, SendRecv), (SendRecv, d)]).concat()
            {
                let offered = offer(asking, &mut local(1), &Terms { direction: there, ..terms() });
                let allowed = Terms { local: "10.0.0.2:50000".parse().unwrap(), direction: here, ..terms() };
                let got = answer(asked, &mut local(2), &allowed, &read(&offered.text));
                let compatible = !matches!(
                    (asking.srtp, asked.srtp),
                    (SrtpMode::Required, SrtpMode::NotSupported) | (SrtpMode::NotSupported, SrtpMode::Required)
                );
                assert_eq!(got.is_ok(), compatible, "{asking:?} {asked:?}");
                let Ok(Answered { text, stream: theirs }) = got else { continue };
                let ours = accept(asking, &offered, &read(&text)).unwrap();
                agreed += 1;
                assert_eq!(ours.direction, theirs.direction.reversed());
                assert_eq!(ours.codec, theirs.codec);
                assert_eq!(ours.digits, theirs.digits);
                assert_eq!(
                    ours.srtp.map(|srtp| (srtp.send, srtp.receive)),
                    theirs.srtp.map(|srtp| (srtp.receive, srtp.send))
                );
                let expected = asking.srtp != SrtpMode::NotSupported && asked.srtp != SrtpMode::NotSupported;
                assert_eq!(ours.srtp.is_some(), expected, "encrypted wherever both can");
                assert_eq!(
                    (ours.remote.addresses().unwrap().rtp, theirs.remote.addresses().unwrap().rtp),
                    (allowed.local, terms().local)
                );
            }
        }
    }
    assert_eq!(agreed, (36 - 8) * 8);
}

#[test]
fn no_key_prints() {
    let policy = microsoft(SrtpMode::Required);
    let mut local = local(1);
    let offered = offer(&policy, &mut local, &terms());
    let answered = answered(&policy, &read(&offered.text));
    let key = |text: &Text| line(text, "a=crypto").unwrap().split(':').nth(2).unwrap()[..40].to_string();
    let shown = format!("{local:?} {offered:?} {answered:?} {:?}", read(&answered.text));
    assert!(!shown.contains(&key(&offered.text)) && !shown.contains(&key(&answered.text)));
}

#[test]
fn a_policy_without_tls_knows_no_keys() {
    use crate::config::{Peers, Switches};
    let trunk = Trunk {
        id: crate::hop::TrunkId(1),
        name: "Gateway1".into(),
        kind: TrunkKind::Gateway,
        own_host: "demarc.example.com".into(),
        own_port: 5067,
        hops: Vec::new(),
        spans: Vec::new(),
        line_transfer: false,
        peers: Peers::default(),
        srtp: SrtpMode::Required,
        suites: Suites::new(Suite::ALL),
        codecs: Codec::ALL.to_vec(),
        switches: Switches {
            enable_refer_support: false,
            accept_refer: false,
            enable_fast_failover_timer: true,
            fast_failover_timeout: Duration::from_secs(10),
            forward_call_history: false,
            forward_pai: false,
            enable_session_timer: false,
            enable_rtp_latching: true,
            rtcp_active_calls: true,
            rtcp_calls_on_hold: false,
            max_early_dialogs: 20,
            remove_plus_from_uri: false,
            enable_100rel: false,
            dtmf: crate::config::Dtmf::Auto,
            options_interval: Duration::from_secs(60),
        },
        refusals: Vec::new(),
        max_calls: None,
        voices: Default::default(),
    };
    assert_eq!(Policy::of(&trunk, true), Policy { latch: true, ..gateway(SrtpMode::Required) });
    assert_eq!(Policy::of(&trunk, false), Policy { latch: true, ..gateway(SrtpMode::NotSupported) });
    let lync = Trunk { kind: TrunkKind::Microsoft(Generation::Teams), ..trunk };
    assert_eq!(Policy::of(&lync, true), Policy { latch: true, ..teams() });
    let lync = Trunk { kind: TrunkKind::Microsoft(Generation::Sfb2019), ..lync };
    assert!(!Policy::of(&lync, true).ice, "Lync answers by an early draft");
}

#[test]
fn no_offer_makes_it_fall_over() {
    let mut random = Random::test(9);
    let words = [
        "RTP/AVP",
        "RTP/SAVP",
        "0",
        "8",
        "65535",
        "101",
        "a=rtpmap:",
        "a=crypto:",
        "a=tcap:1",
        "a=pcfg:1 t=1",
        "c=IN IP4 ",
        "m=audio ",
        "\r\n",
        " ",
        "inline:",
        "|2^31",
        "1:1",
        "a=rtcp:",
        "PCMU/8000",
        "0.0.0.0",
        "-1",
        "a=ptime:",
    ];
    let base = offer(&Policy { ice: true, ..microsoft(SrtpMode::Optional) }, &mut local(1), &terms());
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..4_000 {
        let mut text = base.text.wire().to_string();
        for _ in 0..=random.below(6) {
            let at = random.below(text.len() as u64 + 1) as usize;
            let until = (at + random.below(4) as usize).min(text.len());
            text.replace_range(at..until, words[random.below(words.len() as u64) as usize]);
        }
        let text = if random.below(2) == 0 { text.replace("a=ice-lite", "a=x") } else { text };
        for policy in [teams(), microsoft(SrtpMode::Required), gateway(SrtpMode::Optional)] {
            let Ok(peer) = policy.read(Said::Offer, text.as_bytes()) else { continue };
            let _ = wish(&policy, &peer);
            match answer(&policy, &mut local(2), &terms(), &peer) {
                Ok(answered) => {
                    taken += 1;
                    assert!(Description::parse(answered.text.wire().as_bytes()).is_ok(), "ours can always be read");
                }
                Err(refusal) => {
                    refused += 1;
                    let _ = (refusal.release(), refusal.warning());
                }
            }
            let _ = accept(&policy, &base, &peer);
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} {refused}");
}
