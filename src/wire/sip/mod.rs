//! SIP messages (RFC 3261 section 7) that keep every byte they came with.
//!
//! A [`Message`] is the original text and the places of its lines; views ([`Uri`], [`Address`],
//! [`Via`], [`CSeq`]) are read off it when a machine needs them. What is relayed is copied, never
//! re-made, so that a peer's own spelling, order and unknown parameters survive.

mod address;
mod build;
mod message;
mod name;
mod uri;
mod via;

pub use address::{Address, Params};
pub use build::Builder;
pub use message::{CSeq, Line, Message, Start, Unreadable};
pub use name::{Method, Name};
pub use uri::Uri;
pub use via::Via;

/// White space inside a header value: SP, HT, and the CR LF of a folded line.
fn is_lws(octet: &u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\r' | b'\n')
}

/// The octets without white space at both ends.
fn trim(mut octets: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = octets
        && is_lws(first)
    {
        octets = rest;
    }
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
    let (mut quoted, mut escaped, mut angle) = (false, false, false);
    for (at, octet) in octets.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'<' => angle = true,
            b'>' => angle = false,
            octet if *octet == stop && !angle => return (&octets[..at], Some(&octets[at + 1..])),
            _ => {}
        }
    }
    (octets, None)
}
