//! OPTIONS outside a call (RFC 3261 section 11): ours, to see whether a peer is there, and the
//! answer to a peer's.

use crate::config::Trunk;
use crate::hop::{Flow, Hop, in_uri};
use crate::random::Random;
use crate::sip::invite::{PRODUCT, accepted, contact, dated};
use crate::sip::uas::capabilities;
use crate::time::Now;
use crate::wire::sip::{Builder, Message, Method, Name};

/// A question to a peer, without Via.
pub fn probe(now: Now, random: &mut Random, trunk: &Trunk, hop: &Hop) -> Message {
    let peer = hop.host_port();
    let own = in_uri(&trunk.own_host);
    let uri = format!("sip:{peer};transport={}", hop.transport().uri());
    let builder = Builder::request(Method::Options, &uri)
        .header(Name::MaxForwards, 70)
        .header(Name::From, format_args!("<sip:{own}>;tag={}", random.token()))
        .header(Name::To, format_args!("<sip:{peer}>"))
        .header(Name::CallId, random.token())
        .header(Name::CSeq, "1 OPTIONS")
        .header(Name::Contact, contact(trunk, hop.transport()))
        .header(Name::Accept, "application/sdp")
        .header(Name::UserAgent, PRODUCT);
    dated(builder, now).empty_body()
}

/// What we can do, for a peer that asks. Teams finds the tenant by the Contact.
pub fn answer(now: Now, trunk: &Trunk, request: &Message, flow: Flow, to_tag: &str) -> Message {
    let builder = capabilities(request, flow, to_tag, &accepted(trunk), contact(trunk, flow.transport));
    let builder = dated(builder.header(Name::Server, PRODUCT), now);
    builder.empty_body()
}
