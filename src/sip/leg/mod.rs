//! A leg: one call's dialogs with one SIP peer (RFC 3261 sections 12 to 15), in the six words of
//! [`crate::leg`].
//!
//! ```text
//!            Called  --- 200 ---.
//!  INVITE <                      >-- Confirmed --- BYE --> Leaving --> Over
//!            Calling --- ACK ---'        |                    ^
//!               '------- CANCEL ---------+--------------------'
//! ```
//! `called` is the peer's INVITE up to our final answer, `calling` ours up to the peer's; `confirmed` is
//! mid-call, `leaving` what remains to be said when the call has already forgotten the leg. Every state
//! but an established dialog has a deadline.

mod called;
mod calling;
mod confirmed;
mod leaving;
mod passing;
mod referring;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::cause::{Cause, Guilty, Release, Words, reason_phrase};
use crate::config::{Trunk, TrunkKind};
use crate::hop::{Flow, Hop, Target, Transport};
use crate::leg::{Order, Parties, Terms, Wish, Word};
use crate::random::Random;
use crate::session::Stream;
use crate::sip::dialog::Dialog;
use crate::sip::invite::{PRODUCT, accepted, dated};
use crate::sip::negotiate::{Policy, Said, Warning};
use crate::sip::offer_answer::{OfferAnswer, OutOfTurn, Unusable, described};
use crate::sip::reason::excused;
use crate::sip::response::response_to;
use crate::sip::transaction::{Failure, LIFETIME, ServerId};
use crate::sip::{uas, user_to_user};
use crate::time::{Instant, Now, soonest};
use crate::wire::sip::{Builder, Message, Method, Name, Replaces, Uri};

use called::Called;
use calling::Calling;
use confirmed::Confirmed;
use leaving::Leaving;

/// How long a call may ring: nobody hears it any more, and no state lives forever.
const RINGING: Duration = Duration::from_secs(600);

/// More answers to one INVITE than any forking proxy has legs: the rest is not listened to.
const MOST_ACKNOWLEDGED: usize = 64;

/// A leg's name for one of its requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u32);

/// What a leg does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Begin a client transaction; the message lacks our Via.
    Request {
        /// To tell its answers by.
        id: RequestId,
        /// Where to.
        hop: Hop,
        /// What.
        message: Message,
    },
    /// Cancel our INVITE.
    Cancel {
        /// Which.
        id: RequestId,
        /// The value of the CANCEL's Reason header.
        reason: String,
    },
    /// Send the ACK of a 2xx, which has no transaction; it lacks our Via.
    Ack {
        /// Where to.
        hop: Hop,
        /// What.
        message: Message,
    },
    /// Answer a request of the peer.
    Respond {
        /// Which.
        transaction: ServerId,
        /// What.
        message: Message,
    },
    /// Tell the call.
    Word(Word),
    /// A sentence for the call's ladder.
    Note(Cow<'static, str>),
}

/// What a peer's INVITE asks of the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    /// Who calls whom.
    pub parties: Parties,
    /// What the peer offers; `None` leaves the offer to us.
    pub wish: Option<Wish>,
}

/// A peer's INVITE that makes no leg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The answer to send.
    pub response: Message,
    /// Why, for the log.
    pub release: Release,
}

/// One SIP call of ours.
#[derive(Debug)]
pub struct Leg {
    base: Base,
    state: State,
}

#[derive(Debug)]
enum State {
    Called(Box<Called>),
    Calling(Box<Calling>),
    Confirmed(Box<Confirmed>),
    Leaving(Box<Leaving>),
    Over,
}

impl Leg {
    /// The leg of a peer's INVITE outside a dialog.
    pub fn incoming(
        now: Now,
        random: &mut Random,
        trunk: Arc<Trunk>,
        flow: Flow,
        transaction: ServerId,
        invite: Message,
    ) -> Result<(Leg, Incoming), Box<Rejection>> {
        let received = Received { transaction, flow, message: invite };
        let mut base = Base::new(trunk, Hop::Flow(flow), received.message.call_id().unwrap_or_default());
        base.flow = Some(flow);
        let (called, incoming) = Called::begin(now, random, &base, received)?;
        Ok((Leg { base, state: State::Called(Box::new(called)) }, incoming))
    }

    /// A leg that calls `parties` at `hop`, which is on `trunk`.
    pub fn outgoing(
        now: Now,
        random: &mut Random,
        trunk: Arc<Trunk>,
        hop: Hop,
        parties: &Parties,
        terms: &Terms,
        out: &mut Vec<Output>,
    ) -> Leg {
        let call_id = format!("{}{}", random.token(), random.token());
        let mut base = Base::new(trunk, hop, &call_id);
        let calling = Calling::begin(&mut Step { now, random, base: &mut base, out }, parties, terms);
        Leg { base, state: State::Calling(Box::new(calling)) }
    }

    /// The call says something. After [`Order::Release`] the leg says no further word, and heeds [`Order::Transfer`] only.
    pub fn order(&mut self, now: Now, random: &mut Random, order: Order, out: &mut Vec<Output>) {
        self.step(now, random, out, |state, step| match state {
            State::Called(called) => called.order(step, order),
            State::Calling(calling) => calling.order(step, order),
            State::Confirmed(confirmed) => confirmed.order(step, order),
            State::Leaving(leaving) => leaving.order(step, order),
            State::Over => State::Over,
        });
    }

    /// The peer sent a request that this leg [`Leg::owns`]; never ACK or CANCEL.
    pub fn request(
        &mut self,
        now: Now,
        random: &mut Random,
        flow: Flow,
        transaction: ServerId,
        message: Message,
        out: &mut Vec<Output>,
    ) {
        self.base.arrived(flow);
        let received = Received { transaction, flow, message };
        self.step(now, random, out, |state, step| match state {
            State::Called(called) => called.request(step, received),
            State::Calling(calling) => calling.request(step, received),
            State::Confirmed(confirmed) => confirmed.request(step, received),
            State::Leaving(leaving) => leaving.request(step, received),
            State::Over => {
                step.respond(&received, step.reply(&received, 481));
                State::Over
            }
        });
    }

    /// The peer confirmed a 2xx of ours.
    pub fn ack(&mut self, now: Now, random: &mut Random, message: &Message, out: &mut Vec<Output>) {
        self.step(now, random, out, |state, step| match state {
            State::Confirmed(confirmed) => confirmed.ack(step, message),
            State::Leaving(leaving) => leaving.ack(step, message),
            state => state,
        });
    }

    /// The peer gave up its INVITE; the CANCEL is answered already.
    pub fn cancelled(&mut self, now: Now, random: &mut Random, cancel: &Message, out: &mut Vec<Output>) {
        self.step(now, random, out, |state, step| match state {
            State::Called(called) => called.cancelled(step, cancel),
            State::Confirmed(confirmed) => confirmed.cancelled(step),
            state => state,
        });
    }

    /// The peer answered a request of ours.
    pub fn response(
        &mut self,
        now: Now,
        random: &mut Random,
        flow: Flow,
        id: RequestId,
        message: &Message,
        out: &mut Vec<Output>,
    ) {
        self.base.arrived(flow);
        self.step(now, random, out, |state, step| {
            let accepted = message.status().is_some_and(|status| (200..300).contains(&status));
            if accepted && step.acknowledge_again(id, message) {
                return state;
            }
            match state {
                State::Calling(calling) => calling.response(step, id, message),
                State::Confirmed(confirmed) => confirmed.response(step, id, message),
                State::Leaving(leaving) => leaving.response(step, id, message),
                State::Over => {
                    step.hang_up_stray(id, message);
                    State::Over
                }
                state => state,
            }
        });
    }

    /// A request of ours got no answer.
    pub fn failed(&mut self, now: Now, random: &mut Random, id: RequestId, why: Failure, out: &mut Vec<Output>) {
        self.step(now, random, out, |state, step| match state {
            State::Calling(calling) => calling.failed(step, id, why),
            State::Confirmed(confirmed) => confirmed.failed(step, id, why),
            State::Leaving(leaving) => leaving.failed(step, id, why),
            state => state,
        });
    }

    /// When [`Leg::tick`] is due.
    pub fn timeout(&self) -> Option<Instant> {
        let state = match &self.state {
            State::Called(called) => called.timeout(),
            State::Calling(calling) => calling.timeout(),
            State::Confirmed(confirmed) => confirmed.timeout(),
            State::Leaving(leaving) => leaving.timeout(),
            State::Over => None,
        };
        soonest(state, self.base.acknowledged.iter().map(|kept| kept.until).min())
    }

    /// Carries out what is due.
    pub fn tick(&mut self, now: Now, random: &mut Random, out: &mut Vec<Output>) {
        self.base.acknowledged.retain(|kept| kept.until > now.mono);
        self.step(now, random, out, |state, step| match state {
            State::Called(called) => called.tick(step),
            State::Calling(calling) => calling.tick(step),
            State::Confirmed(confirmed) => confirmed.tick(step),
            State::Leaving(leaving) => leaving.tick(step),
            State::Over => State::Over,
        });
    }

    /// The Call-ID of all its dialogs.
    pub fn call_id(&self) -> &str {
        &self.base.call_id
    }

    /// Does a request in a dialog, or an ACK, belong to this leg?
    pub fn owns(&self, message: &Message) -> bool {
        let Some(tag) = message.tag(Name::To) else { return false };
        message.call_id() == Ok(&self.base.call_id)
            && match &self.state {
                State::Called(called) => called.has_tag(tag),
                State::Calling(calling) => calling.has_tag(tag),
                State::Confirmed(confirmed) => confirmed.dialog.local_tag() == tag,
                State::Leaving(leaving) => leaving.has_tag(tag),
                State::Over => false,
            }
    }

    /// Is this its dialog, established or, where the peer calls, early? The tag of the one who reads a Replaces comes
    /// first (RFC 3891 section 3).
    pub fn is_named_by(&self, replaces: &Replaces<'_>) -> bool {
        let named = |dialog: &Dialog| (dialog.local_tag(), dialog.remote_tag()) == (replaces.to_tag, replaces.from_tag);
        replaces.call_id == self.base.call_id
            && match &self.state {
                State::Confirmed(confirmed) => named(&confirmed.dialog),
                State::Called(called) => called.dialogs().any(named),
                _ => false,
            }
    }

    /// Does the peer still wait for the answer to its call?
    pub fn is_called(&self) -> bool {
        matches!(self.state, State::Called(_))
    }

    /// Has the peer not said that it does not take REFER?
    pub fn takes_refer(&self) -> bool {
        matches!(&self.state, State::Confirmed(confirmed) if confirmed.takes_refer())
    }

    /// Is nothing left to send or to repeat? Then it may be dropped.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over) && self.base.acknowledged.is_empty()
    }

    fn step(
        &mut self,
        now: Now,
        random: &mut Random,
        out: &mut Vec<Output>,
        then: impl FnOnce(State, &mut Step<'_>) -> State,
    ) {
        let state = std::mem::replace(&mut self.state, State::Over);
        self.state = then(state, &mut Step { now, random, base: &mut self.base, out });
    }
}

/// A request of the peer that waits for our answer.
#[derive(Clone, Debug)]
struct Received {
    transaction: ServerId,
    flow: Flow,
    message: Message,
}

/// An INVITE of ours whose 2xx we confirmed: every repetition gets the same ACK (section 13.2.2.4).
#[derive(Debug)]
struct Acknowledged {
    id: RequestId,
    tag: String,
    hop: Hop,
    ack: Message,
    until: Instant,
}

/// What stays the same in all states.
#[derive(Debug)]
struct Base {
    trunk: Arc<Trunk>,
    policy: Policy,
    call_id: String,
    /// Where the call began: the way of last resort.
    first: Hop,
    /// The connection that the peer last used.
    flow: Option<Flow>,
    /// Its usual way is gone: see [`Base::hop`].
    detour: bool,
    requests: u32,
    told: Option<Stream>,
    /// Our INVITE, for 2xx from forks that answer too late.
    invite: Option<(RequestId, Message)>,
    acknowledged: Vec<Acknowledged>,
}

impl Base {
    fn new(trunk: Arc<Trunk>, first: Hop, call_id: &str) -> Base {
        Base {
            policy: Policy::of(&trunk, first.transport() == Transport::Tls),
            trunk,
            call_id: call_id.to_owned(),
            first,
            flow: None,
            detour: false,
            requests: 0,
            told: None,
            invite: None,
            acknowledged: Vec::new(),
        }
    }

    fn transport(&self) -> Transport {
        self.first.transport()
    }

    /// A message of the peer came in on `flow`.
    fn arrived(&mut self, flow: Flow) {
        self.detour &= self.flow == Some(flow);
        self.flow = Some(flow);
    }

    /// The way that a request took is gone: is there another one, not tried yet?
    fn take_detour(&mut self) -> bool {
        let another = !self.detour && self.flow.is_some_and(|flow| flow.transport.reliable());
        self.detour |= another;
        another
    }

    /// Where a request in a dialog goes, `uri` being its first route or remote target. Two ways lead to a
    /// peer on a stream, and when one is gone ([`Base::take_detour`]) the other is taken:
    ///
    /// * the stream that it last used: first choice when the URI names its far end, and toward Microsoft
    ///   (one pool, whose inner names we may not be able to resolve);
    /// * the host in the URI: first choice else. When that is no host (a GRUU names a domain), the peer's
    ///   stream all the same, or where the call began.
    fn hop(&self, uri: &str) -> Hop {
        let uri = Uri::parse(uri.as_bytes()).filter(|uri| !uri.host().is_empty() && uri.param("gruu").is_none());
        let Some(uri) = uri else { return self.flow.map_or_else(|| self.first.clone(), Hop::Flow) };
        let stream = self.flow.filter(|flow| flow.transport.reliable());
        let microsoft = matches!(self.trunk.kind, TrunkKind::Microsoft(_));
        if let Some(flow) = stream.filter(|flow| (microsoft || names(uri, *flow)) != self.detour) {
            return Hop::Flow(flow);
        }
        let transport = match uri.param("transport").map(str::to_ascii_lowercase).as_deref() {
            // What began encrypted stays so: a Contact does not carry our keys into the clear.
            _ if uri.is_sips() || self.transport() == Transport::Tls => Transport::Tls,
            Some("tls") => Transport::Tls,
            Some("tcp") => Transport::Tcp,
            Some("udp") => Transport::Udp,
            _ => self.transport(),
        };
        Hop::Target(Target { trunk: self.trunk.id, transport, host: Arc::from(uri.host()), port: uri.port() })
    }
}

/// Does the URI name the far end of this stream, port and all?
fn names(uri: Uri<'_>, flow: Flow) -> bool {
    let same_host = uri.host().parse::<IpAddr>().is_ok_and(|host| host == flow.remote.ip().to_canonical());
    same_host && uri.port().unwrap_or(flow.transport.default_port()) == flow.remote.port()
}

/// One event's surroundings.
struct Step<'a> {
    now: Now,
    random: &'a mut Random,
    base: &'a mut Base,
    out: &'a mut Vec<Output>,
}

impl Step<'_> {
    fn say(&mut self, word: Word) {
        self.out.push(Output::Word(word));
    }

    fn note(&mut self, note: impl Into<Cow<'static, str>>) {
        self.out.push(Output::Note(note.into()));
    }

    /// The leg ends without the call asking.
    fn released(&mut self, release: Release) {
        self.say(Word::Released(release));
    }

    /// Tells the call what is agreed now, if it is not what it heard last.
    fn agreed(&mut self, media: &OfferAnswer) {
        if let Some(stream) = media.stream().filter(|stream| self.base.told.as_ref() != Some(stream)) {
            self.base.told = Some(stream.clone());
            self.say(Word::Media(stream.clone()));
        }
    }

    /// Sends a request in a dialog.
    fn send(&mut self, dialog: &Dialog, message: Message) -> RequestId {
        let hop = self.base.hop(dialog.next_hop());
        self.send_to(hop, message)
    }

    fn send_to(&mut self, hop: Hop, message: Message) -> RequestId {
        self.base.requests += 1;
        let id = RequestId(self.base.requests);
        self.out.push(Output::Request { id, hop, message });
        id
    }

    /// Begins an answer in a dialog: To has its tag already.
    fn reply(&self, received: &Received, status: u16) -> Builder {
        let builder = response_to(&received.message, received.flow, status, reason_phrase(status), None);
        let builder = dated(builder.header(Name::Server, PRODUCT), self.now);
        if status == 405 { builder.header(Name::Allow, uas::allow(&accepted(&self.base.trunk))) } else { builder }
    }

    fn respond(&mut self, received: &Received, builder: Builder) {
        let message = builder.empty_body();
        self.out.push(Output::Respond { transaction: received.transaction, message });
    }

    /// "Later": 500 with a Retry-After of up to 10 s (section 14.2).
    fn respond_later(&mut self, received: &Received) {
        let seconds = self.random.below(11);
        self.respond(received, self.reply(received, 500).header(Name::RetryAfter, seconds));
    }

    /// Refuses a request in a dialog; the dialog stays.
    fn refuse(&mut self, received: &Received, release: &Release, warning: Option<Warning>) {
        let status = release.final_status();
        let builder = excused(self.reply(received, status), &self.base.trunk, release, Some(status), warning);
        self.respond(received, builder);
    }

    /// Takes the offer in a request: was there one? `None`: it cannot be taken now, and that is answered.
    fn take_offer(&mut self, media: &mut OfferAnswer, received: &Received) -> Option<bool> {
        let offer = match described(media.policy(), Said::Offer, &received.message) {
            Ok(offer) => offer,
            Err(fault) => {
                self.refuse(received, &fault.release(), fault.warning());
                return None;
            }
        };
        let Some(offer) = offer else { return Some(false) };
        match media.hear(offer) {
            Ok(()) => return Some(true),
            Err(OutOfTurn::Glare) => self.respond(received, self.reply(received, 491)),
            Err(OutOfTurn::Unanswered) => self.respond_later(received),
        }
        None
    }

    /// Refuses an offer that was taken but cannot be answered.
    fn decline(&mut self, media: &mut OfferAnswer, received: &Received, fault: &Unusable) {
        media.withdraw();
        self.refuse(received, &fault.release(), fault.warning());
    }

    /// Answers what every state answers alike: methods that need nothing of the state.
    fn respond_plainly(&mut self, received: &Received) {
        match received.message.method() {
            Some(Method::Options) => self.respond(
                received,
                self.reply(received, 200).header(Name::Allow, uas::allow(&accepted(&self.base.trunk))),
            ),
            Some(Method::Notify | Method::Prack | Method::Cancel | Method::Subscribe) => {
                self.respond(received, self.reply(received, 481))
            }
            Some(Method::Refer) => referring::later(self, received, "the call is not answered yet"),
            _ => self.respond(received, self.reply(received, 405)),
        }
    }

    /// Ends the dialog with a BYE that says why.
    fn bye(&mut self, dialog: &mut Dialog, release: &Release) -> RequestId {
        let builder = dated(dialog.request(Method::Bye).header(Name::UserAgent, PRODUCT), self.now);
        let builder = excused(builder, &self.base.trunk, release, None, None);
        let message = user_to_user::write(builder, release.user_user()).empty_body();
        self.send(dialog, message)
    }

    /// Confirms a 2xx to our INVITE `cseq`, and its repetitions for as long as there can be any.
    fn acknowledge(&mut self, id: RequestId, dialog: &Dialog, cseq: u32) {
        let hop = self.base.hop(dialog.next_hop());
        let ack = dialog.ack(cseq).header(Name::UserAgent, PRODUCT).empty_body();
        let (tag, until) = (dialog.remote_tag().to_owned(), self.now.mono + LIFETIME);
        self.base.acknowledged.push(Acknowledged { id, tag, hop: hop.clone(), ack: ack.clone(), until });
        self.out.push(Output::Ack { hop, message: ack });
    }

    /// Confirms a 2xx once more; false when it is a new one.
    fn acknowledge_again(&mut self, id: RequestId, response: &Message) -> bool {
        let tag = response.tag(Name::To).unwrap_or_default();
        let Some(kept) = self.base.acknowledged.iter().find(|kept| kept.id == id && kept.tag == tag) else {
            return false;
        };
        self.out.push(Output::Ack { hop: kept.hop.clone(), message: kept.ack.clone() });
        true
    }

    /// A fork answered that nobody waits for: it is confirmed and hung up (section 13.2.2.4).
    fn hang_up_stray(&mut self, id: RequestId, response: &Message) {
        let invite = self.base.invite.as_ref().filter(|(invite, _)| *invite == id).map(|(_, invite)| invite.clone());
        let accepted = response.status().is_some_and(|status| (200..300).contains(&status));
        let Some(invite) = invite.filter(|_| accepted && self.base.acknowledged.len() < MOST_ACKNOWLEDGED) else {
            return;
        };
        let Ok(mut dialog) = Dialog::calling(&invite, response) else { return };
        self.note("another fork answered too late and is hung up");
        self.acknowledge(id, &dialog, dialog.local_cseq());
        self.bye(&mut dialog, &Release::normal("answered elsewhere"));
    }
}

/// Why the peer ended the call, by its BYE or CANCEL.
fn hung_up(message: &Message, why: &'static str) -> Release {
    let words = Words { user_user: user_to_user::read(message), ..Words::default() };
    Release { cause: message.q850().unwrap_or(Cause::NORMAL), ..Release::normal(why) }.with_words(words)
}

/// A request of ours that got no answer.
fn unanswered(why: Failure) -> Release {
    match why {
        Failure::Timeout => Release::new(Guilty::Network, Cause::TIMER, "the peer does not answer"),
        Failure::Transport => Release::new(Guilty::Network, Cause::NETWORK_OUT_OF_ORDER, "the peer cannot be reached"),
    }
}
