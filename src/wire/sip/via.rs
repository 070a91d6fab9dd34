//! One Via (RFC 3261 section 20.42).

use super::{Params, is_lws, is_token, of_host, split_outside, trim, trim_start};

/// One element of the Via list.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Via<'a> {
    /// The transport as written: `TLS`, `UDP`, or one nobody knows.
    pub transport: &'a str,
    /// The sent-by host; an IPv6 address without brackets.
    pub host: &'a str,
    /// The sent-by port.
    pub port: Option<u16>,
    /// branch, received, rport and the rest.
    pub params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one element; `None` when it breaks the grammar.
    pub fn parse(value: &'a [u8]) -> Option<Via<'a>> {
        let (head, params) = split_outside(value, b';');
        // Most peers write it without white space.
        let rest = match head.strip_prefix(b"SIP/2.0/") {
            Some(rest) => rest,
            None => protocol(head)?,
        };
        let rest = trim_start(rest);
        let gap = rest.iter().position(is_lws)?;
        let transport = std::str::from_utf8(&rest[..gap]).ok().filter(|text| is_token(text.as_bytes()))?;
        let (host, port) = split_host(trim(&rest[gap..]))?;
        Some(Via { transport, host, port, params: Params::new(params.unwrap_or_default()) })
    }

    /// The branch; empty when there is none.
    pub fn branch(&self) -> &'a str {
        self.params.text("branch").unwrap_or_default()
    }
}

/// Behind `SIP / 2.0 /`.
fn protocol(head: &[u8]) -> Option<&[u8]> {
    let mut parts = head.splitn(3, |octet| *octet == b'/');
    let (name, version, rest) = (trim(parts.next()?), trim(parts.next()?), parts.next()?);
    (name.eq_ignore_ascii_case(b"SIP") && version == b"2.0").then_some(rest)
}

/// White space may stand around the colon.
fn split_host(sent_by: &[u8]) -> Option<(&str, Option<u16>)> {
    let (host, after) = match sent_by.strip_prefix(b"[") {
        Some(v6) => {
            let close = v6.iter().position(|octet| *octet == b']')?;
            (&v6[..close], &v6[close + 1..])
        }
        None => sent_by.split_at(sent_by.iter().position(|octet| !of_host(octet)).unwrap_or(sent_by.len())),
    };
    let port = match trim_start(after) {
        [] => None,
        [b':', port @ ..] => Some(std::str::from_utf8(trim(port)).ok()?.parse().ok()?),
        _ => return None,
    };
    let clean = !host.is_empty() && !host.iter().any(is_lws);
    clean.then(|| Some((std::str::from_utf8(host).ok()?, port)))?
}
