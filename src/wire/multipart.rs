//! Bodies of several parts (RFC 2046 section 5.1, RFC 5621), and the one that matters to a call:
//! the session description.
//!
//! Microsoft's clients send `multipart/alternative`: first a description for clients of 2007
//! (`Content-Disposition: ..; ms-proxy-2007fallback`), last the real one. The last part understood
//! counts; the answer names it in `Ms-Accepted-Content-ID`.

/// Most parts read, over all levels.
const MAX_PARTS: usize = 16;
/// Most header lines read in one part.
const MAX_HEADERS: usize = 32;
/// A multipart within a multipart, and no deeper.
const MAX_DEPTH: usize = 2;

/// Why a body gives no session description; each calls for 415.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Neither `application/sdp` nor multipart.
    #[error("the body is no session description")]
    ContentType,
    /// A multipart body whose Content-Type names no boundary that occurs.
    #[error("the parts of the body cannot be told apart")]
    Boundary,
    /// Parts, but none that is meant for us.
    #[error("no part of the body is a session description that we understand")]
    NoPart,
}

/// The session description in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionPart<'a> {
    /// The description.
    pub octets: &'a [u8],
    /// The part's Content-ID with its angle brackets, for `Ms-Accepted-Content-ID`.
    pub content_id: Option<&'a str>,
}

/// Finds the session description in a body with this Content-Type.
pub fn session_part<'a>(content_type: &str, body: &'a [u8]) -> Result<SessionPart<'a>, Fault> {
    if is_type(content_type, "application/sdp") {
        return Ok(SessionPart { octets: body, content_id: None });
    }
    if !is_multipart(content_type) {
        return Err(Fault::ContentType);
    }
    let mut found = Vec::new();
    collect(content_type, body, MAX_DEPTH, &mut found)?;
    let last = found.iter().rev().find(|part| part.describes_session()).ok_or(Fault::NoPart)?;
    Ok(SessionPart { octets: last.body, content_id: last.header("content-id") })
}

/// One part of a multipart body, borrowed from it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Part<'a> {
    headers: Vec<(&'a str, &'a str)>,
    /// The octets between the part's empty line and the next boundary.
    pub body: &'a [u8],
}

impl<'a> Part<'a> {
    /// A header's value by its name; a folded line counts only as far as its first line, which is
    /// where types, dispositions and identifiers stand.
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn content_type(&self) -> &'a str {
        self.header("content-type").unwrap_or("text/plain")
    }

    fn describes_session(&self) -> bool {
        let disposition = self.header("content-disposition").unwrap_or("session");
        is_type(self.content_type(), "application/sdp")
            && is_type(disposition, "session")
            && !parameters(disposition).any(|(name, _)| name.eq_ignore_ascii_case("ms-proxy-2007fallback"))
            && self.header("content-transfer-encoding").is_none_or(is_identity)
    }

    fn parse(octets: &'a [u8]) -> Part<'a> {
        let mut part = Part::default();
        let mut rest = octets;
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            rest = after;
            if line.is_empty() {
                break;
            }
            let field = std::str::from_utf8(line).ok().and_then(|line| line.split_once(':'));
            if let Some((name, value)) = field.filter(|_| part.headers.len() < MAX_HEADERS) {
                part.headers.push((name.trim(), value.trim()));
            }
        }
        Part { body: rest, ..part }
    }
}

/// The parts of a multipart body, in their order.
pub fn parts<'a>(content_type: &str, body: &'a [u8]) -> Result<Vec<Part<'a>>, Fault> {
    let boundary = parameters(content_type)
        .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value)
        .filter(|boundary| (1..=70).contains(&boundary.len()))
        .ok_or(Fault::Boundary)?;
    split(body, boundary.as_bytes()).map(|octets| octets.into_iter().map(Part::parse).collect())
}

fn collect<'a>(content_type: &str, body: &'a [u8], depth: usize, found: &mut Vec<Part<'a>>) -> Result<(), Fault> {
    for part in parts(content_type, body)? {
        if is_multipart(part.content_type()) && depth > 1 {
            // A broken inner multipart is one alternative that is not understood.
            let _ = collect(part.content_type(), part.body, depth - 1, found);
        } else if found.len() < MAX_PARTS {
            found.push(part);
        }
    }
    Ok(())
}

/// What lies between the delimiter lines. The line end before a delimiter belongs to it; a body
/// that ends without its closing delimiter ends its last part.
fn split<'a>(body: &'a [u8], boundary: &[u8]) -> Result<Vec<&'a [u8]>, Fault> {
    let mut found: Vec<&[u8]> = Vec::new();
    let mut start = None;
    let mut at = 0;
    let mut closed = false;
    while at < body.len() && !closed && found.len() < MAX_PARTS {
        let (line, rest) = split_line(&body[at..]);
        let next = body.len() - rest.len();
        if let Some(closing) = delimiter(line, boundary) {
            found.extend(start.map(|start| before_line_end(&body[start..at])));
            start = Some(next);
            closed = closing;
        }
        at = next;
    }
    let unclosed = start.filter(|_| !closed && found.len() < MAX_PARTS);
    found.extend(unclosed.map(|start| &body[start..]));
    if start.is_none() { Err(Fault::Boundary) } else { Ok(found) }
}

/// Is the line `--boundary`, or the closing `--boundary--` (true)?
fn delimiter(line: &[u8], boundary: &[u8]) -> Option<bool> {
    let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
    match rest.trim_ascii() {
        b"" => Some(false),
        b"--" => Some(true),
        _ => None,
    }
}

/// A line without its end (CR LF or LF), and what follows.
fn split_line(octets: &[u8]) -> (&[u8], &[u8]) {
    let (line, rest) = match memchr::memchr(b'\n', octets) {
        Some(at) => (&octets[..at], &octets[at + 1..]),
        None => (octets, &octets[octets.len()..]),
    };
    (line.strip_suffix(b"\r").unwrap_or(line), rest)
}

fn before_line_end(octets: &[u8]) -> &[u8] {
    let octets = octets.strip_suffix(b"\n").unwrap_or(octets);
    octets.strip_suffix(b"\r").unwrap_or(octets)
}

fn is_multipart(content_type: &str) -> bool {
    content_type.trim_start().get(..10).is_some_and(|start| start.eq_ignore_ascii_case("multipart/"))
}

fn is_type(value: &str, wanted: &str) -> bool {
    value.split(';').next().is_some_and(|first| first.trim().eq_ignore_ascii_case(wanted))
}

fn is_identity(encoding: &str) -> bool {
    ["7bit", "8bit", "binary"].iter().any(|known| encoding.eq_ignore_ascii_case(known))
}

/// The `;name=value` parameters of a header value; quotes around a value are taken off.
fn parameters(value: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = value.split_once(';').map(|(_, rest)| rest);
    std::iter::from_fn(move || {
        let (parameter, after) = split_unquoted(rest?);
        rest = after;
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        Some((name.trim(), value.trim().trim_matches('"')))
    })
}

/// Splits at the first `;` outside quotes.
fn split_unquoted(text: &str) -> (&str, Option<&str>) {
    let mut quoted = false;
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            b'"' => quoted = !quoted,
            b';' if !quoted => return (&text[..at], Some(&text[at + 1..])),
            _ => {}
        }
    }
    (text, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    /// What a Lync client sends: the description for 2007 first, the real one last.
    const ALTERNATIVE: &str = "ignored\r\n\
        ------=_Part\r\n\
        Content-Type: application/sdp\r\n\
        Content-Transfer-Encoding: 7bit\r\n\
        Content-ID: <old@client>\r\n\
        Content-Disposition: session; handling=optional; ms-proxy-2007fallback\r\n\
        \r\n\
        v=0 old\r\n\
        \r\n\
        ------=_Part\r\n\
        content-type: APPLICATION/SDP\r\n\
        Content-ID: <new@client>\r\n\
        Content-Disposition: session; handling=optional\r\n\
        \r\n\
        v=0 new\r\n\
        a=x\r\n\
        \r\n\
        ------=_Part--\r\n\
        ignored";
    const TYPE: &str = "multipart/alternative;boundary=\"----=_Part\"";

    #[test]
    fn the_last_part_that_is_not_for_2007_counts() {
        let part = session_part(TYPE, ALTERNATIVE.as_bytes()).unwrap();
        assert_eq!(part.octets, b"v=0 new\r\na=x\r\n");
        assert_eq!(part.content_id, Some("<new@client>"));
        let lf_only = ALTERNATIVE.replace("\r\n", "\n");
        let part = session_part(TYPE, lf_only.as_bytes()).unwrap();
        assert_eq!(part.octets, b"v=0 new\na=x\n");
    }

    #[test]
    fn of_two_alternatives_the_later_is_the_better() {
        let part = |word: &str| format!("--b\r\nContent-Type: application/sdp\r\n\r\n{word}\r\n");
        let body = part("v=0 first") + &part("v=0 second") + "--b--";
        assert_eq!(session_part("multipart/alternative;boundary=b", body.as_bytes()).unwrap().octets, b"v=0 second");
    }

    #[test]
    fn a_plain_description_is_its_own_part() {
        let plain = Ok(SessionPart { octets: b"v=0", content_id: None });
        assert_eq!(session_part("application/sdp", b"v=0"), plain);
        assert_eq!(session_part("Application/SDP ; charset=utf-8", b"v=0"), plain);
        assert_eq!(session_part("application/gw-sdp", b"v=0"), Err(Fault::ContentType));
        assert_eq!(session_part("text/plain", b"v=0"), Err(Fault::ContentType));
        assert_eq!(session_part("", b""), Err(Fault::ContentType));
    }

    #[test]
    fn bodies_by_table() {
        let whole = |body: &'static str| session_part("multipart/mixed; boundary=b", body.as_bytes());
        let octets = |body| whole(body).map(|part| std::str::from_utf8(part.octets).unwrap());
        let sdp = "Content-Type: application/sdp\r\n\r\n";
        for (what, body, read) in [
            ("no delimiter", "v=0\r\n".to_string(), Err(Fault::Boundary)),
            ("empty", String::new(), Err(Fault::Boundary)),
            ("nothing but the end", "--b--\r\n".into(), Err(Fault::NoPart)),
            ("not closed", format!("--b\r\n{sdp}v=0\r\n"), Ok("v=0\r\n")),
            ("closed", format!("--b\r\n{sdp}v=0\r\n--b--"), Ok("v=0")),
            ("space after the delimiter", format!("--b \r\n{sdp}v=0\r\n--b--"), Ok("v=0")),
            ("a longer boundary is not ours", format!("--b\r\n{sdp}v=0\r\n--bc\r\n--b--"), Ok("v=0\r\n--bc")),
            (
                "ISUP after it",
                format!("--b\r\n{sdp}v=0\r\n--b\r\nContent-Type: application/isup\r\n\r\n\u{1}\r\n--b--"),
                Ok("v=0"),
            ),
            (
                "gw-sdp after it",
                format!("--b\r\n{sdp}v=0\r\n--b\r\nContent-Type: application/gw-sdp\r\n\r\nv=1\r\n--b--"),
                Ok("v=0"),
            ),
            ("base64", format!("--b\r\nContent-Transfer-Encoding: base64\r\n{sdp}dj0w\r\n--b--"), Err(Fault::NoPart)),
            ("another use", format!("--b\r\nContent-Disposition: render\r\n{sdp}v=0\r\n--b--"), Err(Fault::NoPart)),
            ("no header", "--b\r\n\r\nv=0\r\n--b--".into(), Err(Fault::NoPart)),
            (
                "a multipart within",
                format!(
                    "--b\r\nContent-Type: multipart/alternative;boundary=c\r\n\r\n--c\r\n{sdp}v=0\r\n--c--\r\n--b--"
                ),
                Ok("v=0"),
            ),
        ] {
            assert_eq!(octets(body.leak()), read, "{what}");
        }
    }

    #[test]
    fn a_boundary_may_hold_a_semicolon_in_quotes() {
        let named: Vec<_> = parameters("multipart/mixed;a;boundary=\"x;y\"; c=d").collect();
        assert_eq!(named, [("a", ""), ("boundary", "x;y"), ("c", "d")]);
        assert_eq!(parts("multipart/mixed", b"--b\r\n"), Err(Fault::Boundary));
        assert_eq!(parts("multipart/mixed;boundary=\"\"", b"--\r\n"), Err(Fault::Boundary));
    }

    #[test]
    fn many_parts_cost_no_more_than_the_limit() {
        let body = "--b\r\n\r\n".repeat(10_000);
        assert_eq!(parts("multipart/mixed;boundary=b", body.as_bytes()).unwrap().len(), MAX_PARTS);
    }

    #[test]
    fn no_octets_make_it_fall_over() {
        let mut random = Random::test(3);
        for _ in 0..5_000 {
            let mut body = ALTERNATIVE.as_bytes().to_vec();
            for _ in 0..=random.below(8) {
                if body.len() < 2 {
                    break;
                }
                let at = random.below(body.len() as u64) as usize;
                match random.below(3) {
                    0 => body[at] = random.u64() as u8,
                    1 => drop(body.remove(at)),
                    _ => body.truncate(at.max(1)),
                }
            }
            let _ = session_part(TYPE, &body);
        }
    }
}
