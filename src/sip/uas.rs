//! What a user agent server looks at before it acts on a request (RFC 3261 section 8.2), in its order.
//!
//! 1. the method: 501 when nobody knows it, 405 when we do not take it (8.2.1)
//! 2. the scheme of the Request-URI: 416 (8.2.2.1)
//! 3. Require: 420 (8.2.2.3)
//! 4. the body's type and encoding: 415 (8.2.3)
//! 5. Accept, on INVITE: 406, because our answer is SDP
//!
//! Max-Forwards is not looked at: we end dialogs on both sides, so a request that may be forwarded no
//! further has arrived. A merged request (482) is known by the calls, not by the message.

use std::fmt::Display;

use super::response::response_to;
use crate::cause::reason_phrase;
use crate::hop::Flow;
use crate::wire::sip::{Builder, Message, Method, Name};

/// What we take. The same lists are announced in Allow, Supported and Accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Methods, without ACK: that one is never refused, but it is announced.
    pub methods: Vec<Method>,
    /// Option tags of extensions we have.
    pub options: Vec<&'static str>,
    /// Media types of bodies that carry a session description.
    pub types: Vec<&'static str>,
    /// May the Request-URI be `sips:`?
    pub sips: bool,
}

impl Default for Accepted {
    /// What calls need, and nothing that makes a peer hand us its transfers.
    fn default() -> Accepted {
        use Method::{Bye, Cancel, Invite, Options, Prack, Update};
        Accepted {
            methods: vec![Invite, Cancel, Bye, Options, Prack, Update],
            options: vec!["100rel", "timer"],
            types: vec!["application/sdp", "multipart/alternative", "multipart/mixed"],
            sips: true,
        }
    }
}

/// Option tags of Microsoft's that ask nothing of us, so that a peer which requires them is not refused:
/// media before the answer, a transfer that leaves the old call up until the new one stands, and Contacts
/// that are copied whole. They are not announced.
pub const HARMLESS: [&str; 3] = ["ms-early-media", "ms-safe-transfer", "gruu-10"];

/// Why a request is refused. The peer is guilty of each.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// 501.
    #[error("a method that nobody knows")]
    UnknownMethod,
    /// 405.
    #[error("a method that is not taken here")]
    MethodNotAllowed,
    /// 416.
    #[error("a Request-URI of a scheme that is not taken here")]
    Scheme,
    /// 420, with the option tags that we do not have.
    #[error("an extension is required that we do not have: {0}")]
    Extension(String),
    /// 415.
    #[error("a body of a type that we cannot read")]
    ContentType,
    /// 415.
    #[error("a body in an encoding that we cannot read")]
    ContentEncoding,
    /// 406.
    #[error("the peer does not accept SDP in our answer")]
    Accept,
}

impl Rejection {
    /// The status that says so.
    pub fn status(&self) -> u16 {
        match self {
            Rejection::UnknownMethod => 501,
            Rejection::MethodNotAllowed => 405,
            Rejection::Scheme => 416,
            Rejection::Extension(_) => 420,
            Rejection::ContentType | Rejection::ContentEncoding => 415,
            Rejection::Accept => 406,
        }
    }

    /// Begins the refusal, with the header that tells the peer what would have been taken.
    pub fn response(&self, request: &Message, flow: Flow, to_tag: &str, accepted: &Accepted) -> Builder {
        let status = self.status();
        let response = response_to(request, flow, status, reason_phrase(status), Some(to_tag));
        match self {
            Rejection::UnknownMethod | Rejection::MethodNotAllowed => response.header(Name::Allow, allow(accepted)),
            Rejection::Extension(tags) => response.header(Name::Unsupported, tags),
            Rejection::ContentType => response.header(Name::Accept, accepted.types.join(", ")),
            Rejection::ContentEncoding => response.other("Accept-Encoding", "identity"),
            Rejection::Scheme | Rejection::Accept => response,
        }
    }
}

/// May this request be acted on? Responses, ACK and CANCEL always: they cannot be refused.
pub fn inspect(request: &Message, accepted: &Accepted) -> Result<(), Rejection> {
    match request.method() {
        None | Some(Method::Ack | Method::Cancel) => return Ok(()),
        Some(Method::Other) => return Err(Rejection::UnknownMethod),
        Some(method) if !accepted.methods.contains(&method) => return Err(Rejection::MethodNotAllowed),
        Some(_) => {}
    }
    scheme(request, accepted)?;
    require(request, accepted)?;
    content(request, accepted)?;
    answerable(request)
}

/// The answer to OPTIONS (RFC 3261 section 11.2).
pub fn capabilities(
    request: &Message,
    flow: Flow,
    to_tag: &str,
    accepted: &Accepted,
    contact: impl Display,
) -> Builder {
    response_to(request, flow, 200, reason_phrase(200), Some(to_tag))
        .header(Name::Contact, contact)
        .header(Name::Allow, allow(accepted))
        .header(Name::Accept, accepted.types.join(", "))
        .header(Name::Supported, accepted.options.join(", "))
}

/// The value of Allow.
pub fn allow(accepted: &Accepted) -> String {
    let methods = accepted.methods.iter().map(|method| method.text());
    std::iter::once(Method::Ack.text()).chain(methods).collect::<Vec<_>>().join(", ")
}

fn scheme(request: &Message, accepted: &Accepted) -> Result<(), Rejection> {
    let taken = |uri: crate::wire::sip::Uri| uri.is_sip() || uri.is_tel() || (uri.is_sips() && accepted.sips);
    request.uri().filter(|uri| taken(*uri)).map(|_| ()).ok_or(Rejection::Scheme)
}

fn require(request: &Message, accepted: &Accepted) -> Result<(), Rejection> {
    let known = |tag: &&[u8]| {
        let mut ours = accepted.options.iter().chain(&HARMLESS);
        ours.any(|our| tag.eq_ignore_ascii_case(our.as_bytes()))
    };
    let unknown: Vec<_> = request.elements(Name::Require).filter(|tag| !known(tag)).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let tags = unknown.into_iter().map(String::from_utf8_lossy).collect::<Vec<_>>();
    Err(Rejection::Extension(tags.join(", ")))
}

/// Only where the body is a session; what INFO or NOTIFY carry is judged by who reads it. A body
/// that its sender calls optional is never a reason to refuse.
fn content(request: &Message, accepted: &Accepted) -> Result<(), Rejection> {
    let session = matches!(request.method(), Some(Method::Invite | Method::Update | Method::Prack));
    if !session || request.body().is_empty() || is_optional(request) {
        return Ok(());
    }
    let content_type = before_params(request.value(Name::ContentType).unwrap_or_default());
    if !accepted.types.iter().any(|our| content_type.eq_ignore_ascii_case(our.as_bytes())) {
        return Err(Rejection::ContentType);
    }
    match request.elements(Name::ContentEncoding).all(|encoding| encoding.eq_ignore_ascii_case(b"identity")) {
        true => Ok(()),
        false => Err(Rejection::ContentEncoding),
    }
}

fn is_optional(request: &Message) -> bool {
    let disposition = request.value(Name::ContentDisposition).unwrap_or_default();
    disposition.split(|octet| *octet == b';').skip(1).any(|param| {
        let mut sides = param.splitn(2, |octet| *octet == b'=').map(<[u8]>::trim_ascii);
        let (name, value) = (sides.next().unwrap_or_default(), sides.next().unwrap_or_default());
        name.eq_ignore_ascii_case(b"handling") && value.eq_ignore_ascii_case(b"optional")
    })
}

/// Without an Accept header SDP is meant (RFC 3261 section 20.1).
fn answerable(request: &Message) -> Result<(), Rejection> {
    if !request.is(Method::Invite) || request.value(Name::Accept).is_none() {
        return Ok(());
    }
    let ranges = ["application/sdp", "application/*", "*/*"];
    let takes_sdp = request
        .elements(Name::Accept)
        .map(before_params)
        .any(|range| ranges.iter().any(|sdp| range.eq_ignore_ascii_case(sdp.as_bytes())));
    takes_sdp.then_some(()).ok_or(Rejection::Accept)
}

fn before_params(value: &[u8]) -> &[u8] {
    value.split(|octet| *octet == b';').next().unwrap_or_default().trim_ascii()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::hop::{Transport, TrunkId};

    fn request(start: &str, headers: &str, body: &str) -> Message {
        let head = "v: SIP/2.0/UDP gw;branch=z9hG4bK1\nf: <sip:a@b>;tag=1\nt: <sip:c@d>\ni: 7\nCSeq: 3 INVITE\n";
        let text = format!("{start} SIP/2.0\n{head}{headers}\n{body}");
        Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    fn flow() -> Flow {
        let (local, remote) = ("192.0.2.10:5060".parse().unwrap(), "192.0.2.20:40000".parse().unwrap());
        Flow { connection: 0, trunk: TrunkId(1), transport: Transport::Udp, local, remote }
    }

    fn status(start: &str, headers: &str, body: &str) -> u16 {
        inspect(&request(start, headers, body), &Accepted::default())
            .map_or_else(|rejection| rejection.status(), |()| 0)
    }

    #[test]
    fn each_check_has_its_status() {
        let cases = [
            ("INVITE sip:c@d", "", 0),
            ("INVITE sip:c@d", "Max-Forwards: 0\n", 0),
            ("INVITE tel:+13125556789", "", 0),
            ("INVITE sips:c@d", "", 0),
            ("ACK mailto:c@d", "Require: nothing\n", 0),
            ("CANCEL sip:c@d", "Require: nothing\n", 0),
            ("invite sip:c@d", "", 501),
            ("BENOTIFY sip:c@d", "", 501),
            ("REGISTER sip:d", "", 405),
            ("INVITE mailto:c@d", "", 416),
            ("INVITE nonsense", "", 416),
            ("INVITE sip:c@d", "Require: 100REL, timer\nRequire: ms-early-media\n", 0),
            ("INVITE sip:c@d", "Require: replaces\n", 420),
            ("INVITE sip:c@d", "Require: timer, precondition\n", 420),
            ("INVITE sip:c@d", "Accept: application/sdp;level=1\n", 0),
            ("INVITE sip:c@d", "Accept: text/plain, */*\n", 0),
            ("INVITE sip:c@d", "Accept: text/plain\n", 406),
            ("INVITE sip:c@d", "Accept:\n", 406),
            ("OPTIONS sip:c@d", "Accept: text/plain\n", 0),
        ];
        for (start, headers, wanted) in cases {
            assert_eq!(status(start, headers, ""), wanted, "{start} {headers}");
        }
    }

    #[test]
    fn a_body_must_be_readable_or_optional() {
        let cases = [
            ("c: application/sdp\n", 0),
            ("c: Application/SDP ; charset=utf-8\n", 0),
            ("c: multipart/mixed;boundary=x\n", 0),
            ("c: application/sdp\nContent-Encoding: identity\n", 0),
            ("c: application/sdp\ne: gzip\n", 415),
            ("c: text/plain\n", 415),
            ("", 415),
            ("c: text/plain\nContent-Disposition: session; Handling = optional\n", 0),
            ("c: text/plain\nContent-Disposition: session;handling=required\n", 415),
        ];
        for (headers, wanted) in cases {
            assert_eq!(status("INVITE sip:c@d", headers, "v=0"), wanted, "{headers}");
        }
        assert_eq!(status("OPTIONS sip:c@d", "c: text/plain\n", "hello"), 0);
    }

    #[test]
    fn the_first_failing_check_answers() {
        let both = "Require: x\nAccept: text/plain\n";
        assert_eq!(status("REGISTER mailto:c@d", both, ""), 405);
        assert_eq!(status("INVITE mailto:c@d", both, ""), 416);
        assert_eq!(status("INVITE sip:c@d", both, ""), 420);
    }

    #[test]
    fn a_trunk_may_do_without_sips() {
        let accepted = Accepted { sips: false, ..Accepted::default() };
        assert_eq!(inspect(&request("INVITE sips:c@d", "", ""), &accepted), Err(Rejection::Scheme));
    }

    #[test]
    fn a_refusal_says_what_would_have_been_taken() {
        let refusal = |start, headers, body, name: &str| {
            let (request, accepted) = (request(start, headers, body), Accepted::default());
            let rejection = inspect(&request, &accepted).unwrap_err();
            let response = rejection.response(&request, flow(), "us", &accepted).empty_body();
            assert_eq!((response.status(), response.tag(Name::To)), (Some(rejection.status()), Some("us")));
            let line = response.lines().find(|line| line.text == name.as_bytes()).unwrap();
            String::from_utf8_lossy(line.value).into_owned()
        };
        let allowed = "ACK, INVITE, CANCEL, BYE, OPTIONS, PRACK, UPDATE";
        assert_eq!(refusal("REGISTER sip:d", "", "", "Allow"), allowed);
        assert_eq!(refusal("WINK sip:d", "", "", "Allow"), allowed);
        assert_eq!(refusal("INVITE sip:d", "Require: a, timer\nRequire: b\n", "", "Unsupported"), "a, b");
        let types = "application/sdp, multipart/alternative, multipart/mixed";
        assert_eq!(refusal("INVITE sip:d", "c: text/plain\n", "x", "Accept"), types);
        assert_eq!(refusal("INVITE sip:d", "c: application/sdp\ne: gzip\n", "x", "Accept-Encoding"), "identity");
    }

    #[test]
    fn options_tells_what_we_can() {
        let request = request("OPTIONS sip:c@d", "", "");
        let answer = capabilities(&request, flow(), "us", &Accepted::default(), "<sip:ms1.contoso.com;transport=tls>");
        let answer = answer.empty_body();
        assert_eq!(answer.status(), Some(200));
        assert_eq!(answer.text(Name::Contact), Some("<sip:ms1.contoso.com;transport=tls>"));
        assert!(answer.lists(Name::Allow, "UPDATE") && answer.lists(Name::Supported, "100rel"));
        assert!(answer.lists(Name::Accept, "application/sdp"));
    }
}
