//! URIs as text (RFC 3261 section 19.1): parts are read off, nothing is normalised.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr;

/// A URI of any scheme, as written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a>(&'a str);

impl<'a> Uri<'a> {
    /// A URI from its bytes; `None` when they are not printable ASCII, hold `<`, `>` or quotes (which
    /// peers write into the headers of History-Info, so behind a `?` quotes pass), or have no scheme.
    pub fn parse(bytes: &'a [u8]) -> Option<Uri<'a>> {
        static URI: [bool; 256] = printable();
        let stop = bytes.iter().position(|octet| !URI[*octet as usize]);
        if let Some(stop) = stop {
            let headers = memchr(b'?', &bytes[..stop]).is_some();
            let allowed = |octet: &u8| URI[*octet as usize] || *octet == b'"';
            if !headers || !bytes[stop..].iter().all(allowed) {
                return None;
            }
        }
        let colon = memchr(b':', bytes)?;
        let scheme = &bytes[..colon];
        let letters = |octet: &u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.');
        let named = scheme.first().is_some_and(u8::is_ascii_alphabetic) && scheme.iter().all(letters);
        named.then(|| std::str::from_utf8(bytes).ok().map(Uri))?
    }

    /// As written.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The scheme as written.
    pub fn scheme(self) -> &'a str {
        self.0.split_once(':').map_or("", |(scheme, _)| scheme)
    }

    /// Is it `sip:`?
    pub fn is_sip(self) -> bool {
        self.scheme().eq_ignore_ascii_case("sip")
    }

    /// Is it `sips:`?
    pub fn is_sips(self) -> bool {
        self.scheme().eq_ignore_ascii_case("sips")
    }

    /// Is it `tel:`?
    pub fn is_tel(self) -> bool {
        self.scheme().eq_ignore_ascii_case("tel")
    }

    /// What stands before the `@`, its own parameters (`;phone-context=`, `;ext=`) included and a
    /// password left out; for `tel:` the number with its parameters. `None` without a user part.
    pub fn user(self) -> Option<&'a str> {
        if self.is_tel() {
            return Some(self.rest());
        }
        let user = self.before_headers().split_once('@')?.0;
        Some(user.split_once(':').map_or(user, |(user, _)| user))
    }

    /// The host; an IPv6 address without its brackets. Empty for `tel:`.
    pub fn host(self) -> &'a str {
        let host = self.host_port();
        match host.strip_prefix('[') {
            Some(v6) => v6.split_once(']').map_or("", |(v6, _)| v6),
            None => host.split_once(':').map_or(host, |(host, _)| host),
        }
    }

    /// The port; `None` when there is none or it is no port.
    pub fn port(self) -> Option<u16> {
        let host = self.host_port();
        let after = host.rsplit_once(']').map_or(host, |(_, after)| after);
        after.rsplit_once(':')?.1.parse().ok()
    }

    /// A URI parameter: `Some("")` when it has no value. Names in any case; the value may hold `:`
    /// and whatever else peers write there.
    pub fn param(self, name: &str) -> Option<&'a str> {
        self.params().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// All URI parameters in order, those without a value with an empty one.
    pub fn params(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let after_host = if self.is_tel() { "" } else { self.after_user() };
        let list = after_host.split_once(';').map_or("", |(_, list)| list);
        list.split(';').filter(|part| !part.is_empty()).map(|part| part.split_once('=').unwrap_or((part, "")))
    }

    /// What stands behind the `?`, escapes and all.
    pub fn headers(self) -> Option<&'a str> {
        self.rest().get(self.before_headers().len() + 1..)
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
            return self.0.len() > self.scheme().len() + 1;
        }
        let host_port = self.host_port();
        let (host, port) = match host_port.strip_prefix('[') {
            Some(v6) => match v6.split_once(']') {
                Some((host, after)) => (host, after),
                None => return false,
            },
            None => host_port.split_at(memchr(b':', host_port.as_bytes()).unwrap_or(host_port.len())),
        };
        let has_port = match port.strip_prefix(':') {
            Some(port) => port.bytes().all(|octet| octet.is_ascii_digit()) && port.parse::<u16>().is_ok(),
            None => port.is_empty(),
        };
        let of_host = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'.' | b'-' | b'_' | b':' | b'%');
        !host.is_empty() && has_port && host.bytes().all(of_host)
    }

    /// Without scheme.
    fn rest(self) -> &'a str {
        self.0.split_once(':').map_or("", |(_, rest)| rest)
    }

    /// Without scheme and headers. A `?` may stand in a user part, so headers begin behind the `@`.
    fn before_headers(self) -> &'a str {
        let rest = self.rest();
        if self.is_tel() {
            return rest;
        }
        let user_end = rest.find('@').map_or(0, |at| at + 1);
        let end = rest[user_end..].find('?').map_or(rest.len(), |at| user_end + at);
        &rest[..end]
    }

    fn after_user(self) -> &'a str {
        let text = self.before_headers();
        text.split_once('@').map_or(text, |(_, after)| after)
    }

    fn host_port(self) -> &'a str {
        if self.is_tel() {
            return "";
        }
        let after = self.after_user();
        after.split_once(';').map_or(after, |(host, _)| host)
    }
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

/// Printable ASCII without `<`, `>` and quotes.
const fn printable() -> [bool; 256] {
    let mut set = [false; 256];
    let mut octet = 0x21;
    while octet < 0x7f {
        set[octet] = !matches!(octet as u8, b'<' | b'>' | b'"');
        octet += 1;
    }
    set
}
