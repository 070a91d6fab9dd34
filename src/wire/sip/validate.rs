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
use super::views::{RAck, Replaces};
use super::{Address, Builder, Line, Message, Method, Name, Params, Start, Uri, Via};
use super::{is_lws, is_token, of_token, quoted_end, trim, trim_start};
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
/// they are there. `None` for responses and for ACK.
pub fn answer_to(message: &Message, refusal: &Refusal) -> Option<Message> {
    answer_with(message, refusal, |answer| answer)
}

/// The same with headers that are not known here: Date, Server, Reason.
pub fn answer_with(message: &Message, refusal: &Refusal, more: impl FnOnce(Builder) -> Builder) -> Option<Message> {
    if message.method()? == Method::Ack {
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
        Name::CallId => key(value, b'!'),
        Name::CSeq => cseq(message, value),
        Name::MaxForwards => number(value, 0, 255),
        Name::Expires | Name::RetryAfter => match number(digits(value), 0, u32::MAX) {
            Err(Fault::OutOfRange) => Err(Fault::OutOfRange),
            _ => Ok(()),
        },
        Name::SessionExpires | Name::MinSe => number(digits(value), 0, u32::MAX),
        Name::RSeq => number(value, 1, u32::MAX),
        Name::RAck => RAck::parse(value).map(drop).ok_or(Fault::Malformed),
        Name::Replaces => Replaces::parse(value).map(drop).ok_or(Fault::Malformed),
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
    let mut words = address.display.split(|octet| is_lws(octet) || !octet.is_ascii());
    if !(address.display.starts_with(b"\"") || words.all(word)) || !address.uri.has_target() {
        return Err(Fault::Malformed);
    }
    params(address.params, b"tag").map(|_| rest)
}

/// Parameters one by one, none empty, none with a loose quote; the one that is a key is there once.
/// Gives the key.
fn params<'a>(all: Params<'a>, key_name: &[u8]) -> Result<Option<&'a [u8]>, Fault> {
    let mut found = None;
    let mut rest = all.as_bytes();
    while !rest.is_empty() {
        let (name, value, behind) = param(rest).ok_or(Fault::Malformed)?;
        if name.len() == key_name.len() && name.eq_ignore_ascii_case(key_name) {
            key(value, b' ')?;
            if found.replace(value).is_some() {
                return Err(Fault::Repeated);
            }
        }
        rest = behind;
    }
    Ok(found)
}

/// What ends a value without quotes; of these only white space and `;` may follow one.
static LOOSE: [bool; 256] = {
    let mut set = [false; 256];
    let ends = b" \t\r\n;,\"<>";
    let mut at = 0;
    while at < ends.len() {
        set[ends[at] as usize] = true;
        at += 1;
    }
    set
};

/// The first parameter, its value (empty without one), and what stands behind its `;`.
fn param(text: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let text = trim_start(text);
    let (name, rest) = text.split_at(text.iter().position(|octet| !of_token(octet)).unwrap_or(text.len()));
    let rest = trim_start(rest);
    let (value, rest) = match rest {
        [b'=', rest @ ..] => {
            let rest = trim_start(rest);
            let end = match rest.first() {
                Some(b'"') => quoted_end(rest, 0)?,
                _ => rest.iter().position(|octet| LOOSE[usize::from(*octet)]).unwrap_or(rest.len()),
            };
            (end > 0).then(|| rest.split_at(end))?
        }
        rest => (&b""[..], rest),
    };
    let behind = match trim_start(rest) {
        [] => &b""[..],
        [b';', behind @ ..] if !trim_start(behind).is_empty() => behind,
        _ => return None,
    };
    (!name.is_empty()).then_some((name, value, behind))
}

/// Call-IDs, tags and branches: printable ASCII from `least` on. Looks at every octet, so that the
/// compiler can take many at once.
fn key(value: &[u8], least: u8) -> Result<(), Fault> {
    match value {
        [] => Err(Fault::Malformed),
        value if value.len() > MOST_KEY => Err(Fault::LongKey),
        value if value.iter().fold(true, |all, octet| all & (octet.wrapping_sub(least) < 0x7f - least)) => Ok(()),
        _ => Err(Fault::Malformed),
    }
}

fn cseq(message: &Message, value: &[u8]) -> Result<(), Fault> {
    let digits = digits(value);
    number(digits, 0, (1 << 31) - 1)?;
    let method = trim_start(&value[digits.len()..]);
    if method.len() + digits.len() == value.len() || !is_token(method) {
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

/// Every Via can be read; the head comment says which of them disagree.
fn vias(message: &Message) -> Result<(), Fault> {
    let mut top = None;
    for element in message.all(Name::Via).flat_map(elements) {
        let via = Via::parse(element).ok_or(Fault::Malformed)?;
        let branch = params(via.params, b"branch")?.unwrap_or_default();
        let sent_by = (via.transport, via.host, via.port);
        match top {
            None if branch == COOKIE => return Err(Fault::EmptyBranch),
            None => top = Some((branch, sent_by)),
            Some(_) if message.status().is_some() => return Err(Fault::Conflicting),
            Some((top_branch, top_sent_by)) => {
                if branch == top_branch && sent_by != top_sent_by && branch.starts_with(COOKIE) {
                    return Err(Fault::Conflicting);
                }
            }
        }
    }
    Ok(())
}

/// What every branch since RFC 3261 begins with (section 8.1.1.7).
const COOKIE: &[u8] = b"z9hG4bK";
