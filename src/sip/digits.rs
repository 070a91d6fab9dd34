//! Digits in INFO (RFC 6086's legacy use): `application/dtmf-relay` as most equipment writes it, and the bare
//! `application/dtmf`.
//!
//! ```text
//! Signal=5
//! Duration=160
//! ```

use std::time::Duration;

use crate::session::Digit;
use crate::wire::sip::{Builder, Message, Name};

/// What we read, as Accept says it.
pub const TYPES: &str = "application/dtmf-relay, application/dtmf";
/// How long a digit is pressed of which only the name is told.
const LENGTH: Duration = Duration::from_millis(160);

/// What an INFO asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Info {
    /// Press this digit for so long.
    Digit(Digit, Duration),
    /// Nothing: it only shows that the dialog lives.
    Nothing,
    /// Something that is not ours to know: 415.
    Foreign,
}

/// Reads an INFO.
pub fn read(message: &Message) -> Info {
    let body = message.body();
    if body.is_empty() {
        return Info::Nothing;
    }
    let content_type = message.text(Name::ContentType).unwrap_or_default();
    let media = content_type.split(';').next().unwrap_or_default().trim();
    let text = String::from_utf8_lossy(body);
    let told = match media.to_ascii_lowercase().as_str() {
        "application/dtmf-relay" => relay(&text),
        "application/dtmf" => key(&text).map(|digit| (digit, LENGTH)),
        _ => None,
    };
    told.map_or(Info::Foreign, |(digit, length)| Info::Digit(digit, length))
}

fn relay(text: &str) -> Option<(Digit, Duration)> {
    let value = |name: &str| {
        let line = |line: &str| {
            let (known, value) = line.split_once('=')?;
            known.trim().eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        text.lines().find_map(line)
    };
    let digit = key(&value("Signal")?)?;
    let length = value("Duration").and_then(|length| length.parse().ok()).map_or(LENGTH, Duration::from_millis);
    Some((digit, length))
}

/// One key: itself, or its number as an event (`10` and `11` are `*` and `#`).
fn key(text: &str) -> Option<Digit> {
    let text = text.trim();
    let mut keys = text.chars();
    match (keys.next(), keys.next()) {
        (Some(key), None) => Digit::of(key),
        _ => text.parse().ok().and_then(Digit::of_event),
    }
}

/// Ends an INFO that tells of this digit.
pub fn write(builder: Builder, digit: Digit, length: Duration) -> Message {
    let text = format!("Signal={}\r\nDuration={}\r\n", digit.key(), length.as_millis());
    builder.body("application/dtmf-relay", text.as_bytes())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::wire::sip::Method;

    fn told(content_type: &str, body: &str) -> Option<(char, u64)> {
        let text = format!(
            "INFO sip:a SIP/2.0\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        match read(&Message::parse(Bytes::from(text)).unwrap()) {
            Info::Digit(digit, length) => Some((digit.key(), length.as_millis() as u64)),
            Info::Nothing | Info::Foreign => None,
        }
    }

    #[test]
    fn digits_as_equipment_writes_them() {
        for (content_type, body, expected) in [
            ("application/dtmf-relay", "Signal=5\r\nDuration=100\r\n", Some(('5', 100))),
            ("Application/DTMF-Relay; charset=utf-8", "Signal= *\nDuration= 250", Some(('*', 250))),
            ("application/dtmf-relay", "Duration=70\r\nSignal=11\r\n", Some(('#', 70))),
            ("application/dtmf-relay", "Signal=d\r\n", Some(('D', 160))),
            ("application/dtmf", "7\r\n", Some(('7', 160))),
            ("application/dtmf-relay", "Duration=70\r\n", None),
            ("application/dtmf-relay", "Signal=16\r\n", None),
            ("text/plain", "Signal=5\r\n", None),
            ("application/media_control+xml", "<picture_fast_update/>", None),
        ] {
            assert_eq!(told(content_type, body), expected, "{content_type} {body:?}");
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for event in 0..16 {
            let digit = Digit::of_event(event).unwrap();
            let message = write(Builder::request(Method::Info, "sip:a"), digit, Duration::from_millis(90));
            assert_eq!(read(&message), Info::Digit(digit, Duration::from_millis(90)));
        }
    }

    #[test]
    fn an_empty_one_and_a_foreign_one_differ() {
        let bare = Message::parse(Bytes::from_static(b"INFO sip:a SIP/2.0\r\nContent-Length: 0\r\n\r\n")).unwrap();
        assert_eq!(read(&bare), Info::Nothing);
        bolero::check!().for_each(|body: &[u8]| {
            let head = format!(
                "INFO sip:a SIP/2.0\r\nContent-Type: application/dtmf-relay\r\nContent-Length: {}\r\n\r\n",
                body.len()
            );
            read(&Message::parse(Bytes::from([head.as_bytes(), body].concat())).unwrap());
        });
    }
}
