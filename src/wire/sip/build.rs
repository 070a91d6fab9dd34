//! Writing messages: lines go in one after the other, the result is a [`Message`] like any that
//! was received, with its bytes ready to send.

use std::fmt::{self, Write as _};

use bytes::Bytes;
use memchr::memchr2;

use super::{Line, Message, Method, Name, Start, is_lws, is_token};

/// A message under construction.
pub struct Builder(Text);

struct Text(Vec<u8>);

impl fmt::Write for Text {
    /// Line ends inside a value would forge headers: they become spaces.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend(text.bytes().map(|octet| if octet == b'\r' || octet == b'\n' { b' ' } else { octet }));
        Ok(())
    }
}

impl Builder {
    /// A request line. A method without a name of its own keeps its text by [`Builder::with_start_of`].
    pub fn request(method: Method, uri: &str) -> Builder {
        let text = if method == Method::Other { "UNKNOWN" } else { method.text() };
        Builder::empty().line_of(format_args!("{text} {uri} SIP/2.0"))
    }

    /// A status line.
    pub fn response(status: u16, reason: &str) -> Builder {
        Builder::empty().line_of(format_args!("SIP/2.0 {status} {reason}"))
    }

    /// The start line of another message with its text as written.
    pub fn with_start_of(message: &Message) -> Builder {
        let mut builder = Builder::empty();
        match message.start() {
            Start::Request { text, uri, .. } => {
                builder.0.0.extend([text, b" ", uri, b" SIP/2.0\r\n"].concat());
                builder
            }
            Start::Response { status, reason } => {
                builder.line_of(format_args!("SIP/2.0 {status} {}", String::from_utf8_lossy(reason)))
            }
        }
    }

    /// One header line.
    #[must_use]
    pub fn header(self, name: Name, value: impl fmt::Display) -> Builder {
        self.other(name.text(), value)
    }

    /// One header line if there is a value.
    #[must_use]
    pub fn maybe(self, name: Name, value: Option<impl fmt::Display>) -> Builder {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// A header that has no [`Name`]. Without a token for its name it is left out: it would be no header.
    #[must_use]
    pub fn other(self, name: &str, value: impl fmt::Display) -> Builder {
        if !is_token(name.as_bytes()) {
            return self;
        }
        self.line_of(format_args!("{name}: {value}"))
    }

    /// A line of another message, byte for byte; only what would end the line early becomes a space.
    #[must_use]
    pub fn line(self, line: Line<'_>) -> Builder {
        self.line_then(line, "")
    }

    /// The same with more behind the value.
    #[must_use]
    pub(super) fn line_then(mut self, line: Line<'_>, more: &str) -> Builder {
        if line.text.is_empty() || line.text.iter().any(|octet| is_lws(octet) || *octet == b':') {
            return self;
        }
        let out = &mut self.0.0;
        out.extend_from_slice(line.text);
        out.extend_from_slice(b": ");
        extend_within_line(out, line.value);
        out.extend_from_slice(more.as_bytes());
        out.extend_from_slice(b"\r\n");
        self
    }

    /// All lines with this name of another message, in order, byte for byte.
    #[must_use]
    pub fn copy(self, from: &Message, name: Name) -> Builder {
        from.lines().filter(|line| line.name == name).fold(self, Builder::line)
    }

    /// A header line whose value came from a peer; what is not UTF-8 is replaced.
    #[must_use]
    pub fn raw(self, name: Name, value: &[u8]) -> Builder {
        self.header(name, String::from_utf8_lossy(value))
    }

    /// Ends the message without a body.
    pub fn empty_body(self) -> Message {
        self.finish(b"")
    }

    /// What stands so far, without the line that would end the headers: a fragment (RFC 3420).
    pub fn fragment(self) -> Vec<u8> {
        let Builder(Text(bytes)) = self;
        bytes
    }

    /// Ends the message with a body of this type.
    pub fn body(self, content_type: &str, body: &[u8]) -> Message {
        self.header(Name::ContentType, content_type).finish(body)
    }

    fn finish(self, body: &[u8]) -> Message {
        let Builder(Text(mut bytes)) = self.header(Name::ContentLength, body.len());
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        // cannot fail: every line was written by this builder with a name, a colon and a line end.
        #[allow(clippy::expect_used)]
        Message::parse_within(Bytes::from(bytes), usize::MAX).expect("a built message parses")
    }

    fn empty() -> Builder {
        Builder(Text(Vec::with_capacity(1024)))
    }

    fn line_of(mut self, line: fmt::Arguments<'_>) -> Builder {
        let _ = self.0.write_fmt(line);
        self.0.0.extend_from_slice(b"\r\n");
        self
    }
}

/// A CR or LF that is no part of a fold becomes a space.
fn extend_within_line(out: &mut Vec<u8>, value: &[u8]) {
    let mut rest = value;
    while let Some(at) = memchr2(b'\r', b'\n', rest) {
        let (before, end) = rest.split_at(at);
        out.extend_from_slice(before);
        let fold = match end {
            [b'\r', b'\n', b' ' | b'\t', ..] => 3,
            [b'\n', b' ' | b'\t', ..] => 2,
            _ => 0,
        };
        match fold {
            0 => out.push(b' '),
            fold => out.extend_from_slice(&end[..fold]),
        }
        rest = &end[fold.max(1)..];
    }
    out.extend_from_slice(rest);
}
