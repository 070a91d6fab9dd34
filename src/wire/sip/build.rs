//! Writing messages: lines go in one after the other, the result is a [`Message`] like any that
//! was received, with its bytes ready to send.

use std::fmt::{self, Write as _};

use bytes::Bytes;

use super::{Line, Message, Method, Name, Start};

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
    /// A request line.
    pub fn request(method: Method, uri: &str) -> Builder {
        Builder::empty().line_of(format_args!("{} {uri} SIP/2.0", method.text()))
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
        self.line_of(format_args!("{}: {value}", name.text()))
    }

    /// One header line if there is a value.
    #[must_use]
    pub fn maybe(self, name: Name, value: Option<impl fmt::Display>) -> Builder {
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// A header that has no [`Name`].
    #[must_use]
    pub fn other(self, name: &str, value: impl fmt::Display) -> Builder {
        self.line_of(format_args!("{name}: {value}"))
    }

    /// A line of another message, byte for byte.
    #[must_use]
    pub fn line(self, line: Line<'_>) -> Builder {
        self.line_then(line, "")
    }

    /// The same with more behind the value.
    #[must_use]
    pub(super) fn line_then(mut self, line: Line<'_>, more: &str) -> Builder {
        let out = &mut self.0.0;
        out.extend_from_slice(line.text);
        out.extend_from_slice(b": ");
        out.extend_from_slice(line.value);
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
