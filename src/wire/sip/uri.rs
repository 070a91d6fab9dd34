//! URIs as text (RFC 3261 section 19.1): parts are read off, nothing is normalised.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

use super::{cut, of_host};

/// A URI of any scheme, as written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a> {
    /// Printable ASCII, and only made text of where somebody reads it.
    bytes: &'a [u8],
    scheme: Scheme,
    /// Where the scheme ends.
    colon: usize,
    /// Behind the user part and its `@`; the end for schemes without a host.
    host: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Sip,
    Sips,
    Tel,
    Other,
}

impl Scheme {
    fn of(text: &[u8]) -> Option<Scheme> {
        let letters = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.');
        match text {
            b"sip" => Some(Scheme::Sip),
            text if text.eq_ignore_ascii_case(b"sip") => Some(Scheme::Sip),
            text if text.eq_ignore_ascii_case(b"sips") => Some(Scheme::Sips),
            text if text.eq_ignore_ascii_case(b"tel") => Some(Scheme::Tel),
            [first, rest @ ..] => (first.is_ascii_alphabetic() && rest.iter().all(letters)).then_some(Scheme::Other),
            [] => None,
        }
    }
}

impl<'a> Uri<'a> {
    /// A URI from its bytes; `None` when they are not printable ASCII, hold `<`, `>` or quotes (which
    /// peers write into the headers of History-Info, so behind a `?` quotes pass), or have no scheme.
    pub fn parse(bytes: &'a [u8]) -> Option<Uri<'a>> {
        if !printable(bytes) {
            let headers = memchr(b'?', bytes)?;
            let quoted = bytes[headers..].split(|octet| *octet == b'"').all(printable);
            (printable(&bytes[..headers]) && quoted).then_some(())?;
        }
        let colon = bytes.iter().position(|octet| *octet == b':')?;
        let scheme = Scheme::of(&bytes[..colon])?;
        let host = match scheme {
            Scheme::Tel => bytes.len(),
            _ => memchr(b'@', &bytes[colon..]).map_or(colon + 1, |at| colon + at + 1),
        };
        Some(Uri { bytes, scheme, colon, host })
    }

    /// As written.
    pub fn as_str(self) -> &'a str {
        text(self.bytes)
    }

    /// The scheme as written.
    pub fn scheme(self) -> &'a str {
        text(&self.bytes[..self.colon])
    }

    /// Is it `sip:`?
    pub fn is_sip(self) -> bool {
        self.scheme == Scheme::Sip
    }

    /// Is it `sips:`?
    pub fn is_sips(self) -> bool {
        self.scheme == Scheme::Sips
    }

    /// Is it `tel:`?
    pub fn is_tel(self) -> bool {
        self.scheme == Scheme::Tel
    }

    /// What stands before the `@`, its own parameters (`;phone-context=`, `;ext=`) included and a
    /// password left out; for `tel:` the number with its parameters. `None` without a user part.
    pub fn user(self) -> Option<&'a str> {
        let rest = &self.bytes[self.colon + 1..self.host.max(self.colon + 1)];
        if self.is_tel() {
            return Some(text(rest));
        }
        let user = rest.strip_suffix(b"@")?;
        Some(text(cut(user, b':').map_or(user, |(user, _)| user)))
    }

    /// The host; an IPv6 address without its brackets. Empty for `tel:`.
    pub fn host(self) -> &'a str {
        text(self.host_port().0)
    }

    /// The port; `None` when there is none or it is no port.
    pub fn port(self) -> Option<u16> {
        text(self.host_port().1.strip_prefix(b":")?).parse().ok()
    }

    /// A URI parameter: `Some("")` when it has no value. Names in any case; the value may hold `:`
    /// and whatever else peers write there.
    pub fn param(self, name: &str) -> Option<&'a str> {
        self.params().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All URI parameters in order, those without a value with an empty one.
    pub fn params(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let behind = self.behind_user();
        let after = cut(behind, b'?').map_or(behind, |(after, _)| after);
        let list = cut(after, b';').map_or(&b""[..], |(_, list)| list);
        let parts = list.split(|octet| *octet == b';').filter(|part| !part.is_empty());
        parts.map(|part| cut(part, b'=').unwrap_or((part, b""))).map(|(name, value)| (text(name), text(value)))
    }

    /// What stands behind the `?`, escapes and all.
    pub fn headers(self) -> Option<&'a str> {
        let behind = self.behind_user();
        cut(behind, b'?').map(|(_, headers)| text(headers))
    }

    /// A header of the URI with its escapes resolved: `Replaces` in a Refer-To.
    pub fn header(self, name: &str) -> Option<Cow<'a, [u8]>> {
        let all = self.headers()?.split('&').map(|header| header.split_once('=').unwrap_or((header, "")));
        let mut named = all.filter(|(key, _)| *unescape(key) == *name.as_bytes() || key.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| unescape(value))
    }

    /// Do both name the same user? Escapes mean their characters, case counts (RFC 3261 section 19.1.4).
    pub fn same_user(self, other: Uri<'_>) -> bool {
        match (self.user(), other.user()) {
            (Some(ours), Some(theirs)) => unescape(ours) == unescape(theirs),
            (ours, theirs) => ours.is_none() && theirs.is_none(),
        }
    }

    /// Can a request go there? A SIP URI needs a host and a port that is one; of other schemes
    /// nothing is known here.
    pub(super) fn has_target(self) -> bool {
        if !self.is_sip() && !self.is_sips() {
            return self.bytes.len() > self.colon + 1;
        }
        let behind = self.behind_user();
        let host_end = match behind.first() {
            Some(b'[') => {
                behind.iter().position(|octet| *octet == b']').filter(|end| *end > 2).map_or(0, |end| end + 1)
            }
            _ => behind.iter().position(|octet| !of_host(octet)).unwrap_or(behind.len()),
        };
        let after = &behind[host_end..];
        let after = match after.strip_prefix(b":") {
            Some(port) if self.port().is_some() => {
                &port[port.iter().take_while(|octet| octet.is_ascii_digit()).count()..]
            }
            _ => after,
        };
        host_end > 0 && matches!(after, [] | [b';' | b'?', ..])
    }

    /// What stands behind the user part, headers included: a `?` may stand in a user part, so
    /// headers begin behind the `@`. Empty for `tel:`.
    fn behind_user(self) -> &'a [u8] {
        &self.bytes[self.host..]
    }

    /// The host without brackets, and what follows it up to the parameters.
    fn host_port(self) -> (&'a [u8], &'a [u8]) {
        let behind = self.behind_user();
        let end = behind.iter().position(|octet| matches!(octet, b';' | b'?')).unwrap_or(behind.len());
        let host = &behind[..end];
        match host.strip_prefix(b"[") {
            Some(v6) => cut(v6, b']').unwrap_or_default(),
            None => host.split_at(host.iter().position(|octet| *octet == b':').unwrap_or(host.len())),
        }
    }
}

/// ASCII as text.
fn text(ascii: &[u8]) -> &str {
    std::str::from_utf8(ascii).unwrap_or_default()
}

impl fmt::Debug for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:(hidden)", self.scheme())
    }
}

/// `%HH` as the octet it stands for; anything else behind a `%` stays as written.
pub fn unescape(text: &str) -> Cow<'_, [u8]> {
    let Some(first) = text.find('%') else { return Cow::Borrowed(text.as_bytes()) };
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = &text.as_bytes()[first..];
    plain.extend_from_slice(&text.as_bytes()[..first]);
    while let Some((octet, behind)) = rest.split_first() {
        let digits = (*octet == b'%').then(|| behind.first_chunk::<2>()).flatten();
        let escaped = digits.and_then(|[high, low]| Some(hex(*high)? << 4 | hex(*low)?));
        plain.push(escaped.unwrap_or(*octet));
        rest = if escaped.is_some() { &behind[2..] } else { behind };
    }
    Cow::Owned(plain)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

/// Printable ASCII without `<`, `>` and quotes. Looks at every octet, so that the compiler can take
/// many at once.
fn printable(bytes: &[u8]) -> bool {
    bytes.iter().fold(true, |all, octet| {
        all & (octet.wrapping_sub(0x21) < 0x5e) & (*octet != b'<') & (*octet != b'>') & (*octet != b'"')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> Uri<'_> {
        Uri::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn parts() {
        for (text, user, host, port, headers) in [
            ("sip:h", None, "h", None, None),
            ("SIPS:a:secret@h:5061;lr?x=y", Some("a"), "h", Some(5061), Some("x=y")),
            ("sip:a?b;c@[::1]?Route=%3Csip:d%3E", Some("a?b;c"), "::1", None, Some("Route=%3Csip:d%3E")),
            ("sip:@h:", Some(""), "h", None, None),
            ("sip:a@h:65536", Some("a"), "h", None, None),
            ("sip:h?a=1?b", None, "h", None, Some("a=1?b")),
            ("tel:+1312;ext=7?x", Some("+1312;ext=7?x"), "", None, None),
            ("sip:+1@h?Reason=SIP;text=\"a\"", Some("+1"), "h", None, Some("Reason=SIP;text=\"a\"")),
        ] {
            let uri = uri(text);
            assert_eq!((uri.as_str(), uri.user(), uri.host()), (text, user, host));
            assert_eq!((uri.port(), uri.headers()), (port, headers), "{text}");
        }
    }

    #[test]
    fn what_is_no_uri() {
        for text in
            ["", "h", ":h", "1sip:h", "s p:h", "sip:a b", "<sip:h>", "sip:\"a\"@h", "sip:\u{f6}@h", "sip:a\u{7f}@h"]
        {
            assert_eq!(Uri::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn targets() {
        for text in ["sip:h", "sip:a@h.:5060", "sips:[::1]:1;lr", "sip:h_1?x=y", "tel:+1", "urn:x"] {
            assert!(uri(text).has_target(), "{text}");
        }
        for text in [
            "sip:",
            "sip:a@",
            "sip:a@:5060",
            "sip:h:",
            "sip:h:+1",
            "sip:h:65536",
            "sip:[::1",
            "sip:[]",
            "sip:h/x",
            "tel:",
        ] {
            assert!(!uri(text).has_target(), "{text}");
        }
    }

    #[test]
    fn escapes() {
        for (text, plain) in [
            ("a%40b", &b"a@b"[..]),
            ("%00%fF", b"\0\xff"),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%4g%41", b"%4gA"),
            ("%%41", b"%A"),
            ("%2541", b"%41"),
        ] {
            assert_eq!(unescape(text), plain, "{text}");
        }
        assert!(uri("sip:%75ser@a").same_user(uri("sip:user@b")));
        assert!(!uri("sip:User@a").same_user(uri("sip:user@a")));
        assert!(!uri("sip:a").same_user(uri("sip:user@a")));
    }
}
