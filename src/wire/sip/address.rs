//! `name-addr` and `addr-spec` with header parameters (RFC 3261 section 20.10).

use std::fmt;

use memchr::{memchr, memchr3};

use super::{Uri, angle_end, quoted_end, split_outside, trim, trim_end, trim_start};

/// Parameters of a header: `;name=value` in any order, as written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Params<'a>(&'a [u8]);

impl<'a> Params<'a> {
    /// From the text behind the first `;`.
    pub(super) fn new(text: &'a [u8]) -> Params<'a> {
        Params(text)
    }

    /// Any value with parameters: what stands before the first `;`, and the parameters.
    pub fn behind(value: &'a [u8]) -> (&'a [u8], Params<'a>) {
        let (head, params) = split_outside(value, b';');
        (trim(head), Params(params.unwrap_or_default()))
    }

    /// All of them in order: name and value, `None` without `=`. Empty ones (`;;`) are passed over.
    pub fn iter(self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> {
        let mut rest = Some(self.0);
        std::iter::from_fn(move || {
            let text = rest?;
            let stop = text.iter().position(|octet| matches!(octet, b';' | b'=' | b'"' | b'<'));
            let (name, value, tail) = match stop {
                Some(at) if text[at] == b'=' => {
                    let (value, tail) = split_outside(&text[at + 1..], b';');
                    (&text[..at], Some(trim(value)), tail)
                }
                Some(at) if text[at] == b';' => (&text[..at], None, Some(&text[at + 1..])),
                _ => {
                    let (name, tail) = split_outside(text, b';');
                    (name, None, tail)
                }
            };
            rest = tail;
            Some((trim(name), value))
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
        Address::first(value).filter(|(_, rest)| rest.is_none()).map(|(address, _)| address)
    }

    /// The first of the addresses in a value, and what stands behind the comma that ends it.
    pub fn first(value: &'a [u8]) -> Option<(Address<'a>, Option<&'a [u8]>)> {
        let open = match value.first()? {
            b'<' => Some(0),
            b'"' => {
                let behind = trim_start(&value[quoted_end(value, 0)?..]);
                behind.starts_with(b"<").then_some(Some(value.len() - behind.len()))?
            }
            _ => memchr3(b'<', b';', b',', value),
        };
        let (display, uri, after) = match open {
            Some(open) if value[open] == b'<' => {
                let close = angle_end(value, open)?;
                (trim_end(&value[..open]), &value[open + 1..close - 1], trim_start(&value[close..]))
            }
            bare => {
                // Without brackets a `?` may not stand in a URI (RFC 3261 section 20.10).
                let (uri, after) = value.split_at(bare.unwrap_or(value.len()));
                memchr(b'?', uri).is_none().then_some((&b""[..], trim(uri), after))?
            }
        };
        let (params, rest) = match after.split_first() {
            None => (after, None),
            Some((b';', list)) => split_outside(list, b','),
            Some((b',', rest)) => (&b""[..], Some(rest)),
            Some(_) => return None,
        };
        Some((Address { display, uri: Uri::parse(uri)?, params: Params::new(params) }, rest))
    }

    /// The display name as text without quotes and escapes; what is not UTF-8 is replaced.
    pub fn display_text(&self) -> String {
        unquote(self.display)
    }
}

/// A quoted string or words as text: without quotes, escapes and folds; what is not UTF-8 is replaced.
pub(super) fn unquote(written: &[u8]) -> String {
    let text = String::from_utf8_lossy(written);
    let bare = text.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let Some(bare) = bare else { return text.split_ascii_whitespace().collect::<Vec<_>>().join(" ") };
    let mut plain = String::with_capacity(bare.len());
    let (mut escaped, mut folded) = (false, false);
    for letter in bare.chars() {
        match letter {
            '\\' if !escaped => escaped = true,
            '\r' | '\n' => folded = true,
            ' ' | '\t' if folded => {}
            letter => {
                if std::mem::take(&mut folded) {
                    plain.push(' ');
                }
                escaped = false;
                plain.push(letter);
            }
        }
    }
    plain
}

impl fmt::Debug for Address<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{:?}>", self.uri)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("sip:a@b", Some(("", "sip:a@b", ""))),
            ("sip:a@b ;tag=1", Some(("", "sip:a@b", "tag=1"))),
            ("<sip:a@b;x>", Some(("", "sip:a@b;x", ""))),
            ("\"a \\\" <b>\"<sip:a,b?c@d>\t; x", Some(("a \" <b>", "sip:a,b?c@d", " x"))),
            ("A. \r\n B <tel:+1>", Some(("A. B", "tel:+1", ""))),
            ("\"folded\r\n  name\" <sip:a>", Some(("folded name", "sip:a", ""))),
            ("sip:a?b@c", None),
            ("<sip:a@b> x", None),
            ("< sip:a@b >", None),
            ("\"a\" b <sip:a>", None),
            ("\"a <sip:a>", None),
            ("<sip:a>, <sip:b>", None),
            ("", None),
        ] {
            let read = Address::parse(text.as_bytes());
            let read = read.map(|address| (address.display_text(), address.uri.as_str(), address.params.as_bytes()));
            let expected = expected.map(|(display, uri, params)| (display.to_owned(), uri, params.as_bytes()));
            assert_eq!(read, expected, "{text}");
        }
    }

    #[test]
    fn parameters() {
        let params = Params::new(b"a;; b = 1 ;c=\"x;y=\\\"z\";=5;Source= host;d=<sip:e;f=g>;last=");
        let all: Vec<_> = params.iter().map(|(name, value)| (name, value.unwrap_or(b"-"))).collect();
        let expected: [(&[u8], &[u8]); 6] = [
            (b"a", b"-"),
            (b"b", b"1"),
            (b"c", b"\"x;y=\\\"z\""),
            (b"Source", b"host"),
            (b"d", b"<sip:e;f=g>"),
            (b"last", b""),
        ];
        assert_eq!(all, expected);
        assert_eq!((params.text("SOURCE"), params.text("a"), params.value("f")), (Some("host"), Some(""), None));
    }
}
