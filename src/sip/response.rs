//! Answers: what every response repeats from its request (RFC 3261 section 8.2.6), and where it goes
//! (section 18.2.2, RFC 3581).

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use memchr::memmem;

use crate::hop::{Flow, Hop, Target};
use crate::wire::sip::{Builder, Line, Message, Name, Via};

/// Begins a response to `request`, which came on `flow`: all Vias (the top one with `received` and
/// `rport`), From, To, Call-ID, CSeq. `to_tag` is added unless To has a tag already; only a 100 goes without.
/// Record-Route and Contact are the dialog's to add.
pub fn response_to(request: &Message, flow: Flow, status: u16, reason: &str, to_tag: Option<&str>) -> Builder {
    let response = vias(Message::response(status, reason), request, flow).copy(request, Name::From);
    let response = match to_tag.filter(|_| request.tag(Name::To).is_none()) {
        Some(tag) => tagged(response, request, tag),
        None => response.copy(request, Name::To),
    };
    let response = response.copy(request, Name::CallId).copy(request, Name::CSeq);
    if status == 100 { timestamp(response, request) } else { response }
}

/// Where the response to a request that came on `flow` goes. Streams: the same connection. UDP: the
/// source address, at its source port when the peer asked for that with `rport`, else at the port in its Via.
/// `maddr` is passed over: it would let a peer aim our answers at a third party.
pub fn response_hop(request: &Message, flow: Flow) -> Hop {
    let Ok(via) = request.via() else { return Hop::Flow(flow) };
    if flow.transport.reliable() || via.params.value("rport").is_some() {
        return Hop::Flow(flow);
    }
    let port = via.port.unwrap_or(flow.transport.default_port());
    Hop::Flow(Flow { remote: SocketAddr::new(flow.remote.ip(), port), ..flow })
}

/// Where a response goes when its connection is gone: the source address at the Via's port. `None`
/// over UDP, which has no connection to lose.
pub fn response_target(request: &Message, flow: Flow) -> Option<Target> {
    let via = request.via().ok().filter(|_| flow.transport.reliable())?;
    Some(Target {
        trunk: flow.trunk,
        transport: flow.transport,
        host: Arc::from(flow.remote.ip().to_canonical().to_string()),
        port: Some(via.port.unwrap_or(flow.transport.default_port())),
    })
}

fn vias(mut response: Builder, request: &Message, flow: Flow) -> Builder {
    let mut top = request.elements(Name::Via).next().and_then(|top| Some((top, amended(top, flow)?)));
    for line in request.lines().filter(|line| line.name == Name::Via) {
        let place = top.as_ref().and_then(|(element, _)| memmem::find(line.value, element));
        response = match place.and_then(|at| Some((at, top.take()?))) {
            Some((at, (element, amended))) => {
                let (before, after) = (line.value.get(..at), line.value.get(at + element.len()..));
                let value = [before.unwrap_or_default(), &amended, after.unwrap_or_default()].concat();
                response.line(Line { value: &value, ..line })
            }
            None => response.line(line),
        };
    }
    response
}

/// The top Via with what its sender cannot know: `received` when sent-by is not the source address,
/// both `received` and `rport` when it asked for `rport`. `None` when nothing is to be added.
fn amended(element: &[u8], flow: Flow) -> Option<Vec<u8>> {
    let via = Via::parse(element)?;
    let source = flow.remote.ip().to_canonical();
    let asked = via.params.value("rport").is_some();
    let honest = via.host.parse::<IpAddr>().is_ok_and(|host| host.to_canonical() == source);
    if honest && !asked && via.params.value("received").is_none() {
        return None;
    }
    let head = element.strip_suffix(via.params.as_bytes())?;
    let mut value = head.strip_suffix(b";").unwrap_or(head).to_vec();
    for (name, old) in via.params.iter().filter(|(name, _)| !is_ours(name)) {
        value.push(b';');
        value.extend_from_slice(name);
        if let Some(old) = old {
            value.push(b'=');
            value.extend_from_slice(old);
        }
    }
    let mut ours = String::new();
    if asked {
        let _ = write!(ours, ";rport={}", flow.remote.port());
    }
    let _ = write!(ours, ";received={source}");
    value.extend_from_slice(ours.as_bytes());
    Some(value)
}

fn is_ours(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"received") || name.eq_ignore_ascii_case(b"rport")
}

fn tagged(response: Builder, request: &Message, tag: &str) -> Builder {
    let Some(to) = request.lines().find(|line| line.name == Name::To) else { return response };
    let value = [to.value, b";tag=", tag.as_bytes()].concat();
    response.line(Line { value: &value, ..to })
}

/// A 100 gives the sender's Timestamp back (RFC 3261 section 8.2.6.1).
fn timestamp(response: Builder, request: &Message) -> Builder {
    let stamp = request.lines().find(|line| line.text.eq_ignore_ascii_case(b"Timestamp"));
    stamp.into_iter().fold(response, Builder::line)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::hop::{Transport, TrunkId};

    fn flow(transport: Transport) -> Flow {
        let (local, remote) = ("192.0.2.10:5060".parse().unwrap(), "192.0.2.20:40000".parse().unwrap());
        Flow { connection: 1, trunk: TrunkId(1), transport, local, remote }
    }

    fn options(vias: &str) -> Message {
        let head = "OPTIONS sip:gw SIP/2.0\n";
        let tail = "f: <sip:a@b>;tag=1\nt: \"x\"\n <sip:c@d>\ni: 7\nCSeq: 3 OPTIONS\nTimestamp: 54\n\n";
        Message::parse(Bytes::from(format!("{head}{vias}\n{tail}").replace('\n', "\r\n"))).unwrap()
    }

    fn vias_of(vias: &str) -> String {
        let answer = response_to(&options(vias), flow(Transport::Udp), 200, "OK", Some("t")).empty_body();
        answer.all(Name::Via).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn the_top_via_learns_where_it_came_from() {
        let cases = [
            ("v: SIP/2.0/UDP 192.0.2.20;branch=1", "SIP/2.0/UDP 192.0.2.20;branch=1"),
            ("v: SIP/2.0/UDP 192.0.2.20 ; branch=1;x", "SIP/2.0/UDP 192.0.2.20 ; branch=1;x"),
            ("v: SIP/2.0/UDP gw.example", "SIP/2.0/UDP gw.example;received=192.0.2.20"),
            ("v: SIP/2.0/UDP gw;branch=1;x=\"a,;\"", "SIP/2.0/UDP gw;branch=1;x=\"a,;\";received=192.0.2.20"),
            (
                "v: SIP/2.0/UDP 192.0.2.20;rport;branch=1",
                "SIP/2.0/UDP 192.0.2.20;branch=1;rport=40000;received=192.0.2.20",
            ),
            ("v: SIP/2.0/UDP 192.0.2.20;received=198.51.100.1", "SIP/2.0/UDP 192.0.2.20;received=192.0.2.20"),
            (
                "v: SIP/2.0/UDP gw;branch=1, SIP/2.0/UDP far;branch=2\nv: SIP/2.0/UDP gw;branch=1",
                "SIP/2.0/UDP gw;branch=1;received=192.0.2.20, SIP/2.0/UDP far;branch=2 | SIP/2.0/UDP gw;branch=1",
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(vias_of(given), wanted);
        }
    }

    #[test]
    fn what_identifies_the_request_is_repeated() {
        let request = options("Via: SIP/2.0/UDP 192.0.2.20");
        let answer = response_to(&request, flow(Transport::Udp), 404, "Not Found", Some("mine")).empty_body();
        assert_eq!(answer.value(Name::To), Some(&b"\"x\"\r\n <sip:c@d>;tag=mine"[..]));
        assert_eq!(answer.tag(Name::To), Some("mine"));
        assert_eq!((answer.tag(Name::From), answer.call_id().unwrap()), (Some("1"), "7"));
        assert_eq!(answer.cseq(), request.cseq());
        let again = response_to(&answer, flow(Transport::Udp), 404, "Not Found", Some("other")).empty_body();
        assert_eq!(again.tag(Name::To), Some("mine"));
    }

    #[test]
    fn only_a_100_gives_the_timestamp_back() {
        let request = options("Via: SIP/2.0/UDP 192.0.2.20");
        let stamped = |status| {
            let answer = response_to(&request, flow(Transport::Udp), status, "", None).empty_body();
            answer.lines().any(|line| line.text == b"Timestamp")
        };
        assert!(stamped(100) && !stamped(180));
    }

    #[test]
    fn a_datagram_is_answered_at_the_port_its_sender_reads() {
        let port = |via: &str| match response_hop(&options(via), flow(Transport::Udp)) {
            Hop::Flow(flow) => flow.remote.port(),
            Hop::Target(_) => 0,
        };
        assert_eq!(port("Via: SIP/2.0/UDP 192.0.2.20;rport"), 40000);
        assert_eq!(port("Via: SIP/2.0/UDP 192.0.2.20:5070"), 5070);
        assert_eq!(port("Via: SIP/2.0/UDP gw.example;maddr=198.51.100.1"), 5060);
    }

    #[test]
    fn a_lost_connection_is_replaced_by_one_to_the_via_port() {
        let request = options("Via: SIP/2.0/TLS pool.example;branch=1");
        assert_eq!(response_hop(&request, flow(Transport::Tls)), Hop::Flow(flow(Transport::Tls)));
        let target = response_target(&request, flow(Transport::Tls)).unwrap();
        assert_eq!((&*target.host, target.port), ("192.0.2.20", Some(5061)));
        assert_eq!(response_target(&request, flow(Transport::Udp)), None);
    }
}
