//! `name-addr` and `addr-spec` with header parameters (RFC 3261 section 20.10).

use std::fmt;

use super::{Uri, is_lws, split_outside, trim};

/// Parameters of a header: `;name=value` in any order, as written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// From the text behind the first `;`.
    pub(super) fn new(text: &'a [u8]) -> Params<'a> {
        Params(text)
    }

    /// All of them in order: name and value, `None` without `=`. Empty ones (`;;`) are passed over.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut rest = Some(self.0);
        std::iter::from_fn(move || {
            let (param, tail) = split_outside(rest?, b';');
            rest = tail;
            let (name, value) = split_outside(param, b'=');
            Some((trim(name), value.map(trim)))
        })
        .filter(|(name, _)| !name.is_empty())
    }

    /// The value of a parameter as written, quotes included; `Some` and empty when it has none.
    pub fn value(self, name: &str) -> Option<&'a [u8]> {
        let found = self.iter().find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        found.map(|(_, value)| value.unwrap_or_default())
    }

    /// The same as text without surrounding quotes; `None` also when it is not UTF-8.
    pub fn text(self, name: &str) -> Option<&'a str> {
        let value = self.value(name)?;
        let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        std::str::from_utf8(bare).ok()
    }

    /// As written.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }
}

/// An address: display name, URI, header parameters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Address<'a> {
    /// The display name as written, quotes included; empty when there is none.
    pub display: &'a [u8],
    /// The URI.
    pub uri: Uri<'a>,
    /// What follows the URI.
    pub params: Params<'a>,
}

impl<'a> Address<'a> {
    /// Reads one address; `None` when its URI cannot be found or is no URI.
    pub fn parse(value: &'a [u8]) -> Option<Address<'a>> {
        match bracket(value) {
            Some(open) => {
                let close = open + value[open..].iter().position(|octet| *octet == b'>')?;
                let uri = Uri::parse(trim(&value[open + 1..close]))?;
                let after = trim(&value[close + 1..]);
                let params = after.strip_prefix(b";").or(after.is_empty().then_some(after))?;
                Some(Address { display: trim(&value[..open]), uri, params: Params::new(params) })
            }
            None => {
                let (uri, params) = split_outside(value, b';');
                let uri = Uri::parse(trim(uri))?;
                Some(Address { display: b"", uri, params: Params::new(params.unwrap_or_default()) })
            }
        }
    }

    /// The display name as text without quotes and escapes; what is not UTF-8 is replaced.
    pub fn display_text(&self) -> String {
        let text = String::from_utf8_lossy(self.display);
        let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let Some(bare) = bare else { return text.split_ascii_whitespace().collect::<Vec<_>>().join(" ") };
        let mut plain = String::with_capacity(bare.len());
        let mut escaped = false;
        for letter in bare.chars() {
            match letter {
                '\\' if !escaped => escaped = true,
                letter => {
                    escaped = false;
                    plain.push(letter);
                }
            }
        }
        plain
    }
}

impl fmt::Debug for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}>", self.uri)
    }
}

/// Where the `<` of a name-addr stands: the first one outside quotes.
fn bracket(value: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, octet) in value.iter().enumerate() {
        match octet {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'<' if !quoted => return Some(at),
            octet if !quoted && !is_lws(octet) && *octet == b';' => return None,
            _ => {}
        }
    }
    None
}
