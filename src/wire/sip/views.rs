//! Views of the header values that the machines read; each says where its form comes from. None of
//! them judges: what cannot be read is `None`.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use super::address::unquote;
use super::message::elements;
use super::{Message, Method, Name, Params, is_lws, is_token, split_outside, trim};
use crate::cause::Cause;

/// RAck (RFC 3262 section 7.2): which provisional response a PRACK is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RAck {
    /// The RSeq of the response.
    pub rseq: u32,
    /// The number of its CSeq.
    pub cseq: u32,
    /// The method of its CSeq.
    pub method: Method,
}

impl RAck {
    /// Reads a value: `776656 1 INVITE`.
    pub fn parse(value: &[u8]) -> Option<RAck> {
        let mut words = value.split(is_lws).filter(|word| !word.is_empty());
        let (rseq, cseq, method) = (number(words.next()?)?, number(words.next()?)?, words.next()?);
        words.next().is_none().then(|| RAck { rseq, cseq, method: Method::of(method) })
    }
}

/// Who refreshes a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresher {
    /// The one who sent the request.
    Uac,
    /// The one who answers it.
    Uas,
}

impl Refresher {
    /// The word in the `refresher` parameter.
    pub fn text(self) -> &'static str {
        match self {
            Refresher::Uac => "uac",
            Refresher::Uas => "uas",
        }
    }
}

/// Session-Expires (RFC 4028 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionExpires {
    /// The interval in seconds.
    pub seconds: u32,
    /// Who refreshes; not said when `None`.
    pub refresher: Option<Refresher>,
}

impl SessionExpires {
    /// Reads a value: `1800;refresher=uas`.
    pub fn parse(value: &[u8]) -> Option<SessionExpires> {
        let (seconds, params) = Params::behind(value);
        let refresher = match params.text("refresher") {
            Some(word) if word.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
            Some(word) if word.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
            _ => None,
        };
        Some(SessionExpires { seconds: number(seconds)?, refresher })
    }
}

/// One value of Reason (RFC 3326): `Q.850;cause=17;text="User busy"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `Q.850`, `SIP` or another.
    pub protocol: &'a str,
    /// The number, when it is one.
    pub cause: Option<u16>,
    /// The text without quotes and escapes; empty without one.
    pub text: String,
}

impl<'a> Reason<'a> {
    /// Reads one element.
    pub fn parse(element: &'a [u8]) -> Option<Reason<'a>> {
        let (protocol, params) = Params::behind(element);
        let protocol = std::str::from_utf8(protocol).ok().filter(|text| is_token(text.as_bytes()))?;
        let cause = params.text("cause").and_then(|cause| number(cause.as_bytes()));
        let text = params.value("text").map(unquote).unwrap_or_default();
        Some(Reason { protocol, cause: cause.and_then(|cause| cause.try_into().ok()), text })
    }
}

/// Replaces (RFC 3891 section 6.1): the dialog that an INVITE takes the place of.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Replaces<'a> {
    /// Its Call-ID.
    pub call_id: &'a str,
    /// The tag at the one who receives this.
    pub to_tag: &'a str,
    /// The other tag.
    pub from_tag: &'a str,
    /// Only while the dialog is early.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads a value, from the header or unescaped from a Refer-To (see [`super::Uri::header`]).
    pub fn parse(value: &'a [u8]) -> Option<Replaces<'a>> {
        let (call_id, params) = Params::behind(value);
        let call_id = std::str::from_utf8(call_id).ok()?;
        let filled = |text: &&str| !text.is_empty();
        let (to_tag, from_tag) = (params.text("to-tag").filter(filled)?, params.text("from-tag").filter(filled)?);
        let whole = !call_id.is_empty() && !call_id.bytes().any(|octet| is_lws(&octet) || octet == b',');
        whole.then(|| Replaces { call_id, to_tag, from_tag, early_only: params.value("early-only").is_some() })
    }
}

/// Content-Type (RFC 3261 section 20.15).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct MediaType<'a> {
    /// `application`
    pub kind: &'a str,
    /// `sdp`
    pub subtype: &'a str,
    /// charset, boundary and others.
    pub params: Params<'a>,
}

impl<'a> MediaType<'a> {
    /// Reads a value: `multipart/mixed; boundary="x"`.
    pub fn parse(value: &'a [u8]) -> Option<MediaType<'a>> {
        let (media, params) = Params::behind(value);
        let slash = media.iter().position(|octet| *octet == b'/')?;
        let token = |text| std::str::from_utf8(trim(text)).ok().filter(|text| is_token(text.as_bytes()));
        Some(MediaType { kind: token(&media[..slash])?, subtype: token(&media[slash + 1..])?, params })
    }

    /// Is it this type, in any case?
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind.eq_ignore_ascii_case(kind) && self.subtype.eq_ignore_ascii_case(subtype)
    }

    /// What separates the parts of a multipart body.
    pub fn boundary(&self) -> Option<&'a str> {
        self.params.text("boundary").filter(|boundary| !boundary.is_empty())
    }
}

/// One value of Warning (RFC 3261 section 20.43): `308 lcs.microsoft.com "Encryption Levels not compatible"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning<'a> {
    /// 300 to 399, from Microsoft as well.
    pub code: u16,
    /// Who warns.
    pub agent: &'a str,
    /// The text without quotes and escapes.
    pub text: String,
}

impl<'a> Warning<'a> {
    /// Reads one element.
    pub fn parse(element: &'a [u8]) -> Option<Warning<'a>> {
        let code_end = element.iter().position(is_lws)?;
        let (code, rest) = (&element[..code_end], trim(&element[code_end..]));
        let agent_end = rest.iter().position(is_lws)?;
        let agent = std::str::from_utf8(&rest[..agent_end]).ok()?;
        let code = number(code).filter(|_| code.len() == 3)? as u16;
        Some(Warning { code, agent, text: unquote(trim(&rest[agent_end..])) })
    }
}

/// One `ms-diagnostics` line, or one of its kin: `1020;reason="...";source="..."`. OCS wrote a
/// sub-code behind a point, which is left out here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Diagnostic<'a> {
    /// Microsoft's error number.
    pub number: u32,
    /// source, reason and whatever else; names in any case.
    pub params: Params<'a>,
}

impl<'a> Diagnostic<'a> {
    /// Reads a value.
    pub fn parse(value: &'a [u8]) -> Option<Diagnostic<'a>> {
        let (code, params) = Params::behind(value);
        let number = number(split_outside(code, b'.').0)?;
        Some(Diagnostic { number, params })
    }
}

/// A Date (RFC 3261 section 20.17): RFC 1123 and GMT, nothing else. The day of the week is not
/// checked: what counts is the time.
pub fn date(value: &[u8]) -> Option<jiff::Timestamp> {
    let text = std::str::from_utf8(value).ok()?;
    let (_, day_and_time) = text.split_once(',')?;
    let civil = DateTime::strptime("%d %b %Y %H:%M:%S GMT", day_and_time.trim_ascii()).ok()?;
    Offset::UTC.to_timestamp(civil).ok()
}

impl Message {
    /// The RAck.
    pub fn rack(&self) -> Option<RAck> {
        self.value(Name::RAck).and_then(RAck::parse)
    }

    /// The Session-Expires.
    pub fn session_expires(&self) -> Option<SessionExpires> {
        self.value(Name::SessionExpires).and_then(SessionExpires::parse)
    }

    /// The reasons, in order.
    pub fn reasons(&self) -> impl Iterator<Item = Reason<'_>> {
        self.all(Name::Reason).flat_map(elements).filter_map(Reason::parse)
    }

    /// The Q.850 cause of a Reason header.
    pub fn q850(&self) -> Option<Cause> {
        let mut causes = self.reasons().filter(|reason| reason.protocol.eq_ignore_ascii_case("Q.850"));
        causes.find_map(|reason| reason.cause?.try_into().ok().filter(|cause| *cause < 128).map(Cause))
    }

    /// The Replaces.
    pub fn replaces(&self) -> Option<Replaces<'_>> {
        self.value(Name::Replaces).and_then(Replaces::parse)
    }

    /// The type of the body.
    pub fn media_type(&self) -> Option<MediaType<'_>> {
        self.value(Name::ContentType).and_then(MediaType::parse)
    }

    /// The warnings, in order.
    pub fn warnings(&self) -> impl Iterator<Item = Warning<'_>> {
        self.all(Name::Warning).flat_map(elements).filter_map(Warning::parse)
    }

    /// What Microsoft says about a failure: servers' lines, then clients', then the public twin.
    pub fn diagnostics(&self) -> impl Iterator<Item = Diagnostic<'_>> {
        let names = [Name::MsDiagnostics, Name::MsClientDiagnostics, Name::MsDiagnosticsPublic];
        names.into_iter().flat_map(|name| self.all(name)).filter_map(Diagnostic::parse)
    }

    /// The Date.
    pub fn date(&self) -> Option<jiff::Timestamp> {
        self.value(Name::Date).and_then(date)
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let all = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    all.then(|| std::str::from_utf8(digits).ok()?.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rack() {
        let invite = |rseq, cseq| Some(RAck { rseq, cseq, method: Method::Invite });
        for (value, expected) in [
            ("776656 1 INVITE", invite(776656, 1)),
            ("1\t 2\r\n INVITE", invite(1, 2)),
            ("1 2", None),
            ("1 2 INVITE 3", None),
            ("4294967296 2 INVITE", None),
            ("-1 2 INVITE", None),
        ] {
            assert_eq!(RAck::parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn session_expires() {
        for (value, expected) in [
            ("1800", Some((1800, None))),
            ("1800;refresher=uas", Some((1800, Some(Refresher::Uas)))),
            ("90 ; Refresher = UAC ;x", Some((90, Some(Refresher::Uac)))),
            ("90;refresher=nobody", Some((90, None))),
            ("soon", None),
            ("", None),
        ] {
            let read = SessionExpires::parse(value.as_bytes());
            assert_eq!(read.map(|read| (read.seconds, read.refresher)), expected, "{value}");
        }
    }

    #[test]
    fn reasons_and_their_cause() {
        let bye = |reason: &str| Message::request(Method::Bye, "sip:a@b").header(Name::Reason, reason).empty_body();
        for (value, cause, causes) in [
            ("Q.850;cause=17;text=\"User busy\"", Some(17), vec![Some(17)]),
            ("SIP;cause=486;text=\"a, b;c\" , q.850 ;cause = 34", Some(34), vec![Some(486), Some(34)]),
            ("SIP;cause=200;text=\"Call completed elsewhere\"", None, vec![Some(200)]),
            ("Q.850;cause=128", None, vec![Some(128)]),
            ("Q.850;cause=99999999999", None, vec![None]),
            ("Q.850", None, vec![None]),
            (";cause=16", None, vec![]),
        ] {
            let message = bye(value);
            assert_eq!(message.q850(), cause.map(Cause), "{value}");
            assert_eq!(message.reasons().map(|reason| reason.cause).collect::<Vec<_>>(), causes, "{value}");
        }
        let message = bye("SIP;cause=486;text=\"a \\\"b\\\", c\"");
        assert_eq!(message.reasons().next().unwrap().text, "a \"b\", c");
    }

    #[test]
    fn replaces() {
        let read = |value: &'static str| {
            Replaces::parse(value.as_bytes()).map(|all| (all.call_id, all.to_tag, all.from_tag, all.early_only))
        };
        for (value, expected) in [
            ("1@h;to-tag=a;from-tag=b", Some(("1@h", "a", "b", false))),
            ("1 ; FROM-TAG = b;early-only ;to-tag=a", Some(("1", "a", "b", true))),
            ("1;to-tag=a", None),
            ("1;to-tag=;from-tag=b", None),
            (";to-tag=a;from-tag=b", None),
            ("1,2;to-tag=a;from-tag=b", None),
        ] {
            assert_eq!(read(value), expected, "{value}");
        }
    }

    #[test]
    fn media_types() {
        for (value, expected) in [
            ("application/sdp", Some(("application", "sdp", None))),
            ("Multipart / Alternative ;boundary=\"--=_a;b\"", Some(("Multipart", "Alternative", Some("--=_a;b")))),
            ("multipart/mixed;boundary=\"\"", Some(("multipart", "mixed", None))),
            ("application/sdp; charset=utf-8", Some(("application", "sdp", None))),
            ("sdp", None),
            ("/sdp", None),
            ("a b/c", None),
        ] {
            let read = MediaType::parse(value.as_bytes());
            assert_eq!(read.map(|media| (media.kind, media.subtype, media.boundary())), expected, "{value}");
        }
        assert!(MediaType::parse(b"Application/SDP").unwrap().is("application", "sdp"));
    }

    #[test]
    fn warnings() {
        let warning = |code, agent, text: &str| Some(Warning { code, agent, text: text.into() });
        for (value, expected) in [
            ("308 lcs.microsoft.com \"Encryption Levels\"", warning(308, "lcs.microsoft.com", "Encryption Levels")),
            ("391 h:5061 \"a \\\"b\\\"\"", warning(391, "h:5061", "a \"b\"")),
            ("1812 overture \"In Progress\"", None),
            ("308 host", None),
        ] {
            assert_eq!(Warning::parse(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn diagnostics() {
        let lync = "1020;reason=\"Identity; of, the referrer\";;ErrorType=\"Invalid signature\";Source= host";
        let read = Diagnostic::parse(lync.as_bytes()).unwrap();
        assert_eq!(read.number, 1020);
        assert_eq!(read.params.text("source"), Some("host"));
        assert_eq!(read.params.text("errortype"), Some("Invalid signature"));
        assert_eq!(read.params.text("REASON"), Some("Identity; of, the referrer"));
        assert_eq!(Diagnostic::parse(b"10003.7;source=\"x\"").map(|read| read.number), Some(10003));
        assert!(Diagnostic::parse(b"reason=\"x\"").is_none());
        let answer = Message::response(488, "No")
            .header(Name::MsDiagnosticsPublic, "10003")
            .header(Name::MsClientDiagnostics, "52017;reason=\"Encryption levels dont match\"")
            .header(Name::MsDiagnostics, "1034")
            .header(Name::MsDiagnostics, "10003")
            .empty_body();
        let numbers: Vec<_> = answer.diagnostics().map(|read| read.number).collect();
        assert_eq!(numbers, [1034, 10003, 52017, 10003]);
    }

    #[test]
    fn dates() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().ok();
        for (value, expected) in [
            ("Fri, 20 Nov 2026 23:00:00 GMT", at("2026-11-20T23:00:00Z")),
            ("Sun, 29 Feb 2032 00:00:59 GMT", at("2032-02-29T00:00:59Z")),
            ("Fri, 01 Jan 2010 16:00:00 EST", None),
            ("Fri, 31 Feb 2010 16:00:00 GMT", None),
            ("20 Nov 2026 23:00:00 GMT", None),
            ("", None),
        ] {
            assert_eq!(date(value.as_bytes()), expected, "{value}");
        }
        let now = crate::time::Now::virtual_start().wall;
        assert_eq!(date(crate::time::sip_date(now).as_bytes()), Some(now));
    }
}
