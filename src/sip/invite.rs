//! Our INVITE: who calls whom, in the dialect of the trunk; and the same read off a peer's INVITE.
//!
//! | switch           | effect                                                             |
//! |------------------|--------------------------------------------------------------------|
//! | RemovePlusFromUri| `+1312..` becomes `1312..` in Request-URI, To, From, identity      |
//! | ForwardPAI       | the caller goes into P-Asserted-Identity, and is read from there   |
//! | ForwardCallHistory | who was called before is told, and who asked for a transfer      |
//! | EnableSessionTimer | Session-Expires is offered                                       |
//! | Enable100rel     | `100rel` stands in Supported                                       |

use std::fmt::Write as _;

use crate::config::{Profile, Trunk, TrunkKind};
use crate::hop::{Hop, Transport, in_uri};
use crate::leg::{Parties, Party, Passage};
use crate::private::Private;
use crate::sip::offer_answer::Body;
use crate::sip::session_timer::{self, INTERVAL, LEAST};
use crate::sip::uas::{self, Accepted};
use crate::sip::{diversion, user_to_user};
use crate::time::{Now, sip_date};
use crate::wire::sip::{Address, Builder, Line, Message, Method, Name, SessionExpires, Uri, without_ms};

/// What we call ourselves in User-Agent and Server: Microsoft's peers look for the last word.
pub const PRODUCT: &str = concat!("RTCC/7.0.0.0 demarc/", env!("CARGO_PKG_VERSION"), " MediationServer");

/// Who shall not be known.
pub(super) const ANONYMOUS: &str = "sip:anonymous@anonymous.invalid";
/// Before the token, where there is no number to call.
const PASSAGE: &str = "refer-";
/// The token beside a number.
const PASSAGE_PARAM: &str = "x-refer";

/// The names of one INVITE's dialog.
#[derive(Clone, Debug)]
pub struct Names<'a> {
    /// Our Call-ID.
    pub call_id: &'a str,
    /// Our From tag.
    pub tag: &'a str,
}

/// Builds the INVITE that begins a call, without Via.
pub fn invite(now: Now, trunk: &Trunk, hop: &Hop, parties: &Parties, names: &Names<'_>, offer: Body) -> Message {
    let called = telephone(&parties.called.0, trunk);
    // What Microsoft's servers refer us to is theirs to read.
    let referral = parties.referral.as_ref().filter(|_| matches!(trunk.kind, TrunkKind::Microsoft(_)));
    let target = referral.map(|referral| referral.target.0.clone());
    let request_uri = target.clone().unwrap_or_else(|| uri(&called, &hop.host_port(), hop.transport()));
    let to = target.unwrap_or_else(|| uri(&called, &hop.host(), Transport::Udp));
    let identity = identity(trunk, parties);
    let builder = Builder::request(Method::Invite, &request_uri)
        .header(Name::MaxForwards, 70)
        .header(Name::From, format_args!("{};tag={}", from(trunk, parties), names.tag))
        .header(Name::To, format_args!("<{to}>"))
        .header(Name::CallId, names.call_id)
        .header(Name::CSeq, "1 INVITE")
        .maybe(Name::PAssertedIdentity, identity)
        .maybe(Name::Privacy, parties.withheld.then_some("id"));
    let builder = diversion::write(referred(builder, trunk, parties), trunk, parties);
    let builder = user_to_user::write(builder, parties.user_user.as_ref());
    let builder = abilities(dated(builder, now), trunk, hop.transport()).header(Name::UserAgent, PRODUCT);
    let builder = match trunk.kind {
        TrunkKind::Microsoft(Profile::Teams) => {
            builder.other("X-MS-SBC", concat!("demarc/demarc/", env!("CARGO_PKG_VERSION")))
        }
        _ => builder,
    };
    let builder = match trunk.switches.enable_session_timer {
        true => timed(builder, SessionExpires { seconds: INTERVAL, refresher: None }),
        false => builder,
    };
    offer.finish(builder)
}

/// Who asked for this call and what it takes the place of. Microsoft's servers read their own signature, so it goes
/// back as it came; gateways hear of it where ForwardCallHistory says so. Teams refuses every INVITE with Replaces.
fn referred(builder: Builder, trunk: &Trunk, parties: &Parties) -> Builder {
    let Some(referral) = &parties.referral else { return builder };
    let referred_by = referral.referred_by.as_ref().map(|value| match trunk.kind {
        TrunkKind::Microsoft(_) => Some(value.0.clone()),
        TrunkKind::Gateway | TrunkKind::Isdn => trunk.switches.forward_call_history.then(|| without_ms(&value.0)),
    });
    let builder = match referred_by.flatten() {
        Some(value) => builder.line(Line { name: Name::ReferredBy, text: b"Referred-By", value: &value }),
        None => builder,
    };
    let replaces = matches!(trunk.kind, TrunkKind::Microsoft(profile) if profile != Profile::Teams);
    match referral.replaces.as_ref().filter(|_| replaces) {
        Some(replaces) => builder.header(Name::Replaces, &replaces.0).header(Name::Require, "replaces"),
        None => builder,
    }
}

/// The same INVITE once more after a 422: the next CSeq, at least `interval` (RFC 4028 section 7.3).
pub fn with_interval(invite: &Message, interval: u32) -> Message {
    let cseq = invite.cseq().map_or(1, |cseq| cseq.number) + 1;
    let changed = [Name::CSeq, Name::SessionExpires, Name::MinSe, Name::ContentType, Name::ContentLength, Name::Via];
    let kept = invite.lines().filter(|line| !changed.contains(&line.name));
    let builder = kept.fold(Builder::with_start_of(invite), Builder::line);
    builder
        .header(Name::CSeq, format_args!("{cseq} INVITE"))
        .header(Name::SessionExpires, interval)
        .header(Name::MinSe, interval)
        .body("application/sdp", invite.body())
}

/// Who is called and who calls, by a peer's INVITE.
pub fn parties(trunk: &Trunk, invite: &Message) -> Parties {
    let to = || invite.address(Name::To).ok()?.uri.user();
    let called = invite.uri().and_then(Uri::user).or_else(to).unwrap_or_default();
    let from = invite.address(Name::From).ok();
    let anonymous = from.is_none_or(|from| is_anonymous(from.uri));
    let caller = asserted(trunk, invite).or(from.filter(|_| !anonymous));
    Parties {
        called: Private(called.to_owned()),
        calling: Private(caller.and_then(|caller| caller.uri.user()).unwrap_or_default().to_owned()),
        name: Private(caller.map(|caller| caller.display_text()).unwrap_or_default()),
        withheld: asks_for_privacy(invite) || anonymous,
        diversions: diversion::read(invite),
        user_user: user_to_user::read(invite),
        referral: None,
    }
}

/// Who answers, by a peer's response.
pub fn connected(trunk: &Trunk, response: &Message) -> Option<Party> {
    let address = asserted(trunk, response)?;
    Some(Party {
        number: Private(address.uri.user().unwrap_or_default().to_owned()),
        name: Private(address.display_text()),
        withheld: asks_for_privacy(response),
    })
}

/// Whom the trunk vouches for (RFC 3325), where it is believed.
fn asserted<'m>(trunk: &Trunk, message: &'m Message) -> Option<Address<'m>> {
    let mut addresses = message.elements(Name::PAssertedIdentity).filter_map(Address::parse);
    addresses.find(|address| address.uri.user().is_some()).filter(|_| trunk.switches.forward_pai)
}

fn asks_for_privacy(message: &Message) -> bool {
    diversion::is_private(message.all(Name::Privacy), b"id")
}

/// Where this trunk reaches us: the Contact of everything that begins or refreshes a dialog.
pub fn contact(trunk: &Trunk, transport: Transport) -> String {
    format!("<sip:{}:{};transport={}>", in_uri(&trunk.own_host), trunk.own_port, transport.uri())
}

/// Where a gateway that places a transfer's call by itself shall place it: with us, known by its token.
pub fn refer_to(trunk: &Trunk, transport: Transport, passage: &Passage) -> String {
    let us = format!("{}:{};transport={}", in_uri(&trunk.own_host), trunk.own_port, transport.uri());
    match telephone(&passage.number.0, trunk) {
        User { phone: false, .. } => format!("sip:{PASSAGE}{}@{us}", passage.token),
        User { text, .. } => format!("sip:{text}@{us};user=phone;{PASSAGE_PARAM}={}", passage.token),
    }
}

/// The token in an INVITE to what [`refer_to`] wrote.
pub fn passage_token(invite: &Message) -> Option<&str> {
    let uri = invite.uri()?;
    uri.param(PASSAGE_PARAM).or_else(|| uri.user()?.strip_prefix(PASSAGE))
}

/// Contact, Allow, Supported: what INVITE, UPDATE and their 2xx say about us.
pub fn abilities(builder: Builder, trunk: &Trunk, transport: Transport) -> Builder {
    let accepted = accepted(trunk);
    builder
        .header(Name::Contact, contact(trunk, transport))
        .header(Name::Allow, uas::allow(&accepted))
        .header(Name::Supported, accepted.options.join(", "))
}

/// What we take on a trunk. NOTIFY is there because Microsoft looks for it.
pub fn accepted(trunk: &Trunk) -> Accepted {
    use Method::{Bye, Cancel, Info, Invite, Notify, Options, Prack, Refer, Update};
    let mut accepted = Accepted {
        methods: vec![Invite, Cancel, Bye, Options, Update, Info, Notify],
        options: vec!["timer", "replaces"],
        ..Accepted::default()
    };
    if matches!(trunk.kind, TrunkKind::Microsoft(_)) || trunk.switches.accept_refer {
        accepted.methods.push(Refer);
        accepted.options.push("norefersub");
    }
    if trunk.switches.enable_100rel {
        accepted.methods.push(Prack);
        accepted.options.push("100rel");
    }
    accepted
}

/// With the time of day.
pub fn dated(builder: Builder, now: Now) -> Builder {
    builder.header(Name::Date, sip_date(now.wall))
}

/// With a session interval to ask for.
pub fn timed(builder: Builder, expires: SessionExpires) -> Builder {
    builder.header(Name::SessionExpires, session_timer::header(expires)).header(Name::MinSe, LEAST)
}

fn from(trunk: &Trunk, parties: &Parties) -> String {
    if let Some(referee) = referee(trunk, parties) {
        return format!("<{referee}>");
    }
    if parties.withheld || parties.calling.0.is_empty() {
        return format!("\"Anonymous\" <{ANONYMOUS}>");
    }
    let caller = own_uri(trunk, parties.calling.get());
    named(&parties.name, &caller)
}

fn named(name: &Private<String>, uri: &str) -> String {
    match name.get().as_str() {
        "" => format!("<{uri}>"),
        name => format!("\"{}\" <{uri}>", name.replace('\\', "\\\\").replace('"', "\\\"")),
    }
}

/// Vouches for who answers, where the trunk wants that (ForwardPAI).
pub fn identified(builder: Builder, trunk: &Trunk, party: Option<&Party>) -> Builder {
    let Some(party) = party.filter(|party| trunk.switches.forward_pai && !party.number.get().is_empty()) else {
        return builder;
    };
    builder
        .header(Name::PAssertedIdentity, named(&party.name, &own_uri(trunk, party.number.get())))
        .maybe(Name::Privacy, party.withheld.then_some("id"))
}

/// The URI by which Microsoft's servers know the one who calls because it was asked to: the signature in Referred-By
/// names it.
fn referee<'a>(trunk: &Trunk, parties: &'a Parties) -> Option<&'a str> {
    let referral = parties.referral.as_ref().filter(|_| matches!(trunk.kind, TrunkKind::Microsoft(_)))?;
    Some(referral.referee.0.as_str()).filter(|referee| !referee.is_empty())
}

fn identity(trunk: &Trunk, parties: &Parties) -> Option<String> {
    if let Some(referee) = referee(trunk, parties).filter(|_| trunk.switches.forward_pai) {
        return Some(format!("<{referee}>"));
    }
    let known = trunk.switches.forward_pai && !parties.calling.0.is_empty();
    known.then(|| format!("<{}>", own_uri(trunk, parties.calling.get())))
}

/// A user part and whether it is a telephone number.
struct User {
    text: String,
    phone: bool,
}

fn telephone(user: &str, trunk: &Trunk) -> User {
    let phone = user.starts_with(|first: char| first == '+' || first.is_ascii_digit());
    let bare = user.strip_prefix('+').filter(|_| trunk.switches.remove_plus_from_uri).unwrap_or(user);
    User { text: escaped(bare), phone }
}

/// A user at our own host, as this trunk is told of people.
pub(super) fn own_uri(trunk: &Trunk, user: &str) -> String {
    uri(&telephone(user, trunk), &in_uri(&trunk.own_host), Transport::Udp)
}

fn uri(user: &User, host: &str, transport: Transport) -> String {
    let mut uri = match user.text.as_str() {
        "" => format!("sip:{host}"),
        text => format!("sip:{text}@{host}"),
    };
    // Writing to a string cannot fail.
    if transport != Transport::Udp {
        let _ = write!(uri, ";transport={}", transport.uri());
    }
    if user.phone {
        uri.push_str(";user=phone");
    }
    uri
}

/// A user part with everything escaped that may not stand there (RFC 3261 section 25.1 `user`).
fn escaped(user: &str) -> String {
    user.bytes().fold(String::new(), |mut text, octet| {
        match octet {
            octet if octet.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,;?/%".contains(&octet) => text.push(octet.into()),
            octet => _ = write!(text, "%{octet:02X}"),
        }
        text
    })
}

pub(super) fn is_anonymous(uri: Uri<'_>) -> bool {
    uri.user().is_none_or(|user| user.eq_ignore_ascii_case("anonymous")) || uri.host() == "anonymous.invalid"
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::hop::{Target, TrunkId};
    use crate::sip::leg::tests::trunk;
    use crate::wire::sdp::Text;

    fn hop() -> Hop {
        let (host, port) = (Arc::from("gw.example"), Some(5068));
        Hop::Target(Target { trunk: TrunkId(1), transport: Transport::Tcp, host, port })
    }

    fn built(trunk: &Trunk, parties: &Parties) -> Message {
        let names = Names { call_id: "c", tag: "t" };
        invite(
            Now::virtual_start(),
            trunk,
            &hop(),
            parties,
            &names,
            Body { text: Text("v=0\r\n".into()), content_id: None },
        )
    }

    fn somebody() -> Parties {
        Parties {
            called: Private("+13125556789".into()),
            calling: Private("+13125550100".into()),
            name: Private("Smith, \"J\"".into()),
            ..Parties::default()
        }
    }

    #[test]
    fn an_invite_names_both_parties_and_ourselves() {
        let trunk = trunk(TrunkKind::Gateway);
        let invite = built(&trunk, &somebody());
        assert_eq!(invite.uri().unwrap().as_str(), "sip:+13125556789@gw.example:5068;transport=tcp;user=phone");
        assert_eq!(invite.text(Name::To), Some("<sip:+13125556789@gw.example;user=phone>"));
        let from = "\"Smith, \\\"J\\\"\" <sip:+13125550100@ms1.contoso.com;user=phone>;tag=t";
        assert_eq!(invite.text(Name::From), Some(from));
        assert_eq!(invite.text(Name::Contact), Some("<sip:ms1.contoso.com:5067;transport=tcp>"));
        assert_eq!(invite.text(Name::Date), Some("Fri, 20 Nov 2026 23:00:00 GMT"));
        assert!(invite.text(Name::UserAgent).unwrap().ends_with(" MediationServer"));
        assert_eq!(invite.value(Name::PAssertedIdentity), None);
        assert_eq!(invite.value(Name::SessionExpires), None);
    }

    #[test]
    fn the_switches_of_the_trunk_shape_it() {
        let mut trunk = trunk(TrunkKind::Gateway);
        trunk.switches.remove_plus_from_uri = true;
        trunk.switches.forward_pai = true;
        trunk.switches.enable_session_timer = true;
        trunk.switches.enable_100rel = false;
        let invite = built(&trunk, &Parties { withheld: true, ..somebody() });
        assert_eq!(invite.uri().unwrap().user(), Some("13125556789"));
        assert_eq!(invite.text(Name::From), Some("\"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=t"));
        assert_eq!(invite.text(Name::PAssertedIdentity), Some("<sip:13125550100@ms1.contoso.com;user=phone>"));
        assert_eq!(invite.text(Name::Privacy), Some("id"));
        assert_eq!(invite.text(Name::SessionExpires), Some("1800"));
        assert_eq!(invite.text(Name::Supported), Some("timer, replaces"));
    }

    #[test]
    fn a_number_cannot_break_out_of_its_uri() {
        let parties = Parties { called: Private("1@evil>\r\nX: y".into()), ..somebody() };
        let invite = built(&trunk(TrunkKind::Gateway), &parties);
        assert_eq!(invite.uri().unwrap().host(), "gw.example");
        assert_eq!(invite.uri().unwrap().user(), Some("1%40evil%3E%0D%0AX%3A%20y"));
    }

    #[test]
    fn a_second_try_keeps_all_but_the_interval() {
        let mut trunk = trunk(TrunkKind::Gateway);
        trunk.switches.enable_session_timer = true;
        let first = built(&trunk, &somebody());
        let second = with_interval(&first, 3600);
        assert_eq!(second.text(Name::CSeq), Some("2 INVITE"));
        assert_eq!(second.text(Name::SessionExpires), Some("3600"));
        assert_eq!(second.all(Name::SessionExpires).count(), 1);
        assert_eq!((second.call_id(), second.body()), (first.call_id(), first.body()));
    }

    #[test]
    fn parties_are_read_as_the_trunk_allows() {
        let text = "INVITE sip:+13125556789@ms1.contoso.com;user=phone SIP/2.0
From: \"Anonymous\" <sip:anonymous@anonymous.invalid>;tag=1
To: <sip:x@y>
P-Asserted-Identity: <sip:ms1.contoso.com>, \"Bob\" <sip:2160;phone-context=dialstring@contoso.com>
Privacy: id;critical

";
        let invite = Message::parse(Bytes::from(text.replace('\n', "\r\n"))).unwrap();
        let mut trunk = trunk(TrunkKind::Gateway);
        let unasserted = parties(&trunk, &invite);
        assert_eq!(unasserted.called.0, "+13125556789");
        assert_eq!((unasserted.calling.0.as_str(), unasserted.withheld), ("", true));
        trunk.switches.forward_pai = true;
        let asserted = parties(&trunk, &invite);
        assert_eq!(asserted.calling.0, "2160;phone-context=dialstring");
        assert_eq!((asserted.name.0.as_str(), asserted.withheld), ("Bob", true));
    }
}
