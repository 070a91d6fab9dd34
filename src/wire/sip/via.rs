//! One Via (RFC 3261 section 20.42).

use super::{Params, is_lws, split_outside, trim};

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
        let head = std::str::from_utf8(head).ok()?;
        let mut protocol = head.splitn(3, '/');
        let (name, version, rest) = (protocol.next()?.trim(), protocol.next()?.trim(), protocol.next()?.trim_start());
        let gap = rest.find(|letter: char| letter.is_ascii_whitespace())?;
        let (transport, sent_by) = (rest[..gap].trim(), rest[gap..].trim());
        let (host, port) = split_host(sent_by)?;
        let known = name.eq_ignore_ascii_case("SIP") && version == "2.0" && !transport.is_empty();
        known.then_some(Via { transport, host, port, params: Params::new(params.unwrap_or_default()) })
    }

    /// The branch; empty when there is none.
    pub fn branch(&self) -> &'a str {
        self.params.text("branch").unwrap_or_default()
    }
}

fn split_host(sent_by: &str) -> Option<(&str, Option<u16>)> {
    let (host, after) = match sent_by.strip_prefix('[') {
        Some(v6) => v6.split_once(']')?,
        None => {
            let end = sent_by.find(':').unwrap_or(sent_by.len());
            (sent_by[..end].trim_end(), &sent_by[end..])
        }
    };
    let after = after.trim();
    let port = match after.strip_prefix(':') {
        Some(port) => Some(port.trim().parse().ok()?),
        None if after.is_empty() => None,
        None => return None,
    };
    let clean = !host.is_empty() && !host.bytes().any(|octet| is_lws(&octet));
    clean.then_some((trim_str(host), port))
}

fn trim_str(text: &str) -> &str {
    std::str::from_utf8(trim(text.as_bytes())).unwrap_or_default()
}
