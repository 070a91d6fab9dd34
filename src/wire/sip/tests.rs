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
