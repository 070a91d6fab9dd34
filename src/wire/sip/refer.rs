//! What REFER and its NOTIFYs carry: Refer-To (RFC 3515 section 2.1), the Event and the fragment of a message
//! (RFC 3420) that tells how far the new call is, Referred-By (RFC 3892) as others than Microsoft may see it.

use bytes::Bytes;

use super::{Address, Message, Params, Uri, unescape};

/// The media type of a fragment of a SIP message.
pub const SIPFRAG: &str = "message/sipfrag;version=2.0";

/// The value of a Refer-To: whom to call, and how.
#[derive(Clone, PartialEq, Eq)]
pub struct ReferTo {
    /// The Request-URI of the new call: as written, less what RFC 3261 section 19.1.5 has not stand there (the headers
    /// behind `?` and the `method`).
    pub target: String,
    /// The `method` parameter is absent or INVITE.
    pub calls: bool,
    /// The Replaces header in the URI without its escapes: see [`super::Replaces`].
    pub replaces: Option<String>,
}

impl ReferTo {
    /// Reads a value; `None` when it has no URI, or a Replaces that is no text.
    pub fn parse(value: &[u8]) -> Option<ReferTo> {
        let written = Address::parse(value)?.uri.as_str();
        let (bare, headers) = cut_headers(written);
        let uri = Uri::parse(bare.as_bytes())?;
        let calls = uri.param("method").is_none_or(|method| method.eq_ignore_ascii_case("INVITE"));
        let replaces = match named(headers, "Replaces") {
            Some(value) => Some(String::from_utf8(unescape(value).into_owned()).ok()?),
            None => None,
        };
        Some(ReferTo { target: without_method(bare), calls, replaces })
    }
}

/// A URI and the headers behind its `?`. A `?` before the `@` belongs to the user part, unless what follows is a
/// header all the same: peers forget to escape the `@` of a Call-ID.
fn cut_headers(uri: &str) -> (&str, &str) {
    let mut marks = uri.match_indices('?').map(|(at, _)| (&uri[..at], &uri[at + 1..]));
    marks.find(|(_, behind)| !behind.contains('@') || named(behind, "Replaces").is_some()).unwrap_or((uri, ""))
}

fn named<'a>(headers: &'a str, name: &str) -> Option<&'a str> {
    let mut all = headers.split('&').filter_map(|header| header.split_once('='));
    all.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn without_method(uri: &str) -> String {
    let at = uri.rfind('@').map_or(0, |at| at + 1);
    let is_method = |part: &&str| part.split('=').next().is_some_and(|name| name.eq_ignore_ascii_case("method"));
    let (user, behind) = uri.split_at(at);
    let kept: Vec<&str> = behind.split(';').filter(|part| !is_method(part)).collect();
    format!("{user}{}", kept.join(";"))
}

/// Is this the value of an Event that speaks of a REFER, and of which one (RFC 3515 section 2.4.6)?
pub fn refer_event(value: &[u8]) -> Option<Option<u32>> {
    let (package, params) = Params::behind(value);
    package.eq_ignore_ascii_case(b"refer").then(|| params.text("id").and_then(|id| id.parse().ok()))
}

/// The status in the first line of a fragment: `SIP/2.0 180 Ringing`.
pub fn fragment_status(body: &[u8]) -> Option<u16> {
    let line = body.trim_ascii_start().split(|octet| matches!(octet, b'\r' | b'\n')).next()?;
    let mut words = line.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    let version = words.next()?;
    let status = std::str::from_utf8(words.next()?).ok()?.parse().ok()?;
    (version.eq_ignore_ascii_case(b"SIP/2.0") && (100..700).contains(&status)).then_some(status)
}

/// The headers of a fragment (RFC 3420), read as those of a message.
pub fn fragment(body: &[u8]) -> Option<Message> {
    Message::parse(Bytes::from([body.trim_ascii(), b"\r\n\r\n"].concat())).ok()
}

/// A Referred-By for those whom Microsoft's own servers do not tell: without its `ms-` parameters, else as written.
pub fn without_ms(referred_by: &[u8]) -> Vec<u8> {
    let (head, params) = super::split_outside(referred_by, b';');
    let mut kept = head.to_vec();
    let mut rest = params;
    while let Some(list) = rest {
        let (param, behind) = super::split_outside(list, b';');
        let ours = param.trim_ascii_start().get(..3).is_some_and(|start| start.eq_ignore_ascii_case(b"ms-"));
        if !ours {
            kept.push(b';');
            kept.extend_from_slice(param);
        }
        rest = behind;
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::Replaces;
    use super::*;

    fn read(value: &str) -> (String, bool, Option<String>) {
        let refer_to = ReferTo::parse(value.as_bytes()).unwrap();
        (refer_to.target, refer_to.calls, refer_to.replaces)
    }

    #[test]
    fn a_target_stays_as_written() {
        for same in [
            "sip:+13125550111@contoso.com;user=phone",
            "sip:bob@contoso.com;gruu;opaque=app:conf:audio-video:id:ABC",
            // Teams: no user part, a colon in a value.
            "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8:orgid:7de185bd-d73d-48d2;x-t=8ab232fc",
            "sip:sip.pstnhub.microsoft.com:5061;transport=tls;x-m=8%3aorgid%3a7de185bd",
            "sip:a?b@contoso.com",
            "tel:+13125550111;phone-context=x",
        ] {
            assert_eq!(read(&format!("<{same}>")), (same.to_owned(), true, None));
        }
    }

    #[test]
    fn headers_and_method_do_not_stand_in_a_request_line() {
        let replaced = Some("12345@10.0.0.1;to-tag=a;from-tag=b".to_owned());
        for (value, target) in [
            ("<sip:bob@h?Replaces=12345%4010.0.0.1%3Bto-tag%3Da%3Bfrom-tag%3Db>", "sip:bob@h"),
            ("\"B\" <sip:bob@h;gruu?Require=replaces&replaces=12345@10.0.0.1;to-tag=a;from-tag=b>", "sip:bob@h;gruu"),
            (
                "<sip:h:5061;x-m=8:orgid:1?Replaces=12345@10.0.0.1%3Bto-tag%3Da%3bfrom-tag%3Db>",
                "sip:h:5061;x-m=8:orgid:1",
            ),
        ] {
            assert_eq!(read(value), (target.to_owned(), true, replaced.clone()), "{value}");
        }
        let known = replaced.as_deref().and_then(|value| Replaces::parse(value.as_bytes())).unwrap();
        assert_eq!((known.call_id, known.to_tag, known.from_tag), ("12345@10.0.0.1", "a", "b"));
        assert_eq!(read("<sip:b@h;method=INVITE;lr>"), ("sip:b@h;lr".to_owned(), true, None));
        assert_eq!(read("<sip:b;method=x@h;Method=BYE>"), ("sip:b;method=x@h".to_owned(), false, None));
    }

    #[test]
    fn what_is_no_target() {
        for value in ["", "bob", "<>", "<sip:a@b>, <sip:c@d>", "<sip:a@b?Replaces=%FF>"] {
            assert!(ReferTo::parse(value.as_bytes()).is_none(), "{value}");
        }
    }

    #[test]
    fn events_and_fragments() {
        assert_eq!(refer_event(b"refer"), Some(None));
        assert_eq!(refer_event(b"Refer ;id=93809824"), Some(Some(93_809_824)));
        assert_eq!(refer_event(b"presence"), None);
        for (body, status) in [
            ("SIP/2.0 100 Trying", Some(100)),
            ("SIP/2.0 429 Provide Referrer Identity\r\nms-diagnostics: 1020\r\n", Some(429)),
            ("\r\nsip/2.0  200\r\n", Some(200)),
            ("SIP/2.0 99 x", None),
            ("SIP/3.0 200 OK", None),
            ("INVITE sip:a SIP/2.0", None),
            ("", None),
        ] {
            assert_eq!(fragment_status(body.as_bytes()), status, "{body}");
        }
    }

    #[test]
    fn strangers_see_nothing_of_the_signature() {
        let value =
            "<sip:u@d;ms-x=1>;MS-identity=\"MII;x:Fri, 20 Nov 2026\";tag=1; ms-identity-alg=rsa-sha1;epid=\"a;b\"";
        assert_eq!(without_ms(value.as_bytes()), b"<sip:u@d;ms-x=1>;tag=1;epid=\"a;b\"");
        assert_eq!(without_ms(b"sip:u@d"), b"sip:u@d");
    }

    #[test]
    fn nothing_panics() {
        bolero::check!().for_each(|octets: &[u8]| {
            if let Some(refer_to) = ReferTo::parse(octets) {
                // What is cut cannot come back, and what is left is still a URI.
                let again = ReferTo::parse(format!("<{}>", refer_to.target).as_bytes());
                assert!(
                    again.is_none_or(
                        |again| again.target == refer_to.target || again.target.len() < refer_to.target.len()
                    )
                );
            }
            let _ = (refer_event(octets), fragment_status(octets), without_ms(octets));
        });
    }
}
