//! Display (Q.931 section 4.5.16): text for a telephone's screen, as a rule the caller's name.

use super::element::{Element, id};
use crate::private::Private;

/// In front of the text where the dialect has it so: IA5.
pub(super) const IA5: u8 = 0xb1;

/// A text of ISO 8859-1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Display {
    /// The octet that North American switches write first: what kind of text follows.
    pub charset: Option<u8>,
    /// The text.
    pub text: Private<String>,
}

impl Element for Display {
    const ID: u8 = id::DISPLAY;

    /// No text begins with the control characters and signs from 0x80 to 0xbf.
    fn read(contents: &[u8]) -> Option<Display> {
        let (charset, text) = match contents {
            [charset @ 0x80..0xc0, text @ ..] => (Some(*charset), text),
            text => (None, text),
        };
        Some(Display { charset, text: Private(text.iter().copied().map(char::from).collect()) })
    }

    fn write(&self, contents: &mut Vec<u8>) {
        contents.extend(self.charset);
        contents.extend(latin(self.text.get()));
    }
}

/// ISO 8859-1; what it lacks becomes a question mark.
pub(super) fn latin(text: &str) -> impl Iterator<Item = u8> {
    text.chars().map(|c| u8::try_from(c).unwrap_or(b'?'))
}
