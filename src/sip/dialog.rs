//! Dialogs (RFC 3261 section 12): who talks to whom, where the next request goes, in which order.
//!
//! 1. A dialog begins with the INVITE and the first response with a To tag, seen from either end.
//! 2. Requests of ours carry its tags, its route set and the next CSeq.
//! 3. Requests of the peer must come in order; a target refresh moves the remote target.

use std::fmt;

use crate::wire::sip::{Builder, Message, Method, Name, Unreadable, Uri};

/// A dialog, early or confirmed.
#[derive(Clone)]
pub struct Dialog {
    call_id: String,
    local: String,
    remote: String,
    local_tag: String,
    remote_tag: String,
    target: String,
    route: Vec<String>,
    local_cseq: u32,
    remote_cseq: Option<u32>,
}

impl Dialog {
    /// Our half of the dialog that `invite` asks for, under our `tag` (RFC 3261 section 12.1.1).
    pub fn called(invite: &Message, tag: &str) -> Result<Dialog, Unreadable> {
        let to = invite.text(Name::To).ok_or(Unreadable::Missing(Name::To))?;
        Ok(Dialog {
            call_id: invite.call_id()?.to_owned(),
            local: format!("{to};tag={tag}"),
            remote: invite.text(Name::From).ok_or(Unreadable::Malformed(Name::From))?.to_owned(),
            local_tag: tag.to_owned(),
            // RFC 2543 peers send no tag: none is a tag like any other (section 12.1.1).
            remote_tag: invite.tag(Name::From).unwrap_or_default().to_owned(),
            target: invite.address(Name::Contact)?.uri.as_str().to_owned(),
            route: record_route(invite),
            local_cseq: 0,
            remote_cseq: Some(invite.cseq()?.number),
        })
    }

    /// Our half of the dialog that `response` to our `invite` begins (RFC 3261 section 12.1.2).
    pub fn calling(invite: &Message, response: &Message) -> Result<Dialog, Unreadable> {
        let mut route = record_route(response);
        route.reverse();
        let request_uri = invite.uri().map(Uri::as_str).unwrap_or_default();
        let target = response.address(Name::Contact).map_or(request_uri, |contact| contact.uri.as_str());
        Ok(Dialog {
            call_id: invite.call_id()?.to_owned(),
            local: invite.text(Name::From).ok_or(Unreadable::Missing(Name::From))?.to_owned(),
            remote: response.text(Name::To).ok_or(Unreadable::Missing(Name::To))?.to_owned(),
            local_tag: invite.tag(Name::From).unwrap_or_default().to_owned(),
            remote_tag: response.tag(Name::To).unwrap_or_default().to_owned(),
            target: target.to_owned(),
            route,
            local_cseq: invite.cseq()?.number,
            remote_cseq: None,
        })
    }

    /// The tag that we gave it.
    pub fn local_tag(&self) -> &str {
        &self.local_tag
    }

    /// The tag that the peer gave it.
    pub fn remote_tag(&self) -> &str {
        &self.remote_tag
    }

    /// The CSeq of our last request.
    pub fn local_cseq(&self) -> u32 {
        self.local_cseq
    }

    /// Does a request of the peer belong here?
    pub fn owns(&self, request: &Message) -> bool {
        request.call_id() == Ok(&self.call_id)
            && request.tag(Name::To) == Some(&self.local_tag)
            && request.tag(Name::From).unwrap_or_default() == self.remote_tag
    }

    /// Takes the CSeq of a request of the peer; false when it is older than one seen before
    /// (RFC 3261 section 12.2.2: answer 500).
    #[must_use]
    pub fn in_order(&mut self, request: &Message) -> bool {
        let Ok(cseq) = request.cseq() else { return false };
        let ordered = self.remote_cseq.is_none_or(|last| cseq.number >= last);
        if ordered {
            self.remote_cseq = Some(cseq.number);
        }
        ordered
    }

    /// Moves the remote target to the Contact of a target refresh (INVITE, UPDATE, their 2xx).
    pub fn refresh(&mut self, message: &Message) {
        if let Ok(contact) = message.address(Name::Contact) {
            self.target = contact.uri.as_str().to_owned();
        }
    }

    /// A 2xx may bring another route set than the 18x of the same dialog (RFC 3261 section 13.2.2.4).
    pub fn confirm(&mut self, response: &Message) {
        self.route = record_route(response);
        self.route.reverse();
        self.refresh(response);
    }

    /// Begins our next request in the dialog.
    pub fn request(&mut self, method: Method) -> Builder {
        self.local_cseq += 1;
        self.line_up(method, self.local_cseq)
    }

    /// Begins the ACK of a 2xx to our INVITE number `cseq`.
    pub fn ack(&self, cseq: u32) -> Builder {
        self.line_up(Method::Ack, cseq)
    }

    /// The URI that decides where our requests go first.
    pub fn next_hop(&self) -> &str {
        self.route.first().map_or(&self.target, |route| bare(route))
    }

    /// Request line, route set, tags, numbers. A first route without `lr` is a strict router: it
    /// takes the place of the Request-URI, the target goes last (section 12.2.1.1).
    fn line_up(&self, method: Method, cseq: u32) -> Builder {
        let builder = match self.route.split_first() {
            Some((first, rest)) if !loose(first) => {
                let builder = rest.iter().fold(Builder::request(method, bare(first)), |b, r| b.header(Name::Route, r));
                builder.header(Name::Route, format_args!("<{}>", self.target))
            }
            _ => self.route.iter().fold(Builder::request(method, &self.target), |b, r| b.header(Name::Route, r)),
        };
        builder
            .header(Name::MaxForwards, 70)
            .header(Name::From, &self.local)
            .header(Name::To, &self.remote)
            .header(Name::CallId, &self.call_id)
            .header(Name::CSeq, format_args!("{cseq} {method}"))
    }
}

impl fmt::Debug for Dialog {
    /// Its tags; never a number or a URI.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "dialog {}/{}", self.local_tag, self.remote_tag)
    }
}

fn record_route(message: &Message) -> Vec<String> {
    message.elements(Name::RecordRoute).map(|route| String::from_utf8_lossy(route).into_owned()).collect()
}

/// The URI inside a route's angle brackets.
fn bare(route: &str) -> &str {
    let inner = route.split_once('<').map_or(route, |(_, inner)| inner);
    inner.split_once('>').map_or(inner, |(uri, _)| uri)
}

fn loose(route: &str) -> bool {
    Uri::parse(bare(route).as_bytes()).is_some_and(|uri| uri.param("lr").is_some())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(text: &str) -> Message {
        Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap()
    }

    const INVITE: &str = "INVITE sip:+1@gw SIP/2.0
Via: SIP/2.0/TLS a;branch=z9hG4bK1
Record-Route: <sip:fe1.contoso.com:5061;transport=tls;lr>, <sip:fe2.contoso.com;lr>
From: <sip:2160@contoso.com>;tag=theirs
To: <sip:+1@gw>
Call-ID: c1
CSeq: 7 INVITE
Contact: <sip:ms5@contoso.com;gruu;opaque=srvr:x>;isGateway

";

    #[test]
    fn the_called_side_keeps_the_route_in_order_and_counts_its_own_requests() {
        let mut dialog = Dialog::called(&message(INVITE), "ours").unwrap();
        let bye = dialog.request(Method::Bye).empty_body();
        assert_eq!(bye.uri().unwrap().as_str(), "sip:ms5@contoso.com;gruu;opaque=srvr:x");
        assert_eq!(bye.elements(Name::Route).count(), 2);
        assert_eq!(bye.text(Name::From), Some("<sip:+1@gw>;tag=ours"));
        assert_eq!(bye.text(Name::To), Some("<sip:2160@contoso.com>;tag=theirs"));
        assert_eq!(bye.text(Name::CSeq), Some("1 BYE"));
        assert_eq!(dialog.next_hop(), "sip:fe1.contoso.com:5061;transport=tls;lr");
    }

    #[test]
    fn the_calling_side_reverses_the_route() {
        let ringing = message(
            &INVITE
                .replace("INVITE sip:+1@gw SIP/2.0", "SIP/2.0 180 Ringing")
                .replace("To: <sip:+1@gw>", "To: <sip:+1@gw>;tag=far"),
        );
        let dialog = Dialog::calling(&message(INVITE), &ringing).unwrap();
        assert_eq!(dialog.next_hop(), "sip:fe2.contoso.com;lr");
        assert_eq!((dialog.local_tag(), dialog.remote_tag()), ("theirs", "far"));
        assert_eq!(dialog.ack(7).empty_body().text(Name::CSeq), Some("7 ACK"));
    }

    #[test]
    fn a_strict_router_takes_the_request_line() {
        let strict = message(&INVITE.replace(";transport=tls;lr", ""));
        let bye = Dialog::called(&strict, "ours").unwrap().request(Method::Bye).empty_body();
        assert_eq!(bye.uri().unwrap().as_str(), "sip:fe1.contoso.com:5061");
        let routes: Vec<_> =
            bye.elements(Name::Route).map(|route| String::from_utf8_lossy(route).into_owned()).collect();
        assert_eq!(routes, ["<sip:fe2.contoso.com;lr>", "<sip:ms5@contoso.com;gruu;opaque=srvr:x>"]);
    }

    #[test]
    fn requests_out_of_order_are_noticed_and_gaps_are_fine() {
        let mut dialog = Dialog::called(&message(INVITE), "ours").unwrap();
        let numbered = |number| message(&INVITE.replace("7 INVITE", &format!("{number} BYE")));
        assert!(dialog.in_order(&numbered(8)));
        assert!(dialog.in_order(&numbered(20)));
        assert!(!dialog.in_order(&numbered(19)));
    }
}
