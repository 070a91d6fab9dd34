//! The whole way in: framing, parsing, validation; against the torture messages of RFC 4475, inputs
//! that break common parsers, another parser, and noise.

use std::path::PathBuf;

use bytes::{Bytes, BytesMut};

use super::*;

/// What became of a message on its way in.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Taken,
    Refused(u16, Fault),
    Dropped,
    Waits,
}

fn judge(bytes: Bytes) -> Fate {
    match Message::parse(bytes).map(|message| (validate(&message), message)) {
        Err(_) => Fate::Dropped,
        Ok((Ok(()), _)) => Fate::Taken,
        Ok((Err(refusal), message)) => match answer_to(&message, &refusal) {
            Some(_) => Fate::Refused(refusal.status, refusal.what),
            None => Fate::Dropped,
        },
    }
}

fn by_stream(bytes: &[u8]) -> Fate {
    match Framing::default().next(&mut BytesMut::from(bytes)) {
        Framed::Message(bytes) => judge(bytes),
        Framed::Broken(refusal, _) => Fate::Refused(refusal.status, refusal.what),
        Framed::NeedMore => Fate::Waits,
        other => panic!("{other:?}"),
    }
}

fn by_datagram(bytes: &[u8]) -> Fate {
    match datagram(Bytes::copy_from_slice(bytes)) {
        Framed::Message(bytes) => judge(bytes),
        Framed::Broken(refusal, _) => Fate::Refused(refusal.status, refusal.what),
        other => panic!("{other:?}"),
    }
}

/// Name, what the RFC says, right answers, octets; nothing when the messages are not on this machine.
fn torture() -> Vec<(String, String, Vec<String>, Vec<u8>)> {
    let peers = std::env::var_os("DEMARC_PEERS").map_or_else(|| PathBuf::from("../shared/peers"), PathBuf::from);
    let folder = peers.join("rfc4475");
    let Ok(table) = std::fs::read_to_string(folder.join("expect.tsv")) else {
        println!("skipped: no RFC 4475 messages in {} (set DEMARC_PEERS)", folder.display());
        return Vec::new();
    };
    let rows = table.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    rows.map(|row| {
        let columns: Vec<&str> = row.split('\t').collect();
        let mut octets = std::fs::read(folder.join("messages").join(format!("{}.dat", columns[0]))).unwrap();
        if memchr::memmem::find(&octets, b"\r\n\r\n").is_none() {
            octets.extend_from_slice(b"\r\n");
        }
        let answers = columns[4].split(',').map(str::to_owned).collect();
        (columns[0].to_owned(), columns[3].to_owned(), answers, octets)
    })
    .collect()
}

/// Refused above this floor: by method, scheme, extension, body type.
const ABOVE: [&str; 8] = ["401", "404", "405", "406", "415", "416", "420", "501"];

#[test]
fn rfc4475_each_message_meets_its_fate() {
    let messages = torture();
    assert!(messages.is_empty() || messages.len() == 50);
    for (name, verdict, answers, octets) in messages {
        let allowed = |answer: &str| answers.iter().any(|right| right == answer);
        let passes = allowed("process") || allowed("483") || ABOVE.iter().any(|status| allowed(status));
        for (way, fate) in [("stream", by_stream(&octets)), ("datagram", by_datagram(&octets))] {
            let right = match fate {
                Fate::Taken if verdict == "invalid" => name == "baddate",
                Fate::Taken => passes || allowed("drop"),
                Fate::Refused(status, _) => verdict != "valid" && allowed(&status.to_string()),
                Fate::Dropped => verdict != "valid" && allowed("drop"),
                Fate::Waits => way == "stream" && allowed("wait"),
            };
            assert!(right, "{name} ({verdict}) by {way}: {fate:?}, right is {answers:?}");
        }
    }
}

#[test]
fn rfc4475_each_fault_is_found_for_what_it_is() {
    let expected = [
        ("badinv01", Fault::Malformed),
        ("clerr", Fault::ShortBody),
        ("ncl", Fault::Malformed),
        ("scalar02", Fault::OutOfRange),
        ("quotbal", Fault::Malformed),
        ("ltgtruri", Fault::RequestUri),
        ("lwsruri", Fault::RequestUri),
        ("lwsstart", Fault::RequestUri),
        ("trws", Fault::RequestLine),
        ("escruri", Fault::RequestUri),
        ("regbadct", Fault::Malformed),
        ("badaspec", Fault::Malformed),
        ("baddn", Fault::Malformed),
        ("badvers", Fault::Version),
        ("mismatch01", Fault::Mismatch),
        ("mismatch02", Fault::Mismatch),
        ("badbranch", Fault::EmptyBranch),
        ("insuf", Fault::Missing),
        ("multi01", Fault::Repeated),
        ("mcl01", Fault::Conflicting),
    ];
    for (name, _, _, octets) in torture() {
        let fate = by_datagram(&octets);
        match expected.iter().find(|(known, _)| *known == name) {
            Some((_, fault)) => assert!(matches!(fate, Fate::Refused(_, what) if what == *fault), "{name}: {fate:?}"),
            None => assert!(matches!(fate, Fate::Taken | Fate::Dropped), "{name}: {fate:?}"),
        }
    }
}

#[test]
fn rfc4475_what_the_valid_ones_say_is_read() {
    for (name, _, _, octets) in torture() {
        let Framed::Message(bytes) = datagram(Bytes::from(octets)) else { continue };
        let Ok(message) = Message::parse(bytes) else { continue };
        let user = || message.uri().and_then(Uri::user);
        let uri_of = |name| message.address(name).map(|address| address.uri);
        match name.as_str() {
            "wsinv" => {
                assert_eq!(message.address(Name::From).unwrap().display_text(), "J Rosenberg \\\"");
                assert_eq!(message.tag(Name::To), Some("1918181833n"));
                assert_eq!(message.cseq().map(|cseq| cseq.number), Ok(9));
                let hosts: Vec<_> = message.elements(Name::Via).filter_map(Via::parse).map(|via| via.host).collect();
                assert_eq!(hosts, ["192.0.2.2", "spindle.example.com", "192.168.255.111"]);
            }
            "intmeth" => assert_eq!(message.uri().map(Uri::host), Some("example.com")),
            "esc01" => {
                assert_eq!(user(), Some("sips%3Auser%40example.com"));
                assert_eq!(unescape(user().unwrap()), &b"sips:user@example.com"[..]);
            }
            "escnull" => {
                let users: Vec<_> = message.elements(Name::Contact).filter_map(Address::parse).collect();
                assert!(!users[0].uri.same_user(users[1].uri));
                assert_eq!(unescape(users[1].uri.user().unwrap()), &b"\0\0"[..]);
            }
            "esc02" => assert_eq!(message.elements(Name::Contact).count(), 2),
            "semiuri" => assert_eq!(user(), Some("user;par=u%40example.net")),
            "cparam01" => {
                assert_eq!(message.address(Name::Contact).unwrap().params.value("unknownparam"), Some(&b""[..]));
            }
            "cparam02" => assert_eq!(uri_of(Name::Contact).unwrap().param("unknownparam"), Some("")),
            "regescrt" => {
                let route = uri_of(Name::Contact).unwrap().header("Route").unwrap();
                assert_eq!(&*route, b"<sip:sip.example.com>");
            }
            "mpart01" => assert_eq!(message.media_type().unwrap().boundary(), Some("7a9cbec02ceef655")),
            _ => {}
        }
    }
}

/// Each line again: no line is lost, and none changes.
fn relayed(message: &Message) -> Vec<(Vec<u8>, Vec<u8>)> {
    let builder = message.lines().filter(|line| line.name != Name::ContentLength);
    let again = builder.fold(Builder::with_start_of(message), Builder::line).empty_body();
    let pairs = again.lines().filter(|line| line.name != Name::ContentLength);
    pairs.map(|line| (line.text.to_vec(), line.value.to_vec())).collect()
}

#[test]
fn inputs_that_break_common_parsers_come_out_byte_for_byte() {
    let long = "sip:ms5.company1@company1;gruu;opaque=srvr:MediationServer:XzRY6u68aVipMcYVfYs0hQAA;grid=4623ab";
    let state =
        "sip:PROXY.company1:5061;transport=tls;opaque=state:F:Ci.R475300;lr;ms-route-sig=dcw0SbeehYaHu9dRxfcQNPN";
    let teams = "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:7de185bd-d73d-48d2-886f;x-t=8ab232fc";
    for (uri, name, value) in [
        (long, "grid", Some("4623ab")),
        (long, "opaque", Some("srvr:MediationServer:XzRY6u68aVipMcYVfYs0hQAA")),
        ("sip:john@contoso.com;gruu;opaque=app:conf:focus:id:G03W98W4", "opaque", Some("app:conf:focus:id:G03W98W4")),
        ("sip:alice@contoso.com;opaque=user:epid:AbC_dEf-123;gruu", "opaque", Some("user:epid:AbC_dEf-123")),
        (state, "lr", Some("")),
        (state, "transport", Some("tls")),
        (state, "ms-route-sig", Some("dcw0SbeehYaHu9dRxfcQNPN")),
        (teams, "x-t", Some("8ab232fc")),
        (teams, "x-m", Some("8:orgid:7de185bd-d73d-48d2-886f")),
        ("sip:bob@example.com?Replaces=12345%3Bto-tag%3Da%3Bfrom-tag%3Db", "replaces", None),
        ("sip:bob@example.com;gruu?Replaces=12345%3Bto-tag%3Da&Require=replaces", "gruu", Some("")),
        ("tel:+14255551234;ext=1234", "ext", None),
        ("sip:[2001:db8::1]:5061;transport=tls", "transport", Some("tls")),
        ("sip:2160;phone-context=dialstring@example.com;user=phone", "user", Some("phone")),
        ("sip:2160;phone-context=dialstring@example.com;user=phone", "phone-context", None),
    ] {
        let address = format!("<{uri}>;isGateway;tag=1");
        let message = Message::request(Method::Refer, "sip:a@b").header(Name::ReferTo, &address).empty_body();
        let read = message.address(Name::ReferTo).unwrap();
        assert_eq!(read.uri.as_str(), uri);
        assert_eq!(read.uri.param(name), value, "{uri} {name}");
        assert_eq!(read.params.text("tag"), Some("1"));
        assert_eq!(relayed(&message), [(b"Refer-To".to_vec(), address.into_bytes())]);
    }
    let uri = Uri::parse(b"sip:bob@example.com;gruu?Replaces=12345%3Bto-tag%3Da%3Bfrom-tag%3Db&Require=x").unwrap();
    let replaces = uri.header("replaces").unwrap();
    assert_eq!(Replaces::parse(&replaces).map(|read| (read.call_id, read.to_tag)), Some(("12345", "a")));
    assert_eq!(uri.host(), "example.com");
    let v6 = Uri::parse(b"sip:[2001:db8::1]:5061;transport=tls").unwrap();
    assert_eq!((v6.host(), v6.port(), v6.user()), ("2001:db8::1", Some(5061), None));
    assert_eq!(Uri::parse(b"tel:+14255551234;ext=1234").and_then(Uri::user), Some("+14255551234;ext=1234"));
}

const HEAD: &str = "v: SIP/2.0/TLS h:5061;branch=z9hG4bK1;ms-internal-info=\"a;b,c\"
f: <sip:a@b>;tag=1;epid=0DE491BF79
t: \"x\" <sip:c@d>
i: 1
CSeq: 1 BENOTIFY
m: <sip:e@f;gruu;opaque=user:epid:x>;isGateway
";

fn message(start: &str, lines: &str) -> Message {
    Message::parse(Bytes::from(format!("{start}\n{lines}\n").replace('\n', "\r\n"))).unwrap()
}

#[test]
fn odd_methods_names_folds_and_values_travel_unchanged() {
    let odd = "REFERRED-BY: <sip:u@d;x=%3D:1>;ms-referee-uri=\"sip:2160;phone-context=x@d;user=phone\";ms-identity=\"MII=:Fri\"
Ms-Edge: ms-source-type=EdgeProxyGenerated;;ms-source-verified-user=verified
ms-diagnostics: 1034;Source= host
History-Info: <sip:+1@h;user=phone?Reason=SIP;cause=302;text=\"a,b\">;index=1
Subject: folded
 over \x20two
Supported:
Supported: timer";
    for method in ["BENOTIFY", "SERVICE", "NEGOTIATE"] {
        let lines = format!("{}{odd}\n", HEAD.replace("BENOTIFY", method));
        let message = message(&format!("{method} sip:a@b SIP/2.0"), &lines);
        assert_eq!(validate(&message), Ok(()), "{method}");
        let written = lines.replace('\n', "\r\n").replace("\r\n ", "\u{1}");
        let pairs = written.split_terminator("\r\n").map(|line| {
            let (name, value) = line.split_once(':').unwrap();
            (name.as_bytes().to_vec(), value.trim().replace('\u{1}', "\r\n ").into_bytes())
        });
        assert_eq!(relayed(&message), pairs.collect::<Vec<_>>());
        assert_eq!(message.via().unwrap().params.text("ms-internal-info"), Some("a;b,c"));
        let referred = message.address(Name::ReferredBy).unwrap();
        assert_eq!(referred.params.text("ms-referee-uri"), Some("sip:2160;phone-context=x@d;user=phone"));
        assert_eq!(message.address(Name::HistoryInfo).unwrap().params.text("index"), Some("1"));
    }
}

#[test]
fn validation_by_example() {
    let ok = "Via: SIP/2.0/TCP h;branch=z9hG4bK1\nFrom: <sip:a@b>;tag=1\nTo: <sip:c@d>\nCall-ID: 1\nCSeq: 1 OPTIONS\n";
    let options = "OPTIONS sip:a@b SIP/2.0";
    let more = |line: &str| format!("{ok}{line}\n");
    let cases = [
        (options, ok.to_owned(), None),
        ("OPTIONS tel:+1312 SIP/2.0", ok.to_owned(), None),
        ("OPTIONS sip:[::1]:5060;lr SIP/2.0", ok.to_owned(), None),
        ("OPTIONS sip:a@b sip/2.0", ok.to_owned(), None),
        ("OPTIONS sip:a@b SIP/2.1", ok.to_owned(), Some((505, Fault::Version))),
        ("OPTIONS sip:a@b SIP/2.0 ", ok.to_owned(), Some((400, Fault::RequestLine))),
        ("OPT,IONS sip:a@b SIP/2.0", ok.to_owned(), Some((400, Fault::RequestLine))),
        ("OPTIONS sip:a@ SIP/2.0", ok.to_owned(), Some((400, Fault::RequestUri))),
        ("OPTIONS sip:a@b:65536 SIP/2.0", ok.to_owned(), Some((400, Fault::RequestUri))),
        ("OPTIONS sip:a@b: SIP/2.0", ok.to_owned(), Some((400, Fault::RequestUri))),
        ("OPTIONS sip:a@b?x=y SIP/2.0", ok.to_owned(), Some((400, Fault::RequestUri))),
        ("OPTIONS sip:a@b/c SIP/2.0", ok.to_owned(), Some((400, Fault::RequestUri))),
        (options, ok.replace("1 OPTIONS", "2147483647 OPTIONS"), None),
        (options, ok.replace("1 OPTIONS", "2147483648 OPTIONS"), Some((400, Fault::OutOfRange))),
        (options, ok.replace("1 OPTIONS", "1 options"), Some((400, Fault::Mismatch))),
        (options, ok.replace("1 OPTIONS", "1OPTIONS"), Some((400, Fault::Malformed))),
        (options, ok.replace("branch=z9hG4bK1", "branch=z9hG4bK"), Some((400, Fault::EmptyBranch))),
        (options, ok.replace(";branch=z9hG4bK1", ""), None),
        (options, ok.replace("K1", "K1;branch=z9hG4bK2"), Some((400, Fault::Repeated))),
        (options, ok.replace("tag=1", "tag=1;TAG=2"), Some((400, Fault::Repeated))),
        (options, ok.replace("tag=1", "tag="), Some((400, Fault::Malformed))),
        (options, ok.replace("tag=1", &format!("tag={}", "x".repeat(MOST_KEY + 1))), Some((400, Fault::LongKey))),
        (options, ok.replace("tag=1", "x=<a;tag=2>"), Some((400, Fault::Malformed))),
        (options, ok.replace("tag=1", "x=\"a;tag=2\""), None),
        (options, ok.replace("TCP h;", "TCP [2001:db8::9:1]:5060;received=2001:db8::9:255;rport;"), None),
        (options, ok.replace("TCP h;", "TCP [2001:db8::9:1;"), Some((400, Fault::Malformed))),
        (options, ok.replace("<sip:c@d>", "<sip:c@[2001:db8::9"), Some((400, Fault::Malformed))),
        (options, ok.replace("<sip:c@d>", "<sip:c@d>, <sip:e@f>"), Some((400, Fault::Malformed))),
        (options, ok.replace("<sip:c@d>", "<sip:c@d> x"), Some((400, Fault::Malformed))),
        (options, ok.replace("<sip:c@d>", "x \"y\" <sip:c@d>"), Some((400, Fault::Malformed))),
        (options, ok.replace("<sip:c@d>", "\"y\" x <sip:c@d>"), Some((400, Fault::Malformed))),
        (options, ok.replace("<sip:c@d>", "J\u{f6}rg Smith <sip:c@d>"), None),
        (options, ok.replace("<sip:c@d>", "<sip:c@d"), Some((400, Fault::Malformed))),
        (options, ok.replace("Call-ID: 1\n", ""), Some((400, Fault::Missing))),
        (options, ok.replace("Call-ID: 1", "Call-ID: 1 2"), Some((400, Fault::Malformed))),
        (options, more("CSeq: 1 OPTIONS"), Some((400, Fault::Repeated))),
        (options, more("i: 1"), Some((400, Fault::Repeated))),
        (options, more("Max-Forwards: 255"), None),
        (options, more("Max-Forwards: 256"), Some((400, Fault::OutOfRange))),
        (options, more("Max-Forwards: 70, 70"), Some((400, Fault::Malformed))),
        (options, more("Expires: soon"), None),
        (options, more("Expires: 4294967296"), Some((400, Fault::OutOfRange))),
        (options, more("Session-Expires: never"), Some((400, Fault::Malformed))),
        (options, more("RAck: 1 1"), Some((400, Fault::Malformed))),
        (options, more("Replaces: 1;to-tag=2"), Some((400, Fault::Malformed))),
        (options, more("Contact: *"), None),
        (options, more("Contact: <sip:a@b>, \"x, y\" <sip:c@d>;+sip.instance=\"<urn:x>\""), None),
        (options, more("Contact: <sip:a@b>,, <sip:c@d>"), Some((400, Fault::Malformed))),
        (options, more("Contact: <sip:a@b>;;"), Some((400, Fault::Malformed))),
        (options, more("Route: <sip:a;lr>,"), Some((400, Fault::Malformed))),
        (options, more("Content-Length: 1"), Some((400, Fault::ShortBody))),
        (options, more("Bad name: 1").replace("Bad name", "Bad<name"), Some((400, Fault::Malformed))),
        (options, more("Subject: a\rVia: b"), Some((400, Fault::BareCr))),
        (options, more("Via: SIP/2.0/TCP i;branch=z9hG4bK2"), None),
        (options, more("Via: SIP/2.0/TCP h;branch=z9hG4bK1"), None),
        (options, more("Via: SIP/2.0/TCP i;branch=z9hG4bK1"), Some((400, Fault::Conflicting))),
        ("SIP/2.0 200 OK", ok.to_owned(), None),
        ("SIP/2.0 699 ", ok.to_owned(), None),
        ("SIP/2.0 700 ", ok.to_owned(), Some((400, Fault::Status))),
        ("SIP/2.0 99 ", ok.to_owned(), Some((400, Fault::Status))),
        ("SIP/2.0 200 OK", more("Via: SIP/2.0/TCP i;branch=z9hG4bK2"), Some((400, Fault::Conflicting))),
    ];
    for (start, lines, expected) in cases {
        let refusal = validate(&message(start, &lines)).err().map(|refusal| (refusal.status, refusal.what));
        assert_eq!(refusal, expected, "{start}\n{lines}");
    }
    let long = format!("OPTIONS sip:{}@b SIP/2.0", "x".repeat(MOST_URI));
    assert_eq!(validate(&message(&long, ok)).map_err(|refusal| refusal.status), Err(414));
}

#[test]
fn a_refusal_is_answered_with_what_there_is() {
    let bad = message(
        "OPTIONS sip:a@b SIP/2.0",
        "v: SIP/2.0/TCP h;branch=z9hG4bK1, SIP/2.0/TCP i\nf: <sip:a@b>;tag=1\nCSeq: 1 INVITE\nt: x\n",
    );
    let refusal = validate(&bad).unwrap_err();
    assert_eq!((refusal.status, refusal.reason()), (400, "CSeq Names Another Method".into()));
    let answer = answer_with(&bad, &refusal, |answer| answer.header(Name::Server, "demarc")).unwrap();
    let text = String::from_utf8(answer.bytes().to_vec()).unwrap();
    let (tag, rest) = (answer.value(Name::To).unwrap(), text.lines().collect::<Vec<_>>());
    assert!(tag.starts_with(b"x;tag=") && tag.len() == 22);
    assert_eq!(rest[0], "SIP/2.0 400 CSeq Names Another Method");
    assert_eq!(rest[1], "v: SIP/2.0/TCP h;branch=z9hG4bK1, SIP/2.0/TCP i");
    assert_eq!(rest[2], "f: <sip:a@b>;tag=1");
    assert_eq!(rest[4], "CSeq: 1 INVITE");
    assert_eq!(rest[5], "Server: demarc");
    assert_eq!(answer_to(&bad, &refusal).unwrap().value(Name::To), Some(tag), "a repeated request gets the same tag");
    for start in ["ACK sip:a@b SIP/2.0", "SIP/2.0 200 OK"] {
        assert_eq!(answer_to(&message(start, "t: x\n"), &refusal), None);
    }
}

const INVITE: &str = include_str!("../../../benches/invite.sip");

/// Messages to break: the torture messages, the INVITE of the benchmark, an answer.
fn corpus() -> Vec<Vec<u8>> {
    let answer = "SIP/2.0 183 Session Progress\nv: SIP/2.0/TLS h;branch=z9hG4bK1\nf: <sip:a@b>;tag=1\nt: <sip:c@d>;tag=2\ni: 1
CSeq: 1 INVITE\nRSeq: 7\nx: 1800;refresher=uas\nReason: Q.850;cause=17\nWarning: 308 h \"x\"\nms-diagnostics: 10003;source=\"x\"
Date: Fri, 20 Nov 2026 23:00:00 GMT\nl: 0\n\n";
    let own = [INVITE, answer].map(|text| text.replace('\n', "\r\n").into_bytes());
    own.into_iter().chain(torture().into_iter().map(|(_, _, _, octets)| octets)).collect()
}

/// What must hold for any octets whatever: nothing panics, bytes stay bytes, framing and parsing see
/// the same boundary, an answer and a relayed copy can be read again.
fn holds_for(octets: &[u8]) {
    let (mut framing, mut buffer) = (Framing::default(), BytesMut::from(octets));
    loop {
        let left = buffer.len();
        match framing.next(&mut buffer) {
            Framed::NeedMore | Framed::Broken(..) => break,
            Framed::Message(bytes) => whole_message_holds(bytes),
            Framed::KeepAlive | Framed::Pong => {}
        }
        assert!(buffer.len() < left, "each step takes something");
    }
    if let Framed::Message(bytes) | Framed::Broken(_, Some(bytes)) = datagram(Bytes::copy_from_slice(octets)) {
        whole_message_holds(bytes);
    }
    let _ = (Uri::parse(octets), Via::parse(octets), Address::parse(octets), date(octets), RAck::parse(octets));
}

fn whole_message_holds(bytes: Bytes) {
    let Ok(message) = Message::parse(bytes.clone()) else { return };
    assert_eq!(message.bytes(), &bytes);
    let again = datagram(bytes);
    if let Framed::Message(framed) = again {
        assert_eq!(framed.len() - message.body_start(), message.body().len());
        let length = message.value(Name::ContentLength).and_then(|value| framing::body_length(value).ok());
        assert!(length.is_none_or(|length| length == message.body().len()), "framing read another length");
    }
    if let Err(refusal) = validate(&message)
        && let Some(answer) = answer_to(&message, &refusal)
    {
        assert_eq!(answer.status(), Some(refusal.status));
        assert_eq!(answer.all(Name::Via).count(), message.all(Name::Via).count());
    }
    if validate(&message).is_ok() {
        assert!(message.via().is_ok() && message.call_id().is_ok() && message.cseq().is_ok());
        assert!(message.address(Name::From).is_ok() && message.address(Name::To).is_ok());
        let others = message.lines().filter(|line| line.name != Name::ContentLength);
        let pairs: Vec<_> = others.map(|line| (line.text.to_vec(), line.value.to_vec())).collect();
        assert_eq!(relayed(&message), pairs);
    }
    let _ = relayed(&message);
    let _ = (message.rack(), message.session_expires().is_some(), message.q850(), message.replaces().is_some());
    let _ = (message.media_type().and_then(|media| media.boundary()), message.warnings().count());
    let _ = (message.diagnostics().count(), message.date(), message.reasons().count());
    for line in message.lines() {
        let Ok(address) = message.address(line.name) else { continue };
        let (_, uri) = (address.display_text(), address.uri);
        let _ = (uri.user().map(unescape), uri.host(), uri.port(), uri.headers(), uri.header("Replaces"));
        let _ = (uri.params().count(), address.params.iter().count(), address.params.text("tag"));
    }
}

#[test]
fn noise_breaks_nothing() {
    bolero::check!().with_test_time(std::time::Duration::from_millis(700)).for_each(holds_for);
}

#[test]
fn mutated_messages_break_nothing() {
    let corpus = corpus();
    let mut random = crate::random::Random::test(4475);
    let pieces: [&[u8]; 14] = [
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b";",
        b",",
        b"\"",
        b"<",
        b">",
        b"\\",
        b":",
        b"\r\n ",
        b"Content-Length: 3\r\n",
    ];
    for round in 0..20_000 {
        let mut octets = corpus[round % corpus.len()].clone();
        for _ in 0..=random.below(4) {
            let at = random.below(octets.len() as u64) as usize;
            let until = (at + random.below(20) as usize).min(octets.len());
            match random.below(5) {
                0 => octets[at] = random.u64() as u8,
                1 => drop(octets.splice(at..until, [])),
                2 => drop(octets.splice(at..at, octets[at..until].to_vec())),
                3 => octets.truncate(at.max(1)),
                _ => {
                    let piece = pieces[random.below(pieces.len() as u64) as usize];
                    drop(octets.splice(at..at, piece.iter().copied()));
                }
            }
            octets.push(b'\n');
        }
        holds_for(&octets);
    }
}

#[test]
fn any_cut_of_any_stream_gives_the_same_messages() {
    let frame_all = |parts: &[&[u8]]| {
        let (mut framing, mut buffer, mut all) = (Framing::default(), BytesMut::new(), Vec::new());
        for part in parts {
            buffer.extend_from_slice(part);
            loop {
                match framing.next(&mut buffer) {
                    Framed::NeedMore => break,
                    Framed::Pong => {}
                    broken @ Framed::Broken(..) => {
                        all.push(broken);
                        return all;
                    }
                    framed => all.push(framed),
                }
            }
        }
        all
    };
    for octets in corpus() {
        let whole = frame_all(&[&octets]);
        for cut in 0..=octets.len() {
            assert_eq!(frame_all(&[&octets[..cut], &octets[cut..]]), whole, "cut at {cut}");
        }
    }
}

/// Why rsip 0.4 is no judge of a message, by name of its defect.
fn rsip_cannot_judge(message: &Message) -> Option<&'static str> {
    let uri = message.uri().map_or("", Uri::as_str);
    let values = || message.lines().map(|line| line.value);
    if message.bytes().iter().any(|octet| !octet.is_ascii()) {
        return Some("what is not UTF-8 is refused or altered");
    }
    if message.lines().any(|line| line.text.len() == 1) {
        return Some("compact names are not recognised");
    }
    if values().any(|value| value.contains(&b'\n')) {
        return Some("folds are refused");
    }
    if uri.split_once(';').is_some_and(|(_, params)| params.contains(':')) {
        return Some("URI parameters behind a value with a colon are lost");
    }
    if uri.contains("transport=") {
        return Some("the transport parameter is re-cased");
    }
    if !uri.starts_with("sip:") || uri.contains('[') {
        return Some("tel: and IPv6 URIs are misread");
    }
    None
}

#[test]
fn another_parser_reads_the_same() {
    let methods =
        ["INVITE", "ACK", "BYE", "CANCEL", "OPTIONS", "PRACK", "UPDATE", "INFO", "REFER", "NOTIFY", "MESSAGE"];
    let uris = ["sip:+13125556789@ms1.contoso.com;user=phone", "sip:h:5060", "sip:a@192.0.2.1:5061;lr", "sip:h"];
    let extra = ["", "Subject: a, b; c: d\r\nSubject2:x\r\n", "Allow: INVITE\r\nAllow: ACK, BYE\r\nSupported:\r\n"];
    let mut all = corpus();
    for method in methods {
        for uri in uris {
            for lines in extra {
                for body in ["", "v=0\r\n", "\r\n\r\n"] {
                    let text = format!(
                        "{method} {uri} SIP/2.0\r\nVia: SIP/2.0/TCP h:5060;branch=z9hG4bK7\r\nFrom: \"A, B\" <sip:a@b>;tag=1\r\n\
                         To: <sip:c@d>\r\nCall-ID: x@y\r\nCSeq: 9 {method}\r\nMax-Forwards: 70\r\n{lines}Content-Length: {}\r\n\r\n{body}",
                        body.len()
                    );
                    all.push(text.into_bytes());
                }
            }
        }
    }
    let mut compared = 0;
    for octets in all {
        let Framed::Message(bytes) = datagram(Bytes::from(octets)) else { continue };
        let Ok(ours) = Message::parse(bytes.clone()) else { continue };
        if validate(&ours).is_err() || rsip_cannot_judge(&ours).is_some() {
            continue;
        }
        let Ok(theirs) = rsip::SipMessage::try_from(&bytes[..]) else { continue };
        compared += 1;
        let (headers, body) = match &theirs {
            rsip::SipMessage::Request(request) => {
                let Start::Request { text, uri, .. } = ours.start() else { panic!("we read a response") };
                assert_eq!(request.method.to_string().as_bytes(), text);
                assert_eq!(request.uri.to_string().as_bytes(), uri);
                (&request.headers, &request.body)
            }
            rsip::SipMessage::Response(response) => {
                assert_eq!(ours.status(), Some(response.status_code.code()));
                (&response.headers, &response.body)
            }
        };
        let pair = |text: String| {
            let (name, value) = text.split_once(':').unwrap();
            (name.trim().to_ascii_lowercase(), value.trim().to_owned())
        };
        let theirs: Vec<_> = headers.iter().map(|header| pair(header.to_string())).collect();
        let text = |octets: &[u8]| String::from_utf8(octets.to_vec()).unwrap();
        let ours_lines: Vec<_> =
            ours.lines().map(|line| (text(line.text).to_ascii_lowercase(), text(line.value))).collect();
        assert_eq!(theirs, ours_lines);
        assert_eq!(body, ours.body());
    }
    assert!(compared > 300, "only {compared} messages were compared");
}

#[test]
fn no_line_breaks_the_builder() {
    let line = Line { name: Name::Subject, text: b"Subject", value: b"a\r\nVia: x\r b\n\r\n c" };
    let built = Message::request(Method::Other, "sip:a b\r\n")
        .line(line)
        .header(Name::Other, "x")
        .other("", "x")
        .other("a: b", "x")
        .other("X", "\r\n")
        .empty_body();
    let pairs: Vec<_> = built.lines().map(|line| (line.text.to_vec(), line.value.to_vec())).collect();
    let expected: [(&[u8], &[u8]); 3] = [(b"Subject", b"a  Via: x  b \r\n c"), (b"X", b""), (b"Content-Length", b"0")];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_vec(), value.to_vec())));
}
