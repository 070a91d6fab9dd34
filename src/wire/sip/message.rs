//! A message: its bytes, and where its lines are.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use memchr::{memchr, memchr2, memrchr_iter};

use super::{Address, Builder, Method, Name, Uri, Via, is_lws, of_token, split_outside, trim, trim_end, trim_start};

/// Why some bytes are no SIP message or a view cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// No empty line ends the headers.
    #[error("the headers have no end")]
    NoEnd,
    /// The first line is neither a request line nor a status line.
    #[error("the first line is neither a request nor a response")]
    StartLine,
    /// A header line without a colon, or with nothing before it.
    #[error("a header line without a name")]
    HeaderLine,
    /// The message is larger than 4 GiB or has more lines than anybody needs.
    #[error("too large")]
    TooLarge,
    /// A header that must be there is not.
    #[error("no {0} header")]
    Missing(Name),
    /// A header whose value breaks its grammar.
    #[error("a {0} header that cannot be read")]
    Malformed(Name),
}

/// One header line: name and value as they stand in the message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// Which header.
    pub name: Name,
    /// The name as written.
    pub text: &'a [u8],
    /// The value without white space at its ends; folds are still in it.
    pub value: &'a [u8],
}

/// The first line.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// `INVITE sip:... SIP/2.0`
    Request {
        /// The method.
        method: Method,
        /// Its text.
        text: &'a [u8],
        /// The Request-URI as written.
        uri: &'a [u8],
        /// The version as written.
        version: &'a [u8],
    },
    /// `SIP/2.0 200 OK`
    Response {
        /// The status, 100 to 699 in a valid message.
        status: u16,
        /// The reason phrase as written.
        reason: &'a [u8],
    },
}

/// The sequence number of a request and its method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CSeq {
    /// Below 2^31.
    pub number: u32,
    /// The method; [`Method::Other`] for unknown ones.
    pub method: Method,
}

/// Where a header line is: its name and its value, both without white space around them.
#[derive(Clone, Copy)]
struct LineAt {
    name: Name,
    start: u32,
    name_end: u32,
    value: u32,
    end: u32,
}

#[derive(Clone)]
enum StartAt {
    Request { method: Method, text: Range<u32>, uri: Range<u32>, version: Range<u32> },
    Response { status: u16, reason: Range<u32> },
}

struct Inner {
    bytes: Bytes,
    start: StartAt,
    lines: Vec<LineAt>,
    body: u32,
    bare_cr: bool,
}

/// A whole SIP message. Cheap to clone.
#[derive(Clone)]
pub struct Message(Arc<Inner>);

impl Message {
    /// More header lines than this are refused.
    pub const MOST_LINES: usize = 512;

    /// Reads one whole message; framing has already found where it ends. Takes any method, any
    /// URI scheme, any version, any header and any body: judging them is validation's work.
    pub fn parse(bytes: Bytes) -> Result<Message, Unreadable> {
        Message::parse_within(bytes, Message::MOST_LINES)
    }

    /// The same with another bound on the lines: an answer repeats its request's and adds its own.
    pub(super) fn parse_within(bytes: Bytes, most_lines: usize) -> Result<Message, Unreadable> {
        if bytes.len() > u32::MAX as usize {
            return Err(Unreadable::TooLarge);
        }
        // The start line has no folds (RFC 3261 section 7.1).
        let first_end = memchr(b'\n', &bytes).ok_or(Unreadable::NoEnd)?;
        let first = bytes[..first_end].strip_suffix(b"\r").unwrap_or(&bytes[..first_end]);
        let start = parse_start(first)?;
        let mut bare_cr = memchr(b'\r', first).is_some();
        let mut at = first_end + 1;
        let mut lines = Vec::with_capacity(32);
        loop {
            let (end, next) = line_end(&bytes, at, &mut bare_cr).ok_or(Unreadable::NoEnd)?;
            if end == at {
                let inner = Inner { body: next as u32, bytes, start, lines, bare_cr };
                return Ok(Message(Arc::new(inner)));
            }
            if lines.len() == most_lines {
                return Err(Unreadable::TooLarge);
            }
            lines.push(parse_line(&bytes, at, end)?);
            at = next;
        }
    }

    /// Begins a request.
    pub fn request(method: Method, uri: &str) -> Builder {
        Builder::request(method, uri)
    }

    /// Begins a response.
    pub fn response(status: u16, reason: &str) -> Builder {
        Builder::response(status, reason)
    }

    /// Every byte, as it came or as it shall go.
    pub fn bytes(&self) -> &Bytes {
        &self.0.bytes
    }

    /// The first line.
    pub fn start(&self) -> Start<'_> {
        match &self.0.start {
            StartAt::Request { method, text, uri, version } => Start::Request {
                method: *method,
                text: self.slice(text),
                uri: self.slice(uri),
                version: self.slice(version),
            },
            StartAt::Response { status, reason } => Start::Response { status: *status, reason: self.slice(reason) },
        }
    }

    /// The method of a request.
    pub fn method(&self) -> Option<Method> {
        match self.start() {
            Start::Request { method, .. } => Some(method),
            Start::Response { .. } => None,
        }
    }

    /// The status of a response.
    pub fn status(&self) -> Option<u16> {
        match self.start() {
            Start::Request { .. } => None,
            Start::Response { status, .. } => Some(status),
        }
    }

    /// Is it a request with this method?
    pub fn is(&self, method: Method) -> bool {
        self.method() == Some(method)
    }

    /// The Request-URI; `None` for responses and for URIs that are not ASCII.
    pub fn uri(&self) -> Option<Uri<'_>> {
        match self.start() {
            Start::Request { uri, .. } => Uri::parse(uri),
            Start::Response { .. } => None,
        }
    }

    /// All header lines in order.
    pub fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        self.0.lines.iter().map(|line| self.line(line))
    }

    /// The value of the first line with this name.
    pub fn value(&self, name: Name) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The same as text; `None` also when it is not UTF-8.
    pub fn text(&self, name: Name) -> Option<&str> {
        self.value(name).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all lines with this name, each as it stands.
    pub fn all(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.0.lines.iter().filter(move |line| line.name == name).map(|line| self.line(line).value)
    }

    /// The elements of a header that may be repeated or joined by commas, in order; empty ones left out.
    pub fn elements(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        self.all(name).flat_map(elements).filter(|element| !element.is_empty())
    }

    /// Does a list of tokens (Supported, Require, Allow) name this one, in any case?
    pub fn lists(&self, name: Name, token: &str) -> bool {
        self.elements(name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The top Via.
    pub fn via(&self) -> Result<Via<'_>, Unreadable> {
        let value = self.value(Name::Via).ok_or(Unreadable::Missing(Name::Via))?;
        Via::parse(split_outside(value, b',').0).ok_or(Unreadable::Malformed(Name::Via))
    }

    /// The first address in a header: From, To, Contact, Refer-To, Referred-By, Route.
    pub fn address(&self, name: Name) -> Result<Address<'_>, Unreadable> {
        let value = self.value(name).ok_or(Unreadable::Missing(name))?;
        Address::first(value).map(|(address, _)| address).ok_or(Unreadable::Malformed(name))
    }

    /// The tag in From or To; `None` when there is none.
    pub fn tag(&self, name: Name) -> Option<&str> {
        self.address(name).ok()?.params.text("tag")
    }

    /// The Call-ID.
    pub fn call_id(&self) -> Result<&str, Unreadable> {
        let value = self.value(Name::CallId).ok_or(Unreadable::Missing(Name::CallId))?;
        std::str::from_utf8(value).ok().filter(|text| !text.is_empty()).ok_or(Unreadable::Malformed(Name::CallId))
    }

    /// The CSeq.
    pub fn cseq(&self) -> Result<CSeq, Unreadable> {
        let value = self.value(Name::CSeq).ok_or(Unreadable::Missing(Name::CSeq))?;
        parse_cseq(value).ok_or(Unreadable::Malformed(Name::CSeq))
    }

    /// The method word of the CSeq as written.
    pub fn cseq_method(&self) -> Option<&[u8]> {
        let value = self.value(Name::CSeq)?;
        value.rsplit(is_lws).next()
    }

    /// A header that is one number, perhaps followed by parameters or a comment.
    pub fn number(&self, name: Name) -> Option<u32> {
        let value = self.value(name)?;
        let end = value.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(value.len());
        std::str::from_utf8(&value[..end]).ok()?.parse().ok()
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.0.bytes.get(self.0.body as usize..).unwrap_or_default()
    }

    /// Is there a CR without LF before the body? Some would end a line there, we do not.
    pub(super) fn has_bare_cr(&self) -> bool {
        self.0.bare_cr
    }

    /// Where the body begins.
    pub fn body_start(&self) -> usize {
        self.0.body as usize
    }

    fn line(&self, at: &LineAt) -> Line<'_> {
        Line { name: at.name, text: self.slice(&(at.start..at.name_end)), value: self.slice(&(at.value..at.end)) }
    }

    fn slice(&self, range: &Range<u32>) -> &[u8] {
        self.0.bytes.get(range.start as usize..range.end as usize).unwrap_or_default()
    }
}

impl fmt::Debug for Message {
    /// The first word and the size; never a number or a URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.start() {
            Start::Request { text, .. } => write!(f, "{} ({} bytes)", text.escape_ascii(), self.0.bytes.len()),
            Start::Response { status, .. } => write!(f, "{status} ({} bytes)", self.0.bytes.len()),
        }
    }
}

impl PartialEq for Message {
    fn eq(&self, other: &Message) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for Message {}

/// Where the header line that begins at `at` ends, its folds included, and where the next begins. LF
/// ends a line as CR LF does; a CR alone does not, and is told.
pub(super) fn line_end(bytes: &[u8], at: usize, bare_cr: &mut bool) -> Option<(usize, usize)> {
    let mut from = at;
    loop {
        let end = from + memchr2(b'\r', b'\n', bytes.get(from..)?)?;
        let next = match bytes.get(end..)? {
            [b'\n', ..] => end + 1,
            [_, b'\n', ..] => end + 2,
            _ => {
                *bare_cr = true;
                from = end + 1;
                continue;
            }
        };
        match bytes.get(next) {
            Some(b' ' | b'\t') if end > at => from = next,
            _ => return Some((end, next)),
        }
    }
}

fn parse_line(bytes: &[u8], start: usize, end: usize) -> Result<LineAt, Unreadable> {
    let line = &bytes[start..end];
    // Most names are tokens right up to their colon: one look at each octet.
    let word = line.iter().position(|octet| !of_token(octet)).unwrap_or(line.len());
    let (name, colon) = match line.get(word) {
        Some(b':') => (&line[..word], word),
        _ => memchr(b':', line).map(|colon| (trim_end(&line[..colon]), colon)).ok_or(Unreadable::HeaderLine)?,
    };
    if name.is_empty() || (name.len() > word && name.iter().any(is_lws)) {
        return Err(Unreadable::HeaderLine);
    }
    let value = trim_start(&line[colon + 1..]);
    let value_at = end - value.len();
    let value_end = value_at + trim_end(value).len();
    Ok(LineAt {
        name: Name::of(name),
        start: start as u32,
        name_end: (start + name.len()) as u32,
        value: value_at as u32,
        end: value_end as u32,
    })
}

fn parse_start(line: &[u8]) -> Result<StartAt, Unreadable> {
    if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
        return parse_status(line).ok_or(Unreadable::StartLine);
    }
    let first = memchr(b' ', line).filter(|at| *at > 0).ok_or(Unreadable::StartLine)?;
    let versioned = |at: &usize| line.get(at + 1..at + 5).is_some_and(|word| word.eq_ignore_ascii_case(b"SIP/"));
    let version = memrchr_iter(b' ', line).find(versioned).filter(|at| *at > first).ok_or(Unreadable::StartLine)?;
    let method = Method::of(&line[..first]);
    let (first, version, end) = (first as u32, version as u32, line.len() as u32);
    Ok(StartAt::Request { method, text: 0..first, uri: first + 1..version, version: version + 1..end })
}

fn parse_status(line: &[u8]) -> Option<StartAt> {
    let first = memchr(b' ', line)?;
    let rest = &line[first + 1..];
    let digits = memchr(b' ', rest).unwrap_or(rest.len());
    let status = std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let reason = (first + 1 + digits + 1).min(line.len());
    Some(StartAt::Response { status, reason: reason as u32..line.len() as u32 })
}

fn parse_cseq(value: &[u8]) -> Option<CSeq> {
    let digits = value.iter().position(|octet| !octet.is_ascii_digit())?;
    let number: u32 = std::str::from_utf8(&value[..digits]).ok()?.parse().ok()?;
    let method = trim(&value[digits..]);
    let separated = value[digits..].first().is_some_and(is_lws);
    (number < 1 << 31 && separated && !method.is_empty()).then(|| CSeq { number, method: Method::of(method) })
}

/// The comma-separated elements of one value, empty ones too.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let (element, tail) = split_outside(rest?, b',');
        rest = tail;
        Some(trim(element))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    const INVITE: &str = "INVITE sip:+13125556789@ms1.contoso.com;user=phone SIP/2.0
v: SIP/2.0/TLS pool01.contoso.com:5061;branch=z9hG4bK1;ms-internal-info=\"a;b,c\", SIP/2.0/TCP [2001:db8::9]:15060 ;branch=z9hG4bK2
FROM: \"Smith, \\\"J\\\"\" <sip:2160;phone-context=dialstring@example.com;user=phone>;epid=6477F45221;tag=a3a3579bb
t: <sip:+13125556789@ms1.contoso.com;user=phone>
Call-ID: 1
 2
CSeq:  7   INVITE
Supported: timer
k: Replaces,
 ms-early-media
Contact: <sip:ms5.company1@company1;gruu;opaque=srvr:MediationServer:XzRY;grid=46>;isGateway
Max-Forwards: 70
l: 3

abc";

    #[test]
    fn views_read_compact_folded_and_joined_lines() {
        let invite = message(INVITE);
        assert!(invite.is(Method::Invite));
        assert_eq!(invite.uri().and_then(Uri::user), Some("+13125556789"));
        assert_eq!(
            invite.via().map(|via| (via.host, via.port, via.branch())),
            Ok(("pool01.contoso.com", Some(5061), "z9hG4bK1"))
        );
        let second = invite.elements(Name::Via).nth(1).and_then(Via::parse).unwrap();
        assert_eq!((second.transport, second.host, second.port), ("TCP", "2001:db8::9", Some(15060)));
        let from = invite.address(Name::From).unwrap();
        assert_eq!(from.display_text(), "Smith, \"J\"");
        assert_eq!(from.uri.user(), Some("2160;phone-context=dialstring"));
        assert_eq!(invite.tag(Name::From), Some("a3a3579bb"));
        assert_eq!(invite.tag(Name::To), None);
        assert_eq!(invite.cseq(), Ok(CSeq { number: 7, method: Method::Invite }));
        assert!(invite.lists(Name::Supported, "replaces") && invite.lists(Name::Supported, "MS-EARLY-MEDIA"));
        let contact = invite.address(Name::Contact).unwrap();
        assert_eq!(contact.uri.param("opaque"), Some("srvr:MediationServer:XzRY"));
        assert_eq!(contact.uri.param("grid"), Some("46"));
        assert_eq!(contact.params.value("isgateway"), Some(&b""[..]));
        assert_eq!(invite.body(), b"abc");
    }

    #[test]
    fn the_bytes_are_the_bytes() {
        let invite = message(INVITE);
        assert_eq!(invite.bytes(), &INVITE.replace('\n', "\r\n"));
    }

    #[test]
    fn an_answer_repeats_lines_byte_for_byte() {
        let invite = message(INVITE);
        let ok = Message::response(200, "OK").copy(&invite, Name::Via).copy(&invite, Name::From).empty_body();
        assert_eq!(ok.status(), Some(200));
        let lines = |message: &Message, name| message.all(name).map(<[u8]>::to_vec).collect::<Vec<_>>();
        assert_eq!(lines(&ok, Name::Via), lines(&invite, Name::Via));
        assert_eq!(lines(&ok, Name::From), lines(&invite, Name::From));
    }

    #[test]
    fn a_value_cannot_forge_a_header() {
        let forged = Message::request(Method::Options, "sip:a@b").header(Name::Subject, "x\r\nVia: y").empty_body();
        assert_eq!(forged.value(Name::Via), None);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let cases = [
            ("", Unreadable::NoEnd),
            ("INVITE sip:a@b SIP/2.0\n", Unreadable::NoEnd),
            ("hello\n\n", Unreadable::StartLine),
            ("SIP/2.0 4294967301 better not\n\n", Unreadable::StartLine),
            ("INVITE sip:a@b SIP/2.0\nno colon\n\n", Unreadable::HeaderLine),
            ("INVITE sip:a@b SIP/2.0\n: nothing\n\n", Unreadable::HeaderLine),
        ];
        for (text, why) in cases {
            assert_eq!(Message::parse(Bytes::from(text.replace('\n', "\r\n"))), Err(why), "{text:?}");
        }
    }
}
