//! What is refused before any machine acts on it, and with which answer (RFC 3261 sections 7, 8.2,
//! 16.3 and 20; RFC 4475): whatever two readers could read in two ways, or could not answer.
//!
//! In this order: start line, each header line, what is missing, what contradicts itself. Unknown
//! methods (405, 501), URI schemes (416), extensions (420) and body types (415) pass: refusing them
//! is the user agent's business. Header lines that no machine reads travel unjudged; so do Date and
//! Referred-By, where garbage must not cost the call.
//!
//! The top Via says where an answer goes. Two readings of it that disagree are: a request whose top
//! branch stands again further down under another sent-by or transport (who answers by branch and
//! who answers by sent-by would answer different peers), and a response with more than one Via,
//! which was meant for somebody else (section 8.1.3.3).

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::framing::body_length;
use super::message::elements;
use super::views::{MediaType, RAck, Replaces};
use super::{Address, Builder, Line, Message, Method, Name, Params, Start, Uri, Via, is_lws, is_token, trim};
use crate::cause::reason_phrase;

/// A longer Request-URI is refused. Lync's longest, with a signed route inside, stay below 1 kB.
pub const MOST_URI: usize = 2048;

/// Longer Call-IDs, tags and branches are refused: they are kept for as long as a call lasts.
pub const MOST_KEY: usize = 1024;

/// What is wrong with a message; always the peer's doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// No empty line ends the headers.
    NoEnd,
    /// The request line is not one: method SP Request-URI SP version.
    RequestLine,
    /// The Request-URI has headers, brackets or white space in it, or no host.
    RequestUri,
    /// The Request-URI is longer than [`MOST_URI`].
    LongUri,
    /// A version that is not SIP/2.0.
    Version,
    /// A status outside 100 to 699.
    Status,
    /// A CR without LF in the headers.
    BareCr,
    /// The header must be there.
    Missing,
    /// The header, or a parameter that names the dialog or transaction, is there more than once.
    Repeated,
    /// The header breaks its grammar.
    Malformed,
    /// A number beyond its range.
    OutOfRange,
    /// A key longer than [`MOST_KEY`].
    LongKey,
    /// The method of the CSeq is not the method of the request.
    Mismatch,
    /// A branch that is the bare cookie.
    EmptyBranch,
    /// Two lines that disagree: Content-Lengths, or Vias.
    Conflicting,
    /// The body is shorter than its Content-Length.
    ShortBody,
    /// More headers or more body than is taken.
    TooLarge,
}

/// A message that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The status of the answer.
    pub status: u16,
    /// What is wrong.
    pub what: Fault,
    /// Where.
    pub header: Option<Name>,
}

impl Refusal {
    pub(super) fn of(what: Fault, header: Option<Name>) -> Refusal {
        let status = match what {
            Fault::LongUri => 414,
            Fault::Version => 505,
            Fault::TooLarge => 513,
            _ => 400,
        };
        Refusal { status, what, header }
    }

    pub(super) fn too_large() -> Refusal {
        Refusal::of(Fault::TooLarge, None)
    }

    /// The reason phrase: for a 400 it names the fault (RFC 3261 section 21.4.1).
    pub fn reason(&self) -> String {
        let header = self.header.map_or("header", |name| if name == Name::Other { "header" } else { name.text() });
        match self.what {
            Fault::NoEnd => "Headers Without End".into(),
            Fault::RequestLine => "Malformed Request Line".into(),
            Fault::RequestUri => "Malformed Request-URI".into(),
            Fault::Status => "Malformed Status".into(),
            Fault::BareCr => "CR Without LF".into(),
            Fault::Missing => format!("Missing {header}"),
            Fault::Repeated => format!("Repeated {header}"),
            Fault::Malformed => format!("Malformed {header}"),
            Fault::OutOfRange => format!("{header} Out Of Range"),
            Fault::LongKey => format!("{header} Too Long"),
            Fault::Mismatch => "CSeq Names Another Method".into(),
            Fault::EmptyBranch => "Empty Branch".into(),
            Fault::Conflicting => format!("Conflicting {header}"),
            Fault::ShortBody => "Body Shorter Than Content-Length".into(),
            Fault::LongUri | Fault::Version | Fault::TooLarge => reason_phrase(self.status).into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer sent a message that is refused with {} {}", self.status, self.reason())
    }
}

impl std::error::Error for Refusal {}

/// Judges a message. Bounded work: a few looks at each octet of the header block.
pub fn validate(message: &Message) -> Result<(), Refusal> {
    start_line(message)?;
    if message.has_bare_cr() {
        return Err(Refusal::of(Fault::BareCr, None));
    }
    let mut seen = 0;
    for line in message.lines() {
        let bit = 1u64 << line.name as u32;
        if seen & ONCE & bit != 0 {
            return Err(Refusal::of(Fault::Repeated, Some(line.name)));
        }
        seen |= bit;
        header(message, line).map_err(|fault| Refusal::of(fault, Some(line.name)))?;
    }
    let needed = [Name::Via, Name::From, Name::To, Name::CallId, Name::CSeq];
    match needed.into_iter().find(|name| seen & 1 << *name as u32 == 0) {
        Some(name) => Err(Refusal::of(Fault::Missing, Some(name))),
        None => vias(message).map_err(|fault| Refusal::of(fault, Some(Name::Via))),
    }
}

/// The stateless answer to a refused request: all its Vias, and From, To, Call-ID and CSeq as far as
/// they are there. `None` for responses, for ACK, and when copying could forge a line.
pub fn answer_to(message: &Message, refusal: &Refusal) -> Option<Message> {
    answer_with(message, refusal, |answer| answer)
}

/// The same with headers that are not known here: Date, Server, Reason.
pub fn answer_with(message: &Message, refusal: &Refusal, more: impl FnOnce(Builder) -> Builder) -> Option<Message> {
    if message.method()? == Method::Ack || message.has_bare_cr() {
        return None;
    }
    let mut answer = Builder::response(refusal.status, &refusal.reason()).copy(message, Name::Via);
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq] {
        let Some(line) = message.lines().find(|line| line.name == name) else { continue };
        answer = match name {
            Name::To if message.tag(Name::To).is_none() => answer.line_then(line, &tag(message)),
            _ => answer.line(line),
        };
    }
    Some(more(answer).empty_body())
}

/// A repeated request gets the same tag again (RFC 3261 section 8.2.7).
fn tag(message: &Message) -> String {
    let mut hasher = DefaultHasher::new();
    message.bytes().hash(&mut hasher);
    format!(";tag={:016x}", hasher.finish())
}

/// Headers that may stand only once (RFC 3261 section 20 and the RFCs that define them).
const ONCE: u64 = {
    let names = [
        Name::From,
        Name::To,
        Name::CallId,
        Name::CSeq,
        Name::MaxForwards,
        Name::ContentType,
        Name::ContentDisposition,
        Name::ContentId,
        Name::Expires,
        Name::Date,
        Name::Event,
        Name::SubscriptionState,
        Name::ReferTo,
        Name::ReferredBy,
        Name::Replaces,
        Name::RSeq,
        Name::RAck,
        Name::SessionExpires,
        Name::MinSe,
        Name::RetryAfter,
    ];
    let (mut set, mut at) = (0, 0);
    while at < names.len() {
        set |= 1 << names[at] as u32;
        at += 1;
    }
    set
};
const _: () = assert!((Name::Other as u32) < u64::BITS, "a bit for each name");

fn start_line(message: &Message) -> Result<(), Refusal> {
    let fault = match message.start() {
        Start::Response { status: 100..=699, .. } => return Ok(()),
        Start::Response { .. } => Fault::Status,
        Start::Request { version, .. } if !version.eq_ignore_ascii_case(b"SIP/2.0") => {
            // A version with something around it is a bad line, not another version.
            let shape = |octet: &u8| octet.is_ascii_digit() || *octet == b'.';
            if version.get(4..).is_some_and(|number| number.iter().all(shape)) {
                Fault::Version
            } else {
                Fault::RequestLine
            }
        }
        Start::Request { text, .. } if !is_token(text) => Fault::RequestLine,
        Start::Request { uri, .. } if uri.len() > MOST_URI => Fault::LongUri,
        Start::Request { uri, .. } => match Uri::parse(uri) {
            Some(uri) if uri.headers().is_none() && uri.has_target() => return Ok(()),
            _ => Fault::RequestUri,
        },
    };
    Err(Refusal::of(fault, None))
}

fn header(message: &Message, line: Line<'_>) -> Result<(), Fault> {
    let value = line.value;
    match line.name {
        Name::From | Name::To | Name::ReferTo => match address(value)? {
            None => Ok(()),
            Some(_) => Err(Fault::Malformed),
        },
        Name::Contact if value == b"*" => Ok(()),
        Name::Contact | Name::Route | Name::RecordRoute => addresses(value),
        Name::Via => elements(value).try_for_each(via),
        Name::CallId => key(value, |octet| (0x21..0x7f).contains(octet)),
        Name::CSeq => cseq(message),
        Name::MaxForwards => number(value, 0, 255),
        Name::Expires | Name::RetryAfter => match number(digits(value), 0, u32::MAX) {
            Err(Fault::OutOfRange) => Err(Fault::OutOfRange),
            _ => Ok(()),
        },
        Name::SessionExpires | Name::MinSe => number(digits(value), 0, u32::MAX),
        Name::RSeq => number(value, 1, u32::MAX),
        Name::RAck => RAck::parse(value).map(drop).ok_or(Fault::Malformed),
        Name::Replaces => Replaces::parse(value).map(drop).ok_or(Fault::Malformed),
        Name::ContentType => MediaType::parse(value).map(drop).ok_or(Fault::Malformed),
        Name::ContentLength => content_length(message, value),
        Name::Other if !is_token(line.text) => Err(Fault::Malformed),
        _ => Ok(()),
    }
}

fn addresses(value: &[u8]) -> Result<(), Fault> {
    let mut rest = Some(value);
    while let Some(value) = rest {
        rest = address(trim(value))?;
    }
    Ok(())
}

/// One address; gives what stands behind its comma.
fn address(value: &[u8]) -> Result<Option<&[u8]>, Fault> {
    let (address, rest) = Address::first(value).ok_or(Fault::Malformed)?;
    // Beyond ASCII no token goes, but peers write UTF-8 names without quotes.
    let word = |word: &[u8]| word.is_empty() || is_token(word);
    let quoted = address.display.first() == Some(&b'"');
    let display = if quoted { is_quoted(address.display) } else { words(address.display).all(word) };
    if !display || !address.uri.has_target() {
        return Err(Fault::Malformed);
    }
    params(address.params, b"tag").map(|()| rest)
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|octet| is_lws(octet) || !octet.is_ascii())
}

fn via(element: &[u8]) -> Result<(), Fault> {
    let via = Via::parse(element).ok_or(Fault::Malformed)?;
    params(via.params, b"branch")
}

/// Parameters one by one, none empty, none with a loose quote; the one that is a key is there once.
fn params(all: Params<'_>, key_name: &[u8]) -> Result<(), Fault> {
    if all.as_bytes().is_empty() {
        return Ok(());
    }
    let mut keys = 0;
    for (name, value) in all.each() {
        let sound = match value {
            None => true,
            Some([b'"', ..]) => value.is_some_and(is_quoted),
            Some(value) => !value.is_empty() && !value.iter().any(|octet| is_lws(octet) || *octet == b'"'),
        };
        if !sound || !is_token(name) {
            return Err(Fault::Malformed);
        }
        if name.eq_ignore_ascii_case(key_name) {
            keys += 1;
            key(value.unwrap_or_default(), |octet| !octet.is_ascii_control())?;
        }
    }
    if keys > 1 { Err(Fault::Repeated) } else { Ok(()) }
}

/// One quoted string from its first quote to its last.
fn is_quoted(text: &[u8]) -> bool {
    super::quoted_end(text, 0) == Some(text.len())
}

fn key(value: &[u8], allowed: impl Fn(&u8) -> bool) -> Result<(), Fault> {
    match value {
        value if value.len() > MOST_KEY => Err(Fault::LongKey),
        value if value.is_empty() || !value.iter().all(allowed) => Err(Fault::Malformed),
        _ => Ok(()),
    }
}

fn cseq(message: &Message) -> Result<(), Fault> {
    let value = message.value(Name::CSeq).unwrap_or_default();
    let digits = digits(value);
    number(digits, 0, (1 << 31) - 1)?;
    let method = trim(&value[digits.len()..]);
    if message.cseq().is_err() || !is_token(method) {
        return Err(Fault::Malformed);
    }
    match message.start() {
        Start::Request { text, .. } if text != method => Err(Fault::Mismatch),
        _ => Ok(()),
    }
}

fn digits(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|octet| !octet.is_ascii_digit()).unwrap_or(value.len());
    &value[..end]
}

fn number(value: &[u8], least: u32, most: u32) -> Result<(), Fault> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Fault::Malformed);
    }
    let grow = |sum: u64, digit: &u8| sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    let number = value.iter().fold(0, grow);
    if (u64::from(least)..=u64::from(most)).contains(&number) { Ok(()) } else { Err(Fault::OutOfRange) }
}

/// Framing has cut the body to this length; here only what it could not see: a body of its own.
fn content_length(message: &Message, value: &[u8]) -> Result<(), Fault> {
    let length = body_length(value).map_err(|refusal| refusal.what)?;
    match length.cmp(&message.body().len()) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(Fault::ShortBody),
        std::cmp::Ordering::Less => Err(Fault::Conflicting),
    }
}

/// The head comment says which Vias disagree.
fn vias(message: &Message) -> Result<(), Fault> {
    let mut all = message.elements(Name::Via);
    let top = all.next().and_then(Via::parse).ok_or(Fault::Malformed)?;
    let branch = top.branch();
    if branch == "z9hG4bK" {
        return Err(Fault::EmptyBranch);
    }
    let mut below = all.peekable();
    if below.peek().is_some() && message.status().is_some() {
        return Err(Fault::Conflicting);
    }
    let same_branch = |via: &Via<'_>| branch.starts_with("z9hG4bK") && via.branch() == branch;
    let disagrees = |via: &Via<'_>| (via.transport, via.host, via.port) != (top.transport, top.host, top.port);
    match below.filter_map(Via::parse).any(|via| same_branch(&via) && disagrees(&via)) {
        true => Err(Fault::Conflicting),
        false => Ok(()),
    }
}
