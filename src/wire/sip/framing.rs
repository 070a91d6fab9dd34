//! Where a message ends (RFC 3261 sections 7.5 and 18.3): cut out of a stream, or out of a datagram.
//!
//! On a stream: CRLFs before a message are keep-alives (RFC 5626 section 3.5.1); the header block
//! ends with the first empty line; Content-Length says how much body follows. Where the boundary
//! cannot be known the stream is broken: answer what can be answered, then close.

use bytes::{Buf, Bytes, BytesMut};
use memchr::memchr;

use super::message::line_end;
use super::{Fault, Name, Refusal, trim};

/// The largest header block. The largest seen in the field is a tenth of it; a longer one would let
/// any peer fill our memory before it said anything.
pub const MOST_HEAD: usize = 64 * 1024;

/// The largest body: what fits a datagram fits here, and no session description comes near it.
pub const MOST_BODY: usize = 64 * 1024;

/// What a stream or a datagram holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Framed {
    /// No whole message yet.
    NeedMore,
    /// One whole message, body included.
    Message(Bytes),
    /// A ping: answer with one CRLF.
    KeepAlive,
    /// The answer to a ping, or a stray line end.
    Pong,
    /// The boundary is unknown: answer the header block if there is one, then close the stream or
    /// forget the datagram.
    Broken(Refusal, Option<Bytes>),
}

/// Cuts one stream into messages. Remembers how far it has looked, so that a sender of single
/// octets costs no more than any other.
#[derive(Clone, Debug, Default)]
pub struct Framing {
    scanned: usize,
    whole: Option<usize>,
    half_ping: bool,
}

impl Framing {
    /// Takes the next thing off the front of `buffer`; call until it says [`Framed::NeedMore`].
    pub fn next(&mut self, buffer: &mut BytesMut) -> Framed {
        if self.scanned == 0
            && let Some(line_end) = self.line_end_first(buffer)
        {
            return line_end;
        }
        if self.whole.is_none()
            && let Err(broken) = self.measure(buffer)
        {
            return broken;
        }
        match self.whole {
            Some(whole) if buffer.len() >= whole => {
                *self = Framing::default();
                Framed::Message(buffer.split_to(whole).freeze())
            }
            _ => Framed::NeedMore,
        }
    }

    /// A CRLF that ends the buffer counts as a pong at once, and as half a ping when the next octets
    /// are another one: whoever waits for a pong must not wait for more.
    fn line_end_first(&mut self, buffer: &mut BytesMut) -> Option<Framed> {
        let half_ping = std::mem::take(&mut self.half_ping);
        match &buffer[..] {
            [b'\r', b'\n', b'\r', b'\n', ..] if !half_ping => {
                buffer.advance(4);
                Some(Framed::KeepAlive)
            }
            [b'\r', b'\n', rest @ ..] => {
                self.half_ping = !half_ping && matches!(rest, [] | [b'\r']);
                buffer.advance(2);
                Some(if half_ping { Framed::KeepAlive } else { Framed::Pong })
            }
            [] | [b'\r'] => {
                self.half_ping = half_ping;
                Some(Framed::NeedMore)
            }
            _ => None,
        }
    }

    /// Finds the end of the headers and with it the size of the whole.
    fn measure(&mut self, buffer: &mut BytesMut) -> Result<(), Framed> {
        let seen = &buffer[..buffer.len().min(MOST_HEAD)];
        let Some(head) = head_end(seen, self.scanned) else {
            // The last three octets may be the beginning of the end.
            self.scanned = seen.len().saturating_sub(3).max(1);
            let room = buffer.len() < MOST_HEAD;
            return if room { Ok(()) } else { Err(Framed::Broken(Refusal::too_large(), None)) };
        };
        match length(&buffer[..head]).and_then(|length| length.on_stream()) {
            Ok(body) => self.whole = Some(head + body),
            Err(refusal) => return Err(Framed::Broken(refusal, Some(buffer.split_to(head).freeze()))),
        }
        Ok(())
    }
}

/// The message in a datagram: octets behind the body are cut off, a body that is too short is
/// refused, and without Content-Length the body is the whole rest.
pub fn datagram(mut bytes: Bytes) -> Framed {
    match &bytes[..] {
        b"\r\n\r\n" => return Framed::KeepAlive,
        octets if octets.iter().all(|octet| matches!(octet, b'\r' | b'\n' | 0)) => return Framed::Pong,
        _ => {}
    }
    while bytes.starts_with(b"\r\n") {
        bytes.advance(2);
    }
    let Some(head) = head_end(&bytes[..bytes.len().min(MOST_HEAD)], 0) else {
        return Framed::Broken(Refusal::of(Fault::NoEnd, None), None);
    };
    match length(&bytes[..head]) {
        Err(refusal) => Framed::Broken(refusal, Some(bytes)),
        Ok(Length { body: Some(body), .. }) if head + body > bytes.len() => {
            Framed::Broken(Refusal::of(Fault::ShortBody, Some(Name::ContentLength)), Some(bytes))
        }
        Ok(Length { body: Some(body), .. }) => Framed::Message(bytes.slice(..head + body)),
        Ok(Length { body: None, .. }) => Framed::Message(bytes),
    }
}

/// Behind the empty line that ends the headers. Looks from `from` on.
fn head_end(octets: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    loop {
        at += memchr(b'\n', octets.get(at..)?)? + 1;
        match octets.get(at..)? {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// What a header block says about the body.
struct Length {
    body: Option<usize>,
    typed: bool,
}

impl Length {
    /// A stream needs Content-Length (RFC 3261 section 20.14). Peers leave it out where there is no
    /// body, and then nothing is lost; with a Content-Type there is one of unknown size.
    fn on_stream(self) -> Result<usize, Refusal> {
        match self.body {
            Some(body) => Ok(body),
            None if self.typed => Err(Refusal::of(Fault::Missing, Some(Name::ContentLength))),
            None => Ok(0),
        }
    }
}

/// Reads Content-Length, every one of them, with the eyes of the parser: same lines, same folds.
fn length(head: &[u8]) -> Result<Length, Refusal> {
    let mut found = Length { body: None, typed: false };
    let mut at = 0;
    while let Some((end, next)) = line_end(head, at, &mut false) {
        let line = &head[at..end];
        at = next;
        if !matches!(line.first(), Some(b'C' | b'c' | b'L' | b'l')) {
            continue;
        }
        let Some(colon) = memchr(b':', line) else { continue };
        match Name::of(trim(&line[..colon])) {
            Name::ContentLength => {
                let body = body_length(trim(&line[colon + 1..]))?;
                if found.body.replace(body).is_some_and(|other| other != body) {
                    return Err(Refusal::of(Fault::Conflicting, Some(Name::ContentLength)));
                }
            }
            Name::ContentType => found.typed = true,
            _ => {}
        }
    }
    Ok(found)
}

/// A Content-Length is digits and no more than we take.
pub(super) fn body_length(value: &[u8]) -> Result<usize, Refusal> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Refusal::of(Fault::Malformed, Some(Name::ContentLength)));
    }
    let grow = |sum: usize, digit: &u8| sum.saturating_mul(10).saturating_add(usize::from(digit - b'0'));
    let length = value.iter().fold(0, grow);
    if length > MOST_BODY { Err(Refusal::too_large()) } else { Ok(length) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PING: &[u8] = b"\r\n\r\n";
    const OPTIONS: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: 1\r\nl : 0\r\n\r\n";
    const NOTIFY: &[u8] =
        b"NOTIFY sip:a@b SIP/2.0\r\nContent-Length:\r\n 012\r\nContent-Type: x/y\r\n\r\nab\r\n\r\n\0\xffcdef";
    const BARE: &[u8] = b"ACK sip:a@b SIP/2.0\nCall-ID: 1\n\n";

    fn drain(framing: &mut Framing, buffer: &mut BytesMut) -> Vec<Framed> {
        let mut all = Vec::new();
        loop {
            match framing.next(buffer) {
                Framed::NeedMore => return all,
                broken @ Framed::Broken(..) => {
                    all.push(broken);
                    return all;
                }
                framed => all.push(framed),
            }
        }
    }

    fn frame(bytes: &[u8]) -> Vec<Framed> {
        drain(&mut Framing::default(), &mut BytesMut::from(bytes))
    }

    fn faults(bytes: &[u8]) -> Vec<(u16, Fault)> {
        let refusal = |framed| match framed {
            Framed::Broken(refusal, _) => Some((refusal.status, refusal.what)),
            _ => None,
        };
        frame(bytes).into_iter().filter_map(refusal).collect()
    }

    fn with_length(lines: &str) -> Vec<u8> {
        format!("OPTIONS sip:a@b SIP/2.0\r\n{lines}\r\nhello").into_bytes()
    }

    #[test]
    fn messages_and_pings_come_out_in_order() {
        let message = |bytes: &'static [u8]| Framed::Message(Bytes::from_static(bytes));
        let stream = [PING, OPTIONS, NOTIFY, b"\r\n", BARE, PING, OPTIONS].concat();
        let expected = vec![
            Framed::KeepAlive,
            message(OPTIONS),
            message(NOTIFY),
            Framed::Pong,
            message(BARE),
            Framed::KeepAlive,
            message(OPTIONS),
        ];
        assert_eq!(frame(&stream), expected);
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_same_messages_and_one_answer_a_ping() {
        let stream = [PING, OPTIONS, NOTIFY, PING, BARE, OPTIONS].concat();
        let whole: Vec<Framed> = frame(&stream);
        for cut in 0..=stream.len() {
            let (mut framing, mut buffer) = (Framing::default(), BytesMut::new());
            let mut all = Vec::new();
            for part in [&stream[..cut], &stream[cut..]] {
                buffer.extend_from_slice(part);
                all.extend(drain(&mut framing, &mut buffer));
            }
            all.retain(|framed| *framed != Framed::Pong);
            assert_eq!(all, whole, "cut at {cut}");
        }
        let (mut framing, mut buffer) = (Framing::default(), BytesMut::new());
        let mut all = Vec::new();
        for octet in &stream {
            buffer.extend_from_slice(&[*octet]);
            all.extend(drain(&mut framing, &mut buffer));
        }
        all.retain(|framed| *framed != Framed::Pong);
        assert_eq!(all, whole);
    }

    #[test]
    fn a_pong_is_told_at_once() {
        let (mut framing, mut buffer) = (Framing::default(), BytesMut::from(&b"\r"[..]));
        assert_eq!(framing.next(&mut buffer), Framed::NeedMore);
        buffer.extend_from_slice(b"\n");
        assert_eq!(framing.next(&mut buffer), Framed::Pong);
        assert_eq!(framing.next(&mut buffer), Framed::NeedMore);
    }

    #[test]
    fn an_unknown_boundary_breaks_the_stream() {
        for (lines, expected) in [
            ("Content-Length: 13\r\nl: 5\r\n", (400, Fault::Conflicting)),
            ("Content-Length: -999\r\n", (400, Fault::Malformed)),
            ("Content-Length: 5, 5\r\n", (400, Fault::Malformed)),
            ("Content-Length:\r\n", (400, Fault::Malformed)),
            ("Content-Length: 0x5\r\n", (400, Fault::Malformed)),
            ("Content-Length: 65537\r\n", (513, Fault::TooLarge)),
            ("Content-Length: 184467440737095516160\r\n", (513, Fault::TooLarge)),
            ("Content-Type: application/sdp\r\n", (400, Fault::Missing)),
        ] {
            assert_eq!(faults(&with_length(lines)), [expected], "{lines:?}");
        }
        for lines in ["Content-Length: 5\r\nl: 05\r\n", "Content-Length:\r\n\t5\r\n", "L\t:\r\n \r\n 5\r\n"] {
            assert!(matches!(frame(&with_length(lines))[..], [Framed::Message(_)]), "{lines:?}");
        }
    }

    #[test]
    fn a_broken_stream_still_names_whom_to_answer() {
        let bytes = with_length("Call-ID: 7\r\nContent-Length: -1\r\n");
        let Some(Framed::Broken(_, Some(head))) = frame(&bytes).pop() else { panic!("not broken") };
        assert_eq!(super::super::Message::parse(head).unwrap().call_id(), Ok("7"));
    }

    #[test]
    fn a_header_block_without_end_is_cut_off_at_its_limit() {
        let (mut framing, mut buffer) = (Framing::default(), BytesMut::new());
        let mut sent = 0;
        loop {
            buffer.extend_from_slice(b"X: y\r\n");
            sent += 6;
            match framing.next(&mut buffer) {
                Framed::NeedMore => assert!(sent < MOST_HEAD),
                framed => return assert_eq!(framed, Framed::Broken(Refusal::too_large(), None)),
            }
        }
    }

    #[test]
    fn a_slow_sender_costs_one_look_at_each_octet() {
        let (mut framing, mut buffer) = (Framing::default(), BytesMut::new());
        for _ in 0..MOST_HEAD - 1 {
            buffer.extend_from_slice(b"x");
            let before = framing.scanned;
            assert_eq!(framing.next(&mut buffer), Framed::NeedMore);
            assert!(buffer.len() - before <= 4);
        }
    }

    #[test]
    fn a_datagram_is_one_message() {
        let cut = |lines: &str| datagram(Bytes::from(with_length(lines)));
        let body = |framed| match framed {
            Framed::Message(bytes) => super::super::Message::parse(bytes).unwrap().body().to_vec(),
            other => panic!("{other:?}"),
        };
        assert_eq!(body(cut("l: 2\r\n")), b"he");
        assert_eq!(body(cut("l: 5\r\n")), b"hello");
        assert_eq!(body(cut("")), b"hello");
        for (lines, fault) in
            [("l: 6\r\n", Fault::ShortBody), ("l: -1\r\n", Fault::Malformed), ("l: 1\r\nl: 2\r\n", Fault::Conflicting)]
        {
            assert!(matches!(cut(lines), Framed::Broken(refusal, Some(_)) if refusal.what == fault), "{lines}");
        }
        assert_eq!(datagram(Bytes::from_static(PING)), Framed::KeepAlive);
        assert_eq!(datagram(Bytes::new()), Framed::Pong);
        assert!(matches!(datagram(Bytes::from_static(b"OPTIONS sip:a SIP/2.0\r\n")), Framed::Broken(_, None)));
    }
}
