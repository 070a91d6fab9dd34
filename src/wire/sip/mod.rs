//! SIP messages (RFC 3261 section 7) that keep every byte they came with.
//!
//! A [`Message`] is the original text and the places of its lines; views ([`Uri`], [`Address`],
//! [`Via`], [`CSeq`]) are read off it when a machine needs them. What is relayed is copied, never
//! re-made, so that a peer's own spelling, order and unknown parameters survive.
//!
//! The way in: [`Framing`] (a stream) or [`datagram`] cuts, [`Message::parse`] reads, [`validate()`]
//! judges; a refused request gets [`answer_to`] it. A message that cannot be read is dropped: where
//! it ended is known, so the stream goes on.

mod address;
mod build;
mod framing;
mod message;
mod name;
mod refer;
#[cfg(test)]
mod tests;
mod uri;
mod validate;
mod via;
mod views;

use memchr::{memchr2, memchr3};

pub use address::{Address, Params};
pub use build::Builder;
pub use framing::{Framed, Framing, MOST_BODY, MOST_HEAD, datagram};
pub use message::{CSeq, Line, Message, Start, Unreadable};
pub use name::{Method, Name};
pub use refer::{ReferTo, SIPFRAG, fragment, fragment_status, refer_event, without_ms};
pub use uri::{Uri, unescape};
pub use validate::{Fault, MOST_KEY, MOST_URI, Refusal, answer_to, answer_with, validate};
pub use via::Via;
pub use views::{Diagnostic, MediaType, RAck, Reason, Refresher, Replaces, SessionExpires, Warning, date};

/// White space inside a header value: SP, HT, and the CR LF of a folded line.
fn is_lws(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// The octets without white space at both ends.
fn trim(octets: &[u8]) -> &[u8] {
    trim_end(trim_start(octets))
}

fn trim_start(mut octets: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = octets
        && is_lws(first)
    {
        octets = rest;
    }
    octets
}

fn trim_end(mut octets: &[u8]) -> &[u8] {
    while let [rest @ .., last] = octets
        && is_lws(last)
    {
        octets = rest;
    }
    octets
}

/// The octets up to the first `stop` that stands outside quotes and angle brackets, and those
/// behind it. Without such a `stop` the whole, and nothing.
fn split_outside(octets: &[u8], stop: u8) -> (&[u8], Option<&[u8]>) {
    let mut at = 0;
    while let Some(found) = memchr3(stop, b'"', b'<', octets.get(at..).unwrap_or_default()) {
        at += found;
        let behind = match octets[at] {
            b'"' => quoted_end(octets, at),
            b'<' => angle_end(octets, at),
            _ => return (&octets[..at], Some(&octets[at + 1..])),
        };
        match behind {
            Some(behind) => at = behind,
            None => break,
        }
    }
    (octets, None)
}

/// Behind the quote that closes the one at `open`; `None` when nothing closes it.
fn quoted_end(octets: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr2(b'"', b'\\', octets.get(at..)?)?;
        match octets[at] {
            b'"' => return Some(at + 1),
            _ => at += 2,
        }
    }
}

/// Behind the `>` that closes the `<` at `open`; quotes may stand between them.
fn angle_end(octets: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    loop {
        at += memchr2(b'>', b'"', octets.get(at..)?)?;
        match octets[at] {
            b'>' => return Some(at + 1),
            _ => at = quoted_end(octets, at)?,
        }
    }
}

/// Is it a `token` (RFC 3261 section 25.1)?
fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(of_token)
}

fn of_token(octet: &u8) -> bool {
    static TOKEN: [bool; 256] = set(b"-.!%*_+`'~");
    TOKEN[usize::from(*octet)]
}

/// Letters, digits, and `_`, which host names hold though they may not.
fn of_host(octet: &u8) -> bool {
    static HOST: [bool; 256] = set(b".-_");
    HOST[usize::from(*octet)]
}

/// Splits at the first `stop`, which is in neither half.
fn cut(octets: &[u8], stop: u8) -> Option<(&[u8], &[u8])> {
    let at = octets.iter().position(|octet| *octet == stop)?;
    Some((&octets[..at], &octets[at + 1..]))
}

/// Letters, digits and these.
const fn set(more: &[u8]) -> [bool; 256] {
    let mut set = [false; 256];
    let mut at = 0;
    while at < 256 {
        set[at] = (at as u8).is_ascii_alphanumeric();
        at += 1;
    }
    let mut at = 0;
    while at < more.len() {
        set[more[at] as usize] = true;
        at += 1;
    }
    set
}
