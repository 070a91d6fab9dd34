//! URIs as text (RFC 3261 section 19.1): parts are read off, nothing is normalised.

use std::fmt;

/// A URI of any scheme, as written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Uri<'a>(&'a str);

impl<'a> Uri<'a> {
    /// A URI from its bytes; `None` when they are not printable ASCII or have no scheme.
    pub fn parse(bytes: &'a [u8]) -> Option<Uri<'a>> {
        let printable = bytes.iter().all(|octet| (0x21..0x7f).contains(octet) && !b"<>\"".contains(octet));
        let text = std::str::from_utf8(bytes).ok()?;
        let scheme = text.split_once(':')?.0;
        let letters = |text: &str| text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"+-.".contains(&octet));
        (printable && !scheme.is_empty() && letters(scheme)).then_some(Uri(text))
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

    /// What stands behind the `?`.
    pub fn headers(self) -> Option<&'a str> {
        self.rest().split_once('?').filter(|_| !self.is_tel()).map(|(_, headers)| headers)
    }

    /// Without scheme.
    fn rest(self) -> &'a str {
        self.0.split_once(':').map_or("", |(_, rest)| rest)
    }

    /// Without scheme and headers. A `?` may stand in a user part, so headers begin behind the `@`.
    fn before_headers(self) -> &'a str {
        let rest = self.rest();
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
