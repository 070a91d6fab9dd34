//! Descriptions as real peers write them, and what must be read from each.

use super::*;
use crate::random::Random;

const KEY: &str = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";

/// The mediation server of Skype for Business with SRTPMode Optional, putting a call on hold.
fn mediation_server() -> String {
    format!(
        "v=0\r\no=- 61 1 IN IP4 10.1.1.5\r\ns=session\r\nc=IN IP4 10.1.1.5\r\nb=CT:1000\r\nt=0 0\r\n\
         m=audio 53018 RTP/AVP 8 101\r\na=tcap:1 RTP/SAVP\r\na=pcfg:1 t=1\r\nc=IN IP4 10.1.1.5\r\n\
         a=rtcp:53019\r\na=label:Audio\r\n\
         a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31|2:1\r\n\
         a=crypto:2 AES_CM_128_HMAC_SHA1_80 inline:{KEY}|2^31\r\n\
         a=inactive\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n"
    )
}

/// The Skype for Business client.
const CLIENT: &str = "v=0\r\no=- 0 0 IN IP4 10.2.0.9\r\ns=session\r\nc=IN IP4 10.2.0.9\r\nb=CT:99980\r\nt=0 0\r\n\
    a=x-devicecaps:audio:send,recv;video:send,recv\r\n\
    m=audio 5370 RTP/AVP 104 114 9 112 111 0 8 103 116 115 97 13 118 119 101\r\n\
    a=x-ssrc-range:1-100\r\na=rtcp-fb:* x-message app send:dsh recv:dsh\r\na=rtcp-rsize\r\na=label:main-audio\r\n\
    a=x-source:main-audio\r\na=ice-ufrag:oKSs\r\na=ice-pwd:dJXyyFHdCBdUnU0pCKqXd1vR\r\n\
    a=candidate:1 1 UDP 2130706431 10.2.0.9 5370 typ host\r\n\
    a=candidate:cCt8Y3 1 zqLrM6 UDP 0.830 10.1.2.3 50104\r\na=x-candidate-ipv6:1 1 UDP 1 ::1 5370 typ host\r\n\
    a=maxptime:200\r\na=rtcp:5371\r\na=rtcp-mux\r\na=x-bypassid:7a2b\r\n\
    a=rtpmap:104 SILK/16000\r\na=fmtp:104 useinbandfec=1; usedtx=0\r\na=rtpmap:114 x-msrta/16000\r\n\
    a=rtpmap:9 G722/8000\r\na=rtpmap:112 G7221/16000\r\na=rtpmap:111 SIREN/16000\r\na=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:8 PCMA/8000\r\na=rtpmap:103 SILK/8000\r\na=rtpmap:116 AAL2-G726-32/8000\r\na=rtpmap:115 x-msrta/8000\r\n\
    a=rtpmap:97 RED/8000\r\na=rtpmap:13 CN/8000\r\na=rtpmap:118 CN/16000\r\na=rtpmap:119 CN/24000\r\n\
    a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\n\
    m=video 5372 RTP/AVP 122\r\na=rtpmap:122 X-H264UC/90000\r\n";

fn read(text: &str) -> Description {
    Description::parse(text.as_bytes()).unwrap()
}

/// One audio line with what stands under it.
fn audio(under: &str) -> String {
    format!("v=0\no=- 1 1 IN IP4 10.0.0.1\ns=-\nc=IN IP4 10.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 0\n{under}")
}

fn first(text: &str, look: impl FnOnce(Audio<'_>)) {
    look(read(text).audio().next().unwrap());
}

#[test]
fn the_mediation_server_is_read_whole() {
    first(&mediation_server(), |audio| {
        assert_eq!(audio.rtp().unwrap().to_string(), "10.1.1.5:53018");
        assert_eq!(audio.rtcp().unwrap().to_string(), "10.1.1.5:53019");
        assert_eq!(audio.profile(), Some(Profile { secure: false, feedback: false }));
        assert_eq!(audio.direction(), Direction::Inactive);
        assert_eq!(audio.secure_configuration().as_deref(), Some("1 t=1"));
        let lines: Vec<_> = audio.crypto().map(|line| (line.tag, line.keys.mki().map(|mki| mki.value))).collect();
        assert_eq!(lines, [(1, Some(2)), (2, None)]);
        let names: Vec<_> = audio.formats().map(|format| format.to_string()).collect();
        assert_eq!(names, ["PCMA", "telephone-event"]);
        assert_eq!(audio.ptime_ms(), Some(20));
        assert!(!audio.rtcp_mux());
    });
}

#[test]
fn the_clients_formats_go_by_name() {
    first(CLIENT, |audio| {
        let named = |name| audio.formats().find(|format| format.is(name, 8000)).map(|format| format.payload_type);
        assert_eq!(named("pcmu"), Some(0));
        assert_eq!(named("PCMA"), Some(8));
        assert_eq!(named("telephone-event"), Some(101));
        assert_eq!(named("CN"), Some(13));
        assert_eq!(named("SILK"), Some(103));
        assert_eq!(audio.formats().next().unwrap().to_string(), "SILK/16000");
        assert!(audio.rtcp_mux());
    });
    let both = read(CLIENT);
    let lines: Vec<_> = both.lines().map(|line| (line.media, line.proto, line.formats)).collect();
    assert_eq!(lines[1], ("video", "RTP/AVP", "122"));
}

#[test]
fn a_number_may_mean_something_else_than_the_table_says() {
    let remapped =
        "v=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 96 0 8\na=rtpmap:96 PCMU/8000/1\na=rtpmap:8 L16/44100/2\n";
    first(remapped, |audio| {
        let read: Vec<_> = audio.formats().map(|f| (f.payload_type, f.is("PCMU", 8000), f.is("PCMA", 8000))).collect();
        assert_eq!(read, [(96, true, false), (0, true, false), (8, false, false)]);
    });
}

#[test]
fn variants_that_break_other_parsers() {
    let whole = mediation_server();
    for (what, text) in [
        ("LF only", whole.replace("\r\n", "\n")),
        ("CR only", whole.replace("\r\n", "\r")),
        ("no t=", whole.replace("t=0 0\r\n", "")),
        ("no o=", whole.replace("o=- 61 1 IN IP4 10.1.1.5\r\n", "")),
        ("s= is a blank", whole.replace("s=session", "s= ")),
        ("no s=", whole.replace("s=session\r\n", "")),
        (
            "unknown attributes",
            whole.replace("a=ptime", "a=x-ssrc-range:1-9\r\na=feature:MoH\r\na=remote-candidate:x\r\na=ptime"),
        ),
        (
            "an old candidate",
            whole.replace("a=ptime", "a=candidate:cCt8Y3 1 zqLrM6 UDP 0.830 10.1.2.3 50104\r\na=ptime"),
        ),
        ("another MKI", whole.replace("|2^31|2:1", "|2^31|99:4")),
        ("an unused stream of data", whole.clone() + "m=application 0 TCP/SAVP x-data\r\n"),
        ("not UTF-8", whole.replace("s=session", "s=caf\u{e9}")),
        ("an empty line at the end", whole.clone() + "\r\n"),
        ("blanks at line ends", whole.replace("a=inactive", "a=inactive ").replace("a=ptime:20", "a=ptime:20 ")),
    ] {
        let octets: Vec<u8> = text.chars().map(|c| c as u8).collect();
        let description = Description::parse(&octets).unwrap_or_else(|error| panic!("{what}: {error}"));
        let audio = description.audio().next().unwrap();
        assert_eq!(audio.rtp().unwrap().to_string(), "10.1.1.5:53018", "{what}");
        assert_eq!(audio.direction(), Direction::Inactive, "{what}");
        assert_eq!(audio.crypto().count(), 2, "{what}");
        assert_eq!(audio.ptime_ms(), Some(20), "{what}");
    }
}

#[test]
fn addresses_by_table() {
    let with = |c: &str, port: &str| format!("v=0\nc=IN IP4 10.0.0.1\nm=audio {port} RTP/AVP 0\n{c}");
    for (text, rtp) in [
        (with("", "4000"), Ok("10.0.0.1:4000")),
        (with("c=IN IP4 10.0.0.2\n", "4000"), Ok("10.0.0.2:4000")),
        (with("c=IN IP6 2001:db8::1\n", "4000"), Ok("[2001:db8::1]:4000")),
        (with("c=IN IP4 0.0.0.0\n", "4000"), Ok("0.0.0.0:4000")),
        (with("c=IN IP4 gateway.example.com\n", "4000"), Err(AddressFault::Name)),
        (with("c=IN IP4 224.2.1.1/127\n", "4000"), Err(AddressFault::Multicast)),
        (with("c=IN IP4 255.255.255.255\n", "4000"), Err(AddressFault::Multicast)),
        (with("", "4000/2"), Ok("10.0.0.1:4000")),
        ("v=0\nm=audio 4000 RTP/AVP 0\n".into(), Err(AddressFault::Missing)),
    ] {
        first(&text, |audio| assert_eq!(audio.rtp().map(|rtp| rtp.to_string()), rtp.map(String::from), "{text}"));
    }
}

#[test]
fn rtcp_by_table() {
    for (under, rtcp) in [
        ("", "10.0.0.1:4001"),
        ("a=rtcp:5001\n", "10.0.0.1:5001"),
        ("a=rtcp:5001 IN IP4 10.0.0.9\n", "10.0.0.9:5001"),
        ("a=rtcp:5001 IN IP4 host.example.com\n", "10.0.0.1:5001"),
        ("a=rtcp:0\n", "10.0.0.1:4001"),
        ("a=rtcp:x\n", "10.0.0.1:4001"),
        ("a=rtcp\n", "10.0.0.1:4001"),
    ] {
        first(&audio(under), |audio| assert_eq!(audio.rtcp().unwrap().to_string(), rtcp, "{under}"));
    }
    first("v=0\nc=IN IP4 10.0.0.1\nm=audio 65535 RTP/AVP 0\n", |audio| assert_eq!(audio.rtcp().unwrap().port(), 65535));
}

#[test]
fn directions_by_table() {
    for (under, direction) in [
        ("", Direction::SendRecv),
        ("a=sendonly\n", Direction::SendOnly),
        ("a=recvonly\n", Direction::RecvOnly),
        ("a=inactive\n", Direction::Inactive),
        ("a=INACTIVE\n", Direction::Inactive),
        ("a=hold\n", Direction::SendRecv),
    ] {
        first(&audio(under), |audio| assert_eq!(audio.direction(), direction, "{under}"));
    }
    let session_level = audio("").replace("t=0 0", "t=0 0\na=recvonly");
    first(&session_level, |audio| assert_eq!(audio.direction(), Direction::RecvOnly));
    first(&(session_level + "a=sendrecv\n"), |audio| assert_eq!(audio.direction(), Direction::SendRecv));
}

#[test]
fn potential_configurations_by_table() {
    for (under, chosen) in [
        ("a=tcap:1 RTP/SAVP\na=pcfg:1 t=1\n", Some("1 t=1")),
        ("a=tcap:4 RTP/SAVPF RTP/SAVP\na=pcfg:3 t=4|5\n", Some("3 t=5")),
        ("a=tcap:1 RTP/AVPF\na=pcfg:1 t=1\na=tcap:2 RTP/SAVP\na=pcfg:2 t=2\n", Some("2 t=2")),
        ("a=tcap:1 RTP/SAVP\na=acap:1 crypto:1 x\na=pcfg:1 t=1 a=1\n", None),
        ("a=tcap:1 RTP/SAVP\n", None),
        ("a=pcfg:1 t=1\n", None),
        ("a=tcap:2 RTP/SAVP\na=pcfg:1 t=1\n", None),
        ("a=tcap:x\na=tcap\na=pcfg:1\na=pcfg:1 t=\na=pcfg:x t=1\n", None),
    ] {
        first(&audio(under), |audio| assert_eq!(audio.secure_configuration().as_deref(), chosen, "{under}"));
    }
    let session_level = audio("a=pcfg:1 t=1\n").replace("t=0 0", "t=0 0\na=tcap:1 RTP/SAVP");
    first(&session_level, |audio| assert_eq!(audio.secure_configuration().as_deref(), Some("1 t=1")));
}

#[test]
fn ptime_and_encryption_by_table() {
    for (under, ptime) in [("", None), ("a=ptime:30\n", Some(30)), ("a=ptime:0\n", None), ("a=ptime:900\n", None)] {
        first(&audio(under), |audio| assert_eq!(audio.ptime_ms(), ptime, "{under}"));
    }
    for (under, encryption) in [
        ("", None),
        ("a=encryption:required\n", Some(Encryption::Required)),
        ("a=encryption:optional\n", Some(Encryption::Optional)),
        ("a=encryption:rejected\n", Some(Encryption::Rejected)),
        ("a=encryption:maybe\n", None),
    ] {
        first(&audio(under), |audio| assert_eq!(audio.encryption(), encryption, "{under}"));
    }
}

#[test]
fn unused_streams_are_passed_over_but_counted() {
    let text = audio("").replace("m=audio 4000", "m=audio 0 RTP/AVP 0\nm=video 3000 RTP/AVP 34\nm=AUDIO 4000");
    let description = read(&text);
    let used: Vec<_> = description.audio().map(|audio| audio.index).collect();
    assert_eq!(used, [2]);
    assert_eq!(description.lines().len(), 3);
    assert!(description.audio_at(0).is_none() && description.audio_at(9).is_none());
}

#[test]
fn a_repeated_description_says_the_same_whatever_its_version() {
    let one = read(&mediation_server());
    let counted = read(&mediation_server().replace("o=- 61 1", "o=- 61 2"));
    let resumed = read(&mediation_server().replace("a=inactive", "a=sendrecv"));
    let moved = read(&mediation_server().replace("audio 53018", "audio 53020"));
    assert!(counted.says_the_same_as(&one));
    assert!(!resumed.says_the_same_as(&one));
    assert!(!moved.says_the_same_as(&one));
}

#[test]
fn no_key_reaches_a_log() {
    let text = mediation_server() + "k=base64:abcdef\r\n";
    let shown = redacted(&text);
    assert!(!shown.contains(KEY) && !shown.contains("abcdef"));
    assert!(shown.contains("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:(secret)|2^31|2:1\r\n"));
    assert!(shown.ends_with("k=(secret)\r\n"));
    assert_eq!(
        redacted(&format!("a=crypto:1 X INLINE:{KEY};inline:{KEY}")),
        "a=crypto:1 X INLINE:(secret);inline:(secret)"
    );
    assert_eq!(redacted("no key\n\r\n"), "no key\n\r\n");
    assert_eq!(redacted("a=ice-ufrag:8hhY\r\nA=ICE-PWD :s3cret\n"), "a=ice-ufrag:8hhY\r\na=ice-pwd:(secret)\n");
    assert!(!format!("{:?} {:?}", read(&text), Text(text.clone())).contains(KEY));
    assert_eq!(Text(text.clone()).wire(), text);
}

#[test]
fn a_client_is_known_by_its_ice_whatever_stands_beside_it() {
    first(CLIENT, |audio| {
        let credentials = audio.credentials().unwrap();
        assert_eq!((&*credentials.fragment, &*credentials.password.0), ("oKSs", "dJXyyFHdCBdUnU0pCKqXd1vR"));
        let candidates: Vec<_> = audio.candidates().map(|candidate| candidate.address.to_string()).collect();
        assert_eq!((candidates, audio.ice_lite()), (vec!["10.2.0.9:5370".into()], false), "the old draft is foreign");
    });
    // Office Communicator: all that it is known by stands in its candidates.
    first(&audio("a=candidate:cCt8Y3 1 zqLrM6 UDP 0.830 10.1.2.3 50104\na=remote-candidate:x\n"), |audio| {
        assert_eq!((audio.credentials(), audio.candidates().count()), (None, 0));
    });
    let session =
        audio("a=ice-ufrag:mine\n").replace("m=", "a=ice-lite\na=ice-ufrag:all1\na=ice-pwd:0123456789012345678901\nm=");
    first(&session, |audio| {
        assert_eq!((&*audio.credentials().unwrap().fragment, audio.ice_lite()), ("mine", true));
    });
}

#[test]
fn sizes_are_bounded() {
    let too_large = |text: String| Description::parse(text.as_bytes()) == Err(Error::TooLarge);
    assert!(too_large("a".repeat(MAX_LENGTH + 1)));
    assert!(too_large(audio("") + &"m=audio 1 RTP/AVP 0\n".repeat(MAX_MEDIA)));
    assert!(too_large(audio(&"a=x\n".repeat(MAX_ATTRIBUTES + 1))));
    assert!(!too_large(audio(&"a=x\n".repeat(MAX_ATTRIBUTES))));
}

#[test]
fn no_octets_make_it_fall_over() {
    let mut random = Random::test(4);
    let whole = mediation_server() + CLIENT;
    let mut read = 0;
    for _ in 0..4_000 {
        let mut octets =
            if random.below(2) == 0 { mediation_server().into_bytes() } else { CLIENT.as_bytes().to_vec() };
        for _ in 0..=random.below(12) {
            let at = random.below(octets.len() as u64) as usize;
            let from = random.below(whole.len() as u64) as usize;
            match random.below(4) {
                0 => octets[at] = random.u64() as u8,
                1 => octets.insert(at, b"\r\n:=/| \0"[random.below(8) as usize]),
                2 => octets.insert(at, whole.as_bytes()[from]),
                _ => octets.truncate(at.max(60)),
            }
        }
        let Ok(description) = Description::parse(&octets) else { continue };
        read += 1;
        for audio in description.audio() {
            let _ =
                (audio.rtp(), audio.rtcp(), audio.formats().count(), audio.crypto().count(), audio.suites().count());
            let _ = (audio.secure_configuration(), audio.ptime_ms(), audio.encryption(), audio.direction());
        }
        let _ = format!("{description:?}");
    }
    assert!(read > 400, "only {read} got past the parser");
}
