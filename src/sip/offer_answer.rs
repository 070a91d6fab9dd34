//! Offer and answer in one dialog (RFC 3264, RFC 6337): whose turn it is, what is agreed.
//!
//! ```text
//!            offer()                     hear()
//! Ours  <--------------  Stable  ---------------->  Theirs
//!       -------------->          <----------------
//!       answered(firm)            answer(firm)
//! ```
//! An answer in an unreliable 18x is a preview: it is heard, but the exchange stays open until the
//! 2xx repeats it (RFC 6337 section 3.1.1). `withdraw()` leads back from both sides.

use crate::cause::{Cause, Guilty, Release};
use crate::leg::{Terms, Wish};
use crate::random::Random;
use crate::session::{Direction, Stream};
use crate::sip::negotiate::{self, Local, Offered, Policy, Refusal, Said, Warning};
use crate::wire::multipart::{self, Fault};
use crate::wire::sdp::{Description, Text};
use crate::wire::sip::{Builder, Message, Name};

/// Why a body is no description to work with.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    /// The body is of another kind: 415.
    Body(Fault),
    /// A description that cannot be taken.
    Description(Refusal),
    /// Nothing is open that could be answered.
    NoOffer,
}

impl From<Refusal> for Unusable {
    fn from(refusal: Refusal) -> Unusable {
        Unusable::Description(refusal)
    }
}

impl Unusable {
    /// The end that it puts to a leg; as a refusal it carries the status for the peer.
    pub fn release(&self) -> Release {
        match self {
            Unusable::Body(fault) => {
                Release::new(Guilty::Peer, Cause::INCOMPATIBLE, fault.to_string()).with_status(415)
            }
            Unusable::Description(refusal) => refusal.release(),
            Unusable::NoOffer => {
                Release::new(Guilty::Peer, Cause::PROTOCOL, "there is no offer to answer").with_status(500)
            }
        }
    }

    /// The Warning header to go with it.
    pub fn warning(&self) -> Option<Warning> {
        match self {
            Unusable::Body(_) | Unusable::NoOffer => None,
            Unusable::Description(refusal) => refusal.warning(),
        }
    }
}

/// A description that came, and the name of the part it came in.
#[derive(Clone, Debug)]
pub struct Described {
    description: Description,
    content_id: Option<String>,
}

/// Finds the description in a message; `None` when it has no body.
pub fn described(policy: &Policy, said: Said, message: &Message) -> Result<Option<Described>, Unusable> {
    if message.body().is_empty() {
        return Ok(None);
    }
    let content_type = message.text(Name::ContentType).unwrap_or_default();
    let part = multipart::session_part(content_type, message.body()).map_err(Unusable::Body)?;
    let description = policy.read(said, part.octets)?;
    Ok(Some(Described { description, content_id: part.content_id.map(str::to_owned) }))
}

/// Why an offer may not come now (RFC 3311 section 5.2, RFC 3261 section 14.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutOfTurn {
    /// Ours is on its way: 491.
    Glare,
    /// The one before has no answer yet: 500 with Retry-After.
    Unanswered,
}

/// What an offer in mid-call asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Nothing, or another address: answered without asking anybody.
    Same,
    /// Another direction or codec: the call decides.
    Change(Wish),
}

/// A description of ours, as it goes into a message.
#[derive(Clone, Debug)]
pub struct Body {
    /// The description.
    pub text: Text,
    /// The part of the peer's offer that it answers, for `Ms-Accepted-Content-ID`.
    pub content_id: Option<String>,
}

impl Body {
    /// Ends a message with this body.
    pub fn finish(self, builder: Builder) -> Message {
        let builder = builder.maybe(Name::MsAcceptedContentId, self.content_id);
        builder.body("application/sdp", self.text.wire().as_bytes())
    }
}

/// Ends a message with a body or without.
pub fn finish(builder: Builder, body: Option<Body>) -> Message {
    match body {
        Some(body) => body.finish(builder),
        None => builder.empty_body(),
    }
}

#[derive(Clone, Debug)]
enum Turn {
    Stable,
    Ours { offered: Box<Offered>, terms: Terms },
    Theirs { offer: Box<Described> },
}

#[derive(Clone, Debug)]
struct Agreed {
    terms: Terms,
    stream: Stream,
    /// What the peer itself said of the direction, seen from us.
    theirs: Direction,
}

impl Agreed {
    /// The same terms with nothing but the codec that is spoken.
    fn narrowed(&self) -> Terms {
        Terms { codecs: vec![self.stream.codec], ..self.terms.clone() }
    }
}

/// Offer and answer of one dialog.
#[derive(Clone, Debug)]
pub struct OfferAnswer {
    policy: Policy,
    local: Local,
    turn: Turn,
    agreed: Option<Agreed>,
}

impl OfferAnswer {
    /// The beginning: the peer's offer is open, or nothing is said yet.
    pub fn new(policy: Policy, random: &mut Random, offer: Option<Described>) -> OfferAnswer {
        let turn = offer.map_or(Turn::Stable, |offer| Turn::Theirs { offer: Box::new(offer) });
        OfferAnswer { policy, local: Local::new(random), turn, agreed: None }
    }

    /// The rules that offers and answers follow here.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// What is agreed, previews included.
    pub fn stream(&self) -> Option<&Stream> {
        self.agreed.as_ref().map(|agreed| &agreed.stream)
    }

    /// Is no offer open?
    pub fn stable(&self) -> bool {
        matches!(self.turn, Turn::Stable)
    }

    /// Does an offer of ours wait for its answer?
    pub fn awaits_answer(&self) -> bool {
        matches!(self.turn, Turn::Ours { .. })
    }

    /// The terms of our open offer.
    pub fn offered_terms(&self) -> Option<Terms> {
        match &self.turn {
            Turn::Ours { terms, .. } => Some(terms.clone()),
            Turn::Stable | Turn::Theirs { .. } => None,
        }
    }

    /// Makes our offer. Only when [`OfferAnswer::stable`].
    pub fn offer(&mut self, terms: &Terms) -> Body {
        let offered = negotiate::offer(&self.policy, &mut self.local, terms);
        let text = offered.text.clone();
        self.turn = Turn::Ours { offered: Box::new(offered), terms: terms.clone() };
        Body { text, content_id: None }
    }

    /// Offers all that was last allowed, for a peer that asks for an offer.
    pub fn offer_again(&mut self) -> Option<Body> {
        let terms = self.agreed.as_ref()?.terms.clone();
        Some(self.offer(&terms))
    }

    /// Offers what is spoken already, for a refresh that shall change nothing.
    pub fn offer_same(&mut self) -> Option<Body> {
        let (terms, narrow) = self.agreed.as_ref().map(|agreed| (agreed.terms.clone(), agreed.narrowed()))?;
        let body = self.offer(&narrow);
        if let Turn::Ours { terms: kept, .. } = &mut self.turn {
            *kept = terms;
        }
        Some(body)
    }

    /// Takes the answer to our offer out of a message; `None` when it has no body. A preview (`firm` is
    /// false) may be followed by others: gateways do connect an announcement first, a telephone later.
    pub fn answered(&mut self, message: &Message, firm: bool) -> Result<Option<Stream>, Unusable> {
        let Some(answer) = described(&self.policy, Said::Answer, message)? else { return Ok(None) };
        let Turn::Ours { offered, terms } = &self.turn else { return Err(Unusable::NoOffer) };
        let stream = negotiate::accept(&self.policy, offered, &answer.description)?;
        self.local.accepted(&stream);
        let theirs = negotiate::wish(&self.policy, &answer.description).map_or(stream.direction, |wish| wish.direction);
        self.agreed = Some(Agreed { terms: terms.clone(), stream: stream.clone(), theirs });
        if firm {
            self.turn = Turn::Stable;
        }
        Ok(Some(stream))
    }

    /// The answer was a preview, ours or the peer's: now it stands.
    pub fn settle(&mut self) -> Option<Stream> {
        self.turn = Turn::Stable;
        self.stream().cloned()
    }

    /// Takes the peer's offer, if it is its turn.
    pub fn hear(&mut self, offer: Described) -> Result<(), OutOfTurn> {
        match self.turn {
            Turn::Stable => {
                self.turn = Turn::Theirs { offer: Box::new(offer) };
                Ok(())
            }
            Turn::Ours { .. } => Err(OutOfTurn::Glare),
            Turn::Theirs { .. } => Err(OutOfTurn::Unanswered),
        }
    }

    /// What the open offer of the peer would like; `None` when there is none.
    pub fn wish(&self) -> Option<Result<Wish, Refusal>> {
        match &self.turn {
            Turn::Theirs { offer } => Some(negotiate::wish(&self.policy, &offer.description)),
            Turn::Stable | Turn::Ours { .. } => None,
        }
    }

    /// What the open offer of the peer asks to change.
    pub fn asked(&self) -> Result<Asked, Refusal> {
        let (Some(wish), Some(agreed)) = (self.wish(), &self.agreed) else { return Ok(Asked::Same) };
        let wish = wish?;
        let same = wish.direction == agreed.theirs && wish.codecs.contains(&agreed.stream.codec);
        Ok(if same { Asked::Same } else { Asked::Change(wish) })
    }

    /// Answers the peer's open offer within `terms`. After a preview (`firm` is false) the offer stays
    /// open: the same text goes out again until [`OfferAnswer::settle`].
    pub fn answer(&mut self, terms: &Terms, firm: bool) -> Result<Body, Unusable> {
        let Turn::Theirs { offer } = &self.turn else {
            return Err(Unusable::NoOffer);
        };
        let answer = self.compose(&offer.clone(), terms, terms)?;
        if firm {
            self.turn = Turn::Stable;
        }
        Ok(answer)
    }

    /// Answers the peer's open offer within what was last allowed.
    pub fn answer_again(&mut self) -> Result<Body, Unusable> {
        let terms = self.agreed.as_ref().map(|agreed| agreed.terms.clone());
        self.answer(&terms.ok_or(Unusable::NoOffer)?, true)
    }

    /// Answers the peer's open offer with what is spoken already.
    pub fn answer_same(&mut self) -> Result<Body, Unusable> {
        let (Turn::Theirs { offer }, Some(agreed)) = (&self.turn, &self.agreed) else {
            return Err(Unusable::NoOffer);
        };
        let (terms, narrow) = (agreed.terms.clone(), agreed.narrowed());
        let body = self.compose(&offer.clone(), &narrow, &terms)?;
        self.turn = Turn::Stable;
        Ok(body)
    }

    /// The open offer was refused, by us or by the peer: what was agreed stays.
    pub fn withdraw(&mut self) {
        self.turn = Turn::Stable;
    }

    fn compose(&mut self, offer: &Described, terms: &Terms, kept: &Terms) -> Result<Body, Unusable> {
        let answered = negotiate::answer(&self.policy, &mut self.local, terms, &offer.description)?;
        let theirs =
            negotiate::wish(&self.policy, &offer.description).map_or(answered.stream.direction, |wish| wish.direction);
        self.agreed = Some(Agreed { terms: kept.clone(), stream: answered.stream, theirs });
        Ok(Body { text: answered.text, content_id: offer.content_id.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Dtmf, SrtpMode};
    use crate::session::{Codec, Suite, Suites};
    use crate::sip::negotiate::Dialect;

    fn policy() -> Policy {
        let srtp = SrtpMode::NotSupported;
        Policy {
            dialect: Dialect::Gateway,
            srtp,
            suites: Suites::new([]),
            latch: false,
            ice: false,
            dtmf: Dtmf::Auto,
            watch_live: false,
            watch_held: false,
        }
    }

    fn terms() -> Terms {
        Terms {
            local: "192.0.2.10:40000".parse().unwrap(),
            codecs: Codec::ALL.to_vec(),
            direction: Direction::SendRecv,
            telephone_event: true,
            comfort_noise: false,
        }
    }

    fn message(port: u16, formats: &str, direction: &str) -> Message {
        let text = format!(
            "v=0\r\no=- 1 1 IN IP4 192.0.2.20\r\ns=-\r\nc=IN IP4 192.0.2.20\r\nt=0 0\r\nm=audio {port} RTP/AVP {formats}\r\na={direction}\r\n"
        );
        Message::response(200, "OK").body("application/sdp", text.as_bytes())
    }

    fn sdp(port: u16, formats: &str, direction: &str) -> Described {
        described(&policy(), Said::Offer, &message(port, formats, direction)).unwrap().unwrap()
    }

    #[test]
    fn a_preview_leaves_the_exchange_open() {
        let mut called = OfferAnswer::new(policy(), &mut Random::test(1), None);
        called.hear(sdp(5000, "8 0", "sendrecv")).unwrap();
        called.answer(&terms(), false).unwrap();
        let early = called.stream().cloned();
        assert_eq!(called.hear(sdp(5000, "8", "sendrecv")).unwrap_err(), OutOfTurn::Unanswered);
        assert!(!called.stable());
        assert_eq!(called.settle(), early);
        assert!(called.stable());
    }

    #[test]
    fn a_caller_follows_previews_until_one_is_firm() {
        let mut caller = OfferAnswer::new(policy(), &mut Random::test(1), None);
        caller.offer(&terms());
        assert_eq!(
            caller
                .answered(&message(5000, "0", "sendrecv"), false)
                .unwrap()
                .unwrap()
                .remote
                .addresses()
                .unwrap()
                .rtp
                .port(),
            5000
        );
        assert_eq!(
            caller
                .answered(&message(6000, "8", "sendrecv"), false)
                .unwrap()
                .unwrap()
                .remote
                .addresses()
                .unwrap()
                .rtp
                .port(),
            6000
        );
        assert_eq!(caller.hear(sdp(1, "0", "sendrecv")), Err(OutOfTurn::Glare));
        assert_eq!(caller.settle().unwrap().remote.addresses().unwrap().rtp.port(), 6000);
        assert!(caller.answered(&message(7000, "8", "sendrecv"), true).is_err(), "nothing is open any more");
    }

    /// RFC 3711 section 9.1: a key that began anew would repeat its keystream.
    #[test]
    fn a_key_that_gave_way_to_plain_media_does_not_come_back() {
        let policy = Policy { srtp: SrtpMode::Optional, suites: Suites::new(Suite::ALL), ..policy() };
        let mut caller = OfferAnswer::new(policy, &mut Random::test(1), None);
        let mut call = |answer: Message| {
            caller.offer(&terms());
            caller.answered(&answer, true).unwrap().unwrap().srtp.map(|srtp| srtp.send)
        };
        let crypto = "sendrecv\r\na=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz";
        let first = call(message(5000, "0", crypto));
        assert!(first.is_some());
        assert_eq!(call(message(5000, "0", crypto)), first);
        assert_eq!(call(message(5000, "0", "sendrecv")), None);
        let second = call(message(5000, "0", crypto));
        assert!(second.is_some() && second != first);
    }

    #[test]
    fn only_direction_and_codec_are_the_calls_business() {
        let mut called = OfferAnswer::new(policy(), &mut Random::test(1), None);
        called.hear(sdp(5000, "8 0", "sendrecv")).unwrap();
        called.answer(&terms(), true).unwrap();
        assert_eq!(called.stream().unwrap().codec, Codec::Pcmu);
        for (offer, same) in [
            (sdp(5000, "8 0", "sendrecv"), true),
            (sdp(5002, "0", "sendrecv"), true),
            (sdp(5000, "8", "sendrecv"), false),
            (sdp(5000, "8 0", "inactive"), false),
        ] {
            called.hear(offer).unwrap();
            assert_eq!(called.asked().unwrap() == Asked::Same, same);
            called.withdraw();
        }
    }

    #[test]
    fn a_resume_is_asked_even_when_a_hold_was_granted_as_inactive() {
        let mut called = OfferAnswer::new(policy(), &mut Random::test(1), None);
        called.hear(sdp(5000, "0", "inactive")).unwrap();
        let held = Terms { direction: Direction::Inactive, ..terms() };
        called.answer(&held, true).unwrap();
        called.hear(sdp(5000, "0", "sendrecv")).unwrap();
        assert!(matches!(called.asked(), Ok(Asked::Change(wish)) if wish.direction == Direction::SendRecv));
    }
}
